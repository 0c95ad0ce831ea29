"""Schemes within one claim, each beside what looks like it and is honest: functions (scene, count) -> Changes."""

import numpy as np
import polars as pl

from synthetic.scene import Changes, Scene, as_lines, cases, share_of
from synthetic.world import MICRO_PER_FEN

BLOOD_COUNT, WHITE_CELLS = "002501010150000", "002501010090000"
BED, NURSING = "001109000010300", ["001201000030000", "001201000040000", "001201000050000"]
MONITOR, DIALYSIS = "003107010220000", "003110000060100"
WOMENS_PILL, COLPOSCOPY, CHILDRENS_DRUG = "ZD03AAA0043010100166", "003112010040000", "XN02BEX085N001010100269"
SECOND_LEVEL_DRUG, COURSE_DRUG = "ZA09HAC0101010102129", "XC01EBC109B001010102049"
COURSE_DAYS, CHILD_TO, DEAR_YUAN = 3, 17, 20
LAB, INJECTIONS = "04", "注射剂"


def plant_pair(scene: Scene, count: int) -> Changes:
    """A full blood count and, on the same day, its part billed once more."""
    base = scene.choose(scene.charged(BLOOD_COUNT, _long_stays(scene), pl.col("day") == 0), count)
    return _planted(_beside(scene, base, WHITE_CELLS))


def like_pair_on_other_day(scene: Scene, count: int) -> Changes:
    """The part billed on a day that has no full count."""
    base = scene.choose(scene.charged(BLOOD_COUNT, _long_stays(scene), pl.col("day") == 0), count)
    return _planted(scene.new_lines(_claims_of(scene, base), WHITE_CELLS, day=1))


def like_pair_refunded(scene: Scene, count: int) -> Changes:
    """The part billed on the same day and taken back."""
    base = scene.choose(scene.charged(BLOOD_COUNT, _long_stays(scene), pl.col("day") == 0), count)
    return _taken_back(scene, _beside(scene, base, WHITE_CELLS))


def plant_bed_twice(scene: Scene, count: int) -> Changes:
    """A second bed on one day of a stay."""
    day = scene.choose(scene.charged(BED, _long_stays(scene), pl.col("day") > 0), count)
    return _planted(scene.copies(day, time=_moved_in_day(scene, day)))


def like_bed_posted_late(scene: Scene, count: int) -> Changes:
    """The bed of one day posted together with that of the next: two on a day, none on the day before."""
    return _posted_late(scene, scene.charged(BED, _long_stays(scene)), count)


def like_bed_ward_transfer(scene: Scene, count: int) -> Changes:
    """Moved to another ward in the middle of the stay, one bed on the day of the move."""
    moved = scene.stays(pl.col("ward_path").is_not_null())
    return Changes(truth=cases(scene.choose(moved, count).select("claim")))


def plant_days_over_stay(scene: Scene, count: int) -> Changes:
    """Nursing for the day of discharge too: one day more than the stay has."""
    last = scene.choose(_nursing(scene, pl.col("day") == pl.col("los") - 1), count)
    hours = pl.Series(scene.rng.integers(7 * 60, 9 * 60, last.height))
    return _planted(scene.copies(last, time=pl.col("endtime").dt.truncate("1d") + pl.duration(minutes=hours)))


def like_days_of_day_surgery(scene: Scene, count: int) -> Changes:
    """In and out on one day: one bed, though no night was spent."""
    same_day = scene.free(scene.claims.filter(pl.col("kind") == "day_surgery", pl.col("los") == 0))
    return Changes(truth=cases(scene.choose(scene.charged(BED, same_day), count)))


def like_days_posted_late(scene: Scene, count: int) -> Changes:
    """Nursing of one day posted on the next, the total within the stay."""
    return _posted_late(scene, _nursing(scene), count)


def plant_outside_stay(scene: Scene, count: int) -> Changes:
    """An injection billed one to three days after discharge."""
    injections = scene.world.items_where(pl.col("dosform_name") == INJECTIONS)
    last = scene.choose(scene.lines_of(_long_stays(scene), items=injections), count)
    after = pl.col("los") - pl.col("day") + pl.Series(scene.rng.integers(1, 4, last.height))
    return _planted(scene.copies(last, time=pl.col("time") + pl.duration(days=after)))


def like_outside_late_result(scene: Scene, count: int) -> Changes:
    """A laboratory result one day after discharge, which is allowed."""
    tests = scene.world.items_where(pl.col("med_chrgitm_type") == LAB, pl.col("med_list_codg") != BLOOD_COUNT)
    chosen = scene.choose(scene.lines_of(_long_stays(scene), pl.col("day") == 0, items=tests), count)
    late = as_lines(chosen.with_columns(pl.col("time") + pl.duration(days=pl.col("los") + 1)))
    return Changes(lines=late, truth=cases(late))


