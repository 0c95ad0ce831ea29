"""What a rule needs of a bundle: the tables it cannot do without, and at an institution which lines and columns."""

from dataclasses import dataclass

import polars as pl

from engine.audit.plain import LINE_COLUMNS, RECORDS
from engine.audit.reads import collections_of, named_items, short, words_read
from engine.language.joined import ROW_NAMES
from engine.language.rule import LoadedRule
from engine.language.vocabulary import objects, tables_behind
from engine.reference.knowledge import Knowledge
from engine.tables.dictionary import table, with_fields

BY_SCOPE = {
    "line": ("fee_lines",), "line_pair": ("fee_lines",), "visit_day": ("fee_lines",), "person_day": ("fee_lines",),
    "department": ("fee_lines",), "device_day": ("service_logs",),
    "store_item": ("stock_balances", "stock_moves", "store_items"),
    "store_pair": ("stock_balances", "stock_moves", "store_items"), "pos_sale": ("pos_sales",),
    "same_results": ("reports",), "ltc_visit": ("ltc_visits",),
}  # fmt: skip
# Where these words have no table they are not false but unknown.
TOLD_BY = {
    "fee_lines": {"lines", "charged", "device", "treated"},
    **{records.table: {kind} for kind, records in RECORDS.items()},
    "diagnoses": {"diagnoses", "diags", "main_diag", "icd3"},
    "procedures": {"procedures", "operations", "operated"},
}
# Which table tells a fact that is missing where the table is.
FACT_TABLES = {
    "devices": "devices", "device_capacity": "devices", "reagent_bought": "stock_moves", "ward_kinds": "wards",
    "entitled": "disease_entitlements", "criterion_reports": "reports", "aided": "aid_spells",
    "terminal_km": "terminals", "travel_shortfall_minutes": "institutions", "known_days": "table_coverage",
    "dialysis_records": "service_logs",
}  # fmt: skip
EVERYWHERE = {"claims", "fee_lines", "diagnoses", "procedures"}  # what a bundle holds of whatever it holds
# Facts of a line or visit that look at lines of other items than the rule names.
AROUND = {"shared_days", "cheaper", "idle_run", "longest_idle_run", "charged", "device", "treated"}


def missing(loaded: LoadedRule, tables: dict[str, pl.DataFrame]) -> str:
    """The table a rule cannot do without and the bundle does not have; empty where nothing is missing."""
    return next((t for t in _needed(loaded) if t not in tables), "")


def _needed(loaded: LoadedRule) -> list[str]:
    paths = loaded.asked() | set(loaded.elements.values())
    words = {path.rsplit(".", 1)[-1] for path in paths}
    need = ["claims", *BY_SCOPE.get(loaded.rule.scope, ())]
    need += [name for name, said in TOLD_BY.items() if words & said]
    return need + sorted(_registers(paths))


def tables_needed(loaded: LoadedRule) -> list[str]:
    """Every canonical table the rule reads, those first without which it is not evaluated."""
    return list(dict.fromkeys([*_needed(loaded), *leaned_on(loaded)]))


def leaned_on(loaded: LoadedRule) -> list[str]:
    """The tables beyond the claims themselves from which the rule concludes, so that they must be complete."""
    told = [FACT_TABLES[word] for word in sorted(words_read(loaded) & set(FACT_TABLES))]
    return [name for name in dict.fromkeys([*_needed(loaded), *told]) if name not in EVERYWHERE]


def _registers(paths: set[str]) -> set[str]:
    """The registers in which an object must be found for some of the paths."""
    found = set()
    for *_, name, word in (path.split(".") for path in paths if "." in path):
        behind = tables_behind().get(name)
        if behind and behind.register and objects()[name][word].field == word:
            found.add(behind.table)
    return found


@dataclass(frozen=True)
class LinesRead:
    """Which fee lines some rules read, and which of their columns."""

    wanted: pl.Expr
    columns: list[str]


def lines_read(rules: list[LoadedRule], knowledge: Knowledge, tables: dict[str, pl.DataFrame]) -> LinesRead:
    """What the rules over institutions read of the fee lines: the items they name, and whatever a store keeps."""
    stored = with_fields(tables.get("store_items", pl.DataFrame()), "store_items")
    local = stored["medins_list_codg"].drop_nulls().unique().sort()
    items, everything = set(stored["med_list_codg"].drop_nulls()), False
    for loaded in rules:
        named = _items_read(loaded, knowledge)
        everything |= named is None
        items |= set(named or ())
    wanted = pl.col("med_list_codg").is_in(sorted(items))
    if local.len():
        wanted = wanted | pl.col("medins_list_codg").is_in(local.implode())
    return LinesRead(pl.lit(True) if everything else wanted, columns_read(rules))


def columns_read(rules: list[LoadedRule]) -> list[str]:
    """The columns of the fee lines that some rules read: those of every plain fact, and the fields they name."""
    return sorted({*LINE_COLUMNS, *(set().union(*map(words_read, rules)) & set(table("fee_lines").fields))})


def _items_read(loaded: LoadedRule, knowledge: Knowledge) -> list[str] | None:
    """The items of the lines that a rule over institutions reads beside those of its store; None: any item."""
    listed = any(path.endswith(".lines") for path in collections_of(loaded))
    if loaded.rule.scope in ("store_item", "store_pair") or not listed:
        return []
    if words_read(loaded) & AROUND:
        return None
    join, lists = loaded.rule.join, [path for path in collections_of(loaded) if path.endswith(".lines")]
    if join and len(lists) > 1:
        return None
    keys = {short(path.split(".", 1)[1]): name for name, path in join.keys.items()} if join else {}
    if "item" not in keys:
        return named_items(loaded)
    rows = knowledge[join.table]
    column = next(c for c in rows.columns if keys["item"] in (c, ROW_NAMES.get(c)))
    return rows[column].drop_nulls().to_list()
