"""A policy in words: for one person group, level of institution and day, the waterfall a citizen could read.

Each sentence names the value that holds, since when, and its source and grade; nothing is computed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel

from engine.settlement.dated import ALL, Dated, leaf_of
from engine.settlement.money import NO_LIMIT
from engine.settlement.policy import Policy, is_by_category

LABELS = {
    "deductible": "起付线",
    "nth_admission_percent": "年内第一次、第二次……住院的起付线",
    "nth_admission_minus": "年内每多住院一次，起付线减",
    "deductible_floor": "减后起付线不低于",
    "category_deductible_percent": "救助对象的起付线",
    "ratio": "支付比例",
    "plus_points": "支付比例另加百分点",
    "category_plus_points": "救助对象支付比例另加百分点",
    "age_points": "每满一岁支付比例另加百分点",
    "cost_cap": "计入的政策范围内费用，全年至多",
    "pool_cap": "支付限额",
    "annual_cap": "年度最高支付限额",
    "category_annual_cap": "救助对象的年度最高支付限额",
    "start": "起付标准",
    "category_start_percent": "救助对象的起付标准",
    "value": "数值",
    "deductible_percent": "起付线为本地的",
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
MODES = {"minus": "支付比例降低百分点", "times": "支付比例乘以", "replace": "支付比例改为"}


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
    parts = [(f"{LAYERS['pool']}：{b.label or n}", f"benefits.{n}", b) for n, b in policy.benefits.items()]
    for name in policy.layers():
        layer = {"large_amount": policy.large_amount, **policy.behind_the_pool()}.get(name)
        if layer is not None:
            path = name if name in ("large_amount", "catastrophic") else f"payers.{name}"
            parts.append((getattr(layer, "label", "") or LAYERS.get(name, name), path, layer))
    told = [(heading, list(_of(model, path, policy, whose, _per(model)))) for heading, path, model in parts]
    told.insert(len(policy.benefits), (f"{LAYERS['pool']}：合计", list(_own(policy, whose))))
    for filing, reduction in policy.cross_region.items():
        said = list(_of(reduction, f"cross_region.{filing}", policy, whose, {"value": MODES[reduction.mode]}))
        told.append((f"异地就医：{FILINGS[filing]}", said))
    return [(heading, said) for heading, said in told if said]


def _per(model: BaseModel) -> dict[str, str]:
    """The labels of what holds per year, month, admission or claim, as the part says."""
    spans = {"year": "全年", "month": "每月", "admission": "每次住院", "claim": "每次"}
    said = {name: spans.get(getattr(model, f"{name}_per", None) or "") for name in ("deductible", "pool_cap", "start")}
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


WORDS = {"yuan": yuan, "percent": percent, "factor": percent, "whole": str, "bands": _tiers, "series": _nth}
