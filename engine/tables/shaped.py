"""What comes out of shaping a chunk of source rows, and the settings under which one file is shaped."""

from dataclasses import dataclass, field

import polars as pl

from engine.tables import reasons
from engine.tables.profiles import FileMap, Profile

QUOTE_LIMIT = 200  # warnings quoted per chunk, column and code; the counts are complete


@dataclass
class Shaped:
    """Typed frames per canonical table (each row with `_line`), rejects, warnings, warning counts, unmapped words."""

    tables: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    rejects: list[pl.DataFrame] = field(default_factory=list)
    warnings: list[pl.DataFrame] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    unmapped: list[pl.DataFrame] = field(default_factory=list)

    def warn(self, rows: pl.DataFrame, file: str, column: str | None, code: str, raw: pl.Expr) -> None:
        if rows.height:
            self.counts[code] = self.counts.get(code, 0) + rows.height
            self.warnings.append(reasons.issues(rows.head(QUOTE_LIMIT), file, column, code, raw))

    def reject(self, rows: pl.DataFrame, file: str, column: str | None, code: str, raw: pl.Expr) -> None:
        if rows.height:
            self.rejects.append(reasons.issues(rows, file, column, code, raw))


@dataclass(frozen=True)
class Setting:
    """One file: how it is mapped, `name` as shown, `stem` for row keys, `words` of the region by field and wording."""

    file: FileMap
    profile: Profile
    name: str
    stem: str
    words: dict[str, dict[str, str]]
