"""The interpreter and the compiled rule say the same: generated expressions over generated cases.

50,000 rule x case pairs in the ordinary run; the long one is
`YIBAO_PAIRS=1000000 pytest tests/test_language_agrees.py`.
"""

import datetime
import os
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.audit.frames import Cases
from engine.audit.trial import disagreement
from engine.language.compile import Compiler
from engine.language.expression import ExpressionProblem, Setting, parse
from engine.language.form import Rule
from engine.language.rule import LoadedRule

CASES = 250
PAIRS = int(os.environ.get("YIBAO_PAIRS", "50000"))
ITEMS = ["A01", "B02", "中药", "", "A"]
SETTING = Setting(
    "visit_day",
    params={"cap": Decimal("1.5"), "zero": Decimal(0), "kinds": ("inpatient", "home_bed")},
    sets={"some": ("A01", "中药"), "none": ()},
)

literals = st.sampled_from(["0", "1", "2", "0.1", "0.3", "2.5", "10", "-3"])
texts = st.sampled_from(["'A01'", "'中药'", "''", "'inpatient'"])


def numbers(depth: int) -> st.SearchStrategy[str]:
    plain = st.sampled_from(
        ["visit.days", "visit.total", "params.cap", "params.zero", "(visit.age ?? 3)", "(visit.level ?? 0)",
         "[l for l in day.lines].length", "[l.item for l in day.lines].to_set.length",
         "(day.date - visit.admission).days", "day.date.month", "visit.main_diag.length"]
    ) | literals  # fmt: skip
    if depth == 0:
        return plain
    inner, truth = numbers(depth - 1), elements(depth - 1)
    return st.one_of(
        plain,
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
        st.builds(
            "$sum([{} for l in day.lines if {}])".format, st.sampled_from(["l.cnt", "l.amount", "l.price", "1"]), truth
        ),
        st.builds("$min([l.cnt for l in day.lines if {}])".format, truth),
        st.builds("$max([l.price for l in day.lines if {}])".format, truth),
        st.builds("$abs({})".format, inner),
        st.builds("({} ? {} : {})".format, conditions(depth - 1), inner, inner),
    )


def elements(depth: int) -> st.SearchStrategy[str]:
    plain = st.sampled_from(
        ["l.item in some", "l.item == 'A01'", "l.item != ''", "l.cnt > 1", "l.amount >= visit.total", "l.take_home",
         "l.item =~ 'A'", "l.item =~~ '[0-9]'", "l.date == day.date", "$begins(l.item, some)", "l.item in none",
         "(l.generic ?? 'x') == 'x'", "l.generic != null", "l.visit.insured"]
    )  # fmt: skip
    if depth == 0:
        return plain
    inner = elements(depth - 1)
    return st.one_of(
        plain,
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
    )


def conditions(depth: int) -> st.SearchStrategy[str]:
    plain = st.sampled_from(
        ["visit.insured", "visit.sex == null", "(visit.sex ?? '0') == '1'",
         "visit.main_diag =~ 'A0'", "visit.main_diag in some",
         "(visit.kind ?? '') in params.kinds", "'A01' in visit.diags", "$begins(visit.diags, some)", "visit.days",
         "visit.main_diag", "(visit.kind ?? '')"]
    )  # fmt: skip
    compared = st.builds(
        "({} {} {})".format, numbers(max(depth - 1, 0)), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers(0)
    )
    if depth == 0:
        return plain | compared
    inner = conditions(depth - 1)
    return st.one_of(
        plain, compared,
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
        st.builds("$any([{} for l in day.lines])".format, elements(1)),
        st.builds("$all([{} for l in day.lines if {}])".format, elements(0), elements(0)),
    )  # fmt: skip


