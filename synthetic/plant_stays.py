"""Schemes over several stays, each beside what looks like it and is honest: functions (scene, count) -> Changes."""

import polars as pl

from synthetic.claims import MINUTE
from synthetic.scene import Changes, Scene, as_lines, cases

PLANNED = "chemotherapy"
WINDOW_DAYS = 15
ROOM = 4  # people seen so rarely that a stay may be moved without meeting another
LAST_DAY = 300  # of the year on which a stay that will be moved may begin


def plant_readmission(scene: Scene, count: int) -> Changes:
    """One stay cut in two: discharged and admitted again within days for the same illness."""
    stays = _roomy(scene, pl.col("operation").is_null(), pl.col("name") != PLANNED, pl.col("name") != "kidney_failure")
    gap = scene.rng.integers(1, WINDOW_DAYS - 2, count)
    return _split(scene, scene.choose(stays, count), gap)


def like_readmission_planned(scene: Scene, count: int) -> Changes:
    """The next cycle of chemotherapy within the same days."""
    cycle = scene.choose(_roomy(scene, pl.col("name") == PLANNED), count)
    return _split(scene, cycle, scene.rng.integers(5, WINDOW_DAYS - 2, count))


def like_readmission_after_window(scene: Scene, count: int) -> Changes:
    """The same illness again, one day after the window has passed."""
    stays = _roomy(scene, pl.col("operation").is_null(), pl.col("name") != PLANNED, pl.col("name") != "kidney_failure")
    gap = scene.rng.integers(WINDOW_DAYS + 1, WINDOW_DAYS + 2, count)
    return _split(scene, scene.choose(stays, count), gap)


def plant_overlap(scene: Scene, count: int) -> Changes:
    """A second stay elsewhere under the same person, days before the first has ended."""
    first, second = _pairs(scene, count)
    back = pl.Series(scene.rng.integers(2, 4, first.height))
    moved = _moved_to(
        scene, first, second, (first["endtime"].dt.date() - second["begntime"].dt.date()).dt.total_days() - back
    )
    pair = pl.int_range(first.height, dtype=pl.Int64)
    truth = pl.concat(
        [
            cases(first.select("claim"), amount=pl.lit(0), case=pair),
            cases(second.select("claim"), amount=pl.lit(None), case=pair),
        ]
    )
    return Changes(claims=moved[0], lines=moved[1], truth=truth)


def like_overlap_transfer(scene: Scene, count: int) -> Changes:
    """Discharged to another hospital and admitted there on the same day: the stays only touch."""
    first, second = _pairs(scene, count)
    days = (first["endtime"].dt.date() - second["begntime"].dt.date()).dt.total_days()
    claims, lines = _moved_to(scene, first, second, days, after=first["endtime"])
    sent = scene.as_claims(first.with_columns(pl.lit("2").alias("dscg_way")))
    pair = pl.int_range(first.height, dtype=pl.Int64)
    truth = pl.concat([cases(rows.select("claim"), case=pair) for rows in (first, second)])
    return Changes(claims=pl.concat([sent, claims]), lines=lines, truth=truth)


def like_overlap_twins(scene: Scene, count: int) -> Changes:
    """Twins, a boy and a girl, both in care under their mother's identity number."""
    newborn = pl.col("illness") == scene.world.illness("newborn_jaundice")
    babies = scene.choose(scene.stays(newborn), 2 * count)
    pairs = babies.height // 2
    first, second = babies[:pairs], babies[pairs : 2 * pairs]
    days = (first["begntime"].dt.date() - second["begntime"].dt.date()).dt.total_days()
    claims, lines = _shifted(scene, second, days)
    people = scene.batch.people
    mother = people[first["person"]]
    other = {"1": "2", "2": "1"}
    twin = people[second["person"]].with_columns(
        mother["certno"], mother["brdy"], mother["gend"].replace_strict(other), mother["insu_admdvs"]
    )
    pair = pl.int_range(pairs, dtype=pl.Int64)
    truth = pl.concat([cases(rows.select("claim"), case=pair) for rows in (first, second)])
    return Changes(claims=claims, lines=lines, people=twin, truth=truth)


def _roomy(scene: Scene, *where: pl.Expr) -> pl.DataFrame:
    """Stays of six days and more of people with room in their year, with the illness' columns."""
    of = scene.world.illnesses.with_row_index("illness").select(pl.col("illness").cast(pl.Int64), "name", "operation")
    stays = scene.stays(pl.col("los") >= 6, pl.col("visits") <= ROOM, pl.col("begntime").dt.ordinal_day() < LAST_DAY)
    return stays.join(of, on="illness", maintain_order="left").filter(*where)


