"""People: sex, birthday, insurance, home and identity number of somebody who does not exist."""

from datetime import date

import numpy as np
import polars as pl

from synthetic.world import World

_CHECK_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_CHECK_DIGITS = np.array(list("10X98765432"))


def make_people(world: World, ages: np.ndarray) -> pl.DataFrame:
    """People of the given ages on 1 January: psn_no, certno, name, sex, birthday, insurance, home, account opening."""
    rng, ratios, count = world.rng, world.ratios, len(ages)
    first_day = np.datetime64(date(ratios["year"], 1, 1), "D")
    brdy = first_day - (ages * 365.25).astype(np.int64) - rng.integers(1, 365, count)
    gend = rng.integers(1, 3, count)
    city = rng.integers(0, len(ratios["cities"]), count)
    abroad = rng.random(count) < ratios["share_elsewhere"]
    admdvs = np.where(abroad, ratios["elsewhere"], np.array(ratios["cities"])[city])
    group = _groups(world, ages)
    low, high = (100 * yuan for yuan in ratios["account_opening_yuan"])
    opening = np.where(np.isin(group, ["11", "12"]), rng.integers(low, high + 1, count), 0)
    psn = world.numbers["person"].take(count)
    return pl.DataFrame(
        {
            "psn_no": pl.Series(psn).cast(pl.String).str.zfill(8),
            "certno": certno(psn, brdy, gend),
            "psn_name": world.names[rng.integers(0, len(world.names), count)],
            "gend": gend.astype(str),
            "brdy": brdy.astype("datetime64[D]"),
            "age": ages,
            "psn_type": group,
            "insutype": np.where(np.isin(group, ["11", "12"]), "310", "390"),
            "insu_admdvs": admdvs,
            "opening": opening,
        }
    ).with_columns(pl.format("4499{}", "psn_no").alias("psn_no"))


def _groups(world: World, ages: np.ndarray) -> np.ndarray:
    """人员类别: 11 working, 12 retired, 14 child or student, 15 other resident."""
    draw, ratios = world.rng.random(len(ages)), world.ratios
    adult = np.where(draw < ratios["share_employees_18_59"], "11", "15")
    old = np.where(draw < ratios["share_employees_60"], "12", "15")
    return np.where(ages < 18, "14", np.where(ages < 60, adult, old))


def certno(number: np.ndarray, brdy: np.ndarray, gend: np.ndarray) -> np.ndarray:
    """Identity numbers with a valid check digit; the region code 4499xx is not assigned, so none is a real person's."""
    day = brdy.astype("datetime64[D]").astype(str)
    serial = number % 500 * 2 + (gend == 1)
    body = np.char.add(
        np.char.add(
            np.char.add("4499", np.char.zfill((number // 500 % 100).astype(str), 2)), np.char.replace(day, "-", "")
        ),
        np.char.zfill(serial.astype(str), 3),
    )
    digits = body.astype("U17").view("U1").reshape(len(body), 17).astype(np.int64)
    return np.char.add(body, _CHECK_DIGITS[digits @ _CHECK_WEIGHTS % 11])
