"""往来账: premiums, care, leave, accounts, insurers, suppliers, places and payouts, each to the fen in one table."""

import dataclasses
from datetime import date, datetime

import polars as pl
import pytest
from paying import by_points, frames, since
from paying import policy as paying_policy

from engine.audit.examples import frame_of
from engine.reference.knowledge import load_knowledge
from engine.run.pipeline import Options, run
from engine.run.region import load_region
from engine.run.stages import settled_with_books
from engine.settlement.ledgers import (
    LEDGER,
    advance,
    catastrophic,
    heads,
    payouts,
    region_books,
    summed,
    to_institutions,
)
from engine.settlement.person_ledgers import care, leave, person_books, premiums
from engine.settlement.policy import Policy
from engine.settlement.provider import NOTHING_TOLD, by_month, paid_cases
from engine.tables.outputs import outputs

DAY = "2024-01-01"


def policy(**clauses) -> Policy:
    benefits = {
        "inpatient": {"visit_kinds": ["inpatient"], "ratio": since("60", DAY), "account_pays": "all"},
        "debits": {"visit_kinds": ["account_debit"], "account_pays": "all"},
    }
    groups = {"职工": {"psn_types": ["11*"]}, "居民": {"psn_types": ["14*"]}}
    aids = {"特困": {"aid_types": ["特困供养"]}, "低保": {"aid_types": ["低保对象"]}}
    return Policy.model_validate({"name": "p", "groups": groups, "categories": aids, "benefits": benefits} | clauses)


def people(*rows: dict) -> pl.DataFrame:
    return frame_of("persons", [{"psn_no": f"P{n}", "psn_type": "1401", **row} for n, row in enumerate(rows, 1)])


def told(book: pl.DataFrame, *columns: str) -> list[tuple]:
    return summed([book]).select(*columns).rows()


def test_the_table_of_books_is_what_a_run_writes():
    assert dict(outputs()["ledgers"]) == LEDGER


def test_assistance_pays_the_premium_of_the_poorest_whole_and_a_fixed_amount_for_others():
    # 居民缴费 400 元: 特困全额资助, 低保定额资助 240 元; 未参保的低保对象要列出来 (分类资助参保, 国办发〔2021〕42号)
    clause = {"insutypes": ["390"], "amount": since({"居民": "400", "职工": "0"}),
              "category_percent": since({"特困": "100"}), "category_amount": since({"低保": "240"})}  # fmt: skip
    persons = people({"aid_type": "特困供养"}, {"aid_type": "低保对象"}, {}, {"aid_type": "低保对象"}, {})
    spells = [{"psn_no": f"P{n}", "insutype": "390", "begndate": "2025-01-01", "enddate": "2025-12-31"}
              for n in (1, 2, 3)]  # fmt: skip
    spells.append({"psn_no": "P5", "insutype": "310", "begndate": "2025-01-01", "enddate": None})
    tables = {"persons": persons, "enrolments": frame_of("enrolments", spells)}
    book = premiums(tables, policy(premiums=clause))
    assert sorted(told(book, "item", "period", "amount_fen", "note")) == [
        ("missed", "2025", 0, "低保 未参保"),
        ("own", "2025", 16000, "低保"),
        ("own", "2025", 40000, "居民"),
        ("subsidised", "2025", 24000, "低保"),
        ("subsidised", "2025", 40000, "特困"),
    ]
    assert book.filter(pl.col("item") == "missed")["psn_no"].to_list() == ["P4"]


LEAVE = {
    "months": since("1", DAY),
    "days": since("30", DAY),
    "leave": since("98", DAY),
    "leave_difficult": since("15", DAY),
    "leave_further_baby": since("15", DAY),
    "leave_local": since("80", DAY),
}


def test_a_leave_is_paid_by_the_units_wage_and_topped_up_by_the_employer():
    leaves = frame_of("maternity_leaves", [
        # 98 + 80 = 178 天: 9000 / 30 x 178 = 53400.00; 本人工资 60000.00, 单位补 6600.00
        {"leave_id": "L1", "psn_no": "P1", "birth_date": "2025-03-04", "mean_wage": 900000, "own_wage": 6000000},
        # 核定 128 天 (W17): 8000 / 30 x 128 = 34133.33
        {"leave_id": "L2", "psn_no": "P2", "birth_date": "2025-03-04", "mean_wage": 800000, "leave_days": 128},
        {"leave_id": "L3", "psn_no": "P3", "birth_date": "2023-12-31", "mean_wage": 800000},
    ])  # fmt: skip
    book = leave(leaves, policy(maternity=LEAVE))
    assert sorted(told(book, "ref", "item", "payer", "amount_fen", "note")) == [
        ("L1", "allowance", "医保基金", 5340000, "产假 178 天"),
        ("L1", "top_up", "用人单位", 660000, "产假 178 天"),
        ("L2", "allowance", "医保基金", 3413333, "产假 128 天"),
    ]


