"""The console script: the engine's commands, and those that make data, `synth`, `demo` and `bench`.

They stand here because nothing in the engine may import the generator.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

import engine.cli.authors
import engine.cli.claim
import engine.cli.explain
import engine.cli.impact
import engine.cli.indicators
import engine.cli.knowledge
import engine.cli.policy
import engine.cli.question
import engine.cli.rules
import engine.cli.scheme
import engine.cli.schemebuild
import engine.cli.whynot  # noqa: F401  these register their commands
from engine.cli import show
from engine.cli.app import Json, SchemeName, app, call, plain, state
from engine.run import pipeline
from engine.run.private import note_run
from engine.run.region import DEFAULT_SCHEME, load_region
from engine.run.rulebook import rule_infos
from synthetic import bench, bench_trace
from synthetic.make import make
from synthetic.trace_region import write_region

DEMO_CLAIMS, DEMO_SEED = 12_000, 2026


@app.command("synth")
def synth_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="输出目录 · folder to write")],
    claims: Annotated[int, typer.Option(min=50, help="结算单数 · number of claims")] = 1000,
    seed: Annotated[int, typer.Option(help="随机种子 · seed")] = 1,
    profile: Annotated[str, typer.Option(help="canonical 或 flight-inspection-2024")] = "canonical",
    events: Annotated[
        int | None,
        typer.Option(min=1000, help="只生成一个地区的追溯码，这么多条 · a region's trace codes alone, so many"),
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="这么多条之后的一个月 · the month after so many events")] = 0,
):
    """生成带标注的模拟数据 · labelled synthetic claims; the truth lies apart in OUT/truth. Trace codes alone have none:
    they are for measuring speed."""
    if events:
        write_region(out, events, seed, from_day=365 if after else 0, first=after // 2, known=after // 2)
        return
    made = make(out, claims, seed, profile)
    plain.print(", ".join(f"{k} {v:,}" for k, v in made.items() if isinstance(v, int)))


@app.command("demo")
def demo_command(folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path("yibao-demo")):
    """生成模拟数据并完整运行一次 · make synthetic claims and run everything over them."""
    began = time.monotonic()
    make(folder / "claims", DEMO_CLAIMS, DEMO_SEED, "canonical")
    region = load_region()
    with show.progress() as progress:
        record = pipeline.run(folder / "claims", folder / "out", region, pipeline.Options(), progress)
    note_run(record["run_id"], folder / "claims")
    show.summary(folder / "out", rule_infos(region), state["words"], plain)
    plain.print(f"{time.monotonic() - began:.0f} s")


@app.command("bench")
def bench_command(
    claims: Annotated[int, typer.Option(min=500, help="结算单数 · number of claims")] = bench.CLAIMS,
    scheme: SchemeName = DEFAULT_SCHEME,
    codes: Annotated[
        int | None, typer.Option(min=1000, help="只测这么多追溯码 · trace codes alone, so many; 1e8 needs 5 GB")
    ] = None,
    as_json: Json = False,
):
    """测速：每秒多少行，是别的做法的几倍 · how fast, and how many times as fast as other ways; makes its own data."""
    with tempfile.TemporaryDirectory() as folder, show.progress() as progress:
        if codes is None:
            measured = bench.bench(Path(folder), claims, progress, scheme)
        else:
            measured = bench_trace.bench_codes(codes, progress)
    if as_json:
        print(json.dumps(measured, ensure_ascii=False))
    else:
        plain.print(bench.table(measured, state["words"].index))


def main() -> None:
    sys.exit(call(app))
