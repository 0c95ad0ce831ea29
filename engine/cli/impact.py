"""Questions while editing: what an edit of rules does, what an expression would find, why a claim has no finding."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from engine.audit.fingerprint import PARTS
from engine.audit.impact import SUMS, Impact
from engine.cli import show
from engine.cli.app import Json, Knowledge, Params, Profile, Rules, Source, plain, region_of, state
from engine.cli.rules import rules_app
from engine.report.text import yuan
from engine.run.impact import ADDED, REMOVED, WAIVERS, compared, earlier
from engine.run.masking import masked, read_key
from engine.run.prepared import prepared

MOST_MOVED = 10
BEFORE = "改动之前：规则目录，或 git 版本（规则与知识表一并取自该版本）· the rules before: a folder, or a git revision"
WHY = {ADDED: "新增", REMOVED: "删除或停用", WAIVERS: "豁免", **PARTS}
FIGURES = {"findings": "findings", "gross_fen": "gross", "fund_fen": "fund", "due_fen": "due", "unjudged": "unjudged"}
BECAME = {"gained": ("+", "新增"), "lost": ("−", "消失"), "changed": ("~", "改变")}


@rules_app.command("impact")
def impact_command(
    source: Source,
    before: Annotated[str, typer.Option(help=BEFORE)] = "HEAD",
    rules: Rules = None,
    params: Params = None,
    knowledge: Knowledge = None,
    before_params: Annotated[Path | None, typer.Option(help="改动之前的参数 · parameters before")] = None,
    before_knowledge: Annotated[
        list[Path] | None, typer.Option(help="改动之前的知识表，可重复 · tables before")
    ] = None,
    profile: Profile = "auto",
    as_json: Json = False,
):
    """改一次规则或知识表，疑点和金额会怎样 · what an edit of rules or tables does to findings and money."""
    now = region_of(rules, params, knowledge)
    with show.progress() as progress, tempfile.TemporaryDirectory() as work:
        extract = prepared(source, now, profile, progress)
        now = now.dated(extract.last_day)
        given = (params, knowledge or [], before_params, before_knowledge or [])
        was = earlier(before, now, *given, Path(work))
        found, asked = compared(extract, was, now, progress=progress)
    found.examples = masked(found.examples, {"psn_no": "P"}, read_key())
    titles = {r.rule.id: r.rule.title for region in (was, now) for r in region.rules}
    if as_json:
        frames = {n: getattr(found, n).to_dicts() for n in ("rules", "carried", "institutions", "examples")}
        answer = {**frames, "total": found.total.to_dicts()[0], "asked": asked}
        print(json.dumps(answer, ensure_ascii=False, default=str))
        return
    _show(found, asked, titles)


def _show(found: Impact, asked: list[str], titles: dict[str, str]) -> None:
    words = state["words"]
    if found.rules.is_empty():
        print(words["no_edit"])
        return
    for row in found.rules.filter(_moves(found.rules)).iter_rows(named=True):
        why = "、".join(WHY[part] for part in row["why"])
        became = " ".join(f"{sign}{row[name]}" for name, (sign, _) in BECAME.items() if row[name])
        _say(f"{row['rule_id']} {titles[row['rule_id']]}（{why}）", f"{_figures(row)} {became}")
        for case in found.examples.filter(rule_id=row["rule_id"]).iter_rows(named=True):
            sign, _ = BECAME[case["became"]]
            place = " ".join(str(case[name] or "—") for name in ("finding_id", "setl_id", "service_date"))
            _say(f"    {sign} {place} {yuan(case['fund_fen'])}", f"    {case['message']}")
    for row in found.carried.iter_rows(named=True):
        _say(f"{row['rule_id']} {titles[row['rule_id']]}", f"{words['carried']}: {_sides(row, 'due_fen')}")
    if unmoved := found.rules.filter(~_moves(found.rules))["rule_id"].to_list():
        _say(f"{words['unmoved']}:", ", ".join(unmoved))
    for row in found.institutions.head(MOST_MOVED).iter_rows(named=True):
        _say(f"{words['institution']} {row['fixmedins_code'] or '—'}", _figures(row))
    _say(words["all_rules"], _figures(found.total.row(0, named=True)))
    plain.print(f"[dim]{words['asked']} {len(asked)}[/dim]")


def _say(head: str, body: str) -> None:
    plain.print(show.escaped(f"{head}\n    {body}"), soft_wrap=True)


def _moves(rules: pl.DataFrame) -> pl.Series:
    """Whether an edit changed any answer."""
    return (rules.select(pl.sum_horizontal(*BECAME)).to_series() > 0) | (
        rules["unjudged_before"] != rules["unjudged_after"]
    )


def _figures(row: dict) -> str:
    """Every sum of a row, before and after; what could not be judged only where there is any."""
    shown = [
        n for n in SUMS if f"{n}_after" in row and (n != "unjudged" or row["unjudged_before"] or row["unjudged_after"])
    ]
    return " · ".join(f"{state['words'][FIGURES[name]]} {_sides(row, name)}" for name in shown)


def _sides(row: dict, name: str) -> str:
    """A sum before and after; one figure where nothing moved."""
    shown = yuan if name.endswith("_fen") else "{:,}".format
    before, after = (shown(row[f"{name}_{side}"]) for side in ("before", "after"))
    return after if before == after else f"{before} → {after}"
