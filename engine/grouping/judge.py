"""Judges stays by a scheme: which candidate is the first whose conditions all hold, and how severe the stay is.

The published first-match tree is one minimum: every (MDC and ADRG) condition is a bit, in order of trial, and the bits
a stay satisfies are the AND of one table row per thing the conditions look at (its principal diagnosis, its main
procedure, its further facts). The lowest bit left is the group. There is no loop over stays, only over terms.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from engine.grouping.conditions import DX_SETS, PROC_SETS, ListKey, Term
from engine.grouping.lazy import lazy
from engine.grouping.scheme import ALWAYS, Condition, Scheme
from engine.grouping.scheme_files import LEVELS
from engine.grouping.stays import Coded, Stays

COMPARE = {
    "==": np.equal,
    "!=": np.not_equal,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
}
WORD = 64
ONE, ALL_BITS = np.uint64(1), np.uint64(2**WORD - 1)
Bits = list[np.ndarray | None]  # word w: the candidates 64 w to 64 w + 63 of every stay, None: none ruled out so far


@dataclass(frozen=True)
class Chains:
    """Which DRGs an outcome has, counted through all outcomes: the numbers of its first and last, and by step which of
    the `conditions` is tried, -1 past the last but one.
    """

    conditions: list[Condition]
    start: np.ndarray
    last: np.ndarray
    tried: list[np.ndarray]


@dataclass(frozen=True)
class Meaning:
    """What each distinct code of some stays means to a scheme. Worked out once, whatever the number of stays."""

    scheme: Scheme
    of: Stays

    @property
    def dx(self) -> pl.Series:
        return self.of.dx.distinct

    @property
    def proc(self) -> pl.Series:
        return self.of.proc.distinct

    @lazy
    def dx_member(self) -> np.ndarray:
        """Boolean [list, distinct diagnosis and none]."""
        return self.scheme.dx.membership(self.dx)

    @lazy
    def proc_member(self) -> np.ndarray:
        """Boolean [list, distinct procedure and none]."""
        return self.scheme.proc.membership(self.proc)

    @lazy
    def allowed(self) -> dict[str, Bits]:
        """For the principal diagnosis and the main procedure: the candidates each code leaves."""
        return {
            "pdx": self._role("pdx", self.dx_member, self.scheme.dx.keys),
            "main_proc": self._role("main_proc", self.proc_member, self.scheme.proc.keys),
        }

    def _role(self, role: str, member: np.ndarray, keys: dict[ListKey, int]) -> Bits:
        denied = [
            (place, member[keys[term.codes]] == term.negated)
            for place, (_, terms) in enumerate(self.scheme.candidates)
            for term in terms
            if term.looks_at == role
        ]
        return _packed(len(self.scheme.candidates), member.shape[1], denied)

    @lazy
    def cc_entry(self) -> np.ndarray:
        """For each distinct diagnosis the row of the scheme's cc with the longest entry that matches, -1 for none."""
        pairs = self.scheme.cc_lookup.pairs(self.dx)
        entry = np.full(len(self.dx), -1, dtype=np.int64)
        entry[pairs["code"].to_numpy()] = pairs["entry"].to_numpy()
        return entry

    @lazy
    def further(self) -> dict[Term, list[int]]:
        """Every term on something else than the principal diagnosis and main procedure; the candidates it stands in."""
        users: dict[Term, list[int]] = {}
        for place, (_, terms) in enumerate(self.scheme.candidates):
            for term in terms:
                if term.looks_at not in ("pdx", "main_proc"):
                    users.setdefault(term, []).append(place)
        return users

    @lazy
    def facts(self) -> list[tuple[list[Term], Bits]]:
        """The further terms by eights, and the candidates that each combination of eight leaves."""
        further, candidates = list(self.further.items()), len(self.scheme.candidates)
        eights = [further[start : start + 8] for start in range(0, len(further), 8)]
        return [([t for t, _ in eight], _facts_table(candidates, [users for _, users in eight])) for eight in eights]

    @lazy
    def chains(self) -> Chains:
        """The DRGs of every outcome in order of trial, and of none and invalid, which have one each."""
        chains = [[condition for _, condition in one.drgs] for one in self.scheme.outcomes] + [[ALWAYS], [ALWAYS]]
        number = {condition: place for place, condition in enumerate(dict.fromkeys(sum(chains, [])))}
        start, length = np.cumsum([0, *map(len, chains)])[:-1], np.array(list(map(len, chains)))
        tried = [
            np.array([number[chain[step]] if step < len(chain) - 1 else -1 for chain in chains])
            for step in range(length.max() - 1)
        ]
        return Chains(list(number), start, start + length - 1, tried)

    @lazy
    def dx_asked(self) -> np.ndarray:
        """Boolean [distinct diagnosis and none]: does some condition ask for it beyond the principal diagnosis."""
        asked = [self.list_number(term) for term in self.further if term.looks_at in DX_SETS]
        asked += [self.scheme.dx.keys[part] for parts in self.scheme.regions.values() for part in parts]
        return self.dx_member[asked].any(axis=0)

    @lazy
    def proc_asked(self) -> np.ndarray:
        """Boolean [distinct procedure and none]: does some condition ask for it beyond the main procedure."""
        return self.proc_member[[self.list_number(t) for t in self.further if t.looks_at in PROC_SETS]].any(axis=0)

    def prepare(self) -> None:
        """Work everything out now: several threads that ask for it first would each do so."""
        _ = self.allowed, self.facts, self.chains, self.cc_entry, self.dx_asked, self.proc_asked

    def list_number(self, term: Term) -> int:
        return (self.scheme.dx if "dx" in term.looks_at else self.scheme.proc).keys[term.codes]


