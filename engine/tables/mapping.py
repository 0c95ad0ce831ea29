"""A chunk of source rows to canonical rows: columns mapped as the profile says, values parsed, problems gathered.

`shape_chunk` answers typed frames per canonical table, each row with the physical line it came from, and the rejects
and warnings. A source row is kept or set aside as a whole, whatever number of canonical rows it makes.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

from engine.tables import dictionary, reasons, values
from engine.tables.profiles import WORDS, FileMap, Profile

QUOTE_LIMIT = 200  # warnings quoted per chunk, column and code; the counts are complete
TRACE = "drug_trac_codg"
OTHER = dictionary.Field("", "", "text", "-", "")
MOMENT = dictionary.Field("", "", "datetime", "-", "")


@dataclass
class Shaped:
    tables: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    rejects: list[pl.DataFrame] = field(default_factory=list)
    warnings: list[pl.DataFrame] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    unmapped: list[pl.DataFrame] = field(default_factory=list)

    def warn(self, frame: pl.DataFrame, file: str, column: str | None, code: str, raw: pl.Expr) -> None:
        if frame.height:
            self.counts[code] = self.counts.get(code, 0) + frame.height
            self.warnings.append(reasons.issues(frame.head(QUOTE_LIMIT), file, column, code, raw))


def targets(file: FileMap) -> dict[str, dictionary.Field]:
    """Source column -> the canonical field it first feeds unchanged or mapped."""
    result = {}
    for table, mapping in file.tables:
        for name, spec in mapping.items():
            if name in WORDS or name.startswith("_"):
                continue
            for column in source_columns(spec, mapping):
                result.setdefault(column, dictionary.table(table).fields[name])
    return result


def source_columns(spec: str | dict, mapping: dict | None = None) -> list[str]:
    """The source columns a field is made of."""
    if isinstance(spec, str):
        found = [] if spec.startswith("=") else [spec]
    else:
        found = [
            t for t in f"{spec.get('calc', '')} {spec.get('first', '')}".split() if re.fullmatch(r"[^\W\d][\w{}]*", t)
        ]
        found += [spec["from"]] if "from" in spec else []
        found += list(spec.get("when", {}))
    if mapping and "each" in mapping:
        return [c.format(n=n) for c in found for n in _counted(mapping)]
    return found


def _counted(mapping: dict) -> range:
    low, high = mapping["each"].split("..")
    return range(int(low), int(high) + 1)


def shape_chunk(
    raw: pl.DataFrame, file: FileMap, profile: Profile, name: str, stem: str, wordings: dict[str, dict[str, str]]
) -> Shaped:
    """Source rows (text, named as in the profile; with _line, _extra, _odd) to typed canonical frames."""
    out = Shaped()
    raw = _tidy(raw, file, name, out)
    own = file.tables[0][0] if file.tables else ""
    for table, mapping in file.tables:
        for one in _expanded(raw, mapping):
            frame, sources = _mapped(*one, profile, stem, wordings, name, out, strict=table == own)
            out.tables.append((table, _parsed(frame, sources, table, name, out, strict=table == own)))
    _refuse_shifted(raw, file, name, out)
    return out


def _tidy(raw: pl.DataFrame, file: FileMap, name: str, out: Shaped) -> pl.DataFrame:
    """Odd forms in text columns: blanks and invisible characters, full-width codes, formula text, lost digits."""
    odd = raw.filter("_odd")
    if odd.is_empty():
        return raw
    feeds = targets(file)
    changed, changes = [], []
    for column in (c for c in raw.columns if not c.startswith("_") and raw.schema[c] == pl.String):
        target = feeds.get(column, OTHER)
        if target.type != "text" or (target.name == TRACE and target.table == "trace_codes"):
            continue
        code = bool(re.search(values.CODE_FIELD, target.name))
        after = _tidy_column(odd, column, target, code, name, out)
        if after is not None:
            changes.append(column)
            changed.append(after)
    if not changes:
        return raw
    fixed = odd.select("_line", *(s.alias(c) for c, s in zip(changes, changed, strict=True)))
    joined = raw.join(fixed, on="_line", how="left", suffix="_fixed", maintain_order="left")
    kept = [pl.when("_odd").then(f"{c}_fixed").otherwise(c).alias(c) for c in changes]
    return joined.with_columns(kept).drop(f"{c}_fixed" for c in changes)


def _tidy_column(
    odd: pl.DataFrame, column: str, target: dictionary.Field, code: bool, name: str, out: Shaped
) -> pl.Series | None:
    cleaned = values.clean_code(pl.col(column)) if code else values.clean_text(pl.col(column))
    if target.name == "certno":
        cleaned = cleaned.str.replace(r"^(\d{17})x$", "${1}X")
    frame = odd.select("_line", before=column, after=cleaned, plain=values.clean_text(pl.col(column))).with_columns(
        sci=spreadsheet_lost(pl.col("after"), target) if code or target.name == TRACE else pl.lit(None, pl.String)
    )
    shown = reasons.masked(pl.col("before"))
    out.warn(frame.filter(pl.col("plain") != pl.col("before")), name, column, "W_SPACE", shown)
    widened = frame.filter(pl.col("after").str.to_uppercase() != pl.col("plain").str.to_uppercase())
    out.warn(widened, name, column, "W_FULLWIDTH", shown)
    if target.name == "certno":
        out.warn(frame.filter(pl.col("plain").str.contains(r"^\d{17}x$")), name, column, "W_ID_LOWER_X", shown)
    if not code:
        out.warn(frame.filter(pl.col("plain").str.contains(values.FORMULA)), name, column, "W_FORMULA", shown)
    for lost in ("E_SCI_NOTATION", "E_PRECISION_LOST"):
        rows = frame.filter(pl.col("sci") == lost)
        if rows.height and target.mark in "KRC" and target.name != TRACE:
            out.rejects.append(reasons.issues(rows, name, column, lost, pl.col("before")))
        else:
            out.warn(rows, name, column, lost, pl.col("before"))
    frame = frame.with_columns(after=pl.when(pl.col("sci").is_null() & (pl.col("after") != "")).then("after"))
    return frame["after"] if not frame["after"].equals(frame["before"]) else None


def spreadsheet_lost(text: pl.Expr, target: dictionary.Field) -> pl.Expr:
    """The code of a value whose digits a spreadsheet has thrown away, else null."""
    zeros = text.str.contains(r"^\d{15}0{5}$") if target.name == TRACE else pl.lit(False)
    return (
        pl.when(text.str.contains(values.SCIENTIFIC)).then(pl.lit("E_SCI_NOTATION"))
        .when(zeros).then(pl.lit("E_PRECISION_LOST"))
    )  # fmt: skip


def _expanded(raw: pl.DataFrame, mapping: dict):
    """The (rows, mapping) a mapping stands for: itself, one per `each`, or the parts of `split`. Adds `_n`."""
    start = int(mapping.get("number", 1))
    if "each" in mapping:
        for n in _counted(mapping):
            one = {k: v.format(n=n) if isinstance(v, str) else v for k, v in mapping.items()}
            yield raw.with_columns(_n=pl.lit(start + n - 1, pl.Int64)), one
    elif "split" in mapping:
        yield _split(raw, mapping["split"].split(), start), mapping
    else:
        yield raw, mapping


def _split(raw: pl.DataFrame, columns: list[str], start: int) -> pl.DataFrame:
    columns = [c for c in columns if c in raw.columns]
    if not columns:
        return raw.clear().with_columns(_n=pl.lit(start, pl.Int64))
    lead = columns[0]
    parts = raw.filter(pl.col(lead).is_not_null()).with_columns(
        pl.col(c).str.replace_all("｜", "|", literal=True).str.split("|") for c in columns
    )
    parts = parts.with_columns(_n=pl.int_ranges(0, pl.col(lead).list.len())).explode(lead, "_n")
    parts = parts.with_columns(pl.col(c).list.get(pl.col("_n"), null_on_oob=True) for c in columns[1:])
    parts = parts.with_columns(pl.col(c).str.strip_chars(values.BLANKS).replace("", None) for c in columns)
    return parts.with_columns(_n=pl.col("_n").cast(pl.Int64) + start)


def _mapped(
    raw: pl.DataFrame, mapping: dict, profile: Profile, stem: str, wordings: dict, name: str, out: Shaped, strict: bool
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The canonical columns, still text (sums and products as millionths), and which source column each came from."""
    columns, sources = [pl.col("_line"), pl.col("_extra")], {}
    if "_n" in raw.columns and "seq" not in mapping:
        columns.append(pl.col("_n").alias("seq"))
    calculated = {}
    for field_name, spec in mapping.items():
        if field_name in WORDS:
            continue
        wanted = source_columns(spec)
        have = [c for c in wanted if c in raw.columns]
        if wanted and (not have or ("calc" in spec and len(have) < len(wanted) and isinstance(spec, dict))):
            continue
        sources[field_name] = " ".join(have)
        if isinstance(spec, dict) and "calc" in spec:
            calculated[field_name] = _calculated(raw, spec, name, out if strict else Shaped())
        else:
            columns.append(_text(raw, spec, field_name, profile, stem, wordings, name, out, strict).alias(field_name))
    frame = raw.select(columns).with_columns(series.alias(n) for n, series in calculated.items())
    if "need" in mapping:
        needed = [c for c in mapping["need"].split() if c in frame.columns]
        frame = frame.filter(pl.any_horizontal(pl.col(c).is_not_null() for c in needed)) if needed else frame.clear()
    return frame, sources


