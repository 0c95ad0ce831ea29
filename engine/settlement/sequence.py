"""Which claim comes after which, and where the state of each person's year is kept.

The claims of a person form one sequence in the accrual order of the policy. Round k holds the k-th claim of every
person, so within a round no claim depends on another.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from engine.settlement.policy import Policy

_YEARS = 10_000  # more than any year, to number person and year together


def in_order(claims: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The claims with `person`, numbered, and `k`, the place of the claim in its person's sequence.

    A wholly self-paid claim moves no state and is a sequence of its own, however many share one person number.
    A refund runs in the year of the claim it names and never before it. It is an `orphan` when it names no claim here,
    or a refund, or one already refunded.
    """
    refund = (pl.col("refd_setl_flag") == "1").fill_null(False)
    day = pl.coalesce(policy.year_basis, "setl_time").dt.date()
    claims = claims.with_columns(
        refund.alias("refund"),
        day.alias("day"),
        day.dt.year().alias("year"),
        pl.coalesce(policy.accrual_order, "setl_time").alias("time"),
        pl.when(refund).then("init_setl_id").alias("init_setl_id"),
        pl.when(pl.col("insured_flag") == "0").then("setl_id").otherwise("psn_no").alias("of"),
    )
    named = claims.filter(~pl.col("refund")).select(
        pl.col("setl_id").alias("init_setl_id"),
        pl.col("of").alias("named_of"),
        pl.col("year").alias("of_year"),
        pl.col("time").alias("named_time"),
    )
    claims = claims.join(named, on="init_setl_id", how="left")
    early = (pl.col("time") < pl.col("named_time")) | (
        (pl.col("time") == pl.col("named_time")) & (pl.col("setl_id") < pl.col("init_setl_id"))
    )
    claims = claims.with_columns(
        pl.coalesce("named_of", "of").alias("of"),
        pl.coalesce("of_year", "year").alias("of_year"),
        pl.when(early).then("named_time").otherwise("time").alias("time"),
        pl.when(early).then("init_setl_id").otherwise("setl_id").alias("turn"),
    ).sort("of", "time", "turn", "refund", "setl_id")
    again = ~pl.col("init_setl_id").is_first_distinct()
    return claims.with_columns(
        pl.col("of").rle_id().cast(pl.Int64).alias("person"),
        pl.int_range(pl.len()).over("of").alias("k"),
        (pl.col("refund") & (pl.col("named_time").is_null() | again)).alias("orphan"),
    )


def with_account(claims: pl.DataFrame, openings: pl.DataFrame | None) -> pl.DataFrame:
    """The claims in rounds (by k, then person) with `account`, the last opening balance, and the year of it."""
    if openings is None:
        openings = pl.DataFrame(schema={"psn_no": pl.String, "year": pl.Int64, "acct_balc": pl.Int64})
    balances = openings.select(
        pl.col("psn_no").alias("of"),
        pl.col("year").cast(pl.Int32, strict=False).alias("opening"),
        pl.col("acct_balc").alias("account"),
    ).sort("opening")
    return (
        claims.sort("of_year")
        .join_asof(balances, left_on="of_year", right_on="opening", by="of", coalesce=False, check_sortedness=False)
        .with_columns(pl.col("account", "opening").fill_null(0))
        .sort("k", "person")
    )


def originals(ordered: pl.DataFrame) -> np.ndarray:
    """The position of the claim that a refund names, -1 for a claim that is none or an orphan."""
    places = ordered.select(pl.col("setl_id").alias("init_setl_id"), pl.int_range(pl.len()).alias("place"))
    refunds = ordered.select(pl.when(pl.col("refund") & ~pl.col("orphan")).then("init_setl_id").alias("init_setl_id"))
    found = refunds.join(places, on="init_setl_id", how="left", maintain_order="left")
    return found["place"].fill_null(-1).to_numpy()


def state_cells(ordered: pl.DataFrame, benefit: np.ndarray, original: np.ndarray) -> dict[str, np.ndarray]:
    """Where each claim's state is kept, as numbers from zero; a refund moves that of the benefit which was paid."""
    numbers = ordered.select(pl.col("person", "of_year", "opening").fill_null(0).cast(pl.Int64))
    person, year, opening = (column.to_numpy() for column in numbers)
    benefit = np.maximum(np.where(original >= 0, benefit[original], benefit), 0)
    year_cell = _dense(person * _YEARS + year)
    return {
        "year": year_cell,
        "year_benefit": _dense(year_cell * (benefit.max(initial=0) + 1) + benefit),
        "opening": _dense(person * _YEARS + opening),
    }


def _dense(keys: np.ndarray) -> np.ndarray:
    return np.unique(keys, return_inverse=True)[1]


def rounds(k: np.ndarray) -> Iterator[slice]:
    """The slices of equal k of a sorted array."""
    bounds = np.searchsorted(k, np.arange(k.max(initial=0) + 2))
    return (slice(start, stop) for start, stop in zip(bounds[:-1], bounds[1:], strict=True))
