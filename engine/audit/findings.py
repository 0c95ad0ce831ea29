"""Verdicts of many rules as two tables: findings and their evidence, with stable ids.

A finding's id is a hash of its rule and natural keys (institution, person, visit, item, date, code), never of a file,
a line of a file or a version of the rule, so that a decision made on it survives the next run.
"""

import hashlib
from functools import cache

import polars as pl

from engine.audit.facts import Facts, natural
from engine.audit.judge import Verdict
from engine.audit.money import UNITS
from engine.audit.told import DETAIL, detailed, values
from engine.language.rule import LoadedRule

FINDINGS = {
    "finding_id": pl.String, "rule_id": pl.String, "rule_number": pl.Int32, "rule_version": pl.String,
    "rule_status": pl.String, "result": pl.String, "scope": pl.String, "scope_key": pl.String,
    "fixmedins_code": pl.String, "setl_id": pl.String, "psn_no": pl.String, "department": pl.String,
    "doctor": pl.String, "med_list_codg": pl.String, "service_date": pl.Date, "excess_cnt": UNITS,
    "gross_fen": pl.Int64, "inscope_fen": pl.Int64, "fund_fen": pl.Int64, "innocent_open": pl.String,
    "waived": pl.Boolean, "superseded_by": pl.String, "message": pl.String, "values": pl.List(pl.String),
}  # fmt: skip
EVIDENCE = {
    "finding_id": pl.String, "table": pl.String, "row_key": pl.String, "setl_id": pl.String, "role": pl.String,
    "cnt": UNITS, "amount_fen": pl.Int64, "inscope_fen": pl.Int64, "fund_fen": pl.Int64, **DETAIL,
}  # fmt: skip


@cache
def no_findings() -> tuple[pl.DataFrame, pl.DataFrame]:
    return pl.DataFrame(schema=FINDINGS), pl.DataFrame(schema=EVIDENCE)


