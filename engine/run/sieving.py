"""Trace codes of any number in bounded memory: what could concern a rule is sieved out, and the rest only counted.

The table is read twice, part by part. First every row becomes a few numbers (engine.tracing.slim), written into buckets
by family of codes, by fee line and by site; each bucket tells what of it could concern a check (engine.tracing.sieve).
Then the rows that were kept are fetched with their texts, whole lives of codes, and judged as any small table is; what
fell through adds to the stock of its lot alone. The findings are those of all rows at once.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl

from engine.run.buckets import slices
from engine.run.records import Split, by_bucket, spread
from engine.tables.dictionary import table, with_fields
from engine.tracing.book import Fallen, FallenLots, watched_rows
from engine.tracing.events import FIELDS, UNIT, Cancelled, id_of
from engine.tracing.packs import ancestors
from engine.tracing.repeats import among, distinct
from engine.tracing.sieve import Kept, by_code, by_line, by_site
from engine.tracing.slim import COUNT, MOVE, NONE, RECORD, SCAN, known_of, slim
from engine.tracing.stock import counted_rows
from engine.tracing.travel import site_table

ROWS_A_PART = 1_000_000
THREADS = 2  # parts or buckets at a time; what a part does with texts uses every processor anyway
_BYTES_A_ROW = 1_600  # at the peak, of THREADS parts or buckets


def _fields(*names: str) -> np.dtype:
    return np.dtype([(name, RECORD[name]) for name in names])


WITH_KEY = _fields("row", "key", "root", "site", "time", "lot", "line", "what")
OF_LINE = _fields("line", "key", "root", "row", "covers", "what")
OF_SITE = _fields("site", "key", "root", "time", "what")
BILLED = np.dtype([("line", "u8"), ("billed", "i8"), ("named", "u1")])


@dataclass(frozen=True)
class Sieved:
    """What is left to judge, in files under the folder that was worked in.

    trace_codes: rows of codes that could concern a rule, whole lives of each, in the order of the table
    rows:        how many these are
    fee_lines:   the fee lines of these rows, and those that bill more than was scanned; None without fee lines
    lines:       hashes of the fee lines all of whose codes are there
    lots:        what moved of each counted lot in the rows that fell through (patterns.lot_sums)
    """

    trace_codes: pl.LazyFrame
    rows: int
    fee_lines: pl.LazyFrame | None
    lines: pl.Series
    lots: Fallen


def rows_for(memory: int) -> int:
    """How many rows a part and a bucket may have to stay under so many bytes."""
    return max(50_000, min(ROWS_A_PART, (memory - 300 * 2**20) // _BYTES_A_ROW))


def sieve(
    tables: dict[str, pl.LazyFrame],
    small: dict[str, pl.DataFrame],
    cancelled: Cancelled | None,
    folder: Path,
    *,
    tolerance_minutes: int = 10,
    within_seconds: int = 1,
    rows_a_part: int = ROWS_A_PART,
) -> Sieved:
    """Sieve `tables` (trace_codes and, where given, fee_lines) knowing the `small` tables. `folder` takes some
    120 bytes a row while it works, and then holds what was kept."""
    return Sieve(tables, small, cancelled, tolerance_minutes, within_seconds, rows_a_part, folder).sieved()


class Sieve:
    """One sieving of some tables; see codeindex for one that knows most of them already."""

    def __init__(
        self, tables, small, cancelled, tolerance_minutes: int, within_seconds: int, part: int, work: Path,
        buckets: int = 0,
    ):  # fmt: skip
        self.events = tables["trace_codes"]
        self.fee_lines = tables.get("fee_lines")
        self.cancelled, self.part, self.work = cancelled, part, work
        self.tolerance_minutes, self.within_seconds = tolerance_minutes, within_seconds
        self.identifiers = with_fields(_small(small, "drug_identifiers"), "drug_identifiers")
        self.above = ancestors(_small(small, "pack_relations"))
        sites = site_table(small.get("institutions"), small.get("chains"))
        self.groups = sites.filter(pl.col("group") != pl.col("site")).select("site", "group")
        self.ledger = (_small(small, "stock_moves"), _small(small, "stock_balances"))
        self.known = known_of(self.identifiers, self.above, self.ledger[0])
        rows = self.events.select(pl.len()).collect().item()
        self.rows, count = rows, buckets or max(1, -(-rows // part))
        self.codes = Split(work / "codes", "root", WITH_KEY, count)
        self.lines = Split(work / "lines", "line", OF_LINE, count)
        self.sites = Split(work / "sites", "site", OF_SITE, count)
        self.billed = Split(work / "billed", "line", BILLED, count)
        self.chosen = np.zeros(rows, bool)
        # Counts of lots and lots to watch, part by part.
        self.counted = [counted_rows(with_fields(self.events.head(0).collect(), "trace_codes", *FIELDS))]

    def sieved(self) -> Sieved:
        return self.kept(self.choose())

    def choose(self) -> np.ndarray:
        """Mark the rows to keep; returns the lines (hashes) all of whose codes are among them."""
        self._cut()
        kept = self._each(self._codes_of)
        self.wrong = by_bucket(_all([*(k.lines for k in kept), self._late_since()], "u8"), self.lines.count)
        of_lines, of_sites = self._each(self._lines_of), self._each(self._sites_of)
        roots = distinct(_all([k.roots for k in (*kept, *of_lines, *of_sites)], "u8"))
        wanted = by_bucket(roots, self.codes.count)
        for rows in self._each(lambda n: self._rows_of(n, wanted[n])):
            self.chosen[rows] = True
        for k in of_lines:
            self.chosen[k.rows] = True
        return _all([k.lines for k in of_lines], "u8")

    def kept(self, of_lines: np.ndarray) -> Sieved:
        """What is left to judge, once rows and lines are chosen."""
        for cut in (self.codes, self.lines, self.sites, self.billed):
            shutil.rmtree(cut.folder)
        rows, lots = self._fetch()
        lines = pl.Series("line", of_lines, pl.UInt64)
        return Sieved(rows, int(self.chosen.sum()), self._bills_of(rows, lines), lines, lots)

    def _each(self, work: Callable[[int], object]) -> list:
        """`work` of the number of every bucket."""
        return list(spread(work, range(self.codes.count), THREADS))

    def _late_since(self) -> np.ndarray:
        """Lines of sales that turn out late though their own records do not say so."""
        return np.empty(0, "u8")

    def _codes_of(self, number: int) -> Kept:
        return by_code(self.codes.bucket(number), self.above, self.groups, self.tolerance_minutes)

    def _lines_of(self, number: int) -> Kept:
        return by_line(self.lines.bucket(number), self.billed.bucket(number), self.wrong[number])

    def _sites_of(self, number: int) -> Kept:
        return by_site(self.sites.bucket(number), self.within_seconds)

    def _rows_of(self, number: int, roots: np.ndarray) -> np.ndarray:
        records = self.codes.bucket(number)
        return records["row"][among(records["root"], roots)]

    def _cut(self, first: int = 0, bills: pl.LazyFrame | None = None) -> None:
        """Every row from some row on into its buckets, as numbers, and the fee lines, if not those of `bills`."""
        self.counted += spread(self._into_buckets, self._numbered(first), THREADS)
        bills = self.fee_lines if bills is None else bills
        if bills is not None:
            bills = with_fields(bills, "fee_lines", "med_list_codg", "cnt").select("feedetl_sn", "med_list_codg", "cnt")
            for part in slices(bills, self.part):
                self.billed.add(self._billed_lines(part))

    def _numbered(self, begin: int = 0) -> Iterator[tuple[int, pl.DataFrame]]:
        """Parts of trace_codes from some row on, with the number of their first row."""
        for first in range(begin, self.rows, self.part):
            yield first, self.events.slice(first, self.part).collect()

    def _into_buckets(self, numbered: tuple[int, pl.DataFrame]) -> pl.DataFrame:
        """A part into the buckets; returns the counts of lots in it, which are chosen."""
        first, part = numbered
        part = with_fields(part, "trace_codes", *FIELDS)
        records = slim(part, self.known, first)
        what = records["what"]
        self.codes.add(records[records["key"] != NONE])
        self.lines.add(records[(what & SCAN) != 0])
        self.sites.add(records[(what & MOVE) != 0])
        counts = (what & COUNT) != 0
        self.chosen[first : first + part.height] = counts
        watched = watched_rows(part, pl.Series(records["key"] == NONE))
        return pl.concat([counted_rows(part.filter(pl.Series(counts))), watched])

    def _billed_lines(self, bills: pl.DataFrame) -> pl.DataFrame:
        named = pl.col("med_list_codg").is_in(self.identifiers["med_list_codg"].unique().implode())
        return bills.filter(pl.col("cnt") > 0).select(
            line=id_of("feedetl_sn"),
            billed=(pl.col("cnt") * UNIT).cast(pl.Int64),
            named=named.fill_null(False).cast(pl.UInt8),
        )  # fmt: skip

    def _fetch(self) -> tuple[pl.LazyFrame, Fallen]:
        """The chosen rows with their texts, and what moved of lots in the others."""
        lots = FallenLots(pl.concat(self.counted), self.groups, self.identifiers, self.cancelled, self.ledger)
        folder, adding = self.work / "kept", Lock()
        folder.mkdir()
        self.events.head(0).collect().write_parquet(folder / "none.parquet")

        def fetch(numbered: tuple[int, pl.DataFrame]) -> None:
            first, part = numbered
            chosen = pl.Series(self.chosen[first : first + part.height])
            # By way of a file, because a few rows in memory would hold on to the texts of their whole part.
            part.filter(chosen).write_parquet(folder / f"{first:012}.parquet", compression="lz4")
            with adding:
                lots.add(part.lazy().filter(~chosen))

        wanted = lots.wanted.height > 0
        parts = (part for part in self._numbered() if wanted or self.chosen[part[0] : part[0] + self.part].any())
        list(spread(fetch, parts, THREADS))
        return pl.scan_parquet(sorted(folder.glob("*.parquet"))), lots.told()

    def _bills_of(self, rows: pl.LazyFrame, lines: pl.Series) -> pl.LazyFrame | None:
        if self.fee_lines is None:
            return None
        known = with_fields(rows, "trace_codes", "feedetl_sn").select(id_of("feedetl_sn")).collect().to_series()
        wanted = pl.concat([known.drop_nulls(), lines]).unique().sort()
        return self.fee_lines.filter(id_of("feedetl_sn").is_in(wanted.implode()))


def _all(parts: list[np.ndarray], dtype: str) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])


def _small(small: dict[str, pl.DataFrame], name: str) -> pl.DataFrame:
    return small[name] if name in small else table(name).schema.to_frame()
