"""What a person is entitled to on the day of a claim: filings, entitlements, enrolment, waiting, families' accounts."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from test_settlement import claims_of, lines_of, refund_of
from test_waterfall import enrolled, paid, policy_of, rows_of, simple

from engine.run.stages import person_bucket
from engine.settlement.person import settle
from engine.settlement.standing import waiting_months
from engine.tables.dictionary import table

AWAY = {"local_flag": "0", "mdtrtarea_admdvs": "310101", "cost": "1600", "begntime": datetime(2025, 2, 20)}
CROSS = """
cross_region:
  referral: {mode: minus, value: {2020-01-01: {value: 10}}}
  temporary: {mode: replace, value: {2020-01-01: {value: 50}}}
  unfiled: {mode: times, value: {2020-01-01: {value: 70}}, deductible_percent: {2020-01-01: {value: 150}}}
"""


def filing(kind: str, area: str | None = "310000", begin: date = date(2025, 1, 1), end: date | None = None) -> dict:
    rows = rows_of(
        "filings", {"psn_no": "p", "mdtrtarea_admdvs": area, "begndate": begin, "enddate": end, "kind": kind}
    )
    return {"filings": rows}


@pytest.mark.parametrize(
    ("known", "fund"),
    [
        (filing("resident"), 80000),  # not reduced by the policy: as at home, (1600 − 600) x 80 %
        (filing("referral"), 70000),  # 70 %
        (filing("temporary"), 50000),  # 50 %
        (filing("referral", area="440000"), 39200),  # filed for elsewhere: (1600 − 900) x 56 %
        (filing("referral", end=date(2025, 2, 19)), 39200),  # lapsed the day before admission
        (filing("referral", begin=date(2025, 2, 21)), 39200),  # filed after admission
        (filing("referral", area="310101"), 70000),
        (filing("emergency", area=None), 80000),
    ],
)
def test_care_away_from_home_is_paid_by_its_filing_on_the_day_of_admission(known, fund):
    assert paid(simple("80", "600", CROSS), AWAY, known=known)[0]["hifp_pay_fen"] == fund


@pytest.mark.parametrize(("said", "fund"), [("unfiled", 39200), ("filed", 80000), ("emergency", 80000), (None, 39200)])
def test_without_a_table_of_filings_the_claim_says_it_itself(said, fund):
    assert paid(simple("80", "600", CROSS), AWAY | {"filing_status": said})[0]["hifp_pay_fen"] == fund


def test_of_several_filings_the_one_that_reduces_least_in_the_policys_order_holds():
    known = {"filings": pl.concat([filing("temporary")["filings"], filing("referral")["filings"]])}
    assert paid(simple("80", "600", CROSS), AWAY, known=known)[0]["hifp_pay_fen"] == 70000


def test_care_at_home_needs_no_filing():
    assert paid(simple("80", "600", CROSS), {"cost": "1600"})[0]["hifp_pay_fen"] == 80000


def test_what_unfiled_care_lost_is_not_assisted():
    # 甘医保发〔2021〕80号 (A): 救助基数 = 个人自付 − 大病 − 未备案造成的报销降低额
    more = (
        CROSS
        + """
categories: {低保: {}}
payers: {assistance: {column: maf_pay, by: category, ratio: {2020-01-01: {value: {低保: 70}}}, loss_counts: no}}
"""
    )
    known = {"persons": rows_of("persons", {"psn_no": "p", "aid_type": "低保"}), **filing("referral", area="440000")}
    one = paid(simple("80", "600", more), AWAY, known=known, steps=True)[0]
    # at home 800 would have been paid, away 392: 408 lost; 1600 − 392 − 408 = 800 x 70 %
    assert (one["lost_unfiled"], one["assistance_base"], one["maf_pay"]) == (40800, 80000, 56000)
    filed = {**known, **filing("referral")}
    assert paid(simple("80", "600", more), AWAY, known=filed)[0]["maf_pay_fen"] == 63000  # all of the 900 left


def test_a_policy_says_one_way_of_reducing_only():
    with pytest.raises(ValueError, match="只写一个"):
        simple("80", more=CROSS + "remote_minus_points: {2020-01-01: {value: 10}}")


def test_a_late_manual_claim_takes_what_the_caps_leave():
    # 零星报销: care in March, settled in October after other claims of the year; it is last in order and in the year
    by = simple("100", more="annual_cap: {2020-01-01: {value: 1000}}")
    rows = [{"cost": "700", "setl_time": datetime(2025, 5, 1)},
            {"cost": "900", "begntime": datetime(2025, 3, 1), "setl_time": datetime(2025, 10, 1)}]  # fmt: skip
    assert [s["hifp_pay_fen"] for s in paid(by, *rows)] == [70000, 30000]


# ---- entitlements

CHRONIC = """
name: chronic
groups: {worker: {}}
benefits:
  general: {visit_kinds: [general_outpatient], ratio: {2020-01-01: {value: 50}}}
  chronic:
    visit_kinds: [chronic_outpatient]
    ratio: {2020-01-01: {value: 80}}
    entitlement: {otherwise: general, remote_diseases: [M00500, M01600]}
