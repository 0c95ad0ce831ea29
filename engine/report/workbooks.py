"""What stands in the Excel files: summary.xlsx over everything, one workbook per institution over its own rows only."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import polars as pl

from engine.report import figures, words
from engine.report.evidence import evidence_texts
from engine.report.figures import Run
from engine.report.rules import RuleInfo
from engine.report.sheets import Column, Sheet, write_book
from engine.report.text import file_name, yuan

_ALL = "全部机构"
_BATCH = 100_000  # findings held in memory at once

OPINIONS = ["认可", "部分认可", "不认可"]
HANDLING = ["已退回", "拟退回", "申诉", "待核实"]

_AMOUNTS = [
    Column("涉及金额(元)", "gross_fen", "yuan"),
    Column("范围内金额(元)", "inscope_fen", "yuan"),
    Column("基金份额(元)", "fund_fen", "yuan"),
    Column("应追回(元)", "due_fen", "yuan"),
]
_COUNTS = [
    Column("疑点数", "cases", "count", 9),
    Column("其中明确违规", "violations", "count", 12),
    Column("结算单数", "claims", "count", 10),
    *_AMOUNTS,
]
_RULE = [Column("清单序号", "rule_number", "count", 9), Column("规则", "title", width=34)]
_RESULT = Column("性质", "result", width=10, words=words.RESULT)
_PLACE = [Column("机构编号", "fixmedins_code", width=17), Column("机构名称", "institution", width=26)]
_WHAT = [Column("项目编码", "med_list_codg", width=22), Column("项目名称", "item", width=26)]

PROBLEMS = [Column("问题类型", "family", width=18), *_RULE, _RESULT, *_COUNTS]
ITEMS = [*_RULE, _RESULT, *_WHAT, Column("超出数量", "excess_cnt", "quantity", 11), *_COUNTS]
DETAILS = [
    Column("疑点编号", "finding_id", width=20),
    *_PLACE,
    Column("问题类型", "family", width=16),
    *_RULE,
    _RESULT,
    Column("规则状态", "rule_status", width=9, words=words.STATUS),
    Column("结算单据号", "setl_id", width=20),
    Column("人员编号", "psn_no", width=16),
    Column("科室", "department"),
    Column("医师", "doctor"),
    Column("日期", "service_date", "date", 11),
    *_WHAT,
    Column("超出数量", "excess_cnt", "quantity", 10),
    *_AMOUNTS,
    Column("说明", "message", width=50),
    Column("待排除的合理解释", "innocent_open", width=28),
    Column("金额归属规则", "superseded_by", width=18),
    Column("超出行", "excess_rows", width=40),
    Column("依据行", "basis_rows", width=40),
    Column("金额口径", "amount", width=22, words=words.AMOUNT),
    Column("法规依据", "basis", width=40),
    Column("需调取", "needs", width=28),
    Column("规则编号", "rule_id", width=26),
    Column("规则版本", "rule_version", width=16),
]
FEEDBACK = [
    Column("疑点编号", "finding_id", width=20),
    *_RULE,
    Column("结算单据号", "setl_id", width=20),
    Column("日期", "service_date", "date", 11),
    *_WHAT,
    Column("应追回(元)", "due_fen", "yuan"),
    Column("说明", "message", width=50),
    Column("机构意见", allowed={"validate": "list", "source": OPINIONS}),
    Column("认可金额(元)", kind="yuan", allowed={"validate": "decimal", "criteria": ">=", "value": 0}),
    Column("理由", width=36),
    Column("佐证材料", width=28),
    Column("处理情况", allowed={"validate": "list", "source": HANDLING}),
    Column("填报人"),
    Column("填报日期", kind="date", allowed={"validate": "date", "criteria": ">=", "value": date(2000, 1, 1)}),
]
INSTITUTIONS = [*_PLACE, Column("规则数", "rules", "count", 9), *_COUNTS]
DEPARTMENTS = [*_PLACE, Column("科室", "department", width=18), Column("医师", "doctor", width=16), *_COUNTS]
CHARTS = [*_PLACE, Column("结算单据号", "setl_id", width=20), Column("规则数", "rules", "count", 9), *_COUNTS]
WAIVERS = [
    Column("豁免单", "file", width=30),
    Column("规则编号", "rule", width=28),
    Column("按何限定", "place", width=24),
    Column("起", "from", width=11),
    Column("止", "until", width=11),
    Column("理由", "reason", width=40),
    Column("责任人", "owner"),
    Column("状态", "state", width=12, words=words.WAIVER),
    Column("豁免疑点数", "findings", "count", 11),
]
LEDGERS = [
    Column("账册", "ledger", width=18, words=words.LEDGER),
    Column("期间", "period", width=10),
    Column("付款方", "payer", width=20),
    Column("收款方", "payee", width=20),
    Column("款项", "item", width=18, words=words.LEDGER_ITEM),
    Column("人员编号", "psn_no", width=20),
    Column("凭据", "ref", width=16),
    Column("笔数", "cases", "count", 9),
    Column("金额(元)", "amount_fen", "yuan"),
    Column("说明", "note", width=36),
]
NETWORKS = [
    Column("名次", "rank", "count", 7),
    Column("网络编号", "network_id", width=20),
    Column("人数", "persons", "count", 8),
    Column("首次购买人数", "first_buyers", "count", 12),
    Column("再次购买人数", "later_buyers", "count", 12),
    Column("机构数", "institutions", "count", 8),
    Column("首次售出机构数", "first_sites", "count", 13),
    Column("再次售出机构数", "resale_sites", "count", 13),
    Column("追溯码数", "codes", "count", 10),
    Column("再次售出的基金支付(元)", "suspect_fund_fen", "yuan", 20),
    Column("基金支付不详的码数", "fund_unknown_codes", "count", 16),
    Column("连线数", "edges", "count", 8),
    Column("未连：码数不足", "weak_edges", "count", 13),
    Column("未连：繁忙机构", "busy_edges", "count", 13),
    Column("首日", "first_day", "date", 11),
    Column("末日", "last_day", "date", 11),
    Column("最少码数(示例值)", "min_codes", "count", 14),
    Column("首次购买人上限(示例值)", "max_first_buyers", "count", 18),
]
NETWORK_EDGES = [
    Column("网络编号", "network_id", width=20),
    Column("人员编号", "psn_no", width=20),
    Column("机构编号", "fixmedins_code", width=17),
    Column("机构名称", "fixmedins_name", width=26),
    Column("连线", "state", width=16, words=words.EDGE),
    Column("追溯码数", "codes", "count", 10),
    Column("在此首次购买", "first_codes", "count", 12),
    Column("其首购、在此再售", "resold_codes", "count", 15),
    Column("在此再次购买", "later_codes", "count", 12),
    Column("首日", "first_day", "date", 11),
    Column("末日", "last_day", "date", 11),
]
GAPS = [
    Column("规则编号", "rule_id", width=28),
    Column("规则", "title", width=34),
    Column("原因", "reason", width=18, words=words.REASON),
    Column("所缺", "detail", width=40),
    Column("例数", "cases", "count", 10),
    Column("未判金额(元)", "amount_fen", "yuan"),
]


def write_workbooks(run: Run) -> list[Path]:
    """Write summary.xlsx and every institution's workbook; returns their paths, the summary first."""
    folder = run.out / "workbooks"
    folder.mkdir(exist_ok=True)
    return [_write_summary(run), *(path for batch in _batches(run) for path in _write_batch(run, folder, batch))]


