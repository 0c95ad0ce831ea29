"""机构系数, 差异系数: what the same group is worth at one institution or level as against all others.

A coefficient is given by the policy, or derived from the costs of the year before (金华 2017, grade B: the mean cost of
the group at the institution over that at all institutions, 1 for a new group). The nearest counts: given for the group
at the institution or level; 1 for primary-care groups (基层病种同病同价) and groups said to be new; derived; given for
the institution, for its level; 1.
"""

import polars as pl

from engine.settlement.dated import UNITS, holding
from engine.settlement.money import NO_LIMIT
from engine.settlement.provider_cases import among, number, told_for
from engine.settlement.provider_policy import ByCase, Coefficients
from engine.tables.values import rounded

_BIG = pl.Int128


def with_coefficients(cases: pl.DataFrame, rules: ByCase, every: pl.DataFrame | None) -> pl.DataFrame:
    """The cases with `coefficient` in units of 1e-8 and `coefficient_from`: by_cost, primary (or new), group,
    prior_year, place, or none.

    every: the cases of all methods, as volumes.whole_stays left them; without it nothing is derived.
    """
    nothing = pl.lit(None, pl.Int64)
    primary = holding(rules.primary_groups, lambda groups: among("group", groups), pl.lit(False))
    new = holding(rules.coefficient, lambda table: among("group", table.new_groups), pl.lit(False))
    cases = _with_derived(cases, rules, every)
    sources = {
        "by_cost": pl.when(pl.col("by_cost").is_not_null()).then(number(UNITS)),
        "primary": pl.when(primary | new).then(number(UNITS)),
        "group": holding(rules.coefficient, _of_group, nothing),
        "prior_year": pl.col("_derived"),
        "place": holding(rules.coefficient, _of_place, nothing),
        "none": number(UNITS),
    }
    return cases.with_columns(
        coefficient=pl.coalesce(*sources.values()),
        coefficient_from=pl.coalesce(pl.when(v.is_not_null()).then(pl.lit(k)) for k, v in sources.items()),
    ).drop("_derived")


def _of_group(table: Coefficients) -> pl.Expr:
    given = {
        f"{group}|{name}": value
        for group, places in table.by_group.items()
        for name, value in [
            *((f"institution {key}", v) for key, v in places.institutions.items()),
            *((f"level {key}", v) for key, v in places.levels.items()),
        ]
    }
    return pl.coalesce(
        told_for(pl.concat_str("group", pl.lit("|institution "), "fixmedins_code"), given),
        told_for(pl.concat_str("group", pl.lit("|level "), "hosp_lv"), given),
    )


def _of_place(table: Coefficients) -> pl.Expr:
    return pl.coalesce(told_for("fixmedins_code", table.institutions), told_for("hosp_lv", table.levels))


def _with_derived(cases: pl.DataFrame, rules: ByCase, every: pl.DataFrame | None) -> pl.DataFrame:
    """The cases with `_derived`, the coefficient that the year before gives their group, where the policy says so."""
    if every is None or not rules.coefficient_of_prior_year:
        return cases.with_columns(_derived=pl.lit(None, pl.Int64))
    for name, of in (("_at_institution", ["group", "fixmedins_code"]), ("_at_level", ["group", "hosp_lv"])):
        told = _ratios(every, of).rename({n: f"{name}{n}" for n in ("ratio", "fewest")})
        cases = cases.join(told, on=[*of, "year"], how="left", maintain_order="left")

    def bounded(rule) -> pl.Expr:
        here = f"_at_{rule.per}"
        most = NO_LIMIT if rule.most is None else rule.most
        within = pl.col(f"{here}ratio").clip(rule.least, most)
        return pl.when(pl.col(f"{here}fewest") >= rule.least_cases).then(within)

    derived = holding(rules.coefficient_of_prior_year, bounded, pl.lit(None, pl.Int64))
    return cases.with_columns(_derived=derived).select(pl.exclude("^_at_.*$"))


def _ratios(every: pl.DataFrame, of: list[str]) -> pl.DataFrame:
    """Group, place and year after: `ratio` = mean cost there / mean cost of the group everywhere, half-up to 1e-8 once,
    and `fewest`, the cases there.
    """
    sums = [pl.col("cost_fen").cast(_BIG).sum().alias("_cost"), pl.len().cast(_BIG).alias("_n")]
    here = every.drop_nulls(of).group_by(*of, pl.col("year") + 1).agg(sums)
    whole = every.group_by("group", pl.col("year") + 1).agg(sums)
    both = here.join(whole, on=["group", "year"], suffix="_all")
    ratio = rounded(pl.col("_cost") * pl.col("_n_all") * UNITS, pl.col("_n") * pl.col("_cost_all"))
    return both.select(*of, "year", ratio=ratio.cast(pl.Int64), fewest=pl.col("_n").cast(pl.Int64))
