"""Provider-side payment: fee for service, DRG by rate, refunds, what cannot be grouped."""

from datetime import datetime
from decimal import Decimal

import paying
import polars as pl
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paying import AMOUNTS

from engine.audit.examples import frame_of
from engine.reference.places import seeds_folder
from engine.run import payable, pipeline
from engine.run.region import load_region
from engine.settlement.policy import Policy, load_policy
from engine.settlement.provider import provider_payment
from engine.tables.outputs import conform, outputs


def policy(form: str = "difference") -> Policy:
    rate = {
        "2025-01-01": {"value": {"worker": {"1": "5000", "3": "10000"}, "all": "8000"}},
        "2025-07-01": {"value": {"worker": {"1": "5000", "3": "11000"}, "all": "8000"}},
    }
    return Policy.model_validate(
        {
            "name": "p",
            "groups": {"worker": {}, "resident": {}},
            "benefits": {
                "inpatient": {"visit_kinds": ["inpatient"]},
                "general": {"visit_kinds": ["general_outpatient"]},
            },
            "provider": {"drg_benefits": ["inpatient"], "drg_rate": rate, "fund_form": form},
        }
    )


def paid(*rows: dict, by: Policy | None = None, weights: bool = True) -> list[tuple]:
    """(institution, month, method, cases, volume, payable) of claims given with amounts in yuan and their weight."""
    usual = {
        "fixmedins_code": "H1",
        "psn_type": "worker",
        "visit_kind": "inpatient",
        "hosp_lv": "3",
        "insured_flag": "1",
        "setl_time": datetime(2025, 3, 5),
        "refd_setl_flag": "0",
        "init_setl_id": None,
        "weight": None,
    }
    full = [usual | {"setl_id": f"s{n}"} | row for n, row in enumerate(rows, 1)]
    claims = pl.DataFrame(
        [{k: row[k] for k in usual | {"setl_id": 0} if k != "weight"} for row in full],
        infer_schema_length=None,
        schema_overrides={"init_setl_id": pl.String},
    )
    settlement = pl.DataFrame(
        [
            {"setl_id": row["setl_id"], "first_difference": row.get("first_difference")}
            | {f"{a}_fen": row.get(a, 0) * 100 for a in AMOUNTS}
            for row in full
        ],
        schema_overrides={"first_difference": pl.String},
    )
    grouping = pl.DataFrame(
        [{"setl_id": row["setl_id"], "weight": row["weight"]} for row in full],
        {"setl_id": pl.String, "weight": pl.String},
    ).with_columns(pl.col("weight").cast(pl.Decimal(12, 8)))
    frame = provider_payment(settlement, claims, grouping if weights else None, by or policy())
    assert conform(frame, "provider_payment").equals(frame)
    assert (frame["cleared_fen"] == frame["payable_fen"] - frame["prepaid_fen"]).all()
    return frame.select("fixmedins_code", "month", "method", "cases", "volume", "payable_fen").rows()


STAY = {
    "weight": "1.25000001",
    "fund_pay_sumamt": 6000,
    "psn_part_amt": 4000,
    "inscp_scp_amt": 9000,
    "act_pay_dedc": 1000,
    "fulamt_ownpay_amt": 600,
    "preselfpay_amt": 400,
}


def test_fee_for_service_is_what_the_funds_pay_by_institution_and_month():
    visit = {"visit_kind": "general_outpatient", "fund_pay_sumamt": 30}
    rows = paid(
        visit,
        visit,
        visit | {"setl_time": datetime(2025, 4, 1)},
        visit | {"fixmedins_code": "H0"},
        visit | {"insured_flag": "0", "fund_pay_sumamt": 0},
    )
    assert rows == [
        ("H0", "2025-03", "item", 1, None, 3000),
        ("H1", "2025-03", "item", 2, None, 6000),
        ("H1", "2025-04", "item", 1, None, 3000),
    ]


def test_a_grouped_stay_is_paid_its_standard_less_what_the_person_pays():
    # 1.25000001 x 10000 = 12500.0001 -> 12500.00; less 4000 = 8500
    assert paid(STAY) == [("H1", "2025-03", "drg_rate", 1, Decimal("1.25000001"), 850000)]


