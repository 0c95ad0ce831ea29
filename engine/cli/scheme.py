"""`yibao scheme check|show|diff|build`: a grouping scheme looked at by itself."""

import json
import re
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.table import Table

from engine.cli import show
from engine.cli.app import Json, app, existing, plain, state
from engine.cli.show import escaped
from engine.grouping.dip_scheme import DipScheme
from engine.grouping.group import group_records
from engine.grouping.scheme import load_scheme
from engine.grouping.scheme_files import read_files
from engine.grouping.schemecheck import Weakness, check_scheme
from engine.grouping.schemediff import LEVEL_NAMES, agreement, flows, groups, moves
from engine.grouping.schemeshow import Shown, look_up, overview
from engine.run.groupings import groupings
from engine.run.region import DEFAULT_SCHEME, load_region, scheme_folder
from engine.tables.problems import InputProblem, Problem, UsageProblem

scheme_app = typer.Typer(help="分组方案 · grouping schemes", no_args_is_help=True)
app.add_typer(scheme_app, name="scheme")

SHOWN = 20
NEEDED = ("sex", "age", "age_days", "weight", "dx", "proc")
WHERE = re.compile(r"(?P<file>.*?)(?::(?P<line>\d+))?(?: \[(?P<column>.*)\])?")
Scheme = Annotated[str, typer.Argument(metavar="SCHEME", help="分组方案：名称或目录 · a name or a folder")]


@scheme_app.command("check")
def check_command(scheme: Scheme = DEFAULT_SCHEME, as_json: Json = False):
    """分组方案有没有毛病 · what is wrong with a scheme: faults (it does not load), else what is probably not meant."""
    problems = check_scheme(Path(scheme_folder(scheme)))
    faults = [problem for problem in problems if not isinstance(problem, Weakness)]
    if as_json:
        print(json.dumps([_told(problem) for problem in problems], ensure_ascii=False))
    else:
        for problem in problems:
            mark = "[yellow]·[/yellow]" if isinstance(problem, Weakness) else "[red]✗[/red]"
            plain.print(f"{mark} {escaped(str(problem))}", soft_wrap=True)
        words = state["words"]
        print(f"{scheme}: {len(faults)} {words['faults']}, {len(problems) - len(faults)} {words['weaknesses']}")
    if faults:
        raise typer.Exit(min(fault.exit_code for fault in faults))


def _told(problem: Problem) -> dict:
    severity = "weakness" if isinstance(problem, Weakness) else "fault"
    place = WHERE.fullmatch(problem.where).groupdict()
    line = place["line"] and int(place["line"])
    said = {"what": problem.what, "allowed": problem.allowed, "hint": problem.hint}
    return {"severity": severity, **place, "line": line, **said}


@scheme_app.command("show")
def show_command(
    scheme: Scheme = DEFAULT_SCHEME,
    code: Annotated[str | None, typer.Argument(help="MDC、ADRG、DRG 或 ICD 编码 · a group or an ICD code")] = None,
    as_json: Json = False,
):
    """一个分组方案，或其中一个编码 · what a scheme is, or where one code stands in it."""
    shown = _shown(scheme)
    found = look_up(shown, code) if code else overview(shown)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name, value in found.items():
        if value in (None, "", []):
            continue
        if not isinstance(value, list):
            plain.print(f"{_label(name)}: {escaped(_text(value))}", soft_wrap=True)
        elif value and isinstance(value[0], dict):
            print(f"{_label(name)}: {len(value)}")
            _table(value)
        else:
            plain.print(f"{_label(name)}: {escaped('、'.join(value))}", soft_wrap=True)


def _shown(scheme: str) -> Shown:
    """The files of a scheme that loads. Raises the first of its faults."""
    folder = Path(scheme_folder(scheme))
    if isinstance(load_scheme(folder), DipScheme):
        raise UsageProblem(f"只用于 DRG 分组方案 for DRG schemes only: {scheme}", hint=f"yibao scheme check {scheme}")
    return Shown(*read_files(folder)[:2])


@scheme_app.command("diff")
def diff_command(
    a: Annotated[str, typer.Argument(metavar="A", help="分组方案：名称或目录 · a name or a folder")],
    b: Annotated[str, typer.Argument(metavar="B", help="分组方案：名称或目录 · a name or a folder")],
    records: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECORDS]", help="病例 parquet 或数据目录，按两个方案各分一次 · records, grouped by both",
            callback=lambda path: path and existing(path),
        ),
    ] = None,
    as_json: Json = False,
):  # fmt: skip
    """两个分组方案有什么不同 · how two schemes differ, and how the same records fare under both."""
    left, right = _shown(a), _shown(b)
    found = {"groups": groups(left.tables, right.tables), "moves": moves(left.tables, right.tables)}
    if records:
        found |= _fared(records, a, b)
    if as_json:
        print(json.dumps({name: frame.to_dicts() for name, frame in found.items()}, ensure_ascii=False))
        return
    print(f"a: {a}\nb: {b}")
    counted = found["groups"].group_by("table", "what").agg(count=pl.len()).sort("table", "what")
    for name, frame in {"counts": counted, **found}.items():
        print(f"{_label(name)}: {frame.height:,}")
        if frame.height:
            _table(frame.head(SHOWN).to_dicts())
        if frame.height > SHOWN:
            print(f"  {frame.height - SHOWN:,} {state['words']['more_remarks']}")


def _fared(records: Path, a: str, b: str) -> dict[str, pl.DataFrame]:
    """How the stays of a Parquet file of records or of an extract fare under two schemes, and against their labels."""
    schemes = [load_scheme(Path(scheme_folder(name))) for name in (a, b)]
    labels = None
    if records.suffix == ".parquet" and {"dx", "proc"} <= set(_columns(records)):
        frame = pl.read_parquet(records)
        if missing := [column for column in NEEDED if column not in frame.columns]:
            raise InputProblem(f"缺少列 missing column: {', '.join(missing)}", str(records), ", ".join(NEEDED))
        left, right = (group_records(frame, scheme, why=False) for scheme in schemes)
        labels = frame if set(LEVEL_NAMES) <= set(frame.columns) else None
    else:
        with show.progress() as progress:
            _, (left, right) = groupings(records, schemes, load_region(judging=False), progress=progress)
    pairs = {"a = b": (left, right)}
    if labels is not None:
        pairs |= {"a = labels": (left, labels), "b = labels": (right, labels)}
    told = [agreement(*pair).select(pl.lit(name).alias("compared"), pl.all()) for name, pair in pairs.items()]
    return {"agreement": pl.concat(told), "flows": flows(left, right)}


def _columns(path: Path) -> list[str]:
    try:
        return list(pl.read_parquet_schema(path)) if path.is_file() else []
    except pl.exceptions.PolarsError as error:
        raise InputProblem(f"读不懂这个文件 not a readable Parquet file: {error}", str(path)) from error


def _label(name: str) -> str:
    return state["words"][f"scheme_{name}"]


def _table(rows: list[dict]) -> None:
    table = Table()
    names = list(dict.fromkeys(name for row in rows for name in row))
    for column in names:
        number = all(isinstance(row.get(column), int) for row in rows)
        table.add_column(_label(column), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escaped(_text(row.get(name))) for name in names))
    plain.print(table)


def _text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "、".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
