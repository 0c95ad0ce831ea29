"""What is wrong with a scheme, and what loads but is probably not meant.

Faults keep a scheme from loading. Weaknesses do not: groups that no record can reach, codes that no group takes, tables
that contradict each other, files and columns nobody reads. Prefix entries are weighed by the codes they may stand for,
so a weakness is named only where it holds whatever codes there are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from engine.grouping.codes import CodeLists, covered, touching
from engine.grouping.conditions import DX_ROLES, PROC_ROLES, Alternative, ListKey, Term, parse_condition
from engine.grouping.dip_files import dip_weaknesses
from engine.grouping.scheme import Condition, Scheme, scheme_or_faults
from engine.grouping.scheme_files import (
    COLUMNS,
    OPTIONAL,
    OPTIONAL_COLUMNS,
    QY_CHOICES,
    Tables,
    Weakness,
    at,
    kind_of,
    read_files,
)
from engine.tables.problems import Problem, likely

SINGLE = ("pdx", "main_proc")  # a record has one of each at most
WIDER = {"pdx": "any_dx", "sec_dx": "any_dx", "main_proc": "any_proc"}
BOUNDS = {"<": -1, "<=": -1, ">": 1, ">=": 1}
READABLE = (".csv", ".tsv", ".txt", ".yaml", ".yml", ".json", ".xlsx", ".xls")  # a table lost by its name would be one
OWN_COLUMNS = ("line", "file")


def check_scheme(folder: Path) -> list[Problem]:
    """Everything wrong with a scheme: the faults that keep it from loading; when there are none, its weaknesses."""
    folder = Path(folder)
    scheme, problems = scheme_or_faults(folder)
    if kind_of(folder) != "drg":
        return problems or dip_weaknesses(folder)
    tables, options, unreadable = read_files(folder)
    if scheme is None:
        return problems if unreadable else problems + _unparsed(tables, {problem.where for problem in problems})
    found = [*_unread(folder, tables), *_unreachable(tables, scheme), *_severity(tables, scheme)]
    return [*found, *_codes(tables, options, scheme), *_exclusions(tables), *_weightless(tables)]


def _unparsed(tables: Tables, named: set[str]) -> list[Problem]:
    """Conditions with a fault of their own, at places that are not named yet."""
    found = []
    for key in ("mdc", "adrg", "drg"):
        for code, text, file, line in tables[key].select(key, "condition", "file", "line").iter_rows():
            where = at(file, line, "condition")
            try:
                parse_condition(text, code, where)
            except Problem as problem:
                found += [problem] if where not in named else []
    return found


# Files and columns


def _unread(folder: Path, tables: Tables) -> Iterator[Weakness]:
    known = [f"{name}.csv" for name in (*COLUMNS, *OPTIONAL)] + ["scheme.yaml"]
    absent = [name for name in known if not (folder / name).exists()]
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in READABLE and path.name not in known and not path.name.startswith("."):
            yield Weakness("没有用到的文件 no such table, the file is not read", path.name, ", ".join(known),
                           likely(path.name, absent))  # fmt: skip
    for name, optional in OPTIONAL_COLUMNS.items():
        spare = [column for column in optional if (tables[name][column] == "").all()]
        for column in sorted(set(tables[name].columns) - {*COLUMNS[name], *optional, *OWN_COLUMNS}):
            if hint := likely(column, spare):
                yield Weakness("没有用到的列 the column is not read", at(f"{name}.csv", 1, column), hint=hint)
    choices = [*QY_CHOICES, *(f"qy_{choice}" for choice in QY_CHOICES)]
    for qy, file, line in tables["mdc"].select("qy", "file", "line").iter_rows():
        if qy and qy not in choices:
            said = f"'{qy}' 不认识，视为 off is not known and means off"
            yield Weakness(said, at(file, line, "qy"), ", ".join(choices), likely(qy, choices))


# Groups no record can reach


@dataclass(frozen=True)
class Implied:
    """Which terms follow from which, by the code lists of a scheme."""

    scheme: Scheme

    @cached_property
    def within(self) -> set[tuple[ListKey, ListKey]]:
        """(a, b) where every code of list a is in list b."""
        found = set()
        for lists in (self.scheme.dx, self.scheme.proc):
            entries, keys = _entries(lists)
            size = dict(entries.group_by("list").len().iter_rows())
            pairs = _of_lists(entries, covered(entries["entry"], entries["entry"])).unique(["row", "other"])
            counted = pairs.group_by("list", "other").len().iter_rows()
            found |= {(keys[a], keys[b]) for a, b, number in counted if number == size[a]}
        return found

    @cached_property
    def touch(self) -> set[tuple[ListKey, ListKey]]:
        """(a, b) where some code may be in both lists."""
        found = set()
        for lists in (self.scheme.dx, self.scheme.proc):
            entries, keys = _entries(lists)
            pairs = _of_lists(entries, touching(entries["entry"], entries["entry"]))
            found |= {(keys[a], keys[b]) for a, b in pairs.select("list", "other").unique().iter_rows()}
        return found

    def all_of(self, weaker: Alternative, stronger: Alternative) -> bool:
        """Does the weaker alternative hold wherever the stronger one does?"""
        return all(any(self.term(weak, strong) for strong in stronger) for weak in weaker)

    def term(self, weak: Term, strong: Term) -> bool:
        """Does the weak term hold wherever the strong one does?"""
        if weak == strong:
            return True
        if weak.negated != strong.negated:
            return False
        if weak.negated:
            weak, strong = strong, weak
        if weak.codes and strong.codes:
            role = weak.looks_at in (strong.looks_at, WIDER.get(strong.looks_at))
            return role and (strong.codes, weak.codes) in self.within
        if (weak.looks_at, weak.name) != (strong.looks_at, strong.name):
            return False
        if weak.values and strong.values:
            return set(strong.values) <= set(weak.values)
        side = BOUNDS.get(weak.comparison)
        if side is None or side != BOUNDS.get(strong.comparison):
            return False
        lead = (strong.number - weak.number) * side
        return lead > 0 or (lead == 0 and ("=" in weak.comparison or "=" not in strong.comparison))

    def never(self, terms: Alternative) -> tuple[Term, Term] | None:
        """Two terms that cannot both hold: the one principal diagnosis, main procedure in two lists that share none."""
        single = [term for term in terms if term.codes and term.looks_at in SINGLE and not term.negated]
        for place, one in enumerate(single):
            for other in single[place + 1 :]:
                if one.looks_at == other.looks_at and (one.codes, other.codes) not in self.touch:
                    return one, other
        return None


def _entries(lists: CodeLists) -> tuple[pl.DataFrame, dict[int, ListKey]]:
    """The entries of the lists that conditions may name, and those lists by number."""
    keys = {number: key for key, number in lists.keys.items() if key.kind != "exclusion"}
    return lists.entries.filter(pl.col("list").is_in(list(keys))), keys


def _of_lists(entries: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of entries as pairs of the lists they stand in: row, list, other."""
    lists = entries["list"]
    return pl.DataFrame({"row": pairs["entry"], "list": lists.gather(pairs["entry"]),
                         "other": lists.gather(pairs["other"])})  # fmt: skip


