"""The converter from an answer key to the files of a region: on a small key of our own, and on the sample's."""

import json
import re
from pathlib import Path

import pytest
import sample_region
import yaml

from engine.reference.knowledge import load_knowledge

KEY = Path(__file__).parents[2] / "shared" / "data" / "sample-hospital" / "key.json"

OWN_KEY = {
    "bundle": {"period": ["2031-01-01", "2031-12-31"]},
    "cases": [{"case": "A01-01", "hisids": ["SECRET-HISID-1", "SECRET-HISID-2"]}],
    "region": {
        "account_opening_fen": {"P-7": 123405},
        "catalogue": {
            "S1": {"name": "床位", "payment_class": "甲", "first_pay_pct": 0, "pay_limit_fen": None,
                   "charge_category": "01", "unit": "日", "dosage_form": "", "stock_item": False},
            "D1": {"name": "某药", "payment_class": "乙", "first_pay_pct": 12.5, "pay_limit_fen": 1750,
                   "charge_category": "09", "unit": "支", "dosage_form": "注射剂", "stock_item": True, "colour": "红"},
        },
        "guide_price_fen_by_item_and_level": {"S1": {"1": 3205, "3": 4000}},
        "drug_days_per_billing_unit": {"D1": {"generic": "某", "days": 7}},
        "item_sets": {"our_beds": ["S1"], "exercise": ["S9"]},
        "icd_lists": {"planned": ["Z51"], "B05_indicated": ["C"]},
        "non_medical_names": ["陪护费"],
        "duplicate_pairs": [{"rule": "D01", "main": "S1", "included": "S2", "window": "stay", "main_name": "床位",
                             "included_name": "乙项", "note": ""}],
        "bundle_substitutions": [{"rule": "J03", "items": ["S1", "S2"], "window": "day", "instead": "S3"}],
        "same_incision_groups": {"胃肠": ["S4", "S5"]},
        "addon_items": [{"rule": "E08", "base": "S1", "addon": "S2"}],
        "device_operations": [{"icd9_prefix": "36.07", "item_ids": ["C1", "C2"]}],
        "age_limits": [{"rule": "G04", "item_id": "S1", "max_age_years_by_sex": {"男": 60, "女": 55}},
                       {"rule": "G03", "item_id": "D1", "max_age_days": 28}],
        "sex_limits": [{"rule": "G01", "item_id": "D1", "allowed_sex": "女", "surprise": 1}],
        "insurance_limits": [{"rule": "G10", "item_id": "D1", "only_payable_under": "生育"},
                             {"rule": "G10", "item_id": "S1", "only_payable_under": "工伤",
                              "payable_under_basic_medical": True}],
        "course_limits": [{"rule": "K01", "item_id": "S1", "max_days": 90, "scope": "stay",
                           "counted": "first_to_last_day"}],
        "frequency_limits": [{"rule": None, "item_id": "S1", "max_per_day": 1, "unit": "日", "source": "national"}],
        "period_limits": [{"rule": "K02", "item_id": "S1", "max_count": 1, "window_days": 14, "scope": "stay",
                           "min_gap_days": 14}],
        "maps": {"BENEFIT_GROUP_ID": {"在岗": "在职职工"}, "CLAIM_TYPE": {"住": "inpatient", "门": "general_outpatient",
                 "慢": "chronic_outpatient"}, "P_CATEGORY": {"床费": "01"}, "charge_category_names": {"01": "床位费"},
                 "MOOD": {"好": "1"}, "intensive_care_wards": ["ICU"]},
        "unheard_of": 3,
        "policy": {
            "inpatient": {"deductible_fen": {"1": 20000}, "second_and_later_admission_factor_pct": 50,
                          "ratio_pct": {"在职职工": {"1": 90}}},
            "outpatient": {
                "general": {"claim_types": ["门"], "annual_deductible_fen": {"在职职工": 30000},
                            "ratio_pct": {"在职职工": {"1": 70}}, "annual_pool_cap_fen": {"在职职工": 300000}},
                "chronic": {"claim_types": ["慢"], "ratio_pct": {"在职职工": {"1": 85}}},
            },
            "remote_ratio_minus_points": 10,
            "annual_fund_cap_fen": {"在职职工": 4000000},
        },
    },
    "rule_parameters": {
        "A01": {"window_days": 12, "exempt_icd_list": "planned", "exempt_kinds_of_visit": ["emergency_inpatient"]},
        "A03": {"max_gap_days": 1, "exempt_discharge_status": ["2", "3", "4"]},
        "C03": {"max_days": {"general_outpatient": 9, "discharge": 30}, "exempt_item_prefixes": ["ZA07"]},
        "D04": {"item_set": "our_beds", "max_per_day": 1, "batch_posting": True},
        "E04": {"tolerance_fen": 5, "insured_only": True, "without_names_of": "non_medical_names"},
        "E10": {"days_after_discharge": {"03": 1, "04": 2}, "days_after_discharge_other": 0},
        "G": {"insured_only": True, "age_from": "PATIENT_AGE"},
        "L17": {"anaesthesia": "全身麻醉", "base_units": 1},
        "M11": {"table": "device_operations"},
        "batch_posting": {"rules": ["D04", "J01"], "lookback_days": 1, "charged_on_any_of_day_offsets": [-2, 1],
                          "notes": "…"},
        "pairs": {"windows": {"hour": {"less_than_minutes": 60}, "6h": {"at_most_minutes": 360}}},
        "body_region": {"brackets": ["()", "【】"]},
    },
}  # fmt: skip

