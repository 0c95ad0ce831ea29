"""What was scanned: one normal text, one class and one 64-bit key per trace code.

The common family (20 digits beginning with 8: a 7-digit identifier and a 13-digit serial) keeps its 19 digits after
the implied 8 as its key, so the key can be turned back into the code. Every other usable code (GS1, other issuers) gets
10**19 plus 62 bits of the hash of its normal text, above every key of the common family; among ten million such codes
two share a key with a chance of one in a hundred thousand, and `keyed` refuses to go on when that happens.
Placeholders, barcodes and damaged codes have no key: they never join two events.
"""

import polars as pl

from engine.tables.problems import InvariantBroken

CLASSES = pl.Enum(["genuine", "gs1", "other_issuer", "placeholder", "barcode", "bad"])
USABLE = ["genuine", "gs1", "other_issuer"]

_GENUINE = r"^8[0-9]{19}$"
_PLACEHOLDERS = [str(digit) * 20 for digit in range(10)]
_GS = "\x1d"
# Fixed-length elements, or variable ones closed by FNC1: what may stand before the element that is looked for.
_ELEMENTS = r"^(?:(?:0[12][0-9]{14}|1[1-7][0-9]{6}|(?:10|21|22|240|241|250|30|37)[!-~]+\x1d)\x1d?)*?"
_OTHERS_FROM = 10**19
_IDENTIFIER_FROM = 8_000_000
_SERIALS = 10**13
_ALL_EIGHTS = int("8" * 19)  # the placeholder of twenty eights, without the first


def normalise(codes: pl.Expr) -> pl.Expr:
    """The one text of a code, however it was typed or scanned; null for blank.

    Half-width, upper case, without spaces, dashes, quotes and formula signs. GS1 element strings, with parentheses or
    with FNC1 and symbology identifier, and GS1 links become `GTIN|SERIAL`; without a serial only the GTIN is left,
    which names a product like a barcode. Other links give the code they carry.
    """
    text = (
        codes.str.normalize("NFKC")
        .str.to_uppercase()
        .str.replace_all(r"<GS>|\{GS\}|\[GS\]|\x{241D}", _GS)
        .str.replace_all(r"[\s\p{Pd}\p{Cf}'\"`]+", "")
        .str.strip_chars_start("=")
    )
    text = pl.when(text.str.contains(r"^HTTPS?://")).then(_from_link(text)).otherwise(text)
    element = text.str.replace(r"^\][A-Z][0-9]", "").str.strip_chars_start(_GS)
    gtin = pl.coalesce(element.str.extract(r"\(01\)([0-9]{14})"), element.str.extract(_ELEMENTS + "01([0-9]{14})"))
    serial = pl.coalesce(
        element.str.extract(r"\(21\)([!-'*-~]{1,20})(?:\(|\x1d|$)"),
        element.str.extract(_ELEMENTS + r"21([!-'*-~]{1,20})(?:\x1d|$)"),
    )
    gs1 = pl.concat_str([gtin, serial], separator="|", ignore_nulls=True)
    code = pl.when(gtin.is_not_null()).then(gs1).otherwise(element)
    return pl.when(element.str.len_bytes() > 0).then(code)


def _from_link(text: pl.Expr) -> pl.Expr:
    """The code in a link: a GS1 link as an element string, a 20-digit code wherever it stands, else the last value."""
    bare = text.str.replace(r"#.*$", "")
    gtin = bare.str.extract(r"/01/([0-9]{14})(?:/|\?|$)")
    serial = bare.str.extract(r"/21/([^/?&]{1,20})(?:[/?&]|$)")
    return pl.coalesce(
        pl.concat_str([pl.lit("(01)"), gtin, pl.lit("(21)"), serial]),
        bare.str.extract(r"[^0-9](8[0-9]{19})(?:[^0-9]|$)"),
        bare.str.extract(r"([^/?=&]+)/*$"),
    )


