"""The code split: a region's trace-code tables to findings."""

import tempfile
from pathlib import Path

import polars as pl

from engine.audit import CODE_SCOPES, UNJUDGED
from engine.audit.codefacts import TABLES, CodeFacts, tuned_by
from engine.audit.codes import judge_codes
from engine.audit.facts import fund_share
from engine.audit.findings import no_findings, supersede
from engine.audit.sieved import sievable
from engine.language.rule import LoadedRule
from engine.run.codeindex import open_index, sieve_month
from engine.run.region import Region
from engine.run.sieving import rows_for, sieve
from engine.tables.dictionary import with_fields
from engine.tracing.codes import apart, holds_several
from engine.tracing.events import Cancelled
from engine.tracing.returns import with_codes

MEMORY = 4 * 2**30
SMALL = ("drug_identifiers", "pack_relations", "institutions", "chains", "stock_moves", "stock_balances")
LINE = ["feedetl_sn", "setl_id", "psn_no", "fixmedins_code", "med_list_codg", "cnt", "det_item_fee_sumamt",
        "inscp_scp_amt", "fund_pay", "fee_ocur_time"]  # fmt: skip


def trace_bucket(
    tables: dict[str, pl.LazyFrame],
    region: Region,
    wanted: list[LoadedRule] | None = None,
    beside: list | None = None,
):
    """(findings, evidence, not_evaluated) of every trace rule over all codes, or of those wanted alone. What is told
    beside the findings needs the facts they rest on: `beside` gets (findings, evidence, facts)."""
    rules = _standing(region) if wanted is None else wanted
    return judged(rules, code_facts(tables, region), beside)


def trace_sieved(
    tables: dict[str, pl.LazyFrame],
    region: Region,
    memory: int = MEMORY,
    folder: Path | None = None,
    index: Path | None = None,
    beside: list | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What `trace_bucket` gives, staying under so many bytes of memory beside what is found; `folder` is worked in.

    With an `index` (a folder, made where it is not there) the answer is that of the tables and all that were given with
    this index before, of which only what these can meet is looked at again. Rules that could hold of what a sieve lets
    fall are judged on all codes at once, whatever memory that takes.
    """
    rules = _standing(region)
    sifted = [r for r in rules if sievable(r)]
    if "trace_codes" not in tables or not sifted:
        return trace_bucket(tables, region, beside=beside)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        before = open_index(index).table("trace_codes") if index else None
        whole = told_apart(tables, Path(work), None if before is None else [before])
        return _sieved(whole, region, rules, sifted, memory, Path(work), index, beside)


def _sieved(tables, region: Region, rules, sifted, memory: int, folder: Path, index: Path | None, beside):
    small = {name: tables[name].collect() for name in SMALL if name in tables}
    tuned = {n: v for n, v in tuned_by(rules).items() if n in ("tolerance_minutes", "within_seconds")}
    if index is None:
        kept = sieve(tables, small, _cancelled(tables), rows_a_part=rows_for(memory), folder=folder, **tuned)
    else:
        kept, whole = sieve_month(tables, small, _cancelled, index, rows_a_part=rows_for(memory), work=folder, **tuned)
        tables = {**tables, **whole}
    few = {**tables, "trace_codes": kept.trace_codes.lazy()}
    few |= {} if kept.fee_lines is None else {"fee_lines": kept.fee_lines}
    cancelled = _cancelled(tables)  # of all fee lines, of which few are kept
    told = [judged(sifted, CodeFacts(_frames(few), rules, cancelled, kept.lines, kept.lots), beside)]
    if others := [r for r in rules if r not in sifted]:
        told.append(trace_bucket(tables, region, others, beside))
    found, rows, unjudged = (pl.concat(frames) for frames in zip(*told, strict=True))
    return supersede(found, rows, rules), rows, unjudged


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


def judged(rules: list[LoadedRule], facts: CodeFacts | None, beside: list | None = None):
    """(findings, evidence, not_evaluated) of some trace rules; see `trace_bucket` for `beside`."""
    if facts is None:
        absent = [(r.rule.id, "missing_table", "trace_codes", 0, 0) for r in rules]
        return *no_findings(), pl.DataFrame(absent, schema=UNJUDGED, orient="row")
    findings, evidence, unjudged = [no_findings()[0]], [no_findings()[1]], []
    for loaded in rules:
        if missing := facts.missing(loaded):
            unjudged.append((loaded.rule.id, "missing_table", missing, 0, 0))
            continue
        found, rows, cases = judge_codes(loaded, facts.of(loaded.rule.scope), facts.tables.get("fee_lines"))
        findings.append(found)
        evidence.append(rows)
        if cases:
            unjudged.append((loaded.rule.id, "value_missing", "when", cases, 0))
    found, rows = pl.concat(findings), pl.concat(evidence)
    if beside is not None:
        beside.append((found, rows, facts))
    return supersede(found, rows, rules), rows, pl.DataFrame(unjudged, schema=UNJUDGED, orient="row")


def _standing(region: Region) -> list[LoadedRule]:
    return [r for r in region.rules if r.rule.scope in CODE_SCOPES and r.rule.status != "retired"]


def code_facts(tables: dict[str, pl.LazyFrame], region: Region) -> CodeFacts | None:
    """The facts of all codes, computed as the region's trace rules tune them; None without trace codes."""
    if "trace_codes" not in tables:
        return None
    return CodeFacts(_frames(told_apart(tables)), _standing(region), _cancelled(tables))


def _frames(tables: dict[str, pl.LazyFrame]) -> dict[str, pl.DataFrame]:
    frames = {name: tables[name].collect() for name in TABLES if name in tables and name != "fee_lines"}
    frames["trace_codes"] = _with_papers(frames["trace_codes"], tables)
    if "fee_lines" in tables:
        frames["fee_lines"] = _coded_lines(tables["fee_lines"], frames)
        if "claims" in tables:
            frames["fee_lines"] = _with_fund(frames["fee_lines"], tables["claims"])
    return frames


def _with_papers(events: pl.DataFrame, tables: dict[str, pl.LazyFrame]) -> pl.DataFrame:
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
    lines = with_fields(lines, "fee_lines", *LINE).select(LINE)
    scanned = frames["trace_codes"].lazy().select("feedetl_sn").drop_nulls().unique()
    wanted = lines.join(scanned, on="feedetl_sn", how="semi")
    if "drug_identifiers" in frames:
        coded = frames["drug_identifiers"].lazy().select("med_list_codg").unique()
        wanted = pl.concat([lines.join(coded, on="med_list_codg", how="semi"),
                            wanted.join(coded, on="med_list_codg", how="anti")])  # fmt: skip
    return wanted.sort("feedetl_sn").collect(engine="streaming")


def _with_fund(lines: pl.DataFrame, claims: pl.LazyFrame) -> pl.DataFrame:
    """Fee lines whose fund payment is not told get the claim's: in-scope x fund paid / in-scope cost, half-up."""
    claims = with_fields(claims, "claims", "fund_pay_sumamt", "inscp_scp_amt")
    paid = claims.select("setl_id", _fund="fund_pay_sumamt", _scope="inscp_scp_amt").collect()
    share = fund_share(pl.col("inscp_scp_amt"), pl.col("_fund"), pl.col("_scope"))
    lines = lines.join(paid, on="setl_id", how="left", maintain_order="left")
    return lines.with_columns(fund_pay=pl.coalesce("fund_pay", share)).drop("_fund", "_scope")


def _cancelled(tables: dict[str, pl.LazyFrame]) -> Cancelled | None:
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
