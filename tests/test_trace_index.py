"""`yibao trace` month by month with an index, and in little memory: the outputs of one run over everything."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from test_sieve import small_parts, typed, wild_tables  # noqa: F401

from engine.run import codecontext, finishing, pipeline
from engine.run.lock import only_run
from engine.tables.problems import UsageProblem

OUTPUTS = ("findings", "evidence", "values", "amounts", "not_evaluated", "recovery", "code_history", "networks",
           "network_edges")  # fmt: skip
OPTIONS = {"report": False, "reveal": True}


@pytest.fixture
def bundles(tmp_path):
    """Half a year in two bundles, and as one."""
    tables = {name: frame.collect() for name, frame in typed(wild_tables(np.random.default_rng(11), 500)).items()}
    large = ("trace_codes", "fee_lines")
    tables["trace_codes"] = tables["trace_codes"].filter(pl.col("drug_trac_codg").fill_null("") != "")
    tables["fee_lines"] = tables["fee_lines"].with_columns(pric=pl.lit("20"))
    tables["institutions"] = tables["institutions"].with_columns(fixmedins_type=pl.lit("pharmacy"))
    tables.pop("claims")
    late = {name: pl.int_range(tables[name].height) >= tables[name].height * 3 // 5 for name in large}
    for place, keep in (("all", None), ("first", False), ("second", True)):
        (tmp_path / place).mkdir()
        for name, frame in tables.items():
            rows = frame if keep is None or name not in large else frame.filter(late[name] == keep)
            rows.write_parquet(tmp_path / place / f"{name}.parquet")
    return tmp_path


def outputs(folder) -> dict[str, pl.DataFrame]:
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in OUTPUTS}


def traced(bundles, name: str, region, out: str | None = None, **options) -> dict[str, pl.DataFrame]:
    folder = bundles / f"out-{out or name}"
    pipeline.run(bundles / name, folder, region, pipeline.Options(**OPTIONS, **options), parts=("trace",))
    return outputs(folder)


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return all(one[name].equals(other[name]) for name in OUTPUTS)


def test_two_months_one_after_the_other_give_the_outputs_of_both_at_once(bundles, region, small_parts):  # noqa: F811
    index = bundles / "index"
    whole = traced(bundles, "all", region)
    assert whole["findings"].height > 50 and whole["networks"].height and whole["recovery"].height
    first = traced(bundles, "first", region, index=index)
    assert not same(first, whole)
    assert same(traced(bundles, "second", region, index=index), whole)
    months = json.loads((bundles / "out-second" / "manifest.json").read_text("utf-8"))["index"]
    assert len(months) == 2
    # Given again, into the same folder or another: told once.
    assert same(traced(bundles, "second", region, index=index), whole)
    assert same(traced(bundles, "second", region, "again", index=index), whole)
    with pytest.raises(UsageProblem, match="已是索引的第 1 份"):
        traced(bundles, "first", region, "late", index=index)


def test_parts_that_fit_little_memory_give_the_same_bytes(bundles, region, monkeypatch, request):
    monkeypatch.setattr(finishing, "ROWS_A_GROUP", 40)
    whole = traced(bundles, "all", region)
    request.getfixturevalue("small_parts")
    monkeypatch.setattr(finishing, "ROWS_AT_ONCE", 70)
    monkeypatch.setattr(finishing, "FINDINGS_AT_ONCE", 30)
    monkeypatch.setattr(codecontext, "FINDINGS_AT_ONCE", 20)
    assert same(traced(bundles, "all", region, "parts"), whole)
    for name in OUTPUTS:
        paths = [bundles / out / f"{name}.parquet" for out in ("out-all", "out-parts")]
        assert paths[0].read_bytes() == paths[1].read_bytes(), name


def test_two_runs_with_one_index_do_not_meet(bundles, region):
    with only_run(bundles / "index"), pytest.raises(UsageProblem, match="another run"):
        traced(bundles, "first", region, index=bundles / "index")


def test_what_an_earlier_month_told_is_set_aside_and_counts_once(bundles, region):
    """The last part of the first delivery comes again with the second, as the last days of a month do."""
    shutil.copytree(bundles / "second", bundles / "overlap")
    again = {}
    for name in ("trace_codes", "fee_lines"):
        first, second = (pl.read_parquet(bundles / place / f"{name}.parquet") for place in ("first", "second"))
        again[name] = first.tail(first.height // 3)
        pl.concat([second, again[name]]).write_parquet(bundles / "overlap" / f"{name}.parquet")
    whole = traced(bundles, "all", region)
    traced(bundles, "first", region, index=bundles / "index")
    assert same(traced(bundles, "overlap", region, index=bundles / "index"), whole)
    rejects = pl.read_parquet(bundles / "out-overlap" / "rejects.parquet").filter(code="E_TOLD_EARLIER")
    told = {file: rows.height for (file,), rows in rejects.group_by("file")}
    assert told == {f"{name}.parquet": rows.height for name, rows in again.items()}
    record = json.loads((bundles / "out-overlap" / "manifest.json").read_text("utf-8"))
    for file in record["inputs"]:
        assert file["rows_in"] == file["accepted"] + file["rejected"] + file["blank"]
        assert file["rejected"] == told.get(file["path"], 0)
    amounts = pl.read_parquet(bundles / "second" / "fee_lines.parquet")["det_item_fee_sumamt"].cast(pl.Decimal(16, 2))
    totals = {file["path"]: file["control_totals"] for file in record["inputs"]}
    assert totals["fee_lines.parquet"]["det_item_fee_sumamt"] == int(amounts.sum() * 100)
