"""What an author of rules has at hand: the vocabulary, the schema, a first draft, pages, the lock."""

import json
import re
from datetime import date

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

import engine.cli.authors  # noqa: F401  registers the commands
from engine.cli.app import app
from engine.language import glossary, lockfile
from engine.language.draft import draftable
from engine.language.expression import Setting, parse
from engine.language.form import Rule
from engine.language.rule import load_rules, rule_files
from engine.language.schema import TESTS, schema, schema_text
from engine.language.vocabulary import objects, scopes
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder
from engine.run.handbook import words_of, write_pages
from engine.tables.problems import Problem, RuleProblem, UsageProblem
from engine.tables.yamltext import read_yaml

FILES = rule_files(rules_folder())
ANSWERS = ["--title", "一天一次", "--family", "overcharging", "--item", "A1", "--second", "B1", "--most", "1",
           "--days", "7", "--same", "day", "--result", "suspicion", "--law", "某条例", "--article", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


def run(*arguments, answers: str = "") -> str:
    """What a command prints; a Problem is raised as it is."""
    command = ["--lang", "zh", "rules", *map(str, arguments)]
    done = CliRunner().invoke(app, command, input=answers, env={"COLUMNS": "200"})
    if isinstance(done.exception, Problem):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


# the vocabulary


def test_every_word_of_the_vocabulary_is_listed_with_a_chinese_label(knowledge):
    listed = {e.name: e for e in glossary.entries(knowledge)}
    for name, attributes in objects().items():
        for attribute in attributes.values():
            assert listed[f"{name}.{attribute.name}"].missing == attribute.nullable
    assert [e.name for e in listed.values() if not re.search(r"[\u4e00-\u9fff]", e.label + e.note)] == []
    assert set(scopes()) <= set(listed)


def test_every_function_and_operator_shows_an_example_that_can_be_written():
    sets = {"items": ("A",), "cancer": ("C",)}
    params = {"max_per_day": 1, "insured_only": True}
    lets = {"billed": "$sum([l.cnt for l in day.lines])"}
    settings = [Setting(scope, params=params, sets=sets, lets=lets if scope == "visit_day" else {})
                for scope in ("line", "line_pair", "visit_day", "store_item")]  # fmt: skip
    settings.append(Setting("line", joined={"limit": objects()["visit"]}))
    for name, (_, example) in (glossary.FUNCTIONS | glossary.OPERATORS).items():
        assert any(readable(example, setting) for setting in settings), f"{name}: {example}"


def readable(example: str, setting: Setting) -> bool:
    try:
        parse(example, setting)
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("days", "visit.days"), ("住院天数", "visit.days"), ("dialysis_per_session", "concept:dialysis_per_session"),
        ("$begins", "开头"), ("??", "缺失"), ("excess", "多出多少"), ("pairs", "不可并收"),
        ("血液透析", "003110000060000"),
        ("003110000060000", "血液透析"), ("E_MISSING", "缺失"), ("e_missing", "缺失"), ("visit_day", "一次就诊的一天"),
    ],
)  # fmt: skip
def test_a_word_is_found_by_name_label_code_or_item(word, shown):
    assert shown in run("words", word)


def test_an_unknown_word_is_a_mistake_of_usage():
    with pytest.raises(UsageProblem, match="没有这个词"):
        run("words", "没有这样的词")


def test_words_answer_a_program_too():
    answer = json.loads(run("words", "age", "--json"))
    (age,) = [w for w in answer["words"] if w["name"] == "visit.age"]
    assert (age["kind"], age["type"], age["missing"]) == ("attribute", "数", True)


def test_items_of_an_extract_are_found_under_their_local_names(bundle):
    answer = json.loads(run("words", "血液透析", "--in", bundle, "--json"))
    assert answer["local_items"], "the bundle charges dialysis"
    first = answer["local_items"][0]
    assert "血液透析" in first["name"] and first["rows"] > 0 and first["amount_fen"] > 0
    amounts = [row["amount_fen"] for row in answer["local_items"]]
    assert amounts == sorted(amounts, reverse=True)


