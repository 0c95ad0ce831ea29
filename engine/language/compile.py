"""Expressions compiled from rule-engine's syntax tree to Polars.

Every node becomes a Value: an expression for its value and one for "this raises", since where the interpreter
raises, the compiled rule must answer *not evaluated* and nothing else.

A list comprehension becomes an Aggregate: a column of its own, computed over the elements of the collection and
joined to the case, named in the compiled expression.

A path such as `visit.days`, `l.visit.sex` or `cap.max_per_day` is one column of that name. An object that may be
missing, such as `visit.previous_insured`, is missing where the column of its `id` is.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import polars as pl
from rule_engine import ast

from engine.language import lists, numbers, texts
from engine.language.constants import parameter, written
from engine.language.expression import ExpressionProblem, Setting, may_be_missing
from engine.language.lists import Aggregate
from engine.language.refusals import ABOUT_ITSELF, COMPARE, LIST_OF_VALUES, REFUSED, a
from engine.language.values import YES, Member, Value, either, moved, only_if, truth
from engine.language.vocabulary import Attribute, objects
from engine.language.words import WORDS

MOST_MEMBERS = 100  # of a list written out that is gone through
LISTS = ("rows", "distinct", "set", "array")
SHOWN = ("number", "text", "bool", "time", "span", "texts", "null")


@dataclass
class Compiled:
    """A compiled expression, the columns it reads from the case and from its element, and its aggregates.

    `value` is missing where the expression raises; numbers are decimals.
    """

    value: pl.Expr
    raises: pl.Expr | None
    kind: str
    nullable: bool
    columns: set[str]
    element: set[str]
    aggregates: list[Aggregate]


class Compiler:
    """Compiles the expressions of one rule; aggregates that several of them share are computed once."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.aggregates: dict[str, Aggregate] = {}
        self.bound: dict[str, Value] = {}  # names that stand for an element
        self.element: str | None = None  # the one whose columns are those of the element
        self.inside: bool = False  # a comprehension over elements
        self.taken: list[str] = []  # names that comprehensions around have given
        self.columns: set[str] = set()
        self.element_columns: set[str] = set()

    def compile(self, rule, variable: tuple[str, str] | None = None, condition: bool = False) -> Compiled:
        """Compile one parsed expression; `variable` (name, collection path) lets it speak of one element.

        A condition is true or false whatever its value: Python's truthiness. Raises ExpressionProblem, placed, where
        the expression has no meaning on frames.
        """
        return self.compile_node(rule.statement.expression, variable, condition)

    def compile_node(self, node, variable: tuple[str, str] | None = None, condition: bool = False) -> Compiled:
        """Compile a part of a parsed expression."""
        self.columns, self.element_columns, self.bound, self.inside = set(), set(), {}, False
        self.element = variable and variable[0]
        if variable:
            self.bound[variable[0]] = self._element(*variable)
        value = self._node(node)
        if condition:
            value = self._about(node, truth, value)
        elif value.kind not in SHOWN:
            raise ExpressionProblem(f"{a(value)}：不是单个值 is no single value", span=getattr(node, "span", None))
        value = numbers.outgoing(value) if value.kind == "number" else value
        expr = value.expr if value.raises is None else pl.when(~value.raises).then(value.expr)
        used = self._used(self.columns)
        columns = self.columns.union(*(aggregate.outer for aggregate in used)) - set(self.aggregates)
        return Compiled(expr, value.raises, value.kind, value.nullable, columns, self.element_columns, used)

    def _used(self, columns: set[str]) -> list[Aggregate]:
        """The aggregates among some columns, and those they read themselves."""
        names, new = set(), columns & set(self.aggregates)
        while new:
            names |= new
            new = set().union(*(self.aggregates[name].outer for name in new)) & set(self.aggregates) - names
        return [aggregate for name, aggregate in self.aggregates.items() if name in names]

    # nodes

    def _node(self, node) -> Value:
        handler = next((HANDLERS[kind] for kind in type(node).__mro__ if kind in HANDLERS), None)
        if handler is None:
            message, hint = REFUSED.get(type(node), (f"规则里没有 has no meaning in a rule: {type(node).__name__}", ""))
            raise ExpressionProblem(message, "", hint, getattr(node, "span", None))
        return self._about(node, handler, self, node)

    def _about(self, node, function: Callable, *arguments):
        """What a function makes, its problem placed at the node it concerns."""
        try:
            return function(*arguments)
        except ExpressionProblem as problem:
            problem.span = problem.span or getattr(node, "span", None)
            raise

    def array(self, node) -> Value:
        members = [self._node(member) for member in node.value]
        if any(member.expr is None for member in members):
            raise ExpressionProblem(LIST_OF_VALUES)
        return Value(None, "array", raises=either(*(m.raises for m in members)), detail=[Member(m) for m in members])

    def braces(self, node) -> Value:
        """A set written out: what stands twice counts once, so its members must be known."""
        if not all(isinstance(member, ast.LiteralExpressionBase) for member in node.value):
            raise ExpressionProblem("{ } 里只写现成的值 { } holds values written out", hint="要算的写在 [ ] 里 use [ ]")
        array = self.array(node)
        seen = {member.value.literal: member for member in array.detail}
        return replace(array, detail=list(seen.values()))

    def symbol(self, node) -> Value:
        name = node.name
        if node.scope is not None:
            if name not in ("now", "today"):
                raise ExpressionProblem(f"${name} 是函数 is a function", f"${name}", f"写成 call it: ${name}(…)")
            return Value(pl.lit(self.setting.today).cast(pl.Datetime("us")), "time")
        if name in self.bound:
            return self.bound[name]
        if name in self.setting.sets:
            return Value(None, "set", literal=tuple(dict.fromkeys(self.setting.sets[name])))
        if name == "params":
            return Value(None, "params")
        return Value(None, "object", detail=(name, self.setting.attributes_of(name)))

    def attribute(self, node) -> Value:
        base = self._node(node.object)
        if base.kind == "params":
            return parameter(self.setting.params[node.name])
        if base.kind == "object":
            return self._member(base, node.name)
        if base.kind == "outer":
            raise ExpressionProblem(ABOUT_ITSELF, node.name, hint=COMPARE)
        if base.kind in LISTS and (word := lists.WORDS.get(node.name)):
            return word(self, base)
        if word := WORDS.get((base.kind, node.name)):
            return word(base)
        if base.kind == "null":
            return base
        raise ExpressionProblem(f"{a(base)} 没有 has no .{node.name}", node.name)

    def _member(self, base: Value, name: str) -> Value:
        path, attributes = base.detail
        attribute = attributes[name]
        full = f"{path}.{name}"
        if attribute.collection:
            if "." in path or base.nullable or path == self.element:
                raise ExpressionProblem(
                    f"{full}：只能遍历本案例的列表 only lists of the case itself can be gone through", name
                )
            return Value(None, "rows", detail=lists.Rows(full))
        nullable = base.nullable or attribute.nullable
        if attribute.kind in objects():
            known = objects()[attribute.kind]
            if nullable and "id" not in known:
                raise ExpressionProblem(f"{full} 可能缺失，又没有 id may be missing and has no id to tell it by", name)
            missing = self._column(f"{full}.id", known["id"]).expr if nullable else None
            return Value(missing, "object", nullable=nullable, detail=(full, known))
        return replace(self._column(full, attribute), nullable=nullable)

    def _column(self, full: str, attribute: Attribute) -> Value:
        inside = self.element is not None and full.split(".")[0] == self.element
        (self.element_columns if inside else self.columns).add(full)
        column = pl.col(full)
        if attribute.kind == "money":
            return numbers.money(column)
        if attribute.kind == "number":
            return numbers.column(column)
        return Value(column.cast(pl.Datetime("us")) if attribute.kind == "time" else column, attribute.kind)

    def logic(self, node) -> Value:
        left, right = self._truth(node.left), self._truth(node.right)
        needed = left.expr if node.type == "and" else ~left.expr
        value = left.expr & right.expr if node.type == "and" else left.expr | right.expr
        return Value(value, "bool", raises=either(left.raises, only_if(needed, right.raises)))

    def _truth(self, node) -> Value:
        return self._about(node, truth, self._node(node))

    def unary(self, node) -> Value:
        if node.type == "not":
            right = self._truth(node.right)
            return Value(~right.expr, "bool", raises=right.raises)
        right = self._node(node.right)
        if right.kind not in ("number", "span"):
            raise ExpressionProblem(f"{a(right)} 没有负值 has no negative")
        return numbers.negated(right) if right.kind == "number" else replace(right, expr=-right.expr, literal=None)

    def comparison(self, node) -> Value:
        left, right = self._node(node.left), self._node(node.right)
        raises = either(left.raises, right.raises)
        ordered = node.type not in ("eq", "ne")
        if "null" in (left.kind, right.kind) and not ordered:
            other = right if left.kind == "null" else left
            if other.expr is None:
                raise ExpressionProblem(f"{a(other)} 不会缺失 is never missing")
            return Value(other.expr.is_null() if node.type == "eq" else other.expr.is_not_null(), "bool", raises=raises)
        if left.nullable or right.nullable:
            missing = node.left if left.nullable else node.right
            raise may_be_missing(span=getattr(missing, "span", None))
        if strange := next((v for v in (left, right) if v.kind not in SHOWN[:-2]), None):
            raise ExpressionProblem(f"{a(strange)} 不能比较 cannot be compared", hint="用 in 或 .length")
        if left.kind != right.kind:
            said = f"类型不符 types do not fit: {a(left)}, {a(right)}"
            raise ExpressionProblem(said, hint="文字加引号，数不加 texts have quotes, numbers none", code="E_TYPE")
        if left.kind == "number":
            left, right = numbers.aligned(left, right)
            raises = either(left.raises, right.raises)
        return Value(getattr(operator, node.type)(left.expr, right.expr), "bool", raises=raises)

    def arithmetic(self, node) -> Value:
        left, right = self._node(node.left), self._node(node.right)
        if left.nullable or right.nullable:
            raise may_be_missing()
        if left.kind != "number" or right.kind != "number":
            return moved(node.type, left, right)
        if node.type in ("add", "sub"):
            return numbers.total(node.type, left, right)
        if node.type == "mul":
            return numbers.product(left, right)
        return numbers.power(left, right) if node.type == "pow" else numbers.quotient(node.type, left, right)

    def coalesce(self, node) -> Value:
        left, right = self._alike(self._node(node.left), self._node(node.right))
        raises = either(left.raises, only_if(left.expr.is_null(), right.raises))
        kind = right.kind if left.kind == "null" else left.kind
        return Value(pl.coalesce(left.expr, right.expr), kind, max(left.scale, right.scale),
                     max(left.size, right.size), right.nullable and left.nullable, raises)  # fmt: skip

    def ternary(self, node) -> Value:
        condition = self._truth(node.condition)
        yes, no = self._alike(self._node(node.case_true), self._node(node.case_false))
        raises = either(condition.raises, only_if(condition.expr, yes.raises), only_if(~condition.expr, no.raises))
        kind = no.kind if yes.kind == "null" else yes.kind
        value = pl.when(condition.expr).then(yes.expr).otherwise(no.expr)
        nullable = yes.nullable or no.nullable
        return Value(value, kind, max(yes.scale, no.scale), max(yes.size, no.size), nullable, raises)

    def _alike(self, one: Value, other: Value) -> list[Value]:
        """Two values that may stand for each other."""
        if strange := next((v for v in (one, other) if v.kind not in SHOWN), None):
            raise ExpressionProblem(f"{a(strange)} 不是单个值 is no single value")
        if one.kind == other.kind == "number":
            return numbers.aligned(one, other)
        if one.kind != other.kind and "null" not in (one.kind, other.kind):
            raise ExpressionProblem(f"类型不符 types do not fit: {a(one)}, {a(other)}", code="E_TYPE")
        return [one, other]

    def contains(self, node) -> Value:
        container, member = self._node(node.container), self._node(node.member)
        if member.expr is None or member.kind == "object":
            raise ExpressionProblem(f"{a(member)} 不能是列表的成员 is no member of a list")
        if container.kind in ("set", "array"):
            found = lists.among(container, member)
        elif container.kind == "rows":
            found = lists.holds(self, container, member)
        elif container.kind in ("text", "texts"):
            found = Value(texts.holds(container, member), "bool")
        else:
            raise ExpressionProblem(f"{a(container)} 不含成员 has no members")
        return replace(found, raises=either(container.raises, member.raises, found.raises))

    def regex(self, node) -> Value:
        return texts.matches(node.type, self._node(node.left), self._node(node.right))

    def item(self, node) -> Value:
        base = self._node(node.container)
        if base.kind not in ("text", "texts"):
            raise ExpressionProblem(f"{a(base)} 不能按位置取 has no places", hint="用 use $any, $all")
        return texts.item(base, texts.place(node.item), node.safe)

    def slice(self, node) -> Value:
        base = self._node(node.container)
        if base.kind != "text":
            raise ExpressionProblem(f"{a(base)} 不能截取 cannot be cut")
        stop = None if isinstance(node.stop, ast.NullExpression) else texts.place(node.stop)
        start = 0 if isinstance(node.start, ast.NullExpression) else texts.place(node.start)
        return replace(base, expr=texts.sliced(base, start, stop), literal=None)

    def comprehension(self, node) -> Value:
        source = self._node(node.iterable)
        if node.variable in self.taken:  # the interpreter would read the outer one
            raise ExpressionProblem(f"{node.variable} 外层已用 is taken already", hint="换个名字 take another name")
        self.taken.append(node.variable)
        try:
            return self._each(node, source) if source.kind in lists.WRITTEN else self._rows(node, source)
        finally:
            self.taken.pop()

    def _rows(self, node, source: Value) -> Value:
        """A comprehension over the elements of a list of the case."""
        if source.kind != "rows":
            raise ExpressionProblem(f"{a(source)} 不能遍历 cannot be gone through",
                                    hint="用 ask with in, $begins")  # fmt: skip
        if self.inside:
            raise ExpressionProblem("列表里不能再有列表 a list inside a list", hint=COMPARE)
        if source.detail.variable:
            raise ExpressionProblem("列表的列表 a list made of a list", hint="条件合写 put both behind one if")
        saved = self.columns, self.element_columns, self.bound, self.element
        rows = lists.Rows(source.detail.path, node.variable, columns=set(), outer=set())
        hidden = {name: Value(None, "outer") if value.kind == "object" else value for name, value in self.bound.items()}
        self.bound = hidden | {node.variable: self._element(node.variable, rows.path)}
        self.columns, self.element_columns, self.element, self.inside = rows.outer, rows.columns, node.variable, True
        condition = Value(YES, "bool") if node.condition is None else self._truth(node.condition)
        rows.where, rows.result = condition.expr, self._node(node.result)
        if rows.result.kind not in (*SHOWN, "object"):
            raise ExpressionProblem(LIST_OF_VALUES)
        self.columns, self.element_columns, self.bound, self.element = saved
        self.inside = False
        raises = either(condition.raises, only_if(condition.expr, rows.result.raises))
        raises = None if raises is None else self.aggregate("any", rows, YES, raises)
        return Value(None, "rows", detail=rows, raises=raises)

    def _element(self, name: str, path: str) -> Value:
        symbol, collection = path.split(".")
        kind = self.setting.attributes_of(symbol)[collection].collection
        return Value(None, "object", detail=(name, objects()[kind]))

    def _each(self, node, source: Value) -> Value:
        """A comprehension over members written out: one part for each of them."""
        made, raises, saved = [], [source.raises], self.bound
        known = lists.members(source)
        if len(known) > MOST_MEMBERS or any(m.value.literal is None and m.value.kind != "null" for m in known):
            raise ExpressionProblem(f"只能遍历至多 {MOST_MEMBERS} 个写出的值 only so many written out")
        for member in known:
            self.bound = saved | {node.variable: member.value}
            where = None if node.condition is None else self._truth(node.condition)
            value = self._node(node.result)
            if value.expr is None:
                raise ExpressionProblem(LIST_OF_VALUES)
            made.append(Member(value, where and where.expr))
            raises += [value.raises] if where is None else [where.raises, only_if(where.expr, value.raises)]
        self.bound = saved
        return Value(None, "array", detail=made, raises=either(*raises))

    def call(self, node) -> Value:
        function = node.function
        if isinstance(function, ast.GetAttributeExpression) and function.name in texts.ENDS:
            return texts.ends(function.name, self._node(function.object), self._node(node.arguments[0]))
        if not isinstance(function, ast.SymbolExpression) or function.scope is None:
            raise ExpressionProblem("这不是函数 this cannot be called")
        arguments = [self._node(argument) for argument in node.arguments]
        if function.name == "begins":
            return texts.begins(*arguments)
        if function.name == "abs":
            return numbers.absolute(arguments[0])
        return lists.reduced(self, function.name, arguments[0])

    def aggregate(self, how: str, rows: lists.Rows, where: pl.Expr, value: pl.Expr | None) -> pl.Expr:
        """The column of one list's sum, count or answer; equal ones of several expressions are one."""
        name = lists.shared(self.aggregates, how, rows, where, value)
        self.columns.add(name)
        return pl.col(name)


