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
    "expy_end", "mdtrt_id", "rtal_docno", "drug_detail_id", "medins_prod_sel_no", "hi_feesetl_type", "mdtrt_setl_type",
    "rxno",
)  # fmt: skip
_PAPERS_OF = {"receipt": ["rtal_docno"], "detail": ["drug_detail_id"], "sale_no": ["medins_prod_sel_no"]}
_PAPERS = list(_PAPERS_OF)
MOVES = ["sale", "return", "void"]
TOLERANCE_MINUTES = 10  # between two clocks


@dataclass(frozen=True)
class Events:
    """The events of one bucket of codes.

    rows:     the source rows with `row`, `code`, `code_class`, `code_key`, `ident`, `units`, `self_pay`
    told:     one row per sale or return (`back`; a void too) with a usable code, before netting: row, back, units, …
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


@dataclass(frozen=True)
class Cancelled:
    """What was taken back as a whole: settlements (setl_id) and fee lines (feedetl_sn)."""

    settlements: pl.Series
    lines: pl.Series


def is_back() -> pl.Expr:
    """Whether a move takes back: a return or void, or a sale of less than nothing."""
    negative = (pl.col("event_type") == "return") ^ (pl.col("units") < 0)
    return (pl.col("event_type") == "void") | negative


def standing(moves, cancelled: Cancelled | None):
    """Moves without those of cancelled settlements and lines."""
    if cancelled is None:
        return moves
    for column, gone in (("setl_id", cancelled.settlements), ("feedetl_sn", cancelled.lines)):
        if len(gone):
            moves = moves.filter(~pl.col(column).is_in(gone.implode()) | pl.col(column).is_null())
    return moves


def self_pay() -> pl.Expr:
    """Whether a sale was paid by the person alone, by either of the two fields that say so."""
    said = (pl.col("hi_feesetl_type") == "0") | (pl.col("mdtrt_setl_type") == "2")
    return said.fill_null(False)


def read_events(
    trace_codes: pl.DataFrame, cancelled: Cancelled | None = None, tolerance_minutes: int = TOLERANCE_MINUTES
) -> Events:
    """The events of a frame `trace_codes`; sales of what is `cancelled` do not count."""
    rows = keyed(with_fields(trace_codes, "trace_codes", *FIELDS)).with_row_index("row")
    rows = rows.with_columns(units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64), self_pay=self_pay())
    usable = pl.col("code_key").is_not_null()
    moves = standing(rows.lazy().filter(usable & pl.col("event_type").is_in(MOVES)), cancelled)
    moves = _numbers(moves).collect().with_columns(several=pl.col("key").is_duplicated())
    once = moves.filter(~pl.col("several")).drop("several")
    told, tellings = _told_once(_one_paper(_of_one_day(moves.filter("several").drop("several"))))
    once, told = once.drop(*_PAPERS, "silent"), told.drop(*_PAPERS, "silent")
    sold = pl.concat([once.filter(~pl.col("back")), _netted(told, tolerance_minutes)])
    sold = sold.drop("back", "named", "event_id")
    uploads = pl.concat([once.filter(~pl.col("back")).select("key", "row", "site", event="row"), tellings])
    supplies = rows.lazy().filter(usable & pl.col("event_type").is_in(["purchase", "stocktake"]))
    supplies = supplies.select(
        "row", key="code_key", site=id_of("fixmedins_code"), time="event_time", lot=id_of("manu_lotnum")
    )
    return Events(rows, pl.concat([once, told]), uploads, sold, supplies.collect())


def _numbers(moves: pl.LazyFrame) -> pl.LazyFrame:
    """Sales and returns as numbers. `doc` is what an event is known by: settlement, fee line, or site, time, person.
    `receipt`, `detail` and `sale_no` are the papers of the site that may say the same. `silent` is a sale of the ledger
    that names no settlement and no fee line, and does not say that the person paid alone."""
    doc = pl.coalesce(
        id_of("setl_id"), id_of("feedetl_sn"), pl.struct("fixmedins_code", "event_time", "psn_no").hash(0)
    )
    return moves.select(
        "row",
        "ident",
        "event_id",
        key="code_key",
        back=is_back(),
        doc=doc,
        named=pl.col("setl_id").is_not_null(),
        **{
            name: pl.when(pl.all_horizontal(pl.col(*of).is_not_null())).then(pl.struct("fixmedins_code", *of).hash(0))
            for name, of in _PAPERS_OF.items()
        },
        line=id_of("feedetl_sn"),
        site=id_of("fixmedins_code"),
        person=id_of("psn_no"),
        item=id_of("med_list_codg"),
        time="event_time",
        ledger=pl.col("source") == "sales_ledger",
        silent=(pl.col("source") == "sales_ledger").fill_null(False)
        & ~is_back()
        & ~pl.col("self_pay")
        & pl.col("setl_id").is_null()
        & pl.col("feedetl_sn").is_null(),
        units=pl.col("units").abs(),
        split=pl.col("trdn_flag") == "1",
    )


def _of_one_day(moves: pl.DataFrame) -> pl.DataFrame:
    """Moves in which a silent sale of the ledger without any paper is that of the settlement that sold the code to the
    person on the day at the site: the ledger should name it, and tells of the same box."""
    silent = pl.col("silent") & pl.all_horizontal(pl.col(_PAPERS).is_null())
    if not moves.select(silent.any()).item():
        return moves
    sale = ["key", "site", "person", pl.col("time").dt.date()]
    settled = pl.col("doc").filter(~pl.col("back") & pl.col("named")).min().over(sale)
    settled = pl.when(pl.col("person").is_not_null()).then(settled)
    return moves.with_columns(doc=pl.when(silent).then(pl.coalesce(settled, "doc")).otherwise("doc"))


def _one_paper(moves: pl.DataFrame) -> pl.DataFrame:
    """Moves of codes with one `doc` for what one paper tells: a retail receipt, a line of it, a number of sales.

    Two uploads of one code that share a receipt are one sale, though the one knows its settlement and the other not;
    three papers bind together through one of them. A return is named when it shares any paper with a sale.
    """
    if all(moves[name].null_count() == moves.height for name in _PAPERS):
        return moves
    first = moves["doc"]
    for _ in range(len(_PAPERS)):
        for name in _PAPERS:
            least = pl.col("doc").min().over("key", name)
            moves = moves.with_columns(doc=pl.when(pl.col(name).is_not_null()).then(least).otherwise("doc"))
        moves = moves.with_columns(_first=first).with_columns(doc=pl.col("doc").min().over("key", "_first"))
    bound = pl.any_horizontal(pl.col(_PAPERS).is_not_null())
    return moves.with_columns(named=pl.col("named") | bound).drop("_first")


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


def _netted(told: pl.DataFrame, tolerance_minutes: int) -> pl.DataFrame:
    """The sales that stand, with the units that stand, in order of key, time and event_id."""
    touched = told["key"].is_in(told.filter("back")["key"].unique().implode())
    stand = pl.concat([told.filter(~touched), _latest_first(_by_name(told.filter(touched)), tolerance_minutes)])
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


def _latest_first(moves: pl.DataFrame, tolerance_minutes: int) -> pl.DataFrame:
    """Sales less what the returns of the code at their site take, latest earlier sale first.

    The balance of a (code, site) rises with a sale and falls with a return, never below none sold. A sale fills the
    levels from the balance before it to the balance after it; what stands of it is what no later balance undercuts.
    A return that finds nothing sold may have been told by a clock that is ahead: it is tried again that much later.
    """
    pack = ["key", "site"]
    walk = _balanced(moves.with_columns(at="time"), pack)
    before = pl.col("balance").shift(1).over(pack).fill_null(0)
    in_vain = pl.col("back") & (before < pl.col("units"))
    late = pl.col("time") + pl.duration(minutes=tolerance_minutes)
    walk = _balanced(walk.with_columns(at=pl.when(in_vain).then(late).otherwise("time")), pack)
    lowest = pl.col("balance").cum_min(reverse=True).over(pack)
    stands = (lowest - (pl.col("balance") - pl.col("units"))).clip(0)
    walk = walk.with_columns(units=pl.min_horizontal(stands, "units"))
    return walk.filter(~pl.col("back") & (pl.col("units") > 0)).select(moves.columns)


def _balanced(moves: pl.DataFrame, pack: list[str]) -> pl.DataFrame:
    step = pl.when("back").then(-pl.col("units")).otherwise("units")
    walk = moves.sort(*pack, "at", "back", "event_id").with_columns(run=step.cum_sum().over(pack))
    return walk.with_columns(balance=pl.col("run") - pl.min_horizontal(pl.col("run").cum_min().over(pack), 0))
