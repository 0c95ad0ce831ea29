"""Expressions compiled from rule-engine's syntax tree to Polars.

Every node becomes a Value: an expression for its value and one for "this raises", since where the interpreter
raises, the compiled rule must answer *not evaluated* and nothing else.

A list comprehension becomes an Aggregate: a column of its own, computed over the elements of the collection and
joined to the case, named in the compiled expression.

A path such as `visit.days`, `l.visit.sex` or `cap.max_per_day` is one column of that name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl
from rule_engine import ast

from engine.language.expression import ExpressionProblem, Setting
from engine.language.values import (
    NO,
    NUMBER_SCALE,
    OPERATORS,
    PARTS,
    Value,
    chosen,
    either,
    moment,
    number_literal,
    product,
    quotient,
    truth,
    widen,
    yuan,
)  # fmt: skip
from engine.language.vocabulary import Attribute, objects


@dataclass
class Aggregate:
    """One comprehension: `how` over `value` of the elements of `collection` for which `where` holds."""

    name: str
    collection: str
    variable: str
    how: str
    where: pl.Expr
    value: pl.Expr | None
    columns: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)


@dataclass
class Compiled:
    """A compiled expression, the columns it reads from the case and from its element, and its aggregates."""

    value: pl.Expr
    raises: pl.Expr | None
    kind: str
    scale: int | None
    columns: set[str]
    element: set[str]
    aggregates: list[Aggregate]


class Compiler:
    """Compiles the expressions of one rule; aggregates that several of them share are computed once."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.aggregates: dict[str, Aggregate] = {}
        self.variable: tuple[str, str] | None = None  # name and collection while inside a comprehension
        self.columns: set[str] = set()
        self.element_columns: set[str] = set()
        self.inside_list = False

    def compile(self, rule, variable: tuple[str, str] | None = None, condition: bool = False) -> Compiled:
        """Compile one parsed expression; `variable` (name, collection path) lets it speak of one element.

        A condition is true or false whatever its value: Python's truthiness.
        """
        return self.compile_node(rule.statement.expression, variable, condition)

    def compile_node(self, node, variable: tuple[str, str] | None = None, condition: bool = False) -> Compiled:
        """Compile a part of a parsed expression."""
        self.columns, self.element_columns, self.variable, self.inside_list = set(), set(), variable, False
        result = truth(self._node(node)) if condition else self._node(node)
        used = [aggregate for name, aggregate in self.aggregates.items() if name in self.columns]
        columns = (self.columns - set(self.aggregates)).union(*(aggregate.outer for aggregate in used))
        return Compiled(result.expr, result.raises, result.kind, result.scale, columns, self.element_columns, used)

    # nodes

    def _node(self, node) -> Value:
        handler = HANDLERS.get(type(node).__name__)
        try:
            if handler is None:
                raise ExpressionProblem(f"cannot be compiled: {type(node).__name__}", str(node))
            return handler(self, node)
        except ExpressionProblem as problem:
            problem.span = problem.span or getattr(node, "span", None)
            raise

    def literal(self, node) -> Value:
        value = node.value
        if isinstance(node, ast.NullExpression):
            return Value(pl.lit(None), "null", nullable=True)
        if isinstance(node, ast.FloatExpression):
            return number_literal(Decimal(value))
        if isinstance(node, ast.DatetimeExpression):
            return Value(pl.lit(value.replace(tzinfo=None)), "time")
        if isinstance(node, ast.TimedeltaExpression):
            return Value(pl.lit(value), "span")
        return Value(pl.lit(value), "bool" if isinstance(value, bool) else "text")

    def collection(self, node) -> Value:
        members = [member.value for member in node.value]
        return Value(None, "set", detail=tuple(members))

    def symbol(self, node) -> Value:
        name = node.name
        if name in self.setting.sets:
            return Value(None, "set", detail=self.setting.sets[name])
        if name == "params":
            return Value(None, "object", detail=("params", None))
        if node.scope is not None:
            return Value(pl.lit(self.setting.today).cast(pl.Datetime("us")), "time")
        if self.variable and name == self.variable[0]:
            return Value(None, "object", detail=(name, objects()[_elements(self.variable[1], self.setting)]))
        return Value(None, "object", detail=(name, self.setting.attributes_of(name)))

    def attribute(self, node) -> Value:
        base = self._node(node.object)
        if base.kind == "object":
            return self._member(*base.detail, node.name)
        if base.kind == "rows" and node.name == "length":
            return self._aggregate(base, "count")
        if base.kind == "rows" and node.name == "to_set":
            return Value(base.expr, "distinct", detail=base.detail)
        if base.kind == "distinct" and node.name == "length":
            return self._aggregate(base, "distinct")
        if handler := PARTS.get((base.kind, node.name)):
            kind, part = handler
            scale = 0 if kind == "number" else None
            return Value(part(base.expr), kind, scale, base.nullable, base.raises)
        raise ExpressionProblem(f"attribute {node.name!r} cannot be compiled here", node.name)

    def _member(self, path: str, attributes: dict[str, Attribute] | None, name: str) -> Value:
        if path == "params":
            value = self.setting.params[name]
            if isinstance(value, bool | str):
                return Value(pl.lit(value), "bool" if isinstance(value, bool) else "text")
            if isinstance(value, Decimal | int):
                return number_literal(Decimal(value))
            return Value(None, "set", detail=tuple(value))
        attribute = attributes[name]
        full = f"{path}.{name}"
        if attribute.collection:
            if "." in path:
                raise ExpressionProblem(f"{full}: only lists of the case itself can be gone through", name)
            return Value(None, "rows", detail=(full, None, None))
        if attribute.kind in objects():
            return Value(None, "object", detail=(full, objects()[attribute.kind]))
        return self._column(full, attribute)

    def _column(self, full: str, attribute: Attribute) -> Value:
        inside = self.variable and full.split(".")[0] == self.variable[0]
        (self.element_columns if inside else self.columns).add(full)
        column = pl.col(full)
        if attribute.kind == "money":
            return Value(yuan(column), "number", 2, attribute.nullable)
        if attribute.kind == "number":
            return Value(column.cast(pl.Decimal(38, NUMBER_SCALE)), "number", NUMBER_SCALE, attribute.nullable)
        return Value(column, attribute.kind, None, attribute.nullable)

    def logic(self, node) -> Value:
        left, right = truth(self._node(node.left)), truth(self._node(node.right))
        needed = left.expr if node.type == "and" else ~left.expr
        raises = either(left.raises, None if right.raises is None else needed & right.raises)
        value = left.expr & right.expr if node.type == "and" else left.expr | right.expr
        return Value(value, "bool", raises=raises)

    def unary(self, node) -> Value:
        right = self._node(node.right)
        if node.type == "not":
            right = truth(right)
            return Value(~right.expr, "bool", raises=right.raises)
        return Value(-right.expr, right.kind, right.scale, False, right.raises)

    def comparison(self, node) -> Value:
        left, right = self._node(node.left), self._node(node.right)
        raises = either(left.raises, right.raises)
        if "null" in (left.kind, right.kind):
            other = right if left.kind == "null" else left
            test = other.expr.is_null() if other.kind != "null" else pl.lit(True)
            return Value(test if node.type == "eq" else ~test, "bool", raises=raises)
        if left.nullable or right.nullable:
            missing = "left" if left.nullable else "right"
            raise ExpressionProblem(
                f"the {missing} side may be missing", str(node), "say with ?? what a missing value means"
            )
        if left.kind != right.kind:
            return Value(pl.lit(node.type == "ne"), "bool", raises=raises)
        return Value(OPERATORS[node.type](left.expr, right.expr), "bool", raises=raises)

    def arithmetic(self, node) -> Value:
        left, right = self._node(node.left), self._node(node.right)
        raises = either(left.raises, right.raises)
        if left.kind != "number" or right.kind != "number":
            return moment(node.type, left, right, raises)
        if node.type in ("add", "sub"):
            scale = max(left.scale, right.scale)
            value = left.expr + right.expr if node.type == "add" else left.expr - right.expr
            return Value(value, "number", scale, raises=raises)
        if node.type == "mul":
            return product(left, right, raises)
        if node.type in ("tdiv", "fdiv", "mod"):
            return quotient(node.type, left, right, raises)
        raise ExpressionProblem("powers cannot be compiled", str(node))

    def coalesce(self, node) -> Value:
        left, right = self._node(node.left), self._node(node.right)
        if left.kind == "null":
            return right
        raises = either(left.raises, None if right.raises is None else left.expr.is_null() & right.raises)
        scale = left.scale
        if left.kind == "number" and right.kind == "number":
            scale = max(left.scale, right.scale)
            left, right = widen(left, scale), widen(right, scale)
        return Value(pl.coalesce(left.expr, right.expr), left.kind, scale, right.nullable, raises)

    def ternary(self, node) -> Value:
        condition = truth(self._node(node.condition))
        yes, no = self._node(node.case_true), self._node(node.case_false)
        if yes.kind == "number" and no.kind == "number":
            scale = max(yes.scale, no.scale)
            yes, no = widen(yes, scale), widen(no, scale)
        raises = either(condition.raises, chosen(condition.expr, yes.raises, no.raises))
        value = pl.when(condition.expr).then(yes.expr).otherwise(no.expr)
        kind = no.kind if yes.kind == "null" else yes.kind
        return Value(value, kind, yes.scale, yes.nullable or no.nullable, raises)

    def contains(self, node) -> Value:
        container, member = self._node(node.container), self._node(node.member)
        if container.kind == "set":
            values = list(container.detail)
            if member.kind == "number":
                test = pl.any_horizontal([member.expr == pl.lit(Decimal(v)) for v in values] or [NO])
            else:
                test = member.expr.is_in(values).fill_null(False) if values else NO
            return Value(test, "bool", raises=member.raises)
        if container.kind == "text" and member.kind == "text":
            return Value(container.expr.str.contains(member.expr, literal=True), "bool", raises=member.raises)
        if container.kind == "texts":
            wrapped = pl.concat_str(pl.lit("|"), member.expr, pl.lit("|"))
            return Value(container.expr.str.contains(wrapped, literal=True), "bool", raises=member.raises)
        raise ExpressionProblem("membership cannot be compiled here", str(node))

    def regex(self, node) -> Value:
        left, right = self._node(node.left), self._node(node.right)
        if not isinstance(node.right, ast.StringExpression):
            raise ExpressionProblem("a regular expression must be written out", str(node))
        pattern = node.right.value
        pattern = rf"^(?:{pattern})" if node.type.endswith("fzm") else pattern
        try:
            pl.Series([""]).str.contains(pattern)
        except pl.exceptions.ComputeError as error:
            said = "regular expression beyond what both engines share"
            raise ExpressionProblem(said, pattern, str(error), code="E_REGEX") from None
        test = left.expr.str.contains(pattern)
        return Value(~test if node.type.startswith("ne") else test, "bool", raises=either(left.raises, right.raises))

    def comprehension(self, node) -> Value:
        if self.inside_list:
            raise ExpressionProblem("a list inside a list cannot be compiled", str(node))
        source = self._node(node.iterable)
        if source.kind != "rows":
            raise ExpressionProblem("only lists of the case can be gone through", str(node))
        path = source.detail[0]
        saved = self.columns, self.element_columns, self.variable
        self.variable, self.columns, self.element_columns, self.inside_list = (node.variable, path), set(), set(), True
        condition = truth(self._node(node.condition)) if node.condition is not None else Value(pl.lit(True), "bool")
        result = self._node(node.result)
        if condition.raises is not None or result.raises is not None:
            raise ExpressionProblem("division inside a list cannot be compiled", str(node))
        detail = (path, node.variable, (condition.expr, result, self.element_columns, self.columns))
        self.columns, self.element_columns, self.variable = saved
        self.inside_list = False
        return Value(None, "rows", detail=detail)

    def call(self, node) -> Value:
        name = node.function.name
        if name == "begins":
            return self._begins(*(self._node(argument) for argument in node.arguments))
        argument = self._node(node.arguments[0])
        if name == "abs":
            return Value(argument.expr.abs(), "number", argument.scale, raises=argument.raises)
        if argument.kind == "rows":
            return self._aggregate(argument, name)
        raise ExpressionProblem(f"${name} of this cannot be compiled", str(node))

    def _begins(self, codes: Value, prefixes: Value) -> Value:
        text = codes.expr if codes.kind == "texts" else pl.concat_str(pl.lit("|"), codes.expr.fill_null(""))
        if prefixes.kind == "set":
            listed = [p for p in prefixes.detail if p]
            test = text.str.contains_any([f"|{p}" for p in listed]) if listed else NO
        else:
            pattern = prefixes.expr.str.strip_chars("|").str.replace_all(".", r"\.", literal=True)
            test = (pattern != "") & text.str.contains(pl.concat_str(pl.lit(r"\|(?:"), pattern, pl.lit(")")))
        return Value(test, "bool")

    def _aggregate(self, rows: Value, how: str) -> Value:
        path, variable, body = rows.detail
        if body is None:
            body = (pl.lit(True), Value(None, "object"), set(), set())
        where, result, columns, outer = body
        scale = None
        value = result.expr
        if how in ("any", "all"):
            value = truth(result).expr
        elif how in ("sum", "min", "max"):
            if result.nullable or result.kind != "number":
                raise ExpressionProblem(f"${how} needs numbers that are never missing", path, "use ?? inside the list")
            scale = result.scale
        name = self._shared(how, path, where, value)
        if name is None:
            name = f"#{len(self.aggregates) + 1}"
            self.aggregates[name] = Aggregate(name, path, variable or "", how, where, value, columns, outer)
        self.columns.add(name)
        column = pl.col(name)
        if how in ("any", "all"):
            return Value(column, "bool")
        if how in ("count", "distinct"):
            return Value(column.cast(pl.Int64), "number", 0)
        empty = column.is_null() if how in ("min", "max") else None
        return Value(column, "number", scale, raises=empty)

    def _shared(self, how: str, path: str, where: pl.Expr, value: pl.Expr | None) -> str | None:
        """The name of an equal aggregate that another expression of the rule already needed."""
        for name, known in self.aggregates.items():
            same_value = known.value is value or (
                known.value is not None and value is not None and known.value.meta.eq(value)
            )
            if (known.how, known.collection) == (how, path) and same_value and known.where.meta.eq(where):
                return name
        return None


