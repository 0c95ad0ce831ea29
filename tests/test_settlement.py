"""Person-side settlement: line classification, the layers of a statement, the state of a year, refunds."""

import json
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl
import pytest
import sample_region
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engine.reference.knowledge import load_knowledge
from engine.settlement.lines import AMOUNTS, classify
from engine.settlement.person import STEPS, check_identities, settle, settle_steps
from engine.settlement.policy import Policy, load_policy
from engine.tables.dictionary import table
from engine.tables.outputs import conform
from engine.tables.problems import InputProblem, InvariantBroken
from engine.tables.read import read

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "sample-hospital"
DAY = "2024-01-01"


def policy(**changes) -> Policy:
    """A small policy of round numbers; changes replace its parts."""
    parts = {
        "name": "small",
        "groups": {"worker": {}, "resident": {}},
        "benefits": {
            "inpatient": {
                "visit_kinds": ["inpatient"],
                "deductible_per": "admission",
                "deductible": {DAY: {"value": "600"}},
                "nth_admission_percent": {DAY: {"value": ["100", "50"]}},
                "ratio": {DAY: {"value": {"worker": "80", "resident": {"1": "80", "3": "60"}}}},
            },
            "general": {
                "visit_kinds": ["general_outpatient"],
                "deductible_per": "year",
                "deductible": {DAY: {"value": "100"}},
                "ratio": {DAY: {"value": "50"}},
                "pool_cap": {DAY: {"value": "300"}},
            },
            "chronic": {"visit_kinds": ["chronic_outpatient"], "ratio": {DAY: {"value": "70"}}},
        },
        "annual_cap": {DAY: {"value": "10000"}},
        "remote_minus_points": {DAY: {"value": "10"}},
    }
    return Policy.model_validate(parts | changes)


def claims_of(*rows: dict) -> pl.DataFrame:
    """Claims, one per minute in the order given unless they say when; each insured, local, of one worker, level 3."""
    usual = {
        "psn_no": "p",
        "psn_type": "worker",
        "visit_kind": "inpatient",
        "hosp_lv": "3",
        "insured_flag": "1",
        "local_flag": "1",
        "refd_setl_flag": "0",
    }
    full = [
        usual | {"setl_id": f"s{n}", "setl_time": datetime(2025, 3, 1, 8) + timedelta(minutes=n)} | row
        for n, row in enumerate(rows, 1)
    ]
    schema = {name: dtype for name, dtype in table("claims").schema.items() if any(name in row for row in full)}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in full], schema)


def lines_of(*rows: dict) -> pl.DataFrame:
    """Fee lines, amounts written as text; a line is one unit of class 甲 on the first of March unless it says so."""
    usual = {"cnt": "1", "chrgitm_lv": "01", "fee_ocur_time": datetime(2025, 3, 1)}
    full = [usual | {"feedetl_sn": str(n)} | row for n, row in enumerate(rows, 1)]
    wanted = [
        "feedetl_sn",
        "setl_id",
        "med_list_codg",
        "chrgitm_lv",
        "cnt",
        "pric",
        "selfpay_prop",
        "pric_uplmt_amt",
        "fee_ocur_time",
    ]
    schema = table("fee_lines").schema
    return pl.DataFrame(
        [{name: row.get(name) for name in wanted} for row in full],
        {name: pl.String if isinstance(schema[name], pl.Decimal) else schema[name] for name in wanted},
    ).with_columns(pl.col(name).cast(schema[name]) for name in wanted)


def settled(*rows: dict, by: Policy | None = None, openings=None) -> dict[str, dict]:
    """Statements by setl_id of claims that each have one line of class 甲 of `cost` yuan, and one of 丙 of `own`."""
    lines = [
        {"setl_id": row.get("setl_id", f"s{n}"), "pric": row.get("cost", "0"), "cnt": row.get("cnt", "1")}
        for n, row in enumerate(rows, 1)
    ]
    lines += [
        {"setl_id": row.get("setl_id", f"s{n}"), "pric": row["own"], "chrgitm_lv": "03"}
        for n, row in enumerate(rows, 1)
        if "own" in row
    ]
    frame = settle(claims_of(*rows), lines_of(*lines), by or policy(), None, openings)
    return {row["setl_id"]: row for row in frame.iter_rows(named=True)}


