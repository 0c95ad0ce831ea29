"""The whole waterfall of a statement through policies alone: published worked examples to the fen, and every layer.

W… are the worked examples of the project's policy reference with their source and grade; each is settled by a policy
written as a clerk would write it, never by a formula of the test.
"""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from test_settlement import claims_of, lines_of, refund_of

from engine.settlement.allowances import care_payments, employer_tops_up, leave_days, maternity_allowance
from engine.settlement.person import IDENTITIES, LAYERS, settle, settle_steps
from engine.settlement.policy import Policy, load_policy
from engine.tables.dictionary import table
from engine.tables.problems import RuleProblem

YEAR_2023 = datetime(2023, 6, 1, 9)


def policy_of(text: str) -> Policy:
    """A policy as written in YAML; every scalar is text, as in a file."""
    return Policy.model_validate(yaml.load(text, yaml.BaseLoader))


def paid(by: Policy, *rows: dict, openings=None, known=None, steps=False) -> list[dict]:
    """Statements in the order given of claims with a line of `cost` yuan in scope, `own` of 丙, `first` first-pay."""
    rows = [{"setl_id": f"s{n}", "setl_time": datetime(2025, 3, 1, 8) + timedelta(minutes=n)} | row
            for n, row in enumerate(rows)]  # fmt: skip
    lines = []
    for row in rows:
        count = row.get("cnt", "1")
        lines.append({"setl_id": row["setl_id"], "pric": row.get("cost", "0"), "cnt": count})
        if "own" in row:
            lines.append({"setl_id": row["setl_id"], "pric": row["own"], "chrgitm_lv": "03", "cnt": count})
        if "first" in row:
            more = {"pric": row["first"], "chrgitm_lv": "02", "selfpay_prop": "1", "cnt": count}
            lines.append({"setl_id": row["setl_id"]} | more)
    find = settle_steps if steps else settle
    frame = find(claims_of(*rows), lines_of(*lines), by, None, openings, known)
    found = {row["setl_id"]: row for row in frame.iter_rows(named=True)}
    return [found[row["setl_id"]] for row in rows]


def rows_of(name: str, *rows: dict) -> pl.DataFrame:
    """A canonical table of these rows."""
    schema = {n: t for n, t in table(name).schema.items() if any(n in row for row in rows)}
    return pl.DataFrame([{n: row.get(n) for n in schema} for row in rows], schema)


def fen(yuan: str) -> int:
    whole, _, part = yuan.replace(",", "").partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


# ---- published examples

CHONGQING = """
name: worked-chongqing
grade: A
groups: {居民: {psn_types: [worker]}}
categories: {低保: {}, 低保边缘: {}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2023-01-01: {value: 300, source: ybq.gov.cn 2023-10-30, grade: A}}
    ratio: {2023-01-01: {value: 70, source: ybq.gov.cn 2023-10-30, grade: A}}
payers:
  large_assistance:
    label: 大额费用救助
    column: maf_pay
    by: category
    ratio: {2023-01-01: {value: {低保边缘: 70}, source: ybq.gov.cn 2023-10-30, grade: A}}
  tilted_assistance:
    label: 倾斜救助
    column: maf_pay
    by: category
    start: {2023-01-01: {value: {低保边缘: 3000}, source: ybq.gov.cn 2023-10-30, grade: A}}
    ratio: {2023-01-01: {value: {低保边缘: 60}, source: ybq.gov.cn 2023-10-30, grade: A}}
"""


def test_w1_pool_then_assistance_then_tilted_assistance():
    # 渝北 2023, A: total 52,000, in scope 50,000 → 34,790; 15,210 x 70 % = 10,647; (4,563 − 3,000) x 60 % = 937.80
    known = {"aid_spells": rows_of("aid_spells", {"psn_no": "p", "aid_type": "低保边缘", "begndate": date(2023, 1, 1)})}
    one = paid(policy_of(CHONGQING), {"cost": "50000", "own": "2000", "setl_time": YEAR_2023}, known=known, steps=True)[
        0
    ]
    assert (one["hifp_pay"], one["large_assistance_paid"], one["tilted_assistance_paid"]) == (3479000, 1064700, 93780)
    assert (one["fund_pay_sumamt"], one["maf_pay"]) == (4637480, 1158480)
    assert one["psn_cash_pay"] == 5200000 - 4637480


