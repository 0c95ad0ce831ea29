"""Volumes: DRG points with coefficients, early and costly stays, readmission, review, DIP scores, bed-days."""

from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paying import by_points, paid_cases, paid_months, policy, since

from engine.settlement.provider import NOTHING_TOLD, Told

UNIT = 10**8


def points(rows: list[dict], rules: dict | None = None, told: Told = NOTHING_TOLD, **more) -> list[Decimal]:
    return [Decimal(row["volume"]) / UNIT for row in paid_cases(rows, by_points(rules, **more), told)]


# base points and coefficients


def test_base_points_are_weight_times_scale_and_keep_eight_decimals():
    # RW x 100 (金华 2017, grade B)
    assert points([{"weight": "1.23456789"}]) == [Decimal("123.456789")]
    assert points([{"weight": "0.00000001"}], {"scale": since("0.5")}) == [Decimal("0.00000001")]  # half-up at 1e-8
    assert points([{"weight": "1.5"}], {"scale": {}}) == [Decimal("1.5")]


def test_the_nearest_coefficient_counts_and_a_new_group_has_none():
    table = {
        "institutions": {"H1": "1.1"},
        "levels": {"3": "1.05", "2": "0.95"},
        "by_group": {"A": {"institutions": {"H1": "1.3"}, "levels": {"3": "1.2"}}},
        "new_groups": ["N*"],
    }
    rows = [{"weight": "1", "drg": drg, "fixmedins_code": h, "hosp_lv": lv} for drg, h, lv in (
        ("A", "H1", "3"), ("A", "H2", "3"), ("A", "H2", "2"), ("B", "H1", "3"), ("B", "H2", "3"), ("B", "H2", "1"),
        ("N1", "H1", "3"),
    )]  # fmt: skip
    want = ["130", "120", "95", "110", "105", "100", "100"]
    assert points(rows, {"coefficient": since(table)}) == [Decimal(w) for w in want]


def test_the_coefficient_is_that_of_the_day():
    dated = {"2025-01-01": {"value": {"levels": {"3": "1.1"}}}, "2025-07-01": {"value": {"levels": {"3": "1.2"}}}}
    days = [datetime(2024, 12, 31), datetime(2025, 6, 30), datetime(2025, 7, 1)]
    assert points([{"weight": "1", "setl_time": d} for d in days], {"coefficient": dated}) == [100, 110, 120]


def test_primary_care_groups_are_the_same_price_everywhere():
    rules = {"coefficient": since({"levels": {"3": "1.2", "1": "0.8"}}), "primary_groups": since(["P*"])}
    rows = [{"weight": "1", "drg": drg, "hosp_lv": lv} for drg in ("P1", "Q1") for lv in "31"]
    assert points(rows, rules) == [100, 100, 120, 80]


def test_a_chinese_medicine_group_is_on_a_par_with_another_or_gets_an_uplift():
    rules = {"chinese_groups": since([{"groups": ["TC1"], "weight": "1.8"}, {"groups": ["TC*"], "percent": "105"}])}
    assert points([{"weight": "1", "drg": d} for d in ("TC1", "TC2", "X")], rules) == [180, 105, 100]


# early ends and outliers


MEANS = {"means": since({"G": "10000"})}
BANDS = {"low": "0.4", "high": [{"over": 0, "times": 3}, {"over": 100, "times": 2.5}, {"over": 200, "times": 2}],
         "early_ways": ["4"]}  # fmt: skip


def test_a_stay_ended_early_is_paid_by_its_cost_and_at_most_its_base_points():
    # 浙江 2019, 金华 2017: base x cost / mean, at most base
    rules = MEANS | {"outliers": since(BANDS), "coefficient": since({"levels": {"3": "1.2"}})}
    rows = [{"weight": "1", "dscg_way": "4", "cost": cost} for cost in (2500, 10000, 90000)]
    assert points(rows, rules) == [25, 100, 100]
    with_coefficient = rules | {"outliers": since(BANDS | {"early_with_coefficient": True})}
    assert points(rows[:1], with_coefficient) == [30]


def test_the_low_bound_itself_is_ordinary_unless_the_policy_says_otherwise():
    rows = [{"weight": "1", "cost": cost} for cost in (3999.99, 4000, 4000.01)]
    assert points(rows, MEANS | {"outliers": since(BANDS)}) == [Decimal("39.9999"), 100, 100]
    at = MEANS | {"outliers": since(BANDS | {"at_low": "low"})}
    assert points(rows, at) == [Decimal("39.9999"), 40, 100]


