"""Which terms of a policy hold for which claim: its group, benefit and year, and every value on its day.

Claims of one kind (same group, level, benefit, epoch of the policy, standing) have the same terms: these are found once
per kind, and a claim takes those of its kind. A dated value becomes an array indexed by date, group and level, and the
kinds pick their cells. A claim for which the policy has no value (unknown group, level or kind of visit, or a day
before the policy begins) is marked not covered and pays everything itself; settle names it in first_difference.
"""

from types import SimpleNamespace

import numpy as np
import polars as pl

from engine.settlement.clauses import Benefit, ItemClass
from engine.settlement.lookup import (
    MISSING,
    Where,
    benefit_of,
    filled,
    is_word,
    number_of,
    plus_points,
    width_of,
)
from engine.settlement.money import NO_LIMIT, PERCENT, half_up
from engine.settlement.payer_terms import incentive_terms, large_amount_terms, payer_terms, waiting_terms
from engine.settlement.policy import Policy

NOTHING = "nothing"


def terms(kinds: pl.DataFrame, policy: Policy) -> SimpleNamespace:
    """Arrays of one row per kind, in the order given, of every value that a statement needs.

    kinds: psn_type, visit_kind, hosp_lv, insured_flag, local_flag and `day`, the date whose values hold; where the
    policy asks for it also category, filing, entitled, age, years_in, in_… of a payer (see standing.py), and named.
    Amounts are fen, ratios hundredths of a percent; tiers and nth admissions have one column each. What no clause of
    the policy asks for is not among them.
    """
    where = Where(kinds, policy)
    names = benefit_of(kinds, policy)
    if "named" in kinds.columns:
        names = kinds["named"].fill_null(names)
    benefit = number_of(names, list(policy.benefits))
    benefit = _entitled(kinds, policy, benefit)
    found = SimpleNamespace(benefit=benefit, group=where.group, year_cap=where.pick(policy.annual_cap, NO_LIMIT))
    vars(found).update(_by_benefit(policy, where, benefit))
    _with_category(found)
    _with_age(found, kinds)
    if "diseases" in kinds.columns:
        more = found.pool_cap_per_further_disease * np.maximum(kinds["diseases"].fill_null(1).to_numpy() - 1, 0)
        found.pool_cap = np.minimum(found.pool_cap + more, NO_LIMIT)
    _away(found, kinds, policy, where)
    vars(found).update(large_amount_terms(policy, where))
    for name, payer in policy.behind_the_pool().items():
        vars(found).update(payer_terms(name, payer, policy, where, benefit, kinds))
    if policy.enrolment:
        found.newborn_days = where.pick(policy.enrolment.newborn_days, 0)
    vars(found).update(waiting_terms(policy, where))
    if policy.catastrophic and policy.catastrophic.incentive:
        vars(found).update(incentive_terms(policy.catastrophic.incentive, found, where, kinds))
    found.covered = where.covered & (benefit >= 0)
    found.pays = found.covered & ~is_word(kinds["insured_flag"], "0")
    return found


def _entitled(kinds: pl.DataFrame, policy: Policy, benefit: np.ndarray) -> np.ndarray:
    """The benefit as which a claim is paid: another one, or none, where the person's entitlement is missing."""
    if "entitled" not in kinds.columns:
        return benefit
    names = list(policy.benefits)
    without = [b.entitlement.otherwise if b.entitlement else name for name, b in policy.benefits.items()]
    number = np.array([names.index(name) if name != NOTHING else MISSING for name in without] + [MISSING])
    return np.where(kinds["entitled"].fill_null(True).to_numpy(), benefit, number[benefit])


# what each benefit may set for itself beside tiers and admissions, and what stands where it does not
_AMOUNTS = {
    "deductible": 0, "deductible_year_cap": NO_LIMIT, "nth_admission_minus": 0, "deductible_floor": 0,
    "continues_within_days": NO_LIMIT, "category_deductible_percent": PERCENT, "first_percent": 0,
    "self_pay_percent": PERCENT, "plus_points": 0, "category_plus_points": 0, "age_points": 0, "cost_cap": NO_LIMIT,
    "pool_cap": NO_LIMIT, "pool_cap_per_further_disease": 0, "second_cap": NO_LIMIT,
}  # fmt: skip
_ALWAYS = ("deductible", "pool_cap")
_SPANS = ("year", "half_year", "quarter", "month", "day")
# what a benefit is or is not; those of the second line are left out where no benefit of the policy is
_FLAGS = {
    "per_span": lambda b: b.deductible_per in _SPANS,
    "per_admission": lambda b: b.deductible_per == "admission",
    "account_in_scope": lambda b: b.account_pays != "nothing",
    "account_outside": lambda b: b.account_pays == "all",
}
_RARE_FLAGS = {
    "account_first": lambda b: b.account_pays == "first",
    "net_tiers": lambda b: b.band_origin == "net",
    "year_tiers": lambda b: b.band_origin == "year",
    "year_net_tiers": lambda b: b.band_origin == "year_net",
    "pool_by_claim": lambda b: b.pool_cap_per == "claim",
    "pool_by_months": lambda b: b.pool_cap_per == "month_carried",
    "cost_by_claim": lambda b: b.cost_cap_per == "claim",
    "second_by_claim": lambda b: b.second_cap_per in ("claim", "bed_day"),
    "second_by_day": lambda b: b.second_cap_per == "bed_day",
    "year_rounded": lambda b: b.rounded == "year",
}


