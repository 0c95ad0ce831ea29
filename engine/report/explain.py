"""One finding told to an auditor, from the outputs of its run alone: rule and basis, case, condition with the values
read, table row and parameters, evidence, arithmetic, innocent explanations, what to fetch, and what is due.

The rule's text (what it says, its law) comes from the rule file at hand; everything that was read and worked out comes
from the run, so a rule that has changed since is said to have changed and explains nothing away.
"""

import difflib
from dataclasses import dataclass

import polars as pl

from engine.report import sums, words
from engine.report.figures import STEPS, Run
from engine.report.readings import conditions, value_said
from engine.report.rules import RuleInfo
from engine.report.text import yuan
from engine.tables.outputs import output_fields
from engine.tables.problems import InputProblem, UsageProblem

_NEAR, _CANDIDATES = 5, 10
DATED = ("begndate", "enddate", "source", "grade")


@dataclass(frozen=True)
class Case:
    """A finding and everything its run keeps of it: rows as dicts, in order."""

    run: Run
    finding: dict
    values: list[dict]
    amounts: list[dict]
    recovery: list[dict]
    rule: RuleInfo

    def of(self, part: str) -> list[dict]:
        return [row for row in self.values if row["part"] == part]


def case_of(run: Run, asked: str) -> Case:
    """The finding whose id begins with `asked`.

    Raises UsageProblem where none or several do, and InputProblem for a run of a version that kept no values.
    """
    for name in ("values", "amounts"):
        if not (run.out / f"{name}.parquet").is_file():
            hint = "请用现在的版本重新运行 run again with this version"
            raise InputProblem(f"没有 {name}.parquet，这次运行没有留下解释所需的取值", str(run.out), hint=hint)
    finding_id = _found(run, asked)
    own = pl.col("finding_id") == finding_id
    finding = run.findings.filter(own).collect().to_dicts()[0]
    kept = {name: run.scan(name).filter(own) for name in ("values", "amounts", "recovery")}
    rows = {
        "values": kept["values"].sort("seq"),
        "amounts": kept["amounts"].sort(pl.col("role") != "excess", "role", "time", "table", "row_key"),
        "recovery": kept["recovery"].sort("setl_id", "fund", nulls_last=True),
    }
    return Case(run, finding, **{n: f.collect().to_dicts() for n, f in rows.items()}, rule=run.rule(finding["rule_id"]))


def _found(run: Run, asked: str) -> str:
    ids = run.scan("findings").select(pl.col("finding_id").sort()).collect()["finding_id"]
    found = ids.filter(ids.str.starts_with(asked)) if asked else ids.clear()
    if len(found) == 1 or asked in found:
        return asked if asked in found else found[0]
    if len(found):
        some = "、".join(found.head(_CANDIDATES)) + ("……" if len(found) > _CANDIDATES else "")
        raise UsageProblem(f"有 {len(found)} 个疑点编号以 {asked} 开头 several findings begin so", allowed=some)
    alike = ids.filter(ids.str.starts_with(asked[:2])) if asked else ids
    near = difflib.get_close_matches(asked, alike.head(10_000).to_list(), _NEAR, 0)
    raise UsageProblem(f"没有疑点 no finding {asked!r}", hint="、".join(near) or "编号见 findings.parquet、report.html")


def told(case: Case) -> list[tuple[str, list[str]]]:
    """(heading, sentences) of every part of the explanation; a part that has nothing to say is left out."""
    parts = (
        ("规则与依据", _rule), ("案例", _place), ("命中的条件", _condition), ("对照的表与参数", _table_and_parameters),
        ("证据", sums.evidence), ("超出的数量", sums.excess), ("金额", sums.money), ("合理解释", _innocent),
        ("需调取", lambda c: [f"{'、'.join(c.rule.needs)}。"] if c.rule.needs else []), ("豁免与金额归属", _carried),
        ("追回", _recovery),
    )  # fmt: skip
    return [(heading, sentences) for heading, tell in parts if (sentences := tell(case))]


def as_data(case: Case) -> dict:
    """The same for a program: the rows kept of the finding, and the sentences."""
    return {
        "finding": case.finding, "values": case.values, "amounts": case.amounts, "recovery": case.recovery,
        "rule": {"version_at_hand": case.rule.version or None, "basis": case.rule.basis, "needs": case.rule.needs},
        "told": [{"heading": heading, "sentences": sentences} for heading, sentences in told(case)],
    }  # fmt: skip


def _rule(case: Case) -> list[str]:
    rule, finding = case.rule, case.finding
    number = f"清单第 {finding['rule_number']} 项，" if finding["rule_number"] else ""
    status = words.STATUS[finding["rule_status"]]
    said = [f"规则“{rule.title}”（{number}{rule.rule_id}，{rule.family_name}，{status}规则）。"]
    if not rule.version:
        return [*said, f"手头没有这条规则的文件；运行时的版本是 {finding['rule_version']}，以下读数都取自运行结果。"]
    said += [rule.description] if rule.description else []
    said.append(f"法规依据：{rule.basis}。" if rule.basis else "规则没有写明法规依据。")
    said += [f"口径来源：{'、'.join(rule.sources)}。"] if rule.sources else []
    if rule.version == finding["rule_version"]:
        return [*said, f"规则版本 {rule.version}，与运行时一致。"]
    changed = f"注意：规则文件在运行之后改过（运行时 {finding['rule_version']}，现在 {rule.version}）。"
    return [*said, f"{changed}以上文字取自现在的文件，以下条件、取值和金额都是运行时的。"]


