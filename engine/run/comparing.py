"""The one thing a region knows and no bucket does: how wards and institutions stand among their peers."""

from collections.abc import Callable

import polars as pl

from engine.audit.cases import cases_of
from engine.audit.needs import missing
from engine.audit.peers import PEERS, RATES, ranked, rates
from engine.run import buckets, stages
from engine.run.region import Region

Group = Callable[[], dict[str, pl.DataFrame]]


def with_region_peers(
    groups: list[Group], tables: dict[str, pl.LazyFrame], region: Region, lines_a_bucket: int = buckets.LINES_A_BUCKET
) -> list[Group]:
    """The groups of institutions, each told the percentiles of the whole region, where a rule compares with peers."""
    rules = [r for r in region.rules if r.rule.peers and r.rule.status != "retired"]
    if not rules:
        return groups
    found = [pl.DataFrame(schema=RATES)]
    for own in buckets.institution_buckets(tables, region, rules, lines_a_bucket):
        facts = stages.facts_of(stages.netted(own()), region)
        found += [rates(r, cases_of(r, facts)) for r in rules if not missing(r, facts.tables)]
    told = ranked(pl.concat(found))
    return [lambda group=group: {**group(), PEERS: told} for group in groups]
