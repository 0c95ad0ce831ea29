"""One expression of a rule: parsed and type-checked by rule-engine, once, when the rule is loaded.

The parsed rule serves both readers: `interpret` evaluates it for one case, compile.py turns its syntax tree into
Polars expressions. What a case has is given by a Setting.
"""

import datetime
import decimal
import difflib
import re
from dataclasses import dataclass, field
from functools import cached_property

import rule_engine
from rule_engine import DataType, ast, errors
from rule_engine.builtins import Builtins, BuiltinValueGenerator

from engine.language.parser import PlacedRule, Span
from engine.language.regex import PatternProblem
from engine.language.vocabulary import Attribute, object_type, object_types, objects, scopes

FUNCTIONS = ("sum", "any", "all", "min", "max", "abs", "begins", "now", "today")
LONGEST, DEEPEST = 4_000, 60  # characters of an expression, levels of its tree
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
BARE_WORDS = re.compile(rf"{QUOTED.pattern}|(?<![\w.$&])([A-Za-z_]\w*)")
DECIMALS = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN, Emax=999, Emin=-999)
# what Python itself raises where a value is out of range, which rule-engine lets through
BEYOND = (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError)


class ExpressionProblem(Exception):
    """Why an expression is refused: the message, a suggestion, and the part of the text it concerns.

    `span` is where the part begins and ends in the text that was parsed; once placed, in the expression `where`, as
    its author wrote it (`when`, `let.billed` …).
    """

    def __init__(self, message: str, part: str = "", hint: str = "", span: Span | None = None,
                 code: str = "E_EXPRESSION", allowed: str = ""):  # fmt: skip
        self.message, self.part, self.hint, self.span = message, part, hint, span
        self.code, self.allowed = code, allowed
        self.where: str | None = None
        super().__init__(message)

    def placed(self, written: "Written") -> "ExpressionProblem":
        """The same problem, told in the author's own text."""
        if self.where is None:
            self.where, *span = written.origin(self.span or (0, len(written.text)))
            self.span = tuple(span)
        return self


@dataclass
class Setting:
    """What an expression may speak of: the scope's symbols, joined table rows, parameters and sets."""

    scope: str
    joined: dict[str, dict[str, Attribute]] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lets: dict[str, str] = field(default_factory=dict)
    today: datetime.date = datetime.date(2000, 1, 1)
    periods: dict[str, tuple] = field(default_factory=dict)  # set -> (set of one period, first day, last day)

    def attributes_of(self, symbol: str) -> dict[str, Attribute]:
        """The attributes of what a bare name stands for."""
        if symbol in self.joined:
            return self.joined[symbol]
        return objects()[scopes()[self.scope].symbols[symbol]]

    @property
    def symbols(self) -> list[str]:
        return [*scopes()[self.scope].symbols, *self.joined]

    @cached_property
    def context(self) -> rule_engine.Context:
        """The rule-engine context of every expression in this setting: types for the parser, values to interpret.

        Made once, because rule-engine makes some fifty types for each: another setting is a `replace` of this one.
        """
        types = dict(object_types())
        for name, kind in scopes()[self.scope].symbols.items():
            types[name] = types[f"#{kind}"]
        for name, attributes in self.joined.items():
            types[name] = object_type(f"{name} row", attributes)
        types["params"] = DataType.OBJECT(
            "#params", {k: DataType.from_value(v) for k, v in self.params.items()}, accessor=lambda o, n: o[n]
        )
        types |= {name: DataType.SET(DataType.STRING) for name in self.sets}
        context = rule_engine.Context(
            type_resolver=types,
            resolver=lambda case, name: case[name],
            default_timezone="utc",
            decimal_context=DECIMALS,
            mapping_attribute_lookup=False,
        )
        context.builtins = self._builtins(context)
        context.periods = self.periods
        return context

    def _builtins(self, context) -> Builtins:
        midnight = datetime.datetime.combine(self.today, datetime.time(), context.default_timezone)
        pinned = BuiltinValueGenerator(lambda _: midnight)
        anything = DataType.UNDEFINED
        begins = DataType.FUNCTION("begins", return_type=DataType.BOOLEAN, argument_types=(anything, anything))
        return Builtins.from_defaults(
            {"begins": _begins, "now": pinned, "today": pinned},
            value_types={"begins": begins},
            timezone=context.default_timezone,
        )