def opening(balance: int, year: int = 2025) -> pl.DataFrame:
    return pl.DataFrame({"psn_no": ["p"], "year": [year], "acct_balc": [balance]})


def refund_of(original: str, **more) -> dict:
    return {"refd_setl_flag": "1", "init_setl_id": original, "cnt": "-1"} | more


# ---- lines


def test_a_line_over_its_limit_splits_into_four_parts():
    # 3 x 12.345 = 37.035 -> 37.04; over 3 x (12.345 - 10) = 7.035 -> 7.04; first 20 % of 30.00 = 6.00; in scope 24.00
    line = classify(
        lines_of(
            {
                "setl_id": "s",
                "pric": "12.345",
                "cnt": "3",
                "chrgitm_lv": "02",
                "selfpay_prop": "0.2",
                "pric_uplmt_amt": "10",
            }
        )
    )
    assert line.select(AMOUNTS).row(0) == (3704, 0, 704, 600, 2400)


def test_halves_are_rounded_away_from_zero_and_negative_lines_mirror_positive_ones():
    # 0.125 yuan -> 0.13; 乙 10 % of 0.13 = 0.013 -> 0.01. Half-even or binary floats would give 0.12.
    two = classify(
        lines_of(
            *(
                {"setl_id": "s", "pric": "0.125", "cnt": cnt, "chrgitm_lv": "02", "selfpay_prop": "0.1"}
                for cnt in ("1", "-1")
            )
        )
    )
    assert two.select(AMOUNTS).rows() == [(13, 0, 0, 1, 12), (-13, 0, 0, -1, -12)]


def test_class_c_and_unclassed_lines_are_wholly_self_paid():
    lines = classify(
        lines_of(
            {"setl_id": "s", "pric": "9", "chrgitm_lv": "03", "pric_uplmt_amt": "1"},
            {"setl_id": "s", "pric": "9", "chrgitm_lv": None},
        )
    )
    assert lines.select(AMOUNTS).rows() == [(900, 900, 0, 0, 0)] * 2


def test_the_catalogue_in_force_on_the_day_of_service_decides_and_the_line_itself_only_where_it_is_silent():
    catalogue = pl.DataFrame(
        {
            "med_list_codg": ["x", "x"],
            "chrgitm_lv": ["02", "01"],
            "selfpay_prop": [Decimal("0.3"), Decimal(0)],
            "pay_limit": [800, None],
            "begndate": [datetime(2024, 1, 1), datetime(2025, 1, 1)],
            "enddate": [datetime(2024, 12, 31), None],
        },
        schema_overrides={"selfpay_prop": pl.Decimal(5, 4), "begndate": pl.Date, "enddate": pl.Date},
    )
    own = {"setl_id": "s", "pric": "10", "chrgitm_lv": "02", "selfpay_prop": "0.1", "pric_uplmt_amt": "9"}
    lines = classify(
        lines_of(
            own | {"med_list_codg": "x", "fee_ocur_time": datetime(2024, 12, 31, 23)},  # 乙 30 %, limit 8: 2.00 + 2.40
            own | {"med_list_codg": "x", "fee_ocur_time": datetime(2025, 1, 1)},  # 甲, no limit
            own | {"med_list_codg": "x", "fee_ocur_time": datetime(2023, 6, 1)},  # before the catalogue: its own terms
            own | {"med_list_codg": "y"},
        ),
        catalogue,
    )  # not listed: its own terms, limit 9: 1.00 + 0.90
    assert lines.select(AMOUNTS).rows() == [
        (1000, 0, 200, 240, 560),
        (1000, 0, 0, 0, 1000),
        (1000, 0, 100, 90, 810),
        (1000, 0, 100, 90, 810),
    ]
    assert lines["feedetl_sn"].to_list() == ["1", "2", "3", "4"]


