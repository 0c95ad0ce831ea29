"""The region: its catalogue, illnesses, institutions, doctors and people, drawn once from ratios.yaml and a seed."""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from faker import Faker

from engine.reference.places import seeds_folder
from engine.tables.problems import InputProblem

MICRO_PER_FEN = 10_000  # prices are whole millionths of a yuan inside, so that every product is an exact integer
NAMES = 1500
_ITEM = re.compile(
    r"(?P<code>\S+) (?P<name>.+?) \| (?P<when>\w+) \| (?P<lo>\d+)(?:-(?P<hi>\d+))? \| (?P<chance>[\d.]+)"
)


@dataclass
class Numbers:
    """Numbers without a pattern: the n-th call of `take` gives what no earlier one gave, scattered over the range."""

    range: int
    step: int  # without a common divisor with range
    used: int = 0

    def take(self, count: int) -> np.ndarray:
        index = np.arange(self.used + 1, self.used + count + 1, dtype=np.int64)
        self.used += count
        return index * self.step % self.range


@dataclass
class World:
    """What does not change while claims are made. price, ceiling: [level 0-3, item] in millionths of a yuan."""

    ratios: dict
    rng: np.random.Generator
    catalogue: pl.DataFrame
    price: np.ndarray
    ceiling: np.ndarray
    illnesses: pl.DataFrame
    items: pl.DataFrame
    secondary: pl.DataFrame
    institutions: pl.DataFrame
    doctors: pl.DataFrame
    names: np.ndarray
    numbers: dict[str, Numbers] = field(default_factory=dict)

    def item(self, code: str) -> int:
        """The row of an item in the catalogue."""
        return self.catalogue["med_list_codg"].index_of(code)

    def items_where(self, *where: pl.Expr | pl.Series) -> list[int]:
        """The rows of the items of which all this is true."""
        return self.catalogue.with_row_index("item").filter(*where)["item"].to_list()

    def illness(self, name: str) -> int:
        """The row of an illness."""
        return self.illnesses["name"].index_of(name)


def build_world(claims: int, seed: int, pharmacies: bool = True) -> World:
    """The region in which about that many claims arise in a year. The same seed gives the same region."""
    ratios = read_ratios()
    rng = np.random.default_rng(seed)
    names = _names(seed)
    catalogue = read_catalogue()
    illnesses, items, secondary = read_illnesses(catalogue)
    institutions = _institutions(ratios, rng, claims, pharmacies, seed)
    if not pharmacies:  # the hospitals' form, which has neither pharmacies nor the balances of personal accounts
        ratios["account_opening_yuan"] = [0, 0]
        ratios["kinds"] = {kind: share for kind, share in ratios["kinds"].items() if kind != "pharmacy"}
    doctors = _doctors(ratios, rng, institutions, illnesses, names)
    return World(
        ratios,
        rng,
        catalogue,
        *_prices(catalogue),
        illnesses,
        items,
        secondary,
        institutions,
        doctors,
        names,
        _numbers(claims),
    )


def read_ratios() -> dict:
    """synthetic/ratios.yaml, the one place where realism is stated."""
    return yaml.safe_load((Path(__file__).parent / "ratios.yaml").read_text("utf-8"))


def read_seed(table: str) -> pl.DataFrame:
    """A knowledge table of the seeds, all text."""
    path = seeds_folder() / "knowledge" / f"{table}.csv"
    if not path.is_file():
        raise InputProblem("没有这张知识表, 无法生成模拟数据", where=str(path))
    return pl.read_csv(path, infer_schema=False)


def read_catalogue() -> pl.DataFrame:
    """The payment catalogue of the seeds, with `micro`: the price in millionths of a yuan."""
    frame = read_seed("catalogue")
    return frame.with_columns(micro=pl.Series([_micro(price) for price in frame["price"]], dtype=pl.Int64))


