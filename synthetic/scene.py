"""What a planting function sees and returns: clean claims to choose from, and whole rows to put in their place."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from synthetic.claims import DAY, MINUTE, STAYS, Batch, fen
from synthetic.world import World


@dataclass
class Changes:
    """Whole rows that replace those of the same key (claim, line, person) or are new; and what is true of them.

    truth: case, claim, line (null for a whole claim), amount in fen at risk (null: what the fund pays of the claim).
    """

    claims: pl.DataFrame | None = None
    lines: pl.DataFrame | None = None
    diagnoses: pl.DataFrame | None = None
    people: pl.DataFrame | None = None
    truth: pl.DataFrame | None = None


@dataclass
class Scene:
    """Clean claims, of which every one is used for at most one case."""

    world: World
    batch: Batch
    rng: np.random.Generator
    taken: np.ndarray = field(init=False)
    next_line: int = field(init=False)
    next_claim: int = field(init=False)

    def __post_init__(self):
        people = self.batch.people.select("person", "gend", "brdy")
        self.claims = self.batch.claims.filter(~pl.col("self_paid")).join(people, on="person", maintain_order="left")
        self.taken = np.zeros(self.batch.claims.height, bool)
        self.next_line, self.next_claim = self.batch.lines.height, self.batch.claims.height

    def stays(self, *where: pl.Expr) -> pl.DataFrame:
        """Ordinary stays of insured people that are free."""
        return self.free(self.claims.filter(pl.col("kind") == "inpatient", *where))

    def visits(self, *where: pl.Expr) -> pl.DataFrame:
        """General outpatient visits of insured people that are free."""
        return self.free(self.claims.filter(pl.col("kind") == "general_outpatient", *where))

    def lines_of(self, claims: pl.DataFrame, *where: pl.Expr, items: list[int] | None = None) -> pl.DataFrame:
        """The lines of these claims (with these items), with `day`, counted from the day the visit began."""
        lines = self.batch.lines if items is None else self.batch.lines.filter(pl.col("item").is_in(items))
        of = claims.select("claim", "begntime", "endtime", "los", "level")
        day = (pl.col("time").dt.date() - pl.col("begntime").dt.date()).dt.total_days().alias("day")
        return lines.join(of, on="claim", maintain_order="left").with_columns(day).filter(*where)

    def charged(self, code: str, claims: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The lines of these claims with that item."""
        return self.lines_of(claims, *where, items=[self.world.item(code)])

    def without(self, code: str, claims: pl.DataFrame) -> pl.DataFrame:
        """The claims that have no line with that item."""
        having = self.batch.lines.filter(pl.col("item") == self.world.item(code))["claim"].unique()
        return claims.filter(~pl.col("claim").is_in(having.implode()))

    def free(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(~pl.Series(self.taken[rows["claim"].to_numpy()]))

    def choose(self, rows: pl.DataFrame, count: int) -> pl.DataFrame:
        """So many of the rows at random, each of another claim, which is then no longer free."""
        rows = rows[self.rng.permutation(rows.height)].unique("claim", keep="first", maintain_order=True).head(count)
        self.taken[rows["claim"].to_numpy()] = True
        return rows

    def copies(self, lines: pl.DataFrame, **columns: pl.Expr | pl.Series) -> pl.DataFrame:
        """New lines like these, but for the columns given; the order keeps its distance from the time of execution."""
        number = pl.int_range(self.next_line, self.next_line + lines.height, dtype=pl.Int64)
        self.next_line += lines.height
        new = lines.with_columns(number.alias("line"), (pl.col("time") - pl.col("order_time")).alias("lag"), **columns)
        return as_lines(new.with_columns((pl.col("time") - pl.col("lag")).alias("order_time")))

    def new_lines(
        self, claims: pl.DataFrame, code: str, day: int | np.ndarray = 0, cnt: int | np.ndarray = 1
    ) -> pl.DataFrame:
        """A new line with that item for each of the claims, at an hour of that day of the visit, at the clean price."""
        count, item = claims.height, self.world.item(code)
        begin, end = (claims[name].to_physical().to_numpy() for name in ("begntime", "endtime"))
        stay = claims["kind"].is_in(STAYS).to_numpy()
        first = begin + np.where(stay, self.rng.integers(5, 300, count), self.rng.integers(4, 14, count)) * MINUTE
        later = (begin // DAY + day) * DAY + self.rng.integers(7 * 60, 21 * 60, count) * MINUTE
        time = np.where(np.asarray(day) > 0, later, np.minimum(first, begin // DAY * DAY + DAY - MINUTE))
        price = self.world.price[claims["level"].cast(pl.Int64).to_numpy(), item]
        rows = claims.select("claim").with_columns(
            item=pl.lit(item, pl.Int64),
            cnt=pl.Series(np.broadcast_to(cnt, count).astype(np.int64)),
            micro=pl.Series(price),
            time=pl.Series(time).cast(pl.Datetime("us")),
            order_time=pl.Series(time - self.rng.integers(0, 60, count) * MINUTE).cast(pl.Datetime("us")),
            leave=pl.lit(False),
            reverses=pl.lit(None, pl.Int64),
            amount=pl.lit(0, pl.Int64),
        )
        return self.copies(rows)

    def reversals(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Lines that take these back a few minutes later."""
        minutes = pl.duration(minutes=pl.Series(self.rng.integers(1, 6, lines.height)))
        return self.copies(lines, cnt=-pl.col("cnt"), time=pl.col("time") + minutes, reverses=pl.col("line"))

    def copy_claims(self, claims: pl.DataFrame, **columns: pl.Expr | pl.Series) -> pl.DataFrame:
        """New claims like these, but for the columns given."""
        number = pl.int_range(self.next_claim, self.next_claim + claims.height, dtype=pl.Int64)
        self.next_claim += claims.height
        return self.as_claims(claims.with_columns(number.alias("claim"), **columns))

    def as_claims(self, claims: pl.DataFrame) -> pl.DataFrame:
        return claims.select(self.batch.claims.columns)


def as_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines with their amount computed anew from count and price, and no other columns."""
    amount = fen(lines["cnt"].to_numpy(), lines["micro"].to_numpy())
    return lines.with_columns(pl.Series("amount", amount)).select(
        "line", "claim", "item", "cnt", "micro", "amount", "time", "order_time", "leave", "reverses"
    )


def cases(rows: pl.DataFrame, amount: pl.Expr | None = None, case: pl.Expr | None = None) -> pl.DataFrame:
    """Truth rows: one case for each row (or by `case`); a row without a line speaks of a whole claim."""
    line = pl.col("line") if "line" in rows.columns else pl.lit(None, pl.Int64)
    case = pl.int_range(pl.len(), dtype=pl.Int64) if case is None else case
    amount = (pl.col("amount") if "amount" in rows.columns else pl.lit(None, pl.Int64)) if amount is None else amount
    return rows.select(case.alias("case"), "claim", line.alias("line"), amount.cast(pl.Int64).alias("amount"))


def share_of(units: pl.Expr | pl.Series) -> pl.Expr:
    """That many units' part of a line's amount, in whole fen, half up."""
    product, count = 2 * pl.col("amount") * units, pl.col("cnt")
    return (product + count) // (2 * count)
