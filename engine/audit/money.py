"""What a hit is worth: units cut from the lines in evidence, and per line, each step half-up, cost, in scope, fund."""

import polars as pl

from engine.audit.facts import Facts, fund_share, half_up, natural, part_of
from engine.language.rule import LoadedRule

UNITS = pl.Decimal(38, 18)
_FUND_SHARE = fund_share(pl.col("inscope"), pl.col("_claim_fund"), pl.col("_claim_scope"))
RECORD_TABLES = {"pos_sale": "pos_sales", "ltc_visit": "ltc_visits"}  # scopes whose case is a row of such a table
BY_LINE = ("units", "lines", "difference", "gap")  # amounts that are made of lines
CUTS = {
    "latest": (["date", "time", "_order"], [True, True, True]),
    "earliest": (["date", "time", "_order"], [False, False, False]),
    "cheapest": (["price", "date", "time", "_order"], [False, True, True, True]),
    "dearest": (["price", "date", "time", "_order"], [True, True, True, True]),
}
EVIDENCE = {"_case": pl.UInt32, "table": pl.String, "row_key": pl.String, "setl_id": pl.String, "role": pl.String,
            "cnt": UNITS, "gross": pl.Int64, "inscope": pl.Int64, "fund": pl.Int64}  # fmt: skip


def valued(loaded: LoadedRule, facts: Facts, hits: pl.DataFrame, flagged) -> pl.DataFrame:
    """Evidence rows with the units and the money of each line that is excess."""
    rows = [pl.DataFrame(schema=EVIDENCE)]
    whole = loaded.rule.amount in ("claim", "later_visit")
    for role, elements in sorted(flagged.items()):
        if elements.is_empty():
            continue
        if role == "excess" and elements["_table"][0] == "fee_lines" and loaded.rule.amount in BY_LINE:
            rows.append(_priced(loaded, facts, hits, elements))
        elif role == "excess" and elements["_table"][0] == "claims" and whole:
            rows.append(_whole_claims(facts, elements))
        else:
            rows.append(_plain(elements, role))
    if loaded.rule.amount == "record":
        rows.append(_of_record(hits, RECORD_TABLES[loaded.rule.scope]))
    if whole and not loaded.elements.get("excess", "").endswith((".others", ".visits")):
        rows.append(_whole_claims(facts, hits))
    return pl.concat([r.select(pl.col(n).cast(t) for n, t in EVIDENCE.items()) for r in rows]).unique(
        maintain_order=True
    )


def _plain(elements: pl.DataFrame, role: str) -> pl.DataFrame:
    key = pl.col("id") if "id" in elements.columns else pl.col("_visit")
    nothing = [pl.lit(None, EVIDENCE[n]).alias(n) for n in ("cnt", "gross", "inscope", "fund")]
    return elements.select(
        "_case", table="_table", row_key=pl.coalesce(key, "_visit"), setl_id="_visit", role=pl.lit(role)
    ).with_columns(nothing)


def _whole_claims(facts: Facts, hits: pl.DataFrame) -> pl.DataFrame:
    visits = facts.visits({"total", "scope", "fund"}).rename({"id": "_visit"})
    claims = hits.select("_case", "_visit").join(visits, on="_visit", how="left")
    return claims.select(
        "_case", table=pl.lit("claims"), row_key="_visit", setl_id="_visit", role=pl.lit("excess"),
        cnt=pl.lit(None, UNITS), gross="total", inscope="scope", fund="fund",
    )  # fmt: skip


def _of_record(hits: pl.DataFrame, table: str) -> pl.DataFrame:
    """The record a case is about, with what it cost and what the fund paid of it."""
    return hits.select(
        "_case", table=pl.lit(table), row_key="_record", setl_id=pl.lit(None, pl.String), role=pl.lit("excess"),
        cnt=pl.lit(None, UNITS), gross="_amount", inscope="_fund", fund="_fund",
    )  # fmt: skip


