"""Inpatient stays aimed evenly at the groups of a scheme, and a plain-Python grouper to compare ours with.

The stays are not anybody's case mix: each is drawn at one condition of the scheme, from its own code lists, so that
rare groups are met as often as common ones.
"""

import numpy as np
import polars as pl

from engine.grouping.codes import PREFIX_MARK, CodeLists, cleaned
from engine.grouping.conditions import DX_ROLES, Term
from engine.grouping.judge import COMPARE
from engine.grouping.scheme import Scheme
from engine.grouping.scheme_files import LEVELS

SECONDARY = 6  # at most so many further diagnoses of no meaning to the condition
ANY = -1  # stands for no list
OWN = 4  # at most so many codes that the condition asks for, of diagnoses and of procedures


def records(scheme: Scheme, count: int, seed: int) -> pl.DataFrame:
    """Records as group_records takes them: sex, age, age_days, weight (0 = missing), lists dx and proc."""
    rng = np.random.default_rng(seed)
    aim = rng.integers(0, len(scheme.candidates), count)
    dx, proc = _Pool(scheme.dx, rng), _Pool(scheme.proc, rng)
    own_dx = [[t for t in terms if t.codes and t.looks_at in DX_ROLES] for _, terms in scheme.candidates]
    own_proc = [[t for t in terms if t.codes and t.looks_at not in DX_ROLES] for _, terms in scheme.candidates]
    diagnoses = dx.drawn(own_dx, aim, "pdx") + [dx.any(count, 0.45) for _ in range(SECONDARY)]
    procedures = proc.drawn(own_proc, aim, "main_proc") + [proc.any(count, 0.2)]
    infant = rng.random(count) < 0.1
    days = np.where(infant, rng.integers(0, 365, count), 0)
    return pl.DataFrame(
        {
            "sex": rng.integers(1, 3, count),
            "age": np.where(infant, 0, rng.integers(1, 95, count)),
            "age_days": np.where(infant & (rng.random(count) < 0.5), days % 29, days),
            "weight": np.where(infant, rng.integers(800, 4500, count), 0),
            "dx": _listed(diagnoses),
            "proc": _listed(procedures),
        }
    )


class _Pool:
    """The codes of some lists, to draw from; a prefix stands for the first code it covers."""

    def __init__(self, lists: CodeLists, rng: np.random.Generator):
        entries = lists.entries.sort("list", "entry")
        self.codes = cleaned(entries["entry"].str.strip_suffix(PREFIX_MARK), normalise=True)
        self.start = np.searchsorted(entries["list"].to_numpy(), np.arange(len(lists.keys) + 1))
        self.keys, self.rng = lists.keys, rng

    def drawn(self, terms: list[list[Term]], aim: np.ndarray, first: str) -> list[pl.Series]:
        """For every stay one code of each list its condition asks for, the one asked of the first code first."""
        columns = []
        for place in range(OWN):
            of = [sorted(own, key=lambda t: t.looks_at != first)[place : place + 1] for own in terms]
            numbers = np.array([self.keys[own[0].codes] if own and not own[0].negated else -1 for own in of])[aim]
            start, stop = self.start[numbers], self.start[numbers + 1]
            pick = start + (self.rng.random(len(aim)) * (stop - start)).astype(np.int64)
            columns.append(self._taken(pick, (numbers >= 0) & (stop > start)))
        missing = pl.Series(columns[0].is_null())
        columns[0] = pl.select(pl.when(missing).then(self.any(len(aim), 0.9)).otherwise(columns[0])).to_series()
        return columns

    def any(self, count: int, share: float) -> pl.Series:
        """Any code for that share of the stays."""
        return self._taken(self.rng.integers(0, len(self.codes), count), self.rng.random(count) < share)

    def _taken(self, pick: np.ndarray, there: np.ndarray) -> pl.Series:
        return self.codes.gather(pl.Series(np.where(there, pick, -1)).replace(-1, None).cast(pl.UInt32))


def _listed(columns: list[pl.Series]) -> pl.Series:
    named = pl.DataFrame([column.alias(str(n)) for n, column in enumerate(columns)])
    return named.select(pl.concat_list(named.columns).list.drop_nulls()).to_series()


