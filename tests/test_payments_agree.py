"""The engine and the payments worked out by hand agree to the fen, over random policies and random cases."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paying import paid_cases, paid_months, policy
from payments_by_hand import months, payments

from engine.settlement.provider import Told

FIRST, LATER = "2020-01-01", "2025-03-01"
percents = st.decimals(0, 100, places=2).map(str)
factors = st.decimals("0.5", "1.5", places=8).map(str)
times = st.sampled_from(["1.5", "2", "2.5", "3"])
HOSPITALS, LEVELS, GROUPS = ["H1", "H2", "H3"], ["1", "2", "3"], ["A1", "A2", "T1", "P1"]


def dated(values):
    """A value from the first day, and perhaps another from a later one."""
    once = values.map(lambda v: {FIRST: {"value": v}})
    return once | st.tuples(values, values).map(lambda v: {FIRST: {"value": v[0]}, LATER: {"value": v[1]}})


def some(**fields):
    """A mapping with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def mostly(**fields):
    """A mapping with most of these fields."""
    return st.sets(st.sampled_from(sorted(fields)), max_size=3).flatmap(
        lambda gone: st.fixed_dictionaries({name: kind for name, kind in fields.items() if name not in gone})
    )


bands = times | st.just([{"over": 0, "times": 3}, {"over": "90", "times": "2.5"}, {"over": "200", "times": 2}])
quota = st.fixed_dictionaries(
    {"quota": st.sampled_from(["5", "20", "50"]), "per": st.sampled_from(["month", "quarter", "half_year", "year"])}
)


def outliers(by_rate: bool):
    return mostly(
        low=st.sampled_from(["0.4", "0.5", "0.8"]),
        at_low=st.sampled_from(["ordinary", "low"]),
        low_pays=st.sampled_from(["cost", "cost", "item"]),
        high_pays=st.sampled_from(["points", "points", "item"]),
        high_percent=percents,
        most=st.sampled_from(["2", "4", "5.5"]),
        high_quota=quota,
        high=bands | st.fixed_dictionaries({"3": bands, "all": bands}),
        review=st.just("5"),
        early_ways=st.just(["4"]),
        early_with_coefficient=st.booleans(),
        high_with_coefficient=st.booleans(),
        **({"measure": st.sampled_from(["mean", "standard"])} if by_rate else {}),
    )


places = some(
    institutions=st.dictionaries(st.sampled_from(HOSPITALS), factors, max_size=2),
    levels=st.dictionaries(st.sampled_from(LEVELS), factors, max_size=2),
)
coefficients = some(
    institutions=st.dictionaries(st.sampled_from(HOSPITALS), factors, max_size=2),
    levels=st.dictionaries(st.sampled_from(LEVELS), factors, max_size=2),
    by_group=st.dictionaries(st.sampled_from(GROUPS), places, max_size=2),
    new_groups=st.sampled_from([[], ["P*"]]),
)
yuan = st.integers(1, 3_000_000).map(lambda fen: f"{fen // 100}.{fen % 100:02d}")


def by_case(by_rate: bool = False):
    return mostly(
        scale=dated(st.sampled_from(["1", "100", "1000", "0.5"])),
        coefficient=dated(coefficients),
        coefficient_of_prior_year=dated(
            some(
                per=st.sampled_from(["institution", "level"]),
                least_cases=st.sampled_from(["1", "2"]),
                least=st.just("0.8"),
                most=st.just("1.2"),
            )
        ),
        outliers=dated(outliers(by_rate)),
        means=dated(st.dictionaries(st.sampled_from(GROUPS), yuan | st.fixed_dictionaries({"3": yuan, "all": yuan}))),
        means_of_prior_year=st.sampled_from(["no", "all", "level"]),
        readmission=dated(
            st.fixed_dictionaries(
                {"days": st.sampled_from(["10", "15"]), "keep": percents},
                optional={"exempt_groups": st.just(["A2"]), "across_institutions": st.booleans()},
            )
        ),
        primary_groups=dated(st.just(["P*"])),
        chinese_groups=dated(
            st.just([{"groups": ["T*"], "weight": "1.23456789"}])
            | st.just([{"groups": ["T1", "A1"], "percent": "105"}])
        ),
        review=dated(quota),
        by_cost=dated(
            st.fixed_dictionaries(
                {"mean": yuan},
                optional={"groups": st.just(["P*"]), "ungrouped": st.booleans(), "percent": st.just("90.5")},
            )
        ),
    )


