"""A grouping scheme ready to group with, built from its folder of tables.

load_scheme refuses a damaged folder with one clear message; engine.grouping.schemecheck lists everything wrong with it.
The formats are those of engine.grouping.scheme_files, conditions of engine.grouping.conditions, code entries of
engine.grouping.codes.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from engine.grouping.codebook import CodeBook, book_of
from engine.grouping.codes import CodeLists, Lookup
from engine.grouping.conditions import (
    AMBIGUOUS_PROCEDURES,
    DX_ROLES,
    PROC_ROLES,
    VALID_PROCEDURES,
    Alternative,
    ListKey,
    Term,
    parse_condition,
)
from engine.grouping.dip_scheme import DipScheme, load_dip
from engine.grouping.scheme_files import LEVELS, Tables, at, faults, kind_of, read_files
from engine.tables.problems import Problem, RuleProblem
from engine.tables.yamltext import read_mapping

WEIGHT = pl.Decimal(12, 8)
Condition = tuple[Alternative, ...]
ALWAYS: Condition = ((),)


@dataclass(frozen=True)
class Outcome:
    """Where a record can end: an ADRG (or the ambiguous group of an MDC) with its DRGs in order of trial."""

    mdc: str
    adrg: str
    kind: str
    drgs: tuple[tuple[str, Condition], ...]


@dataclass(frozen=True)
class Scheme:
    """What the grouper needs.

    names: Chinese name of each MDC, ADRG and DRG. mdcs: codes in order of trial. candidates: (number of the outcome,
    terms that must all hold) in order of trial; the first that holds wins. regions: the body region lists of an MDC.
    cc: entry, level (1 CC, 2 MCC), exclusion_id, exclusion (number of the dx list of that id, null without one).
    weights: drg, weight Decimal(12,8).
    """

    name: str
    version: str
    book: CodeBook
    names: dict[str, str]
    mdcs: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    candidates: tuple[tuple[int, Alternative], ...]
    regions: dict[str, tuple[ListKey, ...]]
    dx: CodeLists
    proc: CodeLists
    cc: pl.DataFrame
    cc_lookup: Lookup
    weights: pl.DataFrame

    @cached_property
    def outcome_of(self) -> np.ndarray:
        """The outcome of each candidate, and for one more, none, the number past the last outcome."""
        return np.array([*(outcome for outcome, _ in self.candidates), len(self.outcomes)])

    @cached_property
    def later(self) -> np.ndarray:
        """Bits [outcome, word] of the candidates of later outcomes; candidates stand in the order of their outcomes."""
        later = np.less.outer(np.arange(len(self.outcomes)), self.outcome_of[:-1])
        padded = np.zeros((len(later), -(-later.shape[1] // 64) * 64), dtype=bool)
        padded[:, : later.shape[1]] = later
        return np.packbits(padded, axis=1, bitorder="little").view("<u8")

    @cached_property
    def end_weights(self) -> np.ndarray:
        """The weight of each DRG, counted through all outcomes, in units of 1e-8; -1 without one and for no group."""
        weights = {drg: int(weight.scaleb(8)) for drg, weight in self.weights.iter_rows()}
        return np.array([*(weights.get(drg, -1) for outcome in self.outcomes for drg, _ in outcome.drgs), -1, -1])

    @cached_property
    def by_severity(self) -> np.ndarray:
        """Whether each outcome, and none and invalid, is split by MCC and CC."""
        conditions = [[term for _, c in outcome.drgs for terms in c for term in terms] for outcome in self.outcomes]
        return np.array([*(any(t.looks_at == "severity" for t in terms) for terms in conditions), False, False])

    @cached_property
    def cc_level(self) -> np.ndarray:
        return self.cc["level"].to_numpy()

    @cached_property
    def cc_exclusion(self) -> np.ndarray:
        """For each row of cc the dx list that excludes it, -1 for none."""
        return self.cc["exclusion"].fill_null(-1).to_numpy()


AnyScheme = Scheme | DipScheme


def load_scheme(folder: Path) -> AnyScheme:
    """The scheme of a folder, of the kind that its scheme.yaml says.

    Raises InputProblem for what cannot be read, RuleProblem for faulty content.
    """
    scheme, problems = scheme_or_faults(folder)
    if problems:
        first = problems[0]
        more = f"另有 {len(problems) - 1} 处 more problems: yibao scheme check" if len(problems) > 1 else ""
        raise type(first)(first.what, first.where, first.allowed, "；".join(filter(None, (first.hint, more))))
    return scheme


def scheme_or_faults(folder: Path) -> tuple[AnyScheme | None, list[Problem]]:
    """The scheme of a folder, or everything that keeps it from loading."""
    folder = Path(folder)
    return KINDS.get(kind_of(folder), _unknown_kind)(folder)


def _load(folder: Path) -> tuple[Scheme | None, list[Problem]]:
    tables, options, problems = read_files(folder)
    problems = problems or faults(tables)
    return (None, problems) if problems else _build(tables, options)


def _unknown_kind(folder: Path) -> tuple[None, list[Problem]]:
    said = f"不认识的方案种类 unknown kind of scheme: {kind_of(folder)}"
    _, lines = read_mapping(folder / "scheme.yaml")
    return None, [RuleProblem(said, at("scheme.yaml", lines[("kind",)], "kind"), ", ".join(KINDS))]


KINDS = {"drg": _load, "dip": load_dip}


def _build(tables: Tables, options: dict[str, str]) -> tuple[Scheme | None, list[Problem]]:
    lists = _lists(tables)
    find = _finder(lists)
    regions = _regions(tables["mdc_codes"])
    problems: list[Problem] = []
    mdc_conditions = _conditions(tables["mdc"], "mdc", find, regions, problems)
    adrg_conditions = _conditions(tables["adrg"], "adrg", find, regions, problems)
    drgs = _drgs(tables, problems)
    if problems:
        return None, problems
    of_mdc = dict(tables["adrg"].select("adrg", "mdc").iter_rows())
    _departures(options, mdc_conditions, adrg_conditions, of_mdc, problems)
    if problems:
        return None, problems
    for mdc in regions:
        mdc_conditions[mdc] = tuple(_with_regions(mdc, terms) for terms in mdc_conditions[mdc])
    outcomes, candidates = _candidates(tables, options["qy"], mdc_conditions, adrg_conditions, drgs)
    wanted = {term.codes for _, terms in candidates for term in terms if term.codes}
    wanted |= {part for parts in regions.values() for part in parts}
    exclusions = [ListKey("exclusion", number) for number in tables["exclusions"]["exclusion_id"].unique()]
    dx = _code_lists(lists, [*(key for key in wanted if key.kind in DX_ROLES), *exclusions])
    proc = _code_lists(lists, [key for key in wanted if key.kind not in (*DX_ROLES, "exclusion")])
    cc = _cc(tables["cc"], dx)
    names = {code: name for key in ("mdc", "adrg", "drg") for code, name in tables[key].select(key, "name").iter_rows()}
    scheme = Scheme(
        name=options["name"],
        version=options["version"],
        book=book_of(tables, options),
        names=names,
        mdcs=tuple(_in_order(tables["mdc"])["mdc"]),
        outcomes=tuple(outcomes),
        candidates=tuple(candidates),
        regions=regions,
        dx=dx,
        proc=proc,
        cc=cc,
        cc_lookup=Lookup(cc["entry"]),
        weights=_weights(tables),
    )
    return scheme, []


def _departures(
    options: dict[str, str],
    conditions: dict[str, Condition],
    of_adrgs: dict[str, Condition],
    of_mdc: dict[str, str],
    problems: list[Problem],
) -> None:
    """Where a scheme follows the published method and not the open grouper's tables, as scheme.yaml says.

    any_diagnosis: MDCs whose lists, and those of their ADRGs, any diagnosis may meet, not only the principal (HIV
    infection). newborns: the MDC of every stay up to 28 days of age, whatever its principal diagnosis.
    """
    for option in ("any_diagnosis", "newborns"):
        for mdc in options[option].split():
            if mdc not in conditions:
                said = f"{option}: 没有这个 MDC no such MDC: {mdc}"
                problems.append(RuleProblem(said, "scheme.yaml", ", ".join(conditions)))
            elif option == "newborns":
                conditions[mdc] += ((Term("number", "age_days", comparison="<=", number=28),),)
            else:
                conditions[mdc] = _of_any(conditions[mdc])
                of_adrgs |= {adrg: _of_any(of_adrgs[adrg]) for adrg, own in of_mdc.items() if own == mdc}


def _of_any(condition: Condition) -> Condition:
    """The condition with its terms on the principal diagnosis asked of any diagnosis."""
    return tuple(
        tuple(replace(term, looks_at="any_dx") if term.looks_at == "pdx" else term for term in terms)
        for terms in condition
    )


def _in_order(table: pl.DataFrame) -> pl.DataFrame:
    return table.sort(pl.col("order").cast(pl.Int64))


# Code lists


def _lists(tables: Tables) -> pl.DataFrame:
    """Every list entry of the scheme in one frame: kind, owner, part, entry."""
    nothing, valid = pl.lit(""), tables["proc_valid"]
    unowned = {"owner": nothing, "part": nothing, "entry": "code"}
    lists = pl.concat(
        [
            tables["mdc_codes"].select(kind=pl.lit("pdx"), owner="mdc", part="part", entry="code"),
            tables["adrg_codes"].select(kind="list_kind", owner="adrg", part="part", entry="code"),
            tables["exclusions"].select(kind=pl.lit("exclusion"), owner="exclusion_id", part=nothing, entry="pdx"),
            valid.select(kind=pl.lit(VALID_PROCEDURES.kind), **unowned),
            valid.filter(pl.col("qy") != "no").select(kind=pl.lit(AMBIGUOUS_PROCEDURES.kind), **unowned),
        ]
    ).sort("kind", "owner", "part", "entry")
    # A procedure entered in two numbered parts stands for its first part only: one operation is not two.
    again = (pl.col("kind") == "proc_part") & ~pl.struct("kind", "owner", "entry").is_first_distinct()
    return lists.filter(~again)


def _finder(lists: pl.DataFrame):
    """A function from the list a condition names to the list that exists, or None.

    A list asked of another group may have been entered there for another role: any_dx@BR1 finds the pdx list of BR1.
    """
    have = {ListKey(*row) for row in lists.select("kind", "owner", "part").unique().iter_rows()}
    have |= {replace(key, part="") for key in have} | {VALID_PROCEDURES, AMBIGUOUS_PROCEDURES}

    def find(key: ListKey) -> ListKey | None:
        roles = next((roles for roles in (DX_ROLES, PROC_ROLES) if key.kind in roles), ())
        options = (replace(key, kind=kind) for kind in (key.kind, *roles))
        return next((option for option in options if option in have), None)

    return find


def _code_lists(lists: pl.DataFrame, keys: list[ListKey]) -> CodeLists:
    ordered = sorted(keys, key=lambda key: (key.kind, key.owner, key.part))
    numbered = pl.DataFrame(
        [(key.kind, key.owner, key.part, number) for number, key in enumerate(ordered)],
        schema={"kind": pl.String, "owner": pl.String, "part": pl.String, "list": pl.Int64},
        orient="row",
    )
    whole = numbered.filter(pl.col("part") == "").drop("part")
    parts = numbered.filter(pl.col("part") != "")
    found = [lists.join(whole, on=["kind", "owner"]), lists.join(parts, on=["kind", "owner", "part"])]
    entries = pl.concat([frame.select("list", "entry") for frame in found]).unique().sort("list", "entry")
    return CodeLists({key: number for number, key in enumerate(ordered)}, entries)


def _regions(mdc_codes: pl.DataFrame) -> dict[str, tuple[ListKey, ...]]:
    regions: dict[str, tuple[ListKey, ...]] = defaultdict(tuple)
    parts = mdc_codes.filter(pl.col("part") != "").select("mdc", "part").unique().sort("mdc", "part")
    for mdc, part in parts.iter_rows():
        regions[mdc] += (ListKey("pdx", mdc, part),)
    return dict(regions)


def _with_regions(mdc: str, terms: Alternative) -> Alternative:
    """A list in body regions means multiple trauma: two must be touched unless the condition itself says how many."""
    if any(term.looks_at == "regions" for term in terms):
        return terms
    return (*terms, Term("regions", mdc, comparison=">=", number=2))


def _cc(cc: pl.DataFrame, dx: CodeLists) -> pl.DataFrame:
    exclusion = {key.owner: number for key, number in dx.keys.items() if key.kind == "exclusion"}
    return cc.select(
        entry="code",
        level=pl.col("level").replace_strict(LEVELS, return_dtype=pl.Int8),
        exclusion_id="exclusion_id",
        exclusion=pl.col("exclusion_id").replace_strict(exclusion, default=None, return_dtype=pl.Int64),
    ).sort("entry")


def _weights(tables: Tables) -> pl.DataFrame:
    if "weights" not in tables:
        return pl.DataFrame(schema={"drg": pl.String, "weight": WEIGHT})
    return tables["weights"].select("drg", pl.col("weight").str.to_decimal(scale=8).cast(WEIGHT))


# Conditions


def _conditions(table: pl.DataFrame, key: str, find, regions, problems: list[Problem]) -> dict[str, Condition]:
    conditions = {}
    for owner, text, file, line in table.select(key, "condition", "file", "line").iter_rows():
        where = at(file, line, "condition")
        try:
            parsed = parse_condition(text, owner, where)
            conditions[owner] = tuple(tuple(_found(term, find, regions, where) for term in terms) for terms in parsed)
        except RuleProblem as problem:
            problems.append(problem)
    return conditions


def _found(term: Term, find, regions: dict[str, tuple[ListKey, ...]], where: str) -> Term:
    if term.looks_at == "regions" and term.name not in regions:
        what = f"{term.name} 的编码表没有部位 the codes of {term.name} have no parts"
        raise RuleProblem(what, where, ", ".join(f"body_regions@{mdc}" for mdc in regions))
    if term.codes is None:
        return term
    if codes := find(term.codes):
        return replace(term, codes=codes)
    wanted = f"{term.codes.kind}{':' * bool(term.codes.part)}{term.codes.part}@{term.codes.owner}"
    raise RuleProblem(f"条件需要的编码表不存在 there are no codes for the list {wanted}", where)


def _drgs(tables: Tables, problems: list[Problem]) -> dict[str, tuple[tuple[str, Condition], ...]]:
    """The DRGs of each ADRG in order of trial."""
    drgs = defaultdict(tuple)
    table = tables["drg"].sort("adrg", pl.col("order_in_adrg").cast(pl.Int64))
    for adrg, drg, text, file, line in table.select("adrg", "drg", "condition", "file", "line").iter_rows():
        where = at(file, line, "condition")
        try:
            condition = parse_condition(text, adrg, where)
        except RuleProblem as problem:
            problems.append(problem)
            continue
        if any(term.codes or term.looks_at == "regions" for terms in condition for term in terms):
            problems.append(RuleProblem("DRG 的条件不能查编码表 a DRG condition cannot look into lists", where))
        drgs[adrg] += ((drg, condition),)
    for adrg, file, line in tables["adrg"].select("adrg", "file", "line").iter_rows():
        if not drgs[adrg] or drgs[adrg][-1][1] != ALWAYS:
            what = f"{adrg} 的最后一个 DRG 必须无条件 the last DRG of {adrg} must be unconditional"
            problems.append(RuleProblem(what, at(file, line, "adrg"), "condition: none (drg.csv)"))
    return drgs


# Candidates in order of trial


def _candidates(tables: Tables, qy: str, mdc_conditions, adrg_conditions, drgs):
    """Outcomes and candidates; the ambiguous group of an MDC stands before its medical ADRGs."""
    ambiguous = _ambiguous(tables["mdc"], qy, mdc_conditions)
    outcomes: list[Outcome] = []
    candidates: list[tuple[int, Alternative]] = []

    def add(outcome: Outcome, condition: Condition):
        for whole in mdc_conditions[outcome.mdc]:
            for own in condition:
                candidates.append((len(outcomes), tuple(dict.fromkeys(whole + own))))
        outcomes.append(outcome)

    def add_ambiguous(mdc: str):
        group = mdc.removeprefix("MDC") + "QY"
        add(Outcome(mdc, "QY", "ambiguous", ((group, ALWAYS),)), ((ambiguous.pop(mdc),),))

    ordered = _in_order(tables["adrg"])
    last = dict(ordered.select("mdc", "adrg").iter_rows())
    for adrg, mdc, kind in ordered.select("adrg", "mdc", "kind").iter_rows():
        if kind == "medical" and mdc in ambiguous:
            add_ambiguous(mdc)
        add(Outcome(mdc, adrg, kind, drgs[adrg]), adrg_conditions[adrg])
        if adrg == last[mdc] and mdc in ambiguous:
            add_ambiguous(mdc)
    return outcomes, candidates


def _ambiguous(mdc: pl.DataFrame, option: str, conditions: dict[str, Condition]) -> dict[str, Term]:
    """What makes a stay ambiguous in each MDC that has QY: scheme.yaml speaks for all, else the qy column of mdc.csv.

    Only an MDC chosen by a diagnosis can be contradicted by an operation, so a pre-MDC of operations has none.
    """
    how = {"main": Term("main_proc", codes=AMBIGUOUS_PROCEDURES), "any": Term("any_proc", codes=AMBIGUOUS_PROCEDURES)}
    chosen = {code: how.get(option or own.removeprefix("qy_")) for code, own in mdc.select("mdc", "qy").iter_rows()}
    return {
        code: term
        for code, term in chosen.items()
        if term and all(any(t.looks_at in DX_ROLES for t in terms) for terms in conditions[code])
    }
