"""Rules: one YAML file each, read as text, checked key by key, every expression parsed before anything runs.

`load_rules` never stops at the first fault: it returns the rules that stand and every problem of every file, each
with its place, what would be allowed and what was likely meant.
"""

import datetime
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path

import polars as pl

from engine.language.checks import (
    ELEMENTS,
    fit_faults,
    folder_faults,
    overriding_faults,
    parameter,
    rule_faults,
    validated,
)
from engine.language.compile import Compiled, Compiler
from engine.language.expression import ExpressionProblem, Setting, conjuncts, likely, parse, with_lets
from engine.language.faults import Notes, RuleFault
from engine.language.form import Rule
from engine.language.joined import row_attributes
from engine.language.lockfile import version_of
from engine.language.parts import Part, parts_of
from engine.language.values import either
from engine.language.vocabulary import objects, scopes, words_in
from engine.reference.knowledge import Knowledge, shapes
from engine.reference.places import rules_folder
from engine.tables.problems import InputProblem, RuleProblem
from engine.tables.yamltext import Document, read_yaml

STAND_IN = {"int": Decimal(1), "decimal": Decimal(1), "text": "", "list": (), "bool": True}  # for a refused parameter
CONDITIONS = ("when", "violation_when", "known", "join.where", "peers.where")
NUMBERS = ("excess", "peers.of", "window.days", "window.hours", "window.minutes")  # whose value is counted with


@dataclass(eq=False)
class LoadedRule:
    """A rule that passed every check: its text, setting, version and compiled expressions by name."""

    rule: Rule
    path: Path
    version: str
    setting: Setting
    notes: Notes = field(default_factory=lambda: Notes("", Document({})))  # what was seen of its file, and where
    parsed: dict[str, object] = field(default_factory=dict)
    compiled: dict[str, Compiled] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)  # flag role -> collection path
    cheap: list[pl.Expr] = field(default_factory=list)  # parts of `when` that need no list and cannot raise

    @cached_property
    def parts(self) -> list[Part]:
        """What is told of a finding: every condition, its sides and what they are made of."""
        return parts_of(self.rule, self.parsed, self.compiled, self.setting)

    @property
    def must_know(self) -> set[str]:
        """The columns of which the rule must know something: no part that reads one can clear a case before that."""
        known = self.compiled.get("known")
        return known.columns.union(*(a.columns for a in known.aggregates)) if known else set()

    @property
    def asks_the_date(self) -> bool:
        """Does any expression, its `let` parts put in, speak of $today or $now?"""
        return any("$today" in parsed.text or "$now" in parsed.text for parsed in self.parsed.values())

    def asked(self) -> set[str]:
        """Every path and collection that the condition and the flags read."""
        read = [c for name, c in self.compiled.items() if name in ("when", "known") or name.startswith("flag.")]
        paths = set().union(*(c.columns | c.element for c in read))
        return paths.union(*({a.collection} | a.columns for c in read for a in c.aggregates))


def load_rules(
    folder: Path,
    knowledge: Knowledge,
    overrides: dict[str, dict] | None = None,
    today: datetime.date = datetime.date(2000, 1, 1),
    overrides_in: Notes | None = None,
) -> tuple[list[LoadedRule], list[RuleFault]]:
    """Every rule of a folder, sorted by id, and every fault of every file, warnings included.

    `overrides` are a region's parameters, `overrides_in` the file they stand in. A rule with a fault that is an error
    is not among the rules.
    """
    overrides, overrides_in = overrides or {}, overrides_in or Notes("--params", Document({}))
    loaded, read, faults = [], [], []
    for path in rule_files(folder):
        rule, notes = load_rule(path, folder, knowledge, overrides, today)
        read.append((rule, notes))
        if rule:
            overriding_faults(rule.rule, overrides.get(rule.rule.id, {}), overrides_in)
    folder_faults([(r.rule, notes) for r, notes in read if r], {path.stem for path in rule_files(rules_folder())})
    for rule, notes in read:
        faults += notes.faults
        if rule and not any(fault.severity == "error" for fault in notes.faults):
            loaded.append(rule)
    known = {path.stem for path in rule_files(folder)}
    for rule_id in sorted(set(overrides) - known - {"engine"}):
        said = f"没有这条规则 no rule {rule_id!r}"
        overrides_in.key("E_PARAM_RULE", (rule_id,), said, likely(rule_id, known))
    faults += overrides_in.faults
    return sorted(loaded, key=lambda r: r.rule.id), faults


def rule_files(folder: Path) -> list[Path]:
    """The rule files of a folder, in the order of their paths."""
    return sorted(p for p in folder.rglob("*.yaml") if "waivers" not in p.relative_to(folder).parts)


