"""What a person is entitled to on the day of each claim, joined once from the tables that say so.

Category of assistance (aid_spells, persons), filing for care away from home (filings), entitlement to a chronic or
special disease (disease_entitlements), enrolment with its gaps, newborns and further insurances (enrolments), age.
Only what some clause of the policy asks for is looked up, and a table that is not given is not asked: then everyone is
enrolled and entitled, nobody is of a category, and the claim's own filing status stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from engine.settlement.clauses import Filing
from engine.settlement.policy import Policy
from engine.tables.dictionary import with_fields

TABLES = ("persons", "enrolments", "filings", "disease_entitlements", "aid_spells", "prescriptions", "institutions")
CLAIM = [
    *("fixmedins_code", "dise_codg", "mdtrtarea_admdvs", "filing_status", "age", "brdy", "trum_flag"),
    *("insutype", "insu_admdvs", "adm_way", "gend", "daysurg_flag"),
]
Known = Mapping[str, pl.DataFrame]
_MOST_YEARS = 60  # that earlier years without a claim are looked for


@dataclass(frozen=True)
class Standing:
    """Per claim in the order given. kinds: columns of which terms depend. The others decide whether anything is paid.

    enrolled: in a spell on the first day of care. newborn_days: from birth to the enrolment of one who is not yet in a
    spell, null else. waits_from: the day a spell began that makes wait, null else; missed, repaired: years before it.
    held: an injury for which someone else may be liable. zero_years: whether the year before, the one before that …
    is one of unbroken enrolment that can earn the bonus for a year without claims.
    """

    kinds: pl.DataFrame
    enrolled: np.ndarray
    newborn_days: pl.Series
    spells: pl.DataFrame
    held: np.ndarray
    zero_years: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))


def standing(
    claims: pl.DataFrame, day: np.ndarray, policy: Policy, known: Known, named: pl.Series | None = None
) -> Standing:
    """claims: with the columns CLAIM, psn_no, begntime, visit_kind, local_flag. day: whose values hold, per claim.

    named: per claim the benefit that names it, null for none (conditions.named_benefit).
    """
    who = claims.select(
        "psn_no", "visit_kind", "local_flag", *CLAIM, row=pl.int_range(pl.len()), day=pl.Series(day).cast(pl.Date)
    )
    who = who.with_columns(
        care=pl.coalesce(claims["begntime"].dt.date(), "day"), named=pl.Series([None] * who.height) if named is None
        else named,
    )  # fmt: skip
    known = {name: with_fields(known[name], name) for name in TABLES if name in known}
    kinds = {}
    if policy.categories:
        kinds["category"] = category_of(who, policy, known)
    if policy.cross_region or not all(payer.loss_counts for payer in policy.payers.values()):
        kinds["filing"] = filing_of(who, policy, known)
    if any(benefit.entitlement for benefit in policy.benefits.values()):
        kinds["entitled"] = entitled(who, policy, known)
    if any(benefit.age_points for benefit in policy.benefits.values()):
        kinds["age"] = age_of(who, known)
    for name, payer in policy.behind_the_pool().items():
        if payer.who.insutypes:
            kinds[f"in_{name}"] = enrolled_in(who, payer.who.insutypes, known)
    if any(benefit.pool_cap_per_further_disease for benefit in policy.benefits.values()):
        kinds["diseases"] = diseases_of(who, known)
    spells = spells_of(who, policy, known)
    kinds |= in_groups(who, spells, policy, known)
    incentive = policy.catastrophic.incentive if policy.catastrophic else None
    zero_years = np.zeros((who.height, 0), np.int64)
    if incentive:
        kinds["years_in"] = (who["day"].dt.year() - spells["run_begin"].dt.year() + 1).fill_null(0)
        zero_years = _earning_years(who["day"], spells["run_begin"], incentive.since)
    return Standing(
        pl.DataFrame(kinds),
        spells["enrolled"].to_numpy() | (policy.enrolment is None),
        spells["newborn_days"],
        spells,
        (claims["trum_flag"] == "1").fill_null(False).to_numpy() & (policy.accidents == "held"),
        zero_years,
    )


def category_of(who: pl.DataFrame, policy: Policy, known: Known) -> pl.Series:
    """The first of the policy's categories that holds on the day, by spell, else by what the person is said to be."""
    names = list(policy.categories)
    rank = {word: n for n, (name, c) in enumerate(policy.categories.items()) for word in (name, *c.aid_types)}
    best = pl.Series([None] * who.height, dtype=pl.Int64)
    if "aid_spells" in known:
        spells = known["aid_spells"].with_columns(_rank=_ranked("aid_type", rank)).drop_nulls("_rank")
        best = _least(who, holding(who, spells, "day"), "_rank")
    if "persons" in known:
        said = known["persons"].select("psn_no", _said=_ranked("aid_type", rank)).drop_nulls()
        said = said.unique("psn_no", keep="first", maintain_order=True)
        said = who.select("psn_no").join(said, on="psn_no", how="left", maintain_order="left")["_said"]
        best = best.fill_null(said) if said.len() else best
    return best.replace_strict(range(len(names)), names, default=None, return_dtype=pl.String)


