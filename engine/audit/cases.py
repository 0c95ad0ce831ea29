"""The cases of a rule: which lines, days, visits or persons are judged, with the columns its expressions read.

A case is a row of `frame` (`_case`, the natural key columns, and one column per path such as `visit.days`); the
elements of its collections (`day.lines`, `visit.others` …) are frames with the same `_case`. Only cases that could
hit are built: a case without a line in evidence can be no finding, so items that a rule names are looked up first.
"""

import datetime
from dataclasses import dataclass, field

import polars as pl
from rule_engine import ast

from engine.audit.derived import in_force
from engine.audit.facts import DAY, Facts
from engine.language.expression import conjuncts, walk
from engine.language.rule import ROW_NAMES, LoadedRule
from engine.language.vocabulary import scopes

HOUR, SIX_HOURS = datetime.timedelta(minutes=60), datetime.timedelta(hours=6)
LINE_KEYS = ("id", "item", "date", "time", "cnt", "price", "_visit", "_person", "_hospital", "_cost", "_inscope", "_num")


@dataclass
class Cases:
    """Cases and the elements of their collections; `line` names the column of the judged line, where there is one."""

    frame: pl.DataFrame
    members: dict[str, pl.DataFrame] = field(default_factory=dict)
    key: tuple[str, ...] = ()


def cases_of(loaded: LoadedRule, facts: Facts) -> Cases:
    """Every case of the rule in the bucket that could be a finding."""
    cases = BUILDERS[loaded.rule.scope](loaded, facts)
    cases.frame = cases.frame.sort(*cases.key).with_row_index("_case") if "_case" not in cases.frame.columns else cases.frame
    return cases


# what a rule reads


def columns_of(loaded: LoadedRule, symbol: str) -> set[str]:
    """The attributes of a symbol that any expression of the rule reads, as paths below it."""
    paths = set().union(*(c.columns for c in loaded.compiled.values())) if loaded.compiled else set()
    return {p.split(".", 1)[1] for p in paths if p.startswith(f"{symbol}.")}


def elements_of(loaded: LoadedRule, path: str) -> set[str]:
    """The attributes of the elements of a collection that any comprehension or flag reads."""
    names = set()
    for compiled in loaded.compiled.values():
        for aggregate in compiled.aggregates:
            if aggregate.collection == path:
                names |= {c.split(".", 1)[1] for c in aggregate.columns}
    for role, collection in loaded.elements.items():
        if collection == path:
            names |= {c.split(".", 1)[1] for c in loaded.compiled[f"flag.{role}"].element}
    return names


def collections_of(loaded: LoadedRule) -> list[str]:
    """Every collection path the rule reads."""
    used = {a.collection for c in loaded.compiled.values() for a in c.aggregates}
    return sorted(used | set(loaded.elements.values()))


def named_items(loaded: LoadedRule) -> list[str] | None:
    """The items that lines of the rule must have, where its expressions say so; else None."""
    found: set[str] = set()
    expressions = []
    for name, rule in loaded.parsed.items():
        if name.startswith("flag."):
            expressions.append(rule.statement.expression)
        elif name == "when" and loaded.rule.scope == "line":
            expressions.append(rule.statement.expression)
        for node in walk(rule.statement.expression):
            if isinstance(node, ast.ComprehensionExpression) and _is_lines(node.iterable):
                if node.condition is None:
                    return None
                expressions.append(node.condition)
    if not expressions:
        return None
    for expression in expressions:
        items = _items(expression, loaded)
        if items is None:
            return None
        found |= items
    return sorted(found)


def _is_lines(node) -> bool:
    return isinstance(node, ast.GetAttributeExpression) and node.name == "lines"


def _items(node, loaded: LoadedRule) -> set[str] | None:
    if isinstance(node, ast.LogicExpression):
        left, right = _items(node.left, loaded), _items(node.right, loaded)
        if node.type == "and":
            return left if right is None else right if left is None else left & right
        return None if left is None or right is None else left | right
    if isinstance(node, ast.ContainsExpression) and _is_item(node.member):
        if isinstance(node.container, ast.SymbolExpression) and node.container.name in loaded.setting.sets:
            return set(loaded.setting.sets[node.container.name])
        if isinstance(node.container, ast.ArrayExpression | ast.SetExpression):
            return {member.value for member in node.container.value}
    if isinstance(node, ast.ComparisonExpression) and node.type == "eq":
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if _is_item(one) and isinstance(other, ast.StringExpression):
                return {other.value}
    return None


