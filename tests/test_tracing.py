"""What the facts about trace codes say, one small history of packs at a time."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.tables.dictionary import table
from engine.tracing.events import Cancelled
from engine.tracing.facts import FACTS, code_facts, code_site_facts, read_bucket
from engine.tracing.lines import fee_line_facts, scan_facts
from engine.tracing.packs import family_keys
from engine.tracing.patterns import burst_facts, buyer_facts, reseller_facts, resold_codes
from engine.tracing.stock import lot_facts

SHARED = Path(__file__).parents[2] / "shared"
START = datetime(2025, 9, 1, 10, 0)

BOX, BOX2, BOX3 = "81000010000000000001", "81000010000000000002", "81000010000000000003"
BUNDLE, CASE = "82000010000000000001", "83000010000000000001"
DOUBLE, NEW, STRANGE = "84000010000000000001", "85000010000000000001", "86000010000000000001"
DRUG, INFUSION, OTHER, RENAMED = "XA01", "XB01", "XC01", "XD01"


def frame_of(name: str, rows: list[dict]) -> pl.DataFrame:
    used = {field for row in rows for field in row} or set(table(name).fields)
    return pl.DataFrame(rows, schema={f: t for f, t in table(name).schema.items() if f in used})


IDENTIFIERS = frame_of(
    "drug_identifiers",
    [
        {"ident7": "8100001", "med_list_codg": DRUG, "pack_level": 1, "pack_units": Decimal(10)},
        {"ident7": "8200001", "med_list_codg": DRUG, "pack_level": 2, "pack_units": Decimal(10)},
        {"ident7": "8300001", "med_list_codg": INFUSION, "pack_level": 3, "pack_units": Decimal(120)},
        {"ident7": "8400001", "med_list_codg": DRUG, "pack_level": 1, "pack_units": Decimal(10)},
        {"ident7": "8400001", "med_list_codg": OTHER, "pack_level": 1, "pack_units": Decimal(14)},
        {"ident7": "8500001", "med_list_codg": DRUG, "pack_level": 1, "valid_from": date(2025, 12, 20)},
        {"ident7": "06901234567892", "med_list_codg": DRUG, "pack_level": 1, "pack_units": Decimal(14)},
    ],
)
RELATIONS = frame_of("pack_relations", [{"parent_codg": BUNDLE, "child_codg": code} for code in (BOX, BOX2)])
# B lies 100 km north of A in another district, C one kilometre east of A; K1 and K2 are shops of a chain 100 km apart.
INSTITUTIONS = frame_of(
    "institutions",
    [
        {"fixmedins_code": code, "admdvs": district, "lon": Decimal(lon), "lat": Decimal(lat)}
        for code, district, lon, lat in [
            ("A", "01", "113.0", "23.0"), ("B", "02", "113.0", "23.9"), ("C", "01", "113.01", "23.0"),
            ("K1", "01", "113.0", "23.0"), ("K2", "02", "113.0", "23.9"),
        ]
    ],
)  # fmt: skip
CHAINS = frame_of("chains", [{"fixmedins_code": code, "chain_id": "K"} for code in ("K1", "K2")])
CODE_FREE = frame_of("code_free", [{"med_list_codg": RENAMED}])


def event(kind: str, code: str | None, site: str, day: float, **more) -> dict:
    return {
        "event_type": kind,
        "source": "sales_ledger" if kind != "sale" else "settlement",
        "drug_trac_codg": code,
        "fixmedins_code": site,
        "event_time": START + timedelta(days=day),
        "med_list_codg": DRUG,
        "trdn_flag": "0",
        "cnt": Decimal(1),
        **more,
    }


def sale(code: str | None, site: str, day: float, number: int, **more) -> dict:
    """A sale under settlement, fee line and person of that number."""
    who = {"setl_id": f"S{number}", "feedetl_sn": f"F{number}", "psn_no": f"P{number}"}
    return event("sale", code, site, day, **(who | more))


def given_back(code: str, site: str, day: float, number: int | None, **more) -> dict:
    return event("return", code, site, day, setl_id=number and f"S{number}", **more)


def bought(code: str, site: str, day: float, **more) -> dict:
    return event("purchase", code, site, day, **more)


def trace(*events: dict) -> pl.DataFrame:
    return frame_of("trace_codes", [{"event_id": f"E{n:03d}", **row} for n, row in enumerate(events)])


def lines_of(*lines: tuple) -> pl.DataFrame:
    """Fee lines (number, cnt, fund in fen), optionally with the list code."""
    rows = [
        {"feedetl_sn": f"F{n}", "setl_id": f"S{n}", "cnt": Decimal(cnt), "fund_pay": fund, "fee_ocur_time": START,
         "med_list_codg": item[0] if item else DRUG}
        for n, cnt, fund, *item in lines
    ]  # fmt: skip
    return frame_of("fee_lines", rows)


def bucket(*events: dict, fee_lines: pl.DataFrame | None = None):
    return read_bucket(trace(*events), IDENTIFIERS, RELATIONS, INSTITUTIONS, CHAINS, fee_lines)


def at_sites(*events: dict, **more) -> list[dict]:
    return code_site_facts(bucket(*events, **more)).cases.to_dicts()


def over_sites(*events: dict, **more) -> list[dict]:
    return code_facts(bucket(*events, **more)).cases.to_dicts()


def one(rows: list[dict]) -> dict:
    assert len(rows) == 1
    return rows[0]


def on_lines(*events: dict, fee_lines: pl.DataFrame | None = None) -> dict[str, dict]:
    facts = fee_line_facts(scan_facts(bucket(*events)), fee_lines, IDENTIFIERS, CODE_FREE)
    return {row["feedetl_sn"]: row for row in facts.cases.to_dicts()}


# --- T1: the same code again at one site ---------------------------------------------------------------------------


def test_a_box_sold_twice_exceeds_its_capacity_by_one():
    case = one(at_sites(sale(BOX, "A", 0, 1), sale(BOX, "A", 5, 2), fee_lines=lines_of((1, 1, 532), (2, 1, 608))))
    assert case["excess_units"] == 1
    assert case["capacity"] == 1
    assert case["persons"] == 2
    assert case["suspect_fund"] == 608
    assert (case["first_time"], case["last_time"]) == (START, START + timedelta(days=5))


def test_a_split_box_may_be_sold_up_to_its_content():
    parts = [sale(BOX, "A", n, n, trdn_flag="1", cnt=Decimal(cnt)) for n, cnt in enumerate([3, 3, 3, 1])]
    assert one(at_sites(*parts))["excess_units"] == 0
    beyond = one(at_sites(*parts, sale(BOX, "A", 9, 9, trdn_flag="1", cnt=Decimal(2))))
    assert (beyond["capacity"], beyond["excess_units"], beyond["split_sales"]) == (10, 2, 5)


def test_the_code_of_a_case_or_bundle_covers_its_packs():
    bottles = [sale(CASE, "A", n, n, cnt=Decimal(4), med_list_codg=INFUSION) for n in range(30)]
    assert one(at_sites(*bottles))["excess_units"] == 0
    assert one(at_sites(*bottles, sale(CASE, "A", 40, 40, med_list_codg=INFUSION)))["excess_units"] == 1
    assert one(at_sites(sale(BUNDLE, "A", 0, 1, cnt=Decimal(2)), sale(BUNDLE, "A", 1, 2)))["excess_units"] == 0


def test_of_an_unknown_identifier_the_excess_is_unknown():
    case = one(at_sites(sale(STRANGE, "A", 0, 1), sale(STRANGE, "A", 5, 2)))
    assert (case["capacity"], case["excess_units"], case["suspect_fund"]) == (None, None, None)


@pytest.mark.parametrize("scan", ["9" * 20, "6901234567892", "86904879000126", "8.18912E+19", None])
def test_what_is_not_a_usable_code_joins_no_sales(scan):
    assert at_sites(sale(scan, "A", 0, 1), sale(scan, "A", 5, 2), sale(scan, "B", 5, 3)) == []


def test_a_code_is_one_code_however_it_was_written():
    ways = ["(01)06901234567892(21)X1(17)270101(10)L", "(01)06901234567892(10)L(17)270101(21)x1"]
    case = one(at_sites(sale(ways[0], "A", 0, 1), sale(ways[1], "A", 5, 2)))
    assert (case["code"], case["excess_units"]) == ("06901234567892|X1", 1)
    assert one(at_sites(sale(BOX, "A", 0, 1), sale(f" {BOX[:7]} {BOX[7:]}", "A", 5, 2)))["sales"] == 2


def test_a_retried_upload_is_one_sale():
    case = one(at_sites(sale(BOX, "A", 0, 1), sale(BOX, "A", 0.01, 1)))
    assert (case["sales"], case["units"], case["excess_units"]) == (1, 1, 0)


def test_both_channels_tell_of_one_sale():
    ledger = {"source": "sales_ledger", "feedetl_sn": None, "psn_no": None}
    facts = code_site_facts(bucket(sale(BOX, "A", -0.01, 1, **ledger), sale(BOX, "A", 0, 1)))
    assert one(facts.cases.to_dicts())["sales"] == 1
    assert facts.events()["feedetl_sn"].to_list() == ["F1"]


def test_a_code_on_two_lines_of_a_settlement_has_the_units_of_both():
    split = {"trdn_flag": "1", "setl_id": "S1"}
    parts = [sale(BOX, "A", 0, n, cnt=Decimal(4), **split) for n in (1, 2)]
    case = one(at_sites(*parts, parts[0]))
    assert (case["sales"], case["units"]) == (1, 8)


def test_a_returned_box_may_be_sold_again():
    case = one(at_sites(sale(BOX, "A", 0, 1), given_back(BOX, "A", 0.1, 1), sale(BOX, "A", 2, 2)))
    assert (case["sales"], case["excess_units"], case["first_time"]) == (1, 0, START + timedelta(days=2))


def test_a_self_pay_sale_returned_leaves_the_insured_sale():
    cash = {"setl_id": None, "feedetl_sn": None, "psn_no": None, "source": "sales_ledger"}
    back = given_back(BOX, "A", 0.1, None)
    assert one(at_sites(sale(BOX, "A", 0, 0, **cash), back, sale(BOX, "A", 1, 2)))["sales"] == 1


def test_a_return_takes_the_sale_it_names_and_else_the_latest_before_it():
    sales = [sale(BOX, "A", n, n, trdn_flag="1", cnt=Decimal(3)) for n in (1, 2, 3)]
    for back, left in (
        (given_back(BOX, "A", 4, 1, cnt=Decimal(3)), ["E001", "E002"]),
        (given_back(BOX, "A", 4, None, cnt=Decimal(3)), ["E000", "E001"]),
        (given_back(BOX, "A", 2.5, None, cnt=Decimal(5)), ["E000", "E002"]),
    ):
        facts = code_site_facts(bucket(*sales, back))
        assert facts.events()["event_id"].to_list() == left
    assert facts.events()["units"].to_list() == [1, 3]


def test_parts_of_a_sale_may_come_back_one_by_one():
    sold = sale(BOX, "A", 0, 1, trdn_flag="1", cnt=Decimal(6))
    backs = [given_back(BOX, "A", n, 1, cnt=Decimal(2)) for n in (1, 2)]
    assert one(at_sites(sold, *backs))["units"] == 2
    assert at_sites(sold, *backs, *(given_back(BOX, "A", 3, 1, cnt=Decimal(2)) for _ in range(9))) == []


def test_a_return_to_another_site_frees_no_sale():
    assert one(at_sites(sale(BOX, "A", 0, 1), given_back(BOX, "B", 1, None), sale(BOX, "A", 2, 2)))["excess_units"] == 1


def test_a_negative_sale_is_a_return():
    assert (
        one(at_sites(sale(BOX, "A", 0, 1), sale(BOX, "A", 1, 1, cnt=Decimal(-1)), sale(BOX, "A", 2, 2)))["sales"] == 1
    )


def test_sales_of_cancelled_settlements_do_not_count():
    rows = trace(sale(BOX, "A", 0, 1), sale(BOX, "A", 5, 2))
    gone = Cancelled(pl.Series(["S1"]), pl.Series([], dtype=pl.String))
    cases = code_site_facts(read_bucket(rows, IDENTIFIERS, cancelled=gone)).cases
    assert one(cases.to_dicts())["sales"] == 1


def test_excess_is_cut_from_the_latest_sale_and_never_from_the_first():
    facts = code_site_facts(
        bucket(
            *(sale(BOX, "A", n, n, trdn_flag="1", cnt=Decimal(cnt)) for n, cnt in enumerate([6, 5, 3])),
            fee_lines=lines_of((0, 6, 600), (1, 5, 999), (2, 3, 300)),
        )
    )
    events = facts.events()
    assert events["excess_units"].to_list() == [0, 1, 3]
    assert events["role"].to_list() == ["basis", "excess", "excess"]
    assert events["suspect_fund"].to_list() == [0, 200, 300]  # 999 x 1 / 5 = 199.8
    assert events["fund"].to_list() == [600, 999, 300]
    assert facts.cases["suspect_fund"].item() == 500


def test_half_a_fen_is_rounded_up():
    sales = [sale(BOX, "A", n, n) for n in (1, 2)]
    assert one(at_sites(*sales, fee_lines=lines_of((1, 1, 1), (2, 2, 5))))["suspect_fund"] == 3


def test_events_can_be_asked_for_some_cases_only():
    facts = code_site_facts(bucket(sale(BOX, "A", 0, 1), sale(BOX2, "A", 0, 2)))
    assert facts.events(facts.cases["case"].tail(1))["code"].to_list() == [BOX2]


# --- T2, T3, T4, T9: one code over all sites ------------------------------------------------------------------------


def test_a_box_sold_again_elsewhere_tells_the_gap_and_the_two_sites():
    case = one(over_sites(sale(BOX, "A", 0, 1), sale(BOX, "B", 39.5, 2)))
    assert (case["sites"], case["longest_gap_days"], case["excess_units"]) == (2, 39, 1)
    assert (case["first_site"], case["first_person"], case["resale_site"]) == ("A", "P1", "B")


def test_shops_of_one_chain_have_no_gap_between_them():
    case = one(over_sites(sale(BOX, "K1", 0, 1), sale(BOX, "K2", 39, 2)))
    assert (case["longest_gap_days"], case["resale_site"]) == (None, None)
    assert one(over_sites(sale(BOX, "K1", 0, 1), sale(BOX, "B", 39, 2)))["longest_gap_days"] == 39


def test_a_box_returned_to_the_first_site_and_sold_by_another_is_sold_once():
    case = one(over_sites(sale(BOX, "A", 0, 1), given_back(BOX, "A", 1, 1), bought(BOX, "B", 9), sale(BOX, "B", 40, 2)))
    assert (case["sales"], case["longest_gap_days"]) == (1, None)


def test_a_dual_channel_box_told_by_hospital_and_pharmacy_is_one_sale():
    case = one(over_sites(sale(BOX, "B", 0, 1), sale(BOX, "A", 0.004, 1)))
    assert (case["sales"], case["sites"], case["travel_shortfall_minutes"]) == (1, 1, None)


def test_travel_counts_distance_speed_and_tolerance():
    quick = one(over_sites(sale(BOX, "A", 0, 1), sale(BOX, "B", 20 / 1440, 2)))
    assert quick["travel_km"] == Decimal("100.1")
    assert quick["travel_shortfall_minutes"] == 50 - 20 - 10
    assert quick["shortest_gap_minutes"] == 20
    slow = one(over_sites(sale(BOX, "A", 0, 1), sale(BOX, "B", 45 / 1440, 2)))
    assert slow["travel_shortfall_minutes"] < 0
    again = code_facts(bucket(sale(BOX, "A", 0, 1), sale(BOX, "B", 20 / 1440, 2)), speed=300, tolerance_minutes=0)
    assert again.cases["travel_shortfall_minutes"].item() == 0


def test_between_near_sites_travel_says_nothing():
    case = one(over_sites(sale(BOX, "A", 0, 1), sale(BOX, "C", 1 / 1440, 2)))
    assert (case["travel_shortfall_minutes"], case["shortest_gap_minutes"]) == (None, None)
    assert case["travel_km"] == Decimal("1.0")


def test_one_person_with_two_settlements_of_a_box_is_counted():
    same = {"psn_no": "P1"}
    assert one(over_sites(sale(BOX, "A", 0, 1), sale(BOX, "A", 2, 2, **same)))["same_person_settlements"] == 2
    cancelled = [sale(BOX, "A", 0, 1), given_back(BOX, "A", 0.1, 1), sale(BOX, "A", 0.2, 2, **same)]
    assert one(over_sites(*cancelled))["same_person_settlements"] == 1


def test_a_box_and_its_bundle_both_sold_are_seen_from_the_box():
    events = [sale(BUNDLE, "A", 0, 1, cnt=Decimal(10)), sale(BOX, "A", 1, 2)]
    facts = code_facts(bucket(*events))
    box, bundle = facts.cases.to_dicts()
    assert (box["code"], box["parents_sold"], box["family_excess"]) == (BOX, 1, 1)
    assert bundle["parents_sold"] == 0
    told = facts.events(facts.cases.filter(pl.col("parents_sold") > 0)["case"])
    assert told.select("event_id", "role").rows() == [("E000", "parent"), ("E001", "basis")]


def test_a_bundle_only_bought_is_not_sold():
    cases = over_sites(bought(BUNDLE, "A", -9), bought(BOX, "A", -9), sale(BOX, "A", 0, 1), sale(BOX2, "A", 1, 2))
    assert [case["parents_sold"] for case in cases] == [0, 0]


# --- T5, T6, T7, T10, T12: fee lines and their codes ----------------------------------------------------------------


def test_a_code_of_another_drug_is_a_mismatch():
    case = on_lines(sale(BOX, "A", 0, 1, med_list_codg=OTHER))["F1"]
    assert (case["mismatched_codes"], case["late_mapped_codes"], case["unknown_identifiers"]) == (1, 0, 0)


def test_an_identifier_of_two_drugs_matches_both():
    lines = on_lines(sale(DOUBLE, "A", 0, 1), sale(DOUBLE[:-1] + "2", "A", 0, 2, med_list_codg=OTHER))
    assert [line["mismatched_codes"] for line in lines.values()] == [0, 0]


def test_a_mapping_dated_after_the_sale_is_late_and_no_mismatch():
    case = on_lines(sale(NEW, "A", 0, 1))["F1"]
    assert (case["mismatched_codes"], case["late_mapped_codes"]) == (0, 1)


def test_an_unknown_identifier_is_no_mismatch():
    case = on_lines(sale(STRANGE, "A", 0, 1))["F1"]
    assert (case["mismatched_codes"], case["unknown_identifiers"]) == (0, 1)


def test_a_pack_is_good_on_its_last_day_and_expired_the_day_after():
    last = {"expy_end": START.date()}
    assert on_lines(sale(BOX, "A", 0.5, 1, **last))["F1"]["expired_codes"] == 0
    late = on_lines(sale(BOX, "A", 1, 1, **last))["F1"]
    assert (late["expired_codes"], late["expired_days"]) == (1, 1)


def test_a_lot_differs_when_the_code_was_bought_under_others_only():
    def differing(*lots: str | None) -> int:
        purchases = [bought(BOX, "A", -9, manu_lotnum=lot) for lot in lots]
        return on_lines(*purchases, sale(BOX, "A", 0, 1, manu_lotnum="L1"))["F1"]["lot_differs_codes"]

    assert [differing("L2"), differing("L1"), differing("L2", "L1"), differing(None), differing()] == [1, 0, 0, 0, 0]


def test_a_sale_needs_a_supply_at_its_site_or_chain_in_time():
    def unsupplied(site: str, *supplies: dict) -> tuple[int, int]:
        case = on_lines(*supplies, sale(BOX, site, 0, 1))["F1"]
        return case["unsupplied_codes"], case["supplied_later_codes"]

    assert unsupplied("A") == (1, 0)
    assert unsupplied("A", bought(BOX, "A", -1)) == (0, 0)
    assert unsupplied("A", bought(BOX, "B", -1)) == (1, 0)
    assert unsupplied("K2", bought(BOX, "K1", -1)) == (0, 0)
    assert unsupplied("A", event("stocktake", BOX, "A", -60)) == (0, 0)
    assert unsupplied("A", bought(BUNDLE, "A", -1)) == (0, 0)
    assert unsupplied("A", bought(BOX2, "A", -1)) == (1, 0)
    assert unsupplied("A", bought(BOX, "A", 10 / 1440)) == (0, 0)
    assert unsupplied("A", bought(BOX, "A", 11 / 1440)) == (1, 1)


def test_a_dual_channel_sale_is_supplied_where_either_site_bought_it():
    told = [sale(BOX, "B", 0, 1), sale(BOX, "A", 0.004, 1)]
    assert on_lines(bought(BOX, "A", -1), *told)["F1"]["unsupplied_codes"] == 0


def test_what_a_returned_sale_says_does_not_count():
    made = {"manu_date": START.date() + timedelta(days=12)}
    sold = sale(BOX, "A", 0, 1, **made)
    assert on_lines(sold)["F1"]["made_later_days"] == 12
    assert on_lines(sold, given_back(BOX, "A", 1, 1))["F1"]["made_later_codes"] == 0
    assert on_lines(sale(BOX, "A", 0, 1, manu_date=START.date()))["F1"]["made_later_codes"] == 0
    assert on_lines(sale(BOX, "A", 0, 1))["F1"]["made_later_days"] is None


def missing(billed: int, *scans: dict) -> Decimal:
    return on_lines(*scans, fee_lines=lines_of((1, billed, 100)))["F1"]["missing"]


def test_units_billed_and_not_scanned_are_missing():
    assert missing(3, sale(BOX, "A", 0, 1)) == 2
    assert missing(3, sale(BOX, "A", 0, 1), sale(BOX, "A", 0.01, 1)) == 2
    assert missing(3, *(sale(code, "A", 0, 1) for code in (BOX, BOX2, BOX3))) == 0
    assert missing(3) == 3


def test_a_bundle_covers_its_packs_and_a_wrong_scan_is_a_scan():
    assert missing(10, sale(BUNDLE, "A", 0, 1)) == 0
    assert missing(2, sale("6901234567892", "A", 0, 1), sale("8.18912E+19", "A", 0, 1)) == 0
    assert missing(2, sale(None, "A", 0, 1)) == 2


def test_a_placeholder_covers_nothing_and_the_split_flag_is_told():
    case = on_lines(sale("9" * 20, "A", 0, 1, trdn_flag="1"), fee_lines=lines_of((1, 4, 100)))["F1"]
    assert (case["missing"], case["placeholders"], case["split"]) == (4, 1, 1)


def test_a_returned_sale_was_still_scanned():
    assert missing(1, sale(BOX, "A", 0, 1), given_back(BOX, "A", 1, 1)) == 0


def test_lines_are_told_whether_their_drug_needs_a_code_and_others_are_left_out():
    lines = on_lines(sale(None, "A", 0, 1), fee_lines=lines_of((1, 1, 9, DRUG), (2, 1, 9, RENAMED), (3, 1, 9, "S01")))
    assert [(name, line["code_free"]) for name, line in lines.items()] == [("F1", 0)]
    with_scan = on_lines(sale(BOX, "A", 0, 2), fee_lines=lines_of((2, 2, 9, RENAMED)))
    assert (with_scan["F2"]["code_free"], with_scan["F2"]["missing"]) == (1, 1)


def unscanned(*events: dict, lines: pl.DataFrame | None = None, **more) -> list[tuple]:
    """Cases of lines without a scan, with who must scan: pharmacies from 2025-09-01, hospitals from 2025-09-02."""
    duties = [("pharmacy", date(2025, 9, 1), None), ("hospital", date(2025, 9, 2), date(2025, 9, 30))]
    rows = [{"fixmedins_type": kind, "begndate": begin, "enddate": end, "duty": "collect", "admdvs": None,
             "hosp_lv": None} for kind, begin, end in duties]  # fmt: skip
    types = dict.fromkeys(("fixmedins_type", "duty", "admdvs", "hosp_lv"), pl.String)
    known = pl.DataFrame(rows, schema_overrides=types)
    lines = lines_at("P9") if lines is None else lines
    facts = fee_line_facts(scan_facts(bucket(*events)), lines, IDENTIFIERS, CODE_FREE, more.get("institutions"),
                           known, trace(*events).lazy())  # fmt: skip
    return facts.cases.filter(unscanned=1).select("feedetl_sn", "due", "unlinked").rows()


def lines_at(site: str, day: float = 0, **more) -> pl.DataFrame:
    """Fee line F1 at a site, of settlement S1 and person P1."""
    row = {"feedetl_sn": "F1", "setl_id": "S1", "psn_no": "P1", "fixmedins_code": site, "cnt": Decimal(2),
           "fee_ocur_time": START + timedelta(days=day), "med_list_codg": DRUG, **more}  # fmt: skip
    return frame_of("fee_lines", [row])


def test_a_line_without_a_scan_is_due_where_and_when_a_duty_is_in_force():
    assert [unscanned(lines=lines_at(*at)) for at in (("P9", 0), ("P9", -1), ("H9", 0), ("H9", 1), ("H9", 30))] == [
        [("F1", due, 0)] for due in (1, 0, 0, 1, 0)
    ]
    # Of a kind that nothing tells: due when hospitals and pharmacies both are.
    assert [unscanned(lines=lines_at("X9", day))[0][1] for day in (0, 1, 30)] == [0, 1, 0]
    register = frame_of("institutions", [{"fixmedins_code": "X9", "fixmedins_type": "pharmacy"}])
    assert unscanned(lines=lines_at("X9"), institutions=register) == [("F1", 1, 0)]
    assert unscanned(lines=lines_at("P9", self_pay_flag="1")) == [("F1", 0, 0)]


def test_a_code_of_the_sales_ledger_may_be_that_of_a_line_it_does_not_name():
    ledger = {"source": "sales_ledger", "feedetl_sn": None}
    bare = {**ledger, "setl_id": None}
    at = START.replace(hour=18)
    same = [sale(BOX, "P9", 0, 1, **ledger), sale(BOX, "P9", 0, 1, **bare, event_time=at)]
    assert [unscanned(event) for event in same] == [[("F1", 1, 1)]] * 2
    others = [
        sale(BOX, "P9", 0, 2, **ledger), sale(BOX, "P9", 0, 2, **bare), sale(BOX, "P9", 1, 1, **bare),
        sale(BOX, "P8", 0, 1, **bare), sale(BOX, "P9", 0, 1, **bare, med_list_codg=OTHER),
        sale(None, "P9", 0, 1, **ledger), sale("9" * 20, "P9", 0, 1, **ledger), sale(BOX, "P9", 0, 1, feedetl_sn="F7"),
        given_back(BOX, "P9", 0, 1), bought(BOX, "P9", 0, setl_id="S1"), sale(BOX, "P9", 0, 1, **ledger, cnt=-1),
    ]  # fmt: skip
    assert [unscanned(event) for event in others] == [[("F1", 1, 0)]] * len(others)


def test_the_evidence_of_a_line_without_a_scan_is_the_line():
    facts = fee_line_facts(scan_facts(bucket()), lines_of((1, 3, 1000)), IDENTIFIERS)
    assert facts.events().select("event_id", "feedetl_sn", "role", "units", "fund").rows() == [
        (None, "F1", "line", 3, 1000)
    ]


def test_events_of_a_line_say_which_code_is_at_fault_and_what_it_cost():
    bad = sale(BOX2, "A", 0, 1, expy_end=date(2025, 1, 1))
    scans = scan_facts(bucket(sale(BOX, "A", 0, 1), bad, sale("9" * 20, "A", 0, 1)))
    events = fee_line_facts(scans, lines_of((1, 3, 1000)), IDENTIFIERS).events()
    assert events.select("event_id", "role", "expired", "fund").rows() == [
        ("E000", "basis", 0, 333), ("E001", "basis", 1, 333), ("E002", "scan", 0, 333),
    ]  # fmt: skip


# --- T8, T11, T13: patterns over many codes --------------------------------------------------------------------------


def lot(*events: dict) -> dict:
    return one(lot_facts(bucket(*({"manu_lotnum": "L1", **row} for row in events))).cases.to_dicts())


def test_the_count_of_a_lot_is_what_was_bought_less_what_was_sold():
    counted = event("stocktake", None, "A", 90, cnt=Decimal(1))
    moves = [bought(BOX, "A", 0), bought(BOX2, "A", 0), sale(BOX, "A", 1, 1), counted]
    assert lot(*moves)["difference"] == 0
    ledger = sale(BOX, "A", 1.001, 1, source="sales_ledger", feedetl_sn=None)
    assert lot(*moves, ledger)["difference"] == 0
    assert lot(*moves, sale(BOX2, "A", 2, 2), given_back(BOX2, "A", 3, 2))["difference"] == 0
    assert lot(*moves, sale(BOX2, "A", 2, 2))["difference"] == 1
    assert lot(*moves, sale("6901234567892", "A", 2, 2))["difference"] == 1
    assert lot(*moves, sale(BOX2, "A", 91, 2))["difference"] == 0
    assert lot(*moves, event("stocktake", BOX3, "A", -60))["opening"] == 1
    assert lot(*moves, bought(BOX, "A", 0.01), event("stocktake", BOX2, "A", 80))["difference"] == 0


def test_a_lot_counts_from_its_earlier_count_and_through_the_packs_of_a_bundle():
    counts = [event("stocktake", None, "A", day, cnt=Decimal(cnt)) for day, cnt in ((10, 7), (90, 6))]
    case = lot(bought(BOX, "A", 0), *counts, sale(BOX, "A", 20, 1))
    assert (case["opening"], case["purchased"], case["difference"]) == (7, 0, 0)
    last = event("stocktake", None, "A", 90, cnt=Decimal(10))
    assert lot(bought(BUNDLE, "A", 0), last)["difference"] == 0
    assert lot(bought(BUNDLE, "A", 0), bought(BOX, "A", 0), bought(BOX2, "A", 0), last)["purchased"] == 2


def carton(kind, persons: int = 12, seconds: int = 0) -> list[dict]:
    return [
        kind(f"8100001{n:013d}", "A", n * seconds / 86400, **({"number": n % persons} if kind is sale else {}))
        for n in range(100, 112)
    ]


def test_consecutive_packs_sold_within_a_second_are_a_burst():
    case = one(burst_facts(bucket(*carton(sale))).cases.to_dicts())
    assert (case["codes"], case["persons"], case["seconds"]) == (12, 12, 0)
    assert case["first_code"] == "81000010000000000100"
    assert one(burst_facts(bucket(*carton(sale, persons=1))).cases.to_dicts())["persons"] == 1


def test_packs_bought_together_or_sold_one_by_one_are_no_burst():
    assert burst_facts(bucket(*carton(bought))).cases.is_empty()
    assert burst_facts(bucket(*carton(sale, seconds=60))).cases.is_empty()
    assert burst_facts(bucket(*carton(sale, seconds=60)), within_seconds=60).cases["codes"].item() == 12


def test_a_buyer_is_known_by_the_packs_that_are_sold_again_elsewhere():
    packs = [f"8100001{n:013d}" for n in range(10, 70, 10)]
    first = [sale(code, "A", n, n, psn_no="P") for n, code in enumerate(packs)]
    again = [sale(code, "B", 40, 100 + n) for n, code in enumerate(packs)]
    facts = buyer_facts(*resold_codes(code_facts(bucket(*first, *again))))
    case = one(facts.cases.to_dicts())
    assert (case["psn_no"], case["codes"], case["first_sites"], case["most_at_one_site"]) == ("P", 6, 1, 6)
    assert facts.events().height == 12
    returned = [given_back(code, "A", 20, n) for n, code in enumerate(packs)]
    assert resold_codes(code_facts(bucket(*first, *returned, *again)))[0].is_empty()


# --- Properties ------------------------------------------------------------------------------------------------------

HISTORIES = st.lists(
    st.builds(
        lambda kind, code, site, day, number, units, split, ledger: event(
            kind, code, site, day, setl_id=number and f"S{number}", feedetl_sn=None if ledger else f"F{number}",
            psn_no=f"P{number % 3}", cnt=Decimal(units), trdn_flag=split, manu_lotnum=f"L{units}",
            source="sales_ledger" if ledger else "settlement",
        ),
        kind=st.sampled_from(["sale", "sale", "sale", "return", "purchase", "stocktake"]),
        code=st.sampled_from([BOX, BOX2, BUNDLE, CASE, "9" * 20, "6901234567892", STRANGE, None]),
        site=st.sampled_from(["A", "B", "C", "K1", "K2"]),
        day=st.integers(0, 20),
        number=st.integers(0, 6),
        units=st.integers(1, 4),
        split=st.sampled_from(["0", "1"]),
        ledger=st.booleans(),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip
LINES = lines_of(*((n, 3, 100 + n) for n in range(7)))


def all_facts(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Every frame of facts, cases and events, of one bucket, without the case numbers but in their order."""
    read = read_bucket(rows, IDENTIFIERS, RELATIONS, INSTITUTIONS, CHAINS, LINES)
    lines = fee_line_facts(scan_facts(read), LINES, IDENTIFIERS, CODE_FREE)
    facts = [code_site_facts(read), code_facts(read), lines, lot_facts(read), burst_facts(read)]
    return [frame for fact in facts for frame in (fact.cases, fact.events())]


