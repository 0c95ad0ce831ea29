"""应采尽采、依码结算、依码支付: who must scan from when, what is covered, and what is not paid without a code."""

import dataclasses
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.examples import frame_of
from engine.reference.knowledge import load_knowledge
from engine.run import buckets, stages
from engine.run.region import load_region
from engine.settlement.policy import Policy
from engine.tracing.duties import coverage, due_lines, duties_of

DRUG, FREE, SERVICE = "XA00AAA000A000000000001", "XA00AAA000A000000000002", "001"
CODE, NINES, EAN = "81234560000000000001", "9" * 20, "6901234567892"
IDENTIFIERS = frame_of("drug_identifiers", [{"ident7": "8123456", "med_list_codg": drug} for drug in (DRUG, FREE)])
CODE_FREE = frame_of("code_free", [{"med_list_codg": FREE, "begndate": "2025-08-01", "enddate": "2025-08-31"}])
SITES = frame_of("institutions", [
    {"fixmedins_code": "P1", "fixmedins_type": "pharmacy", "admdvs": "450821"},
    {"fixmedins_code": "H1", "fixmedins_type": "hospital", "hosp_lv": "1", "admdvs": "450821"},
    {"fixmedins_code": "H2", "fixmedins_type": "hospital", "hosp_lv": "2", "admdvs": "450802"},
    {"fixmedins_code": "H3", "fixmedins_type": "hospital", "hosp_lv": "3", "admdvs": "450802"},
    {"fixmedins_code": "V1", "fixmedins_type": "village_clinic", "admdvs": "440103"},
])  # fmt: skip
DUTIES = load_knowledge()["scan_duties"]


def lines(*rows: dict) -> pl.DataFrame:
    blank = {"fixmedins_code": "P1", "med_list_codg": DRUG, "cnt": "1", "fee_ocur_time": "2025-09-01 10:00:00"}
    told = [blank | {"feedetl_sn": f"F{n}"} | row for n, row in enumerate(rows, 1)]
    sites = pl.Series("fixmedins_code", [row["fixmedins_code"] for row in told])
    plain = frame_of("fee_lines", [{k: v for k, v in row.items() if k != "fixmedins_code"} for row in told])
    return plain.with_columns(sites)


def codes(*rows: dict) -> pl.DataFrame:
    return frame_of("trace_codes", [{"event_type": "sale", "drug_trac_codg": CODE, **row} for row in rows])


def due(bill: pl.DataFrame, scans: pl.DataFrame, free=CODE_FREE) -> list[tuple]:
    return due_lines(bill, scans, SITES, IDENTIFIERS, free, DUTIES).select("feedetl_sn", "duty", "coded").rows()


@pytest.mark.parametrize(
    ("site", "day", "expected"),
    [
        # 贵港: 药店 4 月 1 日, 一级及以下 5 月 1 日, 二级 6 月 1 日, 三级 7 月 1 日; 全国 7 月 1 日 (policy.md #73)
        ("P1", "2025-03-31", False), ("P1", "2025-04-01", True),
        ("H1", "2025-04-30", False), ("H1", "2025-05-01", True),
        ("H2", "2025-05-31", False), ("H2", "2025-06-01", True),
        ("H3", "2025-06-30", False), ("H3", "2025-07-01", True),
        ("V1", "2025-06-30", False), ("V1", "2025-07-01", True),
        ("P9", "2025-06-30", False), ("P9", "2025-07-01", True),  # not registered: its letter says pharmacy
        ("X9", "2025-07-01", False),
    ],
)  # fmt: skip
def test_who_must_scan_from_which_day(site, day, expected):
    asked = due(lines({"fixmedins_code": site, "fee_ocur_time": f"{day} 10:00:00"}), codes())
    assert asked == ([("F1", "settle", False)] if expected else [])


def test_the_strictest_duty_in_force_holds_and_an_ended_one_does_not():
    rows = [
        {"fixmedins_type": "pharmacy", "duty": "collect", "begndate": date(2025, 1, 1), "enddate": None},
        {"fixmedins_type": "pharmacy", "duty": "pay", "begndate": date(2025, 3, 1), "enddate": date(2025, 3, 31)},
    ]
    own = pl.DataFrame(rows, {"fixmedins_type": pl.String, "duty": pl.String, "begndate": pl.Date, "enddate": pl.Date})
    own = own.with_columns(admdvs=pl.lit(None, pl.String), hosp_lv=pl.lit(None, pl.String))
    days = ("2025-02-28", "2025-03-31", "2025-04-01")
    asked = due_lines(
        lines(*({"fee_ocur_time": f"{d} 09:00:00"} for d in days)), codes(), SITES, IDENTIFIERS, None, own
    )
    assert asked["duty"].to_list() == ["collect", "pay", "collect"]


def test_an_areas_duty_holds_for_what_lies_in_it_and_nowhere_else():
    assert duties_of(SITES["fixmedins_code"], SITES, DUTIES).filter(pl.col("begndate") < date(2025, 7, 1))[
        "fixmedins_code"
    ].unique().sort().to_list() == ["H1", "H2", "P1"]


