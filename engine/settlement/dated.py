"""Dated values of a policy: how they are read, and what may be written where a value stands.

A dated value is `{2025-01-01: {value: …, source: …, grade: …}}` and holds from that day on until the next. Money is
yuan and becomes whole fen, a ratio is percent and becomes hundredths of a percent, a weight or a number of points has
up to eight decimals and becomes whole units of 1e-8: nothing is ever a binary float.
"""

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Annotated, Any, Generic, Literal, TypeVar

import polars as pl
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from engine.settlement.money import NO_LIMIT, PERCENT

ALL, UNKNOWN = "all", "unknown"
UNITS = 10**8  # weights, points, scores and coefficients are whole units of 1e-8
Grade = Literal["S", "A", "B", "C", "R", "D", "demo"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dated(Strict):
    """What holds from one day on: by group, then by level, whole fen or hundredths of a percent after reading."""

    value: Any
    source: str = ""
    grade: Grade | None = None


def _yuan(text: Any) -> int:
    """Yuan as whole fen; `none` is no limit."""
    if text == "none":
        return NO_LIMIT
    fen = number(text) * 100
    if fen != int(fen) or fen < 0:
        raise ValueError(f"{text!r} 不是以分为最小单位的非负金额(元)")
    return int(fen)


def _percent(text: Any) -> int:
    hundredths = number(text) * 100
    if hundredths != int(hundredths) or not 0 <= hundredths <= PERCENT:
        raise ValueError(f"{text!r} 不是 0 至 100、最多两位小数的百分数")
    return int(hundredths)


def number(text: Any) -> Decimal:
    """A number as it is written, exactly. Raises ValueError for anything else."""
    try:
        value = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{text!r} 不是数") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} 不是数")
    return value


def _units(text: Any) -> int:
    """A weight, a number of points or a coefficient of at most eight decimals as whole units of 1e-8."""
    units = number(text) * UNITS
    if units != int(units) or units < 0:
        raise ValueError(f"{text!r} 不是最多八位小数的非负数")
    return int(units)


def _factor(text: Any) -> int:
    """A percentage that may be above 100, in hundredths of a percent."""
    hundredths = number(text) * 100
    if hundredths != int(hundredths) or hundredths < 0:
        raise ValueError(f"{text!r} 不是最多两位小数的非负百分数")
    return int(hundredths)


def _whole(text: Any) -> int:
    """A whole number of days, months or cases."""
    if not re.fullmatch(r"\d{1,9}", str(text)):
        raise ValueError(f"{text!r} 不是非负整数")
    return int(text)


def _bands(value: Any) -> tuple[tuple[int, int], ...]:
    """A ratio by tiers as (over fen, ratio) pairs; one percent is one tier from zero."""
    if isinstance(value, str):
        return ((0, _percent(value)),)
    if any(not isinstance(band, dict) or set(band) != {"over", "percent"} for band in value):
        raise ValueError("每档须写作 {over: 元, percent: 百分数}")
    bands = tuple((_yuan(band["over"]), _percent(band["percent"])) for band in value)
    if [over for over, _ in bands] != sorted({over for over, _ in bands}):
        raise ValueError("各档的 over 须逐档递增")
    return bands


def _series(value: Any) -> tuple[int, ...]:
    """First, second, … of something; the last stands for all further."""
    return tuple(_percent(part) for part in (value if isinstance(value, list) else [value]))


def _by_group_and_level(leaf: Callable, dated: dict[date, Dated]) -> dict[date, Dated]:
    """Every value as {group: {level: leaf}}, in order of date; `unknown`, an end of the values, as an empty one."""
    result = {}
    for day in sorted(dated):
        known = {} if dated[day].value == UNKNOWN else _mapping(dated[day].value)
        tree = {
            group: {level: _read(leaf, part, (day, group, level)) for level, part in _mapping(by).items()}
            for group, by in known.items()
        }
        result[day] = dated[day].model_copy(update={"value": tree})
    return result


def _mapping(value: Any) -> dict:
    return value if isinstance(value, dict) else {ALL: value}


def _read(leaf: Callable, part: Any, where: tuple):
    try:
        return leaf(part)
    except ValueError as error:
        raise ValueError(f"{' '.join(map(str, where))}: {error}") from None


def _iso_day(text: Any) -> Any:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(text)):
        raise ValueError(f"{text!r} 不是 YYYY-MM-DD 形式的日期")
    return text


ByDate = dict[Annotated[date, BeforeValidator(_iso_day)], Dated]
Amount = Annotated[ByDate, AfterValidator(partial(_by_group_and_level, _yuan))]
Percent = Annotated[ByDate, AfterValidator(partial(_by_group_and_level, _percent))]
Bands = Annotated[ByDate, AfterValidator(partial(_by_group_and_level, _bands))]
Series = Annotated[ByDate, AfterValidator(partial(_by_group_and_level, _series))]

Factors = Annotated[ByDate, AfterValidator(partial(_by_group_and_level, _factor))]
Counts = Annotated[ByDate, AfterValidator(partial(_by_group_and_level, _whole))]


def leaf_of(model: type[BaseModel], name: str) -> str:
    """The form of the values of a dated parameter: yuan, percent, factor, whole, bands, series …"""
    read = next(m.func for m in model.model_fields[name].metadata if isinstance(m, AfterValidator))
    return read.args[0].__name__.removeprefix("_")


Yuan = Annotated[Any, AfterValidator(_yuan)]
Share = Annotated[Any, AfterValidator(_percent)]
Factor = Annotated[Any, AfterValidator(_factor)]
Units = Annotated[Any, AfterValidator(_units)]
Count = Annotated[Any, AfterValidator(_whole)]

T = TypeVar("T")


class On(Strict, Generic[T]):
    """What holds for all from one day on."""

    value: T
    source: str = ""
    grade: Grade | None = None


def _in_order(dated: dict[date, Any]) -> dict[date, Any]:
    return {day: dated[day] for day in sorted(dated)}


def since(kind) -> Any:
    """The type of a dated value that is the same for every person group, in order of date."""
    return Annotated[dict[Annotated[date, BeforeValidator(_iso_day)], On[kind]], AfterValidator(_in_order)]


def value_on(dated: ByDate, day: date, default: int = 0) -> int:
    """The value for all that holds on a day; the default before the first one."""
    held = [setting.value for begin, setting in dated.items() if begin <= day]
    return held[-1].get(ALL, {}).get(ALL, default) if held else default


def holding(
    dated: dict[date, On], make: Callable[[Any], pl.Expr], otherwise: pl.Expr, day: str | pl.Expr = "day"
) -> pl.Expr:
    """What `make` makes of the value in force on the day of each row; otherwise before the first."""
    result, day = otherwise, pl.col(day) if isinstance(day, str) else day
    for first, on in dated.items():
        result = pl.when(day >= first).then(make(on.value)).otherwise(result)
    return result
