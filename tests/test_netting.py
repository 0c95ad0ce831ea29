"""Netting: refunds cancel claims, reversals take back units, the latest earlier line first, never below zero."""

from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tables.netting import net

SCHEMA = {
    "feedetl_sn": pl.String, "setl_id": pl.String, "medins_list_codg": pl.String, "pric": pl.Decimal(16, 6),
    "cnt": pl.Decimal(16, 4), "fee_ocur_time": pl.Datetime("us"), "init_feedetl_sn": pl.String,
}  # fmt: skip


def claims_of(*rows: tuple[str, str | None, str | None]) -> pl.DataFrame:
    schema = {"setl_id": pl.String, "refd_setl_flag": pl.String, "init_setl_id": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


PLAIN = claims_of(("A", "0", None), ("B", "0", None))


def lines_of(*rows: tuple) -> pl.DataFrame:
    """Rows of (claim, item, units, hour[, named line]); line numbers T:1, T:2, … and price 5 unless the item says."""
    full = [
        (
            f"T:{i}",
            claim,
            item,
            Decimal(5),
            Decimal(str(units)),
            datetime(2025, 1, 1) + timedelta(hours=hour),
            *(named or [None]),
        )
        for i, (claim, item, units, hour, *named) in enumerate(rows, 1)
    ]
    return pl.DataFrame(full, schema=SCHEMA, orient="row")


def left(*rows: tuple, claims: pl.DataFrame = PLAIN) -> list[float]:
    return [float(x) for x in net(claims, lines_of(*rows))[1]["net_cnt"]]


def test_a_reversal_takes_the_latest_line_before_it_and_splits_what_is_left():
    assert left(("A", "x", 3, 0), ("A", "x", 2, 1), ("A", "x", -4, 2), ("A", "x", 5, 3)) == [1, 0, 0, 5]


def test_a_reversal_never_takes_a_later_line():
    lines = net(PLAIN, lines_of(("A", "x", -1, 0), ("A", "x", 2, 1)))[1]
    assert [float(x) for x in lines["net_cnt"]] == [0, 2]
    assert [float(x) for x in lines["unmatched_cnt"]] == [1, 0]


def test_a_line_of_the_same_moment_may_be_taken():
    assert left(("A", "x", -1, 0), ("A", "x", 2, 0)) == [0, 1]


def test_other_claims_items_and_prices_are_left_alone():
    assert left(("A", "x", 1, 0), ("B", "x", 1, 0), ("A", "y", 1, 0), ("A", "x", -1, 1)) == [0, 1, 1, 0]
    lines = lines_of(("A", "x", 1, 0), ("A", "x", -1, 1)).with_columns(pric=pl.Series([5, 6]).cast(pl.Decimal(16, 6)))
    assert net(PLAIN, lines)[1]["net_cnt"].to_list() == [1, 0]


def test_a_named_line_is_taken_first_and_what_it_cannot_give_comes_from_the_others():
    assert left(("A", "x", 2, 0), ("A", "x", 2, 1), ("A", "x", -1, 2, "T:1")) == [1, 2, 0]
    assert left(("A", "x", 2, 0), ("A", "x", 2, 1), ("A", "x", -3, 2, "T:1")) == [0, 1, 0]


def test_lines_are_ordered_by_their_number_not_by_its_letters():
    rows = [("A", "x", 1, 0)] * 10 + [("A", "x", -1, 0)]
    assert left(*rows) == [1] * 9 + [0, 0]


def test_a_refund_claim_cancels_itself_and_the_claim_it_names():
    claims = claims_of(("A", "0", None), ("R", "1", "A"), ("B", "0", None))
    lines = lines_of(("A", "x", 2, 0), ("R", "x", -2, 1), ("B", "x", 2, 0))
    after, netted = net(claims, lines)
    assert after["cancelled"].to_list() == [True, True, False]
    assert netted["net_cnt"].to_list() == [0, 0, 2]
    assert netted["unmatched_cnt"].sum() == 0


def test_fractions_are_netted_exactly():
    assert left(("A", "x", "0.3", 0), ("A", "x", "-0.1", 1), ("A", "x", "-0.2", 2)) == [0, 0, 0]


def test_claims_without_refund_columns_stand():
    claims = pl.DataFrame({"setl_id": ["A"]})
    assert net(claims, lines_of(("A", "x", 1, 0)))[0]["cancelled"].to_list() == [False]


LINES = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from("xy"), st.integers(-5, 6), st.integers(0, 5)),
    min_size=1,
    max_size=25,
)


def one_by_one(rows: list[tuple]) -> tuple[list[int], list[int]]:
    """The rule in plain words, line by line: the oracle."""
    stand, lost, stacks = [max(r[2], 0) for r in rows], [0] * len(rows), {}
    for i in sorted(range(len(rows)), key=lambda i: (rows[i][3], rows[i][2] < 0, i)):
        stack, asked = stacks.setdefault(rows[i][:2], []), -rows[i][2]
        if asked < 0:
            stack.append(i)
        while asked > 0 and stack:
            taken = min(asked, stand[stack[-1]])
            stand[stack[-1]] -= taken
            asked -= taken
            if not stand[stack[-1]]:
                stack.pop()
        lost[i] = max(asked, 0)
    return stand, lost


@settings(max_examples=150, deadline=None)
@given(LINES, st.randoms())
def test_the_running_sums_do_what_the_rule_says_line_by_line(rows, random):
    stand, lost = one_by_one(rows)
    shuffled = list(range(len(rows)))
    random.shuffle(shuffled)
    lines = net(PLAIN, lines_of(*rows)[shuffled])[1]
    found = dict(zip(lines["feedetl_sn"], zip(lines["net_cnt"], lines["unmatched_cnt"], strict=True), strict=True))
    assert [found[f"T:{i + 1}"] for i in range(len(rows))] == list(zip(stand, lost, strict=True))


@settings(max_examples=100, deadline=None)
@given(LINES)
def test_units_are_kept_and_netting_twice_changes_nothing(rows):
    claims, lines = net(PLAIN, lines_of(*rows))
    sums = lines.group_by("setl_id", "medins_list_codg", "pric").agg(pl.col("cnt", "net_cnt", "unmatched_cnt").sum())
    assert sums.filter(pl.col("net_cnt") - pl.col("unmatched_cnt") != pl.col("cnt")).is_empty()
    assert lines["net_cnt"].min() >= 0
    assert lines.filter(pl.col("net_cnt") > pl.max_horizontal("cnt", 0)).is_empty()
    again = net(claims, lines)
    assert again[0].equals(claims)
    assert again[1].equals(lines)
