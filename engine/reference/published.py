"""The national knowledge-point files as they are published: found by their header, never by name, and read as text.

published.yaml says which headers there are and what their columns mean. A file may be CSV in any encoding that extracts
come in, or a workbook with any number of sheets; lines above the header and notes below the table are passed over.
"""

import csv
import difflib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import polars as pl
import yaml

from engine.tables.files import DELIMITERS, Source, sources
from engine.tables.problems import InputProblem, UsageProblem

HEADER_WITHIN = 10  # lines that are not blank; a title or two may stand above the header


@dataclass(frozen=True)
class Row:
    """One row of a file: where it stands, its cells by our words, the published name of each, what is wrong with it."""

    file: str
    line: int
    cells: dict[str, str]
    columns: dict[str, str]
    fault: str = ""

    @property
    def at(self) -> tuple[str, int]:
        return self.file, self.line


@dataclass
class Sheet:
    """One table of a file: the file as shown, which shape its header has, its rows, how many notes stand below."""

    file: str
    shape: str
    rows: list[Row]
    footers: int


@cache
def spec() -> dict:
    """published.yaml: columns, shapes, subjects, notes, codes."""
    return yaml.load((Path(__file__).parent / "published.yaml").read_text("utf-8"), yaml.BaseLoader)


def read_published(paths: list[Path], work: Path) -> list[Sheet]:
    """Every table of the files, in the order of their names; a folder stands for the files in it.

    Raises UsageProblem for a file given twice, InputProblem for all files whose header nobody knows.
    """
    if twice := [str(a) for a, b in pairwise(sorted(path.resolve() for path in paths)) if a == b]:
        raise UsageProblem("同一个文件给了两次 a file given twice", twice[0])
    sheets, strange = [], []
    for number, path in enumerate(sorted(paths)):
        found = sources(path, work / str(number))
        if not found:
            raise InputProblem("没有可读的文件 no file that can be read", str(path), ".csv, .xlsx")
        root = path if path.is_dir() else path.parent
        for source in found:
            for file, lines in _tables(source, root / source.name):
                try:
                    sheets.append(_sheet(file, lines))
                except InputProblem as problem:
                    strange.append(str(problem))
    if strange:
        raise InputProblem("\n".join(strange))
    return sheets


def _tables(source: Source, path: Path) -> list[tuple[str, list[tuple[int, list[str]]]]]:
    """(file as shown, numbered lines) of a text file or of every sheet that is not blank."""
    if source.kind == "text":
        return [(str(path), _text(source, path))]
    if source.kind != "sheet":
        raise InputProblem("不是表格 not a table of text", str(path), ".csv, .xlsx")
    try:
        sheets = pl.read_excel(
            source.text, sheet_id=0, has_header=False, infer_schema_length=0, drop_empty_rows=False,
            drop_empty_cols=False, raise_if_empty=False, read_options={"skip_rows": 0},
        )  # fmt: skip
    except Exception as error:  # each engine raises its own type for a broken workbook
        raise InputProblem(f"无法读取的 xlsx broken workbook: {error}", str(path)) from error
    filled = {name: frame for name, frame in sheets.items() if frame.width}
    shown = {name: f"{path}[{name}]" if len(filled) > 1 else str(path) for name in filled}
    return [(shown[name], _numbered(frame.fill_null("").rows())) for name, frame in filled.items()]


def _numbered(rows) -> list[tuple[int, list[str]]]:
    return [(line, [_bare(cell) for cell in row]) for line, row in enumerate(rows, 1) if any(c.strip() for c in row)]


def _text(source: Source, path: Path) -> list[tuple[int, list[str]]]:
    with source.text.open(encoding="utf-8-sig", newline="") as file:
        head = next((line for line in file if line.strip()), "")
        delimiter = max((d for d in DELIMITERS if len(d) == 1), key=head.count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter if delimiter in head else ",", strict=True)
        try:
            return [
                (reader.line_num, [_bare(cell) for cell in row]) for row in reader if any(cell.strip() for cell in row)
            ]
        except csv.Error as error:
            raise InputProblem(f"不是 CSV not CSV: {error}", f"{path}:{reader.line_num}") from error


