"""The code split: a region's trace-code tables to findings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.audit import CODE_SCOPES, UNJUDGED
from engine.audit.codefacts import TABLES, CodeFacts
from engine.audit.codes import judge_codes
from engine.audit.facts import fund_share
from engine.audit.findings import no_findings, supersede
from engine.audit.plain import INPATIENT
from engine.language.rule import LoadedRule
from engine.run.region import Region
from engine.tables.dictionary import with_fields
from engine.tracing.codes import apart, holds_several
from engine.tracing.events import Cancelled
from engine.tracing.evidence import Facts
from engine.tracing.returns import with_codes

SMALL = ("drug_identifiers", "pack_relations", "institutions", "chains", "stock_moves", "stock_balances")
CODED_LINE = ["feedetl_sn", "setl_id", "psn_no", "fixmedins_code", "med_list_codg", "cnt", "det_item_fee_sumamt",
        "inscp_scp_amt", "fund_pay", "fee_ocur_time", "self_pay_flag"]  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What trace rules find in some codes, and the facts it rests on; None without trace codes."""

    findings: pl.DataFrame
    evidence: pl.DataFrame
    not_evaluated: pl.DataFrame
    facts: CodeFacts | None


def trace_bucket(tables: dict[str, pl.LazyFrame], region: Region, wanted: list[LoadedRule] | None = None):
    """(findings, evidence, not_evaluated) of every trace rule over all codes, or of those wanted alone."""
    rules = standing_rules(region) if wanted is None else wanted
    told = whole(tables, region, rules)
    return supersede(told.findings, told.evidence, rules), told.evidence, told.not_evaluated


def whole(tables: dict[str, pl.LazyFrame], region: Region, rules: list[LoadedRule]) -> Told:
    """Rules judged on all codes at once."""
    return judged(rules, code_facts(tables, region))


def told_apart(
    tables: dict[str, pl.LazyFrame], folder: Path | None = None, earlier: list[pl.LazyFrame] | None = None
) -> dict[str, pl.LazyFrame]:
    """The tables with every event of one code: fields of several told apart (codes.apart), returns without a code with
    those of their sale (returns.with_codes), which may stand in `earlier` rows. Only where there are such is anything
    rewritten, in `folder` where one is given."""
    if "trace_codes" not in tables:
        return tables
    events = tables["trace_codes"]
    if holds_several(events):
        events = apart(events)
    events = with_codes(events, earlier)
    if events is tables["trace_codes"]:
        return tables
    if folder is None:
        return {**tables, "trace_codes": events.collect().lazy()}
    path = folder / "told-apart.parquet"
    events.sink_parquet(path, compression="lz4")
    return {**tables, "trace_codes": pl.scan_parquet(path)}


def judged(
    rules: list[LoadedRule], facts: CodeFacts | None, own: Callable[[str, Facts], Facts] = lambda _, facts: facts
) -> Told:
    """What some trace rules find; `own` gives of the facts of a scope those of the cases that count."""
    if facts is None:
        absent = [(r.rule.id, "missing_table", "trace_codes", 0, 0) for r in rules]
        return Told(*no_findings(), pl.DataFrame(absent, schema=UNJUDGED, orient="row"), None)
    findings, evidence, unjudged = [no_findings()[0]], [no_findings()[1]], []
    for loaded in rules:
        if missing := facts.missing(loaded):
            unjudged.append((loaded.rule.id, "missing_table", missing, 0, 0))
            continue
        scope = loaded.rule.scope
        found, rows, cases = judge_codes(loaded, own(scope, facts.of(scope)), facts.tables.get("fee_lines"))
        findings.append(found)
        evidence.append(rows)
        if cases:
            unjudged.append((loaded.rule.id, "value_missing", "when", cases, 0))
    told = pl.DataFrame(unjudged, schema=UNJUDGED, orient="row")
    return Told(pl.concat(findings), pl.concat(evidence), told, facts)


def standing_rules(region: Region) -> list[LoadedRule]:
    return [r for r in region.rules if r.rule.scope in CODE_SCOPES and r.rule.status != "retired"]


def code_facts(tables: dict[str, pl.LazyFrame], region: Region) -> CodeFacts | None:
    """The facts of all codes, computed as the region's trace rules tune them; None without trace codes."""
    if "trace_codes" not in tables:
        return None
    frames = {**frames_of(told_apart(tables)), "scan_duties": region.knowledge["scan_duties"]}
    return CodeFacts(frames, standing_rules(region), cancelled_of(tables))


def frames_of(tables: dict[str, pl.LazyFrame]) -> dict[str, pl.DataFrame]:
    frames = {name: tables[name].collect() for name in TABLES if name in tables and name != "fee_lines"}
    frames["trace_codes"] = with_papers(frames["trace_codes"], tables)
    if "fee_lines" in tables:
        frames["fee_lines"] = _coded_lines(tables["fee_lines"], frames)
        if "claims" in tables:
            frames["fee_lines"] = with_fund(frames["fee_lines"], tables["claims"])
    return frames


