"""Rules: one YAML file each, read as text, checked key by key, every expression parsed before anything runs.

`load_rules` never stops at the first fault: it returns the rules that stand and every problem of every file, each
with its place, what would be allowed and what was likely meant.
"""

import datetime
import difflib
import hashlib
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from engine.language.compile import Compiled, Compiler
from engine.language.expression import ExpressionProblem, Setting, conjuncts, parse, with_lets
from engine.language.form import Param, Rule
from engine.language.values import SAY
from engine.language.vocabulary import Attribute, objects, scopes, words_in
from engine.reference.knowledge import Knowledge, shapes
from engine.tables.problems import InputProblem
from engine.tables.yamltext import Document, read_yaml

ROW_NAMES = {"med_list_codg": "item", "hosp_lv": "level", "gend": "sex", "pric_uplmt_amt": "price_cap"}
ELEMENTS = {"l": "lines", "d": "diagnoses", "p": "procedures", "o": "others", "v": "visits", "e": "events"}
NUMBERS = ("excess", "window.days")  # expressions whose value is counted with
ROLES = ("excess", "basis", "context")


@dataclass(frozen=True)
class RuleFault:
    """One thing wrong with one rule file."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    text: str = ""

    def __str__(self) -> str:
        caret = f"\n    {self.text}\n    {' ' * (self.column - 1)}^" if self.text else ""
        hint = f"\n  提示 hint: {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.message}{caret}{hint}"


@dataclass
class LoadedRule:
    """A rule that passed every check: its text, setting, version and compiled expressions by name."""

    rule: Rule
    path: Path
    version: str
    setting: Setting
    parsed: dict[str, object] = field(default_factory=dict)
    compiled: dict[str, Compiled] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)  # flag role -> collection path
    cheap: list[pl.Expr] = field(default_factory=list)  # parts of `when` that need no list and cannot raise

    def asked(self) -> set[str]:
        """Every path and collection that the condition and the flags read."""
        read = [c for name, c in self.compiled.items() if name == "when" or name.startswith("flag.")]
        paths = set().union(*(c.columns | c.element for c in read))
        return paths.union(*({a.collection} | a.columns for c in read for a in c.aggregates))


def load_rules(
    folder: Path,
    knowledge: Knowledge,
    overrides: dict[str, dict] | None = None,
    today: datetime.date = datetime.date(2000, 1, 1),
) -> tuple[list[LoadedRule], list[RuleFault]]:
    """Every rule of a folder, sorted by id, and every fault of every file. `overrides` are a region's parameters."""
    loaded, faults = [], []
    for path in sorted(folder.rglob("*.yaml")):
        if "waivers" in path.relative_to(folder).parts:
            continue
        rule, wrong = load_rule(path, folder, knowledge, overrides or {}, today)
        faults += wrong
        if rule:
            loaded.append(rule)
    faults += _uniqueness(loaded)
    known = {r.rule.id for r in loaded}
    for rule_id in sorted(set(overrides or {}) - known - {"engine"}):
        near = difflib.get_close_matches(rule_id, known, 1)
        faults.append(RuleFault("params", 1, 1, "E_PARAM_RULE", f"no rule {rule_id!r}", near[0] if near else ""))
    return sorted(loaded, key=lambda r: r.rule.id), faults


def load_rule(path: Path, folder: Path, knowledge: Knowledge, overrides: dict, today):
    """One rule file: (LoadedRule or None, faults)."""
    document = read_yaml(path)
    name = str(path.relative_to(folder))
    faults = [RuleFault(name, p.line, p.column, p.code, p.message) for p in document.problems]
    if faults:
        return None, faults
    try:
        rule = Rule.model_validate(document.value)
    except ValidationError as error:
        return None, [_schema_fault(name, document, e) for e in error.errors()]
    note = _noting(name, document, faults)
    if rule.id != path.stem:
        note("E_RULE_ID", ("id",), f"id {rule.id!r} differs from the file name {path.stem!r}")
    if rule.scope not in scopes():
        near = difflib.get_close_matches(rule.scope, scopes(), 1)
        note("E_RULE_SCOPE", ("for",), f"unknown scope {rule.scope!r}", f"known: {', '.join(scopes())}; {near}")
        return None, faults
    setting = _setting(rule, knowledge, overrides.get(rule.id, {}), today, note)
    if faults:
        return None, faults
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    loaded = LoadedRule(rule, path, version, setting)
    _expressions(loaded, note)
    return (None if faults else loaded), faults


