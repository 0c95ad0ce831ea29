"""Point values and budgets to the fen, pre-payment, clearing of a year, county alliances, the advance fund."""

from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paying import by_points, frames, paid_cases, paid_months, policy, since

from engine.settlement.clearing import advance_fund, alliance_years
from engine.settlement.policy import load_policy
from engine.settlement.provider import Told, case_payments
from engine.settlement.provider_policy import AdvanceFund
from engine.tables.problems import RuleProblem

CASE = {"weight": "1", "fund_pay_sumamt": 6000, "psn_part_amt": 4000}


def pool(budget, **more) -> dict:
    return {"all": {"budget": since(str(budget), "2020-01-01"), **more}}


# the value of a point


def test_a_given_value_of_a_point_may_have_eight_decimals():
    by = by_points(pools={"all": {"point_value": since("98.76543211")}})
    (found,) = paid_cases([{"weight": "1.23456789"}], by)
    assert found["payable_fen"] == 1219326  # 123.456789 x 98.76543211 = 12193.2631...


def test_points_share_the_budget_and_what_the_persons_pay():
    # (10000 + 4000 + 4000) / (100 + 200) = 60 a point; 6000 and 12000 less 4000 each
    found = paid_cases([CASE, CASE | {"weight": "2"}], by_points(pools=pool(10000)))
    assert [row["standard_fen"] for row in found] == [600000, 1200000]
    assert [row["payable_fen"] for row in found] == [200000, 800000]


def test_or_the_budget_over_the_reimbursement_ratio():
    by = by_points(pools=pool(10500, total="over_ratio", ratio=since("70")))
    assert [row["standard_fen"] for row in paid_cases([CASE, CASE | {"weight": "2"}], by)] == [500000, 1000000]


def test_the_fen_left_over_go_to_the_largest_remainders_and_of_equal_ones_to_the_lower_key():
    three = [{"weight": "1", "setl_id": key} for key in ("c", "a", "b")]
    found = {row["setl_id"]: row["payable_fen"] for row in paid_cases(three, by_points(pools=pool("0.05")))}
    assert found == {"a": 2, "b": 2, "c": 1}
    # 10 fen by 1 : 1 : 4 = 1.67, 1.67, 6.67 -> all remainders equal; 2, 2, 6
    four = [{"weight": w, "setl_id": key} for w, key in (("4", "c"), ("1", "b"), ("1", "a"))]
    found = {row["setl_id"]: row["payable_fen"] for row in paid_cases(four, by_points(pools=pool("0.10")))}
    assert found == {"a": 2, "b": 2, "c": 6}


def test_a_budget_of_a_month_is_shared_in_the_month():
    later = CASE | {"setl_time": datetime(2025, 4, 1)}
    months = paid_months([CASE, CASE, later], by_points(pools=pool(5000, budget_per="month")))
    assert [(row["month"], row["payable_fen"]) for row in months] == [("2025-03", 500000), ("2025-04", 500000)]


def test_each_fund_has_its_own_budget():
    pools = {
        "workers": {"people": ["worker"], "budget": since("9000")},
        "residents": {"people": ["resident"], "point_value": since("50")},
    }
    found = paid_cases([CASE, CASE | {"psn_type": "resident"}, CASE | {"psn_type": "?"}], by_points(pools=pools))
    assert [(row["method"], row["payable_fen"]) for row in found] == [
        ("drg_points", 900000),
        ("drg_points", 100000),
        ("item", 600000),
    ]


def test_what_has_no_points_is_paid_by_item_off_the_budget_first():
    found = paid_cases([CASE, CASE | {"weight": None}], by_points(pools=pool(10000)))
    assert [(row["method"], row["payable_fen"]) for row in found] == [("drg_points", 400000), ("item", 600000)]


def test_a_stay_refunded_within_its_period_takes_no_part():
    refund = {"refd_setl_flag": "1", "init_setl_id": "s001", "fund_pay_sumamt": -6000, "psn_part_amt": -4000}
    rows = [CASE, CASE, CASE | refund]
    months = paid_months(rows, by_points(pools=pool(10000)))
    assert [(row["cases"], row["payable_fen"]) for row in months] == [(1, 1000000)]
    assert sum(row["payable_fen"] for row in months) == 1000000
    # refunded in the next year: it had its part of its own year, and gives it back in the year of the refund
    next_year = rows[2] | {"setl_time": datetime(2026, 1, 5)}
    months = paid_months([*rows[:2], next_year], by_points(pools=pool(10000)))
    assert [row["payable_fen"] for row in months] == [1000000, -500000]


