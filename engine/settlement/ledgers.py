"""往来账: what moves between funds, places, suppliers and insurers beside the statements of persons and institutions.

One table for all books: who owes whom how much for which month or year, and on what it rests. Every book is a short
function from the tables it needs to rows of LEDGER; a book without its table or without its clause has no rows.
Amounts are fen and always what the payer pays the payee; an amount below zero goes the other way.
"""

from collections.abc import Mapping

import polars as pl

from engine.settlement.clauses import Insurer
from engine.settlement.clearing import advance_fund
from engine.settlement.cross_region import care_ledger, check_tied, home_ledger, is_away
from engine.settlement.dated import holding
from engine.settlement.direct_settlement import supplier_payments
from engine.settlement.lookup import amount_of
from engine.settlement.money import PERCENT
from engine.settlement.policy import Policy
from engine.settlement.provider_cases import number
from engine.settlement.provider_policy import Clearing, Provider
from engine.settlement.workdays import instant_clock
from engine.tables.dictionary import with_fields
from engine.tables.values import rounded

LEDGER = {
    "ledger": pl.String, "period": pl.String, "payer": pl.String, "payee": pl.String, "item": pl.String,
    "psn_no": pl.String, "ref": pl.String, "cases": pl.Int64, "amount_fen": pl.Int64, "note": pl.String,
}  # fmt: skip
FUND, PERSON = "医保基金", "参保人"


def entries(frame: pl.DataFrame, ledger: str, **columns: pl.Expr | str) -> pl.DataFrame:
    """Rows of LEDGER; a column that is not given is null, `cases` one, and a plain text stands for itself."""
    given = {name: pl.lit(value) if isinstance(value, str) else value for name, value in columns.items()}
    given = {"cases": number(1), **given, "ledger": pl.lit(ledger)}
    return frame.select(given.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in LEDGER.items())


def summed(books: list[pl.DataFrame]) -> pl.DataFrame:
    """All books as one in a total order, rows that differ in nothing but cases and amounts put together."""
    rows = pl.concat([pl.DataFrame(schema=LEDGER), *books])
    keys = [name for name in LEDGER if name not in ("cases", "amount_fen")]
    return rows.group_by(keys).agg(pl.col("cases", "amount_fen").sum()).select(*LEDGER).sort(keys)


def region_books(
    paid: pl.DataFrame, payments: pl.DataFrame, by_year: pl.DataFrame, policy: Policy,
    tables: Mapping[str, pl.LazyFrame], knowledge: Mapping[str, pl.DataFrame],
) -> list[pl.DataFrame]:  # fmt: skip
    """The books of the whole region.

    paid: provider.paid_cases; payments: provider_payment; by_year: year, hifmi_pay_fen; tables: the canonical ones;
    knowledge: direct_deliveries, funds, fund_payouts, workdays.
    """
    books = [
        direct_settlement(knowledge["direct_deliveries"]),
        advance(knowledge["funds"], policy.provider),
        payouts(knowledge["fund_payouts"], knowledge["workdays"], policy.provider),
        to_institutions(paid, payments, policy.provider.clearing),
    ]
    if is_away(paid).any():
        books.append(cross_region(paid, policy.provider))
    if policy.catastrophic and policy.catastrophic.insurer:
        books.append(catastrophic(by_year, heads(tables), policy))
    return books


def to_institutions(paid: pl.DataFrame, payments: pl.DataFrame, clearing: Clearing) -> pl.DataFrame:
    """日拨付、月结算、年清算: what an institution gets by the day, by the month and when the year is cleared.

    The day's part of what its statements charge, half-up; the rest of what is prepaid of the month; and of the year
    what is payable and was not prepaid. The three add up to what is payable. Who prepays nothing has no such book.
    """
    if not clearing.daily and not clearing.prepaid:
        return pl.DataFrame(schema=LEDGER)
    days = paid.group_by("fixmedins_code", "month", "day").agg(pl.col("charged_fen").sum(), cases=pl.col("sign").sum())
    share = holding(clearing.daily, number, number(0))
    days = days.with_columns(daily=rounded(pl.col("charged_fen").cast(pl.Int128) * share, PERCENT).cast(pl.Int64))
    months = payments.group_by("fixmedins_code", "month").agg(pl.col("prepaid_fen", "cleared_fen").sum())
    advanced = days.group_by("fixmedins_code", "month").agg(pl.col("daily").sum())
    months = months.join(advanced, on=["fixmedins_code", "month"], how="left")
    months = months.with_columns(monthly=pl.col("prepaid_fen") - pl.col("daily").fill_null(0))
    years = months.group_by("fixmedins_code", year=pl.col("month").str.head(4)).agg(pl.col("cleared_fen").sum())
    to = {"payer": FUND, "payee": pl.col("fixmedins_code")}
    day, none = pl.col("day").dt.strftime("%Y-%m-%d"), number(0)
    return pl.concat([
        entries(days.filter(pl.col("daily") != 0), "institution", period=day, item="daily", cases=pl.col("cases"),
                amount_fen=pl.col("daily"), **to),
        entries(months.filter(pl.col("monthly") != 0), "institution", period=pl.col("month"), item="monthly",
                cases=none, amount_fen=pl.col("monthly"), **to),
        entries(years.filter(pl.col("cleared_fen") != 0), "institution", period=pl.col("year"), item="yearly",
                cases=none, amount_fen=pl.col("cleared_fen"), **to),
    ])  # fmt: skip