def rebuilt(loaded: LoadedRule, params: dict | None = None, sets: dict | None = None) -> LoadedRule:
    """The rule with some parameters or sets given other values, as a test inside the rule may ask."""
    setting = replace(loaded.setting)
    setting.params = {**setting.params, **{k: _parameter(loaded.rule.params[k], v) for k, v in (params or {}).items()}}
    setting.sets = {**setting.sets, **{k: tuple(v) for k, v in (sets or {}).items()}}
    fresh, faults = LoadedRule(loaded.rule, loaded.path, loaded.version, setting), []
    _expressions(fresh, lambda *fault: faults.append(fault))
    assert not faults, faults
    return fresh


def _noting(name: str, document: Document, faults: list[RuleFault]):
    def note(code: str, path: tuple, message: str, hint: str = "", part: str = ""):
        line, column = document.where(path)
        text = document.lines[line - 1] if line <= len(document.lines) else ""
        if part and part in text:
            column = text.index(part) + 1
        faults.append(RuleFault(name, line, column, code, message, hint, text))

    return note


def _schema_fault(name: str, document: Document, error: dict) -> RuleFault:
    path = tuple("for" if p == "scope" else p for p in error["loc"])
    line, column = document.where(path)
    message, hint = error["msg"], ""
    if error["type"] == "extra_forbidden":
        known = [f.alias or n for n, f in Rule.model_fields.items()]
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        message = f"unknown key {path[-1]!r}"
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    elif error["type"] == "missing":
        message = f"key {path[-1]!r} is missing"
    text = document.lines[line - 1] if line <= len(document.lines) else ""
    return RuleFault(name, line, column, "E_RULE_KEY", f"{'.'.join(map(str, path))}: {message}", hint, text)


def _setting(rule: Rule, knowledge: Knowledge, overrides: dict, today, note) -> Setting:
    params = {}
    for name, param in rule.params.items():
        text = overrides.get(name, param.default)
        try:
            params[name] = _parameter(param, text)
        except (ValueError, InvalidOperation):
            note("E_RULE_PARAM", ("params", name), f"{name}: {text!r} is not {param.type}")
    for name in sorted(set(overrides) - set(rule.params)):
        note("E_PARAM_NAME", ("params",), f"no parameter {name!r}", f"known: {', '.join(rule.params) or 'none'}")
    sets = {}
    for name, source in rule.sets.items():
        if isinstance(source, list):
            sets[name] = tuple(source)
            continue
        kind, _, concept = source.partition(":")
        try:
            if kind != "concept":
                raise InputProblem(f"unknown kind of set {kind!r}", allowed="concept:NAME or a list of codes")
            sets[name] = tuple(knowledge.codes(concept))
        except InputProblem as problem:
            note("E_RULE_SET", ("sets", name), problem.what, problem.hint or problem.allowed)
    joined = {}
    if rule.join:
        if rule.join.table in shapes():
            joined[rule.join.alias] = row_attributes(rule.join.table)
        else:
            near = difflib.get_close_matches(rule.join.table, shapes(), 1)
            note("E_RULE_TABLE", ("join", "table"), f"no table {rule.join.table!r}", f"did you mean {near}?")
    return Setting(rule.scope, joined, params, sets, rule.let, today)


def row_attributes(table: str) -> dict[str, Attribute]:
    """The attributes of a row of a knowledge table, under the short names conditions use."""
    kinds = {"text": "text", "int": "number", "date": "time", "datetime": "time", "money": "money", "list": "texts"}
    attributes = {}
    for column in shapes()[table].fields.values():
        name = ROW_NAMES.get(column.name, column.name)
        nullable = not column.required and column.type not in ("list",)
        attributes[name] = Attribute(name, kinds.get(column.type, "number"), nullable, column.label, column.note)
    return attributes


def _parameter(param: Param, text):
    if param.type == "list":
        return tuple(text if isinstance(text, list) else [t for t in text.split("|") if t])
    if param.type == "bool":
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse(text)
    if param.type == "text":
        return text
    value = Decimal(text)
    if param.type == "int" and value != int(value):
        raise ValueError(text)
    if param.range and not Decimal(param.range[0]) <= value <= Decimal(param.range[1]):
        raise ValueError(text)
    return value


