"""What a scan says, whatever the scanner or the hand made of it: one normal text, one class, and why a scan is bad.

Normal texts are `8…` (the common family), `GTIN|SERIAL` (GS1 and its links), `DI|SERIAL` of IDcode (MA) and HIBC,
`DI||LOT` of an identification that names a lot and no single pack, and otherwise the scan itself, cleaned.
Sources: NMPAB/T 1002-2019; GS1 General Specifications (element strings, Digital Link); ANSI/HIBC 2.6; IDcode's UDI.
"""

import polars as pl

CLASSES = pl.Enum(["genuine", "gs1", "other_issuer", "lot_level", "placeholder", "barcode", "bad"])
REASONS = {
    "scientific": "科学计数，末几位已丢失",
    "precision": "表格软件只保留十五位，末五位成零",
    "several": "一格中有几个码，无法确定各指哪一盒",
    "link": "网址中没有追溯码",
    "length": "八开头的码不是二十位",
    "check_digit": "商品条码校验位不符",
    "characters": "含追溯码没有的字符",
    "short": "过短，不成追溯码",
    "long": "过长，不成追溯码",
}
_UNUSABLE = {
    "placeholder": "占位码，不指任何一盒",
    "barcode": "商品条码，不是追溯码",
    "lot_level": "只到批号或品种，不指单盒",
}

_GS = "\x1d"
# What scanners and copied texts put for FNC1, which cannot be typed.
_FNC1 = (
    r"<GS>|\{GS\}|\[GS\]|\(GS\)|<FNC1>|\{FNC1\}|\[FNC1\]|\(FNC1\)|\\X1D|\\U001D|&#29;|&#X1D;|%1D|~D029|~1|\^\]|\x{241D}"
)
# Controls, spaces, dashes of every width, invisible characters and quotes; FNC1 stays.
_NOISE = r"[\x00-\x1c\x1e\x1f\x7f\s\p{Pd}\p{Cf}'\"`‘’“”]+"
_LABELS = r"\p{Han}+[:=]*"  # 追溯码：, 药品标识码：… 序列号：…
_MARKS = r"[=:,;|、。\x1d]"
_FRONT = r"^(?:" + _MARKS + r"|\][A-Z][0-9]|\[\)>0[56])+"  # also symbology identifiers and the 06 envelope
_BACK = _MARKS + "+$"
# What may stand before the element that is looked for: elements of fixed length, or variable ones closed by FNC1.
_BEFORE = r"^(?:(?:(?:00[0-9]{18}|0[123][0-9]{14}|1[1-9][0-9]{6}|20[0-9]{2}|41[0-9]{14}|[0-9]{2,4}[!-~]+\x1d)\x1d?)*?)"
_DAY = r"[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])"
# A serial whose FNC1 was lost: dates, and perhaps the lot, stand right behind it.
_UNCLOSED = r"21([!-'*-~]{1,20}?)(?:1[1357]" + _DAY + r"){1,3}(?:10[!-~]{1,20})?$"
_TWENTY = r"8[0-9]{19}"
_BETWEEN = r"[,;|/、\x1d]*"
_SEVERAL = rf"^{_TWENTY}(?:{_BETWEEN}{_TWENTY})+{_BETWEEN}$"
_RUNS = "^(?:" + "|".join(f"{mark}{{8,}}" for mark in "0123456789X") + ")$"
_COUNTED = [way[at : at + long] for way in ("0123456789" * 4, "9876543210" * 4) for at in range(10)
            for long in range(15, 21)]  # fmt: skip
_BAD = {
    "scientific": r"^[0-9]+(?:\.[0-9]+)?E\+[0-9]+$|^[0-9]\.[0-9]+E[0-9]{1,3}$|^[0-9]E[0-9]{2}$|^[0-9]+\.[0-9]*$",
    "precision": r"^8[0-9]{14}0{5}$",
    "several": rf"{_TWENTY}[^0-9]+{_TWENTY}|^(?:{_TWENTY}){{2,}}$|\(01\).*\(01\)",
    "link": r"^HTTPS?:/",
    "length": r"^8[0-9]{0,18}$|^8[0-9]{20,}$",
    "characters": r"[^0-9A-Z.:/+*%&$#@!,;?=_|~\\]",
    "short": r"^.{0,14}$",
    "long": r"^.{101,}$",
}
_ESCAPES = {f"%{n:02X}": chr(n) for n in range(0x21, 0x7F)}


