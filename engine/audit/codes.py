"""Trace rules asked of the facts of codes: hits, the sales in evidence, and their money.

Cases and facts come from engine.tracing, which accuses nobody; what is a lead is said by the rules. The sales behind a
hit are told only for hits, since a hundred million codes have few.
"""

import polars as pl

from engine.audit.findings import EVIDENCE, FINDINGS, ids_of, no_findings
from engine.audit.frames import Cases, holds
from engine.audit.judge import asked, completed, spared
from engine.audit.money import UNITS
from engine.audit.told import DETAIL, values
from engine.language.rule import LoadedRule
from engine.language.vocabulary import scopes
from engine.tracing.evidence import Facts as TraceFacts
from engine.tracing.forms import why_unusable

SHOWN = {  # what a finding says of a case, by scope: the parts of its key
    "code_site": ["code", "fixmedins_code"], "code": ["code"], "fee_line_codes": ["feedetl_sn"],
    "lot": ["fixmedins_code", "med_list_codg", "manu_lotnum"],
    "lot_book": ["fixmedins_code", "med_list_codg", "manu_lotnum"], "burst": ["fixmedins_code", "first_code"],
    "buyer": ["psn_no"], "reseller": ["fixmedins_code"],
}  # fmt: skip
_STANDS_IN = {
    "trace_codes": "event_id", "fee_lines": "feedetl_sn", "stock_moves": "move_id", "stock_balances": "balance_id",
}  # fmt: skip


def symbol_of(loaded: LoadedRule) -> str:
    """What conditions over codes call their case."""
    return next(iter(scopes()[loaded.rule.scope].symbols))


def code_key(loaded: LoadedRule) -> pl.Expr:
    """The natural key of a case over codes, its parts joined."""
    symbol = symbol_of(loaded)
    parts = [pl.col(f"{symbol}.{p}").fill_null("") for p in SHOWN[loaded.rule.scope]]
    return pl.concat_str(parts, separator="|")


def code_fault(code: pl.Expr) -> pl.Expr:
    """What a reader of evidence is told of a code that stands for no single pack; null for one that may."""
    return why_unusable(code)


def code_cases(loaded: LoadedRule, facts: TraceFacts) -> Cases:
    """Every case of a trace rule, its facts as columns named by the vocabulary."""
    own = pl.exclude("case").name.prefix(f"{symbol_of(loaded)}.")
    return Cases(facts.cases.select(pl.col("case").alias("_case"), own), {}, ("_case",))


def judge_codes(loaded: LoadedRule, facts: TraceFacts, fee_lines: pl.DataFrame | None):
    """(findings, evidence, cases not judged) of one trace rule."""
    cases = code_cases(loaded, facts)
    for test in loaded.cheap:
        cases.frame = cases.frame.filter(test)
    frame = asked(loaded, cases)
    unjudged = frame.filter(pl.col("_raises") | pl.col("_when").is_null()).height
    hits = spared(loaded, completed(loaded, cases, frame.filter(pl.col("_when"), ~pl.col("_raises"))))
    if hits.is_empty():
        return *no_findings(), unjudged
    events = _in_evidence(loaded, hits, facts, fee_lines)
    findings = _written(loaded, hits, events)
    findings = findings.join(values(loaded, hits), on="_case", how="left", maintain_order="left")
    named = findings.select("_case", "finding_id")
    evidence = pl.concat(_rows(events, name, key) for name, key in _STANDS_IN.items())
    evidence = _summed(evidence).join(named, on="_case")
    return findings.select(list(FINDINGS)), evidence.select(list(EVIDENCE)), unjudged


def _summed(evidence: pl.DataFrame) -> pl.DataFrame:
    """One row per case and row of a table: a fee line may stand behind several codes of one finding."""
    amounts = ("cnt", "amount_fen", "inscope_fen", "fund_fen", "fund_cnt", "part_gross", "part_inscope", "part_fund")
    return evidence.group_by("_case", "table", "row_key", maintain_order=True).agg(
        pl.col("setl_id").first(),
        pl.col("role").max_by(pl.col("role") == "excess"),
        *(pl.when(pl.col(a).count() > 0).then(pl.col(a).sum()).alias(a) for a in amounts),
        *(pl.col(n).first() for n in DETAIL if n not in amounts),
    )


def _in_evidence(loaded: LoadedRule, hits: pl.DataFrame, facts: TraceFacts, fee_lines) -> pl.DataFrame:
    """The sales behind each hit with `_role` and money: excess where the rule's flag says so."""
    events = facts.events(hits["_case"]).rename({"case": "_case"})
    blank = dict.fromkeys(("feedetl_sn", "setl_id", "psn_no", "code", "move_id", "balance_id"), pl.String)
    blank |= {"excess_units": UNITS, "fund": pl.Int64, "suspect_fund": pl.Int64}
    events = events.with_columns(pl.lit(None, t).alias(n) for n, t in blank.items() if n not in events.columns)
    excess = loaded.compiled.get("flag.excess")
    flagged = holds(events, excess, hits) if excess is not None else pl.Series([True] * events.height, dtype=pl.Boolean)
    events = events.with_columns(flagged.alias("_excess"))
    paid = pl.col("suspect_fund") if loaded.rule.amount == "units" else pl.col("fund")
    counted = pl.col("excess_units" if loaded.rule.amount == "units" else "units").cast(UNITS)
    return _with_cost(events, fee_lines).with_columns(
        _role=pl.when("_excess").then(pl.lit("excess")).otherwise(pl.lit("basis")),
        _fund=pl.when("_excess").then(paid.fill_null(0)),
        _fund_cnt=pl.when(counted.is_not_null()).then(pl.min_horizontal(counted, "_billed")),
    )  # fmt: skip


