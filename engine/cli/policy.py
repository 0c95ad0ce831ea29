"""`yibao policy check|show`: what is wrong with a policy; what it pays to whom, as a citizen could read it."""

import datetime
import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from engine.cli.app import Json, app, plain, state
from engine.cli.show import escaped
from engine.settlement.policy import Policy, load_policy, parameters, policy_file, policy_or_faults
from engine.settlement.spoken import Whose, waterfall
from engine.tables.problems import UsageProblem

policy_app = typer.Typer(help="结算政策 · settlement policies", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

BAD_POLICY = 4
Name = Annotated[str, typer.Argument(metavar="POLICY", help="政策：名称或文件 · a name or a file")]


@policy_app.command("check")
def check_command(policy: Name, as_json: Json = False):
    """政策文件有没有错，缺什么依据 · faults of a policy, else what it rests on and where it begins or ends."""
    path = policy_file(policy)
    read, faults = policy_or_faults(path)
    doubts = list(_doubts(read)) if read else []
    if as_json:
        keys = ("where", "what", "allowed", "hint")
        told = {"faults": [dict(zip(keys, fault, strict=True)) for fault in faults], "doubts": doubts}
        print(json.dumps(told | {"grades": _grades(read) if read else {}}, ensure_ascii=False))
    else:
        for where, what, allowed, hint in faults:
            more = "；".join(filter(None, (f"允许 allowed: {allowed}" if allowed else "", hint)))
            plain.print(f"[red]✗[/red] {escaped(f'{path}: {where}: {what}')}", soft_wrap=True)
            if more:
                plain.print(f"  {escaped(more)}", soft_wrap=True)
        for doubt in doubts:
            plain.print(f"[yellow]·[/yellow] {escaped(doubt)}", soft_wrap=True)
        words = state["words"]
        print(f"{policy}: {len(faults)} {words['faults']}, {len(doubts)} {words['weaknesses']}")
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


def _doubts(policy: Policy):
    """Days and levels for which a claim of the policy would find no value."""
    for name, benefit in policy.benefits.items():
        own = [(where, dated) for where, dated, _ in parameters(benefit, f"benefits.{name}") if dated]
        first = min((min(dated) for _, dated in own), default=None)
        for where, dated in own:
            if min(dated) > first:
                yield f"{where} 从 {min(dated)} 起才有值，同一待遇别的参数从 {first} 起；其间的结算单不适用本政策"
    for where, dated, _ in parameters(policy):
        if not list(dated.values())[-1].value:
            yield f"{where} 从 {list(dated)[-1]} 起未知；其后的结算单不适用本政策"
        for day, entry in dated.items():
            if not (entry.source or policy.source):
                yield f"{where}.{day} 没有写来源"


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
    told = waterfall(read, Whose(group, level, on, category))
    if as_json:
        parts = [{"part": heading, "values": [asdict(said) for said in values]} for heading, values in told]
        head = {"policy": read.name, "group": group, "level": level, "category": category, "day": on, "parts": parts}
        print(json.dumps(head, ensure_ascii=False, default=str))
        return
    words = state["words"]
    whose = "，".join(filter(None, (group, category, f"{words['policy_level']} {level}", on.isoformat())))
    plain.print(escaped(f"{read.title or read.name}（{whose}）"), soft_wrap=True)
    plain.print(escaped(f"{words['policy_source']}: {read.source}（{read.grade}）"), soft_wrap=True)
    for heading, values in told:
        table = Table(title=escaped(heading), title_justify="left")
        for name in ("item", "value", "since", "source"):
            table.add_column(words[f"policy_{name}"], overflow="fold")
        for said in values:
            table.add_row(
                *map(escaped, (said.label, said.text, said.since.isoformat(), f"{said.source}（{said.grade}）"))
            )
        plain.print(table)
    others = "、".join(name for name in read.groups if name != group)
    if others:
        plain.print(escaped(f"{words['policy_other_groups']}: {others}"), soft_wrap=True)


def _one_of(name: str | None, known: list[str], option: str) -> str | None:
    if name is not None and name not in known:
        raise UsageProblem(f"{option} {name!r}", allowed=", ".join(known) or "—")
    return name
