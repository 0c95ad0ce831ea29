"""No honest pharmacy is accused: the sixteen families of false alarms of standards.md 1.7, and what would be a case.

Each family is a small history of packs that some check could take for fraud and none may. Beside it stands the smallest
change that makes it a case, which the right check must find. All trace rules judge both.
"""

from decimal import Decimal

import polars as pl
import pytest
from test_sieve import sieved
from test_tracing import (
    BOX,
    BOX2,
    BUNDLE,
    CASE,
    CHAINS,
    CODE_FREE,
    DOUBLE,
    IDENTIFIERS,
    INFUSION,
    INSTITUTIONS,
    NEW,
    OTHER,
    RELATIONS,
    START,
    bought,
    event,
    frame_of,
    given_back,
    sale,
    trace,
)

from engine.run import codeparts
from engine.run.tracing import trace_bucket

HOUR, MINUTE = 1 / 24, 1 / 1440
OTHER_BOX = "87000010000000000001"  # a box of OTHER
GS1, GS1_SPLIT, GS1_NEXT = (f"(01)06901234567892{rest}" for rest in ("(21)AB1(17)270101", "(10)L7(21)AB1", "(21)AB2"))
PRODUCTS = pl.concat([IDENTIFIERS, frame_of("drug_identifiers", [
    {"ident7": "8700001", "med_list_codg": OTHER, "pack_level": 1, "pack_units": Decimal(10), "valid_from": None},
])], how="diagonal")  # fmt: skip
LEDGER = {"source": "sales_ledger", "feedetl_sn": None}
SILENT = {**LEDGER, "setl_id": None}
CARTON = [f"8100001{n:013}" for n in range(100, 112)]
LOOSE = [f"8100001{n:013}" for n in range(200, 300, 7)]


def split(code: str, day: float, number: int, cnt: int, **more) -> dict:
    """A part of a pack, sold to the person of that number."""
    return sale(code, "A", day, number, trdn_flag="1", cnt=Decimal(cnt), **more)


def bottles(day: float, number: int, cnt: int) -> dict:
    """Bottles out of a case, of which the case alone has a code."""
    return sale(CASE, "A", day, number, med_list_codg=INFUSION, cnt=Decimal(cnt))


def stock(*codes: str, site: str = "A", **more) -> list[dict]:
    return [bought(code, site, -5, **more) for code in codes]


