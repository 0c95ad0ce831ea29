"""A chunk of source rows to canonical rows: columns mapped as the profile says, values parsed, problems gathered.

A source row is kept or set aside as a whole, whatever number of canonical rows it makes.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from engine.tables import dictionary, reasons, values
from engine.tables.profiles import WORDS, counted, source_columns, targets
from engine.tables.shaped import Setting, Shaped
from engine.tables.tidy import UNUSED, tidy

MOMENT = dictionary.Field("", "", "datetime", "-", "")


def shape_chunk(raw: pl.DataFrame, setting: Setting) -> tuple[pl.DataFrame, Shaped]:
    """Source rows (text, named as in the profile; with _line, _extra, _odd) to typed canonical frames.

    Answers the rows with clean text, and what they became. Of the tables a file feeds, the first is its own: bad values
    there set the row aside, elsewhere they are left blank.
    """
    out = Shaped()
    raw = tidy(raw, setting.file, setting.name, out)
    own = setting.file.tables[0][0]
    for table, mapping in setting.file.tables:
        problems = out if table == own else Shaped()
        for rows, one in _expanded(raw, mapping):
            frame, sources = _mapped(rows, one, setting, problems)
            out.tables.append((table, _parsed(frame, sources, table, setting.name, problems)))
    _refuse_shifted(raw, setting, out)
    return raw, out


def _expanded(raw: pl.DataFrame, mapping: dict) -> Iterator[tuple[pl.DataFrame, dict]]:
    """The (rows, mapping) a mapping stands for: itself, one per `each`, or the parts of `split`. Adds `_n`."""
    start = int(mapping.get("number", 1))
    if "each" in mapping:
        for n in counted(mapping):
            one = {k: v.format(n=n) if isinstance(v, str) else v for k, v in mapping.items()}
            yield raw.with_columns(_n=pl.lit(start + n - 1, pl.Int64)), one
    elif "split" in mapping:
        yield _split(raw, mapping["split"].split(), start), mapping
    else:
        yield raw, mapping


def _split(raw: pl.DataFrame, columns: list[str], start: int) -> pl.DataFrame:
    """One row per part of the first column, the n-th part of the others beside it."""
    columns = [c for c in columns if c in raw.columns]
    if not columns:
        return raw.clear().with_columns(_n=pl.lit(start, pl.Int64))
    lead, *rest = columns
    parts = raw.filter(pl.col(lead).is_not_null()).with_columns(
        pl.col(c).str.replace_all("｜", "|", literal=True).str.split("|") for c in columns
    )
    parts = parts.with_columns(_n=pl.int_ranges(0, pl.col(lead).list.len())).explode(lead, "_n")
    parts = parts.with_columns(pl.col(c).list.get(pl.col("_n"), null_on_oob=True) for c in rest)
    parts = parts.with_columns(pl.col(c).str.strip_chars(values.BLANKS).replace("", None) for c in columns)
    return parts.with_columns(_n=pl.col("_n").cast(pl.Int64) + start)


def _mapped(raw: pl.DataFrame, mapping: dict, setting: Setting, out: Shaped) -> tuple[pl.DataFrame, dict[str, str]]:
    """The canonical columns, still text (sums and products as millionths), and which source column each came from."""
    columns, sources = [pl.col("_line")], {}
    if "_n" in raw.columns and "seq" not in mapping:
        columns.append(pl.col("_n").alias("seq"))
    for field, spec in mapping.items():
        wanted = [] if field in WORDS else source_columns(spec)
        have = [c for c in wanted if c in raw.columns]
        any_will_do = isinstance(spec, dict) and "first" in spec
        if field in WORDS or (not have if any_will_do and wanted else len(have) < len(wanted)):
            continue
        calculated = isinstance(spec, dict) and "calc" in spec
        sources[field] = " ".join(have)
        value = _calculated(raw, spec, setting.name, out) if calculated else _text(raw, spec, field, setting, out)
        columns.append(value.alias(field))
    frame = raw.select(columns)
    if "need" in mapping:
        needed = [c for c in mapping["need"].split() if c in frame.columns]
        frame = frame.filter(pl.any_horizontal(pl.col(needed).is_not_null())) if needed else frame.clear()
    return frame, sources


def _text(raw: pl.DataFrame, spec: str | dict, field: str, setting: Setting, out: Shaped) -> pl.Expr:
    if isinstance(spec, str):
        return pl.lit(spec[1:]) if spec.startswith("=") else pl.col(spec)
    if "template" in spec:
        return pl.format(spec["template"].replace("{file}", setting.stem).replace("{line}", "{}"), pl.col("_line"))
    if "number_is" in spec:
        return (pl.col("_n") == int(spec["number_is"])).cast(pl.Int8).cast(pl.String)
    if "join" in spec:
        return pl.concat_str(spec["join"].split(), separator="-")
    if "first" in spec:
        return pl.coalesce(c for c in spec["first"].split() if c in raw.columns)
    value = pl.col(spec["from"]).cast(pl.String)
    if "when" in spec:
        value = pl.when(condition(spec["when"], raw.columns)).then(value)
    if "values" in spec or "wording" in spec:
        value = _translated(raw, value, spec, field, setting, out)
    return value


def _translated(raw: pl.DataFrame, value: pl.Expr, spec: dict, field: str, setting: Setting, out: Shaped) -> pl.Expr:
    """The value by its map. Words that the map lacks are blank and counted."""
    if "wording" in spec:
        words = setting.words.get(spec["wording"], {})
    else:
        words = spec["values"] if isinstance(spec["values"], dict) else setting.profile.values[spec["values"]]
    mapped = value.replace_strict(words, default=None, return_dtype=pl.String) if words else pl.lit(None, pl.String)
    word = value if words else pl.lit("全部用语")
    missed = raw.filter(value.is_not_null() & mapped.is_null()).group_by(word=word)
    missed = missed.agg(pl.len().alias("rows"), pl.col("_line").min())
    if missed.height:
        label = pl.lit(spec.get("wording", field))
        out.unmapped.append(missed.select("word", "rows", "_line", column=pl.lit(spec["from"]), field=label))
    return mapped


def condition(when: dict[str, str], have: list[str]) -> pl.Expr:
    """Column = one of the words; `~word`: contains it. False where the source lacks the column."""
    tests = [pl.lit(set(when) <= set(have))]
    for column, words in when.items() if set(when) <= set(have) else ():
        text = pl.col(column).cast(pl.String).str.normalize("NFKC")
        tests.append(text.str.contains(words[1:], literal=True) if words.startswith("~") else text.is_in(words.split()))
    return pl.all_horizontal(tests).fill_null(False)


def _calculated(raw: pl.DataFrame, spec: dict, name: str, out: Shaped) -> pl.Series:
    """A chain `A * B + …` in millionths, from left to right, each step half-up; null where an operand is blank."""
    tokens = spec["calc"].split()
    result = _operand(raw, tokens[0], spec, name, out)
    for sign, token in zip(tokens[1::2], tokens[2::2], strict=True):
        pair = pl.DataFrame({"a": result, "b": _operand(raw, token, spec, name, out)})
        result = pair.select(STEPS[sign].alias("a")).to_series()
    return result


_A, _B, _ONE = pl.col("a"), pl.col("b"), 10**values.MICRO
STEPS = {
    "+": _A + _B,
    "-": _A - _B,
    "*": values.rounded(_A * _B, _ONE),
    "/": values.rounded(_A * _ONE * _B.sign(), _B.abs()),
}


def _operand(raw: pl.DataFrame, token: str, spec: dict, name: str, out: Shaped) -> pl.Series:
    if token not in raw.columns:
        return pl.Series([int(Decimal(token) * _ONE)], dtype=pl.Int128).new_from_index(0, raw.height)
    parsed = values.numbers(raw[token].cast(pl.String))
    _report(raw.select("_line", before=token), parsed.code, token, True, name, out)
    if not spec.get("percent"):
        return parsed.values
    share = pl.when(_A.abs() > _ONE).then(_A // 100).otherwise(_A)
    return pl.DataFrame({"a": parsed.values}).select(share).to_series()


def _parsed(frame: pl.DataFrame, sources: dict[str, str], table: str, name: str, out: Shaped) -> pl.DataFrame:
    """Every field in its own type. A bad value in a required or money field sets the row aside, else it is blank."""
    fields = dictionary.table(table).fields
    columns = [frame["_line"]]
    for column in (c for c in frame.columns if c != "_line"):
        field = fields.get(column, UNUSED if column == "_id" else MOMENT)
        parsed = values.parse(frame[column], field)
        columns.append(parsed.values.alias(column))
        before = frame.select("_line", before=pl.col(column).cast(pl.String))
        _report(before, parsed.code, sources.get(column, column), field.required or field.type == "money", name, out)
    if table == "fee_lines" and frame.schema.get("fee_ocur_time") == pl.String:
        columns.append((frame["fee_ocur_time"].str.len_chars() <= 10).alias("_day_only"))
    return pl.DataFrame(columns)


def _report(before: pl.DataFrame, code: pl.Series | None, column: str, fatal: bool, name: str, out: Shaped) -> None:
    """The problems of one column: rejects when `fatal`, else warnings, since the value was left blank."""
    if code is None:
        return
    marked = before.with_columns(code=code).filter(pl.col("code").is_not_null())
    for (one,), rows in marked.group_by("code", maintain_order=True):
        bad = one.startswith("E_")
        report = out.reject if bad and fatal else out.warn
        report(rows, name, column, "W_BAD_VALUE" if bad and not fatal else one, reasons.masked(pl.col("before")))


def _refuse_shifted(raw: pl.DataFrame, setting: Setting, out: Shaped) -> None:
    """A row with a surplus field is complete only if every value stands in its column: else a comma has shifted it."""
    extra = raw.filter("_extra")
    if extra.is_empty():
        return
    wrong = [f["line"] for f in out.rejects] + [f.filter(pl.col("code") == "W_BAD_VALUE")["line"] for f in out.warnings]
    shifted = pl.col("_line").is_in(pl.concat(wrong).implode()) if wrong else pl.lit(False)
    # a name that slid into a column of codes: one in which no sound row has a Chinese character
    codes = [c for c, f in targets(setting.file).items() if c in raw.columns and re.search(values.CODE_FIELD, f.name)]
    han = [pl.col(c).cast(pl.String).str.contains(r"\p{Han}").fill_null(False) for c in codes]
    clean = raw.filter(~pl.col("_extra")).select(h.any().alias(c) for c, h in zip(codes, han, strict=True))
    slid = [h for c, h in zip(codes, han, strict=True) if not clean[c].any()]
    shifted = pl.any_horizontal(shifted, *slid)
    nothing = pl.lit(None, pl.String)
    out.rejects.insert(0, reasons.issues(extra.filter(shifted), setting.name, None, "E_FIELDS", nothing))
    out.warn(extra.filter(~shifted), setting.name, None, "W_EXTRA_FIELD", nothing)
