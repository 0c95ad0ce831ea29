"""The files of a DIP catalogue (病种目录库): reads the folder of tables and finds the faults that damage it.

A catalogue is data, as a DRG scheme is: scheme.yaml with `kind: dip`, dip.csv, and optionally procedures.csv (classes
of procedures), means.csv (mean cost by level of hospital) and the auxiliary tables (辅助目录) cc, severity, cci,
comorbidity, age. The parts follow 《国家医疗保障按病种分值付费（DIP）技术规范》 (医保办发〔2020〕50号): main catalogue
of core and residual groups (核心病种、综合病种), auxiliary catalogues of age, comorbidity and severity. Names of files
and columns are our own. Every problem names file and line, and the column in brackets.
"""

import re
from pathlib import Path

import polars as pl

from engine.grouping.codes import PREFIX_MARK
from engine.grouping.scheme_files import Form, Tables, Weakness, at, read_tables
from engine.tables.problems import InputProblem, Problem, RuleProblem
from engine.tables.yamltext import read_mapping

DATED = ("from", "to")
COLUMNS = {"dip": ("group", "name", "kind", "dx", "procedures", "class", "weight", "mean_cost_fen")}
OPTIONAL = {
    "procedures": ("code", "class"),
    "means": ("group", "hosp_lv", "mean_cost_fen"),
    "cc": ("code", "level"),
    "severity": ("level", "cc", "min_days", "max_days", "died", "coefficient"),
    "cci": ("code", "condition", "points"),
    "comorbidity": ("level", "min_points", "max_points", "coefficient"),
    "age": ("level", "min_years", "max_years", "coefficient"),
}
OPTIONAL_COLUMNS = {"dip": ("cases",), "severity": DATED, "comorbidity": DATED, "age": DATED}
BANDS = {
    "severity": ("min_days", "max_days"),
    "comorbidity": ("min_points", "max_points"),
    "age": ("min_years", "max_years"),
}
NEEDS = {"severity": "cc", "comorbidity": "cci"}  # the table of codes behind an auxiliary table
CODES = ("procedures", "cc", "cci")

CLASSES = {"conservative": "保守治疗", "diagnostic": "诊断性操作", "therapeutic": "治疗性操作", "surgery": "相关手术"}
KINDS = {"core": "核心病种", "residual": "综合病种"}
CC_CHOICES = ("", "none", "CC", "MCC", "any")
PROCEDURE_CLASSES = ("none", "diagnostic", "therapeutic", "surgery")

# option: default, form, what to say is allowed
OPTIONS = {
    "name": ("", r".*", ""),
    "version": ("", r".*", ""),
    "grade": ("", r".*", ""),
    "source": ("", r".*", ""),
    "note": ("", r".*", ""),
    "kind": ("dip", r"dip", "dip"),
    "normalise_codes": ("no", r"yes|no", "yes, no"),
    "dx_characters": ("4", r"[3-8]", "3 … 8"),
    "procedure_characters": ("0", r"0|[2-8]", "0 (whole codes), 2 … 8"),
    "unlisted": ("ungrouped", r"ungrouped|none|diagnostic|therapeutic|surgery", "ungrouped, none, diagnostic, …"),
    "auxiliary": ("product", r"product|highest", "product, highest"),
    "threshold": ("15", r"[1-9]\d{0,5}", "15"),
    "base_score": ("1000", r"[1-9]\d{0,5}", "1000"),
    "deviation_low": ("0.5", r"\d{1,3}(\.\d{1,8})?", "0.5"),
    "deviation_high": ("2", r"\d{1,3}(\.\d{1,8})?", "2"),
    "deviation_review": ("5", r"\d{1,3}(\.\d{1,8})?", "5"),
    "deviation_review_at": ("no", r"yes|no", "yes, no"),
    "deviation_normal": ("both", r"both|low|high|neither", "both, low, high, neither"),
}

