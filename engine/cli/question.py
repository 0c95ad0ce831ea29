"""`yibao rules try`: a question without a rule file."""

import json
from typing import Annotated

import typer
from rich.table import Table

from engine.audit.parts import shown
from engine.cli import show
from engine.cli.app import Json, Knowledge, Profile, Rules, Source, plain, region_of, state
from engine.cli.rules import rules_app
from engine.report.text import clip, yuan
from engine.run.masking import hidden, read_key
from engine.run.prepared import prepared
from engine.run.question import Asked, ask, question

SAMES = "line_pair 的时间窗：hour 6h day visit person · window of a pair"


@rules_app.command("try")
def try_command(
    expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="条件 · a condition, as in `when`")],
    source: Source,
    scope: Annotated[str, typer.Option("--for", help="一个案例是什么 · what one case is: visit_day, line …")],
    flag: Annotated[str, typer.Option(help="哪些明细是证据，默认全部 · lines in evidence, by default all")] = "",
    sets: Annotated[list[str] | None, typer.Option("--set", help="名单：名=concept:概念 或 名=代码,代码")] = None,
    same: Annotated[str, typer.Option(help=SAMES)] = "",
    window: Annotated[int | None, typer.Option(min=1, help="person_window 的天数 · days of a window")] = None,
    limit: Annotated[int, typer.Option(min=0, help="列出多少例 · examples to show")] = 20,
    rules: Rules = None,
    knowledge: Knowledge = None,
    profile: Profile = "auto",
    as_json: Json = False,
):
    """不写规则文件就问一句 · ask a question without writing a rule."""
    region = region_of(rules, None, knowledge)
    loaded = question(expression, scope, region, flag, tuple(sets or ()), same, window)
    with show.progress() as progress:
        extract = prepared(source, region, profile, progress)
        region = region.dated(extract.last_day)
        found = ask(extract, region, loaded, limit, progress)
    rows = [_row(where, read) for where, read in found.examples]
    if as_json:
        sums = {n: getattr(found, n) for n in ("cases", "hits", "unjudged", "gross_fen", "fund_fen")}
        print(json.dumps({**sums, "examples": rows}, ensure_ascii=False))
    else:
        _show(found, rows)


def _row(where: dict, read: list) -> dict[str, str]:
    """Where an example is and what was read there, persons and doctors under pseudonyms."""
    told = {label: shown(value) for label, value in where.items() if value is not None}
    return told | {r.words: hidden(r.name, shown(r.value), read_key()) for r in read}


def _show(found: Asked, rows: list[dict[str, str]]) -> None:
    words = state["words"]
    figures = {"cases": f"{found.cases:,}", "hits": f"{found.hits:,}", "unjudged": f"{found.unjudged:,}",
               "gross": yuan(found.gross_fen), "fund": yuan(found.fund_fen)}  # fmt: skip
    print(" · ".join(f"{words[name]} {figure}" for name, figure in figures.items()))
    if not rows:
        return
    table, columns = Table(), list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        table.add_column(show.escaped(name), overflow="fold")
    for row in rows:
        table.add_row(*(show.escaped(clip(row.get(name, ""), 60)) for name in columns))
    plain.print(table)
