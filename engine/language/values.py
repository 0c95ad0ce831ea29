"""Values of compiled expressions: what a part is worth, where it raises, and Python's truth of it.

Where the interpreter raises, the compiled rule answers *not evaluated* and nothing else, so every value carries the
condition under which it raises. A value that raises may hold anything: nothing looks at it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import polars as pl

from engine.language.expression import ExpressionProblem
from engine.language.refusals import a

YES, NO = pl.lit(True), pl.lit(False)
CALENDAR = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # years 1 to 9999, in microseconds since 1970
LONGEST_SPAN = CALENDAR[1] - CALENDAR[0]


@dataclass
class Value:
    """A compiled part of an expression.

    `kind` is number, text, bool, time, span, null or texts; or what has no column of its own: set (written out, the
    members in `literal`), array (its Members in `detail`), object, rows, distinct and params. `scale` and `size` are
    of numbers: decimal places, and the most units of that place there can be; of spans `size` is microseconds.
    `literal` is the value itself where it is known when the rule is loaded.
    """

    expr: pl.Expr | None
    kind: str
    scale: int = 0
    size: int = 0
    nullable: bool = False
    raises: pl.Expr | None = None
    detail: object = None
    literal: object = None


@dataclass
class Member:
    """One member of an array written out: its value, and whether the array has it (None: always)."""

    value: Value
    where: pl.Expr | None = None


def either(*conditions: pl.Expr | None) -> pl.Expr | None:
    """Whether any of some conditions holds; None stands for one that never does."""
    real = [c for c in conditions if c is not None]
    return pl.any_horizontal(real) if len(real) > 1 else real[0] if real else None


def both(*conditions: pl.Expr | None) -> pl.Expr | None:
    """Whether all of some conditions hold; None stands for one that always does."""
    real = [c for c in conditions if c is not None]
    return pl.all_horizontal(real) if len(real) > 1 else real[0] if real else None


def only_if(condition: pl.Expr, raises: pl.Expr | None) -> pl.Expr | None:
    """Where a part raises that is looked at only under a condition."""
    return None if raises is None else condition & raises


def plain(number: pl.Expr) -> pl.Expr:
    """A number as text, without trailing zeros."""
    text = number.cast(pl.String)
    fraction = text.str.contains(".", literal=True)
    return pl.when(fraction).then(text.str.strip_chars_end("0").str.strip_chars_end(".")).otherwise(text)


def truth(value: Value) -> Value:
    """Python's truthiness: zero, empty text, an empty list and null are false."""
    if value.kind == "set":
        return Value(pl.lit(bool(value.literal)), "bool")
    if value.kind == "array":
        has = [YES if m.where is None else m.where for m in value.detail]
        return Value(pl.any_horizontal(has) if has else NO, "bool", raises=value.raises)
    if value.kind not in TRUTH:
        raise ExpressionProblem(f"{a(value)} 无真假 is neither true nor false", hint="例如 such as .length")
    expr = TRUTH[value.kind](value.expr)
    return Value(expr.fill_null(False) if value.nullable else expr, "bool", raises=value.raises)


TRUTH: dict[str, Callable[[pl.Expr | None], pl.Expr]] = {
    "bool": lambda e: e,
    "number": lambda e: e != 0,
    "text": lambda e: e != "",
    "texts": lambda e: e.str.contains("[^|]"),
    "time": lambda e: e.is_not_null(),
    "span": lambda e: e != pl.duration(),
    "object": lambda e: YES if e is None else e.is_not_null(),
    "null": lambda e: NO,
}


def same(left: Value, right: Value) -> pl.Expr:
    """Python's == of two values that are no numbers; two missing values are the same."""
    if left.kind != right.kind:
        return left.expr.is_null() & right.expr.is_null() if "null" in (left.kind, right.kind) else NO
    return left.expr.eq_missing(right.expr)


# times


def moved(how: str, left: Value, right: Value) -> Value:
    """Adding and subtracting times and spans, and joining texts. A time stays within the years 1 to 9999."""
    kind = SUMS.get((left.kind, how, right.kind))
    if kind is None:
        raise ExpressionProblem(f"类型不符 types do not fit: {a(left)}, {a(right)}", code="E_TYPE")
    expr = left.expr + right.expr if how == "add" else left.expr - right.expr
    raises = either(left.raises, right.raises)
    if kind == "time":
        at = expr.dt.epoch("us")
        raises = either(raises, ~at.is_between(*CALENDAR))
    size = LONGEST_SPAN if (left.kind, right.kind) == ("time", "time") else left.size + right.size
    if kind == "span" and size > 8 * LONGEST_SPAN:
        raise ExpressionProblem("时长过长 longer than time is counted")
    return Value(expr, kind, size=size, raises=raises)


SUMS = {("time", "sub", "time"): "span", ("time", "add", "span"): "time", ("time", "sub", "span"): "time",
        ("span", "add", "time"): "time", ("span", "add", "span"): "span", ("span", "sub", "span"): "span",
        ("text", "add", "text"): "text"}  # fmt: skip


def with_expr(value: Value, expr: pl.Expr, kind: str = "") -> Value:
    """The same value worked on once more: as missing and as raising as before."""
    return replace(value, expr=expr, kind=kind or value.kind, literal=None)
