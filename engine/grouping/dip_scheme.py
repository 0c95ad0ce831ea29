"""A DIP catalogue ready to group with, built from its folder of tables; the formats are those of dip_files."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from engine.grouping.codebook import CodeBook
from engine.grouping.dip_deviation import Bands
from engine.grouping.dip_files import BANDS, DATED, read_dip
from engine.tables.problems import Problem

WEIGHT = pl.Decimal(12, 8)
NONE = -1  # the number of what is not there


@dataclass(frozen=True)
class DipScheme:
    """A DIP catalogue ready to group with.

    groups: group, name, kind, dx, procedures (list, sorted), class, units (weight in 1e-8, Int64), mean_cost_fen; core
    groups first and in order of trial, so that the lowest row that fits wins. members: dx (number in core_dx), proc
    (number in core_procs), group (row of groups), bit. classes, cc, cci: code and what it means, in file order.
    auxiliary: by table its rows, with `coefficient` in units of 1e-4. means: group, hosp_lv, mean_cost_fen.
    """

    name: str
    version: str
    book: CodeBook
    dx_characters: int
    procedure_characters: int
    unlisted: str
    combine: str
    threshold: int
    base_score: int
    bands: Bands
    groups: pl.DataFrame
    core_dx: pl.Series
    core_procs: pl.Series
    members: pl.DataFrame
    classes: pl.DataFrame
    cc: pl.DataFrame
    cci: pl.DataFrame
    auxiliary: dict[str, pl.DataFrame]
    means: pl.DataFrame


def load_dip(folder: Path) -> tuple[DipScheme | None, list[Problem]]:
    """The catalogue of a folder, or None and everything that is wrong with it."""
    tables, options, problems = read_dip(folder)
    return (None, problems) if problems else (build(tables, options), [])


def build(tables: dict[str, pl.DataFrame], options: dict[str, str]) -> DipScheme:
    """The catalogue of tables without faults (all text) and of every option."""
    groups = _ranked(tables["dip"])
    core = groups.filter(pl.col("kind") == "core").select("dx", "procedures").with_row_index("group")
    core_dx = core["dx"].unique().sort()
    bit = pl.lit(2, pl.Int64).pow(pl.int_range(pl.len()).over("group"))
    members = core.filter(pl.col("procedures").list.len() > 0).explode("procedures").with_columns(bit=bit)
    core_procs = members["procedures"].unique().sort()
    return DipScheme(
        name=options["name"],
        version=options["version"],
        book=CodeBook(normalise=options["normalise_codes"] == "yes"),
        dx_characters=int(options["dx_characters"]),
        procedure_characters=int(options["procedure_characters"]),
        unlisted=options["unlisted"],
        combine=options["auxiliary"],
        threshold=int(options["threshold"]),
        base_score=int(options["base_score"]),
        bands=Bands(
            *(Decimal(options[f"deviation_{name}"]) for name in ("low", "high", "review")),
            normal=options["deviation_normal"],
            review_at=options["deviation_review_at"] == "yes",
        ),
        groups=groups,
        core_dx=core_dx,
        core_procs=core_procs,
        members=members.select(
            dx=pl.Series(place_of(members["dx"], core_dx)),
            proc=pl.Series(place_of(members["procedures"], core_procs)),
            group=pl.col("group").cast(pl.Int64),
            bit="bit",
        ),
        classes=_table(tables, "procedures", "class"),
        cc=_table(tables, "cc", "level"),
        cci=_table(tables, "cci", "condition", "points"),
        auxiliary={name: _auxiliary(tables[name], name) for name in BANDS if name in tables},
        means=_means(tables),
    )


def _ranked(dip: pl.DataFrame) -> pl.DataFrame:
    codes = pl.when(pl.col("procedures") == "").then(pl.lit([], pl.List(pl.String))).otherwise(
        pl.col("procedures").str.split("+").list.eval(pl.element().str.strip_chars()).list.sort()
    )  # fmt: skip
    units = pl.col("weight").str.to_decimal(scale=8).cast(WEIGHT).to_physical().cast(pl.Int64)
    groups = dip.select(
        "group", "name", "kind", "dx", "class", procedures=codes, units=units,
        mean_cost_fen=pl.col("mean_cost_fen").cast(pl.Int64, strict=False),
    )  # fmt: skip
    order = [pl.col("kind") == "core", pl.col("procedures").list.len(), pl.col("units"), pl.col("group")]
    return groups.sort(order, descending=[True, True, True, False])


def _table(tables: dict[str, pl.DataFrame], name: str, *columns: str) -> pl.DataFrame:
    if name not in tables:
        return pl.DataFrame(schema=dict.fromkeys(("code", *columns), pl.String))
    return tables[name].select("code", *columns)


def _means(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    if "means" not in tables:
        return pl.DataFrame(schema={"group": pl.String, "hosp_lv": pl.String, "mean_cost_fen": pl.Int64})
    return tables["means"].select("group", "hosp_lv", pl.col("mean_cost_fen").cast(pl.Int64))


def _auxiliary(table: pl.DataFrame, name: str) -> pl.DataFrame:
    coefficient = pl.col("coefficient").str.to_decimal(scale=4).cast(pl.Decimal(12, 4))
    return table.with_columns(
        *(pl.col(column).cast(pl.Int64, strict=False) for column in BANDS[name]),
        *(pl.col(column).str.to_date("%Y-%m-%d", strict=False) for column in DATED),
        coefficient=coefficient.to_physical().cast(pl.Int64),
        text="coefficient",
    )


def place_of(codes: pl.Series, among: pl.Series) -> np.ndarray:
    """The number of each code among sorted distinct codes, NONE where it is not there."""
    numbers = pl.DataFrame({"code": among}).with_row_index("number").with_columns(pl.col("number").cast(pl.Int64))
    found = pl.DataFrame({"code": codes}).join(numbers, on="code", how="left", maintain_order="left")
    return found["number"].fill_null(NONE).to_numpy()


def cut(codes: pl.Series, before_dot: int, characters: int) -> pl.Series:
    """Codes cut to so many characters, the dot after `before_dot` not counted; 0 leaves them whole."""
    return codes.str.slice(0, characters + (characters > before_dot)).str.strip_suffix(".") if characters else codes
