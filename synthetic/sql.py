"""Rules written by hand in SQL, over the canonical tables after netting: what the engine's answers are held against.

Each is written from the words of the rule, not from the engine, and answers with the lines that are too much; what they
cost is worked out by one tail a kind of amount. The bench measures against them, the tests add more of them. DuckDB
runs them and is wanted only here.
"""

import re
from pathlib import Path
from typing import NamedTuple

import polars as pl

from engine.audit.facts import Facts
from engine.language.rule import LoadedRule
from engine.tables.dictionary import with_fields

ROW = {
    "setl_id": pl.String, "item": pl.String, "day": pl.Date, "line": pl.String, "units": pl.Decimal(38, 4),
    "gross": pl.Int64, "inscope": pl.Int64, "fund": pl.Int64, "all_units": pl.Decimal(38, 4), "all_fund": pl.Int64,
}  # fmt: skip
KEY = ["setl_id", "item", "day", "line"]


class Question(NamedTuple):
    """A rule in SQL: `amount` names the tail of AMOUNTS; `text` may use the parameters of the rule as $name."""

    amount: str
    text: str


VIEWS = r"""
CREATE MACRO share(amount, part, whole) AS
  CASE WHEN whole = 0 THEN 0 ELSE (2 * amount::HUGEINT * part::HUGEINT + whole::HUGEINT) // (2 * whole::HUGEINT) END;
CREATE MACRO in_force(day, since, until) AS (since IS NULL OR since <= day) AND (until IS NULL OR until >= day);
CREATE VIEW visits AS
  SELECT c.setl_id, c._person AS person, c.psn_no, c.fixmedins_code AS hospital, c.hosp_lv::INT AS level,
    c.visit_kind AS kind, c.begntime, c.endtime, c.begntime::DATE AS admitted, c.endtime::DATE AS discharged,
    coalesce(greatest(c.endtime::DATE - c.begntime::DATE, 1), 1) AS days,
    c.visit_kind IN ('inpatient', 'emergency_inpatient', 'day_surgery', 'home_bed') AS inpatient,
    coalesce(c.insured_flag, '1') = '1' AS insured, coalesce(c.adm_dept_name, c.dscg_dept_name, '') AS ward,
    coalesce(c.gend, p.gend) AS sex, c.dscg_way, c.adm_way, p.die_date, coalesce(c.brdy, p.brdy) AS brdy,
    coalesce(c.fund_pay_sumamt, 0) AS paid, coalesce(c.inscp_scp_amt, 0) AS covered,
    coalesce(c.medfee_sumamt, 0) AS charged
  FROM claims c LEFT JOIN persons p USING (psn_no) WHERE NOT c.cancelled;
CREATE VIEW lines AS
  SELECT l.feedetl_sn AS line, l.setl_id, coalesce(l.med_list_codg, '') AS item, l.med_chrgitm_type AS category,
    coalesce(l.medins_list_name, l.med_list_name, '') AS name, l.net_cnt AS units, l.cnt AS told, l.pric AS price,
    l.fee_ocur_time AS moment, l.fee_ocur_time::DATE AS day, coalesce(l.det_item_fee_sumamt, 0) AS cost,
    coalesce(l.inscp_scp_amt, 0) AS covers, coalesce(l.bilg_dept_name, '') AS dept,
    coalesce(l.acord_dept_name, '') AS exec_dept, coalesce(l.dscg_tkdrug_flag, '0') = '1' AS take_home,
    try_cast(regexp_extract(l.feedetl_sn, '\d+$') AS HUGEINT) AS number
  FROM fee_lines l SEMI JOIN visits v USING (setl_id) WHERE l.net_cnt > 0;
CREATE VIEW diseases AS
  SELECT setl_id, upper(trim(diag_code)) AS code,
    row_number() OVER (PARTITION BY setl_id ORDER BY coalesce(maindiag_flag, '0') DESC, seq, diag_code) = 1 AS main
  FROM diagnoses WHERE coalesce(diag_stage, 'discharge') <> 'admission';
"""

# What the lines found are worth. `excess` is the rule's answer: `found`, any text that tells its findings apart, and
# what AMOUNTS says. A finding is placed by its last line.
PRICED = """,
priced AS (
  SELECT found, m.setl_id, m.item, m.day, m.line, m.moment, m.number, taken, gross, inscope,
    share(inscope, v.paid, v.covered) AS fund
  FROM money m JOIN visits v USING (setl_id))
SELECT last(setl_id) OVER finding, last(item) OVER finding, last(day) OVER finding, line, taken, gross, inscope, fund,
  sum(taken) OVER finding, sum(fund) OVER finding
FROM priced WINDOW finding AS (
  PARTITION BY found ORDER BY moment, number, line ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
"""
AMOUNTS = {
    # line, and `over`: how many units of the finding are too many, taken from its latest lines; null for all
    "units": """
WITH excess AS ({text}),
queue AS (
  SELECT *, sum(units) OVER (PARTITION BY found ORDER BY moment DESC, number DESC, line DESC) - units AS before
  FROM excess JOIN lines USING (line)),
cut AS (SELECT *, least(units, greatest(coalesce(over, before + units) - before, 0)) AS taken FROM queue),
money AS (
  SELECT *, share(cost, taken * 10000, told * 10000) AS gross, share(covers, taken * 10000, told * 10000) AS inscope
  FROM cut WHERE taken > 0)"""
    + PRICED,
    # line, and `yuan`: how much too much was charged for it
    "difference": """
WITH excess AS ({text}),
dear AS (
  SELECT *, round(yuan * 100)::HUGEINT AS gross, NULL::DECIMAL(38, 4) AS taken FROM excess JOIN lines USING (line)),
money AS (SELECT *, share(covers, gross, cost) AS inscope FROM dear)"""
    + PRICED,
    # the claim itself, setl_id
    "claim": """
SELECT setl_id, NULL, admitted, setl_id, NULL, charged, covered, paid, NULL, paid
FROM ({text}) JOIN visits USING (setl_id)""",
}

