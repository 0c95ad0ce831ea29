"""Facts of codes and of codes at sites, for rules to judge.

`read_bucket` takes the tables of one bucket. `code_site_facts` and `code_facts` here, `fee_line_facts` in `lines` and
the functions of `patterns` each give `Facts`: `cases`, one row per case with the fields listed in FACTS, and
`events()`, the sales behind the cases that were hit, from which evidence is written.
Every parameter has the default of the reference; a rule passes its own.
"""

from dataclasses import dataclass

import polars as pl

from engine.tables.dictionary import table
from engine.tracing.events import TOLERANCE_MINUTES, Cancelled, Events, id_of, read_events
from engine.tracing.evidence import Facts, quantity, suspect_fund, tell_sales
from engine.tracing.packs import ancestors, capacities
from engine.tracing.travel import hops, site_table, with_group
from engine.tracing.words import FACTS

__all__ = ["FACTS", "Bucket", "Facts", "code_facts", "code_site_facts", "read_bucket", "sales_of"]


@dataclass(frozen=True)
class Bucket:
    """The events of a bucket of codes with what is known of packs, sites and fee lines. `sales` have a `capacity`."""

    events: Events
    sales: pl.DataFrame
    sites: pl.DataFrame
    above: pl.DataFrame
    fee_lines: pl.DataFrame
    drug_identifiers: pl.DataFrame

    def tell(self, sales: pl.DataFrame) -> pl.DataFrame:
        """Sales with their texts and money."""
        return tell_sales(sales, self.events.rows, self.fee_lines).select("case", *FACTS["event"])


def read_bucket(
    trace_codes: pl.DataFrame,
    drug_identifiers: pl.DataFrame | None = None,
    pack_relations: pl.DataFrame | None = None,
    institutions: pl.DataFrame | None = None,
    chains: pl.DataFrame | None = None,
    fee_lines: pl.DataFrame | None = None,
    cancelled: Cancelled | None = None,
    tolerance_minutes: int = TOLERANCE_MINUTES,
) -> Bucket:
    """One bucket of codes, read. Of the tables only trace_codes must be there; what rests on another is then unknown.

    All rows of a code and of its parent packs must be in the bucket (see packs.family_keys). `cancelled` names
    settlements and fee lines that were reversed as a whole.
    """
    drug_identifiers = _or_empty(drug_identifiers, "drug_identifiers")
    events = read_events(trace_codes, cancelled, tolerance_minutes)
    sales = events.sales.join(capacities(events.sales, drug_identifiers), on="key", how="left", maintain_order="left")
    return Bucket(
        events,
        sales,
        site_table(institutions, chains),
        ancestors(_or_empty(pack_relations, "pack_relations")),
        _or_empty(fee_lines, "fee_lines"),
        drug_identifiers,
    )


def _or_empty(frame: pl.DataFrame | None, name: str) -> pl.DataFrame:
    return table(name).schema.to_frame() if frame is None else frame


def code_site_facts(bucket: Bucket) -> Facts:
    """One row per code and site with a standing sale. A code sold there once has no excess, whatever its capacity."""
    pack = ["key", "site"]
    sales = _with_papers(_with_excess(bucket.sales, pack), bucket)
    cases = _cases(sales, pack)
    own = sales.join(cases.select("case", *pack), on=pack)
    return Facts(_told(bucket, cases, own, "code_site"), sales_of(own), bucket.tell)


def code_facts(
    bucket: Bucket,
    *,
    tolerance_minutes: int = 10,
    speed: int = 120,
    fast_speed: int = 900,
    far_km: int = 800,
    near_km: int = 2,
) -> Facts:
    """One row per code with a standing sale, over all sites.

    Speeds are km/h, `fast_speed` beyond `far_km`; nearer than `near_km` travel says nothing. A gap of days counts
    between sites that are not of one chain. Sales of parent packs stand among the events with role `parent`.
    """
    sales = _with_papers(_with_excess(bucket.sales, ["key"]), bucket)
    cases = _cases(sales, ["key"])
    way = hops(
        sales,
        bucket.sites,
        tolerance_minutes=tolerance_minutes,
        speed=speed,
        fast_speed=fast_speed,
        far_km=far_km,
        near_km=near_km,
    )
    cases = cases.join(_ways(way), on="key", how="left", maintain_order="left")
    cases = cases.join(_families(bucket), on="key", how="left", maintain_order="left")
    cases = cases.with_columns(pl.col("parents_sold", "parents_with_it", "parents_at_site").fill_null(0))
    own = sales.join(cases.select("case", "key"), on="key")
    related = cases.filter(pl.col("parents_sold") > 0).select("case", "key").join(bucket.above, on="key")
    parents = related.select("case", key="ancestor").join(bucket.sales, on="key")
    behind = pl.concat([sales_of(own), sales_of(parents, role="parent")])
    return Facts(_told(bucket, cases, own, "code"), behind, bucket.tell)


