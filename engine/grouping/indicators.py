"""What an insurance office reads off grouped stays: case mix, indices of cost and days, outliers, deaths.

Money is whole fen, sums of weights are exact decimals, ratios are worked out in 128-bit integers and rounded half-up
once, at the number of decimals named in PLACES; only the terms of the two indices are rounded before, at 12 decimals.
No answer depends on the order of the rows. An amount or a length that is missing counts in no mean.

Terms, over the stays of a unit (a region, an institution, a department of one):

- groups (组数): different DRGs. Only grouped stays have one; the ambiguous group QY is none.
- CMI: sum of the weights over the stays that have a weight.
- cost and time index (费用、时间消耗指数): the unit's mean over the benchmark's mean of the same DRG, weighted by the
  unit's stays: Σ n_k (x̄_k / X̄_k) / Σ n_k. As n_k x̄_k is the unit's sum S_k, a term is S_k N_k / B_k with N_k stays of
  sum B_k in the benchmark. A DRG unknown to the benchmark, or without cost or days there, is left out of both sums.
- outliers (费用极高、极低): cost above `high` or below `low` times the benchmark's mean of the DRG. The national
  specification says above 3 (tertiary) or 2 (secondary hospitals) times and below 0.4 times; Bounds has the bands by
  weight that regions use, which a caller may replace by their own.
- risk of death of a DRG (死亡风险分级): ln of its death rate against the mean and the standard deviation over all DRGs
  with a death: below mean − sd is low (低风险), then to the mean middle low (中低风险), to mean + sd middle high, above
  high; a DRG without a death is of no risk class. Source: the low-risk mortality of the national performance review
  of tertiary public hospitals (国家三级公立医院绩效考核操作手册: 住院死亡率低于平均水平一个标准差的 DRG 组), in the
  logarithmic form of DRG performance reviews. The classes follow from the benchmark's own stays: those of a single
  hospital say little.
"""

from dataclasses import dataclass
from decimal import Context, Decimal

import polars as pl

from engine.tables.dictionary import with_fields

DIED = "5"  # dscg_way
UNITS = {  # level: the columns that tell its units apart
    "regions": (),
    "institutions": ("fixmedins_code",),
    "departments": ("fixmedins_code", "department"),
}
STAY = {"setl_id": pl.String, "fixmedins_code": pl.String, "department": pl.String, "mdc": pl.String, "drg": pl.String,
        "status": pl.String, "weight": pl.Decimal(12, 8), "fee_fen": pl.Int64, "days": pl.Int64,
        "died": pl.Boolean}  # fmt: skip
BENCHMARK = {"drg": pl.String, "mdc": pl.String, "stays": pl.Int64, "costed": pl.Int64, "fee_fen": pl.Int64,
             "stayed": pl.Int64, "days": pl.Int64, "deaths": pl.Int64, "weight": pl.Decimal(12, 8)}  # fmt: skip
RISKS = ("low", "middle_low", "middle_high", "high")
PLACES = {"cmi": 4, "cost_index": 4, "time_index": 4, "mean_days": 2, "percent": 2}
TERM = 10**12  # the terms of an index are whole numbers of this fraction
EXACT = Context(prec=50)
FINE = Decimal("1e-25")
REGION = "_region"  # the column every unit is grouped by, the same in all stays


@dataclass(frozen=True)
class Bounds:
    """When the cost of a stay lies outside, in hundredths of its DRG's mean.

    low: below it. high: (weight up to which it holds, bound) in order; the last one holds for every weight above.
    """

    low: int = 40
    high: tuple[tuple[Decimal | None, int], ...] = ((Decimal(1), 300), (Decimal(2), 250), (None, 200))

    def __str__(self) -> str:
        bands = [f"RW≤{limit:f} ×{times / Decimal(100):f}" for limit, times in self.high[:-1]]
        last = f"{'其余 ' if bands else ''}×{self.high[-1][1] / Decimal(100):f}"
        return f"> {'，'.join([*bands, last])}；< ×{self.low / Decimal(100):f}"


