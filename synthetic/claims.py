"""Clean claims: people fall ill, visit, and are charged what their illness needs, within every limit of the rules."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from synthetic.people import make_people
from synthetic.world import MICRO_PER_FEN, World

MINUTE, DAY = 60_000_000, 86_400_000_000  # microseconds
STAYS = ["inpatient", "emergency_inpatient", "day_surgery"]
SLACK = 8  # days by which visits stray from their even spacing
LONGEST = 30  # days from a visit's planned date that it may still fill
SESSIONS = 12
SECOND_WARD = "康复医学科"  # where those go who change wards during a stay
SESSION_DAYS = np.array([0, 2, 4])

# When an item is charged: how many times in so many days on the ward, and on which day the n-th time falls.
WHEN: dict[str, tuple[Callable, Callable]] = {
    "admission": (np.ones_like, lambda n, days: np.zeros_like(n)),
    "visit": (np.ones_like, lambda n, days: np.zeros_like(n)),
    "daily": (lambda days: days, lambda n, days: n),
    "early": (lambda days: np.minimum(days, 2), lambda n, days: n),
    "alternate": (lambda days: (days + 1) // 2, lambda n, days: 2 * n),
    "third": (lambda days: (days + 2) // 3, lambda n, days: 3 * n),
    "operation": (np.ones_like, lambda n, days: np.minimum(1, days - 1)),
    "last": (np.ones_like, lambda n, days: days - 1),
    "leave": (np.ones_like, lambda n, days: days),
    "session": (lambda days: np.full_like(days, SESSIONS), lambda n, days: n // 3 * 7 + SESSION_DAYS[n % 3]),
}


@dataclass
class Batch:
    """The claims of some people, whole. Rows are known by `claim` and `line` until the ids are given out.

    people: as people.make_people, by `person`. claims: claim, person, illness, kind, site, level, doctor, times, flags.
    lines: line, claim, item (row of the catalogue), cnt, micro (price), amount (fen), time, order, leave, reverses.
    diagnoses, procedures: claim, seq, code, name …
    """

    people: pl.DataFrame
    claims: pl.DataFrame
    lines: pl.DataFrame
    diagnoses: pl.DataFrame
    procedures: pl.DataFrame


def make_batch(world: World, budget: int) -> Batch:
    """So many clean claims of new people, their lines, diagnoses and operations."""
    newborns = round(budget * world.ratios["share_newborn_stays"])
    people, visits = _people(world, budget - newborns)
    claims = _claims(world, people, visits)
    if newborns:
        people, claims = _with_newborns(world, people, claims, newborns)
    claims = _placed(world, _timed(world, claims)).with_row_index("claim").with_columns(pl.col("claim").cast(pl.Int64))
    diagnoses = _diagnoses(world, claims)
    return Batch(people, claims, _lines(world, claims), diagnoses, _procedures(world, claims))


def _people(world: World, budget: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Enough people for the budget, and how often each is seen."""
    rng, ratios = world.rng, world.ratios
    bands = np.array(ratios["ages"])
    count = int(budget / ratios["visits_per_person"] * 1.4) + 50
    band = rng.choice(len(bands), count, p=bands[:, 2] / bands[:, 2].sum())
    ages = rng.integers(bands[band, 0].astype(np.int64), bands[band, 1].astype(np.int64) + 1)
    mean = ratios["visits_per_person"] * bands[band, 3] / np.average(bands[:, 3], weights=bands[:, 2])
    visits = np.clip(1 + rng.poisson(np.maximum(mean - 1, 0.1)), 1, ratios["visits_at_most"])
    enough = int(np.searchsorted(np.cumsum(visits), budget)) + 1
    visits = visits[:enough]
    visits[-1] -= visits.sum() - budget
    return make_people(world, ages[:enough]).with_row_index("person").with_columns(
        pl.col("person").cast(pl.Int64)
    ), visits


def _claims(world: World, people: pl.DataFrame, visits: np.ndarray) -> pl.DataFrame:
    """One row for each visit, its illness, and the day it begins: visits of one person keep their distance."""
    rng = world.rng
    person = np.repeat(np.arange(len(visits)), visits)
    nth = np.arange(len(person)) - np.repeat(np.cumsum(visits) - visits, visits)
    window = 365 // visits
    phase = (rng.random(len(visits)) * np.maximum(window - SLACK - LONGEST, 1)).astype(np.int64)
    day = nth * window[person] + phase[person] + rng.integers(0, SLACK, len(person))
    illness, kind = _illness_of(world, people["age"].to_numpy()[person], people["gend"].to_numpy()[person])
    return pl.DataFrame({"person": person, "illness": illness, "kind": kind, "day": day, "visits": visits[person]})


