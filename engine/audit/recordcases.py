"""Cases that are about no claim: what an institution stores, a pharmacy's sale, equal results, a carer's visit."""

import polars as pl

from engine.audit.facts import Facts
from engine.audit.frames import Cases
from engine.audit.joins import joined_rows
from engine.audit.owned import add_owner
from engine.audit.plain import DAY, midnight, text
from engine.audit.reads import collections_of, columns_of, elements_of
from engine.language.rule import LoadedRule

STORE = ["fixmedins_code", "medins_list_codg"]
SIDES = ("dear", "cheap")


def store_item(loaded: LoadedRule, facts: Facts) -> Cases:
    """What an institution stores of one charge item: balances, purchases and what was sold, paid by whomever."""
    sold = _sold(facts, elements_of(loaded, "store.lines"))
    frame = _stores(facts, sold).select(*_named("store"), _hospital="hospital", _item="item", _local_item="local_item")
    frame = frame.with_columns(pl.col("_item").replace("", None))
    frame = frame.sort("_hospital", "_local_item").with_row_index("_case")
    own = frame.select("_case", fixmedins_code="_hospital", medins_list_codg="_local_item")
    members = sold.join(own, on=STORE, how="inner")
    return Cases(frame, {"store.lines": members}, ("_hospital", "_local_item"))


def store_pair(loaded: LoadedRule, facts: Facts) -> Cases:
    """Two charge items of one institution that a row of the joined table names as `dear` and `cheap`, by code.

    What was given under another name was never charged under its own: either may be stored and not sold.
    """
    sold = _sold(facts, elements_of(loaded, "dear.lines") | elements_of(loaded, "cheap.lines"))
    stores, rows = _stores(facts, sold, "left"), joined_rows(loaded, facts).drop("_from", "_to")
    frame = rows
    for side in SIDES:
        prefix = pl.col(f"{loaded.rule.join.alias}.{side}")
        frame = frame.join(stores.select(*_named(side), **{f"_{side}": pl.col("hospital")}), how="cross")
        frame = frame.filter(pl.col(f"{side}.item").str.starts_with(prefix))
        frame = frame.filter(pl.col(f"_{side}") == pl.col(f"_{SIDES[0]}"))
    frame = frame.filter(pl.col("dear.local_item") != pl.col("cheap.local_item")).rename({"_dear": "_hospital"})
    frame = frame.with_columns(_item="dear.item", _local_item="dear.local_item", _other_item="cheap.local_item")
    key = ("_hospital", "_local_item", "_other_item", "_row")
    frame = frame.drop("_cheap").sort(key).with_row_index("_case")
    members = {
        f"{side}.lines": sold.join(
            frame.select("_case", fixmedins_code="_hospital", medins_list_codg=f"{side}.local_item"), on=STORE
        )
        for side in SIDES
    }
    return Cases(frame, members, key)


def _named(symbol: str) -> list[pl.Expr]:
    words = ("hospital", "item", "local_item", "name", "opening", "closing", "purchased", "sold", "category",
             "purchase_price")  # fmt: skip
    return [pl.col(word).alias(f"{symbol}.{word}") for word in words]


def _sold(facts: Facts, names: set[str]) -> pl.DataFrame:
    return facts.lines({"local_item", "category"} | names).with_columns(
        fixmedins_code="_hospital", medins_list_codg="local_item"
    )


