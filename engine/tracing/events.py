"""Which sales stand: uploads told once, returns netted, and where each code was supplied.

Everything here works on numbers: codes by their 64-bit key; sites, persons, settlements and fee lines by a 64-bit hash
of their text; quantities in ten-thousandths of a unit. `row` leads back to the texts of the source row. Only codes that
were sold more than once, or returned, are sorted and resolved; a code sold once stands as it is.
"""

from dataclasses import dataclass

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keyed

UNIT = 10_000  # quantities have four decimals
FIELDS = (
    "source", "psn_no", "setl_id", "feedetl_sn", "med_list_codg", "trdn_flag", "cnt", "manu_lotnum", "manu_date",
    "expy_end",
)  # fmt: skip


@dataclass(frozen=True)
class Events:
    """The events of one bucket of codes.

    rows:     the source rows with `row`, `code`, `code_class`, `code_key`, `ident`, `units`
    told:     one row per sale or return (`back`) with a usable code, before returns are netted: row, back, units, …
    uploads:  every sale row with a usable code and its `event` (row of the sale that stands for it)
    sales:    one row per sale that stands after returns: row, key, ident, site, doc, person, line, item, time, units,
              split; those of one code stand together in order of time and event_id
    supplies: purchases and stocktakes of codes: row, key, site, time, lot
    """

    rows: pl.DataFrame
    told: pl.DataFrame
    uploads: pl.DataFrame
    sales: pl.DataFrame
    supplies: pl.DataFrame


def id_of(column: str) -> pl.Expr:
    """A text as a number that stands for it in comparisons; null stays null."""
    return pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash(0))


def read_events(trace_codes: pl.DataFrame, cancelled: pl.Series | None = None) -> Events:
    """The events of a frame `trace_codes`; sales of the settlements in `cancelled` (setl_id) do not count."""
    rows = keyed(with_fields(trace_codes, "trace_codes", *FIELDS)).with_row_index("row")
    rows = rows.with_columns(units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64))
    usable = pl.col("code_key").is_not_null()
    moves = rows.lazy().filter(usable & pl.col("event_type").is_in(["sale", "return"]))
    if cancelled is not None:
        moves = moves.filter(~pl.col("setl_id").is_in(cancelled.implode()) | pl.col("setl_id").is_null())
    moves = _numbers(moves).collect().with_columns(several=pl.col("key").is_duplicated())
    once = moves.filter(~pl.col("several")).drop("several")
    told, tellings = _told_once(moves.filter("several").drop("several"))
    sold = pl.concat([once.filter(~pl.col("back")), _netted(told)]).drop("back", "named", "event_id")
    uploads = pl.concat([once.filter(~pl.col("back")).select("key", "row", "site", event="row"), tellings])
    supplies = rows.lazy().filter(usable & pl.col("event_type").is_in(["purchase", "stocktake"]))
    supplies = supplies.select(
        "row", key="code_key", site=id_of("fixmedins_code"), time="event_time", lot=id_of("manu_lotnum")
    )
    return Events(rows, pl.concat([once, told]), uploads, sold, supplies.collect())


def _numbers(moves: pl.LazyFrame) -> pl.LazyFrame:
    """Sales and returns as numbers. `doc` is what an event is known by: settlement, fee line, or site, time, person."""
    negative = pl.col("units") < 0
    doc = pl.coalesce(
        id_of("setl_id"), id_of("feedetl_sn"), pl.struct("fixmedins_code", "event_time", "psn_no").hash(0)
    )
    return moves.select(
        "row",
        "ident",
        "event_id",
        key="code_key",
        back=(pl.col("event_type") == "return") ^ negative,
        doc=doc,
        named=pl.col("setl_id").is_not_null(),
        line=id_of("feedetl_sn"),
        site=id_of("fixmedins_code"),
        person=id_of("psn_no"),
        item=id_of("med_list_codg"),
        time="event_time",
        ledger=pl.col("source") == "sales_ledger",
        units=pl.col("units").abs(),
        split=pl.col("trdn_flag") == "1",
    )


