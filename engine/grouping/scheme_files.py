"""The files of a grouping scheme: reads the folder of tables, finds faults that damage it and weaknesses that do not.

A scheme is data: mdc, mdc_codes, adrg, adrg_codes, drg, cc, exclusions, proc_valid (CSV), optionally weights.csv and
scheme.yaml. Every problem names file and line, and the column in brackets.
"""

import re
from pathlib import Path

import polars as pl
import yaml

from engine.grouping.codes import PREFIX_MARK
from engine.grouping.conditions import DX_ROLES, LIST_KINDS, PROC_ROLES
from engine.tables.problems import InputProblem, Problem, RuleProblem

COLUMNS = {
    "mdc": ("mdc", "name", "order", "condition"),
    "mdc_codes": ("mdc", "code"),
    "adrg": ("adrg", "name", "mdc", "kind", "order", "condition"),
    "adrg_codes": ("adrg", "list_kind", "code"),
    "drg": ("drg", "name", "adrg", "order_in_adrg", "condition"),
    "cc": ("code", "level", "exclusion_id"),
    "exclusions": ("exclusion_id", "pdx"),
    "proc_valid": ("code",),
}
OPTIONAL = {"weights": ("drg", "weight")}
OPTIONAL_COLUMNS = {"mdc": ("qy",), "mdc_codes": ("part",), "adrg_codes": ("part",)}
KINDS = ("surgical", "nonOR", "medical")
LEVELS = {"CC": 1, "MCC": 2}
QY_CHOICES = ("off", "main", "any")
OPTIONS = {"name": "", "version": "", "grade": "", "source": "", "note": "", "qy": "", "normalise_codes": "no",
           "any_diagnosis": "", "newborns": "", "kind": "drg"}  # fmt: skip
ALLOWED_OPTIONS = {"qy": ("", *QY_CHOICES), "normalise_codes": ("yes", "no"), "kind": ("drg",)}

UNIQUE = (("mdc", "mdc"), ("mdc", "order"), ("adrg", "adrg"), ("adrg", "order"), ("drg", "drg"), ("cc", "code"))
WHOLE_NUMBERS = (("mdc", "order"), ("adrg", "order"), ("drg", "order_in_adrg"))
KNOWN = (("adrg", "mdc", "mdc"), ("mdc_codes", "mdc", "mdc"), ("adrg_codes", "adrg", "adrg"), ("drg", "adrg", "adrg"))
CHOICES = (("adrg", "kind", KINDS), ("adrg_codes", "list_kind", LIST_KINDS), ("cc", "level", tuple(LEVELS)))
CODES = (("mdc_codes", "code"), ("adrg_codes", "code"), ("cc", "code"), ("exclusions", "pdx"), ("proc_valid", "code"))

Tables = dict[str, pl.DataFrame]


class Weakness(Problem):
    """Something in a scheme that loads but is probably not meant."""


def at(file: str, line: int | None = None, column: str = "") -> str:
    """Where a problem stands: adrg.csv:12 [condition]."""
    return file + (f":{line}" if line else "") + (f" [{column}]" if column else "")


