"""`yibao scheme check|show|diff` as a user meets them."""

import itertools
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_scheme import TABLES, write_scheme
from test_scheme import changed

import synthetic.cli  # noqa: F401  registers every command
from engine.grouping.group import group_records
from engine.grouping.scheme import load_scheme
from engine.grouping.schemecheck import check_scheme

DONE, USAGE, INPUT, RULES = 0, 2, 3, 4
# The miniature scheme with the tables that contradict nothing.
SOUND = {
    "mdc_codes": TABLES["mdc_codes"].replace("MDCF,,I48.900\n", ""),
    "adrg_codes": TABLES["adrg_codes"],
    "proc_valid": TABLES["proc_valid"].replace("51.2300\n", "37.2200\n40.5000\n96.7201\n"),
    "cc": TABLES["cc"].replace("I10.x00,CC,9", "I10.x00,CC,"),
    "weights": "drg,weight\n" + "".join(f"{row.split(',')[0]},1.5\n" for row in TABLES["drg"].split("\n")[2:] if row),
}


def edited(**edits: tuple[str, str]) -> dict[str, str]:
    """The sound miniature scheme with one text replaced in some tables."""
    tables = {**TABLES, **SOUND}
    for name, (old, new) in edits.items():
        assert old in tables[name], old
        tables[name] = tables[name].replace(old, new, 1)
    return tables


def checked(run, folder) -> list[dict]:
    said = run("scheme", "check", folder, "--json")
    found = json.loads(said.out)
    assert said.code == (DONE if all(f["severity"] == "weakness" for f in found) else said.code)
    return found


# check


def test_a_sound_scheme_has_neither_faults_nor_doubts(run, tmp_path):
    folder = write_scheme(tmp_path, **edited())
    said = run("--lang", "zh", "scheme", "check", folder)
    assert (said.code, said.out) == (DONE, f"{folder}: 0 处错误, 0 处疑问\n")
    assert run("--lang", "en", "scheme", "check", folder).out.endswith(": 0 faults, 0 doubts\n")


def test_the_starter_loads_and_is_what_is_checked_by_default(run):
    said = run("--lang", "en", "scheme", "check")
    assert said.code == DONE
    assert "chs-drg-starter: 0 faults" in said.out


FAULTS = [
    (RULES, changed("adrg", "weight<1500", "wieght<1500"), "adrg.csv", 6, "condition", "weight"),
    (RULES, changed("adrg", "surgical,50,main_proc", "surgical,50,mian_proc"),
     "adrg.csv", 15, "condition", "main_proc"),
    (RULES, changed("adrg_codes", "FR2,pdx", "FR2,any_dxx"), "adrg_codes.csv", 19, "list_kind", "any_dx"),
    (RULES, changed("adrg_codes", "FR2,pdx,,I50.900\n", ""), "adrg.csv", 18, "condition", ""),
    (RULES, changed("adrg", "MDCF,medical,53", "MDCF,medicine,53"), "adrg.csv", 18, "kind", "medical"),
    (RULES, changed("mdc", "循环,5", "循环,4"), "mdc.csv", 7, "order", ""),
    (RULES, changed("mdc_codes", "MDCF,,I50.900", "MDF,,I50.900"), "mdc_codes.csv", 11, "mdc", "MDCF"),
    (RULES, {"options": "normalize_codes: yes\n"}, "scheme.yaml", None, None, "normalise_codes"),
    (INPUT, changed("adrg", "condition", "conditions"), "adrg.csv", 1, None, "conditions"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "tables", "file", "line", "column", "meant"), FAULTS)
def test_a_fault_is_named_with_its_place_and_what_was_meant(run, tmp_path, code, tables, file, line, column, meant):
    folder = write_scheme(tmp_path, **tables)
    said = run("scheme", "check", folder, "--json")
    assert said.code == code
    first = json.loads(said.out)[0]
    assert (first["severity"], first["file"], first["line"], first["column"]) == ("fault", file, line, column)
    assert meant in first["hint"]
    plain = run("scheme", "check", folder)
    assert (plain.code, plain.err) == (code, "")
    assert f"{file}:{line} [{column}]" in plain.out or not column


