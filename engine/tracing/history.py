"""The whole life of the codes behind a finding: every purchase, count, sale, return and void, in order of time.

A history is context: it accuses nobody and no finding rests on it. It is told for the codes of findings alone.
"""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keys_of
from engine.tracing.evidence import quantity
from engine.tracing.facts import Bucket
from engine.tracing.travel import metres_between

CODES_A_FINDING = 20  # of the others only how many they are is told
EVENTS_A_CODE = 200  # half of them the first, half the last
STATES = ("supplied", "stands", "excess", "retold", "netted", "back", "cancelled")
_TEXTS = ["event_id", "source", "fixmedins_code", "psn_no", "setl_id", "feedetl_sn", "med_list_codg", "trdn_flag",
          "manu_lotnum", "expy_end"]  # fmt: skip


def histories(
    bucket: Bucket,
    named: pl.DataFrame,
    own_excess: dict[str, pl.DataFrame],
    gone: pl.Expr | None = None,
    institutions: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row per finding, code and event of the code, as in code_history.parquet but for `accused`; sorted by
    finding_id, code and seq.

    named:      the codes of findings: finding_id, code, accused, and fixmedins_code where only sales there are judged
    own_excess: (row, own_excess in ten-thousandths of a unit) of standing sales, `code_site` judged by site, `code`
                over all sites
    gone:       of a row of trace_codes, whether what it tells of was reversed as a whole; nothing was unless said

    At most CODES_A_FINDING codes a finding, the accused first, and EVENTS_A_CODE events a code; `codes_left_out` and
    `events_left_out` say how many there are beyond. A code that cannot be used has no life of its own.
    """
    chosen = _chosen(named)
    lives = _lives(bucket, chosen["key"].unique(), pl.lit(False) if gone is None else gone, institutions)
    rows = chosen.join(lives, on="key")
    for scope, excess in own_excess.items():
        wanted = excess.join(rows.select("row").unique(), on="row", how="semi")
        wanted = wanted.group_by("row").agg(pl.col("own_excess").max().alias(f"by_{scope}"))
        rows = rows.join(wanted, on="row", how="left")
    one_site = pl.col("only_at").is_not_null()
    here = pl.when(pl.col("only_at") == pl.col("fixmedins_code")).then("by_code_site")
    rows = rows.with_columns(excess=pl.when(one_site).then(here).otherwise("by_code").fill_null(0))
    state = pl.when((pl.col("state") == "stands") & (pl.col("excess") > 0)).then(pl.lit("excess")).otherwise("state")
    rows = rows.with_columns(quantity("excess").alias("excess_cnt"), state=state)
    return rows.drop("key", "row", "only_at", "excess", "by_code_site", "by_code").sort("finding_id", "code", "seq")


def _chosen(named: pl.DataFrame) -> pl.DataFrame:
    """The codes a finding tells of: finding_id, key, code, only_at, codes_left_out."""
    keyed = named.with_columns(key=keys_of(named["code"])).drop_nulls("key")
    codes = keyed.group_by("finding_id", "key").agg(
        pl.col("code").min(), pl.col("accused").any(), only_at=pl.col("fixmedins_code").min()
    )
    codes = codes.sort("finding_id", "accused", "code", "key", descending=[False, True, False, False])
    place = pl.int_range(pl.len()).over("finding_id")
    beyond = (pl.len().over("finding_id").cast(pl.Int64) - CODES_A_FINDING).clip(0)
    codes = codes.with_columns(codes_left_out=beyond, place=place).filter(pl.col("place") < CODES_A_FINDING)
    return codes.drop("accused", "place")


def _lives(bucket: Bucket, keys: pl.Series, gone: pl.Expr, institutions: pl.DataFrame | None):
    """One row per event of some codes: key, row, seq, what it was, what became of it, and the way from the one before.

    A sale stands with what returns left of it; a sale or return told again (a retry, the other channel, a part of the
    same return) is `retold` and adds nothing.
    """
    events = bucket.events
    rows = events.rows.lazy().filter(pl.col("code_key").is_in(keys.implode())).collect()
    rows = rows.select("row", *_TEXTS, "units", "event_type", key="code_key", time="event_time")
    here = rows.select("row")
    uploads = events.uploads.select("row", "event").join(here, on="row", how="semi")
    back_told = events.told.filter("back").select("row", told=pl.lit(True)).join(here, on="row", how="semi")
    stands = bucket.sales.select("row", stands="units").join(here, on="row", how="semi")
    for frame in (uploads, back_told, stands):
        rows = rows.join(frame, on="row", how="left", maintain_order="left")
    below = pl.col("units") < 0
    back = (pl.col("event_type") == "void") | ((pl.col("event_type") == "return") ^ below)
    states = {
        "supplied": pl.col("event_type").is_in(["purchase", "stocktake"]),
        "cancelled": gone,
        "back": back & pl.col("told").is_not_null(),
        "retold": back | (pl.col("event") != pl.col("row")),
        "stands": pl.col("stands").is_not_null(),
    }
    state = pl.coalesce(*(pl.when(test).then(pl.lit(name)) for name, test in states.items()), pl.lit("netted"))
    void = below & pl.col("event_type").is_in(["sale", "return"])
    rows = rows.with_columns(
        state=state,
        kind=pl.when(void).then(pl.lit("void")).otherwise("event_type"),
        stands=pl.col("stands").fill_null(0),
    )
    rows = _in_order(_placed(rows, institutions))
    rows = rows.with_columns(quantity("units").alias("cnt"), quantity("stands").alias("stands_cnt"))
    return rows.drop("units", "stands", "told", "event", "event_type")


def _placed(rows: pl.DataFrame, institutions: pl.DataFrame | None) -> pl.DataFrame:
    """Rows with fixmedins_name, lon and lat of their institution, where these are known."""
    fields = ("fixmedins_code", "fixmedins_name", "lon", "lat")
    empty = pl.DataFrame(schema={"fixmedins_code": pl.String})
    sites = with_fields(empty if institutions is None else institutions, "institutions", *fields).select(fields)
    sites = sites.sort(fields).unique("fixmedins_code", keep="first", maintain_order=True)
    return rows.join(sites, on="fixmedins_code", how="left", maintain_order="left")


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows numbered by time and event_id, with distance and time since the event before; the middle of long lives
    left out."""
    rows = rows.sort("key", "time", "event_id")
    rows = rows.with_columns(
        pl.col("fixmedins_code", "lon", "lat", "time").shift(1).over("key").name.suffix("_before"),
        seq=pl.int_range(1, pl.len() + 1).over("key"),
        of=pl.len().over("key").cast(pl.Int64),
    )
    metres = metres_between("lon", "lat", "lon_before", "lat_before")
    metres = pl.when(pl.col("fixmedins_code") == pl.col("fixmedins_code_before")).then(0).otherwise(metres)
    tenths = ((metres + 50) // 100).cast(pl.Decimal(10, 0)) * pl.lit("0.1").cast(pl.Decimal(2, 1))
    rows = rows.with_columns(
        km=tenths.cast(pl.Decimal(8, 1)),
        gap_minutes=(pl.col("time") - pl.col("time_before")).dt.total_minutes(),
        events_left_out=(pl.col("of") - EVENTS_A_CODE).clip(0),
    )
    ends = (pl.col("seq") <= EVENTS_A_CODE // 2) | (pl.col("seq") > pl.col("of") - EVENTS_A_CODE // 2)
    before = [name for name in rows.columns if name.endswith("_before")]
    return rows.filter((pl.col("events_left_out") == 0) | ends).drop(*before, "lon", "lat", "of")
