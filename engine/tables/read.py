"""Reading an extract: files to text to typed canonical tables, with everything set aside accounted for.

`read` finds the files, picks the profile and reads every file in bounded chunks into Parquet parts.
For every file rows_in = accepted + rejected + blank, always.
"""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import polars as pl

from engine.tables import assemble, columnar, reasons, records
from engine.tables.extract import Extract, RawStats, count_blanks, count_claims, unmapped_words
from engine.tables.files import Source, sources
from engine.tables.mapping import shape_chunk
from engine.tables.problems import InputProblem, InvariantBroken
from engine.tables.profiles import FileMap, Profile, choose, columns
from engine.tables.shaped import Setting, Shaped


@dataclass
class Run:
    """One input file being read: `header` leads from its column names to those of the profile."""

    source: Source
    file: FileMap
    header: dict[str, str]
    shape: records.Layout | None
    number: int
    stem: str
    rows: int = 0
    accepted: int = 0
    blank: int = 0
    rejects: list[pl.DataFrame] = field(default_factory=list)
    warnings: list[pl.DataFrame] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    unmapped: list[pl.DataFrame] = field(default_factory=list)


@dataclass
class Bundle:
    """What all files of a bundle share while it is read. `claims` are those that stand, None without such a file."""

    profile: Profile
    work: Path
    words: dict[str, dict[str, str]]
    stats: RawStats
    claims: pl.DataFrame | None = None


def read(path: Path, work: Path, profile: str = "auto", wordings: pl.DataFrame | None = None) -> Extract:
    """Read the bundle at `path` (folder, zip or one file), writing Parquet parts under `work`.

    profile: `auto`, the name of a profile, or the path of a profile file. wordings: the knowledge table (field,
    wording, value) that maps local words. Raises InputProblem when a file cannot be read or no file is recognised.
    """
    path, work = Path(path), Path(work)
    for folder in ("parts", "stats", "keys", "plain", "unzipped"):
        shutil.rmtree(work / folder, ignore_errors=True)
        (work / folder).mkdir(parents=True)
    found = sources(path, work)
    layouts = {s.name: records.layout(s) for s in found if s.kind == "text"}
    headers = {s.name: layouts[s.name].names if s.name in layouts else columnar.header(s, work) for s in found}
    chosen, matched = choose(profile, headers)
    runs = _runs(found, headers, layouts, chosen, matched)
    bundle = Bundle(chosen, work, _words(wordings), RawStats(work / "stats", chosen.part_label))
    own = [r for r in runs if r.file.keyspace == "claims"]
    others = [r for r in runs if r.file.keyspace != "claims"]
    for run in own:
        _read_file(run, bundle)
    assemble.drop_duplicates(own, work)
    bundle.claims = _standing_claims(work) if own else None
    for run in others:
        _read_file(run, bundle)
    assemble.drop_duplicates(others, work)
    tables = assemble.tables(chosen, work)
    skipped = [reasons.note(s.name, None, "W_FILE_SKIPPED", "") for s in found if s.name not in matched]
    return Extract(
        tables,
        [_input(run, work) for run in runs],
        _sorted([f for r in runs for f in r.rejects]),
        _sorted([w for r in runs for w in (*r.warnings, *unmapped_words(r.unmapped, r.source.name))] + skipped),
        chosen.name,
        bundle.stats,
        assemble.coverage(tables),
    )


