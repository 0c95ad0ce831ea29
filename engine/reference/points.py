"""From the rows of published files to rows of knowledge tables: what each says, and what of it cannot be used.

A row becomes one point, or several where its note says several things. The two files of a drug limit are joined by the
drug's name. Where an explanation and the value beside it differ, the point takes what is milder to the institution.
"""

import datetime as dt
import difflib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil

from engine.reference.knowledge import form, shapes
from engine.reference.published import Row, Sheet, spec

REFUSED, NOTE = "refused", "note"
CODES = ("code", "main", "included")
NUMBERS = ("int", "decimal")
DRUG_CODE = ("med_list_codg",)  # of a drug it comes with the row of the codes file
MILDER = {
    "max": lambda a, b: max(a, b, key=int),
    "min": lambda a, b: min(a, b, key=int),
    "union": lambda a, b: "|".join(sorted({*a.split("|"), *b.split("|")})),
}


@dataclass(frozen=True)
class Remark:
    """Something to know about one row: refused, or a note on one that is used."""

    severity: str
    file: str
    line: int
    column: str
    what: str
    hint: str = ""


@dataclass(frozen=True)
class Point:
    """A row of a knowledge table: what the publication says, what it leaves open, the published rows behind it."""

    table: str
    said: dict[str, str]
    unsaid: dict[str, str]
    row: Row
    named_by: tuple[Row, ...] = ()  # the rows of the names file, for the code of a drug


class Unusable(Exception):
    """Why a row cannot be used: the word of its column, what is wrong, what was likely meant."""

    def __init__(self, word: str, what: str, hint: str = ""):
        self.word, self.what, self.hint = word, what, hint
        super().__init__(what)


def points_of(sheets: list[Sheet], source: str = "") -> tuple[list[Point], list[Remark]]:
    """Every point of the files, and what is to be said about their rows.

    `source` is where they come from, if it is not the national publication.
    """
    points, remarks, names = [], [], defaultdict(list)
    for sheet in sorted(sheets, key=lambda sheet: sheet.shape != "drug_names"):  # codes are read with all names known
        for row in sheet.rows:
            try:
                if sheet.shape == "drug_codes":
                    points += _coded(row, names)
                    continue
                found = _read_row(row, sheet.shape, source, remarks)
                if sheet.shape == "drug_names":
                    names[row.cells["subject"], row.cells["drug"]].append((row, found))
                else:
                    points += found
            except Unusable as why:
                remarks.append(refused(row, why))
    asked = {(row.cells["subject"], row.cells["drug"]) for s in sheets if s.shape == "drug_codes" for row in s.rows}
    for (subject, drug), limits in names.items():
        why = Unusable("value", f"同一药品限定不一 limits of this name differ: {drug}") if _differ(limits) else None
        if (subject, drug) not in asked:
            why = Unusable("drug", f"没有这个药品的编码 no codes for this name: {drug}")
        remarks += [refused(row, why) for row, _ in limits] if why else []
    return points, remarks


def refused(row: Row, why: Unusable) -> Remark:
    """A row that is not used, and why."""
    column = row.columns.get(why.word, row.columns.get("text", "")) if why.word else ""
    return Remark(REFUSED, row.file, row.line, column, why.what, why.hint)


def _differ(limits: list[tuple[Row, list[Point]]]) -> bool:
    return any([p.said for p in points] != [p.said for p in limits[0][1]] for _, points in limits)


def _coded(row: Row, names: dict[tuple[str, str], list]) -> list[Point]:
    """The points of one code of a drug: the limits of its name."""
    _check_form(row)
    subject, drug = row.cells["subject"], row.cells["drug"]
    limits = names.get((subject, drug))
    if not limits:
        close = difflib.get_close_matches(drug, [name for of, name in names if of == subject], 1)
        hint = f"是否 did you mean {close[0]}" if close else f"{subject} 的药品名称与限定在另一个文件里，须一起导入"
        raise Unusable("drug", f"没有这个药品的限定 no limit for this name: {drug}", hint)
    if _differ(limits):
        raise Unusable("drug", f"同一药品限定不一 limits of this name differ: {drug}")
    own, named_by = {"med_list_codg": _code(row, "code", "drug")} | _dates(row), tuple(row for row, _ in limits)
    return [Point(p.table, p.said | own, p.unsaid, row, named_by) for p in limits[0][1]]