def a_stay(**more) -> dict:
    return {
        "setl_id": "S1", "psn_no": "P1", "psn_type": "1101", "visit_kind": "inpatient", "hosp_lv": "3",
        "setl_time": datetime(2025, 5, 1), "begntime": datetime(2025, 4, 20), "medfee_sumamt": 100000,
        "inscp_scp_amt": 100000, "insu_admdvs": "440100",
    } | more  # fmt: skip


@pytest.fixture
def region():
    return dataclasses.replace(load_region(judging=False), policy=policy(shared_account=True))


DEBITS = [
    {"debit_id": "D1", "psn_no": "P1", "debit_time": datetime(2025, 3, 1), "kind": "premium", "for_psn_no": "P2",
     "payee": "居民医保基金", "amount": 40000},
    {"debit_id": "D2", "psn_no": "P1", "debit_time": datetime(2025, 6, 1), "kind": "family_doctor", "amount": 5000},
]  # fmt: skip
PERSONS = [
    {"psn_no": "P1", "psn_type": "1101", "acct_group": "A", "insu_admdvs": "440100"},
    {"psn_no": "P2", "psn_type": "1401", "acct_group": "A", "insu_admdvs": "450800"},
]


def books_of(region, claims, openings, debits=DEBITS):
    tables = {
        "claims": frame_of("claims", claims), "persons": frame_of("persons", PERSONS),
        "account_openings": frame_of("account_openings", openings),
        "account_debits": frame_of("account_debits", debits),
    }  # fmt: skip
    return settled_with_books(tables, region)


def test_a_relatives_premium_is_paid_from_the_account_in_its_place_in_time(region):
    openings = [{"psn_no": "P1", "year": 2025, "acct_balc": 60000}]
    settlement, book = books_of(region, [a_stay()], openings)
    # 账户 600.00, 3 月代缴 400.00, 5 月住院个人 400.00 只剩 200.00, 6 月家医签约 50.00 已无钱可付
    assert settlement.select("setl_id", "acct_pay_fen", "psn_cash_pay_fen").rows() == [("S1", 20000, 20000)]
    assert sorted(told(book, "period", "item", "payee", "amount_fen")) == [
        ("2025-03", "premium", "居民医保基金", 40000),
        ("2025-06", "family_doctor", "参保人", 0),
        ("2025-06", "family_doctor_short", "参保人", 5000),
    ]


def test_what_one_account_pays_for_another_place_is_a_transfer_between_the_places(region):
    openings = [{"psn_no": "P1", "year": 2025, "acct_balc": 10000}, {"psn_no": "P2", "year": 2025, "acct_balc": 25000}]
    settlement, book = books_of(region, [a_stay()], openings, [])
    assert settlement.select("acct_pay_fen", "acct_mulaid_pay_fen").rows() == [(10000, 25000)]
    assert told(book, "ledger", "payer", "payee", "item", "cases", "amount_fen") == [
        ("shared_account", "450800", "440100", "other_place", 1, 25000)
    ]


def test_a_debit_nobody_settles_for_stays_out_of_the_settlement(region):
    settlement, _ = books_of(region, [a_stay()], [])
    assert settlement["setl_id"].to_list() == ["S1"]


INSURER = {"name": "某保险公司", "premium": since({"居民": "85", "职工": "0"}), "keeps": since("3"),
           "fund_bears": since("50")}  # fmt: skip


