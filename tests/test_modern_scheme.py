"""A miniature scheme with everything that CHS-DRG 2.0 and 3.0 and the schemes of cities add to 1.1, grouped by hand."""

from datetime import datetime
from decimal import Decimal

import pytest
from sample_scheme import write_scheme
from test_grouping import one

from engine.grouping.conditions import in_words, parse_condition
from engine.grouping.scheme import load_scheme
from engine.tables.problems import RuleProblem

TABLES = {
    "mdc": """
mdc,name,order,condition,qy
MDCA,先期分组,0,main_proc_valid or main_proc@AH1,off
MDCY,HIV,1,pdx,any
MDCZ,多发创伤,2,pdx+body_regions>=2,off
MDCO,妊娠,3,pdx+female,main
MDCB,神经,4,pdx,any
""",
    "mdc_codes": """
mdc,part,code
MDCY,,B24%
MDCZ,头部,S06%
MDCZ,胸部,S27%
MDCZ,腹部,S36%
MDCO,,O80%
MDCB,,I63%
MDCB,,G40%
MDCB,,S06%
""",
    "adrg": """
adrg,name,mdc,kind,order,condition
AH1,气管切开伴通气,MDCA,surgical,0,(sec_dx or any_proc:1)+any_proc:2
AH2,体外支持,MDCA,surgical,1,(sec_dx or sec_proc)+any_proc:3+icu_hours>=48
YR1,HIV 相关,MDCY,medical,10,any_dx
ZB1,三部位创伤手术,MDCZ,surgical,20,main_proc+body_regions@MDCZ>=3
ZZ1,多发创伤,MDCZ,medical,21,
OB1,阴道分娩手术,MDCO,surgical,30,any_proc:1+any_proc:2+any_proc:3
OR1,阴道分娩,MDCO,medical,31,pdx
BB1,脑手术,MDCB,surgical,40,pdx@BR1+any_proc or pdx@BR2+main_proc@BB1+not (sec_dx@AH1 or los<2)
BK1,日间操作,MDCB,nonOR,41,day_surgery+any_proc
BR1,脑梗死,MDCB,medical,42,pdx
BR2,癫痫,MDCB,medical,43,pdx
""",
    "adrg_codes": """
adrg,list_kind,part,code
AH1,sec_dx,,Z93.0%
AH1,main_proc,,33.2402
AH1,any_proc,1,31.1%
AH1,any_proc,2,96.7201
AH2,sec_dx,,J96%
AH2,sec_proc,,39.6500
AH2,any_proc,3,39.6500
AH2,any_proc,3,96.7201
YR1,any_dx,,B24%
ZB1,main_proc,,54.1%
OB1,any_proc,1,73.5%
OB1,any_proc,2,75.6%
OB1,any_proc,3,69.0%
OR1,pdx,,O80%
BB1,any_proc,,01.2%
BB1,main_proc,,01.2%
BK1,any_proc,,03.3%
BR1,pdx,,I63%
BR2,pdx,,G40%
BR2,pdx,,S06%
""",
    "drg": """
drg,name,adrg,order_in_adrg,condition
AH19,气管切开伴通气,AH1,0,none
AH29,体外支持,AH2,0,none
YR19,HIV 相关,YR1,0,none
ZB19,三部位创伤手术,ZB1,0,none
ZZ19,多发创伤,ZZ1,0,none
OB19,阴道分娩手术,OB1,0,none
OR19,阴道分娩,OR1,0,none
BB1C,脑手术，6 岁以下,BB1,0,age_years<6
BB11,脑手术，伴严重并发症,BB1,1,MCC
BB15,脑手术,BB1,2,none
BK19,日间操作,BK1,0,none
BR10,脑梗死，5 日内死亡或转院,BR1,0,los<5+leaving:2|5
BR1F,脑梗死，70 岁以上伴严重并发症,BR1,1,age_years>=70+MCC
BR1D,脑梗死，通气 96 小时,BR1,2,vent_hours>=96
BR13,脑梗死，伴并发症,BR1,3,MCC or CC
BR1H,脑梗死，住院 60 日以上,BR1,4,los>60
BR15,脑梗死,BR1,5,none
BR29,癫痫,BR2,0,none
""",
    "cc": "code,level,exclusion_id\nJ96%,MCC,1\nI10%,CC,2\n",
    "exclusions": "exclusion_id,pdx\n1,J96%\n2,I63.9%\n",
    "proc_valid": """
code,qy
01.2000,
31.1000,
39.6500,
54.1100,
73.5900,
96.7201,no
51.2300,
""",
    "weights": "drg,weight\nBR13,1.2\nBR15,0.9\n",
}


