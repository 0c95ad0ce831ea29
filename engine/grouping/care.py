"""Checks of the coding of stays: what a coder should look at again, told with the stay, never repaired in silence."""

import numpy as np
import polars as pl

from engine.grouping.codebook import DX, PROC, CodeBook
from engine.grouping.stays import Coded, Stays

CHECKS = {
    "G1": "编码写法规范",
    "G2": "编码在医保版编码表内",
    "G3": "编码是医保版而非国临版",
    "G4": "没有用灰码",
    "G5": "编码与性别相符",
    "G6": "编码与年龄相符",
    "G7": "主要诊断可作主要诊断",
    "G8": "性别、年龄、出院诊断齐全",
    "G9": "出院日期在分组方案有效期内",
}
OF_CAUTION = {"grey": "G4", "female": "G5", "male": "G5", "from_age": "G6", "to_age": "G6", "not_principal": "G7"}
EXAMPLES = 3
FOUND = {"check_id": pl.String, "stays": pl.Int64, "examples": pl.List(pl.String)}


Known = dict[str, tuple[pl.DataFrame, pl.DataFrame]]  # of each kind: what is said of codes always, and in some stays


def known_of(stays: Stays, book: CodeBook) -> Known:
    """What the book says of the distinct codes of some stays."""
    return {
        kind: (book.remarks(kind, coded.written, coded.distinct), book.cautions_of(kind, coded.distinct))
        for kind, coded in ((DX, stays.dx), (PROC, stays.proc))
    }


def remarks(stays: Stays, book: CodeBook, known: Known) -> pl.DataFrame:
    """Every remark on every stay: row (of the stay), check_id, text; in this order."""
    made = [_on_codes(stays, coded, *known[kind]) for kind, coded in ((DX, stays.dx), (PROC, stays.proc))]
    return pl.concat([*made, _out_of_date(stays, book)]).unique().sort("row", "check_id", "text")


def told(stays: Stays, book: CodeBook, known: Known) -> pl.Series:
    """The remarks of every stay as one text; empty where there is none."""
    said = remarks(stays, book, known).group_by("row", maintain_order=True).agg("text")
    said = said.select("row", text=pl.lit("编码检查：") + pl.col("text").list.join("；") + "。")
    rows = pl.DataFrame({"row": pl.int_range(len(stays), dtype=pl.UInt32, eager=True)})
    return rows.join(said, on="row", how="left", maintain_order="left")["text"].fill_null("")


def _out_of_date(stays: Stays, book: CodeBook) -> pl.DataFrame:
    begin, end = book.valid
    first, last = pl.lit(begin, pl.Date), pl.lit(end, pl.Date)
    outside = (pl.col("left") < first).fill_null(False) | (pl.col("left") > last).fill_null(False)
    meant = f"方案适用于{f' {begin} 起' if begin else ''}{f' {end} 止' if end else ''}的出院病例"
    said = pl.format(f"{{}} 出院，{meant}", "left")
    return stays.facts.with_row_index("row").filter(outside).select("row", check_id=pl.lit("G9"), text=said)


def _on_codes(stays: Stays, coded: Coded, always: pl.DataFrame, sometimes: pl.DataFrame) -> pl.DataFrame:
    flagged = np.zeros(len(coded.distinct) + 1, dtype=bool)
    flagged[always["code"].to_numpy()] = True
    flagged[sometimes["code"].to_numpy()] = True
    place = np.flatnonzero(flagged[coded.code])
    rows = pl.DataFrame({"row": coded.row[place], "code": coded.code[place], "is_first": coded.is_first[place]})
    out = pl.DataFrame({"row": coded.left_out[0], "code": coded.left_out[1], "is_first": False})
    rows = pl.concat([part.with_columns(pl.col("row", "code").cast(pl.UInt32)) for part in (rows, out)])
    facts = stays.facts.select("gend", "age_years").with_row_index("row")
    doubtful = rows.join(sometimes, on="code").join(facts, on="row").filter(_APPLIES)
    doubtful = doubtful.with_columns(written=coded.written.gather(doubtful["code"]))
    check = pl.col("caution").replace_strict(OF_CAUTION, return_dtype=pl.String)
    said = doubtful.select("row", check_id=check, text=pl.format("{} {}", "written", _SAID))
    return pl.concat([rows.join(always, on="code").select("row", "check_id", "text"), said])


