"""Reading: every row of every file is accepted, rejected with a reason, or blank; nothing is lost."""

import csv
import gzip
import io
import tempfile
import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tables import dictionary, files, profiles, records, values
from engine.tables.problems import InputProblem, UsageProblem
from engine.tables.read import read

CLAIM = {
    "setl_id": "S1", "psn_no": "P1", "fixmedins_code": "H1", "med_type": "11", "begntime": "2025-01-02 08:00:00",
    "setl_time": "2025-01-02 09:00:00", "medfee_sumamt": "10.00",
}  # fmt: skip
LINE = {
    "feedetl_sn": "L1", "setl_id": "S1", "fee_ocur_time": "2025-01-02 08:30:00", "med_list_codg": "001203000010000",
    "medins_list_name": "氧气吸入", "cnt": "2", "pric": "5.00", "det_item_fee_sumamt": "10.00",
}  # fmt: skip


def text_of(rows: list[dict], delimiter: str = ",", end: str = "\n") -> str:
    out = io.StringIO()
    if len(delimiter) > 1:
        return end.join(delimiter.join(r) for r in [rows[0].keys(), *(r.values() for r in rows)]) + end
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(rows[0])
    writer.writerows(r.values() for r in rows)
    return out.getvalue()


def bundle(
    folder: Path, lines: str | bytes | list[dict], claims: list[dict] | None = None, name: str = "fee_lines.csv"
) -> Path:
    """A canonical bundle of one claim file and one line file."""
    source = folder / "in"
    source.mkdir(exist_ok=True)
    (source / "claims.csv").write_text(text_of(claims or [CLAIM]), "utf-8")
    content = text_of(lines) if isinstance(lines, list) else lines
    (source / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return source


def got(folder: Path, *args, **kwargs):
    return read(bundle(folder, *args, **kwargs), folder / "work")


def of(extract, table: str = "fee_lines") -> dict:
    return next(i for i in extract.inputs if i["table"] == table)


def codes(extract) -> list[tuple[int, str]]:
    return list(extract.rejects.select("line", "code").iter_rows())


def remarks(extract) -> set[str]:
    return set(extract.warnings["code"])


# how a file may come


@pytest.mark.parametrize(
    ("encode", "encoding"),
    [
        (lambda t: t.encode("utf-8"), "utf-8"),
        (lambda t: t.encode("utf-8-sig"), "utf-8-sig"),
        (lambda t: t.encode("gb18030"), "gb18030"),
        (lambda t: t.encode("utf-16"), "utf-16"),
    ],
)
def test_the_encoding_is_found_and_recorded(tmp_path, encode, encoding):
    line = LINE | {"medins_list_name": "药品,名称㐂𠮷"}
    extract = got(tmp_path, encode(text_of([line])))
    assert extract.tables["fee_lines"].collect()["medins_list_name"].to_list() == ["药品,名称㐂𠮷"]
    assert of(extract)["decisions"]["encoding"] == encoding


@pytest.mark.parametrize("delimiter", ["|@|", "\t", ",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiter_and_line_end_are_found_and_recorded(tmp_path, delimiter, end):
    extract = got(tmp_path, text_of([LINE, LINE | {"feedetl_sn": "L2"}], delimiter, end))
    assert of(extract)["accepted"] == 2
    assert of(extract)["decisions"]["delimiter"] == delimiter
    assert of(extract)["decisions"]["line_end"] == {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}[end]
    assert extract.tables["fee_lines"].collect()["_line"].to_list() == [2, 3]


def test_gzip_and_zip_read_as_the_plain_files_do(tmp_path):
    plain = got(tmp_path, [LINE]).tables["fee_lines"].collect().drop("_file")
    packed = tmp_path / "gz"
    packed.mkdir()
    assert (
        got(packed, gzip.compress(text_of([LINE]).encode()), name="fee_lines.csv.gz")
        .tables["fee_lines"]
        .collect()
        .drop("_file")
        .equals(plain)
    )
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("sub/claims.csv", text_of([CLAIM]))
        out.writestr("sub/fee_lines.csv", text_of([LINE]))
    zipped = read(archive, tmp_path / "work-zip")
    assert zipped.tables["fee_lines"].collect().drop("_file").equals(plain)
    assert [i["path"] for i in zipped.inputs] == ["bundle.zip/sub/claims.csv", "bundle.zip/sub/fee_lines.csv"]


def test_parquet_reads_as_text_does(tmp_path):
    plain = got(tmp_path, [LINE]).tables["fee_lines"].collect().drop("_file", "_line", "_day_only")
    source = tmp_path / "pq"
    source.mkdir()
    pl.DataFrame([CLAIM]).write_parquet(source / "claims.parquet")
    typed = pl.DataFrame([LINE]).with_columns(
        pl.col("cnt").cast(pl.Decimal(10, 2)),
        pl.col("det_item_fee_sumamt").cast(pl.Float64),
        pl.col("fee_ocur_time").str.to_datetime(),
    )
    typed.write_parquet(source / "fee_lines.parquet")
    extract = read(source, tmp_path / "work-pq")
    assert extract.tables["fee_lines"].collect().drop("_file", "_line").equals(plain)
    assert "W_FLOAT_MONEY" in remarks(extract)


def test_a_sheet_reads_as_text_does_and_two_sheets_are_refused(tmp_path):
    pytest.importorskip("fastexcel", reason="no reader of xlsx is installed")
    plain = got(tmp_path, [LINE]).tables["fee_lines"].collect().drop("_file")
    source = tmp_path / "xlsx"
    source.mkdir()
    (source / "claims.csv").write_text(text_of([CLAIM]))
    book = xlsxwriter.Workbook(source / "fee_lines.xlsx")
    sheet = book.add_worksheet("明细")
    for row, cells in enumerate((LINE.keys(), LINE.values())):
        sheet.write_row(row, 0, cells)
    book.close()
    assert read(source, tmp_path / "work-xlsx").tables["fee_lines"].collect().drop("_file").equals(plain)
    book = xlsxwriter.Workbook(source / "fee_lines.xlsx")
    for _ in range(2):
        book.add_worksheet().write_row(0, 0, LINE)
    book.close()
    with pytest.raises(InputProblem, match="一个工作表"):
        read(source, tmp_path / "work-xlsx")


def test_a_float_column_with_part_fen_is_no_money(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    pl.DataFrame([CLAIM]).with_columns(medfee_sumamt=pl.lit(10.001)).write_parquet(source / "claims.parquet")
    with pytest.raises(InputProblem, match="浮点"):
        read(source, tmp_path / "work")


def test_header_order_case_width_and_blanks_do_not_matter(tmp_path):
    text = text_of([{k: LINE[k] for k in reversed(LINE)}])
    head, body = text.split("\n", 1)
    head = head.replace("cnt", " CNT ").replace("pric", "ｐｒｉｃ")
    assert got(tmp_path, head + "\n" + body).tables["fee_lines"].collect()["pric"].to_list() == [Decimal("5.000000")]


REFUSED = {
    "empty file": (b"", "空文件"),
    "mixed encodings": (b"a,b\n" + "药".encode("gb18030") + "药\n".encode() + b"\xff\xff\n", "编码混杂"),
    "an xlsx by another name": (b"PK\x03\x04rest", "实为 xlsx"),
    "an xls by another name": (b"\xd0\xcf\x11\xe0rest", "实为 xls"),
    "a web page by another name": (b"<html><table></table></html>", "实为 html"),
    "the same column twice": (text_of([LINE]).replace("medins_list_name", "cnt"), "表头重复"),
    "a required column missing": (text_of([{k: v for k, v in LINE.items() if k != "cnt"}]), "缺少必需列：cnt"),
    "no header": (",".join(LINE.values()) + "\n", "缺少必需列"),
    "a last line cut off": (text_of([LINE]) + "L2,S1,2025-01", "末行"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_trusted_is_refused(tmp_path, case):
    content, message = REFUSED[case]
    with pytest.raises(InputProblem, match=message) as problem:
        got(tmp_path, content)
    assert "fee_lines.csv" in str(problem.value)


def test_a_misspelt_column_is_named_with_what_was_likely_meant(tmp_path):
    with pytest.raises(InputProblem, match="fee_ocur_time 是否写成了 fee_occur_time"):
        got(tmp_path, text_of([LINE]).replace("fee_ocur_time", "fee_occur_time"))


def test_a_cut_off_gzip_is_refused(tmp_path):
    with pytest.raises(InputProblem, match="不完整"):
        got(tmp_path, gzip.compress(text_of([LINE] * 500).encode())[:-20], name="fee_lines.csv.gz")


def test_the_same_file_under_two_names_is_refused(tmp_path):
    source = bundle(tmp_path, [LINE])
    (source / "fee_lines_2.csv").write_bytes((source / "fee_lines.csv").read_bytes())
    with pytest.raises(InputProblem, match="完全相同"):
        read(source, tmp_path / "work")


@pytest.mark.parametrize("member", ["../../x.csv", "/etc/x.csv", "a/../../x.csv", "C:/x.csv", "inner.zip"])
def test_an_archive_that_reaches_outside_is_refused(tmp_path, member):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr(member, "x")
    with pytest.raises(InputProblem):
        read(archive, tmp_path / "work")


def test_an_archive_that_swells_beyond_reason_is_refused(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("claims.csv", "0" * (64 << 20))
    with pytest.raises(InputProblem, match="炸弹"):
        read(archive, tmp_path / "work")


def test_unknown_files_are_listed_and_a_bundle_of_none_known_is_refused(tmp_path):
    source = bundle(tmp_path, [LINE])
    (source / "notes.csv").write_text("a,b\n1,2\n")
    extract = read(source, tmp_path / "work")
    assert extract.warnings.filter(pl.col("code") == "W_FILE_SKIPPED")["file"].to_list() == ["notes.csv"]
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputProblem, match="canonical、flight-inspection-2024、platform"):
        read(lonely, tmp_path / "work")


def test_a_file_is_known_by_its_header_when_its_name_says_nothing(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "export-of-may.csv").write_text(text_of([LINE]))
    assert of(read(source, tmp_path / "work"))["accepted"] == 1


def test_a_header_without_rows_is_an_empty_table_and_a_remark(tmp_path):
    extract = got(tmp_path, text_of([LINE]).split("\n")[0] + "\n")
    assert of(extract)["rows_in"] == 0
    assert extract.tables["fee_lines"].collect().is_empty()
    assert "W_NO_ROWS" in remarks(extract)


# rows

FULL = ",".join(LINE.values())
HEAD = ",".join(LINE)
SET_ASIDE = {
    "a short row": ("L2,S1,2025-01-02 08:30:00,001203000010000", "E_FIELDS"),
    "an unquoted comma in a name": (FULL.replace("氧气吸入", "氧气,吸入"), "E_FIELDS"),
    "two surplus fields": (FULL + ",x,y", "E_FIELDS"),
    "a NUL": (FULL.replace("氧", "\x00"), "E_NUL"),
    "mojibake": (FULL.replace("氧气吸入", "锟斤拷"), "E_MOJIBAKE"),
    "a totals row": ("合计,,,,,,,10.00", "E_TOTAL_ROW"),
    "a short totals row": ("总计,10.00", "E_TOTAL_ROW"),
    "the header again": (HEAD, "E_HEADER_ROW"),
    "the header again, quoted": (",".join(f'"{name}"' for name in LINE), "E_HEADER_ROW"),
    "an orphan": (FULL.replace("S1", "S9"), "E_ORPHAN"),
    "an amount that is none": (FULL.replace("10.00", "abc"), "E_NUMBER"),
    "an amount with part fen": (FULL.replace("10.00", "10.005"), "E_DECIMALS"),
    "an amount beyond belief": (FULL.replace("10.00", "12345678901.00"), "E_RANGE"),
    "no number at all": (FULL.replace("10.00", "1e308"), "E_NUMBER"),
    "a day that never was": (FULL.replace("2025-01-02", "2025-02-30"), "E_DATE"),
    "a time zone": (FULL.replace("08:30:00", "08:30:00+08:00"), "E_TIMEZONE"),
    "a code in scientific notation": (FULL.replace("001203000010000", "1.203E+12"), "E_SCI_NOTATION"),
    "a key in scientific notation": (FULL.replace("L1", "1.2E+10"), "E_SCI_NOTATION"),
    "no key": (FULL.replace("L1", ""), "E_NO_KEY"),
    "a quote that never closes": (FULL.replace("氧气吸入", '"氧气,吸入'), "E_QUOTE"),
    "a field without end": (FULL.replace("氧气吸入", "氧" * 400_000), "E_TOO_LONG"),
}


@pytest.mark.parametrize("case", SET_ASIDE)
def test_a_row_that_cannot_be_used_is_set_aside_with_its_line_and_the_others_stand(tmp_path, case):
    row, code = SET_ASIDE[case]
    before, after = (FULL.replace("L1", key) for key in ("B1", "B2"))
    extract = got(tmp_path, "\n".join([HEAD, before, "", row, after]) + "\n")
    assert codes(extract) == [(4, code)]
    counts = of(extract)
    assert (counts["rows_in"], counts["accepted"], counts["rejected"], counts["blank"]) == (4, 2, 1, 1)
    assert extract.tables["fee_lines"].collect().sort("_line")["_line"].to_list() == [2, 5]


ACCEPTED = {
    "one surplus field": (FULL + ",备注", "W_EXTRA_FIELD", {}),
    "a surplus blank field": (FULL + ",", "W_EXTRA_FIELD", {}),
    "surplus blank fields behind a quoted comma": (
        FULL.replace("氧气吸入", '"氧气, 吸入"') + ",,",
        "W_EXTRA_FIELD",
        {},
    ),
    "full-width digits": (FULL.replace(",2,", ",２．０,"), "W_FULLWIDTH", {"cnt": Decimal("2.0000")}),
    "full-width code": (FULL.replace("S1", "Ｓ１"), "W_FULLWIDTH", {"setl_id": "S1"}),
    "thousands and currency": (FULL.replace("10.00", '"￥1,010.00"'), "W_NUMBER_FORM", {"det_item_fee_sumamt": 101000}),
    "a negative in brackets": (FULL.replace("10.00", "(10.00)"), "W_NUMBER_FORM", {"det_item_fee_sumamt": -1000}),
    "text like a formula": (FULL.replace("氧气吸入", "=1+1"), "W_FORMULA", {"medins_list_name": "=1+1"}),
    "midnight as 24": (FULL.replace("08:30:00", "24:00:00"), "W_DATE_FORM", {"fee_ocur_time": datetime(2025, 1, 3)}),
    "blanks nobody sees": (
        FULL.replace("氧气吸入", " 氧气\u200b吸入\u3000"),
        "W_SPACE",
        {"medins_list_name": "氧气吸入"},
    ),
    "no price": (FULL.replace("5.00", ""), "W_MISSING", {"pric": None}),
    "a quote inside a field": (FULL.replace("氧气吸入", '5"导管'), "W_QUOTE", {"medins_list_name": '5"导管'}),
    "an export's word for nothing": (FULL.replace("氧气吸入", "NULL"), "W_BAD_VALUE", {"medins_list_name": None}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_row_of_odd_form_is_accepted_with_a_remark(tmp_path, case):
    row, code, expected = ACCEPTED[case]
    extract = got(tmp_path, "\n".join([HEAD, row]) + "\n")
    assert codes(extract) == []
    assert code in remarks(extract)
    line = extract.tables["fee_lines"].collect().to_dicts()[0]
    assert {k: line[k] for k in expected} == expected


def test_a_surplus_field_is_no_shift_where_codes_are_written_in_chinese(tmp_path):
    extra = FULL.replace("001203000010000", "氧").replace("L1", "L2") + ","
    assert codes(got(tmp_path, "\n".join([HEAD, FULL.replace("001203000010000", "氧疗"), extra]) + "\n")) == []


def test_codes_keep_their_zeros_and_all_their_digits(tmp_path):
    line = LINE | {"med_list_codg": "00123456789012345678"}
    assert got(tmp_path, [line]).tables["fee_lines"].collect()["med_list_codg"].to_list() == ["00123456789012345678"]


def test_a_record_over_several_lines_is_one_row_at_its_first_line(tmp_path):
    quoted = FULL.replace("氧气吸入", '"氧气\n吸入, 一级"')
    extract = got(tmp_path, "\n".join([HEAD, quoted, FULL.replace("L1", "L2")]) + "\n")
    lines = extract.tables["fee_lines"].collect().sort("_line")
    assert lines.select("_line", "medins_list_name").rows() == [(2, "氧气\n吸入, 一级"), (4, "氧气吸入")]


def test_of_equal_rows_with_one_key_the_first_stands_of_different_ones_none(tmp_path):
    extract = got(
        tmp_path, "\n".join([HEAD, FULL, FULL, *(FULL.replace("L1", "L2").replace(",2,", f",{n},") for n in "34")])
    )
    assert codes(extract) == [(3, "E_DUP"), (4, "E_DUP_CONFLICT"), (5, "E_DUP_CONFLICT")]
    assert extract.tables["fee_lines"].collect()["_line"].to_list() == [2]


def test_lines_of_a_rejected_claim_are_orphans(tmp_path):
    claims = [CLAIM, CLAIM | {"medfee_sumamt": "20.00"}]
    assert ("fee_lines.csv", 2, "E_ORPHAN") in list(
        got(tmp_path, [LINE], claims).rejects.select("file", "line", "code").iter_rows()
    )


def test_rejects_never_show_a_whole_identity_number_or_name(tmp_path):
    row = "L2,S1,440106198001011234,张三丰,1980-01-01"
    raw = got(tmp_path, "\n".join([HEAD, row]) + "\n").rejects["raw"][0]
    assert "440106198001011234" not in raw
    assert "张三丰" not in raw
    assert "01-01" not in raw
    assert "440***1234" in raw


def test_money_of_the_accepted_rows_is_totalled_per_file(tmp_path):
    extract = got(tmp_path, [LINE, LINE | {"feedetl_sn": "L2", "det_item_fee_sumamt": "0.01"}])
    assert of(extract)["control_totals"] == {"det_item_fee_sumamt": 1001}


def test_reading_in_small_chunks_gives_the_same(tmp_path, monkeypatch):
    rows = [LINE | {"feedetl_sn": f"L{i}", "medins_list_name": "甲\n乙" if i % 7 == 0 else "丙"} for i in range(200)]
    whole = got(tmp_path, rows).tables["fee_lines"].collect()
    monkeypatch.setattr(records.chunks, "__defaults__", (700,))
    parts = got(tmp_path, rows)
    assert parts.tables["fee_lines"].collect().equals(whole)
    assert of(parts)["accepted"] == 200


FIELD = st.text(alphabet=st.sampled_from('ab,"\n 药1'), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=8))
def test_what_a_csv_writer_wrote_is_read_back_field_by_field(rows):
    # a lone quoted blank line or a totals word is none of this test's business
    rows = [("k", *r) for r in rows]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["k", "x", "y", "z"])
    writer.writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(out.getvalue(), "utf-8", newline="")
        source = files.sources(path, Path(folder) / "work")[0]
        shape = records.layout(source)
        good = pl.concat([c.good for c in records.chunks(source, shape, ["k", "x", "y", "z"])])
    assert good.select("k", "x", "y", "z").fill_null("").rows() == rows


# values


def parsed(kind: str, *texts):
    result = values.parse(pl.Series(texts, dtype=pl.String), dictionary.Field("t", "f", kind, "R", ""))
    code = result.code.to_list() if result.code is not None else [None] * len(texts)
    return list(zip(result.values.to_list(), code, strict=True))


def test_money_is_read_to_the_fen_from_the_listed_forms_and_no_others():
    assert parsed("money", "1,234.50", "￥12", "12元", "(5.00)", "-3.1", "12.3400") == [
        (123450, "W_NUMBER_FORM"), (1200, "W_NUMBER_FORM"), (1200, "W_NUMBER_FORM"), (-500, "W_NUMBER_FORM"),
        (-310, None), (1234, None),
    ]  # fmt: skip
    assert [v for v, _ in parsed("money", "12.345", "1,23.4", "NaN", "inf", "1e5", "9999999999.99", "10000000000")] == [
        None, None, None, None, None, 999_999_999_999, None,
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12) + 1, 10**12 - 1))
def test_every_amount_in_fen_survives_being_written_in_yuan(fen):
    text = f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02}"
    assert parsed("money", text) == [(fen, None)]


def test_decimals_are_exact_or_refused():
    assert parsed("decimal(16,4)", "2.5", "0.00005", "1.00000") == [
        (Decimal("2.5000"), None), (None, "E_DECIMALS"), (Decimal("1.0000"), None),
    ]  # fmt: skip


def test_only_the_declared_forms_of_dates_are_read():
    assert [v for v, _ in parsed("date", "2024-02-29", "20240105", "2024/1/5", "2024-01-05 10:00:00")] == [
        date(2024, 2, 29), date(2024, 1, 5), date(2024, 1, 5), date(2024, 1, 5),
    ]  # fmt: skip
    refused = ("2024-02-30", "0000-00-00", "1900-01-00", "45296", "二〇二四年", "05/01/2024", "2024-13-01")
    assert [c for _, c in parsed("date", *refused)] == ["E_DATE"] * len(refused)


# profiles

ZY = {
    "HOSPITAL_ID": "H1", "HOSPITAL_NAME": "甲医院", "BRIDGE_ID": "B1", "HISID": "Z1", "P_LEVEL": "3",
    "BILL_DATE": "2025-01-05 10:00:00", "ZYH": "1", "PATIENT_ID": "P1", "SOCIAL_ID": "S",
    "ID_CARD": "11010119800101123x", "BENEFIT_TYPE": "城镇职工", "BENEFIT_GROUP_ID": "在职",
    "ADMISSION_DEPT_NAME": "内科", "DISCHARGE_DEPT_NAME": "内科", "DOCTOR_NAME": "李",
    "PATIENT_GENDER": "男", "PATIENT_BIRTHDAY": "1980-01-01", "PATIENT_AGE": "45.00",
    "CLAIM_TYPE": "普通住院", "IF_LOCAL_FLAG": "本地", "ADMISSION_DATE": "2025-01-02", "DISCHARGE_DATE": "2025-01-05",
    "ZYTS": "3.00", "DISCHARGE_STATUS": "4", "TOTAL_AMOUNT": "100.00", "BMI_PAY_AMOUNT": "60.00", "CASH": "30.00",
    "SELF_PAY_AMOUNT": "10.00", "SELF_PAY_IN": "35.00", "SELF_PAY_OUT": "5.00", "BMI_CONVERED_AMOUNT": "95.00",
    "MEDICAL_INSURANCE_FLAG": "0", "REFUND_FLAG_TYPE": "0", "REFUND_HISID": "",
}  # fmt: skip
ZY_DETAIL = {
    "HOSPITAL_ID": "H1", "HOSPITAL_NAME": "甲医院", "HISID": "Z1", "PATIENT_ID": "P1", "ID_CARD": "11010119800101123X",
    "BILLING_DEPT_NAME": "内科", "USAGE_DATE": "2025-01-03 08:00:00", "EXCUTE_DEPT_ID": "1", "EXCUTE_DEPT_NAME": "内科",
    "DOCTOR_NAME": "李", "P_CATEGORY": "西药费", "BILL_DATE": "2025-01-05 10:00:00", "ITEM_ID_HOSP": "Y1",
    "ITEM_NAME_HOSP": "药", "ITEM_ID": "XA01", "ITEM_NAME": "药", "UNIT_PRICE": "50.00", "NUM": "2.00",
    "COST": "100.00", "SELF_PAY_LIMIT": "0.00", "BMI_CONVERED_AMOUNT": "95.00", "P_TYPE": "乙", "P_TYPE_PCT": "0.95",
    "REFUND_FLAG_TYPE": "0", "REFUND_HISID": "",
}  # fmt: skip
DIAGNOSIS = {
    "HOSPITAL_ID": "H1", "HOSPITAL_NAME": "甲医院", "BRIDGE_ID": "B1", "HISID": "Z1", "ZYH": "1", "PATIENT_ID": "P1",
    "ID_CARD": "x", "ADMISSION_DISEASE_ID": "I10.x00|E11.900", "ADMISSION_DISEASE_NAME": "高血压|糖尿病",
    "DISCHARGE_DISEASE_ID_MAIN": "I10.x00", "DISCHARGE_DISEASE_NAME_MAIN": "高血压",
    "DISCHARGE_DISEASE_ID_OTHER1": "E11.900", "DISCHARGE_DISEASE_NAME_OTHER1": "糖尿病",
    "DISCHARGE_DISEASE_ID_OTHER2": "", "DISCHARGE_DISEASE_NAME_OTHER2": "",
}  # fmt: skip
INVENTORY = {
    "HOSPITAL_ID": "H1", "HOSPITAL_NAME": "甲医院", "INVENTORY_NAME": "药库", "INVENTORY_LEVEL": "一级库",
    "STORE_CODE": "R1", "STORE_DATE": "2025-01-01 09:00:00", "UNT": "件", "IMPORT_PRIC": "100.00", "IMPORT_CNT": "9.00",
    "ITEM_ID_STORE": "W1", "ITEM_NAME_STORE": "药", "INVOICE_NO": "F1", "BATCH_NUMBER": "B1", "SPEC": "s",
    "DRUG_TRACEABILITY_CODE": "8.12346E+19",
    "PROD_CONVRAT": "3", "MIN_PRCUNT": "支", "SPLER_NAME": "商", "PRODENTP_NAME": "厂",
}  # fmt: skip
WORDINGS = pl.DataFrame(
    {
        "field": ["claims.visit_kind", "claims.psn_type", "fee_lines.med_chrgitm_type"],
        "wording": ["普通住院", "在职", "西药费"],
        "value": ["inpatient", "employee", "09"],
    }
)


@pytest.fixture
def flight(tmp_path):
    source = tmp_path / "flight"
    source.mkdir()
    tables = {
        "SETTLE_ZY": ZY, "SETTLE_ZY_DETAIL": ZY_DETAIL, "SETTLE_ZY_DIAGNOSIS": DIAGNOSIS,
        "HIS_VS_YB_INVENTORY": INVENTORY,
    }  # fmt: skip
    for name, row in tables.items():
        (source / f"{name}.csv").write_text(text_of([row]), "utf-8")
    return source


def test_the_flight_inspection_form_becomes_canonical_tables(flight, tmp_path):
    extract = read(flight, tmp_path / "work", wordings=WORDINGS)
    assert extract.profile == "flight-inspection-2024"
    claim = extract.tables["claims"].collect().to_dicts()[0]
    expected = {
        "setl_id": "Z1", "medcasno": "B1", "visit_kind": "inpatient", "psn_type": "employee", "insutype": None,
        "gend": "1", "age": 45, "act_ipt_days": 3, "dscg_way": "5", "insured_flag": "1", "local_flag": "1",
        "refd_setl_flag": "0",
        "medfee_sumamt": 10000, "fund_pay_sumamt": 6000, "hifp_pay": 6000, "psn_part_amt": 4000, "acct_pay": 1000,
        "psn_cash_pay": 3000, "inscp_scp_amt": 9500, "endtime": datetime(2025, 1, 5), "brdy": date(1980, 1, 1),
    }  # fmt: skip
    assert {k: claim[k] for k in expected} == expected
    line = extract.tables["fee_lines"].collect().to_dicts()[0]
    assert (line["feedetl_sn"], line["chrgitm_lv"], line["selfpay_prop"]) == (
        "SETTLE_ZY_DETAIL:2",
        "02",
        Decimal("0.0500"),
    )
    assert (line["cnt"], line["pric"], line["med_chrgitm_type"]) == (Decimal("2.0000"), Decimal("50.000000"), "09")
    diagnoses = extract.tables["diagnoses"].collect().sort("seq")
    assert diagnoses.select("seq", "diag_code", "maindiag_flag", "diag_stage").rows() == [
        (1, "I10.x00", "1", "discharge"), (2, "E11.900", "0", "discharge"),
        (101, "I10.x00", "0", "admission"), (102, "E11.900", "0", "admission"),
    ]  # fmt: skip
    move = extract.tables["stock_moves"].collect().to_dicts()[0]
    assert (move["cnt"], move["pric"], move["drug_trac_codg"]) == (Decimal("27.0000"), Decimal("33.333333"), None)
    person = extract.tables["persons"].collect().to_dicts()[0]
    assert (person["psn_no"], person["certno"]) == ("P1", "11010119800101123X")
    assert {"W_ID_LOWER_X", "E_SCI_NOTATION", "W_UNMAPPED"} <= remarks(extract)
    assert extract.rejects.is_empty()


def test_a_word_without_a_mapping_stays_blank_and_is_counted(flight, tmp_path):
    extract = read(flight, tmp_path / "work", wordings=WORDINGS.with_columns(wording=pl.col("wording") + "类"))
    assert extract.tables["claims"].collect()["visit_kind"].to_list() == [None]
    words = extract.warnings.filter(pl.col("code") == "W_UNMAPPED", pl.col("column") == "P_CATEGORY")
    text = "本地用语未在对照表中，已按空处理：fee_lines.med_chrgitm_type 无“西药费”，1 行"
    assert words.select("line", "reason").rows() == [(2, text)]


def test_coverage_is_the_whole_months_a_site_settled_in(flight, tmp_path):
    extract = read(flight, tmp_path / "work", wordings=WORDINGS)
    rows = extract.coverage.select("table", "begndate", "enddate").rows()
    assert ("claims", date(2025, 1, 1), date(2025, 1, 31)) in rows
    assert ("fee_lines", date(2025, 1, 1), date(2025, 1, 31)) in rows


def test_a_user_can_write_a_profile_for_a_local_system(tmp_path):
    own = tmp_path / "local.yaml"
    own.write_text(
        """
name: local
label: 本院导出
files:
  bills:
    label: 收费
    required: bill person place day total
    role: main
    key: bill
    keyspace: claims
    tables:
      claims:
        setl_id: bill
        psn_no: person
        fixmedins_code: place
        setl_time: day
        begntime: day
        medfee_sumamt: total
        refd_setl_flag: {from: kind, values: {退: "1", 收: "0"}}
    known: kind
""",
        "utf-8",
    )
    source = tmp_path / "in"
    source.mkdir()
    (source / "bills.csv").write_text("bill,person,place,day,total,kind\n1,p,h,2025/1/5,3.5,收\n", "utf-8")
    claim = read(source, tmp_path / "work", profile=str(own)).tables["claims"].collect().to_dicts()[0]
    assert (claim["setl_id"], claim["medfee_sumamt"], claim["refd_setl_flag"]) == ("1", 350, "0")


def test_an_extract_of_the_platform_becomes_canonical_tables(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    claim = {k: v for k, v in CLAIM.items() if k != "begntime"} | {"begndate": "2025-01-02", "psn_pay": "4.00"}
    (source / "setl_d.csv").write_text(text_of([claim, claim | {"setl_id": "S2"}]))
    lines = [LINE | {"mdtrt_id": v, "setl_id": s, "init_feedetl_sn": ""} for v, s in (("V1", "S1"), ("V2", "S2"))]
    (source / "fee_list_d.csv").write_text(text_of(lines))
    diagnoses = [{"setl_id": "S1", "diag_code": c, "maindiag_flag": f} for c, f in (("E11.900", "0"), ("I10.x00", "1"))]
    (source / "setl_list_diag_d.csv").write_text(text_of(diagnoses))
    extract = read(source, tmp_path / "work")
    assert extract.profile == "platform"
    assert extract.tables["claims"].collect()["psn_part_amt"].to_list() == [400, 400]
    assert extract.tables["fee_lines"].collect()["feedetl_sn"].to_list() == ["V1-L1", "V2-L1"]
    rows = extract.tables["diagnoses"].collect().select("seq", "diag_code").rows()
    assert rows == [(1, "I10.x00"), (2, "E11.900")]


def test_every_mapped_field_of_every_profile_is_in_the_dictionary():
    for name in profiles.names():
        assert profiles.load(name).files


def test_an_unknown_profile_is_named_with_the_nearest(tmp_path):
    with pytest.raises(UsageProblem, match="是否为 canonical"):
        read(bundle(tmp_path, [LINE]), tmp_path / "work", profile="cannonical")


USUAL = ["2025-08-07{s}11:37:00", "2025-08-07{s}11:37:09.500000", "2025-8-7{s}1:37", "2025-08-07{s}24:00:00"]
MOMENTS = [u.format(s=s) for u in USUAL for s in " T"] + [u.format(s=" ").replace("-", "/") for u in USUAL]
MOMENTS += ["20250807113709", "20250807 11:37:09", "2025080711370", "20250807", "2025-08-07 11:37:5", "2025-08-07 11:7"]
MOMENTS += [
    "+2025-08-07 11:37",
    "2025-08- 7 11:37",
    "2025-08-07T11:37:00Z",
    "2025-02-30T00:00:00",
    "1700-01-01T00:00:00",
]


def test_a_moment_read_the_fast_way_is_the_moment_the_slow_way_reads():
    fast = values.times(pl.Series([*MOMENTS, None]))
    slow = values._odd_times(pl.DataFrame({"t": [*MOMENTS, None]}))
    assert fast.values.to_list()[:-1] == slow["v"].to_list()[:-1]
    assert fast.code.to_list()[:-1] == slow["c"].to_list()[:-1]
    assert fast.values[-1] is None and fast.code[-1] is None
