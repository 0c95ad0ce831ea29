"""What the rule language means, shown by hand; and what it refuses, with the place and what to write instead."""

import datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_engine.errors import EvaluationError
from rule_language import SETTINGS, compiled, corpus, disagreement

from engine.language.compile import Compiler
from engine.language.expression import ExpressionProblem, interpret, parse

SCOPE = "visit"
RAISES = "raises"


def said(text: str, condition: bool = True):
    """What both readers say of a text that reads nothing of the case."""
    rule = parse(f"(visit.days == visit.days) ? ({text}) : null", SETTINGS[SCOPE])
    made = Compiler(SETTINGS[SCOPE]).compile(rule)
    frame = pl.DataFrame({"visit.days": [Decimal(1)]}, schema={"visit.days": pl.Decimal(16, 4)})
    told = frame.select(value=made.value, raises=False if made.raises is None else made.raises)
    try:
        plain = interpret(rule, {"visit": {"days": Decimal(1)}, "params": SETTINGS[SCOPE].params})
    except EvaluationError:
        plain = RAISES
    plain = plain.replace(tzinfo=None) if isinstance(plain, datetime.datetime) else plain
    value = RAISES if told["raises"][0] else told["value"][0]
    assert value == plain
    return value


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("0.1 + 0.2 == 0.3", True),
        ("-7 // 2", -3),
        ("-7 % 2", -1),
        ("7 // -2", -3),
        ("2.50 == 2.5", True),
        ("visit.days / 3", Decimal("0.333333333333333333")),
        ("2 * visit.days / 3", Decimal("0.666666666666666667")),
        ("-2 * visit.days / 3", Decimal("-0.666666666666666667")),
        ("visit.days / 3 * 3 == 1", False),
        ("visit.days * 3 / 3 == 1", True),
        ("(visit.days * 3) ** 3", 27),
        ("(visit.days - 1) ** 0", RAISES),
        ("visit.days / (visit.days - 1)", RAISES),
        ("visit.days // (visit.days - 1)", RAISES),
        ("visit.days == 1 or 1 / (visit.days - 1) > 1", True),
        ("visit.days != 1 and 1 / (visit.days - 1) > 1", False),
        ("visit.days == 1 ? 2 : 1 / (visit.days - 1)", 2),
        ("null == null", True),
        ("'A' in 'BAD'", True),
        ("'a' < 'b' and 'Z' < 'a' and '中' < '药' and '药' < '𠀀'", True),
        ("false < true", True),
        ("1 == '1'", False),
        ("true == 1", False),
        ("true in [1]", True),
        ("null in [1, null]", True),
        ("'中药𠀀b'.length", 4),
        ("'中药𠀀b'[2] + '中药𠀀b'[-3:-1]", "𠀀药𠀀"),
        ("'ab'[visit.days == 1 ? 1 : 0] == 'b'", "refused"),
        ("(d'2025-01-31' + t'P1D').month", 2),
        ("(d'2025-01-01T00:30' - d'2024-12-31').days", 1),
        ("(d'2024-12-31' - d'2025-01-01T00:30').days", -2),
        ("(d'2025-01-01T00:30:01.5' - d'2025-01-01').total_seconds", Decimal("1801.5")),
        ("d'2025-01-03'.weekday", "Friday"),
        ("$today", datetime.datetime(2025, 1, 3)),
        ("$now == $today", True),
        ("$max([1, visit.days * 4, 2.5])", 4),
        ("$sum([x * 2 for x in [1, 2, 3] if x > visit.days])", 10),
        ("$min([x for x in [1, 2] if x > 5 * visit.days])", RAISES),
        ("$any([1 / (x - visit.days) > 0 for x in [2, 1]])", RAISES),
        ("(-2.5 * visit.days).floor", -3),
        ("(-2.5 * visit.days).ceiling", -2),
        ("(2.5 * visit.days).to_int", RAISES),
        ("not (visit.days - 1)", True),
        ("d'9999-12-31' + (visit.days == 1 ? t'P1D' : t'P0D')", RAISES),
    ],
)  # fmt: skip
def test_an_expression_is_worth_what_python_says(text, wanted):
    if wanted == "refused":
        with pytest.raises(ExpressionProblem, match="written out"):
            said(text)
    else:
        assert said(text) == wanted