def test_before_the_first_budget_stays_are_paid_by_item():
    by = by_points(pools={"all": {"budget": since("100", "2026-01-01")}})
    assert paid_cases([CASE], by)[0]["method"] == "item"


points = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 900_000), st.sampled_from(["H1", "H2"])), min_size=1,
                  max_size=15)  # fmt: skip


@given(points, st.integers(0, 10**9), st.randoms(use_true_random=False))
@examples(max_examples=60, deadline=None)
def test_a_budget_is_spent_to_the_fen_whatever_the_order_and_cases_make_the_months(cases, budget, chance):
    rows = [{"setl_id": f"s{n:03}", "weight": f"{w // 10**8}.{w % 10**8:08d}", "psn_part_amt": p / 100,
             "fixmedins_code": h} for n, (w, p, h) in enumerate(cases)]  # fmt: skip
    by = by_points(pools=pool(f"{budget // 100}.{budget % 100:02d}"))
    found = paid_cases(rows, by)
    if any(w for w, *_ in cases):
        assert sum(row["payable_fen"] for row in found) == budget
        assert all(row["payable_fen"] + row["psn_part_amt_fen"] == row["standard_fen"] >= 0 for row in found)
        more = sorted((row["volume"], row["standard_fen"]) for row in found)
        assert all(b >= a - 1 for (_, a), (_, b) in zip(more, more[1:], strict=False))  # a remainder is one fen
    assert paid_cases(chance.sample(rows, len(rows)), by) == found
    months = paid_months(rows, by)
    for hospital in ("H1", "H2"):
        mine = sum(row["payable_fen"] for row in found if row["fixmedins_code"] == hospital)
        assert mine == sum(row["payable_fen"] for row in months if row["fixmedins_code"] == hospital)


# pre-payment and clearing


def cleared(charged: list[int], payable: int, told: Told | None = None, **clearing) -> list[tuple]:
    """(method, payable, prepaid, cleared) in yuan of one hospital, charged by statement, payable by points."""
    rows = [{"weight": "1", "fund_pay_sumamt": c, "setl_time": datetime(2025, m, 5)} for m, c in enumerate(charged, 1)]
    by = by_points(pools={"all": {"point_value": since(str(Decimal(payable) / 100 / len(charged)), "2020-01-01")}},
                   clearing=clearing)  # fmt: skip
    return [(r["month"], r["method"], r["payable_fen"] / 100, r["prepaid_fen"] / 100, r["cleared_fen"] / 100)
            for r in paid_months(rows, by, told or Told())]  # fmt: skip


def test_a_share_of_what_is_charged_is_prepaid_by_the_month():
    # 浙江: at least 85 % (grade B)
    dated = {"2025-01-01": {"value": "85"}, "2025-02-01": {"value": "90"}}
    assert cleared([1000, 1000], 2200, prepaid=dated) == [
        ("2025-01", "drg_points", 1100, 850, 250),
        ("2025-02", "drg_points", 1100, 900, 200),
    ]


BANDS = [
    {"lo": 0, "hi": 80, "keep": 0},
    {"lo": 80, "hi": 100, "keep": 30},
    {"lo": 100, "hi": 120, "share": 50},
    {"lo": 120, "hi": "none", "share": 0},
]


@pytest.mark.parametrize(
    ("charged", "adds"),
    [
        (1000, 0),
        (900, -70),  # surplus of 100: keeps 30
        (700, -240),  # 200 keeps 60, 100 beyond keeps nothing: 60 of 300
        (1100, 50),  # overrun of 100: the fund bears half
        (1200, 100),
        (1500, 100),  # nothing beyond 120 %
    ],
)
def test_surplus_is_kept_and_overrun_shared_band_by_band(charged, adds):
    # overrun to 20 % half and half, nothing beyond; 30 % of a surplus kept (太仓-type quota, grade C: shape only)
    rows = cleared([charged], 1000, bands=since(BANDS, "2020-01-01"))
    assert sum(row[2] for row in rows if row[1] == "shared") == adds
    assert rows[0][:3] == ("2025-01", "drg_points", 1000)