@given(
    st.decimals("0", "9999999999", places=6),
    st.decimals("-99999", "99999", places=4),
    st.decimals("0", "1", places=4),
    st.decimals("0", "9999", places=6),
    st.sampled_from(["01", "02", "03"]),
)
@examples(max_examples=100, deadline=None)
def test_lines_are_exact_to_the_fen_as_decimal_arithmetic_does_them(pric, cnt, prop, limit, level):
    def fen(amount):
        return int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))

    cost = fen(pric * abs(cnt))
    if cost > 10**12:
        return
    over = fen(max(pric - limit, 0) * abs(cnt)) if limit > 0 and level != "03" else 0
    first = int(((cost - over) * prop).quantize(Decimal(1), ROUND_HALF_UP)) if level == "02" else 0
    own = cost if level == "03" else 0
    sign = -1 if cnt < 0 else 1
    line = classify(
        lines_of(
            {
                "setl_id": "s",
                "pric": str(pric),
                "cnt": str(cnt),
                "chrgitm_lv": level,
                "selfpay_prop": str(prop),
                "pric_uplmt_amt": str(limit),
            }
        )
    )
    assert line.select(AMOUNTS).row(0) == tuple(
        sign * part for part in (cost, own, over, first, cost - own - over - first)
    )


def test_an_amount_beyond_what_can_be_summed_is_refused():
    with pytest.raises(InputProblem, match="金额超出"):
        classify(lines_of({"setl_id": "s", "pric": "9999999999", "cnt": "10"}))


# ---- layers


def test_an_admission_pays_its_deductible_and_the_second_one_half_of_it():
    # (10600 - 600) x 60 % = 6000; the second stay has a deductible of 300: (10600 - 300) x 60 % = 6180
    paid = settled(*[{"psn_type": "resident", "cost": "10600"}] * 2, by=policy(annual_cap={DAY: {"value": "none"}}))
    assert [(s["act_pay_dedc_fen"], s["hifp_pay_fen"]) for s in paid.values()] == [(60000, 600000), (30000, 618000)]


def test_tiers_are_cut_on_the_gross_amount_above_the_deductible():
    # 15000, deductible 800: 4200 x 80 % + 5000 x 85 % + 5000 x 90 % = 3360 + 4250 + 4500 = 12110; the person 2890
    tiers = [{"over": "0", "percent": "80"}, {"over": "5000", "percent": "85"}, {"over": "10000", "percent": "90"}]
    inpatient = {
        "visit_kinds": ["inpatient"],
        "deductible_per": "admission",
        "deductible": {DAY: {"value": "800"}},
        "ratio": {DAY: {"value": tiers}},
    }
    by = policy(benefits={"inpatient": inpatient}, annual_cap={})
    assert settled({"cost": "15000"}, by=by)["s1"]["hifp_pay_fen"] == 1211000
    # on the net amount of 14200: 5000 x 80 % + 5000 x 85 % + 4200 x 90 % = 4000 + 4250 + 3780
    by = policy(benefits={"inpatient": inpatient | {"band_origin": "net"}}, annual_cap={})
    assert settled({"cost": "15000"}, by=by)["s1"]["hifp_pay_fen"] == 1203000


def test_the_annual_cap_cuts_the_claim_that_crosses_it():
    # 60000, deductible 970.08, 85 %: 50175.43 (59029.92 x 0.85 = 50175.432), capped 46336; the person 13664
    inpatient = {
        "visit_kinds": ["inpatient"],
        "deductible_per": "admission",
        "deductible": {DAY: {"value": "970.08"}},
        "ratio": {DAY: {"value": "85"}},
    }
    by = policy(benefits={"inpatient": inpatient}, annual_cap={DAY: {"value": "46336"}})
    claims, lines = claims_of({}), lines_of({"setl_id": "s1", "pric": "60000"})
    step = settle_steps(claims, lines, by).row(0, named=True)
    assert (step["pool_entitled"], step["hifp_pay"], step["psn_cash_pay"]) == (5017543, 4633600, 1366400)
    assert settled({"cost": "60000"}, {"cost": "60000"}, by=by)["s2"]["hifp_pay_fen"] == 0


