"""Deviation of cost (费用偏差): a case far from the mean cost of its DIP group is scored by what it cost.

c = cost of the case / mean cost of its group at hospitals of the same level in the prior year. c below the low band
counts c, up to the high band 1, above it (c - high) + 1; above the review band the case also goes to experts. The
bands 0.5, 2 and 5 are those of an article on the DIP 技术规范 (医保办发〔2020〕50号) and of 广州 2018 (both grade B),
not verified against the text itself. Other cities have others, and whether a bound itself is normal is not written
there: both are options of scheme.yaml. The formulas meet at the high band; at the low one there is a step from 0.5
to 1.
"""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from engine.tables.values import rounded

UNITS = 10**8
LARGE = pl.Decimal(28, 8)


@dataclass(frozen=True)
class Bands:
    """low, high, review: at most 8 decimals. normal: which of low and high are themselves normal. review_at: is the
    review band itself reviewed. decimals: of the factor.
    """

    low: Decimal = Decimal("0.5")
    high: Decimal = Decimal("2")
    review: Decimal = Decimal("5")
    normal: str = "both"
    review_at: bool = False
    decimals: int = 8

    def units(self, name: str) -> int:
        """A band in whole units of 1e-8."""
        return int(getattr(self, name) * UNITS)


def with_means(cases: pl.DataFrame, means: pl.DataFrame) -> pl.DataFrame:
    """Cases (drg, hosp_lv, …) with `mean_fen`, the mean of means (group, hosp_lv, mean_cost_fen); null where none."""
    known = means.select(drg="group", hosp_lv="hosp_lv", mean_fen="mean_cost_fen")
    return cases.join(known, on=["drg", "hosp_lv"], how="left", maintain_order="left")


def group_means(grouping: pl.DataFrame, claims: pl.DataFrame, means: pl.DataFrame, groups: pl.DataFrame):
    """grouping with `mean_fen`, as payment compares costs with: of the group at hospitals of the level of the claim, or
    else of the group; null where the catalogue has neither.

    claims: setl_id, hosp_lv. means and groups: those of a DipScheme.
    """
    levels = claims.select("setl_id", "hosp_lv")
    placed = with_means(grouping.join(levels, on="setl_id", how="left", maintain_order="left"), means)
    every = groups.select(drg="group", _mean="mean_cost_fen").drop_nulls().unique("drg", keep="first")
    placed = placed.join(every, on="drg", how="left", maintain_order="left")
    return placed.with_columns(mean_fen=pl.coalesce("mean_fen", "_mean")).drop("hosp_lv", "_mean")


def deviation(cases: pl.DataFrame, bands: Bands, base_score: int = 1000) -> pl.DataFrame:
    """The cases with what their cost makes of their score; one row a case, in their order.

    cases: weight Decimal(12,8), cost_fen and mean_fen Int64. Adds, as Decimal(28,8): `deviation`, rounded half-up to
    the decimals of the bands; `adjusted`, weight x deviation, half-up to 1e-8, so that it can be worked out again from
    what is shown; `score`, adjusted x base_score. And `review` (Boolean). Without a mean (a new group) or a cost the
    case counts 1 and is not reviewed; without a weight it has no adjusted weight. Whole numbers throughout.
    """
    cost, mean = (pl.col(name).cast(pl.Int128) for name in ("cost_fen", "mean_fen"))
    left = cost * UNITS  # c against a band: cost x 1e8 against band x mean
    low, high, review = (bands.units(name) * mean for name in ("low", "high", "review"))
    below = left < low if bands.normal in ("both", "low") else left <= low
    above = left > high if bands.normal in ("both", "high") else left >= high
    far = left >= review if bands.review_at else left > review
    step = 10**bands.decimals
    share = rounded(cost * step, mean)
    over = rounded((left - high) * step, mean * UNITS) + step
    known = (cost >= 0) & (mean > 0)
    factor = pl.when(known & below).then(share).when(known & above).then(over).otherwise(step).cast(pl.Int128)
    weight = pl.col("weight").cast(pl.Decimal(12, 8)).reinterpret(dtype=pl.Int128)
    cases = cases.with_columns(_factor=factor, review=(known & far).fill_null(False))
    cases = cases.with_columns(_adjusted=rounded(weight * pl.col("_factor"), step))
    return cases.with_columns(
        deviation=_decimal(pl.col("_factor") * (UNITS // step)),
        adjusted=_decimal(pl.col("_adjusted")),
        score=_decimal(pl.col("_adjusted") * base_score),
    ).drop("_factor", "_adjusted")


def _decimal(units: pl.Expr) -> pl.Expr:
    """Whole units of 1e-8 as a decimal."""
    return units.cast(pl.Int128).reinterpret(dtype=LARGE)
