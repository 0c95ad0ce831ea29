"""Waivers spare the findings they name and no others, cost the fund nothing, and are never passed over in silence."""

import datetime
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import polars as pl
import pytest

import synthetic.cli  # noqa: F401  registers every command
from engine.audit.findings import EVIDENCE, FINDINGS
from engine.audit.waiving import waived
from engine.cli.app import app, call
from engine.language.waivers import load_waivers
from engine.reference.places import rules_folder
from engine.report.explain import case_of, told
from engine.report.figures import Run
from engine.run import pipeline
from engine.run.region import load_region
from engine.run.rulebook import rule_infos
from engine.tables.problems import RuleProblem

RULE, OTHER = "daily-fees-exceed-stay-days", "duplicate-bed-fee-same-day"
DAY = datetime.date(2025, 6, 1)


def waiver_file(folder: Path, name: str, **given) -> Path:
    """A waiver of RULE at one institution, with some of its keys given otherwise; None leaves one out."""
    said = {"rule": RULE, "scope": "{fixmedins_code: H1}", "until": "2025-12-31", "reason": "已核实",
            "owner": "稽核一科"} | given  # fmt: skip
    path = folder / "waivers" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}: {value}\n" for key, value in said.items() if value is not None), "utf-8")
    return path


def loaded(folder: Path):
    waivers, faults = load_waivers(folder)
    assert not faults, "\n".join(map(str, faults))
    return waivers


def finding(finding_id: str = "f1", **given) -> dict:
    said = {"finding_id": finding_id, "rule_id": RULE, "rule_status": "active", "fixmedins_code": "H1",
            "department": "内科", "doctor": "D1", "setl_id": "S1", "psn_no": "P1", "med_list_codg": "X",
            "service_date": DAY, "waived": False} | given  # fmt: skip
    return {name: said.get(name) for name in FINDINGS}


def evidence_of(*accused: tuple[str, str]) -> pl.DataFrame:
    rows = [{"finding_id": f, "table": "fee_lines", "row_key": line, "role": "excess"} for f, line in accused]
    return pl.DataFrame([{name: row.get(name) for name in EVIDENCE} for row in rows], EVIDENCE)


def spared(folder: Path, region, *findings: dict, last_day=datetime.date(2025, 12, 31)):
    """(ids of the findings that the waivers of the folder spare, the use of every waiver by file)."""
    frame = pl.DataFrame(findings, FINDINGS)
    after, uses = waived(frame, evidence_of(), region.rules, loaded(folder), last_day)
    assert after.height == frame.height
    return set(after.filter("waived")["finding_id"]), {use["file"]: use for use in uses}


# what a waiver is about


@pytest.mark.parametrize(
    "part, value",
    [("finding_id", "f1"), ("fixmedins_code", "H1"), ("department", "内科"), ("doctor", "D1"), ("setl_id", "S1"),
     ("psn_no", "P1"), ("med_list_codg", "X")],
)  # fmt: skip
def test_each_part_of_a_scope_spares_its_own_and_no_look_alike(part, value, region, tmp_path):
    waiver_file(tmp_path, "one", scope=f'{{{part}: "{value}"}}')
    other = finding("f2", **({part: "other"} if part != "finding_id" else {}))
    blank = finding("f3", **({part: None} if part != "finding_id" else {}))
    assert spared(tmp_path, region, finding(), other, blank)[0] == {"f1"}


def test_every_part_of_a_scope_must_be_met(region, tmp_path):
    waiver_file(tmp_path, "one", scope="{fixmedins_code: H1, department: 内科}")
    elsewhere = finding("f2", department="外科")
    assert spared(tmp_path, region, finding(), elsewhere)[0] == {"f1"}


def test_a_waiver_of_one_rule_spares_no_finding_of_another(region, tmp_path):
    waiver_file(tmp_path, "one")
    assert spared(tmp_path, region, finding(), finding("f2", rule_id=OTHER))[0] == {"f1"}


@pytest.mark.parametrize("day, is_spared", [("2024-12-31", False), ("2025-01-01", True), ("2025-06-30", True),
                                            ("2025-07-01", False)])  # fmt: skip
def test_the_dates_are_days_of_service_both_included(day, is_spared, region, tmp_path):
    waiver_file(tmp_path, "one", **{"from": "2025-01-01", "until": "2025-06-30"})
    on = finding(service_date=datetime.date.fromisoformat(day))
    assert spared(tmp_path, region, on)[0] == ({"f1"} if is_spared else set())


def test_a_finding_without_a_day_counts_as_of_the_last_day_of_the_run(region, tmp_path):
    waiver_file(tmp_path, "one", until="2025-06-30")
    store = finding(service_date=None)
    assert spared(tmp_path, region, store, last_day=datetime.date(2025, 6, 30))[0] == {"f1"}
    assert spared(tmp_path, region, store, last_day=datetime.date(2025, 7, 1))[0] == set()


