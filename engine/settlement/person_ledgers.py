"""The books of persons: premiums and who pays them, care, leave, and what accounts pay for others.

Rows of ledgers.LEDGER out of the tables of one bucket of persons; those of all buckets are put together by
ledgers.summed. Who was helped to enrol and did not stays visible, in a row with the person.
"""

import polars as pl

from engine.settlement.allowances import care_payments, employer_tops_up, leave_days, maternity_allowance
from engine.settlement.ledgers import FUND, LEDGER, PERSON, entries, person_years
from engine.settlement.lookup import amount_of, group_of
from engine.settlement.money import PERCENT
from engine.settlement.policy import Policy
from engine.settlement.provider_cases import number
from engine.settlement.standing import Known, category_of
from engine.tables.dictionary import with_fields
from engine.tables.values import rounded

ASSISTANCE, CARE, ACCOUNT = "医疗救助基金", "长护基金", "个人账户"
DEBIT = "account_debit"  # the kind of visit as which a debit of an account stands among the claims


def person_books(tables: Known, claims: pl.DataFrame, steps: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """All books of one bucket. claims: as they were settled, debits among them; steps: settle_steps of these."""
    books = [pl.DataFrame(schema=LEDGER)]
    if "ltc_visits" in tables and policy.long_term_care:
        books.append(care(tables["ltc_visits"], policy))
    if "maternity_leaves" in tables and policy.maternity:
        books.append(leave(tables["maternity_leaves"], policy))
    if "enrolments" in tables and policy.premiums:
        books.append(premiums(tables, policy))
    if "account_debits" in tables:
        books.append(debits(tables["account_debits"], steps))
    if "persons" in tables and policy.shared_account:
        books.append(shared(steps, claims, tables["persons"]))
    return pl.concat(books)


def care(visits: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """长期护理保险: what the care fund pays each provider by month and service."""
    paid = care_payments(visits, policy)
    rows = with_fields(visits, "ltc_visits").join(paid, on="visit_id")
    unpaid = pl.when(pl.col("units_paid").is_null()).then(pl.lit("待遇政策没有此服务项目"))
    return entries(
        rows, "long_term_care", period=_month("begntime"), payer=CARE, payee=pl.col("provider_code"),
        item=pl.coalesce("service_code", pl.lit("-")), amount_fen=pl.col("fund_fen"), note=unpaid,
    )  # fmt: skip


def leave(leaves: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """生育津贴: the allowance of every leave, and what the employer adds where it lies below the person's own wage.

    leaves: maternity_leaves; the days are those decided, else those of the policy. Births before the policy's first
    value have no row.
    """
    leaves = with_fields(leaves, "maternity_leaves").sort("leave_id")
    books = [pl.DataFrame(schema=LEDGER)]
    clause, begins = policy.maternity, max(min(policy.maternity.months), min(policy.maternity.days))
    for (day,), of_day in sorted(leaves.filter(pl.col("birth_date") >= begins).partition_by(
        "birth_date", as_dict=True).items()):  # fmt: skip
        by_policy = leave_days(clause, day, (of_day["difficult_flag"] == "1").fill_null(False).to_numpy(),
                               of_day["babies"].fill_null(1).to_numpy())  # fmt: skip
        days = of_day["leave_days"].fill_null(pl.Series(by_policy))
        allowance = maternity_allowance(clause, day, of_day["mean_wage"].to_numpy(), days.to_numpy())
        top_up = employer_tops_up(allowance, of_day["own_wage"].fill_null(0).to_numpy())
        rows = of_day.with_columns(days, allowance=pl.Series(allowance), top_up=pl.Series(top_up))
        told = pl.format("产假 {} 天", "leave_days")
        common = {"period": _month("birth_date"), "psn_no": pl.col("psn_no"), "ref": pl.col("leave_id"), "note": told}
        books.append(entries(rows, "maternity", payer=FUND, payee=PERSON, item="allowance",
                             amount_fen=pl.col("allowance"), **common))  # fmt: skip
        books.append(entries(rows.filter(pl.col("top_up") > 0), "maternity", payer="用人单位", payee=PERSON,
                             item="top_up", amount_fen=pl.col("top_up"), **common))  # fmt: skip
    return pl.concat(books)


def premiums(tables: Known, policy: Policy) -> pl.DataFrame:
    """居民参保缴费与资助参保: a year's premium, what assistance pays of it by category, and what is left to the person.

    One premium per person and year in which a spell of the policy's insurances begins or goes on. Who is of a category
    on the first of January (or when the first spell of the year begins) and has no spell in a year in which others have
    one is told as `missed`, with the person.
    """
    clause = policy.premiums
    people = with_fields(tables["persons"], "persons") if "persons" in tables else None
    spells = with_fields(tables["enrolments"], "enrolments")
    spells = spells.filter(pl.col("insutype").is_in(clause.insutypes) if clause.insutypes else pl.lit(True))
    if people is None or spells.is_empty():
        return pl.DataFrame(schema=LEDGER)
    years = person_years(spells)
    every = years.select("year").unique().join(people.select("psn_no"), how="cross")
    rows = every.join(years, on=["psn_no", "year"], how="left").join(
        people.unique("psn_no", keep="first").select("psn_no", "psn_type"), on="psn_no"
    )
    rows = rows.with_columns(day=pl.coalesce("begins", pl.date("year", 1, 1))).sort("psn_no", "year")
    rows = rows.with_columns(pl.lit(None, pl.String).alias("hosp_lv"), row=pl.int_range(pl.len()))
    rows = rows.with_columns(category_of(rows, policy, tables).alias("category"), group_of(rows, policy).alias("group"))
    due = pl.Series("due", amount_of(rows, policy, clause.amount)).clip(0)
    rows = rows.with_columns(due, percent=pl.Series(amount_of(rows, policy, clause.category_percent, "category")),
                             fixed=pl.Series(amount_of(rows, policy, clause.category_amount, "category")))  # fmt: skip
    helped = pl.when(pl.col("fixed") >= 0).then(pl.min_horizontal("fixed", "due"))
    rows = rows.with_columns(helped=helped.otherwise(rounded(pl.col("due") * pl.col("percent").clip(0), PERCENT)))
    year, enrolled = pl.col("year").cast(pl.String), rows.filter(pl.col("begins").is_not_null(), pl.col("due") > 0)
    missed = rows.filter(pl.col("begins").is_null(), pl.col("due") > 0, pl.col("category").is_not_null())
    by = pl.coalesce("category", "group")
    return pl.concat([
        entries(enrolled.filter(pl.col("helped") > 0), "premium", period=year, payer=ASSISTANCE, payee=FUND,
                item="subsidised", amount_fen=pl.col("helped"), note=by),
        entries(enrolled.filter(pl.col("helped") < pl.col("due")), "premium", period=year, payer=PERSON, payee=FUND,
                item="own", amount_fen=pl.col("due") - pl.col("helped"), note=by),
        entries(missed, "premium", period=year, payer=PERSON, payee=FUND, item="missed", psn_no=pl.col("psn_no"),
                amount_fen=number(0), note=pl.format("{} 未参保", "category")),
    ])  # fmt: skip


def debits(account_debits: pl.DataFrame, settled: pl.DataFrame) -> pl.DataFrame:
    """个人账户代缴等: what each debit took from the account, and what the account could not pay, by kind and place."""
    rows = with_fields(account_debits, "account_debits").join(
        settled.select("acct_pay", debit_id="setl_id"), on="debit_id"
    )
    short = pl.col("amount") - pl.col("acct_pay")
    common = {"period": _month("debit_time"), "payer": ACCOUNT, "payee": pl.coalesce("payee", pl.lit(PERSON))}
    return pl.concat([
        entries(rows, "account", item=pl.col("kind"), amount_fen=pl.col("acct_pay"), **common),
        entries(rows.filter(short > 0), "account", item=pl.col("kind") + "_short", amount_fen=short, **common),
    ])  # fmt: skip


def shared(steps: pl.DataFrame, claims: pl.DataFrame, persons: pl.DataFrame) -> pl.DataFrame:
    """个账共济: by month, from the place where the account is kept to the place of care; across places it is money to
    be transferred. steps: with mulaid_0, mulaid_1 …, what the first, second … member of the family by psn_no paid.
    """
    family = with_fields(persons, "persons").filter(pl.col("acct_group").is_not_null()).unique("psn_no", keep="first")
    family = family.sort("acct_group", "psn_no").with_columns(member=pl.int_range(pl.len()).over("acct_group"))
    family = family.select("psn_no", "acct_group", "insu_admdvs", "member")
    of = claims.select("setl_id", "setl_time", care=pl.coalesce("mdtrtarea_admdvs", "insu_admdvs"))
    names = sorted(name for name in steps.columns if name.startswith("mulaid_"))
    books = [pl.DataFrame(schema=LEDGER)]
    for name in names:
        rows = steps.select("setl_id", "psn_no", paid=name).filter(pl.col("paid") != 0).join(of, on="setl_id")
        rows = rows.with_columns(member=pl.lit(int(name.removeprefix("mulaid_")), pl.Int64))
        rows = rows.join(family.select("psn_no", "acct_group"), on="psn_no")
        rows = rows.join(family.drop("psn_no"), on=["acct_group", "member"])
        home, care = (pl.coalesce(place, pl.lit("?")) for place in ("insu_admdvs", "care"))
        item = pl.when(home == care).then(pl.lit("same_place")).otherwise(pl.lit("other_place"))
        books.append(entries(rows, "shared_account", period=_month("setl_time"), payer=home, payee=care, item=item,
                             amount_fen=pl.col("paid")))  # fmt: skip
    return pl.concat(books)


def debits_as_claims(account_debits: pl.DataFrame, persons: pl.DataFrame) -> pl.DataFrame:
    """Debits of accounts as claims without a fund, so that they draw on the account in their place in time."""
    rows = with_fields(account_debits, "account_debits")
    types = with_fields(persons, "persons").unique("psn_no", keep="first").select("psn_no", "psn_type")
    rows = rows.join(types, on="psn_no", how="left", maintain_order="left")
    rows = rows.select("psn_no", "psn_type", setl_id="debit_id", setl_time="debit_time", begntime="debit_time",
                       visit_kind=pl.lit(DEBIT), medfee_sumamt="amount", fulamt_ownpay_amt="amount")  # fmt: skip
    return with_fields(rows, "claims")


def _month(time: str) -> pl.Expr:
    return pl.col(time).dt.strftime("%Y-%m")