def test_the_large_amount_layer_bears_the_cost_beyond_the_cap():
    # base 20000 x 80 % = 16000, capped 10000: 6000 cut off, that is 6000 / 80 % = 7500 of cost; 90 % of it = 6750
    large = {"ratio": {DAY: {"value": {"worker": "90", "all": "0"}}}, "annual_cap": {DAY: {"value": "7000"}}}
    by = policy(large_amount=large)
    paid = settled({"cost": "20600"}, {"cost": "20300"}, {"cost": "100", "psn_type": "resident", "psn_no": "q"}, by=by)
    assert (paid["s1"]["hifp_pay_fen"], paid["s1"]["hifob_pay_fen"]) == (1000000, 675000)
    # the second stay (deductible 300) is all beyond the cap: 90 % of 20000 = 18000, of which 250 are left of 7000
    assert (paid["s2"]["hifp_pay_fen"], paid["s2"]["hifob_pay_fen"], paid["s3"]["hifob_pay_fen"]) == (0, 25000, 0)


def test_the_catastrophic_layer_pays_by_tiers_on_the_self_pay_of_the_year():
    # total 100000 of which 10000 outside: in scope 90000, pool 40000, so 50000 are the person's.
    # start line 20000, its first 20000 above at 30 %, the rest at 40 %: 6000 + 4000 = 10000
    by = policy(
        benefits={"inpatient": {"visit_kinds": ["inpatient"], "ratio": {DAY: {"value": "50"}}}},
        annual_cap={DAY: {"value": "40000"}},
        catastrophic={
            "benefits": ["inpatient"],
            "ratio": {DAY: {"value": [{"over": "20000", "percent": "30"}, {"over": "40000", "percent": "40"}]}},
        },
    )
    assert settled({"cost": "90000", "own": "10000"}, by=by)["s1"]["hifmi_pay_fen"] == 1000000
    # the same in two stays: 30000 + 60000; pool 15000 + 25000; self-pay 15000 (below the line), then 50000
    paid = settled({"cost": "30000"}, {"cost": "60000"}, by=by)
    assert [s["hifmi_pay_fen"] for s in paid.values()] == [0, 1000000]


def test_the_outpatient_deductible_and_pool_are_used_up_over_the_year():
    visit = {"visit_kind": "general_outpatient"}
    paid = settled(visit | {"cost": "70"}, visit | {"cost": "130"}, visit | {"cost": "400"}, visit | {"cost": "400"})
    # 70 of the deductible; then 30, (130 - 30) x 50 % = 50; then 200; then 200, of which 50 are left of 300
    assert [(s["act_pay_dedc_fen"], s["hifp_pay_fen"]) for s in paid.values()] == [
        (7000, 0),
        (3000, 5000),
        (0, 20000),
        (0, 5000),
    ]


def test_a_visit_from_elsewhere_is_paid_ten_points_less():
    paid = settled(
        {"cost": "1600", "local_flag": "0"}, {"cost": "100", "visit_kind": "chronic_outpatient", "local_flag": "0"}
    )
    assert [s["hifp_pay_fen"] for s in paid.values()] == [70000, 6000]  # (1600 - 600) x 70 %, 100 x 60 %


def test_the_account_pays_only_what_lies_in_the_catalogue_and_cash_the_rest():
    # 1600: pool 800, own share 800; outside 100. The account of 850 pays 800, then has 50 for the next visit
    paid = settled({"cost": "1600", "own": "100"}, {"cost": "1600"}, openings=opening(85000))
    assert [(s["acct_pay_fen"], s["psn_cash_pay_fen"]) for s in paid.values()] == [(80000, 10000), (5000, 51000)]


def test_a_pharmacy_benefit_may_let_the_account_pay_everything():
    by = policy(benefits={"pharmacy": {"visit_kinds": ["pharmacy"], "account_pays": "all"}})
    paid = settled({"visit_kind": "pharmacy", "cost": "30", "own": "20"}, by=by, openings=opening(4500))["s1"]
    assert (paid["acct_pay_fen"], paid["psn_cash_pay_fen"], paid["fund_pay_sumamt_fen"]) == (4500, 500, 0)


# ---- the year, refunds and what stands outside


