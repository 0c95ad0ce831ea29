"""The inpatient stays of an extract grouped by one scheme or several, with what else is asked about them."""

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from engine.grouping.scheme import Scheme
from engine.run import buckets, stages
from engine.run.pipeline import Progress, quiet
from engine.run.region import Region
from engine.tables.dictionary import with_fields
from engine.tables.problems import InputProblem
from engine.tables.read import read

NEEDED = ("claims", "diagnoses")


def groupings(
    source: Path, schemes: list[Scheme], region: Region, profile: str = "auto", progress: Progress = quiet
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """The claims of the stays that were not taken back, and the columns of grouping.parquet by each scheme.

    All frames have one row a stay in order of setl_id. Raises InputProblem where claims or diagnoses are missing.
    """
    with tempfile.TemporaryDirectory() as work:
        extract = read(Path(source), Path(work) / "read", profile, region.knowledge["wordings"])
        if absent := [name for name in NEEDED if name not in extract.tables]:
            raise InputProblem(f"缺少数据表 missing table: {', '.join(absent)}", str(source))
        tables = {**extract.tables, "claims": stages.placed(extract.tables["claims"])}
        tables.pop("fee_lines", None)
        count = buckets.split(tables, Path(work) / "cut")
        made: list[list[pl.DataFrame]] = [[] for _ in schemes]
        claims = []
        for number in range(count):
            progress("group", number, count)
            bucket = stages.netted(buckets.bucket_tables(Path(work) / "cut", number))
            stays = with_fields(bucket["claims"].filter(~pl.col("cancelled")), "claims")
            bucket["claims"] = stays.drop("cancelled", strict=False)
            for frames, scheme in zip(made, schemes, strict=True):
                frames.append(stages.grouped(bucket, replace(region, scheme=scheme)).drop("why"))
            claims.append(bucket["claims"].join(made[0][-1], on="setl_id", how="semi"))
        progress("group", count, count)
    return pl.concat(claims, how="diagonal").sort("setl_id"), [pl.concat(frames).sort("setl_id") for frames in made]
