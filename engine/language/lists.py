"""Lists: the elements of a case, the members of an array or set written out, and what is asked of either.

The elements of a case become aggregates, columns of their own; the members written out are asked one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import polars as pl

from engine.language import numbers
from engine.language.expression import ExpressionProblem
from engine.language.refusals import ABOUT_ITSELF, COMPARE, a
from engine.language.values import NO, YES, Member, Value, both, either, same, truth

WRITTEN = ("set", "array")


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
class Rows:
    """The elements of a collection of the case: those for which `where` holds, and what `result` says of each.

    `columns` are read of the element, `outer` of the case.
    """

    path: str
    variable: str = ""
    where: pl.Expr = field(default_factory=lambda: YES)
    result: Value = field(default_factory=lambda: Value(None, "object"))
    columns: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)


def members(container: Value) -> list[Member]:
    """The members of what is written out, or of a set or parameter."""
    if container.kind == "array":
        return container.detail
    return [Member(Value(pl.lit(text), "text", literal=text)) for text in container.literal]


# membership


def among(container: Value, member: Value) -> Value:
    """Is a value among the members written out?"""
    if container.kind == "set":
        if member.kind not in ("text", "null"):
            hint = "集合里是文字 a set holds texts"
            raise ExpressionProblem(f"类型不符 types do not fit: {a(member)}, {a(container)}", hint=hint, code="E_TYPE")
        texts = member.kind == "text" and list(container.literal)
        return Value(member.expr.is_in(texts).fill_null(False) if texts else NO, "bool")
    tests = [(_equal(m.value, member), m.where) for m in members(container)]
    found = [both(test.expr, where) for test, where in tests]
    return Value(pl.any_horizontal(found) if found else NO, "bool", raises=either(*(test.raises for test, _ in tests)))


def holds(compiler, container: Value, member: Value) -> Value:
    """Is a value among what a comprehension says of the elements?"""
    rows = container.detail
    if rows.result.expr is None:
        raise ExpressionProblem("只能查找单个值 only single values can be looked for", hint="[l.item for l in …]")
    read = set(member.expr.meta.root_names())
    if any(name.split(".")[0] == compiler.element for name in read):
        raise ExpressionProblem(ABOUT_ITSELF, hint=COMPARE)
    rows, test = replace(rows, outer=rows.outer | read), _equal(rows.result, member)
    raises = compiler.aggregate("any", rows, YES, rows.where & test.raises) if test.raises is not None else None
    return Value(compiler.aggregate("any", rows, rows.where, test.expr), "bool", raises=raises)


def _equal(left: Value, right: Value) -> Value:
    """Python's == of two members: true is 1, and two missing values are equal."""
    if {left.kind, right.kind} <= {"number", "bool"} and left.kind != right.kind:
        left, right = (numbers.count(v.expr) if v.kind == "bool" else v for v in (left, right))
    if left.kind == right.kind == "number":
        left, right = numbers.aligned(left, right)
        return Value(left.expr.eq_missing(right.expr), "bool", raises=either(left.raises, right.raises))
    return Value(same(left, right), "bool")


# aggregates


def shared(known: dict[str, Aggregate], how: str, rows: Rows, where: pl.Expr, value: pl.Expr | None) -> str:
    """The name of the aggregate that says this of the elements: an equal one that is known, or a new one."""
    for name, one in known.items():
        alike = (one.how, one.collection) == (how, rows.path) and (one.value is None) == (value is None)
        if alike and one.where.meta.eq(where) and (value is None or one.value.meta.eq(value)):
            return name
    name = f"#{len(known) + 1}"
    known[name] = Aggregate(name, rows.path, rows.variable, how, where, value, rows.columns, rows.outer)
    return name


# functions of lists


