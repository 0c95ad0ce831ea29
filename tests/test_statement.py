"""`yibao explain OUT CLAIM`: the waterfall of one claim, its parameters, and why a reported amount is another."""

import json
from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest
import yaml

import synthetic.cli  # noqa: F401  registers every command
from engine.report.text import yuan
from engine.run import payable, pipeline
from engine.run.prepared import prepared
from engine.run.region import load_region
from engine.run.statement import statement, told
from engine.settlement.payment_steps import payment_steps
from engine.settlement.policy import Policy, load_policy
from engine.tables.dictionary import tables as dictionary

DONE, USAGE = 0, 2
POLICY = """
name: two-levels
source: 测试
groups: {worker: {psn_types: [11*]}, retired: {psn_types: [12*]}}
benefits:
  inpatient:
    label: 住院
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: {all: {2: 400, 3: 700}}}}
    nth_admission_percent: {2020-01-01: {value: [100, 50]}}
    ratio: {2020-01-01: {value: {worker: {2: 94, 3: 92}, retired: {2: 96, 3: 95}}}}
"""


@pytest.fixture(scope="module")
def two_levels():
    known = load_region(judging=False)
    return replace(known, policy=Policy.model_validate(yaml.load(POLICY, yaml.BaseLoader)))


def claims(*rows: dict) -> pl.DataFrame:
    base = {"psn_no": "P", "psn_type": "11", "visit_kind": "inpatient", "hosp_lv": "3", "insured_flag": "1"}
    made = [
        {**base, "setl_id": f"S{n}", "setl_time": datetime(2025, 3, 1 + n), "begntime": datetime(2025, 2, 20), **row}
        for n, row in enumerate(rows, 1)
    ]
    schema = dictionary()["claims"].schema
    return pl.DataFrame(made, schema={name: schema[name] for row in made for name in row})


def sections(region, setl_id: str, *rows: dict) -> dict[str, list[str]]:
    return dict(told(statement({"claims": claims(*rows)}, region, setl_id)))


# 8,590.48 in all, 501.97 of it paid first: 8,088.51 in policy, and 92 % of what lies above 700.
PUBLISHED = {"medfee_sumamt": 859_048, "preselfpay_amt": 50_197, "inscp_scp_amt": 808_851, "fulamt_ownpay_amt": 0,
             "overlmt_selfpay": 0, "act_pay_dedc": 70_000}  # fmt: skip


def test_a_statement_is_told_from_the_bill_to_the_cash(two_levels):
    said = sections(two_levels, "S1", PUBLISHED | {"hifp_pay": 679_743, "fund_pay_sumamt": 679_743})
    assert said["费用分类"] == [
        "医疗费总额 8,590.48 = 全自费 0.00 + 超限价自费 0.00 + 先行自付 501.97 + 符合政策范围 8,088.51。"
    ]
    assert said["起付线"] == ["本次应付起付线 700.00，政策范围内费用承担其中 700.00。"]
    assert said["各方支付"][0] == "统筹基金：起付线以上按比例应付 6,797.43，实付 6,797.43。"
    assert said["个人负担"] == ["个人负担 1,793.05 = 个人账户支出 0.00 + 个账共济支付 0.00 + 个人现金支出 1,793.05。"]
    assert said["与申报对照"] == ["申报的 8 项金额与重算完全一致。"]
    used = [line for line in said["所用的参数"] if "支付比例" in line]
    assert used == [
        "基本医疗保险统筹基金：住院，支付比例：92%（2020-01-01 起；测试，等级 demo；"
        "benefits.inpatient.ratio.2020-01-01）"
    ]


def test_an_amount_published_wrongly_is_explained_and_not_matched(two_levels):
    """Printed as 8590.48 − 700 − 501.97 = 7488.51 and a fund share of 6,889.43 (Shanghai, 4 Aug 2022)."""
    said = sections(two_levels, "S1", PUBLISHED | {"hifp_pay": 688_943, "fund_pay_sumamt": 688_943})["与申报对照"]
    assert said[:2] == [
        "第一处不同：基本医保统筹基金。",
        "基本医保统筹基金：申报 6,889.43，重算 6,797.43，相差 92.00。",
    ]
    assert said[-1] == "换一个医院等级、人员组、待遇、就医地或单独计算，都得不出申报的金额。"