def _told_once(moves: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row per sale or return, and which sale every sale row tells of.

    One code in one settlement is one sale, whatever channel, site or retry told it. The earliest telling stands for
    it, of those with a fee line if there are any.
    """
    event = ["key", "back", "doc"]
    again = pl.struct(event).is_duplicated()
    once = moves.filter(~again)
    several = moves.filter(again).sort(*event, pl.col("line").is_null(), "time", "ledger", "event_id")
    first = several.group_by(event, maintain_order=True).agg(
        pl.col("person").drop_nulls().first(),
        pl.col("split").any(),
        pl.exclude(*event, "person", "split", "units").first(),
    )
    told = first.join(_units_told(several), on=event, how="left").select(moves.columns)
    tellings = several.select(*event, "row", "site").join(first.select(*event, event="row"), on=event)
    single = once.filter(~pl.col("back")).select("key", "row", "site", event="row")
    uploads = pl.concat([single, tellings.filter(~pl.col("back")).select(single.columns)])
    return _no_more_than_sold(pl.concat([once, told])), uploads


def _units_told(several: pl.DataFrame) -> pl.DataFrame:
    """The units of events told several times.

    A sale has the units of its fee lines, each once; a telling without a fee line adds nothing to one with. Returns add
    up, because parts may come back one by one.
    """
    event, lined = ["key", "back", "doc"], pl.col("line").is_not_null()
    per_line = several.filter(~pl.col("back")).group_by(*event, "line").agg(pl.col("units").max())
    of_lines = pl.col("units").filter(lined).sum()
    sold = per_line.group_by(event).agg(units=pl.when(lined.any()).then(of_lines).otherwise(pl.col("units").max()))
    returned = several.filter("back").group_by(event).agg(pl.col("units").sum())
    return pl.concat([sold, returned])


def _no_more_than_sold(told: pl.DataFrame) -> pl.DataFrame:
    """Sales and returns, no return being more than the sale of the settlement it names."""
    pair = ["key", "doc"]
    returns = told.filter(pl.col("back") & pl.col("named"))
    sold = told.filter(~pl.col("back") & pl.col("named")).join(returns, on=pair, how="semi")
    returns = returns.join(sold.select(*pair, sold="units"), on=pair, how="left")
    returns = returns.with_columns(units=pl.min_horizontal("units", "sold")).select(told.columns)
    return pl.concat([told.filter(~(pl.col("back") & pl.col("named"))), returns])


def _netted(told: pl.DataFrame) -> pl.DataFrame:
    """The sales that stand, with the units that stand, in order of key, time and event_id."""
    touched = told["key"].is_in(told.filter("back")["key"].unique().implode())
    stand = pl.concat([told.filter(~touched), _latest_first(_by_name(told.filter(touched)))])
    return stand.sort("key", "time", "event_id")


def _by_name(moves: pl.DataFrame) -> pl.DataFrame:
    """Sales and returns less what each return takes from the sale of the settlement it names."""
    pair = ["key", "doc"]
    named = moves.filter("named")
    # A return is never more than the sale it names, so it takes as much of that sale as it takes of itself.
    returns = named.filter("back").select(*pair, taken="units")
    taken = returns.join(named.filter(~pl.col("back")), on=pair, how="semi")
    less = pl.when("named").then(pl.col("taken")).fill_null(0)
    left = moves.join(taken, on=pair, how="left", maintain_order="left").with_columns(units=pl.col("units") - less)
    return left.filter(pl.col("units") > 0).drop("taken")


def _latest_first(moves: pl.DataFrame) -> pl.DataFrame:
    """Sales less what the returns of the code at their site take, latest earlier sale first.

    The balance of a (code, site) rises with a sale and falls with a return, never below none sold. A sale fills the
    levels from the balance before it to the balance after it; what stands of it is what no later balance undercuts.
    """
    pack = ["key", "site"]
    step = pl.when("back").then(-pl.col("units")).otherwise("units")
    walk = moves.sort(*pack, "time", "back", "event_id").with_columns(run=step.cum_sum().over(pack))
    walk = walk.with_columns(balance=pl.col("run") - pl.min_horizontal(pl.col("run").cum_min().over(pack), 0))
    lowest = pl.col("balance").cum_min(reverse=True).over(pack)
    stands = (lowest - (pl.col("balance") - pl.col("units"))).clip(0)
    walk = walk.with_columns(units=pl.min_horizontal(stands, "units"))
    return walk.filter(~pl.col("back") & (pl.col("units") > 0)).select(moves.columns)
