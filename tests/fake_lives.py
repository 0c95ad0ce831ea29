"""Lives of codes and networks, made up, for a fake run whose findings speak of trace codes."""

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
from fake_run import NAMES, SITES, fake_run

from engine.tables.outputs import conform, outputs
from engine.tracing.networks import networks

START = datetime(2025, 3, 1, 9, 30)
KINDS = [("purchase", "supplied"), ("sale", "stands"), ("sale", "retold"), ("sale", "netted"), ("return", "back"),
         ("stocktake", "supplied"), ("void", "back"), ("sale", "cancelled"), ("sale", "excess")]  # fmt: skip


def life(finding: str, code: str, events: list[tuple], **more) -> list[dict]:
    """Rows of code_history: events are (day, kind, state, site)."""
    rows, before = [], None
    for seq, (day, kind, state, site) in enumerate(events, 1):
        time = START + timedelta(days=day)
        rows.append({
            "finding_id": finding, "code": code, "seq": seq, "event_id": f"E{seq}", "kind": kind, "state": state,
            "accused": False, "time": time, "source": "settlement",
            "fixmedins_code": site, "fixmedins_name": NAMES.get(site),
            "km": None if before is None else Decimal(0) if before[1] == site else Decimal("133.4"),
            "gap_minutes": None if before is None else int((time - before[0]).total_seconds()) // 60,
            "psn_no": f"Pperson{seq:03}", "setl_id": f"S{seq}", "feedetl_sn": None, "med_list_codg": None,
            "trdn_flag": "0", "manu_lotnum": "L1", "expy_end": date(2027, 1, 31), "cnt": Decimal(1),
            "stands_cnt": Decimal(state in ("stands", "excess")), "excess_cnt": Decimal(state == "excess"),
            "codes_left_out": 0, "events_left_out": 0, **more,
        })  # fmt: skip
        before = (time, site)
    return rows


PLAIN = [(0, "purchase", "supplied", SITES[2]), (12, "sale", "stands", SITES[2]),
         (30, "purchase", "supplied", SITES[0]), (41, "sale", "excess", SITES[0])]  # fmt: skip


def everything(length: int, sites: int = 5, seed: int = 1) -> list[tuple]:
    """A long life of every kind at several sites."""
    chance = random.Random(seed)
    days = sorted(chance.randint(0, 180) for _ in range(length))
    return [(day, *KINDS[at % len(KINDS)], f"H330100{chance.randint(10, 9 + sites):05}") for at, day in enumerate(days)]


def ties(people: int = 4, at: str = SITES[0], seed: int = 1) -> list[tuple]:
    chance, rows = random.Random(seed), []
    for n in range(people * 4):
        person, first, late = f"P{n // 4:015}", SITES[1 + n % 2], START + timedelta(days=20 + n)
        rows += [(f"c{n}", "first", person, first, START + timedelta(days=n), None),
                 (f"c{n}", "resold", person, at, late, chance.randint(1, 900)),
                 (f"c{n}", "later", f"Q{n // 2 if n % 5 else n:015}", at, late, None)]  # fmt: skip
    return rows


def coverage() -> list[tuple]:
    """Rows of scan_coverage: the first site scans nine of ten lines, then all; the second one of three."""
    return [(SITES[0], "2025-03", "collect", 10, 9, 10_000, 9_000), (SITES[0], "2025-04", "settle", 20, 20, 900, 900),
            (SITES[1], "2025-03", "collect", 3, 1, 600, 200)]  # fmt: skip


def fake_trace_run(out: Path, findings: int = 40, events=PLAIN, codes: int = 2, hostile: bool = False) -> Path:
    """A fake run with a life of so many codes for every finding about trace codes, and one network."""
    fake_run(out, findings=findings, hostile=hostile)
    found = pl.read_parquet(out / "findings.parquet")
    traced = found.filter(pl.col("rule_id").str.starts_with("t01"))["finding_id"]
    rows = [row for f in traced for n in range(codes) for row in life(f, f"8100001{n:013}", events)]
    write(out, "code_history", pl.DataFrame(rows, outputs()["code_history"]))
    schema = {"code": pl.String, "kind": pl.String, "psn_no": pl.String, "fixmedins_code": pl.String,
              "time": pl.Datetime("us"), "suspect_fund": pl.Int64}  # fmt: skip
    write(out, "scan_coverage", pl.DataFrame(coverage(), outputs()["scan_coverage"], orient="row"))
    found, edges = networks(pl.DataFrame(ties(), schema, orient="row"))
    name = pl.col("fixmedins_code").replace_strict(NAMES, default=None)
    write(out, "networks", found)
    write(out, "network_edges", edges.with_columns(fixmedins_name=name))
    return out


def write(out: Path, name: str, frame: pl.DataFrame) -> None:
    conform(frame, name).write_parquet(out / f"{name}.parquet")