def normalise(codes: pl.Expr) -> pl.Expr:
    """The one text of a code, however it was typed or scanned; null for blank.

    Half-width, upper case, without spaces, dashes, quotes, labels and marks around it. Two serials that differ only in
    dashes, quotes or case are read as one. A code typed twice over is read once.
    """
    return codes.map_batches(_normal, return_dtype=pl.String, is_elementwise=True)


def _normal(codes: pl.Series) -> pl.Series:
    # Step by step: as one expression, each step would stand in it as often as all later ones name it.
    text = pl.col("c")
    frame = codes.to_frame("c").select(text.str.to_uppercase().str.normalize("NFKC").str.to_uppercase())
    frame = frame.select(text.str.replace_all(_NOISE, "").str.replace_all(r"\[([0-9]{2,4})\]", "($1)"))
    frame = frame.with_columns(bare=text.str.replace_all(_LABELS, ""))
    frame = frame.select(pl.when(pl.col("bare").str.len_bytes() > 0).then("bare").otherwise(text).alias("c"))
    frame = frame.select(_unframed(text.str.replace_all(_FNC1, _GS)))
    link = text.str.contains(r"^HTTPS?://")
    linked = frame.filter(link).unique()
    if linked.height:
        linked = linked.with_columns(link=_of_link(text)).with_columns(link=_unframed(pl.col("link")))
        frame = frame.join(linked, on="c", how="left", maintain_order="left").select(
            pl.coalesce("link", text).alias("c")
        )
    frame = frame.select(_once(text))
    frame = frame.with_columns(a=_of_gs1(text), b=_of_idcode(text), d=_of_hibc(text))
    read = pl.coalesce("a", "b", "d", text)
    return frame.select(pl.when(text.str.len_bytes() > 0).then(read).alias(codes.name)).to_series()


def _unframed(text: pl.Expr) -> pl.Expr:
    return text.str.replace(_FRONT, "").str.replace(_BACK, "")


def _once(text: pl.Expr) -> pl.Expr:
    """One code of the common family where the same stands twice or oftener."""
    first, twenty = text.str.slice(0, 20), text.str.extract_all(_TWENTY)
    same = text.str.contains(_SEVERAL) & (twenty.list.n_unique() == 1)
    return pl.when(same).then(first).otherwise(text)


def _of_link(text: pl.Expr) -> pl.Expr:
    """The code in a link: a GS1 link as an element string, a 20-digit code wherever it stands, else the last path or
    query value that is long enough for a code, else the last value of any length. The name of a server is no code."""
    bare = text.str.replace(r"#.*$", "")
    behind = bare.str.extract(r"^HTTPS?://[^/?]*[/?](.*)$").fill_null("")
    gtin = _plain(bare.str.extract(r"/(?:01|GTIN)/([0-9]{8,14})(?:/|\?|$)")).str.zfill(14)
    element = {ai: _plain(bare.str.extract(rf"[/?&]{ai}[/=]([^/?&]{{1,60}})(?:[/?&]|$)")) for ai in ("21", "10")}
    gs1 = pl.concat_str(
        pl.lit("(01)"),
        gtin,
        *(pl.when(element[ai].is_null()).then(pl.lit("")).otherwise(pl.lit(f"({ai})") + element[ai]) for ai in element),
    )
    return pl.coalesce(
        gs1,
        bare.str.extract(rf"(?:^|[^0-9])({_TWENTY})(?:[^0-9]|$)"),
        _plain(("/" + behind).str.extract(r"^.*[/=?&]([0-9A-Z.:+*%$@!,;_~()]{15,150})(?:[/?&].*)?$")),
        _plain(behind.str.extract(r"([^/?=&]+)[/?=&]*$")),
        bare,
    )


def _plain(text: pl.Expr) -> pl.Expr:
    """Text of a link with its percent signs resolved."""
    return text.str.replace_many(list(_ESCAPES), list(_ESCAPES.values())).str.replace_all(_FNC1, _GS)