RULES = {
    1: ("readmission", {"window_days", "exempt_visit_kinds"}),
    3: ("transfer", {"exempt_dscg_ways"}),
    19: ("days", {"max_days_general_outpatient", "max_days_discharge"}),
    27: ("bed-twice", {"max_per_day", "batch_posting"}),
    36: ("price", {"tolerance_yuan", "insured_only"}),
    42: ("outside", {"late_categories", "late_days", "days_after_discharge"}),
    50: ("sex", {"insured_only"}),
    106: ("anaesthesia", {"anaesthesia_ways", "base_units"}),
}


@pytest.fixture
def rules(tmp_path):
    folder = tmp_path / "rules" / "family"
    folder.mkdir(parents=True)
    for number, (slug, names) in RULES.items():
        params = {name: {"type": "text", "default": "0"} for name in names}
        rule = {"id": slug, "number": str(number), "params": params}
        (folder / f"{slug}.yaml").write_text(yaml.safe_dump(rule), "utf-8")
    return folder.parent


@pytest.fixture
def region(tmp_path, rules):
    """What the converter makes of our own key: its params, its knowledge as loaded, and what found no place."""
    folder = tmp_path / "region"
    left = sample_region.write_region(OWN_KEY, folder, rules)
    return yaml.safe_load((folder / "params.yaml").read_text("utf-8")), load_knowledge([folder / "knowledge"]), left


def records(frame, *columns):
    return frame.select(columns).rows()


def test_rule_codes_become_numbers_by_family():
    codes = {"A01": 1, "B03": 11, "D01": 24, "E10": 42, "G13": 62, "L17": 106, "M17": 127, "G": None, "pairs": None}
    assert {code: sample_region.rule_number(code) for code in codes} == codes


def test_parameters_come_under_our_names_and_as_text(region):
    params = region[0]
    assert params["readmission"] == {"window_days": "12", "exempt_visit_kinds": ["emergency_inpatient"]}
    assert params["days"] == {"max_days_general_outpatient": "9", "max_days_discharge": "30"}
    assert params["bed-twice"] == {"max_per_day": "1", "batch_posting": "true"}
    assert params["price"] == {"tolerance_yuan": "0.05", "insured_only": "true"}
    assert params["outside"] == {"late_categories": ["03", "04"], "late_days": "2", "days_after_discharge": "0"}
    assert params["sex"] == {"insured_only": "true"}
    assert params["anaesthesia"] == {"anaesthesia_ways": ["全身麻醉"], "base_units": "1"}


def test_discharge_ways_are_national_codes(region):
    assert region[0]["transfer"] == {"exempt_dscg_ways": ["2", "4", "5"]}


def test_facts_all_rules_share_stand_under_engine(region):
    assert region[0]["engine"] == {
        "batch_posting": {"rules": ["bed-twice"], "lookback_days": "1", "charged_on_any_of_day_offsets": ["-2", "1"]},
        "pair_windows": {"hour_less_than_minutes": "60", "6h_at_most_minutes": "360"},
        "body_region_brackets": ["()", "【】"],
    }


def test_money_and_shares_reach_the_catalogue_exactly(region):
    row = {r["med_list_codg"]: r for r in region[1]["catalogue"].iter_rows(named=True)}["D1"]
    assert (row["chrgitm_lv"], str(row["selfpay_prop"]), row["pay_limit"]) == ("02", "0.1250", 1750)
    assert (row["dosform_name"], row["stock_item"]) == ("注射剂", "1")
    caps = records(region[1]["price_caps"], "med_list_codg", "name", "hosp_lv", "pric_uplmt_amt")
    assert [(*rest, str(price)) for *rest, price in caps] == [
        ("S1", "床位", "1", "32.050000"), ("S1", "床位", "3", "40.000000")]  # fmt: skip
    assert records(region[1]["account_openings"], "psn_no", "year", "acct_balc") == [("P-7", 2031, 123405)]


