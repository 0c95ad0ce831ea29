"""What in a policy is allowed but perhaps not meant: gaps, values that never apply, clauses without effect.

Each doubt is the key path at which it stands and a sentence with what follows from it and what was likely meant.
"""

from collections.abc import Iterator
from datetime import date
from itertools import product
from typing import get_args

from engine.settlement.clauses import Benefit, Payer, VisitKind
from engine.settlement.dated import ALL
from engine.settlement.money import NO_LIMIT, PERCENT
from engine.settlement.policy import Policy, parameters
from engine.settlement.spoken import yuan

Doubt = tuple[tuple[str, ...], str]
LEVELS = ("0", "1", "2", "3")
_CAPS = ("pool_cap", "second_cap", "cost_cap", "annual_cap", "deductible_year_cap", "category_annual_cap")
_SPANS = ("year", "half_year", "quarter", "month", "day", "claim")  # from the longest


def doubts(policy: Policy) -> list[Doubt]:
    """All doubts about a policy, in the order of its parts."""
    found = [*_whom(policy), *_visits(policy)]
    for name, benefit in policy.benefits.items():
        found += [*_of_benefit(policy, ("benefits", name), benefit)]
    for name, payer in policy.behind_the_pool().items():
        found += [*_of_payer(policy, ("catastrophic",) if name == "catastrophic" else ("payers", name), payer)]
    return [*found, *_of_the_whole(policy), *_values(policy)]


def begins_after(policy: Policy, first: date) -> list[Doubt]:
    """The parameters that have no value yet on the first day of the claims."""
    found = []
    for where, dated, _ in parameters(policy):
        path, begin = tuple(where.split(".")), min(dated)
        if begin > first and path[0] not in ("figures", "provider"):
            without = "不适用本政策" if path[0] == "benefits" and path[2:] == ("ratio",) else "按没有这一项计算"
            found.append((path, f"从 {begin} 起才有值；{first} 起的结算单在此以前{without}"))
    return found


def _whom(policy: Policy) -> Iterator[Doubt]:
    """Groups that nobody reaches."""
    taken: dict[str, str] = {}
    for name, group in policy.groups.items():
        words = (name, *group.psn_types)
        if not group.psn_types:
            yield ("groups", name), f"没有写 psn_types，只有 psn_type 恰为 {name} 的单归入；是否漏写，如 [11*]"
        elif shadow := next((taken[word] for word in group.psn_types if word in taken), None):
            yield ("groups", name), f"轮不到：排在没有条件的 {shadow} 之后；有条件的组应写在前面"
        for low, high in (group.ages(), group.months()):
            if low is not None and high is not None and low >= high:
                yield ("groups", name), f"没有人符合：从 {low} 起而不到 {high}；是否写反"
        if not group.conditions():
            taken |= {word: name for word in words}


def _visits(policy: Policy) -> Iterator[Doubt]:
    """Kinds of visit without a benefit, and benefits that an earlier one leaves nothing."""
    kinds = {kind for b in policy.benefits.values() if not b.where for kind in b.visit_kinds}
    if left_out := [kind for kind in get_args(VisitKind) if kind not in {*kinds, "account_debit"}]:
        yield ("benefits",), f"没有待遇收就诊类别 {', '.join(left_out)}；这些结算单不适用本政策"
    seen: dict[tuple, str] = {}
    for name, b in policy.benefits.items():
        for key in ("med_types", "adm_kinds", "items"):
            for word in getattr(b, key):
                earlier = next((seen[key, w] for w in (word, *_beginnings(word)) if (key, w) in seen), None)
                if earlier and earlier != name:
                    yield ("benefits", name, key), f"轮不到：{word} 已归先写的 {earlier}"
                seen.setdefault((key, word), name)
        if b.where:
            whole = ("where", str(sorted((c, sorted(v)) for c, v in b.where.items())), str(sorted(b.visit_kinds)))
            if whole in seen:
                yield ("benefits", name, "where"), f"轮不到：与先写的 {seen[whole]} 条件相同"
            seen.setdefault(whole, name)


