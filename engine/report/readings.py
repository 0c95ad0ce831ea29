"""The values a finding's rule read, as an auditor reads them: each condition with what it was made of."""

import re


def value_said(row: dict) -> str:
    """A value as a reader writes it."""
    value = row["value"]
    if value is None:
        return "缺失"
    if row["kind"] in ("bool", "param") and value in ("true", "false"):
        return {"true": "是", "false": "否"}[value]
    return value.removesuffix(" 00:00:00").replace("|", "、") or "空白"


def conditions(rows: list[dict]) -> list[str]:
    """Each condition with the values read, and indented below it what it is made of."""
    said, number = [], 0
    for row in rows:
        number += row["level"] == 0
        mark = f"{number}. " if row["level"] == 0 else f"{'   ' * row['level']}· "
        said.append(f"  {mark}{_spoken(row, rows)}")
    return said


def _spoken(row: dict, rows: list[dict]) -> str:
    if row["kind"] == "definition":
        return f"{row['name']} 指：{row['words']}"
    if row["kind"] != "bool" or re.fullmatch(r"\w+\.\w+", row["name"]):
        return f"{row['name']} = {value_said(row)}（{row['words']}）"
    held = {"true": "成立", "false": "不成立"}.get(row["value"], "无从判断")
    return f"{with_values(row['name'], rows, beside=True)}：{held}（{row['words']}）"


def with_values(text: str, rows: list[dict], beside: bool = False) -> str:
    """An expression with the values of what it is made of in place of their names, or beside them."""
    values = {r["name"]: value_said(r) for r in rows if r["kind"] not in ("definition", "bool") and r["name"] != text}
    if not values:
        return text
    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    found = re.compile(rf"(?<![\w.$])(?:{names})(?![\w.])")
    return found.sub(lambda m: f"{m[0]} = {values[m[0]]}" if beside else values[m[0]], text)
