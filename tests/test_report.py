"""The report says what the tables say, to the fen, and says it safely."""

import base64
import csv
import hashlib
import re
import time
import zipfile
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from fake_run import HOSTILE, HOSTILE_SITE, NAMES, RULES, SITES, fake_run
from hypothesis import given
from hypothesis import strategies as st

from engine.report import charts, html, sheets, write_report
from engine.report.figures import Run
from engine.report.text import file_name, visible, yuan
from engine.tables.outputs import conform, outputs
from engine.tables.problems import InputProblem, InvariantBroken

CONTRACT = Path(__file__).parents[2] / "shared" / "reference" / "output-tables.csv"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    out = fake_run(tmp_path_factory.mktemp("run") / "out")
    write_report(out, RULES)
    return out


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    out = fake_run(tmp_path_factory.mktemp("hostile") / "out", hostile=True)
    write_report(out, RULES)
    return out


def counted(out: Path) -> pl.DataFrame:
    findings = pl.read_parquet(out / "findings.parquet")
    return findings.filter((findings["rule_status"] == "active") & ~findings["waived"])


def totals(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "recovery.parquet").filter(pl.col("finding_id").is_null())


def page(out: Path) -> str:
    return (out / "report.html").read_text("utf-8")


def book(path: Path) -> openpyxl.Workbook:
    return openpyxl.load_workbook(path)


def column(sheet, head: str) -> list:
    heads = [cell.value for cell in sheet[1]]
    return [row[heads.index(head)].value for row in sheet.iter_rows(min_row=2)]


def fen(cells: list) -> int:
    return sum(round(Decimal(str(cell)) * 100) for cell in cells if cell is not None)


class Elements(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


# What the figures say


def test_every_step_of_the_ladder_is_the_sum_of_the_tables_to_the_fen(out):
    step = r'<span class="label">([^<]+)</span>\s*<svg.*?</svg>\s*<span class="amount" data-fen="(-?\d+)"'
    steps = dict(re.findall(step, page(out), re.S))
    recovery = totals(out)
    assert int(steps["涉及金额（毛）"]) == counted(out)["gross_fen"].sum()
    assert int(steps["涉及金额（净）"]) == recovery["involved_fen"].sum()
    assert int(steps["违规金额（范围内）"]) == recovery["inscope_fen"].sum()
    assert int(steps["基金份额（按行比例）"]) == recovery["fund_line_fen"].sum()
    assert int(steps["基金份额（重新结算）"]) == recovery["fund_resettled_fen"].sum()
    assert int(steps["此前已退回"]) == -recovery["already_returned_fen"].sum()
    assert int(steps["应追回（净）"]) == recovery["due_fen"].sum()


def test_the_headline_is_what_is_due_and_every_amount_is_printed_exactly(out):
    text = page(out)
    assert f'id="headline">{yuan(totals(out)["due_fen"].sum())}<' in text
    for value, shown in re.findall(r'data-value="(-?\d+)">(-?[\d,]+\.\d\d)<', text):
        assert yuan(int(value)) == shown


def test_trial_and_waived_findings_cost_no_money(tmp_path):
    out = fake_run(tmp_path / "out", findings=46)
    findings = pl.read_parquet(out / "findings.parquet")
    idle = (findings["rule_status"] == "trial") | findings["waived"]
    assert idle.any()
    findings.filter(~idle).write_parquet(out / "findings.parquet")
    before = charts.waterfall(html.figures.totals(Run(out, RULES).counted), None)
    findings.write_parquet(out / "findings.parquet")
    assert charts.waterfall(html.figures.totals(Run(out, RULES).counted), None) == before


def test_excel_sums_tie_to_the_page_and_to_the_tables(out):
    summary, found = book(out / "summary.xlsx"), counted(out)
    for sheet in ("问题汇总", "问题项目汇总"):
        assert fen(column(summary[sheet], "涉及金额(元)")) == found["gross_fen"].sum()
        assert fen(column(summary[sheet], "应追回(元)")) == totals(out)["due_fen"].sum()
        assert sum(column(summary[sheet], "疑点数")) == len(found)
    notes = {row[0].value: row[1].value for row in summary["说明"].iter_rows()}
    assert notes["涉及金额（元，毛额）"] == yuan(found["gross_fen"].sum())
    assert notes["应追回（元，净额）"] == yuan(totals(out)["due_fen"].sum())
    unwaived = pl.read_parquet(out / "findings.parquet").filter(~pl.col("waived"))
    assert sorted(column(summary["问题项目明细"], "疑点编号")) == sorted(unwaived["finding_id"])


def test_a_waterfall_step_starts_where_the_last_one_ended():
    gross = {"gross_fen": 1000, "inscope_fen": 900, "fund_fen": 500}
    net = {
        "involved_fen": 800,
        "inscope_fen": 700,
        "fund_line_fen": 400,
        "fund_resettled_fen": 450,
        "already_returned_fen": 50,
        "due_fen": 400,
    }
    steps = [(s["kind"], s["fen"], s["x"], s["width"]) for s in charts.waterfall(gross, net)]
    assert steps == [
        ("total", 1000, 0, 1000),
        ("less", -200, 800, 200),
        ("total", 800, 0, 800),
        ("less", -100, 700, 100),
        ("total", 700, 0, 700),
        ("less", -300, 400, 300),
        ("total", 400, 0, 400),
        ("more", 50, 400, 50),
        ("total", 450, 0, 450),
        ("less", -50, 400, 50),
        ("due", 400, 0, 400),
    ]


def test_a_stage_that_wrote_only_findings_still_has_a_report(tmp_path):
    out = fake_run(tmp_path / "out")
    for name in ("checks", "recovery", "settlement", "grouping", "provider_payment", "rejects", "not_evaluated"):
        (out / f"{name}.parquet").unlink()
    write_report(out, {})
    assert "未做追回测算" in page(out)
    assert f'id="headline">{yuan(counted(out)["gross_fen"].sum())}<' in page(out)


def test_a_run_without_findings_says_so(tmp_path):
    out = fake_run(tmp_path / "out", findings=0)
    assert [path.name for path in write_report(out, RULES)] == ["report.html", "summary.xlsx"]
    assert "没有疑点" in page(out)


def test_a_directory_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InputProblem):
        write_report(tmp_path, RULES)


