"""`yibao explain`: why one finding was made, to the fen; `yibao rules waivers`: what is not pursued, and until when."""

import datetime
import json
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table

from engine.cli import show
from engine.cli.app import Input, Json, Knowledge, Rules, app, need_outputs, noted_place, plain, state
from engine.cli.rules import rules_app, rules_at
from engine.language.rule import load_rules, rule_files
from engine.reference.knowledge import load_knowledge
from engine.report.codelife import history_of, lives_told
from engine.report.explain import as_data, case_of, told
from engine.report.figures import Run
from engine.report.text import visible
from engine.report.words import DISCLAIMER, HISTORY, WAIVER
from engine.run.payment import payment_of
from engine.run.payment import told as told_payment
from engine.run.prepared import prepared
from engine.run.private import noted_run
from engine.run.region import DEFAULT_POLICY, DEFAULT_SCHEME, load_region, waivers_of
from engine.run.rulebook import rule_info
from engine.run.statement import statement
from engine.run.statement import told as told_statement

NUMERALS = "一二三四五六七八九十"


@app.command("explain")
def explain_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="一次运行的输出目录 · folder of a run")],
    finding: Annotated[
        str, typer.Argument(metavar="FINDING", help="疑点编号或其开头，或结算单号 · a finding, or a claim")
    ],
    source: Input = None,
    rules: Rules = None,
    knowledge: Knowledge = None,
    as_json: Json = False,
):
    """解释一个疑点的依据和算式，或一张结算单的逐步结算 · why a finding was made, or how a claim was settled."""
    need_outputs(out)
    if has_claim(out, finding):
        _statement(out, finding, source, knowledge, as_json)
        return
    loaded, _ = load_rules(rules_at(rules), load_knowledge(knowledge or []))
    case = case_of(Run(out, {r.rule.id: rule_info(r) for r in loaded}), finding)
    history = history_of(case.run, case.finding["finding_id"])
    if as_json:
        print(json.dumps(as_data(case) | {"code_history": history}, ensure_ascii=False, default=str))
        return
    parts, english = told(case), state["words"].index == 1
    if history:
        note = "Shown for reference; no evidence, and no finding changes with it." if english else HISTORY
        heading = "追溯码全史 lives of the codes" if english else "追溯码全史"
        parts.append((heading, [note, *lives_told(history, case.run, english)]))
    for number, (heading, sentences) in enumerate(parts):
        print(f"{NUMERALS[number] if number < 10 else f'十{NUMERALS[number - 10]}'}、{heading}")
        print("\n".join(f"  {visible(sentence)}" for sentence in sentences))
    print(DISCLAIMER)


def _statement(out: Path, claim: str, source: Path | None, knowledge: list[Path] | None, as_json: bool) -> None:
    """How one claim was settled, asked of the input of its run again."""
    noted = noted_run(json.loads((out / "manifest.json").read_text("utf-8"))["run_id"])
    place = source or noted_place(noted)
    tables = knowledge or [Path(p) for p in noted.get("knowledge", [])]
    policy, scheme = noted.get("policy", DEFAULT_POLICY), noted.get("scheme", DEFAULT_SCHEME)
    region = load_region(policy=policy, scheme=scheme, knowledge=tables, judging=False)
    with show.progress() as progress:
        extract = prepared(place, region, noted.get("profile", "auto"), progress)
        found = statement(extract.of_claim(claim), region, claim)
        paid = payment_of(out, extract.tables, region, claim)
    sections = told_statement(found)
    if sentences := told_payment(paid):
        sections.insert(-1, ("付给机构", sentences))
    if as_json:
        said = [{"heading": heading, "sentences": sentences} for heading, sentences in sections]
        print(json.dumps({"steps": found.steps, "payment": paid, "told": said}, ensure_ascii=False, default=str))
        return
    for number, (heading, sentences) in enumerate(sections):
        print(f"{NUMERALS[number]}、{heading}")
        print("\n".join(f"  {visible(sentence)}" for sentence in sentences))


def has_claim(out: Path, setl_id: str) -> bool:
    """Is there a settlement of that claim?"""
    settlement = pl.scan_parquet(out / "settlement.parquet").filter(pl.col("setl_id") == setl_id)
    return settlement.select(pl.len()).collect().item() > 0


@rules_app.command("waivers")
def waivers_command(rules: Rules = None, as_json: Json = False):
    """列出豁免单：规则、范围、理由、责任人、期限、状态 · list the waivers, and which of them have ended."""
    folder = rules_at(rules)
    known = {path.stem for path in rule_files(folder)}
    rows = [
        {**w.waiver.model_dump(mode="json", by_alias=True, exclude={"scope"}), "file": w.file,
         "scope": w.waiver.scope.parts, "state": w.state(datetime.date.today(), known)}
        for w in waivers_of(folder)
    ]  # fmt: skip
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        print(state["words"]["no_waivers"])
        return
    table, shown = Table(), ("file", "rule", "scope", "from", "until", "reason", "owner", "state")
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in rows:
        scope = ", ".join(f"{name} {value}" for name, value in row["scope"].items())
        told = {**row, "scope": scope, "state": WAIVER[row["state"]] if state["words"].index == 0 else row["state"]}
        table.add_row(*(escape(told[column] or "") for column in shown))
    plain.print(table)
