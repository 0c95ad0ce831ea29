"""Fee lines against the codes scanned for them: what was covered, and what the codes say about what was billed."""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import USABLE
from engine.tracing.events import UNIT, id_of
from engine.tracing.evidence import Facts, in_units, quantity, with_fund
from engine.tracing.facts import Bucket
from engine.tracing.packs import identifiers
from engine.tracing.provenance import sale_flags
from engine.tracing.travel import with_group
from engine.tracing.unscanned import told_without_line, with_duty
from engine.tracing.words import FACTS

_TEXTS = ["setl_id", "fixmedins_code", "psn_no", "med_list_codg"]
_FLAGS = {
    "unknown_identifier": "unknown_identifiers", "mismatched": "mismatched_codes", "late_mapped": "late_mapped_codes",
    "expired": "expired_codes", "lot_differs": "lot_differs_codes", "unsupplied": "unsupplied_codes",
    "supplied_later": "supplied_later_codes", "unsupplied_gs1": "unsupplied_gs1", "made_later": "made_later_codes",
    "crossed": "crossed_codes", "same_drug": "same_drug_codes", "made_earlier": "made_earlier_codes",
}  # fmt: skip


def scan_facts(bucket: Bucket, *, tolerance_minutes: int = 10) -> pl.DataFrame:
    """One row per scan at a sale, of any code: what a bucket of codes contributes to the facts of fee lines.

    `stands` units of the sale stand after returns (0 for a returned sale or a repeated telling); the answers of
    `provenance.sale_flags` are given for standing sales and are 0 for others. `covers` is how many units the scan
    accounts for: the units told or the content of a bundle or case, and 0 where the line told the same code before.
    """
    events = bucket.events
    standing = bucket.sales.select("row", stands="units").join(
        sale_flags(events, bucket.sites, bucket.above, bucket.drug_identifiers, tolerance_minutes), on="row"
    )
    packs = identifiers(bucket.drug_identifiers).filter(pl.col("pack_level") > 1).select("ident", content="whole")
    scans = events.rows.select(
        "row", "event_id", "code", "code_key", "ident", "feedetl_sn", *_TEXTS, "units", "event_type", "code_class",
        time="event_time", split=pl.col("trdn_flag") == "1",
    ).filter((pl.col("event_type") == "sale") & (pl.col("units") > 0) & pl.col("code").is_not_null())  # fmt: skip
    scans = scans.join(standing, on="row", how="left").join(packs, on="ident", how="left")
    scans = scans.with_columns(
        pl.col("stands", *(flag for flag in _FLAGS if flag in standing.columns)).fill_null(0),
        expired=pl.col("expired_days").is_not_null().cast(pl.Int64),
        made_later=pl.col("made_later_days").is_not_null().cast(pl.Int64),
        usable=pl.col("code_class").is_in(USABLE).fill_null(False),
        covers=pl.max_horizontal("units", "content"),
        line=id_of("feedetl_sn"),
        site=id_of("fixmedins_code"),
    )
    scans = scans.with_columns(
        unsupplied_gs1=pl.when(pl.col("code_class") == "gs1").then("unsupplied").otherwise(0),
    )
    scans = with_group(scans, bucket.sites).with_columns(in_chain=(pl.col("group") != pl.col("site")).cast(pl.Int64))
    scans = scans.filter((pl.col("stands") > 0) | pl.col("line").is_not_null() | ~pl.col("usable"))
    scans = scans.with_columns(pl.coalesce("line", id_of("event_id")).alias("line"))
    return _each_code_once(scans).drop("row", "code_key", "ident", "units", "event_type", "content", "site", "group")


def _each_code_once(scans: pl.DataFrame) -> pl.DataFrame:
    scan = ["line", "code_key"]
    again = pl.col("usable") & pl.struct(scan).is_duplicated()
    repeated = scans.filter(again).sort(*scan, "covers", "event_id", descending=[False, False, True, False])
    first = pl.struct(scan).is_first_distinct()
    repeated = repeated.with_columns(covers=pl.when(first).then("covers").otherwise(0))
    return pl.concat([scans.filter(~again), repeated])


def fee_line_facts(
    scans: pl.DataFrame,
    fee_lines: pl.DataFrame | None = None,
    drug_identifiers: pl.DataFrame | None = None,
    code_free: pl.DataFrame | None = None,
    institutions: pl.DataFrame | None = None,
    scan_duties: pl.DataFrame | None = None,
    rows: pl.LazyFrame | None = None,
) -> Facts:
    """One row per fee line that has scans or bills a drug which carries codes, and per standing sale without a line.

    `scans` are the rows of `scan_facts` of all codes of these lines. Missing units are those billed less the codes (or
    the units they cover, if more) and less wrong scans: who scanned the barcode did scan, and so did who
    scanned the code of a whole lot. Placeholders cover nothing.
    Events are the standing sales, with what their codes say, the scans that gave no usable code, and for a line without
    any scan the line itself. `scan_duties` tell whether a code was due; `rows` are all rows of trace_codes, in which
    one may stand that names no line.
    """
    empty = pl.DataFrame(schema={"feedetl_sn": pl.String})
    lines = with_fields(empty if fee_lines is None else fee_lines, "fee_lines")
    cases = _billed(scans, lines, drug_identifiers).join(_scanned(scans), on="line", how="full", coalesce=True)
    cases = _with_texts_of_scans(cases, scans).sort("line").with_row_index("case")
    cases = _with_silence(with_duty(cases, institutions, drug_identifiers, scan_duties), rows)
    counts = ["codes", "scanned", "lot_scans", "placeholders", "wrong_scans", "split", "in_chain", *_FLAGS.values()]
    covered = pl.max_horizontal(pl.col("codes") * UNIT, "scanned") + pl.col("lot_scans") + pl.col("wrong_scans")
    cases = _with_code_free(cases.with_columns(pl.col(counts).fill_null(0)), code_free)
    cases = cases.with_columns(missing=(pl.col("billed") - covered).clip(0))
    shown = scans.filter((pl.col("stands") > 0) | ~pl.col("usable")).join(cases.select("case", "line"), on="line")
    silent = cases.filter(unscanned=1).select("case", "feedetl_sn", "time", *_TEXTS, covers="billed")
    shown = pl.concat([shown, silent], how="diagonal")
    amounts = map(quantity, ("billed", "scanned", "lot_scans", "placeholders", "wrong_scans", "missing"))
    cases = cases.with_columns(amounts).select("case", *FACTS["fee_line_codes"])
    return Facts(cases, shown, lambda chosen: _tell(chosen, lines))