def _is_item(node) -> bool:
    return isinstance(node, ast.GetAttributeExpression) and node.name == "item"


# joined tables


def joined_rows(loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The rows of the joined table that belong to the rule, columns named `alias.name`, with `_row`, `_from`, `_to`."""
    join = loaded.rule.join
    rows = facts.knowledge[join.table].with_row_index("_row")
    if "rule" in rows.columns:
        number = loaded.rule.number
        mine = pl.col("rule").is_null() if number is None else pl.col("rule") == number
        rows = rows.filter(mine)
    attributes = loaded.setting.joined[join.alias]
    columns = {c: f"{join.alias}.{ROW_NAMES.get(c, c)}" for c in rows.columns if ROW_NAMES.get(c, c) in attributes}
    texts = [c for c in columns if attributes[ROW_NAMES.get(c, c)].kind == "texts"]
    barred = [pl.concat_str(pl.lit("|"), pl.col(c).fill_null(""), pl.lit("|")) .alias(c) for c in texts]
    dates = [c for c in columns if rows.schema[c] == pl.Date]
    rows = rows.with_columns(_from="begndate", _to="enddate").with_columns(*barred, pl.col(dates).cast(DAY))
    rows = rows.select("_row", "_from", "_to", *(pl.col(c).alias(n) for c, n in columns.items()))
    where = loaded.compiled.get("join.where")
    return rows.filter(where.value) if where is not None and where.columns <= set(columns.values()) else rows


def _join_keys(loaded: LoadedRule, side: str = "") -> tuple[list[str], list[str]]:
    """(row columns, line attributes) of the keys that concern one side (`a`, `b`) or any."""
    alias = loaded.rule.join.alias
    pairs = [(f"{alias}.{ROW_NAMES.get(c, c)}", p) for c, p in loaded.rule.join.keys.items()]
    chosen = [(c, p.split(".", 1)[1]) for c, p in pairs if not side or p.startswith(f"{side}.")]
    return [c for c, _ in chosen], [a for _, a in chosen]


def lines_with_rows(loaded: LoadedRule, facts: Facts, names: set[str]) -> pl.DataFrame:
    """Lines with the table rows that name them, in force on the day of service."""
    rows = joined_rows(loaded, facts)
    row_keys, attributes = _join_keys(loaded)
    items = rows[row_keys[attributes.index("item")]].unique().to_list() if "item" in attributes else None
    lines = facts.lines(names | set(attributes), items)
    lines = lines.join(rows, left_on=attributes, right_on=row_keys, how="inner", maintain_order="left", coalesce=False)
    return lines.filter(in_force(pl.col("date").cast(pl.Date))).drop("_from", "_to")


def prefixed(frame: pl.DataFrame, symbol: str, names) -> list[pl.Expr]:
    return [pl.col(n).alias(f"{symbol}.{n}") for n in sorted(names)]


def add_visit(frame: pl.DataFrame, loaded: LoadedRule, facts: Facts, key: str = "_visit") -> pl.DataFrame:
    """The frame with the `visit.` columns the rule reads."""
    names = {n for n in columns_of(loaded, "visit") if "." not in n}
    visits = facts.visits(names)
    own = visits.select(pl.col("id").alias(key), *prefixed(visits, "visit", names))
    return frame.join(own, on=key, how="left", maintain_order="left")


# scopes


def _line(loaded: LoadedRule, facts: Facts) -> Cases:
    names = columns_of(loaded, "line")
    if loaded.rule.join:
        lines = lines_with_rows(loaded, facts, names)
    else:
        lines = facts.lines(names, named_items(loaded))
    alias = f"{loaded.rule.join.alias}." if loaded.rule.join else "\0"
    own = [c for c in lines.columns if c.startswith(alias) or c == "_row"]
    frame = lines.select(*LINE_KEYS, *prefixed(lines, "line", names), *own)
    frame = add_visit(frame, loaded, facts)
    return Cases(frame, {}, ("id", *(["_row"] if "_row" in own else [])))


def _line_pair(loaded: LoadedRule, facts: Facts) -> Cases:
    a_names, b_names = columns_of(loaded, "a"), columns_of(loaded, "b")
    equal = _equalities(loaded)
    extra = {n for n, _ in equal} | {n for _, n in equal}
    same, join = loaded.rule.same, loaded.rule.join
    within = "_person" if same == "person" else "_visit"
    ordered = join is None or not _join_keys(loaded, "a")[0] or not _join_keys(loaded, "b")[0]
    if join:
        rows = joined_rows(loaded, facts)
        a_rows, a_attributes = _join_keys(loaded, "a")
        b_rows, b_attributes = _join_keys(loaded, "b")
        if not b_rows:
            b_rows, b_attributes = a_rows, a_attributes
        a = facts.lines(a_names | extra, rows[a_rows[0]].unique().to_list())
        b = facts.lines(b_names | extra, rows[b_rows[0]].unique().to_list())
        a = _side(a, "a", a_names | extra).join(rows, left_on=[f"a.{n}" for n in a_attributes], right_on=a_rows, coalesce=False)
        b = _side(b, "b", b_names | extra).join(
            rows.select("_row", *b_rows), left_on=[f"b.{n}" for n in b_attributes], right_on=b_rows, coalesce=False
        ).drop(b_rows)  # fmt: skip
        on = ["_row"]
    else:
        a = _side(facts.lines(a_names | extra, _side_items(loaded, "a")), "a", a_names | extra)
        b = _side(facts.lines(b_names | extra, _side_items(loaded, "b")), "b", b_names | extra)
        on = []
    a, b = _shrunk_side(a, "a", loaded), _shrunk_side(b, "b", loaded)
    left = [f"a.{within}", *(f"a.{x}" for x, _ in equal), *on]
    right = [f"b.{within}", *(f"b.{y}" for _, y in equal), *on]
    pairs = a.join(b, left_on=left, right_on=right, how="inner", coalesce=False).filter(pl.col("a.id") != pl.col("b.id"))
    if join:
        pairs = pairs.filter(in_force(pl.col("b.date").cast(pl.Date)))
    if ordered:
        earlier = (pl.col("a.time") < pl.col("b.time")) | (
            (pl.col("a.time") == pl.col("b.time")) & (pl.col("a.id") < pl.col("b.id"))
        )
        pairs = pairs.filter(earlier)
    pairs = pairs.filter(_in_window(pairs, loaded))
    keys = [pl.col(f"b.{c}").alias(c) for c in LINE_KEYS if c not in ("_row",)]
    frame = pairs.with_columns(*keys, _other=pl.col("a.id"), _other_visit=pl.col("a._visit"))
    frame = add_visit(frame, loaded, facts)
    return Cases(frame, {}, ("id", "_other", *(["_row"] if join else [])))


def _side(lines: pl.DataFrame, symbol: str, names: set[str]) -> pl.DataFrame:
    return lines.select(*prefixed(lines, symbol, {*LINE_KEYS, *names}))


def _side_items(loaded: LoadedRule, symbol: str) -> list[str] | None:
    """The items that `when` demands of one line of the pair; None where it demands none."""
    of_side = [
        node for node in conjuncts(loaded.parsed["when"].statement.expression)
        if {n.name for n in walk(node) if isinstance(n, ast.SymbolExpression)} & {"a", "b"} == {symbol}
    ]  # fmt: skip
    named = [items for node in of_side if (items := _items(node, loaded)) is not None]
    return sorted(set.intersection(*named)) if named else None


def _shrunk_side(lines: pl.DataFrame, symbol: str, loaded: LoadedRule) -> pl.DataFrame:
    """Only the lines for which no part of `when` that speaks of them alone is already false."""
    for test in loaded.cheap:
        names = test.meta.root_names()
        if names and all(n.startswith(f"{symbol}.") for n in names):
            lines = lines.filter(test)
    return lines


def _equalities(loaded: LoadedRule) -> list[tuple[str, str]]:
    """(attribute of a, attribute of b) that `when` demands to be equal: they become join keys."""
    found = []
    for node in conjuncts(loaded.parsed["when"].statement.expression):
        if isinstance(node, ast.ComparisonExpression) and node.type == "eq":
            sides = {}
            for side in (node.left, node.right):
                path = _path(side)
                if path and path[0] in ("a", "b"):
                    sides[path[0]] = ".".join(path[1:])
            if len(sides) == 2:
                found.append((sides["a"], sides["b"]))
    return found


def _path(node) -> list[str] | None:
    if isinstance(node, ast.SymbolExpression):
        return [node.name]
    if isinstance(node, ast.GetAttributeExpression):
        inner = _path(node.object)
        return inner and [*inner, node.name]
    return None


def _in_window(pairs: pl.DataFrame, loaded: LoadedRule) -> pl.Expr:
    """Do the two lines fall into the window of the rule or of the table row?"""
    gap = (pl.col("a.time") - pl.col("b.time")).abs()
    same_day = pl.col("a.date") == pl.col("b.date")
    # A time without minutes says only the clock hour.
    bare = (pl.col("a.time").dt.minute() == 0) | (pl.col("b.time").dt.minute() == 0)
    same_hour = pl.col("a.time").dt.truncate("1h") == pl.col("b.time").dt.truncate("1h")
    tests = {
        "hour": (gap < HOUR) | (bare & same_hour),
        "6h": gap <= SIX_HOURS,
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


def _visit(loaded: LoadedRule, facts: Facts) -> Cases:
    names = {n for n in columns_of(loaded, "visit") if "." not in n} | {"hospital"}
    visits = facts.visits(names)
    base = visits.select(pl.col("id").alias("_visit"), "person", _hospital="hospital", *prefixed(visits, "visit", names))
    key, members = ("_visit",), {}
    needs_lines = "visit.lines" in collections_of(loaded)
    line_names = elements_of(loaded, "visit.lines")
    if loaded.rule.join and loaded.rule.join.keys:
        lines = lines_with_rows(loaded, facts, line_names)
        by = _by(loaded)
        alias = f"{loaded.rule.join.alias}."
        own = [c for c in lines.columns if c.startswith(alias) and c not in by]
        rows = lines.select("_visit", *by, *own).unique(
            ["_visit", *by], keep="first", maintain_order=True
        )
        frame = rows.join(base, on="_visit", how="inner", maintain_order="left")
        frame = frame.sort("_visit", *by).with_row_index("_case")
        members["visit.lines"] = lines.join(frame.select("_case", "_visit", *by), on=["_visit", *by], how="inner")
        return _with_others(Cases(frame, members, ("_visit", *by)), loaded, facts)
    if loaded.rule.join:
        rows = joined_rows(loaded, facts).drop("_from", "_to")
        base, key = base.join(rows, how="cross"), ("_visit", "_row")
        if "join.where" in loaded.compiled:  # what speaks of the visit as well as of the row
            base = base.filter(loaded.compiled["join.where"].value)
    if needs_lines:
        items = named_items(loaded)
        lines = facts.lines(line_names, items)
        if loaded.elements.get("excess") == "visit.lines" and not loaded.rule.join:
            flagged = lines.filter(holds(lines, loaded.compiled["flag.excess"])) if _element_only(loaded) else lines
            base = base.join(flagged.select("_visit").unique(), on="_visit", how="semi", maintain_order="left")
    base = _shrunk(base, loaded)
    frame = base.sort(*key).with_row_index("_case")
    if needs_lines:
        members["visit.lines"] = lines.join(frame.select("_case", "_visit"), on="_visit", how="inner")
    return _with_others(Cases(frame, members, key), loaded, facts)


def _by(loaded: LoadedRule) -> list[str]:
    join = loaded.rule.join
    return [f"{join.alias}.{n}" for n in join.by] if join.by else ["_row"]


def _element_only(loaded: LoadedRule) -> bool:
    return not loaded.compiled["flag.excess"].columns and not loaded.compiled["flag.excess"].aggregates


def holds(elements: pl.DataFrame, compiled, outer: pl.DataFrame | None = None) -> pl.Series:
    """For each element (bare columns, `_case`), whether a compiled flag holds; `outer` has the case's columns."""
    frame = elements.select("_case" if "_case" in elements.columns else [], *_named(compiled.element))
    if outer is not None and (compiled.columns or compiled.aggregates):
        needed = sorted(compiled.columns | {a.name for a in compiled.aggregates})
        frame = frame.join(outer.select("_case", *needed), on="_case", how="left", maintain_order="left")
    return frame.with_columns(compiled.value.alias("_holds"))["_holds"].fill_null(False)


def _named(paths) -> list[pl.Expr]:
    """Bare columns under the names a comprehension gives them: `item` as `l.item`."""
    return [pl.col(path.split(".", 1)[1]).alias(path) for path in sorted(paths)]


def _shrunk(frame: pl.DataFrame, loaded: LoadedRule) -> pl.DataFrame:
    """Only the cases for which no cheap part of `when` is already false."""
    for test in loaded.cheap:
        frame = frame.filter(test)
    return frame


def _with_others(cases: Cases, loaded: LoadedRule, facts: Facts) -> Cases:
    """The diagnoses, procedures and other visits of the person, where the rule reads them."""
    wanted = collections_of(loaded)
    key = cases.frame.select("_case", "_visit", "person")
    for path, kind in (("visit.diagnoses", "diagnosis"), ("visit.procedures", "procedure")):
        if path in wanted:
            elements = facts.elements(kind, elements_of(loaded, path))
            cases.members[path] = elements.join(key.select("_case", "_visit"), on="_visit", how="inner")
    if "visit.others" in wanted:
        names = elements_of(loaded, "visit.others")
        others = facts.visits(names | {"admission"})
        others = others.with_columns(_other=pl.col("id"), _visit2=pl.col("id"))
        joined = key.join(others, on="person", how="inner").filter(pl.col("_other") != pl.col("_visit"))
        cases.members["visit.others"] = joined.drop("_visit").rename({"_visit2": "_visit"})
    return cases


def _day(loaded: LoadedRule, facts: Facts) -> Cases:
    """visit_day and person_day: the lines of one visit, or of one person, on one day."""
    owner = "_visit" if loaded.rule.scope == "visit_day" else "_person"
    names = elements_of(loaded, "day.lines")
    if loaded.rule.join:
        lines, by = lines_with_rows(loaded, facts, names), _by(loaded)
    else:
        lines, by = facts.lines(names, named_items(loaded)), []
    alias = f"{loaded.rule.join.alias}." if loaded.rule.join else "\0"
    own = [c for c in lines.columns if c.startswith(alias) and c not in by]
    key = [owner, "date", *by]
    judged = lines
    if "flag.excess" in loaded.compiled and _element_only(loaded):
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
        frame = _add_person(frame, loaded, facts)
    if "dialysis_records" in columns_of(loaded, "day"):
        frame = facts.dialysis_records(frame)
    lists = {"day.lines": members}
    if "visit.lines" in collections_of(loaded):
        whole = facts.lines(elements_of(loaded, "visit.lines"), named_items(loaded))
        lists["visit.lines"] = whole.join(frame.select("_case", "_visit"), on="_visit", how="inner")
    return Cases(frame, lists, tuple(key))


def _add_person(frame: pl.DataFrame, loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    names = columns_of(loaded, "person")
    if "sex" in names:
        sexes = facts.visits({"sex"}).group_by("person").agg(pl.col("sex").drop_nulls().min())
        frame = frame.join(sexes.rename({"person": "_person", "sex": "person.sex"}), on="_person", how="left")
    return frame.with_columns(pl.col("_person").alias("person.id"))


def _person_window(loaded: LoadedRule, facts: Facts) -> Cases:
    """Windows of some days ending on each day of service; judged in rounds by judge.py."""
    names = elements_of(loaded, "window.lines") | set(loaded.rule.by)
    lines = lines_with_rows(loaded, facts, names) if loaded.rule.join else facts.lines(names, named_items(loaded))
    if "flag.excess" in loaded.compiled and _element_only(loaded):
        lines = lines.filter(holds(lines, loaded.compiled["flag.excess"]))
    by = [*loaded.rule.by, *(_by(loaded) if loaded.rule.join else [])]
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
    frame = _add_person(frame, loaded, facts)
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
    "line_pair": _line_pair,
    "visit": _visit,
    "visit_day": _day,
    "person_day": _day,
    "person_window": _person_window,
    "department": _department,
    "store_item": _store_item,
}
assert set(BUILDERS) <= set(scopes())
