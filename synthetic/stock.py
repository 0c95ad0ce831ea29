"""Stores that agree with what was sold: opening + purchases = sold + closing, for every hospital and stocked item."""

import numpy as np
import polars as pl

from engine.tables.dictionary import table
from synthetic.canonical import decimal, fields
from synthetic.world import World

SUPPLIERS, ROUNDS = 5, 4
STORES = {"08": "耗材库"}  # by kind of item; all others lie in the 中心药库


def sold_of(world: World, sales: pl.DataFrame) -> pl.DataFrame:
    """Units sold by site and stocked item, returns taken off."""
    stocked = world.catalogue.with_row_index("item").filter(pl.col("stock_item") == "1")["item"].cast(pl.Int64)
    kept = sales.filter(pl.col("item").is_in(stocked.implode()))
    return kept.group_by("site", "item").agg(pl.col("cnt").sum())


def stock_tables(world: World, sold: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """store_items, stock_balances and stock_moves of the year, for what `sold_of` counted."""
    goods = _goods(world, sold)
    if goods.is_empty():
        return {
            name: pl.DataFrame(schema=table(name).schema) for name in ("store_items", "stock_balances", "stock_moves")
        }
    year = world.ratios["year"]
    balances = goods.with_columns(
        begndate=pl.date(year, 1, 1),
        enddate=pl.date(year, 12, 31),
        opening_cnt="opening",
        closing_cnt=pl.col("opening") + pl.col("bought") - pl.col("cnt"),
    )
    return {
        "store_items": fields("store_items", goods),
        "stock_balances": fields("stock_balances", balances),
        "stock_moves": fields("stock_moves", _moves(world, goods)),
    }


def _goods(world: World, sold: pl.DataFrame) -> pl.DataFrame:
    """One row for each hospital and item: how it is packed, what was there, what was bought in whole packages."""
    site = world.institutions.filter(pl.col("fixmedins_type") == "hospital").select("site", "fixmedins_code")
    item = world.catalogue.with_row_index("item").select(
        pl.col("item").cast(pl.Int64), "med_list_codg", "med_chrgitm_type", "micro", item_name="name", min_unit="unit"
    )
    goods = sold.filter(pl.col("cnt") > 0).join(site, on="site").join(item, on="item").sort("site", "item")
    opening, supplier = world.rng.integers([[0], [1]], [[40], [SUPPLIERS + 1]], (2, goods.height))
    kind, number = pl.col("med_chrgitm_type"), pl.col("item").cast(pl.Int64) + 10001
    unit = pl.when(kind == "10").then(pl.lit("kg")).when(kind == "08").then("min_unit").otherwise(pl.lit("件"))
    ratio = pl.when(kind == "10").then(1000).when(kind == "08").then(1).otherwise(10).cast(pl.Int64)
    return goods.with_columns(
        pl.Series("opening", opening),
        ratio.alias("conv_ratio"),
        ((pl.col("cnt") + ratio - 1) // ratio * ratio).alias("bought"),
        unit.alias("unit"),
        pl.when(kind == "10").then(pl.lit("饮片")).otherwise(pl.format("1{}", "min_unit")).alias("spec"),
        pl.when(kind == "08").then(pl.lit("02")).alias("mcs_type"),
        pl.when(kind == "08").then(pl.lit("1")).alias("highval_flag"),
        pl.lit("0").alias("no_charge_flag"),
        pl.lit("一级库").alias("store_level"),
        kind.replace_strict(STORES, default="中心药库").alias("store_id"),
        pl.format("云川医药配送{}公司", pl.Series(supplier)).alias("supplier"),
        pl.format("WZ{}{}", number, "site").alias("item_store_id"),
        pl.format("X{}", number).alias("medins_list_codg"),
        pl.format("L{}", pl.col("item") * 37 + 250_001).alias("manu_lotnum"),
    )


def _moves(world: World, goods: pl.DataFrame) -> pl.DataFrame:
    """Purchases and deliveries to the dispensaries, in rounds over the year, in smallest units at the price of one."""
    rng, rounds = world.rng, pl.DataFrame({"round": np.arange(ROUNDS)})
    rows = goods.join(rounds, how="cross", maintain_order="left_right")
    days = pl.col("round") * (360 // ROUNDS) + pl.Series(rng.integers(0, 14, rows.height))
    day = pl.date(world.ratios["year"], 1, 1).cast(pl.Datetime("us")) + pl.duration(days=days, hours=10)
    rows = rows.with_columns(day.alias("move_time"), decimal(pl.col("micro"), 6).alias("pric"), unit="min_unit")
    packages = _part(pl.col("bought") // pl.col("conv_ratio")) * pl.col("conv_ratio")
    bought = rows.with_columns(packages.alias("cnt"), pl.lit("purchase").alias("move_type"))
    sent = rows.with_columns(
        _part(pl.col("cnt")).alias("cnt"),
        pl.lit("delivery").alias("move_type"),
        pl.col("move_time") + pl.duration(days=3),
    )
    both = pl.concat([bought, sent]).filter(pl.col("cnt") > 0).sort("move_type", "site", "item", "round")
    prefix = pl.col("move_type").replace_strict({"purchase": "RK", "delivery": "CK"})
    return both.with_columns(
        pl.concat_str(prefix, pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(7)).alias("move_id"),
        pl.date(world.ratios["year"] + 2, 6, 30).alias("expy_end"),
    )


def _part(total: pl.Expr) -> pl.Expr:
    """What of a total falls on a round, the remainder on the first ones."""
    return total // ROUNDS + (pl.col("round") < total % ROUNDS).cast(pl.Int64)
