"""`yibao rules new|words|schema|pages|lock`: what an author of rules has at hand."""

import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from engine.audit.trial import run_tests
from engine.cli.app import Json, Knowledge, Rules, existing, plain, region_of, state
from engine.cli.rules import rules_app, rules_at
from engine.language import glossary, lockfile
from engine.language.draft import SAME, Draft, draft_text, draftable
from engine.language.faults import explained
from engine.language.rule import load_rules, rule_files
from engine.language.schema import PATTERNS, schema_text
from engine.language.vocabulary import scopes
from engine.reference.knowledge import load_knowledge
from engine.report.text import yuan
from engine.run.handbook import write_pages
from engine.run.localitems import local_items
from engine.run.rulebook import FAMILIES
from engine.tables.problems import InvariantBroken, UsageProblem

SHOWN = 20
SCHEMA = "rule.schema.json"
Extract = Annotated[
    Path | None, typer.Option("--in", callback=lambda path: path and existing(path), help="本地数据 · a local extract")
]


@rules_app.command("words")
def words_command(
    word: Annotated[
        str | None, typer.Argument(help="一个词、名称的一部分或错误代码 · a word or a fault's code")
    ] = None,
    source: Extract = None,
    knowledge: Knowledge = None,
    as_json: Json = False,
):
    """规则里能用的词；也查项目名称和错误代码 · the vocabulary, item names, and what a fault's code means."""
    if word and (said := explained(word.upper())):
        print(json.dumps({"code": word.upper(), "said": said}, ensure_ascii=False) if as_json else said)
        return
    known = load_knowledge(knowledge or [])
    found = glossary.entries(known)
    found = glossary.lookup(word, found) if word else found
    exact = bool(word) and any(word.lower() in (e.name.lower(), e.last.lower()) for e in found)
    items = glossary.item_names(known, word) if word and not exact else []
    local = local_items(source, known, word or "").to_dicts() if source else []
    if not (found or items or local):
        raise UsageProblem(f"没有这个词 no such word: {word}", hint="yibao rules words")
    if as_json:
        named = [{"item": code, "name": name} for code, name in items]
        answer = {"words": [asdict(e) for e in found], "items": named, "local_items": local}
        print(json.dumps(answer, ensure_ascii=False))
        return
    _print_words(found, brief=not word)
    _print_rows("项目名称 · items", ("编码", "名称"), items)
    shown = [(r["item"] or "", r["local_item"] or "", r["name"] or "", f"{r['rows']:,}", yuan(r["amount_fen"]))
             for r in local]  # fmt: skip
    _print_rows("本地项目 · local items", ("医疗目录编码", "机构编码", "名称", "行数", "金额(元)"), shown)


def _print_words(found: list[glossary.Entry], brief: bool) -> None:
    for kind, title in glossary.KINDS.items():
        rows = [e for e in found if e.kind == kind]
        if not rows:
            continue
        plain.print(f"[bold]{title}[/bold]")
        for e in rows:
            kind_of = f"{e.type}{'?' if e.missing and kind != 'key' else ''}"
            parts = [e.name, kind_of, e.label, *([] if brief and kind == "key" else [e.note]), e.example]
            plain.print("  " + escape("  ".join(part for part in parts if part)), soft_wrap=True)
    if any(e.missing and e.kind in ("attribute", "column") for e in found):
        plain.print("[dim]? 可能缺失，条件里要写 (x ?? 缺失时的值) · may be missing: say with ??[/dim]")


