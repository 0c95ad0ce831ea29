"""The stock of a lot with what no codes tell: transfers, goods sent back, purchases, and the sites of a chain."""

from datetime import timedelta
from decimal import Decimal

import pytest
from test_tracing import (
    BOX,
    BOX2,
    CHAINS,
    DRUG,
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

from engine.tracing.facts import read_bucket
from engine.tracing.stock import lot_facts


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