def test_all_faults_are_listed_and_the_worst_decides_the_exit_code(run, tmp_path):
    tables = changed("adrg", "condition", "conditions") | {"options": "colour: red\n"}
    said = run("scheme", "check", write_scheme(tmp_path, **tables), "--json")
    assert (said.code, len(json.loads(said.out))) == (INPUT, 2)


def test_a_faulty_condition_is_listed_beside_a_faulty_reference(run, tmp_path):
    tables = changed("adrg", "weight<1500", "wieght<1500") | changed("adrg_codes", "FR2,pdx", "FR9,pdx")
    found = json.loads(run("scheme", "check", write_scheme(tmp_path, **tables), "--json").out)
    assert [(f["file"], f["line"]) for f in found] == [("adrg_codes.csv", 19), ("adrg.csv", 6)]


def test_a_scheme_that_is_not_there_is_a_mistake_of_use(run, tmp_path):
    assert run("scheme", "check", tmp_path / "nowhere").code == USAGE


WEAK = [
    # FR2's list is FR1's and FR1 stands before it
    (edited(adrg_codes=("FR2,pdx,,I50.900", "FR2,pdx,,I21.000")), "FR2", "FR1", "adrg.csv", 18),
    # the same with a condition more: whoever meets both meets the first
    (edited(adrg=("FR2,心力衰竭,MDCF,medical,53,pdx", "FR2,心力衰竭,MDCF,medical,53,pdx@FR1+age_years>=70")),
     "FR2", "FR1", "adrg.csv", 18),
    # a narrower bound behind a wider one
    (edited(adrg=("PS2,低体重,MDCP,medical,13,any_dx@PS1+weight>=1500+weight<2000+age_days<=28",
                  "PS2,低体重,MDCP,medical,13,any_dx@PS1+weight<1200+age_days<=28")), "PS2", "PS1", "adrg.csv", 7),
    # an unconditional group before it
    (edited(adrg=("PS1,极低体重,MDCP,medical,12,any_dx+weight<1500+age_days<=28", "PS1,极低体重,MDCP,medical,12,")),
     "PV1", "PS1", "adrg.csv", 9),
    # a list wholly outside that of its MDC
    (edited(adrg_codes=("FR2,pdx,,I50.900", "FR2,pdx,,J18.900")), "FR2", "pdx@MDCF", "adrg.csv", 18),
    # a DRG behind one that takes all of it
    (edited(drg=("FR1,0,MCC\n", "FR1,0,MCC or CC\n")), "FR13", "FR11", "drg.csv", 19),
    (edited(drg=("FR1,1,MCC or CC\n", "FR1,1,\n")), "FR15", "FR13", "drg.csv", 20),
    # severity: CC asked for where MCC was not
    (edited(drg=("FB1,0,MCC\n", "FB1,0,CC\n")), "FB11", "MCC", "drg.csv", 15),
    (edited(drg=("FB15,心脏手术,FB1,1,", "FB15,心脏手术,FB1,3,")), "FB15", "left out", "drg.csv", 16),
    # codes of no group
    (edited(mdc_codes=("MDCF,,I50.900", "MDCF,,I50.900\nMDCF,,I48%")), "MDC diagnosis in no", "I48%",
     "mdc_codes.csv", 12),
    (edited(adrg_codes=("FR2,pdx,,I50.900", "FR2,pdx,,I50.900\nFR2,pdx,,J18%")), "outside its MDC", "J18%",
     "adrg_codes.csv", 20),
    (edited(proc_valid=("35.0000", "35.0000\n99.1%")), "valid procedure in no ADRG", "99.1%", "proc_valid.csv", 12),
    (edited(adrg_codes=("ZB1,main_proc,,01.2000", "ZB1,main_proc,,01.2000\nZB1,main_proc,,02.0000")), "not valid",
     "02.0000", "adrg_codes.csv", 10),
    # tables that are not there, or not all of them
    (edited(cc=("I10.x00,CC,", "I10.x00,CC,77")), "exclusion table", "77", "cc.csv", 6),
    (edited(exclusions=("3,E11%", "3,E11%\n8,E12%")), "no CC or MCC", "8", "exclusions.csv", 6),
    (edited(weights=("FR15,1.5\n", "")), "without a weight", "FR15", "drg.csv", 20),
    (edited(mdc=("MDCX,其他,6,pdx", "MDCX,其他,6,pdx\nMDCW,烧伤,7,male")), "MDCW", "no ADRG", "mdc.csv", 9),
    (edited(mdc_codes=("mdc,part,code", "mdc,parts,code")), "column is not read", "part", "mdc_codes.csv", 1),
    ({**edited(), "mdc": TABLES["mdc"].replace("condition\n", "condition,qy\n").replace("pdx\n", "pdx,qy_mian\n", 1)},
     "qy_mian", "did you mean qy_main", "mdc.csv", 4),
]  # fmt: skip


