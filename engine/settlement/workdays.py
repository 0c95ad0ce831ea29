"""即时结算: how many working days a settlement took from the filing deadline to its payment, and whether too many.

Working days are Monday to Friday but for the holidays, and the weekends swapped for them, of the yearly notices of the
State Council's office (knowledge table `workdays`). A year whose notice is not there is not guessed at. Counted are the
days after the deadline up to the day of payment, that day included (新华社, 16 Oct 2025, grade B: 20 working days from
the day after the filing deadline; the notice on version 2.0 said 30, so the limit is dated).
"""

from datetime import date

import polars as pl

from engine.settlement.dated import On, holding
from engine.settlement.provider_cases import number


def working_days(after: pl.Series, until: pl.Series, calendar: pl.DataFrame) -> pl.Series:
    """Working days later than `after` up to and with `until`, below zero where it lies earlier.

    calendar: day, kind (holiday, workday). Null where a date is missing or a year between has no notice.
    """
    known = calendar.filter(pl.col("day").dt.ordinal_day() == 1)["day"].dt.year()
    if known.is_empty():
        return pl.Series("workdays", [None] * len(after), pl.Int64)
    days = pl.DataFrame({"day": pl.date_range(date(known.min(), 1, 1), date(known.max(), 12, 31), eager=True)})
    days = days.join(calendar.select("day", "kind"), on="day", how="left", maintain_order="left").with_columns(
        works=pl.when(pl.col("kind").is_null())
        .then(pl.col("day").dt.weekday() <= 5)
        .otherwise(pl.col("kind") == "workday"),
        blank=~pl.col("day").dt.year().is_in(known.unique().implode()),
    )
    sums = days.select("day", pl.col("works").cast(pl.Int64).cum_sum(), pl.col("blank").cast(pl.Int64).cum_sum())
    ends = pl.DataFrame({"after": after, "until": until}).cast(pl.Date)
    for name in ("after", "until"):
        ends = ends.join(
            sums.rename({"day": name, "works": f"{name}_works", "blank": f"{name}_blank"}),
            on=name, how="left", maintain_order="left",
        )  # fmt: skip
    told = ends.select(
        workdays=pl.when(pl.col("until_blank") == pl.col("after_blank")).then(
            pl.col("until_works") - pl.col("after_works")
        )
    )
    return told["workdays"]


def instant_clock(payouts: pl.DataFrame, calendar: pl.DataFrame, limits: dict[date, On]) -> pl.DataFrame:
    """The payouts (deadline, paid: dates) with `workdays`, `allowed` and `breach`: more working days than allowed.

    limits: the policy's provider.instant_days, by the day of the deadline. Null where not known or not yet ruled.
    """
    days = working_days(payouts["deadline"], payouts["paid"], calendar)
    payouts = payouts.with_columns(days.alias("workdays"), allowed=holding(limits, number, pl.lit(None), "deadline"))
    return payouts.with_columns(breach=pl.col("workdays") > pl.col("allowed"))
