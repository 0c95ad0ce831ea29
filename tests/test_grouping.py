"""Grouping: hand-worked groups of a miniature scheme, a naive second grouper, and parity with the reference records."""

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_scheme import TABLES, write_scheme

from engine.grouping.group import group, group_records
from engine.grouping.scheme import load_scheme
from engine.reference.places import seeds_folder
from engine.tables.dictionary import table

REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "chs-drg-1.1"
STARTER = seeds_folder() / "drg" / "chs-drg-starter"
CLAIM = {"gend": "1", "age": 50, "begntime": datetime(2026, 3, 1, 8), "endtime": datetime(2026, 3, 9, 8)}


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return load_scheme(write_scheme(tmp_path_factory.mktemp("mini")))


def tables_of(*stays: dict) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Canonical frames of stays given as claim fields with dx and proc lists; setl_id is the place in the list."""
    claims, diagnoses, procedures = [], [], []
    for number, stay in enumerate(stays):
        fields = {**CLAIM, **stay, "setl_id": str(number)}
        for seq, code in enumerate(fields.pop("dx", []), 1):
            diagnoses.append({"setl_id": str(number), "seq": seq, "diag_code": code})
        for seq, code in enumerate(fields.pop("proc", []), 1):
            procedures.append({"setl_id": str(number), "seq": seq, "oprn_oprt_code": code})
        claims.append(fields)
    return frame("claims", claims), frame("diagnoses", diagnoses), frame("procedures", procedures)


def frame(name: str, rows: list[dict]) -> pl.DataFrame:
    schema = table(name).schema
    columns = sorted({column for row in rows for column in row} | set(table(name).key))
    return pl.DataFrame(rows, schema={column: schema[column] for column in columns})


def one(scheme, **stay) -> dict:
    return group(*tables_of(stay), scheme).row(0, named=True)


HAND_WORKED = [
    # two procedures anywhere in the record, whichever comes first, beat everything else
    ("AC19", {"dx": ["I21.000"], "proc": ["55.6900", "52.8000"]}),
    # one of the two is not enough: nothing surgical in MDCF fits
    ("FR15", {"dx": ["I21.000"], "proc": ["52.8000"]}),
    # MDCA needs a valid first procedure
    ("FR15", {"dx": ["I21.000"], "proc": ["99.9999", "52.8000", "55.6900"]}),
    # ventilation of 96 hours; or 240 hours of intensive care with a secondary diagnosis of the list
    ("AH19", {"dx": ["Z51.000"], "proc": ["51.2300", "96.7201"], "vent_used_h": Decimal("96")}),
    ("XJ19", {"dx": ["Z51.000"], "proc": ["51.2300", "96.7201"], "vent_used_h": Decimal("95.99")}),
    ("AH19", {"dx": ["Z51.000", "J96.000"], "proc": ["51.2300", "96.7201"], "icu_h": Decimal("240.5")}),
    ("XJ19", {"dx": ["Z51.000"], "proc": ["51.2300", "96.7201"], "icu_h": Decimal("240.5")}),
    # newborns: 28 days is a newborn, 29 is not
    ("PB19", {"dx": ["P59.900"], "proc": ["35.0000"], "age": 0, "nwb_age": 28}),
    ("PV19", {"dx": ["P59.900"], "proc": ["35.0000"], "age": 0, "nwb_age": 29}),
    ("PR19", {"dx": ["P22.000", "P07.000"], "age": 0, "nwb_age": 0, "nwb_bir_wt": 1400}),
    ("PS19", {"dx": ["P59.900", "P07.100"], "age": 0, "nwb_age": 3, "nwb_bir_wt": 1499}),
    ("PS29", {"dx": ["P07.000"], "age": 0, "nwb_age": 3, "nwb_bir_wt": 1500}),
    ("PV19", {"dx": ["P07.000"], "age": 0, "nwb_age": 3, "nwb_bir_wt": 2000}),
    ("PV19", {"dx": ["P07.000"], "age": 0, "nwb_age": 3, "nwb_bir_wt": 0}),
    ("PS39", {"dx": ["P07.000"], "age": 0, "nwb_age": 40, "nwb_adm_wt": 1999}),
    ("0000", {"dx": ["P07.000"], "age": 1}),
    # multiple trauma needs two regions, else the next MDC has its turn
    ("ZZ19", {"dx": ["S06.000", "S27.000"]}),
    ("ZB19", {"dx": ["S06.000", "S72.000"], "proc": ["01.2000"]}),
    ("XR19", {"dx": ["S06.000", "S06.000"]}),
    # a valid operation that fits no trauma group: falls through to the operations of MDCX
    ("XJ19", {"dx": ["S06.000", "S72.000"], "proc": ["51.2300"]}),
    ("ZZ19", {"dx": ["S06.000", "S72.000"], "proc": ["99.9999"]}),
    # sex
    ("MR19", {"dx": ["C61.x00"], "gend": "男"}),
    ("0000", {"dx": ["C61.x00"], "gend": "2"}),
    ("NR19", {"dx": ["C56.x00"], "gend": "2"}),
    # parts: 1, or 2 and 3; a code entered in both counts for its first part only
    ("NA19", {"dx": ["C56.x00"], "gend": "2", "proc": ["99.9999", "68.6000"]}),
    ("NA19", {"dx": ["C56.x00"], "gend": "2", "proc": ["40.5000", "68.4000"]}),
    ("NR19", {"dx": ["C56.x00"], "gend": "2", "proc": ["68.4000"]}),
    # only the main procedure counts for main_proc; the list of another ADRG; an alternative with `or`
    ("FB15", {"dx": ["I21.000"], "proc": ["36.0600"]}),
    ("FR15", {"dx": ["I21.000"], "proc": ["99.9999", "36.0600"]}),
    ("FK19", {"dx": ["I21.000"], "proc": ["37.2200"]}),
    ("FK19", {"dx": ["I50.900", "I21.300"], "proc": ["37.2200"]}),
    ("FR25", {"dx": ["I50.900"], "proc": ["37.2200"]}),
    # a diagnosis of the MDC that no ADRG takes
    ("0000", {"dx": ["I48.900"]}),
    # severity: MCC before CC before none; the exclusion table of the principal; a table that does not exist
    ("FR11", {"dx": ["I21.000", "E11.900", "J96.000"]}),
    ("FR13", {"dx": ["I21.000", "E11.900"]}),
    ("FR11", {"dx": ["I21.000", "E11.100"]}),
    ("FR11", {"dx": ["I21.000", "I50.900"]}),
    ("FR15", {"dx": ["I21.100", "I50.900"]}),
    ("FR13", {"dx": ["I21.100", "I50.900", "I10.x00"]}),
    ("FB15", {"dx": ["I21.000", "E11.900"], "proc": ["36.0600"]}),
    # a DRG split by age
    ("FR2F", {"dx": ["I50.900"], "age": 70}),
    ("FR25", {"dx": ["I50.900"], "age": 69}),
    # length of stay, discharge way and a negated list
    ("XS19", {"dx": ["Z51.100"], "dscg_way": "5", "act_ipt_days": 2}),
    ("XR19", {"dx": ["Z51.100"], "dscg_way": "1", "act_ipt_days": 2}),
    ("XR19", {"dx": ["Z51.100"], "act_ipt_days": 2}),
    ("XR29", {"dx": ["Z51.000"], "dscg_way": "5", "act_ipt_days": 2}),
    ("XR19", {"dx": ["Z51.100"], "dscg_way": "5"}),
]


@pytest.mark.parametrize(("drg", "stay"), HAND_WORKED)
def test_each_kind_of_condition_groups_as_worked_out_by_hand(mini, drg, stay):
    assert one(mini, **stay)["drg"] == drg


def test_a_group_carries_its_codes_weight_and_status(mini):
    row = one(mini, dx=["I21.000", "E11.900"])
    assert (row["scheme"], row["mdc"], row["adrg"], row["drg"]) == (mini.name, "MDCF", "FR1", "FR13")
    assert (str(row["weight"]), row["status"]) == ("1.05000000", "grouped")
    assert one(mini, dx=["I50.900"])["weight"] is None


def test_an_unknown_diagnosis_is_ungrouped_and_a_record_without_basics_invalid(mini):
    row = one(mini, dx=["ZZZ"])
    assert [row[c] for c in ("mdc", "adrg", "drg", "status")] == ["0000", "00", "0000", "ungrouped"]
    for stay, missing in (
        ({"dx": ["I21.000"], "gend": "9"}, "性别"),
        ({"dx": ["I21.000"], "age": None}, "年龄"),
        ({"dx": ["P22.000"], "age": 0}, "天数"),
        ({"dx": []}, "出院诊断"),
        ({"dx": [" "]}, "出院诊断"),
    ):
        row = one(mini, **stay)
        assert [row[c] for c in ("mdc", "adrg", "drg", "status")] == [None, None, None, "invalid"]
        assert missing in row["why"]


def test_age_comes_from_the_claim_else_from_birth_and_admission(mini):
    stay = {"dx": ["I50.900"], "age": None}
    assert one(mini, **stay, brdy=date(1956, 3, 1))["drg"] == "FR2F"
    assert one(mini, **stay, brdy=date(1956, 3, 2))["drg"] == "FR25"
    newborn = {"dx": ["P22.000"], "age": None}
    assert one(mini, **newborn, brdy=date(2026, 2, 1))["drg"] == "PR19"
    assert one(mini, **newborn, brdy=date(2026, 1, 31))["drg"] == "PV19"
    assert one(mini, **newborn, nwb_age=5)["drg"] == "PR19"


def test_the_principal_is_the_flagged_else_the_first_discharge_diagnosis(mini):
    claims, diagnoses, procedures = tables_of({"dx": ["I50.900", "I21.000", "Z51.000"], "proc": ["99.9999", "36.0600"]})

    def drg(**columns):
        given = diagnoses.with_columns(pl.Series(name, values, pl.String) for name, values in columns.items())
        return group(claims, given, procedures, mini)["drg"][0]

    assert drg() == "FR25"
    assert drg(maindiag_flag=["0", "1", "0"]) == "FR11"
    assert drg(diag_stage=["admission", "discharge", None]) == "FR15"
    assert drg(diag_type=["2", "3", "1"]) == "XR29"
    main = procedures.with_columns(main_oprn_flag=pl.Series(["0", "1"]))
    assert group(claims, diagnoses, main, mini)["drg"][0] == "FB15"


def test_an_ambiguous_stay_is_set_apart_only_where_the_scheme_says_so(mini, tmp_path):
    stay = {"dx": ["I21.000"], "proc": ["99.9999", "51.2300"]}
    swapped = {"dx": ["I21.000"], "proc": ["51.2300"]}
    schemes = {qy: load_scheme(write_scheme(tmp_path / qy, options=f"qy: '{qy}'\n")) for qy in ("off", "main", "any")}
    assert [one(schemes[qy], **stay)["drg"] for qy in schemes] == ["FR15", "FR15", "FQY"]
    assert [one(schemes[qy], **swapped)["drg"] for qy in schemes] == ["FR15", "FQY", "FQY"]
    row = one(schemes["main"], **swapped)
    assert [row[c] for c in ("mdc", "adrg", "status")] == ["MDCF", "QY", "ambiguous"]
    assert "歧义" in row["why"]


def test_newborns_outside_the_list_and_hiv_in_any_diagnosis_are_grouped_as_the_scheme_chooses(tmp_path):
    """The published method against the open grouper's tables: drg.md, defects 3 and 4."""
    infant = {"dx": ["I50.900"], "age": 0, "nwb_age": 5}
    tumour = {"dx": ["I50.900", "C61.x00"]}
    plain = load_scheme(write_scheme(tmp_path / "a"))
    assert [one(plain, **stay)["drg"] for stay in (infant, tumour)] == ["FR25", "FR25"]
    chosen = load_scheme(write_scheme(tmp_path / "b", options="newborns: MDCP\nany_diagnosis: MDCM\n"))
    assert one(chosen, **infant)["drg"] == "PV19"
    assert one(chosen, **tumour)["drg"] == "MR19", "the groups of that MDC ask for any diagnosis too"
    assert one(chosen, **tumour, gend="2")["drg"] == "FR25"
    assert one(chosen, **{**infant, "nwb_age": 29})["drg"] == "FR25"
    grown = pl.DataFrame({"sex": [1], "age": [40], "age_days": [0], "weight": [0], "dx": [["I50.900"]], "proc": [[]]})
    grown = grown.cast({"proc": pl.List(pl.String)})
    assert group_records(grown, chosen)["drg"].to_list() == ["FR25"], "days of age are those of infants"


