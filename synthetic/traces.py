"""Trace codes of the packs that were sold: purchases, sales, returns, and codes that turn up where they should not."""

from collections.abc import Callable

import numpy as np
import polars as pl

from engine.tables.dictionary import table
from synthetic.world import World

PACK, BUNDLE = 1, 2
SOLD_BY = ["general_outpatient", "emergency_outpatient", "chronic_outpatient", "pharmacy"]
LEDGER = pl.lit("sales_ledger")
FAR_DAYS = 20  # between two sales of one code that lie at two places
EVENT = [
    "event_type",
    "source",
    "drug_trac_codg",
    "fixmedins_code",
    "psn_no",
    "setl_id",
    "feedetl_sn",
    "med_list_codg",
    "trdn_flag",
    "cnt",
    "event_time",
    "manu_lotnum",
    "manu_date",
    "expy_end",
]


def identifiers(world: World) -> pl.DataFrame:
    """drug_identifiers: the seven digits of every boxed medicine, for the pack and for the bundle."""
    boxed = _boxed(world)
    units = {PACK: world.ratios["trace_split_units"], BUNDLE: world.ratios["trace_bundle"]}
    rows = [
        (ident7(item, level), boxed_code, level, many)
        for item, boxed_code in boxed.iter_rows()
        for level, many in units.items()
    ]
    frame = pl.DataFrame(rows, schema=["ident7", "med_list_codg", "pack_level", "pack_units"], orient="row")
    return frame.with_columns(
        pl.col("pack_units").cast(pl.Decimal(12, 2)), valid_from=pl.date(world.ratios["year"] - 1, 1, 1)
    ).sort("ident7")


def code_free(world: World) -> pl.DataFrame:
    """code_free: herbs need no code."""
    herbs = world.catalogue.filter(pl.col("med_chrgitm_type") == "10")
    return herbs.select("med_list_codg", reason=pl.lit("中药饮片")).sort("med_list_codg")


def ident7(item: int, level: int) -> str:
    return f"8{(item * 7919 + level * 104_729) % 900_000 + 100_000:06d}"


def with_traces(world: World, tables: dict[str, pl.DataFrame], cases: int, first: int) -> dict[str, pl.DataFrame]:
    """The tables of a batch with trace_codes and pack_relations of its sales, and the truth about codes planted there."""
    packs = _packs(world, tables["sales"])
    bought = _purchases(world, packs)
    sold, truth, again = _planted(world, packs, cases, first)
    told = sold.filter(pl.Series(world.rng.random(sold.height) < world.ratios["trace_ledger_share"]))
    returned = sold.filter(pl.col("returned_at").is_not_null()).with_columns(
        event_type=pl.lit("return"), source=LEDGER, event_time="returned_at"
    )
    kinds = [sold, again, told.with_columns(source=LEDGER), returned, bought]
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


def _boxed(world: World) -> pl.DataFrame:
    """Medicines sold by the box, which carry codes: item, med_list_codg."""
    rows = world.catalogue.with_row_index("item").filter(
        pl.col("med_chrgitm_type").is_in(["09", "11"]), pl.col("unit") == "盒"
    )
    return rows.select(pl.col("item").cast(pl.Int64), "med_list_codg")


