"""Inpatient stays as the grouper sees them: one row of facts each, and their coded diagnoses and procedures."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from engine.grouping.codes import cleaned, encode
from engine.tables.dictionary import with_fields

NEWBORN_YEAR = 365
LAST = 2**40  # the rank of a code without seq, beyond any seq


@dataclass(frozen=True)
class Coded:
    """Codes of all stays in order of (row, rank): `row` the stay, `code` the number of a distinct code.

    `first` gives each stay its principal diagnosis or main procedure; len(distinct) stands for none.
    """

    row: np.ndarray
    code: np.ndarray
    is_first: np.ndarray
    first: np.ndarray
    distinct: pl.Series


@dataclass(frozen=True)
class Stays:
    """facts: gend, age_years, age_days, weight, adm_weight, los, vent_hours, icu_hours, leaving, day_surgery, day (of
    discharge, else of admission); one row a stay.
    """

    facts: pl.DataFrame
    dx: Coded
    proc: Coded

    def __len__(self) -> int:
        return len(self.facts)

    @cached_property
    def missing(self) -> pl.DataFrame:
        """What keeps a stay from being judged, a Boolean column each: gend, age, age_days (of an infant), dx."""
        return self.facts.select(
            gend=~pl.col("gend").fill_null("").is_in(["1", "2"]),
            age=pl.col("age_years").fill_null(-1) < 0,
            age_days=(pl.col("age_years").fill_null(-1) == 0) & pl.col("age_days").is_null(),
            dx=pl.Series(self.dx.first == len(self.dx.distinct)),
        )


def from_tables(claims: pl.DataFrame, diagnoses: pl.DataFrame, procedures: pl.DataFrame, normalise: bool) -> Stays:
    """Stays from the canonical tables, in the order of the claims.

    Only western discharge diagnoses count. Principal and main are those flagged, else the lowest seq.
    """
    place = claims.select("setl_id").with_row_index("row")
    diagnoses = with_fields(diagnoses, "diagnoses", "seq", "diag_code", "diag_type", "maindiag_flag", "diag_stage")
    discharge = pl.col("diag_stage").fill_null("").is_in(["", "discharge"])
    western = pl.col("diag_type").fill_null("").is_in(["", "1"])
    dx = _ranked(diagnoses.filter(discharge, western), place, "diag_code", "maindiag_flag")
    procedures = with_fields(procedures, "procedures", "seq", "oprn_oprt_code", "main_oprn_flag")
    proc = _ranked(procedures, place, "oprn_oprt_code", "main_oprn_flag")
    return Stays(_facts(claims), _coded(dx, len(claims), normalise), _coded(proc, len(claims), normalise))


def _ranked(rows: pl.DataFrame, place: pl.DataFrame, code: str, flag: str) -> pl.DataFrame:
    unflagged = pl.col(flag).fill_null("").ne("1").cast(pl.Int64)
    rank = unflagged * 2 * LAST + pl.col("seq").fill_null(LAST)
    return rows.join(place, on="setl_id").select("row", code=code, rank=rank)


def from_lists(frame: pl.DataFrame, normalise: bool) -> Stays:
    """Stays from one frame with sex, age, age_days, weight (0 = missing), optionally los and leaving, and dx, proc.

    dx and proc are lists of codes, the principal diagnosis and the main procedure first.
    """
    unknown = pl.lit(None, pl.Int64)
    facts = frame.select(
        gend=pl.col("sex").cast(pl.String),
        age_years="age",
        age_days="age_days",
        weight=_present(pl.col("weight")),
        adm_weight=unknown,
        los="los" if "los" in frame.columns else unknown,
        vent_hours=unknown,
        icu_hours=unknown,
        leaving=pl.col("leaving").cast(pl.String) if "leaving" in frame.columns else pl.lit(None, pl.String),
        day_surgery=pl.lit(None, pl.String),
        day="day" if "day" in frame.columns else pl.lit(None, pl.Date),
    )
    coded = []
    for name in ("dx", "proc"):
        lists = frame.select(name).with_row_index("row").explode(name, empty_as_null=False)
        coded.append(_coded(lists.select("row", code=name).with_row_index("rank"), len(frame), normalise))
    return Stays(facts, *coded)


def _coded(rows: pl.DataFrame, stays: int, normalise: bool) -> Coded:
    """`rows` has row, rank and code. Equal ranks are settled by code, so that row order decides nothing."""
    rows = rows.drop_nulls("code")
    number, distinct = encode(rows["code"])
    rows = rows.with_columns(code=pl.Series(number, dtype=pl.UInt32))
    distinct = cleaned(distinct, normalise)
    if (distinct == "").any():
        rows = rows.filter(pl.Series(distinct != "").gather(rows["code"]))
    rows = rows.sort("row", "rank", "code")
    row, code = rows["row"].to_numpy(), rows["code"].to_numpy()
    is_first = np.ones(len(row), dtype=bool)
    is_first[1:] = row[1:] != row[:-1]
    first = np.full(stays, len(distinct), dtype=np.uint32)
    first[row[is_first]] = code[is_first]
    return Coded(row, code, is_first, first, distinct)


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
        day_surgery=pl.coalesce("daysurg_flag", pl.when(pl.col("adm_kind").is_not_null()).then(
            (pl.col("adm_kind") == "day_surgery").cast(pl.Int8).cast(pl.String))),
        day=pl.coalesce("endtime", "begntime").cast(pl.Date),
    )  # fmt: skip


def _present(weight: pl.Expr) -> pl.Expr:
    return pl.when(weight > 0).then(weight)
