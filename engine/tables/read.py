"""Reading an extract: files to text to typed canonical tables, with everything set aside accounted for.

`read` finds the files, picks the profile and reads every file in bounded chunks into Parquet parts.
For every file rows_in = accepted + rejected + blank, always.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import polars as pl

from engine.tables import assemble, mapping, reasons, records
from engine.tables.files import Source, sources
from engine.tables.problems import InputProblem, InvariantBroken
from engine.tables.profiles import FileMap, Profile, choose, columns

SLICE = 250_000  # rows of a Parquet file read at a time


@dataclass
class Extract:
    """A read bundle.

    tables     canonical table -> LazyFrame over Parquet parts (dictionary types; `_file`, `_line`: where a row stood)
    inputs     one dict per file: path, sha256, decisions, rows_in, accepted, rejected, blank, warnings, control_totals
    rejects    rows set aside, warnings: rows accepted with a remark; file, line, column, code, reason, raw (masked)
    profile    name of the profile the files follow
    raw_stats  what the official checks need of the rows as they came, before any was set aside
    coverage   which table holds which site's data completely for which days (columns of table_coverage)
    """

    tables: dict[str, pl.LazyFrame]
    inputs: list[dict]
    rejects: pl.DataFrame
    warnings: pl.DataFrame
    profile: str
    raw_stats: "RawStats"
    coverage: pl.DataFrame


@dataclass
class RawStats:
    """The rows as they came: `side` per claim number, `missing` blank required fields (file, column) -> rows."""

    folder: Path
    part_label: dict[str, str] = field(default_factory=dict)
    missing: Counter = field(default_factory=Counter)
    sides: set[tuple[str, str]] = field(default_factory=set)

    def side(self, part: str, role: str) -> pl.LazyFrame | None:
        """Per claim number: rows, fen, first and last settlement time, negative amounts that are no refund (main only).

        None when the bundle has no such file.
        """
        if (part, role) not in self.sides:
            return None
        scan = pl.scan_parquet(self.folder / f"{part}-{role}-*.parquet")
        return scan.group_by("setl_id").agg(
            pl.col("rows").sum(),
            pl.col("fen").sum(),
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("negative").sum(),
        )


@dataclass
class _Run:
    """One input file being read."""

    source: Source
    file: FileMap
    header: dict[str, str]  # name in the file -> name in the profile
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


def read(path: Path, work: Path, profile: str = "auto", wordings: pl.DataFrame | None = None) -> Extract:
    """Read the bundle at `path` (folder, zip or one file), writing Parquet parts under `work`.

    profile: `auto`, the name of a profile, or the path of a profile file. wordings: the knowledge table (field,
    wording, value) that maps local words. Raises InputProblem when a file cannot be read or no file is recognised.
    """
    path, work = Path(path), Path(work)
    (work / "parts").mkdir(parents=True, exist_ok=True)
    (work / "stats").mkdir(exist_ok=True)
    (work / "keys").mkdir(exist_ok=True)
    found = sources(path, work)
    shapes = {s.name: _layout(s, work) for s in found}
    chosen, matched = choose(profile, {n: names for n, (names, _) in shapes.items()})
    runs = _runs(found, shapes, chosen, matched)
    words = _words(wordings)
    stats = RawStats(work / "stats", chosen.part_label)
    claims = None
    for run in sorted(runs, key=lambda r: (r.file.keyspace != "claims", r.number)):
        if run.file.claim and claims is None:
            claims = _close_claims(runs, work)
        _read_file(run, chosen, work, words, stats, claims)
    if claims is None:
        _close_claims(runs, work)
    assemble.drop_duplicates([r for r in runs if r.file.keyspace != "claims"], work)
    tables = assemble.tables(chosen, work)
    skipped = [reasons.note(s.name, None, "W_FILE_SKIPPED", "") for s in found if s.name not in matched]
    warnings = [w for r in runs for w in (*r.warnings, *_unmapped(r))] + skipped
    return Extract(
        tables,
        [_input(run, work) for run in runs],
        _sorted([f for r in runs for f in r.rejects]),
        _sorted(warnings),
        chosen.name,
        stats,
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


def _layout(source: Source, work: Path) -> tuple[list[str], records.Layout | None]:
    """The header of a source, and for text its layout. A sheet is turned into a Parquet file of text."""
    if source.kind == "text":
        shape = records.layout(source)
        return shape.names, shape
    if source.kind == "sheet":
        source.text, source.kind = _sheet(source, work), "parquet"
    try:
        return pl.scan_parquet(source.text).collect_schema().names(), None
    except pl.exceptions.PolarsError as error:
        raise InputProblem("不是有效的 Parquet 文件", source.name) from error


def _sheet(source: Source, work: Path) -> Path:
    """The one sheet of a workbook as text. Raises InputProblem when no reader of xlsx is installed."""
    try:
        sheets = pl.read_excel(source.text, sheet_id=0, infer_schema_length=0)
    except ModuleNotFoundError as error:
        raise InputProblem(
            "读取 xlsx 需要 fastexcel", source.name, hint="请安装 fastexcel，或另存为 CSV(UTF-8)"
        ) from error
    except Exception as error:  # each engine raises its own type for a broken workbook
        raise InputProblem(f"无法读取的 xlsx：{error}", source.name) from error
    filled = {name: frame for name, frame in sheets.items() if frame.width}
    if len(filled) != 1:
        raise InputProblem(
            f"应只有一个工作表，实有 {len(filled)} 个：{'、'.join(filled)}", source.name, hint="请每表另存一个文件"
        )
    (name, frame), folder = next(iter(filled.items())), work / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.sha256[:16]}.parquet"
    frame.select(pl.all().cast(pl.String)).write_parquet(target)
    source.decisions["sheet"] = name
    return target


def _runs(found: list[Source], shapes: dict, profile: Profile, matched: dict[str, str]) -> list[_Run]:
    runs, stems = [], Counter(s.stem for s in found if s.name in matched)
    for number, source in enumerate(s for s in found if s.name in matched):
        names, shape = shapes[source.name]
        file = profile.files[matched[source.name]]
        stem = source.stem if stems[source.stem] == 1 else str(PurePosixPath(source.name).with_suffix(""))
        run = _Run(source, file, columns(names, file, source.name), shape, number, stem)
        unknown = [n for n in names if n not in run.header]
        absent = [c for c in file.columns if c not in run.header.values()] if profile.name != "canonical" else []
        for kind, cols in (("多出的列，未读取", unknown), ("缺少的可选列", absent)):
            if cols:
                run.warnings.append(reasons.note(source.name, None, "W_COLUMN", f"{kind}：{'，'.join(cols[:20])}"))
        source.decisions |= {"profile": profile.name, "table": file.name}
        runs.append(run)
    return runs


def _close_claims(runs: list[_Run], work: Path) -> pl.DataFrame | None:
    """Once every claim file is read: twins out, and the claims that stand (setl_id, insured_flag)."""
    own = [r for r in runs if r.file.keyspace == "claims"]
    if not own:
        return pl.DataFrame(schema={"setl_id": pl.String, "insured_flag": pl.String, "none": pl.Boolean})
    assemble.drop_duplicates(own, work)
    scan = assemble.scan("claims", work)
    if scan is None:
        return pl.DataFrame(schema={"setl_id": pl.String, "insured_flag": pl.String})
    has_flag = "insured_flag" in scan.collect_schema().names()
    flag = pl.col("insured_flag") if has_flag else pl.lit(None, pl.String).alias("insured_flag")
    return scan.select("setl_id", flag).collect()


def _frames(run: _Run) -> Iterator[records.Chunk]:
    if run.shape is not None:
        yield from records.chunks(run.source, run.shape, list(run.header))
        return
    scan = pl.scan_parquet(run.source.text)
    total = scan.select(pl.len()).collect().item()
    for offset in range(0, max(total, 1), SLICE):
        frame = scan.select(list(run.header)).slice(offset, SLICE).collect()
        text = [c for c in frame.columns if frame.schema[c] == pl.String]
        frame = frame.with_columns(pl.col(c).replace("", None) for c in text)
        odd = pl.any_horizontal(pl.col(c).str.contains(records.ODD.replace("SEP", ",")).fill_null(False) for c in text)
        marks = frame.select(
            _line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64) + offset,
            _extra=pl.lit(False),
            _odd=odd if text else pl.lit(False),
        )
        good = pl.concat([frame, marks, frame.select(_hash=pl.struct(pl.all()).hash(11))], how="horizontal")
        yield records.Chunk(good, reasons.empty(), reasons.empty(), frame.height, 0)


def _read_file(
    run: _Run, profile: Profile, work: Path, words: dict, stats: RawStats, claims: pl.DataFrame | None
) -> None:
    if run.file.role:
        stats.sides.add((run.file.part, run.file.role))
    for part, chunk in enumerate(_frames(run)):
        run.rows, run.blank = run.rows + chunk.rows, run.blank + chunk.blank
        run.rejects.append(chunk.rejects)
        run.warnings.append(chunk.warnings)
        raw = chunk.good.rename(run.header)
        raw = _with_claim(raw, run.file, claims)
        shaped = mapping.shape_chunk(raw, run.file, profile, run.source.name, run.stem, words)
        _count_raw(raw, shaped, run, part, profile, stats)
        rejects = _row_rejects(raw, shaped, run, claims)
        run.rejects.append(rejects)
        run.warnings += shaped.warnings
        run.counts.update(shaped.counts)
        run.unmapped += shaped.unmapped
        run.accepted += raw.height - rejects.height
        _write(raw, shaped, rejects, run, part, work)
    if not run.rows:
        run.warnings.append(reasons.note(run.source.name, None, "W_NO_ROWS", ""))
        _write_empty(run, profile, work, words)


def _with_claim(raw: pl.DataFrame, file: FileMap, claims: pl.DataFrame | None) -> pl.DataFrame:
    """Adds whether the row's claim is in the bundle and whether it is insured."""
    if not file.claim or claims is None or "none" in claims.columns or file.claim not in raw.columns:
        return raw
    here = claims.join(raw.select(setl_id=file.claim).unique(), on="setl_id", how="semi")
    here = here.select(pl.col("setl_id").alias(file.claim), _insured="insured_flag", _known=pl.lit(True))
    return raw.join(here, on=file.claim, how="left", maintain_order="left")