def _sorted(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([reasons.empty(), *frames]).sort("file", "line", "column", "code", "raw")


def _words(wordings: pl.DataFrame | None) -> dict[str, dict[str, str]]:
    """field -> wording -> value; a value is also its own wording, so that data already canonical pass."""
    result = {}
    if wordings is not None:
        for name, wording, value in wordings.select("field", "wording", "value").sort("field", "wording").iter_rows():
            result.setdefault(name, {})[wording] = value
    return {name: {v: v for v in words.values()} | words for name, words in result.items()}


def _runs(found: list[Source], headers: dict, layouts: dict, profile: Profile, matched: dict[str, str]) -> list[Run]:
    runs, stems = [], Counter(s.stem for s in found if s.name in matched)
    for number, source in enumerate(s for s in found if s.name in matched):
        file, names = profile.files[matched[source.name]], headers[source.name]
        stem = source.stem if stems[source.stem] == 1 else str(PurePosixPath(source.name).with_suffix(""))
        run = Run(source, file, columns(names, file, source.name), layouts.get(source.name), number, stem)
        unknown = [n for n in names if n not in run.header]
        absent = [c for c in file.columns if c not in run.header.values()] if not profile.same_names else []
        for kind, cols in (("多出的列，未读取", unknown), ("缺少的可选列", absent)):
            if cols:
                run.warnings.append(reasons.note(source.name, None, "W_COLUMN", f"{kind}：{'，'.join(cols[:20])}"))
        source.decisions |= {"profile": profile.name, "table": file.name}
        runs.append(run)
    return runs


def _standing_claims(work: Path) -> pl.DataFrame:
    """setl_id and insured_flag of the accepted claims."""
    scan = assemble.scan("claims", work)
    has_flag = "insured_flag" in scan.collect_schema().names()
    flag = pl.col("insured_flag") if has_flag else pl.lit(None, pl.String).alias("insured_flag")
    return scan.select("setl_id", flag).collect()


def _read_file(run: Run, bundle: Bundle) -> None:
    wanted = list(run.header)
    text = run.shape is not None
    chunks = records.chunks(run.source, run.shape, wanted) if text else columnar.chunks(run.source, wanted)
    number = -1
    for number, chunk in enumerate(chunks):
        _read_chunk(run, chunk, number, bundle)
    if number < 0:
        marks = {"_line": pl.Int64, "_extra": pl.Boolean, "_odd": pl.Boolean, "_hash": pl.UInt64}
        nothing = pl.DataFrame(schema=dict.fromkeys(wanted, pl.String) | marks)
        _read_chunk(run, records.Chunk(nothing, reasons.empty(), reasons.empty(), 0, 0), 0, bundle)
    if not run.rows:
        run.warnings.append(reasons.note(run.source.name, None, "W_NO_ROWS", ""))


def _read_chunk(run: Run, chunk: records.Chunk, number: int, bundle: Bundle) -> None:
    setting = Setting(run.file, bundle.profile, run.source.name, run.stem, bundle.words)
    raw, shaped = shape_chunk(chunk.good.rename(run.header), setting)
    raw = _with_claim(raw, run.file, bundle.claims)
    count_blanks(raw, setting, bundle.stats, shaped)
    if run.file.role:
        count_claims(shaped.tables[0][1], run.file, run.number, number, bundle.stats)
    rejects = _row_rejects(raw, shaped, run)
    _write(raw, shaped, rejects.select(_line="line"), run, number, bundle.work)
    run.rows, run.blank = run.rows + chunk.rows, run.blank + chunk.blank
    run.accepted += raw.height - rejects.height
    run.rejects += [chunk.rejects, rejects]
    run.warnings += [chunk.warnings, *shaped.warnings]
    run.counts.update(shaped.counts)
    run.unmapped += shaped.unmapped


def _with_claim(raw: pl.DataFrame, file: FileMap, claims: pl.DataFrame | None) -> pl.DataFrame:
    """Adds whether the row's claim is in the bundle (_known) and whether it is insured (_insured)."""
    if not file.claim or claims is None:
        return raw
    here = claims.join(raw.select(setl_id=file.claim).unique(), on="setl_id", how="semi")
    here = here.select(pl.col("setl_id").alias(file.claim), _insured="insured_flag", _known=pl.lit(True))
    return raw.join(here, on=file.claim, how="left", maintain_order="left")


def _row_rejects(raw: pl.DataFrame, shaped: Shaped, run: Run) -> pl.DataFrame:
    """The rows of a chunk that cannot be read, keyed or counted: one line each, the first reason found."""
    name, found, nothing = run.source.name, list(shaped.rejects), pl.lit(None, pl.String)
    for column in run.file.key:
        found.append(reasons.issues(raw.filter(pl.col(column).is_null()), name, column, "E_NO_KEY", nothing))
    if "_known" in raw.columns:
        lost = raw.filter(pl.col("_known").is_null())
        found.append(reasons.issues(lost, name, run.file.claim, "E_ORPHAN", pl.col(run.file.claim)))
    table = pl.concat([reasons.empty(), *found])
    broken = table.filter(pl.col("code") == "E_FLOAT_MONEY")
    if broken.height:
        what = f"金额列 {broken['column'][0]} 以浮点存放且有非整分的值"
        raise InputProblem(what, name, hint="请改为文本或两位小数的十进制类型")
    return table.unique("line", keep="first", maintain_order=True)


def _write(raw: pl.DataFrame, shaped: Shaped, gone: pl.DataFrame, run: Run, number: int, work: Path) -> None:
    """The accepted rows as Parquet parts, one folder per table and file, and the keys of keyed files beside them."""
    by_table: dict[str, list[pl.DataFrame]] = {}
    for table, frame in shaped.tables:
        by_table.setdefault(table, []).append(frame.join(gone, on="_line", how="anti", maintain_order="left"))
    for table, frames in by_table.items():
        folder = work / "parts" / table / f"{run.number:03}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = pl.concat(frames, how="diagonal").with_columns(_file=pl.lit(run.source.name))
        rows.write_parquet(folder / f"{number:05}.parquet", compression="lz4")
    if run.file.key:
        kept = raw.join(gone, on="_line", how="anti", maintain_order="left")
        key = pl.concat_str([pl.col(c).cast(pl.String) for c in run.file.key], separator="\x1f")
        keys = kept.select("_line", "_hash", _key=key, _keyhash=key.hash(1))
        keys.write_parquet(work / "keys" / f"{run.number:03}-{number:05}.parquet", compression="lz4")


def _input(run: Run, work: Path) -> dict:
    rejected = sum(f["line"].n_unique() for f in run.rejects)
    if run.rows != run.accepted + rejected + run.blank:
        raise InvariantBroken(f"{run.source.name}: {run.rows} 行进，{run.accepted}+{rejected}+{run.blank} 行出")
    return {
        "path": run.source.name,
        "sha256": run.source.sha256,
        "table": run.file.name,
        "role": run.file.role,
        "part": run.file.part,
        "decisions": run.source.decisions,
        "rows_in": run.rows,
        "accepted": run.accepted,
        "rejected": rejected,
        "blank": run.blank,
        "warnings": dict(sorted(run.counts.items())),
        "control_totals": assemble.control_totals(run, work),
    }
