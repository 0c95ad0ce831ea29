"""How fast the codes that occur more than once are found among very many: `yibao bench --codes N`.

The bare sort sorts the two halves of the same keys with one thread each and does nothing else: no rows, no evidence,
not even a merge. Ours gives every repeated code with all its rows. The jobs of one row run in turn, after one run that
is not measured; each is also told by the processor seconds it took and by its peak of memory beyond nothing, the keys
and the data themselves included.
"""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from engine.tables.problems import InvariantBroken
from engine.tracing.codes import keys_of
from engine.tracing.repeats import Repeats, repeats
from synthetic.timing import Row

PRODUCTS, SERIALS = 3_000, 10**13
SHARE = 0.005  # of the rows repeat the code of another
ROUNDS = 3
TEXTS = 30_000_000  # as many codes as raw strings fit the memory of a small machine beside a group_by
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def bench_codes(count: int, progress: Callable[[str, int, int], None] = lambda *_: None, seed: int = 2026) -> dict:
    """Measure with `count` codes; the answer has the machine and `rows` (see timing.Row).

    Raises InvariantBroken where ours finds other codes than counting the sorted keys does, or than Polars finds.
    """
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    progress("造码 making codes", 0, 1)
    keys = realistic_keys(count, seed)
    progress("造码 making codes", 1, 1)
    rows = []
    for number, job in enumerate((_against_sort, _against_polars), 1):
        progress("测量 measuring", number - 1, 2)
        rows += job(keys)
    progress("测量 measuring", 2, 2)
    return {"codes": count, "cpus": os.cpu_count(), "load_before": load, "polars": pl.__version__,
            "numpy": np.__version__, "rows": [asdict(row) for row in rows]}  # fmt: skip


def realistic_keys(count: int, seed: int) -> np.ndarray:
    """Keys of codes of a few thousand products, some sold far more than others, with random serials; SHARE of the rows
    repeat the code of another row."""
    rng = np.random.default_rng(seed)
    products = rng.choice(10**6, PRODUCTS, replace=False).astype(np.uint64) * np.uint64(SERIALS)
    weights = rng.pareto(1.2, PRODUCTS) + 1
    keys = np.empty(count, np.uint64)
    for at in range(0, count, 1 << 22):
        part = keys[at : at + (1 << 22)]
        part[:] = products[rng.choice(PRODUCTS, len(part), p=weights / weights.sum())]
        part += rng.integers(0, SERIALS, len(part)).astype(np.uint64)
        part |= np.uint64(1)  # no code ends in the zeros of one that a spreadsheet damaged
    again = rng.integers(0, count, round(count * SHARE))
    keys[again] = keys[rng.integers(0, count, len(again))]
    return keys


def bare_sort(keys: np.ndarray) -> None:
    """Both halves of a copy of the keys sorted, a thread each."""
    halves = np.array_split(keys.copy(), 2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(np.ndarray.sort, halves))


def texts_of(keys: np.ndarray) -> pl.Series:
    """The codes of keys as they are written: twenty digits beginning with 8."""
    digits = pl.Series("code", keys).cast(pl.String).str.zfill(19)
    return pl.select(pl.concat_str(pl.lit("8"), digits)).to_series()


def measured(*jobs: Callable) -> tuple[np.ndarray, np.ndarray, list[float | None], list]:
    """(seconds [round, job], processor seconds [round, job], peak of memory in GB by job, what each gave first)."""
    given, taken, used, peaks = [job() for job in jobs], [], [], [[] for _ in jobs]
    for _ in range(ROUNDS):
        taken.append([])
        used.append([])
        for job, peak in zip(jobs, peaks, strict=True):
            _forget_peak()
            began, worked = time.perf_counter(), time.process_time()
            job()
            taken[-1].append(time.perf_counter() - began)
            used[-1].append(time.process_time() - worked)
            peak.append(_peak())
    return np.array(taken), np.array(used), [max(p) if None not in p else None for p in peaks], given


def _forget_peak() -> None:
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def _peak() -> float | None:
    """The most memory this process had since `_forget_peak`, in GB; None where the system does not tell."""
    if not _CLEAR.exists():
        return None
    said = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(said.split()[1]) * 1024 / 1e9


def _against_sort(keys: np.ndarray) -> list[Row]:
    seconds, used, peaks, (_, found) = measured(lambda: bare_sort(keys), lambda: repeats(keys))
    _check(keys, found)
    label = "重复码及其全部行 · repeated codes with all their rows"
    return [_row(label, len(keys), seconds, used, peaks, "双线程 numpy 排序 · numpy sort, two threads")]


def _check(keys: np.ndarray, found: Repeats) -> None:
    """The sorted keys must have as many repeated codes and rows of them; and all rows of a code its key."""
    in_order = np.sort(keys)
    same = in_order[1:] == in_order[:-1]
    codes = int((same & ~np.concatenate([[False], same[:-1]])).sum())
    of_code = keys[found.rows[found.starts[:-1]]]
    right = (codes, codes + int(same.sum())) == (len(found), len(found.rows))
    if not (right and np.array_equal(keys[found.rows], np.repeat(of_code, found.sizes()))):
        raise InvariantBroken("重复码与排序所得不同 the repeated codes are not those of the sort")


def _against_polars(keys: np.ndarray) -> list[Row]:
    """From raw strings: a group_by that only counts, against keys and repeats with all rows."""
    keys = keys[:TEXTS]
    frame = pl.DataFrame({"code": texts_of(keys)})

    def counted() -> int:
        return frame.group_by("code").len().filter(pl.col("len") > 1).height

    jobs = (counted, lambda: repeats(keys), lambda: repeats(keys_of(frame["code"]).drop_nulls().to_numpy()))
    seconds, used, peaks, (theirs, ours, from_text) = measured(*jobs)
    if not theirs == len(ours) == len(from_text):
        raise InvariantBroken("重复码与 Polars 所得不同 the repeated codes are not those of Polars")
    against = "Polars group_by 原文 · Polars group_by of raw strings"
    labels = ("同上，由键 · the same, from keys", "同上，由原文 · the same, from raw strings")
    return [
        _row(label, len(keys), seconds[:, [0, n]], used[:, [0, n]], [peaks[0], peaks[n]], against)
        for n, label in enumerate(labels, 1)
    ]


def _row(label: str, count: int, seconds: np.ndarray, used: np.ndarray, peaks: list, against: str) -> Row:
    """One row; `ratio` is how many times as fast as the other job, of the same round."""
    rates = [round(count / statistics.median(seconds[:, job])) for job in (1, 0)]
    ratio = statistics.median(seconds[:, 0] / seconds[:, 1])
    cpu = [statistics.median(used[:, job]) for job in (1, 0)]
    told = f"{cpu[0]:.1f}/{cpu[1]:.1f} CPU s"
    if None not in peaks:
        told += f", {peaks[1]:.2f}/{peaks[0]:.2f} GB"
    parts = [f"{part} ({told})" for part in label.split(" · ")]
    return Row("codes", " · ".join(parts), count, "码 · codes", rates[0], ratio, against, rates[1])
