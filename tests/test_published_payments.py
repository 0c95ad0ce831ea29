"""Provider payment as it is published: each form as the text of a policy file, paid to the fen.

A form whose figures are exact in a government page or official report is named by it with its grade (A, B, D: derived
from such by arithmetic). Of the others the form is known from texts of that kind and the figures are ours:
(form, demo).
"""

from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest
from paying import frames

from engine.settlement.clearing import advance_fund, deductions_of
from engine.settlement.cross_region import care_ledger, home_ledger
from engine.settlement.direct_settlement import supplier_payments
from engine.settlement.policy import Policy, load_policy
from engine.settlement.provider import NOTHING_TOLD, Told, case_payments, provider_payment
from engine.settlement.workdays import instant_clock

HEAD = """\
name: published
groups: {worker: {}, resident: {}}
benefits:
  inpatient: {visit_kinds: [inpatient, day_surgery]}
  general: {visit_kinds: [general_outpatient]}
provider:
"""
BY_POINTS = "  methods: {2020-01-01: {value: [{method: drg_points, benefits: [inpatient]}]}}\n"
BY_DIP = "  methods: {2020-01-01: {value: [{method: dip, benefits: [inpatient]}]}}\n"
BY_RATE = "  methods: {2020-01-01: {value: [{method: drg_rate, benefits: [inpatient]}]}}\n"
TEN_A_POINT = "  pools: {all: {point_value: {2020-01-01: {value: 10}}}}\n"


@pytest.fixture
def read(tmp_path):
    def written(*parts: str) -> Policy:
        (tmp_path / "p.yaml").write_text(HEAD + "".join(parts), "utf-8")
        return load_policy(tmp_path / "p.yaml")

    return written


def cases(rows: list[dict], by: Policy, told: Told = NOTHING_TOLD) -> list[dict]:
    return case_payments(*frames(rows), by, told).sort("setl_id").to_dicts()


def points(rows: list[dict], by: Policy, told: Told = NOTHING_TOLD) -> list[Decimal]:
    return [Decimal(row["volume"]) / 10**8 for row in cases(rows, by, told)]


def payable(rows: list[dict], by: Policy, told: Told = NOTHING_TOLD) -> list[Decimal]:
    """Yuan, case by case."""
    return [Decimal(row["payable_fen"]) / 100 for row in cases(rows, by, told)]


def months(rows: list[dict], by: Policy, told: Told = NOTHING_TOLD) -> dict[str, Decimal]:
    """Yuan by method, over all months."""
    rows = provider_payment(*frames(rows), by, told).to_dicts()
    return {name: Decimal(sum(r["payable_fen"] for r in rows if r["method"] == name)) / 100
            for name in sorted({r["method"] for r in rows})}  # fmt: skip


# --- points ---------------------------------------------------------------------------------------------------------


def test_jinhua_points_are_base_points_times_the_difference_coefficient(read):
    # 金华 2017 (B): base = mean of the group / mean of the area x 100; coefficient = own mean / mean of all; new: 1
    by = read(BY_POINTS, TEN_A_POINT, """\
  by_case:
    drg_points:
      scale: {2020-01-01: {value: 100}}
      coefficient: {2020-01-01: {value: {by_group: {G: {institutions: {H1: 1.08}}}, new_groups: [N]}}}
""")  # fmt: skip
    # 12,500 / 10,000 x 100 = 125; x 1.08 = 135
    assert points([{"weight": "1.25"}, {"weight": "1.25", "drg": "N"}], by) == [135, 125]


