"""The cases of a rule: which lines, days, visits or persons are judged, with the columns its expressions read.

A case is a row of `frame` (`_case`, the natural key columns, and one column per path such as `visit.days`); the
elements of its collections (`day.lines`, `visit.others` …) are frames with the same `_case`. Only cases that could
hit are built: a case without a line in evidence can be no finding, so items that a rule names are looked up first.
"""

import polars as pl

from engine.audit.facts import Facts
from engine.audit.frames import LINE_KEYS, Cases, add_visit, holds, prefixed
from engine.audit.joins import by_columns, joined_rows, lines_named, lines_with_rows, named_once, row_columns
from engine.audit.owned import OWNERS, add_owner, owned, placed
from engine.audit.pairs import line_pair
from engine.audit.peers import with_peers
from engine.audit.reads import collections_of, columns_of, element_only, elements_of, named_items
from engine.audit.recordcases import ltc_visit, pos_sale, same_results, store_item, store_pair
from engine.audit.visitfacts import dialysis_records
from engine.audit.windows import WINDOWS, sliding, windows
from engine.language.rule import LoadedRule
from engine.language.vocabulary import scopes

# What one case of these scopes is: what an owner has in a period. A month begins on the first, a week on Monday.
PERIODS = {"day": "1d", "week": "1w", "month": "1mo", "year": "1y"}
GROUPED = {
    "visit_day": ("visit", "day"), "person_day": ("person", "day"), "person_week": ("person", "week"),
    "person_month": ("person", "month"), "person_year": ("person", "year"), "person": ("person", ""),
    "provider": ("provider", ""), "provider_day": ("provider", "day"), "provider_month": ("provider", "month"),
    "provider_year": ("provider", "year"),
    "practitioner_day": ("practitioner", "day"), "device_day": ("device", "day"),
}  # fmt: skip


def cases_of(loaded: LoadedRule, facts: Facts) -> Cases:
    """Every case of the rule in the bucket that could be a finding."""
    return with_peers(loaded, facts, with_lists(BUILDERS[loaded.rule.scope](loaded, facts), loaded, facts))


def with_lists(cases: Cases, loaded: LoadedRule, facts: Facts) -> Cases:
    """The cases, numbered, with every list that the rule reads."""
    if "_case" not in cases.frame.columns:
        cases.frame = cases.frame.sort(*cases.key).with_row_index("_case")
    for path in collections_of(loaded):
        if path not in cases.members:
            cases.members[path] = _listed(path, cases.frame, loaded, facts)
    return cases