@dataclass(frozen=True)
class Judged:
    """Stays judged by a scheme; each answer is an array with one element a stay, worked out when first asked for."""

    stays: Stays
    meaning: Meaning
    held: dict[Term, np.ndarray] = field(default_factory=dict)

    @property
    def scheme(self) -> Scheme:
        return self.meaning.scheme

    # The answers

    @lazy
    def invalid(self) -> np.ndarray:
        """The record cannot be judged: see Stays.missing."""
        return self.stays.missing.select(pl.any_horizontal(pl.all())).to_series().to_numpy()

    @lazy
    def left(self) -> Bits:
        """The candidates whose terms all hold."""
        return left_of(self.meaning, self.stays.dx.first, self.stays.proc.first, self.holds)

    @lazy
    def reached(self) -> np.ndarray:
        """Number of the first candidate whose terms all hold; len(candidates) for none and for invalid stays."""
        candidates = len(self.scheme.candidates)
        return np.where(self.invalid, candidates, lowest(self.left, candidates, len(self.stays)))

    @lazy
    def outcome(self) -> np.ndarray:
        """Number of the outcome; len(outcomes) for ungrouped, one more for invalid."""
        return np.where(self.invalid, len(self.scheme.outcomes) + 1, self.scheme.outcome_of[self.reached])

    @lazy
    def end(self) -> np.ndarray:
        """Number of the DRG, counted through all outcomes; one past the last for ungrouped, two for invalid stays."""
        return end_of(self.meaning.chains, self.outcome, self.holds)

    # Facts beyond the principal diagnosis and the main procedure

    def holds(self, term: Term) -> np.ndarray:
        """Whether a term other than pdx and main_proc holds; a value not known satisfies neither it nor its `not`."""
        if term not in self.held:
            true, known = self._truth(term)
            self.held[term] = known & ~true if term.negated else known & true
        return self.held[term]

    def _truth(self, term: Term) -> tuple[np.ndarray, np.ndarray | bool]:
        if term.looks_at == "severity":
            return self.severity[term.name], True
        if term.looks_at == "regions":
            return COMPARE[term.comparison](self._regions(term.name), term.number), True
        if term.looks_at in (*DX_SETS, *PROC_SETS):
            return self._touched(self.rows_in_list(term)[0]), True
        values = self.stays.facts[term.name]
        known = values.is_not_null().to_numpy()
        if term.looks_at == "choice":
            return values.fill_null("").is_in(list(term.values)).to_numpy(), known
        return COMPARE[term.comparison](values.cast(pl.Float64).fill_null(0).to_numpy(), term.number), known

    def _touched(self, rows: np.ndarray) -> np.ndarray:
        touched = np.zeros(len(self.stays), dtype=bool)
        touched[rows] = True
        return touched

    def _regions(self, mdc: str) -> np.ndarray:
        counts = np.zeros(len(self.stays), dtype=np.int8)
        for part in self.scheme.regions.get(mdc, ()):
            counts += self._touched(self.rows_in_region(part)[0])
        return counts

    def rows_in_list(self, term: Term) -> tuple[np.ndarray, np.ndarray]:
        """(stay, code) of every diagnosis or procedure in the list of a term on any or on secondary ones."""
        of_dx = term.looks_at in DX_SETS
        member = self.meaning.dx_member if of_dx else self.meaning.proc_member
        row, code, is_first = self._sifted_dx if of_dx else self._sifted_proc
        hit = member[self.meaning.list_number(term)][code]
        if term.looks_at.startswith("sec_"):
            hit &= ~is_first
        return row[hit], code[hit]

    def rows_in_region(self, part: ListKey) -> tuple[np.ndarray, np.ndarray]:
        """(stay, code) of every diagnosis in one body region of an MDC."""
        row, code, _ = self._sifted_dx
        hit = self.meaning.dx_member[self.scheme.dx.keys[part]][code]
        return row[hit], code[hit]

    @lazy
    def _sifted_dx(self):
        return _sift(self.stays.dx, self.meaning.dx_asked)

    @lazy
    def _sifted_proc(self):
        return _sift(self.stays.proc, self.meaning.proc_asked)

    # Severity

    @lazy
    def comorbidities(self) -> "Comorbidities":
        """Secondary diagnoses in the CC or MCC list, and whether the principal diagnosis excludes them."""
        dx, entry_of, exclusion_of = self.stays.dx, self.meaning.cc_entry, self.scheme.cc_exclusion
        place = np.flatnonzero((entry_of >= 0)[dx.code] & ~dx.is_first)
        row, code = dx.row[place], dx.code[place]
        exclusion = exclusion_of[entry_of[code]]
        excluded = (exclusion >= 0) & self.meaning.dx_member[exclusion, dx.first[row]]
        return Comorbidities(place, row, self.scheme.cc_level[entry_of[code]], excluded)

    @lazy
    def severity(self) -> dict[str, np.ndarray]:
        """Whether each stay has a CC, an MCC that counts."""
        found = self.comorbidities
        return {n: self._touched(found.row[~found.excluded & (found.level == level)]) for n, level in LEVELS.items()}