# A day's units of an item that was also charged two days before or the day after, the day between being empty,
# while the stay keeps within its days: posted late, no excess.
LATE = """
  d.billed <= 2 * d.cap AND d.day - 1 >= v.admitted
  AND NOT EXISTS (FROM days p WHERE p.setl_id = d.setl_id AND p.item = d.item AND p.day = d.day - 1)
  AND EXISTS (FROM days p WHERE p.setl_id = d.setl_id AND p.item = d.item AND p.day IN (d.day - 2, d.day + 1))
  AND (SELECT sum(p.billed) FROM days p WHERE p.setl_id = d.setl_id AND p.item = d.item) <= d.cap * v.days
"""

PAIR = """
SELECT DISTINCT b.line AS found, b.line, b.units AS over
FROM pairs p
JOIN lines a ON a.item = p.main
JOIN lines b ON b.item = p.included AND b.setl_id = a.setl_id AND b.line <> a.line
WHERE p.rule = {number} AND in_force(b.day, p.begndate, p.enddate) AND CASE p."window"
  WHEN 'hour' THEN abs(epoch(a.moment) - epoch(b.moment)) < 60 * 60
  WHEN '6h' THEN abs(epoch(a.moment) - epoch(b.moment)) <= 6 * 60 * 60
  WHEN 'day' THEN a.day = b.day
  ELSE true END
"""

QUESTIONS = {
    "routine-panel-with-component-tests": Question("units", PAIR.format(number=101)),
    # one line of a dictionary that names the other sex
    "drug-sex-restriction": Question(
        "units",
        """
SELECT DISTINCT l.line AS found, l.line, l.units AS over
FROM lines l JOIN visits v USING (setl_id)
JOIN sex_limits s ON s.med_list_codg = l.item AND s.rule = 50 AND in_force(l.day, s.begndate, s.enddate)
WHERE v.sex <> s.gend AND (v.insured OR NOT $insured_only)""",
    ),
    # outside the days of the stay; laboratory and pathology may report a day late, drugs may be taken home
    "charge-outside-stay-period": Question(
        "units",
        """
SELECT l.line AS found, l.line, l.units AS over
FROM lines l JOIN visits v USING (setl_id)
WHERE v.inpatient AND NOT coalesce(l.take_home AND l.day > v.discharged, false) AND (
  l.day < v.admitted - $days_before_admission::INT
  OR l.day > v.discharged + CASE WHEN list_contains($late_categories::VARCHAR[], l.category)
                                 THEN $late_days::INT ELSE $days_after_discharge::INT END)""",
    ),
    # the price above the ceiling of the day for hospitals of this level
    "price-above-guided-ceiling": Question(
        "difference",
        """
SELECT l.line AS found, l.line, (l.price - min(c.pric_uplmt_amt)) * l.units AS yuan
FROM lines l JOIN visits v USING (setl_id)
JOIN price_caps c ON c.med_list_codg = l.item AND c.hosp_lv = v.level::VARCHAR
  AND in_force(l.day, c.begndate, c.enddate)
WHERE (v.insured OR NOT $insured_only)
  AND NOT EXISTS (FROM concepts n WHERE n.concept = 'non_medical_names' AND starts_with(l.name, n.code))
GROUP BY l.line, l.price, l.units HAVING l.price - min(c.pric_uplmt_amt) > $tolerance_yuan""",
    ),
    # sessions of one treatment on one day of a visit
    "per-treatment-dialysis-billed-hourly": Question(
        "units",
        """
SELECT d.setl_id || d.item || d.day AS found, l.line, d.billed - d.cap AS over
FROM (
  WITH days AS (
    SELECT setl_id, item, day, sum(units) AS billed, $max_per_day AS cap
    FROM lines JOIN concepts c ON c.code = item AND c.concept = 'dialysis_per_session'
      AND in_force(day, begndate, enddate)
    GROUP BY ALL)
  SELECT d.* FROM days d JOIN visits v USING (setl_id) WHERE d.billed > d.cap AND NOT ("""
        + LATE
        + """)) d JOIN lines l USING (setl_id, item, day)""",
    ),
    # units of beds, of nursing, of consultation against the days of the stay
    "daily-fees-exceed-stay-days": Question(
        "units",
        """
SELECT setl_id || c.concept AS found, line,
  sum(units) OVER (PARTITION BY setl_id, c.concept) - greatest(v.days, $min_days) AS over
FROM lines JOIN visits v USING (setl_id)
JOIN concepts c ON c.code = item AND c.concept IN ('beds', 'stay_nursing', 'stay_consultation')
  AND in_force(day, c.begndate, c.enddate)
WHERE v.inpatient AND v.discharged IS NOT NULL
QUALIFY over > 0""",
    ),
    # two insured stays of one person share a day; the one the fund paid less for is questioned
    "overlapping-inpatient-stays": Question(
        "claim",
        """
WITH stays AS (
  FROM visits WHERE inpatient AND insured AND discharged IS NOT NULL
    AND NOT list_contains($exempt_visit_kinds::VARCHAR[], kind))
SELECT a.setl_id FROM stays a JOIN stays b USING (psn_no)
WHERE least(a.discharged, b.discharged) - greatest(a.admitted, b.admitted) >= $min_overlap_days
  AND (a.paid < b.paid OR (a.paid = b.paid AND a.setl_id > b.setl_id))
GROUP BY ALL  -- a newborn under the number of its mother
HAVING NOT bool_or(coalesce(a.brdy <> b.brdy AND (a.admitted - a.brdy <= $newborn_days
                                                  OR b.admitted - b.brdy <= $newborn_days), false))""",
    ),
    # back in the same ward with the same kind of disease within some days, neither planned nor an emergency
    "split-stay-short-readmission": Question(
        "claim",
        """
WITH stays AS (
  SELECT v.*, d.code FROM visits v JOIN diseases d ON d.setl_id = v.setl_id AND d.main WHERE inpatient AND insured)
SELECT DISTINCT b.setl_id FROM stays a JOIN stays b USING (psn_no, hospital, ward)
WHERE a.begntime < b.begntime AND b.admitted - a.discharged BETWEEN $min_gap_days AND $window_days
  AND a.code[:3] = b.code[:3] AND b.code <> '' AND NOT list_contains($exempt_visit_kinds::VARCHAR[], b.kind)
  AND coalesce(b.adm_way, '') <> '1' AND NOT EXISTS (
    FROM concepts e WHERE e.concept = 'readmission_exempt_icd'
      AND (starts_with(a.code, e.code) OR starts_with(b.code, e.code)))""",
    ),
}


