"""The whole life of a code behind a finding: every event in order, what became of it, and the way between them."""

from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from test_sieve import told, typed, wild_tables
from test_tracing import BOX, BOX2, CHAINS, IDENTIFIERS, INSTITUTIONS, RELATIONS, bought, event, given_back, sale
from test_tracing import trace as events_of

from engine.run import codeparts
from engine.run.codecontext import CONTEXT, code_networks, with_context
from engine.run.codeparts import trace_parts
from engine.tables.outputs import conform
from engine.tracing import history
from engine.tracing.codes import keys_of
from engine.tracing.facts import code_facts, code_site_facts, read_bucket
from engine.tracing.history import STATES, histories

NAMED = INSTITUTIONS.with_columns(fixmedins_name=pl.format("机构{}", "fixmedins_code"))


def lives(*events: dict, codes=(BOX,), only_at: str | None = None) -> pl.DataFrame:
    """The history of one finding over codes of these events, all of them accused."""
    bucket = read_bucket(events_of(*events), IDENTIFIERS, RELATIONS, INSTITUTIONS, CHAINS)
    named = pl.DataFrame({"finding_id": "f", "code": list(codes), "accused": True}).with_columns(
        fixmedins_code=pl.lit(only_at, pl.String)
    )
    excess = {"code_site": code_site_facts(bucket), "code": code_facts(bucket)}
    own = {scope: facts.sales.select("row", "own_excess") for scope, facts in excess.items()}
    told_of = histories(bucket, named, own, institutions=NAMED).with_columns(accused=pl.lit(False))
    return conform(told_of, "code_history")


def states(frame: pl.DataFrame) -> list[tuple]:
    return list(frame.select("seq", "kind", "fixmedins_code", "state").iter_rows())


def test_everything_a_pack_lived_through_is_told_in_order_with_the_way_between():
    found = lives(
        bought(BOX, "B", 5), sale(BOX, "B", 9, 2), bought(BOX, "A", 0), sale(BOX, "A", 1, 1), sale(BOX2, "A", 1, 3)
    )
    assert states(found) == [
        (1, "purchase", "A", "supplied"), (2, "sale", "A", "stands"), (3, "purchase", "B", "supplied"),
        (4, "sale", "B", "excess"),
    ]  # fmt: skip
    assert found["gap_minutes"].to_list() == [None, 1440, 4 * 1440, 4 * 1440]
    assert found["km"].to_list() == [None, Decimal("0.0"), Decimal("100.1"), Decimal("0.0")]
    assert found["fixmedins_name"].to_list() == ["机构A", "机构A", "机构B", "机构B"]
    assert found["psn_no"].to_list() == [None, "P1", None, "P2"]
    assert found["stands_cnt"].to_list() == [0, 1, 0, 1] and found["excess_cnt"].to_list() == [0, 0, 0, 1]


def test_a_return_takes_back_a_sale_and_both_are_shown():
    found = lives(bought(BOX, "A", 0), sale(BOX, "A", 1, 1), given_back(BOX, "A", 2, 1), sale(BOX, "A", 3, 2))
    assert [s for *_, s in states(found)] == ["supplied", "netted", "back", "stands"]
    assert found["stands_cnt"].to_list() == [0, 0, 0, 1]


def test_a_void_is_a_sale_below_zero():
    found = lives(sale(BOX, "A", 1, 1), sale(BOX, "A", 2, 1, cnt=Decimal(-1)))
    assert [(k, s) for _, k, _, s in states(found)] == [("sale", "netted"), ("void", "back")]
    assert found["cnt"].to_list() == [1, -1]


def test_a_retry_and_the_other_channel_add_nothing():
    again = sale(BOX, "A", 1.01, 1)
    other = event("sale", BOX, "A", 1.02, setl_id="S1", source="sales_ledger")
    found = lives(sale(BOX, "A", 1, 1), again, other, sale(BOX, "A", 4, 2))
    assert [s for *_, s in states(found)] == ["stands", "retold", "retold", "excess"]
    assert found["source"].to_list() == ["settlement", "settlement", "sales_ledger", "settlement"]
    returned = lives(sale(BOX, "A", 1, 1), given_back(BOX, "A", 2, 1), given_back(BOX, "A", 2, 1))
    assert [s for *_, s in states(returned)] == ["netted", "back", "retold"]


def test_a_settlement_reversed_as_a_whole_is_shown_as_such(region):
    """Told by the claims: sold and refunded at A, then sold at two others."""
    sales = [sale(BOX, "A", 1, 1), given_back(BOX, "A", 2, 1), sale(BOX, "B", 3, 2), sale(BOX, "K1", 40, 3)]
    claims = pl.DataFrame({"setl_id": ["R"], "refd_setl_flag": ["1"], "init_setl_id": ["S1"]})
    tables = {"trace_codes": events_of(*sales), "drug_identifiers": IDENTIFIERS, "claims": claims}
    made = traced(typed(tables), region)
    found = made["code_history"].join(made["findings"].filter(pl.col("rule_id") == "t02-distant-repeat"),
                                      on="finding_id", how="semi")  # fmt: skip
    assert [s for *_, s in states(found)] == ["cancelled", "cancelled", "stands", "excess"]


