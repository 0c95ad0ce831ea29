"""Rules as places publish them, settled through policies alone: published examples, and one example of every form.

Published examples name their source and grade. The others are made by hand: the *form* is that of the place named, the
numbers are grade demo and worked out in the comment, so that a form is known to be expressible and exact.
"""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from test_settlement import claims_of, lines_of, refund_of
from test_waterfall import enrolled, fen, policy_of, rows_of

from engine.settlement.person import settle_steps

START = datetime(2025, 3, 1, 8)


def statements(text: str, *rows: dict, openings=None, **known) -> list[dict]:
    """Steps of claims in the order given; `lines` are (item, yuan, further fields of the line), or one of `cost`."""
    head = "name: form\ngrade: demo\n" + ("" if "groups:" in text else "groups: {worker: {}}\n")
    rows = [{"setl_id": f"s{n:02}", "setl_time": START + timedelta(minutes=n)} | row for n, row in enumerate(rows)]
    lines = [
        {"setl_id": row["setl_id"], "med_list_codg": item, "pric": yuan, "cnt": row.get("cnt", "1")} | more
        for row in rows
        for item, yuan, *rest in row.get("lines", [("any", row.get("cost", "0"))])
        for more in [rest[0] if rest else {}]
    ]
    rows = [{name: value for name, value in row.items() if name != "lines"} for row in rows]
    frame = settle_steps(claims_of(*rows), lines_of(*lines), policy_of(head + text), None, openings, known)
    found = {row["setl_id"]: row for row in frame.iter_rows(named=True)}
    return [found[row["setl_id"]] for row in rows]


def pool(text: str, *rows: dict, **more) -> list[int]:
    return [one["hifp_pay"] for one in statements(text, *rows, **more)]


def day(month: int, of: int = 1, year: int = 2025) -> dict:
    return {"setl_time": datetime(year, month, of, 9), "begntime": datetime(year, month, of, 8)}


def aged(years: int) -> dict:
    return {"age": years, "psn_no": f"of{years}"}


INPATIENT = """
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {{2020-01-01: {{value: {deductible}}}}}
    ratio: {{2020-01-01: {{value: {ratio}}}}}
"""


def inpatient(ratio: str, deductible: str = "0", more: str = "") -> str:
    return INPATIENT.format(ratio=ratio, deductible=deductible) + more


# ---- published examples


@pytest.mark.parametrize(
    ("line", "person"),
    [
        (("甲", "34000"), "3808"),  # 11.2 % of it
        (("乙", "18200", {"chrgitm_lv": "02", "selfpay_prop": "0.1"}), "3654.56"),  # 1,820 + 16,380 x 11.2 %
        (("放宽", "2000", {"chrgitm_lv": "02", "selfpay_prop": "0.3"}), "756.80"),  # 600 + 1,400 x 11.2 %
        (("假体", "50000"), "25000"),  # half, and no part of the 88.8 %
        (("自费", "2000", {"chrgitm_lv": "03"}), "2000"),
    ],
)
def test_w11_each_kind_of_item_leaves_the_person_its_published_share(line, person):
    # xiangrikui 2012-04-09 (B): retired, third level; co-pay 11.2 %. Components only: the sums printed do not add up.
    text = inpatient("88.8", more="    item_classes: {prosthesis: {items: [假体], ratio: {2010-01-01: {value: 50}}}}\n")
    assert statements(text, {"lines": [line]})[0]["psn_part_amt"] == fen(person)


@pytest.mark.parametrize(
    ("ratio", "amount", "loss"),
    [("75", "188", "141"), ("75", "50", "37.50"), ("75", "49", "36.75"), ("75", "10", "7.50"),
     ("85", "3825", "3251.25"), ("85", "24", "20.40")],
)  # fmt: skip
def test_w19_what_a_violation_cost_the_fund_is_its_ratio_of_it(ratio, amount, loss):
    # 湘乡医保处字〔2022〕35号 75 %, 〔2023〕3号 85 % (A)
    assert pool(inpatient(ratio), {"cost": amount}) == [fen(loss)]


def test_w5_with_its_start_line_as_five_percent_of_the_wage():
    # 成都 about 2012 (B): 起付 5 % x 8,084 = 404.20, 75 % + 0.2 x 40 = 83 % → 24,564.51
    text = (
        "figures: {wage: {2011-01-01: {value: 8084}}}\n"
        + """
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2012-01-01: {value: {percent: 5, of: wage, years_back: 1, whole_yuan: no}}}
    ratio: {2012-01-01: {value: 75}}
    age_points: {2012-01-01: {value: 0.2}}
"""
    )
    one = statements(text, {"cost": "30000", "age": 40, **day(6, year=2012)})[0]
    assert (one["act_pay_dedc"], one["hifp_pay"], one["psn_part_amt"]) == (40420, 2456451, 543549)


def test_w15_the_cost_of_which_the_person_paid_2600_is_7500():
    # textbook (B): up to 500 nothing, 500–10,000 70 %, above 80 %: the person pays 500 + 30 % of the rest
    text = inpatient("[{over: 0, percent: 0}, {over: 500, percent: 70}, {over: 10000, percent: 80}]")
    assert statements(text, {"cost": "7500"})[0]["psn_part_amt"] == 260000


