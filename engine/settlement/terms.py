"""Which terms of a policy hold for which claim: its group, benefit and year, and every value on its day.

Claims of one kind (same group, level, benefit, epoch of the policy, standing) have the same terms: these are found once
per kind, and a claim takes those of its kind. A dated value becomes an array indexed by date, group and level, and the
kinds pick their cells. A claim for which the policy has no value (unknown group, level or kind of visit, or a day
before the policy begins) is marked not covered and pays everything itself; settle names it in first_difference.
"""

from collections.abc import Callable
from datetime import date
from types import SimpleNamespace

import numpy as np
import polars as pl

from engine.settlement.clauses import PARTS, Benefit, Incentive, Payer
from engine.settlement.dated import ALL, Dated
from engine.settlement.money import NO_LIMIT, PERCENT, half_up
from engine.settlement.policy import Policy

_MISSING = -1  # no value for this cell: the policy has no such rule
NOTHING = "nothing"


def terms(kinds: pl.DataFrame, policy: Policy) -> SimpleNamespace:
    """Arrays of one row per kind, in the order given, of every value that a statement needs.

    kinds: psn_type, visit_kind, hosp_lv, insured_flag, local_flag and `day`, the date whose values hold; where the
    policy asks for it also category, filing, entitled, age, years_in, in_… of a payer (see standing.py), and named.
    Amounts are fen, ratios hundredths of a percent; tiers and nth admissions have one column each. What no clause of
    the policy asks for is not among them.
    """
    where = _Where(kinds, policy)
    names = benefit_of(kinds, policy)
    if "named" in kinds.columns:
        names = kinds["named"].fill_null(names)
    benefit = _number(names, list(policy.benefits))
    benefit = _entitled(kinds, policy, benefit)
    found = SimpleNamespace(
        benefit=benefit, year_cap=where.pick(policy.annual_cap, NO_LIMIT), **_by_benefit(policy, where, benefit)
    )
    _with_category(found)
    _with_age(found, kinds)
    _away(found, kinds, policy, where)
    vars(found).update(_large_amount(policy, where))
    for name, payer in policy.behind_the_pool().items():
        vars(found).update(_payer(name, payer, policy, where, benefit, kinds))
    if policy.enrolment:
        found.newborn_days = where.pick(policy.enrolment.newborn_days, 0)
    vars(found).update(_waiting(policy, where))
    if policy.catastrophic and policy.catastrophic.incentive:
        vars(found).update(_incentive(policy.catastrophic.incentive, found, where, kinds))
    found.covered = where.covered & (benefit >= 0)
    found.pays = found.covered & ~_is(kinds["insured_flag"], "0")
    return found


def amount_of(claims: pl.DataFrame, policy: Policy, parameter: dict[date, Dated], by: str = "group") -> np.ndarray:
    """One dated value per claim in the order given; -1 where the policy has none. Columns as in terms."""
    return _Where(claims, policy).pick(parameter, _MISSING, by=by)


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
    """The cell of every kind in the arrays of a policy: its day and the numbers of its group, category and level."""

    def __init__(self, claims: pl.DataFrame, policy: Policy):
        self.levels = sorted(claims["hosp_lv"].drop_nulls().unique())
        self.level = _number(claims["hosp_lv"], self.levels)
        self.groups, self.categories = list(policy.groups), list(policy.categories)
        self.group = _number(group_of(claims, policy), self.groups)
        category = (
            claims["category"] if "category" in claims.columns else pl.Series([None] * claims.height, dtype=pl.String)
        )
        self.category = _number(category, self.categories)
        self.day = claims["day"].to_numpy().astype("datetime64[D]")
        self.covered = np.ones(claims.height, bool)  # turns false where a parameter of the policy has no value

    def pick(
        self, dated: dict[date, Dated], default, cell: Callable = int, rows=slice(None), by: str = "group"
    ) -> np.ndarray:
        """The value of the kinds in `rows`; the default where there is no such parameter or before its first date.

        By category the default also stands for categories that are not named, and for persons of none.
        """
        names, number = (self.groups, self.group) if by == "group" else (self.categories, self.category)
        grid = np.full((len(dated) + 1, len(names) + 1, len(self.levels) + 1, *np.shape(default)), _MISSING)
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
            self.covered[rows] &= (picked != _MISSING).all(axis=tuple(range(1, picked.ndim)))
        return picked

    def tiers(self, dated: dict[date, Dated], default: int, width: int, rows=slice(None), by: str = "group") -> tuple:
        """Where each tier begins and its ratio, filled up to `width` tiers that nothing reaches."""
        begins = self.pick(
            dated,
            [0] + [NO_LIMIT] * (width - 1),
            lambda bands: _filled([b[0] for b in bands], width, NO_LIMIT),
            rows,
            by,
        )
        ratios = self.pick(dated, [default] * width, lambda bands: _filled([b[1] for b in bands], width, 0), rows, by)
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


