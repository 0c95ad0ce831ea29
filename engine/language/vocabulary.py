"""What conditions can speak of: scopes, objects and attributes, and their types for rule-engine.

The words stand in vocabulary.yaml; the national names of the fields of canonical tables come from the data dictionary.
Here they become rule-engine types, so that a misspelt name, a wrong type or an unhandled missing value is found when
the rule is loaded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml
from rule_engine import DataType

from engine.tables.dictionary import Field, table

SIMPLE = {
    "text": DataType.STRING,
    "number": DataType.FLOAT,
    "money": DataType.FLOAT,
    "time": DataType.DATETIME,
    "bool": DataType.BOOLEAN,
    "texts": DataType.ARRAY(DataType.STRING),
}


FIELD_KINDS = {"text": "text", "int": "number", "date": "time", "datetime": "time", "money": "money"}  # else number


@dataclass(frozen=True)
class Attribute:
    """One word after a dot: `kind` is text, number, money, time, bool, texts, an object name or `[object]`.

    `field` is the field of the canonical table that the word means, where it means one.
    """

    name: str
    kind: str
    nullable: bool
    label: str
    note: str = ""
    field: str = ""

    @property
    def collection(self) -> str | None:
        """The object name of the elements, where the attribute is a list of objects."""
        return self.kind[1:-1] if self.kind.startswith("[") else None


@dataclass(frozen=True)
class Scope:
    """What one case of a rule is: the symbols a condition may start with and the objects they are.

    `split` is how the data are cut where it is judged: person, institution or code.
    """

    name: str
    label: str
    split: str
    symbols: dict[str, str]


def parse_attribute(name: str, text: str) -> Attribute:
    """Read one `type | label | note` line of vocabulary.yaml."""
    kind, label, *note = (part.strip() for part in text.split("|", 2))
    return Attribute(name, kind.rstrip("?"), kind.endswith("?"), label, *note)


@cache
def _raw() -> dict:
    return yaml.safe_load((Path(__file__).parent / "vocabulary.yaml").read_text("utf-8"))


@dataclass(frozen=True)
class Behind:
    """The canonical table behind an object, and what vocabulary.yaml says of its fields."""

    table: str
    means: Mapping[str, str]
    register: bool = False
    amounts: str = ""


@cache
def tables_behind() -> dict[str, Behind]:
    """The canonical table behind each object that has one."""
    return {name: Behind(**{"means": {}, **body}) for name, body in _raw()["tables"].items()}


@cache
def objects() -> dict[str, dict[str, Attribute]]:
    """Every object with its attributes: its own words first, then the fields of its table."""
    found = {}
    for name, attributes in _raw()["objects"].items():
        behind = tables_behind().get(name)
        own = {attribute: parse_attribute(attribute, text) for attribute, text in attributes.items()}
        if behind:
            own = {n: replace(a, field=behind.means.get(n, "")) for n, a in own.items()}
            fields = {f.name: _of_field(f, behind) for f in table(behind.table).fields.values()}
            own = {**own, **{n: a for n, a in fields.items() if n not in own}}
        found[name] = own
    return found


def _of_field(field: Field, behind: Behind) -> Attribute:
    """A field of a canonical table as a word."""
    label = field.label + (behind.amounts if field.type == "money" else "")
    missing = behind.register or not field.required
    return Attribute(field.name, FIELD_KINDS.get(field.type, "number"), missing, label, field.note, field.name)


@cache
def scopes() -> dict[str, Scope]:
    """Every scope of `for:` by name."""
    return {name: Scope(name, body["label"], body["split"], body["has"]) for name, body in _raw()["scopes"].items()}


@cache
def across_institutions() -> frozenset[str]:
    """Words that look at what other institutions did."""
    return frozenset(_raw()["across_institutions"])


@cache
def private() -> frozenset[str]:
    """Words for who a person or a doctor is."""
    return frozenset(_raw()["private"])


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