def filing_of(who: pl.DataFrame, policy: Policy, known: Known) -> pl.Series:
    """The kind of filing under which care away from home began; `unfiled` without one, null for care at home.

    A filing for a wider area holds for all of it. Of several the one that reduces nothing, then by the policy's order.
    """
    order = {kind: n for n, kind in enumerate(policy.cross_region, 1)}
    kinds: list[Filing] = ["resident", "referral", "emergency", "temporary", "filed", "unfiled"]
    rank = {kind: order.get(kind, 0) * 10 + n for n, kind in enumerate(kinds)}
    said = pl.when(pl.col("filing_status").is_in(kinds)).then("filing_status").otherwise(pl.lit("unfiled"))
    kind = who.select(said.alias("kind"))["kind"]
    if "filings" in known:
        area = pl.col("mdtrtarea_admdvs_filed").str.replace(r"(00)+$", "")
        filings = known["filings"].select("psn_no", "begndate", "enddate", _rank=_ranked("kind", rank),
                                          mdtrtarea_admdvs_filed="mdtrtarea_admdvs")  # fmt: skip
        found = holding(who.filter(pl.col("local_flag") == "0"), filings.drop_nulls("_rank"), "care")
        found = found.filter(pl.col("mdtrtarea_admdvs").str.starts_with(area).fill_null(True))
        filed = _least(who, found, "_rank")
        kind = filed.replace_strict(list(rank.values()), list(rank), default=None, return_dtype=pl.String).fill_null(
            kind
        )
    return who.select(pl.when(pl.col("local_flag") == "0").then(kind).alias("filing"))["filing"]


def entitled(who: pl.DataFrame, policy: Policy, known: Known) -> pl.Series:
    """Whether a claim of a benefit that needs an entitlement has one; true for all others."""
    answer = pl.Series([True] * who.height)
    for name, benefit in policy.benefits.items():
        if not benefit.entitlement:
            continue
        of_kind = pl.lit(False) if benefit.where else pl.col("visit_kind").is_in(benefit.visit_kinds)
        asked = who.filter(pl.coalesce(pl.col("named").cast(pl.String) == name, of_kind).fill_null(False))
        allowed = pl.Series([True] * asked.height, dtype=pl.Boolean)
        if "disease_entitlements" in known:
            spells = known["disease_entitlements"].rename({"fixmedins_code": "chosen"})
            found = holding(asked, spells, "care", on=["psn_no", "dise_codg"])
            if benefit.entitlement.at_chosen_site:
                found = found.filter((pl.col("chosen") == pl.col("fixmedins_code")).fill_null(True))
            allowed = asked["row"].is_in(found["row"].unique().implode())
        if benefit.entitlement.remote_diseases:
            direct = pl.col("dise_codg").is_in(benefit.entitlement.remote_diseases).fill_null(False)
            allowed &= asked.select((pl.col("local_flag") != "0").fill_null(True) | direct).to_series()
        answer = answer.scatter(asked["row"], allowed)
    return answer


def diseases_of(who: pl.DataFrame, known: Known) -> pl.Series:
    """For how many diseases the person holds an entitlement on the first day of care; 1 without a table."""
    if "disease_entitlements" not in known:
        return pl.Series([1] * who.height, dtype=pl.Int64)
    spells = known["disease_entitlements"].select("psn_no", "begndate", "enddate", held="dise_codg")
    found = holding(who, spells, "care").group_by("row").agg(pl.col("held").n_unique().cast(pl.Int64))
    return who.select("row").join(found, on="row", how="left", maintain_order="left")["held"].fill_null(1)


def in_groups(who: pl.DataFrame, spells: pl.DataFrame, policy: Policy, known: Known) -> dict[str, pl.Series]:
    """For each group that asks for more than a psn_type whether its conditions hold; what is unknown does not hold."""
    asking = {name: group for name, group in policy.groups.items() if group.conditions()}
    if not asking:
        return {}
    begun, care = spells["run_begin"], who["care"]
    months = (care.dt.year() - begun.dt.year()) * 12 + care.dt.month().cast(pl.Int32) - begun.dt.month().cast(pl.Int32)
    months -= (care.dt.day() < begun.dt.day()).cast(pl.Int32)
    rows = who.select("insutype", months=months, age=age_of(who, known))
    answer = {}
    for name, group in asking.items():
        holds = [pl.col("insutype").is_in(group.insutypes)] if group.insutypes else []
        for column, (least, bound) in {"age": group.ages(), "months": group.months()}.items():
            holds += [pl.col(column) >= least] if least is not None else []
            holds += [pl.col(column) < bound] if bound is not None else []
        answer[f"may_{name}"] = rows.select(pl.all_horizontal(holds).fill_null(False)).to_series()
    return answer