@pytest.mark.parametrize(
    ("weight", "cost", "want"),
    [
        ("1", 30000, "100"),  # 100 points: up to 3 times
        ("1", 35000, "150"),
        ("1.00000001", 30000, "150.0000015"),  # over 100 points: up to 2.5 times
        ("2", 25000, "200"),
        ("2", 30000, "300"),
        ("2.5", 20000, "250"),  # over 200 points: up to 2 times
        ("2.5", 20001, "250.025"),
    ],
)
def test_a_costly_stay_gets_base_points_for_what_lies_over_the_bound_of_its_points(weight, cost, want):
    # grade R, no published example: points = base x coefficient + base x (cost / mean - bound)
    assert points([{"weight": weight, "cost": cost}], MEANS | {"outliers": since(BANDS)}) == [Decimal(want)]


def test_the_bound_may_go_by_level_as_in_the_national_specification():
    # three times at level 3, twice at level 2 (grade B)
    rules = MEANS | {"outliers": since({"high": {"3": 3, "2": 2}})}
    rows = [{"weight": "1", "cost": 31000, "hosp_lv": lv} for lv in "321"]
    assert points(rows, rules) == [110, 210, 100]


def test_the_mean_is_the_groupings_then_the_policys_then_that_of_the_year_before():
    rules = MEANS | {"outliers": since(BANDS, "2020-01-01"), "means_of_prior_year": "all"}
    before = {"setl_time": datetime(2024, 5, 1), "weight": "1", "drg": "H"}
    rows = [
        before | {"cost": 10000},
        before | {"cost": 20001},
        before | {"cost": 90000, "dscg_way": "4"},  # ended early: not in the mean
        {"weight": "1", "cost": 1000, "mean_fen": 500000},
        {"weight": "1", "cost": 1000},
        {"weight": "1", "cost": 1000, "drg": "H"},
        {"weight": "1", "cost": 1, "drg": "new"},
    ]
    found = paid_cases(rows, by_points(rules))[3:]
    assert [(r["mean_fen"], r["mean_from"], r["step"]) for r in found] == [
        (500000, "grouping", "low"), (1000000, "policy", "low"),
        (1500050, "prior_year", "low"), (None, None, "ordinary"),
    ]  # fmt: skip


# readmission


def stay(first: int, days: int = 4, **more) -> dict:
    begin = datetime(2025, 3, 1).replace(hour=9)
    begin = datetime.fromordinal(begin.toordinal() + first)
    end = datetime.fromordinal(begin.toordinal() + days)
    return {"weight": "1", "psn_no": "P", "begntime": begin, "endtime": end, "setl_time": end} | more


@pytest.mark.parametrize(("days", "want"), [("15", [50, 100]), ("10", [100, 100])])
def test_the_fifteenth_day_is_within_fifteen_days(days, want):
    # 浙江 15 days, 金华 10 (grade B): the earlier stay keeps half
    rule = {"readmission": since({"days": days, "keep": "50", "exempt_groups": ["R*"]})}
    assert points([stay(0), stay(19)], rule) == want  # discharged on day 4, back on day 19
    assert points([stay(0), stay(20)], rule) == [100, 100]


def test_ten_days_and_eleven():
    rule = {"readmission": since({"days": "10", "keep": "50"})}
    assert points([stay(0), stay(14)], rule) == [50, 100]
    assert points([stay(0), stay(15)], rule) == [100, 100]


def test_other_persons_groups_hospitals_and_exempt_groups_are_no_readmission():
    rule = {"days": "15", "keep": "50", "exempt_groups": ["R*"]}
    other = {"psn_no": "Q"}, {"drg": "F"}, {"fixmedins_code": "H2"}
    for difference in other:
        assert points([stay(0), stay(10, **difference)], {"readmission": since(rule)}) == [100, 100]
    anywhere = since(rule | {"across_institutions": True})
    assert points([stay(0), stay(10, fixmedins_code="H2")], {"readmission": anywhere}) == [50, 100]
    chemo = {"drg": "RE13"}
    assert points([stay(0, **chemo), stay(10, **chemo)], {"readmission": since(rule)}) == [100, 100]


def test_a_refunded_stay_is_no_readmission():
    rule = {"readmission": since({"days": "15", "keep": "50"})}
    refund = stay(10, refd_setl_flag="1", init_setl_id="s002")
    assert points([stay(0), stay(10), refund], rule)[:1] == [100]


# special-case review


def reviews(*rows: tuple) -> Told:
    frame = pl.DataFrame(
        [(f"s{n:03}", day, outcome, points) for n, day, outcome, points in rows],
        {"setl_id": pl.String, "applied": pl.Date, "outcome": pl.String, "points": pl.String},
        orient="row",
    )
    return Told(reviews=frame.with_columns(pl.col("points").cast(pl.Decimal(18, 8))))


