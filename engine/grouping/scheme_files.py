"""The files of a grouping scheme: reads the folder of tables, finds the faults that damage it.

A scheme is data: mdc, mdc_codes, adrg, adrg_codes, drg, cc, exclusions, proc_valid (CSV), optionally weights.csv and
scheme.yaml, and what is known of codes: icd10_names, icd9_names (code, name of the insurance edition), icd10_map,
icd9_map (from the clinical edition; `-` leaves a code out), cautions. Every problem names file and line, and the column
in brackets.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import yaml

from engine.grouping.codebook import CAUTION_COLUMNS, CAUTIONS, DX, PROC
from engine.grouping.codes import PREFIX_MARK
from engine.grouping.conditions import LIST_KINDS
from engine.tables.problems import InputProblem, Problem, RuleProblem, likely

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
OPTIONAL = {
    "weights": ("drg", "weight"),
    "icd10_names": ("code", "name"),
    "icd9_names": ("code", "name"),
    "icd10_map": ("from", "to"),
    "icd9_map": ("from", "to"),
    "cautions": CAUTION_COLUMNS,
}
OPTIONAL_COLUMNS = {"mdc": ("qy",), "mdc_codes": ("part",), "adrg_codes": ("part",), "proc_valid": ("qy",)}
KINDS = ("surgical", "nonOR", "medical")
LEVELS = {"CC": 1, "MCC": 2}
QY_CHOICES = ("off", "main", "any")
OPTIONS = {"name": "", "version": "", "grade": "", "source": "", "note": "", "qy": "", "normalise_codes": "no",
           "convert_codes": "no", "any_diagnosis": "", "newborns": "", "begndate": "", "enddate": "",
           "kind": "drg"}  # fmt: skip
ALLOWED_OPTIONS = {"qy": ("", *QY_CHOICES), "normalise_codes": ("yes", "no"), "convert_codes": ("yes", "no"),
                   "kind": ("drg",)}  # fmt: skip

UNIQUE = (("mdc", "mdc"), ("mdc", "order"), ("adrg", "adrg"), ("adrg", "order"), ("drg", "drg"), ("cc", "code"))
WHOLE_NUMBERS = (("mdc", "order"), ("adrg", "order"), ("drg", "order_in_adrg"))
KNOWN = (("adrg", "mdc", "mdc"), ("mdc_codes", "mdc", "mdc"), ("adrg_codes", "adrg", "adrg"), ("drg", "adrg", "adrg"))
CHOICES = (("adrg", "kind", KINDS), ("adrg_codes", "list_kind", LIST_KINDS), ("cc", "level", tuple(LEVELS)))
CODES = (("mdc_codes", "code"), ("adrg_codes", "code"), ("cc", "code"), ("exclusions", "pdx"), ("proc_valid", "code"))

Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Form:
    """Which tables a kind of scheme has, with the columns each needs, and which more it may have; strict: no others."""

    needed: dict[str, tuple[str, ...]]
    optional: dict[str, tuple[str, ...]]
    more_columns: dict[str, tuple[str, ...]]
    strict: bool = False


FORM = Form(COLUMNS, OPTIONAL, OPTIONAL_COLUMNS)


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
    tables, problems = read_tables(folder, FORM)
    options: dict[str, str] = {}
    try:
        options = _read_options(folder)
    except Problem as problem:
        problems.append(problem)
    return tables, options, problems


def read_tables(folder: Path, form: Form) -> tuple[Tables, list[Problem]]:
    """The tables of a folder as its form has them, all text, with file and line; and what could not be read."""
    tables, problems = {}, []
    for name in (*form.needed, *form.optional):
        path = folder / f"{name}.csv"
        if name in form.optional and not path.is_file():
            continue
        try:
            tables[name] = _read_table(path, name, form)
        except Problem as problem:
            problems.append(problem)
    return tables, problems


def _read_table(path: Path, name: str, form: Form) -> pl.DataFrame:
    if not path.is_file():
        raise InputProblem(f"分组方案缺少文件 the scheme lacks {path.name}", str(path.parent), ", ".join(form.needed))
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputProblem(f"读不懂这张表 not a readable CSV: {str(error).splitlines()[0]}", at(path.name)) from error
    needed, more = form.needed.get(name) or form.optional[name], form.more_columns.get(name, ())
    unknown = [column for column in table.columns if column not in (*needed, *more)]
    if missing := [column for column in needed if column not in table.columns]:
        hint = likely(missing[0], unknown)
        raise InputProblem(f"缺少列 missing column: {', '.join(missing)}", at(path.name, 1), ", ".join(needed), hint)
    if unknown and form.strict:
        allowed = ", ".join((*needed, *more))
        raise RuleProblem(f"不认识的列 unknown column: {', '.join(unknown)}", at(path.name, 1, unknown[0]), allowed)
    extra = [pl.lit("").alias(column) for column in more if column not in table.columns]
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
        hint = likely(unknown, OPTIONS)
        raise RuleProblem(f"不认识的选项 unknown option: {unknown}", at(path.name), ", ".join(OPTIONS), hint)
    options = {**OPTIONS, "name": folder.name, **given}
    for key in ("any_diagnosis", "newborns"):
        for code in options[key].split():
            if re.fullmatch(r"\w+", code) is None:
                raise RuleProblem(f"应为 MDC 编码 MDC codes are expected: {key}: {code}", at(path.name), "MDCY")
    for key in ("begndate", "enddate"):
        if options[key] and not _is_date(options[key]):
            raise RuleProblem(f"不是日期 not a date: {key}: {options[key]}", at(path.name), "2026-01-01")
    for key, allowed in ALLOWED_OPTIONS.items():
        if options[key] not in allowed:
            raise RuleProblem(f"不允许的值 not allowed: {key}: {options[key]}", at(path.name), ", ".join(allowed))
    return options


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def faults(tables: Tables) -> list[Problem]:
    """What keeps the tables from being one scheme: repeated keys, unknown references, words or numbers not allowed."""
    found: list[Problem] = []
    for name, column in UNIQUE:
        found += _repeated(tables[name], column)
    found += _repeated(tables["drg"], "adrg", "order_in_adrg")
    for name, column in WHOLE_NUMBERS:
        bad = ~pl.col(column).str.contains(r"^\d{1,9}$")
        found += _bad_rows(tables[name], bad, column, "不是整数 not a whole number", "0, 1, 2 …")
    for name, column, target in (*KNOWN, *((name, "drg", "drg") for name in ("weights",) if name in tables)):
        bad = ~pl.col(column).is_in(tables[target][target].to_list())
        names = tables[target][target].to_list()
        found += _bad_rows(tables[name], bad, column, f"{target}.csv 中没有 is not in {target}.csv", names=names)
    for name, column, allowed in CHOICES:
        bad = ~pl.col(column).is_in(allowed)
        found += _bad_rows(tables[name], bad, column, "不是允许的值 is not allowed", ", ".join(allowed), allowed)
    for name, column in CODES:
        bad = pl.col(column).is_in(["", PREFIX_MARK])
        found += _bad_rows(tables[name], bad, column, "编码为空 the code is empty")
    for name in ("icd10_names", "icd9_names", "icd10_map", "icd9_map"):
        if name in tables:
            found += _repeated(tables[name], OPTIONAL[name][0])
    if "cautions" in tables:
        bad = ~pl.col("caution").is_in(CAUTIONS)
        found += _bad_rows(tables["cautions"], bad, "caution", "不是允许的值 is not allowed", ", ".join(CAUTIONS))
        bad = ~pl.col("kind").is_in([DX, PROC])
        found += _bad_rows(tables["cautions"], bad, "kind", "不是允许的值 is not allowed", f"{DX}, {PROC}")
        bad = pl.col("caution").is_in(["from_age", "to_age"]) & ~pl.col("value").str.contains(r"^\d{1,3}$")
        found += _bad_rows(tables["cautions"], bad, "value", "不是年龄 not an age in years", "0, 1, 2 …")
    if "weights" in tables:
        found += _repeated(tables["weights"], "drg")
        bad = ~pl.col("weight").str.contains(r"^\d{1,4}(\.\d{1,8})?$")
        found += _bad_rows(tables["weights"], bad, "weight", "不是权重 not a weight", "0.8152")
    return found


def _bad_rows(table: pl.DataFrame, bad: pl.Expr, column: str, what: str, allowed="", names=()) -> list[Problem]:
    """One fault a bad row; the nearest of the names that would do is offered as what was meant."""
    rows = table.filter(bad).select("file", "line", column).iter_rows()
    return [
        RuleProblem(f"'{value}' {what}", at(file, line, column), allowed, likely(value, names))
        for file, line, value in rows
    ]


def _repeated(table: pl.DataFrame, *key: str) -> list[Problem]:
    return _bad_rows(table, ~pl.struct(key).is_first_distinct(), key[-1], "重复 appears twice")