def _of_gs1(text: pl.Expr) -> pl.Expr:
    """`GTIN|SERIAL`, `GTIN||LOT`, or the GTIN alone; null for what is no element string, or holds several.

    A GTIN of 8, 12 or 13 digits is filled up with zeros. Where FNC1 was lost and a serial cannot be told from what
    follows or goes before, the pack is not known: such a scan names the lot.
    """
    number = pl.coalesce(
        text.str.extract(r"\(0[12]\)([0-9]{8}|[0-9]{12,14})(?:\(|\x1d|$)"),
        text.str.extract(_BEFORE + "01([0-9]{14})"),
    )
    serial = pl.coalesce(
        text.str.extract(r"\(21\)([!-'*-~]{1,20})(?:\(|\x1d|$)"),
        pl.when(~text.str.contains(_GS, literal=True)).then(text.str.extract(_BEFORE + _UNCLOSED)),
        text.str.extract(_BEFORE + r"21([!-'*-~]{1,20})(?:\x1d|$)"),
    ).str.replace(_BACK, "")
    lot = pl.coalesce(
        text.str.extract(r"\(10\)([!-'*-~]{1,20})(?:\(|\x1d|$)"),
        text.str.extract(_BEFORE + r"10([!-'*-~]{1,60})(?:\x1d|$)"),
    ).fill_null("")
    more = text.str.len_chars() > pl.when(text.str.contains(r"\(0[12]\)")).then(4).otherwise(2) + number.str.len_chars()
    read = (
        pl.when(serial.is_not_null())
        .then(number.str.zfill(14) + "|" + serial)
        .when(more)
        .then(number.str.zfill(14) + "||" + lot.str.replace_all(r"\|", ""))
        .otherwise(number.str.zfill(14))
    )
    return pl.when(text.str.count_matches(r"\(01\)") <= 1, ~text.str.contains(r"^[0-9]{13,14}$")).then(read)


def _of_idcode(text: pl.Expr) -> pl.Expr:
    """`DI|SERIAL` or `DI||LOT` of IDcode (MA.156.M0.maker.product, then S serial, L lot, dates in any order)."""
    product = text.str.extract(r"^(MA\.156\.[0-9A-Z]+\.[0-9A-Z]+\.[0-9A-Z]+)(?:\.|$)")
    rest = text.str.extract(r"^MA\.156\.[0-9A-Z]+\.[0-9A-Z]+\.[0-9A-Z]+(\..*)$").fill_null("")
    serial = rest.str.extract(r"\.S([0-9A-Z_+*/]{1,40})(?:\.|$)")
    lot = rest.str.extract(r"\.L([0-9A-Z_+*/]{1,40})(?:\.|$)").fill_null("")
    return pl.when(serial.is_not_null()).then(product + "|" + serial).otherwise(product + "||" + lot)


def _of_hibc(text: pl.Expr) -> pl.Expr:
    """`DI|SERIAL` or `DI||LOT` of HIBC: +labeler product unit, then /$ lot, /$+ serial, /$$ or /$$+ with a date, /S.

    The check character is left on the last element, as one label gives one scan.
    """
    product = text.str.extract(r"^(\+[A-Z][0-9A-Z]{3}[0-9A-Z]{2,19})(?:/|$)")
    dated = r"/\$\$\+(?:2[0-9]{4}(?:[0-9]{2})?|[3-6][0-9]{5,8}|7|[01][0-9]{3})"
    serial = pl.coalesce(
        text.str.extract(r"/S([0-9A-Z.]{1,18})(?:/|$)"),
        text.str.extract(r"/\$\+([0-9A-Z.]{1,19})(?:/|$)"),
        text.str.extract(dated + r"([0-9A-Z.]{1,19})(?:/|$)"),
    )
    lot = text.str.extract(r"/\$\$?([0-9A-Z.]{1,30})(?:/|$)").fill_null("")
    return pl.when(serial.is_not_null()).then(product + "|" + serial).otherwise(product + "||" + lot)


