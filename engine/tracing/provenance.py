"""Of each standing sale: does the code name the drug that was billed, was it valid, and where did the site get it?"""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.events import Events, id_of
from engine.tracing.travel import with_group


def sale_flags(
    events: Events,
    sites: pl.DataFrame,
    above: pl.DataFrame,
    drug_identifiers: pl.DataFrame,
    tolerance_minutes: int = 10,
) -> pl.DataFrame:
    """One row per standing sale, in their order: row and the answers below as numbers (1 yes, 0 no).

    unknown_identifier: the table of identifiers does not know the code's; then nothing is said of a mismatch
    mismatched:         no row of the identifier, of whatever date, names the billed list code
    late_mapped:        a row does, but all such rows are dated after the sale
    crossed:            mismatched, and in the settlement a code of the billed drug was scanned for the drug of this one
    same_drug:          mismatched, but by specification, pack or maker alone
    expired_days:       days the sale was after the last day of validity, null where not expired
    lot_differs:        the code was supplied under other lots only
    unsupplied:         no purchase or opening stock of the code or a parent pack at the site (any site the sale was
                        told for, or any that the person got the code from by one prescription) or one of its
                        chain, up to the sale plus the tolerance
    supplied_later:     unsupplied, but supplied there after the sale
    made_later_days:    days the production date is after the day of sale, null where it is not or is blank
    made_earlier:       made later by what the sale says, but not by what a supply of the code says
    """
    sales = events.sales
    dates = events.rows.select("manu_lotnum", "manu_date", "expy_end", "event_time")[sales["row"]]
    day = pl.col("event_time").dt.date()
    over = (day - pl.col("expy_end")).dt.total_days()
    before = (pl.col("manu_date") - day).dt.total_days()
    told = sales.select("row", "key", "doc", "ident", "item", "time")
    flags = pl.concat([told, dates.drop("event_time").with_columns(
        dates.select(
            lot=id_of("manu_lotnum"),
            expired_days=pl.when(over > 0).then(over),
            made_later_days=pl.when(before > 0).then(before),
        )
    )], how="horizontal")  # fmt: skip
    flags = _identity(flags, drug_identifiers)
    flags = flags.with_columns(**_misunderstood(flags, events, drug_identifiers), made_earlier=_made(flags, events))
    flags = flags.join(_lots(flags, events), on="row", how="left", maintain_order="left")
    flags = flags.join(_supply(events, sites, above, tolerance_minutes), on="row", how="left", maintain_order="left")
    answers = ["unknown_identifier", "mismatched", "late_mapped", "crossed", "same_drug", "lot_differs", "unsupplied",
               "supplied_later", "made_earlier"]  # fmt: skip
    return flags.select(
        "row", *(pl.col(name).fill_null(False).cast(pl.Int64) for name in answers), "expired_days", "made_later_days"
    )


def _identity(flags: pl.DataFrame, drug_identifiers: pl.DataFrame) -> pl.DataFrame:
    pairs = _pairs(with_fields(drug_identifiers, "drug_identifiers", "valid_from"), "valid_from")
    known = flags.join(pairs, on="ident", how="semi")["ident"].unique()
    since = pairs.group_by("ident", "item").agg(
        named=pl.lit(True), since=pl.col("valid_from").min(), open=pl.col("valid_from").is_null().any()
    )
    flags = flags.join(since, on=["ident", "item"], how="left", maintain_order="left")
    is_known = pl.col("ident").is_in(known.implode()).fill_null(False)
    late = ~pl.col("open") & (pl.col("since") > pl.col("time").dt.date())
    return flags.with_columns(
        unknown_identifier=~is_known,
        mismatched=is_known & pl.col("named").is_null() & pl.col("item").is_not_null(),
        late_mapped=late,
    )


def _pairs(drug_identifiers: pl.DataFrame, *fields: str) -> pl.DataFrame:
    """Which identifier names which list code."""
    ident = pl.col("ident7").str.strip_chars().cast(pl.UInt64, strict=False)
    return drug_identifiers.select(*fields, ident=ident, item=id_of("med_list_codg"))


