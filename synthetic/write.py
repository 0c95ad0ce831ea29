"""Writing a bundle in canonical form: tables as CSV, the big ones of a large bundle as numbered Parquet files."""

from pathlib import Path

import polars as pl

from engine.tables.dictionary import table
from synthetic.canonical import decimal
from synthetic.packs import code_free, identifiers
from synthetic.world import World

LARGE = 100_000  # claims from which on the big tables are Parquet
BIG = ("claims", "fee_lines", "trace_codes")
OF_BATCH = (
    "persons",
    "account_openings",
    "claims",
    "diagnoses",
    "procedures",
    "fee_lines",
    "trace_codes",
    "pack_relations",
)


def in_yuan(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Money columns of a canonical table as yuan with two decimals."""
    money = [
        field.name for field in table(name).fields.values() if field.type == "money" and field.name in frame.columns
    ]
    return frame.with_columns(decimal(pl.col(column), 2) for column in money)


class CanonicalFiles:
    """Adds batches to the files of a bundle; the same batches in the same order make the same bytes."""

    def __init__(self, out: Path, world: World, claims: int):
        self.out, self.world, self.large, self.rows, self.parts = out, world, claims > LARGE, {}, {}
        out.mkdir(parents=True, exist_ok=True)

    def add(self, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """Writes the tables of a batch; answers the truth about it."""
        for name in OF_BATCH:
            self._write(name, tables[name])
        return tables["truth"]

    def close(self, stock: dict[str, pl.DataFrame]) -> None:
        """Writes the tables about institutions and stores."""
        for name, frame in (region_tables(self.world) | stock).items():
            self._write(name, frame)

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        frame, part = in_yuan(name, frame), self.parts.get(name, 0)
        if self.large and name in BIG:
            frame.write_parquet(self.out / f"{name}-{part + 1:04d}.parquet", compression="zstd", compression_level=1)
        else:
            with (self.out / f"{name}.csv").open("ab") as file:
                frame.write_csv(file, include_header=part == 0, datetime_format="%Y-%m-%d %H:%M:%S")
        self.parts[name], self.rows[name] = part + 1, self.rows.get(name, 0) + frame.height


def region_tables(world: World) -> dict[str, pl.DataFrame]:
    """What a region knows beside its claims: institutions, doctors, chains, identifiers of medicines."""
    sites, doctors = world.institutions, world.doctors
    names = ["fixmedins_code", "fixmedins_name", "fixmedins_type", "hosp_lv", "admdvs", "lon", "lat"]
    members = sites.filter(pl.col("chain_id").is_not_null()).sort("fixmedins_code")
    first = pl.col("fixmedins_code") == pl.col("fixmedins_code").first().over("chain_id")
    return {
        "institutions": sites.select(names).sort("fixmedins_code"),
        "practitioners": doctors.select(
            prac_psn_code="doctor_code",
            prac_psn_name="doctor_name",
            prac_psn_type=pl.lit("医师"),
            fixmedins_code=sites["fixmedins_code"].gather(doctors["site"]),
        ).sort("prac_psn_code"),
        "chains": members.select(
            "fixmedins_code", "chain_id", warehouse=pl.when(first).then(pl.lit("1")).otherwise(pl.lit("0"))
        ),
        "drug_identifiers": identifiers(world),
        "code_free": code_free(world),
    }