def test_the_year_starts_again_on_the_first_of_january_but_the_account_is_carried_on():
    new_year = {"setl_time": datetime(2026, 1, 1, 0, 0, 1)}
    old_year = {"setl_time": datetime(2025, 12, 31, 23, 59, 59)}
    paid = settled({"cost": "1600"} | old_year, {"cost": "1600"} | new_year, openings=opening(100000))
    assert [s["act_pay_dedc_fen"] for s in paid.values()] == [60000, 60000]
    assert [s["acct_pay_fen"] for s in paid.values()] == [80000, 20000]
    again = settled(
        {"cost": "1600"} | old_year,
        {"cost": "1600"} | new_year,
        openings=pl.concat([opening(100000), opening(30000, 2026)]),
    )
    assert [s["acct_pay_fen"] for s in again.values()] == [80000, 30000]


def test_values_change_on_their_day():
    by = policy(annual_cap={DAY: {"value": "100"}, "2025-03-02": {"value": "200"}})
    days = [{"cost": "9000", "psn_no": p, "setl_time": datetime(2025, 3, d)} for p, d in (("a", 1), ("b", 2))]
    assert [s["hifp_pay_fen"] for s in settled(*days, by=by).values()] == [10000, 20000]


def test_a_refund_puts_back_every_state_the_claim_moved():
    """After a claim and its refund, whatever follows is settled as if neither had been."""
    large = {"ratio": {DAY: {"value": "90"}}}
    serious = {"benefits": ["inpatient", "chronic"], "ratio": {DAY: {"value": [{"over": "500", "percent": "60"}]}}}
    by = policy(large_amount=large, catastrophic=serious)
    later = [
        {"setl_id": f"x{n}", "cost": "9000", "visit_kind": kind, "setl_time": datetime(2025, 5, n)}
        for n, kind in enumerate(("inpatient", "general_outpatient", "chronic_outpatient", "inpatient"), 1)
    ]
    undone = [
        {"setl_id": f"a{n}", "cost": "8000", "visit_kind": kind, "setl_time": datetime(2025, 4, n)}
        for n, kind in enumerate(("inpatient", "general_outpatient", "chronic_outpatient"), 1)
    ]
    refunds = [
        refund_of(c["setl_id"], setl_id=f"r{n}", setl_time=datetime(2025, 4, 10 + n)) for n, c in enumerate(undone)
    ]
    with_them = settled(*undone, *refunds, *later, by=by, openings=opening(500000))
    without = settled(*later, by=by, openings=opening(500000))
    assert {k: with_them[k] for k in without} == without
    for claim, refund in zip(undone, refunds, strict=True):
        assert [with_them[refund["setl_id"]][f"{s}_fen"] for s in STEPS] == [
            -with_them[claim["setl_id"]][f"{s}_fen"] for s in STEPS
        ]


def test_claims_between_a_claim_and_its_refund_are_not_computed_again():
    paid = settled({"cost": "1600"}, {"cost": "1600"}, refund_of("s1"), {"cost": "1600"})
    # the second was the second admission when it was settled; the fourth is again the second of the year
    assert [paid[s]["act_pay_dedc_fen"] for s in ("s1", "s2", "s3", "s4")] == [60000, 30000, -60000, 30000]


def test_a_refund_in_the_same_second_does_not_run_before_its_original():
    at = {"setl_time": datetime(2025, 3, 1)}
    paid = settled(
        {"setl_id": "z", "cost": "1600"} | at, refund_of("z", setl_id="a", **at), {"setl_id": "zz", "cost": "1600"} | at
    )
    assert (paid["a"]["hifp_pay_fen"], paid["zz"]["act_pay_dedc_fen"]) == (-80000, 60000)


def test_a_refund_in_the_next_year_gives_nothing_back_to_that_year():
    paid = settled(
        {"cost": "1600"},
        refund_of("s1", setl_time=datetime(2026, 1, 2)),
        {"cost": "1600", "setl_time": datetime(2026, 1, 3)},
    )
    assert (paid["s2"]["hifp_pay_fen"], paid["s3"]["act_pay_dedc_fen"]) == (-80000, 60000)


