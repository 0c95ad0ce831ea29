"""What a finding can be explained by, kept with it: the values its rule read, and what its amounts were worked out of.

Both are made for hits only. In a bucket a finding carries its values as a list of texts in the order of its rule's
parts (`values`), and a row of evidence what its amounts rest on (DETAIL); the run writes them as two tables.
"""

import polars as pl

from engine.audit.facts import Facts
from engine.audit.judge import left_open
from engine.language.numbers import money, outgoing
from engine.language.parts import Part, param_text, text_of
from engine.language.rule import LoadedRule
from engine.reference.knowledge import shapes

# Of a row of evidence: where, what and when it was, what was billed and cost, and by which ratio the fund paid; then
# its part of the finding's amounts. `line_fund` is what the fund paid for the row, where that is known by itself.
DETAIL = {
    "site": pl.String, "item": pl.String, "name": pl.String, "time": pl.Datetime("us"),
    "price": pl.Decimal(38, 6), "billed": pl.Decimal(38, 18), "cost": pl.Int64, "scope": pl.Int64,
    "line_fund": pl.Int64, "fund_cnt": pl.Decimal(38, 18), "claim_fund": pl.Int64, "claim_scope": pl.Int64,
    "part_gross": pl.Int64, "part_inscope": pl.Int64, "part_fund": pl.Int64,
}  # fmt: skip
AMOUNTS = {
    "finding_id": "finding_id", "table": "table", "row_key": "row_key", "setl_id": "setl_id", "role": "role",
    "fixmedins_code": "site", "med_list_codg": "item", "name": "name", "time": "time", "price": "price",
    "billed_cnt": "billed", "cost_fen": "cost", "cost_inscope_fen": "scope", "line_fund_fen": "line_fund",
    "claim_fund_fen": "claim_fund", "claim_inscope_fen": "claim_scope", "cut_cnt": "cnt", "fund_cnt": "fund_cnt",
    "gross_fen": "part_gross", "inscope_fen": "part_inscope", "fund_fen": "part_fund",
}  # fmt: skip
TOLD = {"rule_id": pl.String, "seq": pl.Int64, "part": pl.String, "level": pl.Int64, "name": pl.String,
        "words": pl.String, "kind": pl.String, "note": pl.String}  # fmt: skip


def told_of(loaded: LoadedRule) -> list[Part]:
    """Everything that is told of a finding of the rule, in order: conditions, innocence, the joined row, parameters."""
    rule, setting = loaded.rule, loaded.setting
    told = [*loaded.parts]
    told.append(Part("amount", 0, rule.amount, "", "amount", pl.lit(rule.cut)))
    for index, innocent in enumerate(rule.innocent):
        answer = pl.when(left_open(loaded, index)).then(pl.lit("open")).otherwise(pl.lit("excluded"))
        told.append(Part(f"innocent.{index}", 0, innocent.because, "", "answer", answer))
    if rule.join:
        told.append(Part("row", 0, rule.join.table, shapes()[rule.join.table].label, "table", pl.lit(None, pl.String)))
        for name, attribute in setting.joined[rule.join.alias].items():
            column = pl.col(f"{rule.join.alias}.{name}")
            value = plain_money(column) if attribute.kind == "money" else text_of(column, attribute.kind)
            told.append(Part("row", 1, name, attribute.label, attribute.kind, value))
    for name, param in rule.params.items():
        value = pl.lit(param_text(setting.params[name]))
        told.append(Part("param", 0, name, param.label, param.type, value, param.source))
    return told


def plain_money(fen: pl.Expr) -> pl.Expr:
    return text_of(outgoing(money(fen)).expr, "number")


def values(loaded: LoadedRule, hits: pl.DataFrame) -> pl.DataFrame:
    """(_case, values) of the hits: the value of each part as text, null where it has none."""
    blank = pl.lit(None, pl.String)
    have = set(hits.columns)
    texts = [part.value if set(part.value.meta.root_names()) <= have else blank for part in told_of(loaded)]
    return hits.select("_case", values=pl.concat_list(texts))


def values_table(findings: pl.DataFrame, rules: list[LoadedRule]) -> pl.DataFrame:
    """One row per finding and part, from the lists the findings carry."""
    found = set(findings["rule_id"])
    told = [
        (r.rule.id, seq, p.of, p.level, p.name, p.words or None, p.kind, p.note or None)
        for r in rules if r.rule.id in found for seq, p in enumerate(told_of(r))
    ]  # fmt: skip
    rows = findings.select("finding_id", "rule_id", value="values", seq=pl.int_ranges(pl.col("values").list.len()))
    rows = rows.explode("seq", "value").drop_nulls("seq")
    return rows.join(pl.DataFrame(told, TOLD, orient="row"), on=["rule_id", "seq"]).drop("rule_id")


def amounts_table(evidence: pl.DataFrame) -> pl.DataFrame:
    """One row per row of evidence with what its amounts rest on."""
    return evidence.select(**AMOUNTS)


def detailed(facts: Facts, hits: pl.DataFrame, evidence: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Rows of evidence with DETAIL; `lines` are the fee lines among them, as Facts.lines_of tells them."""
    claims = evidence.select(id="setl_id").drop_nulls().unique()
    claims = claims.join(facts.visits({"fund", "scope", "hospital", "admission", "dept"}), on="id")
    known = [
        lines.select(
            table=pl.lit("fee_lines"), row_key="id", site="_hospital", item="item", name="name", time="time",
            price="price", billed="_num", cost="_cost", scope="_inscope",
        ),
        claims.select(table=pl.lit("claims"), row_key="id", site="hospital", name="dept", time="admission"),
    ]  # fmt: skip
    rows = evidence.join(
        pl.concat(known, how="diagonal_relaxed"), on=["table", "row_key"], how="left", maintain_order="left"
    )
    shares = claims.select(setl_id="id", claim_fund="fund", claim_scope="scope")
    rows = rows.join(shares, on="setl_id", how="left", maintain_order="left")
    rows = rows.with_columns(part_gross="gross", part_inscope="inscope", part_fund="fund")
    if "_sold_cnt" in hits.columns:
        stored = hits.select(
            "_case", site="_hospital", item="_item", name="store.name", billed="_sold_cnt", cost="_sold_gross",
            scope="_sold_inscope", line_fund="_sold_fund", cnt="excess_cnt", part_gross="gross",
            part_inscope="inscope", part_fund="fund",
        )  # fmt: skip
        rows = rows.drop(set(stored.columns) - {"_case"}, strict=False).join(stored, on="_case", how="left")
    absent = [pl.lit(None, t).alias(n) for n, t in DETAIL.items() if n not in rows.columns]
    return rows.with_columns(absent).cast(DETAIL)