def _unreachable(tables: Tables, scheme: Scheme) -> Iterator[Weakness]:
    """ADRGs none of whose alternatives can be reached, DRGs behind one that takes all of theirs, MDCs without ADRG."""
    implied = Implied(scheme)
    where = _places(tables["adrg"], "adrg", "condition")
    for number, outcome in enumerate(scheme.outcomes):
        if outcome.kind != "ambiguous":
            reasons = [_eclipsed(place, implied) for place, (of, _) in enumerate(scheme.candidates) if of == number]
            if reasons and all(reasons):
                yield Weakness(f"{outcome.adrg} 永远轮不到 can never be reached: {reasons[0]}", where[outcome.adrg])
    at_drg = _places(tables["drg"], "drg", "condition")
    for outcome in scheme.outcomes:
        for place, (drg, condition) in enumerate(outcome.drgs):
            for earlier, taken in outcome.drgs[:place]:
                if _all_taken(condition, taken, implied):
                    said = f"{drg} 永远轮不到 can never be reached: {earlier} 已包括它 takes all of it"
                    yield Weakness(said, at_drg[drg])
                    break
    used = set(tables["adrg"]["mdc"])
    for mdc, place in _places(tables["mdc"], "mdc", "mdc").items():
        if mdc not in used:
            yield Weakness(f"{mdc} 没有 ADRG has no ADRG", place)


