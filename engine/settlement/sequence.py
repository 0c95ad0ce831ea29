"""Which claim comes after which, and where the state of each person's year is kept.

The claims of a person form one sequence in the accrual order of the policy; where accounts are shared, those of an
account group do. Round k holds the k-th claim of every sequence, so within a round no claim depends on another.
Claims are rows numbered in order of setl_id, so that a row number is also the last word on which of two comes first.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from engine.settlement.policy import Policy

BLOCK = 1 << 15  # claims worked on at once: their arrays stay near the processor
DENSE = 8  # cells per claim up to which a table of all possible cells is smaller than the work of numbering them


@dataclass(frozen=True)
class Sequence:
    """Per claim, in order of setl_id: who, when, which round; and the rows of each round.

    person: a number of the person in `people`; a wholly self-paid claim has one of its own, by its setl_id.
    original: the row of the claim that a refund names, -1 for a claim that is none or an orphan, a refund that names no
    claim here, or a refund, or one already refunded. day: the date whose values hold. years: the years that occur.
    order: the rows, the claims of each sequence side by side.
    """

    people: pl.DataFrame
    person: np.ndarray
    refund: np.ndarray
    orphan: np.ndarray
    original: np.ndarray
    day: np.ndarray
    year: np.ndarray
    years: np.ndarray
    k: np.ndarray
    order: np.ndarray
    by_round: np.ndarray
    bounds: np.ndarray

    def moved(self) -> "Sequence":
        """The same with the claims of each sequence side by side, so that what is near in time is near in memory."""
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(place))
        names = ("person", "refund", "orphan", "day", "year", "k")
        original = self.original[self.order]
        original = np.where(original >= 0, place[original], -1)
        return replace(self, original=original, **{name: getattr(self, name)[self.order] for name in names})

    def rounds(self) -> list[list[np.ndarray]]:
        """Where, when moved, the first claims of all sequences are, the second …, each in blocks that fit a cache."""
        ends = zip(self.bounds[:-1], self.bounds[1:], strict=True)
        return [[self.by_round[at : min(at + BLOCK, end)] for at in range(begin, end, BLOCK)] for begin, end in ends]


def in_sequence(claims: pl.DataFrame, policy: Policy, persons: pl.DataFrame | None = None) -> Sequence:
    """The sequence of claims sorted by setl_id. persons: psn_no and acct_group, where accounts are shared.

    A wholly self-paid claim is a sequence of its own, however many share one person number. A refund runs in the year
    and the sequence of the claim it names and never before it.
    """
    named = claims.select(
        (pl.col("refd_setl_flag") == "1").fill_null(False).alias("refund"),
        pl.coalesce(policy.accrual_order, "setl_time").to_physical().cast(pl.Int64).fill_null(_NEVER).alias("time"),
        pl.coalesce(policy.year_basis, "setl_time").dt.date().fill_null(pl.date(1, 1, 1)).alias("day"),
        pl.when(pl.col("insured_flag") == "0").then("setl_id").otherwise("psn_no").alias("of"),
    )
    refund, of = named["refund"].to_numpy(), named["of"]
    time, row = named["time"].to_numpy().copy(), np.arange(len(refund))
    day = named["day"].to_numpy().astype("datetime64[D]")
    year = year_of(day, policy)
    original, turn, again = _named_rows(claims, refund), row.copy(), np.zeros(len(row), bool)
    some = np.flatnonzero(original >= 0)
    if len(some):
        to = original[some]
        of, year[some] = of.scatter(some, of.gather(to)), year[to]
        early = (time[some] < time[to]) | ((time[some] == time[to]) & (some < to))
        turn[some[early]], time[some[early]] = to[early], time[to[early]]
        again = _named_again(original, time, turn, some)
    keys = {"time": time, "turn": 2 * turn + refund, "row": row}
    people, person, order = _persons(of, keys)
    sequence = person
    if policy.shared_account and persons is not None:
        people, sequence = _families(people, persons, person)
        order = pl.DataFrame({"of": sequence, **keys}).select(pl.arg_sort_by("of", *keys))
        order = order.to_series().to_numpy().astype(np.int64)
    k = places(sequence[order])
    by_round = np.argsort(k, kind="stable")
    bounds = np.searchsorted(k[by_round], np.arange(k.max(initial=0) + 2))
    place = np.empty_like(k)
    place[order] = k
    orphan = refund & ((original < 0) | again)
    original = np.where(orphan, -1, original)
    years = pl.Series(year).unique().sort().to_numpy()
    return Sequence(people, person, refund, orphan, original, day, year, years, place, order, by_round, bounds)


def year_of(day: np.ndarray, policy: Policy) -> np.ndarray:
    """The year of the policy in which each day lies, named after the calendar year in which it begins."""
    month, first = (int(part) for part in policy.year_begins.split("-"))
    of = day.astype("datetime64[M]").astype(np.int64)
    before = (of % 12 + 1 < month) | (
        (of % 12 + 1 == month) & ((day - day.astype("datetime64[M]")).astype(int) < first - 1)
    )
    return of // 12 + 1970 - before


_NEVER = np.iinfo(np.int64).max // 4  # a time after all others, for a claim that has none


def _named_rows(claims: pl.DataFrame, refund: np.ndarray) -> np.ndarray:
    """For each refund the row of the claim it names, if that is here and no refund; else -1."""
    rows = np.full(claims.height, -1)
    names = claims.select("init_setl_id", row=pl.int_range(pl.len())).filter(pl.Series(refund))
    if names.height:
        wanted = claims.select(init_setl_id="setl_id", found=pl.int_range(pl.len())).filter(~pl.Series(refund))
        found = names.join(wanted, on="init_setl_id", how="inner")
        rows[found["row"].to_numpy()] = found["found"].to_numpy()
    return rows


def _named_again(original: np.ndarray, time: np.ndarray, turn: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Which refunds name a claim that an earlier one has already taken back."""
    again = np.zeros(len(original), bool)
    ordered = some[np.lexsort((some, turn[some], time[some], original[some]))]
    again[ordered[1:]] = original[ordered[1:]] == original[ordered[:-1]]
    return again


