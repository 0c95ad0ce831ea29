"""A condition taken apart for one case: the parts that must all hold, as their author wrote them, whether each does,
and the values it read.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from rule_engine import ast
from rule_engine.errors import EngineError

from engine.language.expression import Setting, children, conjuncts
from engine.language.parser import PlacedRule
from engine.language.rule import LoadedRule, expressions_of
from engine.language.vocabulary import objects

LISTED = 5


@dataclass(frozen=True)
class Read:
    """One value a part read: the words for it, what they mean, the value, and the last word, by which it is hidden."""

    words: str
    label: str
    value: object
    name: str


@dataclass(frozen=True)
class Part:
    """One part of a condition: its text, whether it holds (None: a value is missing and it has no answer)."""

    text: str
    holds: bool | None
    read: tuple[Read, ...]


def parts(loaded: LoadedRule, name: str, case: dict, setting: Setting | None = None) -> list[Part]:
    """The parts of one expression of the rule (`when`, `flag.excess`, `innocent.0.unless` …) for a case."""
    parsed, setting = loaded.parsed[name], setting or loaded.setting
    found = []
    for node in conjuncts(parsed.statement.expression):
        text = _written(parsed, node, loaded)
        found.append(Part(text, _truth(node, case), tuple(_unique(_reads(parsed, node, case, loaded, setting)))))
    return found


def nearness(tried: list[Part]) -> tuple[int, int]:
    """How far a case is from a hit: parts that do not hold, and parts without an answer."""
    return sum(not part.holds for part in tried), sum(part.holds is None for part in tried)


def shown(value) -> str:
    """A value as a reader writes it."""
    if value is None:
        return "缺失"
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d}" if value.time() == datetime.time() else f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, tuple | list | set | frozenset):
        listed = "、".join(shown(v) for v in sorted(value, key=str)[:LISTED])
        return f"{listed or '无'}（共 {len(value)} 项）" if len(value) > LISTED else listed or "无"
    return str(value) if value != "" else "空"


def _truth(node, case: dict) -> bool | None:
    try:
        return bool(node.evaluate(case))
    except (EngineError, ArithmeticError):
        return None


def _unique(reads: Iterator[Read]) -> list[Read]:
    return list({read.words: read for read in reads}.values())


def _reads(parsed: PlacedRule, node, case: dict, loaded: LoadedRule, setting: Setting) -> Iterator[Read]:
    """What a part reads, top first: named parts, sums over lists, attributes, parameters and sets."""
    if isinstance(node, ast.SymbolExpression):
        if node.name in setting.sets:
            name = node.name.partition("@")[0]  # a set that changed over time
            yield Read(name, "名单", tuple(setting.sets[name]), name)
        return
    text = _written(parsed, node, loaded)
    path = _path(node)
    let = next((name for name, body in loaded.rule.let.items() if body.strip() == text), "")
    whole = path or isinstance(node, ast.FunctionCallExpression) or _counts(node)
    if whole or (let and not isinstance(node, ast.LiteralExpressionBase)):
        try:
            value = node.evaluate(case)
        except (EngineError, ArithmeticError):
            value = None
        label = _label(path, loaded, setting) if path else text if let else ""
        yield Read(let or text, label, value, "person" if path == ["person", "id"] else path[-1] if path else "")
    if not whole:
        for child in children(node):
            yield from _reads(parsed, child, case, loaded, setting)


def _counts(node) -> bool:
    """`.length` of a list or of the set of its values."""
    return isinstance(node, ast.GetAttributeExpression) and node.name == "length"


def _path(node) -> list[str]:
    """The words of `visit.days`; empty for what is no path from a name."""
    if isinstance(node, ast.SymbolExpression):
        return [node.name]
    if isinstance(node, ast.GetAttributeExpression) and not _counts(node):
        inner = _path(node.object)
        return [*inner, node.name] if inner else []
    return []


def _label(path: list[str], loaded: LoadedRule, setting: Setting) -> str:
    """What the last word of a path means, as the vocabulary, the table or the parameter says."""
    if path[0] == "params":
        return loaded.rule.params[path[1]].label or "参数"
    attributes, label = setting.attributes_of(path[0]), ""
    for word in path[1:]:
        attribute = attributes.get(word)
        if attribute is None:
            break
        label, attributes = attribute.label, objects().get(attribute.kind, {})
    return label


def _written(parsed: PlacedRule, node, loaded: LoadedRule) -> str:
    """A part as its author wrote it, named parts by their names."""
    name, start, end = parsed.written.origin(node.span)
    texts = expressions_of(loaded.rule) | {f"let.{let}": text for let, text in loaded.rule.let.items()}
    return texts[name][start:end].strip()