def _entitled(kinds: pl.DataFrame, policy: Policy, benefit: np.ndarray) -> np.ndarray:
    """The benefit as which a claim is paid: another one, or none, where the person's entitlement is missing."""
    if "entitled" not in kinds.columns:
        return benefit
    names = list(policy.benefits)
    without = [b.entitlement.otherwise if b.entitlement else name for name, b in policy.benefits.items()]
    number = np.array([names.index(name) if name != NOTHING else _MISSING for name in without] + [_MISSING])
    return np.where(kinds["entitled"].fill_null(True).to_numpy(), benefit, number[benefit])


# what each benefit may set for itself beside tiers and admissions, and what stands where it does not
_AMOUNTS = {
    "deductible": 0, "nth_admission_minus": 0, "deductible_floor": 0, "category_deductible_percent": PERCENT,
    "plus_points": 0, "category_plus_points": 0, "age_points": 0, "cost_cap": NO_LIMIT, "pool_cap": NO_LIMIT,
}  # fmt: skip
_ALWAYS = ("deductible", "pool_cap")


def _by_benefit(policy: Policy, where: _Where, benefit: np.ndarray) -> dict[str, np.ndarray]:
    """The terms that each benefit sets for itself, for the kinds of that benefit; zero for kinds of none."""
    tiers = _width(*(b.ratio for b in policy.benefits.values()))
    steps = _width(*(b.nth_admission_percent for b in policy.benefits.values()))
    asked = [n for n in _AMOUNTS if n in _ALWAYS or any(getattr(b, n) for b in policy.benefits.values())]
    merged: dict[str, np.ndarray] = {}
    for number, one in enumerate(policy.benefits.values()):
        rows = np.flatnonzero(benefit == number)
        for name, values in _benefit_terms(one, where, rows, tiers, steps, asked).items():
            every = merged.setdefault(name, np.zeros((len(benefit), *np.shape(values)[1:]), np.int64))
            every[rows] = values
    for origin in ("net", "year"):
        if not any(b.band_origin == origin for b in policy.benefits.values()):
            del merged[f"{origin}_tiers"]
    return merged


def _benefit_terms(one: Benefit, where: _Where, rows: np.ndarray, tiers: int, steps: int, asked: list[str]) -> dict:
    over, ratio = where.tiers(one.ratio, _MISSING if one.ratio else 0, tiers, rows)
    flags = {
        "per_year": one.deductible_per == "year",
        "per_admission": one.deductible_per == "admission",
        "net_tiers": one.band_origin == "net",
        "year_tiers": one.band_origin == "year",
        "account_in_scope": one.account_pays != "nothing",
        "account_outside": one.account_pays == "all",
    }
    amounts = {
        name: where.pick(
            getattr(one, name), _AMOUNTS[name], rows=rows, by="category" if name.startswith("category_") else "group"
        )
        for name in asked
    }
    return {
        "over": over,
        "ratio": ratio,
        "nth": where.pick(
            one.nth_admission_percent, [PERCENT] * steps, lambda series: _filled(list(series), steps, series[-1]), rows
        ),
        **amounts,
        **{name: np.full(len(rows), flag, np.int64) for name, flag in flags.items()},
    }


