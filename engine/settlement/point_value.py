"""What a volume is worth: the rate of a weight, a given value of a point, or its share of a budget.

点值 = (基金预算 + 个人负担合计) / 总点数, or (预算 / 报销比例) / 总点数. Where there is a budget, the standards of a
period share its total in proportion to their points, to the last fen: each gets the whole fen of its exact share, and
the fen left over go one each to the largest remainders, of equal ones to the lower setl_id. So with the form
`difference` and the persons' payments in the total, the funds pay exactly the budget. A case refunded within its period
takes no part: it is worth the exact value of its points, half-up, and its refund takes that back. What experts sent
back to payment by item, and what has no points, comes off the budget first.
"""

import polars as pl

from engine.settlement.dated import UNITS, holding
from engine.settlement.money import PERCENT
from engine.settlement.provider_cases import number
from engine.settlement.provider_policy import Pool
from engine.tables.problems import InvariantBroken
from engine.tables.values import rounded

_BIG = pl.Int128
POOLED = ("drg_points", "dip", "bed_day")  # days worth yuan aside
_YUAN_OF_FEN = UNITS // 100  # fen to yuan in 1e-8
_FEN_OF_POINTS = UNITS * UNITS // 100  # points in 1e-8 x yuan in 1e-8, to fen


def by_rate() -> pl.Expr:
    """Weight x rate (费率法), half-up; null where the policy has no rate."""
    return pl.when(pl.col("rate") >= 0).then(rounded(pl.col("volume").cast(_BIG) * pl.col("rate"), UNITS))


def price_of_rate() -> pl.Expr:
    """The rate of a weight in yuan of 1e-8, of the cases by rate."""
    rated = (pl.col("method") == "drg_rate") & (pl.col("rate") >= 0)
    return pl.when(rated).then(pl.col("rate").cast(_BIG) * _YUAN_OF_FEN)


def with_pools(cases: pl.DataFrame, pools: dict[str, Pool], alone: bool = False) -> pl.DataFrame:
    """The cases with `pool` (null where the person group has none), `period`, `pool_fen`, the standard by points, and
    `price`, what a unit of volume is worth in yuan of 1e-8 (of a budget rounded, for showing only).

    alone: only given values of a point are known, a budget is not.
    """
    by_points = pl.col("method").is_in(POOLED) & pl.col("given_fen").is_null()
    owner = pl.lit(None, pl.String)
    for name, pool in pools.items():
        mine = pl.col("people").is_in(pool.people) if pool.people else pl.lit(True)
        owner = pl.when(by_points & mine.fill_null(False)).then(pl.lit(name)).otherwise(owner)
    cases = cases.with_columns(
        owner.alias("pool"), period=pl.lit(None, pl.String), pool_fen=pl.lit(None, _BIG), price=price_of_rate()
    )
    for name, pool in pools.items():
        cases = _valued(cases, name, pool) if pool.point_value else cases if alone else _shared(cases, name, pool)
    return cases


def _valued(cases: pl.DataFrame, name: str, pool: Pool) -> pl.DataFrame:
    """A given value of a point: points x value, half-up to the fen."""
    value = holding(pool.point_value, number, pl.lit(None, pl.Int64))
    worth = rounded(pl.col("volume").cast(_BIG) * value, _FEN_OF_POINTS)
    mine = pl.col("pool") == name
    return cases.with_columns(
        pool_fen=pl.when(mine).then(worth).otherwise("pool_fen"), price=pl.when(mine).then(value).otherwise("price")
    )