@pytest.mark.parametrize(
    "condition, groups",
    [
        ("pdx@FR1 or pdx@FR2+any_proc", ["FB15", "FB15", "FR25"]),
        ("(pdx@FR1 or pdx@FR2)+any_proc", ["FB15", "FB15", "FR25"]),
        ("pdx@FR2+not (any_proc or age_years<60)", ["FR15", "FR25", "FR25"]),
        ("not (pdx@FR1+any_proc)+pdx@FR2", ["FR15", "FB15", "FB15"]),
        ("day_surgery+pdx@FR2", ["FR15", "FB15", "FR25"]),
        ("not day_surgery+pdx@FR2", ["FR15", "FR25", "FB15"]),
    ],
)
def test_a_condition_may_bracket_and_negate_conditions(tmp_path, condition, groups):
    """An infarction with the procedure, a failure with it in day surgery, a failure without it."""
    row = "FB1,心脏手术,MDCF,surgical,50,"
    table = TABLES["adrg"].replace(f"{row}main_proc", f"{row}{condition}")
    codes = TABLES["adrg_codes"].replace("FB1,main_proc,,36%", "FB1,any_proc,,36%")
    scheme = load_scheme(write_scheme(tmp_path, adrg=table, adrg_codes=codes))
    stays = [
        {"dx": ["I21.000"], "proc": ["36.0600"], "daysurg_flag": "0"},
        {"dx": ["I50.900"], "proc": ["36.0600"], "daysurg_flag": "1"},
        {"dx": ["I50.900"], "daysurg_flag": "0"},
    ]
    assert group(*tables_of(*stays), scheme)["drg"].to_list() == groups