def stays_of(claims: pl.DataFrame, grouping: pl.DataFrame) -> pl.DataFrame:
    """The grouped stays with what the indicators ask: columns of STAY. `claims`, `grouping` are canonical frames.

    The department is the one a patient left from, by name or else by code; days are those of the claim, else between
    admission and discharge, both on one day being one.
    """
    claims = with_fields(claims, "claims")
    stayed = (pl.col("endtime").cast(pl.Date) - pl.col("begntime").cast(pl.Date)).dt.total_days()
    known = claims.select(
        "setl_id",
        "fixmedins_code",
        department=pl.coalesce("dscg_dept_name", "dscg_dept_codg", "adm_dept_name", "adm_dept_codg").fill_null(""),
        fee_fen="medfee_sumamt",
        days=pl.coalesce("act_ipt_days", stayed.clip(1)),
        died=pl.col("dscg_way").eq_missing(DIED),
    )
    joined = grouping.select("setl_id", "mdc", "drg", "status", "weight").join(known, on="setl_id", how="inner")
    grouped = pl.col("status") == "grouped"
    joined = joined.with_columns(pl.when(grouped).then(pl.col(c)).alias(c) for c in ("mdc", "drg", "weight"))
    return joined.select(pl.col(name).cast(dtype) for name, dtype in STAY.items())


def benchmark_of(stays: pl.DataFrame) -> pl.DataFrame:
    """One row per DRG in order of its code: drg, mdc, stays, costed, fee_fen, stayed, days, deaths, weight.

    costed and stayed are the stays whose amount, whose days are known.
    """
    return stays.drop_nulls("drg").group_by("drg").agg(
        pl.col("mdc").min(),
        stays=_count(),
        costed=_count(pl.col("fee_fen").is_not_null()),
        fee_fen=pl.col("fee_fen").sum(),
        stayed=_count(pl.col("days").is_not_null()),
        days=pl.col("days").sum(),
        deaths=_count(pl.col("died")),
        weight=pl.col("weight").max(),
    ).sort("drg")  # fmt: skip


def indicators(
    stays: pl.DataFrame, benchmark: pl.DataFrame | None = None, bounds: Bounds | None = None
) -> dict[str, pl.DataFrame]:
    """The tables regions (one row), institutions, departments, mdcs and drgs, rows in order of their codes.

    `stays` as of stays_of; `benchmark` as of benchmark_of (the drgs of another answer will do), by default the stays
    themselves. Null where there is nothing to divide by.
    """
    benchmark = _with_risk(benchmark_of(stays) if benchmark is None else benchmark)
    judged = _judged(stays, benchmark, bounds or Bounds())
    tables = {level: _of_units(judged, benchmark, list(keys)) for level, keys in UNITS.items()}
    tables["mdcs"] = _by_mdc(judged)
    return tables | {"drgs": _drgs(stays)}


def _count(condition: pl.Expr | None = None) -> pl.Expr:
    return (pl.len() if condition is None else condition.sum()).cast(pl.Int64)


def _ratio(part: pl.Expr, whole: pl.Expr, places: int, times: int = 1) -> pl.Expr:
    """times * part / whole as a decimal of so many places, half away from zero; null where whole is none."""
    top, bottom = part.cast(pl.Int128) * times * 10**places, whole.cast(pl.Int128)
    size = (2 * top.abs() + bottom) // (2 * bottom)
    sign = pl.when(top < 0).then(-1).otherwise(1)
    return pl.when(bottom > 0).then(size * sign).cast(pl.Int128).reinterpret(dtype=pl.Decimal(38, places))


def _percent(part: str, whole: str) -> pl.Expr:
    return _ratio(pl.col(part), pl.col(whole), PLACES["percent"], 100)


# Of single stays


def _judged(stays: pl.DataFrame, benchmark: pl.DataFrame, bounds: Bounds) -> pl.DataFrame:
    """The stays with high and low (null where the benchmark has no mean) and the risk class of their DRG."""
    total = benchmark.select(pl.col("costed").sum(), pl.col("fee_fen").sum()).row(0)
    known = benchmark.filter(pl.col("fee_fen") > 0).select(
        "drg", _stays=pl.col("costed").cast(pl.Int128), _fee="fee_fen", _bound=_bound(bounds, *total)
    )
    cost = pl.col("fee_fen").cast(pl.Int128) * pl.col("_stays") * 100
    risks = benchmark.select("drg", "risk")
    return stays.join(known, on="drg", how="left").join(risks, on="drg", how="left").with_columns(
        pl.lit(1).alias(REGION), high=cost > pl.col("_fee") * pl.col("_bound"), low=cost < pl.col("_fee") * bounds.low
    ).drop("_stays", "_fee", "_bound")  # fmt: skip


