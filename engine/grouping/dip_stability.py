"""How stable a DIP catalogue is: spread of cost in each group, change of weights, groups that hang on one year.

Measures are exact: sums of whole fen, integer roots, fractions rounded half-up to four decimals. No sampling, so two
runs and two orders of rows give the same report.
"""

from collections import defaultdict
from fractions import Fraction
from math import isqrt

import polars as pl

DIGITS = 4


def weighted_means(cases: pl.DataFrame, key: list[str], years: dict[int, int]) -> dict[tuple, Fraction]:
    """The mean cost (fen) of each key: its yearly means weighted by `years`, over the years in which it has cases."""
    yearly: dict[tuple, list[tuple[int, Fraction]]] = defaultdict(list)
    for *values, year, mean in _yearly(cases, key):
        yearly[tuple(values)].append((years[year], mean))
    return {values: sum(w * mean for w, mean in of) / sum(w for w, _ in of) for values, of in yearly.items()}


def _yearly(cases: pl.DataFrame, key: list[str]):
    sums = cases.group_by(*key, "year").agg(total=pl.col("cost").sum(), n=pl.len()).sort(*key, "year")
    return ((*values, Fraction(total, n)) for *values, total, n in sums.iter_rows())


def half_up(value: Fraction, digits: int) -> str:
    """A number as decimal text, rounded half away from zero."""
    scaled = (2 * abs(value.numerator) * 10**digits + value.denominator) // (2 * value.denominator)
    text = str(scaled).zfill(digits + 1)
    whole = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"-{whole}" if value < 0 and scaled else whole


def stability(
    dip: pl.DataFrame,
    own: pl.DataFrame,
    sent: pl.DataFrame,
    counts: pl.DataFrame,
    years: dict[int, int],
    threshold: int,
) -> pl.DataFrame:
    """One row a group of the catalogue in its order, then the candidates: core groups only when a year is left out.

    dip: rows of dip.csv. own: group, year, cost of the cases that weigh a group. sent: group of every case. counts:
    dx, set, year, n. Columns, all text: group, name, kind (core, residual, candidate), cases (of own, all years), sent
    (cases the catalogue sends there), weighted (cases weighted by year), cv (standard deviation / mean), qcd
    ((q3 - q1) / (q3 + q1), which a few dear cases do not move), rse (cv / root of cases: how firmly the mean is
    known), weight, weight_newest and weight_before (by that year alone), change (newest / before - 1), flips_without
    (years without which the group would not be, or would be, core).
    """
    spread = {group: figures for group, *figures in _spread(own).iter_rows()}
    arrived = dict(sent["group"].value_counts().iter_rows())
    weights = _yearly_weights(own, sent, years)
    flips = _flips(counts, years, threshold)
    key = dip.select("group", "name", "kind", "dx", "procedures", "weight", "cases")
    rows = []
    for group, name, kind, dx, procedures, weight, weighted in key.iter_rows():
        n, total, squares, low, high = spread[group]
        without = flips.pop((dx, procedures), "") if kind == "core" else ""
        shown = (str(n), str(arrived.get(group, 0)), weighted, *_dispersion(n, total, squares, low, high), weight)
        rows.append((group, name, kind, *shown, *weights[group], without))
    for (dx, procedures), without in sorted(flips.items()):
        rows.append((f"{dx}:{procedures or '0'}", "", "candidate", *[""] * 10, without))
    return pl.DataFrame(rows, dict.fromkeys(COLUMNS, pl.String), orient="row")


COLUMNS = ("group", "name", "kind", "cases", "sent", "weighted", "cv", "qcd", "rse", "weight", "weight_newest",
           "weight_before", "change", "flips_without")  # fmt: skip


def _spread(own: pl.DataFrame) -> pl.DataFrame:
    """group, cases, sum and sum of squares of cost, lower and upper quartile (by rank, so whole fen)."""
    cost, last = pl.col("cost"), pl.len().cast(pl.Int64) - 1
    return own.sort("group", "cost").group_by("group", maintain_order=True).agg(
        n=pl.len(),
        total=cost.cast(pl.Int128).sum(),
        squares=(cost.cast(pl.Int128) ** 2).sum(),
        low=cost.get(last // 4),
        high=cost.get(last - last // 4),
    )  # fmt: skip


def _dispersion(n: int, total: int, squares: int, low: int, high: int) -> tuple[str, str, str]:
    """cv, qcd and rse; cv and rse are rounded down at the fourth decimal, as integer roots are."""
    scale = 10 ** (2 * DIGITS)
    variance = n * squares - total * total  # n squared times the variance
    cv, rse = (Fraction(isqrt(scale * variance // (m * total * total)), 10**DIGITS) for m in (1, n))
    return half_up(cv, DIGITS), half_up(Fraction(high - low, high + low), DIGITS), half_up(rse, DIGITS)


def _yearly_weights(own: pl.DataFrame, sent: pl.DataFrame, years: dict[int, int]) -> dict[str, tuple[str, str, str]]:
    """weight_newest, weight_before, change of each group; empty where the year or the group in it is missing."""
    overall = {year: mean for year, mean in _yearly(sent, [])}
    weights: dict[str, dict[int, Fraction]] = defaultdict(dict)
    for group, year, mean in _yearly(own, ["group"]):
        weights[group][year] = mean / overall[year]
    newest = max(years)
    told = {}
    for group, of in weights.items():
        now, before = of.get(newest), of.get(newest - 1)
        change = half_up(now / before - 1, DIGITS) if now and before else ""
        told[group] = (*(half_up(weight, 8) if weight else "" for weight in (now, before)), change)
    return told


def _flips(counts: pl.DataFrame, years: dict[int, int], threshold: int) -> dict[tuple[str, str], str]:
    """(dx, set) -> the years without each of which it would be core where it is not, or not core where it is."""
    if len(years) < 2:
        return {}
    weight = pl.col("year").replace_strict(years, return_dtype=pl.Int64)
    part = pl.col("n").cast(pl.Int64) * weight
    sums = counts.group_by("dx", "set").agg(
        whole=part.sum(), **{str(year): part.filter(pl.col("year") == year).sum() for year in years}
    )
    total = sum(years.values())
    is_core = pl.col("whole") >= threshold * total
    flips = [
        pl.when((pl.col("whole") - pl.col(str(year)) >= threshold * (total - years[year])) != is_core).then(
            pl.lit(str(year))
        )
        for year in sorted(years)
    ]
    told = sums.select("dx", "set", pl.concat_str(flips, separator="|", ignore_nulls=True).alias("without"))
    return {(dx, of): without for dx, of, without in told.filter(pl.col("without") != "").iter_rows()}
