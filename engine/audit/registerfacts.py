"""Facts of lines that registers and a region's tables tell: devices, reagents, durations, drugs of a disease, limits.

Each is a function (lines, facts) -> lines with the column. Where the table that would tell is not given the fact is
missing, never false: an author says what that means.
"""

import polars as pl

from engine.audit.plain import in_force

HERBS = "10"  # category of pieces of herbal medicine


def devices(frame, facts):
    """How many devices of the classes an item needs are in use at the institution on the day, and what they can do."""
    needs = facts.knowledge["device_needs"].select(
        "device_class", "per_device_day", item="med_list_codg", _from="begndate", _to="enddate"
    )
    frame = frame.with_row_index("_n")
    needed = frame.select("_n", "item", "_hospital", "date").join(needs.unique(), on="item")
    needed = needed.filter(in_force(pl.col("date").cast(pl.Date))).drop("_from", "_to")
    there = facts.table("devices").select(
        "device_id", "device_class", _hospital="fixmedins_code", _from="begndate", _to="enddate"
    )
    used = needed.join(there, on=["_hospital", "device_class"]).filter(in_force(pl.col("date").cast(pl.Date)))
    used = used.unique(["_n", "device_id"], keep="first", maintain_order=True)
    counted = used.group_by("_n").agg(
        devices=pl.len().cast(pl.Int64), device_capacity=pl.col("per_device_day").sum(),
        _unsaid=pl.col("per_device_day").is_null().any(),
    )  # fmt: skip
    known = needed.select("_n").unique().join(counted, on="_n", how="left").with_columns(
        pl.col("devices", "device_capacity").fill_null(0)
    )  # fmt: skip
    known = known.with_columns(device_capacity=pl.when(~pl.col("_unsaid").fill_null(False)).then("device_capacity"))
    if "devices" not in facts.tables:
        known = known.clear()
    return frame.join(known.drop("_unsaid"), on="_n", how="left", maintain_order="left").drop("_n")


def reagent_bought(frame, facts):
    """Whether any reagent the item needs is stored at the institution or was bought by it."""
    needs = facts.knowledge["reagents"].select("reagent", item="med_list_codg").unique()
    stocked = facts.stocked
    sites = frame.select("_hospital").unique()
    if stocked is None or needs.is_empty():
        return frame.with_columns(reagent_bought=pl.lit(None, pl.Boolean))
    starts = pl.col("code").fill_null("").str.starts_with(pl.col("reagent"))
    named = pl.col("name").fill_null("").str.contains(pl.col("reagent"), literal=True)
    found = stocked.join(needs.select("reagent").unique(), how="cross").filter(starts | named)
    found = found.select("reagent", _hospital="fixmedins_code").unique().with_columns(_there=True)
    asked = needs.join(sites, how="cross").join(found, on=["_hospital", "reagent"], how="left")
    told = asked.group_by("item", "_hospital").agg(reagent_bought=pl.col("_there").fill_null(False).any())
    return frame.join(told, on=["item", "_hospital"], how="left", maintain_order="left")


def stocked(tables: dict[str, pl.DataFrame]) -> pl.DataFrame | None:
    """(fixmedins_code, code, name) of everything institutions store or bought; None where no table tells."""
    told = []
    for table, name in (("store_items", "item_name"), ("stock_moves", None), ("invoices", None)):
        if table in tables:
            frame = tables[table]
            have = frame.collect_schema().names()
            codes = [c for c in ("med_list_codg", "medins_list_codg") if c in have]
            named = pl.col(name) if name in have else pl.lit(None, pl.String)
            told += [frame.select("fixmedins_code", code=c, name=named).unique() for c in codes]
    return pl.concat(told).unique() if told else None


def minutes(frame, facts):
    """Minutes of one practitioner that the surviving units take."""
    table = facts.knowledge["service_minutes"].select("minutes", "at_once", item="med_list_codg")
    table = table.unique("item", keep="first", maintain_order=True)
    frame = frame.join(table, on="item", how="left", maintain_order="left")
    wide = pl.Decimal(38, 6)
    worked = pl.col("cnt").cast(wide) * pl.col("minutes").cast(wide)
    return frame.with_columns(minutes=worked / pl.col("at_once").fill_null(1).cast(wide)).drop("at_once")


def drug_of_disease(frame, facts):
    """Whether a drug is listed for the disease a visit is settled under, or for another the person is entitled to.

    Missing where no list names it and one of those diseases has no list.
    """
    listed = facts.knowledge["disease_drugs"].select("dise_codg", "code").unique()
    visits = facts.visits({"psn_no", "dise_codg", "admit_date"}).filter(pl.col("dise_codg").fill_null("") != "")
    spells = facts.table("disease_entitlements").select("psn_no", _other="dise_codg", _from="begndate", _to="enddate")
    held = visits.join(spells, on="psn_no").filter(in_force(pl.col("admit_date").cast(pl.Date)))
    diseases = [visits.select("dise_codg", _visit="id"), held.select(dise_codg="_other", _visit="id")]
    asked = frame.select("_visit", "item").unique().join(pl.concat(diseases).unique(), on="_visit")
    pairs = asked.select("dise_codg", "item").unique().join(listed, on="dise_codg")
    fits = pairs.group_by("dise_codg", "item").agg(_fits=pl.col("item").str.starts_with(pl.col("code")).any())
    told = asked.join(fits, on=["dise_codg", "item"], how="left").group_by("_visit", "item").agg(
        drug_of_disease=pl.when(pl.col("_fits").any()).then(True).when(~pl.col("_fits").is_null().any()).then(False)
    )  # fmt: skip
    return frame.join(told, on=["_visit", "item"], how="left", maintain_order="left")


