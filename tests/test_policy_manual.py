"""The manual of policies cannot lie: its policies have no fault, its commands answer so, it names every key."""

import os
import re
import shlex
import subprocess
import sys
from typing import get_args

import pytest
import yaml
from conftest import ROOT
from pydantic import BaseModel

from engine.reference.places import seeds_folder
from engine.settlement import derived
from engine.settlement.clauses import PARTS, Filing, Per, VisitKind, Where
from engine.settlement.dated import Dated, Grade
from engine.settlement.policy import Policy, policy_or_faults
from engine.settlement.provider_policy import Provider

MANUAL = (seeds_folder() / "policies" / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", MANUAL, re.M | re.S)
POLICIES = [text for kind, text in BLOCKS if kind == "yaml"]
COMMANDS = [text for kind, text in BLOCKS if kind == "console"]
TABLES = [text for kind, text in BLOCKS if kind == "text"]
# what the fragments of the manual stand in
AROUND = """
name: around
source: 手册
groups: {在职: {psn_types: [11*]}, 退休: {psn_types: [12*]}, 居民: {psn_types: [15*]}}
categories: {特困: {}, 低保: {}}
benefits: {住院: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: 80}}}}
"""


def test_the_manual_has_no_other_kind_of_block():
    assert {kind for kind, _ in BLOCKS} == {"yaml", "text", "console"}
    assert len(POLICIES) >= 10 and len(TABLES) == 2


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_a_policy_of_the_manual_has_no_fault(number, tmp_path):
    said = yaml.load(POLICIES[number], yaml.BaseLoader)
    whole = said if "name" in said else yaml.load(AROUND, yaml.BaseLoader) | said
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(whole, allow_unicode=True, sort_keys=False), "utf-8")
    policy, faults = policy_or_faults(tmp_path / "p.yaml")
    assert faults == [] and policy is not None


def test_the_first_policy_is_checked_settled_and_explained_as_the_manual_shows(tmp_path):
    (tmp_path / "我的政策.yaml").write_text(POLICIES[0], "utf-8")
    (tmp_path / "数据").mkdir()
    for name, text in zip(("claims.csv", "fee_lines.csv"), TABLES, strict=True):
        (tmp_path / "数据" / name).write_text(text, "utf-8")
    for block in COMMANDS:
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            answered = answer(command, tmp_path)
            assert said in ("", answered), command


def answer(command: str, folder) -> str:
    script = "import sys; from synthetic.cli import main; sys.argv[0] = 'yibao'; main()"
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "LC_ALL": "zh_CN.UTF-8",
                "COLUMNS": "200"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script, *shlex.split(command)[1:]], cwd=folder, env=settings, capture_output=True,
        encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and all models its fields are made of, without the provider side and dated values."""
    found, rest = set(), [model]
    while rest:
        one = rest.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            if one not in found and one is not Provider and one is not Dated:
                found.add(one)
                rest += [field.annotation for field in one.model_fields.values()]
        else:
            rest += get_args(one)
    return found


EXPLAINED = {key for row in re.findall(r"^\|([^|]*)\|", MANUAL, re.M) for key in re.findall(r"`(\w+)`", row)}
KEYS = {name for model in (*models(Policy), Dated) for name in model.model_fields} | derived._KEYS


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_of_a_policy_is_explained_in_a_table(key):
    named = {*EXPLAINED, *re.findall(r"`(groups|categories|insutypes)` ", MANUAL)}
    assert key in named


@pytest.mark.parametrize("allowed", [VisitKind, Where, Per, Grade, Filing])
def test_every_allowed_value_is_named(allowed):
    assert [value for value in {*get_args(allowed), *PARTS} if value not in MANUAL] == []


def test_the_links_of_the_contents_lead_somewhere():
    headings = set(re.findall(r"^## (.*)$", MANUAL, re.M))
    assert {link for link in re.findall(r"\]\(#([^)]+)\)", MANUAL)} == headings
