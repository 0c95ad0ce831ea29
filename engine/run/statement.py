"""The statement of one claim, step by step: amounts, the parameters that made them, and where the reported one parts.

The claim is settled again among all claims of its person. Where a reported amount differs, the claim is also settled as
if it were of another level, group or kind, or stood alone in the year: what then gives the reported amounts is the
likely reason, told as a guess.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import polars as pl

from engine.report.text import yuan
from engine.run.region import Region
from engine.run.stages import settling
from engine.settlement.lookup import group_of
from engine.settlement.person import LAYERS, OF_CLAIM, SHARES, STEPS, settle_steps
from engine.settlement.policy import Policy
from engine.settlement.spoken import Said, Whose, waterfall
from engine.settlement.standing import category_of
from engine.tables.dictionary import with_fields
from engine.tables.outputs import output_fields

LEVELS = ("0", "1", "2", "3")
STATUS = {
    "policy": "政策没有适用于这张单的规定，全部由个人承担",
    "enrolment": "就医时不在参保期内",
    "waiting": "在待遇等待期内",
    "accident": "外伤，待查明有无第三方责任",
}
Sections = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Statement:
    """One claim and its statement: `steps` as settle_steps gives them, the values that hold, what may explain it."""

    claim: dict
    steps: dict
    benefit: str | None
    label: str
    whose: Whose
    values: list[tuple[str, list[Said]]]
    guesses: list[str]


def statement(tables: dict[str, pl.DataFrame], region: Region, setl_id: str) -> Statement:
    """The statement of a claim, from all tables of its person."""
    policy, settle = region.policy, partial(_steps, setl_id=setl_id, region=region)
    steps, claims = settle(tables), with_fields(tables["claims"], "claims")
    claim = claims.filter(pl.col("setl_id") == setl_id)
    day = steps["_day"]
    who = claim.with_columns(day=pl.lit(day), care=pl.coalesce(pl.col("begntime").dt.date(), pl.lit(day)))
    category = category_of(who, policy, settling(tables, region)[-1])[0] if policy.categories else None
    whose = Whose(steps["group"] or "", claim["hosp_lv"][0] or "", day, category)
    guesses = list(_guesses(tables, claim, policy, settle)) if steps["first_difference"] in STEPS else []
    benefit = steps["benefit"]
    label = policy.benefits[benefit].label or benefit if benefit else "不明"
    return Statement(claim.row(0, named=True), steps, benefit, label, whose, waterfall(policy, whose), guesses)


def _steps(tables: dict[str, pl.DataFrame], setl_id: str, region: Region) -> dict:
    claims, lines, policy, *others = settling(tables, region)
    row = settle_steps(claims, lines, policy, *others).filter(pl.col("setl_id") == setl_id).row(0, named=True)
    own = claims.filter(pl.col("setl_id") == setl_id)
    return {**row, "_day": own.select(pl.coalesce(policy.year_basis, "setl_time").dt.date()).item()}


def _guesses(tables: dict[str, pl.DataFrame], claim: pl.DataFrame, policy: Policy, settle) -> Iterator[str]:
    """What, if it were so, would give exactly what was reported."""
    for said, changed in _otherwise(tables, claim, policy):
        if settle(changed)["first_difference"] is None:
            yield f"{said}，则与申报完全一致"


def _otherwise(tables: dict[str, pl.DataFrame], claim: pl.DataFrame, policy: Policy):
    """The tables with one thing changed, and that in words."""
    setl_id, own = claim["setl_id"][0], claim.row(0, named=True)
    here = pl.col("setl_id") == setl_id

    def with_value(column: str, value: str) -> dict[str, pl.DataFrame]:
        changed = pl.when(here).then(pl.lit(value)).otherwise(column).alias(column)
        return {**tables, "claims": with_fields(tables["claims"], "claims", column).with_columns(changed)}

    for level in LEVELS:
        if level != own["hosp_lv"]:
            yield f"若按医院等级 {level}（申报为 {own['hosp_lv']}）计算", with_value("hosp_lv", level)
    group = group_of(claim, policy)[0]
    for name in policy.groups:
        if name != group:
            yield f"若按{name}（申报为{group}）计算", with_value("psn_type", name)
    for name, benefit in policy.benefits.items():
        kind = next(iter(benefit.visit_kinds), None)
        if kind and own["visit_kind"] not in benefit.visit_kinds:
            yield f"若按{benefit.label or name}待遇计算", with_value("visit_kind", kind)
    away = {"0": "1"}.get(own["local_flag"], "0")
    yield f"若按{'异地' if away == '0' else '本地'}就医计算", with_value("local_flag", away)
    alone = {name: frame.filter(here) if "setl_id" in frame.columns else frame for name, frame in tables.items()}
    if tables["claims"].height > 1:
        yield "若不计本年以前的结算（起付线、限额从头算）", alone
    if "fee_lines" in tables:
        yield "若费用分类以申报为准（不按目录重算）", {**tables, "fee_lines": tables["fee_lines"].filter(~here)}


def told(found: Statement) -> Sections:
    """(heading, sentences) of every part of the explanation."""
    parts = (("结算单", _claim), ("费用分类", _classified), ("起付线", _deductible), ("各方支付", _paid),
             ("个人负担", _person), ("与申报对照", _compared), ("所用的参数", _parameters))  # fmt: skip
    return [(heading, sentences) for heading, tell in parts if (sentences := list(tell(found)))]


def _name(step: str) -> str:
    return output_fields()["settlement"][f"{step}_fen"].label


def _claim(found: Statement) -> Iterator[str]:
    claim, whose = found.claim, found.whose
    level = f"医院等级 {whose.level or '未填'}"
    yield f"{claim['setl_id']}，{level}，待遇按 {whose.day} 有效的规定。"
    category = f"，救助对象类别 {whose.category}" if whose.category else ""
    place = f"本人第 {found.steps['k'] + 1} 张结算单"
    yield f"人员组 {whose.group or '不明'}{category}；待遇 {found.label}；{place}。"
    if found.steps["refund"]:
        yield "退费单：各项金额为原单的负数。"
    if reason := found.steps["status"]:
        yield f"未计算待遇：{STATUS.get(reason, reason)}。"


def _classified(found: Statement) -> Iterator[str]:
    total, own, over, first, scope = (yuan(found.steps[step]) for step in OF_CLAIM)
    yield f"医疗费总额 {total} = 全自费 {own} + 超限价自费 {over} + 先行自付 {first} + 符合政策范围 {scope}。"


def _deductible(found: Statement) -> Iterator[str]:
    steps = found.steps
    if steps.get("deductible_due"):
        yield f"本次应付起付线 {yuan(steps['deductible_due'])}，政策范围内费用承担其中 {yuan(steps['act_pay_dedc'])}。"


def _paid(found: Statement) -> Iterator[str]:
    steps = found.steps
    if steps.get("pool_entitled"):
        room = min(steps["pool_room"], steps["year_room"])
        cut = f"，限额只余 {yuan(max(room, 0))}" if room < steps["pool_entitled"] else ""
        yield f"统筹基金：起付线以上按比例应付 {yuan(steps['pool_entitled'])}{cut}，实付 {yuan(steps['hifp_pay'])}。"
    for name, value in steps.items():
        if name.endswith("_paid") and (value or steps[f"{name.removesuffix('_paid')}_base"]):
            layer = name.removesuffix("_paid")
            yield f"{_heading(found, layer)}：计入 {yuan(steps[f'{layer}_base'])}，支付 {yuan(value)}。"
    paid = [f"{_name(layer)} {yuan(steps[layer])}" for layer in LAYERS if steps[layer]]
    yield f"基金支付总额 {yuan(steps['fund_pay_sumamt'])}" + (f" = {' + '.join(paid)}。" if paid else "。")


def _heading(found: Statement, layer: str) -> str:
    for heading, values in found.values:
        if any(said.path.split(".")[0] == layer or said.path.split(".")[:2] == ["payers", layer] for said in values):
            return heading
    return layer


def _person(found: Statement) -> Iterator[str]:
    steps = found.steps
    shares = [f"{_name(share)} {yuan(steps[share])}" for share in SHARES]
    yield f"个人负担 {yuan(steps['psn_part_amt'])} = {' + '.join(shares)}。"


def _compared(found: Statement) -> Iterator[str]:
    steps, first = found.steps, found.steps["first_difference"]
    said = [step for step in STEPS if steps[f"reported_{step}"] is not None]
    if not said:
        yield "数据没有申报的结算金额，无从对照。"
        return
    if first is None:
        yield f"申报的 {len(said)} 项金额与重算完全一致。"
        return
    if first not in STEPS:
        yield STATUS.get(first, "退费单指明的原单不在数据中，以申报为准") + "。"
        return
    yield f"第一处不同：{_name(first)}。"
    for step in said[said.index(first) :]:
        reported, ours = steps[f"reported_{step}"], steps[step]
        if reported != ours:
            yield f"{_name(step)}：申报 {yuan(reported)}，重算 {yuan(ours)}，相差 {yuan(reported - ours)}。"
    yield from (f"可能的原因（推测）：{guess}。" for guess in found.guesses)
    if not found.guesses:
        yield "换一个医院等级、人员组、待遇、就医地或单独计算，都得不出申报的金额。"


def _parameters(found: Statement) -> Iterator[str]:
    """The values that hold for this claim, with their origin: of its own benefit and of the layers behind it."""
    for heading, values in found.values:
        for said in values:
            part = said.path.split(".")
            if part[0] != "benefits" or part[1] == found.benefit:
                origin = f"{said.since} 起；{said.source}，等级 {said.grade}；{said.path}"
                yield f"{heading}，{said.label}：{said.text}（{origin}）"
