"""`amount: regroup`: a stay's payment by DRG as coded less that without the flagged codes, worked out by hand."""

from dataclasses import replace

import polars as pl
import pytest
from sample_scheme import write_scheme

from engine.audit.recovery import recover
from engine.grouping.scheme import load_scheme
from engine.language.rule import load_rules
from engine.run import stages
from engine.run.single import Checker
from engine.settlement.policy import Policy
from engine.tables.document import tables_of

RULE = """
id: doubted-codes
title: 编码无依据
description: 诊断或手术没有依据。
family: special-programmes
basis: [{law: 医疗保障基金使用监督管理条例, article: "38(5)"}]
for: visit
sets: {doubted: [J96.000, E11.100, I10.X00, I21.100], undone: ["37.2200"]}  # codes read in capitals
when: $any([d.code in doubted for d in visit.diagnoses]) or $any([p.code in undone for p in visit.procedures])
flag: d.code in doubted
amount: regroup
"""
# 10 000 yuan a weight: FR11 11234.57, FR13 10500.00, FR15 8000.00, FK19 15000.00
WEIGHTS = "drg,weight\nFR15,0.8\nFR13,1.05\nFR11,1.12345678\nFK19,1.5\n"
POLICY = {
    "name": "p", "groups": {"worker": {}},
    "benefits": {"inpatient": {"visit_kinds": ["inpatient"], "ratio": {"2025-01-01": {"value": "80"}}}},
    "provider": {"drg_benefits": ["inpatient"], "drg_rate": {"2025-01-01": {"value": "10000"}}},
}  # fmt: skip
CLAIM = {
    "setl_id": "S1", "psn_no": "P1", "psn_type": "worker", "fixmedins_code": "H1", "visit_kind": "inpatient",
    "hosp_lv": "3", "begntime": "2025-03-03 09:00:00", "endtime": "2025-03-09 10:00:00", "gend": "1",
    "setl_time": "2025-03-09 10:00:00", "brdy": "1970-06-15", "medfee_sumamt": "1000", "inscp_scp_amt": "1000",
    "fund_pay_sumamt": "8000",
}  # fmt: skip
LINE = {"feedetl_sn": "F1", "fee_ocur_time": "2025-03-04", "cnt": "1", "pric": "1000", "det_item_fee_sumamt": "1000",
        "med_list_codg": "X", "chrgitm_lv": "01"}  # fmt: skip


@pytest.fixture
def paid(region, tmp_path):
    """paid(diagnoses, procedures, …): a checker of the one rule and the document of a stay with those codes."""

    def make(diagnoses: list[str], procedures: list[str] = (), flag: str = "", provider: dict | None = None):
        folder = tmp_path / "rules"
        folder.mkdir()
        text = RULE.replace("flag: d.code in doubted", flag) if flag else RULE
        (folder / "doubted-codes.yaml").write_text(text, "utf-8")
        rules, faults = load_rules(folder, region.knowledge)
        assert not faults, "\n".join(map(str, faults))
        policy = Policy.model_validate({**POLICY, "provider": {**POLICY["provider"], **(provider or {})}})
        scheme = load_scheme(write_scheme(tmp_path / "scheme", weights=WEIGHTS))
        document = {
            "claim": CLAIM, "fee_lines": [LINE], "history": [],
            "diagnoses": [{"diag_code": code} for code in diagnoses],
            "procedures": [{"oprn_oprt_code": code} for code in procedures],
        }  # fmt: skip
        return Checker(replace(region, rules=rules, policy=policy, scheme=scheme)), document

    return make


def answered(checker, document) -> dict:
    (finding,) = checker(document).findings
    return finding


def test_the_money_is_the_difference_of_two_payments_to_the_fen(paid):
    found = answered(*paid(["I21.000", "J96.000"]))
    # 1.12345678 x 10000 = 11234.5678 -> 11234.57, less 8000.00
    assert (found["gross_fen"], found["inscope_fen"], found["fund_fen"]) == (323457, 323457, 323457)
    # the fund owes the standard less what the person pays: 1000 - 800 = 200
    assert found["message"] == "编码无依据；去掉后病组由FR11变为FR15，基金应付由11034.57元变为7800.00元"
    rows = [(r["role"], r["table"], r["row_key"], r["amount_fen"]) for r in found["evidence"]]
    assert rows == [("basis", "claims", "S1", None), ("excess", "diagnoses", "S1|2", 323457)]


