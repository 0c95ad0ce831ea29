"""The page in a real browser: it renders without complaint, its filter and sorting work, foreign script does not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_run import RULES, fake_run

from engine.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
    "--window-size=1280,1600",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    out = fake_run(tmp_path_factory.mktemp("browser") / "out", hostile=True)
    write_report(out, RULES)
    return out / "report.html"


def opened(page: Path, fragment: str = "") -> tuple[str, list[str]]:
    """The document after its script ran, and what the console said."""
    url = page.as_uri() + (f"#{fragment}" if fragment else "")
    with_profile = [*FLAGS, f"--user-data-dir={page.parent / 'profile'}"]
    done = subprocess.run([CHROMIUM, *with_profile, "--dump-dom", url], capture_output=True, timeout=60)
    return done.stdout.decode(), [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]


def findings(document: str) -> list[tuple[bool, str]]:
    """Of each finding on the page: whether it is hidden, and its text."""
    parts = re.findall(r'<article class="finding[^>]*?( hidden="")?>(.*?)</article>', document, re.S)
    return [(bool(hidden), re.sub(r"<[^>]+>", " ", text)) for hidden, text in parts]


def test_the_page_renders_without_a_word_on_the_console(page):
    document, console = opened(page)
    assert console == []
    shown = findings(document)
    assert shown and not any(hidden for hidden, _ in shown)
    assert f"共 {len(shown)}</output>" in document


def test_the_filter_shows_exactly_the_findings_that_hold_every_word(page):
    document, console = opened(page, "find=H33010000002%20骨科")
    assert console == []
    for hidden, text in findings(document):
        assert hidden != ("H33010000002" in text and "骨科" in text)
    assert {hidden for hidden, _ in findings(document)} == {True, False}


def test_a_click_on_a_column_head_sorts_by_the_exact_amount(page, tmp_path):
    text = page.read_text("utf-8")
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", text)
    click = '<script>document.querySelectorAll(".wide th.num")[3].click()</script>'
    (tmp_path / "report.html").write_text(text.replace("</body>", f"{click}</body>"), "utf-8")
    document, _ = opened(tmp_path / "report.html")
    table = re.search(r'<section class="top wide">.*?</table>', document, re.S)[0]
    assert 'aria-sort="descending"' in table
    amounts = [int(re.findall(r'data-value="(-?\d+)"', row)[3]) for row in table.split("<tr>")[2:]]
    assert len(amounts) > 2 and amounts == sorted(amounts, reverse=True)


def test_script_that_is_not_ours_does_not_run(page, tmp_path):
    text = page.read_text("utf-8").replace("</body>", "<script>document.title = 'taken'</script></body>")
    (tmp_path / "report.html").write_text(text, "utf-8")
    document, console = opened(tmp_path / "report.html")
    assert "<title>taken" not in document
    assert console


def test_a_link_to_a_rule_unfolds_it(page):
    rule = "per-treatment-dialysis-billed-hourly"
    document, _ = opened(page, f"r-{rule}")
    assert re.search(rf'<details class="rule" id="r-{rule}"[^>]*\bopen=', document)
