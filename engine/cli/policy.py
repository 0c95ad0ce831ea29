"""`yibao policy check|show`: what is wrong with a policy; what it pays to whom, as a citizen could read it."""

import datetime
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from engine.cli.app import Json, app, plain, state
from engine.cli.show import escaped
from engine.settlement.doubts import begins_after, doubts
from engine.settlement.policy import Policy, load_policy, parameters, policy_file, policy_or_faults
from engine.settlement.spoken import Whose, not_for, notes, waterfall
from engine.tables.problems import UsageProblem
from engine.tables.yamltext import read_yaml

policy_app = typer.Typer(help="结算政策 · settlement policies", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

BAD_POLICY = 4
Name = Annotated[str, typer.Argument(metavar="POLICY", help="政策：名称或文件 · a name or a file")]


@policy_app.command("check")
def check_command(
    policy: Name,
    first: Annotated[
        datetime.datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="最早的结算单是哪天 · first day of the claims"),
    ] = None,
    as_json: Json = False,
):
    """政策文件有没有错，缺什么依据 · faults of a policy, else what it rests on and where it begins or ends."""
    path = policy_file(policy)
    read, faults = policy_or_faults(path)
    weak = _doubts(read, path, first) if read else []
    if as_json:
        keys = ("where", "what", "allowed", "hint")
        told = {"faults": [dict(zip(keys, fault, strict=True)) for fault in faults], "doubts": weak}
        print(json.dumps(told | {"grades": _grades(read) if read else {}}, ensure_ascii=False))
    else:
        for where, what, allowed, hint in faults:
            more = "；".join(filter(None, (f"允许 allowed: {allowed}" if allowed else "", hint)))
            plain.print(f"[red]✗[/red] {escaped(f'{path}: {where}: {what}')}", soft_wrap=True)
            if more:
                plain.print(f"  {escaped(more)}", soft_wrap=True)
        for doubt in weak:
            plain.print(f"[yellow]·[/yellow] {escaped(doubt)}", soft_wrap=True)
        words = state["words"]
        print(f"{policy}: {len(faults)} {words['faults']}, {len(weak)} {words['weaknesses']}")
        if read:
            print(
                f"{words['policy_grades']}: " + "，".join(f"{grade} {count}" for grade, count in _grades(read).items())
            )
    if faults:
        raise typer.Exit(BAD_POLICY)


def _grades(policy: Policy) -> dict[str, int]:
    """How many values stand on a source of each grade."""
    settings = [entry for _, dated, _ in parameters(policy) for entry in dated.values()]
    return dict(sorted(Counter(entry.grade or policy.grade for entry in settings).items()))


def _doubts(policy: Policy, path: Path, first: datetime.datetime | None) -> list[str]:
    """What is perhaps not meant, each with its place in the file."""
    document, told = read_yaml(path), []
    for keys, text in doubts(policy) + (begins_after(policy, first.date()) if first else []):
        line, column = document.where(keys)
        told.append(f"第 {line} 行第 {column} 列: {'.'.join(keys)} {text}")
    return told


@policy_app.command("show")
def show_command(
    policy: Name,
    group: Annotated[str | None, typer.Option(help="人员组，默认第一个 · person group, default the first")] = None,
    level: Annotated[str, typer.Option(help="医院等级 · level of institution")] = "3",
    category: Annotated[str | None, typer.Option(help="救助对象类别 · category of assistance")] = None,
    day: Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="哪一天 · on which day")] = None,
    as_json: Json = False,
):
    """一项政策怎么付：逐层，附来源和等级 · what a policy pays, layer by layer, with sources and grades."""
    read = load_policy(policy)
    group = _one_of(group, list(read.groups), "--group") or next(iter(read.groups))
    category = _one_of(category, list(read.categories), "--category")
    on = day.date() if day else max(since for _, dated, _ in parameters(read) for since in dated)
    whose = Whose(group, level, on, category)
    said, told = notes(read, whose), waterfall(read, whose)
    told += [(heading, []) for heading in said if heading not in dict(told)]
    if as_json:
        parts = [
            {"part": heading, "values": [asdict(value) for value in values], "notes": said.get(heading, [])}
            for heading, values in told
        ]
        head = {"policy": read.name, "group": group, "level": level, "category": category, "day": on, "parts": parts}
        print(json.dumps(head, ensure_ascii=False, default=str))
        return
    words = state["words"]
    person = "，".join(filter(None, (group, category, f"{words['policy_level']} {level}", on.isoformat())))
    plain.print(escaped(f"{read.title or read.name}（{person}）"), soft_wrap=True)
    plain.print(escaped(f"{words['policy_source']}: {read.source}（{read.grade}）"), soft_wrap=True)
    for heading, values in told:
        notes_here = "；".join(said.get(heading, []))
        if not values:
            plain.print(escaped(f"{heading}：{notes_here}"), soft_wrap=True)
            continue
        table = Table(title=escaped(heading), title_justify="left")
        for name in ("item", "value", "since", "source"):
            table.add_column(words[f"policy_{name}"], overflow="fold")
        for value in values:
            source = f"{value.source}（{value.grade}）"
            table.add_row(*map(escaped, (value.label, value.text, value.since.isoformat(), source)))
        plain.print(table)
        if notes_here:
            plain.print(escaped(notes_here), soft_wrap=True)
    if absent := not_for(read, whose):
        more = (
            f"（{words['policy_see_category']}: {'、'.join(read.categories)}）"
            if read.categories and not category
            else ""
        )
        plain.print(escaped(f"{words['policy_not_for']}: {'、'.join(absent)}{more}"), soft_wrap=True)
    others = "、".join(name for name in read.groups if name != group)
    if others:
        plain.print(escaped(f"{words['policy_other_groups']}: {others}"), soft_wrap=True)


def _one_of(name: str | None, known: list[str], option: str) -> str | None:
    if name is not None and name not in known:
        raise UsageProblem(f"{option} {name!r}", allowed=", ".join(known) or "—")
    return name
