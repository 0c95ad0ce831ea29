"""Rules broken on purpose, one way at a time: each must be refused, at the line and column of what was broken.

Every way of breaking is tried on a few rules of rules/; `YIBAO_BREAK_ALL=1` tries it wherever it applies.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine.cli.rules  # noqa: F401  registers the commands
from engine.audit.lint import lint
from engine.cli.app import app, call
from engine.language.faults import SEVERITIES, codes
from engine.language.rule import rule_files
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder

TEXTS = {path: path.read_text("utf-8") for path in rule_files(rules_folder())}
A_FEW = 10**6 if os.environ.get("YIBAO_BREAK_ALL") else 3
TOP = "^(title|description|family|status|result|basis|sources|in_force|params|let|when|flag|amount|innocent|tests)"
IN_CONDITION = r"^(?:when|violation_when|excess): (?![>|])[^\n]*?"

# name: (pattern whose group is broken, what stands in its place, codes it may be told by)
WAYS = {
    "a key misspelt": (rf"{TOP}:", r"\1x", "E_KEY_UNKNOWN"),
    "a key of the join misspelt": (r"^join: \{.*?\b(table|as|keys|where):", r"\1e", "E_KEY_UNKNOWN E_KEY_MISSING"),
    "a key of a parameter misspelt": (r"^  \w+: \{.*?\b(default):", "defualt", "E_KEY_UNKNOWN E_KEY_MISSING"),
    "a key of an explanation misspelt": (r"^  - \{?(because):", "becuase", "E_KEY_UNKNOWN E_KEY_MISSING"),
    "a key of in_force misspelt": (r"^in_force: \{(from):", "form", "E_KEY_UNKNOWN"),
    "a key twice": (r"^(title): .*\n", r"\g<0>\1", "E_YAML_TWICE"),
    "a result there is not": (r"^result: (\w+)", "suspicious", "E_VALUE"),
    "a status there is not": (r"^status: (\w+)", "activ", "E_VALUE"),
    "a cut there is not": (r"^cut: (\w+)", "lattest", "E_VALUE"),
    "an amount there is not": (r"^amount: (\w+)", "unit", "E_VALUE"),
    "a number beyond the list": (r"^number: (\d+)", "128", "E_VALUE"),
    "a number in words": (r"^number: (\d+)", "八十", "E_VALUE"),
    "an id that is not the file's": (r"^id: ([\w-]+)", r"\1-2", "E_ID"),
    "a day that is not in the calendar": (r"^in_force: \{from: ([\d-]+)", "2021-02-30", "E_VALUE"),
    "a scope there is not": (r"^for: (\w+)", r"\1s", "E_SCOPE"),
    "a table there is not": (r"^join: \{table: (\w+)", r"\1x", "E_TABLE"),
    "a column there is not": (r"^join: \{.*?keys: \{(\w+):", r"\1x", "E_COLUMN"),
    "a key of a line there is not": (r"^join: \{.*?keys: \{\w+: \w+\.(\w+)", r"\1x", "E_ATTRIBUTE"),
    "a column to join by there is not": (r"^join: \{.*?by: \[(\w+)\]", r"\1x", "E_COLUMN"),
    "a concept there is not": (r"concept:(\w+)", r"\1x", "E_SET"),
    "a kind of set there is not": (r"\b(concept):\w+", "concpet", "E_SET"),
    "a parameter that is no number": (r'type: (?:int|decimal), default: ("\d+")', '"twelve"', "E_PARAM"),
    "a parameter of unknown type": (r"\{type: (int)\b", "integer", "E_VALUE"),
    "an attribute misspelt": (rf"{IN_CONDITION}\b(?:visit|line|l|a|b|o|p|code|dept)\.(\w+)", r"\1q", "E_ATTRIBUTE"),
    "a name misspelt": (rf"{IN_CONDITION}(?<![\w.$'])(visit|params)\.", r"\1q", "E_NAME"),
    "a parameter misspelt": (rf"{IN_CONDITION}\bparams\.(\w+)", r"\1q", "E_ATTRIBUTE"),
    "a function misspelt": (r"(\$(?:any|sum|all|begins))\(", r"\1x", "E_FUNCTION"),
    "a single = for ==": (rf"{IN_CONDITION}(==) ", "=", "E_SYNTAX"),
    "&& for and": (rf"{IN_CONDITION}\b(and) ", "&&", "E_SYNTAX"),
    "a comparison twice": (rf"{IN_CONDITION} >=? (params)", "> params", "E_SYNTAX"),
    "text compared with a number": (rf"{IN_CONDITION}>=? (params\.\w+|\d+)", "'many'", "E_TYPE"),
    "a value that may be missing": (
        rf"{IN_CONDITION}(\((\w+(?:\.\w+)+) \?\? [^()]+\)) [=!<>]", r"\2", "E_MISSING"),
    "full-width signs": (rf"{IN_CONDITION} (>=?|<=?) params", "＞", "E_SYNTAX"),
    "a role there is not": (r"^  (basis): [a-z$]", "bassis", "E_ROLE"),
    "a message with an open brace": (r"^message: [^\n]*(\})", "", "E_MESSAGE E_YAML"),
    "a word of the message misspelt": (r"^message: [^\n]*?\{(?:\w+)\.(\w+)\}", r"\1q", "E_ATTRIBUTE"),
    "a test that says no result": (r"^  - (hit|clear): ", "hitt", "E_TEST"),
    "a word in a test misspelt": (r"^  - (?:hit|clear): .*?\{(item|code):", "itme", "E_TEST"),
    "a tab for blanks": (r"^tests:\n(  )", "\t", "E_YAML"),
    "a bracket left open": (r"^sources: \[[^\n]*(\])", "", "E_YAML"),
    "an anchor": (r"^title: ()", "&t ", "E_YAML_ANCHOR"),
    "a tag": (r"^title: ()", "!!str ", "E_YAML_TAG"),
}  # fmt: skip


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


def broken(way: str) -> Iterator[tuple[Path, str, int, int, int]]:
    """Texts broken in one way: (file, text, line, first and last column that may be told)."""
    pattern, instead, _ = WAYS[way]
    for path, text in TEXTS.items():
        found = re.search(pattern, text, re.M)
        if not found:
            continue
        start, end = found.span(1)
        if way == "a key twice":
            put = found[0] + found[0]
            yield path, text[: found.start()] + put + text[found.end() :], *place(text, found.end()), 1
            continue
        put = found.expand(instead) if "\\" in instead else instead
        changed = text[:start] + put + text[end:]
        line, column = place(changed, start)
        yield path, changed, line, column, column + max(len(put), end - start)


def place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


LOOSE = {  # where the fault shows only later in the text, or concerns more than the broken part
    "a tab for blanks", "a bracket left open", "a message with an open brace", "text compared with a number",
    "a value that may be missing", "a key of the join misspelt", "a comparison twice",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_rule_is_refused_at_the_place_where_it_is_broken(way, tmp_path, knowledge):
    tried = 0
    for path, text, line, first, last in broken(way):
        file = tmp_path / path.parent.name / path.name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
        faults = [f for f in lint(tmp_path, knowledge)[1] if f.severity == "error"]
        said = "\n".join(map(str, faults))
        told = [f for f in faults if f.code in WAYS[way][2].split()]
        assert told, f"{path.name}: {way}: not told\n{said}"
        if way not in LOOSE:
            assert any(f.line == line and first <= f.column <= last for f in told), f"{line}:{first}-{last}\n{said}"
        elif "bracket" not in way:
            assert any(f.line == line for f in told), f"{line}\n{said}"
        file.unlink()
        tried += 1
        if tried >= A_FEW:
            break
    assert tried, "nowhere to break"


TWO_FAULTS = """id: two-faults
titel: 两处错误
description: 看一遍就都说出来
family: x
basis: [{law: 条例}]
for: visit_day
when: day.dayte == null and visit.days > 3
excess: visit.dayz
tests:
  - hit: {visit: {levl: "3"}}
