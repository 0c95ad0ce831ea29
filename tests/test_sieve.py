"""What a sieve keeps gives the findings of all codes at once, for whatever tables, buckets and parts."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from conftest import shared

from engine.audit import CODE_SCOPES
from engine.audit.codefacts import CodeFacts
from engine.audit.findings import supersede
from engine.audit.sieved import sievable
from engine.run import codeindex, codeparts, tracing
from engine.run.codeindex import LARGE, Month, open_index
from engine.run.codeparts import trace_parts
from engine.run.records import Shelf, Split, by_bucket, spread
from engine.run.sieving import WITH_KEY, sieve
from engine.run.tracing import trace_bucket
from engine.tables.dictionary import table
from engine.tables.problems import UsageProblem
from engine.tables.read import read
from engine.tracing.codes import keyed, keys_of
from engine.tracing.repeats import among
from engine.tracing.slim import families

START = datetime(2025, 9, 1, 8)
OPTIONAL = ("fee_lines", "pack_relations", "drug_identifiers", "institutions", "claims")


def wild_tables(rng: np.random.Generator, events: int) -> dict[str, pl.DataFrame]:
    """Few codes, sites, settlements and lines, so that everything that can happen to a code happens to some."""
    serials, sites, drugs = max(4, events // 4), 6, 5

    def some(values: list, share_null: float = 0.0) -> list:
        picked = [values[i] for i in rng.integers(0, len(values), events)]
        return [None if gone else value for value, gone in zip(picked, rng.random(events) < share_null, strict=True)]

    genuine = [f"8{i % drugs:06}{1_000_001 + i // drugs:013}" for i in range(serials)]
    odd = ["9" * 20, "6901234567892", "8.1E+19", "", "(01)06901234567892(21)AB1", "ABCDEFGH1234567X",
           f"{genuine[0]},{genuine[-1]}", "(01)06901234567892(10)L1"]  # fmt: skip
    codes = some(genuine * 5 + odd, 0.05)
    number = rng.integers(0, events, events)
    seconds = np.where(rng.random(events) < 0.5, rng.integers(0, 40, events), rng.integers(0, 40 * 86_400, events))
    frame = pl.DataFrame({
        "event_id": [f"E{i:05}" for i in rng.permutation(events)],
        "event_type": some(["sale"] * 5 + ["purchase"] * 4 + ["return", "stocktake", "void"]),
        "source": some(["settlement", "sales_ledger"], 0.1),
        "drug_trac_codg": codes,
        "fixmedins_code": some([f"H{i}" for i in range(sites)]),
        "psn_no": some([f"P{i}" for i in range(12)], 0.1),
        "setl_id": [f"S{i // 2}" for i in number], "feedetl_sn": [f"F{i}" for i in number],
        "med_list_codg": some([f"XA{i}" for i in range(drugs)] * 6, 0.05),
        "trdn_flag": some(["0", "0", "0", "1"], 0.1),
        "cnt": some([Decimal(1)] * 8 + [Decimal(2), Decimal(-1)], 0.1),
        "event_time": [START + timedelta(seconds=int(s)) for s in seconds],
        "manu_lotnum": some(["L1", "L2"], 0.2),
        "manu_date": some([date(2025, 1, 1)] * 8 + [date(2025, 9, 20)], 0.2),
        "rtal_docno": some([f"R{i}" for i in range(max(3, events // 3))], 0.6),
        "medins_prod_sel_no": some([f"N{i}" for i in range(max(3, events // 3))], 0.8),
        "hi_feesetl_type": some(["0", "1", "1"], 0.3),
        "expy_end": some([date(2027, 1, 1)] * 8 + [date(2025, 9, 20)], 0.2),
    }).with_columns(pl.when(rng_series(rng, events) > 0.2).then("setl_id").alias("setl_id"),
                    pl.when(rng_series(rng, events) > 0.2).then("feedetl_sn").alias("feedetl_sn"))  # fmt: skip
    lines = pl.DataFrame({"feedetl_sn": [f"F{i}" for i in range(events)]}).sample(
        fraction=0.8, seed=int(rng.integers(1 << 30))
    )
    lines = lines.with_columns(
        setl_id=pl.col("feedetl_sn").str.replace("F", "S"),
        psn_no=pl.lit("P1"),
        fixmedins_code=pl.lit("H1"),
        med_list_codg=pl.Series([f"XA{i}" for i in rng.integers(0, drugs + 2, lines.height)]),
        cnt=pl.Series(rng.integers(1, 4, lines.height)).cast(pl.Decimal(16, 4)),
        det_item_fee_sumamt=pl.lit(2_000, pl.Int64),
        fund_pay=pl.Series(rng.integers(0, 2_000, lines.height)),
        fee_ocur_time=pl.lit(START),
    ).sort("feedetl_sn")
    back = lines.head(lines.height // 8).with_columns(
        feedetl_sn=pl.col("feedetl_sn") + "B", init_feedetl_sn="feedetl_sn", cnt=-pl.col("cnt")
    )
    lines = pl.concat([lines, back], how="diagonal")
    pairs = rng.integers(0, serials, (max(1, events // 20), 2))
    claims = pl.DataFrame({"setl_id": ["S1", "S9"], "refd_setl_flag": ["1", "0"], "init_setl_id": ["S3", None]})
    return stock_tables(rng, sites, drugs) | {
        "trace_codes": frame.sample(fraction=1, shuffle=True, seed=int(rng.integers(1 << 30))),
        "fee_lines": lines,
        "claims": claims,
        "drug_identifiers": pl.DataFrame({
            "ident7": [f"8{i:06}" for i in range(drugs - 1)], "med_list_codg": [f"XA{i}" for i in range(drugs - 1)],
            "pack_level": [1, 1, 2, 3], "pack_units": [Decimal(10), None, Decimal(5), Decimal(20)],
            "valid_from": [None, None, None, date(2025, 9, 15)],
        }),
        "institutions": pl.DataFrame({
            "fixmedins_code": [f"H{i}" for i in range(sites)], "admdvs": ["01", "01", "02", "02", "03", "03"],
            "lon": [Decimal(f"{110 + i}.5") for i in range(sites)], "lat": [Decimal("23.0")] * sites,
        }),
        "chains": pl.DataFrame({"chain_id": ["K", "K"], "fixmedins_code": ["H0", "H4"]}),
        "pack_relations": pl.DataFrame(
            {"parent_codg": [genuine[a] for a, _ in pairs], "child_codg": [genuine[b] for _, b in pairs]}
        ),
    }  # fmt: skip


def stock_tables(rng: np.random.Generator, sites: int, drugs: int, moves: int = 40) -> dict[str, pl.DataFrame]:
    """Movements, counts and balances of the lots of `wild_tables`."""

    def some(values: list) -> list:
        return [values[i] for i in rng.integers(0, len(values), moves)]

    frame = pl.DataFrame({
        "move_id": [f"M{i}" for i in range(moves)],
        "fixmedins_code": some([f"H{i}" for i in range(sites)]),
        "move_type": some(["purchase", "purchase_return", "transfer_in", "transfer_out", "stocktake", "delivery"]),
        "med_list_codg": some([f"XA{i}" for i in range(drugs)]), "manu_lotnum": some(["L1", "L2", None]),
        "cnt": some([Decimal(n) for n in range(4)]), "store_id": some(["D1", "D2"]),
        "item_store_id": [f"W{i}" for i in range(moves)],
        "move_time": [START + timedelta(hours=int(h)) for h in rng.integers(-100, 1000, moves)],
        "expy_end": some([None, None, date(2025, 9, 10), date(2027, 1, 1)]),
    })  # fmt: skip
    balances = frame.select(
        "fixmedins_code", "store_id", "item_store_id", begndate=pl.lit(START.date()),
        enddate=pl.lit(START.date() + timedelta(days=30)), opening_cnt="cnt", closing_cnt="cnt",
    )  # fmt: skip
    return {"stock_moves": frame, "stock_balances": balances.head(moves // 8)}


def rng_series(rng: np.random.Generator, count: int) -> pl.Series:
    return pl.Series(rng.random(count))


def typed(tables: dict[str, pl.DataFrame]) -> dict[str, pl.LazyFrame]:
    """Tables in the types of the dictionary."""
    return {
        name: frame.select(pl.col(c).cast(table(name).schema[c]) for c in frame.columns).lazy()
        for name, frame in tables.items()
    }


@pytest.fixture
def small_parts(monkeypatch):
    """Sieved and judged in parts of few rows, as very many are."""
    monkeypatch.setattr(codeparts, "rows_for", lambda memory: 100)
    monkeypatch.setattr(codeparts, "judged_rows", lambda memory: 100)
    monkeypatch.setattr(codeindex, "BUCKETS", 3)


def sieved(tables, region, folder=None, month=None) -> tuple[pl.DataFrame, ...]:
    """What all parts tell together."""
    parts = list(trace_parts(tables, region, folder=folder, month=month))
    found, rows, left = (pl.concat([getattr(part, name) for part in parts])
                         for name in ("findings", "evidence", "not_evaluated"))  # fmt: skip
    keys = ["rule_id", "reason", "detail"]
    found = supersede(found, rows, [r for r in region.rules if r.rule.scope in CODE_SCOPES])
    return found, rows, left.group_by(keys).agg(pl.exclude(keys).sum()).select(left.columns)


def told(answer: tuple[pl.DataFrame, ...]) -> list[list[tuple]]:
    return [sorted(map(str, frame.select(sorted(frame.columns)).rows())) for frame in answer]


@pytest.mark.parametrize("seed", range(12))
def test_wild_codes_are_judged_alike_sieved_and_whole(region, seed, tmp_path, small_parts):
    rng = np.random.default_rng(seed)
    tables = typed(wild_tables(rng, int(rng.integers(40, 600))))
    if seed % 3 == 1:
        tables.pop(str(rng.choice([*OPTIONAL, "stock_moves"])))
    assert told(sieved(tables, region, folder=tmp_path)) == told(trace_bucket(tables, region))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(12))
def test_the_lots_of_wild_codes_have_the_same_facts_sieved_and_whole(region, seed, tmp_path):
    tables = typed(wild_tables(np.random.default_rng(seed), 400))
    small = {name: tables[name].collect() for name in tracing.SMALL}
    cancelled = tracing.cancelled_of(tables)
    kept = sieve(tables, small, cancelled, tmp_path, rows_a_part=50)
    few = tables | {"trace_codes": kept.trace_codes, "fee_lines": kept.fee_lines}
    sieved = CodeFacts(tracing.frames_of(few), region.rules, cancelled, kept.lines, kept.lots)
    whole = CodeFacts(tracing.frames_of(tables), region.rules, cancelled)
    assert kept.rows < 400
    for scope in ("lot", "lot_book"):
        assert sieved.of(scope).cases.equals(whole.of(scope).cases)
        assert sieved.of(scope).events().equals(whole.of(scope).events())


def test_the_sample_is_judged_alike_sieved_and_whole(region, tmp_path, monkeypatch):
    tables = read(shared("data", "sample-trace"), tmp_path / "read", "auto", region.knowledge["wordings"]).tables
    monkeypatch.setattr(codeparts, "rows_for", lambda memory: 20_000)
    monkeypatch.setattr(codeparts, "judged_rows", lambda memory: 2_000)
    assert told(sieved(tables, region)) == told(trace_bucket(tables, region))


# month by month


@pytest.mark.parametrize("seed", range(6))
def test_months_with_an_index_are_judged_like_all_rows_at_once(region, seed, tmp_path, small_parts):
    """Rows of codes, fee lines and claims fall into three months by chance, whatever day they are of."""
    rng = np.random.default_rng(seed)
    tables = wild_tables(rng, int(rng.integers(40, 600)))
    months = {name: rng.integers(0, 3, frame.height) for name, frame in tables.items()}
    # A return without a code looks for its sale in the months before and its own.
    bare = tables["trace_codes"]["drug_trac_codg"].fill_null("") == ""
    months["trace_codes"] = np.where(bare.to_numpy(), 2, months["trace_codes"])
    before: dict[str, pl.DataFrame] = {}
    for month in range(3):
        large = {n: tables[n].filter(pl.Series(months[n] == month)) for n in LARGE if n in tables}
        before = {n: pl.concat([before[n], f]) if n in before else f for n, f in large.items()}
        answer = sieved(typed(tables | large), region, month=Month(tmp_path / "index", f"month {month}"))
        assert told(answer) == told(trace_bucket(typed(tables | before), region))
    index = open_index(Month(tmp_path / "index", "next"))
    assert len(index.months) == 3
    codes = keyed(tables["trace_codes"]).filter(pl.col("code_key").is_not_null()).unique("code_key")
    assert index.codes_of(codes["code_key"]).to_list() == codes["code"].to_list()


def test_an_index_made_under_other_tables_is_sieved_anew(region, tmp_path):
    tables = wild_tables(np.random.default_rng(5), 300)
    first, second = (tables | {"trace_codes": tables["trace_codes"].slice(at, 150)} for at in (0, 150))
    months = [Month(tmp_path / "index", name) for name in ("first", "second")]
    sieved(typed(first | {"drug_identifiers": tables["drug_identifiers"].head(2)}), region, month=months[0])
    second |= {"fee_lines": tables["fee_lines"].clear(), "claims": tables["claims"].clear()}
    assert told(sieved(typed(second), region, month=months[1])) == told(trace_bucket(typed(tables), region))


def test_a_lot_that_only_the_ledger_of_a_later_month_calls_expired_is_looked_up_in_earlier_sales(region, tmp_path):
    day = {"purchase": START, "sale": START + timedelta(days=9)}
    lot = {"fixmedins_code": "H1", "med_list_codg": "XA1", "manu_lotnum": "L9"}
    codes = pl.DataFrame([
        {"event_id": f"{code}-{kind}", "event_type": kind, "drug_trac_codg": code, "event_time": when,
         "feedetl_sn": f"F{code}" if kind == "sale" else None, **lot}
        for code in ("80000011000001000001", "80000011000001000777") for kind, when in day.items()
    ])  # fmt: skip
    lines = codes.filter(event_type="sale").select("feedetl_sn", "fixmedins_code", "med_list_codg",
                                                   fee_ocur_time="event_time", cnt=pl.lit(Decimal(1)))  # fmt: skip
    moves = pl.DataFrame([{"move_id": "M1", "move_type": "purchase", "cnt": Decimal(2), "move_time": START, **lot,
                           "expy_end": date(2025, 9, 5)}])  # fmt: skip
    first = {"trace_codes": codes.head(2), "fee_lines": lines.head(1)}
    second = {"trace_codes": codes.tail(2), "fee_lines": lines.tail(1), "stock_moves": moves}
    sieved(typed(first), region, month=Month(tmp_path / "index", "first"))
    answer = sieved(typed(second), region, month=Month(tmp_path / "index", "second"))
    whole = trace_bucket(typed({n: pl.concat([first[n], second[n]]) for n in first} | {"stock_moves": moves}), region)
    assert told(answer) == told(whole)
    expired = answer[0].filter(rule_id="t06-expired-or-other-lot")["scope_key"].sort().to_list()
    assert expired == ["F80000011000001000001", "F80000011000001000777"]


def test_a_month_given_again_takes_its_own_place(region, tmp_path, small_parts):
    """As after a run that was killed once the index had the month; told again, not twice."""
    tables = wild_tables(np.random.default_rng(7), 400)
    large = [{n: tables[n].slice(at * tables[n].height // 2, tables[n].height // 2 + 1) for n in LARGE if n in tables}
             for at in (0, 1)]  # fmt: skip
    large[0] = {n: frame.head(frame.height - 1) for n, frame in large[0].items()}
    first, second = (Month(tmp_path / "index", name) for name in "ab")
    sieved(typed(tables | large[0]), region, month=first)
    once = told(sieved(typed(tables | large[1]), region, month=second))
    assert told(sieved(typed(tables | large[1]), region, month=second)) == once
    # Sieved anew under other tables, and then given again under these.
    sieved(typed(tables | large[1] | {"chains": tables["chains"].head(1)}), region, month=second)
    assert told(sieved(typed(tables | large[1]), region, month=second)) == once
    assert len(open_index(Month(tmp_path / "index", "c")).months) == 2


def test_a_month_before_others_is_refused_and_so_is_a_folder_that_is_no_index(region, tmp_path):
    tables = typed(wild_tables(np.random.default_rng(8), 60))
    for name in "ab":
        sieved(tables, region, month=Month(tmp_path / "index", name))
    with pytest.raises(UsageProblem, match="第 1 份"):
        sieved(tables, region, month=Month(tmp_path / "index", "a"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(UsageProblem, match="不是追溯码索引"):
        sieved(tables, region, month=Month(tmp_path / "other", "a"))
    about = tmp_path / "index" / "about.json"
    about.write_text(about.read_text("utf-8").replace('"version": 3', '"version": 2'), "utf-8")
    with pytest.raises(UsageProblem, match="第 2 版"):
        sieved(tables, region, month=Month(tmp_path / "index", "c"))


def test_what_lies_on_a_shelf_is_found_bucket_by_bucket(tmp_path):
    records = np.zeros(1_000, WITH_KEY)
    records["root"], records["row"] = np.random.default_rng(1).integers(0, 300, 1_000), np.arange(1_000)
    split = Split(tmp_path / "split", "root", WITH_KEY, 5)
    split.add(records)
    shelf = Shelf(tmp_path / "shelf", WITH_KEY)
    shelf.fill(split, lambda own: np.ascontiguousarray(own["root"]))
    few = np.array([3, 7, 250, 900], np.uint64)
    found = np.concatenate([shelf.among(number, few) for number in range(5)])
    assert sorted(found["row"]) == np.flatnonzero(np.isin(records["root"], few)).tolist()


# which rules


def test_every_trace_rule_of_ours_can_be_judged_on_sieved_codes(region):
    assert [r.rule.id for r in region.rules if r.rule.scope in CODE_SCOPES and not sievable(r)] == []


@pytest.mark.parametrize("column", ["code.units", "code.first_time"])
def test_a_rule_that_reads_what_a_plain_code_may_say_is_judged_on_all_codes(region, column):
    loaded = next(r for r in region.rules if r.rule.id.startswith("t02"))
    when = replace(loaded.compiled["when"], columns=loaded.compiled["when"].columns | {column})
    assert not sievable(replace(loaded, compiled=loaded.compiled | {"when": when}))


@pytest.mark.parametrize("column", ["code.sales", "code.persons"])
def test_a_rule_that_holds_of_a_plain_code_is_judged_on_all_codes(region, column):
    loaded = next(r for r in region.rules if r.rule.id.startswith("t02"))
    for value, answer in ((pl.col(column) >= 0, False), (pl.col(column) > 1, True), (pl.lit(None, pl.Boolean), False)):
        when = replace(loaded.compiled["when"], columns={column}, value=value, raises=None)
        assert sievable(replace(loaded, compiled=loaded.compiled | {"when": when})) == answer


# the parts


def test_a_family_has_one_root_however_long_the_way():
    above = pl.DataFrame({"key": [5, 4, 3, 9, 8], "ancestor": [4, 3, 7, 8, 9]}, schema_overrides=dict.fromkeys(
        ("key", "ancestor"), pl.UInt64))  # fmt: skip
    assert families(above).rows() == [(3, 3), (4, 3), (5, 3), (7, 3), (8, 8), (9, 8)]
    long = pl.DataFrame({"key": range(2, 200), "ancestor": range(1, 199)}).cast(pl.UInt64)
    assert families(long)["root"].unique().to_list() == [1]


def test_members_are_found_among_many():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 1000, 100_000).astype(np.uint64)
    for few in (np.empty(0, np.uint64), np.array([7], np.uint64), np.arange(300, dtype=np.uint64)):
        assert np.array_equal(among(values, few), np.isin(values, few))


def test_records_come_back_from_their_buckets(tmp_path):
    rng = np.random.default_rng(2)
    records = np.empty(5_000, [("key", "u8"), ("row", "i8")])
    records["key"], records["row"] = rng.integers(0, 500, 5_000), np.arange(5_000)
    split = Split(tmp_path / "s", "key", records.dtype, 7)
    for part in np.array_split(records, 3):
        split.add(part)
    back = [split.bucket(n) for n in range(7)]
    assert sorted(np.concatenate(back)["row"].tolist()) == list(range(5_000))
    keys = by_bucket(np.unique(records["key"]), 7)
    assert [set(b["key"].tolist()) for b in back] == [set(k.tolist()) for k in keys]


def test_things_are_worked_on_side_by_side_and_answered_in_order():
    assert list(spread(lambda n: n * n, range(20), 3)) == [n * n for n in range(20)]


ODD = ["8+234567890123456789", "8 23456789012345678", "88888888888888888888", "80000000000000000000", "8" + "9" * 19,
       "8123456789012345678", "812345678901234567890", "8-123456789012345678", None, "", "81234567890123400000",
       "8１2345678901234567", "81234567890123456789", "(01)06901234567892(21)AB1", "9" * 20]  # fmt: skip


def test_keys_alone_are_those_of_the_codes_read_in_full():
    codes = pl.Series("drug_trac_codg", ODD)
    assert keys_of(codes).to_list() == keyed(pl.DataFrame(codes))["code_key"].to_list()
    genuine = (keyed(pl.DataFrame(codes))["code_class"] == "genuine").fill_null(False)
    assert genuine.arg_true().to_list() == [ODD.index("8" + "9" * 19), ODD.index("81234567890123456789")]
