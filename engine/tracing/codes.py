"""What was scanned as a number: one 64-bit key per trace code, which leads back to its text.

The common family (20 digits beginning with 8: a 7-digit identifier and a 13-digit serial) keeps its 19 digits after
the implied 8 as its key, so the key can be turned back into the code. Every other usable code (GS1, other issuers) gets
10**19 plus 62 bits of the hash of its normal text, above every key of the common family; among ten million such codes
two share a key with a chance of one in a hundred thousand, and `keyed` refuses to go on when that happens. A dictionary
(`other_codes`) leads back from these. Placeholders, barcodes, damaged codes and codes of whole lots have no key: they
never join two events.
"""

from concurrent.futures import ThreadPoolExecutor

import polars as pl

from engine.tables.problems import InvariantBroken
from engine.tracing.forms import CLASSES, classify, identifier, normalise, parts

USABLE = ["genuine", "gs1", "other_issuer"]

_OTHERS_FROM = 10**19
_IDENTIFIER_FROM = 8_000_000
_SERIALS = 10**13
_COMMON_FROM = 8 * 10**19
_AT_ONCE = 1 << 20
_LONGEST_ALONE = 39  # bytes; two codes of the common family have forty digits
# Placeholders that have the form of a common code, without the first eight: eights, and digits counted up and down.
_TYPED = [int("8" * 19), 9_012_345_678_901_234_567, 7_654_321_098_765_432_109]


def code_key(normal: pl.Expr) -> pl.Expr:
    """The UInt64 key of a normalised code; null for a code that cannot be used."""
    kind = classify(normal)
    common = normal.str.slice(1).cast(pl.UInt64, strict=False)
    other = pl.lit(_OTHERS_FROM, pl.UInt64) + normal.hash(0) % pl.lit(2**62, pl.UInt64)
    return pl.when(kind == "genuine").then(common).when(kind.is_in(USABLE)).then(other)


def keyed(frame: pl.DataFrame, column: str = "drug_trac_codg") -> pl.DataFrame:
    """The frame with `code` (normal text), `code_class`, `code_key` and `ident` of each row, rows in their order.

    A code that already stands in its common form is read by arithmetic alone; only distinct other texts are normalised.
    """
    raw = pl.col(column)
    frame = frame.with_columns(_common_keys(frame[column]))
    odd = _read_odd(frame.filter(pl.col("code_key").is_null() & raw.is_not_null()).select(raw).unique(), raw)
    frame = frame.join(odd, on=column, how="left", maintain_order="left") if odd.height else _without_odd(frame)
    common = pl.col("code_key").is_not_null()
    return frame.with_columns(
        code=pl.when(common).then(raw).otherwise("code"),
        code_class=pl.when(common).then(pl.lit("genuine", CLASSES)).otherwise("odd_class"),
        ident=pl.when(common).then(ident_of_common("code_key")).otherwise("odd_ident"),
        code_key=pl.coalesce("code_key", "odd_key"),
    ).drop("odd_class", "odd_key", "odd_ident")


def keys_of(codes: pl.Series) -> pl.Series:
    """The UInt64 key of each code, null where it cannot be used: what `keyed` says, without the rest of it."""
    parts = [codes.slice(at, _AT_ONCE) for at in range(0, max(1, len(codes)), _AT_ONCE)]
    with ThreadPoolExecutor() as pool:  # one expression over one column keeps one processor busy
        return pl.concat(list(pool.map(_keys_of, parts))).alias("key")


def _keys_of(codes: pl.Series) -> pl.Series:
    keys = _common_keys(codes)
    rows = keys.is_null() & codes.is_not_null()
    if not rows.any():
        return keys
    odd = pl.DataFrame({"raw": codes.filter(rows)})
    read = odd.join(_read_odd(odd.unique(), pl.col("raw")), on="raw", how="left", maintain_order="left")
    return keys.scatter(rows.arg_true(), read["odd_key"])


def code_of(key: pl.Expr) -> pl.Expr:
    """The code of the common family a key stands for; null for the key of any other code."""
    digits = key.cast(pl.String).str.zfill(19)
    return pl.when(key < _OTHERS_FROM).then(pl.lit("8") + digits)


def other_codes(codes: pl.Series) -> pl.DataFrame:
    """The dictionary of the usable codes outside the common family: `code_key`, `code` (normal text), each once."""
    raw = pl.col("raw")
    odd = pl.DataFrame({"raw": codes}).filter(_common_keys(codes).is_null() & raw.is_not_null()).unique()
    read = _read_odd(odd, raw).filter(pl.col("odd_key") >= _OTHERS_FROM)
    return read.select(code_key="odd_key", code="code").unique().sort("code_key", "code")


