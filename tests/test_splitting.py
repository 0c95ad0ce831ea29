"""Properties of a year: splitting a claim, refunds, dearer claims, late claims, and enrolment that comes afterwards."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from test_published_settlements import statements
from test_settlement import lines_of, refund_of
from test_waterfall import enrolled, rows_of

from engine.settlement.lines import AMOUNTS, classify
from engine.settlement.person import LAYERS, STEPS

# what an account pays is no share of a fund: of which part a payer paid first decides what is left for the account
FUNDS = [*LAYERS, "fund_pay_sumamt", "act_pay_dedc", "psn_part_amt"]

CHAIN = """
categories: {低保: {}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: year
    deductible: {2020-01-01: {value: 600.07}}
    ratio:
      2020-01-01: {value: [{over: 0, percent: 61.37}, {over: 3000, percent: 70.01}, {over: 9000, percent: 85.55}]}
    band_origin: ORIGIN
    item_classes:
      negotiated: {items: [N], ratio: {2020-01-01: {value: 33.33}}, annual_cap: {2020-01-01: {value: 900}}}
    rounded: ROUND
annual_cap: {2020-01-01: {value: 12000}}
catastrophic:
  benefits: [inpatient]
  ratio: {2020-01-01: {value: [{over: 2000, percent: 60.01}, {over: 5000, percent: 65.77}]}}
  category_start_percent: {2020-01-01: {value: {低保: 50}}}
  annual_cap: {2020-01-01: {value: 6000}}
  rounded: ROUND
payers:
  assistance:
    column: maf_pay
    by: category
    start: {2020-01-01: {value: {低保: 1000}}}
    ratio: {2020-01-01: {value: {低保: 70.11}}}
    annual_cap: {2020-01-01: {value: {低保: 2500}}}
    rounded: ROUND
  city:
    column: oth_pay
    counts: [in_scope, first_pay, own_pay]
    start: {2020-01-01: {value: 1500}}
    ratio: {2020-01-01: {value: 79.99}}
    rounded: ROUND
"""
PERSONS = rows_of("persons", {"psn_no": "p", "aid_type": "低保"})
OPENINGS = pl.DataFrame({"psn_no": ["p", "q"], "year": [2025, 2025], "acct_balc": [100000, 30000]})


def yuan(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


@st.composite
def lives_and_a_split(draw):
    """Claims of two persons in one year as lists of lines, and the same with one claim in two to four parts."""
    cents = st.integers(0, 600_000)
    lines = st.lists(
        st.tuples(st.sampled_from(["any", "N", "own", "first"]), cents | st.integers(0, 300)), min_size=2, max_size=6
    )
    rows = []
    for n in range(draw(st.integers(1, 6))):
        when = datetime(2025, draw(st.integers(1, 12)), draw(st.integers(1, 28)))
        rows.append({"setl_id": f"c{n}", "psn_no": draw(st.sampled_from("pq")), "setl_time": when,
                     "lines": draw(lines)})  # fmt: skip
    at = draw(st.integers(0, len(rows) - 1))
    parts = draw(st.integers(2, 4))
    where = [draw(st.integers(0, parts - 1)) for _ in rows[at]["lines"]]
    split = [
        {**rows[at], "setl_id": f"c{at}-{n}",
         "lines": [line for line, part in zip(rows[at]["lines"], where, strict=True) if part == n]}
        for n in range(parts)
    ]  # fmt: skip
    return rows, [row for row in (*rows[:at], *split, *rows[at + 1 :]) if row["lines"]]


KINDS = {"any": {}, "N": {}, "own": {"chrgitm_lv": "03"}, "first": {"chrgitm_lv": "02", "selfpay_prop": "0.3"}}


def year_of(text: str, rows: list[dict], **known) -> dict[tuple, int]:
    """The sums of every fund layer by person."""
    rows = [{**row, "lines": [(kind, yuan(c), KINDS[kind]) for kind, c in row["lines"]]} for row in rows]
    found = statements(text, *rows, openings=OPENINGS, persons=PERSONS, **known)
    total: dict[tuple, int] = {}
    for one in found:
        for name in FUNDS:
            total[one["psn_no"], name] = total.get((one["psn_no"], name), 0) + one[name]
    return total


@pytest.mark.parametrize("origin", ["year", "year_net"])
@given(both=lives_and_a_split())
@examples(max_examples=60, deadline=None)
def test_splitting_a_claim_never_changes_the_years_total_where_rounding_is_by_the_year(origin, both):
    whole, split = both
    text = CHAIN.replace("ROUND", "year").replace("ORIGIN", origin)
    assert year_of(text, whole) == year_of(text, split)


@given(both=lives_and_a_split())
@examples(max_examples=25, deadline=None)
def test_rounding_by_the_claim_moves_a_few_fen_at_most(both):
    whole, split = both
    text = CHAIN.replace("ROUND", "claim").replace("ORIGIN", "year")
    before, after = year_of(text, whole), year_of(text, split)
    assert all(abs(before[key] - after[key]) <= 12 for key in before)


@given(both=lives_and_a_split())
@examples(max_examples=25, deadline=None)
def test_rounding_by_the_year_and_by_the_claim_agree_on_a_single_claim(both):
    rows = [row | {"psn_no": "p"} for row in both[0][:1]]
    texts = (CHAIN.replace("ROUND", word).replace("ORIGIN", "year") for word in ("claim", "year"))
    assert len({tuple(year_of(text, rows).items()) for text in texts}) == 1


def test_half_a_fen_twice_is_one_fen_by_the_year_and_two_by_the_claim():
    text = "benefits: {inpatient: {visit_kinds: [inpatient], ratio: {2020-01-01: {value: 50}}, rounded: ROUND}}"
    rows = [{"cost": "0.01"}, {"cost": "0.01"}]
    assert [s["hifp_pay"] for s in statements(text.replace("ROUND", "claim"), *rows)] == [1, 1]
    assert [s["hifp_pay"] for s in statements(text.replace("ROUND", "year"), *rows)] == [1, 0]


@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(0, 10**7), st.integers(0, 2)), max_size=12))
@examples(max_examples=25, deadline=None)
def test_a_line_is_classified_the_same_whichever_claim_it_stands_in(lines):
    rows = [({"pric": yuan(cents), "setl_id": "one"} | KINDS[kind], part) for kind, cents, part in lines]
    together = classify(lines_of(*(row for row, _ in rows))).select(pl.col(AMOUNTS).sum())
    parts = classify(lines_of(*(row | {"setl_id": f"of{part}"} for row, part in rows)))
    assert parts.group_by("setl_id").agg(pl.col(AMOUNTS).sum()).select(pl.col(AMOUNTS).sum()).equals(together)


# ---- refunds


@st.composite
def refunded(draw):
    """A history in which every claim is taken back, at any later time."""
    rows, _ = draw(lives_and_a_split())
    back = [
        {"setl_id": f"r-{row['setl_id']}", "psn_no": row["psn_no"],
         "setl_time": row["setl_time"] + timedelta(days=draw(st.integers(0, 200))),
         **{k: v for k, v in refund_of(row["setl_id"]).items() if k != "cnt"}}
        for row in rows
    ]  # fmt: skip
    return rows, back


@pytest.mark.parametrize("word", ["claim", "year"])
@given(both=refunded())
@examples(max_examples=25, deadline=None)
def test_a_history_that_is_all_taken_back_comes_to_nothing_in_every_column(word, both):
    rows, back = both
    rows = [{**row, "lines": [(kind, yuan(c), KINDS[kind]) for kind, c in row["lines"]]} for row in rows]
    text = CHAIN.replace("ROUND", word).replace("ORIGIN", "year_net")
    back = [row | {"lines": []} for row in back]
    later = {"setl_id": "z", "cost": "9000", "setl_time": datetime(2025, 12, 31, 23), "psn_no": "p"}
    found = statements(text, *rows, *back, openings=OPENINGS, persons=PERSONS)
    for name in (*STEPS, "pool_cost", "pool_raw", "catastrophic_base", "assistance_base"):
        assert sum(one[name] for one in found) == 0, name
    within = [row for row in back if row["setl_time"] <= later["setl_time"]]
    if len(within) == len(back):
        again = statements(text, *rows, *back, later, openings=OPENINGS, persons=PERSONS)[-1]
        alone = statements(text, later, openings=OPENINGS, persons=PERSONS)[-1]
        assert all(again[name] == alone[name] for name in STEPS)


# ---- dearer claims


@given(lives_and_a_split(), st.integers(0, 50_000), st.sampled_from(["claim", "year"]))
@examples(max_examples=40, deadline=None)
def test_a_dearer_last_claim_is_never_paid_less_nor_leaves_the_person_less(both, more, word):
    rows, _ = both
    rows = sorted(rows, key=lambda row: row["setl_time"])
    text = CHAIN.replace("ROUND", word).replace("ORIGIN", "year")
    dear = [*rows[:-1], rows[-1] | {"lines": [*rows[-1]["lines"], ("any", more)]}]
    before, after = year_of(text, rows), year_of(text, dear)
    for name in ("fund_pay_sumamt", "psn_part_amt", "act_pay_dedc", "hifp_pay"):
        assert all(before[p, name] <= after[p, name] for p, key in before if key == name), name


# ---- late claims and late enrolment


def test_a_late_manual_claim_takes_what_caps_and_start_line_leave():
    """零星报销: settled in December for care in March, it comes last in the order of settling."""
    text = CHAIN.replace("ROUND", "claim").replace("ORIGIN", "year")
    rows = [{"psn_no": "q", "lines": [("any", "14000")], "setl_time": datetime(2025, m, 1)} for m in (4, 8)]
    late = {"psn_no": "q", "lines": [("any", "5000")], "begntime": datetime(2025, 3, 1),
            "setl_time": datetime(2025, 12, 20)}  # fmt: skip
    found = statements(text, *rows, late)
    assert [s["act_pay_dedc"] for s in found] == [60007, 0, 0]
    paid = [s["hifp_pay"] for s in found]
    assert sum(paid) == 1200000 and paid[2] == max(0, 1200000 - paid[0] - paid[1])
    by_care = statements(text + "accrual_order: begntime\n", *rows, late)
    assert by_care[2]["act_pay_dedc"] == 60007  # in the order of care it comes first


def test_settling_again_with_the_enrolment_of_a_newborn_gives_what_is_due_back():
    """Born 1 March, in hospital in March, enrolled in July (150 days): settled again, the pool's share is due back."""
    text = """
enrolment: {newborn_days: {2020-01-01: {value: 180}}}
benefits:
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: 500}}
    nth_admission_percent: {2020-01-01: {value: [100, 50]}}
    ratio: {2020-01-01: {value: 70}}
"""
    stay = {"brdy": date(2025, 3, 1), "cost": "3000"}
    days = (datetime(2025, 3, 2), datetime(2025, 4, 2), datetime(2025, 8, 1))
    rows = [stay | {"begntime": day, "setl_time": day} for day in days]
    nobody = enrolled(("other", "390", date(2020, 1, 1)))
    late = enrolled(("p", "390", date(2025, 7, 1), None, date(2025, 7, 29)))
    too_late = enrolled(("p", "390", date(2025, 9, 1), None, date(2025, 9, 1)))
    before = statements(text, *rows, enrolments=nobody)
    after = statements(text, *rows, enrolments=late)
    assert [s["hifp_pay"] for s in before] == [0, 0, 0]
    assert [s["hifp_pay"] for s in after] == [175000, 192500, 192500]  # (3,000 − 500) x 70 %, (3,000 − 250) x 70 %
    due_back = [b["psn_part_amt"] - a["psn_part_amt"] for b, a in zip(before, after, strict=True)]
    assert due_back == [175000, 192500, 192500]
    assert [s["status"] for s in statements(text, *rows, enrolments=too_late)] == ["enrolment"] * 3


# ---- every further form at once

FORMS = """
groups:
  七十以上: {psn_types: [worker], age_from: 70}
  满半年: {psn_types: [worker], months_from: 6}
  其他: {psn_types: [worker]}
benefits:
  outpatient:
    visit_kinds: [general_outpatient]
    account_pays: first
    deductible_per: month
    deductible: {2020-01-01: {value: 50}}
    first_percent: {2020-01-01: {value: 10}}
    ratio: {2020-01-01: {value: {七十以上: 70, 满半年: 60, 其他: 50}}}
    pool_cap: {2020-01-01: {value: 300}}
    pool_cap_per: month_carried
    second_cap: {2020-01-01: {value: 250}}
    cost_cap: {2020-01-01: {value: 2000}}
    cost_cap_per: quarter
  inpatient:
    visit_kinds: [inpatient]
    deductible_per: admission
    deductible: {2020-01-01: {value: 600}}
    deductible_year_cap: {2020-01-01: {value: 1500}}
    nth_admission_percent: {2020-01-01: {value: [100, 50]}}
    continues_within_days: {2020-01-01: {value: 2}}
    ratio: {2020-01-01: {value: [{over: 0, percent: 71.3}, {over: 3000, percent: 85}]}}
    band_origin: year_net
    self_pay_percent: {2020-01-01: {value: {七十以上: 60, all: 100}}}
    item_classes:
      apart: {items: [N], ratio: {2020-01-01: {value: 40}}, annual_cap: {2020-01-01: {value: 900}}, in_caps: yes}
      more: {items: [any], plus_points: {2020-01-01: {value: 5}}}
    pool_cap: {2020-01-01: {value: 7000}}
    rounded: year
annual_cap: {2020-01-01: {value: 8000}}
large_amount: {ratio: {2020-01-01: {value: 80}}, annual_cap: {2020-01-01: {value: 500}}}
cross_region: {unfiled: {mode: first, value: {2020-01-01: {value: 10}}}}
catastrophic: {benefits: [inpatient], ratio: {2020-01-01: {value: [{over: 2000, percent: 60}]}}, rounded: year}
year_begins: "07-01"
"""
SPELLS = enrolled(("p", "310", date(2020, 1, 1)), ("q", "310", date(2025, 1, 1)))


@st.composite
def careers(draw):
    """Visits and stays of two persons over two years, some away from home, some taken back."""
    rows = []
    for n in range(draw(st.integers(1, 9))):
        begin = datetime(2025, 1, 1) + timedelta(days=draw(st.integers(0, 600)))
        end = begin + timedelta(days=draw(st.integers(0, 20)))
        lines = st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(0, 900_000)), min_size=1, max_size=3)
        rows.append({
            "setl_id": f"c{draw(st.integers(0, 9))}-{n}", "psn_no": draw(st.sampled_from("pq")),
            "visit_kind": draw(st.sampled_from(["inpatient", "inpatient", "general_outpatient"])),
            "begntime": begin, "endtime": end, "setl_time": end, "age": draw(st.sampled_from([40, 71])),
            "local_flag": draw(st.sampled_from("110")),
            "lines": [(kind, yuan(cents), KINDS[kind]) for kind, cents in draw(lines)],
        })  # fmt: skip
    for n, row in enumerate(list(rows)):
        if draw(st.integers(0, 3)) == 0:
            when = row["setl_time"] + timedelta(days=draw(st.integers(0, 60)))
            rows.append({k: v for k, v in row.items() if k != "lines"} | {
                "setl_id": f"r{n}", "refd_setl_flag": "1", "init_setl_id": row["setl_id"], "setl_time": when,
                "lines": [],
            })  # fmt: skip
    return rows


