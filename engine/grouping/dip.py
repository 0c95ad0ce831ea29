"""Groups stays by a DIP catalogue (按病种分值付费): principal diagnosis x procedures, and the auxiliary coefficients.

The method is that of 《按病种分值付费（DIP）技术规范》 (医保办发〔2020〕50号; 2.0: 医保办发〔2024〕9号): a core group
(核心病种) is a subcategory of the principal diagnosis with a set of procedures, or without any (保守治疗); what fits
none goes to a residual group (综合病种) of its category or chapter and its treatment class. Not verified against the
text: that of several core groups that fit the one with more procedures wins, then the higher weight, then the lower
code (an order of our own), and how auxiliary coefficients are combined (an option). Their bands are data of a
catalogue, and demo where ours.

Codes are compared as text once per distinct code. After that a stay is whole numbers: procedures are bits of the sets
of core groups, a group fits when its mask is full, and the lowest row of the ranked catalogue wins.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.grouping.codes import Lookup
from engine.grouping.dip_files import BANDS, CLASSES, RANGE
from engine.grouping.dip_scheme import NONE, WEIGHT, DipScheme, cut, place_of
from engine.grouping.stays import Coded, Stays
from engine.tables.values import rounded

COEFFICIENT_UNITS = 10**4
# Treatment classes in rising order. `unknown`, of a procedure without a class, gives way to surgery only: no class
# is above surgery, so there the unknown procedure decides nothing.
RISING = ("conservative", "diagnostic", "therapeutic", "unknown", "surgery")
UNLISTED = {"ungrouped": "unknown", "none": "conservative"}
CC_LEVELS = {"CC": 1, "MCC": 2}
CC_BANDS = {"": (0, 2), "none": (0, 0), "any": (1, 2), "CC": (1, 1), "MCC": (2, 2)}
DIED = "5"  # dscg_way


@dataclass(frozen=True)
class DipJudged:
    """Stays judged by a catalogue; arrays have one element a stay.

    dx: number of the cut principal diagnosis in core_dx. treatment: place in RISING. deciding: the distinct procedure
    that gave the class, len(distinct) for none. pattern, touched, best: see _patterns and _core.
    group: row of groups. auxiliary: by table the row that holds. NONE where there is none.
    """

    scheme: DipScheme
    stays: Stays
    dx: np.ndarray
    treatment: np.ndarray
    deciding: np.ndarray
    pattern: np.ndarray
    touched: pl.DataFrame
    best: np.ndarray
    group: np.ndarray
    auxiliary: dict[str, np.ndarray]


def group_dip(stays: Stays, scheme: DipScheme) -> tuple[pl.DataFrame, DipJudged]:
    """mdc (null), adrg (category of the principal diagnosis), drg (DIP group), weight and status, a row a stay.

    weight is the relative weight times the auxiliary coefficients, half-up to 1e-8. Status: grouped, ungrouped (00,
    0000, no weight), invalid (no discharge diagnosis).
    """
    found = judge(stays, scheme)
    grouped, invalid = found.group >= 0, stays.dx.first == len(stays.dx.distinct)
    category = _gather(stays.dx.distinct.str.slice(0, 3), stays.dx.first)
    place = np.where(grouped, found.group, len(scheme.groups))
    frame = pl.DataFrame({"group": _gather(scheme.groups["group"], place), "category": category,
                          "grouped": grouped, "invalid": invalid, "units": _units(found)})  # fmt: skip
    weight = pl.col("units").cast(pl.Int128).reinterpret(dtype=pl.Decimal(38, 8)).cast(WEIGHT)

    def said(column: str, ungrouped: str) -> pl.Expr:
        return pl.when("grouped").then(column).when(~pl.col("invalid")).then(pl.lit(ungrouped))

    status = pl.when("grouped").then(pl.lit("grouped")).when("invalid").then(pl.lit("invalid"))
    result = frame.select(
        mdc=pl.lit(None, pl.String),
        adrg=said("category", "00"),
        drg=said("group", "0000"),
        weight=weight,
        status=status.otherwise(pl.lit("ungrouped")),
    )
    return result, found


def judge(stays: Stays, scheme: DipScheme) -> DipJudged:
    """The group of every stay and all that led to it."""
    dx_of = place_of(cut(stays.dx.distinct, 3, scheme.dx_characters), scheme.core_dx)
    dx = np.append(dx_of, NONE)[stays.dx.first]
    treatment, deciding = treatment_of(stays.proc, scheme)
    pattern, touched = _patterns(stays.proc, dx, scheme)
    best = _core(touched, pattern.max(initial=NONE) + 1, scheme)
    group = best[pattern]
    conservative = (group == NONE) & (treatment == 0) & (dx != NONE)
    group[conservative] = _conservative(scheme)[dx[conservative]]
    residual = _residual(stays.dx.distinct, scheme)[treatment, stays.dx.first]
    group = np.where(group == NONE, residual, group)
    group[stays.dx.first == len(stays.dx.distinct)] = NONE
    auxiliary = {name: _holding(scheme, stays, name) for name in scheme.auxiliary}
    return DipJudged(scheme, stays, dx, treatment, deciding, pattern, touched, best, group, auxiliary)


def treatment_of(proc: Coded, scheme: DipScheme) -> tuple[np.ndarray, np.ndarray]:
    """The highest class of the procedures of each stay, and the lowest code among those that have it."""
    treatment = np.zeros(len(proc.first), dtype=np.int64)
    deciding = np.full(len(proc.first), len(proc.distinct), dtype=np.int64)
    if not len(proc.row):
        return treatment, deciding
    class_of = class_numbers(proc, scheme)
    starts = np.flatnonzero(proc.is_first)
    highest = np.maximum.reduceat((class_of[proc.code] << 32) + (2**32 - 1 - proc.code.astype(np.int64)), starts)
    rows = proc.row[starts]
    treatment[rows] = highest >> 32
    deciding[rows] = 2**32 - 1 - (highest & (2**32 - 1))
    return treatment, deciding


def class_numbers(proc: Coded, scheme: DipScheme) -> np.ndarray:
    """For each distinct procedure the place of its class in RISING."""
    entry = _longest(scheme.classes["code"], proc.distinct)
    classes = [RISING.index(UNLISTED.get(word, word)) for word in (*scheme.classes["class"], scheme.unlisted)]
    return np.array(classes)[entry]  # NONE, the last, is the class of what is not listed


def _patterns(proc: Coded, dx: np.ndarray, scheme: DipScheme) -> tuple[np.ndarray, pl.DataFrame]:
    """Which pattern each stay has, and of each pattern the core groups touched: pattern, group, mask of its bits.

    A pattern is a diagnosis of core_dx with those procedures of a stay that stand in core groups. There are far fewer
    patterns than stays, and all stays of a pattern have the same core group for the same reasons.
    """
    number = place_of(cut(proc.distinct, 2, scheme.procedure_characters), scheme.core_procs)[proc.code]
    use = (number != NONE) & (dx[proc.row] != NONE)
    wide = len(scheme.core_procs) + 1
    key = np.sort(proc.row[use].astype(np.int64) * wide + number[use], kind="stable")
    row, code = np.divmod(key[np.diff(key, prepend=NONE) != 0], wide)
    sets = (
        pl.DataFrame({"row": row, "dx": dx[row], "proc": code}).group_by("row", "dx", maintain_order=True).agg("proc")
    )
    distinct = sets.select("dx", "proc").unique(maintain_order=True).with_row_index("pattern")
    distinct = distinct.with_columns(pl.col("pattern").cast(pl.Int64))
    pattern = np.full(len(dx), NONE, dtype=np.int64)
    found = sets.join(distinct, on=["dx", "proc"])
    pattern[found["row"].to_numpy()] = found["pattern"].to_numpy()
    shared = distinct.explode("proc", empty_as_null=False).join(scheme.members, on=["dx", "proc"])
    touched = shared.group_by("pattern", "group").agg(mask=pl.col("bit").sum()).sort("pattern", "group")
    return pattern, touched


def _core(touched: pl.DataFrame, patterns: int, scheme: DipScheme) -> np.ndarray:
    """The first core group of each pattern, in order of trial, whose procedures are all there; NONE, the last, for no
    pattern.
    """
    fitting = touched.filter(_fits(touched, scheme)).unique("pattern", keep="first", maintain_order=True)
    best = np.full(patterns + 1, NONE, dtype=np.int64)
    best[fitting["pattern"].to_numpy()] = fitting["group"].to_numpy()
    return best


def _fits(touched: pl.DataFrame, scheme: DipScheme) -> pl.Series:
    full = (1 << scheme.groups["procedures"].list.len().cast(pl.Int64).to_numpy()) - 1
    return pl.Series(touched["mask"].to_numpy() == full[touched["group"].to_numpy()])


def _conservative(scheme: DipScheme) -> np.ndarray:
    """For each diagnosis of core_dx its core group without procedures."""
    groups = scheme.groups.with_row_index("row").filter(pl.col("kind") == "core", pl.col("procedures").list.len() == 0)
    group = np.full(len(scheme.core_dx), NONE, dtype=np.int64)
    group[place_of(groups["dx"], scheme.core_dx)] = groups["row"].to_numpy()
    return group


def _residual(dx: pl.Series, scheme: DipScheme) -> np.ndarray:
    """[treatment, distinct diagnosis and none]: the residual group. A longer prefix goes before a shorter, both before
    a range of categories.
    """
    table = np.full((len(RISING), len(dx) + 1), NONE, dtype=np.int64)
    residual = scheme.groups.with_row_index("row").filter(pl.col("kind") == "residual")
    category = dx.str.slice(0, 3).to_numpy() if len(dx) else np.array([], dtype=object)
    for row, area, of in residual.filter(pl.col("dx").str.contains(RANGE)).select("row", "dx", "class").iter_rows():
        low, _, high = area.partition("-")
        inside = (category >= low) & (category <= high)
        table[RISING.index(of), :-1][inside] = row
    for name in CLASSES:
        rows = residual.filter(pl.col("class") == name, ~pl.col("dx").str.contains(RANGE))
        entry = _longest(rows["dx"], dx)
        table[RISING.index(name), :-1][entry >= 0] = rows["row"].to_numpy()[entry[entry >= 0]]
    return table


def _longest(entries: pl.Series, codes: pl.Series) -> np.ndarray:
    """For each code the number of the longest entry (whole code or prefix) that matches it, NONE for none."""
    pairs = Lookup(entries).pairs(codes)
    found = np.full(len(codes), NONE, dtype=np.int64)
    found[pairs["code"].to_numpy()] = pairs["entry"].to_numpy()
    return found


# Auxiliary coefficients


def _holding(scheme: DipScheme, stays: Stays, name: str) -> np.ndarray:
    """The first row of an auxiliary table that holds for each stay; what a stay does not bring meets no bound."""
    table, value = scheme.auxiliary[name], VALUES[name](scheme, stays)
    low, high = BANDS[name]
    facts = stays.facts.select("left", value=value, died=pl.col("leaving") == DIED)
    if name == "severity":
        facts = facts.with_columns(cc=pl.Series(_cc(scheme, stays)))
    rows = []
    for number, row in enumerate(table.iter_rows(named=True)):
        tests = [pl.lit(True)]
        tests += [pl.col("value") >= row[low]] if row[low] is not None else []
        tests += [pl.col("value") <= row[high]] if row[high] is not None else []
        tests += [pl.col("left") >= row["from"]] if row["from"] is not None else []
        tests += [pl.col("left") <= row["to"]] if row["to"] is not None else []
        if name == "severity":
            tests.append(pl.col("cc").is_between(*CC_BANDS[row["cc"]]))
            tests += [pl.col("died") == (row["died"] == "yes")] if row["died"] else []
        rows.append(pl.when(pl.all_horizontal(tests)).then(pl.lit(number, pl.Int64)))
    return facts.select(held=pl.coalesce(*rows, pl.lit(NONE, pl.Int64)))["held"].to_numpy()


def _cc(scheme: DipScheme, stays: Stays) -> np.ndarray:
    """2 where a secondary diagnosis is an MCC, 1 a CC, 0 neither. There is no exclusion table in DIP."""
    row, entry = _secondary(stays.dx, scheme.cc["code"])
    level = scheme.cc["level"].replace_strict(CC_LEVELS, return_dtype=pl.Int64).to_numpy()[entry]
    found = np.zeros(len(stays), dtype=np.int64)
    for one in sorted(CC_LEVELS.values()):
        found[row[level == one]] = one
    return found


def _points(scheme: DipScheme, stays: Stays) -> pl.Series:
    """Sum of points of the conditions among the secondary diagnoses, each condition once (as Charlson's index)."""
    row, entry = _secondary(stays.dx, scheme.cci["code"])
    hits = pl.DataFrame({"row": row.astype(np.int64), "entry": entry}).join(
        scheme.cci.with_row_index("entry").select(pl.col("entry").cast(pl.Int64), "condition",
                                                  points=pl.col("points").cast(pl.Int64)), on="entry",
    )  # fmt: skip
    once = hits.group_by("row", "condition").agg(pl.col("points").max())
    total = once.group_by("row").agg(pl.col("points").sum())
    points = np.zeros(len(stays), dtype=np.int64)
    points[total["row"].to_numpy()] = total["points"].to_numpy()
    return pl.Series(points)


def _secondary(dx: Coded, entries: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """(stay, number of the entry) of every secondary diagnosis that an entry matches."""
    entry = _longest(entries, dx.distinct)[dx.code]
    hit = (entry >= 0) & ~dx.is_first
    return dx.row[hit], entry[hit]


VALUES = {
    "severity": lambda scheme, stays: pl.col("los"),
    "comorbidity": _points,
    "age": lambda scheme, stays: pl.col("age_years"),
}


def _units(found: DipJudged) -> pl.Series:
    """The weight of each stay with its coefficients, in whole units of 1e-8; null where there is no group."""
    scheme = found.scheme
    base = np.append(scheme.groups["units"].to_numpy(), 0)[found.group]
    held = [
        _gather(scheme.auxiliary[name]["coefficient"], np.where(row >= 0, row, len(scheme.auxiliary[name]))).alias(name)
        for name, row in found.auxiliary.items()
    ]
    frame = pl.DataFrame([pl.Series("base", base, pl.Int128), *held]).with_columns(pl.all().cast(pl.Int128))
    whole, step = pl.col("base"), 1
    if scheme.combine == "highest" and held:
        highest = pl.max_horizontal(pl.exclude("base")).fill_null(COEFFICIENT_UNITS)
        whole, step = whole * highest, COEFFICIENT_UNITS
    else:
        for series in held:
            whole, step = whole * pl.col(series.name).fill_null(COEFFICIENT_UNITS), step * COEFFICIENT_UNITS
    grouped = pl.Series(found.group >= 0)
    return frame.select(units=pl.when(grouped).then(rounded(whole, step)))["units"]


def _gather(values: pl.Series, numbers: np.ndarray) -> pl.Series:
    """The value of each number; the number past the end has none."""
    return values.extend_constant(None, 1).gather(numbers.astype(np.uint32))