def some_cases(seed: int) -> Cases:
    """Cases with missing values, decimal edges, empty groups, midnights and Chinese text."""
    import random

    r = random.Random(seed)
    pick = r.choice
    start = datetime.datetime(2025, 1, 1)
    frame = pl.DataFrame(
        {
            "_case": range(CASES),
            "visit.days": [pick([0, 1, 2, 30]) for _ in range(CASES)],
            "visit.total": [pick([0, 1, 10, 30, 100, 12345]) for _ in range(CASES)],
            "visit.age": [pick([None, 0, 3, 17]) for _ in range(CASES)],
            "visit.level": [pick([None, 1, 3]) for _ in range(CASES)],
            "visit.sex": [pick([None, "1", "2"]) for _ in range(CASES)],
            "visit.kind": [pick([None, "inpatient", "home_bed", "general_outpatient"]) for _ in range(CASES)],
            "visit.insured": [pick([True, False]) for _ in range(CASES)],
            "visit.main_diag": [pick(["A01", "A09", "", "中药"]) for _ in range(CASES)],
            "visit.diags": [pick(["|A01|B02|", "|A|", "", "|中药1|"]) for _ in range(CASES)],
            "visit.admission": [start + datetime.timedelta(hours=pick([0, 1, 25, 47, 48])) for _ in range(CASES)],
            "day.date": [start + datetime.timedelta(days=pick([0, 1, 2, 40])) for _ in range(CASES)],
        },
        schema_overrides={
            "_case": pl.UInt32,
            "visit.total": pl.Int64,
            "visit.admission": pl.Datetime("us"),
            "day.date": pl.Datetime("us"),
        },
    )
    owners = [n for n in range(CASES) for _ in range(pick([0, 0, 1, 2, 5]))]
    days = dict(zip(frame["_case"], frame["day.date"], strict=True))
    lines = pl.DataFrame(
        {
            "_case": owners,
            "item": [pick(ITEMS) for _ in owners],
            "generic": [pick([None, "x", "y"]) for _ in owners],
            "cnt": [pick(["0.1", "0.2", "0.3", "1", "2.0000", "24"]) for _ in owners],
            "price": [pick(["0.333333", "10", "1.5"]) for _ in owners],
            "amount": [pick([1, 10, 3000, 12345]) for _ in owners],
            "take_home": [pick([True, False]) for _ in owners],
            "date": [pick([days[n], start]) for n in owners],
            "visit.insured": [pick([True, False]) for _ in owners],
        },
        schema_overrides={"_case": pl.UInt32, "amount": pl.Int64, "date": pl.Datetime("us")},
    ).with_columns(pl.col("cnt").cast(pl.Decimal(16, 4)), pl.col("price").cast(pl.Decimal(16, 6)))
    return Cases(frame, {"day.lines": lines}, ("_case",))


def loaded(text: str) -> LoadedRule:
    """A rule of one condition, or an ExpressionProblem where it is refused at load."""
    rule = Rule.model_validate(
        {"id": "x", "title": "x", "description": "x", "family": "x", "basis": [], "for": "visit_day", "when": text}
    )
    made = LoadedRule(rule, Path("x.yaml"), "0", SETTING)
    made.parsed["when"] = parse(text, SETTING)
    made.compiled["when"] = Compiler(SETTING).compile(made.parsed["when"], condition=True)
    return made


CORPUS = [some_cases(seed) for seed in range(4)]


@settings(max_examples=PAIRS // CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(conditions(3), st.integers(0, len(CORPUS) - 1))
def test_interpreted_and_compiled_say_the_same_of_every_case(text, seed):
    try:
        rule = loaded(text)
    except ExpressionProblem:
        assume(False)
    assert disagreement(rule, CORPUS[seed]) == "", text


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("0.1 + 0.2 == 0.3", True),
        ("-7 // 2 == -3", True),
        ("-7 % 2 == -1", True),
        ("null == null", True),
        ("2.50 == 2.5", True),
        ("'A' in 'BAD'", True),
    ],
)
def test_arithmetic_is_exact_and_truncates_as_the_interpreter_does(text, wanted):
    rule = loaded(f"visit.insured == visit.insured and ({text})")
    frame = CORPUS[0].frame.with_columns(rule.compiled["when"].value.alias("said"))
    assert frame["said"].to_list() == [wanted] * CASES
    assert disagreement(rule, CORPUS[0]) == ""


def test_division_by_zero_is_not_evaluated_instead_of_wrong():
    rule = loaded("visit.days / params.zero > 1")
    assert CORPUS[0].frame.select(rule.compiled["when"].raises).to_series().all()
    assert disagreement(rule, CORPUS[0]) == ""


@pytest.mark.parametrize(
    "text, part",
    [
        ("visit.dayz > 1", "dayz"),
        ("$summ([1]) > 1", "$summ"),
        ("visit.sex == '1'", "may be missing"),
        ("visit.age > 3", "missing"),
        ("visit.days > 'x'", "types do not fit"),
        ("stay.days > 1", "stay"),
        ("$any([$any([k.cnt > 1 for k in day.lines]) for l in day.lines])", "list inside a list"),
        ("visit.main_diag =~ '(?=x)'", "beyond"),
        ("$sum([l.days_supply for l in day.lines]) > 1", "missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_rule_is_loaded(text, part):
    with pytest.raises(ExpressionProblem) as refused:
        loaded(text)
    assert part in f"{refused.value.message} {refused.value.part} {refused.value.hint}"
