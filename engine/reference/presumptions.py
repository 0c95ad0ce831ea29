"""What is presumed of how hospitals post and write: seeds/presumptions.yaml, overridden by a region."""

import datetime
import difflib
from dataclasses import dataclass
from pathlib import Path

from engine.reference.places import seeds_folder
from engine.tables.problems import RuleProblem
from engine.tables.yamltext import read_mapping

NAMES = {
    "batch_posting": ("lookback_days", "max_multiple_of_cap", "charged_on_any_of_day_offsets", "min_days"),
    "pair_windows": ("hour_less_than_minutes", "6h_at_most_minutes"),
    "travel": ("kmh", "far_kmh", "far_km", "near_km", "tolerance_minutes"),
    "same_results": ("gap_days",),
}
DESCRIBED = ("rules", "day_before_in_stay", "day_before_units", "stay_units_at_most_cap_times_days")  # always so


@dataclass(frozen=True)
class Presumptions:
    """Late posting of a day's charges, the windows of pairs, how fast one travels, when equal results are one case, and
    the brackets that name a body region."""

    lookback_days: int
    max_multiple_of_cap: int
    charged_on: tuple[int, ...]
    min_days: int
    hour: datetime.timedelta
    six_hours: datetime.timedelta
    kmh: int
    far_kmh: int
    far_km: int
    near_km: int
    tolerance_minutes: int
    gap_days: int
    brackets: tuple[str, ...]


def load_presumptions(overrides: dict | None = None, seeds: Path | None = None) -> Presumptions:
    """Ours, or those of another folder of seeds, with a region's values in place of them.

    Raises RuleProblem for a name or number that cannot be meant.
    """
    ours, _ = read_mapping((seeds or seeds_folder()) / "presumptions.yaml")
    given = overrides or {}
    for name in sorted(set(given) - set(ours)):
        raise RuleProblem(f"engine.{name}: 未知 unknown", allowed=", ".join(ours), hint=_near(name, ours))
    posting = _merged(ours, given, "batch_posting")
    windows = _merged(ours, given, "pair_windows")
    return Presumptions(
        *(_whole("batch_posting", n, posting[n]) for n in NAMES["batch_posting"][:2]),
        charged_on=tuple(_whole("batch_posting", "day_offsets", v) for v in posting["charged_on_any_of_day_offsets"]),
        min_days=_whole("batch_posting", "min_days", posting["min_days"]),
        hour=datetime.timedelta(minutes=_whole("pair_windows", "hour", windows["hour_less_than_minutes"])),
        six_hours=datetime.timedelta(minutes=_whole("pair_windows", "6h", windows["6h_at_most_minutes"])),
        **_wholes(ours, given, "travel"),
        **_wholes(ours, given, "same_results"),
        brackets=tuple(given.get("body_region_brackets", ours["body_region_brackets"])),
    )


def _merged(ours: dict, given: dict, part: str) -> dict:
    values = given.get(part, {})
    for name in sorted(set(values) - set(NAMES[part]) - set(DESCRIBED)):
        hint = _near(name, NAMES[part])
        raise RuleProblem(f"engine.{part}.{name}: 未知 unknown", allowed=", ".join(NAMES[part]), hint=hint)
    return {**ours[part], **values}


def _whole(part: str, name: str, text) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise RuleProblem(f"engine.{part}.{name}: {text!r} 不是整数 not a whole number") from None


def _wholes(ours: dict, given: dict, part: str) -> dict[str, int]:
    values = _merged(ours, given, part)
    return {name: _whole(part, name, values[name]) for name in NAMES[part]}


def _near(name: str, known) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else ""