"""


def chronic(disease: str = "M00500", **more) -> dict:
    return {"visit_kind": "chronic_outpatient", "dise_codg": disease, "cost": "100"} | more


def test_a_chronic_visit_without_entitlement_is_paid_as_an_ordinary_one_or_not_at_all():
    entitled = {"psn_no": "p", "dise_codg": "M00500", "begndate": date(2025, 1, 1), "enddate": date(2025, 3, 1)}
    known = {"disease_entitlements": rows_of("disease_entitlements", entitled)}
    rows = [chronic(), chronic("M01600"), chronic(setl_time=datetime(2025, 3, 2)), chronic(psn_no="q")]
    assert [s["hifp_pay_fen"] for s in paid(policy_of(CHRONIC), *rows, known=known)] == [8000, 5000, 5000, 5000]
    strict = policy_of(CHRONIC.replace("otherwise: general", "otherwise: nothing"))
    found = paid(strict, *rows, known=known)
    assert [s["hifp_pay_fen"] for s in found] == [8000, 0, 0, 0]
    assert [s["first_difference"] for s in found] == [None, "policy", "policy", "policy"]


def test_away_from_home_only_the_listed_diseases_are_paid_as_such():
    # the ten cross-province diseases: a list of the policy; without a table everyone is entitled at home
    rows = [chronic("M99999"), chronic("M99999", local_flag="0"), chronic("M01600", local_flag="0")]
    assert [s["hifp_pay_fen"] for s in paid(policy_of(CHRONIC), *rows)] == [8000, 5000, 8000]


def test_an_entitlement_may_hold_at_the_chosen_institution_only():
    by = policy_of(CHRONIC.replace("otherwise: general", "otherwise: general, at_chosen_site: yes"))
    chosen = {"psn_no": "p", "dise_codg": "M00500", "begndate": date(2025, 1, 1), "fixmedins_code": "H1"}
    known = {"disease_entitlements": rows_of("disease_entitlements", chosen)}
    rows = [chronic(fixmedins_code="H1"), chronic(fixmedins_code="H2")]
    assert [s["hifp_pay_fen"] for s in paid(by, *rows, known=known)] == [8000, 5000]


# ---- enrolment, newborns, waiting

ENROLMENT = """
categories: {低保: {}}
enrolment:
  insutypes: ["390"]
  newborn_days: {2020-01-01: {value: 180}}
  waiting:
    fixed: {2025-01-01: {value: 3}}
    per_missed_year: {2025-01-01: {value: 1}}
    per_repaired_year: {2025-01-01: {value: 1}}
    long_gap_years: {2025-01-01: {value: 4}}
    long_gap_least: {2025-01-01: {value: 6}}
    exempt_categories: [低保]
