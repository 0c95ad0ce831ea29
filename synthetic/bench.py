"""How fast everything is, measured on data made for it: `yibao bench`.

Each job runs once to warm up and then in several rounds, the jobs of one row in turn (A B A B), so that a ratio is
always of the same moments of the same machine. What is compared must first give the same answer; else nothing is
printed.
"""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.table import Table

from engine.audit import CODE_SCOPES, PERSON_SCOPES, audit
from engine.audit.cases import cases_of
from engine.audit.codefacts import TABLES
from engine.audit.facts import Facts
from engine.audit.frames import Cases
from engine.audit.judge import with_aggregates
from engine.audit.trial import disagreement, spoken_cases
from engine.grouping.group import group_records
from engine.grouping.scheme import Scheme, load_scheme
from engine.language.expression import interpret
from engine.language.rule import LoadedRule
from engine.run import buckets, stages
from engine.run.region import DEFAULT_SCHEME, Region, load_region, scheme_folder
from engine.run.single import Checker
from engine.run.tracing import trace_bucket
from engine.tables.dictionary import with_fields
from engine.tables.netting import net
from engine.tables.read import Extract, read
from engine.tracing.codes import keyed
from synthetic.bench_money import settlement
from synthetic.documents import document, typical_stays
from synthetic.make import make
from synthetic.sql import QUESTIONS, answer, database, keep_views, told
from synthetic.stays import PlainGrouper, records
from synthetic.timing import ROUNDS, Row, against, rate, rounds, same, seconds_of

CLAIMS, SEED = 20_000, 2026
STAYS = 60  # claims asked alone
SAMPLE = 400  # cases the interpreter is asked
TRACE_EVENTS = 150_000
STAYS_GROUPED, STAYS_PLAIN = 1_000_000, 20_000
INTERPRETED = (  # one of each scope that has many cases
    "charge-outside-stay-period",
    "daily-fees-exceed-stay-days",
    "duplicate-bed-fee-same-day",
    "dialysis-frequency-over-capacity",
)


def bench(
    folder: Path,
    claims: int = CLAIMS,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    scheme: str = DEFAULT_SCHEME,
) -> dict:
    """Make about that many claims in `folder` and measure; the answer has the machine and `rows` (see Row).

    Stays are grouped by `scheme`, a name or a folder; everything else is measured as the demo is run.

    Raises InvariantBroken where the engine and what it is compared with do not say the same.
    """
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    progress("造数 making data", 0, 1)
    made = make(folder / "claims", claims, SEED)
    region = load_region()
    progress("造数 making data", 1, 1)
    progress("测量 measuring", 0, 8)
    rows, extract = _reading(folder, region, sum(made["rows"].values()))
    buckets.split(extract.tables, folder / "buckets", lines_a_bucket=2 * made["fee_lines"])
    tables = buckets.bucket_tables(folder / "buckets", 0)
    netted = net(with_fields(tables["claims"], "claims"), with_fields(tables["fee_lines"], "fee_lines"))[:2]
    netted = tables | dict(zip(("claims", "fee_lines"), netted, strict=True))
    jobs = [
        lambda: _rules(tables, region),
        lambda: _one_claim(tables, region),
        lambda: _interpreted(netted, region),
        lambda: _sql(netted, region, folder),
        lambda: _grouping(load_scheme(scheme_folder(scheme))),
        lambda: settlement(tables, region),
        lambda: _traces(extract, region),
    ]
    for number, job in enumerate(jobs, 1):
        progress("测量 measuring", number, 8)
        rows += job()
    progress("测量 measuring", 8, 8)
    return {
        "claims": made["claims"], "fee_lines": made["fee_lines"], "cpus": os.cpu_count(), "load_before": load,
        "polars": pl.__version__, "rows": [asdict(row) for row in rows],
    }  # fmt: skip


# the jobs


def _reading(folder: Path, region: Region, count: int) -> tuple[list[Row], Extract]:
    seconds, (extract,) = rounds(lambda: read(folder / "claims", folder / "read", "auto", region.knowledge["wordings"]))
    return [Row("read", "读取 · reading", count, "行 · rows", rate(count, seconds[:, 0]))], extract


def _facts(netted: dict[str, pl.DataFrame], region: Region) -> Facts:
    return Facts(netted, region.knowledge, region.presumptions)


