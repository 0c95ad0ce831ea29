"""Every scope finds what it should, clears what it should and what only looks alike, whatever the order of the rows.

A rule is written as an author would; what is judged is told in the words of the tests inside rules.
"""

import datetime
from decimal import Decimal

import polars as pl
import pytest
from record_rules import CASES as RECORD_CASES
from record_rules import PARTED
from scope_rules import CASES, HEAD

from engine.audit import INSTITUTION_SCOPES, PERSON_SCOPES, audit
from engine.audit.examples import UnknownWord, canonical, with_rows
from engine.audit.facts import Facts
from engine.audit.needs import lines_read
from engine.audit.plain import RECORDS
from engine.audit.trial import run_tests
from engine.grouping.scheme import load_scheme
from engine.language.rule import load_rule
from engine.language.vocabulary import objects, tables_behind
from engine.reference.knowledge import load_knowledge
from engine.run import pipeline
from engine.run.masking import masked
from engine.run.region import load_region, scheme_folder
from engine.settlement.policy import load_policy
from engine.tables.dictionary import table


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


@pytest.fixture
def write(tmp_path, knowledge):
    """A rule from its text, or the messages of its faults."""

    def made(text: str, name: str = "trial"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(HEAD.replace("trial", name) + text, "utf-8")
        rule, notes = load_rule(path, tmp_path, knowledge, {}, datetime.date(2025, 6, 30))
        return [fault.message for fault in notes.faults if fault.severity == "error"] or rule

    return made


ALL_CASES = {**CASES, **RECORD_CASES, **PARTED}


@pytest.mark.parametrize("scope", ALL_CASES)
def test_a_rule_of_the_scope_hits_clears_and_is_not_misled(scope, write, knowledge):
    rule = write(ALL_CASES[scope])
    assert not isinstance(rule, list), rule
    results = run_tests(rule, knowledge)
    assert [f"{r.index} {r.word}: {r.said}" for r in results if not r.passed] == []
    words = [r.word for r in results]
    assert words.count("hit") >= 1 and words.count("clear") >= 1


def judged(rule, tables: dict[str, pl.DataFrame], knowledge) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(findings, evidence, not_evaluated) of one rule."""
    return audit([rule], Facts(tables, knowledge), PERSON_SCOPES + INSTITUTION_SCOPES)


def hits_of(rule) -> list[dict]:
    return [test["hit"] for test in rule.rule.tests if "hit" in test]


KEYS = {
    "person_week": "P1|2025-03-03|R", "person_month": "P1|2025-03-01", "person_year": "P1|2024-01-01",
    "person": "P1|X", "person_day": "P1|2025-03-03", "person_window": "P1|2025-03-04 00:30:00|R",
    "provider": "H00000000001", "provider_month": "H00000000001|2025-03-01|X",
    "provider_year": "H00000000001|2025-01-01",
    "practitioner_day": "D1|H00000000001|2025-03-03|C", "device_day": "H00000000001|M1|2025-03-03|HD",
    "terminal_window": "H00000000001|T1|2025-03-07 10:10:00",
}  # fmt: skip


@pytest.mark.parametrize("scope", CASES)
def test_a_finding_is_named_by_what_was_judged_and_placed_by_the_claim_it_accuses(scope, write, knowledge):
    rule = write(CASES[scope])
    findings, evidence, _ = judged(rule, canonical(hits_of(rule)[0]), knowledge)
    (finding,) = findings.to_dicts()
    assert (finding["scope"], finding["scope_key"].removesuffix("|")) == (scope, KEYS[scope])
    assert finding["fixmedins_code"] and finding["service_date"] and finding["psn_no"]
    assert finding["setl_id"] in set(evidence.filter(pl.col("role") == "excess")["setl_id"])
    assert finding["gross_fen"] == evidence["amount_fen"].sum()


@pytest.mark.parametrize("scope", ALL_CASES)
def test_the_order_of_rows_changes_nothing(scope, write, knowledge):
    rule = write(ALL_CASES[scope])
    for hit in hits_of(rule):
        tables = canonical(hit)
        backwards = {name: frame.reverse() for name, frame in tables.items()}
        one, other = judged(rule, tables, knowledge), judged(rule, backwards, knowledge)
        assert one[0].equals(other[0])
        assert one[1].sort(pl.all()).equals(other[1].sort(pl.all()))


RECORD_KEYS = {
    "provider_day": "H00000000001|2025-03-03|A", "practitioner_window": "D1|H00000000001|2025-03-03 10:00:00",
    "contact_window": "H00000000001|电话|2025-03-05 09:00:00", "store_pair": "H00000000001|C01X1|C01X1|C01Y1",
    "pos_sale": "H00000000001|S1", "same_results": "H00000000001|2025-03-03", "ltc_visit": "P1|ltc_visits:1",
}  # fmt: skip


@pytest.mark.parametrize("scope", RECORD_CASES)
def test_a_finding_of_a_record_is_named_by_it_and_placed_at_an_institution_and_a_day(scope, write, knowledge):
    rule = write(RECORD_CASES[scope])
    hit = hits_of(rule)[0]
    findings, evidence, _ = judged(rule, canonical(hit), with_rows(knowledge, hit.get("tables", {})))
    (finding,) = findings.to_dicts()
    assert (finding["scope"], finding["scope_key"].removesuffix("|")) == (scope, RECORD_KEYS[scope])
    assert finding["fixmedins_code"] and finding["service_date"]
    assert finding["gross_fen"] == evidence["amount_fen"].sum()
    assert "13800000000" not in str(findings.rows())


def test_no_pseudonym_is_given_away_by_the_key_of_a_finding(write, knowledge):
    for scope, who in (("person_week", "psn_no"), ("practitioner_day", "doctor")):
        rule = write(CASES[scope])
        findings, _, _ = judged(rule, canonical(hits_of(rule)[0]), knowledge)
        shown = masked(findings, {"psn_no": "P", "doctor": "D"}, b"key")
        assert shown["scope_key"].item() == findings["scope_key"].item().replace(
            findings[who].item(), shown[who].item(), 1
        )


def test_a_number_that_only_begins_a_key_is_left_alone():
    frame = pl.DataFrame({"psn_no": ["P1"], "scope_key": ["P10|X"]})
    assert masked(frame, {"psn_no": "P"}, b"key")["scope_key"].item() == "P10|X"


@pytest.mark.parametrize(
    "scope, gone, said",
    [
        ("device_day", "service_logs", "service_logs"),
        ("device_day", "devices", "devices"),
        ("provider", "institutions", "institutions"),
        ("practitioner_day", "practitioners", "practitioners"),
        ("person_day", "persons", "persons"),
        ("person_week", "fee_lines", "fee_lines"),
    ],
)
def test_a_rule_whose_table_is_absent_says_so(scope, gone, said, write, knowledge):
    rule = write(CASES[scope])
    tables = canonical(hits_of(rule)[-1])
    assert judged(rule, tables, knowledge)[0].height
    tables.pop(gone)
    findings, _, unjudged = judged(rule, tables, knowledge)
    assert findings.is_empty()
    assert unjudged.rows() == [("trial", "missing_table", said, 0, 0)]


@pytest.mark.parametrize(
    "scope, field", [("practitioner_day", "fee_lines.bilg_dr_codg"), ("terminal_window", "claims.terminal_id")]
)
def test_rows_that_name_no_practitioner_or_terminal_are_counted_and_not_forgotten(scope, field, write, knowledge):
    tables = canonical({"lines": [{"item": "C"}], "tables": {"practitioners": []}})
    _, _, unjudged = judged(write(CASES[scope]), tables, knowledge)
    assert unjudged.rows() == [("trial", "value_missing", field, 1, 0)]


# windows


def test_a_window_of_days_holds_that_many_calendar_days(write, knowledge):
    rule = write("""
for: person_window
window: {days: "3"}
when: "[l for l in window.lines].length > 1"
flag: l.cnt > 0
message: "{window.start}至{window.end}"
""")
    near, far = ({"lines": [{"time": "2025-03-03 23:00:00"}, {"time": f"2025-03-0{d} 01:00:00"}]} for d in (5, 6))
    assert judged(rule, canonical(near), knowledge)[0]["message"].to_list() == ["2025-03-03至2025-03-05"]
    assert judged(rule, canonical(far), knowledge)[0].is_empty()


def test_what_a_window_accused_counts_for_no_later_one(write, knowledge):
    """Seven people within ten minutes each of the next: two windows of three, and the seventh is left."""
    rule = write(CASES["terminal_window"])
    settled = [{"person": f"P{n}", "terminal_id": "T1", "setl_time": f"2025-03-07 10:{n:02}:00"} for n in range(7)]
    findings, evidence, _ = judged(rule, canonical({"visit": settled[0], "others": settled[1:]}), knowledge)
    assert findings["message"].sort().to_list() == [
        "2025-03-07 09:52至2025-03-07 10:02刷3人", "2025-03-07 09:55至2025-03-07 10:05刷3人"
    ]  # fmt: skip
    assert evidence.group_by("row_key").len()["len"].max() == 1


def test_what_is_left_of_a_supply_lasts_less_long(write, knowledge):
    """Seven packs of ten days where 45 are right: 2.5 packs are too many, and the other 4.5 accuse nobody again."""
    rule = write("""
for: person_window
window: {days: "30"}
let: {days: "$sum([(l.days_supply ?? 0) for l in window.lines])", units: "$sum([l.cnt for l in window.lines])"}
when: days > 60
flag: l.cnt > 0
excess: units * (days - 45) / days
amount: units
""")
    visits = {
        "visit": {"kind": "pharmacy"},
        "lines": [{"item": "D", "cnt": "3"}, {"item": "D", "cnt": "4", "day": "9"}],
    }
    known = with_rows(knowledge, {"drug_supply": [{"med_list_codg": "D", "generic": "甲", "days": "10"}]})
    findings, _, _ = judged(rule, canonical(visits), known)
    assert findings["excess_cnt"].to_list() == [Decimal("2.5")]


def test_a_day_may_ask_whether_the_stay_is_over_as_well(write, knowledge):
    rule = write("""
for: visit_day
let: {billed: "$sum([l.cnt for l in day.lines])"}
when: billed > 1
violation_when: day.stay_over
flag: l.cnt > 0
excess: billed - 1
amount: units
""")
    stay = {"lines": [{"cnt": "2"}, {"cnt": "2", "day": "2"}]}
    assert judged(rule, canonical(stay), knowledge)[0]["result"].to_list() == ["suspicion", "suspicion"]
    stay["lines"].append({"day": "3"})
    assert judged(rule, canonical(stay), knowledge)[0]["result"].to_list() == ["violation", "violation"]


def test_a_busy_terminal_is_judged_without_pairing_all_its_claims(write, knowledge):
    claim = canonical({"visit": {"terminal_id": "T1"}})["claims"]
    count = 20_000
    start, minute = datetime.datetime(2025, 1, 1), datetime.timedelta(minutes=6)
    many = pl.concat([claim] * count).with_columns(
        setl_id=pl.format("V{}", pl.int_range(count)), psn_no=pl.format("P{}", pl.int_range(count)),
        _person=pl.format("P{}", pl.int_range(count)),
        setl_time=pl.datetime_range(start, start + minute * (count - 1), minute, eager=True),
    )  # fmt: skip
    lines = canonical({})["fee_lines"]
    findings, _, _ = judged(write(CASES["terminal_window"]), {"claims": many, "fee_lines": lines}, knowledge)
    assert findings.is_empty()


def test_a_window_of_lines_may_also_ask_of_visits_and_of_the_person(write, knowledge):
    rule = write("""
for: person_window
window: {days: "1"}
let: {old: "l.item == 'X'"}
when: "[v for v in window.visits].length > 1 and $any([old for l in person.lines])"
flag: {excess: old, basis: v.inpatient}
""")
    body = {"lines": [{"item": "X"}], "others": [{}, {"admission": "2025-04-01"}, {"admission": "2025-04-01"}]}
    findings, evidence, _ = judged(rule, canonical(body), knowledge)
    assert findings.height == 1
    assert evidence["role"].sort().to_list() == ["basis", "basis", "excess"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("for: person_window\namount: none\nwhen: person.id != ''", "person_window 要写 needs window"),
        ("for: person\namount: none\nwindow: {days: '3'}\nwhen: person.id != ''", "window 只用于 is for person_window"),
        ("for: person_window\nwindow: {days: '3', hours: '2'}\nwhen: person.id != ''", "a window has one unit"),
        ("for: person_window\nwindow: {}\nwhen: person.id != ''", "a window has one unit"),
        ("for: person_month\namount: claim\nwhen: person.id != ''", "is about no one claim"),
        ("for: person_month\nwhen: person.id != ''", "needs a flag"),
        ("for: person_month\nflag: v.inpatient\nwhen: person.id != ''", "needs a flag"),
        (
            "for: provider\namount: none\nflag: v.days_to_next_any != null\nwhen: provider.id != ''",
            "knows nothing of other institutions",
        ),
        ("for: line\nwhen: line.cnt > 1\nmessage: '{line.doctor}'", "must not tell doctor"),
        ("for: visit\nwhen: visit.days > 1\nmessage: '{visit.psn_no}'", "must not tell psn_no"),
        ("for: person_day\nwhen: day.posted_late", "unknown attribute 'posted_late'"),
    ],
)
def test_what_a_scope_cannot_answer_is_refused_when_the_rule_is_loaded(text, said, write):
    faults = write(text + "\n")
    assert isinstance(faults, list)
    assert said in " ".join(faults)


# the neighbours of a visit

STAYS = {
    "visit": {"id": "B", "admission": "2025-03-10 09:00:00", "discharge": "2025-03-12 09:00:00", "dept": "乙"},
    "others": [
        {"id": "A", "admission": "2025-03-01 09:00:00", "discharge": "2025-03-05 09:00:00", "dept": "甲"},
        {"id": "S", "admission": "2025-03-06 09:00:00", "discharge": "2025-03-08 09:00:00", "insured": "false"},
        {"id": "C1", "admission": "2025-03-12 15:00:00", "kind": "general_outpatient"},
        {"id": "C2", "admission": "2025-03-12 15:00:00", "kind": "general_outpatient"},
        {"id": "Z", "admission": "2025-03-12 15:00:00", "discharge": "2025-03-20 09:00:00"},
        {"id": "X", "person": "P2", "admission": "2025-03-09 09:00:00"},
        {"id": "R", "admission": "2025-03-09 09:00:00"},
        {"id": "R2", "refunds": "R", "admission": "2025-03-09 09:00:00"},
    ],
}
NEIGHBOURS = {  # id: previous insured stay, previous of any kind, next of any kind, and the days between
    "A": (None, None, "S", None, None, 1),
    "S": ("A", "A", "B", 1, 1, 2),
    "B": ("A", "S", "C1", 5, 2, 0),
    "C1": ("B", "B", "C2", 0, 0, -3),
    "C2": ("B", "C1", "Z", 0, -3, -3),
    "Z": ("B", "C2", None, 0, -3, None),
    "X": (None, None, None, None, None, None),
}


def test_a_visit_knows_the_visits_before_and_after_it(knowledge):
    """By admission, ties by id; another person's and refunded visits are gone. The outpatient visits of this example
    end on 15 March, three days after they begin."""
    body = {**STAYS, "others": [dict(o) for o in STAYS["others"]]}
    for other in body["others"]:
        if other.get("kind"):
            other["discharge"] = "2025-03-15 09:00:00"
    names = {"previous_insured.id", "previous_any.id", "next_any.id", "days_since_previous_insured",
             "days_since_previous_any", "days_to_next_any"}  # fmt: skip
    told = Facts(canonical(body), knowledge).visits(names)
    order = ["previous_insured.id", "previous_any.id", "next_any.id", "days_since_previous_insured",
             "days_since_previous_any", "days_to_next_any"]  # fmt: skip
    assert {row["id"]: tuple(row[n] for n in order) for row in told.to_dicts()} == NEIGHBOURS


def test_the_words_of_a_neighbour_are_those_of_that_visit(knowledge):
    facts = Facts(canonical(STAYS), knowledge)
    names = {"previous_insured.id", "previous_insured.dept", "previous_insured.discharge_date",
             "previous_insured.insutype", "previous_any.previous_any.id", "previous_any.insured"}  # fmt: skip
    visits = facts.visits(names)
    of_b = visits.row(by_predicate=pl.col("id") == "B", named=True)
    assert of_b["previous_insured.dept"] == "甲"
    assert of_b["previous_insured.discharge_date"] == datetime.datetime(2025, 3, 5)
    assert (of_b["previous_any.previous_any.id"], of_b["previous_any.insured"]) == ("A", False)
    of_a = visits.row(by_predicate=pl.col("id") == "A", named=True)
    assert {of_a[n] for n in names} == {None}
    assert facts.lines({"visit.previous_insured.id"}).columns.count("visit.previous_insured.id") == 1


def test_neighbours_do_not_depend_on_the_order_of_rows(knowledge):
    tables = canonical(STAYS)
    names = {"previous_insured.id", "previous_any.id", "next_any.id"}
    backwards = {name: frame.reverse() for name, frame in tables.items()}
    assert Facts(tables, knowledge).visits(names).equals(Facts(backwards, knowledge).visits(names))


# national names


@pytest.mark.parametrize("kind", tables_behind())
def test_every_field_of_the_table_behind_an_object_is_a_word_with_its_label(kind):
    behind = tables_behind()[kind]
    for field in table(behind.table).fields.values():
        word = objects()[kind][field.name]
        if word.field == field.name:
            assert word.label.startswith(field.label)
            assert word.nullable == (behind.register or field.mark not in "KR")


def test_every_word_of_every_object_can_be_read(knowledge):
    """As columns whose types are those the words promise."""
    told = {"service_logs": [{"kind": "device", "begntime": "2025-03-03"}], "reports": [{"kind": "lab"}],
            "orders": [{"order_time": "2025-03-03"}], "prescriptions": [{"issue_time": "2025-03-03"}]}  # fmt: skip
    body = {"lines": [{"item": "X"}], "diagnoses": ["A00"], "procedures": ["00.1"], "tables": told}
    paying = (load_policy("demo-region"), load_scheme(scheme_folder("chs-drg-starter")))
    facts = Facts(canonical(body), knowledge, paying=paying)
    plain = {
        kind: {n for n, a in words.items() if not a.collection and a.kind not in objects()}
        for kind, words in objects().items()
    }
    frames = {
        "line": facts.lines(plain["line"]), "visit": facts.visits(plain["visit"]),
        **{records.kind: facts.records(kind, plain[records.kind]) for kind, records in RECORDS.items()},
        "diagnosis": facts.elements("diagnosis", plain["diagnosis"]),
        "procedure": facts.elements("procedure", plain["procedure"]),
        "institution": facts.register("institutions", plain["institution"]),
    }  # fmt: skip
    for kind, frame in frames.items():
        assert plain[kind] <= set(frame.columns), kind
        for name in plain[kind]:
            dtype, said = frame.schema[name], objects()[kind][name].kind
            assert {"time": dtype == pl.Datetime("us"), "money": dtype == pl.Int64, "bool": dtype == pl.Boolean,
                    "number": dtype.is_numeric(), "text": dtype == pl.String,
                    "texts": dtype == pl.String}[said], name  # fmt: skip


def test_a_national_amount_is_as_charged_and_the_short_one_what_survives_returns(knowledge):
    facts = Facts(canonical({"lines": [{"item": "X", "cnt": "3"}, {"item": "X", "cnt": "-1", "day": "1"}]}), knowledge)
    (line,) = facts.lines({"amount", "det_item_fee_sumamt", "med_list_codg"}).to_dicts()
    assert (line["cnt"], line["amount"], line["det_item_fee_sumamt"], line["med_list_codg"]) == (2, 2000, 3000, "X")
    assert "退费冲销前" in objects()["line"]["det_item_fee_sumamt"].label


def test_a_rule_may_speak_in_national_names_alone(write, knowledge):
    rule = write("""
for: visit
sets: {watched: [X]}
let:
  some: (l.med_list_codg ?? '') in watched
  charged: $sum([l.det_item_fee_sumamt for l in visit.lines if some])
when: visit.med_type == '21' and charged > 10 and (visit.institution.hosp_lv ?? '') == '3'
flag: some
message: "{visit.institution.fixmedins_name ?? ''}{visit.setl_time}"
tests:
  - hit:
      visit: {med_type: "21", setl_time: "2025-03-07 11:00:00"}
      lines: [{med_list_codg: X, det_item_fee_sumamt: "10.01"}]
      tables: {institutions: [{hosp_lv: "3", fixmedins_name: 某院}]}
  - clear:
      visit: {med_type: "21"}
      lines: [{med_list_codg: X, det_item_fee_sumamt: "10"}]
      tables: {institutions: [{hosp_lv: "3"}]}
  - clear:
      visit: {med_type: "11"}
      lines: [{med_list_codg: X, det_item_fee_sumamt: "11"}]
      tables: {institutions: [{hosp_lv: "3"}]}
""")
    assert not isinstance(rule, list), rule
    assert [r.said for r in run_tests(rule, knowledge) if not r.passed] == []
    findings, _, _ = judged(rule, canonical(hits_of(rule)[0]), knowledge)
    assert findings["message"].item() == "某院2025-03-07 11:00"


def test_only_the_fields_that_rules_read_are_carried(knowledge):
    facts = Facts(canonical({"lines": [{}]}), knowledge)
    assert not {"rxno", "bilg_dr_name", "spec"} & set(facts.lines({"rxno"}).columns) - {"rxno"}
    assert facts.visits({"insutype"}).columns == ["id", "insutype", "person"]


# tests inside rules


@pytest.mark.parametrize(
    "body, said",
    [
        ({"visit": {"admision": "2025-03-03"}}, "did you mean 'admission'"),
        ({"lines": [{"bilg_dr_cod": "D1"}]}, "did you mean 'bilg_dr_codg'"),
        ({"tables": {"service_log": []}}, "did you mean 'service_logs'"),
        ({"tables": {"service_logs": [{"device": "M1"}]}}, "did you mean 'device_id'"),
        ({"tables": {"fee_lines": []}}, "unknown word 'fee_lines'"),
        ({"visit": {"admission": "3 March"}}, "no moment"),
        ({"visit": {"setl_time": "3 March"}}, "cannot be read as datetime"),
        ({"lines": [{"cnt": "two"}]}, "no number"),
        ({"line": []}, "did you mean 'lines'"),
    ],
)
def test_a_word_of_a_test_that_nobody_knows_names_the_nearest(body, said):
    with pytest.raises(UnknownWord) as refused:
        canonical({"lines": [{}], **body})
    assert said in str(refused.value)


# the institution split


def test_the_institution_split_reads_the_lines_and_columns_its_rules_read(write, knowledge):
    rows = pl.DataFrame({"med_list_codg": ["X", "Y", None], "medins_list_codg": ["x", "y", "z"]})
    named = lines_read([write(CASES["provider_month"])], knowledge, {})
    assert rows.filter(named.wanted)["med_list_codg"].to_list() == ["X"]
    visits_only = lines_read([write(CASES["provider"]), write(CASES["terminal_window"])], knowledge, {})
    assert rows.filter(visits_only.wanted).is_empty()
    all_lines = lines_read([write("for: provider\nwhen: $sum([l.amount for l in provider.lines]) > 1\nflag: l.rxno == null\n")], knowledge, {})  # fmt: skip  # noqa: E501
    assert rows.filter(all_lines.wanted).height == 3
    assert "rxno" in all_lines.columns and "rxno" not in named.columns
    joined = write("for: provider\njoin: {table: concepts, as: c, keys: {code: l.item}, by: [concept]}\nwhen: c.concept != ''\nflag: l.cnt > 0\n")  # fmt: skip  # noqa: E501
    codes = knowledge["concepts"]["code"]
    assert (
        rows.with_columns(med_list_codg=pl.lit(codes[0])).filter(lines_read([joined], knowledge, {}).wanted).height == 3
    )


def test_a_run_judges_the_scopes_of_persons_and_of_institutions(tmp_path):
    """The hits of all scopes, written as files and read, split, judged and masked as any bundle."""
    rules, claims = tmp_path / "rules" / "trial", tmp_path / "claims"
    rules.mkdir(parents=True)
    claims.mkdir()
    for scope in ("person_week", "device_day", "terminal_window", "practitioner_day", "provider"):
        name = scope.replace("_", "-")
        text = HEAD.replace("id: trial", f"id: {name}") + CASES[scope].split("tests:")[0]
        (rules / f"{name}.yaml").write_text(text, "utf-8")
    body = {
        "visit": {"terminal_id": "T1", "setl_time": "2025-03-07 10:00:00", "med_type": "21"},
        "lines": [{"item": "HD"}, {"item": "C", "doctor": "D1"}, {"item": "R", "cnt": "4"}],
        "others": [
            {"person": f"P{n}", "terminal_id": "T1", "setl_time": f"2025-03-07 10:0{n}:00", "med_type": "21",
             "lines": [{"item": "C", "doctor": "D1"}]}
            for n in (2, 3)
        ],
        "tables": {
            "institutions": [{"hosp_lv": "1", "fixmedins_type": "hospital"}],
            "practitioners": [{"prac_psn_code": "D1"}],
            "devices": [{"device_id": "M1", "device_class": "血透机"}],
            "service_logs": [{"device_id": "M1", "kind": "device", "med_list_codg": "HD",
                              "begntime": "2025-03-03 08:00:00", "endtime": "2025-03-03 19:00:00"}],
        },
    }  # fmt: skip
    for name, frame in canonical(body).items():
        fields = {f.name: f for f in table(name).fields.values()}
        told = [(pl.col(c).cast(pl.Decimal(16, 2)) / 100).cast(pl.Decimal(16, 2)).alias(c)
                if fields[c].type == "money" else pl.col(c) for c in frame.columns if c in fields]  # fmt: skip
        frame.select(told).write_csv(claims / f"{name}.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    out = tmp_path / "out"
    pipeline.run(claims, out, load_region(rules=tmp_path / "rules"), pipeline.Options(report=False, reveal=True))
    findings = pl.read_parquet(out / "findings.parquet").select("rule_id", "scope_key").rows()
    assert findings == [
        ("device-day", "H00000000001|M1|2025-03-03|HD"), ("person-week", "P1|2025-03-03|R"),
        ("practitioner-day", "D1|H00000000001|2025-03-03|C"), ("provider", "H00000000001"),
        ("terminal-window", "H00000000001|T1|2025-03-07 10:03:00"),
    ]  # fmt: skip
    assert pl.read_parquet(out / "not_evaluated.parquet").rows() == []


def test_a_rule_may_ask_of_the_visit_before(write, knowledge):
    rule = write("""
for: visit
let:
  gap: (visit.admit_date - (visit.previous_insured&.discharge_date ?? visit.admit_date)).days
  same_ward: (visit.previous_insured&.dept ?? '') == visit.dept
when: visit.previous_insured != null and gap <= 1 and gap == (visit.days_since_previous_insured ?? 99) and same_ward
amount: claim
message: "{gap}天前自{visit.previous_insured&.dept ?? ''}出院"
tests:
  - hit:
      visit: {admission: "2025-03-10 09:00:00", discharge: "2025-03-12 09:00:00"}
      others: [{admission: "2025-03-03", discharge: "2025-03-09 20:00:00"}]
  - clear:
      visit: {admission: "2025-03-10 09:00:00", discharge: "2025-03-12 09:00:00"}
      others: [{admission: "2025-03-03", discharge: "2025-03-09 20:00:00", insured: "false"}]
    why: 上次自费
  - clear:
      visit: {admission: "2025-03-10 09:00:00", discharge: "2025-03-12 09:00:00"}
      others: [{admission: "2025-03-03", discharge: "2025-03-09 20:00:00", dept: 外科}]
    why: 另一病区
  - clear: {}
""")
    assert not isinstance(rule, list), rule
    assert [r.said for r in run_tests(rule, knowledge) if not r.passed] == []
    assert judged(rule, canonical(hits_of(rule)[0]), knowledge)[0]["message"].item() == "1天前自内科出院"
