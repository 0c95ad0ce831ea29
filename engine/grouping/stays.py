"""Inpatient stays as the grouper sees them: one row of facts each, and their coded diagnoses and procedures."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.grouping.codebook import DX, PROC, CodeBook
from engine.grouping.codes import encode
from engine.grouping.lazy import lazy
from engine.tables.dictionary import with_fields

NEWBORN_YEAR = 365
LAST = 2**40  # the rank of a code without seq, beyond any seq


@dataclass(frozen=True)
class Coded:
    """Codes of all stays in order of (row, rank): `row` the stay, `code` the number of a distinct code.

    `first` gives each stay its principal diagnosis or main procedure; len(distinct) stands for none. `distinct` are the
    codes as they are grouped, `written` the same as they were written: a code written in two ways has two numbers.
    """

    row: np.ndarray
    code: np.ndarray
    is_first: np.ndarray
    first: np.ndarray
    distinct: pl.Series
    written: pl.Series
    left_out: np.ndarray  # [2, n]: stay and code of what a conversion table leaves out

    def part(self, start: int, stop: int) -> "Coded":
        """The stays from start to stop, which becomes a count of its own."""
        begin, end = np.searchsorted(self.row, np.array([start, stop], dtype=self.row.dtype))
        row = self.row[begin:end] - self.row.dtype.type(start)
        out = self.left_out[:, (start <= self.left_out[0]) & (self.left_out[0] < stop)] - np.array([[start], [0]])
        first, is_first = self.first[start:stop], self.is_first[begin:end]
        return Coded(row, self.code[begin:end], is_first, first, self.distinct, self.written, out)

    def again(self, rows: np.ndarray, without: np.ndarray | None = None) -> "Coded":
        """The stays of `rows`, which may repeat; each without the code at the place `without` names."""
        rows = rows.astype(self.row.dtype)
        begin, end = np.searchsorted(self.row, rows), np.searchsorted(self.row, rows, side="right")
        length = end - begin
        row = np.repeat(np.arange(len(rows), dtype=self.row.dtype), length)
        place = np.arange(len(row)) + np.repeat(begin - (np.cumsum(length) - length), length)
        if without is not None:
            kept = place != np.repeat(without, length)
            row, place = row[kept], place[kept]
        return in_order(row, self.code[place], len(rows), self.distinct, self.written)


@dataclass(frozen=True)
class Stays:
    """facts: gend, age_years, age_days, weight, adm_weight, los, vent_hours, icu_hours, leaving, left (the day of
    discharge), day_surgery; one row a stay.
    """

    facts: pl.DataFrame
    dx: Coded
    proc: Coded

    def __len__(self) -> int:
        return len(self.proc.first)

    def part(self, start: int, stop: int) -> "Stays":
        """The stays from start to stop."""
        facts = self.facts.slice(start, stop - start)
        return Stays(facts, self.dx.part(start, stop), self.proc.part(start, stop))

    @lazy
    def missing(self) -> pl.DataFrame:
        """What keeps a stay from being judged, a Boolean column each: gend, age, age_days (of an infant), dx."""
        return self.facts.select(
            gend=~pl.col("gend").fill_null("").is_in(["1", "2"]),
            age=pl.col("age_years").fill_null(-1) < 0,
            age_days=(pl.col("age_years").fill_null(-1) == 0) & pl.col("age_days").is_null(),
            dx=pl.Series(self.dx.first == len(self.dx.distinct)),
        )


def from_tables(claims: pl.DataFrame, diagnoses: pl.DataFrame, procedures: pl.DataFrame, book: CodeBook) -> Stays:
    """Stays from the canonical tables, in the order of the claims, codes read as `book` says.

    Only western discharge diagnoses count. Principal and main are those flagged, else the lowest seq.
    """
    place = claims.select("setl_id").with_row_index("row")
    diagnoses = with_fields(diagnoses, "diagnoses", "seq", "diag_code", "diag_type", "maindiag_flag", "diag_stage")
    discharge = pl.col("diag_stage").fill_null("").is_in(["", "discharge"])
    western = pl.col("diag_type").fill_null("").is_in(["", "1"])
    dx = _ranked(diagnoses.filter(discharge, western), place, "diag_code", "maindiag_flag")
    procedures = with_fields(procedures, "procedures", "seq", "oprn_oprt_code", "main_oprn_flag")
    proc = _ranked(procedures, place, "oprn_oprt_code", "main_oprn_flag")
    return Stays(_facts(claims), _coded(dx, len(claims), DX, book), _coded(proc, len(claims), PROC, book))


def _ranked(rows: pl.DataFrame, place: pl.DataFrame, code: str, flag: str) -> pl.DataFrame:
    unflagged = pl.col(flag).fill_null("").ne("1").cast(pl.Int64)
    rank = unflagged * 2 * LAST + pl.col("seq").fill_null(LAST)
    return rows.join(place, on="setl_id").select("row", code=code, rank=rank)


def from_lists(frame: pl.DataFrame, book: CodeBook) -> Stays:
    """Stays from one frame with sex, age, age_days (of infants; of others it is not asked), weight (0 = missing),
    optionally los and leaving, and dx, proc.

    dx and proc are lists of codes, the principal diagnosis and the main procedure first.
    """
    unknown = pl.lit(None, pl.Int64)
    facts = frame.select(
        gend=pl.col("sex").cast(pl.String),
        age_years="age",
        age_days=pl.when(pl.col("age") == 0).then("age_days").otherwise(pl.col("age") * NEWBORN_YEAR),
        weight=_present(pl.col("weight")),
        adm_weight=unknown,
        los="los" if "los" in frame.columns else unknown,
        vent_hours=unknown,
        icu_hours=unknown,
        leaving=pl.col("leaving").cast(pl.String) if "leaving" in frame.columns else pl.lit(None, pl.String),
        left=pl.lit(None, pl.Date),
        day_surgery=pl.lit(None, pl.String),
    )
    coded = []
    for name in (DX, PROC):
        lists = frame.select(name).with_row_index("row").explode(name, empty_as_null=False)
        coded.append(_coded(lists.select("row", code=name).with_row_index("rank"), len(frame), name, book))
    return Stays(facts, *coded)


def _coded(rows: pl.DataFrame, stays: int, kind: str, book: CodeBook) -> Coded:
    """`rows` has row, rank and code. Equal ranks are settled by code, so that row order decides nothing."""
    rows = rows.drop_nulls("code")
    number, written = encode(rows["code"])
    rows = rows.with_columns(code=pl.Series(number, dtype=pl.UInt32))
    distinct = book.spelt(kind, written)
    out = NOTHING
    if (distinct == "").any():
        blank = pl.Series(distinct == "").gather(rows["code"])
        out = rows.filter(blank).select("row", "code").to_numpy().T.astype(np.int64)
        out = out[:, (written.str.strip_chars() != "").to_numpy()[out[1]]]
        rows = rows.filter(~blank)
    rows = rows.sort("row", "rank", "code")
    return in_order(rows["row"].to_numpy(), rows["code"].to_numpy(), stays, distinct, written, out)


NOTHING = np.empty((2, 0), dtype=np.int64)


def in_order(
    row: np.ndarray, code: np.ndarray, stays: int, distinct: pl.Series, written: pl.Series, out: np.ndarray = NOTHING
) -> Coded:
    """Codes in the order of their stays, the first of each stay being its principal diagnosis or main procedure."""
    is_first = np.ones(len(row), dtype=bool)
    is_first[1:] = row[1:] != row[:-1]
    first = np.full(stays, len(distinct), dtype=np.uint32)
    first[row[is_first]] = code[is_first]
    return Coded(row, code, is_first, first, distinct, written, out)


def _facts(claims: pl.DataFrame) -> pl.DataFrame:
    claims = with_fields(claims, "claims")
    begin = pl.col("begntime").cast(pl.Date)
    birthday = pl.col("brdy")
    had_birthday = (begin.dt.month() * 100 + begin.dt.day()) >= (birthday.dt.month() * 100 + birthday.dt.day())
    lived_years = begin.dt.year() - birthday.dt.year() - (~had_birthday).cast(pl.Int32)
    years = pl.coalesce("age", lived_years, pl.when(pl.col("nwb_age") < NEWBORN_YEAR).then(0))
    lived_days = (begin - birthday).dt.total_days()
    # The days field belongs to infants only; many systems fill it with 0 for everybody else.
    days = (
        pl.when(years == 0)
        .then(pl.coalesce("nwb_age", lived_days))
        .otherwise(pl.coalesce(lived_days, years * NEWBORN_YEAR))
    )
    stayed = (pl.col("endtime").cast(pl.Date) - begin).dt.total_days()
    return claims.select(
        gend=pl.col("gend").str.strip_chars().replace({"男": "1", "女": "2"}),
        age_years=years,
        age_days=days,
        weight=_present(pl.col("nwb_bir_wt")),
        adm_weight=_present(pl.col("nwb_adm_wt")),
        los=pl.coalesce("act_ipt_days", stayed),
        vent_hours=pl.col("vent_used_h").cast(pl.Float64),
        icu_hours=pl.col("icu_h").cast(pl.Float64),
        leaving="dscg_way",
        left=pl.col("endtime").cast(pl.Date),
        day_surgery=pl.coalesce("daysurg_flag", pl.when(pl.col("adm_kind").is_not_null()).then(
            (pl.col("adm_kind") == "day_surgery").cast(pl.Int8).cast(pl.String))),
    )  # fmt: skip


def _present(weight: pl.Expr) -> pl.Expr:
    return pl.when(weight > 0).then(weight)
