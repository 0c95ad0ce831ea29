"""`yibao why-not`: for each way a claim can go out of a rule, the part that failed and its values."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import synthetic.cli  # noqa: F401  registers every command
from engine.audit.facts import Facts
from engine.audit.trial import canonical
from engine.audit.whynot import tried, unnamed
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder
from engine.run.private import note_run
from engine.run.whynot import why_not

RULE = """
id: asked
title: 按次治疗一日多计
description: 供本测试使用
family: test
basis: [{law: 测试}]
in_force: {from: 2021-05-01}
for: visit_day
params: {allowed: {type: decimal, default: "1", label: 每日上限}}
sets: {treatments: ["A", "B"]}
let:
  billed: $sum([l.cnt for l in day.lines if l.item in treatments])
when: visit.insured and billed > params.allowed
flag: l.item in treatments and l.price > 1
excess: billed - params.allowed
amount: units
innocent:
  - {because: 有两次治疗记录, unless: (visit.age ?? 0) >= 90}
"""


def loaded(tmp_path: Path, text: str = RULE, **changes):
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "asked.yaml").write_text(text, "utf-8")
    rules, faults = load_rules(tmp_path, load_knowledge())
    assert rules, faults
    return rules[0]


def asked(rule, body: dict, claim: str = "V1"):
    return tried(rule, Facts(canonical(body), load_knowledge()), claim)


def line(cnt: str, **more: str) -> dict:
    return {"item": "A", "cnt": cnt, **more}


def test_the_failed_part_is_told_as_written_with_the_values_it_read(tmp_path):
    (case,) = asked(loaded(tmp_path), {"lines": [line("1")]})
    assert case.outcome == "when"
    assert [(part.text, part.holds) for part in case.parts] == [
        ("visit.insured", True), ("billed > params.allowed", False),
    ]  # fmt: skip
    read = {r.words: (r.label, r.value) for r in case.parts[1].read}
    assert read["billed"] == ("$sum([l.cnt for l in day.lines if l.item in treatments])", 1)
    assert read["params.allowed"] == ("每日上限", 1)


def test_the_nearest_day_comes_first(tmp_path):
    rule = loaded(tmp_path, **{"visit.insured and": "visit.insured and day.lines.length > 1 and"})
    lines = [line("1"), line("1", day="1"), line("0.5", day="1", time="2025-03-04 18:00:00")]
    first, second = asked(rule, {"lines": lines})
    assert [p.holds for p in first.parts] == [True, True, True]
    assert first.outcome == "found"
    assert [p.holds for p in second.parts] == [True, False, False]


def test_an_innocent_explanation_is_named_with_what_proves_it(tmp_path):
    (case,) = asked(loaded(tmp_path), {"visit": {"age": "93"}, "lines": [line("4")]})
    assert (case.outcome, case.because) == ("spared", "有两次治疗记录")
    assert case.parts[-1].text == "(visit.age ?? 0) >= 90"
    assert [(r.words, r.value) for r in case.parts[-1].read] == [("visit.age", 93)]


def test_late_posting_is_told_as_the_reason(tmp_path):
    rule = loaded(tmp_path, **{"(visit.age ?? 0) >= 90": "day.posted_late"})
    lines = [line("2", day="1"), line("1", day="2")]
    outcomes = {str(case.about["日期"])[:10]: case.outcome for case in asked(rule, {"lines": lines})}
    assert outcomes == {"2025-03-04": "spared", "2025-03-05": "when"}


def test_a_day_before_the_rule_was_in_force_is_told(tmp_path):
    (case,) = asked(loaded(tmp_path, **{"2021-05-01": "2026-01-01"}), {"lines": [line("4")]})
    assert case.outcome == "not_in_force"


def test_a_case_that_cannot_be_computed_is_told_apart_from_one_that_fails(tmp_path):
    rule = loaded(tmp_path, **{"billed > params.allowed": "billed / (billed - 4) > params.allowed"})
    (case,) = asked(rule, {"lines": [line("4")]})
    assert case.outcome == "unjudged"
    assert [part.holds for part in case.parts] == [True, None]


def test_a_claim_without_a_named_line_is_told_which_items_the_rule_looks_for(tmp_path):
    rule, body = loaded(tmp_path), {"lines": [{"item": "C"}, {"item": "C"}]}
    assert asked(rule, body) == []
    why = unnamed(rule, Facts(canonical(body), load_knowledge()), "V1")
    assert (why.lines, why.named, why.present, why.nearest) == (2, ["A", "B"], [], [])


def test_a_line_the_flag_leaves_out_shows_the_part_that_leaves_it_out(tmp_path):
    rule, body = loaded(tmp_path), {"lines": [line("4", price="1"), {"item": "C", "price": "1"}]}
    assert asked(rule, body) == []
    why = unnamed(rule, Facts(canonical(body), load_knowledge()), "V1")
    assert why.present == ["A"]
    nearest = why.nearest[0]
    assert [(part.text, part.holds) for part in nearest.parts] == [
        ("l.item in treatments", True),
        ("l.price > 1", False),
    ]
    assert nearest.about["项目"] == "A"


def test_a_window_of_the_person_is_the_concern_of_every_claim_in_it(tmp_path):
    text = RULE.replace("visit_day", "person_window\nwindow: {days: 7}").replace("day.lines", "window.lines")
    rule = loaded(tmp_path, text.replace("visit.insured and ", "").replace("(visit.age ?? 0) >= 90", "billed > 100"))
    other = {"admission": "2025-03-05 09:00:00", "lines": [line("1")]}
    body = {"lines": [line("1")], "others": [other]}
    assert [case.outcome for case in asked(rule, body, "V2")] == ["found"]
    assert [case.outcome for case in asked(rule, body, "V1")] == ["found", "when"]


def test_two_lines_that_make_no_pair_show_what_their_pair_lacks(tmp_path):
    text = RULE.replace("visit_day", "line_pair\nsame: day").split("let:")[0]
    rule = loaded(tmp_path, text + "when: a.item == 'A' and b.item == 'B' and b.cnt > params.allowed\namount: units\n")
    (case,) = asked(rule, {"lines": [line("1"), {"item": "B", "time": "2025-03-03 18:00:00"}]})
    assert [part.holds for part in case.parts] == [True, True, False]
    assert (case.about["项目"], case.about["另一明细"]) == ("B", "V1:1")


# the command


@pytest.fixture
def why(run):
    """why(OUT, rule, claim, …): the command as a user gives it."""
    return lambda out, rule, claim, *more: run("why-not", out, "--rule", rule, "--claim", claim, *more)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """Two rules, which load in no time."""
    folder = tmp_path_factory.mktemp("rules")
    for name in ("daily-fees-exceed-stay-days", "t01-same-site-excess"):
        shutil.copy(next(rules_folder().rglob(f"{name}.yaml")), folder)
    return folder


@pytest.fixture(scope="module")
def findings(finished) -> pl.DataFrame:
    return pl.read_parquet(finished / "findings.parquet")


@pytest.fixture(scope="module")
def quiet(finished, findings) -> str:
    """A claim without any finding."""
    claims = pl.read_parquet(finished / "settlement.parquet").filter(pl.col("medfee_sumamt_fen") > 0)["setl_id"].sort()
    named = pl.read_parquet(finished / "evidence.parquet")["setl_id"].drop_nulls().unique()
    return claims.filter(~claims.is_in(named.implode()))[0]


def test_every_rule_has_an_answer_for_a_claim(why, finished, bundle, quiet, region):
    """Whatever the rule and its scope: an answer, and never that there is a finding after all."""
    for loaded_rule in region.rules:
        answer = why_not(finished, loaded_rule.rule.id, quiet, bundle, region, "auto")
        assert answer.reason in ("tried", "no_line", "missing"), loaded_rule.rule.id
        assert answer.remarks == []
        assert "found" not in {case.outcome for case in answer.tried}, loaded_rule.rule.id


def test_the_input_of_a_run_is_found_by_its_note(why, finished, bundle, quiet, few, tmp_path, monkeypatch):
    monkeypatch.setenv("YIBAO_CACHE", str(tmp_path))
    said = why(finished, "daily-fees-exceed-stay-days", quiet, "--rules", few)
    assert said.code == 2
    assert "--in" in said.err
    note_run(json.loads((finished / "manifest.json").read_text("utf-8"))["run_id"], bundle)
    said = why(finished, "daily-fees-exceed-stay-days", quiet, "--rules", few)
    assert said.code == 0, said.err
    assert quiet in said.out


def test_what_has_findings_is_told_with_their_ids_and_where_their_money_is(why, finished, bundle, findings):
    row = findings.sort("finding_id").row(0, named=True)
    said = why(finished, row["rule_id"], row["setl_id"], "--in", bundle)
    assert said.code == 0, said.err
    assert row["finding_id"] in said.out
    superseded = findings.drop_nulls("superseded_by").sort("finding_id")
    for row in superseded.head(1).iter_rows(named=True):
        said = why(finished, row["rule_id"], row["setl_id"], "--in", bundle)
        assert f"金额由规则 {row['superseded_by']} 承担" in said.out


def test_a_refunded_claim_is_told_as_such(why, finished, bundle, few):
    claims = pl.read_csv(bundle / "claims.csv", infer_schema=False)
    refund = claims.filter(pl.col("refd_setl_flag") == "1").row(0, named=True)
    for claim in (refund["setl_id"], refund["init_setl_id"]):
        said = why(finished, "daily-fees-exceed-stay-days", claim, "--in", bundle, "--rules", few)
        assert "已退费" in said.out


def test_a_missing_table_is_named(why, finished, bundle, quiet, few, tmp_path):
    less = Path(shutil.copytree(bundle, tmp_path / "in"))
    (less / "trace_codes.csv").unlink()
    said = why(finished, "t01-same-site-excess", quiet, "--in", less, "--rules", few)
    assert "trace_codes" in said.out
    assert "输入文件自该次运行后已变：trace_codes.csv" in said.out


def test_a_rule_edited_since_the_run_is_said_to_be(why, finished, bundle, quiet, tmp_path):
    name = "daily-fees-exceed-stay-days"
    text = next(rules_folder().rglob(f"{name}.yaml")).read_text("utf-8")
    (tmp_path / f"{name}.yaml").write_text(text + "\n# edited\n", "utf-8")
    said = why(finished, name, quiet, "--in", bundle, "--rules", tmp_path)
    assert "规则自该次运行后已改" in said.out


@pytest.mark.parametrize(("rule", "claim", "near"), [
    ("daily-fee-exceed-stay-days", None, "daily-fees-exceed-stay-days"),
    ("daily-fees-exceed-stay-days", -1, None),
])  # fmt: skip
def test_a_misspelt_rule_or_claim_meets_what_was_likely_meant(why, finished, bundle, quiet, rule, claim, near, few):
    wanted = quiet if claim is None else quiet[:claim] + "x"
    said = why(finished, rule, wanted, "--in", bundle, "--rules", few)
    assert said.code == 2
    assert (near or quiet) in said.err


def test_values_of_persons_stand_under_pseudonyms(why, finished, bundle, quiet, tmp_path):
    (tmp_path / "asked.yaml").write_text(
        RULE.split("sets:")[0].replace("visit_day", "visit") + "when: visit.psn_no == 'x'\namount: claim\n", "utf-8"
    )
    person = pl.read_csv(bundle / "claims.csv", infer_schema=False).filter(setl_id=quiet)["psn_no"][0]
    said = why(finished, "asked", quiet, "--in", bundle, "--rules", tmp_path, "--json")
    assert said.code == 0, said.err
    (case,) = json.loads(said.out)["nearest"]
    (value,) = case["parts"][0]["read"].values()
    assert value.startswith("P") and len(value) == 17
    assert person not in said.out
