"""Policies: how they are read, what is refused and with which words, and which value holds for which claim."""

from datetime import date

import polars as pl
import pytest
import sample_policy

from engine.settlement.lookup import amount_of, benefit_of, group_of
from engine.settlement.policy import Dated, Policy, load_policy, policy_names
from engine.tables.problems import RuleProblem, UsageProblem

GOOD = """\
name: 0123
groups:
  worker: {psn_types: ["11*", 在职]}
  retired: {psn_types: [12*, "1101"]}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible:
      2024-01-01: {value: {all: {1: 150, 3: 700.50}}}
      2025-01-01: {value: {worker: 200, retired: 100}, source: 文件, grade: A}
    ratio:
      2024-01-01: {value: {worker: 80, retired: [{over: 0, percent: 80}, {over: 5000, percent: 92.5}]}}
"""


def load(tmp_path, text: str) -> Policy:
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    return load_policy(tmp_path / "p.yaml")


def refused(tmp_path, old: str, new: str) -> RuleProblem:
    assert GOOD.count(old) == 1
    with pytest.raises(RuleProblem) as caught:
        load(tmp_path, GOOD.replace(old, new))
    return caught.value


def claims(*rows: dict) -> pl.DataFrame:
    columns = {"psn_type": pl.String, "visit_kind": pl.String, "hosp_lv": pl.String, "day": pl.Date}
    return pl.DataFrame(
        [
            {"psn_type": "1102", "visit_kind": "inpatient", "hosp_lv": "3", "day": date(2024, 5, 1)} | row
            for row in rows
        ],
        columns,
    )


def test_scalars_are_text_first_money_is_fen_and_ratios_hundredths_of_a_percent(tmp_path):
    policy = load(tmp_path, GOOD)
    inpatient = policy.benefits["inpatient"]
    assert policy.name == "0123"
    assert inpatient.deductible[date(2024, 1, 1)].value == {"all": {"1": 15000, "3": 70050}}
    assert inpatient.ratio[date(2024, 1, 1)].value == {
        "worker": {"all": ((0, 8000),)},
        "retired": {"all": ((0, 8000), (500000, 9250))},
    }
    assert inpatient.deductible[date(2025, 1, 1)].grade == "A"


def test_a_value_holds_from_its_day_by_group_and_level(tmp_path):
    policy = load(tmp_path, GOOD)
    rows = claims(
        {"day": date(2024, 12, 31)},
        {"day": date(2025, 1, 1)},
        {"psn_type": "1201", "day": date(2025, 6, 1)},
        {"hosp_lv": "1"},
        {"hosp_lv": "2"},
        {"psn_type": "15"},
        {"day": date(2023, 12, 31)},
    )
    amounts = amount_of(rows, policy, policy.benefits["inpatient"].deductible).tolist()
    assert amounts == [70050, 20000, 10000, 15000, -1, 70050, -1]


def test_the_exact_person_type_beats_the_longest_beginning(tmp_path):
    policy = load(tmp_path, GOOD)
    types = claims(*({"psn_type": t} for t in ("1101", "1102", "在职", "retired", "12", "2", None)))
    assert group_of(types, policy).to_list() == ["retired", "worker", "worker", "retired", "retired", None, None]


def test_an_unknown_key_gives_one_clear_message(tmp_path):
    problem = refused(tmp_path, "deductible_per", "deductable_per")
    text = str(problem)
    assert text.startswith(f"{tmp_path / 'p.yaml'}: benefits.inpatient.deductable_per (第 8 行第 5 列): 没有这个键")
    assert "deductible_per" in problem.allowed and problem.hint == "是否想写 did you mean deductible_per?"
    assert problem.exit_code == 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[inpatient]", "[inpatientt]", "benefits.inpatient.visit_kinds.0 (第 7 行第 19 列)"),
        ("150", "150.005", "2024-01-01 all 1: '150.005' 不是以分为最小单位"),
        ("150", "-1", "不是以分为最小单位"),
        ("150", "NaN", "不是数"),
        ("{worker: 80,", "{worker: 180,", "2024-01-01 worker all: '180' 不是 0 至 100"),
        ("over: 5000", "over: 0", "逐档递增"),
        ("over: 5000", "from: 5000", "{over: 元, percent: 百分数}"),
        ("{worker: 200,", "{worcer: 200,", "没有人员组 worcer; 是否想写 did you mean worker?"),
        ("{worker: 200, retired: 100}", "{worker: 200}", "缺少人员组 retired"),
        ("    deductible_per: admission\n", "", "deductible_per: admission 或 year"),
        ("2025-01-01", "20250101", "YYYY-MM-DD"),
        ("2025-01-01", "2025-02-30", "没有这一天"),
        ("grade: A", "grade: Z", "允许 allowed: S, A, B, C, R, D, demo"),
        ("12*", "11*", "psn_types 重复归属: 11*"),
        ("name: 0123\n", "", "name (第 1 行第 1 列): 缺少这个键"),
        ("    deductible_per: admission\n", "    deductible_per: year\n    deductible_per: year\n", "p.yaml:9: 键重复"),
        ("name: 0123", "name: &n 0123", "p.yaml:1: 不用锚点"),
        ("name: 0123", "name: !!int 0123", "p.yaml:1: 不用锚点"),
        ("name: 0123", "name: [", "不是合法的 YAML"),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_would_do(tmp_path, old, new, words):
    assert words in str(refused(tmp_path, old, new))


