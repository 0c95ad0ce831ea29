"""What the tests of a rule leave loose: parts of its conditions never seen true or false, and thresholds that may move.

Coverage evaluates the rule with the interpreter on every case of every test and notes what each sub-condition was,
where it was reached. Mutation moves one number, comparison or parameter at a time and runs the tests again: one of
them must break. Both only advise: a gap names the place in the author's own text and the test that would close it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from rule_engine import ast
from rule_engine.errors import EvaluationError

from engine.audit.money import BY_LINE
from engine.audit.trial import Trial, TrialResult, broken, outcome, run_test, spoken_cases, with_values
from engine.language.expression import children, interpret, walk
from engine.language.form import Rule
from engine.language.rule import ELEMENTS, LoadedRule, rebuilt
from engine.reference.knowledge import Knowledge
from engine.tables.problems import RuleProblem

MOVED = ("when", "excess", "violation_when")
CONDITIONS = ("when", "violation_when")  # and every flag and innocent explanation
NEIGHBOUR = {">": ">=", ">=": ">", "<": "<=", "<=": "<", "==": "!=", "!=": "=="}
BESIDE = 24  # characters shown on either side of a moved part
COMPARISON = re.compile(r"[<>]=?|[=!]=")

At = tuple[str, int, int]  # the name of an expression as the author wrote it, and the begin and end of a part of it


@dataclass(frozen=True)
class Gap:
    """A part of a rule that no test holds: where it stands, what it says, and which test would hold it."""

    rule_id: str
    kind: str  # branch or mutant
    file: str
    line: int
    column: int
    part: str
    said: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.part}  {self.said}"


def examine(loaded: LoadedRule, knowledge: Knowledge, mutate: bool) -> tuple[list[TrialResult], list[Gap]]:
    """Run the tests of a rule, and tell what they leave loose; thresholds only where `mutate`, which takes longer."""
    tested = [run_test(loaded, knowledge, index, test) for index, test in enumerate(loaded.rule.tests, 1)]
    results, trials = [result for result, _ in tested], [trial for _, trial in tested]
    if not all(result.passed for result in results):
        return results, []  # what a failing test would hold cannot be told
    return results, uncovered(loaded, trials) + (survivors(loaded, trials) if mutate else [])


# branches


def uncovered(loaded: LoadedRule, trials: list[Trial]) -> list[Gap]:
    """Sub-conditions of a rule that no case of its tests saw true, or none saw false, as they are written."""
    seen: dict[At, set[bool]] = {}
    watched = {}
    for trial in trials:
        if id(trial.rule) not in watched:
            watched[id(trial.rule)] = _watched(trial.rule, seen)
        _ask(watched[id(trial.rule)], trial)
    gaps = [_gap(loaded, "branch", at, _unseen(truths)) for at, truths in seen.items() if len(truths) < 2]
    return sorted(gaps, key=lambda gap: (gap.line, gap.column, gap.part))


def _unseen(truths: set[bool]) -> str:
    if not truths:
        return "没有测试走到这里；请加一个走到这里的测试"
    wanting = "假" if True in truths else "真"
    return f"在测试中从未为{wanting}；请加一个其他条件都成立、只有它为{wanting}的测试"


def _watched(rule: LoadedRule, seen: dict[At, set[bool]]) -> LoadedRule:
    """The rule with nodes of its own that note in `seen` what they were each time they are evaluated."""
    rule = rebuilt(rule)
    for name, parsed in rule.parsed.items():
        asked = name in CONDITIONS or name.startswith(("flag.", "innocent."))
        if asked or name == "excess":
            for node in _leaves(parsed.statement.expression, asked):
                _note(node, seen.setdefault(parsed.written.origin(node.span), set()))
    return rule


def _note(node, truths: set[bool]) -> None:
    evaluate = node.evaluate

    def noted(thing):
        value = evaluate(thing)
        truths.add(bool(value))
        return value

    node.evaluate = noted


def _leaves(node, asked: bool) -> Iterator:
    """The sub-conditions below a node: comparisons, memberships, and whatever else is asked whether it is true."""
    if isinstance(node, ast.LogicExpression) and node.left.span == node.span:
        yield node  # membership in a set whose codes have dates, written as one
        return
    if isinstance(node, ast.LogicExpression) or (isinstance(node, ast.UnaryExpression) and node.type == "not"):
        for child in children(node):
            yield from _leaves(child, True)
        return
    if _always(node):
        return
    if (
        asked
        and not isinstance(node, ast.LiteralExpressionBase | ast.TernaryExpression)
        or isinstance(node, ast.ComparisonExpression | ast.ContainsExpression)
    ):
        yield node
    about = getattr(node, "condition", None)
    quantified = isinstance(node, ast.FunctionCallExpression) and node.function.name in ("any", "all")
    passed_on = asked and isinstance(node, ast.TernaryExpression)
    for child in children(node):
        if quantified and isinstance(child, ast.ComprehensionExpression):
            yield from _leaves(child.result, True)
            yield from _leaves(child.condition, True) if child.condition is not None else ()
        else:
            yield from _leaves(child, child is about or passed_on)


def _always(node) -> bool:
    """`x.cnt > 0`: netting leaves only lines with units, so no test can see it false and no threshold lies here."""
    return (
        isinstance(node, ast.ComparisonExpression) and node.type == "gt" and getattr(node.left, "name", "") == "cnt"
        and isinstance(node.right, ast.FloatExpression) and node.right.value == 0
    )  # fmt: skip


def _ask(rule: LoadedRule, trial: Trial) -> None:
    """Evaluate the rule on every case of a test: the condition always, the rest where it holds."""
    rest = [name for name in rule.parsed if name in MOVED[1:] or name.startswith("innocent.")]
    for case in spoken_cases(rule, trial.cases):
        if not _value(rule, "when", case):
            continue
        for name in rest:
            _value(rule, name, case)
        for role, path in rule.elements.items():
            symbol, collection = path.split(".")
            variable = next(letter for letter, name in ELEMENTS.items() if name == collection)
            for element in case[symbol].get(collection, ()):
                _value(rule, f"flag.{role}", case | {variable: element})


def _value(rule: LoadedRule, name: str, case: dict):
    try:
        return interpret(rule.parsed[name], case)
    except EvaluationError:
        return None  # not evaluated, which is an answer of its own


# mutants


@dataclass(frozen=True)
class Mutant:
    """A rule with one thing moved: where, from what to what, and the test that would see it."""

    at: At
    new: str
    rule: Rule
    params: dict[str, str]
    wanted: str


def survivors(loaded: LoadedRule, trials: list[Trial]) -> list[Gap]:
    """Numbers, comparisons and parameters of the judging expressions that may be moved without a test breaking."""
    alive: dict[At, list[Mutant]] = {}
    for mutant in _mutants(loaded):
        if not _killed(mutant, loaded, trials):
            alive.setdefault(mutant.at, []).append(mutant)
    gaps = [
        _gap(loaded, "mutant", at, f"改成 {' 或 '.join(m.new for m in mutants)} 没有测试失败；{mutants[0].wanted}")
        for at, mutants in alive.items()
    ]
    return sorted(gaps, key=lambda gap: (gap.line, gap.column, gap.part))


def _killed(mutant: Mutant, loaded: LoadedRule, trials: list[Trial]) -> bool:
    try:
        moved = rebuilt(loaded, mutant.params, rule=mutant.rule)
        rules = [(trial, with_values(moved, trial.body)) for trial in trials]
    except RuleProblem:
        return True  # the moved rule cannot even be written
    if any(broken(trial, outcome(trial, rule)) for trial, rule in rules):
        return True
    return any(_holds(trial, rule) != _holds(trial, trial.rule) for trial, rule in rules)


def _holds(trial: Trial, rule: LoadedRule) -> bool:
    """Whether a test hits, its excess apart: at the very threshold nothing is in excess, and no finding is made."""
    amount = "lines" if rule.rule.amount in BY_LINE else rule.rule.amount
    return not outcome(trial, replace(rule, rule=rule.rule.model_copy(update={"amount": amount}))).is_empty()


def _mutants(loaded: LoadedRule) -> Iterator[Mutant]:
    """Each thing once, however many expressions it is substituted into."""
    done = set()
    for name in MOVED:
        parsed = loaded.parsed.get(name)
        nodes = list(walk(parsed.statement.expression)) if parsed else []
        settled = {id(part) for node in nodes if _always(node) for part in (node, node.right)}
        for node in nodes:
            if id(node) in settled:
                continue
            for at, old, news, wanted in _moves(node, parsed.written, loaded.rule):
                if at in done:
                    continue
                done.add(at)
                for new in news:
                    if at[0].startswith("params."):
                        yield Mutant(at, new, loaded.rule, {at[0].split(".")[1]: new}, wanted)
                    elif _text(loaded.rule, at[0])[at[1] : at[2]] == old:
                        yield Mutant(at, new, _rewritten(loaded.rule, at, new), {}, wanted)


def _moves(node, written, rule: Rule) -> Iterator[tuple[At, str, list[str], str]]:
    """(place, text, other texts, the test that would see it) of what may be moved at a node."""
    if isinstance(node, ast.ComparisonExpression) and not isinstance(node, ast.FuzzyComparisonExpression):
        start = node.left.span[1]
        if found := COMPARISON.search(written.text, start, node.right.span[0]):
            ordered = found[0] not in ("==", "!=")
            wanted = "请加一个两边恰好相等的测试" if ordered else "请加两边相等与不等的测试各一个"
            yield written.origin(found.span()), found[0], [NEIGHBOUR[found[0]]], wanted
    elif isinstance(node, ast.FloatExpression):
        old = written.text[slice(*node.span)]
        yield written.origin(node.span), old, _steps(old), _beside(old)
    elif isinstance(node, ast.GetAttributeExpression) and getattr(node.object, "name", "") == "params":
        param = rule.params[node.name]
        if param.type in ("int", "decimal"):
            yield (f"params.{node.name}.default", 0, 0), param.default, _steps(param.default), _beside(param.default)


def _steps(text: str) -> list[str]:
    """A number one step up and one step down, a step being one of its last written place."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return []  # a sum of literals, folded when it was parsed: each is moved where it stands alone
    step = Decimal(1).scaleb(min(number.as_tuple().exponent, 0))
    return [f"{number + step:f}", f"{number - step:f}"]


