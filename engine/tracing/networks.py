"""Who bought packs that came back elsewhere, and where: persons and institutions joined by the codes between them.

Of each code that was sold again outside the chain of its first sale the first buyer is tied to the first site and to
the site of the resale, and the later buyer to that site too. A tie joins only where several codes lie between a person
and an institution; and a place where very many persons bought first is no bond between them, since everybody buys
there. What was cut is told beside what joins. A network is a lead: it says who to look at together, and no more.
"""

import hashlib

import polars as pl

from engine.tracing.events import id_of
from engine.tracing.evidence import Facts
from engine.tracing.travel import with_group

# No published figure says from where on a tie is more than chance; every network is told with the values it rests on.
# A person whose one box came back elsewhere may have lost or given it away, and one such box joins whoever met it to
# everybody else: two boxes on the same way are the least that repeat, which chance seldom does.
MIN_CODES = 2
# All who bought first at a busy pharmacy would be one network through it, though nothing joins them but the shop.
# Thirty such persons are more than a household, a ward or a crew of hired buyers that works together, and fewer than
# the regular customers of any shop; ties of resales and later purchases join at any place, however busy.
MAX_FIRST_BUYERS = 30
_PAIR = ["psn_no", "fixmedins_code"]
_KINDS = ("first", "resold", "later")
TIES = {"code": pl.String, "kind": pl.String, "psn_no": pl.String, "fixmedins_code": pl.String,
        "time": pl.Datetime("us"), "suspect_fund": pl.Int64}  # fmt: skip


def resale_ties(codes: Facts, named: pl.Series, sites: pl.DataFrame) -> pl.DataFrame:
    """One row per code, tie and sale: code, kind, psn_no, fixmedins_code, time, suspect_fund.

    codes: the facts of codes; named: the codes findings speak of; sites: the table of sites with their chains.
    Kinds: `first`, who bought the code first and where; `resold`, the same person and where it was sold again beyond
    its content; `later`, who bought it there. The money stands on `resold`. psn_no is null where a sale names nobody.
    """
    again = pl.col("resale_site").is_not_null() & (pl.col("excess_units") > 0)
    cases = codes.cases.filter(again & pl.col("code").is_in(named.implode()))
    told = codes.events(cases["case"]).filter(pl.col("role") != "parent")
    told = with_group(told.with_columns(site=id_of("fixmedins_code")), sites)
    said = ["psn_no", "fixmedins_code", "time", "group"]
    first = told.group_by("case", maintain_order=True).agg(pl.col(said).first().name.prefix("first_"))
    resales = told.filter(pl.col("role") == "excess").join(first, on="case")
    resales = resales.filter(pl.col("group") != pl.col("first_group"))
    firsts = resales.unique("case", keep="any").select(
        "code", kind=pl.lit("first"), psn_no="first_psn_no", fixmedins_code="first_fixmedins_code", time="first_time",
        suspect_fund=pl.lit(None, pl.Int64),
    )  # fmt: skip
    resold = resales.select(
        "code", pl.lit("resold").alias("kind"), "fixmedins_code", "time", "suspect_fund", psn_no="first_psn_no"
    )
    later = resales.select(
        "code", "psn_no", "fixmedins_code", "time", kind=pl.lit("later"), suspect_fund=pl.lit(None, pl.Int64)
    )
    return pl.concat([firsts, resold.select(firsts.columns), later.select(firsts.columns)])