def _row_rejects(raw: pl.DataFrame, shaped: mapping.Shaped, run: _Run, claims: pl.DataFrame | None) -> pl.DataFrame:
    """The rows of this chunk that cannot be read, keyed or counted: one line each, the first reason found."""
    name, found = run.source.name, list(shaped.rejects)
    for column in run.file.key:
        if column in raw.columns:
            found.append(
                reasons.issues(raw.filter(pl.col(column).is_null()), name, column, "E_NO_KEY", pl.lit(None, pl.String))
            )
    if "_known" in raw.columns:
        lost = raw.filter(pl.col("_known").is_null())
        found.append(reasons.issues(lost, name, run.file.claim, "E_ORPHAN", pl.col(run.file.claim)))
    table = pl.concat([reasons.empty(), *found])
    if (table["code"] == "E_FLOAT_MONEY").any():
        column = table.filter(pl.col("code") == "E_FLOAT_MONEY")["column"][0]
        raise InputProblem(f"金额列 {column} 以浮点存放且有非整分的值", name, hint="请改为文本或两位小数的十进制类型")
    return table.unique("line", keep="first", maintain_order=True)


def _count_raw(
    raw: pl.DataFrame, shaped: mapping.Shaped, run: _Run, part: int, profile: Profile, stats: RawStats
) -> None:
    """What the official checks count before anything is set aside."""
    conditions = {None: pl.lit(True)} | {c: mapping.condition(w) for c, w in profile.conditions.items()}
    conditions["insured"] = pl.col("_insured") == "1" if "_insured" in raw.columns else pl.lit(False)
    for name, required in {None: run.file.required, **run.file.required_when}.items():
        have = [c for c in required if c in raw.columns]
        blank = raw.filter(conditions[name]).select(pl.col(c).is_null().sum() for c in have) if have else pl.DataFrame()
        for column in have:
            if count := blank[column][0]:
                stats.missing[run.file.name, column] += count
                shaped.warn(
                    raw.filter(conditions[name] & pl.col(column).is_null()),
                    run.source.name,
                    column,
                    "W_MISSING",
                    pl.lit(None, pl.String),
                )
    if not run.file.role:
        return
    frame = shaped.tables[0][1]
    amount, day = ("medfee_sumamt", "setl_time") if run.file.role == "main" else ("det_item_fee_sumamt", "_bill_date")
    dates = pl.col(day) if day in frame.columns else pl.lit(None, pl.Datetime("us"))
    refund = pl.col("refd_setl_flag").eq_missing("1") if "refd_setl_flag" in frame.columns else pl.lit(False)
    frame.group_by("setl_id").agg(
        rows=pl.len().cast(pl.Int64), fen=pl.col(amount).sum(), first=dates.min(), last=dates.max(),
        negative=((pl.col(amount) < 0) & ~refund).sum().cast(pl.Int64),
    ).write_parquet(stats.folder / f"{run.file.part}-{run.file.role}-{run.number:03}-{part:05}.parquet")  # fmt: skip


