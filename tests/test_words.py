"""The words that registers, coverage and optional tables tell: what they say, and that silence is never a no."""

import datetime

import pytest
from scope_rules import HEAD

from engine.audit import INSTITUTION_SCOPES, PERSON_SCOPES, audit
from engine.audit.examples import canonical, with_rows
from engine.audit.facts import Facts
from engine.audit.trial import run_tests
from engine.grouping.scheme import load_scheme
from engine.language.rule import load_rule
from engine.reference.knowledge import load_knowledge
from engine.run.region import scheme_folder
from engine.settlement.policy import load_policy


@pytest.fixture(scope="module")
def knowledge():
    return load_knowledge([])


def facts_of(body: dict, knowledge, **more) -> Facts:
    return Facts(canonical(body), with_rows(knowledge, body.get("tables", {})), **more)


def line(word: str, body: dict, knowledge):
    """The word of the first line of a test."""
    return facts_of(body, knowledge).lines({word}).sort("id")[word][0]


def visit(word: str, body: dict, knowledge, **more):
    """The word of the test's own visit."""
    return facts_of(body, knowledge, **more).visits({word}).sort("id")[word][0]


NEED = {"device_needs": [{"med_list_codg": "X", "device_class": "CT64", "per_device_day": "30"}]}


def devices(*rows, **more) -> dict:
    return {"lines": [{"item": "X"}], "tables": {**NEED, "devices": list(rows), **more}}


def test_devices_are_those_of_the_class_in_use_at_the_institution_on_the_day(knowledge):
    there = {"device_id": "M1", "device_class": "CT64"}
    gone = {"device_id": "M2", "device_class": "CT64", "enddate": "2025-03-02"}
    other = {"device_id": "M3", "device_class": "CT16"}
    elsewhere = {"device_id": "M4", "device_class": "CT64", "fixmedins_code": "H9"}
    body = devices(there, gone, other, elsewhere)
    assert (line("devices", body, knowledge), line("device_capacity", body, knowledge)) == (1, 30)
    assert line("devices", devices(gone, other), knowledge) == 0
    assert line("devices", {"lines": [{"item": "X"}], "tables": NEED}, knowledge) is None, "no register"
    assert line("devices", {**devices(there), "lines": [{"item": "Y"}]}, knowledge) is None, "needs no device"


def test_a_reagent_is_bought_where_a_store_or_a_purchase_names_it(knowledge):
    need = {"reagents": [{"med_list_codg": "X", "reagent": "间接胆红素"}]}
    body = {"lines": [{"item": "X"}], "tables": need}
    assert line("reagent_bought", body, knowledge) is None, "nothing is known of stores"
    assert line("reagent_bought", {**body, "stores": [{"item": "R", "name": "葡萄糖试剂"}]}, knowledge) is False
    assert line("reagent_bought", {**body, "stores": [{"item": "R", "name": "间接胆红素试剂盒"}]}, knowledge) is True


def test_minutes_count_units_and_those_served_at_once(knowledge):
    table = {"service_minutes": [{"med_list_codg": "X", "minutes": "30", "at_once": "2"}]}
    assert line("minutes", {"lines": [{"item": "X", "cnt": "3"}], "tables": table}, knowledge) == 45
    assert line("minutes", {"lines": [{"item": "Y"}], "tables": table}, knowledge) is None


def test_a_drug_belongs_to_the_disease_of_the_visit_by_the_list_of_the_disease(knowledge):
    table = {"disease_drugs": [{"dise_codg": "M1", "code": "XA10"}]}
    body = {"visit": {"dise_codg": "M1"}, "lines": [{"item": "XA10B"}], "tables": table}
    assert line("drug_of_disease", body, knowledge) is True
    assert line("drug_of_disease", {**body, "lines": [{"item": "XB01"}]}, knowledge) is False
    assert line("drug_of_disease", {**body, "visit": {"dise_codg": "M2"}}, knowledge) is None, "no list"


