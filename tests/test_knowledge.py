"""Knowledge tables: what is read, what replaces what, what is refused, and that our own seeds hold together."""

import datetime as dt
import hashlib
import re
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reference.knowledge import allowed_values, load_knowledge, read_table, shapes
from engine.reference.places import seeds_folder
from engine.tables.problems import InputProblem, UsageProblem

SERVICE, DRUG, HERB, MATERIAL = r"00\d{13}", r"[XZ][A-Z0-9]{19,22}", r"T\d{9}", r"C\d{19}"


@pytest.fixture(scope="module")
def seeds():
    return load_knowledge([])


def write(folder: Path, name: str, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_table_is_typed_exactly(tmp_path):
    path = write(
        tmp_path,
        "catalogue",
        "med_list_codg,chrgitm_lv,selfpay_prop,pay_limit,name,begndate",
        '001109000010300,02,0.1,4000.5,"床位费, 三人间",2024-07-01',
    )
    row = read_table(path).row(0, named=True)
    assert row["med_list_codg"] == "001109000010300"
    assert row["pay_limit"] == 400050
    assert row["selfpay_prop"] == Decimal("0.1000")
    assert row["name"] == "床位费, 三人间"
    assert row["begndate"] == dt.date(2024, 7, 1)
    assert row["enddate"] is None and row["source"] is None


@given(st.integers(min_value=-(10**12) + 1, max_value=10**12 - 1))
def test_money_is_read_to_the_fen_whatever_its_size(tmp_path_factory, fen):
    yuan = f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"
    folder = tmp_path_factory.mktemp("money")
    path = write(folder, "catalogue", "med_list_codg,chrgitm_lv,pay_limit", f"X,01,{yuan}")
    assert read_table(path)["pay_limit"][0] == fen


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path):
    path = tmp_path / "concepts.csv"
    path.write_bytes("\ufeffconcept,code\n\nbeds,A\n,\n".encode())
    assert read_table(path)["code"].to_list() == ["A"]


def test_rows_come_in_key_order_whatever_the_order_of_the_file(tmp_path):
    rows = ["beds,B", "beds,A", "alarms,C"]
    first = read_table(write(tmp_path / "1", "concepts", "concept,code", *rows))
    second = read_table(write(tmp_path / "2", "concepts", "concept,code", *reversed(rows)))
    assert first.equals(second)


def test_a_table_nobody_brings_is_empty_and_typed(seeds):
    assert seeds["account_openings"].schema == {"psn_no": pl.String, "year": pl.Int64, "acct_balc": pl.Int64}
    assert seeds["account_openings"].is_empty()


def test_a_region_brings_account_openings_as_knowledge(tmp_path):
    write(tmp_path, "account_openings", "psn_no,year,acct_balc", "P1,2025,812.30")
    assert load_knowledge([tmp_path])["account_openings"].rows() == [("P1", 2025, 81230)]


# --- replacing --------------------------------------------------------------------------------------------------------


def test_a_folder_replaces_the_tables_it_brings_and_no_other(seeds, tmp_path):
    write(tmp_path, "sex_limits", "rule,med_list_codg,gend", "51,001,2")
    region = load_knowledge([tmp_path])
    assert region["sex_limits"]["med_list_codg"].to_list() == ["001"]
    assert region["age_limits"].equals(seeds["age_limits"])


def test_concepts_are_replaced_one_by_one(seeds, tmp_path):
    write(tmp_path, "concepts", "concept,code", "beds,LOCAL1", "beds,LOCAL2", "our_own,X")
    region = load_knowledge([tmp_path])
    assert region.codes("beds") == ["LOCAL1", "LOCAL2"]
    assert region.codes("exercise") == seeds.codes("exercise")
    assert region.concepts == sorted([*seeds.concepts, "our_own"])


def test_wordings_are_replaced_field_by_field(seeds, tmp_path):
    write(tmp_path, "wordings", "field,wording,value", "claims.visit_kind,门大,special_outpatient")
    wordings = load_knowledge([tmp_path])["wordings"]
    kinds = wordings.filter(pl.col("field") == "claims.visit_kind")
    assert kinds.select("wording", "value").rows() == [("门大", "special_outpatient")]
    others = pl.col("field") != "claims.visit_kind"
    assert wordings.filter(others).equals(seeds["wordings"].filter(others))


def test_the_last_folder_wins(tmp_path):
    write(tmp_path / "a", "sex_limits", "med_list_codg,gend", "001,1")
    write(tmp_path / "b", "sex_limits", "med_list_codg,gend", "001,2")
    assert load_knowledge([tmp_path / "a", tmp_path / "b"])["sex_limits"]["gend"].to_list() == ["2"]


