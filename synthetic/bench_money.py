"""How fast persons and institutions are settled: claims alone, lines alone, both together, and the provider side."""

import polars as pl

from engine.run import payable, stages
from engine.run.region import Region
from engine.settlement.lines import classify
from engine.settlement.person import settle
from engine.settlement.policy import load_policy
from engine.settlement.provider import provider_payment
from synthetic.timing import Row, rate, rounds

CLAIMS, LINES = 1_000_000, 3_000_000  # that the measured ones are made to be, at least
IDS = ("setl_id", "psn_no", "init_setl_id")


def settlement(tables: dict[str, pl.DataFrame], region: Region) -> list[Row]:
    """tables: one bucket of claims with everything of theirs."""
    unit, lines_unit = "结算单 · claims", "明细 · lines"
    claims, lines, policy, catalogue, openings, known = stages.settling(tables, region)
    many = {"claims": claims, "account_openings": openings, "persons": known["persons"]}
    times = -(-CLAIMS // claims.height)
    many = {name: again(frame, times) for name, frame in many.items()}
    none = lines.clear()
    more_lines = pl.concat([lines] * -(-LINES // lines.height))
    settled, groups = stages.settled(tables, region), stages.grouped(tables, region)
    by_points = load_policy("demo-points")
    paid_for = [again(frame, times) for frame in (settled, claims.select(payable.CLAIM), groups)]
    each = lines.height // claims.height
    jobs = {
        "结算，个人一侧，含年度累计 · settlement, persons, with accumulators": (
            many["claims"].height,
            unit,
            lambda: settle(many["claims"], none, policy, None, many["account_openings"], {"persons": many["persons"]}),
        ),
        "费用明细分类 · lines classified": (more_lines.height, lines_unit, lambda: classify(more_lines, catalogue)),
        f"结算，每单 {each} 条明细 · settlement, {each} lines a claim": (
            claims.height,
            unit,
            lambda: stages.settled(tables, region),
        ),
        "机构一侧，按点数 · institutions, by points": (
            paid_for[0].height,
            unit,
            lambda: provider_payment(*paid_for, by_points),
        ),
    }
    seconds, _ = rounds(*(job for _, _, job in jobs.values()))
    return [
        Row("settle", label, count, unit, rate(count, seconds[:, n]))
        for n, (label, (count, unit, _)) in enumerate(jobs.items())
    ]


def again(frame: pl.DataFrame, times: int) -> pl.DataFrame:
    """The rows so many times, each time of other persons and claims, in order of their ids as buckets give them."""
    own = [name for name in IDS if name in frame.columns]

    def of_others(n: int) -> pl.DataFrame:
        return frame.with_columns(pl.concat_str(pl.col(name), pl.lit(f"~{n}")).alias(name) for name in own)

    return pl.concat(of_others(n) for n in range(times)).sort(own[0])
