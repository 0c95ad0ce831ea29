"""Personal accounts: which opening balance a claim draws on, and those of the family in which order.

An account is kept from one opening to the next: a year without an opening carries on what is left of the last one.
Accounts of an account group (共济, persons.acct_group) help each other out in order of psn_no.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.settlement.sequence import Sequence, places


@dataclass(frozen=True)
class Accounts:
    """balance: of every opening in fen, and zero at the end. own: the opening of each claim. others: of its family.

    others has one row per claim and one column per place in the family; the last opening, which is empty, fills up.
    """

    balance: np.ndarray
    own: np.ndarray
    others: np.ndarray


def accounts_of(seq: Sequence, openings: pl.DataFrame | None, shared: bool) -> Accounts:
    """openings: psn_no, year, acct_balc. shared: whether the families' accounts are wanted."""
    if openings is None:
        openings = pl.DataFrame(schema={"psn_no": pl.String, "year": pl.Int64, "acct_balc": pl.Int64})
    known = openings.select("psn_no", pl.col("year").cast(pl.Int64, strict=False), "acct_balc").join(
        seq.people.with_row_index("person").select("psn_no", "person"), on="psn_no"
    )
    known = known.filter(pl.col("year").is_not_null()).sort("year", "person", "acct_balc")
    persons, none = seq.people.height, known.height
    # which opening each person draws on in each year that occurs: the last one not after it
    at = np.full((persons + 1, len(seq.years) + 1), -1)
    first = np.searchsorted(seq.years, known["year"].to_numpy())
    at[known["person"].to_numpy(), first] = np.arange(known.height)
    at = np.maximum.accumulate(at, axis=1)
    at[at < 0] = none
    year = np.searchsorted(seq.years, seq.year)
    own = at[seq.person, year]
    balance = np.append(known["acct_balc"].fill_null(0).to_numpy(), 0)
    others = np.zeros((len(own), 0), np.int64)
    if shared and "acct_group" in seq.people.columns:
        family = _families(seq.people)[seq.person]
        drawn = at[family, year[:, None]]
        others = np.where((family == seq.person[:, None]) | (drawn == own[:, None]), none, drawn)
    return Accounts(balance, own, others)


def _families(people: pl.DataFrame) -> np.ndarray:
    """Per person the numbers of all members of its account group, in order; filled up with one that has nothing."""
    nobody = people.height
    members = people.with_row_index("n").filter(pl.col("acct_group").is_not_null()).sort("acct_group", "psn_no")
    number, group = members["n"].to_numpy(), members["acct_group"].rle_id().to_numpy().astype(np.int64)
    place = places(group)
    filled = np.full((len(np.unique(group)), place.max(initial=-1) + 1), nobody)
    filled[group, place] = number
    table = np.full((nobody + 1, filled.shape[1]), nobody)
    table[number] = filled[group]
    return table
