"""The provider side: what the funds owe each institution for the claims of a month.

Two methods. Fee for service (`item`): the sum of what the funds pay of each claim. DRG by rate (`drg_rate`): per case
the payment standard is weight x the dated rate of the policy, rounded half-up to the fen, and the funds owe of it

- fund_form `difference`: the standard less everything the person pays (支付标准 − 个人负担);
- fund_form `ratio`: (standard − own pay − over-limit − first pay − deductible) x the fund's share of the claim, that is
  fund / (in policy − deductible); never below zero.

Both forms are in use (费率法: 支付标准 = 权重 x 费率) and give different answers, so the policy says which. A stay of a
DRG benefit that the scheme could not give a weight, or for which the policy has no rate, is paid by item. A refund
takes back what its original was paid, in its own month.
"""

import polars as pl

from engine.settlement.person import ORIGINAL_MISSING
from engine.settlement.policy import Policy
from engine.settlement.terms import amount_of, benefit_of
from engine.tables.dictionary import with_fields
from engine.tables.values import rounded

_WEIGHT = pl.Decimal(12, 8)
_WEIGHT_UNITS = 10**8
_AMOUNTS = [
    f"{name}_fen"
    for name in (
        "fulamt_ownpay_amt",
        "overlmt_selfpay",
        "preselfpay_amt",
        "inscp_scp_amt",
        "act_pay_dedc",
        "fund_pay_sumamt",
        "psn_part_amt",
    )
]
CLAIM = [
    "setl_id",
    "fixmedins_code",
    "psn_type",
    "visit_kind",
    "hosp_lv",
    "insured_flag",
    "local_flag",
    "setl_time",
    "refd_setl_flag",
    "init_setl_id",
]


def provider_payment(
    settlement: pl.DataFrame, claims: pl.DataFrame, grouping: pl.DataFrame | None, policy: Policy
) -> pl.DataFrame:
    """provider_payment.parquet: one row per institution, month of settlement and method, in that order.

    settlement: as settle returns it. grouping: setl_id and weight of the stays; without it everything is paid by item.
    volume is the sum of weights, null by item; refunds count as minus one case. Nothing is prepaid in the input, so
    what is cleared is what is payable. Wholly self-paid claims are left out.
    """
    cases = case_payments(settlement, claims, grouping, policy)
    return (
        cases.group_by("fixmedins_code", "month", "method")
        .agg(
            pl.col("sign").sum().alias("cases"),
            pl.when(pl.col("method").first() == "drg_rate")
            .then((pl.col("units") * pl.col("sign")).sum())
            .alias("volume"),
            pl.col("payable_fen").sum(),
        )
        .sort("fixmedins_code", "month", "method")
        .select(
            "fixmedins_code",
            "month",
            "method",
            "cases",
            _as_decimal("volume"),
            "payable_fen",
            pl.lit(0, pl.Int64).alias("prepaid_fen"),
            pl.col("payable_fen").alias("cleared_fen"),
        )
    )


def case_payments(
    settlement: pl.DataFrame, claims: pl.DataFrame, grouping: pl.DataFrame | None, policy: Policy
) -> pl.DataFrame:
    """One row per insured claim, as provider_payment sums them: setl_id, month, `method`, sign, weight in `units` of
    1e-8, and `payable_fen`, what the funds owe.
    """
    statements = settlement.select("setl_id", "first_difference", *_AMOUNTS)
    cases = _with_standards(claims, grouping, policy).join(statements, on="setl_id")
    by_drg, standard = pl.col("standard_fen").is_not_null(), pl.col("standard_fen").cast(pl.Int128)
    owed = pl.when(by_drg).then(FUND_FORMS[policy.provider.fund_form](standard)).otherwise("fund_pay_sumamt_fen")
    cases = cases.with_columns(
        pl.when(by_drg).then(pl.lit("drg_rate")).otherwise(pl.lit("item")).alias("method"),
        owed.cast(pl.Int64).alias("payable_fen"),
        pl.lit(1, pl.Int64).alias("sign"),
    )
    return _refunds_reversed(cases)


def drg_standards(claims: pl.DataFrame, grouping: pl.DataFrame | None, policy: Policy) -> pl.DataFrame:
    """setl_id and `standard_fen`, weight x rate, of the insured stays that are paid by DRG."""
    return _with_standards(claims, grouping, policy).select("setl_id", "standard_fen").drop_nulls()