def load_rule(
    path: Path, folder: Path, knowledge: Knowledge, overrides: dict, today
) -> tuple["LoadedRule | None", Notes]:
    """One rule file: (LoadedRule, or None where its form or its names are at fault; Notes of what was seen)."""
    document, name = read_yaml(path), path.relative_to(folder)
    notes = Notes(name.as_posix(), document)
    if document.problems:
        for p in document.problems:
            hint = "文字含括号、冒号、引号或井号时，整段加引号 quote the text" if p.code == "E_YAML" else ""
            notes.faults.append(
                RuleFault(notes.file, p.line, p.column, p.code, p.message, hint, text=document.line(p.line))
            )
        return None, notes
    rule = validated(document.value, notes)
    if rule is None:
        return None, notes
    rule_faults(rule, name, notes)
    if rule.scope not in scopes() or (rule.join and rule.join.table not in shapes()):
        return None, notes
    setting = _setting(rule, knowledge, overrides.get(rule.id, {}), today, notes)
    loaded = LoadedRule(rule, path, version_of(path), setting, notes)
    for expression, problem in _expressions_again(loaded):
        notes.expression(expression, problem)
    fit_faults(rule, loaded.elements, loaded.compiled, notes)
    return loaded, notes


def rebuilt(
    loaded: LoadedRule,
    params: dict | None = None,
    sets: dict | None = None,
    rule: Rule | None = None,
    today: datetime.date | None = None,
) -> LoadedRule:
    """The rule compiled anew, with some parameters or sets given other values, its expressions another text, or
    another day for $today.

    Raises RuleProblem where it cannot be.
    """
    rule, was, sets = rule or loaded.rule, loaded.setting, {k: tuple(v) for k, v in (sets or {}).items()}
    try:
        given = {name: parameter(rule.params[name], value) for name, value in (params or {}).items()}
    except ValueError as refused:
        raise RuleProblem(f"参数的值不合 a parameter does not fit: {refused}", rule.id) from None
    setting = replace(
        was,
        lets=rule.let,
        params=was.params | given,
        sets=was.sets | sets,
        periods={name: spans for name, spans in was.periods.items() if name not in sets},
        today=today or was.today,
    )
    notes = Notes(loaded.notes.file, loaded.notes.document)
    fresh = LoadedRule(rule, loaded.path, loaded.version, setting, notes)
    for _, problem in _expressions(fresh):
        raise RuleProblem(problem.message, rule.id)
    return fresh


def _setting(rule: Rule, knowledge: Knowledge, overrides: dict, today, notes: Notes) -> Setting:
    params = {}
    for name, param in rule.params.items():
        try:
            params[name] = parameter(param, param.default)
        except ValueError:
            params[name] = STAND_IN[param.type]
            said = f"{name}: {param.default!r} 不合 does not fit"
            notes.value("E_PARAM", ("params", name, "default"), said, "", param.form)
        with suppress(ValueError):
            params[name] = parameter(param, overrides.get(name, param.default))
    sets, periods = {}, {}
    for name, source in rule.sets.items():
        sets[name] = ()
        if isinstance(source, list):
            sets[name] = tuple(source)
            continue
        kind, _, concept = source.partition(":")
        if kind != "concept":
            said = f"集合不能是 a set cannot be {source!r}"
            span = (0, len(kind))
            notes.part("E_SET", f"sets.{name}", span, said, likely(kind, ["concept"]), "concept:NAME, [code, …]")
            continue
        try:
            sets[name] = tuple(knowledge.codes(concept))
        except InputProblem:
            said, span = f"没有这个概念 no concept {concept!r}", (len("concept:"), len(source))
            near, known = likely(concept, knowledge.concepts), ", ".join(knowledge.concepts)
            notes.part("E_SET", f"sets.{name}", span, said, near, known)
            continue
        dated = knowledge.periods(concept)
        if any(begin or end for _, begin, end in dated):
            periods[name] = tuple((f"{name}@{n}", begin, end) for n, (_, begin, end) in enumerate(dated))
            sets |= {f"{name}@{n}": codes for n, (codes, _, _) in enumerate(dated)}
    joined = {}
    if rule.join and rule.join.table in shapes():
        joined[rule.join.alias] = row_attributes(rule.join.table)
    if rule.peers:
        joined["peers"] = objects()["peers"]
    return Setting(rule.scope, joined, params, sets, rule.let, today, periods)


def expressions_of(rule: Rule) -> dict[str, str]:
    """Every expression of a rule by name, `let` parts apart: `when`, `flag.excess`, `innocent.0.unless` …"""
    named = {"when": rule.when} | {f"flag.{role}": text for role, text in rule.flags.items()}
    asked = ("excess", "violation_when", "known")
    named |= {name: getattr(rule, name) for name in asked if getattr(rule, name) is not None}
    if rule.window and isinstance(rule.window.size, str):
        named[f"window.{rule.window.unit}"] = rule.window.size
    if rule.join and rule.join.where is not None:
        named["join.where"] = rule.join.where
    if rule.peers:
        named |= {f"peers.among.{n}": text for n, text in enumerate(rule.peers.among)} | {"peers.of": rule.peers.of}
        named |= {"peers.where": rule.peers.where} if rule.peers.where is not None else {}
    for index, innocent in enumerate(rule.innocent):
        parts = {"unless": innocent.unless, "unknown": innocent.unknown}
        named |= {f"innocent.{index}.{part}": text for part, text in parts.items() if text is not None}
    return named | {f"message.{part}": part for part in message_parts(rule.message)}