@settings(deadline=None, max_examples=15)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_facts_do_not_depend_on_the_order_of_the_rows(events, random):
    rows = trace(*events)
    order = random.sample(range(rows.height), rows.height)
    for plain, shuffled in zip(all_facts(rows), all_facts(rows[order]), strict=True):
        assert plain.equals(shuffled)


@settings(deadline=None, max_examples=15)
@given(HISTORIES)
def test_a_retry_of_every_upload_changes_no_case_of_a_code(events):
    events = [row for row in events if row["event_type"] != "return" and row["setl_id"]]
    later = [{**row, "event_time": row["event_time"] + timedelta(minutes=5)} for row in events]
    once, twice = bucket(*events, fee_lines=LINES), bucket(*events, *later, fee_lines=LINES)
    for facts in (code_site_facts, code_facts):
        assert facts(once).cases.equals(facts(twice).cases)


@settings(deadline=None, max_examples=15)
@given(HISTORIES)
def test_a_single_sale_is_never_excess_and_excess_is_less_than_what_was_sold(events):
    cases = pl.concat([facts(bucket(*events)).cases for facts in (code_site_facts, code_facts)], how="diagonal_relaxed")
    assert cases.filter((pl.col("sales") == 1) & (pl.col("excess_units") > 0)).is_empty()
    assert cases.filter((pl.col("excess_units") < 0) | (pl.col("excess_units") >= pl.col("units"))).is_empty()


