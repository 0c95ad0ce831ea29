"""Bad input, one row a kind: read as meant, set aside with a reason, or refused; and a run never stumbles over it.

Q the row is set aside, W it is accepted with a remark, ok it is accepted silently. What files and rows must look like
to be read at all stands in test_reading.py; here is what else a hospital may send.
"""

import csv
import shutil
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

import synthetic.cli  # noqa: F401  registers every command
from engine.cli.app import app, call
from engine.reference.places import rules_folder
from engine.run import pipeline
from engine.tables.read import read
from synthetic.make import make

CLAIM = {
    "setl_id": "S1", "psn_no": "P1", "fixmedins_code": "H1", "med_type": "11", "begntime": "2025-01-02 08:00:00",
    "setl_time": "2025-01-02 09:00:00", "medfee_sumamt": "10.00",
}  # fmt: skip
LINE = {
    "feedetl_sn": "L1", "setl_id": "S1", "fee_ocur_time": "2025-01-02 08:30:00", "med_list_codg": "001203000010000",
    "medins_list_name": "氧气吸入", "cnt": "2", "pric": "5.00", "det_item_fee_sumamt": "10.00",
}  # fmt: skip

# what a field holds: (column, text, action, reason code or "", what is read)
FIELDS = [
    ("medins_list_name", "鑽搧", "Q", "E_MOJIBAKE", None),
    ("medins_list_name", "氧\ufffd", "Q", "E_MOJIBAKE", None),
    ("medins_list_name", "药,名称", "ok", "", "药,名称"),
    ("medins_list_name", "㐂𠮷", "ok", "", "㐂𠮷"),
    ("medins_list_name", "氧气\u202e吸入", "W", "W_SPACE", "氧气吸入"),
    ("medins_list_name", "\xa0氧气吸入\u200b", "W", "W_SPACE", "氧气吸入"),
    ("medins_list_name", "@SUM(A1)", "W", "W_FORMULA", "@SUM(A1)"),
    ("medins_list_name", "＝1+1", "W", "W_FORMULA", "＝1+1"),
    ("medins_list_name", "</td><script>", "ok", "", "</td><script>"),
    ("med_list_codg", "001203000010000", "ok", "", "001203000010000"),
    ("med_list_codg", "00.66", "ok", "", "00.66"),
    ("med_list_codg", "8.12346E+19", "Q", "E_SCI_NOTATION", None),
    ("feedetl_sn", "8.1E+9", "Q", "E_SCI_NOTATION", None),
    ("det_item_fee_sumamt", "１０．５０", "W", "W_FULLWIDTH", 1050),
    ("det_item_fee_sumamt", "1,234.50", "W", "W_NUMBER_FORM", 123450),
    ("det_item_fee_sumamt", "10.00元", "W", "W_NUMBER_FORM", 1000),
    ("det_item_fee_sumamt", "10.0000", "ok", "", 1000),
    ("det_item_fee_sumamt", "12.345", "Q", "E_DECIMALS", None),
    ("det_item_fee_sumamt", "12万", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "NaN", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "inf", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "1e308", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "\\N", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "#N/A", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "#DIV/0!", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "0x10", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "1_0", "Q", "E_NUMBER", None),
    ("det_item_fee_sumamt", "1.2.3", "Q", "E_NUMBER", None),
    ("cnt", "2.12345", "Q", "E_DECIMALS", None),
    ("cnt", "0.5000", "ok", "", Decimal("0.5000")),
    ("fee_ocur_time", "20250102", "ok", "", datetime(2025, 1, 2)),
    ("fee_ocur_time", "2025/1/2 8:30", "ok", "", datetime(2025, 1, 2, 8, 30)),
    ("fee_ocur_time", "2025-01-02T08:30:00", "ok", "", datetime(2025, 1, 2, 8, 30)),
    ("fee_ocur_time", "2025-02-30", "Q", "E_DATE", None),
    ("fee_ocur_time", "1900-01-00", "Q", "E_DATE", None),
    ("fee_ocur_time", "0000-00-00 00:00:00", "Q", "E_DATE", None),
    ("fee_ocur_time", "45659", "Q", "E_DATE", None),
    ("fee_ocur_time", "02/01/2025", "Q", "E_DATE", None),
    ("fee_ocur_time", "二〇二五年一月二日", "Q", "E_DATE", None),
    ("fee_ocur_time", "2025-01-02 25:00:00", "Q", "E_DATE", None),
    ("fee_ocur_time", "2025-01-02 08:30:00Z", "Q", "E_TIMEZONE", None),
    ("fee_ocur_time", "2025-01-02 24:00:00", "W", "W_DATE_FORM", datetime(2025, 1, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("column", "text", "action", "code", "value"), FIELDS)
def test_a_field_is_read_as_meant_or_its_row_is_set_aside(tmp_path, column, text, action, code, value):
    source = tmp_path / "in"
    source.mkdir()
    write(source / "claims.csv", [CLAIM])
    write(source / "fee_lines.csv", [LINE | {"feedetl_sn": "L0"}, LINE | {column: text}])
    extract = read(source, tmp_path / "work")
    lines = extract.tables["fee_lines"].collect().sort("_line")
    rejected = extract.rejects.select("line", "code").rows()
    remarks = set(extract.warnings.filter(pl.col("column") == column)["code"])
    if action == "Q":
        assert rejected == [(3, code)]
        assert lines.height == 1
    else:
        assert rejected == []
        assert lines[column][1] == value
        assert remarks == ({code} if action == "W" else set())


def write(path: Path, rows: list[dict], encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_column_nobody_knows_is_named_in_a_remark(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write(source / "claims.csv", [CLAIM])
    write(source / "fee_lines.csv", [LINE | {"备注": "x"}])
    remark = read(source, tmp_path / "work").warnings.filter(pl.col("file") == "fee_lines.csv").to_dicts()
    assert [(r["code"], "备注" in r["reason"]) for r in remark] == [("W_COLUMN", True)]


# through the command line

REFUSED = {
    "nothing in it": b"",
    "a workbook by another name": b"PK\x03\x04rest",
    "two encodings": "药".encode("gb18030") + "药,药\n".encode() + b"\xff\xfe\xff\n",
    "a header of another table": b"a,b,c\n1,2,3\n",
    "the same column twice": b"setl_id,setl_id,diag_code,seq\nS1,S1,I10,1\n",
    "a line cut off": b"setl_id,seq,diag_code,maindiag_flag\nS1,1,I10,1\nS2,1",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_trusted_stops_the_run_with_its_name(bundle, tmp_path, capsys, few_rules, case):
    source = shutil.copytree(bundle, tmp_path / "in", ignore=shutil.ignore_patterns("truth"))
    (source / "diagnoses.csv").write_bytes(REFUSED[case])
    code = call(app, ["run", str(source), "--out", str(tmp_path / "out"), "--rules", str(few_rules)])
    said = capsys.readouterr()
    assert code == 3
    assert "diagnoses.csv" in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out" / "_SUCCESS").exists()


@pytest.fixture(scope="module")
def few_rules(tmp_path_factory):
    """Two rules: what is tested here is not what they find."""
    folder = tmp_path_factory.mktemp("rules")
    for name in ("daily-fees-exceed-stay-days", "overlapping-inpatient-stays"):
        shutil.copy(next(rules_folder().rglob(f"{name}.yaml")), folder)
    return folder


# the same claims in another dress


def test_encoding_delimiter_and_order_of_columns_change_no_result(finished, bundle, region, tmp_path):
    dresses = [("gb18030", "|@|", "\r\n"), ("utf-8-sig", "\t", "\n"), ("utf-16", ",", "\r"), ("utf-8", "^", "\n")]
    source = tmp_path / "in"
    source.mkdir()
    for number, path in enumerate(sorted(bundle.glob("*.csv"))):
        encoding, delimiter, end = dresses[number % len(dresses)]
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row[::-1] for row in csv.reader(file)]
        rows[0] = [f" {name.upper()} " for name in rows[0]]
        assert not any(delimiter in cell for row in rows for cell in row)
        text = "".join(delimiter.join(row) + end for row in rows)
        (source / path.name).write_bytes(text.encode(encoding))
    pipeline.run(source, tmp_path / "out", region, pipeline.Options(report=False))
    for name in ("checks", "grouping", "settlement", "findings", "evidence", "recovery", "provider_payment"):
        assert (tmp_path / "out" / f"{name}.parquet").read_bytes() == (finished / f"{name}.parquet").read_bytes(), name


# a run over damaged rows

DAMAGE = {
    "blank": "", "a word": "药材", "a large number": "99999999.99", "a number too large": "9" * 21, "below zero": "-5",
    "zero": "0", "far ahead": "2099-12-31 23:59:59", "a bar": "a|b",
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small bundle in each profile."""
    folder = tmp_path_factory.mktemp("small")
    profiles = ("canonical", "flight-inspection-2024")
    for profile in profiles:
        make(folder / profile, 60, 11, profile)
    return {profile: folder / profile for profile in profiles}


@pytest.mark.parametrize(
    ("profile", "case"),
    [("canonical", case) for case in DAMAGE] + [("flight-inspection-2024", case) for case in ("blank", "below zero")],
)
def test_a_run_ends_well_with_every_column_damaged_in_some_row(small, few_region, tmp_path, profile, case):
    """Every third row has one damaged field, each time in the next column: nothing is lost and nothing stumbles."""
    source = tmp_path / "in"
    source.mkdir()
    for path in small[profile].glob("*.csv"):
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *rows = csv.reader(file)
        for number, row in enumerate(rows[::3]):
            row[number % len(head)] = DAMAGE[case]
        with (source / path.name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *rows])
    record = pipeline.run(source, tmp_path / "out", few_region, pipeline.Options(report=False))
    for i in record["inputs"]:
        assert i["rows_in"] == i["accepted"] + i["rejected"] + i["blank"]
    mains = ("claims.csv", "SETTLE_ZY.csv", "SETTLE_MZ.csv")
    assert record["rows"]["settlement"] == sum(i["accepted"] for i in record["inputs"] if i["path"] in mains) > 30
    settled = pl.read_parquet(tmp_path / "out" / "settlement.parquet")
    fund_and_own = settled["fund_pay_sumamt_fen"] + settled["psn_part_amt_fen"] + settled["hosp_part_amt_fen"]
    assert (fund_and_own == settled["medfee_sumamt_fen"]).all()


@pytest.fixture(scope="module")
def few_region(few_rules):
    from engine.run.region import load_region

    return load_region(rules=few_rules)


# hostile names


def test_names_that_are_code_stay_names_from_end_to_end(bundle, region, tmp_path):
    source = shutil.copytree(bundle, tmp_path / "deep" / "in", ignore=shutil.ignore_patterns("truth"))
    site = pl.read_csv(bundle / "claims.csv", infer_schema=False)["fixmedins_code"].mode().sort()[0]
    hostile = "../../outside"
    for path in source.glob("*.csv"):
        text = path.read_text("utf-8").replace(site, hostile)
        if path.stem == "institutions":
            head, *rows = text.splitlines()
            cells = [row.split(",") for row in rows]
            at = head.split(",").index("fixmedins_name")
            for row in cells:
                row[at] = '"<script>alert(1)</script>"'
            text = "\n".join([head, *(",".join(row) for row in cells)]) + "\n"
        path.write_text(text, "utf-8")
    out = tmp_path / "deep" / "out"
    pipeline.run(source, out, region)
    assert sorted(p.name for p in tmp_path.rglob("*outside*")) == [] or all(
        p.parent == out / "workbooks" for p in tmp_path.rglob("*outside*")
    )
    page = (out / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


# hostile rules

RULE = "daily-fees-exceed-stay-days"
HOSTILE = {
    "a tag that builds objects": "id: !!python/object/apply:os.system [ls]\n",
    "an anchor": "id: &a x\ntitle: *a\n",
    "a merge key": "base: &b {x: '1'}\nid:\n  <<: *b\n",
    "one key twice": "id: x\nid: x\n",
    "a list where a rule should stand": "- id: x\n",
    "an empty file": "",
    "no YAML": "id: [x\n",
    "ten thousand levels": "a: " + "[" * 10_000 + "]" * 10_000 + "\n",
    "bytes that are no text": "id: \x00\x01\n",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_rule_file_is_refused_by_name_and_harms_nothing(tmp_path, capsys, case):
    (tmp_path / "hostile.yaml").write_text(HOSTILE[case], "utf-8")
    code = call(app, ["rules", "lint", "--rules", str(tmp_path)])
    said = capsys.readouterr()
    assert code == 4
    assert "hostile.yaml:" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("pattern", ["(?=x)y", r"(a)\\1", "(?<!x)y", "(a{1000}){1000}", "[a"])
def test_a_pattern_that_not_both_engines_share_is_refused_at_load(tmp_path, capsys, pattern):
    text = next(rules_folder().rglob(f"{RULE}.yaml")).read_text("utf-8")
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("when:"))
    lines[at] = f"when: 'visit.doctor =~~ \"{pattern}\"'"
    (tmp_path / f"{RULE}.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    assert call(app, ["rules", "lint", "--rules", str(tmp_path)]) == 4
    said = capsys.readouterr().out
    assert f"{RULE}.yaml:{at + 1}:" in said
    assert "E_REGEX" in said