def test_the_difference_coefficient_may_come_from_the_costs_of_the_year_before(read):
    # 金华, glossary (B), figures demo: H1 12,000 and 14,000, H2 10,000: 13,000 / 12,000 = 1.08333333
    by = read(BY_POINTS, TEN_A_POINT, """\
  by_case:
    drg_points:
      scale: {2020-01-01: {value: 100}}
      coefficient_of_prior_year: {2025-01-01: {value: {per: institution}}}
""")  # fmt: skip
    before = {"weight": "1", "setl_time": datetime(2024, 6, 1)}
    rows = [before | {"cost": 12000}, before | {"cost": 14000}, before | {"cost": 10000, "fixmedins_code": "H2"},
            {"weight": "1"}, {"weight": "1", "fixmedins_code": "H2"}, {"weight": "1", "drg": "N"}]  # fmt: skip
    assert points(rows, by)[3:] == [Decimal("108.333333"), Decimal("83.333333"), 100]


ZHEJIANG = """\
  by_case:
    drg_points:
      scale: {2020-01-01: {value: 100}}
      means: {2020-01-01: {value: {G: 10000, RE13: 10000}}}
      outliers: {2020-01-01: {value: {low: 0.4, early_ways: ["4"]}}}
      by_cost: {2020-01-01: {value: {groups: [U*], ungrouped: yes, mean: 8000}}}
      readmission: {2020-01-01: {value: {days: 15, keep: 50, exempt_groups: [RE*, RC*, RD*]}}}
"""


def test_zhejiang_incomplete_cases_have_points_by_cost_and_at_most_the_base(read):
    # 浙江 2019 (B): base x cost / mean, at most base; a low case (< 0.4) is one of them
    by = read(BY_POINTS, TEN_A_POINT, ZHEJIANG)
    rows = [{"weight": "1.5", "dscg_way": way, "cost": cost} for way, cost in (("4", 6000), ("4", 12000), ("1", 3999))]
    assert points(rows, by) == [90, 150, Decimal("59.985")]


def test_zhejiang_cases_of_unstable_groups_and_of_none_have_points_by_cost(read):
    # form: cost / mean of all cases x 100; 12,000 / 8,000 x 100 = 150
    by = read(BY_POINTS, TEN_A_POINT, ZHEJIANG)
    rows = [{"weight": "9", "drg": "U1", "cost": 12000}, {"weight": None, "drg": None, "cost": 12000}]
    assert points(rows, by) == [150, 150]


@pytest.mark.parametrize(("days", "gap", "want"), [(15, 15, 50), (15, 16, 100), (10, 10, 50), (10, 11, 100)])
def test_the_earlier_of_two_stays_in_a_group_keeps_half_within_15_days_in_zhejiang_and_10_in_jinhua(
    read, days, gap, want
):
    by = read(BY_POINTS, TEN_A_POINT, ZHEJIANG.replace("days: 15", f"days: {days}"))
    first = {"weight": "1", "psn_no": "P", "cost": 10000, "begntime": datetime(2025, 3, 1)} | {
        "endtime": datetime(2025, 3, 5)}  # fmt: skip
    again = first | {"begntime": datetime(2025, 3, 5 + gap), "endtime": datetime(2025, 3, 28)}
    assert points([first, again], by) == [want, 100]
    assert points([first | {"drg": "RE13"}, again | {"drg": "RE13"}], by) == [100, 100]  # chemotherapy is exempt


def test_hezhou_pays_a_psychiatric_bed_day_2_36182972_points(read):
    # 贺州, notice of 21 Nov 2022 (A); 90 days = 212.5646748 points (D)
    by = read(TEN_A_POINT, """\
  case_kinds: {精神: {2022-01-01: {value: {departments: [A15*]}}}}
  methods: {2022-01-01: {value: [{method: bed_day, case_kinds: [精神]}]}}
  bed_days: {精神: {2022-01-01: {value: {days: {3: {over: 0, points: 2.36182972}}}}}}
""")  # fmt: skip
    stay = {"dscg_dept_codg": "A15", "act_ipt_days": 90}
    assert points([stay], by) == [Decimal("212.5646748")]
    assert payable([stay], by) == [Decimal("2125.65")]


