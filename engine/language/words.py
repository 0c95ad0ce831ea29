"""What a word after a dot is of a number, a text, a time or a span: `.length`, `.month`, `.days` and their like."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import polars as pl

from engine.language import numbers
from engine.language.values import LONGEST_SPAN, Value, either, with_expr

DAY, SECOND = 86_400_000_000, 1_000_000  # microseconds
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
CLEAR_SECONDS = 2**33  # a float still tells their microseconds apart, and beyond it milliseconds


def _number(part: Callable[[pl.Expr], pl.Expr], value: Value, scale: int = 0, size: int = numbers.ROWS) -> Value:
    return Value(part(value.expr).cast(numbers.WHOLE), "number", scale, size, value.nullable, value.raises)


def _other(kind: str, part: Callable[[pl.Expr], pl.Expr], value: Value) -> Value:
    return Value(part(value.expr), kind, nullable=value.nullable, raises=value.raises)


def _seconds(micros: Callable[[pl.Expr], pl.Expr], value: Value) -> Value:
    """Seconds with six decimals. The interpreter's are a float, which far from 1970 knows no microseconds: so those
    raise."""
    made = _number(micros, value, 6, 8 * LONGEST_SPAN)
    unclear = (made.expr.abs() > CLEAR_SECONDS * SECOND) & (made.expr % (SECOND // 1000) != 0)
    return replace(made, raises=either(made.raises, unclear.fill_null(False)))


def _floor(value: Value) -> Value:
    return replace(with_expr(value, value.expr // 10**value.scale), scale=0, size=value.size // 10**value.scale + 1)


def _ceiling(value: Value) -> Value:
    return numbers.negated(_floor(numbers.negated(value)))


def _integer(value: Value) -> Value:
    broken = (value.expr % 10**value.scale != 0).fill_null(False)
    return replace(value, raises=either(value.raises, broken))


CASES = {"as_upper": ("upper", "to_uppercase"), "as_lower": ("lower", "to_lowercase")}


def _cased(name: str, value: Value) -> Value:
    """Upper or lower case. A text with a letter that the two readers' tables know differently raises."""
    unclear = value.expr.str.contains_any(_unlike(name)).fill_null(False)
    made = getattr(value.expr.str, CASES[name][1])()
    return replace(with_expr(value, made), raises=either(value.raises, unclear))


@cache
def _unlike(name: str) -> list[str]:
    """Letters that Python and Polars map differently: those that one of them is too old to know."""
    python, rust = CASES[name]
    letters = [chr(n) for n in range(0x110000) if not 0xD800 <= n <= 0xDFFF]
    mapped = getattr(pl.Series(letters).str, rust)().to_list()
    return [a for a, b in zip(letters, mapped, strict=True) if getattr(a, python)() != b]


def _micros(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds()


WORDS: dict[tuple[str, str], Callable[[Value], Value]] = {
    ("time", "date"): partial(_other, "time", lambda e: e.dt.truncate("1d")),
    ("time", "year"): partial(_number, lambda e: e.dt.year()),
    ("time", "month"): partial(_number, lambda e: e.dt.month()),
    ("time", "day"): partial(_number, lambda e: e.dt.day()),
    ("time", "hour"): partial(_number, lambda e: e.dt.hour()),
    ("time", "minute"): partial(_number, lambda e: e.dt.minute()),
    ("time", "second"): partial(_number, lambda e: e.dt.second()),
    ("time", "microsecond"): partial(_number, lambda e: e.dt.microsecond()),
    ("time", "millisecond"): partial(_number, lambda e: e.dt.microsecond(), scale=3),
    ("time", "weekday"): partial(_other, "text", lambda e: e.dt.weekday().replace_strict(
        range(1, 8), WEEKDAYS, return_dtype=pl.String)),
    ("time", "to_epoch"): partial(_seconds, lambda e: e.dt.epoch("us")),
    ("span", "days"): partial(_number, lambda e: _micros(e) // DAY),
    ("span", "seconds"): partial(_number, lambda e: _micros(e) % DAY // SECOND),
    ("span", "microseconds"): partial(_number, lambda e: _micros(e) % SECOND),
    ("span", "total_seconds"): partial(_seconds, _micros),
    ("number", "floor"): _floor,
    ("number", "ceiling"): _ceiling,
    ("number", "to_int"): _integer,
    ("number", "to_flt"): lambda value: value,
    ("number", "is_nan"): partial(_other, "bool", lambda e: e != e),
    ("text", "length"): partial(_number, lambda e: e.str.len_chars()),
    ("text", "is_empty"): partial(_other, "bool", lambda e: e == ""),
    ("text", "to_str"): lambda value: value,
    ("text", "as_upper"): partial(_cased, "as_upper"),
    ("text", "as_lower"): partial(_cased, "as_lower"),
    ("texts", "length"): partial(_number, lambda e: e.str.count_matches(r"[^|]+")),
    ("texts", "is_empty"): partial(_other, "bool", lambda e: ~e.str.contains("[^|]")),
    ("texts", "to_ary"): lambda value: value,
}  # fmt: skip