def test_a_refund_whose_original_is_not_here_or_already_refunded_stands_as_reported():
    said = {"fund_pay_sumamt": -70000, "acct_pay": -1000}
    paid = settled(
        refund_of("elsewhere", cost="1600", **said),
        {"cost": "1600"},
        refund_of("s2"),
        refund_of("s2", cost="1600", **said),
        {"cost": "1600"},
    )
    for orphan in ("s1", "s4"):
        assert paid[orphan]["first_difference"] == "init_setl_id"
        assert (paid[orphan]["fund_pay_sumamt_fen"], paid[orphan]["psn_cash_pay_fen"]) == (-70000, -89000)
    assert paid["s5"]["act_pay_dedc_fen"] == 60000  # put back once


def test_wholly_self_paid_claims_move_no_state():
    paid = settled({"cost": "1600", "insured_flag": "0", "psn_type": None}, {"cost": "1600"}, openings=opening(90000))
    assert (paid["s1"]["psn_cash_pay_fen"], paid["s1"]["inscp_scp_amt_fen"]) == (160000, 0)
    assert (paid["s1"]["first_difference"], paid["s2"]["act_pay_dedc_fen"]) == (None, 60000)


@pytest.mark.parametrize(
    "odd",
    [
        {"psn_type": "visitor"},
        {"visit_kind": "pharmacy"},
        {"hosp_lv": None, "psn_type": "resident"},
        {"setl_time": datetime(2023, 12, 31)},
        {"visit_kind": None},
    ],
)
def test_a_claim_without_a_rule_is_named_and_pays_itself(odd):
    paid = settled({"cost": "1600", "fund_pay_sumamt": 80000} | odd, {"cost": "1600"}, openings=opening(10000))
    assert (paid["s1"]["psn_cash_pay_fen"], paid["s1"]["first_difference"]) == (160000, "policy")
    assert paid["s2"]["act_pay_dedc_fen"] == 60000


def test_the_first_step_that_differs_from_the_report_is_named():
    right = {"cost": "1600", "medfee_sumamt": 160000, "inscp_scp_amt": 160000, "fund_pay_sumamt": 80000}
    paid = settled(
        right,
        right | {"psn_no": "q", "psn_cash_pay": 79999},
        right | {"psn_no": "r", "inscp_scp_amt": 1, "psn_cash_pay": 1},
    )
    assert [s["first_difference"] for s in paid.values()] == [None, "psn_cash_pay", "inscp_scp_amt"]
    assert paid["s2"]["reported_psn_cash_pay_fen"] == 79999


def test_a_claim_without_lines_is_settled_by_its_reported_classification():
    claims = claims_of({"medfee_sumamt": 200000, "inscp_scp_amt": 160000, "preselfpay_amt": 10000})
    row = settle(claims, lines_of(), policy()).row(0, named=True)
    assert (row["hifp_pay_fen"], row["fulamt_ownpay_amt_fen"], row["medfee_sumamt_fen"]) == (80000, 30000, 200000)


def test_no_claims_give_no_statements():
    assert settle(claims_of({}).clear(), lines_of(), policy()).height == 0


def test_a_statement_that_does_not_add_up_is_refused():
    steps = settle_steps(claims_of({}), lines_of({"setl_id": "s1", "pric": "100"}), policy())
    with pytest.raises(InvariantBroken, match="s1 违反 A1"):
        check_identities(steps.with_columns(pl.col("psn_part_amt") + 1, pl.col("psn_cash_pay") + 1))


def test_the_result_has_the_columns_of_the_output_contract():
    frame = settle(claims_of({}), lines_of({"setl_id": "s1", "pric": "100"}), policy())
    assert conform(frame, "settlement").columns == frame.columns


# ---- properties over whole histories


