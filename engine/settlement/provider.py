"""The provider side: what the funds owe each institution for the claims of a month.

A method gives each of its cases a volume, a price makes the volume a standard in fen, and a fund form says what of the
standard the funds owe:

- fund_form `difference`: the standard less everything the person pays (支付标准 − 个人负担);
- fund_form `ratio`: (standard − own pay − over-limit − first pay − deductible) x the fund's share of the claim, that is
  fund / (in policy − deductible); never below zero;
- fund_form `share`: a fixed share of the standard, whatever the person paid (C-DRG of 三明).

All are in use and give different answers, so the policy says which. By item the funds owe what they pay of each claim;
so is paid whatever lacks what its method needs, and `fallback` says what that was (FALLBACKS). A refund takes back what
its original was paid, in its own month.
"""

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from engine.settlement.clearing import adjustments, extra_rows, prepayment
from engine.settlement.dated import UNITS
from engine.settlement.direct_settlement import offsets
from engine.settlement.money import PERCENT
from engine.settlement.person import ORIGINAL_MISSING
from engine.settlement.point_value import POOLED, by_rate, with_pools
from engine.settlement.policy import Policy
from engine.settlement.provider_cases import CLAIM, PARTS, cases
from engine.settlement.provider_policy import BY_CASE, ByCase
from engine.settlement.special_review import reviewed
from engine.settlement.volumes import case_volumes, day_volumes, fixed_standards
from engine.tables.values import rounded

__all__ = ["BY_CASE", "CLAIM", "Told", "case_payments", "drg_standards", "provider_payment"]


@dataclass(frozen=True)
class Told:
    """What no claim says: reviews as special_review.REVIEWS, deductions as clearing.DEDUCTIONS, deliveries that the
    fund paid suppliers for as direct_settlement.DELIVERIES.
    """

    TABLES: ClassVar = ("special_reviews", "clearing_deductions", "direct_deliveries")  # of knowledge, in this order

    reviews: pl.DataFrame | None = None
    deductions: pl.DataFrame | None = None
    deliveries: pl.DataFrame | None = None


NOTHING_TOLD = Told()


