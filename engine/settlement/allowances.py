"""Payments that are no share of a bill: the maternity allowance, and long-term care by the unit.

生育津贴 = 用人单位上年度职工月平均工资 ÷ 30 × 产假天数 (社会保险法第五十六条), with the variants a policy may say.
长期护理保险 = min(unit limit, actual) x ratio x units, of so many units a month. Amounts are fen, rounded half-up once.
"""

import numpy as np
import polars as pl

from engine.settlement.clauses import Maternity
from engine.settlement.dated import value_on
from engine.settlement.money import NO_LIMIT, PERCENT, half_up
from engine.settlement.policy import Policy
from engine.tables.dictionary import with_fields

_MINUTES = 60


def leave_days(policy: Maternity, day, difficult: np.ndarray, babies: np.ndarray) -> np.ndarray:
    """产假天数 of births on one day: base and local, more for a difficult birth and for each baby beyond the first."""
    clauses = policy.leave, policy.leave_local, policy.leave_difficult, policy.leave_further_baby
    base, local, hard, further = (value_on(clause, day) for clause in clauses)
    return base + local + hard * np.asarray(difficult, np.int64) + further * np.maximum(np.asarray(babies) - 1, 0)


def maternity_allowance(policy: Maternity, day, wage: np.ndarray, leave: np.ndarray) -> np.ndarray:
    """The allowance of births on one day. wage: the unit's average monthly wage of last year, in fen; leave: days."""
    months, days = value_on(policy.months, day), value_on(policy.days, day)
    return half_up(np.asarray(wage, np.int64) * months * np.asarray(leave, np.int64), days)


def employer_tops_up(allowance: np.ndarray, own_wage: np.ndarray) -> np.ndarray:
    """What the employer adds where the allowance is below the person's own wage for the leave; both in fen."""
    return np.maximum(np.asarray(own_wage, np.int64) - allowance, 0)


def care_payment(cost: np.ndarray, units: np.ndarray, per: int, limit: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """The fund's share of care: of the cost no more than the limit of its units, times the ratio.

    units: as whole numbers of which `per` make one unit (minutes of an hour, or 1); ratio in hundredths of a percent.
    """
    allowed = np.minimum(np.asarray(cost, np.int64) * per, np.asarray(limit, np.int64) * np.asarray(units, np.int64))
    return half_up(allowed * ratio, per * PERCENT)


def care_payments(visits: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """visit_id, units_paid and fund_fen of every visit of long-term care, in order of visit_id.

    visits: ltc_visits. A visit whose service the policy does not know is paid nothing, units_paid null. Units are
    whole minutes of an hour or whole visits; those of a month count in order of time, then visit_id.
    """
    visits = with_fields(visits, "ltc_visits").sort("visit_id")
    known = {code: n for n, s in enumerate(policy.long_term_care.values()) for code in s.service_codes}
    known |= {name: n for n, name in enumerate(policy.long_term_care)}
    minutes = (pl.col("endtime") - pl.col("begntime")).dt.total_minutes().clip(0).fill_null(0)
    rows = visits.select(
        "visit_id", "psn_no", "begntime", service=pl.col("service_code").replace_strict(known, default=None),
        day=pl.col("begntime").dt.date(), minutes=minutes, cost=pl.col("det_item_fee_sumamt").fill_null(0),
    )  # fmt: skip
    parts = [rows.filter(pl.col("service").is_null()).select("visit_id", units_paid=None, fund_fen=0)]
    for number, service in enumerate(policy.long_term_care.values()):
        per = _MINUTES if service.unit == "hour" else 1
        own = rows.filter(pl.col("service") == number).sort("begntime", "visit_id")
        own = own.with_columns(units="minutes" if per > 1 else pl.lit(1, pl.Int64))
        upto = pl.col("units").cum_sum().over("psn_no", pl.col("day").dt.truncate("1mo"))
        most = [value_on(service.units_a_month, day, NO_LIMIT // per) * per for day in own["day"]]
        room = pl.max_horizontal(pl.Series(most, dtype=pl.Int64) - (upto - pl.col("units")), pl.lit(0))
        own = own.with_columns(units_paid=pl.min_horizontal("units", room))
        terms = ([value_on(clause, day) for day in own["day"]] for clause in (service.limit, service.ratio))
        limit, ratio = (np.array(values, np.int64) for values in terms)
        paid = care_payment(own["cost"].to_numpy(), own["units_paid"].to_numpy(), per, limit, ratio)
        parts.append(own.select("visit_id", "units_paid", fund_fen=pl.Series(paid)))
    types = {"visit_id": pl.String, "units_paid": pl.Int64, "fund_fen": pl.Int64}
    return pl.concat([part.cast(types) for part in parts]).sort("visit_id")
