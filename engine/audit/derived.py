"""Facts of lines that need other rows or a region's tables: each a function (lines, facts) -> lines with the column.

The lines are those of the items a rule names, or all of them; so a function may look at other lines of the same item,
and must take what concerns other items from `facts`.
"""

import re

import polars as pl

from engine.audit.plain import in_force
from engine.audit.registerfacts import REGISTER_FACTS
from engine.reference.knowledge import Knowledge


def _days_after_discharge(frame, facts):
    visits = facts.visits({"discharge_date", "inpatient"}).filter(pl.col("inpatient")).rename({"id": "_visit"})
    frame = frame.join(visits.select("_visit", "discharge_date"), on="_visit", how="left", maintain_order="left")
    days = (pl.col("date") - pl.col("discharge_date")).dt.total_days()
    return frame.with_columns(days_after_discharge=days).drop("discharge_date")


def _since_admission(frame, facts):
    visits = facts.visits({"admit_date", "admission"}).rename({"id": "_visit"})
    frame = frame.join(visits.drop("person"), on="_visit", how="left", maintain_order="left")
    return frame.with_columns(
        days_before_admission=(pl.col("admit_date") - pl.col("date")).dt.total_days(),
        hours_in_stay=(pl.col("time") - pl.col("admission")).dt.total_seconds().cast(pl.Decimal(16, 6)) / 3600,
    ).drop("admit_date", "admission")


def _supply(frame, facts):
    table = facts.knowledge["drug_supply"].select(item="med_list_codg", generic="generic", per_unit="days")
    table = table.unique("item", keep="first", maintain_order=True)
    frame = frame.join(table, on="item", how="left", maintain_order="left")
    days = pl.col("cnt").cast(pl.Decimal(38, 6)) * pl.col("per_unit").cast(pl.Decimal(38, 6))
    return frame.with_columns(pl.col("generic").fill_null(""), days_supply=days).drop("per_unit")


def _body_region(frame, facts):
    regions = sorted(_concept(facts.knowledge, "body_regions"), key=lambda r: (-len(r), r))
    if not regions:
        return frame.with_columns(body_region=pl.lit(None, pl.String))
    named = "|".join(map(re.escape, regions))
    found = [
        pl.col("name").str.extract(rf"{re.escape(pair[0])}\s*({named})\s*{re.escape(pair[1])}")
        for pair in facts.presumptions.brackets
    ]
    return frame.with_columns(body_region=pl.coalesce(found))


def price_cap(frame, facts):
    caps = facts.knowledge["price_caps"].select(
        item="med_list_codg", _level="hosp_lv", price_cap="pric_uplmt_amt", _from="begndate", _to="enddate"
    )
    frame = frame if "_n" in frame.columns else frame.with_row_index("_n")
    levels = facts.visits({"level"}).select(_visit="id", _level=pl.col("level").cast(pl.String))
    found = frame.select("_n", "_visit", "item", "date").join(levels, on="_visit").join(caps, on=["item", "_level"])
    found = found.filter(in_force(pl.col("date").cast(pl.Date))).group_by("_n").agg(pl.col("price_cap").min())
    return frame.join(found, on="_n", how="left", maintain_order="left").drop("_n")


def _course_day(frame, facts):
    return frame.with_columns(course_day=pl.col("date").rank("dense").over("_visit", "item").cast(pl.Int64))


def _course_span(frame, facts):
    return frame.with_columns(
        course_span=(pl.col("date") - pl.col("date").min().over("_visit", "item")).dt.total_days() + 1
    )


def _idle_run(frame, facts):
    idle = facts.idle_days.rename({"id": "_visit"})
    frame = frame.join(idle, on=["_visit", "date"], how="left", maintain_order="left")
    return frame.with_columns(pl.col("idle_run").fill_null(0))


def _previous_supply_left(frame, facts):
    """Days the person's previous supply of the same generic still lasts on the day of this one, outpatient only.

    With it what the supplies of that day last together, since units of one generic on one day are one supply: a box of
    each strength is no early refill.
    """
    supplied = facts.knowledge["drug_supply"]["med_list_codg"].unique().to_list()
    lines = facts.lines({"generic", "days_supply", "visit.inpatient", "visit.insured"}, supplied)
    generics = frame if "generic" in frame.columns else _supply(frame, facts)
    key = ["_person", "generic"]
    days = lines.filter(~pl.col("visit.inpatient"), pl.col("visit.insured")).group_by(*key, "date").agg(
        supply_of_day=pl.col("days_supply").sum()
    )  # fmt: skip
    days = days.sort(*key, "date")
    ends = pl.col("date") + pl.duration(days=pl.col("supply_of_day").cast(pl.Int64))
    left = (ends.shift().over(key) - pl.col("date")).dt.total_days()
    days = days.with_columns(previous_supply_left=pl.max_horizontal(left, pl.lit(0)))
    return generics.join(days, on=[*key, "date"], how="left", maintain_order="left")