def read_illnesses(catalogue: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Illnesses (one row each), their items (illness, item, when, lo, hi, chance), and what may come on top."""
    text = yaml.safe_load((Path(__file__).parent / "illnesses.yaml").read_text("utf-8"))
    codes = {code: row for row, code in enumerate(catalogue["med_list_codg"])}
    illnesses, items = [], []
    for number, (name, body) in enumerate(text["illnesses"].items()):
        illnesses.append(_illness(name, body))
        for line in _lines_of(name, body, text):
            if not (match := _ITEM.fullmatch(line)):
                raise InputProblem(f"不认识的收费行 {line!r}", where=f"illnesses.yaml: {name}")
            if match["code"] not in codes:
                raise InputProblem(f"支付目录中没有 {match['code']} {match['name']}", where=f"illnesses.yaml: {name}")
            items.append(
                (
                    number,
                    codes[match["code"]],
                    match["when"],
                    int(match["lo"]),
                    int(match["hi"] or match["lo"]),
                    float(match["chance"]),
                )
            )
    schema = {
        "illness": pl.Int64,
        "item": pl.Int64,
        "when": pl.String,
        "lo": pl.Int64,
        "hi": pl.Int64,
        "chance": pl.Float64,
    }
    secondary = pl.DataFrame(
        [other.split(" ", 1) for other in text["secondary"]], schema=["code", "name"], orient="row"
    )
    return pl.DataFrame(illnesses), pl.DataFrame(items, schema=schema, orient="row"), secondary


def _illness(name: str, body: dict) -> dict:
    code, label = body["diagnosis"].split(" ", 1) if body["diagnosis"] else (None, None)
    operation, operation_name = body["operation"].split(" ", 1) if "operation" in body else (None, None)
    other, other_name = body["others"][0].split(" ", 1) if "others" in body else (None, None)
    return {
        "name": name,
        "ward": body["ward"] or None,
        "kinds": body["kinds"],
        "weight": float(body["weight"]),
        "level": body["level"],
        "from_age": body["ages"][0],
        "to_age": body["ages"][1],
        "sex": body.get("sex", ""),
        "from_days": body.get("days", [0, 0])[0],
        "to_days": body.get("days", [0, 0])[1],
        "diag_code": code,
        "diag_name": label,
        "other_code": other,
        "other_name": other_name,
        "operation": operation,
        "operation_name": operation_name,
        "anaesthesia": body.get("anaesthesia"),
        "disease": body.get("disease"),
    }


def _lines_of(name: str, body: dict, text: dict) -> list[str]:
    lines = list(text["items"][name])
    if "days" in body:
        lines += text["stay"] + (text["care"].get(body["nursing"]) or text["items"][body["nursing"]])
        lines += [] if name == "newborn_jaundice" else text["workup"]
    if "operation" in body:
        lines += text["preoperative"]
    if body["ward"] == "重症医学科":
        lines = [
            line.replace("001109000010300 普通病房床位费(三人间)", "001109000030000 监护病房床位费") for line in lines
        ]
    return lines


def _prices(catalogue: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Clean prices and ceilings, [level 0-3, item]: what has a ceiling is charged at it, rounded down to ten fen."""
    listed = catalogue["micro"].to_numpy()
    ceiling = np.tile(listed, (4, 1))
    caps = read_seed("price_caps").filter(pl.col("med_list_codg").is_in(catalogue["med_list_codg"].implode()))
    row = {code: row for row, code in enumerate(catalogue["med_list_codg"])}
    for code, level, cap in caps.select("med_list_codg", "hosp_lv", "pric_uplmt_amt").iter_rows():
        ceiling[int(level), row[code]] = _micro(cap)
    ceiling[0] = ceiling[1]
    ten_fen = 10 * MICRO_PER_FEN
    service = catalogue["med_list_codg"].str.contains(r"^\d").to_numpy()
    return np.where(service & (ceiling > ten_fen), ceiling // ten_fen * ten_fen, ceiling), ceiling


def _micro(yuan: str) -> int:
    return int(Decimal(yuan) * 10**6)


def _names(seed: int) -> np.ndarray:
    fake = Faker("zh_CN")
    fake.seed_instance(seed)
    return np.array([fake.name() for _ in range(NAMES)])


def _institutions(ratios: dict, rng: np.random.Generator, claims: int, pharmacies: bool, seed: int) -> pl.DataFrame:
    """Hospitals of three levels, pharmacies in chains, village clinics, each with a place on the map."""
    fake = Faker("zh_CN")
    fake.seed_instance(seed + 1)
    hospitals = _count(claims, ratios["claims_per_hospital"], ratios["hospitals"])
    shops = _count(claims, ratios["claims_per_pharmacy"], ratios["pharmacies"]) if pharmacies else 0
    clinics = _count(claims, ratios["claims_per_clinic"], ratios["clinics"]) if pharmacies else 0
    levels = _spread(hospitals, ratios["levels"])
    kinds = ["hospital"] * hospitals + ["pharmacy"] * shops + ["village_clinic"] * clinics
    total = len(kinds)
    city = rng.integers(0, len(ratios["cities"]), total)
    lon, lat = _places(rng, city)
    chain = [f"C{1 + n // ratios['pharmacies_per_chain']:03d}" for n in range(shops)]
    suffix = {"hospital": "医院", "pharmacy": "大药房", "village_clinic": "村卫生室"}
    number = np.arange(1, total + 1)
    return (
        pl.DataFrame(
            {
                "fixmedins_code": [
                    f"{'P' if kind == 'pharmacy' else 'H'}{ratios['cities'][c]}{n:05d}"
                    for kind, c, n in zip(kinds, city, number, strict=True)
                ],
                "fixmedins_name": [
                    f"{fake.company_prefix()}{suffix[kind]}({n}号)" for kind, n in zip(kinds, number, strict=True)
                ],
                "fixmedins_type": kinds,
                "hosp_lv": levels + ["0"] * shops + ["1"] * clinics,
                "admdvs": [ratios["cities"][c] for c in city],
                "lon": lon,
                "lat": lat,
                "chain_id": [None] * hospitals + chain + [None] * clinics,
                "volume": [ratios["level_volume"][level] for level in levels] + [1.0] * (shops + clinics),
            }
        )
        .with_row_index("site")
        .with_columns(pl.col("site").cast(pl.Int64))
    )


def _count(claims: int, each: int, limits: list[int]) -> int:
    return int(np.clip(round(claims / each), *limits))


def _spread(count: int, shares: dict[str, float]) -> list[str]:
    """So many of each level that the shares hold, at least one of each."""
    counts = {level: max(1, round(share * count)) for level, share in shares.items()}
    counts["1"] = max(1, count - counts["3"] - counts["2"])
    return [level for level, many in counts.items() for _ in range(many)][:count]


def _places(rng: np.random.Generator, city: np.ndarray) -> tuple[pl.Series, pl.Series]:
    """Positions scattered about the centre of their city, the centres some 80 km apart."""
    millionths = rng.integers(-150_000, 150_000, (2, len(city)))
    lon, lat = 113_000_000 + city % 3 * 800_000 + millionths[0], 23_000_000 + city // 3 * 800_000 + millionths[1]
    return tuple(pl.Series([Decimal(int(v)).scaleb(-6) for v in axis], dtype=pl.Decimal(9, 6)) for axis in (lon, lat))


def _doctors(
    ratios: dict, rng: np.random.Generator, institutions: pl.DataFrame, illnesses: pl.DataFrame, names: np.ndarray
) -> pl.DataFrame:
    """Doctors of every ward of every institution: doctor (row), site, ward, ward_code, code, name."""
    wards = illnesses["ward"].drop_nulls().unique(maintain_order=True)
    ward = pl.DataFrame({"ward": wards, "ward_code": [f"{n:04d}" for n in range(101, 101 + len(wards))]})
    each = pl.DataFrame({"nth": np.arange(ratios["doctors_per_ward"])})
    sites = institutions.filter(pl.col("fixmedins_type") != "pharmacy").select("site", "admdvs")
    doctors = sites.join(ward, how="cross", maintain_order="left_right")
    doctors = doctors.join(each, how="cross", maintain_order="left_right").with_row_index("doctor")
    return doctors.with_columns(
        pl.col("doctor").cast(pl.Int64),
        pl.format("D{}{}", "admdvs", (pl.col("doctor") + 1).cast(pl.String).str.zfill(6)).alias("doctor_code"),
        pl.Series("doctor_name", names[rng.integers(0, len(names), doctors.height)]),
    ).drop("nth", "admdvs")


def _numbers(claims: int) -> dict[str, Numbers]:
    """A scattered numbering for every kind of id, each with room for all it may have to name."""
    return {
        "person": Numbers(99_999_989, 61_803_397),
        "claim": Numbers(999_999_937, 618_033_983),
        "line": Numbers(99_999_999_977, 61_803_398_867),
        "pack": Numbers(9_999_999_967, 6_180_339_887),
        "event": Numbers(99_999_999_977, 38_196_601_099),
        "chart": Numbers(99_999_989, 38_196_601),
    }
