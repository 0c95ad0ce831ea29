"""医保与医药企业直接结算: the fund pays a supplier for procured drugs and consumables and takes it off the hospital.

Nothing is created or lost: what suppliers get is what hospitals get less, month by month. A month in which a hospital
is due less than its deliveries leaves it owing; that shows as a negative payment and is not hidden.
"""

import polars as pl

DELIVERIES = {
    "fixmedins_code": pl.String,
    "month": pl.String,  # of settlement, YYYY-MM
    "supplier": pl.String,
    "amount": pl.Int64,  # fen, accepted deliveries less returns
}


def offsets(deliveries: pl.DataFrame) -> pl.DataFrame:
    """fixmedins_code, month, payable_fen: what is taken off each hospital, below zero."""
    own = deliveries.select(*DELIVERIES).cast(DELIVERIES).group_by("fixmedins_code", "month")
    return own.agg(payable_fen=-pl.col("amount").sum()).filter(pl.col("payable_fen") != 0)


def supplier_payments(deliveries: pl.DataFrame) -> pl.DataFrame:
    """supplier, month, paid_fen, in that order."""
    own = deliveries.select(*DELIVERIES).cast(DELIVERIES).group_by("supplier", "month")
    return own.agg(paid_fen=pl.col("amount").sum()).sort("supplier", "month")
