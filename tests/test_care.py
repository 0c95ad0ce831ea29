"""Care for codes: what is misspelt, unknown, of another edition or does not fit the patient is said, never mended."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from sample_scheme import write_scheme
from test_grouping import one, tables_of

from engine.grouping.care import CHECKS, check_rows
from engine.grouping.codes import cleaned
from engine.grouping.group import group_and_check
from engine.grouping.scheme import load_scheme
from engine.tables.outputs import outputs
from engine.tables.problems import RuleProblem

REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "chs-drg-1.1"
NAMED = ["I21.000", "I50.900", "E11.900", "C56.x00", "C61.x00", "P22.000"]
BOOKS = {
    "icd10_names": "code,name\n" + "".join(f"{code},名称\n" for code in NAMED),
    "icd9_names": "code,name\n36.0600,支架\n65.3100,卵巢切除\n",
    "icd10_map": "from,to\nI50.900x777,I50.900\nI50.900,I50.900\nE11.900x001,-\n",
    "icd9_map": "from,to\n36.0601,36.0600\n",
}


@pytest.fixture(scope="module")
def booked(tmp_path_factory):
    return load_scheme(write_scheme(tmp_path_factory.mktemp("booked"), **BOOKS))


def coding(*given) -> pl.DataFrame:
    return group_and_check(*given)[1]


def remarks(scheme, **stay) -> list[str]:
    why = one(scheme, **stay)["why"]
    return why.partition("编码检查：")[2].removesuffix("。").split("；") if "编码检查" in why else []


def test_a_stay_coded_well_has_no_remark(booked):
    assert remarks(booked, dx=["I21.000", "E11.900"], proc=["36.0600"]) == []


@pytest.mark.parametrize("written", ["i50.9", "I50.9", "Ｉ50.900", "I50 .900", "I50900"])
def test_a_code_written_otherwise_is_said_and_only_grouped_otherwise_where_the_scheme_says_so(
    tmp_path, booked, written
):
    assert remarks(booked, dx=[written]) == [f"{written} 规范写法为 I50.900，仍按原写法分组"]
    assert one(booked, dx=[written])["status"] == "ungrouped"
    lenient = load_scheme(write_scheme(tmp_path, **BOOKS, options="normalise_codes: 'yes'\n"))
    assert remarks(lenient, dx=[written]) == [f"{written} 规范写法为 I50.900，已按规范写法分组"]
    assert one(lenient, dx=[written])["drg"] == "FR25"


def test_dual_codes_are_spelt_with_a_plus_whatever_stands_between_their_halves():
    written = pl.Series(["A17.001†G01*", "A17.001†+G01*", "A17.001/G01*", "a17.001 + g01*", "A17.001+G01*"])
    assert cleaned(written, normalise=True).unique().to_list() == ["A17.001+G01*"]


def test_codes_in_the_national_spelling_are_left_as_they_are():
    written = pl.Series(["I21.000", "I10.x00", "I10.x00x002", "03.1x00x001", "36.0601", "A17.001+G01*", "M48.5x01"])
    assert cleaned(written, normalise=True).equals(written)
    assert cleaned(written.str.to_uppercase(), normalise=True).equals(written)
    assert cleaned(written.str.to_lowercase(), normalise=True).equals(written)


def test_every_published_code_is_in_the_national_spelling_already():
    if not REFERENCE.is_dir():
        pytest.skip("the CHS-DRG 1.1 tables (../shared/data/chs-drg-1.1) are not here")
    for name in ("icd10_names", "icd9_names"):
        codes = pl.read_csv(REFERENCE / f"{name}.csv", infer_schema=False)["code"]
        changed = codes.filter(cleaned(codes, normalise=True) != codes)
        assert changed.to_list() == []


def test_a_code_of_the_clinical_edition_is_named_with_the_code_it_would_become(booked):
    assert remarks(booked, dx=["I50.900x777"]) == ["I50.900x777 是国临版编码，ICD-10 医保版为 I50.900，未转换"]
    assert remarks(booked, dx=["I21.000"], proc=["36.0601"]) == [
        "36.0601 是国临版编码，ICD-9-CM-3 医保版为 36.0600，未转换"
    ]
    assert one(booked, dx=["I50.900x777"])["status"] == "ungrouped"


def test_codes_are_converted_only_where_the_scheme_says_so_and_each_conversion_is_told(tmp_path):
    scheme = load_scheme(write_scheme(tmp_path, **BOOKS, options="convert_codes: 'yes'\n"))
    row = one(scheme, dx=["I50.900x777", "E11.900x001", "I50.900"])
    assert row["drg"] == "FR25"
    assert "主要诊断 I50.900" in row["why"]
    told = remarks(scheme, dx=["I50.900x777", "E11.900x001", "I50.900"])
    assert told == ["E11.900x001 按转换表不采用", "I50.900x777 由国临版转为医保版 I50.900"]


def test_a_code_in_no_edition_is_named(booked):
    assert remarks(booked, dx=["I21.000", "Z99.999"]) == ["Z99.999 不在ICD-10 医保版编码表"]


@pytest.mark.parametrize(
    ("stay", "remark"),
    [
        ({"dx": ["C56.x00"], "gend": "1"}, "C56.x00 女性生殖器官恶性肿瘤，病人为男性"),
        ({"dx": ["C61.x00"], "gend": "2"}, "C61.x00 男性生殖器官恶性肿瘤，病人为女性"),
        ({"dx": ["I21.000"], "proc": ["65.3100"], "gend": "1"}, "65.3100 女性生殖器官手术，病人为男性"),
        ({"dx": ["P22.000"], "age": 1}, "P22.000 起源于围生期的编码，病人 1 岁"),
    ],
)
def test_a_code_that_does_not_fit_sex_or_age_is_a_remark(booked, stay, remark):
    assert remarks(booked, **stay) == [remark]
    fitting = {"gend": "2" if stay.get("gend") == "1" else "1", "age": 0, "nwb_age": 5} if "age" in stay else {}
    fitting = fitting or {"gend": "2" if stay["gend"] == "1" else "1"}
    assert remarks(booked, **stay | fitting) == []


def test_what_never_stands_as_the_principal_diagnosis_is_a_remark_there_and_nowhere_else(mini):
    assert remarks(mini, dx=["W19.900"]) == ["W19.900 外因编码，不能作主要诊断"]
    assert remarks(mini, dx=["I21.000", "W19.900"]) == []
    assert remarks(mini, dx=["G01*"]) == ["G01* 星号编码（疾病的表现），不能作主要诊断"]
    assert remarks(mini, dx=["A17.000+G01*"]) == []


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return load_scheme(write_scheme(tmp_path_factory.mktemp("mini")))


def test_a_schemes_own_cautions_take_the_place_of_ours(tmp_path):
    own = "kind,code,caution,value,note,source\ndx,I21%,grey,,已停用,本地\ndx,I50.900,from_age,40,老年病,本地\n"
    scheme = load_scheme(write_scheme(tmp_path, cautions=own))
    assert remarks(scheme, dx=["I21.000"]) == ["I21.000 是灰码：已停用"]
    assert remarks(scheme, dx=["I50.900"], age=39) == ["I50.900 老年病，病人 39 岁"]
    assert remarks(scheme, dx=["I50.900"], age=40) == []
    assert remarks(scheme, dx=["C56.x00"], gend="1") == []


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ("dx,I21%,gray,,停用,本地", "cautions.csv:2 [caution]"),
        ("diag,I21%,grey,,停用,本地", "cautions.csv:2 [kind]"),
        ("dx,I21%,from_age,x,停用,本地", "cautions.csv:2 [value]"),
    ],
)
def test_a_damaged_caution_is_refused_where_it_stands(tmp_path, row, where):
    with pytest.raises(RuleProblem, match=where.replace("[", r"\[").replace("]", r"\]")):
        load_scheme(write_scheme(tmp_path, cautions=f"kind,code,caution,value,note,source\n{row}\n"))


def test_the_checks_count_stays_and_say_which_could_not_be_made(booked, mini):
    stays = [{"dx": ["I50.900"]}, {"dx": ["i50.9", "i50.9"]}, {"dx": ["I50.9"]}, {"dx": ["C56.x00"]}, {"dx": []}]
    told = coding(*tables_of(*stays), booked)
    rows = check_rows(pl.concat([told, told]), booked.book)  # two parts of a run
    assert rows.columns == list(outputs()["checks"])
    by_check = {row["check_id"]: row for row in rows.to_dicts()}
    assert list(by_check) == list(CHECKS)
    assert {c: r["verdict"] for c, r in by_check.items() if r["verdict"] != "pass"} == {
        "G1": "fail", "G4": "not_checkable", "G5": "fail", "G8": "fail", "G9": "not_checkable",
    }  # fmt: skip
    assert (by_check["G1"]["rows"], by_check["G1"]["value"]) == (4, "4 例住院")
    assert (
        by_check["G1"]["detail"] == "I50.9 规范写法为 I50.900，仍按原写法分组；i50.9 规范写法为 I50.900，仍按原写法分组"
    )
    assert by_check["G8"]["rows"] == 2
    without = {row["check_id"]: row for row in check_rows(coding(*tables_of(*stays), mini), mini.book).to_dicts()}
    assert without["G2"]["verdict"] == without["G3"]["verdict"] == "not_checkable"
    assert "icd10_names.csv" in without["G2"]["detail"]


def test_rows_in_any_order_give_the_same_remarks(booked):
    stays = [{"dx": ["i50.9", "C56.x00", "Z99.999"], "proc": ["36.0601", "65.3100"]}, {"dx": ["W19.900", "I50.9"]}]
    claims, diagnoses, procedures = tables_of(*stays)
    turned = coding(claims[::-1], diagnoses[::-1], procedures[::-1], booked)
    assert turned.equals(coding(claims, diagnoses, procedures, booked))


def test_a_stay_that_left_outside_the_days_a_scheme_is_meant_for_is_said(tmp_path):
    scheme = load_scheme(write_scheme(tmp_path, options="begndate: 2026-01-01\nenddate: 2026-03-09\n"))
    told = "2026-03-10 出院，方案适用于 2026-01-01 起 2026-03-09 止的出院病例"
    assert remarks(scheme, dx=["I21.000"], endtime=datetime(2026, 3, 10, 8)) == [told]
    assert remarks(scheme, dx=["I21.000"], endtime=datetime(2026, 3, 9, 8)) == []
    assert remarks(scheme, dx=["I21.000"], endtime=None) == []
    with pytest.raises(RuleProblem, match="2026-13-01"):
        load_scheme(write_scheme(tmp_path / "b", options="begndate: 2026-13-01\n"))
