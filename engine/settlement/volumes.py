"""The volume of a case: its weight, points or score, step by step, or what its days are worth.

Every step is one short function over columns of whole units of 1e-8, rounded half-up once, in 128-bit integers: 贺州
pays 2.36182972 points a bed-day, so four decimals would not do. Steps of a case (点数法, 浙江 and 金华, grade B; high
outliers by bands of points, grade R; DIP by deviation, grade B):

    base      weight x scale, of a TCM group another weight or an uplift; of an unstable group or none cost / mean
    ordinary  base x coefficient (1 for primary-care and new groups; given, or of the costs of the year before)
    early     base [x coefficient] x cost / mean, at most base: a stay ended early, or a cost below the low bound
    high      ordinary + base x (cost / mean - bound) x percent above the bound for its level and points
    kept      the earlier of two stays in one group within some days keeps a percentage
"""

import polars as pl

from engine.settlement.coefficients import with_coefficients
from engine.settlement.dated import ALL, UNITS, holding
from engine.settlement.money import PERCENT
from engine.settlement.provider_cases import among, by_level, number, of_kinds, told_for
from engine.settlement.provider_policy import BedDay, ByCase, ByCost, Chinese, FixedPrice, Outliers
from engine.settlement.special_review import PLACE, with_quota
from engine.tables.values import rounded

_BIG = pl.Int128


def case_volumes(cases: pl.DataFrame, rules: ByCase, every: pl.DataFrame | None = None) -> pl.DataFrame:
    """The cases of one method with `base`, `coefficient`, `mean_fen`, `mean_from`, `step`, `to_experts`, `kept` and
    `volume`; null volume without a weight.

    every: the cases of all methods, for the means of the prior year; without it what looks at other cases (these means,
    readmission) is left out.
    """
    cases = cases.with_columns(by_cost(rules).alias("by_cost"))
    cases = cases.with_columns(base_points(rules).alias("base"))
    cases = with_coefficients(cases, rules, None if every is None else _whole_stays(every, rules)).with_columns(
        ordinary=ordinary()
    )
    cases = with_means(cases, rules, every)
    cases = cases.with_columns(step_of(rules).alias("step"), bound_of(rules).alias("bound"), experts(rules))
    if every is not None:
        cases = within_quota(cases, rules)
    cases = cases.with_columns(volume_of(rules).alias("volume"), kept=number(PERCENT), fallback=by_item(rules))
    cases = cases.with_columns(stepped="volume")
    return cases if every is None else readmitted(cases, rules)


def by_cost(rules: ByCase) -> pl.Expr:
    """The weight that its cost gives a case of an unstable group or of none, in units of 1e-8; null for all others."""
    cost = pl.col("cost_fen").cast(_BIG)

    def weight(rule: ByCost) -> pl.Expr:
        own = among("group", rule.groups)
        own = own | pl.col("weight").is_null() if rule.ungrouped else own
        return pl.when(own & (cost >= 0)).then(rounded(cost * UNITS * rule.percent, pl.lit(rule.mean * PERCENT, _BIG)))

    found = holding(rules.by_cost, weight, pl.lit(None, _BIG))
    return pl.when(~pl.col("refund") & pl.col("fallback").is_null()).then(found)


def base_points(rules: ByCase) -> pl.Expr:
    """基准点数 = weight x scale; a TCM preferred group has its own weight or an uplift in percent."""
    scale = holding(rules.scale, number, number(UNITS)).cast(_BIG)
    weight = holding(rules.chinese_groups, lambda groups: _first(groups, "weight"), pl.lit(None, pl.Int64))
    uplift = holding(rules.chinese_groups, lambda groups: _first(groups, "percent"), pl.lit(None, pl.Int64))
    own = pl.when(pl.col("units").is_not_null()).then(pl.coalesce(weight, "units"))
    points = rounded(own * scale * uplift.fill_null(PERCENT), UNITS * PERCENT)
    return pl.coalesce(rounded(pl.col("by_cost") * scale, UNITS), points)


def _first(groups: list[Chinese], field: str) -> pl.Expr:
    """The field of the first TCM line that fits a case: its group, its kind, or both where both are written."""
    result = pl.lit(None, pl.Int64)
    for line in reversed(groups):
        own = [among("group", line.groups)] if line.groups else []
        own += [of_kinds(line.case_kinds)] if line.case_kinds else []
        result = pl.when(pl.all_horizontal(own)).then(pl.lit(getattr(line, field), pl.Int64)).otherwise(result)
    return result