def _beginnings(word: str) -> list[str]:
    return [f"{word[:n]}*" for n in range(len(word.removesuffix("*")), 0, -1)]


def _of_benefit(policy: Policy, path: tuple, b: Benefit) -> Iterator[Doubt]:
    if not b.ratio and not b.item_classes and b.account_pays != "all":
        yield path, "没有写 ratio，统筹不付任何费用；若只由账户付，写 account_pays: all"
    if b.deductible_per and not b.deductible:
        yield (*path, "deductible_per"), "没有写 deductible，不起作用"
    if b.deductible_per != "admission":
        for key in ("nth_admission_percent", "nth_admission_minus", "continues_within_days"):
            if getattr(b, key):
                yield (*path, key), "只在 deductible_per: admission 时起作用"
    if b.deductible_floor and not b.nth_admission_minus:
        yield (*path, "deductible_floor"), "没有写 nth_admission_minus，不起作用"
    if not b.ratio and (b.self_pay_percent or b.plus_points or b.age_points):
        yield path, "没有写 ratio，加点和自付比例不起作用"
    for key in ("deductible_shared", "pool_cap_shared"):
        words = [getattr(other, key) for other in policy.benefits.values()]
        if (word := getattr(b, key)) and words.count(word) == 1:
            others = sorted({w for w in words if w and w != word})
            yield (
                (*path, key),
                f"只有这一项待遇写了 {word}；{'是否想写 ' + others[0] if others else '没有别的待遇合用'}",
            )
    pairs = [
        ("deductible_floor", "deductible", "减后的下限高于起付线"),
        ("pool_cap", "annual_cap", "待遇限额高于年度总限额"),
    ]
    if b.second_cap_per in _SPANS[_SPANS.index(b.pool_cap_per) if b.pool_cap_per in _SPANS else len(_SPANS) :]:
        pairs.append(("second_cap", "pool_cap", f"高于每 {b.pool_cap_per} 的 pool_cap"))
    for key, other, said in pairs:
        larger = policy.annual_cap if other == "annual_cap" else getattr(b, other)
        for day, group, level in _cells(policy, getattr(b, key), larger):
            value, bound = _at(getattr(b, key), day, group, level), _at(larger, day, group, level)
            if value is not None and bound is not None and bound < value < NO_LIMIT:
                yield (
                    (*path, key, day.isoformat()),
                    f"{group} 等级 {level}: {yuan(value)} {said} {yuan(bound)}，不起作用；是否写错",
                )
                break
    for day, group, level in _cells(policy, b.ratio, b.cost_cap):
        cap = _at(b.cost_cap, day, group, level)
        never = [over for over, _ in _at(b.ratio, day, group, level) or () if cap is not None and over >= cap]
        if never:
            yield (*path, "ratio"), f"{group} 等级 {level}: {yuan(never[0])} 以上的档轮不到，cost_cap 为 {yuan(cap)}"
            break


def _of_payer(policy: Policy, path: tuple, payer: Payer) -> Iterator[Doubt]:
    """Tiers that the cap of the payments never lets anybody reach."""
    names = list(policy.categories) if payer.by == "category" else list(policy.groups)
    for day, name, level in product(payer.ratio, names, ("3",)):
        bands = _at(payer.ratio, day, name, level) or ()
        cap, start = _at(payer.annual_cap, day, name, level), _at(payer.start, day, name, level) or 0
        paid = 0
        for (over, ratio), (top, _) in zip(bands, bands[1:], strict=False):
            low = max(over, start) if payer.band_origin == "gross" else over
            paid += max(top - low, 0) * ratio // PERCENT
            if payer.band_origin == "gross" and payer.start and top <= start:
                yield (
                    (*path, "ratio", day.isoformat()),
                    f"{name}: {yuan(over)} 至 {yuan(top)} 的档轮不到，起付标准为 {yuan(start)}",
                )
            elif cap is not None and paid >= cap > 0:
                yield (
                    (*path, "ratio", day.isoformat()),
                    f"{name}: {yuan(top)} 以上的档轮不到，以下的档已付到限额 {yuan(cap)}",
                )
                break
    if payer.annual_cap_shared and not policy.together()[path[-1]]:
        yield (*path, "annual_cap_shared"), f"只有这一方写了 {payer.annual_cap_shared}；没有别的付费方合用"
    if getattr(payer, "first_pay_counts", False) and payer.counts != ["in_scope"]:
        yield (*path, "first_pay_counts"), "写了它就不看 counts"


