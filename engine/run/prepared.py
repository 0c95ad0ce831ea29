"""An extract read once and kept, so that questions asked while a rule is edited do not read it again.

What is kept are the accepted, typed tables as Parquet: those of persons in buckets of whole persons, refunds and
returns netted, the others whole. An extract is known by its files (place, size, time of change), its profile, the
region's wordings and the engine itself; where one of them changed it is read anew. A few extracts are kept, the oldest
go.
"""

import datetime
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import polars as pl

from engine.audit.needs import columns_read
from engine.language.rule import LoadedRule
from engine.run import buckets, pipeline, stages
from engine.run.private import keep_newest, private_folder
from engine.run.region import Region

KEPT = 3


@dataclass(frozen=True)
class Prepared:
    """A prepared extract in its folder: `inputs` as the manifest tells them, `last_day` of settlement, if any."""

    folder: Path
    inputs: list[dict]
    profile: str
    last_day: datetime.date | None
    buckets: int

    @property
    def tables(self) -> dict[str, pl.LazyFrame]:
        """Every canonical table, as tables.read gives it."""
        found = {p.stem: pl.scan_parquet(p) for p in sorted((self.folder / "whole").glob("*.parquet"))}
        names = {p.stem for p in (self.folder / "person").glob("*/*.parquet")}
        return found | {name: pl.scan_parquet(self.folder / "person" / "*" / f"{name}.parquet") for name in names}

    @cached_property
    def registers(self) -> dict[str, pl.DataFrame]:
        """What every bucket of persons is told whole."""
        return buckets.registers(self.tables)

    def bucket(self, number: int, rules: list[LoadedRule] | None = None) -> dict[str, pl.DataFrame]:
        """The tables of one bucket of persons, netted; of the fee lines what some rules read, or all."""
        found = dict(self.registers)
        for path in sorted((self.folder / "person" / f"{number:05}").glob("*.parquet")):
            columns = None
            if path.stem == "fee_lines" and rules is not None:
                columns = sorted({*columns_read(rules), "net_cnt"} & set(pl.read_parquet_schema(path)))
            found[path.stem] = pl.read_parquet(path, columns=columns)
        return found

    def of_claim(self, setl_id: str) -> dict[str, pl.DataFrame]:
        """The tables of the person whose claim it is, netted; empty where there is no such claim."""
        for folder in sorted((self.folder / "person").glob("*")):
            frames = {p.stem: pl.scan_parquet(p) for p in sorted(folder.glob("*.parquet"))}
            person = frames["claims"].filter(pl.col("setl_id") == setl_id).select("_person").collect()
            if person.height:
                claims = frames["claims"].filter(pl.col("_person") == person.item())
                kept = {name: frame.join(claims.select(key).unique(), on=key, how="semi")
                        for names, key in ((buckets.OF_CLAIM, "setl_id"), (buckets.BY_PERSON, "psn_no"))
                        for name, frame in frames.items() if name in names}  # fmt: skip
                own = {name: frame.collect() for name, frame in {**kept, "claims": claims}.items()}
                return {**self.registers, **own}
        return {}


def prepared(source: Path, region: Region, profile: str = "auto", progress: pipeline.Progress = pipeline.quiet):
    """The extract at `source`, from the cache where it is known there. Raises Problem as reading does."""
    extracts = private_folder("extracts")
    folder = extracts / _key(source, region, profile)
    if not (folder / "about.json").exists():
        _prepare(source, region, profile, progress, folder)
    folder.touch()
    keep_newest(extracts, KEPT)
    about = json.loads((folder / "about.json").read_text("utf-8"))
    day = about["last_day"] and datetime.date.fromisoformat(about["last_day"])
    return Prepared(folder, about["inputs"], about["profile"], day, about["buckets"])


def _key(source: Path, region: Region, profile: str) -> str:
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    facts = [str(source.resolve()), *((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)]
    own = Path(profile).read_text("utf-8") if Path(profile).is_file() else profile
    return digest(facts, own, region.knowledge["wordings"].write_csv(), engine_digest())


def _prepare(source: Path, region: Region, profile: str, progress, folder: Path) -> None:
    """Read into a folder of its own beside the place, and move it there when all of it exists."""
    with tempfile.TemporaryDirectory(dir=private_folder("reading")) as work:
        made = Path(work) / "made"
        extract = pipeline.read_once(source, Path(work), region, pipeline.Options(profile), progress)
        count = _buckets(extract.tables, Path(work), made) if "claims" in extract.tables else 0
        (made / "whole").mkdir(parents=True)
        own = {p.stem for p in (made / "person").glob("*/*.parquet")}
        for name, frame in extract.tables.items():
            if name not in own:
                frame.sink_parquet(made / "whole" / f"{name}.parquet")
        about = {"inputs": extract.inputs, "profile": extract.profile, "last_day": pipeline.last_day(extract),
                 "buckets": count}  # fmt: skip
        (made / "about.json").write_text(json.dumps(about, ensure_ascii=False, default=str), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _buckets(tables: dict[str, pl.LazyFrame], work: Path, made: Path) -> int:
    cut = work / "cut"
    count = buckets.split(tables, cut)
    for number in range(count):
        bucket = stages.netted(buckets.bucket_tables(cut, number))
        folder = made / "person" / f"{number:05}"
        folder.mkdir(parents=True)
        for name, frame in bucket.items():
            frame.write_parquet(folder / f"{name}.parquet", compression="lz4")
    return count


def digest(*facts) -> str:
    """A short name for what something depends on."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


@cache
def engine_digest() -> str:
    """The engine's own code and words: what it answered before an update is not what it answers after."""
    room = Path(__file__).parents[1]
    files = sorted(p for p in room.rglob("*") if p.suffix in (".py", ".yaml"))
    return hashlib.sha256(b"\0".join(p.read_bytes() for p in files)).hexdigest()
