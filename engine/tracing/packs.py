"""How much one code may cover, and which pack lies in which."""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keyed
from engine.tracing.events import UNIT

DEPTH = 4  # a case, a bundle, a pack and one level to spare


def identifiers(drug_identifiers: pl.DataFrame) -> pl.DataFrame:
    """One row per identifier: ident, pack_level, `whole` and `loose` units a code covers sold whole or split.

    Several rows of one identifier (one pack under two list codes) count with the largest content, which favours the
    institution. Units are null where the table does not say them.
    """
    table = with_fields(drug_identifiers, "drug_identifiers", "pack_level", "pack_units")
    units = (pl.col("pack_units") * UNIT).cast(pl.Int64)
    return (
        table.select(
            pl.col("pack_level").fill_null(1),
            ident=pl.col("ident7").str.strip_chars().cast(pl.UInt64, strict=False),
            whole=pl.when(pl.col("pack_level").fill_null(1) == 1).then(UNIT).otherwise(units),
            loose=units,
        )
        .drop_nulls("ident")
        .group_by("ident")
        .agg(pl.col("pack_level").min(), pl.col("whole").max(), pl.col("loose").max())
        .sort("ident")
    )


def capacities(sales: pl.DataFrame, drug_identifiers: pl.DataFrame) -> pl.DataFrame:
    """One row per code: key, pack_level, and capacity and `content` (of a smallest pack, split) in ten-thousandths of a
    unit, null for unknown identifiers.

    A smallest pack covers one unit, or its content when every sale of it is split; a bundle or case covers its packs,
    so that an infusion whose code stands on the case alone may be sold on many lines.
    """
    codes = sales.group_by("key").agg(pl.col("ident").first(), loose_only=pl.col("split").fill_null(False).all())
    codes = codes.join(identifiers(drug_identifiers), on="ident", how="left")
    loose = (pl.col("pack_level") == 1) & pl.col("loose_only")
    return codes.select(
        "key",
        "pack_level",
        capacity=pl.when(loose).then("loose").otherwise("whole"),
        content=pl.when(pl.col("pack_level") == 1).then("loose"),
    ).sort("key")


def ancestors(pack_relations: pl.DataFrame) -> pl.DataFrame:
    """Every (key, ancestor) pair of packs, at most DEPTH levels apart."""
    parent = keyed(pack_relations.select("parent_codg"), "parent_codg").select(ancestor="code_key")
    child = keyed(pack_relations.select("child_codg"), "child_codg").select(key="code_key")
    step = pl.concat([child, parent], how="horizontal").drop_nulls().unique()
    step = step.filter(pl.col("key") != pl.col("ancestor"))
    above = [step]
    for _ in range(DEPTH - 1):
        above.append(above[-1].join(step, left_on="ancestor", right_on="key").select("key", ancestor="ancestor_right"))
    pairs = pl.concat(above).filter(pl.col("key") != pl.col("ancestor"))
    return pairs.unique().sort("key", "ancestor")


def family_keys(trace_codes: pl.DataFrame, pack_relations: pl.DataFrame) -> pl.Series:
    """The key each row of trace_codes is bucketed by: its outermost pack, so that parents and children stay together.

    Rows without a usable code have the hash of their settlement or event, and may be judged in any bucket.
    """
    above = ancestors(pack_relations)
    outermost = above.filter(~pl.col("ancestor").is_in(above["key"].unique().implode()))
    outermost = outermost.group_by("key").agg(family=pl.col("ancestor").min())
    rows = keyed(trace_codes.select("event_id", "drug_trac_codg")).join(
        outermost, left_on="code_key", right_on="key", how="left", maintain_order="left"
    )
    return rows.select(family=pl.coalesce("family", "code_key", pl.col("event_id").hash(0)))["family"]
