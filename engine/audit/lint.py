"""What else can be wrong with rules that load: tests that are missing or cannot be read, conditions that always or
never hold, shapes that are slow on large data, names and tables nobody uses.
"""

import datetime
import random
import re
from decimal import Decimal
from pathlib import Path

import polars as pl
from rule_engine import ast

from engine.audit import CODE_SCOPES
from engine.audit.derived import KNOWLEDGE_READ
from engine.audit.examples import UnknownWord, canonical, traced
from engine.audit.frames import Cases
from engine.audit.reads import elements_of, named_items, side_items, words_read
from engine.audit.sums import with_aggregates
from engine.audit.trial import WORDS, body_of, given, run_tests
from engine.language import lockfile
from engine.language.compile import Compiler
from engine.language.expression import ExpressionProblem, walk
from engine.language.faults import Notes, RuleFault
from engine.language.rule import LoadedRule, expressions_of, load_rules, rule_files
from engine.language.vocabulary import Attribute, objects, words_in
from engine.language.waivers import dead, load_waivers
from engine.reference.knowledge import Knowledge, shapes
from engine.reference.places import rules_folder

CASES = 3_000
CODE = re.compile(r"\d{9,}|[XZTBC][A-Z0-9]{10,}")
# Tables that facts and settlement read, whatever the rules join.
READ_ANYWAY = {"wordings", "concepts", "catalogue", "price_caps", "drug_supply", "account_openings",
               "operation_items", "device_operations"}  # fmt: skip
WHOLE_GROUPS = ("visit_day", "person_day", "person_week", "person_month", "person_year", "person_window", "person")


def lint(folder: Path, knowledge: Knowledge) -> tuple[int, list[RuleFault]]:
    """How many rules there are, and everything that is wrong or doubtful about them, by file and place."""
    loaded, faults = load_rules(folder, knowledge)
    for rule in loaded:
        notes = Notes(rule.notes.file, rule.notes.document)
        for look in (_tests, _unused, _codes, _cost):
            look(rule, notes)
        if not any(f.severity == "error" for f in notes.faults):
            _constant(rule, notes, knowledge)
        faults += notes.faults
    if folder.resolve() == rules_folder().resolve():
        faults += _tables(loaded, knowledge)
    waivers, wrong = load_waivers(folder)
    faults += wrong + dead(waivers, datetime.date.today(), {path.stem for path in rule_files(folder)})
    faults += _unlocked(folder)
    return len(loaded), sorted(faults, key=lambda f: (f.file, f.line, f.column, f.code))


def _tests(loaded: LoadedRule, notes: Notes) -> None:
    """At least one hit and one clear, in words that tests have."""
    if not loaded.rule.tests:
        notes.key("E_TESTS", ("tests",), "没有测试 no tests", "tests: [- hit: …, - clear: …]")
    told = set()
    for index, test in enumerate(loaded.rule.tests):
        word = next((w for w in WORDS if w in test), None)
        told.add(word)
        if word is None:
            first = next(iter(test), "")
            said = f"测试要说明结果 a test says what is expected: {first!r}"
            notes.key("E_TEST", ("tests", index, first), said, allowed=", ".join(WORDS))
            continue
        body = body_of(test, word)
        try:
            (traced if loaded.rule.scope in CODE_SCOPES else canonical)(body)
            given(test)
        except UnknownWord as problem:
            quoted = re.search(r"'([^']*)'", str(problem))
            name = quoted[1] if quoted else word
            path = next((p for p in notes.document.keys if p[:2] == ("tests", index) and p[-1] == name), None)
            notes.key("E_TEST", path or ("tests", index, word), str(problem))
        except (ValueError, ArithmeticError, AttributeError, TypeError, pl.exceptions.PolarsError) as problem:
            said = f"测试里的值读不懂 a value cannot be read: {problem}"
            notes.key("E_TEST", ("tests", index, word), said.splitlines()[0])
    for word in ("hit", "clear") if loaded.rule.tests else ():
        if word not in told:
            notes.key("E_TESTS", ("tests",), f"缺少 {word} 测试 no test says {word}")


def _unused(loaded: LoadedRule, notes: Notes) -> None:
    rule = loaded.rule
    texts = [*expressions_of(rule).values(), *rule.let.values()]
    bare = {word for text in texts for word in words_in(text)}
    read = {name for text in texts for name in re.findall(r"\bparams\.(\w+)", text)}
    if rule.scope in CODE_SCOPES:  # the facts of trace codes read parameters by name
        read |= set(rule.params)
    for kind, used in (("let", bare), ("sets", bare), ("params", read)):
        for name in getattr(rule, kind):
            if name not in used:
                notes.key("W_UNUSED", (kind, name), f"定义了却没有用到 never used: {name}")


