"""One claim as a JSON document in canonical names, read with the dictionary, types and reasons of the files.

    {"claim": {…}, "fee_lines": […], "diagnoses": […], "procedures": […], "person": {…}, "history": [{"claim": {…}, …}]}

and any other table by its name. Money is yuan and dates are ISO, as in files; a code is text, since a JSON number has
lost its leading zeros. Whoever sends one claim can mend it at once, so a value that a file would only note and leave
blank is refused here too, all faults in one pass.
"""

import datetime
import difflib
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl

from engine.tables import dictionary, profiles, reasons, values
from engine.tables.mapping import shape_chunk
from engine.tables.problems import InputProblem
from engine.tables.records import UNIT, odd
from engine.tables.shaped import Setting

ONE_ROW = {"claim": "claims", "person": "persons"}
OF_HISTORY = ("fee_lines", "diagnoses", "procedures")
ALLOWED = {
    "text": '文本，加引号 text in quotes, "001"',
    "int": "整数 a whole number",
    "money": "元，至多两位小数 yuan, at most two decimals",
    "decimal": "十进制数 a decimal number",
    "date": "YYYY-MM-DD",
    "datetime": "YYYY-MM-DD HH:MM:SS",
}
LONGEST_NUMBER = 40  # digits before or behind the point
Row = tuple[str, dict]  # where it stands in the document, and its fields


def load(path: Path) -> dict:
    """The document in a file, numbers exact. Raises InputProblem with line and column."""
    if path.is_dir():
        raise InputProblem("是目录，应为 JSON 文件 a folder, not a file", str(path))
    try:
        text = path.read_text("utf-8-sig")
        return json.loads(text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        where, hint = f"{path}:{error.lineno}:{error.colno}", ""
        if error.msg == "Extra data":
            hint = "一个文件只写一张结算单；以前的放在 history 里 one claim a file, earlier ones under history"
        raise InputProblem(f"不是有效的 JSON not valid JSON: {error.msg}", where, hint=hint) from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputProblem(f"不是可读的 JSON not readable JSON: {error}", str(path)) from None


def _no_number(word: str):
    raise ValueError(f"{word} 不是数 is no number")


def _once(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"键重复 key stands twice: {next(n for n in names if names.count(n) > 1)}")
    return found


def tables_of(document: dict, name: str = "") -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Canonical tables of a document, and what was accepted with a remark.

    The first row of claims is the claim; those of `history` follow. A table is there only if the document names it.
    Raises InputProblem that lists every fault: where, what, what would be allowed.
    """
    rows, faults = _rows(document)
    made, notes = {}, []
    for table, given in rows.items():
        texts = _texts(table, given, faults)
        if not faults:
            made[table] = _typed(table, given, texts, faults, notes)
    if not faults:
        faults += [fault for table, frame in made.items() for fault in _unkeyed(table, frame, rows[table])]
    if faults:
        raise InputProblem("\n  ".join(faults), name)
    return made, notes


def _rows(document) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of every table with the place of each; rows of a claim bear its number."""
    known, faults = [*ONE_ROW, "history", *(t for t in dictionary.tables() if t not in ONE_ROW.values())], []
    if not isinstance(document, dict):
        return {}, ["应为一个 JSON 对象，一次一张结算单 one JSON object, one claim at a time"]
    if not isinstance(document.get("claim"), dict):
        return {}, ["claim: 缺少，或不是一个对象；一次一张结算单 missing or not an object; one claim at a time"]
    rows = {"claims": [("claim", document["claim"])]}
    for part, value in document.items():
        if part not in known:
            faults.append(f"{part}: 没有这一项 no such part{_near(part, known)}")
        elif part not in ("claim", "history"):
            rows[ONE_ROW.get(part, part)] = list(_listed(part, value, document["claim"], faults))
    for place, (path, earlier) in enumerate(_objects("history", document.get("history", []), faults)):
        if not isinstance(earlier.get("claim"), dict):
            faults.append(f"history[{place}].claim: 缺少 missing")
            continue
        rows["claims"].append((f"{path}.claim", earlier["claim"]))
        for part in (p for p in earlier if p != "claim"):
            if part not in OF_HISTORY:
                faults.append(f"{path}.{part}: 没有这一项 no such part{_near(part, OF_HISTORY)}")
            elif part in rows:
                rows[part] += _listed(f"{path}.{part}", earlier[part], earlier["claim"], faults, part)
    return rows, faults


def _listed(path: str, value, claim: dict, faults: list[str], table: str = "") -> Iterator[Row]:
    """The rows of one table; what they leave out and their claim says is filled in, and `seq` by their order."""
    table = table or ONE_ROW.get(path, path)
    required = [f.name for f in dictionary.table(table).fields.values() if f.required]
    known = {name: value if isinstance(value, str) else None for name, value in claim.items()}
    own = {name: known[name] for name in ("setl_id", "psn_no") if name in required and name in known}
    mine = own.get("setl_id")
    for number, (where, row) in enumerate(_objects(path, [value] if path in ONE_ROW else value, faults), 1):
        if mine and row.get("setl_id", mine) != mine:
            faults.append(f"{where}.setl_id: {row['setl_id']} 不是所属结算单 is not the claim above it, {mine}")
        yield where, {**own, **({"seq": number} if "seq" in required else {}), **row}


def _objects(path: str, value, faults: list[str]) -> Iterator[Row]:
    if not isinstance(value, list):
        faults.append(f"{path}: 应为列表 should be a list")
        return
    for number, row in enumerate(value):
        where = path if path in ONE_ROW else f"{path}[{number}]"
        if isinstance(row, dict):
            yield where, row
        else:
            faults.append(f"{where}: 应为对象 should be an object")


def _texts(table: str, rows: list[Row], faults: list[str]) -> dict[str, list[str | None]]:
    """The values of every field as the text a file would have."""
    fields = dictionary.table(table).fields
    given = dict.fromkeys(name for _, row in rows for name in row)
    for path, row in rows:
        faults += [f"{path}.{n}: 没有这个字段 no such field{_near(n, fields)}" for n in row if n not in fields]
        absent = [name for name in _file(table).required if name not in row]
        if absent:
            faults.append(f"{path}: 缺少 missing {', '.join(f'{n} {fields[n].label}' for n in absent)}")
    return {
        name: [_text(row.get(name), fields[name], f"{path}.{name}", faults) for path, row in rows]
        for name in given if name in fields
    }  # fmt: skip


def _text(value, field: dictionary.Field, where: str, faults: list[str]) -> str | None:
    kind, wrong = field.type.partition("(")[0], ""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.date) and kind in ("date", "datetime"):
        return value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else value.isoformat()
    if isinstance(value, float):
        wrong = "二进制浮点数不精确，应为文本或 Decimal a binary float is not exact"
    elif isinstance(value, bool) or not isinstance(value, int | Decimal):
        wrong = f"不能是 {type(value).__name__}"
    elif kind == "text":
        wrong = "数字会丢失编码的前导零 a number loses the leading zeros of a code"
    elif kind in ("date", "datetime"):
        wrong = "不能是数字 not a number"
    elif abs(Decimal(value).adjusted()) > LONGEST_NUMBER:
        wrong = reasons.REJECTED["E_RANGE"]
    if wrong:
        faults.append(_fault(where, field, wrong))
        return None
    return format(Decimal(value), "f")