def _misunderstood(flags: pl.DataFrame, events: Events, drug_identifiers: pl.DataFrame) -> dict[str, pl.Series]:
    """`crossed` and `same_drug` of the mismatched sales."""
    wrong = flags.filter("mismatched").select("row", "doc", "ident", "item")
    wrong = wrong.with_columns(events.rows["med_list_codg"].gather(wrong["row"]))
    pairs = _pairs(drug_identifiers, "med_list_codg").rename({"item": "named", "med_list_codg": "named_codg"})
    named = wrong.join(pairs, on="ident")
    other_way = named.select("doc", item="named", named="item")
    crossed = named.join(other_way, on=["doc", "item", "named"], how="semi")["row"]
    same = named.filter(_drug("med_list_codg") == _drug("named_codg"))["row"]
    return {name: flags["row"].is_in(rows.implode()) for name, rows in (("crossed", crossed), ("same_drug", same))}


def _drug(column: str) -> pl.Expr:
    """A list code without its last nine digits: specification (2), pack (2) and maker (5)."""
    return pl.when(pl.col(column).str.len_chars() >= 20).then(pl.col(column).str.head(-9))


def _made(flags: pl.DataFrame, events: Events) -> pl.Series:
    """Whether a supply of the code says it was made by the day of the sale."""
    later = flags.filter(pl.col("made_later_days").is_not_null()).select("row", "key", day=pl.col("time").dt.date())
    told = events.supplies.select("row", "key").filter(pl.col("key").is_in(later["key"].implode()))
    told = told.select("key", made=events.rows["manu_date"].gather(told["row"]))
    made = later.join(told, on="key").filter(pl.col("made") <= pl.col("day"))
    return flags["row"].is_in(made["row"].implode())


def _lots(flags: pl.DataFrame, events: Events) -> pl.DataFrame:
    """Sales whose code was supplied under lots none of which is the lot of the sale, however it is typed."""
    supplies = events.supplies.filter(pl.col("lot").is_not_null())
    told = supplies.select("key", "lot").unique()
    sold = flags.select("row", "key", "lot").drop_nulls("lot")
    differing = sold.join(told, on="key", how="semi").join(told, on=["key", "lot"], how="anti")
    supplies = supplies.filter(pl.col("key").is_in(differing["key"].unique().implode()))
    typed = [frame.select("row", "key", lot=_typed_lot(events.rows["manu_lotnum"].gather(frame["row"])))
             for frame in (differing, supplies)]  # fmt: skip
    return typed[0].join(typed[1], on=["key", "lot"], how="anti").select("row", lot_differs=pl.lit(True))


def _typed_lot(lots: pl.Series) -> pl.Series:
    """Lots in one dress: full width, case, blanks and dashes are how somebody typed."""
    return lots.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"[\s\-‐-―_]", "")


def _supply(events: Events, sites: pl.DataFrame, above: pl.DataFrame, tolerance_minutes: int) -> pl.DataFrame:
    """Sales with `unsupplied` and `supplied_later`."""
    places = with_group(events.supplies, sites).group_by("key", "group").agg(supplied=pl.col("time").min())
    uploads = with_group(events.uploads.join(events.sales.select(event="row"), on="event", how="semi"), sites)
    fetched = uploads.join(_of_one_prescription(events), on="event").with_columns(event="other").select(uploads.columns)
    uploads = pl.concat([uploads, fetched])
    of_parents = uploads.join(above, on="key").with_columns(key="ancestor").select(uploads.columns)
    tellings = pl.concat([uploads, of_parents]).join(places, on=["key", "group"], how="left")
    first = tellings.group_by(row="event").agg(pl.col("supplied").min())
    sold = events.sales.select("row", "time").join(first, on="row", how="left", maintain_order="left")
    by = pl.col("time") + pl.duration(minutes=tolerance_minutes)
    return sold.select(
        "row",
        unsupplied=pl.col("supplied").is_null() | (pl.col("supplied") > by),
        supplied_later=pl.col("supplied") > by,
    )


def _of_one_prescription(events: Events) -> pl.DataFrame:
    """Pairs of standing sales (event, other) of one code to one person by one prescription: hospital and pharmacy may
    each tell of the box that the pharmacy alone had."""
    often = events.sales.filter(pl.col("key").is_duplicated(), pl.col("person").is_not_null())
    often = often.select("row", "key", "person").with_columns(events.rows["rxno"].gather(often["row"]))
    often = often.drop_nulls("rxno")
    pairs = often.join(often, on=["key", "person", "rxno"], suffix="_other").filter(
        pl.col("row") != pl.col("row_other")
    )
    return pairs.select(event="row", other="row_other")