def heads(tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """year, psn_type, heads: how many persons are enrolled in each year; empty where the tables do not say."""
    if not {"enrolments", "persons"} <= set(tables):
        return pl.DataFrame(schema={"year": pl.Int32, "psn_type": pl.String, "heads": pl.Int64})
    years = person_years(with_fields(tables["enrolments"], "enrolments").collect())
    types = with_fields(tables["persons"], "persons").select("psn_no", "psn_type").unique("psn_no", keep="first")
    years = years.join(types.collect(), on="psn_no")
    return years.group_by("year", "psn_type").agg(heads=pl.len().cast(pl.Int64)).sort("year", "psn_type")


def person_years(spells: pl.DataFrame) -> pl.DataFrame:
    """psn_no, year, begins (first day in it): the years in which each person is enrolled; an open spell counts until
    the last year in which any spell begins.
    """
    last = spells.select(pl.max_horizontal(pl.col("begndate").max(), pl.col("enddate").max())).item()
    spells = spells.drop_nulls("begndate").with_columns(ends=pl.col("enddate").fill_null(last))
    years = spells.with_columns(year=pl.int_ranges(pl.col("begndate").dt.year(), pl.col("ends").dt.year() + 1))
    years = years.explode("year").drop_nulls("year").with_columns(pl.col("year").cast(pl.Int32))
    begins = pl.max_horizontal("begndate", pl.date("year", 1, 1))
    return years.group_by("psn_no", "year").agg(begins=begins.min())


def cross_region(paid: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """异地就医: what the care place pays its hospitals, what home owes it, and what it bears itself.

    paid: case_payments. The two books are held against each other first.
    """
    care, home = care_ledger(paid, provider), home_ledger(paid, provider)
    check_tied(care, home)
    to_hospitals = entries(
        care, "cross_region", period=pl.col("month"), payer=pl.col("care"), payee=pl.col("fixmedins_code"),
        item="to_institution", cases=pl.col("cases"), amount_fen=pl.col("paid_fen"), note=_for_home(),
    )  # fmt: skip
    borne = care.group_by("care", "home", "month").agg(pl.col("borne_fen").sum()).filter(pl.col("borne_fen") != 0)
    return pl.concat([
        to_hospitals,
        entries(
            home, "cross_region", period=pl.col("month"), payer=pl.col("home"), payee=pl.col("care"),
            item="to_care_place", cases=pl.col("cases"), amount_fen=pl.col("owed_fen"),
        ),
        entries(
            borne, "cross_region", period=pl.col("month"), payer=pl.col("care"), payee=pl.col("care"),
            item="borne_by_care_place", cases=number(0), amount_fen=pl.col("borne_fen"), note=_for_home(),
        ),
    ])  # fmt: skip


def _for_home() -> pl.Expr:
    return pl.format("参保地 {}", "home")


def direct_settlement(deliveries: pl.DataFrame) -> pl.DataFrame:
    """药企直接结算: what the fund pays each supplier; it stands as a deduction among the payments of the hospitals."""
    paid = supplier_payments(deliveries)
    return entries(
        paid, "direct_settlement", period=pl.col("month"), payer=FUND, payee=pl.col("supplier"), item="supplies",
        amount_fen=pl.col("paid_fen"), note="已从医院应付中抵扣",
    )  # fmt: skip


def advance(funds: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """预付金: of each fund and year, whether a month's mean spend may be advanced, and how much that is.

    funds: the knowledge table. The months asked for are those in force on the first of January of the year.
    """
    books = []
    for (year,), of_year in sorted(funds.partition_by("year", as_dict=True).items()):
        rules = [on.value for first, on in provider.clearing.advance.items() if first.year < year or
                 (first.year, first.month, first.day) == (year, 1, 1)]  # fmt: skip
        if not rules:
            continue
        spent = pl.concat_list("spent", "spent_year_before", "spent_two_years_before").list.drop_nulls()
        told = of_year.select("fund", balance_fen="balance", spent_fen=spent, last_year_fen="result",
                              forecast_fen="forecast")  # fmt: skip
        may = advance_fund(told, rules[-1])
        books.append(entries(
            may, "advance", period=str(year), payer=pl.col("fund"), payee="定点医药机构",
            item=pl.when("eligible").then(pl.lit("eligible")).otherwise(pl.lit("not_eligible")),
            amount_fen=pl.col("amount_fen"), note=pl.format("累计结余可支付 {} 个月", "months"),
        ))  # fmt: skip
    return pl.concat([pl.DataFrame(schema=LEDGER), *books])


def payouts(paid: pl.DataFrame, calendar: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """即时结算: of every payout the working days it took, and whether that is more than the policy allows.

    paid: the knowledge table fund_payouts. What cannot be counted (a year without a notice of holidays, no limit) is
    `not_judged`, never on time.
    """
    timed = instant_clock(paid, calendar, provider.instant_days)
    word = pl.when(pl.col("breach")).then(pl.lit("late")).when(~pl.col("breach")).then(pl.lit("on_time"))
    days = pl.coalesce(pl.format("用 {} 个工作日, 限 {} 个", "workdays", "allowed"), pl.lit("未能计算工作日"))
    return entries(
        timed, "payout", period=pl.col("month"), payer=FUND, payee=pl.col("fixmedins_code"),
        item=word.otherwise(pl.lit("not_judged")), ref=pl.col("deadline").dt.strftime("%Y-%m-%d"),
        amount_fen=pl.col("amount"), note=days,
    )  # fmt: skip


def catastrophic(paid: pl.DataFrame, heads: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """大病保险: per year the premium handed to the insurer, what it paid, the loss ratio, and how the year is cleared.

    paid: year, hifmi_pay_fen. heads: year, psn_type, heads (persons enrolled in the year). Of a surplus the insurer
    keeps at most the share of the premium the policy says and gives back the rest; of a loss the fund bears its share.
    """
    insurer = policy.catastrophic.insurer if policy.catastrophic else None
    if insurer is None or heads.is_empty():
        return pl.DataFrame(schema=LEDGER)
    day = pl.date("year", 1, 1)
    of_group = with_fields(heads, "claims", "psn_type", "hosp_lv").with_columns(day=day)
    each = pl.Series("each", amount_of(of_group, policy, insurer.premium)).clip(0)
    premium = of_group.select("year", "heads", each).group_by("year").agg(
        pl.col("heads").sum(), premium=(pl.col("heads") * pl.col("each")).sum()
    )  # fmt: skip
    years = premium.join(paid, on="year", how="left").with_columns(pl.col("hifmi_pay_fen").fill_null(0))
    years = years.with_columns(day=day, left=pl.col("premium") - pl.col("hifmi_pay_fen"))
    years = years.with_columns(_kept(insurer)).with_columns(
        back=pl.when(pl.col("left") > 0).then(pl.col("left") - pl.col("keep")).otherwise(-pl.col("bear"))
    )
    ratio = rounded(pl.col("hifmi_pay_fen").cast(pl.Int128) * PERCENT, pl.col("premium").cast(pl.Int128))
    percent = (ratio.cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, 2)) / 100).cast(pl.Decimal(12, 2))
    year, name = pl.col("year").cast(pl.String), insurer.name
    told = pl.when(pl.col("premium") > 0).then(pl.format("赔付率 {}%", percent))
    return pl.concat([
        entries(years, "catastrophic", period=year, payer=FUND, payee=name, item="premium", cases=pl.col("heads"),
                amount_fen=pl.col("premium"), note=told),
        entries(years, "catastrophic", period=year, payer=name, payee=PERSON, item="benefits", cases=number(0),
                amount_fen=pl.col("hifmi_pay_fen")),
        entries(years, "catastrophic", period=year, payer=name, payee=FUND, item="clearing", cases=number(0),
                amount_fen=pl.col("back"), note=pl.when(pl.col("left") < 0).then(pl.lit("亏损, 基金分担"))
                .otherwise(pl.lit("盈余, 超出承办机构留用部分返还基金"))),
    ])  # fmt: skip


def _kept(insurer: Insurer) -> list[pl.Expr]:
    """`keep`, the most of a surplus that stays with the insurer, and `bear`, what the fund bears of a loss."""
    keeps, bears = (holding(part, number, number(0)) for part in (insurer.keeps, insurer.fund_bears))
    most = rounded(pl.col("premium").cast(pl.Int128) * keeps, PERCENT).cast(pl.Int64)
    bear = rounded((-pl.col("left")).cast(pl.Int128) * bears, PERCENT).cast(pl.Int64)
    return [pl.min_horizontal(most, pl.col("left").clip(0)).alias("keep"), bear.clip(0).alias("bear")]