def _packs(world: World, sales: pl.DataFrame) -> pl.DataFrame:
    """One row for every pack sold since the duty to scan: its code, lot and sale, and when it was given back."""
    boxed = _boxed(world)
    from_day = pl.lit(world.ratios["trace_from"]).str.to_date()
    sold = sales.filter(
        pl.col("kind").is_in(SOLD_BY),
        pl.col("item").is_in(boxed["item"].implode()),
        pl.col("cnt") > 0,
        pl.col("time").dt.date() >= from_day,
    ).sort("feedetl_sn")
    back = sales.filter(pl.col("reverses").is_not_null()).select(line="reverses", returned_at="time").unique("line")
    sold = sold.join(back, on="line", how="left", maintain_order="left").join(boxed, on="item", maintain_order="left")
    packs = sold[np.repeat(np.arange(sold.height), sold["cnt"].to_numpy())].with_row_index("pack")
    serial = pl.Series(world.numbers["pack"].take(packs.height)).cast(pl.String).str.zfill(13)
    prefix = {item: ident7(item, PACK) for item in boxed["item"]}
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
        world.institutions["fixmedins_code"].gather(packs["site"]).alias("fixmedins_code"),
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
    none = pl.lit(None, pl.String)
    return packs.with_columns(
        pl.when(central)
        .then(pl.coalesce("warehouse", "fixmedins_code"))
        .otherwise("fixmedins_code")
        .alias("fixmedins_code"),
        none.alias("psn_no"),
        none.alias("setl_id"),
        none.alias("feedetl_sn"),
        pl.lit("purchase").alias("event_type"),
        pl.lit("sales_ledger").alias("source"),
        pl.col("event_time") - before,
    )


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
    return events.select(pl.col(name).cast(kind) for name, kind in table("trace_codes").schema.items()).sort("event_id")