def plant_sex(scene: Scene, count: int) -> Changes:
    """A medicine for women billed for a man."""
    return _planted(scene.new_lines(scene.choose(_adults(scene, pl.col("gend") == "1"), count), WOMENS_PILL))


def plant_sex_service(scene: Scene, count: int) -> Changes:
    """An examination of women billed for a man."""
    return _planted(scene.new_lines(scene.choose(_adults(scene, pl.col("gend") == "1"), count), COLPOSCOPY))


def like_sex_right(scene: Scene, count: int) -> Changes:
    """The same medicine for a woman who came for something else."""
    women = scene.without(WOMENS_PILL, _adults(scene, pl.col("gend") == "2"))
    return _planted(scene.new_lines(scene.choose(women, count), WOMENS_PILL))


def like_sex_refunded(scene: Scene, count: int) -> Changes:
    """Billed for a man by mistake and taken back."""
    return _taken_back(scene, scene.new_lines(scene.choose(_adults(scene, pl.col("gend") == "1"), count), COLPOSCOPY))


def plant_age(scene: Scene, count: int) -> Changes:
    """A children's medicine billed for an adult."""
    return _planted(scene.new_lines(scene.choose(_adults(scene), count), CHILDRENS_DRUG))


def like_age_at_limit(scene: Scene, count: int) -> Changes:
    """The same for somebody who is just young enough."""
    of_age = pl.col("begntime").dt.date() >= pl.col("brdy").dt.offset_by(f"{CHILD_TO + 1}y")
    young = scene.without(
        CHILDRENS_DRUG,
        scene.visits(~of_age, pl.col("brdy").dt.offset_by(f"{CHILD_TO - 2}y") <= pl.col("begntime").dt.date()),
    )
    return _planted(scene.new_lines(scene.choose(young, count), CHILDRENS_DRUG))


def plant_level(scene: Scene, count: int) -> Changes:
    """A medicine for second-level hospitals and above, billed by one of the first level."""
    low = scene.choose(scene.stays(pl.col("level") == "1"), count)
    return _planted(scene.new_lines(low, SECOND_LEVEL_DRUG, day=0, cnt=2))


def like_level_at_limit(scene: Scene, count: int) -> Changes:
    """The same at the second level."""
    second = scene.without(SECOND_LEVEL_DRUG, scene.stays(pl.col("level") == "2"))
    return _planted(scene.new_lines(scene.choose(second, count), SECOND_LEVEL_DRUG, day=0, cnt=2))


def plant_hours(scene: Scene, count: int) -> Changes:
    """More than twenty-four hours of monitoring on one day."""
    day = scene.choose(scene.charged(MONITOR, _long_stays(scene), pl.col("day") == 1), count)
    extra = pl.Series(scene.rng.integers(1, 7, day.height))
    more = scene.copies(day, cnt=24 - pl.col("cnt") + extra, time=_moved_in_day(scene, day))
    return Changes(lines=more, truth=cases(more, amount=share_of(extra)))


def like_hours_at_limit(scene: Scene, count: int) -> Changes:
    """Twenty-four hours exactly, in two lines."""
    day = scene.choose(scene.charged(MONITOR, _long_stays(scene), pl.col("day") == 1, pl.col("cnt") < 24), count)
    return _planted(scene.copies(day, cnt=24 - pl.col("cnt"), time=_moved_in_day(scene, day)))


def plant_dialysis_twice(scene: Scene, count: int) -> Changes:
    """Two treatments of dialysis on one day, with none two days before that could have been posted late."""
    day = scene.choose(_dialysis(scene), count)
    return _planted(scene.copies(day, time=_moved_in_day(scene, day)))


def like_dialysis_refunded(scene: Scene, count: int) -> Changes:
    """A second treatment entered by mistake and taken back."""
    day = scene.choose(_dialysis(scene), count)
    return _taken_back(scene, scene.copies(day, time=_moved_in_day(scene, day)))


def plant_course(scene: Scene, count: int) -> Changes:
    """A medicine paid for three days of a stay, billed on five."""
    return _course(scene, count, COURSE_DAYS + 2)


def like_course_at_limit(scene: Scene, count: int) -> Changes:
    """The same on three days exactly."""
    return _course(scene, count, COURSE_DAYS)


