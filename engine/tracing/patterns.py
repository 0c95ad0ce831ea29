"""What only shows over many codes: the stock of a lot, scans in a burst, the packs of one buyer."""

from collections.abc import Callable

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keyed, normalise
from engine.tracing.events import FIELDS, MOVES, UNIT, Cancelled, is_back, standing
from engine.tracing.evidence import Facts, quantity, suspect_fund
from engine.tracing.facts import Bucket, sales_of
from engine.tracing.packs import identifiers
from engine.tracing.words import FACTS

_LOT = ["fixmedins_code", "med_list_codg", "manu_lotnum"]
_KINDS = ("opening", "purchased", "sold", "returned")


def lot_facts(bucket: Bucket, others: pl.DataFrame | None = None) -> Facts:
    """One row per lot of a list code that a site counted, with what its purchases, sales and returns let expect.

    `bucket` holds all events of the sites in it, or the others are summed up in `others` (lot_sums). A sale or return
    told by both channels counts once; without a usable code it counts as the settlement told it. A parent pack bought
    with packs that lie in it counts through these. Stock before the last count is an earlier count of the lot, or the
    codes listed as opening stock; movements are those after the earlier count and up to the last. `events` holds the
    last count alone, with the fields it has.
    """
    moves = _lot_moves(bucket)
    counts = lot_counts(moves.filter(pl.col("what") == "counted")).with_row_index("case")
    sums = lot_sums(moves, counts)
    if others is not None:
        sums = pl.concat([sums, others.select(sums.columns)]).group_by(_LOT).sum()
    cases = counts.join(sums, on=_LOT, how="left", nulls_equal=True, maintain_order="left").with_columns(
        pl.col(*_KINDS, "split_sales").fill_null(0)
    )
    cases = cases.with_columns(opening=pl.col("opening") + pl.col("before"), counted="units")
    expected = pl.col("opening") + pl.col("purchased") - pl.col("sold") + pl.col("returned")
    cases = cases.with_columns(difference=pl.col("counted") - expected)
    amounts = map(quantity, (*_KINDS, "counted", "difference"))
    events = counts.select("case", "event_id", "time", "fixmedins_code", "med_list_codg", quantity("units"))
    return Facts(cases.with_columns(amounts).select("case", *FACTS["lot"]), events, lambda chosen: chosen)


def lot_counts(counted: pl.DataFrame) -> pl.DataFrame:
    """The last count of each lot, in order of lots: event_id, time, units, `since` and `before` of an earlier count."""
    counts = counted.sort(*_LOT, "time", "event_id")
    return counts.group_by(_LOT, maintain_order=True).agg(
        pl.col("event_id", "time", "units").last(),
        since=pl.col("time").unique().sort().shift(1).last(),
        before=pl.col("units").filter(pl.col("time") < pl.col("time").max()).last().fill_null(0),
    )


def lot_sums(moves: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """What moved of each counted lot between its counts, by kind, in ten-thousandths of a unit, and its split sales."""
    moved = moves.filter(pl.col("what") != "counted").join(
        counts.select("since", *_LOT, until="time"), on=_LOT, nulls_equal=True
    )
    moved = moved.filter((pl.col("time") <= pl.col("until")) & (pl.col("time") > pl.col("since")).fill_null(True))
    return moved.group_by(_LOT).agg(
        *(pl.col("units").filter(pl.col("what") == kind).sum().alias(kind) for kind in _KINDS),
        split_sales=pl.col("split").sum().cast(pl.Int64),
    )


def counted_rows(trace_codes: pl.DataFrame) -> pl.DataFrame:
    """The counts of lots among the rows of trace_codes, as `lot_counts` takes them."""
    rows = trace_codes.filter(
        (pl.col("event_type") == "stocktake") & pl.col("manu_lotnum").is_not_null(),
        normalise(pl.col("drug_trac_codg")).is_null(),
    )
    return rows.select("event_id", *_LOT, time="event_time", units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64))


def plain_moves(trace_codes: pl.DataFrame, drug_identifiers: pl.DataFrame, cancelled: Cancelled | None) -> pl.DataFrame:
    """Movements of lots by rows none of whose codes was sold, returned or supplied a second time or lies in another
    pack: each stands as it is, unless its settlement was cancelled."""
    rows = keyed(with_fields(trace_codes, "trace_codes", *FIELDS)).with_row_index("row")
    rows = rows.with_columns(units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64))
    stand = standing(rows.filter(pl.col("code_key").is_not_null() & pl.col("event_type").is_in(MOVES)), cancelled)
    told = stand.select("row", back=is_back(), told_units=pl.col("units").abs())
    return _moves_of(rows, told, identifiers(drug_identifiers), lambda supplied: supplied)


