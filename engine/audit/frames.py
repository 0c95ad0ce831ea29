"""Frames of cases: rows that are judged, the elements of their collections, and the columns a rule reads of them."""

from dataclasses import dataclass, field

import polars as pl

from engine.audit.facts import Facts
from engine.audit.reads import columns_of
from engine.language.rule import LoadedRule

LINE_KEYS = (
    "id",
    "item",
    "date",
    "time",
    "cnt",
    "price",
    "_visit",
    "_person",
    "_hospital",
    "_cost",
    "_inscope",
    "_num",
)


@dataclass
class Cases:
    """Cases, the elements of their lists by path, the natural key; and by field, how many rows had no owner for want of
    it and so are in no case."""

    frame: pl.DataFrame
    members: dict[str, pl.DataFrame] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    unplaced: dict[str, int] = field(default_factory=dict)

    def some(self, chosen: pl.Series) -> "Cases":
        """The cases of some numbers, with what belongs to them."""
        kept = pl.col("_case").is_in(chosen.implode())
        return Cases(self.frame.filter(kept), {path: m.filter(kept) for path, m in self.members.items()}, self.key)


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


def prefixed(frame: pl.DataFrame, symbol: str, names) -> list[pl.Expr]:
    return [pl.col(n).alias(f"{symbol}.{n}") for n in sorted(names)]


def add_visit(frame: pl.DataFrame, loaded: LoadedRule, facts: Facts, key: str = "_visit") -> pl.DataFrame:
    """The frame with the `visit.` columns the rule reads."""
    names = columns_of(loaded, "visit")
    visits = facts.visits(names)
    own = visits.select(pl.col("id").alias(key), *prefixed(visits, "visit", names))
    return frame.join(own, on=key, how="left", maintain_order="left")
