"""Which rules cannot hit in a few claims, seen at a glance: so that one claim is answered in milliseconds.

A rule is clear without its cases being built when the lines lack the items it speaks of, when no visit meets the part
of its condition that speaks of the visit alone, or when a list it needs an element of is empty. Nothing is guessed:
each test is a part of `when` that must hold, taken only up to the first part that could raise, since a case that
raises is not clear but not evaluated.
"""

from dataclasses import dataclass, field

import polars as pl

from engine.audit.facts import VISIT, Facts
from engine.audit.joins import join_keys, joined_rows
from engine.audit.money import BY_LINE as OF_LINES
from engine.audit.reads import element_only, item_columns, items_of, named_items, side_items
from engine.audit.visitfacts import NEIGHBOURS, VISIT_FACTS
from engine.language.compile import Compiled, Compiler
from engine.language.expression import conjuncts
from engine.language.rule import LoadedRule

SCOPES = ("line", "line_pair", "visit", "visit_day", "person_day", "person_window")  # whose cases are understood here
OTHERS = {"others", "death_date", "death_sources", "present_elsewhere", "previous_supply_left",
          *NEIGHBOURS, *(name for name, made in VISIT_FACTS.items() if made is VISIT_FACTS[NEIGHBOURS[0]])}  # fmt: skip
VISITS = ("visit", "line.visit", "a.visit", "b.visit")
EMPTY = {"sum": 0, "count": 0, "distinct": 0, "any": False, "all": True}


@dataclass(frozen=True)
class Demand:
    """What a case of one rule cannot do without.

    items: of each list, at least one set of items must all be there
    visits: by whose visit it is (`visit`, `a.visit` …), what some visit must meet
    lists: of each set of lists, at least one must have an element
    """

    items: list[set[tuple[str, ...]]] = field(default_factory=list)
    visits: dict[str, pl.Expr] = field(default_factory=dict)
    lists: list[set[str]] = field(default_factory=list)


class Screen:
    """The demands of some rules, prepared once for any number of claims."""

    def __init__(self, rules: list[LoadedRule], facts: Facts):
        """`facts` of no claim, with the knowledge of the region."""
        self.demands = {r.rule.id: _demand(r, facts) for r in rules}
        self.tests = [
            test.any().alias(f"{rule}|{owner}")
            for rule, demand in self.demands.items() for owner, test in demand.visits.items()
        ]  # fmt: skip
        self.paths = sorted({path for test in self.tests for path in test.meta.root_names()})

    def clear(self, facts: Facts) -> set[str]:
        """The ids of the rules that no case of these claims can hit for want of an item or of a fitting visit."""
        there = set(facts.lines(set())["item"].unique())
        met = self._visits_meet(facts)
        return {
            rule for rule, demand in self.demands.items()
            if not all(any(there.issuperset(wanted) for wanted in one) for one in demand.items)
            or not all(met[f"{rule}|{owner}"] for owner in demand.visits)
        }  # fmt: skip

    def listless(self, facts: Facts) -> set[str]:
        """The ids of the rules that need an element of a list that is empty for every visit of these claims."""
        empty = _empty_lists(facts)
        return {rule for rule, demand in self.demands.items() if any(one <= empty for one in demand.lists)}

    def _visits_meet(self, facts: Facts) -> dict[str, bool]:
        if not self.tests:
            return {}
        visits = facts.visits({path.rpartition(".")[2] for path in self.paths})
        named = visits.select(pl.col(path.rpartition(".")[2]).alias(path) for path in self.paths)
        return named.select(self.tests).row(0, named=True)


def _demand(loaded: LoadedRule, facts: Facts) -> Demand:
    visits, lists = {}, []
    for part in _certain(loaded):
        sums = {a.name for a in part.aggregates}
        roots = set(part.value.meta.root_names())
        owners = {path.rpartition(".")[0] for path in roots}
        if sums and roots <= sums and _false_when_empty(part):
            lists.append({a.collection for a in part.aggregates})
        elif len(owners) == 1 and not sums and all(path.rpartition(".")[2] in VISIT for path in roots):
            owner = owners.pop()
            if owner in VISITS:
                visits[owner] = visits[owner] & part.value if owner in visits else part.value
    return Demand(_items(loaded, facts), visits, lists)


def _certain(loaded: LoadedRule) -> list[Compiled]:
    """The parts of `when` that must all hold, up to the first that could raise."""
    compiler, parts = Compiler(loaded.setting), []
    for node in conjuncts(loaded.parsed["when"].statement.expression):
        part = compiler.compile_node(node, condition=True)
        if part.raises is not None:
            break
        if not (part.columns | {c for a in part.aggregates for c in a.columns}) & loaded.must_know:
            parts.append(part)
    return parts


def _false_when_empty(part: Compiled) -> bool:
    if any(a.how not in EMPTY for a in part.aggregates):
        return False
    empty = pl.DataFrame({a.name: [EMPTY[a.how]] for a in part.aggregates})
    return not empty.select(part.value.fill_null(False)).item()


def _empty_lists(facts: Facts) -> set[str]:
    visits = facts.visits(set())
    there = {
        "visit.others": visits["person"].n_unique() < visits.height,
        "visit.lines": not facts.lines(set()).is_empty(),
        "visit.diagnoses": not facts.elements("diagnosis", set()).is_empty(),
        "visit.procedures": not facts.elements("procedure", set()).is_empty(),
    }
    return {path for path, some in there.items() if not some}


def _items(loaded: LoadedRule, facts: Facts) -> list[set[tuple[str, ...]]]:
    """Lists of sets of items: of each list, a case must have one set whole."""
    rule, demands = loaded.rule, []
    if rule.scope not in SCOPES:
        return []
    if rule.join and rule.join.keys:
        columns = [c for c, attribute in zip(*join_keys(loaded), strict=True) if attribute == "item"]
        demands += [set(joined_rows(loaded, facts).select(columns).iter_rows())] if columns else []
    elif rule.scope == "line_pair":
        demands += [_each(side_items(loaded, side)) for side in "ab"]
    elif rule.scope == "line":
        demands += [_each(named_items(loaded))]
    if loaded.elements.get("excess", "").endswith(".lines") and _needs_excess(loaded):
        flag = loaded.parsed["flag.excess"].statement.expression
        demands.append(_each(items_of(flag, loaded)))
        demands += [_each(joined_rows(loaded, facts)[column]) for column in item_columns(flag, loaded)]
    return [demand for demand in demands if demand is not None]


def _needs_excess(loaded: LoadedRule) -> bool:
    """Is there no case, or no hit and nothing that could raise, without a line in evidence as excess?"""
    only_such_lines = element_only(loaded) and not (loaded.rule.scope == "visit" and loaded.rule.join)
    return only_such_lines or (loaded.rule.amount in OF_LINES and loaded.compiled["when"].raises is None)


def _each(items) -> set[tuple[str, ...]] | None:
    return None if items is None else {(item,) for item in items}


def others_read(loaded: LoadedRule) -> bool:
    """Does the rule look at other visits of the person?"""
    words = {word for path in loaded.asked() for word in path.split(".")}
    return loaded.rule.scope.startswith("person") or loaded.rule.same == "person" or bool(words & OTHERS)