def _print_rows(title: str, columns: tuple[str, ...], rows: list[tuple]) -> None:
    if not rows:
        return
    table = Table(title=f"{title}（{len(rows)}）", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows[:SHOWN]:
        table.add_row(*map(escape, row))
    plain.print(table)
    if len(rows) > SHOWN:
        plain.print(f"[dim]前 {SHOWN} 个，其余用 --json · the first {SHOWN}; all with --json[/dim]")


@rules_app.command("schema")
def schema_command(
    out: Annotated[
        Path | None, typer.Option("--out", help="写入文件，不写则打印 · file to write, else printed")
    ] = None,
):
    """规则文件的 JSON Schema，编辑器据此补全和解释 · the JSON Schema, by which an editor completes and explains."""
    if out is None:
        print(schema_text(), end="")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(schema_text(), "utf-8")
    print(out)


@rules_app.command("lock")
def lock_command(
    rules: Rules = None,
    check: Annotated[bool, typer.Option("--check", help="只比较，不写 · compare and write nothing")] = False,
):
    """规则内容的哈希写入 rules.lock，或指出哪些规则变了 · write rules.lock, or say which rules differ from it."""
    folder = rules_at(rules)
    files, lock, words = rule_files(folder), folder / lockfile.NAME, state["words"]
    differing = lockfile.differences(files, lock)
    for rule_id, how in differing.items():
        print(f"{words[f'lock_{how}']} {rule_id}")
    if check:
        if differing:
            raise typer.Exit(4)
        print(words["lock_same"])
        return
    lock.write_text(lockfile.lock_text(files), "utf-8")
    print(f"{len(files)}: {lock}")


@rules_app.command("pages")
def pages_command(
    out: Annotated[Path, typer.Option("--out", help="输出目录 · folder of the pages")] = Path("rule-pages"),
    rules: Rules = None,
    knowledge: Knowledge = None,
):
    """每条规则一页中文说明和一份目录，可打印 · one readable page per rule and an index, in Chinese."""
    pages = write_pages(region_of(rules, None, knowledge), out)
    print(f"{len(pages)}: {pages[0]}")


@rules_app.command("new")
def new_command(
    source: Extract = None,
    rules: Rules = None,
    knowledge: Knowledge = None,
    title: Annotated[str | None, typer.Option(help="标题 · title")] = None,
    rule_id: Annotated[str | None, typer.Option("--id", help="规则号，即文件名 · id, the name of the file")] = None,
    family: Annotated[str | None, typer.Option(help="类别 · family")] = None,
    scope: Annotated[str | None, typer.Option("--for", help="一个案例是什么 · what one case is")] = None,
    item: Annotated[list[str] | None, typer.Option(help="项目编码或 concept:概念，可重复 · item or concept")] = None,
    second: Annotated[list[str] | None, typer.Option(help="不能同收的另一类项目 · items that may not join")] = None,
    most: Annotated[str | None, typer.Option(help="最多数量 · how many at most")] = None,
    days: Annotated[str | None, typer.Option(help="窗口天数 · days of the window")] = None,
    same: Annotated[str | None, typer.Option(help="不能同收的时间范围 · window of a pair")] = None,
    result: Annotated[str | None, typer.Option(help="suspicion 或 violation")] = None,
    law: Annotated[str | None, typer.Option(help="依据的法规 · law")] = None,
    article: Annotated[str | None, typer.Option(help="条款 · article")] = None,
):
    """问几个问题，写出一条能用的规则 · ask a few questions and write a rule that works."""
    folder, known = rules or rules_at(None), load_knowledge(knowledge or [])
    title = title or _ask("标题，如：按次计价的项目一日多计")
    family = _choice("类别", FAMILIES, family)
    scope = _choice("一个案例是什么", {name: scopes()[name].label for name in draftable()}, scope)
    items = item or _items("查什么项目", known, source)
    pair = scope == "line_pair"
    draft = Draft(
        title=title, family=family, scope=scope, items=items,
        second=(second or _items("不能与什么项目同收", known, source)) if pair else [],
        most="0" if pair else most or _ask("最多几次（一个案例里的数量，0 表示一律不应收）", "1"),
        days=days or _ask("几天之内") if scope == "person_window" else "30",
        same=_choice("时间范围", SAME, same) if pair else "day",
        result=_choice("结果", {"suspicion": "可疑", "violation": "明确违规"}, result),
        law=law or _ask("依据的法规", Draft.law), article=article if article is not None else _ask("条款", "38(3)"),
        id=rule_id or _ask("规则号，英文小写和连字符，即文件名，如：local-item-once-a-day"),
    )  # fmt: skip
    codes = {
        name: [code for one in getattr(draft, name) for code in _codes(one, known)] for name in ("items", "second")
    }
    path = _written(folder, draft, draft_text(draft, codes), known)
    print(path)
    print(f"yibao rules test --rule {draft.id} --rules {folder}")


def _written(folder: Path, draft: Draft, text: str, known) -> Path:
    """The rule in its place, once it has shown in another that it loads and passes its tests."""
    if not re.fullmatch(PATTERNS["id"], draft.id):
        raise UsageProblem(f"规则号 id {draft.id!r}", allowed="a-z 0-9 -")
    path = folder / draft.family / f"{draft.id}.yaml"
    taken = {p.stem: p for p in rule_files(folder)}
    if draft.id in taken:
        raise UsageProblem(f"已有这条规则 the rule exists: {taken[draft.id]}", hint="换一个规则号 choose another --id")
    with tempfile.TemporaryDirectory() as work:
        trial = Path(work) / draft.family / path.name
        trial.parent.mkdir()
        trial.write_text(text, "utf-8")
        loaded, faults = load_rules(Path(work), known)
        wrong = [str(fault) for fault in faults if fault.severity == "error"]
        if wrong:
            raise UsageProblem("\n".join(wrong))
        if failed := [r.said for r in run_tests(loaded[0], known) if not r.passed]:
            raise InvariantBroken("; ".join(failed), path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    if not (folder / SCHEMA).exists():
        (folder / SCHEMA).write_text(schema_text(), "utf-8")
    return path


def _ask(question: str, default: str | None = None) -> str:
    return typer.prompt(question, default=default).strip()


def _choice(question: str, choices: dict[str, str], given: str | None) -> str:
    """One of some words, by number or by name."""
    names = list(choices)
    if given is None:
        for number, name in enumerate(names, 1):
            plain.print(f"  {number} {choices[name]}（{name}）", soft_wrap=True)
        given = _ask(f"{question}（编号或英文）")
    if given in choices:
        return given
    if given.isascii() and given.isdigit() and 1 <= int(given) <= len(names):
        return names[int(given) - 1]
    raise UsageProblem(f"{question}: {given!r}", allowed=", ".join(names))


def _items(question: str, known, source: Path | None) -> list[str]:
    """Codes or one concept, searched by name until something is chosen."""
    while True:
        word = _ask(f"{question}（编码、名称的一部分或概念）")
        concepts = [e for e in glossary.entries(known) if e.kind == "concept"]
        found = [(e.name, e.label) for e in concepts if word.lower() in f"{e.name} {e.label}".lower()]
        found += glossary.item_names(known, word)
        if source:
            rows = local_items(source, known, word).iter_rows(named=True)
            found += [
                (r["item"], f"{r['name']}，{r['rows']:,} 行，{yuan(r['amount_fen'])} 元") for r in rows if r["item"]
            ]
        found = list(dict(reversed(found)).items())[::-1][:SHOWN]  # each code once
        for number, (code, name) in enumerate(found, 1):
            plain.print(f"  {number} {escape(code)}  {escape(name)}", soft_wrap=True)
        if [word] == [code for code, _ in found] or word in dict(found):
            return [word]
        if not found and word.isascii():
            return [word]  # a code nobody has named
        chosen = _ask("编号，可多个，空格分开；0 重新查", "0").replace(",", " ").replace("，", " ").split()
        picked = [found[int(n) - 1][0] for n in chosen if n.isdigit() and 1 <= int(n) <= len(found)]
        if picked:
            concept = [code for code in picked if code.startswith("concept:")]
            return concept[:1] or picked


def _codes(item: str, known) -> list[str]:
    return known.codes(item.removeprefix("concept:")) if item.startswith("concept:") else [item]
