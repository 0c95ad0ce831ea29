"""Pre-payment by the month and the clearing of a year: 按月预拨, 年终清算.

The sequence is: payable, with the shares of surplus and overrun, times the quality factor, less what was prepaid, less
deductions. Everything a year's clearing adds or takes is a row of its own in the last month an institution has in that
year, so that no month is computed twice and the months of a year sum to its clearing.
"""

from datetime import date

import polars as pl

from engine.settlement.dated import holding
from engine.settlement.money import NO_LIMIT, PERCENT
from engine.settlement.provider_cases import number, told_for
from engine.settlement.provider_policy import AdvanceFund, Alliance, Clearing, SharedBand
from engine.tables.values import rounded

_BIG = pl.Int128
DEDUCTIONS = {"fixmedins_code": pl.String, "year": pl.Int32, "amount": pl.Int64}  # fen
ROW = {
    "fixmedins_code": pl.String,
    "month": pl.String,
    "method": pl.String,
    "cases": pl.Int64,
    "volume": pl.Int128,
    "payable_fen": pl.Int64,
    "charged_fen": pl.Int64,
    "prepaid_fen": pl.Int64,
}


def prepayment(clearing: Clearing) -> pl.Expr:
    """What was paid on account of a month, half-up: a share of what the statements charge to the funds, or of what is
    payable.

    Of rows with `month`, `charged_fen` and `payable_fen`; the share is that of the first day of the month, none before
    the first.
    """
    share = holding(clearing.prepaid, number, number(0), _first_day("month"))
    return rounded(pl.col(f"{clearing.prepaid_of}_fen").cast(_BIG) * share, PERCENT).cast(pl.Int64)


def _first_day(month: str) -> pl.Expr:
    return (pl.col(month) + "-01").str.to_date("%Y-%m-%d")


def adjustments(
    months: pl.DataFrame, paid: pl.DataFrame, clearing: Clearing, deductions: pl.DataFrame | None = None
) -> pl.DataFrame:
    """What the clearing of each year adds or takes, as rows (ROW) of method shared, quality, alliance or deduction.

    months: provider_payment before clearing, with charged_fen. paid: case_payments. Nothing that is zero has a row.
    """
    years = months.with_columns(year=pl.col("month").str.head(4).cast(pl.Int32)).group_by("fixmedins_code", "year")
    years = years.agg(
        pl.col("month").max(),
        payable_fen=pl.col("payable_fen").sum(),
        grouped_fen=pl.col("payable_fen").filter(pl.col("method") != "item").sum(),
        charged_fen=pl.col("charged_fen").filter(pl.col("method") != "item").sum(),
    ).with_columns(day=_first_day("month"))
    years = years.with_columns(shared=shared(clearing).cast(pl.Int64))
    years = years.with_columns(quality=quality(clearing).cast(pl.Int64))
    key = ["fixmedins_code", "year"]
    years = years.join(alliances(paid, clearing), on=key, how="full", coalesce=True)
    years = years.join(deducted(deductions), on=key, how="full", coalesce=True)
    december = pl.format("{}-12", pl.col("year"))  # of an institution that was paid nothing
    years = years.with_columns(pl.coalesce("month", december))
    parts = ("shared", "quality", "alliance", "deduction")
    return pl.concat(extra_rows(years.select("fixmedins_code", "month", payable_fen=name), name) for name in parts)


def extra_rows(amounts: pl.DataFrame, method: str) -> pl.DataFrame:
    """Amounts (fixmedins_code, month, payable_fen) as rows of provider_payment without cases; zeros have none."""
    blank = {"cases": number(0), "charged_fen": number(0), "prepaid_fen": number(0), "volume": pl.lit(None, _BIG)}
    some = amounts.filter(pl.col("payable_fen") != 0).with_columns(**blank, method=pl.lit(method))
    return some.select(*ROW).cast(ROW)


