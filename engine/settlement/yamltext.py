"""YAML read as text: every scalar is a string, no key stands twice, and nothing is expanded."""

from pathlib import Path
from typing import Any

import yaml

from engine.tables.problems import InputProblem, RuleProblem


def read_mapping(path: Path) -> tuple[dict, dict[tuple, int]]:
    """The mapping in a YAML file, and the line of every path of keys. Raises RuleProblem for a fault of the text."""
    try:
        text = path.read_text("utf-8")
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise RuleProblem("不用锚点、别名和标签 anchors, aliases and tags are refused",
                                  f"{path}:{event.start_mark.line + 1}")
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RuleProblem(f"不是合法的 YAML: {error.problem}", f"{path}:{line}") from None
    except UnicodeDecodeError as error:
        raise InputProblem(f"不是 UTF-8 文本 (第 {error.start} 字节)", str(path)) from None
    if not isinstance(node, yaml.MappingNode):
        raise RuleProblem("应为键值结构 a mapping is expected", str(path))
    lines: dict[tuple, int] = {(): 1}
    return _plain(node, (), lines, path), lines


def _plain(node: yaml.Node, at: tuple, lines: dict[tuple, int], path: Path) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*at, str(index)), lines, path) for index, child in enumerate(node.value)]
    result = {}
    for key, child in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value in result or key.value == "<<":
            raise RuleProblem(f"键重复或不可用 duplicate or unusable key: {key.value}", f"{path}:{line}")
        lines[(*at, key.value)] = line
        result[key.value] = _plain(child, (*at, key.value), lines, path)
    return result
