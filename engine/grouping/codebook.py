"""How codes of claims are read: their national spelling, the names and conversions a scheme brings, and cautions.

Nothing is repaired in silence: what is read otherwise than it was written, or should not stand where it stands, is a
remark of a check (engine.grouping.care), told with the stay and counted among the checks of a run.
"""

from dataclasses import dataclass, field
from datetime import date
from functools import cache

import polars as pl

from engine.grouping.codes import Lookup, cleaned
from engine.reference.places import seeds_folder

DX, PROC = "dx", "proc"
EDITION = {DX: "ICD-10 医保版", PROC: "ICD-9-CM-3 医保版"}
CAUTIONS = ("female", "male", "from_age", "to_age", "not_principal", "grey")
CAUTION_COLUMNS = ("kind", "code", "caution", "value", "note", "source")
REMARKS = {"code": pl.UInt32, "check_id": pl.String, "text": pl.String}
LEFT_OUT = "-"


def _no_cautions() -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(CAUTION_COLUMNS, pl.String))


@dataclass(frozen=True)
class CodeBook:
    """What is known of codes, by kind (dx, proc).

    normalise: codes are read in the national spelling. convert: codes are those of the clinical edition (国临版) and
    are read as `maps` says (columns from, to; `-` for a code to be left out). names: every code of the insurance
    edition (columns code, name), where the scheme brings them. cautions: kind, code (a whole one, or a prefix that ends
    in %), caution (female, male, from_age, to_age, not_principal, grey), value (an age in years), note, source.
    valid: first and last day of discharge that the scheme is meant for.
    """

    normalise: bool = False
    convert: bool = False
    names: dict[str, pl.DataFrame] = field(default_factory=dict)
    maps: dict[str, pl.DataFrame] = field(default_factory=dict)
    cautions: pl.DataFrame = field(default_factory=_no_cautions)
    valid: tuple[date | None, date | None] = (None, None)

    def spelt(self, kind: str, written: pl.Series) -> pl.Series:
        """The codes as they are grouped; empty for a code that is left out."""
        codes = cleaned(written, self.normalise)
        if not (self.convert and kind in self.maps):
            return codes
        return codes.replace(self.maps[kind]["from"], self.maps[kind]["to"]).replace(LEFT_OUT, "")

    def remarks(self, kind: str, written: pl.Series, spelt: pl.Series) -> pl.DataFrame:
        """What is to be said of each code whatever the stay: `code` (its number), check_id, text."""
        codes = pl.DataFrame(
            {
                "written": written,
                "spelt": spelt,
                "national": cleaned(written, normalise=True),
                "converted": spelt != cleaned(written, self.normalise),
            }
        ).with_row_index("code")
        made = [self._misspelt(codes), self._converted(codes)]
        if kind in self.names:
            outside = codes.filter(pl.col("spelt") != "", ~pl.col("spelt").is_in(self.names[kind]["code"].implode()))
            made += self._unknown(kind, outside)
        return pl.concat([frame.cast(REMARKS) for frame in made])

    def _misspelt(self, codes: pl.DataFrame) -> pl.DataFrame:
        how = "已按规范写法分组" if self.normalise else "仍按原写法分组"
        said = pl.format(f"{{}} 规范写法为 {{}}，{how}", "written", "national")
        odd = codes.filter(pl.col("written") != pl.col("national"))
        return odd.select("code", check_id=pl.lit("G1"), text=said)

    def _converted(self, codes: pl.DataFrame) -> pl.DataFrame:
        said = pl.format("{} 由国临版转为医保版 {}", "written", "spelt")
        said = pl.when(pl.col("spelt") == "").then(pl.format("{} 按转换表不采用", "written")).otherwise(said)
        return codes.filter("converted").select("code", check_id=pl.lit("G3"), text=said)

    def _unknown(self, kind: str, codes: pl.DataFrame) -> list[pl.DataFrame]:
        """Codes outside the insurance edition: those of the clinical one, which a table would convert, and others."""
        maps = self.maps.get(kind, pl.DataFrame(schema={"from": pl.String, "to": pl.String}))
        codes = codes.join(maps, left_on="national", right_on="from", how="left", maintain_order="left")
        clinical = pl.col("to").is_not_null() & (pl.col("to") != pl.col("national"))
        same = pl.col("to") == pl.col("national")  # only misspelt
        to = pl.format(f"{{}} 是国临版编码，{EDITION[kind]}为 {{}}，未转换", "written", "to")
        nowhere = pl.format(f"{{}} 不在{EDITION[kind]}编码表", "written")
        return [
            codes.filter(clinical).select("code", check_id=pl.lit("G3"), text=to),
            codes.filter(~clinical.fill_null(False), ~same.fill_null(False)).select(
                "code", check_id=pl.lit("G2"), text=nowhere
            ),
        ]

    def cautions_of(self, kind: str, spelt: pl.Series) -> pl.DataFrame:
        """The cautions that touch each code: `code` (its number), caution, value, note; the longest entry speaks."""
        own = self.cautions.filter(pl.col("kind") == kind)
        pairs = Lookup(own["code"]).pairs(spelt)
        said = own[pairs["entry"]].select("caution", "note", value=pl.col("value").cast(pl.Int64, strict=False))
        found = pl.concat([pairs.select("code"), said], how="horizontal")
        if kind == DX:
            found = pl.concat([found, _manifestations(spelt)], how="diagonal")
        return found.unique(["code", "caution"], keep="last", maintain_order=True)


def _manifestations(spelt: pl.Series) -> pl.DataFrame:
    """Asterisk codes without their dagger half: a manifestation is never the principal diagnosis."""
    alone = pl.DataFrame({"spelt": spelt}).with_row_index("code").filter(pl.col("spelt").str.contains(r"^[^+]+\*$"))
    return alone.select("code", caution=pl.lit("not_principal"), note=pl.lit("星号编码（疾病的表现）"))


def book_of(tables: dict[str, pl.DataFrame], options: dict[str, str]) -> CodeBook:
    """What is known of codes: the scheme's own tables, and our cautions where it brings none."""
    files = {DX: ("icd10_names", "icd10_map"), PROC: ("icd9_names", "icd9_map")}
    cautions = tables.get("cautions")
    return CodeBook(
        normalise=options["normalise_codes"] == "yes",
        convert=options["convert_codes"] == "yes",
        names={kind: tables[names].select("code", "name") for kind, (names, _) in files.items() if names in tables},
        maps={kind: tables[file].select("from", "to") for kind, (_, file) in files.items() if file in tables},
        valid=tuple(date.fromisoformat(options[o]) if options[o] else None for o in ("begndate", "enddate")),
        cautions=our_cautions() if cautions is None else cautions.select(CAUTION_COLUMNS),
    )


@cache
def our_cautions() -> pl.DataFrame:
    """Which codes fit one sex, an age, or never stand as the principal diagnosis, by the structure of ICD itself."""
    return pl.read_csv(seeds_folder() / "drg" / "cautions.csv", infer_schema=False)
