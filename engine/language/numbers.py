"""Exact numbers in frames: whole units of a decimal place, in 128-bit integers.

A number with three decimal places is a count of thousandths. How many places it has, and how many units there can be
at most, is known when the rule is loaded; where a step could outgrow 38 digits, the cases in which it does are not
evaluated. No step rounds but the quotient, to 18 places, half away from zero.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import polars as pl

from engine.language.expression import ExpressionProblem
from engine.language.nodes import DIGITS, PLACES, TOO_LARGE
from engine.language.values import Value, either

LIMIT = 10**DIGITS - 1
MOST_PLACES = 24  # of a product
ROWS = 2**32  # more elements no list has
WHOLE = pl.Int128
COLUMN = pl.Decimal(DIGITS, 6)  # counts, prices and days of the tables, read to six decimal places
LARGEST = 10**19  # what 64 bits hold, and more than any decimal of the tables


def constant(units: int) -> pl.Expr:
    return pl.lit(units, dtype=WHOLE)


def literal(value: Decimal) -> Value:
    """A number written out, or a parameter."""
    sign, digits, exponent = value.as_tuple()
    units = int("".join(map(str, digits)))
    while exponent < 0 and units % 10 == 0:
        units, exponent = units // 10, exponent + 1
    units, scale = units * 10 ** max(exponent, 0), max(-exponent, 0)
    if scale > MOST_PLACES or units > LIMIT:
        raise ExpressionProblem(TOO_LARGE, str(value))
    return Value(constant(-units if sign else units), "number", scale, units, literal=value)


def column(expr: pl.Expr) -> Value:
    """A number of the tables."""
    return Value(expr.cast(COLUMN).to_physical(), "number", COLUMN.scale, LARGEST * 10**COLUMN.scale)


def money(fen: pl.Expr) -> Value:
    """An amount of the tables, which reads in yuan."""
    return Value(fen.cast(WHOLE), "number", 2, 2**63)


def count(expr: pl.Expr, size: int = ROWS) -> Value:
    return Value(expr.cast(WHOLE), "number", 0, size)


def outgoing(value: Value) -> Value:
    """The number as a decimal that has at most 20 digits before the point."""
    room = 10 ** (DIGITS - PLACES + value.scale)
    raises = _beyond(value.expr, room - 1) if value.size >= room else None
    raises = either(value.raises, raises)
    expr = value.expr if raises is None else pl.when(~raises).then(value.expr)
    return replace(value, expr=expr.reinterpret(dtype=pl.Decimal(DIGITS, value.scale)), raises=raises)


def _beyond(expr: pl.Expr, most: int | pl.Expr) -> pl.Expr:
    return (expr.abs() > (constant(most) if isinstance(most, int) else most)).fill_null(False)


# arithmetic


def added_up(values: list[Value], shown: list[pl.Expr]) -> Value:
    """The sum of aligned numbers, each as it is `shown`: missing where it does not count."""
    size = sum(value.size for value in values)
    large = [_beyond(value.expr, LIMIT // len(values)) for value in values] if size > LIMIT else []
    expr = pl.sum_horizontal(*shown, constant(0))
    return Value(expr, "number", values[0].scale if values else 0, min(size, LIMIT),
                 raises=either(*(value.raises for value in values), *large))  # fmt: skip


def aligned(*values: Value) -> list[Value]:
    """The numbers counted in the smallest place any of them has."""
    scale = max(value.scale for value in values)
    return [_widened(value, scale) for value in values]


def _widened(value: Value, scale: int) -> Value:
    factor = 10 ** (scale - value.scale)
    if factor == 1:
        return value
    size = value.size * factor
    raises = _beyond(value.expr, LIMIT // factor) if size > LIMIT else None
    return replace(value, expr=value.expr * constant(factor), scale=scale, size=min(size, LIMIT),
                   raises=either(value.raises, raises))  # fmt: skip


def total(how: str, left: Value, right: Value) -> Value:
    left, right = aligned(left, right)
    size = left.size + right.size
    raises = _beyond(left.expr, constant(LIMIT) - right.expr.abs()) if size > LIMIT else None
    expr = left.expr + right.expr if how == "add" else left.expr - right.expr
    return _made(expr, left.scale, size, left, right, raises)


def product(left: Value, right: Value) -> Value:
    scale, size = left.scale + right.scale, left.size * right.size
    if scale > MOST_PLACES:
        raise ExpressionProblem(f"积有 {scale} 位小数 decimal places, {MOST_PLACES} are possible",
                                hint="最后再除 divide last: a * b / c")  # fmt: skip
    raises = _beyond(left.expr, constant(LIMIT) // right.expr.abs()) if size > LIMIT else None
    return _made(left.expr * right.expr, scale, size, left, right, raises)


def power(base: Value, exponent: Value) -> Value:
    """A power whose exponent is written out: a whole number from 0."""
    times = exponent.literal
    if times is None or times != int(times) or not 0 <= times <= MOST_PLACES:
        raise ExpressionProblem(f"指数是写出的整数 an exponent is a whole number written out, 0 … {MOST_PLACES}")
    if times == 0:
        return replace(literal(Decimal(1)), raises=either(base.raises, base.expr == 0), literal=None)
    result = base
    for _ in range(int(times) - 1):
        result = product(result, base)
    return result


def negated(value: Value) -> Value:
    return replace(value, expr=constant(0) - value.expr, literal=None)


def absolute(value: Value) -> Value:
    return replace(value, expr=value.expr.abs(), literal=None)


def quotient(how: str, left: Value, right: Value) -> Value:
    """`/`, `//` and `%`; dividing by zero raises."""
    if how == "tdiv" and (share := _reciprocal(right)) is not None and left.scale + share.scale <= PLACES:
        return product(left, share)
    left, right = aligned(left, right)
    if how == "tdiv" and left.scale > PLACES:
        raise ExpressionProblem(f"相除的数有 {left.scale} 位小数 decimal places, {PLACES} can be divided",
                                hint="先除后乘 divide first: a / c * b")  # fmt: skip
    smallest = max(right.size, 1) if right.literal is not None else 1
    size, zero, raises = left.size // smallest + 1, right.expr == 0, None
    if how == "mod":
        return _made(_whole(_rest, left, right), left.scale, min(left.size, right.size), left, right, zero)
    if how == "fdiv":
        return _made(_whole(_times, left, right), 0, size, left, right, zero)
    if right.size > STEPPED:
        raises = _beyond(right.expr, STEPPED)
    if size * 10**PLACES > LIMIT:
        raises = either(raises, _beyond(left.expr // right.expr, 10 ** (DIGITS - PLACES) - 2))
    return _made(_whole(_quotient, left, right), PLACES, size * 10**PLACES, left, right, zero, raises)


STEP = 9  # decimal places found at once
SHIFT = pl.Series([10**STEP], dtype=WHOLE)
STEPPED = 10**29  # 128 bits hold it times 10^9


_divided: dict[tuple, list[tuple[pl.Expr, pl.Expr, pl.Expr]]] = {}  # by function and text: both sides and what it made


def _whole(function: Callable, left: Value, right: Value) -> pl.Expr:
    """The function of both sides. The same one twice is one expression: Polars would wrap the function anew, and sums
    that say the same could not be told to be equal.
    """
    known = _divided.setdefault((function, str(left.expr), str(right.expr)), [])
    for above, below, made in known:
        if above.meta.eq(left.expr) and below.meta.eq(right.expr):
            return made
    made = pl.map_batches([left.expr, right.expr], function, return_dtype=WHOLE, is_elementwise=True)
    made = made if made.meta.root_names() else made.first()  # of two parameters: one value for every row
    known.append((left.expr, right.expr, made))
    return made


def _times(pair: list[pl.Series]) -> pl.Series:
    """left // right, cut toward zero."""
    left, right = pair
    return (left.abs() // right.abs()) * left.sign() * right.sign()


def _rest(pair: list[pl.Series]) -> pl.Series:
    """left % right, with the sign of left."""
    left, right = pair
    return (left.abs() % right.abs()) * left.sign()


def _quotient(pair: list[pl.Series]) -> pl.Series:
    """left / right in units of the last place of a quotient, rounded half away from zero: long division by hand."""
    above, below = (side.abs() for side in pair)
    units, rest = above // below, above % below
    for _ in range(PLACES // STEP):
        rest = rest * SHIFT
        units, rest = units * SHIFT + rest // below, rest % below
    up = (rest + rest >= below).cast(WHOLE)
    return (units + up) * pair[0].sign() * pair[1].sign()


def _reciprocal(value: Value) -> Value | None:
    """1 / value where that is a short decimal, such as 0.01 for 100: multiplying by it is exact and never raises."""
    if not value.literal:
        return None
    above, below = Decimal(value.literal).as_integer_ratio()
    for places in range(PLACES):
        if below * 10**places % above == 0:
            return literal(Decimal(below * 10**places // above).scaleb(-places))
    return None


def _made(expr: pl.Expr, scale: int, size: int, left: Value, right: Value, *raises: pl.Expr | None) -> Value:
    return Value(expr, "number", scale, min(size, LIMIT), raises=either(left.raises, right.raises, *raises))


def summed(value: Value) -> Value:
    """What a number of an element becomes in the sum of its list; elements too large to be added up raise."""
    size = value.size * ROWS
    raises = _beyond(value.expr, LIMIT // ROWS) if size > LIMIT else None
    return replace(value, size=min(size, LIMIT), raises=either(value.raises, raises))
