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


ONE = """\
name: one
source: 文件
groups: {在职: {psn_types: [11*]}, 退休: {psn_types: [12*]}}
benefits:
  住院:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2025-01-01: {value: 800}}
    ratio: {2025-01-01: {value: [{over: 0, percent: 80}, {over: 50000, percent: 90}]}}
annual_cap: {2025-01-01: {value: 300000}}
"""
RATIO = "    ratio: {2025-01-01: {value: [{over: 0, percent: 80}, {over: 50000, percent: 90}]}}\n"
CAP = "annual_cap: {2025-01-01: {value: 300000}}\n"
GROUP = "退休: {psn_types: [12*]}"
PER = "    deductible_per: admission\n"


def dated(key: str, value: str) -> str:
    return f"{key}: {{2025-01-01: {{value: {value}}}}}"


def also(key: str, value: str) -> tuple[str, str]:
    """The benefit with one key more, on line 7."""
    return PER, f"    {dated(key, value)}\n{PER}"


def payer(*parts: str) -> tuple[str, str]:
    """The policy with a payer, on line 10."""
    return CAP, f"payers: {{a: {{column: oth_pay, {', '.join(parts)}}}}}\n{CAP}"


def tiers(second: int) -> str:
    return dated("ratio", f"[{{over: 10000, percent: 50}}, {{over: {second}, percent: 60}}]")


HALF = dated("ratio", "50")
# what is replaced by what, the line at which the doubt stands, and its words
DOUBTED = {
    "a group without types": (GROUP, "退休: {}", 3, "没有写 psn_types"),
    "a group behind another": (GROUP, "退休: {psn_types: [11*], age_from: 60}", 3, "轮不到：排在"),
    "an age turned round": (GROUP, "退休: {psn_types: [12*], age_from: 70, age_below: 60}", 3, "是否写反"),
    "no ratio": (RATIO, "", 5, "没有写 ratio，统筹不付任何费用"),
    "a level without a value": ("{value: 800}", "{value: {all: {1: 200, 2: 400, 3: 800}}}", 8, "没有医院等级 0 的值"),
    "a tier above the cap on the cost": (*also("cost_cap", "40000"), 10, "50,000 元 以上的档轮不到"),
    "a floor above the start line": (
        PER,
        f"{PER}    {dated('nth_admission_minus', '100')}\n    {dated('deductible_floor', '900')}\n",
        9,
        "900 元 减后的下限高于起付线 800 元",
    ),
    "a floor of nothing": (*also("deductible_floor", "9"), 7, "没有写 nth_admission_minus"),
    "admissions where there are none": (
        PER,
        f"    deductible_per: year\n    {dated('nth_admission_percent', '[100, 50]')}\n",
        8,
        "只在 deductible_per: admission",
    ),
    "a cap of nothing": ("value: 300000", "value: {在职: 0, 退休: 9}", 10, "限额为 0，等于不付；不设限应写 none"),
    "a cap above the cap of the year": (*also("pool_cap", "400000"), 7, "待遇限额高于年度总限额 300,000 元"),
    "unknown between": (CAP, CAP.replace("{2025", "{2024-01-01: {value: unknown}, 2025"), 10, "从 2024-01-01 至 2025"),
    "unknown at the end": (CAP, CAP.replace("}}", "}, 2026-01-01: {value: unknown}}"), 10, "从 2026-01-01 起未知"),
    "a value that begins late": ("deductible: {2025", "deductible: {2026", 8, "从 2026-01-01 起才有值"),
    "a word of one benefit": (PER, f"    pool_cap_shared: 门诊\n{PER}", 7, "只有这一项待遇写了 门诊"),
    "kinds without a benefit": ("[inpatient]", "[inpatient, home_bed]", 4, "没有待遇收就诊类别 general_outpatient"),
    "no cap but large amounts": (CAP, "large_amount: {" + dated("ratio", "90") + "}\n", 10, "大额从不付费"),
    "a tier of a payer behind its cap": (
        *payer(dated("annual_cap", "5000"), tiers(30000)),
        10,
        "30,000 元 以上的档轮不到，以下的档已付到限额 5,000 元",
    ),
    "a tier of a payer below its start": (
        *payer(dated("start", "20000"), tiers(15000)),
        10,
        "的档轮不到，起付标准为 20,000 元",
    ),
    "a loss that cannot be": (*payer("loss_counts: no", dated("ratio", "50")), 10, "没有写 cross_region.unfiled"),
    "a benefit behind its like": (
        CAP,
        f"  a: {{med_types: [52*], {HALF}}}\n  b: {{med_types: ['5201'], {HALF}}}\n{CAP}",
        11,
        "轮不到：5201 已归先写的 a",
    ),
}


@pytest.mark.parametrize("what", DOUBTED)
def test_what_is_perhaps_not_meant_is_told_with_its_place(run, tmp_path, what):
    old, new, line, words = DOUBTED[what]
    assert old in ONE
    (tmp_path / "p.yaml").write_text(ONE.replace(old, new, 1), "utf-8")
    said = run("policy", "check", tmp_path / "p.yaml", "--json")
    told = json.loads(said.out)
    assert (said.code, told["faults"]) == (DONE, [])
    found = [doubt for doubt in told["doubts"] if words in doubt]
    assert len(found) >= 1, told["doubts"]
    assert found[0].startswith(f"第 {line} 行第 "), found[0]


def test_a_sound_policy_leaves_only_the_kinds_of_visit_it_says_nothing_of(run, tmp_path):
    (tmp_path / "p.yaml").write_text(ONE, "utf-8")
    doubts = json.loads(run("policy", "check", tmp_path / "p.yaml", "--json").out)["doubts"]
    assert len(doubts) == 1 and "没有待遇收就诊类别" in doubts[0]


def test_a_citizen_sees_what_is_for_whom(run):
    said = run("--lang", "zh", "policy", "show", "demo-guangdong")
    assert "不付给此人: 居民大病保险、医疗救助、倾斜救助" in said.out
    assert "付给参加险种 320 的人" in said.out and "个人账户可付全部费用，包括目录外" in said.out
    poor = run("--lang", "zh", "policy", "show", "demo-guangdong", "--group", "居民", "--category", "低保")
    assert "分档按全年累计的政策范围内费用" in poor.out and "医疗救助" in poor.out and "不付给此人" not in poor.out
    points = run("--lang", "zh", "policy", "show", "demo-points", "--json").out
    assert "第一次 700 元，第二次 350 元，以后同" in points


def test_values_that_begin_after_the_first_claim_are_told_when_its_day_is_given(run, tmp_path):
    (tmp_path / "p.yaml").write_text(ONE, "utf-8")
    doubts = json.loads(run("policy", "check", tmp_path / "p.yaml", "--from", "2024-07-01", "--json").out)["doubts"]
    assert [doubt.split(" 从 ")[0].split(": ")[1] for doubt in doubts[1:]] == [
        "benefits.住院.deductible", "benefits.住院.ratio", "annual_cap"]  # fmt: skip
    assert "benefits.住院.ratio 从 2025-01-01 起才有值；2024-07-01 起的结算单在此以前不适用本政策" in doubts[2]
    same = json.loads(run("policy", "check", tmp_path / "p.yaml", "--from", "2025-01-01", "--json").out)["doubts"]
    assert len(same) == 1
