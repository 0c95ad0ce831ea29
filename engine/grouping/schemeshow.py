"""What a scheme is and what stands in it under one code: a group with its conditions, or a code with its lists."""

import difflib
from dataclasses import dataclass

import polars as pl

from engine.grouping.codes import Lookup, cleaned
from engine.grouping.conditions import condition_in_words, parse_condition
from engine.grouping.scheme_files import CODES, Tables
from engine.tables.problems import UsageProblem

FIRST = 5  # codes of a list that are shown
LISTS = {  # what a list of codes belongs to: its owner, and what else tells it apart
    "mdc_codes": ("mdc", "part"),
    "adrg_codes": ("adrg", "list_kind", "part"),
    "cc": ("level", "exclusion_id"),
    "exclusions": ("exclusion_id",),
    "proc_valid": (),
}
GROUPS = {"mdc": "order", "adrg": "order", "drg": "order_in_adrg"}


@dataclass(frozen=True)
class Shown:
    """The files of a scheme as they were read."""

    tables: Tables
    options: dict[str, str]


def overview(scheme: Shown) -> dict:
    """Name, version and the other options, and how many groups and codes there are."""
    counts = {name: len(scheme.tables[name]) for name in GROUPS}
    codes = {name: scheme.tables[name][column].n_unique() for name, column in CODES}
    return {**scheme.options, **counts, **codes, "weights": len(scheme.tables.get("weights", ()))}


def look_up(scheme: Shown, code: str) -> dict:
    """An MDC, ADRG, DRG, or else the lists in which an ICD code stands. Raises UsageProblem for an unknown code."""
    for kind in GROUPS:
        table = scheme.tables[kind].filter(pl.col(kind) == code.upper())
        if len(table):
            return _group(scheme, kind, table.row(0, named=True))
    for spelled in dict.fromkeys((code.strip(), cleaned(pl.Series([code]), normalise=True)[0])):
        if found := _listed(scheme, spelled):
            return {"code": spelled, "lists": found}
    raise UsageProblem(f"方案里没有这个编码 no such code in the scheme: {code}", hint=_near(scheme, code))


def _near(scheme: Shown, code: str) -> str:
    names = [name for kind in GROUPS for name in scheme.tables[kind][kind]]
    entries = pl.concat([scheme.tables[name][column].alias("code") for name, column in CODES]).unique().sort()
    like = entries.filter(entries.str.starts_with(code[:2].upper())).to_list()
    near = difflib.get_close_matches(code.upper(), [*names, *like], 3)
    return "、".join(near or [name for name in names if name.startswith(code[:1].upper())][:3])


def _group(scheme: Shown, kind: str, row: dict) -> dict:
    """One MDC, ADRG or DRG: its names, place, conditions in words, lists, and the groups below it."""
    code, tables = row[kind], scheme.tables
    shown = {"kind": kind, "code": code, "name": row["name"], "place": row[GROUPS[kind]], "condition": row["condition"],
             "in_words": _words(row["condition"], code if kind != "drg" else row["adrg"])}  # fmt: skip
    if kind == "drg":
        adrg = tables["adrg"].filter(pl.col("adrg") == row["adrg"]).row(0, named=True)
        return {**shown, "weight": _weights(tables).get(code), "adrg": adrg["adrg"], "mdc": adrg["mdc"]}
    lists = [listed for name in ("mdc_codes", "adrg_codes") for listed in _lists(tables[name], name, kind, code)]
    below = {"mdc": "adrg", "adrg": "drg"}[kind]
    rows = tables[below].filter(pl.col(kind) == code).sort(pl.col(GROUPS[below]).cast(pl.Int64))
    groups = [
        {"code": r[below], "name": r["name"], "in_words": _words(r["condition"], r[below]),
         "weight": _weights(tables).get(r[below])}
        for r in rows.iter_rows(named=True)
    ]  # fmt: skip
    own = {"mdc": row["mdc"], "group_kind": row["kind"]} if kind == "adrg" else {"options": _options(scheme, code)}
    return {**shown, **own, "lists": lists, "groups": groups}


def _options(scheme: Shown, mdc: str) -> list[str]:
    """What else opens or narrows an MDC, beside its own condition."""
    said = [name for name in ("any_diagnosis", "newborns") if mdc in scheme.options[name].split()]
    regions = scheme.tables["mdc_codes"].filter(pl.col("mdc") == mdc, pl.col("part") != "")
    condition = scheme.tables["mdc"].filter(pl.col("mdc") == mdc)["condition"][0]
    return said + (["body_regions>=2"] if len(regions) and "body_regions" not in condition else [])


def _words(text: str, owner: str) -> str:
    return condition_in_words(parse_condition(text, owner))


def _weights(tables: Tables) -> dict[str, str]:
    return dict(tables["weights"].select("drg", "weight").iter_rows()) if "weights" in tables else {}


def _lists(table: pl.DataFrame, name: str, owner: str, code: str) -> list[dict]:
    """The lists of one MDC or ADRG: kind, part, how many entries, the first of them."""
    if owner not in table.columns:
        return []
    kinds = [column for column in LISTS[name] if column != owner]
    entries = table.filter(pl.col(owner) == code).sort(*kinds, "code").group_by(kinds, maintain_order=True)
    sized = entries.agg(entries=pl.len(), first=pl.col("code").head(FIRST))
    return [{"list_kind": "pdx", **row} for row in sized.to_dicts()]


def _listed(scheme: Shown, code: str) -> list[dict]:
    """Every list in which a code stands: table, owner and what else tells the list apart, the entry and its line."""
    found = []
    for name, column in CODES:
        table = scheme.tables[name]
        rows = table[Lookup(table[column]).pairs(pl.Series([code]))["entry"].sort()]
        for row in rows.iter_rows(named=True):
            owner, *detail = [row[key] for key in LISTS[name]] or [""]
            found.append(
                {"table": name, "owner": owner, "detail": " ".join(filter(None, detail)),
                 "name": _name(scheme.tables, owner), "entry": row[column], "line": row["line"]}
            )  # fmt: skip
    return found


def _name(tables: Tables, code: str) -> str:
    names = [dict(tables[kind].select(kind, "name").iter_rows()) for kind in ("mdc", "adrg")]
    return next((known[code] for known in names if code in known), "")
