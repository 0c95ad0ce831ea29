"""What is said of the elements of a case's lists, as columns of the case: sums, counts, any, all, least, greatest."""

import polars as pl

from engine.audit.frames import Cases
from engine.language.compile import Aggregate
from engine.language.rule import LoadedRule


def with_aggregates(loaded: LoadedRule, cases: Cases) -> pl.DataFrame:
    """The case frame with one column per list sum."""
    return summed(cases.frame, cases, aggregates_of(loaded))


def aggregates_of(loaded: LoadedRule) -> list[Aggregate]:
    seen = {a.name: a for c in loaded.compiled.values() for a in c.aggregates}
    return [seen[name] for name in sorted(seen, key=lambda n: int(n[1:]))]


def summed(frame: pl.DataFrame, cases: Cases, aggregates: list[Aggregate]) -> pl.DataFrame:
    for aggregate in aggregates:
        frame = _with_aggregate(frame, cases.members[aggregate.collection], aggregate)
    return frame


def _with_aggregate(frame: pl.DataFrame, elements: pl.DataFrame, aggregate: Aggregate) -> pl.DataFrame:
    named = [pl.col(c.split(".", 1)[1]).alias(c) for c in sorted(aggregate.columns)]
    rows = elements.select("_case", *named)
    if aggregate.outer:
        rows = rows.join(frame.select("_case", *sorted(aggregate.outer)), on="_case", how="left")
    value = pl.lit(1) if aggregate.value is None else aggregate.value
    rows = rows.select("_case", where=aggregate.where.fill_null(False), value=value)
    if aggregate.how == "all":
        rows = rows.filter("where").select("_case", value=~pl.col("value"))
    else:
        rows = rows.filter("where").drop("where")
    reduced = rows.group_by("_case").agg(REDUCE[aggregate.how].alias(aggregate.name))
    frame = frame.join(reduced, on="_case", how="left", maintain_order="left")
    column = pl.col(aggregate.name)
    empty = {"sum": 0, "count": 0, "distinct": 0, "any": False, "all": True}
    return frame.with_columns(column.fill_null(empty[aggregate.how])) if aggregate.how in empty else frame


REDUCE = {
    "sum": pl.col("value").sum(),
    "min": pl.col("value").min(),
    "max": pl.col("value").max(),
    "any": pl.col("value").any(),
    "all": ~pl.col("value").any(),
    "count": pl.len(),
    "distinct": pl.col("value").n_unique(),
}
