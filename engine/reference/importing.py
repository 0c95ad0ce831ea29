"""The national knowledge points as a folder of knowledge tables: to which rule a row belongs, what of ours stays.

The publication knows no rule numbers. A row whose key our seeds give to a numbered rule goes to that rule, all others
to the rule without a number that uses the table. Rows that contradict each other are all refused: none is the truth.
"""

import csv
import io
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

from engine.reference.knowledge import EARLIEST, IDENTITY, LATEST, load_knowledge, shapes
from engine.reference.places import seeds_folder
from engine.reference.points import NOTE, REFUSED, Point, Remark, Unusable, points_of, refused
from engine.reference.published import Row, Sheet, read_published, spec
from engine.tables.problems import InvariantBroken, UsageProblem

WRITTEN, MERGED = "written", "merged"
TELLING = ("name", "main_name", "included_name", "note", "source", "grade")  # fields that limit nothing


@dataclass(frozen=True)
class Imported:
    """Tables to be written (rows in order), rows of ours among them, what became of every published row, remarks."""

    tables: dict[str, list[dict[str, str]]]
    kept: dict[str, int]
    sheets: list[Sheet]
    fates: dict[tuple[str, int], str]
    remarks: list[Remark]

    def files(self) -> list[dict]:
        """Per file: rows = written + merged + refused, and the notes below the table."""
        found = []
        for sheet in self.sheets:
            fates = Counter(self.fates[row.at] for row in sheet.rows)
            counts = {fate: fates[fate] for fate in (WRITTEN, MERGED, REFUSED)}
            if sum(counts.values()) != len(sheet.rows):
                raise InvariantBroken(f"行数不符 rows do not add up: {counts}", sheet.file)
            kind = spec()["shapes"][sheet.shape]["label"]
            counts = {"rows": len(sheet.rows), **counts, "footers": sheet.footers}
            found.append({"file": sheet.file, "kind": kind, **counts})
        return found

    def summary(self) -> list[dict]:
        """Per table: its rows, from the publication and of ours, for numbered rules and for the rule without number."""
        return [
            {
                "table": name, "rows": len(rows), "published": len(rows) - self.kept[name], "kept": self.kept[name],
                "numbered": sum(bool(row.get("rule")) for row in rows) if "rule" in shapes()[name].fields else None,
            }
            for name, rows in self.tables.items()
        ]  # fmt: skip

    def problems(self) -> list[dict]:
        return [asdict(remark) for remark in self.remarks]


def import_published(paths: list[Path], source: str = "", keep: bool = True) -> Imported:
    """The tables that published files become; `keep` leaves our numbered rows that the files do not have.

    Raises InputProblem where a file is none of the published ones.
    """
    with tempfile.TemporaryDirectory() as work:
        sheets = read_published(paths, Path(work))
    points, remarks = points_of(sheets, source)
    fates = {row.at: REFUSED for sheet in sheets for row in sheet.rows}
    tables, kept = {}, {}
    for name in sorted({point.table for point in points}):
        ours = _seeds(name)
        rows = _merged(name, [p for p in points if p.table == name], ours, fates, remarks)
        if rows:
            taken = {_unordered(name, row) for row in rows}
            left = [row for row in ours if keep and row.get("rule") and _unordered(name, row) not in taken]
            tables[name] = sorted(rows + left, key=lambda row, name=name: _order(name, row))
            kept[name] = len(left)
    for point in points:
        for row in point.named_by if fates[point.row.at] != REFUSED else ():
            fates[row.at] = MERGED
    return Imported(tables, kept, sheets, fates, _settled(sheets, fates, remarks))


def write_tables(imported: Imported, out: Path, overwrite: bool = False) -> list[Path]:
    """The tables as CSV files in a folder; the same tables give the same bytes.

    Raises UsageProblem where a file is there already and is not to be replaced.
    """
    texts = {f"{name}.csv": _text(name, rows) for name, rows in imported.tables.items()}
    if out.exists() and not out.is_dir():
        raise UsageProblem(f"不是目录 not a folder: {out}")
    if there := [name for name in texts if (out / name).exists() and not overwrite]:
        raise UsageProblem(f"已有这些表 these tables exist: {out}: {', '.join(there)}", hint="--replace")
    with tempfile.TemporaryDirectory() as trial:  # nothing is written that could not be read again
        for name, text in texts.items():
            (Path(trial) / name).write_bytes(text.encode())
        load_knowledge([Path(trial)])
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_bytes(text.encode())
    return [out / name for name in texts]


