"""Derives a DIP catalogue from a region's own stays: core and residual groups and their relative weights.

After 《按病种分值付费（DIP）技术规范》 (医保办发〔2020〕50号), as articles retell it (grade B, not verified against the
text): stays of up to three years, weighted 1:2:7 from the oldest to the newest, are clustered by principal diagnosis x
procedures; a combination with at least the threshold of cases (15) is a core group, the rest is residual; the relative
weight is the mean cost of the group over that of all cases, RW_i = m_i / M.

What is our own choice, since we have not read it anywhere:
- cases are counted weighted by year, as costs are: sum(w n) / sum(w) over the years given, so that one year, two or
  three give comparable counts;
- m_i is the weighted mean of yearly means, over the years in which the group has cases; M likewise;
- a core group is weighed by the stays that have exactly its procedures, though as a catalogue it also takes stays
  with further procedures that make no core group of their own;
- what is left goes to its category x treatment class where that reaches the threshold, else to its chapter x class;
- nothing is trimmed: no rule for outliers is documented where we read.

Everything is exact: whole fen, fractions, half-up at the decimal that is written. The order of rows decides nothing.
"""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl

from engine.grouping import stays as stays_of
from engine.grouping.codes import PREFIX_MARK, cleaned
from engine.grouping.dip import RISING, class_numbers, judge, treatment_of
from engine.grouping.dip_files import CLASSES, COLUMNS, MOST_PROCEDURES, OPTIONAL_COLUMNS, OPTIONS
from engine.grouping.dip_scheme import NONE, DipScheme, build, cut
from engine.grouping.dip_stability import half_up, stability, weighted_means
from engine.grouping.stays import Stays
from engine.tables.problems import InputProblem, UsageProblem
from engine.tables.values import rounded

YEAR_WEIGHTS = (1, 2, 7)
CHAPTERS = (
    "A00-B99", "C00-D48", "D50-D89", "E00-E90", "F00-F99", "G00-G99", "H00-H59", "H60-H95", "I00-I99", "J00-J99",
    "K00-K93", "L00-L99", "M00-M99", "N00-N99", "O00-O99", "P00-P96", "Q00-Q99", "R00-R99", "S00-T98", "U00-U99",
    "V01-Y98", "Z00-Z99",
)  # fmt: skip
DX, PROCEDURE = r"^[A-Z]\d\w(\.\w+)?$", r"^\w[\w.]*$"
KEY = ["dx", "set"]
DIP_COLUMNS = (*COLUMNS["dip"], *OPTIONAL_COLUMNS["dip"])


@dataclass(frozen=True)
class Catalogue:
    """A catalogue as it will be written: options of scheme.yaml, tables, and how stable it is.

    stability: one row a group, see engine.grouping.dip_stability. summary: years with their weights; cases; left_out by
    reason (diagnosis: none, or none of ICD-10; procedure: no code, or without a class; cost: none above zero; year:
    no day, or older than the years weighted); numbers of groups; core_share, of the cases; core groups lost and gained
    when one year is left out.
    """

    options: dict[str, str]
    tables: dict[str, pl.DataFrame]
    stability: pl.DataFrame
    summary: dict