HANDLERS: dict[type, Callable[[Compiler, object], Value]] = {
    **dict.fromkeys([ast.NullExpression, ast.FloatExpression, ast.StringExpression, ast.BooleanExpression,
                     ast.DatetimeExpression, ast.TimedeltaExpression], lambda _, node: written(node.value)),
    **dict.fromkeys([ast.AddExpression, ast.SubtractExpression, ast.ArithmeticExpression], Compiler.arithmetic),
    ast.FuzzyComparisonExpression: Compiler.regex,
    ast.ComparisonExpression: Compiler.comparison,
    ast.ArrayExpression: Compiler.array,
    ast.SetExpression: Compiler.braces,
    ast.SymbolExpression: Compiler.symbol,
    ast.GetAttributeExpression: Compiler.attribute,
    ast.GetItemExpression: Compiler.item,
    ast.GetSliceExpression: Compiler.slice,
    ast.LogicExpression: Compiler.logic,
    ast.UnaryExpression: Compiler.unary,
    ast.CoalesceExpression: Compiler.coalesce,
    ast.TernaryExpression: Compiler.ternary,
    ast.ContainsExpression: Compiler.contains,
    ast.ComprehensionExpression: Compiler.comprehension,
    ast.FunctionCallExpression: Compiler.call,
}  # fmt: skip