def _codes(loaded: LoadedRule, notes: Notes) -> None:
    """Codes written into the rule: fine for a local one, and said."""
    for name, source in loaded.rule.sets.items():
        if isinstance(source, list) and any(CODE.fullmatch(code) for code in source):
            notes.key("N_CODES", ("sets", name), "直接列了代码 codes are listed; a concept serves other regions too")
    for parsed in loaded.parsed.values():
        for node in walk(parsed.statement.expression):
            if isinstance(node, ast.StringExpression) and CODE.fullmatch(node.value) and hasattr(node, "span"):
                where, *span = parsed.written.origin(node.span)
                notes.part("N_CODES", where, span, "直接写了代码 a code is written out")


def _cost(loaded: LoadedRule, notes: Notes) -> None:
    """Shapes that look at every line, or at every pair of lines."""
    rule = loaded.rule
    if rule.join or "when" not in loaded.parsed:
        return
    if rule.scope == "line_pair" and side_items(loaded, "a") is None and side_items(loaded, "b") is None:
        said = "没有限定项目的成对比较 every pair of lines is compared: name items on one side, or join a table"
        notes.value("W_COST", ("for",), said)
    elif rule.scope in WHOLE_GROUPS and named_items(loaded) is None:
        notes.value("W_COST", ("for",), "没有限定项目，要看全部明细 no items are named: every line is read")


def _constant(loaded: LoadedRule, notes: Notes, knowledge: Knowledge) -> None:
    """The condition and each of its parts, over cases made of the rule's own numbers and words and their neighbours."""
    compiler, root = Compiler(loaded.setting), loaded.parsed["when"].statement.expression
    parts = [node for node in _conditions(root) if hasattr(node, "span")]
    trial = LoadedRule(loaded.rule, loaded.path, "", loaded.setting)
    trial.compiled = {str(n): compiler.compile_node(node, condition=True) for n, node in enumerate([root, *parts])}
    cases = _made_up(loaded, trial)
    frame = with_aggregates(trial, cases).select(
        pl.when(pl.lit(True) if c.raises is None else ~c.raises).then(c.value).alias(name)
        for name, c in trial.compiled.items()
    )  # fmt: skip
    said = {name: set(frame[name].drop_nulls().unique()) for name in frame.columns}
    span = (0, len(loaded.parsed["when"].written.text))
    if said["0"] == {True}:
        notes.expression("when", _constantly(loaded, "E_ALWAYS", span))
    elif said["0"] == {False} and not _ever_hit(loaded, knowledge):
        notes.expression("when", _constantly(loaded, "E_NEVER", span))
    for number, node in enumerate(parts, 1) if len(parts) > 1 else ():
        part = trial.compiled[str(number)]
        if len(said[str(number)]) == 1 and part.columns and not part.aggregates:
            code = "W_ALWAYS" if said[str(number)] == {True} else "W_NEVER"
            notes.expression("when", _constantly(loaded, code, node.span))


def _constantly(loaded: LoadedRule, code: str, span: tuple[int, int]):
    written = loaded.parsed["when"].written
    said = {"ALWAYS": "总是成立 always holds", "NEVER": "从不成立 never holds"}[code[2:]]
    return ExpressionProblem(f"{said}: {written.text[slice(*span)]}", span=span, code=code).placed(written)


def _ever_hit(loaded: LoadedRule, knowledge: Knowledge) -> bool:
    results = run_tests(loaded, knowledge)
    return any(r.passed and r.word in ("hit", "known_false_alarm") for r in results)


def _conditions(node):
    """The parts joined by and, or, not."""
    if isinstance(node, ast.LogicExpression):
        return [*_conditions(node.left), *_conditions(node.right)]
    if isinstance(node, ast.UnaryExpression) and node.type == "not":
        return _conditions(node.right)
    return [node]


