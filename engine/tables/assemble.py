"""From the parts of many files to one frame per canonical table: twins out, rows of several sources together."""

from pathlib import Path

import polars as pl

from engine.tables import dictionary, reasons
from engine.tables.profiles import Profile

KEYS_AT_ONCE = 8_000_000


def scan(table: str, work: Path) -> pl.LazyFrame | None:
    """All parts of a table as one lazy frame; a column that a source lacks is null."""
    files, columns = sorted((work / "parts" / table).glob("*/*.parquet")), {}
    for first in {file.parent: file for file in reversed(files)}.values():
        columns = pl.read_parquet_schema(first) | columns
    # As one scan, because a slice of several joined ones would read them all.
    return pl.scan_parquet(files, schema=columns, missing_columns="insert") if files else None


def drop_duplicates(runs: list, work: Path) -> None:
    """Of rows with the same key: copies are set aside; rows that differ all are, unless repeats are meant."""
    spaces = {}
    for run in runs:
        spaces.setdefault(run.file.keyspace, []).append(run)
    for own in spaces.values():
        files = [(r, sorted((work / "keys").glob(f"{r.number:03}-*.parquet"))) for r in own]
        frames = [pl.scan_parquet(paths).with_columns(_number=pl.lit(r.number)) for r, paths in files if paths]
        if not frames:
            continue
        keys = pl.concat(frames)
        twins = _twins(keys.select("_keyhash"))
        if twins.len():
            suspects = keys.filter(pl.col("_keyhash").is_in(twins.implode())).collect().sort("_number", "_line")
            _set_aside(suspects, own, work)
        for _, paths in files:
            for path in paths:
                path.unlink()