def build_catalogue(
    claims: pl.DataFrame,
    diagnoses: pl.DataFrame,
    procedures: pl.DataFrame,
    like: DipScheme,
    name: str,
    threshold: int = 15,
    weights: tuple[int, ...] = YEAR_WEIGHTS,
) -> Catalogue:
    """The catalogue of some inpatient stays (canonical frames; medfee_sumamt in fen).

    like: the catalogue whose classes of procedures and lengths of codes are taken over. weights: of the years, the
    newest last; a year is that of discharge. Raises InputProblem when no stay is left to build from.
    """
    if threshold < 1 or not weights or min(weights) < 0 or weights[-1] < 1:
        raise UsageProblem(f"threshold {threshold}, weights {weights}", allowed="threshold ≥ 1, weights 1:2:7")
    stays = stays_of.from_tables(claims, diagnoses, procedures, like.book)
    cases, left_out = _cases(stays, claims, like, weights)
    if cases.is_empty():
        raise InputProblem(f"没有可用的住院病例 no stays to build from: {left_out}")
    years = _year_weights(cases, weights)
    overall = weighted_means(cases, [], years)[()]
    options = _options(like, name, threshold, years)
    counts = cases.group_by(*KEY, "year").len("n")
    counts = counts.filter(pl.col("set").str.count_matches("+", literal=True) < MOST_PROCEDURES)
    exact = cases.join(_reaching(counts, KEY, years, threshold), on=KEY)
    core = _rows(exact, KEY, years, overall, _core_row(_names(diagnoses, like)))
    groups, rest = [core], cases.filter(_groups_of(stays, cases, core, options, like).is_null())
    for area, least in (("category", threshold), ("chapter", 0)):
        key = [area, "class"]
        found = _reaching(rest.group_by(*key, "year").len("n"), key, years, least)
        groups.append(_rows(rest.join(found, on=key), key, years, overall, _residual_row(area)))
        rest = rest.join(found, on=key, how="anti")
    dip = pl.concat(groups)
    sent = cases.with_columns(group=_groups_of(stays, cases, dip, options, like))
    table = stability(dip, _own(dip, exact, sent), sent, counts, years, threshold)
    tables = {"dip": dip, "procedures": like.classes.sort("code"), "means": _means(sent, max(years))}
    return Catalogue(options, tables, table, _summary(table, sent, years, left_out))


def _cases(stays: Stays, claims: pl.DataFrame, like: DipScheme, weights: tuple[int, ...]):
    """The stays to build from, and how many were left out for what.

    Columns: row, dx (cut), category, chapter, set (procedures that count, cut, joined by +), class, year, cost, level.
    """
    classes, _ = treatment_of(stays.proc, like)
    codes, first = stays.dx.distinct, stays.dx.first
    known = pl.DataFrame({"dx": cut(codes, 3, like.dx_characters), "category": codes.str.slice(0, 3)})
    known = known.with_columns(chapter=_chapter(known["category"]))
    known = pl.concat([known, known.clear(1)])  # the last row stands for no diagnosis
    frame = pl.DataFrame(
        {
            "row": np.arange(len(stays)),
            "class": np.array(RISING)[classes],
            "set": _sets(stays, like),
            "cost": claims["medfee_sumamt"].cast(pl.Int64),
            "level": claims["hosp_lv"] if "hosp_lv" in claims.columns else pl.Series([""] * len(stays)),
            "year": stays.facts["left"].dt.year(),
        }
    ).hstack(known[first.astype(np.uint32)])
    newest = frame["year"].max()
    good = {
        "diagnosis": pl.col("dx").str.contains(DX) & pl.col("chapter").is_not_null(),
        "procedure": pl.col("set").is_not_null() & (pl.col("class") != "unknown"),
        "cost": pl.col("cost") > 0,
        "year": pl.col("year") > (newest or 0) - len(weights),
    }
    left_out = {}
    for reason, test in good.items():
        kept = frame.filter(test.fill_null(False))
        left_out[reason], frame = len(frame) - len(kept), kept
    return frame, left_out


def _chapter(categories: pl.Series) -> pl.Series:
    """The ICD-10 chapter of each category, null outside them."""
    category = pl.col(categories.name)
    bounds = [(chapter, *chapter.split("-")) for chapter in CHAPTERS]
    tests = [pl.when((category >= low) & (category <= high)).then(pl.lit(chapter)) for chapter, low, high in bounds]
    return categories.to_frame().select(pl.coalesce(tests)).to_series()


