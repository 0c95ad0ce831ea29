"""The tests inside a rule, run: both readers of the rule judge the tables a test is made into (examples.py).

A hit must hit, a clear must not, and for every case the interpreter and the compiled rule must say the same. `gives`
beside the word says what the findings must amount to. Where a rule asks for groups or their payment, stays are grouped
and paid by the scheme and the policy of the seeds that stand for any region.
"""

from collections import UserDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property

import polars as pl
import polars.selectors as cs
from rule_engine.errors import EvaluationError

from engine.audit import CODE_SCOPES
from engine.audit.cases import cases_of
from engine.audit.codefacts import CodeFacts
from engine.audit.codes import code_cases, judge_codes, symbol_of
from engine.audit.covering import unknown
from engine.audit.examples import UnknownWord, canonical, traced, with_rows
from engine.audit.facts import Facts
from engine.audit.frames import Cases
from engine.audit.judge import LATE_WORDS, judge
from engine.audit.reads import words_read
from engine.audit.sums import with_aggregates
from engine.grouping.scheme import load_scheme
from engine.language.expression import Setting, interpret, parse
from engine.language.numbers import COLUMN
from engine.language.rule import LoadedRule, rebuilt
from engine.language.vocabulary import Attribute, objects
from engine.reference.knowledge import Knowledge
from engine.reference.places import seeds_folder
from engine.reference.presumptions import load_presumptions
from engine.settlement.policy import load_policy

WORDS = ("hit", "clear", "known_miss", "known_false_alarm")
LIMIT_GONE = {
    "known_miss": "这条已知漏报现在查得出了，请把 known_miss 改成 hit",
    "known_false_alarm": "这条已知误报现在不报了，请把 known_false_alarm 改成 clear",
}
GIVES = ("cases", "cnt", "amount", "inscope", "fund", "result", "innocent", "not_evaluated")
PAID = {"drg", "drg_weight", "drg_standard"}
PAYING = "demo-region", "chs-drg-starter"
default_presumptions = cache(load_presumptions)


@dataclass
class TrialResult:
    """One test of one rule: what was asked, what came, and whether both readers agreed."""

    rule_id: str
    index: int
    word: str
    passed: bool
    said: str


@dataclass
class Trial:
    """One test made ready: the rule with the values the test gives it, and what it is judged over.

    `tables` are canonical frames; `facts` are made of them, except for trace codes, whose facts depend on the rule.
    """

    index: int
    test: dict
    word: str
    body: dict
    rule: LoadedRule
    tables: dict[str, pl.DataFrame]
    facts: Facts | None

    @property
    def wanted(self) -> bool:
        """Must there be a finding?"""
        return self.word in ("hit", "known_false_alarm")

    @cached_property
    def cases(self) -> Cases:
        """All cases of the test, also those that the condition's items, equalities or cheap parts would spare."""
        if self.facts is not None:
            wide = replace(self.rule, cheap=[], parsed={"when": _anything()})
            return self._with_late_words(cases_of(wide, self.facts))
        known = CodeFacts(self.tables, [self.rule]).of(self.rule.rule.scope)
        cases = code_cases(self.rule, known)
        cases.members[f"{symbol_of(self.rule)}.events"] = known.events(known.cases["case"]).rename({"case": "_case"})
        return cases

    def _with_late_words(self, cases: Cases) -> Cases:
        """With the words that are known only once a case hits, such as `day.posted_late`."""
        late = set().union(*(c.columns for c in self.rule.compiled.values())) & LATE_WORDS
        if late:
            unspared = replace(self.rule, rule=self.rule.rule.model_copy(update={"innocent": []}))
            hits = judge(unspared, self.facts).hits
            if late <= set(hits.columns):
                known = hits.select(*cases.key, *sorted(late)).unique(cases.key)
                cases.frame = cases.frame.join(known, on=cases.key, how="left", maintain_order="left")
        return cases


@cache
def default_paying():
    """The policy and the scheme by which the stays of tests are paid."""
    policy, scheme = PAYING
    return load_policy(policy), load_scheme(seeds_folder() / "drg" / scheme)


@cache
def _anything():
    """A condition that demands no item of a line."""
    return parse("true", Setting("line"))


def run_tests(loaded: LoadedRule, knowledge: Knowledge) -> list[TrialResult]:
    """Run every test of a rule."""
    return [run_test(loaded, knowledge, index, test)[0] for index, test in enumerate(loaded.rule.tests, 1)]


def run_test(loaded: LoadedRule, knowledge: Knowledge, index: int, test: dict) -> tuple[TrialResult, Trial | None]:
    """Run one test; with it the test made ready, where its words could be read."""
    try:
        trial = prepared(loaded, knowledge, index, test)
        return tried(trial), trial
    except UnknownWord as error:
        word = next((w for w in WORDS if w in test), "?")
        return TrialResult(loaded.rule.id, index, word, False, str(error)), None


def prepared(loaded: LoadedRule, knowledge: Knowledge, index: int, test: dict) -> Trial:
    """One test of a rule, its words read. Raises UnknownWord."""
    word = next((w for w in WORDS if w in test), "")
    if not word:
        raise UnknownWord(f"测试要写明 a test says one of {', '.join(WORDS)}")
    body = body_of(test, word)
    rule = with_values(loaded, body)
    if rule.rule.scope in CODE_SCOPES:
        duties = with_rows(knowledge, {n: r for n, r in body.get("tables", {}).items() if n == "scan_duties"})
        return Trial(index, test, word, body, rule, {**traced(body), "scan_duties": duties["scan_duties"]}, None)
    tables = canonical(body)
    paying = default_paying() if words_read(rule) & PAID or rule.rule.amount == "regroup" else None
    facts = Facts(tables, with_rows(knowledge, body.get("tables", {})), default_presumptions(), paying)
    return Trial(index, test, word, body, rule, tables, facts)