DX = ["P07.000", "P22.000", "P59.900", "S06.000", "S27.000", "S72.000", "C56.x00", "C61.x00", "I21.000", "I21.100"]
DX += ["I50.900", "I48.900", "Z51.000", "Z51.100", "J96.000", "E11.100", "E11.900", "I10.x00", "ZZZ"]
PROC = ["52.8000", "55.6900", "96.7201", "35.0000", "01.2000", "68.6000", "68.4000", "40.5000", "36.0000", "37.2200"]
PROC += ["51.2300", "99.9999"]
STAYS = st.fixed_dictionaries(
    {
        "gend": st.sampled_from(["1", "2"]),
        "age": st.sampled_from([0, 1, 50, 70]),
        "nwb_age": st.sampled_from([3, 28, 29]),
        "nwb_bir_wt": st.sampled_from([None, 0, 1400, 1500, 2500]),
        "nwb_adm_wt": st.sampled_from([None, 1900, 2500]),
        "act_ipt_days": st.sampled_from([None, 1, 5]),
        "dscg_way": st.sampled_from([None, "1", "5"]),
        "vent_used_h": st.sampled_from([None, Decimal(96), Decimal(10)]),
        "icu_h": st.sampled_from([None, Decimal(300)]),
        "dx": st.lists(st.sampled_from(DX), min_size=1, max_size=5),
        "proc": st.lists(st.sampled_from(PROC), max_size=4),
    }
)


