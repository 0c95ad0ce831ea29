"""What of a rule's expressions is told of a finding: every condition, its sides, and what they are made of.

A part stands as its author wrote it, in Chinese words, and with its value for a case as exact text. Parts come in the
order of the text; those a part is made of follow it, one level deeper. Values are read off the columns that judging a
case has already made, so telling costs nothing where nothing is found.
"""

from dataclasses import dataclass, field

import polars as pl
from rule_engine import ast

from engine.language.compile import Compiled, Compiler
from engine.language.expression import ExpressionProblem, Setting, Written, children, path_of, walk
from engine.language.form import Rule
from engine.language.spoken import Speaker, of_dated_set, set_test
from engine.language.values import plain

ASKED = ("known", "when", "violation_when", "excess")
COMPARED = (ast.ComparisonExpression, ast.ContainsExpression, ast.FuzzyComparisonExpression)
# Words that name a person or a doctor: their values leave the run only under pseudonyms.
NAMING = {"person": "person", "psn_no": "person", "first_person": "person", "doctor": "doctor", "person.id": "person"}
VALUED = ("number", "text", "bool", "time", "texts", "span")
LITERALS = (ast.NullExpression, ast.FloatExpression, ast.StringExpression, ast.BooleanExpression,
            ast.DatetimeExpression, ast.TimedeltaExpression, ast.ArrayExpression, ast.SetExpression)  # fmt: skip
DEFINITION = ("definition", pl.lit(None, pl.String))  # kind and value of what has no value for a case as a whole


@dataclass(frozen=True)
class Part:
    """One part: the expression it is `of` (when, excess, innocent.0.unless …), how deep it lies, its text, its words,
    the kind of its value (number, text, bool, time, texts, span, param, person, doctor, or definition: of single
    elements, so without a value), and an expression for that value as text."""

    of: str
    level: int
    name: str
    words: str
    kind: str
    value: pl.Expr
    note: str = ""


def parts_of(rule: Rule, parsed: dict, compiled: dict[str, Compiled], setting: Setting) -> list[Part]:
    """The parts of every expression that decides on a hit, its size or its innocence."""
    compiler = Compiler(setting)
    compiler.aggregates = {a.name: a for made in compiled.values() for a in made.aggregates}
    sums, known, told = set(compiler.aggregates), {}, []
    for name in [*ASKED, *(n for n in parsed if n.startswith("innocent."))]:
        if name in parsed:
            top = parsed[name].statement.expression
            whole = (top, compiled[name]) if name == "excess" else (None, None)
            teller = Teller(name, rule, setting, parsed[name].written, compiler, sums, known, whole)
            teller.find_names(top)
            (teller.operand if name == "excess" else teller.condition)(top, 0)
            told += teller.told
    return told


def text_of(value: pl.Expr, kind: str) -> pl.Expr:
    """A value as exact text; null where it is missing."""
    if kind == "number":
        return plain(value)
    if kind == "time":
        return value.dt.strftime("%Y-%m-%d %H:%M:%S")
    if kind == "span":
        return value.dt.total_seconds().cast(pl.String) + pl.lit(" 秒")
    return value.str.strip_chars("|") if kind == "texts" else value.cast(pl.String)


def param_text(value) -> str:
    """A parameter as its author would write it; several values separated by |."""
    if isinstance(value, bool):
        return str(value).lower()
    return "|".join(value) if isinstance(value, tuple) else value if isinstance(value, str) else f"{value:f}"