def test_a_drug_may_belong_to_another_disease_the_person_is_entitled_for(knowledge):
    listed = [{"dise_codg": "M1", "code": "XA10"}, {"dise_codg": "M2", "code": "XC08"}]
    spell = {"dise_codg": "M2", "begndate": "2025-01-01", "enddate": "2025-03-03"}

    def told(spell, listed=listed):
        tables = {"disease_drugs": listed, "disease_entitlements": [spell]}
        return line("drug_of_disease", {"visit": {"dise_codg": "M1"}, "lines": [{"item": "XC08C"}], "tables": tables},
                    knowledge)  # fmt: skip

    assert told(spell) is True
    assert told({**spell, "enddate": "2025-03-02"}) is False
    assert told({**spell, "psn_no": "P2"}) is False, "another person"
    assert told(spell, listed[:1]) is None, "the other disease has no list"


def test_herbs_are_alone_where_the_prescription_holds_no_other(knowledge):
    herbs = [{"med_list_codg": "H", "barred": "alone"}, {"med_list_codg": "K", "barred": "always"},
             {"med_list_codg": "N", "barred": "alone", "begndate": "2025-03-04"}]  # fmt: skip

    def alone(*others):
        lines = [{"item": "H", "category": "10", "rxno": "R1"}, *({"category": "10", **other} for other in others)]
        return line("herbs_alone", {"lines": lines, "tables": {"herbs": herbs}}, knowledge)

    assert alone() is True
    assert alone({"item": "X", "rxno": "R1"}) is False
    assert alone({"item": "X", "rxno": "R2"}, {"item": "X"}) is True, "other prescriptions"
    assert alone({"item": "X", "rxno": "R1", "category": "02"}) is True, "no herb"
    assert alone({"item": "X", "rxno": "R1", "day": "1"}) is True, "another day"
    assert alone({"item": "K", "rxno": "R1"}) is False, "never paid, which is another list"
    assert alone({"item": "N", "rxno": "R1"}) is False, "paid until tomorrow"
    unlisted = {"lines": [{"item": "X", "category": "10"}], "tables": {"herbs": herbs}}
    assert line("herbs_alone", unlisted, knowledge) is False


def test_days_since_the_first_line_look_back_over_all_visits_of_the_person(knowledge):
    table = {"second_line_drugs": [{"med_list_codg": "S", "first_line": "F1|F2"}]}
    before = {"admission": "2025-02-01 09:00:00", "kind": "general_outpatient", "lines": [{"item": "F2A"}]}
    body = {"lines": [{"item": "S"}], "tables": table}
    assert line("days_since_first_line", {**body, "others": [before]}, knowledge) == 30
    after = {**before, "admission": "2025-03-20 09:00:00"}
    assert line("days_since_first_line", {**body, "others": [after]}, knowledge) is None
    assert line("days_since_first_line", {**body, "others": [{**before, "person": "P2"}]}, knowledge) is None


def test_unfit_names_the_limit_that_bars_the_item(knowledge):
    tables = {"sex_limits": [{"med_list_codg": "F", "gend": "2"}],
              "age_limits": [{"med_list_codg": "K", "max_years": "17"}]}  # fmt: skip
    assert line("unfit", {"lines": [{"item": "F"}], "tables": tables}, knowledge) == "sex"
    assert line("unfit", {"visit": {"sex": "2"}, "lines": [{"item": "F"}], "tables": tables}, knowledge) == ""
    assert line("unfit", {"visit": {"sex": "9"}, "lines": [{"item": "F"}], "tables": tables}, knowledge) == ""
    assert line("unfit", {"lines": [{"item": "K"}], "tables": tables}, knowledge) == "age"


def test_an_entitlement_is_in_force_on_the_first_day_of_the_visit(knowledge):
    spell = {"dise_codg": "M1", "begndate": "2024-01-01", "enddate": "2025-03-03"}
    body = {"visit": {"dise_codg": "M1"}, "lines": [{"item": "A"}], "tables": {"disease_entitlements": [spell]}}
    assert visit("entitled", body, knowledge) is True
    ended = {**body, "tables": {"disease_entitlements": [{**spell, "enddate": "2025-03-02"}]}}
    assert visit("entitled", ended, knowledge) is False
    assert visit("entitled", {**body, "visit": {}}, knowledge) is None, "the visit names no disease"
    assert visit("entitled", {**body, "tables": {}}, knowledge) is None, "no register"


