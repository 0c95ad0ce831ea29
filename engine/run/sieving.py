"""Trace codes of any number in bounded memory: what could concern a rule is sieved out, and the rest only counted.

The table is read twice, part by part. First every row becomes a few numbers (engine.tracing.slim), written into buckets
by family of codes, by fee line and by site; each bucket tells what of it could concern a check (engine.tracing.sieve).
Then the rows that were kept are fetched with their texts, whole lives of codes, and judged as any small table is; what
fell through adds to the stock of its lot alone. The findings are those of all rows at once.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from engine.run.records import Split, by_bucket, spread
from engine.tables.dictionary import table, with_fields
from engine.tracing.book import Fallen, FallenLots, watched_rows
from engine.tracing.codes import other_codes
from engine.tracing.events import FIELDS, UNIT, Cancelled, id_of
from engine.tracing.packs import ancestors
from engine.tracing.repeats import among
from engine.tracing.sieve import Kept, by_code, by_line, by_site
from engine.tracing.slim import COUNT, MOVE, NONE, RECORD, SCAN, known_of, slim
from engine.tracing.stock import counted_rows
from engine.tracing.travel import site_table

ROWS_A_PART = 1_000_000
THREADS = 2  # parts or buckets at a time; what a part does with texts uses every processor anyway
_BYTES_A_ROW = 1_600  # at the peak, of THREADS parts or buckets
_WITH_KEY = ("row", "key", "root", "site", "time", "lot", "line", "what")
_OF_LINE = ("line", "key", "root", "row", "covers", "what")
_OF_SITE = ("site", "key", "root", "time", "what")
BILLED = np.dtype([("line", "u8"), ("billed", "i8"), ("named", "u1")])


@dataclass(frozen=True)
class Sieved:
    """What is left to judge.

    trace_codes: rows of codes that could concern a rule, whole lives of each, in the order of the table
    fee_lines:   the fee lines of these rows, and those that bill more than was scanned; None without fee lines
    lines:       hashes of the fee lines all of whose codes are there
    lots:        what moved of each counted lot in the rows that fell through (patterns.lot_sums)
    """

    trace_codes: pl.DataFrame
    fee_lines: pl.LazyFrame | None
    lines: pl.Series
    lots: Fallen


def rows_for(memory: int) -> int:
    """How many rows a part and a bucket may have to stay under so many bytes."""
    return max(50_000, min(ROWS_A_PART, (memory - 300 * 2**20) // _BYTES_A_ROW))


def sieve(
    tables: dict[str, pl.LazyFrame],
    small: dict[str, pl.DataFrame],
    cancelled: Cancelled | None = None,
    *,
    tolerance_minutes: int = 10,
    within_seconds: int = 1,
    rows_a_part: int = ROWS_A_PART,
    folder: Path | None = None,
) -> Sieved:
    """Sieve `tables` (trace_codes and, where given, fee_lines) knowing the `small` tables. `folder` takes some
    120 bytes a row while it works."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        return Sieve(tables, small, cancelled, tolerance_minutes, within_seconds, rows_a_part, Path(work)).sieved()


