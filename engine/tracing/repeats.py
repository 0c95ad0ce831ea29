"""Which codes occur more than once, and in which rows: exact, in about the time it takes to sort their keys.

Most codes are sold once and need no more than that. To find the others, each key is mixed into a fingerprint, and what
is sorted is one whole number per row: the high bits of the fingerprint and, in the low bits, the number of the row. So
a repeated code comes out of the sort together with its rows, in their order, and nothing is looked up afterwards. The
numbers are first dealt into pieces that a processor keeps near, by the highest bits of the fingerprint. Two keys may
share a fingerprint: whatever the sort puts together is compared by its full key before it counts.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

PIECE = 1 << 16  # rows sorted at once: half a megabyte
CHUNK = 1 << 16  # rows dealt at once
_MOST_PIECES = 1 << 15
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

    `threads`: how many pieces are worked on at a time; as many as there are processors unless said.
    """
    threads = threads or os.cpu_count() or 1
    bits = max(1, (len(keys) - 1).bit_length())  # of the number of a row
    digits = min(_MOST_PIECES, -(-len(keys) // PIECE)).bit_length()
    with ThreadPoolExecutor(threads) as pool:
        dealt, ends = _dealt(keys, bits, digits, threads, pool.map)
        pieces = np.split(dealt, ends[:-1])
        found = list(pool.map(partial(_repeated, keys, bits), pieces))
    rows = np.concatenate([rows for rows, _ in found])
    sizes = np.concatenate([sizes for _, sizes in found])
    return Repeats(rows, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))


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


def _dealt(
    keys: np.ndarray, bits: int, digits: int, threads: int, spread: Callable[..., Iterable]
) -> tuple[np.ndarray, np.ndarray]:
    """(numbers to sort, end of each piece): the rows in pieces by the highest `digits` bits of their fingerprint."""
    share = -(-len(keys) // threads)
    parts = [(at, min(at + share, len(keys))) for at in range(0, len(keys), max(share, 1))]
    counts = np.array(list(spread(lambda part: _counts(keys, digits, *part), parts)), np.int64).reshape(-1, 1 << digits)
    ends = counts.sum(axis=0).cumsum()
    # Where each part writes into each piece: after the pieces before, and after the parts before in the same piece.
    places = ends - counts[::-1].cumsum(axis=0)[::-1]
    dealt = np.empty(len(keys), np.uint64)
    list(spread(lambda part, place: _deal(keys, dealt, place, bits, digits, *part), parts, places))
    return dealt, ends


def _counts(keys: np.ndarray, digits: int, begin: int, end: int) -> np.ndarray:
    counts = np.zeros(1 << digits, np.int64)
    for at in range(begin, end, CHUNK):
        piece = _piece_of(mixed(keys[at : min(at + CHUNK, end)]), digits)
        counts += np.bincount(piece, minlength=1 << digits)
    return counts


def _piece_of(prints: np.ndarray, digits: int) -> np.ndarray:
    # Short numbers, because those are sorted digit by digit and not by comparing.
    return (prints >> np.uint64(64 - digits)).astype(np.uint8 if digits <= 8 else np.uint16)


def _deal(keys, dealt: np.ndarray, places: np.ndarray, bits: int, digits: int, begin: int, end: int) -> None:
    """Write rows begin to end into `dealt`, each after the last one of its piece."""
    places, row_bits = places.copy(), np.uint64((1 << bits) - 1)
    for at in range(begin, end, CHUNK):
        until = min(at + CHUNK, end)
        prints = mixed(keys[at:until])
        piece = _piece_of(prints, digits)
        counts = np.bincount(piece, minlength=1 << digits)
        order = np.argsort(piece, kind="stable")
        numbers = prints << np.uint64(digits)  # what the piece says already need not be said again
        numbers &= ~row_bits
        numbers |= np.arange(at, until, dtype=np.uint64)
        target = np.arange(until - at) + np.repeat(places - (counts.cumsum() - counts), counts)
        dealt[target] = numbers[order]
        places += counts


def _repeated(keys: np.ndarray, bits: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the repeated codes of a piece, how many rows each has). Sorts the piece where it lies."""
    numbers.sort()
    prints = numbers >> np.uint64(bits)
    same = prints[1:] == prints[:-1]
    if not same.any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    joined = np.zeros(len(numbers), bool)
    joined[1:] = same
    joined[:-1] |= same
    rows = (numbers[joined] & np.uint64((1 << bits) - 1)).astype(np.int64)
    first = ~np.concatenate([[False], same])[joined]
    return _by_key(rows, first, keys[rows])


def _by_key(rows: np.ndarray, first: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of rows that share a fingerprint, `first` of each marked, by their full keys."""
    if np.any(keys[1:] != keys[:-1], where=~first[1:]):
        group = first.cumsum()
        order = np.lexsort((rows, keys, group))
        rows, keys = rows[order], keys[order]
        first = np.concatenate([[True], (keys[1:] != keys[:-1]) | (group[1:] != group[:-1])])
        lone = first & np.concatenate([first[1:], [True]])
        rows, first = rows[~lone], first[~lone]
    return rows, np.diff(np.concatenate([np.flatnonzero(first), [len(rows)]]))