def _write_summary(run: Run) -> Path:
    def details() -> Iterator[pl.DataFrame]:
        yield from (_details(run, pl.col("fixmedins_code").is_in(batch), everywhere=True) for batch in _batches(run))
        yield _details(run, pl.col("fixmedins_code").is_null(), everywhere=True)

    found = run.counted
    gaps = figures.not_evaluated(run).with_columns(_about(run, title=lambda rule: rule.title))
    by = {
        keys: _named(run, figures.summed(found, *keys))
        for keys in (("fixmedins_code",), ("fixmedins_code", "department", "doctor"), ("fixmedins_code", "setl_id"))
    }
    sheets = [
        *_summaries(run, found),
        Sheet("问题项目明细", DETAILS, details()),
        Sheet("反馈表", FEEDBACK, details()),
        Sheet("机构汇总", INSTITUTIONS, [by["fixmedins_code",]]),
        Sheet("科室医师汇总", DEPARTMENTS, [by["fixmedins_code", "department", "doctor"]]),
        Sheet("病案遴选", CHARTS, [by["fixmedins_code", "setl_id"].filter(pl.col("setl_id").is_not_null())]),
        Sheet("网络", NETWORKS, [run.scan("networks").sort("rank").collect()]),
        Sheet("网络连线", NETWORK_EDGES, [_edges_by_rank(run)]),
        Sheet("往来账", LEDGERS, [run.scan("ledgers").collect()]),
        Sheet("未评估", GAPS, [gaps]),
        Sheet("豁免单", WAIVERS, [_waivers(run)]),
        Sheet("已豁免", DETAILS, [_details(run, pl.lit(True), everywhere=True, waived=True)]),
    ]
    return write_book(run.out / "summary.xlsx", _notes(run, _ALL, found), sheets, _footer(run))


def _write_batch(run: Run, folder: Path, institutions: list[str]) -> Iterator[Path]:
    rows = _details(run, pl.col("fixmedins_code").is_in(institutions), everywhere=False)
    for (code,), own in rows.partition_by("fixmedins_code", as_dict=True, maintain_order=True).items():
        found = own.lazy().filter("counts")
        sheets = [*_summaries(run, found), Sheet("问题项目明细", DETAILS, [own]), Sheet("反馈表", FEEDBACK, [own])]
        notes = _notes(run, f"{run.name(code)} {code}".strip(), found)
        yield write_book(folder / f"{file_name(code)}.xlsx", notes, sheets, _footer(run))