def _of_the_whole(policy: Policy) -> Iterator[Doubt]:
    if policy.large_amount and not policy.annual_cap:
        yield ("large_amount",), "没有写 annual_cap，大额从不付费"
    for name, payer in policy.payers.items():
        if not payer.loss_counts and "unfiled" not in policy.cross_region:
            yield ("payers", name, "loss_counts"), "没有写 cross_region.unfiled，不起作用"


def _values(policy: Policy) -> Iterator[Doubt]:
    """Days, groups and levels for which a parameter has no value, caps of nothing, values without a source."""
    first: dict[str, date] = {}
    every = [(tuple(where.split(".")), dated, by_category) for where, dated, by_category in parameters(policy)]
    for path, dated, _ in every:
        part = ".".join(path[:-1])
        first[part] = min(first.get(part, min(dated)), min(dated))
    for path, dated, by_category in every:
        begin, part = min(dated), ".".join(path[:-1])
        if part and begin > first[part] and path[0] != "figures":
            without = "不适用本政策" if path[0] == "benefits" and path[2:] == ("ratio",) else "按没有这一项计算"
            said = f"从 {begin} 起才有值，同一待遇别的参数从 {first[part]} 起"
            yield path, f"{said}；其间的结算单{without}；起始日期是否写错"
        days = list(dated)
        for day, until in zip(days, [*days[1:], None], strict=True):
            here = (*path, day.isoformat())
            if not dated[day].value:
                span = f"从 {day} 起未知；其后" if until is None else f"从 {day} 至 {until} 未知；其间"
                without = "按没有这一项计算" if by_category else "不适用本政策"
                yield path if until is None else here, f"{span}的结算单{without}"
            if not (dated[day].source or policy.source):
                yield here, "没有写来源"
            yield from _cells_of(policy, here, path[-1], dated[day].value, by_category)


def _cells_of(policy: Policy, here: tuple, name: str, value: dict, by_category: bool) -> Iterator[Doubt]:
    """Levels without a value, and caps of nothing."""
    if here[0] == "provider":
        return
    lacking: dict[str, list[str]] = {}
    for by, levels in value.items():
        missing = [level for level in LEVELS if level not in levels]
        if not by_category and ALL not in levels and missing and len(missing) < len(LEVELS):
            lacking.setdefault(", ".join(missing), []).append(by)
        if name in _CAPS and 0 in levels.values():
            yield here, f"{'' if by == ALL else by + ' '}限额为 0，等于不付；不设限应写 none"
    for missing, whom in lacking.items():
        whose = "" if whom == [ALL] else f"人员组 {'、'.join(whom)} "
        yield here, f"{whose}没有医院等级 {missing} 的值 (0 为未定级)；这些结算单不适用本政策，可写 all"


def _cells(policy: Policy, *dated: dict) -> Iterator[tuple[date, str, str]]:
    """Days on which one of these parameters changes, with every group and level; none where one is not set."""
    if all(dated):
        yield from product(sorted({day for d in dated for day in d}), policy.groups, LEVELS)


def _at(dated: dict, day: date, by: str, level: str):
    """The value that holds on a day, or None."""
    held = [entry.value for begin, entry in dated.items() if begin <= day]
    levels = held[-1].get(by, held[-1].get(ALL, {})) if held else {}
    return levels.get(level, levels.get(ALL))
