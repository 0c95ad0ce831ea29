"""Claims, statements and groups in short form for tests of the provider side, and what a policy pays for them."""

from datetime import datetime

import polars as pl

from engine.settlement.policy import Policy
from engine.settlement.provider import NOTHING_TOLD, Told, case_payments, provider_payment

AMOUNTS = [
    "fulamt_ownpay_amt",
    "overlmt_selfpay",
    "preselfpay_amt",
    "inscp_scp_amt",
    "act_pay_dedc",
    "fund_pay_sumamt",
    "psn_part_amt",
]
CLAIM = {
    "psn_no": None,
    "fixmedins_code": "H1",
    "psn_type": "worker",
    "visit_kind": "inpatient",
    "hosp_lv": "3",
    "insured_flag": "1",
    "insu_admdvs": None,
    "mdtrtarea_admdvs": None,
    "dscg_way": "1",
    "dscg_dept_codg": None,
    "act_ipt_days": None,
    "begntime": datetime(2025, 3, 1),
    "endtime": datetime(2025, 3, 5),
    "setl_time": datetime(2025, 3, 5),
    "refd_setl_flag": "0",
    "init_setl_id": None,
}
_KINDS = {"begntime": pl.Datetime("us"), "endtime": pl.Datetime("us"), "setl_time": pl.Datetime("us"),
          "act_ipt_days": pl.Int32}  # fmt: skip
GROUP = {"drg": "G", "weight": None, "mean_fen": None}


def since(value, day: str = "2025-01-01") -> dict:
    return {day: {"value": value}}


def policy(**provider) -> Policy:
    return Policy.model_validate(
        {
            "name": "p",
            "groups": {"worker": {}, "resident": {}},
            "benefits": {
                "inpatient": {"visit_kinds": ["inpatient"]},
                "general": {"visit_kinds": ["general_outpatient"]},
            },
            "provider": provider,
        }
    )


def by_points(rules: dict | None = None, pools: dict | None = None, **more) -> Policy:
    """All inpatient stays by DRG points at 100 yuan a point, 100 points a weight, unless said otherwise."""
    return policy(
        methods=since([{"method": "drg_points", "benefits": ["inpatient"]}], "2020-01-01"),
        by_case={"drg_points": {"scale": since("100", "2020-01-01")} | (rules or {})},
        pools=pools or {"all": {"point_value": since("100", "2020-01-01")}},
        **more,
    )


def frames(rows: list[dict]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """settlement, claims and grouping; amounts in yuan; `cost` is the in-policy amount where none is given."""
    full = [CLAIM | GROUP | {"setl_id": f"s{n:03}"} | row for n, row in enumerate(rows, 1)]
    claims = pl.DataFrame(
        [{k: row[k] for k in ("setl_id", *CLAIM)} for row in full],
        schema={"setl_id": pl.String} | {k: _KINDS.get(k, pl.String) for k in CLAIM},
    )
    settlement = pl.DataFrame(
        [
            {"setl_id": row["setl_id"], "first_difference": row.get("first_difference")}
            | {f"{a}_fen": round(row.get(a, row.get("cost", 0) if a == "inscp_scp_amt" else 0) * 100) for a in AMOUNTS}
            for row in full
        ],
        schema={"setl_id": pl.String, "first_difference": pl.String} | {f"{a}_fen": pl.Int64 for a in AMOUNTS},
    )
    grouping = pl.DataFrame(
        [{k: row[k] for k in ("setl_id", *GROUP)} for row in full],
        {"setl_id": pl.String, "drg": pl.String, "weight": pl.String, "mean_fen": pl.Int64},
    ).with_columns(pl.col("weight").cast(pl.Decimal(12, 8)))
    return settlement, claims, grouping


def paid_cases(rows: list[dict], by: Policy, told: Told = NOTHING_TOLD) -> list[dict]:
    """What case_payments says of each claim, in the order given."""
    return case_payments(*frames(rows), by, told).sort("setl_id").to_dicts()


def paid_months(rows: list[dict], by: Policy, told: Told = NOTHING_TOLD) -> list[dict]:
    return provider_payment(*frames(rows), by, told).to_dicts()
