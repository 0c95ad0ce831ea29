"""Values known when a rule is loaded: those written out in an expression, and the rule's parameters."""

import datetime
from decimal import Decimal

import polars as pl

from engine.language import numbers
from engine.language.expression import ExpressionProblem
from engine.language.values import LONGEST_SPAN, Value


def written(value) -> Value:
    """A value written out."""
    if isinstance(value, Decimal):
        return numbers.literal(value)
    if isinstance(value, datetime.datetime):
        return _time(value)
    if isinstance(value, datetime.timedelta):
        size = abs(value // datetime.timedelta(microseconds=1))
        if size > LONGEST_SPAN:
            raise ExpressionProblem("时长至多一万年 a span is at most ten thousand years", str(value))
        return Value(pl.lit(value, dtype=pl.Duration("us")), "span", size=size, literal=value)
    kind = "null" if value is None else "bool" if isinstance(value, bool) else "text"
    return Value(pl.lit(value), kind, nullable=value is None, literal=value)


def _time(value: datetime.datetime) -> Value:
    if value.utcoffset():
        raise ExpressionProblem("时间不带时区 times carry no zone", str(value), "去掉时区 leave the offset away")
    value = value.replace(tzinfo=None)
    return Value(pl.lit(value, dtype=pl.Datetime("us")), "time", literal=value)


def parameter(value) -> Value:
    """A parameter of a rule: a number, a text, a bool, or a list of texts."""
    if isinstance(value, bool | str):
        return written(value)
    return Value(None, "set", literal=tuple(value)) if isinstance(value, tuple | list) else written(Decimal(value))
