"""What the commands print: tables for people, a progress bar on stderr."""

from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.markup import escape as escaped
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.cli.words import Words
from engine.report.text import yuan

__all__ = ["escaped", "progress", "summary", "checks"]


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
    findings = pl.read_parquet(out / "findings.parquet", columns=["rule_id", "result", "fund_fen", "finding_id"])
    due = pl.read_parquet(out / "recovery.parquet", columns=["finding_id", "due_fen"]).drop_nulls("finding_id")
    settlement = pl.read_parquet(out / "settlement.parquet", columns=["reported_fund_pay_sumamt_fen", "fund_pay_sumamt_fen", "first_difference"])
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
    paid = settlement.select(pl.coalesce("reported_fund_pay_sumamt_fen", "fund_pay_sumamt_fen").sum()).item()
    console.print(
        f"{words['claims']} {settlement.height:,} · {words['fund_paid']} {yuan(paid or 0)} · "
        f"{words['findings']} {findings.height:,} · {words['due']} {yuan(int(by_family['due'].sum()))}"
    )
    table = Table(show_footer=True)
    totals = by_family.select(pl.exclude("family").sum())
    table.add_column(words["family"], footer=words["total"])
    for name in ("violations", "suspicions"):
        table.add_column(words[name], justify="right", footer=f"{totals[name][0] or 0:,}")
    for name in ("fund", "due"):
        table.add_column(words[name], justify="right", footer=yuan(int(totals[name][0] or 0)))
    for row in by_family.iter_rows(named=True):
        table.add_row(row["family"], f"{row['violations']:,}", f"{row['suspicions']:,}", yuan(row["fund"]), yuan(row["due"]))
    console.print(table)
    console.print(f"{words['report_at']}: {out / 'report.html'}")
    console.print(f"[dim]{words['leads']}[/dim]")


def checks(frame: pl.DataFrame, inputs: list[dict], words: Words, console: Console) -> None:
    """The verdicts and, per file, rows in = accepted + rejected + blank."""
    table = Table()
    for name in ("check", "verdict", "value"):
        table.add_column(words[name])
    colours = {"pass": "green", "fail": "red", "not_checkable": "dim"}
    for row in frame.iter_rows(named=True):
        verdict = f"[{colours[row['verdict']]}]{words[row['verdict']]}[/]"
        table.add_row(f"{row['check_id']} {escaped(row['title'])}", verdict, escaped(row["value"] or row["detail"] or ""))
    console.print(table)
    files = Table()
    for name in ("file", "rows_in", "accepted", "rejected", "blank"):
        files.add_column(words[name], justify="left" if name == "file" else "right")
    for i in inputs:
        files.add_row(escaped(i["path"]), *(f"{i[n]:,}" for n in ("rows_in", "accepted", "rejected", "blank")))
    console.print(files)
