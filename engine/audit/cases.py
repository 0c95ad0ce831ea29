"""The cases of a rule: which lines, days, visits or persons are judged, with the columns its expressions read.

A case is a row of `frame` (`_case`, the natural key columns, and one column per path such as `visit.days`); the
elements of its collections (`day.lines`, `visit.others` …) are frames with the same `_case`. Only cases that could
hit are built: a case without a line in evidence can be no finding, so items that a rule names are looked up first.
"""

import polars as pl

from engine.audit.facts import Facts
from engine.audit.frames import LINE_KEYS, Cases, add_person, add_visit, holds, prefixed
from engine.audit.joins import by_columns, joined_rows, lines_with_rows
from engine.audit.pairs import line_pair
from engine.audit.reads import collections_of, columns_of, element_only, elements_of, named_items
from engine.language.rule import LoadedRule
from engine.language.vocabulary import scopes


def cases_of(loaded: LoadedRule, facts: Facts) -> Cases:
    """Every case of the rule in the bucket that could be a finding."""
    cases = BUILDERS[loaded.rule.scope](loaded, facts)
    if "_case" not in cases.frame.columns:
        cases.frame = cases.frame.sort(*cases.key).with_row_index("_case")
    for path in collections_of(loaded):
        if path not in cases.members:
            cases.members[path] = _of_visit(path, cases.frame, loaded, facts)
    return cases