class PlainGrouper:
    """The same scheme in plain Python, for codes in the national spelling: one stay after the other.

    It is given what such a program would have: sets, dictionaries, and for each code the lists it was found in before.
    """

    def __init__(self, scheme: Scheme):
        self.scheme = scheme
        self.lists = {"dx": _Members(scheme.dx), "proc": _Members(scheme.proc)}
        self.cc = {row["entry"]: row for row in scheme.cc.iter_rows(named=True)}
        self.by_list: dict[int, list[int]] = {}  # candidates by the list their principal diagnosis must be in
        for place, (_, terms) in enumerate(scheme.candidates):
            asked = next((t.codes for t in terms if t.looks_at == "pdx" and not t.negated), None)
            self.by_list.setdefault(ANY if asked is None else scheme.dx.keys[asked], []).append(place)

    def drgs(self, stays: pl.DataFrame) -> list[str | None]:
        """The DRG of every record, 0000 without one, None for a record without diagnosis."""
        return [self._drg(stay, stay["dx"], stay["proc"]) for stay in stays.iter_rows(named=True)]

    def _drg(self, stay: dict, dx: list[str], proc: list[str]) -> str | None:
        if not dx:
            return None
        lists = (ANY, *self.lists["dx"].of(dx[0]))
        for place in sorted(place for number in lists for place in self.by_list.get(number, ())):
            outcome, terms = self.scheme.candidates[place]
            if all(self._holds(term, stay, dx, proc) for term in terms):
                for drg, condition in self.scheme.outcomes[outcome].drgs:
                    if any(all(self._holds(t, stay, dx, proc) for t in terms) for terms in condition):
                        return drg
        return "0000"

    def _holds(self, term: Term, stay: dict, dx: list[str], proc: list[str]) -> bool:
        if term.codes:
            return self._listed(term, _ROLES[term.looks_at](dx, proc)) != term.negated
        if term.looks_at == "severity":
            return self._severe(term.name, dx) != term.negated
        if term.looks_at == "regions":
            parts = [self.lists["dx"].keys[part] for part in self.scheme.regions.get(term.name, ())]
            met = len({part for part in parts for code in dx if part in self.lists["dx"].of(code)})
            return bool(COMPARE[term.comparison](met, term.number)) != term.negated
        value = {"gend": str(stay["sex"]), "age_years": stay["age"], "age_days": stay["age_days"]}.get(term.name)
        value = (stay["weight"] or None) if term.name == "weight" else value
        if value is None:
            return False
        true = value in term.values if term.looks_at == "choice" else COMPARE[term.comparison](value, term.number)
        return bool(true) != term.negated

    def _listed(self, term: Term, codes: list[str]) -> bool:
        lists = self.lists["dx" if term.looks_at in DX_ROLES else "proc"]
        wanted = lists.keys[term.codes]
        return any(wanted in lists.of(code) for code in codes)

    def _severe(self, level: str, dx: list[str]) -> bool:
        for code in dx[1:]:
            entry = self.cc.get(code) or _longest(self.cc, code)
            if entry and entry["level"] == LEVELS[level] and entry["exclusion"] not in self.lists["dx"].of(dx[0]):
                return True
        return False


_ROLES = {
    "pdx": lambda dx, proc: dx[:1],
    "any_dx": lambda dx, proc: dx,
    "sec_dx": lambda dx, proc: dx[1:],
    "main_proc": lambda dx, proc: proc[:1],
    "any_proc": lambda dx, proc: proc,
    "sec_proc": lambda dx, proc: proc[1:],
}


class _Members:
    """In which lists a code stands."""

    def __init__(self, lists: CodeLists):
        self.keys, self.found = lists.keys, {}
        self.entries: dict[str, set[int]] = {}
        for number, entry in lists.entries.select("list", "entry").iter_rows():
            self.entries.setdefault(entry, set()).add(number)
        self.lengths = sorted({len(entry) - 1 for entry in self.entries if entry.endswith(PREFIX_MARK)})

    def of(self, code: str) -> set[int]:
        if code not in self.found:
            cut = [self.entries.get(code[:length] + PREFIX_MARK, set()) for length in self.lengths]
            self.found[code] = self.entries.get(code, set()).union(*cut)
        return self.found[code]


def _longest(entries: dict[str, dict], code: str) -> dict | None:
    """The entry of the longest prefix of the code."""
    cut = (code[:length] + PREFIX_MARK for length in range(len(code), 0, -1))
    return next((entries[prefix] for prefix in cut if prefix in entries), None)