KINDS = {
    "long": {FIRST: {"value": {"days_over": "60"}}},
    "rehab": {
        FIRST: {"value": {"departments": ["A15*"], "days_over": "2"}},
        LATER: {"value": {"departments": ["A15"]}},
    },
    "day": {FIRST: {"value": {"groups": ["A2"], "days_up_to": "1"}}},
    "away": {FIRST: {"value": {"away": True}}},
}
lines = st.lists(
    st.fixed_dictionaries(
        {"method": st.sampled_from(["item", "drg_rate", "drg_points", "dip", "bed_day", "fixed_price"])},
        optional={
            "institutions": st.sampled_from([["H1"], ["H1", "H3"]]),
            "levels": st.sampled_from([["1"], ["2", "3"]]),
            "people": st.sampled_from([["worker"], ["resident"]]),
            "case_kinds": st.sampled_from([["long"], ["rehab", "day"], ["away"]]),
        },
    ),
    max_size=4,
)
LAST = {"method": "drg_points", "benefits": ["inpatient"]}


def reachable(lines: list[dict]) -> list[dict]:
    """The lines that no earlier one hides."""
    keys = ("institutions", "levels", "people", "case_kinds")
    kept: list[dict] = []
    for line in lines:
        if not any(all(k not in was or set(line.get(k, [])) and set(line[k]) <= set(was[k]) for k in keys)
                   for was in kept):  # fmt: skip
            kept.append(line)
    return kept


points_a_day = st.sampled_from([[{"over": 0, "points": "2.36182972"}, {"over": 60, "points": "1.5"}],
                                {"over": 0, "points": "2"}])  # fmt: skip
yuan_a_day = st.sampled_from(
    [[{"over": 0, "yuan": "310.5"}, {"over": 30, "yuan": "200"}], {"over": 0, "yuan": "99.99"}]
)
bed_day = st.fixed_dictionaries(
    {"days": points_a_day | yuan_a_day | st.fixed_dictionaries({"3": points_a_day, "all": points_a_day})},
    optional={"assessment": st.just({"H1": "97.55"})},
)
fixed = st.fixed_dictionaries(
    {"prices": yuan | st.fixed_dictionaries({"3": yuan, "2": yuan})}, optional={"up_to_cost": st.booleans()}
)
values = st.decimals("0.00000001", "150", places=8).map(lambda d: format(d, "f"))
budgets = st.fixed_dictionaries(
    {"budget": dated(yuan), "budget_per": st.just("month")},
    optional={"reserve": dated(percents), "away": st.sampled_from(["shares", "valued"])},
) | st.fixed_dictionaries(
    {"budget": yuan.map(lambda v: {"2025-01-01": {"value": v}}), "total": st.just("over_ratio"),
     "ratio": dated(st.sampled_from(["70", "82.55"]))}
)  # fmt: skip
pool = dated(values).map(lambda v: {"point_value": v}) | budgets
BANDS = [{"lo": 0, "hi": "80", "keep": 0}, {"lo": "80", "hi": 100, "keep": "66.66"}, 
         {"lo": 100, "hi": "110", "share": 70}, {"lo": "110", "hi": "none", "share": "0.01"}]  # fmt: skip
clearing = some(
    prepaid=dated(percents),
    prepaid_of=st.sampled_from(["charged", "payable"]),
    bands=dated(st.just(BANDS)),
    bands_take=st.sampled_from(["part", "whole"]),
    quality=dated(st.dictionaries(st.sampled_from(HOSPITALS), st.sampled_from(["95", "101.37"]))),
)
rates = st.fixed_dictionaries({"worker": st.fixed_dictionaries({"3": yuan, "all": yuan}), "all": yuan})
shares = st.fixed_dictionaries({"worker": st.fixed_dictionaries({"3": percents, "all": percents}), "all": percents})
providers = st.builds(
    lambda early, later, form, share, rate, cases, days, prices, pools, clear: {
        "case_kinds": KINDS,
        "methods": {FIRST: {"value": reachable([*early, LAST])}, LATER: {"value": reachable([*later, LAST])}},
        "fund_form": form,
        **({"fund_share": share} if form == "share" else {}),
        "drg_rate": rate,
        "by_case": cases,
        "bed_days": days,
        "fixed_prices": prices,
        "pools": pools,
        "clearing": clear,
    },
    lines, lines, st.sampled_from(["difference", "ratio", "share"]), dated(shares), dated(rates),
    st.fixed_dictionaries({"drg_rate": by_case(True), "drg_points": by_case(), "dip": by_case()}),
    st.fixed_dictionaries({"all": dated(bed_day)}, optional={"long": dated(bed_day)}),
    st.fixed_dictionaries({"all": dated(fixed)}, optional={"day": dated(fixed)}),
    st.fixed_dictionaries({"workers": pool, "residents": pool}),
    clearing,
)  # fmt: skip


def _pooled(provider: dict) -> dict:
    people = {"workers": ["worker"], "residents": ["resident"]}
    return provider | {"pools": {name: {"people": people[name]} | one for name, one in provider["pools"].items()}}


