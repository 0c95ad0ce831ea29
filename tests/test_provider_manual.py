"""The manual of the provider side: every key is in it, every policy of it loads, every example comes out to the fen."""

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from paying import frames
from pydantic import BaseModel

from engine.reference.places import seeds_folder
from engine.settlement import provider_policy
from engine.settlement.policy import load_policy
from engine.settlement.provider import FALLBACKS, Told, case_payments, provider_payment

MANUAL = seeds_folder() / "policies" / "provider.md"
TEXT = MANUAL.read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```\n(?:(?!```yaml).)*?(?:```算例\n(.*?)```|(?=```yaml)|\Z)", TEXT, re.S)
HEAD = """\
name: manual
groups: {职工: {psn_types: [11*]}, 居民: {psn_types: [15*]}}
benefits:
  inpatient: {visit_kinds: [inpatient, day_surgery]}
provider:
"""
FIELDS = {
    "权重": "weight", "病组": "drg", "费用": "cost", "记账": "fund_pay_sumamt", "个人": "psn_part_amt",
    "等级": "hosp_lv", "自费": "fulamt_ownpay_amt", "先付": "preselfpay_amt", "范围内": "inscp_scp_amt",
    "起付": "act_pay_dedc",
    "人员": "psn_type", "机构": "fixmedins_code", "天数": "act_ipt_days", "离院": "dscg_way", "科室": "dscg_dept_codg",
    "就诊": "visit_kind", "日期": "setl_time", "入院": "begntime", "出院": "endtime", "人": "psn_no",
    "参保地": "insu_admdvs", "就医地": "mdtrtarea_admdvs",
}  # fmt: skip
MONEY = {
    "cost",
    "fund_pay_sumamt",
    "psn_part_amt",
    "fulamt_ownpay_amt",
    "preselfpay_amt",
    "inscp_scp_amt",
    "act_pay_dedc",
}
DAYS = {"setl_time", "begntime", "endtime"}


def pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


def value(field: str, text: str):
    if field in MONEY:
        return Decimal(text)
    if field in DAYS:
        return datetime.fromisoformat(text)
    return int(text) if field == "act_ipt_days" else (text or None)


def told_by(lines: list[str]) -> tuple[list[dict], list[dict], Told]:
    """Claims, what is expected of each, and the reviews."""
    rows, wanted, heard = [], [], []
    for number, line in enumerate(lines, 1):
        left, right = line.split("->")
        given = pairs(left)
        rows.append({"psn_type": "职工"} | {FIELDS[k]: value(FIELDS[k], v) for k, v in given.items() if k in FIELDS})
        if "单议" in given:
            heard.append((f"s{number:03}", date(2025, 4, 1), given["单议"], Decimal(given["核定"])))
        assert set(given) <= {*FIELDS, "单议", "核定"}, given
        wanted.append(pairs(right) | {"method": right.split()[0]})
    schema = {"setl_id": pl.String, "applied": pl.Date, "outcome": pl.String, "points": pl.Decimal(18, 8)}
    return rows, wanted, Told(reviews=pl.DataFrame(heard, schema, orient="row"))


def loaded(text: str, folder: Path):
    path = folder / "manual.yaml"
    path.write_text(HEAD + "".join(f"  {line}\n" for line in text.splitlines()), "utf-8")
    return load_policy(path)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_policy_of_the_manual_pays_its_examples_to_the_fen(number, tmp_path):
    text, example = BLOCKS[number]
    policy = loaded(text, tmp_path)
    lines = [line for line in example.splitlines() if line.strip()]
    sums = [line for line in lines if line.startswith("合计")]
    rows, wanted, told = told_by([line for line in lines if line not in sums])
    if not rows:
        return
    given = frames(rows)
    found = case_payments(*given, policy, told).sort("setl_id").to_dicts()
    for row, want in zip(found, wanted, strict=True):
        have = {
            "method": row["method"],
            "应付": row["payable_fen"],
            "标准": row["standard_fen"],
            "工作量": row["units"],
        }
        scale = {"应付": 100, "标准": 100, "工作量": 10**8}
        expected = {name: Decimal(v) * scale[name] if name in scale else v for name, v in want.items()}
        assert {name: have[name] for name in expected} == expected, row
    months = provider_payment(*given, policy, told)
    for line in sums:
        own = months.filter(pl.col("method") == line.split()[1])
        for name, want in pairs(line).items():
            column = {"应付": "payable_fen", "预付": "prepaid_fen"}[name]
            assert own[column].sum() == Decimal(want) * 100, line


def test_nearly_every_policy_of_the_manual_has_an_example():
    assert TEXT.count("```yaml") == len(BLOCKS) and TEXT.count("```算例") == sum(bool(e) for _, e in BLOCKS)
    assert sum(not example for _, example in BLOCKS) <= 1  # the advance fund asks for figures of funds, not of claims


def models() -> list[type[BaseModel]]:
    made = [m for m in vars(provider_policy).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    return [m for m in made if m.__module__ == provider_policy.__name__]


def test_every_key_of_the_provider_side_is_named_in_the_manual():
    keys = {name for model in models() for name in model.model_fields}
    assert len(keys) > 60
    assert sorted(key for key in keys if f"`{key}`" not in TEXT) == []


def test_every_method_every_form_and_every_reason_is_named_in_the_manual():
    methods = provider_policy.Method.__args__
    forms = provider_policy.Provider.model_fields["fund_form"].annotation.__args__
    assert [word for word in (*methods, *forms, *FALLBACKS) if f"`{word}`" not in TEXT] == []