"""


@pytest.mark.parametrize(("day", "fund"), [(180, 80000), (181, 0)])
def test_a_newborn_enrolled_within_180_days_is_insured_from_birth(day, fund):
    birth = date(2025, 1, 10)
    joined = birth + timedelta(days=day)
    known = {
        "enrolments": enrolled(("p", "390", joined, None, joined)),
        "persons": rows_of("persons", {"psn_no": "p", "brdy": birth}),
    }
    stay = {"cost": "1000", "begntime": datetime(2025, 1, 12), "setl_time": datetime(2025, 1, 20)}
    later = {"cost": "1000", "setl_time": datetime(2025, 8, 1)}
    found = paid(simple("80", more=ENROLMENT), stay, later, known=known, steps=True)
    assert [s["hifp_pay"] for s in found] == [fund, 80000]
    assert found[0]["status"] == (None if fund else "enrolment")
    before = paid(simple("80", more=ENROLMENT), stay | {"begntime": datetime(2025, 1, 9)}, known=known)
    assert before[0]["hifp_pay_fen"] == 0  # the mother's, not the child's


@pytest.mark.parametrize(
    ("spells", "pays_from"),
    [
        # unbroken, in the concentrated period
        ([("390", date(2024, 1, 1), date(2024, 12, 31)), ("390", date(2025, 1, 1))], date(2025, 1, 1)),
        # no gap behind it, but enrolled in the course of the year: the fixed three months
        ([("390", date(2025, 2, 10))], date(2025, 5, 10)),
        # 2023 and 2024 missed: 3 + 2 months
        ([("390", date(2022, 1, 1), date(2022, 12, 31)), ("390", date(2025, 1, 1))], date(2025, 6, 1)),
        # one of the two repaired afterwards: 3 + 1
        ([("390", date(2022, 1, 1), date(2022, 12, 31)), ("390", date(2025, 1, 1)),
          ("390", date(2024, 1, 1), date(2024, 12, 31), date(2025, 1, 1))], date(2025, 5, 1)),
        # five years missed and all repaired: not three but six months
        ([("390", date(2019, 1, 1), date(2019, 12, 31)), ("390", date(2025, 1, 1)),
          *(("390", date(y, 1, 1), date(y, 12, 31), date(2025, 1, 1)) for y in range(2020, 2025))], date(2025, 7, 1)),
    ],
)  # fmt: skip
def test_the_pool_pays_nothing_while_the_waiting_period_runs(spells, pays_from):
    known = {"enrolments": enrolled(*(("p", *spell) for spell in spells))}
    days = [d for d in (pays_from - timedelta(days=1), pays_from) if d >= date(2025, 1, 1)]
    rows = [{"cost": "1000", "setl_time": datetime(d.year, d.month, d.day, 9)} for d in days]
    found = paid(simple("80", more=ENROLMENT), *rows, known=known, steps=True)
    assert [s["hifp_pay"] for s in found] == [0, 80000][-len(days):]  # fmt: skip
    assert all(s["status"] == "waiting" for s in found[:-1])


def test_who_is_exempt_waits_not():
    known = {"enrolments": enrolled(("p", "390", date(2025, 2, 10)))}
    rows = [{"cost": "1000"}]
    assert paid(simple("80", more=ENROLMENT), *rows, known=known)[0]["hifp_pay_fen"] == 0
    known["persons"] = rows_of("persons", {"psn_no": "p", "aid_type": "低保"})
    assert paid(simple("80", more=ENROLMENT), *rows, known=known)[0]["hifp_pay_fen"] == 80000


def test_one_not_enrolled_pays_all_but_an_account_is_not_asked_either():
    known = {"enrolments": enrolled(("p", "390", date(2024, 1, 1), date(2024, 12, 31)), ("q", "310", date(2020, 1, 1)))}
    found = paid(simple("80", more=ENROLMENT), {"cost": "10"}, {"cost": "10", "psn_no": "q"}, known=known, steps=True)
    assert [(s["fund_pay_sumamt"], s["psn_cash_pay"], s["status"]) for s in found] == [(0, 1000, "enrolment")] * 2


def test_waiting_months_of_the_national_rule():
    # 3 fixed, +1 a missed year, −1 a repaired one, after four years or more at least 6 (国办发〔2024〕38号, R)
    missed, repaired = np.array([0, 1, 3, 3, 4, 10]), np.array([0, 0, 0, 3, 4, 0])
    assert waiting_months(missed, repaired, 3, 1, 1, 4, 6).tolist() == [3, 4, 6, 3, 6, 13]


def test_an_injury_may_be_held_until_it_is_known_who_is_liable():
    held = paid(simple("80", more="accidents: held"), {"cost": "100", "trum_flag": "1"}, {"cost": "100"}, steps=True)
    assert [(s["hifp_pay"], s["status"]) for s in held] == [(0, "accident"), (8000, None)]
    assert paid(simple("80"), {"cost": "100", "trum_flag": "1"})[0]["hifp_pay_fen"] == 8000


# ---- families

FAMILY = {"persons": rows_of("persons", *({"psn_no": p, "acct_group": "g"} for p in "pqr"), {"psn_no": "x"})}
BALANCES = pl.DataFrame({"psn_no": ["p", "q", "r", "x"], "year": [2025] * 4, "acct_balc": [1000, 2000, 5000, 9000]})


def test_the_own_account_pays_first_then_the_others_in_order():
    by = simple("0", more="shared_account: yes")
    rows = [{"cost": "20"}, {"cost": "30", "psn_no": "r"}, {"cost": "100", "psn_no": "q"}, {"cost": "1", "psn_no": "x"}]
    found = paid(by, *rows, openings=BALANCES, known=FAMILY)
    # p: 10 own + 10 of q; r: 30 of its own 50; q: the 10 left, then 20 of r; x has an account of its own only
    assert [(s["acct_pay_fen"], s["acct_mulaid_pay_fen"], s["psn_cash_pay_fen"]) for s in found] == [
        (1000, 1000, 0), (3000, 0, 0), (1000, 2000, 7000), (100, 0, 0)]  # fmt: skip


def test_a_refund_gives_back_to_each_account_what_it_paid():
    by = simple("0", more="shared_account: yes")
    rows = [{"cost": "20"}, refund_of("s0", cost="20"), {"cost": "20", "psn_no": "q"}]
    found = paid(by, *rows, openings=BALANCES, known=FAMILY)
    assert [(s["acct_pay_fen"], s["acct_mulaid_pay_fen"]) for s in found] == [(1000, 1000), (-1000, -1000), (2000, 0)]


def test_without_sharing_or_without_a_group_only_the_own_account_pays():
    assert paid(simple("0"), {"cost": "20"}, openings=BALANCES, known=FAMILY)[0]["acct_mulaid_pay_fen"] == 0
    by = simple("0", more="shared_account: yes")
    assert paid(by, {"cost": "20"}, openings=BALANCES)[0]["psn_cash_pay_fen"] == 1000


def test_an_account_of_a_member_without_claims_is_drawn_too():
    by = simple("0", more="shared_account: yes")
    one = paid(by, {"cost": "100"}, openings=BALANCES, known=FAMILY)[0]
    assert (one["acct_pay_fen"], one["acct_mulaid_pay_fen"]) == (1000, 7000)


@given(st.lists(st.tuples(st.sampled_from("pqrx"), st.integers(0, 4000), st.integers(0, 5)), min_size=1, max_size=12))
@examples(max_examples=50, deadline=None)
def test_families_accounts_agree_with_one_claim_after_the_other(rows):
    by = simple("0", more="shared_account: yes")
    claims = [
        {"psn_no": p, "cost": f"{c // 100}.{c % 100:02d}", "setl_time": datetime(2025, 1, 1, h)} for p, c, h in rows
    ]
    found = paid(by, *claims, openings=BALANCES, known=FAMILY)
    left = dict(zip(BALANCES["psn_no"], BALANCES["acct_balc"], strict=True))
    for n in sorted(range(len(rows)), key=lambda n: (rows[n][2], f"s{n}")):
        person, cost, _ = rows[n]
        own = min(left[person], cost)
        left[person] -= own
        shared = 0
        for other in "pqr" if person in "pqr" else "":
            if other != person:
                part = min(left[other], cost - own - shared)
                left[other] -= part
                shared += part
        assert (found[n]["acct_pay_fen"], found[n]["acct_mulaid_pay_fen"]) == (own, shared)


# ---- conditions on lines


def test_a_negotiated_drug_at_a_pharmacy_needs_an_electronic_prescription_from_its_day():
    by = policy_of("""
