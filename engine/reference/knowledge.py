"""What a region knows and an extract does not say: knowledge tables read from CSV, typed, dated, checked.

knowledge.yaml names the tables and their fields. Ours lie in seeds/knowledge; a region's own folders (--knowledge) come
after and replace them table by table, `wordings` field by field and `concepts` concept by concept. Everything is read
as text and parsed exactly; the first thing that cannot be meant stops the run with its file, line and column.
"""

import csv
import datetime as dt
import difflib
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import yaml

from engine.reference.places import seeds_folder
from engine.tables import dictionary
from engine.tables.dictionary import Field, Table
from engine.tables.problems import InputProblem, Problem, UsageProblem

CANONICAL = ("account_openings",)  # tables of the data dictionary that a region may bring as knowledge
REPLACED_BY = {"wordings": "field", "concepts": "concept"}  # a folder replaces these per value of the column, not whole
IDENTITY = (
    "rule",
    "gend",
    "admdvs",
    "hosp_lv",
)  # where optional, what tells two rows of one key apart
DATED = {
    "begndate": "date | - | 生效日期",
    "enddate": "date | - | 失效日期",
    "source": "text | - | 来源",
    "grade": "text | - | 可信度",
}
EARLIEST, LATEST = dt.date(1, 1, 1), dt.date(9999, 12, 31)


@dataclass(frozen=True)
class Knowledge:
    """The tables in force for a run (by name, typed frames, absent ones empty) and the files they came from."""

    tables: dict[str, pl.DataFrame]
    files: list[tuple[str, str]]  # path, sha256 of its bytes, in reading order

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.tables[name]

    @property
    def concepts(self) -> list[str]:
        """Every concept that has a code, sorted."""
        return self["concepts"]["concept"].unique().sort().to_list()

    def codes(self, concept: str, on: dt.date | None = None) -> list[str]:
        """The codes (or names, or prefixes) of a concept, sorted: those in force on a date, or all there ever were.

        Raises InputProblem for a concept no table names.
        """
        rows = self["concepts"].filter(pl.col("concept") == concept)
        if rows.is_empty():
            raise InputProblem(f"没有概念 {concept} unknown concept", "concepts.csv", **_likely(concept, self.concepts))
        if on is not None:
            rows = rows.filter(_begin() <= on, _end() >= on)
        return rows["code"].unique().sort().to_list()

    def periods(self, concept: str) -> list[tuple[tuple[str, ...], dt.date | None, dt.date | None]]:
        """The codes of a concept by the days on which they are in force: (codes, first, last day), None = open."""
        rows = self["concepts"].filter(pl.col("concept") == concept)
        spans = rows.group_by("begndate", "enddate").agg(pl.col("code").unique().sort())
        return [(tuple(codes), begin, end) for begin, end, codes in spans.sort("begndate", "enddate").iter_rows()]


@cache
def shapes() -> dict[str, Table]:
    """Every knowledge table by name with its fields, those all tables share included; canonical ones as they are."""
    raw = yaml.safe_load((Path(__file__).parent / "knowledge.yaml").read_text("utf-8"))
    own = {name: _shape(name, body) for name, body in raw.items()}
    return own | {name: dictionary.table(name) for name in CANONICAL}


def load_knowledge(folders: list[Path] = (), seeds: Path | None = None) -> Knowledge:
    """Our seeds, or those of another folder, then each folder in turn.

    Raises InputProblem (file, line, column, what is allowed, likely intent).
    """
    tables = {name: pl.DataFrame(schema=_schema(shape)) for name, shape in shapes().items()}
    files = []
    ours = _csv_files((seeds or seeds_folder()) / "knowledge")
    for path in [*ours, *(path for folder in folders for path in _csv_files(Path(folder)))]:
        tables[path.stem] = _replace(path.stem, tables[path.stem], read_table(path))
        label = f"seeds/knowledge/{path.name}" if path in ours else str(path)
        files.append((label, hashlib.sha256(path.read_bytes()).hexdigest()))
    return Knowledge(tables, files)


def read_table(path: Path) -> pl.DataFrame:
    """One knowledge file as a typed frame in key order, every field of its table present."""
    shape = shapes()[path.stem]
    header, rows, lines = _text(path)
    _check_header(path, shape, header)
    columns = zip(*rows, strict=True) if rows else [[] for _ in header]
    text = pl.DataFrame(
        {name: pl.Series(column, dtype=pl.String) for name, column in zip(header, columns, strict=True)}
        | {"_line": pl.Series(lines, dtype=pl.Int64)}
    ).with_columns(pl.col(pl.String).str.strip_chars().replace("", None))
    frame = text.select("_line", *(_column(path, text, f) for f in shape.fields.values()))
    _check_rows(path, shape, frame)
    return frame.sort(*_identity(shape), *_dates(shape), nulls_last=False).drop("_line")


