"""Stores that agree with what was sold: opening + purchases = sold + closing, for every hospital and stocked item."""

import numpy as np
import polars as pl

from engine.tables.dictionary import table
from synthetic.world import World

SUPPLIERS, MAKERS, ROUNDS = 5, 20, 4
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
        closing_cnt=pl.col("opening") + pl.col("bought") * pl.col("ratio") - pl.col("cnt"),
    )
    return {
        "store_items": _fields("store_items", goods),
        "stock_balances": _fields("stock_balances", balances),
        "stock_moves": _fields("stock_moves", _moves(world, goods)),
    }


def _goods(world: World, sold: pl.DataFrame) -> pl.DataFrame:
    """One row for each hospital and item: how it is packed, what was there, what was bought (in packages)."""
    rng = world.rng
    goods = sold.filter(pl.col("cnt") > 0).sort("site", "item")
    hospital = world.institutions["fixmedins_type"].gather(goods["site"]) == "hospital"
    goods = goods.filter(hospital)
    of = world.catalogue[goods["item"]]
    kind = of["med_chrgitm_type"].to_numpy()
    ratio = np.where(kind == "10", 1000, np.where(kind == "08", 1, 10))
    price = world.price[3, goods["item"].to_numpy()]
    count = goods.height
    supplier = rng.integers(1, SUPPLIERS + 1, count)
    return goods.with_columns(
        world.institutions["fixmedins_code"].gather(goods["site"]).alias("fixmedins_code"),
        pl.Series("ratio", ratio),
        pl.Series("opening", rng.integers(0, 40, count) * 1),
        pl.Series("bought", -(-goods["cnt"].to_numpy() // ratio)),
        pl.Series("micro", price),
        of["med_list_codg"],
        of["name"].alias("item_name"),
        of["unit"].alias("min_unit"),
        pl.Series("unit", np.where(kind == "10", "kg", np.where(kind == "08", of["unit"].to_numpy(), "件"))),
        pl.Series("spec", np.where(kind == "10", "饮片", "1" + of["unit"].to_numpy().astype(object))),
        pl.Series("mcs_type", np.where(kind == "08", "02", None)),
        pl.Series("highval_flag", np.where(kind == "08", "1", None)),
        pl.lit("0").alias("no_charge_flag"),
        pl.lit("一级库").alias("store_level"),
        of["med_chrgitm_type"].replace_strict(STORES, default="中心药库").alias("store_id"),
        pl.format("云川医药配送{}公司", pl.Series(supplier)).alias("supplier"),
        pl.format("WZ{}{}", pl.col("item") + 10001, "site").alias("item_store_id"),
        pl.format("X{}", (pl.col("item") + 10001).cast(pl.String)).alias("medins_list_codg"),
        pl.format("L{}", (pl.col("item") * 37 + 250_001)).alias("manu_lotnum"),
    ).with_columns(pl.col("ratio").alias("conv_ratio"))


def _moves(world: World, goods: pl.DataFrame) -> pl.DataFrame:
    """Purchases (in packages) and deliveries to the dispensaries (in smallest units), in rounds over the year."""
    rng, rounds = world.rng, pl.DataFrame({"round": np.arange(ROUNDS)})
    rows = goods.join(rounds, how="cross", maintain_order="left_right")
    day = pl.date(world.ratios["year"], 1, 1).cast(pl.Datetime("us")) + pl.duration(
        days=pl.col("round") * (360 // ROUNDS) + pl.Series(rng.integers(0, 14, rows.height)), hours=10
    )
    part = lambda total: pl.col(total) // ROUNDS + (pl.col("round") < pl.col(total) % ROUNDS).cast(pl.Int64)  # noqa: E731
    small = pl.col("micro").cast(pl.Decimal(38, 6)) / 10**6
    bought = rows.with_columns(
        part("bought").alias("cnt"),
        pl.lit("purchase").alias("move_type"),
        day.alias("move_time"),
        (small * pl.col("ratio")).alias("pric"),
    )
    sent = rows.with_columns(
        part("cnt").alias("cnt"),
        pl.lit("delivery").alias("move_type"),
        (day + pl.duration(days=3)).alias("move_time"),
        small.alias("pric"),
        unit="min_unit",
    )
    both = pl.concat([bought, sent]).filter(pl.col("cnt") > 0).sort("move_type", "site", "item", "round")
    prefix = pl.col("move_type").replace_strict({"purchase": "RK", "delivery": "CK"})
    return both.with_columns(
        pl.concat_str(prefix, pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(7)).alias("move_id"),
        pl.date(world.ratios["year"] + 2, 6, 30).alias("expy_end"),
    )


def _fields(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    schema = table(name).schema
    return frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items() if column in frame.columns)
