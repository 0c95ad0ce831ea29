"""One claim asked of every rule: the same answers as a run over the bundle, and clear messages for bad documents."""

import json
import shutil
import subprocess
import sys

import polars as pl
import pytest
import sample_region
from conftest import shared

import engine
import synthetic.cli  # noqa: F401  registers every command
from engine.cli.app import app, call
from engine.reference.places import rules_folder
from engine.run import buckets, stages
from engine.run.region import load_region
from engine.run.single import Checker
from engine.tables.problems import InputProblem
from engine.tables.read import read
from synthetic.documents import document

CLAIM = {
    "setl_id": "S1", "psn_no": "P1", "fixmedins_code": "H00000000001", "visit_kind": "inpatient", "hosp_lv": "3",
    "begntime": "2025-03-03 09:00:00", "endtime": "2025-03-05 10:00:00", "setl_time": "2025-03-05 10:00:00",
    "medfee_sumamt": "200.00", "inscp_scp_amt": "200.00", "fund_pay_sumamt": "160.00", "gend": "1",
    "brdy": "1970-06-15",
}  # fmt: skip
BED = {"feedetl_sn": "F1", "med_list_codg": "001109000010000", "medins_list_name": "普通病房床位费",
       "med_chrgitm_type": "01", "fee_ocur_time": "2025-03-03 12:00:00", "cnt": "1", "pric": "40",
       "det_item_fee_sumamt": "40.00", "inscp_scp_amt": "40.00"}  # fmt: skip


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


def same_as_batch(tables, region, checker, each: int, every: int) -> int:
    """Claims alone against the run over all: those that `each` findings of every rule touch, and of the claims that
    no finding touches every so many-th.

    Answers how many findings were compared.
    """
    findings, evidence, _ = stages.audited(tables, region)
    kept, wrong, accused = 0, [], {*findings["setl_id"], *evidence["setl_id"]}
    some = findings.sort("finding_id").group_by("rule_id").head(each)
    asked = {*some["setl_id"], *evidence.join(some, on="finding_id", how="semi")["setl_id"]}
    for number, setl_id in enumerate(tables["claims"]["setl_id"]):
        if setl_id not in asked and (setl_id in accused or number % every):
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
    assert same_as_batch(tables_in(bundle, region, tmp_path), region, checker, each=10, every=3) > 20


def test_the_claims_of_the_sample_hospital_are_answered_as_in_the_run(tmp_path):
    source = shared("data", "sample-hospital")
    given = tmp_path / "region"
    sample_region.write_region(json.loads((source / "key.json").read_text("utf-8")), given, rules_folder())
    region = load_region(str(given / "policy.yaml"), params=given / "params.yaml", knowledge=[given / "knowledge"])
    assert same_as_batch(tables_in(source, region, tmp_path), region, Checker(region), each=2, every=40) > 100


# what the answer holds


def stay(**parts) -> dict:
    return {"claim": CLAIM, "fee_lines": [BED], "diagnoses": [], "procedures": [], "history": [], **parts}


def test_a_finding_tells_message_money_explanation_and_what_to_fetch(checker):
    checked = engine.check(stay(fee_lines=[{**BED, "cnt": "3", "det_item_fee_sumamt": "120.00"}]), checker)
    found = next(f for f in checked.findings if f["rule_id"] == "daily-fees-exceed-stay-days")
    assert found["message"] == "住院2天，收床位费3日"
    assert (found["excess_cnt"], found["gross_fen"]) == (1, 4000)
    assert found["innocent_open"] and found["needs"] and found["basis"] and found["title"]
    assert [(r["role"], r["row_key"]) for r in found["evidence"]] == [("excess", "F1")]
    assert json.loads(json.dumps(checked.as_dict()))["findings"][-1]["service_date"]


def test_a_claim_with_nothing_wrong_is_clear(checker):
    assert checker(stay()).findings == []


def test_numbers_of_json_are_exact_and_say_the_same_as_text(checker, tmp_path):
    line = {**BED, "cnt": 3, "pric": 40.1, "det_item_fee_sumamt": 120.3}
    (tmp_path / "claim.json").write_text(json.dumps(stay(fee_lines=[line])), "utf-8")
    text = {**BED, "cnt": "3", "pric": "40.1", "det_item_fee_sumamt": "120.30"}
    assert checker(tmp_path / "claim.json").findings == checker(stay(fee_lines=[text])).findings != []