def test_dongping_all_three_layers_of_an_employee():
    """泰安东平 (hospital notice, B): 二级 500, 中医院 400; second half, third none; 88 %, retired 93 %.

    200,000 of the pool, then 90 % to 400,000 in all; of the year's own share above 20,000 60 %.
    """
    text = """
groups: {worker: {}, retired: {}}
benefits:
  chinese:
    visit_kinds: [inpatient]
    where: {fixmedins_code: [T1]}
    deductible_per: admission
    deductible: {2020-01-01: {value: 400}}
    nth_admission_percent: {2020-01-01: {value: [100, 50, 0]}}
    ratio: {2020-01-01: {value: {worker: 93, retired: 95}}}
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: 500}}
    nth_admission_percent: {2020-01-01: {value: [100, 50, 0]}}
    ratio: {2020-01-01: {value: {worker: 88, retired: 93}}}
annual_cap: {2020-01-01: {value: 200000}}
large_amount: {ratio: {2020-01-01: {value: 90}}, annual_cap: {2020-01-01: {value: 200000}}}
payers:
  own_share: {column: hifes_pay, start: {2020-01-01: {value: 20000}}, ratio: {2020-01-01: {value: 60}}}
"""
    rows = [{"cost": "10500"}, {"cost": "10250"}, {"cost": "10000", "fixmedins_code": "T1"}]
    rows += [{"cost": "10400", "fixmedins_code": "T1", "psn_no": "q", "psn_type": "retired"}]
    # (10,500 − 500) x 88 %; (10,250 − 250) x 88 %; third, none: 10,000 x 93 %; (10,400 − 400) x 95 %
    assert pool(text, *rows) == [880000, 880000, 930000, 950000]
    one = statements(text, {"cost": "300500"})[0]
    # 300,000 x 88 % = 264,000: 200,000, the cost behind the other 64,000 is 72,727.27, 90 % of it 65,454.54;
    # own share 300,500 − 200,000 − 65,454.54 = 35,045.46; (35,045.46 − 20,000) x 60 % = 9,027.28
    assert [one[name] for name in ("hifp_pay", "hifob_pay", "hifes_pay")] == [20000000, 6545454, 902728]


SUQIAN = """
groups: {居民: {psn_types: [worker]}}
categories: {特困: {}, 低保: {}, 低保边缘: {}}
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: 60}}}
payers:
  assistance:
    column: maf_pay
    by: category
    start: {2024-01-01: {value: {特困: 0, 低保: 0, 低保边缘: 3000}, grade: A}}
    ratio: {2024-01-01: {value: {特困: 100, 低保: 80, 低保边缘: 70}, grade: A}}
    annual_cap: {2024-01-01: {value: {all: 100000}, grade: A}}
"""


@pytest.mark.parametrize(("category", "paid"), [("特困", "8000"), ("低保", "6400"), ("低保边缘", "3500"), ("无", "0")])
def test_suqian_assistance_by_category(category, paid):
    # 宿迁 2024 (scale A, example made): of 20,000 the pool leaves 8,000: all; 80 %; (8,000 − 3,000) x 70 %
    persons = rows_of("persons", {"psn_no": "p", "aid_type": category})
    assert statements(SUQIAN, {"cost": "20000"}, persons=persons)[0]["maf_pay"] == fen(paid)


# ---- forms of the ratio


def test_beijing_retired_bear_three_fifths_of_what_employees_bear():
    """Tiers by amount, second stay half the start line, 退休个人支付比例为在职职工的 60%.

    Employee of 50,000: 28,700 x 85 % + 10,000 x 90 % + 10,000 x 95 %; retired 91, 94 and 97 %. Then 8,000 − 650.
    """
    text = """
groups: {worker: {}, retired: {}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: 1300}}
    nth_admission_percent: {2020-01-01: {value: [100, 50]}}
    ratio:
      2020-01-01: {value: [{over: 0, percent: 85}, {over: 30000, percent: 90}, {over: 40000, percent: 95}]}
    self_pay_percent: {2020-01-01: {value: {worker: 100, retired: 60}}}
"""
    retired = {"psn_no": "q", "psn_type": "retired"}
    rows = [{"cost": "50000"}, {"cost": "8000"}, retired | {"cost": "50000"}]
    assert pool(text, *rows) == [4289500, 624750, 4521700]


MONTHS = """
groups:
  满六个月: {psn_types: [worker], months_from: 6}
  不满六个月: {psn_types: [worker]}
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: {满六个月: 95, 不满六个月: 50}}}}
"""


@pytest.mark.parametrize(("begun", "fund"), [(date(2024, 9, 1), 95000), (date(2024, 9, 2), 50000), (None, 50000)])
def test_huizhou_the_ratio_by_months_of_contribution(begun, fund):
    # 惠州 (old scheme, C): 95 % from six months on, 50 % before. Six months are full on the first of March.
    spells = enrolled(("p", "310", begun or date(2026, 1, 1)))
    assert pool(MONTHS, {"cost": "1000", **day(3)}, enrolments=spells) == [fund]


def test_shenzhen_the_cap_grows_with_unbroken_contribution():
    """连续参保不满 6 个月为平均工资的 1 倍, 满 6 个月 2 倍, 满 12 个月 3 倍; wage 100,000."""
    text = """
groups:
  满一年: {psn_types: ["3*"], months_from: 12}
  满半年: {psn_types: ["3*"], months_from: 6}
  不满半年: {psn_types: ["3*"]}
figures: {wage: {2024-01-01: {value: 100000}}}
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: 90}}}
annual_cap:
  2025-01-01:
    value:
      满一年: {percent: 300, of: wage, years_back: 1}
      满半年: {percent: 200, of: wage, years_back: 1}
      不满半年: {percent: 100, of: wage, years_back: 1}
"""
    begun = {"a": date(2024, 3, 1), "b": date(2024, 3, 2), "c": date(2024, 12, 1)}
    rows = [{"cost": "900000", "psn_type": "310", "psn_no": p, **day(3)} for p in begun]
    spells = enrolled(*((p, "310", since) for p, since in begun.items()))
    assert pool(text, *rows, enrolments=spells) == [30000000, 20000000, 10000000]