@st.composite
def histories(draw) -> list[dict]:
    """Claims of two persons over two years, some refunded, times with ties."""
    rows = []
    for n in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["inpatient", "general_outpatient", "chronic_outpatient"]))
        row = {
            "setl_id": f"c{draw(st.integers(0, 99)):02d}-{n}",
            "psn_no": draw(st.sampled_from("pq")),
            "psn_type": draw(st.sampled_from(["worker", "resident"])),
            "visit_kind": kind,
            "hosp_lv": draw(st.sampled_from("13")),
            "insured_flag": draw(st.sampled_from("1110")),
            "local_flag": draw(st.sampled_from("110")),
            "cost": str(draw(st.decimals(0, 9000, places=2))),
            "setl_time": datetime(2025, draw(st.sampled_from([1, 6, 12])), 1) + timedelta(draw(st.integers(0, 40))),
        }
        rows.append(row)
    for n, row in enumerate(list(rows)):
        if draw(st.integers(0, 3)) == 0:
            rows.append(
                refund_of(
                    row["setl_id"],
                    setl_id=f"r{n}",
                    psn_no=row["psn_no"],
                    psn_type=row["psn_type"],
                    visit_kind=row["visit_kind"],
                    setl_time=row["setl_time"] + timedelta(days=draw(st.integers(0, 30))),
                )
            )
    return rows


def by_hand(rows: list[dict], account: int) -> dict[str, tuple]:
    """The policy of this file in plain Python, one claim after the other: (dedc, fund, account, cash) by setl_id."""
    done, state, balances = {}, {}, {}
    position = {row["setl_id"]: (row["setl_time"], row["setl_id"], 0) for row in rows}
    for row in rows:
        if "init_setl_id" in row:
            position[row["setl_id"]] = max(position[row["setl_id"]][:2], position[row["init_setl_id"]][:2]) + (1,)
    for row in sorted(rows, key=lambda r: position[r["setl_id"]]):
        if "init_setl_id" in row:
            moves = done[row["init_setl_id"]]
            done[row["setl_id"]] = {k: (-v if isinstance(v, int) else v) for k, v in moves.items()}
        else:
            done[row["setl_id"]] = one_by_hand(row, state, balances.setdefault(row["psn_no"], [account]))
        moves, psn = done[row["setl_id"]], row["psn_no"]
        for what in ("admissions", "dedc", "pool", "fund"):
            key = (psn, moves["year"], what)
            state[key] = state.get(key, 0) + moves[f"+{what}"]
        balances.setdefault(psn, [account])[0] -= moves["acct"]
    return {k: (m["ded"], m["paid"], m["acct"], m["cash"]) for k, m in done.items()}


def one_by_hand(row: dict, state: dict, balance: list[int]) -> dict:
    cost, year = int(Decimal(row["cost"]) * 100), str(row["setl_time"].year)
    used = {what: state.get((row["psn_no"], year, what), 0) for what in ("admissions", "dedc", "pool", "fund")}
    result = {"year": year, "ded": 0, "paid": 0, "acct": 0, "cash": cost, **{f"+{what}": 0 for what in used}}
    if row["insured_flag"] == "0":
        return result
    kind = row["visit_kind"]
    ratio = {
        "inpatient": 60 if row["psn_type"] == "resident" and row["hosp_lv"] == "3" else 80,
        "general_outpatient": 50,
        "chronic_outpatient": 70,
    }[kind] - (10 if row["local_flag"] == "0" else 0)
    due = {
        "inpatient": 30000 if used["admissions"] else 60000,
        "general_outpatient": 10000 - used["dedc"],
        "chronic_outpatient": 0,
    }[kind]
    ded = max(0, min(cost, due))
    fund = ((cost - ded) * ratio + 50) // 100
    if kind == "general_outpatient":
        fund = max(0, min(fund, 30000 - used["pool"]))
    fund = max(0, min(fund, 1000000 - used["fund"]))
    acct = max(0, min(balance[0], cost - fund))
    return result | {
        "ded": ded,
        "paid": fund,
        "acct": acct,
        "cash": cost - fund - acct,
        "+admissions": int(kind == "inpatient"),
        "+fund": fund,
        "+dedc": ded if kind == "general_outpatient" else 0,
        "+pool": fund if kind == "general_outpatient" else 0,
    }


def both_openings(balance: int) -> pl.DataFrame:
    return pl.DataFrame({"psn_no": ["p", "q"], "year": [2025, 2025], "acct_balc": [balance, balance]})


@given(histories(), st.integers(0, 300000))
@examples(max_examples=60, deadline=None)
def test_rounds_over_arrays_agree_with_one_claim_after_the_other(rows, balance):
    paid = settled(*rows, openings=both_openings(balance))
    ours = {
        k: (s["act_pay_dedc_fen"], s["fund_pay_sumamt_fen"], s["acct_pay_fen"], s["psn_cash_pay_fen"])
        for k, s in paid.items()
    }
    assert ours == by_hand(rows, balance)


