"""Conditions on fee lines: what is paid only with an electronic prescription, which items decide the benefit, and by
which place's catalogue a line is classified.

双通道谈判药 without an electronic prescription is the person's own pay (双通道自 2025 年 3 月底全部电子处方); items of
assisted reproduction are paid as the benefit that names them (参照门特待遇); care elsewhere follows the catalogue of
the place of care (就医地目录, 医保发〔2022〕22号第六条) and the benefits of home.
"""

from collections.abc import Mapping

import polars as pl

from engine.settlement.clauses import ElectronicOnly
from engine.settlement.dated import holding, value_on
from engine.settlement.lookup import benefit_of
from engine.settlement.policy import Policy
from engine.tables.dictionary import with_fields

Known = Mapping[str, pl.DataFrame]
UNCODED = "uncoded"  # beside the tables of standing: lines due a trace code that have none, with their `duty`
PAYS_BY_CODE = ("settle", "pay")


def withheld(lines: pl.DataFrame, claims: pl.DataFrame, policy: Policy, known: Known) -> pl.DataFrame:
    """The lines with self_pay_flag 1 where a condition of the policy is not met, in the order given: an electronic
    prescription, or a trace code that was due.
    """
    return _with_prescription(_with_code(lines, policy, known), claims, policy, known)


def _with_code(lines: pl.DataFrame, policy: Policy, known: Known) -> pl.DataFrame:
    """依码支付: lines in known[UNCODED] are the person's own pay, from the day and under the duty the policy says."""
    if UNCODED not in known or not policy.without_code or lines.is_empty():
        return lines
    lines = with_fields(lines, "fee_lines", "self_pay_flag", "fee_ocur_time")
    rows = lines.select("feedetl_sn", _day=pl.col("fee_ocur_time").dt.date())
    rows = rows.join(known[UNCODED].select("feedetl_sn", "duty"), on="feedetl_sn", how="left", maintain_order="left")
    does = holding(policy.without_code, pl.lit, pl.lit(None, pl.String), "_day")
    by_duty = (does == "by_duty") & pl.col("duty").is_in(PAYS_BY_CODE)
    refused = pl.col("duty").is_not_null() & ((does == "refuse") | by_duty)
    unmet = rows.select(refused.fill_null(False)).to_series()
    return lines.with_columns(pl.when(unmet).then(pl.lit("1")).otherwise("self_pay_flag").alias("self_pay_flag"))


def _with_prescription(lines: pl.DataFrame, claims: pl.DataFrame, policy: Policy, known: Known) -> pl.DataFrame:
    clause = policy.electronic_only
    if clause is None or lines.is_empty():
        return lines
    lines = with_fields(lines, "fee_lines", "med_list_codg", "rxno", "self_pay_flag", "fee_ocur_time")
    visits = claims.select("setl_id", _kind="visit_kind")
    rows = lines.select("setl_id", "med_list_codg", "rxno", _day=pl.col("fee_ocur_time").dt.date())
    rows = rows.join(visits, on="setl_id", how="left", maintain_order="left")
    concerned = (
        pl.col("_kind").is_in(clause.visit_kinds)
        & one_of("med_list_codg", clause.items)
        & _required(rows["_day"], clause)
    )
    unmet = rows.select(concerned.fill_null(False) & ~_electronic(rows["rxno"], known)).to_series()
    return lines.with_columns(pl.when(unmet).then(pl.lit("1")).otherwise("self_pay_flag").alias("self_pay_flag"))


def _required(day: pl.Series, clause: ElectronicOnly) -> pl.Series:
    """Whether an electronic prescription is required on each day."""
    days = day.unique().drop_nulls()
    asked = [bool(value_on(clause.required, d)) for d in days]
    return day.replace_strict(days, asked, default=False, return_dtype=pl.Boolean)


def _electronic(rxno: pl.Series, known: Known) -> pl.Series:
    """Whether a line names an electronic prescription; without a table of prescriptions, whether it names one."""
    if "prescriptions" not in known:
        return rxno.is_not_null()
    table = with_fields(known["prescriptions"], "prescriptions", "rxno", "electronic_flag")
    return rxno.is_in(table.filter(pl.col("electronic_flag") == "1")["rxno"].drop_nulls().implode()).fill_null(False)