def test_every_waiver_says_what_it_was_good_for(region, tmp_path):
    waiver_file(tmp_path, "a-used")
    waiver_file(tmp_path, "b-unused", scope="{fixmedins_code: H9}")
    waiver_file(tmp_path, "c-expired", until="2025-11-30")
    waiver_file(tmp_path, "d-no-rule", rule="no-such-rule")
    found, uses = spared(tmp_path, region, finding())
    assert found == {"f1"}
    assert {file: (use["state"], use["findings"]) for file, use in uses.items()} == {
        "waivers/a-used.yaml": ("in_force", 1), "waivers/b-unused.yaml": ("unused", 0),
        "waivers/c-expired.yaml": ("expired", 1), "waivers/d-no-rule.yaml": ("no_rule", 0),
    }  # fmt: skip


def test_the_money_that_a_waived_finding_would_have_carried_stands_with_the_other_again(region, tmp_path):
    carrier = next(r for r in region.rules if r.rule.supersedes)
    over = carrier.rule.supersedes[0]
    waiver_file(tmp_path, "one", rule=carrier.rule.id)
    findings = [finding("f1", rule_id=carrier.rule.id), finding("f2", rule_id=over, superseded_by=carrier.rule.id),
                finding("f3", rule_id=over, superseded_by=carrier.rule.id),
                finding("f4", rule_id=carrier.rule.id, fixmedins_code="H2")]  # fmt: skip
    frame = pl.DataFrame(findings, FINDINGS)
    rows = evidence_of(("f1", "L1"), ("f2", "L1"), ("f3", "L2"), ("f4", "L2"))
    after, _ = waived(frame, rows, region.rules, loaded(tmp_path), DAY)
    carried = dict(after.select("finding_id", "superseded_by").iter_rows())
    assert carried == {"f1": None, "f2": None, "f3": carrier.rule.id, "f4": None}


def test_without_waivers_nothing_is_waived(region, tmp_path):
    assert spared(tmp_path, region, finding()) == (set(), {})


# faults of the files


@pytest.mark.parametrize(
    "given, code, line, part",
    [
        ({"rule": None}, "E_KEY_MISSING", 1, "rule"),
        ({"until": None}, "E_KEY_MISSING", 1, "until"),
        ({"until": "31.12.2025"}, "E_VALUE", 3, "31.12.2025"),
        ({"scope": "{}"}, "E_VALUE", 2, "fixmedins_code"),
        ({"scope": "{hospital: H1}"}, "E_KEY_UNKNOWN", 2, "hospital"),
        ({"reasons": "x"}, "E_KEY_UNKNOWN", 6, "reason"),
        ({"from": "2026-01-01"}, "E_DATES", 6, "2026-01-01"),
        ({"owner": "&a x"}, "E_YAML_ANCHOR", 5, "anchor"),
    ],
)
def test_a_fault_is_told_with_its_place(given, code, line, part, tmp_path):
    waiver_file(tmp_path, "wrong", **given)
    waivers, faults = load_waivers(tmp_path)
    assert not waivers
    assert [(f.file, f.code, f.line) for f in faults] == [("waivers/wrong.yaml", code, line)], faults
    assert part in str(faults[0])


def test_a_run_with_a_faulty_waiver_is_refused(tmp_path):
    rules = copied_rules(tmp_path / "rules")
    waiver_file(rules, "wrong", until="soon")
    with pytest.raises(RuleProblem, match=r"waivers/wrong\.yaml:3"):
        load_region(rules=rules)


def copied_rules(folder: Path) -> Path:
    return shutil.copytree(rules_folder(), folder, ignore=shutil.ignore_patterns("waivers"))


# a whole run


@dataclass
class Waived:
    """A run with waivers: its OUT, its rules, and the finding one of them spares."""

    out: Path
    rules: Path
    finding: dict


@pytest.fixture(scope="module")
def waived_run(finished, bundle, tmp_path_factory) -> Waived:
    folder = tmp_path_factory.mktemp("waived")
    due = pl.read_parquet(finished / "recovery.parquet").drop_nulls("finding_id").sort("due_fen", "finding_id")
    target = pl.read_parquet(finished / "findings.parquet").filter(pl.col("finding_id") == due["finding_id"][-1])
    target, rules = target.row(0, named=True), copied_rules(folder / "rules")
    waiver_file(rules, "checked", rule=target["rule_id"], scope=f"{{finding_id: {target['finding_id']}}}",
                until="2030-12-31", reason="现场已核实")  # fmt: skip
    waiver_file(rules, "old", scope="{setl_id: S1}", until="2020-12-31")
    region = load_region(rules=rules)
    pipeline.run(bundle, folder / "out", region)
    return Waived(folder / "out", rules, target)


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / f"{name}.parquet")


def test_a_waived_finding_is_kept_and_costs_nothing(waived_run, finished):
    out, target = waived_run.out, waived_run.finding["finding_id"]
    found = table(out, "findings")
    assert found.filter("waived")["finding_id"].to_list() == [target]
    assert found.drop("waived", "superseded_by").equals(table(finished, "findings").drop("waived", "superseded_by"))
    own = table(out, "recovery").filter(pl.col("finding_id") == target)
    assert own["due_fen"].sum() == 0
    before = table(finished, "recovery").filter(pl.col("finding_id") == target)["due_fen"].sum()
    assert before > 0
    due = [table(o, "recovery").drop_nulls("finding_id")["due_fen"].sum() for o in (finished, out)]
    assert due[0] - before <= due[1] < due[0]