def write_up(loaded: LoadedRule, facts: Facts, verdict: Verdict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The findings and evidence of one rule in one bucket."""
    if verdict.hits.is_empty():
        return no_findings()
    rows, rule = verdict.evidence, loaded.rule
    lines = _accused_lines(facts, verdict)
    hits = in_force(loaded, facts, verdict, lines)
    findings = hits.select(
        "_case",
        rule_id=pl.lit(rule.id), rule_number=pl.lit(rule.number, pl.Int32), rule_version=pl.lit(loaded.version),
        rule_status=pl.lit(rule.status), result="_result", scope=pl.lit(rule.scope), scope_key=_scope_key(loaded, hits),
        fixmedins_code="_hospital", setl_id="_setl", psn_no="_psn", department="_dept", doctor="_doctor",
        med_list_codg=pl.when(pl.col("_item") != "").then(pl.col("_item")), service_date=pl.col("_date").cast(pl.Date),
        excess_cnt=pl.col("excess_cnt").cast(UNITS), gross_fen="gross", inscope_fen="inscope", fund_fen="fund",
        innocent_open="_innocent", waived=pl.lit(False), superseded_by=pl.lit(None, pl.String), message="_message",
    )  # fmt: skip
    findings = findings.with_columns(finding_id=ids_of(findings))
    findings = findings.join(values(loaded, hits), on="_case", how="left", maintain_order="left")
    named = findings.select("_case", "finding_id")
    evidence = detailed(facts, hits, rows.join(named, on="_case"), lines)
    evidence = evidence.with_columns(amount_fen="gross", inscope_fen="inscope", fund_fen="fund")
    return findings.select(*FINDINGS), evidence.select(*EVIDENCE)


def in_force(loaded: LoadedRule, facts: Facts, verdict: Verdict, lines: pl.DataFrame | None = None) -> pl.DataFrame:
    """Hits with their place, person and day, of days on which the rule is in force."""
    lines = _accused_lines(facts, verdict) if lines is None else lines
    hits = _placed(loaded, facts, verdict.hits.with_columns(_main_rows(facts, lines, verdict)))
    period, day = loaded.rule.in_force, pl.col("_date").cast(pl.Date)
    if period.begin:
        hits = hits.filter((day >= period.begin).fill_null(True))
    return hits.filter((day <= period.end).fill_null(True)) if period.end else hits


def _accused_lines(facts: Facts, verdict: Verdict) -> pl.DataFrame:
    return facts.lines_of(verdict.evidence.filter(pl.col("table") == "fee_lines")["row_key"])


def _main_rows(facts: Facts, lines: pl.DataFrame, verdict: Verdict) -> list[pl.Series]:
    """Item, ward, doctor, date and claim of the last excess line of each case, and its last excess claim; else null."""
    excess = verdict.evidence.filter(pl.col("role") == "excess")
    on_lines = excess.filter(pl.col("table") == "fee_lines")
    lines = lines.select("id", "item", "dept", "doctor", "date", "time")
    on_lines = on_lines.join(lines, left_on="row_key", right_on="id").sort("_case", "time", natural("row_key"))
    on_claims = excess.filter(pl.col("table") == "claims").select("_case", _claim="row_key")
    if on_claims.height:
        begun = facts.visits({"admission"}).select("admission", _claim="id")
        on_claims = on_claims.join(begun, on="_claim").sort("_case", "admission", "_claim").drop("admission")
    joined = verdict.hits.select("_case")
    for rows in (on_lines, on_claims):
        last = rows.unique("_case", keep="last", maintain_order=True)
        joined = joined.join(last, on="_case", how="left", maintain_order="left")
    named = [joined[c].alias(f"_line_{c}") for c in ("item", "dept", "doctor", "date", "setl_id")]
    return [*named, joined["_claim"]]


def _placed(loaded: LoadedRule, facts: Facts, hits: pl.DataFrame) -> pl.DataFrame:
    """Where and whose each case is: institution, claim, person, ward, doctor, item, day.

    A case that is about no visit is placed by the last claim it accuses, or else by what it is about.
    """

    def there(*names: str) -> list[str]:
        return [name for name in names if name in hits.columns]

    joined = f"{loaded.rule.join.alias}.item" if loaded.rule.join else ""
    own = there("_visit") or ["_line_setl_id", "_claim"]
    hits = hits.with_columns(_setl=pl.coalesce(own), _item=pl.coalesce(there("_item", "item", joined, "_line_item")))
    visits = facts.visits({"psn_no", "dept", "doctor", "admit_date", "hospital"}).drop("person")
    hits = hits.join(visits.rename({"id": "_setl"}), on="_setl", how="left", maintain_order="left")
    return hits.with_columns(
        _psn=pl.coalesce("psn_no", *there("_person")), _hospital=pl.coalesce("hospital", "_hospital"),
        _dept=pl.coalesce(there("_dept") or ["_line_dept", "dept"]),
        _doctor=pl.coalesce(there("_doctor") or ["_line_doctor", "doctor"]),
        _date=pl.coalesce(*there("date"), "_line_date", "admit_date", *there("_period")),
    )  # fmt: skip


SCOPE_KEYS = {
    "line": ["_setl", "_item", "_date"], "line_pair": ["_setl", "_item", "_date"], "visit": ["_setl", "_item"],
    "visit_day": ["_setl", "_date", "_item"], "person_day": ["_psn", "_date", "_item"],
    "person_week": ["_psn", "_period", "_item"], "person_month": ["_psn", "_period", "_item"],
    "person_year": ["_psn", "_period", "_item"], "person_window": ["_psn", "_moment", "_item"],
    "person": ["_psn", "_item"], "department": ["_hospital", "_dept", "_item"], "provider": ["_hospital", "_item"],
    "provider_month": ["_hospital", "_period", "_item"], "provider_year": ["_hospital", "_period", "_item"],
    "practitioner_day": ["_doctor", "_hospital", "_date", "_item"],
    "device_day": ["_hospital", "_device", "_date", "_item"], "terminal_window": ["_hospital", "_terminal", "_moment"],
    "provider_day": ["_hospital", "_date", "_item"], "practitioner_window": ["_doctor", "_hospital", "_moment"],
    "contact_window": ["_hospital", "_kind", "_moment"], "store_item": ["_hospital", "_item", "_local_item"],
    "store_pair": ["_hospital", "_item", "_local_item", "_other_item"], "pos_sale": ["_hospital", "_record"],
    "same_results": ["_hospital", "_date"], "ltc_visit": ["_psn", "_record"],
}  # fmt: skip


def _scope_key(loaded: LoadedRule, hits: pl.DataFrame) -> pl.Expr:
    """The judged thing in the parts of its natural key; days without a time of day."""
    parts = SCOPE_KEYS[loaded.rule.scope]
    moments = [p for p in parts if hits.schema[p].is_temporal()]
    said = {p: pl.col(p).dt.strftime("%Y-%m-%d %H:%M:%S").str.strip_suffix(" 00:00:00") for p in moments}
    texts = [said.get(p, pl.col(p)).fill_null("") for p in parts]
    return pl.concat_str(texts, separator="|").str.strip_chars_end("|")


def ids_of(findings: pl.DataFrame) -> pl.Series:
    key = ["rule_id", "fixmedins_code", "psn_no", "setl_id", "scope_key", "service_date"]
    nth = pl.int_range(pl.len()).over(key)
    texts = findings.select(
        pl.concat_str([*(pl.col(k).cast(pl.String).fill_null("") for k in key), nth], separator="\x1f")
    )
    digests = [hashlib.blake2b(t.encode(), digest_size=12).hexdigest() for t in texts.to_series()]
    return pl.Series("finding_id", digests, pl.String)


def supersede(findings: pl.DataFrame, evidence: pl.DataFrame, rules: list[LoadedRule]) -> pl.DataFrame:
    """Findings whose money another rule carries: declared by `supersedes`, where both accuse the same row."""
    declared = [(other, r.rule.id) for r in rules for other in r.rule.supersedes]
    if not declared or findings.is_empty():
        return findings
    pairs = pl.DataFrame(declared, schema={"rule_id": pl.String, "carrier": pl.String}, orient="row")
    excess = evidence.filter(pl.col("role") == "excess").select("finding_id", "table", "row_key")
    ruled = excess.join(findings.select("finding_id", "rule_id"), on="finding_id")
    carried = ruled.join(pairs, on="rule_id").join(
        ruled.select("table", "row_key", carrier="rule_id"), on=["table", "row_key", "carrier"], how="semi"
    )
    carriers = carried.group_by("finding_id").agg(_by=pl.col("carrier").min())
    findings = findings.join(carriers, on="finding_id", how="left", maintain_order="left")
    return findings.with_columns(superseded_by=pl.coalesce("superseded_by", "_by")).drop("_by")