_CAUTION, _VALUE, _AGE = pl.col("caution"), pl.col("value"), pl.col("age_years")
_MET = {  # when a caution is a remark, and what is said
    "female": (pl.col("gend") == "1", pl.format("{}，病人为男性", "note")),
    "male": (pl.col("gend") == "2", pl.format("{}，病人为女性", "note")),
    "from_age": (_AGE < _VALUE, pl.format("{}，病人 {} 岁", "note", "age_years")),
    "to_age": (_AGE > _VALUE, pl.format("{}，病人 {} 岁", "note", "age_years")),
    "not_principal": (pl.col("is_first"), pl.format("{}，不能作主要诊断", "note")),
    "grey": (pl.lit(True), pl.format("是灰码：{}", "note")),
}
_APPLIES = pl.any_horizontal(_CAUTION.eq(caution) & met.fill_null(False) for caution, (met, _) in _MET.items())
_SAID = pl.coalesce(pl.when(_CAUTION.eq(caution)).then(said) for caution, (_, said) in _MET.items())


def counted(stays: Stays, book: CodeBook, known: Known) -> pl.DataFrame:
    """How many stays have a remark of each check, and the first examples: check_id, stays, examples."""
    found = remarks(stays, book, known)
    lacking = stays.missing.select(pl.any_horizontal(pl.all())).to_series().sum()
    lacks = pl.DataFrame({"check_id": ["G8"], "stays": [lacking], "examples": [[]]}, schema=FOUND)
    each = found.group_by("check_id").agg(
        stays=pl.col("row").n_unique().cast(pl.Int64), examples=pl.col("text").unique().sort().head(EXAMPLES)
    )
    return pl.concat([each, lacks]).sort("check_id")


def check_rows(found: pl.DataFrame, book: CodeBook) -> pl.DataFrame:
    """The rows of checks.parquet: G1 to G9 over the `counted` of all parts; rows are stays."""
    summed = found.group_by("check_id").agg(
        pl.col("stays").sum(),
        pl.col("examples").explode(empty_as_null=False).drop_nulls().unique().sort().head(EXAMPLES),
    )
    number = dict(summed.select("check_id", "stays").iter_rows())
    examples = dict(summed.select("check_id", "examples").iter_rows())
    rows = [_row(check, title, number.get(check, 0), examples.get(check, []), book) for check, title in CHECKS.items()]
    return pl.DataFrame(rows, schema=ROW, orient="row")


ROW = {
    "check_id": pl.String, "title": pl.String, "value": pl.String, "tolerance": pl.String, "verdict": pl.String,
    "rows": pl.Int64, "detail": pl.String,
}  # fmt: skip


def _row(check: str, title: str, stays: int, examples: list[str], book: CodeBook) -> tuple:
    lacks = {
        "G2": "" if book.names else "分组方案没有编码名称表 icd10_names.csv、icd9_names.csv",
        "G3": "" if book.maps else "分组方案没有转换表 icd10_map.csv、icd9_map.csv",
        "G9": "" if any(book.valid) else "分组方案没有写有效期（scheme.yaml 的 begndate、enddate）",
        "G4": "" if (book.cautions["caution"] == "grey").any() else "分组方案没有灰码表（cautions.csv 的 grey）",
    }.get(check, "")
    verdict = "fail" if stays else "not_checkable" if lacks else "pass"
    detail = "；".join(examples) + "……" * (len(examples) == EXAMPLES) if stays else lacks
    return check, title, f"{stays} 例住院", "0", verdict, stays, detail or None
