"""Expressions of the rule language made by chance, the cases they are asked of, and what both readers say of them.

PARTS is the language by type: a line to be added for whatever the language learns.
"""

import datetime
import functools
import operator
import random
import re
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl
from hypothesis import strategies as st
from rule_engine.errors import EvaluationError

from engine.audit.frames import Cases, holds
from engine.audit.judge import with_aggregates
from engine.audit.trial import spoken_cases
from engine.language.compile import Compiler
from engine.language.expression import ExpressionProblem, Setting, interpret, parse
from engine.language.form import Rule
from engine.language.rule import LoadedRule
from engine.language.vocabulary import objects, parse_attribute

CASES = 200
DEPTH = 3

# what the generated expressions speak of: attributes of the vocabulary, and rows whose object or values may be missing

STAY = "id days total age level sex kind insured main_diag diags wards admission discharge"
LINE = "item name cnt price amount take_home time generic days_supply price_cap"
JOINED = {
    "past": {"stay": parse_attribute("stay", "visit? | earlier stay")},
    "cap": {name: parse_attribute(name, text) for name, text in {
        "most": "number | most", "rest": "number? | rest", "since": "time | since", "until": "time? | until",
        "words": "texts | words", "name": "text? | name"}.items()},
}  # fmt: skip
SCOPES = {
    "visit": {"visit": STAY, "past.stay": "id days discharge main_diag", "cap": "most rest since until words name"},
    "visit_day": {"visit": STAY, "day": "date", "cap": "most rest name"},
    "line": {"line": LINE, "visit": STAY, "cap": "most rest since until words name"},
    "line_pair": {"a": LINE, "b": LINE, "visit": STAY, "cap": "most name"},
}
LISTS = {"visit": ["visit.lines"], "visit_day": ["day.lines"]}
ELEMENT = LINE + " visit.days visit.insured visit.discharge"
SETTINGS = {
    scope: Setting(
        scope,
        {name: row for name, row in JOINED.items() if any(name == path.split(".")[0] for path in paths)},
        {"cap": Decimal("1.5"), "zero": Decimal(0), "kinds": ("A01", "中药"), "strict": True, "like": "[AB]0"},
        {"some": ("A01", "中药", "𠀀b"), "none": ()},
        today=datetime.date(2025, 1, 3),
    )
    for scope, paths in SCOPES.items()
}

# the language: parts by type; {type} is any part of that type, {l.type} one that speaks of an element, {x} a name

