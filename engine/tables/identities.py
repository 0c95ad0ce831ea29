"""Arithmetic identities between the amounts of a claim (A) and of its lines (L), as the platform states them.

Amounts are whole fen; each comparison allows one fen, a sum of n amounts n fen.
"""

from dataclasses import dataclass

import polars as pl

from engine.tables.values import rounded


@dataclass(frozen=True)
class Identity:
    """`broken` is true on a row that breaks it; rows where a needed field is blank are left out.

    `optional` fields count as 0 where blank or absent. Sources: interface 5203/5204 notes (A1 to A3), derived (others).
    """

    id: str
    title: str
    table: str
    needed: str
    broken: pl.Expr
    optional: str = ""
    tolerance: str = "0.01"


C = pl.col
REFUND = C("refd_setl_flag").eq_missing("1")
OTHER_FUNDS = "hifob_pay hifmi_pay hifes_pay cvlserv_pay maf_pay oth_pay"
PARTS = "fulamt_ownpay_amt overlmt_selfpay preselfpay_amt inscp_scp_amt"
AMOUNTS = f"{PARTS} fund_pay_sumamt acct_pay psn_cash_pay hosp_part_amt"
AMOUNT = C("det_item_fee_sumamt").cast(pl.Int128)
LINE_PARTS = "fulamt_ownpay_amt overlmt_amt preselfpay_amt inscp_scp_amt"
CEILED = AMOUNT - C("overlmt_amt")
FIRST_PAY = CEILED - C("inscp_scp_amt")
SHARE = C("selfpay_prop").reinterpret(dtype=pl.Int128)  # ten-thousandths
COUNT, PRICE = C("cnt").reinterpret(dtype=pl.Int128), C("pric").reinterpret(dtype=pl.Int128)  # 1e-4, 1e-6
CEILING = C("pric_uplmt_amt").reinterpret(dtype=pl.Int128)
OVER = pl.when(PRICE > CEILING).then(PRICE - CEILING).otherwise(0)
ONE_FEN = pl.lit(10**9, pl.Int128)
FEN = 10**8  # cnt x pric comes in 1e-10 yuan


def _differ(left: pl.Expr, right: pl.Expr, fen: int = 1) -> pl.Expr:
    return (left - right).abs() > fen


IDENTITIES = (
    Identity("A1", "总额 = 基金支付 + 个人负担 + 医院负担", "claims", "medfee_sumamt fund_pay_sumamt psn_part_amt",
             _differ(C("medfee_sumamt"), C("fund_pay_sumamt") + C("psn_part_amt") + C("hosp_part_amt"), 3),
             "hosp_part_amt"),
    Identity("A2", "基金支付 = 统筹及各项补充之和", "claims", "fund_pay_sumamt hifp_pay",
             _differ(C("fund_pay_sumamt"), C("hifp_pay") + sum(C(f) for f in OTHER_FUNDS.split()), 7), OTHER_FUNDS),
    Identity("A3", "个账支出 ≥ 其中共济 ≥ 0", "claims", "acct_pay acct_mulaid_pay",
             ~REFUND & ((C("acct_pay") < C("acct_mulaid_pay")) | (C("acct_mulaid_pay") < 0)), "refd_setl_flag"),
    Identity("A4", "个人负担 = 个账 + 现金", "claims", "psn_part_amt acct_pay psn_cash_pay",
             _differ(C("psn_part_amt"), C("acct_pay") + C("psn_cash_pay"), 2)),
    Identity("A5", "总额 = 全自费 + 超限价 + 先行自付 + 符合范围", "claims",
             "medfee_sumamt fulamt_ownpay_amt overlmt_selfpay preselfpay_amt inscp_scp_amt",
             _differ(C("medfee_sumamt"), sum(C(f) for f in PARTS.split()), 4)),
    Identity("A7", "实际支付起付线 ≤ 符合范围金额", "claims", "act_pay_dedc inscp_scp_amt",
             ~REFUND & (C("act_pay_dedc") > C("inscp_scp_amt")), "refd_setl_flag", "0"),
    Identity("A8", "退费单以外各项金额不为负", "claims", "medfee_sumamt",
             ~REFUND & pl.any_horizontal(C(f) < 0 for f in ("medfee_sumamt", *AMOUNTS.split())),
             f"refd_setl_flag {AMOUNTS}", "0"),
    Identity("L1", "金额 = 单价 × 数量", "fee_lines", "det_item_fee_sumamt cnt pric",
             (AMOUNT - rounded(COUNT * PRICE, FEN)).abs() * 10**9 > pl.max_horizontal(ONE_FEN, COUNT.abs() * 5),
             tolerance="0.01 或 数量×5e-7"),
    Identity("L2", "金额 = 全自费 + 超限价 + 先行自付 + 符合范围", "fee_lines",
             f"det_item_fee_sumamt {LINE_PARTS}",
             _differ(C("det_item_fee_sumamt"), sum(C(f) for f in LINE_PARTS.split()), 4)),
    Identity("L3", "甲类无先行自付，乙类先行自付合比例，丙类不入范围", "fee_lines",
             "det_item_fee_sumamt chrgitm_lv selfpay_prop inscp_scp_amt",
             pl.when(C("chrgitm_lv") == "03").then(C("inscp_scp_amt") != 0)
             .when(C("chrgitm_lv") == "02").then(_differ(FIRST_PAY, rounded(CEILED * SHARE, 10**4)))
             .otherwise((SHARE != 0) | _differ(FIRST_PAY, pl.lit(0))),
             "overlmt_amt"),
    Identity("L4", "超限价 = (单价 − 上限) × 数量", "fee_lines", "overlmt_amt pric pric_uplmt_amt cnt",
             (CEILING > 0) & _differ(C("overlmt_amt").cast(pl.Int128), rounded(OVER * COUNT, FEN))),
)  # fmt: skip

