"""The book of a lot: all that came in against all that went out, for lots some of whose packs no code can follow.

Where every pack of a lot came and went under a code of its own, each pack is judged by itself (no purchase, repeats),
and its lot adds nothing. What is left for the book are sales without a usable code and purchases told by quantity.
A code sold again counts once here, up to the content of its pack: the repeat is another check's.
"""

from dataclasses import dataclass

import polars as pl

from engine.tables.dictionary import table
from engine.tracing.events import MOVES, Cancelled, id_of
from engine.tracing.evidence import Facts, quantity
from engine.tracing.facts import Bucket
from engine.tracing.ledger import LOT, ledger_moves, told_counts
from engine.tracing.stock import lot_counts, lot_moves, lot_sums, plain_moves
from engine.tracing.travel import with_group
from engine.tracing.words import FACTS

_SAID = ["event_id", "setl_id", "psn_no", "code"]
_FIRST = ["time", *_SAID]
_LAST = [f"{name}_last" for name in _FIRST]
_GROUP = ["group", "med_list_codg", "manu_lotnum"]
_SUPPLIES = ("opening", "purchased", "by_quantity", "counted")
_SUMS = ("opening", "purchased", "by_quantity", "sold", "uncoded", "split", "returned")
_LEDGER = ("bought", "sent_back", "transferred")


def book_rows(moves: pl.DataFrame) -> pl.DataFrame:
    """One row per lot and kind of movement: LOT, what, units in ten-thousandths, how many, and the first and the last
    of them (time, event_id and what the event says; the last with `_last`). Rows of some codes and rows of others add
    up (`added`), if all rows of a code are in the one or the other.

    Kinds: `opening` and `purchased` under codes, `by_quantity` purchased without, `sold` under codes, `uncoded` sold
    without a usable code (`split` of opened packs), `returned` without a usable code, and of the counts
    `counted` some, or `none_left`.
    """
    coded = pl.col("key").is_not_null()
    kind = (
        pl.when((pl.col("what") == "purchased") & ~coded).then(pl.lit("by_quantity"))
        .when((pl.col("what") == "sold") & ~coded & pl.col("split")).then(pl.lit("split"))
        .when((pl.col("what") == "sold") & ~coded).then(pl.lit("uncoded"))
        .when((pl.col("what") == "counted") & (pl.col("units") == 0)).then(pl.lit("none_left"))
        .otherwise("what")
    )  # fmt: skip
    # The code of a sale that can be followed is told by what follows it.
    moves = moves.with_columns(what=kind, code=pl.when(~coded).then("code"))
    packs = moves.filter(coded & pl.col("what").is_in(["sold", "returned"])).sort("time", "event_id")
    back = pl.col("what") == "returned"
    packs = packs.group_by(*LOT, "key").agg(
        pl.col(_FIRST).filter(~back).first(),
        units=pl.col("units").filter(~back).sum() - pl.col("units").filter(back).sum(),
        content=pl.col("content").first(),
    )
    packs = packs.filter(pl.col("units") > 0).with_columns(units=pl.min_horizontal("units", "content"))
    others = moves.filter(~(coded & pl.col("what").is_in(["sold", "returned"])))
    rows = pl.concat([
        others.select(*LOT, "what", "units", "time", *_SAID),
        packs.select(*LOT, pl.lit("sold").alias("what"), "units", "time", *_SAID),
    ])  # fmt: skip
    last = [pl.col(name).alias(f"{name}_last") for name in _FIRST]
    return added(rows.with_columns(last, many=pl.lit(1, pl.Int64)))