@settings(deadline=None, max_examples=15)
@given(HISTORIES, st.integers(2, 3))
def test_buckets_by_family_give_the_facts_of_the_whole(events, buckets):
    rows = trace(*events)
    parts = rows.with_columns(part=family_keys(rows, RELATIONS) % buckets).partition_by("part", include_key=False)

    def union(frames: list[pl.DataFrame]) -> pl.DataFrame:
        whole = pl.concat(frames)
        return whole.drop("case", strict=False).sort(pl.all())

    reads = [read_bucket(part, IDENTIFIERS, RELATIONS, INSTITUTIONS, CHAINS, LINES) for part in parts]
    whole = read_bucket(rows, IDENTIFIERS, RELATIONS, INSTITUTIONS, CHAINS, LINES)
    for facts in (code_site_facts, code_facts):
        assert union([facts(read).cases for read in reads]).equals(union([facts(whole).cases]))
        assert union([facts(read).events() for read in reads]).equals(union([facts(whole).events()]))
    scans = pl.concat([scan_facts(read) for read in reads])
    joined = fee_line_facts(scans, LINES, IDENTIFIERS, CODE_FREE)
    assert joined.cases.equals(fee_line_facts(scan_facts(whole), LINES, IDENTIFIERS, CODE_FREE).cases)


