"""What the commands print: tables for people, a progress bar on stderr."""

from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.markup import escape as escaped
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.cli.words import Words
from engine.report.figures import Run
from engine.report.text import yuan

__all__ = ["escaped", "progress", "summary", "checks", "waivers"]


@contextmanager
def progress():
    """A callback (stage, done, total) that moves one bar a stage."""
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=Console(stderr=True),
    )  # fmt: skip
    tasks = {}

    def moved(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield moved


def summary(out: Path, rules: dict, words: Words, console: Console) -> None:
    """Claims, fund paid, findings by family, what is recoverable, and where the report lies."""
    findings = pl.read_parquet(
        out / "findings.parquet", columns=["rule_id", "result", "fund_fen", "finding_id", "waived"]
    )
    findings = findings.filter(~pl.col("waived"))
    due = pl.read_parquet(out / "recovery.parquet", columns=["finding_id", "due_fen"]).drop_nulls("finding_id")
    amounts = ["reported_fund_pay_sumamt_fen", "fund_pay_sumamt_fen"]
    settlement = pl.read_parquet(out / "settlement.parquet", columns=[*amounts, "first_difference"])
    family = pl.DataFrame(
        {"rule_id": list(rules), "family": [r.family_name for r in rules.values()]},
        schema={"rule_id": pl.String, "family": pl.String},
    )
    due = due.group_by("finding_id").agg(pl.col("due_fen").sum())
    by_family = (
        findings.join(family, on="rule_id", how="left").join(due, on="finding_id", how="left").group_by("family").agg(
            violations=(pl.col("result") == "violation").sum(), suspicions=(pl.col("result") == "suspicion").sum(),
            fund=pl.col("fund_fen").sum(), due=pl.col("due_fen").fill_null(0).sum(),
        ).sort("due", "family", descending=[True, False])
    )  # fmt: skip
    paid = settlement.select(pl.coalesce(amounts).sum()).item()
    due_sum = int(by_family["due"].sum())
    differing = settlement.height - settlement["first_difference"].null_count()
    rejected = pl.scan_parquet(out / "rejects.parquet").select(pl.len()).collect().item()
    figures = (
        ("claims", f"{settlement.height:,}"), ("fund_paid", yuan(paid or 0)), ("rejected", f"{rejected:,}"),
        ("differences", f"{differing:,}"), ("findings", f"{findings.height:,}"), ("due", yuan(due_sum)),
    )  # fmt: skip
    print(" · ".join(f"{words[name]} {figure}" for name, figure in figures))
    table = Table(show_footer=True)
    totals = by_family.select(pl.exclude("family").sum())
    table.add_column(words["family"], footer=words["total"], overflow="fold")
    for name in ("violations", "suspicions"):
        table.add_column(words[name], justify="right", footer=f"{totals[name][0] or 0:,}")
    for name in ("fund", "due"):
        table.add_column(words[name], justify="right", footer=yuan(int(totals[name][0] or 0)))
    for row in by_family.iter_rows(named=True):
        counts = (f"{row[name]:,}" for name in ("violations", "suspicions"))
        table.add_row(row["family"], *counts, yuan(row["fund"]), yuan(row["due"]))
    console.print(table)
    waivers(out, words)
    print(f"{words['report_at']}: {out / 'report.html'}")
    console.print(f"[dim]{words['leads']}[/dim]", soft_wrap=True)


def waivers(out: Path, words: Words) -> None:
    """How many waivers were of use, and which were not: one that has ended or spares nothing is never passed over."""
    given = Run(out, {}).waivers
    if not given:
        return
    spared = pl.scan_parquet(out / "findings.parquet").select(pl.col("waived").sum()).collect().item()
    print(f"{words['waived']} {spared:,}")
    for state in ("in_force", "unused", "expired", "no_rule"):
        if files := [w["file"] for w in given if w["state"] == state]:
            print(f"  {len(files)} {words[f'waivers_{state}']}: {', '.join(files)}")


def checks(frame: pl.DataFrame, inputs: list[dict], words: Words, console: Console) -> None:
    """The verdicts and, per file, rows in = accepted + rejected + blank."""
    table = Table()
    for name in ("check", "verdict", "value"):
        table.add_column(words[name], overflow="fold")
    colours = {"pass": "green", "fail": "red", "not_checkable": "dim"}
    for row in frame.iter_rows(named=True):
        verdict = f"[{colours[row['verdict']]}]{words[row['verdict']]}[/]"
        title, value = f"{row['check_id']} {row['title']}", row["value"] or row["detail"] or ""
        table.add_row(escaped(title), verdict, escaped(value))
    console.print(table)
    files = Table()
    for name in ("file", "rows_in", "accepted", "rejected", "blank"):
        files.add_column(words[name], justify="left" if name == "file" else "right", overflow="fold")
    for i in inputs:
        files.add_row(escaped(i["path"]), *(f"{i[n]:,}" for n in ("rows_in", "accepted", "rejected", "blank")))
    console.print(files)
