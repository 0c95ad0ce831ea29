"""Why a row was set aside or only noted: one table of codes with Chinese texts, and the masking of what is quoted."""

import polars as pl

REJECTED = {
    "E_FIELDS": "字段数与表头不符",
    "E_QUOTE": "引号不成对，无法断定字段边界",
    "E_TOTAL_ROW": "合计行，不是数据",
    "E_HEADER_ROW": "重复的表头行",
    "E_NUL": "含空字符(NUL)",
    "E_MOJIBAKE": "含乱码，原文已损坏",
    "E_TOO_LONG": "单行过长",
    "E_NO_KEY": "缺主键，无法识别该行",
    "E_NUMBER": "不是数字",
    "E_DECIMALS": "小数位超过该字段精度",
    "E_RANGE": "数值超出允许范围",
    "E_DATE": "日期不存在或格式不在约定之内",
    "E_TIMEZONE": "时间带时区后缀，无法确定当地时间",
    "E_SCI_NOTATION": "编码成了科学计数法，原值已丢失",
    "E_PRECISION_LOST": "编码末位被电子表格改写为零，原值已丢失",
    "E_FLOAT_MONEY": "浮点金额不是整分",
    "E_DUP": "与前一行完全相同",
    "E_DUP_CONFLICT": "主键相同而内容不同，均不采用",
    "E_ORPHAN": "所属结算单不在本批文件中",
    "E_TOLD_EARLIER": "索引中以前的月份已有此主键，不再重复采用",
}

NOTED = {
    "W_EXTRA_FIELD": "行尾多出字段，其余完整，已采用",
    "W_FULLWIDTH": "全角字符，已转为半角",
    "W_NUMBER_FORM": "金额写法特殊，已按约定形式读取",
    "W_DATE_FORM": "日期写法特殊，已按约定形式读取",
    "W_FRACTION": "应为整数，小数部分已舍去",
    "W_ID_LOWER_X": "证件号末位为小写x，已转大写",
    "W_FORMULA": "文字以公式符号开头，按文字保留",
    "W_SPACE": "首尾空白或不可见字符，已去除",
    "W_QUOTE": "字段中夹有引号，按原文保留",
    "W_BAD_VALUE": "无法读取的可选值，已按空处理",
    "W_UNMAPPED": "本地用语未在对照表中，已按空处理",
    "W_MISSING": "必填字段为空",
    "W_COLUMN": "表头与规范不一致",
    "W_NO_ROWS": "只有表头，没有数据",
    "W_FILE_SKIPPED": "未能识别的文件，未读取",
    "W_FLOAT_MONEY": "金额以浮点存放，逐值均为整分，已采用",
}

REASONS = REJECTED | NOTED

SCHEMA = {
    "file": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "code": pl.String,
    "reason": pl.String,
    "raw": pl.String,
}


def empty() -> pl.DataFrame:
    return pl.DataFrame(schema=SCHEMA)


def masked(text: pl.Expr) -> pl.Expr:
    """Text fit to be shown: of a long code the first 3 and last 4 characters, of a word the first, of a day the year.

    A broken row does not say which field is a name, so every run of letters is treated as one.
    """
    return (
        text.str.slice(0, 400)
        .str.replace_all(r"([0-9A-Za-z]{3})[0-9A-Za-z]+([0-9A-Za-z]{4})", "${1}***${2}")
        .str.replace_all(r"(\d{4})-\d{2}-\d{2}([^\d: ]|$)", "${1}-**-**${2}")
        .str.replace_all(r"(\p{Han})[\p{Han}·]+", "${1}*")
        .str.replace_all(r"([A-Za-z])[A-Za-z]{2,}", "${1}*")
        .str.slice(0, 200)
    )


def issues(frame: pl.DataFrame, file: str, column: str | None, code: str, raw: pl.Expr) -> pl.DataFrame:
    """Rows of rejects or warnings for every row of `frame` (needs `_line`)."""
    return frame.select(
        file=pl.lit(file),
        line=pl.col("_line").cast(pl.Int64),
        column=pl.lit(column, pl.String),
        code=pl.lit(code),
        reason=pl.lit(REASONS[code]),
        raw=raw.cast(pl.String),
    )


def note(file: str, column: str | None, code: str, detail: str, raw: str | None = None, line: int = 0) -> pl.DataFrame:
    """One warning about a whole file (line 0) or about the first line where something was seen."""
    row = (file, line, column, code, REASONS[code] + (f"：{detail}" if detail else ""), raw)
    return pl.DataFrame([row], schema=SCHEMA, orient="row")
