"""A run from end to end: read, check, cut into buckets, group, settle and audit each, trace, recover, report.

Every bucket's results are written and marked done before the next begins, so a killed run goes on where it stopped.
The outputs are made in a work folder inside OUT and moved into place when all of them exist; `_SUCCESS` comes last.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.audit import CODE_SCOPES, INSTITUTION_SCOPES, UNJUDGED
from engine.audit.findings import EVIDENCE, FINDINGS, supersede
from engine.audit.recovery import recover
from engine.audit.waiving import waived
from engine.grouping.care import FOUND, check_rows
from engine.language.rule import LoadedRule
from engine.reference.knowledge import Knowledge
from engine.report import write_report
from engine.run import buckets, manifest, payable, stages
from engine.run.codecontext import code_networks, with_context
from engine.run.codeindex import all_months, month_of, months_before, open_index
from engine.run.codeparts import MEMORY, trace_parts
from engine.run.comparing import with_region_peers
from engine.run.finishing import ACCUSED, fresh, pieces, write_tables
from engine.run.lock import LOCK, only_run
from engine.run.masking import read_key
from engine.run.region import Region
from engine.run.retold import without_retold
from engine.run.rulebook import rule_infos
from engine.settlement.ledgers import region_books, summed
from engine.settlement.provider import by_item_counts, by_month, paid_cases
from engine.tables.checks import checks as run_checks
from engine.tables.dictionary import table, with_fields
from engine.tables.outputs import conform, outputs
from engine.tables.problems import InputProblem, UsageProblem
from engine.tables.read import Extract, read
from engine.tracing.networks import TIES

BY_CLAIM = ("grouping", "settlement")
AUDITED = ("findings", "evidence", "not_evaluated")
# Of a bucket, richer than what is written in the end.
COLLECTED = {"findings": FINDINGS, "evidence": EVIDENCE, "coding": FOUND, "ties": TIES}
Progress = Callable[[str, int, int], None]


@dataclass
class Options:
    """How to run, beside the region: whether names stay, whether to go on, how many lines a bucket may hold, how many
    bytes the trace codes may take, and the index of earlier months of these."""

    profile: str = "auto"
    reveal: bool = False
    resume: bool = False
    lines_a_bucket: int = buckets.LINES_A_BUCKET
    report: bool = True
    memory: int = MEMORY
    index: Path | None = None


def quiet(stage: str, done: int, total: int) -> None:
    """No progress shown."""


STAGES = ("group", "settle", "audit", "trace")


def run(
    source: Path,
    out: Path,
    region: Region,
    options: Options | None = None,
    progress: Progress = quiet,
    parts: tuple[str, ...] = STAGES,
) -> dict:
    """Run the named stages, all by default; returns the manifest. Raises Problem with the exit code to answer with."""
    options = options or Options()
    with only_run(Path(out)), only_run(options.index) if options.index else nullcontext():
        return _run(Path(source), Path(out), region, options, progress, parts)


def _run(source: Path, out: Path, region: Region, options: Options, progress: Progress, parts: tuple[str, ...]) -> dict:
    work = prepare(out, options.resume)
    extract = read_once(source, work, region, options, progress)
    earlier = []
    if options.index:
        month = month_of(options.index, extract.inputs)
        earlier, extract = months_before(month), without_retold(extract, open_index(month))
    identity = manifest.identity([*extract.inputs, *earlier], region, options, parts)
    if manifest.finished(out, identity):
        shutil.rmtree(work)
        return json.loads((out / "manifest.json").read_text("utf-8"))
    region = region.dated(last_day(extract))
    results = work / "results"
    _same_run(work, f"{identity} {options.lines_a_bucket}")
    tables = {"checks": run_checks(extract), "rejects": extract.rejects}
    if "claims" in extract.tables and set(parts) != {"trace"}:
        _buckets(extract, region, options, work, results, parts, progress)
        if "audit" in parts:
            _institutions(extract, region, options, results, progress)
    tables |= code_networks(pl.DataFrame(schema=TIES), None)
    if "trace" in parts:
        tables |= _codes(extract, region, options, results, progress)
    if options.index:
        extract.tables |= all_months(options.index)
    tables["ledgers"] = _collected(results, "ledgers")
    found = _scanned(results, "findings").drop("values").collect()
    accused = _scanned(results, "evidence").filter(pl.col("role") == "excess").select(ACCUSED).collect()
    found = supersede(found, accused, _of_codes(region))
    tables["scan_coverage"] = _added(_collected(results, "scan_coverage"), "fixmedins_code", "month", "duty")
    if "group" in parts:
        rows = check_rows(_collected(results, "coding"), region.scheme.book)
        tables["checks"] = pl.concat([tables["checks"], rows])
    tables["not_evaluated"] = _summed(_collected(results, "not_evaluated"))
    tables["findings"], uses = waived(found, accused, region.rules, region.waivers, last_day(extract))
    tables |= money(extract, region, tables, accused, {name: _scanned(results, name) for name in BY_CLAIM})
    final = fresh(work / "final")
    write_tables(final, work, tables, uses, region.rules, None if options.reveal else read_key())
    record = manifest.describe(final, extract, region, options, identity, uses)
    manifest.write(final, record)
    if options.report:
        progress("报告 report", 0, 1)
        write_report(final, rule_infos(region))
        progress("报告 report", 1, 1)
    _publish(final, out)
    shutil.rmtree(work)
    return record


def prepare(out: Path, resume: bool) -> Path:
    """The work folder inside OUT. Refuses a folder that holds something else."""
    strange = [p.name for p in out.iterdir() if p.name not in (".work", LOCK)]
    if strange and not (out / "manifest.json").exists():
        raise UsageProblem(f"输出目录不为空 OUT is not empty: {out}", hint="请换一个新目录 choose a new folder")
    work = out / ".work"
    if work.exists() and not resume:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    return work


def read_once(source: Path, work: Path, region: Region, options: Options, progress: Progress) -> Extract:
    if not Path(source).exists():
        raise UsageProblem(f"没有这个目录或文件 no such file or folder: {source}")
    progress("读取 read", 0, 1)
    folder = work / "read"
    if folder.exists():
        shutil.rmtree(folder)
    extract = read(Path(source), folder, options.profile, region.knowledge["wordings"])
    if "claims" in extract.tables:
        extract.tables["claims"] = stages.placed(extract.tables["claims"])
    progress("读取 read", 1, 1)
    return extract


def last_day(extract: Extract):
    """The last day of settlement; None without claims."""
    if "claims" not in extract.tables:
        return None
    return extract.tables["claims"].select(pl.col("setl_time").max().dt.date()).collect().item()


def _same_run(work: Path, identity: str) -> None:
    """Results of another run (other inputs, rules, parameters, stages or buckets) are never gone on with."""
    mark, parts = work / "identity", work / "results"
    if parts.exists() and (not mark.exists() or mark.read_text() != identity):
        shutil.rmtree(parts)
    parts.mkdir(exist_ok=True)
    mark.write_text(identity)


def _buckets(extract: Extract, region: Region, options: Options, work: Path, results: Path, parts: tuple[str, ...],
             progress: Progress) -> None:  # fmt: skip
    cut = work / "buckets"
    if cut.exists():
        shutil.rmtree(cut)
    count = buckets.split(extract.tables, cut, options.lines_a_bucket)
    registers = buckets.registers(extract.tables)
    for number in range(count):
        progress("分组、结算、审核 group, settle, audit", number, count)
        if not (results / f"person-{number:05}.done").exists():
            made = stages.person_bucket({**registers, **buckets.bucket_tables(cut, number)}, region, parts)
            _write(results, f"person-{number:05}", made)
    progress("分组、结算、审核 group, settle, audit", count, count)


def _institutions(extract: Extract, region: Region, options: Options, results: Path, progress: Progress) -> None:
    """Rules over what lies in one institution: its claims, and only the lines and columns those rules read."""
    rules = [r for r in region.rules if r.rule.scope in INSTITUTION_SCOPES]
    if not rules:
        return
    groups = buckets.institution_buckets(extract.tables, region, rules, options.lines_a_bucket)
    groups = with_region_peers(groups, extract.tables, region, options.lines_a_bucket)
    for number, tables in enumerate(groups):
        progress("机构 institutions", number, len(groups))
        if not (results / f"institution-{number:05}.done").exists():
            made = dict(zip(AUDITED, stages.audited(tables(), region, INSTITUTION_SCOPES), strict=True))
            _write(results, f"institution-{number:05}", made)
    progress("机构 institutions", len(groups), len(groups))


def _codes(
    extract: Extract, region: Region, options: Options, results: Path, progress: Progress
) -> dict[str, pl.DataFrame]:
    """The code split: everything that is judged over the life of trace codes, part by part, and the networks."""
    if not (results / "codes.done").exists():
        progress("追溯码 trace codes", 0, 1)
        month = month_of(options.index, extract.inputs) if options.index else None
        told = trace_parts(extract.tables, region, options.memory, results.parent, month)
        for number, made in enumerate(with_context(told)):
            _write(results, f"codes-{number:05}", made)
            progress("追溯码 trace codes", number, number + 1)
        (results / "codes.done").touch()
    progress("追溯码 trace codes", 1, 1)
    institutions = extract.tables.get("institutions")
    return code_networks(_collected(results, "ties"), None if institutions is None else institutions.collect())


def _of_codes(region: Region) -> list[LoadedRule]:
    """Rules over trace codes, whose findings come part by part: what one supersedes may stand in another part."""
    return [r for r in region.rules if r.rule.scope in CODE_SCOPES]


def _write(results: Path, name: str, made: dict[str, pl.DataFrame]) -> None:
    for of, frame in made.items():
        frame.write_parquet(results / f"{of}.{name}.parquet", compression="lz4")
    (results / f"{name}.done").touch()


def _collected(results: Path, name: str) -> pl.DataFrame:
    files = pieces(results, name)
    if not files:
        return _scanned(results, name).collect()
    return pl.concat([pl.read_parquet(f) for f in files], how="vertical_relaxed")


def _scanned(results: Path, name: str) -> pl.LazyFrame:
    """What all buckets gave of a table, which may be too much to be held whole."""
    files = pieces(results, name)
    return pl.scan_parquet(files) if files else pl.LazyFrame(schema=COLLECTED.get(name) or outputs()[name])


def _summed(unjudged: pl.DataFrame) -> pl.DataFrame:
    return _added(unjudged.cast(UNJUDGED), "rule_id", "reason", "detail")


def _added(parts: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """What the buckets say of one thing, added up."""
    return parts.group_by(keys).agg(pl.exclude(keys).sum())


def money(extract: Extract, region: Region, tables: dict[str, pl.DataFrame], accused: pl.DataFrame,
          by_claim: dict[str, pl.LazyFrame]) -> dict[str, pl.DataFrame]:  # fmt: skip
    """provider_payment, recovery and ledgers, from the claims, their settlement and the findings; and checks, with what
    could not be paid by the method of the policy.
    """
    made = {"provider_payment": pl.DataFrame(schema=outputs()["provider_payment"]), "checks": tables["checks"]}
    books, columns = [tables["ledgers"]], ["setl_id", "fixmedins_code", "fund_pay_sumamt"]
    claims = extract.tables.get("claims", pl.LazyFrame(schema={c: table("claims").schema[c] for c in columns}))
    told = accused.lazy().select("setl_id").unique()
    claims = with_fields(claims, "claims", *columns).select(columns).join(told, on="setl_id", how="semi").collect()
    ours = by_claim["settlement"].select("setl_id", "fund_pay_sumamt_fen").collect()
    if ours.height:
        given = payable.given(extract.tables, region, by_claim["settlement"], by_claim["grouping"])
        by_case = paid_cases(*given)
        made["provider_payment"] = by_month(by_case, region.policy, given.told)
        made["checks"] = pl.concat([made["checks"], payable.fallback_checks(by_item_counts(by_case))])
        year = pl.col("setl_time").dt.year()
        by_year = given.claims.select("setl_id", year=year).join(given.settlement, on="setl_id").group_by("year")
        by_year = by_year.agg(pl.col("hifmi_pay_fen").sum())
        books += region_books(
            by_case, made["provider_payment"], by_year, region.policy, extract.tables, region.knowledge
        )
    fund = pl.coalesce("fund_pay_sumamt", "fund_pay_sumamt_fen", 0).alias("fund_pay_sumamt_fen")
    paid = claims.join(ours, on="setl_id", how="left").select("setl_id", "fixmedins_code", fund)
    return {**made, "recovery": recover(tables["findings"], accused, paid), "ledgers": summed(books)}


def _publish(final: Path, out: Path) -> None:
    """Move the outputs into place; those of an earlier run go, `_SUCCESS` first, so that no mixture stands as done."""
    for stale in (out / "_SUCCESS", out / "report.html", out / "summary.xlsx", *(out / "workbooks").glob("*.xlsx")):
        stale.unlink(missing_ok=True)
    for path in sorted(final.rglob("*")):
        target = out / path.relative_to(final)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            path.replace(target)
    (out / "_SUCCESS").touch()


def check(source: Path, work: Path, knowledge: Knowledge, profile: str = "auto") -> tuple[pl.DataFrame, Extract]:
    """Read a bundle and answer its checks alone."""
    extract = read(Path(source), work, profile, knowledge["wordings"])
    if not extract.inputs:
        raise InputProblem(f"没有可读的文件 nothing to read in {source}")
    return conform(run_checks(extract), "checks"), extract
