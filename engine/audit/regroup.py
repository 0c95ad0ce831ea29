"""`amount: regroup`: what a stay's codes were worth, as the difference between two payments by DRG.

The stay is grouped as coded and again without the flagged diagnoses or procedures, by the same scheme, and both times
paid by the policy's provider side from the same statement of the person. What the funds would not have owed is the
money of the finding. Both times the stay stands alone: other stays, and the value of a point that only a budget gives,
are not known here. A stay that is not paid by DRG or DIP, with or without those codes, or whose points have no given
value, gets no amount: none is invented.
"""

import polars as pl

from engine.audit.facts import Facts
from engine.grouping.group import group
from engine.settlement.person import settle
from engine.settlement.provider import BY_CASE, case_payments
from engine.settlement.standing import TABLES as STANDING

CODED = ("diagnoses", "procedures")


def regrouped(facts: Facts, hits: pl.DataFrame, evidence: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Hits whose sentence tells both groups, evidence with the money, and how many hits could not be valued.

    The difference stands on the first flagged row of a case, since the codes bear it together; the claim is the basis.
    """
    paid = _payments(facts, hits, evidence.filter(pl.col("role") == "excess", pl.col("table").is_in(CODED)))
    hits = hits.join(paid, on="_case", how="left", maintain_order="left")
    hits = hits.with_columns(pl.concat_str("_message", _told()).alias("_message"))
    money = hits.select("_case", _less=pl.max_horizontal(pl.col("_before") - pl.col("_after"), 0)).filter(_valued(hits))
    rows = evidence.sort("_case", "table", "row_key").join(money, on="_case", how="left", maintain_order="left")
    excess = pl.col("role") == "excess"
    first = excess & (excess.cum_sum().over("_case") == 1)
    share = pl.when(first).then("_less").when(excess & pl.col("_less").is_not_null()).then(0)
    rows = rows.with_columns(gross=share, inscope=share, fund=share).drop("_less")
    claims = hits.select("_case", table=pl.lit("claims"), row_key="_visit", setl_id="_visit", role=pl.lit("basis"))
    unvalued = int((~_valued(hits)).sum())
    return hits.drop(paid.columns[1:]), pl.concat([rows, claims], how="diagonal_relaxed"), unvalued


def _payments(facts: Facts, hits: pl.DataFrame, flagged: pl.DataFrame) -> pl.DataFrame:
    """_case with, as coded and without the flagged codes, the group and what the funds owe; null if not by DRG."""
    nothing = {"_case": hits.schema["_case"], "_drg": pl.String, "_before": pl.Int64, "_without": pl.String,
               "_after": pl.Int64}  # fmt: skip
    if facts.paying is None or hits.is_empty():
        return pl.DataFrame(schema=nothing)
    policy, scheme = facts.paying
    cases = hits.select("_case", setl_id="_visit")
    claims = _of_cases(facts.standing_claims, cases)
    statements = _of_cases(_statements(facts, claims, policy), cases)
    coded = {name: _of_cases(facts.table(name), cases) for name in CODED}
    gone = flagged.select("_case", "table", "row_key")
    left = {name: _without(rows, gone.filter(pl.col("table") == name)) for name, rows in coded.items()}
    sides = []
    for names, rows in ((("_drg", "_before"), coded), (("_without", "_after"), left)):
        groups = group(claims, *rows.values(), scheme, why=False)
        owed = case_payments(statements, claims, groups, policy, alone=True)
        owed = owed.filter(pl.col("method").is_in(BY_CASE), pl.col("payable_fen").is_not_null())
        side = groups.join(owed, on="setl_id", how="left", maintain_order="left")
        sides.append(side.select(pl.col("drg").alias(names[0]), pl.col("payable_fen").alias(names[1])))
    return pl.concat([claims.select("_case"), *sides], how="horizontal")


def _of_cases(rows: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """The rows of the stay of each case, under the number of the case: two cases may be of one stay."""
    own = cases.join(rows.with_columns(_stay="setl_id"), on="setl_id", maintain_order="left_right")
    return own.with_columns(setl_id=pl.col("_case").cast(pl.String))


def _without(rows: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
    keyed = rows.with_columns(row_key=pl.concat_str("_stay", pl.lit("|"), pl.col("seq").cast(pl.String)))
    return keyed.join(gone, on=["_case", "row_key"], how="anti", maintain_order="left")


def _statements(facts: Facts, claims: pl.DataFrame, policy) -> pl.DataFrame:
    """What the persons of some claims are paid of each of their claims in this bucket."""
    persons = claims.select("psn_no").unique()
    theirs = facts.table("claims").join(persons, on="psn_no", how="semi", maintain_order="left")
    lines = facts.table("fee_lines").join(theirs.select("setl_id"), on="setl_id", how="semi", maintain_order="left")
    openings = facts.table("account_openings")
    openings = facts.knowledge["account_openings"] if openings.is_empty() else openings
    known = {name: facts.table(name) for name in STANDING if name in facts.tables}
    return settle(theirs, lines, policy, facts.knowledge["catalogue"], openings, known)


def _valued(hits: pl.DataFrame) -> pl.Series:
    return hits.select(pl.col("_before").is_not_null() & pl.col("_after").is_not_null()).to_series()


def _told() -> pl.Expr:
    """What regrouping said, to follow the rule's own sentence."""
    unpaid = pl.when(pl.col("_before").is_null()).then(pl.lit("；该次住院未入组或不按病组付费，金额未评估"))
    ungrouped = unpaid.when(pl.col("_after").is_null()).then(pl.lit("；去掉后不能入组，金额未评估"))
    same = ungrouped.when(pl.col("_drg") == pl.col("_without")).then(
        pl.format("；去掉后病组不变（{}），支付不变", pl.col("_drg"))
    )
    sums = _yuan("_before"), _yuan("_after")
    return same.otherwise(pl.format("；去掉后病组由{}变为{}，基金应付由{}元变为{}元", "_drg", "_without", *sums))


def _yuan(column: str) -> pl.Expr:
    fen = pl.col(column).abs()
    sign = pl.when(pl.col(column) < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.concat_str(sign, fen // 100, pl.lit("."), (fen % 100).cast(pl.String).str.zfill(2))