def provider_payment(
    settlement: pl.DataFrame,
    claims: pl.DataFrame,
    grouping: pl.DataFrame | None,
    policy: Policy,
    told: Told = NOTHING_TOLD,
    lines: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """provider_payment.parquet: one row per institution, month of settlement and method, in that order.

    settlement: as settle returns it. grouping: setl_id, weight, and where known mdc, drg and mean_fen of the stays;
    without it nothing is paid by group. lines: see conditions.naming_lines. volume is the sum of weights, points,
    scores, days or fixed prices as the method counts, null by item; refunds count as minus one case. What is cleared is
    what is payable less what was prepaid. What a year's clearing adds or takes stands in rows of its own in its last
    month, so the months of a year sum to its clearing. Wholly self-paid claims are left out.
    """
    return by_month(paid_cases(settlement, claims, grouping, policy, told, lines), policy, told)


def paid_cases(
    settlement: pl.DataFrame,
    claims: pl.DataFrame,
    grouping: pl.DataFrame | None,
    policy: Policy,
    told: Told = NOTHING_TOLD,
    lines: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Of case_payments what sums, books and reasons are made of."""
    parts = _owed(cases(claims, grouping, policy, settlement, lines), policy, told, alone=False)
    return _refunds_reversed(pl.concat(part.select(_SUMMED) for part in parts))


def by_month(paid: pl.DataFrame, policy: Policy, told: Told) -> pl.DataFrame:
    """provider_payment out of paid_cases."""
    months = (
        paid.group_by("fixmedins_code", "month", "method")
        .agg(
            pl.col("sign").sum().alias("cases"),
            pl.when(pl.col("method").first() != "item")
            .then((pl.col("units").cast(pl.Int128) * pl.col("sign")).sum())
            .alias("volume"),
            pl.col("payable_fen", "charged_fen").sum(),
        )
        .with_columns(prepayment(policy.provider.clearing).alias("prepaid_fen"))
    )
    extra = [adjustments(months, paid, policy.provider.clearing, told.deductions)]
    if told.deliveries is not None:
        extra.append(extra_rows(offsets(told.deliveries), "direct_settlement"))
    rows = pl.concat([months, *extra], how="diagonal_relaxed")
    return rows.sort("fixmedins_code", "month", "method").select(
        "fixmedins_code",
        "month",
        "method",
        "cases",
        _as_decimal("volume"),
        "payable_fen",
        "prepaid_fen",
        (pl.col("payable_fen") - pl.col("prepaid_fen")).alias("cleared_fen"),
    )


def case_payments(
    settlement: pl.DataFrame,
    claims: pl.DataFrame,
    grouping: pl.DataFrame | None,
    policy: Policy,
    told: Told = NOTHING_TOLD,
    alone: bool = False,
    lines: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row per insured claim, as provider_payment sums them: setl_id, month, `method`, sign, volume in `units` of
    1e-8 (days too), `standard_fen`, `payable_fen`, what the funds owe, `charged_fen`, what the statement charges to
    them, the steps of the volume (base, coefficient, step, mean_fen, mean_from, kept, review, pool, price …), `asked`,
    the method the policy names for it, and `fallback`, why it is paid by item all the same.

    alone: each claim by itself, whatever else is in the frame: no readmission, no review, no mean of a prior year; what
    only a budget could value has no payment.
    """
    parts = _owed(cases(claims, grouping, policy, settlement, lines), policy, told, alone)
    return _refunds_reversed(pl.concat(parts, how="diagonal_relaxed"))


def drg_standards(claims: pl.DataFrame, grouping: pl.DataFrame | None, policy: Policy) -> pl.DataFrame:
    """setl_id and `standard_fen` of the insured stays that are paid by group, each by itself."""
    frame = cases(claims, grouping, policy).filter(pl.col("method").is_in(BY_CASE))
    return _with_standards(frame, policy, NOTHING_TOLD, None).select("setl_id", "standard_fen").drop_nulls()


def _owed(frame: pl.DataFrame, policy: Policy, told: Told, alone: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the funds owe of the cases by item, and of the others, with the columns of their steps."""
    by_item = pl.col("method") == "item"
    owed = FUND_FORMS[policy.provider.fund_form](pl.col("standard_fen").cast(pl.Int128)).cast(pl.Int64)
    charged, sign = pl.col("fund_pay_sumamt_fen").alias("charged_fen"), pl.lit(1, pl.Int64).alias("sign")
    items = frame.filter(by_item).with_columns(
        charged, sign, payable_fen="fund_pay_sumamt_fen", units=pl.lit(None, pl.Int64)
    )
    others = _with_standards(frame.filter(~by_item), policy, told, None if alone else frame)
    paid = pl.when(by_item).then("fund_pay_sumamt_fen").otherwise(owed)
    return items, others.with_columns(charged, sign, payable_fen=paid)


def _by_case(frame: pl.DataFrame, policy: Policy, told: Told, every: pl.DataFrame | None) -> pl.DataFrame:
    rules = policy.provider.by_case.get(frame["method"][0], ByCase())
    frame = case_volumes(frame, rules, every)
    return frame if every is None else reviewed(frame, rules, told.reviews)


def _by_day(frame: pl.DataFrame, policy: Policy, told: Told, every: pl.DataFrame | None) -> pl.DataFrame:
    return day_volumes(frame, policy.provider.bed_days)


def _by_price(frame: pl.DataFrame, policy: Policy, told: Told, every: pl.DataFrame | None) -> pl.DataFrame:
    return fixed_standards(frame, policy.provider.fixed_prices)


# method but item: what gives its cases a volume, and what the volume is worth
METHODS = {
    "drg_rate": (_by_case, by_rate()),
    "drg_points": (_by_case, pl.col("pool_fen")),
    "dip": (_by_case, pl.col("pool_fen")),
    "bed_day": (_by_day, pl.coalesce("given_fen", "pool_fen")),
    "fixed_price": (_by_price, pl.col("given_fen")),
}
# what provider_payment sums of a case
_SUMMED = ["setl_id", "init_setl_id", "first_difference", "refund", "fixmedins_code", "insu_admdvs",
           "mdtrtarea_admdvs", "local_flag", "day", "year", "month", "psn_part_amt_fen", "method", "sign", "units",
           "payable_fen", "charged_fen", "asked", "fallback"]  # fmt: skip
_STEPS = {
    "volume": pl.Int64,
    "given_fen": pl.Int64,
    "base": pl.Int128,
    "coefficient": pl.Int64,
    "coefficient_from": pl.String,
    "ordinary": pl.Int128,
    "stepped": pl.Int64,
    "mean_from": pl.String,
    "step": pl.String,
    "bound": pl.Int64,
    "to_experts": pl.Boolean,
    "kept": pl.Int64,
    "review": pl.String,
}


def _with_standards(frame: pl.DataFrame, policy: Policy, told: Told, every: pl.DataFrame | None) -> pl.DataFrame:
    """The cases by any method but item with volume and `standard_fen`; without a standard the method becomes item.

    every: all cases; without it each case stands alone, and keeps its method.
    """
    empty = [pl.lit(None, kind).alias(name) for name, kind in _STEPS.items()]
    parts = [
        METHODS[part["method"][0]][0](part, policy, told, every)
        for part in frame.partition_by("method", maintain_order=True)
    ]
    frame = pl.concat([frame.clear().with_columns(empty), *parts], how="diagonal_relaxed")
    frame = with_pools(frame, policy.provider.pools, every is None)
    standard = pl.lit(None, pl.Int128)
    for method, (_, price) in METHODS.items():
        standard = pl.when(pl.col("method") == method).then(price).otherwise(standard)
    if policy.provider.fund_form == "share":
        standard = pl.when(pl.col("fund_share") >= 0).then(standard)
    frame = frame.with_columns(standard_fen=pl.when(~pl.col("refund")).then(standard).cast(pl.Int64))
    days = pl.when(pl.col("method") == "bed_day").then(pl.col("days") * UNITS).otherwise("volume")
    frame = frame.with_columns(units=pl.when(pl.col("standard_fen").is_not_null()).then(days))
    if every is None:
        return frame
    unpaid = pl.col("standard_fen").is_null()
    return frame.with_columns(
        method=pl.when(unpaid).then(pl.lit("item")).otherwise("method"),
        fallback=pl.when(unpaid & ~pl.col("refund")).then(pl.coalesce("fallback", _reason())),
    )


FALLBACKS = {
    "other_scheme": "病例由另一类分组方案入组(DRG 权重不作 DIP 分值, 反之亦然)",
    "outlier": "费用极低或极高, 政策规定按项目",
    "review": "特例单议定为按项目",
    "no_group": "没有分组结果",
    "no_weight": "病组没有权重",
    "no_days": "没有住院天数",
    "no_pool": "人员组不属于任何 pools",
    "no_price": "这一天没有费率、点值、预算、定额或基金份额",
}


def _reason() -> pl.Expr:
    """Why a case has no standard: the first of FALLBACKS that fits."""
    by_group, by_points = pl.col("asked").is_in(BY_CASE), pl.col("asked").is_in(POOLED) & pl.col("given_fen").is_null()
    reasons = {
        "review": pl.col("review") == "by_item",
        "no_group": by_group & pl.col("group").is_null(),
        "no_weight": by_group & pl.col("weight").is_null(),
        "no_days": (pl.col("asked") == "bed_day") & pl.col("days").is_null(),
        "no_pool": by_points & pl.col("pool").is_null() & pl.col("volume").is_not_null(),
    }
    return pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, holds in reasons.items()), pl.lit("no_price"))


def by_item_counts(paid: pl.DataFrame) -> pl.DataFrame:
    """asked, `reason` (a key of FALLBACKS), cases, charged_fen of the claims that no price could be put on.

    paid: case_payments; sorted by asked and reason.
    """
    fallen = paid.filter(pl.col("fallback").is_not_null()).group_by("asked", reason="fallback")
    return fallen.agg(cases=pl.len().cast(pl.Int64), charged_fen=pl.col("charged_fen").sum()).sort("asked", "reason")


def _difference(standard: pl.Expr) -> pl.Expr:
    """支付标准 − 个人负担; negative where the person pays more than the standard."""
    return standard - pl.col("psn_part_amt_fen")


def _by_ratio(standard: pl.Expr) -> pl.Expr:
    """(支付标准 − 全自费 − 超限价 − 先自付 − 起付) x fund / (in policy − deductible), at least zero, half-up."""
    base = standard - pl.sum_horizontal(*PARTS[:3], "act_pay_dedc_fen")
    whole = pl.col("inscp_scp_amt_fen").cast(pl.Int128) - pl.col("act_pay_dedc_fen")
    paid = pl.max_horizontal(base, pl.lit(0, pl.Int128)) * pl.col("fund_pay_sumamt_fen")
    return pl.when(whole > 0).then((2 * paid + whole) // (2 * whole)).otherwise(0)


def _by_share(standard: pl.Expr) -> pl.Expr:
    """支付标准 x the fund's share of it (定额支付, 三明式), half-up."""
    return rounded(standard * pl.col("fund_share"), PERCENT)


FUND_FORMS = {"difference": _difference, "ratio": _by_ratio, "share": _by_share}


def _refunds_reversed(frame: pl.DataFrame) -> pl.DataFrame:
    """Refunds take back method, volume and payment of the claim they name; one settle could not pair is by item."""
    original = frame.filter(~pl.col("refund")).select(
        pl.col("setl_id").alias("init_setl_id"),
        pl.col("method").alias("was"),
        pl.col("units").alias("back"),
        (-pl.col("payable_fen")).alias("returned"),
    )
    refunds = frame.filter("refund").with_columns(
        pl.when(pl.col("first_difference").ne_missing(ORIGINAL_MISSING)).then("init_setl_id").alias("init_setl_id")
    )
    refunds = refunds.join(original, on="init_setl_id", how="left").with_columns(
        pl.coalesce("was", "method").alias("method"),
        pl.coalesce("returned", "payable_fen").alias("payable_fen"),
        pl.col("back").alias("units"),
        -pl.col("sign"),
    )
    return pl.concat([frame.filter(~pl.col("refund")), refunds.select(frame.columns)])


def _as_decimal(name: str) -> pl.Expr:
    """Whole units of 1e-8 as decimal(18,8)."""
    whole = pl.col(name).cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, 8))
    return (whole / UNITS).cast(pl.Decimal(18, 8)).alias(name)
