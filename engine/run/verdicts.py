"""What rules find in a prepared extract, asked once: the answers are kept beside it under the rule's fingerprint.

So an edit asks only the rules it concerns, and the money of all the others is at hand.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from engine.audit import CODE_SCOPES, INSTITUTION_SCOPES, PERSON_SCOPES, UNJUDGED
from engine.audit.findings import EVIDENCE, FINDINGS, supersede
from engine.audit.fingerprint import fingerprint
from engine.audit.recovery import recover
from engine.audit.waiving import waived
from engine.language.rule import LoadedRule
from engine.run import buckets, pipeline, stages
from engine.run.comparing import with_region_peers
from engine.run.prepared import Prepared, digest
from engine.run.private import keep_newest
from engine.run.region import Region
from engine.run.tracing import trace_bucket
from engine.tables.dictionary import with_fields

KEPT = 600
SPLITS = (PERSON_SCOPES, INSTITUTION_SCOPES, CODE_SCOPES)
FRAMES = {"findings": FINDINGS, "evidence": EVIDENCE, "unjudged": UNJUDGED}


@dataclass
class Answers:
    """What the rules of a side find: findings with `superseded_by`, their evidence, the unjudged, the money due."""

    findings: pl.DataFrame
    evidence: pl.DataFrame
    unjudged: pl.DataFrame
    recovery: pl.DataFrame
    asked: list[str]  # rules that no kept answer was found for


def fingerprints(region: Region) -> dict[str, dict[str, str]]:
    """Rule id -> the parts of its fingerprint, of every rule that is asked at all."""
    standing = [r for r in region.rules if r.rule.status != "retired"]
    return {r.rule.id: fingerprint(r, region.rules, region.knowledge, region.presumptions) for r in standing}


def answers(prepared: Prepared, region: Region, progress: pipeline.Progress = pipeline.quiet) -> Answers:
    """The findings of every rule of the region and the money they would recover, as a run of it finds them."""
    kept = prepared.folder / "verdicts"
    kept.mkdir(exist_ok=True)
    places = {rule_id: kept / digest(rule_id, parts) for rule_id, parts in fingerprints(region).items()}
    unknown = [r for r in region.rules if r.rule.id in places and not places[r.rule.id].exists()]
    for rule_id, frames in _asked(prepared, region, unknown, progress).items():
        _keep(places[rule_id], frames)
    for place in places.values():
        place.touch()
    keep_newest(kept, KEPT)
    split = {r.rule.id: next(i for i, scopes in enumerate(SPLITS) if r.rule.scope in scopes)
             for r in region.rules if r.rule.id in places}  # fmt: skip
    findings, evidence = [], []
    for number in range(len(SPLITS)):
        own = [places[rule_id] for rule_id, of in split.items() if of == number]
        rows = _read(own, "evidence")
        findings.append(supersede(_read(own, "findings"), rows, region.rules))
        evidence.append(rows)
    rows = pl.concat(evidence)
    found, _ = waived(pl.concat(findings), rows, region.rules, region.waivers, prepared.last_day)
    unjudged = _read(list(places.values()), "unjudged")
    return Answers(found, rows, unjudged, recover(found, rows, _paid(prepared, region)), [r.rule.id for r in unknown])


def _read(places: list[Path], name: str) -> pl.DataFrame:
    if not places:
        return pl.DataFrame(schema=FRAMES[name])
    return pl.read_parquet([place / f"{name}.parquet" for place in places])


def _keep(place: Path, frames: dict[str, pl.DataFrame]) -> None:
    work = Path(tempfile.mkdtemp(dir=place.parent.parent))
    for name, frame in frames.items():
        frame.write_parquet(work / f"{name}.parquet", compression="lz4")
    work.rename(place)


def _asked(
    prepared: Prepared, region: Region, wanted: list[LoadedRule], progress
) -> dict[str, dict[str, pl.DataFrame]]:
    """Each wanted rule asked of the whole extract: its findings before any other rule carries their money."""
    parts = [tuple(pl.DataFrame(schema=schema) for schema in FRAMES.values())]
    for scopes, ask in zip(SPLITS, (_persons, _institutions, _codes), strict=True):
        if rules := [r for r in wanted if r.rule.scope in scopes]:
            parts += ask(prepared, region, rules, progress)
    findings, evidence, unjudged = (pl.concat(frames) for frames in zip(*parts, strict=True))
    findings = findings.with_columns(superseded_by=pl.lit(None, pl.String))
    evidence = evidence.join(findings.select("finding_id", "rule_id"), on="finding_id", maintain_order="left")
    unjudged = unjudged.group_by("rule_id", "reason", "detail").agg(pl.col("cases", "amount_fen").sum())
    frames = {"findings": findings, "evidence": evidence, "unjudged": unjudged.sort("rule_id", "reason", "detail")}
    return {
        r.rule.id: {name: frame.filter(pl.col("rule_id") == r.rule.id).select(list(FRAMES[name]))
                    for name, frame in frames.items()}
        for r in wanted
    }  # fmt: skip


def _persons(prepared: Prepared, region: Region, rules: list[LoadedRule], progress):
    region = replace(region, rules=rules)
    for number in range(prepared.buckets):
        progress("审核 audit", number, prepared.buckets)
        yield stages.judged(prepared.bucket(number, rules), region)
    progress("审核 audit", prepared.buckets, prepared.buckets)


def _institutions(prepared: Prepared, region: Region, rules: list[LoadedRule], progress):
    if "claims" not in prepared.tables:
        return
    every = [r for r in region.rules if r.rule.scope in INSTITUTION_SCOPES]
    region = replace(region, rules=rules)
    groups = buckets.institution_buckets(prepared.tables, region, every)
    groups = with_region_peers(groups, prepared.tables, region)
    for number, tables in enumerate(groups):
        progress("机构 institutions", number, len(groups))
        yield stages.audited(tables(), region, INSTITUTION_SCOPES)
    progress("机构 institutions", len(groups), len(groups))


def _codes(prepared: Prepared, region: Region, rules: list[LoadedRule], progress):
    progress("追溯码 trace codes", 0, 1)
    yield trace_bucket(prepared.tables, region, rules)
    progress("追溯码 trace codes", 1, 1)


def _paid(prepared: Prepared, region: Region) -> pl.DataFrame:
    """What the fund paid of every claim: as reported, else as the region's policy settles it."""
    claims = prepared.tables.get("claims", pl.LazyFrame(schema={"setl_id": pl.String}))
    claims = with_fields(claims, "claims", "fixmedins_code", "fund_pay_sumamt")
    paid = claims.select("setl_id", "fixmedins_code", fund_pay_sumamt_fen="fund_pay_sumamt").collect()
    if not paid["fund_pay_sumamt_fen"].null_count():
        return paid
    settled = [stages.settled(prepared.bucket(n), region) for n in range(prepared.buckets)]
    ours = pl.concat(settled).select("setl_id", _ours="fund_pay_sumamt_fen")
    return paid.join(ours, on="setl_id", how="left").select(
        "setl_id", "fixmedins_code", pl.coalesce("fund_pay_sumamt_fen", "_ours", 0).alias("fund_pay_sumamt_fen")
    )
