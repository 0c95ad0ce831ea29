"""The arithmetic of one finding in sentences: the rows in evidence, the units cut, and the money row by row.

Every printed quotient is the one the audit made, half-up to the fen; the printed parts add up to the finding's own
amounts, and where they did not the explanation would be refused.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from engine.audit.codes import code_fault
from engine.report import words
from engine.report.readings import conditions, value_said, with_values
from engine.report.text import yuan
from engine.tables.dictionary import tables
from engine.tables.problems import InvariantBroken

_ROWS = 40  # told one by one; the others are summed up
MONEY = {"gross_fen": "涉及金额", "inscope_fen": "范围内金额", "fund_fen": "基金份额"}
CODE_SCOPES = ("code_site", "code", "fee_line_codes", "lot", "lot_book", "burst", "buyer", "reseller")


def number(value: Decimal | None) -> str:
    """A quantity without trailing zeros."""
    return "不详" if value is None else f"{value.normalize():f}"


def row_said(row: dict) -> str:
    """费用明细 F123"""
    label = tables()[row["table"]].label if row["table"] in tables() else row["table"]
    return f"{label} {row['row_key']}"


def evidence(case) -> list[str]:
    """The rows in evidence with what they say; a fee line whose sales are told is not told again."""
    rows = [r for r in case.amounts if case.finding["scope"] not in CODE_SCOPES or r["time"] is not None]
    said = [f"{at}. {words.ROLE[row['role']]}：{_row(case, row)}。" for at, row in enumerate(rows[:_ROWS], 1)]
    return said + ([f"另有 {len(rows) - _ROWS} 行，见 amounts.parquet。"] if len(rows) > _ROWS else [])


def _row(case, row: dict) -> str:
    code = " ".join(text for text in (row["med_list_codg"], row["name"]) if text)
    code += f"（{why}）" if row["table"] == "trace_codes" and (why := _unusable(row["name"])) else ""
    known = [row_said(row), code, f"{row['time']:%Y-%m-%d %H:%M}" if row["time"] else ""]
    known += [f"结算单 {row['setl_id']}"] * (row["setl_id"] not in (None, case.finding["setl_id"], row["row_key"]))
    known += [f"机构 {row['fixmedins_code']}"] * (row["fixmedins_code"] not in (None, case.finding["fixmedins_code"]))
    known += [f"单价 {number(row['price'])}"] * (row["price"] is not None)
    known += [f"数量 {number(row['billed_cnt'])}"] * (row["billed_cnt"] is not None)
    known += [f"金额 {yuan(row['cost_fen'])} 元"] * (row["cost_fen"] is not None)
    known += [f"其中超出 {number(row['cut_cnt'])}"] * (row["cut_cnt"] is not None)
    return "，".join(text for text in known if text)


def _unusable(code: str | None) -> str | None:
    return pl.DataFrame({"code": [code]}, {"code": pl.String}).select(code_fault(pl.col("code"))).item()


def excess(case) -> list[str]:
    """How many units (or how much money) are too much, and from which rows they were cut."""
    said, parts = [], case.of("excess")
    if parts:
        text, total = parts[0]["name"], value_said(parts[0])
        worked = with_values(text, parts[1:])
        unit = " 元" if _amount(case) == "difference" else ""
        said.append(f"超出 = {text}" + (f" = {worked}" if worked != text else "") + f" = {total}{unit}。")
        known = {row["name"] for row in case.of("when")}
        said += conditions([{**row, "level": 0} for row in parts[1:] if row["level"] == 1 and row["name"] not in known])
    cut = [row for row in case.amounts if row["cut_cnt"] is not None]
    if not cut or _amount(case) not in ("units", "gap", "lines"):
        return said
    if _amount(case) == "units" and case.finding["scope"] not in CODE_SCOPES:
        said.append(f"超出的数量{words.CUT[case.of('amount')[0]['value']]}：")
    counted = [f"{row_said(row)} 计 {number(row['billed_cnt'])}，截 {number(row['cut_cnt'])}。" for row in cut[:_ROWS]
               if row["billed_cnt"] is not None]  # fmt: skip
    return said + [f"  {line}" for line in counted]


def _amount(case) -> str:
    return case.of("amount")[0]["name"]


def money(case) -> list[str]:
    """Row by row what is involved, in scope and the fund's share, and that they add up to the finding."""
    rows = [row for row in case.amounts if row["gross_fen"] is not None or row["fund_fen"] is not None]
    amount = "code" if case.finding["scope"] in CODE_SCOPES else _amount(case)
    if amount == "none":
        return ["本规则只作提示，不计金额。"]
    if rows and rows[0]["table"] == "store_items":
        amount = f"store_{amount}"
    said = [HOW[amount]]
    tell = TOLD[amount](case, rows)
    said += [f"  {row_said(row)}：{tell(row)}。" for row in rows[:_ROWS]]
    if rest := rows[_ROWS:]:
        said.append(f"  其余 {len(rest)} 行合计：{_listed({n: _sum(rest, n) for n in MONEY})}。")
    sums = {name: _sum(rows, name) for name in MONEY}
    recorded = {name: case.finding[name] for name in MONEY}
    if sums != recorded:
        raise InvariantBroken(f"各行相加 {_listed(sums)}，疑点所记 {_listed(recorded)}", case.finding["finding_id"])
    return [*said, f"各行相加：{_listed(sums)}，与疑点所记一致。"]