@pytest.mark.parametrize(("tables", "what", "more", "file", "line"), WEAK)
def test_what_was_probably_not_meant_is_named_but_does_no_harm(run, tmp_path, tables, what, more, file, line):
    folder = write_scheme(tmp_path, **tables)
    found = checked(run, folder)
    assert {f["severity"] for f in found} == {"weakness"}, found
    said = [f for f in found if what in f["what"] and more in f["what"] + f["hint"]]
    assert [(f["file"], f["line"]) for f in said] == [(file, line)], found


def test_a_later_group_is_reached_by_whoever_the_earlier_one_leaves(run, tmp_path):
    """Alike but for one thing, and every earlier group leaves somebody."""
    for condition in ("pdx@FR1 or pdx", "pdx+leaving:5", "not pdx@FR1", "any_dx@FR1"):
        tables = edited(adrg=("FR2,心力衰竭,MDCF,medical,53,pdx", f"FR2,心力衰竭,MDCF,medical,53,{condition}"))
        found = checked(run, write_scheme(tmp_path, **tables))
        assert not [f for f in found if "FR2 永远" in f["what"]], condition


def test_a_file_nobody_reads_is_named_unless_it_holds_names_maps_or_notes(run, tmp_path):
    folder = write_scheme(tmp_path, **edited())
    (folder / "icd10_map.csv").write_text("from,to\nI21.000x001,I21.000\n", "utf-8")
    (folder / "icd9_names.csv").write_text("code,name\n36.0600,支架\n", "utf-8")
    for name in ("README.md", "reference.parquet", ".hidden.csv"):
        (folder / name).write_text("x", "utf-8")
    assert checked(run, folder) == []
    (folder / "weights.csv").rename(folder / "wieghts.csv")
    (problem,) = checked(run, folder)
    assert (problem["file"], problem["hint"]) == ("wieghts.csv", "是否为 did you mean weights.csv？")


# show


def test_show_tells_what_a_scheme_is(run, tmp_path):
    folder = write_scheme(tmp_path, options="name: 某市\nversion: '2'\nqy: main\n", **edited())
    told = json.loads(run("scheme", "show", folder, "--json").out)
    assert {"name": "某市", "version": "2", "qy": "main", "mdc": 7, "adrg": 21, "drg": 25}.items() <= told.items()
    plain = run("--lang", "zh", "scheme", "show", folder)
    assert "名称: 某市" in plain.out
    assert "name: 某市" in run("--lang", "en", "scheme", "show", folder).out


