"""The few words of a test inside a rule made into canonical tables.

A test names one visit of one person with its lines, diagnoses and procedures, other visits under `others`, what the
institution stores under `stores` (units of a half year), and under `tables` rows of knowledge tables and of canonical
tables such as service_logs or practitioners. A row is told in short words or in the fields of its table, money in yuan.
What it does not say has plain defaults: an insured stay of four days in a third-level hospital, every line on its first
day.
"""

import datetime
import difflib
from decimal import Decimal, InvalidOperation

import polars as pl

from engine.language.vocabulary import tables_behind
from engine.reference.knowledge import Knowledge, shapes
from engine.tables.dictionary import Table, table, tables
from engine.tables.netting import net
from engine.tables.persons import resolve

# Words of a test beside those of the vocabulary and the fields of the table, and the field each gives.
BESIDES = {
    "visit": {"birthday": "brdy", "wards": "ward_path", "refunds": "init_setl_id"},
    "line": {"amount": "det_item_fee_sumamt", "inscope": "inscp_scp_amt"},
    "diagnosis": {},
    "procedure": {"begin": "anst_begntime", "end": "anst_endtime"},
}
STORE_WORDS = {"item": "med_list_codg", "local_item": "medins_list_codg", "name": "item_name", "opening": "opening_cnt",
               "closing": "closing_cnt", "purchased": "cnt", "price": "pric"}  # fmt: skip
VISIT_DEFAULTS = {
    "psn_no": "P1", "fixmedins_code": "H00000000001", "hosp_lv": "3", "visit_kind": "inpatient", "gend": "1",
    "brdy": "1970-06-15", "begntime": "2025-03-03 09:00:00", "endtime": "2025-03-07 10:00:00", "insured_flag": "1",
    "local_flag": "1", "adm_dept_name": "内科", "dscg_dept_name": "内科", "dscg_way": "1",
}  # fmt: skip
EVENT_DEFAULTS = {
    "event_type": "sale", "source": "settlement", "fixmedins_code": "P00000000001", "psn_no": "P1", "cnt": "1",
    "event_time": "2025-09-01 10:00:00", "trdn_flag": "0", "med_list_codg": "XA00AAA000A000000000001",
    "drug_trac_codg": "81234560000000000001",
}  # fmt: skip


MADE = ("claims", "fee_lines", "diagnoses", "procedures")  # tables a test fills through visits, not row by row


class UnknownWord(Exception):
    """A test uses a word that no table knows, or a value that cannot be read."""