def test_limits_become_rows_of_our_tables(region):
    known = region[1]
    assert records(known["pairs"], "rule", "main", "included", "window") == [(24, "S1", "S2", "visit")]
    assert records(known["age_limits"], "rule", "med_list_codg", "max_years", "max_days", "gend") == [
        (52, "D1", None, 28, None), (53, "S1", 60, None, "1"), (53, "S1", 55, None, "2")]  # fmt: skip
    assert records(known["sex_limits"], "rule", "gend") == [(50, "2")]
    assert records(known["insurance_limits"], "med_list_codg", "only") == [("D1", "maternity")]
    assert records(known["course_limits"], "max_days", "per", "counted") == [(90, "visit", "span")]
    assert records(known["frequency_limits"], "rule", "grade") == [(None, "national")]
    assert records(known["period_limits"], "rule", "window_days", "per") == [(86, 14, "visit")]
    assert records(known["bundles"], "rule", "med_list_codg", "instead") == [(82, "S1", "S3"), (82, "S2", "S3")]
    assert records(known["incision_groups"], "group", "med_list_codg") == [("胃肠", "S4"), ("胃肠", "S5")]
    assert known["addons"]["rule"].to_list() == [40]
    assert records(known["device_operations"], "rule", "med_list_codg") == [(121, "C1"), (121, "C2")]


def test_a_table_the_key_does_not_have_is_empty_rather_than_ours(region):
    assert region[1]["level_limits"].is_empty() and region[1]["indications"].is_empty()


def test_lists_become_the_concepts_our_rules_name(region):
    known = region[1]
    assert known.codes("beds") == ["S1"]
    assert known.codes("exercise") == ["S9"]
    assert known.codes("readmission_exempt_icd") == ["Z51"]
    assert known.codes("tumour_indicated_icd") == ["C"]
    assert known.codes("prescription_days_exempt") == ["ZA07"]
    assert known.codes("non_medical_names") == ["陪护费"]
    assert known.codes("intensive_care_wards") == ["ICU"]
    assert not {"planned", "our_beds", "B05_indicated"} & set(known.concepts)


def test_words_of_the_hospitals_become_wordings(region):
    wordings = region[1]["wordings"].filter(grade="region")
    assert set(records(wordings, "field", "wording", "value")) == {
        ("claims.psn_type", "在岗", "在职职工"),
        ("claims.visit_kind", "住", "inpatient"),
        ("claims.visit_kind", "门", "general_outpatient"),
        ("claims.visit_kind", "慢", "chronic_outpatient"),
        ("fee_lines.med_chrgitm_type", "床费", "01"),
        ("fee_lines.med_chrgitm_type", "床位费", "01"),
    }


def test_what_has_no_place_is_named(region):
    left = "\n".join(region[2])
    for name in ("region.unheard_of", "region.maps.MOOD", "region.sex_limits[].surprise", "region.catalogue[].colour",
                 "rule_parameters.G.age_from", "rule_parameters.A03.max_gap_days"):  # fmt: skip
        assert name in left
    for name in ("region.policy", "region.item_sets", "region.non_medical_names", "window_days", "notes"):
        assert name not in left


def test_two_runs_write_the_same_bytes(tmp_path, rules):
    for name in ("one", "two"):
        sample_region.write_region(OWN_KEY, tmp_path / name, rules)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_a_wrong_call_says_how():
    assert sample_region.main([]) == 2


def test_nothing_of_the_cases_is_carried(tmp_path, rules):
    sample_region.write_region(OWN_KEY, tmp_path / "region", rules)
    assert not [name for name, text in _contents(tmp_path / "region").items() if "SECRET-HISID" in text]


@pytest.mark.skipif(not KEY.is_file(), reason="needs ../shared/data/sample-hospital/key.json")
def test_the_sample_key_becomes_a_region_that_loads(tmp_path, capsys):
    assert sample_region.main([str(KEY), str(tmp_path)]) == 0
    key = json.loads(KEY.read_text("utf-8"))
    known = load_knowledge([tmp_path / "knowledge"])
    region = key["region"]
    assert known["catalogue"].height == len(region["catalogue"])
    assert known["pairs"].height == len(region["duplicate_pairs"])
    assert known["account_openings"]["acct_balc"].sum() == sum(region["account_opening_fen"].values())
    assert {c for c in known.concepts if known.codes(c)} >= set(region["item_sets"])
    assert not [line for line in capsys.readouterr().err.splitlines() if "region." in line.split("rule_parameters")[0]]


@pytest.mark.skipif(not KEY.is_file(), reason="needs ../shared/data/sample-hospital/key.json")
def test_no_case_of_the_sample_key_is_carried(tmp_path):
    sample_region.main([str(KEY), str(tmp_path)])
    words = set(re.findall(r"[\w-]+", "\n".join(_contents(tmp_path).values())))
    cases = json.loads(KEY.read_text("utf-8"))["cases"]
    assert not words & {hisid for case in cases for hisid in case.get("hisids", [])}
    assert not words & {case["case"] for case in cases}


def _contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}