name: dual
groups: {worker: {}}
benefits: {pharmacy: {visit_kinds: [pharmacy], ratio: {2020-01-01: {value: 70}}}}
electronic_only: {items: [XN*], required: {2025-04-01: {value: 1, source: 种子文件, grade: S}}}
""")
    drug = {"setl_id": "s1", "med_list_codg": "XN01", "pric": "100", "chrgitm_lv": "01", "cnt": "1"}
    rows = [
        drug | {"feedetl_sn": "1", "rxno": "e", "fee_ocur_time": datetime(2025, 4, 1)},
        drug | {"feedetl_sn": "2", "rxno": "paper", "fee_ocur_time": datetime(2025, 4, 1)},
        drug | {"feedetl_sn": "3", "fee_ocur_time": datetime(2025, 4, 1)},
        drug | {"feedetl_sn": "4", "fee_ocur_time": datetime(2025, 3, 31)},
        drug | {"feedetl_sn": "5", "med_list_codg": "XA01", "fee_ocur_time": datetime(2025, 4, 1)},
    ]
    types = table("fee_lines").schema
    lines = pl.DataFrame(rows, {n: pl.String if isinstance(types[n], pl.Decimal) else types[n] for n in rows[0]})
    lines = lines.with_columns(pl.col(n).cast(types[n]) for n in rows[0])
    written = [{"rxno": "e", "electronic_flag": "1"}, {"rxno": "paper", "electronic_flag": "0"}]
    known = {"prescriptions": rows_of("prescriptions", *written)}
    claim = claims_of({"visit_kind": "pharmacy", "setl_time": datetime(2025, 4, 1, 9)})
    one = settle(claim, lines, by, None, None, known).row(0, named=True)
    assert (one["fulamt_ownpay_amt_fen"], one["hifp_pay_fen"]) == (20000, 21000)
    # without the table a named prescription is taken for one
    assert settle(claim, lines, by).row(0, named=True)["hifp_pay_fen"] == 28000


def test_a_claim_with_a_listed_item_is_paid_as_the_benefit_that_names_it():
    # 辅助生殖 参照门特待遇: the eight codes are the region's to give; here a made-up one
    by = policy_of(CHRONIC.replace("visit_kinds: [chronic_outpatient]", "items: [AR*]"))
    claims = claims_of(*[{"visit_kind": "general_outpatient"}] * 2)
    lines = lines_of({"setl_id": "s1", "med_list_codg": "AR1", "pric": "100"}, {"setl_id": "s2", "pric": "100"})
    assert settle(claims, lines, by)["hifp_pay_fen"].to_list() == [8000, 5000]


def test_maternity_costs_are_a_benefit_of_their_own_by_kind_of_admission_or_of_treatment():
    by = policy_of("""