def canonical(body: dict) -> dict[str, pl.DataFrame]:
    """The canonical tables of one test, refunds and returns netted. Raises UnknownWord."""
    _only(body, {"visit", "lines", "diagnoses", "procedures", "others", "stores", "tables", "params", "sets", "why"})
    visits = [{**body.get("visit", {}), **{k: body.get(k, []) for k in ("lines", "diagnoses", "procedures")}}]
    visits += body.get("others", [])
    rows = {name: [] for name in MADE}
    for number, visit in enumerate(visits, 1):
        claim = {"setl_id": f"V{number}", **VISIT_DEFAULTS, **_claim(visit)}
        own = [_line(claim, row, n) for n, row in enumerate(visit.get("lines", []), 1)]
        total = sum(int(line["det_item_fee_sumamt"]) for line in own)
        for field, tenths in (("medfee_sumamt", 10), ("inscp_scp_amt", 10), ("fund_pay_sumamt", 8)):
            claim.setdefault(field, total * tenths // 10)
        claim.setdefault("refd_setl_flag", "1" if claim.get("init_setl_id") else "0")
        claim.setdefault("setl_time", claim.get("endtime") or claim["begntime"])
        rows["claims"].append(claim)
        rows["fee_lines"] += own
        for kind, name in (("diagnosis", "diagnoses"), ("procedure", "procedures")):
            for seq, row in enumerate(visit.get(name, []), 1):
                first = dict.fromkeys(("maindiag_flag", "main_oprn_flag"), "1" if seq == 1 else "0")
                told = _row(row if isinstance(row, dict) else {"code": row}, kind)
                rows[name].append({"setl_id": claim["setl_id"], "seq": seq, **first, **told})
    made = {name: frame_of(name, given) for name, given in rows.items()}
    made |= _stores(body.get("stores", [])) | _given(body.get("tables", {}), rows["claims"][0])
    identities = [visit.get("identity") for visit in visits]
    made["claims"] = _with_persons(made["claims"], identities, made.get("persons"))
    made["claims"], made["fee_lines"] = net(made["claims"], made["fee_lines"])[:2]
    return made


def with_rows(knowledge: Knowledge, given: dict[str, list[dict]]) -> Knowledge:
    """The knowledge with some tables' rows given by the test. Raises UnknownWord."""
    made = dict(knowledge.tables)
    for name in sorted(set(given) & set(shapes())):
        shape = made[name].schema
        for row in given[name]:
            _only(row, set(shape), f"{name}: ")
        made[name] = _typed(shapes()[name], shape, given[name])
    return Knowledge(made, knowledge.files)


def traced(body: dict) -> dict[str, pl.DataFrame]:
    """The trace tables of a test: `events` are rows of trace_codes, `tables` rows of the other trace tables."""
    _only(body, {"events", "tables", "params", "sets"})
    events = [
        {**EVENT_DEFAULTS, "event_id": f"E{n}", "setl_id": f"S{n}", **row}
        for n, row in enumerate(body.get("events", []), 1)
    ]
    given = {n: rows for n, rows in body.get("tables", {}).items() if n not in shapes()} | {"trace_codes": events}
    return {name: frame_of(name, [_fields(row, name) for row in rows]) for name, rows in given.items()}


def _only(row: dict, known, where: str = "", shown=None) -> None:
    """Raises UnknownWord for a word that is not known, naming the nearest and those that are."""
    for word in sorted(set(row) - set(known)):
        near = difflib.get_close_matches(word, sorted(known), 1)
        meant = f", did you mean {near[0]!r}?" if near else ""
        raise UnknownWord(f"{where}unknown word {word!r}{meant} known: {', '.join(sorted(shown or known))}")


def _row(row: dict, kind: str, besides: tuple[str, ...] = ()) -> dict:
    """A row of the canonical table behind a kind of object, told in short words or in fields."""
    behind = tables_behind()[kind]
    words = {**behind.means, **BESIDES[kind]}
    fields = table(behind.table).fields
    _only(row, {*words, *fields, *besides}, shown=[*words, f"the fields of {behind.table}"])
    return _fields({words.get(k, k): v for k, v in row.items() if k not in besides}, behind.table)


def _fields(row: dict, name: str) -> dict:
    """A row told in the fields of a table: flags may be true and false, money is yuan."""
    fields = table(name).fields
    _only(row, fields, f"{name}: ")
    flags = {"true": "1", "false": "0"}
    told = {k: flags.get(v, v) if k.endswith("_flag") else v for k, v in row.items()}
    return {k: _fen(v, name, k) if fields[k].type == "money" else v for k, v in told.items()}


def _claim(visit: dict) -> dict:
    return _row(visit, "visit", ("lines", "diagnoses", "procedures", "identity"))


def _line(claim: dict, row: dict, number: int) -> dict:
    line = _row(row, "line", ("day",))
    day = _moment(claim["begntime"]) + datetime.timedelta(days=int(row.get("day", 0)))
    line = {
        "feedetl_sn": f"{claim['setl_id']}:{number}", "setl_id": claim["setl_id"], "cnt": "1", "pric": "10",
        "fee_ocur_time": f"{day:%Y-%m-%d} 12:00:00", "med_chrgitm_type": "05", "medins_list_name": "项目", **line,
    }  # fmt: skip
    line.setdefault("medins_list_codg", line.get("med_list_codg", "L"))
    cost = _fen(line["cnt"], "fee_lines", "cnt") * _fen(line["pric"], "fee_lines", "pric") // 100
    line.setdefault("det_item_fee_sumamt", cost)
    line.setdefault("inscp_scp_amt", line["det_item_fee_sumamt"])
    line.setdefault("dscg_tkdrug_flag", "0")
    return line


def _given(given: dict[str, list[dict]], claim: dict) -> dict[str, pl.DataFrame]:
    """Rows of canonical tables; what ties a row to the test's own visit need not be said."""
    _only(given, {*shapes(), *tables()} - set(MADE), "tables: ")
    first = {name: claim[name] for name in ("fixmedins_code", "setl_id", "psn_no")}
    made = {}
    for name in sorted(set(given) - set(shapes())):
        numbered = table(name).key[0]
        rows = [{numbered: f"{name}:{n}", **first, **_fields(row, name)} for n, row in enumerate(given[name], 1)]
        made[name] = frame_of(name, rows)
    return made


def _with_persons(claims: pl.DataFrame, identities: list[str | None], persons: pl.DataFrame | None) -> pl.DataFrame:
    """The claims with `_person`: numbers that share an identity (certificate, birthday, sex) are one person."""
    told = claims.select("psn_no", "brdy", "gend", certno=pl.Series(identities, dtype=pl.String))
    people = resolve(pl.concat([told, *([] if persons is None else [persons])], how="diagonal"))
    return claims.join(people.rename({"person": "_person"}), on="psn_no", how="left", maintain_order="left")


def _stores(given: list[dict]) -> dict[str, pl.DataFrame]:
    """What an institution keeps: items, balances of one store, and one purchase of each item that was bought."""
    rows = []
    if not given:
        return {}
    for number, row in enumerate(given, 1):
        _only(row, STORE_WORDS, "stores: ")
        told = {STORE_WORDS[k]: v for k, v in row.items()}
        row = {"opening_cnt": "0", "closing_cnt": "0", "pric": "1", **told}
        rows.append({"medins_list_codg": row["med_list_codg"], **row,
                     "fixmedins_code": VISIT_DEFAULTS["fixmedins_code"],
                     "item_store_id": f"W{number}", "store_id": "K1", "begndate": "2025-01-01", "enddate": "2025-06-30",
                     "move_id": f"M{number}", "move_type": "purchase", "move_time": "2025-01-10 10:00:00"})  # fmt: skip
    bought = [row for row in rows if row.get("cnt")]
    return {"store_items": frame_of("store_items", rows), "stock_balances": frame_of("stock_balances", rows),
            "stock_moves": frame_of("stock_moves", bought)}  # fmt: skip


def _moment(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UnknownWord(f"{text!r} is no moment, write it as 2025-03-03 09:00:00") from None


def _fen(text, name: str, field: str) -> int:
    try:
        return int(Decimal(str(text)) * 100)
    except InvalidOperation:
        raise UnknownWord(f"{name}.{field}: {text!r} is no number") from None


def frame_of(name: str, rows: list[dict]) -> pl.DataFrame:
    """Rows of texts as a typed canonical frame. Raises UnknownWord for a value that its field cannot hold."""
    return _typed(table(name), table(name).schema, rows)


def _typed(shape: Table, schema: dict[str, pl.DataType], rows: list[dict]) -> pl.DataFrame:
    told = {c: [_told(row.get(c), kind) for row in rows] for c, kind in schema.items()
            if any(c in row for row in rows)}  # fmt: skip
    if not told:
        return pl.DataFrame(schema=schema)
    made = pl.DataFrame(told, schema=dict.fromkeys(told, pl.String)).select(_read(pl.col(c), schema[c]) for c in told)
    for c, texts in told.items():
        for text, value in zip(texts, made[c].to_list(), strict=True):
            if value is None and text is not None:
                raise UnknownWord(f"{shape.name}.{c}: {text!r} cannot be read as {shape.fields[c].type}")
    return pl.concat([pl.DataFrame(schema=schema), made], how="diagonal")


def _told(value, kind: pl.DataType) -> str | None:
    """What a test says in a field: an empty date or number is one that was not filled in."""
    return None if value is None or (value == "" and kind != pl.String) else str(value)


def _read(text: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """A text as a value; a moment may be a day alone."""
    if kind == pl.Date:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if kind == pl.Datetime:
        whole = pl.when(text.str.len_chars() == 10).then(text + " 00:00:00").otherwise(text)
        return whole.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    return text.cast(kind, strict=False)
