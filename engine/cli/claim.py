"""`yibao check-claim`: one claim in a JSON file asked of every rule."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from engine.cli.app import Json, Knowledge, Params, PolicyName, Rules, SchemeName, app, existing, plain, state
from engine.cli.words import Words
from engine.report.text import yuan
from engine.report.words import REASON
from engine.run.region import DEFAULT_POLICY, DEFAULT_SCHEME, load_region
from engine.run.single import Checked, Checker

_FILE = "一张结算单的 JSON，字段用规范名 · one claim as JSON in canonical names"


@app.command("check-claim")
def check_claim_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", callback=existing, help=_FILE)],
    policy: PolicyName = DEFAULT_POLICY,
    scheme: SchemeName = DEFAULT_SCHEME,
    rules: Rules = None,
    params: Params = None,
    knowledge: Knowledge = None,
    as_json: Json = False,
):
    """事前提醒、事中审核：一张结算单过全部规则 · every rule that one claim can answer, as a run would."""
    checked = Checker(load_region(policy, scheme, rules, params, knowledge or []))(file)
    if as_json:
        print(json.dumps(checked.as_dict(), ensure_ascii=False))
    else:
        _shown(checked, state["words"], plain)


def _shown(checked: Checked, words: Words, console: Console) -> None:
    """Findings with money, what could explain them and what to fetch; then which rules could not be judged, and why."""
    print(f"{checked.setl_id}: {words['rules']} {checked.rules}, {words['findings']} {len(checked.findings)}")
    for found in checked.findings:
        result = words[found["result"]]
        console.print(f"\n[bold]{escape(found['title'])}[/bold] ({result}) {escape(found['rule_id'])}", soft_wrap=True)
        money = words["money"].format(yuan(found["gross_fen"]), yuan(found["fund_fen"]))
        for line in (found["message"], money, "；".join(found["basis"])):
            print(f"  {line}")
        if found["innocent_open"]:
            print(f"  {words['innocent']}: {found['innocent_open']}")
        if found["needs"]:
            print(f"  {words['needs']}: {'、'.join(found['needs'])}")
        for row in found["evidence"]:
            print(f"    {words[row['role']]} {row['table']} {row['row_key']}")
    print(f"\n{words['not_evaluated']}: {len(checked.not_evaluated)}")
    for row in checked.not_evaluated:
        print(f"  {row['rule_id']}: {REASON[row['reason']]} {row['detail']}")
    for note in checked.notes:
        print(f"{words['note']}: {note}")
    console.print(f"[dim]{words['leads']}[/dim]", soft_wrap=True)
