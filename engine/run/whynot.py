"""`yibao why-not`: why a rule of a finished run says nothing of a claim, asked of the input of that run again."""

import difflib
import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import polars as pl

from engine.audit import CODE_SCOPES, INSTITUTION_SCOPES
from engine.audit.whynot import Tried, Unnamed, tried, tried_codes, unnamed
from engine.language.rule import LoadedRule
from engine.run import buckets, pipeline, stages
from engine.run.comparing import with_region_peers
from engine.run.prepared import Prepared, prepared
from engine.run.region import Region
from engine.run.tracing import code_facts
from engine.tables.problems import UsageProblem

NEAR = 2_000  # claims among which a misspelt one is looked for


@dataclass
class Answer:
    """Why there is no finding. `reason` says what settled it:

    found       there are findings after all: `findings`
    retired     the rule is out of use
    cancelled   the claim was refunded or is a refund: nothing of it is judged
    missing     the rule needs a table that the data do not bring: `detail`
    no_line     the rule names no line of the claim: `unnamed`
    tried       it has cases, each of which went out somewhere: `tried`
    `remarks` are what makes the answer less sure: files or a rule that changed since.
    """

    rule: LoadedRule
    claim: str
    reason: str = ""
    detail: str = ""
    findings: list[dict] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    unnamed: Unnamed | None = None
    remarks: list[str] = field(default_factory=list)


def why_not(out: Path, rule_id: str, claim: str, source: Path, region: Region, profile: str,
            progress: pipeline.Progress = pipeline.quiet) -> Answer:  # fmt: skip
    """Raises UsageProblem, with what is likely meant, for a rule or claim that is not there."""
    record = json.loads((out / "manifest.json").read_text("utf-8"))
    loaded = _rule(region, rule_id)
    extract = prepared(source, region, profile, progress)
    answer = Answer(loaded, claim, remarks=[*_changed_inputs(record, extract), *_changed_rule(record, loaded)])
    if found := _findings(out, rule_id, claim):
        answer.reason, answer.findings = "found", found
        return answer
    if tables := extract.of_claim(claim):
        _settle(answer, extract, tables, region)
    elif loaded.rule.scope in CODE_SCOPES and "claims" not in extract.tables:
        _settle_codes(answer, extract, region)
    else:
        raise _no_claim(claim, extract)
    return answer


def _settle(answer: Answer, extract: Prepared, tables: dict[str, pl.DataFrame], region: Region) -> None:
    """Find the reason in the tables of the claim's person."""
    loaded, claim = answer.rule, answer.claim
    own = tables["claims"].filter(pl.col("setl_id") == claim)
    if loaded.rule.status == "retired":
        answer.reason = "retired"
        return
    if "cancelled" in own.columns and own["cancelled"][0]:
        answer.reason = "cancelled"
        return
    if loaded.rule.scope in CODE_SCOPES:
        _settle_codes(answer, extract, region)
        return
    if loaded.rule.scope in INSTITUTION_SCOPES:
        tables = _of_institution(extract, region, loaded, own["fixmedins_code"][0])
    facts = stages.facts_of(tables, region)
    if missing := facts.missing(loaded):
        answer.reason, answer.detail = "missing", missing
        return
    answer.tried = tried(loaded, facts, claim)
    answer.reason = "tried" if answer.tried else "no_line"
    answer.unnamed = None if answer.tried else unnamed(loaded, facts, claim)


def _settle_codes(answer: Answer, extract: Prepared, region: Region) -> None:
    facts = code_facts(extract.tables, region)
    missing = "trace_codes" if facts is None else facts.missing(answer.rule)
    if missing:
        answer.reason, answer.detail = "missing", missing
        return
    answer.tried = tried_codes(answer.rule, facts, answer.claim)
    answer.reason = "tried" if answer.tried else "no_line"


def _of_institution(extract: Prepared, region: Region, loaded: LoadedRule, site: str) -> dict[str, pl.DataFrame]:
    small, read = buckets.institution_lines(extract.tables, region, [loaded])
    own = partial(buckets.of_institutions, extract.tables, small, read, [site])
    (told,) = with_region_peers([own], extract.tables, replace(region, rules=[loaded]))
    return stages.netted(told())


def _rule(region: Region, rule_id: str) -> LoadedRule:
    known = {r.rule.id: r for r in region.rules}
    if rule_id not in known:
        near = difflib.get_close_matches(rule_id, known, 3)
        raise UsageProblem(f"没有规则 no rule {rule_id!r}", hint=", ".join(near) or "yibao rules list")
    return known[rule_id]


def _no_claim(claim: str, extract: Prepared) -> UsageProblem:
    """There is no such claim; which of those that begin or end alike may be meant?"""
    near = []
    if "claims" in extract.tables:
        alike = pl.col("setl_id").str.starts_with(claim[:4]) | pl.col("setl_id").str.ends_with(claim[-4:])
        ids = extract.tables["claims"].select("setl_id").filter(alike).sort("setl_id").head(NEAR).collect()
        near = difflib.get_close_matches(claim, ids["setl_id"], 3)
    return UsageProblem(f"数据中没有结算单 no claim {claim!r}", hint=", ".join(near))


def _findings(out: Path, rule_id: str, claim: str) -> list[dict]:
    """Findings of the rule about the claim, or with a row of the claim in evidence."""
    findings = pl.scan_parquet(out / "findings.parquet").filter(pl.col("rule_id") == rule_id)
    rows = pl.scan_parquet(out / "evidence.parquet").filter(pl.col("setl_id") == claim)
    named = rows.select("finding_id").unique().with_columns(_named=pl.lit(True))
    own = findings.join(named, on="finding_id", how="left").filter((pl.col("setl_id") == claim) | pl.col("_named"))
    columns = ["finding_id", "setl_id", "rule_status", "waived", "superseded_by", "message"]
    return own.sort("finding_id").select(columns).collect().to_dicts()


def _changed_inputs(record: dict, extract: Prepared) -> list[str]:
    was, now = ({i["path"]: i["sha256"] for i in inputs} for inputs in (record["inputs"], extract.inputs))
    changed = sorted(p for p in was.keys() | now.keys() if was.get(p) != now.get(p))
    return [f"输入文件自该次运行后已变：{'、'.join(changed)}"] if changed else []


def _changed_rule(record: dict, loaded: LoadedRule) -> list[str]:
    was = record["rules"].get(loaded.rule.id)
    if was is None:
        return ["该次运行时没有这条规则"]
    return [] if was["version"] == loaded.version else ["规则自该次运行后已改，以下按现在的规则说明"]