def _shared(cases: pl.DataFrame, name: str, pool: Pool) -> pl.DataFrame:
    label, first = ("%Y-%m", "1mo") if pool.budget_per == "month" else ("%Y", "1y")
    mine = cases.filter((pl.col("pool") == name) & ~pl.col("refund")).with_columns(
        period=pl.col("day").dt.strftime(label), _first=pl.col("day").dt.truncate(first)
    )
    mine = mine.with_columns(
        _budget=holding(pool.budget, number, pl.lit(None, pl.Int64), "_first"),
        _stands=pl.col("refunded_on").dt.strftime(label).ne_missing(pl.col("period")),
    )
    if pool.away == "valued":
        mine = mine.with_columns(_stands=pl.col("_stands") & ~pl.col("away"))
    mine = shares(mine.with_columns(total_of(pool).alias("_total")))
    check_spent(mine, name)
    value = rounded(pl.col("_total") * UNITS * _YUAN_OF_FEN, pl.col("_all"))
    worth = mine.select("setl_id", "_fen", _period="period", _value=value)
    cases = cases.join(worth, on="setl_id", how="left", maintain_order="left")
    return cases.with_columns(
        pool_fen=pl.coalesce("_fen", "pool_fen"),
        period=pl.coalesce("_period", "period"),
        price=pl.coalesce("_value", "price"),
    ).drop("_fen", "_period", "_value")


def total_of(pool: Pool) -> pl.Expr:
    """What the points of a period share, in fen: the budget less what went by item, with or without the persons'."""
    counts = pl.col("_stands") & pl.col("volume").is_not_null()
    by_item = pl.col("_stands") & pl.col("volume").is_null()
    taken = pl.when(by_item).then("fund_pay_sumamt_fen").otherwise(0).sum().over("period")
    kept_out = holding(pool.reserve, number, number(0), "_first")
    left = pl.col("_budget") - rounded(pl.col("_budget").cast(_BIG) * kept_out, PERCENT) - taken
    if pool.total == "over_ratio":
        ratio = holding(pool.ratio, number, pl.lit(None, pl.Int64), "_first")
        return rounded(left.cast(_BIG) * PERCENT, ratio)
    return (left + pl.when(counts).then("psn_part_amt_fen").otherwise(0).sum().over("period")).cast(_BIG)


def shares(cases: pl.DataFrame) -> pl.DataFrame:
    """The cases of one pool with `_fen`: their share of `_total` of the `period`, summing to it over those that stand.

    Null without a budget, without a volume, or where the points of a period are none; a total below zero shares none.
    """
    counts = pl.col("_stands") & pl.col("volume").is_not_null()
    points = pl.col("volume").cast(_BIG)
    cases = cases.with_columns(
        _total=pl.when(pl.col("_total") < 0).then(pl.lit(0, _BIG)).otherwise("_total"),
        _points=points,
        _all=pl.when(counts).then(points).otherwise(0).sum().over("period"),
    )
    cases = cases.with_columns(_all=pl.when(pl.col("_all") > 0).then("_all"))
    whole = pl.col("_total") * pl.col("_points")
    cases = cases.with_columns(_part=whole // pl.col("_all"), _rest=whole % pl.col("_all"), _counts=counts)
    cases = cases.sort("period", "_counts", "_rest", "setl_id", descending=[False, True, True, False], nulls_last=True)
    given = pl.when("_counts").then("_part").otherwise(0).sum().over("period")
    one_more = (pl.int_range(1, pl.len() + 1).over("period") <= pl.col("_total") - given).cast(_BIG)
    half_up = rounded(whole, pl.col("_all"))
    return cases.with_columns(_fen=pl.when("_counts").then(pl.col("_part") + one_more).otherwise(half_up))


def check_spent(cases: pl.DataFrame, pool: str) -> None:
    """The standards of every period of a pool sum to its total to the fen. Raises InvariantBroken."""
    sums = cases.filter("_counts", pl.col("_fen").is_not_null()).group_by("period")
    off = sums.agg(pl.col("_fen").sum(), pl.col("_total").first()).filter(pl.col("_fen") != pl.col("_total"))
    if off.height:
        period, spent, total = off.sort("period").row(0)
        raise InvariantBroken(f"{pool} {period}: 各例支付标准合计 {spent} 分, 应为 {total} 分", "provider_payment")