def _priced(loaded: LoadedRule, facts: Facts, hits: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The excess lines with their cut units and, per line and each step half-up, gross, in scope, fund."""
    lines = lines.unique(["_case", "id"], keep="first", maintain_order=True)
    if "_excess" not in lines.columns:
        excess = hits.select("_case", "_excess") if "_excess" in hits.columns else None
        lines = lines.join(excess, on="_case", how="left") if excess is not None else lines.with_columns(_excess=None)
    lines = lines.with_columns(pl.col("cnt").cast(UNITS), _order=natural("id"))
    if loaded.rule.amount == "difference":
        return _differences(facts, lines)
    if loaded.rule.amount == "gap":
        return _gaps(facts, lines)
    if loaded.rule.amount == "units":
        by, descending = CUTS[loaded.rule.cut]
        lines = lines.sort("_case", *by, descending=[False, *descending])
        before = pl.col("cnt").cum_sum().over("_case") - pl.col("cnt")
        wanted = pl.col("_excess").fill_null(pl.col("cnt").sum().over("_case"))
        cut = pl.min_horizontal(pl.col("cnt"), pl.max_horizontal(wanted - before, pl.lit(0).cast(UNITS)))
        lines = lines.with_columns(_cut=cut.cast(UNITS))
    else:
        lines = lines.with_columns(_cut=pl.col("cnt"))
    lines = _with_shares(facts, lines).with_columns(
        gross=part_of(pl.col("_cost"), pl.col("_cut"), pl.col("_num")),
        inscope=part_of(pl.col("_inscope"), pl.col("_cut"), pl.col("_num")),
    )
    # What was charged rightly beside the excess is what makes it excess.
    basis = _plain(lines.filter(pl.col("_cut") == 0).with_columns(_table=pl.lit("fee_lines")), "basis")
    rows = _evidence(lines.filter(pl.col("_cut") > 0).with_columns(fund=_FUND_SHARE))
    return pl.concat([rows, basis.select(rows.columns)], how="vertical_relaxed")


def _gaps(facts: Facts, lines: pl.DataFrame) -> pl.DataFrame:
    """No line is the missing one: every line bears its part of what was never there, and the parts add up."""
    lines = _whole_lines(facts, lines).with_columns(
        units=(pl.col("cnt") * 10_000).cast(pl.Int64), sold=pl.col("cnt").sum().over("_case")
    )
    lines = lines.sort("_case", "_order", "id")
    parts = {}
    for name in ("units", "gross", "inscope", "fund"):
        upto = pl.col(name).cum_sum().over("_case")
        before = part_of(upto - pl.col(name), pl.col("_excess"), pl.col("sold"))
        parts[name] = part_of(upto, pl.col("_excess"), pl.col("sold")) - before
    lines = lines.with_columns(**parts)
    return _evidence(lines.with_columns(_cut=pl.col("units").cast(UNITS) / pl.lit(10_000).cast(UNITS)))


def _whole_lines(facts: Facts, lines: pl.DataFrame) -> pl.DataFrame:
    """Lines with what their surviving units cost, of it in scope, and the fund's share of that."""
    return _with_shares(facts, lines).with_columns(
        gross=part_of(pl.col("_cost"), pl.col("cnt"), pl.col("_num")),
        inscope=part_of(pl.col("_inscope"), pl.col("cnt"), pl.col("_num")),
    ).with_columns(fund=_FUND_SHARE)  # fmt: skip


def charged(facts: Facts, lines: pl.DataFrame) -> pl.DataFrame:
    """By case, the units and the money of all lines in evidence, whatever part of them is excess."""
    lines = _whole_lines(facts, lines.unique(["_case", "id"], keep="first", maintain_order=True))
    return lines.group_by("_case").agg(
        _sold_cnt=pl.col("cnt").cast(UNITS).sum(), _sold_gross=pl.col("gross").sum(),
        _sold_inscope=pl.col("inscope").sum(), _sold_fund=pl.col("fund").sum(),
    )  # fmt: skip


def _differences(facts: Facts, lines: pl.DataFrame) -> pl.DataFrame:
    """A price difference (yuan, `excess`) spread over the lines in evidence by their cost."""
    fen = (
        (pl.col("_excess") * pl.lit(100).cast(UNITS))
        .round(0, mode="half_away_from_zero")
        .cast(pl.Decimal(38, 0))
        .cast(pl.Int128)  # fen x fen outgrows 64 bits
    )
    all_cost = pl.col("_cost").sum().over("_case")
    lines = lines.with_columns(_diff=fen).with_columns(gross=half_up(pl.col("_diff") * pl.col("_cost"), all_cost))
    spare = pl.col("_diff") - pl.col("gross").sum().over("_case")
    last = pl.col("id") == pl.col("id").sort_by("_order").last().over("_case")
    lines = lines.with_columns(gross=pl.when(last).then(pl.col("gross") + spare).otherwise("gross"))
    lines = _with_shares(facts, lines).with_columns(
        inscope=half_up(pl.col("_inscope") * pl.col("gross"), pl.col("_cost")), _cut=pl.lit(None, UNITS)
    )
    return _evidence(lines.with_columns(fund=_FUND_SHARE))


def _with_shares(facts: Facts, lines: pl.DataFrame) -> pl.DataFrame:
    visits = facts.visits({"fund", "scope"}).select(_visit="id", _claim_fund="fund", _claim_scope="scope")
    return lines.join(visits, on="_visit", how="left", maintain_order="left")


def _evidence(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(
        "_case", table=pl.lit("fee_lines"), row_key="id", setl_id="_visit", role=pl.lit("excess"), cnt="_cut",
        gross="gross", inscope="inscope", fund="fund",
    )  # fmt: skip


def with_money(hits: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    excess = evidence.filter(pl.col("role") == "excess")
    money = excess.group_by("_case").agg(
        excess_cnt=pl.col("cnt").sum(), gross=pl.col("gross").sum(), inscope=pl.col("inscope").sum(),
        fund=pl.col("fund").sum(), _counted=pl.col("cnt").is_not_null().any(),
    )  # fmt: skip
    hits = hits.join(money, on="_case", how="left", maintain_order="left")
    counted = pl.when(pl.col("_counted")).then(pl.col("excess_cnt"))
    return hits.with_columns(pl.col("gross", "inscope", "fund").fill_null(0), excess_cnt=counted).drop("_counted")