def test_why_names_lists_codes_severity_and_exclusions(mini):
    why = one(mini, dx=["I21.100", "I50.900", "I10.x00"])["why"]
    for words in (
        "主要诊断 I21.100",
        "MDCF 循环",
        "FR1 心肌梗死",
        "主要诊断在 FR1 编码表",
        "I50.900 属 MCC 但被排除表 2 排除",
        "I10.x00 计为 CC",
        "入 FR13",
    ):
        assert words in why
    assert "任一手术在 AC1 编码表第 2 部分：55.6900" in one(mini, dx=["I21.000"], proc=["55.6900", "52.8000"])["why"]
    assert "头部 S06.000，胸部 S27.000" in one(mini, dx=["S06.000", "S27.000"])["why"]
    newborn = {"dx": ["P07.000"], "age": 0, "nwb_age": 3, "nwb_bir_wt": 1499}
    assert "出生 3 天，出生体重 1499 克" in one(mini, **newborn)["why"]
    assert "没有一个 ADRG 的条件全部满足" in one(mini, dx=["I48.900"])["why"]
    assert "规范写法应为 I50.900" in one(mini, dx=["i50.9"])["why"]
    assert group(*tables_of({"dx": ["I21.000"]}), mini, why=False)["why"].to_list() == [None]


