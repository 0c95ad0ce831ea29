"""Groups inpatient stays by a scheme: MDC, ADRG, DRG, weight, status, and why.

The published first-match tree is one minimum: every (MDC and ADRG) condition is a bit, in order of trial, and the bits
a stay satisfies are the AND of one table row per thing the conditions look at (its principal diagnosis, its main
procedure, its further facts). The lowest bit left is the group. There is no loop over stays, only over terms.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from engine.grouping import stays as stays_of
from engine.grouping.conditions import ListKey, Term
from engine.grouping.dip import group_dip
from engine.grouping.dip_scheme import DipScheme
from engine.grouping.dip_why import explain_dip
from engine.grouping.scheme import ALWAYS, AnyScheme, Condition, Scheme
from engine.grouping.scheme_files import LEVELS
from engine.grouping.stays import Coded, Stays
from engine.grouping.why import explain

UNGROUPED = ("0000", "00", "0000", "ungrouped")
INVALID = (None, None, None, "invalid")
COMPARE = {
    "==": np.equal,
    "!=": np.not_equal,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
}
WORD = 64
ALL_BITS = np.uint64(2**WORD - 1)


def group(
    claims: pl.DataFrame,
    diagnoses: pl.DataFrame,
    procedures: pl.DataFrame,
    scheme: AnyScheme,
    why: bool = True,
) -> pl.DataFrame:
    """One row per claim in the order of the claims, with the columns of grouping.parquet.

    `claims`, `diagnoses`, `procedures` are canonical frames. Columns: setl_id, scheme, mdc, adrg, drg, weight
    Decimal(12,8) (null where the scheme gives none), status, why in Chinese (null when not asked for). Status is
    grouped; ambiguous (adrg QY); ungrouped (0000, 00, 0000); invalid (null: sex, age or diagnosis is missing).
    """
    stays = stays_of.from_tables(claims, diagnoses, procedures, scheme.normalise_codes)
    return _group(stays, scheme, why).select(claims["setl_id"], pl.all())


def group_records(frame: pl.DataFrame, scheme: AnyScheme, why: bool = True) -> pl.DataFrame:
    """As `group`, without setl_id, for one frame with sex, age, age_days, weight and the code lists dx and proc."""
    return _group(stays_of.from_lists(frame, scheme.normalise_codes), scheme, why)


def _group(stays: Stays, scheme: AnyScheme, why: bool) -> pl.DataFrame:
    nothing = pl.lit(None, pl.String).alias("why")
    if isinstance(scheme, DipScheme):
        result, found = group_dip(stays, scheme)
        return result.with_columns(explain_dip(found) if why else nothing)
    judged = Judged(stays, scheme)
    result = _ends(scheme)[judged.end.astype(np.uint32)]
    text = explain(judged) if why else nothing
    return result.select(pl.lit(scheme.name).alias("scheme"), "mdc", "adrg", "drg", "weight", "status", text)


def _ends(scheme: Scheme) -> pl.DataFrame:
    """What to write for each DRG, counted through all outcomes, then for ungrouped, then for invalid."""
    ends = [
        (outcome.mdc, outcome.adrg, drg, "ambiguous" if outcome.kind == "ambiguous" else "grouped")
        for outcome in scheme.outcomes
        for drg, _ in outcome.drgs
    ]
    columns = dict.fromkeys(("mdc", "adrg", "drg", "status"), pl.String)
    table = pl.DataFrame([*ends, UNGROUPED, INVALID], schema=columns, orient="row")
    return table.join(scheme.weights, on="drg", how="left", maintain_order="left")


@dataclass(frozen=True)
class Judged:
    """Stays judged by a scheme; each answer is an array with one element a stay, worked out when first asked for."""

    stays: Stays
    scheme: Scheme

    @cached_property
    def dx_member(self) -> np.ndarray:
        """Boolean [list, distinct diagnosis and none]."""
        return self.scheme.dx.membership(self.stays.dx.distinct)

    @cached_property
    def proc_member(self) -> np.ndarray:
        """Boolean [list, distinct procedure and none]."""
        return self.scheme.proc.membership(self.stays.proc.distinct)

    # The answers

    @cached_property
    def invalid(self) -> np.ndarray:
        """The record cannot be judged: see Stays.missing."""
        return self.stays.missing.select(pl.any_horizontal(pl.all())).to_series().to_numpy()

    @cached_property
    def reached(self) -> np.ndarray:
        """Number of the first candidate whose terms all hold; len(candidates) for none and for invalid stays."""
        alternatives = [terms for _, terms in self.scheme.candidates]
        left: list[np.ndarray | None] = [None] * -(-len(alternatives) // WORD)
        _narrow(left, self._role_table("pdx", self.dx_member), self.stays.dx.first)
        _narrow(left, self._role_table("main_proc", self.proc_member), self.stays.proc.first)
        further = list(self.further.items())
        for eight in (further[start : start + 8] for start in range(0, len(further), 8)):
            ids = np.packbits(np.stack([self.holds(term) for term, _ in eight]), axis=0, bitorder="little")[0]
            _narrow(left, _facts_table(len(alternatives), [users for _, users in eight]), ids)
        return np.where(self.invalid, len(alternatives), _lowest(left, len(alternatives), len(self.stays)))

    @cached_property
    def outcome(self) -> np.ndarray:
        """Number of the outcome; len(outcomes) for ungrouped, one more for invalid."""
        outcomes = len(self.scheme.outcomes)
        of_candidate = np.array([outcome for outcome, _ in self.scheme.candidates] + [outcomes])
        return np.where(self.invalid, outcomes + 1, of_candidate[self.reached])

    @cached_property
    def end(self) -> np.ndarray:
        """Number of the row of _ends: the first DRG of the outcome whose condition holds."""
        chains = [[condition for _, condition in outcome.drgs] for outcome in self.scheme.outcomes]
        chains += [[ALWAYS], [ALWAYS]]
        number = {condition: place for place, condition in enumerate(dict.fromkeys(sum(chains, [])))}
        holds = np.stack([self._condition(condition) for condition in number])
        start = np.cumsum([0, *map(len, chains)])[:-1]
        end = start[self.outcome] + np.array([len(chain) - 1 for chain in chains])[self.outcome]
        everyone = np.arange(len(self.stays))
        # The last DRG of a chain is unconditional, so only the earlier ones are tried, the foremost last.
        for step in reversed(range(max(map(len, chains)) - 1)):
            tried = np.array([number[chain[step]] if step < len(chain) - 1 else -1 for chain in chains])[self.outcome]
            end = np.where((tried >= 0) & holds[tried, everyone], start[self.outcome] + step, end)
        return end

    def _condition(self, condition: Condition) -> np.ndarray:
        true = np.zeros(len(self.stays), dtype=bool)
        for terms in condition:
            true |= np.logical_and.reduce([self.holds(term) for term in terms] or [~true])
        return true

    def _role_table(self, role: str, member: np.ndarray) -> np.ndarray:
        """Boolean [candidate, code]: do the terms on this role hold for a stay whose code this is."""
        table = np.ones((len(self.scheme.candidates), member.shape[1]), dtype=bool)
        for place, (_, terms) in enumerate(self.scheme.candidates):
            for term in terms:
                if term.looks_at == role:
                    table[place] &= member[self._list_number(term)] ^ term.negated
        return table

    # Facts beyond the principal diagnosis and the main procedure

    @cached_property
    def further(self) -> dict[Term, list[int]]:
        """Every term on something else, with the candidates it stands in."""
        users: dict[Term, list[int]] = {}
        for place, (_, terms) in enumerate(self.scheme.candidates):
            for term in terms:
                if term.looks_at not in ("pdx", "main_proc"):
                    users.setdefault(term, []).append(place)
        return users

    def holds(self, term: Term) -> np.ndarray:
        """Whether a term other than pdx and main_proc holds; a value not known satisfies neither it nor its `not`."""
        true, known = self._truth(term)
        return known & ~true if term.negated else known & true

    def _truth(self, term: Term) -> tuple[np.ndarray, np.ndarray | bool]:
        if term.looks_at == "severity":
            return self.severity[term.name], True
        if term.looks_at == "regions":
            return COMPARE[term.comparison](self._regions(term.name), term.number), True
        if term.looks_at in ("any_dx", "sec_dx", "any_proc"):
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
        """(stay, code) of every diagnosis or procedure in the list of an any_dx, sec_dx or any_proc term."""
        member = self.proc_member if term.looks_at == "any_proc" else self.dx_member
        row, code, is_first = self._sifted_proc if term.looks_at == "any_proc" else self._sifted_dx
        hit = member[self._list_number(term)][code]
        if term.looks_at == "sec_dx":
            hit &= ~is_first
        return row[hit], code[hit]

    def rows_in_region(self, part: ListKey) -> tuple[np.ndarray, np.ndarray]:
        """(stay, code) of every diagnosis in one body region of an MDC."""
        row, code, _ = self._sifted_dx
        hit = self.dx_member[self.scheme.dx.keys[part]][code]
        return row[hit], code[hit]

    @cached_property
    def _sifted_dx(self):
        asked = [self._list_number(term) for term in self.further if term.looks_at in ("any_dx", "sec_dx")]
        asked += [self.scheme.dx.keys[part] for parts in self.scheme.regions.values() for part in parts]
        return _sift(self.stays.dx, self.dx_member[asked])

    @cached_property
    def _sifted_proc(self):
        asked = [self._list_number(term) for term in self.further if term.looks_at == "any_proc"]
        return _sift(self.stays.proc, self.proc_member[asked])

    def _list_number(self, term: Term) -> int:
        return (self.scheme.dx if "dx" in term.looks_at else self.scheme.proc).keys[term.codes]

    # Severity

    @cached_property
    def cc_entry(self) -> np.ndarray:
        """For each distinct diagnosis the row of the scheme's cc with the longest entry that matches, -1 for none."""
        pairs = self.scheme.cc_lookup.pairs(self.stays.dx.distinct)
        entry = np.full(len(self.stays.dx.distinct), -1, dtype=np.int64)
        entry[pairs["code"].to_numpy()] = pairs["entry"].to_numpy()
        return entry

    @cached_property
    def comorbidities(self) -> pl.DataFrame:
        """Secondary diagnoses in the CC or MCC list: row, code, level, and excluded by the principal or not."""
        dx, cc = self.stays.dx, self.scheme.cc
        secondary = np.flatnonzero((self.cc_entry >= 0)[dx.code] & ~dx.is_first)
        row, code = dx.row[secondary], dx.code[secondary]
        entry = self.cc_entry[code]
        exclusion = cc["exclusion"].fill_null(-1).to_numpy()[entry]
        excluded = (exclusion >= 0) & self.dx_member[exclusion, dx.first[row]]
        return pl.DataFrame({"row": row, "code": code, "level": cc["level"].to_numpy()[entry], "excluded": excluded})

    @cached_property
    def severity(self) -> dict[str, np.ndarray]:
        """Whether each stay has a CC, an MCC that counts."""
        counted = self.comorbidities.filter(~pl.col("excluded"))
        return {
            name: self._touched(counted.filter(pl.col("level") == level)["row"].to_numpy())
            for name, level in LEVELS.items()
        }