def _bound(bounds: Bounds, stays: int, fee: int) -> pl.Expr:
    """The upper bound of each DRG by its weight, or where the scheme gives none by its mean cost over that of all."""
    *bands, (_, last) = bounds.high
    bound = pl.lit(last, pl.Int128)
    own = pl.col("fee_fen").cast(pl.Int128) * stays * 10**8
    for limit, percent in reversed(bands):
        scaled = int(limit.scaleb(8))
        within = own <= pl.col("costed").cast(pl.Int128) * fee * scaled
        below = pl.when(pl.col("weight").is_null()).then(within).otherwise(pl.col("weight") <= limit)
        bound = pl.when(below).then(pl.lit(percent, pl.Int128)).otherwise(bound)
    return bound


def _with_risk(benchmark: pl.DataFrame) -> pl.DataFrame:
    """The benchmark with the risk class of each DRG, null without a death or where no two DRGs with one differ."""
    deadly = benchmark.filter(pl.col("deaths") > 0).sort("drg").select("drg", "deaths", "stays")
    logs = [EXACT.ln(EXACT.divide(Decimal(deaths), Decimal(stays))) for _, deaths, stays in deadly.iter_rows()]
    classes = _classes(logs) if len(set(logs)) > 1 else [None] * len(logs)
    of = pl.DataFrame({"drg": deadly["drg"], "risk": pl.Series(classes, dtype=pl.String)})
    return benchmark.drop("risk", strict=False).join(of, on="drg", how="left", maintain_order="left")


def _classes(logs: list[Decimal]) -> list[str]:
    """The risk class of each logarithm, compared to FINE: a value that lies on a bound is not below it."""
    count = Decimal(len(logs))
    mean = EXACT.divide(_sum(logs), count)
    squares = [EXACT.power(EXACT.subtract(log, mean), 2) for log in logs]
    deviation = EXACT.sqrt(EXACT.divide(_sum(squares), count))
    steps = [step.quantize(FINE) for step in (EXACT.subtract(mean, deviation), mean, EXACT.add(mean, deviation))]
    return [RISKS[sum(log.quantize(FINE) >= step for step in steps)] for log in logs]