def test_what_stays_coded_goes_on_to_count(paid):
    # without J96.000 the diabetes is still a CC: 11234.57 - 10500.00
    assert answered(*paid(["I21.000", "J96.000", "E11.900"]))["gross_fen"] == 73457


def test_several_flagged_codes_are_taken_away_together_and_cost_once(paid):
    found = answered(*paid(["I21.000", "J96.000", "E11.100"]))
    assert found["gross_fen"] == 323457
    assert [r["amount_fen"] for r in found["evidence"] if r["role"] == "excess"] == [323457, 0]


def test_a_code_that_moves_no_group_costs_nothing_and_the_sentence_says_so(paid):
    found = answered(*paid(["I21.000", "I10.x00", "E11.900"]))
    assert found["gross_fen"] == 0
    assert found["message"].endswith("去掉后病组不变（FR13），支付不变")


def test_a_flagged_procedure_is_worth_what_it_moved(paid):
    # FK19 15000.00 with the procedure, FR15 8000.00 without
    found = answered(*paid(["I21.000"], ["37.2200"], flag="flag: p.code in undone"))
    assert found["gross_fen"] == 700000
    assert [(r["table"], r["row_key"]) for r in found["evidence"]] == [("claims", "S1"), ("procedures", "S1|1")]


def test_the_other_form_of_payment_takes_the_share_of_the_fund(paid):
    # 80 % of the standard: 8987.656 -> 8987.66, less 6400.00
    assert answered(*paid(["I21.000", "J96.000"], provider={"fund_form": "ratio"}))["gross_fen"] == 258766


@pytest.mark.parametrize(
    ("diagnoses", "provider", "why"),
    [
        (["I21.000", "J96.000"], {"drg_benefits": []}, "该次住院未入组或不按病组付费，金额未评估"),
        (["I50.900", "J96.000"], {}, "该次住院未入组或不按病组付费，金额未评估"),  # a group without a weight
        (["I21.100"], {}, "去掉后不能入组，金额未评估"),
    ],
)
def test_no_amount_is_invented_where_a_stay_is_not_paid_by_group(paid, diagnoses, provider, why):
    checked = (lambda checker, document: checker(document))(*paid(diagnoses, provider=provider))
    (found,) = checked.findings
    assert found["message"].endswith(why) and found["gross_fen"] == 0
    assert {r["amount_fen"] for r in found["evidence"]} == {None}
    assert {"rule_id": "doubted-codes", "reason": "value_missing", "detail": "amount: regroup"} in checked.not_evaluated


def test_recovery_ties_with_the_finding_and_stays_below_what_was_paid(paid):
    checker, document = paid(["I21.000", "J96.000", "E11.100"])
    tables = tables_of(document)[0]
    findings, evidence, _ = stages.audited(tables, checker.region)
    for fund, due in ((800_000, 323_457), (100_000, 100_000)):
        claims = pl.DataFrame({"setl_id": ["S1"], "fixmedins_code": ["H1"], "fund_pay_sumamt_fen": [fund]})
        rows = recover(findings, evidence, claims).select("involved_fen", "inscope_fen", "fund_line_fen", "due_fen")
        assert rows.rows() == [(323457, 323457, 323457, due)] * 2  # of the finding, and the institution's total


def test_regrouping_needs_codes_in_evidence(region, tmp_path):
    text = RULE.replace("flag: d.code in doubted\n", "flag: l.cnt > 0\n")
    (tmp_path / "doubted-codes.yaml").write_text(text, "utf-8")
    rules, (fault,) = load_rules(tmp_path, region.knowledge)
    assert rules == [] and fault.code == "E_AMOUNT" and "amount: regroup" in fault.text


def dated(value) -> dict:
    return {"2025-01-01": {"value": value}}


def by_points(**pool) -> dict:
    return {
        "methods": dated([{"method": "drg_points", "benefits": ["inpatient"]}]),
        "by_case": {"drg_points": {"scale": dated("100")}},
        "pools": {"all": {name: dated(value) for name, value in pool.items()}},
    }


def test_by_points_of_a_given_value_codes_are_worth_as_much_as_by_weight(paid):
    found = answered(*paid(["I21.000", "J96.000"], provider=by_points(point_value="100")))
    assert found["gross_fen"] == 323457


def test_what_only_a_budget_could_value_gets_no_amount(paid):
    found = answered(*paid(["I21.000", "J96.000"], provider=by_points(budget="1000000")))
    assert found["gross_fen"] == 0 and found["message"].endswith("该次住院未入组或不按病组付费，金额未评估")