def _sets(stays: Stays, like: DipScheme) -> pl.Series:
    """The procedures of each stay that count (not of class none), cut and joined; null where one is no code."""
    proc = stays.proc
    codes = cut(proc.distinct, 2, like.procedure_characters)
    short = codes.unique().sort()
    number = codes.replace_strict(short, pl.int_range(len(short), eager=True), return_dtype=pl.Int64)
    rows = pl.DataFrame({"row": proc.row.astype(np.int64), "code": number.gather(proc.code)})
    rows = rows.filter(pl.Series(class_numbers(proc, like)[proc.code] > 0)).unique().sort("row", "code")
    lists = rows.group_by("row", maintain_order=True).agg("code")
    distinct = (
        lists.select("code")
        .unique()
        .with_columns(
            set=pl.col("code").list.eval(pl.element().replace_strict(dict(enumerate(short)), return_dtype=pl.String))
        )
    )
    fine = pl.col("set").list.eval(pl.element().str.contains(PROCEDURE)).list.all()
    distinct = distinct.with_columns(set=pl.when(fine).then(pl.col("set").list.join("+")), had=True)
    everyone = pl.DataFrame({"row": np.arange(len(stays))}).join(lists, on="row", how="left", maintain_order="left")
    found = everyone.join(distinct, on="code", how="left", maintain_order="left")
    return found.select(pl.when("had").then("set").otherwise(pl.lit(""))).to_series()


def _year_weights(cases: pl.DataFrame, weights: tuple[int, ...]) -> dict[int, int]:
    """The weight of each year that has cases; the newest has the last weight, a missing year keeps its own unused."""
    newest = cases["year"].max()
    return {year: weights[len(weights) - 1 - (newest - year)] for year in cases["year"].unique().sort()}


