"""Stays away from home in two books, suppliers paid directly, and the clock of instant settlement."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paying import by_points, frames, paid_months, since

from engine.reference.knowledge import load_knowledge
from engine.settlement.cross_region import care_ledger, check_tied, differences, home_ledger
from engine.settlement.direct_settlement import supplier_payments
from engine.settlement.provider import Told, case_payments
from engine.settlement.workdays import instant_clock, working_days
from engine.tables.problems import InvariantBroken

AWAY = {"local_flag": "0", "insu_admdvs": "450800", "mdtrtarea_admdvs": "440100"}


def books(rows: list[dict], home_pays: str = "statement"):
    by = by_points(home_pays=since(home_pays))
    settlement, claims, grouping = frames(rows)
    told = {k: [row.get(k) for row in rows] for k in ("local_flag",)}
    paid = case_payments(
        settlement, claims.with_columns(pl.Series("local_flag", told["local_flag"], pl.String)), grouping, by
    )
    return care_ledger(paid, by.provider), home_ledger(paid, by.provider)


STAY = {"weight": "1", "fund_pay_sumamt": 6500, "psn_part_amt": 4000}


def test_the_care_place_pays_by_group_and_home_by_its_own_policy():
    rows = [STAY | AWAY, STAY | AWAY | {"fixmedins_code": "H2", "weight": "1.2"}, STAY | {"local_flag": "1"}]
    care, home = books(rows)
    # 10000 less 4000 to the hospital, 6500 from home: 500 stay with the care place
    assert care.select("fixmedins_code", "paid_fen", "received_fen", "borne_fen").rows() == [
        ("H1", 600000, 650000, -50000), ("H2", 800000, 650000, 150000),
    ]  # fmt: skip
    assert home.rows() == [("450800", "440100", "2025-03", 2, 1300000, 800000)]
    check_tied(care, home)


def test_or_home_pays_what_the_hospital_is_paid():
    care, home = books([STAY | AWAY], "group")
    assert care.select("paid_fen", "received_fen", "borne_fen").rows() == [(600000, 600000, 0)]
    assert home["owed_fen"].to_list() == [600000]


def test_who_is_away_is_seen_from_the_places_where_no_flag_says_it():
    places = {"insu_admdvs": "450800", "mdtrtarea_admdvs": "440100"}
    care, _ = books([STAY | places, STAY | places | {"mdtrtarea_admdvs": "450800"}, STAY])
    assert care["cases"].to_list() == [1]


def test_books_that_do_not_tie_are_told_apart():
    care, home = books([STAY | AWAY])
    wrong = home.with_columns(owed_fen=pl.col("owed_fen") - 1)
    assert differences(care, wrong).rows() == [("450800", "440100", "2025-03", 650000, 649999)]
    with pytest.raises(InvariantBroken):
        check_tied(care, wrong)


AMOUNT = st.integers(0, 10**6)
STAYS = st.lists(st.tuples(st.integers(0, 3 * 10**8), AMOUNT, AMOUNT, st.sampled_from("AB")), min_size=1, max_size=8)


@given(STAYS, st.sampled_from(["statement", "group"]))
@examples(max_examples=25, deadline=None)
def test_the_two_books_always_tie(cases, form):
    rows = [{"weight": f"{w // 10**8}.{w % 10**8:08d}", "fund_pay_sumamt": f / 100, "psn_part_amt": p / 100,
             "local_flag": "0", "insu_admdvs": home, "mdtrtarea_admdvs": "C"} for w, f, p, home in cases]  # fmt: skip
    care, home = books(rows, form)
    check_tied(care, home)
    assert (care["paid_fen"] == care["received_fen"] + care["borne_fen"]).all()


# suppliers


def test_what_suppliers_are_paid_is_taken_off_the_hospitals():
    deliveries = pl.DataFrame(
        [("H1", "2025-03", "S1", 100000), ("H1", "2025-03", "S2", 50000), ("H2", "2025-03", "S1", 30000)],
        {"fixmedins_code": pl.String, "month": pl.String, "supplier": pl.String, "amount": pl.Int64},
        orient="row",
    )
    before = paid_months([STAY], by_points())
    after = paid_months([STAY], by_points(), Told(deliveries=deliveries))
    assert [(r["fixmedins_code"], r["method"], r["cleared_fen"]) for r in after] == [
        ("H1", "direct_settlement", -150000), ("H1", "drg_points", 600000), ("H2", "direct_settlement", -30000),
    ]  # fmt: skip
    suppliers = supplier_payments(deliveries)
    assert suppliers.rows() == [("S1", "2025-03", 130000), ("S2", "2025-03", 50000)]
    assert sum(r["cleared_fen"] for r in before) == sum(r["cleared_fen"] for r in after) + suppliers["paid_fen"].sum()


# the clock


@pytest.fixture(scope="module")
def calendar() -> pl.DataFrame:
    return load_knowledge()["workdays"]


def between(first: date, last: date, calendar: pl.DataFrame) -> int | None:
    return working_days(pl.Series([first]), pl.Series([last]), calendar)[0]


@pytest.mark.parametrize(
    ("first", "last", "want"),
    [
        (date(2025, 3, 3), date(2025, 3, 3), 0),
        (date(2025, 3, 3), date(2025, 3, 4), 1),
        (date(2025, 3, 7), date(2025, 3, 10), 1),  # over a weekend
        (date(2025, 1, 24), date(2025, 2, 8), 6),  # 26 Jan and 8 Feb are worked, 28 Jan to 4 Feb are not
        (date(2025, 9, 26), date(2025, 10, 11), 6),  # 28 Sep, 29, 30, 9 and 10 Oct, 11 Oct
        (date(2024, 12, 31), date(2025, 1, 2), 1),
        (date(2025, 3, 4), date(2025, 3, 3), -1),
    ],
)
def test_working_days_follow_the_notices_of_holidays(calendar, first, last, want):
    assert between(first, last, calendar) == want


def test_the_working_days_of_whole_years_are_the_known_numbers(calendar):
    # weekdays of the year, less weekdays off, plus weekends worked: 2023 365-day calendars give 249, 2024 251, 2025 248
    ends = {2024: 251, 2025: 248}
    assert {y: between(date(y - 1, 12, 31), date(y, 12, 31), calendar) for y in ends} == ends


def test_a_year_without_a_notice_is_not_guessed_at(calendar):
    assert between(date(2026, 12, 30), date(2027, 1, 4), calendar) is None
    gap = calendar.filter(pl.col("day").dt.year() != 2025)
    assert between(date(2024, 12, 30), date(2026, 1, 5), gap) is None
    assert between(date(2024, 12, 30), date(2024, 12, 31), gap) == 1
    assert working_days(pl.Series([date(2025, 1, 1)]), pl.Series([None], dtype=pl.Date), calendar)[0] is None


def test_twenty_working_days_are_in_time_and_twenty_one_are_not(calendar):
    # deadline 10 Sep 2025: 15 days in September (the 28th worked), then 9, 10, 11 (worked), 13 and 14 October
    limits = by_points(
        instant_days={"2024-01-01": {"value": "30"}, "2025-01-01": {"value": "20"}}
    ).provider.instant_days
    rows = [(date(2025, 9, 10), date(2025, 10, d)) for d in (14, 15)] + [(date(2023, 12, 29), date(2024, 2, 20))]
    payouts = pl.DataFrame(rows, {"deadline": pl.Date, "paid": pl.Date}, orient="row")
    found = instant_clock(payouts, calendar, limits).select("workdays", "allowed", "breach").rows()
    assert found[:2] == [(20, 20, False), (21, 20, True)]
    assert found[2][1:] == (None, None)  # no limit yet on the day of that deadline
    # before the limit of 20 it was 30: 14 days in September (the 14th and 29th worked), 16 in October (the 12th worked)
    older = [(date(2024, 9, 10), date(2024, 10, d)) for d in (28, 29)]
    payouts = pl.DataFrame(older, {"deadline": pl.Date, "paid": pl.Date}, orient="row")
    found = instant_clock(payouts, calendar, limits).select("workdays", "allowed", "breach").rows()
    assert found == [(30, 30, False), (31, 30, True)]