@given(st.integers(0, 3000))
@examples(max_examples=25, deadline=None)
def test_a_hospital_that_charges_more_never_gets_less(charged):
    by = {"bands": since(BANDS, "2020-01-01")}
    less, more = (sum(row[2] for row in cleared([c], 1000, **by)) for c in (charged, charged + 1))
    assert more >= less


def test_quality_comes_after_sharing_and_deductions_last():
    told = Told(deductions=pl.DataFrame({"fixmedins_code": ["H1", "H1"], "year": [2025, 2025], "amount": [1000, 500]}))
    rows = cleared(
        [600, 600], 1000, told,
        bands=since(BANDS, "2020-01-01"), quality=since({"H1": "95"}, "2020-01-01"), prepaid=since("85", "2020-01-01"),
    )  # fmt: skip
    # 1000 payable + 100 of the overrun = 1100; 95 % takes 55; 15 deducted; 1020 prepaid
    by_method = {row[1]: row[2] for row in rows if row[1] != "drg_points"}
    assert by_method == {"deduction": -15, "quality": -55, "shared": 100}
    assert sum(row[4] for row in rows) == 1000 + 100 - 55 - 15 - 1020
    assert {row[0] for row in rows if row[1] in by_method} == {"2025-02"}


def test_a_county_alliance_answers_for_its_lump_sum():
    rows = [
        {"fixmedins_code": h, "insu_admdvs": area, "fund_pay_sumamt": fund, "visit_kind": "general_outpatient"}
        for h, area, fund in (("H1", "A", 300), ("H2", "A", 200), ("H9", "A", 100), ("H1", "B", 999))
    ]  # fmt: skip
    one = {"members": ["H1", "H2"], "lead": "H1", "areas": ["A"], "keep": "60", "share": "50"}
    for budget, balance, lead in ((700, 100, 60), (500, -100, -50)):
        by = policy(clearing={"alliances": since({"east": one | {"budget": str(budget)}}, "2020-01-01")})
        paid = case_payments(*frames(rows), by)
        (row,) = alliance_years(paid, by.provider.clearing).to_dicts()
        assert (row["own_fen"], row["outflow_fen"], row["balance_fen"]) == (50000, 10000, balance * 100)
        added = [r for r in paid_months(rows, by) if r["method"] == "alliance"]
        assert [(r["fixmedins_code"], r["payable_fen"]) for r in added] == [("H1", lead * 100)]


# the advance fund


