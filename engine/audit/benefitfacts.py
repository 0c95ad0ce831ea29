"""Facts of visits that registers, coverage, grouping and positions tell: each a function facts -> one row per visit.

Where the table that would tell is not given the fact is missing.
"""

import polars as pl

from engine.audit.plain import DAY, INPATIENT, bar_joined, in_force
from engine.grouping.group import group
from engine.settlement.provider import drg_standards
from engine.tracing.travel import metres_between

GROUPED = "_grouped"  # among the tables of a bucket: its grouping, where it has been made
YEAR = pl.duration(days=365)


def _every(facts, told: pl.DataFrame) -> pl.DataFrame:
    """A row for every visit; what was not told is missing."""
    return facts.visits(set()).select("id").join(told, on="id", how="left", maintain_order="left")


def _missing(facts, **names) -> pl.DataFrame:
    return facts.visits(set()).select("id", **{name: pl.lit(None, kind) for name, kind in names.items()})


def _drg(facts):
    """The group of a stay, its weight, and what the policy's provider side sets for it."""
    if facts.paying is None:
        return _missing(facts, drg=pl.String, drg_weight=pl.Decimal(12, 8), drg_standard=pl.Int64)
    policy, scheme = facts.paying
    groups = facts.tables.get(GROUPED)
    if groups is None:
        stays = facts.standing_claims.filter(pl.col("visit_kind").is_in(INPATIENT))
        groups = group(stays, facts.table("diagnoses"), facts.table("procedures"), scheme, why=False)
    groups = groups.select("setl_id", "mdc", "drg", "weight")
    standards = drg_standards(facts.standing_claims, groups, policy)
    told = groups.join(standards, on="setl_id", how="left", maintain_order="left")
    return _every(facts, told.select("drg", id="setl_id", drg_weight="weight", drg_standard="standard_fen"))


def _entitled(facts):
    """Whether the person's entitlement for the disease of the visit is in force on its first day."""
    if "disease_entitlements" not in facts.tables:
        return _missing(facts, entitled=pl.Boolean)
    visits = facts.visits({"psn_no", "dise_codg", "admit_date"}).filter(pl.col("dise_codg").fill_null("") != "")
    spells = facts.table("disease_entitlements").select("psn_no", "dise_codg", _from="begndate", _to="enddate")
    held = visits.join(spells, on=["psn_no", "dise_codg"]).filter(in_force(pl.col("admit_date").cast(pl.Date)))
    return _every(facts, visits.select("id", entitled=pl.col("id").is_in(held["id"].unique().implode())))


def _criterion_reports(facts):
    """Reports of the person within a year up to the visit of what the disease of the visit is recognised by."""
    if "reports" not in facts.tables:
        return _missing(facts, criterion_reports=pl.Int64)
    visits = facts.visits({"psn_no", "dise_codg", "admission"})
    tests = facts.knowledge["disease_tests"].select("dise_codg", "item_name").unique()
    asked = visits.join(tests, on="dise_codg")
    said = facts.table("reports").select("item_name", "report_time", "psn_no", _visit="setl_id")
    whose = visits.select("psn_no", _visit="id", _person="person")
    of_claim = said.join(whose.select("_visit", "_person"), on="_visit")
    of_number = said.join(whose.select("psn_no", "_person").unique("psn_no"), on="psn_no")
    told = pl.concat([r.select("_person", "item_name", "report_time") for r in (of_claim, of_number)]).unique()
    found = asked.join(told, left_on=["person", "item_name"], right_on=["_person", "item_name"]).filter(
        pl.col("report_time") <= pl.col("admission"), pl.col("report_time") >= pl.col("admission") - YEAR
    )
    counts = asked.select("id").unique().join(found.group_by("id").len("criterion_reports"), on="id", how="left")
    return _every(facts, counts.with_columns(pl.col("criterion_reports").fill_null(0).cast(pl.Int64)))


def _aided(facts):
    """Whether the person belongs to those who get medical assistance on the day of settlement."""
    if "aid_spells" not in facts.tables:
        return _missing(facts, aided=pl.Boolean)
    visits = facts.visits({"psn_no", "setl_time"})
    spells = facts.table("aid_spells").select("psn_no", _from="begndate", _to="enddate")
    held = visits.join(spells, on="psn_no").filter(in_force(pl.col("setl_time").cast(pl.Date)))
    return visits.select("id", aided=pl.col("id").is_in(held["id"].unique().implode()))


