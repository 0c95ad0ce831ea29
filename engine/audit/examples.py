"""The words of a test inside a rule, made into canonical tables.

A test names one visit of one person with its lines, diagnoses and procedures, other visits under `others`, rows of
knowledge tables under `tables`, what the institution stores under `stores` (units of a half year), and values for
`params` and `sets`. What it does not say has plain defaults: an insured stay of four days in a third-level hospital,
every line on its first day.
"""

import datetime
from decimal import Decimal

import polars as pl

from engine.reference.knowledge import Knowledge, shapes
from engine.tables.dictionary import table
from engine.tables.netting import net

VISIT_WORDS = {
    "id": "setl_id", "person": "psn_no", "hospital": "fixmedins_code", "level": "hosp_lv", "kind": "visit_kind",
    "admission": "begntime", "discharge": "endtime", "dept": "adm_dept_name", "discharge_dept": "dscg_dept_name",
    "wards": "ward_path", "doctor": "atddr_code", "sex": "gend", "birthday": "brdy", "age": "age",
    "discharge_way": "dscg_way", "total": "medfee_sumamt", "fund": "fund_pay_sumamt", "scope": "inscp_scp_amt",
    "insured": "insured_flag", "local": "local_flag", "identity": "certno", "refunds": "init_setl_id",
}  # fmt: skip
LINE_WORDS = {
    "id": "feedetl_sn", "item": "med_list_codg", "local_item": "medins_list_codg", "name": "medins_list_name",
    "category": "med_chrgitm_type", "cnt": "cnt", "price": "pric", "amount": "det_item_fee_sumamt",
    "inscope": "inscp_scp_amt", "time": "fee_ocur_time", "dept": "bilg_dept_name", "exec_dept": "acord_dept_name",
    "doctor": "bilg_dr_codg", "dosage_form": "dosform_name", "take_home": "dscg_tkdrug_flag",
}  # fmt: skip
DIAGNOSIS_WORDS = {"code": "diag_code", "main": "maindiag_flag"}
PROCEDURE_WORDS = {"code": "oprn_oprt_code", "main": "main_oprn_flag", "date": "oprn_oprt_date",
                   "anaesthesia": "anst_way", "begin": "anst_begntime", "end": "anst_endtime"}  # fmt: skip
STORE_WORDS = {"item": "med_list_codg", "local_item": "medins_list_codg", "name": "item_name", "opening": "opening_cnt",
               "closing": "closing_cnt", "purchased": "cnt", "price": "pric"}  # fmt: skip
VISIT_DEFAULTS = {
    "psn_no": "P1", "fixmedins_code": "H00000000001", "hosp_lv": "3", "visit_kind": "inpatient", "gend": "1",
    "brdy": "1970-06-15", "begntime": "2025-03-03 09:00:00", "endtime": "2025-03-07 10:00:00", "insured_flag": "1",
    "local_flag": "1", "adm_dept_name": "内科", "dscg_dept_name": "内科", "dscg_way": "1", "refd_setl_flag": "0",
}  # fmt: skip
EVENT_DEFAULTS = {
    "event_type": "sale", "source": "settlement", "fixmedins_code": "P00000000001", "psn_no": "P1", "cnt": "1",
    "event_time": "2025-09-01 10:00:00", "trdn_flag": "0", "med_list_codg": "XA00AAA000A000000000001",
    "drug_trac_codg": "81234560000000000001",
}  # fmt: skip


def traced(body: dict) -> dict[str, pl.DataFrame]:
    """The trace tables of a test: `events` are rows of trace_codes, `tables` rows of the other trace tables."""
    if strange := set(body) - {"events", "tables", "params", "sets"}:
        raise UnknownWord(f"unknown word {sorted(strange)[0]!r}, known: events, tables, params, sets")
    tables = {name: _frame(name, [_known(name, row) for row in rows]) for name, rows in body.get("tables", {}).items()}
    events = [
        {**EVENT_DEFAULTS, "event_id": f"E{n}", "setl_id": f"S{n}", **row} for n, row in enumerate(body["events"], 1)
    ]
    return tables | {"trace_codes": _frame("trace_codes", [_known("trace_codes", row) for row in events])}


def _known(name: str, row: dict) -> dict:
    if strange := set(row) - set(table(name).fields):
        raise UnknownWord(f"table {name} has no field {sorted(strange)[0]!r}")
    return row


class UnknownWord(Exception):
    """A test uses a word that no table knows."""


