"""Which codes and fee lines could concern a check at all: most packs are bought, sold once and told once.

Everything here errs on one side: what it lets fall is certain to be plain (a code of one sale or none, that its site
bought before; a fee line covered by codes that say what was billed), and what it keeps is judged by the facts
themselves, on complete lives of codes. Each function takes the records (slim.RECORD) of one bucket of one split: by
family of codes, by fee line, or by site.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.tracing.events import UNIT
from engine.tracing.repeats import among, mixed, repeats
from engine.tracing.slim import FAMILY, FLAGGED, MOVE, NONE, PLACEHOLDER, SCAN, SUPPLY


@dataclass(frozen=True)
class Kept:
    """What a bucket keeps: `roots` families of codes, `lines` hashes of fee lines, `rows` numbers of single rows."""

    roots: np.ndarray
    lines: np.ndarray
    rows: np.ndarray


def _is(records: np.ndarray, bit: int) -> np.ndarray:
    return (records["what"] & bit) != 0


def by_code(records: np.ndarray, above: pl.DataFrame, groups: pl.DataFrame, tolerance_minutes: int) -> Kept:
    """Of whole families of codes: those that moved several times, or whose parent was sold too; and the lines of sales
    that say something wrong by themselves, of an unknown source, or under a lot the code was not supplied under.

    `above`: key, ancestor; `groups`: site, group (its chain).
    """
    records = records[~_plainly_sold(records, tolerance_minutes)]
    moves = records[_is(records, MOVE)]
    supplies = records[_is(records, SUPPLY)]
    again = repeats(np.ascontiguousarray(moves["key"]), 1)
    roots = [moves["root"][again.rows], _supplied_again(supplies)]
    if above.height:
        sold = pl.Series(moves["key"]).unique().implode()
        both = above.filter(pl.col("key").is_in(sold), pl.col("ancestor").is_in(sold))["key"]
        roots.append(moves["root"][np.isin(moves["key"], both.to_numpy())])
        roots.append(_opened(supplies, above))
    scans = records[_is(records, MOVE) & _is(records, SCAN)]
    wrong = _is(scans, FLAGGED) | _unsupplied(scans, supplies, above, groups, tolerance_minutes)
    wrong |= _other_lot(scans, supplies)
    return Kept(np.unique(np.concatenate(roots)), np.unique(scans["line"][wrong]), np.empty(0, np.int64))


def _plainly_sold(records: np.ndarray, tolerance_minutes: int) -> np.ndarray:
    """Rows of codes without family that have one row only, a supply, or two: a supply and its sale at one site, in
    order, under one lot, of which nothing is wrong. Nearly all codes are such."""
    found = repeats(np.ascontiguousarray(records["key"]), 1)
    plain = _is(records, SUPPLY) & ~_is(records, FAMILY)
    plain[found.rows] = False
    pairs = found.starts[:-1][found.sizes() == 2]
    one, other = found.rows[pairs], found.rows[pairs + 1]
    swap = _is(records[one], MOVE)
    one, other = np.where(swap, other, one), np.where(swap, one, other)
    supply, sale = records[one], records[other]
    lots = (supply["lot"] == sale["lot"]) | (supply["lot"] == NONE) | (sale["lot"] == NONE)
    fine = _is(supply, SUPPLY) & _is(sale, MOVE) & ~_is(sale, FLAGGED) & ~_is(sale, FAMILY) & lots
    fine &= (supply["site"] == sale["site"]) & (supply["time"] <= sale["time"] + tolerance_minutes * 60_000_000)
    plain[one[fine]] = plain[other[fine]] = True
    return plain


def _supplied_again(supplies: np.ndarray) -> np.ndarray:
    """Families of codes supplied several times: for the stock of a lot only the first supply at a site counts."""
    return supplies["root"][repeats(np.ascontiguousarray(supplies["key"]), 1).rows]


def _opened(supplies: np.ndarray, above: pl.DataFrame) -> np.ndarray:
    """Families of parent packs supplied where packs that lie in them were: the parent counts through these."""
    at = pl.DataFrame({name: supplies[name] for name in ("site", "key", "root")})
    inside = at.join(above, on="key").select("site", key="ancestor").unique()
    return at.join(inside, on=["site", "key"], how="semi")["root"].to_numpy()


def _unsupplied(scans, supplies, above: pl.DataFrame, groups: pl.DataFrame, tolerance_minutes: int) -> np.ndarray:
    """Sales before any supply of the code or a parent pack at the site or its chain, less the tolerance."""
    first = _grouped(supplies, groups).group_by("key", "group").agg(supplied=pl.col("time").min())
    if above.height:
        below = first.join(above, left_on="key", right_on="ancestor").select(
            key="key_right", group="group", supplied="supplied"
        )
        first = pl.concat([first, below]).group_by("key", "group").agg(pl.col("supplied").min())
    sold = _grouped(scans, groups).join(first, on=["key", "group"], how="left", maintain_order="left")
    by = pl.col("time") + tolerance_minutes * 60_000_000
    return sold.select((pl.col("supplied") > by).fill_null(True)).to_series().to_numpy()


def _grouped(records: np.ndarray, groups: pl.DataFrame) -> pl.DataFrame:
    frame = pl.DataFrame({name: records[name] for name in ("key", "site", "time")})
    frame = frame.join(groups, on="site", how="left", maintain_order="left")
    return frame.select("key", "time", group=pl.coalesce("group", "site"))


def _other_lot(scans: np.ndarray, supplies: np.ndarray) -> np.ndarray:
    """Sales whose code was supplied under lots, none of them the lot of the sale."""
    told = pl.DataFrame({"key": supplies["key"], "lot": supplies["lot"]}).filter(pl.col("lot") != NONE).unique()
    sold = pl.DataFrame({"key": scans["key"], "lot": scans["lot"]})
    sold = sold.join(told.with_columns(same=pl.lit(True)), on=["key", "lot"], how="left", maintain_order="left")
    differs = pl.col("same").is_null() & (pl.col("lot") != NONE) & pl.col("key").is_in(told["key"].unique().implode())
    return sold.select(differs).to_series().to_numpy()


def by_line(records: np.ndarray, billed: np.ndarray, wrong: np.ndarray) -> Kept:
    """Of whole fee lines: those that bill more than was scanned, and those in `wrong` (hashes); all families of codes
    scanned for them, and the rows of other scans.

    `billed`: line (hash), billed (ten-thousandths of a unit) and named (1 for a drug that some identifier names) of the
    fee lines of the bucket; those neither named nor scanned for cannot be short of a code.
    """
    scans = records[_is(records, SCAN)]
    rest, bills = _not_plainly_covered(scans, billed)
    short = _short(scans[rest], billed[bills])
    kept = np.union1d(short, wrong)
    chosen = scans[among(scans["line"], kept)]
    with_key = chosen["key"] != NONE
    return Kept(np.unique(chosen["root"][with_key]), kept, chosen["row"][~with_key])


def _not_plainly_covered(scans: np.ndarray, billed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scans and fee lines but for lines with one scan, of a usable code that covers what was billed."""
    found = repeats(np.concatenate([scans["line"], billed["line"]]), 1)
    pairs = found.starts[:-1][found.sizes() == 2]
    scan, bill = found.rows[pairs], found.rows[pairs + 1] - len(scans)  # rows rise, so the scan comes first
    both = (scan < len(scans)) & (bill >= 0)
    scan, bill = scan[both], bill[both]
    covered = (scans["key"][scan] != NONE) & (np.maximum(scans["covers"][scan], UNIT) >= billed["billed"][bill])
    rest, bills = np.ones(len(scans), bool), np.ones(len(billed), bool)
    rest[scan[covered]] = bills[bill[covered]] = False
    return rest, bills


