"""Values of the provider side of a policy that are more than one number: by level, by points, by days, by band."""

from typing import Any

from pydantic import BaseModel

from engine.settlement.dated import ALL, Count, Units, Yuan
from engine.settlement.money import NO_LIMIT, PERCENT


def banded(value: Any) -> tuple[tuple[int, int], ...]:
    """How many times the mean is too much, by points: `3`, or `[{over: 0, times: 3}, {over: 100, times: 2.5}]`."""
    rows = value if isinstance(value, list) else [{"over": "0", "times": value}]
    if any(not isinstance(row, dict) or set(row) != {"over", "times"} for row in rows):
        raise ValueError("每档须写作 {over: 点数, times: 倍数}")
    return _rising(tuple((unit(row["over"]), unit(row["times"])) for row in rows))


def paid_days(value: Any) -> tuple[tuple[int, str, int], ...]:
    """What a day is worth, by the days before it: `[{over: 0, points: 2.36}, {over: 60, points: 2}]`, or yuan."""
    rows = value if isinstance(value, list) else [value]
    units = {tuple(sorted(set(row) - {"over"})) for row in rows if isinstance(row, dict)}
    if any(not isinstance(row, dict) or "over" not in row for row in rows) or units not in ({("points",)}, {("yuan",)}):
        raise ValueError("每档须写作 {over: 天数, points: 每日点数} 或 {over: 天数, yuan: 每日元}, 各档同一种")
    ((kind,),) = units
    read = unit if kind == "points" else fen
    return _rising(tuple((_days(row["over"]), kind, read(row[kind])) for row in rows))


def _rising(rows: tuple[tuple, ...]) -> tuple[tuple, ...]:
    if [row[0] for row in rows] != sorted({row[0] for row in rows}) or rows[0][0] != 0:
        raise ValueError("各档的 over 须从 0 起逐档递增")
    return rows


def by_level(read):
    """`{all: …, 3: …}` by hospital level, or one for all levels."""
    return lambda value: {
        level: read(part)
        for level, part in (value if isinstance(value, dict) and "over" not in value else {ALL: value}).items()
    }


def unit(text: Any) -> int:
    return _read(Units, text)


def fen(text: Any) -> int:
    return _read(Yuan, text)


def _days(text: Any) -> int:
    return _read(Count, text)


def _read(kind, text: Any) -> int:
    return kind.__metadata__[0].func(text)


def gapless(bands: list[BaseModel]) -> list[BaseModel]:
    """Shared bands that reach from 0 to no end without a gap, one of them ending at 100."""
    ends = [NO_LIMIT if band.hi == "none" else band.hi for band in bands]
    if not bands or [band.lo for band in bands] != [0, *ends[:-1]] or ends[-1] != NO_LIMIT:
        raise ValueError("各档须从 0 起首尾相接, 最后一档 hi: none")
    if any(band.lo >= end for band, end in zip(bands, ends, strict=True)):
        raise ValueError("每档 lo 须小于 hi")
    if any(band.lo < PERCENT < end for band, end in zip(bands, ends, strict=True)):
        raise ValueError("须有一档止于 100, 下一档从 100 起")
    if any((band.keep and band.lo >= PERCENT) or (band.share and band.lo < PERCENT) for band in bands):
        raise ValueError("keep 只用于 100 以下的档 (结余), share 只用于 100 以上的档 (超支)")
    return bands