def _with_category(found: SimpleNamespace) -> None:
    """The deductible as a category reduces it, the ratio with the points that groups and categories add."""
    if hasattr(found, "category_deductible_percent"):
        found.deductible = half_up(found.deductible * found.category_deductible_percent, PERCENT)
    for points in ("plus_points", "category_plus_points"):
        if hasattr(found, points):
            found.ratio = _plus(found.ratio, getattr(found, points)[:, None])


def _with_age(found: SimpleNamespace, kinds: pl.DataFrame) -> None:
    """The ratio that grows with age; one of unknown age gets none of it."""
    if hasattr(found, "age_points"):
        age = kinds["age"].fill_null(0).to_numpy() if "age" in kinds.columns else 0
        found.ratio = _plus(found.ratio, (found.age_points * age)[:, None])


def _plus(ratio: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A ratio some points higher, never over 100 %; one of nothing stays nothing."""
    return np.where(ratio > 0, np.minimum(ratio + points, PERCENT), ratio)


def _away(found: SimpleNamespace, kinds: pl.DataFrame, policy: Policy, where: _Where) -> None:
    """Ratio and deductible of care away from home; `home_ratio`, `home_deductible` what they would be at home."""
    remote = _is(kinds["local_flag"], "0")
    minus = np.where(remote, where.pick(policy.remote_minus_points, 0), 0)
    home, deductible = found.ratio, found.deductible
    found.ratio = np.maximum(home - minus[:, None], 0)
    for kind, reduction in policy.cross_region.items():
        rows = np.flatnonzero(remote & _is(kinds["filing"], kind))
        value = where.pick(reduction.value, 0, rows=rows)[:, None]
        found.ratio = found.ratio.copy()
        found.ratio[rows] = {
            "minus": np.maximum(home[rows] - value, 0),
            "times": half_up(home[rows] * value, PERCENT),
            "replace": np.where(home[rows] > 0, value, 0),
        }[reduction.mode]
        found.deductible = found.deductible.copy()
        factor = where.pick(reduction.deductible_percent, PERCENT, rows=rows)
        found.deductible[rows] = half_up(deductible[rows] * factor, PERCENT)
    if not all(payer.loss_counts for payer in policy.payers.values()):
        lost = remote & _is(kinds["filing"], "unfiled")
        found.home_ratio = np.where(lost[:, None], home, found.ratio)
        found.home_deductible = np.where(lost, deductible, found.deductible)


def _large_amount(policy: Policy, where: _Where) -> dict[str, np.ndarray]:
    layer = policy.large_amount
    return {
        "large_ratio": where.pick(layer.ratio if layer else {}, 0),
        "large_cap": where.pick(layer.annual_cap if layer else {}, NO_LIMIT),
    }


def _payer(name: str, payer: Payer, policy: Policy, where: _Where, benefit: np.ndarray, kinds: pl.DataFrame) -> dict:
    """Tiers, cap and what is counted of one layer behind the pool, each name beginning with the layer's."""
    by = payer.by
    over, ratio = where.tiers(payer.ratio, 0, _width(payer.ratio), by=by)
    start = where.pick(payer.start, 0, by=by)
    if payer.category_start_percent:
        factor = where.pick(payer.category_start_percent, PERCENT, by="category")
        start, over = (half_up(start * factor, PERCENT), _first_reduced(over, factor, bool(payer.start)))
    if payer.start:
        over = over + start[:, None] if payer.band_origin == "net" else _above(over, start)
    if payer.category_plus_points:
        ratio = _plus(ratio, where.pick(payer.category_plus_points, 0, by="category")[:, None])
    cap = where.pick(payer.annual_cap, NO_LIMIT, by=by)
    if payer.category_annual_cap:
        other = where.pick(payer.category_annual_cap, _MISSING, by="category")
        cap = np.where(other == _MISSING, cap, other)
    counted = [n for n, b in enumerate(policy.benefits) if not payer.benefits or b in payer.benefits]
    serves = np.isin(benefit, counted) & _serves(name, payer, where, kinds)
    flags = {"loss_excluded": not payer.loss_counts, "per_claim": payer.start_per == "claim"}
    return {
        **{f"{name}_{flag}": np.ones(kinds.height, np.int64) for flag, given in flags.items() if given},
        f"{name}_over": np.minimum(over, NO_LIMIT),
        f"{name}_ratio": ratio,
        f"{name}_cap": cap,
        **{f"{name}_{part}": serves.astype(np.int64) for part in PARTS if part in payer.counted()},
    }


def _first_reduced(over: np.ndarray, factor: np.ndarray, has_start: bool) -> np.ndarray:
    """The tiers with the first one beginning earlier; a start line of its own is reduced instead of it."""
    if has_start:
        return over
    return np.column_stack([half_up(over[:, 0] * factor, PERCENT), over[:, 1:]])


def _above(over: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Tiers cut on the amount itself, of which only what lies above the start counts."""
    over = np.maximum(over, start[:, None])
    over[:, 0] = start
    return over


def _serves(name: str, payer: Payer, where: _Where, kinds: pl.DataFrame) -> np.ndarray:
    """Whether the payer serves the person: by group, category or insurance; by category, only persons of one."""
    who = payer.who
    served = np.ones(kinds.height, bool)
    if who.groups or who.categories or who.insutypes:
        served = np.isin(where.group, [where.groups.index(group) for group in who.groups])
        served |= np.isin(where.category, [where.categories.index(category) for category in who.categories])
        if who.insutypes:
            served |= kinds[f"in_{name}"].fill_null(False).to_numpy()
    return served & (where.category >= 0) if payer.by == "category" else served


def _waiting(policy: Policy, where: _Where) -> dict[str, np.ndarray]:
    """Months of waiting: fixed, per year missed, off per year repaired, and the least after a long gap."""
    waiting = policy.enrolment.waiting if policy.enrolment else None
    if waiting is None:
        return {}
    exempt = np.isin(where.category, [where.categories.index(name) for name in waiting.exempt_categories])
    return {
        "wait_fixed": np.where(exempt, 0, where.pick(waiting.fixed, 0)),
        "wait_per_missed": np.where(exempt, 0, where.pick(waiting.per_missed_year, 0)),
        "wait_per_repaired": where.pick(waiting.per_repaired_year, 0),
        "wait_long_gap": where.pick(waiting.long_gap_years, NO_LIMIT),
        "wait_long_least": np.where(exempt, 0, where.pick(waiting.long_gap_least, 0)),
    }


def _incentive(incentive: Incentive, found: SimpleNamespace, where: _Where, kinds: pl.DataFrame) -> dict:
    """What unbroken enrolment adds to the catastrophic cap, what a year without claims would, and the most of both."""
    cap = found.catastrophic_cap
    years = kinds["years_in"].fill_null(0).to_numpy() if "years_in" in kinds.columns else np.zeros(kinds.height, int)
    further = np.maximum(years - where.pick(incentive.free_years, 0), 0)
    most = half_up(np.where(cap < NO_LIMIT, cap, 0) * where.pick(incentive.most_percent, 0), PERCENT)
    return {
        "catastrophic_bonus_continuous": where.pick(incentive.step_continuous, 0) * further,
        "catastrophic_bonus_zero": where.pick(incentive.step_zero_claim, 0),
        "catastrophic_bonus_most": most,
    }


def _number(values: pl.Series, names: list[str]) -> np.ndarray:
    """The position of every value among the names, -1 for another."""
    return values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).to_numpy()


def _is(values: pl.Series, word: str) -> np.ndarray:
    return (values == word).fill_null(False).to_numpy()