@pytest.mark.parametrize(
    ("paid", "back", "ratio"),
    [
        # 保费 1000 人 x 85 = 85000.00; 赔付 80000.00, 盈余 5000.00, 留用至多 3% = 2550.00, 返还 2450.00
        (8000000, 245000, "赔付率 94.12%"),
        # 盈余 1000.00 不足 2550.00: 全部留用
        (8400000, 0, "赔付率 98.82%"),
        # 亏损 3000.01, 基金分担一半 1500.005 -> 1500.01
        (8800001, -150001, "赔付率 103.53%"),
        (8500000, 0, "赔付率 100.00%"),
    ],
)
def test_the_insurer_of_catastrophic_cover_is_cleared_by_the_year(paid, back, ratio):
    of = policy(catastrophic={"benefits": ["inpatient"], "ratio": since("60", DAY), "insurer": INSURER})
    enrolled = pl.DataFrame({"year": [2025, 2025], "psn_type": ["1401", "1101"], "heads": [1000, 5]},
                            schema_overrides={"year": pl.Int32})  # fmt: skip
    claimed = pl.DataFrame({"year": [2025], "hifmi_pay_fen": [paid]}, {"year": pl.Int32, "hifmi_pay_fen": pl.Int64})
    book = catastrophic(claimed, enrolled, of)
    by_item = {row["item"]: row for row in book.to_dicts()}
    assert by_item["premium"]["amount_fen"] == 8500000 and by_item["premium"]["note"] == ratio
    assert by_item["benefits"]["amount_fen"] == paid
    assert by_item["clearing"]["amount_fen"] == back


def test_whoever_is_enrolled_for_a_part_of_a_year_counts_once_in_it():
    spells = [
        {"psn_no": "P1", "insutype": "390", "begndate": "2024-01-01", "enddate": "2024-06-30"},
        {"psn_no": "P1", "insutype": "390", "begndate": "2024-09-01", "enddate": "2025-12-31"},
        {"psn_no": "P2", "insutype": "390", "begndate": "2024-12-31", "enddate": None},
    ]
    tables = {"enrolments": frame_of("enrolments", spells).lazy(), "persons": people({}, {}).lazy()}
    assert heads(tables).rows() == [(2024, "1401", 2), (2025, "1401", 2)]


FUNDS = {"fund": ["职工", "居民"], "year": [2025, 2025], "balance": [1200_00, 500_00], "spent": [1200_00, 1200_00],
         "spent_year_before": [None, None], "spent_two_years_before": [None, None], "result": [1, 1],
         "forecast": [0, 0]}  # fmt: skip


def test_a_fund_with_enough_in_reserve_may_advance_a_month_and_the_other_says_why_not():
    rule = {"advance": since({"months": {"职工": "12", "居民": "6"}})}
    schema = {"year": pl.Int64, "spent_year_before": pl.Int64, "spent_two_years_before": pl.Int64}
    book = advance(pl.DataFrame(FUNDS, schema_overrides=schema), paying_policy(clearing=rule).provider)
    assert sorted(told(book, "payer", "item", "amount_fen", "note")) == [
        ("居民", "not_eligible", 0, "累计结余可支付 5.00 个月"),
        ("职工", "eligible", 100_00, "累计结余可支付 12.00 个月"),
    ]


def test_a_payout_after_more_working_days_than_allowed_is_late_and_an_unpaid_one_is_not_judged():
    # 2025 年 5 月: 1 至 5 日放假, 4 月 27 日 (周日) 上班
    rows = {"fixmedins_code": ["H1", "H2", "H3"], "month": ["2025-03"] * 3, "deadline": [date(2025, 4, 10)] * 3,
            "paid": [date(2025, 5, 12), date(2025, 5, 13), None], "amount": [100, 200, 300]}  # fmt: skip
    calendar = load_knowledge()["workdays"]
    book = payouts(pl.DataFrame(rows), calendar, paying_policy(instant_days=since("20")).provider)
    assert sorted(told(book, "payee", "item", "amount_fen", "note")) == [
        ("H1", "on_time", 100, "用 20 个工作日, 限 20 个"),
        ("H2", "late", 200, "用 21 个工作日, 限 20 个"),
        ("H3", "not_judged", 300, "未能计算工作日"),
    ]


def test_books_add_up_whatever_bucket_their_rows_came_from():
    row = {name: None for name in LEDGER} | {"ledger": "premium", "period": "2025", "payer": "a", "payee": "b",
                                              "item": "own", "cases": 1, "amount_fen": 5}  # fmt: skip
    one = pl.DataFrame([row], LEDGER)
    assert summed([one, one]).equals(summed([pl.concat([one, one])]))
    assert summed([one, one])["amount_fen"].to_list() == [10]


def test_a_policy_without_a_clause_has_no_book(region):
    tables = {"ltc_visits": frame_of("ltc_visits", []), "enrolments": frame_of("enrolments", [])}
    assert person_books(tables, pl.DataFrame(), pl.DataFrame(), policy()).is_empty()