UNIQUE = (("dip", "group"), ("procedures", "code"), ("cc", "code"), ("cci", "code"), ("means", "group", "hosp_lv"))
_WHOLE, _COEFFICIENT, _DAY = r"\d{1,9}", r"\d{1,2}(\.\d{1,4})?", r"(\d{4}-\d\d-\d\d)?"
_NO_NUMBER, _NO_COEFFICIENT = "不是整数 not a whole number", "不是系数 not a coefficient"
# table, column, form of the whole value, what to say, what is allowed
FORMS = (
    ("dip", "group", r".+", "编码为空 the code is empty", ""),
    ("dip", "kind", "|".join(KINDS), "不是允许的值 is not allowed", ", ".join(KINDS)),
    ("dip", "weight", r"\d{1,4}(\.\d{1,8})?", "不是权重 not a weight", "0.8152"),
    ("dip", "mean_cost_fen", r"(\d{1,12})?", _NO_NUMBER, "123456"),
    ("dip", "cases", r"(\d{1,9})?", _NO_NUMBER, "15"),
    ("procedures", "class", "|".join(PROCEDURE_CLASSES), "不是允许的值 is not allowed", ", ".join(PROCEDURE_CLASSES)),
    ("means", "hosp_lv", r".+", "为空 is empty", ""),
    ("means", "mean_cost_fen", r"[1-9]\d{0,11}", _NO_NUMBER, "123456"),
    ("cc", "level", r"CC|MCC", "不是允许的值 is not allowed", "CC, MCC"),
    ("severity", "cc", "|".join(CC_CHOICES), "不是允许的值 is not allowed", ", ".join(CC_CHOICES[1:])),
    ("severity", "died", r"|yes|no", "不是允许的值 is not allowed", "yes, no"),
    ("cci", "condition", r".+", "为空 is empty", ""),
    ("cci", "points", r"\d{1,2}", _NO_NUMBER, "1, 2 …"),
    *((table, "level", r".+", "为空 is empty", "") for table in BANDS),
    *((table, "coefficient", _COEFFICIENT, _NO_COEFFICIENT, "1.0500") for table in BANDS),
    *((table, column, f"({_WHOLE})?", _NO_NUMBER, "0, 1 …") for table, columns in BANDS.items() for column in columns),
    *((table, column, _DAY, "不是日期 not a date", "2024-01-01") for table in BANDS for column in DATED),
    *((table, "code", rf".*[^{PREFIX_MARK}\s].*", "编码为空 the code is empty", "") for table in CODES),
)  # fmt: skip
MOST_PROCEDURES = 20
LARGEST = 10_000  # a weight, adjusted, must stay below: it is written as Decimal(12,8)
PREFIX, RANGE = rf"^[A-Z]\w*\.?\w*{PREFIX_MARK}$", r"^[A-Z]\d\d-[A-Z]\d\d$"


FORM = Form(COLUMNS, OPTIONAL, OPTIONAL_COLUMNS, strict=True)


def read_dip(folder: Path) -> tuple[Tables, dict[str, str], list[Problem]]:
    """The tables of a catalogue (all text, with file and line), its options, and what is wrong with either."""
    if not folder.is_dir():
        return {}, {}, [InputProblem("没有这个分组方案文件夹 no such scheme folder", str(folder))]
    tables, problems = read_tables(folder, FORM)
    options, wrong = _read_options(folder)
    problems += wrong
    return tables, options, problems or faults(tables, options)


