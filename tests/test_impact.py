"""`yibao rules impact`: what it says of an edit is the difference of two whole runs, and only the edited is asked."""

import json
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

import synthetic.cli  # noqa: F401  registers every command
from engine.audit import CODE_SCOPES, derived
from engine.audit.facts import BACKED, Facts
from engine.audit.impact import Impact
from engine.reference.knowledge import Knowledge
from engine.reference.places import rules_folder, seeds_folder
from engine.run import pipeline
from engine.run.impact import compared, earlier, edited
from engine.run.prepared import prepared
from engine.run.private import private_folder
from engine.run.region import Region, load_region
from engine.run.verdicts import answers
from engine.tables.dictionary import table

GONE = "hanging-bed-no-substantive-care"
SIDES = ("before", "after")


@pytest.fixture(scope="module")
def extract(bundle, region):
    return prepared(bundle, region)


@pytest.fixture
def rules(tmp_path) -> Path:
    """A copy of the rules to edit."""
    return Path(shutil.copytree(rules_folder(), tmp_path / "rules"))


def edit(folder: Path, rule: str, *changes: tuple[str, str]) -> None:
    path = next(folder.rglob(f"{rule}.yaml"))
    text = path.read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text, "utf-8")


def silence(folder: Path, rule: str) -> None:
    """The rule never fires any more."""
    edit(folder, rule, ("\nwhen: ", "\nwhen: 1 == 2 and "))


@pytest.fixture(scope="module")
def often(finished) -> str:
    """The rule with most findings."""
    return (
        pl.read_parquet(finished / "findings.parquet").group_by("rule_id").len().sort("len", "rule_id")["rule_id"][-1]
    )


def by_rule(out: Path) -> pl.DataFrame:
    """Findings, gross, fund and due by rule of a finished run."""
    findings, recovery = (pl.read_parquet(out / f"{name}.parquet") for name in ("findings", "recovery"))
    due = recovery.drop_nulls("finding_id").group_by("finding_id").agg(pl.col("due_fen").sum())
    joined = findings.join(due, on="finding_id", how="left")
    return joined.group_by("rule_id").agg(
        findings=pl.len(), gross=pl.col("gross_fen").sum(), fund=pl.col("fund_fen").sum(), due=pl.col("due_fen").sum()
    )


def total_due(out: Path) -> int:
    return pl.read_parquet(out / "recovery.parquet").drop_nulls("finding_id")["due_fen"].sum()


# against two whole runs


@dataclass
class Edit:
    """An edit: its impact, the rules asked, OUT of a whole run of either side, the region after, and what was done."""

    found: Impact
    asked: list[str]
    outs: dict[str, Path]
    now: Region
    trial: str
    never: list[str]


@pytest.fixture(scope="module")
def edits(bundle, finished, region, tmp_path_factory):
    """An edit of several rules: its impact, and OUT of a run with the rules before and after."""
    folder = tmp_path_factory.mktemp("edited")
    rules = Path(shutil.copytree(rules_folder(), folder / "rules"))
    chosen = pl.read_parquet(finished / "findings.parquet").group_by("rule_id").len().sort("len", "rule_id")
    loaded = {r.rule.id: r for r in region.rules}
    most = [r for r in chosen["rule_id"].to_list()[::-1] if loaded[r].rule.scope not in CODE_SCOPES]
    traced = [r for r in chosen["rule_id"].to_list()[::-1] if loaded[r].rule.scope in CODE_SCOPES]
    removed, trial, never = most[0], most[1], [most[2], *traced[:1]]
    next(rules.rglob(f"{removed}.yaml")).unlink()
    edit(rules, trial, ("status: active", "status: trial"))
    for rule in never:
        silence(rules, rule)
    edit(rules, GONE, ("number: 4", "number: 4 "))
    assert traced, "the bundle has findings about codes"
    now = load_region(rules=rules)
    pipeline.run(bundle, folder / "out", now, pipeline.Options(report=False))
    found, asked = compared(prepared(bundle, region), region, now)
    return Edit(found, asked, {"before": finished, "after": folder / "out"}, now, trial, never)


def test_every_sum_of_an_edited_rule_is_that_of_a_whole_run(edits):
    found, outs = edits.found, edits.outs
    for side in SIDES:
        runs = by_rule(outs[side])
        for row in found.rules.iter_rows(named=True):
            own = runs.filter(rule_id=row["rule_id"])
            expected = own.row(0, named=True) if own.height else dict.fromkeys(("findings", "gross", "fund", "due"), 0)
            told = {
                n: row[f"{n}{'' if n == 'findings' else '_fen'}_{side}"] for n in ("findings", "gross", "fund", "due")
            }
            assert told == {n: expected[n] for n in told}, (row["rule_id"], side)