def _illness_of(world: World, ages: np.ndarray, gend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An illness and a kind of visit that suit age and sex, in the shares of ratios.yaml."""
    options = (
        world.illnesses.with_row_index("illness")
        .filter(pl.col("weight") > 0)
        .explode("kinds")
        .join(
            pl.DataFrame({"kinds": list(world.ratios["kinds"]), "share": list(world.ratios["kinds"].values())}),
            on="kinds",
            maintain_order="left",
        )
    )
    ends = np.unique(np.concatenate([options["from_age"].to_numpy(), options["to_age"].to_numpy() + 1]))
    group = np.searchsorted(ends, ages, side="right") * 2 + (gend == "2")
    chosen = np.zeros(len(ages), np.int64)
    for key in np.unique(group):
        rows = np.flatnonzero(group == key)
        age, sex = ages[rows[0]], gend[rows[0]]
        fits = options["from_age"].le(age) & options["to_age"].ge(age) & options["sex"].is_in(["", sex])
        odds = (
            options.select(pl.when(fits).then("weight").otherwise(0.0).alias("weight"), "kinds", "share")
            .select(pl.col("share") * pl.col("weight") / pl.col("weight").sum().over("kinds"))
            .to_series()
            .fill_nan(0)
            .to_numpy()
        )
        chosen[rows] = world.rng.choice(len(odds), len(rows), p=odds / odds.sum())
    return options["illness"].cast(pl.Int64).to_numpy()[chosen], options["kinds"].to_numpy()[chosen]


def _with_newborns(world: World, people: pl.DataFrame, claims: pl.DataFrame, count: int):
    """Newborns in care within days of birth, under the identity number of a mother."""
    rng = world.rng
    babies = make_people(world, np.zeros(count, np.int64))
    mothers = people.filter(pl.col("gend") == "2", pl.col("age").is_between(20, 40))["certno"]
    mother = rng.choice(mothers.len(), count, replace=False) if mothers.len() >= count else np.arange(0)
    day = rng.integers(20, 330, count)
    first = np.datetime64(date(world.ratios["year"], 1, 1), "D")
    babies = babies.with_columns(
        pl.Series("brdy", first + day - rng.integers(1, 9, count)).cast(pl.Date),
        pl.lit(0, pl.Int64).alias("age"),
        pl.int_range(people.height, people.height + count, dtype=pl.Int64).alias("person"),
    )
    if len(mother):
        babies = babies.with_columns(mothers.gather(mother).alias("certno"))
    stays = pl.DataFrame(
        {
            "person": babies["person"],
            "illness": world.illness("newborn_jaundice"),
            "kind": "inpatient",
            "day": day,
            "visits": 1,
        },
        schema_overrides=claims.schema,
    )
    return pl.concat([people, babies.select(people.columns)]), pl.concat([claims, stays])


def _timed(world: World, claims: pl.DataFrame) -> pl.DataFrame:
    """Begin, end and settlement of each visit, and the days a stay is charged for (the day of discharge is not)."""
    rng, count = world.rng, claims.height
    of = world.illnesses[claims["illness"]]
    stay, special = (claims["kind"].is_in(kinds).to_numpy() for kinds in (STAYS, ["special_outpatient"]))
    los = rng.integers(of["from_days"].to_numpy(), of["to_days"].to_numpy() + 1)
    midnight = np.datetime64(date(world.ratios["year"], 1, 1), "us").astype(np.int64) + claims["day"].to_numpy() * DAY
    hours = np.where(
        claims["kind"].str.starts_with("emergency").to_numpy(),
        rng.integers(1, 20 * 60, count),
        rng.integers(8 * 60, 15 * 60, count),
    )
    begin = midnight + hours * MINUTE
    short = begin + rng.integers(15, 100, count) * MINUTE
    leaving = np.where(
        los > 0,
        midnight + los * DAY + rng.integers(9 * 60, 16 * 60, count) * MINUTE,
        begin + rng.integers(300, 480, count) * MINUTE,
    )
    sessions = midnight + 26 * DAY + rng.integers(13 * 60, 17 * 60, count) * MINUTE
    end = np.where(stay, leaving, np.where(special, sessions, short))
    settled = end + np.where(stay, rng.integers(10, 120, count), rng.integers(0, 12, count)) * MINUTE
    times = {"begntime": begin, "endtime": end, "setl_time": settled}
    return claims.with_columns(
        *(pl.Series(name, at).cast(pl.Datetime("us")) for name, at in times.items()), pl.Series("los", los)
    ).drop("day")


def _placed(world: World, claims: pl.DataFrame) -> pl.DataFrame:
    """The institution of each visit, by what it must be able to do and how large it is, and a doctor of the ward."""
    rng, sites = world.rng, world.institutions
    level = world.illnesses["level"].gather(claims["illness"]).to_numpy()
    kind = claims["kind"].to_numpy()
    need = np.where(kind == "pharmacy", "pharmacy", np.where(level >= 2, "second", "hospital"))
    if (sites["fixmedins_type"] == "village_clinic").any():
        need = np.where((kind == "general_outpatient") & (need == "hospital"), "any", need)
    hospital = sites["fixmedins_type"] == "hospital"
    able = {
        "pharmacy": sites["fixmedins_type"] == "pharmacy",
        "hospital": hospital,
        "second": hospital & sites["hosp_lv"].is_in(["2", "3"]),
        "any": sites["fixmedins_type"] != "pharmacy",
    }
    site = np.zeros(len(kind), np.int64)
    for name, open_to in able.items():
        rows = np.flatnonzero(need == name)
        odds = (sites["volume"] * open_to).to_numpy()
        if len(rows):
            site[rows] = rng.choice(len(odds), len(rows), p=odds / odds.sum())
    placed = claims.with_columns(
        pl.Series("site", site), world.illnesses["ward"].gather(claims["illness"]).alias("ward")
    )
    doctors = world.doctors.group_by("site", "ward").agg(pl.col("doctor").min())
    nth = rng.integers(0, world.ratios["doctors_per_ward"], len(kind))
    transferred = pl.Series(rng.random(len(kind)) < world.ratios["share_ward_transfers"])
    moved = pl.when(
        transferred & pl.col("kind").is_in(STAYS) & (pl.col("los") >= 5) & (pl.col("ward") != SECOND_WARD)
    ).then(pl.format("{}|{}", "ward", pl.lit(SECOND_WARD)))
    return placed.join(doctors, on=["site", "ward"], how="left", maintain_order="left").with_columns(
        pl.col("doctor") + pl.Series(nth),
        sites["hosp_lv"].gather(site).alias("level"),
        pl.Series("self_paid", rng.random(len(kind)) < world.ratios["share_self_paid"]),
        pl.lit(None, pl.Int64).alias("reverses"),
        moved.alias("ward_path"),
        pl.Series("dscg_way", rng.choice(["1", "2", "4"], len(kind), p=[0.96, 0.02, 0.02])),
    )


def _lines(world: World, claims: pl.DataFrame) -> pl.DataFrame:
    """The fee lines of the claims: every item of the illness that chance chose (at least one), as its `when` says."""
    rng, items = world.rng, world.items
    starts = np.searchsorted(items["illness"].to_numpy(), np.arange(world.illnesses.height + 1))
    illness = claims["illness"].to_numpy()
    claim, row = _runs(starts[illness], np.diff(starts)[illness])
    chosen = rng.random(len(row)) < items["chance"].to_numpy()[row]
    chosen[np.searchsorted(claim, np.flatnonzero(np.bincount(claim[chosen], minlength=claims.height) == 0))] = True
    claim, row = claim[chosen], row[chosen]
    days = np.maximum(claims["los"].to_numpy(), 1)[claim]
    when = items["when"].to_numpy()[row]
    times, day = np.zeros(len(row), np.int64), np.zeros(0, np.int64)
    for word, (count, _) in WHEN.items():
        times[when == word] = count(days[when == word])
    charge, nth = _runs(np.zeros(len(row), np.int64), times)
    claim, row, days, when = claim[charge], row[charge], days[charge], when[charge]
    day = np.zeros(len(row), np.int64)
    for word, (_, falls) in WHEN.items():
        day[when == word] = falls(nth[when == word], days[when == word])
    return _charged(world, claims, claim, row, day)


def _runs(start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every i the numbers start[i], start[i] + 1, … (length[i] of them), with the i each belongs to."""
    of = np.repeat(np.arange(len(length)), length)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(length) - length, length) + start[of]