def _stores(facts: Facts, sold: pl.DataFrame, how: str = "inner") -> pl.DataFrame:
    """One row per institution and charge item that is stored and was sold (`how` "left": or not), with the
    vocabulary's words of a store."""
    items = facts.table("store_items").filter(pl.col("medins_list_codg").is_not_null())
    key = ["fixmedins_code", "item_store_id"]
    balances = facts.table("stock_balances").group_by(key).agg(pl.col("opening_cnt", "closing_cnt").sum())
    bought = facts.table("stock_moves").filter(pl.col("move_type").is_in(["purchase", "purchase_return"]))
    sign = pl.when(pl.col("move_type") == "purchase").then(1).otherwise(-1)
    worth = pl.col("cnt").cast(pl.Decimal(38, 6)) * pl.col("pric").cast(pl.Decimal(38, 10))
    bought = bought.group_by(key).agg((pl.col("cnt") * sign).sum().alias("cnt"), (worth * sign).sum().alias("worth"))
    frame = items.join(balances, on=key, how="inner").join(bought, on=key, how="left")
    frame = frame.group_by(STORE).agg(
        pl.col("med_list_codg").drop_nulls().min(), pl.col("item_name").drop_nulls().min(),
        pl.col("opening_cnt", "closing_cnt", "worth").sum(), pl.col("cnt").sum().alias("bought"),
    )  # fmt: skip
    sums = sold.group_by(STORE).agg(pl.col("cnt").sum().alias("sold"), pl.col("category").max().alias("category"))
    return frame.join(sums, on=STORE, how=how).select(
        pl.col("sold").fill_null(0), text("category"), hospital="fixmedins_code", item=text("med_list_codg"),
        local_item="medins_list_codg", name=text("item_name"), opening="opening_cnt",
        closing="closing_cnt", purchased="bought",
        purchase_price=pl.when(pl.col("bought") > 0).then(pl.col("worth") / pl.col("bought")),
    )  # fmt: skip


def pos_sale(loaded: LoadedRule, facts: Facts) -> Cases:
    """The sales of pharmacies, whether the insurance paid or not."""
    wide = pl.col("cnt").cast(pl.Decimal(38, 4)) * pl.col("pric").cast(pl.Decimal(38, 6)) * 100
    sales = facts.table("pos_sales").select(
        pl.exclude("cnt", "pric"), cnt=pl.col("cnt").fill_null(0), price=pl.col("pric").fill_null(0),
        item=pl.col("item_code").fill_null(""), id="sale_id", time="sale_time",
        insured=pl.col("insured_flag").fill_null("0") == "1", _hospital="fixmedins_code",
        amount=wide.round(0, mode="half_away_from_zero").cast(pl.Int64).fill_null(0),
    )  # fmt: skip
    return _records(loaded, facts, sales, "sale", "time", ("_hospital", "_record"))


def ltc_visit(loaded: LoadedRule, facts: Facts) -> Cases:
    """The visits of carers to the insured, with the stays of the person they fall into."""
    rows = facts.table("ltc_visits")
    rows = rows if OVERLAPS in rows.columns else with_overlaps(rows)
    numbers = facts.visits({"psn_no"}).select("psn_no", _of="person").unique("psn_no", keep="first")
    rows = rows.join(numbers, on="psn_no", how="left", maintain_order="left")
    rows = rows.select(
        pl.exclude("_of"), id="visit_id", begin="begntime", end=pl.coalesce("endtime", "begntime"),
        carer=pl.col("prac_psn_code").fill_null(""), amount=pl.col("det_item_fee_sumamt").fill_null(0),
        fund=pl.col("fund_pay").fill_null(0), carer_overlaps=pl.col(OVERLAPS), _hospital="provider_code",
        _person=pl.coalesce("_of", "psn_no"),
    )  # fmt: skip
    stays = facts.visits({"inpatient", "admission", "discharge"}).filter("inpatient", pl.col("discharge").is_not_null())
    within = rows.select("id", "begin", "end", "_person").join(stays, left_on="_person", right_on="person", suffix="_s")
    within = within.filter(pl.col("begin") > pl.col("admission"), pl.col("end") < pl.col("discharge"))
    rows = rows.with_columns(in_stay=pl.col("id").is_in(within["id"].unique().implode()))
    return _records(loaded, facts, rows, "care", "begin", ("_person", "_record"))


OVERLAPS = "_overlaps"  # of a carer's visit: how many other persons the carer serves at the same time


def with_overlaps(visits: pl.DataFrame) -> pl.DataFrame:
    """Visits of carers with how many other persons the same carer serves during each, over all that is given."""
    spans = visits.filter(pl.col("prac_psn_code").is_not_null(), pl.col("endtime") > pl.col("begntime")).select(
        "visit_id", "psn_no", "prac_psn_code", "begntime", "endtime", day=pl.col("begntime").dt.date()
    )
    both = spans.join(spans, on=["prac_psn_code", "day"], suffix="_o").filter(
        pl.col("psn_no") != pl.col("psn_no_o"), pl.col("begntime") < pl.col("endtime_o"),
        pl.col("begntime_o") < pl.col("endtime"),
    )  # fmt: skip
    counts = both.group_by("visit_id").agg(pl.col("psn_no_o").n_unique().cast(pl.Int64).alias(OVERLAPS))
    return visits.join(counts, on="visit_id", how="left", maintain_order="left").with_columns(
        pl.col(OVERLAPS).fill_null(0)
    )