def test_every_fact_has_the_name_and_type_it_is_announced_with():
    read = bucket(*carton(sale), event("stocktake", None, "A", 9, manu_lotnum="L1"), fee_lines=LINES)
    frames = {
        "code_site": code_site_facts(read), "code": code_facts(read), "lot": lot_facts(read),
        "burst": burst_facts(read), "fee_line_codes": fee_line_facts(scan_facts(read), LINES, IDENTIFIERS),
        "buyer": buyer_facts(*resold_codes(code_facts(read))),
        "reseller": reseller_facts(*resold_codes(code_facts(read))),
    }  # fmt: skip
    types = {"text": pl.String, "int": pl.Int64, "money": pl.Int64, "datetime": pl.Datetime("us"),
             "decimal(16,4)": pl.Decimal(16, 4), "decimal(8,1)": pl.Decimal(8, 1)}  # fmt: skip
    for scope, facts in frames.items():
        announced = {name: types[kind.rstrip("?")] for name, (kind, _) in FACTS[scope].items()}
        assert dict(facts.cases.drop("case").schema) == announced, scope
        needed = [name for name, (kind, _) in FACTS[scope].items() if not kind.endswith("?")]
        assert sum(facts.cases.select(needed).null_count().row(0)) == 0, scope


def test_facts_of_no_events_are_empty():
    lines_without_scans = LINES.height
    assert {frame.height for frame in all_facts(trace())} == {0, lines_without_scans}


