"""`yibao rules …`: what the rules are, whether they stand, whether their own tests pass."""

import difflib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from engine.audit.coverage import examine
from engine.audit.lint import lint
from engine.audit.needs import tables_needed
from engine.cli import show
from engine.cli.app import Json, Knowledge, Rules, app, plain, region_of, state
from engine.language.faults import as_json, as_sarif
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder
from engine.run.manifest import version_text
from engine.tables.problems import RuleProblem, UsageProblem

rules_app = typer.Typer(help="规则 · rules", no_args_is_help=True)
app.add_typer(rules_app, name="rules")


@rules_app.command("list")
def list_command(rules: Rules = None, knowledge: Knowledge = None, as_json: Json = False):
    """列出规则 · list the rules."""
    region = region_of(rules, None, knowledge)
    rows = [_row(loaded, region.knowledge) for loaded in region.rules]
    rows.sort(key=lambda r: (r["number"] is None, r["number"] or 0, r["id"]))
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    table, shown = Table(), ("number", "id", "title", "scope", "result", "status")
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if row[c] is None else str(row[c])) for c in shown))
    plain.print(table)


def _row(loaded, knowledge) -> dict:
    rule = loaded.rule
    used = None
    if rule.join:
        table = knowledge[rule.join.table]
        used = table.filter(table["rule"].eq_missing(rule.number)).height if "rule" in table.columns else table.height
    return {
        "number": rule.number, "id": rule.id, "title": rule.title, "family": rule.family, "result": rule.result,
        "basis": [f"{b.law} {b.article}".strip() for b in rule.basis], "scope": rule.scope, "status": rule.status,
        "data": tables_needed(loaded), "needs": rule.needs, "table": rule.join.table if rule.join else None,
        "table_rows": used,
    }  # fmt: skip


@rules_app.command("show")
def show_command(rule: str, rules: Rules = None):
    """显示一条规则的全文 · show one rule."""
    files = {path.stem: path for path in sorted(rules_at(rules).rglob("*.yaml"))}
    if rule not in files:
        raise no_rule(rule, files)
    print(files[rule].read_text("utf-8"), end="")


@rules_app.command("lint")
def lint_command(
    rules: Rules = None,
    knowledge: Knowledge = None,
    form: Annotated[str, typer.Option("--format", help="text, json 或 sarif")] = "text",
):
    """检查规则文件，一次列出全部问题 · every fault of every file in one pass."""
    if form not in ("text", "json", "sarif"):
        raise UsageProblem(f"--format {form!r}", allowed="text, json, sarif")
    folder = rules_at(rules)
    count, faults = lint(folder, load_knowledge(knowledge or []))
    wrong = [fault for fault in faults if fault.severity == "error"]
    if form == "json":
        print(json.dumps(as_json(faults), ensure_ascii=False, indent=1))
    elif form == "sarif":
        print(json.dumps(as_sarif(faults, version_text()), ensure_ascii=False, indent=1))
    else:
        for fault in faults:
            print(fault)
        words = state["words"]
        others = f", {len(faults) - len(wrong)} {words['advice']}" if len(faults) > len(wrong) else ""
        print(f"{count} {words['rules']}: {len(wrong)} {words['faults']}{others}")
    if wrong:
        raise typer.Exit(4)


@rules_app.command("test")
def test_command(
    rules: Rules = None,
    only: Annotated[str | None, typer.Option("--rule", help="只测一条，并移动它的界线 · one rule, mutated too")] = None,
    mutate: Annotated[bool, typer.Option("--mutate", help="移动每条规则的界线 · move the thresholds of all")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="没测到的也算失败 · what no test holds fails too")] = False,
    knowledge: Knowledge = None,
    as_json: Json = False,
):
    """运行规则自带的测试，指出没测到的条件和界线 · run the tests inside the rules, and say what they leave loose."""
    known, folder = load_knowledge(knowledge or []), rules_at(rules)
    loaded, faults = load_rules(folder, known)
    if wrong := [str(fault) for fault in faults if fault.severity == "error"]:
        raise RuleProblem("\n".join(wrong), str(folder))
    chosen = [r for r in loaded if only in (None, r.rule.id)]
    if not chosen:
        raise no_rule(only, [r.rule.id for r in loaded])
    results, gaps = [], []
    with show.progress() as progress:
        for done, rule in enumerate(chosen, 1):
            tested, loose = examine(rule, known, mutate or only is not None)
            results, gaps = results + tested, gaps + loose
            progress(state["words"]["testing"], done, len(chosen))
    failed = [r for r in results if not r.passed]
    if as_json:
        print(
            json.dumps({"tests": [asdict(r) for r in results], "gaps": [asdict(g) for g in gaps]}, ensure_ascii=False)
        )
    else:
        _tested(results, failed, gaps, mutate or only is not None)
    if failed or (strict and gaps):
        raise typer.Exit(4)


def _tested(results: list, failed: list, gaps: list, mutated: bool) -> None:
    words = state["words"]
    for gap in gaps:
        plain.print(f"[yellow]·[/yellow] {escape(str(gap))}", soft_wrap=True)
    for r in failed:
        plain.print(f"[red]✗[/red] {r.rule_id} #{r.index} {r.word}: {escape(r.said)}", soft_wrap=True)
    counts = {"tests_passed": len(results) - len(failed), "tests_failed": len(failed)}
    counts["branches_loose"] = sum(gap.kind == "branch" for gap in gaps)
    if mutated:
        counts["thresholds_loose"] = sum(gap.kind == "mutant" for gap in gaps)
    print(", ".join(f"{count} {words[name]}" for name, count in counts.items()))


def rules_at(rules: Path | None) -> Path:
    folder = rules or rules_folder()
    if not folder.is_dir():
        raise UsageProblem(f"没有规则目录 no folder of rules: {folder}")
    return folder


def no_rule(asked: str | None, known) -> UsageProblem:
    near = difflib.get_close_matches(asked or "", list(known), 3, 0.4)
    return UsageProblem(f"没有规则 no rule {asked!r}", hint=", ".join(near) or "yibao rules list")