LEAVES = {
    "number": ["0", "1", "2", "0.1", "0.3", "2.5", "10", "-3", "100", "1e2", "params.cap", "params.zero"],
    "text": ["'A01'", "'中药'", "''", "'𠀀b'", "'A'", "params.like"],
    "time": ["$today", "$now", "d'2025-01-01'", "d'2025-01-02T23:59:59'", "d'0001-01-02'", "d'9999-12-31'"],
    "span": ["t'P1D'", "t'PT36H'", "t'PT0S'", "t'P1DT0.5S'", "t'P400000D'"],
    "truth": ["true", "false", "params.strict"],
    "texts": ["cap.words", "visit.wards", "visit.diags"],
    "set": ["some", "none", "params.kinds", "['A01', null]", "{'A', '中药', 'A'}", "['A', 'B02']"],
    "numbers": ["[1, 2.50, null]", "[]", "{0.1, 10}"],
}
PARTS = {
    "number": [
        "({number} + {number})", "({number} - {number})", "({number} * {number})", "({number} / {number})",
        "({number} // {number})", "({number} % {number})", "({number} ** 2)", "({number} ** 0)", "(-{number})",
        "({number} * 30 / 100)", "$abs({number})", "({truth} ? {number} : {number})", "({number?} ?? {number})",
        "({number}).floor", "({number}).ceiling", "({number}).to_int", "({text}).length", "{texts}.length",
        "({time}).{date}", "({span}).{length}", "({time} - {time}).days", "{set}.length", "{set}.to_set.length",
        "$max([{number}, {number}])", "$min([{number}, 1, {number}])", "$sum([{number}, {number}])", "$sum([])",
        "$sum([{x} * 2 for {x} in [1, 2.5, -3] if {x} < {number}])", "$max([{x} for {x} in [1, 7] if {truth}])",
        "[{x} for {x} in ['A', 'B'] if {x} in {text}].length",
    ],
    "number?": ["({text?})&.length", "({time?})&.year", "({truth} ? {number} : null)", "(null ?? {number?})"],
    "text": [
        "({text} + {text})", "({text?} ?? {text})", "({truth} ? {text} : {text})", "({text})[0]", "({text})[-2]",
        "({text})[1:]", "({text})[:-1]", "({text})[-3:-1]",
        "({text})[1:3]", "({text})[-2:]", "({time}).weekday", "{texts}[0]", "{texts}[-1]",
        "({text}).to_str", "({text}).as_upper", "({text}).as_lower",
    ],
    "text?": ["({text})&[1]", "({text?})&[:2]", "({truth} ? null : {text})", "({text?} ?? {text?})"],
    "time": ["({time} + {span})", "({time} - {span})", "({time?} ?? {time})", "({time}).date",
             "({truth} ? {time} : {time})"],
    "time?": ["({time?})&.date", "({truth} ? {time} : null)"],
    "span": ["({time} - {time})", "({span} + {span})", "({span} - {span})", "(-{span})", "({truth} ? {span} : {span})"],
    "truth": [
        "({number} {order} {number})", "({text} {order} {text})", "({time} {order} {time})", "({span} {order} {span})",
        "({truth} {order} {truth})", "({number} == {text})", "({text?} == null)", "({number?} != null)",
        "({time?} != null)", "({truth} and {truth})", "({truth} or {truth})", "(not {truth})", "(not {number})",
        "({text} and {number})", "(not {text?})", "(not {number?})", "({time?} or {span})", "(not {texts})",
        "({text} in {text})", "({text} in {texts})", "({text?} in {texts})", "({text} in {set})", "({text?} in {set})",
        "({text} not in {set})", "({number} in {numbers})", "({number?} in {numbers})", "({truth} in [1, {number}])",
        "({text} in [{text}, {text}])", "({time} in [{time}])", "({number} in {set})", "({text} {matches} {pattern})",
        "$begins({text}, {set})", "$begins({texts}, {set})", "$begins({texts}, {text})", "$begins({text}, {texts})",
        "({text}).starts_with({text})", "({text}).ends_with({text})", "({text}).is_empty", "{texts}.is_empty",
        "({number}).is_nan", "({truth} ? {truth} : {truth})", "$any([{truth}, {number}])", "$all([{text}, {truth}])",
        "$any([{text} =~~ {x} for {x} in ['A', '0$']])", "$all([{number} > {x} for {x} in [1, 2]])", "$any({texts})",
        "({number} / {number})", "{set}.is_empty",
    ],
}  # fmt: skip
OVER_LISTS = {
    "number": [
        "$sum([{l.number} for l in {list} if {l.truth}])", "$sum([{l.number} for l in {list}])", "{list}.length",
        "$min([{l.number} for l in {list} if {l.truth}])", "$max([{l.number} for l in {list}])",
        "[l for l in {list} if {l.truth}].length", "[{l.text} for l in {list}].to_set.length",
        "[{l.number} for l in {list}].to_set.length", "[{l.text?} for l in {list}].to_set.length",
    ],
    "truth": [
        "$any([{l.truth} for l in {list}])", "$all([{l.truth} for l in {list} if {l.truth}])", "$any({list})",
        "$any([{l.number} for l in {list} if {l.truth}])", "$all([{l.text} for l in {list}])", "(not {list})",
        "({text} in [{l.text} for l in {list} if {l.truth}])", "({number} in [{l.number} for l in {list}])",
        "[l for l in {list} if {l.truth}].is_empty", "$any([l for l in {list} if {l.truth}])",
        "(null in [{l.text?} for l in {list}])",
    ],
}  # fmt: skip
OF_MISSING = {
    "truth": ["(past.stay == null)", "(past.stay != null)", "(not past.stay)", "(past.stay ? {truth} : {truth})"],
    "number?": ["past.stay&.days"],
    "text?": ["past.stay&.main_diag"],
    "time?": ["past.stay&.discharge"],
}
CHOICES = {
    "order": ["<", "<=", ">", ">=", "==", "!="],
    "matches": ["=~", "=~~", "!~", "!~~"],
    "pattern": ["r'[AB]\\d+$'", "'A|中'", "r'\\w*药'", "'^.*b'", "r'.{2}'", "''", "params.like", "r'[^\\s]+\\s?x$'"],
    "date": ["year", "month", "day", "hour", "minute", "second", "microsecond", "millisecond", "to_epoch"],
    "length": ["days", "seconds", "microseconds", "total_seconds"],
}
TYPES = {"money": "number", "bool": "truth"}  # of the vocabulary, where the tables above call them otherwise


def words_of(paths: dict[str, str], joined: dict) -> dict[str, list[str]]:
    """The attributes that can be spoken of, by type; a trailing ? where the value may be missing."""
    found = {}
    for path, names in paths.items():
        for name in names.split():
            attribute = attribute_of(f"{path}.{name}", joined)
            kind = TYPES.get(attribute.kind, attribute.kind) + "?" * attribute.nullable
            if "past" not in path:  # said by OF_MISSING, with &.
                found.setdefault(kind, []).append(f"{path}.{name}")
    return found