def test_shanghai_residents_by_age():
    """60 周岁以下 60 %, 60–69 65 %, 70 以上 70 %: groups by age. Of unknown age the last one."""
    text = """
groups:
  七十以上: {psn_types: ["*"], age_from: 70}
  六十以上: {psn_types: ["*"], age_from: 60}
  其他: {psn_types: ["*"]}
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: {七十以上: 70, 六十以上: 65, 其他: 60}}}}
"""
    rows = [{"cost": "100", **aged(years)} for years in (59, 60, 69, 70)] + [{"cost": "100", "psn_type": None}]
    assert pool(text, *rows) == [6000, 6500, 6500, 7000, 6000]


def test_groups_by_the_insurance_of_the_claim():
    """Where psn_type says nothing: 310 职工, 390 居民."""
    text = """
groups:
  职工: {psn_types: ["*"], insutypes: ["310"]}
  居民: {psn_types: ["*"], insutypes: ["390"]}
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: {职工: 85, 居民: 60}}}}
"""
    rows = [{"cost": "100", "insutype": kind, "psn_no": kind, "psn_type": None} for kind in ("310", "390", "999")]
    assert pool(text, *rows) == [8500, 6000, 0]


def test_referred_upwards_without_a_start_line_and_unreferred_with_fifteen_points_less():
    """分级诊疗: 经转诊 (adm_way 3) 不设起付线; 急诊 (1) 如常; 未经转诊降低 15 个百分点."""
    text = """
benefits:
  referred:
    visit_kinds: [inpatient]
    where: {adm_way: ["3"], hosp_lv: ["3"]}
    ratio: {2020-01-01: {value: 75}}
  emergency:
    visit_kinds: [inpatient]
    where: {adm_way: ["1"], hosp_lv: ["3"]}
    deductible_per: admission
    deductible: {2020-01-01: {value: 1000}}
    ratio: {2020-01-01: {value: 75}}
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: {worker: {3: 1000, all: 400}}}}
    ratio: {2020-01-01: {value: {worker: {3: 60, all: 85}}}}
"""
    rows = [{"cost": "2000", "psn_no": w, "adm_way": w} for w in "123"]
    rows.append({"cost": "2000", "psn_no": "z", "adm_way": "2", "hosp_lv": "1"})
    assert pool(text, *rows) == [75000, 60000, 150000, 136000]


def test_the_tiers_of_a_year_above_its_start_line():
    """门诊: 年度起付 200; 起付以上累计 1,000 以内 50 %, 以上 60 %: 800 → 300; 700 → 200 x 50 % … of what lies above."""
    text = """
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    deductible_per: year
    deductible: {2020-01-01: {value: 200}}
    ratio: {2020-01-01: {value: [{over: 0, percent: 50}, {over: 1000, percent: 60}]}}
    band_origin: year_net
"""
    visit = {"visit_kind": "general_outpatient"}
    # 800 − 200 = 600 x 50 %; then 400 x 50 % + 300 x 60 %
    assert pool(text, visit | {"cost": "800"}, visit | {"cost": "700"}) == [30000, 38000]


def test_residents_outpatient_care_in_two_steps():
    """年度内 200 元以下不付, 200–1,000 付 50 %, 1,000 以上付 60 %: tiers of the year, no start line needed."""
    text = """
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    ratio: {2020-01-01: {value: [{over: 0, percent: 0}, {over: 200, percent: 50}, {over: 1000, percent: 60}]}}
    band_origin: year
"""
    visit = {"visit_kind": "general_outpatient"}
    assert pool(text, visit | {"cost": "300"}, visit | {"cost": "900"}) == [5000, 35000 + 12000]


# ---- forms of the start line


def test_second_stay_half_third_none():
    text = inpatient("80", "600", "    nth_admission_percent: {2020-01-01: {value: [100, 50, 0]}}\n")
    assert pool(text, *[{"cost": "1600"}] * 4) == [80000, 104000, 128000, 128000]


def test_start_lines_of_a_year_come_to_no_more_than_so_much():
    """多次住院的, 年度起付线累计不超过 1,500 元: 800, 700, nothing."""
    text = inpatient("80", "800", "    deductible_year_cap: {2020-01-01: {value: 1500}}\n")
    assert [s["act_pay_dedc"] for s in statements(text, *[{"cost": "1600"}] * 3)] == [80000, 70000, 0]


OUTPATIENT = """
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    deductible_per: {per}
    deductible: {{2020-01-01: {{value: 50}}}}
    ratio: {{2020-01-01: {{value: 60}}}}
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {{2020-01-01: {{value: 600}}}}
    nth_admission_percent: {{2020-01-01: {{value: [100, 0]}}}}
    ratio: {{2020-01-01: {{value: 80}}}}
"""