def test_a_fund_with_enough_in_reserve_and_no_deficit_may_advance_a_month():
    # 职工 12 months, 居民 6 (grade B); reserves of 2024 (W23): 27.63 and 9.21 months
    rule = AdvanceFund.model_validate({"months": {"职工": "12", "居民": "6"}, "mean_of_years": "2"})
    billion = 10**10
    funds = pl.DataFrame(
        {
            "fund": ["职工", "居民"],
            "balance_fen": [3_044_550 * billion // 1, 818_302 * billion],
            "spent_fen": [[1_322_271 * billion, 1_200_000 * billion], [1_066_149 * billion]],
            "last_year_fen": [1, 0],
            "forecast_fen": [0, 1],
        }
    )
    found = advance_fund(funds, rule).to_dicts()
    assert [(f["months"], f["eligible"]) for f in found] == [(Decimal("27.63"), True), (Decimal("9.21"), True)]
    assert found[0]["amount_fen"] == (1_322_271 + 1_200_000) * billion // 24
    assert found[1]["amount_fen"] == (1_066_149 * billion + 6) // 12


@pytest.mark.parametrize(
    ("balance", "last", "ahead", "want"),
    [(1200, 0, 0, True), (1199, 0, 0, False), (1200, -1, 0, False), (1200, 0, -1, False)],
)
def test_exactly_twelve_months_are_enough_and_any_deficit_is_too_much(balance, last, ahead, want):
    rule = AdvanceFund.model_validate({"months": {"职工": "12"}})
    funds = pl.DataFrame({"fund": ["职工"], "balance_fen": [balance], "spent_fen": [[1200]], "last_year_fen": [last],
                          "forecast_fen": [ahead]})  # fmt: skip
    assert advance_fund(funds, rule)["eligible"].to_list() == [want]


# what a policy may not say


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ({"clearing": {"bands": since([{"lo": 0, "hi": 100, "keep": 1}, {"lo": 101, "hi": "none"}])}}, "首尾相接"),
        ({"clearing": {"bands": since([{"lo": 0, "hi": 120}, {"lo": 120, "hi": "none"}])}}, "止于 100"),
        ({"clearing": {"bands": since([{"lo": 0, "hi": 100, "share": 5}, {"lo": 100, "hi": "none"}])}}, "keep 只用于"),
        ({"pools": {"a": {"point_value": since("1"), "budget": since("1")}}}, "之一"),
        ({"pools": {"a": {"budget": since("1"), "total": "over_ratio"}}}, "同时写"),
        ({"pools": {"a": {"people": ["worcer"], "budget": since("1")}}}, "没有名为 worcer 的 groups"),
        ({"pools": {"a": {"budget": since("1")}, "b": {"people": ["worker"], "budget": since("1")}}}, "重复归属"),
        ({"pools": {"a": {"budget": since("1", "2025-02-01")}}}, "须从年初起: 2025-02-01"),
        ({"pools": {"a": {"budget": since("1", "2025-02-02"), "budget_per": "month"}}}, "须从月初起"),
        ({"methods": since([{"method": "drg_points"}])}, "须写 pools"),
        ({"methods": since([{"method": "bed_day"}])}, "须写 bed_days"),
        ({"methods": since([{"method": "item"}, {"method": "item", "levels": ["1"]}])}, "第 2 条永远轮不到"),
        ({"methods": since([{"method": "item", "case_kinds": ["x"]}])}, "没有名为 x 的 case_kinds"),
        ({"methods": since([{"method": "item", "benefits": ["inpatiant"]}])}, "inpatiant"),
        ({"methods": since([{"method": "drg_pionts"}])}, "drg_points"),
        ({"by_case": {"dip": {"scale": since("0.000000001")}}}, "八位小数"),
        ({"methods": since([{"method": "fixed_price"}])}, "须写 fixed_prices"),
        ({"fixed_prices": {"x": since({"prices": "1"})}}, "没有名为 x 的 case_kinds"),
        ({"fund_form": "share"}, "fund_share 须同时写"),
        ({"fund_share": since("70")}, "fund_share 须同时写"),
        ({"by_case": {"dip": {"outliers": since({"measure": "standard"})}}}, "只用于 drg_rate"),
        ({"by_case": {"dip": {"by_cost": since({"mean": "0"})}}}, "greater than or equal to 1"),
        ({"by_case": {"dip": {"by_cost": since({"mean": "none"})}}}, "less than"),
        ({"by_case": {"dip": {"outliers": since({"high_quota": {"quota": "5", "per": "day"}})}}}, "quarter"),
        ({"by_case": {"dip": {"outliers": since({"high": [{"over": 5, "times": 2}]})}}}, "从 0 起"),
        ({"bed_days": {"all": since({"days": [{"over": 0, "yuan": "1"}, {"over": 9, "points": "1"}]})}}, "各档同一种"),
    ],
)
def test_what_cannot_be_meant_is_refused(provider, words):
    with pytest.raises(ValueError, match=words):
        policy(**provider)


