"""Two schemes side by side: which groups differ, which codes move, and how records fare under both."""

from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from engine.grouping.codes import PREFIX_MARK, Lookup, stems
from engine.grouping.conditions import DX_ROLES
from engine.grouping.scheme_files import CODES, Tables

LEVEL_NAMES = ("mdc", "adrg", "drg")
EXAMPLES = 3
PARENTS = {"mdc": (), "adrg": ("mdc", "kind"), "drg": ("adrg",)}
ORDERS = {"mdc": ("order", None), "adrg": ("order", "mdc"), "drg": ("order_in_adrg", "adrg")}
GROUPS = dict.fromkeys(("table", "code", "what", "a", "b", "change"), pl.String)
OWNERS = {"mdc_codes": "mdc", "adrg_codes": "adrg", "cc": "level", "exclusions": "exclusion_id",
          "proc_valid": pl.lit("valid")}  # fmt: skip
NONE = "—"  # in no list, in no group


def groups(a: Tables, b: Tables) -> pl.DataFrame:
    """table, code, what, a, b: one row per difference of an MDC, ADRG or DRG.

    what: only_a, only_b (the name stands in its column), else name, condition, kind, the group above, order (place
    among the groups that both schemes have under the same one), weight (with `change`, b less a, as text; only where
    both schemes give weights).
    """
    found = [frame for table in LEVEL_NAMES for frame in _differences(table, a, b)]
    found += [_weights(a, b)] if "weights" in a and "weights" in b else []
    return pl.concat([pl.DataFrame(schema=GROUPS), *found], how="diagonal").sort("table", "code", "what")


def _differences(table: str, a: Tables, b: Tables) -> list[pl.DataFrame]:
    columns = ["name", "condition", *PARENTS[table]]
    left, right = (_placed(tables, table, other) for tables, other in ((a, b), (b, a)))
    lone = [
        one.join(other, on=table, how="anti").select(code=table, what=pl.lit(what), **{side: "name"})
        for one, other, what, side in ((left, right, "only_a", "a"), (right, left, "only_b", "b"))
    ]
    both = left.join(right, on=table, suffix="_b")
    told = [
        both.filter(pl.col(c).ne_missing(pl.col(f"{c}_b"))).select(code=table, what=pl.lit(c), a=c, b=f"{c}_b")
        for c in (*columns, "order")
    ]
    return [frame.with_columns(table=pl.lit(table)) for frame in (*lone, *told)]


def _placed(tables: Tables, table: str, other: Tables) -> pl.DataFrame:
    """The groups with conditions in one spelling, and `order` counted among those that the other scheme has too."""
    column, above = ORDERS[table]
    shared = pl.col(table).is_in(other[table][table].implode())
    rank = pl.when(shared).then(pl.col(column).cast(pl.Int64)).rank("ordinal").cast(pl.Int64)
    order = (rank.over(above, shared) if above else rank).cast(pl.String)
    condition = pl.col("condition").replace("none", "")
    return tables[table].select(table, "name", condition, *PARENTS[table], order=pl.when(shared).then(order))


def _weights(a: Tables, b: Tables) -> pl.DataFrame:
    left, right = (tables["weights"].select("drg", "weight") for tables in (a, b))
    both = left.join(right, on="drg", how="full", coalesce=True, suffix="_b")
    exact = pl.col("weight", "weight_b").str.to_decimal(scale=8)
    both = both.with_columns(exact.name.prefix("_"))
    change = (pl.col("_weight_b") - pl.col("_weight")).cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".")
    return both.filter(pl.col("_weight").ne_missing(pl.col("_weight_b"))).select(
        table=pl.lit("drg"), code="drg", what=pl.lit("weight"), a="weight", b="weight_b", change=change
    )


# Codes