# What an institution may see


def test_an_institutions_workbook_holds_only_its_own_rows(out):
    findings = pl.read_parquet(out / "findings.parquet").filter(~pl.col("waived"))
    assert sorted(path.stem for path in (out / "workbooks").iterdir()) == SITES
    for site in SITES:
        own = findings.filter(pl.col("fixmedins_code") == site)
        detail = book(out / "workbooks" / f"{site}.xlsx")["问题项目明细"]
        assert sorted(column(detail, "疑点编号")) == sorted(own["finding_id"])
        assert set(column(detail, "机构编号")) == {site}
        text = "".join(zip_texts(out / "workbooks" / f"{site}.xlsx").values())
        others = findings.filter(pl.col("fixmedins_code") != site)
        assert not [other for other in SITES if other != site and (other in text or NAMES[other] in text)]
        assert not [person for person in others["psn_no"] if person in text]


def test_evidence_of_other_institutions_is_only_counted(tmp_path):
    out = fake_run(tmp_path / "out", findings=0)
    findings = pl.read_parquet(fake_run(tmp_path / "other") / "findings.parquet").head(2)
    findings = findings.with_columns(
        finding_id=pl.Series(["fa", "fb"]),
        setl_id=pl.Series(["s-own", "s-foreign"]),
        waived=False,
        fixmedins_code=pl.Series(SITES[:2]),
        scope=pl.lit("person_day"),
    )
    rows = [
        ("fa", "fee_lines", f"line-{claim}", claim, role, None, 100)
        for claim, role in [("s-own", "excess"), ("s-foreign", "basis"), ("s-nobody", "basis"), (None, "basis")]
    ]
    rows.append(("fa", "pairs", "row-7", None, "basis", None, None))
    findings.write_parquet(out / "findings.parquet")
    pl.DataFrame(rows, outputs()["evidence"], orient="row").write_parquet(out / "evidence.parquet")
    write_report(out, RULES)
    own = book(out / "workbooks" / f"{SITES[0]}.xlsx")["问题项目明细"]
    assert column(own, "超出行") == ["费用明细 line-s-own 结算单 s-own 1.00元"]
    assert column(own, "依据行") == ["不可并收的项目对 row-7（其他机构或来源 3 行，从略）"]
    everything = column(book(out / "summary.xlsx")["问题项目明细"], "依据行")
    assert "line-s-foreign" in everything[0] and "line-s-nobody" in everything[0]