def _sum(values: list[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in sorted(values):
        total = EXACT.add(total, value)
    return total


# Of units


def _of_units(judged: pl.DataFrame, benchmark: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    weighted = pl.col("weight").is_not_null()
    counts = {f"{risk}_risk_{what}": _count(pl.col("risk").eq_missing(risk) & of) for risk in RISKS[:2]
              for what, of in (("stays", pl.lit(True)), ("deaths", pl.col("died")))}  # fmt: skip
    sums = judged.group_by(REGION, *keys).agg(
        stays=_count(),
        **{status: _count(pl.col("status") == status) for status in ("grouped", "ambiguous", "ungrouped", "invalid")},
        groups=pl.col("drg").n_unique().cast(pl.Int64) - pl.col("drg").has_nulls().cast(pl.Int64),
        weighted=_count(weighted),
        total_weight=pl.col("weight").cast(pl.Decimal(38, 8)).sum(),
        costed=_count(pl.col("fee_fen").is_not_null()),
        fee_fen=pl.col("fee_fen").sum(),
        stayed=_count(pl.col("days").is_not_null()),
        days=pl.col("days").sum(),
        deaths=_count(pl.col("died")),
        **counts,
        compared=_count(pl.col("high").is_not_null()),
        high=_count(pl.col("high").fill_null(False)),
        low=_count(pl.col("low").fill_null(False)),
    )
    sums = sums.join(_indices(judged, benchmark, keys), on=[REGION, *keys], how="left")
    micro = pl.col("total_weight").reinterpret(dtype=pl.Int128)
    made = sums.select(
        *keys, "stays", "grouped", "ambiguous", "ungrouped", "invalid",
        *(_percent(status, "stays").alias(f"{status}_pct") for status in ("grouped", "ambiguous", "ungrouped")),
        "groups", "weighted", "total_weight",
        _ratio(micro, pl.col("weighted").cast(pl.Int128) * 10**8, PLACES["cmi"]).alias("cmi"),
        "cost_index", "time_index", "costed", "fee_fen",
        _ratio(pl.col("fee_fen"), pl.col("costed"), 0).cast(pl.Int64).alias("mean_fee_fen"),
        "stayed", "days", _ratio(pl.col("days"), pl.col("stayed"), PLACES["mean_days"]).alias("mean_days"),
        "deaths", *counts,
        *(_percent(f"{risk}_risk_deaths", f"{risk}_risk_stays").alias(f"{risk}_risk_death_pct") for risk in RISKS[:2]),
        "compared", "high", "low", *(_percent(side, "compared").alias(f"{side}_pct") for side in ("high", "low")),
    )  # fmt: skip
    return made.sort(keys) if keys else made


def _indices(judged: pl.DataFrame, benchmark: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """cost_index and time_index of each unit."""
    own = judged.drop_nulls("drg").group_by(REGION, *keys, "drg").agg(
        n_fee=_count(pl.col("fee_fen").is_not_null()), fee=pl.col("fee_fen").sum(),
        n_days=_count(pl.col("days").is_not_null()), days=pl.col("days").sum(),
    )  # fmt: skip
    means = benchmark.select("drg", N_fee="costed", B_fee="fee_fen", N_days="stayed", B_days="days")
    terms = own.join(means, on="drg", how="inner").with_columns(
        *(pl.when(pl.col(f"B_{x}") > 0).then(pl.col(f"n_{x}")).alias(f"n_{x}") for x in ("fee", "days")),
        *(_term(x).alias(f"term_{x}") for x in ("fee", "days")),
    )
    return terms.group_by(REGION, *keys).agg(
        _index(f"term_{x}", f"n_{x}", PLACES[name]).alias(name) for name, x in
        (("cost_index", "fee"), ("time_index", "days"))
    )  # fmt: skip


def _term(x: str) -> pl.Expr:
    """S N / B in units of 1/TERM, half-up."""
    own, stays, total = (pl.col(c).cast(pl.Int128) for c in (x, f"N_{x}", f"B_{x}"))
    return pl.when(total > 0).then((2 * own * stays * TERM + total) // (2 * total))


def _index(term: str, stays: str, places: int) -> pl.Expr:
    return _ratio(pl.col(term).sum(), pl.col(stays).sum().cast(pl.Int128) * TERM, places)


def _by_mdc(judged: pl.DataFrame) -> pl.DataFrame:
    """fixmedins_code, mdc, stays, percent of the institution's grouped stays, weighted, total_weight, cmi, fee_fen."""
    keys = ["fixmedins_code", "mdc"]
    sums = judged.drop_nulls("mdc").group_by(keys).agg(
        stays=_count(), groups=pl.col("drg").n_unique().cast(pl.Int64),
        weighted=_count(pl.col("weight").is_not_null()), total_weight=pl.col("weight").cast(pl.Decimal(38, 8)).sum(),
        fee_fen=pl.col("fee_fen").sum(),
    ).with_columns(_of=pl.col("stays").sum().over("fixmedins_code"))  # fmt: skip
    micro = pl.col("total_weight").reinterpret(dtype=pl.Int128)
    return sums.select(
        *keys, "stays", _percent("stays", "_of").alias("percent"), "groups", "weighted", "total_weight",
        _ratio(micro, pl.col("weighted").cast(pl.Int128) * 10**8, PLACES["cmi"]).alias("cmi"), "fee_fen",
    ).sort(keys)  # fmt: skip


def _drgs(stays: pl.DataFrame) -> pl.DataFrame:
    """The benchmark that these stays are for others, with the means and the risk class."""
    return _with_risk(benchmark_of(stays)).with_columns(
        mean_fee_fen=_ratio(pl.col("fee_fen"), pl.col("costed"), 0).cast(pl.Int64),
        mean_days=_ratio(pl.col("days"), pl.col("stayed"), PLACES["mean_days"]),
    )