def test_gained_and_lost_are_the_findings_only_one_run_has(edits):
    found, outs = edits.found, edits.outs
    ids = {side: set(pl.read_parquet(out / "findings.parquet")["finding_id"]) for side, out in outs.items()}
    assert found.rules["lost"].sum() == len(ids["before"] - ids["after"]) > 0
    assert found.rules["gained"].sum() == len(ids["after"] - ids["before"]) == 0
    lost = found.examples.filter(pl.col("became") == "lost")
    assert set(lost["finding_id"]) <= ids["before"] - ids["after"]


def test_an_edit_taken_back_gains_what_it_lost(edits, extract, region):
    found = edits.found
    back, asked = compared(extract, edits.now, region)
    assert asked == []
    assert back.rules.select("rule_id", gained="lost", lost="gained").equals(
        found.rules.select("rule_id", "gained", "lost")
    )


def test_net_money_is_what_both_runs_would_recover(edits):
    found, outs = edits.found, edits.outs
    total = found.total.row(0, named=True)
    assert {side: total[f"due_fen_{side}"] for side in SIDES} == {side: total_due(out) for side, out in outs.items()}
    moved = found.rules.select((pl.col("due_fen_after") - pl.col("due_fen_before")).sum()).item()
    carried = found.carried.select((pl.col("due_fen_after") - pl.col("due_fen_before")).sum()).item()
    assert moved + carried == total["due_fen_after"] - total["due_fen_before"] < 0


def test_institutions_move_by_what_their_own_findings_move(edits):
    found, outs = edits.found, edits.outs
    for side, out in outs.items():
        sums = dict(pl.read_parquet(out / "findings.parquet").group_by("fixmedins_code").agg(
            pl.col("gross_fen").sum()).iter_rows())  # fmt: skip
        for row in found.institutions.iter_rows(named=True):
            assert row[f"gross_fen_{side}"] == sums.get(row["fixmedins_code"], 0)


def test_a_rule_put_on_trial_keeps_its_findings_and_loses_its_money(edits):
    found, trial = edits.found, edits.trial
    row = found.rules.row(by_predicate=pl.col("rule_id") == trial, named=True)
    assert row["findings_before"] == row["findings_after"] == row["changed"]
    assert row["due_fen_after"] == 0


def test_a_rule_whose_file_changed_but_whose_answers_did_not_has_no_gain_and_no_loss(edits):
    found, asked = edits.found, edits.asked
    row = found.rules.row(by_predicate=pl.col("rule_id") == GONE, named=True)
    assert row["why"] == ["file"]
    assert (row["gained"], row["lost"]) == (0, 0)
    assert GONE in asked


# only what changed


def test_an_unchanged_rule_is_not_asked_again(extract, region, rules):
    answers(extract, region)
    edit(rules, GONE, ('default: "3"', 'default: "2"'))
    _, asked = compared(extract, region, load_region(rules=rules))
    assert asked == [GONE]
    _, again = compared(extract, region, load_region(rules=rules))
    assert again == []


def test_a_row_of_a_table_concerns_only_the_rule_it_belongs_to(region, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    text = (seeds_folder() / "knowledge" / "pairs.csv").read_text("utf-8-sig")
    header, first = text.splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=False))
    (own / "pairs.csv").write_text(text.replace(first, first.replace(row["included"], "009999999999999"), 1), "utf-8")
    now = load_region(knowledge=[own])
    number = {r.rule.id: r.rule.number for r in region.rules}
    found = edited(region, now)
    assert {number[rule] for rule in found} == {int(row["rule"])}
    assert list(found.values()) == [["rows"]]


def test_a_parameter_of_a_region_concerns_only_its_rule(region, tmp_path):
    (tmp_path / "params.yaml").write_text(f'{GONE}: {{min_run_days: "2"}}\n', "utf-8")
    assert edited(region, load_region(params=tmp_path / "params.yaml")) == {GONE: ["params"]}


class Noting(dict):
    """The tables of a knowledge, noting which are looked into."""

    def __init__(self, tables):
        super().__init__(tables)
        self.seen = set()

    def __getitem__(self, name):
        self.seen.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("fact", [*derived.LINE_FACTS, *BACKED, *(n for n in dir(Facts) if n.startswith("_visit_"))])
def test_what_a_fact_reads_of_a_region_is_known(fact, region):
    """Or an edit of that table would not ask the rules that speak of the fact."""
    tables = Noting(region.knowledge.tables)
    empty = {n: pl.DataFrame(schema=table(n).schema) for n in ("claims", "fee_lines", "diagnoses", "procedures")}
    empty["claims"] = empty["claims"].with_columns(cancelled=pl.lit(False))
    empty["fee_lines"] = empty["fee_lines"].with_columns(net_cnt=pl.col("cnt"))
    facts = Facts(empty, Knowledge(tables, []), region.presumptions)
    if fact in derived.LINE_FACTS:
        derived.LINE_FACTS[fact](facts.lines(set()), facts)
    elif fact in BACKED:
        facts.elements("diagnosis" if fact == "treated" else "procedure", {fact})
    else:
        getattr(facts, fact)
    assert tables.seen == set(derived.KNOWLEDGE_READ.get(fact.removeprefix("_visit_"), ()))


