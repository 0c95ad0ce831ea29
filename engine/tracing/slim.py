"""Events as the few numbers a sieve needs: what may concern a check is decided on these, before any text is kept.

Every row of trace_codes becomes one fixed record; texts stand in it as 64-bit hashes. A batch needs nothing of any
other batch, so a table of any size is read part by part.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import USABLE, keyed
from engine.tracing.events import FIELDS, MOVES, UNIT, id_of
from engine.tracing.ledger import expiries, with_expiries
from engine.tracing.packs import identifiers

MOVE, SUPPLY, SCAN, FLAGGED, PLACEHOLDER, COUNT, FAMILY = 1, 2, 4, 8, 16, 32, 64
NONE = 0  # stands for a missing hash or key; no code has this key
RECORD = np.dtype(
    [("row", "i8"), ("key", "u8"), ("root", "u8"), ("site", "u8"), ("time", "i8"), ("lot", "u8"), ("line", "u8"),
     ("covers", "i8"), ("what", "u1")]
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What is known of products and packs, as `slim` needs it.

    content: ident, content (ten-thousandths of a unit in a bundle or case)
    pairs:   ident, item: which identifier names which list code
    roots:   key, root: the family of every code that has a parent or a child
    expiry:  the last day of validity of lots (ledger.expiries)
    """

    content: pl.DataFrame
    pairs: pl.DataFrame
    roots: pl.DataFrame
    expiry: pl.DataFrame


def known_of(drug_identifiers: pl.DataFrame, above: pl.DataFrame, stock_moves: pl.DataFrame | None = None) -> Known:
    packs = identifiers(drug_identifiers).filter(pl.col("pack_level") > 1).select("ident", content="whole")
    pairs = drug_identifiers.select(
        ident=pl.col("ident7").str.strip_chars().cast(pl.UInt64, strict=False), item=id_of("med_list_codg")
    )
    return Known(packs, pairs.drop_nulls("ident").unique(), families(above), expiries(stock_moves))


def families(above: pl.DataFrame) -> pl.DataFrame:
    """(key, root): the smallest key of all packs that lie in one another, however far apart."""
    ways = pl.concat([above.select("key", other="ancestor"), above.select(key="ancestor", other="key")]).unique()
    roots = ways.group_by("key").agg(root=pl.min_horizontal(pl.col("other").min(), pl.col("key").first())).sort("key")
    while True:
        nearer = ways.join(roots, left_on="other", right_on="key").group_by("key").agg(pl.col("root").min())
        nearer = nearer.sort("key").with_columns(pl.min_horizontal("root", roots["root"]))
        # The root of a root is nearer still: the way to it halves each time.
        nearer = nearer.join(roots, left_on="root", right_on="key", how="left", suffix="_far", maintain_order="left")
        nearer = nearer.select("key", root=pl.min_horizontal("root", "root_far"))
        if nearer.equals(roots):
            return roots
        roots = nearer


def line_of() -> pl.Expr:
    """What a scan is found by: the fee line it names, or itself."""
    return pl.coalesce(id_of("feedetl_sn"), id_of("event_id")).alias("line")


def slim(batch: pl.DataFrame, known: Known, first_row: int) -> np.ndarray:
    """The records (RECORD) of a batch of trace_codes whose first row has this number, in its order.

    key and root are NONE for a code that cannot be used; line is the hash of feedetl_sn or, without one, of event_id.
    what: MOVE a sale or return with a usable code; SUPPLY a purchase or a stocktake with one; SCAN a sale of any code;
    FLAGGED a scan that is mismatched, expired or sold before it was made by what stands in its own row; PLACEHOLDER;
    COUNT a count of a lot; FAMILY a code that has a parent or a child.
    """
    rows = keyed(with_expiries(with_fields(batch, "trace_codes", *FIELDS), known.expiry))
    rows = rows.select(
        "ident",
        "event_type",
        "code_class",
        key="code_key",
        coded=pl.col("code").is_not_null(),
        units=(pl.col("cnt").fill_null(1) * UNIT).cast(pl.Int64),
        site=id_of("fixmedins_code"),
        item=id_of("med_list_codg"),
        lot=id_of("manu_lotnum"),
        line=line_of(),
        time=pl.col("event_time").cast(pl.Datetime("us")).cast(pl.Int64),
        late=(pl.col("event_time").dt.date() > pl.col("expy_end")).fill_null(False)
        | (pl.col("manu_date") > pl.col("event_time").dt.date()).fill_null(False),
    )
    rows = rows.join(known.content, on="ident", how="left", maintain_order="left")
    if known.roots.height:
        rows = rows.join(known.roots, on="key", how="left", maintain_order="left")
    else:
        rows = rows.with_columns(root=pl.lit(None, pl.UInt64))
    usable, kind = pl.col("code_class").is_in(USABLE).fill_null(False), pl.col("event_type")
    scan = (kind == "sale") & (pl.col("units") > 0) & pl.col("coded")
    what = {
        MOVE: usable & kind.is_in(MOVES),
        SUPPLY: usable & kind.is_in(["purchase", "stocktake"]),
        SCAN: scan,
        FLAGGED: scan & usable & (pl.col("late") | _mismatched(rows, known)),
        PLACEHOLDER: (pl.col("code_class") == "placeholder").fill_null(False),
        COUNT: (kind == "stocktake") & ~pl.col("coded") & pl.col("lot").is_not_null(),
    }
    what[FAMILY] = pl.col("root").is_not_null()
    rows = rows.select(
        pl.col("key", "site", "lot", "line").fill_null(NONE),
        "time",
        root=pl.coalesce("root", "key").fill_null(NONE),
        covers=pl.max_horizontal("units", "content"),
        what=pl.sum_horizontal(pl.when(test).then(pl.lit(bit, pl.UInt8)).otherwise(0) for bit, test in what.items()),
    )
    records = np.empty(rows.height, RECORD)
    records["row"] = np.arange(first_row, first_row + rows.height)
    for name in rows.columns:
        records[name] = rows[name].to_numpy()
    return records


def _mismatched(rows: pl.DataFrame, known: Known) -> pl.Series:
    """Whether the identifier is known, and by no row of any date for the list code billed."""
    pairs = known.pairs.with_columns(named=pl.lit(True))
    asked = rows.select("ident", "item").join(pairs, on=["ident", "item"], how="left", maintain_order="left")
    wrong = pl.col("named").is_null() & pl.col("item").is_not_null() & pl.col("ident").is_not_null()
    wrong = asked.select(wrong).to_series()
    idents = asked["ident"].filter(wrong).unique()
    unknown = idents.filter(~idents.is_in(known.pairs["ident"].implode()))
    return wrong & ~asked["ident"].is_in(unknown.implode()).fill_null(False) if len(unknown) else wrong