@pytest.fixture(scope="module")
def modern(tmp_path_factory):
    return load_scheme(write_scheme(tmp_path_factory.mktemp("modern"), **TABLES))


HAND_WORKED = [
    # 2.0 AH1: a tracheostomy status among the other diagnoses or an airway procedure, and ventilation anywhere
    ("AH19", {"dx": ["I63.900"], "proc": ["31.1000", "96.7201"]}),
    ("AH19", {"dx": ["I63.900"], "proc": ["96.7201", "31.1000"]}),
    ("AH19", {"dx": ["I63.900", "Z93.000"], "proc": ["96.7201"]}),
    # a status as the principal diagnosis is no other diagnosis, and stands in no MDC
    ("0000", {"dx": ["Z93.000"], "proc": ["96.7201"]}),
    # an other procedure is not the main one: 39.6500 alone does not support itself
    ("AH29", {"dx": ["G40.900"], "proc": ["96.7201", "39.6500"], "icu_h": Decimal(48)}),
    ("BQY", {"dx": ["G40.900"], "proc": ["39.6500"], "icu_h": Decimal(48)}),
    ("AH29", {"dx": ["G40.900", "J96.000"], "proc": ["39.6500"], "icu_h": Decimal(48)}),
    ("BQY", {"dx": ["G40.900", "J96.000"], "proc": ["39.6500"], "icu_h": Decimal("47.9")}),
    # a procedure that is not valid may open the pre-groups where the scheme names it
    ("AH19", {"dx": ["I63.900"], "proc": ["33.2402", "31.1000", "96.7201"]}),
    ("BQY", {"dx": ["I63.900"], "proc": ["99.9999", "31.1000", "96.7201"]}),
    # HIV as the principal diagnosis alone (3.0); any operation makes it ambiguous
    ("YR19", {"dx": ["B24.x01"]}),
    ("BR15", {"dx": ["I63.900", "B24.x01"]}),
    ("YQY", {"dx": ["B24.x01"], "proc": ["99.9999", "51.2300"]}),
    # trauma of three regions with the operation, of two without; of one it is no multiple trauma
    ("ZB19", {"dx": ["S06.000", "S27.000", "S36.000"], "proc": ["54.1100"]}),
    ("ZZ19", {"dx": ["S06.000", "S27.000"], "proc": ["54.1100"]}),
    ("BR29", {"dx": ["S06.000"]}),
    # three procedure groups together, in any order; the sex check of the MDC
    ("OB19", {"dx": ["O80.000"], "proc": ["69.0200", "73.5900", "75.6900"], "gend": "2"}),
    ("OQY", {"dx": ["O80.000"], "proc": ["73.5900", "75.6900"], "gend": "2"}),
    ("OR19", {"dx": ["O80.000"], "proc": ["75.6900", "73.5900"], "gend": "2"}),
    ("0000", {"dx": ["O80.000"], "gend": "1"}),
    # any procedure, not the first alone; the list of another ADRG; brackets and `not`
    ("BB15", {"dx": ["I63.900"], "proc": ["99.9999", "01.2000"]}),
    ("BB15", {"dx": ["G40.900"], "proc": ["01.2000"]}),
    ("BQY", {"dx": ["G40.900"], "proc": ["99.9999", "01.2000"]}),
    ("BQY", {"dx": ["G40.900", "Z93.000"], "proc": ["01.2000"]}),
    ("BQY", {"dx": ["G40.900"], "proc": ["01.2000"], "act_ipt_days": 1}),
    # day surgery
    ("BK19", {"dx": ["G40.900"], "proc": ["03.3100"], "daysurg_flag": "1"}),
    ("BR29", {"dx": ["G40.900"], "proc": ["03.3100"], "daysurg_flag": "0"}),
    # a valid procedure that the scheme lets make no stay ambiguous
    ("BR29", {"dx": ["G40.900"], "proc": ["96.7201"]}),
    ("BQY", {"dx": ["G40.900"], "proc": ["51.2300"]}),
    # suffixes: age before severity, early death or transfer, ventilation, long stay
    ("BB1C", {"dx": ["I63.900", "J96.000"], "proc": ["01.2000"], "age": 5}),
    ("BB11", {"dx": ["I63.900", "J96.000"], "proc": ["01.2000"], "age": 6}),
    ("BR10", {"dx": ["I63.900"], "act_ipt_days": 4, "dscg_way": "5"}),
    ("BR10", {"dx": ["I63.900"], "act_ipt_days": 4, "dscg_way": "2"}),
    ("BR15", {"dx": ["I63.900"], "act_ipt_days": 5, "dscg_way": "5"}),
    ("BR1F", {"dx": ["I63.900", "J96.000"], "age": 70}),
    ("BR13", {"dx": ["I63.900", "J96.000"], "age": 69}),
    ("BR1D", {"dx": ["I63.900", "J96.000"], "vent_used_h": Decimal(96)}),
    ("BR13", {"dx": ["I63.100", "I10.x00"]}),
    ("BR15", {"dx": ["I63.900", "I10.x00"]}),
    ("BR1H", {"dx": ["I63.900"], "act_ipt_days": 61}),
    ("BR15", {"dx": ["I63.900"], "act_ipt_days": 60}),
]