def test_what_is_excess_at_one_site_is_said_of_that_site_alone():
    sales = [sale(BOX, "A", 1, 1), sale(BOX, "A", 2, 2), sale(BOX, "B", 9, 3)]
    assert [s for *_, s in states(lives(*sales))] == ["stands", "excess", "excess"]
    assert [s for *_, s in states(lives(*sales, only_at="A"))] == ["stands", "excess", "stands"]


def test_an_unknown_place_has_no_distance_and_equal_times_go_by_event_id():
    found = lives(sale(BOX, "Z", 1, 1), sale(BOX, "A", 1, 2), sale(BOX, "B", 1, 3))
    assert found["event_id"].to_list() == ["E000", "E001", "E002"]
    assert found["km"].to_list() == [None, None, Decimal("100.1")]
    assert found["gap_minutes"].to_list() == [None, 0, 0] and found["fixmedins_name"][0] is None


def test_codes_and_events_beyond_the_limits_are_counted(monkeypatch):
    monkeypatch.setattr(history, "CODES_A_FINDING", 2)
    monkeypatch.setattr(history, "EVENTS_A_CODE", 4)
    codes = [f"8100001000000000000{n}" for n in range(1, 6)]
    many = [sale(codes[0], "A", day, day) for day in range(1, 10)]
    found = lives(*many, *(sale(code, "A", 0, 20 + n) for n, code in enumerate(codes[1:])), codes=codes)
    assert found["code"].unique().sort().to_list() == codes[:2]
    assert found["codes_left_out"].unique().to_list() == [3]
    assert found.filter(pl.col("code") == codes[0])["seq"].to_list() == [1, 2, 8, 9]
    assert found["events_left_out"].to_list() == [5, 5, 5, 5, 0]


def test_accused_codes_come_before_others(monkeypatch):
    monkeypatch.setattr(history, "CODES_A_FINDING", 1)
    bucket = read_bucket(events_of(sale(BOX, "A", 1, 1), sale(BOX2, "A", 1, 2)), IDENTIFIERS)
    named = pl.DataFrame({"finding_id": "f", "code": [BOX, BOX2], "accused": [False, True]})
    named = named.with_columns(fixmedins_code=pl.lit(None, pl.String))
    none = pl.DataFrame(schema={"row": pl.UInt32, "own_excess": pl.Int64})
    assert histories(bucket, named, {"code_site": none, "code": none})["code"].to_list() == [BOX2]


def test_a_code_that_cannot_be_used_has_no_life():
    assert lives(sale("9" * 20, "A", 1, 1), sale("9" * 20, "B", 2, 2), codes=["9" * 20]).is_empty()


def traced(tables: dict[str, pl.LazyFrame], region) -> dict[str, pl.DataFrame]:
    """Every output of the code split."""
    parts = list(with_context(trace_parts(tables, region)))
    made = {name: pl.concat([part[name] for part in parts]) for name in parts[0]}
    places = tables.get("institutions")
    return made | code_networks(made["ties"], None if places is None else places.collect())


@pytest.mark.parametrize("seed", range(6))
def test_histories_do_not_depend_on_the_order_of_rows_nor_on_a_sieve(region, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    tables = wild_tables(rng, int(rng.integers(100, 600)))
    whole = traced(typed(tables), region)
    assert whole["code_history"].height
    turned = tables | {n: tables[n].sample(fraction=1, shuffle=True, seed=seed) for n in ("trace_codes", "fee_lines")}
    turned = traced(typed(turned), region)
    monkeypatch.setattr(codeparts, "rows_for", lambda memory: 50)
    monkeypatch.setattr(codeparts, "judged_rows", lambda memory: 30)
    sieved = traced(typed(tables), region)
    for name in CONTEXT:
        assert told([sieved[name]]) == told([whole[name]]), name
        assert turned[name].equals(whole[name]), name


@pytest.mark.parametrize("seed", range(4))
def test_every_event_of_a_code_is_told_once_and_adds_up(region, seed):
    tables = typed(wild_tables(np.random.default_rng(100 + seed), 400))
    made = traced(tables, region)
    lived, events = made["code_history"], tables["trace_codes"].collect()
    assert set(lived["state"]) <= set(STATES)
    assert not lived.select("finding_id", "code", "seq").is_duplicated().any()
    assert not lived.select("finding_id", "code", "event_id").is_duplicated().any()
    cited = made["evidence"].filter(pl.col("table") == "trace_codes").select("finding_id", event_id="row_key")
    with_lives = cited.join(lived.select("finding_id").unique(), on="finding_id", how="semi")
    known = lived.select("finding_id", "event_id")
    unusable = with_lives.join(known, on=["finding_id", "event_id"], how="anti")["event_id"].unique()
    texts = events.filter(pl.col("event_id").is_in(unusable.implode()))["drug_trac_codg"]
    assert keys_of(texts).null_count() == len(texts)
    assert (lived["excess_cnt"] <= lived["stands_cnt"]).all()
    excess = made["evidence"].filter((pl.col("table") == "trace_codes") & (pl.col("role") == "excess"))
    excess = excess.select("finding_id", event_id="row_key").join(known, on=["finding_id", "event_id"], how="semi")
    accused = lived.filter("accused").select("finding_id", "event_id").sort(pl.all())
    assert accused.equals(excess.unique().sort(pl.all()))