def _records(loaded: LoadedRule, facts: Facts, rows: pl.DataFrame, symbol: str, moment: str, key: tuple) -> Cases:
    names = columns_of(loaded, symbol)
    dates = [pl.col(n).cast(DAY) for n in sorted(names) if rows.schema[n] == pl.Date]
    rows = rows.with_columns(dates)
    own = [c for c in ("_hospital", "_person") if c in rows.columns]
    frame = rows.select(
        *own, *(pl.col(n).alias(f"{symbol}.{n}") for n in sorted(names)), _record="id", date=midnight(pl.col(moment)),
        _amount="amount", _fund="fund" if "fund" in rows.columns else pl.when("insured").then("amount").otherwise(0),
    )  # fmt: skip
    frame = add_owner(frame.sort(key).with_row_index("_case"), loaded, facts)
    return Cases(frame, {}, key)


def same_results(loaded: LoadedRule, facts: Facts) -> Cases:
    """Sets of laboratory results that several persons of an institution have, equal in every value.

    A set is what one person's laboratory reports of one moment say. Equal sets far apart (presumptions) are two cases.
    """
    visits = facts.visits({"psn_no", "hospital"})
    said = facts.table("reports").filter(pl.col("kind") == "lab", pl.col("value").fill_null("").str.strip_chars() != "")
    of_claim = visits.select(setl_id="id", _of_claim="person", _site="hospital")
    of_number = visits.select("psn_no", _of_number="person").unique("psn_no", keep="first")
    said = said.join(of_claim, on="setl_id", how="left").join(of_number, on="psn_no", how="left")
    said = said.with_columns(
        _person=pl.coalesce("_of_claim", "_of_number", "psn_no"), _hospital=pl.coalesce("fixmedins_code", "_site"),
        _said=pl.concat_str(pl.col("item_name").fill_null(""), "value", separator="="),
        _number=pl.col("value").str.strip_chars().cast(pl.Decimal(38, 9), strict=False),
    ).drop_nulls(["_person", "_hospital"])  # fmt: skip
    sets = said.group_by("_hospital", "_person", "report_time").agg(
        pl.col("_said").unique().sort().str.join("、"), pl.col("_said").n_unique().cast(pl.Int64).alias("tests"),
        pl.col("_said").filter(pl.col("_number") != 0).n_unique().cast(pl.Int64).alias("numbers"),
        pl.col("setl_id").drop_nulls().unique().sort().alias("_claims"),
    )  # fmt: skip
    own = ["_hospital", "_said"]
    sets = sets.sort(*own, "report_time", "_person")
    apart = pl.col("report_time").diff().over(own) > pl.duration(days=facts.presumptions.gap_days)
    sets = sets.with_columns(_run=apart.fill_null(False).cast(pl.UInt32).cum_sum().over(own))
    first, last = pl.col("report_time").min(), pl.col("report_time").max()
    frame = sets.group_by(*own, "_run", maintain_order=True).agg(
        pl.col("_hospital").first().alias("results.hospital"), pl.col("tests").first().alias("results.tests"),
        pl.col("numbers").first().alias("results.numbers"),
        pl.col("_said").first().alias("results.values"), first.alias("results.first_time"),
        last.alias("results.last_time"), pl.col("_person").n_unique().cast(pl.Int64).alias("results.persons"),
        ((last.dt.date() - first.dt.date()).dt.total_days() + 1).alias("results.days"),
    )  # fmt: skip
    frame = frame.filter(pl.col("results.persons") > 1).with_row_index("_case")
    frame = frame.with_columns(date=midnight(pl.col("results.first_time")))
    members = {}
    if "results.visits" in collections_of(loaded):
        claims = sets.join(frame.select("_case", *own, "_run"), on=[*own, "_run"]).select("_case", id="_claims")
        claims = claims.explode("id").drop_nulls("id").unique().sort("_case", "id")
        elements = facts.visits(elements_of(loaded, "results.visits")).with_columns(_visit="id")
        members["results.visits"] = claims.join(elements, on="id", maintain_order="left")
    return Cases(frame, members, (*own, "_run"))
