"""Schemes: what is read, what is refused with one clear message, and what a check reports."""

import csv
from pathlib import Path

import polars as pl
import pytest
from sample_scheme import TABLES, write_scheme

from engine.grouping.codes import Lookup, cleaned
from engine.grouping.conditions import ListKey, Term, in_words, parse_condition
from engine.grouping.scheme import load_scheme
from engine.grouping.schemecheck import Weakness, check_scheme
from engine.reference.places import seeds_folder
from engine.tables.problems import InputProblem, RuleProblem

STARTER = seeds_folder() / "drg" / "chs-drg-starter"
REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "chs-drg-1.1"


def changed(name: str, old: str, new: str) -> dict[str, str]:
    assert old in TABLES[name]
    return {name: TABLES[name].replace(old, new, 1)}


DAMAGED = [
    (RuleProblem, changed("adrg", "weight<1500", "wieght<1500"), ["adrg.csv:6 [condition]", "wieght<1500"]),
    (RuleProblem, changed("adrg", "pdx+age_days<=28\nPS1", "pdx+not (pdx\nPS1"), ["adrg.csv:5", "brackets"]),
    (RuleProblem, changed("adrg", "medical,53", "medical,52"), ["adrg.csv:18 [order]", "52"]),
    (RuleProblem, changed("adrg", "medical,53", "medical,5x"), ["adrg.csv:18 [order]", "5x"]),
    (RuleProblem, changed("adrg", "MDCF,medical,53", "MDCQ,medical,53"), ["adrg.csv:18 [mdc]", "MDCQ"]),
    (RuleProblem, changed("adrg", "MDCF,medical,53", "MDCF,internal,53"), ["adrg.csv:18 [kind]", "surgical"]),
    (RuleProblem, changed("adrg_codes", "FR2,pdx", "FR9,pdx"), ["adrg_codes.csv:19 [adrg]", "FR9"]),
    (RuleProblem, changed("adrg_codes", "FR2,pdx", "FR2,pdy"), ["adrg_codes.csv:19 [list_kind]", "pdy"]),
    (RuleProblem, changed("adrg_codes", "FR2,pdx,,I50.900", "FR2,pdx,,"), ["adrg_codes.csv:19 [code]"]),
    (RuleProblem, changed("adrg_codes", "FR2,pdx,,I50.900\n", ""), ["adrg.csv:18 [condition]", "pdx@FR2"]),
    (RuleProblem, changed("adrg_codes", "AC1,any_proc,2,55.6900\n", ""), ["adrg.csv:2 [condition]", "any_proc:2@AC1"]),
    (RuleProblem, changed("mdc_codes", "MDCF,,I50.900", "MDCG,,I50.900"), ["mdc_codes.csv:11 [mdc]", "MDCG"]),
    (RuleProblem, changed("mdc", "循环,5", "循环,4"), ["mdc.csv:7 [order]"]),
    (RuleProblem, changed("drg", "FR25,心力衰竭,FR2,1,none", "FR25,心力衰竭,FR2,1,MCC"), ["adrg.csv:18 [adrg]", "FR2"]),
    (RuleProblem, changed("drg", "FR25,心力衰竭,FR2,1,none", "FR25,心力衰竭,FR2,1,pdx"), ["drg.csv:22 [condition]"]),
    (RuleProblem, changed("drg", "XR19,其他,XR1,0,none\n", ""), ["adrg.csv:22 [adrg]", "XR1"]),
    (RuleProblem, changed("cc", "I10.x00,CC", "I10.x00,CCC"), ["cc.csv:6 [level]", "CCC"]),
    (RuleProblem, changed("cc", "I10.x00,CC", "E11%,MCC"), ["cc.csv:6 [code]", "E11%"]),
    (RuleProblem, changed("weights", "FR15,0.8", "FR15,0.8.1"), ["weights.csv:2 [weight]"]),
    (RuleProblem, changed("weights", "FR15,0.8", "FR99,0.8"), ["weights.csv:2 [drg]", "FR99"]),
    (RuleProblem, {"options": "qy: sometimes\n"}, ["scheme.yaml", "off, main, any"]),
    (RuleProblem, {"options": "colour: red\n"}, ["scheme.yaml", "colour"]),
    (InputProblem, {"options": "a: [\n"}, ["scheme.yaml"]),
    (InputProblem, changed("adrg", "condition", "conditions"), ["adrg.csv:1", "condition"]),
    (InputProblem, {"cc": ""}, ["cc.csv"]),
]


