"""YAML read as text first: every scalar is a string, and every value knows its line and column.

PyYAML's usual loader turns 001103000010000 into a number and `no` into False, keeps the last of two
equal keys without a word, and expands anchors without bound. None of that may happen to a rule.
"""

import codecs
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import yaml

from engine.tables.problems import RuleProblem

MAX_BYTES, MAX_DEPTH = 1_000_000, 50
STAND_IN = "\ue000\ue001"  # for ??, which the YAML library takes for a sign of its own inside braces
UNSPOKEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # escapes of quoted text may bring them in


Place = tuple[int, int]  # line and column, both from 1


@dataclass
class Document:
    """Plain dicts, lists and strings, and where each path of keys stands: its key, and its value."""

    value: object
    text: str = ""
    problems: list["TextProblem"] = field(default_factory=list)
    keys: dict[tuple, Place] = field(default_factory=dict)
    values: dict[tuple, Place] = field(default_factory=dict)
    scalars: dict[tuple, yaml.ScalarNode] = field(default_factory=dict)

    def where(self, path: tuple) -> Place:
        """The place of a key (of a list's member: of its value), or of its nearest known parent."""
        return self._nearest(path, self.keys)

    def value_at(self, path: tuple) -> Place:
        """The place where the value behind a key begins, or that of its nearest known parent's key."""
        return self.values[path] if path in self.values else self.where(path)

    def inside(self, path: tuple, offset: int) -> Place:
        """The place of one character of a text, whichever way YAML wrote it: plain, quoted, folded or as a block."""
        node = self.scalars.get(path)
        if node is None:
            return self.value_at(path)
        raw, at = self.text, node.start_mark.index
        if raw[at] in "|>":
            at = raw.index("\n", at)
        at += raw[at] in "'\""
        for wanted in "".join(node.value[: offset + 1].split()):
            while raw[at] != wanted and at + 1 < node.end_mark.index:
                at += 1
            at += 1
        at = max(at - 1, node.start_mark.index)
        return raw.count("\n", 0, at) + 1, at - raw.rfind("\n", 0, at)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def line(self, number: int) -> str:
        """The text of one line, empty where there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def _nearest(self, path: tuple, places: dict[tuple, Place]) -> Place:
        while path and path not in places:
            path = path[:-1]
        return places.get(path, (1, 1))


@dataclass(frozen=True)
class TextProblem:
    """One fault of the text itself."""

    code: str
    message: str
    line: int
    column: int


class Refused(Exception):
    """What of YAML is not for rules, found before anything is built of it: code, message, line, column."""


class Plain(yaml.BaseLoader):
    """Reads texts, lists and mappings, and nothing that stands for something else."""

    depth = 0

    def get_event(self):
        event = super().get_event()
        expanding = "不用锚点、别名和标签 no anchors, aliases or tags"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Refused("E_YAML_ANCHOR", expanding, *_place(event))
        if getattr(event, "tag", None):
            raise Refused("E_YAML_TAG", f"{expanding}: {event.tag}", *_place(event))
        self.depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if self.depth > MAX_DEPTH:
            raise Refused("E_YAML_DEEP", f"层级超过 deeper than {MAX_DEPTH}", *_place(event))
        return event


TAKEN_OTHERWISE = re.compile("[\t\r\x85\xa0\u2028\u2029\ufeff]")
FAST = getattr(yaml, "CBaseLoader", Plain)  # where PyYAML was built with libyaml: ten times as fast


def _is_plain(text: str) -> bool:
    """Can the fast reader be trusted with it? What it objects to, and signs it takes otherwise, Plain reads again."""
    if FAST is Plain or TAKEN_OTHERWISE.search(text):
        return False
    depth = quoted = 0
    try:
        for event in yaml.parse(text, Loader=FAST):
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                return False
            if isinstance(event, yaml.ScalarEvent) and event.style:
                quoted += text.count("?", event.start_mark.index, event.end_mark.index)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                return False
    except (yaml.YAMLError, UnicodeError):
        return False
    return quoted == text.count("?")  # which the readers take otherwise where it is not in quotes


def read_yaml(path: Path) -> Document:
    """Read one YAML file. Faults of the text are collected in the document, never raised."""
    if path.stat().st_size > MAX_BYTES:
        return _fault(Document({}), "E_YAML_SIZE", f"文件大于 larger than {MAX_BYTES:,} bytes", 1, 1)
    return _read(path.read_bytes())


@lru_cache(1024)
def _read(raw: bytes) -> Document:
    """The document in the bytes of a file: while one rule is edited, all the others are read again and again."""
    document = Document({}, raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace"))
    try:
        text = raw.decode("utf-8-sig").replace("??", STAND_IN)
        node = yaml.compose(text, Loader=FAST if _is_plain(text) else Plain)
    except Refused as refused:
        return _fault(document, *refused.args)
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        return _fault(document, "E_YAML_ENCODING", "不是 UTF-8 文本 not UTF-8，请另存为 UTF-8", *place)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        return _fault(document, "E_YAML_CONTROL", "含不可见的控制字符 a control character", line, column)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = f"不是合法的 YAML not YAML: {error.problem or error.context}"
        return _fault(document, "E_YAML", said, mark.line + 1, mark.column + 1)
    if node is not None:
        document.value = _plain(node, (), document)
    return document


def _plain(node: yaml.Node, path: tuple, document: Document):
    document.values[path] = _place(node)
    document.keys.setdefault(path, _place(node))
    if isinstance(node, yaml.ScalarNode):
        node.value = node.value.replace(STAND_IN, "??")
        document.scalars[path] = node
        if UNSPOKEN.search(node.value):
            _fault(document, "E_YAML_CONTROL", "含不可见的控制字符 a control character", *_place(node))
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, index), document) for index, child in enumerate(node.value)]
    result = {}
    for key, child in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _fault(document, "E_YAML_KEY", "键必须是文字 a key must be text", *_place(key))
            continue
        name = key.value
        if name in result:
            _fault(document, "E_YAML_TWICE", f"键重复 key stands twice: {name}", *_place(key))
            continue
        if name == "<<":
            _fault(document, "E_YAML_MERGE", "不用合并键 no merge keys", *_place(key))
        document.keys[(*path, name)] = _place(key)
        result[name] = _plain(child, (*path, name), document)
    return result


def _place(thing) -> tuple[int, int]:
    return thing.start_mark.line + 1, thing.start_mark.column + 1


def _fault(document: Document, code: str, message: str, line: int, column: int) -> Document:
    document.problems.append(TextProblem(code, message, line, column))
    return document


def read_mapping(path: Path) -> tuple[dict, dict[tuple, int]]:
    """The mapping in a YAML file, and the line of every path of keys (list places as text).

    Raises RuleProblem for the first fault of the text.
    """
    document = read_yaml(path)
    if document.problems:
        first = document.problems[0]
        raise RuleProblem(first.message, f"{path}:{first.line}")
    if not isinstance(document.value, dict):
        raise RuleProblem("应为键值结构 a mapping is expected", str(path))
    return document.value, {tuple(map(str, at)): line for at, (line, _) in document.keys.items()}