def _planted(world: World, packs: pl.DataFrame, cases: int, first_case: int):
    """The packs with some codes changed, the truth about those, and events that only repeat."""
    free = packs.unique("feedetl_sn", keep="first", maintain_order=True).filter(pl.col("returned_at").is_null())
    free = free[world.rng.permutation(free.height)]
    changed, truths, taken = [], [], np.zeros(packs.height, bool)
    extra = packs.clear()
    for number, family, make in SCHEMES:
        rows = make(world, packs, free.filter(~pl.Series(taken[free["pack"].to_numpy()])), cases)
        taken[rows["pack"].to_numpy()] = True
        kind = "violation" if family == "violation" else "lookalike"
        if family == "retried-upload":
            extra = rows.select(packs.columns).with_columns(pl.col("event_time") + pl.duration(seconds=20))
        else:
            changed.append(rows.select(packs.columns))
        name = pl.concat_str(
            pl.lit(f"T{number:02d}-{kind[0].upper()}-" + ("" if kind == "violation" else f"{family}-")),
            (pl.col("case") + first_case + 1).cast(pl.String).str.zfill(4),
        )
        truths.append(
            rows.select(
                name.alias("case"),
                pl.lit(family).alias("scheme"),
                pl.lit(None, pl.Int64).alias("rule_number"),
                pl.lit(f"t{number:02d}").alias("slug"),
                pl.lit(kind).alias("kind"),
                "setl_id",
                "feedetl_sn",
                "psn_no",
                pl.when(pl.col("suspect"))
                .then(pl.col("amount") // pl.col("cnt_sold"))
                .otherwise(0)
                .alias("amount_fen"),
                "drug_trac_codg",
            )
        )
    new = pl.concat(changed)
    kept = packs.filter(~pl.col("pack").is_in(new["pack"].implode()))
    return pl.concat([kept, new]), pl.concat(truths), extra


def _pairs(free: pl.DataFrame, count: int, same: list[str], members: int = 2) -> pl.DataFrame:
    """Groups of sales of one medicine to different people, alike in `same`, earliest first: case, nth, and the row."""
    nth = pl.int_range(pl.len()).over("item", *same)
    rows = free.with_columns((nth // members).alias("group"))
    key = ["item", *same, "group"]
    rows = rows.filter(
        pl.len().over(key) == members,
        pl.col("psn_no").n_unique().over(key) == members,
        pl.col("setl_id").n_unique().over(key) == members,
    )
    chosen = rows.select(key).unique(maintain_order=True).head(count).with_row_index("case")
    rows = rows.join(chosen, on=key, maintain_order="right").sort("case", "event_time", "pack")
    return rows.with_columns(pl.col("case").cast(pl.Int64), pl.int_range(pl.len()).over("case").alias("nth"))


def _one_code(rows: pl.DataFrame) -> pl.DataFrame:
    """Every later sale of a case carries the code of its first, with lot and dates."""
    first = [
        pl.col(name).first().over("case").alias(name)
        for name in ("drug_trac_codg", "manu_lotnum", "manu_date", "expy_end")
    ]
    return rows.with_columns(*first, suspect=pl.col("nth") > 0)


def repeated_at_site(world: World, packs: pl.DataFrame, free: pl.DataFrame, count: int) -> pl.DataFrame:
    """One code sold to two people at one place: something else went over the counter."""
    return _one_code(_pairs(free, count, ["fixmedins_code"]))


def repeated_far_away(world: World, packs: pl.DataFrame, free: pl.DataFrame, count: int) -> pl.DataFrame:
    """One code sold at two places weeks apart: the pack came back into the trade."""
    rows = _pairs(free, 12 * count, [])
    key = pl.col("case")
    gap = (pl.col("event_time").max() - pl.col("event_time").min()).over(key)
    far = rows.filter(gap >= pl.duration(days=FAR_DAYS), pl.col("fixmedins_code").n_unique().over(key) == 2)
    kept = far["case"].unique(maintain_order=True).head(count)
    return _one_code(
        far.filter(pl.col("case").is_in(kept.implode())).with_columns(pl.col("case").rank("dense").cast(pl.Int64) - 1)
    )


def other_product(world: World, packs: pl.DataFrame, free: pl.DataFrame, count: int) -> pl.DataFrame:
    """The code of another product scanned for what was billed."""
    rows = free.head(count).with_row_index("case").with_columns(pl.col("case").cast(pl.Int64))
    items = _boxed(world)["item"].to_list()
    other = {item: ident7(items[(place + 1) % len(items)], PACK) for place, item in enumerate(items)}
    return rows.with_columns(
        pl.concat_str(
            pl.col("item").replace_strict(other, return_dtype=pl.String), pl.col("drug_trac_codg").str.slice(7)
        ).alias("drug_trac_codg"),
        suspect=pl.lit(True),
    )


def uploaded_again(world: World, packs: pl.DataFrame, free: pl.DataFrame, count: int) -> pl.DataFrame:
    """The same sale sent a second time after a time-out."""
    return free.head(count).with_row_index("case").with_columns(pl.col("case").cast(pl.Int64), suspect=pl.lit(False))


def returned_and_resold(world: World, packs: pl.DataFrame, free: pl.DataFrame, count: int) -> pl.DataFrame:
    """A pack given back to the place that sold it, and sold there again."""
    back = packs.filter(pl.col("returned_at").is_not_null()).unique("feedetl_sn", keep="first", maintain_order=True)
    both = free.join(
        back.select(
            "item",
            "fixmedins_code",
            "returned_at",
            "psn_no",
            code="drug_trac_codg",
            lot="manu_lotnum",
            made="manu_date",
            ends="expy_end",
        ),
        on=["item", "fixmedins_code"],
        suffix="_b",
        maintain_order="left",
    ).filter(pl.col("event_time") > pl.col("returned_at_b"), pl.col("psn_no") != pl.col("psn_no_b"))
    both = (
        both.unique("code", keep="first", maintain_order=True)
        .unique("pack", keep="first", maintain_order=True)
        .head(count)
    )
    return both.with_row_index("case").with_columns(
        pl.col("case").cast(pl.Int64),
        drug_trac_codg="code",
        manu_lotnum="lot",
        manu_date="made",
        expy_end="ends",
        suspect=pl.lit(False),
    )


def split_pack(world: World, packs: pl.DataFrame, free: pl.DataFrame, count: int) -> pl.DataFrame:
    """One opened pack sold to several people by the piece, within what it holds."""
    rows = _one_code(_pairs(free, count, ["fixmedins_code"], members=3))
    return rows.with_columns(trdn_flag=pl.lit("1"), suspect=pl.lit(False))


SCHEMES: list[tuple[int, str, Callable]] = [
    (1, "violation", repeated_at_site),
    (1, "retried-upload", uploaded_again),
    (1, "returned-and-resold", returned_and_resold),
    (1, "split-pack", split_pack),
    (2, "violation", repeated_far_away),
    (5, "violation", other_product),
]
