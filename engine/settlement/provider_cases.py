"""The case frame of the provider side: one row per insured claim, with all that a method of payment may ask of it.

Everything is looked up by expressions over the whole frame: a dated value is the one in force on the `day` of the
settlement, a method is that of the first line of the policy that fits.
"""

from collections.abc import Callable
from typing import Any

import polars as pl

from engine.settlement.conditions import benefits
from engine.settlement.dated import ALL, holding
from engine.settlement.lookup import amount_of, group_of
from engine.settlement.person import ORIGINAL_MISSING
from engine.settlement.policy import Policy
from engine.settlement.provider_policy import BY_CASE, CaseKind, Line
from engine.tables.dictionary import with_fields

_WEIGHT = pl.Decimal(12, 8)
PARTS = ["fulamt_ownpay_amt_fen", "overlmt_selfpay_fen", "preselfpay_amt_fen", "inscp_scp_amt_fen"]
AMOUNTS = [*PARTS, "act_pay_dedc_fen", "fund_pay_sumamt_fen", "psn_part_amt_fen"]
STATEMENT = ["setl_id", "first_difference", *AMOUNTS, "hifmi_pay_fen"]  # what is asked of a settlement
CLAIM = [
    "setl_id",
    "psn_no",
    "fixmedins_code",
    "psn_type",
    "visit_kind",
    "hosp_lv",
    "insured_flag",
    "local_flag",
    "insu_admdvs",
    "mdtrtarea_admdvs",
    "med_type",
    "adm_kind",
    "adm_way",
    "insutype",
    "gend",
    "daysurg_flag",
    "dise_codg",
    "dscg_dept_codg",
    "dscg_way",
    "act_ipt_days",
    "begntime",
    "endtime",
    "setl_time",
    "medfee_sumamt",
    "refd_setl_flag",
    "init_setl_id",
]
# what nothing asks for once group, kind and method of a case are known
_ANSWERED = ["psn_type", "visit_kind", "insured_flag", "med_type", "adm_kind", "adm_way", "insutype", "gend",
             "daysurg_flag", "dise_codg", "dscg_dept_codg",
             "act_ipt_days", "setl_time", "medfee_sumamt", "refd_setl_flag", "says_mdc"]  # fmt: skip
_GROUPED = {"mdc": pl.String, "drg": pl.String, "weight": _WEIGHT, "mean_fen": pl.Int64}