def test_show_tells_of_a_group_its_conditions_lists_and_drgs(run, tmp_path):
    folder = write_scheme(tmp_path, **edited())
    told = json.loads(run("scheme", "show", folder, "fr1", "--json").out)
    assert (told["mdc"], told["in_words"]) == ("MDCF", "主要诊断在 FR1 编码表")
    assert told["lists"] == [{"list_kind": "pdx", "part": "", "entries": 1, "first": ["I21%"]}]
    assert [(g["code"], g["in_words"], g["weight"]) for g in told["groups"]] == [
        ("FR11", "有MCC", "1.5"), ("FR13", "有MCC；或有CC", "1.5"), ("FR15", "", "1.5"),
    ]  # fmt: skip
    mdc = json.loads(run("scheme", "show", folder, "MDCZ", "--json").out)
    assert mdc["options"] == ["body_regions>=2"]
    assert [g["code"] for g in mdc["groups"]] == ["ZB1", "ZZ1"]
    drg = json.loads(run("scheme", "show", folder, "FR2F", "--json").out)
    assert (drg["adrg"], drg["in_words"], drg["weight"]) == ("FR2", "年龄（岁）≥70", "1.5")
    assert "年龄（岁）≥70" in run("scheme", "show", folder, "FR2F").out


def test_show_tells_of_a_code_every_list_it_stands_in(run, tmp_path):
    folder = write_scheme(tmp_path, **edited())
    told = json.loads(run("scheme", "show", folder, "i50.9", "--json").out)
    assert told["code"] == "I50.900"
    places = [(f["table"], f["owner"], f["detail"]) for f in told["lists"]]
    assert places == [("mdc_codes", "MDCF", ""), ("adrg_codes", "FR2", "pdx"), ("cc", "MCC", "2"),
                      ("exclusions", "2", "")]  # fmt: skip
    valid = json.loads(run("scheme", "show", folder, "36.0000", "--json").out)
    assert [f["table"] for f in valid["lists"]] == ["adrg_codes", "proc_valid"]
    assert [f["entry"] for f in valid["lists"]] == ["36%", "36.0000"]


def test_show_suggests_what_was_meant_by_an_unknown_code(run, tmp_path):
    said = run("scheme", "show", write_scheme(tmp_path, **edited()), "FR51")
    assert said.code == USAGE
    assert "FR15" in said.err


# diff


def records(folder):
    """Three stays with labels: infarction with MCC, heart failure, an operation."""
    frame = pl.DataFrame(
        {"sex": [1, 1, 2], "age": [50, 60, 70], "age_days": [0, 0, 0], "weight": [0, 0, 0],
         "dx": [["I21.000", "J96.000"], ["I50.900"], ["I21.000"]], "proc": [[], [], ["36.0000"]],
         "mdc": ["MDCF"] * 3, "adrg": ["FR1", "FR1", "FB1"], "drg": ["FR11", "FR15", "FB15"]},
    )  # fmt: skip
    path = folder / "records.parquet"
    frame.write_parquet(path)
    return path


def test_a_scheme_does_not_differ_from_itself(run, tmp_path):
    folder = write_scheme(tmp_path / "a", **edited())
    told = json.loads(run("scheme", "diff", folder, folder, records(tmp_path), "--json").out)
    assert (told["groups"], told["moves"], told["flows"]) == ([], [], [])
    assert {row["percent"] for row in told["agreement"] if row["compared"] == "a = b"} == {"100.00"}


