"""The person side: what every insurance layer, the account and the person pay of each claim, to the fen.

Statements depend on each other: what a claim is paid depends on what the person used up earlier in the year. They are
computed in rounds over the k-th claim of every person at once, so that a round is a few array operations and the whole
is linear in the claims. A refund takes every amount of the claim it names negative, and thereby puts back all that
claim used up; claims settled in between are not computed again.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import polars as pl

from engine.settlement.accounts import accounts_of
from engine.settlement.conditions import by_care_place, named_benefit, of_item_classes, withheld
from engine.settlement.kinds import kinds_of
from engine.settlement.layers import Steps, statement
from engine.settlement.lines import AMOUNTS, classify
from engine.settlement.money import NO_LIMIT, check_range
from engine.settlement.policy import Policy
from engine.settlement.sequence import Sequence, chains, in_sequence
from engine.settlement.standing import CLAIM, Known, Standing, standing, waits
from engine.settlement.state import Before, Rows, Used
from engine.settlement.terms import terms
from engine.tables.dictionary import with_fields
from engine.tables.problems import InvariantBroken
from engine.tables.visits import with_place, with_visit_kind

PARTS = ["fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt"]
LAYERS = ["hifp_pay", "hifob_pay", "hifmi_pay", "hifes_pay", "cvlserv_pay", "maf_pay", "oth_pay"]
SHARES = ["acct_pay", "acct_mulaid_pay", "psn_cash_pay"]
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

_LONGEST_STAY = 3_660  # days that a ceiling by the day is multiplied by
NOT_COVERED, ORIGINAL_MISSING = "policy", "init_setl_id"
_NEEDED = [
    "setl_id",
    "psn_no",
    "psn_type",
    "visit_kind",
    "med_type",
    "adm_kind",
    "hosp_lv",
    "insured_flag",
    "local_flag",
    "setl_time",
    "endtime",
    "begntime",
    "refd_setl_flag",
    "init_setl_id",
    "act_ipt_days",
    *CLAIM,
    *STEPS,
]


def settle(
    claims: pl.DataFrame,
    lines: pl.DataFrame,
    policy: Policy,
    catalogue: pl.DataFrame | None = None,
    account_openings: pl.DataFrame | None = None,
    known: Known | None = None,
) -> pl.DataFrame:
    """settlement.parquet of all claims of some persons, in order of setl_id.

    claims, lines: the canonical tables, with all claims of each person. A claim without any line is settled by its own
    reported classification, so to settle again without a line give it a count of zero instead of dropping it.
    catalogue: the knowledge table. account_openings: psn_no, year, acct_balc; a year without one carries on what is
    left of the last. known: the tables of standing.TABLES by name, as far as they are given.
    first_difference is null where nothing was reported or nothing differs, `policy` where the policy has no rule for
    the claim (the person then pays all), `init_setl_id` where a refund names no settled claim here (what it reports
    stands).
    Raises InvariantBroken when a statement does not add up, InputProblem when an amount is out of range.
    """
    return statements(settle_steps(claims, lines, policy, catalogue, account_openings, known, all_steps=False), policy)


def statements(steps: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """settlement.parquet out of the steps."""
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
    known: Known | None = None,
    all_steps: bool = True,
) -> pl.DataFrame:
    """As settle, with every intermediate step beside the amounts, for whoever explains a statement.

    Beside STEPS: year, k (its place in the person's sequence), group, benefit, covered, status (why nothing is paid:
    policy, enrolment, waiting, accident; null where it was computed), deductible_due, pool_entitled, pool_room,
    year_room, account_room, and of every layer behind the pool its `…_base` and `…_paid`. all_steps: else only
    what the columns of settle and the books of accounts are made of.
    """
    paid = {*STEPS, *(f"{name}_paid" for name in policy.behind_the_pool())}
    wanted = None if all_steps else lambda name: name in paid or name.startswith("mulaid_")
    return _settled(claims, lines, policy, catalogue, account_openings, known or {}, wanted)


Wanted = Callable[[str], bool] | None  # which steps are kept beside the amounts, by name; all when None


def _settled(claims: pl.DataFrame, lines: pl.DataFrame, policy: Policy, catalogue: pl.DataFrame | None,
             openings: pl.DataFrame | None, known: Known, wanted: Wanted) -> pl.DataFrame:  # fmt: skip
    """The statements with the steps that are wanted beside the amounts of the contract, or all."""
    places = with_fields(known["institutions"], "institutions") if "institutions" in known else None
    claims = with_fields(claims, "claims", *_NEEDED).select(_NEEDED)
    if claims["visit_kind"].null_count():
        claims = with_visit_kind(claims.lazy()).collect()
    claims = with_place(claims, places)
    claims = claims if claims["setl_id"].is_sorted() else claims.sort("setl_id")
    seq = in_sequence(claims, policy, known.get("persons"))
    named = named_benefit(claims, lines, policy)
    stands = standing(claims, seq.day, policy, known, named)
    further = [*stands.kinds, *([] if named is None else [named])]
    kinds, kind = kinds_of(claims, further, seq.day, policy)
    rule = terms(kinds, policy)
    status = _status(seq, stands, rule, kind)
    classified = _classified(claims, withheld(lines, claims, policy, known), catalogue)
    amounts = _with_line_sums(claims, classified)
    amounts = amounts.hstack(_of_classes(claims, classified, policy, rule.benefit[kind]))
    if hasattr(rule, "pool_by_months"):
        months = seq.day.astype("datetime64[M]").astype(np.int64) % 12
        amounts = amounts.with_columns(month=pl.Series((months - int(policy.year_begins[:2]) + 1) % 12 + 1))
    if hasattr(rule, "second_by_day"):
        amounts = amounts.with_columns(days=claims["act_ipt_days"].fill_null(1).clip(0, _LONGEST_STAY).cast(pl.Int64))
    pays = (rule.pays[kind] & status.is_null().to_numpy() & ~seq.orphan).astype(np.int64)
    steps = _in_rounds(
        amounts, seq, policy, rule, kind, pays, stands, openings, wanted, _chain(claims, seq, rule, kind)
    )
    frame = claims.select(
        "setl_id",
        "psn_no",
        pl.Series("year", seq.year),
        pl.Series("k", seq.k),
        pl.Series("refund", seq.refund),
        pl.Series("orphan", seq.orphan),
        (pl.col("insured_flag") != "0").fill_null(True).alias("insured"),
        *(pl.col(name).alias(f"reported_{name}") for name in STEPS),
        *(pl.Series(name, values) for name, values in steps.items()),
        pl.Series("covered", rule.covered[kind]),
        status.alias("status"),
        *_named(policy, rule, kind),
    )
    frame = _orphans_as_reported(frame).with_columns(_totals(policy)).with_columns(_remainder())
    check_identities(frame)
    return frame.with_columns(_first_difference(frame))


def _chain(claims: pl.DataFrame, seq: Sequence, rule: SimpleNamespace, kind: np.ndarray) -> np.ndarray | None:
    """The chain of stays each claim belongs to, where some benefit lets a stay continue another."""
    if not hasattr(rule, "continues_within_days"):
        return None
    begin = pl.coalesce("begntime", "setl_time").dt.date()
    days = claims.select(begin=begin, end=pl.coalesce("endtime", "begntime", "setl_time").dt.date())
    days = days.with_columns(pl.all().fill_null(pl.date(1, 1, 1)))
    within = rule.continues_within_days[kind]
    stay = (rule.per_admission[kind] == 1) & (within < NO_LIMIT) & ~seq.refund
    return chains(seq.person, days["begin"].to_numpy(), days["end"].to_numpy(), within, stay)


def _named(policy: Policy, rule: SimpleNamespace, kind: np.ndarray) -> list[pl.Series]:
    """The person group and the benefit under which each claim was settled; null for none."""
    given = {"group": (rule.group, policy.groups), "benefit": (rule.benefit, policy.benefits)}
    return [
        pl.Series(what, np.where(number >= 0, number, len(names))[kind]).replace_strict(
            range(len(names)), list(names), default=None, return_dtype=pl.String
        )
        for what, (number, names) in given.items()
    ]


def _status(seq: Sequence, stands: Standing, rule: SimpleNamespace, kind: np.ndarray) -> pl.Series:
    """Why nothing is paid of a claim, the first reason that holds; null where its statement is computed."""
    newborn = np.zeros(len(kind), bool)
    if hasattr(rule, "newborn_days"):
        newborn = (stands.newborn_days <= pl.Series(rule.newborn_days[kind])).fill_null(False).to_numpy()
    reasons = {
        NOT_COVERED: ~rule.covered[kind],
        "enrolment": ~stands.enrolled & ~newborn,
        "waiting": waits(stands, seq.day, rule, kind),
        "accident": stands.held,
    }
    status = pl.Series([None] * len(kind), dtype=pl.String)
    for reason, holds in reversed(reasons.items()):
        if holds.any():
            status = status.set(pl.Series(holds), reason)
    return status


OF_LINES = ["total", "own", "over_limit", "first", "scope"]
OF_CLAIM = ["medfee_sumamt", *PARTS]


def _classified(claims: pl.DataFrame, lines: pl.DataFrame, catalogue: pl.DataFrame | None) -> pl.DataFrame:
    """Of each fee line its claim, item and AMOUNTS, by the catalogue of the place of care."""
    columns = ["setl_id", "med_list_codg", *AMOUNTS]
    if lines.is_empty():
        return pl.DataFrame(schema={name: pl.Int64 if name in AMOUNTS else pl.String for name in columns})
    parts = by_care_place(lines, claims, catalogue)
    return pl.concat([classify(rows, listed).select(columns) for rows, listed in parts])


def _of_classes(claims: pl.DataFrame, done: pl.DataFrame, policy: Policy, benefit: np.ndarray) -> pl.DataFrame:
    """Of each claim `class_0`, `class_1` …: the in-policy cost of the item classes of its benefit, in their order."""
    found = of_item_classes(policy)
    most = max((len(classes) for classes in found), default=0)
    if not most:
        return pl.DataFrame()
    rows = done.join(claims.select("setl_id", _benefit=pl.Series(benefit)), on="setl_id")
    answer = claims.select("setl_id")
    for n in range(most):
        of = [pl.col("_benefit") == number for number, classes in enumerate(found) if n < len(classes)]
        listed = [classes[n] for classes in found if n < len(classes)]
        here = pl.any_horizontal(a & b for a, b in zip(of, listed, strict=True))
        sums = rows.filter(here).group_by("setl_id").agg(pl.col("inscp_scp_amt").sum().alias(f"class_{n}"))
        answer = answer.join(sums, on="setl_id", how="left", maintain_order="left")
    return answer.drop("setl_id").fill_null(0)


def _with_line_sums(claims: pl.DataFrame, done: pl.DataFrame) -> pl.DataFrame:
    """Of each claim `total, own, over_limit, first, scope`, the sums of its lines with their sign, else as reported."""
    reported = claims.select(_as_reported())
    if done.height:
        sums = done.group_by("setl_id").agg(pl.col(AMOUNTS).sum())
        check_range(sums, AMOUNTS, "setl_id")
        sums = sums.rename({amount: f"{name}_" for amount, name in zip(AMOUNTS, OF_LINES, strict=True)})
        joined = reported.hstack(claims.select("setl_id")).join(sums, on="setl_id", how="left", maintain_order="left")
        reported = joined.select(pl.coalesce(f"{name}_", name).alias(name) for name in OF_LINES)
    outside = (claims["insured_flag"] == "0").fill_null(False)
    if not outside.any():
        return reported
    return reported.with_columns(
        pl.when(outside).then("total" if name == "own" else 0).otherwise(name).alias(name) for name in OF_LINES[1:]
    )


def _as_reported() -> list[pl.Expr]:
    """The classification of a claim without lines: as reported, what is not said to be in scope is own pay."""
    total, over, first = (pl.col(c).fill_null(0) for c in ("medfee_sumamt", "overlmt_selfpay", "preselfpay_amt"))
    scope = pl.coalesce("inscp_scp_amt", total - over - first - pl.col("fulamt_ownpay_amt"), pl.lit(0))
    reported = [total, total - over - first - scope, over, first, scope]
    return [value.alias(name) for name, value in zip(OF_LINES, reported, strict=True)]


def _in_rounds(amounts: pl.DataFrame, seq: Sequence, policy: Policy, rule: SimpleNamespace, kind: np.ndarray,
               pays: np.ndarray, stands: Standing, openings: pl.DataFrame | None,
               wanted: Wanted, chain: np.ndarray | None) -> Steps:  # fmt: skip
    """Every step of every claim, in the order of the claims: round by round, each person's state moved in between."""
    order, seq, kind = seq.order, seq.moved(), kind[seq.order]
    accounts = accounts_of(seq, openings, policy.shared_account)
    own = {name: amounts[name].to_numpy()[order] for name in OF_LINES}
    classes = {name: amounts[name].to_numpy()[order] for name in amounts.columns if name not in own}
    zero_years = stands.zero_years[order] if stands.zero_years.shape[1] else stands.zero_years
    by_claim = {
        **own,
        **classes,
        "pays": pays[order],
        "account": accounts.balance[accounts.own],
        "zero_years": zero_years,
    }
    if chain is not None:
        by_claim["chain"] = chain = chain[order]
    used = Used(seq, policy, rule, kind, accounts, zero_years.shape[1], chain)
    layers, by_kind, together = policy.layers(), vars(rule), policy.together()
    result = dict(zip(OF_CLAIM, (values.copy() for values in own.values()), strict=True))

    def steps_of(rows: np.ndarray, before: Before) -> Steps:
        return statement(Rows(by_claim, by_kind, rows, kind[rows], together), before, layers)

    def work(rows: np.ndarray) -> None:
        before = used.before(rows)
        now, of = steps_of(rows, before), seq.original[rows]
        refunds = np.flatnonzero(of >= 0)
        for name, values in now.items():
            values[refunds] = -result[name][of[refunds]]
            result[name][rows] = values
        for name in OF_CLAIM:
            result[name][rows[refunds]] = -result[name][of[refunds]]
        used.add(before, now)

    nobody = np.zeros(0, np.int64)
    result |= {name: np.zeros(len(kind), np.int64) for name in steps_of(nobody, used.before(nobody))}
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # blocks of a round touch neither each other's rows nor cells
        for blocks in seq.rounds():
            if len(blocks) > 1:
                list(threads.map(work, blocks))
            elif blocks:
                work(blocks[0])
        kept = [name for name in result if wanted is None or wanted(name)]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return dict(zip(kept, threads.map(lambda name: result[name].take(back), kept), strict=True))