def _text(raw, spec, field_name, profile, stem, wordings, name, out, strict) -> pl.Expr:
    if isinstance(spec, str):
        return pl.lit(spec[1:]) if spec.startswith("=") else pl.col(spec)
    if "template" in spec:
        return pl.format(re.sub(r"\{line\}", "{}", spec["template"].replace("{file}", stem)), pl.col("_line"))
    if "number_is" in spec:
        return pl.when(pl.col("_n") == int(spec["number_is"])).then(pl.lit("1")).otherwise(pl.lit("0"))
    if "first" in spec:
        return pl.coalesce(c for c in spec["first"].split() if c in raw.columns)
    value = pl.col(spec["from"]).cast(pl.String)
    if "values" in spec or "wording" in spec:
        table = spec.get("values")
        words = (
            wordings.get(spec["wording"], {})
            if table is None
            else profile.values.get(table, {})
            if isinstance(table, str)
            else table
        )
        mapped = value.replace_strict(words, default=None, return_dtype=pl.String) if words else pl.lit(None, pl.String)
        if strict:
            missed = raw.filter(value.is_not_null() & mapped.is_null()).select("_line", word=value)
            if missed.height:
                counted = missed.group_by("word").agg(pl.len().alias("rows"), pl.col("_line").min())
                label = spec.get("wording", field_name)
                out.unmapped.append(
                    counted.select("word", "rows", "_line", column=pl.lit(spec["from"]), field=pl.lit(label))
                )
        value = mapped
    if "when" in spec:
        value = pl.when(condition(spec["when"])).then(value)
    return value


