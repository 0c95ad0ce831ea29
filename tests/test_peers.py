"""How a ward or an institution stands among its peers: percentiles by nearest rank, over the whole region."""

from decimal import Decimal

import polars as pl
import pytest

from engine.audit import INSTITUTION_SCOPES, audit
from engine.audit.examples import canonical
from engine.audit.peers import RATES, ranked
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.run import buckets, stages
from engine.run.comparing import with_region_peers
from engine.run.region import load_region

RULE = """id: trial
title: 试
description: 试
family: trial
basis: [{law: 试}]
for: department
let: {dear: "$sum([v.total for v in dept.visits])"}
peers:
  of: dear / dept.stays
  among: [dept.name]
when: peers.p90 != null and dear > (peers.p90 ?? 0) * dept.stays
flag: v.inpatient
amount: claim
message: "{peers.count} {peers.p90}"
tests: []
"""


def of_values(values: list[int]) -> tuple:
    rows = [("r", "g", Decimal(v)) for v in values]
    (row,) = ranked(pl.DataFrame(rows, schema=RATES, orient="row")).rows()
    return row[2:]


@pytest.mark.parametrize(
    "values, told",
    [
        (list(range(1, 11)), (10, 9, 10)),  # the ninth and the tenth of ten
        (list(range(20, 0, -1)), (20, 18, 19)),
        ([7], (1, 7, 7)),
        ([5, 5, 5, 5], (4, 5, 5)),
    ],
)
def test_a_percentile_is_the_value_at_its_rank_whatever_the_order(values, told):
    assert of_values(values) == told


@pytest.fixture
def region(tmp_path):
    (tmp_path / "trial.yaml").write_text(RULE, "utf-8")
    made = load_region()
    rules, faults = load_rules(tmp_path, load_knowledge([]))
    assert not faults, "\n".join(map(str, faults))
    made.rules = rules
    return made


def bundle(sites: int) -> dict[str, pl.LazyFrame]:
    """One stay of 100 yuan in the ward of each site, and one of 900 at the first."""
    others = [{"id": f"S{n}", "person": f"P{n}", "hospital": f"H{n:02}", "lines": [{"item": "A", "price": "100"}]}
              for n in range(2, sites + 1)]  # fmt: skip
    tables = canonical({"lines": [{"item": "A", "price": "900"}], "others": others})
    tables["claims"] = tables["claims"].drop("cancelled")
    tables["fee_lines"] = tables["fee_lines"].drop("net_cnt")
    return {name: frame.lazy() for name, frame in tables.items()}


@pytest.mark.parametrize("lines_a_bucket", [1, 4, 1000])
def test_peers_are_those_of_the_region_however_it_is_cut(region, lines_a_bucket):
    tables = bundle(sites=12)
    groups = buckets.institution_buckets(tables, region, region.rules, lines_a_bucket)
    found = [stages.audited(own(), region, INSTITUTION_SCOPES)[0]
             for own in with_region_peers(groups, tables, region, lines_a_bucket)]  # fmt: skip
    (finding,) = pl.concat(found).to_dicts()
    assert (finding["fixmedins_code"], finding["message"]) == ("H00000000001", "12 100")


def test_fewer_peers_than_asked_for_have_no_percentile(region):
    (tables,) = [own() for own in buckets.institution_buckets(bundle(sites=4), region, region.rules)]
    assert audit(region.rules, stages.facts_of(stages.netted(tables), region), INSTITUTION_SCOPES)[0].is_empty()
