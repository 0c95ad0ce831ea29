"""Rules asked of a bucket: findings, evidence and what could not be judged."""

import polars as pl

from engine.audit.covering import unknown
from engine.audit.facts import Facts
from engine.audit.findings import no_findings, supersede, write_up
from engine.audit.judge import judge
from engine.language.rule import LoadedRule
from engine.language.vocabulary import scopes

PERSON_SCOPES, INSTITUTION_SCOPES, CODE_SCOPES = (
    tuple(name for name, scope in scopes().items() if scope.split == split)
    for split in ("person", "institution", "code")
)
UNJUDGED = {"rule_id": pl.String, "reason": pl.String, "detail": pl.String, "cases": pl.Int64, "amount_fen": pl.Int64}


def audit(
    rules: list[LoadedRule], facts: Facts, scopes: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Every active or trial rule of the given scopes over one bucket: (findings, evidence, not_evaluated)."""
    findings, evidence, unjudged = [no_findings()[0]], [no_findings()[1]], []
    for loaded in rules:
        if loaded.rule.scope not in scopes or loaded.rule.status == "retired":
            continue
        if missing := facts.missing(loaded):
            unjudged.append((loaded.rule.id, "missing_table", missing, 0, 0))
            continue
        verdict = judge(loaded, facts)
        if verdict.hits.height:
            found, rows = write_up(loaded, facts, verdict)
            findings.append(found)
            evidence.append(rows)
        unjudged += [(loaded.rule.id, "value_missing", name, rows, 0) for name, rows in verdict.unplaced.items()]
        left = verdict.unjudged
        if left.cases:
            unjudged.append((loaded.rule.id, *unknown(loaded, facts), left.cases, left.fen))
        if left.outside:
            unjudged.append((loaded.rule.id, "outside_coverage", left.table, left.outside, left.outside_fen))
        if verdict.unvalued:
            unjudged.append((loaded.rule.id, "value_missing", "amount: regroup", verdict.unvalued, 0))
    found, rows = pl.concat(findings), pl.concat(evidence)
    return supersede(found, rows, rules), rows, pl.DataFrame(unjudged, schema=UNJUDGED, orient="row")
