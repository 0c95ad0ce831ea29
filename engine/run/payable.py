"""What a run knows about the payment of its institutions, put together once for payments, books and explanations."""

from typing import NamedTuple

import polars as pl

from engine.grouping.dip_deviation import group_means
from engine.grouping.dip_scheme import DipScheme
from engine.run.region import Region
from engine.settlement.clearing import DEDUCTIONS, deductions_of
from engine.settlement.conditions import naming_lines
from engine.settlement.policy import Policy
from engine.settlement.provider import CLAIM, FALLBACKS, Told
from engine.settlement.provider_cases import STATEMENT
from engine.settlement.spoken import yuan
from engine.tables.dictionary import with_fields
from engine.tables.outputs import outputs

GROUPED = ["setl_id", "mdc", "drg", "weight"]


class Given(NamedTuple):
    """What provider_payment and its like are given, in their order."""

    settlement: pl.DataFrame
    claims: pl.DataFrame
    grouping: pl.DataFrame
    policy: Policy
    told: Told
    lines: pl.DataFrame | None


def given(tables: dict[str, pl.LazyFrame], region: Region, settlement: pl.LazyFrame, grouping: pl.LazyFrame) -> Given:
    """tables: the canonical ones of the extract, claims among them; settlement, grouping: as a run writes them."""
    claims = with_fields(tables["claims"], "claims", *CLAIM).select(CLAIM).collect()
    groups = grouping.select(GROUPED).collect()
    if isinstance(region.scheme, DipScheme):
        groups = group_means(groups, claims, region.scheme.means, region.scheme.groups)
    lines = None
    if "fee_lines" in tables:
        lines = naming_lines(with_fields(tables["fee_lines"], "fee_lines", "setl_id", "med_list_codg"), region.policy)
    return Given(settlement.select(STATEMENT).collect(), claims, groups, region.policy, _told(tables, region), lines)


def _told(tables: dict[str, pl.LazyFrame], region: Region) -> Told:
    """What the region's tables say of payments; decisions of the region and of the extract both count as deductions."""
    known = {name: region.knowledge[name] for name in Told.TABLES}
    if "prior_recoveries" in tables:
        decided = deductions_of(with_fields(tables["prior_recoveries"], "prior_recoveries").collect())
        own = known["clearing_deductions"].select(*DEDUCTIONS).cast(DEDUCTIONS)
        known["clearing_deductions"] = pl.concat([own, decided])
    return Told(*known.values())


def fallback_checks(reasons: pl.DataFrame) -> pl.DataFrame:
    """Rows of checks: what could not be paid as the policy says, and why not. reasons: by_item_counts."""
    rows = [
        {
            "check_id": f"P{number:02}", "title": f"改按项目付费 ({row['asked']}): {FALLBACKS[row['reason']]}",
            "value": f"{row['cases']:,} 例", "verdict": "not_checkable", "rows": row["cases"],
            "detail": f"结算单记账 {yuan(row['charged_fen'])} 元",
        }
        for number, row in enumerate(reasons.sort("asked", "reason").iter_rows(named=True), 1)
    ]  # fmt: skip
    return pl.DataFrame(rows, outputs()["checks"])
