"""Uploads told once by their papers, what was taken back netted, and who paid: one small history at a time."""

from decimal import Decimal

import polars as pl
import pytest
from test_tracing import (
    BOX,
    BOX2,
    BOX3,
    IDENTIFIERS,
    INSTITUTIONS,
    at_sites,
    bought,
    bucket,
    event,
    given_back,
    lines_of,
    lot,
    one,
    over_sites,
    sale,
    trace,
)

from engine.run.tracing import cancelled_of, trace_bucket
from engine.tracing.events import Cancelled
from engine.tracing.facts import code_site_facts, read_bucket
from engine.tracing.returns import with_codes

LEDGER = {"source": "sales_ledger", "setl_id": None, "feedetl_sn": None}
MINUTE = 1 / 1440


def void(code: str | None, site: str, day: float, number: int | None, **more) -> dict:
    return event("void", code, site, day, setl_id=number and f"S{number}", **more)


@pytest.mark.parametrize("paper", ["rtal_docno", "drug_detail_id", "medins_prod_sel_no"])
def test_one_paper_of_a_site_tells_of_one_sale(paper):
    same = {paper: "D1"}
    told = [sale(BOX, "A", 0, 1, **same), sale(BOX, "A", 1, 2, **LEDGER | same)]
    assert one(at_sites(*told))["sales"] == 1
    assert one(at_sites(told[0], told[1] | {paper: "D2"}))["sales"] == 2
    elsewhere = told[1] | {"fixmedins_code": "B"}
    assert one(over_sites(told[0], elsewhere))["sales"] == 2


def test_papers_bind_together_what_one_alone_does_not():
    first = sale(BOX, "A", 0, 1)
    both = sale(BOX, "A", 0.1, 1, rtal_docno="D1", source="sales_ledger", feedetl_sn=None)
    retry = sale(BOX, "A", 0.2, 1, **LEDGER | {"rtal_docno": "D1", "medins_prod_sel_no": "N1"})
    again = sale(BOX, "A", 0.3, 1, **LEDGER | {"medins_prod_sel_no": "N1"})
    for told in ([first, both, retry, again], [again, retry, both, first]):
        assert one(at_sites(*told))["sales"] == 1
    assert one(at_sites(first, retry))["sales"] == 2


def test_a_return_names_its_sale_by_the_number_of_the_sale():
    cash = LEDGER | {"psn_no": None}
    first, second = (sale(BOX, "A", n, n, **cash, medins_prod_sel_no=f"N{n}") for n in (1, 2))
    back = event("return", BOX, "A", 5, medins_prod_sel_no="N1")
    facts = code_site_facts(bucket(first, second, back))
    assert facts.events()["event_id"].to_list() == ["E001"]


@pytest.mark.parametrize("day", [-1.0, 0.5])
def test_a_void_takes_back_the_sale_of_its_settlement_whenever_it_was_told(day):
    case = one(at_sites(sale(BOX, "A", 0, 1), void(BOX, "A", day, 1), sale(BOX, "A", 2, 2)))
    assert (case["sales"], case["excess_units"]) == (1, 0)
    assert at_sites(sale(BOX, "A", 0, 1), void(BOX, "A", 0.5, 1, cnt=Decimal(-1))) == []


def test_a_return_told_by_a_clock_ahead_still_finds_its_sale():
    def standing(minutes: int) -> int:
        return len(at_sites(sale(BOX, "A", 0, 1), given_back(BOX, "A", -minutes * MINUTE, None)))

    assert [standing(0), standing(9), standing(10), standing(11)] == [0, 0, 0, 1]
    # A return that finds a sale before it takes that one and waits for no later one.
    facts = code_site_facts(
        bucket(sale(BOX, "A", 0, 1), given_back(BOX, "A", 1, None), sale(BOX, "A", 1 + 5 * MINUTE, 2))
    )
    assert facts.events()["event_id"].to_list() == ["E002"]