def _with_standards(claims: pl.DataFrame, grouping: pl.DataFrame | None, policy: Policy) -> pl.DataFrame:
    """The insured claims with month, weight `units`, and `standard_fen`, null where a claim is not paid by DRG."""
    claims = with_fields(claims, "claims", *CLAIM).select(CLAIM).filter((pl.col("insured_flag") != "0").fill_null(True))
    claims = claims.with_columns(
        pl.col("setl_time").dt.date().alias("day"), pl.col("setl_time").dt.strftime("%Y-%m").alias("month")
    )
    claims = claims.with_columns(
        pl.Series("rate", amount_of(claims, policy, policy.provider.drg_rate)),
        benefit_of(claims, policy).alias("benefit"),
        (pl.col("refd_setl_flag") == "1").fill_null(False).alias("refund"),
    ).join(_weights(grouping), on="setl_id", how="left")
    by_drg = (
        pl.col("benefit").is_in(policy.provider.drg_benefits)
        & pl.col("units").is_not_null()
        & (pl.col("rate") >= 0)
        & ~pl.col("refund")
    )
    standard = rounded(pl.col("units").cast(pl.Int128) * pl.col("rate"), _WEIGHT_UNITS)
    return claims.with_columns(standard_fen=pl.when(by_drg).then(standard).cast(pl.Int64))


def _weights(grouping: pl.DataFrame | None) -> pl.DataFrame:
    """setl_id and the weight as whole units of 1e-8, of the stays that have one."""
    if grouping is None:
        return pl.DataFrame(schema={"setl_id": pl.String, "units": pl.Int64})
    units = pl.col("weight").cast(_WEIGHT).to_physical().cast(pl.Int64)
    return grouping.select("setl_id", units.alias("units")).drop_nulls("units")


def _difference(standard: pl.Expr) -> pl.Expr:
    """支付标准 − 个人负担; negative where the person pays more than the standard."""
    return standard - pl.col("psn_part_amt_fen")


def _by_ratio(standard: pl.Expr) -> pl.Expr:
    """(支付标准 − 全自费 − 超限价 − 先自付 − 起付) x fund / (in policy − deductible), at least zero, half-up."""
    base = standard - pl.sum_horizontal(
        "fulamt_ownpay_amt_fen", "overlmt_selfpay_fen", "preselfpay_amt_fen", "act_pay_dedc_fen"
    )
    whole = pl.col("inscp_scp_amt_fen").cast(pl.Int128) - pl.col("act_pay_dedc_fen")
    paid = pl.max_horizontal(base, pl.lit(0, pl.Int128)) * pl.col("fund_pay_sumamt_fen")
    return pl.when(whole > 0).then((2 * paid + whole) // (2 * whole)).otherwise(0)


FUND_FORMS = {"difference": _difference, "ratio": _by_ratio}


def _refunds_reversed(cases: pl.DataFrame) -> pl.DataFrame:
    """Refunds take back method, weight and payment of the claim they name; one settle could not pair is by item."""
    original = cases.filter(~pl.col("refund")).select(
        pl.col("setl_id").alias("init_setl_id"),
        pl.col("method").alias("was"),
        pl.col("units").alias("back"),
        (-pl.col("payable_fen")).alias("returned"),
    )
    refunds = cases.filter("refund").with_columns(
        pl.when(pl.col("first_difference").ne_missing(ORIGINAL_MISSING)).then("init_setl_id").alias("init_setl_id")
    )
    refunds = refunds.join(original, on="init_setl_id", how="left").with_columns(
        pl.coalesce("was", "method").alias("method"),
        pl.coalesce("returned", "payable_fen").alias("payable_fen"),
        pl.col("back").alias("units"),
        -pl.col("sign"),
    )
    return pl.concat([cases.filter(~pl.col("refund")), refunds.select(cases.columns)])


def _as_decimal(name: str) -> pl.Expr:
    """Whole units of 1e-8 as decimal(18,8)."""
    whole = pl.col(name).cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, 8))
    return (whole / _WEIGHT_UNITS).cast(pl.Decimal(18, 8)).alias(name)
