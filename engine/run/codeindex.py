"""An index of the trace codes of earlier months, so that a month more is judged by reading what it can meet.

The index is a folder: the rows themselves (LARGE), month by month; their numbers as a sieve cuts them, each month's on
shelves where those of a code, a fee line or a place are found without reading the rest; what earlier months kept; and
the dictionary of codes outside the common family (`others`). A month only adds files; `about.json` is written last and
says which months stand, so that a month that was killed leaves nothing and one given again takes its own place.

A month more meets an earlier row in few ways: the same family of codes, the same fee line, or a serial beside it at the
same site and time; or its lot, of which the ledger tells the last day. Rows that meet none of the new ones were judged
alone before, and stay as they were chosen.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from engine.run.buckets import slices
from engine.run.lock import LOCK
from engine.run.records import Shelf, by_bucket
from engine.run.sieving import BILLED, OF_LINE, OF_SITE, WITH_KEY, Sieve, Sieved
from engine.tables.dictionary import table, with_fields
from engine.tables.problems import UsageProblem
from engine.tracing.codes import codes_of, other_codes
from engine.tracing.events import Cancelled
from engine.tracing.ledger import LOT, expiries
from engine.tracing.repeats import among, distinct
from engine.tracing.sieve import Kept, by_code, by_line, by_site, place_of
from engine.tracing.slim import line_of

VERSION = 3
BUCKETS = 64  # of every month at least
LEDGER = ("stock_moves", "stock_balances")
LARGE = ("trace_codes", "fee_lines", "claims", *LEDGER)
SHELVES = {"codes": WITH_KEY, "lines": OF_LINE, "sites": OF_SITE, "billed": BILLED}
_VALUE = {
    "codes": lambda records: np.ascontiguousarray(records["root"]),
    "lines": lambda records: np.ascontiguousarray(records["line"]),
    "sites": place_of,
    "billed": lambda records: np.ascontiguousarray(records["line"]),
}


@dataclass(frozen=True)
class Month:
    """A month to be met with the index in `folder`, by its name: a hash of what was read."""

    folder: Path
    name: str


@dataclass(frozen=True)
class CodeIndex:
    """The index in `folder`: months that stand (name, and rows of trace_codes up to its end), cut into so many
    buckets, resting on `basis` (a hash). What a sieve told lies with each month from the `first`, which has that of
    those before too; under another basis all is sieved anew."""

    folder: Path
    months: tuple[tuple[str, int], ...] = ()
    buckets: int = 0
    basis: str = ""
    first: int = 0

    @property
    def rows(self) -> int:
        return self.months[-1][1] if self.months else 0

    def place(self, month: int) -> Path:
        """Where what a sieve told of a month lies."""
        return self.folder / f"{month:04}"

    def shelves(self, name: str) -> list[Shelf]:
        """The shelves of a kind, month by month."""
        return [Shelf(self.place(n) / name, SHELVES[name]) for n in range(self.first, len(self.months))]

    def table(self, name: str) -> pl.LazyFrame | None:
        """A table of all months that stand, with the columns of any of them; None where none has it. Of a ledger that
        is given whole each month a row counts once."""
        paths = [self.folder / name / f"{month:04}.parquet" for month in range(len(self.months))]
        files, columns = [path for path in paths if path.exists()], {}
        for path in files:
            columns |= pl.read_parquet_schema(path)
        if not files:
            return None
        # As one scan, because a slice of several joined ones would read them all.
        rows = pl.scan_parquet(files, schema=columns, missing_columns="insert")
        return rows.unique(table(name).key, keep="last", maintain_order=True) if name in LEDGER else rows

    def add(self, name: str, frame: pl.DataFrame | pl.LazyFrame) -> None:
        """Keep a table of the month to come."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        frame.lazy().sink_parquet(self.folder / name / f"{len(self.months):04}.parquet", compression="lz4")

    def codes_of(self, keys: pl.Series) -> pl.Series:
        """The normal text of each key of the months that stand; null for a key they do not know."""
        known = self.table("others")
        others = other_codes(pl.Series([], dtype=pl.String)) if known is None else known.collect().unique()
        return codes_of(keys, others)

    def of_last(self, name: str) -> np.ndarray:
        """What the last month that stands kept of all: `chosen` rows, or `whole` lines."""
        return np.load(self.place(len(self.months) - 1) / f"{name}.npy")

    def say(self) -> None:
        told = {"version": VERSION, "months": self.months, "buckets": self.buckets, "basis": self.basis,
                "first": self.first}  # fmt: skip
        (self.folder / "about.json.new").write_text(json.dumps(told), "utf-8")
        (self.folder / "about.json.new").replace(self.folder / "about.json")


