"""Making a whole bundle: a region, its claims, the cases planted in them, and apart from them the truth about those."""

from collections import Counter
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
from synthetic.traces import with_traces
from synthetic.world import World, build_world
from synthetic.write import CanonicalFiles

CHUNK = 50_000  # claims made at a time; all claims of a person are made together
POLICY = "demo-region"
TRUTH = Path("truth") / "cases.csv"
PROFILES = ("canonical", "flight-inspection-2024")


def make(out: Path, claims: int, seed: int, profile: str = "canonical") -> dict:
    """Write a synthetic bundle of about that many claims to `out`, the truth about it to `out`/truth/cases.csv.

    profile: canonical (files named after the tables) or flight-inspection-2024 (the eleven files of hospitals). The
    same arguments give the same bytes. The truth has a row for each claim or line of a case: case, scheme (violation,
    or the family of a look-alike), rule_number, slug (file stem of the rule, or t01 … of a trace check), kind, also
    (what else the same facts break), setl_id, feedetl_sn, event_id, psn_no, amount_fen at risk.

    Answers how many claims, fee_lines, violations and lookalikes there are, and `rows` of every file. An earlier
    bundle in `out` is replaced. Raises UsageProblem for another profile, fewer than one claim, or a folder that holds
    other files.
    """
    out = Path(out)
    _check(claims, profile)
    _clear(out)
    canonical = profile == "canonical"
    world = build_world(claims, seed, pharmacies=canonical)
    region = Region(load_policy(POLICY), load_knowledge([]))
    target = CanonicalFiles(out, world, claims) if canonical else FlightFiles(out, world)
    truths, sold, counts, planted = [], [], Counter(), 0
    for size in _chunks(claims):
        cases = max(0 if planted else 2, round(size * world.ratios["cases_per_10k"] / 10_000))
        tables = _tables(world, size, region, cases, planted, canonical)
        planted += cases
        sold.append(sold_of(world, tables["sales"]))
        truths.append(target.add(tables))
        counts.update({name: tables[name].height for name in ("claims", "fee_lines")})
    target.close(stock_tables(world, pl.concat(sold).group_by("site", "item").agg(pl.col("cnt").sum())))
    truth = pl.concat(truths).sort("case", "setl_id", "feedetl_sn")
    (out / TRUTH).parent.mkdir()
    truth.write_csv(out / TRUTH)
    kinds = Counter(f"{kind}s" for kind in truth.unique("case")["kind"])
    return {**counts, **dict(sorted(kinds.items())), "rows": dict(sorted(target.rows.items()))}


def _check(claims: int, profile: str) -> None:
    if profile not in PROFILES:
        raise UsageProblem(f"没有名为 {profile} 的模拟数据形式", allowed=", ".join(PROFILES))
    if claims < 1:
        raise UsageProblem(f"结算单数须为正整数, 而不是 {claims}")


def _clear(out: Path) -> None:
    """An empty folder, or none. The truth file marks an earlier bundle of ours, whose files may go."""
    if (out / TRUTH).is_file():
        for path in [*out.glob("*.csv"), *out.glob("*.parquet"), out / TRUTH]:
            path.unlink()
        (out / TRUTH).parent.rmdir()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageProblem("输出目录不是空的", where=str(out), hint="换一个目录, 或先清空它")


def _chunks(claims: int) -> list[int]:
    """Batches of about equal size, none larger than CHUNK."""
    count = -(-claims // CHUNK)
    return [claims // count + (number < claims % count) for number in range(count)]


def _tables(world: World, size: int, region: Region, cases: int, first: int, traced: bool) -> dict[str, pl.DataFrame]:
    """The canonical tables of one batch, with `cases` of every kind planted, numbered from `first`, and `truth`."""
    scene = Scene(world, make_batch(world, size), world.rng)
    batch, truth = plant(scene, cases, first)
    tables = to_tables(world, batch, truth, region)
    return with_traces(world, tables, cases, first) if traced else tables