@pytest.mark.parametrize(("drg", "stay"), HAND_WORKED)
def test_every_feature_of_the_newer_schemes_groups_as_worked_out_by_hand(modern, drg, stay):
    assert one(modern, **stay)["drg"] == drg


def test_the_miniature_uses_every_kind_of_term(modern):
    used = {term.looks_at for _, terms in modern.candidates for term in terms}
    assert used == {"pdx", "any_dx", "sec_dx", "main_proc", "any_proc", "sec_proc", "number", "choice", "regions"}


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ("NEW_TECHNIQUE+pdx", "NEW_TECHNIQUE"),
        ("pdx+body_regions>=2", "BR1"),
        ("pdx+body_regions@MDCB>=2", "MDCB"),
        ("pdx+los@BR2>3", "los@BR2>3"),
    ],
)
def test_a_condition_of_a_kind_that_is_not_known_is_refused_by_name(tmp_path, condition, named):
    adrg = TABLES["adrg"].replace("42,pdx", f"42,{condition}")
    with pytest.raises(RuleProblem) as refused:
        load_scheme(write_scheme(tmp_path, **TABLES | {"adrg": adrg}))
    assert named in str(refused.value)
    assert "adrg.csv:11 [condition]" in str(refused.value)


def test_why_says_other_procedures_and_regions(modern):
    why = one(modern, dx=["G40.900"], proc=["96.7201", "39.6500"], icu_h=Decimal(48))["why"]
    assert "其他手术在 AH2 编码表：39.6500" in why
    ((term,),) = parse_condition("body_regions@MDCZ>=3", "ZB1")
    assert in_words(term) == "诊断涉及身体部位数≥3"
    assert "歧义" in one(modern, dx=["B24.x01"], proc=["51.2300"])["why"]
    late = one(modern, dx=["I63.900"], endtime=datetime(2026, 6, 1))["why"]
    assert "编码检查" not in late