def _read_options(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    options = {key: default for key, (default, _, _) in OPTIONS.items()} | {"name": folder.name}
    path, problems = folder / "scheme.yaml", []
    if not path.is_file():
        return options, [InputProblem("分组方案缺少文件 the scheme lacks scheme.yaml", str(folder), "kind: dip")]
    try:
        given, lines = read_mapping(path)
    except RuleProblem as problem:
        line = problem.where.rpartition(":")[2]
        return options, [RuleProblem(problem.what, at(path.name, int(line) if line.isdigit() else 1))]
    for key, value in given.items():
        where = at(path.name, lines[(key,)], key)
        if key not in OPTIONS:
            problems.append(RuleProblem(f"不认识的选项 unknown option: {key}", where, ", ".join(OPTIONS)))
        elif not isinstance(value, str) or re.fullmatch(OPTIONS[key][1], value) is None:
            problems.append(RuleProblem(f"不允许的值 not allowed: {key}: {value}", where, OPTIONS[key][2]))
        else:
            options[key] = value
    low, high, review = (pl.Series([options[f"deviation_{name}"]]).str.to_decimal(scale=8)[0] for name in
                         ("low", "high", "review"))  # fmt: skip
    if not problems and not 0 < low <= 1 <= high <= review:
        said = "应有 0 < deviation_low ≤ 1 ≤ deviation_high ≤ deviation_review"
        problems.append(RuleProblem(f"偏差界限次序不对 bands out of order: {low}, {high}, {review}", path.name, said))
    return options, problems


# Faults


def faults(tables: Tables, options: dict[str, str]) -> list[Problem]:
    """What keeps the tables from being one catalogue."""
    found: list[Problem] = []
    for name, column, form, what, allowed in FORMS:
        if name in tables:
            found += _bad(tables[name], ~pl.col(column).str.contains(f"^({form})$"), column, what, allowed)
    for name, *key in UNIQUE:
        if name in tables:
            found += _bad(tables[name], ~pl.struct(key).is_first_distinct(), key[-1], "重复 appears twice")
    for name, codes in NEEDS.items():
        if name in tables and codes not in tables:
            found.append(InputProblem(f"{name}.csv 需要 needs {codes}.csv", at(f"{name}.csv")))
    if "means" in tables:
        unknown = ~pl.col("group").is_in(tables["dip"]["group"].to_list())
        found += _bad(tables["means"], unknown, "group", "dip.csv 中没有 is not in dip.csv")
    return found or [*_group_faults(tables["dip"], options), *_band_faults(tables), *_too_large(tables, options)]


def _bad(table: pl.DataFrame, bad: pl.Expr, column: str, what: str, allowed: str = "") -> list[Problem]:
    rows = table.filter(bad).select("file", "line", column).iter_rows()
    return [RuleProblem(f"'{value}' {what}", at(file, line, column), allowed) for file, line, value in rows]


def _group_faults(dip: pl.DataFrame, options: dict[str, str]) -> list[Problem]:
    core, residual = dip.filter(pl.col("kind") == "core"), dip.filter(pl.col("kind") == "residual")
    codes = pl.col("procedures").str.split("+")
    cut = int(options["procedure_characters"])
    too_long = codes.list.eval(pl.element().str.replace_all(".", "", literal=True).str.len_chars() > cut).list.any()
    as_set = codes.list.unique().list.sort().list.join("+")
    empty = codes.list.eval(pl.element().str.strip_chars() == "").list.any() & (pl.col("procedures") != "")
    plain_dx = pl.col("dx").str.contains(rf"^[^{PREFIX_MARK}\-]+$")
    longer = pl.col("dx").str.replace(".", "", literal=True).str.len_chars() > int(options["dx_characters"])
    area = pl.col("dx").str.contains(PREFIX) | pl.col("dx").str.contains(RANGE)
    ordered = pl.col("dx").str.slice(0, 3) <= pl.col("dx").str.slice(4, 3)
    classes = ", ".join(CLASSES)
    shape = "诊断应为前缀或类目区间 a prefix or a range of categories is expected"
    return [
        *_bad(core, ~plain_dx, "dx", "不是诊断编码 not a diagnosis code", "K35.8"),
        *_bad(core, plain_dx & longer, "dx", f"长于 longer than dx_characters {options['dx_characters']}"),
        *_bad(core, empty, "procedures", "含空编码 holds an empty code", "47.09+54.21"),
        *_bad(core, codes.list.len() != codes.list.n_unique(), "procedures", "编码重复 a code stands twice"),
        *_bad(core, codes.list.len() > MOST_PROCEDURES, "procedures", f"多于 more than {MOST_PROCEDURES}"),
        *(_bad(core, too_long, "procedures", f"长于 longer than procedure_characters {cut}") if cut else ()),
        *_bad(core, pl.col("class") != "", "class", "核心病种不写治疗方式 a core group has no class"),
        *_bad(core, ~pl.struct("dx", as_set).is_first_distinct(), "procedures", "诊断和手术重复 the same group twice"),
        *_bad(residual, ~area, "dx", shape, "K35%, K00-K93"),
        *_bad(residual, pl.col("dx").str.contains(RANGE) & ~ordered, "dx", "区间颠倒 the range runs backwards"),
        *_bad(residual, pl.col("procedures") != "", "procedures", "综合病种不写手术 a residual group has none"),
        *_bad(residual, ~pl.col("class").is_in(list(CLASSES)), "class", "不是允许的值 is not allowed", classes),
        *_bad(residual, ~pl.struct("dx", "class").is_first_distinct(), "dx", "重复 appears twice"),
        *_overlaps(residual.filter(pl.col("dx").str.contains(RANGE))),
    ]  # fmt: skip


def _overlaps(ranges: pl.DataFrame) -> list[Problem]:
    """Ranges of one class must not overlap, else the order of the file would decide."""
    ordered = ranges.sort("class", "dx")
    before = pl.col("dx").str.slice(4, 3).cum_max().shift(1).over("class")
    touching = (pl.col("dx").str.slice(0, 3) <= before).fill_null(False)
    return _bad(ordered.filter(touching), pl.lit(True), "dx", "与另一区间重叠 overlaps another range")


def _band_faults(tables: Tables) -> list[Problem]:
    found = []
    for name, (low, high) in BANDS.items():
        if name in tables:
            numbers = [pl.col(column).cast(pl.Int64, strict=False) for column in (low, high)]
            found += _bad(tables[name], numbers[0] > numbers[1], high, f"小于 below {low}")
            found += _bad(
                tables[name], pl.col("coefficient").str.contains(r"^0+(\.0*)?$"), "coefficient", "为零 is zero"
            )
            days = [pl.col(column).str.to_date("%Y-%m-%d", strict=False) for column in DATED]
            for column, day in zip(DATED, days, strict=True):
                bad = day.is_null() & (pl.col(column) != "")
                found += _bad(tables[name], bad, column, "不是日期 not a date", "2024-01-01")
            found += _bad(tables[name], days[0] > days[1], "to", "早于 before from")
    return found


def _too_large(tables: Tables, options: dict[str, str]) -> list[Problem]:
    largest = [tables[n]["coefficient"].str.to_decimal(scale=4).max() for n in BANDS if n in tables and len(tables[n])]
    factor = 1
    for coefficient in largest:
        factor = factor * coefficient if options["auxiliary"] == "product" else max(factor, coefficient)
    rows = tables["dip"].select("line", "weight", number=pl.col("weight").str.to_decimal(scale=8)).iter_rows()
    return [
        RuleProblem(
            f"'{text}' 乘系数后过大 too large with its coefficients", at("dip.csv", line, "weight"), f"< {LARGEST}"
        )
        for line, text, weight in rows
        if weight * factor >= LARGEST
    ]


def dip_weaknesses(folder: Path) -> list[Problem]:
    """What loads but is probably not meant: core groups below the threshold, procedures without a class."""
    tables, options, _ = read_dip(folder)
    dip = tables["dip"]
    few = dip.filter(pl.col("kind") == "core", pl.col("cases").cast(pl.Int64, strict=False) < int(options["threshold"]))
    found: list[Problem] = []
    if len(few):
        said = f"核心病种例数不足 {options['threshold']} core groups with fewer cases: {len(few)} ({few['group'][0]} …)"
        found.append(Weakness(said, at("dip.csv", few["line"][0], "cases")))
    if "procedures" not in tables and dip["class"].is_in(["diagnostic", "therapeutic", "surgery"]).any():
        found.append(Weakness("没有 procedures.csv，手术操作没有分类 procedures have no class", at("dip.csv")))
    return found