def test_exactly_the_quota_is_heard_and_the_next_is_not():
    # 5 % of 100 discharges: five
    rows = [{"weight": "1", "cost": 1000 + n} for n in range(100)]
    day = date(2025, 4, 1)
    asked = reviews(*((n, day, "adjust", "250.5") for n in range(1, 7)))
    by = by_points({"review": since({"quota": "5"})})
    found = paid_cases(rows, by, asked)
    # of one day the costlier first: the last of the six asked for is heard, the first is not
    assert [row["review"] for row in found[:7]] == ["over_quota", *["adjust"] * 5, None]
    assert [Decimal(row["volume"]) / UNIT for row in found[:2]] == [100, Decimal("250.5")]
    found = paid_cases(rows[:99], by, asked)  # 4.95: four
    assert [row["review"] for row in found[:6]] == ["over_quota"] * 2 + ["adjust"] * 4


def test_five_per_mille_of_dip_discharges_needs_two_hundred():
    by = policy(
        methods=since([{"method": "dip", "benefits": ["inpatient"]}]),
        by_case={"dip": {"scale": since("1000"), "review": since({"quota": "0.5"})}},
        pools={"all": {"point_value": since("10")}},
    )
    asked = reviews((1, date(2025, 4, 1), "refuse", None))
    for count, want in ((200, "refuse"), (199, "over_quota")):
        assert paid_cases([{"weight": "1"}] * count, by, asked)[0]["review"] == want


def test_earlier_applications_come_first_and_quarters_are_apart():
    late = {"setl_time": datetime(2025, 4, 1)}
    rows = [{"weight": "1"}] * 20 + [{"weight": "1"} | late] * 20
    asked = reviews(
        (1, date(2025, 4, 2), "adjust", "1"),
        (2, date(2025, 4, 1), "adjust", "1"),
        (21, date(2025, 7, 1), "adjust", "1"),
    )
    found = paid_cases(rows, by_points({"review": since({"quota": "5"})}), asked)
    assert [found[n]["review"] for n in (0, 1, 20)] == ["over_quota", "adjust", "adjust"]
    yearly = by_points({"review": since({"quota": "5", "per": "year"})})
    assert [paid_cases(rows, yearly, asked)[n]["review"] for n in (0, 1, 20)] == ["adjust", "adjust", "over_quota"]


def test_what_experts_send_back_is_paid_by_item_and_what_they_refuse_as_any_other():
    row = {"weight": "1", "cost": 50000, "fund_pay_sumamt": 40000, "psn_part_amt": 10000}
    asked = reviews((1, date(2025, 4, 1), "by_item", None), (2, date(2025, 4, 1), "refuse", None))
    found = paid_cases([row] * 2, by_points({"review": since({"quota": "100"})}), asked)
    assert [(r["method"], r["payable_fen"]) for r in found] == [("item", 4000000), ("drg_points", 0)]


# DIP


def dip(cost, weight="1.5", level="3", **outliers) -> dict:
    rules = {"low": "0.5", "high": "2", "review": "5", "early_with_coefficient": True, "high_with_coefficient": True}
    by = policy(
        methods=since([{"method": "dip", "benefits": ["inpatient"]}]),
        by_case={
            "dip": {
                "scale": since("1000"),
                "outliers": since(rules | outliers),
                "coefficient": since({"levels": {"2": "0.8"}}),
            }
        },
        pools={"all": {"point_value": since("12.34")}},
    )
    return paid_cases([{"weight": weight, "cost": cost, "mean_fen": 1000000, "hosp_lv": level}], by)[0]


