"""The published knowledge points as they lie beside the repository: all come through, and each is used by one rule.

The files are read, never carried. Every point gets claims that break it and claims that keep it; what is found of pairs
and of daily limits is held row for row against SQL.
"""

import csv
import re
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import xlsxwriter
from conftest import shared
from oracle_facts import facts_of

from engine.audit import PERSON_SCOPES, audit
from engine.reference.importing import import_published, write_tables
from engine.reference.knowledge import load_knowledge
from engine.run.region import load_region
from synthetic.sql import LATE, PAIR, Question, answer, database, told

pytest.importorskip("duckdb", reason="duckdb is not installed: install yibao[test]")

ADMITTED = datetime(2025, 3, 3, 6, 0)
HOUR = 3600
# Seconds between the two lines of a pair, at and around every boundary.
APART = (0, 1800, HOUR - 1, HOUR, 6 * HOUR, 6 * HOUR + 1, 16 * HOUR, 24 * HOUR, 72 * HOUR)
STARTS = (ADMITTED.replace(hour=8), ADMITTED.replace(hour=8, minute=10), ADMITTED.replace(hour=23, minute=59))
CLAIM = {
    "psn_no": "P1", "fixmedins_code": "H1", "hosp_lv": "3", "visit_kind": "inpatient", "med_type": "21", "gend": "1",
    "brdy": "1970-06-15", "begntime": "2025-03-03 06:00:00", "endtime": "2025-03-13 10:00:00",
    "setl_time": "2025-03-13 10:00:00", "insured_flag": "1", "adm_dept_name": "内科", "dscg_dept_name": "内科",
    "medfee_sumamt": "100.00", "inscp_scp_amt": "90.00", "fund_pay_sumamt": "70.00",
}  # fmt: skip
LINE = {
    "cnt": "1", "pric": "10.00", "det_item_fee_sumamt": "10.00", "inscp_scp_amt": "9.00", "medins_list_name": "项目",
}  # fmt: skip
FREQUENCY = Question(
    "units",
    """
SELECT d.setl_id || d.item || d.day AS found, l.line, d.billed - d.cap AS over
FROM (
  WITH days AS (
    SELECT setl_id, item, day, sum(units) AS billed, any_value(f.max_per_day) AS cap
    FROM lines JOIN frequency_limits f ON f.med_list_codg = item AND f.rule IS NULL
    GROUP BY setl_id, item, day)
  SELECT d.* FROM days d JOIN visits v USING (setl_id) WHERE d.billed > d.cap AND NOT ($batch_posting AND """
    + LATE
    + """)) d JOIN lines l USING (setl_id, item, day)""",
)


def charged(units: int) -> dict[str, str]:
    return {"cnt": str(units), "det_item_fee_sumamt": f"{units * 10}.00", "inscp_scp_amt": f"{units * 9}.00"}