def age_of(who: pl.DataFrame, known: Known) -> pl.Series:
    """Whole years on the first day of care: as claimed, else by birthday."""
    born = _born(who, known)
    had_birthday = pl.col("care").dt.strftime("%m%d") >= pl.col("born").dt.strftime("%m%d")
    years = pl.col("care").dt.year() - pl.col("born").dt.year() - (~had_birthday).cast(pl.Int32)
    return who.with_columns(born=born).select(age=pl.coalesce("age", years.cast(pl.Int64)))["age"]


def enrolled_in(who: pl.DataFrame, insutypes: list[str], known: Known) -> pl.Series:
    """Whether the person is enrolled in one of these insurances on the day; without a table, in none."""
    if "enrolments" not in known:
        return pl.Series([False] * who.height)
    spells = known["enrolments"].filter(pl.col("insutype").is_in(insutypes))
    return who["row"].is_in(holding(who, spells, "day")["row"].unique().implode())


_SPELL = {"enrolled": pl.Boolean, "newborn_days": pl.Int64, "waits_from": pl.Date, "missed": pl.Int64,
          "repaired": pl.Int64, "run_begin": pl.Date}  # fmt: skip


def spells_of(who: pl.DataFrame, policy: Policy, known: Known) -> pl.DataFrame:
    """Per claim: enrolled, newborn_days, waits_from, missed, repaired; run_begin, the first day without a gap since."""
    incentive = policy.catastrophic and policy.catastrophic.incentive
    by_months = any(bound is not None for group in policy.groups.values() for bound in group.months())
    if "enrolments" not in known or not (policy.enrolment or incentive or by_months):
        blank = who.select("row", *(pl.lit(None, dtype).alias(name) for name, dtype in _SPELL.items()))
        return blank.drop("row").with_columns(enrolled=pl.lit(True))
    insutypes = policy.enrolment.insutypes if policy.enrolment else []
    spells = known["enrolments"].filter(pl.col("insutype").is_in(insutypes) if insutypes else pl.lit(True))
    spells = runs(spells.drop_nulls("begndate"))
    born = _born(who, known)
    rows = who.select("row", "psn_no", "care").with_columns(born=born)
    at = rows.sort("care").join_asof(
        spells.sort("begndate"),
        left_on="care",
        right_on="begndate",
        by="psn_no",
        coalesce=False,
        check_sortedness=False,
    )
    inside = pl.col("begndate").is_not_null() & (pl.col("care") <= pl.col("ends")).fill_null(True)
    at = at.sort("row").with_columns(enrolled=inside)
    late = rows.join(spells, on="psn_no").filter(pl.col("begndate") > pl.col("care"), pl.col("care") >= pl.col("born"))
    late = late.select("row", _days=(pl.coalesce("enrol_date", "begndate") - pl.col("born")).dt.total_days())
    newborn = _least(who, late, "_days")
    as_newborn = (pl.col("begndate") - pl.col("born")).dt.total_days() <= 366  # the first enrolment of an infant
    waits = pl.when(pl.col("makes_wait") & ~as_newborn.fill_null(False)).then("run_begin")
    at = at.with_columns(newborn_days=newborn, waits_from=waits)
    return at.select(pl.col(name).cast(dtype) for name, dtype in _SPELL.items())


