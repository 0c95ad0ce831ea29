"""The question of up-coding: which group would a stay be in without one secondary diagnosis, or its main procedure?"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.grouping.conditions import PROC_SETS, Term
from engine.grouping.judge import Judged, end_of, left_of, lowest
from engine.grouping.scheme_files import LEVELS
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
    dx = found.stays.dx
    asked = np.flatnonzero(found.meaning.dx_asked[dx.code] & ~dx.is_first)
    asked = asked[~found.invalid[dx.row[asked]]]
    alone, milder = _milder(found)
    places = np.concatenate([asked, alone])
    rows, end = dx.row[places], np.concatenate([_regrouped(found, asked), milder])
    weight, was = found.scheme.end_weights[end], found.scheme.end_weights[found.end[rows]]
    lifted = np.flatnonzero((end != found.end[rows]) & ((weight < was) | (weight < 0) | (was < 0)))
    tried = pl.DataFrame(
        {"row": rows[lifted], "weight": weight[lifted], "end": end[lifted], "code": dx.code[places[lifted]]}
    )
    best = tried.sort("row", "weight", "end", "code", descending=[False, False, True, False])
    best = best.unique("row", keep="first", maintain_order=True)
    return Trial(best["row"].to_numpy(), best["code"].to_numpy(), best["end"].to_numpy())


def _milder(found: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Comorbidities that decide the DRG of their ADRG alone: their places, and the DRGs without them.

    Only the single one of its level can; a diagnosis that decides the ADRG as well is tried by _regrouped.
    """
    comorbid, by_severity = found.comorbidities, found.scheme.by_severity
    may = ~comorbid.excluded & by_severity[found.outcome[comorbid.row]]
    may &= ~found.meaning.dx_asked[found.stays.dx.code[comorbid.place]]
    places, ends = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for name, level in LEVELS.items():
        counted = comorbid.level == level
        one = np.flatnonzero(may & counted)
        one = one[_single(comorbid.row[~comorbid.excluded & counted], comorbid.row[one])]
        rows = comorbid.row[one]

        def holds(term: Term, name=name, rows=rows) -> np.ndarray:
            gone = term.looks_at == "severity" and term.name == name
            return np.full(len(rows), term.negated) if gone else found.holds(term)[rows]

        places.append(comorbid.place[one])
        ends.append(end_of(found.meaning.chains, found.outcome[rows], holds))
    return np.concatenate(places), np.concatenate(ends)


def _single(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Whether each asked row stands only once in `rows`; both are sorted."""
    return np.searchsorted(rows, asked, side="right") - np.searchsorted(rows, asked) == 1


def _regrouped(found: Judged, places: np.ndarray) -> np.ndarray:
    """The ends of stays each without the diagnosis at one place."""
    stays, rows = found.stays, found.stays.dx.row[places]
    again = Stays(stays.facts[rows], stays.dx.again(rows, places), stays.proc.again(rows))
    return Judged(again, found.meaning).end


def without_procedure(found: Judged) -> Trial:
    """Every stay with a main procedure, without it; the next procedure then takes its place."""
    proc, candidates = found.stays.proc, len(found.scheme.candidates)
    places = np.flatnonzero(proc.is_first)
    places = places[~found.invalid[proc.row[places]]]
    rows = proc.row[places]
    fewer = proc.again(rows, places)
    again = Judged(Stays(found.stays.facts, found.stays.dx, fewer), found.meaning)  # asked for its procedures only

    def holds(term: Term) -> np.ndarray:
        if term.looks_at in PROC_SETS:
            return again.holds(term)
        return found.holds(term)[rows]

    left = left_of(found.meaning, found.stays.dx.first[rows], fewer.first, holds)
    outcome = found.scheme.outcome_of[lowest(left, candidates, len(rows))]
    return Trial(rows, proc.code[places], end_of(found.meaning.chains, outcome, holds))