def test_the_manifest_counts_the_use_of_every_waiver(waived_run):
    told_ = json.loads((waived_run.out / "manifest.json").read_text("utf-8"))["waivers"]
    assert [(w["file"], w["state"], w["findings"]) for w in told_] == [
        ("waivers/checked.yaml", "in_force", 1), ("waivers/old.yaml", "expired", 0),
    ]  # fmt: skip
    assert told_[0]["rule"] == waived_run.finding["rule_id"] and told_[0]["until"] == "2030-12-31"


def test_the_report_and_the_workbook_show_waivers_and_waived_findings_apart(waived_run):
    page, target = (waived_run.out / "report.html").read_text("utf-8"), waived_run.finding["finding_id"]
    apart = page.split('id="waivers"')[1].split('id="gaps"')[0]
    assert "waivers/checked.yaml" in apart and "已到期" in apart and "现场已核实" in apart and target in apart
    assert f'id="f-{target}"' not in page
    book = openpyxl.load_workbook(waived_run.out / "summary.xlsx", read_only=True)
    rows = {name: [row for row in book[name].values][1:] for name in ("豁免单", "已豁免", "问题项目明细")}
    assert [row[0] for row in rows["豁免单"]] == ["waivers/checked.yaml", "waivers/old.yaml"]
    assert [row[0] for row in rows["已豁免"]] == [target]
    assert target not in {row[0] for row in rows["问题项目明细"]}


def test_a_waived_finding_is_explained_as_waived(waived_run):
    run = Run(waived_run.out, rule_infos(load_region(rules=waived_run.rules)))
    said = dict(told(case_of(run, waived_run.finding["finding_id"])))
    assert said["豁免与金额归属"][0] == (
        "已按豁免单 waivers/checked.yaml 豁免，不计金额：现场已核实（稽核一科，有效至 2030-12-31）。"
    )


def test_a_changed_waiver_makes_another_run(waived_run, bundle, tmp_path):
    rules = shutil.copytree(waived_run.rules, tmp_path / "rules")
    (rules / "waivers" / "checked.yaml").unlink()
    out = shutil.copytree(waived_run.out, tmp_path / "out")
    pipeline.run(bundle, out, load_region(rules=rules), pipeline.Options(report=False))
    assert not table(out, "findings")["waived"].any()


# as a user asks


@pytest.fixture
def yibao_here(capsys):
    def start(*arguments):
        capsys.readouterr()
        code = call(app, [*map(str, arguments)])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return start


def test_the_summary_says_what_the_waivers_were_good_for(yibao_here, waived_run, bundle):
    code, out, err = yibao_here("--lang", "zh", "run", bundle, "--out", waived_run.out, "--rules", waived_run.rules)
    assert code == 0, err
    assert "已豁免的疑点 1" in out
    assert "1 份豁免单有效: waivers/checked.yaml" in out
    assert "1 份豁免单已到期: waivers/old.yaml" in out


def test_the_waivers_are_listed_with_what_is_wrong_with_them(yibao_here, tmp_path):
    waiver_file(tmp_path, "ended", until="2001-01-01")
    waiver_file(tmp_path, "other", rule="no-such-rule")
    shutil.copy(next(rules_folder().rglob(f"{RULE}.yaml")), tmp_path)
    code, out, _ = yibao_here("rules", "waivers", "--rules", tmp_path, "--json")
    assert code == 0
    listed = json.loads(out)
    assert [(w["file"], w["state"]) for w in listed] == [("waivers/ended.yaml", "expired"),
                                                          ("waivers/other.yaml", "no_rule")]  # fmt: skip
    assert listed[0]["scope"] == {"fixmedins_code": "H1"} and listed[0]["owner"] == "稽核一科"
    assert "2001" in yibao_here("rules", "waivers", "--rules", tmp_path)[1]
    (tmp_path / "waivers" / "ended.yaml").write_text("rule: [", "utf-8")
    code, _, err = yibao_here("rules", "waivers", "--rules", tmp_path)
    assert code == 4 and "waivers/ended.yaml:1" in err


def test_lint_warns_of_waivers_that_serve_nothing(yibao_here, tmp_path):
    waiver_file(tmp_path, "ended", until="2001-01-01")
    waiver_file(tmp_path, "other", rule=f"{RULE}s", until="2999-01-01")
    waiver_file(tmp_path, "good", until="2999-01-01")
    shutil.copy(next(rules_folder().rglob(f"{RULE}.yaml")), tmp_path)
    code, out, _ = yibao_here("rules", "lint", "--rules", tmp_path)
    assert code == 0
    assert "waivers/ended.yaml:3:8: W_WAIVER" in out
    assert "waivers/other.yaml:1:7: W_WAIVER" in out and RULE in out
    assert "good.yaml" not in out