def with_means(cases: pl.DataFrame, rules: ByCase, every: pl.DataFrame | None) -> pl.DataFrame:
    """The mean cost of each case's group and where it is from: the grouping, the policy, the claims of the year before.

    A group without any is never an outlier: there is nothing to compare with. Where the measure is the standard of the
    case itself, that stands in place of the mean.
    """
    tables = holding(rules.means, _given, pl.lit(None, pl.Int64))
    cases = cases.with_columns(_given=tables, _prior=pl.lit(None, pl.Int64))
    if rules.means_of_prior_year != "no" and every is not None:
        keys = ["group", "hosp_lv"] if rules.means_of_prior_year == "level" else ["group"]
        cases = cases.drop("_prior").join(
            prior_means(every, rules, keys), on=[*keys, "year"], how="left", maintain_order="left"
        )
    standard = rounded(pl.col("ordinary").cast(_BIG) * pl.col("rate"), UNITS).cast(pl.Int64)
    by_standard = holding(rules.outliers, lambda o: pl.lit(o.measure == "standard"), pl.lit(False))
    means = {"grouping": pl.col("mean_fen"), "policy": pl.col("_given"), "prior_year": pl.col("_prior")}
    sources = {"standard": pl.when(by_standard & (pl.col("rate") >= 0)).then(standard)}
    sources |= {name: pl.when(~by_standard).then(mean) for name, mean in means.items()}
    known = {name: pl.when(mean > 0).then(mean) for name, mean in sources.items()}
    return cases.with_columns(
        mean_fen=pl.coalesce(*known.values()),
        mean_from=pl.coalesce(pl.when(mean.is_not_null()).then(pl.lit(name)) for name, mean in known.items()),
    ).drop("_given", "_prior")


def _given(means: dict[str, dict[str, int]]) -> pl.Expr:
    flat = {f"{group}|{level}": fen for group, by in means.items() for level, fen in by.items()}
    return pl.coalesce(
        told_for(pl.concat_str("group", pl.lit("|"), "hosp_lv"), flat),
        told_for(pl.concat_str("group", pl.lit(f"|{ALL}")), flat),
    )


def prior_means(cases: pl.DataFrame, rules: ByCase, keys: list[str]) -> pl.DataFrame:
    """Mean cost in fen, half-up, of the standing stays of each group that did not end early, for the year after."""
    whole = _whole_stays(cases, rules)
    mean = rounded(pl.col("cost_fen").cast(_BIG).sum(), pl.len().cast(_BIG)).cast(pl.Int64)
    return whole.group_by(*keys, pl.col("year") + 1).agg(_prior=mean)


def _whole_stays(cases: pl.DataFrame, rules: ByCase) -> pl.DataFrame:
    """The standing grouped stays that did not end early: those whose costs count for a year."""
    early = holding(rules.outliers, lambda o: among("dscg_way", o.early_ways), pl.lit(False))
    return cases.filter(~pl.col("refund") & pl.col("refunded_on").is_null() & pl.col("group").is_not_null() & ~early)


def step_of(rules: ByCase) -> pl.Expr:
    """early, low, high, by_cost or ordinary. Costs are compared as cost x 1e8 with bound x mean, so exactly."""
    by_cost = pl.when(pl.col("by_cost").is_not_null()).then(pl.lit("by_cost"))
    return pl.coalesce(by_cost, holding(rules.outliers, _step, pl.lit("ordinary")))


def _step(outliers: Outliers) -> pl.Expr:
    cost, mean = pl.col("cost_fen").cast(_BIG) * UNITS, pl.col("mean_fen").cast(_BIG)
    low = mean * outliers.low
    below = (cost <= low) if outliers.at_low == "low" else (cost < low)
    high = cost > mean * _bound(outliers)
    known = pl.col("mean_fen").is_not_null() & (pl.col("cost_fen") >= 0)
    return (
        pl.when(known & among("dscg_way", outliers.early_ways))
        .then(pl.lit("early"))
        .when(known & below)
        .then(pl.lit("low"))
        .when(known & high)
        .then(pl.lit("high"))
        .otherwise(pl.lit("ordinary"))
    )


def bound_of(rules: ByCase) -> pl.Expr:
    return holding(rules.outliers, _bound, pl.lit(None, pl.Int64))


