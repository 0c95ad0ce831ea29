"""Pairs of lines: a makes b an excess, within an hour, six hours, a day, a visit, or for one person."""

import polars as pl

from engine.audit.facts import Facts, natural
from engine.audit.frames import LINE_KEYS, Cases, add_visit, prefixed
from engine.audit.joins import join_keys, joined_rows
from engine.audit.plain import in_force
from engine.audit.reads import columns_of, equalities, side_items
from engine.language.rule import LoadedRule
from engine.reference.presumptions import Presumptions


def line_pair(loaded: LoadedRule, facts: Facts) -> Cases:
    a_names, b_names = columns_of(loaded, "a"), columns_of(loaded, "b")
    equal = equalities(loaded)
    extra = {n for n, _ in equal} | {n for _, n in equal}
    same, join = loaded.rule.same, loaded.rule.join
    within = "_person" if same == "person" else "_visit"
    ordered = join is None or not join_keys(loaded, "a")[0] or not join_keys(loaded, "b")[0]
    if join:
        rows = joined_rows(loaded, facts)
        a_rows, a_attributes = join_keys(loaded, "a")
        b_rows, b_attributes = join_keys(loaded, "b")
        if not b_rows:
            b_rows, b_attributes = a_rows, a_attributes
        a = facts.lines(a_names | extra, rows[a_rows[0]].unique().to_list())
        b = facts.lines(b_names | extra, rows[b_rows[0]].unique().to_list())
        a = _side(a, "a", a_names | extra).join(
            rows, left_on=[f"a.{n}" for n in a_attributes], right_on=a_rows, coalesce=False
        )
        b = _side(b, "b", b_names | extra).join(
            rows.select("_row", *b_rows), left_on=[f"b.{n}" for n in b_attributes], right_on=b_rows, coalesce=False
        ).drop(b_rows)  # fmt: skip
        on = ["_row"]
    else:
        a = _side(facts.lines(a_names | extra, side_items(loaded, "a")), "a", a_names | extra)
        b = _side(facts.lines(b_names | extra, side_items(loaded, "b")), "b", b_names | extra)
        on = []
    a, b = _shrunk_side(a, "a", loaded), _shrunk_side(b, "b", loaded)
    left = [f"a.{within}", *(f"a.{x}" for x, _ in equal), *on]
    right = [f"b.{within}", *(f"b.{y}" for _, y in equal), *on]
    pairs = a.join(b, left_on=left, right_on=right, how="inner", coalesce=False).filter(
        pl.col("a.id") != pl.col("b.id")
    )
    if join:
        pairs = pairs.filter(in_force(pl.col("b.date").cast(pl.Date)))
    if ordered:
        pairs = pairs.filter(_earlier())
    pairs = pairs.filter(_in_window(pairs, loaded, facts.presumptions))
    keys = [pl.col(f"b.{c}").alias(c) for c in LINE_KEYS if c not in ("_row",)]
    frame = pairs.with_columns(*keys, _other=pl.col("a.id"), _other_visit=pl.col("a._visit"))
    frame = add_visit(frame, loaded, facts)
    return Cases(frame, {}, ("id", "_other", *(["_row"] if join else [])))


def _earlier() -> pl.Expr:
    """a comes before b: by time, then by the number of the line, as units are cut."""
    same_time = pl.col("a.time") == pl.col("b.time")
    number = natural("a.id"), natural("b.id")
    before = (number[0] < number[1]) | ((number[0] == number[1]) & (pl.col("a.id") < pl.col("b.id")))
    return (pl.col("a.time") < pl.col("b.time")) | (same_time & before)


def _side(lines: pl.DataFrame, symbol: str, names: set[str]) -> pl.DataFrame:
    return lines.select(*prefixed(lines, symbol, {*LINE_KEYS, *names}))


def _shrunk_side(lines: pl.DataFrame, symbol: str, loaded: LoadedRule) -> pl.DataFrame:
    """Only the lines for which no part of `when` that speaks of them alone is already false."""
    for test in loaded.cheap:
        names = test.meta.root_names()
        if names and all(n.startswith(f"{symbol}.") for n in names):
            lines = lines.filter(test)
    return lines


def _in_window(pairs: pl.DataFrame, loaded: LoadedRule, presumed: Presumptions) -> pl.Expr:
    """Do the two lines fall into the window of the rule or of the table row?"""
    gap = (pl.col("a.time") - pl.col("b.time")).abs()
    same_day = pl.col("a.date") == pl.col("b.date")
    # A time without minutes says only the clock hour.
    bare = (pl.col("a.time").dt.minute() == 0) | (pl.col("b.time").dt.minute() == 0)
    same_hour = pl.col("a.time").dt.truncate("1h") == pl.col("b.time").dt.truncate("1h")
    tests = {
        "hour": (gap < presumed.hour) | (bare & same_hour),
        "6h": gap <= presumed.six_hours,
        "day": same_day,
        "visit": pl.lit(True),
        "person": pl.lit(True),
    }
    column = f"{loaded.rule.join.alias}.window" if loaded.rule.join else ""
    if loaded.rule.same:
        return tests[loaded.rule.same]
    if column in pairs.columns:
        test = pl.lit(False)
        for word, condition in tests.items():
            test = test | ((pl.col(column) == word) & condition)
        return test
    return tests["visit"]
