"""The command line: `yibao …`. Each command is a thin layer over the rooms; mistakes end in one clear message."""

import json
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from engine.cli import show
from engine.cli.words import LANGUAGES, Words
from engine.reference.knowledge import load_knowledge
from engine.run import pipeline
from engine.run.manifest import verify as verify_manifest
from engine.run.private import note_run
from engine.run.region import DEFAULT_POLICY, DEFAULT_SCHEME, Region, load_region
from engine.run.rulebook import rule_infos
from engine.run.singles import run_stage
from engine.tables.problems import InvariantBroken, Problem, UsageProblem

app = typer.Typer(
    name="yibao",
    help="医保基金结算与违规规则引擎 · claims settlement and fraud rules for China's basic medical insurance",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)
plain = Console(highlight=False)
state = {"words": Words("zh")}
Misuse = typer.BadParameter.__bases__[0]  # what typer raises for any wrong command line, under no name of its own


def existing(path: Path) -> Path:
    if not path.exists():
        raise UsageProblem(f"没有这个目录或文件 no such file or folder: {path}")
    return path


def no_folder(path: Path) -> Path:
    if path.is_dir():
        raise UsageProblem(f"是目录，应为文件 a folder, not a file: {path}", hint=str(path / "out.parquet"))
    return path


_SOURCE = "数据目录、zip 或文件 · folder, zip or file of the extract"
Source = Annotated[Path, typer.Argument(metavar="IN", callback=existing, help=_SOURCE)]
Input = Annotated[
    Path | None, typer.Option("--in", callback=lambda p: p and existing(p), help="该次运行的数据 · its input")
]
Out = Annotated[Path, typer.Option("--out", help="输出目录 · folder of the outputs")]
OutFile = Annotated[Path, typer.Option("--out", callback=no_folder, help="输出文件 · Parquet file to write")]
Profile = Annotated[str, typer.Option(help="输入格式：auto、名称或文件 · profile: auto, a name or a file")]
PolicyName = Annotated[str, typer.Option("--policy", help="结算政策：名称或文件 · policy: a name or a file")]
SchemeName = Annotated[str, typer.Option("--scheme", help="分组方案：名称或目录 · scheme: a name or a folder")]
Rules = Annotated[Path | None, typer.Option("--rules", help="规则目录 · folder of rules")]
Params = Annotated[Path | None, typer.Option(help="本地规则参数 · a region's parameters of rules")]
Knowledge = Annotated[list[Path] | None, typer.Option(help="本地知识表目录，可重复 · a region's tables, repeatable")]
Memory = Annotated[str | None, typer.Option(help="内存上限，如 4GB · memory to stay under")]
Index = Annotated[
    Path | None, typer.Option(help="以前各月的索引目录，本次是其后一个月 · index of earlier months, this is the next")
]
Resume = Annotated[bool, typer.Option("--resume", help="从中断处继续 · go on with a killed run")]
Reveal = Annotated[bool, typer.Option("--reveal", help="不化名，记入清单 · keep names, recorded")]
Json = Annotated[bool, typer.Option("--json", help="输出 JSON · answer as JSON")]


@app.callback()
def common(lang: Annotated[str | None, typer.Option(help="zh 或 en，默认按系统 · zh or en, default by locale")] = None):
    if lang and lang not in LANGUAGES:
        raise UsageProblem(f"--lang {lang!r}", allowed=", ".join(LANGUAGES))
    state["words"] = Words(lang)


@app.command("run")
def run_command(
    source: Source,
    out: Out,
    profile: Profile = "auto",
    policy: PolicyName = DEFAULT_POLICY,
    scheme: SchemeName = DEFAULT_SCHEME,
    rules: Rules = None,
    params: Params = None,
    knowledge: Knowledge = None,
    memory: Memory = None,
    resume: Resume = False,
    reveal: Reveal = False,
    fail_on: Annotated[str | None, typer.Option(help="violation 或 suspicion：有则退出码 1 · exit 1 if any")] = None,
):
    """结算、审核、追回、报告，一次完成 · the whole job: settle, audit, recover, report."""
    if fail_on not in (None, "violation", "suspicion"):
        raise UsageProblem(f"--fail-on {fail_on!r}", allowed="violation, suspicion")
    options = pipeline.Options(profile, reveal, resume, **bounds(memory))
    region = load_region(policy, scheme, rules, params, knowledge or [])
    with show.progress() as progress:
        record = pipeline.run(source, out, region, options, progress)
    own = Path(policy) if Path(policy).is_file() else policy
    groups = Path(scheme) if Path(scheme).is_dir() else scheme
    note_run(record["run_id"], source, profile=profile, policy=own, scheme=groups, rules=rules, params=params,
             knowledge=knowledge)  # fmt: skip
    show.summary(out, rule_infos(region), state["words"], plain)
    findings = pl.read_parquet(out / "findings.parquet", columns=["result"])["result"]
    if fail_on and (findings.is_in(["violation", fail_on]).any()):
        raise typer.Exit(1)


def bytes_of(memory: str | None) -> int | None:
    """How many bytes `--memory` says; None where it is not given."""
    if memory is None:
        return None
    said = re.fullmatch(r"(\d+)\s*(MB?|GB?)", memory.strip().upper(), re.ASCII)
    if not said:
        raise UsageProblem(f"--memory {memory!r}", allowed="512MB, 4GB …")
    return int(said[1]) * (2**30 if said[2].startswith("G") else 2**20)