def _sift(coded: Coded, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stay, code, is first) of the few rows that some condition on any diagnosis or procedure asks for."""
    rows = np.flatnonzero(asked.any(axis=0)[coded.code])
    return coded.row[rows], coded.code[rows], coded.is_first[rows]


# Bits: word w of `left` holds the candidates 64 w to 64 w + 63 of every stay, None while none has been ruled out


def _facts_table(candidates: int, users: list[list[int]]) -> np.ndarray:
    """Boolean [candidate, facts]: facts is a number whose bits say which of up to eight terms hold."""
    table = np.ones((candidates, 2 ** len(users)), dtype=bool)
    facts = np.arange(2 ** len(users))
    for bit, places in enumerate(users):
        table[places] &= (facts >> bit & 1).astype(bool)
    return table


def _narrow(left: list[np.ndarray | None], allowed: np.ndarray, ids: np.ndarray) -> None:
    """Rules out for every stay the candidates that `allowed` [candidate, id] denies to its id."""
    padded = np.ones((len(left) * WORD, allowed.shape[1]), dtype=bool)
    padded[: len(allowed)] = allowed
    packed = np.ascontiguousarray(np.packbits(padded, axis=0, bitorder="little").T)
    for word, table in enumerate(np.ascontiguousarray(packed.view("<u8").T)):
        if (table == ALL_BITS).all():
            continue
        if left[word] is None:
            left[word] = table[ids]
        else:
            left[word] &= table[ids]


def _lowest(left: list[np.ndarray | None], candidates: int, stays: int) -> np.ndarray:
    """Number of the lowest bit left in each stay; `candidates` when there is none."""
    best = np.full(stays, candidates, dtype=np.int64)
    for word in reversed(range(len(left))):
        bits = np.full(stays, ALL_BITS) if left[word] is None else left[word]
        lowest = WORD * word + pl.Series(bits).bitwise_trailing_zeros().to_numpy().astype(np.int64)
        best = np.where(bits != 0, np.minimum(lowest, candidates), best)
    return best