def cases(
    claims: pl.DataFrame,
    grouping: pl.DataFrame | None,
    policy: Policy,
    settlement: pl.DataFrame | None = None,
    lines: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The insured claims with `day`, `month`, `year`, `benefit`, `people` (person group), `days` of stay, `group`,
    `units` (weight in 1e-8), `mean_fen` (where the grouping brings one), `rate` (fen of a weight of 1), `fund_share`,
    `cost_fen`, `refund`, `refunded_on` (day of the refund of this claim, null where it stands), `away` (of a person
    insured elsewhere), `method`, `asked`, the method the policy names, and `fallback`, see _wrong_scheme.

    grouping: setl_id, weight and, where known, drg, mean_fen and mdc. settlement: as settle returns it; without it the
    amounts of the statement are missing and the cost is what the claim says. lines: see conditions.benefits.
    """
    claims = with_fields(claims, "claims", *CLAIM).select(CLAIM).filter((pl.col("insured_flag") != "0").fill_null(True))
    claims = claims.with_columns(
        pl.col("setl_time").dt.date().alias("day"), pl.col("setl_time").dt.strftime("%Y-%m").alias("month")
    )
    claims = claims.with_columns(
        pl.Series("rate", amount_of(claims, policy, policy.provider.drg_rate)),
        pl.Series("fund_share", amount_of(claims, policy, policy.provider.fund_share)),
        benefits(claims, lines, policy).alias("benefit"),
        insured_elsewhere().alias("away"),
        group_of(claims, policy).alias("people"),
        pl.col("day").dt.year().alias("year"),
        _days().alias("days"),
        (pl.col("refd_setl_flag") == "1").fill_null(False).alias("refund"),
    ).join(_weights(grouping), on="setl_id", how="left", maintain_order="left")
    provider = policy.provider
    kinds = [holding(dated, fits, pl.lit(False)).fill_null(False).alias(f"kind {name}")
             for name, dated in provider.case_kinds.items()]  # fmt: skip
    short = pl.when(pl.col("benefit").is_in(provider.drg_benefits)).then(pl.lit("drg_rate")).otherwise(pl.lit("item"))
    method = holding(provider.methods, lambda lines: first_line(lines, short), short)
    claims = claims.with_columns(kinds).with_columns(asked=method, method=method, cost_fen="medfee_sumamt")
    claims = claims.with_columns(fallback=pl.when(_wrong_scheme()).then(pl.lit("other_scheme"))).drop(_ANSWERED, "mdc")
    claims = claims.with_columns(weight="units", units=pl.when(pl.col("fallback").is_null()).then("units"))
    claims = _with_statements(claims, settlement)
    return claims.join(_refunded(claims), on="setl_id", how="left", maintain_order="left")


def insured_elsewhere() -> pl.Expr:
    """Whether a claim is of a person insured elsewhere: as it says itself, else by the two places; False if unknown."""
    elsewhere = pl.col("insu_admdvs").ne_missing(pl.col("mdtrtarea_admdvs")) & pl.col("insu_admdvs").is_not_null()
    said = pl.col("local_flag").replace_strict({"0": True, "1": False}, default=None, return_dtype=pl.Boolean)
    return pl.coalesce(said, elsewhere)


def _wrong_scheme() -> pl.Expr:
    """Whether a case is to be paid by the weight of a kind of group that it was not put into.

    A DIP group has no MDC, a DRG has one. A score is no DRG weight: with the rate of a weight it would be a payment
    nobody ruled. Where a grouping does not say the MDC at all any method may use its weights.
    """
    by_dip = pl.col("mdc").is_null()
    paid_by_dip = pl.col("asked") == "dip"
    return (
        pl.col("asked").is_in(BY_CASE) & pl.col("says_mdc") & pl.col("units").is_not_null() & (by_dip != paid_by_dip)
    ).fill_null(False)


def number(value: int) -> pl.Expr:
    return pl.lit(value, pl.Int64)


def among(column: str, patterns: list[str]) -> pl.Expr:
    """Whether a text is one of the patterns, of which `R*` is everything that begins with R. False where missing."""
    exact = [p for p in patterns if not p.endswith("*")]
    begins = [pl.col(column).str.starts_with(p.removesuffix("*")) for p in patterns if p.endswith("*")]
    return pl.any_horizontal(pl.col(column).is_in(exact), *begins).fill_null(False)


def told_for(column: str | pl.Expr, values: dict[str, int]) -> pl.Expr:
    """The value of each row's key; null for a key without one."""
    key = pl.col(column) if isinstance(column, str) else column
    return key.replace_strict(values, default=None, return_dtype=pl.Int64) if values else pl.lit(None, pl.Int64)


def by_level(values: dict[str, Any], make: Callable[[Any], pl.Expr]) -> pl.Expr:
    """What `make` makes of the value of each row's level, or of the one for all; null where there is neither."""
    result = make(values[ALL]) if ALL in values else pl.lit(None)
    for level in sorted(set(values) - {ALL}):
        result = pl.when(pl.col("hosp_lv") == level).then(make(values[level])).otherwise(result)
    return result


def fits(kind: CaseKind) -> pl.Expr:
    """Whether a case is of a kind: all that the kind says fits."""
    said = {"group": kind.groups, "dscg_dept_codg": kind.departments, "adm_kind": kind.adm_kinds,
            "med_type": kind.med_types, "dise_codg": kind.diseases, "visit_kind": kind.visit_kinds,
            "insu_admdvs": kind.areas}  # fmt: skip
    fitting = [among(column, patterns) for column, patterns in said.items() if patterns]
    if kind.away is not None:
        fitting.append(pl.col("away") == kind.away)
    if kind.days_over is not None:
        fitting.append(pl.col("days") > kind.days_over)
    if kind.days_up_to is not None:
        fitting.append(pl.col("days") <= kind.days_up_to)
    return pl.all_horizontal(pl.lit(True), *fitting)


def of_kinds(kinds: list[str]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(False), *(pl.col(f"kind {kind}") for kind in kinds))


def first_line(lines: list[Line], otherwise: pl.Expr) -> pl.Expr:
    """The method of the first line that fits each case."""
    result = otherwise
    for line in reversed(lines):
        said = {"benefit": line.benefits, "fixmedins_code": line.institutions, "hosp_lv": line.levels,
                "people": line.people}  # fmt: skip
        fitting = [pl.col(column).is_in(names).fill_null(False) for column, names in said.items() if names]
        if line.case_kinds:
            fitting.append(of_kinds(line.case_kinds))
        result = pl.when(pl.all_horizontal(pl.lit(True), *fitting)).then(pl.lit(line.method)).otherwise(result)
    return result


def _days() -> pl.Expr:
    """Days of a stay as the claim counts them, else from admission to discharge, at least one."""
    between = (pl.col("endtime").dt.date() - pl.col("begntime").dt.date()).dt.total_days()
    return pl.coalesce(pl.col("act_ipt_days").cast(pl.Int64), between).clip(1)


def _weights(grouping: pl.DataFrame | None) -> pl.DataFrame:
    """setl_id, group, weight as whole units of 1e-8, and mean cost, of the stays that were grouped."""
    if grouping is None:
        columns = {"setl_id": pl.String, "mdc": pl.String, "says_mdc": pl.Boolean, "group": pl.String}
        return pl.DataFrame(schema=columns | {"units": pl.Int64, "mean_fen": pl.Int64})
    says_mdc = pl.lit("mdc" in grouping.columns).alias("says_mdc")
    missing = [pl.lit(None, kind).alias(name) for name, kind in _GROUPED.items() if name not in grouping.columns]
    units = pl.col("weight").cast(_WEIGHT).to_physical().cast(pl.Int64)
    return grouping.with_columns(missing).select(
        "setl_id", "mdc", says_mdc, group="drg", units=units, mean_fen="mean_fen"
    )


def _with_statements(claims: pl.DataFrame, settlement: pl.DataFrame | None) -> pl.DataFrame:
    """The claims with the amounts of their statements; the four parts of a statement are its cost (A5)."""
    if settlement is None:
        missing = [pl.lit(None, pl.Int64).alias(name) for name in AMOUNTS]
        return claims.with_columns(*missing, first_difference=pl.lit(None, pl.String))
    statements = settlement.select("setl_id", "first_difference", *AMOUNTS)
    return claims.join(statements, on="setl_id", maintain_order="left").with_columns(
        pl.sum_horizontal(PARTS).alias("cost_fen")
    )


def _refunded(claims: pl.DataFrame) -> pl.DataFrame:
    """setl_id of the claims that a refund here takes back, and the day it does."""
    paired = claims.filter("refund", pl.col("first_difference").ne_missing(ORIGINAL_MISSING))
    paired = paired.select(setl_id="init_setl_id", refunded_on="day").drop_nulls("setl_id")
    return paired.group_by("setl_id").agg(pl.col("refunded_on").min())