def _listed(path: str, frame: pl.DataFrame, loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The elements of a list of what the case is about: of its visit, its person, its institution …"""
    owner, kind = path.split(".")
    names, keys = elements_of(loaded, path), list(OWNERS[owner].keys)
    own = frame.select("_case", *keys)
    if kind == "others":
        owners = facts.visits(set()).rename({"id": "_own"})
        others = facts.visits(names | {"admission"}).with_columns(_visit=pl.col("id"))
        pairs = own.rename({"_visit": "_own"}).join(owners, on="_own").join(others, on="person", how="inner")
        return pairs.filter(pl.col("_visit") != pl.col("_own")).drop("_own")
    if kind in ("diagnoses", "procedures"):
        elements = facts.elements({"diagnoses": "diagnosis", "procedures": "procedure"}[kind], names)
    else:
        elements = owned(owner, kind, names, [], lambda names: facts.lines(names, named_items(loaded)), facts)
    return elements.join(own, on=keys, how="inner")


def _line(loaded: LoadedRule, facts: Facts) -> Cases:
    names = columns_of(loaded, "line")
    lines = lines_named(loaded, facts, names)
    own = [c for c in lines.columns if c in row_columns(loaded, lines) or c == "_row"]
    frame = _shrunk(lines.select(*LINE_KEYS, *prefixed(lines, "line", names), *own), loaded)
    frame = _shrunk(add_visit(frame, loaded, facts), loaded)
    return Cases(frame, {}, ("id", *(["_row"] if "_row" in own else [])))


def _visit(loaded: LoadedRule, facts: Facts) -> Cases:
    names = columns_of(loaded, "visit") | {"hospital"}
    visits = facts.visits(names)
    own = prefixed(visits, "visit", names)
    base = visits.select(pl.col("id").alias("_visit"), "person", pl.col("hospital").alias("_hospital"), *own)
    key, members = ("_visit",), {}
    line_names = elements_of(loaded, "visit.lines")
    if loaded.rule.join and loaded.rule.join.keys:
        lines = lines_with_rows(loaded, facts, line_names)
        by = by_columns(loaded)
        own = [c for c in row_columns(loaded, lines) if c not in by]
        rows = lines.select("_visit", *by, *own).unique(["_visit", *by], keep="first", maintain_order=True)
        frame = rows.join(base, on="_visit", how="inner", maintain_order="left")
        frame = frame.sort("_visit", *by).with_row_index("_case")
        lines = lines.join(frame.select("_case", "_visit", *by), on=["_visit", *by], how="inner")
        members["visit.lines"] = named_once(loaded, lines, ["_case"])
        return Cases(frame, members, ("_visit", *by))
    if loaded.rule.join:
        rows = joined_rows(loaded, facts).drop("_from", "_to")
        base, key = base.join(rows, how="cross"), ("_visit", "_row")
        if "join.where" in loaded.compiled:  # what speaks of the visit as well as of the row
            base = base.filter(loaded.compiled["join.where"].value)
    if loaded.elements.get("excess") == "visit.lines" and not loaded.rule.join:
        # A stay without a line in evidence can be no finding.
        lines = facts.lines(line_names, named_items(loaded))
        flagged = lines.filter(holds(lines, loaded.compiled["flag.excess"])) if element_only(loaded) else lines
        base = base.join(flagged.select("_visit").unique(), on="_visit", how="semi", maintain_order="left")
    base = _shrunk(base, loaded)
    frame = base.sort(*key).with_row_index("_case")
    return Cases(frame, members, key)


def _shrunk(frame: pl.DataFrame, loaded: LoadedRule) -> pl.DataFrame:
    """Only the cases for which no cheap part of `when` is already false, as far as their columns are there."""
    have = set(frame.columns)
    tests = [test for test in loaded.cheap if set(test.meta.root_names()) <= have]
    return frame.filter(*tests) if tests else frame


def _grouped(loaded: LoadedRule, facts: Facts) -> Cases:
    """What one owner has in one period: its lines, its visits, its records."""
    owner, period = GROUPED[loaded.rule.scope]
    symbol, keys = period or owner, [*OWNERS[owner].keys, *(["_period"] if period else [])]
    paths = [path for path in collections_of(loaded) if path.startswith(f"{symbol}.")] or [f"{symbol}.lines"]
    members, unplaced, by = {}, {}, [*loaded.rule.by, *(by_columns(loaded) if loaded.rule.join else [])]
    for path in paths:
        rows = _rows(owner, path, loaded, facts)
        if period:
            rows = rows.with_columns(_period=pl.col("_moment").dt.truncate(PERIODS[period]))
        members[path], lost = placed(owner, path.split(".")[1], rows)
        unplaced |= lost
    excess = loaded.elements.get("excess")
    judged = [excess] if excess in members else [path for path in paths if not by or path.endswith(".lines")]
    frames = [_judged_rows(members[path], path == excess, [*keys, *by], loaded) for path in judged]
    frame = frames[0]
    if len(frames) > 1:
        frame = pl.concat(frames, how="diagonal").unique([*keys, *by], keep="first", maintain_order=True)
    frame = frame.sort(*keys, *by, nulls_last=True).with_row_index("_case")
    for path, rows in members.items():
        on = [c for c in (*keys, *by) if c in rows.columns]
        rows = rows.join(frame.select("_case", *on), on=on, how="inner", nulls_equal=bool(by))
        members[path] = named_once(loaded, rows, ["_case"])
    frame = _with_period(frame, symbol, period) if period else frame
    if owner == "visit":
        frame = add_visit(frame, loaded, facts)
        stays = facts.visits({"admit_date", "days"}).select(_visit="id", _admit="admit_date", _days="days")
        frame = frame.join(stays, on="_visit", how="left", maintain_order="left")
    if "dialysis_records" in columns_of(loaded, "day"):
        frame = dialysis_records(frame, facts)
    frame = add_owner(frame, loaded, facts)
    key = ["date" if c == "_period" and period == "day" else c for c in keys]
    return Cases(frame, members, (*key, *by), unplaced)


def _rows(owner: str, path: str, loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The elements of one list with their owner, before they are put into cases."""
    names, by = elements_of(loaded, path), loaded.rule.by
    return owned(owner, path.split(".")[1], names, by, lambda names: lines_named(loaded, facts, names), facts)


def _judged_rows(rows: pl.DataFrame, flagged: bool, key: list[str], loaded: LoadedRule) -> pl.DataFrame:
    """The rows whose groups become cases: a case without an element in evidence can be no finding."""
    if flagged and element_only(loaded):
        rows = rows.filter(holds(rows, loaded.compiled["flag.excess"]))
    own = [c for c in row_columns(loaded, rows) if c not in key]
    rows = rows.unique(key, keep="first", maintain_order=True)
    return rows.select(*key, *own, *({"_hospital"} - set(key)))


def _with_period(frame: pl.DataFrame, symbol: str, period: str) -> pl.DataFrame:
    if period == "day":
        return frame.with_columns(pl.col("_period").alias("day.date"), date="_period")
    last = pl.col("_period").dt.offset_by(PERIODS[period]) - pl.duration(days=1)
    return frame.with_columns(pl.col("_period").alias(f"{symbol}.start"), last.alias(f"{symbol}.end"))


def _windows(loaded: LoadedRule, facts: Facts) -> Cases:
    return windows(loaded, facts, sliding(loaded, facts))


def _department(loaded: LoadedRule, facts: Facts) -> Cases:
    """Wards by admission: their stays, and the lines of those stays for the items of the joined row."""
    stays = facts.visits(elements_of(loaded, "dept.visits") | {"inpatient", "insured", "hospital", "dept"}).filter(
        pl.col("inpatient")
    )
    wards = stays.group_by("hospital", "dept").agg(pl.len().cast(pl.Int64).alias("dept.stays"))
    wards = wards.with_columns(pl.col("hospital").alias("dept.hospital"), pl.col("dept").alias("dept.name"))
    wards = wards.rename({"hospital": "_hospital", "dept": "_dept"})
    names = elements_of(loaded, "dept.lines")
    key, rows_of = ["_hospital", "_dept"], []
    if loaded.rule.join:
        rows = joined_rows(loaded, facts).drop("_from", "_to")
        wards, key = wards.join(rows, how="cross"), [*key, "_row"]
        lines, rows_of = lines_with_rows(loaded, facts, names), ["_row"]
    else:
        lines = facts.lines(names, named_items(loaded))
    frame = wards.sort(*key).with_row_index("_case")
    placed = stays.select(_visit="id", _dept="dept")
    members = {
        "dept.lines": lines.join(placed, on="_visit").join(
            frame.select("_case", "_hospital", "_dept", *rows_of), on=["_hospital", "_dept", *rows_of]
        )
    }
    if "dept.visits" in collections_of(loaded):
        named = stays.with_columns(_visit=pl.col("id"), _hospital=pl.col("hospital"), _dept=pl.col("dept"))
        members["dept.visits"] = named.join(frame.select("_case", "_hospital", "_dept"), on=["_hospital", "_dept"])
    return Cases(frame, members, tuple(key))


BUILDERS = {
    "line": _line,
    "line_pair": line_pair,
    "visit": _visit,
    **dict.fromkeys(GROUPED, _grouped),
    **dict.fromkeys(WINDOWS, _windows),
    "department": _department,
    "store_item": store_item,
    "store_pair": store_pair,
    "pos_sale": pos_sale,
    "same_results": same_results,
    "ltc_visit": ltc_visit,
}
assert set(BUILDERS) <= set(scopes())
