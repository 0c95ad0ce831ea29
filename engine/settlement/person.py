"""The person side: what every insurance layer, the account and the person pay of each claim, to the fen.

Statements depend on each other: what a claim is paid depends on what the person used up earlier in the year. They are
computed in rounds over the k-th claim of every person at once, so that a round is a few array operations and the whole
is linear in the claims. A refund takes every amount of the claim it names negative, and thereby puts back all that
claim used up; claims settled in between are not computed again.
"""

from types import SimpleNamespace

import numpy as np
import polars as pl

from engine.settlement.layers import statement
from engine.settlement.lines import AMOUNTS, classify
from engine.settlement.money import check_range
from engine.settlement.policy import Policy
from engine.settlement.sequence import in_order, originals, rounds, state_cells, with_account
from engine.settlement.terms import terms
from engine.tables.dictionary import with_fields
from engine.tables.problems import InvariantBroken

# the state: what is accumulated, from which step, and for what; every cell belongs to one person
STATE = {
    "admissions": ("admissions", "year"),
    "dedc": ("act_pay_dedc", "year_benefit"),
    "pool": ("hifp_pay", "year_benefit"),
    "hifp": ("hifp_pay", "year"),
    "hifob": ("hifob_pay", "year"),
    "borne": ("catastrophic_base", "year"),
    "hifmi": ("hifmi_pay", "year"),
    "acct": ("acct_pay", "opening"),
}

PARTS = ["fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt"]
LAYERS = ["hifp_pay", "hifob_pay", "hifmi_pay", "hifes_pay", "cvlserv_pay", "maf_pay", "oth_pay"]
SHARES = ["acct_pay", "psn_cash_pay"]
# the statement in the order in which it is computed; first_difference is the first of these that differs
STEPS = [
    "medfee_sumamt",
    *PARTS,
    "act_pay_dedc",
    *LAYERS,
    "fund_pay_sumamt",
    "psn_part_amt",
    "acct_pay",
    "acct_mulaid_pay",
    "psn_cash_pay",
    "hosp_part_amt",
]
# A1, A2, A4, A5 of the national settlement list: the left side is the sum of the right
IDENTITIES = {
    "A5": ("medfee_sumamt", PARTS),
    "A2": ("fund_pay_sumamt", LAYERS),
    "A4": ("psn_part_amt", SHARES),
    "A1": ("medfee_sumamt", ["fund_pay_sumamt", "psn_part_amt", "hosp_part_amt"]),
}

NOT_COVERED, ORIGINAL_MISSING = "policy", "init_setl_id"
_NEEDED = [
    "setl_id",
    "psn_no",
    "psn_type",
    "visit_kind",
    "hosp_lv",
    "insured_flag",
    "local_flag",
    "setl_time",
    "endtime",
    "begntime",
    "refd_setl_flag",
    "init_setl_id",
    *STEPS,
]


