"""Fee lines nobody scanned for: was a code due at all, and was one told that does not say for which line?"""

import polars as pl

from engine.tables.dictionary import with_fields
from engine.tracing.codes import keyed
from engine.tracing.duties import in_duty, registered


def with_duty(
    cases: pl.DataFrame,
    institutions: pl.DataFrame | None,
    drug_identifiers: pl.DataFrame | None,
    scan_duties: pl.DataFrame | None,
) -> pl.DataFrame:
    """Cases (case, fixmedins_code, med_list_codg, time, self_pay_flag, of_stay) with three facts more.

    due:       1 where the institution had a duty to collect codes on the day, the fund was asked to pay, some
               identifier of the drug was in force by then, and the line is known of no stay: what a ward dispenses in
               single doses needs no code so far (国家医保局 2025-04, 六要六不要)
    site_type: the kind of institution; null where nothing tells it
    case_only: 1 where the drug is known to carry codes on its bundles or cases alone
    """
    kinds = registered(cases["fixmedins_code"], institutions).select("fixmedins_code", site_type="kind")
    cases = cases.join(kinds, on="fixmedins_code", how="left", maintain_order="left")
    if scan_duties is None or drug_identifiers is None:
        return cases.with_columns(due=pl.lit(0, pl.Int64), case_only=pl.lit(0, pl.Int64))
    cases = cases.with_columns(day=pl.col("time").dt.date())
    known = with_fields(drug_identifiers, "drug_identifiers", "pack_level", "valid_from", "valid_to")
    smallest = known.group_by("med_list_codg").agg(pl.col("pack_level").min())
    large = smallest.filter(pl.col("pack_level") > 1)["med_list_codg"]
    on_duty = cases.join(in_duty(cases.select("fixmedins_code", "day"), institutions, scan_duties),
                         on=["fixmedins_code", "day"], how="semi")  # fmt: skip
    spells = known.select("med_list_codg", "valid_from", "valid_to").unique()
    coded = on_duty.select("case", "med_list_codg", "day").join(spells, on="med_list_codg")
    begun, over = pl.col("valid_from") <= pl.col("day"), pl.col("valid_to") < pl.col("day")
    in_force = begun.fill_null(True) & ~over.fill_null(False)
    due = pl.col("case").is_in(coded.filter(in_force)["case"].unique().implode())
    insured = (pl.col("self_pay_flag") != "1").fill_null(True)
    return cases.drop("day").with_columns(
        due=(due & insured & ~pl.col("of_stay").fill_null(False)).cast(pl.Int64),
        case_only=pl.col("med_list_codg").is_in(large.implode()).fill_null(False).cast(pl.Int64),
    )


def told_without_line(lines: pl.DataFrame, events: pl.LazyFrame) -> pl.Series:
    """The cases of `lines` (case and the texts of a line) whose drug was scanned in a row that names no fee line.

    The sales ledger (3505) carries codes without one: the row is known by the settlement or, where it says none, by
    person, institution and day. `events` are all rows of trace_codes.
    """
    fields = ("setl_id", "feedetl_sn", "med_list_codg", "psn_no", "cnt")
    keys = ["setl_id", "fixmedins_code", "psn_no", "med_list_codg"]
    bare = with_fields(events, "trace_codes", *fields).filter(
        pl.col("event_type") == "sale", pl.col("feedetl_sn").is_null(), pl.col("drug_trac_codg").is_not_null(),
        pl.col("cnt").fill_null(1) > 0,
    )  # fmt: skip
    asked = lines.select("case", *keys, day=pl.col("time").dt.date()).lazy()
    bare = bare.select("drug_trac_codg", *keys, day=pl.col("event_time").dt.date())
    by_settlement = bare.join(asked, on=["setl_id", "med_list_codg"])
    of_day = ["fixmedins_code", "psn_no", "day", "med_list_codg"]
    by_day = bare.filter(pl.col("setl_id").is_null()).join(asked, on=of_day)
    met = pl.concat([way.select("case", "drug_trac_codg") for way in (by_settlement, by_day)])
    scans = keyed(met.collect(engine="streaming"))
    return scans.filter((pl.col("code_class") != "placeholder").fill_null(True))["case"].unique().sort()
