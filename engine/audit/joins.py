"""Knowledge tables joined to lines: the rows that belong to a rule, in force on the day of service."""

import polars as pl

from engine.audit.derived import price_cap
from engine.audit.facts import Facts
from engine.audit.plain import DAY, in_force
from engine.audit.reads import named_items, paths_of, short
from engine.language.joined import INSTEAD_CAP, ROW_NAMES
from engine.language.rule import LoadedRule


def joined_rows(loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The rows of the joined table that belong to the rule, columns named `alias.name`, with `_row`, `_from`, `_to`."""
    if loaded.rule.id not in facts.joined:
        facts.joined[loaded.rule.id] = _rows(loaded, facts)
    return facts.joined[loaded.rule.id]


def _rows(loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    join = loaded.rule.join
    rows = facts.knowledge[join.table].with_row_index("_row")
    if "rule" in rows.columns:
        number = loaded.rule.number
        mine = pl.col("rule").is_null() if number is None else pl.col("rule") == number
        rows = rows.filter(mine)
    attributes = loaded.setting.joined[join.alias]
    columns = {c: f"{join.alias}.{ROW_NAMES.get(c, c)}" for c in rows.columns if ROW_NAMES.get(c, c) in attributes}
    texts = [c for c in columns if attributes[ROW_NAMES.get(c, c)].kind == "texts"]
    barred = [pl.concat_str(pl.lit("|"), pl.col(c).fill_null(""), pl.lit("|")).alias(c) for c in texts]
    dates = [c for c in columns if rows.schema[c] == pl.Date]
    rows = rows.with_columns(_from="begndate", _to="enddate").with_columns(*barred, pl.col(dates).cast(DAY))
    rows = rows.select("_row", "_from", "_to", *(pl.col(c).alias(n) for c, n in columns.items()))
    where = loaded.compiled.get("join.where")
    return rows.filter(where.value) if where is not None and where.columns <= set(columns.values()) else rows


def join_keys(loaded: LoadedRule, side: str = "") -> tuple[list[str], list[str]]:
    """(row columns, line attributes) of the keys that concern one side (`a`, `b`) or any."""
    alias = loaded.rule.join.alias
    pairs = [(f"{alias}.{ROW_NAMES.get(c, c)}", p) for c, p in loaded.rule.join.keys.items()]
    chosen = [(c, short(p.split(".", 1)[1])) for c, p in pairs if not side or p.startswith(f"{side}.")]
    return [c for c, _ in chosen], [a for _, a in chosen]


def lines_with_rows(loaded: LoadedRule, facts: Facts, names: set[str]) -> pl.DataFrame:
    """Lines with the table rows that name them, in force on the day of service."""
    rows = joined_rows(loaded, facts)
    row_keys, attributes = join_keys(loaded)
    items = rows[row_keys[attributes.index("item")]].unique().to_list() if "item" in attributes else None
    lines = facts.lines(names | set(attributes), items)
    lines = lines.join(rows, left_on=attributes, right_on=row_keys, how="inner", maintain_order="left", coalesce=False)
    lines = lines.filter(in_force(pl.col("date").cast(pl.Date))).drop("_from", "_to")
    return _with_instead_cap(lines, loaded, facts)


def _with_instead_cap(lines: pl.DataFrame, loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The lines with the ceiling price of what a row says should have been charged, where the rule reads it."""
    alias = loaded.rule.join.alias
    if f"{alias}.{INSTEAD_CAP.name}" not in {path for c in loaded.compiled.values() for path in paths_of(c)}:
        return lines
    asked = lines.select("_visit", "date", item=f"{alias}.instead").with_row_index("_n")
    priced = price_cap(asked, facts)["price_cap"]
    return lines.with_columns(priced.alias(f"{alias}.{INSTEAD_CAP.name}"))


def lines_named(loaded: LoadedRule, facts: Facts, names: set[str]) -> pl.DataFrame:
    """The lines a rule may speak of: with the table rows that name them where it joins a table, else by its items."""
    return lines_with_rows(loaded, facts, names) if loaded.rule.join else facts.lines(names, named_items(loaded))


def by_columns(loaded: LoadedRule) -> list[str]:
    join = loaded.rule.join
    return [f"{join.alias}.{n}" for n in join.by] if join.by else ["_row"]


def named_once(loaded: LoadedRule, rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The elements of cases (`keys`), each once: a line that several rows of one group name is one line."""
    if not (loaded.rule.join and loaded.rule.join.by):
        return rows
    return rows.unique([*keys, "id"], keep="first", maintain_order=True)


def row_columns(loaded: LoadedRule, frame: pl.DataFrame) -> list[str]:
    """The columns of the joined row in a frame of lines; none where the rule joins no table."""
    return [c for c in frame.columns if loaded.rule.join and c.startswith(f"{loaded.rule.join.alias}.")]