def _place(case: Case) -> list[str]:
    finding, name = case.finding, case.run.name
    labels = {"fixmedins_code": "机构", "setl_id": "结算单", "psn_no": "人员", "service_date": "日期",
              "department": "科室", "doctor": "医师", "med_list_codg": "项目"}  # fmt: skip
    masked = "" if case.run.revealed else "（化名）"
    known = [
        f"{label} {finding[key]}{f' {name(finding[key])}' if name(finding[key]) else ''}"
        + (masked if key in ("psn_no", "doctor") else "")
        for key, label in labels.items() if finding[key] is not None
    ]  # fmt: skip
    scope = words.SCOPE.get(finding["scope"], finding["scope"])
    return [
        f"疑点 {finding['finding_id']}：{'，'.join(known)}。",
        f"按{scope}判定（{finding['scope_key']}），性质为{words.RESULT[finding['result']]}：{finding['message']}。",
    ]


def _condition(case: Case) -> list[str]:
    known = case.of("known")
    said = ["判断之前须知道以下各项：", *conditions(known)] if known else []
    said += ["规则要求以下各项全部成立："] + conditions(case.of("when"))
    if decided := case.of("violation_when"):
        held = all(row["value"] == "true" for row in decided if row["level"] == 0)
        said.append(f"定为明确违规还要求以下各项全部成立，本例{'成立' if held else '不成立'}：")
        said += conditions(decided)
    return said


def _table_and_parameters(case: Case) -> list[str]:
    said = []
    if case.of("row"):
        table, *columns = case.of("row")
        filled = {row["name"]: row for row in columns if row["value"] is not None}
        dated = [value_said(filled[n]) if n in filled else "未限" for n in ("begndate", "enddate")]
        cells = "，".join(f"{r['words']} {value_said(r)}" for n, r in filled.items() if n not in DATED)
        source, grade = (filled[n]["value"] if n in filled else "未注明" for n in ("source", "grade"))
        said.append(f"对照“{table['words']}”（{table['name']}）中的一行：{cells}。")
        said.append(f"该行有效期 {dated[0]} 至 {dated[1]}，来源：{source}，可信度：{words.GRADE.get(grade, grade)}。")
    changed = case.run.manifest.get("parameters", {}).get(case.finding["rule_id"], {})
    for row in case.of("param"):
        label = f"“{row['words']}”（{row['name']}）" if row["words"] else f" {row['name']} "
        whose = "本地参数文件所定" if row["name"] in changed else "规则默认值"
        source = f"，来源：{row['note']}" if row["note"] else ""
        said.append(f"参数{label}= {value_said(row)}，{whose}{source}。")
    return said


def _innocent(case: Case) -> list[str]:
    said = []
    for row in (row for row in case.values if row["kind"] == "answer"):
        unless, unknown = (case.of(f"{row['part']}.{word}") for word in ("unless", "unknown"))
        if row["value"] == "excluded":
            said.append(f"“{row['name']}”：已排除，因为下列情形没有全部成立：")
        elif unknown:
            said.append(f"“{row['name']}”：尚不能排除，因为有下列情形：")
        else:
            said.append(f"“{row['name']}”：尚不能排除，现有数据无从判断，须人工核实。")
        said += conditions(unknown if row["value"] == "open" else unless or unknown)
    if case.finding["innocent_open"]:
        said.append(f"其中最应先核实的是：{case.finding['innocent_open']}。")
    return said


def _carried(case: Case) -> list[str]:
    finding, said = case.finding, []
    for row in case.of("waiver"):
        said.append(
            f"已按豁免单 {row['name']} 豁免，不计金额：{row['words']}（{row['note']}，有效至 {row['value']}）。"
        )
    if finding["rule_status"] == "trial":
        said.append("规则尚在试运行，只作提示，不计金额。")
    if finding["superseded_by"]:
        title = case.run.rule(finding["superseded_by"]).title
        said.append(f"金额由规则“{title}”（{finding['superseded_by']}）的疑点承担，此处不重复计入。")
    others = _sharing(case)
    if others:
        said.append(f"同一行上还有 {len(others)} 个疑点，金额只计一次：{'、'.join(others[:_CANDIDATES])}。")
    return said


def _sharing(case: Case) -> list[str]:
    """The other findings that accuse a row of this one."""
    excess = case.run.scan("evidence").filter(pl.col("role") == "excess")
    own = excess.filter(pl.col("finding_id") == case.finding["finding_id"]).select("table", "row_key")
    shared = excess.join(own, on=["table", "row_key"], how="semi")
    ids = shared.select(pl.col("finding_id").unique().sort()).collect()["finding_id"].to_list()
    return [i for i in ids if i != case.finding["finding_id"]]


def _recovery(case: Case) -> list[str]:
    labels = {name: output_fields()["recovery"][name].label for name in STEPS}
    said = []
    for row in case.recovery:
        claim = f"结算单 {row['setl_id']}" if row["setl_id"] else "不属于某一张结算单，待核实后确定由哪些结算单承担"
        steps = " → ".join(f"{labels[n]} {yuan(row[n])}" for n in STEPS if row[n] is not None)
        said.append(f"{words.FUND.get(row['fund'], row['fund'])}，{claim}：{steps} 元。")
    due = sum(row["due_fen"] for row in case.recovery)
    if case.recovery:
        said.append(f"本疑点应追回合计 {yuan(due)} 元。")
    return said or ["本疑点没有可追回的金额。"]
