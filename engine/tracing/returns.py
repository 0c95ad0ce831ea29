"""Returns and voids uploaded without a code: the codes of the sale they name, where it is certain which these are.

Older interfaces take no codes with a return (3506) and none with a reversal (2208, 2305, 2601); such a row names its
sale by the number of the sale, a receipt, a fee line or the settlement.
"""

import polars as pl

from engine.tables.dictionary import table, with_fields
from engine.tracing.codes import USABLE, keyed

_PAPERS = ("medins_prod_sel_no", "drug_detail_id", "rtal_docno", "feedetl_sn", "setl_id")  # the closest first
_OF_PACK = ("med_list_codg", "manu_lotnum")


def with_codes(trace_codes: pl.LazyFrame, earlier: list[pl.LazyFrame] | None = None) -> pl.LazyFrame:
    """Events in which a return without a code stands once for every code of the sale it names.

    Only where it takes back the whole of what the sale (or its rows of that drug and lot) gave, in `trace_codes`
    or in the `earlier` rows; a void, and a return that says no quantity, take back the whole. The first keeps the
    event_id, the others get it with `#2`, `#3` … Other returns stay as they are, and net nothing.
    """
    names = trace_codes.collect_schema().names()
    wanted = ["event_id", "event_type", "drug_trac_codg", "fixmedins_code", "cnt", *_PAPERS, *_OF_PACK]
    events = with_fields(trace_codes, "trace_codes", *wanted)
    blank = pl.col("drug_trac_codg").is_null() | (pl.col("drug_trac_codg").str.strip_chars() == "")
    back = events.filter(pl.col("event_type").is_in(["return", "void"]), blank).filter(
        pl.any_horizontal(pl.col(_PAPERS).is_not_null())
    )
    back = back.collect()
    if back.is_empty():
        return trace_codes
    told = [with_fields(frame, "trace_codes", *wanted).select(wanted) for frame in (*(earlier or []), events)]
    sales = pl.concat([frame.filter(pl.col("event_type") == "sale") for frame in told])
    found = _certain(back, sales)
    if found.is_empty():
        return trace_codes
    made = back.join(found, on="event_id").with_columns(
        drug_trac_codg="code_of_sale",
        cnt=pl.col("cnt_of_sale"),
        setl_id=pl.coalesce("setl_id", "setl_id_of_sale"),
        event_id=pl.when(pl.col("number") > 1)
        .then(pl.col("event_id") + "#" + pl.col("number").cast(pl.String))
        .otherwise("event_id"),
    )
    keep = list(dict.fromkeys([*names, "setl_id"]))
    types = {name: table("trace_codes").schema[name] for name in keep}
    # What may be missing of the texts comes from the sale's row; what the frame did not bring stays away but for that.
    rest = events.filter(~pl.col("event_id").is_in(found["event_id"].unique().implode()))
    return pl.concat(
        [rest.select(keep), made.lazy().select(pl.col(n).cast(types[n]) for n in keep)], how="vertical_relaxed"
    )


def _certain(back: pl.DataFrame, sales: pl.LazyFrame) -> pl.DataFrame:
    """Returns whose known sale is taken back whole: event_id, number, code_of_sale, cnt_of_sale, setl_id_of_sale."""
    pairs = []
    for rank, paper in enumerate(_PAPERS):
        named = back.filter(pl.col(paper).is_not_null()).select("event_id", "fixmedins_code", paper, *_OF_PACK, "cnt")
        if named.height:
            sold = sales.filter(pl.col(paper).is_in(named[paper].unique().implode())).collect()
            both = named.join(sold, on=["fixmedins_code", paper], suffix="_of_sale")
            same = [(pl.col(n) == pl.col(f"{n}_of_sale")).fill_null(True) for n in _OF_PACK]
            pairs.append(
                both.filter(*same).select(
                    "event_id", "cnt", "cnt_of_sale", "setl_id", code_of_sale="drug_trac_codg", rank=pl.lit(rank)
                )
            )
    pairs = pl.concat(pairs).filter(pl.col("rank") == pl.col("rank").min().over("event_id"))
    pairs = (
        keyed(pairs, "code_of_sale").filter(pl.col("code_class").is_in(USABLE)).rename({"setl_id": "setl_id_of_sale"})
    )
    pairs = pairs.sort("event_id", "code_key", "cnt_of_sale", "setl_id_of_sale", "code_of_sale")
    pairs = pairs.unique(["event_id", "code_key"], keep="last", maintain_order=True)
    sum_of = pl.col("cnt_of_sale").fill_null(1).sum().over("event_id")
    void = pl.col("event_id").is_in(back.filter(pl.col("event_type") == "void")["event_id"].implode())
    pairs = pairs.filter(void | pl.col("cnt").is_null() | (pl.col("cnt") == sum_of))
    return pairs.select(
        "event_id", "code_of_sale", "cnt_of_sale", "setl_id_of_sale",
        number=pl.int_range(1, pl.len() + 1).over("event_id"),
    )  # fmt: skip
