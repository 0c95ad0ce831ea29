"""Waivers applied to the findings of a run: what they spare costs no money, and what they were good for is counted."""

import datetime

import polars as pl

from engine.audit.findings import supersede
from engine.language.rule import LoadedRule
from engine.language.waivers import LoadedWaiver


def waived(
    findings: pl.DataFrame, evidence: pl.DataFrame, rules: list[LoadedRule], waivers: list[LoadedWaiver],
    last_day: datetime.date | None,
) -> tuple[pl.DataFrame, list[dict]]:  # fmt: skip
    """The findings with `waived`, and `waiver` the first file that spares each; and every waiver with its use.

    A finding without a day of service, such as one about a store, counts as of the run's last day. A finding whose
    money a waived one would have carried carries it itself. The use says: file, rule, from, until, reason, owner,
    scope (the names of its parts), state (in_force, unused, expired, no_rule) and how many findings it spares.
    """
    known, last_day = {loaded.rule.id for loaded in rules}, last_day or datetime.date.max
    day, spared, uses = pl.col("service_date").fill_null(last_day), [], []
    for loaded in waivers:
        waiver = loaded.waiver
        test = (pl.col("rule_id") == waiver.rule) & (day <= waiver.until)
        if waiver.begin:
            test &= day >= waiver.begin
        test = pl.all_horizontal(test, *(pl.col(name).eq_missing(value) for name, value in waiver.scope.parts.items()))
        spared.append(pl.when(test).then(pl.lit(loaded.file)))
        count, state = findings.select(test.sum()).item() or 0, loaded.state(last_day, known)
        uses.append({
            "file": loaded.file, "rule": waiver.rule, "from": waiver.begin and str(waiver.begin),
            "until": str(waiver.until), "reason": waiver.reason, "owner": waiver.owner,
            "scope": list(waiver.scope.parts), "findings": count,
            "state": "unused" if state == "in_force" and not count else state,
        })  # fmt: skip
    findings = findings.with_columns(waiver=pl.coalesce(*spared, pl.lit(None, pl.String)))
    findings = findings.with_columns(waived=pl.col("waiver").is_not_null())
    return _carried_anew(findings, evidence, rules) if findings["waived"].any() else findings, uses


def _carried_anew(findings: pl.DataFrame, evidence: pl.DataFrame, rules: list[LoadedRule]) -> pl.DataFrame:
    """Who carries whose money, asked again without the waived findings."""
    standing = findings.filter(~pl.col("waived"))
    anew = supersede(standing.with_columns(superseded_by=pl.lit(None, pl.String)), evidence, rules)
    standing = standing.with_columns(
        superseded_by=pl.when(pl.col("superseded_by").is_not_null()).then(anew["superseded_by"])
    )
    return pl.concat([standing, findings.filter("waived")])


def waiver_values(findings: pl.DataFrame, uses: list[dict]) -> pl.DataFrame:
    """By waived finding, the waiver that spares it, as a row of the values table."""
    told = pl.DataFrame(
        [(u["file"], u["reason"], u["until"], u["owner"]) for u in uses],
        {"name": pl.String, "words": pl.String, "value": pl.String, "note": pl.String}, orient="row",
    )  # fmt: skip
    rows = findings.filter("waived").select("finding_id", name="waiver", seq=pl.lit(-1, pl.Int64))
    rows = rows.join(told, on="name").with_columns(part=pl.lit("waiver"), level=pl.lit(0, pl.Int64))
    return rows.with_columns(kind=pl.lit("waiver"))