def _lot_moves(bucket: Bucket) -> pl.DataFrame:
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
    kept = ["row", *_LOT, "event_id", "split", "units", "what"]
    rows = rows.with_columns(split=(pl.col("trdn_flag") == "1").fill_null(False))
    content = packs.select("ident", pl.col("whole").fill_null(UNIT))
    coded = pl.col("code").is_not_null()
    stock = {"purchase": "purchased", "stocktake": "opening"}
    supplied = rows.filter(pl.col("event_type").is_in(list(stock)) & (coded | (pl.col("event_type") == "purchase")))
    supplied = counting(supplied).join(content, on="ident", how="left")
    supplied = supplied.with_columns(
        units=pl.col("units") * pl.col("whole").fill_null(UNIT) // UNIT, what=pl.col("event_type").replace_strict(stock)
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


def burst_facts(bucket: Bucket, *, within_seconds: int = 1) -> Facts:
    """One row per run of packs with consecutive serials sold at one site, each within some seconds of the one before.

    `bucket` holds all events of the sites in it. Runs of one pack are left out.
    """
    sales = bucket.sales.unique(["site", "key"], keep="first", maintain_order=True).sort("site", "key")
    # Keys are unsigned, so the one before plus one is compared, not a difference, which would wrap.
    follows = (
        (pl.col("site") == pl.col("site").shift(1))
        & (pl.col("key") == pl.col("key").shift(1) + 1)
        & ((pl.col("time") - pl.col("time").shift(1)).dt.total_microseconds().abs() <= within_seconds * 1_000_000)
    )
    sales = sales.with_columns(run=(~follows.fill_null(False)).cum_sum())
    sales = sales.filter(pl.col("run").is_duplicated())
    span = (pl.col("time").max() - pl.col("time").min()).dt.total_seconds()
    cases = sales.group_by("run", maintain_order=True).agg(
        pl.col("row").first(),
        codes=pl.len().cast(pl.Int64),
        persons=pl.col("person").drop_nulls().n_unique().cast(pl.Int64),
        settlements=pl.col("doc").n_unique().cast(pl.Int64),
        seconds=span,
        time=pl.col("time").min(),
    )
    texts = bucket.events.rows.select("fixmedins_code", first_code="code")[cases["row"]]
    cases = pl.concat([cases, texts], how="horizontal").sort("fixmedins_code", "first_code").with_row_index("case")
    own = sales.join(cases.select("case", "run"), on="run").with_columns(own_excess=pl.lit(0, pl.Int64))
    return Facts(cases.select("case", *FACTS["burst"]), sales_of(own), bucket.tell)


def resold_codes(codes: Facts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a bucket contributes to the facts of buyers: cases and events of the codes that were sold again, beyond
    their content, at a site outside the chain of the site before."""
    resold = pl.col("resale_site").is_not_null() & (pl.col("excess_units") > 0) & pl.col("first_person").is_not_null()
    cases = codes.cases.filter(resold)
    return cases.drop("case"), codes.events(cases["case"]).filter(pl.col("role") != "parent").drop("case")


def buyer_facts(resold: pl.DataFrame, events: pl.DataFrame) -> Facts:
    """One row per person who was the first buyer of codes that were sold again elsewhere.

    Takes the two frames of `resold_codes`, of all buckets put together. Events are the sales of these codes.
    """
    resold = resold.rename({"first_person": "psn_no"})
    at_site = resold.group_by("psn_no", "resale_site").agg(most_at_one_site=pl.len().cast(pl.Int64))
    cases = resold.group_by("psn_no").agg(
        codes=pl.len().cast(pl.Int64),
        first_sites=pl.col("first_site").n_unique().cast(pl.Int64),
        resale_sites=pl.col("resale_site").n_unique().cast(pl.Int64),
        suspect_fund=suspect_fund(),
    )
    cases = cases.join(at_site.group_by("psn_no").agg(pl.col("most_at_one_site").max()), on="psn_no")
    cases = cases.sort("psn_no").with_row_index("case")
    whose = resold.select("psn_no", "code").join(cases.select("case", "psn_no"), on="psn_no").select("case", "code")
    return Facts(cases.select("case", *FACTS["buyer"]), events.join(whose, on="code"), lambda chosen: chosen)
