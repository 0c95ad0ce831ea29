"""The person split: every table of a bundle cut into buckets of whole persons, so that a bucket fits in memory.

Locally the buckets are folders of Parquet files that the runner reads one after another.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import polars as pl

from engine.audit.facts import STOCKED
from engine.audit.needs import LinesRead, lines_read
from engine.audit.recordcases import with_overlaps
from engine.audit.registerfacts import stocked
from engine.language.rule import LoadedRule
from engine.run.region import Region
from engine.tables.dictionary import table, with_fields
from engine.tables.persons import bucket_of, resolve

LINES_A_BUCKET, CLAIMS_A_BUCKET, ROWS_AT_ONCE = 1_000_000, 500_000, 1_000_000
RECORDS = ("prescriptions", "service_logs", "orders", "reports")  # of a claim, or of a person and no claim
BY_CLAIM = ("fee_lines", "diagnoses", "procedures", *RECORDS)
CODED = ("drug_identifiers", "code_free")  # which drugs carry codes
REGISTERS = ("institutions", "practitioners", "devices", "wards", "terminals", "table_coverage", *CODED)  # read whole
LINE_CODES = "line_codes"  # of the trace codes those that name a fee line, as far as settlement asks for them
OF_CLAIM = (*BY_CLAIM, LINE_CODES)
_LINE_CODE = ["feedetl_sn", "drug_trac_codg", "trdn_flag", "event_type"]
SMALL = (*REGISTERS, "store_items", "stock_balances", "stock_moves", "invoices", "persons")
BY_SITE = ("service_logs", "reports", "prescriptions", "pos_sales")  # cut by institution where rules look at one
BY_PERSON = ("persons", "enrolments", "filings", "disease_entitlements", "aid_spells", "account_openings", "ltc_visits",
             "account_debits", "maternity_leaves")  # fmt: skip

Placed = Callable[[pl.LazyFrame], pl.LazyFrame]


def persons_of(tables: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    """psn_no -> person, from the claims, the persons and the visits of carers, as far as they are given."""
    wanted = ["psn_no", "certno", "brdy", "gend", "acct_group"]
    frames = [
        tables[t] for t in ("persons", "claims", "ltc_visits", "account_debits", "maternity_leaves") if t in tables
    ]
    have = [f.select([c for c in wanted if c in f.collect_schema().names()]).unique() for f in frames]
    return resolve(pl.concat([f.collect() for f in have], how="diagonal_relaxed").unique())


def split(tables: dict[str, pl.LazyFrame], work: Path, lines_a_bucket: int = LINES_A_BUCKET) -> int:
    """Cut the person tables into buckets under `work`; returns how many there are."""
    lines = tables["fee_lines"].select(pl.len()).collect().item() if "fee_lines" in tables else 0
    claims = tables["claims"].select(pl.len()).collect().item()
    count = max(1, -(-lines // lines_a_bucket), -(-claims // CLAIMS_A_BUCKET))
    persons = persons_of(tables)
    persons = persons.with_columns(_bucket=bucket_of(persons["person"], count)).rename({"person": "_person"})
    claims_of = partial(_joined, persons.lazy(), "psn_no", "left")
    sink(tables["claims"], work / "claims", claims_of)
    owners = claims_of(tables["claims"].select("setl_id", "psn_no")).select("setl_id", "_bucket").collect().lazy()
    of_person = persons.lazy().select("psn_no", "_bucket")
    for name in BY_CLAIM:
        if name in tables:
            place = partial(_joined, owners, "setl_id", "inner")
            rows, place = tables[name], partial(_of_claims, owners, of_person) if name in RECORDS else place
            if name == "prescriptions":
                rows, place = _and_where_used(place(rows), tables, owners).collect().lazy(), _as_they_are
            sink(rows, work / name, place)
    if "trace_codes" in tables and "drug_identifiers" in tables:
        codes = with_fields(tables["trace_codes"], "trace_codes").select("setl_id", *_LINE_CODE)
        sink(codes, work / LINE_CODES, partial(_line_codes, owners))
    for name in BY_PERSON:
        if name in tables:
            rows = tables[name]
            rows = with_overlaps(rows.collect()).lazy() if name == "ltc_visits" else rows
            sink(rows, work / name, partial(_joined, of_person, "psn_no", "inner"))
    return count


def _joined(others: pl.LazyFrame, on: str, how: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.join(others, on=on, how=how)


def _line_codes(owners: pl.LazyFrame, codes: pl.LazyFrame) -> pl.LazyFrame:
    named = codes.filter(pl.col("feedetl_sn").is_not_null(), pl.col("event_type") == "sale")
    return named.join(owners, on="setl_id", how="inner")


def _as_they_are(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows


def _of_claims(owners: pl.LazyFrame, persons: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows in the bucket of their claim, or where they name none in that of their person."""
    rows = with_fields(rows, "service_logs", "setl_id", "psn_no")
    rows = rows.join(owners, on="setl_id", how="left").join(persons, on="psn_no", how="left", suffix="_p")
    rows = rows.with_columns(_bucket=pl.coalesce("_bucket", "_bucket_p")).drop("_bucket_p")
    return rows.filter(pl.col("_bucket").is_not_null())


