"""The manual of the rule language cannot lie: its rules load and pass, its expressions hold, its commands answer so."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from engine.audit.lint import lint
from engine.audit.trial import run_tests
from engine.language.form import Rule
from engine.language.rule import load_rules
from engine.language.vocabulary import scopes
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder

MANUAL = (rules_folder() / "README.md").read_text("utf-8")
FRONT = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", MANUAL, re.M | re.S)
RULES = {yaml.safe_load(text)["id"]: text for kind, text in BLOCKS if kind == "yaml"}
EXPRESSIONS = [line for kind, text in BLOCKS if kind == "expressions" for line in text.splitlines()]
COMMANDS = [text for kind, text in BLOCKS if kind == "console"]


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


def written(folder, text: str):
    """A rule of the manual in a folder of its own, loaded."""
    said = yaml.safe_load(text)
    path = folder / said["family"] / f"{said['id']}.yaml"
    path.parent.mkdir()
    path.write_text(text, "utf-8")
    return path


def test_the_manual_has_no_other_kind_of_block():
    assert {kind for kind, _ in BLOCKS} == {"yaml", "text", "console", "expressions"}
    assert len(RULES) >= 10 and len(EXPRESSIONS) >= 25


@pytest.mark.parametrize("rule_id", RULES)
def test_a_rule_of_the_manual_has_no_fault_and_passes_its_tests(rule_id, tmp_path, knowledge):
    written(tmp_path, RULES[rule_id])
    _, faults = lint(tmp_path, knowledge)
    assert [str(f) for f in faults if f.severity == "error"] == []
    (rule,), _ = load_rules(tmp_path, knowledge)
    results = run_tests(rule, knowledge)
    assert [r.said for r in results if not r.passed] == []
    assert {r.word for r in results} >= {"hit", "clear"}


ASKED = """\
id: asked
title: 所问
description: 一个式子。
family: asked
basis: [{{law: 示例}}]
for: visit_day
when: >-
  {expression}
flag: l.cnt > 0
amount: none
tests:
  - hit: {{diagnoses: [C34.900, I10.x00], lines: [{{item: A, cnt: "2", price: "10"}}, {{item: B, price: "5"}}]}}
"""


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_of_the_manual_holds(expression, tmp_path, knowledge):
    written(tmp_path, ASKED.format(expression=expression))
    loaded, faults = load_rules(tmp_path, knowledge)
    assert faults == []
    assert [r.said for r in run_tests(loaded[0], knowledge) if not r.passed] == []


def test_the_rule_of_the_front_page_lints_and_passes_its_tests(tmp_path, knowledge):
    (text,) = re.findall(r"^```yaml\n(# yaml-language-server.*?)^```", FRONT, re.M | re.S)
    written(tmp_path, text)
    assert [str(f) for f in lint(tmp_path, knowledge)[1] if f.severity != "warning"] == []
    (rule,), _ = load_rules(tmp_path, knowledge)
    assert [r.said for r in run_tests(rule, knowledge) if not r.passed] == []


def test_the_first_rule_is_written_checked_and_tested_as_the_manual_shows(tmp_path):
    """Every command in the order of the manual; the draft is then edited into the manual's text."""
    (published,) = [text for kind, text in BLOCKS if kind == "text" and text.startswith("序号,")]
    (tmp_path / "重复收费.csv").write_text(published, "utf-8")
    for block in COMMANDS:
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            if " lint " in command:
                draft = tmp_path / "我的规则" / "hemodialysis" / "local-dialysis-once.yaml"
                assert draft.exists()
                draft.write_text(RULES["local-dialysis-once"], "utf-8")
            assert answer(command, tmp_path) == said, command


def answer(command: str, folder) -> str:
    script = "import sys; from synthetic.cli import main; sys.argv[0] = 'yibao'; main()"
    settings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "LC_ALL": "zh_CN.UTF-8",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *shlex.split(command)[1:]], cwd=folder, env=settings, capture_output=True,
        encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_key_of_a_rule_is_explained():
    keys = {field.alias or name for name, field in Rule.model_fields.items()}
    table = MANUAL[MANUAL.index("| 键 | 含义 | 不写时 |") : MANUAL.index("## 一个案例是什么")]
    assert keys - set(re.findall(r"`(\w+)`", table)) == set()


def test_every_scope_is_explained():
    table = MANUAL[MANUAL.index("| `for` | 一个案例 |") : MANUAL.index("## 表达式")]
    assert set(scopes()) - set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set()


def test_every_way_of_counting_money_is_explained():
    ways = set(Rule.model_fields["amount"].annotation.__args__)
    table = MANUAL[MANUAL.index("| `amount` | 金额 |") :]
    assert ways - set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set()


def test_the_links_of_the_contents_lead_somewhere():
    headings = {re.sub(r"[、，。]", "", h) for h in re.findall(r"^## (.*)$", MANUAL, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", MANUAL)) == headings