def _begins(codes, prefixes) -> bool:
    """Does any code begin with any of the prefixes? One code or several; a set, a list, or text separated by |."""
    codes = [codes] if isinstance(codes, str) else codes
    prefixes = prefixes.split("|") if isinstance(prefixes, str) else prefixes
    return any(code.startswith(prefix) for code in codes for prefix in prefixes if prefix)


@dataclass(frozen=True)
class Written:
    """An expression with its named parts put in, and for every character the name and offset it was written at.

    `named` is where a named part stands in the text, its brackets included, an outer one before those inside it.
    """

    text: str
    origins: tuple[tuple[str, int], ...]
    named: tuple[tuple[int, int, str], ...] = ()

    def told(self, span: Span) -> str:
        """A part of the text with the names in place of what stands for them."""
        said, at = "", span[0]
        for start, end, name in self.named:
            if at <= start and end <= span[1]:
                said, at = said + self.text[at:start] + name, end
        return said + self.text[at : span[1]]

    def origin(self, span: Span) -> tuple[str, int, int]:
        """Where a part stands as its author wrote it: the name of the expression, its begin and end there."""
        if not self.origins:
            return "", 0, 0
        if span[0] >= len(self.text):
            name, last = self.origins[-1]
            return name, last + 1, last + 2
        name, start = self.origins[span[0]]
        owner, last = self.origins[min(max(span), len(self.text)) - 1]
        return name, start, max(last, start) + 1 if owner == name else start + 1


def with_lets(text: str, lets: dict[str, str], name: str = "", inside: tuple[str, ...] = ()) -> Written:
    """Substitute named sub-expressions, so that they may stand for lists and use the names around them."""
    if len(text) > LONGEST:
        raise _long(LONGEST, name)
    pieces, origins, named, at = [], [], [], 0

    def take(piece: str, places) -> None:
        pieces.append(piece)
        origins.extend(places)

    for found in BARE_WORDS.finditer(text):
        let = found[1]
        if let not in lets:
            continue
        if let in inside:
            said = f"let 的名称成环 let names go in a circle: {' → '.join((*inside, let))}"
            circle = ExpressionProblem(said, let, span=found.span(1), code="E_CIRCLE")
            circle.where = name
            raise circle
        body = with_lets(lets[let], lets, f"let.{let}", (*inside, let))
        start, end = found.span(1)
        take(text[at:start], ((name, n) for n in range(at, start)))
        place = len(origins)
        named.append((place, place + len(body.text) + 2, let))
        named += [(place + 1 + first, place + 1 + last, inner) for first, last, inner in body.named]
        take(f"({body.text})", ((name, start), *body.origins, (name, end - 1)))
        at = end
    take(text[at:], ((name, n) for n in range(at, len(text))))
    if len(origins) > 10 * LONGEST:
        raise _long(10 * LONGEST, name)
    return Written("".join(pieces), tuple(origins), tuple(named))


def _long(most: int, name: str) -> ExpressionProblem:
    problem = ExpressionProblem(f"表达式长于 longer than {most:,} characters", span=(0, 1), code="E_LONG")
    problem.where = name
    return problem


def parse(text: str, setting: Setting, name: str = "") -> PlacedRule:
    """Parse and type-check one expression, its `let` parts put in.

    Raises ExpressionProblem with the likely intent, placed in the text its author wrote.
    """
    written = with_lets(text, setting.lets, name)
    try:
        rule = _parsed(written.text, setting)
    except ExpressionProblem as problem:
        raise problem.placed(written) from None
    rule.written = written
    return rule