def test_or_what_is_left_of_the_standard_times_the_share_of_the_fund():
    # (12500 - 600 - 400 - 1000) x 6000 / (9000 - 1000) = 10500 x 75 % = 7875
    assert paid(STAY, by=policy("ratio"))[0][-1] == 787500
    # a standard that what the person bears alone exceeds leaves nothing, by difference a negative payment
    low = STAY | {"weight": "0.1"}
    assert [paid(low, by=policy(form))[0][-1] for form in ("ratio", "difference")] == [0, -300000]


def test_the_rate_is_that_of_the_day_the_group_and_the_level():
    rows = paid(
        STAY | {"weight": "1"},
        STAY | {"weight": "1", "setl_time": datetime(2025, 7, 1)},
        STAY | {"weight": "1", "psn_type": "resident", "fixmedins_code": "H2"},
        STAY | {"weight": "1", "hosp_lv": "1", "fixmedins_code": "H3"},
    )
    assert [row[-1] for row in rows] == [600000, 700000, 400000, 100000]


def test_stays_without_a_weight_or_a_rate_or_a_grouping_are_paid_by_item():
    ungrouped = STAY | {"weight": None}
    too_early = STAY | {"setl_time": datetime(2024, 12, 31)}
    assert [row[2:] for row in paid(too_early, ungrouped)] == [("item", 1, None, 600000)] * 2
    assert paid(STAY, weights=False)[0][2:] == ("item", 1, None, 600000)


def test_a_refund_takes_back_in_its_own_month_what_its_original_was_paid():
    refund = {
        "refd_setl_flag": "1",
        "init_setl_id": "s1",
        "setl_time": datetime(2025, 4, 1),
        **{name: -STAY[name] for name in AMOUNTS if name in STAY},
    }
    assert paid(STAY, refund) == [
        ("H1", "2025-03", "drg_rate", 1, Decimal("1.25000001"), 850000),
        ("H1", "2025-04", "drg_rate", -1, Decimal("-1.25000001"), -850000),
    ]
    assert paid(STAY, refund | {"setl_time": datetime(2025, 3, 9)}) == [("H1", "2025-03", "drg_rate", 0, 0, 0)]
    unpaired = paid(STAY, refund | {"first_difference": "init_setl_id"})  # refunded a second time
    assert unpaired[1] == ("H1", "2025-04", "item", -1, None, -600000)
    assert paid(refund | {"init_setl_id": "elsewhere"}) == [("H1", "2025-04", "item", -1, None, -600000)]


@given(st.lists(st.tuples(st.integers(0, 999_999_999), st.sampled_from("13"), st.integers(0, 9000)), min_size=1))
@examples(max_examples=40, deadline=None)
def test_payments_are_exact_sums_over_the_cases(cases):
    rows = [
        {"weight": f"{w // 10**8}.{w % 10**8:08d}", "hosp_lv": level, "psn_part_amt": person}
        for w, level, person in cases
    ]
    want = sum(
        (w * {"1": 500000, "3": 1000000}[level] + 50_000_000) // 10**8 - person * 100 for w, level, person in cases
    )
    assert sum(row[-1] for row in paid(*rows)) == want
    assert sum(row[4] for row in paid(*rows)) == Decimal(sum(w for w, *_ in cases)) / 10**8