@st.composite
def claims(draw):
    rows = []
    for n in range(draw(st.integers(1, 14))):
        begin = date(2024, 1, 1) + timedelta(
            days=draw(st.sampled_from([0, 200, 360, 420, 500])) + draw(st.integers(0, 30))
        )
        days = draw(st.sampled_from([0, 1, 5, 9, 5, 9, 61, 90]))
        end = begin + timedelta(days=days)
        fund, person = draw(st.integers(0, 2_000_000)), draw(st.integers(0, 900_000))
        own, first = draw(st.integers(0, 50_000)), draw(st.integers(0, 50_000))
        cost = draw(st.sampled_from([40_000, 50_000, 100_000, 200_000, 300_000])) * draw(st.sampled_from([1, 3, 10]))
        units = draw(st.integers(-1, 4 * 10**8))
        units = None if units < 0 else units
        row = {
            "setl_id": f"s{n:03}", "psn_no": draw(st.sampled_from(["P1", "P2"])),
            "drg": draw(st.sampled_from(["A1", *GROUPS])),
            "fixmedins_code": draw(st.sampled_from(HOSPITALS)), "hosp_lv": draw(st.sampled_from(LEVELS)),
            "psn_type": draw(st.sampled_from(["worker", "resident"])), "dscg_way": draw(st.sampled_from("1114")),
            "visit_kind": draw(st.sampled_from(["inpatient", "inpatient", "inpatient", "general_outpatient"])),
            "dscg_dept_codg": draw(st.sampled_from([None, None, "A15", "A15.01"])),
            "insu_admdvs": draw(st.sampled_from([None, "4401", "4501"])), "mdtrtarea_admdvs": "4501",
            "begntime": datetime.combine(begin, datetime.min.time()),
            "endtime": draw(st.sampled_from([datetime.combine(end, datetime.min.time())] * 9 + [None])),
            "setl_time": datetime.combine(end, datetime.min.time()),
            "weight": None if units is None else f"{units // 10**8}.{units % 10**8:08d}",
            "mean_fen": draw(st.sampled_from([None, None, 100_000, 123_457])),
            "fulamt_ownpay_amt": Decimal(own) / 100, "preselfpay_amt": Decimal(first) / 100,
            "inscp_scp_amt": Decimal(max(cost - own - first, 0)) / 100, "act_pay_dedc": Decimal(300),
            "fund_pay_sumamt": Decimal(fund) / 100, "psn_part_amt": Decimal(person) / 100,
        }  # fmt: skip
        rows.append(row)
        if draw(st.integers(0, 7)) == 0:
            rows.append(row | {
                "setl_id": f"r{n:03}", "refd_setl_flag": "1", "init_setl_id": row["setl_id"], "weight": None,
                "setl_time": row["setl_time"] + timedelta(days=draw(st.integers(0, 200))),
                "fund_pay_sumamt": -row["fund_pay_sumamt"], "psn_part_amt": -row["psn_part_amt"],
            })  # fmt: skip
    return rows


@st.composite
def reviews(draw):
    made = st.fixed_dictionaries({
        "applied": st.dates(date(2025, 1, 1), date(2025, 1, 5)),
        "outcome": st.sampled_from(["adjust", "by_item", "refuse"]),
        "points": st.sampled_from([None, "250.5"]),
    })  # fmt: skip
    some = draw(st.dictionaries(st.sampled_from([f"s{n:03}" for n in range(14)]), made, max_size=8))
    return [{"setl_id": key, **told} for key, told in sorted(some.items())]


@given(providers.map(_pooled), claims(), reviews(), st.integers(0, 9999))
@examples(max_examples=80)
def test_every_case_and_every_month_is_paid_to_the_fen_as_by_hand(provider, rows, heard, taken):
    asked = pl.DataFrame(heard, {"setl_id": pl.String, "applied": pl.Date, "outcome": pl.String, "points": pl.String})
    told = Told(
        reviews=asked.with_columns(pl.col("points").cast(pl.Decimal(18, 8))),
        deductions=pl.DataFrame({"fixmedins_code": ["H1"], "year": [2025], "amount": [taken]}),
    )
    rows = [*rows, rows[0] | {"setl_id": "t", "fixmedins_code": "H1", "setl_time": datetime(2025, 12, 1)}]
    read = policy(**provider)
    want = payments(rows, provider, heard)
    got = {row["setl_id"]: row for row in paid_cases(rows, read, told)}
    assert len(want) == len(got)
    for case in want:
        row = got[case.id]
        assert (row["method"], row["payable_fen"]) == (case.method, case.payable), (
            case.method,
            case.payable,
            case.standard,
            row,
        )
        assert (None if row["units"] is None else Fraction(row["units"], 10**8)) == case.volume, (vars(case), row)
        assert (row["fallback"] is None) == (row["refund"] or row["method"] == row["asked"]), row
    by_month = {(r["fixmedins_code"], r["month"], r["method"]): r for r in paid_months(rows, read, told)}
    expected = months(want, provider, {("H1", 2025): taken})
    assert set(by_month) == set(expected)
    for key, (cases, volume, payable, prepaid) in expected.items():
        row = by_month[key]
        assert (row["cases"], row["payable_fen"], row["prepaid_fen"]) == (cases, payable, prepaid), (key, row)
        assert (None if row["volume"] is None else Fraction(row["volume"])) == volume, (key, row)