def test_the_value_of_a_point_is_the_budget_and_what_persons_bear_over_all_points(read):
    # hospital report (B): income (fund and persons) = points x value. (60,000 + 12,000 + 18,000) / 300 = 300 a point
    by = read(BY_POINTS, "  by_case: {drg_points: {scale: {2020-01-01: {value: 100}}}}\n",
              "  pools: {all: {budget: {2025-01-01: {value: 60000}}}}\n")  # fmt: skip
    rows = [{"weight": "1", "psn_part_amt": 12000}, {"weight": "2", "psn_part_amt": 18000}]
    assert payable(rows, by) == [18000, 42000]


def test_a_city_keeps_five_percent_of_its_budget_to_share_overruns(read):
    # 360docs (B): 5 % 调剂金. 95,000 / 200 points = 475
    by = read(BY_POINTS, "  by_case: {drg_points: {scale: {2020-01-01: {value: 100}}}}\n",
              "  pools: {all: {budget: {2025-01-01: {value: 100000}},"
              " reserve: {2025-01-01: {value: 5}}}}\n")  # fmt: skip
    assert payable([{"weight": "1"}, {"weight": "1"}], by) == [47500, 47500]


# --- rate -----------------------------------------------------------------------------------------------------------

BORNE = {"cost": 15000, "fulamt_ownpay_amt": 600, "preselfpay_amt": 400, "inscp_scp_amt": 14000, "act_pay_dedc": 1000,
         "fund_pay_sumamt": 10400, "psn_part_amt": 4600}  # fmt: skip


@pytest.mark.parametrize(("form", "want"), [("difference", "7400"), ("ratio", "8000")])
def test_the_two_published_forms_of_the_funds_payment(read, form, want):
    # standard 12,000. 1 (C, in common use): 12,000 - 4,600 = 7,400
    # 2 (national specification, R): (12,000 - 600 - 400 - 1,000) x 80 %, where 80 % = 10,400 / (14,000 - 1,000)
    by = read(BY_RATE, f"  fund_form: {form}\n", "  drg_rate: {2020-01-01: {value: 8000}}\n")
    assert payable([BORNE | {"weight": "1.5"}], by) == [Decimal(want)]


def test_the_ratio_form_pays_nothing_below_zero(read):
    by = read(BY_RATE, "  fund_form: ratio\n", "  drg_rate: {2020-01-01: {value: 1000}}\n")
    assert payable([BORNE | {"weight": "1.5"}], by) == [0]  # 1,500 - 2,000


def test_the_base_rate_is_the_budget_over_the_expected_weights(read):
    # 费率法 (R): 3,600,000 / (300 x 0.8 + 200 x 1.2) = 7,500; at level 3 by coefficient 1.05
    by = read(BY_RATE, "  drg_rate: {2020-01-01: {value: 7500}}\n",
              "  by_case: {drg_rate: {coefficient: {2020-01-01: {value: {levels: {3: 1.05}}}}}}\n")  # fmt: skip
    assert payable([{"weight": "0.8"}, {"weight": "1.2", "hosp_lv": "2"}], by) == [6300, 9000]


BEIJING = """\
  drg_rate: {2020-01-01: {value: 10000}}
  by_case:
    drg_rate:
      outliers:
        2020-01-01:
          value:
            measure: standard
            low: 0.4
            low_pays: item
            high: {3: 3, all: 2}
            high_pays: item
            high_quota: {quota: 5, per: month}
"""


def test_beijing_pays_far_cases_by_item_and_of_the_costly_ones_only_five_percent(read):
    # form of the CHS-DRG texts (national specification, B: 3 x, 2 x, 0.4 x the standard), figures demo: of 40 cases two
    by = read(BY_RATE, BEIJING)
    usual = [{"weight": "1", "cost": 10000, "fund_pay_sumamt": 7000, "psn_part_amt": 3000}] * 36
    low = {"weight": "1", "cost": 3999.99, "fund_pay_sumamt": 2500, "psn_part_amt": 1499.99}
    high = [{"weight": "1", "cost": c, "fund_pay_sumamt": c - 9000, "psn_part_amt": 9000}
            for c in (31000, 50000, 40000)]  # fmt: skip
    found = cases([*usual, low, *high], by)
    assert [row["method"] for row in found[36:]] == ["item", "drg_rate", "item", "item"]
    assert [row["payable_fen"] for row in found[35:]] == [700000, 250000, 100000, 4100000, 3100000]
    assert [row["step"] for row in found[36:]] == ["low", "over_quota", "high", "high"]
    assert found[36]["fallback"] == "outlier"


