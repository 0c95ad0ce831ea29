"""What the layers behind the pool pay for each kind of claim: tiers, starts, caps, whom they serve; waiting; bonus."""

from types import SimpleNamespace

import numpy as np
import polars as pl

from engine.settlement.clauses import PARTS, Incentive, Payer
from engine.settlement.lookup import MISSING, Where, plus_points, width_of
from engine.settlement.money import NO_LIMIT, PERCENT, half_up
from engine.settlement.policy import Policy


def large_amount_terms(policy: Policy, where: Where) -> dict[str, np.ndarray]:
    layer = policy.large_amount
    return {
        "large_ratio": where.pick(layer.ratio if layer else {}, 0),
        "large_cap": where.pick(layer.annual_cap if layer else {}, NO_LIMIT),
    }


def payer_terms(
    name: str, payer: Payer, policy: Policy, where: Where, benefit: np.ndarray, kinds: pl.DataFrame
) -> dict:
    """Tiers, cap and what is counted of one layer behind the pool, each name beginning with the layer's."""
    by = payer.by
    over, ratio = where.tiers(payer.ratio, 0, width_of(payer.ratio), by=by)
    start = where.pick(payer.start, 0, by=by)
    if payer.category_start_percent:
        factor = where.pick(payer.category_start_percent, PERCENT, by="category")
        start, over = (half_up(start * factor, PERCENT), _first_reduced(over, factor, bool(payer.start)))
    if payer.start:
        over = over + start[:, None] if payer.band_origin == "net" else _above(over, start)
    if payer.category_plus_points:
        ratio = plus_points(ratio, where.pick(payer.category_plus_points, 0, by="category")[:, None])
    cap = where.pick(payer.annual_cap, NO_LIMIT, by=by)
    if payer.category_annual_cap:
        other = where.pick(payer.category_annual_cap, MISSING, by="category")
        cap = np.where(other == MISSING, cap, other)
    counted = [n for n, b in enumerate(policy.benefits) if not payer.benefits or b in payer.benefits]
    serves = np.isin(benefit, counted) & _serves(name, payer, where, kinds)
    flags = {"loss_excluded": not payer.loss_counts, "per_claim": payer.start_per == "claim"}
    flags["year_rounded"] = payer.rounded == "year"
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


def _serves(name: str, payer: Payer, where: Where, kinds: pl.DataFrame) -> np.ndarray:
    """Whether the payer serves the person: by group, category or insurance; by category, only persons of one."""
    who = payer.who
    served = np.ones(kinds.height, bool)
    if who.groups or who.categories or who.insutypes:
        served = np.isin(where.group, [where.groups.index(group) for group in who.groups])
        served |= np.isin(where.category, [where.categories.index(category) for category in who.categories])
        if who.insutypes:
            served |= kinds[f"in_{name}"].fill_null(False).to_numpy()
    return served & (where.category >= 0) if payer.by == "category" else served


def waiting_terms(policy: Policy, where: Where) -> dict[str, np.ndarray]:
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


def incentive_terms(incentive: Incentive, found: SimpleNamespace, where: Where, kinds: pl.DataFrame) -> dict:
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
