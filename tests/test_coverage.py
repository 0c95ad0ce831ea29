"""What the tests of a rule leave loose is found: conditions seen one way only, thresholds that may move."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.audit.coverage import examine
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder

RULE = """\
id: {id}
title: 每日次数
description: 一天最多几次。
family: {family}
basis: [{{law: 医疗保障基金使用监督管理条例}}]
for: visit_day
params:
  most: {{type: int, default: "2"}}
sets: {{items: [A]}}
let:
  billed: $sum([l.cnt for l in day.lines if l.item in items])
when: billed > params.most and not visit.local
flag: l.item in items
excess: billed - params.most
amount: units
tests:
{tests}
"""
AWAY = "visit: {local: 'false'}, "


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


@pytest.fixture
def examined(tmp_path, knowledge):
    """examined(tests) writes the rule with these tests and tells (results, branches, mutants)."""

    def look(*tests: str):
        folder = tmp_path / "caps"
        folder.mkdir(exist_ok=True)
        text = RULE.format(id="cap", family="caps", tests="\n".join(f"  - {test}" for test in tests))
        (folder / "cap.yaml").write_text(text, "utf-8")
        (rule,), faults = load_rules(tmp_path, knowledge)
        assert not faults
        results, gaps = examine(rule, knowledge, mutate=True)
        kinds = {kind: [g for g in gaps if g.kind == kind] for kind in ("branch", "mutant")}
        return results, kinds["branch"], kinds["mutant"]

    return look


def lines(*counts: str, item: str = "A") -> str:
    return f"lines: [{', '.join(f'{{item: {item}, cnt: {c}}}' for c in counts)}]"


FULL = (
    f"hit: {{{AWAY}lines: [{{item: A, cnt: 3}}, {{item: B, cnt: 9}}]}}",
    f"clear: {{{AWAY}{lines('2')}}}",
    f"clear: {{{lines('3')}}}",
)


def test_tests_at_the_threshold_leave_nothing_loose(examined):
    results, branches, mutants = examined(*FULL)
    assert [r.passed for r in results] == [True] * 3
    assert branches == []
    assert mutants == []


def test_a_part_never_seen_true_is_named_where_it_stands(examined):
    _, branches, _ = examined(*FULL[:2])
    (gap,) = branches
    assert (gap.part, gap.line, gap.column) == ("visit.local", 12, 36)
    assert "从未为真" in gap.said


def test_a_part_of_a_let_is_named_where_the_let_stands(examined):
    _, branches, _ = examined(f"hit: {{{AWAY}{lines('3')}}}", *FULL[1:])
    assert {(g.part, g.line) for g in branches} == {("l.item in items", 11), ("l.item in items", 13)}


def test_a_part_no_test_reaches_says_so(examined):
    _, branches, _ = examined(f"clear: {{{AWAY}{lines('1')}}}", f"clear: {{{lines('1')}}}")
    assert [(g.part, "没有测试走到" in g.said) for g in branches if g.line == 12] == [
        ("billed > params.most", False), ("visit.local", True),
    ]  # fmt: skip


def test_a_comparison_that_may_include_its_limit_is_named_with_the_test_that_would_tell(examined):
    _, _, mutants = examined(FULL[0], f"clear: {{{AWAY}{lines('1')}}}", FULL[2])
    moved = {g.part: g for g in mutants}
    (comparison,) = [g for part, g in moved.items() if "⟦>⟧" in part]
    assert (comparison.line, comparison.column) == (12, 14)
    assert "改成 >=" in comparison.said and "恰好相等" in comparison.said


def test_a_parameter_that_may_move_is_named_at_its_default(examined):
    _, _, mutants = examined(f"hit: {{{AWAY}{lines('9')}}}", *FULL[1:])
    (gap,) = [g for g in mutants if g.part.startswith("most")]
    assert (gap.part, gap.line) == ("most: 2", 8)
    assert "改成 3 没有" in gap.said


def test_what_findings_give_holds_the_arithmetic_of_the_excess(examined, tmp_path, knowledge):
    looser = "  - hit: {" + AWAY + "lines: [{item: A, cnt: 3}, {item: A, cnt: 1}]}"
    folder = tmp_path / "caps"
    folder.mkdir()
    text = RULE.format(id="cap", family="caps", tests=looser).replace("billed - params.most", "(billed - 2)")
    (folder / "cap.yaml").write_text(text, "utf-8")
    excess = [g for g in loose(tmp_path, knowledge) if g.line == 14]
    assert [g.part for g in excess] == ["(billed - ⟦2⟧)"]
    held = text.replace("cnt: 1}]}", "cnt: 1}]}\n    gives: {cnt: 2, amount: 20, inscope: 20, fund: 16}")
    (folder / "cap.yaml").write_text(held, "utf-8")
    assert [g for g in loose(tmp_path, knowledge) if g.line == 14] == []


def loose(folder: Path, knowledge) -> list:
    (rule,), _ = load_rules(folder, knowledge)
    results, gaps = examine(rule, knowledge, mutate=True)
    assert all(r.passed for r in results), results
    return gaps


def test_a_wrong_amount_breaks_a_hit_and_says_what_came(examined):
    (result,), _, _ = examined(f"hit: {{{AWAY}{lines('3')}}}\n    gives: {{cnt: 2}}")
    assert not result.passed
    assert "cnt 应为 2 而得 1" in result.said


@pytest.mark.parametrize(
    ("word", "body", "becomes"),
    [("known_miss", f"{AWAY}{lines('3')}", "hit"), ("known_false_alarm", lines("1"), "clear")],
)
def test_a_limit_that_is_gone_turns_red_and_says_which_word_to_write(examined, word, body, becomes):
    (result,), _, _ = examined(f"{word}: {{{body}}}")
    assert not result.passed
    assert f"把 {word} 改成 {becomes}" in result.said


def test_limits_that_still_stand_pass(examined):
    results, _, _ = examined(f"known_miss: {{{lines('3')}}}", f"known_false_alarm: {{{AWAY}{lines('3')}}}")
    assert [r.passed for r in results] == [True, True]


def test_a_test_with_a_word_nobody_knows_fails_and_nothing_else_is_said(examined):
    results, branches, mutants = examined("hit: {line: []}", *FULL)
    assert [r.passed for r in results] == [False, True, True, True]
    assert "line" in results[0].said
    assert branches == mutants == []


def test_looking_for_gaps_leaves_the_rule_as_it_was(region):
    rule = next(r for r in region.rules if r.rule.id == "per-treatment-dialysis-billed-hourly")
    before = replace(rule)
    examine(rule, region.knowledge, mutate=False)
    node = rule.parsed["when"].statement.expression
    assert "evaluate" not in vars(node)
    assert (rule.rule, rule.setting) == (before.rule, before.setting)


def test_the_places_of_gaps_in_our_rules_hold_what_they_show(region):
    """Every branch gap points at its own text, whichever way YAML wrote the expression."""
    for rule in [r for r in region.rules if r.rule.family in ("inpatient-conduct", "overcharging")]:
        for gap in examine(rule, region.knowledge, mutate=False)[1]:
            text = (rules_folder() / gap.file).read_text("utf-8").splitlines()[gap.line - 1]
            assert text[gap.column - 1 :].startswith(gap.part[:12]), gap