def test_a_costly_case_may_get_a_share_of_what_lies_above_up_to_so_many_times(read):
    # form (R): base x (cost / mean - bound), here 70 % of it and counted to 6 times the mean
    by = read(BY_POINTS, TEN_A_POINT, """\
  by_case:
    drg_points:
      scale: {2020-01-01: {value: 100}}
      means: {2020-01-01: {value: {G: 10000}}}
      outliers: {2020-01-01: {value: {high: 3, high_percent: 70, most: 6}}}
""")  # fmt: skip
    # 100 + 70 % of 100 x (5 - 3) = 240; at 9 times: 100 + 70 % of 100 x (6 - 3) = 310
    assert points([{"weight": "1", "cost": c} for c in (30000, 50000, 90000)], by) == [100, 240, 310]


@pytest.mark.parametrize(
    ("weight", "cost", "want"), [("0.9", 40000, "180"), ("1.5", 30000, "225"), ("3", 25000, "450")]
)
def test_the_bound_of_a_costly_case_goes_by_the_points_of_its_group(read, weight, cost, want):
    # 广西 bands, not verified (R): 3 up to 100 points, 2.5 to 200, 2 above; 90 + 90 x (4 - 3) …
    by = read(BY_POINTS, TEN_A_POINT, """\
  by_case:
    drg_points:
      scale: {2020-01-01: {value: 100}}
      means: {2020-01-01: {value: {G: 10000}}}
      outliers:
        2020-01-01: {value: {high: [{over: 0, times: 3}, {over: 100, times: 2.5}, {over: 200, times: 2}]}}
""")  # fmt: skip
    assert points([{"weight": weight, "cost": cost}], by) == [Decimal(want)]


def test_qingyang_leaves_stays_of_two_days_and_of_sixty_to_payment_by_item(read):
    # 庆阳 2025 (B)
    by = read(TEN_A_POINT, """\
  case_kinds: {短: {2025-01-01: {value: {days_up_to: 2}}}, 长: {2025-01-01: {value: {days_over: 59}}}}
  methods: {2025-01-01: {value: [{method: item, case_kinds: [短, 长]}, {method: drg_points, benefits: [inpatient]}]}}
""")  # fmt: skip
    found = cases([{"weight": "1", "act_ipt_days": n} for n in (2, 3, 59, 60)], by)
    assert [row["method"] for row in found] == ["item", "drg_points", "drg_points", "item"]


def test_sanming_pays_fixed_shares_of_a_packed_standard_by_level(read):
    # form of C-DRG: standard by group and level; of it the fund bears a fixed share, the person the rest (demo figures)
    by = read(BY_RATE, """\
  fund_form: share
  fund_share: {2020-01-01: {value: {worker: {2: 80, 3: 70}, resident: {2: 70, 3: 60}}}}
  drg_rate: {2020-01-01: {value: {all: {2: 6000, 3: 8000}}}}
""")  # fmt: skip
    rows = [{"weight": "1.25", "hosp_lv": lv, "psn_type": who, "psn_part_amt": 9999} for who in ("worker", "resident")
            for lv in "32"]  # fmt: skip
    assert payable(rows, by) == [7000, 6000, 6000, 5250]


