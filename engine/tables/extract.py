"""What reading a bundle leaves behind, and what the official checks need of it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from engine.tables import reasons
from engine.tables.mapping import condition
from engine.tables.profiles import FileMap
from engine.tables.shaped import Setting, Shaped

SUMMED = {"main": ("medfee_sumamt", "setl_time"), "detail": ("det_item_fee_sumamt", "_bill_date")}


@dataclass
class RawStats:
    """The rows as they came, before any was set aside.

    `side` answers per claim number, `missing` counts blank required fields by (file of the profile, column).
    """

    folder: Path
    part_label: dict[str, str] = field(default_factory=dict)
    missing: Counter = field(default_factory=Counter)
    sides: set[tuple[str, str]] = field(default_factory=set)

    def side(self, part: str, role: str) -> pl.LazyFrame | None:
        """setl_id, rows, fen, first and last settlement time, negative: rows below zero that are no refund (main only).

        None when the bundle has no such file.
        """
        if (part, role) not in self.sides:
            return None
        found = sorted(self.folder.glob(f"{part}-{role}-*.parquet"))
        if not found:
            return pl.LazyFrame(schema=_SIDE)
        sums = [pl.col(c).sum() for c in ("rows", "fen", "negative")]
        return pl.scan_parquet(found).group_by("setl_id").agg(*sums, pl.col("first").min(), pl.col("last").max())


_SIDE = {
    "setl_id": pl.String, "rows": pl.Int64, "fen": pl.Int64, "negative": pl.Int64,
    "first": pl.Datetime("us"), "last": pl.Datetime("us"),
}  # fmt: skip


@dataclass
class Extract:
    """A read bundle.

    tables     canonical table -> LazyFrame over Parquet parts (dictionary types; `_file`, `_line`: where a row stood;
               fee_lines also `_day_only`: the source gave a date without a time)
    inputs     one dict per file: path, sha256, table, role, part, decisions, rows_in, accepted, rejected, blank,
               warnings (code -> count), control_totals (money field -> fen of the accepted rows)
    rejects    rows set aside, warnings: rows accepted with a remark; file, line, column, code, reason, raw (masked)
    profile    name of the profile the files follow
    raw_stats  what the official checks need of the rows as they came
    coverage   which table holds which site's data completely for which days (columns of table_coverage)
    """

    tables: dict[str, pl.LazyFrame]
    inputs: list[dict]
    rejects: pl.DataFrame
    warnings: pl.DataFrame
    profile: str
    raw_stats: RawStats
    coverage: pl.DataFrame


def count_blanks(raw: pl.DataFrame, setting: Setting, stats: RawStats, out: Shaped) -> None:
    """Required fields without a value (check V10), under the conditions of the profile."""
    file = setting.file
    conditions = {c: condition(when, raw.columns) for c, when in setting.profile.conditions.items()}
    conditions["insured"] = pl.col("_insured").eq_missing("1") if "_insured" in raw.columns else pl.lit(False)
    for when, required in {"": file.required, **file.required_when}.items():
        rows = raw.filter(conditions[when]) if when else raw
        for column in (c for c in required if c in raw.columns and rows[c].null_count()):
            blank = rows.filter(pl.col(column).is_null())
            stats.missing[file.name, column] += blank.height
            out.warn(blank, setting.name, column, "W_MISSING", pl.lit(None, pl.String))


def count_claims(frame: pl.DataFrame, file: FileMap, number: int, part: int, stats: RawStats) -> None:
    """Rows and fen per claim number of a main or detail file (checks V03 to V09)."""
    stats.sides.add((file.part, file.role))
    amount, day = SUMMED[file.role]
    when = pl.col(day) if day in frame.columns else pl.lit(None, pl.Datetime("us"))
    refund = pl.col("refd_setl_flag").eq_missing("1") if "refd_setl_flag" in frame.columns else pl.lit(False)
    counted = frame.group_by("setl_id").agg(
        rows=pl.len().cast(pl.Int64),
        fen=pl.col(amount).sum(),
        negative=((pl.col(amount) < 0) & ~refund).sum().cast(pl.Int64),
        first=when.min(),
        last=when.max(),
    )
    counted.select(list(_SIDE)).write_parquet(stats.folder / f"{file.part}-{file.role}-{number:03}-{part:05}.parquet")


def unmapped_words(found: list[pl.DataFrame], name: str) -> list[pl.DataFrame]:
    """One warning per local word without a mapping, with how often it stands and where first."""
    if not found:
        return []
    words = pl.concat(found).group_by("column", "field", "word").agg(pl.col("rows").sum(), pl.col("_line").min())
    listed = words.sort("column", "field", "word").head(1000).to_dicts()
    text = "{field} 无“{word}”，{rows} 行"
    return [reasons.note(name, w["column"], "W_UNMAPPED", text.format(**w), w["word"], w["_line"]) for w in listed]
