"""YAML read as text first: every scalar is a string, and every value knows its line and column.

PyYAML's usual loader turns 001103000010000 into a number and `no` into False, keeps the last of two
equal keys without a word, and expands anchors without bound. None of that may happen to a rule.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from engine.tables.problems import RuleProblem

MAX_BYTES, MAX_DEPTH = 1_000_000, 50


@dataclass
class Document:
    """Plain dicts, lists and strings, with the (line, column) at which each path of keys begins."""

    value: object
    marks: dict[tuple, tuple[int, int]]
    lines: list[str]
    problems: list["TextProblem"] = field(default_factory=list)

    def where(self, path: tuple) -> tuple[int, int]:
        """The place of a path, or of its nearest known parent."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, (1, 1))


@dataclass(frozen=True)
class TextProblem:
    """One fault of the text itself."""

    code: str
    message: str
    line: int
    column: int


def read_yaml(path: Path) -> Document:
    """Read one YAML file. Faults of the text are collected in the document, never raised."""
    raw = path.read_bytes()
    document = Document({}, {}, raw.decode("utf-8", "replace").splitlines())
    if len(raw) > MAX_BYTES:
        return _fault(document, "E_RULE_TOO_LARGE", f"文件大于 larger than {MAX_BYTES} bytes", 1, 1)
    try:
        text = raw.decode("utf-8")
        if refused := _refused(text):
            return _fault(document, *refused)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except UnicodeDecodeError as error:
        return _fault(document, "E_RULE_ENCODING", f"不是 UTF-8 文本 not UTF-8 (第 {error.start} 字节)", 1, 1)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _fault(document, "E_RULE_YAML", "含不可见的控制字符 a control character", line, 1)
    except yaml.MarkedYAMLError as error:
        mark, hint = error.problem_mark, "文字中有 : ? { [ 时请加引号 quote text that holds such signs"
        said = f"不是合法的 YAML: {error.problem}；{hint}"
        return _fault(document, "E_RULE_YAML", said, mark.line + 1, mark.column + 1)
    if node is not None:
        document.value = _plain(node, (), document)
    return document


def _refused(text: str) -> tuple | None:
    """What of YAML is not for rules, found before anything is built: (code, message, line, column), or None."""
    depth, expanding = 0, "不用锚点、别名和标签 anchors, aliases and tags are refused"
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return "E_RULE_ANCHOR", expanding, *_place(event)
        if getattr(event, "tag", None):
            return "E_RULE_TAG", f"{expanding}: {event.tag}", *_place(event)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return "E_RULE_DEEP", f"层级超过 deeper than {MAX_DEPTH}", *_place(event)
    return None


def _plain(node: yaml.Node, path: tuple, document: Document):
    document.marks[path] = _place(node)
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, index), document) for index, child in enumerate(node.value)]
    result = {}
    for key, child in node.value:
        name = key.value
        if name in result:
            _fault(document, "E_RULE_DUPLICATE_KEY", f"键重复 key stands twice: {name}", *_place(key))
        if name == "<<":
            _fault(document, "E_RULE_MERGE_KEY", "不用合并键 merge keys are refused", *_place(key))
        result[name] = _plain(child, (*path, name), document)
        document.marks[(*path, name)] = _place(key)
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
    return document.value, {tuple(map(str, at)): line for at, (line, _) in document.marks.items()}
