"""The stock of a lot: what was counted against what purchases, sales, returns and transfers let expect."""

from collections.abc import Callable

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keyed, normalise
from engine.tracing.events import FIELDS, MOVES, UNIT, Cancelled, id_of, is_back, standing
from engine.tracing.evidence import Facts, quantity
from engine.tracing.facts import Bucket
from engine.tracing.ledger import LOT, booked, told_counts
from engine.tracing.packs import identifiers
from engine.tracing.travel import with_group
from engine.tracing.words import FACTS

_KINDS = ("opening", "purchased", "sold", "returned")
_COUNT_KEYS = ("event_id", "move_id", "balance_id")  # where a count stands: trace_codes, stock_moves, stock_balances


def lot_facts(
    bucket: Bucket,
    others: pl.DataFrame | None = None,
    stock_moves: pl.DataFrame | None = None,
    stock_balances: pl.DataFrame | None = None,
) -> Facts:
    """One row per lot of a list code that a site counted, with what its purchases, sales and returns let expect.

    `bucket` holds all events of the sites in it, or the others are summed up in `others` (lot_sums). A sale or return
    told by both channels counts once; without a usable code it counts as the settlement told it. A parent pack bought
    with packs that lie in it counts through these. Stock before the last count is an earlier count of the lot, or the
    codes listed as opening stock; movements are those after the earlier count and up to the last. `stock_moves` add
    what codes do not tell: goods sent back to the supplier, transfers, and the purchases of a lot none of whose
    purchases was told with codes; and they and `stock_balances` the counts of lots that trace_codes do not count, if
    all that came and some of what went is among the events.

    `events` holds the last count alone, with the fields it has.
    """
    moves = lot_moves(bucket)
    counts = lot_counts(moves.filter(pl.col("what") == "counted"), stock_moves, stock_balances).with_row_index("case")
    sums = lot_sums(moves, counts)
    if others is not None:
        sums = pl.concat([sums, others.select(sums.columns)]).group_by(LOT).sum()
    cases = counts.join(sums, on=LOT, how="left", nulls_equal=True, maintain_order="left").with_columns(
        pl.col(*_KINDS, "split_sales").fill_null(0)
    )
    cases = cases.join(booked(stock_moves, counts), on=LOT, how="left", nulls_equal=True, maintain_order="left")
    cases = cases.with_columns(pl.col("bought", "sent_back", "transferred").fill_null(0))
    # A ledger counts what left without a code too; its counts close only lots that came and went in events.
    in_events = (pl.col("purchased") > 0) & (pl.col("purchased") >= pl.col("bought")) & (pl.col("sold") > 0)
    cases = cases.filter(pl.col("event_id").is_not_null() | in_events)
    cases = cases.with_columns(
        opening=pl.col("opening") + pl.col("before"),
        purchased=pl.when(pl.col("purchased") > 0).then("purchased").otherwise("bought"),
        counted="units",
    )
    came = pl.col("opening") + pl.col("purchased") - pl.col("sent_back") + pl.col("transferred")
    cases = cases.with_columns(difference=pl.col("counted") - came + pl.col("sold") - pl.col("returned"))
    cases = _in_chain(cases, bucket.sites)
    amounts = map(quantity, (*_KINDS, "sent_back", "transferred", "counted", "difference", "chain_difference"))
    events = counts.select("case", *_COUNT_KEYS, "time", "fixmedins_code", "med_list_codg", quantity("units"))
    return Facts(cases.with_columns(amounts).select("case", *FACTS["lot"]), events, lambda chosen: chosen)


