"""The data dictionary: what every table holds, read once from dictionary.yaml.

Everything that knows a column knows it from here: the reader's types, the types rules are checked
against, the Chinese labels of reports and the documentation page.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import yaml

MONEY_LIMIT = 10**12  # fen; ten billion yuan, so that 64-bit sums of nine million rows cannot wrap


@dataclass(frozen=True)
class Field:
    """One column: its type word, whether it is key, required or optional, and its Chinese label."""

    table: str
    name: str
    type: str
    mark: str
    label: str
    note: str = ""

    @property
    def dtype(self) -> pl.DataType:
        return dtype_of(self.type)

    @property
    def key(self) -> bool:
        return self.mark == "K"

    @property
    def required(self) -> bool:
        return self.mark in "KR"


@dataclass(frozen=True)
class Table:
    """One table: its label, the split its rows are bucketed by, and its fields in order."""

    name: str
    label: str
    split: str
    fields: dict[str, Field]

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({f.name: f.dtype for f in self.fields.values()})

    @property
    def key(self) -> list[str]:
        return [f.name for f in self.fields.values() if f.key]


def dtype_of(word: str) -> pl.DataType:
    """The Polars type of a type word. Money is whole fen in Int64; prices and quantities are exact decimals."""
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", word):
        return pl.Decimal(int(match[1]), int(match[2]))
    return {
        "text": pl.String(),
        "int": pl.Int64(),
        "money": pl.Int64(),
        "date": pl.Date(),
        "datetime": pl.Datetime("us"),
    }[word]


@cache
def tables() -> dict[str, Table]:
    """Every table of the dictionary by name."""
    raw = yaml.safe_load((Path(__file__).parent / "dictionary.yaml").read_text("utf-8"))
    return {name: _table(name, body) for name, body in raw.items()}


def _table(name: str, body: dict) -> Table:
    fields = {}
    for field, text in body["fields"].items():
        kind, mark, label, *note = (part.strip() for part in text.split("|", 3))
        fields[field] = Field(name, field, kind, mark, label, *note)
    return Table(name, body["label"], body["split"], fields)


def table(name: str) -> Table:
    return tables()[name]


def with_fields(frame: pl.DataFrame | pl.LazyFrame, name: str, *fields: str):
    """The frame with every named field of the table present: what the source did not bring is null."""
    have = frame.collect_schema().names()
    wanted = fields or tuple(table(name).fields)
    missing = [pl.lit(None, table(name).fields[f].dtype).alias(f) for f in wanted if f not in have]
    return frame.with_columns(missing) if missing else frame
