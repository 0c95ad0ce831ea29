"""One expression of a rule: parsed and type-checked by rule-engine, once, when the rule is loaded.

The parsed rule serves both readers: `interpret` evaluates it for one case, compile.py turns its syntax tree into
Polars expressions. What a case has is given by a Setting.
"""

import datetime
import decimal
import re
from dataclasses import dataclass, field

import rule_engine
from rule_engine import DataType, ast, errors
from rule_engine.builtins import Builtins, BuiltinValueGenerator

from engine.language.vocabulary import Attribute, object_type, object_types, objects, scopes

FUNCTIONS = ("sum", "any", "all", "min", "max", "abs", "begins", "now", "today")
DECIMALS = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)


class ExpressionProblem(Exception):
    """Why an expression is refused: the message, the part of the text it concerns, a suggestion."""

    def __init__(self, message: str, part: str = "", hint: str = ""):
        self.message, self.part, self.hint = message, part, hint
        super().__init__(message)


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


def with_lets(text: str, lets: dict[str, str], depth: int = 0) -> str:
    """Substitute named sub-expressions, so that they may stand for lists and use the names around them."""
    if depth > 20:
        raise ExpressionProblem("let names refer to each other in a circle", text)
    for name, body in lets.items():
        pattern = rf"(?<![\w.$&'\"]){re.escape(name)}(?![\w'\"])"
        if re.search(pattern, text):
            inner = with_lets(body, {k: v for k, v in lets.items() if k != name}, depth + 1)
            text = re.sub(pattern, lambda _, inner=inner: f"({inner})", text)
    return text


def parse(text: str, setting: Setting) -> rule_engine.Rule:
    """Parse and type-check one expression. Raises ExpressionProblem with the likely intent."""
    full = with_lets(text, setting.lets)
    if unknown := [name for name in re.findall(r"\$(\w+)", full) if name not in FUNCTIONS]:
        hint = f"known: {', '.join('$' + f for f in FUNCTIONS)}"
        raise ExpressionProblem(f"unknown function ${unknown[0]}", f"${unknown[0]}", hint)
    try:
        return rule_engine.Rule(full, context=setting.context())
    except errors.ObjectAttributeError as error:
        known = ", ".join(error.object_type.attributes) if hasattr(error, "object_type") else ""
        hint = f"did you mean {error.suggestion!r}?" if error.suggestion else known
        raise ExpressionProblem(f"unknown attribute {error.attribute_name!r}", error.attribute_name, hint) from None
    except errors.SymbolResolutionError as error:
        names = ", ".join([*setting.symbols, "params", *setting.sets])
        raise ExpressionProblem(
            f"unknown name {error.symbol_name!r}", error.symbol_name, f"known here: {names}"
        ) from None
    except errors.EngineError as error:
        raise ExpressionProblem(error.message, text) from None


def interpret(rule: rule_engine.Rule, case: dict):
    """The value of a parsed expression for one case. Raises rule-engine's EvaluationError where it has none."""
    return rule.evaluate(case)


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