def days_since_first_line(frame, facts):
    """Days since the person was last given a drug of the first line, on or before the day of the second-line drug."""
    table = facts.knowledge["second_line_drugs"].select("first_line", item="med_list_codg")
    prefixes = table.with_columns(prefix=pl.col("first_line").str.split("|")).explode("prefix").select("item", "prefix")
    prefixes = prefixes.filter(pl.col("prefix") != "").unique()
    given = facts.lines(set()).select("item").unique().rename({"item": "_first"})
    pairs = given.join(prefixes, how="cross").filter(pl.col("_first").str.starts_with(pl.col("prefix")))
    pairs = pairs.select("item", "_first").unique()
    first = facts.lines(set(), pairs["_first"].unique().sort().to_list()).select("_person", "date", _first="item")
    first = first.join(pairs, on="_first").select("_person", "item", "date", _had="date").unique().sort("date")
    asked = frame.select("_person", "item", "date").unique().sort("date")
    found = asked.join_asof(first, on="date", by=["_person", "item"], strategy="backward", check_sortedness=False)
    found = found.with_columns(days_since_first_line=(pl.col("date") - pl.col("_had")).dt.total_days()).drop("_had")
    return frame.join(found, on=["_person", "item", "date"], how="left", maintain_order="left")


def herbs_alone(frame, facts):
    """Whether every herb of the visit, the day and the prescription is one that is not paid alone.

    Herbs without a prescription number are one prescription of the day, which favours the institution.
    """
    barred = facts.knowledge["herbs"].filter(pl.col("barred") == "alone")
    barred = barred.select(item="med_list_codg", _from="begndate", _to="enddate")
    herbs = facts.lines({"category", "rxno"}).filter(
        pl.col("category") == HERBS, pl.col("_visit").is_in(frame["_visit"].unique().implode())
    )  # fmt: skip
    told = herbs.join(barred, on="item").filter(in_force(pl.col("date").cast(pl.Date)))
    herbs = herbs.with_columns(_barred=pl.col("id").is_in(told["id"].unique().implode()))
    alone = pl.col("_barred").all().over("_visit", "date", "rxno")
    herbs = herbs.select("id", herbs_alone=alone)
    frame = frame.join(herbs, on="id", how="left", maintain_order="left")
    return frame.with_columns(pl.col("herbs_alone").fill_null(False))


def unfit(frame, facts):
    """Which limit of the national knowledge points bars the item for the person: sex, age or none."""
    frame = frame.with_row_index("_n")
    who = facts.visits({"sex", "age", "age_days"}).select("sex", "age", "age_days", _visit="id")
    asked = frame.select("_n", "item", "date", "_visit").join(who, on="_visit")
    day = in_force(pl.col("date").cast(pl.Date))
    dated = {"item": "med_list_codg", "_from": "begndate", "_to": "enddate"}
    sexes = asked.join(facts.knowledge["sex_limits"].select(_only="gend", **dated), on="item").filter(day)
    wrong_sex = sexes.filter(pl.col("sex") != pl.col("_only"))
    bounds = ("min_years", "max_years", "min_days", "max_days")
    ages = asked.join(facts.knowledge["age_limits"].select(*bounds, "gend", **dated), on="item").filter(
        day, pl.col("gend").is_null() | (pl.col("gend") == pl.col("sex"))
    )  # fmt: skip
    outside = pl.any_horizontal(
        pl.col("age") < pl.col("min_years"), pl.col("age") > pl.col("max_years"),
        pl.col("age_days") < pl.col("min_days"), pl.col("age_days") > pl.col("max_days"),
    ).fill_null(False)  # fmt: skip
    wrong = pl.concat([
        ages.filter(outside).select("_n", unfit=pl.lit("age")), wrong_sex.select("_n", unfit=pl.lit("sex")),
    ])  # fmt: skip
    wrong = wrong.unique("_n", keep="last", maintain_order=True)
    frame = frame.join(wrong, on="_n", how="left", maintain_order="left").drop("_n")
    return frame.with_columns(pl.col("unfit").fill_null(""))


REGISTER_FACTS = {
    "devices": devices,
    "device_capacity": devices,
    "reagent_bought": reagent_bought,
    "minutes": minutes,
    "drug_of_disease": drug_of_disease,
    "days_since_first_line": days_since_first_line,
    "herbs_alone": herbs_alone,
    "unfit": unfit,
}
