"""What the institution is paid for one claim, step by step, asked of a finished run and the input it had."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl

from engine.report.text import yuan
from engine.report.words import METHOD
from engine.run import payable
from engine.run.region import Region
from engine.settlement.payment_steps import STEPS, payment_steps, why_by_item
from engine.settlement.provider_cases import STATEMENT

FORMS = {
    "difference": "支付标准 − 个人负担",
    "ratio": "(支付标准 − 自费 − 超限价 − 先行自付 − 起付线) × 基金占比",
    "share": "支付标准 × 基金分担比例",
}
WORDS = {
    "ordinary": "普通病例", "low": "费用极低", "early": "提前出院", "high": "费用极高", "by_cost": "按费用",
    "days": "按床日", "fixed": "定额", "over_quota": "超出名额", "outlier": "费用异常", "place": "机构或等级",
    "by_item": "按项目", "adjust": "调整点数", "refuse": "不予",
}  # fmt: skip
_ABOUT = ("setl_id", "fixmedins_code", "month", "asked", "method", "fallback", "fund_form", "charged_fen",
          "payable_fen", "against_charged_fen")  # fmt: skip


def payment_of(out: Path, tables: dict[str, pl.LazyFrame], region: Region, setl_id: str) -> dict | None:
    """payment_steps of a claim; None where it is wholly self-paid, and so paid by nobody else.

    out: a run with settlement and grouping; tables: the canonical ones of its input, all claims among them, because a
    budget, a readmission and a quota depend on the others.
    """
    made = (pl.scan_parquet(out / f"{name}.parquet") for name in ("settlement", "grouping"))
    steps = payment_steps(*payable.given(tables, region, *made), claim=setl_id)
    return steps.row(0, named=True) if steps.height else None


def told(steps: dict | None) -> list[str]:
    """The payment in sentences; none where there is none."""
    return [] if steps is None else list(_sentences(steps))


def _sentences(steps: dict) -> Iterator[str]:
    asked, method = (METHOD.get(steps[name], steps[name]) for name in ("asked", "method"))
    yield f"机构 {steps['fixmedins_code']}，{steps['month']} 清算；支付方式 {method}。"
    if steps["fallback"]:
        yield f"政策规定{asked}，改按项目：{why_by_item(steps['fallback'])}。"
    if steps["method"] != "item":
        worked = {name: value for name, value in steps.items() if name not in _ABOUT and value is not None}
        for which in (False, True):  # how the volume came about, then the money of the statement
            parts = [f"{STEPS[name]} {_said(name, value)}" for name, value in worked.items()
                     if (name in STATEMENT) == which]  # fmt: skip
            yield "；".join(parts) + "。"
        yield f"基金应付 {yuan(steps['payable_fen'])}（{FORMS[steps['fund_form']]}）。"
        yield f"结算单记账 {yuan(steps['charged_fen'])}，应付与记账之差 {yuan(steps['against_charged_fen'])}。"
    else:
        yield f"基金应付 {yuan(steps['payable_fen'])}，即结算单记账。"


def _said(name: str, value) -> str:
    if name.endswith("_fen"):
        return yuan(value)
    return f"{value.normalize():f}" if isinstance(value, Decimal) else WORDS.get(value, str(value))