def condition(when: dict[str, str]) -> pl.Expr:
    """Column = one of the words; `~word`: contains it."""
    tests = []
    for column, words in when.items():
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
_QUOTIENT = _A.sign() * _B.sign() * ((_A.abs() * 2 * _ONE + _B.abs()) // (2 * _B.abs()))
STEPS = {
    "+": _A + _B,
    "-": _A - _B,
    "*": values.rounded(_A * _B, _ONE),
    "/": pl.when(_B != 0).then(_QUOTIENT),
}


def _operand(raw: pl.DataFrame, token: str, spec: dict, name: str, out: Shaped) -> pl.Series:
    if token not in raw.columns:
        constant = int(Decimal(token) * _ONE)
        return pl.Series([constant], dtype=pl.Int128).new_from_index(0, raw.height)
    parsed = values.numbers(raw[token].cast(pl.String))
    if parsed.code is not None:
        marked = raw.select("_line", before=token, code=parsed.code)
        for code in parsed.code.drop_nulls().unique().sort():
            rows = marked.filter(pl.col("code") == code)
            if code.startswith("W_"):
                out.warn(rows, name, token, code, pl.col("before"))
            else:
                out.rejects.append(reasons.issues(rows, name, token, code, reasons.masked(pl.col("before"))))
    if not spec.get("percent"):
        return parsed.values
    share = pl.when(_A.abs() > _ONE).then(_A // 100).otherwise(_A)
    return pl.DataFrame({"a": parsed.values}).select(share).to_series()


def _parsed(
    frame: pl.DataFrame, sources: dict[str, str], table: str, name: str, out: Shaped, strict: bool
) -> pl.DataFrame:
    """Every field in its own type. A bad value in a required or money field sets the row aside, else it is blank."""
    fields = dictionary.table(table).fields
    columns = [frame["_line"]]
    for column in (c for c in frame.columns if c not in ("_line", "_extra")):
        pseudo = OTHER if column == "_id" else MOMENT
        target = fields.get(column, pseudo)
        parsed = values.parse(frame[column], target)
        columns.append(parsed.values.alias(column))
        if parsed.code is None or not strict:
            continue
        marked = frame.select("_line", before=pl.col(column).cast(pl.String), code=parsed.code)
        fatal = target.required or target.type == "money"
        for code in parsed.code.drop_nulls().unique().sort():
            rows = marked.filter(pl.col("code") == code)
            where = sources.get(column, column)
            if code.startswith("E_") and fatal:
                out.rejects.append(reasons.issues(rows, name, where, code, reasons.masked(pl.col("before"))))
            else:
                out.warn(
                    rows,
                    name,
                    where,
                    "W_BAD_VALUE" if code.startswith("E_") else code,
                    reasons.masked(pl.col("before")),
                )
    if table == "fee_lines" and "fee_ocur_time" in frame.columns and frame.schema["fee_ocur_time"] == pl.String:
        columns.append((frame["fee_ocur_time"].str.len_chars() <= 10).alias("_day_only"))
    return pl.DataFrame(columns)


def _refuse_shifted(raw: pl.DataFrame, file: FileMap, name: str, out: Shaped) -> None:
    """A row with a surplus field is complete only if every value stands in its column: else a comma has shifted it."""
    extra = raw.filter("_extra")
    if extra.is_empty():
        return
    feeds = targets(file)
    codes = [
        c for c, f in feeds.items() if c in raw.columns and re.search(r"(_id|_no|_sn|_code|_codg|certno)$", f.name)
    ]
    han = pl.any_horizontal(pl.col(c).cast(pl.String).str.contains(r"\p{Han}").fill_null(False) for c in codes)
    lines = [extra.filter(han)["_line"]] if codes else []
    lines += [f["line"] for f in out.rejects] + [
        f.filter(pl.col("code") == "W_BAD_VALUE")["line"] for f in out.warnings
    ]
    shifted = extra.filter(pl.col("_line").is_in(pl.concat(lines).implode())) if lines else extra.clear()
    out.rejects.insert(0, reasons.issues(shifted, name, None, "E_FIELDS", pl.lit(None, pl.String)))
    sound = extra.join(shifted, on="_line", how="anti")
    out.warn(sound, name, None, "W_EXTRA_FIELD", pl.lit(None, pl.String))
