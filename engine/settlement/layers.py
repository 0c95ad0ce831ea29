"""The layers of one statement, each one short function over arrays of claims: who pays how much, in which order.

`c` holds the terms and amounts of the claims at hand, `year` what their persons have used up before them (both one row
per claim, fen and hundredths of a percent), `left` what of each part of the claim nobody has paid yet. A layer answers
its steps, by name, and what it leaves. No layer changes its arguments; what a claim uses up is written in STATE of
state.py. Formulas follow the generic waterfall of the national benefit list; the order is the policy's.
"""

from types import SimpleNamespace

import numpy as np

from engine.settlement.clauses import PARTS
from engine.settlement.money import PERCENT, half_up, share

Steps = dict[str, np.ndarray]
Left = dict[str, np.ndarray]


def statement(c: SimpleNamespace, year: SimpleNamespace, layers: list[str]) -> Steps:
    """Every step of the statements of claims whose persons stand at `year`; layers: the names, in order of paying."""
    left = dict(zip(PARTS, (c.scope, c.first, c.over_limit, c.own), strict=True))
    steps: Steps = {}
    for name in layers:
        more, left = LAYERS.get(name, behind_the_pool)(c, year, left, steps, name)
        steps |= more
    return steps


def within(amount: np.ndarray, room: np.ndarray) -> np.ndarray:
    """As much of the amount as there is room for, never below zero."""
    return np.maximum(np.minimum(amount, room), 0)


def paid_from(left: Left, amount: np.ndarray, counts: dict[str, np.ndarray]) -> Left:
    """What is left after an amount is paid out of the parts that count, the in-policy one first."""
    after = dict(left)
    for part, counted in counts.items():
        taken = within(left[part] * counted, amount)
        after[part] = left[part] - taken
        amount = amount - taken
    return after


def pool(c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str) -> tuple[Steps, Left]:
    """统筹基金: the tiers of the in-policy cost above the deductible, as far as the caps leave room."""
    scope = left["in_scope"]
    counted = within(scope, c.cost_cap - year.cost) if "cost_cap" in c else scope
    due = deductible_due(c, year, c.deductible)
    dedc = within(counted, due)
    entitled = pool_share(c, year, counted, dedc, c.ratio)
    pool_room, year_room = c.pool_cap - year.pool, c.year_cap - year.hifp
    hifp = within(np.minimum(entitled, pool_room), year_room)
    more = {
        "deductible_due": due,
        "act_pay_dedc": dedc,
        "pool_cost": counted * c.pays,
        "pool_entitled": entitled,
        "pool_room": pool_room,
        "year_room": year_room,
        "hifp_pay": hifp,
        "admissions": c.per_admission * c.pays,
    }
    if "home_ratio" in c:
        home_dedc = within(counted, deductible_due(c, year, c.home_deductible))
        home = within(pool_share(c, year, counted, home_dedc, c.home_ratio), np.minimum(pool_room, year_room))
        more["lost_unfiled"] = np.maximum(home - hifp, 0)
    return more, {**left, "in_scope": scope - hifp}


def deductible_due(c: SimpleNamespace, year: SimpleNamespace, deductible: np.ndarray) -> np.ndarray:
    """起付线: per admission by its number, less so much for each one before, or what is left of the year's."""
    before = np.maximum(year.admissions, 0)
    steps = np.minimum(before, c.nth.shape[1] - 1)
    percent = np.take_along_axis(c.nth, steps[:, None], axis=1)[:, 0] if c.nth.shape[1] > 1 else c.nth[:, 0]
    per_admission = half_up(deductible * percent, PERCENT)
    if "nth_admission_minus" in c:
        floor = np.minimum(c.deductible_floor if "deductible_floor" in c else 0, per_admission)
        per_admission = np.maximum(per_admission - c.nth_admission_minus * before, floor)
    return np.where(c.per_year == 1, deductible - year.dedc, per_admission) * c.pays


def pool_share(
    c: SimpleNamespace, year: SimpleNamespace, counted: np.ndarray, dedc: np.ndarray, ratio: np.ndarray
) -> np.ndarray:
    """统筹基金 before any cap: the tiers of what lies above the deductible, rounded once."""
    lower, upper = dedc, counted
    if "net_tiers" in c:
        lower, upper = np.where(c.net_tiers == 1, 0, lower), np.where(c.net_tiers == 1, counted - dedc, upper)
    if "year_tiers" in c:
        before = np.maximum(year.cost, 0) * c.year_tiers
        lower, upper = lower + before, upper + before
    return half_up(in_tiers(lower, upper, c.over, ratio), PERCENT) * c.pays