# --- The shared sample ------------------------------------------------------------------------------------------------

CONDITIONS = {
    "T1": ("code_site", pl.col("excess_units") > 0),
    "T2": ("code", (pl.col("longest_gap_days") >= 7) & (pl.col("excess_units") > 0)),
    "T3": ("code", (pl.col("travel_shortfall_minutes") > 0) | (pl.col("shortest_gap_minutes") < 1440)),
    "T4": ("code", (pl.col("same_person_settlements") > 1) & (pl.col("excess_units") > 0)),
    "T5": ("line", pl.col("mismatched_codes") > 0),
    "T6": ("line", (pl.col("expired_codes") > 0) | (pl.col("lot_differs_codes") > 0)),
    "T7": ("line", pl.col("unsupplied_codes") > 0),
    "T8": ("lot", (pl.col("difference") != 0) & (pl.col("split_sales") == 0)),
    "T9": ("code", pl.col("parents_sold") > 0),
    "T10": ("line", (pl.col("missing") > 0) & (pl.col("split") == 0) & (pl.col("code_free") == 0)),
    "T11": ("burst", (pl.col("codes") >= 10) & (pl.col("persons") >= 5)),
    "T12": ("line", pl.col("made_later_codes") > 0),
    "T13": ("buyer", pl.col("codes") >= 5),
}


