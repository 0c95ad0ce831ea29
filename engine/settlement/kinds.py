"""Claims of one kind: those for which every term of a policy is the same, so that terms are looked up once per kind."""

import numpy as np
import polars as pl

from engine.settlement.policy import Policy, parameters

_DENSE = 1 << 20  # combinations up to which a table of all is made


def kinds_of(
    claims: pl.DataFrame, further: list[pl.Series], day: np.ndarray, policy: Policy
) -> tuple[pl.DataFrame, np.ndarray]:
    """One claim of each kind, with the first `day` of its epoch, and the number of the kind of every claim.

    claims: psn_type, visit_kind, hosp_lv, insured_flag, local_flag. further: what else of the same rows terms
    depend on. An epoch reaches from one day on which some value of the policy changes to the next.
    """
    days = np.array(sorted({d for _, dated, _ in parameters(policy) for d in dated}), "datetime64[D]")
    epoch = np.searchsorted(days, day, side="right")
    claims = claims.select("psn_type", "visit_kind", "hosp_lv", "insured_flag", "local_flag")
    claims = claims.hstack(further)
    keys, size = epoch, len(days) + 1
    for column in claims:
        code, bound = _coded(column)
        keys, size = keys * bound + code, size * bound
    first, kind = _numbered(keys, size)
    begins = np.concatenate([days[:1] - 1, days]) if len(days) else np.array(["1900-01-01"], "datetime64[D]")
    return claims[first].with_columns(pl.Series("day", begins[epoch[first]])), kind


def _coded(values: pl.Series) -> tuple[np.ndarray, int]:
    """Values of few kinds as numbers from zero, and their bound."""
    known = values.unique().drop_nulls().sort()
    if values.dtype == pl.String:
        code = values.cast(pl.Enum(known)).to_physical().cast(pl.Int64)
    else:
        code = values.replace_strict(known, range(len(known)), default=None, return_dtype=pl.Int64)
    return code.fill_null(len(known)).to_numpy(), len(known) + 1


def _numbered(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first place of every number that occurs, and which of these each is."""
    if size > max(_DENSE, len(keys)):
        _, first, kind = np.unique(keys, return_index=True, return_inverse=True)
        return first, kind
    seen = np.zeros(size, np.int64)
    seen[keys] = 1
    kind = (np.cumsum(seen) - 1)[keys]
    first = np.empty(int(seen.sum()), np.int64)
    first[kind[::-1]] = np.arange(len(keys))[::-1]
    return first, kind