def shared(clearing: Clearing) -> pl.Expr:
    """结余留用, 超支分担: of what is charged as a share of what is payable, band by band.

    Charged below payable: of the part of the surplus in each band the institution keeps `keep` percent and the fund
    takes the rest back. Charged above: of the part of the overrun in each band the fund bears `share` percent. Parts
    are of the amount in the band, not of the whole, so that a fen more charged never costs the institution a fen more.
    Where texts say so (`bands_take: whole`) the band in which the charged lies has all of the surplus or overrun; a
    bound belongs to the band on the side of 100.
    """
    return holding(clearing.bands, _shared if clearing.bands_take == "part" else _shared_whole, number(0))


def _shared_whole(bands: list[SharedBand]) -> pl.Expr:
    charged, payable = pl.col("charged_fen").cast(_BIG), pl.col("grouped_fen").cast(_BIG)
    found = number(0)
    for band in bands:
        lo, hi = payable * band.lo, payable * (NO_LIMIT if band.hi == "none" else band.hi)
        if band.lo >= PERCENT:
            here, percent = (charged * PERCENT > lo) & (charged * PERCENT <= hi), band.share
        else:
            here, percent = (charged * PERCENT >= lo) & (charged * PERCENT < hi), PERCENT - band.keep
        found = pl.when(here).then(rounded((charged - payable) * percent, PERCENT)).otherwise(found)
    return pl.when((payable > 0) & (charged >= 0)).then(found).otherwise(0)


def _shared(bands: list[SharedBand]) -> pl.Expr:
    charged, payable = pl.col("charged_fen").cast(_BIG) * PERCENT, pl.col("grouped_fen").cast(_BIG)
    parts = []
    for band in bands:
        lo, hi = payable * band.lo, payable * (NO_LIMIT if band.hi == "none" else band.hi)
        if band.lo >= PERCENT:
            parts.append((pl.min_horizontal(charged, hi) - lo).clip(0) * band.share)
        else:
            parts.append((hi - pl.max_horizontal(charged, lo)).clip(0) * (band.keep - PERCENT))
    return (
        pl.when((payable > 0) & (charged >= 0)).then(rounded(pl.sum_horizontal(parts), PERCENT * PERCENT)).otherwise(0)
    )


def quality(clearing: Clearing) -> pl.Expr:
    """The quality factor on what is payable after sharing: what it adds or takes, half-up."""
    factor = holding(clearing.quality, lambda by: told_for("fixmedins_code", by), pl.lit(None, pl.Int64))
    whole = (pl.col("payable_fen") + pl.col("shared")).cast(_BIG)
    return rounded(whole * (factor.fill_null(PERCENT) - PERCENT), PERCENT)


def alliances(paid: pl.DataFrame, clearing: Clearing) -> pl.DataFrame:
    """医共体: fixmedins_code of the lead, year, `alliance`: what its lump sum leaves of surplus or overrun.

    balance = budget − what any institution is paid for the persons of the areas (members' own and outflow). Of a
    surplus the lead gets `keep` percent on top of what members were paid; of an overrun it bears what the fund does not
    share.
    """
    found = [pl.DataFrame(schema={"fixmedins_code": pl.String, "year": pl.Int32, "alliance": pl.Int64})]
    rows = alliance_years(paid, clearing)
    if rows.height:
        found.append(rows.group_by("fixmedins_code", "year").agg(pl.col("alliance").sum()))
    return pl.concat(found)


def alliance_years(paid: pl.DataFrame, clearing: Clearing) -> pl.DataFrame:
    """One row per alliance and year: fixmedins_code (lead), year, name, budget_fen, own_fen, outflow_fen, balance_fen,
    alliance (what the lead gets or bears).
    """
    rows = []
    years = sorted(paid["year"].unique())
    for year in years:
        in_force = [on.value for first, on in clearing.alliances.items() if first <= date(year, 1, 1)]
        rows += [_alliance_year(paid, year, name, one) for name, one in (in_force[-1] if in_force else {}).items()]
    return pl.concat(rows) if rows else pl.DataFrame()