def _expressions(loaded: LoadedRule) -> list[tuple[str, ExpressionProblem]]:
    """Parse and compile every expression, whose flags and sums share their aggregates; what is wrong with which."""
    compiler, problems = Compiler(loaded.setting), []
    for name, text in expressions_of(loaded.rule).items():
        try:
            _compile(loaded, compiler, name, text)
        except ExpressionProblem as problem:
            problems.append((name, problem))
    if "when" in loaded.compiled:
        loaded.compiled["when"] = _where_known(loaded)
        loaded.cheap = _cheap(loaded, compiler)
    return problems


def _expressions_again(loaded: LoadedRule) -> list[tuple[str, ExpressionProblem]]:
    """The same, of a rule as it is read: all rules are read again and again while one of them is edited."""
    rule, setting = loaded.rule, loaded.setting
    joined = (rule.join.table, rule.join.alias) if rule.join else ()
    facts = tuple(setting.sets.items()), tuple(setting.periods.items()), setting.today
    # params as they are written: 1 and true are equal, but no condition may take one for the other
    said = tuple(expressions_of(rule).items()), tuple(rule.let.items()), repr(setting.params), facts
    read, problems = _read(_Asked((rule.scope, joined, bool(rule.peers), *said), loaded))
    loaded.parsed, loaded.compiled = dict(read.parsed), dict(read.compiled)
    loaded.elements, loaded.cheap = dict(read.elements), list(read.cheap)
    return problems


@dataclass(frozen=True)
class _Asked:
    """A rule whose expressions are wanted; equal to another where these say the same of the same things."""

    said: tuple
    loaded: LoadedRule = field(compare=False)


@lru_cache(1024)
def _read(asked: _Asked) -> tuple[LoadedRule, list[tuple[str, ExpressionProblem]]]:
    loaded = replace(asked.loaded, parsed={}, compiled={}, elements={}, cheap=[])
    return loaded, _expressions(loaded)


def _where_known(loaded: LoadedRule) -> Compiled:
    """`when`, which has no answer for a case that lacks what the rule needs to know."""
    when, known = loaded.compiled["when"], loaded.compiled.get("known")
    if known is None:
        return when
    raises = either(when.raises, ~known.value.fill_null(False))
    sums = {a.name: a for a in (*when.aggregates, *known.aggregates)}
    return replace(when, value=pl.when(~raises).then(when.value), raises=raises, columns=when.columns | known.columns,
                   aggregates=list(sums.values()))  # fmt: skip


def _cheap(loaded: LoadedRule, compiler: Compiler) -> list[pl.Expr]:
    """Parts that must hold and cost little: cases failing one are clear, unless an earlier part could raise."""
    compiler.setting, cheap = loaded.setting, []
    for node in conjuncts(loaded.parsed["when"].statement.expression):
        part = compiler.compile_node(node, condition=True)
        if part.raises is not None:
            break
        if not part.aggregates and not part.columns & loaded.must_know:
            cheap.append(part.value)
    return cheap


def _compile(loaded: LoadedRule, compiler: Compiler, name: str, text: str) -> None:
    setting, variable = loaded.setting, None
    if name.startswith("flag.") and loaded.rule.scope not in ("line", "line_pair"):
        variable = _element(text, setting)
        setting = replace(setting, joined={**setting.joined, variable[0]: objects()[variable[2]]})
        loaded.elements[name.removeprefix("flag.")] = variable[1]
    parsed = parse(text, setting, name)
    compiler.setting = setting
    condition = name in CONDITIONS or name.startswith(("flag.", "innocent."))
    try:
        compiled = compiler.compile(parsed, variable and variable[:2], condition)
        if name in NUMBERS and (compiled.kind != "number" or compiled.nullable):
            raise ExpressionProblem("要一个不会缺失的数 a number that is never missing is needed here", text,
                                    "写明缺失时怎么算 say what that means: (x ?? 0)")  # fmt: skip
    except ExpressionProblem as problem:
        raise problem.placed(parsed.written) from None
    loaded.parsed[name], loaded.compiled[name] = parsed, compiled


def _element(text: str, setting: Setting) -> tuple[str, str, str]:
    """Which element a flag speaks of: (variable, collection path, object name)."""
    for word in words_in(with_lets(text, setting.lets).text):
        if word in ELEMENTS:
            for symbol in setting.symbols:
                attribute = setting.attributes_of(symbol).get(ELEMENTS[word])
                if attribute and attribute.collection:
                    return word, f"{symbol}.{attribute.name}", attribute.collection
    lists = {a.name for symbol in setting.symbols for a in setting.attributes_of(symbol).values() if a.collection}
    known = ", ".join(word for word, name in ELEMENTS.items() if name in lists)
    said = "flag 要说明是哪些明细 a flag speaks of one element"
    raise ExpressionProblem(said, text, "l.item == '…'", (0, len(text)), allowed=known)


def message_parts(message: str) -> list[str]:
    """The expressions in braces of a message."""
    return [part.split("}")[0] for part in message.split("{")[1:]]
