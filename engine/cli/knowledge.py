"""`yibao knowledge import|map`: published knowledge points as tables of a region; the local items no table knows."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from engine.cli.app import Json, Knowledge, Source, app, existing, plain, state
from engine.reference.importing import Imported, import_published, write_tables
from engine.reference.knowledge import load_knowledge
from engine.reference.points import REFUSED
from engine.report.text import yuan
from engine.run.localitems import unmapped_items
from engine.tables.problems import InputProblem

SHOWN = 20
FILES = ("file", "kind", "rows", "written", "merged", "refused", "footers")
TABLES = ("table", "rows", "published", "kept", "numbered")
ITEMS = ("item", "local_item", "name", "rows", "amount", "share")
HEADS = {"rows": "rows_in"}

knowledge_app = typer.Typer(help="知识表 · knowledge tables", no_args_is_help=True)
app.add_typer(knowledge_app, name="knowledge")


@knowledge_app.command("import")
def import_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES", help="公布的知识点文件或所在目录，CSV 或 xlsx · the published files, or folders of them",
            callback=lambda paths: [existing(path) for path in paths],
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="写入的目录，给 --knowledge 用 · folder that --knowledge reads")],
    source: Annotated[
        str, typer.Option(help="来源，不是国家公布的才写 · where they come from, if not the national publication")
    ] = "",
    only_published: Annotated[
        bool, typer.Option("--only-published", help="不带原有的编号行 · leave out our own numbered rows")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--replace", help="覆盖已有的表 · replace tables that are there")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="有退回行就不写 · no tables if a row is refused")] = False,
    as_json: Json = False,
):  # fmt: skip
    """读入国家公布的知识点文件，写成知识表 · the published knowledge points as a folder of knowledge tables."""
    imported = import_published(files, source, keep=not only_published)
    told = _as_json if as_json else _told
    unusable = sum(remark.severity == REFUSED for remark in imported.remarks)
    if not imported.tables or (strict and unusable):
        told(imported, [])
        raise InputProblem(f"{unusable} 行不能用，没有写入 rows cannot be used, nothing was written")
    told(imported, write_tables(imported, out, overwrite))


def _as_json(imported: Imported, written: list[Path]) -> None:
    answer = {"files": imported.files(), "tables": imported.summary(), "problems": imported.problems()}
    print(json.dumps(answer | {"written": [str(path) for path in written]}, ensure_ascii=False))


def _told(imported: Imported, written: list[Path]) -> None:
    files, words = imported.files(), state["words"]
    counts = [column for column in FILES if column not in ("file", "kind")]
    total = {"file": words["total"], "kind": ""} | {c: sum(f[c] for f in files) for c in counts}
    _table(FILES, [*({**f, "file": Path(f["file"]).name} for f in files), total])
    _table(TABLES, imported.summary())
    for severity, mark in (("refused", "[red]✗[/red]"), ("note", "[yellow]·[/yellow]")):
        remarks = [remark for remark in imported.remarks if remark.severity == severity]
        for r in remarks[:SHOWN]:
            said = f"{r.file}:{r.line}: {r.column}{' ' if r.column else ''}{r.what}{f'；{r.hint}' if r.hint else ''}"
            plain.print(f"{mark} {escape(said)}", soft_wrap=True)
        if len(remarks) > SHOWN:
            print(f"  {len(remarks) - SHOWN:,} {words['more_remarks']}")
    for path in written:
        print(path)


@knowledge_app.command("map")
def map_command(source: Source, knowledge: Knowledge = None, as_json: Json = False):
    """没有任何知识表认识的本地项目，金额大的在前 · the local items no table names, the dearest first."""
    items, totals = unmapped_items(source, load_knowledge(knowledge or []))
    if as_json:
        print(json.dumps({"items": items.to_dicts(), **totals}, ensure_ascii=False))
        return
    words = state["words"]
    rows = [row | {"amount": yuan(row["amount_fen"]), "share": row["share_pct"]} for row in items.to_dicts()]
    if rows:
        _table(ITEMS, rows[:SHOWN])
    if len(rows) > SHOWN:
        print(f"  {len(rows) - SHOWN:,} {words['more_remarks']}")
    for side, sums in totals.items():
        amount = f"{words['amount']} {yuan(sums['amount_fen'])}"
        print(f"{words[side]}: {sums['items']:,} {words['items']}, {words['rows_in']} {sums['rows']:,}, {amount}")


def _table(columns: tuple[str, ...], rows: list[dict]) -> None:
    table = Table()
    for column in columns:
        numbers = all(isinstance(row[column], int) for row in rows) or column in ("amount", "share")
        head = state["words"][HEADS.get(column, column)]
        table.add_column(head, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_shown(row[column])) for column in columns))
    plain.print(table)


def _shown(value) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