@dataclass(frozen=True)
class Comorbidities:
    """Secondary diagnoses that are in the CC or MCC list: `place` in Coded, the stay's `row`, level 1 or 2."""

    place: np.ndarray
    row: np.ndarray
    level: np.ndarray
    excluded: np.ndarray


def _sift(coded: Coded, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stay, code, is first) of the few rows that some condition on any diagnosis or procedure asks for."""
    rows = np.flatnonzero(asked[coded.code])
    return coded.row[rows], coded.code[rows], coded.is_first[rows]


# The tree


def left_of(meaning: Meaning, pdx: np.ndarray, main: np.ndarray, holds: Callable[[Term], np.ndarray]) -> Bits:
    """The candidates whose terms all hold, of stays with these principal diagnoses and main procedures."""
    left: Bits = [None] * -(-len(meaning.scheme.candidates) // WORD)
    _narrow(left, meaning.allowed["pdx"], pdx)
    _narrow(left, meaning.allowed["main_proc"], main)
    for terms, table in meaning.facts:
        ids = np.zeros(len(pdx), dtype=np.uint8)
        for bit, term in enumerate(terms):
            ids |= holds(term).view(np.uint8) << np.uint8(bit)
        _narrow(left, table, ids)
    return left


def end_of(chains: Chains, outcome: np.ndarray, holds: Callable[[Term], np.ndarray]) -> np.ndarray:
    """Of each outcome the first DRG whose condition holds; see Judged.end."""
    everyone, stays = np.ones(len(outcome), dtype=bool), np.arange(len(outcome))
    held = np.stack([_either(condition, holds, everyone) for condition in chains.conditions])
    start, end = chains.start[outcome], chains.last[outcome]
    # The last DRG of a chain is unconditional, so only the earlier ones are tried, the foremost last.
    for step in reversed(range(len(chains.tried))):
        tried = chains.tried[step][outcome]
        end = np.where((tried >= 0) & held[tried, stays], start + step, end)
    return end


def _either(condition: Condition, holds: Callable[[Term], np.ndarray], everyone: np.ndarray) -> np.ndarray:
    alternatives = [np.logical_and.reduce([everyone, *(holds(term) for term in terms)]) for terms in condition]
    return np.logical_or.reduce(alternatives)


# Bits


def _packed(candidates: int, ids: int, denied: list[tuple[int, np.ndarray]]) -> Bits:
    """For every id the candidates left to it, when each (candidate, Boolean [id]) of `denied` is taken away."""
    table: Bits = [None] * -(-candidates // WORD)
    for place, gone in denied:
        word, bit = divmod(place, WORD)
        if table[word] is None:
            table[word] = np.full(ids, ALL_BITS)
        table[word] &= ~(gone.astype(np.uint64) << np.uint64(bit))
    return table


def _facts_table(candidates: int, users: list[list[int]]) -> Bits:
    """As _packed; an id is a number whose bits say which of the terms hold, up to eight."""
    facts = np.arange(2 ** len(users))
    denied = [(place, (facts >> bit & 1) == 0) for bit, places in enumerate(users) for place in places]
    return _packed(candidates, len(facts), denied)


def _narrow(left: Bits, table: Bits, ids: np.ndarray) -> None:
    """Rules out for every stay the candidates that the table denies to its id."""
    for word, allowed in enumerate(table):
        if allowed is None:
            continue
        if left[word] is None:
            left[word] = allowed[ids]
        else:
            left[word] &= allowed[ids]


def lowest(left: Bits, candidates: int, stays: int) -> np.ndarray:
    """Number of the lowest bit left in each stay; `candidates` when there is none."""
    best = np.full(stays, candidates, dtype=np.int64)
    for word in reversed(range(len(left))):
        bits = np.full(stays, ALL_BITS) if left[word] is None else left[word]
        number = WORD * word + pl.Series(bits).bitwise_trailing_zeros().to_numpy().astype(np.int64)
        best = np.where(bits != 0, np.minimum(number, candidates), best)
    return best
