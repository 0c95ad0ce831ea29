"""A policy in words: for one person group, level of institution and day, the waterfall a citizen could read.

Each sentence names the value that holds, since when, and its source and grade; nothing is computed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel

from engine.settlement.clauses import LargeAmount, Payer, Waiting, Who
from engine.settlement.dated import ALL, Dated, leaf_of
from engine.settlement.money import NO_LIMIT, PERCENT
from engine.settlement.policy import Policy, is_by_category

LABELS = {
    "deductible": "起付线",
    "nth_admission_percent": "年内各次住院的起付线",
    "nth_admission_minus": "年内每多住院一次，起付线减",
    "deductible_floor": "减后起付线不低于",
    "category_deductible_percent": "救助对象的起付线",
    "ratio": "支付比例",
    "plus_points": "支付比例另加百分点",
    "category_plus_points": "救助对象支付比例另加百分点",
    "age_points": "每满一岁支付比例另加百分点",
    "cost_cap": "计入的政策范围内费用至多",
    "pool_cap": "支付限额",
    "annual_cap": "年度最高支付限额",
    "category_annual_cap": "救助对象的年度最高支付限额",
    "start": "起付标准",
    "category_start_percent": "救助对象的起付标准",
    "deductible_year_cap": "一年的起付线合计至多",
    "continues_within_days": "出院后几天内再入院算同一次住院（天）",
    "first_percent": "政策范围内费用先由个人自付",
    "self_pay_percent": "个人自付比例为上述自付比例的",
    "pool_cap_per_further_disease": "每多认定一个病种，限额增加",
    "second_cap": "支付限额",
    "newborn_days": "新生儿出生后几天内参保，待遇从出生日起（天）",
    "fixed": "固定等待期（月）",
    "per_missed_year": "每断保一年，等待期增加（月）",
    "per_repaired_year": "每补缴一年，等待期减少（月）",
    "long_gap_years": "断保满几年，等待期另有下限（年）",
    "long_gap_least": "该下限（月）",
    "step_continuous": "每多连续参保一年，大病限额增加",
    "free_years": "连续参保的头几年不增加（年）",
    "step_zero_claim": "每个没有报销的年度，大病限额增加",
    "most_percent": "增加的合计不超过原限额的",
    "value": "数值",
    "deductible_percent": "起付线为本地的",
    "amount": "一年的个人缴费",
    "category_percent": "其中医疗救助资助",
    "category_amount": "其中医疗救助定额资助",
    "limit": "每单位计入费用至多",
    "units_a_month": "每月至多付几个单位",
    "months": "产假按几个月平均工资折算",
    "days": "…合几天",
    "leave": "产假（天）",
    "leave_difficult": "难产另加（天）",
    "leave_further_baby": "多胎每多一个另加（天）",
    "leave_local": "地方奖励假（天）",
}
LAYERS = {
    "pool": "基本医疗保险统筹基金",
    "large_amount": "职工大额医疗费用补助",
    "catastrophic": "大病保险",
    "account": "个人账户",
    "shared_account": "家庭共济账户",
}
FILINGS = {"resident": "长期异地居住备案", "referral": "转诊备案", "emergency": "急诊抢救", "temporary": "临时外出备案",
           "filed": "已备案", "unfiled": "未备案"}  # fmt: skip
VISITS = {"general_outpatient": "普通门诊", "emergency_outpatient": "急诊", "chronic_outpatient": "门诊慢性病",
          "special_outpatient": "门诊特殊病", "inpatient": "住院", "emergency_inpatient": "急诊住院",
          "day_surgery": "日间手术", "home_bed": "家庭病床", "pharmacy": "定点药店",
          "account_debit": "个人账户代缴"}  # fmt: skip
ORIGINS = {"net": "减去起付线之后的费用", "year": "全年累计的政策范围内费用", "year_net": "全年累计的起付线以上费用"}
ACCOUNTS = {"all": "个人账户可付全部费用，包括目录外", "nothing": "个人账户不付", "first": "个人账户先付，再由统筹支付"}
PARTS_SAID = {"in_scope": "政策范围内部分", "first_pay": "先行自付", "over_limit": "超限价自费", "own_pay": "全自费"}
MODES = {"minus": "支付比例降低百分点", "times": "支付比例乘以", "replace": "支付比例改为",
         "first": "政策范围内费用先自付"}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """One value of a policy that holds for somebody on a day: its key path, its label, itself in words, its origin."""

    path: str
    label: str
    text: str
    since: date
    source: str
    grade: str


@dataclass(frozen=True)
class Whose:
    """For whom a policy is read: a person group, a category of assistance or none, a level of institution, a day."""

    group: str
    level: str
    day: date
    category: str | None = None


def waterfall(policy: Policy, whose: Whose) -> list[tuple[str, list[Said]]]:
    """The parts of the policy with what each says, in the order in which they pay; parts that say nothing left out.

    First every benefit (the pool's deductible, ratio and cap by kind of visit), then the layers.
    """
    parts: list[tuple] = []
    for n, b in policy.benefits.items():
        heading = f"{LAYERS['pool']}：{b.label or n}"
        parts.append((heading, f"benefits.{n}", b))
        parts += [(f"{heading}，其中{c}", f"benefits.{n}.item_classes.{c}", one) for c, one in b.item_classes.items()]
    first_layer = len(parts)
    for name in policy.layers():
        layer = {"large_amount": policy.large_amount, **policy.behind_the_pool()}.get(name)
        if layer is not None:
            path = name if name in ("large_amount", "catastrophic") else f"payers.{name}"
            parts.append((getattr(layer, "label", "") or LAYERS.get(name, name), path, layer))
    if policy.catastrophic and policy.catastrophic.incentive and not _pays_nothing(policy.catastrophic, whose):
        parts.append(("大病限额的激励", "catastrophic.incentive", policy.catastrophic.incentive))
    if policy.enrolment:
        parts.append(("参保", "enrolment", policy.enrolment))
    if policy.enrolment and policy.enrolment.waiting and _waits(policy.enrolment.waiting, whose):
        parts.append(("待遇等待期", "enrolment.waiting", policy.enrolment.waiting))
    parts += [("参保缴费", "premiums", policy.premiums)] if policy.premiums else []
    parts += [("生育津贴", "maternity", policy.maternity)] if policy.maternity else []
    parts += [(f"长期护理：{name}", f"long_term_care.{name}", one) for name, one in policy.long_term_care.items()]
    told = [
        (heading, [] if _pays_nothing(model, whose) else list(_of(model, path, policy, whose, _per(model))))
        for heading, path, model in parts
    ]
    told.insert(first_layer, (f"{LAYERS['pool']}：合计", list(_own(policy, whose))))
    for filing, reduction in policy.cross_region.items():
        said = list(_of(reduction, f"cross_region.{filing}", policy, whose, {"value": MODES[reduction.mode]}))
        told.append((f"异地就医：{FILINGS[filing]}", said))
    return [(heading, said) for heading, said in told if said]


def _pays_nothing(model: BaseModel, whose: Whose) -> bool:
    """Whether a layer pays nothing to this person: it serves others, or its ratio is zero or not for the category."""
    if not isinstance(model, (LargeAmount, Payer)):
        return False
    by = whose.category if is_by_category(model, "ratio") else whose.group
    who = getattr(model, "who", Who())
    named = whose.group in who.groups or whose.category in who.categories
    if (who.groups or who.categories) and not who.insutypes and not named:
        return True
    held = value_for(model.ratio, by, whose.level, whose.day) if by is not None else None
    tiers = held[2] if held else ()
    return not any(ratio for _, ratio in tiers) if isinstance(tiers, tuple) else not tiers


def _waits(waiting: Waiting, whose: Whose) -> bool:
    """Whether this person would wait any month."""
    held = (value_for(d, whose.group, whose.level, whose.day) for d in (waiting.fixed, waiting.per_missed_year))
    return whose.category not in waiting.exempt_categories and any(h and h[2] for h in held)


def notes(policy: Policy, whose: Whose) -> dict[str, list[str]]:
    """What parts of a policy say beside values, in sentences by heading: what for, how tiers are cut, who pays."""
    told: dict[str, list[str]] = {}
    for name, b in policy.benefits.items():
        said = [f"用于{'、'.join(VISITS[kind] for kind in b.visit_kinds)}"] if b.visit_kinds else []
        said += [f"只限 {column} 为 {'、'.join(values)} 的结算单" for column, values in b.where.items()]
        words = {"med_types": "医疗类别", "adm_kinds": "住院类别", "items": "含有项目"}
        said += [f"{word} {'、'.join(getattr(b, key))}" for key, word in words.items() if getattr(b, key)]
        if not b.ratio:
            said.append("统筹基金不付")
        if b.ratio and b.band_origin != "gross" and _tiered(b.ratio, whose):
            said.append(f"分档按{ORIGINS[b.band_origin]}")
        if b.account_pays != "in_scope":
            said.append(ACCOUNTS[b.account_pays])
        if b.entitlement:
            other = b.entitlement.otherwise
            other = policy.benefits[other].label or other if other in policy.benefits else "不付"
            said.append(f"须有病种认定，没有的按：{other}")
        told[f"{LAYERS['pool']}：{b.label or name}"] = said
    for name, payer in policy.behind_the_pool().items():
        if _pays_nothing(payer, whose):
            continue
        said = [f"付给{_served(payer)}"] if _served(payer) else []
        said.append(f"计入个人负担中的{'、'.join(PARTS_SAID[part] for part in payer.counted())}")
        if payer.benefits:
            said.append(f"只计{'、'.join(policy.benefits[n].label or n for n in payer.benefits)}")
        told[payer.label or LAYERS.get(name, name)] = said
    return told


def not_for(policy: Policy, whose: Whose) -> list[str]:
    """The layers that pay nothing to this person: for other groups, or for categories of assistance."""
    layers = {"large_amount": policy.large_amount, **policy.behind_the_pool()}
    return [
        getattr(layer, "label", "") or LAYERS.get(name, name)
        for name, layer in layers.items()
        if layer is not None and _pays_nothing(layer, whose)
    ]


def _tiered(ratio: dict, whose: Whose) -> bool:
    held = value_for(ratio, whose.group, whose.level, whose.day)
    return bool(held) and len(held[2]) > 1


def _served(payer: Payer) -> str:
    who = payer.who
    said = [*who.groups, *who.categories, *(f"参加险种 {kind} 的人" for kind in who.insutypes)]
    return "、".join(said) or ("救助对象" if payer.by == "category" else "")


def _per(model: BaseModel) -> dict[str, str]:
    """The labels of what holds per year, month, admission or claim, as the part says."""
    spans = {"year": "全年", "half_year": "每半年", "quarter": "每季度", "month": "每月", "day": "每天",
             "month_carried": "每月，未用完的年内结转", "admission": "每次住院", "claim": "每次",
             "bed_day": "每床日"}  # fmt: skip
    names = ("deductible", "pool_cap", "second_cap", "cost_cap", "start")
    said = {name: spans.get(getattr(model, f"{name}_per", None) or "") for name in names}
    return {name: f"{LABELS[name]}（{span}）" for name, span in said.items() if span}


def _own(policy: Policy, whose: Whose) -> Iterator[Said]:
    """What stands at the head of the policy and not in a part of it."""
    labels = {"annual_cap": LABELS["annual_cap"], "remote_minus_points": "异地就医支付比例降低百分点"}
    yield from _of(policy, "", policy, whose, labels, only=tuple(labels))


def _of(
    model: BaseModel, path: str, policy: Policy, whose: Whose, labels: dict[str, str] | None = None, only=None
) -> Iterator[Said]:
    for name in only or type(model).model_fields:
        dated = getattr(model, name)
        if not _is_dated(dated):
            continue
        by = whose.category if is_by_category(model, name) else whose.group
        if (held := value_for(dated, by, whose.level, whose.day)) is None:
            continue
        since, setting, value = held
        where = ".".join(filter(None, (path, name, since.isoformat())))
        label = {**LABELS, **(labels or {})}.get(name, name)
        text = WORDS[leaf_of(type(model), name)](value)
        text = text.removesuffix("%") if "百分点" in label else text
        if name == "nth_admission_percent" and (amount := value_for(model.deductible, by, whose.level, whose.day)):
            text = _nth_amounts(value, amount[2])
        if name == "value" and text == "0":
            text = "0（与本地相同）"
        yield Said(where, label, text, since, setting.source or policy.source, setting.grade or policy.grade)


def _is_dated(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(part, Dated) for part in value.values())


def value_for(dated: dict[date, Dated], by: str | None, level: str, day: date) -> tuple[date, Dated, Any] | None:
    """Since when, the setting, and its value for a group or category and a level on a day; None where there is none."""
    begun = [since for since in dated if since <= day]
    if not begun:
        return None
    setting = dated[max(begun)]
    by_level = setting.value.get(by, setting.value.get(ALL, {}))
    value = by_level.get(level, by_level.get(ALL))
    return None if value is None else (max(begun), setting, value)


def yuan(fen: int) -> str:
    return "不设限" if fen >= NO_LIMIT else f"{fen // 100:,}.{fen % 100:02d} 元".replace(".00 元", " 元")


def percent(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".") + "%"


def _tiers(bands: tuple[tuple[int, int], ...]) -> str:
    if len(bands) == 1 and bands[0][0] == 0:
        return percent(bands[0][1])
    return "，".join(f"超过 {yuan(over)}的部分 {percent(ratio)}" if over else percent(ratio) for over, ratio in bands)


def _nth(series: tuple[int, ...]) -> str:
    return "、".join(percent(part) for part in series) + ("（其后同最后一次）" if len(series) > 1 else "")


def _nth_amounts(series: tuple[int, ...], deductible: int) -> str:
    """The start line of the first, second … admission in yuan, with what the percentage makes of it."""
    amounts = [yuan((2 * deductible * part + PERCENT) // (2 * PERCENT)) for part in series]
    counted = [f"第{NUMERALS[n]}次 {amount}" for n, amount in enumerate(amounts[:9])]
    return "，".join(counted) + ("，以后同" if len(counted) > 1 else "")


NUMERALS = "一二三四五六七八九"
WORDS = {"yuan": yuan, "percent": percent, "factor": percent, "whole": str, "bands": _tiers, "series": _nth}
