"""Values that follow from a figure published each year: `{percent: 2, of: wage, years_back: 2}` of a policy's figures.

`figures: {wage: {2023-01-01: {value: 99302, source: …}}}` has one amount per year. A derived value of year y is
percent x the figure of year y − years_back, rounded half-up to whole yuan (to fen with `whole_yuan: no`), then
`then_percent` of that, rounded again. It is written out here, before a policy is checked, as one dated value per year;
after the last year whose figure is known there is none, and claims say so instead of being paid by an old figure.
"""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from engine.settlement.dated import UNKNOWN, number

_KEYS = {"percent", "of", "years_back", "whole_yuan", "then_percent"}


def written_out(policy: Any) -> Any:
    """The mapping of a policy file, derived values in place of their formulas. Raises ValueError for a bad one."""
    if not isinstance(policy, dict):
        return policy
    figures = policy.get("figures") or {}
    return {key: part if key == "figures" else _part(part, figures, key) for key, part in policy.items()}


def _part(part: Any, figures: dict, where: str) -> Any:
    if isinstance(part, list):
        return part
    if not isinstance(part, dict):
        return part
    if not any(_formulas(entry) for entry in part.values() if _is_entry(entry)):
        return {key: _part(value, figures, f"{where}.{key}") for key, value in part.items()}
    days = sorted(part)
    made = {}
    for day, until in zip(days, [*days[1:], "9999-12-31"], strict=True):
        formulas = _formulas(part[day])
        if not formulas:
            made[day] = part[day]
            continue
        years = [_years(formula, figures, f"{where}.{day}") for formula in formulas]
        known = sorted(set.intersection(*years))
        if not known or f"{known[0]}-01-01" > day:
            raise ValueError(f"{where}.{day}: figures 中没有算出这一年数值所需的年份")
        for year in known:
            begin = max(day, f"{year}-01-01")
            if f"{year}-12-31" >= day and begin < until:
                made[begin] = part[day] | {"value": _valued(part[day]["value"], figures, year)}
        if (after := f"{known[-1] + 1}-01-01") < until:
            made[after] = part[day] | {"value": UNKNOWN}
    return made


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and "value" in entry


def _formulas(entry: Any) -> list[dict]:
    """Every formula in the value of a dated entry."""
    found, rest = [], [entry.get("value")] if _is_entry(entry) else []
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            found, rest = ([*found, value], rest) if "of" in value else (found, [*rest, *value.values()])
    return found


def _years(formula: dict, figures: dict, where: str) -> set[int]:
    """The years for which a formula has its figure."""
    if unknown := sorted(set(formula) - _KEYS) or sorted({"percent", "of"} - set(formula)):
        raise ValueError(f"{where}: 推算值 {{percent, of, years_back, whole_yuan, then_percent}} 写错: {unknown[0]}")
    if formula["of"] not in figures:
        raise ValueError(f"{where}: figures 中没有 {formula['of']}")
    return {date.fromisoformat(str(day)).year + _back(formula) for day in figures[formula["of"]]}


def _back(formula: dict) -> int:
    return int(number(formula.get("years_back", "0")))


def _valued(value: Any, figures: dict, year: int) -> Any:
    """The value with each formula replaced by its amount in a year, as text in yuan."""
    if not isinstance(value, dict):
        return value
    if "of" not in value:
        return {key: _valued(part, figures, year) for key, part in value.items()}
    by_year = {date.fromisoformat(str(day)).year: entry["value"] for day, entry in figures[value["of"]].items()}
    unit = Decimal("0.01") if value.get("whole_yuan", "yes") in ("no", "false") else Decimal(1)
    amount = number(by_year[year - _back(value)])
    for percent in (value["percent"], value.get("then_percent", "100")):
        amount = (amount * number(percent) / 100).quantize(unit, ROUND_HALF_UP)
    return str(amount)