def _rules(tables: dict[str, pl.DataFrame], region: Region) -> list[Row]:
    """Every rule over lines, visits, days and persons, from the tables of a bucket to findings."""
    seconds, _ = rounds(lambda: stages.audited(tables, region))
    lines = tables["fee_lines"].height
    asked = sum(r.rule.scope in PERSON_SCOPES and r.rule.status != "retired" for r in region.rules)
    both = lines * asked
    label = f"冲销、{asked} 条规则 · netting, {asked} rules"
    return [
        Row("rules", label, lines, "明细 · lines", rate(lines, seconds[:, 0])),
        Row("rules", "　同上 · the same", both, "明细×规则 · lines x rules", rate(both, seconds[:, 0])),
    ]


def _one_claim(tables: dict[str, pl.DataFrame], region: Region) -> list[Row]:
    """Ordinary stays one by one, from the document to the answer, every rule loaded: the median and the slow ones."""
    checker = Checker(region)
    told = [document(tables, setl_id) for setl_id in typical_stays(tables, STAYS)]
    checker(told[0])
    taken = np.array([seconds_of(lambda one=one: checker(one)) for one in told * ROUNDS])
    middle, slow = (round(1000 * np.quantile(taken, share), 1) for share in (0.5, 0.95))
    label = f"单张，中位 {middle} 毫秒，95% 在 {slow} 毫秒内 · one claim, median {middle} ms, 95 % within {slow} ms"
    return [Row("claim", label, len(told), "结算单 · claims", rate(1, taken))]


def _interpreted(netted: dict[str, pl.DataFrame], region: Region) -> list[Row]:
    """Conditions compiled to Polars against rule-engine's interpreter; the cases are made before, for both."""
    facts = _facts(netted, region)
    rules = [replace(rule, cheap=[]) for rule in region.rules if rule.rule.id in INTERPRETED]  # every case is asked
    asked = [(rule, cases_of(rule, facts)) for rule in rules]
    return [_condition(rule, cases) for rule, cases in asked if cases.frame.height]


def _condition(loaded: LoadedRule, cases: Cases) -> Row:
    few = _sampled(cases)
    same(disagreement(loaded, few), "", loaded.rule.id)
    spoken = list(spoken_cases(loaded, few))
    seconds, _ = rounds(lambda: _compiled(loaded, cases), lambda: _spoken(loaded, spoken))
    label = f"条件 {loaded.rule.scope} · condition {loaded.rule.scope}"
    row = Row("interpreter", label, cases.frame.height, "个案 · cases", of=loaded.rule.id)
    return against(row, seconds, "rule-engine", len(spoken))