def _of_visit(path: str, frame: pl.DataFrame, loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The elements of a list of the case's visit: lines, diagnoses, procedures, or other visits of the person."""
    own, names = frame.select("_case", "_visit"), elements_of(loaded, path)
    if path == "visit.lines":
        return facts.lines(names, named_items(loaded)).join(own, on="_visit", how="inner")
    if path == "visit.others":
        owners = facts.visits(set()).rename({"id": "_own"})
        others = facts.visits(names | {"admission"}).with_columns(_visit=pl.col("id"))
        pairs = own.rename({"_visit": "_own"}).join(owners, on="_own").join(others, on="person", how="inner")
        return pairs.filter(pl.col("_visit") != pl.col("_own")).drop("_own")
    kind = {"visit.diagnoses": "diagnosis", "visit.procedures": "procedure"}[path]
    return facts.elements(kind, names).join(own, on="_visit", how="inner")


def _line(loaded: LoadedRule, facts: Facts) -> Cases:
    names = columns_of(loaded, "line")
    lines = lines_with_rows(loaded, facts, names) if loaded.rule.join else facts.lines(names, named_items(loaded))
    alias = f"{loaded.rule.join.alias}." if loaded.rule.join else "\0"
    own = [c for c in lines.columns if c.startswith(alias) or c == "_row"]
    frame = _shrunk(lines.select(*LINE_KEYS, *prefixed(lines, "line", names), *own), loaded)
    frame = _shrunk(add_visit(frame, loaded, facts), loaded)
    return Cases(frame, {}, ("id", *(["_row"] if "_row" in own else [])))


def _visit(loaded: LoadedRule, facts: Facts) -> Cases:
    names = {n for n in columns_of(loaded, "visit") if "." not in n} | {"hospital"}
    visits = facts.visits(names)
    own = prefixed(visits, "visit", names)
    base = visits.select(pl.col("id").alias("_visit"), "person", pl.col("hospital").alias("_hospital"), *own)
    key, members = ("_visit",), {}
    line_names = elements_of(loaded, "visit.lines")
    if loaded.rule.join and loaded.rule.join.keys:
        lines = lines_with_rows(loaded, facts, line_names)
        by = by_columns(loaded)
        alias = f"{loaded.rule.join.alias}."
        own = [c for c in lines.columns if c.startswith(alias) and c not in by]
        rows = lines.select("_visit", *by, *own).unique(["_visit", *by], keep="first", maintain_order=True)
        frame = rows.join(base, on="_visit", how="inner", maintain_order="left")
        frame = frame.sort("_visit", *by).with_row_index("_case")
        members["visit.lines"] = lines.join(frame.select("_case", "_visit", *by), on=["_visit", *by], how="inner")
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


def _day(loaded: LoadedRule, facts: Facts) -> Cases:
    """visit_day and person_day: the lines of one visit, or of one person, on one day."""
    owner = "_visit" if loaded.rule.scope == "visit_day" else "_person"
    names = elements_of(loaded, "day.lines")
    if loaded.rule.join:
        lines, by = lines_with_rows(loaded, facts, names), by_columns(loaded)
    else:
        lines, by = facts.lines(names, named_items(loaded)), []
    alias = f"{loaded.rule.join.alias}." if loaded.rule.join else "\0"
    own = [c for c in lines.columns if c.startswith(alias) and c not in by]
    key = [owner, "date", *by]
    judged = lines
    if "flag.excess" in loaded.compiled and element_only(loaded):
        judged = lines.filter(holds(lines, loaded.compiled["flag.excess"]))
    frame = judged.unique(key, keep="first", maintain_order=True).select(
        *key, *own, "_hospital", *(["_visit"] if owner != "_visit" else []), pl.col("date").alias("day.date")
    )
    frame = frame.sort(*key).with_row_index("_case")
    members = lines.join(frame.select("_case", *key), on=key, how="inner")
    if owner == "_visit":
        stays = facts.visits({"admit_date", "days"}).select(_visit="id", _admit="admit_date", _days="days")
        frame = add_visit(frame, loaded, facts).join(stays, on="_visit", how="left", maintain_order="left")
    else:
        frame = add_person(frame, loaded, facts)
    if "dialysis_records" in columns_of(loaded, "day"):
        frame = facts.dialysis_records(frame)
    return Cases(frame, {"day.lines": members}, tuple(key))


def _person_window(loaded: LoadedRule, facts: Facts) -> Cases:
    """Windows of some days ending on each day of service; judged in rounds by judge.py."""
    names = elements_of(loaded, "window.lines") | set(loaded.rule.by)
    lines = lines_with_rows(loaded, facts, names) if loaded.rule.join else facts.lines(names, named_items(loaded))
    if "flag.excess" in loaded.compiled and element_only(loaded):
        lines = lines.filter(holds(lines, loaded.compiled["flag.excess"]))
    by = [*loaded.rule.by, *(by_columns(loaded) if loaded.rule.join else [])]
    return windows(loaded, facts, lines, ["_person", *by])


def windows(loaded: LoadedRule, facts: Facts, lines: pl.DataFrame, group: list[str]) -> Cases:
    """The cases over a given set of lines: one window per group and last day."""
    span = loaded.rule.window.days
    days = pl.lit(span) if isinstance(span, int) else loaded.compiled["window.days"].value.cast(pl.Int64)
    alias = f"{loaded.rule.join.alias}." if loaded.rule.join else "\0"
    own = [c for c in lines.columns if c.startswith(alias) and c not in group]
    ends = lines.unique([*group, "date"], keep="first", maintain_order=True).select(*group, "date", *own, "_hospital")
    frame = ends.with_columns(
        pl.col("date").alias("window.end"), (pl.col("date") - pl.duration(days=days - 1)).alias("window.start")
    )
    frame = frame.sort(*group, "date").with_row_index("_case")
    members = frame.select("_case", *group, "window.start", "window.end").join(lines, on=group, how="inner")
    members = members.filter(pl.col("date").is_between("window.start", "window.end"))
    frame = add_person(frame, loaded, facts)
    return Cases(frame, {"window.lines": members}, (*group, "date"))


def _department(loaded: LoadedRule, facts: Facts) -> Cases:
    """Wards by admission: their stays, and the lines of those stays for the items of the joined row."""
    visit_names = {n for n in elements_of(loaded, "dept.visits") if "." not in n}
    stays = facts.visits(visit_names | {"inpatient", "insured", "hospital", "dept"}).filter(pl.col("inpatient"))
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


def _store_item(loaded: LoadedRule, facts: Facts) -> Cases:
    """What an institution stores of one charge item: balances, purchases and what was sold, paid by whomever."""
    items = facts.table("store_items").filter(pl.col("medins_list_codg").is_not_null())
    key = ["fixmedins_code", "item_store_id"]
    balances = facts.table("stock_balances").group_by(key).agg(pl.col("opening_cnt", "closing_cnt").sum())
    bought = facts.table("stock_moves").filter(pl.col("move_type").is_in(["purchase", "purchase_return"]))
    sign = pl.when(pl.col("move_type") == "purchase").then(1).otherwise(-1)
    worth = pl.col("cnt").cast(pl.Decimal(38, 6)) * pl.col("pric").cast(pl.Decimal(38, 10))
    bought = bought.group_by(key).agg((pl.col("cnt") * sign).sum().alias("cnt"), (worth * sign).sum().alias("worth"))
    frame = items.join(balances, on=key, how="inner").join(bought, on=key, how="left")
    frame = frame.group_by("fixmedins_code", "medins_list_codg").agg(
        pl.col("med_list_codg").drop_nulls().min(), pl.col("item_name").drop_nulls().min(),
        pl.col("opening_cnt", "closing_cnt", "worth").sum(), pl.col("cnt").sum().alias("bought"),
    )  # fmt: skip
    sold = facts.lines({"local_item", "category"} | elements_of(loaded, "store.lines"))
    sold = sold.with_columns(fixmedins_code="_hospital", medins_list_codg="local_item")
    sums = sold.group_by("fixmedins_code", "medins_list_codg").agg(
        pl.col("cnt").sum().alias("sold"), pl.col("category").max().alias("category")
    )
    frame = frame.join(sums, on=["fixmedins_code", "medins_list_codg"], how="inner").select(
        _hospital="fixmedins_code", _item="med_list_codg", _local_item="medins_list_codg",
        **{"store.hospital": pl.col("fixmedins_code"), "store.item": pl.col("med_list_codg").fill_null(""),
           "store.local_item": pl.col("medins_list_codg"), "store.name": pl.col("item_name").fill_null(""),
           "store.opening": pl.col("opening_cnt"), "store.closing": pl.col("closing_cnt"),
           "store.purchased": pl.col("bought"), "store.sold": pl.col("sold"), "store.category": pl.col("category"),
           "store.purchase_price": pl.when(pl.col("bought") > 0).then(pl.col("worth") / pl.col("bought"))},
    )  # fmt: skip
    frame = frame.sort("_hospital", "_local_item").with_row_index("_case")
    own = frame.select("_case", fixmedins_code="_hospital", medins_list_codg="_local_item")
    members = sold.join(own, on=["fixmedins_code", "medins_list_codg"], how="inner")
    return Cases(frame, {"store.lines": members}, ("_hospital", "_local_item"))


BUILDERS = {
    "line": _line,
    "line_pair": line_pair,
    "visit": _visit,
    "visit_day": _day,
    "person_day": _day,
    "person_window": _person_window,
    "department": _department,
    "store_item": _store_item,
}
assert set(BUILDERS) <= set(scopes())