def bounds(memory: str | None) -> dict[str, int]:
    """Options of the run that stay under the memory; a line takes about 6 kB at the peak of a bucket of persons."""
    size = bytes_of(memory)
    return {} if size is None else {"lines_a_bucket": max(20_000, size // 6_000), "memory": size}


@app.command("check")
def check_command(source: Source, profile: Profile = "auto", knowledge: Knowledge = None, as_json: Json = False):
    """十二项数据校验：这份数据可信吗 · the official extract checks: can this extract be trusted?"""
    known = load_knowledge(knowledge or [])
    with tempfile.TemporaryDirectory() as work:
        checks, extract = pipeline.check(source, Path(work), known, profile)
        if as_json:
            answer = {"inputs": extract.inputs, "checks": checks.to_dicts(), "rejects": extract.rejects.height}
            print(json.dumps(answer, ensure_ascii=False, default=str))
        else:
            show.checks(checks, extract.inputs, state["words"], plain)


def _stage(name: str, help_: str, target):
    @app.command(name, help=help_)
    def command(
        source: Source,
        out: target,
        profile: Profile = "auto",
        policy: PolicyName = DEFAULT_POLICY,
        scheme: SchemeName = DEFAULT_SCHEME,
        rules: Rules = None,
        params: Params = None,
        knowledge: Knowledge = None,
    ):
        region = load_region(policy, scheme, rules, params, knowledge or [], judging=name == "audit")
        with show.progress() as progress:
            said = run_stage(name, source, out, region, profile, progress)
        print(said)

    return command


for _stage_of in (
    ("group", "只分组：结算单、诊断、手术 · group stays alone", OutFile),
    ("settle", "只结算 · settle claims alone", OutFile),
    ("audit", "只审核 · audit alone", Out),
):
    _stage(*_stage_of)


@app.command("trace")
def trace_command(
    source: Source,
    out: Out,
    profile: Profile = "auto",
    rules: Rules = None,
    params: Params = None,
    knowledge: Knowledge = None,
    memory: Memory = None,
    index: Index = None,
    resume: Resume = False,
    reveal: Reveal = False,
):
    """只查追溯码；可按月累加 · trace codes alone; month by month with --index."""
    options = pipeline.Options(profile, reveal, resume, report=False, index=index, **bounds(memory))
    region = load_region(rules=rules, params=params, knowledge=knowledge or [])
    with show.progress() as progress:
        record = pipeline.run(source, out, region, options, progress, parts=("trace",))
    print(f"{record['rows']['findings']:,} 疑点 findings: {out}")


@app.command("report")
def report_command(
    out: Annotated[Path, typer.Argument(metavar="OUT")], rules: Rules = None, knowledge: Knowledge = None
):
    """由已有结果重做报告 · make the report again from the outputs."""
    from engine.report import write_report

    need_outputs(out)
    for path in write_report(out, rule_infos(load_region(rules=rules, knowledge=knowledge or []))):
        print(path)


@app.command("verify")
def verify_command(out: Annotated[Path, typer.Argument(metavar="OUT")]):
    """核对输出与清单的哈希 · do the outputs match their manifest?"""
    need_outputs(out)
    if wrong := verify_manifest(out):
        raise InvariantBroken("\n  ".join(wrong), str(out))
    print(state["words"]["whole"])


def need_outputs(out: Path) -> Path:
    if not (out / "manifest.json").exists():
        raise UsageProblem(f"不是一次运行的输出目录 not the folder of a run: {out}")
    return out


def noted_place(noted: dict) -> Path:
    """Where the input of a run lay. Raises UsageProblem where that is not known, or nothing lies there any more."""
    if not noted:
        raise UsageProblem("不知道该次运行的数据在哪里 where its input lies is not known", hint="--in IN")
    if not Path(noted["source"]).exists():
        raise UsageProblem(f"该次运行的数据已不在原处 its input is gone: {noted['source']}", hint="--in IN")
    return Path(noted["source"])


def region_of(rules: Path | None, params: Path | None, knowledge: list[Path] | None) -> Region:
    return load_region(rules=rules, params=params, knowledge=knowledge or [])


def call(application: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run the command line; every mistake of a user becomes one message and an exit code of the contract."""
    code = _called(application, arguments)
    if code == 130:
        errors.print(state["words"]["interrupted"])
    return code


def _called(application: typer.Typer, arguments: list[str] | None) -> int:
    try:
        result = application(args=arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except Problem as problem:
        errors.print(f"[red]✗[/red] {show.escaped(str(problem))}")
        return problem.exit_code
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Misuse as mistake:
        mistake.show(sys.stderr)
        return 2
    except (OSError, MemoryError, pl.exceptions.PolarsError) as failure:
        errors.print(f"[red]✗[/red] {show.escaped(str(failure) or type(failure).__name__)}")
        return 6
    except Exception as fault:  # ours, not the user's: one line that says where, for whoever mends it
        place = traceback.extract_tb(fault.__traceback__)[-1]
        said = f"{type(fault).__name__}: {fault} ({Path(place.filename).name}:{place.lineno})"
        errors.print(f"[red]✗[/red] {state['words']['fault']}: {show.escaped(said)}")
        return 5