def _shape(name: str, body: dict) -> Table:
    fields = {}
    for field, text in (body["fields"] | DATED).items():
        kind, mark, label, *note = (part.strip() for part in text.split("|", 3))
        fields[field] = Field(name, field, kind, mark, label, *note)
    return Table(name, body["label"], "region", fields)


def _dtype(field: Field) -> pl.DataType:
    return pl.String() if field.type == "list" else field.dtype


def _schema(shape: Table) -> pl.Schema:
    return pl.Schema({f.name: _dtype(f) for f in shape.fields.values()})


def _identity(shape: Table) -> list[str]:
    return shape.key + [name for name in IDENTITY if name in shape.fields and not shape.fields[name].required]


def _dates(shape: Table) -> list[str]:
    return [name for name in ("begndate", "enddate") if name in shape.fields and name not in shape.key]


def _begin() -> pl.Expr:
    return pl.col("begndate").fill_null(EARLIEST)


def _end() -> pl.Expr:
    return pl.col("enddate").fill_null(LATEST)


def _replace(name: str, old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    unit = REPLACED_BY.get(name)
    if unit is None:
        return new
    kept = old.filter(~pl.col(unit).is_in(new[unit].unique().to_list()))
    return pl.concat([kept, new]).sort(*_identity(shapes()[name]), *_dates(shapes()[name]))


def _csv_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageProblem("没有这个文件夹 no such folder", str(folder))
    files = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "README")))
    for path in files:
        if path.suffix != ".csv" or path.stem not in shapes():
            likely = _likely(path.stem, shapes(), ".csv")
            raise InputProblem("不认识的知识表 unknown knowledge table", str(path), **likely)
    return files


def _text(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows and the physical line each row ends on; blank lines left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            numbered = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise InputProblem(f"不是 UTF-8 not UTF-8: {error.reason}", f"{path}: byte {error.start}") from error
    except csv.Error as error:
        raise InputProblem(f"不是 CSV not CSV: {error}", f"{path}:{reader.line_num}") from error
    if not numbered:
        raise InputProblem("空文件，没有表头 empty, no header row", str(path))
    header = [name.strip() for name in numbered[0][1]]
    for line, row in numbered[1:]:
        if len(row) != len(header):
            what = f"{len(row)} 列而表头有 {len(header)} 列 columns, the header has {len(header)}"
            raise InputProblem(what, f"{path}:{line}")
    return header, [row for _, row in numbered[1:]], [line for line, _ in numbered[1:]]


def _check_header(path: Path, shape: Table, header: list[str]) -> None:
    for name in header:
        if name not in shape.fields:
            raise InputProblem(f"不认识的列 {name} unknown column", f"{path}:1", **_likely(name, shape.fields))
        if header.count(name) > 1:
            raise InputProblem(f"列 {name} 重复 column given twice", f"{path}:1")
    missing = [f.name for f in shape.fields.values() if f.required and f.name not in header]
    if missing:
        raise InputProblem(f"缺少列 {', '.join(missing)} missing column", f"{path}:1", ", ".join(shape.fields))


def _column(path: Path, text: pl.DataFrame, field: Field) -> pl.Series:
    """One field parsed by its type; raises at the first cell that is blank but required, unreadable or not allowed."""
    if field.name not in text.columns:
        return pl.Series(field.name, [None] * text.height, _dtype(field))
    cells = text[field.name]
    if field.required and cells.null_count():
        raise _bad_cell(path, text, field, cells.is_null(), "不能为空 must not be blank")
    pattern, meaning = form(field.type)
    parsed = _parse(pl.select(pl.when(cells.str.contains(pattern)).then(cells)).to_series(), field)
    if parsed.null_count() > cells.null_count():
        raise _bad_cell(path, text, field, parsed.is_null() & cells.is_not_null(), "读不懂 cannot be read", meaning)
    allowed = allowed_values(field)
    if allowed:
        known = cells.fill_null(allowed[0]).str.split("|").list.eval(pl.element().is_in(allowed)).list.all()
        if not known.all():
            raise _bad_cell(path, text, field, ~known, "不允许的值 value not allowed", ", ".join(allowed), allowed)
    return parsed.alias(field.name)


def allowed_values(field: Field) -> list[str]:
    """The values a field may have, where its note says "one of:"; else empty."""
    match = re.match(r"one of:([^;]+)", field.note)
    return [value.strip() for value in match[1].split(",")] if match else []


def form(kind: str) -> tuple[str, str]:
    """What the text of a type must look like: a pattern and the same in words."""
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", kind):
        whole, scale = int(match[1]) - int(match[2]), int(match[2])
        return rf"^-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{scale}}}0*)?$", f"至多 {scale} 位小数 at most {scale} decimals"
    return {
        "int": (r"^-?[0-9]{1,18}$", "整数 a whole number"),
        "money": (r"^-?[0-9]{1,13}(\.[0-9]{1,2}0*)?$", "元，至多两位小数 yuan with at most two decimals"),
        "date": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "日期 YYYY-MM-DD"),
        "list": (r"^[^|\s]+(\|[^|\s]+)*$", "以 | 分隔，不留空 separated by |, none of them blank"),
    }.get(kind, ("", ""))