def test_a_run_writes_the_books_with_persons_under_pseudonyms(bundle, tmp_path):
    folder = tmp_path / "knowledge"
    folder.mkdir()
    (folder / "direct_deliveries.csv").write_text(
        "fixmedins_code,month,supplier,amount\nH00000000001,2025-03,甲公司,1200.50\n", "utf-8"
    )
    out = tmp_path / "out"
    run(bundle, out, load_region(knowledge=[folder]), Options(report=False), parts=("group", "settle"))
    made = pl.read_parquet(out / "ledgers.parquet")
    assert made.filter(pl.col("ledger") == "direct_settlement").select("payee", "amount_fen").rows() == [
        ("甲公司", 120050)
    ]


def test_care_is_paid_to_its_provider_by_month_and_service_and_an_unknown_service_says_so():
    # 居家上门每小时至多 45 元, 付 90% (滕州 2023-12-13, A): 2 小时 80.00 -> 72.00; 1 小时 60.00 -> 45 x 90% = 40.50
    service = {"service_codes": ["HOME"], "unit": "hour", "limit": since("45", DAY), "ratio": since("90", DAY)}
    visits = frame_of("ltc_visits", [
        {"visit_id": "V1", "psn_no": "P1", "provider_code": "L1", "service_code": "HOME", "det_item_fee_sumamt": 8000,
         "begntime": "2025-03-05 09:00:00", "endtime": "2025-03-05 11:00:00"},
        {"visit_id": "V2", "psn_no": "P2", "provider_code": "L1", "service_code": "HOME", "det_item_fee_sumamt": 6000,
         "begntime": "2025-03-06 09:00:00", "endtime": "2025-03-06 10:00:00"},
        {"visit_id": "V3", "psn_no": "P2", "provider_code": "L1", "service_code": "BATH", "det_item_fee_sumamt": 6000,
         "begntime": "2025-03-06 09:00:00", "endtime": "2025-03-06 10:00:00"},
    ])  # fmt: skip
    book = care(visits, policy(long_term_care={"居家": service}))
    assert told(book, "period", "payee", "item", "cases", "amount_fen", "note") == [
        ("2025-03", "L1", "BATH", 1, 0, "待遇政策没有此服务项目"),
        ("2025-03", "L1", "HOME", 2, 11250, None),
    ]


def test_stays_away_from_home_stand_in_the_books_of_both_places():
    stay = {"weight": "1", "fund_pay_sumamt": 6500, "psn_part_amt": 4000}
    away = {"insu_admdvs": "450800", "mdtrtarea_admdvs": "440100"}
    settlement, claims, grouping = frames([stay | away, stay])
    claims = claims.with_columns(local_flag=pl.lit(None, pl.String))
    empty = {name: load_knowledge()[name] for name in ("direct_deliveries", "funds", "fund_payouts", "workdays")}
    paid = paid_cases(settlement, claims, grouping, by_points())
    books = region_books(paid, by_month(paid, by_points(), NOTHING_TOLD), pl.DataFrame(), by_points(), {}, empty)
    # 病组标准 10000 - 个人 4000 = 6000 付医院; 参保地按结算单 6500 还就医地, 就医地多得 500
    assert summed(books).select("payer", "payee", "item", "cases", "amount_fen").rows() == [
        ("440100", "440100", "borne_by_care_place", 0, -50000),
        ("440100", "H1", "to_institution", 1, 600000),
        ("450800", "440100", "to_care_place", 1, 650000),
    ]


@pytest.mark.parametrize(
    ("daily", "prepaid", "expected"),
    [
        # 3 月 5 日两例记账 65.00 + 65.01: 日拨付 60% = 78.006 -> 78.01; 月预拨 90% = 117.009 -> 117.01
        ("60", "90", [("daily", 7801), ("monthly", 3900), ("yearly", 1300)]),
        (None, "90", [("monthly", 11701), ("yearly", 1300)]),
        ("60", None, [("daily", 7801), ("monthly", -7801), ("yearly", 13001)]),
        (None, None, []),
    ],
)
def test_days_months_and_the_year_pay_an_institution_what_is_payable(daily, prepaid, expected):
    clearing = {name: since(value) for name, value in (("daily", daily), ("prepaid", prepaid)) if value}
    by = paying_policy(clearing=clearing)
    stays = [{"fund_pay_sumamt": 65.00}, {"fund_pay_sumamt": 65.01}]
    paid = paid_cases(*frames(stays), by)
    book = to_institutions(paid, by_month(paid, by, NOTHING_TOLD), by.provider.clearing)
    assert sorted(told(book, "item", "amount_fen")) == expected
    assert book["amount_fen"].sum() == (13001 if expected else 0)
