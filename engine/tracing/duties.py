"""应采尽采、依码结算、依码支付: which fee lines were due a trace code on their day, and which have none.

A duty is a dated row of the knowledge table `scan_duties`: from when institutions of a kind and level in an area must
collect codes (collect), may settle no line without one (settle), or are not paid for it (pay). A line is due when it
bills, whole or split, a drug that some identifier names and no list of code-free drugs does. Any usable code scanned
for it, or the placeholder of a split pack, satisfies the duty: how many codes there should be is a question of coverage
(T10), and here the benefit of the doubt is the institution's.
"""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import USABLE, keyed

DUTIES = ("collect", "settle", "pay")  # each stricter than the one before
_KINDS = {"H": "hospital", "P": "pharmacy"}  # what the first letter of an institution's code says


def due_lines(
    lines: pl.DataFrame,
    codes: pl.DataFrame,
    institutions: pl.DataFrame | None,
    drug_identifiers: pl.DataFrame,
    code_free: pl.DataFrame | None,
    scan_duties: pl.DataFrame,
) -> pl.DataFrame:
    """feedetl_sn, fixmedins_code, month, `duty` (one of DUTIES, the strictest in force) and `coded` of every line that
    is due a code, in order of feedetl_sn.

    lines: feedetl_sn, fixmedins_code, med_list_codg, cnt, fee_ocur_time. codes: trace_codes that name a line.
    Negative lines, and those that do not say when, are due nothing.
    """
    coded_drugs = drug_identifiers.select("med_list_codg").drop_nulls().unique()
    due = lines.filter(pl.col("cnt") > 0, pl.col("fee_ocur_time").is_not_null()).join(
        coded_drugs, on="med_list_codg", how="semi"
    )
    due = due.select("feedetl_sn", "fixmedins_code", "med_list_codg", day=pl.col("fee_ocur_time").dt.date())
    due = _without_free(due, code_free)
    due = due.join(duties_of(due["fixmedins_code"], institutions, scan_duties), on="fixmedins_code")
    due = due.filter(_holds("begndate", "enddate")).group_by("feedetl_sn").agg(
        pl.col("fixmedins_code", "day").first(), pl.col("rank").max()
    )  # fmt: skip
    scanned = _scanned(codes)
    return due.sort("feedetl_sn").select(
        "feedetl_sn", "fixmedins_code", month=pl.col("day").dt.strftime("%Y-%m"),
        duty=pl.col("rank").replace_strict(dict(enumerate(DUTIES)), return_dtype=pl.String),
        coded=pl.col("feedetl_sn").is_in(scanned.implode()),
    )  # fmt: skip


def duties_of(sites: pl.Series, institutions: pl.DataFrame | None, scan_duties: pl.DataFrame) -> pl.DataFrame:
    """fixmedins_code, rank (place in DUTIES), begndate, enddate of every duty of each of these institutions.

    An area's row holds for all that lies in it (trailing zeros of admdvs stand for any), a blank one everywhere, a
    blank level for all. Where an institution's kind is not registered the first letter of its code tells it.
    """
    return _duties(registered(sites, institutions), scan_duties).drop("kind")


def in_duty(days: pl.DataFrame, institutions: pl.DataFrame | None, scan_duties: pl.DataFrame) -> pl.DataFrame:
    """The rows of `days` (fixmedins_code, day), each once, on which the institution had some duty to collect codes.

    Where its kind is not known it had one only if institutions of every kind had.
    """
    days = days.drop_nulls().unique()
    known = registered(days["fixmedins_code"], institutions)
    whichever = known.filter(pl.col("kind").is_null()).drop("kind")
    whichever = whichever.join(scan_duties.select(kind="fixmedins_type").unique(), how="cross")
    known = pl.concat([known.drop_nulls("kind"), whichever.select(known.columns)])
    asked = days.join(known.select("fixmedins_code", "kind"), on="fixmedins_code")
    held = asked.join(_duties(known, scan_duties), on=["fixmedins_code", "kind"]).filter(_holds("begndate", "enddate"))
    free = asked.join(held, on=["fixmedins_code", "day", "kind"], how="anti")
    return asked.select(days.columns).unique().join(free, on=days.columns, how="anti").sort(days.columns)