def _read_row(row: Row, shape: str, source: str, remarks: list[Remark]) -> list[Point]:
    """The points one row is; remarks are added for what is used but should be known."""
    _check_form(row)
    kind, batch = spec()["shapes"][shape]["kind"], spec()["shapes"][shape].get("batch")
    codes = {word: _code(row, word, kind) for word in CODES if word in row.cells}
    if "main" in codes and codes["main"] == codes["included"]:
        raise Unusable("included", f"主项与从项相同 a pair with itself: {codes['main']}")
    points = []
    for name, cells in _subjects(row, shape):
        subject = _subject(name, kind, cells)
        base = {field: cells.get(cell, "") for field, cell in subject.get("copy", {}).items()}
        base |= {"med_list_codg": codes.get("code", ""), "name": cells.get("service") or cells.get("drug", "")}
        base |= subject.get("means", {}) | _dates(row) | {"rule": subject.get("rule", {}).get(kind, "")}
        for read in _milder(subject, cells, row, remarks):
            origin = [source or f"国家知识点第{batch or subject['batch'][kind]}批", read.get("said", "")]
            said = base | {"grade": "region" if source else "national"} | read
            said["source"] = "; ".join(part for part in origin if part)
            own = {f: said[f] for f in shapes()[subject["table"]].fields if f in said}
            _check_fields(subject["table"], own, row)
            points.append(Point(subject["table"], own, _unsaid(subject, own, kind), row))
    return points


def _check_form(row: Row) -> None:
    if row.fault:
        raise Unusable("", row.fault)
    if not row.cells.get("drug", "-"):
        raise Unusable("drug", "药品名称不能为空 the name must not be blank")


def _subject(name: str, kind: str, cells: dict[str, str]) -> dict:
    """What is known of a subject, if it concerns such items and all it reads of a row is there."""
    known = {word: subject for word, subject in spec()["subjects"].items()
             if kind in subject["batch"] and _cells_read(subject) <= {*cells}}  # fmt: skip
    if name not in known:
        allowed = f"允许 allowed: {'、'.join(known)}"
        raise Unusable("subject", f"不认识的限定类型 unknown kind of limit: {name or '（空）'}", allowed)
    return known[name]


def _cells_read(subject: dict) -> set[str]:
    return {subject.get("of"), *subject.get("copy", {}).values()} - {None, "text"}