@pytest.mark.parametrize(
    ("per", "deductibles"),
    [("claim", [5000, 5000, 5000, 5000]), ("day", [3000, 2000, 3000, 3000]), ("month", [3000, 2000, 0, 3000]),
     ("quarter", [3000, 2000, 0, 0]), ("year", [3000, 2000, 0, 0])],
)  # fmt: skip
def test_an_outpatient_start_line_per_visit_day_month_or_quarter(per, deductibles):
    cost = "100" if per == "claim" else "30"
    when = [day(1, 5), day(1, 5), day(1, 6), day(2, 1)]
    rows = [{"visit_kind": "general_outpatient", "cost": cost, **d} for d in when]
    found = statements(OUTPATIENT.format(per=per), *rows, {"cost": "1600", **day(3)})
    assert [s["act_pay_dedc"] for s in found[:4]] == deductibles
    assert found[4]["act_pay_dedc"] == 60000  # no visit was an admission


STAY = """
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: {worker: {1: 200, 2: 400, 3: 800}}}}
    nth_admission_percent: {2020-01-01: {value: [100, 50]}}
    continues_within_days: {2020-01-01: {value: 1}}
    ratio: {2020-01-01: {value: 80}}
"""


def stay(first: datetime, days: int, level: str = "3", cost: str = "5000", **more) -> dict:
    end = first + timedelta(days=days)
    return {"begntime": first, "endtime": end, "setl_time": end, "hosp_lv": level, "cost": cost, **more}


def test_transfers_within_one_stay_pay_the_difference_upwards_and_nothing_downwards():
    """转往上级补足差额, 转往下级不再付: 二级 400, then 三级 800 − 400, then 一级 none. A new stay is the second."""
    first = datetime(2025, 3, 1)
    rows = [stay(first, 5, "2"), stay(first + timedelta(5), 5), stay(first + timedelta(11), 9, "1")]
    rows.append(stay(first + timedelta(60), 5))
    assert [s["act_pay_dedc"] for s in statements(STAY, *rows)] == [40000, 40000, 0, 40000]


def test_a_long_stay_settled_every_ninety_days_has_one_start_line_also_over_new_year():
    """精神病等长期住院每 90 天结算一次, 只付一次起付线: what the first part fell short of is due with the second."""
    first = datetime(2024, 9, 1)
    rows = [stay(first + timedelta(90 * n), 90, cost=cost) for n, cost in enumerate(("500", "9000", "9000"))]
    found = statements(STAY, *rows)
    assert [s["act_pay_dedc"] for s in found] == [50000, 30000, 0]
    assert [s["year"] for s in found] == [2024, 2025, 2025]
    # one that is taken back is as if it had not been
    again = [*rows[:1], refund_of("s00", cost="500", setl_time=first + timedelta(91), hosp_lv="3"), rows[1]]
    assert [s["act_pay_dedc"] for s in statements(STAY, *again)] == [50000, -50000, 80000]


def test_tianjin_a_door_sill_by_age_and_a_cap_of_the_year():
    """门诊门槛: 在职 800, 退休 700, 70 岁以上 650; 一级 75 %, 三级 55 %; 年度限额."""
    text = """
groups:
  七十以上: {psn_types: [retired], age_from: 70}
  退休: {psn_types: [retired]}
  在职: {psn_types: [worker]}
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    deductible_per: year
    deductible: {2020-01-01: {value: {七十以上: 650, 退休: 700, 在职: 800}}}
    ratio: {2020-01-01: {value: {all: {1: 75, 3: 55}}}}
    cost_cap: {2020-01-01: {value: 1000}}
"""
    visit = {"visit_kind": "general_outpatient", "cost": "900", "hosp_lv": "1"}
    rows = [visit | {"psn_no": "a"}, visit | {"psn_type": "retired", **aged(65)}]
    rows += [visit | {"psn_type": "retired", **aged(70)}, visit | {"psn_type": "retired", **aged(70), "hosp_lv": "3"}]
    # 100, 200 and 250 at 75 %; of the last only 100 of the year's 1,000 are left, at 55 %
    assert pool(text, *rows) == [7500, 15000, 18750, 5500]


# ---- caps and quotas


def capped(text: str) -> str:
    return f"""
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    ratio: {{2020-01-01: {{value: 50}}}}
{text}
"""


@pytest.mark.parametrize(
    ("text", "paid"),
    [
        ("    pool_cap: {2020-01-01: {value: 30}}\n    pool_cap_per: claim", [3000, 3000, 3000, 3000]),
        ("    pool_cap: {2020-01-01: {value: 60}}\n    pool_cap_per: day", [5000, 1000, 5000, 5000]),
        ("    pool_cap: {2020-01-01: {value: 120}}\n    pool_cap_per: month", [5000, 5000, 2000, 5000]),
        ("    pool_cap: {2020-01-01: {value: 120}}\n    pool_cap_per: quarter", [5000, 5000, 2000, 0]),
        ("    pool_cap: {2020-01-01: {value: 120}}\n    pool_cap_per: half_year", [5000, 5000, 2000, 0]),
        ("    cost_cap: {2020-01-01: {value: 80}}\n    cost_cap_per: claim", [4000, 4000, 4000, 4000]),
        ("    cost_cap: {2020-01-01: {value: 150}}\n    cost_cap_per: month", [5000, 2500, 0, 5000]),
        ("    second_cap: {2020-01-01: {value: 40}}\n    pool_cap: {2020-01-01: {value: 100}}", [4000, 4000, 2000, 0]),
    ],
)
def test_quotas_per_visit_day_month_quarter_and_two_at_once(text, paid):
    when = [day(1, 5), day(1, 5), day(1, 6), day(2, 1)]
    assert pool(capped(text), *({"visit_kind": "general_outpatient", "cost": "100", **d} for d in when)) == paid


