"""Trace rules asked of very many codes: what a sieve keeps is cut into parts that fit in memory, judged one by one.

What a case rests on lies in one part whole: the family of a code, a fee line, a lot, a site, a buyer. Each is a cut of
its own, in which a family of codes stands with every part it touches, because what became of its packs is told by all
of their events; and of the cases of a part only those count that belong to it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from engine.audit.codefacts import CodeFacts, tuned_by
from engine.audit.sieved import sievable
from engine.language.rule import LoadedRule
from engine.run.buckets import slices
from engine.run.codeindex import Month, open_index, sieve_month
from engine.run.records import bucket_of, mixed
from engine.run.region import Region
from engine.run.sieving import Sieved, rows_for, sieve
from engine.run.tracing import (
    CODED_LINE,
    SMALL,
    Told,
    cancelled_of,
    frames_of,
    judged,
    standing_rules,
    told_apart,
    whole,
    with_fund,
    with_papers,
)  # fmt: skip
from engine.tables.dictionary import table, with_fields
from engine.tracing.codes import keyed
from engine.tracing.events import FIELDS, MOVES, id_of
from engine.tracing.evidence import Facts
from engine.tracing.packs import ancestors
from engine.tracing.slim import NONE, families, line_of

MEMORY = 5 * 2**30
LEAST_ROWS = 50_000
_BYTES_JUDGED = 4_800  # a row at the peak, while facts of all scopes are there and the lives of codes are told
_REST = 400 * 2**20  # what everything else takes
# The scopes judged on each cut; and in which field of a case what was cut by stands, where its part decides over it.
CUTS = {
    "family": ("code_site", "code"), "line": ("fee_line_codes",), "lot": ("lot", "lot_book"),
    "site": ("burst", "reseller"), "person": ("buyer",),
}  # fmt: skip
_OWN = {
    "lot": "manu_lotnum", "lot_book": "manu_lotnum", "burst": "fixmedins_code", "reseller": "fixmedins_code",
    "buyer": "psn_no",
}  # fmt: skip
NO_PACKS = table("pack_relations").schema.to_frame()


@dataclass(frozen=True)
class Part:
    """One part of a cut: the rules judged on it, its tables, and which of how many it is."""

    rules: list[LoadedRule]
    frames: dict[str, pl.DataFrame]
    lines: pl.Series
    number: int
    count: int

    def own(self, scope: str, facts: Facts) -> Facts:
        """Facts of the cases that belong to this part; others are judged with theirs."""
        if scope not in _OWN:
            return facts
        whose = facts.cases.select(id_of(_OWN[scope]).fill_null(NONE)).to_series().to_numpy()
        mine = pl.Series(bucket_of(whose, self.count) == self.number)
        return replace(facts, cases=facts.cases.filter(mine))


def trace_parts(
    tables: dict[str, pl.LazyFrame],
    region: Region,
    memory: int = MEMORY,
    folder: Path | None = None,
    month: Month | None = None,
) -> Iterator[Told]:
    """What every trace rule finds, part by part, staying under so many bytes of memory; `folder` is worked in.

    Few codes are judged whole. With a `month` of an index the answer is that of the tables and all that were given
    with this index before, of which only what these can meet is looked at again. Rules that could hold of what a sieve
    lets fall are judged on all codes at once, whatever memory that takes.
    """
    rules = standing_rules(region)
    sifted = [r for r in rules if sievable(r)]
    if "trace_codes" not in tables or not sifted:
        yield whole(tables, region, rules)
        return
    if month is None and tables["trace_codes"].select(pl.len()).collect().item() <= judged_rows(memory):
        yield whole(tables, region, rules)
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        work = Path(made)
        before = open_index(month).table("trace_codes") if month else None
        every = told_apart(tables, work, None if before is None else [before])
        kept, every = _kept(every, rules, memory, work, month)
        yield from _parts_of(kept, every, region, rules, sifted, memory, work)
        if others := [r for r in rules if r not in sifted]:
            yield whole(every, region, others)


def judged_rows(memory: int) -> int:
    """How many rows may be judged at once to stay under so many bytes."""
    return max(LEAST_ROWS, (memory - _REST) // _BYTES_JUDGED)


def _kept(tables, rules, memory: int, work: Path, month: Month | None) -> tuple[Sieved, dict[str, pl.LazyFrame]]:
    """What a sieve keeps, and the tables it kept it of: with an index those of all months."""
    small = {name: tables[name].collect() for name in SMALL if name in tables}
    tuned = {n: v for n, v in tuned_by(rules).items() if n in ("tolerance_minutes", "within_seconds")}
    tuned["rows_a_part"] = rows_for(memory)
    if month is None:
        return sieve(tables, small, cancelled_of(tables), work, **tuned), tables
    kept, large = sieve_month(tables, small, cancelled_of, month, work, **tuned)
    return kept, tables | large


def _parts_of(kept: Sieved, tables, region: Region, rules, sifted, memory: int, work: Path) -> Iterator[Told]:
    """What rules find in what was kept."""
    few = {**tables, "trace_codes": kept.trace_codes} | _few(kept, tables, work)
    cancelled = cancelled_of(tables)  # of all fee lines, of which few are kept
    duties = {"scan_duties": region.knowledge["scan_duties"]}
    if kept.rows <= judged_rows(memory):
        frames = frames_of(few) | duties
        yield judged(sifted, CodeFacts(frames, rules, cancelled, kept.lines, kept.lots, tables["trace_codes"]))
        return
    beside = _beside(tables["trace_codes"], few, work)
    dealer = _Dealer(few, kept, judged_rows(memory), work)
    for by, scopes in CUTS.items():
        if own := [r for r in sifted if r.rule.scope in scopes]:
            for part in dealer.parts(by, own):
                facts = CodeFacts(part.frames | duties, rules, cancelled, part.lines, kept.lots, beside)
                yield judged(part.rules, facts, part.own)


def _few(kept: Sieved, tables, work: Path) -> dict[str, pl.LazyFrame]:
    """The fee lines that were kept, and the claims of these and of the rows, on disk: both are read again and again."""
    found = {}
    if kept.fee_lines is not None:
        kept.fee_lines.sink_parquet(work / "fee_lines.parquet", compression="lz4")
        found["fee_lines"] = pl.scan_parquet(work / "fee_lines.parquet")
    if "claims" in tables:
        sources = [with_fields(kept.trace_codes, "trace_codes", "setl_id"), *found.values()]
        asked = pl.concat([rows.select("setl_id") for rows in sources]).drop_nulls().unique()
        tables["claims"].join(asked, on="setl_id", how="semi").sink_parquet(work / "claims.parquet", compression="lz4")
        found["claims"] = pl.scan_parquet(work / "claims.parquet")
    return found


def _beside(events: pl.LazyFrame, few: dict[str, pl.LazyFrame], work: Path) -> pl.LazyFrame:
    """Of all rows of trace_codes those that facts look for beside what was kept: told by a site at the very time of a
    row that was kept, or naming no fee line, but the settlement, or the site and person, of one that was kept."""
    events = with_fields(events, "trace_codes", "setl_id", "feedetl_sn", "psn_no", "cnt")
    moment = pl.struct("fixmedins_code", "event_time").hash(0)
    # Asked of hashes row by row, because a join would hold on to far more than it finds.
    wanted = moment.is_in(few["trace_codes"].select(moment.unique()).collect().to_series().implode())
    if "fee_lines" in few:
        bills = with_fields(few["fee_lines"], "fee_lines", "setl_id", "fixmedins_code", "psn_no")
        if "claims" in few:
            claims = with_fields(few["claims"], "claims", "fixmedins_code").select("setl_id", site="fixmedins_code")
            bills = bills.join(claims, on="setl_id", how="left")
            bills = bills.with_columns(pl.coalesce("fixmedins_code", "site").alias("fixmedins_code"))
        papers, sites = (
            bills.select(id_of(name).drop_nulls().unique()).collect().to_series().implode()
            for name in ("setl_id", "fixmedins_code")
        )
        no_paper = pl.col("setl_id").is_null() & id_of("fixmedins_code").is_in(sites)
        wanted |= pl.col("feedetl_sn").is_null() & (id_of("setl_id").is_in(papers) | no_paper)
    events.filter(pl.col("event_type") == "sale", wanted).sink_parquet(work / "beside.parquet", compression="lz4")
    return pl.scan_parquet(work / "beside.parquet")


class _Dealer:
    """Rows and fee lines that were kept, dealt by one thing after another into parts of `most` rows or so."""

    def __init__(self, few: dict[str, pl.LazyFrame], kept: Sieved, most: int, work: Path):
        self.lines, self.most, self.work = kept.lines, most, work
        self.small = {name: few[name].collect() for name in (*SMALL, "code_free") if name in few}
        roots = families(ancestors(with_fields(self.small.get("pack_relations", NO_PACKS), "pack_relations")))
        self.rows, self.bills, numbers = [], [], []
        for number, rows in enumerate(slices(few["trace_codes"], most)):
            numbers.append(_numbers(rows, roots, number * most))
            rows = with_papers(rows, few).with_columns(_by=numbers[-1]["family"])
            self.rows.append(_written(rows, work / "rows", number))
        for number, bills in enumerate(slices(few["fee_lines"], most) if "fee_lines" in few else ()):
            bills = with_fields(bills, "fee_lines", *CODED_LINE).select(CODED_LINE)
            bills = with_fund(bills, few["claims"]) if "claims" in few else bills
            self.bills.append(_written(bills.with_columns(_by=id_of("feedetl_sn")), work / "bills", number))
        self.numbers = _written(_cuts(pl.concat(numbers), kept.lines, kept.lots.wanted), work / "numbers", 0)

    def parts(self, by: str, rules: list[LoadedRule]) -> Iterator[Part]:
        """The parts of one cut; the files of all are gone after the last."""
        numbers = pl.read_parquet(self.numbers, columns=[*{"family", "scan", "bill", by}])
        lying = numbers.filter(pl.col(by) != NONE)
        touched = numbers["family"].is_in(lying["family"].unique().implode()).sum()
        count = max(1, -(-touched // self.most))
        family, bill, own = self._where(numbers, lying, by, count)
        folder = self.work / by
        _deal(self.rows, family, folder / "rows")
        _deal(self.bills, bill, folder / "bills")
        for number in range(count):
            frames = {**self.small, "trace_codes": _read(folder / "rows", number, self.rows)}
            if self.bills:
                frames["fee_lines"] = _read(folder / "bills", number, self.bills).sort("feedetl_sn")
            yield Part(rules, frames, own.filter(pl.col("part") == number)["line"], number, count)
        shutil.rmtree(folder, ignore_errors=True)

    def _where(
        self, numbers: pl.DataFrame, lying: pl.DataFrame, by: str, count: int
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """In which of `count` parts each family of codes and each fee line stands (_by, part), and of which part each
        fee line or sale is a case (line, part); `lying` are the numbers that are cut."""
        lying = lying.with_columns(part=pl.Series(bucket_of(lying[by].to_numpy(), count)))
        family = lying.select("part", _by="family").unique()
        bill = numbers.filter(pl.col("bill") != NONE).join(family, left_on="family", right_on="_by")
        bill = bill.select("part", _by="bill").unique()
        if by != "line":
            return family, bill, pl.DataFrame({"line": self.lines}).with_columns(part=pl.lit(None, pl.UInt16)).clear()
        scanned = lying.select("part", line="scan").unique()
        rest = self.lines.filter(~self.lines.is_in(scanned["line"].implode()))  # that nothing was scanned for
        rest = pl.DataFrame({"part": bucket_of(rest.to_numpy(), count), "line": rest})
        own = pl.concat([scanned, rest])
        return family, pl.concat([bill, own.select("part", _by="line")]).unique(), own


def _numbers(rows: pl.DataFrame, roots: pl.DataFrame, first: int) -> pl.DataFrame:
    """One row per row of trace_codes, as numbers (NONE where there is no such): its `family` of codes, alone where it
    has no usable code, and the `key`; the `scan` as cases of fee lines know it, the `bill` it names, its settlement
    (`paper`), lot and person, its site if it moves, and as `place` always."""
    keys = keyed(with_fields(rows, "trace_codes", *FIELDS)).join(
        roots, left_on="code_key", right_on="key", how="left", maintain_order="left"
    )
    alone = pl.Series(mixed(np.arange(first, first + rows.height, dtype=np.uint64)))
    kind, site = pl.col("event_type"), id_of("fixmedins_code")
    usable = pl.col("code_key").is_not_null()
    sale = (kind == "sale") & pl.col("code").is_not_null()
    return keys.select(
        pl.coalesce("root", "code_key", alone).alias("family"),
        key="code_key",
        scan=pl.when(sale).then(line_of()),
        bill=id_of("feedetl_sn"),
        place=site,
        paper=id_of("setl_id"),
        site=pl.when(usable & kind.is_in(MOVES)).then(site),
        lot=id_of("manu_lotnum"),
        person=id_of("psn_no"),
    ).with_columns(pl.col(pl.UInt64).fill_null(NONE))


def _cuts(numbers: pl.DataFrame, lines: pl.Series, lots: pl.Series) -> pl.DataFrame:
    """`_numbers` of all rows with what they are cut by, where a case could rest on them: `line` only for scans of
    `lines`, those of one settlement together, since two boxes of it may be scanned crosswise, and those of a site that
    name none; `lot` only of `lots`; `person` only of families that moved at several sites, and `site` of these and of
    serials beside others that moved there."""
    moves = numbers.filter(pl.col("site") != NONE).select("family", "site", "key").unique().sort("site", "key")
    sites = moves.group_by("family").agg(low=pl.col("site").min(), high=pl.col("site").max())
    far = pl.col("family").is_in(sites.filter(pl.col("low") != pl.col("high"))["family"].implode())
    follows = (pl.col("site") == pl.col("site").shift(1)) & (pl.col("key") == pl.col("key").shift(1) + 1)
    beside = moves.select("site", "key", near=follows.fill_null(False) | follows.shift(-1, fill_value=False))
    paper = pl.when(pl.col("paper") != NONE).then("paper").min()
    scans = numbers.filter(pl.col("scan").is_in(lines.implode()))
    scans = scans.group_by("scan").agg(line=pl.coalesce(paper, pl.col("place").min()))
    numbers = numbers.join(scans, on="scan", how="left", maintain_order="left")
    numbers = numbers.join(beside.filter("near"), on=["site", "key"], how="left", maintain_order="left")
    asked = {"site": far | pl.col("near"), "lot": pl.col("lot").is_in(lots.implode()), "person": far}
    asked = [pl.when(told).then(name).otherwise(NONE).alias(name) for name, told in asked.items()]
    return numbers.select("family", "scan", "bill", pl.col("line").fill_null(NONE), *asked)


def _deal(paths: list[Path], where: pl.DataFrame, folder: Path) -> None:
    """Rows into a folder for every part that they stand in, as `where` (_by, part) says."""
    for number, path in enumerate(paths):
        dealt = pl.read_parquet(path).join(where, on="_by", maintain_order="left").drop("_by")
        for (part,), own in dealt.partition_by("part", as_dict=True, include_key=False, maintain_order=True).items():
            _written(own, folder / str(part), number)


def _read(folder: Path, part: int, like: list[Path]) -> pl.DataFrame:
    """The rows of a part, in order; none, with the columns of others, where it has no row."""
    paths = sorted((folder / str(part)).glob("*.parquet"))
    return pl.concat(map(pl.read_parquet, paths)) if paths else pl.read_parquet(like[0], n_rows=0).drop("_by")


def _written(frame: pl.DataFrame, folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / f"{number:05}.parquet", compression="lz4")
    return folder / f"{number:05}.parquet"