def _and_where_used(rows: pl.LazyFrame, tables: dict[str, pl.LazyFrame], owners: pl.LazyFrame) -> pl.LazyFrame:
    """Prescriptions in the buckets they have, and in those of the claims whose lines name them: one may be written for
    another person, or for nobody that it names."""
    if "rxno" not in tables["fee_lines"].collect_schema().names():
        return rows
    used = tables["fee_lines"].select("rxno", "setl_id").drop_nulls().unique().join(owners, on="setl_id")
    there = tables["prescriptions"].join(used.select("rxno", "_bucket").unique(), on="rxno")
    return pl.concat([rows, there], how="diagonal").unique(["rxno", "_bucket"], keep="first", maintain_order=True)


def sink(rows: pl.LazyFrame, folder: Path, place: Placed = _as_they_are) -> None:
    """Write the rows into folders of `folder` by the number of their bucket, so many of them at a time.

    place: what gives some of the rows their `_bucket`, be it row by row or by a join.
    """
    total = rows.select(pl.len()).collect().item()
    for number, start in enumerate(range(0, max(total, 1), ROWS_AT_ONCE)):
        some = place(rows.slice(start, ROWS_AT_ONCE)).collect(engine="streaming")
        parts = some.partition_by("_bucket", as_dict=True, include_key=False)
        for (bucket,), part in (parts or {(0,): some.drop("_bucket")}).items():
            (folder / f"_bucket={bucket}").mkdir(parents=True, exist_ok=True)
            part.write_parquet(folder / f"_bucket={bucket}" / f"{number:05}.parquet", compression="lz4")


def bucket_tables(work: Path, bucket: int) -> dict[str, pl.DataFrame]:
    """The tables of one bucket, rows in the order of their key."""
    found = {}
    for folder in sorted(p for p in work.iterdir() if p.is_dir()):
        files = sorted((folder / f"_bucket={bucket}").glob("*.parquet"))
        if files:
            frame = pl.concat([pl.read_parquet(f) for f in files], how="vertical_relaxed")
            key = _LINE_CODE if folder.name == LINE_CODES else table(folder.name).key
            found[folder.name] = frame.sort(key)
        else:
            one = next(folder.rglob("*.parquet"), None)
            if one is not None:
                found[folder.name] = pl.read_parquet(one, n_rows=0)
    return found