class Claims:
    """A bundle in the making: visits and their lines, as text."""

    def __init__(self):
        self.claims, self.lines = [], []

    def visit(self, **said) -> str:
        number = f"S{len(self.claims) + 1}"
        self.claims.append({"setl_id": number, **CLAIM, "psn_no": f"P{len(self.claims) + 1}", **said})
        return number

    def line(self, visit: str, item: str, time: datetime = ADMITTED, **said) -> str:
        number = f"L{len(self.lines) + 1}"
        row = {"feedetl_sn": number, "setl_id": visit, "med_list_codg": item, "fee_ocur_time": f"{time:%F %T}"}
        self.lines.append(row | LINE | said)
        return number

    def facts(self, region, work):
        (work / "in").mkdir(parents=True)
        pl.DataFrame(self.claims).write_csv(work / "in" / "claims.csv")
        pl.DataFrame(self.lines).write_csv(work / "in" / "fee_lines.csv")
        return facts_of(work / "in", region, work)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What becomes of all published files, and the folder of their tables."""
    found = import_published([shared("data", "nhsa-knowledge")])
    folder = tmp_path_factory.mktemp("published") / "knowledge"
    write_tables(found, folder)
    return found, folder


@pytest.fixture(scope="module")
def published(imported):
    return load_region(knowledge=[imported[1]])


def rules_of(region, table: str) -> list:
    return [r for r in region.rules if r.rule.join and r.rule.join.table == table and r.rule.status == "active"]


def test_every_published_point_comes_through(imported):
    found, folder = imported
    files, tables = found.files(), {row["table"]: row for row in found.summary()}
    assert sum(f["refused"] for f in files) == 0
    assert all(f["rows"] == f["written"] + f["merged"] for f in files)
    known = load_knowledge([folder])
    for name in tables:
        national = known[name].filter(pl.col("source").str.starts_with("国家知识点第"))
        assert national.height >= tables[name]["published"], name
    # the announced totals: batch 1 in four files, batches 2 and 3, the pairs of batch 7 by window
    first = known["sex_limits"].height + known["age_limits"].filter(pl.col("source").str.contains("第1批")).height
    assert first == 11_290
    assert [known[name].height for name in ("incision_groups", "insurance_limits")] == [378, 112]
    pairs = known["pairs"].filter(pl.col("source") == "国家知识点第7批")
    assert dict(pairs.group_by("window").len().iter_rows()) == {"day": 446, "visit": 429, "6h": 18, "hour": 7}


def test_the_published_files_as_workbooks_give_the_same_bytes(imported, tmp_path):
    for path in sorted(shared("data", "nhsa-knowledge").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file, xlsxwriter.Workbook(tmp_path / "x.xlsx") as book:
            sheet = book.add_worksheet()
            for at, row in enumerate(csv.reader(file)):
                sheet.write_row(at, 0, row)
        (tmp_path / "x.xlsx").rename(tmp_path / f"{path.stem}.xlsx")
    written = write_tables(import_published([tmp_path]), tmp_path / "out")
    assert {p.name: p.read_bytes() for p in written} == {p.name: p.read_bytes() for p in imported[1].iterdir()}


def test_what_the_publication_says_twice_and_otherwise_is_reported(imported):
    notes = {re.match("说明写(.+)，值写(.+)，按", remark.what) for remark in imported[0].remarks}
    said = {match.groups() for match in notes if match}
    assert said == {("14天", "15天"), ("12个月", "365天"), ("急诊", "住院"), ("二级", "三级")}


@pytest.fixture(scope="module")
def paired(published, tmp_path_factory):
    """Every pair in nine visits, alone; and visits in which pairs meet by chance, partly returned."""
    pairs = published.knowledge["pairs"].filter(pl.col("source") == "国家知识点第7批").to_dicts()
    assert len(pairs) == 900
    made, alone, rng = Claims(), [], np.random.default_rng(7)
    for number, pair in enumerate(pairs):
        for at, apart in enumerate(APART):
            start, visit = STARTS[(number + at) % len(STARTS)], made.visit()
            first, second = (pair["main"], pair["included"])[:: 1 if at % 2 else -1]
            ids = made.line(visit, first, start), made.line(visit, second, start + timedelta(seconds=apart))
            alone.append((pair["rule"], pair["window"], apart, start, ids[0 if first == pair["included"] else 1]))
    items = sorted({pair[side] for pair in pairs for side in ("main", "included")})
    most = Counter(p["main"] for p in pairs)
    busy = sorted(most, key=lambda item: (-most[item], item))[:40]  # in the same order whatever strings hash to
    busy += [p["included"] for p in pairs if p["main"] in busy]
    for number in range(600):
        visit = made.visit(psn_no=f"Q{number // 2}")
        for item in rng.choice(busy if number % 3 else items, 12):
            time = STARTS[rng.integers(3)] + timedelta(minutes=int(rng.integers(0, 120)) * 30)
            units = int(rng.integers(1, 4))
            line = made.line(visit, item, time, **charged(units))
            if rng.random() < 0.2:  # part of it, or all, is returned
                back = int(rng.integers(1, units + 1))
                made.line(visit, item, time + timedelta(minutes=5), init_feedetl_sn=line, **charged(-back))
    work = tmp_path_factory.mktemp("paired")
    facts, rules = made.facts(published, work), rules_of(published, "pairs")
    findings, evidence, _ = audit(rules, facts, PERSON_SCOPES)
    (work / "db").mkdir()
    return rules, findings, evidence, database(facts, work / "db"), alone


def test_the_rules_of_pairs_and_sql_find_the_same_lines_units_and_fen(paired):
    rules, findings, evidence, db, alone = paired
    named = {rule for rule, *_ in alone}
    for loaded in rules:
        number = loaded.rule.number
        belongs = "p.rule IS NULL" if number is None else f"p.rule = {number}"
        sql = answer(db, loaded, Question("units", PAIR.replace("p.rule = {number}", belongs)))
        engine = told(findings, evidence, loaded.rule.id)
        assert engine.rows() == sql.rows(), loaded.rule.id
        assert engine.height or number not in named, loaded.rule.id


def test_every_published_pair_is_found_in_its_window_and_nowhere_else(paired):
    rules, findings, evidence, _, alone = paired
    numbers = {loaded.rule.id: loaded.rule.number for loaded in rules}
    found = evidence.filter(pl.col("role") == "excess").join(findings.select("finding_id", "rule_id"), on="finding_id")
    by_line = dict(found.select("row_key", "rule_id").iter_rows())
    # In mixed visits one line may stand beside the mains of two rules; a pair by itself belongs to one.
    own = found.filter(pl.col("row_key").is_in([line for *_, line in alone]))
    assert own["row_key"].is_unique().all(), "no pair is accused by two rules"
    for rule, window, apart, start, line in alone:
        same_day = (start + timedelta(seconds=apart)).date() == start.date()
        together = {"hour": apart < HOUR, "6h": apart <= 6 * HOUR, "day": same_day, "visit": True}[window]
        assert (line in by_line) == together, (window, apart, start)
        assert not together or numbers[by_line[line]] == rule


def test_a_pair_within_a_whole_visit_is_only_suspected(paired):
    _, findings, evidence, _, alone = paired
    mine = findings.filter(pl.col("rule_id") == "official-duplicate-pairs").select("finding_id", "result")
    lines = evidence.filter(pl.col("role") == "excess").join(mine, on="finding_id")
    result = dict(lines.select("row_key", "result").iter_rows())
    said = {(window, result[line]) for rule, window, _, _, line in alone if rule is None and line in result}
    assert said == {(w, "suspicion" if w == "visit" else "violation") for w in ("hour", "6h", "day", "visit")}


def test_the_daily_limits_without_a_number_and_sql_find_the_same(published, tmp_path):
    limits = published.knowledge["frequency_limits"].filter(pl.col("rule").is_null()).to_dicts()
    assert limits
    made = Claims()
    for limit in limits:
        most = int(limit["max_per_day"])
        late, doubled = ((0, most), (2, 2 * most), (3, most)), ((0, most), (1, most), (2, 2 * most))
        for days in (((0, most),), ((0, most + 1),), late, doubled):
            visit = made.visit()
            for day, units in days:
                made.line(visit, limit["med_list_codg"], ADMITTED + timedelta(days=day, hours=3), **charged(units))
    facts = made.facts(published, tmp_path)
    (rule,) = [r for r in rules_of(published, "frequency_limits") if r.rule.number is None]
    findings, evidence, _ = audit([rule], facts, PERSON_SCOPES)
    (tmp_path / "db").mkdir()
    sql = answer(database(facts, tmp_path / "db"), rule, FREQUENCY)
    assert told(findings, evidence, rule.rule.id).rows() == sql.rows()
    assert findings.height == 2 * len(limits)  # one unit too much, and a double day that was not posted late


def test_a_daily_limit_that_belongs_to_a_number_is_asked_by_that_rule(published):
    known = published.knowledge
    asked = {27: known.codes("beds"), 28: known.codes("nursing_of_the_day")}
    for number, codes in asked.items():
        own = known["frequency_limits"].filter(pl.col("rule") == number)["med_list_codg"]
        assert set(own) <= set(codes)
    national = known["frequency_limits"].filter(pl.col("grade") == "national", pl.col("rule").is_not_null())
    assert set(national["rule"]) == {*asked, 34}


LIMITS = {50: "sex_limits", 51: "sex_limits", 52: "age_limits", 53: "age_limits", 56: "level_limits",
          57: "visit_limits", 59: "insurance_limits"}  # fmt: skip


def test_every_limited_code_is_found_where_it_is_broken_and_not_where_it_is_kept(published, tmp_path):
    known = published.knowledge
    sexes = dict(known["sex_limits"].select("med_list_codg", "gend").iter_rows())
    made, codes = Claims(), {number: known[name].filter(pl.col("rule") == number)["med_list_codg"].unique().sort()
                             for number, name in LIMITS.items()}  # fmt: skip
    kept = {"brdy": "2025-02-21"}
    broken = {"brdy": "1950-01-01", "visit_kind": "general_outpatient", "med_type": "11", "hosp_lv": "1"}
    wrong, right = {}, {}
    for code in pl.concat(codes.values()).unique().sort():
        sex = sexes.get(code, "1")
        wrong[code] = made.line(made.visit(gend={"1": "2", "2": "1"}[sex], **broken), code)
        right[code] = made.line(made.visit(gend=sex, **kept), code, inscp_scp_amt="0.00")
    rules = [r for r in published.rules if r.rule.number in LIMITS]
    findings, evidence, _ = audit(rules, made.facts(published, tmp_path), PERSON_SCOPES)
    found = evidence.filter(pl.col("role") == "excess").join(findings, on="finding_id").select("rule_id", "row_key")
    for rule in rules:
        lines = found.filter(pl.col("rule_id") == rule.rule.id)["row_key"].sort().to_list()
        assert lines == sorted(wrong[code] for code in codes[rule.rule.number]), rule.rule.id


def test_every_course_and_every_period_is_asked_at_its_boundary(published, tmp_path):
    """A day too many, and the last day allowed; a day too soon, and the first day allowed."""
    known, made, over, within = published.knowledge, Claims(), set(), set()
    far = {"endtime": "2026-12-30 10:00:00", "setl_time": "2026-12-30 10:00:00"}
    for row in known["course_limits"].filter(pl.col("max_days") < 365).iter_rows(named=True):
        days = range(row["max_days"]) if row["counted"] == "distinct_days" else (0, row["max_days"] - 1)
        for lines, extra in ((within, ()), (over, (row["max_days"],))):
            visit = made.visit(**far)
            for day in [*days, *extra]:
                last = made.line(visit, row["med_list_codg"], ADMITTED + timedelta(days=day))
            lines.add(last)
    for row in known["period_limits"].iter_rows(named=True):
        for lines, gap in ((over, row["window_days"] - 1), (within, row["window_days"])):
            visit = made.visit(**far)
            made.line(visit, row["med_list_codg"])
            lines.add(made.line(visit, row["med_list_codg"], ADMITTED + timedelta(days=gap)))
    rules = [*rules_of(published, "course_limits"), *rules_of(published, "period_limits")]
    findings, evidence, _ = audit(rules, made.facts(published, tmp_path), PERSON_SCOPES)
    found = evidence.filter(pl.col("role") == "excess")["row_key"]
    assert set(found) == over
    assert {r.rule.id for r in rules} == set(findings["rule_id"])