def _ward_kinds(facts):
    """The kinds of wards registered at the institution on the first day of the visit."""
    visits = facts.visits({"hospital", "admit_date"})
    wards = facts.table("wards").select("ward_kind", hospital="fixmedins_code", _from="begndate", _to="enddate")
    there = visits.join(wards.drop_nulls("ward_kind").unique(), on="hospital")
    there = there.filter(in_force(pl.col("admit_date").cast(pl.Date))).select("id", "ward_kind").unique()
    told = bar_joined(there.sort("id", "ward_kind"), "ward_kind", "ward_kinds")
    return _every(facts, told).with_columns(pl.col("ward_kinds").fill_null(""))


def _complete_tables(facts):
    """The tables that are said to be complete for the institution from the first to the last day of the visit."""
    visits = facts.visits({"hospital", "admit_date", "discharge_date"})
    rows = facts.coverage.rename({"fixmedins_code": "hospital"})
    near = visits.join(rows.filter(pl.col("hospital") != "*"), on="hospital")
    everywhere = visits.join(rows.filter(pl.col("hospital") == "*").drop("hospital"), how="cross")
    there = pl.concat([near, everywhere.select(near.columns)]).filter(
        pl.col("begndate").cast(DAY) <= pl.col("admit_date"),
        pl.col("enddate").cast(DAY) >= pl.coalesce("discharge_date", "admit_date"),
    )
    told = bar_joined(there.select("id", "table").unique().sort("id", "table"), "table", "complete_tables")
    return _every(facts, told).with_columns(pl.col("complete_tables").fill_null(""))


def _known_days(facts):
    """Days before the visit for which the claims of all institutions are said to be complete."""
    visits = facts.visits({"admit_date"})
    rows = facts.coverage.filter(pl.col("table") == "claims", pl.col("fixmedins_code") == "*")
    there = visits.join(rows.select(_from=pl.col("begndate").cast(DAY), _to=pl.col("enddate").cast(DAY)), how="cross")
    there = there.filter(pl.col("_from") <= pl.col("admit_date"), pl.col("admit_date") <= pl.col("_to"))
    days = (pl.col("admit_date") - pl.col("_from")).dt.total_days()
    return _every(facts, there.group_by("id").agg(known_days=days.max()))


def _terminal_km(facts):
    """How far the terminal on which the visit was settled stands from the institution."""
    told = facts.visits({"terminal.lon", "terminal.lat", "institution.lon", "institution.lat"})
    metres = metres_between("terminal.lon", "terminal.lat", "institution.lon", "institution.lat")
    return told.select("id", terminal_km=metres.cast(pl.Decimal(16, 3)) / 1000)


def _travel_shortfall_minutes(facts):
    """By how many minutes the person could not have come from the visit before, at another institution.

    A time that names only a day says nothing of minutes, and within some kilometres travel says nothing (presumptions).
    """
    there, presumed = {"institution.lon", "institution.lat"}, facts.presumptions
    visits = facts.visits({"hospital", "admission", "discharge", "inpatient", *there}).sort("person", "admission", "id")
    end = pl.when("inpatient").then(pl.coalesce("discharge", "admission")).otherwise("admission")
    before = ("_end", "hospital", *there)
    visits = visits.with_columns(_end=end)
    visits = visits.with_columns(pl.col(n).shift().over("person").alias(f"_was.{n}") for n in sorted(before))
    metres = metres_between("institution.lon", "institution.lat", "_was.institution.lon", "_was.institution.lat")
    exact = pl.all_horizontal(pl.col(c) != pl.col(c).dt.truncate("1d") for c in ("admission", "_was._end"))
    gap = (pl.col("admission") - pl.col("_was._end")).dt.total_minutes()
    speed = pl.when(metres > presumed.far_km * 1000).then(presumed.far_kmh).otherwise(presumed.kmh)
    needed = metres * 60 // (speed * 1000)
    moved = (pl.col("hospital") != pl.col("_was.hospital")) & exact & (metres > presumed.near_km * 1000)
    return visits.select("id", travel_shortfall_minutes=pl.when(moved).then(needed - gap - presumed.tolerance_minutes))


BENEFIT_FACTS = {
    "drg": _drg,
    "drg_weight": _drg,
    "drg_standard": _drg,
    "entitled": _entitled,
    "criterion_reports": _criterion_reports,
    "aided": _aided,
    "ward_kinds": _ward_kinds,
    "complete_tables": _complete_tables,
    "known_days": _known_days,
    "terminal_km": _terminal_km,
    "travel_shortfall_minutes": _travel_shortfall_minutes,
}
