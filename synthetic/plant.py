"""The table of schemes, and what puts their changes into the clean claims together with the truth about them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from synthetic import plant_lines as one
from synthetic import plant_stays as more
from synthetic.claims import Batch
from synthetic.scene import Changes, Scene

SMALL = ["03", "04", "05", "09", "11"]  # taken back alone; an operation without its lines would be another matter


@dataclass(frozen=True)
class Scheme:
    """One way to claim too much: the item of the list it breaks, what plants it, its look-alikes by family.

    also: further items of the list that the same facts break.
    """

    rule_number: int
    slug: str
    plant: Callable[[Scene, int], Changes]
    lookalikes: dict[str, Callable[[Scene, int], Changes]]
    also: str = ""


SCHEMES = [
    Scheme(
        1,
        "split-stay-short-readmission",
        more.plant_readmission,
        {"planned-readmission": more.like_readmission_planned, "after-the-window": more.like_readmission_after_window},
    ),
    Scheme(
        6,
        "overlapping-inpatient-stays",
        more.plant_overlap,
        {"transfer-same-day": more.like_overlap_transfer, "twins": more.like_overlap_twins},
    ),
    Scheme(58, "payment-course-limit-exceeded", one.plant_course, {"at-the-limit": one.like_course_at_limit}),
    Scheme(34, "hourly-item-over-24h-per-day", one.plant_hours, {"at-the-limit": one.like_hours_at_limit}),
    Scheme(
        80, "per-treatment-dialysis-billed-hourly", one.plant_dialysis_twice, {"refunded": one.like_dialysis_refunded}
    ),
    Scheme(
        101,
        "routine-panel-with-component-tests",
        one.plant_pair,
        {"different-days": one.like_pair_on_other_day, "refunded": one.like_pair_refunded},
    ),
    Scheme(
        27,
        "duplicate-bed-fee-same-day",
        one.plant_bed_twice,
        {"posted-late": one.like_bed_posted_late, "ward-transfer": one.like_bed_ward_transfer},
        also="33",
    ),
    Scheme(
        33,
        "daily-fees-exceed-stay-days",
        one.plant_days_over_stay,
        {"day-surgery": one.like_days_of_day_surgery, "posted-late": one.like_days_posted_late},
    ),
    Scheme(42, "charge-outside-stay-period", one.plant_outside_stay, {"late-result": one.like_outside_late_result}),
    Scheme(36, "price-above-guided-ceiling", one.plant_price, {"at-the-ceiling": one.like_price_at_ceiling}),
    Scheme(50, "drug-sex-restriction", one.plant_sex, {"right-sex": one.like_sex_right}),
    Scheme(51, "service-sex-restriction", one.plant_sex_service, {"refunded": one.like_sex_refunded}),
    Scheme(52, "drug-age-restriction", one.plant_age, {"at-the-limit": one.like_age_at_limit}),
    Scheme(56, "drug-institution-level-restriction", one.plant_level, {"at-the-limit": one.like_level_at_limit}),
]


def plant(scene: Scene, count: int, first_case: int) -> tuple[Batch, pl.DataFrame]:
    """The batch with `count` violations and look-alikes of every scheme in it, and the truth about them."""
    changes, truths = [], []
    for scheme in SCHEMES:
        for family, make in {"violation": scheme.plant, **scheme.lookalikes}.items():
            change = make(scene, count)
            changes.append(change)
            truths.append(_truth(scheme, family, change.truth, first_case))
    changes.append(refunds(scene))
    return _applied(scene.batch, changes), pl.concat(truths)


def _truth(scheme: Scheme, family: str, rows: pl.DataFrame, first_case: int) -> pl.DataFrame:
    kind = "violation" if family == "violation" else "lookalike"
    letter = "V" if kind == "violation" else "L"
    number = (pl.col("case") + first_case + 1).cast(pl.String).str.zfill(4)
    prefix = f"{scheme.rule_number:03d}-{letter}" + ("" if kind == "violation" else f"-{family}") + "-"
    return rows.select(
        pl.concat_str(pl.lit(prefix), number).alias("case"),
        pl.lit(family).alias("scheme"),
        pl.lit(scheme.rule_number, pl.Int64).alias("rule_number"),
        pl.lit(scheme.slug).alias("slug"),
        pl.lit(kind).alias("kind"),
        pl.lit(scheme.also if kind == "violation" else "").alias("also"),
        "claim",
        "line",
        pl.col("amount") if kind == "violation" else pl.lit(0, pl.Int64).alias("amount"),
    )


def refunds(scene: Scene) -> Changes:
    """Honest mistakes put right: lines taken back within their claim, and outpatient claims taken back whole."""
    ratios, rng = scene.world.ratios, scene.rng
    lines = scene.batch.lines
    small = pl.col("item").is_in(scene.world.items_where(pl.col("med_chrgitm_type").is_in(SMALL)))
    some = lines.filter(pl.Series(rng.random(lines.height) < ratios["share_refunded_lines"]), small, ~pl.col("leave"))
    back = scene.reversals(scene.free(some))
    visits = scene.free(scene.claims.filter(pl.col("kind").is_in(["general_outpatient", "chronic_outpatient"])))
    whole = scene.choose(visits, round(visits.height * ratios["share_refunded_claims"]))
    back = back.filter(~pl.col("claim").is_in(whole["claim"].implode()))
    hours = pl.duration(minutes=pl.Series(rng.integers(20, 4000, whole.height)))
    refunding = scene.copy_claims(whole, reverses=pl.col("claim"), setl_time=pl.col("setl_time") + hours)
    into = refunding.select(pl.col("reverses").alias("claim"), pl.col("claim").alias("into"))
    undone = (
        scene.lines_of(whole).join(into, on="claim", maintain_order="left").with_columns(pl.col("into").alias("claim"))
    )
    same = scene.batch.diagnoses.join(into, on="claim", maintain_order="left_right")
    return Changes(
        claims=refunding,
        lines=pl.concat([back, scene.copies(undone, cnt=-pl.col("cnt"), reverses=pl.col("line"))]),
        diagnoses=same.with_columns(pl.col("into").alias("claim")).drop("into"),
    )


def _applied(batch: Batch, changes: list[Changes]) -> Batch:
    """Rows replaced by key, new rows added; no two changes hold the same row, since each has its own claims."""

    def merged(frame: pl.DataFrame, key: str, part: str) -> pl.DataFrame:
        parts = [getattr(change, part) for change in changes if getattr(change, part) is not None]
        new = (
            pl.concat([rows.select(frame.columns).cast(dict(frame.schema)) for rows in parts])
            if parts
            else frame.clear()
        )
        replaced = np.zeros(max(int(frame[key].max()), int(new[key].max() or 0)) + 1, bool)
        replaced[new[key].to_numpy()] = True
        return pl.concat([frame.filter(~pl.Series(replaced[frame[key].to_numpy()])), new]).sort(key)

    added = [change.diagnoses.select(batch.diagnoses.columns) for change in changes if change.diagnoses is not None]
    return Batch(
        merged(batch.people, "person", "people"),
        merged(batch.claims, "claim", "claims"),
        merged(batch.lines, "line", "lines"),
        pl.concat([batch.diagnoses, *added]),
        batch.procedures,
    )
