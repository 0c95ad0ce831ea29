"""`yibao explain`: why one finding was made, sentence by sentence, to the fen."""

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.app import Json, Knowledge, Rules, app, need_outputs
from engine.cli.rules import rules_at
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.report.explain import as_data, case_of, told
from engine.report.figures import Run
from engine.report.text import visible
from engine.report.words import DISCLAIMER
from engine.run.rulebook import rule_info

NUMERALS = "一二三四五六七八九十"


@app.command("explain")
def explain_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="一次运行的输出目录 · folder of a run")],
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="疑点编号或其开头 · id of a finding, or its beginning")],
    rules: Rules = None,
    knowledge: Knowledge = None,
    as_json: Json = False,
):
    """解释一个疑点：依据、读到的值、逐步的算式 · why a finding was made: basis, values read, arithmetic."""
    need_outputs(out)
    loaded, _ = load_rules(rules_at(rules), load_knowledge(knowledge or []))
    case = case_of(Run(out, {r.rule.id: rule_info(r) for r in loaded}), finding)
    if as_json:
        print(json.dumps(as_data(case), ensure_ascii=False, default=str))
        return
    for number, (heading, sentences) in enumerate(told(case)):
        print(f"{NUMERALS[number] if number < 10 else '十一'}、{heading}")
        print("\n".join(f"  {visible(sentence)}" for sentence in sentences))
    print(DISCLAIMER)
