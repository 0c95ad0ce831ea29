"""Refunds and reversals are netted before anything judges.

A refund claim cancels the claim it names. A negative line takes back units of the line it names, else of the same
claim, item and price: the latest line not after it first, what is left of it from the next earlier one. Taken in time
order this is a stack, on which a positive line pushes its units and a negative one pops its own. What survives of a
push is what the stack never again falls below, so one running sum and two running minima per group give the answer
without rounds.
"""

import polars as pl

UNITS = pl.Decimal(16, 4)
GROUP = ["setl_id", "_item", "pric"]
_NOTHING = pl.lit(0).cast(UNITS)


def net(claims: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Claims with `cancelled`, fee lines with `net_cnt` and `unmatched_cnt` (Decimal(16,4), never negative).

    cancelled      the claim is a refund or is named by one
    net_cnt        units of a positive line that survive; 0 on reversals, reversed lines and lines of cancelled claims
    unmatched_cnt  units of a negative line for which no positive line is left
    Rows keep their order; the result does not depend on it. Needs claims.setl_id; lines feedetl_sn, setl_id, cnt.
    """
    claims = _cancelled(claims)
    gone = claims.filter("cancelled").select("setl_id").unique()
    if gone.is_empty() and not (lines["cnt"] < 0).any():
        return claims, lines.with_columns(net_cnt=pl.col("cnt").cast(UNITS).fill_null(0), unmatched_cnt=_NOTHING)
    work = _work(lines.join(gone, on="setl_id", how="anti"))
    named = _named(work)
    pool = _pool(named)
    done = pool.select("feedetl_sn", net_cnt=_units("_net"), unmatched_cnt=_units("_unmatched"))
    kept = [c for c in lines.columns if c not in ("net_cnt", "unmatched_cnt")]
    lines = lines.select(kept).join(done, on="feedetl_sn", how="left", maintain_order="left")
    return claims, lines.with_columns(pl.col("net_cnt", "unmatched_cnt").fill_null(_NOTHING))


def _units(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int128).reinterpret(dtype=UNITS)


def _cancelled(claims: pl.DataFrame) -> pl.DataFrame:
    if "refd_setl_flag" not in claims.columns:
        return claims.with_columns(cancelled=pl.lit(False))
    refund = pl.col("refd_setl_flag").eq_missing("1")
    if "init_setl_id" not in claims.columns:
        return claims.with_columns(cancelled=refund)
    named = claims.filter(refund)["init_setl_id"].drop_nulls().unique()
    return claims.with_columns(cancelled=refund | pl.col("setl_id").is_in(named.implode()))


def _work(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per line: units in ten-thousandths, item, price and what makes a total order (time, natural number)."""
    have = lines.columns
    codes = [pl.col(c) for c in ("medins_list_codg", "med_list_codg") if c in have]
    number = pl.col("feedetl_sn").str.extract(r"(\d+)$").str.strip_chars_start("0")
    return lines.select(
        "feedetl_sn",
        "setl_id",
        _item=pl.coalesce(*codes) if codes else pl.lit(None, pl.String),
        pric=pl.col("pric") if "pric" in have else pl.lit(None, pl.Decimal(16, 6)),
        _time=pl.col("fee_ocur_time") if "fee_ocur_time" in have else pl.lit(None, pl.Datetime("us")),
        _head=pl.col("feedetl_sn").str.replace(r"\d+$", ""),
        _digits=number.str.len_chars(),
        _number=number,
        _names=pl.col("init_feedetl_sn") if "init_feedetl_sn" in have else pl.lit(None, pl.String),
        _cnt=pl.col("cnt").cast(UNITS).reinterpret(dtype=pl.Int128).cast(pl.Int64).fill_null(0),
    )


ORDER = ["_time", "_loss", "_head", "_digits", "_number", "feedetl_sn"]


def _named(work: pl.DataFrame) -> pl.DataFrame:
    """Negative lines that name a positive one take from it first. Adds `_left`: signed units still open."""
    gains = work.filter(pl.col("_cnt") > 0).select(_names="feedetl_sn", _stock="_cnt")
    claims = work.filter((pl.col("_cnt") < 0) & pl.col("_names").is_not_null()).join(gains, on="_names", how="inner")
    if claims.is_empty():
        return work.with_columns(_left="_cnt")
    asked = -pl.col("_cnt")
    ordered = claims.with_columns(_loss=pl.lit(True)).sort("_names", *ORDER, nulls_last=False)
    before = asked.cum_sum().over("_names") - asked
    taken = ordered.with_columns(_taken=pl.min_horizontal(asked, pl.max_horizontal(pl.col("_stock") - before, 0)))
    given = taken.group_by("_names").agg(_given=pl.col("_taken").sum()).rename({"_names": "feedetl_sn"})
    work = work.join(taken.select("feedetl_sn", "_taken"), on="feedetl_sn", how="left", maintain_order="left")
    work = work.join(given, on="feedetl_sn", how="left", maintain_order="left")
    return work.with_columns(_left=pl.col("_cnt") + pl.col("_taken").fill_null(0) - pl.col("_given").fill_null(0))


def _pool(work: pl.DataFrame) -> pl.DataFrame:
    """The stack of each claim, item and price. Adds `_net` and `_unmatched`."""
    reversed_ = work.filter(pl.col("_left") < 0).select(GROUP).unique()
    quiet = work.join(reversed_, on=GROUP, how="anti", nulls_equal=True)
    quiet = quiet.with_columns(_net=pl.max_horizontal("_left", 0), _unmatched=pl.lit(0, pl.Int64))
    stacked = work.join(reversed_, on=GROUP, how="semi", nulls_equal=True)
    stacked = stacked.with_columns(_loss=pl.col("_left") < 0).sort(*GROUP, *ORDER, nulls_last=False)
    total = pl.col("_left").cum_sum().over(GROUP)
    stacked = stacked.with_columns(_total=total).with_columns(
        # what could not be taken back so far: how deep the sum ever fell below nothing
        _deficit=-pl.min_horizontal(pl.col("_total").cum_min().over(GROUP), 0)
    )
    height = pl.col("_total") + pl.col("_deficit")
    stacked = stacked.with_columns(_height=height)
    later = pl.col("_height").cum_min(reverse=True).over(GROUP)
    gain = pl.max_horizontal("_left", 0)
    below = pl.col("_height") - gain
    stacked = stacked.with_columns(
        _net=pl.when(gain > 0).then(pl.max_horizontal(later - below, 0)).otherwise(0),
        _unmatched=pl.col("_deficit") - pl.col("_deficit").shift(1).over(GROUP).fill_null(0),
    )
    wanted = ["feedetl_sn", "_net", "_unmatched"]
    return pl.concat([quiet.select(wanted), stacked.select(wanted)])
