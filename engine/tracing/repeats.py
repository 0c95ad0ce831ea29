"""Which codes occur more than once, and in which rows: exact, in about the time it takes to sort their keys.

Most codes are sold once and need no more than that. To find the others, each key is made a fingerprint, and what
is sorted is one whole number per row: the high bits of the fingerprint and, in the low bits, the number of the row. So
a repeated code comes out of the sort together with its rows, in their order, and nothing is looked up afterwards. The
numbers are parted where they lie into as many equal shares as threads sort them. Two keys may share a fingerprint:
whatever the sort puts together is compared by its full key before it counts.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 16  # values at once: half a megabyte, which a processor keeps near
_ROWS = 1 << 18  # at once where little is done with each, so that threads seldom wait for one another
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Repeats:
    """The codes that occur more than once, with all their rows.

    rows:   int64, numbers of rows; those of one code stand together in rising order
    starts: int64, where in `rows` each code begins, and the length of `rows` at the end

    The order of the codes means nothing, and is the same for the same keys whatever the number of threads.
    """

    rows: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sizes(self) -> np.ndarray:
        """How many rows each code has."""
        return np.diff(self.starts)

    def of_row(self) -> np.ndarray:
        """The number of the code (from 0) of each of `rows`."""
        return np.repeat(np.arange(len(self)), self.sizes())


def repeats(keys: np.ndarray, threads: int | None = None) -> Repeats:
    """The codes among `keys` (uint64, one per row) that occur more than once. Needs as much memory again as the keys.

    `threads`: how many shares are sorted at a time; as many as there are processors unless said.
    """
    threads = threads or os.cpu_count() or 1
    bits = np.uint64(max(1, (len(keys) - 1).bit_length()))  # of the number of a row
    of_row = (np.uint64(1) << bits) - np.uint64(1)
    numbers = np.empty(len(keys), np.uint64)
    chunks = [(at, min(at + _ROWS, len(keys))) for at in range(0, len(keys), _ROWS)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda chunk: _number(keys, numbers, of_row, *chunk), chunks))
        shares = [len(numbers) * n // threads for n in range(1, threads)]
        if len(numbers) > threads > 1:
            numbers.partition(shares)
        list(pool.map(np.ndarray.sort, np.split(numbers, shares)))
        again = list(pool.map(lambda chunk: _again(numbers, of_row, *chunk), chunks))
    places, first = _with_first(np.concatenate([np.empty(0, np.int64), *again]))
    rows = (numbers[places] & of_row).astype(np.int64)
    return Repeats(*_by_key(rows, first, keys[rows]))


def mixed(keys: np.ndarray) -> np.ndarray:
    """Keys as fingerprints of 64 bits whose high bits are even however the keys lie; no two keys have the same."""
    prints = keys * _ODD
    prints ^= prints >> _HALF
    prints *= _ODD
    return prints


def distinct(values: np.ndarray) -> np.ndarray:
    """The different values in rising order, by sorting: of very many that is faster than np.unique, which hashes."""
    in_order = np.sort(values)
    return in_order[np.concatenate([np.ones(min(1, len(values)), bool), in_order[1:] != in_order[:-1]])]


class Few:
    """Some values (uint64) to be found again among very many: one bit for each of their fingerprints lets nearly all
    others pass, a second one nearly all the rest, and only what both stop is looked for among the values."""

    def __init__(self, values: np.ndarray):
        self.values = distinct(values)
        self.bits = np.uint64(max(13, (8 * len(self.values)).bit_length()))
        prints = mixed(self.values)
        self.high, self.low = (self._marks(places) for places in (self._high(prints), self._low(prints)))

    def among(self, many: np.ndarray) -> np.ndarray:
        """Whether each of `many` is one of the values."""
        chosen = np.zeros(len(many), bool)
        for at in range(0, len(many) if len(self.values) else 0, CHUNK):
            part = np.ascontiguousarray(many[at : at + CHUNK])
            prints = mixed(part)
            maybe = np.flatnonzero(_marked(self.high, self._high(prints)))
            maybe = maybe[_marked(self.low, self._low(prints[maybe]))]
            place = np.searchsorted(self.values, part[maybe])
            place[place == len(self.values)] = 0
            chosen[at + maybe[self.values[place] == part[maybe]]] = True
        return chosen

    def _high(self, prints: np.ndarray) -> np.ndarray:
        return prints >> (np.uint64(64) - self.bits)

    def _low(self, prints: np.ndarray) -> np.ndarray:
        return (prints >> np.uint64(3)) & ((np.uint64(1) << self.bits) - np.uint64(1))

    def _marks(self, places: np.ndarray) -> np.ndarray:
        marks = np.zeros(1 << int(self.bits), bool)
        marks[places] = True
        return np.packbits(marks, bitorder="little")  # bits, so that the table stays near the processor


def _marked(marks: np.ndarray, places: np.ndarray) -> np.ndarray:
    bit = np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
    return (marks[places >> np.uint64(3)] & bit) != 0


def among(many: np.ndarray, few: np.ndarray) -> np.ndarray:
    """Whether each of `many` is one of `few` (both uint64): like np.isin, but sorts nothing of the many."""
    return Few(few).among(many)


def _number(keys: np.ndarray, numbers: np.ndarray, of_row: np.uint64, begin: int, end: int) -> None:
    """What is sorted, of some rows."""
    part = np.multiply(keys[begin:end], _ODD, out=numbers[begin:end])  # its high bits depend on all of the key
    part &= ~of_row
    part |= np.arange(begin, end, dtype=np.uint64)


def _again(numbers: np.ndarray, of_row: np.uint64, begin: int, end: int) -> np.ndarray:
    """Where in the sorted numbers, between two places, one has the fingerprint of the number before it."""
    part = numbers[max(begin - 1, 0) : end]
    return np.flatnonzero((part[1:] ^ part[:-1]) <= of_row) + max(begin, 1)


def _with_first(again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places of all numbers that share a fingerprint, whether each is the first of those that share one)."""
    begins = np.ones(len(again), bool)
    begins[1:] = again[1:] != again[:-1] + 1
    at = np.arange(len(again)) + begins.cumsum()  # after the first ones, of this and of those before
    places, first = np.empty(len(again) + begins.sum(), np.int64), np.zeros(len(again) + begins.sum(), bool)
    places[at], first[at[begins] - 1] = again, True
    places[first] = again[begins] - 1
    return places, first


def _by_key(rows: np.ndarray, first: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, starts) of the codes among rows that share a fingerprint, `first` of each marked: by their full keys."""
    differ = (keys[1:] != keys[:-1]) & ~first[1:]
    if differ.any():
        group = first.cumsum() - 1
        odd = np.zeros(len(rows), bool)
        odd[group[1:][differ]] = True
        odd = odd[group]
        told = rows[odd], keys[odd], group[odd]
        order = np.lexsort(told)
        own, key, group = (column[order] for column in told)
        begins = np.ones(len(own), bool)
        begins[1:] = (key[1:] != key[:-1]) | (group[1:] != group[:-1])
        several = ~(begins & np.append(begins[1:], True))
        rows = np.concatenate([rows[~odd], own[several]])
        first = np.concatenate([first[~odd], begins[several]])
    return rows, np.append(np.flatnonzero(first), len(rows))
