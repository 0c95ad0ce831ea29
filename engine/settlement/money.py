"""Exact money arithmetic on whole fen: half-up at each named step, never through a binary float."""

import numpy as np
import polars as pl

from engine.tables.dictionary import MONEY_LIMIT
from engine.tables.problems import InputProblem

PERCENT = 10_000  # ratios are kept in hundredths of a percent, so that 97.5 % is a whole number too
NO_LIMIT = 10**15  # stands for "no cap": above every sum the range check lets through


def half_up(amount: np.ndarray, divisor: int) -> np.ndarray:
    """amount / divisor, rounded half away from zero. Sound while |amount| < 4.6e18, half the 64-bit range."""
    return np.sign(amount) * ((2 * np.abs(amount) + divisor) // (2 * divisor))


def share(part: np.ndarray, whole: np.ndarray, of: np.ndarray) -> np.ndarray:
    """of * part / whole, rounded half-up and zero where part is; the product of two sums of fen outgrows 64 bits."""
    result = np.zeros_like(of)
    some = part > 0
    part, whole, of = (a[some].astype(object) for a in (part, whole, of))
    result[some] = ((2 * of * part + whole) // (2 * whole)).astype(np.int64)
    return result


def check_range(frame: pl.DataFrame, columns: list[str], key: str) -> None:
    """Refuse amounts so large that 64-bit sums of them could wrap, which Polars does without a word."""
    largest = frame.select(pl.max_horizontal(pl.col(columns).abs().max())).item() or 0
    if largest > MONEY_LIMIT:
        worst = frame.filter(pl.any_horizontal(pl.col(columns).abs() > MONEY_LIMIT))
        raise InputProblem(
            f"金额超出可计算范围: {worst.select(key, *columns).row(0, named=True)}",
            where=key,
            allowed=f"绝对值不超过 {MONEY_LIMIT} 分",
        )