def _parsed(text: str, setting: Setting) -> PlacedRule:
    if not text.strip():
        raise ExpressionProblem("表达式是空的 the expression is empty", code="E_SYNTAX")
    for found in re.finditer(r"\$(\w+)", _without_texts(text)):
        if found[1] not in FUNCTIONS:
            known = [f"${name}" for name in FUNCTIONS]
            hint, allowed = likely(found[0], known), ", ".join(known)
            said = f"没有函数 unknown function {found[0]}"
            raise ExpressionProblem(said, found[0], hint, found.span(), "E_FUNCTION", allowed)
    try:
        with decimal.localcontext(DECIMALS):  # parts without names are worked out while they are read
            rule = PlacedRule(text, context=setting.context)
    except errors.EngineError as error:
        raise _problem(error, text, setting) from None
    except RecursionError:
        raise ExpressionProblem("嵌套过深 nested too deep", text, code="E_LONG") from None
    except BEYOND as error:
        span = getattr(error, "span", (0, len(text)))
        said = f"算不出来 this cannot be worked out: {error}"
        raise ExpressionProblem(said, text[slice(*span)], "", span) from None
    if depth(rule.statement.expression) > DEEPEST:
        raise ExpressionProblem(f"嵌套深于 nested deeper than {DEEPEST}", text, code="E_LONG")
    return rule


def likely(word: str, known) -> str:
    """The likely intent behind a misspelt word, as a hint; empty where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"是否想写 did you mean {near[0]}" if near else ""


def _problem(error: errors.EngineError, text: str, setting: Setting) -> ExpressionProblem:
    """What rule-engine refuses, in an author's words."""
    span = getattr(error, "span", (0, len(text)))
    part = text[slice(*span)]
    if isinstance(error, errors.AttributeResolutionError):
        name = error.attribute_name
        known = [str(a) for a in getattr(error.object, "attributes", ())]
        span = (span[1] - len(name), span[1])
        return ExpressionProblem(f"没有这个词 unknown attribute {name!r}", name, likely(name, known), span,
                                 "E_ATTRIBUTE", ", ".join(known))  # fmt: skip
    if isinstance(error, errors.SymbolResolutionError):
        name, known = error.symbol_name, [*setting.symbols, "params", *setting.sets, *setting.lets]
        said = f"没有这个名称 unknown name {name!r}"
        return ExpressionProblem(said, name, likely(name, known), span, "E_NAME", ", ".join(known))
    if isinstance(error, PatternProblem):
        return ExpressionProblem(error.message, part, error.hint, span, "E_REGEX")
    if isinstance(error, errors.RegexSyntaxError):
        return ExpressionProblem(f"不是正则表达式 not a pattern: {error.error}", part, "", span, "E_REGEX")
    if isinstance(error, errors.SyntaxError):
        return _syntax(error, text, span)
    operands = getattr(error, "operands", [])
    missing = [place for place, kind in operands if DataType.is_type(kind, DataType.NULLABLE)]
    if "nullable" in error.message and missing:
        return may_be_missing(text[slice(*missing[0])], missing[0])
    kinds = "，".join(f"{text[slice(*place)]} 是 is {_kind(kind)}" for place, kind in operands)
    if "mismatch" in error.message and kinds:
        return ExpressionProblem(f"类型不符 types do not fit: {kinds}", part, "", span, "E_TYPE")
    return ExpressionProblem(error.message, part, getattr(error, "hint", ""), span)


def may_be_missing(part: str = "", span: Span | None = None) -> ExpressionProblem:
    """A value that may be missing stands where the condition must say what that means."""
    hint = f"写明缺失时怎么算 say what that means: ({part or 'x'} ?? 0)"
    return ExpressionProblem(f"值可能缺失 {part} may be missing", part, hint, span, "E_MISSING")


