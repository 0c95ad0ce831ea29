"""`yibao scheme build`: a DIP catalogue derived from a region's own claims, and how stable it is."""

import json
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.table import Table

from engine.cli import show
from engine.cli.app import Json, Profile, existing, plain
from engine.cli.scheme import scheme_app
from engine.grouping.dip_build import Catalogue, write_catalogue
from engine.run.schemebuild import built

SHOWN = 20
COLUMNS = {
    "group": "病种", "kind": "类别", "cases": "例数", "weight": "权重", "cv": "CV", "qcd": "QCD",
    "change": "年变化", "flips_without": "去掉后翻转",
}  # fmt: skip
Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="IN...",
        callback=lambda paths: [existing(path) for path in paths],
        help="一份或几份数据（各年） · one or several extracts",
    ),
]


@scheme_app.command("build")
def build_command(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="病种目录文件夹 · folder of the catalogue")],
    name: Annotated[str, typer.Option(help="方案名称，默认为文件夹名 · name, by default that of DIR")] = "",
    threshold: Annotated[int, typer.Option(min=1, help="核心病种例数临界值 · cases of a core group")] = 15,
    weights: Annotated[str, typer.Option(help="各年权重，由远到近 · weights of the years, oldest first")] = "1:2:7",
    like: Annotated[str, typer.Option(help="手术分类和编码位数取自 · classes and lengths of codes from")] = "dip-demo",
    profile: Profile = "auto",
    as_json: Json = False,
):
    """由本地住院数据测算 DIP 病种目录，并报告稳定性 · a DIP catalogue from a region's own stays, and its stability."""
    with show.progress() as progress:
        catalogue = built(sources, name or out.resolve().name, like, threshold, weights, profile, progress)
    write_catalogue(catalogue, out)
    if as_json:
        print(json.dumps({**catalogue.summary, "groups": catalogue.stability.to_dicts()}, ensure_ascii=False))
    else:
        _print(catalogue, out)


def _print(catalogue: Catalogue, out: Path) -> None:
    said = catalogue.summary
    years = "，".join(f"{year} × {weight}" for year, weight in said["years"].items())
    left = "，".join(f"{reason} {count:,}" for reason, count in said["left_out"].items() if count)
    lost, gained = (said[f"core_groups_{way}_without_a_year"] for way in ("lost", "gained"))
    plain.print(
        f"病例 cases {said['cases']:,}；年份 × 权重 years {years}" + (f"；未用 left out: {left}" if left else "")
    )
    plain.print(f"核心病种 core {said['core_groups']:,}，综合病种 residual {said['residual_groups']:,}，"
                f"入核心病种 share in core {said['core_share']}")  # fmt: skip
    if len(said["years"]) > 1:
        plain.print(f"去掉一年即翻转 flip without a year: 失去 lost {lost:,}，新增 gained {gained:,}")
    else:
        plain.print("只有一年数据，不能比较年份 one year only: no change between years, no flips")
    shown = Table(title=f"费用最离散的病种 widest spread（全部见 all in {show.escaped(str(out / 'stability.csv'))}）")
    for title in COLUMNS.values():
        shown.add_column(title, overflow="fold")
    widest = catalogue.stability.filter(pl.col("kind") != "candidate")
    widest = widest.sort(pl.col("qcd").str.to_decimal(scale=4), "group", descending=[True, False])
    brief = pl.col("weight").str.to_decimal(scale=8).round(4, mode="half_away_from_zero").cast(pl.Decimal(12, 4))
    widest = widest.with_columns(brief.cast(pl.String))
    for row in widest.head(SHOWN).select(list(COLUMNS)).iter_rows():
        shown.add_row(*map(show.escaped, row))
    plain.print(shown)
