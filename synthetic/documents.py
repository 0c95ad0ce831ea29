"""Claims of typed tables told as documents, as a caller of `engine.check` would send them."""

from decimal import Decimal

import polars as pl

from engine.tables import dictionary

OF_CLAIM = ("fee_lines", "diagnoses", "procedures")
LINES = (15, 60)  # of a typical stay


def document(tables: dict[str, pl.DataFrame], setl_id: str) -> dict:
    """One claim with the rest of its person's claims (`_person`) as its history."""
    claims = tables["claims"]
    mine = claims.filter(pl.col("setl_id") == setl_id)
    others = claims.filter(pl.col("_person") == mine["_person"][0], pl.col("setl_id") != setl_id)["setl_id"]
    told = _parts(tables, setl_id) | {"history": [_parts(tables, other) for other in others]}
    if "service_logs" in tables:
        told["service_logs"] = _rows(tables, "service_logs", "setl_id", setl_id)
    persons = _rows(tables, "persons", "psn_no", mine["psn_no"][0]) if "persons" in tables else []
    return told | ({"person": persons[0]} if persons else {})


def typical_stays(tables: dict[str, pl.DataFrame], most: int) -> list[str]:
    """Ids of insured inpatient claims with an ordinary number of lines, at most so many, spread over all of them."""
    lines = tables["fee_lines"].group_by("setl_id").len().filter(pl.col("len").is_between(*LINES))
    stays = tables["claims"].filter(pl.col("visit_kind") == "inpatient", pl.col("insured_flag") != "0")
    found = stays.join(lines, on="setl_id", how="semi")["setl_id"].sort()
    return found.gather_every(max(1, found.len() // most)).head(most).to_list()


def _parts(tables: dict[str, pl.DataFrame], setl_id: str) -> dict:
    own = {name: _rows(tables, name, "setl_id", setl_id) for name in OF_CLAIM if name in tables}
    return {"claim": _rows(tables, "claims", "setl_id", setl_id)[0], **own}


def _rows(tables: dict[str, pl.DataFrame], table: str, key: str, value: str) -> list[dict]:
    fields = dictionary.table(table).fields
    blank = dict.fromkeys(f.name for f in fields.values() if f.required)
    return [
        blank | {n: _told(v, fields[n].type) for n, v in row.items() if n in fields and v is not None}
        for row in tables[table].filter(pl.col(key) == value).iter_rows(named=True)
    ]


def _told(value, kind: str) -> str:
    return format(Decimal(value) / 100, ".2f") if kind == "money" else str(value)
