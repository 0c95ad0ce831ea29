"""The repository read as a house: rooms whose doors open one way, modules of a readable size, no float near money."""

import ast
import subprocess
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from engine.audit.derived import LINE_FACTS
from engine.audit.plain import LINE, RECORDS, VISIT
from engine.audit.visitfacts import VISIT_FACTS
from engine.language import vocabulary
from engine.tables import dictionary
from engine.tables.outputs import outputs
from engine.tracing.words import FACTS

ROOT = Path(__file__).parents[1]
MODULES = sorted(p for room in ("engine", "synthetic") for p in (ROOT / room).rglob("*.py"))

# What each room may look into, beside itself.
MAY_USE = {
    "tables": set(),
    "reference": {"tables"},
    "language": {"tables", "reference"},
    "grouping": {"tables", "reference"},
    "settlement": {"tables", "reference"},
    "tracing": {"tables", "reference"},
    "audit": {"tables", "reference", "language", "grouping", "settlement", "tracing"},
    "report": {"tables", "reference", "audit"},
    "run": {"tables", "reference", "language", "grouping", "settlement", "tracing", "audit", "report"},
    "cli": {"tables", "reference", "language", "grouping", "settlement", "tracing", "audit", "report", "run"},
}

TOP_LEVEL = {"pyproject.toml", "README.md", "engine", "rules", "synthetic", "seeds", "tests", "LICENSE", "CHANGELOG.md"}

LONGEST = 400
LONGER: dict[str, str] = {}  # module: why it may be longer