def test_a_ceiling_by_the_day_of_the_stay():
    """床日限额: 精神病住院每床日统筹支付不超过 90 元: 10 days at most 900, whatever the ratio gives."""
    text = inpatient("80", more="    second_cap: {2020-01-01: {value: 90}}\n    second_cap_per: bed_day\n")
    rows = [{"cost": "2000", "act_ipt_days": 10}, {"cost": "1000", "act_ipt_days": 10}]
    assert pool(text, *rows) == [90000, 80000]


CHRONIC = """
benefits:
  hypertension:
    visit_kinds: [chronic_outpatient]
    where: {dise_codg: [M03900]}
    ratio: {2020-01-01: {value: 70}}
    pool_cap: {2020-01-01: {value: 300}}
    pool_cap_per: quarter
    entitlement: {otherwise: nothing}
  dialysis:
    visit_kinds: [chronic_outpatient]
    where: {dise_codg: [M078*]}
    ratio: {2020-01-01: {value: 90}}
    cost_cap: {2020-01-01: {value: 4000}}
    cost_cap_per: month
  chronic:
    visit_kinds: [chronic_outpatient]
    ratio: {2020-01-01: {value: 60}}
    pool_cap: {2020-01-01: {value: 1000}}
    pool_cap_per_further_disease: {2020-01-01: {value: 500}}
"""


def of_disease(code: str | None, cost: str, **more) -> dict:
    return {"visit_kind": "chronic_outpatient", "dise_codg": code, "cost": cost, **more}


def held(*codes: str) -> pl.DataFrame:
    return rows_of("disease_entitlements",
                   *({"psn_no": "p", "dise_codg": code, "begndate": date(2025, 1, 1)} for code in codes))  # fmt: skip


def test_each_chronic_disease_has_its_own_ratio_and_its_quota_per_quarter_or_month():
    rows = [of_disease("M03900", "400", **day(m)) for m in (1, 2, 4)]
    rows += [of_disease("M07801", "3000", **day(5, d)) for d in (1, 2)]
    # 280, then 20 of 300, the next quarter 280; 90 % of 3,000, then of the 1,000 left in May
    assert pool(CHRONIC, *rows, disease_entitlements=held("M03900", "M07801")) == [28000, 2000, 28000, 270000, 90000]
    assert pool(CHRONIC, of_disease("M03900", "400"), disease_entitlements=held("M07801")) == [0]


def test_a_second_chronic_disease_adds_to_the_limit():
    """1 种 1,000 元, 每增加 1 种加 500 元."""
    visit = of_disease("M1", "5000")
    assert pool(CHRONIC, visit, disease_entitlements=held("M1")) == [100000]
    assert pool(CHRONIC, visit, disease_entitlements=held("M1", "M2", "M3")) == [200000]


def test_a_cap_of_six_times_the_income_of_the_year_before():
    # 南宁 (B): 年度限额 = 上年度居民人均可支配收入 x 6
    text = (
        "figures: {income: {2024-01-01: {value: 41827}}}\n"
        + inpatient("90")
        + ("annual_cap: {2025-01-01: {value: {percent: 600, of: income, years_back: 1}}}\n")
    )
    assert pool(text, {"cost": "500000"}) == [25096200]


# ---- items


def test_negotiated_drugs_are_paid_apart_without_a_start_line():
    """国谈药单独支付: 不设起付, 70 %, 年度限额; 其余费用按住院待遇.

    10,000 with 4,000 of them: (6,000 − 600) x 80 % + 4,000 x 70 %. Next: (6,000 − 600) x 80 %, 1,200 left of 4,000.
    """
    classes = "{negotiated: {items: [XA*], ratio: {2020-01-01: {value: 70}}, annual_cap: {2020-01-01: {value: 4000}}}}"
    text = inpatient("80", "600", f"    item_classes: {classes}\n")
    stay = {"lines": [("XA01", "4000"), ("other", "6000")]}
    assert pool(text, stay, stay) == [432000 + 280000, 432000 + 120000]
    found = statements(text, {"lines": [("XA01", "100", {"chrgitm_lv": "02", "selfpay_prop": "0.2"})]})[0]
    assert (found["hifp_pay"], found["preselfpay_amt"]) == (5600, 2000)  # 80 in scope, 70 % of it


def test_costly_drugs_in_the_caps_of_the_benefit():
    text = capped(
        "    pool_cap: {2020-01-01: {value: 100}}\n"
        "    item_classes: {costly: {items: [D], ratio: {2020-01-01: {value: 40}}, in_caps: yes}}"
    )
    visit = {"visit_kind": "general_outpatient", "lines": [("D", "300"), ("x", "100")]}
    assert pool(text, visit) == [5000 + 5000]  # 50, then of the 120 what is left of 100


def test_chinese_medicine_is_paid_ten_points_more():
    """中医药服务提高 10 个百分点: of 1,600 500, start line 600: 1,000 x 80 % + 500 x 10 %; never over 100 %."""
    text = inpatient("80", "600", "    item_classes: {tcm: {items: [T*], plus_points: {2020-01-01: {value: 10}}}}\n")
    assert pool(text, {"lines": [("T1", "500"), ("x", "1100")]}) == [85000]
    full = text.replace("value: 80", "value: 95")
    assert pool(full, {"lines": [("T1", "1600")]}) == [100000]