"""


def test_one_pass_tells_every_fault_of_a_file(tmp_path, knowledge):
    (tmp_path / "two-faults.yaml").write_text(TWO_FAULTS, "utf-8")
    _, faults = lint(tmp_path, knowledge)
    places = {(f.line, f.column, f.code) for f in faults}
    assert {(1, 1, "E_KEY_MISSING"), (2, 1, "E_KEY_UNKNOWN"), (7, 11, "E_ATTRIBUTE"), (8, 15, "E_ATTRIBUTE")} <= places


SHAPES = {
    "in double quotes": '"visit.days > 3 and visit.dayz > 1"',
    "in single quotes": "'visit.main_diag != ''x'' and visit.dayz > 1'",
    "folded over lines": ">-\n  visit.days > 3\n  and visit.dayz > 1",
    "as a block": "|\n  visit.days > 3\n\n    and visit.dayz > 1",
    "plain over lines": "visit.days > 3 and\n  visit.dayz > 1",
    "after Chinese text": "visit.dept != '内科' and visit.dayz > 1",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_caret_stands_under_the_wrong_word_however_yaml_writes_the_text(shape, tmp_path, knowledge):
    text = TWO_FAULTS.replace("titel", "title").replace("day.dayte == null and visit.days > 3", SHAPES[shape])
    (tmp_path / "two-faults.yaml").write_text(text, "utf-8")
    fault = next(f for f in lint(tmp_path, knowledge)[1] if "dayz" in f.message)
    assert (fault.line, fault.column) == place(text, text.index("dayz"))
    assert fault.text[fault.column - 1 :].startswith("dayz")
    assert fault.width == 4


def test_a_fault_within_a_named_part_is_told_where_the_part_is_written(tmp_path, knowledge):
    text = TWO_FAULTS.replace("titel", "title").replace("visit.dayz", "3")
    text = text.replace(
        "when: day.dayte == null and visit.days > 3", "let:\n  long: visit.dayz > 3\nwhen: long and long"
    )
    (tmp_path / "two-faults.yaml").write_text(text, "utf-8")
    told = [(f.line, f.column) for f in lint(tmp_path, knowledge)[1] if f.code == "E_ATTRIBUTE"]
    assert told == [place(text, text.index("dayz"))]


WHOLE = """id: whole
title: 完整
description: 没有错误
family: x
basis: [{law: 条例}]
for: visit_day
when: CONDITION
flag: l.cnt > 0
tests:
  - hit: {lines: [{item: a, cnt: "9"}]}
  - clear: {lines: [{item: a, cnt: "1"}]}
