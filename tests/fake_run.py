"""A small finished run, made up: every output table, a manifest and rules, for the tests of what is written of it."""

import hashlib
import json
import random
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from engine.report import RuleInfo
from engine.tables.outputs import conform, outputs

SITES = ["H33010000001", "H33010000002", "P33010000003"]
HOSTILE_SITE = "../=CON\u202e<script>"
HOSTILE = '<script>alert("x")</script>=HYPERLINK("http://a.example","\u202e点我")</td>'
NAMES = {
    "H33010000001": "示例市第一人民医院",
    "H33010000002": "示例市中医院",
    "P33010000003": "康宁大药房",
    "003110000060000": "血液透析",
    "002503080040000": "肝功能全套",
    "001102000010000": "三级医院住院诊查费",
    "XA10BDE073A001010100001": "二甲双胍片",
    HOSTILE_SITE: HOSTILE,
}
ITEMS = [code for code in NAMES if code.startswith(("00", "XA"))]
ACT = "《医疗保障基金使用监督管理条例》第十五条"

RULES = {
    rule.rule_id: rule
    for rule in [
        RuleInfo(
            "per-treatment-dialysis-billed-hourly",
            "血液透析按次收费项目按时长多计",
            "hemodialysis",
            "血液净化",
            80,
            "血液透析按次计价，一次治疗不论时长只计一次；按小时数计费即多计。",
            ACT,
            ("地方医疗服务价格项目目录",),
            ("当日透析记录单", "医嘱执行单"),
            "violation",
            amount="units",
            parameters={"allowed": "1"},
        ),
        RuleInfo(
            "duplicate-panel-and-member",
            "成套检验与其中单项同日重复收费",
            "duplicate",
            "重复收费",
            12,
            "成套项目已含单项，同一标本再计单项属重复收费。",
            ACT,
            (),
            ("检验报告单",),
            "violation",
            amount="lines",
        ),
        RuleInfo(
            "consultation-daily-cap",
            "住院诊查费一日多计",
            "overcharging",
            "超标准收费",
            31,
            "住院诊查费按日计。",
            "地方医疗服务价格项目目录",
            (),
            ("住院日志", "科室转出转入记录"),
            "suspicion",
            amount="units",
        ),
        RuleInfo(
            "split-admission-within-days",
            "短期内同病种再次住院",
            "splitting",
            "分解住院",
            97,
            "出院后短期内同一疾病再次入院，疑似分解住院。",
            "《医疗保障基金使用监督管理条例》第三十八条",
            (),
            ("两次住院病历首页",),
            "suspicion",
            amount="later_visit",
        ),
        RuleInfo(
            "t01-same-code-sold-twice",
            "同一追溯码在同一地点重复结算",
            "trace",
            "药品追溯",
            118,
            "同一最小包装被结算超过其容量。",
            "医保药品追溯码使用规定",
            (),
            ("进销存台账", "处方"),
            amount="lines",
        ),
        RuleInfo(
            "off-label-payment", "超限定支付范围用药", "scope", "超范围支付", 55, result="suspicion", needs=("处方",)
        ),
        RuleInfo("new-idea", "夜间集中开具大额处方", "pattern", "异常行为", None, "试运行。", status="trial"),
        RuleInfo("never-fires", "新生儿项目用于成人", "demography", "性别年龄不符", 101, result="violation"),
        RuleInfo("device-log-missing", "设备使用时长超过开机时长", "device", "虚记项目", 64, needs=("设备日志",)),
    ]
}
_MESSAGES = {
    "per-treatment-dialysis-billed-hourly": "当日透析计费 {n} 次，目录规定一次治疗计 1 次，多计 {m} 次。",
    "duplicate-panel-and-member": "肝功能全套已收，同日又收其中单项 {m} 项。",
    "consultation-daily-cap": "当日诊查费计 {n} 次，超过 1 次。",
    "split-admission-within-days": "距上次出院 {n} 天再次入院，主要诊断相同。",
    "t01-same-code-sold-twice": "同一追溯码在本店 {n} 次结算，包装容量为 1。",
}
_INNOCENT = {
    "per-treatment-dialysis-billed-hourly": "当日确有两次透析",
    "duplicate-panel-and-member": "异常结果当日复查",
    "consultation-daily-cap": "前日漏记今日补记",
    "split-admission-within-days": "病情反复，确需再次住院",
    "t01-same-code-sold-twice": "拆零销售",
}