def _with_excess(sales: pl.DataFrame, pack: list[str]) -> pl.DataFrame:
    """Sales with the excess of their pack, their own part of it, and whether the pack has several sales.

    Excess is cut from the latest sale first. What the first sale took is never excess: a capacity below it is a fault
    of the tables. Sales of one pack stay together, in their order.
    """
    sales = sales.with_columns(several=_duplicated(pack))
    known = pl.col("capacity").is_not_null()
    once = sales.filter(~pl.col("several")).with_columns(
        excess=pl.when(known).then(pl.lit(0, pl.Int64)), own_excess=pl.lit(0, pl.Int64)
    )
    allowed = pl.max_horizontal("capacity", pl.col("units").first().over(pack))
    often = sales.filter("several").with_columns(
        excess=pl.when(known).then((pl.col("units").sum().over(pack) - allowed).clip(0)),
        later=pl.col("units").cum_sum(reverse=True).over(pack) - pl.col("units"),
    )
    own = pl.min_horizontal((pl.col("excess") - pl.col("later")).clip(0), "units").fill_null(0)
    return pl.concat([once, often.with_columns(own_excess=own).drop("later")])


def _with_papers(sales: pl.DataFrame, bucket: Bucket) -> pl.DataFrame:
    """Sales with what may explain a second one: `uninsured` (paid by the person, or known of no settlement), `rx` and
    `visit` (hashes), `group` (chain of the site)."""
    silent = pl.col("hi_feesetl_type").is_null() & pl.col("mdtrt_setl_type").is_null() & pl.col("setl_id").is_null()
    said = bucket.events.rows.select("self_pay", "hi_feesetl_type", "mdtrt_setl_type", "setl_id", "rxno", "mdtrt_id")
    said = said[sales["row"]].select(
        uninsured=pl.col("self_pay") | silent, rx=id_of("rxno"), visit=id_of("mdtrt_id")
    )  # fmt: skip
    return with_group(pl.concat([sales, said], how="horizontal"), bucket.sites)


def _duplicated(columns: list[str]) -> pl.Expr:
    return (pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns)).is_duplicated()


def _cases(sales: pl.DataFrame, pack: list[str]) -> pl.DataFrame:
    """One row per pack, numbered in order of their keys. Only packs with several sales are grouped."""
    lone = pl.lit(1, pl.Int64)
    has_person = pl.col("person").is_not_null().cast(pl.Int64)
    ends = {"first_time": "time", "last_time": "time", "excess_units": "excess"}
    kept = ["row", "units", "capacity", "content", "pack_level"]
    once = sales.filter(~pl.col("several")).select(
        *pack,
        *kept,
        **ends,
        sales=lone,
        sites=lone,
        settlements=lone,
        persons=has_person,
        same_person_settlements=has_person,
        split_sales=pl.col("split").fill_null(False).cast(pl.Int64),
        uninsured_sales=pl.col("uninsured").cast(pl.Int64),
        chains=lone,
        same_prescription=pl.lit(0, pl.Int64),
        same_person_visits=pl.lit(None, pl.Int64),
    )
    often = sales.filter("several")
    grouped = often.group_by(pack, maintain_order=True).agg(
        pl.col("row", "capacity", "content", "pack_level").first(),
        pl.col("units").sum(),
        first_time=pl.col("time").first(),
        last_time=pl.col("time").last(),
        excess_units=pl.col("excess").first(),
        sales=pl.len().cast(pl.Int64),
        sites=pl.col("site").n_unique().cast(pl.Int64) if "site" not in pack else lone,
        settlements=pl.col("doc").n_unique().cast(pl.Int64),
        persons=pl.col("person").drop_nulls().n_unique().cast(pl.Int64),
        split_sales=pl.col("split").sum().cast(pl.Int64),
        uninsured_sales=pl.col("uninsured").sum().cast(pl.Int64),
        chains=pl.col("group").n_unique().cast(pl.Int64),
        same_prescription=_shared("rx") & _shared("person"),
    )
    grouped = grouped.with_columns(pl.col("same_prescription").cast(pl.Int64))
    grouped = grouped.join(_same_person(often, pack), on=pack, how="left")
    grouped = grouped.with_columns(pl.col("same_person_settlements").fill_null(0))
    return pl.concat([once, grouped.select(once.columns)]).sort(pack).with_row_index("case")