def test_a_bed_fee_counts_up_to_its_daily_ceiling():
    # 南宁 (B): 床位费每床日不超过 20 元: ten days at 35: 200 in scope, 150 beyond
    lines = [("bed", "35", {"cnt": "10", "pric_uplmt_amt": "20"})]
    one = statements(inpatient("75"), {"lines": lines})[0]
    assert (one["overlmt_selfpay"], one["inscp_scp_amt"], one["hifp_pay"]) == (15000, 20000, 15000)


# ---- whole forms


def test_shanghai_account_then_own_segment_then_shared():
    """账户段 → 自负段 1,500 → 共负段 70 %: the account pays before the pool, inpatient care the other way round."""
    text = """
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    account_pays: first
    deductible_per: year
    deductible: {2020-01-01: {value: 1500}}
    ratio: {2020-01-01: {value: 70}}
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: 85}}}
"""
    visit = {"visit_kind": "general_outpatient"}
    openings = pl.DataFrame({"psn_no": ["p"], "year": [2025], "acct_balc": [100000]})
    rows = [visit | {"cost": "600"}, {"cost": "1000"}, visit | {"cost": "2250"}]
    found = statements(text, *rows, openings=openings)
    # 600; 850 of the pool, then 150; the last 250, 1,500 the person's own, 500 x 70 %
    assert [(s["acct_pay"], s["hifp_pay"]) for s in found] == [(60000, 0), (15000, 85000), (25000, 35000)]
    assert found[2]["psn_cash_pay"] == 150000 + 15000


def test_a_single_disease_has_a_fixed_share_of_the_person():
    """单病种: 个人定额 800 元, 其余由统筹支付; not an admission of the ordinary kind."""
    text = """
benefits:
  single:
    adm_kinds: [single_disease]
    deductible_per: claim
    deductible: {2020-01-01: {value: 800}}
    ratio: {2020-01-01: {value: 100}}
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: 600}}
    nth_admission_percent: {2020-01-01: {value: [100, 50]}}
    ratio: {2020-01-01: {value: 80}}
"""
    rows = [{"cost": "6000", "adm_kind": "single_disease"}] * 2 + [{"cost": "1600"}]
    assert pool(text, *rows) == [520000, 520000, 80000]


def test_maternity_checks_and_births_are_paid_a_fixed_sum():
    """产前检查年度定额 1,200, 顺产定额 3,000: 100 % up to the sum."""
    text = """
benefits:
  checks:
    med_types: ["51"]
    ratio: {2020-01-01: {value: 100}}
    pool_cap: {2020-01-01: {value: 1200}}
  birth:
    med_types: ["52*"]
    ratio: {2020-01-01: {value: 100}}
    second_cap: {2020-01-01: {value: 3000}}
"""
    rows = [{"med_type": "51", "cost": "800"}] * 2 + [{"med_type": "5201", "cost": "4500"}] * 2
    assert pool(text, *rows) == [80000, 40000, 300000, 300000]


def test_away_from_home_the_person_pays_a_tenth_first():
    """山东、江苏等: 首先自付 10 %, 再按本地待遇: (10,000 − 1,000 − 600) x 80 %; at home (10,000 − 600) x 80 %."""
    text = inpatient("80", "600") + "cross_region: {unfiled: {mode: first, value: {2020-01-01: {value: 10}}}}\n"
    rows = [
        {"cost": "10000", "local_flag": "0", "filing_status": kind, "psn_no": kind} for kind in ("unfiled", "filed")
    ]
    found = statements(text, *rows)
    assert [s["hifp_pay"] for s in found] == [672000, 752000]
    assert found[0]["inscp_scp_amt"] == 1000000  # the part stays in policy: layers behind the pool count it


def test_the_person_pays_a_share_of_a_benefit_first():
    text = inpatient("70", "0", "    first_percent: {2020-01-01: {value: 20}}\n")
    assert pool(text, {"cost": "1000"}) == [56000]


def test_what_first_paid_care_away_lost_is_not_assisted():
    more = """
cross_region: {unfiled: {mode: first, value: {2020-01-01: {value: 10}}}}
categories: {低保: {}}
payers: {assistance: {column: maf_pay, by: category, ratio: {2020-01-01: {value: {低保: 70}}}, loss_counts: no}}
"""
    persons = rows_of("persons", {"psn_no": "p", "aid_type": "低保"})
    one = statements(inpatient("80", "600") + more, {"cost": "10000", "local_flag": "0"}, persons=persons)[0]
    # 800 lost; left 10,000 − 6,720 − 800 = 2,480 x 70 %
    assert (one["lost_unfiled"], one["maf_pay"]) == (80000, 173600)


def test_chongqing_large_amounts_beyond_the_cap():
    """统筹封顶 50,000, 以上由大额付 90 %, 至多 500,000: 100,000 x 80 % = 80,000; the cost behind 30,000 is 37,500."""
    text = inpatient("80") + (
        "annual_cap: {2020-01-01: {value: 50000}}\n"
        "large_amount: {ratio: {2020-01-01: {value: 90}}, annual_cap: {2020-01-01: {value: 500000}}}\n"
    )
    one = statements(text, {"cost": "100000"})[0]
    assert (one["hifp_pay"], one["hifob_pay"], one["psn_part_amt"]) == (5000000, 3375000, 1625000)