def test_w2_the_category_halves_the_start_line_and_adds_five_points():
    """2024, A: basic 125,790; 大病 29,743.68; 救助 17,126.42; left 7,339.90; 倾斜 (− 3,500) x 70 % = 2,687.93.

    The start line of 16,901 is derived (D): with −50 % and 60 + 5 % it alone gives the published 29,743.68.
    """
    by = policy_of("""
name: worked-w2
grade: A
groups: {居民: {psn_types: [worker]}}
categories: {低保: {aid_types: ["02"]}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2024-01-01: {value: 300, grade: D}}
    ratio: {2024-01-01: {value: 70, grade: D}}
catastrophic:
  benefits: [inpatient]
  ratio: {2024-01-01: {value: [{over: 16901, percent: 60}], grade: D}}
  category_start_percent: {2024-01-01: {value: {低保: 50}, source: 医保发〔2021〕5号, grade: R}}
  category_plus_points: {2024-01-01: {value: {低保: 5}, source: 医保发〔2021〕5号, grade: R}}
payers:
  assistance: {column: maf_pay, by: category, ratio: {2024-01-01: {value: {低保: 70}}}}
  tilted:
    column: maf_pay
    by: category
    start: {2024-01-01: {value: {低保: 3500}}}
    ratio: {2024-01-01: {value: {低保: 70}}}
""")
    known = {"persons": rows_of("persons", {"psn_no": "p", "aid_type": "02"})}
    one = paid(by, {"cost": "180000", "own": "20000"}, known=known, steps=True)[0]
    assert one["hifp_pay"] == fen("125,790")
    assert one["hifmi_pay"] == fen("29,743.68")
    assert (one["assistance_paid"], one["tilted_paid"]) == (fen("17,126.42"), fen("2,687.93"))
    assert one["tilted_base"] == fen("7,339.90")


def simple(ratio: str, deductible: str = "0", more: str = "", benefit: str = "") -> Policy:
    return policy_of(f"""
name: worked
groups: {{worker: {{}}}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {{2010-01-01: {{value: {deductible}}}}}
    ratio: {{2010-01-01: {{value: {ratio}}}}}
{benefit}
{more}
""")


def test_w5_a_ratio_that_grows_with_age():
    # 成都 about 2012, B: 一级, 40 years, 30,000; 起付 5 % x 8,084 = 404.20; 75 + 0.2 x 40 = 83 % → 24,564.51; 5,435.49
    by = simple("75", "404.20", benefit="    age_points: {2010-01-01: {value: 0.2}}")
    one = paid(by, {"cost": "30000", "age": 40})[0]
    assert (one["hifp_pay_fen"], one["psn_part_amt_fen"]) == (2456451, 543549)


def test_w6_the_cap_on_what_the_pool_pays():
    # 成都, B: 三级, 50 years, 60,000, 起付 12 % x 8,084 = 970.08, 85 % (75 + 0.2 x 50) → 50,175.43 → 46,336; 13,664
    by = simple(
        "75", "970.08", "annual_cap: {2010-01-01: {value: 46336}}", "    age_points: {2010-01-01: {value: 0.2}}"
    )
    one = paid(by, {"cost": "60000", "age": 50}, steps=True)[0]
    assert (one["pool_entitled"], one["hifp_pay"], one["psn_part_amt"]) == (5017543, 4633600, 1366400)


def test_w9_net_bands_begin_at_the_start_line():
    # C: total 100,000, basic 40,000, outside 10,000: 50,000 are left; start 20,000; net 0–2万 30 %, 2–5万 40 %
    more = """
annual_cap: {2010-01-01: {value: 40000}}
catastrophic:
  benefits: [inpatient]
  start: {2010-01-01: {value: 20000}}
  band_origin: net
  ratio: {2010-01-01: {value: [{over: 0, percent: 30}, {over: 20000, percent: 40}]}}
"""
    assert paid(simple("50", more=more), {"cost": "90000", "own": "10000"})[0]["hifmi_pay_fen"] == 1000000
    # the same bands cut on the amount itself: nothing lies in 0–2万, all 30,000 above it at 40 %
    gross = more.replace("net", "gross")
    assert paid(simple("50", more=gross), {"cost": "90000", "own": "10000"})[0]["hifmi_pay_fen"] == 1200000


def test_w10_a_cap_on_the_cost_and_first_pay_in_the_catastrophic_base():
    # 2017, B: compliant 177,000 with 8,000 first-pay inside it, 自费 3,000; cost cap 90,000, 起付 600, 55 %: 49,170;
    # into the catastrophic layer 127,830. Here first pay counts to the pool's cost as the example has it.
    more = "catastrophic: {benefits: [inpatient], ratio: {2010-01-01: {value: 0}}}"
    by = simple("55", "600", more, "    cost_cap: {2010-01-01: {value: 90000}}")
    one = paid(by, {"cost": "177000", "own": "3000"}, steps=True)[0]
    assert (one["hifp_pay"], one["catastrophic_base"]) == (4917000, 12783000)
    again = paid(by, {"cost": "80000"}, {"cost": "80000"}, steps=True)
    assert [s["pool_cost"] for s in again] == [8000000, 1000000]  # the cap holds for the year, not for the claim


@pytest.mark.parametrize(
    ("name", "ratio", "deductible", "cost", "fund"),
    [
        ("W12", "80", "300", "6000", "4560"),
        ("W14", "85", "300", "12000", "9945"),
        ("W14", "75", "600", "12000", "8550"),
        ("W14", "65", "900", "12000", "7215"),
        (
            "W8",
            "[{over: 0, percent: 80}, {over: 5000, percent: 85}, {over: 10000, percent: 90}]",
            "800",
            "15000",
            "12110",
        ),
        ("W15", "[{over: 0, percent: 0}, {over: 500, percent: 70}, {over: 10000, percent: 80}]", "0", "3000", "1750"),
        ("W15", "[{over: 0, percent: 0}, {over: 500, percent: 70}, {over: 10000, percent: 80}]", "0", "12000", "8250"),
        ("W15 inverse", "[{over: 0, percent: 0}, {over: 500, percent: 70}]", "0", "7500", "4900"),
        ("7.1 sf024, true value", "92", "0", "7388.51", "6797.43"),
        ("7.1 jiusongjiankang 4639470, true value", "75", "0", "8000", "6000"),
    ],
)
def test_a_published_share_of_the_pool(name, ratio, deductible, cost, fund):
    assert paid(simple(ratio, deductible), {"cost": cost})[0]["hifp_pay_fen"] == fen(fund)