# family: (what happened, the honest rows, the rows that make it a case, the check that finds it)
FAMILIES = {
    "1 split pack": (
        "one code on the lines of many people until the ten tablets are gone; then an eleventh",
        [*stock(BOX), split(BOX, 0, 1, 3), split(BOX, 1, 2, 3), split(BOX, 2, 3, 4)],
        [*stock(BOX), split(BOX, 0, 1, 3), split(BOX, 1, 2, 3), split(BOX, 2, 3, 5)],
        "t01",
    ),
    "2 case-only infusion": (
        "the code of a case of 120 bottles on every line; then more bottles than it holds",
        [*stock(CASE), bottles(0, 1, 40), bottles(1, 2, 40), bottles(2, 3, 40)],
        [*stock(CASE), bottles(0, 1, 40), bottles(1, 2, 40), bottles(2, 3, 41)],
        "t01",
    ),
    "3 placeholder": (
        "twenty nines for parts of packs; then for whole ones",
        [split("9" * 20, 0, 1, 3), split("9" * 20, 1, 2, 3)],
        [split("9" * 20, 0, 1, 3), split("9" * 20, 1, 2, 3) | {"trdn_flag": "0"}],
        "t10",
    ),
    "4 retried upload": (
        "one sale told again after a time-out and in the ledger too; then a second settlement",
        [*stock(BOX), sale(BOX, "A", 0, 1), sale(BOX, "A", MINUTE, 1), sale(BOX, "A", 0, 1, **LEDGER)],
        [*stock(BOX), sale(BOX, "A", 0, 1), sale(BOX, "A", MINUTE, 2), sale(BOX, "A", 0, 1, **LEDGER)],
        "t01",
    ),
    "4 ledger without settlement": (
        "the ledger tells of the sale without its settlement, some minutes later; then on another day",
        [*stock(BOX), sale(BOX, "A", 0, 1), sale(BOX, "A", 9 * MINUTE, 1, **SILENT)],
        [*stock(BOX), sale(BOX, "A", 0, 1), sale(BOX, "A", 1, 1, **SILENT)],
        "t01",
    ),
    "5 stay settled in parts": (
        "one stay settled at the turn of the year and at its end; then two stays",
        [*stock(BOX), *(sale(BOX, "A", n, n, psn_no="P1", mdtrt_id="M1") for n in (1, 2))],
        [*stock(BOX), *(sale(BOX, "A", n, n, psn_no="P1", mdtrt_id=f"M{n}") for n in (1, 2))],
        "t04",
    ),
    "6 back to the ward": (
        "given back to the ward without its code but with the number of the sale; then with another number",
        [*stock(BOX), sale(BOX, "A", 0, 1, medins_prod_sel_no="N1"),
         given_back("", "A", 1, None, medins_prod_sel_no="N1"), sale(BOX, "A", 2, 2)],
        [*stock(BOX), sale(BOX, "A", 0, 1, medins_prod_sel_no="N1"),
         given_back("", "A", 1, None, medins_prod_sel_no="N9"), sale(BOX, "A", 2, 2)],
        "t01",
    ),
    "6 voided": (
        "a settlement reversed without its codes; then another settlement is",
        [*stock(BOX), sale(BOX, "A", 0, 1), event("void", None, "A", HOUR, setl_id="S1"), sale(BOX, "A", 1, 2)],
        [*stock(BOX), sale(BOX, "A", 0, 1), event("void", None, "A", HOUR, setl_id="S7"), sale(BOX, "A", 1, 2)],
        "t01",
    ),
    "7 returned and resold": (
        "given back, bought and sold by another pharmacy; then given back to one that never sold it",
        [*stock(BOX), sale(BOX, "A", 0, 1), given_back(BOX, "A", 1, 1), bought(BOX, "B", 5), sale(BOX, "B", 10, 2)],
        [*stock(BOX), sale(BOX, "A", 0, 1), given_back(BOX, "C", 1, None), bought(BOX, "B", 5), sale(BOX, "B", 10, 2)],
        "t02",
    ),
    "8 wrong scan: barcode": (
        "the barcode of the product scanned for two people; then one code",
        [sale("6901234567892", "A", 0, 1), sale("6901234567892", "A", 1, 2)],
        [*stock(BOX), sale(BOX, "A", 0, 1), sale(BOX, "A", 1, 2)],
        "t01",
    ),
    "8 wrong scan: neighbouring box": (
        "two boxes of one basket scanned each for the other; then for two people",
        [*stock(BOX, OTHER_BOX), sale(OTHER_BOX, "A", 0, 1),
         sale(BOX, "A", 0, 1, feedetl_sn="F2", med_list_codg=OTHER)],
        [*stock(BOX, OTHER_BOX), sale(OTHER_BOX, "A", 0, 1), sale(BOX, "A", 0, 2, med_list_codg=OTHER)],
        "t05",
    ),
    "8 wrong scan: bundle": (
        "the code of the bundle scanned for its ten boxes; then one of these is sold once more",
        [*stock(BUNDLE), sale(BUNDLE, "A", 0, 1, cnt=Decimal(10))],
        [*stock(BUNDLE), sale(BUNDLE, "A", 0, 1, cnt=Decimal(10)), sale(BOX, "A", 1, 2)],
        "t09",
    ),
    "9 relabelled": (
        "a product that its maker relabelled, whose identifier names both list codes; then one that names one",
        [*stock(DOUBLE), sale(DOUBLE, "A", 0, 1, med_list_codg=OTHER)],
        [*stock(BOX), sale(BOX, "A", 0, 1, med_list_codg=OTHER)],
        "t05",
    ),
    "10 transfer in a chain": (
        "bought by one shop and sold by another of the chain; then by a shop outside it",
        [*stock(BOX, site="K2"), sale(BOX, "K1", 0, 1)],
        [*stock(BOX, site="K2"), sale(BOX, "A", 0, 1)],
        "t07",
    ),
    "11 two ways to write a code": (
        "bought and sold under one GS1 serial, its parts in another order; then under the next serial",
        [*stock(GS1), sale(GS1_SPLIT, "A", 0, 1)],
        [*stock(GS1), sale(GS1_NEXT, "A", 0, 1)],
        "t07",
    ),
    "12 clocks": (
        "bought some minutes after it was sold, by another clock; then some hours",
        [bought(BOX, "A", 8 * MINUTE), sale(BOX, "A", 0, 1)],
        [bought(BOX, "A", 3 * HOUR), sale(BOX, "A", 0, 1)],
        "t07",
    ),
    "12 time of the upload": (
        "a batch of packs of many people told under one time, a carton in order among them; then the carton alone",
        [*stock(*CARTON, *LOOSE), *(sale(code, "A", 0, n) for n, code in enumerate(CARTON + LOOSE))],
        [*stock(*CARTON, *LOOSE), *(sale(code, "A", 0, n) for n, code in enumerate(CARTON))],
        "t11",
    ),
    "13 late mapping": (
        "a new pack whose identifier was mapped after the sale; then billed as a drug it never was mapped to",
        [*stock(NEW), sale(NEW, "A", 0, 1)],
        [*stock(NEW), sale(NEW, "A", 0, 1, med_list_codg=OTHER)],
        "t05",
    ),
    "14 lot-level UDI": (
        "a code that names a lot on every pack of it; then one that names a single pack",
        [sale("(01)06901234567892(10)L7", "A", n, n, code_kind="consumable") for n in (1, 2)],
        [*stock(GS1), *(sale("(01)06901234567892(10)L7(21)AB1", "A", n, n, code_kind="consumable") for n in (1, 2))],
        "t01",
    ),
    "15 paid alone first": (
        "paid by the person, given back, then insured; then not given back",
        [*stock(BOX), sale(BOX, "A", 0, 1, hi_feesetl_type="0"), given_back(BOX, "A", 1, 1), sale(BOX, "A", 2, 2)],
        [*stock(BOX), sale(BOX, "A", 0, 1, hi_feesetl_type="0"), sale(BOX, "A", 2, 2)],
        "t01",
    ),
    "16 prescription of a hospital": (
        "the hospital tells of a box it did not settle, which the pharmacy bought and settled; then for somebody else",
        [*stock(BOX, site="B"), sale(BOX, "A", 0, 1, rxno="R1", hi_feesetl_type="0"),
         sale(BOX, "B", HOUR / 4, 2, rxno="R1", psn_no="P1")],
        [*stock(BOX, site="B"), sale(BOX, "A", 0, 1, rxno="R1", hi_feesetl_type="0"),
         sale(BOX, "B", HOUR / 4, 2, rxno="R1", psn_no="P2")],
        "t07",
    ),
    "16 prescribed here, fetched there": (
        "hospital and pharmacy both tell of the one settlement; then each has its own",
        [*stock(BOX, site="B"), sale(BOX, "A", 0, 1, rxno="R1"), sale(BOX, "B", HOUR / 4, 1, rxno="R1")],
        [*stock(BOX, site="B"), sale(BOX, "A", 0, 1, rxno="R1"),
         sale(BOX, "B", HOUR / 4, 2, rxno="R1", psn_no="P1")],
        "t03",
    ),
}  # fmt: skip


