"""How values are put before a reader: fen as exact yuan, hidden characters made visible, codes as safe file names."""

import hashlib
import re
import unicodedata

_NAME_BYTES = 120
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_HIDDEN = [
    *range(0x00, 0x09),
    0x0B,
    0x0C,
    *range(0x0E, 0x20),
    0x7F,
    *range(0x80, 0xA0),
    0xAD,
    0x061C,
    0xFEFF,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
]
_SHOWN = {point: f"⟦U+{point:04X}⟧" for point in _HIDDEN}


def yuan(fen: int | None) -> str:
    """Fen as yuan with thousands and two decimals, exactly: 123456 → "1,234.56". None is a dash."""
    if fen is None:
        return "—"
    whole, cents = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole:,}.{cents:02d}"


def visible(text: str) -> str:
    """The text with controls, zero-width characters and direction overrides spelt out, so that nothing can hide."""
    return text.translate(_SHOWN)


def clip(text: str, limit: int = 300) -> str:
    """The text, cut to `limit` characters and saying so."""
    return text if len(text) <= limit else f"{text[:limit]}…（共 {len(text)} 字）"


def file_name(code: str) -> str:
    """A file name (without ending) for an institution code: the code itself where it is harmless on every system,
    else its harmless part with a hash of the whole, so that two codes never share a name."""
    plain = re.sub(r"[^\w-]", "_", unicodedata.normalize("NFKC", code))
    plain = plain.encode()[:_NAME_BYTES].decode(errors="ignore")
    # Some file systems ignore case, so only codes without lower case may go unmarked.
    if plain == code == code.upper() and code and not _RESERVED.fullmatch(code):
        return code
    return f"{plain}-{hashlib.sha256(code.encode()).hexdigest()[:10]}"
