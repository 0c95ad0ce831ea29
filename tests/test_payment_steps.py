"""The steps of a provider payment, case by case, as `payment_steps` tells them."""

from decimal import Decimal

import polars as pl
from paying import by_points, frames, paid_cases, policy, since

from engine.settlement.conditions import benefits, naming_lines
from engine.settlement.payment_steps import STEPS, payment_steps, why_by_item
from engine.settlement.policy import Policy
from engine.settlement.provider import FALLBACKS, by_item_counts, case_payments, provider_payment

CASE = {"weight": "1.2", "cost": 35000, "fund_pay_sumamt": 20000, "psn_part_amt": 15000}
RULES = {
    "means": since({"G": "10000"}),
    "outliers": since({"low": "0.4", "high": "3"}),
    "coefficient": since({"levels": {"3": "1.1"}}),
}


def test_every_step_of_a_costly_case_can_be_worked_out_again():
    (row,) = payment_steps(*frames([CASE]), by_points(RULES)).to_dicts()
    told = {name: row[name] for name in ("weight", "base", "coefficient", "ordinary", "times", "bound", "stepped")}
    assert [str(v.normalize()) for v in told.values()] == ["1.2", "1.2E+2", "1.1", "132", "3.5", "3", "192"]
    assert (row["step"], row["volume"], row["price"]) == ("high", Decimal(192), Decimal(100))
    assert (row["standard_fen"], row["payable_fen"]) == (1_920_000, 420_000)
    assert row["against_charged_fen"] == 420_000 - 2_000_000
    assert list(row) == list(STEPS)


def test_steps_are_of_the_claim_the_institution_or_the_month_asked_for():
    rows = [CASE, CASE | {"fixmedins_code": "H2"}, CASE | {"visit_kind": "general_outpatient"}]
    by = by_points(RULES)
    assert payment_steps(*frames(rows), by, claim="s002")["fixmedins_code"].to_list() == ["H2"]
    assert payment_steps(*frames(rows), by, institution="H1", month="2025-03")["method"].to_list() == [
        "drg_points", "item",
    ]  # fmt: skip
    assert payment_steps(*frames(rows), by, month="2025-04").is_empty()


def test_a_share_of_a_budget_shows_the_value_of_its_point():
    pools = {"all": {"budget": since("10000")}}
    steps = payment_steps(*frames([CASE, CASE]), by_points(pools=pools), claim="s001").to_dicts()
    assert steps[0]["price"] == Decimal("166.66666667")  # (10000 + 2 x 15000) / 240
    assert (steps[0]["pool"], steps[0]["period"], steps[0]["standard_fen"]) == ("all", "2025", 2_000_000)


def by_rate(**more) -> Policy:
    return policy(methods=since([{"method": "drg_rate", "benefits": ["inpatient"]}]), drg_rate=since("10000"), **more)


def grouped(rows: list[dict], mdc: list) -> tuple:
    settlement, claims, grouping = frames(rows)
    return settlement, claims, grouping.with_columns(mdc=pl.Series(mdc, dtype=pl.String))


def test_a_dip_score_is_not_paid_by_the_rate_of_a_weight_nor_a_weight_as_a_score():
    given = grouped([CASE, CASE], ["A", None])
    paid = case_payments(*given, by_rate()).sort("setl_id")
    assert paid.select("method", "fallback", "payable_fen").rows() == [
        ("drg_rate", None, -300_000), ("item", "other_scheme", 2_000_000),
    ]  # fmt: skip
    by_dip = policy(methods=since([{"method": "dip"}]), pools={"all": {"point_value": since("100")}})
    paid = case_payments(*given, by_dip).sort("setl_id")
    assert paid["fallback"].to_list() == ["other_scheme", None]
    assert by_item_counts(paid).rows() == [("dip", "other_scheme", 1, 2_000_000)]
    assert provider_payment(*given, by_dip)["method"].to_list() == ["dip", "item"]


def test_every_reason_for_payment_by_item_is_named():
    rows = {
        "no_group": {"drg": None, "weight": None},
        "no_weight": {"weight": None},
        "no_pool": {"psn_type": "?"},
        "no_price": {"setl_time": frames([{}])[1]["setl_time"][0].replace(year=2024)},
    }
    by = policy(
        methods=since([{"method": "drg_points"}], "2020-01-01"),
        pools={"w": {"people": ["worker"], "point_value": since("1")}},
    )
    for reason, row in rows.items():
        (found,) = paid_cases([CASE | row], by)
        assert (found["method"], found["fallback"]) == ("item", reason)
        assert why_by_item(reason)
    assert set(rows) < set(FALLBACKS)


def test_institutions_and_persons_are_paid_by_the_same_benefit():
    both = Policy.model_validate(
        {
            "name": "p",
            "groups": {"worker": {}},
            "benefits": {
                "inpatient": {"visit_kinds": ["inpatient"]},
                "maternity": {"med_types": ["52*"], "adm_kinds": ["birth"]},
                "ivf": {"items": ["0113*"]},
            },
            "provider": {
                "methods": since([{"method": "item", "benefits": ["maternity", "ivf"]}, {"method": "drg_rate"}]),
                "drg_rate": since("100"),
            },
        }
    )
    settlement, claims, grouping = frames([CASE] * 4)
    claims = claims.with_columns(
        med_type=pl.Series([None, "521", None, None], dtype=pl.String),
        adm_kind=pl.Series([None, None, "birth", None], dtype=pl.String),
    )
    every = pl.LazyFrame({"setl_id": ["s004", "s001"], "med_list_codg": ["01130001", "0112"]})
    lines = naming_lines(every, both)
    assert lines.rows() == [("s004", "01130001")]
    assert benefits(claims, lines, both).to_list() == ["inpatient", "maternity", "maternity", "ivf"]
    paid = case_payments(settlement, claims, grouping, both, lines=lines).sort("setl_id")
    assert paid["method"].to_list() == ["drg_rate", "item", "item", "item"]
    assert naming_lines(every, by_rate()) is None
