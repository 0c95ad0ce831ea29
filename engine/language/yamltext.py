"""YAML read as text first: every scalar is a string, and every value knows its line and column.

PyYAML's usual loader turns 001103000010000 into a number and `no` into False, keeps the last of two
equal keys without a word, and expands anchors without bound. None of that may happen to a rule.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

MAX_BYTES = 1_000_000


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
        return _fault(document, "E_RULE_TOO_LARGE", f"file is larger than {MAX_BYTES} bytes", 1, 1)
    try:
        text = raw.decode("utf-8")
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                return _fault(document, "E_RULE_ANCHOR", "anchors and aliases are not allowed", *_place(event))
            if getattr(event, "tag", None):
                return _fault(document, "E_RULE_TAG", f"tags are not allowed: {event.tag}", *_place(event))
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except UnicodeDecodeError as error:
        return _fault(document, "E_RULE_ENCODING", f"not UTF-8 at byte {error.start}", 1, 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return _fault(document, "E_RULE_YAML", error.problem or "not YAML", mark.line + 1, mark.column + 1)
    if node is not None:
        document.value = _plain(node, (), document)
    return document


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
            _fault(document, "E_RULE_DUPLICATE_KEY", f"key {name!r} stands twice", *_place(key))
        if name == "<<":
            _fault(document, "E_RULE_MERGE_KEY", "merge keys are not allowed", *_place(key))
        result[name] = _plain(child, (*path, name), document)
        document.marks[(*path, name)] = _place(key)
    return result


def _place(thing) -> tuple[int, int]:
    return thing.start_mark.line + 1, thing.start_mark.column + 1


def _fault(document: Document, code: str, message: str, line: int, column: int) -> Document:
    document.problems.append(TextProblem(code, message, line, column))
    return document
