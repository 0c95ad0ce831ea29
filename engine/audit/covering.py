"""What could not be judged, and why: a table is not given, a field is blank throughout, a day lies outside coverage.

`table_coverage` says for each table which institutions and days it holds completely. Of a table it does not speak of,
what the bundle holds counts as complete.
"""

import polars as pl

from engine.audit.facts import Facts
from engine.audit.needs import FACT_TABLES, leaned_on
from engine.audit.plain import DAY
from engine.language.rule import LoadedRule
from engine.language.vocabulary import objects, tables_behind
from engine.tables.dictionary import tables as dictionary

DAYS = ("date", "_moment", "_period")


def uncovered(loaded: LoadedRule, facts: Facts, frame: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The cases (`_case`) that lie outside what some table the rule concludes from holds, and that table."""
    if facts.coverage.is_empty() and "table_coverage" not in facts.tables:
        return frame.select("_case").clear(), ""
    spoken = set(facts.table("table_coverage")["table"])
    named = [name for name in leaned_on(loaded) if name in spoken]
    if not named or "_hospital" not in frame.columns:
        return frame.select("_case").clear(), ""
    cases = _dated(frame, facts)
    for name in named:
        rows = facts.coverage.filter(pl.col("table") == name)
        rows = rows.select(pl.col("begndate").cast(DAY), pl.col("enddate").cast(DAY), site="fixmedins_code")
        near = cases.join(rows, left_on="_hospital", right_on="site")
        everywhere = cases.join(rows.filter(pl.col("site") == "*").drop("site"), how="cross")
        inside = pl.concat([near, everywhere.select(near.columns)]).filter(
            (pl.col("_first").is_null() | (pl.col("begndate") <= pl.col("_first")))
            & (pl.col("_last").is_null() | (pl.col("_last") <= pl.col("enddate")))
        )
        outside = cases.join(inside, on="_case", how="anti")
        if outside.height:
            return outside.select("_case"), name
    return frame.select("_case").clear(), ""


def _dated(frame: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """(_case, _hospital, _first, _last): the days a case is about; of a store no day is said."""
    day = next((pl.col(name).cast(DAY) for name in DAYS if name in frame.columns), None)
    if day is None and "_visit" in frame.columns:
        visits = facts.visits({"admit_date", "discharge_date"}).select("admit_date", "discharge_date", _visit="id")
        frame = frame.join(visits, on="_visit", how="left", maintain_order="left")
        last = pl.coalesce("discharge_date", "admit_date")
        return frame.select("_case", "_hospital", _first="admit_date", _last=last)
    day = pl.lit(None, DAY) if day is None else day
    return frame.select("_case", "_hospital", _first=day, _last=day)


def unknown(loaded: LoadedRule, facts: Facts) -> tuple[str, str]:
    """(reason, detail) of cases that lack what `known` asks for: a table that is not given, else the fields that are
    blank throughout, else the words of which a value is missing here and there.

    Named is what it asks of the case itself; tables and fields of lists, and words of a joined row, only where it asks
    nothing else.
    """
    if "known" not in loaded.compiled:
        return "value_missing", "when"
    known = loaded.compiled["known"]
    listed = known.element.union(*(a.columns for a in known.aggregates))
    own = {path for path in known.columns if path.split(".", 1)[0] not in loaded.setting.joined}
    paths = sorted(own or listed)
    fields = [field for field in map(_field, paths) if field]
    told = [FACT_TABLES.get(path.rsplit(".", 1)[-1], "claims") for path in paths] + [table for table, _ in fields]
    for table in told:
        if table not in facts.tables:
            return "missing_table", table
    blank = [f"{table}.{field}" for table, field in fields if not _filled(facts.tables[table], field)]
    if blank:
        return "missing_field", ", ".join(dict.fromkeys(blank))
    words = (path.rsplit(".", 1)[-1] for path in sorted(own or known.columns or listed))
    return "value_missing", ", ".join(dict.fromkeys(words))


def _filled(rows: pl.DataFrame, field: str) -> bool:
    return field in rows.columns and rows[field].null_count() < rows.height


def _field(path: str) -> tuple[str, str] | None:
    """The table and field that the last word of a path is, where it is one."""
    word = path.rsplit(".", 1)[-1]
    for kind, behind in tables_behind().items():
        attribute = objects()[kind].get(word)
        if attribute and attribute.field and attribute.field in dictionary()[behind.table].fields:
            return behind.table, attribute.field
    return None