@pytest.mark.parametrize(
    ("printed", "ratio", "cost"),
    [("6889.43", "92", "7388.51"), ("5600", "75", "8000"), ("240000", "80", "200000")],
)
def test_a_published_but_wrong_amount_is_told_at_the_step_where_it_errs(printed, ratio, cost):
    one = paid(simple(ratio), {"cost": cost, "hifp_pay": fen(printed), "fund_pay_sumamt": fen(printed)})[0]
    assert one["first_difference"] == "hifp_pay"


@pytest.mark.parametrize(
    ("wage", "months", "days", "leave", "yuan"),
    [(8000, 1, 30, 128, 34133), (8000, 1, 30, 143, 38133), (9500, 1, 30, 128, 40533), (6080, 10, 304, 128, 25600),
     (6000, 1, 30, 128, 25600)],
)  # fmt: skip
def test_w17_the_maternity_allowance(wage, months, days, leave, yuan):
    clause = maternity(months, days)
    amount = maternity_allowance(clause, date(2025, 1, 1), np.array([wage * 100]), np.array([leave]))
    assert amount[0] // 100 == yuan  # printed to whole yuan, the rest cut off
    # 7.1: 5,800 ÷ 30 x 98 is 18,946.67 and not 19,331.50
    assert maternity_allowance(maternity(1, 30), date(2025, 1, 1), np.array([580000]), np.array([98]))[0] == 1894667


def maternity(months: int, days: int):
    text = f"""
maternity:
  months: {{2020-01-01: {{value: {months}}}}}
  days: {{2020-01-01: {{value: {days}}}}}
  leave: {{2020-01-01: {{value: 98}}}}
  leave_difficult: {{2020-01-01: {{value: 15}}}}
  leave_further_baby: {{2020-01-01: {{value: 15}}}}
  leave_local: {{2020-01-01: {{value: 30}}}}
"""
    return simple("50", more=text).maternity


def test_leave_grows_with_a_difficult_birth_and_further_babies_and_the_employer_tops_up():
    days = leave_days(maternity(1, 30), date(2025, 1, 1), np.array([False, True, True]), np.array([1, 1, 2]))
    assert days.tolist() == [128, 143, 158]
    assert employer_tops_up(np.array([100, 100]), np.array([120, 90])).tolist() == [20, 0]


def test_w20_a_cap_derived_from_the_wage_of_two_years_before():
    # 阳江 2024-12-09, A/B: 2 % x 99,302 = 1,986; residents 80 % of it = 1,589
    by = policy_of("""
name: worked-w20
groups: {worker: {}, resident: {}}
figures: {wage: {2023-01-01: {value: 99302, source: 阳江新闻网 2024-12-09, grade: B}, 2024-01-01: {value: 100000}}}
benefits:
  general:
    visit_kinds: [general_outpatient]
    ratio: {2025-01-01: {value: 100}}
    pool_cap:
      2025-01-01:
        value:
          worker: {percent: 2, of: wage, years_back: 2}
          resident: {percent: 2, of: wage, years_back: 2, then_percent: 80}
""")
    visit = {"visit_kind": "general_outpatient", "cost": "9000"}
    kinds = [visit, visit | {"psn_no": "q", "psn_type": "resident"}]
    later = [{"psn_no": p, "setl_time": datetime(y, 5, 1)} for p, y in (("a", 2026), ("b", 2027))]
    found = paid(by, *kinds, *(visit | more for more in later))
    assert [s["hifp_pay_fen"] for s in found] == [198600, 158900, 200000, 0]
    assert found[3]["first_difference"] == "policy"  # the wage of 2025 is not known, and no older one stands in for it


def test_a_derived_value_without_its_figure_is_refused(tmp_path):
    benefits = "benefits: {g: {visit_kinds: [pharmacy]}}"
    cap = "annual_cap: {2025-01-01: {value: {percent: 2, of: wag}}}"
    text = f"name: x\ngroups: {{a: {{}}}}\n{benefits}\n{cap}\n"
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    with pytest.raises(RuleProblem, match="figures 中没有 wag"):
        load_policy(tmp_path / "p.yaml")


# ---- forms of deductible and ratio


def test_each_further_admission_takes_an_amount_off_the_deductible_down_to_a_floor():
    # 来宾 职工 三级 (C−): 800, −100 for each further admission, floor 100: shape only
    benefit = "    nth_admission_minus: {2010-01-01: {value: 300}}\n    deductible_floor: {2010-01-01: {value: 100}}"
    found = paid(simple("90", "800", benefit=benefit), *[{"cost": "5000"}] * 4)
    assert [s["act_pay_dedc_fen"] for s in found] == [80000, 50000, 20000, 10000]


