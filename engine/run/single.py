"""One claim asked of every rule that can judge it, before it is settled or while it is examined (事前提醒, 事中审核).

The same door for the data, the same facts, the same rules and findings as a run over a whole bundle. What makes it
quick: a region is prepared once, and rules that cannot hit are seen at a glance (engine/audit/screen.py). What one
claim cannot tell, such as the stock of an institution or the life of a trace code, is said, not passed over.
"""

import datetime
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl

from engine.audit import PERSON_SCOPES, audit
from engine.audit.facts import Facts
from engine.audit.findings import no_findings
from engine.audit.screen import Screen, others_read
from engine.language.vocabulary import scopes
from engine.run import stages
from engine.run.region import Region, load_region
from engine.run.tracing import trace_bucket
from engine.tables.document import load, tables_of

SUPPLIES = {"lot_differs_codes", "unsupplied_codes", "supplied_later_codes"}  # facts that only purchases tell


@dataclass(frozen=True)
class Checked:
    """What the rules say of one claim.

    findings: as in findings.parquet, each with its `evidence` rows, and of its rule `title`, `basis`, `needs` (what to
    fetch) and `innocent` (what could explain it). not_evaluated: rule_id, reason, detail as in not_evaluated.parquet.
    rules: how many were asked. notes: what was accepted of the document with a remark.
    """

    setl_id: str
    findings: list[dict]
    not_evaluated: list[dict]
    rules: int
    notes: list[str]

    def as_dict(self) -> dict:
        """Plain values for JSON: money in fen, quantities and days as text."""
        return _plain(asdict(self))


class Checker:
    """A region made ready; called with a document, it answers what the rules say of its claim."""

    def __init__(self, region: Region):
        self.day: datetime.date | None = None
        self._prepare(region)

    def _prepare(self, region: Region) -> None:
        self.region = region
        self.rules = [r for r in region.rules if r.rule.status != "retired"]
        self.known = {r.rule.id: r for r in self.rules}
        self.blank = Facts({}, region.knowledge, region.presumptions)
        own = [r for r in self.rules if r.rule.scope in PERSON_SCOPES]
        self.screen = Screen(own, self.blank)
        self.of_others = {r.rule.id for r in own if others_read(r)}

    def __call__(self, document: dict | Path) -> Checked:
        """Judge one claim: a document (engine/tables/document.py) or the JSON file that holds it.

        Raises InputProblem with every fault of the document.
        """
        name = str(document) if isinstance(document, Path) else ""
        document = load(document) if isinstance(document, Path) else document
        tables, notes = tables_of(document, name)
        # The document says whose claims they are: one person's, under whatever numbers.
        tables["claims"] = stages.placed(tables["claims"]).with_columns(_person=pl.col("psn_no").min())
        setl_id = tables["claims"]["setl_id"][0]
        if any(r.asks_the_date for r in self.rules):
            self._date(tables["claims"]["setl_time"][0])
        findings, evidence, unjudged = self._judged(tables, "history" in document)
        traced, rows, untraced = self._traced(tables)
        findings, evidence = pl.concat([findings, traced]), pl.concat([evidence, rows])
        lines = tables["fee_lines"].filter(pl.col("setl_id") == setl_id)["feedetl_sn"] if "fee_lines" in tables else []
        own = (pl.col("setl_id") == setl_id) | ((pl.col("table") == "fee_lines") & pl.col("row_key").is_in(list(lines)))
        touched = evidence.filter(own)["finding_id"].unique()
        mine = findings.filter((pl.col("setl_id") == setl_id) | pl.col("finding_id").is_in(touched.implode()))
        mine = mine.sort("rule_id", "scope_key", "service_date", "finding_id", nulls_last=True)
        rows = evidence.sort("finding_id", "role", "table", "row_key").partition_by("finding_id", as_dict=True)
        told = [self._told(row, rows.get((row["finding_id"],))) for row in mine.iter_rows(named=True)]
        said = sorted([*unjudged, *untraced, *self._beyond()], key=lambda row: (row["rule_id"], row["reason"]))
        return Checked(setl_id, told, said, len(self.rules), notes)

    def _date(self, moment: datetime.datetime) -> None:
        """Rules that ask for $today are told the day of the claim, not of the clock."""
        if moment.date() != self.day:
            self.day = moment.date()
            self._prepare(self.region.dated(self.day))

    def _judged(self, tables: dict[str, pl.DataFrame], history: bool):
        """(findings, evidence, not evaluated) of the rules over lines, visits, days and persons."""
        facts = stages.facts_of(stages.netted(tables), self.region)
        facts.joined = self.blank.joined
        clear, listless = self.screen.clear(facts), self.screen.listless(facts)
        open_ = [r for r in self.rules if r.rule.id in self.screen.demands and r.rule.id not in clear]
        asked = [r for r in open_ if r.rule.id not in listless or facts.missing(r)]
        findings, evidence, unjudged = audit(asked, facts, PERSON_SCOPES)
        said = unjudged.select("rule_id", "reason", "detail").to_dicts()
        if not history:
            hit = {*findings["rule_id"], *unjudged["rule_id"]}
            waiting = [r.rule.id for r in open_ if r.rule.id in self.of_others and r.rule.id not in hit]
            said += [_unjudged(rule, "missing_table", "history") for rule in waiting]
        return findings, evidence, said

    def _traced(self, tables: dict[str, pl.DataFrame]):
        """The same of the rules over the trace codes of one fee line."""
        rules = [r for r in self.rules if r.rule.scope == "fee_line_codes"]
        codes = tables.get("trace_codes")
        if codes is None:
            return *no_findings(), [_unjudged(r.rule.id, "missing_table", "trace_codes") for r in rules]
        bought = "purchase" in codes["event_type"]
        lacking = [] if bought else [r for r in rules if {p.rpartition(".")[2] for p in r.asked()} & SUPPLIES]
        said = [_unjudged(r.rule.id, "missing_table", "trace_codes: purchase") for r in lacking]
        rules = [r for r in rules if r not in lacking]
        lazy = {name: frame.lazy() for name, frame in tables.items()}
        findings, evidence, unjudged = trace_bucket(lazy, replace(self.region, rules=rules))
        return findings, evidence, [*said, *unjudged.select("rule_id", "reason", "detail").to_dicts()]

    def _beyond(self) -> list[dict]:
        """The rules whose cases are more than one claim."""
        far = [r for r in self.rules if r.rule.scope not in (*PERSON_SCOPES, "fee_line_codes")]
        return [
            _unjudged(r.rule.id, "outside_coverage", f"{scopes()[r.rule.scope].label}：不是一张结算单能判断的")
            for r in far
        ]

    def _told(self, finding: dict, evidence: pl.DataFrame | None) -> dict:
        rule = self.known[finding["rule_id"]].rule
        return {
            **finding, "title": rule.title, "needs": list(rule.needs),
            "basis": [f"《{b.law}》{f'第{b.article}条' if b.article else ''}" for b in rule.basis],
            "innocent": [i.because for i in rule.innocent],
            "evidence": [] if evidence is None else evidence.drop("finding_id").to_dicts(),
        }  # fmt: skip


@cache
def default_checker() -> Checker:
    """A checker of the rules and knowledge that come with the program."""
    return Checker(load_region())


def _unjudged(rule: str, reason: str, detail: str) -> dict:
    return {"rule_id": rule, "reason": reason, "detail": detail}


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value if value is None or isinstance(value, str | int) else value.isoformat()