def test_all_faults_are_told_at_once(tmp_path):
    text = str(refused(tmp_path, "name: 0123\n", "nam: 0123\ntitel: x\n"))
    assert "没有这个键 nam" in text and "没有这个键 titel" in text and "name (第 1 行第 1 列): 缺少这个键" in text


def test_an_unknown_policy_names_the_packs():
    with pytest.raises(UsageProblem, match="did you mean demo-region"):
        load_policy("demo-regoin")


def test_the_packs_that_come_along_load_and_grade_every_value():
    for name in policy_names():
        policy = load_policy(name)
        assert policy.name == name
        assert policy.source and (name.startswith("demo-") == (policy.grade == "demo"))


def test_the_demo_pack_has_a_rule_for_every_kind_of_visit_group_and_level():
    policy = load_policy("demo-region")
    kinds = [
        "general_outpatient",
        "emergency_outpatient",
        "chronic_outpatient",
        "special_outpatient",
        "inpatient",
        "emergency_inpatient",
        "day_surgery",
        "home_bed",
        "pharmacy",
    ]
    assert benefit_of(claims(*({"visit_kind": kind} for kind in kinds)), policy).null_count() == 0
    people = claims(*({"psn_type": psn, "hosp_lv": lv} for psn in ("1101", "1201", "1403", "1501") for lv in "0123"))
    assert (amount_of(people, policy, policy.benefits["inpatient"].deductible) >= 0).all()


def test_a_key_becomes_a_policy_with_its_own_groups_levels_and_kinds(tmp_path):
    ratio = {"甲组": {"2": 70}, "乙组": {"2": 60}}
    by_group = {"甲组": 30001, "乙组": 5}
    key = {
        "bundle": {"period": ["2023-07-01", "2023-12-31"]},
        "region": {
            "account_opening_fen": {"b": 5, "a": 123456},
            "maps": {
                "BENEFIT_GROUP_ID": {"A类": "甲组", "甲组": "甲组", "B类": "乙组", "自费": "自费"},
                "CLAIM_TYPE": {"门诊": "general_outpatient", "特病": "special_outpatient", "入院": "inpatient"},
            },
            "policy": {
                "inpatient": {
                    "deductible_fen": {"2": 40000},
                    "second_and_later_admission_factor_pct": 40,
                    "ratio_pct": ratio,
                },
                "outpatient": {
                    "general": {
                        "claim_types": ["门诊"],
                        "annual_deductible_fen": by_group,
                        "ratio_pct": ratio,
                        "annual_pool_cap_fen": by_group,
                    },
                    "chronic": {"claim_types": ["特病"], "ratio_pct": ratio},
                },
                "remote_ratio_minus_points": 15,
                "annual_fund_cap_fen": by_group,
            },
        },
    }
    policy = load(tmp_path, sample_policy.policy_yaml(key))
    day = date(2023, 1, 1)
    assert group_of(claims({"psn_type": "A类"}, {"psn_type": "自费"}), policy).to_list() == ["甲组", None]
    assert policy.annual_cap[day].value == {"甲组": {"all": 30001}, "乙组": {"all": 5}}
    assert policy.benefits["inpatient"].visit_kinds == ["day_surgery", "emergency_inpatient", "home_bed", "inpatient"]
    assert policy.benefits["inpatient"].nth_admission_percent[day] == Dated(value={"all": {"all": (10000, 4000)}})
    assert policy.benefits["chronic_outpatient"].visit_kinds == ["special_outpatient"]
    assert sample_policy.account_openings_from_key(key) == [
        {"psn_no": "a", "year": "2023", "acct_balc": "1234.56"},
        {"psn_no": "b", "year": "2023", "acct_balc": "0.05"},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("payers: {a: {colum: maf_pay, ratio: {2024-01-01: {value: 5}}}}", "did you mean column"),
        (
            "payers: {a: {column: maf_pay, by: category, ratio: {2024-01-01: {value: {低保: 5}}}}}",
            "没有救助对象类别 低保",
        ),
        ("payers: {pool: {column: maf_pay, ratio: {2024-01-01: {value: 5}}}}", "payers 不可用名 pool"),
        ("payers: {a: {column: hifp_pay, ratio: {2024-01-01: {value: 5}}}}", "cvlserv_pay, maf_pay"),
        ("cross_region: {referal: {mode: minus, value: {2024-01-01: {value: 5}}}}", "referral"),
        ("cross_region: {referral: {mode: minus, value: {2024-01-01: {value: 105}}}}", "105"),
        (
            "catastrophic: {benefits: [inpatient], ratio: {2024-01-01: {value: 5}}, incentive: {sinc: 2025}}",
            "mean since",
        ),
        ("annual_cap: {2024-01-01: {value: {percent: 2, of: wage, year_back: 2}}}", "year_back"),
        ("enrolment: {waiting: {fixed: {2025-01-01: {value: 3.5}}, per_missed_year: {}}}", "3.5"),
        ("order: [pool, acount]", "did you mean account"),
    ],
)
def test_a_fault_in_a_further_clause_is_named_too(tmp_path, text, words):
    with pytest.raises(RuleProblem) as caught:
        load(tmp_path, GOOD + text + "\n")
    assert words in str(caught.value)


def test_a_benefit_that_is_for_nothing_is_refused(tmp_path):
    assert "须写 visit_kinds, med_types" in str(refused(tmp_path, "    visit_kinds: [inpatient]\n", ""))
