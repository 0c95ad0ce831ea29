"""What the page shows beside findings about trace codes: the lives of their codes, the networks they form, and of what
was due a code how much was scanned."""

import polars as pl

from engine.report import charts, words
from engine.report.figures import Run

_CODES, _CARDS = 3, 60  # so many codes on each of the first cards, one on each of the others
_BYTES = 2_000_000  # of a page of _FULL findings, about; findings themselves come before the lives of their codes
_FULL = 400
_ROWS = 12  # events of a code in the table
_DESCRIBED = 12  # events of a code told to a reader of the screen
_DRAWN, _LISTED, _MEMBERS = 5, 40, 24  # networks drawn, networks listed, lines of a drawn network listed


def lives_of(run: Run, finding_ids: list[str], shown: int) -> dict[str, dict]:
    """By finding: `codes`, each with its chart, rows and counts, and `left_out`, how many codes are not shown.

    One code of each finding comes first, in the order given, then further ones, as long as there is room on the page.
    """
    if not finding_ids:
        return {}
    rows = run.scan("code_history").filter(pl.col("finding_id").is_in(finding_ids)).collect()
    codes = rows.group_by("finding_id", "code").agg(
        pl.len().cast(pl.Int64),
        pl.col("codes_left_out").first(),
        accused=(pl.col("accused") | (pl.col("state") == "excess")).any(),
    )
    codes = codes.sort("finding_id", "accused", "code", descending=[False, True, False])
    place, of = pl.int_range(pl.len()).over("finding_id"), pl.len().over("finding_id").cast(pl.Int64)
    card = pl.DataFrame({"finding_id": finding_ids}).with_row_index("card")
    codes = codes.with_columns(place=place, of=of + pl.col("codes_left_out")).join(card, on="finding_id")
    limit = pl.when(pl.col("card") < _CARDS).then(_CODES).otherwise(1)
    codes = codes.sort("place", "card").with_columns(room=_bytes_of(pl.col("len")).cum_sum())
    chosen = codes.filter((pl.col("place") < limit) & (pl.col("room") <= _BYTES * min(shown, _FULL) // _FULL))
    parts = rows.join(chosen.select("finding_id", "code"), on=["finding_id", "code"], how="semi")
    parts = parts.sort("finding_id", "code", "seq").partition_by("finding_id", "code", as_dict=True)
    found = {id_: {"codes": [], "left_out": of} for id_, of in codes.select("finding_id", "of").unique().iter_rows()}
    for code in chosen.to_dicts():
        of_finding = found[code["finding_id"]]
        of_finding["codes"].append(_life(code["code"], parts[code["finding_id"], code["code"]].to_dicts()))
        of_finding["left_out"] -= 1
    return found


def _bytes_of(events: pl.Expr) -> pl.Expr:
    """About how long the drawing and the table of a code with so many events are."""
    return 1_600 + 260 * pl.min_horizontal(events, charts.MARKS) + 480 * pl.min_horizontal(events, _ROWS)


def _life(code: str, rows: list[dict]) -> dict:
    told = [f"{r['time']:%Y-%m-%d %H:%M} {r['fixmedins_name'] or r['fixmedins_code']} {words.MARK[charts.mark(r)]}"
            for r in rows[:_DESCRIBED]]  # fmt: skip
    more = f"；另有 {len(rows) - _DESCRIBED} 个事件" if len(rows) > _DESCRIBED else ""
    return {
        "code": code,
        "chart": charts.timeline(rows),
        "said": "；".join(told) + more,
        "rows": [row | {"way": charts.way_said(row)} for row in rows[:_ROWS]],
        "of": len(rows) + rows[0]["events_left_out"],
    }


def networks_of(run: Run, shown: int) -> dict:
    """The networks of the run by rank, the first of them drawn with their lines; and what was cut of all."""
    found = run.scan("networks").sort("rank").collect()
    edges = run.scan("network_edges").collect()
    drawn = found.head(min(_DRAWN, shown))["network_id"].to_list()
    of = edges.filter(pl.col("network_id").is_in(drawn)).sort(
        pl.col("state") != "joins", "codes", "psn_no", "fixmedins_code", descending=[False, True, False, False]
    )  # fmt: skip
    parts = of.partition_by("network_id", as_dict=True, maintain_order=True)
    cut = edges.filter(pl.col("state") != "joins")
    return {
        "networks": found.head(min(_LISTED, shown)).to_dicts(),
        "networks_of": len(found),
        "drawn": [_drawn(network, parts[network["network_id"],]) for network in found.head(len(drawn)).to_dicts()],
        "cut": dict(cut.group_by("state").len().sort("state").iter_rows()),
        "loose": cut["network_id"].null_count(),
        "ties": len(edges),
    }


def _drawn(network: dict, edges: pl.DataFrame) -> dict:
    rows = edges.to_dicts()
    return network | {"chart": charts.bipartite(rows), "lines": rows[:_MEMBERS], "lines_of": len(rows)}


def coverage_of(run: Run, shown: int) -> dict:
    """By institution the fee lines due a code and those that have one, over all months and duties, the worst first:
    `rate` in tenths of a percent, rounded down; `first` and `last`, the months it begins and ends with, each with its
    own rate. `all` has the same of all institutions together, None where nothing was due."""
    rows = run.scan("scan_coverage").collect()
    sums = [pl.col("due_lines", "coded_lines", "due_fen", "coded_fen").sum()]
    rate = (pl.col("coded_lines") * 1000 // pl.col("due_lines")).alias("rate")
    months = rows.group_by("fixmedins_code", "month").agg(sums).with_columns(rate).sort("month")
    ends = months.group_by("fixmedins_code").agg(
        pl.struct("month", "rate").first().alias("first"), pl.struct("month", "rate").last().alias("last")
    )
    sites = rows.group_by("fixmedins_code").agg(sums).with_columns(rate).join(ends, on="fixmedins_code")
    sites = sites.sort("rate", "due_lines", "fixmedins_code", descending=[False, True, False])
    whole = rows.select(sums).with_columns(rate).to_dicts()[0] if len(rows) else None
    return {"rows": sites.head(max(20, shown // 4)).to_dicts(), "of": len(sites), "all": whole}