name: maternity
groups: {worker: {}}
benefits:
  inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: 80}}}
  maternity: {med_types: [52*], adm_kinds: [maternity], ratio: {2020-01-01: {value: 100}}}
""")
    rows = [
        {"cost": "100"} | more for more in ({}, {"med_type": "5201"}, {"adm_kind": "maternity"}, {"med_type": "21"})
    ]
    assert [s["hifp_pay_fen"] for s in paid(by, *rows)] == [8000, 10000, 10000, 8000]


def test_lines_are_classified_by_the_catalogue_of_the_place_of_care_and_paid_by_the_policy_of_home():
    catalogue = pl.DataFrame({
        "med_list_codg": ["x", "x", "x"], "chrgitm_lv": ["01", "02", "03"], "selfpay_prop": ["0", "0.2", "0"],
        "admdvs": [None, "310000", "440300"],
    }).with_columns(pl.col("selfpay_prop").cast(pl.Decimal(5, 4)))  # fmt: skip
    claims = claims_of(*({"mdtrtarea_admdvs": area, "psn_no": area or "n"} for area in (None, "310101", "440305", "1")))
    lines = lines_of(*({"setl_id": f"s{n}", "med_list_codg": "x", "pric": "100"} for n in range(1, 5)))
    found = settle(claims, lines, simple("80"), catalogue)
    assert found["hifp_pay_fen"].to_list() == [8000, 6400, 0, 8000]


def test_a_run_hands_over_the_tables_that_say_what_a_person_is_entitled_to(region):
    known = {"enrolments": enrolled(("p", "320", date(2025, 1, 1)))}
    civil = "{column: cvlserv_pay, who: {insutypes: ['320']}, ratio: {2020-01-01: {value: 80}}}"
    by = simple("50", more=f"payers: {{civil: {civil}}}")
    tables = {"claims": claims_of({}), "fee_lines": lines_of({"setl_id": "s1", "pric": "100"}), **known}
    made = person_bucket(tables, replace(region, policy=by), ("settle",))["settlement"]
    assert made["cvlserv_pay_fen"].to_list() == [4000]


def test_enrolment_alone_asks_for_a_spell_and_nothing_else():
    known = {"enrolments": enrolled(("p", "390", date(2025, 3, 1)))}
    by = simple("80", more='enrolment: {insutypes: ["390"]}')
    found = paid(by, {"cost": "100"}, {"cost": "100", "setl_time": datetime(2025, 2, 28)}, known=known, steps=True)
    assert [(s["hifp_pay"], s["status"]) for s in found] == [(8000, None), (0, "enrolment")]
    assert paid(by, {"cost": "100"})[0]["hifp_pay_fen"] == 8000  # no table of enrolments: not asked


def test_a_policy_without_a_clause_on_enrolment_does_not_ask_for_it():
    incentive = """
catastrophic:
  benefits: [inpatient]
  ratio: {2020-01-01: {value: 0}}
  incentive: {since: 2025, free_years: {}, step_continuous: {}, step_zero_claim: {}, most_percent: {}}
"""
    known = {"enrolments": enrolled(("q", "390", date(2025, 3, 1)))}
    assert paid(simple("80", more=incentive), {"cost": "100"}, known=known)[0]["hifp_pay_fen"] == 8000