# Safety


def test_a_hostile_name_is_inert_in_the_page(hostile):
    text = page(hostile)
    assert "\u202e" not in text and "⟦U+202E⟧" in text
    assert "&lt;script&gt;alert(" in text and "<script>alert" not in text
    elements = Elements(text).found
    assert [tag for tag, _ in elements].count("script") == 1
    for _, attributes in elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
        assert attributes.get("href", "#").startswith("#")


def test_a_hostile_name_is_inert_in_excel(hostile):
    for path in [hostile / "summary.xlsx", *(hostile / "workbooks").iterdir()]:
        for name, text in zip_texts(path).items():
            assert "<f>" not in text and "hyperlink" not in text and "externalLink" not in name
            assert "\u202e" not in text
    detail = book(hostile / "summary.xlsx")["问题项目明细"]
    assert visible(HOSTILE) in column(detail, "说明")
    assert "=1+1" in column(detail, "结算单据号")
    assert {cell.data_type for row in detail.iter_rows(min_row=2) for cell in row} <= {"s", "n", "d"}


def test_a_hostile_institution_code_cannot_leave_its_folder(hostile):
    names = {path.name for path in (hostile / "workbooks").iterdir()}
    assert f"{file_name(HOSTILE_SITE)}.xlsx" in names
    assert not list(hostile.parent.glob("*.xlsx"))


def test_the_page_fetches_nothing_and_runs_only_its_own_script_and_style(out):
    text = page(out)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in text


def test_the_page_stays_below_its_limit_and_says_what_it_left_out(tmp_path, monkeypatch):
    out = fake_run(tmp_path / "out", findings=2000)
    page_ = html.page(Run(out, RULES))
    assert len(page_) < html.SIZE_LIMIT == 5_000_000
    assert "本页列出前 400 条" in page_.decode()
    monkeypatch.setattr(html, "SIZE_LIMIT", 250_000)
    small = html.page(Run(out, RULES))
    assert len(small) < 250_000 and re.search("本页列出前 (50|15|5) 条", small.decode())


# Sameness


def test_the_same_tables_give_the_same_bytes_whatever_the_clock_and_the_order_of_rows(tmp_path, out):
    time.sleep(1.1)
    other = fake_run(tmp_path / "out")
    for path in other.glob("*.parquet"):
        pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=3).write_parquet(path)
    for path in write_report(other, RULES):
        assert path.read_bytes() == (out / path.relative_to(other)).read_bytes(), path.name


def test_writing_again_changes_nothing_and_leaves_nothing_behind(tmp_path):
    out = fake_run(tmp_path / "out", findings=20)
    first = {path: path.read_bytes() for path in write_report(out, RULES)}
    assert {path: path.read_bytes() for path in write_report(out, RULES)} == first
    assert not list(out.rglob("*.part"))


# Excel


def test_sheets_are_those_an_auditor_expects_and_can_be_filtered_and_answered(out):
    workbook = book(out / "workbooks" / f"{SITES[0]}.xlsx")
    assert workbook.sheetnames == ["说明", "问题汇总", "问题项目汇总", "问题项目明细", "反馈表"]
    for name in workbook.sheetnames[1:]:
        assert workbook[name].freeze_panes == "A2" and workbook[name].auto_filter.ref
    feedback = workbook["反馈表"]
    rules = [rule.formula1 for rule in feedback.data_validations.dataValidation if rule.type == "list"]
    assert rules == ['"认可,部分认可,不认可"', '"已退回,拟退回,申诉,待核实"']
    assert feedback.protection.sheet and feedback["A2"].protection.locked
    entries = [cell for cell in feedback[2] if feedback.cell(1, cell.column).value in ("机构意见", "理由", "填报日期")]
    assert len(entries) == 3 and not any(cell.protection.locked for cell in entries)