def _short(scans: np.ndarray, billed: np.ndarray) -> np.ndarray:
    """Lines that bill more than was scanned."""
    usable = scans["key"] != NONE
    frame = pl.DataFrame({"line": scans["line"], "key": scans["key"], "covers": scans["covers"]})
    # A code told twice for one line covers it once. Where a code was told in two sizes, the larger counts.
    coded = frame.filter(pl.Series(usable)).group_by("line", "key").agg(pl.col("covers").max())
    coded = coded.group_by("line").agg(codes=pl.len().cast(pl.Int64), scanned=pl.col("covers").sum())
    barcode = frame.filter(pl.Series(~usable & ~_is(scans, PLACEHOLDER)))
    barcode = barcode.group_by("line").agg(others=pl.col("covers").sum())
    lines = pl.DataFrame({name: billed[name] for name in ("line", "billed")})
    lines = lines.filter(pl.Series((billed["named"] != 0) | among(billed["line"], np.unique(scans["line"]))))
    lines = lines.join(coded, on="line", how="left").join(barcode, on="line", how="left")
    covered = pl.max_horizontal(pl.col("codes") * UNIT, "scanned").fill_null(0) + pl.col("others").fill_null(0)
    return lines.filter(pl.col("billed") > covered)["line"].to_numpy()


def by_site(records: np.ndarray, within_seconds: int) -> Kept:
    """Of whole sites: families of codes sold there within some seconds of the code before or after it."""
    moves = _neighbours(records[_is(records, MOVE)])
    sales = pl.DataFrame({name: moves[name] for name in ("site", "key", "time", "root")})
    sold = sales.group_by("site", "key").agg(
        pl.col("root").first(), early=pl.col("time").min(), late=pl.col("time").max()
    )
    sold = sold.sort("site", "key")
    apart = pl.max_horizontal(pl.col("early") - pl.col("late").shift(1), pl.col("early").shift(1) - pl.col("late"))
    follows = (
        (pl.col("site") == pl.col("site").shift(1))
        & (pl.col("key") == pl.col("key").shift(1) + 1)
        & (apart <= within_seconds * 1_000_000)
    ).fill_null(False)
    near = sold.filter(follows | follows.shift(-1, fill_value=False))
    return Kept(near["root"].unique().to_numpy(), np.empty(0, np.uint64), np.empty(0, np.int64))


def place_of(moves: np.ndarray) -> np.ndarray:
    """A number for the serial and site of each move, one more for the serial after it at the same site."""
    return mixed(np.ascontiguousarray(moves["site"])) + moves["key"]


def _neighbours(moves: np.ndarray) -> np.ndarray:
    """Moves of codes whose serial before or after was, as far as one number can tell, moved at the same site."""
    # Serials that follow each other at a site differ by one here too; that others may do so costs time and no more.
    places = place_of(moves)
    in_order = np.sort(places)
    first = in_order[np.concatenate([[True], in_order[1:] != in_order[:-1]])] if len(in_order) else in_order
    follows = np.roll(first, -1) == first + np.uint64(1)  # the last is followed by the first where numbers wrap
    near = follows | np.roll(follows, 1)
    return moves[among(places, first[near])]
