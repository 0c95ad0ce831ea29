"""Codes planted among the packs sold, each scheme beside what looks like it and is honest.

Every function: (world, free, back, count) -> rows of `free` with their code changed, and `case`. free: the first pack
of every line (traces.py) that no case has used, shuffled; back: those of lines that were brought back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from synthetic.packs import NEW_PACK, PACK, as_purchase, boxed, ident7
from synthetic.world import World

FAR_DAYS = 20  # between two sales of one code at two places
CODE = ["drug_trac_codg", "manu_lotnum", "manu_date", "expy_end"]  # what a pack takes with it


def repeated_at_site(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """One code sold to two people at one place: something else went over the counter."""
    return _one_code(_groups(free, count, ["fixmedins_code"], 2))


def like_uploaded_again(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """The same sale sent a second time after a time-out."""
    return _each(free.head(count))


def like_returned_and_resold(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """A pack given back to the place that sold it, and sold there again."""
    return _resold(free, back, count, pl.col("fixmedins_code") == pl.col("fixmedins_code_first"))


def like_split_pack(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """One opened pack sold to three people by the piece, within what it holds."""
    return _one_code(_groups(free, count, ["fixmedins_code"], 3)).with_columns(pl.lit("1").alias("trdn_flag"))


def repeated_far_away(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """One code sold weeks apart at two places that are not of one chain: the pack came back into the trade."""
    rows = _groups(free, 12 * count, [], 2)
    gap = (pl.col("event_time").max() - pl.col("event_time").min()).over("case")
    far = rows.filter(gap >= pl.duration(days=FAR_DAYS), pl.col("owner").n_unique().over("case") == 2)
    far = far.with_columns(pl.col("case").rank("dense").cast(pl.Int64) - 1)
    return _one_code(far.filter(pl.col("case") < count))


def like_returned_and_sold_elsewhere(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """A pack given back, and weeks later sold at another place."""
    late = pl.col("event_time") > pl.col("returned_at_first") + pl.duration(days=FAR_DAYS)
    return _resold(free, back, count, late & (pl.col("fixmedins_code") != pl.col("fixmedins_code_first")))


def other_product(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """The code of another product scanned for what was billed."""
    items = boxed(world)["item"].to_list()
    return _renamed(_each(free.head(count)), {item: ident7(items[n - 1], PACK) for n, item in enumerate(items)})


def like_new_identifier(world: World, free: pl.DataFrame, back: pl.DataFrame, count: int) -> pl.DataFrame:
    """Another identifier of the same product: one medicine may have several."""
    return _renamed(_each(free.head(count)), {item: ident7(item, NEW_PACK) for item in boxed(world)["item"]})


@dataclass(frozen=True)
class Scheme:
    """One way codes give a sale away: the trace check it belongs to, what plants it, its look-alikes by family.

    also: further checks, or items of the list by number, that the same facts fail.
    """

    check: str
    plant: Callable
    lookalikes: dict[str, Callable]
    also: str = ""


SCHEMES = [
    Scheme("t01", repeated_at_site, {
        "retried-upload": like_uploaded_again, "returned-and-resold": like_returned_and_resold,
        "split-pack": like_split_pack}, "70"),
    Scheme("t02", repeated_far_away, {"returned-and-resold": like_returned_and_sold_elsewhere}, "t07|70"),
    Scheme("t05", other_product, {"new-identifier": like_new_identifier}, "t07|71"),
]  # fmt: skip


ON_TOP = [
    (like_uploaded_again, lambda rows: rows.with_columns(pl.col("event_time") + pl.duration(seconds=20))),
    (like_returned_and_sold_elsewhere, lambda rows: as_purchase(rows, pl.duration(days=3))),
    (like_new_identifier, lambda rows: as_purchase(rows, pl.duration(days=12))),
]  # events that a look-alike brings beside its sale


def plant_codes(world: World, packs: pl.DataFrame, count: int, first: int):
    """The packs with planted codes, the truth about them (by line and code), and the events that come on top.

    On top: sales sent twice, and purchases of what a look-alike sells under another code.
    """
    one_a_line = packs.unique("feedetl_sn", keep="first", maintain_order=True)
    free = one_a_line.filter(pl.col("returned_at").is_null())
    free = free[world.rng.permutation(free.height)]
    back = one_a_line.filter(pl.col("returned_at").is_not_null())
    changed, truths, on_top = [packs.clear()], [], [packs.clear()]
    for scheme in SCHEMES:
        for family, make in {"violation": scheme.plant, **scheme.lookalikes}.items():
            rows = make(world, free, back, count)
            free = free.filter(~pl.col("pack").is_in(rows["pack"].implode()))
            back = back.filter(~pl.col("drug_trac_codg").is_in(rows["drug_trac_codg"].implode()))
            changed.append(rows.select(packs.columns))
            truths.append(_truth(scheme, family, rows, first))
            on_top += [more(rows).select(packs.columns) for lookalike, more in ON_TOP if lookalike is make]
    new = pl.concat(changed)
    kept = packs.filter(~pl.col("pack").is_in(new["pack"].implode()))
    return pl.concat([kept, new]), pl.concat(truths), pl.concat(on_top)


def _truth(scheme: Scheme, family: str, rows: pl.DataFrame, first: int) -> pl.DataFrame:
    """Truth rows; at risk is one pack of every later sale of a code, or of the sale of a wrong one."""
    kind = "violation" if family == "violation" else "lookalike"
    prefix = f"{scheme.check.upper()}-V-" if kind == "violation" else f"{scheme.check.upper()}-L-{family}-"
    number = (pl.col("case") + first + 1).cast(pl.String).str.zfill(4)
    later = pl.int_range(pl.len()).over("case") >= pl.min_horizontal(1, pl.len().over("case") - 1)
    risk = pl.when(later).then(pl.col("amount") // pl.col("cnt_sold")).otherwise(0)
    return rows.select(
        pl.concat_str(pl.lit(prefix), number).alias("case"),
        pl.lit(family).alias("scheme"),
        pl.lit(None, pl.Int64).alias("rule_number"),
        pl.lit(scheme.check).alias("slug"),
        pl.lit(kind).alias("kind"),
        pl.lit(scheme.also if kind == "violation" else "").alias("also"),
        "setl_id",
        "feedetl_sn",
        "psn_no",
        risk.alias("amount_fen") if kind == "violation" else pl.lit(0, pl.Int64).alias("amount_fen"),
        "drug_trac_codg",
    )


def _each(rows: pl.DataFrame) -> pl.DataFrame:
    """Every row a case of its own."""
    return rows.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("case"))


def _groups(free: pl.DataFrame, count: int, same: list[str], members: int) -> pl.DataFrame:
    """Sales of one medicine to that many different people, alike in `same`: by case, the earliest first."""
    key = ["item", *same, "group"]
    rows = free.with_columns((pl.int_range(pl.len()).over("item", *same) // members).alias("group"))
    rows = rows.filter(pl.len().over(key) == members, pl.col("psn_no").n_unique().over(key) == members)
    chosen = _each(rows.select(key).unique(maintain_order=True).head(count))
    return rows.join(chosen, on=key, maintain_order="right").sort("case", "event_time", "pack").drop("group")


def _one_code(rows: pl.DataFrame) -> pl.DataFrame:
    """Every later sale of a case carries the code of its first, with lot and dates."""
    return rows.with_columns(pl.col(CODE).first().over("case"))


def _resold(free: pl.DataFrame, back: pl.DataFrame, count: int, where: pl.Expr) -> pl.DataFrame:
    """Sales of packs that somebody else had brought back before."""
    first = back.select("item", pl.col("fixmedins_code", "returned_at", "psn_no", *CODE).name.suffix("_first"))
    rows = free.join(first, on="item", maintain_order="left_right").filter(
        where, pl.col("event_time") > pl.col("returned_at_first"), pl.col("psn_no") != pl.col("psn_no_first")
    )
    rows = rows.unique("drug_trac_codg_first", keep="first", maintain_order=True)
    rows = rows.unique("pack", keep="first", maintain_order=True).head(count)
    return _each(rows.with_columns(pl.col(f"{name}_first").alias(name) for name in CODE))


def _renamed(rows: pl.DataFrame, prefix: dict[int, str]) -> pl.DataFrame:
    """The packs with other seven digits before their serial."""
    seven = pl.col("item").replace_strict(prefix, return_dtype=pl.String)
    return rows.with_columns(pl.concat_str(seven, pl.col("drug_trac_codg").str.slice(7)).alias("drug_trac_codg"))