def test_the_first_line_that_fits_a_case_names_its_method():
    lines = [
        {"method": "item", "institutions": ["H9"]},
        {"method": "bed_day", "case_kinds": ["rehab"], "benefits": ["inpatient"]},
        {"method": "drg_rate", "levels": ["1"], "benefits": ["inpatient"]},
        {"method": "dip", "people": ["resident"], "benefits": ["inpatient"]},
        {"method": "drg_points", "benefits": ["inpatient"]},
    ]
    by = paying.policy(
        case_kinds={"rehab": paying.since({"groups": ["X*"], "departments": ["A21"]})},
        methods=paying.since(lines) | {"2025-07-01": {"value": [{"method": "item"}]}},
        bed_days={"all": paying.since({"days": {"over": 0, "yuan": "100"}})},
        drg_rate=paying.since("5000"),
        pools={"all": {"point_value": paying.since("10")}},
    )
    rehab = {"drg": "XR21", "dscg_dept_codg": "A21"}
    rows = [{"weight": "1"} | row for row in (
        {"fixmedins_code": "H9"} | rehab, rehab, {"drg": "XR21"}, {"hosp_lv": "1", "psn_type": "resident"},
        {"psn_type": "resident"}, {}, {"visit_kind": "general_outpatient"}, {"setl_time": datetime(2025, 7, 1)},
        {"setl_time": datetime(2024, 12, 31)},
    )]  # fmt: skip
    assert [row["method"] for row in paying.paid_cases(rows, by)] == [
        "item", "bed_day", "drg_points", "drg_rate", "dip", "drg_points", "item", "item", "item",
    ]  # fmt: skip


def test_both_forms_of_the_funds_share_hold_for_points_too():
    row = STAY | {"weight": "1.25"}
    for form, want in (("difference", 850000), ("ratio", 787500)):  # as by weight: the standard is 12500
        assert paying.paid_cases([row], paying.by_points(fund_form=form))[0]["payable_fen"] == want


def test_a_case_kind_with_a_bound_on_days_begins_on_the_day_after():
    by = paying.policy(
        case_kinds={"long": paying.since({"days_over": "30"})},
        methods=paying.since([{"method": "bed_day", "case_kinds": ["long"]}]),
        bed_days={"long": paying.since({"days": {"over": 0, "yuan": "100"}})},
    )
    begin = datetime(2025, 2, 1)
    rows = [{"begntime": begin, "endtime": end} for end in (datetime(2025, 3, 3), datetime(2025, 3, 4), None)]
    assert [row["method"] for row in paying.paid_cases(rows, by)] == ["item", "bed_day", "item"]


def test_short_and_very_long_stays_may_be_left_to_payment_by_item():
    # 庆阳 2025: stays of up to two days or of sixty and more are outside DRG (grade B)
    lines = [{"method": "item", "case_kinds": ["short", "long"]}, {"method": "drg_points", "benefits": ["inpatient"]}]
    by = paying.policy(
        case_kinds={"short": paying.since({"days_up_to": "2"}), "long": paying.since({"days_over": "59"})},
        methods=paying.since(lines),
        pools={"all": {"point_value": paying.since("100")}},
    )
    rows = [{"weight": "1", "act_ipt_days": days} for days in (2, 3, 59, 60)]
    assert [row["method"] for row in paying.paid_cases(rows, by)] == [
        "item", "drg_points", "drg_points", "item",
    ]  # fmt: skip


def test_a_run_pays_by_the_methods_its_policy_names(bundle, tmp_path):
    region = load_region(policy="demo-points")
    pipeline.run(bundle, tmp_path / "out", region, pipeline.Options(report=False), parts=("group", "settle"))
    rows = pl.read_parquet(tmp_path / "out" / "provider_payment.parquet")
    assert {"drg_points", "item", "shared"} <= set(rows["method"])
    assert (rows["cleared_fen"] == rows["payable_fen"] - rows["prepaid_fen"]).all()
    cases = rows.filter(pl.col("method") == "drg_points")
    assert (cases["prepaid_fen"] > 0).any() and (cases["volume"] > 0).all()
    settlement = pl.read_parquet(tmp_path / "out" / "settlement.parquet")
    insured = settlement.filter(pl.col("fund_pay_sumamt_fen") != 0).height
    assert insured <= rows["cases"].sum() <= settlement.height