def test_what_one_claim_cannot_tell_is_named_with_the_reason(checker):
    said = {(row["rule_id"], row["reason"]): row["detail"] for row in checker(stay()).not_evaluated}
    assert "物资" in said["purchase-sale-stock-mismatch", "outside_coverage"]
    assert said["t10-scan-coverage", "missing_table"] == "trace_codes"
    assert ("split-stay-short-readmission", "missing_table") not in said


def test_without_a_history_the_rules_that_look_at_it_are_not_clear(checker):
    document = {name: part for name, part in stay().items() if name != "history"}
    said = {(row["rule_id"], row["detail"]) for row in checker(document).not_evaluated}
    assert ("overlapping-inpatient-stays", "history") in said
    assert ("dialysis-frequency-over-capacity", "history") not in said  # no line of it: clear whatever came before


def test_without_a_table_the_rules_that_need_it_are_not_clear(checker):
    document = {name: part for name, part in stay().items() if name != "procedures"}
    said = {(row["rule_id"], row["detail"]) for row in checker(document).not_evaluated}
    assert ("drg-upcoding", "procedures") in said


def test_an_earlier_stay_under_another_number_is_the_same_persons(checker):
    diagnoses = [{"diag_code": "I63.900"}]
    earlier = {**CLAIM, "setl_id": "S0", "begntime": "2025-02-20", "endtime": "2025-03-01", "setl_time": "2025-03-01"}
    wards = {"adm_dept_name": "内科", "dscg_dept_name": "内科"}
    history = [{"claim": {**earlier, **wards}, "fee_lines": [{**BED, "feedetl_sn": "F0"}], "diagnoses": diagnoses}]
    document = stay(claim={**CLAIM, **wards}, diagnoses=diagnoses, history=history)
    assert "split-stay-short-readmission" in {f["rule_id"] for f in checker(document).findings}


def test_scans_of_the_claim_are_asked_what_one_claim_can_answer(checker):
    drug = {**BED, "med_list_codg": "XA02BCA081A001010100001", "med_chrgitm_type": "09", "medins_list_name": "药"}
    scan = {"event_id": "E1", "event_type": "sale", "drug_trac_codg": "81234560000000000001", "fixmedins_code": "H1",
            "feedetl_sn": "F1", "med_list_codg": "XOTHER", "cnt": "1", "event_time": "2025-03-03 12:00:00"}  # fmt: skip
    known = [{"ident7": "8123456", "med_list_codg": "XA02BCA081A001010100001"}]
    document = stay(fee_lines=[drug], trace_codes=[scan], drug_identifiers=known)
    checked = checker(document)
    assert {f["rule_id"] for f in checked.findings} >= {"t05-identity-mismatch"}
    said = {(row["rule_id"], row["reason"]) for row in checked.not_evaluated}
    assert ("t07-no-purchase", "missing_table") in said  # purchases are told by no claim
    assert ("t01-same-site-excess", "outside_coverage") in said


# documents that cannot be read


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"claim": {**CLAIM, "setl_id": 12}}, ["claim.setl_id 结算ID", "前导零"]),
        ({"claim": {**CLAIM, "medfee_sumamt": "12.345"}}, ["claim.medfee_sumamt 医疗费总额", "小数", "yuan"]),
        ({"claim": {**CLAIM, "medfee_sumamt": 12.3}}, ["binary float"]),
        ({"claim": {**CLAIM, "begntime": "2025-02-30"}}, ["claim.begntime", "日期", "YYYY-MM-DD"]),
        ({"claim": {**CLAIM, "endtme": "2025-03-05"}}, ["claim.endtme", "did you mean endtime"]),
        ({"claim": {}}, ["setl_id", "psn_no", "medfee_sumamt"]),
        ({"claim": [CLAIM, CLAIM]}, ["一次一张结算单"]),
        ({"claim": {**CLAIM, "setl_id": None}}, ["claim.setl_id", "缺主键"]),
        ({"fee_lines": BED}, ["fee_lines", "列表"]),
        ({"fee_lines": [{k: v for k, v in BED.items() if k != "cnt"}]}, ["fee_lines[0]", "cnt 数量"]),
        ({"fee_lines": [BED, BED]}, ["fee_lines[1]", "fee_lines[0]", "F1"]),
        ({"fee_lines": [{**BED, "setl_id": "S2"}]}, ["fee_lines[0]", "S2", "S1"]),
        ({"fee_lines": [{**BED, "cnt": True}]}, ["fee_lines[0].cnt", "bool"]),
        ({"fee_lines": [{**BED, "med_list_codg": "1.1E+14"}]}, ["fee_lines[0].med_list_codg", "科学计数法"]),
        ({"fee_line": [BED]}, ["did you mean fee_lines"]),
        ({"history": [{"fee_lines": []}]}, ["history[0].claim"]),
        ({"history": [{"claim": CLAIM}]}, ["history[0].claim", "S1"]),
    ],
)
def test_a_fault_of_the_document_is_told_with_its_place(checker, change, said):
    with pytest.raises(InputProblem) as problem:
        checker(stay(**change))
    assert [part for part in said if part not in str(problem.value)] == []


