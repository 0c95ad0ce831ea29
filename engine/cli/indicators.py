"""`yibao indicators IN`: case mix, indices of cost and days, outliers and deaths of an extract's inpatient stays."""

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.table import Table

from engine.cli import show
from engine.cli.app import Json, Profile, SchemeName, Source, app, plain, state
from engine.cli.show import escaped
from engine.grouping.indicators import BENCHMARK, Bounds, indicators, stays_of
from engine.report.sheets import Column, Sheet, write_book
from engine.report.text import yuan
from engine.run.groupings import groupings
from engine.run.region import DEFAULT_SCHEME, load_region
from engine.tables.problems import InputProblem, UsageProblem

SHOWN = 20
PRINTED = {"regions": (), "institutions": ("fixmedins_code",), "departments": ("fixmedins_code", "department")}
FIGURES = ("stays", "grouped_pct", "groups", "cmi", "cost_index", "time_index", "mean_fee_fen", "mean_days", "high_pct",
           "low_pct")  # fmt: skip
NOTED = ("cmi", "cost_index", "high_pct", "low_risk_death_pct")
BANDS = "3 或 or 1:3,2:2.5,2"
FORMULA = r"^[=+\-@\t\r]"  # what a spreadsheet takes for one


@app.command("indicators")
def indicators_command(
    source: Source,
    out: Annotated[Path | None, typer.Option("--out", help="写入表格的目录 · folder for the tables")] = None,
    scheme: SchemeName = DEFAULT_SCHEME,
    benchmark: Annotated[
        Path | None, typer.Option(help="区域标杆：另一次的 drgs.csv · the means to compare with: drgs.csv of a region")
    ] = None,
    low: Annotated[str, typer.Option(help="费用极低：病组均费的倍数 · low cost: times the mean of the DRG")] = "0.4",
    high: Annotated[
        str | None, typer.Option(help=f"费用极高的倍数，可按权重分段 · high cost, by weight: {BANDS}")
    ] = None,
    profile: Profile = "auto",
    as_json: Json = False,
):  # fmt: skip
    """病组指标：组数、CMI、费用和时间消耗指数、低风险死亡 · case mix, cost and time indices, low-risk mortality."""
    bounds = Bounds(_times("--low", low), _bands(high) if high else Bounds().high)
    means = _benchmark(benchmark) if benchmark else None
    region = load_region(scheme=scheme, judging=False)
    with show.progress() as progress:
        claims, (grouping,) = groupings(source, [region.scheme], region, profile, progress)
    tables = indicators(stays_of(claims, grouping), means, bounds)
    written = _write(tables, out, bounds, f"{region.scheme.name} {region.scheme.version}".strip()) if out else []
    if as_json:
        print(json.dumps({name: table.to_dicts() for name, table in tables.items()}, ensure_ascii=False, default=str))
        return
    for name, keys in PRINTED.items():
        _print(name, tables[name].sort("stays", descending=True, maintain_order=True), keys)
    for path in written:
        print(path)


def _times(option: str, text: str) -> int:
    """A multiple as hundredths."""
    try:
        hundredths = Decimal(text) * 100
    except InvalidOperation:
        hundredths = Decimal("NaN")
    if not hundredths.is_finite() or hundredths <= 0 or hundredths != int(hundredths):
        raise UsageProblem(f"{option} {text!r}", allowed="0.4, 0.5, 2, 2.5 …" if option == "--low" else BANDS)
    return int(hundredths)


def _bands(text: str) -> tuple[tuple[Decimal | None, int], ...]:
    """Bounds by weight: 1:3,2:2.5,2 is thrice up to weight 1, two and a half times up to 2, above it twice."""
    *bands, last = text.split(",")
    found = []
    for band in bands:
        limit, _, times = band.partition(":")
        found.append((Decimal(_times("--high", limit)) / 100, _times("--high", times)))
    if [limit for limit, _ in found] != sorted({limit for limit, _ in found}):
        raise UsageProblem(f"--high {text!r}", allowed=BANDS)
    return (*found, (None, _times("--high", last)))


def _benchmark(path: Path) -> pl.DataFrame:
    """drgs.csv of another answer. Raises InputProblem where it is none."""
    try:
        frame = pl.read_csv(path, schema_overrides=BENCHMARK)
        return frame.select(list(BENCHMARK))
    except (OSError, pl.exceptions.PolarsError) as error:
        said = str(error).splitlines()[0]
        raise InputProblem(f"不是标杆表 not a table of means: {said}", str(path), ", ".join(BENCHMARK)) from error


def _write(tables: dict[str, pl.DataFrame], out: Path, bounds: Bounds, scheme: str) -> list[Path]:
    """One CSV per table for programs (whole fen), and one workbook for people (yuan)."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in tables.items():
        path, text = out / f"{name}.csv", pl.col(pl.String)
        part = path.with_name(f".{path.name}.part")
        harmless = pl.when(text.str.contains(FORMULA)).then(pl.lit("'") + text).otherwise(text)
        table.with_columns(harmless.name.keep()).write_csv(part, include_bom=True)
        written.append(part.replace(path))
    notes = [(_label(name), _label(f"note_{name}").format(bounds)) for name in NOTED]
    sheets = [Sheet(_label(name), _columns(table), [table]) for name, table in tables.items()]
    return [*written, write_book(out / "indicators.xlsx", [(_label("scheme"), scheme), *notes], sheets, scheme)]


def _columns(table: pl.DataFrame) -> list[Column]:
    """The columns of a sheet: money in yuan, whole numbers as counts, other numbers as they are, else text."""
    kinds = {pl.String: "text", pl.Int64: "count"}
    named = {name: kinds.get(dtype.base_type(), "quantity") for name, dtype in table.schema.items()}
    return [Column(_label(n), n, "yuan" if n.endswith("_fen") else kind) for n, kind in named.items()]


def _label(name: str) -> str:
    return state["words"][f"indicator_{name}"]


def _print(name: str, rows: pl.DataFrame, keys: tuple[str, ...]) -> None:
    table = Table(title=_label(name), title_justify="left")
    for column in (*keys, *FIGURES):
        table.add_column(_label(column), justify="left" if column in keys else "right", overflow="fold")
    for row in rows.head(SHOWN).iter_rows(named=True):
        table.add_row(*(escaped(_text(column, row[column])) for column in (*keys, *FIGURES)))
    plain.print(table)
    if rows.height > SHOWN:
        print(f"  {rows.height - SHOWN:,} {state['words']['more_remarks']}")


def _text(column: str, value) -> str:
    if value is None:
        return "—"
    if column.endswith("_fen"):
        return yuan(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