def _beside(text: str) -> str:
    return f"请加恰好在 {text} 这条界线两侧的测试"


def _text(rule: Rule, name: str) -> str:
    """The text of an expression under the name its parts give as their origin: when, let.x, flag.excess …"""
    head, *rest = name.split(".")
    if head == "innocent":
        return getattr(rule.innocent[int(rest[0])], rest[1])
    value = rule.flags if head == "flag" else getattr(rule, head)
    return value[rest[0]] if rest else value


def _rewritten(rule: Rule, at: At, new: str) -> Rule:
    name, start, end = at
    old = _text(rule, name)
    text = f"{old[:start]}{new}{old[end:]}"
    if name.startswith("let."):
        return rule.model_copy(update={"let": {**rule.let, name.removeprefix("let."): text}})
    return rule.model_copy(update={name: text})


# places


def _gap(loaded: LoadedRule, kind: str, at: At, said: str) -> Gap:
    name, start, end = at
    if name.startswith("params."):
        path = tuple(name.split("."))
        place, part = loaded.notes.document.value_at(path), f"{path[1]}: {loaded.rule.params[path[1]].default}"
    else:
        text = _text(loaded.rule, name)
        place = loaded.notes.place(name, start)
        part = text[start:end] if kind == "branch" else _around(text, start, end)
    return Gap(loaded.rule.id, kind, loaded.notes.file, *place, part, said)


def _around(text: str, start: int, end: int) -> str:
    """A moved part with what stands beside it, the part in brackets: `billed ⟦>⟧ params.allowed`."""
    before, after = text[max(0, start - BESIDE) : start], text[end : end + BESIDE]
    return f"{before}⟦{text[start:end]}⟧{after}".replace("\n", " ").strip()