def test_criterion_reports_are_of_the_person_within_a_year(knowledge):
    tests = {"disease_tests": [{"dise_codg": "M1", "item_name": "糖化血红蛋白"}]}
    report = {"kind": "lab", "item_name": "糖化血红蛋白", "report_time": "2025-01-05 08:00:00", "setl_id": None}
    body = {"visit": {"dise_codg": "M1"}, "lines": [{"item": "A"}], "tables": {**tests, "reports": [report]}}
    assert visit("criterion_reports", body, knowledge) == 1
    old = {**report, "report_time": "2024-03-02 08:00:00"}
    assert visit("criterion_reports", {**body, "tables": {**tests, "reports": [old]}}, knowledge) == 0
    assert visit("criterion_reports", {**body, "tables": tests}, knowledge) is None


def test_assistance_holds_on_the_day_of_settlement(knowledge):
    spell = {"aid_type": "低保", "begndate": "2025-01-01", "enddate": "2025-03-06"}
    body = {"lines": [{"item": "A"}], "tables": {"aid_spells": [spell]}}
    assert visit("aided", body, knowledge) is False, "settled on the day of discharge, 2025-03-07"
    assert visit("aided", {**body, "visit": {"setl_time": "2025-03-06 10:00:00"}}, knowledge) is True
    assert visit("aided", {"lines": [{"item": "A"}]}, knowledge) is None


def test_wards_of_a_kind_are_registered_at_the_institution(knowledge):
    wards = [{"dept_codg": "1", "ward_kind": "icu"}, {"dept_codg": "2", "ward_kind": "ordinary"},
             {"dept_codg": "3", "ward_kind": "rehabilitation", "enddate": "2025-01-01"}]  # fmt: skip
    assert visit("ward_kinds", {"lines": [{"item": "A"}], "tables": {"wards": wards}}, knowledge) == "|icu|ordinary|"
    assert visit("ward_kinds", {"lines": [{"item": "A"}]}, knowledge) == ""


SITES = [{"fixmedins_code": "H00000000001", "lon": "113.264385", "lat": "23.129112"},
         {"fixmedins_code": "H2", "lon": "114.057868", "lat": "22.543099"}]  # fmt: skip
# Guangzhou and Shenzhen, some 104 km apart


def test_the_way_from_the_visit_before_takes_its_time(knowledge):
    def came(time: str, **more):
        before = {"admission": "2025-03-03 08:30:00", "kind": "general_outpatient", "hospital": "H2", **more}
        body = {"visit": {"kind": "general_outpatient", "admission": time}, "lines": [{"item": "A"}],
                "others": [before], "tables": {"institutions": SITES}}  # fmt: skip
        return visit("travel_shortfall_minutes", body, knowledge)

    late = came("2025-03-03 08:40:00")
    assert 0 < late < 30, "some 52 minutes by road, less ten gone by and thirty of tolerance"
    assert came("2025-03-03 08:41:00") == late - 1
    assert came("2025-03-03 08:40:00", hospital="H00000000001") is None, "the same institution"
    assert came("2025-03-03 08:40:00", hospital="H3") is None, "its place is unknown"
    assert came("2025-03-03 08:40:00", admission="2025-03-03 00:00:00") is None, "only the day is known"


def test_a_terminal_stands_some_kilometres_from_its_institution(knowledge):
    tables = {"institutions": SITES, "terminals": [{"terminal_id": "T1", "lon": "113.274385", "lat": "23.129112"}]}
    body = {"visit": {"terminal_id": "T1"}, "lines": [{"item": "A"}], "tables": tables}
    assert 1 < visit("terminal_km", body, knowledge) < 1.1
    assert visit("terminal_km", {**body, "visit": {}}, knowledge) is None


