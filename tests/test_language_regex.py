"""Regular expressions: what Python and Rust both match, said to Rust anew; the rest refused by name, and soon."""

import re
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.language.regex import PatternProblem, shared

TEXTS = ["", "A01", "A01\n", "a\nb", "中药饮片", "血液透析(次)", "٣", "É", "𠀀b", "aab", "x y", "x\u3000y", "ab\n\n",
         "_", "aaaa", "\x1c", "0\u0660", "e\u0301", "a-b", "[", "\\", "a&&b"]  # fmt: skip


def matches(pattern: str, texts: list[str]) -> list[tuple[bool, bool]]:
    """(at the beginning, anywhere) as frames say."""
    rust, column = shared(pattern), pl.Series(texts, dtype=pl.String)
    return list(zip(column.str.contains(rf"\A(?:{rust})"), column.str.contains(rust), strict=True))


def python(pattern: str, texts: list[str]) -> list[tuple[bool, bool]]:
    return [(bool(re.match(pattern, text)), bool(re.search(pattern, text))) for text in texts]


@pytest.mark.parametrize(
    "pattern",
    ["A", "^A.*1$", r"\d+", r"\w", r"\W", r"\s", r"\S{2}", r"\D", "[^a]", ".", "b$", "b\\Z", "a{2,3}", "a{,2}b",
     "(?P<n>a)b", "(?:中|透析).*次", r"[\w-]+$", r"[^\s\S]", r"[^\d\s]", r"\07|\x41", r"[\[]", r"\\", "a|b$|c", "(a$)?",
     "", "a??b", r"\N{CJK UNIFIED IDEOGRAPH-836F}", r"[\ud800-\udfff]", "(?#why)a", "(ICU|重症).*(监护|治疗)",
     "^$", "^^a"],
)  # fmt: skip
def test_a_pattern_means_the_same_to_both(pattern):
    assert matches(pattern, TEXTS) == python(pattern, TEXTS)


@pytest.mark.parametrize(
    "pattern, why",
    [
        ("(?=a)b", "looking ahead"), ("(?<=a)b", "looking ahead or behind"), ("(?!a)", "looking ahead"),
        (r"(a)\1", "reference back"), ("(?P<n>a)(?P=n)", "reference back"), ("(a)?(?(1)b|c)", "choice by a group"),
        ("a++", "possessive"), ("(?>ab)", "atomic"), ("(?i)a", "flags"), ("(?s:.)", "flags"), ("(?x) a", "flags"),
        (r"\bICU\b", r"\b"), (r"\B", r"\b"), ("$a", "$"), ("(a$)+", "$"), ("(", "missing )"),
        ("a**", "multiple repeat"),
        ("[[]", "nested set"), ("[a&&b]", "intersection"),
        ("a{1001}", "1000 repeats"), ("(a{50}){50}", "1000 repeats"), (r"\w{999}", "too large"),
        ("a{99999999999999999999}", ""), ("(" * 2000 + ")" * 2000, ""),
    ],
)  # fmt: skip
def test_what_only_one_of_them_can_do_is_refused_by_name(pattern, why):
    with pytest.raises(PatternProblem) as refused:
        shared(pattern)
    assert why in refused.value.message


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a*)*b", "(a|a)*b", "(b(a?)?)*c", "(a|ab|b)*c", "(.*a)+b", "(a?){30}a{30}", "a?" * 30 + "a" * 30,
     "(a|aa){25}b", r"(\w+\s?)*x", ".*a.*a.*a.*a.*a.*b", "(a{1,9}){1,9}b", "((a|b)*c?)*d", "(x+x+)+y"],
)  # fmt: skip
def test_a_pattern_that_could_take_very_long_is_refused_at_once(pattern):
    begun = time.monotonic()
    with pytest.raises(PatternProblem) as refused:
        shared(pattern)
    assert "very long" in refused.value.hint
    assert time.monotonic() - begun < 5


pieces = st.sampled_from(["a", "b", "中", ".", r"\d", r"\w", "[ab]", "[^a]", "^", "$", "|", "(", "(?:", ")", "*", "+",
                          "?", "{2}", "{1,3}", "??", "1", r"\s", "\n", r"\Z"])  # fmt: skip


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.lists(pieces, max_size=8).map("".join), st.lists(st.text("ab中1 \n", max_size=7), max_size=8))
def test_any_pattern_is_refused_or_means_the_same_to_both(pattern, texts):
    try:
        shared(pattern)
    except PatternProblem:
        return
    assert matches(pattern, texts) == python(pattern, texts), pattern


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(pieces, min_size=3, max_size=9).map("".join))
def test_no_pattern_that_is_taken_keeps_the_interpreter_for_long(pattern):
    try:
        shared(pattern)
    except PatternProblem:
        return
    begun = time.process_time()
    for text in ("a" * 100 + "!", "ab" * 50 + "!", "1a" * 50 + "\n!", "中" * 100):
        re.search(pattern + r"(?:\Z)", text)
    assert time.process_time() - begun < 5, pattern