def test_codes_keep_their_zeros_and_amounts_are_numbers(out):
    detail = book(out / "summary.xlsx")["问题项目明细"]
    items = [code for code in column(detail, "项目编码") if code]
    assert "003110000060000" in items and all(isinstance(code, str) for code in items)
    assert all(
        cell.number_format == "#,##0.00"
        for row in detail.iter_rows(min_row=2)
        for cell in row
        if detail.cell(1, cell.column).value == "涉及金额(元)"
    )


def test_a_long_table_goes_on_in_numbered_sheets_and_loses_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "SHEET_ROWS", 31)
    out = fake_run(tmp_path / "out")
    write_report(out, RULES)
    summary = book(out / "summary.xlsx")
    parts = [name for name in summary.sheetnames if name.startswith("问题项目明细")]
    assert parts == ["问题项目明细", "问题项目明细(2)", "问题项目明细(3)"]
    ids = [finding for part in parts for finding in column(summary[part], "疑点编号")]
    unwaived = pl.read_parquet(out / "findings.parquet").filter(~pl.col("waived"))
    assert sorted(ids) == sorted(unwaived["finding_id"])


def zip_texts(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


# Text


@given(st.integers(-(10**15), 10**15))
def test_yuan_is_exact(fen_):
    assert Decimal(yuan(fen_).replace(",", "")) * 100 == fen_


@given(st.lists(st.text(min_size=0, max_size=300), unique=True, min_size=2, max_size=5))
def test_file_names_are_harmless_and_never_shared(codes):
    names = [file_name(code) for code in codes]
    assert len({name.lower() for name in names}) == len(codes)
    for name in names:
        assert re.fullmatch(r"[\w-]+", name) and len(name.encode()) < 200
        assert name.lower() not in {"con", "nul", "aux", "prn", "com1", "lpt1"}


def test_a_plain_institution_code_is_its_own_file_name():
    assert file_name("H33010000001") == "H33010000001"
    assert file_name("CON") != "CON"


# The gate of the output tables


def test_the_output_tables_are_those_of_the_contract():
    if not CONTRACT.is_file():
        pytest.skip("the contract of the output tables is not beside the repository")
    kinds = {"text": pl.String, "int64": pl.Int64, "int32": pl.Int32, "bool": pl.Boolean, "date": pl.Date}
    for row in csv.DictReader(CONTRACT.open(encoding="utf-8")):
        schema = outputs()[row["file"].removesuffix(".parquet")]
        if row["column"].startswith(("<", "reported_<")):
            continue
        decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", row["type"])
        expected = pl.Decimal(int(decimal[1]), int(decimal[2])) if decimal else kinds[row["type"]]
        assert schema[row["column"]] == expected, row


def test_conform_orders_and_casts_the_columns():
    frame = pl.DataFrame(
        {"amount_fen": [5], "cases": [1], "detail": ["x"], "reason": ["value_missing"], "rule_id": ["r"]},
        schema_overrides={"amount_fen": pl.Int32},
    )
    assert conform(frame, "not_evaluated").schema == outputs()["not_evaluated"]


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop("cases"),
        lambda frame: frame.with_columns(more=1),
        lambda frame: frame.with_columns(amount_fen=0.5),
        lambda frame: frame.with_columns(reason=pl.lit(None)),
        lambda frame: frame.with_columns(cases=pl.lit(Decimal("1.5"))),
        lambda frame: frame.with_columns(cases=pl.lit("x")),
    ],
)
def test_conform_refuses_what_would_break_the_contract(change):
    frame = pl.DataFrame({"rule_id": ["r"], "reason": ["x"], "detail": ["x"], "cases": [1], "amount_fen": [5]})
    with pytest.raises(InvariantBroken):
        conform(change(frame), "not_evaluated")