def _parse(cells: pl.Series, field: Field) -> pl.Series:
    if field.type == "money":
        return (cells.cast(pl.Decimal(18, 2)) * 100).cast(pl.Int64)
    if field.type == "date":
        return cells.str.to_date("%Y-%m-%d", strict=False)
    return cells if field.type == "list" else cells.cast(field.dtype)


def _bad_cell(path: Path, text: pl.DataFrame, field: Field, bad: pl.Series, what: str, allowed="", among=()) -> Problem:
    line, value = text.filter(bad).select("_line", field.name).row(0)
    shown = f"{field.name} {field.label}: {what}" + (f": {value}" if value is not None else "")
    return InputProblem(shown, f"{path}:{line}", allowed, _likely(value or "", among)["hint"])


def _likely(word: str, among, suffix: str = "") -> dict[str, str]:
    """Allowed values and the likely intent, as arguments of a problem."""
    close = difflib.get_close_matches(word, list(among), n=1)
    return {
        "allowed": ", ".join(f"{name}{suffix}" for name in among),
        "hint": f"是否想写 did you mean {close[0]}{suffix}" if close else "",
    }


def _check_rows(path: Path, shape: Table, frame: pl.DataFrame) -> None:
    """Dates in order, wordings of known fields, and no two rows that answer the same question on one day."""
    if shape.name == "wordings":
        _check_wordings(path, frame)
    rows = frame
    if "begndate" in shape.fields:
        rows = frame.with_columns(_begin().alias("begndate"), _end().alias("enddate"))
        for line in rows.filter(pl.col("begndate") > pl.col("enddate"))["_line"]:
            raise InputProblem("begndate 晚于 later than enddate", f"{path}:{line}")
    else:
        rows = frame.with_columns(begndate=pl.lit(EARLIEST), enddate=pl.lit(LATEST))
    same = _identity(shape)
    rows = rows.sort(*same, "begndate", "_line").with_columns(
        earlier=pl.col("enddate").cum_max().shift().over(same), first=pl.col("_line").first().over(same)
    )
    for line, first in rows.filter(pl.col("begndate") <= pl.col("earlier")).select("_line", "first").iter_rows():
        what = f"与第 {first} 行同为 {'+'.join(same)} 且日期重叠 same key as line {first} on the same day"
        raise InputProblem(what, f"{path}:{line}")


def _check_wordings(path: Path, frame: pl.DataFrame) -> None:
    known = [f"{t.name}.{f}" for t in dictionary.tables().values() for f in t.fields]
    kinds = allowed_values(shapes()["visit_limits"].fields["visit_kinds"])
    field, value = shapes()["wordings"].fields["field"], shapes()["wordings"].fields["value"]
    if not (right := frame["field"].is_in(known)).all():
        name = frame.filter(~right)["field"][0]
        near = [k for k in known if k.split(".")[0] == name.split(".")[0]] or sorted(dictionary.tables())
        raise _bad_cell(path, frame, field, ~right, "不认识的字段 unknown table.field", ", ".join(near), known)
    wrong = (frame["field"] == "claims.visit_kind") & ~frame["value"].is_in(kinds)
    if wrong.any():
        raise _bad_cell(path, frame, value, wrong, "不允许的值 value not allowed", ", ".join(kinds), kinds)
