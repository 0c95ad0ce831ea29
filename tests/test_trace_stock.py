"""The stock of a lot with what no codes tell: transfers, goods sent back, purchases, counts, and sites of a chain."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tracing import (
    BOX,
    BOX2,
    BOX3,
    CHAINS,
    DRUG,
    HISTORIES,
    IDENTIFIERS,
    INSTITUTIONS,
    START,
    bought,
    event,
    frame_of,
    one,
    sale,
    trace,
)

from engine.tracing.book import added, book_facts, book_rows
from engine.tracing.facts import read_bucket
from engine.tracing.ledger import expiries, told_counts, with_expiries
from engine.tracing.stock import lot_facts, lot_moves


def move(kind: str, cnt: int, day: float, site: str = "A", **more) -> dict:
    return {"move_id": f"M{kind}{day}", "fixmedins_code": site, "move_type": kind, "med_list_codg": DRUG,
            "cnt": Decimal(cnt),
            "manu_lotnum": "L1", "move_time": START + timedelta(days=day), **more}  # fmt: skip


def counted(cnt: int, day: float = 90, site: str = "A") -> dict:
    return event("stocktake", None, site, day, cnt=Decimal(cnt))


def lots(*events: dict, moves: list[dict] | None = None) -> list[dict]:
    rows = trace(*({"manu_lotnum": "L1", **row} for row in events))
    bucket = read_bucket(rows, IDENTIFIERS, None, INSTITUTIONS, CHAINS)
    return lot_facts(bucket, stock_moves=frame_of("stock_moves", moves or [])).cases.to_dicts()


@pytest.mark.parametrize(("kind", "left"), [("purchase_return", 1), ("transfer_out", 1), ("transfer_in", 3)])
def test_goods_that_came_and_went_without_codes_are_in_the_books(kind, left):
    known = [bought(BOX, "A", 0), bought(BOX2, "A", 0), counted(left)]
    assert one(lots(*known, moves=[move(kind, 1, 5)]))["difference"] == 0
    assert one(lots(*known))["difference"] == left - 2
    assert one(lots(*known, moves=[move(kind, 1, 91)]))["difference"] == left - 2
    assert one(lots(*known, moves=[move(kind, 1, 5, site="B")]))["difference"] == left - 2
    assert one(lots(*known, moves=[move(kind, 1, 5, manu_lotnum="L2")]))["difference"] == left - 2


def test_purchases_without_codes_count_where_none_was_told_with_codes():
    sold = [sale(BOX, "A", 1, 1), counted(9)]
    assert one(lots(*sold, moves=[move("purchase", 10, 0)]))["difference"] == 0
    assert one(lots(*sold, moves=[move("purchase", 1, 0, conv_ratio=Decimal(10))]))["difference"] == 0
    both = lots(bought(BOX, "A", 0), sale(BOX, "A", 1, 1), counted(0), moves=[move("purchase", 1, 0)])
    assert (one(both)["purchased"], one(both)["difference"]) == (1, 0)


def test_movements_before_an_earlier_count_are_in_it_already():
    case = one(lots(counted(3, 10), counted(2, 90), moves=[move("transfer_out", 5, 5), move("transfer_out", 1, 20)]))
    assert (case["opening"], case["transferred"], case["difference"]) == (3, -1, 0)


def test_shops_of_a_chain_may_make_each_other_even():
    events = [bought(BOX, "K1", 0), counted(0, site="K1"), counted(1, site="K2")]
    assert [(c["difference"], c["chain_difference"], c["in_chain"]) for c in lots(*events)] == [(-1, 0, 1), (1, 0, 1)]
    alone = one(lots(*events[:2]))
    assert (alone["difference"], alone["chain_difference"], alone["in_chain"]) == (-1, None, 1)
    others = lots(bought(BOX, "A", 0), counted(0), counted(1, site="B"))
    assert [(c["chain_difference"], c["in_chain"]) for c in others] == [(None, 0), (None, 0)]


# counts that trace_codes do not tell


def test_a_count_of_the_ledger_counts_a_lot_that_no_event_counts():
    known = [bought(BOX, "A", 0), bought(BOX2, "A", 0), sale(BOX, "A", 5, 1)]
    case = one(lots(*known, moves=[move("stocktake", 2, 90)]))
    assert (case["counted"], case["difference"]) == (2, 1)
    own = one(lots(*known, counted(1), moves=[move("stocktake", 2, 91)]))
    assert (own["counted"], own["difference"], own["opening"]) == (1, 0, 0)


def test_stores_of_a_site_are_counted_together_on_days_on_which_all_were():
    def store(name: str, cnt: int, day: float) -> dict:
        return move("stocktake", cnt, day, store_id=name) | {"move_id": f"{name}{day}"}

    rows = [store("D1", 2, 10), store("D2", 3, 10.2), store("D1", 9, 20), store("D1", 1, 30), store("D2", 1, 30)]
    told = told_counts(frame_of("stock_moves", rows), None).sort("time").to_dicts()
    assert [(row["units"] // 10_000, row["move_id"]) for row in told] == [(5, "D210.2"), (2, "D230")]


def test_balances_count_a_lot_where_their_item_is_one_lot_and_no_other():
    moves = [move("purchase", 5, 10, item_store_id="W1"), move("purchase", 5, 10, item_store_id="W2"),
             move("purchase", 5, 11, item_store_id="W2", manu_lotnum="L2")]  # fmt: skip
    balances = [
        {"fixmedins_code": "A", "store_id": "D", "item_store_id": item, "begndate": date(2025, 9, 1),
         "enddate": date(2025, 11, 30), "opening_cnt": Decimal(1), "closing_cnt": Decimal(4)}
        for item in ("W1", "W2")
    ]  # fmt: skip
    told = told_counts(frame_of("stock_moves", moves), frame_of("stock_balances", balances)).sort("time").to_dicts()
    assert [(r["manu_lotnum"], r["time"].hour, r["units"] // 10_000) for r in told] == [("L1", 0, 1), ("L1", 23, 4)]
    assert {r["balance_id"] for r in told} == {"A|D|W1|2025-09-01"}


def test_the_ledger_tells_when_a_lot_expires_where_the_sale_does_not():
    known = expiries(frame_of("stock_moves", [
        move("purchase", 1, 0, expy_end=date(2025, 10, 1)), move("purchase", 1, 1, expy_end=date(2025, 11, 1)),
        move("purchase", 1, 2, manu_lotnum="L2"),
    ]))  # fmt: skip
    rows = [sale(BOX, "A", 9, 1, manu_lotnum="L1", expy_end=None), sale(BOX2, "A", 9, 2, manu_lotnum="L2"),
            sale(BOX3, "A", 9, 3, manu_lotnum="L1", expy_end=date(2026, 1, 1)),
            sale(BOX3, "B", 9, 3, manu_lotnum="L1")]  # fmt: skip
    told = with_expiries(trace(*rows), known)["expy_end"].to_list()
    assert told == [date(2025, 11, 1), None, date(2026, 1, 1), None]


# the book of a lot

EAN = "6901234567892"


def books(*events: dict, moves: list[dict] | None = None) -> list[dict]:
    rows = trace(*({"manu_lotnum": "L1", **row} for row in events))
    bucket = read_bucket(rows, IDENTIFIERS, None, INSTITUTIONS, CHAINS)
    return book_facts(bucket, None, frame_of("stock_moves", moves or [])).cases.to_dicts()


def test_a_lot_whose_packs_all_have_codes_has_no_book():
    assert books(bought(BOX, "A", 0), sale(BOX, "A", 1, 1), sale(BOX2, "A", 2, 2)) == []


def test_a_lot_is_oversold_by_what_its_packs_cannot_cover():
    known = [bought(BOX, "A", 0), bought(BOX2, "A", 0), sale(BOX, "A", 1, 1), sale(EAN, "A", 2, 2)]
    assert one(books(*known))["over"] == 0
    more = one(books(*known, sale(EAN, "A", 3, 3)))
    assert (more["over"], more["sold"], more["uncoded"], more["purchased"]) == (1, 3, 2, 2)
    assert one(books(*known, sale(BOX, "A", 3, 3)))["over"] == 0, "a code sold again is one pack"
    assert one(books(*known, sale(EAN, "A", 3, 3, cnt=Decimal(5), trdn_flag="1")))["over"] == 0
    assert one(books(*known, sale(EAN, "A", 3, 3), moves=[move("transfer_in", 1, 0)]))["over"] == 0
    assert one(books(*known, moves=[move("purchase_return", 1, 0)]))["over"] == 1
    assert one(books(*known, moves=[move("purchase", 9, 0)]))["over"] == 0, "the ledger tells the same purchases"


def test_shops_of_a_chain_have_one_book():
    known = [bought(BOX, "K1", 0), bought(BOX2, "K1", 0), sale(EAN, "K2", 1, 1), sale(EAN, "K2", 2, 2)]
    case = one(books(*known))
    assert (case["fixmedins_code"], case["over"], case["in_chain"], case["early_minutes"]) == ("K2", 0, 1, -1440)
    apart = books(*({**row, "fixmedins_code": row["fixmedins_code"].replace("K1", "A")} for row in known))
    assert [(case["over"], case["purchased"], case["came_at"]) for case in apart] == [(2, 0, None)]


def test_a_sale_is_early_when_nothing_of_its_lot_had_come():
    late = [sale(EAN, "A", 1, 1), bought(BOX, "A", 3)]
    assert one(books(*late))["early_minutes"] == 2 * 1440
    assert one(books(*late, moves=[move("transfer_in", 1, 0)]))["early_minutes"] == -1440
    assert one(books(*late, counted(3, 0.5)))["early_minutes"] == -720
    assert one(books(*late, counted(0, 0.5)))["early_minutes"] == 2 * 1440
    by_quantity = books(sale(BOX, "A", 1, 1), bought(None, "A", 3, cnt=Decimal(5)))
    assert (one(by_quantity)["early_minutes"], one(by_quantity)["asked"]) == (2 * 1440, 1)


LOTS = HISTORIES.map(lambda rows: [{**row, "manu_lotnum": "L1"} for row in rows])


def book_of(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    facts = book_facts(read_bucket(rows, IDENTIFIERS, None, INSTITUTIONS, CHAINS))
    return facts.cases, facts.events()


@settings(deadline=None, max_examples=25)
@given(LOTS, st.randoms(use_true_random=False))
def test_a_book_does_not_depend_on_the_order_of_the_rows(events, random):
    rows = trace(*events)
    shuffled = rows[random.sample(range(rows.height), rows.height)]
    assert all(a.equals(b) for a, b in zip(book_of(rows), book_of(shuffled), strict=True))


@settings(deadline=None, max_examples=25)
@given(LOTS, st.sampled_from([EAN, BOX3]), st.sampled_from("ABC"))
def test_a_pack_bought_and_sold_keeps_the_balance_of_its_lot(events, code, site):
    pack = [bought(code, site, 1), sale(code, site, 2, 99)]
    before = {(c["fixmedins_code"], c["med_list_codg"]): c["over"] for c in books(*events)}
    after = {(c["fixmedins_code"], c["med_list_codg"]): c["over"] for c in books(*events, *pack)}
    assert {key: over for key, over in after.items() if key in before} == before
    # A count between purchase and sale would find the pack there.
    events = [row for row in events if row["event_type"] != "stocktake"]
    counts = [counted(1, 50, site=at) for at in "ABC"]
    balances = [[c["difference"] for c in lots(*counts, *rows)] for rows in (events, [*events, *pack])]
    assert balances[0] == balances[1]


@settings(deadline=None, max_examples=25)
@given(LOTS, st.integers(2, 4))
def test_rows_of_books_add_up_from_any_parts_that_hold_whole_codes(events, parts):
    rows = trace(*events)
    moves = lot_moves(read_bucket(rows, IDENTIFIERS, None, INSTITUTIONS, CHAINS))
    part = pl.coalesce("key", pl.col("row").cast(pl.UInt64)) % parts
    pieces = [book_rows(moves.filter(part == number)) for number in range(parts)]
    whole = book_rows(moves)
    assert added(pl.concat(pieces)).equals(whole)