def with_papers(events: pl.DataFrame, tables: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    """Events with the visit and the prescription their settlement and fee line tell, where they say none."""
    for field, name, key in (("mdtrt_id", "claims", "setl_id"), ("rxno", "fee_lines", "feedetl_sn")):
        if name in tables and {field, key} <= set(tables[name].collect_schema().names()):
            events = with_fields(events, "trace_codes", field, key)
            asked = events.select(key).drop_nulls().unique().lazy()
            told = tables[name].select(key, _told=field).join(asked, on=key, how="semi").drop_nulls("_told")
            told = told.sort("_told").unique(key, keep="first", maintain_order=True).collect()
            events = events.join(told, on=key, how="left", maintain_order="left")
            events = events.with_columns(pl.coalesce(field, "_told").alias(field)).drop("_told")
    return events


def _coded_lines(lines: pl.LazyFrame, frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The fee lines that codes can concern: of drugs that some identifier names, and those that were scanned for."""
    lines = with_fields(lines, "fee_lines", *CODED_LINE).select(CODED_LINE)
    scanned = frames["trace_codes"].lazy().select("feedetl_sn").drop_nulls().unique()
    wanted = lines.join(scanned, on="feedetl_sn", how="semi")
    if "drug_identifiers" in frames:
        coded = frames["drug_identifiers"].lazy().select("med_list_codg").unique()
        wanted = pl.concat([lines.join(coded, on="med_list_codg", how="semi"),
                            wanted.join(coded, on="med_list_codg", how="anti")])  # fmt: skip
    return wanted.sort("feedetl_sn").collect(engine="streaming")


def with_fund(lines: pl.DataFrame, claims: pl.LazyFrame) -> pl.DataFrame:
    """Fee lines with what their claim tells and they do not: institution, person, that no insurance pays, the fund
    payment (in-scope x fund paid / in-scope cost, half-up), and whether they are `of_stay`."""
    known = ("fund_pay_sumamt", "inscp_scp_amt", "fixmedins_code", "psn_no", "insured_flag", "visit_kind")
    paid = with_fields(claims, "claims", *known).select(
        "setl_id", _fund="fund_pay_sumamt", _scope="inscp_scp_amt", _site="fixmedins_code", _person="psn_no",
        _alone=pl.when(pl.col("insured_flag") == "0").then(pl.lit("1")), of_stay=pl.col("visit_kind").is_in(INPATIENT),
    )  # fmt: skip
    paid = paid.join(lines.lazy().select("setl_id").unique(), on="setl_id", how="semi").collect()
    share = fund_share(pl.col("inscp_scp_amt"), pl.col("_fund"), pl.col("_scope"))
    lines = lines.join(paid, on="setl_id", how="left", maintain_order="left")
    return lines.with_columns(
        fund_pay=pl.coalesce("fund_pay", share),
        fixmedins_code=pl.coalesce("fixmedins_code", "_site"),
        psn_no=pl.coalesce("psn_no", "_person"),
        self_pay_flag=pl.coalesce("_alone", "self_pay_flag"),
    ).drop("_fund", "_scope", "_site", "_person", "_alone")


def cancelled_of(tables: dict[str, pl.LazyFrame]) -> Cancelled | None:
    """What was reversed as a whole: settlements, by a refund that names them, which goes too; and fee lines of which
    later lines that name them (init_feedetl_sn) take back no less than they billed."""
    none = pl.Series([], dtype=pl.String)
    settlements = lines = none
    if "claims" in tables and "refd_setl_flag" in tables["claims"].collect_schema().names():
        refunds = with_fields(tables["claims"], "claims").filter(pl.col("refd_setl_flag") == "1")
        named = pl.concat_list("setl_id", "init_setl_id").explode().drop_nulls().unique()
        settlements = refunds.select(named).collect().to_series()
    if "fee_lines" in tables and "init_feedetl_sn" in tables["fee_lines"].collect_schema().names():
        billed = tables["fee_lines"].select("feedetl_sn", "init_feedetl_sn", "cnt")
        back = billed.filter(pl.col("cnt") < 0, pl.col("init_feedetl_sn").is_not_null())
        back = back.group_by(feedetl_sn="init_feedetl_sn").agg(back=-pl.col("cnt").sum())
        whole = billed.join(back, on="feedetl_sn").filter(pl.col("back") >= pl.col("cnt"), pl.col("cnt") > 0)
        lines = whole.select("feedetl_sn").collect().to_series()
    return Cancelled(settlements, lines) if len(settlements) or len(lines) else None