def test_a_day_surgery_has_a_fixed_price_and_one_disease_never_more_than_its_cost(read):
    # form of 日间手术 and 按病种定额 (demo): 4,800 whatever it cost; a disease 9,000 at level 3, at most its cost
    by = read("""\
  case_kinds:
    日间手术: {2020-01-01: {value: {visit_kinds: [day_surgery]}}}
    阑尾炎: {2020-01-01: {value: {groups: [GD2*]}}}
  methods: {2020-01-01: {value: [{method: fixed_price, case_kinds: [日间手术, 阑尾炎]}]}}
  fixed_prices:
    日间手术: {2020-01-01: {value: {prices: 4800}}}
    阑尾炎: {2020-01-01: {value: {prices: {3: 9000, 2: 7000}, up_to_cost: yes}}}
""")
    rows = [{"visit_kind": "day_surgery", "cost": 3000, "psn_part_amt": 1000}] + [
        {"drg": "GD25", "cost": cost, "hosp_lv": lv, "psn_part_amt": 1000}
        for cost, lv in ((12000, "3"), (8000.5, "3"), (8000, "2"), (8000, "1"))
    ]
    found = cases(rows, by)
    assert [row["payable_fen"] for row in found] == [380000, 800000, 700050, 600000, 0]
    assert (found[-1]["method"], found[-1]["fallback"]) == ("item", "no_price")  # no price at level 1


def test_rehabilitation_is_paid_by_bed_days_in_bands(read):
    # form (demo): to day 30 350 yuan, to day 60 300, then 260, times the assessment of the institution
    by = read("""\
  methods: {2020-01-01: {value: [{method: bed_day, benefits: [inpatient]}]}}
  bed_days:
    all:
      2020-01-01:
        value:
          days: [{over: 0, yuan: 350}, {over: 30, yuan: 300}, {over: 60, yuan: 260}]
          assessment: {H2: 95}
""")
    rows = [{"act_ipt_days": n} for n in (30, 45, 70)] + [{"act_ipt_days": 70, "fixmedins_code": "H2"}]
    assert payable(rows, by) == [10500, 15000, 22100, 20995]


# --- DIP ------------------------------------------------------------------------------------------------------------

GUANGZHOU = """\
  by_case:
    dip:
      scale: {2018-01-01: {value: 1000}}
      coefficient: {2018-01-01: {value: {levels: {3: 1, 2: 0.8, 1: 0.6}}}}
      primary_groups: {2018-01-01: {value: [J20*]}}
      means: {2018-01-01: {value: {G: {3: 10000, 2: 8000}, J20: 3000}}}
      outliers:
        2018-01-01:
          value: {low: 0.5, high: 2, review: 5, early_with_coefficient: yes, high_with_coefficient: yes}
"""


@pytest.mark.parametrize(
    ("cost", "want"),
    [
        (4999, "599.88"),
        (5000, 1200),
        (20000, 1200),
        (20001, "1200.12"),
        (25000, 1800),
        (50000, 4800),
        (50001, "4800.12"),
    ],  # fmt: skip
)
def test_guangzhou_scores_follow_the_deviation_of_cost(read, cost, want):
    # 广州 2018 (B): c < 0.5: c; to 2: 1; above: (c - 2) + 1; above 5 to experts
    (found,) = cases([{"weight": "1.2", "cost": cost}], read(BY_DIP, TEN_A_POINT, GUANGZHOU))
    assert Decimal(found["volume"]) / 10**8 == Decimal(want)
    assert found["to_experts"] == (cost > 50000)


def test_guangzhou_scores_are_times_the_level_and_primary_diseases_are_not(read):
    rows = [{"weight": "1.2", "cost": 8000, "hosp_lv": "2"},
            {"weight": "0.3", "cost": 3000, "hosp_lv": "1", "drg": "J20"}]  # fmt: skip
    assert points(rows, read(BY_DIP, TEN_A_POINT, GUANGZHOU)) == [960, 300]