def fake_run(out: Path, findings: int = 72, hostile: bool = False, seed: int = 7) -> Path:
    """Write a finished run directory (tables and manifest, no report) and return it."""
    out.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    found = _findings(chance, findings, [*SITES, HOSTILE_SITE] if hostile else SITES)
    if hostile:
        found[0] |= {
            "message": HOSTILE,
            "department": HOSTILE,
            "innocent_open": HOSTILE,
            "setl_id": "=1+1",
            "scope_key": HOSTILE,
            "fixmedins_code": SITES[0],
            "gross_fen": 99_000_001,
            "rule_status": "active",
        }
        found[1] |= {"fixmedins_code": HOSTILE_SITE, "med_list_codg": "000000000000123", "rule_status": "active"}
    settled = _settlement(chance, found)
    tables = {
        "checks": _checks(),
        "rejects": _rejects(hostile),
        "grouping": _grouping(chance, settled),
        "settlement": settled,
        "provider_payment": _payments(chance),
        "findings": found,
        "evidence": _evidence(chance, found),
        "not_evaluated": _gaps(),
        "recovery": _recovery(found),
    }
    for name, rows in tables.items():
        frame = pl.DataFrame(rows, outputs()[name], orient="row")
        conform(frame, name).write_parquet(out / f"{name}.parquet")
    (out / "manifest.json").write_text(json.dumps(_manifest(hostile), ensure_ascii=False), "utf-8")
    return out