def database(facts: Facts, folder: Path):
    """A DuckDB connection with the tables and the knowledge of some facts, loaded through Parquet files in `folder`."""
    import duckdb

    db = duckdb.connect()
    frames = {name: facts.table(name) for name in ("claims", "fee_lines", "diagnoses", "procedures")}
    if "_person" not in frames["claims"].columns:
        frames["claims"] = frames["claims"].with_columns(_person="psn_no")
    persons = with_fields(facts.tables.get("persons", pl.DataFrame()), "persons", "psn_no", "gend", "brdy", "die_date")
    frames["persons"] = persons.unique("psn_no", keep="first", maintain_order=True)
    for name, frame in {**facts.knowledge.tables, **frames}.items():
        frame.write_parquet(folder / f"{name}.parquet")
        db.execute(f"CREATE TABLE {name} AS FROM read_parquet(?)", [str(folder / f"{name}.parquet")])
    db.execute(VIEWS)
    return db


def keep_views(db) -> None:
    """What the views say, kept as tables from now on."""
    for name in ("visits", "lines"):
        db.execute(f"CREATE TABLE kept AS FROM {name}; DROP VIEW {name}; ALTER TABLE kept RENAME TO {name}")


def answer(db, loaded: LoadedRule, question: Question) -> pl.DataFrame:
    """What the SQL finds with the parameters of the rule: one row (ROW) per line too much, in order of KEY."""
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in loaded.setting.params.items()}
    text = AMOUNTS[question.amount].format(text=question.text)
    rows = db.execute(text, {name: given[name] for name in set(re.findall(r"\$([a-z_]+)", text))}).fetchall()
    return pl.DataFrame(rows, schema=ROW, orient="row").sort(KEY)


def told(findings: pl.DataFrame, evidence: pl.DataFrame, rule_id: str) -> pl.DataFrame:
    """What the engine found by one rule, in the same form."""
    own = findings.filter(pl.col("rule_id") == rule_id).select(
        "finding_id", "setl_id", item="med_list_codg", day="service_date", all_units="excess_cnt", all_fund="fund_fen"
    )
    names = {"line": "row_key", "units": "cnt", "gross": "amount_fen", "inscope": "inscope_fen", "fund": "fund_fen"}
    rows = evidence.filter(pl.col("role") == "excess").select("finding_id", **names).join(own, on="finding_id")
    return rows.select(pl.col(n).cast(t) for n, t in ROW.items()).sort(KEY)