@given(careers(), st.randoms(use_true_random=False))
@examples(max_examples=60, deadline=None)
def test_every_form_adds_up_keeps_its_caps_nets_to_zero_and_does_not_depend_on_order(rows, random):
    """That a statement adds up and no share is negative is asserted by the engine itself for every claim."""
    told = {"openings": OPENINGS, "enrolments": SPELLS}
    found = {s["setl_id"]: s for s in statements(FORMS, *rows, **told)}
    standing: dict[tuple, int] = {}
    back = {row.get("init_setl_id") for row in rows}
    for row in rows:
        one = found[row["setl_id"]]
        if "init_setl_id" in row:
            original = found[row["init_setl_id"]]
            assert all(one[name] == -original[name] for name in STEPS)
        elif row["setl_id"] not in back:
            assert one["hifp_pay"] + one["hifob_pay"] + one["hifmi_pay"] <= one["inscp_scp_amt"] + one["preselfpay_amt"]
            for name in ("hifp_pay", "hifob_pay", "act_pay_dedc"):
                kind = row["visit_kind"] if name == "act_pay_dedc" else ""
                key = (row["psn_no"], one["year"], name, kind)
                standing[key] = standing.get(key, 0) + one[name]
    for (_, _, name, kind), total in standing.items():
        assert total <= {"hifp_pay": 800_000, "hifob_pay": 50_000}.get(name, 150_000 if kind == "inpatient" else 10**9)
    mixed = random.sample(rows, len(rows))
    assert {s["setl_id"]: s for s in statements(FORMS, *mixed, **told)} == found


@given(careers(), st.integers(0, 50_000))
@examples(max_examples=40, deadline=None)
def test_under_every_form_a_dearer_last_claim_is_paid_no_less(rows, more):
    rows = sorted(
        (row for row in rows if "init_setl_id" not in row), key=lambda row: (row["setl_time"], row["setl_id"])
    )
    dear = [*rows[:-1], rows[-1] | {"lines": [*rows[-1]["lines"], ("x", yuan(more), {})]}]
    told = {"openings": OPENINGS, "enrolments": SPELLS}
    before, after = statements(FORMS, *rows, **told)[-1], statements(FORMS, *dear, **told)[-1]
    assert before["hifp_pay"] <= after["hifp_pay"]
    assert before["psn_part_amt"] <= after["psn_part_amt"] + 1  # the cost behind a cap is rounded on its own