def _all_taken(condition: Condition, earlier: Condition, implied: Implied) -> bool:
    return all(any(implied.all_of(weak, strong) for weak in earlier) for strong in condition)


def _eclipsed(place: int, implied: Implied) -> str:
    """Why a candidate can never be the first that holds; empty where it can."""
    scheme = implied.scheme
    number, terms = scheme.candidates[place]
    if pair := implied.never(terms):
        left, right = (f"{term.looks_at}@{term.codes.owner or 'proc_valid'}" for term in pair)
        return f"{left} 与 {right} 没有共同的编码 share no code"
    for of, earlier in scheme.candidates[:place]:
        if of != number and implied.all_of(earlier, terms):
            taker = scheme.outcomes[of]
            return f"{taker.mdc} {taker.adrg} 在先并包括它 stands before it and takes all of it"
    return ""


def _places(table: pl.DataFrame, key: str, column: str) -> dict[str, str]:
    return {code: at(file, line, column) for code, file, line in table.select(key, "file", "line").iter_rows()}


# Severity


def _severity(tables: Tables, scheme: Scheme) -> Iterator[Weakness]:
    """Chains of DRGs in which a stay with MCC can end below one with CC, and orders with a number left out."""
    where = _places(tables["drg"], "drg", "condition")
    for outcome in scheme.outcomes:
        asked = [({term.name for terms in condition for term in terms if term.looks_at == "severity"}, drg)
                 for drg, condition in outcome.drgs]  # fmt: skip
        with_cc = next((place for place, (names, _) in enumerate(asked) if names == {"CC"}), None)
        if with_cc is not None and all("MCC" not in names for names, _ in asked[:with_cc]):
            drg = asked[with_cc][1]
            said = f"{drg} 只问 CC，前面没有 MCC：有 MCC 的病例会落到它或更后 asks for CC before any DRG asked for MCC"
            yield Weakness(said, where[drg], "MCC or CC")
    orders = tables["drg"].with_columns(order=pl.col("order_in_adrg").cast(pl.Int64)).sort("adrg", "order")
    gap = orders.with_columns(step=pl.col("order").diff().over("adrg").fill_null(1)).filter(pl.col("step") > 1)
    for drg, file, line in gap.select("drg", "file", "line").iter_rows():
        yield Weakness(f"{drg} 之前缺号 a number is left out before {drg}", at(file, line, "order_in_adrg"))


# Codes


