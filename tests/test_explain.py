"""A finding is explained from its run alone: the printed arithmetic adds up, and nothing is said that was not read."""

import json
import re
import shutil
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from rule_language import compiled, corpus, questions

import synthetic.cli  # noqa: F401  registers every command
from engine.audit import trial
from engine.audit.codefacts import CodeFacts
from engine.audit.codes import judge_codes
from engine.audit.findings import write_up
from engine.audit.judge import judge, with_aggregates
from engine.audit.told import amounts_table, values, values_table
from engine.cli.app import app, call
from engine.language.form import Param
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder
from engine.report.explain import Case, case_of, told
from engine.report.figures import Run
from engine.run.rulebook import rule_infos
from engine.tables.outputs import conform, outputs

DONE, USAGE, INPUT = 0, 2, 3
NUMBER = r"-?[\d,]+(?:\.\d+)?"
QUOTIENT = re.compile(rf"({NUMBER}) × ({NUMBER}) ÷ ({NUMBER}) = ({NUMBER})(?:，加尾差 {NUMBER} = ({NUMBER}))?")
AMOUNT = re.compile(rf"(涉及金额|范围内金额|基金份额) (?:{NUMBER} × {NUMBER} ÷ {NUMBER} = )?({NUMBER})")


def written(made: trial.Trial) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Findings and evidence of a test inside a rule, as a run would write them."""
    if made.facts is not None:
        return write_up(made.rule, made.facts, judge(made.rule, made.facts))
    facts = CodeFacts(made.tables, [made.rule]).of(made.rule.rule.scope)
    return judge_codes(made.rule, facts, made.tables.get("fee_lines"))[:2]


@pytest.fixture(scope="module")
def of_every_rule(region, tmp_path_factory) -> Run:
    """OUT of a run that found what the first tests inside the rules hit: every rule, and so every scope."""
    found, rows, knowledge = [], [], load_knowledge([])
    for loaded in region.rules:
        hits = [at for at, test in enumerate(loaded.rule.tests) if "hit" in test or "known_false_alarm" in test]
        for at in hits[:3]:
            number = pl.lit(f"{len(found):04}")
            findings, evidence = written(trial.prepared(loaded, knowledge, at + 1, loaded.rule.tests[at]))
            found.append(findings.with_columns(finding_id=number + pl.col("finding_id")))
            rows.append(evidence.with_columns(finding_id=number + pl.col("finding_id")))
    tables = {name: pl.DataFrame(schema=schema) for name, schema in outputs().items()}
    findings, evidence = pl.concat(found), pl.concat(rows)
    tables |= {"values": values_table(findings, region.rules), "amounts": amounts_table(evidence)}
    rounded = pl.col("excess_cnt").round(4, mode="half_away_from_zero").cast(pl.Decimal(16, 4))
    tables["findings"] = findings.with_columns(rounded).select(*outputs()["findings"])
    rounded = pl.col("cnt").round(4, mode="half_away_from_zero").cast(pl.Decimal(16, 4))
    tables["evidence"] = evidence.with_columns(rounded).select(*outputs()["evidence"])
    out = tmp_path_factory.mktemp("every") / "out"
    out.mkdir()
    for name, frame in tables.items():
        conform(frame, name).write_parquet(out / f"{name}.parquet")
    (out / "manifest.json").write_text(json.dumps({"run_id": "0", "parameters": {}}))
    return Run(out, rule_infos(region))


def cases(run: Run) -> list[Case]:
    return [case_of(run, finding_id) for finding_id in run.scan("findings").collect()["finding_id"]]


@pytest.fixture(scope="module")
def every_case(of_every_rule) -> list[Case]:
    return cases(of_every_rule)


def explanation(case) -> dict[str, list[str]]:
    return dict(told(case))


def value(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def fen(text: str) -> int:
    return int(Decimal(text.replace(",", "")) * 100)


def half_up(amount: Fraction) -> int:
    """Fen, a unit's digits beyond the ninth place of a fen taken for noise."""
    billionths = round(amount * 100 * 10**9)
    return int((Decimal(billionths) / 10**9).quantize(Decimal(1), ROUND_HALF_UP))


