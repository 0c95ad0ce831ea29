"""One stage alone, needing only its own tables: group, settle, audit, trace."""

import shutil
import tempfile
from pathlib import Path

import polars as pl

from engine.run import buckets, pipeline, stages
from engine.run.region import Region
from engine.tables.outputs import conform
from engine.tables.problems import InputProblem
from engine.tables.read import read

NEEDED = {"group": ("claims", "diagnoses"), "settle": ("claims", "fee_lines")}


def run_stage(name: str, source: Path, out: Path, region: Region, profile: str, progress) -> str:
    """Run one stage; returns the sentence to print."""
    if name in ("audit", "trace"):
        options = pipeline.Options(profile=profile, report=False)
        record = pipeline.run(source, out, region, options, progress, parts=(name,))
        return f"{record['rows']['findings']:,} 疑点 findings: {out}"
    with tempfile.TemporaryDirectory() as work:
        extract = read(Path(source), Path(work) / "read", profile, region.knowledge["wordings"])
        if absent := [t for t in NEEDED[name] if t not in extract.tables]:
            raise InputProblem(f"缺少数据表 missing table: {', '.join(absent)}", str(source))
        count = buckets.split(extract.tables, Path(work) / "cut")
        stage = stages.grouped if name == "group" else stages.settled
        frames = []
        for number in range(count):
            progress(name, number, count)
            frames.append(stage(buckets.bucket_tables(Path(work) / "cut", number), region))
        progress(name, count, count)
        table = "grouping" if name == "group" else "settlement"
        frame = conform(pl.concat(frames), table).sort("setl_id")
        partial = Path(work) / "out.parquet"
        frame.write_parquet(partial)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(partial, out)
    return f"{frame.height:,}: {out}"