def test_why_names_the_groups_that_stand_later_and_what_became_of_every_secondary_diagnosis(mini):
    why = one(mini, dx=["I21.000", "Z99.900", "E11.900"], proc=["36.0600"])["why"]
    assert "条件也满足但次序在后：FR1。" in why
    assert "其他诊断：Z99.900 不计、E11.900 计为 CC。" in why
    unsplit = one(mini, dx=["C61.x00", "E11.900"])["why"]
    assert "其他诊断：E11.900 计为 CC（该组不按并发症细分）。" in unsplit
    assert "次序在后" not in unsplit


def test_why_names_the_group_without_the_diagnosis_that_lifts_it_most_and_without_the_main_procedure(mini):
    # FR11 1.12345678, FR13 1.05, FR15 0.8: without the MCC the CC is left, without the CC nothing changes
    both = one(mini, dx=["I21.000", "E11.900", "J96.000"])["why"]
    assert "有MCC，入 FR11 心肌梗死，伴严重并发症，权重 1.12345678。若无其他诊断 J96.000：入 FR13，权重 1.05。" in both
    # of two MCC neither alone lifts the group, and a diagnosis that is excluded lifts nothing
    assert "若无其他诊断" not in one(mini, dx=["I21.000", "I50.900", "J96.000"])["why"]
    assert "若无其他诊断" not in one(mini, dx=["I21.100", "I50.900"])["why"]
    # a diagnosis may lift a stay into another ADRG, by a condition on any diagnosis
    tried = one(mini, dx=["I50.900", "I21.300"], proc=["37.2200"])["why"]
    assert "若无其他诊断 I21.300：入 FR25" in tried
    assert "若无主要手术 37.2200：入 FR25" in tried
    # the next procedure takes the place of the main one
    assert "若无主要手术 99.9999：入 FB15" in one(mini, dx=["I21.000"], proc=["99.9999", "36.0600"])["why"]
    assert "若无主要手术 99.9999：分组不变" in one(mini, dx=["I21.000"], proc=["99.9999"])["why"]
    assert "若无主要手术 68.6000：入 NR19" in one(mini, dx=["C56.x00"], gend="2", proc=["68.6000"])["why"]


