"""A concept whose codes have dates: a set of a rule holds a code only on the days on which it is in force."""

import pytest

from engine.audit.cases import cases_of
from engine.audit.facts import Facts
from engine.audit.judge import judge
from engine.audit.trial import canonical, disagreement
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge

CONCEPTS = """concept,code,begndate,enddate,source,grade
washed,OLD1,,2025-03-04,test,demo
washed,NEW1,2025-03-05,,test,demo
washed,EVER,,,test,demo
"""
RULE = """id: washed-twice
title: 同日两次
description: 项目新旧代码按日期交替
family: x
basis: [{law: 条例}]
for: FOR
sets: {washed: "concept:washed"}
when: WHEN
flag: FLAG
"""
SHAPES = {
    "visit_day": ("$sum([l.cnt for l in day.lines if l.item in washed]) > 1", "l.item in washed"),
    "line": ("line.item in washed and line.cnt > 1", "line.item in washed"),
}


@pytest.fixture
def knowledge(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "concepts.csv").write_text(CONCEPTS, "utf-8")
    return load_knowledge([folder])


def rule_over(scope, tmp_path, knowledge):
    when, flag = SHAPES[scope]
    folder = tmp_path / "rules"
    folder.mkdir()
    text = RULE.replace("FOR", scope).replace("WHEN", f'"{when}"').replace("FLAG", f'"{flag}"')
    (folder / "washed-twice.yaml").write_text(text, "utf-8")
    (rule,), faults = load_rules(folder, knowledge)
    assert not faults, "\n".join(map(str, faults))
    return rule


@pytest.mark.parametrize("scope", ["visit_day", "line"])
@pytest.mark.parametrize(
    "item, day, hits",
    [
        ("OLD1", 1, 1), ("OLD1", 2, 0),  # the stay begins on 3 March, so day 1 is the last day of the old code
        ("NEW1", 1, 0), ("NEW1", 2, 1),
        ("EVER", 1, 1), ("EVER", 2, 1),
        ("OTHER", 1, 0),
    ],
)  # fmt: skip
def test_a_code_counts_on_the_days_on_which_it_is_in_force(scope, item, day, hits, tmp_path, knowledge):
    rule = rule_over(scope, tmp_path, knowledge)
    facts = Facts(canonical({"lines": [{"item": item, "cnt": "2", "day": str(day)}]}), knowledge)
    assert judge(rule, facts).hits.height == hits
    assert disagreement(rule, cases_of(rule, facts)) == ""


def test_on_one_day_old_and_new_codes_never_count_together(tmp_path, knowledge):
    rule = rule_over("visit_day", tmp_path, knowledge)
    lines = [{"item": item, "day": "2"} for item in ("OLD1", "NEW1")]
    facts = Facts(canonical({"lines": lines}), knowledge)
    assert judge(rule, facts).hits.height == 0
    facts = Facts(canonical({"lines": [*lines, {"item": "EVER", "day": "2"}]}), knowledge)
    assert judge(rule, facts).evidence.filter(role="excess")["row_key"].sort().to_list() == ["V1:2", "V1:3"]
