"""What the stock ledger of a site says of its lots beside codes: movements, counts and expiry dates.

`stock_moves` name the lot themselves. `stock_balances` name an item of a store; where all movements of such an item at
a site are of one drug and one lot, its balances are those of this lot, and otherwise they say nothing of lots (the
stock of whole items is judged by rules over items of stores).
"""

import polars as pl

from engine.tables.dictionary import table, with_fields
from engine.tracing.events import UNIT

LOT = ["fixmedins_code", "med_list_codg", "manu_lotnum"]
_BOOKED = {  # what a movement adds to, and with which sign
    "purchase": ("bought", 1), "purchase_return": ("sent_back", 1), "transfer_in": ("transferred", 1),
    "transfer_out": ("transferred", -1),
}  # fmt: skip
_WORDS = ("bought", "sent_back", "transferred")
_ITEM = ["fixmedins_code", "item_store_id"]


def booked(stock_moves: pl.DataFrame | None, counts: pl.DataFrame) -> pl.DataFrame:
    """What movements say of each counted lot between its counts: `bought`, `sent_back`, `transferred` (in less out),
    in ten-thousandths of the smallest unit. `counts`: LOT, time, and since where there is an earlier count."""
    moved = ledger_moves(stock_moves).join(counts.select("since", *LOT, until="time"), on=LOT, nulls_equal=True)
    moved = moved.filter((pl.col("time") <= pl.col("until")) & (pl.col("time") > pl.col("since")).fill_null(True))
    return moved.group_by(LOT).agg(pl.col("units").filter(pl.col("what") == word).sum().alias(word) for word in _WORDS)


def ledger_moves(stock_moves: pl.DataFrame | None) -> pl.DataFrame:
    """Movements of lots: LOT, move_id, time, what (bought, sent_back, transferred), units in ten-thousandths."""
    moves = _with_units(stock_moves).filter(pl.col("move_type").is_in(list(_BOOKED)))
    sign = {name: sign for name, (_, sign) in _BOOKED.items()}
    what = {name: word for name, (word, _) in _BOOKED.items()}
    return moves.select(
        *LOT,
        "move_id",
        time="move_time",
        units=pl.col("units").abs() * pl.col("move_type").replace_strict(sign, return_dtype=pl.Int64),
        what=pl.col("move_type").replace_strict(what, return_dtype=pl.String),
    )


def told_counts(stock_moves: pl.DataFrame | None, stock_balances: pl.DataFrame | None) -> pl.DataFrame:
    """Counts of lots: LOT, time, units in ten-thousandths, and where they stand: move_id or balance_id.

    A lot that lies in several stores is counted on the days on which all of them were; the last of these counts stands
    for them. An opening balance is a count at the beginning of its first day, a closing one at the end of its last.
    """
    counts = _with_units(stock_moves).filter(
        pl.col("move_type") == "stocktake", pl.col("manu_lotnum").is_not_null(), pl.col("cnt") >= 0
    )
    counts = counts.select(*LOT, "store_id", "move_id", "units", time="move_time")
    counts = pl.concat([counts, _balances(stock_moves, stock_balances)], how="diagonal")
    store = pl.col("store_id").fill_null("")
    counts = counts.sort("time", "move_id", "balance_id", nulls_last=True).with_columns(day=pl.col("time").dt.date())
    last = counts.unique([*LOT, "store_id", "day"], keep="last", maintain_order=True)
    last = last.with_columns(stores=store.n_unique().over(LOT))
    days = last.group_by(*LOT, "day", maintain_order=True).agg(
        pl.col("time", "move_id", "balance_id").last(),
        pl.col("units").sum(),
        all_stores=store.n_unique() == pl.col("stores").first(),
    )
    return days.filter("all_stores").select(*LOT, "time", "units", "move_id", "balance_id")


def expiries(stock_moves: pl.DataFrame | None) -> pl.DataFrame:
    """The last day of validity of lots: LOT and expy_end. Of several dates the latest, which favours the site."""
    moves = _frame("stock_moves", stock_moves).drop_nulls([*LOT, "expy_end"])
    return moves.group_by(LOT).agg(pl.col("expy_end").max())


def with_expiries(trace_codes: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Events with the last day of validity the ledger knows of their lot, where they say none themselves."""
    if known.is_empty():
        return trace_codes
    events = with_fields(trace_codes, "trace_codes", "expy_end", "manu_lotnum", "med_list_codg")
    events = events.join(known.rename({"expy_end": "_told"}), on=LOT, how="left", maintain_order="left")
    return events.with_columns(pl.coalesce("expy_end", "_told").alias("expy_end")).drop("_told")


def _balances(stock_moves: pl.DataFrame | None, stock_balances: pl.DataFrame | None) -> pl.DataFrame:
    """Balances of store items that are one lot each, as counts."""
    items = _frame("stock_moves", stock_moves).drop_nulls("item_store_id").group_by(_ITEM).agg(
        pl.col("med_list_codg", "manu_lotnum").first(),
        lots=pl.struct("med_list_codg", "manu_lotnum").n_unique(),
    )  # fmt: skip
    items = items.filter(pl.col("lots") == 1).drop_nulls(["med_list_codg", "manu_lotnum"])
    balances = _frame("stock_balances", stock_balances).join(items, on=_ITEM)
    key = pl.concat_str("fixmedins_code", "store_id", "item_store_id", "begndate", separator="|", ignore_nulls=True)
    begins = pl.col("begndate").cast(pl.Datetime("us"))
    ends = pl.col("enddate").cast(pl.Datetime("us")) + pl.duration(hours=23, minutes=59, seconds=59)
    told = [
        balances.select(*LOT, "store_id", time=time, units=(pl.col(units) * UNIT).cast(pl.Int64), balance_id=key)
        for time, units in ((begins, "opening_cnt"), (ends, "closing_cnt"))
    ]
    return pl.concat(told)


def _with_units(stock_moves: pl.DataFrame | None) -> pl.DataFrame:
    units = (pl.col("cnt") * pl.col("conv_ratio").fill_null(1) * UNIT).cast(pl.Int64)
    return _frame("stock_moves", stock_moves).with_columns(units=units)


def _frame(name: str, frame: pl.DataFrame | None) -> pl.DataFrame:
    return table(name).schema.to_frame() if frame is None else with_fields(frame, name)
