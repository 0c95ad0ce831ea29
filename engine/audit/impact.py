"""What an edit of rules or tables does: two sets of findings over one extract, compared by finding and by money.

Findings meet by their id, which names the rule and the natural keys of the case. Gross is what findings accuse; net is
what would be recovered, where a line that several findings accuse counts once, so that a gained finding on a line
already accused adds nothing.
"""

from dataclasses import dataclass

import polars as pl

COMPARED = [
    "result",
    "rule_status",
    "excess_cnt",
    "gross_fen",
    "inscope_fen",
    "fund_fen",
    "innocent_open",
    "waived",
    "message",
]
SUMS = ["findings", "gross_fen", "fund_fen", "due_fen", "unjudged"]
SHOWN = ["finding_id", "rule_id", "result", "fixmedins_code", "setl_id", "psn_no", "med_list_codg", "service_date",
         "excess_cnt", "gross_fen", "fund_fen", "due_fen", "message"]  # fmt: skip


@dataclass
class Impact:
    """What became of the findings, as frames; columns of a side end in _before or _after.

    rules         one row per edited rule: `why` (parts of the fingerprint that differ), counts gained, lost, changed,
                  and per side findings, gross_fen, fund_fen, due_fen, unjudged (cases)
    carried       rules that were not edited, but carry another amount of due money now
    institutions  all institutions that moved, those with the most money first
    examples      some gained, lost and changed findings of each edited rule, the most money first: `became`
    total         one row: the sums of both sides over all rules
    """

    rules: pl.DataFrame
    carried: pl.DataFrame
    institutions: pl.DataFrame
    examples: pl.DataFrame
    total: pl.DataFrame


def impact(before, after, edited: dict[str, list[str]], examples: int = 5) -> Impact:
    """Compare two sides, each with findings, unjudged and recovery; `edited`: rule id -> which parts of it differ."""
    sides = {"before": with_due(before), "after": with_due(after)}
    fates = _fates(sides).filter(pl.col("rule_id").is_in(list(edited)))
    by_rule = _sums(sides, "rule_id").join(_unjudged(before, after), on="rule_id", how="full", coalesce=True)
    by_rule = by_rule.with_columns(pl.col(pl.Int64).fill_null(0))
    counts = fates.group_by("rule_id").agg(
        (pl.col("became") == became).sum().cast(pl.Int64).alias(became) for became in ("gained", "lost", "changed")
    )
    reasons = pl.DataFrame(
        {"rule_id": list(edited), "why": list(edited.values())},
        schema={"rule_id": pl.String, "why": pl.List(pl.String)},
    )
    rules = reasons.join(by_rule, on="rule_id", how="left").join(counts, on="rule_id", how="left")
    moved = pl.any_horizontal(
        pl.col(f"{s}_before") != pl.col(f"{s}_after") for s in ("findings", "gross_fen", "due_fen")
    )
    others = by_rule.filter(~pl.col("rule_id").is_in(list(edited)))
    order = [(pl.col("due_fen_after") - pl.col("due_fen_before")).abs(),
             (pl.col("gross_fen_after") - pl.col("gross_fen_before")).abs()]  # fmt: skip
    places = _sums(sides, "fixmedins_code").filter(moved).sort(*order, "fixmedins_code", descending=[True, True, False])
    chosen = fates.filter(pl.col("became") != "same").sort("rule_id", "became", -pl.col("fund_fen"), "finding_id")
    return Impact(
        rules=rules.with_columns(pl.col(pl.Int64).fill_null(0)).sort("rule_id"),
        carried=others.filter(pl.col("due_fen_before") != pl.col("due_fen_after")).sort("rule_id"),
        institutions=places,
        examples=chosen.group_by("rule_id", "became", maintain_order=True).head(examples).select("became", *SHOWN),
        total=by_rule.select(pl.exclude("rule_id").sum()),
    )


def with_due(side) -> pl.DataFrame:
    """The findings of a side with `due_fen`: what each would recover."""
    due = side.recovery.filter(pl.col("finding_id").is_not_null()).group_by("finding_id").agg(pl.col("due_fen").sum())
    return side.findings.join(due, on="finding_id", how="left").with_columns(pl.col("due_fen").fill_null(0))


def _fates(sides: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every finding of either side once, as it is after, or as it was, with what became of it."""
    before = sides["before"].with_columns(_was=pl.struct(COMPARED))
    after = sides["after"].with_columns(_is=pl.struct(COMPARED))
    stays = after.join(before.select("finding_id", "_was"), on="finding_id", how="left")
    became = pl.when(pl.col("_was").is_null()).then(pl.lit("gained"))
    became = became.when(pl.col("_was").ne_missing(pl.col("_is"))).then(pl.lit("changed")).otherwise(pl.lit("same"))
    stays = stays.with_columns(became=became)
    gone = before.join(after, on="finding_id", how="anti").with_columns(became=pl.lit("lost"))
    return pl.concat([stays.drop("_was", "_is"), gone.drop("_was")])


def _sums(sides: dict[str, pl.DataFrame], by: str) -> pl.DataFrame:
    frames = [
        frame.group_by(by).agg(
            pl.len().cast(pl.Int64).alias(f"findings_{side}"),
            *(pl.col(c).sum().alias(f"{c}_{side}") for c in ("gross_fen", "fund_fen", "due_fen")),
        )
        for side, frame in sides.items()
    ]
    return frames[0].join(frames[1], on=by, how="full", coalesce=True).with_columns(pl.col(pl.Int64).fill_null(0))


def _unjudged(before, after) -> pl.DataFrame:
    """By rule, the cases that could not be judged."""
    frames = [side.unjudged.group_by("rule_id").agg(pl.col("cases").sum().alias(f"unjudged_{name}"))
              for name, side in (("before", before), ("after", after))]  # fmt: skip
    return frames[0].join(frames[1], on="rule_id", how="full", coalesce=True)