@pytest.mark.parametrize(("kind", "tables", "words"), DAMAGED)
def test_a_damaged_scheme_is_refused_with_one_message_that_says_where(tmp_path, kind, tables, words):
    folder = write_scheme(tmp_path, **tables)
    with pytest.raises(kind) as caught:
        load_scheme(folder)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert [type(problem) for problem in check_scheme(folder)][0] is kind


@pytest.mark.parametrize("name", [name for name in TABLES if name != "weights"])
def test_a_missing_table_is_refused_by_name(tmp_path, name):
    folder = write_scheme(tmp_path)
    (folder / f"{name}.csv").unlink()
    with pytest.raises(InputProblem, match=f"{name}.csv"):
        load_scheme(folder)


def test_a_folder_that_is_not_there_is_an_input_problem(tmp_path):
    with pytest.raises(InputProblem, match="nowhere"):
        load_scheme(tmp_path / "nowhere")


def test_a_check_lists_every_fault_while_loading_names_the_first(tmp_path):
    two = changed("adrg", "medical,53", "medical,52") | changed("adrg_codes", "FR2,pdx", "FR9,pdx")
    folder = write_scheme(tmp_path, **two)
    assert len(check_scheme(folder)) == 2
    with pytest.raises(RuleProblem, match="1 处"):
        load_scheme(folder)


def test_options_and_weights_may_be_absent(tmp_path):
    folder = write_scheme(tmp_path / "some-scheme")
    (folder / "weights.csv").unlink()
    scheme = load_scheme(folder)
    assert (scheme.name, scheme.book.normalise, len(scheme.weights)) == ("some-scheme", False, 0)
    named = load_scheme(write_scheme(tmp_path / "other", options="name: 某市分组方案\nversion: '2'\n"))
    assert (named.name, named.version) == ("某市分组方案", "2")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    folder = write_scheme(tmp_path)
    (folder / "mdc.csv").write_text("\ufeff" + TABLES["mdc"].lstrip(), "utf-8")
    assert load_scheme(folder).mdcs[0] == "MDCA"


def test_the_ambiguous_group_stands_between_operations_and_medical_groups(tmp_path):
    with_column = TABLES["mdc"].replace("condition\n", "condition,qy\n").replace("pdx\n", "pdx,qy_main\n")
    with_column = with_column.replace("male\n", "male,qy_off\n").replace("valid\n", "valid,qy_main\n")
    with_column = with_column.replace("==0\n", "==0,qy_off\n")
    scheme = load_scheme(write_scheme(tmp_path, mdc=with_column))
    groups = [outcome.adrg for outcome in scheme.outcomes]
    assert groups[groups.index("FK1") : groups.index("FR1") + 1] == ["FK1", "QY", "FR1"]
    assert [outcome.mdc for outcome in scheme.outcomes if outcome.adrg == "QY"] == ["MDCZ", "MDCF", "MDCX"]


def test_weaknesses_are_contradictions_between_tables_of_whole_codes(tmp_path):
    tables = {name: text.replace("I21%", "I21.000").replace("36%", "36.0000") for name, text in TABLES.items()}
    tables["adrg_codes"] = tables["adrg_codes"].replace("P07%", "P07.000") + "FR2,pdx,,I11.000\nFR2,pdx,,I11.000\n"
    found = check_scheme(write_scheme(tmp_path, **tables))
    assert found and all(isinstance(problem, Weakness) for problem in found)
    text = "\n".join(map(str, found))
    assert "I48.900" in text and "I11.000" in text and "37.2200" in text