@pytest.mark.parametrize(
    "text, part, hint",
    [
        ("visit.dayz > 1", "dayz", "days"),
        ("$summ([1]) > 1", "$summ", "sum"),
        ("visit.sex == '1'", "may be missing", "??"),
        ("visit.age > 3", "missing", "??"),
        ("visit.days > 'x'", "types do not fit", ""),
        ("stay.days > 1", "stay", ""),
        ("$any([$any([k.cnt > 1 for k in visit.lines]) for l in visit.lines])", "list inside a list", "let"),
        ("$any([x > 1 for x in [l.cnt for l in visit.lines]])", "list made of a list", "if"),
        ("visit.main_diag =~ '(?=x)'", "looking ahead", "and"),
        ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' =~ '(a+)+$'", "several ways", "very long"),
        ("$sum([l.days_supply for l in visit.lines]) > 1", "missing", "??"),
        ("(visit.days & 1) == 1", "bits", "and"),
        ("visit.days << 1 > 1", "bits", ""),
        ("visit.days ** 0.5 > 1", "exponent", ""),
        ("visit.days > 1e40", "size", ""),
        ("visit.days > inf", "size", ""),
        ("1e999999.floor > 1", "", ""),
        ("visit.days / 7 * visit.days * visit.days > 1", "decimal places", "divide last"),
        ("'012'.to_flt > 1", "", ""),
        ("visit.main_diag.to_int > 1", "has no .to_int", ""),
        ("visit.admission > d'2025-01-01T00:00:00+08:00'", "zone", "offset"),
        ("visit.admission + t'P99999999D' > $today", "ten thousand", ""),
        ("d'9999-12-31' + t'P1D' > visit.admission", "worked out", ""),
        ("visit.lines[0].cnt > 1", "no places", "$any"),
        ("visit == null", "never missing", ""),
        ("$sum == 1", "", ""),
        ("not $sum", "function", "call"),
        ("-visit.main_diag == 'x'", "negative", ""),
        ("(visit.days > 1 ? 1 : 'a') == 1", "types do not fit", ""),
        ("{'a': visit.days}['a'] == 1", "mapping", ""),
        ("visit.main_diag in [b'A']", "bytes", "quotes"),
        ("past.stay.days > 1", "missing", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_a_hint(text, part, hint):
    with pytest.raises(ExpressionProblem) as refused:
        Compiler(SETTINGS[SCOPE]).compile(parse(text, SETTINGS[SCOPE], "when"), condition=True)
    problem = (
        refused.value.placed(parse("1 == 1", SETTINGS[SCOPE], "when").written)
        if not refused.value.span
        else refused.value
    )
    assert part in f"{problem.message} {problem.part} {problem.hint}"
    assert hint in problem.hint
    begin, end = problem.span
    assert 0 <= begin < end <= len(text)


def test_the_refused_part_is_the_one_that_is_underlined():
    text = "visit.days > 1 and (visit.days ** visit.days) > 1"
    with pytest.raises(ExpressionProblem) as refused:
        Compiler(SETTINGS[SCOPE]).compile(parse(text, SETTINGS[SCOPE], "when"), condition=True)
    assert text[slice(*refused.value.span)].strip("()") == "visit.days ** visit.days"


def test_a_flag_cannot_ask_a_list_about_its_own_element():
    with pytest.raises(ExpressionProblem, match="own element|that element|list inside"):
        raise_refused("visit", "flag.excess", "$any([k.item == l.item for k in visit.lines])")


def raise_refused(scope: str, name: str, text: str) -> None:
    def refused(_, problem):
        raise problem

    compiled(scope, {name: text}, refused)


@pytest.mark.parametrize(
    "text",
    ["past.stay == null", "not past.stay", "past.stay&.days == null", "(past.stay&.days ?? 0) > 1",
     "(past.stay&.discharge&.year ?? 0) == 2025", "past.stay ? true : false"],
)  # fmt: skip
def test_an_object_that_may_be_missing_is_missing_where_its_id_is(text):
    loaded = compiled("visit", {"when": text}, lambda name, problem: pytest.fail(problem.message))
    difference, answers = disagreement(loaded, *corpus("visit", 0))
    assert not difference
    assert answers["when True"] and answers["when False"]
    assert "past.stay.id" in loaded.compiled["when"].columns


WORDS = """visit visit.days visit.sex l day past.stay params.cap some none null true false 1 0.1 'A' '中' r'\\d'
    d'2025-01-01' t'P1D' b'AA' + - * / // % ** == != < <= > >= =~ !~~ and or not in ?? ? : & | ^ << ( ) [ ] { } , .
    &. &[ .length .days .to_int .to_set .starts_with $sum( $any( $max( $now $begins( for x if visit.lines [l.cnt
    1e99 nan inf # $"""
tokens = st.sampled_from(WORDS.split())


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.lists(tokens, max_size=9).map(" ".join) | st.text(max_size=12))
def test_any_text_is_an_expression_or_refused_with_a_place(text):
    try:
        made = Compiler(SETTINGS[SCOPE]).compile(parse(text, SETTINGS[SCOPE], "when"), condition=True)
    except ExpressionProblem as problem:
        assert problem.message
        begin, end = problem.span or (0, len(text))
        assert 0 <= begin <= end <= max(len(text), 1) + 1
    else:
        assert isinstance(made.value, pl.Expr)