def plant_price(scene: Scene, count: int) -> Changes:
    """A service billed above the price ceiling."""
    dear = scene.choose(_services(scene), count)
    percent = pl.Series(scene.rng.integers(112, 131, dear.height))
    cap = pl.Series(_ceiling(scene, dear))
    ten_fen = 10 * MICRO_PER_FEN
    above = as_lines(dear.with_columns((cap * percent // 100 // ten_fen * ten_fen).alias("micro")))
    fair = as_lines(dear.with_columns(cap.alias("micro")))
    return Changes(lines=above, truth=cases(above, amount=pl.col("amount") - fair["amount"]))


def like_price_at_ceiling(scene: Scene, count: int) -> Changes:
    """The same service at the ceiling exactly."""
    line = scene.choose(_services(scene), count)
    at = as_lines(line.with_columns(pl.Series("micro", _ceiling(scene, line))))
    return Changes(lines=at, truth=cases(at))


def _planted(lines: pl.DataFrame) -> Changes:
    """New lines, each a case of its own."""
    return Changes(lines=lines, truth=cases(lines))


def _taken_back(scene: Scene, lines: pl.DataFrame) -> Changes:
    return Changes(lines=pl.concat([lines, scene.reversals(lines)]), truth=cases(lines))


def _posted_late(scene: Scene, days: pl.DataFrame, count: int) -> Changes:
    """The line of a day in the middle of a stay moved to the day after, where there is one already."""
    moved = scene.choose(days.filter(pl.col("day").is_between(1, pl.col("los") - 3)), count)
    late = as_lines(moved.with_columns(pl.col("time") + pl.duration(days=1)))
    return Changes(lines=late, truth=cases(late))


def _beside(scene: Scene, base: pl.DataFrame, code: str) -> pl.DataFrame:
    """A line with another item within the half hour after these."""
    new = scene.new_lines(_claims_of(scene, base), code)
    minutes = pl.duration(minutes=pl.Series(scene.rng.integers(0, 30, base.height)))
    return new.with_columns(base["time"] + minutes, base["order_time"])


def _moved_in_day(scene: Scene, lines: pl.DataFrame) -> pl.Expr:
    """Another hour of the same day, as clean lines have them."""
    minutes = pl.Series(scene.rng.integers(7 * 60, 21 * 60, lines.height))
    return pl.col("time").dt.truncate("1d") + pl.duration(minutes=minutes)


def _claims_of(scene: Scene, lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select("claim").join(scene.claims, on="claim", maintain_order="left")


def _long_stays(scene: Scene) -> pl.DataFrame:
    return scene.stays(pl.col("los") >= 5, pl.col("ward") != "重症医学科")


def _adults(scene: Scene, *where: pl.Expr) -> pl.DataFrame:
    return scene.visits(pl.col("brdy").dt.year() <= scene.world.ratios["year"] - CHILD_TO - 3, *where)


def _nursing(scene: Scene, *where: pl.Expr) -> pl.DataFrame:
    stays = _long_stays(scene)
    return pl.concat([scene.charged(code, stays, *where) for code in NURSING])


def _dialysis(scene: Scene) -> pl.DataFrame:
    """The first treatments of a week."""
    treated = scene.free(scene.claims.filter(pl.col("kind") == "special_outpatient"))
    return scene.charged(DIALYSIS, treated, pl.col("day") > 0, pl.col("day") % 7 == 0)


def _services(scene: Scene) -> pl.DataFrame:
    """Examinations and treatments of long stays, dear enough for a tenth more to show."""
    dear = pl.Series(scene.world.price[1] >= DEAR_YUAN * 100 * MICRO_PER_FEN)
    items = scene.world.items_where(dear, pl.col("med_chrgitm_type").is_in(["03", "04", "05"]))
    return scene.lines_of(_long_stays(scene), items=items)


def _ceiling(scene: Scene, lines: pl.DataFrame) -> np.ndarray:
    return scene.world.ceiling[lines["level"].cast(pl.Int64).to_numpy(), lines["item"].to_numpy()]


def _course(scene: Scene, count: int, days: int) -> Changes:
    """The medicine on that many days of stays for a weak heart; what lies beyond the paid days is at risk."""
    weak = pl.col("illness") == scene.world.illness("heart_failure")
    stays = scene.stays(weak, pl.col("los") > COURSE_DAYS + 2)
    chosen = scene.choose(scene.without(COURSE_DRUG, stays), count)
    lines = pl.concat([scene.new_lines(chosen, COURSE_DRUG, day=day) for day in range(days)])
    row = pl.Series(np.tile(np.arange(chosen.height), days))
    beyond = np.repeat(np.arange(days), chosen.height) >= (COURSE_DAYS if days > COURSE_DAYS else 0)
    return Changes(lines=lines, truth=cases(lines, case=row).filter(pl.Series(beyond)))