def test_an_entry_that_ends_in_a_percent_sign_is_a_prefix_and_the_asterisk_is_a_letter():
    entries = pl.Series(["I21%", "I21.400", "A02.203+G01*", "I%"])
    codes = pl.Series(["I21.400", "I21.900", "A02.203+G01*", "A02.203+G01.900", "I2"])
    pairs = sorted(Lookup(entries).pairs(codes).select("code", "entry").iter_rows())
    assert pairs == [(0, 0), (0, 1), (0, 3), (1, 0), (1, 3), (2, 2), (4, 3)]


def test_the_national_spelling_of_codes():
    written = ["i63.9", "I10", "I63.900X001", " k35.900", "A02.203+G01*", "36.06", "40.3", "74.1X00", "B20.x00"]
    spelled = ["I63.900", "I10.x00", "I63.900x001", "K35.900", "A02.203+G01*", "36.0600", "40.3x00", "74.1x00"]
    assert cleaned(pl.Series(written), normalise=True).to_list() == [*spelled, "B20.x00"]
    assert cleaned(pl.Series(written), normalise=False)[3] == "k35.900"


def test_conditions_are_read_into_alternatives_of_terms():
    key = ListKey("pdx", "FR1")
    assert parse_condition("", "FR1") == ((),)
    assert parse_condition("pdx or main_proc:2@FB1", "FR1") == (
        (Term("pdx", codes=key),),
        (Term("main_proc", codes=ListKey("main_proc", "FB1", "2")),),
    )
    parts = parse_condition("pdx+proc_parts:1&2|3", "FR1")
    assert [[term.codes.part for term in terms[1:]] for terms in parts] == [["1", "2"], ["3"]]
    negated = parse_condition("not pdx+icu_hours>=12.5", "FR1")[0]
    assert negated == (Term("pdx", codes=key, negated=True), Term("number", "icu_hours", comparison=">=", number=12.5))
    assert [in_words(term) for term in negated] == ["主要诊断不在 FR1 编码表", "重症监护小时≥12.5"]


def test_the_starter_scheme_is_whole_sorted_and_marked_as_a_demo():
    scheme = load_scheme(STARTER)
    doubts = [str(problem) for problem in check_scheme(STARTER)]
    assert all(isinstance(problem, Weakness) for problem in check_scheme(STARTER))
    assert not [doubt for doubt in doubts if "永远轮不到" in doubt], "every group can be reached"
    assert (len(scheme.mdcs), len({outcome.adrg for outcome in scheme.outcomes}), len(scheme.weights)) == (26, 376, 628)
    assert "grade: demo" in (STARTER / "scheme.yaml").read_text("utf-8")
    for name in ("cc", "exclusions", "proc_valid"):
        rows = list(csv.reader((STARTER / f"{name}.csv").open(encoding="utf-8")))[1:]
        assert rows == sorted(rows)
    for name, column in (("mdc_codes", 2), ("adrg_codes", 3), ("cc", 0), ("exclusions", 1), ("proc_valid", 0)):
        rows = list(csv.reader((STARTER / f"{name}.csv").open(encoding="utf-8")))[1:]
        assert all(row[column].endswith("%") and len(row[column]) <= 6 for row in rows)


def test_the_published_tables_load_and_their_known_contradictions_are_reported():
    if not REFERENCE.is_dir():
        pytest.skip("the CHS-DRG 1.1 tables (../shared/data/chs-drg-1.1) are not here")
    scheme = load_scheme(REFERENCE)
    assert (len(scheme.mdcs), len(scheme.outcomes)) == (26, 376)
    assert any("1097" in str(problem) for problem in check_scheme(REFERENCE))