def _with_cost(events: pl.DataFrame, fee_lines: pl.DataFrame | None) -> pl.DataFrame:
    """What the sale's fee line cost, as far as the line is known."""
    known = {"_cost": pl.Int64, "_billed": UNITS, "_line_fund": pl.Int64}
    if fee_lines is None or "units" not in events.columns:
        blank = {"_gross": pl.Int64} | known
        return events.with_columns(pl.lit(None, t).alias(n) for n, t in blank.items())
    lines = fee_lines.select("feedetl_sn", _cost="det_item_fee_sumamt", _billed="cnt", _line_fund="fund_pay")
    lines = lines.unique("feedetl_sn", keep="first").cast(known)
    events = events.join(lines, on="feedetl_sn", how="left", maintain_order="left")
    units = (pl.col("units").cast(pl.Decimal(38, 4)) * 10_000).cast(pl.Int128)
    billed = (pl.col("_billed").cast(pl.Decimal(38, 4)) * 10_000).cast(pl.Int128)
    gross = (2 * pl.col("_cost").cast(pl.Int128) * units + billed) // (2 * billed)
    return events.with_columns(_gross=pl.when(billed > 0).then(gross).cast(pl.Int64))


def _written(loaded: LoadedRule, hits: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    rule, symbol = loaded.rule, symbol_of(loaded)
    accused = events.filter("_excess").sort("_case", "time", "event_id")
    last = accused.group_by("_case", maintain_order=True).agg(
        pl.col("setl_id", "psn_no", "fixmedins_code").last().name.prefix("_"), _time=pl.col("time").last(),
        _item=pl.col("med_list_codg").last(), _fund=pl.col("_fund").sum(), _gross=pl.col("_gross").sum(),
    )  # fmt: skip
    hits = hits.join(last, on="_case", how="inner", maintain_order="left")
    own_site = (
        pl.col(f"{symbol}.fixmedins_code") if f"{symbol}.fixmedins_code" in hits.columns else pl.col("_fixmedins_code")
    )
    units = pl.col("_excess").cast(UNITS) if "_excess" in hits.columns else pl.lit(None, UNITS)
    findings = hits.select(
        "_case", rule_id=pl.lit(rule.id), rule_number=pl.lit(rule.number, pl.Int32),
        rule_version=pl.lit(loaded.version), rule_status=pl.lit(rule.status), result="_result",
        scope=pl.lit(rule.scope), scope_key=code_key(loaded),
        fixmedins_code=own_site, setl_id="_setl_id", psn_no="_psn_no", department=pl.lit(None, pl.String),
        doctor=pl.lit(None, pl.String), med_list_codg="_item", service_date=pl.col("_time").cast(pl.Date),
        excess_cnt=units, gross_fen=pl.col("_gross").fill_null(0), inscope_fen=pl.col("_gross").fill_null(0),
        fund_fen=pl.col("_fund").fill_null(0), innocent_open="_innocent", waived=pl.lit(False),
        superseded_by=pl.lit(None, pl.String), message="_message",
    )  # fmt: skip
    return findings.with_columns(finding_id=ids_of(findings))


def _rows(events: pl.DataFrame, table: str, key: str) -> pl.DataFrame:
    """Evidence rows of one table; money stands on the fee line where there is one, else on the event."""
    on_line = pl.col("feedetl_sn").is_not_null()
    counted = on_line if table == "fee_lines" else ~on_line
    money = {"amount_fen": "_gross", "inscope_fen": "_gross", "fund_fen": "_fund"}
    # What the amounts rest on is told sale by sale, on the line only where no sale was scanned.
    told = pl.col("event_id").is_null() if table == "fee_lines" else pl.lit(True)
    rests = {"site": "fixmedins_code", "item": "med_list_codg", "name": "code", "time": "time", "billed": "_billed",
             "cost": "_cost", "line_fund": "_line_fund", "fund_cnt": "_fund_cnt"}  # fmt: skip
    parts = {"part_gross": "_gross", "part_inscope": "_gross", "part_fund": "_fund"}
    absent = [pl.lit(None, t).alias(n) for n, t in DETAIL.items() if n not in rests and n not in parts]
    return events.filter(pl.col(key).is_not_null()).select(
        "_case", table=pl.lit(table), row_key=key, setl_id="setl_id", role="_role",
        cnt=pl.when(pl.col("_excess")).then(pl.col("units").cast(UNITS)),
        **{name: pl.when(counted & pl.col("_excess")).then(pl.col(column)) for name, column in money.items()},
        **{name: pl.when(told).then(pl.col(column)).cast(DETAIL[name]) for name, column in rests.items()},
        **{name: pl.when(told & pl.col("_excess")).then(pl.col(column)) for name, column in parts.items()},
    ).with_columns(absent)  # fmt: skip
