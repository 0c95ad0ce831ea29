"""What tests share: a small synthetic bundle, one finished run of it, and the material beside the repository."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# A machine that is busy with something else fails no test: speed lives in benchmarks.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
ABSENT = "is not here"  # the words every skip for want of ../shared ends in
CLAIMS, SEED = 300, 7


# The files that take longest, longest first: begun first, none is left for one core at the end.
LONGEST = [
    "test_check_claim", "test_rule_corpus", "test_run", "test_explain", "test_sieve", "test_command_line",
    "test_impact", "test_dip", "test_mutated_hospital", "test_why_not", "test_tracing", "test_authors",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    rank = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def own_key_and_cache(tmp_path_factory):
    """Runs of the suite never touch the key or the cache of the user who starts it."""
    os.environ["YIBAO_KEY_FILE"] = str(tmp_path_factory.mktemp("key") / "pseudonym.key")
    os.environ["YIBAO_CACHE"] = str(tmp_path_factory.mktemp("cache") / "yibao")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A canonical synthetic bundle of about 300 claims with planted cases; read only."""
    from synthetic.make import make

    folder = tmp_path_factory.mktemp("bundle") / "claims"
    make(folder, CLAIMS, SEED)
    return folder


@pytest.fixture(scope="session")
def region():
    """The default region: rules, policy, scheme and knowledge of the repository."""
    from engine.run.region import load_region

    return load_region()


@pytest.fixture(scope="session")
def finished(bundle, region, tmp_path_factory) -> Path:
    """OUT of one undisturbed run of the bundle; read only."""
    from engine.run import pipeline

    out = tmp_path_factory.mktemp("finished") / "out"
    pipeline.run(bundle, out, region)
    return out


@pytest.fixture(scope="session")
def yibao():
    """The console script as a user starts it: yibao("run", IN, "--out", OUT, env={…}), its exit code and its texts."""

    def start(*arguments, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        script = "import sys; from synthetic.cli import main; sys.argv[0] = 'yibao'; main()"
        settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **(env or {})}
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, env=settings, capture_output=True, encoding="utf-8", timeout=300)

    return start


def shared(*parts: str) -> Path:
    """A path below ../shared; the test is skipped where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"../shared/{'/'.join(parts)} {ABSENT}")
    return path


def pytest_terminal_summary(terminalreporter):
    """How many tests could not run for want of ../shared."""
    skipped = terminalreporter.stats.get("skipped", [])
    wanting = sum("shared" in str(report.longrepr) for report in skipped)
    terminalreporter.write_line(f"{wanting} tests skipped for want of ../shared")


@dataclass
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    """run("check", IN, …): the command in this process, through the same door as the console script."""
    from engine.cli.app import app, call

    def start(*arguments) -> Said:
        capsys.readouterr()
        code = call(app, [str(a) for a in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)

    return start