def in_tiers(lower: np.ndarray, upper: np.ndarray, over: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Sum over the tiers of (what of lower..upper lies in the tier) x its ratio; not yet divided."""
    total = np.zeros_like(upper)
    last = over.shape[1] - 1
    for tier in range(last + 1):
        top = np.minimum(upper, over[:, tier + 1]) if tier < last else upper
        total += np.maximum(top - np.maximum(lower, over[:, tier]), 0) * ratio[:, tier]
    return total


def large_amount(c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str) -> tuple[Steps, Left]:
    """职工大额: the in-policy cost behind what the annual cap cut off the pool's share, times its ratio."""
    entitled = steps["pool_entitled"]
    cut = within(entitled, steps["pool_room"]) - steps["hifp_pay"]
    beyond_cap = share(cut * (c.large_ratio > 0), entitled, np.maximum(c.scope - steps["act_pay_dedc"], 0))
    paid = within(half_up(beyond_cap * c.large_ratio, PERCENT), c.large_cap - year.hifob)
    return {"hifob_pay": paid}, {**left, "in_scope": left["in_scope"] - paid}


def behind_the_pool(
    c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str
) -> tuple[Steps, Left]:
    """大病, 公务员补助, 医疗救助, 倾斜救助, 惠民保: the tiers that the year's own share passes with this claim.

    Never more than the claim adds to it, nor than the year's cap leaves.
    """
    counts = {part: c.of(name, part) for part in PARTS if c.has(name, part)}
    base = sum(left[part] * counted for part, counted in counts.items()) * c.pays
    if c.has(name, "loss_excluded"):
        base = np.maximum(base - steps["lost_unfiled"] * c.of(name, "loss_excluded"), 0)
    before = np.maximum(year.of(name, "base"), 0)
    if c.has(name, "per_claim"):
        before = np.where(c.of(name, "per_claim") == 1, 0, before)
    passed = half_up(in_tiers(before, before + base, c.of(name, "over"), c.of(name, "ratio")), PERCENT)
    used, cap = year.of(name, "paid"), c.of(name, "cap")
    more = {}
    if c.has(name, "bonus_most"):
        zero = years_without_claim(c, year)
        bonus = np.minimum(c.of(name, "bonus_continuous") + c.of(name, "bonus_zero") * zero, c.of(name, "bonus_most"))
        more = {f"{name}_bonus": bonus}
        paid = within(passed, np.minimum(base, cap + bonus - used))
        more["bonus_years_cleared"] = zero * (used + paid > cap)
    else:
        paid = within(passed, np.minimum(base, cap - used))
    return {f"{name}_base": base, f"{name}_paid": paid, **more}, paid_from(left, paid, counts)


def years_without_claim(c: SimpleNamespace, year: SimpleNamespace) -> np.ndarray:
    """零报销年数: earlier years of enrolment in which the pool paid nothing, less those already used up."""
    free = sum((c.zero_years[:, back] * (paid <= 0) for back, paid in enumerate(year.earlier)), np.zeros_like(c.scope))
    return np.maximum(free - year.cleared, 0)


def account(c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str) -> tuple[Steps, Left]:
    """个人账户: pays the self-pay within the catalogue, and where the policy says so also what lies outside it."""
    counts = account_counts(c)
    owed = sum(left[part] * counted for part, counted in counts.items())
    room = c.account - year.acct
    paid = within(owed * c.pays, room)
    return {"account_room": room, "acct_pay": paid}, paid_from(left, paid, counts)


def account_counts(c: SimpleNamespace) -> dict[str, np.ndarray]:
    """Which parts an account may pay."""
    return {part: c.account_in_scope if part in PARTS[:2] else c.account_outside for part in PARTS}


def shared_account(
    c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str
) -> tuple[Steps, Left]:
    """共济账户: what the own account does not pay, out of the others of the family, one after the other."""
    counts = account_counts(c)
    owed = sum(left[part] * counted for part, counted in counts.items()) * c.pays
    more, total = {}, np.zeros_like(owed)
    for place, room in enumerate(year.others):
        more[f"mulaid_{place}"] = within(owed - total, room)
        total = total + more[f"mulaid_{place}"]
    return more | {"acct_mulaid_pay": total}, paid_from(left, total, counts)


LAYERS = {"pool": pool, "large_amount": large_amount, "account": account, "shared_account": shared_account}