def reduced(compiler, how: str, value: Value) -> Value:
    """$sum, $any, $all, $min or $max of a list."""
    if value.kind == "rows":
        return _of_rows(compiler, how, value)
    if value.kind == "array":
        made = _of_array(how, value.detail)
        return replace(made, raises=either(value.raises, made.raises))
    if value.kind in ("set", "texts") and how in ("any", "all"):
        if value.kind == "texts":
            return truth(value) if how == "any" else Value(YES, "bool", raises=value.raises)
        return Value(pl.lit({"any": any, "all": all}[how](value.literal)), "bool")
    raise ExpressionProblem(f"${how} 只对列表 is asked of a list")


def _of_rows(compiler, how: str, value: Value) -> Value:
    rows = value.detail
    if how in ("any", "all"):
        test = YES if rows.result.expr is None else truth(rows.result).expr
        return Value(compiler.aggregate(how, rows, rows.where, test), "bool", raises=value.raises)
    result = rows.result
    _numeric(how, result)
    if how == "sum":
        result = numbers.summed(result)
        large = result.raises
        raises = None if large is None else compiler.aggregate("any", rows, YES, rows.where & large)
        return replace(result, expr=compiler.aggregate("sum", rows, rows.where, result.expr),
                       raises=either(value.raises, raises), literal=None)  # fmt: skip
    found = compiler.aggregate(how, rows, rows.where, result.expr)
    return replace(result, expr=found, raises=either(value.raises, found.is_null()), literal=None)


def _of_array(how: str, array: list[Member]) -> Value:
    if how in ("any", "all"):
        tests = [(truth(m.value).expr, m.where) for m in array]
        if how == "any":
            return Value(pl.any_horizontal([both(test, where) for test, where in tests] or [NO]), "bool")
        absent = [test if where is None else test | ~where for test, where in tests]
        return Value(pl.all_horizontal(absent or [YES]), "bool")
    for m in array:
        _numeric(how, m.value)
    if not array and how != "sum":
        raise ExpressionProblem(f"空列表没有 ${how} of nothing has no value")
    values = numbers.aligned(*(m.value for m in array)) if array else []
    shown = [v.expr if m.where is None else pl.when(m.where).then(v.expr) for v, m in zip(values, array, strict=True)]
    if how == "sum":
        return numbers.added_up(values, shown)
    expr = {"min": pl.min_horizontal, "max": pl.max_horizontal}[how](shown)
    raises = either(expr.is_null(), *(v.raises for v in values))
    return Value(expr, "number", values[0].scale, max(v.size for v in values), raises=raises)


def _numeric(how: str, value: Value) -> None:
    if value.kind != "number" or value.nullable:
        raise ExpressionProblem(f"${how} 要不会缺失的数 needs numbers that are never missing", hint="列表里用 use ??")


# words after the dot of a list


def _length(compiler, value: Value) -> Value:
    if value.kind == "set":
        return numbers.count(pl.lit(len(value.literal)))
    if value.kind == "array":
        there = [pl.lit(1) if m.where is None else m.where.cast(pl.Int64) for m in value.detail]
        return replace(numbers.count(pl.sum_horizontal(there) if there else pl.lit(0)), raises=value.raises)
    how, rows = ("distinct" if value.kind == "distinct" else "count"), value.detail
    if how == "distinct" and rows.result.expr is None:
        raise ExpressionProblem("只有单个值能去重 only single values can be told apart", hint="[l.item for …]")
    return replace(numbers.count(compiler.aggregate(how, rows, rows.where, rows.result.expr)), raises=value.raises)


def _empty(compiler, value: Value) -> Value:
    return Value(_length(compiler, value).expr == 0, "bool", raises=value.raises)


def _set(compiler, value: Value) -> Value:
    if value.kind == "rows":
        return replace(value, kind="distinct")
    if value.kind == "set":
        return replace(value, literal=tuple(dict.fromkeys(value.literal)))
    if any(m.where is not None or (m.value.literal is None and m.value.kind != "null") for m in value.detail):
        raise ExpressionProblem("只有写出的值能去重 only members written out can be told apart")
    return replace(value, detail=list({m.value.literal: m for m in value.detail}.values()))


WORDS: dict[str, Callable[[object, Value], Value]] = {
    "length": _length,
    "is_empty": _empty,
    "to_set": _set,
    "to_ary": lambda compiler, value: value,
}
