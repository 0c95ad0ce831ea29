"""Who bought packs that came back elsewhere, and where: networks by hand, components against a plain oracle."""

from collections import defaultdict
from datetime import timedelta

import polars as pl
import pytest
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from test_tracing import BOX, START, bought, bucket, lines_of, sale

from engine.run import pipeline
from engine.run.codecontext import CONTEXT
from engine.tables.outputs import conform
from engine.tracing.facts import code_facts
from engine.tracing.networks import components, networks, resale_ties

TIES = {"code": pl.String, "kind": pl.String, "psn_no": pl.String, "fixmedins_code": pl.String,
        "time": pl.Datetime("us"), "suspect_fund": pl.Int64}  # fmt: skip


def resold(code: str, first: tuple, again: tuple, fund: int | None = 100, day: int = 0) -> list[tuple]:
    """The ties of a code bought by `first` (person, site) and again by the other a week later."""
    early, late = START + timedelta(days=day), START + timedelta(days=day + 7)
    return [(code, "first", *first, early, None), (code, "resold", first[0], again[1], late, fund),
            (code, "later", *again, late, None)]  # fmt: skip


def made(*codes: list[tuple], **limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    found, edges = networks(pl.DataFrame([row for rows in codes for row in rows], TIES, orient="row"), **limits)
    named = edges.with_columns(fixmedins_name=pl.lit(None, pl.String))
    return conform(found, "networks"), conform(named, "network_edges")


def members(edges: pl.DataFrame) -> list[set[str]]:
    """The members of each network by its lines that join."""
    joins = edges.filter(pl.col("state") == "joins")
    groups = joins.group_by("network_id").agg(pl.col("psn_no", "fixmedins_code").unique()).sort("network_id")
    return sorted(({*p, *s} for _, p, s in groups.iter_rows()), key=sorted)


def test_two_buyers_who_feed_one_shop_are_one_network():
    codes = [resold(f"c{n}", ("P1", "A"), (f"X{n}", "Z")) for n in range(3)]
    codes += [resold(f"d{n}", ("P2", "B"), ("Y", "Z"), fund=50, day=9) for n in range(2)]
    codes += [resold("e", ("P9", "C"), ("P8", "D"))]
    found, edges = made(*codes)
    assert members(edges) == [{"A", "B", "P1", "P2", "Y", "Z"}]
    (row,) = found.to_dicts()
    expected = {
        "rank": 1, "persons": 3, "institutions": 3, "first_buyers": 2, "later_buyers": 1, "first_sites": 2,
        "resale_sites": 1, "codes": 5, "suspect_fund_fen": 400, "fund_unknown_codes": 0, "edges": 5, "weak_edges": 3,
        "busy_edges": 0, "first_day": START.date(), "last_day": (START + timedelta(days=16)).date(), "min_codes": 2,
        "max_first_buyers": 30,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert edges.filter(pl.col("network_id").is_null()).select("psn_no", "fixmedins_code", "state").rows() == [
        ("P8", "D", "weak"), ("P9", "C", "weak"), ("P9", "D", "weak"),
    ]  # fmt: skip
    lines = {(p, s): counts for _, p, s, _, _, *counts, _, _ in edges.iter_rows()}
    assert lines["P1", "A"] == [3, 3, 0, 0] and lines["P1", "Z"] == [3, 0, 3, 0] and lines["Y", "Z"] == [2, 0, 0, 2]


def test_a_hospital_where_everybody_buys_glues_nothing_together():
    codes = [resold(f"c{p}-{n}", (f"P{p:02}", "H"), (f"X{p}-{n}", f"Z{p:02}")) for p in range(40) for n in range(2)]
    found, edges = made(*codes)
    assert members(edges) == [{f"P{p:02}", f"Z{p:02}"} for p in range(40)]
    assert found["busy_edges"].to_list() == [1] * 40 and found["codes"].to_list() == [2] * 40
    assert edges.filter(pl.col("state") == "busy")["fixmedins_code"].unique().to_list() == ["H"]
    together, _ = made(*codes, max_first_buyers=40)
    assert together["persons"].to_list() == [40] and together["busy_edges"].to_list() == [0]


def test_a_shop_that_sells_to_everybody_again_keeps_those_who_feed_it():
    """Later buyers of one code each are strangers; but who feeds a shop stays with it, however many do."""
    codes = [resold(f"c{p}-{n}", (f"P{p:02}", f"A{p}"), (f"X{p}-{n}", "Z")) for p in range(40) for n in range(2)]
    found, edges = made(*codes)
    assert found.select("persons", "institutions", "weak_edges").rows() == [(40, 41, 80)]


def test_networks_stand_in_order_of_money_then_size():
    def pair(name: str, fund: int | None, codes: int = 2) -> list[tuple]:
        return [t for n in range(codes)
                for t in resold(f"{name}{n}", (f"P{name}", f"A{name}"), (f"X{name}{n}", f"Z{name}"), fund)]  # fmt: skip

    big = pair("b", 100) + [("b9", "later", "Q", "Zb", START, None), ("b8", "later", "Q", "Zb", START, None)]
    found, edges = made(pair("a", 100), big, pair("c", 300), pair("d", None))
    first = {row["network_id"]: row["rank"] for row in found.to_dicts()}
    sites = edges.filter(pl.col("state") == "joins").group_by("network_id").agg(pl.col("fixmedins_code").max())
    assert [s for _, s in sorted((first[n], s) for n, s in sites.iter_rows())] == ["Zc", "Zb", "Za", "Zd"]
    assert found["fund_unknown_codes"].to_list() == [0, 0, 0, 2]


def test_a_code_counts_for_one_network_and_a_nameless_sale_for_no_line():
    # Bought one by one all over the place, resold two at a time: the first purchases are weak, the resales join.
    codes = [resold(f"c{n}", (f"P{n}", "A"), ("Q", "Z")) for n in range(2)]
    codes += [resold(f"d{n}", ("Q", "B"), (f"Y{n}", "W")) for n in range(2)]
    codes += [resold("n", (None, "A"), (None, "Z"))]
    found, edges = made(*codes)
    assert found["codes"].sum() == 4 and len(found) == 1
    assert edges["psn_no"].null_count() == 0


def test_later_months_leave_the_name_of_a_network():
    early = [resold(f"c{n}", ("P1", "A"), (f"X{n}", "Z")) for n in range(2)]
    late = [resold(f"d{n}", ("P0", "0"), (f"Y{n}", "Z"), day=30) for n in range(3)]
    assert made(*early)[0]["network_id"].to_list() == made(*early, *late)[0]["network_id"].to_list()


def test_no_ties_no_networks():
    found, edges = made()
    assert found.is_empty() and edges.is_empty()


PERSONS, SITES = st.sampled_from([f"p{n}" for n in range(12)]), st.sampled_from([f"s{n}" for n in range(12)])


@given(st.lists(st.tuples(PERSONS, SITES), max_size=60), st.randoms())
def test_components_are_those_of_a_plain_union_find(pairs, chance):
    expected = union_find(pairs)
    for _ in range(2):
        left, right = (pl.Series([e[side] for e in pairs], dtype=pl.String) for side in (0, 1))
        groups = defaultdict(set)
        for side, node, network in components(left, right).iter_rows():
            groups[network].add((side, node))
        assert sorted(map(sorted, groups.values())) == expected
        chance.shuffle(pairs)


@pytest.mark.parametrize("length", [1, 2, 3, 50, 333])
def test_a_long_chain_is_one_component(length):
    hops = [(f"p{(n * 7919) % 10007:05}", f"s{(m * 104729) % 10007:05}") for n in range(length) for m in (n, n + 1)]
    left, right = (pl.Series([h[side] for h in hops], dtype=pl.String) for side in (0, 1))
    assert components(left, right)["network"].unique().to_list() == [0]


def union_find(pairs: list[tuple[str, str]]) -> list[list[tuple]]:
    parent: dict[tuple, tuple] = {}

    def root(node: tuple) -> tuple:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for person, site in pairs:
        parent[root((0, person))] = root((1, site))
    groups = defaultdict(list)
    for node in parent:
        groups[root(node)].append(node)
    return sorted(map(sorted, groups.values()))


TIED = st.lists(st.tuples(st.integers(0, 9), PERSONS, SITES, PERSONS, SITES), min_size=1, max_size=40)


@given(TIED, st.randoms(), st.integers(1, 3), st.integers(1, 4))
def test_networks_do_not_depend_on_the_order_of_ties(drawn, chance, min_codes, most):
    codes = {f"c{n}": (first, at, later, there) for n, first, at, later, there in drawn}
    ties = [t for code, (p, a, q, b) in codes.items() for t in resold(code, (p, a), (q, b), day=int(code[1:]))]
    limits = {"min_codes": min_codes, "max_first_buyers": most}
    found, edges = made(ties, **limits)
    assert not found["network_id"].is_duplicated().any() and found["rank"].to_list() == list(range(1, len(found) + 1))
    assert found["edges"].sum() == (edges["state"] == "joins").sum()
    cut = edges.filter((pl.col("state") != "joins") & pl.col("network_id").is_not_null())
    assert found.select(pl.col("weak_edges", "busy_edges").sum()).sum_horizontal().item() == len(cut)
    assert found["codes"].sum() <= len(codes)
    joins = edges.filter(pl.col("state") == "joins")
    assert len(union_find(joins.select("psn_no", "fixmedins_code").rows())) == len(found)
    chance.shuffle(ties)
    again = made(ties, **limits)
    assert again[0].equals(found) and again[1].equals(edges)


# from the facts of codes


def ties_of(*events: dict, named=(BOX,), **more) -> list[tuple]:
    read = bucket(*events, **more)
    ties = resale_ties(code_facts(read), pl.Series(list(named), dtype=pl.String), read.sites)
    shown = ties.select("kind", "psn_no", "fixmedins_code", "suspect_fund").rows()
    return sorted(shown, key=lambda row: ("first", "resold", "later").index(row[0]))


def test_a_code_sold_again_elsewhere_ties_its_buyers_to_both_sites():
    events = [bought(BOX, "A", 0), sale(BOX, "A", 1, 1), sale(BOX, "B", 20, 2)]
    lines = lines_of((1, 1, 500), (2, 1, 700))
    assert ties_of(*events, fee_lines=lines) == [
        ("first", "P1", "A", None), ("resold", "P1", "B", 700), ("later", "P2", "B", None),
    ]  # fmt: skip
    assert ties_of(*events, named=(), fee_lines=lines) == [], "codes that no finding names tie nobody"


def test_a_chain_a_repeat_at_the_first_site_and_a_single_sale_tie_nobody():
    assert ties_of(sale(BOX, "K1", 1, 1), sale(BOX, "K2", 20, 2)) == []
    assert ties_of(sale(BOX, "A", 1, 1), sale(BOX, "A", 20, 2)) == []
    assert ties_of(sale(BOX, "A", 1, 1)) == []
    both = ties_of(sale(BOX, "A", 1, 1), sale(BOX, "A", 2, 2), sale(BOX, "B", 20, 3))
    assert [row[:3] for row in both] == [("first", "P1", "A"), ("resold", "P1", "B"), ("later", "P3", "B")]


def test_a_run_names_no_person_unless_it_is_told_to(region, tmp_path):
    """Persons stand under one pseudonym in findings, histories and networks; the first buyer of T13 too."""
    bundle = shared("data", "sample-trace")
    made = {}
    for reveal in (False, True):
        out = tmp_path / str(reveal)
        pipeline.run(bundle, out, region, pipeline.Options(report=False, reveal=reveal), parts=("trace",))
        tables = {name: pl.read_parquet(out / f"{name}.parquet") for name in ("findings", *CONTEXT)}
        made[reveal] = tables
        persons = pl.concat(
            [tables["findings"].filter(pl.col("scope") == "buyer")["scope_key"], *(tables[n]["psn_no"].drop_nulls()
             for n in ("findings", "code_history", "network_edges"))]
        )  # fmt: skip
        assert persons.str.contains(r"^P[0-9a-f]{16}$").all() != reveal
    masked, named = made[False], made[True]
    assert masked["networks"].equals(named["networks"]) and masked["networks"].height == 3
    buyers = masked["findings"].filter(pl.col("scope") == "buyer")["scope_key"]
    joined = masked["network_edges"].filter(pl.col("state") == "joins")
    assert set(buyers) == set(joined["psn_no"])