def added(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `book_rows`, one per lot and kind."""
    begins = rows.sort("time", "event_id").group_by(*LOT, "what").agg(
        pl.col("units", "many").sum(), pl.col(_FIRST).first()
    )  # fmt: skip
    ends = rows.sort("time_last", "event_id_last").group_by(*LOT, "what").agg(pl.col(_LAST).last())
    return begins.join(ends, on=[*LOT, "what"], nulls_equal=True).sort(*LOT, "what")


def book_facts(
    bucket: Bucket,
    others: pl.DataFrame | None = None,
    stock_moves: pl.DataFrame | None = None,
    stock_balances: pl.DataFrame | None = None,
) -> Facts:
    """One row per lot of a list code at a site, or at all sites of a chain together, with a movement no code follows.

    `others` are the rows of `book_rows` of all that is not in the bucket. `stock_moves` add goods sent back, transfers,
    and the purchases of a lot none of whose purchases stands among the events; they and `stock_balances` counts.
    `events` are the first and the last of the sales in question: those without a usable code, and all where every
    purchase was told by quantity. Sales of opened packs are told apart, in their own units, and are in no balance.
    """
    rows = book_rows(lot_moves(bucket))
    if others is not None:
        rows = added(pl.concat([rows, others.select(rows.columns)]))
    rows = with_group(rows.with_columns(site=id_of("fixmedins_code")), bucket.sites)
    kind = pl.col("what")
    rows = rows.filter(kind.is_in(["by_quantity", "uncoded", "split"]).any().over(_GROUP))
    by_code = kind.is_in(["opening", "purchased"]).any().over(_GROUP)
    rows = rows.with_columns(asked=(kind == "uncoded") | ((kind == "sold") & ~by_code)).sort("time", "event_id")
    site = pl.col("fixmedins_code")
    books = rows.group_by(_GROUP, maintain_order=True).agg(
        pl.col("site").first(),
        *(pl.col("units").filter(kind == name).sum().alias(name) for name in _SUMS),
        fixmedins_code=pl.coalesce(site.filter("asked").first(), site.first()),
        asked=pl.col("units").filter("asked").sum(),
        sold_at=pl.col("time").filter("asked").min(),
        came_at=pl.col("time").filter(kind.is_in(_SUPPLIES)).min(),
        counts=pl.col("many").filter(kind.is_in(["counted", "none_left"])).sum(),
    )
    ledger = _ledger(rows, bucket.sites, stock_moves, stock_balances)
    books = books.join(ledger, on=_GROUP, how="left", nulls_equal=True, maintain_order="left")
    books = books.with_columns(pl.col(*_LEDGER, "told_counts").fill_null(0)).with_columns(
        purchased=pl.col("purchased") + pl.col("by_quantity") + pl.col("bought"),
        came_at=pl.min_horizontal("came_at", "ledger_at"),
    )
    came = pl.col("opening") + pl.col("purchased") + pl.col("transferred") - pl.col("sent_back")
    books = books.with_columns(
        sold=pl.col("sold") + pl.col("uncoded"),
        over=pl.col("sold") + pl.col("uncoded") - pl.col("returned") - came,
        early_minutes=(pl.col("came_at") - pl.col("sold_at")).dt.total_minutes(),
        counts=pl.col("counts") + pl.col("told_counts"),
        in_chain=(pl.col("group") != pl.col("site")).cast(pl.Int64),
    )
    books = books.sort(*LOT, "group", nulls_last=True).with_row_index("case")
    asked = books.select("case", *_GROUP).join(rows.filter("asked"), on=_GROUP, nulls_equal=True)
    amounts = [quantity(name) for name, (kind, _) in FACTS["lot_book"].items() if kind.startswith("decimal")]
    return Facts(books.with_columns(amounts).select("case", *FACTS["lot_book"]), _ends(asked), lambda chosen: chosen)


def _ends(asked: pl.DataFrame) -> pl.DataFrame:
    """The first and the last sale in question of each case."""
    own = ["case", "fixmedins_code", "med_list_codg"]
    first = asked.sort("time", "event_id").unique("case", keep="first", maintain_order=True)
    last = asked.sort("time_last", "event_id_last").unique("case", keep="last", maintain_order=True)
    told = [first.select(*own, *_FIRST), last.select(*own, *(pl.col(f"{n}_last").alias(n) for n in _FIRST))]
    return pl.concat(told).unique(["case", "event_id"], keep="first", maintain_order=True).with_columns(
        units=pl.lit(1, pl.Decimal(16, 4))
    )  # fmt: skip


def _ledger(rows: pl.DataFrame, sites: pl.DataFrame, stock_moves, stock_balances) -> pl.DataFrame:
    """What the ledger adds to the lots of `rows`, by chain: _LEDGER, `told_counts`, and when the first came."""
    bought = rows.filter(pl.col("what").is_in(["purchased", "by_quantity"])).select(LOT).unique()
    moves = ledger_moves(stock_moves)
    again = moves.filter(pl.col("what") == "bought").join(bought, on=LOT, how="semi", nulls_equal=True)
    moves = moves.join(again.select("move_id"), on="move_id", how="anti")
    counts = told_counts(stock_moves, stock_balances).with_columns(what=pl.lit("counted"))
    both = pl.concat([moves, counts], how="diagonal").with_columns(site=id_of("fixmedins_code"))
    came = (pl.col("what") != "sent_back") & (pl.col("units") > 0)
    return with_group(both, sites).group_by(_GROUP).agg(
        *(pl.col("units").filter(pl.col("what") == word).sum().alias(word) for word in _LEDGER),
        told_counts=(pl.col("what") == "counted").sum().cast(pl.Int64),
        ledger_at=pl.col("time").filter(came).min(),
    )  # fmt: skip


# what a sieve lets fall


@dataclass(frozen=True)
class Fallen:
    """What moved of lots in rows a sieve let fall: `sums` between counts (stock.lot_sums), `book` (book_rows); and the
    lots that could be cases at all, `wanted` (hashes of manu_lotnum)."""

    sums: pl.DataFrame
    book: pl.DataFrame
    wanted: pl.Series


def watched_rows(trace_codes: pl.DataFrame, without_key: pl.Series) -> pl.DataFrame:
    """The lots of movements without a usable code, once each, as rows of `stock.counted_rows` that count nothing."""
    uncoded = pl.col("event_type").is_in([*MOVES, "purchase"]) & pl.col("manu_lotnum").is_not_null()
    moves = trace_codes.select(*LOT, "event_type").filter(without_key).filter(uncoded)
    lots = moves.select(LOT).unique().sort(LOT)
    nothing = {"event_id": pl.String, "event_time": pl.Datetime("us"), "cnt": pl.Decimal(16, 4)}
    lots = lots.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in nothing.items())
    return lots.select("event_id", *LOT, time="event_time", units=pl.col("cnt").cast(pl.Int64))


class FallenLots:
    """Adds up what moves of the lots that were counted, or have a movement no code follows, in rows that fall.

    counted: rows of `stock.counted_rows` and `watched_rows`; groups: site, group of the sites in chains, all of whose
    rows of such a lot are wanted; ledger: stock_moves and stock_balances.
    """

    def __init__(self, counted, groups, drug_identifiers, cancelled: Cancelled | None, ledger: tuple):
        self.counts = lot_counts(counted.filter(pl.col("units").is_not_null()), *ledger)
        self.groups, self.identifiers, self.cancelled = groups, drug_identifiers, cancelled
        watched = counted.filter(pl.col("units").is_null())
        self.watched = self._grouped(watched).select("manu_lotnum", "group").unique()
        self.wanted = pl.concat([self.watched, self._grouped(self.counts).select("manu_lotnum", "group")]).unique()
        none = plain_moves(table("trace_codes").schema.to_frame(), self.identifiers, None)
        self.sums, self.book = lot_sums(none, self.counts.clear()), book_rows(none)

    def _grouped(self, rows: pl.DataFrame) -> pl.DataFrame:
        return with_group(rows.with_columns(site=id_of("fixmedins_code")), self.groups)

    def add(self, fallen: pl.LazyFrame) -> None:
        """Add rows of trace_codes that fall: of codes that moved once at most, so that they add up part by part."""
        if self.wanted.is_empty():
            return
        rows = fallen.join(self.wanted.select("manu_lotnum").lazy(), on="manu_lotnum", how="semi")
        rows = self._grouped(rows.collect()).join(self.wanted, on=["manu_lotnum", "group"], how="semi")
        moves = plain_moves(rows.drop("site", "group"), self.identifiers, self.cancelled)
        sums = pl.concat([self.sums, lot_sums(moves, self.counts)])
        self.sums = sums.group_by(LOT, maintain_order=True).sum()
        watched = self._grouped(moves).join(self.watched, on=["manu_lotnum", "group"], how="semi")
        self.book = added(pl.concat([self.book, book_rows(watched.select(moves.columns))]))

    def told(self) -> Fallen:
        wanted = self.wanted.select(id_of("manu_lotnum").drop_nulls().unique()).to_series()
        return Fallen(self.sums, self.book, wanted)
