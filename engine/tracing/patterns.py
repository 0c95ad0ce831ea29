"""What only shows over many codes: scans in a burst, the packs of one buyer, what one site sold again."""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keyed
from engine.tracing.evidence import Facts, suspect_fund
from engine.tracing.facts import Bucket, sales_of
from engine.tracing.words import FACTS


def burst_facts(bucket: Bucket, rows: pl.LazyFrame | None = None, *, within_seconds: int = 1) -> Facts:
    """One row per run of packs with consecutive serials sold at one site, each within some seconds of the one before.

    `bucket` holds all codes that could be of a run; runs of one pack are left out. `rows` are all rows of trace_codes,
    in which is counted what else the site told at the very times of a run that was sold to several people.
    """
    sales = bucket.sales.unique(["site", "key"], keep="first", maintain_order=True).sort("site", "key")
    # Keys are unsigned, so the one before plus one is compared, not a difference, which would wrap.
    follows = (
        (pl.col("site") == pl.col("site").shift(1))
        & (pl.col("key") == pl.col("key").shift(1) + 1)
        & ((pl.col("time") - pl.col("time").shift(1)).dt.total_microseconds().abs() <= within_seconds * 1_000_000)
    )
    sales = sales.with_columns(run=(~follows.fill_null(False)).cum_sum())
    sales = sales.filter(pl.col("run").is_duplicated())
    span = (pl.col("time").max() - pl.col("time").min()).dt.total_seconds()
    cases = sales.group_by("run", maintain_order=True).agg(
        pl.col("row").first(),
        codes=pl.len().cast(pl.Int64),
        persons=pl.col("person").drop_nulls().n_unique().cast(pl.Int64),
        settlements=pl.col("doc").n_unique().cast(pl.Int64),
        seconds=span,
        time=pl.col("time").min(),
    )
    texts = bucket.events.rows.select("fixmedins_code", first_code="code")[cases["row"]]
    cases = pl.concat([cases, texts], how="horizontal").sort("fixmedins_code", "first_code").with_row_index("case")
    own = sales.join(cases.select("case", "run"), on="run").with_columns(own_excess=pl.lit(0, pl.Int64))
    beside = _told_beside(cases.filter(pl.col("persons") > 1), own, bucket.events.rows.lazy() if rows is None else rows)
    cases = cases.join(beside, on="case", how="left", maintain_order="left").with_columns(pl.col("beside").fill_null(0))
    return Facts(cases.select("case", *FACTS["burst"]), sales_of(own), bucket.tell)


def _told_beside(cases: pl.DataFrame, own: pl.DataFrame, rows: pl.LazyFrame) -> pl.DataFrame:
    """case, beside: how many other codes were told as sold at the site at the very times of the codes of the run."""
    own = own.join(cases.select("case", "fixmedins_code"), on="case")
    if own.is_empty():
        return pl.DataFrame(schema={"case": cases.schema["case"], "beside": pl.Int64})
    times = own.select("case", "fixmedins_code", event_time="time").unique()
    sold = with_fields(rows, "trace_codes", "cnt").filter(
        pl.col("event_time").is_in(times["event_time"].unique().implode()),  # alone decides which rows are read in full
        pl.col("event_type") == "sale", pl.col("cnt").fill_null(1) > 0,
    ).select("drug_trac_codg", "fixmedins_code", pl.col("event_time").cast(pl.Datetime("us")))  # fmt: skip
    met = sold.join(times.lazy(), on=["fixmedins_code", "event_time"]).select("case", "drug_trac_codg")
    codes = keyed(met.collect(engine="streaming")).select("case", key="code_key").drop_nulls().unique()
    others = codes.join(own, on=["case", "key"], how="anti")
    return others.group_by("case").agg(beside=pl.len().cast(pl.Int64))


def resold_codes(codes: Facts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a bucket contributes to the facts of buyers: cases and events of the codes that were sold again, beyond
    their content, at a site outside the chain of the site before."""
    resold = pl.col("resale_site").is_not_null() & (pl.col("excess_units") > 0) & pl.col("first_person").is_not_null()
    cases = codes.cases.filter(resold)
    return cases.drop("case"), codes.events(cases["case"]).filter(pl.col("role") != "parent").drop("case")


def buyer_facts(resold: pl.DataFrame, events: pl.DataFrame) -> Facts:
    """One row per person who was the first buyer of codes that were sold again elsewhere.

    Takes the two frames of `resold_codes`, of all buckets put together. Events are the sales of these codes.
    """
    return _resold_by(
        resold.rename({"first_person": "psn_no"}), events, "buyer", "psn_no", "resale_site", "at_one_site"
    )


def reseller_facts(resold: pl.DataFrame, events: pl.DataFrame) -> Facts:
    """One row per site that sold codes again whose first buyers, at other sites, are known.

    Takes what `buyer_facts` takes and tells the same sales.
    """
    resold = resold.rename({"resale_site": "fixmedins_code"})
    return _resold_by(resold, events, "reseller", "fixmedins_code", "first_person", "of_one_person")


def _resold_by(resold: pl.DataFrame, events: pl.DataFrame, scope: str, key: str, other: str, most: str) -> Facts:
    """One row per `key`, with how many codes share one `other` at most (`most_` and the rest of its name)."""
    shared = resold.group_by(key, other).agg(pl.len().cast(pl.Int64)).group_by(key).agg(pl.col("len").max())
    cases = resold.group_by(key).agg(
        codes=pl.len().cast(pl.Int64),
        first_sites=pl.col("first_site").n_unique().cast(pl.Int64),
        suspect_fund=suspect_fund(),
        others=pl.col(other).n_unique().cast(pl.Int64),
    )
    cases = cases.join(shared, on=key).rename({"len": f"most_{most}", "others": f"{other}s"})
    cases = cases.sort(key).with_row_index("case")
    whose = resold.select(key, "code").join(cases.select("case", key), on=key).select("case", "code")
    return Facts(cases.select("case", *FACTS[scope]), events.join(whose, on="code"), lambda chosen: chosen)