def _subjects(row: Row, shape: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What a row speaks of, each with the cells to be read for it."""
    if fixed := spec()["shapes"][shape].get("subject"):
        yield fixed, row.cells
    elif "subject" in row.cells:
        yield row.cells["subject"], row.cells
    else:
        note, found = row.cells["text"], False
        for pattern in spec()["notes"]:
            if match := re.search(pattern["says"], note):
                found = True
                yield pattern["subject"], row.cells | {"value": match[match.lastindex or 0], "text": ""}
        if not found:
            raise Unusable("text", f"备注读不懂 the note cannot be read: {note or '（空）'}")


def _milder(subject: dict, cells: dict[str, str], row: Row, remarks: list[Remark]) -> list[dict[str, str]]:
    """What the value means, or where the explanation says otherwise, whichever is milder to the institution."""
    if "of" not in subject:
        return [{}]
    value, text = cells[subject["of"]], cells.get("text", "")
    found = _meaning(subject, value, subject["of"])
    for other in sorted(set(re.findall(subject["text"], text)) - {value}) if "text" in subject else ():
        ((field, how),) = subject["milder"].items()
        best = MILDER[how](found[0][field], _meaning(subject, other, "text")[0][field])
        found = [found[0] | {field: best}]
        what = f"说明写{other}，值写{value}，按较宽的 explanation and value differ, the milder holds: {field}={best}"
        remarks.append(Remark(NOTE, row.file, row.line, row.columns["value"], what))
    for pattern, what in subject.get("careful", {}).items():
        if re.search(pattern, text):
            remarks.append(Remark(NOTE, row.file, row.line, row.columns["text"], what))
    return found


def _meaning(subject: dict, word: str, column: str) -> list[dict[str, str]]:
    if "measure" in subject:
        days = days_of(word)
        if not days:
            raise Unusable(column, f"读不懂的天数 not a length of time: {word or '（空）'}", "14天、12个月、一年 …")
        return [{subject["measure"]: str(days)}]
    if word not in subject["words"]:
        allowed = "、".join(subject["words"])
        raise Unusable(column, f"不允许的值 value not allowed: {word or '（空）'}", f"允许 allowed: {allowed}")
    meaning = subject["words"][word]
    return meaning if isinstance(meaning, list) else [meaning]


def days_of(text: str) -> int | None:
    """A length of time in whole days, a part of one counting as one; None for what is no length of time."""
    units, numerals = spec()["days"], spec()["numerals"]
    match = re.fullmatch(rf"([0-9]+|{'|'.join(numerals)})?({'|'.join(units)})", text)
    return ceil(int(numerals.get(match[1], match[1] or "1")) * Fraction(units[match[2]])) if match else None


def _code(row: Row, word: str, kind: str) -> str:
    code, wanted = row.cells[word], spec()["codes"][kind]
    if re.fullmatch(wanted["form"], code):
        return code
    for damage in spec()["damage"]:
        if re.fullmatch(damage["looks"], code):
            likely = damage.get("hint", "").format(code)
            raise Unusable(word, f"编码{damage['said']}: {code}", likely and f"可能是 perhaps {likely}")
    raise Unusable(word, f"不是编码 not a code: {code or '（空）'}", f"应为 should be {wanted['said']}")


def _dates(row: Row) -> dict[str, str]:
    """The dates between which a row holds, where the file has such columns."""
    found = {word: row.cells[word].removesuffix(" 00:00:00") for word in ("begndate", "enddate") if word in row.cells}
    for word, text in found.items():
        try:
            dt.date.fromisoformat(text or "2000-01-01")
        except ValueError as error:
            raise Unusable(word, f"不是日期 not a date: {text}", form("date")[1]) from error
    if all(found.values()) and len(found) == 2 and found["begndate"] > found["enddate"]:
        raise Unusable("enddate", f"失效早于生效 ends before it begins: {found['begndate']} – {found['enddate']}")
    return found


def _check_fields(table: str, own: dict[str, str], row: Row) -> None:
    """Each field as its table wants it, so that what is written can be read."""
    for name, text in own.items():
        field, word = shapes()[table].fields[name], _word_of(name, row)
        if text and not re.search(form(field.type)[0], text):
            raise Unusable(word, f"{field.label}读不懂 cannot be read: {text}", form(field.type)[1])
        if text and field.type.startswith(NUMBERS) and Decimal(text) <= 0:
            raise Unusable(word, f"{field.label}须大于零 must be above zero: {text}")
        if not text and field.required and name not in DRUG_CODE:
            raise Unusable(word, f"{field.label}不能为空 must not be blank")


def _word_of(field: str, row: Row) -> str:
    """The word of the column a field was taken from."""
    copied = {f: cell for s in spec()["subjects"].values() for f, cell in s.get("copy", {}).items()}
    word = copied.get(field, "value")
    return word if word in row.columns else "value"


def _unsaid(subject: dict, said: dict[str, str], kind: str) -> dict[str, str]:
    """Fields the publication leaves open, by the beginning of the code before the kind."""
    found = {}
    for key, fields in subject.get("unsaid", {}).items():
        if key == kind or said.get("med_list_codg", "").startswith(key):
            found = fields | found
    return found
