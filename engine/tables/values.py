"""From text to exact values, each failure with its reason.

Numbers are read as millionths in 128-bit integers, so that no amount ever passes through a binary float and nothing is
rounded unseen; money becomes whole fen, quantities and prices exact decimals. Each parser takes a String series and
answers the values with, where anything was odd, a series of reason codes (W_ accepted, E_ not).
"""

from datetime import datetime, timedelta
from functools import cache

import polars as pl

from engine.tables.dictionary import MONEY_LIMIT, Field

MICRO = 6
NUMBER = pl.Decimal(38, MICRO)
PLAIN = r"^-?\d{1,18}(?:\.\d{1,6}0*)?$"
LONG = r"^-?\d{1,18}\.\d{7,}$"
NOTHING = ["", "-", "—", "－", "–"]
FIRST, LAST = datetime(1850, 1, 1), datetime(2200, 1, 1)
FORMS = (  # usual wordings of a moment, read at once; every other one takes the slow way
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%d %H:%M",
    "%Y%m%d%H%M%S",
)
DAY_FIRST = r"^(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?$"
COMPACT = r"^(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2}):?(\d{2}):?(\d{2}))?$"
ZONED = r":\d{2}(?:\.\d+)?\s*(?:[zZ]|[+-]\d{2}(?::?\d{2})?)$"
CODE_FIELD = r"(_id|_no|_sn|_code|_codg|_type|_flag|_lv|_way|certno|rxno|medcasno|gend|ident7|admdvs|insutype)$"
ABSENT = ["NULL", "null", "\\N", "#N/A", "#REF!", "#VALUE!"]  # what exports write for no value
ZEROS = r"^\d{15}0{5}$"
SCIENTIFIC = r"^\d(\.\d+)?[eE]\+\d{1,3}$"
FORMULA = r"^[=＝@＠\t]|^[+＋－-][^\d.\s]"
INVISIBLE = r"[\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2066}-\x{2069}\x{FEFF}]"
BLANKS = " \t\r\n\u00a0\u3000"


class Parsed:
    """`values` typed as the field; `code` per row: null, a W_ code (value kept) or an E_ code (value null)."""

    def __init__(self, values: pl.Series, code: pl.Series | None = None):
        self.values, self.code = values, code


def parse(text: pl.Series, field: Field) -> Parsed:
    """A column of text as the type of its field. A column already typed passes through its own check."""
    kind = field.type.partition("(")[0]
    if text.dtype == pl.Int128:
        return _scaled(text, None, field, exact=False)
    if kind == "text":
        return Parsed(text.cast(pl.String))
    if text.dtype != pl.String:
        return _typed(text, field, kind)
    if kind in ("date", "datetime"):
        moments = times(text)
        return Parsed(moments.values.dt.date() if kind == "date" else moments.values, moments.code)
    number = numbers(text)
    return _scaled(number.values, number.code, field)