def kind_of(folder: Path) -> str:
    """The kind of a scheme: what scheme.yaml says; where it says nothing, dip when there is a dip.csv, else drg."""
    guess = "dip" if (folder / "dip.csv").is_file() else "drg"
    try:
        given = yaml.load((folder / "scheme.yaml").read_text("utf-8"), yaml.BaseLoader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return guess  # the reader of that kind says what is wrong with the file
    return str(given.get("kind", guess)) if isinstance(given, dict) else guess


def read_files(folder: Path) -> tuple[Tables, dict[str, str], list[Problem]]:
    """The tables of a scheme (all text, with file and line), its options, and what could not be read."""
    if not folder.is_dir():
        return {}, {}, [InputProblem("没有这个分组方案文件夹 no such scheme folder", str(folder))]
    tables, options, problems = {}, {}, []
    for name in (*COLUMNS, *OPTIONAL):
        path = folder / f"{name}.csv"
        if name in OPTIONAL and not path.is_file():
            continue
        try:
            tables[name] = _read_table(path, name)
        except Problem as problem:
            problems.append(problem)
    try:
        options = _read_options(folder)
    except Problem as problem:
        problems.append(problem)
    return tables, options, problems


def _read_table(path: Path, name: str) -> pl.DataFrame:
    if not path.is_file():
        raise InputProblem(f"分组方案缺少文件 the scheme lacks {path.name}", str(path.parent), ", ".join(COLUMNS))
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputProblem(f"读不懂这张表 not a readable CSV: {str(error).splitlines()[0]}", at(path.name)) from error
    needed = COLUMNS.get(name) or OPTIONAL[name]
    if missing := [column for column in needed if column not in table.columns]:
        raise InputProblem(f"缺少列 missing column: {', '.join(missing)}", at(path.name, 1), ", ".join(needed))
    extra = [pl.lit("").alias(column) for column in OPTIONAL_COLUMNS.get(name, ()) if column not in table.columns]
    table = table.with_columns(pl.all().fill_null("").str.strip_chars()).with_columns(extra)
    return table.with_row_index("line", offset=2).with_columns(file=pl.lit(path.name))


def _read_options(folder: Path) -> dict[str, str]:
    path = folder / "scheme.yaml"
    given = {}
    if path.is_file():
        try:
            given = yaml.load(path.read_text("utf-8"), yaml.BaseLoader) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputProblem(f"读不懂 not readable: {error}", at(path.name)) from error
    if not isinstance(given, dict) or set(given) - set(OPTIONS):
        unknown = ", ".join(sorted(set(given) - set(OPTIONS))) if isinstance(given, dict) else str(given)
        raise RuleProblem(f"不认识的选项 unknown option: {unknown}", at(path.name), ", ".join(OPTIONS))
    options = {**OPTIONS, "name": folder.name, **given}
    for key in ("any_diagnosis", "newborns"):
        for code in options[key].split():
            if re.fullmatch(r"\w+", code) is None:
                raise RuleProblem(f"应为 MDC 编码 MDC codes are expected: {key}: {code}", at(path.name), "MDCY")
    for key, allowed in ALLOWED_OPTIONS.items():
        if options[key] not in allowed:
            raise RuleProblem(f"不允许的值 not allowed: {key}: {options[key]}", at(path.name), ", ".join(allowed))
    return options


def faults(tables: Tables) -> list[Problem]:
    """What keeps the tables from being one scheme: repeated keys, unknown references, words or numbers not allowed."""
    found: list[Problem] = []
    for name, column in UNIQUE:
        found += _repeated(tables[name], column)
    found += _repeated(tables["drg"], "adrg", "order_in_adrg")
    for name, column in WHOLE_NUMBERS:
        bad = ~pl.col(column).str.contains(r"^\d{1,9}$")
        found += _bad_rows(tables[name], bad, column, "不是整数 not a whole number", "0, 1, 2 …")
    for name, column, target in (*KNOWN, *((name, "drg", "drg") for name in OPTIONAL if name in tables)):
        bad = ~pl.col(column).is_in(tables[target][target].to_list())
        found += _bad_rows(tables[name], bad, column, f"{target}.csv 中没有 is not in {target}.csv")
    for name, column, allowed in CHOICES:
        bad = ~pl.col(column).is_in(allowed)
        found += _bad_rows(tables[name], bad, column, "不是允许的值 is not allowed", ", ".join(allowed))
    for name, column in CODES:
        bad = pl.col(column).is_in(["", PREFIX_MARK])
        found += _bad_rows(tables[name], bad, column, "编码为空 the code is empty")
    if "weights" in tables:
        found += _repeated(tables["weights"], "drg")
        bad = ~pl.col("weight").str.contains(r"^\d{1,4}(\.\d{1,8})?$")
        found += _bad_rows(tables["weights"], bad, "weight", "不是权重 not a weight", "0.8152")
    return found


def _bad_rows(table: pl.DataFrame, bad: pl.Expr, column: str, what: str, allowed: str = "") -> list[Problem]:
    rows = table.filter(bad).select("file", "line", column).iter_rows()
    return [RuleProblem(f"'{value}' {what}", at(file, line, column), allowed) for file, line, value in rows]


def _repeated(table: pl.DataFrame, *key: str) -> list[Problem]:
    return _bad_rows(table, ~pl.struct(key).is_first_distinct(), key[-1], "重复 appears twice")


def weaknesses(tables: Tables) -> list[Problem]:
    """Contradictions between the tables. Codes are compared as written, so tables that hold prefixes are left out."""
    adrg_codes, mdc_codes = tables["adrg_codes"], tables["mdc_codes"]
    owned = adrg_codes.join(tables["adrg"].select("adrg", "mdc", "kind"), on="adrg")
    medical = owned.filter(pl.col("list_kind").is_in(DX_ROLES), pl.col("kind") == "medical")
    no_list = ~pl.col("condition").str.contains("dx")
    catch_all = tables["adrg"].filter(no_list, pl.col("kind") == "medical")["mdc"].to_list()
    listed = mdc_codes.filter(~pl.col("mdc").is_in(catch_all))
    procedures = adrg_codes.filter(pl.col("list_kind").is_in(PROC_ROLES))
    again = ~pl.struct("adrg", "list_kind", "part", "code").is_first_distinct()
    both = ["mdc", "code"]
    pdx = owned.filter(pl.col("list_kind") == "pdx")
    checks = {
        "MDC 诊断不在任何内科 ADRG MDC diagnosis in no medical ADRG": listed.join(medical, on=both, how="anti"),
        "ADRG 诊断不在其 MDC ADRG diagnosis outside its MDC": pdx.join(mdc_codes, on=both, how="anti"),
        "ADRG 手术不是有效手术 ADRG procedure not valid": procedures.join(tables["proc_valid"], on="code", how="anti"),
        "重复的编码 code entered twice": adrg_codes.filter(again),
    }
    return [
        Weakness(f"{what}: {_examples(rows['code'])}", at(rows["file"][0], rows["line"][0], "code"))
        for what, rows in checks.items()
        if len(rows) and not rows["code"].str.ends_with(PREFIX_MARK).any()
    ]


def _examples(codes: pl.Series) -> str:
    distinct = codes.unique().sort()
    return f"{len(distinct)} ({', '.join(distinct.head(3))}{' …' if len(distinct) > 3 else ''})"
