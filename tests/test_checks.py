"""The official extract checks and the arithmetic identities: each passes on sound data and fails on its own damage."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.tables.checks import checks
from engine.tables.read import read

SHARED = Path(__file__).parents[2] / "shared" / "data" / "sample-hospital"

CLAIM = {
    "HOSPITAL_ID": "H1", "HOSPITAL_NAME": "甲", "HISID": "M1", "BILL_DATE": "2025-01-05 10:00:00", "PATIENT_ID": "P1",
    "SOCIAL_ID": "S1", "MZH": "1", "ADMISSION_DEPT_ID": "1", "ADMISSION_DEPT_NAME": "内科", "DOCTOR_NAME": "李",
    "ID_CARD": "110101198001011239", "PATIENT_GENDER": "女", "PATIENT_BIRTHDAY": "1980-01-01", "PATIENT_AGE": "45",
    "CLAIM_TYPE": "普通门诊", "IF_LOCAL_FLAG": "本地", "ADMISSION_DATE": "2025-01-05 09:00:00",
    "OUTPATIENT_DISEASE_ID": "I10.x00", "ADMISSION_DISEASE_NAME": "高血压", "TOTAL_AMOUNT": "10.00",
    "BMI_PAY_AMOUNT": "6.00", "MEDICAL_INSURANCE_FLAG": "0", "REFUND_FLAG_TYPE": "0", "REFUND_HISID": "",
}  # fmt: skip
LINE = {
    "HOSPITAL_ID": "H1", "HOSPITAL_NAME": "甲", "HISID": "M1", "DISCHARGE_DEPT_ID": "1", "DISCHARGE_DEPT_NAME": "内科",
    "BILLING_TIME": "2025-01-05 09:30:00", "EXCUTE_DEPT_ID": "1", "EXCUTE_DEPT_NAME": "内科",
    "USAGE_DATE": "2025-01-05 09:30:00", "DOCTOR_NAME": "李", "BILL_DATE": "2025-01-05 10:00:00", "PRESCRIPTION": "R1",
    "P_CATEGORY": "诊查费", "ITEM_ID_HOSP": "F1", "ITEM_NAME_HOSP": "诊查", "ITEM_ID": "0011", "ITEM_NAME": "诊查",
    "DRUG_SPEC": "", "DOSAGE_FORM": "", "PACKAGE_UNIT": "次", "UNIT_PRICE": "5.00", "NUM": "2.00", "COST": "10.00",
    "SELF_PAY_LIMIT": "0.00", "BMI_CONVERED_AMOUNT": "10.00", "P_TYPE": "甲", "P_TYPE_PCT": "1.00",
    "REFUND_FLAG_TYPE": "否", "REFUND_HISID": "",
}  # fmt: skip


def pair(number: int, month: int = 1, **changes) -> tuple[dict, dict]:
    """A claim and its line, settled in that month; changes apply to whichever knows the column."""
    stamp = {"HISID": f"M{number}", "BILL_DATE": f"2025-{month:02}-05 10:00:00"} | changes
    return tuple(row | {k: v for k, v in stamp.items() if k in row} for row in (CLAIM, LINE))


def verdicts(
    folder: Path, pairs: list[tuple[dict | None, dict | None]], declared: dict | None = None
) -> dict[str, str]:
    source = folder / "in"
    source.mkdir()
    for name, place in (("SETTLE_MZ", 0), ("SETTLE_MZ_DETAIL", 1)):
        rows = [p[place] for p in pairs if p[place]]
        pl.DataFrame(rows).write_csv(source / f"{name}.csv")
    return dict(checks(read(source, folder / "work"), declared).select("check_id", "verdict").iter_rows())


SOUND = [pair(1, 1), pair(2, 2), pair(3, 3)]


def test_a_sound_extract_passes_what_can_be_checked(tmp_path):
    found = verdicts(tmp_path, SOUND)
    assert {c: found[c] for c in ("V01", "V02", "V11", "V12")} == dict.fromkeys(
        ("V01", "V02", "V11", "V12"), "not_checkable"
    )
    assert {found[f"V{n:02}"] for n in range(3, 11)} == {"pass"}
    assert found["L1"] == found["L3"] == found["L5"] == found["A8"] == "pass"


DAMAGE = {
    "V03": [*SOUND, pair(4, COST="11.00")],
    "V04": [*SOUND, (pair(4)[0], None)],
    "V05": [*SOUND, (None, pair(9)[1])],
    "V06": [*SOUND, pair(3, 3)],
    "V07": [*SOUND, (pair(4)[0], pair(4)[1] | {"BILL_DATE": "2019-01-01 00:00:00"})],
    "V08": [SOUND[0], SOUND[2]],
    "V09": [*SOUND, pair(4, TOTAL_AMOUNT="-10.00", COST="-10.00", NUM="-2")],
    "V10": [*SOUND, pair(4, DOCTOR_NAME="")],
    "L1": [*SOUND, pair(4, UNIT_PRICE="7.00")],
    "L3": [*SOUND, pair(4, P_TYPE="丙")],
    "L5": [*SOUND, pair(4, COST="9.00")],
    "A8": [*SOUND, pair(4, BMI_PAY_AMOUNT="-1.00")],
}


@pytest.mark.parametrize("check", DAMAGE)
def test_each_check_fails_on_its_own_damage(tmp_path, check):
    assert verdicts(tmp_path, DAMAGE[check])[check] == "fail"


BLANKS = {
    "a self-pay patient": {
        "MEDICAL_INSURANCE_FLAG": "1", "SOCIAL_ID": "", "ITEM_ID": "", "ITEM_NAME": "", "P_TYPE": "", "P_TYPE_PCT": "",
    },
    "a row that is no drug": {"DRUG_SPEC": "", "DOSAGE_FORM": ""},
    "a row that is no refund": {"REFUND_HISID": ""},
}  # fmt: skip


@pytest.mark.parametrize("case", BLANKS)
def test_what_the_form_itself_leaves_blank_is_not_missing(tmp_path, case):
    assert verdicts(tmp_path, [*SOUND, pair(4, **BLANKS[case])])["V10"] == "pass"


@pytest.mark.parametrize("changes", [{"P_CATEGORY": "西药费"}, {"REFUND_FLAG_TYPE": "是"}, {"ITEM_ID": ""}])
def test_what_is_required_of_drugs_refunds_and_insured_patients_is_missing(tmp_path, changes):
    assert verdicts(tmp_path, [*SOUND, pair(4, **changes)])["V10"] == "fail"


def test_negative_amounts_of_refunds_are_in_order(tmp_path):
    refund = pair(4, TOTAL_AMOUNT="-10.00", COST="-10.00", NUM="-2", REFUND_HISID="M1", BMI_PAY_AMOUNT="-6.00")
    refund = tuple(r | {"REFUND_FLAG_TYPE": "1"} for r in refund)
    found = verdicts(tmp_path, [*SOUND, refund])
    assert found["V09"] == found["A8"] == "pass"


def test_declared_figures_are_compared(tmp_path):
    declared = {"rows": {"SETTLE_MZ": 3, "SETTLE_MZ_DETAIL": 3}, "total_fen": 3000, "insurer_fen": 2999}
    found = verdicts(tmp_path, SOUND, declared)
    assert (found["V02"], found["V11"], found["V12"]) == ("pass", "pass", "fail")


def test_a_declared_range_is_what_dates_and_months_are_measured_by(tmp_path):
    found = verdicts(tmp_path, SOUND, {"from": date(2025, 1, 1), "to": date(2025, 2, 28)})
    assert (found["V07"], found["V08"]) == ("fail", "pass")


def test_a_canonical_bundle_is_checked_too(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "claims.csv").write_text(
        "setl_id,psn_no,fixmedins_code,med_type,begntime,setl_time,medfee_sumamt,fund_pay_sumamt,psn_part_amt,acct_pay,psn_cash_pay\n"
        "S1,P1,H1,11,2025-01-01,2025-01-01,10.00,6.00,4.00,1.00,2.00\n"
    )
    (source / "fee_lines.csv").write_text(
        "feedetl_sn,setl_id,fee_ocur_time,cnt,pric,det_item_fee_sumamt\nL1,S1,2025-01-01,1,10.00,10.00\n"
    )
    found = dict(checks(read(source, tmp_path / "work")).select("check_id", "verdict").iter_rows())
    assert {found[f"V{n:02}"] for n in range(3, 11)} == {"pass"}
    assert (found["A1"], found["A4"], found["A5"]) == ("pass", "fail", "not_checkable")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample hospital is not beside this checkout")
def test_the_sample_hospital_is_judged_as_its_key_says(tmp_path):
    key = json.loads((SHARED / "key.json").read_text("utf-8"))
    extract = read(SHARED, tmp_path)
    found = dict(checks(extract).select("check_id", "verdict").iter_rows())
    assert {c: found[c] for c in key["official_checks"]} == {c: v["verdict"] for c, v in key["official_checks"].items()}
    assert {i["table"]: i["accepted"] for i in extract.inputs} == {
        n: f["rows"] for n, f in key["control"]["files"].items()
    }
    must = {(d["file"], d["physical_line"]) for d in key["defects"] if d["bucket"] == "rejected"}
    assert set(extract.rejects.select("file", "line").iter_rows()) == must
    main = {i["table"]: i["control_totals"] for i in extract.inputs if i["role"] == "main"}
    assert {t: c["fund_pay_sumamt"] for t, c in main.items()} == key["control"]["fund_fen"]