def _codes(tables: Tables, options: dict[str, str], scheme: Scheme) -> list[Weakness]:
    adrg_codes, mdc_codes, valid = tables["adrg_codes"], tables["mdc_codes"], tables["proc_valid"]
    open_mdcs = f"{options['any_diagnosis']} {options['newborns']}".split()
    owned = adrg_codes.join(tables["adrg"].select("adrg", "mdc"), on="adrg", maintain_order="left")
    closed = pl.col("mdc").is_in(mdc_codes["mdc"].unique().implode()) & ~pl.col("mdc").is_in(open_mdcs)
    pdx = owned.filter(pl.col("list_kind") == "pdx", closed)
    taken, all_takers = _medical(scheme)
    procedures = adrg_codes.filter(pl.col("list_kind").is_in(PROC_ROLES))
    listed = mdc_codes.filter(~pl.col("mdc").is_in(sorted(all_takers)))
    again = ~pl.struct("adrg", "list_kind", "part", "code").is_first_distinct()
    nothing = pl.lit("").alias("mdc")
    checks = {
        "MDC 诊断不在任何内科 ADRG MDC diagnosis in no medical ADRG": _outside(listed, taken),
        "ADRG 诊断不在其 MDC ADRG diagnosis outside its MDC": _outside(pdx, mdc_codes),
        "ADRG 手术不是有效手术 ADRG procedure not valid": _outside(
            procedures.with_columns(nothing), valid.with_columns(nothing)
        ),
        "有效手术不在任何 ADRG valid procedure in no ADRG": _outside(
            valid.with_columns(nothing), procedures.with_columns(nothing)
        ),
        "重复的编码 code entered twice": adrg_codes.filter(again),
        "重复的编码 code entered twice in proc_valid": valid.filter(~pl.col("code").is_first_distinct()),
    }
    return [
        Weakness(f"{what}: {_examples(rows['code'])}", at(rows["file"][0], rows["line"][0], "code"))
        for what, rows in checks.items()
        if len(rows)
    ]


def _medical(scheme: Scheme) -> tuple[pl.DataFrame, set[str]]:
    """mdc, code of every entry by which a medical ADRG takes a diagnosis; the MDCs where one asks for none."""
    wanted, asking_none = set(), set()
    for number, terms in scheme.candidates:
        outcome = scheme.outcomes[number]
        if outcome.kind == "medical":
            own = [t for t in terms if t.looks_at in DX_ROLES and not t.negated and t.codes.owner != outcome.mdc]
            wanted |= {(outcome.mdc, scheme.dx.keys[term.codes]) for term in own}
            if not own:
                asking_none.add(outcome.mdc)
    lists = pl.DataFrame(sorted(wanted), schema={"mdc": pl.String, "list": pl.Int64}, orient="row")
    return lists.join(scheme.dx.entries, on="list").select("mdc", code="entry"), asking_none


def _outside(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows whose code touches no code of the others that belong to the same MDC."""
    pairs = touching(rows["code"], others["code"])
    same = rows["mdc"].gather(pairs["entry"]) == others["mdc"].gather(pairs["other"])
    inside = pairs.filter(same)["entry"].unique()
    return rows.with_row_index("row").filter(~pl.col("row").is_in(inside.implode())).drop("row")


def _examples(codes: Iterable[str]) -> str:
    distinct = pl.Series(codes).unique().sort()
    return f"{len(distinct)} ({', '.join(distinct.head(3))}{' …' if len(distinct) > 3 else ''})"


# Exclusions and weights


def _exclusions(tables: Tables) -> Iterator[Weakness]:
    cc, exclusions = tables["cc"], tables["exclusions"]
    named = cc.filter(pl.col("exclusion_id") != "")
    lost = named.join(exclusions, on="exclusion_id", how="anti", maintain_order="left")
    if len(lost):
        said = f"排除表不存在，这些编码从不被排除 no such exclusion table: {_examples(lost['exclusion_id'])}"
        yield Weakness(said, at("cc.csv", lost["line"][0], "exclusion_id"))
    idle = exclusions.join(cc, on="exclusion_id", how="anti", maintain_order="left")
    if len(idle):
        said = f"没有 CC 或 MCC 用到的排除表 exclusion table of no CC or MCC: {_examples(idle['exclusion_id'])}"
        yield Weakness(said, at("exclusions.csv", idle["line"][0], "exclusion_id"))


def _weightless(tables: Tables) -> Iterator[Weakness]:
    weights = tables.get("weights")
    if weights is None or weights.is_empty():
        return
    bare = tables["drg"].join(weights, on="drg", how="anti", maintain_order="left")
    if len(bare):
        said = f"没有权重的 DRG DRG without a weight: {_examples(bare['drg'])}"
        yield Weakness(said, at("drg.csv", bare["line"][0], "drg"), hint="weights.csv")