def test_the_settled_value_of_a_score_is_the_money_over_the_ratio_over_all_scores(read):
    # 结算点值 = (当年可用基金 / 医保报销比例) / Σ(score x n) (B): (140,000 / 70 %) / 20,000 = 10 yuan
    by = read(BY_DIP, "  by_case: {dip: {scale: {2020-01-01: {value: 1000}}}}\n", """\
  pools: {all: {budget: {2025-01-01: {value: 140000}}, total: over_ratio, ratio: {2025-01-01: {value: 70}}}}
""")  # fmt: skip
    rows = [{"weight": "8", "psn_part_amt": 24000}, {"weight": "12", "psn_part_amt": 36000}]
    assert payable(rows, by) == [56000, 84000]


def test_local_bounds_of_deviation_are_parameters(read):
    # another city (C, garbled): low up to and with 0.6, high from 1.5
    by = read(BY_DIP, TEN_A_POINT, GUANGZHOU.replace("low: 0.5, high: 2", "low: 0.6, at_low: low, high: 1.5"))
    assert points([{"weight": "1", "cost": c} for c in (6000, 6001, 15000, 16000)], by) == [600, 1000, 1000, 1100]


def test_a_chinese_medicine_group_is_paid_as_the_same_effect_or_with_an_uplift(read):
    # form (demo): 同病同效同价 with the surgical group of 1.8, or 5 % more
    by = read(BY_DIP, TEN_A_POINT, """\
  by_case:
    dip:
      scale: {2020-01-01: {value: 1000}}
      chinese_groups: {2020-01-01: {value: [{groups: [BNP1], weight: 1.8}, {groups: [BNP*], percent: 105}]}}
""")  # fmt: skip
    assert points([{"weight": "0.6", "drg": g} for g in ("BNP1", "BNP2", "X")], by) == [1800, 630, 600]


@pytest.mark.parametrize(
    ("method", "quota", "n", "heard"),
    [("drg_points", 5, 100, 5), ("dip", 0.5, 1000, 5), ("drg_points", 5, 99, 4), ("dip", 0.5, 999, 4)],
)
def test_special_cases_are_heard_up_to_the_quota(read, method, quota, n, heard):
    # 医保办发〔2024〕9号 (R): 5 % of DRG discharges, 5 per mille of DIP discharges
    by = read(BY_POINTS.replace("drg_points", method), TEN_A_POINT,
              f"  by_case: {{{method}: {{review: {{2020-01-01: {{value: {{quota: {quota}}}}}}}}}}}\n")  # fmt: skip
    asked = pl.DataFrame({"setl_id": [f"s{k:03}" for k in range(1, 8)], "applied": [date(2025, 4, 1)] * 7,
                          "outcome": ["adjust"] * 7, "points": [Decimal("300")] * 7})  # fmt: skip
    told = Told(reviews=asked.with_columns(pl.col("points").cast(pl.Decimal(18, 8))))
    found = cases([{"weight": "1"}] * n, by, told)
    assert sum(row["review"] == "adjust" and row["volume"] == 300 * 10**8 for row in found) == heard


# --- clearing -------------------------------------------------------------------------------------------------------


def cleared(read, charged: int, clearing: str, told: Told = NOTHING_TOLD) -> dict[str, Decimal]:
    """Payable 100,000 by points; charged as said."""
    by = read(BY_POINTS, "  pools: {all: {point_value: {2020-01-01: {value: 100000}}}}\n", clearing)
    return months([{"weight": "1", "fund_pay_sumamt": charged}], by, told)


@pytest.mark.parametrize(
    ("charged", "adds"), [(95000, 0), (90000, 0), (85000, -5000), (105000, 3500), (110000, 7000), (125000, 7000)]
)
def test_a_surplus_of_ten_percent_is_kept_whole_and_an_overrun_of_ten_percent_shared_70_to_30(read, charged, adds):
    # form (demo): beyond ten percent nothing is kept and nothing shared
    found = cleared(read, charged, """\
  clearing:
    bands:
      2020-01-01:
        value: [{lo: 0, hi: 90}, {lo: 90, hi: 100, keep: 100}, {lo: 100, hi: 110, share: 70}, {lo: 110, hi: none}]
""")  # fmt: skip
    assert found.get("shared", 0) == adds