COVERED = {"table": "claims", "fixmedins_code": "*", "begndate": "2024-03-03", "enddate": "2025-06-30"}


def test_what_came_before_is_known_only_where_all_claims_are_said_to_be_complete(knowledge):
    def known(**row):
        return visit("known_days", {"lines": [{"item": "A"}], "tables": {"table_coverage": [row]}}, knowledge)

    assert known(**COVERED) == 365
    assert known(**{**COVERED, "fixmedins_code": "H00000000001"}) is None
    assert known(**{**COVERED, "complete_flag": "0"}) is None
    assert visit("known_days", {"lines": [{"item": "A"}]}, knowledge) is None


def test_a_stay_has_its_group_weight_and_standard_and_an_outpatient_visit_none(knowledge):
    paying = (load_policy("demo-region"), load_scheme(scheme_folder("chs-drg-starter")))
    body = {"diagnoses": ["I63.900"], "lines": [{"item": "A"}]}
    assert visit("drg", body, knowledge, paying=paying)
    assert visit("drg_standard", body, knowledge, paying=paying) > 0
    outpatient = {**body, "visit": {"kind": "general_outpatient"}}
    assert visit("drg_standard", outpatient, knowledge, paying=paying) is None
    assert visit("drg_standard", body, knowledge) is None


# registers a line or visit points into


def test_a_line_points_to_its_practitioner_and_its_prescription(knowledge):
    tables = {"practitioners": [{"prac_psn_code": "D1", "susp_begndate": "2025-03-01"}],
              "prescriptions": [{"rxno": "R1", "issue_time": "2025-03-03 08:00:00"}]}  # fmt: skip
    facts = facts_of({"lines": [{"doctor": "D1", "rxno": "R1"}, {"doctor": "D2", "rxno": "R2"}], "tables": tables},
                     knowledge)  # fmt: skip
    words = {"practitioner.susp_begndate", "practitioner.prac_psn_code", "prescription.id", "prescription.time"}
    one, two = facts.lines(words).sort("id").select(sorted(words)).rows()
    moment = datetime.datetime
    assert one == ("D1", moment(2025, 3, 1), "R1", moment(2025, 3, 3, 8))
    assert two == (None, None, None, None)


# what is not known is not judged


def rule_of(text: str, tmp_path, knowledge):
    path = tmp_path / "trial.yaml"
    path.write_text(HEAD + text, "utf-8")
    rule, notes = load_rule(path, tmp_path, knowledge, {}, datetime.date(2025, 6, 30))
    assert not notes.faults, "\n".join(map(str, notes.faults))
    return rule


DOSES = """
for: line
known: line.sin_dos != null
when: line.item == 'A' and (line.sin_dos ?? 0) > 5
tests:
  - hit: {lines: [{item: A, sin_dos: "6"}]}
  - clear: {lines: [{item: A, sin_dos: "5"}]}
  - clear: {lines: [{item: A}]}
    gives: {not_evaluated: fee_lines.sin_dos}
  - clear: {lines: [{item: B}]}
    gives: {not_evaluated: ""}
"""


def judged(rule, body: dict, knowledge):
    findings, _, unjudged = audit([rule], facts_of(body, knowledge), PERSON_SCOPES + INSTITUTION_SCOPES)
    return findings.height, unjudged.rows()


def test_a_case_that_lacks_what_the_rule_must_know_is_not_evaluated_and_its_money_told(tmp_path, knowledge):
    rule = rule_of(DOSES, tmp_path, knowledge)
    assert [r.said for r in run_tests(rule, knowledge) if not r.passed] == []
    blank = {"lines": [{"item": "A", "price": "7"}, {"item": "B", "price": "9"}]}
    assert judged(rule, blank, knowledge) == (0, [("trial", "missing_field", "fee_lines.sin_dos", 1, 700)])
    some = {"lines": [{"item": "A", "price": "7"}, {"item": "A", "sin_dos": "9"}]}
    assert judged(rule, some, knowledge) == (1, [("trial", "value_missing", "sin_dos", 1, 700)])