@settings(max_examples=30, deadline=None)
@given(st.lists(STAYS, min_size=1, max_size=6))
def test_the_groups_without_a_code_are_those_of_the_records_without_it(mini, stays):
    for why, stay in zip(group(*tables_of(*stays), mini)["why"], stays, strict=True):
        drg, weight = naive_drg(mini, stay), dict(mini.weights.iter_rows())
        lower = {}
        for place in range(1, len(stay["dx"])):
            other = naive_drg(mini, stay | {"dx": stay["dx"][:place] + stay["dx"][place + 1 :]})
            if other != drg and not weight.get(other, 0) > weight.get(drg, 100):
                lower[stay["dx"][place]] = other
        said = re.findall(r"若无其他诊断 (\S+)：(?:入 (\w+)|无法入组)", why)
        assert bool(said) == bool(lower)
        assert all(lower[code] == (other or "0000") for code, other in said)
        if stay["proc"]:
            other = naive_drg(mini, stay | {"proc": stay["proc"][1:]})
            told = "分组不变" if other == drg else "无法入组" if other == "0000" else f"入 {other}"
            assert f"若无主要手术 {stay['proc'][0]}：{told}" in why


def test_codes_are_brought_into_the_national_spelling_only_when_the_scheme_says_so(mini, tmp_path):
    lenient = load_scheme(write_scheme(tmp_path, options="normalise_codes: 'yes'\n"))
    for written in ("i50.9", " I50.9", "I50.900"):
        assert one(lenient, dx=[written])["drg"] == "FR25"
    assert one(lenient, dx=["I21.000", "I10"])["drg"] == "FR13"
    assert one(lenient, dx=["I21.000X001"], proc=["36.06"])["drg"] == "FB15"
    assert one(mini, dx=["i50.9"])["status"] == "ungrouped"
    assert one(mini, dx=[" I50.900 "])["drg"] == "FR25"


def test_no_stays_and_no_procedures_are_no_trouble(mini):
    claims, diagnoses, procedures = tables_of({"dx": ["I21.000"]})
    assert group(claims.clear(), diagnoses, procedures, mini).height == 0
    assert group(claims, diagnoses.clear(), procedures.clear(), mini)["status"].to_list() == ["invalid"]


@settings(max_examples=40, deadline=None)
@given(st.lists(STAYS, min_size=1, max_size=12))
def test_the_vectorised_grouper_agrees_with_trying_one_condition_after_the_other(mini, stays):
    drgs = group(*tables_of(*stays), mini)["drg"].to_list()
    assert drgs == [naive_drg(mini, stay) for stay in stays]


def naive_drg(scheme, stay: dict) -> str:
    severity = set()
    for code in stay["dx"][1:]:
        entries = [row for row in scheme.cc.iter_rows(named=True) if matches(row["entry"], code)]
        if entries:
            row = max(entries, key=lambda row: (not row["entry"].endswith("%"), len(row["entry"])))
            if row["exclusion"] is None or not listed(scheme.dx, row["exclusion"], stay["dx"][:1]):
                severity.add({1: "CC", 2: "MCC"}[row["level"]])
    for number, terms in scheme.candidates:
        if all(naive_truth(scheme, stay, term, severity) for term in terms):
            for drg, condition in scheme.outcomes[number].drgs:
                if any(all(naive_truth(scheme, stay, term, severity) for term in terms) for terms in condition):
                    return drg
    return "0000"


def matches(entry: str, code: str) -> bool:
    return code.startswith(entry[:-1]) if entry.endswith("%") else entry == code


def listed(lists, number: int, codes: list[str]) -> list[str]:
    entries = lists.entries.filter(pl.col("list") == number)["entry"].to_list()
    return [code for code in codes if any(matches(entry, code) for entry in entries)]