def _gtin_ok(number: pl.Expr) -> pl.Expr:
    """Whether a GTIN, as text of digits only, has the right check digit (weights 3 and 1 from the right)."""
    value = number.cast(pl.Int64, strict=False)
    return (pl.sum_horizontal((value // 10**i) % 10 * (3 if i % 2 else 1) for i in range(14)) % 10 == 0).fill_null(
        False
    )


def reason(normal: pl.Expr) -> pl.Expr:
    """Why a normalised code cannot be one, a key of REASONS; null where its form is sound."""
    gtin = normal.str.extract(r"^([0-9]{14})\|")
    wrong = gtin.is_not_null() & ~_gtin_ok(gtin)
    form = normal.str.contains(r"^[0-9]{14}\|[^|]{1,20}$|^[0-9]{14}\|\||^(?:MA\.156\.|\+[A-Z])[^|]+\|[^|]{1,40}$")
    form |= normal.str.contains(r"^(?:MA\.156\.|\+[A-Z])[^|]+\|\|[^|]*$")
    tests = {name: normal.str.contains(pattern) for name, pattern in _BAD.items()}
    said = pl.coalesce(pl.when(test).then(pl.lit(name)) for name, test in tests.items())
    return pl.when(wrong).then(pl.lit("check_digit")).when(~form).then(said)


def classify(normal: pl.Expr) -> pl.Expr:
    """The class of a normalised code, one of CLASSES; null for blank.

    Placeholders are runs of one mark and the digits counted up or down, which are typed and never assigned. Barcodes
    are GTINs of 13 and 14 digits (a 本位码 among them), of 8 and 12 where the check digit is right. Codes whose form is
    that of no known issuer are other_issuer, for enterprises may define their own; only what cannot be a code is bad.
    """
    classes = {
        "placeholder": normal.str.contains(_RUNS) | normal.is_in(_COUNTED),
        "barcode": normal.str.contains(r"^[0-9]{13,14}$")
        | (normal.str.contains(r"^(?:[0-9]{8}|[0-9]{12})$") & _gtin_ok(normal)),
        "bad": reason(normal).is_not_null(),
        "lot_level": normal.str.contains("||", literal=True),
        "genuine": normal.str.contains(rf"^{_TWENTY}$"),
        "gs1": normal.str.contains(r"^[0-9]{14}\|"),
    }
    kind = pl.coalesce(pl.when(test).then(pl.lit(name)) for name, test in classes.items())
    return pl.when(normal.is_not_null()).then(pl.coalesce(kind, pl.lit("other_issuer"))).cast(CLASSES)


def why_unusable(normal: pl.Expr) -> pl.Expr:
    """Why a normalised code stands for no single pack, in words for a reader; null for one that may."""
    kind = classify(normal).cast(pl.String)
    because = reason(normal).replace_strict(REASONS, default=None, return_dtype=pl.String)
    known = kind.replace_strict(_UNUSABLE, default=None, return_dtype=pl.String)
    return pl.when(kind == "bad").then(because).otherwise(known)


def identifier(normal: pl.Expr) -> pl.Expr:
    """What names product and pack level in a usable code, as a number: the first seven digits, or the GTIN of GS1."""
    digits = pl.when(normal.str.contains("|", literal=True)).then(14).otherwise(7)
    return normal.str.slice(0, digits).cast(pl.UInt64, strict=False)


def parts(codes: pl.Expr) -> pl.Expr:
    """The single codes of a field that holds several, as a list of texts; null where that is not certain.

    Certain are codes of the common family one after the other, with or without , ; | / 、 or space between them, and
    GS1 codes with parentheses, each with its serial. A code that stands twice counts once.
    """
    text = codes.str.normalize("NFKC").str.replace_all(_NOISE, "").str.replace_all(_LABELS, "")
    common = pl.when(text.str.contains(_SEVERAL)).then(text.str.extract_all(_TWENTY))
    one = r"\(01\)[0-9]{14}(?:\([0-9]{2,4}\)[^(),;|、]+)*"
    of_gs1 = text.str.extract_all(one)
    whole = (
        text.str.contains(rf"^(?:{one}[,;|、]*){{2,}}$")
        & of_gs1.list.eval(pl.element().str.contains(r"\(21\)")).list.all()
    )
    found = pl.coalesce(common, pl.when(whole).then(of_gs1)).list.unique(maintain_order=True)
    return pl.when(found.list.len() > 1).then(found)