def _gtin_ok(normal: pl.Expr) -> pl.Expr:
    """Whether the GTIN a normal text begins with has the right check digit."""
    number = normal.str.slice(0, 14).cast(pl.Int64, strict=False)
    return pl.sum_horizontal((number // 10**i) % 10 * (3 if i % 2 else 1) for i in range(14)) % 10 == 0


def classify(normal: pl.Expr) -> pl.Expr:
    """The class of a normalised code, one of CLASSES; null for blank.

    Bad are scientific notation and other spreadsheet damage (twenty digits of which a float kept fifteen), a common
    code of the wrong length, a GTIN with a wrong check digit, too short or too long a text, and characters no code has.
    """
    damaged = normal.str.contains(r"^[0-9]+\.[0-9]*$|^[0-9.]+E\+?[0-9]+$|^8[0-9]{14}0{5}$")
    wrong_length = normal.str.contains(r"^8[0-9]+$") & (normal.str.len_bytes() != 20)
    classes = {
        "placeholder": normal.is_in(_PLACEHOLDERS),
        "barcode": normal.str.contains(r"^[0-9]{13,14}$"),
        "bad": damaged | wrong_length,
        "genuine": normal.str.contains(_GENUINE),
        "gs1": normal.str.contains(r"^[0-9]{14}\|[^|]{1,20}$") & _gtin_ok(normal),
        "other_issuer": normal.str.contains(r"^[0-9A-Z.:/+*%&$#@!,;?=]{15,100}$"),
    }
    kind = pl.coalesce(pl.when(test).then(pl.lit(name)) for name, test in classes.items())
    return pl.when(normal.is_not_null()).then(pl.coalesce(kind, pl.lit("bad"))).cast(CLASSES)


def code_key(normal: pl.Expr) -> pl.Expr:
    """The UInt64 key of a normalised code; null for a code that cannot be used."""
    kind = classify(normal)
    common = normal.str.slice(1).cast(pl.UInt64, strict=False)
    other = pl.lit(_OTHERS_FROM, pl.UInt64) + normal.hash(0) % pl.lit(2**62, pl.UInt64)
    return pl.when(kind == "genuine").then(common).when(kind.is_in(USABLE)).then(other)


def identifier(normal: pl.Expr) -> pl.Expr:
    """What names product and pack level in a usable code, as a number: the first seven digits, or the GTIN of GS1."""
    digits = pl.when(normal.str.contains("|", literal=True)).then(14).otherwise(7)
    return normal.str.slice(0, digits).cast(pl.UInt64, strict=False)


def keyed(frame: pl.DataFrame, column: str = "drug_trac_codg") -> pl.DataFrame:
    """The frame with `code` (normal text), `code_class`, `code_key` and `ident` of each row, rows in their order.

    A code that already stands in its common form is read by arithmetic alone; only distinct other texts are normalised.
    """
    raw = pl.col(column)
    frame = frame.with_columns(code_key=_key_of_common(raw))
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
    raw = pl.col("raw")
    keys = pl.DataFrame({"raw": codes}).with_columns(key=_key_of_common(raw))
    rows = keys["key"].is_null() & codes.is_not_null()
    if not rows.any():
        return keys["key"]
    odd = keys.select("raw").filter(rows)
    read = odd.join(_read_odd(odd.unique(), raw), on="raw", how="left", maintain_order="left")
    return keys["key"].scatter(rows.arg_true(), read["odd_key"])


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


def _key_of_common(raw: pl.Expr) -> pl.Expr:
    """The key of a code that already stands in its common form, sound and no placeholder; null for every other text."""
    # Read as a number at once: a pattern asked of every code takes twice as long as all of this. What is no digit
    # reads as no number, but for a sign in front.
    number = raw.str.slice(1).cast(pl.UInt64, strict=False)
    formed = (raw.str.len_bytes() == 20) & raw.str.starts_with("8") & ~raw.str.starts_with("8+")
    placeholder = number == _ALL_EIGHTS
    return pl.when(formed & ~placeholder & ~raw.str.ends_with("00000")).then(number)


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