def canonical(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    frame = frame.with_columns(pl.col(pl.String).replace("", None))
    fields = [field for field in table(name).fields.values() if field.name in frame.columns]
    ways = {"money": lambda column: column * 100, "date": lambda column: column.str.to_date()}
    return frame.select(ways.get(f.type, lambda column: column)(pl.col(f.name)).cast(f.dtype) for f in fields)


def sample_tables(folder: Path) -> dict[str, pl.DataFrame]:
    names = ["drug_identifiers", "pack_relations", "institutions", "chains", "code_free"]
    frames = {name: pl.read_csv(folder / f"{name}.csv", infer_schema_length=0) for name in names}
    frames |= {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("trace_codes", "fee_lines")}
    return {name: canonical(frame, name) for name, frame in frames.items()}


@pytest.fixture(scope="module")
def sample() -> dict:
    folder = SHARED / "data" / "sample-trace"
    if not folder.exists():
        pytest.skip("the shared trace sample is not beside the repository")
    tables = sample_tables(folder)
    code_free = tables.pop("code_free")
    read = read_bucket(**tables)
    codes = code_facts(read)
    lines = fee_line_facts(scan_facts(read), tables["fee_lines"], tables["drug_identifiers"], code_free)
    facts = {"code_site": code_site_facts(read), "code": codes, "line": lines, "lot": lot_facts(read)}
    facts |= {"burst": burst_facts(read), "buyer": buyer_facts(*resold_codes(codes))}
    return {"facts": facts, "cases": json.loads((folder / "key.json").read_text("utf-8"))["cases"]}


@pytest.mark.parametrize("check", CONDITIONS)
def test_the_sample_gives_up_every_planted_case_and_no_look_alike(sample, check):
    scope, condition = CONDITIONS[check]
    facts = sample["facts"][scope]
    events = facts.events(facts.cases.filter(condition)["case"])
    touched = set(events["event_id"]) | (set(events["feedetl_sn"]) if "feedetl_sn" in events.columns else set())

    def cases(kind: str) -> list[dict]:
        return [case for case in sample["cases"] if case["rule"] == check and case["kind"] == kind]

    def missed_or_hit(case: dict) -> bool:
        return bool(touched & {*case["event_ids"], *case.get("feedetl_sn", [])})

    assert [case["case"] for case in cases("violation") if not missed_or_hit(case)] == []
    assert [case["case"] for case in cases("lookalike") if missed_or_hit(case)] == []


def test_the_sample_agrees_on_excess_and_money(sample):
    for check, scope in (("T1", "code_site"), ("T2", "code")):
        facts = sample["facts"][scope]
        whose = facts.events().select("event_id", "case")
        for planted in (case for case in sample["cases"] if case["rule"] == check and case["kind"] == "violation"):
            numbers = whose.filter(pl.col("event_id").is_in(planted["event_ids"]))["case"].unique()
            case = one(facts.cases.filter(pl.col("case").is_in(numbers.implode())).to_dicts())
            assert case["excess_units"] == planted.get("excess_units", case["excess_units"])
            assert case["suspect_fund"] == planted.get("suspect_fund_fen", case["suspect_fund"])
