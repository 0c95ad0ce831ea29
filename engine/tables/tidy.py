"""Odd forms in text columns: invisible characters, full-width codes, formula text, digits a spreadsheet lost.

Only rows marked `_odd` by one pass over the raw line are looked at, field by field.
"""

import re

import polars as pl

from engine.tables import dictionary, reasons, values
from engine.tables.profiles import FileMap, targets
from engine.tables.shaped import Shaped

TRACE = "drug_trac_codg"
UNUSED = dictionary.Field("", "", "text", "-", "")


def tidy(raw: pl.DataFrame, file: FileMap, name: str, out: Shaped) -> pl.DataFrame:
    """The rows with clean text; what was odd goes to `out`."""
    odd = raw.filter("_odd")
    if odd.is_empty():
        return raw
    feeds, changed = targets(file), {}
    for column in (c for c in raw.columns if not c.startswith("_") and raw.schema[c] == pl.String):
        target = feeds.get(column, UNUSED)
        # a trace code event keeps its code as scanned: judging it belongs to the trace checks
        if target.type == "text" and not (target.name == TRACE and target.table == "trace_codes"):
            after = _column(odd, column, target, name, out)
            if not after.equals(odd[column]):
                changed[column] = after
    fixed = odd.select("_line", *(series.alias(c) for c, series in changed.items()))
    joined = raw.join(fixed, on="_line", how="left", suffix="_fixed", maintain_order="left")
    kept = [pl.when("_odd").then(f"{c}_fixed").otherwise(c).alias(c) for c in changed]
    return joined.with_columns(kept).drop(f"{c}_fixed" for c in changed)


def _column(odd: pl.DataFrame, column: str, target: dictionary.Field, name: str, out: Shaped) -> pl.Series:
    code = bool(re.search(values.CODE_FIELD, target.name))
    after = values.clean_code(pl.col(column)) if code else values.clean_text(pl.col(column))
    if target.name == "certno":
        after = after.str.replace(r"^(\d{17})x$", "${1}X")
    frame = odd.select("_line", before=column, after=after, plain=values.clean_text(pl.col(column)))
    lost = _lost(target) if code or target.name == TRACE else pl.lit(None, pl.String)
    frame = frame.with_columns(lost=lost, absent=pl.col("plain").is_in(values.ABSENT))
    shown = reasons.masked(pl.col("before"))
    plain = pl.col("plain")
    out.warn(frame.filter(plain != pl.col("before")), name, column, "W_SPACE", shown)
    out.warn(frame.filter("absent"), name, column, "W_BAD_VALUE", shown)
    widened = pl.col("after").str.to_uppercase() != plain.str.to_uppercase()
    out.warn(frame.filter(widened), name, column, "W_FULLWIDTH", shown)
    if target.name == "certno":
        out.warn(frame.filter(plain.str.contains(r"^\d{17}x$")), name, column, "W_ID_LOWER_X", shown)
    if not code:
        out.warn(frame.filter(plain.str.contains(values.FORMULA)), name, column, "W_FORMULA", shown)
    for why in ("E_SCI_NOTATION", "E_PRECISION_LOST"):
        # a row stands without its trace code, but not without the code that says what or whose it is
        set_aside = target.mark in "KRC" and target.name != TRACE
        (out.reject if set_aside else out.warn)(
            frame.filter(pl.col("lost") == why), name, column, why, pl.col("before")
        )
    kept = pl.col("lost").is_null() & (pl.col("after") != "") & ~pl.col("absent")
    return frame.select(pl.when(kept).then("after").alias(column)).to_series()


def _lost(target: dictionary.Field) -> pl.Expr:
    """The reason code of a value whose digits a spreadsheet has thrown away, else null."""
    after = pl.col("after")
    zeros = after.str.contains(values.ZEROS) if target.name == TRACE else pl.lit(False)
    scientific = after.str.contains(values.SCIENTIFIC)
    return pl.when(scientific).then(pl.lit("E_SCI_NOTATION")).when(zeros).then(pl.lit("E_PRECISION_LOST"))
