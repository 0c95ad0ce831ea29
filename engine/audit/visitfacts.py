"""Facts of visits that need other rows: each a function facts -> a row for every visit, with `id` and the fact.

Facts computes them when the first rule asks, and once. Where two come from one look at the rows, one function makes
both. The facts of a day of a visit stand here too.
"""

import polars as pl

from engine.audit.benefitfacts import BENEFIT_FACTS
from engine.audit.plain import DAY, bar_joined, midnight

NEIGHBOURS = ("previous_insured", "previous_any", "next_any")  # objects of a visit: the id of the other visit, or null


def _main_diag(facts):
    return _by_visit(facts, facts.diagnoses.group_by("id", maintain_order=True).agg(main_diag=pl.col("code").first()))


def _icd3(facts):
    return _main_diag(facts).select("id", icd3=pl.col("main_diag").str.slice(0, 3))


def _diags(facts):
    return _by_visit(facts, bar_joined(facts.diagnoses, "code", "diags"))


def _operations(facts):
    return _by_visit(facts, bar_joined(facts.procedures, "code", "operations"))


def _operated(facts):
    return facts.visits(set()).select("id", operated=pl.col("id").is_in(facts.procedures["id"].unique().implode()))


def _death(facts):
    """When the person died, registered or at the end of a stay; and how many of the two sources say that he did."""
    visits = facts.visits({"discharge_way", "discharge_date"}).join(facts.died, on="id", how="left")
    ended = pl.col("discharge_way") == "5"
    when = pl.min_horizontal(pl.when(ended).then(pl.col("discharge_date")), pl.col("die_date").cast(DAY))
    said = visits.group_by("person").agg(
        death_date=when.min(),
        death_sources=pl.col("die_date").is_not_null().any().cast(pl.Int64) + ended.any().cast(pl.Int64),
    )
    return visits.select("id", "person").join(said, on="person", how="left").drop("person")


def _present_elsewhere(facts):
    """Whether on one day a bed, an operation or a dialysis is charged here and in another stay of the person."""
    name = "dialysis_per_session"
    dialysis = facts.knowledge.codes(name) if name in facts.knowledge.concepts else []
    there = facts.lines(set()).filter(pl.col("category").is_in(["01", "06"]) | pl.col("item").is_in(dialysis))
    visits = facts.visits({"inpatient"})
    days = there.select("date", id="_visit").unique().join(visits.filter("inpatient"), on="id")
    twice = days.filter(pl.len().over("person", "date") > 1).select("id").unique()
    return visits.select("id", present_elsewhere=pl.col("id").is_in(twice["id"].implode()))


def _longest_idle_run(facts):
    longest = facts.idle_days.group_by("id").agg(longest_idle_run=pl.col("idle_run").max())
    visits = facts.visits(set()).select("id").join(longest, on="id", how="left")
    return visits.with_columns(pl.col("longest_idle_run").fill_null(0))


def idle_days(facts) -> pl.DataFrame:
    """Days of a stay, from admission up to but not including discharge, with bed, nursing and consultation only."""
    stays = facts.visits({"inpatient", "admit_date", "discharge_date"})
    stays = stays.filter(pl.col("inpatient"), pl.col("discharge_date") > pl.col("admit_date"))
    days = stays.select(
        "id", date=pl.datetime_ranges("admit_date", "discharge_date", "1d", closed="left", time_unit="us")
    ).explode("date")
    busy = facts.lines(set()).filter(~pl.col("category").is_in(["01", "02", "07"])).select(id="_visit", date="date")
    idle = days.join(busy.unique(), on=["id", "date"], how="anti").sort("id", "date")
    start = (pl.col("date").diff() != pl.duration(days=1)).fill_null(True) | (pl.col("id") != pl.col("id").shift())
    idle = idle.with_columns(run=start.fill_null(True).cum_sum())
    return idle.with_columns(idle_run=pl.len().over("run").cast(pl.Int64)).drop("run")


def _neighbours(facts):
    """The visits before and after each, in order of the person's admissions, ties by id, and the days between.

    A gap counts calendar days from the end of the earlier visit, or its admission where it has no end.
    """
    visits = facts.visits({"inpatient", "insured", "admission", "admit_date", "discharge_date"})
    visits = visits.sort("person", "admission", "id").with_columns(_end=pl.coalesce("discharge_date", "admit_date"))
    stay = pl.when(pl.col("inpatient") & pl.col("insured")).then("id")
    columns = {
        "previous_insured": stay.forward_fill().shift(), "previous_any": pl.col("id").shift(),
        "next_any": pl.col("id").shift(-1), "_ended": pl.col("_end").shift(), "_next": pl.col("admit_date").shift(-1),
    }  # fmt: skip
    left = visits.select(previous_insured="id", _left="discharge_date")
    visits = visits.with_columns(expr.over("person").alias(name) for name, expr in columns.items())
    visits = visits.join(left, on="previous_insured", how="left", maintain_order="left")
    gaps = {
        "days_since_previous_insured": pl.col("admit_date") - pl.col("_left"),
        "days_since_previous_any": pl.col("admit_date") - pl.col("_ended"),
        "days_to_next_any": pl.col("_next") - pl.col("_end"),
    }
    return visits.select("id", *NEIGHBOURS, **{name: gap.dt.total_days() for name, gap in gaps.items()})


def _by_visit(facts, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a row for every visit; texts that are nowhere are empty."""
    visits = facts.visits(set()).select("id").join(frame, on="id", how="left")
    return visits.with_columns(pl.exclude("id").fill_null(""))


VISIT_FACTS = {
    "main_diag": _main_diag,
    "icd3": _icd3,
    "diags": _diags,
    "operations": _operations,
    "operated": _operated,
    "death_date": _death,
    "death_sources": _death,
    "present_elsewhere": _present_elsewhere,
    "longest_idle_run": _longest_idle_run,
    "days_since_previous_insured": _neighbours,
    "days_since_previous_any": _neighbours,
    "days_to_next_any": _neighbours,
    **dict.fromkeys(NEIGHBOURS, _neighbours),
    **BENEFIT_FACTS,
}


def dialysis_records(frame: pl.DataFrame, facts) -> pl.DataFrame:
    """The frame of (_visit, date) with `day.dialysis_records`: null where no log is given or it is not complete."""
    if "service_logs" not in facts.tables:
        return frame.with_columns(pl.lit(None, pl.Int64).alias("day.dialysis_records"))
    logs = facts.table("service_logs").filter(pl.col("kind") == "dialysis")
    counts = logs.group_by(_visit="setl_id", date=midnight(pl.col("begntime"))).agg(
        pl.len().cast(pl.Int64).alias("day.dialysis_records")
    )
    return frame.join(counts, on=["_visit", "date"], how="left", maintain_order="left")