@given(histories(), st.randoms(use_true_random=False))
@examples(max_examples=25, deadline=None)
def test_neither_the_order_of_rows_nor_other_persons_nor_a_second_run_change_a_statement(rows, random):
    first = settled(*rows)
    shuffled = random.sample(rows, len(rows))
    assert settled(*shuffled) == first == settled(*rows)
    alone = [row for row in rows if row["psn_no"] == "p"]
    assert not alone or settled(*alone) == {k: s for k, s in first.items() if s["psn_no"] == "p"}


@given(histories())
@examples(max_examples=25, deadline=None)
def test_the_fund_never_pays_more_in_a_year_than_its_cap_nor_more_than_a_claim_costs(rows):
    paid = settled(*rows)
    kept = {row["setl_id"] for row in rows} - {row.get("init_setl_id") for row in rows}
    total: dict[tuple, int] = {}
    for row in rows:
        s = paid[row["setl_id"]]
        if row["setl_id"] in kept and "init_setl_id" not in row:
            assert 0 <= s["fund_pay_sumamt_fen"] <= s["inscp_scp_amt_fen"]
            key = (row["psn_no"], row["setl_time"].year)
            total[key] = total.get(key, 0) + s["fund_pay_sumamt_fen"]
    assert all(amount <= 1000000 for amount in total.values())


@given(
    st.sampled_from(["inpatient", "general_outpatient", "chronic_outpatient"]),
    st.integers(0, 2_000_000),
    st.integers(0, 100_000),
)
@examples(max_examples=60, deadline=None)
def test_a_dearer_claim_is_never_paid_less_and_never_costs_the_person_less(kind, cents, more):
    cheap, dear = (settled({"visit_kind": kind, "cost": str(Decimal(c) / 100)})["s1"] for c in (cents, cents + more))
    assert cheap["fund_pay_sumamt_fen"] <= dear["fund_pay_sumamt_fen"]
    assert cheap["psn_part_amt_fen"] <= dear["psn_part_amt_fen"]


@given(histories())
@examples(max_examples=15, deadline=None)
def test_the_demo_policy_adds_up_on_any_history(rows):
    types = {"worker": "1101", "resident": "1501"}
    settled(*(row | {"psn_type": types[row["psn_type"]]} for row in rows), by=load_policy("demo-region"))


# ---- the sample


def test_every_reported_amount_of_the_sample_hospital_is_reproduced_to_the_fen(tmp_path):
    if not SAMPLE.is_dir():
        pytest.skip("needs ../shared/data/sample-hospital")
    key = json.loads((SAMPLE / "key.json").read_text("utf-8"))
    assert sample_region.main([str(SAMPLE / "key.json"), str(tmp_path)]) == 0
    known = load_knowledge([tmp_path / "knowledge"])
    extract = read(SAMPLE, tmp_path / "work", wordings=known["wordings"])
    claims, lines = (extract.tables[name].collect() for name in ("claims", "fee_lines"))
    statements = settle(
        claims, lines, load_policy(tmp_path / "policy.yaml"), known["catalogue"], known["account_openings"]
    )
    control = key["control"]
    assert statements.height == control["inpatient_claims"] + control["outpatient_claims"]
    assert statements["first_difference"].null_count() == statements.height
    assert statements["medfee_sumamt_fen"].sum() == sum(control["sum_fen"][t] for t in ("SETTLE_ZY", "SETTLE_MZ"))
    assert statements["fund_pay_sumamt_fen"].sum() == sum(control["fund_fen"].values())
    for reported in ("medfee_sumamt", "fund_pay_sumamt", "acct_pay", "psn_cash_pay"):
        assert statements[f"reported_{reported}_fen"].null_count() == 0

    ours = classify(lines, known["catalogue"])
    for amount in ("det_item_fee_sumamt", "overlmt_amt", "inscp_scp_amt"):
        assert (ours[amount] == lines[amount].fill_null(0)).all()
