"""The report room: turns the tables of a finished run into what people read, not knowing how they were made."""

from collections.abc import Mapping
from pathlib import Path

from engine.report import html, workbooks
from engine.report.figures import Run
from engine.report.rules import RuleInfo

__all__ = ["RuleInfo", "write_report"]


def write_report(out: Path, rules: Mapping[str, RuleInfo]) -> list[Path]:
    """Write report.html, summary.xlsx and workbooks/<institution>.xlsx into the finished run directory `out`.

    Returns their paths. The same tables, manifest and rules give the same bytes; each file appears whole or not at all.
    """
    run = Run(Path(out), rules)
    page = run.out / "report.html"
    part = page.with_name(f".{page.name}.part")
    part.write_bytes(html.page(run))
    part.replace(page)
    return [page, *workbooks.write_workbooks(run)]
