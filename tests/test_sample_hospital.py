"""A hospital's extract of half a year against its answer key, as it stands and in another dress.

The dress changes what means nothing: identifiers of hospitals, claims, patients and local items, the year, encodings,
delimiters and the order of columns. Whatever the engine finds only under the names of the sample would be lost in it.
"""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sample_region
from conftest import shared

from engine.reference.places import rules_folder
from engine.run import pipeline
from engine.run.region import load_region

# column -> the form of its new values; ranks keep their order, since ties in time are settled by identifier
RENAMED = {
    "HOSPITAL_ID": "P{:011d}", "HISID": "{:010d}", "REFUND_HISID": "{:010d}", "PATIENT_ID": "pt-{:06d}",
    "ITEM_ID_HOSP": "{:06d}X", "BRIDGE_ID": "B{:07d}", "ZYH": "{:08d}", "MZH": "M{:08d}", "DOCTOR_ID": "dr{:05d}",
}  # fmt: skip
SAME_AS = {"REFUND_HISID": "HISID"}
NAMED_IN_KEY = ("HOSPITAL_ID", "HISID", "PATIENT_ID", "ITEM_ID_HOSP")
ENCODINGS = {"utf-8": "gb18030", "gb18030": "utf-8-sig", "utf-8-sig": "utf-8"}
DELIMITERS = {",": "|@|", "|@|": ","}


def judged(bundle: Path, key: Path, folder: Path) -> subprocess.CompletedProcess:
    """A run of a bundle in its key's region, scored against the key."""
    sample_region.write_region(json.loads(key.read_text("utf-8")), folder / "region", rules_folder())
    given = folder / "region"
    policy, params, knowledge = given / "policy.yaml", given / "params.yaml", [given / "knowledge"]
    region = load_region(policy=str(policy), params=params, knowledge=knowledge)
    pipeline.run(bundle, folder / "out", region, pipeline.Options(report=False))
    command = [sys.executable, shared("tools", "score_hospital.py"), bundle, key, folder / "out"]
    return subprocess.run([str(part) for part in command], capture_output=True, encoding="utf-8")


def test_the_sample_is_read_settled_and_audited_as_its_key_says(tmp_path):
    bundle = shared("data", "sample-hospital")
    score = judged(bundle, bundle / "key.json", tmp_path)
    assert score.returncode == 0, score.stdout + score.stderr


def test_the_sample_in_another_dress_scores_as_well(tmp_path):
    bundle = shared("data", "sample-hospital")
    key = disguised(bundle, json.loads((bundle / "key.json").read_text("utf-8")), tmp_path / "in")
    (tmp_path / "key.json").write_text(json.dumps(key, ensure_ascii=False), "utf-8")
    score = judged(tmp_path / "in", tmp_path / "key.json", tmp_path)
    assert score.returncode == 0, score.stdout + score.stderr


def disguised(bundle: Path, key: dict, folder: Path) -> dict:
    """Writes the bundle in its new dress to `folder`; returns the key that fits it."""
    folder.mkdir()
    files = {name: rows_of(bundle / f"{name}.csv", form) for name, form in key["control"]["files"].items()}
    names = new_names(files)
    for name, rows in files.items():
        form = key["control"]["files"][name]
        form |= {"encoding": ENCODINGS[form["encoding"]], "delimiter": DELIMITERS[form["delimiter"]]}
        head = rows[0]
        cells = [[later(renamed(names, head[at : at + 1], cell)) for at, cell in enumerate(row)] for row in rows]
        dressed = [turned(row, len(head)) for row in cells]
        (folder / f"{name}.csv").write_bytes(text_of(dressed, form["delimiter"]).encode(form["encoding"]))
    known = {old: new for column in NAMED_IN_KEY for old, new in names[column].items()}
    return replaced(key, known)


def rows_of(path: Path, form: dict) -> list[list[str]]:
    """The cells of every physical line, the header first."""
    lines = path.read_bytes().decode(form["encoding"]).replace("\r\n", "\n").rstrip("\n").split("\n")
    if form["delimiter"] != ",":
        return [line.split(form["delimiter"]) for line in lines]
    return [next(csv.reader([line]), [""]) for line in lines]


def new_names(files: dict[str, list[list[str]]]) -> dict[str, dict[str, str]]:
    """Per column of RENAMED: old value -> new value, one name for one thing in all files."""
    found: dict[str, set[str]] = {}
    for head, *rows in files.values():
        for at, column in enumerate(head):
            if column in RENAMED:
                own = {row[at] for row in rows if len(row) >= len(head) and row[at] and row[at] != column}
                found.setdefault(SAME_AS.get(column, column), set()).update(own)
    made = {c: {old: RENAMED[c].format(n) for n, old in enumerate(sorted(olds), 1)} for c, olds in found.items()}
    return made | {"REFUND_HISID": made["HISID"]}


def renamed(names: dict, column: list[str], cell: str) -> str:
    return names.get(column[0], {}).get(cell, cell) if column else cell


def later(cell: str) -> str:
    """A date or time one year later, the last of February for its leap day; any other text as it is."""
    if not re.match(r"\d{4}-\d\d-\d\d(\D|$)", cell):
        return cell
    day = cell[4:10].replace("-02-29", "-02-28")
    return f"{int(cell[:4]) + 1}{day}{cell[10:]}"


def turned(row: list[str], width: int) -> list[str]:
    """The columns in reverse order behind the first; a broken row stays as broken as it is."""
    return [row[0], *row[width - 1 : 0 : -1], *row[width:]] if len(row) >= width else row


def text_of(rows: list[list[str]], delimiter: str) -> str:
    if delimiter != ",":
        return "".join(delimiter.join(row) + "\r\n" for row in rows)
    quoted = (('"' + cell.replace('"', '""') + '"' if set(cell) & set('",') else cell for cell in row) for row in rows)
    return "".join(",".join(row) + "\n" for row in quoted)


def replaced(value, known: dict[str, str]):
    """The key with every identifier in its new form, wherever it stands."""
    if isinstance(value, dict):
        return {known.get(name, name): replaced(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, known) for item in value]
    return later(known.get(value, value)) if isinstance(value, str) else value


def test_the_dress_changes_identifiers_and_forms_but_no_amount(tmp_path):
    bundle = shared("data", "sample-hospital")
    key = json.loads((bundle / "key.json").read_text("utf-8"))
    before = {name: dict(form) for name, form in key["control"]["files"].items()}
    after = disguised(bundle, key, tmp_path / "in")["control"]["files"]
    for name, form in after.items():
        old, new = rows_of(bundle / f"{name}.csv", before[name]), rows_of(tmp_path / "in" / f"{name}.csv", form)
        assert len(old) == len(new)
        column, place = old[0].index("HOSPITAL_ID"), new[0].index("HOSPITAL_ID")
        assert not {row[column] for row in old[1:] if row[column].startswith("H4")} & {row[place] for row in new[1:]}
        assert sorted(old[0]) == sorted(new[0]) and old[0] != new[0]


@pytest.mark.parametrize("cells", [["a", "b", "c"], ["a", "b", "c", "extra"], ["a", "b"]])
def test_a_row_is_turned_with_its_header(cells):
    assert turned(cells, 3) == {3: ["a", "c", "b"], 4: ["a", "c", "b", "extra"], 2: ["a", "b"]}[len(cells)]