@pytest.mark.parametrize(
    ("charged", "adds"), [(79999, -20001), (80000, 0), (99000, 0), (100000, 0), (110000, 8000), (110001, 0)]
)
def test_below_eighty_percent_the_charged_is_paid_and_above_it_the_payable(read, charged, adds):
    # form of 广东 DIP clearing (demo figures): the band the charged lies in decides over all of it
    found = cleared(read, charged, """\
  clearing:
    bands_take: whole
    bands:
      2020-01-01:
        value: [{lo: 0, hi: 80}, {lo: 80, hi: 100, keep: 100}, {lo: 100, hi: 110, share: 80}, {lo: 110, hi: none}]
""")  # fmt: skip
    assert found.get("shared", 0) == adds


@pytest.mark.parametrize(("charged", "adds"), [(110000, 5000), (120000, 10000), (150000, 10000), (95000, -3500),
                                               (90000, -7000), (80000, -17000)])  # fmt: skip
def test_taicang_shares_half_of_twenty_percent_and_keeps_thirty_percent_to_three(read, charged, adds):
    # 太仓-type quota (C, the only explicit numbers known): overrun to 20 % half; of a surplus 30 %, at most 3 % in all
    found = cleared(read, charged, """\
  clearing:
    bands:
      2020-01-01:
        value: [{lo: 0, hi: 90}, {lo: 90, hi: 100, keep: 30}, {lo: 100, hi: 120, share: 50}, {lo: 120, hi: none}]
""")  # fmt: skip
    assert found["shared"] == adds


def test_zhejiang_prepays_85_percent_and_a_city_holds_five_percent_back_as_deposit(read):
    # 浙江 (B): at least 85 % by the month, of what is charged; deposit of 5 % of the pay, released by score (C)
    text = "  clearing: {prepaid: {2020-01-01: {value: 85}}}\n"
    by = read(BY_POINTS, TEN_A_POINT, text)
    rows = [{"weight": "2", "fund_pay_sumamt": 15}]
    (row,) = provider_payment(*frames(rows), by).to_dicts()
    assert (row["payable_fen"], row["prepaid_fen"], row["cleared_fen"]) == (2000, 1275, 725)
    # 95 % of the payable at once; of the 5 % a score of 80 releases four fifths: the year's factor is 99 %
    by = read(BY_POINTS, TEN_A_POINT, """\
  clearing:
    prepaid: {2020-01-01: {value: 95}}
    prepaid_of: payable
    quality: {2020-01-01: {value: {H1: 99}}}
""")  # fmt: skip
    found = provider_payment(*frames(rows), by).to_dicts()
    assert [(r["method"], r["cleared_fen"]) for r in found] == [("drg_points", 100), ("quality", -20)]


def test_a_decided_recovery_is_deducted_from_the_clearing(read):
    # 云阳医保〔2025〕145号 (A): losses of 13,791.60 and 1,087.50; what was returned otherwise is not taken again
    rows = pl.DataFrame(
        {
            "fixmedins_code": ["H1", "H1", "H1"],
            "recover_date": [date(2025, 3, 1)] * 3,
            "amount": [1_379_160, 108_750, 99],
            "channel": ["audit_deduction", "clearing", "self_return"],
        }
    )
    found = cleared(read, 100000, "", Told(deductions=deductions_of(rows)))  # fmt: skip
    assert found["deduction"] == Decimal("-14879.10")


def test_a_county_alliance_keeps_sixty_percent_of_what_its_lump_sum_leaves(read):
    # form (demo): budget less own and outflow; 1,000,000 - 700,000 - 200,000 = 100,000, of which 60 %
    by = read("""\
  clearing:
    alliances:
      2025-01-01:
        value: {东: {members: [H1, H2], lead: H1, areas: ["450881"], budget: 1000000, keep: 60, share: 50}}
""")
    rows = [{"fixmedins_code": h, "insu_admdvs": "450881", "fund_pay_sumamt": f} for h, f in
            (("H1", 400000), ("H2", 300000), ("H9", 200000))]  # fmt: skip
    assert months(rows, by)["alliance"] == 60000


