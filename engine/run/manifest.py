"""manifest.json: what was read, by which rules and parameters, what came out, and a chain of hashes over it all.

Nothing in it depends on the clock, the machine or the place of the folders: the same inputs give the same bytes.
"""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

from engine.run.codeindex import Month, months_before
from engine.run.region import Region
from engine.tables.outputs import outputs


def identity(inputs: list[dict], region: Region, options, parts: tuple[str, ...] = ()) -> str:
    """The name of a run: a hash of everything that decides its result; `parts` are the stages that run."""
    facts = {
        "parts": sorted(parts),
        "inputs": sorted((i["path"], i["sha256"]) for i in inputs),
        "rules": {r.rule.id: r.version for r in region.rules},
        "waivers": [(w.file, _digest(w.text)) for w in region.waivers],
        "params": region.params, "knowledge": sorted(digest for _, digest in region.knowledge.files),
        "policy": region.policy.name, "policy_sha256": _digest(repr(region.policy)),
        "scheme": region.scheme.name, "scheme_sha256": region.scheme_sha256,
        "version": version_text(), "reveal": options.reveal, "profile": options.profile,
    }  # fmt: skip
    return _digest(json.dumps(facts, sort_keys=True, ensure_ascii=False))


def describe(folder: Path, extract, region: Region, options, run_id: str, waivers: list[dict]) -> dict:
    """The manifest of the outputs that lie in `folder`; `waivers` are those of the region with their use."""
    rows = {name: pl.scan_parquet(folder / f"{name}.parquet").select(pl.len()).collect().item() for name in outputs()}
    return {
        "run_id": run_id[:16],
        "version": version_text(),
        "profile": extract.profile,
        "period": _period(extract),
        "names": _names(folder, extract),
        "revealed": options.reveal,
        "inputs": [_plain(i) for i in extract.inputs],
        "warnings": extract.warnings.group_by("file", "code").len().sort("file", "code").to_dicts(),
        "rules": {r.rule.id: {"version": r.version, "status": r.rule.status} for r in region.rules},
        "waivers": waivers,
        "parameters": region.params,
        "knowledge": [{"file": Path(p).name, "sha256": d} for p, d in region.knowledge.files],
        "policy": region.policy.name,
        "scheme": region.scheme.name,
        "scheme_sha256": region.scheme_sha256,
        "rows": rows,
        **({"index": [month["sha256"] for month in months_before(Month(options.index, ""))]} if options.index else {}),
        "control_totals": _controls(folder),
    }


def write(folder: Path, record: dict) -> None:
    """Add the hash of every table, chained from what the manifest says itself, and write the file."""
    record["files"], chain = {}, _start(record)
    for path in sorted(folder.glob("*.parquet")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        chain = _digest(chain + digest)
        record["files"][path.name] = {"sha256": digest, "chain": chain}
    record["root"] = chain
    (folder / "manifest.json").write_text(json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True), "utf-8")


def finished(out: Path, run_id: str) -> bool:
    """Is OUT already the result of exactly this run?"""
    if not (out / "_SUCCESS").exists() or verify(out):
        return False
    record = json.loads((out / "manifest.json").read_text("utf-8"))
    return record["run_id"] == run_id[:16] and set(outputs()) <= {Path(name).stem for name in record["files"]}


def verify(out: Path) -> list[str]:
    """What does not fit the manifest, one line a file; empty when all is whole."""
    try:
        record = json.loads((out / "manifest.json").read_text("utf-8"))
        files, root = dict(record["files"]), record["root"]
    except (ValueError, KeyError, TypeError):
        return ["manifest.json: 无法读取 damaged"]
    chain, wrong = _start(record), [] if (out / "_SUCCESS").exists() else ["_SUCCESS: 缺失 missing"]
    for name, said in sorted(files.items()):
        path = out / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        chain = _digest(chain + digest)
        if digest != said["sha256"]:
            wrong.append(f"{name}: {'缺失 missing' if digest == 'missing' else '内容已变 changed'}")
    if not wrong and chain != root:
        wrong.append("manifest.json: 内容已变 changed")
    return wrong


def _start(record: dict) -> str:
    """What the chain of hashes begins with: the manifest without the chain itself."""
    said = {name: value for name, value in record.items() if name not in ("files", "root")}
    return _digest(json.dumps(said, ensure_ascii=False, sort_keys=True))


def _period(extract) -> dict | None:
    """The first and last day of settlement, or of a trace event."""
    for table, column in (("claims", "setl_time"), ("trace_codes", "event_time")):
        if table in extract.tables:
            day = pl.col(column).cast(pl.Date)
            span = extract.tables[table].select(first=day.min(), last=day.max())
            first, last = span.collect().row(0)
            return {"from": str(first), "to": str(last)} if first else None
    return None


def _names(folder: Path, extract) -> dict[str, str]:
    """Names of the institutions and items that findings mention, as the extract writes them."""
    findings = pl.read_parquet(folder / "findings.parquet", columns=["fixmedins_code", "med_list_codg"])
    sources = (("institutions", "fixmedins_code", ["fixmedins_name"]),
               ("fee_lines", "med_list_codg", ["med_list_name", "medins_list_name"]))  # fmt: skip
    names = {}
    for table, code, columns in sources:
        if table not in extract.tables:
            continue
        have = [c for c in columns if c in extract.tables[table].collect_schema().names()]
        if not have:
            continue
        wanted = findings[code].drop_nulls().unique().implode()
        named = extract.tables[table].filter(pl.col(code).is_in(wanted)).select(code, name=pl.coalesce(have))
        named = named.drop_nulls().group_by(code).agg(pl.col("name").min()).sort(code).collect()
        names |= dict(named.iter_rows())
    return names


def _controls(folder: Path) -> dict:
    amounts = ("medfee_sumamt_fen", "fund_pay_sumamt_fen")
    settlement = pl.scan_parquet(folder / "settlement.parquet").select(
        pl.col(*amounts, *(f"reported_{name}" for name in amounts)).sum()
    )
    findings = pl.scan_parquet(folder / "findings.parquet").select(pl.col("gross_fen", "inscope_fen", "fund_fen").sum())
    recovery = pl.scan_parquet(folder / "recovery.parquet").filter(pl.col("finding_id").is_not_null())
    return {
        **settlement.collect().to_dicts()[0],
        **{f"findings_{k}": v for k, v in findings.collect().to_dicts()[0].items()},
        "due_fen": recovery.select(pl.col("due_fen").sum()).collect().item(),
    }


def _plain(value):
    return json.loads(json.dumps(value, default=str))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def version_text() -> str:
    """The version of the installed package."""
    try:
        return version("yibao")
    except PackageNotFoundError:
        return "0+checkout"