def _bound(outliers: Outliers) -> pl.Expr:
    """How many times the mean a case may cost, by its level and base points; null where the policy sets no bound."""

    def of_bands(bands) -> pl.Expr:
        result = number(bands[0][1])
        for over, times in bands[1:]:
            result = pl.when(pl.col("base") > over).then(number(times)).otherwise(result)
        return result

    return by_level(outliers.high, of_bands).cast(pl.Int64)


def experts(rules: ByCase) -> pl.Expr:
    """Whether a case costs so much that experts look at it."""
    cost, mean = pl.col("cost_fen").cast(_BIG) * UNITS, pl.col("mean_fen").cast(_BIG)
    past = holding(rules.outliers, lambda o: cost > mean * pl.lit(o.review, pl.Int64), pl.lit(False))
    return past.fill_null(False).alias("to_experts")


def within_quota(cases: pl.DataFrame, rules: ByCase) -> pl.DataFrame:
    """Of the costly cases only so many stay costly as the quota of their institution and period lets: those that cost
    most above the measure, of equal ones the lower setl_id. The others are paid as ordinary.
    """
    if not any(on.value.high_quota for on in rules.outliers.values()):
        return cases
    counted = with_quota(cases, rules.outliers, lambda o: o.high_quota)
    high = counted.filter("_stands", pl.col("step") == "high", pl.col("_period").is_not_null())
    high = high.sort(*PLACE, pl.col("mean_fen") - pl.col("cost_fen"), "setl_id")
    over = high.filter(pl.int_range(1, pl.len() + 1).over(PLACE) > pl.col("_quota"))["setl_id"]
    left = pl.col("setl_id").is_in(over.implode())
    return cases.with_columns(step=pl.when(left).then(pl.lit("over_quota")).otherwise("step"))


def by_item(rules: ByCase) -> pl.Expr:
    """The reason for which a case far from the mean is paid by item, where the policy says it is."""

    def where(outliers: Outliers) -> pl.Expr:
        steps = [*["low"] * (outliers.low_pays == "item"), *["high"] * (outliers.high_pays == "item")]
        return pl.when(pl.col("step").is_in(steps)).then(pl.lit("outlier"))

    return pl.coalesce("fallback", holding(rules.outliers, where, pl.lit(None, pl.String)))


def ordinary() -> pl.Expr:
    return rounded(pl.col("base") * pl.col("coefficient"), UNITS)


def volume_of(rules: ByCase) -> pl.Expr:
    """The points of the step of each case, before readmission; null for an outlier that is paid by item."""
    return holding(rules.outliers, lambda o: _volume(o, pl.col("ordinary")), pl.col("ordinary")).cast(pl.Int64)


def _volume(outliers: Outliers, ordinary: pl.Expr) -> pl.Expr:
    base, cost, mean = (pl.col(name).cast(_BIG) for name in ("base", "cost_fen", "mean_fen"))
    own, one = pl.col("coefficient").cast(_BIG), pl.lit(UNITS, _BIG)
    early = rounded(base * cost * (own if outliers.early_with_coefficient else one), mean * UNITS)
    counted = cost * UNITS
    if outliers.most is not None:
        counted = pl.min_horizontal(counted, pl.max_horizontal(mean * outliers.most, pl.col("bound") * mean))
    above = rounded(base * (counted - pl.col("bound") * mean), mean * UNITS)
    if outliers.high_percent != PERCENT:
        above = rounded(above * outliers.high_percent, PERCENT)
    added = rounded(above * own, UNITS) if outliers.high_with_coefficient else above
    none, by_item = pl.lit(None, _BIG), "item"
    return (
        pl.when(pl.col("step") == "early")
        .then(pl.min_horizontal(early, base))
        .when(pl.col("step") == "low")
        .then(none if outliers.low_pays == by_item else pl.min_horizontal(early, base))
        .when(pl.col("step") == "high")
        .then(none if outliers.high_pays == by_item else ordinary + added)
        .otherwise(ordinary)
    )