def test_a_category_halves_the_deductible_and_adds_points():
    benefit = """
    category_deductible_percent: {2010-01-01: {value: {低保: 50}}}
    category_plus_points: {2010-01-01: {value: {低保: 5}}}
    plus_points: {2010-01-01: {value: {worker: 3}}}"""
    by = simple("80", "600", "categories: {低保: {}}", benefit)
    half = {"psn_no": "p", "aid_type": "低保", "begndate": date(2025, 1, 1), "enddate": date(2025, 6, 30)}
    spells = rows_of("aid_spells", half)
    rows = [{"cost": "1600", "psn_no": p, "setl_time": datetime(2025, m, 30, 10)} for p, m in (("p", 6), ("q", 6))]
    rows.append({"cost": "1600", "psn_no": "p", "setl_time": datetime(2026, 7, 1)})
    found = paid(by, *rows, known={"aid_spells": spells})
    assert [(s["act_pay_dedc_fen"], s["hifp_pay_fen"]) for s in found] == [
        (30000, 114400), (60000, 83000), (60000, 83000)]  # 1300 x 88 %, 1000 x 83 %  # fmt: skip


def test_two_benefits_use_up_one_deductible_and_one_cap():
    clauses = """
    deductible_per: year
    deductible: {2020-01-01: {value: 100}}
    deductible_shared: 门诊
    ratio: {2020-01-01: {value: 50}}
    pool_cap: {2020-01-01: {value: 60}}
    pool_cap_shared: 门诊
"""
    by = policy_of(f"""
name: shared
groups: {{worker: {{}}}}
benefits:
  general:
    visit_kinds: [general_outpatient]{clauses}
  chronic:
    visit_kinds: [chronic_outpatient]{clauses}
""")
    visits = (("general_outpatient", "70"), ("chronic_outpatient", "130"), ("general_outpatient", "100"))
    found = paid(by, *({"visit_kind": kind, "cost": cost} for kind, cost in visits))
    assert [(s["act_pay_dedc_fen"], s["hifp_pay_fen"]) for s in found] == [(7000, 0), (3000, 5000), (0, 1000)]


def test_a_monthly_cap_is_not_carried_over_and_a_refund_gives_it_back_to_its_month():
    benefit = "    pool_cap: {2010-01-01: {value: 165.50}}\n    pool_cap_per: month"
    by = simple("100", benefit=benefit)
    rows = [{"cost": "100", "setl_time": datetime(2025, m, d)} for m, d in ((1, 5), (1, 6), (2, 1))]
    rows += [
        refund_of("s0", cost="100", setl_time=datetime(2025, 2, 2)),
        {"cost": "200", "setl_time": datetime(2025, 2, 3)},
    ]
    assert [s["hifp_pay_fen"] for s in paid(by, *rows)] == [10000, 6550, 10000, -10000, 6550]


def test_tiers_on_the_year_begin_where_the_last_claim_ended():
    # 肇庆 居民 2018 (B), shape: up to 7万 75 %, above 90 %
    bands = "[{over: 0, percent: 75}, {over: 70000, percent: 90}]"
    found = paid(simple(bands, benefit="    band_origin: year"), {"cost": "60000"}, {"cost": "20000"})
    assert [s["hifp_pay_fen"] for s in found] == [4500000, 750000 + 900000]


# ---- payers behind the pool

PAYERS = """
categories: {低保: {}, 特困: {}}
payers:
  civil_servant:
    column: cvlserv_pay
    who: {insutypes: ["320"]}
    ratio: {2020-01-01: {value: 80}}
  assistance:
    column: maf_pay
    by: category
    start: {2020-01-01: {value: {低保: 1000}}}
    ratio: {2020-01-01: {value: {低保: 70, 特困: 100}}}
    annual_cap: {2020-01-01: {value: {低保: 2000, 特困: none}}}
    loss_counts: no
  city_in_scope:
    label: 惠民保一
    column: oth_pay
    who: {insutypes: [H1]}
    start: {2020-01-01: {value: 2000}}
    ratio: {2020-01-01: {value: 80}}
    annual_cap: {2020-01-01: {value: 1000000}}
  city_outside:
    label: 惠民保二
    column: oth_pay
    who: {insutypes: [H1]}
    counts: [own_pay, over_limit]
    start: {2020-01-01: {value: 1000}}
    ratio: {2020-01-01: {value: 60}}
"""


def enrolled(*rows: tuple) -> pl.DataFrame:
    names = ("psn_no", "insutype", "begndate", "enddate", "enrol_date")
    return rows_of("enrolments", *(dict(zip(names, row, strict=False)) for row in rows))


def test_a_civil_servant_is_one_enrolled_in_that_insurance_on_the_day():
    known = {"enrolments": enrolled(("p", "320", date(2025, 1, 1), date(2025, 3, 31)))}
    by = simple("50", more=PAYERS)
    found = paid(by, {"cost": "1000"}, {"cost": "1000", "setl_time": datetime(2025, 4, 1)}, known=known)
    assert [s["cvlserv_pay_fen"] for s in found] == [40000, 0]
    assert paid(by, {"cost": "1000"})[0]["cvlserv_pay_fen"] == 0  # without a table nobody is


