"""What could be recovered: from what was involved down to what is due, each line once, never more than was paid.

First version: the fund's share by line ratio. The fund's share by resettlement (`fund_resettled_fen`) is left null
until settlement is asked again without what was flagged; the region's `recovery_basis` will then choose the step.
"""

import polars as pl

RECOVERY = {
    "finding_id": pl.String, "setl_id": pl.String, "fixmedins_code": pl.String, "fund": pl.String,
    "involved_fen": pl.Int64, "inscope_fen": pl.Int64, "fund_line_fen": pl.Int64, "fund_resettled_fen": pl.Int64,
    "already_returned_fen": pl.Int64, "due_fen": pl.Int64,
}  # fmt: skip
CARRIED = ["_involved", "_inscope", "_fund"]


def recover(findings: pl.DataFrame, evidence: pl.DataFrame, paid: pl.DataFrame) -> pl.DataFrame:
    """Recovery rows by finding and claim, and a total (finding_id null) by institution.

    findings and evidence as written by findings.py; paid: setl_id, fixmedins_code, fund_pay_sumamt_fen.
    Findings of rules on trial, waived or superseded findings never cost money. Where several findings accuse one
    line, the one with the highest share carries it; a finding on a whole claim carries all its lines.
    """
    excess = evidence.filter(
        pl.col("role") == "excess", pl.col("setl_id").is_not_null(), pl.col("fund_fen").is_not_null()
    )
    excess = excess.join(
        findings.select("finding_id", "rule_status", "superseded_by", "waived"), on="finding_id", how="inner"
    )
    counts = (pl.col("rule_status") == "active") & pl.col("superseded_by").is_null() & ~pl.col("waived")
    carried = _carried(excess.filter(counts))
    rows = excess.group_by("finding_id", "setl_id").agg(
        involved_fen=pl.col("amount_fen").sum(), inscope_fen=pl.col("inscope_fen").sum(),
        fund_line_fen=pl.col("fund_fen").sum(),
    )  # fmt: skip
    rows = rows.join(carried, on=["finding_id", "setl_id"], how="left").with_columns(pl.col(CARRIED).fill_null(0))
    rows = rows.join(paid.select("setl_id", "fixmedins_code", "fund_pay_sumamt_fen"), on="setl_id", how="inner")
    rows = rows.sort("setl_id", pl.col("_fund") == 0, "finding_id")
    before = pl.col("_fund").cum_sum().over("setl_id") - pl.col("_fund")
    room = pl.max_horizontal(pl.col("fund_pay_sumamt_fen") - before, 0)
    rows = rows.with_columns(
        due_fen=pl.min_horizontal("_fund", room), fund=pl.lit("pool"), already_returned_fen=pl.lit(0, pl.Int64),
        fund_resettled_fen=pl.lit(None, pl.Int64),
    )  # fmt: skip
    return pl.concat([_shaped(rows).sort("finding_id", "setl_id"), _unplaced(findings, rows), _totals(rows)])


def _unplaced(findings: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Findings with money that belongs to no claim, such as a gap in the stock: shown, but due only once a person has
    said which claims bear it."""
    left = findings.filter(pl.col("fund_fen") > 0).join(rows, on="finding_id", how="anti")
    return _shaped(
        left.with_columns(
            setl_id=pl.lit(None, pl.String), fund=pl.lit("pool"), involved_fen="gross_fen", fund_line_fen="fund_fen",
            fund_resettled_fen=pl.lit(None, pl.Int64), already_returned_fen=pl.lit(0), due_fen=pl.lit(0),
        )
    ).sort("finding_id")  # fmt: skip


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(n).cast(t) for n, t in RECOVERY.items())


def _carried(excess: pl.DataFrame) -> pl.DataFrame:
    """What each finding carries on each claim, every row accused once: money, in scope, the fund's share."""
    order = ["setl_id", "table", "row_key", pl.col("fund_fen").neg(), "finding_id"]
    once = excess.sort(order).unique(["table", "row_key"], keep="first", maintain_order=True)
    whole = once.filter(pl.col("table") == "claims")
    parts = once.filter(pl.col("table") != "claims").join(whole, on="setl_id", how="anti")
    kept = pl.concat([whole, parts]).with_columns(pl.max_horizontal(pl.col("fund_fen"), 0).alias("fund_fen"))
    sums = dict(zip(CARRIED, ("amount_fen", "inscope_fen", "fund_fen"), strict=True))
    return kept.group_by("finding_id", "setl_id").agg(pl.col(column).sum().alias(name) for name, column in sums.items())


def _totals(rows: pl.DataFrame) -> pl.DataFrame:
    """Net totals of each institution: only what is carried, so that no line counts twice."""
    sums = rows.group_by("fixmedins_code", "fund").agg(
        involved_fen=pl.col("_involved").sum(), inscope_fen=pl.col("_inscope").sum(),
        fund_line_fen=pl.col("_fund").sum(),
        already_returned_fen=pl.col("already_returned_fen").sum(), due_fen=pl.col("due_fen").sum(),
    )  # fmt: skip
    blank = [pl.lit(None, pl.String).alias("finding_id"), pl.lit(None, pl.String).alias("setl_id"),
             pl.lit(None, pl.Int64).alias("fund_resettled_fen")]  # fmt: skip
    return _shaped(sums.with_columns(blank)).sort("fixmedins_code", "fund")