def test_a_sale_paid_by_the_person_counts_and_costs_the_fund_nothing():
    for paid in ({"hi_feesetl_type": "0"}, {"mdtrt_setl_type": "2"}):
        cash = sale(BOX, "A", 3, 2, **LEDGER | paid)
        case = one(at_sites(sale(BOX, "A", 0, 1), cash, fee_lines=lines_of((1, 1, 500))))
        assert (case["sales"], case["excess_units"], case["suspect_fund"]) == (2, 1, 0)
    lined = sale(BOX, "A", 3, 2, hi_feesetl_type="0")
    facts = code_site_facts(bucket(sale(BOX, "A", 0, 1), lined, fee_lines=lines_of((1, 1, 500), (2, 1, 400))))
    assert facts.events()["fund"].to_list() == [500, 0]
    insured = sale(BOX, "A", 3, 2, hi_feesetl_type="1", mdtrt_setl_type="1")
    case = one(at_sites(sale(BOX, "A", 0, 1), insured, fee_lines=lines_of((1, 1, 500), (2, 1, 400))))
    assert case["suspect_fund"] == 400


def test_a_self_pay_sale_returned_before_an_insured_one_is_netted_by_its_receipt():
    cash = sale(BOX, "A", 0, 0, **LEDGER | {"rtal_docno": "R1", "hi_feesetl_type": "0"})
    back = event("return", BOX, "A", 1, rtal_docno="R1")
    assert one(at_sites(cash, back, sale(BOX, "A", 2, 2)))["excess_units"] == 0


# --- Taken back whole by claims and fee lines -----------------------------------------------------------------------


def tables_with(*lines: dict, **more) -> dict[str, pl.LazyFrame]:
    schema = {"feedetl_sn": pl.String, "init_feedetl_sn": pl.String, "cnt": pl.Decimal(16, 4)}
    return {"fee_lines": pl.LazyFrame(list(lines), schema=schema), **more}


def test_a_line_taken_back_whole_takes_its_sale_with_it():
    whole = [{"feedetl_sn": "F1", "cnt": 2}, {"feedetl_sn": "F2", "init_feedetl_sn": "F1", "cnt": -1}]
    assert cancelled_of(tables_with(*whole)) is None
    gone = cancelled_of(tables_with(*whole, {"feedetl_sn": "F3", "init_feedetl_sn": "F1", "cnt": -1}))
    assert gone.lines.to_list() == ["F1"]
    rows = trace(sale(BOX, "A", 0, 1), sale(BOX, "A", 5, 2))
    assert one(code_site_facts(read_bucket(rows, IDENTIFIERS, cancelled=gone)).cases.to_dicts())["sales"] == 1


def test_a_line_taken_back_whole_needs_no_code(region):
    lines = lines_of((1, 2, 100), (2, 2, 100)).with_columns(init_feedetl_sn=pl.lit(None, pl.String))
    back = lines.head(1).with_columns(feedetl_sn=pl.lit("F9"), init_feedetl_sn=pl.lit("F1"), cnt=-pl.col("cnt"))
    tables = {"fee_lines": pl.concat([lines, back]).lazy(), "drug_identifiers": IDENTIFIERS.lazy()}
    tables["trace_codes"] = trace(sale(BOX, "A", 0, 1), sale(BOX2, "A", 0, 2)).lazy()
    found = trace_bucket(tables, region)[0].filter(pl.col("rule_id") == "t10-scan-coverage")
    assert found["scope_key"].to_list() == ["F2"]


def test_a_line_of_a_stay_that_nobody_scanned_for_is_no_lead_and_that_of_an_outpatient_is(region):
    lines = lines_of((1, 1, 100), (2, 1, 100)).with_columns(fixmedins_code=pl.lit("A"))
    tables = {"fee_lines": lines.lazy(), "drug_identifiers": IDENTIFIERS.lazy()}
    tables["trace_codes"] = trace(sale(BOX, "A", 0, 9)).lazy()
    kinds = pl.DataFrame({"setl_id": ["S1", "S2"], "visit_kind": ["inpatient", "outpatient"]})
    tables["institutions"] = INSTITUTIONS.with_columns(fixmedins_type=pl.lit("hospital")).lazy()
    t10 = pl.col("rule_id") == "t10-scan-coverage"
    assert trace_bucket(tables | {"claims": kinds.lazy()}, region)[0].filter(t10)["scope_key"].to_list() == ["F2"]
    assert trace_bucket(tables, region)[0].filter(t10)["scope_key"].sort().to_list() == ["F1", "F2"]