def body_of(test: dict, word: str) -> dict:
    """What a test is about, whether it stands below the word or beside it."""
    body = test[word] if isinstance(test[word], dict) else {}
    return {**body, **{k: v for k, v in test.items() if k not in (word, "why", "gives")}}


def with_values(loaded: LoadedRule, body: dict) -> LoadedRule:
    """The rule with the parameters and sets that the body of a test gives. Raises UnknownWord for one it has not."""
    for kind, known in (("params", loaded.rule.params), ("sets", loaded.rule.sets)):
        if strange := set(body.get(kind) or {}) - set(known):
            raise UnknownWord(f"{kind}: 没有 unknown {sorted(strange)[0]!r}, known: {', '.join(known) or '—'}")
    given = body.get("params"), body.get("sets")
    return rebuilt(loaded, *given) if any(given) else loaded


def tried(trial: Trial) -> TrialResult:
    """Judge a test, and see that the interpreter agrees on every case."""
    hits = outcome(trial)
    difference = disagreement(trial.rule, trial.cases) or broken(trial, hits)
    said = difference or f"{hits.height} 例" + (f"，{trial.test['why']}" if trial.test.get("why") else "")
    return TrialResult(trial.rule.rule.id, trial.index, trial.word, not difference, said)


def outcome(trial: Trial, rule: LoadedRule | None = None) -> pl.DataFrame:
    """What the rule finds in a test: a row per finding with `cnt`, `result`, `innocent`, and `amount`, `inscope`,
    `fund` in fen.
    """
    rule = rule or trial.rule
    if trial.facts is None:
        facts = CodeFacts(trial.tables, [rule]).of(rule.rule.scope)
        findings, evidence, _ = judge_codes(rule, facts, trial.tables.get("fee_lines"))
        money = {"amount": "gross_fen", "inscope": "inscope_fen", "fund": "fund_fen"}
        findings = findings.join(evidence, on="finding_id", how="semi")  # a finding shows what it rests on
        return findings.select(cnt="excess_cnt", result="result", innocent="innocent_open", **money)
    if trial.facts.missing(rule):
        return pl.DataFrame()
    hits = judge(rule, trial.facts).hits
    if hits.is_empty():
        return hits.select()
    return hits.select("inscope", "fund", cnt="excess_cnt", result="_result", innocent="_innocent", amount="gross")


def broken(trial: Trial, hits: pl.DataFrame) -> str:
    """How the outcome of a test is not what the test says, in words; empty where it is."""
    if (hits.height > 0) != trial.wanted:
        return LIMIT_GONE.get(trial.word) or ("应查出而未查出" if trial.wanted else f"不应查出而查出 {hits.height} 例")
    gives = given(trial.test)
    came = {name: unanswered(trial) if name == "not_evaluated" else _came(hits, name) for name in gives}
    wrong = [f"{n} 应为 {gives[n]} 而得 {came[n]}" for n in gives if not _same(gives[n], came[n])]
    return "；".join(wrong)


def unanswered(trial: Trial) -> str:
    """What kept the rule from judging the test: a table that is not given, else the reason and detail; or nothing."""
    if trial.facts is None:
        return ""
    if table := trial.facts.missing(trial.rule):
        return table
    left = judge(trial.rule, trial.facts).unjudged
    return left.table if left.outside else unknown(trial.rule, trial.facts)[1] if left.cases else ""


def given(test: dict) -> dict[str, str]:
    """What the findings of a test must amount to. Raises UnknownWord."""
    gives = test.get("gives", {})
    if strange := set(gives) - set(GIVES):
        raise UnknownWord(f"gives: 没有 unknown {sorted(strange)[0]!r}, known: {', '.join(GIVES)}")
    return gives


def _came(hits: pl.DataFrame, name: str) -> str:
    """What came, over all cases of a test; money in yuan."""
    if name == "cases":
        return str(hits.height)
    if name in ("result", "innocent"):
        return "|".join(sorted({said or "" for said in hits[name]}))
    total = hits[name].sum()
    return f"{total if name == 'cnt' else Decimal(total) / 100:f}"


def _same(wanted: str, came: str) -> bool:
    try:
        return Decimal(wanted) == Decimal(came)
    except InvalidOperation:
        return wanted == came


def disagreement(loaded: LoadedRule, cases: Cases) -> str:
    """Where the interpreter and the compiled rule differ on a case: the first such case in words, else empty."""
    frame = with_aggregates(loaded, cases)
    when = loaded.compiled["when"]
    raises = pl.lit(False) if when.raises is None else when.raises
    said = frame.select("_case", when=when.value, raises=raises)
    for (number, compiled, raised), case in zip(said.iter_rows(), spoken_cases(loaded, cases), strict=True):
        try:
            plain, why = _interpreted(loaded, case), ""
        except EvaluationError as error:
            plain, why = None, f" ({error})"
        if plain != (None if raised else compiled):
            return f"case {number}: interpreted {plain}{why}, compiled {None if raised else compiled}"
    return ""


def _interpreted(loaded: LoadedRule, case: dict) -> bool | None:
    """What the interpreter answers for a case; None where what the rule needs is not known of it."""
    if "known" in loaded.parsed and not interpret(loaded.parsed["known"], case):
        return None
    return bool(interpret(loaded.parsed["when"], case))


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
