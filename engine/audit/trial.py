"""The tests inside a rule, run: both readers of the rule judge the tables a test is made into (examples.py).

A hit must hit, a clear must not, and for every case the interpreter and the compiled rule must say the same.
"""

from collections import UserDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import polars as pl
import polars.selectors as cs
from rule_engine.errors import EvaluationError

from engine.audit import CODE_SCOPES
from engine.audit.cases import cases_of
from engine.audit.codefacts import CodeFacts
from engine.audit.codes import code_cases, judge_codes
from engine.audit.examples import UnknownWord, canonical, traced, with_rows
from engine.audit.facts import Facts
from engine.audit.frames import Cases
from engine.audit.judge import judge, with_aggregates
from engine.language.expression import interpret
from engine.language.numbers import COLUMN
from engine.language.rule import LoadedRule, rebuilt
from engine.language.vocabulary import Attribute, objects
from engine.reference.knowledge import Knowledge

WORDS = ("hit", "clear", "known_miss", "known_false_alarm")


@dataclass
class TrialResult:
    """One test of one rule: what was asked, what came, and whether both readers agreed."""

    rule_id: str
    index: int
    word: str
    passed: bool
    said: str


def run_tests(loaded: LoadedRule, knowledge: Knowledge) -> list[TrialResult]:
    """Run every test of a rule."""
    return [_run(loaded, knowledge, index, test) for index, test in enumerate(loaded.rule.tests, 1)]


def _run(loaded: LoadedRule, knowledge: Knowledge, index: int, test: dict) -> TrialResult:
    word = next((w for w in WORDS if w in test), "")
    if not word:
        return TrialResult(loaded.rule.id, index, "?", False, f"a test says one of {', '.join(WORDS)}")
    body = test[word] if isinstance(test[word], dict) else {}
    body = {**body, **{k: v for k, v in test.items() if k not in (word, "why")}}
    try:
        given = body.get("params"), body.get("sets")
        rule = rebuilt(loaded, *given) if any(given) else loaded
        if rule.rule.scope in CODE_SCOPES:
            return _run_traced(rule, index, word, body)
        facts = Facts(canonical(body), with_rows(knowledge, body.get("tables", {})))
        hits = judge(rule, facts).hits.height
        difference = disagreement(rule, cases_of(replace(rule, cheap=[]), facts))
    except UnknownWord as error:
        return TrialResult(loaded.rule.id, index, word, False, str(error))
    wanted = word in ("hit", "known_false_alarm")
    said = difference or f"{hits} hit(s)" + (f", {test['why']}" if test.get("why") else "")
    return TrialResult(loaded.rule.id, index, word, not difference and (hits > 0) == wanted, said)


def _run_traced(loaded: LoadedRule, index: int, word: str, body: dict) -> TrialResult:
    """A test over trace events."""
    tables = traced(body)
    facts = CodeFacts(tables, [loaded]).of(loaded.rule.scope)
    findings, evidence, _ = judge_codes(loaded, facts, tables.get("fee_lines"))
    difference = disagreement(loaded, code_cases(loaded, facts))
    wanted = word in ("hit", "known_false_alarm")
    passed = not difference and (findings.height > 0) == wanted and (evidence.height > 0) == wanted
    return TrialResult(loaded.rule.id, index, word, passed, difference or f"{findings.height} hit(s)")


def disagreement(loaded: LoadedRule, cases: Cases) -> str:
    """Where the interpreter and the compiled rule differ on a case: the first such case in words, else empty."""
    frame = with_aggregates(loaded, cases)
    when = loaded.compiled["when"]
    raises = pl.lit(False) if when.raises is None else when.raises
    said = frame.select("_case", when=when.value, raises=raises)
    for (number, compiled, raised), case in zip(said.iter_rows(), spoken_cases(loaded, cases), strict=True):
        try:
            plain = bool(interpret(loaded.parsed["when"], case))
        except EvaluationError as error:
            plain, why = None, f" ({error})"
        else:
            why = ""
        if plain != (None if raised else compiled):
            return f"case {number}: interpreted {plain}{why}, compiled {None if raised else compiled}"
    return ""


def spoken_cases(loaded: LoadedRule, cases: Cases) -> Iterator[dict]:
    """Each case as the interpreter reads it: nested mappings of the vocabulary's words."""
    setting, elements, plans = loaded.setting, {}, {}
    read = cs.decimal().cast(COLUMN)  # as frames read them
    for path, members in cases.members.items():
        if "." in path:
            symbol, name = path.split(".")
            kind = setting.attributes_of(symbol)[name].collection
            plan = _plan(members.columns, "", objects()[kind])
            for row in members.with_columns(read).iter_rows(named=True):
                elements.setdefault((row["_case"], path), []).append(_spoken(row, plan))
    for symbol in setting.symbols:
        plans[symbol] = _plan(cases.frame.columns, f"{symbol}.", setting.attributes_of(symbol))
    for row in cases.frame.with_columns(read).iter_rows(named=True):
        case = {"params": setting.params} | {k: set(v) for k, v in setting.sets.items()}
        case |= {symbol: _spoken(row, plan) for symbol, plan in plans.items()}
        for path in cases.members:
            if "." in path:
                symbol, name = path.split(".")
                case[symbol][name] = tuple(elements.get((row["_case"], path), []))
        yield case


def _plan(columns: list[str], start: str, attributes: dict[str, Attribute]) -> list[tuple]:
    """How an object is read from a row whose words begin with `start`: (attribute, column, plan of an inner object)."""
    have, plan = set(columns), []
    for name, attribute in attributes.items():
        column = f"{start}{name}"
        if column in have:
            plan.append((attribute, column, None))
        elif attribute.kind in objects() and any(c.startswith(f"{column}.") for c in columns):
            plan.append((attribute, column, _plan(columns, f"{column}.", objects()[attribute.kind])))
    return plan


def spoken(row: dict, attributes: dict[str, Attribute]) -> UserDict:
    """The attributes a row has of one object, as the interpreter reads them."""
    return _spoken(row, _plan(list(row), "", attributes))


def _spoken(row: dict, plan: list[tuple]) -> UserDict:
    """No plain dict: the interpreter copies one, with all that hangs on it, whenever it looks into it."""
    said = UserDict()
    for attribute, column, inner in plan:
        if inner is not None:
            absent = attribute.nullable and row[f"{column}.id"] is None
            said[attribute.name] = None if absent else _spoken(row, inner)
            continue
        value = row[column]
        if attribute.kind == "money" and value is not None:
            value = Decimal(value) / 100
        if attribute.kind == "texts" and value is not None:
            value = tuple(v for v in value.split("|") if v)
        said[attribute.name] = value
    return said