def registered(sites: pl.Series, institutions: pl.DataFrame | None) -> pl.DataFrame:
    """fixmedins_code, admdvs, hosp_lv and kind of these institutions, null where neither the register nor the first
    letter of the code tells."""
    known = with_fields(pl.DataFrame({"fixmedins_code": sites.unique()}), "institutions")
    if institutions is not None:
        register = with_fields(institutions, "institutions", "fixmedins_type", "hosp_lv", "admdvs")
        known = known.select("fixmedins_code").join(
            register.sort("fixmedins_code").unique("fixmedins_code", keep="first", maintain_order=True),
            on="fixmedins_code", how="left",
        )  # fmt: skip
    by_letter = pl.col("fixmedins_code").str.slice(0, 1).replace_strict(_KINDS, default=None, return_dtype=pl.String)
    return known.select("fixmedins_code", "admdvs", "hosp_lv", kind=pl.coalesce("fixmedins_type", by_letter))


def _duties(known: pl.DataFrame, scan_duties: pl.DataFrame) -> pl.DataFrame:
    """fixmedins_code, kind, rank, begndate, enddate of every duty of institutions as `registered` tells them."""
    rows = scan_duties.select("fixmedins_type", "begndate", "enddate", area="admdvs", level="hosp_lv",
                              rank=pl.col("duty").replace_strict({d: n for n, d in enumerate(DUTIES)}))  # fmt: skip
    found = known.join(rows, left_on="kind", right_on="fixmedins_type")
    here = pl.col("area").is_null() | pl.col("admdvs").str.starts_with(pl.col("area").str.replace(r"(00)+$", ""))
    of_level = pl.col("level").is_null() | (pl.col("level") == pl.col("hosp_lv"))
    return found.filter(here.fill_null(False) & of_level.fill_null(False)).select(
        "fixmedins_code", "kind", "rank", "begndate", "enddate"
    )


def coverage(due: pl.DataFrame, amounts: pl.DataFrame) -> pl.DataFrame:
    """scan_coverage: by institution, month and duty the lines due a code, those that have one, and what both cost.

    due: due_lines. amounts: feedetl_sn and det_item_fee_sumamt.
    """
    rows = due.join(amounts, on="feedetl_sn", how="left").with_columns(pl.col("det_item_fee_sumamt").fill_null(0))
    return rows.group_by("fixmedins_code", "month", "duty").agg(
        due_lines=pl.len().cast(pl.Int64), coded_lines=pl.col("coded").sum().cast(pl.Int64),
        due_fen=pl.col("det_item_fee_sumamt").sum(),
        coded_fen=pl.col("det_item_fee_sumamt").filter("coded").sum(),
    )  # fmt: skip


def _without_free(due: pl.DataFrame, code_free: pl.DataFrame | None) -> pl.DataFrame:
    if code_free is None:
        return due
    spells = with_fields(code_free, "code_free", "begndate", "enddate").select("med_list_codg", "begndate", "enddate")
    free = due.select("feedetl_sn", "med_list_codg", "day").join(spells, on="med_list_codg")
    return due.join(free.filter(_holds("begndate", "enddate")).select("feedetl_sn"), on="feedetl_sn", how="anti")


def _holds(begin: str, end: str) -> pl.Expr:
    return (pl.col(begin) <= pl.col("day")).fill_null(True) & (pl.col(end) >= pl.col("day")).fill_null(True)


def _scanned(codes: pl.DataFrame) -> pl.Series:
    """The lines some code was scanned for: a usable one, or a placeholder that a split pack allows."""
    named = with_fields(codes, "trace_codes", "feedetl_sn", "drug_trac_codg", "trdn_flag", "event_type")
    named = named.filter(pl.col("feedetl_sn").is_not_null(), pl.col("event_type") == "sale")
    classed = keyed(named.select("feedetl_sn", "drug_trac_codg", "trdn_flag"))
    split = (pl.col("code_class") == "placeholder") & (pl.col("trdn_flag") == "1")
    return classed.filter(pl.col("code_class").is_in(USABLE) | split)["feedetl_sn"].unique()
