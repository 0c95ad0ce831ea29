"""Values of compiled expressions: exact numbers, times, texts, and Python's truth.

Numbers are Int64 or decimals whose scale is known when the rule is loaded, so no step rounds: Polars multiplies at the
larger scale of both sides, hence one side is widened first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from engine.language.expression import ExpressionProblem

QUOTIENT_SCALE = 18  # decimal places of a quotient, and the most an exact product may have
NO = pl.lit(False)


@dataclass
class Value:
    """A compiled node: what it is worth, where it raises, its kind (number, text, bool, time, span, null, texts, set,
    prefixes, object, rows), decimal places of a number, and whether it may be missing."""

    expr: pl.Expr | None
    kind: str
    scale: int | None = None
    nullable: bool = False
    raises: pl.Expr | None = None
    detail: object = None


OPERATORS = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}

PARTS: dict[tuple[str, str], tuple[str, Callable[[pl.Expr], pl.Expr]]] = {
    ("time", "date"): ("time", lambda e: e.dt.truncate("1d")),
    ("time", "year"): ("number", lambda e: e.dt.year().cast(pl.Int64)),
    ("time", "month"): ("number", lambda e: e.dt.month().cast(pl.Int64)),
    ("time", "day"): ("number", lambda e: e.dt.day().cast(pl.Int64)),
    ("time", "hour"): ("number", lambda e: e.dt.hour().cast(pl.Int64)),
    ("time", "minute"): ("number", lambda e: e.dt.minute().cast(pl.Int64)),
    ("time", "second"): ("number", lambda e: e.dt.second().cast(pl.Int64)),
    ("span", "days"): ("number", lambda e: e.dt.total_microseconds().floordiv(86_400_000_000)),
    ("text", "length"): ("number", lambda e: e.str.len_chars().cast(pl.Int64)),
    ("text", "as_upper"): ("text", lambda e: e.str.to_uppercase()),
    ("text", "as_lower"): ("text", lambda e: e.str.to_lowercase()),
}

NUMBER_SCALE = 6  # of counts, prices and days read from the tables


def number_literal(value: Decimal) -> Value:
    exponent = value.normalize().as_tuple().exponent
    scale = max(0, -exponent)
    if scale == 0:
        return Value(pl.lit(int(value), dtype=pl.Int64), "number", 0)
    return Value(pl.lit(value, dtype=pl.Decimal(38, scale)), "number", scale)


def yuan(fen: pl.Expr) -> pl.Expr:
    return fen.cast(pl.Decimal(38, 2)) * pl.lit(Decimal("0.01"), dtype=pl.Decimal(38, 2))


def widen(value: Value, scale: int) -> Value:
    return Value(value.expr.cast(pl.Decimal(38, scale)), "number", scale, value.nullable, value.raises, value.detail)


def product(left: Value, right: Value, raises) -> Value:
    scale = left.scale + right.scale
    if scale > QUOTIENT_SCALE:
        raise ExpressionProblem("the product has too many decimal places to stay exact", "*")
    if scale == 0:
        return Value(left.expr * right.expr, "number", 0, raises=raises)
    return Value(widen(left, scale).expr * right.expr, "number", scale, raises=raises)


def quotient(how: str, left: Value, right: Value, raises) -> Value:
    zero = right.expr == 0
    safe = pl.when(~zero).then(right.expr)
    raises = either(raises, zero)
    if how == "tdiv":
        return Value(widen(left, QUOTIENT_SCALE).expr / safe, "number", QUOTIENT_SCALE, raises=raises)
    scale = max(left.scale, right.scale)
    units = pl.Decimal(38, scale)
    exact = widen(left, scale).expr, pl.when(~zero).then(widen(right, scale).expr)
    whole = truncated(exact[0], exact[1])
    if how == "fdiv":
        return Value(whole, "number", 0, raises=raises)
    return Value((exact[0] - whole.cast(units) * exact[1]), "number", scale, raises=raises)


def truncated(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """a // b toward zero, as decimals do in Python."""
    size = (a.abs() // b.abs()).cast(pl.Int64)
    return pl.when((a < 0) != (b < 0)).then(-size).otherwise(size)


def moment(how: str, left: Value, right: Value, raises) -> Value:
    kinds = {("time", "sub", "time"): "span", ("time", "add", "span"): "time", ("time", "sub", "span"): "time",
             ("span", "add", "time"): "time", ("span", "add", "span"): "span", ("span", "sub", "span"): "span",
             ("text", "add", "text"): "text"}  # fmt: skip
    kind = kinds.get((left.kind, how, right.kind))
    if kind is None:
        raise ExpressionProblem(f"{left.kind} and {right.kind} cannot be combined so", how)
    return Value(left.expr + right.expr if how == "add" else left.expr - right.expr, kind, raises=raises)


def plain(number: pl.Expr) -> pl.Expr:
    """A number as text, without trailing zeros."""
    text = number.cast(pl.String)
    fraction = text.str.contains(".", literal=True)
    return pl.when(fraction).then(text.str.strip_chars_end("0").str.strip_chars_end(".")).otherwise(text)


def truth(value: Value) -> Value:
    """Python's truthiness: zero, empty text and null are false."""
    if value.kind == "bool":
        return value if not value.nullable else Value(value.expr.fill_null(False), "bool", raises=value.raises)
    tests = {"number": lambda e: e != 0, "text": lambda e: e != "", "time": lambda e: e.is_not_null(),
             "null": lambda e: NO, "span": lambda e: e != pl.duration(microseconds=0)}  # fmt: skip
    if value.kind not in tests:
        raise ExpressionProblem(f"a {value.kind} is neither true nor false", "")
    return Value(tests[value.kind](value.expr).fill_null(False), "bool", raises=value.raises)


def either(*conditions) -> pl.Expr | None:
    real = [c for c in conditions if c is not None]
    if not real:
        return None
    result = real[0]
    for condition in real[1:]:
        result = result | condition
    return result


def chosen(condition: pl.Expr, yes, no) -> pl.Expr | None:
    if yes is None and no is None:
        return None
    return pl.when(condition).then(NO if yes is None else yes).otherwise(NO if no is None else no)
