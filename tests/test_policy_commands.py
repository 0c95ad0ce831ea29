"""`yibao policy check|show` as an officer of a bureau uses them."""

import json

import pytest

import synthetic.cli  # noqa: F401  registers every command
from engine.reference.places import seeds_folder
from engine.settlement.policy import policy_names
from engine.settlement.spoken import percent, yuan

DONE, USAGE, RULES = 0, 2, 4
DEMO = (seeds_folder() / "policies" / "demo-region.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", policy_names())
def test_every_pack_is_without_fault_and_says_what_it_rests_on(run, name):
    said = run("policy", "check", name, "--json")
    assert said.code == DONE, said.err
    told = json.loads(said.out)
    assert told["faults"] == []
    assert not [doubt for doubt in told["doubts"] if "没有写来源" in doubt]
    assert set(told["grades"]) <= {"S", "A", "B", "C", "R", "D", "demo"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("deductible_per: admission", "deductable_per: admission", ["没有这个键", "deductible_per", "行第 5 列"]),
        ("value: [100, 50]", "value: [100, 500]", ["500", "百分数"]),
        ("fund_form: difference", "fund_form: differense", ["difference, ratio", "did you mean difference"]),
        ("value: 260", "value: 26O", ["26O"]),
        ("2023-01-01: {value: 280000", "2023-13-01: {value: 280000", ["没有这一天"]),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_was_likely_meant(run, tmp_path, old, new, words):
    text = DEMO.replace("annual_cap:  #", "figures: {x: {2023-01-01: {value: 260}}}\nannual_cap:  #", 1)
    assert old in text
    (tmp_path / "own.yaml").write_text(text.replace(old, new, 1), "utf-8")
    said = run("policy", "check", tmp_path / "own.yaml")
    assert said.code == RULES
    assert all(word in said.out for word in words), said.out
    assert "行第" in said.out
    assert run("settle", tmp_path, "--policy", tmp_path / "own.yaml", "--out", tmp_path / "o.parquet").code == RULES


def test_a_parameter_that_begins_late_or_ends_is_a_doubt(run, tmp_path):
    late = DEMO.replace("2023-01-01: {value: {all: {0: 150", "2024-01-01: {value: {all: {0: 150", 1)
    (tmp_path / "late.yaml").write_text(late, "utf-8")
    said = run("policy", "check", tmp_path / "late.yaml")
    assert said.code == DONE
    assert "benefits.inpatient.deductible 从 2024-01-01 起才有值" in said.out


def test_a_policy_is_shown_as_a_citizen_could_read_it(run):
    said = run("--lang", "zh", "policy", "show", "demo-region", "--group", "退休职工", "--level", "3", "--json")
    assert said.code == DONE, said.err
    parts = {part["part"]: {v["label"]: v for v in part["values"]} for part in json.loads(said.out)["parts"]}
    inpatient = parts["基本医疗保险统筹基金：住院"]
    assert inpatient["起付线（每次住院）"]["text"] == "700 元"
    assert inpatient["支付比例"]["text"] == "86%，超过 10,000 元的部分 90%，超过 30,000 元的部分 93%"
    assert inpatient["支付比例"]["path"] == "benefits.inpatient.ratio.2023-01-01"
    assert inpatient["支付比例"]["grade"] == "demo"
    assert parts["基本医疗保险统筹基金：普通门诊"]["支付限额（全年）"]["text"] == "2,700 元"
    before = run("policy", "show", "demo-region", "--group", "退休职工", "--day", "2024-12-31", "--json")
    assert "2,500 元" in before.out and "2,700 元" not in before.out
    table = run("--lang", "zh", "policy", "show", "demo-region")
    assert "其他人员组: 退休职工、学生儿童、一般居民" in table.out


def test_an_unknown_group_or_policy_is_a_mistake_of_use(run):
    said = run("policy", "show", "demo-region", "--group", "外星人")
    assert said.code == USAGE
    assert "在职职工" in said.err
    assert "demo-region" in run("policy", "show", "demo-regoin").err


def test_amounts_and_ratios_are_written_exactly():
    assert [yuan(fen) for fen in (70_000, 160_242, 10**15)] == ["700 元", "1,602.42 元", "不设限"]
    assert [percent(units) for units in (8_600, 9_750, 5, 10_000)] == ["86%", "97.5%", "0.05%", "100%"]
