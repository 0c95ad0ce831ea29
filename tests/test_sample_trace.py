"""Half a year of a region's trace codes against their answer key, as they stand and in another dress."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
from conftest import shared

from engine.run import pipeline

NAMES = ("trace_codes", "fee_lines", "drug_identifiers", "institutions", "chains", "pack_relations", "code_free")
RENAMED = {
    "fixmedins_code": "S{:05d}", "psn_no": "p{:07d}", "event_id": "ev-{:08d}", "setl_id": "{:09d}",
    "feedetl_sn": "L{:09d}",
}  # fmt: skip


def judged(bundle: Path, key: Path, region, out: Path) -> subprocess.CompletedProcess:
    """`trace` alone over a bundle, every check scored against the key."""
    pipeline.run(bundle, out, region, pipeline.Options(report=False), parts=("trace",))
    command = [sys.executable, shared("tools", "score_trace.py"), key, out, "--all"]
    return subprocess.run([str(part) for part in command], capture_output=True, encoding="utf-8")


def test_the_sample_is_judged_as_its_key_says(region, tmp_path):
    bundle = shared("data", "sample-trace")
    score = judged(bundle, bundle / "key.json", region, tmp_path / "out")
    assert score.returncode == 0, score.stdout + score.stderr


def test_the_sample_in_another_dress_scores_as_well(region, tmp_path):
    bundle = shared("data", "sample-trace")
    key = disguised(bundle, json.loads((bundle / "key.json").read_text("utf-8")), tmp_path / "in")
    (tmp_path / "key.json").write_text(json.dumps(key, ensure_ascii=False), "utf-8")
    score = judged(tmp_path / "in", tmp_path / "key.json", region, tmp_path / "out")
    assert score.returncode == 0, score.stdout + score.stderr


def disguised(bundle: Path, key: dict, folder: Path) -> dict:
    """The bundle as text files in GB18030 under other identifiers, rows and columns turned round; the key to it."""
    folder.mkdir()
    frames = {name: frame_of(bundle, name) for name in NAMES}
    known = {}
    for column, form in RENAMED.items():
        parts = [f[column].drop_nulls() for f in frames.values() if column in f.columns]
        olds = pl.concat(parts).unique().sort().to_list()
        names = {old: form.format(n) for n, old in enumerate(olds, 1) if old}
        known |= names
        mapping = pl.DataFrame({column: list(names), "_new": list(names.values())})
        frames = {name: with_names(frame, column, mapping) for name, frame in frames.items()}
    for name, frame in frames.items():
        text = frame.reverse().select(frame.columns[::-1]).write_csv(separator="\t", null_value="")
        (folder / f"{name}.txt").write_bytes(text.encode("gb18030"))
    return replaced(key, known)


def with_names(frame: pl.DataFrame, column: str, mapping: pl.DataFrame) -> pl.DataFrame:
    if column not in frame.columns:
        return frame
    joined = frame.join(mapping, on=column, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("_new", column).alias(column)).drop("_new")


def frame_of(bundle: Path, name: str) -> pl.DataFrame:
    if (bundle / f"{name}.parquet").exists():
        frame = pl.read_parquet(bundle / f"{name}.parquet")
        times = [c for c, t in frame.schema.items() if t.is_temporal()]
        return frame.with_columns(pl.col(times).dt.to_string("%Y-%m-%d %H:%M:%S")).cast(pl.String)
    return pl.read_csv(bundle / f"{name}.csv", infer_schema=False)


def replaced(value, known: dict[str, str]):
    if isinstance(value, dict):
        return {name: replaced(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, known) for item in value]
    return known.get(value, value) if isinstance(value, str) else value
