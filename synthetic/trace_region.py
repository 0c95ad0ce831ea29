"""A region's trace codes of any number, written part by part: every pack bought once and sold once but for a few.

Made for speed and memory, not for truth: what is planted are codes sold again elsewhere, codes never bought and packs
of another drug. Any pack's code follows from its number, so that no part needs to know another.
"""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from engine.tracing.repeats import mixed

PRODUCTS, SITES, PERSONS = 3_000, 5_000, 10_000_000
AGAIN, UNBOUGHT, MISTAKEN = 0.005, 0.0005, 0.0005  # shares of the sales
PACKS_A_PART = 1_000_000
_START, _DAYS = datetime(2025, 1, 1), 365


def write_region(
    folder: Path, events: int, seed: int = 2026, from_day: int = 0, first: int = 0, known: int = 0
) -> None:
    """Write `trace_codes/` and `fee_lines/` in parts, and the small tables, with about so many events: a purchase and a
    sale of each pack. Packs are numbered from `first`; codes sold again are among those and the `known` before."""
    packs = events // 2
    for name in ("trace_codes", "fee_lines"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, at in enumerate(range(first, first + packs, PACKS_A_PART)):
        rng = np.random.default_rng([seed, at])
        own = np.arange(at, min(at + PACKS_A_PART, first + packs))
        rows, lines = _part(own, rng, from_day, first - known, first + packs)
        rows.write_parquet(folder / "trace_codes" / f"{number:05}.parquet", compression="lz4")
        lines.write_parquet(folder / "fee_lines" / f"{number:05}.parquet", compression="lz4")
    for name, frame in _small().items():
        frame.write_parquet(folder / f"{name}.parquet")


def tables_of(folder: Path) -> dict[str, pl.LazyFrame]:
    """The tables of a region written here, in the types of the dictionary."""
    large = {name: pl.scan_parquet(folder / name / "*.parquet") for name in ("trace_codes", "fee_lines")}
    fen = (pl.col("det_item_fee_sumamt", "fund_pay") * 100).cast(pl.Int64)
    large["fee_lines"] = large["fee_lines"].with_columns(fen)
    return large | {path.stem: pl.scan_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def _product(packs: np.ndarray) -> np.ndarray:
    """Some products are sold far more often than others."""
    share = (mixed(packs.astype(np.uint64)) >> np.uint64(40)).astype(np.int64)
    return (share * share // (1 << 24)) * PRODUCTS >> 24


def _codes(packs: np.ndarray) -> pl.Series:
    serial = mixed(packs.astype(np.uint64) + np.uint64(77)) % np.uint64(10**13) | np.uint64(1)
    key = (100_000 + 250 * _product(packs)).astype(np.uint64) * np.uint64(10**13) + serial
    return pl.select(pl.concat_str(pl.lit("8"), pl.Series(key).cast(pl.String).str.zfill(19))).to_series()


def _part(packs: np.ndarray, rng: np.random.Generator, from_day: int, low: int, high: int):
    count = len(packs)
    again = rng.random(count) < AGAIN
    sold = np.where(again, rng.integers(low, high, count), packs)
    product = _product(sold)
    billed = np.where(rng.random(count) < MISTAKEN, (product + 1) % PRODUCTS, product)
    site = (mixed(sold.astype(np.uint64)) % np.uint64(SITES)).astype(np.int64)
    moved = np.where(again, rng.integers(0, SITES, count), site)
    seconds = from_day * 86_400 + rng.integers(0, (_DAYS if not from_day else 30) * 86_400, count)
    number = pl.Series(packs).cast(pl.String)
    start = pl.lit(_START)
    common = pl.DataFrame({
        "number": number, "seconds": seconds, "product": billed, "own": product, "site": moved, "lot": packs % 24,
        "psn": rng.integers(0, PERSONS, count), "drug_trac_codg": _codes(sold),
    })  # fmt: skip
    item = pl.format("XA{}A001A001010101234", pl.col("product").cast(pl.String).str.zfill(4))
    lot = pl.format("L{}{}", pl.col("own").cast(pl.String).str.zfill(4), pl.col("lot"))
    shared = {
        "drug_trac_codg": pl.col("drug_trac_codg"), "trdn_flag": pl.lit("0"), "cnt": pl.lit(1).cast(pl.Decimal(16, 4)),
        "manu_lotnum": lot, "manu_date": pl.lit(date(2024, 6, 1)), "expy_end": pl.lit(date(2027, 6, 1)),
    }  # fmt: skip
    nobody = pl.lit(None, pl.String)
    sales = common.select(
        event_id=pl.format("E{}", pl.col("number").str.zfill(11)), event_type=pl.lit("sale"),
        source=pl.lit("settlement"), fixmedins_code=_site("site"),
        psn_no=pl.format("4400{}", pl.col("psn").cast(pl.String).str.zfill(13)),
        setl_id=pl.format("S{}", pl.col("number").str.zfill(12)),
        feedetl_sn=pl.format("F{}", pl.col("number").str.zfill(12)), med_list_codg=item,
        event_time=start + pl.duration(seconds="seconds"), **shared,
    )  # fmt: skip
    bought = common.with_columns(product="own", drug_trac_codg=_codes(packs), site=pl.Series(
        (mixed(packs.astype(np.uint64)) % np.uint64(SITES)).astype(np.int64)
    ))  # fmt: skip
    bought = bought.with_columns(own=pl.Series(_product(packs))).with_columns(product="own")
    bought = bought.filter(pl.Series(rng.random(count) >= UNBOUGHT)).select(
        event_id=pl.format("B{}", pl.col("number").str.zfill(11)), event_type=pl.lit("purchase"),
        source=pl.lit("sales_ledger"), fixmedins_code=_site("site"), psn_no=nobody, setl_id=nobody, feedetl_sn=nobody,
        med_list_codg=item, event_time=start + pl.duration(days=from_day - 40), **shared,
    )  # fmt: skip
    lines = sales.select(
        "feedetl_sn", "setl_id", "psn_no", "fixmedins_code", "med_list_codg", "cnt",
        pric=pl.lit("20").cast(pl.Decimal(16, 6)), det_item_fee_sumamt=pl.lit("20").cast(pl.Decimal(16, 2)),
        fund_pay=pl.lit("14").cast(pl.Decimal(16, 2)), fee_ocur_time="event_time",
    )  # fmt: skip
    return pl.concat([bought, sales]), lines


def _site(column: str) -> pl.Expr:
    return pl.format("P4401{}", pl.col(column).cast(pl.String).str.zfill(7))


def _small() -> dict[str, pl.DataFrame]:
    product, site = pl.int_range(PRODUCTS, eager=True), pl.int_range(SITES, eager=True)
    identifiers = pl.DataFrame({"product": product}).select(
        ident7=pl.format("8{}", 100_000 + 250 * pl.col("product")),
        med_list_codg=pl.format("XA{}A001A001010101234", pl.col("product").cast(pl.String).str.zfill(4)),
        pack_level=pl.lit(1, pl.Int64), pack_units=pl.lit(10).cast(pl.Decimal(16, 4)),
    )  # fmt: skip
    institutions = pl.DataFrame({"site": site}).select(
        fixmedins_code=_site("site"), fixmedins_type=pl.lit("pharmacy"),
        admdvs=pl.format("4401{}", (pl.col("site") % 21).cast(pl.String).str.zfill(2)),
        lon=(pl.lit(110) + pl.col("site") % 97 * pl.lit("0.07").cast(pl.Decimal(6, 2))).cast(pl.Decimal(12, 6)),
        lat=(pl.lit(21) + pl.col("site") % 89 * pl.lit("0.04").cast(pl.Decimal(6, 2))).cast(pl.Decimal(12, 6)),
    )  # fmt: skip
    return {"drug_identifiers": identifiers, "institutions": institutions}