def _summaries(run: Run, found: pl.LazyFrame) -> list[Sheet]:
    rule = ("rule_number", "title", "rule_id", "result")
    return [
        Sheet("问题汇总", PROBLEMS, [figures.summed(found, "family", *rule)]),
        Sheet("问题项目汇总", ITEMS, [_named(run, figures.summed(found, *rule, "med_list_codg"))]),
    ]


def _batches(run: Run) -> list[list[str]]:
    """The institutions in order, in groups of about _BATCH findings."""
    sizes = (
        run.findings.filter(pl.col("fixmedins_code").is_not_null() & ~pl.col("waived"))
        .group_by("fixmedins_code")
        .agg(pl.len().cast(pl.Int64).alias("cases"))
        .sort("fixmedins_code")
        .collect()
    )
    batch = (pl.col("cases").cum_sum() - pl.col("cases")) // _BATCH
    groups = sizes.with_columns(batch=batch).partition_by("batch", maintain_order=True)
    return [group["fixmedins_code"].to_list() for group in groups]


def _edges_by_rank(run: Run) -> pl.DataFrame:
    """The lines of networks, the first network first; those of no network last."""
    ranks = run.scan("networks").select("network_id", "rank")
    edges = run.scan("network_edges").join(ranks, on="network_id", how="left")
    order = ["rank", "state", "psn_no", "fixmedins_code"]
    return edges.sort(order, nulls_last=True).drop("rank").collect()


def _waivers(run: Run) -> pl.DataFrame:
    shape = {c.source: pl.Int64 if c.kind == "count" else pl.String for c in WAIVERS}
    return pl.DataFrame([[w[name] for name in shape] for w in run.waivers], shape, orient="row")


def _details(run: Run, which: pl.Expr, everywhere: bool, waived: bool = False) -> pl.DataFrame:
    """The chosen findings with all that the detail sheet says of them, by institution, the most money first."""
    rows = run.findings.filter(which & (pl.col("waived") == waived))
    told = figures.ranked(rows).collect().sort("fixmedins_code", maintain_order=True)
    for role in ("excess", "basis"):
        texts = evidence_texts(run, rows, role, everywhere)
        told = told.join(texts, on="finding_id", how="left", maintain_order="left")
    return _named(run, told).with_columns(
        _about(
            run,
            amount=lambda rule: rule.amount,
            basis=lambda rule: rule.basis,
            needs=lambda rule: "、".join(rule.needs),
        )
    )


def _named(run: Run, rows: pl.DataFrame) -> pl.DataFrame:
    names = run.manifest.get("names", {})
    columns = {"institution": "fixmedins_code", "item": "med_list_codg"}
    return rows.with_columns(_mapped(code, names).alias(name) for name, code in columns.items() if code in rows.columns)


def _about(run: Run, **texts: Callable[[RuleInfo], str]) -> list[pl.Expr]:
    """What the rule says, by rule_id."""
    return [
        _mapped("rule_id", {rule.rule_id: text(rule) for rule in run.rules.values()}).alias(name)
        for name, text in texts.items()
    ]


def _mapped(column: str, values: dict[str, str]) -> pl.Expr:
    return pl.col(column).replace_strict(list(values), list(values.values()), default=None, return_dtype=pl.String)


def _notes(run: Run, whose: str, found: pl.LazyFrame) -> list[tuple[str, str]]:
    """The sheet 说明: what this is, its exact totals and where it comes from."""
    sums, manifest, period = figures.totals(found), run.manifest, run.manifest.get("period") or {}
    return [
        ("声明", words.DISCLAIMER),
        ("范围", whose),
        ("运行编号", run.run_id),
        *([("数据期间", f"{period['from']} 至 {period['to']}")] if period else []),
        ("疑点数（计入金额）", f"{sums['cases']:,}"),
        ("其中明确违规", f"{sums['violations']:,}"),
        ("涉及金额（元，毛额）", yuan(sums["gross_fen"])),
        ("范围内金额（元，毛额）", yuan(sums["inscope_fen"])),
        ("基金份额（元，毛额）", yuan(sums["fund_fen"])),
        ("应追回（元，净额）", yuan(sums["due_fen"])),
        ("金额口径", words.AMOUNT_BASIS),
        ("毛额与净额", words.GROSS_NET),
        ("计数口径", "试运行规则的疑点列入明细，不计入汇总与金额；已豁免的另列，不计金额。"),
        *([("网络", words.NETWORK)] if whose == _ALL else []),
        ("他人信息", "含全部机构，请勿转发。" if whose == _ALL else "只列本机构疑点；涉及其他机构的证据只给出行数。"),
        ("脱敏", "未脱敏，含个人信息，请勿外传。" if run.revealed else "人员、医师等信息已假名化或遮蔽。"),
        (
            "反馈",
            "在“反馈表”浅黄各列填写，疑点编号请勿改动。"
            f"机构意见：{'、'.join(OPINIONS)}；处理情况：{'、'.join(HANDLING)}。",
        ),
        ("程序版本", str(manifest.get("version", "—"))),
        *[(f"散列值 {name}", sha) for name, sha in run.tables_hashed],
    ]


def _footer(run: Run) -> str:
    return f"{words.DISCLAIMER}  {run.run_id}"
