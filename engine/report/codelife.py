"""The lives of the codes behind one finding in lines of text, for a terminal: in Chinese or in English."""

import polars as pl

from engine.report import words
from engine.report.charts import way_said
from engine.report.figures import Run

_CODES, _EVENTS = 5, 24  # told of a finding, and of each code; the others are counted
_ENGLISH = {
    "purchase": "bought", "stocktake": "in stock", "sale": "sold", "return": "returned", "void": "voided",
    "supplied": "", "stands": "", "excess": "in excess", "retold": "told again", "netted": "returned later",
    "back": "", "cancelled": "settlement reversed", "settlement": "settlement", "sales_ledger": "stock ledger",
}  # fmt: skip
_CHINESE = words.EVENT | words.EVENT_STATE | words.CHANNEL | {"supplied": "", "stands": "", "back": ""}


def history_of(run: Run, finding_id: str) -> list[dict]:
    """The rows of code_history of a finding, accused codes first; none where the run told none."""
    rows = run.scan("code_history").filter(pl.col("finding_id") == finding_id)
    accused = (pl.col("accused") | (pl.col("state") == "excess")).any().over("code")
    return rows.sort(~accused, "code", "seq").collect().to_dicts()


def lives_told(rows: list[dict], run: Run, english: bool = False) -> list[str]:
    """One line per code and one per event of it: when, what became of it, where, who, how far and long after the one
    before, lot and expiry, settlement. Persons are named as the run names them, by pseudonyms unless it revealed them.
    """
    said = []
    codes = list(dict.fromkeys(row["code"] for row in rows))
    for code in codes[:_CODES]:
        life = [row for row in rows if row["code"] == code]
        of = len(life) + life[0]["events_left_out"]
        said.append(f"code {code}: {of} events" if english else f"追溯码 {code}，共 {of} 个事件：")
        said += [f"  {_event(row, run, english)}" for row in life[:_EVENTS]]
        said += [f"  {_rest(of - _EVENTS, 'events', '个事件', english)}"] * (of > _EVENTS)
    left_out = len(codes[_CODES:]) + (rows[0]["codes_left_out"] if rows else 0)
    return said + [_rest(left_out, "codes", "个追溯码", english)] * (left_out > 0)


def _rest(many: int, of: str, of_chinese: str, english: bool) -> str:
    where = "code_history.parquet"
    return f"{many} more {of} in {where}" if english else f"另有 {many} {of_chinese}，见 {where}。"


def _event(row: dict, run: Run, english: bool) -> str:
    word = _ENGLISH if english else _CHINESE
    what = " ".join(filter(None, (word[row["kind"]], word[row["state"]] and f"({word[row['state']]})")))
    person, claim, lot, until, marked = (
        ("person", "claim", "lot", "valid to", "← this finding") if english
        else ("人员", "结算单", "批号", "有效至", "← 本疑点所指")
    )  # fmt: skip
    if row["psn_no"] and not run.revealed:
        person += " (pseudonym)" if english else "（化名）"
    parts = [
        f"{row['time']:%Y-%m-%d %H:%M}",
        what,
        " ".join(filter(None, (row["fixmedins_name"], row["fixmedins_code"]))),
        way_said(row, english),
        row["psn_no"] and f"{person} {row['psn_no']}",
        row["setl_id"] and f"{claim} {row['setl_id']}",
        row["manu_lotnum"] and f"{lot} {row['manu_lotnum']}",
        row["expy_end"] and f"{until} {row['expy_end']}",
        row["source"] and word[row["source"]],
        row["accused"] and marked,
    ]
    return (" | " if english else "，").join(part for part in parts if part)