def networks(
    ties: pl.DataFrame, *, min_codes: int = MIN_CODES, max_first_buyers: int = MAX_FIRST_BUYERS
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(networks, edges) of the ties of `resale_ties`, as in networks.parquet and network_edges.parquet but for names.

    A tie of fewer than `min_codes` codes is `weak`; a tie of first purchases alone, at a site with more than
    `max_first_buyers` such persons, is `busy`. Neither joins; each is told with the network it touches, if any.
    """
    edges = _edges(ties, min_codes, max_first_buyers)
    joins = edges.filter(pl.col("state") == "joins")
    nodes = components(joins["psn_no"], joins["fixmedins_code"])
    persons = nodes.filter(pl.col("side") == 0).select(psn_no="node", of_person="network")
    sites = nodes.filter(pl.col("side") == 1).select(fixmedins_code="node", of_site="network")
    edges = edges.join(persons, on="psn_no", how="left").join(sites, on="fixmedins_code", how="left")
    own = pl.when(pl.col("state") == "busy").then("of_person")
    edges = edges.with_columns(network=pl.coalesce(own, "of_site", "of_person")).drop("of_person", "of_site")
    tied = ties.join(edges.filter(pl.col("state") == "joins").select(*_PAIR, "network"), on=_PAIR)
    ids = _ids(tied)
    found = _members(edges).join(_codes(ties, tied), on="network", how="left").join(ids, on="network")
    found = found.with_columns(
        pl.col("codes", "suspect_fund_fen", "fund_unknown_codes").fill_null(0),
        min_codes=pl.lit(min_codes, pl.Int64),
        max_first_buyers=pl.lit(max_first_buyers, pl.Int64),
    )
    size = pl.col("persons") + pl.col("institutions")
    found = found.sort("suspect_fund_fen", size, "network_id", descending=[True, True, False])
    found = found.with_columns(rank=pl.int_range(1, pl.len() + 1)).drop("network")
    edges = edges.join(ids, on="network", how="left").drop("network")
    return found, edges.sort("network_id", *_PAIR, nulls_last=True)


def components(left: pl.Series, right: pl.Series) -> pl.DataFrame:
    """Connected components of a graph whose edges run from `left` to `right` nodes: side (0, 1), node, network.

    `network` is the number of the first node of the component in order of side and node. Every round a node takes the
    least label its edges touch, so does the node it is labelled by, and labels are then looked up in themselves, so
    that the way halves each time.
    """
    sides = pl.concat([pl.DataFrame({"node": s.cast(pl.String)}).unique().sort("node").with_columns(side=pl.lit(n))
                       for n, s in enumerate((left, right))])  # fmt: skip
    nodes = sides.select("side", "node").with_row_index("number")
    ends = [pl.DataFrame({"node": s.cast(pl.String)}).join(
        nodes.filter(pl.col("side") == n), on="node", how="left", maintain_order="left")["number"]
        for n, s in enumerate((left, right))]  # fmt: skip
    label = nodes["number"]
    while True:
        a, b = (label.gather(end) for end in ends)
        least = pl.select(pl.min_horizontal(a, b)).to_series()
        offers = pl.concat([pl.DataFrame({"number": n, "least": least}) for n in (*ends, a, b)])
        after = nodes.select("number").join(offers.group_by("number").agg(pl.col("least").min()), on="number",
                                            how="left", maintain_order="left")["least"]  # fmt: skip
        after = after.gather(after)
        if after.equals(label):
            return nodes.select("side", "node", network=label)
        label = after


def _edges(ties: pl.DataFrame, min_codes: int, max_first_buyers: int) -> pl.DataFrame:
    """One row per person and site with what lies between them and whether it joins."""
    counts = {f"{kind}_codes": pl.col("code").filter(pl.col("kind") == kind).n_unique() for kind in _KINDS}
    edges = ties.drop_nulls("psn_no").group_by(_PAIR).agg(
        codes=pl.col("code").n_unique(),
        **counts,
        first_day=pl.col("time").min().dt.date(),
        last_day=pl.col("time").max().dt.date(),
    )  # fmt: skip
    edges = edges.with_columns(pl.col("codes", *counts).cast(pl.Int64))
    strong = pl.col("codes") >= min_codes
    only_first = strong & (pl.col("resold_codes") == 0) & (pl.col("later_codes") == 0)
    buyers = only_first.sum().over("fixmedins_code")
    busy = only_first & (buyers > max_first_buyers)
    state = pl.when(~strong).then(pl.lit("weak")).when(busy).then(pl.lit("busy")).otherwise(pl.lit("joins"))
    return edges.with_columns(state=state).sort(_PAIR)


def _ids(tied: pl.DataFrame) -> pl.DataFrame:
    """network, network_id: a site lies in one network only, so its earliest code and site name it, and later months
    that add to a network leave its name."""
    anchors = tied.sort("network", "time", "code", "fixmedins_code").group_by("network", maintain_order=True).agg(
        pl.col("code", "fixmedins_code").first()
    )  # fmt: skip
    texts = anchors.select(pl.concat_str("code", "fixmedins_code", separator="\x1f")).to_series()
    digests = [f"N{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}" for text in texts]
    return anchors.select("network", network_id=pl.Series(digests, dtype=pl.String))


def _members(edges: pl.DataFrame) -> pl.DataFrame:
    """One row per network: its members by kind, its edges and those that were cut, its first and last day."""
    joins = pl.col("state") == "joins"

    def many(node: str, *counts: str) -> pl.Expr:
        taking_part = joins & pl.any_horizontal(pl.col(c) > 0 for c in counts)
        return pl.col(node).filter(taking_part).n_unique().cast(pl.Int64)

    return edges.drop_nulls("network").group_by("network").agg(
        persons=many("psn_no", "codes"),
        institutions=many("fixmedins_code", "codes"),
        first_buyers=many("psn_no", "first_codes", "resold_codes"),
        later_buyers=many("psn_no", "later_codes"),
        first_sites=many("fixmedins_code", "first_codes"),
        resale_sites=many("fixmedins_code", "resold_codes", "later_codes"),
        edges=joins.sum().cast(pl.Int64),
        weak_edges=(pl.col("state") == "weak").sum().cast(pl.Int64),
        busy_edges=(pl.col("state") == "busy").sum().cast(pl.Int64),
        first_day=pl.col("first_day").filter(joins).min(),
        last_day=pl.col("last_day").filter(joins).max(),
    )  # fmt: skip


def _codes(ties: pl.DataFrame, tied: pl.DataFrame) -> pl.DataFrame:
    """network, codes and their suspect fund. A code is told once: with the network of its resale, else of its later
    buyer, else of its first purchase."""
    order = pl.col("kind").replace_strict(["resold", "later", "first"], [0, 1, 2], return_dtype=pl.Int64)
    one = tied.sort("code", order, "network").unique("code", keep="first", maintain_order=True)
    money = ties.filter(pl.col("kind") == "resold").group_by("code").agg(
        suspect_fund_fen=pl.col("suspect_fund").sum(), unknown=pl.col("suspect_fund").is_null().any()
    )  # fmt: skip
    return one.select("network", "code").join(money, on="code").group_by("network").agg(
        codes=pl.len().cast(pl.Int64),
        suspect_fund_fen=pl.col("suspect_fund_fen").sum(),
        fund_unknown_codes=pl.col("unknown").sum().cast(pl.Int64),
    )  # fmt: skip