def _in_chain(cases: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Lots with `in_chain`, and the difference over all counts of the lot in a chain of which several sites counted."""
    cases = with_group(cases.with_columns(site=id_of("fixmedins_code")), sites)
    lot = ["group", "med_list_codg", "manu_lotnum"]
    several = pl.len().over(lot) > 1
    return cases.with_columns(
        in_chain=(pl.col("group") != pl.col("site")).cast(pl.Int64),
        chain_difference=pl.when(several).then(pl.col("difference").sum().over(lot)),
    )


def lot_counts(
    counted: pl.DataFrame, stock_moves: pl.DataFrame | None = None, stock_balances: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The last count of each lot, in order of lots: where it stands (event_id, move_id or balance_id), time, units,
    `since` and `before` of an earlier count. A lot that trace_codes count is counted by these alone."""
    told = told_counts(stock_moves, stock_balances).join(counted, on=LOT, how="anti", nulls_equal=True)
    counts = pl.concat([counted.select("event_id", *LOT, "time", "units"), told], how="diagonal")
    counts = counts.sort(*LOT, "time", *_COUNT_KEYS, nulls_last=True)
    return counts.group_by(LOT, maintain_order=True).agg(
        pl.col(*_COUNT_KEYS, "time", "units").last(),
        since=pl.col("time").unique().sort().shift(1).last(),
        before=pl.col("units").filter(pl.col("time") < pl.col("time").max()).last().fill_null(0),
    )


def lot_sums(moves: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """What moved of each counted lot between its counts, by kind, in ten-thousandths of a unit, and its split sales."""
    moved = moves.filter(pl.col("what") != "counted").join(
        counts.select("since", *LOT, until="time"), on=LOT, nulls_equal=True
    )
    moved = moved.filter((pl.col("time") <= pl.col("until")) & (pl.col("time") > pl.col("since")).fill_null(True))
    return moved.group_by(LOT).agg(
        *(pl.col("units").filter(pl.col("what") == kind).sum().alias(kind) for kind in _KINDS),
        split_sales=pl.col("split").sum().cast(pl.Int64),
    )


def counted_rows(trace_codes: pl.DataFrame) -> pl.DataFrame:
    """The counts of lots among the rows of trace_codes, as `lot_counts` takes them."""
    rows = trace_codes.filter(
        (pl.col("event_type") == "stocktake") & pl.col("manu_lotnum").is_not_null(),
        normalise(pl.col("drug_trac_codg")).is_null(),
    )
    return rows.select("event_id", *LOT, time="event_time", units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64))


def plain_moves(trace_codes: pl.DataFrame, drug_identifiers: pl.DataFrame, cancelled: Cancelled | None) -> pl.DataFrame:
    """Movements of lots by rows none of whose codes was sold, returned or supplied a second time or lies in another
    pack: each stands as it is, unless its settlement was cancelled."""
    rows = keyed(with_fields(trace_codes, "trace_codes", *FIELDS)).with_row_index("row")
    rows = rows.with_columns(units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64))
    stand = standing(rows.filter(pl.col("code_key").is_not_null() & pl.col("event_type").is_in(MOVES)), cancelled)
    told = stand.select("row", back=is_back(), told_units=pl.col("units").abs())
    return _moves_of(rows, told, identifiers(drug_identifiers), lambda supplied: supplied)


def lot_moves(bucket: Bucket) -> pl.DataFrame:
    told = bucket.events.told.select("row", "back", told_units="units")
    packs = identifiers(bucket.drug_identifiers)
    return _moves_of(
        bucket.events.rows,
        told,
        packs,
        lambda supplied: _without_opened_parents(_supplied_once(supplied), bucket.above),
    )


def _moves_of(
    rows: pl.DataFrame, told: pl.DataFrame, packs: pl.DataFrame, counting: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """Every movement of a lot: the lot, what it was (opening, purchased, sold, returned, counted), units, time.

    `told`: row, back and told_units of the sales and returns that count; `counting`: the supplies that count, of all.
    """
    rows = rows.filter(pl.col("manu_lotnum").is_not_null())
    kept = ["row", *LOT, "event_id", "setl_id", "psn_no", "code", "split", "units", "what", "key", "content"]
    rows = rows.join(packs.select("ident", content="whole"), on="ident", how="left", maintain_order="left")
    rows = rows.with_columns(
        pl.col("content").fill_null(UNIT), key="code_key", split=(pl.col("trdn_flag") == "1").fill_null(False)
    )
    coded = pl.col("code").is_not_null()
    stock = {"purchase": "purchased", "stocktake": "opening"}
    supplied = rows.filter(pl.col("event_type").is_in(list(stock)) & (coded | (pl.col("event_type") == "purchase")))
    supplied = counting(supplied).with_columns(
        units=pl.col("units") * pl.col("content") // UNIT, what=pl.col("event_type").replace_strict(stock)
    )
    counted = rows.filter((pl.col("event_type") == "stocktake") & ~coded).with_columns(what=pl.lit("counted"))
    unusable = pl.col("code_key").is_null() & (pl.col("source").fill_null("settlement") == "settlement")
    unusable &= pl.col("event_type").is_in(MOVES)
    sold = rows.join(told, on="row", how="left").filter(pl.col("back").is_not_null() | unusable)
    back = pl.col("back").fill_null(is_back())
    sold = sold.with_columns(
        units=pl.coalesce("told_units", pl.col("units").abs()),
        what=pl.when(back).then(pl.lit("returned")).otherwise(pl.lit("sold")),
        split=pl.col("split") & ~back,
    )
    return pl.concat([frame.select(*kept, time="event_time") for frame in (supplied, counted, sold)])


def _supplied_once(supplied: pl.DataFrame) -> pl.DataFrame:
    """Supplies with each code at a site once, by its first purchase or listing: later ones are retries or counts."""
    usable = pl.col("code_key").is_not_null()
    coded = supplied.filter(usable).sort("event_time", "event_id")
    first = coded.unique(["fixmedins_code", "code_key"], keep="first", maintain_order=True)
    return pl.concat([supplied.filter(~usable), first])


def _without_opened_parents(supplied: pl.DataFrame, above: pl.DataFrame) -> pl.DataFrame:
    opened = supplied.join(above, left_on="code_key", right_on="key").select("fixmedins_code", code_key="ancestor")
    return supplied.join(opened.unique(), on=["fixmedins_code", "code_key"], how="anti")
