"""The layers of one statement, each one short function over arrays of claims: who pays how much, in which order.

`c` holds the terms and amounts of the claims at hand, `year` what the same persons have used up in the year before them
(both one row per claim, fen and hundredths of a percent). No layer changes its arguments; what a claim uses up of the
year is written in person.STATE. Order and formulas follow the generic waterfall of the national benefit list.
"""

from types import SimpleNamespace

import numpy as np

from engine.settlement.money import PERCENT, half_up, share


def statement(c: SimpleNamespace, year: SimpleNamespace) -> dict[str, np.ndarray]:
    """Every step of the statements of claims whose persons stand at `year`; `c.scope` is the in-policy amount."""
    due = deductible_due(c, year)
    dedc = within(c.scope, due)
    entitled = pool_share(c, dedc)
    pool_room, year_room = c.pool_cap - year.pool, c.year_cap - year.hifp
    pooled = within(entitled, pool_room)
    hifp = within(pooled, year_room)
    hifob = large_amount(c, year, dedc, entitled, pooled - hifp)
    borne = own_share_in_scope(c, hifp + hifob)
    hifmi = catastrophic(c, year, borne)
    acct = account(c, year, hifp + hifob + hifmi)
    return {
        "deductible_due": due,
        "act_pay_dedc": dedc,
        "pool_entitled": entitled,
        "pool_room": pool_room,
        "year_room": year_room,
        "hifp_pay": hifp,
        "hifob_pay": hifob,
        "catastrophic_base": borne,
        "hifmi_pay": hifmi,
        "account_room": c.account - year.acct,
        "acct_pay": acct,
        "admissions": c.per_admission * c.pays,
    }


def within(amount: np.ndarray, room: np.ndarray) -> np.ndarray:
    """As much of the amount as there is room for, never below zero."""
    return np.maximum(np.minimum(amount, room), 0)


def deductible_due(c: SimpleNamespace, year: SimpleNamespace) -> np.ndarray:
    """起付线: per admission by its number in the year, or what is left of the year's."""
    steps = np.minimum(np.maximum(year.admissions, 0), c.nth.shape[1] - 1)
    percent = np.take_along_axis(c.nth, steps[:, None], axis=1)[:, 0]
    per_admission = half_up(c.deductible * percent, PERCENT)
    return np.where(c.per_year == 1, c.deductible - year.dedc, per_admission) * c.pays


def pool_share(c: SimpleNamespace, dedc: np.ndarray) -> np.ndarray:
    """统筹基金 before any cap: the tiers of what lies above the deductible, rounded once."""
    lower, upper = np.where(c.net_tiers == 1, 0, dedc), np.where(c.net_tiers == 1, c.scope - dedc, c.scope)
    return half_up(in_tiers(lower, upper, c.over, c.ratio), PERCENT) * c.pays


def in_tiers(lower: np.ndarray, upper: np.ndarray, over: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Sum over the tiers of (what of lower..upper lies in the tier) x its ratio; not yet divided."""
    total = np.zeros_like(upper)
    last = over.shape[1] - 1
    for tier in range(last + 1):
        top = np.minimum(upper, over[:, tier + 1]) if tier < last else upper
        total += np.maximum(top - np.maximum(lower, over[:, tier]), 0) * ratio[:, tier]
    return total


def large_amount(
    c: SimpleNamespace, year: SimpleNamespace, dedc: np.ndarray, entitled: np.ndarray, cut: np.ndarray
) -> np.ndarray:
    """职工大额: the in-policy cost behind what the annual cap cut off the pool's share, times its ratio."""
    beyond_cap = share(cut * (c.large_ratio > 0), entitled, np.maximum(c.scope - dedc, 0))
    return within(half_up(beyond_cap * c.large_ratio, PERCENT), c.large_cap - year.hifob)


def own_share_in_scope(c: SimpleNamespace, paid: np.ndarray) -> np.ndarray:
    """What the claim adds to the year's in-policy self-pay on which the catastrophic layer counts."""
    return ((c.scope - paid) * c.catastrophic_counts + c.first * c.catastrophic_first) * c.pays


def catastrophic(c: SimpleNamespace, year: SimpleNamespace, borne: np.ndarray) -> np.ndarray:
    """居民大病: the tiers that the year's accumulated self-pay passes with this claim, never more than it adds."""
    passed = in_tiers(year.borne, year.borne + borne, c.catastrophic_over, c.catastrophic_ratio)
    return within(half_up(passed, PERCENT), np.minimum(borne, c.catastrophic_cap - year.hifmi))


def account(c: SimpleNamespace, year: SimpleNamespace, fund: np.ndarray) -> np.ndarray:
    """个人账户: pays the self-pay within the catalogue, and where the policy says so also what lies outside it."""
    owed = (c.first + c.scope - fund) * c.account_in_scope + (c.own + c.over_limit) * c.account_outside
    return within(owed * c.pays, c.account - year.acct)