def month_of(folder: Path, inputs: list[dict]) -> Month:
    """The month that these inputs (sha256) are, whatever their files are called."""
    read = "\n".join(sorted(file["sha256"] for file in inputs))
    return Month(folder, hashlib.sha256(read.encode()).hexdigest()[:16])


def open_index(month: Month) -> CodeIndex:
    """The index as it stood before the month, which may be its last already; an empty one where there is none yet.

    Raises UsageProblem for a folder that holds something else, an index of another version, or a month that stands
    before others.
    """
    folder, about = month.folder, month.folder / "about.json"
    if not about.exists():
        if folder.exists() and any(path.name not in (LOCK, *LARGE, "others", "0000") for path in folder.iterdir()):
            raise UsageProblem(
                f"不是追溯码索引 not an index of trace codes: {folder}", hint="请换一个新目录 a new folder"
            )
        return CodeIndex(folder)
    said = json.loads(about.read_text("utf-8"))
    if said["version"] != VERSION:
        raise UsageProblem(
            f"索引是第 {said['version']} 版 an index of another version: {folder}",
            allowed=str(VERSION), hint="请用新目录从各月数据重建 make it anew from the months",
        )  # fmt: skip
    months = tuple((name, rows) for name, rows in said["months"])
    names = [name for name, _ in months]
    if month.name in names[:-1]:
        raise UsageProblem(
            f"这份数据已是索引的第 {names.index(month.name) + 1} 份，其后还有别的 "
            f"these files are in the index already, before others: {folder}"
        )
    if names[-1:] == [month.name]:
        months = months[:-1]
    basis = said["basis"] if said["first"] < len(months) else ""
    return CodeIndex(folder, months, said["buckets"], basis, said["first"])


def months_before(month: Month) -> list[dict]:
    """The months an answer about this one rests on too, as inputs of a run (path, sha256)."""
    return [{"path": f"index {n}", "sha256": name} for n, (name, _) in enumerate(open_index(month).months)]


def all_months(folder: Path) -> dict[str, pl.LazyFrame]:
    """The large tables of all months that stand."""
    index = open_index(Month(folder, ""))
    return {name: frame for name in LARGE if (frame := index.table(name)) is not None}


def basis_of(small: dict[str, pl.DataFrame], *settings: object) -> str:
    """A hash of the small tables and settings: under others, what was chosen before may have been chosen otherwise.
    Hashes of texts are those of one version of Polars."""
    told = hashlib.sha256(repr((pl.__version__, *settings)).encode())
    for name in sorted(small):
        frame = small[name].sort(pl.all())
        told.update(name.encode() + frame.select(sorted(frame.columns)).write_csv().encode())
    return told.hexdigest()