@pytest.mark.parametrize(
    ("scan", "coded"),
    [
        ({}, True),
        ({"drug_trac_codg": "(01)06901234567892(21)A1"}, True),
        ({"drug_trac_codg": NINES, "trdn_flag": "1"}, True),  # the placeholder of a split pack
        ({"drug_trac_codg": NINES}, False),
        ({"drug_trac_codg": EAN}, False),  # the barcode of the product is no trace code
        ({"event_type": "return"}, False),
        ({"feedetl_sn": "F9"}, False),
    ],
)
def test_what_counts_as_a_code_for_a_line(scan, coded):
    assert due(lines({}), codes({"feedetl_sn": "F1"} | scan)) == [("F1", "settle", coded)]


def test_services_code_free_drugs_and_returns_are_due_no_code():
    bill = lines({"med_list_codg": SERVICE}, {"med_list_codg": FREE, "fee_ocur_time": "2025-08-31 10:00:00"},
                 {"med_list_codg": FREE, "fee_ocur_time": "2025-09-01 10:00:00"}, {"cnt": "-1"},
                 {"fee_ocur_time": None})  # fmt: skip
    assert due(bill, codes()) == [("F3", "settle", False)]


def test_coverage_counts_lines_and_money_by_institution_month_and_duty():
    bill = lines({"det_item_fee_sumamt": 1000}, {"det_item_fee_sumamt": 250}, {"fixmedins_code": "H3"})
    found = due_lines(bill, codes({"feedetl_sn": "F1"}), SITES, IDENTIFIERS, None, DUTIES)
    assert coverage(found, bill.select("feedetl_sn", "det_item_fee_sumamt")).sort("fixmedins_code").rows() == [
        ("H3", "2025-09", "settle", 1, 0, 0, 0),
        ("P1", "2025-09", "settle", 2, 1, 1250, 1000),
    ]


@given(st.lists(st.tuples(st.sampled_from(["P1", "H1", "H3"]), st.integers(1, 9), st.booleans()), max_size=8),
       st.randoms(use_true_random=False))  # fmt: skip
def test_neither_the_order_of_lines_nor_of_codes_matters(rows, chance):
    bill = [{"feedetl_sn": f"F{n}", "fixmedins_code": site, "fee_ocur_time": f"2025-0{month}-15 10:00:00"}
            for n, (site, month, _) in enumerate(rows)]  # fmt: skip
    scans = [{"feedetl_sn": f"F{n}"} for n, (_, _, scanned) in enumerate(rows) if scanned]
    if not rows:
        return
    straight = due(lines(*bill), codes(*scans))
    chance.shuffle(bill)
    chance.shuffle(scans)
    assert due(lines(*bill), codes(*scans)) == straight


def settled(without_code: dict, level: str = "3", day: str = "2025-09-01") -> pl.DataFrame:
    """One stay of two drugs of 100.00 at 60 %, a code scanned for the first."""
    stay = {"visit_kinds": ["inpatient"], "ratio": {"2025-01-01": {"value": "60"}}}
    policy = Policy.model_validate({"name": "p", "groups": {"职工": {"psn_types": ["11*"]}}, "benefits": {"i": stay},
                                    "without_code": without_code})  # fmt: skip
    region = dataclasses.replace(load_region(judging=False), policy=policy)
    claim = {"setl_id": "S1", "psn_no": "P1", "psn_type": "11", "visit_kind": "inpatient", "hosp_lv": level,
             "fixmedins_code": f"H{level}", "setl_time": f"{day} 12:00:00", "medfee_sumamt": 20000}  # fmt: skip
    bill = [{"feedetl_sn": f"F{n}", "setl_id": "S1", "med_list_codg": DRUG, "chrgitm_lv": "01", "cnt": "1",
             "pric": "100", "det_item_fee_sumamt": 10000, "fee_ocur_time": f"{day} 10:00:00"}
            for n in (1, 2)]  # fmt: skip
    tables = {
        "claims": frame_of("claims", [claim]), "fee_lines": frame_of("fee_lines", bill), "institutions": SITES,
        "drug_identifiers": IDENTIFIERS, buckets.LINE_CODES: codes({"feedetl_sn": "F1", "setl_id": "S1"}),
    }  # fmt: skip
    return stages.settled(tables, region)


@pytest.mark.parametrize(
    ("without_code", "fund"),
    [
        ({}, 12000),  # 只统计, 照付: 200.00 x 60%
        ({"2025-01-01": {"value": "refuse"}}, 6000),  # 没有码的一行全自费: 100.00 x 60%
        ({"2025-01-01": {"value": "by_duty"}}, 6000),
        ({"2025-10-01": {"value": "refuse"}}, 12000),  # 政策次月才起
    ],
)
def test_a_line_without_a_due_code_is_not_paid_where_the_policy_says_so(without_code, fund):
    assert settled(without_code)["hifp_pay_fen"].to_list() == [fund]


def test_before_the_duty_begins_every_line_is_paid():
    assert settled({"2025-01-01": {"value": "refuse"}}, day="2025-06-30")["hifp_pay_fen"].to_list() == [12000]