def test_every_rule_is_explained_and_every_scope(of_every_rule, every_case, region):
    found = of_every_rule.scan("findings").collect()
    assert set(found["rule_id"]) == {loaded.rule.id for loaded in region.rules}
    for case in every_case:
        said = explanation(case)
        assert {"规则与依据", "案例", "命中的条件", "证据", "金额"} <= set(said), case.finding["rule_id"]
        assert "None" not in str(said) and "nan" not in str(said), said
        assert case.rule.basis in str(said["规则与依据"])


def check_money(case) -> int:
    """Every printed quotient is right, and what the rows say adds up to the finding; how many quotients there were."""
    said = explanation(case)["金额"]
    rows, count = [line for line in said if line.startswith("  ")], 0
    for line in rows:
        for a, b, c, result, _ in QUOTIENT.findall(line):
            assert half_up(value(a) * value(b) / value(c)) == fen(result), line
            count += 1
    sums = dict.fromkeys(("涉及金额", "范围内金额", "基金份额"), 0)
    for line in rows:
        line = re.sub(rf"= {NUMBER}，加尾差 {NUMBER} = ", "= ", line)
        for label, amount in AMOUNT.findall(line):
            sums[label] += fen(amount)
    by_code = case.finding["scope"] in ("code_site", "code", "fee_line_codes", "lot", "burst", "buyer")
    wanted = {"涉及金额": "gross_fen", "范围内金额": "inscope_fen", "基金份额": "fund_fen"}
    for label, name in wanted.items():
        if not (by_code and label == "范围内金额"):
            assert sums[label] == case.finding[name], (case.finding["rule_id"], label, said)
    return count


def test_the_printed_money_adds_up_for_every_rule(every_case):
    assert sum(check_money(case) for case in every_case) > 150


def test_the_printed_money_adds_up_for_every_finding_of_a_run(finished, region):
    run = Run(finished, rule_infos(region))
    assert sum(check_money(case) for case in cases(run)) > 15


def test_the_printed_excess_is_what_its_sum_gives(every_case):
    """`超出 = billed - params.max = 4 - 1 = 3`: the numbers put in give the result."""
    checked = 0
    for case in every_case:
        for line in explanation(case).get("超出的数量", []):
            if found := re.fullmatch(r"超出 = .* = ([-+*/(). \d]+) = (-?[\d.]+)(?: 元)?。", line):
                sum_, result = found.groups()
                worked = eval(re.sub(r"[\d.]+", r"Fraction('\g<0>')", sum_))  # only numbers and signs
                assert abs(worked - Fraction(result)) < Fraction(1, 10**12), line
                checked += 1
    assert checked > 15


def test_the_units_cut_are_the_units_in_excess(every_case):
    checked = 0
    for case in every_case:
        cut = [
            Decimal(n) for line in explanation(case).get("超出的数量", []) for n in re.findall(r"截 ([\d.]+)。", line)
        ]
        if case.of("amount")[0]["name"] == "units" and case.finding["scope"] in ("visit", "visit_day", "line"):
            assert sum(cut).quantize(Decimal("0.0001"), ROUND_HALF_UP) == case.finding["excess_cnt"], case.finding
            checked += 1
    assert checked > 15


def test_every_condition_of_a_hit_is_told_as_met_with_what_it_read(every_case):
    undecided = set()
    for case in every_case:
        top = [row for row in case.of("when") if row["level"] == 0]
        assert top and all(row["value"] == "true" for row in top), (case.finding["rule_id"], top)
        undecided |= {case.finding["rule_id"] for r in case.values if r["value"] is None and r["kind"] == "bool"}
    # One side of an `or` that divides by the count of what is not there, and is not asked; and a yes or no that the
    # rule reads with `??`, since a register may not tell it.
    unregistered = {"chronic-benefit-unapproved-drug", "medical-aid-double-or-ineligible"}
    assert undecided == {"hemodiafiltration-unbundling", *unregistered}


def test_the_strongest_explanation_left_open_is_the_first_told_as_open(every_case):
    for case in every_case:
        left = [row["name"] for row in case.values if row["kind"] == "answer" and row["value"] == "open"]
        assert next(iter(left), None) == case.finding["innocent_open"], case.finding["rule_id"]