"""


@pytest.mark.parametrize(
    "condition, code",
    [
        ("visit.days >= 0", "E_ALWAYS"),
        ("visit.days > 5 and visit.days < 3", "E_NEVER"),
        ("$sum([l.cnt for l in day.lines]) > 5 and visit.days >= 0", "W_ALWAYS"),
        ("$sum([l.cnt for l in day.lines]) > 5 or visit.days < 0", "W_NEVER"),
        ("$sum([l.cnt for l in day.lines]) > 5", "W_COST"),
        ("$sum([l.cnt for l in day.lines if l.item == '003110000060100']) > 5", "N_CODES"),
    ],
)
def test_what_is_doubtful_is_said(condition, code, tmp_path, knowledge):
    (tmp_path / "whole.yaml").write_text(WHOLE.replace("CONDITION", f'"{condition}"'), "utf-8")
    assert code in {f.code for f in lint(tmp_path, knowledge)[1]}


def test_a_rule_without_fault_or_doubt_has_none(tmp_path, knowledge):
    condition = "\"$sum([l.cnt for l in day.lines if l.item == 'a']) > 5\""
    text = WHOLE.replace("CONDITION", condition).replace("l.cnt > 0", "l.item == 'a'")
    (tmp_path / "whole.yaml").write_text(text, "utf-8")
    assert lint(tmp_path, knowledge) == (1, [])


def test_two_rules_may_share_a_number_only_on_different_days(tmp_path, knowledge):
    for name, span in (("one", "{to: 2024-12-31}"), ("two", "{from: 2025-01-01}"), ("three", "{from: 2024-12-31}")):
        text = WHOLE.replace("id: whole", f"id: {name}\nnumber: 5\nin_force: {span}")
        (tmp_path / f"{name}.yaml").write_text(text.replace("CONDITION", "visit.days > 3"), "utf-8")
    told = {(f.file, f.line) for f in lint(tmp_path, knowledge)[1] if f.code == "E_NUMBER_TWICE"}
    assert told == {("three.yaml", 2), ("two.yaml", 2)}


def test_every_code_is_explained_and_every_way_of_breaking_has_one():
    assert {code[0] for code in codes()} == set(SEVERITIES)
    assert all(set(said) == {"what", "en", "fix", "en_fix"} for said in codes().values())
    assert {code for _, _, told in WAYS.values() for code in told.split()} <= set(codes())


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_faults_are_told_to_programs_too(form, tmp_path, capsys):
    (tmp_path / "two-faults.yaml").write_text(TWO_FAULTS, "utf-8")
    assert call(app, ["rules", "lint", "--rules", str(tmp_path), "--format", form]) == 4
    said = json.loads(capsys.readouterr().out)
    if form == "sarif":
        assert said["version"] == "2.1.0"
        (run,) = said["runs"]
        for result in run["results"]:
            assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        said = [r["locations"][0]["physicalLocation"]["region"] for r in run["results"]]
        assert {"startLine": 8, "startColumn": 15, "endColumn": 19} in said
    else:
        assert {"line": 8, "column": 15, "code": "E_ATTRIBUTE", "severity": "error"}.items() <= next(
            f for f in said if f["line"] == 8
        ).items()
