"""Which terms of a policy hold for which claim: its group, benefit and year, and every value on its day.

Everything is looked up for all claims at once: a dated value becomes an array indexed by date, group and level, and the
claims pick their cells. A claim for which the policy has no value (unknown group, level or kind of visit, or a day
before the policy begins) is marked not covered and pays everything itself; settle names it in first_difference.
"""

from collections.abc import Callable
from datetime import date
from types import SimpleNamespace

import numpy as np
import polars as pl

from engine.settlement.money import NO_LIMIT, PERCENT
from engine.settlement.policy import ALL, Benefit, Dated, Policy

_MISSING = -1  # no value for this cell: the policy has no such rule


def terms(claims: pl.DataFrame, policy: Policy) -> SimpleNamespace:
    """Arrays of one row per claim, in the order given, of every value that its statement needs.

    claims: psn_type, visit_kind, hosp_lv, insured_flag, local_flag and `day`, the date whose values hold.
    Amounts are fen, ratios hundredths of a percent; tiers and nth admissions have one column each.
    """
    where = _Where(claims, policy)
    benefit = _number(benefit_of(claims, policy), list(policy.benefits))
    found = SimpleNamespace(
        benefit=benefit,
        year_cap=where.pick(policy.annual_cap, NO_LIMIT),
        **_by_benefit(policy, where, benefit),
        **_large_amount(policy, where),
        **_catastrophic(policy, where, benefit),
    )
    minus = np.where(_is(claims["local_flag"], "0"), where.pick(policy.remote_minus_points, 0), 0)
    found.ratio = np.maximum(found.ratio - minus[:, None], 0)
    found.covered = where.covered & (benefit >= 0)
    found.pays = found.covered & ~_is(claims["insured_flag"], "0")
    return found


def amount_of(claims: pl.DataFrame, policy: Policy, parameter: dict[date, Dated]) -> np.ndarray:
    """One dated amount per claim in the order given; -1 where the policy has none. Columns as in terms."""
    return _Where(claims, policy).pick(parameter, _MISSING)


def benefit_of(claims: pl.DataFrame, policy: Policy) -> pl.Series:
    """The policy's name of the benefit of every claim; null for a kind of visit it does not know."""
    names = {kind: name for name, benefit in policy.benefits.items() for kind in benefit.visit_kinds}
    return claims["visit_kind"].replace_strict(names, default=None, return_dtype=pl.String)


def group_of(claims: pl.DataFrame, policy: Policy) -> pl.Series:
    """The person group by psn_type: an exact value, the group's own name, or the longest `11*` that fits."""
    exact, beginnings = {}, {}
    for name, group in policy.groups.items():
        for word in (name, *group.psn_types):
            (beginnings if word.endswith("*") else exact)[word.removesuffix("*")] = name
    longest_first = sorted(beginnings, key=len, reverse=True)
    known = {
        word: exact.get(word) or next((beginnings[b] for b in longest_first if word.startswith(b)), None)
        for word in claims["psn_type"].drop_nulls().unique()
    }
    return claims["psn_type"].replace_strict(known, default=None, return_dtype=pl.String)


class _Where:
    """The cell of every claim in the arrays of a policy: its day and the numbers of its group and level."""

    def __init__(self, claims: pl.DataFrame, policy: Policy):
        self.groups = list(policy.groups)
        self.levels = sorted(claims["hosp_lv"].drop_nulls().unique())
        self.group = _number(group_of(claims, policy), self.groups)
        self.level = _number(claims["hosp_lv"], self.levels)
        self.day = claims["day"].to_numpy().astype("datetime64[D]")
        self.covered = np.ones(claims.height, bool)  # turns false where a parameter of the policy has no value

    def pick(self, dated: dict[date, Dated], default, cell: Callable = int, rows=slice(None)) -> np.ndarray:
        """The value of the claims in `rows`; the default where there is no such parameter or before its first date."""
        grid = np.full((len(dated) + 1, len(self.groups) + 1, len(self.levels) + 1, *np.shape(default)), _MISSING)
        grid[0] = default
        for epoch, setting in enumerate(dated.values(), 1):
            for g, group in enumerate([*self.groups, None]):
                by_level = setting.value.get(group, setting.value.get(ALL, {}))
                for v, level in enumerate([*self.levels, None]):
                    if (leaf := by_level.get(level, by_level.get(ALL))) is not None:
                        grid[epoch, g, v] = cell(leaf)
        epoch = np.searchsorted(np.array(list(dated), "datetime64[D]"), self.day[rows], side="right")
        picked = grid[epoch, self.group[rows], self.level[rows]]
        self.covered[rows] &= (picked != _MISSING).all(axis=tuple(range(1, picked.ndim)))
        return picked

    def tiers(self, dated: dict[date, Dated], default: int, width: int, rows=slice(None)) -> tuple:
        """Where each tier begins and its ratio, filled up to `width` tiers that nothing reaches."""
        begins = self.pick(
            dated, [0] + [NO_LIMIT] * (width - 1), lambda bands: _filled([b[0] for b in bands], width, NO_LIMIT), rows
        )
        ratios = self.pick(dated, [default] * width, lambda bands: _filled([b[1] for b in bands], width, 0), rows)
        return begins, ratios