# Binary floats that meet no money: (module, why).
FLOATS = {
    "engine/grouping/conditions.py": "bounds on age, weight and hours of a grouping condition",
    "engine/grouping/judge.py": "hours of ventilation compared with such a bound",
    "engine/grouping/stays.py": "hours of ventilation and of intensive care",
    "engine/settlement/policy.py": "likeness of a misspelt word",
    "engine/tables/profiles.py": "likeness of headers and names",
    "engine/tables/values.py": "the test that a float column of a file holds whole fen, and none is kept",
    "engine/tracing/travel.py": "positions and distances on the globe",
    "engine/report/sheets.py": "a spreadsheet stores no other numbers; the exact sums stand as text beside them",
    "engine/cli/rules.py": "likeness of a misspelt name",
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path) -> set[str]:
    """Dotted names a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_seen_from(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("engine.")}


def test_every_room_has_its_place_in_the_order():
    assert {p.name for p in (ROOT / "engine").iterdir() if (p / "__init__.py").exists()} == set(MAY_USE)


@pytest.mark.parametrize("room", MAY_USE)
def test_a_room_looks_only_into_the_rooms_left_of_it(room):
    allowed = MAY_USE[room] | {room}
    wrong = {
        f"{name_of(path)} imports engine.{other}"
        for path in (ROOT / "engine" / room).rglob("*.py")
        for other in rooms_seen_from(path) - allowed
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_language_and_settlement_never_meet():
    assert "settlement" not in MAY_USE["language"]
    assert "language" not in MAY_USE["settlement"]


def test_the_engine_knows_nothing_of_the_generator():
    wrong = [name_of(p) for p in MODULES if p.is_relative_to(ROOT / "engine")
             and any(name.split(".")[0] in ("synthetic", "tests") for name in imports_of(p))]  # fmt: skip
    assert not wrong


def test_modules_stay_short_enough_to_be_read_at_once():
    lengths = {name_of(p): len(p.read_text("utf-8").splitlines()) for p in MODULES}
    assert {n: size for n, size in lengths.items() if size > LONGEST and n not in LONGER} == {}
    assert [n for n in LONGER if lengths.get(n, 0) <= LONGEST] == [], "no exception needed any more"


def test_every_module_says_what_it_is_for():
    assert [name_of(p) for p in MODULES if p.read_text("utf-8").strip() and not ast.get_docstring(tree_of(p))] == []


def test_no_table_of_ours_holds_a_binary_float():
    schemas = {**outputs(), **{name: t.schema for name, t in dictionary.tables().items()}}
    floats = [(t, c) for t, schema in schemas.items() for c, dtype in schema.items() if dtype.is_float()]
    # where a place lies is no money
    assert [c for c in floats if c[1] not in ("lon", "lat")] == []
    assert {c for t, s in outputs().items() for c, d in s.items() if c.endswith("_fen") and d != pl.Int64} == set()


def floats_of(path: Path) -> list[int]:
    """Lines with a float literal, a call of float() or a Polars float type."""
    return [
        node.lineno
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float")
        or (isinstance(node, ast.Attribute) and node.attr in ("Float32", "Float64", "float64"))
    ]


def test_binary_floats_are_used_only_where_no_money_is():
    used = {name_of(p): floats_of(p) for p in MODULES if p.is_relative_to(ROOT / "engine")}
    assert {name: lines for name, lines in used.items() if lines and name not in FLOATS} == {}
    assert [name for name in FLOATS if not used.get(name)] == [], "no exception needed any more"


# the vocabulary of rules


@pytest.mark.parametrize("scope", [name for name in FACTS if name not in ("event", "flag")])
def test_a_code_scope_speaks_the_words_of_its_facts(scope):
    """The object of the scope holds exactly the facts of tracing, with the same types, and the sales behind them."""
    (kind,) = vocabulary.scopes()[scope].symbols.values()
    attributes = {n: a for n, a in vocabulary.objects()[kind].items() if not a.collection}
    assert {n: spoken(a) for n, a in attributes.items()} == {n: told(word) for n, (word, _) in FACTS[scope].items()}
    assert [a.collection for a in vocabulary.objects()[kind].values() if a.collection] == ["event"]


def test_a_sale_behind_a_code_speaks_the_words_of_its_facts():
    attributes = vocabulary.objects()["event"]
    facts_of = {n: told(word) for n, (word, _) in FACTS["event"].items()}
    flags = {n: (kind, True) for n, (kind, _) in ((n, told(word)) for n, (word, _) in FACTS["flag"].items())}
    assert {n: spoken(a) for n, a in attributes.items()} == facts_of | flags


def spoken(attribute) -> tuple[str, bool]:
    """(type as a condition sees it, may it be missing) of an attribute."""
    return attribute.kind, attribute.nullable


def told(word: str) -> tuple[str, bool]:
    """The same of a type word of tracing."""
    kind = word.rstrip("?").split("(")[0]
    return {"int": "number", "decimal": "number", "datetime": "time"}.get(kind, kind), word.endswith("?")


def test_every_word_about_a_line_is_computed_somewhere():
    words = {n for n, a in vocabulary.objects()["line"].items() if not is_object(a)}
    made = set(LINE) | set(LINE_FACTS) | {"amount", "inscope"}  # the two that returns cut
    assert words - made == set(dictionary.table("fee_lines").fields) - set(LINE)


def test_every_word_about_a_visit_is_computed_somewhere():
    words = {n for n, a in vocabulary.objects()["visit"].items() if not is_object(a)}
    assert words - set(VISIT) - set(VISIT_FACTS) == set(dictionary.table("claims").fields) - set(VISIT)


@pytest.mark.parametrize("kind", RECORDS)
def test_every_word_about_a_record_is_computed_somewhere(kind):
    records = RECORDS[kind]
    words = set(vocabulary.objects()[records.kind]) - set(records.words)
    assert words == set(dictionary.table(records.table).fields) - set(records.words)


def test_every_short_word_means_a_field_of_its_table():
    for name, behind in vocabulary.tables_behind().items():
        assert set(behind.means) <= set(vocabulary.objects()[name]), name
        assert set(behind.means.values()) <= set(dictionary.table(behind.table).fields), name


def is_object(attribute) -> bool:
    return bool(attribute.collection) or attribute.kind in vocabulary.objects()


# the top level


def test_the_top_level_holds_what_it_should_and_nothing_else():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout: git knows no files here")
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} - TOP_LEVEL == set()


def test_nothing_large_is_kept():
    """Seeds are tables a person can read."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout: git knows no files here")
    large = {n: (ROOT / n).stat().st_size for n in listed.stdout.splitlines() if (ROOT / n).is_file()}
    assert {n: size for n, size in large.items() if size > 1_000_000} == {}