def _charged(world: World, claims: pl.DataFrame, claim: np.ndarray, row: np.ndarray, day: np.ndarray) -> pl.DataFrame:
    """Quantity, price, amount and time of every line."""
    rng, items, count = world.rng, world.items, len(row)
    item = items["item"].to_numpy()[row]
    cnt = rng.integers(items["lo"].to_numpy()[row], items["hi"].to_numpy()[row] + 1)
    leave = (items["when"] == "leave").to_numpy()[row]
    begin, end = (claims[name].to_physical().to_numpy()[claim] for name in ("begntime", "endtime"))
    first = begin + rng.integers(4, 14, count) * MINUTE
    stay = claims["kind"].is_in(STAYS).to_numpy()[claim]
    whole_day = np.minimum(begin + rng.integers(5, 300, count) * MINUTE, begin // DAY * DAY + DAY - MINUTE)
    later = (begin // DAY + day) * DAY + rng.integers(7 * 60, 21 * 60, count) * MINUTE
    session = (begin // DAY + day) * DAY + rng.integers(8 * 60, 13 * 60, count) * MINUTE
    time = np.where(day > 0, np.where(stay, later, session), np.where(stay, whole_day, first))
    time = np.where(leave, end - rng.integers(20, 100, count) * MINUTE, time)
    micro = world.price[claims["level"].cast(pl.Int64).to_numpy()[claim], item]
    return pl.DataFrame(
        {
            "line": np.arange(count),
            "claim": claim,
            "item": item,
            "cnt": cnt,
            "micro": micro,
            "amount": fen(cnt, micro),
            "time": pl.Series(time).cast(pl.Datetime("us")),
            "order_time": pl.Series(time - rng.integers(0, 60, count) * MINUTE).cast(pl.Datetime("us")),
            "leave": leave,
            "reverses": pl.Series([None], dtype=pl.Int64).new_from_index(0, count),
        }
    )


def fen(cnt: np.ndarray, micro: np.ndarray) -> np.ndarray:
    """cnt times a price in millionths of a yuan, in whole fen, half away from zero."""
    product = cnt * micro
    return np.sign(product) * ((2 * np.abs(product) + MICRO_PER_FEN) // (2 * MICRO_PER_FEN))


def _diagnoses(world: World, claims: pl.DataFrame) -> pl.DataFrame:
    """The principal diagnosis of every visit but a purchase, and for some stays another one."""
    rng = world.rng
    of = claims.select("claim", "kind", "person", "illness").join(
        world.illnesses.with_row_index("illness").with_columns(pl.col("illness").cast(pl.Int64)),
        on="illness",
        maintain_order="left",
    )
    main = of.filter(pl.col("diag_code").is_not_null()).select(
        "claim", seq=pl.lit(1, pl.Int64), code="diag_code", name="diag_name"
    )
    own = of.filter(pl.col("other_code").is_not_null()).select(
        "claim", seq=pl.lit(2, pl.Int64), code="other_code", name="other_name"
    )
    grown = of.filter(pl.col("kind").is_in(STAYS), pl.col("from_age") >= 18)
    grown = grown.filter(pl.Series(rng.random(grown.height) < world.ratios["share_secondary_diagnosis"]))
    pick = rng.integers(0, world.secondary.height, grown.height)
    more = (
        grown.select(
            "claim",
            "diag_code",
            seq=pl.lit(3, pl.Int64),
            code=world.secondary["code"].gather(pick),
            name=world.secondary["name"].gather(pick),
        )
        .filter(pl.col("code") != pl.col("diag_code"))
        .drop("diag_code")
    )
    return (
        pl.concat([main, own, more])
        .sort("claim", "seq")
        .with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("claim").alias("seq"))
    )


def _procedures(world: World, claims: pl.DataFrame) -> pl.DataFrame:
    """The operation of a stay: on the second day (day surgery on the first), under two hours of anaesthesia."""
    rng = world.rng
    done = claims.filter(world.illnesses["operation"].gather(claims["illness"]).is_not_null())
    of = world.illnesses[done["illness"]]
    day = np.minimum(1, np.maximum(done["los"].to_numpy(), 1) - 1)
    later = (done["begntime"].to_physical().to_numpy() // DAY + day) * DAY + rng.integers(
        480, 900, done.height
    ) * MINUTE
    begin = np.where(
        day > 0, later, done["begntime"].to_physical().to_numpy() + rng.integers(30, 90, done.height) * MINUTE
    )
    length = rng.integers(30, 90, done.height) * MINUTE
    at = {
        "anst_begntime": begin,
        "oprn_begntime": begin + 10 * MINUTE,
        "oprn_endtime": begin + 10 * MINUTE + length,
        "anst_endtime": begin + 20 * MINUTE + length,
    }
    each = world.ratios["doctors_per_ward"]
    return done.select("claim", "doctor").with_columns(
        pl.lit(1, pl.Int64).alias("seq"),
        of["operation"].alias("code"),
        of["operation_name"].alias("name"),
        of["anaesthesia"].alias("anst_way"),
        *(pl.Series(name, times).cast(pl.Datetime("us")) for name, times in at.items()),
        (pl.col("doctor") // each * each + pl.Series(rng.integers(0, each, done.height))).alias("anst_doctor"),
    )