def in_order(pieces: list[Path], key: str, rows_a_part: int, work: Path) -> pl.LazyFrame:
    """Sorted files as one table in the order of their key, made part by part, so that no more need fit into memory.

    The parts are cut at keys sampled from the pieces, so each has about so many rows.
    """
    ends = [
        pl.scan_parquet(piece).select(pl.first(key), pl.last(key).alias("last")).collect().row(0) for piece in pieces
    ]
    filled = [(piece, *end) for piece, end in zip(pieces, ends, strict=True) if end[0] is not None]
    if all(one[2] <= after[1] for one, after in pairwise(filled)):
        return pl.scan_parquet(pieces)
    step = max(1, rows_a_part // 100)
    sampled = [pl.scan_parquet(piece).select(key).gather_every(step).collect() for piece in pieces]
    cuts = pl.concat(sampled)[key].sort().gather_every(rows_a_part // step)[1:].unique(maintain_order=True)
    parts = []
    for number, (low, high) in enumerate(pairwise([None, *cuts, None])):
        above = pl.lit(True) if low is None else pl.col(key) >= low
        below = pl.lit(True) if high is None else pl.col(key) < high
        parts.append(work / f"in-order-{number:05}.parquet")
        rows = pl.scan_parquet(pieces).filter(above & below).collect(engine="streaming")
        rows.sort(key, maintain_order=True).write_parquet(parts[-1], compression="lz4")
    return pl.scan_parquet(parts)


def slices(frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """A table so many rows at a time. Whatever is asked of rows is asked of a slice: asked before, it would be asked of
    all rows before each."""
    for first in range(0, frame.select(pl.len()).collect().item(), rows):
        yield frame.slice(first, rows).collect()


def institution_buckets(
    tables: dict[str, pl.LazyFrame], region: Region, rules: list[LoadedRule], lines_a_bucket: int = LINES_A_BUCKET
) -> list[Callable[[], dict[str, pl.DataFrame]]]:
    """What reads each group of whole institutions: claims, what they store, and the lines that `rules` may ask for."""
    small, read = institution_lines(tables, region, rules)
    groups = institution_groups(tables, read.wanted, lines_a_bucket)
    return [partial(of_institutions, tables, small, read, sites) for sites in groups]


def institution_lines(
    tables: dict[str, pl.LazyFrame], region: Region, rules: list[LoadedRule]
) -> tuple[dict[str, pl.DataFrame], LinesRead]:
    """The small tables that rules over institutions read whole, and what of the fee lines all of these rules read."""
    small = dict(whole(tables, SMALL))
    return small, lines_read(rules, region.knowledge, small)


def institution_groups(tables: dict[str, pl.LazyFrame], wanted: pl.Expr, lines_a_bucket: int) -> list[list[str]]:
    """Institutions in groups whose wanted lines fit into a bucket; an institution is never cut."""
    sites = tables["claims"].select("setl_id", "fixmedins_code")
    if "fee_lines" in tables:
        lines = tables["fee_lines"].filter(wanted).select("setl_id").join(sites, on="setl_id", how="right")
        sites = lines.select("fixmedins_code")
    sizes = sites.group_by("fixmedins_code").len().sort("fixmedins_code").collect(engine="streaming")
    groups, room = [], 0
    for site, lines in sizes.iter_rows():
        if not groups or lines > room:
            groups, room = [*groups, []], lines_a_bucket
        groups[-1].append(site)
        room -= lines
    return groups


def of_institutions(
    tables: dict[str, pl.LazyFrame], small: dict[str, pl.DataFrame], read: LinesRead, sites: list[str]
) -> dict[str, pl.DataFrame]:
    """Claims and records of some institutions, their lines as far as rules read them, and the small tables."""
    claims = tables["claims"].filter(pl.col("fixmedins_code").is_in(sites))
    own = claims.select("setl_id")
    found = {**small, "claims": claims.collect()}
    for name in ("diagnoses", "procedures"):
        if name in tables:
            found[name] = tables[name].join(own, on="setl_id", how="semi").collect(engine="streaming")
    for name in BY_SITE:
        if name in tables:
            found[name] = _of_sites(tables[name], sites, own).collect(engine="streaming")
    if "fee_lines" in tables:
        have = [c for c in read.columns if c in tables["fee_lines"].collect_schema().names()]
        lines = tables["fee_lines"].filter(read.wanted).select(have).join(own, on="setl_id", how="semi")
        found["fee_lines"] = lines.collect(engine="streaming")
    return found


def _of_sites(rows: pl.LazyFrame, sites: list[str], claims: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of some institutions: those that name one, and those that name only a claim of theirs."""
    theirs = pl.col("fixmedins_code").is_in(sites)
    if "setl_id" not in rows.collect_schema().names():
        return rows.filter(theirs)
    unsaid = rows.filter(pl.col("fixmedins_code").is_null()).join(claims, on="setl_id", how="semi")
    return pl.concat([rows.filter(theirs), unsaid])


def registers(tables: dict[str, pl.LazyFrame]) -> dict[str, pl.DataFrame]:
    """What every bucket of persons is told whole: the registers, and what institutions store or bought."""
    found = dict(whole(tables, REGISTERS))
    kept = stocked(tables)
    return found if kept is None else {**found, STOCKED: kept.collect().sort(pl.all())}


def whole(tables: dict[str, pl.LazyFrame], names: tuple[str, ...]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Tables that are not cut by person, collected."""
    for name in names:
        if name in tables:
            yield name, tables[name].collect()