def _shared(frame, facts):
    """Days on which the visit has this item and another of the same concept, and whether it is the cheaper that day."""
    concepts = facts.knowledge["concepts"].select("concept", item="code").unique()
    mine = concepts.filter(pl.col("item").is_in(frame["item"].unique().implode()))["concept"].unique()
    family = concepts.filter(pl.col("concept").is_in(mine.implode()))
    lines = facts.lines(set(), family["item"].unique().to_list()).join(family, on="item")
    day = ["_visit", "concept", "date"]
    costs = lines.group_by(*day, "item").agg(pl.col("amount").sum()).filter(pl.len().over(day) > 1)
    dearest = pl.col("item").sort_by("amount", "item", descending=[True, False]).first().over(day)
    days = pl.col("date").n_unique().over("_visit", "concept", "item").cast(pl.Int64)
    costs = costs.with_columns(shared_days=days, cheaper=pl.col("item") != dearest)
    shared = costs.group_by("_visit", "item", "date").agg(pl.col("shared_days").max(), pl.col("cheaper").any())
    frame = frame.join(shared, on=["_visit", "item", "date"], how="left", maintain_order="left")
    return frame.with_columns(pl.col("shared_days").fill_null(0), pl.col("cheaper").fill_null(False))


def _ordinary_bed_cap(frame, facts):
    """The ceiling of an ordinary bed for the level of the visit on the day: the lowest of the concept's items."""
    beds = _concept(facts.knowledge, "ordinary_bed")
    caps = facts.knowledge["price_caps"].filter(pl.col("med_list_codg").is_in(beds))
    frame = frame.with_row_index("_n")
    levels = facts.visits({"level"}).select(_visit="id", _level=pl.col("level").cast(pl.String))
    rows = caps.select(_level="hosp_lv", ordinary_bed_cap="pric_uplmt_amt", _from="begndate", _to="enddate")
    found = frame.select("_n", "_visit", "date").join(levels, on="_visit").join(rows, on="_level")
    found = found.filter(in_force(pl.col("date").cast(pl.Date))).group_by("_n").agg(pl.col("ordinary_bed_cap").min())
    return frame.join(found, on="_n", how="left", maintain_order="left").drop("_n")


def _full_price(frame, facts):
    frame = frame if "price_cap" in frame.columns else price_cap(frame, facts)
    full = pl.coalesce(pl.col("price").cast(pl.Decimal(38, 6)) >= pl.col("price_cap").cast(pl.Decimal(38, 6)), True)
    return frame.with_columns(full_price=full)


def _concept(knowledge: Knowledge, name: str) -> list[str]:
    return knowledge.codes(name) if name in knowledge.concepts else []


LINE_FACTS = {
    "days_after_discharge": _days_after_discharge,
    "days_before_admission": _since_admission,
    "hours_in_stay": _since_admission,
    "generic": _supply,
    "days_supply": _supply,
    "body_region": _body_region,
    "price_cap": price_cap,
    "course_day": _course_day,
    "course_span": _course_span,
    "idle_run": _idle_run,
    "previous_supply_left": _previous_supply_left,
    "supply_of_day": _previous_supply_left,
    "shared_days": _shared,
    "cheaper": _shared,
    "ordinary_bed_cap": _ordinary_bed_cap,
    "full_price": _full_price,
    **REGISTER_FACTS,
}

# Which knowledge tables a fact is computed from; of visits and procedures too.
KNOWLEDGE_READ = {
    "generic": ("drug_supply",), "days_supply": ("drug_supply",), "previous_supply_left": ("drug_supply",),
    "supply_of_day": ("drug_supply",), "body_region": ("concepts",), "price_cap": ("price_caps",),
    "full_price": ("price_caps",), "shared_days": ("concepts",), "cheaper": ("concepts",),
    "ordinary_bed_cap": ("concepts", "price_caps"), "present_elsewhere": ("concepts",),
    "charged": ("operation_items",), "device": ("device_operations",), "treated": ("complication_care",),
    "devices": ("device_needs",),
    "device_capacity": ("device_needs",), "reagent_bought": ("reagents",), "minutes": ("service_minutes",),
    "drug_of_disease": ("disease_drugs",), "days_since_first_line": ("second_line_drugs",),
    "herbs_alone": ("herbs",), "unfit": ("sex_limits", "age_limits"), "criterion_reports": ("disease_tests",),
    "instead_cap": ("price_caps",),
}  # fmt: skip
