"""Rule files that mean harm, or that YAML would change: a clear error with its place, or exactly what is written."""

import resource
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.tables import yamltext

RULE = """id: hostile
title: 试
description: 试
family: x
basis: [{law: 条例}]
for: visit_day
when: WHEN
flag: l.cnt > 0
"""
LETS = "\n".join(f"  a{n}: a{n - 1} + a{n - 1}" for n in range(1, 40))


def when(text: str) -> str:
    return RULE.replace("WHEN", "'" + text.replace("'", "''") + "'")


# name: (text of the file, code, line, column)
REFUSED = {
    "a bomb of anchors": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "E_YAML_ANCHOR", 1, 4),
    "a tag that builds objects": ("id: !!python/object/apply:os.system [ls]\n", "E_YAML_TAG", 1, 5),
    "a key twice": ("id: x\ntitle: a\nid: y\n", "E_YAML_TWICE", 3, 1),
    "a merge key": ("id: x\n<<: {a: b}\n", "E_YAML_MERGE", 2, 1),
    "a key that is a list": ("id: x\n? [a]\n: b\n", "E_YAML_KEY", 2, 3),
    "ten thousand levels of YAML": ("a: " + "[" * 10_000, "E_YAML_DEEP", 1, 53),
    "two documents": (RULE + "---\nid: y\n", "E_YAML", 9, 1),
    "a control character": ("id: \x07\n", "E_YAML_CONTROL", 1, 5),
    "half a character": ('id: "\\ud800"\n', "E_YAML_CONTROL", 1, 5),
    "no UTF-8": ("title: 试".encode("gb18030"), "E_YAML_ENCODING", 1, 8),
    "fifty megabytes": (b"a: b\n" * 10_000_000, "E_YAML_SIZE", 1, 1),
    "twenty thousand keys": ("id: hostile\n" + "".join(f"k{n}: v\n" for n in range(20_000)), "E_KEY_UNKNOWN", 2, 1),
    "ten thousand brackets": (when("(" * 10_000 + "1" + ")" * 10_000), "E_LONG", 7, 8),
    "nine hundred negations": (when("not " * 900 + "visit.insured"), "E_LONG", 7, 8),
    "a bomb of names": (RULE.replace("when: WHEN", f"let:\n  a0: visit.days\n{LETS}\nwhen: a39 > 1"), "E_LONG", 20, 8),
    "names in a circle": (RULE.replace("when: WHEN", "let:\n  a: b > 1\n  b: a > 1\nwhen: a"), "E_CIRCLE", 9, 6),
    "an endless range": (when("$range(100000000).length > 1"), "E_FUNCTION", 7, 8),
    "a number beyond all bounds": (when("visit.days > 1e999999999"), "E_EXPRESSION", 7, 21),
    "a tower of powers": (when("visit.days > 9 ** 9 ** 9 ** 9"), None, 7, None),
    "a pattern that never ends": (when('visit.dept =~ "(a+)+$"'), "E_REGEX", 7, None),
    "another that never ends": (when('visit.dept =~ "(a|aa)+$"'), "E_REGEX", 7, None),
    "no for false": (RULE.replace("WHEN", "no"), "E_NAME", 7, 7),
    "08 for a number": (RULE.replace("WHEN", "visit.days > 08"), "E_SYNTAX", 7, 20),
    "22:30 for a time": (RULE.replace("WHEN", "22:30"), "E_SYNTAX", 7, 9),
    "a bare code": (RULE.replace("WHEN", "visit.id == 001103000010000"), "E_SYNTAX", 7, 19),
    "nothing": (RULE.replace("WHEN", ""), "E_SYNTAX", 7, 6),
}  # fmt: skip


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_at_its_place_in_bounded_time_and_memory(case, tmp_path, knowledge):
    text, code, line, column = REFUSED[case]
    (tmp_path / "hostile.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    loaded, faults = load_rules(tmp_path, knowledge)
    assert time.monotonic() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    assert not loaded
    assert len(faults) <= 101
    assert any(f.code == (code or f.code) and f.line == line and f.column == (column or f.column) for f in faults), (
        "\n".join(str(f)[:300] for f in faults)
    )


@pytest.mark.parametrize(
    "written", ["no", "08", "22:30", "001103000010000", "1_000", "0x1F", "~", "null", "2024-01-01"]
)
def test_yaml_changes_no_text_that_looks_like_something_else(written, tmp_path, knowledge):
    text = RULE.replace("title: 试", f"title: {written}").replace("WHEN", "visit.dept in words")
    text += f"sets: {{words: [{written}]}}\nparams: {{p: {{type: text, default: {written}}}}}\n"
    (tmp_path / "hostile.yaml").write_text(text, "utf-8")
    (rule,), faults = load_rules(tmp_path, knowledge)
    assert not faults
    assert rule.rule.title == written
    assert rule.setting.sets["words"] == (written,)
    assert rule.setting.params["p"] == written


MARKS = ["a", "b: ", "'", '"', "?", " ?", "? ", "{", "}", "[", "]", ", ", "\n", "\n  ", "- ", "|\n  ", "# c?", "项？"]


@pytest.mark.skipif(yamltext.FAST is yamltext.Plain, reason="PyYAML was built without libyaml")
@given(st.lists(st.sampled_from(MARKS), max_size=9), st.sampled_from(["{}", "k: {{a: 'x ? y : z', b: [{}]}}"]))
@settings(max_examples=400)
def test_where_the_fast_reader_is_trusted_with_a_question_mark_both_read_the_same(marks, around):
    text = around.format("".join(marks))
    if "?" in text and yamltext._is_plain(text):
        fast, plain = (yaml.compose(text, Loader=loader) for loader in (yamltext.FAST, yamltext.Plain))
        assert yaml.serialize(fast) == yaml.serialize(plain)
