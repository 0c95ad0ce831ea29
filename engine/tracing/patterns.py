"""What only shows over many codes: scans in a burst, the packs of one buyer, what one site sold again."""

import polars as pl

from engine.tracing.evidence import Facts, suspect_fund
from engine.tracing.facts import Bucket, sales_of
from engine.tracing.words import FACTS


def burst_facts(bucket: Bucket, *, within_seconds: int = 1) -> Facts:
    """One row per run of packs with consecutive serials sold at one site, each within some seconds of the one before.

    `bucket` holds all events of the sites in it. Runs of one pack are left out.
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
    return Facts(cases.select("case", *FACTS["burst"]), sales_of(own), bucket.tell)


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