def sieve_month(
    tables: dict[str, pl.LazyFrame],
    small: dict[str, pl.DataFrame],
    cancelled: Callable[[dict[str, pl.LazyFrame]], Cancelled | None],
    month: Month,
    work: Path,
    *,
    tolerance_minutes: int = 10,
    within_seconds: int = 1,
    rows_a_part: int,
) -> tuple[Sieved, dict[str, pl.LazyFrame]]:
    """(what is left to judge of all months, the large tables of all months); the index then has the month.

    `cancelled` finds what was cancelled in the tables it is given. An index made under other small tables or settings
    is sieved anew from its rows.
    """
    index = open_index(month)
    small = {name: frame for name, frame in small.items() if name not in LEDGER}
    basis, number = basis_of(small, tolerance_minutes, within_seconds), len(index.months)
    if index.basis != basis:
        index = replace(index, buckets=0, basis="", first=number)
        if number:
            index.say()  # a run killed from here on finds that all must be sieved anew
    for left in range(number + 1) if index.first == number else (number,):
        shutil.rmtree(index.place(left), ignore_errors=True)
    for name in LARGE:
        (index.folder / name / f"{number:04}.parquet").unlink(missing_ok=True)
        if name in tables:
            index.add(name, tables[name])
    after = replace(index, months=(*index.months, (month.name, 0)))
    whole = {name: frame for name in LARGE if (frame := after.table(name)) is not None}
    small |= {name: whole[name].collect() for name in LEDGER if name in whole}
    rows = whole["trace_codes"].select(pl.len()).collect().item()
    after = replace(
        after,
        months=(*index.months, (month.name, rows)),
        buckets=index.buckets or max(BUCKETS, -(-rows // rows_a_part)),
        basis=basis,
    )
    arguments = (whole, small, cancelled(whole), tolerance_minutes, within_seconds, rows_a_part, work, after.buckets)
    job = Sieve(*arguments) if index.first == number else _Month(*arguments, index=index, bills=tables.get("fee_lines"))
    lines = job.choose()
    for name in SHELVES:
        Shelf(after.place(number) / name, SHELVES[name]).fill(getattr(job, name), _VALUE[name])
    pl.concat(job.counted).write_parquet(after.place(number) / "counted.parquet")
    for name, kept in (("chosen", np.flatnonzero(job.chosen)), ("whole", lines)):
        np.save(after.place(number) / f"{name}.npy", kept)
    index.add("others", _others(tables["trace_codes"], rows_a_part))
    after.say()
    return job.kept(lines), whole


def _others(events: pl.LazyFrame, part: int) -> pl.DataFrame:
    """The codes of a month outside the common family."""
    told = (rows.to_series() for rows in slices(events.select("drug_trac_codg"), part))
    none = other_codes(pl.Series([], dtype=pl.String))
    return pl.concat([none, *map(other_codes, told)]).unique().sort("code_key", "code")


class _Month(Sieve):
    """The sieving of all months, of which `index` knows all but the last; `bills` are the fee lines of the last."""

    def __init__(self, *arguments, index: CodeIndex, bills: pl.LazyFrame | None):
        super().__init__(*arguments)
        self.index = index
        self.bills = self.fee_lines.head(0) if bills is None and self.fee_lines is not None else bills
        self.chosen[index.of_last("chosen")] = True
        self.whole = by_bucket(index.of_last("whole"), self.lines.count)
        self.shelves = {name: index.shelves(name) for name in SHELVES}
        self.counted.append(pl.read_parquet(index.place(len(index.months) - 1) / "counted.parquet"))

    def _cut(self) -> None:
        super()._cut(self.index.rows, self.bills)

    def _late_since(self) -> np.ndarray:
        """Fee lines of earlier sales after the last day of a lot that only the ledger of this month tells."""
        ledger = self.index.table("stock_moves")
        before = expiries(None if ledger is None else ledger.collect())
        told = self.known.expiry.join(before, on=[*LOT, "expy_end"], how="anti")
        if told.is_empty():
            return super()._late_since()
        sales = with_fields(self.index.table("trace_codes"), "trace_codes", *LOT, "feedetl_sn", "expy_end")
        sales = sales.filter(pl.col("event_type") == "sale", pl.col("expy_end").is_null())
        late = sales.join(told.lazy(), on=LOT).filter(pl.col("event_time").dt.date() > pl.col("expy_end_right"))
        return late.select(line_of()).collect(engine="streaming")["line"].unique().to_numpy()

    def _old(self, name: str, number: int, values: np.ndarray) -> np.ndarray:
        """The earlier records of a bucket that lie at some of `values` of their shelf."""
        values = distinct(values)
        return np.concatenate([shelf.among(number, values) for shelf in self.shelves[name]])

    def _codes_of(self, number: int) -> Kept:
        new = self.codes.bucket(number)
        old = self._old("codes", number, new["root"])
        kept = by_code(np.concatenate([old, new]), self.above, self.groups, self.tolerance_minutes)
        again = old["root"][self.chosen[old["row"]]]  # kept before: what the month adds to them belongs to them
        return replace(kept, roots=np.concatenate([kept.roots, again]))

    def _lines_of(self, number: int) -> Kept:
        """The fee lines the month meets: scanned for or billed in it, or of codes it says something wrong of."""
        scans, billed, wrong = self.lines.bucket(number), self.billed.bucket(number), self.wrong[number]
        met = distinct(np.concatenate([scans["line"], billed["line"], wrong]))
        scans = np.concatenate([self._old("lines", number, met), scans])
        billed = np.concatenate([self._old("billed", number, met), billed])
        whole = self.whole[number]
        kept = by_line(scans, billed, np.union1d(wrong, met[among(met, whole)]))
        return replace(kept, lines=np.union1d(kept.lines, whole))

    def _sites_of(self, number: int) -> Kept:
        """Earlier moves of the same serials or those before and after, at the same site, at about the same time."""
        new = self.sites.bucket(number)
        if not len(new):
            return by_site(new, self.within_seconds)
        places, one, apart = place_of(new), np.uint64(1), self.within_seconds * 1_000_000
        old = self._old("sites", number, np.concatenate([places - one, places, places + one]))
        near = (old["time"] >= new["time"].min() - apart) & (old["time"] <= new["time"].max() + apart)
        return by_site(np.concatenate([old[near], new]), self.within_seconds)

    def _rows_of(self, number: int, roots: np.ndarray) -> np.ndarray:
        return np.concatenate([super()._rows_of(number, roots), self._old("codes", number, roots)["row"]])
