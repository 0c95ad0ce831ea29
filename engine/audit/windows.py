"""Sliding windows of a person or a terminal: the last so many days, hours or minutes, ending at each thing they hold.

A window of N days holds N calendar days, the last among them. A window of hours or minutes holds what is at most so far
before its end, exactly so far included. Where a window of one list also reads another (visits beside lines), both are
held by the same two ends.
"""

from dataclasses import dataclass

import polars as pl

from engine.audit.facts import Facts
from engine.audit.frames import Cases, holds
from engine.audit.joins import by_columns, lines_named, named_once, row_columns
from engine.audit.owned import OWNERS, add_owner, owned, placed
from engine.audit.plain import midnight
from engine.audit.reads import collections_of, element_only, elements_of
from engine.language.rule import LoadedRule

SECONDS = {"days": 86_400, "hours": 3_600, "minutes": 60}
WINDOWS = {"person_window": "person", "terminal_window": "terminal", "contact_window": "contact",
           "practitioner_window": "practitioner"}  # fmt: skip
MAIN = {"terminal": "visits", "contact": "visits", "practitioner": "prescriptions"}  # what ends a window, else lines


@dataclass
class Sliding:
    """What windows slide over: lists by path, the path whose elements end windows, the columns that keep them apart."""

    lists: dict[str, pl.DataFrame]
    main: str
    group: list[str]
    unplaced: dict[str, int]


def sliding(loaded: LoadedRule, facts: Facts) -> Sliding:
    """The lines and visits that windows of the rule may hold."""
    owner = WINDOWS[loaded.rule.scope]
    own = f"window.{MAIN.get(owner, 'lines')}"
    paths = [path for path in collections_of(loaded) if path.startswith("window.")] or [own]
    excess = loaded.elements.get("excess")
    main = excess if excess in paths else paths[0]
    by = [*loaded.rule.by, *(by_columns(loaded) if loaded.rule.join else [])]
    lists, unplaced = {}, {}
    for path in paths:
        names, kind = elements_of(loaded, path), path.split(".")[1]
        rows = owned(owner, kind, names, loaded.rule.by, lambda names: lines_named(loaded, facts, names), facts)
        rows = named_once(loaded, rows, by) if kind == "lines" else rows
        lists[path], lost = placed(owner, kind, rows)
        unplaced |= lost
        if loaded.rule.window.unit == "days":
            lists[path] = lists[path].with_columns(midnight(pl.col("_moment")))
    return Sliding(lists, main, [*OWNERS[owner].keys, *by], unplaced)


def windows(loaded: LoadedRule, facts: Facts, over: Sliding) -> Cases:
    """The cases: one window per group and moment at which an element ends it."""
    rows, key = over.lists[over.main], [*over.group, "_moment"]
    if over.main == loaded.elements.get("excess") and element_only(loaded):
        rows = rows.filter(holds(rows, loaded.compiled["flag.excess"]))  # none in evidence, no finding
    own = [c for c in row_columns(loaded, rows) if c not in key]
    ends = rows.unique(key, keep="first", maintain_order=True)
    frame = ends.select(*key, *own, *({"_hospital"} - set(key))).with_columns(
        pl.col("_moment").alias("window.end"), (pl.col("_moment") - _length(loaded)).alias("window.start"),
        date=midnight(pl.col("_moment")),
    )  # fmt: skip
    frame = frame.sort(key).with_row_index("_case")
    members = {path: _held(frame, elements, over.group) for path, elements in over.lists.items()}
    return Cases(add_owner(frame, loaded, facts), members, tuple(key), over.unplaced)


def _length(loaded: LoadedRule) -> pl.Expr:
    """From the start of a window to its end, both of which it holds."""
    unit, size = loaded.rule.window.unit, loaded.rule.window.size
    size = pl.lit(size) if isinstance(size, int) else loaded.compiled[f"window.{unit}"].value
    size = size - 1 if unit == "days" else size
    return pl.duration(seconds=(size * SECONDS[unit]).cast(pl.Int64))


def _held(frame: pl.DataFrame, elements: pl.DataFrame, group: list[str]) -> pl.DataFrame:
    """The elements of each window, found by the first and last of its group between its ends."""
    keys = [c for c in group if c in elements.columns]
    elements = elements.sort(*keys, "_moment", "id").with_row_index("_n")
    moments = elements.group_by(*keys, "_moment").agg(_first=pl.col("_n").min(), _last=pl.col("_n").max())
    groups = moments.select(keys).unique().with_row_index("_group")
    moments = moments.join(groups, on=keys, nulls_equal=True).sort("_moment")
    ends = frame.select("_case", *keys, "window.start", "window.end").join(groups, on=keys, nulls_equal=True)
    for side, column, strategy in (("_first", "window.start", "forward"), ("_last", "window.end", "backward")):
        known = moments.select("_group", "_moment", side)
        ends = ends.sort(column).join_asof(
            known, left_on=column, right_on="_moment", by="_group", strategy=strategy, coalesce=True,
            check_sortedness=False,
        )  # fmt: skip
    held = ends.filter(pl.col("_first") <= pl.col("_last")).sort("_case").select(
        "_case", "window.start", "window.end", _n=pl.int_ranges("_first", pl.col("_last") + 1, dtype=pl.UInt32)
    ).explode("_n")  # fmt: skip
    return held.drop("_n").hstack(elements.drop("_n")[held["_n"]])
