"""What a run writes: the exact columns of every output table, and the one gate frames pass before they are written."""

from functools import cache
from pathlib import Path

import polars as pl
import yaml

from engine.tables.dictionary import Field, dtype_of
from engine.tables.problems import InvariantBroken

_OUTPUT_ONLY = {"int32": pl.Int32(), "bool": pl.Boolean()}


@cache
def output_fields() -> dict[str, dict[str, Field]]:
    """The columns of every output table in order, with their Chinese labels, by table and column."""
    raw = yaml.safe_load((Path(__file__).parent / "outputs.yaml").read_text("utf-8"))
    return {
        table: {name: _field(table, name, text) for name, text in body["fields"].items()} for table, body in raw.items()
    }


def _field(table: str, name: str, text: str) -> Field:
    kind, mark, label, *note = (part.strip() for part in text.split("|", 3))
    return Field(table, name, kind, mark, label, *note)


def _dtype(field: Field) -> pl.DataType:
    return _OUTPUT_ONLY.get(field.type) or dtype_of(field.type)


@cache
def outputs() -> dict[str, pl.Schema]:
    """The Polars schema of every output table by name (findings for findings.parquet, and so on)."""
    return {table: pl.Schema({f.name: _dtype(f) for f in fields.values()}) for table, fields in output_fields().items()}


def conform(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with exactly the columns of output `name`, cast and in order; the order of rows is the caller's.

    Raises InvariantBroken when a column is missing, unknown, empty where it may not be, or would lose value when cast.
    """
    schema, where = outputs()[name], f"{name}.parquet"
    missing, extra = set(schema) - set(frame.columns), set(frame.columns) - set(schema)
    if missing or extra:
        raise InvariantBroken(f"missing columns {sorted(missing)}, unknown columns {sorted(extra)}", where)
    result = frame.select(_exactly(frame[column], dtype, where) for column, dtype in schema.items())
    for field in output_fields()[name].values():
        if field.required and result[field.name].null_count():
            raise InvariantBroken(f"{field.name} is empty in {result[field.name].null_count()} rows", where)
    return result


def _exactly(column: pl.Series, dtype: pl.DataType, where: str) -> pl.Series:
    if column.dtype == dtype:
        return column
    if column.dtype.is_float():
        raise InvariantBroken(f"{column.name} is a binary float", where)
    try:
        cast = column.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise InvariantBroken(f"{column.name}: {error}", where) from error
    if column.dtype.is_numeric() and (cast != column).any():
        raise InvariantBroken(f"{column.name} does not fit {dtype}", where)
    return cast