def test_values_stand_beside_the_names_and_in_their_place(every_case):
    case = next(c for c in every_case if c.finding["rule_id"] == "per-treatment-dialysis-billed-hourly")
    said = explanation(case)
    assert "  1. billed = 4 > params.max_per_day = 1：成立（「billed」大于参数“每日可计次数”）" in said["命中的条件"]
    assert "超出 = billed - params.max_per_day = 4 - 1 = 3。" in said["超出的数量"]
    assert "     · billed = 4（费用明细，各条明细的数量之和）" in said["命中的条件"]
    row, validity = said["对照的表与参数"][:2]
    assert row.startswith("对照“概念对照”（concepts）中的一行：概念 dialysis_per_session")
    assert "来源" in validity and "可信度" in validity


def test_what_speaks_of_single_rows_is_defined_and_not_valued(every_case):
    case = next(c for c in every_case if c.finding["rule_id"] == "overlapping-inpatient-stays")
    rows = {row["name"]: row for row in case.of("when")}
    assert rows["overlapping"]["kind"] == "definition" and rows["overlapping"]["value"] is None
    assert any("overlapping 指：该次就诊住院" in line for line in explanation(case)["命中的条件"])


def test_a_part_is_told_in_the_words_of_its_author(region):
    for loaded in region.rules:
        texts = " ".join([loaded.rule.when, loaded.rule.excess or "", *loaded.rule.let.values(), *loaded.rule.let])
        texts += " ".join(f"{i.unless} {i.unknown}" for i in loaded.rule.innocent) + str(loaded.rule.violation_when)
        texts += str(loaded.rule.known)
        for part in loaded.parts:
            assert part.name in texts, (loaded.rule.id, part.name)
            assert re.search(r"[\u4e00-\u9fff「]", part.words), (loaded.rule.id, part)


def test_no_value_names_a_person_but_by_pseudonym(finished, bundle):
    kept = pl.read_parquet(finished / "values.parquet")
    persons = set(pl.read_csv(bundle / "persons.csv", infer_schema=False)["psn_no"])
    assert not persons & set(kept["value"].drop_nulls())
    named = kept.filter(pl.col("kind").is_in(["person", "doctor"]), pl.col("value").is_not_null())
    assert named["value"].str.contains("^[PD][0-9a-f]{16}$").all()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(questions(), st.integers(0, 2))
def test_whatever_can_be_asked_can_be_told_and_its_parts_are_what_it_says(question, seed):
    """The conditions told of `when` hold together exactly where `when` does."""
    scope, texts = question
    loaded = compiled(scope, texts)
    assume("when" in loaded.compiled)
    given_ = {"params": {n: Param(type="text", default="") for n in loaded.setting.params},
              "sets": {n: ["A"] for n in loaded.setting.sets}}  # fmt: skip
    loaded.rule = loaded.rule.model_copy(update=given_)
    frame = with_aggregates(loaded, corpus(scope, seed)[0])
    held = frame.select("_case", held=loaded.compiled["when"].value).drop_nulls()
    top = [at for at, part in enumerate(loaded.parts) if part.of == "when" and part.level == 0]
    for row in values(loaded, frame).join(held, on="_case").iter_rows(named=True):
        conditions = [row["values"][at] for at in top if loaded.parts[at].kind == "bool"]
        assert row["held"] is False or all(text == "true" for text in conditions), (texts, conditions)
        assert row["held"] or len(conditions) < len(top) or "false" in conditions, (texts, conditions)


# as a user asks


@pytest.fixture
def explain(capsys):
    """explain(OUT, FINDING, …): exit code, stdout, stderr."""

    def start(*arguments):
        capsys.readouterr()
        code = call(app, ["explain", *map(str, arguments)])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return start


@pytest.fixture(scope="module")
def some_finding(finished) -> dict:
    found = pl.read_parquet(finished / "findings.parquet").filter(pl.col("scope") == "line").sort("finding_id")
    return found.row(0, named=True)


def test_the_beginning_of_an_id_is_enough(explain, finished, some_finding):
    ids = pl.read_parquet(finished / "findings.parquet")["finding_id"]
    size = next(n for n in range(1, 25) if (ids.str.head(n) == some_finding["finding_id"][:n]).sum() == 1)
    code, out, err = explain(finished, some_finding["finding_id"][:size])
    assert code == DONE, err
    assert out.startswith("一、规则与依据\n")
    assert some_finding["message"] in out
    assert out.rstrip().endswith("疑点线索，需人工核实，不作为处罚依据")