def _persons(of: pl.Series, keys: dict[str, np.ndarray]) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """psn_no of all persons by number, the number of each claim's, and the claims in order of person and keys."""
    order = pl.DataFrame({"of": of, **keys}).select(pl.arg_sort_by("of", *keys)).to_series()
    ordered = of.gather(order)
    number = ordered.rle_id().to_numpy().astype(np.int64)
    order, person = order.to_numpy().astype(np.int64), np.empty(len(of), np.int64)
    person[order] = number
    return pl.DataFrame({"psn_no": ordered.gather(np.flatnonzero(np.diff(number, prepend=-1)))}), person, order


def _families(people: pl.DataFrame, persons: pl.DataFrame, person: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
    """The people with their acct_group, followed by members of such a group without a claim; sequences of families."""
    groups = persons.filter(pl.col("acct_group") != "").select("psn_no", "acct_group")
    groups = groups.sort("psn_no", "acct_group").unique("psn_no", keep="first", maintain_order=True)
    known = people.join(groups, on="psn_no", how="left", maintain_order="left")
    people = pl.concat([known, groups.join(people, on="psn_no", how="anti", maintain_order="left")])
    first = pl.when(pl.col("acct_group").is_null()).then("n").otherwise(pl.col("n").min().over("acct_group"))
    return people, people.with_row_index("n").select(first).to_series().to_numpy().astype(np.int64)[person]


def places(sequence: np.ndarray) -> np.ndarray:
    """Of sequences in one block each: 0, 1, 2 … within each."""
    begins = np.flatnonzero(np.diff(sequence, prepend=-1))
    lengths = np.diff(begins, append=len(sequence))
    return np.arange(len(sequence)) - np.repeat(begins, lengths)


def cells(parts: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """A number for each combination of numbers, and how many there are; parts: values from zero, and their bound."""
    keys, size = np.zeros(len(parts[0][0]), np.int64), 1
    for values, bound in parts:
        keys, size = keys * bound + values, size * bound
    if size <= DENSE * len(keys) + 1000:
        return keys, size
    found, keys = np.unique(keys, return_inverse=True)
    return keys, len(found)


def chains(
    person: np.ndarray, begins: np.ndarray, ends: np.ndarray, within: np.ndarray, stay: np.ndarray
) -> np.ndarray:
    """A number from 1 for each chain of stays that go on with each other, per claim; 0 for claims that are no stays.

    begins, ends: days. within: the most days between the last end so far of the person and a begin that goes on.
    """
    number = np.zeros(len(person), np.int64)
    rows = np.flatnonzero(stay)
    if not len(rows):
        return number
    rows = rows[np.lexsort((rows, begins[rows], person[rows]))]
    who, begin, end = person[rows], begins[rows], np.maximum(begins[rows], ends[rows])
    frame = pl.DataFrame({"who": who, "end": end.astype("datetime64[D]").astype(np.int64)})
    last = frame.select(pl.col("end").cum_max().over("who").shift(1).over("who").fill_null(-_NEVER)).to_series()
    gap = begin.astype("datetime64[D]").astype(np.int64) - last.to_numpy()
    number[rows] = np.cumsum(gap > within[rows])
    return number