def readmitted(cases: pl.DataFrame, rules: ByCase) -> pl.DataFrame:
    """The earlier of two stays of a person in one group within some days keeps a percentage of its points.

    The days are those from its discharge to the next admission, the last day included. Order: admission, then setl_id.
    """
    days, keep = (holding(rules.readmission, lambda r, f=f: number(getattr(r, f)), number(w)).alias(f"_{f}")
                  for f, w in (("days", -1), ("keep", PERCENT)))  # fmt: skip
    exempt = holding(rules.readmission, lambda r: among("group", r.exempt_groups), pl.lit(True))
    anywhere = holding(rules.readmission, lambda r: pl.lit(r.across_institutions), pl.lit(False))
    counts = (
        ~pl.col("refund") & pl.col("refunded_on").is_null() & pl.all_horizontal(pl.col("psn_no", "group").is_not_null())
    )
    own = cases.filter(counts).with_columns(days, keep, _exempt=exempt)
    own = own.sort("psn_no", "group", "begntime", "setl_id")
    back = pl.col("begntime").dt.date().shift(-1)
    here, there = (back.over(*keys, mapping_strategy="group_to_rows")
                   for keys in (["psn_no", "group", "fixmedins_code"], ["psn_no", "group"]))  # fmt: skip
    gap = (pl.when(anywhere).then(there).otherwise(here) - pl.col("endtime").dt.date()).dt.total_days()
    halved = ~pl.col("_exempt") & gap.is_between(0, pl.col("_days"))
    again = own.select("setl_id", _kept=pl.when(halved).then("_keep"))
    cases = cases.join(again, on="setl_id", how="left", maintain_order="left")
    cases = cases.with_columns(kept=pl.coalesce("_kept", "kept")).drop("_kept")
    return cases.with_columns(
        rounded(pl.col("volume").cast(_BIG) * pl.col("kept"), PERCENT).cast(pl.Int64).alias("volume")
    )


def day_volumes(cases: pl.DataFrame, bed_days: dict) -> pl.DataFrame:
    """The bed-day cases with `volume` in points or `given_fen`, the standard where days are worth yuan, assessed."""
    found = {"points": pl.lit(None, _BIG), "yuan": pl.lit(None, _BIG)}
    for kind in [*(k for k in bed_days if k != ALL), *(k for k in bed_days if k == ALL)][::-1]:
        own = pl.lit(True) if kind == ALL else pl.col(f"kind {kind}")
        for unit, before in found.items():
            worth = holding(bed_days[kind], lambda rules, unit=unit: _worth(rules, unit), pl.lit(None, _BIG))
            found[unit] = pl.when(own).then(worth).otherwise(before)
    return cases.with_columns(
        volume=found["points"].cast(pl.Int64), given_fen=found["yuan"].cast(pl.Int64), step=pl.lit("days")
    )


def fixed_standards(cases: pl.DataFrame, prices: dict) -> pl.DataFrame:
    """The cases of fixed price with `given_fen`, the price of their kind and level, and a volume of one each."""
    given = pl.lit(None, pl.Int64)
    for kind in [*(k for k in prices if k != ALL), *(k for k in prices if k == ALL)][::-1]:
        own = pl.lit(True) if kind == ALL else pl.col(f"kind {kind}")
        given = pl.when(own).then(holding(prices[kind], _price, pl.lit(None, pl.Int64))).otherwise(given)
    return cases.with_columns(given_fen=given, volume=number(UNITS), step=pl.lit("fixed"))


def _price(rules: FixedPrice) -> pl.Expr:
    price = by_level(rules.prices, number).cast(pl.Int64)
    dearer = price > pl.col("cost_fen")
    return pl.when(dearer).then("cost_fen").otherwise(price) if rules.up_to_cost else price


def _worth(rules: BedDay, unit: str) -> pl.Expr:
    """Days x what a day is worth, band by band, x the percent that the institution's assessment leaves; null without
    days, since a claim that does not say when the stay ended cannot be paid by the day.
    """

    def of_bands(bands) -> pl.Expr:
        tops = [over for over, *_ in bands[1:]] + [None]
        parts = [
            ((pl.col("days") if top is None else pl.min_horizontal("days", number(top))) - over).clip(0).cast(_BIG)
            * worth
            for (over, of, worth), top in zip(bands, tops, strict=True)
            if of == unit
        ]
        return pl.when(pl.col("days") > 0).then(pl.sum_horizontal(parts)) if parts else pl.lit(None, _BIG)

    assessed = told_for("fixmedins_code", rules.assessment).fill_null(PERCENT)
    return rounded(by_level(rules.days, of_bands).cast(_BIG) * assessed, PERCENT)