def _alliance_year(paid: pl.DataFrame, year: int, name: str, one: Alliance) -> pl.DataFrame:
    theirs = pl.col("insu_admdvs").is_in(one.areas) & (pl.col("year") == year)
    own = theirs & pl.col("fixmedins_code").is_in(one.members)
    sums = paid.select(
        own_fen=pl.col("payable_fen").filter(own).sum(), outflow_fen=pl.col("payable_fen").filter(theirs & ~own).sum()
    )
    balance = pl.lit(one.budget, pl.Int64) - pl.col("own_fen") - pl.col("outflow_fen")
    return sums.with_columns(balance.alias("balance_fen")).select(
        pl.lit(one.lead).alias("fixmedins_code"),
        pl.lit(year, pl.Int32).alias("year"),
        pl.lit(name).alias("name"),
        pl.lit(one.budget, pl.Int64).alias("budget_fen"),
        "own_fen",
        "outflow_fen",
        "balance_fen",
        pl.when(pl.col("balance_fen") >= 0)
        .then(rounded(pl.col("balance_fen") * one.keep, PERCENT))
        .otherwise(rounded(pl.col("balance_fen") * (PERCENT - one.share), PERCENT))
        .alias("alliance"),
    )


def deductions_of(recoveries: pl.DataFrame) -> pl.DataFrame:
    """DEDUCTIONS of the earlier decisions (prior_recoveries) that a clearing takes: channels audit_deduction, clearing.

    Money that came back otherwise (self_return, inspection) was paid in and is not taken a second time; a year's
    deduction is of the day of recovery. A region must not write the same decision in clearing_deductions too.
    """
    of_clearing = recoveries.filter(pl.col("channel").is_in(["audit_deduction", "clearing"]))
    return of_clearing.select("fixmedins_code", year=pl.col("recover_date").dt.year(), amount="amount").cast(DEDUCTIONS)


def deducted(deductions: pl.DataFrame | None) -> pl.DataFrame:
    """fixmedins_code, year, `deduction`: what decided findings take of each institution and year."""
    if deductions is None:
        deductions = pl.DataFrame(schema=DEDUCTIONS)
    taken = deductions.select(*DEDUCTIONS).cast(DEDUCTIONS).group_by("fixmedins_code", "year")
    return taken.agg(deduction=-pl.col("amount").sum())


def advance_fund(funds: pl.DataFrame, rule: AdvanceFund) -> pl.DataFrame:
    """预付金: fund, `months` in reserve, `eligible` and `amount_fen`, a month's mean spend of the years the rule says.

    funds: one row per fund with fund, balance_fen (cumulative), spent_fen (list, one per past year, latest first),
    last_year_fen and forecast_fen (current balance of last year and of the coming twelve months; below zero is a
    deficit). Eligible with the months the rule asks of that fund and no deficit behind or ahead (国家医保局办公室,
    财政部办公厅, 11 Nov 2024, grade B: 职工 12 months, 居民 6).
    """
    latest = pl.col("spent_fen").list.first().cast(_BIG)
    past = pl.col("spent_fen").list.head(rule.mean_of_years)
    needed = told_for("fund", rule.months)
    reserve = pl.col("balance_fen").cast(_BIG) * 12
    enough = (reserve >= needed * latest) & (latest > 0)
    sound = (pl.col("last_year_fen") >= 0) & (pl.col("forecast_fen") >= 0)
    eligible = (enough & sound).fill_null(False)
    mean = rounded(past.list.sum().cast(_BIG), 12 * past.list.len().cast(_BIG)).cast(pl.Int64)
    hundredths = rounded(reserve * 100, latest)
    return funds.select(
        "fund",
        (hundredths.cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, 2)) / 100).cast(pl.Decimal(12, 2)).alias("months"),
        eligible.alias("eligible"),
        pl.when(eligible).then(mean).otherwise(0).alias("amount_fen"),
    )