def _refuse(text):
    raise ValueError(text)


def _expressions(loaded: LoadedRule, note) -> None:
    """Parse and compile every expression; the flags and sums of one rule share their aggregates."""
    rule, compiler = loaded.rule, Compiler(loaded.setting)
    wanted = [("when", ("when",), rule.when)]
    wanted += [(f"flag.{role}", ("flag", role), text) for role, text in rule.flags.items()]
    wanted += [(name, (name,), getattr(rule, name)) for name in ("excess", "violation_when") if getattr(rule, name)]
    if rule.window and isinstance(rule.window.days, str):
        wanted.append(("window.days", ("window", "days"), rule.window.days))
    if rule.join and rule.join.where:
        wanted.append(("join.where", ("join", "where"), rule.join.where))
    for index, innocent in enumerate(rule.innocent):
        for part in ("unless", "unknown"):
            if text := getattr(innocent, part):
                wanted.append((f"innocent.{index}.{part}", ("innocent", index, part), text))
    for name in message_parts(rule.message):
        wanted.append((f"message.{name}", ("message",), name))
    for name, path, text in wanted:
        try:
            _compile(loaded, compiler, name, text)
        except ExpressionProblem as problem:
            note("E_RULE_EXPRESSION", path, problem.message, problem.hint, problem.part)
    if "when" in loaded.compiled:
        loaded.cheap = _cheap(loaded, compiler)
    bad_roles = [role for role in rule.flags if role not in ROLES]
    if bad_roles:
        note("E_RULE_ROLE", ("flag",), f"unknown role {bad_roles[0]!r}", f"known: {', '.join(ROLES)}")


def _cheap(loaded: LoadedRule, compiler: Compiler) -> list[pl.Expr]:
    """Parts that must hold and cost little: cases failing one are clear, unless an earlier part could raise."""
    compiler.setting, cheap = loaded.setting, []
    for node in conjuncts(loaded.parsed["when"].statement.expression):
        part = compiler.compile_node(node, condition=True)
        if part.raises is not None:
            break
        if not part.aggregates:
            cheap.append(part.value)
    return cheap


def _compile(loaded: LoadedRule, compiler: Compiler, name: str, text: str) -> None:
    setting, variable = loaded.setting, None
    if name.startswith("flag.") and loaded.rule.scope not in ("line", "line_pair"):
        variable = _element(text, setting)
        setting = Setting(setting.scope, {**setting.joined, variable[0]: objects()[variable[2]]}, setting.params,
                          setting.sets, setting.lets, setting.today)  # fmt: skip
        loaded.elements[name.removeprefix("flag.")] = variable[1]
    loaded.parsed[name] = parse(text, setting, name)
    compiler.setting = setting
    condition = name in ("when", "violation_when", "join.where") or name.startswith(("flag.", "innocent."))
    compiled = compiler.compile(loaded.parsed[name], variable and variable[:2], condition)
    if name in NUMBERS and (compiled.kind != "number" or compiled.nullable):
        raise ExpressionProblem("a number that is never missing is needed here", text, SAY)
    loaded.compiled[name] = compiled


def _element(text: str, setting: Setting) -> tuple[str, str, str]:
    """Which element a flag speaks of: (variable, collection path, object name)."""
    for word in words_in(with_lets(text, setting.lets).text):
        if word in ELEMENTS:
            for symbol in setting.symbols:
                attribute = setting.attributes_of(symbol).get(ELEMENTS[word])
                if attribute and attribute.collection:
                    return word, f"{symbol}.{attribute.name}", attribute.collection
    raise ExpressionProblem("a flag speaks of one element", text, f"use one of {', '.join(ELEMENTS)}, such as l.item")


def message_parts(message: str) -> list[str]:
    """The expressions in braces of a message."""
    return [part.split("}")[0] for part in message.split("{")[1:]]


def _uniqueness(loaded: list[LoadedRule]) -> list[RuleFault]:
    faults, seen = [], {}
    for rule in loaded:
        number = rule.rule.number
        if number is not None and number in seen:
            faults.append(
                RuleFault(rule.path.name, 1, 1, "E_RULE_NUMBER", f"number {number} is also that of {seen[number]}")
            )
        seen[number] = rule.rule.id
    return faults