# Beside the families: what else an honest site does, check by check.
OTHERS = {
    "last day of a pack": (
        "sold on its last day; then on the next",
        [*stock(BOX), sale(BOX, "A", 0, 1, expy_end=START.date())],
        [*stock(BOX), sale(BOX, "A", 1, 1, expy_end=START.date())],
        "t06",
    ),
    "bundle bought, boxes sold": (
        "a bundle and its boxes told as bought, one box sold; then the bundle too",
        [*stock(BUNDLE, BOX, BOX2), sale(BOX, "A", 0, 1)],
        [*stock(BUNDLE, BOX, BOX2), sale(BOX, "A", 0, 1), sale(BUNDLE, "A", 1, 2, cnt=Decimal(10))],
        "t09",
    ),
    "carton of one person": (
        "twelve packs scanned in one second for one person; then for twelve",
        [*stock(*CARTON), *(sale(code, "A", 0, 1) for code in CARTON)],
        [*stock(*CARTON), *(sale(code, "A", 0, n) for n, code in enumerate(CARTON))],
        "t11",
    ),
    "made on the day": (
        "made, delivered and sold on one day; then sold the day before",
        [bought(BOX, "A", -HOUR, manu_date=START.date()), sale(BOX, "A", 0, 1, manu_date=START.date())],
        [bought(BOX, "A", -2, manu_date=START.date()), sale(BOX, "A", -1, 1, manu_date=START.date())],
        "t12",
    ),
    "returned and sold to others": (
        "one person's twelve packs given back and sold elsewhere; then not given back",
        [*stock(*CARTON), *(sale(code, "A", 0, 1) for code in CARTON), *(given_back(c, "A", 1, 1) for c in CARTON),
         *stock(*CARTON, site="B"), *(sale(code, "B", 20 + n, 100 + n) for n, code in enumerate(CARTON))],
        [*stock(*CARTON), *(sale(code, "A", 0, 1) for code in CARTON),
         *stock(*CARTON, site="B"), *(sale(code, "B", 20 + n, 100 + n) for n, code in enumerate(CARTON))],
        "t13",
    ),
}  # fmt: skip
HISTORIES = FAMILIES | OTHERS