LINE_SUMS = {
    "det_item_fee_sumamt": "medfee_sumamt",
    "fulamt_ownpay_amt": "fulamt_ownpay_amt",
    "overlmt_amt": "overlmt_selfpay",
    "preselfpay_amt": "preselfpay_amt",
    "inscp_scp_amt": "inscp_scp_amt",
}


def identity_rows(tables: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    """One row per identity: check_id, title, value, tolerance, verdict, rows that break it, detail."""
    rows = [_checked(i, tables.get(i.table)) for i in IDENTITIES] + [_line_sums(tables)]
    order = ["check_id", "title", "value", "tolerance", "verdict", "rows", "detail"]
    return pl.DataFrame(rows, schema=order, orient="row", strict=False).sort("check_id")


def _checked(identity: Identity, frame: pl.LazyFrame | None) -> tuple:
    have = frame.collect_schema().names() if frame is not None else []
    missing = [f for f in identity.needed.split() if f not in have]
    if missing:
        return identity.id, identity.title, None, identity.tolerance, "not_checkable", None, f"缺 {'、'.join(missing)}"
    for field in identity.optional.split():
        text = field == "refd_setl_flag"
        blank = pl.lit(None, pl.String) if text else pl.lit(0, pl.Int64)
        frame = frame.with_columns(
            (C(field) if text else C(field).fill_null(0)) if field in have else blank.alias(field)
        )
    complete = frame.filter(pl.all_horizontal(C(f).is_not_null() for f in identity.needed.split()))
    total, broken = complete.select(pl.len().alias("n"), identity.broken.sum().alias("b")).collect().row(0)
    if not total:
        return identity.id, identity.title, None, identity.tolerance, "not_checkable", 0, "没有可核对的行"
    verdict = "fail" if broken else "pass"
    return identity.id, identity.title, f"{total} 行中 {broken} 行不符", identity.tolerance, verdict, int(broken), None


def _line_sums(tables: dict[str, pl.LazyFrame]) -> tuple:
    title, tolerance = "明细合计 = 结算单各项金额", "0.01 × 明细行数"
    claims, lines = tables.get("claims"), tables.get("fee_lines")
    if claims is None or lines is None:
        return "L5", title, None, tolerance, "not_checkable", None, "缺结算单或明细"
    of_claims, of_lines = claims.collect_schema().names(), lines.collect_schema().names()
    pairs = {line: claim for line, claim in LINE_SUMS.items() if line in of_lines and claim in of_claims}
    sums = lines.group_by("setl_id").agg(
        pl.len().cast(pl.Int64).alias("_n"), *(C(f).sum().alias(f"_{f}") for f in pairs)
    )
    both = claims.join(sums, on="setl_id", how="inner")
    wrong = [both.select(((C(c) - C(f"_{f}")).abs() > C("_n")).sum()).collect().item() for f, c in pairs.items()]
    detail = "；".join(f"{c} {n} 单" for c, n in zip(pairs.values(), wrong, strict=True) if n)
    total = both.select(pl.len()).collect().item()
    return "L5", title, f"{total} 单", tolerance, "fail" if sum(wrong) else "pass", int(sum(wrong)), detail or None