def one_of(column: str, codes: list[str]) -> pl.Expr:
    """Whether a code is one of these; `X*` stands for all that begin so."""
    whole = [code for code in codes if not code.endswith("*")]
    begins = [pl.col(column).str.starts_with(code[:-1]) for code in codes if code.endswith("*")]
    return pl.any_horizontal(pl.col(column).is_in(whole), *begins).fill_null(False)


def named_benefit(claims: pl.DataFrame, lines: pl.DataFrame, policy: Policy) -> pl.Series | None:
    """Per claim the first benefit that names its med_type, adm_kind, an item on it or what its columns hold, or null.

    No answer where no benefit of the policy names any.
    """
    answer = None
    for name, benefit in reversed(policy.benefits.items()):
        if not (benefit.med_types or benefit.adm_kinds or benefit.items or benefit.where):
            continue
        here = claims.select(one_of("med_type", benefit.med_types) | one_of("adm_kind", benefit.adm_kinds)).to_series()
        if benefit.items:
            having = with_fields(lines, "fee_lines", "setl_id", "med_list_codg").filter(
                one_of("med_list_codg", benefit.items)
            )
            here |= claims["setl_id"].is_in(having["setl_id"].unique().implode())
        if benefit.where:
            kinds = [pl.col("visit_kind").is_in(benefit.visit_kinds)] if benefit.visit_kinds else []
            every = [*kinds, *(one_of(column, values) for column, values in benefit.where.items())]
            here |= claims.select(pl.all_horizontal(every).fill_null(False)).to_series()
        none = pl.Series("named", [None], dtype=pl.String).new_from_index(0, claims.height)
        answer = (none if answer is None else answer).set(here, name)
    return answer


def benefits(claims: pl.DataFrame, lines: pl.DataFrame | None, policy: Policy) -> pl.Series:
    """The policy's name of the benefit of every claim, as persons are paid and institutions are: see clauses.Benefit.

    lines: setl_id, med_list_codg of the lines of items that benefits name; none is as if no claim had any.
    """
    lines = pl.DataFrame(schema={"setl_id": pl.String, "med_list_codg": pl.String}) if lines is None else lines
    named, of_visit = named_benefit(claims, lines, policy), benefit_of(claims, policy)
    return of_visit if named is None else named.fill_null(of_visit)


def naming_lines(lines: pl.LazyFrame, policy: Policy) -> pl.DataFrame | None:
    """setl_id and med_list_codg of the lines whose item a benefit names; None where no benefit names any."""
    items = [item for benefit in policy.benefits.values() for item in benefit.items]
    return lines.filter(one_of("med_list_codg", items)).select("setl_id", "med_list_codg").collect() if items else None


def by_care_place(lines: pl.DataFrame, claims: pl.DataFrame, catalogue: pl.DataFrame | None) -> list[tuple]:
    """(lines, catalogue) to classify together: those of care in a place with a catalogue of its own, and the rest.

    catalogue: may have `admdvs`, the place (or the wider area) whose care a row is for; blank is the region's own.
    """
    if catalogue is None or "admdvs" not in catalogue.columns:
        return [(lines, catalogue)]
    areas = claims.select("setl_id", _area=pl.col("mdtrtarea_admdvs").fill_null(""))
    placed = lines.join(areas, on="setl_id", how="left", maintain_order="left")
    parts, rest = [], pl.lit(True)
    for place in catalogue["admdvs"].drop_nulls().unique().sort(descending=True):
        here = pl.col("_area").str.starts_with(place.rstrip("0") if place.endswith("00") else place).fill_null(False)
        rows = placed.filter(rest & here).drop("_area")
        parts.append((rows, catalogue.filter(pl.col("admdvs") == place).drop("admdvs")))
        rest = rest & ~here
    own = catalogue.filter(pl.col("admdvs").is_null()).drop("admdvs")
    return [*parts, (placed.filter(rest).drop("_area"), own)]


def of_item_classes(policy: Policy) -> list[list[pl.Expr]]:
    """Per benefit, per class of items, whether a fee line is of it; of several classes the first takes a line."""
    found = []
    for benefit in policy.benefits.values():
        taken, classes = pl.lit(False), []
        for one in benefit.item_classes.values():
            here = one_of("med_list_codg", one.items)
            classes.append(here & ~taken)
            taken = taken | here
        found.append(classes)
    return found
