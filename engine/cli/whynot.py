"""`yibao why-not`: the answer in sentences."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from engine.audit.parts import Part, shown
from engine.audit.whynot import OUTCOMES, Tried, Unnamed
from engine.cli import show
from engine.cli.app import (
    Input,
    Json,
    Knowledge,
    Params,
    Profile,
    Rules,
    app,
    need_outputs,
    noted_place,
    plain,
    region_of,
)
from engine.report.text import clip
from engine.run.masking import hidden, read_key
from engine.run.private import noted_run
from engine.run.whynot import Answer, why_not

NEAREST = 3
MARKS = {True: "✓", False: "✗", None: "?"}
SETTLED = {
    "found": "有本规则的疑点：",
    "retired": "规则已停用，不再评估。",
    "cancelled": "该结算单已退费，或本身是退费单，不再评估。",
    "missing": "数据中没有规则所需的表 {detail}，未评估。",
    "no_line": "规则没有指到该单的任何内容，没有可判断的案例。",
    "tried": "",
}


@app.command("why-not")
def why_not_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="一次运行的输出目录 · folder of a run")],
    rule: Annotated[str, typer.Option(help="规则 id · id of the rule")],
    claim: Annotated[str, typer.Option(help="结算单号 setl_id · the claim")],
    source: Input = None,
    rules: Rules = None,
    params: Params = None,
    knowledge: Knowledge = None,
    profile: Profile = "auto",
    as_json: Json = False,
):
    """这条规则为什么没有查出这张单 · why has a rule found nothing in a claim?"""
    record = json.loads((need_outputs(out) / "manifest.json").read_text("utf-8"))
    noted = noted_run(record["run_id"])
    place = source or noted_place(noted)
    rules, params = rules or _path(noted, "rules"), params or _path(noted, "params")
    knowledge = knowledge or [Path(p) for p in noted.get("knowledge", [])]
    profile = profile if profile != "auto" else noted.get("profile", "auto")
    with show.progress() as progress:
        answer = why_not(out, rule, claim, place, region_of(rules, params, knowledge), profile, progress)
    if as_json:
        print(json.dumps(_plain(answer), ensure_ascii=False, default=str))
    else:
        for line in _sentences(answer):
            plain.print(show.escaped(line), soft_wrap=True)


def _path(noted: dict, name: str) -> Path | None:
    return Path(noted[name]) if name in noted else None


def _sentences(answer: Answer):
    rule = answer.rule.rule
    yield f"规则 {rule.id}（{rule.title}），结算单 {answer.claim}："
    yield from (f"注意：{remark}" for remark in answer.remarks)
    if text := SETTLED[answer.reason].format(detail=answer.detail):
        yield text
    for finding in answer.findings:
        yield f"  {finding['finding_id']} {finding['message']}{_money(finding)}"
    if answer.unnamed:
        yield from _unnamed(answer.unnamed)
    if answer.tried:
        counts = Counter(one.outcome for one in answer.tried)
        said = "，".join(f"{number} 个{OUTCOMES[outcome]}" for outcome, number in counts.most_common())
        yield f"共 {len(answer.tried)} 个案例：{said}。最接近的："
        yield from _nearest(answer.tried)


def _money(finding: dict) -> str:
    """Why a finding carries no money of its own, where it does not."""
    if finding["waived"]:
        return "（已豁免）"
    if finding["superseded_by"]:
        return f"（金额由规则 {finding['superseded_by']} 承担）"
    return "（规则试运行，不计金额）" if finding["rule_status"] == "trial" else ""


def _unnamed(unnamed: Unnamed):
    yield f"  该单有 {unnamed.lines} 条明细（已扣除退费）。"
    if unnamed.named == []:
        yield "  规则所用的知识表或名单中没有它自己的项目。"
    elif unnamed.named is not None:
        have = f"本单有其中 {shown(unnamed.present)}，但不满足其余条件" if unnamed.present else "本单一种也没有"
        yield f"  规则只看 {len(unnamed.named)} 种项目：{have}。"
    if unnamed.nearest:
        yield "  最接近的明细："
        yield from _nearest(unnamed.nearest)


def _nearest(found: list[Tried]):
    for one in found[:NEAREST]:
        about = "，".join(f"{label} {shown(value)}" for label, value in one.about.items() if value is not None)
        because = f"：{one.because}" if one.because else ""
        yield f"  {about or '整单'} —— {OUTCOMES[one.outcome]}{because}"
        yield from (f"    {MARKS[part.holds]} {part.text}{_values(part)}" for part in one.parts)


def _values(part: Part) -> str:
    told = [f"{r.words}{f'（{clip(r.label, 60)}）' if r.label else ''} = {_value(r)}" for r in part.read]
    return f"    其中 {'，'.join(told)}" if told else ""


def _value(read) -> str:
    return clip(hidden(read.name, shown(read.value), read_key()), 120)


def _plain(answer: Answer) -> dict:
    """The answer for a program."""
    unnamed = answer.unnamed and {
        "lines": answer.unnamed.lines, "items_named": answer.unnamed.named, "items_present": answer.unnamed.present,
        "nearest": [_plain_case(one) for one in answer.unnamed.nearest[:NEAREST]],
    }  # fmt: skip
    return {
        "rule": answer.rule.rule.id, "claim": answer.claim, "reason": answer.reason, "detail": answer.detail,
        "remarks": answer.remarks, "findings": answer.findings, "cases": len(answer.tried), "unnamed": unnamed,
        "outcomes": dict(Counter(one.outcome for one in answer.tried)),
        "nearest": [_plain_case(one) for one in answer.tried[:NEAREST]],
    }  # fmt: skip


def _plain_case(one: Tried) -> dict:
    told = [{"text": p.text, "holds": p.holds, "read": {r.words: _value(r) for r in p.read}} for p in one.parts]
    about = {label: shown(value) for label, value in one.about.items() if value is not None}
    return {"about": about, "outcome": one.outcome, "because": one.because, "parts": told}