def _bare(cell: str) -> str:
    return cell.strip(" \t\r\n\u3000\u00a0\ufeff")


def _sheet(file: str, lines: list[tuple[int, list[str]]]) -> Sheet:
    """The table below the first line that is a header."""
    for at, (_, cells) in enumerate(lines[:HEADER_WITHIN]):
        names = _names(cells)
        if shape := _shape_of(names):
            body = lines[at + 1 :]
            rows = [_row(file, line, names, cells) for line, cells in body if not _is_footer(cells)]
            return Sheet(file, shape, rows, len(body) - len(rows))
    raise _unknown(file, lines)


def _names(cells: list[str]) -> list[str]:
    """The columns' names as they are compared: no blanks within, no full-width letters, none at the end without one."""
    names = [re.sub(r"\s", "", unicodedata.normalize("NFKC", cell)) for cell in cells]
    return names[: max((at for at, name in enumerate(names, 1) if name), default=0)]


def _shape_of(names: list[str]) -> str | None:
    known = spec()["columns"]
    words = [known.get(name, name) for name in names]
    for shape, said in spec()["shapes"].items():
        needed = {known[name] for name in said["header"]}
        allowed = needed | {known[name] for name in said["may"]} | set(spec()["everywhere"])
        if len(set(words)) == len(words) and needed <= set(words) <= allowed:
            return shape
    return None


def _row(file: str, line: int, names: list[str], cells: list[str]) -> Row:
    known = spec()["columns"]
    columns = {known[name]: name for name in names}
    extra = [cell for cell in cells[len(names) :] if cell]
    fault = ""
    if len(cells) < len(names) or extra:
        count = len(names) + len(extra) if extra else len(cells)
        fault = f"{count} 列而表头有 {len(names)} 列 columns, the header has {len(names)}"
    padded = [*cells, *[""] * len(names)][: len(names)]
    return Row(file, line, dict(zip(columns, padded, strict=True)), columns, fault)


def _is_footer(cells: list[str]) -> bool:
    return bool(re.search(spec()["footer"], next(cell for cell in cells if cell)))


def _unknown(file: str, lines: list[tuple[int, list[str]]]) -> InputProblem:
    """A header nobody knows: which it is nearest to, what that lacks and has too much."""
    allowed = "；".join(_shown(said) for said in spec()["shapes"].values())
    if not lines:
        return InputProblem("空文件，没有表头 empty, no header row", file, allowed)
    line, cells = lines[0]
    known, names = spec()["columns"], _names(cells)
    words = {known.get(name, name) for name in names}

    def alike(said: dict) -> tuple[int, int, int]:
        needed = {known[name] for name in said["header"]}
        return len({*said["header"], *said["may"]} & {*names}), len(needed & words), -len(needed | words)

    nearest = max(spec()["shapes"].values(), key=alike)
    missing = [name for name in nearest["header"] if known[name] not in words]
    may = {known[name] for name in [*nearest["header"], *nearest["may"]]} | set(spec()["everywhere"])
    strange = [name for name in names if known.get(name, name) not in may]
    twice = [name for name in names if [known.get(n, n) for n in names].count(known.get(name, name)) > 1]
    said = [f"最接近 closest: {_shown(nearest)}"]
    said += [f"缺 missing {'、'.join(missing)}"] if missing else []
    said += [f"多 unknown {'、'.join(map(_with_likely, strange))}"] if strange else []
    said += [f"重复 twice {'、'.join(twice)}"] if twice else []
    return InputProblem(f"不认识的表头 unknown header: {','.join(names)}", f"{file}:{line}", allowed, "；".join(said))


def _shown(shape: dict) -> str:
    return f"{shape['label']}（{','.join([*shape['header'], *shape['may']])}）"


def _with_likely(name: str) -> str:
    close = difflib.get_close_matches(name, spec()["columns"], n=1)
    return f"{name}（是否想写 did you mean {close[0]}）" if close else name
