"""Making a whole bundle: `make` draws a region, its claims and the cases planted in them, and writes them with the truth."""

from pathlib import Path

import polars as pl

from engine.reference.knowledge import load_knowledge
from engine.settlement.policy import load_policy
from engine.tables.problems import UsageProblem
from synthetic.canonical import Region, to_tables
from synthetic.claims import make_batch
from synthetic.flight import FlightFiles
from synthetic.plant import plant
from synthetic.scene import Scene
from synthetic.stock import sold_of, stock_tables
from synthetic.traces import trace_tables
from synthetic.world import World, build_world
from synthetic.write import CanonicalFiles

CHUNK = 50_000  # claims made at a time; all claims of a person are made together
POLICY = "demo-region"
PROFILES = ("canonical", "flight-inspection-2024")


def make(out: Path, claims: int, seed: int, profile: str = "canonical") -> dict:
    """Write a synthetic bundle of about that many claims to `out`, the truth about it to `out`/truth/cases.csv.

    profile: canonical (files named after the tables) or flight-inspection-2024 (the eleven official files of hospitals).
    The same arguments give the same bytes. Answers a summary: rows of every table, claims, lines, cases by kind.
    Raises UsageProblem for another profile, fewer than one claim, or a folder that already holds files.
    """
    out = Path(out)
    _check(out, claims, profile)
    world = build_world(claims, seed, pharmacies=profile == "canonical")
    region = Region(load_policy(POLICY), load_knowledge([]))
    target = CanonicalFiles(out, world, claims) if profile == "canonical" else FlightFiles(out, world)
    truths, sold = [], []
    for number, size in enumerate(_chunks(claims)):
        tables = _tables(world, size, region, number)
        sold.append(sold_of(world, tables["sales"]))
        truths.append(target.add(tables))
    target.close(stock_tables(world, pl.concat(sold).group_by("site", "item").agg(pl.col("cnt").sum())))
    truth = pl.concat(truths).sort("case", "setl_id", "feedetl_sn")
    (out / "truth").mkdir()
    truth.write_csv(out / "truth" / "cases.csv")
    cases = truth.unique("case")["kind"].value_counts().sort("kind")
    return {
        "profile": profile,
        "seed": seed,
        "rows": dict(sorted(target.rows.items())),
        "cases": dict(cases.iter_rows()),
    }


def _check(out: Path, claims: int, profile: str) -> None:
    if profile not in PROFILES:
        raise UsageProblem(f"没有名为 {profile} 的模拟数据形式", allowed=", ".join(PROFILES))
    if claims < 1:
        raise UsageProblem(f"结算单数须为正整数, 而不是 {claims}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageProblem("输出目录不是空的", where=str(out), hint="换一个目录, 或先清空它")


def _chunks(claims: int) -> list[int]:
    """Batches of about equal size, none larger than CHUNK."""
    count = -(-claims // CHUNK)
    return [claims // count + (number < claims % count) for number in range(count)]


def _tables(world: World, size: int, region: Region, number: int) -> dict[str, pl.DataFrame]:
    """The canonical tables of one batch, with its cases planted, and the truth about them."""
    cases = max(2 if number == 0 else 0, round(size * world.ratios["cases_per_10k"] / 10_000))
    scene = Scene(world, make_batch(world, size), world.rng)
    batch, truth = plant(scene, cases, number * CHUNK)
    tables = to_tables(world, batch, truth, region)
    events, relations, told = trace_tables(world, tables["sales"], cases, number * CHUNK)
    columns = tables["truth"].columns
    return tables | {
        "trace_codes": events,
        "pack_relations": relations,
        "truth": pl.concat([tables["truth"], told.select(columns)]),
    }