def test_a_misspelt_key_deep_inside_is_named_with_its_line_and_the_likely_one(tmp_path):
    text = """name: p
groups: {worker: {}}
benefits: {inpatient: {visit_kinds: [inpatient]}}
provider:
  pools: {all: {point_value: {2025-01-01: {value: 1}}}}
  methods:
    2025-01-01:
      value:
        - {methd: drg_points}
  by_case:
    drg_points:
      outliers:
        2025-01-01: {value: {lo: 0.4}}
"""
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    with pytest.raises(RuleProblem) as caught:
        load_policy(tmp_path / "p.yaml")
    said = str(caught.value)
    assert "provider.methods.2025-01-01.value.0.methd (第 9 行第 12 列): 没有这个键 methd" in said
    assert "provider.by_case.drg_points.outliers.2025-01-01.value.lo (第 13 行第 30 列)" in said
    (tmp_path / "p.yaml").write_text(text.replace("{lo: 0.4}", "{high_quota: {qouta: 5}}"), "utf-8")
    with pytest.raises(RuleProblem) as deeper:
        load_policy(tmp_path / "p.yaml")
    assert "outliers.2025-01-01.value.high_quota.qouta" in str(deeper.value)
    assert "did you mean quota?" in deeper.value.hint
    assert "did you mean method?" in caught.value.hint and "did you mean low?" in caught.value.hint


# refunds and order, over every method at once

METHODS = {
    "case_kinds": {"long": since({"days_over": "30"}, "2020-01-01")},
    "methods": since(
        [
            {"method": "bed_day", "benefits": ["inpatient"], "case_kinds": ["long"]},
            {"method": "drg_rate", "benefits": ["inpatient"], "levels": ["1"]},
            {"method": "dip", "benefits": ["inpatient"], "people": ["resident"]},
            {"method": "drg_points", "benefits": ["inpatient"]},
        ],
        "2020-01-01",
    ),
    "drg_rate": since("5000", "2020-01-01"),
    "by_case": {"drg_points": {"scale": since("100", "2020-01-01")}, "dip": {"scale": since("1000", "2020-01-01")}},
    "bed_days": {"all": since({"days": {"over": 0, "points": "2.36182972"}}, "2020-01-01")},
    "pools": {
        "workers": {"people": ["worker"], "budget": since("50000", "2020-01-01"), "budget_per": "month"},
        "residents": {"people": ["resident"], "point_value": since("10.12345678", "2020-01-01")},
    },
}
mixed = st.lists(
    st.tuples(
        st.integers(0, 3 * 10**8), st.integers(0, 900_000), st.sampled_from(["worker", "resident"]),
        st.sampled_from("13"), st.sampled_from([5, 90]), st.sampled_from([0, 3, 4]),  # month of the refund
    ),
    min_size=1, max_size=10,
)  # fmt: skip


@given(mixed, st.randoms(use_true_random=False))
@examples(max_examples=40, deadline=None)
def test_a_refunded_stay_nets_to_zero_whatever_its_method_and_the_order_does_not_matter(cases, chance):
    rows = []
    for n, (weight, person, people, level, days, refunded) in enumerate(cases):
        row = {"setl_id": f"s{n:03}", "weight": f"{weight // 10**8}.{weight % 10**8:08d}", "psn_type": people,
               "hosp_lv": level, "act_ipt_days": days, "psn_part_amt": person / 100,
               "fund_pay_sumamt": 77.77}  # fmt: skip
        rows.append(row)
        if refunded:
            back = {"psn_part_amt": -row["psn_part_amt"], "fund_pay_sumamt": -77.77, "weight": None}
            rows.append(row | back | {"setl_id": f"r{n:03}", "refd_setl_flag": "1", "init_setl_id": row["setl_id"],
                                      "setl_time": datetime(2025, refunded, 9)})  # fmt: skip
    by = policy(**METHODS)
    found = {row["setl_id"]: row for row in paid_cases(rows, by)}
    for row in found.values():
        if row["init_setl_id"]:
            original = found[row["init_setl_id"]]
            assert (row["payable_fen"], row["method"]) == (-original["payable_fen"], original["method"])
    months = paid_months(rows, by)
    assert paid_months(chance.sample(rows, len(rows)), by) == months
    assert sum(row["payable_fen"] for row in months) == sum(row["payable_fen"] for row in found.values())
    standing = [r for r in found.values() if not r["init_setl_id"] and r["setl_id"].replace("s", "r") not in found]
    pooled = [r for r in standing if r["pool"] == "workers" and r["period"]]
    pooled += [r for r in found.values() if r["pool"] == "workers" and r["refunded_on"] and r["refunded_on"].month == 4]
    if any(r["volume"] for r in pooled):  # what a later month takes back had its part of this one
        assert sum(r["payable_fen"] for r in pooled) == 5_000_000
