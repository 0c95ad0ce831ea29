"""The command line as a user meets it: one clear message, an exit code of the contract, never a traceback."""

import json
import re
import shutil

import polars as pl
import pytest
import typer.testing

import synthetic.cli  # noqa: F401  registers every command
from engine.cli.app import app, bounds
from engine.reference.places import rules_folder
from engine.run import buckets, singles, stages
from engine.tables.outputs import outputs
from engine.tables.problems import UsageProblem
from engine.tracing.words import FACTS

DONE, FINDINGS, USAGE, INPUT, RULES, BROKEN, RESOURCE = range(7)
RULE = "daily-fees-exceed-stay-days"


@pytest.fixture(scope="module")
def one_rule(tmp_path_factory):
    """A folder of one rule, which loads in no time."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copy(next(rules_folder().rglob(f"{RULE}.yaml")), folder)
    return folder


def broken_copy(one_rule, folder, old: str, new: str):
    shutil.copytree(one_rule, folder)
    path = folder / f"{RULE}.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return folder


# as a program of its own


def test_the_program_greets_with_its_commands(yibao):
    done = yibao("--help")
    assert done.returncode == DONE
    for command in ("run", "check", "group", "settle", "audit", "trace", "report", "verify", "rules", "synth", "demo"):
        assert re.search(rf"\b{command}\b", done.stdout), command


def test_a_mistake_ends_the_program_with_its_code_and_one_message(yibao, tmp_path):
    done = yibao("run", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.returncode == USAGE
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["run", "check", "group", "settle", "audit", "trace", "report", "verify", "synth"])
def test_every_command_explains_itself(command):
    said = typer.testing.CliRunner().invoke(app, [command, "--help"])
    assert said.exit_code == DONE
    assert re.search(r"[\u4e00-\u9fff]", said.output)


def test_nothing_asked_shows_the_help(run):
    assert "Usage" in "".join(vars(run())[part] for part in ("out", "err"))


# the whole job


def test_run_tells_what_was_found_and_where_the_report_lies(run, bundle, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    chinese = run("--lang", "zh", "run", bundle, "--out", out)
    assert chinese.code == DONE, chinese.err
    assert str(out / "report.html") in chinese.out
    settled = pl.read_parquet(out / "settlement.parquet").height
    assert f"结算单 {settled:,}" in chinese.out
    english = run("--lang", "en", "run", bundle, "--out", out)
    assert f"claims {settled:,}" in english.out
    assert "结算单" not in english.out
    due = pl.read_parquet(out / "recovery.parquet").drop_nulls("finding_id")["due_fen"].sum()
    assert f"{due // 100:,}.{due % 100:02}" in english.out


def test_fail_on_answers_with_an_exit_code_where_something_was_found(run, bundle, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    assert run("run", bundle, "--out", out, "--fail-on", "violation").code == FINDINGS
    wrong = run("run", bundle, "--out", out, "--fail-on", "anything")
    assert wrong.code == USAGE
    assert "violation, suspicion" in wrong.err


def test_progress_goes_to_stderr_only(run, bundle, tmp_path, one_rule):
    said = run("audit", bundle, "--out", tmp_path / "out", "--rules", one_rule)
    assert said.code == DONE, said.err
    assert len(said.out.splitlines()) == 1
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"findings.parquet", "evidence.parquet", "_SUCCESS"}


@pytest.mark.parametrize(("stage", "name"), [("group", "grouping"), ("settle", "settlement")])
def test_one_stage_alone_writes_its_table(run, bundle, finished, tmp_path, one_rule, stage, name):
    out = tmp_path / "new" / "folder" / "out.parquet"
    said = run(stage, bundle, "--out", out, "--rules", one_rule)
    assert said.code == DONE, said.err
    made, whole = pl.read_parquet(out), pl.read_parquet(finished / f"{name}.parquet")
    assert made.schema == outputs()[name]
    assert made.drop("psn_no", strict=False).equals(whole.drop("psn_no", strict=False))


def test_stays_grouped_in_many_parts_are_grouped_as_in_one(run, bundle, tmp_path, one_rule, monkeypatch):
    said = run("group", bundle, "--out", tmp_path / "one.parquet", "--rules", one_rule)
    sizes, grouped = [], stages.grouped_and_checked

    def counted(own, region):
        sizes.append(own["claims"].height)
        return grouped(own, region)

    monkeypatch.setattr(stages, "grouped_and_checked", counted)
    monkeypatch.setattr(singles, "ROWS_A_PART", 11)
    many = run("group", bundle, "--out", tmp_path / "many.parquet", "--rules", one_rule)
    assert set(sizes[:-1]) == {11}
    assert len(sizes) > 3
    assert pl.read_parquet(tmp_path / "many.parquet").equals(pl.read_parquet(tmp_path / "one.parquet"))
    assert many.out.splitlines()[1:] == said.out.splitlines()[1:], "the checks of the coding are those of all stays"


def test_one_stage_alone_needs_only_its_own_tables(run, bundle, tmp_path, one_rule):
    own = tmp_path / "in"
    own.mkdir()
    for name in ("claims", "diagnoses", "procedures"):
        shutil.copy(bundle / f"{name}.csv", own)
    assert run("group", own, "--out", tmp_path / "grouping.parquet", "--rules", one_rule).code == DONE
    lacking = run("settle", own, "--out", tmp_path / "settlement.parquet", "--rules", one_rule)
    assert lacking.code == DONE
    assert "fee_lines" in lacking.out, "claims without lines are settled as they classify themselves, and it is said"
    (own / "claims.csv").unlink()
    lacking = run("settle", own, "--out", tmp_path / "none.parquet", "--rules", one_rule)
    assert (lacking.code, "claims" in lacking.err) == (INPUT, True)
    assert not (tmp_path / "none.parquet").exists()


def test_claims_settled_in_many_buckets_and_parts_are_settled_as_in_one(run, bundle, tmp_path, one_rule, monkeypatch):
    run("settle", bundle, "--out", tmp_path / "one.parquet", "--rules", one_rule)
    monkeypatch.setattr(buckets, "CLAIMS_A_BUCKET", 20)
    monkeypatch.setattr(buckets, "ROWS_AT_ONCE", 37)
    monkeypatch.setattr(singles, "ROWS_A_PART", 50)
    run("settle", bundle, "--out", tmp_path / "many.parquet", "--rules", one_rule)
    one, many = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    assert one["setl_id"].is_sorted() and many.equals(one)


def test_trace_needs_only_the_trace_tables(run, bundle, tmp_path):
    own = tmp_path / "in"
    own.mkdir()
    for name in ("trace_codes", "drug_identifiers", "institutions"):
        shutil.copy(bundle / f"{name}.csv", own)
    said = run("trace", own, "--out", tmp_path / "out")
    assert said.code == DONE, said.err
    found = pl.read_parquet(tmp_path / "out" / "findings.parquet")
    assert found["rule_id"].str.starts_with("t01-").any()
    assert set(found["scope"]) <= set(FACTS)


def test_check_answers_a_person_and_a_program(run, bundle):
    said = run("--lang", "zh", "check", bundle)
    assert said.code == DONE, said.err
    assert "V01" in said.out
    answer = json.loads(run("check", bundle, "--json").out)
    assert [c["check_id"] for c in answer["checks"]][:12] == [f"V{n:02}" for n in range(1, 13)]
    assert {c["verdict"] for c in answer["checks"]} <= {"pass", "fail", "not_checkable"}
    assert {i["path"] for i in answer["inputs"]} == {p.name for p in bundle.glob("*.csv")}


def test_the_report_is_made_again_from_the_outputs(run, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    for path in (out / "report.html", out / "summary.xlsx"):
        path.unlink()
    said = run("report", out)
    assert said.code == DONE, said.err
    for name in ("report.html", "summary.xlsx"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()
        assert str(out / name) in said.out


def test_synth_says_what_it_made(run, tmp_path):
    said = run("synth", tmp_path / "claims", "--claims", "60", "--seed", "3")
    assert said.code == DONE, said.err
    assert re.search(r"claims \d+", said.out)
    assert (tmp_path / "claims" / "claims.csv").is_file()
    assert run("synth", tmp_path / "claims2", "--claims", "60", "--profile", "canonicle").code == USAGE


# are the outputs whole


def test_whole_outputs_are_verified(run, finished):
    assert run("verify", finished).code == DONE


def shortened(path):
    frame = pl.read_parquet(path)
    frame.head(frame.height - 1).write_parquet(path)


def embellished(path):
    path.write_text(path.read_text("utf-8").replace('"accepted": 3', '"accepted": 4', 1), "utf-8")


def deleted(path):
    path.unlink()


TAMPERED = {
    "findings.parquet": shortened, "recovery.parquet": deleted, "manifest.json": embellished, "_SUCCESS": deleted,
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_changed_output_is_named(run, finished, tmp_path, name):
    out = shutil.copytree(finished, tmp_path / "out")
    before = (out / name).read_bytes()
    TAMPERED[name](out / name)
    assert not (out / name).exists() or (out / name).read_bytes() != before
    said = run("verify", out)
    assert said.code == BROKEN
    assert name in said.err
    assert all(other not in said.err for other in TAMPERED if other != name)


def test_a_manifest_that_cannot_be_read_is_no_whole_output(run, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    for damaged in ("{", "[]", "{}", '{"files": 3, "root": ""}'):
        (out / "manifest.json").write_text(damaged)
        assert run("verify", out).code == BROKEN


def test_a_table_that_cannot_be_read_stops_the_report_with_its_name(run, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "findings.parquet").write_bytes(b"PAR1 not really PAR1")
    said = run("report", out)
    assert said.code in (BROKEN, RESOURCE)
    assert said.err.strip()


# rules


def test_rules_are_listed_for_people_and_programs(run):
    rows = json.loads(run("rules", "list", "--json").out)
    assert {r["id"] for r in rows} == {p.stem for p in rules_folder().rglob("*.yaml") if p.parent.name != "waivers"}
    assert all(r["title"] and r["scope"] and r["result"] in ("violation", "suspicion") for r in rows)
    numbers = [r["number"] for r in rows if r["number"] is not None]
    assert numbers == sorted(numbers)
    assert len({r["family"] for r in rows}) >= 10


def test_a_rule_is_shown_as_it_stands(run, one_rule):
    said = run("rules", "show", RULE, "--rules", one_rule)
    assert said.out == (one_rule / f"{RULE}.yaml").read_text("utf-8")
    unknown = run("rules", "show", "daily-fee-exceed-stay", "--rules", one_rule)
    assert unknown.code == USAGE
    assert RULE in unknown.err
    assert run("rules", "show", "../**", "--rules", one_rule).code == USAGE


def test_a_sound_rule_lints_and_passes_its_own_tests(run, one_rule):
    assert run("rules", "lint", "--rules", one_rule).code == DONE
    said = run("--lang", "en", "rules", "test", "--rules", one_rule)
    assert said.code == DONE
    assert re.search(r"[1-9]\d* rule tests passed, 0 rule tests failed", said.out)
    assert run("rules", "test", "--rules", one_rule, "--rule", "no-such-rule").code == USAGE


def test_a_rule_that_fails_its_own_test_is_named(run, one_rule, tmp_path):
    folder = broken_copy(one_rule, tmp_path / "rules", "- hit:", "- clear:")
    said = run("--lang", "en", "rules", "test", "--rules", folder)
    assert said.code == RULES
    assert RULE in said.out


def test_every_fault_of_every_rule_is_told_at_once(run, one_rule, tmp_path):
    folder = broken_copy(one_rule, tmp_path / "rules", "result:", "resullt:")
    (folder / "second-rule.yaml").write_text("id: second-rule\nid: second-rule\n", "utf-8")
    (folder / "third-rule.yaml").write_text("id: [unclosed\n", "utf-8")
    for command in (["rules", "lint"], ["rules", "test"], ["rules", "list"]):
        said = run(*command, "--rules", folder)
        assert said.code == RULES
        for name in (f"{RULE}.yaml", "second-rule.yaml", "third-rule.yaml"):
            assert name in said.out + said.err, command


def test_a_run_with_broken_rules_reads_nothing_and_writes_nothing(run, bundle, one_rule, tmp_path):
    folder = broken_copy(one_rule, tmp_path / "rules", "when:", "whenn:")
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", folder)
    assert said.code == RULES
    assert f"{RULE}.yaml" in said.err
    assert not (tmp_path / "out").exists()


# what a user may mistype

MISTAKES = {
    "an unknown command": (["audti"], "audti"),
    "an unknown option": (["check", "{bundle}", "--jsn"], "--jsn"),
    "no input": (["run", "--out", "{tmp}/out"], "IN"),
    "no OUT": (["run", "{bundle}"], "--out"),
    "an unknown language": (["--lang", "fr", "check", "{bundle}"], "zh, en"),
    "a folder that is not there": (["check", "{tmp}/nowhere"], "nowhere"),
    "a stage of a folder that is not there": (["settle", "{tmp}/nowhere", "--out", "{tmp}/x.parquet"], "nowhere"),
    "OUT is a file": (["run", "{bundle}", "--out", "{tmp}/file.txt", "--rules", "{rules}"], "file.txt"),
    "OUT holds other files": (["run", "{bundle}", "--out", "{tmp}", "--rules", "{rules}"], "不为空"),
    "OUT of a stage is a folder": (["group", "{bundle}", "--out", "{tmp}"], "应为文件"),
    "no folder of rules": (["run", "{bundle}", "--out", "{tmp}/out", "--rules", "{tmp}/rulez"], "rulez"),
    "no folder of rules to lint": (["rules", "lint", "--rules", "{tmp}/rulez"], "rulez"),
    "no file of parameters": (
        ["run", "{bundle}", "--out", "{tmp}/out", "--rules", "{rules}", "--params", "{tmp}/p.yaml"], "p.yaml"),
    "an unknown scheme": (
        ["run", "{bundle}", "--out", "{tmp}/out", "--rules", "{rules}", "--scheme", "chs-drg"], "chs-drg-starter"),
    "memory in no unit": (["run", "{bundle}", "--out", "{tmp}/out", "--memory", "much"], "4GB"),
    "not the folder of a run": (["verify", "{tmp}"], "不是一次运行"),
    "no report without a run": (["report", "{tmp}"], "不是一次运行"),
    "too few claims": (["synth", "{tmp}/out", "--claims", "3"], "50"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(run, bundle, tmp_path, one_rule, case):
    (tmp_path / "file.txt").write_text("mine")
    arguments, told = MISTAKES[case]
    said = run(*(a.format(bundle=bundle, tmp=tmp_path, rules=one_rule) for a in arguments))
    assert (said.code, said.out) == (USAGE, "")
    assert told in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "mine"


UNKNOWN = {
    "policy": (["--policy", "demo-regoin"], "demo-region"),
    "profile": (["--profile", "cannonical"], "canonical"),
    "knowledge": (["--knowledge", "{tmp}/nowhere"], "nowhere"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_name_is_answered_with_the_nearest(run, bundle, tmp_path, one_rule, case):
    arguments, meant = UNKNOWN[case]
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", one_rule, *arguments)
    assert said.code in (USAGE, INPUT)
    assert meant in said.err
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_an_unknown_parameter_of_a_region_is_told_with_its_place(run, bundle, one_rule, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(f"{RULE}: {{no_such_parameter: 3}}\n", "utf-8")
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", one_rule, "--params", params)
    assert said.code == RULES
    assert "no_such_parameter" in said.err
    assert f"params.yaml:1:{len(RULE) + 4}: E_PARAM_NAME" in said.err
    params.write_text("daily-fees-exceed-stay-day: {x: 3}\n", "utf-8")
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", one_rule, "--params", params)
    assert said.code == RULES
    assert "params.yaml:1:1: E_PARAM_RULE" in said.err
    params.write_text(f"{RULE}: 3\n", "utf-8")
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", one_rule, "--params", params)
    assert said.code == RULES
    assert "params.yaml:1" in said.err


def test_a_folder_of_nothing_known_is_bad_input(run, tmp_path, one_rule):
    source = tmp_path / "in"
    source.mkdir()
    assert run("run", source, "--out", tmp_path / "out", "--rules", one_rule).code == INPUT
    (source / "notes.csv").write_text("a,b\n1,2\n")
    said = run("check", source)
    assert said.code == INPUT
    assert "canonical" in said.err


def test_a_place_that_cannot_be_written_is_a_matter_of_resources(run, bundle, one_rule, tmp_path):
    (tmp_path / "file.txt").write_text("mine")
    said = run("run", bundle, "--out", tmp_path / "file.txt" / "out", "--rules", one_rule)
    assert said.code == RESOURCE
    assert "file.txt" in said.err


def test_a_key_that_cannot_be_read_is_a_matter_of_resources(run, bundle, one_rule, tmp_path, monkeypatch):
    key = tmp_path / "pseudonym.key"
    key.write_text("no hexadecimal number")
    monkeypatch.setenv("YIBAO_KEY_FILE", str(key))
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", one_rule)
    assert said.code == RESOURCE
    assert "pseudonym.key" in said.err
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_interrupted_work_says_how_to_go_on(run, bundle, one_rule, tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.run.stages.person_bucket", interrupted)
    said = run("--lang", "en", "run", bundle, "--out", tmp_path / "out", "--rules", one_rule)
    assert said.code == 130
    assert "--resume" in said.err


def test_a_fault_of_our_own_is_one_line_that_says_where(run, bundle, one_rule, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.run.stages.person_bucket", lambda *args: {}["nothing"])
    said = run("run", bundle, "--out", tmp_path / "out", "--rules", one_rule)
    assert said.code == BROKEN
    assert "KeyError" in said.err
    assert "test_command_line.py" in said.err


def test_memory_decides_how_many_lines_a_bucket_holds_and_what_codes_may_take():
    assert bounds("4GB") == bounds("4096 mb") == {"lines_a_bucket": 2**32 // 6_000, "memory": 2**32}
    assert bounds("1MB") == {"lines_a_bucket": 20_000, "memory": 2**20} and bounds(None) == {}
    for wrong in ("", "4", "GB", "-1GB", "4TB", "²GB", "1.5.5GB"):
        with pytest.raises(UsageProblem):
            bounds(wrong)
