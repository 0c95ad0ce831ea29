"""Line classification: what of a fee line is wholly self-paid, over the ceiling, paid first, and in policy.

Source of the arithmetic: the line identities L1 to L4 of the national settlement list (医保结算清单), with the payment
class, first-pay share and payment limit of the region's catalogue on the day of service.
"""

import polars as pl

from engine.settlement.money import check_range
from engine.tables.dictionary import with_fields
from engine.tables.values import rounded

PARTS = ["fulamt_ownpay_amt", "overlmt_amt", "preselfpay_amt", "inscp_scp_amt"]
AMOUNTS = ["det_item_fee_sumamt", *PARTS]

_PRICE, _COUNT, _SHARE = pl.Decimal(16, 6), pl.Decimal(16, 4), pl.Decimal(5, 4)
_PRICE_UNITS_PER_FEN = 10**4  # prices carry six decimals of a yuan
_COST_UNITS_PER_FEN = 10**8  # price times count carries ten
_SHARE_UNITS = 10**4
_PROVEN = 4 * 10**18  # products below it, doubled for rounding, stay within 64 bits


def classify(lines: pl.DataFrame, catalogue: pl.DataFrame | None = None) -> pl.DataFrame:
    """The lines with their cost and its four parts recomputed, in fen, in the order given.

    lines: fee_lines. catalogue: the knowledge table of that name, dated; an item it does not list keeps the class,
    share and price ceiling of its own line. An item of no class known is wholly self-paid.
    A negative line is computed on its absolute value and negated. Raises InputProblem when an amount is out of range.
    """
    lines = with_fields(
        lines,
        "fee_lines",
        "med_list_codg",
        "chrgitm_lv",
        "selfpay_prop",
        "pric_uplmt_amt",
        "fee_ocur_time",
        "self_pay_flag",
        "cnt",
        "pric",
        "det_item_fee_sumamt",
    )
    priced = _terms(lines, catalogue)
    parts = priced.lazy().with_columns(_cost(_wide_enough(priced))).with_columns(_parts())
    amounts = parts.select(_signed(pl.col(name)) for name in AMOUNTS).collect()
    check_range(amounts.hstack(lines.select("^feedetl_sn$").get_columns()), AMOUNTS, "feedetl_sn")
    return lines.with_columns(amounts.cast(pl.Int64))


def _terms(lines: pl.DataFrame, catalogue: pl.DataFrame | None) -> pl.DataFrame:
    """Per line in the order given: price, count, level, share, limit; decimals as whole units of their last place."""
    own_limit = _units("pric_uplmt_amt", _PRICE)
    rows = lines.select(
        "med_list_codg",
        "chrgitm_lv",
        pl.col("det_item_fee_sumamt").alias("billed"),
        _units("selfpay_prop", _SHARE),
        _units("pric", _PRICE),
        _units("cnt", _COUNT),
        pl.when(own_limit > 0).then(own_limit).alias("limit"),
        pl.col("fee_ocur_time").dt.date().alias("day"),
        (pl.col("self_pay_flag") == "1").fill_null(False).alias("outside"),
    )
    for version in [] if catalogue is None else _versions(catalogue):
        rows = (
            rows.join(version, on="med_list_codg", how="left", maintain_order="left")
            .with_columns(_listed_or_own())
            .select(rows.columns)
        )
    return rows


def _units(name: str, dtype: pl.Decimal) -> pl.Expr:
    return pl.col(name).cast(dtype).to_physical().cast(pl.Int64)  # sixteen digits fit


def _wide_enough(rows: pl.DataFrame) -> type[pl.DataType]:
    """The whole numbers in which no product of these rows can wrap: 64 bits where their largest values prove it."""
    largest = rows.select(pl.col("pric", "cnt", "billed", "selfpay_prop").abs().max().fill_null(0)).row(0)
    price, count, billed, share = largest
    cost = max(billed, price * count // _COST_UNITS_PER_FEN + 1)
    return pl.Int64 if max(price * count, cost * share) < _PROVEN else pl.Int128


def _versions(catalogue: pl.DataFrame) -> list[pl.DataFrame]:
    """The catalogue as tables of one row per item: all first versions, all second versions …, in order of begndate."""
    absent = {"begndate": pl.Date, "enddate": pl.Date, "pay_limit": pl.Int64, "selfpay_prop": _SHARE}
    catalogue = catalogue.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name not in catalogue.columns
    )
    ordered = catalogue.sort("med_list_codg", "begndate", nulls_last=False, maintain_order=True)
    listed = ordered.select(
        "med_list_codg",
        "begndate",
        "enddate",
        pl.col("chrgitm_lv").alias("listed_lv"),
        _units("selfpay_prop", _SHARE).alias("listed_prop"),
        (pl.col("pay_limit") * _PRICE_UNITS_PER_FEN).alias("listed_limit"),
        pl.int_range(pl.len()).over("med_list_codg").alias("version"),
    )
    return listed.partition_by("version", maintain_order=True, include_key=False)


def _listed_or_own() -> list[pl.Expr]:
    """Level, share and limit by the catalogue row that is in force on the day of service, else as they are."""
    in_force = (
        pl.col("listed_lv").is_not_null()
        & (pl.col("begndate") <= pl.col("day")).fill_null(True)
        & (pl.col("enddate") >= pl.col("day")).fill_null(True)
    )
    listed = {
        "chrgitm_lv": "listed_lv",
        "selfpay_prop": pl.coalesce("listed_prop", "selfpay_prop"),
        "limit": "listed_limit",
    }
    return [pl.when(in_force).then(value).otherwise(name).alias(name) for name, value in listed.items()]


def _cost(wide: type[pl.DataType]) -> list[pl.Expr]:
    """COST = the amount billed, else round(price x count); what of it lies above the limit; of the absolute values."""
    price, count = pl.col("pric").abs().cast(wide), pl.col("cnt").abs().cast(wide)
    cost = pl.coalesce(pl.col("billed").abs(), rounded(price * count, _COST_UNITS_PER_FEN)).fill_null(0)
    over = rounded(pl.max_horizontal(price - pl.col("limit"), pl.lit(0, wide)) * count, _COST_UNITS_PER_FEN)
    return [
        cost.alias("det_item_fee_sumamt"),
        pl.min_horizontal(over.fill_null(0), cost).alias("over"),
        (pl.col("chrgitm_lv").is_in(["01", "02"]) & ~pl.col("outside")).fill_null(False).alias("covered"),
    ]


def _parts() -> list[pl.Expr]:
    """The four parts of the cost; class 甲 (01) has no first-pay share, class 丙 (03) lies wholly outside."""
    cost, covered = pl.col("det_item_fee_sumamt"), pl.col("covered")
    over = pl.when(covered).then("over").otherwise(0)
    prop = pl.when(pl.col("chrgitm_lv") == "02").then(pl.col("selfpay_prop").fill_null(0)).otherwise(0)
    first = pl.when(covered).then(rounded((cost - over) * prop, _SHARE_UNITS)).otherwise(0)
    own = pl.when(covered).then(0).otherwise(cost)
    parts = [own, over, first, cost - own - over - first]
    return [part.alias(name) for part, name in zip(parts, PARTS, strict=True)]


def _signed(amount: pl.Expr) -> pl.Expr:
    return amount * pl.coalesce(pl.col("billed").sign(), pl.col("pric").sign() * pl.col("cnt").sign()).fill_null(0)