def moves(a: Tables, b: Tables) -> pl.DataFrame:
    """list, a, b, codes, examples: codes that stand in lists of other owners in b than in a, the largest first.

    Prefix entries are asked for every code that either scheme writes out, so two spellings of the same list agree.
    `a` and `b` name the owners (MDC, ADRG, CC or MCC, exclusion table, valid) that only one of the two has. Numbers of
    exclusion tables are names like any other: only those that both schemes use are compared.
    """
    told = (
        pl.concat([_owned(name, column, a, b) for name, column in CODES])
        .group_by("list", "a", "b")
        .agg(codes=pl.len().cast(pl.Int64), examples=pl.col("code").sort().head(EXAMPLES).str.join("、"))
    )
    return told.sort(["codes", "list", "a", "b"], descending=[True, False, False, False])


def _owned(name: str, column: str, a: Tables, b: Tables) -> pl.DataFrame:
    if name == "exclusions":
        a, b = ({**one, name: one[name].join(other[name], on="exclusion_id", how="semi")} for one, other in
                ((a, b), (b, a)))  # fmt: skip
    universe = _written(pl.concat([t[name][column] for t in (a, b)]).unique().sort())
    left, right = (_owners(name, t[name], t[name][column], universe) for t in (a, b))
    gone, come = (one.join(other, on=["list", "code", "owner"], how="anti") for one, other in
                  ((left, right), (right, left)))  # fmt: skip
    gone, come = (frame.group_by("list", "code").agg(pl.col("owner").sort().str.join("、")) for frame in (gone, come))
    both = gone.join(come, on=["list", "code"], how="full", coalesce=True, suffix="_b")
    return both.select("list", "code", a=pl.col("owner").fill_null(NONE), b=pl.col("owner_b").fill_null(NONE))


def _written(entries: pl.Series) -> pl.Series:
    """The codes to compare by: whole codes, and what stands before the mark of a prefix where no whole code has it."""
    is_prefix = entries.str.ends_with(PREFIX_MARK)
    whole, prefixes = entries.filter(~is_prefix), entries.filter(is_prefix)
    spelt_out = Lookup(prefixes).pairs(whole)["entry"].unique()
    bare = prefixes.to_frame("e").with_row_index().filter(~pl.col("index").is_in(spelt_out.implode()))["e"]
    return pl.concat([whole, stems(bare)]).unique().sort()


def _owners(name: str, table: pl.DataFrame, entries: pl.Series, universe: pl.Series) -> pl.DataFrame:
    """list, code, owner of every code that an entry of the table takes."""
    pairs = Lookup(entries).pairs(universe)
    rows = table[pairs["entry"]].with_columns(_code=universe.gather(pairs["code"]))
    kind = pl.lit(name)
    if name == "adrg_codes":
        kind = pl.when(pl.col("list_kind").is_in(DX_ROLES)).then(pl.lit("adrg_dx")).otherwise(pl.lit("adrg_proc"))
    if name == "cc":  # the longest entry counts, and comes last
        rows = rows.unique("_code", keep="last", maintain_order=True)
    return rows.select(list=kind, code="_code", owner=OWNERS[name]).unique()


# Records


def agreement(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """level, stays, same, percent (two decimals, half-up): how often two groupings of the same stays give one group.

    Both have mdc, adrg, drg in the same order of stays; a stay that neither could judge is the same.
    """
    rows = []
    for level in LEVEL_NAMES:
        same = int(a[level].fill_null(NONE).eq(b[level].fill_null(NONE)).sum())
        rows.append((level, len(a), same, percent(same, len(a))))
    schema = {"level": pl.String, "stays": pl.Int64, "same": pl.Int64, "percent": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def percent(part: int, whole: int) -> str | None:
    """Hundred times part over whole, two decimals, half-up; None of nothing."""
    return str((Decimal(100 * part) / whole).quantize(Decimal("0.01"), ROUND_HALF_UP)) if whole else None


def flows(a: pl.DataFrame, b: pl.DataFrame, level: str = "adrg") -> pl.DataFrame:
    """a, b, stays: from which group to which the stays that differ move, the largest first."""
    pairs = pl.DataFrame({"a": a[level].fill_null(NONE), "b": b[level].fill_null(NONE)})
    moved = pairs.filter(pl.col("a") != pl.col("b")).group_by("a", "b").agg(stays=pl.len().cast(pl.Int64))
    return moved.sort(["stays", "a", "b"], descending=[True, False, False])
