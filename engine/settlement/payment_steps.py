"""Why an institution is paid what it is paid for a case: its payment step by step, each a named column.

Nothing is computed here a second time: the steps are those of case_payments, in units people read (points and weights
with eight decimals, yuan of a point with eight, fen), with the parameters that were used.
"""

import polars as pl

from engine.settlement.dated import UNITS
from engine.settlement.policy import Policy
from engine.settlement.provider import FALLBACKS, NOTHING_TOLD, Told, case_payments
from engine.tables.values import rounded

_BIG = pl.Int128
STEPS = {
    "setl_id": "结算ID",
    "fixmedins_code": "定点医药机构编号",
    "month": "清算月份",
    "asked": "政策规定的支付方式",
    "method": "实际支付方式",
    "fallback": "改按项目付费的原因",
    "group": "病组",
    "days": "住院天数",
    "weight": "权重",
    "base": "基准点数(权重 x scale, 含中医病组调整)",
    "coefficient": "机构系数",
    "coefficient_from": "系数来源",
    "ordinary": "普通病例点数(基准点数 x 系数)",
    "cost_fen": "医疗费用",
    "mean_fen": "病组次均(或本例支付标准)",
    "mean_from": "次均来源",
    "times": "费用 ÷ 次均",
    "bound": "高倍率界值",
    "step": "病例类别",
    "deviation": "偏离调整(调整后点数 ÷ 普通病例点数)",
    "stepped": "调整后点数",
    "kept": "再入院保留(%)",
    "review": "特例单议",
    "volume": "计入的点数、权重或天数",
    "pool": "资金池",
    "period": "点值期间",
    "price": "每点(或每权重)金额, 元",
    "standard_fen": "支付标准",
    "fulamt_ownpay_amt_fen": "全自费",
    "overlmt_selfpay_fen": "超限价自费",
    "preselfpay_amt_fen": "先行自付",
    "act_pay_dedc_fen": "起付线",
    "psn_part_amt_fen": "个人负担",
    "fund_form": "基金支付口径",
    "charged_fen": "结算单记账",
    "payable_fen": "基金应付",
    "against_charged_fen": "应付与记账之差",
}
_IN_UNITS = ("weight", "base", "coefficient", "ordinary", "bound", "stepped", "price")


def payment_steps(
    settlement: pl.DataFrame,
    claims: pl.DataFrame,
    grouping: pl.DataFrame | None,
    policy: Policy,
    told: Told = NOTHING_TOLD,
    lines: pl.DataFrame | None = None,
    *,
    claim: str | None = None,
    institution: str | None = None,
    month: str | None = None,
) -> pl.DataFrame:
    """One row per case asked for, with the columns of STEPS, whose values are their names in Chinese; by setl_id.

    The first six are those of provider_payment, and must hold all claims: a point of a budget, a readmission and a
    quota depend on the others. claim: one setl_id; institution, month (YYYY-MM): only these. Money is Int64 fen,
    points, weights, coefficients and prices are Decimal(38, 8), kept is percent, Decimal(38, 2). What a method does not
    ask is null. Claims that are wholly self-paid have no row.
    """
    paid = case_payments(settlement, claims, grouping, policy, told, lines=lines)
    wanted = {"setl_id": claim, "fixmedins_code": institution, "month": month}
    paid = paid.filter(pl.lit(True), *(pl.col(name) == value for name, value in wanted.items() if value is not None))
    cost, mean = pl.col("cost_fen").cast(_BIG) * UNITS, pl.col("mean_fen").cast(_BIG)
    paid = paid.with_columns(
        times=_decimal(rounded(cost, mean)),
        deviation=_decimal(rounded(pl.col("stepped").cast(_BIG) * UNITS, pl.col("ordinary").cast(_BIG))),
        volume=_decimal(pl.col("units")),
        kept=_decimal(pl.col("kept"), 2),
        fund_form=pl.when(pl.col("method") != "item").then(pl.lit(policy.provider.fund_form)),
        against_charged_fen=pl.col("payable_fen") - pl.col("charged_fen"),
        **{name: _decimal(pl.col(name)) for name in _IN_UNITS},
    )
    return paid.select(*STEPS).sort("setl_id")


def why_by_item(reason: str) -> str:
    """The words for a value of `fallback`."""
    return FALLBACKS[reason]


def _decimal(whole: pl.Expr, places: int = 8) -> pl.Expr:
    """Whole units of 1e-8 (or of another place) as a decimal, exactly."""
    return whole.cast(_BIG).reinterpret(dtype=pl.Decimal(38, places))
