"""The small kernels, each a benchmark: `pytest tests/test_kernels_bench.py -n 0 --benchmark-enable` measures them.

Otherwise they run once, as tests that each gives what it should; no time is ever asserted.
"""

import json
from io import StringIO

import polars as pl
import pytest
from rich.console import Console

from engine.audit.facts import Facts
from engine.audit.judge import judge
from engine.grouping.group import group
from engine.run import buckets
from engine.run.stages import INPATIENT, with_identity
from engine.settlement.lines import classify
from engine.settlement.person import settle
from engine.tables.dictionary import with_fields
from engine.tables.netting import net
from engine.tables.problems import InvariantBroken
from engine.tables.read import read
from engine.tracing.codes import normalise
from synthetic import bench, bench_money, timing

ROWS = 20_000


@pytest.fixture(scope="module")
def tables(bundle, region, tmp_path_factory) -> dict[str, pl.DataFrame]:
    """The tables of the shared bundle as one bucket."""
    work = tmp_path_factory.mktemp("kernels")
    extract = read(bundle, work / "read", "auto", region.knowledge["wordings"])
    buckets.split(extract.tables, work / "buckets")
    found = buckets.bucket_tables(work / "buckets", 0)
    found.pop(buckets.LINE_CODES)
    return {name: with_fields(frame, name) for name, frame in found.items()}


@pytest.fixture(scope="module")
def facts(tables, region) -> Facts:
    claims, lines = net(tables["claims"], tables["fee_lines"])[:2]
    return Facts({**tables, "claims": claims, "fee_lines": lines}, region.knowledge)


@pytest.mark.parametrize("form", ["8{:019d}", "８{:019d}", "(01)06901234567892(21)S{}"], ids=["plain", "wide", "gs1"])
def test_codes_are_normalised(benchmark, form):
    codes = pl.DataFrame({"code": [form.format(n) for n in range(ROWS)]})
    said = benchmark(lambda: codes.select(normalise(pl.col("code"))).to_series())
    assert said.n_unique() == ROWS
    assert said[7] == ("06901234567892|S7" if "(21)" in form else f"8{7:019d}")


def test_refunds_and_returns_are_netted(benchmark, tables):
    claims, lines = benchmark(net, tables["claims"], tables["fee_lines"])[:2]
    assert claims["cancelled"].any()
    assert (lines["net_cnt"] >= 0).all()
    assert lines["feedetl_sn"].equals(tables["fee_lines"]["feedetl_sn"])


def test_lines_are_classified(benchmark, tables, region):
    lines = benchmark(classify, tables["fee_lines"], region.knowledge["catalogue"])
    parts = pl.sum_horizontal("fulamt_ownpay_amt", "overlmt_amt", "preselfpay_amt", "inscp_scp_amt")
    assert lines.select((parts == pl.col("det_item_fee_sumamt")).all()).item()


def test_claims_are_settled(benchmark, tables, region):
    arguments = (region.policy, region.knowledge["catalogue"], tables["account_openings"])
    settled = benchmark(settle, tables["claims"], tables["fee_lines"], *arguments)
    assert settled.height == tables["claims"].height
    assert settled["first_difference"].null_count() == settled.height


@pytest.mark.parametrize("why", [True, False], ids=["why", "no-why"])
def test_stays_are_grouped(benchmark, tables, region, why):
    stays = with_identity(tables["claims"], tables["persons"]).filter(pl.col("visit_kind").is_in(INPATIENT))
    grouped = benchmark(group, stays, tables["diagnoses"], tables["procedures"], region.scheme, why)
    assert grouped.height == stays.height
    assert grouped["why"].null_count() == (0 if why else stays.height)


def test_facts_of_visits_and_lines_are_gathered(benchmark, facts, region):
    lines = benchmark(lambda: Facts(facts.tables, region.knowledge).lines({"item", "amount", "visit.days"}))
    assert lines.height == facts.tables["fee_lines"].filter(pl.col("net_cnt") > 0).height


RULES = {"visit_day": "per-treatment-dialysis-billed-hourly", "line_pair": "routine-panel-with-component-tests"}


@pytest.mark.parametrize("rule_id", RULES.values(), ids=RULES)
def test_a_rule_is_judged(benchmark, facts, region, rule_id):
    (loaded,) = (rule for rule in region.rules if rule.rule.id == rule_id)
    verdict = benchmark(judge, loaded, facts)
    assert verdict.hits.height
    assert verdict.unjudged.cases == 0


# `yibao bench`


def test_the_bench_measures_every_part_and_compares_only_what_is_equal(tmp_path, monkeypatch):
    little = {(timing, "ROUNDS"): 1, (timing, "SECONDS"): 0, (bench, "ROUNDS"): 1, (bench, "SAMPLE"): 50,
              (bench, "STAYS"): 10, (bench, "STAYS_GROUPED"): 5_000, (bench, "STAYS_PLAIN"): 1_000,
              (bench, "TRACE_EVENTS"): 1, (bench_money, "CLAIMS"): 1, (bench_money, "LINES"): 1}  # fmt: skip
    for (module, name), value in little.items():
        monkeypatch.setattr(module, name, value)
    measured = json.loads(json.dumps(bench.bench(tmp_path, claims=300)))
    rows = measured["rows"]
    assert {row["part"] for row in rows} == {"read", "rules", "claim", "interpreter", "sql", "group", "settle", "trace"}
    compared = [row for row in rows if row["part"] in ("interpreter", "trace")]
    assert all(row["ratio"] > 0 and row["against_per_second"] > 0 for row in compared)
    shown = StringIO()
    Console(file=shown, width=200).print(bench.table(measured, language=1))
    assert "reading" in shown.getvalue()


def test_the_bench_says_so_where_duckdb_is_not_installed(monkeypatch, facts, region, tmp_path):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    (row,) = bench._sql(facts.tables, region, tmp_path)
    assert row.per_second is None
    assert "yibao[test]" in row.against


def test_the_bench_prints_no_speed_of_answers_that_differ():
    with pytest.raises(InvariantBroken):
        timing.same([1], [2], "rule")