@cache
def plain(field: Field) -> pl.Expr:
    """A column of text in its plain form as the type of its field, as `parse` reads it; null for any other form."""
    kind, text = field.type.partition("(")[0], pl.col(field.name)
    if kind == "text":
        return text
    if kind in ("date", "datetime"):
        moment = _plain_time(text).alias(field.name)
        return moment.dt.date() if kind == "date" else moment
    scale, limit = _size(field)
    micro, step = _plain_number(text), 10 ** (MICRO - scale)
    unit = pl.when(micro % step == 0, micro.abs() < limit * step).then(micro // step)
    return (unit.reinterpret(dtype=field.dtype) if kind == "decimal" else unit.cast(pl.Int64)).alias(field.name)


def _columns(**series) -> pl.DataFrame:
    return pl.DataFrame(series)


def numbers(text: pl.Series) -> Parsed:
    """Text as millionths (Int128). Listed forms only: 1,234.50, ￥12, 12元, (5.00), full-width; a dash is blank."""
    fast = _columns(t=text).select(_plain_number(pl.col("t"))).to_series()
    return _with_odd_forms(text, fast, _odd_numbers)


def _plain_number(text: pl.Expr) -> pl.Expr:
    return _micro(pl.when(text.str.contains(PLAIN)).then(text))


def _micro(text: pl.Expr) -> pl.Expr:
    return text.cast(NUMBER, strict=False).reinterpret(dtype=pl.Int128)


def _with_odd_forms(text: pl.Series, fast: pl.Series, odd_forms) -> Parsed:
    """What the fast parse left blank is parsed again by the slow one, `odd_forms(t) -> (v, c)`, on those rows only."""
    left = (text.is_not_null() & fast.is_null()).arg_true()
    if not len(left):
        return Parsed(fast)
    slow = odd_forms(_columns(t=text.gather(left)))
    code = pl.Series([None], dtype=pl.String).new_from_index(0, len(text)).scatter(left, slow["c"])
    return Parsed(fast.scatter(left, slow["v"]), code)


def _odd_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(s=_tidy_number(pl.col("t")))
    frame = frame.with_columns(v=_micro(pl.when(pl.col("s").str.contains(PLAIN)).then("s")))
    read, tidy = pl.col("v").is_not_null(), pl.col("s")
    return frame.with_columns(
        c=pl.when(tidy.is_in(NOTHING)).then(pl.lit("W_NUMBER_FORM"))
        .when(read & pl.col("t").str.contains("[０-９．－]")).then(pl.lit("W_FULLWIDTH"))
        .when(read).then(pl.lit("W_NUMBER_FORM"))
        .when(tidy.str.contains(LONG)).then(pl.lit("E_DECIMALS"))
        .otherwise(pl.lit("E_NUMBER"))
    )  # fmt: skip


def _tidy_number(text: pl.Expr) -> pl.Expr:
    tidy = text.str.normalize("NFKC").str.strip_chars(BLANKS).str.replace(r"^[¥￥]\s*", "").str.replace(r"\s*元$", "")
    tidy = tidy.str.replace(r"^\(([\d,.]+)\)$", "-${1}").str.replace(r"^\+", "").str.replace(r"^(-?)\.", "${1}0.")
    grouped = tidy.str.contains(r"^-?\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
    tidy = pl.when(grouped).then(tidy.str.replace_all(",", "", literal=True)).otherwise(tidy)
    return tidy.str.replace(r"^(-?\d+)\.$", "${1}")


def _scaled(micro: pl.Series, code: pl.Series | None, field: Field, exact: bool = True) -> Parsed:
    """Millionths as the type of the field: fen, decimal or int; what does not fit is null with a code."""
    kind, (scale, limit) = field.type.partition("(")[0], _size(field)
    step = 10 ** (MICRO - scale)
    code = code if code is not None else pl.Series([None], dtype=pl.String).new_from_index(0, len(micro))
    frame = _columns(m=micro, c=code)
    unit = truncated(pl.col("m"), step) if kind == "int" else rounded(pl.col("m"), step)
    frame = frame.with_columns(u=unit, over=pl.col("m") % step != 0)
    over = pl.lit("W_FRACTION" if kind == "int" else "E_DECIMALS")
    frame = frame.with_columns(
        c=pl.when(pl.col("u").abs() >= limit).then(pl.lit("E_RANGE"))
        .when(pl.lit(exact) & pl.col("over")).then(over)
        .otherwise("c")
    )  # fmt: skip
    kept = pl.when(pl.col("c").str.starts_with("E_").fill_null(False)).then(None).otherwise("u")
    decimal = kind == "decimal"
    value = kept.reinterpret(dtype=field.dtype) if decimal else kept.cast(pl.Int64)
    done = frame.select(value.alias("v"), "c")
    return Parsed(done["v"], done["c"] if done["c"].null_count() < len(done) else None)


def _size(field: Field) -> tuple[int, int]:
    """Decimal places of a number's field, and what its whole units stay below."""
    kind, _, size = field.type.partition("(")
    precision, scale = (int(x) for x in size.rstrip(")").split(",")) if size else (18, 2 if kind == "money" else 0)
    return scale, MONEY_LIMIT if kind == "money" else 10**precision


def rounded(value: pl.Expr, step: int | pl.Expr) -> pl.Expr:
    """Whole numbers divided by a positive `step`, half away from zero; null where the step is zero."""
    return value.sign() * ((value.abs() * 2 + step) // (2 * step))


def truncated(value: pl.Expr, step: int) -> pl.Expr:
    return value.sign() * (value.abs() // step)


def _typed(column: pl.Series, field: Field, kind: str) -> Parsed:
    """A column that came typed from Parquet. A float is taken for money only when every value is a whole fen."""
    if kind in ("date", "datetime"):
        moment = column.cast(pl.Datetime("us"), strict=False)
        return Parsed(moment.dt.date() if kind == "date" else moment)
    if column.dtype.is_float():
        return _from_float(column, field, kind)
    micro = column.cast(NUMBER, strict=False).reinterpret(dtype=pl.Int128)
    return _scaled(micro, None, field)


def _from_float(column: pl.Series, field: Field, kind: str) -> Parsed:
    scale = 100 if kind == "money" else 10**MICRO
    whole = (pl.col("f") * scale).round()
    frame = _columns(f=column).select(
        m=whole.cast(pl.Int128, strict=False) * (10**MICRO // scale), broken=(pl.col("f") * scale - whole).abs() >= 1e-4
    )
    if kind != "money":
        return _scaled(frame["m"], None, field, exact=False)
    broken = bool(frame["broken"].any())
    noted = pl.when(pl.col("m").is_not_null()).then(pl.lit("W_FLOAT_MONEY"))
    code = pl.when("broken").then(pl.lit("E_FLOAT_MONEY")) if broken else noted
    return _scaled(frame["m"], frame.select(c=code)["c"], field)


def times(text: pl.Series) -> Parsed:
    """Text as Datetime("us"): ISO dates and times, YYYYMMDD, YYYY/M/D; 24:00:00 is midnight of the next day."""
    moments = _columns(t=text).select(_plain_time(pl.col("t"))).to_series()
    if moments.null_count() > text.null_count():
        usual = text.set(~text.str.contains(f"{DAY_FIRST}|{COMPACT}"), None)
        for form in FORMS:
            left = (usual.is_not_null() & moments.is_null()).arg_true()
            if len(left):
                read = usual.gather(left).str.to_datetime(form, time_unit="us", strict=False).dt.truncate("1s")
                moments = moments.scatter(left, _columns(m=read).select(_in_range(pl.col("m"))).to_series())
    return _with_odd_forms(text, moments, _odd_times)


def _plain_time(text: pl.Expr) -> pl.Expr:
    second = text.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    size = text.str.len_bytes()
    return _in_range(pl.when(size == 10).then(day).when(size == 19).then(second))


def _odd_times(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(s=pl.col("t").str.normalize("NFKC").str.strip_chars(BLANKS))
    frame = frame.with_columns(v=_in_range(_composed(pl.col("s"))))
    tidy = pl.col("s")
    return frame.with_columns(
        c=pl.when(tidy.is_in(NOTHING)).then(pl.lit("W_DATE_FORM"))
        .when(tidy.str.contains(ZONED)).then(pl.lit("E_TIMEZONE"))
        .when(pl.col("v").is_null()).then(pl.lit("E_DATE"))
        .when(pl.col("t").str.contains("[０-９]")).then(pl.lit("W_FULLWIDTH"))
        .when(tidy.str.contains(r"[T ]24:")).then(pl.lit("W_DATE_FORM"))
    )  # fmt: skip


def _in_range(moment: pl.Expr) -> pl.Expr:
    return pl.when(moment.is_between(FIRST, LAST)).then(moment)


def _composed(text: pl.Expr) -> pl.Expr:
    part = text.str.extract_groups(DAY_FIRST)
    compact = text.str.extract_groups(COMPACT)
    piece = [pl.coalesce(part.struct.field(str(i)), compact.struct.field(str(i))).fill_null("0") for i in range(1, 7)]
    midnight = (piece[3] == "24") & (piece[4].str.strip_chars("0") == "") & (piece[5].str.strip_chars("0") == "")
    piece[3] = pl.when(midnight).then(pl.lit("0")).otherwise(piece[3])
    iso = pl.format("{}-{}-{} {}:{}:{}", *(p.str.zfill(2) for p in piece))
    moment = iso.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    return pl.when(midnight).then(moment + timedelta(days=1)).otherwise(moment)


def clean_text(text: pl.Expr) -> pl.Expr:
    """Text without the blanks around it and the characters nobody sees."""
    return text.str.replace_all(INVISIBLE, "").str.strip_chars(BLANKS)


def clean_code(text: pl.Expr) -> pl.Expr:
    """A code in half-width characters."""
    return clean_text(text).str.normalize("NFKC")