def _split(scene: Scene, stays: pl.DataFrame, gap) -> Changes:
    """Each stay cut at a day in its middle, the second part `gap` days later, as a claim of its own."""
    gap = pl.Series("gap", gap[: stays.height])
    cut = pl.Series("cut", scene.rng.integers(2, 5, stays.height))
    stays = stays.with_columns(gap, cut)
    out = pl.col("begntime").dt.truncate("1d") + pl.duration(days=pl.col("cut"))
    late = pl.duration(days=pl.col("gap"))
    hours = [
        pl.duration(minutes=pl.Series(scene.rng.integers(*minutes, stays.height)))
        for minutes in ((9 * 60, 16 * 60), (8 * 60, 12 * 60), (10, 120))
    ]
    first = scene.as_claims(
        stays.with_columns(
            (out + hours[0]).alias("endtime"),
            (out + hours[0] + hours[2]).alias("setl_time"),
            pl.col("cut").alias("los"),
        )
    )
    second = scene.copy_claims(
        stays,
        begntime=out + late + hours[1],
        endtime=pl.col("endtime") + late,
        setl_time=pl.col("setl_time") + late,
        los=pl.col("los") - pl.col("cut"),
    )
    new = stays.select("claim", "gap", "cut", second=second["claim"], begins=second["begntime"])
    lines = scene.lines_of(stays).join(new, on="claim", maintain_order="left").filter(pl.col("day") >= pl.col("cut"))
    time = pl.col("time") + late
    soon = pl.col("begins") + pl.duration(minutes=pl.Series(scene.rng.integers(5, 120, lines.height)))
    lines = as_lines(
        lines.with_columns(
            pl.col("second").alias("claim"),
            pl.when(time < pl.col("begins")).then(soon).otherwise(time).alias("time"),
            pl.col("order_time") + late,
        )
    )
    same = scene.batch.diagnoses.join(new.select("claim", "second"), on="claim", maintain_order="left_right")
    pair = pl.int_range(stays.height, dtype=pl.Int64)
    truth = pl.concat(
        [
            cases(first.select("claim"), amount=pl.lit(0), case=pair),
            cases(second.select("claim"), amount=pl.lit(None), case=pair),
        ]
    )
    return Changes(
        claims=pl.concat([first, second]),
        lines=lines,
        truth=truth,
        diagnoses=same.with_columns(pl.col("second").alias("claim")).drop("second"),
    )


def _pairs(scene: Scene, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Stays of two people alike in sex, age and season, at two institutions."""
    season = pl.col("begntime").dt.month() // 4
    band = pl.col("brdy").dt.year() // 5
    stays = _roomy(
        scene,
        pl.col("operation").is_null(),
        pl.col("visits") <= 2,
        pl.col("ward") != "重症医学科",
        pl.col("begntime").dt.ordinal_day() > 30,
    )
    stays = stays[scene.rng.permutation(stays.height)].with_columns(band.alias("band"), season.alias("season"))
    nth = pl.int_range(pl.len()).over("gend", "band", "season")
    stays = stays.with_columns((nth // 2).alias("pair"), (nth % 2).alias("half"))
    key = ["gend", "band", "season", "pair"]
    both = (
        stays.filter(pl.col("half") == 0)
        .join(
            stays.filter(pl.col("half") == 1).select(*key, "claim", "site", "person"),
            on=key,
            suffix="_b",
            maintain_order="left",
        )
        .filter(pl.col("site") != pl.col("site_b"), pl.col("person") != pl.col("person_b"))
    )
    both = both.head(count)
    first = both.drop("claim_b", "site_b", "person_b")
    second = both.select(claim="claim_b").join(stays, on="claim", maintain_order="left")
    for rows in (first, second):
        scene.taken[rows["claim"].to_numpy()] = True
    return first, second


def _moved_to(scene: Scene, first: pl.DataFrame, second: pl.DataFrame, days: pl.Series, after: pl.Series | None = None):
    """The second stays moved by so many days and given to the first's person; begun after a time, if one is given."""
    claims, lines = _shifted(scene, second, days)
    claims = claims.with_columns(first["person"])
    if after is None:
        return claims, lines
    begin = after + pl.Series(scene.rng.integers(30, 120, len(after)) * MINUTE).cast(pl.Duration("us"))
    claims = claims.with_columns(begin.alias("begntime"))
    early = lines.join(claims.select("claim", "begntime"), on="claim", maintain_order="left")
    soon = pl.col("begntime") + pl.duration(minutes=pl.Series(scene.rng.integers(5, 180, lines.height)))
    return claims, as_lines(
        early.with_columns(pl.when(pl.col("time") < pl.col("begntime")).then(soon).otherwise("time").alias("time"))
    )


def _shifted(scene: Scene, stays: pl.DataFrame, days: pl.Series):
    """The stays and their lines so many days later."""
    shift = pl.duration(days=pl.col("shift"))
    stays = stays.with_columns(days.cast(pl.Int64).alias("shift"))
    claims = scene.as_claims(stays.with_columns(pl.col("begntime", "endtime", "setl_time") + shift))
    lines = scene.lines_of(stays).join(stays.select("claim", "shift"), on="claim", maintain_order="left")
    return claims, as_lines(lines.with_columns(pl.col("time", "order_time") + shift))