def test_nothing_cancelled_is_nothing():
    none = pl.Series([], dtype=pl.String)
    rows = trace(sale(BOX, "A", 0, 1))
    assert read_bucket(rows, IDENTIFIERS, cancelled=Cancelled(none, none)).sales.height == 1


# --- Returns without a code -----------------------------------------------------------------------------------------


def resolved(*events: dict, earlier: list[dict] | None = None) -> list[tuple]:
    before = [trace(*earlier).lazy()] if earlier else None
    rows = with_codes(trace(*events).lazy(), before).collect()
    return sorted(rows.filter(pl.col("event_type") != "sale").select("event_id", "drug_trac_codg", "cnt").rows())


@pytest.mark.parametrize("paper", ["medins_prod_sel_no", "rtal_docno", "drug_detail_id", "setl_id", "feedetl_sn"])
def test_a_return_without_a_code_takes_back_the_codes_of_the_sale_it_names(paper):
    paper = {paper: "X1"}
    sold = [sale(code, "A", 0, n, **paper) for n, code in enumerate((BOX, BOX2))]
    retry = sale(BOX, "A", 0.01, 0, **paper)
    back = event("return", None, "A", 1, cnt=Decimal(2), **paper)
    assert resolved(*sold, retry, back) == [("E003", BOX, Decimal(1)), ("E003#2", BOX2, Decimal(1))]
    assert resolved({**back, "drug_trac_codg": " "}, earlier=sold) == [
        ("E000", BOX, Decimal(1)), ("E000#2", BOX2, Decimal(1))
    ]  # fmt: skip


def test_a_return_without_a_code_of_a_part_or_of_another_drug_stays_as_it_is():
    paper = {"medins_prod_sel_no": "N1"}
    sold = [sale(code, "A", 0, n, **paper) for n, code in enumerate((BOX, BOX2))]
    other = sale(BOX3, "A", 0, 3, **paper, med_list_codg="XC01")
    part = event("return", None, "A", 1, **paper)
    assert resolved(*sold, part) == [("E002", None, Decimal(1))]
    assert resolved(*sold, other, {**part, "med_list_codg": "XC01"}) == [("E003", BOX3, Decimal(1))]
    assert resolved(*sold, {**part, "fixmedins_code": "B", "cnt": Decimal(2)}) == [("E002", None, Decimal(2))]
    assert resolved(*sold, event("return", None, "A", 1)) == [("E002", None, Decimal(1))]


def test_a_void_without_a_code_takes_back_the_whole_settlement(region):
    sold = [sale(BOX, "A", 0, 1), sale(BOX2, "A", 0, 1, feedetl_sn="F8")]
    gone = void(None, "A", 0.1, 1)
    assert [code for _, code, _ in resolved(*sold, gone)] == [BOX, BOX2]
    rows = trace(*sold, gone, sale(BOX, "A", 2, 2))
    tables = {"trace_codes": rows.lazy(), "drug_identifiers": IDENTIFIERS.lazy()}
    assert "t01-same-site-excess" not in trace_bucket(tables, region)[0]["rule_id"].to_list()
    tables["trace_codes"] = rows.filter(pl.col("event_type") != "void").lazy()
    assert "t01-same-site-excess" in trace_bucket(tables, region)[0]["rule_id"].to_list()


def test_the_stock_of_a_lot_knows_voids():
    counted = event("stocktake", None, "A", 90, cnt=Decimal(1))
    assert lot(bought(BOX, "A", 0), sale(BOX, "A", 1, 1), void(BOX, "A", 1.1, 1), counted)["difference"] == 0
    assert lot(bought(BOX, "A", 0), sale(BOX, "A", 1, 1), counted)["difference"] == 1