# --- other places, suppliers, clocks, funds -------------------------------------------------------------------------


def test_stays_from_within_the_region_are_paid_by_group_and_those_from_without_by_item(read):
    # 区内异地按病组付费 (S), 跨省按项目; home owes its statement, and does not share the budget of the place of care
    by = read("""\
  case_kinds: {跨省: {2025-01-01: {value: {away: yes, areas: [44*]}}}}
  methods: {2025-01-01: {value: [{method: item, case_kinds: [跨省]}, {method: drg_points, benefits: [inpatient]}]}}
  pools: {all: {budget: {2025-01-01: {value: 20000}}, away: valued}}
""")
    here, there = {"insu_admdvs": "450800", "mdtrtarea_admdvs": "450800"}, {"mdtrtarea_admdvs": "450800"}
    rows = [{"weight": "1"} | here, {"weight": "1"} | here,
            {"weight": "1", "fund_pay_sumamt": 6500, "psn_part_amt": 2000, "insu_admdvs": "450100"} | there,
            {"weight": "1", "fund_pay_sumamt": 6500, "insu_admdvs": "440100"} | there]  # fmt: skip
    assert payable(rows, by) == [10000, 10000, 8000, 6500]
    paid = case_payments(*frames(rows), by)
    care = care_ledger(paid, by.provider)
    assert care.select("home", "paid_fen", "received_fen", "borne_fen").rows() == [
        ("440100", 650000, 650000, 0), ("450100", 800000, 650000, 150000),
    ]  # fmt: skip
    assert home_ledger(paid, by.provider)["owed_fen"].to_list() == [650000, 650000]


def test_what_the_fund_pays_a_supplier_comes_off_the_hospital(read):
    sent = pl.DataFrame({"fixmedins_code": ["H1"], "month": ["2025-03"], "supplier": ["S"], "amount": [30_000]})
    found = cleared(read, 100000, "", Told(deliveries=sent))
    assert found["direct_settlement"] == -300 and supplier_payments(sent)["paid_fen"].sum() == 30_000


@pytest.mark.parametrize(("paid", "breach"), [(date(2025, 3, 28), False), (date(2025, 3, 31), True)])
def test_a_settlement_is_paid_out_within_twenty_working_days_of_the_deadline(read, paid, breach):
    # 贵港 (S), 新华社 16 Oct 2025 (B): from the day after the deadline; 28 Feb 2025 + 20 working days = 28 March
    by = read("  instant_days: {2025-01-01: {value: 20}}\n")
    calendar = pl.DataFrame({"day": [date(2025, 1, 1)], "kind": ["holiday"]})
    clock = instant_clock(pl.DataFrame({"deadline": [date(2025, 2, 28)], "paid": [paid]}), calendar,
                          by.provider.instant_days)  # fmt: skip
    assert clock["breach"].to_list() == [breach]


def test_the_funds_of_2024_may_advance_a_month(read):
    # 国家医保局办公室 财政部办公厅 11 Nov 2024 (B); W23 (D): 27.63 and 9.21 months
    by = read("  clearing: {advance: {2024-11-11: {value: {months: {职工: 12, 居民: 6}}}}}\n")
    rule = by.provider.clearing.advance[date(2024, 11, 11)].value
    hundred_million, fen = 10**8, 100
    funds = pl.DataFrame({
        "fund": ["职工", "居民"], "last_year_fen": [1, 1], "forecast_fen": [0, 0],
        "balance_fen": [304455 * hundred_million * fen // 10, 818302 * hundred_million * fen // 100],
        "spent_fen": [[1322271 * hundred_million * fen // 100], [1066149 * hundred_million * fen // 100]],
    })  # fmt: skip
    assert advance_fund(funds, rule).select("months", "eligible").rows() == [
        (Decimal("27.63"), True), (Decimal("9.21"), True),
    ]  # fmt: skip
