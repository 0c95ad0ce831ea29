"""The layers of one statement, each one short function over arrays of claims: who pays how much, in which order.

`c` holds the terms and amounts of the claims at hand, `year` what their persons have used up before them (both one row
per claim, fen and hundredths of a percent), `left` what of each part of the claim nobody has paid yet. A layer answers
its steps, by name, and what it leaves. No layer changes its arguments; what a claim uses up is written in STATE of
state.py. Formulas follow the generic waterfall of the national benefit list; the order is the policy's.
"""

from types import SimpleNamespace

import numpy as np

from engine.settlement.clauses import PARTS
from engine.settlement.money import NO_LIMIT, PERCENT, half_up, share

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


def account_first(c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str) -> tuple[Steps, Left]:
    """账户段: where the benefit says so the account pays before the pool, which then bears what is left."""
    counts = {part: c.account_first for part in PARTS[:2]}
    owed = sum(left[part] * counted for part, counted in counts.items())
    paid = within(owed * c.pays, c.account - year.acct)
    return {"acct_first": paid}, paid_from(left, paid, counts)


def pool(c: SimpleNamespace, year: SimpleNamespace, left: Left, steps: Steps, name: str) -> tuple[Steps, Left]:
    """统筹基金: the tiers of the in-policy cost above the deductible, as far as the caps leave room."""
    scope = left["in_scope"]
    classes = classes_of(c, scope)
    basis = pool_basis(c, year, scope, classes, c.deductible, c.first_percent if "first_percent" in c else None)
    raw = pool_share(c, year, basis, classes, c.ratio)
    entitled = rounded_share(c, raw, "year_rounded", lambda: year.raw)
    cap = c.pool_cap
    if "pool_by_months" in c:
        cap = np.where((c.pool_by_months == 1) & (cap < NO_LIMIT), cap * c.month, cap)
    pool_room = cap - (year.pool * (1 - c.pool_by_claim) if "pool_by_claim" in c else year.pool)
    if "second_cap" in c:
        used = year.second * (1 - c.second_by_claim) if "second_by_claim" in c else year.second
        second = c.second_cap
        if "second_by_day" in c:
            second = np.where((c.second_by_day == 1) & (second < NO_LIMIT), second * c.days, second)
        pool_room = np.minimum(pool_room, second - used)
    year_room = c.year_cap - year.hifp
    basic = within(np.minimum(entitled, pool_room), year_room)
    apart, in_caps = classes_paid(c, year, classes, pool_room - basic, year_room - basic)
    hifp = basic + sum(apart.values(), np.zeros_like(basic))
    more = {
        "deductible_due": basis["due"],
        "act_pay_dedc": basis["dedc"],
        "pool_cost": basis["counted"] * c.pays,
        "pool_base": (basis["counted"] - basis["dedc"]) * c.pays,
        "pool_raw": raw,
        "pool_entitled": entitled,
        "pool_room": pool_room,
        "year_room": year_room,
        "pool_basic": basic,
        "pool_in_caps": basic + in_caps,
        **{f"class_{n}_paid": paid for n, paid in apart.items()},
        **{f"class_{n}_raw": class_share(c, n, cost) for n, cost in classes["apart"].items()},
        "hifp_pay": hifp,
        "admissions": c.per_admission * c.pays * ((year.chained <= 0) if "chain" in c else 1),
    }
    if "home_ratio" in c:
        first = c.home_first if "home_first" in c else c.first_percent if "first_percent" in c else None
        home_basis = pool_basis(c, year, scope, classes, c.home_deductible, first)
        home = half_up(pool_share(c, year, home_basis, classes, c.home_ratio), PERCENT)
        home = within(home, np.minimum(pool_room, year_room))
        more["lost_unfiled"] = np.maximum(home - basic, 0)
    return more, {**left, "in_scope": scope - hifp}


def pool_basis(c: SimpleNamespace, year: SimpleNamespace, scope: np.ndarray, classes: dict, deductible: np.ndarray,
               first: np.ndarray | None) -> Steps:  # fmt: skip
    """What the tiers are applied to: the in-policy cost without what is paid apart or by the person first, that counts.

    counted: as far as the cap on the cost leaves room. due, dedc: the deductible, and as much as there is cost.
    """
    scope = scope - sum(classes["apart"].values(), np.zeros_like(scope))
    if first is not None:
        scope = scope - half_up(scope * first, PERCENT)
    counted = scope
    if "cost_cap" in c:
        used = year.cost_capped * (1 - c.cost_by_claim) if "cost_by_claim" in c else year.cost_capped
        counted = within(scope, c.cost_cap - used)
    due = deductible_due(c, year, deductible)
    return {"counted": counted, "due": due, "dedc": within(counted, due)}


def deductible_due(c: SimpleNamespace, year: SimpleNamespace, deductible: np.ndarray) -> np.ndarray:
    """起付线: per admission by its number, less so much for each one before; or per claim; or what a span has left.

    A stay that continues another counts as the same admission, and what that one paid is taken off.
    """
    chained = year.chained if "chain" in c else 0
    before = np.maximum(year.admissions - (chained > 0), 0)
    steps = np.minimum(before, c.nth.shape[1] - 1)
    percent = np.take_along_axis(c.nth, steps[:, None], axis=1)[:, 0] if c.nth.shape[1] > 1 else c.nth[:, 0]
    per_admission = half_up(deductible * percent, PERCENT)
    if "nth_admission_minus" in c:
        floor = np.minimum(c.deductible_floor if "deductible_floor" in c else 0, per_admission)
        per_admission = np.maximum(per_admission - c.nth_admission_minus * before, floor)
    if "chain" in c:
        per_admission = np.maximum(per_admission - year.chain_dedc, 0)
    each = np.where(c.per_admission == 1, per_admission, deductible)
    due = np.where(c.per_span == 1, deductible - year.dedc, each) * c.pays
    if "deductible_year_cap" in c:
        due = np.minimum(due, np.maximum(c.deductible_year_cap - year.dedc_of_year, 0))
    return due


