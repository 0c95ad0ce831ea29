"""特例单议: which cases an institution may put to review, in which order, and what the outcome does.

An institution may put up at most a share of its discharges of a period, rounded down (医保办发〔2024〕9号: 5 % of DRG,
5 per mille of DIP; grade R, so a parameter). Those who come after the quota is full are paid as any other. What the
experts decide is an input.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl

from engine.settlement.dated import On, holding
from engine.settlement.money import PERCENT
from engine.settlement.provider_cases import number
from engine.settlement.provider_policy import ByCase, Review

REVIEWS = {
    "setl_id": pl.String,
    "applied": pl.Date,
    "outcome": pl.String,  # adjust, by_item, refuse
    "points": pl.Decimal(18, 8),  # of an adjusted case, in the units of its method
}


def reviewed(cases: pl.DataFrame, rules: ByCase, reviews: pl.DataFrame | None) -> pl.DataFrame:
    """The cases of one method with `review`: adjust, by_item, refuse, over_quota, or null where none was asked for.

    An adjusted case gets the points decided, one to be paid by item loses its volume. The queue of an
    institution and period is in order of the day of application, then the higher cost, then setl_id.
    """
    if reviews is None or reviews.is_empty() or not rules.review:
        return cases.with_columns(review=pl.lit(None, pl.String))
    counted = with_quota(cases, rules.review)
    place = PLACE
    asked = counted.filter("_stands").join(
        reviews.select(*REVIEWS).cast(REVIEWS).with_columns(_points=pl.col("points").to_physical().cast(pl.Int64)),
        on="setl_id",
    )
    asked = asked.sort(*place, "applied", pl.col("cost_fen").neg(), "setl_id", nulls_last=True)
    asked = asked.unique("setl_id", keep="first", maintain_order=True)  # a case is heard once
    number_in_queue = pl.int_range(1, pl.len() + 1).over(place)
    heard = asked.with_columns(
        review=pl.when(number_in_queue > pl.col("_quota")).then(pl.lit("over_quota")).otherwise("outcome")
    ).select("setl_id", "review", "_points")
    cases = cases.join(heard, on="setl_id", how="left", maintain_order="left")
    by_item, adjusted = (pl.col("review").eq_missing(word) for word in ("by_item", "adjust"))
    return cases.with_columns(
        volume=pl.when(by_item).then(None).when(adjusted).then(pl.coalesce("_points", "volume")).otherwise("volume"),
    ).drop("_points")


PLACE = ["fixmedins_code", "_period"]


def with_quota(cases: pl.DataFrame, quota: dict[date, On], read: Callable[[Any], Review | None] = lambda r: r):
    """The cases of one method with `_period`, `_stands` and `_quota`: how many of the discharges of their institution
    and period a quota lets through, rounded down; none where there is no quota.
    """
    share = holding(quota, lambda v: number(read(v).quota) if read(v) else number(0), number(0))
    period = holding(quota, lambda v: _period(read(v)), pl.lit(None, pl.String))
    cases = cases.with_columns(
        _period=period, _stands=~pl.col("refund") & pl.col("refunded_on").is_null(), _share=share
    )
    standing = pl.col("_stands").sum().over(PLACE).cast(pl.Int64)
    return cases.with_columns(_quota=standing * pl.col("_share") // PERCENT).drop("_share")


def _period(quota: Review | None) -> pl.Expr:
    if quota is None:
        return pl.lit(None, pl.String)
    month = pl.col("day").dt.month()
    parts = {"month": month, "quarter": (month + 2) // 3, "half_year": (month + 5) // 6, "year": pl.lit(0)}
    return pl.concat_str("year", pl.lit("|"), parts[quota.per])