def test_a_waiver_takes_the_money_of_its_rule_and_keeps_its_findings(extract, region, rules, often):
    waivers = rules / "waivers"
    waivers.mkdir(exist_ok=True)
    said = {"rule": often, "until": "2099-12-31", "reason": "已核实", "owner": "稽核一科"}
    site = answers(extract, region).findings.filter(rule_id=often)["fixmedins_code"].sort()[0]
    said["scope"] = f"{{fixmedins_code: {site}}}"
    (waivers / "own.yaml").write_text("".join(f"{key}: {value}\n" for key, value in said.items()), "utf-8")
    found, asked = compared(extract, region, load_region(rules=rules))
    assert asked == []
    (row,) = found.rules.to_dicts()
    assert (row["rule_id"], row["why"]) == (often, ["waivers"])
    assert row["findings_before"] == row["findings_after"] >= row["changed"] > 0
    assert row["due_fen_after"] < row["due_fen_before"]


# where the side before comes from


def git(folder: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_revision_of_the_rules_is_compared_with_their_working_copy(run, bundle, rules, often, tmp_path):
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "rules")
    silence(rules, often)
    said = run("rules", "impact", bundle, "--before", "HEAD", "--rules", rules, "--json")
    assert said.code == 0, said.err
    answer = json.loads(said.out)
    assert [row["rule_id"] for row in answer["rules"]] == [often]
    assert answer["rules"][0]["findings_before"] == answer["rules"][0]["lost"] > answer["rules"][0]["findings_after"]
    assert answer["examples"]
    assert all(row["psn_no"].startswith("P") and len(row["psn_no"]) == 17 for row in answer["examples"])


def test_a_folder_of_rules_is_compared_and_told_in_sentences(run, bundle, rules, often):
    silence(rules, often)
    edit(rules, GONE, ('default: "3"', 'default: "300"'))
    said = run("--lang", "zh", "rules", "impact", bundle, "--before", rules, "--rules", rules_folder())
    assert said.code == 0, said.err
    assert re.search(rf"{often}.*（规则文件）\n    疑点 0 → (\d+) .*\+\1\n", said.out)
    assert re.search(rf"结果不变:\n    {GONE}", said.out)
    assert "全部规则" in said.out


def test_tables_of_the_side_before_can_be_given(region, rules, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(seeds_folder() / "knowledge" / "pairs.csv", own)
    lines = (own / "pairs.csv").read_text("utf-8").splitlines(keepends=True)
    (own / "pairs.csv").write_text("".join(lines[:2]), "utf-8")
    was = earlier(str(rules), region, None, [], None, [own], tmp_path)
    assert {tuple(parts) for parts in edited(was, region).values()} == {("rows",)}


@pytest.mark.parametrize(
    ("before", "told"), [("no-such-revision", "no-such-revision"), ("--output=x", "--output=x")]
)  # fmt: skip
def test_what_is_no_revision_is_a_mistake_of_usage(run, bundle, before, told):
    said = run("rules", "impact", bundle, f"--before={before}")
    assert said.code == 2
    assert told in said.err


def test_a_broken_rule_is_named_and_nothing_is_compared(run, bundle, rules):
    edit(rules, GONE, ("visit.longest_idle_run", "visit.longest_idle_runs"))
    said = run("rules", "impact", bundle, "--before", rules_folder(), "--rules", rules)
    assert said.code == 4
    assert GONE in said.err


# what is kept


def test_the_cache_is_private_and_keeps_a_few_extracts(bundle, region, tmp_path, monkeypatch):
    monkeypatch.setenv("YIBAO_CACHE", str(tmp_path / "cache"))
    small = tmp_path / "in"
    small.mkdir()
    for number in range(4):
        (small / "claims.csv").write_text(
            "".join((bundle / "claims.csv").read_text("utf-8").splitlines(True)[: 9 + number])
        )
        prepared(small, region)
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert len(list(private_folder("extracts").iterdir())) == 3
    assert list(private_folder("reading").iterdir()) == []


def test_an_extract_whose_file_changed_is_read_anew(bundle, region, tmp_path):
    copied = Path(shutil.copytree(bundle, tmp_path / "in"))
    first = prepared(copied, region)
    assert prepared(copied, region).folder == first.folder
    lines = (copied / "claims.csv").read_text("utf-8").splitlines(True)
    (copied / "claims.csv").write_text("".join(lines[:-1]), "utf-8")
    assert prepared(copied, region).folder != first.folder