def pool_share(c: SimpleNamespace, year: SimpleNamespace, basis: Steps, classes: dict, ratio: np.ndarray) -> np.ndarray:
    """统筹基金 before any cap, not yet divided by 100 %: the tiers of what lies above the deductible."""
    dedc, counted = basis["dedc"], basis["counted"]
    lower, upper = dedc, counted
    for origin in ("net_tiers", "year_net_tiers"):
        if origin in c:
            net = getattr(c, origin) == 1
            lower, upper = np.where(net, 0, lower), np.where(net, counted - dedc, upper)
    for origin, used in (("year_tiers", "cost"), ("year_net_tiers", "net")):
        if origin in c:
            before = np.maximum(getattr(year, used), 0) * getattr(c, origin)
            lower, upper = lower + before, upper + before
    raw = in_tiers(lower, upper, c.over, ratio)
    for n, cost in classes["within"].items():
        raw = raw + np.minimum(cost, counted - dedc) * c.of(f"class_{n}", "points")
    return (np.minimum(raw, (counted - dedc) * PERCENT) if classes["within"] else raw) * c.pays


def rounded_share(c: SimpleNamespace, raw: np.ndarray, flag: str, before) -> np.ndarray:
    """raw / 100 %, rounded half-up; or, by the year, the rounded sum of the year with this claim less that without."""
    each = half_up(raw, PERCENT)
    if flag not in c:
        return each
    used = np.maximum(before(), 0)
    return np.where(getattr(c, flag) == 1, half_up(used + raw, PERCENT) - half_up(used, PERCENT), each)


def classes_of(c: SimpleNamespace, scope: np.ndarray) -> dict[str, dict[int, np.ndarray]]:
    """The in-policy cost of each class of items: those that are paid apart, and those within the others."""
    found: dict[str, dict[int, np.ndarray]] = {"apart": {}, "within": {}}
    n = 0
    while f"class_{n}" in c:
        cost, apart = getattr(c, f"class_{n}"), c.of(f"class_{n}", "apart")
        found["apart"][n] = within(scope - sum(found["apart"].values(), np.zeros_like(scope)), cost * apart)
        found["within"][n] = np.maximum(cost, 0) * (1 - apart)
        n += 1
    return found


def class_share(c: SimpleNamespace, n: int, cost: np.ndarray) -> np.ndarray:
    """The tiers of a class paid apart, not yet divided by 100 %."""
    over, ratio = c.of(f"class_{n}", "over"), c.of(f"class_{n}", "ratio")
    return in_tiers(np.zeros_like(cost), cost, over, ratio) * c.pays


def classes_paid(c: SimpleNamespace, year: SimpleNamespace, classes: dict, pool_room: np.ndarray,
                 year_room: np.ndarray) -> tuple[dict[int, np.ndarray], np.ndarray]:  # fmt: skip
    """What the pool pays of each class paid apart, and of that what the benefit's own caps hold for."""
    paid, in_caps = {}, np.zeros_like(year_room)
    for n, cost in classes["apart"].items():
        name = f"class_{n}"
        raw = class_share(c, n, cost)
        entitled = rounded_share(c, raw, "year_rounded", lambda name=name: year.of(name, "raw"))
        capped = c.of(name, "in_caps") == 1
        room = np.minimum(year_room, c.of(name, "cap") - year.of(name, "paid"))
        paid[n] = within(entitled, np.where(capped, np.minimum(room, pool_room), room))
        in_caps, pool_room = in_caps + paid[n] * capped, pool_room - paid[n] * capped
        year_room = year_room - paid[n]
    return paid, in_caps


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
    cut = within(entitled, steps["pool_room"]) - steps["pool_basic"]
    beyond_cap = share(cut * (c.large_ratio > 0), entitled, large_base(c, steps))
    paid = within(half_up(beyond_cap * c.large_ratio, PERCENT), c.large_cap - year.hifob)
    return {"hifob_pay": paid}, {**left, "in_scope": left["in_scope"] - paid}


def large_base(c: SimpleNamespace, steps: Steps) -> np.ndarray:
    """The in-policy cost above the deductible, as far as it is the pool's by its ratio."""
    reduced = "first_percent" in c or "class_0" in c or "account_first" in c
    return steps["pool_base"] if reduced else np.maximum(c.scope - steps["act_pay_dedc"], 0)


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
    raw = in_tiers(before, before + base, c.of(name, "over"), c.of(name, "ratio"))
    passed = rounded_share(c, raw, f"{name}_year_rounded", lambda: year.of(name, "raw"))
    used, cap = year.of(name, "paid"), c.of(name, "cap")
    for other in c.together.get(name, ()):
        used = used + year.of(other, "paid") + steps.get(f"{other}_paid", np.zeros_like(used))
    more = {f"{name}_raw": raw} if c.has(name, "year_rounded") else {}
    if c.has(name, "bonus_most"):
        zero = years_without_claim(c, year)
        bonus = np.minimum(c.of(name, "bonus_continuous") + c.of(name, "bonus_zero") * zero, c.of(name, "bonus_most"))
        more[f"{name}_bonus"] = bonus
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
    before = steps.get("acct_first", np.zeros_like(owed))
    room = c.account - year.acct - before
    paid = within(owed * c.pays, room)
    return {"account_room": room + before, "acct_pay": paid + before}, paid_from(left, paid, counts)


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


LAYERS = {
    "account_first": account_first,
    "pool": pool,
    "large_amount": large_amount,
    "account": account,
    "shared_account": shared_account,
}
