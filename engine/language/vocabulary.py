"""What conditions can speak of: scopes, objects and attributes, and their types for rule-engine.

The words stand in vocabulary.yaml. Here they become rule-engine types, so that a misspelt name, a wrong type or
an unhandled missing value is found when the rule is loaded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from rule_engine import DataType

SIMPLE = {
    "text": DataType.STRING,
    "number": DataType.FLOAT,
    "money": DataType.FLOAT,
    "time": DataType.DATETIME,
    "bool": DataType.BOOLEAN,
    "texts": DataType.ARRAY(DataType.STRING),
}


@dataclass(frozen=True)
class Attribute:
    """One word after a dot: `kind` is text, number, money, time, bool, texts, an object name or `[object]`."""

    name: str
    kind: str
    nullable: bool
    label: str
    note: str = ""

    @property
    def collection(self) -> str | None:
        """The object name of the elements, where the attribute is a list of objects."""
        return self.kind[1:-1] if self.kind.startswith("[") else None


@dataclass(frozen=True)
class Scope:
    """What one case of a rule is: the symbols a condition may start with and the objects they are."""

    name: str
    label: str
    symbols: dict[str, str]


def parse_attribute(name: str, text: str) -> Attribute:
    """Read one `type | label | note` line of vocabulary.yaml."""
    kind, label, *note = (part.strip() for part in text.split("|", 2))
    return Attribute(name, kind.rstrip("?"), kind.endswith("?"), label, *note)


@cache
def _raw() -> dict:
    return yaml.safe_load((Path(__file__).parent / "vocabulary.yaml").read_text("utf-8"))


@cache
def objects() -> dict[str, dict[str, Attribute]]:
    """Every object with its attributes."""
    return {
        name: {attribute: parse_attribute(attribute, text) for attribute, text in attributes.items()}
        for name, attributes in _raw()["objects"].items()
    }


@cache
def scopes() -> dict[str, Scope]:
    """Every scope of `for:` by name."""
    return {name: Scope(name, body["label"], body["has"]) for name, body in _raw()["scopes"].items()}


def read_attribute(value, name: str):
    """How rule-engine reads an attribute of one case: cases are mappings."""
    return value[name]


def object_type(name: str, attributes: Mapping[str, Attribute]):
    """The rule-engine type of an object; other objects are named by reference, so they may refer to each other."""
    return DataType.OBJECT(
        f"#{name}", {a.name: attribute_type(a) for a in attributes.values()}, accessor=read_attribute
    )


def attribute_type(attribute: Attribute):
    if attribute.collection:
        return DataType.ARRAY(DataType.OBJECT.reference(f"#{attribute.collection}"))
    kind = SIMPLE.get(attribute.kind) or DataType.OBJECT.reference(f"#{attribute.kind}")
    return DataType.NULLABLE(kind) if attribute.nullable else kind


@cache
def object_types() -> dict[str, object]:
    return {f"#{name}": object_type(name, attributes) for name, attributes in objects().items()}


def words_in(text: str) -> list[str]:
    """The bare names of an expression: not attributes, not builtins, not parts of quoted text."""
    bare = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "''", text)
    return re.findall(r"(?<![\w.$&])[A-Za-z_]\w*", bare)
