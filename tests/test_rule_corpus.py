"""Every rule of rules/ against the tests written inside it, one pytest a rule: a rule is believed when these pass."""

import pytest

from engine.audit.trial import WORDS, body_of, run_tests
from engine.language.rule import load_rules
from engine.reference.knowledge import load_knowledge
from engine.reference.places import rules_folder

FILES = {
    path.stem: path for path in sorted(rules_folder().rglob("*.yaml"))
    if "waivers" not in path.relative_to(rules_folder()).parts
}  # fmt: skip


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


@pytest.fixture(scope="module")
def corpus(knowledge):
    """Rules that load, by id, and the faults of all the others."""
    rules, faults = load_rules(rules_folder(), knowledge)
    return {rule.rule.id: rule for rule in rules}, faults


def rule_of(corpus, rule_id):
    rules, faults = corpus
    assert rule_id in rules, "\n".join(str(f) for f in faults if FILES[rule_id].name in f.file) or "not loaded"
    return rules[rule_id]


def test_every_rule_file_loads_without_a_fault(corpus):
    assert not corpus[1], "\n".join(map(str, corpus[1]))


@pytest.mark.parametrize("rule_id", FILES)
def test_the_rule_passes_its_own_tests(rule_id, corpus, knowledge):
    results = run_tests(rule_of(corpus, rule_id), knowledge)
    failed = [f"test {r.index} ({r.word}): {r.said}" for r in results if not r.passed]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("rule_id", FILES)
def test_the_rule_shows_a_hit_and_two_clears(rule_id, corpus):
    words = [next(iter(test)) for test in rule_of(corpus, rule_id).rule.tests]
    assert words.count("hit") >= 1, words
    assert words.count("clear") >= 2, words


def words_of(rule) -> list[tuple[str, dict, dict]]:
    """(word, body, test) of every test of a rule."""
    told = [(next(word for word in WORDS if word in test), test) for test in rule.tests]
    return [(word, body_of(test, word), test) for word, test in told]


def takes_back(body: dict) -> bool:
    """Whether a test has a negative line, a claim that refunds another, or a code that is brought back."""
    visits = [{**body.get("visit", {}), "lines": body.get("lines", [])}, *body.get("others", [])]
    returned = any(event.get("event_type") == "return" for event in body.get("events", []))
    sold = [row for name in ("pos_sales", "ltc_visits") for row in body.get("tables", {}).get(name, [])]
    lines = [line for visit in visits for line in visit.get("lines", [])] + sold
    return returned or any("refunds" in v for v in visits) or any(str(x.get("cnt", "")).startswith("-") for x in lines)


SHOWN = {
    "two hits": lambda tests: [word for word, _, _ in tests].count("hit") >= 2,
    "two clears": lambda tests: [word for word, _, _ in tests].count("clear") >= 2,
    "a look-alike that is clear, and why": lambda tests: any(w == "clear" and "why" in t for w, _, t in tests),
    "something taken back": lambda tests: any(takes_back(body) for _, body, _ in tests),
}


def not_shown(rule) -> list[str]:
    tests = words_of(rule)
    return [name for name, holds in SHOWN.items() if not holds(tests)]


@pytest.mark.parametrize("rule_id", FILES)
def test_a_numbered_rule_shows_hits_look_alikes_and_a_return(rule_id, corpus):
    rule = rule_of(corpus, rule_id).rule
    assert rule.number is None or not not_shown(rule), not_shown(rule)


@pytest.mark.parametrize("rule_id", FILES)
def test_the_rule_lies_in_the_folder_of_its_family(rule_id, corpus):
    assert rule_of(corpus, rule_id).rule.family == FILES[rule_id].parent.name
