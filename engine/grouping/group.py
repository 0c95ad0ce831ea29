"""Groups inpatient stays by a scheme: MDC, ADRG, DRG, weight, status, and why.

Strings are met once, when codes become numbers; the stays are then judged in parts, several at a time.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from engine.grouping import stays as stays_of
from engine.grouping.care import Known, counted, known_of, told
from engine.grouping.dip import group_dip
from engine.grouping.dip_scheme import DipScheme
from engine.grouping.dip_why import explain_dip
from engine.grouping.judge import Judged, Meaning
from engine.grouping.scheme import AnyScheme, Scheme
from engine.grouping.stays import Stays
from engine.grouping.why import explain

UNGROUPED = ("0000", "00", "0000", "ungrouped")
INVALID = (None, None, None, "invalid")
NOT_SAID = pl.lit(None, pl.String).alias("why")
PART = 250_000  # stays judged at a time by one thread; memory beyond the input grows with this and not with the stays
RECORDS = 1_000_000  # records whose codes become numbers at a time


def group(
    claims: pl.DataFrame, diagnoses: pl.DataFrame, procedures: pl.DataFrame, scheme: AnyScheme, why: bool = True
) -> pl.DataFrame:
    """One row per claim in the order of the claims, with the columns of grouping.parquet.

    `claims`, `diagnoses`, `procedures` are canonical frames. Columns: setl_id, scheme, mdc, adrg, drg, weight
    Decimal(12,8) (null where the scheme gives none), status, why in Chinese (null when not asked for). Status is
    grouped; ambiguous (adrg QY); ungrouped (0000, 00, 0000); invalid (null: sex, age or diagnosis is missing).
    """
    stays = stays_of.from_tables(claims, diagnoses, procedures, scheme.book)
    return _group(stays, scheme, known_of(stays, scheme.book) if why else None).select(claims["setl_id"], pl.all())


def group_and_check(
    claims: pl.DataFrame, diagnoses: pl.DataFrame, procedures: pl.DataFrame, scheme: AnyScheme
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """As `group`, with reasons, and how many stays have a remark of each check of their coding: see care.counted."""
    stays = stays_of.from_tables(claims, diagnoses, procedures, scheme.book)
    known = known_of(stays, scheme.book)
    grouping = _group(stays, scheme, known).select(claims["setl_id"], pl.all())
    return grouping, counted(stays, scheme.book, known)


def group_records(frame: pl.DataFrame, scheme: AnyScheme, why: bool = True) -> pl.DataFrame:
    """As `group`, without setl_id, for one frame with sex, age, age_days, weight and the code lists dx and proc."""
    parts = [frame.slice(start, RECORDS) for start in range(0, max(len(frame), 1), RECORDS)]
    read = (stays_of.from_lists(part, scheme.book) for part in parts)
    return pl.concat([_group(stays, scheme, known_of(stays, scheme.book) if why else None) for stays in read])


def _group(stays: Stays, scheme: AnyScheme, known: Known | None) -> pl.DataFrame:
    """`known`: what the scheme's book says of the codes; without it no reasons are given."""
    judge = (_by_dip if isinstance(scheme, DipScheme) else _by_drg)(stays, scheme, known is not None)

    def judged(start: int) -> pl.DataFrame:
        part = stays.part(start, min(start + PART, len(stays)))
        frame = judge(part)
        return frame if known is None else frame.with_columns(frame["why"] + told(part, scheme.book, known))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        result = pl.concat(list(threads.map(judged, range(0, max(len(stays), 1), PART))), rechunk=True)
    return result.select(pl.lit(scheme.name).alias("scheme"), "mdc", "adrg", "drg", "weight", "status", "why")


def _by_drg(stays: Stays, scheme: Scheme, why: bool):
    """A function that judges a part of the stays."""
    meaning, ends = Meaning(scheme, stays), _ends(scheme)
    meaning.prepare()  # before the threads, which would each work it out

    def judge(part: Stays) -> pl.DataFrame:
        found = Judged(part, meaning)
        text = explain(found) if why else NOT_SAID
        return ends[found.end.astype(np.uint32)].with_columns(text)

    return judge


def _by_dip(stays: Stays, scheme: DipScheme, why: bool):
    """A function that judges a part of the stays."""

    def judge(part: Stays) -> pl.DataFrame:
        result, found = group_dip(part, scheme)
        return result.with_columns(explain_dip(found) if why else NOT_SAID)

    return judge


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