def _orphans_as_reported(frame: pl.DataFrame) -> pl.DataFrame:
    """A refund of a claim that is not here cannot be computed: what it says fund and account took back stands."""
    said = {"hifp_pay": ["reported_fund_pay_sumamt", "reported_hifp_pay"], "acct_pay": ["reported_acct_pay"]}
    if not frame["orphan"].any():
        return frame
    return frame.with_columns(
        pl.when("orphan").then(pl.coalesce(*columns, pl.lit(0))).otherwise(name).alias(name)
        for name, columns in said.items()
    )


_BASIC = {"pool": "hifp_pay", "large_amount": "hifob_pay", "shared_account": "acct_mulaid_pay"}


def _totals(policy: Policy) -> list[pl.Expr]:
    """The columns of the contract from the layers that pay into them; those that no layer here pays; and the sum."""
    into: dict[str, list[str]] = {name: [] for name in LAYERS} | {"acct_mulaid_pay": [], "hosp_part_amt": []}
    for layer in policy.layers():
        if layer in _BASIC:
            into[_BASIC[layer]].append(_BASIC[layer])
    for name, payer in policy.behind_the_pool().items():
        into[payer.column].append(f"{name}_paid")
    sums = {name: pl.sum_horizontal(paid) if paid else pl.lit(0, pl.Int64) for name, paid in into.items()}
    fund = [step for name in LAYERS for step in into[name]]
    return [*(value.alias(name) for name, value in sums.items()), pl.sum_horizontal(fund).alias("fund_pay_sumamt")]


def _remainder() -> list[pl.Expr]:
    """What no fund pays is the person's, and what the accounts do not pay is cash."""
    person = pl.col("medfee_sumamt") - pl.col("fund_pay_sumamt") - pl.col("hosp_part_amt")
    cash = person - pl.col("acct_pay") - pl.col("acct_mulaid_pay")
    return [person.alias("psn_part_amt"), cash.alias("psn_cash_pay")]


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


def _first_difference(frame: pl.DataFrame) -> pl.Expr:
    """Why, or at which step first, a statement is not the reported one."""
    said = [name for name in STEPS if frame[f"reported_{name}"].null_count() < frame.height]
    differs = [pl.when(pl.col(f"reported_{name}") != pl.col(name)).then(pl.lit(name)) for name in said]
    return pl.coalesce(
        pl.when("orphan").then(pl.lit(ORIGINAL_MISSING)),
        pl.when(pl.col("insured") & ~pl.col("covered") & ~pl.col("refund")).then(pl.lit(NOT_COVERED)),
        *differs,
    ).alias("first_difference")
