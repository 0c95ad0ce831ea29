"""What carries a trace code, and which seven digits it begins with."""

import polars as pl

from synthetic.world import World

PACK, BUNDLE, NEW_PACK = 1, 2, 3  # forms that carry seven digits of their own


def boxed(world: World) -> pl.DataFrame:
    """Medicines sold by the box, which carry codes: item, med_list_codg."""
    rows = world.catalogue.with_row_index("item").filter(
        pl.col("med_chrgitm_type").is_in(["09", "11"]), pl.col("unit") == "盒"
    )
    return rows.select(pl.col("item").cast(pl.Int64), "med_list_codg")


def ident7(item: int, form: int) -> str:
    """药品标识码 of a form of an item of the catalogue."""
    return f"8{(item * 7919 + form * 104_729) % 900_000 + 100_000:06d}"


def identifiers(world: World) -> pl.DataFrame:
    """drug_identifiers: the seven digits of every boxed medicine, for its packs (old and new) and its bundle."""
    units = {PACK: (1, "trace_split_units"), NEW_PACK: (1, "trace_split_units"), BUNDLE: (2, "trace_bundle")}
    rows = [
        (ident7(item, form), code, level, world.ratios[many])
        for item, code in boxed(world).iter_rows()
        for form, (level, many) in units.items()
    ]
    frame = pl.DataFrame(rows, schema=["ident7", "med_list_codg", "pack_level", "pack_units"], orient="row")
    begin = pl.date(world.ratios["year"] - 1, 1, 1)
    return frame.with_columns(pl.col("pack_units").cast(pl.Decimal(12, 2)), begin.alias("valid_from")).sort("ident7")


def code_free(world: World) -> pl.DataFrame:
    """code_free: herbs need no code."""
    herbs = world.catalogue.filter(pl.col("med_chrgitm_type") == "10")
    return herbs.select("med_list_codg", reason=pl.lit("中药饮片")).sort("med_list_codg")


def as_purchase(sales: pl.DataFrame, before: pl.Expr) -> pl.DataFrame:
    """The purchase of packs by the place that sells them, so long before."""
    none = [pl.lit(None, pl.String).alias(name) for name in ("psn_no", "setl_id", "feedetl_sn")]
    kind = [pl.lit("purchase").alias("event_type"), pl.lit("sales_ledger").alias("source")]
    return sales.with_columns(*none, *kind, pl.col("event_time") - before)