def _by_benefit(policy: Policy, where: Where, benefit: np.ndarray) -> dict[str, np.ndarray]:
    """The terms that each benefit sets for itself, for the kinds of that benefit; zero for kinds of none."""
    benefits = list(policy.benefits.values())
    tiers = width_of(*(b.ratio for b in benefits))
    steps = width_of(*(b.nth_admission_percent for b in benefits))
    asked = [n for n in _AMOUNTS if n in _ALWAYS or any(getattr(b, n) for b in benefits)]
    flags = _FLAGS | {name: holds for name, holds in _RARE_FLAGS.items() if any(map(holds, benefits))}
    classes = [[*b.item_classes.values()] for b in benefits]
    classes = [[one[n] for one in classes if n < len(one)] for n in range(max(map(len, classes)))]
    merged: dict[str, np.ndarray] = {}
    for number, one in enumerate(benefits):
        rows = np.flatnonzero(benefit == number)
        found = _benefit_terms(one, where, rows, tiers, steps, asked) | _class_terms(one, where, rows, classes)
        found |= {name: np.full(len(rows), holds(one), np.int64) for name, holds in flags.items()}
        for name, values in found.items():
            every = merged.setdefault(name, np.zeros((len(benefit), *np.shape(values)[1:]), np.int64))
            every[rows] = values
    return merged


def _benefit_terms(one: Benefit, where: Where, rows: np.ndarray, tiers: int, steps: int, asked: list[str]) -> dict:
    over, ratio = where.tiers(one.ratio, MISSING if one.ratio else 0, tiers, rows)
    amounts = {
        name: where.pick(
            getattr(one, name), _AMOUNTS[name], rows=rows, by="category" if name.startswith("category_") else "group"
        )
        for name in asked
    }
    nth = where.pick(
        one.nth_admission_percent, [PERCENT] * steps, lambda series: filled(list(series), steps, series[-1]), rows
    )
    return {"over": over, "ratio": ratio, "nth": nth, **amounts}


def _class_terms(one: Benefit, where: Where, rows: np.ndarray, classes: list[list[ItemClass]]) -> dict[str, np.ndarray]:
    """Of each class of items paid apart: ratio, points, cap, and whether the benefit's caps hold for it."""
    found = {}
    given = list(one.item_classes.values())
    for n, all_of_that_place in enumerate(classes):
        clause = given[n] if n < len(given) else None
        width = width_of(*(other.ratio for other in all_of_that_place))
        over, ratio = where.tiers(clause.ratio if clause else {}, 0, width, rows)
        found |= {
            f"class_{n}_over": over,
            f"class_{n}_ratio": ratio,
            f"class_{n}_points": where.pick(clause.plus_points if clause else {}, 0, rows=rows),
            f"class_{n}_cap": where.pick(clause.annual_cap if clause else {}, NO_LIMIT, rows=rows),
            f"class_{n}_apart": np.full(len(rows), bool(clause and clause.ratio), np.int64),
            f"class_{n}_in_caps": np.full(len(rows), bool(clause and clause.in_caps), np.int64),
        }
    return found


def _with_category(found: SimpleNamespace) -> None:
    """The deductible as a category reduces it, the ratio by the self-pay of a group and with the points it adds."""
    if hasattr(found, "category_deductible_percent"):
        found.deductible = half_up(found.deductible * found.category_deductible_percent, PERCENT)
    if hasattr(found, "self_pay_percent"):
        less = half_up((PERCENT - found.ratio) * found.self_pay_percent[:, None], PERCENT)
        found.ratio = np.where(found.ratio > 0, np.maximum(PERCENT - less, 0), found.ratio)
    for points in ("plus_points", "category_plus_points"):
        if hasattr(found, points):
            found.ratio = plus_points(found.ratio, getattr(found, points)[:, None])


def _with_age(found: SimpleNamespace, kinds: pl.DataFrame) -> None:
    """The ratio that grows with age; one of unknown age gets none of it."""
    if hasattr(found, "age_points"):
        age = kinds["age"].fill_null(0).to_numpy() if "age" in kinds.columns else 0
        found.ratio = plus_points(found.ratio, (found.age_points * age)[:, None])


def _away(found: SimpleNamespace, kinds: pl.DataFrame, policy: Policy, where: Where) -> None:
    """Ratio and deductible of care away from home; `home_ratio`, `home_deductible` what they would be at home."""
    remote = is_word(kinds["local_flag"], "0")
    minus = np.where(remote, where.pick(policy.remote_minus_points, 0), 0)
    home, deductible = found.ratio, found.deductible
    found.ratio = np.maximum(home - minus[:, None], 0)
    if any(reduction.mode == "first" for reduction in policy.cross_region.values()):
        found.home_first = getattr(found, "first_percent", np.zeros(len(remote), np.int64))
        found.first_percent = found.home_first.copy()
    for kind, reduction in policy.cross_region.items():
        rows = np.flatnonzero(remote & is_word(kinds["filing"], kind))
        value = where.pick(reduction.value, 0, rows=rows)[:, None]
        found.ratio = found.ratio.copy()
        found.ratio[rows] = {
            "minus": np.maximum(home[rows] - value, 0),
            "times": half_up(home[rows] * value, PERCENT),
            "replace": np.where(home[rows] > 0, value, 0),
            "first": home[rows],
        }[reduction.mode]
        if reduction.mode == "first":
            found.first_percent[rows] = np.minimum(found.first_percent[rows] + value[:, 0], PERCENT)
        found.deductible = found.deductible.copy()
        factor = where.pick(reduction.deductible_percent, PERCENT, rows=rows)
        found.deductible[rows] = half_up(deductible[rows] * factor, PERCENT)
    if not all(payer.loss_counts for payer in policy.payers.values()):
        lost = remote & is_word(kinds["filing"], "unfiled")
        found.home_ratio = np.where(lost[:, None], home, found.ratio)
        found.home_deductible = np.where(lost, deductible, found.deductible)
        if hasattr(found, "home_first"):
            found.home_first = np.where(lost, found.home_first, found.first_percent)
