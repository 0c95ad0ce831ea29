"""A miniature grouping scheme of our own, small enough to group by hand and with every kind of condition in it."""

from pathlib import Path

TABLES = {
    "mdc": """
mdc,name,order,condition
MDCA,先期分组,0,main_proc_valid
MDCP,新生儿,1,pdx+age_years==0
MDCZ,多发创伤,2,pdx
MDCM,男性,3,pdx+male
MDCN,女性,4,pdx+female
MDCF,循环,5,pdx
MDCX,其他,6,pdx
""",
    "mdc_codes": """
mdc,part,code
MDCP,,P07.000
MDCP,,P22.000
MDCP,,P59.900
MDCZ,头部,S06.000
MDCZ,胸部,S27.000
MDCZ,下肢,S72.000
MDCM,,C61.x00
MDCN,,C56.x00
MDCF,,I21%
MDCF,,I50.900
MDCF,,I48.900
MDCX,,S06.000
MDCX,,Z51.000
MDCX,,Z51.100
""",
    "adrg": """
adrg,name,mdc,kind,order,condition
AC1,联合移植,MDCA,surgical,0,two_proc
AH1,长时间通气,MDCA,surgical,1,any_proc+vent_hours>=96 or any_proc+icu_hours>240+sec_dx
PB1,新生儿手术,MDCP,surgical,10,main_proc+age_days<=28
PR1,呼吸窘迫,MDCP,medical,11,pdx+age_days<=28
PS1,极低体重,MDCP,medical,12,any_dx+weight<1500+age_days<=28
PS2,低体重,MDCP,medical,13,any_dx@PS1+weight>=1500+weight<2000+age_days<=28
PS3,入院体重低,MDCP,medical,14,adm_weight<2000
PV1,其他婴儿,MDCP,medical,15,
ZB1,创伤开颅,MDCZ,surgical,20,main_proc
ZZ1,创伤无手术,MDCZ,medical,21,no_valid_proc
MR1,男性肿瘤,MDCM,medical,30,pdx
NA1,广泛切除,MDCN,surgical,40,pdx@NR1+proc_parts:1|2&3
NR1,女性肿瘤,MDCN,medical,41,pdx
FB1,心脏手术,MDCF,surgical,50,main_proc
FK1,梗死伴操作,MDCF,nonOR,51,pdx@FR1+main_proc or sec_dx@FR1+main_proc
FR1,心肌梗死,MDCF,medical,52,pdx
FR2,心力衰竭,MDCF,medical,53,pdx
XJ1,其他手术,MDCX,surgical,60,any_proc_valid
XS1,早期离院,MDCX,medical,61,los<3+leaving:2|5+not pdx@XR2
XR2,放疗,MDCX,medical,62,pdx
XR1,其他,MDCX,medical,63,age_years>=1+pdx
""",
    "adrg_codes": """
adrg,list_kind,part,code
AC1,any_proc,1,52.8000
AC1,any_proc,2,55.6900
AH1,any_proc,,96.7201
AH1,sec_dx,,J96.000
PB1,main_proc,,35.0000
PR1,pdx,,P22.000
PS1,any_dx,,P07%
ZB1,main_proc,,01.2000
MR1,pdx,,C61.x00
NA1,proc_part,1,68.6000
NA1,proc_part,2,68.4000
NA1,proc_part,3,40.5000
NA1,proc_part,3,68.4000
NR1,pdx,,C56.x00
FB1,main_proc,,36%
FK1,main_proc,,37.2200
FR1,pdx,,I21%
FR2,pdx,,I50.900
XR2,pdx,,Z51.000
XR1,pdx,,Z51.100
XR1,pdx,,S06.000
""",
    "drg": """
drg,name,adrg,order_in_adrg,condition
AC19,联合移植,AC1,0,none
AH19,长时间通气,AH1,0,none
PB19,新生儿手术,PB1,0,none
PR19,呼吸窘迫,PR1,0,none
PS19,极低体重,PS1,0,none
PS29,低体重,PS2,0,none
PS39,入院体重低,PS3,0,none
PV19,其他婴儿,PV1,0,none
ZB19,创伤开颅,ZB1,0,none
ZZ19,创伤无手术,ZZ1,0,none
MR19,男性肿瘤,MR1,0,none
NA19,广泛切除,NA1,0,none
NR19,女性肿瘤,NR1,0,none
FB11,心脏手术，伴严重并发症,FB1,0,MCC
FB15,心脏手术,FB1,1,none
FK19,梗死伴操作,FK1,0,none
FR11,心肌梗死，伴严重并发症,FR1,0,MCC
FR13,心肌梗死，伴并发症,FR1,1,MCC or CC
FR15,心肌梗死,FR1,2,none
FR2F,心力衰竭，70 岁以上,FR2,0,age_years>=70
FR25,心力衰竭,FR2,1,none
XJ19,其他手术,XJ1,0,none
XS19,早期离院,XS1,0,none
XR29,放疗,XR2,0,none
XR19,其他,XR1,0,none
""",
    "cc": """
code,level,exclusion_id
J96.000,MCC,1
I50.900,MCC,2
E11%,CC,3
E11.100,MCC,3
I10.x00,CC,9
""",
    "exclusions": """
exclusion_id,pdx
1,J96.000
2,I21.100
2,I50.900
3,E11%
""",
    "proc_valid": """
code
01.2000
36.0000
51.2300
52.8000
55.6900
68.4000
68.6000
35.0000
""",
    "weights": """
drg,weight
FR15,0.8
FR13,1.05
FR11,1.12345678
""",
}


def write_scheme(folder: Path, **changed: str) -> Path:
    """Writes the miniature scheme to a folder; `changed` replaces whole tables, or adds `options` (scheme.yaml)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**TABLES, **changed}.items():
        file = "scheme.yaml" if name == "options" else f"{name}.csv"
        (folder / file).write_text(text.lstrip("\n"), "utf-8")
    return folder