@pytest.fixture(autouse=True)
def in_parts(monkeypatch):
    """However few rows, they are sieved and judged in parts too."""
    monkeypatch.setattr(codeparts, "judged_rows", lambda memory: 12)


def found(rows: list[dict], region) -> dict[str, set]:
    """By the first letters of the rule's id: the first explanations that stay open."""
    events = trace(*rows)
    tables = {
        "trace_codes": events, "fee_lines": billed(events), "drug_identifiers": PRODUCTS, "chains": CHAINS,
        "pack_relations": RELATIONS, "institutions": INSTITUTIONS, "code_free": CODE_FREE,
    }  # fmt: skip
    lazy = {name: frame.lazy() for name, frame in tables.items()}
    findings = trace_bucket(lazy, region)[0]
    assert sorted(sieved(lazy, region)[0]["finding_id"]) == sorted(findings["finding_id"])
    told = findings.group_by(pl.col("rule_id").str.slice(0, 3)).agg("innocent_open")
    return {rule: set(why) for rule, why in told.rows()}


def billed(events: pl.DataFrame) -> pl.DataFrame:
    """A fee line for every line a sale names, billing what was scanned for it."""
    sold = events.filter(pl.col("event_type") == "sale", pl.col("feedetl_sn").is_not_null())
    sold = sold.unique(["feedetl_sn", "drug_trac_codg"], maintain_order=True)
    lines = sold.group_by("feedetl_sn", maintain_order=True).agg(
        pl.col("setl_id", "psn_no", "fixmedins_code", "med_list_codg").first(),
        pl.col("cnt").sum(), fee_ocur_time=pl.col("event_time").first(),
    )  # fmt: skip
    return frame_of("fee_lines", lines.with_columns(fund_pay=pl.lit(700, pl.Int64)).to_dicts())


@pytest.mark.parametrize("history", HISTORIES)
def test_an_honest_history_raises_no_finding_of_any_check(history, region):
    assert found(HISTORIES[history][1], region) == {}


@pytest.mark.parametrize("history", HISTORIES)
def test_the_smallest_change_that_makes_it_a_case_is_found_by_its_check(history, region):
    _, _, rows, check = HISTORIES[history]
    told = found(rows, region)
    assert check in told
    assert all(why and None not in why for why in told.values()), "a finding names what could explain it"


def test_every_family_of_the_reference_has_its_history():
    assert {int(family.split()[0]) for family in FAMILIES} == set(range(1, 17))
