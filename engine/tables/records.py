"""From a plain text file to records: every physical line is accounted for, as a good row, a reject or a blank.

Works in chunks cut at line ends, so memory stays bounded whatever the size of the file. Counting the fields of a line
before parsing it is what makes a short row a reject with its line number rather than a row filled with nulls.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.tables import reasons
from engine.tables.files import DELIMITERS, Source
from engine.tables.problems import InputProblem, InvariantBroken

CHUNK = 32 << 20
LONGEST_RECORD = 1 << 20  # bytes; a row beyond it is a damaged file, not data
LONGEST_SPAN = 200  # physical lines one quoted record may span
UNIT = "\x1f"  # stands in for delimiters of several characters
MOJIBAKE = ["\ufffd", "锟斤拷", "烫烫烫", "鑽搧", "鍖婚櫌", "娌荤枟", "妫€鏌", "鏈嶅姟"]
TOTAL_WORDS = r"(?:合\s*计|总\s*计|小\s*计|本页合计|TOTAL)"
# what must be looked at field by field: one pass over the line spares thirty over its fields
ODD = (
    r"[\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2066}-\x{2069}\x{FEFF}\x{A0}\x{3000}]",  # invisible, odd blanks
    r"[０-９Ａ-Ｚａ-ｚ．＝＋－＠]",  # full-width
    r"\d[eE]\+\d|\d{15}0{5}|\d{17}x",  # digits lost, lower-case x
    r"(?:^|[SEP\"])[=+@\t ]|(?:^|[SEP\"])-[^\d.]",  # formulas
    r" (?:[SEP\"]|$)",
    r"(?:^|SEP)\"?(?:NULL|null|\\N|#N/A|#REF!|#VALUE!)\"?(?:SEP|$)",
)


def odd(raw: pl.Expr, separator: str = ",") -> pl.Expr:
    """Whether a line has a form that must be looked at."""
    return raw.str.contains("|".join(ODD).replace("SEP", re.escape(separator)))


@dataclass
class Layout:
    """Header names in file order, the delimiter, where the data begin (byte and physical line)."""

    names: list[str]
    delimiter: str
    header: str
    offset: int
    line: int

    @property
    def separator(self) -> str:
        return self.delimiter if len(self.delimiter) == 1 else UNIT


@dataclass
class Chunk:
    """`good`: one String column per wanted header name plus _line, _extra, _odd, _hash; `rows` counts all records."""

    good: pl.DataFrame
    rejects: pl.DataFrame
    warnings: pl.DataFrame
    rows: int
    blank: int


def layout(source: Source) -> Layout:
    """Find the header line and its delimiter. Raises InputProblem when a name stands twice."""
    offset, number = 0, 0
    with open(source.text, "rb") as stream:
        for line in stream:
            number, offset = number + 1, offset + len(line)
            text = line.decode("utf-8-sig").rstrip("\r\n")
            if text.strip():
                break
        else:
            raise InputProblem("文件没有内容", source.name, hint="至少应有一行表头")
    delimiter = "|@|" if "|@|" in text else max(DELIMITERS, key=text.count)
    if delimiter not in text:
        delimiter = ","
    names = text.split(delimiter) if len(delimiter) > 1 else next(csv.reader([text], delimiter=delimiter))
    source.decisions["delimiter"] = delimiter
    return Layout([n.strip().strip('"') for n in names], delimiter, text, offset, number + 1)


def chunks(source: Source, shape: Layout, wanted: list[str], size: int = CHUNK) -> Iterator[Chunk]:
    """The data rows of a file, chunk by chunk; of the fields only the wanted ones.

    Raises InputProblem when the last line breaks off in the middle.
    """
    line = shape.line
    for block, last in _blocks(source.text, shape.offset, size, source.name):
        lines = pl.read_lines(block, name="raw", row_index_name="_line", row_index_offset=line)
        line += lines.height
        cut_off = last and not block.endswith(b"\n")
        yield _chunk(lines.with_columns(pl.col("_line").cast(pl.Int64)), source, shape, wanted, cut_off)


def _blocks(path: Path, offset: int, size: int, name: str) -> Iterator[tuple[bytes, bool]]:
    with open(path, "rb") as stream:
        stream.seek(offset)
        rest = b""
        while True:
            block = stream.read(size)
            buffer = rest + block
            if len(block) < size:
                if buffer:
                    yield buffer, True
                return
            cut = _record_end(buffer)
            if cut == 0 and len(buffer) > size + (64 << 20):
                raise InputProblem("一行超过 64MB，文件结构已损坏", name)
            rest = buffer[cut:]
            if cut:
                yield buffer[:cut], False


def _record_end(buffer: bytes) -> int:
    """Where the last complete record ends: behind the last line end that no quote is open at, as far as can be told."""
    cut = buffer.rfind(b"\n") + 1
    if buffer.count(b'"', 0, cut) % 2 == 0:
        return cut
    end = cut
    for _ in range(LONGEST_SPAN):
        start = buffer.rfind(b"\n", 0, max(end - 1, 0)) + 1
        if buffer.count(b'"', start, end) % 2:
            return start or cut
        if start == 0:
            break
        end = start
    return cut


def _chunk(lines: pl.DataFrame, source: Source, shape: Layout, wanted: list[str], cut_off: bool) -> Chunk:
    separator, width = shape.separator, len(shape.names)
    if len(shape.delimiter) > 1:
        lines = lines.with_columns(pl.col("raw").str.replace_all(shape.delimiter, UNIT, literal=True))
    quoted = bool(lines["raw"].str.contains('"', literal=True).any())
    if quoted:
        lines = _join_quoted(lines, separator, width)
    lines = _classify(lines, shape, quoted)
    if cut_off and lines["code"][-1] in ("E_FIELDS", "E_QUOTE"):
        what = f"末行（第 {lines['_line'][-1]} 行）不完整，文件可能在传输中被截断"
        raise InputProblem(what, source.name, hint="请重新导出或传输")
    rejected = lines.filter(pl.col("code").is_not_null() & (pl.col("code") != "blank"))
    good = lines.filter(pl.col("code").is_null())
    shown = pl.col("raw").str.replace_all("\x00", "␀", literal=True).str.replace_all(UNIT, "|", literal=True)
    shown = reasons.masked(shown)
    stray = reasons.issues(good.filter("_stray").head(200), source.name, None, "W_QUOTE", shown)
    blank = lines.height - rejected.height - good.height
    return Chunk(_fields(good, shape, wanted), _rejects(rejected, source.name, shown), stray, lines.height, blank)


def _rejects(rejected: pl.DataFrame, name: str, shown: pl.Expr) -> pl.DataFrame:
    return rejected.select(
        file=pl.lit(name),
        line="_line",
        column=pl.lit(None, pl.String),
        code="code",
        reason=pl.col("code").replace(reasons.REJECTED),
        raw=shown,
    )


def _well_formed(separator: str) -> str:
    one = re.escape(separator)
    field = rf'(?:"(?:[^"]|"")*"|[^"{one}]*)'
    return rf"^{field}(?:{one}{field})*$"


def _field_count(raw: pl.Expr, separator: str, quoted: bool) -> pl.Expr:
    bare = raw.str.replace_all(r'"[^"]*"', "") if quoted else raw
    return bare.str.count_matches(separator, literal=True).cast(pl.Int64) + 1


def _join_quoted(lines: pl.DataFrame, separator: str, width: int) -> pl.DataFrame:
    """Lines whose quoted field runs on are joined with the lines up to the one that closes it.

    A line with an odd number of quotes opens a candidate, the next such line closes it. A candidate counts only when
    the joined text is well formed and has the width of the table; else the quote was a stray one.
    """
    uneven = lines.with_row_index("_at").filter(pl.col("raw").str.count_matches('"', literal=True) % 2 == 1)
    if uneven.height < 2:
        return lines
    spans = uneven.select("_at", end=pl.col("_at").shift(-1)).with_row_index("k").drop_nulls()
    spans = spans.filter(pl.col("end") - pl.col("_at") <= LONGEST_SPAN)
    halves = [_closing(lines, spans.filter(pl.col("k") % 2 == half), separator, width) for half in (0, 1)]
    closed = pl.concat(halves).sort("k")
    if closed.is_empty():
        return lines
    # of candidates that share a line, every second one counts, from the first on
    run = (pl.col("k").diff().fill_null(2) != 1).cum_sum()
    closed = closed.filter(pl.col("k").cum_count().over(run) % 2 == 1)
    inside = closed.select(_record="_at", _at=pl.int_ranges("_at", pl.col("end") + 1)).explode("_at").cast(pl.UInt32)
    return (
        lines.with_row_index("_at")
        .join(inside, on="_at", how="left", maintain_order="left")
        .group_by(pl.coalesce("_record", "_at").alias("_at"), maintain_order=True)
        .agg(pl.col("_line").first(), pl.col("raw").str.join("\n"))
        .select("_line", "raw")
    )


def _closing(lines: pl.DataFrame, spans: pl.DataFrame, separator: str, width: int) -> pl.DataFrame:
    """Of candidates that do not overlap, those whose lines joined make one well-formed record."""
    texts = spans.with_columns(_row=pl.int_ranges("_at", pl.col("end") + 1)).explode("_row")
    texts = texts.with_columns(raw=lines["raw"].gather(texts["_row"]))
    joined = texts.group_by("k", "_at", "end", maintain_order=True).agg(pl.col("raw").str.join("\n"))
    count = _field_count(pl.col("raw"), separator, True)
    fits = pl.col("raw").str.contains(_well_formed(separator)) & count.is_between(width, width + 1)
    return joined.filter(fits).select("k", "_at", "end")


def _classify(lines: pl.DataFrame, shape: Layout, quoted: bool) -> pl.DataFrame:
    """Adds `code` (null for a readable row, `blank`, or a reason), `_extra`, `_stray` and `_odd`."""
    raw, separator, width = pl.col("raw"), shape.separator, len(shape.names)
    one = re.escape(separator)
    header = shape.header.replace(shape.delimiter, separator).replace('"', "").strip()
    bare = raw.str.replace_all('"', "", literal=True) if quoted else raw
    stray = ~raw.str.contains(_well_formed(separator)) if quoted else pl.lit(False)
    lines = lines.with_columns(_stray=stray).with_columns(
        _fields=pl.when("_stray")
        .then(_field_count(raw, separator, False))
        .otherwise(_field_count(raw, separator, quoted)),
    )
    fields = pl.col("_fields")
    most = width + (len(shape.delimiter) > 1)  # a quote hides no delimiter of several characters: the surplus is real
    trimmed = raw.str.strip_chars_end(separator + " ")
    total = rf'^(?:[^{one}]*{one}){{0,2}}"?\s*{TOTAL_WORDS}[:：]?\s*"?\s*(?:{one}|$)'
    code = (
        pl.when(raw.str.contains("\x00", literal=True)).then(pl.lit("E_NUL"))
        .when(raw.str.strip_chars(" \t\r\n\"\u3000" + separator) == "").then(pl.lit("blank"))
        .when(raw.str.len_bytes() > LONGEST_RECORD).then(pl.lit("E_TOO_LONG"))
        .when(bare.str.strip_chars(" \t\r\n\ufeff") == header).then(pl.lit("E_HEADER_ROW"))
        .when(raw.str.contains(total)).then(pl.lit("E_TOTAL_ROW"))
        .when(raw.str.contains_any(MOJIBAKE)).then(pl.lit("E_MOJIBAKE"))
        .when(pl.col("_stray") & ~fields.is_between(width, most)).then(pl.lit("E_QUOTE"))
        .when(fields < width).then(pl.lit("E_FIELDS"))
        .when((fields > width + 1) & (_field_count(trimmed, separator, quoted) > width)).then(pl.lit("E_FIELDS"))
    )  # fmt: skip
    return lines.with_columns(code=code, _extra=fields > width, _odd=odd(raw, separator)).drop("_fields")


def _without_surplus(separator: str) -> pl.Expr:
    """The text of a row by which it is told from others: a surplus trailing field makes no other row."""
    one = re.escape(separator)
    last = rf'{one}(?:"(?:[^"]|"")*"|[^{one}"]*)$'
    own = pl.when("_extra").then(pl.col("raw").str.replace(last, "")).otherwise("raw")
    return own.str.strip_chars_end(separator + " ")


def _fields(good: pl.DataFrame, shape: Layout, wanted: list[str]) -> pl.DataFrame:
    """The wanted fields of well-formed rows as text; blank is null."""
    separator = shape.separator
    if good["_stray"].any():
        plain = pl.col("raw").str.split(separator).list.eval('"' + pl.element().str.replace_all('"', '""') + '"')
        good = good.with_columns(raw=pl.when("_stray").then(plain.list.join(separator)).otherwise("raw"))
    marks = good.select("_line", "_extra", "_odd", _hash=_without_surplus(separator).hash(11))
    buffer = io.BytesIO()
    good.select("raw").write_csv(buffer, include_header=False, quote_style="never")
    schema = {f"f{i}": pl.String for i in range(len(shape.names))}
    columns = [i for i, name in enumerate(shape.names) if name in set(wanted)]
    if good.is_empty() or not columns:
        return marks.with_columns(pl.lit(None, pl.String).alias(shape.names[i]) for i in columns)
    table = pl.read_csv(
        buffer.getvalue(), has_header=False, separator=separator, schema=schema, columns=columns, infer_schema=False,
        truncate_ragged_lines=True, extra_columns="ignore",
    )  # fmt: skip
    if table.height != good.height:
        raise InvariantBroken(f"切分 {good.height} 行得到 {table.height} 行")
    table.columns = [shape.names[i] for i in columns]
    if good["raw"].str.contains('""', literal=True).any():  # a quoted blank is as blank as a bare one
        table = table.with_columns(pl.all().replace("", None))
    return pl.concat([table, marks], how="horizontal")