def test_where_a_fact_has_no_table_the_table_is_named(tmp_path, knowledge):
    rule = rule_of("for: line\nknown: line.devices != null\nwhen: line.item == 'X' and (line.devices ?? 0) == 0\n",
                   tmp_path, knowledge)  # fmt: skip
    assert judged(rule, devices(), knowledge)[0] == 1
    without = {"lines": [{"item": "X"}], "tables": NEED}
    assert judged(rule, without, knowledge) == (0, [("trial", "missing_table", "devices", 1, 1000)])


def test_what_is_missing_of_the_case_is_named_and_not_what_is_missing_of_its_lists(tmp_path, knowledge):
    text = """
for: visit
known: $sum([l.cnt for l in visit.lines if l.dosage_form == '']) == 0 or visit.icu_h != null
when: $sum([l.cnt for l in visit.lines if l.item == 'A']) > (visit.icu_h ?? 0)
flag: l.item == 'A'
"""
    rule = rule_of(text, tmp_path, knowledge)
    blank = {"lines": [{"item": "A", "price": "7"}]}
    assert judged(rule, blank, knowledge) == (0, [("trial", "missing_field", "claims.icu_h", 1, 700)])


@pytest.mark.parametrize(
    "row, inside",
    [
        ({}, True),
        ({"enddate": "2025-03-06"}, False),
        ({"begndate": "2025-03-04"}, False),
        ({"fixmedins_code": "H2"}, False),
        ({"fixmedins_code": "*"}, True),
        ({"complete_flag": "0"}, False),
        ({"table": "devices"}, True),
    ],
)
def test_outside_what_a_table_holds_completely_a_rule_has_no_answer(row, inside, tmp_path, knowledge):
    """A stay from 2025-03-03 to 2025-03-07 with an item of which there is no report."""
    rule = rule_of("for: visit\nwhen: visit.reports.length == 0\nflag: l.item == 'X'\n", tmp_path, knowledge)
    covered = {"table": "reports", "begndate": "2025-03-01", "enddate": "2025-03-31", **row}
    tables = {"reports": [{"kind": "exam", "setl_id": "V9", "report_time": "2025-03-03"}], "table_coverage": [covered]}
    answer = judged(rule, {"lines": [{"item": "X"}], "tables": tables}, knowledge)
    assert answer == ((1, []) if inside else (0, [("trial", "outside_coverage", "reports", 1, 1000)]))


def test_a_disease_is_treated_where_any_item_for_it_is_among_the_lines(knowledge):
    needs = [{"icd_prefix": "J96", "code": "001203"}, {"icd_prefix": "J96", "code": "0031060"}]
    body = {"diagnoses": ["K80.100", "J96.000"], "tables": {"complication_care": needs}}

    def treated(*lines: dict) -> list:
        rows = facts_of({**body, "lines": list(lines)}, knowledge).elements("diagnosis", {"code", "treated"})
        return rows.sort("code")["treated"].to_list()

    assert treated({"item": "003106030010000"}) == [True, None], "nothing is asked of gallstones"
    assert treated({"item": "001109000010000"}) == [False, None]
    oxygen = {"item": "001203000010000"}
    assert treated(oxygen, {**oxygen, "cnt": "-1", "time": "2025-03-03 18:00:00"}) == [False, None], "returned"


THIRDS = """
for: visit_day
let: {thirds: "$sum([l.cnt / 3 for l in day.lines])"}
when: thirds > 1
flag: l.cnt > 0
excess: thirds
message: "{thirds}"
tests: [{hit: {lines: [{item: A, cnt: "4"}]}}, {clear: {lines: [{item: A, cnt: "3"}]}}]
"""


def test_sums_that_divide_alike_are_made_once(tmp_path, knowledge):
    rule = rule_of(THIRDS, tmp_path, knowledge)
    assert len({a.name for part in rule.compiled.values() for a in part.aggregates if a.how == "sum"}) == 1
