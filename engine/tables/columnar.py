"""Input that is not text: Parquet files, and xlsx sheets turned into Parquet files of text."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from engine.tables import reasons
from engine.tables.files import Source
from engine.tables.problems import InputProblem
from engine.tables.records import Chunk, odd

SLICE = 250_000  # rows read at a time


def header(source: Source, work: Path) -> list[str]:
    """Column names of a Parquet file or a sheet. A sheet becomes a Parquet file of text under `work` first."""
    if source.kind == "sheet":
        source.text, source.kind = _sheet(source, work), "parquet"
    try:
        return pl.scan_parquet(source.text).collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise InputProblem("不是有效的 Parquet 文件", source.name) from error


def _sheet(source: Source, work: Path) -> Path:
    """The one sheet of a workbook as text. Raises InputProblem when no reader of xlsx is installed."""
    try:
        sheets = pl.read_excel(source.text, sheet_id=0, infer_schema_length=0)
    except ModuleNotFoundError as error:
        hint = "请安装 fastexcel，或另存为 CSV(UTF-8)"
        raise InputProblem("读取 xlsx 需要 fastexcel", source.name, hint=hint) from error
    except Exception as error:  # each engine raises its own type for a broken workbook
        raise InputProblem(f"无法读取的 xlsx：{error}", source.name) from error
    filled = {name: frame for name, frame in sheets.items() if frame.width}
    if len(filled) != 1:
        what = f"应只有一个工作表，实有 {len(filled)} 个：{'、'.join(filled)}"
        raise InputProblem(what, source.name, hint="请每表另存一个文件")
    (name, frame), folder = next(iter(filled.items())), work / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.sha256[:16]}.parquet"
    frame.select(pl.all().cast(pl.String)).write_parquet(target)
    source.decisions["sheet"] = name
    return target


def chunks(source: Source, wanted: list[str]) -> Iterator[Chunk]:
    """The rows of a Parquet file, slice by slice, numbered from 1, those of a sheet from 2; blank text is null."""
    first = 2 if "sheet" in source.decisions else 1
    scan = pl.scan_parquet(source.text).select(wanted)
    total = scan.select(pl.len()).collect().item()
    for offset in range(0, total, SLICE):
        frame = scan.slice(offset, SLICE).collect()
        text = [c for c in frame.columns if frame.schema[c] == pl.String]
        frame = frame.with_columns(pl.col(c).replace("", None) for c in text)
        found = [odd(pl.col(c)).fill_null(False) for c in text]
        good = frame.with_columns(
            _line=pl.int_range(pl.len(), dtype=pl.Int64) + offset + first,
            _extra=pl.lit(False),
            _odd=pl.any_horizontal(found) if found else pl.lit(False),
            _hash=pl.struct(pl.all()).hash(11),
        )
        yield Chunk(good, reasons.empty(), reasons.empty(), frame.height, 0)