def test_jiangsu_catastrophic_tiers_with_first_pay_in_the_base():
    """大病起付 15,000, 15,000–100,000 60 %, 以上 65 %, 先行自付计入; 低保起付减半加 5 个百分点."""
    text = (
        inpatient("50", more="categories: {低保: {}}\n")
        + """
catastrophic:
  benefits: [inpatient]
  first_pay_counts: yes
  ratio: {2020-01-01: {value: [{over: 15000, percent: 60}, {over: 100000, percent: 65}]}}
  category_start_percent: {2020-01-01: {value: {低保: 50}}}
  category_plus_points: {2020-01-01: {value: {低保: 5}}}
"""
    )
    first = ("drug", "10000", {"chrgitm_lv": "02", "selfpay_prop": "1"})
    rows = [{"lines": [("x", "40000"), first], "psn_no": p} for p in ("p", "q")]
    persons = rows_of("persons", {"psn_no": "p", "aid_type": "低保"})
    # 20,000 + 10,000: (30,000 − 7,500) x 65 %; (30,000 − 15,000) x 60 %
    assert [s["hifmi_pay"] for s in statements(text, *rows, persons=persons)] == [1462500, 900000]


def test_civil_servants_are_helped_with_first_pay_too():
    text = (
        inpatient("80")
        + "payers: {civil: {column: cvlserv_pay, counts: [in_scope, first_pay], ratio: {2020-01-01: {value: 50}}}}\n"
    )
    lines = [("x", "1000"), ("y", "300", {"chrgitm_lv": "02", "selfpay_prop": "1"})]
    assert statements(text, {"lines": lines})[0]["cvlserv_pay"] == 25000  # half of 200 + 300


def test_wuhan_outpatient_start_line_and_cap_by_group_and_contracted_institution():
    """门诊: 在职 700/退休 500; 基层 80 %/84 %; 年度限额 3,500/4,000; 签约机构 (listed codes) 加 5 个百分点."""
    text = """
groups: {在职: {psn_types: [worker]}, 退休: {psn_types: [retired]}}
benefits:
  contracted:
    visit_kinds: [general_outpatient]
    where: {fixmedins_code: [C1, C2]}
    deductible_per: year
    deductible: {2020-01-01: {value: {在职: 700, 退休: 500}}}
    deductible_shared: 门诊
    ratio: {2020-01-01: {value: {在职: 80, 退休: 84}}}
    plus_points: {2020-01-01: {value: 5}}
    pool_cap: {2020-01-01: {value: {在职: 3500, 退休: 4000}}}
    pool_cap_shared: 门诊
  outpatient:
    visit_kinds: [general_outpatient]
    deductible_per: year
    deductible: {2020-01-01: {value: {在职: 700, 退休: 500}}}
    deductible_shared: 门诊
    ratio: {2020-01-01: {value: {在职: 80, 退休: 84}}}
    pool_cap: {2020-01-01: {value: {在职: 3500, 退休: 4000}}}
    pool_cap_shared: 门诊
"""
    visit = {"visit_kind": "general_outpatient"}
    rows = [visit | {"cost": "600"}, visit | {"cost": "600", "fixmedins_code": "C1"}, visit | {"cost": "9000"}]
    rows.append(visit | {"cost": "1500", "psn_no": "q", "psn_type": "retired", "fixmedins_code": "C2"})
    assert pool(text, *rows) == [0, 42500, 307500, 89000]  # 500 x 85 %; what is left of 3,500; 1,000 x 89 %


def test_a_claim_that_says_only_its_med_type_is_of_the_kind_that_follows():
    text = """
benefits:
  inpatient: {visit_kinds: [inpatient, emergency_inpatient, day_surgery], ratio: {2020-01-01: {value: 80}}}
  outpatient: {visit_kinds: [general_outpatient, emergency_outpatient], ratio: {2020-01-01: {value: 50}}}
  chronic: {visit_kinds: [chronic_outpatient], ratio: {2020-01-01: {value: 70}}}
"""
    types = ("21", "2101", "24", "11", "13", "1402", "52", "99")
    rows = [{"med_type": kind, "visit_kind": None, "cost": "100"} for kind in types]
    rows.append({"med_type": "21", "visit_kind": None, "adm_kind": "day_surgery", "cost": "100"})
    assert pool(text, *rows) == [8000, 8000, 8000, 5000, 5000, 7000, 8000, 0, 8000]


def test_what_a_claim_leaves_blank_is_told_by_its_institution_and_by_the_areas():
    text = """
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: {worker: {1: 90, 3: 80}}}}}
remote_minus_points: {2020-01-01: {value: 10}}
"""
    blank = {"hosp_lv": None, "local_flag": None, "fixmedins_code": "H1", "cost": "100"}
    areas = (("440100", "440106"), ("440100", "310101"), ("440100", None))
    rows = [blank | {"insu_admdvs": home, "mdtrtarea_admdvs": care} for home, care in areas]
    places = rows_of("institutions", {"fixmedins_code": "H1", "hosp_lv": "1"})
    assert pool(text, *rows, {**rows[1], "local_flag": "1"}, institutions=places) == [9000, 8000, 9000, 9000]
    assert pool(text, *rows) == [0, 0, 0]  # of no level known the policy has no value


def test_a_class_of_items_has_tiers_of_its_own():
    """体内置放材料 10,000 以下 70 %, 以上 50 %, 不进起付线."""
    tiers = "[{over: 0, percent: 70}, {over: 10000, percent: 50}]"
    text = inpatient(
        "80", "600", f"    item_classes: {{implant: {{items: [M], ratio: {{2020-01-01: {{value: {tiers}}}}}}}}}\n"
    )
    assert pool(text, {"lines": [("M", "16000"), ("x", "1600")]}) == [700000 + 300000 + 80000]