@pytest.mark.parametrize(
    ("lang", "heading", "word"), [("zh", "、追溯码全史\n", "销售"), ("en", "lives of the codes", "sold")]
)
def test_a_finding_about_codes_tells_their_lives_in_the_language_asked_for(capsys, finished, lang, heading, word):
    history = pl.read_parquet(finished / "code_history.parquet").filter(pl.col("kind") == "sale")
    row = history.sort("finding_id", "code", "seq").row(0, named=True)
    assert call(app, ["--lang", lang, "explain", str(finished), row["finding_id"]]) == DONE
    out = capsys.readouterr().out
    life = out[out.index(heading) :]
    assert row["code"] in life and word in life and row["fixmedins_code"] in life and row["psn_no"] in life


def test_a_program_gets_the_rows_and_the_sentences(explain, finished, some_finding):
    code, out, _ = explain(finished, some_finding["finding_id"], "--json")
    answer = json.loads(out)
    assert code == DONE
    assert answer["finding"]["finding_id"] == some_finding["finding_id"]
    assert {row["part"] for row in answer["values"]} >= {"when", "amount"}
    assert [part["heading"] for part in answer["told"]][:3] == ["规则与依据", "案例", "命中的条件"]


def test_an_ambiguous_beginning_lists_the_candidates_and_a_wrong_one_the_nearest(explain, finished, some_finding):
    ids = pl.read_parquet(finished / "findings.parquet")["finding_id"].sort()
    shared = next(i[:1] for i in ids if ids.str.starts_with(i[:1]).sum() > 1)
    code, _, err = explain(finished, shared)
    assert code == USAGE
    assert ids.filter(ids.str.starts_with(shared))[0] in err
    known = some_finding["finding_id"]
    wrong = known[:-1] + ("0" if known[-1] != "0" else "1")
    code, _, err = explain(finished, wrong)
    assert code == USAGE
    assert known in err


def test_a_folder_that_is_no_run_and_a_run_that_kept_no_values_are_refused(explain, finished, some_finding, tmp_path):
    assert explain(tmp_path, "00")[0] == USAGE
    old = shutil.copytree(finished, tmp_path / "old")
    (old / "values.parquet").unlink()
    code, _, err = explain(old, some_finding["finding_id"])
    assert code == INPUT
    assert "values.parquet" in err and "重新运行" in err


def test_a_rule_changed_since_or_gone_is_said_to_be_so(explain, finished, some_finding, tmp_path):
    rule = next(rules_folder().rglob(f"{some_finding['rule_id']}.yaml"))
    same = explain(finished, some_finding["finding_id"])[1]
    assert "与运行时一致" in same
    folder = tmp_path / "rules" / rule.parent.name
    folder.mkdir(parents=True)
    (folder / rule.name).write_text(rule.read_text("utf-8") + "# 改过\n", "utf-8")
    changed = explain(finished, some_finding["finding_id"], "--rules", tmp_path / "rules")[1]
    assert "规则文件在运行之后改过" in changed and some_finding["rule_version"] in changed
    (folder / rule.name).unlink()
    gone = explain(finished, some_finding["finding_id"], "--rules", tmp_path / "rules")[1]
    assert "手头没有这条规则的文件" in gone
    heading = "三、命中的条件"
    assert same.split(heading)[1].split("九、")[0] == gone.split(heading)[1].split("九、")[0]


def test_a_parameter_that_the_region_set_is_told_as_such(bundle, tmp_path, explain):
    from engine.run import pipeline
    from engine.run.region import load_region

    (tmp_path / "params.yaml").write_text("split-stay-short-readmission: {window_days: 21}\n", "utf-8")
    region = load_region(params=tmp_path / "params.yaml")
    pipeline.run(bundle, tmp_path / "out", region, pipeline.Options(report=False))
    found = pl.read_parquet(tmp_path / "out" / "findings.parquet")
    finding = found.filter(pl.col("rule_id") == "split-stay-short-readmission")["finding_id"][0]
    out = explain(tmp_path / "out", finding)[1]
    assert "参数“再入院间隔上限(天)”（window_days）= 21，本地参数文件所定" in out
    assert "参数“再入院间隔下限(天)”（min_gap_days）= 0，规则默认值" in out
