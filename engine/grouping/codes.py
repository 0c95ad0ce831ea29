"""Code lists of a scheme and how codes of claims are looked up in them.

Strings are compared only once per distinct code; everything after that is integer gathering. A list entry is a
whole code, or a prefix when it ends in `%` (the asterisk is taken: dual ICD codes such as A02.203+G01* end in one).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from engine.grouping.conditions import ListKey

PREFIX_MARK = "%"


@dataclass(frozen=True)
class CodeLists:
    """Several code lists: `keys` gives each its number; `entries` has columns list (Int64) and entry (String)."""

    keys: dict[ListKey, int]
    entries: pl.DataFrame

    @cached_property
    def _lookup(self) -> "Lookup":
        return Lookup(self.entries["entry"])

    def membership(self, codes: pl.Series) -> np.ndarray:
        """Boolean array [list, code]: is the code in the list. A last column, all false, stands for no code."""
        member = np.zeros((len(self.keys), len(codes) + 1), dtype=bool)
        pairs = self._lookup.pairs(codes)
        member[self.entries["list"].to_numpy()[pairs["entry"].to_numpy()], pairs["code"].to_numpy()] = True
        return member


class Lookup:
    """Finds which entries (whole codes and prefixes) match which codes."""

    def __init__(self, entries: pl.Series):
        numbered = pl.DataFrame({"text": entries}).with_row_index("entry")
        is_prefix = pl.col("text").str.ends_with(PREFIX_MARK)
        cut = numbered.filter(is_prefix).with_columns(pl.col("text").str.strip_suffix(PREFIX_MARK))
        lengths = cut["text"].str.len_chars()
        self._whole = numbered.filter(~is_prefix)
        self._prefixes = {length: cut.filter(lengths == length) for length in lengths.unique().sort()}

    def pairs(self, codes: pl.Series) -> pl.DataFrame:
        """Row numbers (code, entry) of every match, shorter prefixes first and whole codes last."""
        numbered = pl.DataFrame({"text": codes}).with_row_index("code")
        cut = [
            numbered.with_columns(pl.col("text").str.slice(0, length)).join(part, on="text").select("code", "entry")
            for length, part in self._prefixes.items()
        ]
        return pl.concat([*cut, numbered.join(self._whole, on="text").select("code", "entry")])


def stems(entries: pl.Series) -> pl.Series:
    """Entries without the mark of a prefix."""
    return entries.str.strip_suffix(PREFIX_MARK)


def covered(entries: pl.Series, others: pl.Series) -> pl.DataFrame:
    """Row numbers (entry, other) where every code of the entry is a code of the other."""
    pairs = Lookup(others).pairs(stems(entries)).select(entry="code", other="entry")
    narrower = entries.str.ends_with(PREFIX_MARK).gather(pairs["entry"]) & ~others.str.ends_with(PREFIX_MARK).gather(
        pairs["other"]
    )
    return pairs.filter(~narrower)


def touching(entries: pl.Series, others: pl.Series) -> pl.DataFrame:
    """Row numbers (entry, other) where some code may be in both: a prefix touches every code that begins with it."""
    one = Lookup(others).pairs(stems(entries)).select(entry="code", other="entry")
    back = Lookup(entries).pairs(stems(others)).select("entry", other="code")
    return pl.concat([one, back]).unique()


def encode(codes: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Each code as the number of its place in the sorted distinct codes, and those distinct codes."""
    distinct = codes.unique(maintain_order=True).sort()
    return codes.cast(pl.Enum(distinct)).to_physical().to_numpy(), distinct


def cleaned(codes: pl.Series, normalise: bool) -> pl.Series:
    """Codes without surrounding blanks; when asked, also in the national spelling.

    That is half-width capital letters (but a small x before an extension), a plus between the two halves of a dual
    code (A17.001†G01* -> A17.001+G01*), the dot where it was left out (I63900 -> I63.900), and the extension of a
    category or subcategory written short: I63.9 -> I63.900, I10 -> I10.x00, 51.23 -> 51.2300.
    """
    codes = codes.str.strip_chars()
    if not normalise:
        return codes
    return (
        codes.str.normalize("NFKC")
        .str.replace_all(r"\s", "")
        .str.to_uppercase()
        .str.replace(r"^([^†+]+)(?:†\+?|/)([A-Z]\d\d[^†]*\*)$", "${1}+${2}")
        .str.replace(r"^([A-Z]\d\d)(\d+(?:X\d+)?)$", "${1}.${2}")
        .str.replace(r"^(\d\d)(\d+(?:X\d+)?)$", "${1}.${2}")
        .str.replace_all(r"([.\d])X", "${1}x")
        .str.replace(r"^([A-Z]\d\d)$", "${1}.x00")
        .str.replace(r"^([A-Z]\d\d\.\d)$", "${1}00")
        .str.replace(r"^(\d\d\.\d)$", "${1}x00")
        .str.replace(r"^(\d\d\.\d\d)$", "${1}00")
    )