def test_diff_names_groups_conditions_orders_weights_and_codes(run, tmp_path):
    tables = edited(
        adrg=("FR1,心肌梗死,MDCF,medical,52,pdx\nFR2,心力衰竭,MDCF,medical,53,pdx",
              "FR1,急性心梗,MDCF,medical,53,pdx+age_years>=18\nFR2,心力衰竭,MDCF,medical,52,pdx"),
        adrg_codes=("FR2,pdx,,I50.900", "FR2,pdx,,I50.900\nFR2,pdx,,I21.900\nFR2,pdx,,I21.100"),
        weights=("FR15,1.5", "FR15,1.42"),
        drg=("XR19,其他,XR1,0,none\n", "XR19,其他,XR1,1,none\nXR11,其他，重,XR1,0,MCC\n"),
    )  # fmt: skip
    a, b = write_scheme(tmp_path / "a", **edited()), write_scheme(tmp_path / "b", **tables)
    told = json.loads(run("scheme", "diff", a, b, "--json").out)
    differences = {(g["table"], g["code"], g["what"]): (g["a"], g["b"]) for g in told["groups"]}
    assert differences == {
        ("adrg", "FR1", "name"): ("心肌梗死", "急性心梗"),
        ("adrg", "FR1", "condition"): ("pdx", "pdx+age_years>=18"),
        ("adrg", "FR1", "order"): ("3", "4"),
        ("adrg", "FR2", "order"): ("4", "3"),
        ("drg", "XR11", "only_b"): (None, "其他，重"),
        ("drg", "FR15", "weight"): ("1.5", "1.42"),
    }
    assert [g["change"] for g in told["groups"] if g["what"] == "weight"] == ["-0.08"]
    assert told["moves"] == [{"list": "adrg_dx", "a": "—", "b": "FR2", "codes": 2, "examples": "I21.100、I21.900"}]
    said = run("--lang", "zh", "scheme", "diff", a, b)
    assert (said.code, "编码移动: 1" in said.out) == (DONE, True)


def test_two_spellings_of_one_list_agree(run, tmp_path):
    """I21% of one scheme is every code that the other writes out."""
    spelt = {"mdc_codes": ("MDCF,,I21%", "MDCF,,I21.000\nMDCF,,I21.100"), "adrg_codes": ("FR1,pdx,,I21%",
             "FR1,pdx,,I21.000\nFR1,pdx,,I21.100")}  # fmt: skip
    a, b = write_scheme(tmp_path / "a", **edited()), write_scheme(tmp_path / "b", **edited(**spelt))
    assert json.loads(run("scheme", "diff", a, b, "--json").out)["moves"] == []


def test_diff_groups_records_by_both_and_by_their_labels(run, tmp_path):
    """The second scheme calls heart failure FR1, as the labels do: one stay of three moves."""
    tables = edited(adrg_codes=("FR1,pdx,,I21%", "FR1,pdx,,I21%\nFR1,pdx,,I50.900"))
    a, b = write_scheme(tmp_path / "a", **edited()), write_scheme(tmp_path / "b", **tables)
    told = json.loads(run("scheme", "diff", a, b, records(tmp_path), "--json").out)
    agreed = {(r["compared"], r["level"]): (r["same"], r["percent"]) for r in told["agreement"]}
    assert agreed["a = b", "mdc"] == (3, "100.00")
    assert agreed["a = b", "adrg"] == agreed["a = labels", "drg"] == (2, "66.67")
    assert agreed["b = labels", "drg"] == (3, "100.00")
    assert told["flows"] == [{"a": "FR2", "b": "FR1", "stays": 1}]


def test_diff_reads_an_extract_as_group_does(run, bundle, tmp_path):
    tables = edited()
    a = write_scheme(tmp_path / "a", **tables)
    told = json.loads(run("scheme", "diff", "chs-drg-starter", a, bundle, "--json").out)
    assert {row["compared"] for row in told["agreement"]} == {"a = b"}
    assert told["agreement"][0]["stays"] > 10
    assert sum(row["stays"] for row in told["flows"]) == told["agreement"][1]["stays"] - told["agreement"][1]["same"]


def test_records_that_are_none_are_refused(run, tmp_path):
    path = records(tmp_path)
    pl.read_parquet(path).drop("age_days").write_parquet(path)
    folder = write_scheme(tmp_path / "a", **edited())
    said = run("scheme", "diff", folder, folder, path)
    assert (said.code, "age_days" in said.err) == (INPUT, True)
    assert run("scheme", "diff", folder, folder, tmp_path / "nowhere.parquet").code == USAGE


