"""Rows cut into buckets by a hash, on disk, while they stream past: fixed records, appended to a file per bucket."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np

from engine.tracing.repeats import mixed


class Split:
    """Records of one kind in `count` buckets under a folder. `by` names the field whose hash decides the bucket."""

    def __init__(self, folder: Path, by: str, dtype: np.dtype, count: int):
        self.folder, self.by, self.dtype, self.count = folder, by, dtype, count
        self.lock = Lock()
        folder.mkdir(parents=True)

    def add(self, records: np.ndarray) -> None:
        """Append the rows of `records`, of which only the fields of this split are kept, each to its bucket."""
        own = np.empty(len(records), self.dtype)
        for name in self.dtype.names:
            own[name] = records[name]
        bucket = bucket_of(own[self.by], self.count)
        order = np.argsort(bucket, kind="stable")
        own, ends = own[order], np.bincount(bucket, minlength=self.count).cumsum()
        with self.lock:
            for number, part in enumerate(np.split(own, ends[:-1])):
                if len(part):
                    with (self.folder / str(number)).open("ab") as file:
                        part.tofile(file)

    def bucket(self, number: int) -> np.ndarray:
        """The records of one bucket, in any order."""
        path = self.folder / str(number)
        return np.fromfile(path, self.dtype) if path.exists() else np.empty(0, self.dtype)


class Shelf:
    """Records of buckets on disk, those of a bucket in the order of some value, so that few are found among many."""

    def __init__(self, folder: Path, dtype: np.dtype):
        self.folder, self.dtype = folder, dtype

    def fill(self, split: Split, value_of: Callable[[np.ndarray], np.ndarray]) -> None:
        """Keep the records of a split of these fields, in order of the value (uint64) they have."""
        self.folder.mkdir(parents=True)
        ends = [0]
        with (self.folder / "values").open("wb") as values, (self.folder / "records").open("wb") as records:
            for number in range(split.count):
                own = split.bucket(number)
                value = value_of(own)
                order = np.argsort(value, kind="stable")
                value[order].tofile(values)
                own[order].tofile(records)
                ends.append(ends[-1] + len(own))
        np.save(self.folder / "ends.npy", np.array(ends))

    def among(self, number: int, few: np.ndarray) -> np.ndarray:
        """The records of a bucket whose value is one of `few`, which are distinct and rise."""
        begin, end = np.load(self.folder / "ends.npy", mmap_mode="r")[number : number + 2]
        if begin == end or not len(few):
            return np.empty(0, self.dtype)
        values = np.fromfile(self.folder / "values", "u8", end - begin, offset=begin * 8)
        first, last = np.searchsorted(values, few, "left"), np.searchsorted(values, few, "right")
        sizes = last - first
        places = np.repeat(first - (sizes.cumsum() - sizes), sizes) + np.arange(sizes.sum())
        if not len(places):
            return np.empty(0, self.dtype)
        at = begin * self.dtype.itemsize
        return np.memmap(self.folder / "records", self.dtype, "r", at, (end - begin,))[places]


def bucket_of(values: np.ndarray, count: int) -> np.ndarray:
    """The bucket of each 64-bit value, as a short number."""
    return (mixed(np.ascontiguousarray(values)) % np.uint64(count)).astype(np.uint16)


def by_bucket(values: np.ndarray, count: int) -> list[np.ndarray]:
    """Values in the buckets they belong to."""
    bucket = bucket_of(values, count)
    order = np.argsort(bucket, kind="stable")
    return np.split(values[order], np.bincount(bucket, minlength=count).cumsum()[:-1])


def spread(work: Callable, things: Iterable, threads: int) -> Iterator:
    """work(thing) of each thing, in order; so many are worked on at a time, and no more are taken before."""
    with ThreadPoolExecutor(threads) as pool:
        pending: deque = deque()
        for thing in things:
            pending.append(pool.submit(work, thing))
            if len(pending) == threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
