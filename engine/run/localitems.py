"""The items an extract charges under its own names: found while a rule is written, and those no table knows (对码)."""

import tempfile
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl

from engine.language.glossary import item_names
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


def unmapped_items(source: Path, knowledge: Knowledge) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    """The items whose code no concept, catalogue or other table names, the dearest first, each with its share of all
    money in per cent; and how many items, rows and fen are mapped and unmapped.
    """
    known = {code for code, _ in item_names(knowledge, "")} | set(knowledge["concepts"]["code"])
    items = local_items(source, knowledge).with_columns(
        _side=pl.when(pl.col("item").is_in(sorted(known))).then(pl.lit("mapped")).otherwise(pl.lit("unmapped"))
    )
    totals = {}
    for side in ("mapped", "unmapped"):
        of_side = items.filter(pl.col("_side") == side)
        totals[side] = {"items": of_side.height, **{c: of_side[c].sum() for c in ("rows", "amount_fen")}}
    left, whole = items.filter(pl.col("_side") == "unmapped").drop("_side"), items["amount_fen"].sum()
    shares = [_share(fen, whole) for fen in left["amount_fen"]]
    return left.with_columns(share_pct=pl.Series(shares, dtype=pl.String)), totals


def _share(fen: int, whole: int) -> str | None:
    return str((Decimal(100 * fen) / whole).quantize(Decimal("0.01"), ROUND_HALF_UP)) if whole else None


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