HANDLERS: dict[str, Callable[[Compiler, object], Value]] = {
    **dict.fromkeys(
        ["NullExpression", "FloatExpression", "StringExpression", "BooleanExpression", "DatetimeExpression",
         "TimedeltaExpression"], Compiler.literal),
    **dict.fromkeys(["ArrayExpression", "SetExpression"], Compiler.collection),
    **dict.fromkeys(["ComparisonExpression", "ArithmeticComparisonExpression"], Compiler.comparison),
    **dict.fromkeys(["AddExpression", "SubtractExpression", "ArithmeticExpression"], Compiler.arithmetic),
    "SymbolExpression": Compiler.symbol,
    "GetAttributeExpression": Compiler.attribute,
    "LogicExpression": Compiler.logic,
    "UnaryExpression": Compiler.unary,
    "CoalesceExpression": Compiler.coalesce,
    "TernaryExpression": Compiler.ternary,
    "ContainsExpression": Compiler.contains,
    "FuzzyComparisonExpression": Compiler.regex,
    "ComprehensionExpression": Compiler.comprehension,
    "FunctionCallExpression": Compiler.call,
}  # fmt: skip


def _elements(path: str, setting: Setting) -> str:
    """The object name of the elements of a collection path such as `visit.lines`."""
    first, *rest = path.split(".")
    attributes = setting.attributes_of(first)
    for name in rest:
        attribute = attributes[name]
        kind = attribute.collection or attribute.kind
        attributes = objects()[kind]
    return kind
