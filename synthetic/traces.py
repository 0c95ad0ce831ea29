"""Trace codes of the packs that were sold: purchases, sales, returns, and codes that turn up where they should not."""

import numpy as np
import polars as pl

from engine.tables.dictionary import table
from synthetic.packs import BUNDLE, PACK, as_purchase, boxed, ident7
from synthetic.plant_traces import plant_codes
from synthetic.world import World

SOLD_BY = ["general_outpatient", "emergency_outpatient", "chronic_outpatient", "pharmacy"]
LEDGER = pl.lit("sales_ledger")
EVENT = ["event_type", "source", "drug_trac_codg", "fixmedins_code", "psn_no", "setl_id", "feedetl_sn", "med_list_codg",
         "trdn_flag", "cnt", "event_time", "manu_lotnum", "manu_date", "expy_end"]  # fmt: skip


def with_traces(world: World, tables: dict[str, pl.DataFrame], cases: int, first: int) -> dict[str, pl.DataFrame]:
    """The tables of a batch with trace_codes and pack_relations of its sales, and the truth about planted codes."""
    packs = _packs(world, tables["sales"])
    bought = _purchases(world, packs)
    sold, truth, on_top = plant_codes(world, packs, cases, first)
    told = sold.filter(pl.Series(world.rng.random(sold.height) < world.ratios["trace_ledger_share"]))
    returned = sold.filter(pl.col("returned_at").is_not_null()).with_columns(
        event_type=pl.lit("return"), source=LEDGER, event_time="returned_at"
    )
    kinds = [sold, on_top, told.with_columns(source=LEDGER), returned, bought]
    events = _numbered(world, pl.concat([rows.select(*EVENT, "pack") for rows in kinds]))
    of_sale = (
        events.filter(pl.col("event_type") == "sale")
        .group_by("feedetl_sn", "drug_trac_codg")
        .agg(pl.col("event_id").min())
    )
    truth = truth.join(of_sale, on=["feedetl_sn", "drug_trac_codg"], how="left", maintain_order="left")
    return tables | {
        "trace_codes": events,
        "pack_relations": _bundles(world, bought),
        "truth": pl.concat([tables["truth"], truth.select(tables["truth"].columns)]),
    }


def _packs(world: World, sales: pl.DataFrame) -> pl.DataFrame:
    """One row for every pack sold since the duty to scan: its code, lot and sale, and when it was given back."""
    medicines = boxed(world)
    from_day = pl.lit(world.ratios["trace_from"]).str.to_date()
    sold = sales.filter(
        pl.col("kind").is_in(SOLD_BY),
        pl.col("item").is_in(medicines["item"].implode()),
        pl.col("cnt") > 0,
        pl.col("time").dt.date() >= from_day,
    ).sort("feedetl_sn")
    back = sales.filter(pl.col("reverses").is_not_null()).select(line="reverses", returned_at="time").unique("line")
    sold = sold.join(back, on="line", how="left", maintain_order="left").join(
        medicines, on="item", maintain_order="left"
    )
    packs = sold[np.repeat(np.arange(sold.height), sold["cnt"].to_numpy())].with_row_index("pack")
    serial = pl.Series(world.numbers["pack"].take(packs.height)).cast(pl.String).str.zfill(13)
    prefix = {item: ident7(item, PACK) for item in medicines["item"]}
    site = world.institutions[packs["site"]]
    made = pl.col("time").dt.month_start().dt.offset_by("-6mo").dt.date()
    return packs.with_columns(
        pl.col("pack").cast(pl.Int64),
        pl.concat_str(pl.col("item").replace_strict(prefix, return_dtype=pl.String), serial).alias("drug_trac_codg"),
        pl.lit("sale").alias("event_type"),
        pl.lit("settlement").alias("source"),
        pl.lit("0").alias("trdn_flag"),
        pl.col("cnt").alias("cnt_sold"),
        pl.lit(1, pl.Int64).alias("cnt"),
        pl.col("time").alias("event_time"),
        site["fixmedins_code"],
        site.select(pl.coalesce("chain_id", "fixmedins_code").alias("owner")).to_series(),
        made.alias("manu_date"),
        made.dt.offset_by("2y").alias("expy_end"),
        pl.format("{}{}", made.dt.strftime("%y%m"), pl.col("item").cast(pl.String).str.zfill(3)).alias("manu_lotnum"),
    )


def _purchases(world: World, packs: pl.DataFrame) -> pl.DataFrame:
    """Every pack bought weeks before it is sold, by the seller or by the warehouse of its chain."""
    rng, count = world.rng, packs.height
    shops = world.institutions.filter(pl.col("chain_id").is_not_null())
    warehouse = shops.group_by("chain_id").agg(pl.col("fixmedins_code").min().alias("warehouse"))
    by_site = shops.join(warehouse, on="chain_id").select("fixmedins_code", "warehouse")
    central = pl.Series(rng.random(count) < world.ratios["trace_warehouse_share"])
    before = pl.duration(minutes=pl.Series(rng.integers(3 * 1440, 40 * 1440, count)))
    packs = packs.join(by_site, on="fixmedins_code", how="left", maintain_order="left")
    buyer = pl.when(central).then(pl.coalesce("warehouse", "fixmedins_code")).otherwise("fixmedins_code")
    return as_purchase(packs.with_columns(buyer.alias("fixmedins_code")), before)


def _bundles(world: World, bought: pl.DataFrame) -> pl.DataFrame:
    """pack_relations: some packs of one product bought at one place came in one bundle."""
    size = world.ratios["trace_bundle"]
    nth = pl.int_range(pl.len()).over("item", "fixmedins_code")
    some = bought.with_columns((nth // size).alias("bundle")).filter(
        pl.col("bundle") == 0, pl.len().over("item", "fixmedins_code", "bundle") == size
    )
    groups = some.select("item", "fixmedins_code").unique(maintain_order=True)
    serial = pl.Series(world.numbers["pack"].take(groups.height)).cast(pl.String).str.zfill(13)
    prefix = {item: ident7(item, BUNDLE) for item in groups["item"].unique()}
    groups = groups.with_columns(
        parent_codg=pl.concat_str(pl.col("item").replace_strict(prefix, return_dtype=pl.String, default=None), serial)
    )
    return (
        some.join(groups, on=["item", "fixmedins_code"], maintain_order="left")
        .select("parent_codg", child_codg="drug_trac_codg")
        .sort("parent_codg", "child_codg")
    )


def _numbered(world: World, events: pl.DataFrame) -> pl.DataFrame:
    """trace_codes: the events with their ids, in order of id."""
    events = events.sort("pack", "event_time", "event_type", "source", "feedetl_sn")
    number = pl.Series(world.numbers["event"].take(events.height)).cast(pl.String).str.zfill(11)
    events = events.with_columns(pl.format("E{}", number).alias("event_id"), code_kind=pl.lit("drug"))
    told = {name: kind for name, kind in table("trace_codes").schema.items() if name in events.columns}
    return events.select(pl.col(name).cast(kind) for name, kind in told.items()).sort("event_id")