def naive_truth(scheme, stay, term, severity) -> bool:
    if term.looks_at == "severity":
        return (term.name in severity) != term.negated
    if term.looks_at == "regions":
        parts = [scheme.dx.keys[part] for part in scheme.regions[term.name]]
        return sum(bool(listed(scheme.dx, part, stay["dx"])) for part in parts) >= 2
    if term.codes:
        dx, proc = stay["dx"], stay["proc"]
        codes = {"pdx": dx[:1], "any_dx": dx, "sec_dx": dx[1:], "main_proc": proc[:1], "any_proc": proc}[term.looks_at]
        lists = scheme.dx if "dx" in term.looks_at else scheme.proc
        return bool(listed(lists, lists.keys[term.codes], codes)) != term.negated
    infant = stay["age"] == 0
    value = {
        "gend": stay["gend"],
        "leaving": stay["dscg_way"],
        "age_years": stay["age"],
        "age_days": stay["nwb_age"] if infant else stay["age"] * 365,
        "weight": stay["nwb_bir_wt"] or None,
        "adm_weight": stay["nwb_adm_wt"],
        "los": stay["act_ipt_days"] or 8,
        "vent_hours": stay["vent_used_h"],
        "icu_hours": stay["icu_h"],
    }[term.name]
    if value is None:
        return False
    if term.looks_at == "choice":
        return (value in term.values) != term.negated
    compare = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__", "==": "__eq__", "!=": "__ne__"}
    return getattr(float(value), compare[term.comparison])(term.number) != term.negated


@settings(max_examples=20, deadline=None)
@given(st.lists(STAYS, min_size=2, max_size=8), st.integers(0, 2**32 - 1))
def test_row_order_changes_nothing_and_grouping_twice_gives_the_same(mini, stays, seed):
    claims, diagnoses, procedures = tables_of(*stays)
    result = group(claims, diagnoses, procedures, mini)
    assert result.equals(group(claims, diagnoses, procedures, mini))
    order = np.random.default_rng(seed)
    shuffled = [frame[order.permutation(len(frame))] for frame in (claims, diagnoses, procedures)]
    assert group(*shuffled, mini).sort("setl_id").equals(result.sort("setl_id"))


@settings(max_examples=20, deadline=None)
@given(st.lists(STAYS, min_size=1, max_size=8), STAYS)
def test_the_group_of_a_stay_does_not_depend_on_the_stays_beside_it(mini, stays, last):
    apart = [group(*tables_of(*some), mini).drop("setl_id") for some in (stays, [last])]
    assert group(*tables_of(*stays, last), mini).drop("setl_id").rows() == pl.concat(apart).rows()


@pytest.fixture(scope="module")
def reference() -> pl.DataFrame:
    if not REFERENCE.is_dir():
        pytest.skip("the CHS-DRG 1.1 tables and reference records (../shared/data/chs-drg-1.1) are not here")
    return pl.read_parquet(REFERENCE / "reference-20k.parquet")


def canonical(reference: pl.DataFrame) -> list[pl.DataFrame]:
    """The reference records as canonical tables."""
    stays = reference.with_columns(setl_id=pl.format("S{}", "id"))
    claims = stays.select(
        "setl_id",
        gend=pl.col("sex").cast(pl.String),
        age=pl.col("age").cast(pl.Int64),
        nwb_age=pl.when(pl.col("age") == 0).then(pl.col("age_days").cast(pl.Int64)),
        nwb_bir_wt=pl.col("weight").cast(pl.Int64),
    )
    seq = pl.int_range(1, pl.len() + 1).over("setl_id")
    codes = {"diag_code": "dx", "oprn_oprt_code": "proc"}
    coded = [stays.select("setl_id", pl.col(name).alias(field)).explode(field) for field, name in codes.items()]
    return [claims, *(rows.drop_nulls().with_columns(seq=seq) for rows in coded)]


