"""The tables of a run in the end: each in its order, with the columns of the contract, persons and doctors under
pseudonyms. What grows with the findings is written from the pieces the buckets left, and never held whole.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from engine.audit.told import amounts_table, values_table
from engine.audit.waiving import waiver_values
from engine.language.rule import LoadedRule
from engine.run.buckets import in_order, slices
from engine.run.masking import masked, masked_buyers, masked_values
from engine.tables.outputs import conform, outputs

ORDER = {  # of the tables that are held whole
    "checks": ["check_id"], "rejects": ["file", "line", "column", "code"],
    "provider_payment": ["fixmedins_code", "month", "method"],
    "findings": ["rule_id", "fixmedins_code", "scope_key", "service_date", "finding_id"],
    "not_evaluated": ["rule_id", "reason", "detail"],
    "recovery": ["finding_id", "setl_id", "fixmedins_code", "fund"],
    "scan_coverage": ["fixmedins_code", "month", "duty"],
    "ledgers": ["ledger", "period", "payer", "payee", "item", "psn_no", "ref", "note"],
    "networks": ["rank"], "network_edges": ["network_id", "psn_no", "fixmedins_code"],
}  # fmt: skip
# Of those that are not; rows with the same first column come out of one bucket.
PIECEWISE = {
    "grouping": ["setl_id"], "settlement": ["setl_id"], "code_history": ["finding_id", "code", "seq"],
    "evidence": ["finding_id", "role", "table", "row_key"], "amounts": ["finding_id", "role", "table", "row_key"],
    "values": ["finding_id", "seq"],
}  # fmt: skip
ACCUSED = ["finding_id", "table", "row_key", "role", "setl_id", "amount_fen", "inscope_fen", "fund_fen"]
ROWS_AT_ONCE, FINDINGS_AT_ONCE = 400_000, 25_000
ROWS_A_GROUP = 200_000  # of a Parquet file: said, because else they would be those of the pieces it is made of
_ROUNDED = {"findings": "excess_cnt", "evidence": "cnt"}


def write_tables(
    final: Path, work: Path, tables: dict[str, pl.DataFrame], uses: list[dict], rules: list[LoadedRule],
    key: bytes | None,
) -> None:  # fmt: skip
    """Write every output table into `final`. `tables` are those held whole, `uses` tells of waivers; the others lie
    under `work`. Without a `key` names stay."""
    spared = waiver_values(tables["findings"], uses)

    def values(findings: pl.DataFrame) -> pl.DataFrame:
        told = values_table(findings, rules)
        mine = spared.filter(pl.col("finding_id").is_in(findings["finding_id"].implode())) if spared.height else spared
        return pl.concat([told, mine.select(told.columns)])

    made_of: dict[str, tuple[str, Callable]] = {"amounts": ("evidence", amounts_table), "values": ("findings", values)}
    for name, order in PIECEWISE.items():
        source, make = made_of.get(name, (name, lambda rows: rows))
        folder, written = fresh(work / "pieces" / name), []
        parts = map(pl.read_parquet, pieces(work / "results", source))
        if source == "findings":  # a finding has many values, and is one row: put in order while it is one
            parts = _by_id(pieces(work / "results", source), folder)
        for number, rows in enumerate(map(make, parts)):
            written.append(folder / f"{number:05}.parquet")
            _shown(name, rows, key).sort(order, nulls_last=True).write_parquet(written[-1], compression="lz4")
        empty = pl.LazyFrame(schema=outputs()[name])
        whole = in_order(written, order[0], ROWS_AT_ONCE, folder) if written else empty
        whole.sink_parquet(final / f"{name}.parquet", row_group_size=ROWS_A_GROUP)
    for name, order in ORDER.items():
        _shown(name, tables[name], key).sort(order, nulls_last=True).write_parquet(final / f"{name}.parquet")


def _shown(name: str, rows: pl.DataFrame, key: bytes | None) -> pl.DataFrame:
    """Rows as a reader may see them."""
    if name in _ROUNDED:
        shown = pl.col(_ROUNDED[name]).round(4, mode="half_away_from_zero").cast(pl.Decimal(16, 4))
        rows = rows.with_columns(shown).select(n for n in outputs()[name] if n in rows.columns)
    if key is not None and name == "values":
        rows = masked_values(rows, key)
    if key is not None and name == "findings":
        rows = masked(masked_buyers(rows, key), {"psn_no": "P", "doctor": "D"}, key)
    elif key is not None and "psn_no" in outputs()[name] and "psn_no" in rows.columns:
        rows = masked(rows, {"psn_no": "P"}, key)
    return conform(rows, name)


def _by_id(found: list[Path], work: Path) -> Iterator[pl.DataFrame]:
    """What findings are told by, some of them at a time, in the order of their ids."""
    ordered = []
    for number, path in enumerate(found):
        rows = pl.read_parquet(path, columns=["finding_id", "rule_id", "values"]).sort("finding_id")
        ordered.append(work / f"by-id-{number:05}.parquet")
        rows.write_parquet(ordered[-1], compression="lz4")
    rows = in_order(ordered, "finding_id", ROWS_AT_ONCE, work) if ordered else pl.LazyFrame()
    return slices(rows, FINDINGS_AT_ONCE)


def pieces(results: Path, name: str) -> list[Path]:
    """What the buckets left of a table."""
    return sorted(results.glob(f"{name}.*.parquet"))


def fresh(folder: Path) -> Path:
    """The folder, made anew."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