def _findings(chance: random.Random, count: int, sites: list[str]) -> list[dict]:
    rows = []
    weights = [9, 8, 7, 4, 4, 3, 2]
    for i in range(count):
        rule = RULES[chance.choices(list(RULES)[:7], weights)[0]]
        units = chance.randint(1, 5)
        gross = units * chance.randint(800, 42_000) * (40 if rule.amount == "later_visit" else 1)
        inscope = gross * chance.randint(80, 100) // 100
        message = _MESSAGES.get(rule.rule_id, "单日用量异常，超出 {m}。").format(n=units + 1, m=units)
        rows.append(
            {
                "finding_id": f"{chance.getrandbits(128):032x}",
                "rule_id": rule.rule_id,
                "rule_number": rule.number,
                "rule_version": hash_of(rule.rule_id),
                "rule_status": rule.status,
                "result": rule.result,
                "scope": "person_window" if rule.amount == "later_visit" else "visit_day",
                "scope_key": f"S{i // 2}|2025-03",
                "fixmedins_code": sites[(i * i + i // 5) % len(sites)] if i % 17 else (None if i else sites[0]),
                "setl_id": f"{i // 2:012d}",
                "psn_no": f"p-{chance.getrandbits(40):010x}",
                "department": chance.choice(["肾内科", "心内科", "骨科", "检验科", None]),
                "doctor": f"d-{i % 6:06x}",
                "med_list_codg": chance.choice(ITEMS),
                "service_date": date(2025, 1, 3) + timedelta(days=i * 5 % 180),
                "excess_cnt": Decimal(units),
                "gross_fen": gross,
                "inscope_fen": inscope,
                "fund_fen": inscope * chance.randint(55, 90) // 100,
                "innocent_open": chance.choice([None, _INNOCENT.get(rule.rule_id, "病历中另有医嘱说明")]),
                "waived": i % 23 == 22,
                "superseded_by": "duplicate-panel-and-member" if i % 13 == 12 else None,
                "message": message,
            }
        )
    return rows


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _evidence(chance: random.Random, found: list[dict]) -> list[dict]:
    rows = []
    for i, f in enumerate(found):
        for at in range(int(f["excess_cnt"])):
            rows.append(
                {
                    "finding_id": f["finding_id"],
                    "table": "fee_lines",
                    "row_key": f"SETTLE_ZY_DETAIL:{i // 2 * 10 + at}",
                    "setl_id": f["setl_id"],
                    "role": "excess",
                    "cnt": Decimal(1),
                    "amount_fen": f["gross_fen"] // int(f["excess_cnt"]),
                }
            )
        other = found[(i + 7) % len(found)]["setl_id"] if f["scope"] == "person_window" else f["setl_id"]
        rows.append(
            {
                "finding_id": f["finding_id"],
                "table": "claims" if other != f["setl_id"] else "fee_lines",
                "row_key": f"BASIS:{i}",
                "setl_id": other,
                "role": "basis",
                "cnt": None,
                "amount_fen": chance.randint(1, 9) * 1000,
            }
        )
        if i % 5 == 0:
            rows.append(
                {
                    "finding_id": f["finding_id"],
                    "table": "service_logs",
                    "row_key": f"LOG:{i}",
                    "setl_id": None,
                    "role": "context",
                    "cnt": None,
                    "amount_fen": None,
                }
            )
    return rows


def _recovery(found: list[dict]) -> list[dict]:
    rows, totals = [], {}
    for f in found:
        if f["rule_status"] != "active" or f["waived"] or f["superseded_by"] or f["fixmedins_code"] is None:
            continue
        returned = f["fund_fen"] // 10 if f["gross_fen"] % 3 == 0 else 0
        row = {
            "finding_id": f["finding_id"],
            "setl_id": f["setl_id"],
            "fixmedins_code": f["fixmedins_code"],
            "fund": "catastrophic" if f["gross_fen"] % 5 == 0 else "pool",
            "involved_fen": f["gross_fen"],
            "inscope_fen": f["inscope_fen"],
            "fund_line_fen": f["fund_fen"],
            "fund_resettled_fen": f["fund_fen"] * 9 // 10,
            "already_returned_fen": returned,
            "due_fen": f["fund_fen"] * 9 // 10 - returned,
        }
        rows.append(row)
        total = totals.setdefault(
            (row["fixmedins_code"], row["fund"]),
            dict.fromkeys(row, 0)
            | {"finding_id": None, "setl_id": None, "fixmedins_code": row["fixmedins_code"], "fund": row["fund"]},
        )
        for column in row:
            if column.endswith("_fen"):
                total[column] += row[column]
    return rows + list(totals.values())


def _settlement(chance: random.Random, found: list[dict]) -> list[dict]:
    rows = []
    for setl_id in sorted({f["setl_id"] for f in found}):
        total = chance.randint(2_000_000, 9_000_000)
        ours = dict.fromkeys([c for c in outputs()["settlement"] if c.endswith("_fen") and "reported" not in c], 0)
        ours |= {
            "medfee_sumamt_fen": total,
            "inscp_scp_amt_fen": total * 9 // 10,
            "hifp_pay_fen": total * 7 // 10,
            "fund_pay_sumamt_fen": total * 7 // 10,
            "psn_part_amt_fen": total - total * 7 // 10,
            "psn_cash_pay_fen": total - total * 7 // 10,
        }
        off = 1234 if chance.random() < 0.2 else 0
        reported = {
            f"reported_{name}": fen - (off if name in ("hifp_pay_fen", "fund_pay_sumamt_fen") else 0)
            for name, fen in ours.items()
        }
        rows.append(
            {
                "setl_id": setl_id,
                "psn_no": "p-1",
                "policy": "demo-city",
                **ours,
                **reported,
                "first_difference": "hifp_pay_fen" if off else None,
            }
        )
    return rows


def _checks() -> list[dict]:
    titles = [
        "数据可完整读取",
        "读入行数与申报行数一致",
        "主单总额与明细总额",
        "主单与明细单据数一致",
        "主单与明细可关联",
        "主单单据号不重复",
        "结算日期在提取范围内",
        "各月均有数据",
        "总费用无负值（退费除外）",
        "必填字段有值",
        "总费用与财务报表一致",
        "院端与医保端总额一致",
    ]
    verdicts = ["pass"] * 9 + ["fail", "not_checkable", "not_checkable"]
    rows = [
        (
            f"V{n:02d}",
            title,
            "0.02 %" if n == 3 else None,
            "≤ 0.5 %" if n == 3 else None,
            verdict,
            n * 3,
            "缺 DOSAGE_FORM 312 行" if verdict == "fail" else None,
        )
        for n, (title, verdict) in enumerate(zip(titles, verdicts, strict=True), 1)
    ]
    rows += [
        ("A1", "各支付项之和＝医疗费总额", "0", "0", "pass", 0, None),
        ("L2", "数量×单价＝金额", "3", "0", "fail", 3, "尾差"),
    ]
    return [dict(zip(outputs()["checks"], row, strict=True)) for row in rows]


def _rejects(hostile: bool) -> list[dict]:
    columns = list(outputs()["rejects"])
    rows = [
        ("SETTLE_ZY_DETAIL.csv", 18 + i * 7, "COST", "E_NUMBER", "金额无法读取", HOSTILE if hostile else "一二三")
        for i in range(6)
    ] + [("SETTLE_ZY.csv", 0, None, "E_DUP_FILE", "文件重复", None)]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _grouping(chance: random.Random, settled: list[dict]) -> list[dict]:
    rows = []
    for at, claim in enumerate(settled):
        drg = chance.choice(["LL13", "FR23", "GB25", "ET15"]) if at % 6 else None
        rows.append(
            {
                "setl_id": claim["setl_id"],
                "scheme": "chs-drg-starter",
                "mdc": f"MDC{drg[0]}" if drg else None,
                "adrg": drg[:3] if drg else None,
                "drg": drg,
                "weight": Decimal("0.73450000") if drg else None,
                "status": "grouped" if drg else "ungrouped",
                "why": "主诊断在 MDC 目录",
            }
        )
    return rows


def _payments(chance: random.Random) -> list[dict]:
    return [
        {
            "fixmedins_code": site,
            "month": month,
            "method": method,
            "cases": chance.randint(10, 90),
            "volume": Decimal("83.25000000"),
            "payable_fen": chance.randint(10**6, 10**8),
            "prepaid_fen": 10**6,
            "cleared_fen": chance.randint(10**5, 10**7),
        }
        for site in SITES[:2]
        for month in ("2025-01", "2025-02")
        for method in ("drg_rate", "item")
    ]


def _gaps() -> list[dict]:
    columns = list(outputs()["not_evaluated"])
    rows = [
        ("device-log-missing", "missing_table", "devices, service_logs", 1284, 38_112_900),
        ("off-label-payment", "value_missing", "diagnoses.diag_code", 96, 1_204_455),
        ("t01-same-code-sold-twice", "outside_coverage", "trace_codes 2025-01-01 至 2025-02-28 之外", 400, 88_000),
    ]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _manifest(hostile: bool) -> dict:
    return {
        "run_id": "7f3a9c0215be84d6",
        "version": "0.1.0",
        "profile": "flight-inspection-2024",
        "policy": "demo-city",
        "scheme": "chs-drg-starter",
        "period": {"from": "2025-01-01", "to": "2025-06-30"},
        "revealed": False,
        "inputs": [
            {
                "path": "SETTLE_ZY.csv",
                "sha256": "3f" * 32,
                "rows_in": 1204,
                "accepted": 1203,
                "rejected": 0,
                "blank": 1,
                "decisions": {"encoding": "utf-8-sig", "delimiter": ",", "line_end": "LF", "table": "SETTLE_ZY"},
            },
            {
                "path": "SETTLE_ZY_DETAIL.csv",
                "sha256": "a7" * 32,
                "rows_in": 88_412,
                "accepted": 88_406,
                "rejected": 6,
                "blank": 0,
                "decisions": {"encoding": "gb18030", "delimiter": "|@|", "line_end": "CRLF"},
            },
        ],
        "warnings": [{"file": "SETTLE_ZY_DETAIL.csv", "code": "W_FULLWIDTH", "len": 41}],
        "control_totals": {"medfee_sumamt_fen": 1_234_567_89, "findings_gross_fen": 22_436_929},
        "parameters": {"per-treatment-dialysis-billed-hourly": {"allowed": "1"}},
        "rules": {rule_id: {"version": hash_of(rule_id), "status": "active"} for rule_id in RULES},
        "knowledge": [{"file": "catalogue.csv", "sha256": "0b" * 32}],
        "files": {"findings.parquet": {"sha256": "cc" * 32, "chain": "ee" * 32}},
        "names": NAMES if hostile else {code: name for code, name in NAMES.items() if code != HOSTILE_SITE},
    }