@pytest.mark.parametrize(
    ("changed", "reported", "guess"),
    [
        ({"hosp_lv": "2"}, {"act_pay_dedc": 70_000, "hifp_pay": 679_743}, "若按医院等级 3（申报为 2）计算"),
        ({}, {"hifp_pay": 701_908}, "若按retired（申报为worker）计算"),
    ],
)
def test_what_would_give_the_reported_amounts_is_told_as_a_guess(two_levels, changed, reported, guess):
    said = sections(two_levels, "S1", PUBLISHED | changed | reported | {"fund_pay_sumamt": reported["hifp_pay"]})
    assert f"可能的原因（推测）：{guess}，则与申报完全一致。" in said["与申报对照"]


def test_an_earlier_stay_that_was_not_counted_is_found_out(two_levels):
    first = PUBLISHED | {"hifp_pay": 679_743, "fund_pay_sumamt": 679_743}
    said = sections(two_levels, "S2", first, first)["与申报对照"]
    assert said[0] == "第一处不同：起付线。"
    assert "可能的原因（推测）：若不计本年以前的结算（起付线、限额从头算），则与申报完全一致。" in said


def test_a_claim_the_policy_has_no_rule_for_says_so(two_levels):
    said = sections(two_levels, "S1", PUBLISHED | {"visit_kind": "pharmacy"})
    assert "未计算待遇：政策没有适用于这张单的规定，全部由个人承担。" in said["结算单"]


def test_every_claim_of_a_run_can_be_explained_by_its_number(run, finished, bundle):
    ids = pl.read_parquet(finished / "settlement.parquet")["setl_id"].sort().gather_every(60)
    for setl_id in ids:
        said = run("explain", finished, setl_id, "--in", bundle, "--json")
        assert said.code == DONE, said.err
        answer = json.loads(said.out)
        heads = [part["heading"] for part in answer["told"]]
        assert heads[0] == "结算单" and "个人负担" in heads
        assert answer["steps"]["setl_id"] == setl_id
    plain = run("explain", finished, ids[0], "--in", bundle)
    assert "一、结算单" in plain.out and "个人负担" in plain.out


def test_neither_a_finding_nor_a_claim_is_a_mistake_of_use(run, finished):
    assert run("explain", finished, "S999999").code == USAGE


def test_what_the_institution_is_paid_for_a_stay_is_told_step_by_step(run, bundle, tmp_path):
    out = tmp_path / "out"
    assert run("run", bundle, "--out", out, "--policy", "demo-points").code == 0
    grouped = pl.read_parquet(out / "grouping.parquet").filter(pl.col("weight") > 0)
    said = run("explain", out, grouped["setl_id"][0], "--json")
    payment = json.loads(said.out)["payment"]
    assert payment["asked"] == "drg_points" and payment["payable_fen"] == sum(
        payment[name] for name in ("charged_fen", "against_charged_fen")
    )
    spoken = run("explain", out, grouped["setl_id"][0]).out
    assert "付给机构" in spoken and f"基金应付 {yuan(payment['payable_fen'])}" in spoken


def test_payments_of_all_claims_explained_one_by_one_are_the_payments_of_the_run(bundle, region, tmp_path):
    out, by_points = tmp_path / "out", replace(region, policy=load_policy("demo-points"))
    pipeline.run(bundle, out, by_points, pipeline.Options(report=False), parts=("group", "settle"))
    extract = prepared(bundle, by_points)
    steps = payment_steps(
        *payable.given(
            extract.tables, by_points, *(pl.scan_parquet(out / f"{n}.parquet") for n in ("settlement", "grouping"))
        )
    )
    summed = steps.group_by("fixmedins_code", "month", "method").agg(pl.col("payable_fen").sum()).sort(pl.all())
    paid = pl.read_parquet(out / "provider_payment.parquet").filter(pl.col("cases") != 0)
    assert summed.equals(paid.select(summed.columns).sort(pl.all()))