def _twins(hashes: pl.LazyFrame) -> pl.Series:
    """The hashes that occur more than once, sought in so many passes that those of one fit into memory."""
    passes = -(-hashes.select(pl.len()).collect().item() // KEYS_AT_ONCE)
    found = [pl.Series([], dtype=pl.UInt64)]
    for number in range(passes):
        own = hashes.filter(pl.col("_keyhash") % passes == number).collect(engine="streaming").to_series()
        found.append(own.filter(own.is_duplicated()).unique())
    return pl.concat(found)


def _set_aside(suspects: pl.DataFrame, runs: list, work: Path) -> None:
    copies = suspects.filter(~pl.struct("_key", "_hash").is_first_distinct()).with_columns(code=pl.lit("E_DUP"))
    rest = suspects.filter(pl.struct("_key", "_hash").is_first_distinct())
    twins = rest.filter(pl.col("_key").is_duplicated()).with_columns(code=pl.lit("E_DUP_CONFLICT"))
    for run in runs:
        found = copies if run.file.repeats else pl.concat([copies, twins])
        mine = found.filter(pl.col("_number") == run.number).sort("_line")
        if mine.is_empty():
            continue
        shown = pl.col("_key").str.replace_all("\x1f", "|", literal=True)
        shown = shown if run.file.keyspace == "claims" else reasons.masked(shown)
        column = " ".join(run.file.key)
        for code in ("E_DUP", "E_DUP_CONFLICT"):
            run.rejects.append(
                reasons.issues(mine.filter(pl.col("code") == code), run.source.name, column, code, shown)
            )
        run.accepted -= mine.height
        _remove(run.number, mine.select("_line"), work)


def _remove(number: int, lines: pl.DataFrame, work: Path) -> None:
    for part in sorted((work / "parts").glob(f"*/{number:03}/*.parquet")):
        frame = pl.read_parquet(part)
        kept = frame.join(lines, on="_line", how="anti", maintain_order="left")
        if kept.height < frame.height:
            kept.write_parquet(part, compression="lz4")


def tables(profile: Profile, work: Path) -> dict[str, pl.LazyFrame]:
    """Every canonical table that some file brought, columns in dictionary order."""
    result = {}
    for name in dictionary.tables():
        frame = scan(name, work)
        if frame is None:
            continue
        if rule := profile.combine.get(name):
            combined = _combine(frame.collect(), name, rule)
            target = work / "parts" / f"{name}.parquet"
            combined.write_parquet(target, compression="lz4")
            frame = pl.scan_parquet(target)
        have = frame.collect_schema().names()
        kept = [c for c in (*dictionary.table(name).fields, "_day_only", "_file", "_line") if c in have]
        result[name] = frame.select(kept)
    return result


def _combine(frame: pl.DataFrame, table: str, rule: dict[str, str]) -> pl.DataFrame:
    key = dictionary.table(table).key
    if "renumber" in rule:
        return _renumbered(frame, rule["renumber"], key)
    frame = frame.filter(pl.all_horizontal(pl.col(k).is_not_null() for k in key))
    others = [c for c in frame.columns if c not in key]
    if "latest_by" in rule:
        ordered = frame.sort(*key, *rule["latest_by"].split(), "_file", "_line", nulls_last=False)
        return ordered.group_by(key, maintain_order=True).agg(pl.col(others).drop_nulls().last())
    if "sum" in rule:
        summed = rule["sum"].split()
        rest = [c for c in others if c not in summed]
        ordered = frame.sort(*key, "_file", "_line").group_by(key, maintain_order=True)
        return ordered.agg(pl.col(summed).sum(), pl.col(rest).drop_nulls().first()).select(frame.columns)
    return _filled(frame, key, others)


def _renumbered(frame: pl.DataFrame, column: str, key: list[str]) -> pl.DataFrame:
    """Consecutive numbers within the rest of the key: what is marked as main first, then by file, line and number."""
    rest = [k for k in key if k != column]
    flags = [c for c in ("main_oprn_flag", "maindiag_flag") if c in frame.columns]
    ordered = frame.sort(*rest, *(pl.col(f).ne_missing("1") for f in flags), "_file", "_line", column)
    number = pl.int_range(1, pl.len() + 1).over(rest).cast(frame.schema[column])
    ordered = ordered.with_columns(number.alias(column))
    return ordered.with_columns(
        pl.when(pl.col(column) == 1).then(pl.col(f)).otherwise(pl.lit("0")).alias(f) for f in flags
    )


def _filled(frame: pl.DataFrame, key: list[str], others: list[str]) -> pl.DataFrame:
    """The rows that say most of a key stay, what they lack is filled from the other rows of the key."""
    known = pl.sum_horizontal(pl.col(c).is_not_null() for c in others if not c.startswith("_"))
    ordered = frame.with_columns(_known=known).sort(*key, pl.col("_known") * -1, "_file", "_line")
    return ordered.group_by(key, maintain_order=True).agg(pl.col(others).drop_nulls().first())


def control_totals(run, work: Path) -> dict[str, int]:
    """Sums in fen of every money column of the accepted rows of a file's own table."""
    table = run.file.tables[0][0]
    folder = work / "parts" / table / f"{run.number:03}"
    if not any(folder.glob("*.parquet")):
        return {}
    frame = pl.scan_parquet(folder / "*.parquet")
    have = frame.collect_schema().names()
    money = [f.name for f in dictionary.table(table).fields.values() if f.type == "money" and f.name in have]
    if not money:
        return {}
    sums = frame.select(pl.col(m).cast(pl.Int128).sum() for m in money).collect()
    return {m: int(sums[m][0]) for m in money}


# table -> the dates it is complete for, and the table whose dates say it better where the bundle has it: lines come
# with their claim, moves with the balances they lead from and to
DATED = {
    "claims": ("setl_time", "setl_time", None),
    "fee_lines": ("fee_ocur_time", "fee_ocur_time", "claims"),
    "stock_balances": ("begndate", "enddate", None),
    "stock_moves": ("move_time", "move_time", "stock_balances"),
    "trace_codes": ("event_time", "event_time", None),
}


def coverage(found: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    """table_coverage of the bundle: as brought, else the whole months between the first and last day of each site."""
    fields = list(dictionary.table("table_coverage").fields)
    schema = dictionary.table("table_coverage").schema
    if "table_coverage" in found:
        return dictionary.with_fields(found["table_coverage"].collect(), "table_coverage").select(fields)
    frames = [pl.DataFrame(schema=schema)]
    for table, (first, last, better) in DATED.items():
        if table not in found:
            continue
        source = better if better in found else table
        first, last, _ = DATED[source]
        if not {first, last, "fixmedins_code"} <= set(found[source].collect_schema().names()):
            continue
        span = found[source].group_by("fixmedins_code").agg(
            begndate=pl.col(first).min().cast(pl.Date).dt.month_start(),
            enddate=pl.col(last).max().cast(pl.Date).dt.month_end(),
        )  # fmt: skip
        row = span.filter(pl.col("begndate").is_not_null()).with_columns(table=pl.lit(table), complete_flag=pl.lit("1"))
        frames.append(row.select(fields).collect().cast(schema))
    return pl.concat(frames).sort("table", "fixmedins_code", "begndate", nulls_last=True)