def canonical(body: dict) -> dict[str, pl.DataFrame]:
    """The canonical tables of one test, refunds and returns netted."""
    known = {"visit", "lines", "diagnoses", "procedures", "others", "stores", "tables", "params", "sets", "why"}
    if strange := set(body) - known:
        raise UnknownWord(f"unknown word {sorted(strange)[0]!r}, known: {', '.join(sorted(known))}")
    visits = [{**body.get("visit", {}), **{k: body.get(k, []) for k in ("lines", "diagnoses", "procedures")}}]
    visits += body.get("others", [])
    claims, lines, diagnoses, procedures = [], [], [], []
    for number, visit in enumerate(visits, 1):
        claim = _row(visit, VISIT_WORDS, {"lines", "diagnoses", "procedures"}) | {"_n": number}
        claim = {"setl_id": f"V{number}", **VISIT_DEFAULTS, **claim}
        claim |= {k: {"true": "1", "false": "0"}.get(claim[k], claim[k]) for k in ("insured_flag", "local_flag")}
        claim["refd_setl_flag"] = "1" if claim.get("init_setl_id") else "0"
        own = [_line(claim, row, n) for n, row in enumerate(visit.get("lines", []), 1)]
        total = sum(int(line["det_item_fee_sumamt"]) for line in own)
        for field in ("medfee_sumamt", "inscp_scp_amt", "fund_pay_sumamt"):
            given = claim.get(field)
            claim[field] = _fen(given) if given is not None else total * (8 if field == "fund_pay_sumamt" else 10) // 10
        claim["setl_time"] = claim.get("endtime") or claim["begntime"]
        claims.append(claim)
        lines += own
        for rows, words, out in ((visit.get("diagnoses", []), DIAGNOSIS_WORDS, diagnoses),
                                 (visit.get("procedures", []), PROCEDURE_WORDS, procedures)):  # fmt: skip
            for seq, row in enumerate(rows, 1):
                made = _row(row if isinstance(row, dict) else {"code": row}, words, set())
                out.append({"setl_id": claim["setl_id"], "seq": seq, "maindiag_flag": "1" if seq == 1 else "0",
                            "main_oprn_flag": "1" if seq == 1 else "0", **made})  # fmt: skip
    rows = {"claims": claims, "fee_lines": lines, "diagnoses": diagnoses, "procedures": procedures}
    made = {name: _frame(name, given) for name, given in rows.items()}
    made["claims"], made["fee_lines"] = net(made["claims"], made["fee_lines"])[:2]
    return made | _stores(body["stores"]) if "stores" in body else made


def _stores(given: list[dict]) -> dict[str, pl.DataFrame]:
    """What an institution keeps: items, balances of one store, and one purchase of each item that was bought."""
    rows = []
    for number, row in enumerate(given, 1):
        row = {"opening_cnt": "0", "closing_cnt": "0", "pric": "1", **_row(row, STORE_WORDS, set())}
        rows.append({"medins_list_codg": row["med_list_codg"], **row,
                     "fixmedins_code": VISIT_DEFAULTS["fixmedins_code"],
                     "item_store_id": f"W{number}", "store_id": "K1", "begndate": "2025-01-01", "enddate": "2025-06-30",
                     "move_id": f"M{number}", "move_type": "purchase", "move_time": "2025-01-10 10:00:00"})  # fmt: skip
    bought = [row for row in rows if row.get("cnt")]
    return {"store_items": _frame("store_items", rows), "stock_balances": _frame("stock_balances", rows),
            "stock_moves": _frame("stock_moves", bought)}  # fmt: skip


def _row(row: dict, words: dict[str, str], besides: set[str]) -> dict:
    if strange := set(row) - set(words) - besides:
        raise UnknownWord(f"unknown word {sorted(strange)[0]!r}, known: {', '.join(words)}")
    return {words[k]: v for k, v in row.items() if k in words}


def _line(claim: dict, row: dict, number: int) -> dict:
    line = _row(row, LINE_WORDS, {"day"})
    day = datetime.datetime.fromisoformat(claim["begntime"]) + datetime.timedelta(days=int(row.get("day", 0)))
    line = {
        "feedetl_sn": f"{claim['setl_id']}:{number}", "setl_id": claim["setl_id"], "cnt": "1", "pric": "10",
        "fee_ocur_time": f"{day:%Y-%m-%d} 12:00:00", "med_chrgitm_type": "05", "medins_list_name": "项目", **line,
    }  # fmt: skip
    line.setdefault("medins_list_codg", line.get("med_list_codg", "L"))
    amount = _fen(line["cnt"]) * _fen(line["pric"]) // 100
    line["det_item_fee_sumamt"] = _fen(line["det_item_fee_sumamt"]) if "det_item_fee_sumamt" in line else amount
    line["inscp_scp_amt"] = _fen(line["inscp_scp_amt"]) if "inscp_scp_amt" in line else line["det_item_fee_sumamt"]
    line["dscg_tkdrug_flag"] = {"true": "1"}.get(line.get("dscg_tkdrug_flag", ""), "0")
    return line


def _fen(text: str) -> int:
    return int(Decimal(str(text)) * 100)


def _frame(name: str, rows: list[dict]) -> pl.DataFrame:
    """Rows of texts as a typed canonical frame."""
    schema = table(name).schema
    texts = {c: [None if row.get(c) is None else str(row.get(c)) for row in rows] for c in schema}
    return pl.DataFrame(texts, schema=dict.fromkeys(schema, pl.String)).select(
        pl.col(c).str.to_datetime("%Y-%m-%d %H:%M:%S") if t == pl.Datetime else
        pl.col(c).str.to_date("%Y-%m-%d") if t == pl.Date else pl.col(c).cast(t)
        for c, t in schema.items()
    )  # fmt: skip


def with_rows(knowledge: Knowledge, tables: dict[str, list[dict]]) -> Knowledge:
    """The knowledge with some tables' rows given by the test."""
    made = dict(knowledge.tables)
    for name, rows in tables.items():
        if name not in shapes():
            raise UnknownWord(f"no table {name!r}")
        shape = made[name].schema
        if strange := {k for row in rows for k in row} - set(shape):
            raise UnknownWord(f"table {name} has no column {sorted(strange)[0]!r}")
        texts = {c: [row.get(c) for row in rows] for c in shape}
        rows_read = pl.DataFrame(texts, schema=dict.fromkeys(shape, pl.String))
        made[name] = rows_read.select(
            pl.col(c).str.to_date("%Y-%m-%d") if t == pl.Date else pl.col(c).cast(t) for c, t in shape.items()
        )
    return Knowledge(made, knowledge.files)