def test_a_run_by_dip_needs_a_policy_that_pays_scores(bundle, tmp_path):
    def paid(policy: str) -> pl.DataFrame:
        region = load_region(policy=policy, scheme="dip-demo", judging=False)
        out = tmp_path / policy
        pipeline.run(bundle, out, region, pipeline.Options(report=False), parts=("group", "settle"))
        return pl.read_parquet(out / "provider_payment.parquet")

    by_rate, by_score = paid("demo-region"), paid("demo-dip")
    assert set(by_rate["method"]) == {"item"}  # a score has no rate
    scored = by_score.filter(pl.col("method") == "dip")
    assert {"dip", "item"} <= set(by_score["method"]) and (scored["volume"] > 0).any()
    claims, grouping = (pl.read_parquet(tmp_path / "demo-dip" / f"{t}.parquet") for t in ("settlement", "grouping"))
    assert claims.height and grouping["mdc"].null_count() == grouping.height
    checks = pl.read_parquet(tmp_path / "demo-region" / "checks.parquet")
    (said,) = checks.filter(pl.col("check_id").str.starts_with("P")).iter_rows(named=True)
    assert (
        "另一类分组方案" in said["title"] and said["rows"] == by_score.filter(pl.col("method") == "dip")["cases"].sum()
    )


def test_what_an_earlier_audit_decided_is_deducted_when_the_year_is_cleared(region):
    recoveries = frame_of("prior_recoveries", [
        {"recovery_id": "R1", "fixmedins_code": "H1", "amount": 1234, "recover_date": "2025-06-01",
         "channel": "audit_deduction"},
        {"recovery_id": "R2", "fixmedins_code": "H1", "amount": 9999, "recover_date": "2025-06-01",
         "channel": "self_return"},
    ])  # fmt: skip
    claims = frame_of("claims", []).lazy()
    nothing = {name: pl.LazyFrame(schema=outputs()[name]) for name in ("settlement", "grouping")}
    told = payable.given({"claims": claims, "prior_recoveries": recoveries.lazy()}, region, *nothing.values()).told
    assert told.deductions.rows() == [("H1", 2025, 1234)]


def test_the_groups_a_pack_names_are_in_the_scheme_it_is_meant_for():
    groups = set(pl.read_csv(seeds_folder() / "drg" / "chs-drg-starter" / "drg.csv")["drg"])
    rules = load_policy("demo-points").provider.by_case["drg_points"]
    tables = [on.value for on in rules.coefficient.values()]
    named = {name for on in rules.primary_groups.values() for name in on.value}
    named |= {name for on in rules.chinese_groups.values() for line in on.value for name in line.groups}
    assert named | {name for table in tables for name in table.by_group} <= groups


def test_a_region_brings_its_deductions_reviews_and_deliveries_as_knowledge(bundle, tmp_path):
    folder, policy_file = tmp_path / "knowledge", tmp_path / "policy.yaml"
    folder.mkdir()
    text = (seeds_folder() / "policies" / "demo-points.yaml").read_text("utf-8")
    policy_file.write_text(text.replace("{quota: 5, per: quarter}", "{quota: 100, per: quarter}"), "utf-8")

    def paid(name: str, knowledge: list) -> pl.DataFrame:
        region = load_region(policy=str(policy_file), knowledge=knowledge)
        pipeline.run(bundle, tmp_path / name, region, pipeline.Options(report=False), parts=("group", "settle"))
        return pl.read_parquet(tmp_path / name / "provider_payment.parquet")

    before = paid("out", [])
    hospital = before["fixmedins_code"][0]
    stay = pl.read_parquet(tmp_path / "out" / "grouping.parquet").filter(pl.col("weight") > 0)["setl_id"][0]
    (folder / "clearing_deductions.csv").write_text(
        f"fixmedins_code,year,reason,amount\n{hospital},2025,x,12.34\n{hospital},2025,y,1\n", "utf-8"
    )
    (folder / "direct_deliveries.csv").write_text(
        f"fixmedins_code,month,supplier,amount\n{hospital},2025-02,S,100.00\n", "utf-8"
    )
    (folder / "special_reviews.csv").write_text(
        f"setl_id,applied,outcome,points\n{stay},2025-07-01,adjust,0.00000001\n", "utf-8"
    )
    after = paid("again", [folder])
    added = after.filter(pl.col("method").is_in(["deduction", "direct_settlement"]))
    assert added.select("fixmedins_code", "method", "payable_fen").rows() == [
        (hospital, "direct_settlement", -10000),
        (hospital, "deduction", -1334),
    ]
    points = pl.col("volume").filter(pl.col("method") == "drg_points").sum()
    assert after.select(points).item() < before.select(points).item()