def test_the_published_tables_group_their_reference_records_as_labelled(run):
    tables = shared("data", "chs-drg-1.1")
    records = shared("data", "chs-drg-1.1", "reference-20k.parquet")
    told = json.loads(run("scheme", "diff", "chs-drg-starter", tables, records, "--json").out)
    agreed = {(r["compared"], r["level"]): r["percent"] for r in told["agreement"]}
    assert agreed["b = labels", "drg"] == "100.00"
    assert agreed["a = labels", "mdc"] == agreed["a = b", "mdc"] > "80"
    said = run("scheme", "check", tables)
    assert all(number in said.out for number in ("1097", "1735", "999"))


# what is called unreachable is never reached

CODES = ("I21.000", "I21.100", "I50.900", "I48.900")
TERMS = ("pdx", "any_dx", "not pdx", "pdx@FR1", "pdx@FR2", "any_dx@FB1", "main_proc", "any_proc", "male",
         "age_years>=60", "age_years>=70", "age_years<60", "age_years<=59", "leaving:5", "leaving:4|5",
         "not leaving:4|5")  # fmt: skip
GROUPS = ("FB1", "FK1", "FR1", "FR2")


@st.composite
def schemes(draw):
    """Four groups of one MDC under random conditions and lists, each with two DRGs under random conditions."""
    terms = st.lists(st.sampled_from(TERMS), max_size=3, unique=True)
    adrgs = [f"{group},,MDCF,medical,{n},{'+'.join(draw(terms))}\n" for n, group in enumerate(GROUPS)]
    entries = st.lists(st.sampled_from([*CODES, "I21%", "I%"]), min_size=1, max_size=3, unique=True)
    rows = [f"{group},{kind},,{code}" for group in GROUPS for kind in ("pdx", "any_dx") for code in draw(entries)]
    operations = st.lists(st.sampled_from(["36.0000", "36%", "37.2200"]), min_size=1, max_size=2, unique=True)
    rows += [f"{group},{kind},,{code}" for group in GROUPS for kind in ("main_proc", "any_proc")
             for code in draw(operations)]  # fmt: skip
    severity = st.sampled_from(["MCC", "CC", "MCC or CC", "age_years>=70", "male"])
    return {
        "mdc": "mdc,name,order,condition\nMDCF,循环,0,pdx\n",
        "mdc_codes": "mdc,code\n" + "".join(f"MDCF,{code}\n" for code in draw(entries)),
        "adrg": "adrg,name,mdc,kind,order,condition\n" + "".join(adrgs),
        "adrg_codes": "adrg,list_kind,part,code\n" + "\n".join(rows) + "\n",
        "drg": "drg,name,adrg,order_in_adrg,condition\n"
        + "".join(f"{g}1,,{g},0,{draw(severity)}\n{g}3,,{g},1,{draw(severity)}\n{g}5,,{g},2,none\n" for g in GROUPS),
    }  # fmt: skip


def every_record() -> pl.DataFrame:
    """Stays of each principal diagnosis, a secondary one or none, each operation or none, each sex, age and way out."""
    rows = itertools.product(
        CODES, [[], ["I50.900"], ["J96.000"], ["E11.000"], ["I21.100"]], [[], ["36.0000"], ["37.2200", "36.0000"]],
        [1, 2], [59, 60, 70], ["1", "4", "5"],
    )  # fmt: skip
    return pl.DataFrame(
        [{"dx": [dx, *more], "proc": proc, "sex": sex, "age": age, "age_days": 0, "weight": 0, "leaving": leaving}
         for dx, more, proc, sex, age, leaving in rows],
        schema_overrides={"proc": pl.List(pl.String)},
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(schemes())
def test_what_is_called_unreachable_no_record_reaches(tables):
    with tempfile.TemporaryDirectory() as work:
        folder = write_scheme(Path(work), **{**TABLES, **tables, "weights": "drg,weight\n"})
        called = {str(p.what).split()[0] for p in check_scheme(folder) if "永远" in p.what}
        reached = group_records(every_record(), load_scheme(folder), why=False)
    assert not called & {*reached["adrg"], *reached["drg"]}
