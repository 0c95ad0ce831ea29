"""Where a claim stands in a policy: its benefit, its person group, and the values that hold for it on its day.

A dated value becomes an array indexed by date, group and level, and the claims pick their cells.
"""

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl

from engine.settlement.dated import ALL, Dated
from engine.settlement.money import NO_LIMIT, PERCENT
from engine.settlement.policy import Policy

MISSING = -1  # no value for this cell: the policy has no such rule


def benefit_of(claims: pl.DataFrame, policy: Policy) -> pl.Series:
    """The policy's name of the benefit of every claim; null for a kind of visit it does not know."""
    names = {kind: name for name, b in policy.benefits.items() if not b.where for kind in b.visit_kinds}
    return claims["visit_kind"].replace_strict(names, default=None, return_dtype=pl.String)


def group_of(claims: pl.DataFrame, policy: Policy) -> pl.Series:
    """The person group by psn_type: an exact value, the group's own name, or the longest `11*` that fits.

    Of groups that say the same the first whose conditions hold, by the columns `may_…` of standing.in_groups; where
    claims do not bring these, conditions are taken to hold.
    """
    words = [(word, name) for name, group in policy.groups.items() for word in (name, *group.psn_types)]
    ranked = {}
    for said in claims["psn_type"].unique():
        fits = [(word, name) for word, name in words if _fits(word, said)]
        fits.sort(key=lambda fit: (fit[0].endswith("*"), -len(fit[0])))  # stable: then as they are written
        ranked[said] = [name for _, name in fits]
    first = {said: next(iter(names), None) for said, names in ranked.items()}
    answer = claims.select(g=pl.col("psn_type").replace_strict(first, default=None, return_dtype=pl.String))["g"]
    for said, names in ranked.items():
        if not any(f"may_{name}" in claims.columns for name in names):
            continue
        chosen = pl.lit(None, pl.String)
        for name in reversed(names):
            holds = pl.col(f"may_{name}") if f"may_{name}" in claims.columns else pl.lit(True)
            chosen = pl.when(holds).then(pl.lit(name)).otherwise(chosen)
        here = pl.col("psn_type").eq_missing(pl.lit(said, pl.String))
        answer = claims.select(g=pl.when(here).then(chosen).otherwise(answer))["g"]
    return answer


def _fits(word: str, said: str | None) -> bool:
    """Whether a psn_type is of a group's word; `*` alone is any, also none."""
    if word == "*" or said is None:
        return word == "*"
    return said.startswith(word[:-1]) if word.endswith("*") else said == word


class Where:
    """The cell of every kind in the arrays of a policy: its day and the numbers of its group, category and level."""

    def __init__(self, claims: pl.DataFrame, policy: Policy):
        self.levels = sorted(claims["hosp_lv"].drop_nulls().unique())
        self.level = number_of(claims["hosp_lv"], self.levels)
        self.groups, self.categories = list(policy.groups), list(policy.categories)
        self.group = number_of(group_of(claims, policy), self.groups)
        category = (
            claims["category"] if "category" in claims.columns else pl.Series([None] * claims.height, dtype=pl.String)
        )
        self.category = number_of(category, self.categories)
        self.day = claims["day"].to_numpy().astype("datetime64[D]")
        self.covered = np.ones(claims.height, bool)  # turns false where a parameter of the policy has no value

    def pick(
        self, dated: dict[date, Dated], default, cell: Callable = int, rows=slice(None), by: str = "group"
    ) -> np.ndarray:
        """The value of the kinds in `rows`; the default where there is no such parameter or before its first date.

        By category the default also stands for categories that are not named, and for persons of none.
        """
        names, number = (self.groups, self.group) if by == "group" else (self.categories, self.category)
        grid = np.full((len(dated) + 1, len(names) + 1, len(self.levels) + 1, *np.shape(default)), MISSING)
        grid[0] = default
        if by == "category":
            grid[:] = default
        for epoch, setting in enumerate(dated.values(), 1):
            for n, name in enumerate([*names, None]):
                by_level = setting.value.get(name, setting.value.get(ALL, {}) if by == "group" or name else {})
                for v, level in enumerate([*self.levels, None]):
                    if (leaf := by_level.get(level, by_level.get(ALL))) is not None:
                        grid[epoch, n, v] = cell(leaf)
        epoch = np.searchsorted(np.array(list(dated), "datetime64[D]"), self.day[rows], side="right")
        picked = grid[epoch, number[rows], self.level[rows]]
        if by == "group":
            self.covered[rows] &= (picked != MISSING).all(axis=tuple(range(1, picked.ndim)))
        return picked

    def tiers(self, dated: dict[date, Dated], default: int, width: int, rows=slice(None), by: str = "group") -> tuple:
        """Where each tier begins and its ratio, filled up to `width` tiers that nothing reaches."""
        begins = self.pick(
            dated,
            [0] + [NO_LIMIT] * (width - 1),
            lambda bands: filled([b[0] for b in bands], width, NO_LIMIT),
            rows,
            by,
        )
        ratios = self.pick(dated, [default] * width, lambda bands: filled([b[1] for b in bands], width, 0), rows, by)
        return begins, ratios


def filled(values: list[int], width: int, filling: int) -> list[int]:
    return [*values, *[filling] * (width - len(values))]


def width_of(*parameters: dict[date, Dated]) -> int:
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


def number_of(values: pl.Series, names: list[str]) -> np.ndarray:
    """The position of every value among the names, -1 for another."""
    return values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).to_numpy()


def is_word(values: pl.Series, word: str) -> np.ndarray:
    return (values == word).fill_null(False).to_numpy()


def plus_points(ratio: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A ratio some points higher, never over 100 %; one of nothing stays nothing."""
    return np.where(ratio > 0, np.minimum(ratio + points, PERCENT), ratio)


def amount_of(claims: pl.DataFrame, policy: Policy, parameter: dict[date, Dated], by: str = "group") -> np.ndarray:
    """One dated value per claim in the order given; -1 where the policy has none.

    claims: psn_type, hosp_lv, day, and for values by category also category.
    """
    return Where(claims, policy).pick(parameter, MISSING, by=by)
