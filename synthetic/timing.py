"""How measurements are taken and told: jobs in turns, medians, and one row for each."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engine.tables.problems import InvariantBroken

ROUNDS, SECONDS = 3, 1  # at least so many rounds, and more until so many seconds are used


@dataclass
class Row:
    """One line of the answer: `count` things of a unit, how many a second, and how many times as fast as what."""

    part: str
    label: str
    count: int
    unit: str
    per_second: int | None = None
    ratio: float | None = None
    against: str = ""
    against_per_second: int | None = None
    of: str = ""


def rounds(*jobs: Callable) -> tuple[np.ndarray, list]:
    """Seconds [round, job] of some jobs run in turn, and what each gave when it ran first, unmeasured."""
    given, taken, began = [job() for job in jobs], [], time.monotonic()
    while len(taken) < ROUNDS or (time.monotonic() - began < SECONDS and len(taken) < 50):
        taken.append([seconds_of(job) for job in jobs])
    return np.array(taken), given


def seconds_of(job: Callable) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def rate(count: int, seconds: np.ndarray) -> int:
    return round(count / statistics.median(seconds))


def same(one, other, what: str) -> None:
    if one != other:
        raise InvariantBroken(f"两种算法结果不同，不比快慢 the two do not say the same: {what}")


def against(row: Row, seconds: np.ndarray, other: str, other_count: int) -> Row:
    """The row with what its first job did a second, and how many times as much as the second job in the same round."""
    ratio = statistics.median(seconds[:, 1] / other_count / (seconds[:, 0] / row.count))
    own, others = rate(row.count, seconds[:, 0]), rate(other_count, seconds[:, 1])
    return replace(row, per_second=own, ratio=ratio, against=other, against_per_second=others)