@pytest.mark.parametrize("from_tables", [False, True])
def test_all_reference_records_fall_into_their_group(reference, from_tables):
    scheme = load_scheme(REFERENCE)
    result = group(*canonical(reference), scheme) if from_tables else group_records(reference, scheme)
    different = {column: (result[column] != reference[column]).sum() for column in ("mdc", "adrg", "drg")}
    assert different == {"mdc": 0, "adrg": 0, "drg": 0}
    assert result["why"].null_count() == 0


def test_where_the_published_method_differs_from_the_tables_the_scheme_chooses(reference, tmp_path):
    """drg.md, defects 2, 3 and 4: an unrelated operation, HIV as another diagnosis, a newborn outside the P list."""
    for file in REFERENCE.glob("*.csv"):
        (tmp_path / file.name).symlink_to(file)
    stays = [
        {"dx": ["I63.900"], "proc": ["51.2300"]},
        {"dx": ["J18.900", "B24.x01"]},
        {"dx": ["K56.700"], "age": 0, "nwb_age": 5, "nwb_bir_wt": 3000},
        {"dx": ["K56.700"], "age": 40},
    ]
    as_tabled = group(*tables_of(*stays), load_scheme(REFERENCE))
    assert as_tabled["adrg"].to_list() == ["BR2", "ES3", "GV1", "GV1"]
    (tmp_path / "scheme.yaml").write_text("qy: main\nany_diagnosis: MDCY\nnewborns: MDCP\n", "utf-8")
    as_published = group(*tables_of(*stays), load_scheme(tmp_path))
    assert as_published["adrg"].to_list() == ["QY", "YR1", "PV1", "GV1"]


TYPICAL = [
    ("MDCF", "FR1", {"dx": ["I21.900"]}),
    ("MDCF", "FM1", {"dx": ["I21.000"], "proc": ["36.0700"]}),
    ("MDCE", "ES3", {"dx": ["J18.900"]}),
    ("MDCG", "GD2", {"dx": ["K35.900"], "proc": ["47.0100"]}),
    ("MDCH", "HC2", {"dx": ["K80.100"], "proc": ["51.2300"]}),
    ("MDCB", "BR2", {"dx": ["I63.900"]}),
    ("MDCI", "IC2", {"dx": ["M17.900"], "proc": ["81.5400"]}),
    ("MDCK", "KS1", {"dx": ["E11.900"]}),
    ("MDCC", "CB3", {"dx": ["H25.900"], "proc": ["13.4100"]}),
    ("MDCO", "OB1", {"dx": ["O82.000"], "proc": ["74.1x00"], "gend": "2", "age": 30}),
    ("MDCN", "NR1", {"dx": ["C56.x00"], "gend": "2"}),
    ("MDCM", "MB1", {"dx": ["N40.x00"], "proc": ["60.2900"], "gend": "1"}),
    ("MDCP", "PU1", {"dx": ["P59.900"], "age": 0, "nwb_age": 4}),
    ("MDCL", "LR1", {"dx": ["N18.900"]}),
    ("MDCA", "AE1", {"dx": ["N18.000"], "proc": ["55.6900"]}),
    ("MDCR", "RR1", {"dx": ["C91.000"]}),
]


@pytest.mark.parametrize(("mdc", "adrg", "stay"), TYPICAL)
def test_the_starter_scheme_groups_typical_stays(starter, mdc, adrg, stay):
    row = one(starter, **stay)
    assert (row["mdc"], row["adrg"], row["status"]) == (mdc, adrg, "grouped")
    assert row["weight"] > 0


@pytest.fixture(scope="module")
def starter():
    return load_scheme(STARTER)


def test_the_starter_scheme_agrees_with_the_reference_as_its_readme_says(starter, reference):
    result = group_records(reference, starter, why=False)
    agreement = [(result[column] == reference[column]).mean() for column in ("mdc", "adrg", "drg")]
    assert all(found >= promised for found, promised in zip(agreement, (0.94, 0.88, 0.86), strict=True)), agreement