def _sum(rows: list[dict], name: str) -> int:
    return sum(row[name] or 0 for row in rows)


def _listed(sums: dict[str, int]) -> str:
    return "，".join(f"{label} {yuan(sums[name])} 元" for name, label in MONEY.items())


def _by_units(case, rows: list[dict]) -> Callable[[dict], str]:
    def tell(row: dict) -> str:
        part = f"× {number(row['cut_cnt'])} ÷ {number(row['billed_cnt'])}"
        return (
            f"涉及金额 {yuan(row['cost_fen'])} {part} = {yuan(row['gross_fen'])}；"
            f"范围内金额 {yuan(row['cost_inscope_fen'])} {part} = {yuan(row['inscope_fen'])}；{_fund(row)}"
        )

    return tell


def _fund(row: dict) -> str:
    if not row["claim_inscope_fen"]:
        return f"结算单范围内金额为 0，基金份额 {yuan(row['fund_fen'])}"
    ratio = f"{yuan(row['claim_fund_fen'])} ÷ {yuan(row['claim_inscope_fen'])}"
    return f"基金份额 {yuan(row['inscope_fen'])} × {ratio} = {yuan(row['fund_fen'])}"


def _by_difference(case, rows: list[dict]) -> Callable[[dict], str]:
    """The difference is spread by cost; what rounding leaves over stands with the last row."""
    difference = _fen(Decimal(case.of("excess")[0]["value"]) * 100)
    costs = _sum(rows, "cost_fen")

    def tell(row: dict) -> str:
        spread = _fen(Decimal(difference) * row["cost_fen"] / costs) if costs else 0
        spare = f"，加尾差 {yuan(row['gross_fen'] - spread)} = {yuan(row['gross_fen'])}" * (spread != row["gross_fen"])
        return (
            f"涉及金额 {yuan(difference)} × {yuan(row['cost_fen'])} ÷ {yuan(costs)} = {yuan(spread)}{spare}；"
            f"范围内金额 {yuan(row['cost_inscope_fen'])} × {yuan(row['gross_fen'])} ÷ {yuan(row['cost_fen'])} = "
            f"{yuan(row['inscope_fen'])}；{_fund(row)}"
        )

    return tell


def _fen(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def _by_claim(case, rows: list[dict]) -> Callable[[dict], str]:
    return lambda row: _listed(row)


def _by_gap(case, rows: list[dict]) -> Callable[[dict], str]:
    def tell(row: dict) -> str:
        part = f"× {case.of('excess')[0]['value']} ÷ {number(row['billed_cnt'])}"
        whole = {"gross_fen": "cost_fen", "inscope_fen": "cost_inscope_fen", "fund_fen": "line_fund_fen"}
        return "；".join(f"{MONEY[n]} {yuan(row[c])} {part} = {yuan(row[n])}" for n, c in whole.items())

    return tell


def _by_code(case, rows: list[dict]) -> Callable[[dict], str]:
    def tell(row: dict) -> str:
        if row["gross_fen"] is None:
            return f"没有对应的费用明细，涉及金额不详，计 0；基金份额 {yuan(row['fund_fen'] or 0)}"
        billed = number(row["billed_cnt"])
        gross = f"涉及金额 {yuan(row['cost_fen'])} × {number(row['cut_cnt'])} ÷ {billed} = {yuan(row['gross_fen'])}"
        if row["line_fund_fen"] is None:
            return f"{gross}；该行基金支付不详，基金份额计 {yuan(row['fund_fen'] or 0)}"
        part = f"{yuan(row['line_fund_fen'])} × {number(row['fund_cnt'])} ÷ {billed}"
        return f"{gross}；基金份额 {part} = {yuan(row['fund_fen'] or 0)}"

    return tell


_LINES = (
    "逐行计算，每步四舍五入到分，单位元：涉及金额、范围内金额按超出数量占该行数量的比例，"
    "基金份额＝范围内金额 × 结算单基金支付 ÷ 结算单范围内金额。"
)
_SPREAD = (
    "价款之差按各行金额分摊，每步四舍五入到分，单位元：范围内金额按该行范围内的比例，"
    "基金份额＝范围内金额 × 结算单基金支付 ÷ 结算单范围内金额。"
)
HOW = {
    "units": _LINES, "lines": _LINES, "difference": _SPREAD,
    "claim": "整张结算单计入。", "later_visit": "后一次就诊的整张结算单计入。",
    "record": "该条记录的金额与基金支付计入。",
    "regroup": "带与不带存疑的编码各分组、各支付一次，基金应付之差记在第一个编码上；不能入组或不按病组付费的不计金额。",
    "store_gap": "缺口按售出数量折算，四舍五入到分，单位元；基金份额按售出各行的基金份额之和折算。",
    "store_difference": "价款之差全部计入涉及金额；范围内金额与基金份额由售出各行分别折算后相加。",
    "code": "逐次销售计算，每步四舍五入到分，单位元：按该次销售的数量占费用明细数量的比例；范围内金额按涉及金额计。",
}  # fmt: skip
TOLD = {
    "units": _by_units, "lines": _by_units, "difference": _by_difference, "claim": _by_claim,
    "later_visit": _by_claim, "record": _by_claim, "regroup": _by_claim, "store_gap": _by_gap,
    "store_difference": _by_claim, "code": _by_code,
}  # fmt: skip