# the schema


def test_the_schema_in_the_repository_is_current():
    assert (rules_folder() / "rule.schema.json").read_text("utf-8") == schema_text(), "yibao rules schema --out"


def test_the_schema_is_one_and_describes_every_key_in_both_languages():
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    assert set(made["properties"]) == {field.alias or name for name, field in Rule.model_fields.items()}
    told = [made, *made["$defs"].values(), {"properties": made["properties"]["tests"]["items"]["properties"]}]
    for part in told:
        for name, key in part["properties"].items():
            assert re.search(r"[\u4e00-\u9fff].* · [a-zA-Z]", key["description"]), name
    assert set(TESTS) >= {"hit", "clear", "known_miss", "known_false_alarm", "gives", "events", "stores"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rule_of_ours_fits_the_schema_as_text_and_as_an_editor_sees_it(path):
    validator = jsonschema.Draft202012Validator(schema())
    assert [e.message for e in validator.iter_errors(read_yaml(path).value)] == []
    first, text = path.read_text("utf-8").split("\n", 1)
    assert first == "# yaml-language-server: $schema=../rule.schema.json"
    assert (path.parent / first.partition("=")[2]).resolve() == (rules_folder() / "rule.schema.json").resolve()
    seen = yaml.load(text, Loader=Editor)
    assert [e.message for e in validator.iter_errors(seen)] == []


class Editor(yaml.SafeLoader):
    """YAML 1.2 as an editor reads it: numbers and booleans, but dates as text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"when": None}, "when"), ({"whem": "true"}, "whem"), ({"for": "visit_dya"}, "visit_dya"),
        ({"amount": "unit"}, "unit"), ({"number": "x"}, "x"), ({"id": "Ä b"}, "Ä b"),
        ({"flag": {"exces": "l.cnt > 0"}}, "exces"),
        ({"join": {"table": "pears", "as": "pair"}}, "pears"), ({"tests": [{"hits": {}}]}, "hits"),
        ({"in_force": {"from": "1.5.2021"}}, "1.5.2021"), ({"params": {"x": {"type": "int"}}}, "default"),
    ],
)  # fmt: skip
def test_the_schema_refuses_what_a_rule_may_not_say(change, said):
    rule = read_yaml(FILES[0]).value | change
    rule = {key: value for key, value in rule.items() if value is not None}
    errors = list(jsonschema.Draft202012Validator(schema()).iter_errors(rule))
    assert said in " ".join(e.message for e in errors)


# read again and again


def test_a_rule_is_compiled_again_only_where_what_it_says_or_may_speak_of_changed(tmp_path, knowledge):
    path = tmp_path / "overcharging" / "some-rule.yaml"
    path.parent.mkdir()
    text = """id: some-rule
title: 试
description: 试
family: overcharging
basis: [{law: 条例}]
for: visit_day
params: {most: {type: decimal, default: "1", label: 上限}}
sets: {some: [A]}
when: visit.days > params.most and count > 0
let: {count: "$sum([l.cnt for l in day.lines if l.item in some])"}
flag: l.item in some
"""

    def condition(said: str = text, **given):
        path.write_text(said, "utf-8")
        (rule,), faults = load_rules(tmp_path, knowledge, **given)
        assert not faults
        return rule.parsed["when"]

    first = condition()
    assert condition(text.replace("title: 试", "title: 又试")) is first
    assert condition() is first
    changes = [("visit.days >", "visit.days >="), ("[A]", "[A, B]"), ("l.cnt", "l.price")]
    others = [condition(text.replace(*change)) for change in changes]
    others += [condition(overrides={"some-rule": {"most": "2"}}), condition(today=date(2025, 5, 6))]
    assert first not in others and len(set(map(id, others))) == 5


def test_only_rules_that_ask_for_today_are_compiled_anew_for_the_day_of_the_data(region):
    day = date(2025, 5, 6)
    later = region.dated(day)
    anew = [after for before, after in zip(region.rules, later.rules, strict=True) if before is not after]
    assert [rule.rule.id for rule in anew] == [rule.rule.id for rule in region.rules if rule.asks_the_date] != []
    assert {rule.setting.today for rule in anew} == {later.today} == {day}
    assert region.dated(None) is region


# a first draft


@pytest.mark.parametrize("scope", draftable())
def test_a_draft_of_every_scope_has_no_fault_and_leaves_nothing_loose(scope, tmp_path):
    said = run("new", "--rules", tmp_path, "--for", scope, "--id", "draft-rule", *ANSWERS)
    path = tmp_path / "overcharging" / "draft-rule.yaml"
    assert str(path) in said and path.exists() and (tmp_path / "rule.schema.json").exists()
    assert run("lint", "--rules", tmp_path) == "1 条规则: 0 处错误\n"
    tested = json.loads(run("test", "--rules", tmp_path, "--rule", "draft-rule", "--json"))
    assert [t["said"] for t in tested["tests"] if not t["passed"]] == []
    assert {t["word"] for t in tested["tests"]} == {"hit", "clear"}
    assert tested["gaps"] == []


def test_a_draft_is_made_from_answers_given_one_by_one(tmp_path):
    answers = ["透析一日一次", "10", "visit_day", "血液透析", "4 5", "1", "1", "", "38(3)", "asked-for"]
    run("new", "--rules", tmp_path, answers="\n".join(answers) + "\n")
    (rule,), _ = load_rules(tmp_path, load_knowledge([]))
    assert (rule.rule.family, rule.rule.scope, rule.rule.result) == ("hemodialysis", "visit_day", "suspicion")
    assert rule.rule.title == "透析一日一次"
    assert rule.setting.sets["items"] == ("003110000060000", "003110000060100")


def test_a_draft_never_overwrites_a_rule(tmp_path):
    options = ("new", "--rules", tmp_path, "--for", "line", "--id", "kept", *ANSWERS)
    run(*options)
    path = tmp_path / "overcharging" / "kept.yaml"
    path.write_text(path.read_text("utf-8") + "# 我的改动\n", "utf-8")
    with pytest.raises(UsageProblem, match="已有这条规则"):
        run(*options)
    assert path.read_text("utf-8").endswith("# 我的改动\n")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--most", "一", "不是数量"),
        ("--for", "visits", "一个案例"),
        ("--id", "大写 A", "规则号"),
        ("--family", "x", "类别"),
    ],
)
def test_an_answer_that_cannot_be_meant_is_refused_and_writes_nothing(option, value, said, tmp_path):
    with pytest.raises(UsageProblem, match=said):
        run("new", "--rules", tmp_path, "--for", "line", "--id", "x", *ANSWERS, option, value)
    assert list(tmp_path.rglob("*.yaml")) == []


# pages


@pytest.fixture(scope="module")
def pages(region, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    write_pages(region, folder)
    return folder


def test_there_is_a_page_for_every_rule_and_an_index_that_leads_to_each(pages, region):
    names = {f"{rule.rule.id}.html" for rule in region.rules}
    assert {p.name for p in pages.iterdir()} == names | {"index.html"}
    assert set(re.findall(r'href="([^"]+)"', (pages / "index.html").read_text("utf-8"))) == names


def test_a_page_says_what_the_rule_says(pages):
    page = (pages / "per-treatment-dialysis-billed-hourly.html").read_text("utf-8")
    for said in ("按次计价的血液净化一日多计", "一次就诊的一天", "第38条第(3)项", "前日漏记今日补记", "每日可计次数",
                 "推定前日漏记今日补记", "当日透析记录单", "计价单位为次", "血液透析(碳酸液透析)", "应查出", "当日冲销",
                 "$sum([l.cnt for l in day.lines])", "超出数量按计费单价计", "最晚的明细"):  # fmt: skip
        assert said in page, said


def test_a_number_on_a_page_is_no_truth_value(pages):
    page = (pages / "short-interval-repeat-imaging.html").read_text("utf-8")
    assert "<td>1</td>" in page[page.index("<code>min_days</code></td>") :][:200]
    assert "<td>是</td>" in page[page.index("<code>same_body_region</code></td>") :][:200]


def test_pages_need_nothing_from_elsewhere_and_lead_only_to_each_other(pages):
    for path in pages.iterdir():
        text = path.read_text("utf-8")
        assert not re.search(r"(src|href)=\"?(https?:|//)", text), path.name
        assert {p for p in re.findall(r'href="([^"]+)"', text)} <= {p.name for p in pages.iterdir()}


def test_the_same_rules_make_the_same_pages(pages, region, tmp_path):
    write_pages(region, tmp_path)
    assert all((tmp_path / p.name).read_bytes() == p.read_bytes() for p in pages.iterdir())


def test_the_words_of_a_condition_are_told_in_chinese(region):
    rule = next(r for r in region.rules if r.rule.id == "split-stay-short-readmission")
    told = dict(words_of(rule.rule.let["linked"], rule))
    assert told["o.icd3"] == "主诊断类目"
    assert told["o.discharge_date"] == "出院日期，可能缺失"
    assert told["params.window_days"].startswith("参数：再入院间隔上限")
    assert told["planned"] == "集合：concept:readmission_exempt_icd"


# the lock


def test_the_lock_of_the_repository_is_current():
    assert lockfile.differences(FILES, rules_folder() / lockfile.NAME) == {}, "yibao rules lock"


def test_the_lock_tells_what_changed_what_is_new_and_what_is_gone(tmp_path):
    for name in ("kept", "edited", "dropped"):
        run("new", "--rules", tmp_path, "--for", "line", "--id", name, *ANSWERS)
    run("lock", "--rules", tmp_path)
    assert "一致" in run("lock", "--check", "--rules", tmp_path) or "as rules.lock" in run(
        "lock", "--check", "--rules", tmp_path
    )
    folder = tmp_path / "overcharging"
    (folder / "edited.yaml").write_text((folder / "edited.yaml").read_text("utf-8") + "# 改\n", "utf-8")
    (folder / "dropped.yaml").unlink()
    run("new", "--rules", tmp_path, "--for", "line", "--id", "added", *ANSWERS)
    assert lockfile.differences(rule_files(tmp_path), tmp_path / lockfile.NAME) == {
        "added": "new", "dropped": "gone", "edited": "changed",
    }  # fmt: skip
    done = CliRunner().invoke(app, ["rules", "lock", "--check", "--rules", str(tmp_path)])
    assert done.exit_code == 4 and "edited" in done.output
    assert run("lint", "--rules", tmp_path).count("W_LOCK") == 3
    run("lock", "--rules", tmp_path)
    assert "W_LOCK" not in run("lint", "--rules", tmp_path)


def test_a_lock_is_sorted_and_no_line_end_changes_it(tmp_path):
    run("new", "--rules", tmp_path, "--for", "line", "--id", "b-rule", *ANSWERS)
    run("new", "--rules", tmp_path, "--for", "line", "--id", "a-rule", *ANSWERS)
    files = rule_files(tmp_path)
    before = lockfile.lock_text(files)
    assert [line.split()[1] for line in before.splitlines()] == ["a-rule", "b-rule"]
    for path in files:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert lockfile.lock_text(files) == before


def test_a_lock_that_cannot_be_read_says_where(tmp_path):
    (tmp_path / lockfile.NAME).write_text("0123456789abcdef  good\nbad\n", "utf-8")
    with pytest.raises(RuleProblem, match=r"rules\.lock:2"):
        lockfile.differences([], tmp_path / lockfile.NAME)