def _typed(table: str, rows: list[Row], texts: dict, faults: list[str], notes: list[str]) -> pl.DataFrame:
    """The rows with typed values, through the same door as those of a file."""
    fields = dictionary.table(table).fields
    if not rows:
        return pl.DataFrame(schema=dictionary.table(table).schema)
    lines = [UNIT.join(cell or "" for cell in row) for row in zip(*texts.values(), strict=True)]
    raw = pl.DataFrame({**texts, "_raw": lines}, schema=dict.fromkeys([*texts, "_raw"], pl.String))
    typed = raw.select(*(values.plain(fields[name]) for name in texts), _odd=odd(pl.col("_raw"), UNIT))
    if not typed["_odd"].any() and all(typed[name].null_count() == raw[name].null_count() for name in texts):
        return typed.drop("_odd")
    marks = {"_line": pl.int_range(pl.len(), dtype=pl.Int64), "_extra": pl.lit(False), "_odd": typed["_odd"]}
    _, shaped = shape_chunk(raw.drop("_raw").with_columns(**marks), Setting(_file(table), _profile(), table, table, {}))
    for report in (*shaped.rejects, *shaped.warnings):
        for line, column, code, reason, shown in report.select("line", "column", "code", "reason", "raw").iter_rows():
            said = f"{reason}：{shown}" if shown else reason
            refused = code in reasons.REJECTED or code == "W_BAD_VALUE"
            what = _fault(f"{rows[line][0]}.{column}", fields[column], said, refused)
            (faults if refused else notes).append(what)
    frame = shaped.tables[0][1]
    return frame.select(name for name in frame.columns if name in fields)


def _unkeyed(table: str, frame: pl.DataFrame, rows: list[Row]) -> Iterator[str]:
    """Rows without a key, with that of another row, or of another claim than the one they stand under."""
    key = dictionary.table(table).key
    seen = {}
    for (path, _), found in zip(rows, frame.select(key).iter_rows(), strict=True):
        if None in found:
            yield f"{path}.{key[found.index(None)]}: {reasons.REJECTED['E_NO_KEY']}"
        elif found in seen:
            yield f"{path}: 与 {seen[found]} 主键相同 same key as {seen[found]}: {'+'.join(map(str, found))}"
        seen.setdefault(found, path)


def _fault(where: str, field: dictionary.Field, what: str, refused: bool = True) -> str:
    allowed = f"；允许 allowed: {ALLOWED[field.type.partition('(')[0]]}" if refused else ""
    return f"{where} {field.label}: {what}{allowed}"


def _near(word: str, known) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"；是否想写 did you mean {near[0]}?" if near else f"；可写 known: {', '.join(list(known)[:40])}"


@cache
def _profile() -> profiles.Profile:
    return profiles.load("canonical")


def _file(table: str) -> profiles.FileMap:
    return _profile().files[table]
