"""One stage alone, needing only its own tables: group, settle, audit, trace."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from engine.grouping.care import check_rows
from engine.run import buckets, pipeline, stages
from engine.run.region import Region
from engine.tables.dictionary import with_fields
from engine.tables.extract import Extract
from engine.tables.outputs import conform
from engine.tables.problems import InputProblem
from engine.tables.read import read

NEEDED = {"group": ("claims", "diagnoses"), "settle": ("claims",)}
OUTPUTS = {"group": "grouping", "settle": "settlement"}
ROWS_A_PART = 500_000
Made = Iterator[tuple[pl.DataFrame, pl.DataFrame | None]]


def run_stage(name: str, source: Path, out: Path, region: Region, profile: str, progress) -> str:
    """Run one stage; returns what to print."""
    if name == "audit":
        options = pipeline.Options(profile=profile, report=False)
        record = pipeline.run(source, out, region, options, progress, parts=(name,))
        return f"{record['rows']['findings']:,} 疑点 findings: {out}"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        extract = read(Path(source), work / "read", profile, region.knowledge["wordings"])
        if absent := [t for t in NEEDED[name] if t not in extract.tables]:
            raise InputProblem(f"缺少数据表 missing table: {', '.join(absent)}", str(source))
        extract.tables["claims"] = stages.placed(extract.tables["claims"])
        made, told = _written(name, {"group": _group, "settle": _settle}[name](extract, work, region, progress), work)
        rows = made.select(pl.len()).collect().item()
        made.sink_parquet(work / "out.parquet", row_group_size=ROWS_A_PART)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work / "out.parquet", out)
    lineless = name == "settle" and "fee_lines" not in extract.tables
    noted = ["没有 fee_lines，按结算单申报的分类结算 settled as the claims classify themselves"] if lineless else []
    return "\n".join([f"{rows:,}: {out}", *noted, *_said(told, region)])


def _written(name: str, parts: Made, work: Path) -> tuple[pl.LazyFrame, list[pl.DataFrame]]:
    """The output of all parts in the order of setl_id, each written as it is made, and what else was told of each."""
    pieces, told = [], []
    for number, (frame, more) in enumerate(parts):
        pieces.append(work / f"part-{number:05}.parquet")
        conform(frame, OUTPUTS[name]).sort("setl_id").write_parquet(pieces[-1], row_group_size=ROWS_A_PART // 10)
        told += [] if more is None else [more]
    return buckets.in_order(pieces, "setl_id", ROWS_A_PART, work), told


def _group(extract: Extract, work: Path, region: Region, progress) -> Made:
    """Stays in the order of setl_id, part by part: no stay needs another, so that memory does not grow with them."""
    tables = {t: extract.tables[t] for t in ("claims", "diagnoses", "procedures") if t in extract.tables}
    tables["claims"] = with_fields(tables["claims"], "claims", "visit_kind", "refd_setl_flag")
    stays = tables["claims"].filter(stages.IS_STAY).select("setl_id").collect()["setl_id"].sort()
    cuts = stays.gather_every(ROWS_A_PART)[1:]
    which = pl.lit(cuts).search_sorted(pl.col("setl_id"), side="right")
    for name, rows in tables.items():
        of_stays = stages.IS_STAY if name == "claims" else pl.lit(True)
        buckets.sink(rows, work / "cut" / name, lambda some, own=of_stays: some.filter(own).with_columns(_bucket=which))
    for number in range(len(cuts) + 1):
        progress("group", number, len(cuts) + 1)
        own = buckets.bucket_tables(work / "cut", number)
        if "persons" in extract.tables:
            mine = own["claims"].lazy().select("psn_no").unique()
            own["persons"] = extract.tables["persons"].join(mine, on="psn_no", how="semi").collect()
        yield stages.grouped_and_checked(own, region)
    progress("group", len(cuts) + 1, len(cuts) + 1)


def _settle(extract: Extract, work: Path, region: Region, progress) -> Made:
    count = buckets.split(extract.tables, work / "cut")
    for number in range(count):
        progress("settle", number, count)
        yield stages.settled(buckets.bucket_tables(work / "cut", number), region), None
    progress("settle", count, count)


def _said(told: list[pl.DataFrame], region: Region) -> list[str]:
    """The checks of the coding that failed."""
    rows = check_rows(pl.concat(told), region.scheme.book) if told else pl.DataFrame()
    failed = rows.filter(pl.col("verdict") == "fail").iter_rows(named=True) if told else ()
    return [f"{row['check_id']} {row['title']}: {row['value']} {row['detail'] or ''}" for row in failed]