def codes_of(keys: pl.Series, others: pl.DataFrame) -> pl.Series:
    """The normal text of each key: by arithmetic, or as the dictionary `others` (other_codes) tells; else null.

    Raises InvariantBroken when the dictionary gives one key two texts.
    """
    if others["code_key"].n_unique() != others.unique().height:
        raise InvariantBroken("两个不同的追溯码得到同一个键", where="engine.tracing.codes")
    asked = pl.DataFrame({"code_key": keys}).join(others.unique(), on="code_key", how="left", maintain_order="left")
    return asked.select(pl.coalesce(code_of(pl.col("code_key")), "code").alias("code"))["code"]


def apart(trace_codes: pl.LazyFrame | pl.DataFrame) -> pl.LazyFrame | pl.DataFrame:
    """Events, each of one code: a field in which several codes certainly stand (forms.parts) becomes so many events.

    Only where the row says no quantity, or as many units as there are codes, which then are one each; other fields
    stay as they are and are bad. The first keeps its event_id, the others get it with `#2`, `#3` … Order is kept.
    """
    names = trace_codes.collect_schema().names()
    found = pl.when(pl.col("drug_trac_codg").str.len_bytes() > _LONGEST_ALONE).then(parts(pl.col("drug_trac_codg")))
    count = pl.col("_parts").list.len()
    said = pl.col("cnt").is_null() | (pl.col("cnt") == count) if "cnt" in names else pl.lit(True)
    rows = trace_codes.with_columns(_parts=found).with_columns(_several=(count.is_not_null() & said))
    alone = pl.concat_list(pl.col("drug_trac_codg"))
    rows = rows.with_columns(
        _parts=pl.when("_several").then("_parts").otherwise(alone),
        _number=pl.int_ranges(1, pl.when("_several").then(count).otherwise(1) + 1),
    )
    rows = rows.explode("_parts", "_number").with_columns(
        drug_trac_codg="_parts",
        event_id=pl.when(pl.col("_number") > 1)
        .then(pl.col("event_id") + "#" + pl.col("_number").cast(pl.String))
        .otherwise("event_id"),
    )
    if "cnt" in names:
        one = pl.when(pl.col("cnt").is_not_null()).then(pl.lit(1)).cast(rows.collect_schema()["cnt"])
        rows = rows.with_columns(cnt=pl.when("_several").then(one).otherwise("cnt"))
    return rows.select(names)


def holds_several(trace_codes: pl.LazyFrame) -> bool:
    """Whether any field holds several codes that `apart` could tell apart."""
    long = trace_codes.filter(pl.col("drug_trac_codg").str.len_bytes() > _LONGEST_ALONE).select("drug_trac_codg")
    return long.select(parts(pl.col("drug_trac_codg")).is_not_null().any().fill_null(False)).collect().item()


def ident_of_common(key: str) -> pl.Expr:
    """The identifier of a code of the common family by its key."""
    return _IDENTIFIER_FROM + pl.col(key) // _SERIALS


def _read_odd(odd: pl.DataFrame, raw: pl.Expr) -> pl.DataFrame:
    """Distinct codes in no common form with `code`, `odd_class`, `odd_key` and `odd_ident`."""
    odd = odd.with_columns(code=normalise(raw)).with_columns(
        odd_class=classify(pl.col("code")), odd_key=code_key(pl.col("code"))
    )
    odd = odd.with_columns(odd_ident=pl.when(pl.col("odd_key").is_not_null()).then(identifier(pl.col("code"))))
    _one_text_per_key(odd)
    return odd


def _common_keys(codes: pl.Series) -> pl.Series:
    """The key of each code that already stands in its common form, sound and no placeholder; null for other texts."""
    # Read as one number of twenty digits, step by step: a pattern asked of every code takes many times as long, and so
    # does one expression that says all of this. What is no digit reads as no number, but for a sign in front, which
    # leaves one digit less.
    raw, number, key = pl.col("raw"), pl.col("number"), pl.col("code_key")
    read = pl.DataFrame({"raw": codes}).with_columns(number=raw.cast(pl.UInt128, strict=False))
    read = read.with_columns(code_key=(number - _COMMON_FROM).cast(pl.UInt64, strict=False))
    formed = (raw.str.len_bytes() == 20) & (number >= _COMMON_FROM) & (number < _COMMON_FROM + 10**19)
    return read.select(pl.when(formed & ~key.is_in(_TYPED) & (key % 100_000 != 0)).then(key)).to_series()


def _without_odd(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        code=pl.lit(None, pl.String),
        odd_class=pl.lit(None, CLASSES),
        odd_key=pl.lit(None, pl.UInt64),
        odd_ident=pl.lit(None, pl.UInt64),
    )


def _one_text_per_key(odd: pl.DataFrame) -> None:
    texts = odd.filter(pl.col("odd_key") >= _OTHERS_FROM).group_by("odd_key").agg(pl.col("code").n_unique())
    if texts["code"].max() not in (None, 1):
        raise InvariantBroken("两个不同的追溯码得到同一个键", where="engine.tracing.codes")