def settle(
    claims: pl.DataFrame,
    lines: pl.DataFrame,
    policy: Policy,
    catalogue: pl.DataFrame | None = None,
    account_openings: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """settlement.parquet of all claims of some persons, in order of setl_id.

    claims, lines: the canonical tables, with all claims of each person. A claim without any line is settled by its own
    reported classification, so to settle again without a line give it a count of zero instead of dropping it.
    catalogue: the knowledge table. account_openings: psn_no, year, acct_balc; a year without one carries on what is
    left of the last.
    first_difference is null where nothing was reported or nothing differs, `policy` where the policy has no rule for
    the claim (the person then pays all), `init_setl_id` where a refund names no settled claim here (what it reports
    stands).
    Raises InvariantBroken when a statement does not add up, InputProblem when an amount is out of range.
    """
    steps = settle_steps(claims, lines, policy, catalogue, account_openings)
    return steps.select(
        "setl_id",
        "psn_no",
        pl.lit(policy.name).alias("policy"),
        *(pl.col(name).alias(f"{name}_fen") for name in STEPS),
        *(pl.col(f"reported_{name}").alias(f"reported_{name}_fen") for name in STEPS),
        "first_difference",
    )


def settle_steps(
    claims: pl.DataFrame,
    lines: pl.DataFrame,
    policy: Policy,
    catalogue: pl.DataFrame | None = None,
    account_openings: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """As settle, with every intermediate step beside the amounts, for whoever explains a statement.

    Beside STEPS: year, k (its place in the person's sequence), covered, deductible_due, pool_entitled, pool_room,
    year_room, account_room, catastrophic_base.
    """
    ordered = with_account(in_order(with_fields(claims, "claims", *_NEEDED), policy), account_openings)
    ordered = _with_line_sums(ordered, lines, catalogue)
    rule = terms(ordered, policy)
    steps = _in_rounds(ordered, rule)
    frame = (
        ordered.select(
            "setl_id",
            "psn_no",
            "year",
            "k",
            "refund",
            "orphan",
            (pl.col("insured_flag") != "0").fill_null(True).alias("insured"),
            *(pl.col(name).alias(f"reported_{name}") for name in STEPS),
        )
        .with_columns([pl.Series(name, values) for name, values in steps.items()])
        .with_columns(pl.Series("covered", rule.covered))
    )
    frame = _orphans_as_reported(frame).with_columns(_totals()).with_columns(_remainder())
    check_identities(frame)
    return frame.with_columns(_first_difference()).sort("setl_id")


def _with_line_sums(claims: pl.DataFrame, lines: pl.DataFrame, catalogue: pl.DataFrame | None) -> pl.DataFrame:
    """The claims with `total, own, over_limit, first, scope`, the sums of their lines with their sign."""
    sums = classify(lines, catalogue).group_by("setl_id").agg(pl.col(AMOUNTS).sum())
    check_range(sums, AMOUNTS, "setl_id")
    joined = claims.join(
        sums.rename(dict(zip(AMOUNTS, _OF_LINES, strict=True))), on="setl_id", how="left", maintain_order="left"
    )
    return joined.with_columns(_as_reported()).with_columns(_nothing_in_scope_when_uninsured())


_OF_LINES = ["total", "own", "over_limit", "first", "scope"]


def _as_reported() -> list[pl.Expr]:
    """The classification of a claim without lines: as reported, what is not said to be in scope is own pay."""
    total, over, first = (pl.col(c).fill_null(0) for c in ("medfee_sumamt", "overlmt_selfpay", "preselfpay_amt"))
    scope = pl.coalesce("inscp_scp_amt", total - over - first - pl.col("fulamt_ownpay_amt"), pl.lit(0))
    reported = [total, total - over - first - scope, over, first, scope]
    return [
        pl.when(pl.col("total").is_null()).then(value).otherwise(name).alias(name)
        for name, value in zip(_OF_LINES, reported, strict=True)
    ]


def _nothing_in_scope_when_uninsured() -> list[pl.Expr]:
    outside = (pl.col("insured_flag") == "0").fill_null(False)
    return [
        pl.when(outside).then("total" if name == "own" else 0).otherwise(name).alias(name) for name in _OF_LINES[1:]
    ]


def _in_rounds(ordered: pl.DataFrame, rule: SimpleNamespace) -> dict[str, np.ndarray]:
    """Every step of every claim, in the order of the frame: round by round, each person's state moved in between."""
    c = SimpleNamespace(**vars(rule), **{name: ordered[name].to_numpy() for name in [*_OF_LINES, "account"]})
    c.pays = rule.pays & ~ordered["orphan"].to_numpy()
    c.original = originals(ordered)
    cells = state_cells(ordered, rule.benefit, c.original)
    used = {name: np.zeros(cells[cell].max(initial=0) + 1, np.int64) for name, (_, cell) in STATE.items()}
    result: dict[str, np.ndarray] = {}
    for now in rounds(ordered["k"].to_numpy()):
        row = SimpleNamespace(**{name: values[now] for name, values in vars(c).items()})
        year = SimpleNamespace(**{name: used[name][cells[cell][now]] for name, (_, cell) in STATE.items()})
        parts = dict(zip(["medfee_sumamt", *PARTS], (getattr(row, name) for name in _OF_LINES), strict=True))
        for name, values in (parts | statement(row, year)).items():
            step = result.setdefault(name, np.zeros(len(c.original), np.int64))
            step[now] = np.where(row.original >= 0, -step[row.original], values)
        for name, (step, cell) in STATE.items():
            used[name][cells[cell][now]] += result[step][now]  # a person has one claim in a round
    return result


def _orphans_as_reported(frame: pl.DataFrame) -> pl.DataFrame:
    """A refund of a claim that is not here cannot be computed: what it says fund and account took back stands."""
    said = {"hifp_pay": ["reported_fund_pay_sumamt", "reported_hifp_pay"], "acct_pay": ["reported_acct_pay"]}
    return frame.with_columns(
        pl.when("orphan").then(pl.coalesce(*columns, pl.lit(0))).otherwise(name).alias(name)
        for name, columns in said.items()
    )


def _totals() -> list[pl.Expr]:
    """The layers that no policy here pays, and the sum of all."""
    unpaid = ["hifes_pay", "cvlserv_pay", "maf_pay", "oth_pay", "acct_mulaid_pay", "hosp_part_amt"]
    fund = pl.sum_horizontal("hifp_pay", "hifob_pay", "hifmi_pay")
    return [*(pl.lit(0, pl.Int64).alias(name) for name in unpaid), fund.alias("fund_pay_sumamt")]


def _remainder() -> list[pl.Expr]:
    """What no fund pays is the person's, and what the account does not pay is cash."""
    person = pl.col("medfee_sumamt") - pl.col("fund_pay_sumamt") - pl.col("hosp_part_amt")
    return [person.alias("psn_part_amt"), (person - pl.col("acct_pay")).alias("psn_cash_pay")]


def check_identities(frame: pl.DataFrame) -> None:
    """Every statement adds up to the fen, and no share of one has the wrong sign. Raises InvariantBroken."""
    wrong = [(pl.col(total) != pl.sum_horizontal(parts)).alias(name) for name, (total, parts) in IDENTITIES.items()]
    signed = ~pl.col("refund") & (pl.col("medfee_sumamt") >= 0) & pl.all_horizontal(pl.col(PARTS) >= 0)
    negative = pl.any_horizontal(pl.col([*LAYERS, *SHARES]) < 0)
    beyond = pl.col("act_pay_dedc") > pl.col("inscp_scp_amt")
    checked = frame.select("setl_id", *wrong, (signed & negative).alias("A8"), (signed & beyond).alias("A7"))
    broken = checked.filter(pl.any_horizontal(pl.exclude("setl_id")))
    if broken.height:
        first = broken.sort("setl_id").row(0, named=True)
        rules = ", ".join(name for name, value in first.items() if value is True)
        raise InvariantBroken(f"{broken.height} 份结算不平, 例如 {first['setl_id']} 违反 {rules}", "settlement")


def _first_difference() -> pl.Expr:
    """Why, or at which step first, a statement is not the reported one."""
    differs = [pl.when(pl.col(f"reported_{name}") != pl.col(name)).then(pl.lit(name)) for name in STEPS]
    return pl.coalesce(
        pl.when("orphan").then(pl.lit(ORIGINAL_MISSING)),
        pl.when(pl.col("insured") & ~pl.col("covered") & ~pl.col("refund")).then(pl.lit(NOT_COVERED)),
        *differs,
    ).alias("first_difference")
