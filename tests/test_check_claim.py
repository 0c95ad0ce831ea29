"""One claim asked of every rule: the same answers as a run over the bundle, and clear messages for bad documents."""

import json
from decimal import Decimal

import polars as pl
import pytest
import sample_region
from conftest import shared

import synthetic.cli  # noqa: F401  registers every command
from engine.cli.app import app, call
from engine.reference.places import rules_folder
from engine.run import buckets, stages
from engine.run.region import load_region
from engine.run.single import Checker
from engine.tables import dictionary
from engine.tables.read import read

OF_CLAIM = ("fee_lines", "diagnoses", "procedures")
CLAIM = {
    "setl_id": "S1", "psn_no": "P1", "fixmedins_code": "H00000000001", "visit_kind": "inpatient", "hosp_lv": "3",
    "begntime": "2025-03-03 09:00:00", "endtime": "2025-03-05 10:00:00", "setl_time": "2025-03-05 10:00:00",
    "medfee_sumamt": "200.00", "inscp_scp_amt": "200.00", "fund_pay_sumamt": "160.00", "gend": "1",
    "brdy": "1970-06-15",
}  # fmt: skip
BED = {"feedetl_sn": "F1", "med_list_codg": "001109000010000", "medins_list_name": "普通病房床位费",
       "med_chrgitm_type": "01", "fee_ocur_time": "2025-03-03 12:00:00", "cnt": "2", "pric": "40",
       "det_item_fee_sumamt": "80.00", "inscp_scp_amt": "80.00"}  # fmt: skip


@pytest.fixture(scope="module")
def checker(region):
    return Checker(region)


@pytest.fixture
def run(capsys):
    """run("check-claim", FILE, …): exit code, what was printed, what was complained of."""

    def start(*arguments):
        code = call(app, ["--lang", "zh", *map(str, arguments)])
        return code, *capsys.readouterr()

    return start


# the same answers as a run


def tables_in(source, region, folder) -> dict[str, pl.DataFrame]:
    """The typed tables of a whole bundle, as a run has them for its persons."""
    extract = read(source, folder / "read", "auto", region.knowledge["wordings"])
    extract.tables["claims"] = stages.placed(extract.tables["claims"])
    buckets.split(extract.tables, folder / "cut", 10**9)
    return buckets.bucket_tables(folder / "cut", 0)


def document(tables: dict[str, pl.DataFrame], setl_id: str) -> dict:
    """One claim with the rest of its person's claims as a caller would send them."""
    claims = tables["claims"]
    mine = claims.filter(pl.col("setl_id") == setl_id)
    others = claims.filter(pl.col("_person") == mine["_person"][0], pl.col("setl_id") != setl_id)
    persons = {"person": rows("persons", tables["persons"], "psn_no", mine["psn_no"][0])} if "persons" in tables else {}
    extra = {name: rows(name, tables[name], "setl_id", setl_id) for name in ("service_logs",) if name in tables}
    return {
        **parts(tables, mine), **extra, **{part: found[0] for part, found in persons.items() if found},
        "history": [parts(tables, others.filter(pl.col("setl_id") == other)) for other in others["setl_id"]],
    }  # fmt: skip


def parts(tables: dict[str, pl.DataFrame], claim: pl.DataFrame) -> dict:
    setl_id = claim["setl_id"][0]
    own = {name: rows(name, tables[name], "setl_id", setl_id) for name in OF_CLAIM if name in tables}
    return {"claim": rows("claims", claim, "setl_id", setl_id)[0], **own}


def rows(table: str, frame: pl.DataFrame, key: str, value: str) -> list[dict]:
    fields = dictionary.table(table).fields
    blank = dict.fromkeys(f.name for f in fields.values() if f.required)
    return [
        blank | {n: told(v, fields[n].type) for n, v in row.items() if n in fields and v is not None}
        for row in frame.filter(pl.col(key) == value).iter_rows(named=True)
    ]


def told(value, kind: str) -> str:
    return format(Decimal(value) / 100, ".2f") if kind == "money" else str(value)


def same_as_batch(tables, region, checker, every: int = 1) -> int:
    """Claims alone against the run over all: those some finding touches, and of the others every so many-th.

    Answers how many findings were compared.
    """
    findings, evidence, _ = stages.audited(tables, region)
    kept, wrong, accused = 0, [], {*findings["setl_id"], *evidence["setl_id"]}
    for number, setl_id in enumerate(tables["claims"]["setl_id"]):
        if setl_id not in accused and number % every:
            continue
        touched = evidence.filter(pl.col("setl_id") == setl_id)["finding_id"].unique()
        mine = findings.filter((pl.col("setl_id") == setl_id) | pl.col("finding_id").is_in(touched.implode()))
        said = checker(document(tables, setl_id)).findings
        told_rows = {(f["finding_id"], tuple(row.values())) for f in said for row in f["evidence"]}
        own = evidence.join(mine.select("finding_id"), on="finding_id", how="semi")
        batch_rows = {(row[0], row[1:]) for row in own.select("finding_id", pl.exclude("finding_id")).iter_rows()}
        alone = sorted(tuple(f[name] for name in findings.columns) for f in said)
        if alone != sorted(mine.iter_rows()) or told_rows != batch_rows:
            wrong.append((setl_id, alone, mine.rows()))
        kept += len(said)
    assert wrong == []
    return kept


def test_every_claim_of_a_bundle_is_answered_as_in_the_run(bundle, region, checker, tmp_path):
    assert same_as_batch(tables_in(bundle, region, tmp_path), region, checker) > 20


def test_the_claims_of_the_sample_hospital_are_answered_as_in_the_run(tmp_path):
    source = shared("data", "sample-hospital")
    given = tmp_path / "region"
    sample_region.write_region(json.loads((source / "key.json").read_text("utf-8")), given, rules_folder())
    region = load_region(str(given / "policy.yaml"), params=given / "params.yaml", knowledge=[given / "knowledge"])
    assert same_as_batch(tables_in(source, region, tmp_path), region, Checker(region), every=25) > 100
