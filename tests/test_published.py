"""Published knowledge-point files as tables: every shape they come in, every row and its fate, every refusal.

The files of these tests are our own; the real ones are read in test_published_points.py.
"""

import csv
import json
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

import synthetic.cli  # noqa: F401  registers every command
from engine.reference.importing import import_published, write_tables
from engine.reference.knowledge import load_knowledge, read_table
from engine.reference.points import days_of
from engine.reference.published import spec
from engine.tables.problems import InputProblem, UsageProblem

PAIRS = "序号,频度,主项名称,主项编码,从项名称,从项编码,备注"
NAMES, CODES = "药品通用名,药品说明,限定类型,限定对象", "药品通用名,序号,国标代码,限定类型"
SERVICE = "项目名称,项目说明,国标代码,限定类型,限定值域"
NOTES = "序号,项目名称,备注,项目代码"
FREQUENCY, PERIOD = "序号,项目名称,限制数量,数量单位,项目编码", "序号,项目名称,频次上限,疗程周期,备注,项目代码"
A, B, C = "001199000010000", "001199000020000", "001199000030000"
DRUG, OTHER = "XA01AAA001A001010100001", "ZA01AAA0010010100001"


def write(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return folder / name


def book(path: Path, **sheets: list[list]) -> Path:
    with xlsxwriter.Workbook(path) as made:
        for name, rows in sheets.items():
            sheet = made.add_worksheet(name)
            for at, row in enumerate(rows):
                sheet.write_row(at, 0, row)
    return path


def got(*paths: Path, **how):
    return import_published([*paths], **{"keep": False, **how})


def refusals(imported) -> list[tuple[int, str, str]]:
    return [(r.line, r.column, r.what) for r in imported.remarks if r.severity == "refused"]


# --- what each file becomes -------------------------------------------------------------------------------------------

SERVICES = {
    "sex": (f"某检查,,{A},限定性别对象,女", "sex_limits", {"rule": 51, "gend": "2"}),
    "a child": (f"某检查,,{A},限定年龄对象,儿童", "age_limits", {"rule": 53, "max_years": 17, "max_days": None}),
    "a small child": (f"某检查,,{A},限定年龄对象,婴幼儿", "age_limits", {"rule": 53, "max_years": 3}),
    "a newborn": (f"某检查,,{A},限定年龄对象,新生儿", "age_limits", {"rule": 53, "max_years": None, "max_days": 28}),
    "incision": (f"某手术,,{A},限定主次操作,某手术组", "incision_groups", {"group": "某手术组"}),
    "insurance": (f"某检查,,{A},限定保险类型,工伤", "insurance_limits", {"rule": 59, "only": "work_injury"}),
    "level": (f"某检查,,{A},限定机构等级,三级", "level_limits", {"rule": 56, "min_level": 3}),
    "outpatients": (f"某检查,,{A},限定就医方式,急诊", "visit_limits",
                    {"rule": 57, "visit_kinds": "emergency_inpatient|emergency_outpatient"}),
    "course": (f"某治疗,,{A},限定支付疗程,12个月", "course_limits",
               {"rule": None, "max_days": 365, "per": "visit", "counted": "span"}),
}  # fmt: skip


@pytest.mark.parametrize("what", SERVICES)
def test_a_limit_of_a_service_becomes_a_row(tmp_path, what):
    row, table, expected = SERVICES[what]
    write_tables(got(write(tmp_path, "x.csv", SERVICE, row)), tmp_path / "out")
    (made,) = read_table(tmp_path / "out" / f"{table}.csv").to_dicts()
    assert made["med_list_codg"] == A and made["grade"] == "national"
    assert made["source"].startswith("国家知识点第")
    assert {name: made[name] for name in expected} == expected


OTHERS = {
    "days": (FREQUENCY, f"1,某护理,1,日,{A}", "frequency_limits", [{"max_per_day": 1, "unit": "日", "rule": None}]),
    "days, otherwise": (FREQUENCY, f"1,某镇痛,1,天,{A}", "frequency_limits", [{"max_per_day": 1, "unit": "日"}]),
    "hours": (FREQUENCY, f"1,某监测,24,小时,{A}", "frequency_limits", [{"max_per_day": 24, "unit": "小时"}]),
    "a period": (PERIOD, f"1,某试验,1,14,间隔14天,{A}", "period_limits",
                 [{"max_count": 1, "window_days": 14, "per": "visit", "rule": None}]),
    "a period of a test": (PERIOD, "1,某测定,1,7,,002599000010000", "period_limits", [{"per": "person"}]),
    "a course in a note": (NOTES, f"1,某训练,支付不超过30天。,{A}", "course_limits",
                           [{"max_days": 30, "counted": "span"}]),
    "a year in a note": (NOTES, f"1,某训练,一个疾病过程支付不超过一年,{A}", "course_limits", [{"max_days": 365}]),
    "an age in a note": (NOTES, f"1,某训练,参保人年龄超出法定就业年龄限制,{A}", "age_limits",
                         [{"gend": "1", "max_years": 60, "grade": "demo"}, {"gend": "2", "max_years": 55}]),
    "a pair": (PAIRS, f"1,6小时,某甲,{A},某乙,{B},含某乙", "pairs",
               [{"main": A, "included": B, "window": "6h", "note": "含某乙", "included_name": "某乙", "rule": None}]),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_a_row_of_the_other_files_becomes_its_rows(tmp_path, what):
    header, row, table, expected = OTHERS[what]
    imported = got(write(tmp_path, "x.csv", header, row))
    write_tables(imported, tmp_path / "out")
    made = read_table(tmp_path / "out" / f"{table}.csv").to_dicts()
    assert [{name: row[name] for name in wanted} for row, wanted in zip(made, expected, strict=True)] == expected
    assert imported.remarks == []


def test_a_note_may_say_several_things(tmp_path):
    note = f"1,某评定,总时间不超过90天，评定间隔时间不短于14天。,{A}"
    tables = got(write(tmp_path, "x.csv", NOTES, note, f"2,某训练,每周最多支付一次，支付不超过一年,{B}")).tables
    assert [(r["med_list_codg"], r["max_days"]) for r in tables["course_limits"]] == [(A, "90"), (B, "365")]
    assert [(r["med_list_codg"], r["window_days"]) for r in tables["period_limits"]] == [(A, "14"), (B, "7")]


def test_the_codes_of_a_drug_get_the_limit_of_its_name(tmp_path):
    names = write(tmp_path, "n.csv", NAMES, "某片,限男性,限定性别对象,男", "某栓,,限定性别对象,女")
    codes = write(tmp_path, "c.csv", CODES, f"某片,1,{DRUG},限定性别对象", f"某栓,1,{OTHER},限定性别对象")
    imported = got(names, codes)
    rows = [(row["rule"], row["med_list_codg"], row["name"], row["gend"]) for row in imported.tables["sex_limits"]]
    assert rows == [("50", DRUG, "某片", "1"), ("50", OTHER, "某栓", "2")]
    counted = {Path(f["file"]).name: (f["rows"], f["written"], f["merged"], f["refused"]) for f in imported.files()}
    assert counted == {"c.csv": (2, 2, 0, 0), "n.csv": (2, 0, 2, 0)}


@pytest.mark.parametrize(("text", "days"), [("14天", 14), ("12个月", 365), ("一年", 365), ("两周", 14), ("周", 7),
                                            ("1个月", 31), ("3月", 92), ("14", None), ("若干天", None)])  # fmt: skip
def test_a_length_of_time_is_read_in_days(text, days):
    assert days_of(text) == days


# --- how a file may come ----------------------------------------------------------------------------------------------

ROWS = [PAIRS, f"1,单日,某甲,{A},某乙,{B},", f"2,单次就诊,某甲,{A},某丙,{C},含某丙"]


def bytes_of(imported, out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in write_tables(imported, out)}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_the_encoding_and_the_name_of_a_file_do_not_matter(tmp_path, encoding):
    plain = bytes_of(got(write(tmp_path, "a.csv", *ROWS)), tmp_path / "1")
    other = bytes_of(got(write(tmp_path, "第八批年龄.csv", *ROWS, encoding=encoding)), tmp_path / "2")
    assert plain == other
    assert b"\r" not in plain["pairs.csv"] and plain["pairs.csv"].endswith(b"\n")


def test_a_workbook_reads_as_text_does_with_titles_and_several_sheets(tmp_path):
    cells = [line.split(",") for line in ROWS]
    frequency = [FREQUENCY.split(","), ["1", "某护理", 1, "日", A]]
    path = book(tmp_path / "x.xlsx", 一=[["附件 某批"], [], *cells, [], ["备注：各地细化"]], 二=frequency, 三=[])
    imported = got(path)
    plain = got(write(tmp_path, "a.csv", *ROWS), write(tmp_path, "b.csv", FREQUENCY, f"1,某护理,1,日,{A}"))
    assert bytes_of(imported, tmp_path / "1") == bytes_of(plain, tmp_path / "2")
    assert [(Path(f["file"]).name, f["rows"], f["footers"]) for f in imported.files()] == [
        ("x.xlsx[一]", 2, 1), ("x.xlsx[二]", 1, 0),
    ]  # fmt: skip


def test_the_order_of_columns_of_rows_and_of_files_does_not_matter(tmp_path):
    first = write(tmp_path, "a.csv", *ROWS)
    turned = [",".join(line.split(",")[::-1]) for line in [ROWS[0].replace("频度", "频 度"), *ROWS[:0:-1]]]
    second = write(tmp_path, "b.csv", *turned)
    names = write(tmp_path, "n.csv", NAMES, "某片,,限定性别对象,男")
    codes = write(tmp_path, "c.csv", CODES, f"某片,1,{DRUG},限定性别对象")
    one = bytes_of(got(first, names, codes), tmp_path / "1")
    assert one == bytes_of(got(codes, second, names), tmp_path / "2")


def test_a_folder_stands_for_its_files(tmp_path):
    write(tmp_path / "in", "a.csv", *ROWS)
    write(tmp_path / "in", "README.md", "no table")
    assert len(got(tmp_path / "in").tables["pairs"]) == 2


def test_totals_and_notes_below_a_table_are_no_rows(tmp_path):
    path = write(tmp_path, "x.csv", FREQUENCY, f"1,某护理,1,日,{A}", "合计,,,,", "备注：各地可以细化,并公布,,,", "")
    assert [(f["rows"], f["written"], f["footers"]) for f in got(path).files()] == [(1, 1, 2)]


def test_a_row_holds_between_its_dates_where_the_file_has_them(tmp_path):
    header = f"{PAIRS},生效日期,失效日期"
    rows = (f"1,单日,甲,{A},乙,{B},,,2025-06-30", f"2,单次就诊,甲,{A},乙,{B},,2025-07-01,")
    (tmp_path / "out").mkdir()
    write_tables(got(write(tmp_path, "x.csv", header, *rows)), tmp_path / "out")
    pairs = load_knowledge([tmp_path / "out"])["pairs"]
    assert pairs.select("window", pl.col("begndate", "enddate").dt.to_string()).rows() == [
        ("day", None, "2025-06-30"), ("visit", "2025-07-01", None),
    ]  # fmt: skip


# --- headers nobody knows ---------------------------------------------------------------------------------------------

HEADERS = {
    "a word misspelt": (PAIRS.replace("主项编码", "主项编号"),
                        ["重复收费", "缺 missing 主项编码", "did you mean 主项编码"]),
    "a column missing": ("序号,项目名称,限制数量,项目编码", ["单日频次", "缺 missing 数量单位"]),
    "a column twice": ("频度,频度,主项名称,主项编码,从项名称,从项编码", ["重复 twice 频度"]),
    "something else": ("a,b,c", ["多 unknown"]),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADERS)
def test_an_unknown_header_is_one_message_with_the_nearest_and_all_that_are_known(tmp_path, what):
    header, said = HEADERS[what]
    with pytest.raises(InputProblem) as caught:
        got(write(tmp_path, "x.csv", header, "1,2,3"))
    message = str(caught.value)
    assert f"{tmp_path / 'x.csv'}:1" in message
    assert all(word in message for word in said), message
    assert all(",".join(shape["header"]) in message for shape in spec()["shapes"].values())


def test_every_unknown_file_is_named_in_one_pass(tmp_path):
    with pytest.raises(InputProblem) as caught:
        got(*(write(tmp_path, name, "a,b", "1,2") for name in ("x.csv", "y.csv")), write(tmp_path, "z.csv", *ROWS))
    assert "x.csv:1" in str(caught.value) and "y.csv:1" in str(caught.value)


def test_what_is_no_table_is_refused(tmp_path):
    for path in (write(tmp_path, "a.csv", f'"{PAIRS}'), write(tmp_path, "b.csv", "", "")):
        with pytest.raises(InputProblem):
            got(path)
    (tmp_path / "c.xlsx").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputProblem, match="xlsx"):
        got(tmp_path / "c.xlsx")
    with pytest.raises(InputProblem, match="no file that can be read"):
        got(write(tmp_path, "d.docx", "x"))
    with pytest.raises(UsageProblem, match="twice"):
        got(*[write(tmp_path, "e.csv", *ROWS)] * 2)


# --- rows that cannot be used -----------------------------------------------------------------------------------------

REFUSED = {
    "a code in scientific notation": (PAIRS, f"1,单日,甲,1.1E+12,乙,{B},", "主项编码", "科学计数"),
    "a code without its zeros": (SERVICE, "甲,,1199000010000,限定性别对象,男", "国标代码", "少了开头的零"),
    "a code as a decimal": (SERVICE, "甲,,1199000010000.0,限定性别对象,男", "国标代码", "小数"),
    "a code that is none": (SERVICE, "甲,,某码,限定性别对象,男", "国标代码", "not a code"),
    "no code": (SERVICE, "甲,,,限定性别对象,男", "国标代码", "（空）"),
    "a pair with itself": (PAIRS, f"1,单日,甲,{A},甲,{A},", "从项编码", "with itself"),
    "a window nobody knows": (PAIRS, f"1,每周,甲,{A},乙,{B},", "频度", "每周"),
    "a limit nobody knows": (SERVICE, f"甲,,{A},限定身高,高", "限定类型", "限定身高"),
    "a limit of another file": (SERVICE, f"甲,,{A},单日频次,1", "限定类型", "单日频次"),
    "a value nobody knows": (SERVICE, f"甲,,{A},限定性别对象,无", "限定值域", "无"),
    "no value": (SERVICE, f"甲,,{A},限定主次操作,", "限定值域", "must not be blank"),
    "a number that is none": (FREQUENCY, f"1,甲,一,日,{A}", "限制数量", "一"),
    "a limit of nothing": (FREQUENCY, f"1,甲,0,日,{A}", "限制数量", "above zero"),
    "a unit nobody knows": (FREQUENCY, f"1,甲,1,周,{A}", "数量单位", "周"),
    "half a day": (PERIOD, f"1,甲,1,1.5,,{A}", "疗程周期", "1.5"),
    "a course without length": (SERVICE, f"甲,,{A},限定支付疗程,若干", "限定值域", "若干"),
    "a note that says nothing": (NOTES, f"1,甲,按规定执行,{A}", "备注", "按规定执行"),
    "a short row": (PAIRS, f"1,单日,甲,{A}", "", "4 列而表头有 7 列"),
    "a long row": (PAIRS, f"1,单日,甲,{A},乙,{B},,多", "", "8 列而表头有 7 列"),
    "a date that is none": (f"{PAIRS},生效日期", f"1,单日,甲,{A},乙,{B},,2025-02-30", "生效日期", "2025-02-30"),
    "dates the wrong way": (f"{PAIRS},生效日期,失效日期", f"1,单日,甲,{A},乙,{B},,2025-07-01,2025-06-30",
                            "失效日期", "ends before"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_row_that_cannot_be_used_is_refused_with_line_and_column_and_the_others_are_used(tmp_path, what):
    header, row, column, said = REFUSED[what]
    good = {PAIRS: f"9,单日,甲,{A},丙,{C},", SERVICE: f"丙,,{C},限定性别对象,男", FREQUENCY: f"9,丙,1,日,{C}",
            PERIOD: f"9,丙,1,7,,{C}", NOTES: f"9,丙,支付不超过30天,{C}"}  # fmt: skip
    extra = header.count(",") - PAIRS.count(",") if header.startswith(PAIRS) else 0
    fine = good[PAIRS if header.startswith(PAIRS) else header] + "," * extra
    imported = got(write(tmp_path, "x.csv", header, row, fine))
    ((line, where, told),) = refusals(imported)
    assert (line, where) == (2, column) and said in told
    assert [(f["rows"], f["written"], f["refused"]) for f in imported.files()] == [(2, 1, 1)]
    assert sum(map(len, imported.tables.values())) == 1


def test_zeros_that_a_spreadsheet_dropped_are_told_but_not_guessed(tmp_path):
    path = book(tmp_path / "x.xlsx", 表=[SERVICE.split(","), ["甲", "", 1199000010000, "限定性别对象", "男"]])
    (remark,) = got(path).remarks
    assert remark.line == 2 and A in remark.hint


def test_rows_that_contradict_each_other_are_all_refused(tmp_path):
    path = write(
        tmp_path, "x.csv", SERVICE, f"甲,,{A},限定性别对象,男", f"甲,,{A},限定性别对象,女", f"乙,,{B},限定性别对象,女"
    )
    imported = got(path)
    assert [(r.line, r.column, r.hint.endswith(f"x.csv:{5 - r.line}")) for r in imported.remarks] == [
        (2, "限定值域", True), (3, "限定值域", True),
    ]  # fmt: skip
    assert [row["med_list_codg"] for row in imported.tables["sex_limits"]] == [B]


def test_a_pair_that_stands_both_ways_or_in_two_windows_is_refused(tmp_path):
    rows = [f"1,单日,甲,{A},乙,{B},", f"2,单日,乙,{B},甲,{A},", f"3,单日,甲,{A},丙,{C},", f"4,6小时,甲,{A},丙,{C},"]
    imported = got(write(tmp_path, "x.csv", PAIRS, *rows))
    assert [(line, said.split(" ")[0]) for line, _, said in refusals(imported)] == [
        (2, "同一对项目两个方向都有"), (3, "同一对项目两个方向都有"), (4, "同一编码两种说法"), (5, "同一编码两种说法"),
    ]  # fmt: skip
    assert imported.tables == {}


def test_what_is_said_twice_is_written_once_and_told(tmp_path):
    rows = [f"1,单日,甲,{A},乙,{B},", f"2,单日,甲(别名),{A},乙,{B},又说"]
    imported = got(write(tmp_path, "x.csv", PAIRS, *rows))
    assert [(f["rows"], f["written"], f["merged"], f["refused"]) for f in imported.files()] == [(2, 1, 1, 0)]
    (remark,) = imported.remarks
    assert remark.severity == "note" and "相同" in remark.what


def test_a_code_in_two_incision_groups_is_no_contradiction(tmp_path):
    rows = (f"甲,,{A},限定主次操作,一组", f"甲,,{A},限定主次操作,二组")
    assert len(got(write(tmp_path, "x.csv", SERVICE, *rows)).tables["incision_groups"]) == 2


def test_names_without_codes_and_codes_without_names_are_refused(tmp_path):
    names = write(
        tmp_path, "n.csv", NAMES, "某某片,,限定性别对象,男", "无码片,,限定性别对象,女", "坏码片,,限定性别对象,女"
    )
    codes = [
        f"某某片,1,{DRUG},限定性别对象",
        f"某某丸,2,{OTHER},限定性别对象",
        "坏码片,3,x,限定性别对象",
        f"某某片,4,{OTHER},限定年龄对象",
    ]
    imported = got(names, write(tmp_path, "c.csv", CODES, *codes))
    told = {(Path(r.file).name, r.line): f"{r.what} {r.hint}" for r in imported.remarks}
    assert set(told) == {("c.csv", 3), ("c.csv", 4), ("c.csv", 5), ("n.csv", 3), ("n.csv", 4)}
    assert "某某片" in told["c.csv", 3] and "另一个文件" in told["c.csv", 5]
    assert "没有这个药品的编码" in told["n.csv", 3] and "其编码都不能用" in told["n.csv", 4]
    assert [row["med_list_codg"] for row in imported.tables["sex_limits"]] == [DRUG]


def test_a_name_with_two_limits_is_refused_with_its_codes(tmp_path):
    names = write(tmp_path, "n.csv", NAMES, "某片,,限定性别对象,男", "某片,,限定性别对象,女", ",,限定性别对象,女")
    imported = got(names, write(tmp_path, "c.csv", CODES, f"某片,1,{DRUG},限定性别对象"))
    assert sorted((Path(r.file).name, r.line) for r in imported.remarks) == [
        ("c.csv", 2), ("n.csv", 2), ("n.csv", 3), ("n.csv", 4),
    ]  # fmt: skip
    assert imported.tables == {}


MILDER = {
    "more days in the value": ("支付不超过14天", "限定支付疗程", "15天", "course_limits", {"max_days": "15"}),
    "more days in the text": ("单次住院最多支付14天", "限定支付疗程", "10天", "course_limits", {"max_days": "14"}),
    "a lower level in the text": ("二级及以上专科医院处方", "限定机构等级", "三级", "level_limits", {"min_level": "2"}),
    "another kind of visit in the text": ("限急诊或住院患者", "限定就医方式", "住院", "visit_limits", {
        "visit_kinds": "day_surgery|emergency_inpatient|emergency_outpatient|home_bed|inpatient"}),
}  # fmt: skip


@pytest.mark.parametrize("what", MILDER)
def test_where_text_and_value_differ_the_milder_holds_and_it_is_told(tmp_path, what):
    text, subject, value, table, expected = MILDER[what]
    names = write(tmp_path, "n.csv", NAMES, f"某片,{text},{subject},{value}")
    imported = got(names, write(tmp_path, "c.csv", CODES, f"某片,1,{DRUG},{subject}"))
    ((row,),) = imported.tables.values()
    assert {name: row[name] for name in expected} == expected and table in imported.tables
    (remark,) = imported.remarks
    assert (remark.severity, remark.line, Path(remark.file).name) == ("note", 2, "n.csv")


def test_an_explanation_that_limits_only_the_first_prescription_is_told(tmp_path):
    names = write(tmp_path, "n.csv", NAMES, "某片,首次处方时需由二级及以上医疗机构开具,限定机构等级,二级")
    imported = got(names, write(tmp_path, "c.csv", CODES, f"某片,1,{DRUG},限定机构等级"))
    assert ["续方" in remark.what for remark in imported.remarks] == [True]


CELLS = st.sampled_from([
    "", "1", "甲", A, B, C, DRUG, "男", "女", "儿童", "14天", "日", "小时", "单日", "6小时", "限定性别对象",
    "限定年龄对象", "限定支付疗程", "单日频次", "限定主次操作", "支付不超过30天",
    "2025-01-01", "1.1E+12", "0", "-1", "合计",
])  # fmt: skip
TABLES = st.sampled_from([PAIRS, NAMES, CODES, SERVICE, NOTES, FREQUENCY, PERIOD, f"{PAIRS},生效日期,失效日期"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(TABLES, st.lists(st.lists(CELLS, min_size=3, max_size=9), max_size=8)), min_size=1, max_size=4)
)
def test_whatever_the_cells_every_row_has_one_fate_and_what_is_written_can_be_read(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("any")
    paths = []
    for number, (header, rows) in enumerate(tables):
        path = folder / f"{number}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])
        paths.append(path)
    imported = got(*paths, keep=True)
    files = imported.files()
    assert all(f["rows"] == f["written"] + f["merged"] + f["refused"] for f in files)
    assert sum(f["refused"] for f in files) == len(
        {(r.file, r.line) for r in imported.remarks if r.severity == "refused"}
    )
    write_tables(imported, folder / "out")


# --- which rule a row belongs to, and what of ours stays --------------------------------------------------------------

GREAT, MIDDLE, SMALL = "001202000010000", "001202000020000", "001202000030000"  # rule 29 has these in our seeds


def test_a_row_our_seeds_give_to_a_numbered_rule_keeps_it(tmp_path):
    rows = [f"1,单日,大抢救,{GREAT},中抢救,{MIDDLE},", f"2,单日,大抢救,{GREAT},甲,{A},"]
    tables = got(write(tmp_path, "x.csv", PAIRS, *rows)).tables
    assert [(row["rule"], row["included"]) for row in tables["pairs"]] == [("29", MIDDLE), ("", A)]
    frequency = ["1,普通病房床位费,1,日,001109000010000", f"2,某护理,1,日,{A}"]
    tables = got(write(tmp_path, "y.csv", FREQUENCY, *frequency)).tables
    assert [row["rule"] for row in tables["frequency_limits"]] == ["27", ""]


def test_our_numbered_rows_stay_unless_the_file_speaks_of_them(tmp_path):
    """Of a pair that the file turns round ours does not stay, or the two would accuse each other."""
    path = write(tmp_path, "x.csv", PAIRS, f"1,6小时,中抢救,{MIDDLE},大抢救,{GREAT},", f"2,单日,甲,{A},乙,{B},")
    imported = got(path, keep=True)
    write_tables(imported, tmp_path / "out")
    key, before = ["rule", "main", "included"], load_knowledge([])["pairs"].drop_nulls("rule")
    after = load_knowledge([tmp_path / "out"])["pairs"]
    gone = before.join(after, on=key, how="anti").select(key).rows()
    added = after.join(before, on=key, how="anti", nulls_equal=True).select(key).rows()
    assert gone == [(29, GREAT, MIDDLE)]
    assert added == [(None, A, B), (None, MIDDLE, GREAT)]
    assert imported.kept == {"pairs": before.height - 1}


def test_no_seed_of_these_tables_belongs_to_two_rules():
    known = load_knowledge([])
    for name in ("course_limits", "frequency_limits", "period_limits"):
        assert known[name]["med_list_codg"].is_unique().all(), name


def test_a_source_of_ones_own_is_no_national_publication(tmp_path):
    imported = got(
        write(tmp_path, "x.csv", NOTES, f"1,甲,支付不超过30天,{A}", f"2,乙,超出法定就业年龄,{B}"), source="某省2026"
    )
    rows = [row for name in sorted(imported.tables) for row in imported.tables[name]]
    assert {(row["source"].split(";")[0], row["grade"]) for row in rows} == {
        ("某省2026", "region"),
        ("某省2026", "demo"),
    }


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_tells_counts_and_problems_and_writes_the_tables(run, tmp_path):
    path = write(tmp_path, "x.csv", *ROWS, f"3,单日,甲,1.1E+12,乙,{B},")
    said = run("--lang", "zh", "knowledge", "import", path, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert f"{path}:4: 主项编码" in said.out and str(tmp_path / "out" / "pairs.csv") in said.out
    said = run("--lang", "en", "knowledge", "import", path, "--out", tmp_path / "out", "--replace", "--json")
    answer = json.loads(said.out)
    assert [(f["rows"], f["written"], f["merged"], f["refused"]) for f in answer["files"]] == [(3, 2, 0, 1)]
    ((table, problem),) = zip(answer["tables"], answer["problems"], strict=True)
    assert table["published"] == 2 and table["kept"] == table["numbered"] > 100
    assert (problem["file"], problem["line"], problem["column"]) == (str(path), 4, "主项编码")


def test_tables_that_are_there_are_replaced_only_when_asked(run, tmp_path):
    path = write(tmp_path, "x.csv", *ROWS)
    assert run("knowledge", "import", path, "--out", tmp_path / "out").code == 0
    before = (tmp_path / "out" / "pairs.csv").read_bytes()
    said = run("knowledge", "import", path, "--out", tmp_path / "out")
    assert said.code == 2 and "--replace" in said.err
    assert run("knowledge", "import", path, "--out", tmp_path / "out", "--replace", "--only-published").code == 0
    assert len((tmp_path / "out" / "pairs.csv").read_bytes()) < len(before)


def test_nothing_is_written_where_nothing_is_usable_or_strictness_is_asked(run, tmp_path):
    bad = write(tmp_path, "bad.csv", PAIRS, f"1,单日,甲,1.1E+12,乙,{B},")
    half = write(tmp_path, "half.csv", *ROWS, f"3,单日,甲,{A},甲,{A},")
    for arguments in ([bad], [half, "--strict"], [write(tmp_path, "head.csv", PAIRS)]):
        said = run("knowledge", "import", *arguments, "--out", tmp_path / "out")
        assert said.code == 3 and "nothing was written" in said.err
        assert not (tmp_path / "out").exists()


def test_mistakes_of_the_command_line_end_in_one_message(run, tmp_path):
    path = write(tmp_path, "x.csv", *ROWS)
    assert run("knowledge", "import", tmp_path / "nowhere.csv", "--out", tmp_path / "out").code == 2
    assert run("knowledge", "import", "--out", tmp_path / "out").code == 2
    assert run("knowledge", "import", path, "--out", path).code == 2
    assert run("knowledge", "import", write(tmp_path, "y.csv", "a,b", "1,2"), "--out", tmp_path / "out").code == 3


def test_many_problems_are_counted_and_all_told_as_json(run, tmp_path):
    path = write(tmp_path, "x.csv", PAIRS, *(f"{n},单日,甲,{n},乙,{B}," for n in range(50)))
    said = run("--lang", "zh", "knowledge", "import", path, "--out", tmp_path / "out")
    assert said.out.count("not a code") == 20 and "30 条未列出" in said.out
    answer = json.loads(run("knowledge", "import", path, "--out", tmp_path / "out", "--json").out)
    assert len(answer["problems"]) == 50


# --- local items no table knows ---------------------------------------------------------------------------------------


@pytest.fixture
def extract(tmp_path) -> Path:
    """Three items of one claim: one in our catalogue, one nowhere, one without any code."""
    claim = {"setl_id": "S1", "psn_no": "P1", "fixmedins_code": "H1", "med_type": "11", "medfee_sumamt": "100.00",
             "begntime": "2025-01-02 08:00:00", "setl_time": "2025-01-02 09:00:00"}  # fmt: skip
    lines = [("001109000010300", "L1", "床位费", "25.00"), (A, "L2", "自编项目", "45.00"),
             (A, "L2", "自编项目", "5.00"), ("", "L3", "无码项目", "25.00")]  # fmt: skip
    names = ("med_list_codg", "medins_list_codg", "medins_list_name", "det_item_fee_sumamt")
    rows = [{"feedetl_sn": f"F{n}", "setl_id": "S1", "fee_ocur_time": "2025-01-02 08:30:00", "cnt": "1", "pric": row[3]}
            | dict(zip(names, row, strict=True)) for n, row in enumerate(lines)]  # fmt: skip
    (tmp_path / "in").mkdir()
    pl.DataFrame([claim]).write_csv(tmp_path / "in" / "claims.csv")
    pl.DataFrame(rows).write_csv(tmp_path / "in" / "fee_lines.csv")
    return tmp_path / "in"


def test_unmapped_items_come_by_money_with_their_share(run, extract):
    answer = json.loads(run("knowledge", "map", extract, "--json").out)
    assert [(i["item"], i["local_item"], i["rows"], i["amount_fen"], i["share_pct"]) for i in answer["items"]] == [
        (A, "L2", 2, 5000, "50.00"), (None, "L3", 1, 2500, "25.00"),
    ]  # fmt: skip
    assert answer["mapped"] == {"items": 1, "rows": 1, "amount_fen": 2500}
    assert answer["unmapped"] == {"items": 2, "rows": 3, "amount_fen": 7500}
    said = run("--lang", "zh", "knowledge", "map", extract)
    assert "未对码: 2 个项目, 行数 3, 金额(元) 75.00" in said.out and "自编项目" in said.out


def test_an_item_that_a_region_names_is_mapped(run, extract, tmp_path):
    out = tmp_path / "known"
    assert run("knowledge", "import", write(tmp_path, "x.csv", *ROWS), "--out", out).code == 0
    answer = json.loads(run("knowledge", "map", extract, "--knowledge", out, "--json").out)
    assert [item["local_item"] for item in answer["items"]] == ["L3"]