def test_all_faults_come_in_one_pass(checker):
    with pytest.raises(InputProblem) as problem:
        checker(stay(claim={**CLAIM, "setl_id": 12, "psn_no": 7}, fee_lines=[{**BED, "cnt": []}]))
    assert str(problem.value).count("\n") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"claim":\n  {"setl_id": 012}}', "claim.json:2:16"),
        ('{"claim": {}} {"claim": {}}', "claim.json:1:15"),
        ('{"claim": {"age": NaN}}', "NaN"),
        ('{"claim": {}, "claim": {}}', "claim"),
        ("[" * 100_000, "claim.json"),
        ("[]", "JSON 对象"),
        ("", "claim.json:1:1"),
    ],
)
def test_a_file_that_is_no_document_is_one_message_and_exit_code_3(run, tmp_path, one_rule, text, said):
    path = tmp_path / "claim.json"
    path.write_text(text, "utf-8")
    code, out, err = run("check-claim", path, "--rules", one_rule)
    assert (code, out) == (3, "") and said in err and "Traceback" not in err


@pytest.fixture(scope="module")
def one_rule(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    shutil.copy(next(rules_folder().rglob("daily-fees-exceed-stay-days.yaml")), folder)
    return folder


def test_the_command_tells_people_and_programs(run, tmp_path, one_rule):
    path = tmp_path / "claim.json"
    path.write_text(json.dumps(stay(fee_lines=[{**BED, "cnt": "3", "det_item_fee_sumamt": "120"}])), "utf-8")
    code, out, _ = run("check-claim", path, "--rules", one_rule)
    assert code == 0 and "住院2天，收床位费3日" in out and "涉及 40.00 元" in out and "需调取" in out
    code, out, _ = run("check-claim", path, "--rules", one_rule, "--json")
    assert code == 0 and json.loads(out)["findings"][0]["gross_fen"] == 4000


def test_a_file_that_is_not_there_is_a_mistake_of_usage(run, tmp_path):
    assert run("check-claim", tmp_path / "none.json")[0] == 2
    assert run("check-claim", tmp_path)[0] == 3


def test_importing_the_engine_loads_nothing():
    code = "import sys, engine; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=rules_folder().parent).returncode == 0


@pytest.mark.parametrize("said", ["in the condition", "in a part of it"])
def test_today_is_the_day_of_the_claim(region, tmp_path, said):
    text = next(rules_folder().rglob("daily-fees-exceed-stay-days.yaml")).read_text("utf-8")
    old, test = "when: finished and units > allowed", "($today - visit.admit_date).days == 2"
    if said == "in the condition":
        text = text.replace(old, f"when: finished and {test}")
    else:
        text = text.replace(old, "when: finished and lasted").replace("\nlet:\n", f"\nlet:\n  lasted: {test}\n")
    (tmp_path / "daily-fees-exceed-stay-days.yaml").write_text(text, "utf-8")
    assert "$today" in (tmp_path / "daily-fees-exceed-stay-days.yaml").read_text("utf-8")
    dated = Checker(load_region(rules=tmp_path))
    beds = [{**BED, "cnt": "3", "det_item_fee_sumamt": "120.00"}]
    later = {**CLAIM, "setl_time": "2025-03-06 10:00:00"}
    documents = (stay(fee_lines=beds), stay(fee_lines=beds, claim=later), stay(fee_lines=beds))
    assert [len(dated(document).findings) for document in documents] == [1, 0, 1]
