"""The console script: the engine's commands, and the two that make data, `synth` and `demo`.

They stand here because nothing in the engine may import the generator.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

import engine.cli.rules  # noqa: F401  registers `yibao rules`
from engine.cli import show
from engine.cli.app import app, call, plain, state
from engine.run import pipeline
from engine.run.region import load_region
from engine.run.rulebook import rule_infos
from synthetic.make import make

DEMO_CLAIMS, DEMO_SEED = 4_000, 2026


@app.command("synth")
def synth_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="输出目录 · folder to write")],
    claims: Annotated[int, typer.Option(min=50, help="结算单数 · number of claims")] = 1000,
    seed: Annotated[int, typer.Option(help="随机种子 · seed")] = 1,
    profile: Annotated[str, typer.Option(help="canonical 或 flight-inspection-2024")] = "canonical",
):
    """生成带标注的模拟数据 · labelled synthetic claims; the truth lies apart in OUT/truth."""
    made = make(out, claims, seed, profile)
    plain.print(", ".join(f"{k} {v:,}" for k, v in made.items() if isinstance(v, int)))


@app.command("demo")
def demo_command(folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path("yibao-demo")):
    """生成模拟数据并完整运行一次 · make synthetic claims and run everything over them."""
    began = time.monotonic()
    make(folder / "claims", DEMO_CLAIMS, DEMO_SEED, "canonical")
    region = load_region()
    with show.progress() as progress:
        pipeline.run(folder / "claims", folder / "out", region, pipeline.Options(), progress)
    show.summary(folder / "out", rule_infos(region), state["words"], plain)
    plain.print(f"{time.monotonic() - began:.0f} s")


def main() -> None:
    sys.exit(call(app))
