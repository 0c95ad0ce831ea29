"""Which claim comes after which, and where the state of each person's year is kept.

The claims of a person form one sequence in the accrual order of the policy; where accounts are shared, those of an
account group do. Round k holds the k-th claim of every sequence, so within a round no claim depends on another.
Claims are rows numbered in order of setl_id, so that a row number is also the last word on which of two comes first.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.settlement.policy import Policy

DENSE = 8  # cells per claim up to which a table of all possible cells is smaller than the work of numbering them


@dataclass(frozen=True)
class Sequence:
    """Per claim, in order of setl_id: who, when, which round; and the rows of each round.

    person: a number of the person in `people` (the last one for wholly self-paid claims, which move no state).
    original: the row of the claim that a refund names, -1 for a claim that is none or an orphan, a refund that names no
    claim here, or a refund, or one already refunded. day: the date whose values hold. years: the years that occur.
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
    bounds: np.ndarray

    def rounds(self) -> list[np.ndarray]:
        """The rows of the first claims of all sequences, of the second …"""
        return [self.order[a:b] for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True)]


def in_sequence(claims: pl.DataFrame, policy: Policy, persons: pl.DataFrame | None = None) -> Sequence:
    """The sequence of claims sorted by setl_id. persons: psn_no and acct_group, where accounts are shared.

    A wholly self-paid claim is a sequence of its own, however many share one person number. A refund runs in the year
    and the sequence of the claim it names and never before it.
    """
    named = claims.select(
        (pl.col("refd_setl_flag") == "1").fill_null(False).alias("refund"),
        pl.coalesce(policy.accrual_order, "setl_time").to_physical().cast(pl.Int64).fill_null(_NEVER).alias("time"),
        pl.coalesce(policy.year_basis, "setl_time").dt.date().alias("day"),
        (pl.col("insured_flag") == "0").fill_null(False).alias("alone"),
    )
    refund, alone = named["refund"].to_numpy(), named["alone"].to_numpy()
    time, row = named["time"].to_numpy().copy(), np.arange(len(refund))
    day = named["day"].to_numpy().astype("datetime64[D]")
    year = day.astype("datetime64[Y]").astype(np.int64) + 1970
    original = _named_rows(claims, refund)
    people, person, sequence = _persons(
        claims["psn_no"].fill_null(""), alone, persons if policy.shared_account else None
    )

    some = np.flatnonzero(original >= 0)
    of = original[some]
    person[some], sequence[some], year[some] = person[of], sequence[of], year[of]
    early = (time[some] < time[of]) | ((time[some] == time[of]) & (some < of))
    turn = row.copy()
    turn[some[early]], time[some[early]] = of[early], time[of[early]]
    again = _named_again(original, time, turn, some)
    order = (
        pl.DataFrame({"of": sequence, "time": time, "turn": 2 * turn + refund, "row": row})
        .select(pl.arg_sort_by("of", "time", "turn", "row"))
        .to_series()
        .to_numpy()
    )
    k = places(sequence[order])
    by_round = np.argsort(k, kind="stable")
    bounds = np.searchsorted(k[by_round], np.arange(k.max(initial=0) + 2))
    place = np.empty_like(k)
    place[order] = k
    years = np.unique(year)
    orphan = refund & ((original < 0) | again)
    return Sequence(
        people, person, refund, orphan, np.where(orphan, -1, original), day, year, years, place, order[by_round], bounds
    )


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


def _persons(numbers: pl.Series, alone: np.ndarray, persons: pl.DataFrame | None) -> tuple:
    """psn_no and acct_group of all persons by number; the number and the sequence of each claim."""
    people = pl.DataFrame({"psn_no": numbers.unique()}).sort("psn_no")
    if persons is None:
        people = people.with_columns(acct_group=pl.lit(None, pl.String))
    else:
        groups = persons.select("psn_no", pl.when(pl.col("acct_group") != "").then("acct_group").alias("acct_group"))
        groups = groups.sort("psn_no", "acct_group").unique("psn_no", keep="first", maintain_order=True)
        people = people.join(groups.filter(pl.col("acct_group").is_not_null()), on="psn_no", how="full", coalesce=True)
        people = people.sort("psn_no")
    person = numbers.cast(pl.Enum(people["psn_no"])).to_physical().to_numpy().astype(np.int64)
    group = people.with_row_index("n").select(
        pl.when(pl.col("acct_group").is_null()).then("n").otherwise(pl.col("n").min().over("acct_group"))
    )
    sequence = group.to_series().to_numpy().astype(np.int64)[person]
    sequence[alone] = people.height + np.flatnonzero(alone)
    person[alone] = people.height
    return people, person, sequence


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
