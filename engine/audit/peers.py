"""How a ward or an institution stands among its peers: the rate of each case, and the percentiles of those alike.

Peers are in other institutions, so in a run the rates of all buckets are gathered first, ranked once, and given to
every bucket (PEERS among its tables). What has only its own bucket, a test or a question, ranks that.
"""

import polars as pl

from engine.audit.frames import Cases
from engine.audit.sums import summed
from engine.language.rule import LoadedRule

PEERS = "_peers"  # among the tables of a bucket: rule_id, group, and the words of `peers`
RATE = pl.Decimal(38, 18)
RATES = {"rule_id": pl.String, "group": pl.String, "value": RATE}
PERCENTILES = {"p90": 90, "p95": 95}


def with_peers(loaded: LoadedRule, facts, cases: Cases) -> Cases:
    """The cases with the words of `peers`, where the rule compares; missing where there are too few peers."""
    if loaded.rule.peers is None:
        return cases
    own = rates(loaded, cases)
    told = facts.tables[PEERS] if PEERS in facts.tables else ranked(own)
    told = told.filter(pl.col("rule_id") == loaded.rule.id)
    few = pl.col("count") < loaded.rule.peers.least
    words = [pl.when(~few).then(name).alias(f"peers.{name}") for name in PERCENTILES]
    told = told.select("group", pl.col("count").alias("peers.count"), *words)
    groups = cases.frame.with_columns(_group=_group(loaded, cases))
    frame = groups.join(told, left_on="_group", right_on="group", how="left", maintain_order="left").drop("_group")
    return Cases(frame.with_columns(pl.col("peers.count").fill_null(0)), cases.members, cases.key, cases.unplaced)


def rates(loaded: LoadedRule, cases: Cases) -> pl.DataFrame:
    """The rate of every case that counts among its peers: rule_id, group, value."""
    of, where = loaded.compiled["peers.of"], loaded.compiled.get("peers.where")
    needed = {a.name: a for part in (of, where) if part for a in part.aggregates}
    frame = summed(cases.frame, cases, list(needed.values()))
    counts = pl.lit(True) if where is None else where.value.fill_null(False)
    value = of.value if of.raises is None else pl.when(~of.raises).then(of.value)
    rows = frame.select(
        rule_id=pl.lit(loaded.rule.id), group=_group(loaded, cases), value=value.cast(RATE), _counts=counts
    )
    return rows.filter("_counts").drop("_counts").drop_nulls("value")


def _group(loaded: LoadedRule, cases: Cases) -> pl.Expr:
    """What peers have in common: the values of `among`, and the joined row."""
    among = [loaded.compiled[f"peers.among.{n}"].value for n in range(len(loaded.rule.peers.among))]
    among += [pl.col("_row")] if "_row" in cases.frame.columns else []
    parts = [part.cast(pl.String).fill_null("") for part in among] or [pl.lit("")]
    return pl.concat_str(parts, separator="\x1f")


def ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """By rule and group, how many rates there are and their percentiles by nearest rank."""
    ordered = pl.col("value").sort()
    ranks = {name: ordered.get((pl.len() * percent + 99) // 100 - 1) for name, percent in PERCENTILES.items()}
    told = rows.group_by("rule_id", "group").agg(count=pl.len().cast(pl.Int64), **ranks)
    return told.sort("rule_id", "group")