def attribute_of(path: str, joined: dict):
    symbol, *names = path.split(".")
    known = {"l": objects()["line"], "a": objects()["line"], "b": objects()["line"]} | objects() | joined
    attributes = known[symbol]
    for name in names[:-1]:
        attributes = objects()[attributes[name].kind]
    return attributes[names[-1]]


@functools.cache
def productions(scope: str, element: bool) -> dict[str, tuple[list[str], list[str]]]:
    """(leaves, larger parts) by type, of a case or of an element of its list."""
    setting = SETTINGS[scope]
    words = words_of(SCOPES[scope] | ({"l": ELEMENT} if element else {}), setting.joined)
    tables = [PARTS]
    tables += [OVER_LISTS] if scope in LISTS and not element else []
    tables += [OF_MISSING] if "past" in setting.joined else []
    made = {}
    for kind in {*LEAVES, *PARTS}:
        own = words.get(kind, [])
        leaves = own * 2 + [x for x in LEAVES.get(kind, []) if x.split(".")[0] not in JOINED or x in own]
        made[kind] = (leaves, own + [part for table in tables for part in table.get(kind, [])])
    return made | {kind: (choices, choices) for kind, choices in CHOICES.items()}


@st.composite
def parts(draw, scope: str, kind: str, depth: int = DEPTH, element: bool = False) -> str:
    """Any expression of a type."""
    if kind == "x":  # a name of its own on every level
        return f"x{depth}"
    if kind == "list":
        return draw(st.sampled_from(LISTS[scope]))
    if kind.startswith("l."):
        return draw(parts(scope, kind[2:], min(depth, 1), True))
    leaves, larger = productions(scope, element)[kind]
    template = draw(st.sampled_from(larger if (depth > 0 and larger) or not leaves else leaves))
    return re.sub(r"\{([a-z.]+\??)\}", lambda hole: draw(parts(scope, hole[1], depth - 1, element)), template)


@st.composite
def questions(draw) -> tuple[str, dict[str, str]]:
    """A scope and the expressions of one rule."""
    scope = draw(st.sampled_from(list(SCOPES)))
    texts = {name: draw(parts(scope, kind)) for name, kind in (("when", "truth"), ("excess", "number"))}
    if scope in LISTS:
        texts["flag.excess"] = draw(parts(scope, "truth", 2, True))
    else:
        texts["innocent.0.unless"] = draw(parts(scope, "truth"))
    return scope, texts


@st.composite
def wild(draw) -> tuple[str, dict[str, str]]:
    """A scope and a condition whose parts are of any type."""
    scope = draw(st.sampled_from(list(SCOPES)))

    def part(depth: int) -> str:
        leaves, larger = productions(scope, False)[draw(st.sampled_from(sorted({*LEAVES, *PARTS})))]
        template = draw(st.sampled_from((larger if depth else leaves) or leaves or larger))
        return re.sub(r"\{([a-z.]+\??)\}", lambda hole: filled(hole[1], depth), template)

    def filled(kind: str, depth: int) -> str:
        if kind == "list" or kind == "x" or kind in CHOICES or draw(st.booleans()):
            return draw(parts(scope, kind, min(depth, 1)))
        return part(depth - 1) if depth else "null"

    return scope, {"when": part(2)}


# the cases: missing values, decimal edges, ties, midnights, empty lists, letters of one, three and four bytes

START = datetime.datetime(2025, 1, 1)
POOLS = {
    "number": [Decimal(n) for n in ("0", "0.1", "0.2", "0.3", "1", "2.0000", "24", "0.3333", "-3", "1.5")],
    "money": [0, 1, 10, 30, 100, 150, 1000, 12345],
    "text": ["A01", "A09", "", "中药", "𠀀b", "B02 x", "aA中", "A01\n", "Monday"],
    "texts": ["|A01|B02|", "|A|", "", "||", "|中药|A01|A01|"],
    "bool": [True, False],
    "time": [START, START + datetime.timedelta(days=2), datetime.datetime(2024, 12, 31, 23, 59, 59),
             datetime.datetime(2025, 1, 1, 12, 30, 0, 500_000), datetime.datetime(1, 1, 1),
             datetime.datetime(2024, 2, 29)],
}  # fmt: skip
DTYPES = {"number": pl.Decimal(16, 4), "money": pl.Int64, "text": pl.String, "texts": pl.String, "bool": pl.Boolean,
          "time": pl.Datetime("us")}  # fmt: skip