def _same_person(often: pl.DataFrame, pack: list[str]) -> pl.DataFrame:
    """The most settlements one person has of each pack, and of how many visits these are; null where one is unknown."""
    visits = pl.when(pl.col("visit").is_not_null().all()).then(pl.col("visit").n_unique().cast(pl.Int64))
    each = often.filter(pl.col("person").is_not_null()).group_by(*pack, "person")
    each = each.agg(pl.col("doc").n_unique().cast(pl.Int64), visits=visits)
    most = each.filter(pl.col("doc") == pl.col("doc").max().over(pack))
    return most.group_by(pack).agg(
        same_person_settlements=pl.col("doc").first(),
        same_person_visits=pl.when(pl.col("visits").is_not_null().all()).then(pl.col("visits").max()),
    )


def _shared(column: str) -> pl.Expr:
    """Whether all sales of a group are known to have the same."""
    return (pl.col(column).n_unique() == 1) & pl.col(column).is_not_null().all()


def _ways(way: pl.DataFrame) -> pl.DataFrame:
    """The hops of each code in one row."""
    far = way.filter("outside").sort("key", "gap_minutes", "time", "site", descending=[False, True, False, False])
    longest = far.group_by("key", maintain_order=True).agg(
        longest_gap_days=(pl.col("gap_minutes") // 1440).first(), resale_site_row=pl.col("row").first()
    )
    all_ways = way.group_by("key").agg(
        shortest_gap_minutes=pl.col("gap_minutes").filter(pl.col("other_district")).min(),
        travel_shortfall_minutes=pl.col("shortfall_minutes").max().cast(pl.Int64),
        travel_km=pl.col("km").max().round(1).cast(pl.Decimal(8, 1)),
    )
    return all_ways.join(longest, on="key", how="left")


def _families(bucket: Bucket) -> pl.DataFrame:
    """Codes with a parent pack that was sold too: how many such parents, how many of them in a settlement and at a site
    of the code, and what all exceed the largest parent by."""
    family = pl.concat([bucket.above["key"], bucket.above["ancestor"]]).unique()
    sales = bucket.sales.filter(pl.col("key").is_in(family.implode()))
    sold = sales.group_by("key").agg(pl.col("units").sum(), pl.col("capacity").first())
    pairs = bucket.above.join(sold, on="key").join(sold, left_on="ancestor", right_on="key", suffix="_parent")
    together = pl.col("units").first() + pl.col("units_parent").sum() - pl.col("capacity_parent").max()
    found = pairs.group_by("key").agg(parents_sold=pl.len(), family_excess=together.clip(0))
    for name, by in (("parents_with_it", "doc"), ("parents_at_site", "site")):
        where = sales.select("key", by).unique()
        met = pairs.select("key", "ancestor").join(where, on="key").join(where, left_on=["ancestor", by],
                                                                         right_on=["key", by], how="semi")  # fmt: skip
        met = met.group_by("key").agg(pl.col("ancestor").n_unique().alias(name))
        found = found.join(met, on="key", how="left")
    return found


def sales_of(own: pl.DataFrame, role: str | None = None) -> pl.DataFrame:
    """Sales behind cases as `Facts` keeps them; with a role of their own they have no part in the excess."""
    excess = pl.col("own_excess") if role is None else pl.lit(0, pl.Int64)
    word = pl.when(excess > 0).then(pl.lit("excess")).otherwise(pl.lit(role or "basis"))
    return own.select("case", "row", "units", own_excess=excess, role=word)


def _told(bucket: Bucket, cases: pl.DataFrame, own: pl.DataFrame, scope: str) -> pl.DataFrame:
    """Cases with the fields of their scope in FACTS, and `case`; texts are fetched from the rows they stand in."""
    wanted = FACTS[scope]
    excess = bucket.tell(sales_of(own.filter(pl.col("own_excess") > 0)))
    cases = cases.join(excess.group_by("case").agg(suspect_fund()), on="case", how="left", maintain_order="left")
    if "site_type" in wanted:
        kinds = bucket.sites.select("site", "site_type")
        cases = cases.join(kinds, on="site", how="left", maintain_order="left")
    cases = cases.with_columns(
        suspect_fund=pl.when(pl.col("excess_units") == 0).then(pl.lit(0, pl.Int64)).otherwise("suspect_fund")
    )
    numbers = [quantity(name) for name, (kind, _) in wanted.items() if kind.startswith("decimal(16,4)")]
    counts = [pl.col(name).cast(pl.Int64) for name, (kind, _) in wanted.items() if kind.rstrip("?") == "int"]
    sources = {
        "code": ("code", "row"), "code_class": ("code_class", "row"), "med_list_codg": ("med_list_codg", "row"),
        "fixmedins_code": ("fixmedins_code", "row"), "first_site": ("fixmedins_code", "row"),
        "first_person": ("psn_no", "row"), "resale_site": ("fixmedins_code", "resale_site_row"),
    }  # fmt: skip
    texts = [
        bucket.events.rows[column].gather(cases[row]).cast(pl.String).alias(name)
        for name, (column, row) in sources.items()
        if name in wanted
    ]
    return cases.with_columns(*numbers, *counts, *texts).select("case", *wanted)