def _write(raw: pl.DataFrame, shaped: mapping.Shaped, rejects: pl.DataFrame, run: _Run, part: int, work: Path) -> None:
    gone = rejects.select(_line="line")
    by_table: dict[str, list[pl.DataFrame]] = {}
    for table, frame in shaped.tables:
        kept = frame.join(gone, on="_line", how="anti") if gone.height else frame
        by_table.setdefault(table, []).append(kept.with_columns(_file=pl.lit(run.source.name)))
    for table, frames in by_table.items():
        folder = work / "parts" / table / f"{run.number:03}"
        folder.mkdir(parents=True, exist_ok=True)
        pl.concat(frames, how="diagonal").write_parquet(folder / f"{part:05}.parquet", compression="lz4")
    if run.file.key and not any(
        "template" in s for _, m in run.file.tables[:1] for s in m.values() if isinstance(s, dict)
    ):
        have = [c for c in run.file.key if c in raw.columns]
        kept = raw.join(gone, on="_line", how="anti") if gone.height else raw
        keys = pl.concat_str([pl.col(c).cast(pl.String).fill_null("") for c in have], separator="\x1f")
        sidecar = kept.select("_line", "_hash", _key=keys, _keyhash=keys.hash(1))
        sidecar.write_parquet(work / "keys" / f"{run.number:03}-{part:05}.parquet", compression="lz4")


def _write_empty(run: _Run, profile: Profile, work: Path, words: dict) -> None:
    """A file with a header and no rows still brings its tables, empty."""
    marks = {"_line": pl.Int64, "_extra": pl.Boolean, "_odd": pl.Boolean, "_hash": pl.UInt64}
    raw = pl.DataFrame(schema={c: pl.String for c in run.header.values()} | marks)
    shaped = mapping.shape_chunk(raw, run.file, profile, run.source.name, run.stem, words)
    _write(raw, shaped, reasons.empty(), run, 0, work)


def _unmapped(run: _Run) -> list[pl.DataFrame]:
    """One warning per local word without a mapping, with how often it stands."""
    if not run.unmapped:
        return []
    words = pl.concat(run.unmapped).group_by("column", "field", "word").agg(pl.col("rows").sum(), pl.col("_line").min())
    return [
        reasons.note(
            run.source.name,
            w["column"],
            "W_UNMAPPED",
            f"{w['field']} 无“{w['word']}”，{w['rows']} 行",
            w["word"],
            w["_line"],
        )
        for w in words.sort("column", "field", "word").head(1000).to_dicts()
    ]


def _input(run: _Run, work: Path) -> dict:
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