@dataclass
class Teller:
    """Goes through one expression and notes its parts.

    `made` are the sums over lists that judging a case makes, `known` the values that parts of other expressions of the
    rule have by the same text.
    """

    of: str
    rule: Rule
    setting: Setting
    written: Written
    compiler: Compiler
    made: set[str]
    known: dict[tuple[str, bool], tuple[str, pl.Expr]]
    whole: tuple[object, Compiled | None]  # a number that is told as it was compiled: sums of quotients are not shared
    names: dict[int, str] = field(default_factory=dict)
    told: list[Part] = field(default_factory=list)

    def find_names(self, node, around: tuple[int, int] | None = None) -> None:
        """Which nodes a `let` stands for: the topmost inside its brackets."""
        span = getattr(node, "span", around)
        for start, end, name in self.written.named:
            inside = start < span[0] and span[1] < end
            if inside and not (around and start < around[0] and around[1] < end):
                self.names.setdefault(id(node), name)
        for child in children(node):
            self.find_names(child, span)

    def condition(self, node, level: int) -> None:
        """Something that is true or false; what must all hold is told one by one."""
        joint = isinstance(node, ast.LogicExpression) and not of_dated_set(node)
        if joint and node.type == "and" and id(node) not in self.names:
            self.condition(node.left, level)
            self.condition(node.right, level)
        elif self._note(node, level, self._value(node, True)):
            self._below(node, level + 1)

    def operand(self, node, level: int, whole: bool = True) -> None:
        """A value that a condition compares; of a calculation inside another only what it is made of."""
        if isinstance(node, LITERALS) or (path_of(node) or [""])[0] in self.setting.sets:
            return
        if id(node) in self.names or whole or path_of(node) or self._is_of_list(node):
            if self._note(node, level, self._value(node, False)):
                self._below(node, level + 1)
        else:
            for child in children(node):
                self.operand(child, level, False)

    def _below(self, node, level: int) -> None:
        if path_of(node):
            return
        if self._is_of_list(node):
            self._definitions(node, level)
        elif of_dated_set(node):
            self.operand(set_test(node).member, level)
        elif isinstance(node, ast.LogicExpression):
            self.condition(node.left, level)
            self.condition(node.right, level)
        elif isinstance(node, ast.UnaryExpression) and node.type == "not" and id(node.right) not in self.names:
            self.operand(node.right, level) if path_of(node.right) else self._below(node.right, level)
        elif isinstance(node, ast.TernaryExpression):
            self.condition(node.condition, level)
            self.operand(node.case_true, level)
            self.operand(node.case_false, level)
        else:
            compared = isinstance(node, COMPARED)
            for child in children(node):
                if not (isinstance(node, ast.FunctionCallExpression) and child is node.function):
                    self.operand(child, level, compared)

    def _is_of_list(self, node) -> bool:
        """Is the value one of a list that is gone through: a sum, a count, any, all?"""
        if isinstance(node, ast.GetAttributeExpression):
            return self._is_of_list(node.object)
        listed = isinstance(node, ast.FunctionCallExpression) and any(map(self._is_of_list, node.arguments))
        return listed or isinstance(node, ast.ComprehensionExpression)

    def _definitions(self, node, level: int) -> None:
        """The named parts that speak of single elements of a list: what they mean, without a value."""
        speaker = Speaker(self.rule, self.setting, self.names, self.written.text)
        for inner in walk(node):
            if isinstance(inner, ast.ComprehensionExpression):
                speaker = speaker.among(inner)
        for inner in walk(node):
            if inner is not node and id(inner) in self.names:
                self._note(inner, level, DEFINITION, speaker)

    def _note(self, node, level: int, valued: tuple[str, pl.Expr], speaker: Speaker | None = None) -> bool:
        """Note a part once, with the kind of its value and the value; False where it has been told."""
        name = self._name(node)
        if any(part.name == name for part in self.told):
            return False
        speaker = speaker or Speaker(self.rule, self.setting, self.names, self.written.text)
        self.told.append(Part(self.of, level, name, speaker.meaning(node), *valued))
        return True

    def _value(self, node, condition: bool) -> tuple[str, pl.Expr]:
        if node is self.whole[0]:
            return self.whole[1].kind, text_of(self.whole[1].value, self.whole[1].kind)
        name = self._name(node), condition
        if name not in self.known:
            self.known[name] = self._worked_out(node, condition)
        return self.known[name]

    def _name(self, node) -> str:
        return self.names.get(id(node)) or self.written.told(node.span)

    def _worked_out(self, node, condition: bool) -> tuple[str, pl.Expr]:
        path = path_of(node)
        if path and path[0] == "params":
            return "param", pl.lit(param_text(self.setting.params[path[1]]))
        try:
            made = self.compiler.compile_node(node, condition=condition)
        except ExpressionProblem:
            return DEFINITION
        if made.kind not in VALUED or not {aggregate.name for aggregate in made.aggregates} <= self.made:
            return DEFINITION
        words = {word for column in made.columns for word in (column, column.rsplit(".", 1)[-1])}
        naming = [NAMING[word] for word in sorted(words & set(NAMING))]
        return naming[0] if made.kind == "text" and naming else made.kind, text_of(made.value, made.kind)
