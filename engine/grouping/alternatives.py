"""The question of up-coding: which group would a stay be in without one secondary diagnosis, or its main procedure?"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.grouping.judge import Judged
from engine.grouping.stays import Stays


@dataclass(frozen=True)
class Trial:
    """Stays (`row`) judged again without the diagnosis or procedure of number `code`, and the `end` they then reach."""

    row: np.ndarray
    code: np.ndarray
    end: np.ndarray


def without_diagnosis(found: Judged) -> Trial:
    """Of every stay that some secondary diagnosis lifts: the one that lifts it most, and the group without it.

    That is the lowest weight, else the last DRG in order of trial. Stays that no single diagnosis lifts are left out.
    """
    dx, comorbid = found.stays.dx, found.comorbidities
    alone = np.concatenate([_alone(found, comorbid.level == level) for level in np.unique(comorbid.level)] or [[]])
    asked = np.flatnonzero(found.meaning.dx_asked[dx.code] & ~dx.is_first)
    places = np.unique(np.concatenate([comorbid.place[alone.astype(np.int64)], asked]))
    rows = dx.row[places]
    places, rows = places[~found.invalid[rows]], rows[~found.invalid[rows]]
    end = _regrouped(found, rows, dx=places)
    moved = np.flatnonzero(end != found.end[rows])
    weight = found.scheme.end_weights
    tried = pl.DataFrame({"row": rows[moved], "code": dx.code[places[moved]], "end": end[moved]})
    tried = tried.with_columns(weight=weight[end[moved]], was=weight[found.end[rows[moved]]])
    tried = tried.filter((pl.col("weight") < pl.col("was")) | (pl.col("weight") < 0) | (pl.col("was") < 0))
    best = tried.sort("row", "weight", pl.col("end"), "code", descending=[False, False, True, False])
    best = best.unique("row", keep="first", maintain_order=True)
    return Trial(best["row"].to_numpy(), best["code"].to_numpy(), best["end"].to_numpy())


def _alone(found: Judged, of_level: np.ndarray) -> np.ndarray:
    """Of the comorbidities of a level that count, those that are the only one of their stay and may decide its DRG."""
    comorbid = found.comorbidities
    number = np.flatnonzero(of_level & ~comorbid.excluded & found.scheme.by_severity[found.outcome[comorbid.row]])
    row = comorbid.row[number]
    follows = row[1:] == row[:-1]
    several = np.zeros(len(row), dtype=bool)
    several[1:] |= follows
    several[:-1] |= follows
    return number[~several]


def without_procedure(found: Judged) -> Trial:
    """Every stay with a main procedure, without it; the next procedure then takes its place."""
    proc = found.stays.proc
    places = np.flatnonzero(proc.is_first)
    places = places[~found.invalid[proc.row[places]]]
    rows = proc.row[places]
    return Trial(rows, proc.code[places], _regrouped(found, rows, proc=places))


def _regrouped(found: Judged, rows: np.ndarray, dx: np.ndarray | None = None, proc: np.ndarray | None = None):
    stays = found.stays
    again = Stays(stays.facts[rows], stays.dx.again(rows, dx), stays.proc.again(rows, proc))
    return Judged(again, found.meaning).end