def _sampled(cases: Cases) -> Cases:
    """Every n-th case, SAMPLE of them or a little more."""
    step = max(1, cases.frame.height // SAMPLE)
    frame = cases.frame.filter(pl.col("_case") % step == 0)
    members = {path: rows.join(frame.select("_case"), on="_case", how="semi") for path, rows in cases.members.items()}
    return Cases(frame, members, cases.key)


def _compiled(loaded: LoadedRule, cases: Cases) -> pl.Series:
    return with_aggregates(loaded, cases).select(_when=loaded.compiled["when"].value)["_when"]


def _spoken(loaded: LoadedRule, spoken: list[dict]) -> list:
    return [interpret(loaded.parsed["when"], case) for case in spoken]


def _sql(netted: dict[str, pl.DataFrame], region: Region, folder: Path) -> list[Row]:
    """Some rules, evidence and money included, against the same by hand in SQL; both have the tables in memory.

    Once from the tables, once from what is known of every visit and line (views of SQL as tables of its own).
    """
    rules = [r for r in region.rules if r.rule.id in QUESTIONS]
    lines, unit = netted["fee_lines"].height * len(rules), "明细×规则 · lines x rules"
    label = f"{len(rules)} 条规则{{}} · {len(rules)} rules{{}}"
    if importlib.util.find_spec("duckdb") is None:
        why = "DuckDB 未测，请装 yibao[test] · DuckDB not measured: install yibao[test]"
        return [Row("sql", label.format("", ""), lines, unit, against=why)]
    (folder / "sql").mkdir()
    facts = _facts(netted, region)
    db, rows = database(facts, folder / "sql"), []
    for part, known in (("，含事实", ", facts included"), ("，事实已备", ", facts ready")):
        ready = known.endswith("ready")
        if ready:
            keep_views(db)
        seconds, ((findings, evidence, _), answers) = rounds(
            lambda ready=ready: audit(rules, facts if ready else _facts(netted, region), PERSON_SCOPES),
            lambda: {r.rule.id: answer(db, r, QUESTIONS[r.rule.id]) for r in rules},
        )
        for rule_id, found in answers.items():
            same(told(findings, evidence, rule_id).rows(), found.rows(), rule_id)
        rows.append(against(Row("sql", label.format(part, known), lines, unit), seconds, "DuckDB SQL", lines))
    return rows


def _grouping(scheme: Scheme) -> list[Row]:
    """Stays aimed evenly at the groups of the scheme, against a grouper in plain Python over the same tables."""
    stays = records(scheme, STAYS_GROUPED, SEED)
    some = stays.head(STAYS_PLAIN)
    rows = []
    for label, why in (("分组，附理由 · grouping, why", True), ("分组，不附理由 · grouping, no why", False)):
        seconds, (ours, plain) = rounds(
            lambda why=why: group_records(stays, scheme, why), lambda: PlainGrouper(scheme).drgs(some)
        )
        same(ours["drg"].head(STAYS_PLAIN).to_list(), plain, scheme.name)
        row = Row("group", label, stays.height, "住院 · stays")
        rows.append(against(row, seconds, "纯 Python · plain Python", some.height))
    return rows


def _traces(extract: Extract, region: Region) -> list[Row]:
    """All trace rules over the events made, several times with other serial numbers, against sorting their keys."""
    tables = dict(extract.tables)
    events = _many(tables["trace_codes"].collect())
    tables["trace_codes"] = events.lazy()
    frames = {name: tables[name].collect().lazy() for name in (*TABLES, "claims") if name in tables}
    keys = keyed(events)["code_key"].drop_nulls().to_numpy()
    seconds, _ = rounds(lambda: trace_bucket(frames, region), lambda: np.sort(keys))
    asked = sum(r.rule.scope in CODE_SCOPES and r.rule.status != "retired" for r in region.rules)
    row = Row("trace", f"追溯码、{asked} 条规则 · trace codes, {asked} rules", events.height, "码 · codes")
    return [against(row, seconds, "numpy 排序 · numpy sort", len(keys))]


def _many(events: pl.DataFrame) -> pl.DataFrame:
    """The events as often as gives TRACE_EVENTS, each time with serials moved on and ids of its own."""
    code = pl.col("drug_trac_codg")
    genuine = code.str.contains(r"^8\d{19}$")

    def again(nth: int) -> pl.DataFrame:
        serial = (code.str.slice(7).cast(pl.Int64, strict=False) + nth * 7_654_321) % 10**13
        moved = pl.concat_str(code.str.slice(0, 7), serial.cast(pl.String).str.zfill(13))
        ids = [pl.concat_str(pl.col(name), pl.lit(f"~{nth}")).alias(name) for name in ("event_id", "setl_id", "psn_no")]
        return events.with_columns(pl.when(genuine).then(moved).otherwise(code).alias("drug_trac_codg"), *ids)

    return pl.concat([events, *(again(nth) for nth in range(1, max(1, TRACE_EVENTS // events.height)))])


# the answer


def table(measured: dict, language: int = 0) -> Table:
    """The answer as a table for people; language: 0 Chinese, 1 English."""

    def said(text: str) -> str:
        return text.split(" · ")[min(language, text.count(" · "))]

    if "codes" in measured:
        title = (
            "{codes:,} 追溯码，{cpus} CPU，负载 {load_before} · {codes:,} trace codes, {cpus} CPU, load {load_before}"
        )
    else:
        title = "{claims:,} 结算单，{fee_lines:,} 明细，{cpus} CPU，负载 {load_before} · "
        title += "{claims:,} claims, {fee_lines:,} fee lines, {cpus} CPU, load {load_before}"
    shown = Table(title=said(title.format_map(measured)))
    shown.add_column(said("测量 · what"))
    for name in ("数量 · count", "每秒 · a second", "倍数 · times"):
        shown.add_column(said(name), justify="right")
    shown.add_column(said("相比 · against"))
    for row in measured["rows"]:
        against = said(row["against"])
        if row["against_per_second"]:
            against += f" {row['against_per_second']:,}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:,.{0 if row['ratio'] >= 100 else 3}f}"
        rate = "" if row["per_second"] is None else f"{row['per_second']:,}"
        shown.add_row(said(row["label"]), f"{row['count']:,} {said(row['unit'])}", rate, ratio, against)
    return shown