def _made_up(loaded: LoadedRule, trial: LoadedRule) -> Cases:
    """Cases with every column the condition reads, their values drawn from what the rule itself speaks of."""
    draw = random.Random(loaded.rule.id)
    nodes = [node for parsed in loaded.parsed.values() for node in walk(parsed.statement.expression)]
    numbers = {Decimal(n.value) for n in nodes if isinstance(n, ast.FloatExpression) and Decimal(n.value).is_finite()}
    numbers |= {Decimal(v) for v in loaded.setting.params.values() if isinstance(v, Decimal)}
    numbers = {n for v in [*numbers, Decimal(1), Decimal(30)] for n in (v - 1, v, v + 1) if 0 <= n < 10**9}
    numbers.add(Decimal(0))
    texts = {n.value for n in nodes if isinstance(n, ast.StringExpression)} | {"", "甲", "乙"}
    texts |= {text for codes in loaded.setting.sets.values() for text in codes[:4]}
    for value in loaded.setting.params.values():
        texts |= {value} if isinstance(value, str) else set(value) if isinstance(value, tuple) else set()
    start = datetime.datetime(2025, 3, 1)
    hours = [start + datetime.timedelta(hours=h) for h in (0, 1, 5, 6, 24, 30, 48, 24 * 15, 24 * 40)]
    pools = {
        "number": sorted(numbers), "money": sorted({int(n * 100) for n in numbers} | {int(n) for n in numbers}),
        "text": sorted(texts), "time": hours, "bool": [False, True],
        "texts": ["|", *(f"|{t}|" for t in sorted(texts) if t), "|甲|乙|"],
    }  # fmt: skip

    def column(attribute: Attribute, size: int) -> pl.Series:
        pool = pools[attribute.kind]
        if attribute.kind == "number" and "negative" in attribute.note:
            pool = [*pool, *(-n for n in pool)]
        if attribute.kind == "time" and "date" in attribute.name:
            pool = [moment for moment in pool if moment.hour == 0]
        pool = [*pool, None] if attribute.nullable else pool
        kinds = {"number": pl.Decimal(38, 6), "money": pl.Int64, "time": pl.Datetime("us"), "bool": pl.Boolean}
        return pl.Series(draw.choices(pool, k=size), dtype=kinds.get(attribute.kind, pl.String), strict=False)

    paths = sorted(set().union(*(c.columns for c in trial.compiled.values())))
    frame = pl.DataFrame({"_case": pl.Series(range(CASES), dtype=pl.UInt32)})
    frame = frame.with_columns(column(_attribute(loaded, path), CASES).alias(path) for path in paths)
    members = {}
    for path in sorted({a.collection for c in trial.compiled.values() for a in c.aggregates}):
        symbol, element = path.split(".")
        kind = loaded.setting.attributes_of(symbol)[element].collection
        owners = pl.Series("_case", sorted(draw.choices(range(CASES), k=2 * CASES)), dtype=pl.UInt32)
        rows = pl.DataFrame({"_case": owners})
        wanted = sorted(elements_of(trial, path))
        members[path] = rows.with_columns(column(_below(kind, n), rows.height).alias(n) for n in wanted)
    return Cases(frame, members, ("_case",))


def _attribute(loaded: LoadedRule, path: str) -> Attribute:
    symbol, name, *rest = path.split(".")
    attribute = loaded.setting.attributes_of(symbol)[name]
    return _below(attribute.kind, ".".join(rest)) if rest else attribute


def _below(kind: str, path: str) -> Attribute:
    name, *rest = path.split(".")
    attribute = objects()[kind][name]
    return _below(attribute.kind, ".".join(rest)) if rest else attribute


def _unlocked(folder: Path) -> list[RuleFault]:
    """Rules that differ from rules.lock, where the folder has one."""
    lock = folder / lockfile.NAME
    if not lock.exists():
        return []
    files = rule_files(folder)
    places = {path.stem: path.relative_to(folder).as_posix() for path in files}
    said = {"changed": "已改动 has changed", "new": "是新规则 is new", "gone": "已不在 is gone"}
    return [
        RuleFault(places.get(rule_id, lockfile.NAME), 1, 1, "W_LOCK", f"{rule_id} {said[how]}")
        for rule_id, how in lockfile.differences(files, lock).items()
    ]


def _tables(loaded: list[LoadedRule], knowledge: Knowledge) -> list[RuleFault]:
    """Tables no rule joins or reads a fact of, and rows that belong to a numbered rule there is not."""
    joined = {rule.rule.join.table for rule in loaded if rule.rule.join}
    joined |= {name for rule in loaded for word in words_read(rule) for name in KNOWLEDGE_READ.get(word, ())}
    numbers = {rule.rule.number for rule in loaded}
    faults = []
    for name in sorted(shapes()):
        table = knowledge[name]
        if table.is_empty():
            continue
        file = f"{name}.csv"
        if name not in joined | READ_ANYWAY:
            faults.append(RuleFault(file, 1, 1, "W_TABLE_UNUSED", f"没有规则使用 no rule uses table {name}"))
        if "rule" in table.columns:
            for number in sorted(set(table["rule"].drop_nulls()) - numbers):
                rows = table.filter(pl.col("rule") == number).height
                said = f"{rows} 行的编号没有规则 rows of rule number {number}, which no rule has"
                faults.append(RuleFault(file, 1, 1, "W_ROWS_UNUSED", said))
    return faults