def test_assistance_has_its_own_yearly_start_and_limit_by_category():
    known = {"persons": rows_of("persons", {"psn_no": "p", "aid_type": "低保"}, {"psn_no": "q", "aid_type": "特困"})}
    rows = [
        {"cost": cost, "psn_no": p}
        for p, cost in (("p", "1600"), ("p", "2400"), ("p", "9000"), ("q", "9000"), ("r", "9000"))
    ]
    found = paid(simple("50", more=PAYERS), *rows, known=known)
    # 800 below the start; 800 + 1200 − 1000 = 1000 x 70 %; then 2000 − 700; wholly; nobody's
    assert [s["maf_pay_fen"] for s in found] == [0, 70000, 130000, 450000, 0]


def test_buckets_of_a_city_insurance_count_different_parts_each_with_its_own_start():
    known = {"enrolments": enrolled(("p", "H1", date(2025, 1, 1)))}
    one = paid(simple("50", more=PAYERS), {"cost": "10000", "own": "3000"}, known=known, steps=True)[0]
    assert (one["city_in_scope_paid"], one["city_outside_paid"]) == (240000, 120000)  # 3000 x 80 %, 2000 x 60 %
    assert (one["oth_pay"], one["psn_cash_pay"]) == (360000, 1300000 - 500000 - 360000)


def test_the_order_of_payers_is_the_policys():
    known = {"enrolments": enrolled(("p", "320", date(2025, 1, 1)), ("p", "H1", date(2025, 1, 1)))}
    layers = ["pool", "city_in_scope", "city_outside", "civil_servant", "assistance", "account"]
    by = simple("50", more=PAYERS + f"order: {layers}".replace("'", ""))
    one = paid(by, {"cost": "10000"}, known=known)[0]
    assert (one["oth_pay_fen"], one["cvlserv_pay_fen"]) == (240000, 208000)  # 80 % of 3000; 80 % of the 2600 left
    with pytest.raises(ValueError, match="各写一次"):
        simple("50", more=PAYERS + "order: [pool, account]")


@pytest.mark.parametrize(("word", "said"), [("civil", "civil_servant"), ("poll", "pool")])
def test_a_misspelt_layer_of_the_order_is_told(word, said):
    with pytest.raises(ValueError, match=f"did you mean {said}"):
        simple("50", more=PAYERS + f"order: [{word}]")


# ---- the incentive of 国办发〔2024〕38号

INCENTIVE = """
catastrophic:
  benefits: [inpatient]
  ratio: {2020-01-01: {value: 100}}
  annual_cap: {2020-01-01: {value: 300000}}
  incentive:
    since: 2025
    free_years: {2020-01-01: {value: 4}}
    step_continuous: {2020-01-01: {value: 3000}}
    step_zero_claim: {2020-01-01: {value: 2000}}
    most_percent: {2020-01-01: {value: 20}}
"""


