"""The sample hospital damaged anew at other rows, in other forms: nothing sound is lost, nothing broken gets in.

More hospitals: YIBAO_DAMAGES=20 pytest tests/test_damaged_hospital.py
"""

import json
import os
from pathlib import Path

import polars as pl
import pytest
import textbook
from conftest import shared
from damages import Damager
from test_reading import ZY
from test_sample_hospital import judged

from engine.tables.read import read

SEEDS = range(1, 1 + int(os.environ.get("YIBAO_DAMAGES", "1")))
CLEAN = {check: "pass" for check in ("V03", "V04", "V05", "V06", "V07", "V08", "V09", "V10")}
UNCHECKED = {check: "not_checkable" for check in ("V01", "V02", "V11", "V12")}


@pytest.fixture
def sound() -> tuple[dict, dict]:
    """The rows of the sample without any damage, and its key."""
    bundle = shared("data", "sample-hospital")
    key = textbook.load_key(bundle)
    tables = textbook.read(bundle, key)
    for row in tables["SETTLE_ZY"]:
        row["ADMISSION_DEPT_NAME"] = row["ADMISSION_DEPT_NAME"] or row["DISCHARGE_DEPT_NAME"]
    return tables, key


def scored(damager: Damager, folder: Path, verdicts: dict[str, str]) -> str:
    key = damager.write(folder / "in")
    key["official_checks"] = {check: {"verdict": verdict} for check, verdict in (UNCHECKED | CLEAN | verdicts).items()}
    (folder / "key.json").write_text(json.dumps(key, ensure_ascii=False), "utf-8")
    score = judged(folder / "in", folder / "key.json", folder)
    return "" if score.returncode == 0 else score.stdout + score.stderr


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_damaged_anywhere_are_set_aside_or_read_as_the_key_says(tmp_path, sound, seed):
    damager = Damager(*sound, seed)
    damager.damaged()
    assert not scored(damager, tmp_path, dict.fromkeys(["V04", "V05", "V06", "V10"], "fail"))


@pytest.mark.skipif(not os.environ.get("YIBAO_DAMAGES"), reason="one more run: set YIBAO_DAMAGES")
def test_an_undamaged_hospital_passes_every_check_that_can_be_made(tmp_path, sound):
    assert not scored(Damager(*sound, 0), tmp_path, {})


def read_rows(folder: Path, delimiter: str, rows: list[list[str]]):
    (folder / "in").mkdir()
    text = "".join(delimiter.join(row) + "\n" for row in [[*ZY], *rows])
    (folder / "in" / "SETTLE_ZY.csv").write_text(text, "utf-8")
    return read(folder / "in", folder / "work", "flight-inspection-2024")


@pytest.mark.parametrize("delimiter", [",", "|@|"])
@pytest.mark.parametrize("surplus", ["备注", ""])
def test_a_repeated_row_with_a_surplus_field_is_the_row_again(tmp_path, delimiter, surplus):
    extract = read_rows(tmp_path, delimiter, [[*ZY.values()], [*ZY.values(), surplus]])
    assert extract.rejects.filter(pl.col("line") > 0)["code"].to_list() == ["E_DUP"]
    assert extract.tables["claims"].collect().height == 1


@pytest.mark.parametrize("more", [["备注"], []])
def test_a_quote_in_a_name_hides_no_delimiter_of_three_characters(tmp_path, more):
    row = ZY | {"DOCTOR_NAME": '=HYPERLINK("http://example.invalid","x")'}
    extract = read_rows(tmp_path, "|@|", [[*row.values(), *more], [*(ZY | {"HISID": "Z2"}).values()]])
    assert not extract.rejects.filter(pl.col("line") > 0).height
    assert extract.tables["claims"].collect()["atddr_name"].to_list()[0] == row["DOCTOR_NAME"]