def _reaching(counts: pl.DataFrame, key: list[str], years: dict[int, int], least: int) -> pl.DataFrame:
    """The keys whose weighted cases reach the least, with those `cases`, rounded down."""
    weight = pl.col("year").replace_strict(years, return_dtype=pl.Int64)
    cases = counts.group_by(key).agg(cases=(pl.col("n").cast(pl.Int64) * weight).sum() // sum(years.values()))
    return cases.filter(pl.col("cases") >= least)


def _rows(cases: pl.DataFrame, key: list[str], years: dict[int, int], overall: Fraction, row) -> pl.DataFrame:
    """Rows of dip.csv, one for each key of the cases; `row` makes the columns of a key from group to class."""
    means = weighted_means(cases, key, years)
    known = {tuple(values): count for *values, count in cases.select(*key, "cases").unique().iter_rows()}
    rows = [
        (*row(*values), half_up(mean / overall, 8), half_up(mean, 0), str(known[values]))
        for values, mean in means.items()
    ]
    return pl.DataFrame(rows, dict.fromkeys(DIP_COLUMNS, pl.String), orient="row")


def _core_row(names: dict[str, str]):
    def row(dx: str, procedures: str) -> tuple[str, ...]:
        name = f"{names.get(dx, dx)}，{procedures or CLASSES['conservative']}"
        return f"{dx}:{procedures or '0'}", name, "core", dx, procedures, ""

    return row


def _residual_row(area: str):
    mark = PREFIX_MARK if area == "category" else ""

    def row(place: str, of: str) -> tuple[str, ...]:
        return f"{place}:R{list(CLASSES).index(of)}", f"{place} {CLASSES[of]}", "residual", place + mark, "", of

    return row


def _names(diagnoses: pl.DataFrame, like: DipScheme) -> dict[str, str]:
    """The commonest name of each cut diagnosis, of equally common ones the first."""
    if "diag_name" not in diagnoses.columns:
        return {}
    named = diagnoses.group_by("diag_code", "diag_name").len("n").drop_nulls()
    code = cut(cleaned(named["diag_code"], like.book.normalise), 3, like.dx_characters)
    named = named.with_columns(dx=code).group_by("dx", "diag_name").agg(pl.col("n").sum())
    named = named.sort("dx", "n", "diag_name", descending=[False, True, False]).unique("dx", keep="first")
    return dict(named.select("dx", pl.col("diag_name").str.strip_chars()).iter_rows())


def _groups_of(
    stays: Stays, cases: pl.DataFrame, dip: pl.DataFrame, options: dict[str, str], like: DipScheme
) -> pl.Series:
    """The group to which a catalogue sends each case, null for none: the grouper itself says so."""
    scheme = build({"dip": dip, "procedures": like.classes}, options)
    place = judge(stays, scheme).group[cases["row"].to_numpy()]
    return scheme.groups["group"].extend_constant(None, 1).gather(np.where(place == NONE, len(scheme.groups), place))


def _own(dip: pl.DataFrame, exact: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """The cases that weigh each group: of a core group those with exactly its procedures, else those sent to it."""
    core = dip.filter(pl.col("kind") == "core").select("group", dx="dx", set="procedures")
    columns = ["group", "year", "cost"]
    residual = sent.join(dip.filter(pl.col("kind") == "residual").select("group"), on="group", how="semi")
    return pl.concat([exact.join(core, on=KEY).select(columns), residual.select(columns)])


def _means(sent: pl.DataFrame, newest: int) -> pl.DataFrame:
    """means.csv: the mean cost of each group at each level of hospital in the newest year, half-up to the fen."""
    cases = sent.filter(pl.col("year") == newest, pl.col("level").fill_null("") != "")
    mean = rounded(pl.col("cost").sum(), pl.len().cast(pl.Int64))
    means = cases.group_by("group", hosp_lv="level").agg(mean_cost_fen=mean).filter(pl.col("mean_cost_fen") > 0)
    return means.sort("group", "hosp_lv").with_columns(pl.col("mean_cost_fen").cast(pl.String))


def _options(like: DipScheme, name: str, threshold: int, years: dict[int, int]) -> dict[str, str]:
    """Options of scheme.yaml: the lengths of codes from the model, the rest from the building."""
    said = ", ".join(f"{year} × {weight}" for year, weight in sorted(years.items()))
    defaults = {key: default for key, (default, _, _) in OPTIONS.items()}
    return defaults | {
        "name": name,
        "version": str(max(years)),
        "grade": "built",
        "source": f"由本地住院结算数据测算 built from claims: {said}",
        "normalise_codes": "yes" if like.book.normalise else "no",
        "dx_characters": str(like.dx_characters),
        "procedure_characters": str(like.procedure_characters),
        "unlisted": like.unlisted,
        "threshold": str(threshold),
        "base_score": str(like.base_score),
    }


def _summary(table: pl.DataFrame, sent: pl.DataFrame, years: dict[int, int], left_out: dict[str, int]) -> dict:
    kinds = dict(table["kind"].value_counts().iter_rows())
    core = table.filter(pl.col("kind") == "core").select("group")
    in_core = sent.join(core, on="group", how="semi").height
    flips = table.filter(pl.col("flips_without") != "")["kind"].value_counts()
    return {
        "years": {str(year): weight for year, weight in sorted(years.items())},
        "cases": sent.height,
        "left_out": left_out,
        "core_groups": kinds.get("core", 0),
        "residual_groups": kinds.get("residual", 0),
        "core_share": half_up(Fraction(in_core, sent.height), 4),
        "core_groups_lost_without_a_year": dict(flips.iter_rows()).get("core", 0),
        "core_groups_gained_without_a_year": dict(flips.iter_rows()).get("candidate", 0),
    }


def write_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Writes scheme.yaml, the tables and stability.csv; the same catalogue gives the same bytes.

    Raises UsageProblem for a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageProblem(f"输出目录不为空 DIR is not empty: {folder}", hint="请换一个新目录 choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    given = {key: value for key, value in catalogue.options.items() if value and value != OPTIONS[key][0]}
    given = {"name": catalogue.options["name"], "kind": "dip"} | given
    text = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in given.items())
    (folder / "scheme.yaml").write_text(text, "utf-8")
    for name, table in (*catalogue.tables.items(), ("stability", catalogue.stability)):
        table.write_csv(folder / f"{name}.csv")