def cap_after(begin: date, *years: int, cost: str = "900000") -> list[int]:
    """What the layer pays of one dear claim in each of these years."""
    known = {"enrolments": enrolled(("p", "390", begin))}
    rows = [{"cost": cost, "setl_time": datetime(year, 6, 1)} for year in years]
    return [s["hifmi_pay_fen"] // 100 for s in paid(simple("0", more=INCENTIVE), *rows, known=known)]


def test_unbroken_enrolment_counts_from_the_fifth_year_and_a_year_without_claims_from_2025():
    assert cap_after(date(2022, 1, 1), 2025) == [300000]  # the fourth year
    assert cap_after(date(2021, 1, 1), 2025) == [303000]  # the fifth
    assert cap_after(date(2022, 1, 1), 2026) == [300000 + 3000 + 2000]  # 2025 without a claim
    assert cap_after(date(2026, 1, 1), 2029) == [300000 + 3 * 2000]
    assert cap_after(date(2022, 1, 1), 2027) == [300000 + 2 * 3000 + 2 * 2000]


def test_a_claim_that_uses_the_bonus_clears_the_years_without_claims():
    # 2027: n = 6, two zero years; the pool pays nothing here (0 %), so later years would all be free again
    assert cap_after(date(2022, 1, 1), 2027, 2028) == [310000, 300000 + 3 * 3000 + 1 * 2000]
    known = {"enrolments": enrolled(("p", "390", date(2022, 1, 1)))}
    rows = [{"cost": c, "setl_time": datetime(2027, 6, n)} for n, c in enumerate(("300000", "2000", "900000"), 1)]
    found = paid(simple("0", more=INCENTIVE), *rows, known=known)
    # the second claim draws 2,000 of the bonus of 10,000: the 4,000 for zero years are gone, 6,000 − 2,000 remain
    assert [s["hifmi_pay_fen"] // 100 for s in found] == [300000, 2000, 4000]


def test_bonuses_never_exceed_a_fifth_of_the_cap():
    assert cap_after(date(1990, 1, 1), 2025) == [360000]


def test_a_break_in_enrolment_starts_the_count_again():
    known = {"enrolments": enrolled(("p", "390", date(2015, 1, 1), date(2023, 12, 31)), ("p", "390", date(2025, 1, 1)))}
    assert paid(simple("0", more=INCENTIVE), {"cost": "900000"}, known=known)[0]["hifmi_pay_fen"] == 30000000


def test_a_refund_of_the_claim_that_used_the_bonus_gives_the_years_back():
    known = {"enrolments": enrolled(("p", "390", date(2022, 1, 1)))}
    claim, again = ({"cost": "900000", "setl_time": datetime(2027, 6, day)} for day in (1, 3))
    rows = [claim, refund_of("s0", cost="900000", setl_time=datetime(2027, 6, 2)), again]
    found = paid(simple("0", more=INCENTIVE), *rows, known=known)
    assert [s["hifmi_pay_fen"] // 100 for s in found] == [310000, -310000, 310000]


# ---- long-term care


def test_long_term_care_pays_a_share_of_the_unit_limit():
    # 滕州 2023-12-13, A: 医疗专护 80 % up to 80 a bed-day, 居家上门 90 % up to 45; hours here are a made-up third form
    by = simple(
        "50",
        more="""
long_term_care:
  ward: {service_codes: [A1], limit: {2023-12-13: {value: 80}}, ratio: {2023-12-13: {value: 80}}}
  home: {service_codes: [B1], limit: {2023-12-13: {value: 45}}, ratio: {2023-12-13: {value: 90}}}
  hour:
    unit: hour
    limit: {2023-12-13: {value: 60}}
    ratio: {2023-12-13: {value: 75}}
    units_a_month: {2023-12-13: {value: 2}}
""",
    )
    services = ("A1", 10000), ("A1", 5000), ("B1", 6000), ("hour", 12000), ("hour", 12000), ("X", 100)
    rows = [
        {"visit_id": f"v{n}", "psn_no": "p", "service_code": code, "det_item_fee_sumamt": cost,
         "begntime": datetime(2025, 3, n, 8), "endtime": datetime(2025, 3, n, 9, 30)}
        for n, (code, cost) in enumerate(services, 1)
    ]  # fmt: skip
    visits = rows_of("ltc_visits", *rows)
    found = care_payments(visits, by)
    # 80 x 80 %; 50 x 80 %; 45 x 90 %; 1.5 h x 60 x 75 %; the half hour left of two: 30 x 75 %; unknown
    assert found["fund_fen"].to_list() == [6400, 4000, 4050, 6750, 2250, 0]


# ---- properties of the whole


@st.composite
def lives(draw):
    """Claims of two persons of any category and standing under a policy of every layer."""
    rows = []
    for n in range(draw(st.integers(1, 10))):
        rows.append({
            "setl_id": f"c{draw(st.integers(0, 99)):02d}-{n}", "psn_no": draw(st.sampled_from("pqr")),
            "cost": str(draw(st.decimals(0, 90000, places=2))), "own": str(draw(st.decimals(0, 9000, places=2))),
            "first": str(draw(st.decimals(0, 9000, places=2))), "local_flag": draw(st.sampled_from("110")),
            "setl_time": datetime(2025, 1, 1) + timedelta(days=draw(st.integers(0, 729))),
        })  # fmt: skip
    for n, row in enumerate(list(rows)):
        if draw(st.integers(0, 3)) == 0:
            rows.append(refund_of(row["setl_id"], setl_id=f"r{n}", psn_no=row["psn_no"],
                                  setl_time=row["setl_time"] + timedelta(days=draw(st.integers(0, 90)))))  # fmt: skip
    return rows


EVERYTHING = (
    PAYERS
    + INCENTIVE.replace("value: 100", "value: 50")  # leaves something to the payers behind it
    + """
annual_cap: {2020-01-01: {value: 50000}}
large_amount: {ratio: {2020-01-01: {value: 80}}, annual_cap: {2020-01-01: {value: 20000}}}
cross_region: {unfiled: {mode: times, value: {2020-01-01: {value: 50}}, deductible_percent: {2020-01-01: {value: 150}}}}
shared_account: yes
"""
)
KNOWN = {
    "persons": rows_of("persons", *({"psn_no": p, "aid_type": a, "acct_group": g} for p, a, g in
                                    (("p", "低保", "g"), ("q", None, "g"), ("r", "特困", None)))),
    "enrolments": enrolled(("p", "H1", date(2025, 1, 1)), ("q", "320", date(2020, 1, 1))),
    "filings": rows_of("filings", {"psn_no": "p", "begndate": date(2025, 1, 1), "kind": "referral"}),
}  # fmt: skip
OPENINGS = pl.DataFrame({"psn_no": ["p", "q", "q"], "year": [2025, 2025, 2026], "acct_balc": [500000, 300000, 100000]})


@given(lives(), st.randoms(use_true_random=False))
@examples(max_examples=40, deadline=None)
def test_every_statement_adds_up_and_does_not_depend_on_the_order_of_rows(rows, random):
    by = simple("70", "600", EVERYTHING)
    found = {s["setl_id"]: s for s in paid(by, *rows, openings=OPENINGS, known=KNOWN)}
    for row in rows:
        s, sign = found[row["setl_id"]], -1 if "init_setl_id" in row else 1
        for total, parts in IDENTITIES.values():
            assert s[f"{total}_fen"] == sum(s[f"{part}_fen"] for part in parts)
        shares = [*LAYERS, "acct_pay", "acct_mulaid_pay", "psn_cash_pay"]
        assert all(sign * s[f"{share}_fen"] >= 0 for share in shares)
        if "init_setl_id" in row:
            assert all(s[f"{share}_fen"] == -found[row["init_setl_id"]][f"{share}_fen"] for share in shares)
    mixed = random.sample(rows, len(rows))
    tables = {name: frame.sample(fraction=1, shuffle=True, seed=random.randint(0, 99)) for name, frame in KNOWN.items()}
    assert {s["setl_id"]: s for s in paid(by, *mixed, openings=OPENINGS.reverse(), known=tables)} == found


@given(lives())
@examples(max_examples=30, deadline=None)
def test_caps_hold_over_the_year_and_no_account_is_overdrawn(rows):
    rows = [row for row in rows if "init_setl_id" not in row]
    found = paid(simple("70", "600", EVERYTHING), *rows, openings=OPENINGS, known=KNOWN)
    year: dict[tuple, int] = {}
    drawn: dict[str, int] = {}
    for row, s in zip(rows, found, strict=True):
        for layer in ("hifp_pay", "hifob_pay", "maf_pay"):
            key = (row["psn_no"], row["setl_time"].year, layer)
            year[key] = year.get(key, 0) + s[f"{layer}_fen"]
        drawn[row["psn_no"]] = drawn.get(row["psn_no"], 0) + s["acct_pay_fen"] + s["acct_mulaid_pay_fen"]
    assert all(v <= 5000000 for (_, _, layer), v in year.items() if layer == "hifp_pay")
    assert all(v <= 2000000 for (_, _, layer), v in year.items() if layer == "hifob_pay")
    assert all(v <= 200000 for (p, _, layer), v in year.items() if layer == "maf_pay" and p == "p")
    assert drawn.get("p", 0) + drawn.get("q", 0) <= 900000 and drawn.get("r", 0) == 0


@given(st.integers(0, 9_000_000), st.integers(0, 500_000), st.sampled_from("pqr"))
@examples(max_examples=40, deadline=None)
def test_a_dearer_claim_is_never_paid_less_by_any_chain_of_payers(cents, more, person):
    by = simple("70", "600", EVERYTHING)
    cheap, dear = (
        paid(by, {"cost": f"{c // 100}.{c % 100:02d}", "psn_no": person}, known=KNOWN)[0] for c in (cents, cents + more)
    )
    assert cheap["fund_pay_sumamt_fen"] <= dear["fund_pay_sumamt_fen"]


# ---- the packs that come along


def in_pack(pack: str, *rows: dict, steps: bool = False) -> list[dict]:
    return paid(load_policy(pack), *({"psn_type": "1501"} | row for row in rows), steps=steps)


def test_guangxi_residents_first_and_second_stay_as_published():
    # 南宁 居民 三级 (2023-06-08, B), P = 10,600: (10,600 − 600) x 60 % = 6,000; second stay 300: 6,180
    found = in_pack("demo-guigang", {"cost": "10600"}, {"cost": "10600"}, {"cost": "10600"})
    assert [s["hifp_pay_fen"] for s in found] == [600000, 618000, 618000]
    second_level = in_pack("demo-guigang", {"cost": "1300", "hosp_lv": "2"}, {"cost": "1300", "hosp_lv": "2"})
    assert [s["act_pay_dedc_fen"] for s in second_level] == [30000, 20000]


@pytest.mark.parametrize(
    ("pack", "psn_type", "year", "cap"),
    [
        ("demo-guangdong", "1101", 2025, 198600),  # 阳江 1,986 = 2 % x 99,302 (W20)
        ("demo-guangdong", "1501", 2025, 158900),
        ("demo-huizhou", "1101", 2024, 202800),
        ("demo-huizhou", "1201", 2025, 208600),
        ("demo-huizhou", "1501", 2025, 80000),
    ],
)
def test_outpatient_caps_of_the_packs(pack, psn_type, year, cap):
    visit = {
        "visit_kind": "general_outpatient",
        "cost": "9000",
        "psn_type": psn_type,
        "setl_time": datetime(year, 5, 1),
    }
    assert in_pack(pack, visit)[0]["hifp_pay_fen"] == cap


@pytest.mark.parametrize("pack", ["demo-guangdong", "demo-guigang", "demo-huizhou", "demo-national-cross-region"])
def test_a_pack_covers_every_kind_of_visit_group_and_level_in_2025(pack):
    kinds = ["general_outpatient", "chronic_outpatient", "inpatient", "day_surgery", "pharmacy"]
    rows = [{"psn_no": f"{t}{lv}{k}", "psn_type": t, "hosp_lv": lv, "visit_kind": k, "cost": "3000"}
            for t in ("1101", "1201", "1403", "1501") for lv in "0123" for k in kinds]  # fmt: skip
    assert [s["status"] for s in in_pack(pack, *rows, steps=True)] == [None] * len(rows)


def test_a_category_may_have_no_cap_where_others_have_one():
    more = """
categories: {低保: {}}
catastrophic:
  benefits: [inpatient]
  ratio: {2020-01-01: {value: [{over: 10000, percent: 60}]}}
  annual_cap: {2020-01-01: {value: 5000}}
  category_annual_cap: {2020-01-01: {value: {低保: none}}}
"""
    known = {"persons": rows_of("persons", {"psn_no": "p", "aid_type": "低保"})}
    rows = [{"cost": "30000"}, {"cost": "30000", "psn_no": "q"}]
    assert [s["hifmi_pay_fen"] for s in paid(simple("0", more=more), *rows, known=known)] == [1200000, 500000]


def test_what_is_computed_from_the_pool_comes_after_it():
    large = "large_amount: {ratio: {2020-01-01: {value: 80}}}\norder: [large_amount, pool, account]"
    with pytest.raises(ValueError, match="须在 pool 之后"):
        simple("50", more=large)
    # what is not may come before: a product that pays half first leaves the pool the other half
    first = """
payers: {charity: {column: oth_pay, ratio: {2020-01-01: {value: 50}}}}
order: [charity, pool, account]
"""
    one = paid(simple("80", more=first), {"cost": "1000"})[0]
    assert (one["oth_pay_fen"], one["hifp_pay_fen"], one["psn_cash_pay_fen"]) == (50000, 40000, 10000)


# ---- all layers against one claim after the other in plain Python


def half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def tiers_passed(before: int, base: int, tiers: list[tuple[int, int]]) -> int:
    """What base adds to the tiers (over fen, percent), rounded once."""
    ends = [over for over, _ in tiers[1:]] + [10**15]
    inside = (max(min(before + base, end) - max(before, over), 0) for (over, _), end in zip(tiers, ends, strict=True))
    return half_up(sum(part * percent for part, (_, percent) in zip(inside, tiers, strict=True)), 100)


CHAIN = """
categories: {低保: {}}
annual_cap: {2020-01-01: {value: 20000}}
large_amount: {ratio: {2020-01-01: {value: 50}}, annual_cap: {2020-01-01: {value: 3000}}}
catastrophic:
  benefits: [inpatient]
  first_pay_counts: yes
  ratio: {2020-01-01: {value: [{over: 4000, percent: 60}, {over: 9000, percent: 70}]}}
  annual_cap: {2020-01-01: {value: 8000}}
  category_start_percent: {2020-01-01: {value: {低保: 50}}}
  category_plus_points: {2020-01-01: {value: {低保: 5}}}
payers:
  aid:
    column: maf_pay
    by: category
    start: {2020-01-01: {value: {低保: 1000}}}
    ratio: {2020-01-01: {value: {低保: 70}}}
    annual_cap: {2020-01-01: {value: {低保: 2500}}}
  city:
    column: oth_pay
    counts: [in_scope, own_pay]
    start: {2020-01-01: {value: 3000}}
    ratio: {2020-01-01: {value: 80}}
"""


def chain_by_hand(rows: list[dict]) -> list[tuple]:
    """(pool, large, catastrophic, aid, city, cash) of each claim, in fen, for claims in order of time."""
    used: dict[tuple, int] = {}
    answer = []
    for row in rows:
        poor, key = row["psn_no"] == "p", (row["psn_no"], row["setl_time"].year)
        scope, first, own = fen(row["cost"]), fen(row["first"]), fen(row["own"])

        def take(what: str, amount: int, cap: int = 10**15, key=key) -> int:
            amount = max(min(amount, cap - used.get((key, what), 0)), 0)
            used[key, what] = used.get((key, what), 0) + amount
            return amount

        def before(what: str, base: int, key=key) -> int:
            used[key, what] = used.get((key, what), 0) + base
            return used[key, what] - base

        dedc = min(scope, 60000)
        entitled = half_up((scope - dedc) * 70, 100)
        pool = take("pool", entitled, 2000000)
        beyond = half_up((scope - dedc) * (entitled - pool), entitled) if entitled > pool else 0
        large = take("large", half_up(beyond * 50, 100), 300000)
        rest, base = scope - pool - large, scope - pool - large + first
        bands = [(200000 if poor else 400000, 65 if poor else 60), (900000, 75 if poor else 70)]
        serious = take("serious", min(tiers_passed(before("s", base), base, bands), base), 800000)
        of_scope = min(rest, serious)
        rest, first = rest - of_scope, first - (serious - of_scope)
        aid = 0
        if poor:
            aid = take("aid", min(tiers_passed(before("a", rest), rest, [(100000, 70)]), rest), 250000)
            rest -= aid
        base = rest + own
        city = take("city", min(tiers_passed(before("c", base), base, [(300000, 80)]), base))
        answer.append((pool, large, serious, aid, city, rest + first + own - city))
    return answer


@given(lives())
@examples(max_examples=60, deadline=None)
def test_every_layer_agrees_with_one_claim_after_the_other(rows):
    rows = [row | {"local_flag": "1"} for row in rows if "init_setl_id" not in row]
    rows.sort(key=lambda row: (row["setl_time"], row["setl_id"]))
    known = {"persons": rows_of("persons", {"psn_no": "p", "aid_type": "低保"})}
    found = paid(simple("70", "600", CHAIN), *rows, known=known)
    columns = ("hifp_pay", "hifob_pay", "hifmi_pay", "maf_pay", "oth_pay", "psn_cash_pay")
    assert [tuple(s[f"{name}_fen"] for name in columns) for s in found] == chain_by_hand(rows)
