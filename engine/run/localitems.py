"""The items an extract charges under its own names, found while a rule is written."""

import tempfile
from pathlib import Path

import polars as pl

from engine.reference.knowledge import Knowledge
from engine.tables.problems import InputProblem
from engine.tables.read import read

READ = ("med_list_codg", "medins_list_codg", "medins_list_name", "det_item_fee_sumamt")


def local_items(source: Path, knowledge: Knowledge, word: str = "") -> pl.DataFrame:
    """Items whose code or name holds a word: item, local_item, name, rows, amount_fen; the dearest first.

    A bundle whose fee lines are Parquet is looked at where it lies, another is read. Raises InputProblem where no fee
    lines are found.
    """
    plain = sorted(source.glob("fee_lines*.parquet")) if source.is_dir() else []
    if plain and set(READ) <= set(pl.read_parquet_schema(plain[0])):
        fen = (pl.col(READ[3]).cast(pl.Decimal(18, 2)) * 100).cast(pl.Int64)
        return _found(pl.scan_parquet(plain), word, fen)
    with tempfile.TemporaryDirectory() as work:
        extract = read(source, Path(work), "auto", knowledge["wordings"])
        if "fee_lines" not in extract.tables:
            raise InputProblem("没有费用明细 no fee lines", str(source))
        return _found(extract.tables["fee_lines"], word, pl.col(READ[3]))


def _found(lines: pl.LazyFrame, word: str, fen: pl.Expr) -> pl.DataFrame:
    have = lines.collect_schema().names()
    named = {new: pl.col(old) if old in have else pl.lit(None, pl.String)
             for old, new in zip(READ[:3], ("item", "local_item", "name"), strict=True)}  # fmt: skip
    items = lines.select(**named, amount_fen=fen).group_by(*named).agg(
        rows=pl.len().cast(pl.Int64), amount_fen=pl.col("amount_fen").sum()
    )  # fmt: skip
    holds = pl.any_horizontal(
        pl.col(name).fill_null("").str.to_lowercase().str.contains(word.lower(), literal=True) for name in named
    )
    by = ["amount_fen", "item", "local_item", "name"]
    return items.filter(holds).sort(by, descending=[True, False, False, False], nulls_last=True).collect()