def runs(spells: pl.DataFrame) -> pl.DataFrame:
    """Spells of enrolment with the run of unbroken ones they belong to, in order of person and begin.

    run_begin, ends (of the spell, null when open), missed (whole calendar years between this run and the one before),
    repaired (of these, enrolled afterwards), makes_wait (the run follows a gap, or began in the course of a year).
    A spell that was enrolled in a later year than the one in which it ends repairs a gap, and is no part of a run.
    """
    ends = pl.col("enddate")
    spells = spells.select("psn_no", "begndate", "enrol_date", ends=ends).with_columns(
        mends=(pl.col("enrol_date").dt.year() > pl.col("ends").dt.year()).fill_null(False)
    )
    mended = spells.filter("mends").select("psn_no", mended="begndate")
    spells = spells.filter(~pl.col("mends")).sort("psn_no", "begndate", pl.col("ends").fill_null(pl.date(9999, 12, 31)))
    far = pl.col("ends").fill_null(pl.date(9999, 12, 31))
    spells = spells.with_columns(before=far.cum_max().over("psn_no").shift(1).over("psn_no"))
    gap = (pl.col("begndate") > pl.col("before").dt.offset_by("1d")).fill_null(True)
    first = pl.col("before").is_null()
    in_course = (pl.col("begndate").dt.month() > 1) | (pl.col("begndate").dt.day() > 1)
    missed = (pl.col("begndate").dt.year() - pl.col("before").dt.year() - 1).clip(0).fill_null(0)
    spells = spells.with_columns(
        run_begin=pl.when(gap).then("begndate"),
        run_missed=pl.when(gap).then(missed),
        run_waits=pl.when(gap).then(~first | in_course),
        run_after=pl.when(gap).then(pl.col("before").fill_null(pl.date(1, 1, 1))),
    )
    carried = pl.col("run_begin", "run_missed", "run_waits", "run_after").forward_fill().over("psn_no")
    spells = spells.with_columns(carried)
    mends = spells.select("psn_no", "run_begin", "run_after").unique().join(mended, on="psn_no")
    mends = mends.filter(pl.col("mended") > pl.col("run_after"), pl.col("mended") < pl.col("run_begin"))
    mends = mends.group_by("psn_no", "run_begin").agg(repaired=pl.col("mended").n_unique())
    spells = spells.join(mends, on=["psn_no", "run_begin"], how="left", maintain_order="left")
    return spells.select(
        "psn_no", "begndate", "enrol_date", "ends", "run_begin", pl.col("run_missed").alias("missed"),
        pl.col("repaired").fill_null(0), pl.col("run_waits").alias("makes_wait"),
    )  # fmt: skip


def holding(who: pl.DataFrame, spells: pl.DataFrame, day: str, on: list[str] | None = None) -> pl.DataFrame:
    """Claims beside each spell of their person that holds on their day; spells without an end are open."""
    found = who.join(spells, on=on or ["psn_no"], how="inner")
    begun = (pl.col("begndate") <= pl.col(day)).fill_null(True)
    return found.filter(begun & (pl.col("enddate") >= pl.col(day)).fill_null(True))


def _ranked(column: str, rank: dict[str, int]) -> pl.Expr:
    return pl.col(column).replace_strict(rank, default=None, return_dtype=pl.Int64)


def _least(who: pl.DataFrame, found: pl.DataFrame, column: str) -> pl.Series:
    """The least value found for each claim, in the order of the claims; null where nothing was."""
    least = found.group_by("row").agg(pl.col(column).min().cast(pl.Int64))
    return who.select("row").join(least, on="row", how="left", maintain_order="left")[column]


def _born(who: pl.DataFrame, known: Known) -> pl.Series:
    """The birthday: as claimed, else of the person."""
    if "persons" not in known:
        return who["brdy"]
    persons = known["persons"].select("psn_no", _brdy="brdy").unique("psn_no", keep="first", maintain_order=True)
    joined = who.select("psn_no", "brdy").join(persons, on="psn_no", how="left", maintain_order="left")
    return joined.select(pl.coalesce("brdy", "_brdy")).to_series()


def _earning_years(day: pl.Series, run_begin: pl.Series, since: int) -> np.ndarray:
    """1 for each of the years before that of the day that lies in the same run and not before `since`, latest first."""
    year = day.dt.year().cast(pl.Int64).to_numpy()
    begin = run_begin.dt.year().cast(pl.Int64).fill_null(9999).to_numpy()
    back = min(max(int(year.max(initial=since)) - since, 0), _MOST_YEARS)
    earlier = year[:, None] - np.arange(1, back + 1)
    return ((earlier >= since) & (earlier >= begin[:, None])).astype(np.int64)


def waits(standing: Standing, day: np.ndarray, rule, kind: np.ndarray) -> np.ndarray:
    """Whether the waiting period of a claim's person still runs on its day; rule: the terms by kind."""
    if not hasattr(rule, "wait_fixed"):
        return np.zeros(len(day), bool)
    spells = standing.spells
    missed, repaired = (spells[name].fill_null(0).to_numpy() for name in ("missed", "repaired"))
    months = waiting_months(missed, repaired, *(getattr(rule, f"wait_{name}")[kind] for name in WAITING))
    begins = spells["waits_from"].to_numpy().astype("datetime64[D]")
    month = begins.astype("datetime64[M]")
    until = (month + months).astype("datetime64[D]") + (begins - month.astype("datetime64[D]"))
    return ~np.isnat(begins) & (day < until)


WAITING = ("fixed", "per_missed", "per_repaired", "long_gap", "long_least")


def waiting_months(missed, repaired, fixed, per_missed, per_repaired, long_gap, long_least) -> np.ndarray:
    """固定等待期 + 变动等待期: months; each year missed adds some, each year paid afterwards takes some off.

    All are arrays of one row per claim: years, years, then months per the policy. What is fixed cannot be bought off.
    """
    variable = np.maximum(missed * per_missed - repaired * per_repaired, 0)
    months = fixed + np.minimum(variable, missed * per_missed)
    return np.where(missed >= long_gap, np.maximum(months, long_least), months)
