"""Stays away from home, in two books that tie: 就医地 pays the hospital, 参保地 pays for its person.

The care place pays the hospital by its own methods, the home place's policy says what its fund pays for the person
(医保发〔2022〕22号: 就医地目录, 参保地政策, 就医地管理). What the home place owes it is one of two: what its
statement charges (`statement`), and the care place bears the difference to the payment by group; or the payment by
group itself (`group`). A policy says which, dated.
"""

import polars as pl

from engine.settlement.dated import holding
from engine.settlement.provider_cases import insured_elsewhere
from engine.settlement.provider_policy import Provider
from engine.tables.problems import InvariantBroken

PAIR = ["home", "care", "month"]


def away(paid: pl.DataFrame) -> pl.DataFrame:
    """The cases of persons insured elsewhere, with `home` and `care` place; `?` where a claim does not say."""
    return paid.filter(is_away(paid)).with_columns(
        home=pl.col("insu_admdvs").fill_null("?"), care=pl.col("mdtrtarea_admdvs").fill_null("?")
    )


def is_away(claims: pl.DataFrame) -> pl.Series:
    """Which claims are of persons insured elsewhere: as the flag says, else by the two places."""
    return claims.select(away=insured_elsewhere())["away"]


def owed_by_home(provider: Provider) -> pl.Expr:
    """What the home place owes the care place for a case: by its statement, or what the hospital is paid."""
    words = holding(provider.home_pays, pl.lit, pl.lit("statement"))
    return pl.when(words == "group").then("payable_fen").otherwise("charged_fen")


def care_ledger(paid: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The care place's book by home, care, month and institution: cases, paid_fen to the hospital, received_fen from
    home, borne_fen by itself (below zero where home sends more). paid: case_payments.
    """
    cases = away(paid).with_columns(received_fen=owed_by_home(provider))
    book = cases.group_by(*PAIR, "fixmedins_code").agg(
        pl.col("sign").sum().alias("cases"), pl.col("payable_fen").sum().alias("paid_fen"), pl.col("received_fen").sum()
    )
    return book.with_columns(borne_fen=pl.col("paid_fen") - pl.col("received_fen")).sort(*PAIR, "fixmedins_code")


def home_ledger(paid: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """The home place's book by home, care and month: cases, owed_fen to the care place, persons_fen paid by persons."""
    cases = away(paid).with_columns(owed_fen=owed_by_home(provider))
    return (
        cases.group_by(PAIR)
        .agg(
            pl.col("sign").sum().alias("cases"),
            pl.col("owed_fen").sum(),
            pl.col("psn_part_amt_fen").sum().alias("persons_fen"),
        )
        .sort(PAIR)
    )


def differences(care: pl.DataFrame, home: pl.DataFrame) -> pl.DataFrame:
    """Where the two books do not tie: home, care, month, received_fen, owed_fen, of what is not the same."""
    received = care.group_by(PAIR).agg(pl.col("received_fen").sum())
    both = received.join(home.select(*PAIR, "owed_fen"), on=PAIR, how="full", coalesce=True)
    off = pl.col("received_fen").fill_null(0) != pl.col("owed_fen").fill_null(0)
    return both.filter(off).sort(PAIR)


def check_tied(care: pl.DataFrame, home: pl.DataFrame) -> None:
    """Raises InvariantBroken when what one place received is not what the other owed."""
    off = differences(care, home)
    if off.height:
        raise InvariantBroken(f"异地就医两本账不平: {off.row(0, named=True)}", "cross_region")