def _billed(scans: pl.DataFrame, lines: pl.DataFrame, drug_identifiers: pl.DataFrame | None) -> pl.DataFrame:
    """Fee lines to be covered: those scanned for, and those of drugs that some identifier names."""
    lines = lines.with_columns(line=id_of("feedetl_sn"))
    wanted = pl.col("line").is_in(scans["line"].unique().implode())
    if drug_identifiers is not None:
        wanted |= pl.col("med_list_codg").is_in(drug_identifiers["med_list_codg"].unique().implode())
    stay = "of_stay" if "of_stay" in lines.columns else pl.lit(None, pl.Boolean).alias("of_stay")
    return lines.filter(wanted & (pl.col("cnt") > 0)).select(
        "line", "feedetl_sn", *_TEXTS, "self_pay_flag", stay, time="fee_ocur_time",
        billed=(pl.col("cnt") * UNIT).cast(pl.Int64),
    )  # fmt: skip


def _with_silence(cases: pl.DataFrame, rows: pl.LazyFrame | None) -> pl.DataFrame:
    """Cases with `unscanned` 1 where nothing was scanned for the line, and `unlinked` 1 where such a line's drug was
    scanned in a row that names no line. A line without scans that bills part of a pack is one of a split pack."""
    silent = pl.col("codes").is_null()
    part = silent & (pl.col("billed") % UNIT != 0)
    cases = cases.with_columns(unscanned=silent.cast(pl.Int64), split=pl.when(part).then(1).otherwise("split"))
    due = cases.filter(unscanned=1, due=1)
    met = pl.Series([], dtype=pl.UInt32) if rows is None or due.is_empty() else told_without_line(due, rows)
    return cases.with_columns(unlinked=pl.col("case").is_in(met.implode()).cast(pl.Int64))


def _scanned(scans: pl.DataFrame) -> pl.DataFrame:
    """The scans of each line in one row."""
    usable, placeholder = pl.col("usable"), pl.col("code_class") == "placeholder"
    lot = pl.col("code_class") == "lot_level"

    def units(which: pl.Expr) -> pl.Expr:
        return pl.when(which).then("covers").otherwise(0).sum()

    return scans.group_by("line").agg(
        pl.col("expired_days", "made_later_days").max(),
        codes=(usable & (pl.col("covers") > 0)).sum().cast(pl.Int64),
        scanned=units(usable),
        placeholders=units(placeholder),
        lot_scans=units(lot),
        wrong_scans=units(~usable & ~placeholder & ~lot),
        split=pl.col("split").fill_null(False).max().cast(pl.Int64),
        in_chain=pl.col("in_chain").max(),
        **{name: pl.col(flag).sum() for flag, name in _FLAGS.items()},
    )


def _with_texts_of_scans(cases: pl.DataFrame, scans: pl.DataFrame) -> pl.DataFrame:
    """Cases with the texts that their fee line does not say as the scans say them."""
    names = ["feedetl_sn", "time", *_TEXTS]
    silent = cases.filter(pl.any_horizontal(pl.col(names).is_null()))["line"]
    said = scans.filter(pl.col("line").is_in(silent.implode())).group_by("line").agg(pl.col(names).min())
    cases = cases.join(said, on="line", how="left", suffix="_said")
    return cases.with_columns(pl.coalesce(name, f"{name}_said").alias(name) for name in names)


def _with_code_free(cases: pl.DataFrame, code_free: pl.DataFrame | None) -> pl.DataFrame:
    """Cases with `code_free` 1 where the list of drugs that need no code names the drug on the day."""
    if code_free is None:
        return cases.with_columns(code_free=pl.lit(0, pl.Int64))
    spells = with_fields(code_free, "code_free", "begndate", "enddate").select("med_list_codg", "begndate", "enddate")
    day = pl.col("time").dt.date()
    inside = (pl.col("begndate") <= day).fill_null(True) & (pl.col("enddate") >= day).fill_null(True)
    free = cases.select("case", "med_list_codg", "time").join(spells, on="med_list_codg").filter(inside)
    return cases.with_columns(code_free=pl.col("case").is_in(free["case"].unique().implode()).cast(pl.Int64))


def _tell(scans: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    usable = pl.col("usable")
    told = scans.with_columns(
        pl.col("code_class").cast(pl.String),
        own_excess=pl.lit(0, pl.Int64),
        units=pl.when(usable).then("stands").otherwise("covers"),
        role=pl.when(usable).then(pl.lit("basis")).when(~usable).then(pl.lit("scan")).otherwise(pl.lit("line")),
    )
    return in_units(with_fund(told, lines)).select("case", *FACTS["event"], *FACTS["flag"])