def test_codes_of_a_concept_follow_the_date(tmp_path):
    write(
        tmp_path,
        "concepts",
        "concept,code,begndate,enddate",
        "beds,OLD,,2024-12-31",
        "beds,NEW,2025-01-01,",
        "beds,ALWAYS,,",
    )
    region = load_knowledge([tmp_path])
    assert region.codes("beds") == ["ALWAYS", "NEW", "OLD"]
    assert region.codes("beds", on=dt.date(2024, 12, 31)) == ["ALWAYS", "OLD"]
    assert region.codes("beds", on=dt.date(2025, 1, 1)) == ["ALWAYS", "NEW"]


def test_an_unknown_concept_is_refused_with_the_likely_one(seeds):
    with pytest.raises(InputProblem) as caught:
        seeds.codes("bed")
    assert "beds" in caught.value.hint


def test_the_manifest_gets_every_file_with_its_hash(tmp_path):
    path = write(tmp_path, "sex_limits", "med_list_codg,gend", "001,1")
    files = load_knowledge([tmp_path]).files
    assert files[-1] == (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    assert ("seeds/knowledge/pairs.csv") in [name for name, _ in files]


# --- refusing ---------------------------------------------------------------------------------------------------------

BAD = {
    "an unknown column": ("sex_limits", ["med_list_codg,gender", "001,1"], ":1", "gender", "gend"),
    "a missing column": ("sex_limits", ["med_list_codg", "001"], ":1", "gend", ""),
    "a column given twice": ("sex_limits", ["med_list_codg,gend,gend", "001,1,1"], ":1", "gend", ""),
    "a blank that is required": ("sex_limits", ["med_list_codg,gend", "001,1", "002,"], ":3", "gend", ""),
    "a value not allowed": ("pairs", ["main,included,window", "A,B,days"], ":2", "window", "day"),
    "a list item not allowed": ("visit_limits", ["med_list_codg,visit_kinds", "A,inpatient|outpatient"], ":2",
                                "outpatient", ""),
    "a list with a blank in it": ("indications", ["med_list_codg,icd_prefixes", "A,I63||I69"], ":2", "I63||I69", ""),
    "digits of another script": ("period_limits", ["med_list_codg,max_count,window_days,per", "A,１,7,visit"], ":2",
                                 "１", ""),
    "money finer than the fen": ("catalogue", ["med_list_codg,chrgitm_lv,pay_limit", "A,01,1.234"], ":2", "1.234", ""),
    "money that is no number": ("catalogue", ["med_list_codg,chrgitm_lv,pay_limit", "A,01,一元"], ":2", "一元", ""),
    "a number too wide": ("drug_supply", ["med_list_codg,generic,days", "A,g,12345678.5"], ":2", "12345678.5", ""),
    "a date that is none": ("concepts", ["concept,code,begndate", "c,A,2025-02-30"], ":2", "2025-02-30", ""),
    "a date in other writing": ("concepts", ["concept,code,begndate", "c,A,2025/02/03"], ":2", "2025/02/03", ""),
    "dates the wrong way round": ("concepts", ["concept,code,begndate,enddate", "c,A,2025-01-02,2025-01-01"], ":2",
                                  "begndate", ""),
    "a short row": ("sex_limits", ["med_list_codg,gend", "001"], ":2", "1 列", ""),
    "a long row": ("sex_limits", ["med_list_codg,gend", "001,1,2"], ":2", "3 列", ""),
    "an open quote": ("sex_limits", ["med_list_codg,gend", '"001,1'], ":2", "CSV", ""),
    "the same twice": ("sex_limits", ["med_list_codg,gend", "001,1", "001,2"], ":3", "第 2 行", ""),
    "two prices on one day": (
        "price_caps",
        ["med_list_codg,hosp_lv,pric_uplmt_amt,begndate,enddate", "A,1,5,2024-01-01,2024-12-31", "A,1,6,2024-12-31,"],
        ":3", "第 2 行", ""),
    "a field no table has": ("wordings", ["field,wording,value", "claims.visit_kinds,门诊,x"], ":2",
                             "claims.visit_kinds", "claims.visit_kind"),
    "a kind of visit nobody knows": ("wordings", ["field,wording,value", "claims.visit_kind,门诊,outpatient"], ":2",
                                     "outpatient", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_refused_with_its_place(tmp_path, fault):
    table, lines, place, named, hint = BAD[fault]
    path = write(tmp_path, table, *lines)
    with pytest.raises(InputProblem) as caught:
        load_knowledge([tmp_path])
    assert caught.value.where == f"{path}{place}"
    assert named in f"{caught.value.what} {caught.value.hint}"
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


def test_an_unknown_file_is_refused_with_the_likely_name(tmp_path):
    write(tmp_path, "sex_limit", "med_list_codg,gend")
    with pytest.raises(InputProblem, match="sex_limits.csv"):
        load_knowledge([tmp_path])


def test_a_file_that_is_no_utf8_and_an_empty_one_are_refused(tmp_path):
    (tmp_path / "concepts.csv").write_bytes("concept,code\n床位,A\n".encode("gb18030"))
    with pytest.raises(InputProblem, match="UTF-8"):
        load_knowledge([tmp_path])
    (tmp_path / "concepts.csv").write_bytes(b"")
    with pytest.raises(InputProblem, match="no header"):
        load_knowledge([tmp_path])


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageProblem, match="no such folder"):
        load_knowledge([tmp_path / "nowhere"])


# --- the shapes and the seeds -----------------------------------------------------------------------------------------


def test_every_table_has_a_key_and_every_allowed_value_its_type():
    for shape in shapes().values():
        assert shape.key, shape.name
        assert all(f.type in ("text", "list") for f in shape.fields.values() if allowed_values(f)), shape.name


def test_every_knowledge_table_has_seeds(seeds):
    empty = [name for name, frame in seeds.tables.items() if frame.is_empty()]
    assert sorted(empty) == ["account_openings", "clearing_deductions", "direct_deliveries", "fund_payouts", "funds",
                             "special_reviews"]  # fmt: skip


def test_every_seed_row_says_where_it_comes_from_and_how_sure_it_is(seeds):
    for name, frame in seeds.tables.items():
        if "grade" in frame.columns:
            assert set(frame["grade"]) <= {"national", "region", "demo"}, name
            assert frame["source"].null_count() == 0, name


def test_seed_codes_are_well_formed(seeds):
    any_code = f"^({SERVICE}|{DRUG}|{HERB}|{MATERIAL})$"
    for name, frame in seeds.tables.items():
        for column in {"med_list_codg", "main", "included", "base", "addon", "instead"} & set(frame.columns):
            wrong = frame.filter(~pl.col(column).str.contains(any_code))[column].to_list()
            assert not wrong, (name, column, wrong)


def test_no_seed_pair_is_with_itself_or_stands_both_ways(seeds):
    pairs = {(row["main"], row["included"]) for row in seeds["pairs"].iter_rows(named=True)}
    assert not [pair for pair in pairs if pair[0] == pair[1]]
    assert not [pair for pair in pairs if pair[::-1] in pairs]


def test_no_seed_pair_belongs_to_two_rules(seeds):
    assert seeds["pairs"].select("main", "included").is_unique().all()


def test_a_code_has_one_name_throughout_the_seeds(seeds):
    columns = {
        "med_list_codg": "name",
        "main": "main_name",
        "included": "included_name",
        "base": "base_name",
        "addon": "addon_name",
        "instead": "instead_name",
    }
    named = [
        frame.select(code=code, name=name)
        for frame in seeds.tables.values()
        for code, name in columns.items()
        if {code, name} <= set(frame.columns)
    ]
    names = pl.concat(named).unique().drop_nulls().sort("code", "name")
    assert names.filter(pl.col("code").is_duplicated()).is_empty()


def test_concepts_hold_what_their_name_says(seeds):
    for concept in seeds.concepts:
        codes = seeds.codes(concept)
        if concept.endswith("_icd"):
            assert all(re.fullmatch(r"[A-Z]\d{0,2}(\.\d+)?", code) for code in codes), concept
        elif re.fullmatch(r"[A-Z]\w*|\d+", codes[0]) and concept != "prescription_days_exempt":
            assert all(re.fullmatch(f"{SERVICE}|{DRUG}|{HERB}|{MATERIAL}", code) for code in codes), concept


def test_price_caps_rise_with_the_level_and_reach_the_catalogue_price(seeds):
    caps = seeds["price_caps"].sort("med_list_codg", "hosp_lv")
    by_code = caps.group_by("med_list_codg", maintain_order=True).agg("pric_uplmt_amt", "hosp_lv")
    for row in by_code.iter_rows(named=True):
        assert row["hosp_lv"] == ["1", "2", "3"]
        assert row["pric_uplmt_amt"] == sorted(row["pric_uplmt_amt"])
    joined = caps.filter(pl.col("hosp_lv") == "3").join(seeds["catalogue"], on="med_list_codg")
    assert (joined["pric_uplmt_amt"] * 100 == joined["price"]).all()


def test_first_pay_follows_the_class_of_the_catalogue(seeds):
    catalogue = seeds["catalogue"]
    assert (catalogue.filter(pl.col("chrgitm_lv") == "01")["selfpay_prop"] == 0).all()
    assert (catalogue.filter(pl.col("chrgitm_lv") == "02")["selfpay_prop"] > 0).all()
    assert catalogue["price"].null_count() == 0 and catalogue["med_chrgitm_type"].null_count() == 0


def test_every_item_a_demo_table_speaks_of_is_in_the_catalogue(seeds):
    known = seeds["catalogue"]["med_list_codg"].to_list()
    for table in ("price_caps", "drug_supply", "device_operations", "operation_items"):
        assert set(seeds[table]["med_list_codg"]) <= set(known), table


def test_seed_files_are_for_people_too():
    for path in sorted((seeds_folder() / "knowledge").iterdir()):
        raw = path.read_bytes()
        assert not raw.startswith(b"\xef\xbb\xbf") and b"\r" not in raw and raw.endswith(b"\n"), path.name
        rows = raw.decode().splitlines()[1:]
        assert len(rows) == len(set(rows)), path.name
