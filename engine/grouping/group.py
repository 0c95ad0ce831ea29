"""Groups inpatient stays by a scheme: MDC, ADRG, DRG, weight, status, and why.

Strings are met once, when codes become numbers; the stays are then judged in parts, several at a time.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from engine.grouping import stays as stays_of
from engine.grouping.care import counted
from engine.grouping.judge import Judged, Meaning
from engine.grouping.scheme import Scheme
from engine.grouping.stays import Stays
from engine.grouping.why import explain

UNGROUPED = ("0000", "00", "0000", "ungrouped")
INVALID = (None, None, None, "invalid")
PART = 250_000  # stays judged at a time by one thread; memory beyond the input grows with this and not with the stays
RECORDS = 1_000_000  # records whose codes become numbers at a time


def group(
    claims: pl.DataFrame, diagnoses: pl.DataFrame, procedures: pl.DataFrame, scheme: Scheme, why: bool = True
) -> pl.DataFrame:
    """One row per claim in the order of the claims, with the columns of grouping.parquet.

    `claims`, `diagnoses`, `procedures` are canonical frames. Columns: setl_id, scheme, mdc, adrg, drg, weight
    Decimal(12,8) (null where the scheme gives none), status, why in Chinese (null when not asked for). Status is
    grouped; ambiguous (adrg QY); ungrouped (0000, 00, 0000); invalid (null: sex, age or diagnosis is missing).
    """
    stays = stays_of.from_tables(claims, diagnoses, procedures, scheme.book)
    return _group(stays, scheme, why).select(claims["setl_id"], pl.all())


def coding(claims: pl.DataFrame, diagnoses: pl.DataFrame, procedures: pl.DataFrame, scheme: Scheme) -> pl.DataFrame:
    """How many stays have a remark of each check of their coding: see engine.grouping.care.counted."""
    return counted(stays_of.from_tables(claims, diagnoses, procedures, scheme.book), scheme.book)


def group_records(frame: pl.DataFrame, scheme: Scheme, why: bool = True) -> pl.DataFrame:
    """As `group`, without setl_id, for one frame with sex, age, age_days, weight and the code lists dx and proc."""
    parts = [frame.slice(start, RECORDS) for start in range(0, max(len(frame), 1), RECORDS)]
    return pl.concat([_group(stays_of.from_lists(part, scheme.book), scheme, why) for part in parts])


def _group(stays: Stays, scheme: Scheme, why: bool) -> pl.DataFrame:
    meaning, ends = Meaning(scheme, stays), _ends(scheme)
    meaning.prepare(why)  # before the threads, which would each work it out
    starts = range(0, max(len(stays), 1), PART)

    def judged(start: int) -> pl.DataFrame:
        found = Judged(stays.part(start, min(start + PART, len(stays))), meaning)
        text = explain(found) if why else pl.lit(None, pl.String).alias("why")
        return ends[found.end.astype(np.uint32)].with_columns(text)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        result = pl.concat(list(threads.map(judged, starts)), rechunk=True)
    return result.select(pl.lit(scheme.name).alias("scheme"), "mdc", "adrg", "drg", "weight", "status", "why")


def _ends(scheme: Scheme) -> pl.DataFrame:
    """What to write for each DRG, counted through all outcomes, then for ungrouped, then for invalid."""
    ends = [
        (outcome.mdc, outcome.adrg, drg, "ambiguous" if outcome.kind == "ambiguous" else "grouped")
        for outcome in scheme.outcomes
        for drg, _ in outcome.drgs
    ]
    columns = dict.fromkeys(("mdc", "adrg", "drg", "status"), pl.String)
    table = pl.DataFrame([*ends, UNGROUPED, INVALID], schema=columns, orient="row")
    return table.join(scheme.weights, on="drg", how="left", maintain_order="left")