def _filled(values: list[int], width: int, filling: int) -> list[int]:
    return [*values, *[filling] * (width - len(values))]


def _width(*parameters: dict[date, Dated]) -> int:
    """The most tiers or steps that a value of these parameters has."""
    return max(
        (
            len(leaf)
            for dated in parameters
            for setting in dated.values()
            for by_level in setting.value.values()
            for leaf in by_level.values()
        ),
        default=1,
    )


def _by_benefit(policy: Policy, where: _Where, benefit: np.ndarray) -> dict[str, np.ndarray]:
    """The terms that each benefit sets for itself, for the claims of that benefit; zero for claims of none."""
    tiers = _width(*(b.ratio for b in policy.benefits.values()))
    steps = _width(*(b.nth_admission_percent for b in policy.benefits.values()))
    merged: dict[str, np.ndarray] = {}
    for number, one in enumerate(policy.benefits.values()):
        rows = np.flatnonzero(benefit == number)
        for name, values in _benefit_terms(one, where, rows, tiers, steps).items():
            every = merged.setdefault(name, np.zeros((len(benefit), *np.shape(values)[1:]), np.int64))
            every[rows] = values
    return merged


def _benefit_terms(one: Benefit, where: _Where, rows: np.ndarray, tiers: int, steps: int) -> dict[str, np.ndarray]:
    over, ratio = where.tiers(one.ratio, _MISSING if one.ratio else 0, tiers, rows)
    flags = {
        "per_year": one.deductible_per == "year",
        "per_admission": one.deductible_per == "admission",
        "net_tiers": one.band_origin == "net",
        "account_in_scope": one.account_pays != "nothing",
        "account_outside": one.account_pays == "all",
    }
    return {
        "over": over,
        "ratio": ratio,
        "deductible": where.pick(one.deductible, 0, rows=rows),
        "nth": where.pick(
            one.nth_admission_percent, [PERCENT] * steps, lambda series: _filled(list(series), steps, series[-1]), rows
        ),
        "pool_cap": where.pick(one.pool_cap, NO_LIMIT, rows=rows),
        **{name: np.full(len(rows), flag, np.int64) for name, flag in flags.items()},
    }


def _large_amount(policy: Policy, where: _Where) -> dict[str, np.ndarray]:
    layer = policy.large_amount
    return {
        "large_ratio": where.pick(layer.ratio if layer else {}, 0),
        "large_cap": where.pick(layer.annual_cap if layer else {}, NO_LIMIT),
    }


def _catastrophic(policy: Policy, where: _Where, benefit: np.ndarray) -> dict[str, np.ndarray]:
    layer = policy.catastrophic
    ratio = layer.ratio if layer else {}
    over, ratios = where.tiers(ratio, 0, _width(ratio))
    counted = [number for number, name in enumerate(policy.benefits) if layer and name in layer.benefits]
    counts = np.isin(benefit, counted)
    return {
        "catastrophic_over": over,
        "catastrophic_ratio": ratios,
        "catastrophic_counts": counts.astype(np.int64),
        "catastrophic_first": (counts & bool(layer and layer.first_pay_counts)).astype(np.int64),
        "catastrophic_cap": where.pick(layer.annual_cap if layer else {}, NO_LIMIT),
    }


def _number(values: pl.Series, names: list[str]) -> np.ndarray:
    """The position of every value among the names, -1 for another."""
    return values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).to_numpy()


def _is(values: pl.Series, word: str) -> np.ndarray:
    return (values == word).fill_null(False).to_numpy()
