"""The sales behind a case, told with their texts and their money, when somebody asks for them."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.events import UNIT

_TEXTS = ["event_id", "code", "code_class", "fixmedins_code", "psn_no", "setl_id", "feedetl_sn", "med_list_codg"]
_FUND = ("fund", "suspect_fund")


@dataclass(frozen=True)
class Facts:
    """Facts of one scope.

    cases: one row per case, with the fields listed in words.FACTS and `case`, its number in this frame
    sales: the sales behind the cases as numbers, with `case`
    tell:  turns rows of `sales` into what evidence is written from
    """

    cases: pl.DataFrame
    sales: pl.DataFrame
    tell: Callable[[pl.DataFrame], pl.DataFrame]

    def events(self, cases: pl.Series | None = None) -> pl.DataFrame:
        """One row per case and sale behind it, of the cases numbered (all unless said), with the fields of the scope's
        events in words.FACTS; in order of case, time and event_id."""
        chosen = self.sales if cases is None else self.sales.filter(pl.col("case").is_in(cases.implode()))
        return self.tell(chosen).sort("case", "time", "event_id")


def quantity(name: str) -> pl.Expr:
    """Ten-thousandths of a unit as a decimal."""
    return (pl.col(name).cast(pl.Decimal(18, 0)) * pl.lit("0.0001").cast(pl.Decimal(5, 4))).cast(pl.Decimal(16, 4))


def tell_sales(sales: pl.DataFrame, rows: pl.DataFrame, fee_lines: pl.DataFrame) -> pl.DataFrame:
    """Sales of codes (case, row, role, units, own_excess in ten-thousandths) with their texts and money."""
    texts = rows.select(*_TEXTS, "self_pay", time="event_time")[sales["row"]]
    texts = texts.with_columns(pl.col("code_class").cast(pl.String))
    told = pl.concat([sales.select("case", "role", "units", "own_excess"), texts], how="horizontal")
    told = with_fund(told, fee_lines)
    # What the person paid alone costs the fund nothing, with a fee line or without.
    paid = [pl.when("self_pay").then(pl.lit(0, pl.Int64)).otherwise(name).alias(name) for name in _FUND]
    return in_units(told.with_columns(paid).drop("self_pay"))


def in_units(told: pl.DataFrame) -> pl.DataFrame:
    return told.with_columns(quantity("units"), quantity("own_excess").alias("excess_units")).drop("own_excess")


def with_fund(sales: pl.DataFrame, fee_lines: pl.DataFrame) -> pl.DataFrame:
    """Sales with `fund`, the fund money of their units, and `suspect_fund`, that of their excess.

    The share is the line's fund_pay x units / the line's cnt, in fen, half-up; null where line or fund is unknown.
    """
    lines = with_fields(fee_lines, "fee_lines", "cnt", "fund_pay")
    money = lines.select("feedetl_sn", "fund_pay", billed=(pl.col("cnt") * UNIT).cast(pl.Int64))
    sales = sales.join(money, on="feedetl_sn", how="left", maintain_order="left")
    # 128 bits, because fen times ten-thousandths of a unit outgrow 64.
    fund, billed = pl.col("fund_pay").cast(pl.Int128), pl.col("billed").cast(pl.Int128)

    def share(units: str) -> pl.Expr:
        part = (2 * fund * pl.min_horizontal(units, "billed").cast(pl.Int128) + billed) // (2 * billed)
        return pl.when(pl.col("billed") > 0).then(part.cast(pl.Int64))

    suspect = pl.when(pl.col("own_excess") > 0).then(share("own_excess")).otherwise(0)
    return sales.with_columns(fund=share("units"), suspect_fund=suspect).drop("fund_pay", "billed")


def suspect_fund() -> pl.Expr:
    """The sum of `suspect_fund` of a group; unknown when any part of it is."""
    known = pl.col("suspect_fund").is_not_null().all()
    return pl.when(known).then(pl.col("suspect_fund").sum())