class Sieve:
    """One sieving of some tables. `leave(kind, first row, frame)` is told what a later month needs (codeindex)."""

    def __init__(
        self, tables, small, cancelled, tolerance_minutes: int, within_seconds: int, part: int, work: Path,
        leave: Callable[[str, int, pl.DataFrame], None] | None = None,
    ):  # fmt: skip
        self.events = tables["trace_codes"]
        self.fee_lines = tables.get("fee_lines")
        self.cancelled, self.part, self.work = cancelled, part, work
        self.leaves, self.leave = leave is not None, leave or (lambda *_: None)
        self.tolerance_minutes, self.within_seconds = tolerance_minutes, within_seconds
        self.identifiers = with_fields(_small(small, "drug_identifiers"), "drug_identifiers")
        self.above = ancestors(_small(small, "pack_relations"))
        sites = site_table(small.get("institutions"), small.get("chains"))
        self.groups = sites.filter(pl.col("group") != pl.col("site")).select("site", "group")
        self.ledger = (_small(small, "stock_moves"), _small(small, "stock_balances"))
        self.known = known_of(self.identifiers, self.above, self.ledger[0])
        rows = self.events.select(pl.len()).collect().item()
        self.rows, count = rows, max(1, -(-rows // part))
        self.codes = Split(work / "codes", "root", _fields(*_WITH_KEY), count)
        self.lines = Split(work / "lines", "line", _fields(*_OF_LINE), count)
        self.sites = Split(work / "sites", "site", _fields(*_OF_SITE), count)
        self.billed = Split(work / "billed", "line", BILLED, count)
        self.chosen = np.zeros(rows, bool)
        self.counted: list[pl.DataFrame] = []  # counts of lots and lots to watch, part by part

    def sieved(self) -> Sieved:
        self._cut()
        kept = self._each(self._codes_of)
        self.wrong = by_bucket(_all([k.lines for k in kept], "u8"), self.lines.count)
        of_lines = self._each(lambda n: by_line(self.lines.bucket(n), self.billed.bucket(n), self.wrong[n]))
        of_sites = self._each(lambda n: by_site(self.sites.bucket(n), self.within_seconds))
        roots = np.unique(_all([k.roots for k in (*kept, *of_lines, *of_sites)], "u8"))
        wanted = by_bucket(roots, self.codes.count)
        for rows in self._each(lambda n: self._rows_of(n, wanted[n])):
            self.chosen[rows] = True
        for k in of_lines:
            self.chosen[k.rows] = True
        return self._judged_on(_all([k.lines for k in of_lines], "u8"))

    def _judged_on(self, of_lines: np.ndarray) -> Sieved:
        """What is left to judge, once rows and lines are chosen."""
        rows, lots = self._fetch()
        lines = pl.Series("line", of_lines, pl.UInt64)
        return Sieved(rows, self._lines_of(rows, lines), lines, lots)

    def _each(self, work: Callable[[int], object]) -> list:
        """`work` of the number of every bucket."""
        return list(spread(work, range(self.codes.count), THREADS))

    def _codes_of(self, number: int) -> Kept:
        return by_code(self.codes.bucket(number), self.above, self.groups, self.tolerance_minutes)

    def _rows_of(self, number: int, roots: np.ndarray) -> np.ndarray:
        records = self.codes.bucket(number)
        return records["row"][among(records["root"], roots)]

    def _parts(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        # Slice by slice and not as a stream, which reads ahead of whoever is slower than it.
        for first in range(0, frame.select(pl.len()).collect().item(), self.part):
            yield frame.slice(first, self.part).collect()

    def _cut(self) -> None:
        """Every row into its buckets, as numbers."""
        self.counted = list(spread(self._into_buckets, self._numbered(), THREADS))
        if self.fee_lines is not None:
            for number, part in enumerate(self._parts(self._billed_lines(self.fee_lines))):
                self.billed.add(part)
                self.leave("billed", number, part)

    def _numbered(self, begin: int = 0) -> Iterator[tuple[int, pl.DataFrame]]:
        """Parts of trace_codes from some row on, with the number of their first row."""
        for first in range(begin, self.rows, self.part):
            yield first, self.events.slice(first, self.part).collect()

    def _into_buckets(self, numbered: tuple[int, pl.DataFrame]) -> pl.DataFrame:
        """A part into the buckets; returns the counts of lots in it, which are chosen."""
        records, counted = self._slim(*numbered)
        what = records["what"]
        self.codes.add(records[records["key"] != NONE])
        self.lines.add(records[(what & SCAN) != 0])
        self.sites.add(records[(what & MOVE) != 0])
        return counted

    def _slim(self, first: int, part: pl.DataFrame) -> tuple[np.ndarray, pl.DataFrame]:
        """A part as records, and the counts of lots in it, which are chosen."""
        part = with_fields(part, "trace_codes", *FIELDS)
        records = slim(part, self.known, first)
        self.leave("records", first, pl.DataFrame({n: records[n] for n in RECORD.names if n != "row"}))
        if self.leaves:
            self.leave("others", first, other_codes(part["drug_trac_codg"]))
        counts = (records["what"] & COUNT) != 0
        self.chosen[first : first + part.height] = counts
        watched = watched_rows(part, pl.Series(records["key"] == NONE))
        return records, pl.concat([counted_rows(part.filter(pl.Series(counts))), watched])

    def _billed_lines(self, fee_lines: pl.LazyFrame) -> pl.LazyFrame:
        named = pl.col("med_list_codg").is_in(self.identifiers["med_list_codg"].unique().implode())
        return with_fields(fee_lines, "fee_lines", "med_list_codg", "cnt").filter(pl.col("cnt") > 0).select(
            line=id_of("feedetl_sn"),
            billed=(pl.col("cnt") * UNIT).cast(pl.Int64),
            named=named.fill_null(False).cast(pl.UInt8),
        )  # fmt: skip

    def _fetch(self) -> tuple[pl.DataFrame, Fallen]:
        """The chosen rows with their texts, and what moved of lots in the others."""
        counted = pl.concat([self.no_counts(), *self.counted])
        lots = FallenLots(counted, self.groups, self.identifiers, self.cancelled, self.ledger)
        kept = self.work / "kept"
        kept.mkdir()
        for first, part in self._numbered():
            chosen = pl.Series(self.chosen[first : first + part.height])
            # By way of a file, because a few rows in memory would hold on to the texts of their whole part.
            part.filter(chosen).write_parquet(kept / f"{first:012}.parquet", compression="lz4")
            lots.add(part.lazy().filter(~chosen))
        files = sorted(kept.glob("*.parquet"))
        return pl.read_parquet(files) if files else self.events.head(0).collect(), lots.told()

    def no_counts(self) -> pl.DataFrame:
        """No counts of lots."""
        return counted_rows(with_fields(self.events.head(0).collect(), "trace_codes", *FIELDS))

    def _lines_of(self, rows: pl.DataFrame, lines: pl.Series) -> pl.LazyFrame | None:
        if self.fee_lines is None:
            return None
        known = with_fields(rows, "trace_codes", "feedetl_sn").select(id_of("feedetl_sn")).to_series().drop_nulls()
        wanted = pl.concat([known, lines]).unique().sort()
        return self.fee_lines.filter(id_of("feedetl_sn").is_in(wanted.implode()))


def _fields(*names: str) -> np.dtype:
    return np.dtype([(name, RECORD[name]) for name in names])


def _all(parts: list[np.ndarray], dtype: str) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])


def _small(small: dict[str, pl.DataFrame], name: str) -> pl.DataFrame:
    return small[name] if name in small else table(name).schema.to_frame()