KINDS = {"STRING": "文字 text", "FLOAT": "数 number", "DATETIME": "时间 time", "TIMEDELTA": "时长 span",
         "BOOLEAN": "是否 yes/no", "ARRAY": "列表 list", "SET": "集合 set", "NULL": "空 null"}  # fmt: skip


def _kind(kind) -> str:
    """A type of rule-engine in words."""
    inner = DataType.NULLABLE.unwrap(kind)
    return KINDS.get(inner.name, inner.name.lstrip("#"))


MEANT = {"=": "==", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "<>": "!=", ">": ">=", "<": "<=",
         "，": ",", "（": "(", "）": ")", "“": "'", "”": "'", "‘": "'", "’": "'", "＝": "==", "＞": ">",
         "＜": "<"}  # fmt: skip


NOT_A = {
    errors.FloatSyntaxError: "数 number", errors.DatetimeSyntaxError: "日期 date such as d'2025-03-31'",
    errors.TimedeltaSyntaxError: "时长 span such as t'P1D'", errors.StringSyntaxError: "文字 text",
    errors.BytesSyntaxError: "文字 text",
}  # fmt: skip


def _syntax(error: errors.SyntaxError, text: str, span: Span) -> ExpressionProblem:
    """What cannot stand here, in words."""
    if kind := NOT_A.get(type(error)):
        hint = "代码要加引号 a code needs quotes" if text[slice(*span)][:1] == "0" else ""
        return ExpressionProblem(f"不是 not a {kind}: {text[slice(*span)]}", "", hint, span, "E_SYNTAX")
    if span[0] >= len(text.rstrip()):
        return ExpressionProblem("表达式没有写完 the expression ends too early", "", "", span, "E_SYNTAX")
    piece = text[slice(*span)]
    hint = f"是否想写 did you mean {MEANT[piece]}" if piece in MEANT else ""
    return ExpressionProblem(f"这里不能写 cannot stand here: {piece}", piece, hint, span, "E_SYNTAX")


def _without_texts(text: str) -> str:
    """The text with quoted parts blanked out, every other character in its place."""
    return QUOTED.sub(lambda found: " " * len(found[0]), text)


def interpret(rule: rule_engine.Rule, case: dict):
    """The value of a parsed expression for one case. Raises rule-engine's EvaluationError where it has none."""
    try:
        return rule.evaluate(case)
    except BEYOND as error:
        raise errors.EvaluationError(str(error)) from None


def children(node) -> list:
    """The nodes directly below a node of the syntax tree."""
    names = ("left", "right", "object", "container", "member", "item", "start", "stop", "function",
             "result", "iterable", "condition", "case_true", "case_false", "expression")  # fmt: skip
    below = [getattr(node, name, None) for name in names]
    if isinstance(node, ast.FunctionCallExpression):
        below += node.arguments
    if isinstance(node, ast.ArrayExpression | ast.SetExpression):
        below += node.value
    return [child for child in below if isinstance(child, ast.ASTNodeBase)]


def depth(node) -> int:
    """How many levels the tree has; asked before anything goes through it, so without recursion."""
    deepest, level = 0, [node]
    while level:
        deepest, level = deepest + 1, [child for parent in level for child in children(parent)]
    return deepest


def walk(node):
    """Every node of the tree, top first."""
    yield node
    for child in children(node):
        yield from walk(child)


def conjuncts(node) -> list:
    """The parts of a condition that must all hold, in the order they are asked."""
    if isinstance(node, ast.LogicExpression) and node.type == "and":
        return conjuncts(node.left) + conjuncts(node.right)
    return [node]


def path_of(node) -> list[str] | None:
    """The words of a path such as l.visit.sex, or of a bare name; None for anything else."""
    if isinstance(node, ast.SymbolExpression):
        return [node.name]
    if isinstance(node, ast.GetAttributeExpression):
        inner = path_of(node.object)
        return inner and [*inner, node.name]
    return None
