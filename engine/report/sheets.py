"""Writing Excel files safely: text is always text, codes keep their zeros, long tables go on in further sheets, and the
same rows give the same bytes. Nothing here knows what the rows mean."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from engine.report.text import clip, visible

SHEET_ROWS = 1_048_576  # Excel's limit, head included
_CELL = 16_000  # characters; Excel refuses more than 32,767 units of UTF-16
_CREATED = datetime(2000, 1, 1)  # a fixed date: the clock must not reach the bytes
_FORMATS = {"text": "@", "yuan": "#,##0.00", "count": "#,##0", "quantity": "General", "date": "yyyy-mm-dd"}
_ENTRY = {"locked": False, "bg_color": "#FBF6E6", "border": 1, "border_color": "#D9CFB4"}


@dataclass(frozen=True)
class Column:
    """One column: its head, the frame's column, how it is written (text, yuan from fen, count, quantity, date), its
    width, the words its codes stand for, and for a column to be filled in (no source) what may be entered."""

    head: str
    source: str = ""
    kind: str = "text"
    width: int = 14
    words: dict = field(default_factory=dict)
    allowed: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """One table: its name, its columns, and its rows as frames one after the other."""

    name: str
    columns: list[Column]
    frames: Iterable[pl.DataFrame]


def write_book(path: Path, notes: list[tuple[str, str]], sheets: Iterable[Sheet], footer: str) -> Path:
    """Write a workbook with the sheet 说明 (the notes) first. It appears under its name only when complete."""
    part = path.with_name(f".{path.name}.part")
    options = {"constant_memory": True, "strings_to_urls": False, "strings_to_formulas": False}
    with xlsxwriter.Workbook(part, options) as book:
        book.set_properties({"created": _CREATED})
        formats = {kind: book.add_format({"num_format": code, "valign": "top"}) for kind, code in _FORMATS.items()}
        formats |= {f"entry {kind}": book.add_format({"num_format": code, **_ENTRY}) for kind, code in _FORMATS.items()}
        formats["head"] = book.add_format(
            {"bold": True, "text_wrap": True, "valign": "vcenter", "bg_color": "#E6EEF0", "bottom": 1}
        )
        formats["note"] = book.add_format({"num_format": "@", "text_wrap": True, "valign": "top"})
        _write_notes(book.add_worksheet("说明"), notes, formats, footer)
        for sheet in sheets:
            _write_sheet(book, sheet, formats, footer)
    part.replace(path)
    return path


def _write_notes(page: Worksheet, notes: list[tuple[str, str]], formats: dict[str, Format], footer: str) -> None:
    page.set_column(0, 0, 26)
    page.set_column(1, 1, 100)
    for row, (name, text) in enumerate(notes):
        page.write_string(row, 0, _text(name), formats["head"])
        page.write_string(row, 1, _text(text), formats["note"])
    _print_setup(page, footer)


def _write_sheet(book: xlsxwriter.Workbook, sheet: Sheet, formats: dict[str, Format], footer: str) -> None:
    """As many pages as the rows need; an empty table is one page with its head."""
    rows, part = _rows(sheet), 1
    row = next(rows, None)
    while row is not None or part == 1:
        page = book.add_worksheet(sheet.name if part == 1 else f"{sheet.name}({part})")
        row = _fill(page, sheet.columns, row, rows, formats)
        _print_setup(page, footer)
        part += 1


def _rows(sheet: Sheet) -> Iterator[tuple]:
    sources = [column.source for column in sheet.columns if column.source]
    blanks = (None,) * (len(sheet.columns) - len(sources))  # columns to be filled in stand last
    for frame in sheet.frames:
        for row in frame.select(sources).iter_rows():
            yield row + blanks


def _fill(
    page: Worksheet, columns: list[Column], row: tuple | None, rows: Iterator[tuple], formats: dict[str, Format]
) -> tuple | None:
    """Write one page and return the first row that found no room."""
    looks = [formats[column.kind if column.source else f"entry {column.kind}"] for column in columns]
    for at, (column, look) in enumerate(zip(columns, looks, strict=True)):
        page.set_column(at, at, column.width, look)
        page.write_string(0, at, column.head, formats["head"])
    line = 0
    while row is not None and line < SHEET_ROWS - 1:
        line += 1
        for at, (column, value, look) in enumerate(zip(columns, row, looks, strict=True)):
            if value is not None:
                _WRITE[column.kind](page, line, at, column.words.get(value, value), look)
            elif not column.source:
                page.write_blank(line, at, None, look)
        row = next(rows, None)
    page.freeze_panes(1, 0)
    page.autofilter(0, 0, line, len(columns) - 1)
    page.repeat_rows(0)
    _allow_entries(page, columns, line)
    return row


_WRITE = {
    "text": lambda page, row, at, value, look: page.write_string(row, at, _text(value), look),
    # Excel stores binary floats: this division is the only one money meets, and the exact sums stand as text in 说明.
    "yuan": lambda page, row, at, value, look: page.write_number(row, at, value / 100, look),
    "count": lambda page, row, at, value, look: page.write_number(row, at, value, look),
    "quantity": lambda page, row, at, value, look: page.write_number(row, at, float(value), look),
    "date": lambda page, row, at, value, look: page.write_datetime(row, at, value, look),
}


def _allow_entries(page: Worksheet, columns: list[Column], lines: int) -> None:
    """Columns to be filled in take only what is allowed; the others are locked (without a password)."""
    entries = [(at, column) for at, column in enumerate(columns) if not column.source]
    if not entries:
        return
    for at, column in entries:
        if column.allowed and lines:
            page.data_validation(1, at, lines, at, column.allowed)
    page.protect("", {"autofilter": True, "sort": True, "format_columns": True, "format_rows": True})


def _print_setup(page: Worksheet, footer: str) -> None:
    page.set_landscape()
    page.set_paper(9)
    page.fit_to_pages(1, 0)
    page.set_footer(f"&C{clip(visible(footer), 150).replace('&', '&&')}&R&P / &N")


def _text(value: str) -> str:
    return clip(visible(str(value)), _CELL)
