"""An index of the trace codes of earlier months, so that a month more is judged by reading what it can meet.

The index is a folder: the rows themselves (trace_codes, fee_lines, claims), their numbers (`records`: slim.RECORD less
the row, which is the place; `billed`), the dictionary of codes outside the common family (`others`), what earlier
months kept, and the small tables all of it rests on. It only grows by files; `about.json` is written last and says how
many months stand, so that a month that was killed leaves nothing.

A month more meets an earlier row in few ways: the same family of codes, the same fee line, or a serial beside it at the
same site and time. Rows that meet none of the new ones were judged alone before, and stay as they were chosen.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from engine.run.records import spread
from engine.run.sieving import BILLED, THREADS, Sieve, Sieved
from engine.tracing.codes import codes_of, other_codes
from engine.tracing.events import Cancelled
from engine.tracing.repeats import Few, among, distinct, mixed
from engine.tracing.sieve import by_code, by_line, by_site
from engine.tracing.slim import MOVE, NONE, RECORD, SCAN

VERSION = 3
LARGE = ("trace_codes", "fee_lines", "claims")
_SEGMENT = 1_000_000


@dataclass(frozen=True)
class CodeIndex:
    """The index in `folder`: `months` of it stand, over `rows` rows of trace_codes, resting on `basis` (a hash)."""

    folder: Path
    months: int = 0
    rows: int = 0
    basis: str = ""

    def files(self, kind: str) -> list[Path]:
        """The files of a kind, of the months that stand, in the order of their rows."""
        found = sorted((self.folder / kind).glob("*.parquet"))
        return [path for path in found if int(path.stem.split("-")[0]) < self.months]

    def table(self, name: str) -> pl.LazyFrame | None:
        """A table of all months that stand, with the columns of any of them; None where none has it."""
        files, columns = self.files(name), {}
        for path in files:
            columns |= pl.read_parquet_schema(path)
        # As one scan, because a slice of several joined ones would read them all.
        return pl.scan_parquet(files, schema=columns, missing_columns="insert") if files else None

    def codes_of(self, keys: pl.Series) -> pl.Series:
        """The normal text of each key of the months that stand; null for a key they do not know."""
        known = self.table("others")
        others = other_codes(pl.Series([], dtype=pl.String)) if known is None else known.collect().unique()
        return codes_of(keys, others)

    def write(self, kind: str, first: int, frame: pl.DataFrame | pl.LazyFrame) -> None:
        """Keep a file of the month to come."""
        (self.folder / kind).mkdir(parents=True, exist_ok=True)
        frame.lazy().sink_parquet(self.folder / kind / f"{self.months:04}-{first:012}.parquet", compression="lz4")


def open_index(folder: Path) -> CodeIndex:
    """The index in a folder; an empty one where there is none yet."""
    about = folder / "about.json"
    said = json.loads(about.read_text("utf-8")) if about.exists() else {"version": VERSION}
    if said.pop("version") != VERSION:
        return CodeIndex(folder)
    return CodeIndex(folder, **said)


def basis_of(small: dict[str, pl.DataFrame], *settings: object) -> str:
    """A hash of the small tables and settings: under others, what was chosen before may have been chosen otherwise."""
    told = hashlib.sha256(repr(settings).encode())
    for name in sorted(small):
        frame = small[name].sort(pl.all())
        told.update(name.encode() + frame.select(sorted(frame.columns)).write_csv().encode())
    return told.hexdigest()


def sieve_month(
    tables: dict[str, pl.LazyFrame],
    small: dict[str, pl.DataFrame],
    cancelled: Callable[[dict[str, pl.LazyFrame]], Cancelled | None],
    folder: Path,
    *,
    tolerance_minutes: int = 10,
    within_seconds: int = 1,
    rows_a_part: int = _SEGMENT,
    work: Path | None = None,
) -> tuple[Sieved, dict[str, pl.LazyFrame]]:
    """(what is left to judge of all months, the large tables of all months); the index in `folder` then has the month.

    `cancelled` finds the cancelled settlements of the tables it is given. An index made under other small tables or
    settings is sieved anew from its rows.
    """
    index = open_index(folder)
    basis = basis_of(small, tolerance_minutes, within_seconds)
    for name in LARGE:
        if name in tables:
            index.write(name, 0, tables[name])
    after = CodeIndex(folder, index.months + 1)
    whole = {name: frame for name in LARGE if (frame := after.table(name)) is not None}
    known = index if index.basis == basis else CodeIndex(folder)
    if known is not index and index.months:
        _say(folder, index.months, index.rows, "")  # a run killed from here on sieves everything anew
        for kind in ("records", "others", "billed", "counted", "chosen", "lines"):
            for path in index.files(kind):
                path.unlink()
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        arguments = (whole, small, cancelled(whole), tolerance_minutes, within_seconds, rows_a_part, Path(scratch))
        if known.rows:
            job: Sieve = _Month(*arguments, index=known, lines=tables.get("fee_lines"))
        else:
            job = Sieve(*arguments, leave=index.write)
        kept = job.sieved()
        new_counts = job.counted[1:] if known.rows else job.counted
        index.write("counted", 0, pl.concat([job.no_counts(), *new_counts]))
        index.write("chosen", 0, pl.DataFrame({"row": np.flatnonzero(job.chosen)}))
        index.write("lines", 0, kept.lines.to_frame())
    _say(folder, after.months, job.rows, basis)
    return kept, whole


def _say(folder: Path, months: int, rows: int, basis: str) -> None:
    told = {"version": VERSION, "months": months, "rows": rows, "basis": basis}
    (folder / "about.json.new").write_text(json.dumps(told), "utf-8")
    (folder / "about.json.new").replace(folder / "about.json")


class _Month(Sieve):
    """The sieving of all months, of which `index` knows all but the last; `lines` are the fee lines of the last."""

    def __init__(self, *arguments, index: CodeIndex, lines: pl.LazyFrame | None):
        super().__init__(*arguments, leave=index.write)
        self.index, self.new_lines = index, lines

    def sieved(self) -> Sieved:
        before = pl.read_parquet(self.index.files("chosen")[-1])["row"].to_numpy()
        lines_before = pl.read_parquet(self.index.files("lines")[-1])["line"].to_numpy()
        self.chosen[before] = True
        parts = list(spread(lambda part: self._slim(*part), self._numbered(self.index.rows), THREADS))
        new = _all([records for records, _ in parts], RECORD)
        counted = pl.read_parquet(self.index.files("counted"))
        self.counted = [counted, *(counts for _, counts in parts)]
        coded = new[new["key"] != NONE]
        old = self._old("root", distinct(coded["root"]))
        codes = by_code(np.concatenate([old, coded]), self.above, self.groups, self.tolerance_minutes)
        again = old["root"][self.chosen[old["row"]]]  # kept before: what the month adds to them belongs to them
        lines = self._lines(new, codes.lines, lines_before)
        sites = by_site(np.concatenate([self._beside(new), new]), self.within_seconds)
        roots = distinct(np.concatenate([codes.roots, again, lines.roots, sites.roots]))
        self.chosen[self._old("root", roots, ("row",))["row"]] = True
        self.chosen[coded["row"][among(coded["root"], roots)]] = True
        self.chosen[lines.rows] = True
        return self._judged_on(np.union1d(lines_before, lines.lines))

    def _lines(self, new: np.ndarray, wrong: np.ndarray, before: np.ndarray):
        """The fee lines the month meets: scanned for or billed in it, or of codes it says something wrong of."""
        scans = new[(new["what"] & SCAN) != 0]
        billed = np.empty(0, BILLED)
        if self.new_lines is not None:
            frames = list(self._parts(self._billed_lines(self.new_lines)))
            for number, frame in enumerate(frames):
                self.leave("billed", number, frame)
            billed = _all([_array(frame, BILLED) for frame in frames], BILLED)
        met = distinct(np.concatenate([scans["line"], billed["line"], wrong]))
        old = self._old("line", met)
        billed = np.concatenate(
            [billed, *spread(partial(_rows_of, BILLED, "line", Few(met)), self._at("billed"), THREADS)]
        )
        wrong = np.union1d(wrong, met[among(met, before)])
        return by_line(np.concatenate([old[(old["what"] & SCAN) != 0], scans]), billed, wrong)

    def _at(self, kind: str) -> list[tuple[int, Path]]:
        """Files of the index with the number of the first row of each."""
        return [(int(path.stem.split("-")[1]), path) for path in self.index.files(kind)]

    def _old(self, by: str, values: np.ndarray, names: tuple[str, ...] = RECORD.names) -> np.ndarray:
        """Earlier records, with some of their fields, whose field `by` is one of `values`."""
        dtype = np.dtype([(name, RECORD[name]) for name in names])
        return _all(list(spread(partial(_rows_of, dtype, by, Few(values)), self._at("records"), THREADS)), dtype)

    def _beside(self, new: np.ndarray) -> np.ndarray:
        """Earlier moves of the same serials or those before and after, at the same site, at about the same time."""
        moves = new[(new["what"] & MOVE) != 0]
        if not len(moves):
            return moves
        places = mixed(np.ascontiguousarray(moves["site"])) + moves["key"]
        near = Few(np.concatenate([places - np.uint64(1), places, places + np.uint64(1)]))
        apart = self.within_seconds * 1_000_000
        first, last = int(moves["time"].min()) - apart, int(moves["time"].max()) + apart
        return _all(list(spread(partial(_places, near, first, last), self._at("records"), THREADS)), RECORD)


def _rows_of(dtype: np.dtype, by: str, few: Few, file: tuple[int, Path]) -> np.ndarray:
    first, path = file
    # The column that decides is read alone: of most files nothing else is needed.
    rows = np.flatnonzero(few.among(pl.read_parquet(path, columns=[by])[by].to_numpy()))
    return _array_of(dtype, first, path, rows)


def _places(near: Few, begin: int, end: int, file: tuple[int, Path]) -> np.ndarray:
    first, path = file
    time = pl.read_parquet(path, columns=["time"])["time"].to_numpy()
    rows = np.flatnonzero((time >= begin) & (time <= end))
    found = _array_of(RECORD, first, path, rows)
    return found[near.among(mixed(np.ascontiguousarray(found["site"])) + found["key"])]


def _array_of(dtype: np.dtype, first: int, path: Path, rows: np.ndarray) -> np.ndarray:
    names = [name for name in dtype.names if name != "row"]
    frame = pl.read_parquet(path, columns=names) if len(rows) and names else None
    found = np.empty(len(rows), dtype)
    for name in names:
        if frame is not None:
            found[name] = frame[name].to_numpy()[rows]
    if "row" in dtype.names:
        found["row"] = first + rows
    return found


def _array(frame: pl.DataFrame, dtype: np.dtype) -> np.ndarray:
    found = np.empty(frame.height, dtype)
    for name in dtype.names:
        found[name] = frame[name].to_numpy()
    return found


def _all(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])
