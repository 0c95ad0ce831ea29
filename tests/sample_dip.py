"""A miniature DIP catalogue of our own, small enough to group by hand and with every kind of row in it."""

from pathlib import Path

TABLES = {
    "dip": """
group,name,kind,dx,procedures,class,weight,mean_cost_fen,cases
K0,阑尾炎,core,K35.8,,,0.5,500000,40
K1,阑尾炎切除,core,K35.8,47.09,,0.9,900000,40
K2,阑尾炎切除并粘连松解,core,K35.8,47.09+54.59,,1.2,1200000,40
K3,阑尾炎松解,core,K35.8,54.59,,0.95,950000,40
I1,心绞痛支架,core,I20.0,36.07,,3.2,3200000,40
I2,心绞痛球囊,core,I20.0,00.66,,3.2,3200000,40
I3,心绞痛造影,core,I20.0,88.56,,1.33333333,1333333,40
KR0,阑尾疾病保守,residual,K35%,,conservative,0.45,,
KR3,阑尾疾病手术,residual,K35%,,surgery,1.1,1100000,
K8R3,急性阑尾炎手术,residual,K35.8%,,surgery,1.15,1150000,
DR0,消化保守,residual,K00-K93,,conservative,0.4,,
DR1,消化诊断,residual,K00-K93,,diagnostic,0.6,600000,
DR2,消化治疗,residual,K00-K93,,therapeutic,0.7,700000,
DR3,消化手术,residual,K00-K93,,surgery,1.6,1600000,
CR0,循环保守,residual,I00-I99,,conservative,0.8,800000,
""",
    "procedures": """
code,class
0%,surgery
36%,surgery
47%,surgery
54%,surgery
54.2%,diagnostic
54.91,therapeutic
88%,diagnostic
89.0%,none
""",
    "cc": """
code,level
J96%,MCC
E11%,CC
E11.1%,MCC
""",
    "severity": """
level,cc,min_days,max_days,died,coefficient,from,to
早期死亡,,,3,yes,0.9,,
死亡,,4,,yes,1.2,,
重度,MCC,5,,no,1.15,,2026-06-30
重度（下半年）,MCC,5,,no,1.25,2026-07-01,
中度,any,3,,no,1.05,,
无并发症日间,none,0,1,,0.8,,
""",
    "cci": """
code,condition,points
I50%,心衰,1
I11%,心衰,1
E11%,糖尿病,1
E11.2%,糖尿病伴并发症,2
C7%,转移,6
""",
    "comorbidity": """
level,min_points,max_points,coefficient,from,to
CCI 2 至 3,2,3,1.03,,
CCI 4 以上,4,,1.0825,,
""",
    "age": """
level,min_years,max_years,coefficient,from,to
少儿,,18,1.0333,,
老年,65,,1.05,,
""",
    "means": """
group,hosp_lv,mean_cost_fen
K1,3,1000000
K1,2,800000
""",
}
OPTIONS = "name: mini-dip\nkind: dip\nprocedure_characters: '4'\n"


def write_dip(folder: Path, **changed: str | None) -> Path:
    """Writes the miniature catalogue; `changed` replaces tables (None leaves one out), and `options` adds to them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**TABLES, **changed}.items():
        if name != "options" and text is not None:
            (folder / f"{name}.csv").write_text(text.lstrip("\n"), "utf-8")
    (folder / "scheme.yaml").write_text(OPTIONS + (changed.get("options") or ""), "utf-8")
    return folder