def _text(name: str, rows: list[dict[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(shapes()[name].fields), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _seeds(name: str) -> list[dict[str, str]]:
    with (seeds_folder() / "knowledge" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key(name: str, row: dict[str, str]) -> tuple[str, ...]:
    """What a row speaks of, whichever rule it belongs to."""
    shape = shapes()[name]
    own = [n for n in IDENTITY if n != "rule" and n in shape.fields and not shape.fields[n].required]
    return tuple(row.get(field, "") for field in [*shape.key, *own])


def _unordered(name: str, row: dict[str, str]) -> tuple[str, ...]:
    """The same, a pair being one thing whichever way round."""
    return tuple(sorted(_key(name, row)))


def _order(name: str, row: dict[str, str]) -> tuple:
    rule = row.get("rule", "")
    return not rule, int(rule or 0), _key(name, row), row.get("begndate", "")


def _merged(
    name: str, points: list[Point], ours: list[dict[str, str]], fates: dict, remarks: list[Remark]
) -> list[dict[str, str]]:
    """The rows of a table: each point once, those that contradict one another not at all."""
    known = {_key(name, row): row for row in ours}
    groups = defaultdict(lambda: defaultdict(list))
    for point in points:
        seed = known.get(_key(name, point.said), {})
        row = point.unsaid | {f: seed[f] for f in point.unsaid if seed.get(f)} | point.said
        if "rule" in row:
            row["rule"] = row["rule"] or seed.get("rule", "")
        meant = tuple(sorted((field, text) for field, text in row.items() if field not in TELLING and text))
        groups[_unordered(name, row)][meant].append((row, point))
    rows = []
    for _, alike in sorted(groups.items()):
        if clash := _clash(name, [same[0][0] for same in alike.values()]):
            everyone = [point.row for same in alike.values() for _, point in same]
            remarks += [refused(row, _contradicted(row, everyone, clash)) for row in everyone]
            continue
        for same in alike.values():
            row, first = min(same, key=lambda one: (sorted(one[0].items()), one[1].row.at))
            rows.append(row)
            for _, point in same:
                if point is not first:
                    remarks.append(_same_as(point.row, first.row))
                if fates[point.row.at] != WRITTEN:
                    fates[point.row.at] = WRITTEN if point is first else MERGED
    return rows


def _clash(name: str, rows: list[dict[str, str]]) -> str:
    """Why rows about the same thing cannot stand beside each other, if they cannot."""
    if len({_key(name, row) for row in rows}) > 1:
        return "同一对项目两个方向都有 the pair stands both ways"
    spans = [(row.get("begndate") or EARLIEST.isoformat(), row.get("enddate") or LATEST.isoformat()) for row in rows]
    overlapping = any(a[0] <= b[1] and b[0] <= a[1] for a, b in combinations(spans, 2))
    return "同一编码两种说法 the same code is said to be limited otherwise" if overlapping else ""


def _contradicted(row: Row, everyone: list[Row], clash: str) -> Unusable:
    others = sorted(f"{other.file}:{other.line}" for other in everyone if other.at != row.at)
    return Unusable("value" if "value" in row.columns else "code", clash, f"另见 see {'、'.join(others)}")


def _same_as(row: Row, first: Row) -> Remark:
    what = f"与 {first.file}:{first.line} 相同，已并入 the same as there"
    return Remark(NOTE, row.file, row.line, row.columns.get("code", ""), what)


def _settled(sheets: list[Sheet], fates: dict, remarks: list[Remark]) -> list[Remark]:
    """The remarks in order: a name none of whose codes can be used is refused, a row used in part is not."""
    spoken = {(r.file, r.line) for r in remarks if r.severity == REFUSED}
    silent = [row for sheet in sheets for row in sheet.rows if fates[row.at] == REFUSED and row.at not in spoken]
    unnamed = Unusable("drug", "其编码都不能用 none of its codes can be used")
    remarks = remarks + [refused(row, unnamed) for row in silent]
    used = [
        replace(r, severity=NOTE) if r.severity == REFUSED and fates[r.file, r.line] != REFUSED else r for r in remarks
    ]
    return sorted(used, key=lambda r: (r.file, r.line, r.severity, r.what))
