"""One expression of a rule: parsed and type-checked by rule-engine, once, when the rule is loaded.

The parsed rule serves both readers: `interpret` evaluates it for one case, compile.py turns its syntax tree into
Polars expressions. What a case has is given by a Setting.
"""

import datetime
import decimal
import difflib
import re
from dataclasses import dataclass, field

import rule_engine
from rule_engine import DataType, ast, errors
from rule_engine.builtins import Builtins, BuiltinValueGenerator

from engine.language.parser import PlacedRule, Span
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

    def __init__(self, message: str, part: str = "", hint: str = "", span: Span | None = None):
        self.message, self.part, self.hint, self.span = message, part, hint, span
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

    def attributes_of(self, symbol: str) -> dict[str, Attribute]:
        """The attributes of what a bare name stands for."""
        if symbol in self.joined:
            return self.joined[symbol]
        return objects()[scopes()[self.scope].symbols[symbol]]

    @property
    def symbols(self) -> list[str]:
        return [*scopes()[self.scope].symbols, *self.joined]

    def context(self) -> rule_engine.Context:
        """The rule-engine context: types for the parser, values for the interpreter."""
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
    """An expression with its named parts put in, and for every character the name and offset it was written at."""

    text: str
    origins: tuple[tuple[str | None, int], ...]

    def origin(self, span: Span) -> tuple[str, int, int]:
        """Where a part stands as its author wrote it: the name of the expression, its begin and end there."""
        places = [place for place in self.origins[span[0] : max(span[1], span[0] + 1)] if place[0] is not None]
        if not places:
            return next(((name, at + 1, at + 1) for name, at in self.origins[::-1] if name is not None), ("", 0, 0))
        name, start = places[0]
        return name, start, max(at for owner, at in places if owner == name) + 1


def with_lets(text: str, lets: dict[str, str], name: str = "", inside: tuple[str, ...] = ()) -> Written:
    """Substitute named sub-expressions, so that they may stand for lists and use the names around them."""
    if len(text) > LONGEST:
        raise ExpressionProblem(f"an expression is longer than {LONGEST} characters", text)
    pieces, origins, at = [], [], 0

    def take(piece: str, places) -> None:
        pieces.append(piece)
        origins.extend(places)

    for found in BARE_WORDS.finditer(text):
        let = found[1]
        if let not in lets:
            continue
        if let in inside:
            circle = ExpressionProblem(f"let names go in a circle: {' → '.join((*inside, let))}", let)
            circle.where, circle.span = name, found.span(1)
            raise circle
        body = with_lets(lets[let], lets, f"let.{let}", (*inside, let))
        start, end = found.span(1)
        take(text[at:start], ((name, n) for n in range(at, start)))
        take(f"({body.text})", ((None, 0), *body.origins, (None, 0)))
        at = end
    take(text[at:], ((name, n) for n in range(at, len(text))))
    if len(origins) > 10 * LONGEST:
        raise ExpressionProblem(f"with its let parts an expression is longer than {10 * LONGEST} characters", text)
    return Written("".join(pieces), tuple(origins))


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
    for found in re.finditer(r"\$(\w+)", _without_texts(text)):
        if found[1] not in FUNCTIONS:
            near = difflib.get_close_matches(found[1], FUNCTIONS, 1)
            hint = f"did you mean ${near[0]}?" if near else f"known: {', '.join('$' + f for f in FUNCTIONS)}"
            raise ExpressionProblem(f"unknown function {found[0]}", found[0], hint, found.span())
    try:
        with decimal.localcontext(DECIMALS):  # parts without names are worked out while they are read
            rule = PlacedRule(text, context=setting.context())
    except errors.EngineError as error:
        raise _problem(error, text, setting) from None
    except RecursionError:
        raise ExpressionProblem("nested too deep", text) from None
    except BEYOND as error:
        span = getattr(error, "span", (0, len(text)))
        raise ExpressionProblem(f"this cannot be worked out: {error}", text[slice(*span)], "", span) from None
    if depth(rule.statement.expression) > DEEPEST:
        raise ExpressionProblem(f"nested deeper than {DEEPEST}", text)
    return rule


def _problem(error: errors.EngineError, text: str, setting: Setting) -> ExpressionProblem:
    span = getattr(error, "span", (0, len(text)))
    if isinstance(error, errors.AttributeResolutionError):
        name = error.attribute_name
        known = ", ".join(getattr(error.object, "attributes", ()))
        hint = f"did you mean {error.suggestion!r}?" if error.suggestion else f"known: {known}"
        return ExpressionProblem(f"unknown attribute {name!r}", name, hint, (span[1] - len(name), span[1]))
    if isinstance(error, errors.SymbolResolutionError):
        names = [*setting.symbols, "params", *setting.sets, *setting.lets]
        near = difflib.get_close_matches(error.symbol_name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
        return ExpressionProblem(f"unknown name {error.symbol_name!r}", error.symbol_name, hint, span)
    if "nullable" in error.message:
        return ExpressionProblem("a value may be missing here", text[slice(*span)], "say with ?? what a missing value "
                                 "means, as in (x ?? 0)", span)  # fmt: skip
    if isinstance(error, errors.RuleSyntaxError):
        return ExpressionProblem(_syntax(text, span), text[slice(*span)], "", span)
    return ExpressionProblem(error.message, text[slice(*span)], getattr(error, "hint", ""), span)


def _syntax(text: str, span: Span) -> str:
    """What cannot stand here, in words."""
    if span[0] >= len(text.rstrip()):
        return "the expression ends too early"
    piece = text[slice(*span)]
    meant = {"=": "==", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "<>": "!="}.get(piece)
    return f"{piece!r} cannot stand here" + (f"; did you mean {meant!r}?" if meant else "")


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