def test_what_a_month_left_is_carried_to_the_next_within_the_year():
    """每月 100 元, 当月未用完的结转下月, 不跨年: March may use 300; then April's 100."""
    text = capped("    pool_cap: {2020-01-01: {value: 100}}\n    pool_cap_per: month_carried")
    when = [day(3, 1), day(3, 2), day(4, 1), day(1, 5, 2026)]
    rows = [{"visit_kind": "general_outpatient", "cost": "500", **d} for d in when]
    assert pool(text, *rows) == [25000, 5000, 10000, 10000]


def test_shenzhen_a_year_from_july_to_june():
    """医保年度 7 月 1 日至次年 6 月 30 日."""
    text = 'year_begins: "07-01"\n' + capped("    pool_cap: {2020-01-01: {value: 300}}")
    when = [day(6, 30), day(7, 1), day(12, 31), day(6, 30, 2026), day(7, 1, 2026)]
    rows = [{"visit_kind": "general_outpatient", "cost": "400", **d} for d in when]
    assert pool(text, *rows) == [20000, 20000, 10000, 0, 20000]
    assert [s["year"] for s in statements(text, *rows)] == [2024, 2025, 2025, 2025, 2026]


def test_levels_are_whatever_the_claims_say():
    """三级甲等 55 %, 其他三级 60 %, 社区 80 %: any word of hosp_lv, `all` for the others."""
    text = """
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: {all: {3A: 55, 社区: 80, all: 60}}}}}
"""
    assert pool(text, *({"cost": "100", "hosp_lv": lv} for lv in ("3A", "社区", "3"))) == [5500, 8000, 6000]


def test_the_persons_own_share_of_a_year_is_capped():
    """个人自付年度封顶 10,000 元, 超过部分由补充基金全付: 30,000 x 40 % = 12,000 leaves 10,000."""
    text = inpatient("60") + (
        "payers: {supplement: {column: hifes_pay, start: {2020-01-01: {value: 10000}},\n"
        "  ratio: {2020-01-01: {value: 100}}}}\n"
    )
    found = statements(text, {"cost": "20000"}, {"cost": "10000"})
    assert [s["hifes_pay"] for s in found] == [0, 200000]


def test_mutual_aid_of_each_stay_above_its_own_start():
    """工会互助: 每次住院个人负担 1,000 元以上部分 50 %, 单次计算, 年度 3,000 元."""
    aid = "start: {2020-01-01: {value: 1000}}, start_per: claim, annual_cap: {2020-01-01: {value: 3000}}"
    text = inpatient("60") + (
        f"payers: {{union: {{column: oth_pay, {aid}, counts: [in_scope, first_pay, own_pay],\n"
        "  ratio: {2020-01-01: {value: 50}}}}\n"
    )
    # 4,000 − 1,000; again; of the third only what is left of 3,000
    assert [s["oth_pay"] for s in statements(text, *[{"cost": "10000"}] * 3)] == [150000, 150000, 0]


def test_a_start_line_waived_for_children_and_the_destitute():
    """学生儿童起付线减半, 特困不设起付线."""
    text = """
groups: {儿童: {psn_types: [14*]}, 成人: {psn_types: [15*]}}
categories: {特困: {}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: {儿童: 300, 成人: 600}}}
    category_deductible_percent: {2020-01-01: {value: {特困: 0}}}
    ratio: {2020-01-01: {value: 70}}
"""
    persons = rows_of("persons", {"psn_no": "c", "aid_type": "特困"})
    rows = [{"cost": "1600", "psn_no": p, "psn_type": t} for p, t in (("a", "1403"), ("b", "1501"), ("c", "1501"))]
    assert pool(text, *rows, persons=persons) == [91000, 70000, 112000]


def test_retired_tiers_as_one_less_three_fifths_of_the_employees_share():
    """退休比例 = 1 − 0.6 × (1 − 在职比例): 82 % gives 89.2 %, 97.5 % gives 98.5 %."""
    text = inpatient(
        "[{over: 0, percent: 82}, {over: 1000, percent: 97.5}]",
        more="    self_pay_percent: {2020-01-01: {value: 60}}\n",
    )
    assert pool(text, {"cost": "2000"}) == [89200 + 98500]


def test_assistance_and_tilted_assistance_come_to_one_limit():
    """救助与倾斜救助年度合计不超过 5,000 元: 4,000 x 70 %; half of (1,200 − 200); then what is left of it."""
    text = (
        inpatient("60")
        + """
payers:
  aid:
    column: maf_pay
    annual_cap_shared: 救助
    annual_cap: {2020-01-01: {value: 5000}}
    ratio: {2020-01-01: {value: 70}}
  tilted:
    column: maf_pay
    annual_cap_shared: 救助
    annual_cap: {2020-01-01: {value: 5000}}
    start: {2020-01-01: {value: 200}}
    ratio: {2020-01-01: {value: 50}}
"""
    )
    found = statements(text, {"cost": "10000"}, {"cost": "10000"})
    assert [(s["aid_paid"], s["tilted_paid"]) for s in found] == [(280000, 50000), (170000, 0)]
    back = statements(text, {"cost": "10000"}, refund_of("s00", cost="10000"), {"cost": "10000"})
    assert (back[2]["aid_paid"], back[2]["tilted_paid"]) == (280000, 50000)
