"""Texts within texts: membership, beginnings, single characters and slices.

A list of texts, such as the codes of a visit's diagnoses, is one text with a bar between and around its members.
"""

import re
from collections.abc import Callable

import polars as pl
from rule_engine import ast

from engine.language.expression import ExpressionProblem, may_be_missing
from engine.language.regex import NOTHING, PatternProblem, shared
from engine.language.values import NO, Value, either

BAR = "|"
LONGEST_TEXT = 1_000_000  # characters
SPECIAL = r"([\\.+*?()\[\]{}^$#&~\-])"


def holds(container: Value, member: Value) -> pl.Expr:
    """`member in container` for a text or a list of texts."""
    if container.kind == "text" and (member.kind != "text" or member.nullable):
        raise may_be_missing()
    if container.kind == "text":
        return container.expr.str.contains(member.expr, literal=True)
    if member.kind != "text" or (member.literal is not None and (member.literal == "" or BAR in member.literal)):
        return NO
    sought, listed = member.expr, container.expr
    if member.literal is None:  # a bar in the text itself is doubled, and two bars never stand in the list
        sought, listed = sought.str.replace_all(BAR, BAR * 2, literal=True), listed.str.replace_all(r"\|+", BAR)
    return listed.str.contains(pl.concat_str(pl.lit(BAR), sought, pl.lit(BAR)), literal=True).fill_null(False)


def begins(codes: Value, prefixes: Value) -> Value:
    """Does any code begin with any of the prefixes? One code or several; a set, a list, or text separated by |."""
    several, listed = codes.kind == "texts", _listed(prefixes)
    if codes.kind not in ("text", "texts") or (listed is None and prefixes.kind not in ("text", "texts")):
        raise ExpressionProblem("$begins(codes, prefixes)：要文字或集合 takes texts and texts or a set")
    if codes.nullable or prefixes.nullable:
        raise may_be_missing()
    if listed is not None:
        test = _with_any(codes.expr, several, [p for p in listed if p and not (several and BAR in p)])
    else:
        pattern = prefixes.expr.str.replace_all(SPECIAL, r"\$1").str.replace_all(r"\|+", BAR).str.strip_chars(BAR)
        start = r"\|(?:" if several else r"\A(?:"
        test = codes.expr.str.contains(pl.concat_str(pl.lit(start), pattern.replace("", NOTHING), pl.lit(")")))
    return Value(test, "bool", raises=either(codes.raises, prefixes.raises))


def _listed(prefixes: Value) -> list[str] | None:
    """The prefixes, where they are known when the rule is loaded."""
    if prefixes.kind == "array":
        known = [m.value for m in prefixes.detail if m.where is None and isinstance(m.value.literal, str)]
        return [value.literal for value in known] if len(known) == len(prefixes.detail) else None
    return prefixes.literal.split(BAR) if isinstance(prefixes.literal, str) else prefixes.literal


def _with_any(codes: pl.Expr, several: bool, prefixes: list[str]) -> pl.Expr:
    if not prefixes:
        return NO
    if several:
        return codes.str.contains_any([BAR + prefix for prefix in prefixes])
    return codes.str.contains(rf"\A(?:{'|'.join(map(re.escape, prefixes))})")


def matches(how: str, text: Value, pattern: Value) -> Value:
    """`=~` and `!~` at the beginning of a text, `=~~` and `!~~` anywhere in it."""
    if pattern.kind != "text" or pattern.literal is None:
        raise ExpressionProblem("正则表达式要写出，或是参数 a regular expression is written out, or a parameter")
    if text.kind != "text" or text.nullable:
        raise ExpressionProblem("只有文字能匹配 only a text matches a regular expression")
    try:
        rust = shared(pattern.literal)
    except PatternProblem as problem:
        raise ExpressionProblem(problem.message, pattern.literal, problem.hint, code="E_REGEX") from None
    test = text.expr.str.contains(rf"\A(?:{rust})" if how.endswith("fzm") else rust)
    return Value(~test if how.startswith("ne") else test, "bool", raises=text.raises)


def ends(how: str, text: Value, part: Value) -> Value:
    """`text.starts_with(part)` and `text.ends_with(part)`."""
    if text.kind != "text" or part.kind != "text" or part.nullable:
        raise ExpressionProblem(f".{how}( ) 要文字 takes a text")
    return Value(ENDS[how](text.expr, part.expr), "bool", raises=either(text.raises, part.raises))


ENDS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "starts_with": lambda text, part: text.str.starts_with(part),
    "ends_with": lambda text, part: text.str.ends_with(part),
}


def sliced(text: Value, start: int, stop: int | None) -> pl.Expr:
    """text[start:stop] as Python counts: from the end where negative, and never beyond it."""
    if stop is not None and start < 0 <= stop:
        raise ExpressionProblem("起止从不同端数 the two places count from different ends")
    if stop is not None and start >= 0 > stop:
        return text.expr.str.head(stop).str.slice(start)
    return text.expr.str.slice(start, None if stop is None else max(stop - start, 0))


def item(value: Value, at: int, safe: bool) -> Value:
    """One character of a text, or one of several texts; where there is none it raises, or is missing if `safe`."""
    if value.kind == "texts":
        parts = value.expr.str.split(BAR).list.eval(pl.element().filter(pl.element() != ""))
        found = parts.list.get(at, null_on_oob=True)
    else:
        found = value.expr.str.slice(at, 1).replace("", None)
    raises = value.raises if safe else either(value.raises, found.is_null())
    return Value(found, "text", nullable=safe or value.nullable, raises=raises)


def place(node) -> int:
    """A place in a text: a whole number, written out."""
    value = node.value if isinstance(node, ast.FloatExpression) else None
    if value is None or value != int(value) or abs(value) > LONGEST_TEXT:
        raise ExpressionProblem("位置是写出的整数 a place is a whole number, written out")
    return int(value)