@pytest.mark.parametrize(
    ("cost", "factor", "experts"),
    [
        (4999.99, "0.499999", False),
        (5000, "1", False),  # both bounds are ordinary (广州 2018, grade B)
        (20000, "1", False),
        (25000, "1.5", False),
        (50000, "4", False),
        (50000.01, "4.000001", True),
    ],
)
def test_a_score_follows_the_deviation_of_cost(cost, factor, experts):
    found = dip(cost)
    assert Decimal(found["volume"]) / UNIT == 1500 * Decimal(factor)
    assert found["to_experts"] == experts
    assert found["payable_fen"] == int((1500 * Decimal(factor) * 1234 + Decimal("0.5")) // 1)


def test_a_score_is_times_the_coefficient_of_the_institution_also_when_it_deviates():
    assert [Decimal(dip(cost, level="2")["volume"]) / UNIT for cost in (4000, 10000, 25000)] == [480, 1200, 1800]


# bed-days


KINDS = {"psychiatric": since({"departments": ["A15*"], "days_over": "30"}, "2022-01-01")}
LONG = {"dscg_dept_codg": "A15.01", "act_ipt_days": 90, "weight": "3"}


def by_day(days, **more):
    return policy(
        case_kinds=KINDS,
        methods=since([{"method": "bed_day", "benefits": ["inpatient"], "case_kinds": ["psychiatric"]},
                       {"method": "drg_points", "benefits": ["inpatient"]}], "2022-01-01"),
        bed_days={"psychiatric": since({"days": days} | more, "2022-01-01")},
        by_case={"drg_points": {"scale": since("100", "2022-01-01")}},
        pools={"all": {"point_value": since("100", "2022-01-01")}},
    )  # fmt: skip


def test_a_long_psychiatric_stay_is_paid_by_points_a_day():
    # 贺州, notice of 21 Nov 2022 (A): 2.36182972 points a bed-day at level 3; 90 days by arithmetic (D)
    (found,) = paid_cases([LONG], by_day({"3": {"over": 0, "points": "2.36182972"}}))
    assert Decimal(found["volume"]) / UNIT == Decimal("212.5646748")
    assert found["payable_fen"] == 2125647  # 21256.46748 yuan
    (row,) = paid_months([LONG], by_day({"3": {"over": 0, "points": "2.36182972"}}))
    assert (row["method"], row["volume"]) == ("bed_day", 90)


def test_a_short_one_is_paid_by_group():
    assert [
        paid_cases([LONG | {"act_ipt_days": n}], by_day({"over": 0, "points": "2"}))[0]["method"] for n in (30, 31)
    ] == [
        "drg_points",
        "bed_day",
    ]


def test_bands_of_days_have_their_own_rates_in_yuan_or_points():
    bands = [{"over": 0, "yuan": "200"}, {"over": 60, "yuan": "150.50"}]
    for days, want in ((60, 1200000), (61, 1215050), (90, 1651500)):
        assert paid_cases([LONG | {"act_ipt_days": days}], by_day(bands))[0]["payable_fen"] == want


def test_a_stay_without_an_end_cannot_be_paid_by_the_day():
    by = policy(
        methods=since([{"method": "bed_day"}]),
        bed_days={"all": since({"days": [{"over": 0, "yuan": "200"}, {"over": 60, "yuan": "150"}]})},
    )
    (found,) = paid_cases([{"endtime": None, "fund_pay_sumamt": 5}], by)
    assert (found["method"], found["payable_fen"]) == ("item", 500)


def test_the_assessment_of_an_institution_leaves_a_percentage():
    assert (
        paid_cases([LONG], by_day({"over": 0, "yuan": "200"}, assessment={"H1": "97.5"}))[0]["payable_fen"] == 1755000
    )


# properties


stays = st.lists(
    st.tuples(st.integers(1, 5 * UNIT), st.integers(1, 90_000), st.sampled_from("123"), st.sampled_from("14")),
    min_size=1, max_size=12,
)  # fmt: skip
RULES = MEANS | {
    "outliers": since(BANDS),
    "coefficient": since({"levels": {"1": "0.8", "2": "0.95", "3": "1.1"}}),
    "readmission": since({"days": "15", "keep": "50"}),
}


def made(cases) -> list[dict]:
    return [{"weight": f"{w // UNIT}.{w % UNIT:08d}", "cost": cost, "hosp_lv": level, "dscg_way": way,
             "psn_no": f"P{n % 3}"} for n, (w, cost, level, way) in enumerate(cases)]  # fmt: skip


@given(stays, st.integers(0, 50_000))
@examples(max_examples=30, deadline=None)
def test_points_never_fall_when_a_stay_costs_more(cases, more):
    dearer = [(w, cost + more, level, way) for w, cost, level, way in cases]
    before, after = (points(made(c), RULES) for c in (cases, dearer))
    assert all(a >= b >= 0 for b, a in zip(before, after, strict=True))


@given(stays, st.integers(0, 50_000), st.sampled_from(["0", "33.33", "70"]), st.sampled_from(["2", "3.5", "6"]))
@examples(max_examples=30, deadline=None)
def test_nor_do_they_fall_where_only_a_share_of_what_lies_above_counts_up_to_so_many_times(cases, more, percent, most):
    rules = RULES | {"outliers": since(BANDS | {"high_percent": percent, "most": most})}
    dearer = [(w, cost + more, level, way) for w, cost, level, way in cases]
    before, after = (points(made(c), rules) for c in (cases, dearer))
    assert all(a >= b >= 0 for b, a in zip(before, after, strict=True))


@given(stays, st.randoms(use_true_random=False))
@examples(max_examples=20, deadline=None)
def test_the_order_of_the_rows_does_not_matter(cases, chance):
    rows = [row | {"setl_id": f"s{n:03}"} for n, row in enumerate(made(cases), 1)]
    mixed = chance.sample(rows, len(rows))
    assert points(rows, RULES) == points(mixed, RULES)