def columns(paths: dict[str, str], joined: dict, rows: int, pick, pools) -> dict[str, pl.Series]:
    made = {}
    for path in (f"{path}.{name}" for path, names in paths.items() for name in names.split()):
        attribute = attribute_of(path, joined)
        pool = pools[attribute.kind] + [None, None] * attribute.nullable
        made[path] = pl.Series(path, [pick(pool) for _ in range(rows)], DTYPES[attribute.kind])
    return made


HUGE = POOLS | {
    "number": [Decimal(n) for n in ("999999999999.9999", "-999999999999.9999", "0.0001", "0", "123456789012.3456")],
    "money": [2**63 - 1, -(2**63) + 1, 1, 0, 10**18],
}  # fmt: skip


@functools.cache
def huge(scope: str, seed: int) -> tuple[Cases, list[dict]]:
    """Cases whose numbers are the largest that the tables hold."""
    return corpus(scope, seed, "huge")


@functools.cache
def corpus(scope: str, seed: int, size: str = "") -> tuple[Cases, list[dict]]:
    """Cases as frames, and as the interpreter reads them."""
    pools = HUGE if size else POOLS
    pick, setting = random.Random(f"{scope}{seed}").choice, SETTINGS[scope]
    frame = pl.DataFrame({"_case": pl.Series(range(CASES), dtype=pl.UInt32)})
    frame = frame.with_columns(columns(SCOPES[scope], setting.joined, CASES, pick, pools).values())
    gone = pl.Series([pick([True, False, False]) for _ in range(CASES)])
    past = [c for c in frame.columns if c.startswith("past.")]
    frame = frame.with_columns(pl.when(~gone).then(pl.col(past))) if past else frame
    cases = Cases(frame, {}, ("_case",))
    for path in LISTS.get(scope, []):
        owners = [n for n in range(CASES) for _ in range(pick([0, 0, 1, 2, 5]))]
        lines = pl.DataFrame({"_case": pl.Series(owners, dtype=pl.UInt32)})
        made = columns({"l": ELEMENT}, {}, len(owners), pick, pools)
        cases.members[path] = lines.with_columns(s.alias(name[2:]) for name, s in made.items())
    empty = Rule.model_construct(id="x")
    return cases, list(spoken_cases(LoadedRule(empty, Path("x"), "0", setting), cases))


# both readers


def compiled(scope: str, texts: dict[str, str], refused=lambda name, problem: None) -> LoadedRule:
    """A rule of some expressions; those that are refused are told and left out."""
    setting, compiler = SETTINGS[scope], Compiler(SETTINGS[scope])
    loaded = LoadedRule(Rule.model_construct(id="x", scope=scope), Path("x.yaml"), "0", setting)
    for name, text in texts.items():
        variable = ("l", LISTS[scope][0]) if name.startswith("flag") else None
        own = replace(setting, joined={**setting.joined, "l": objects()["line"]}) if variable else setting
        try:
            parsed = parse(text, own, name)
            compiler.setting = own
            loaded.compiled[name] = compiler.compile(parsed, variable, condition=name != "excess")
            loaded.parsed[name] = parsed
        except ExpressionProblem as problem:
            refused(name, problem)
    return loaded


def disagreement(loaded: LoadedRule, cases: Cases, spoken: list[dict], same=operator.eq) -> tuple[str, Counter]:
    """Where the readers differ: the first place in words, else empty; and how often they said what."""
    frame, said = with_aggregates(loaded, cases), Counter()
    for name, expression in loaded.compiled.items():
        if name.startswith("flag"):
            path = LISTS[loaded.rule.scope][0]
            told = holds(cases.members[path], expression, frame).to_list()
            symbol, collection = path.split(".")
            asked = [case | {"l": line} for case in spoken for line in case[symbol][collection]]
            plain = [interpreted(loaded.parsed[name], one, bool) or False for one in asked]
        else:
            shown = frame.select("_case", said=expression.value)["said"]
            told = shown.to_list()
            of = (lambda value: value) if name == "excess" else bool
            plain = [interpreted(loaded.parsed[name], one, of) for one in spoken]
        said.update(f"{name} {'value' if isinstance(v, Decimal) else v}" for v in plain)
        for at, (one, other) in enumerate(zip(plain, told, strict=True)):
            if not same(one, other):
                return f"{name} of case {at}: interpreted {one!r}, compiled {other!r}", said
    return "", said


def interpreted(rule, case: dict, of):
    """What the interpreter says; None where it raises."""
    try:
        return of(interpret(rule, case))
    except EvaluationError:
        return None
