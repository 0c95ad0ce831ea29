"""The figures of a report: reads the tables of a finished run directory and sums them, in whole fen.

Of manifest.json these keys are read, all optional but run_id: version, profile, policy, scheme, revealed, inputs
[{path, sha256, decisions, rows_in, accepted, rejected, blank}], warnings [{file, code, len}], control_totals {name:
fen}, parameters, rules {id: {version}}, waivers [{file, rule, from, until, reason, owner, scope,
state, findings}], knowledge [{file, sha256}], files {name: {sha256}}, period {from, to}, and
names {code: name} of the institutions and items that findings speak of.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from engine.report.rules import RuleInfo, rule_of
from engine.tables.outputs import output_fields, outputs
from engine.tables.problems import InputProblem

MONEY = ["gross_fen", "inscope_fen", "fund_fen", "due_fen"]
STEPS = ["involved_fen", "inscope_fen", "fund_line_fen", "fund_resettled_fen", "already_returned_fen", "due_fen"]
_RANK = [*reversed(MONEY), "finding_id"]
_RANK_DOWN = [True] * len(MONEY) + [False]


@dataclass(frozen=True)
class Run:
    """A finished run directory and the rules it ran."""

    out: Path
    rules: Mapping[str, RuleInfo]

    @cached_property
    def manifest(self) -> dict:
        path = self.out / "manifest.json"
        if not path.is_file():
            raise InputProblem("no manifest.json: not the directory of a finished run", str(self.out))
        return json.loads(path.read_text("utf-8"))

    @property
    def run_id(self) -> str:
        return str(self.manifest.get("run_id", "—"))

    def name(self, code: str | None) -> str:
        """The name of an institution or item; empty when the run knows none."""
        return str(self.manifest.get("names", {}).get(code, ""))

    @property
    def revealed(self) -> bool:
        return bool(self.manifest.get("revealed"))

    @property
    def waivers(self) -> list[dict]:
        """The waivers of the run with their use; `place` says in words what they are about."""
        labels = output_fields()["findings"]
        return [
            {**w, "place": "、".join(labels[name].label for name in w["scope"])}
            for w in self.manifest.get("waivers", [])
        ]

    @property
    def tables_hashed(self) -> list[tuple[str, str]]:
        """The tables this report was written from, with their hashes."""
        files = self.manifest.get("files", {})
        return [(name, files[name]["sha256"]) for name in sorted(files) if name.endswith(".parquet")]

    def rule(self, rule_id: str) -> RuleInfo:
        return rule_of(self.rules, rule_id)

    def scan(self, table: str) -> pl.LazyFrame:
        """One output table; empty when the run did not write it (a single stage writes only its own)."""
        path = self.out / f"{table}.parquet"
        return pl.scan_parquet(path) if path.is_file() else pl.LazyFrame(schema=outputs()[table])

    @cached_property
    def findings(self) -> pl.LazyFrame:
        """Every finding with its rule's title and family, what is due on it, and whether it counts towards money:
        trials and waived findings do not."""
        due = (
            self.scan("recovery")
            .filter(pl.col("finding_id").is_not_null())
            .group_by("finding_id")
            .agg(pl.col("due_fen").sum())
        )
        return (
            self.scan("findings")
            .join(due, on="finding_id", how="left")
            .join(self._rule_words.lazy(), on="rule_id", how="left")
            .with_columns(
                pl.col("due_fen").fill_null(0),
                pl.col("title").fill_null(pl.col("rule_id")),
                pl.col("family").fill_null("未分类"),
                counts=(pl.col("rule_status") == "active") & ~pl.col("waived"),
            )
        )

    @cached_property
    def counted(self) -> pl.LazyFrame:
        """The findings that count towards money."""
        return self.findings.filter("counts")

    @cached_property
    def _rule_words(self) -> pl.DataFrame:
        rows = [(r.rule_id, r.title, r.family_name) for r in self.rules.values()]
        return pl.DataFrame(rows, {"rule_id": pl.String, "title": pl.String, "family": pl.String}, orient="row")


def ranked(findings: pl.LazyFrame) -> pl.LazyFrame:
    """Findings by what is due, then by what is involved, ties by id."""
    return findings.sort(_RANK, descending=_RANK_DOWN)


def summed(findings: pl.LazyFrame, *keys: str) -> pl.DataFrame:
    """Findings and money by key, the most money first. Columns: keys, cases, violations, rules, claims, excess_cnt,
    then gross, inscope, fund and due in fen."""
    groups = findings.group_by(keys) if keys else findings.group_by(pl.lit(0).alias("all"))
    totals = groups.agg(
        pl.len().cast(pl.Int64).alias("cases"),
        (pl.col("result") == "violation").sum().cast(pl.Int64).alias("violations"),
        pl.col("rule_id").n_unique().cast(pl.Int64).alias("rules"),
        pl.col("setl_id").drop_nulls().n_unique().cast(pl.Int64).alias("claims"),
        pl.col("excess_cnt").sum(),
        *[pl.col(column).sum() for column in MONEY],
    )
    order = [*reversed(MONEY), "cases"]
    return totals.sort([*order, *keys], descending=[True] * len(order) + [False] * len(keys), nulls_last=True).collect()


def totals(findings: pl.LazyFrame) -> dict[str, int]:
    """The sums of `summed` over all findings, zero when there are none."""
    rows = summed(findings).to_dicts()
    return rows[0] if rows else dict.fromkeys(["cases", "violations", "rules", "claims", *MONEY], 0)


def recovery_levels(run: Run) -> pl.DataFrame:
    """The ladder of amounts by level (finding, claim, institution) and fund, in fen. Totals carry no finding id; those
    without a claim are the institution's."""
    level = (
        pl.when(pl.col("finding_id").is_not_null())
        .then(pl.lit("finding"))
        .when(pl.col("setl_id").is_not_null())
        .then(pl.lit("claim"))
        .otherwise(pl.lit("institution"))
    )
    sums = [pl.col(c).sum() for c in STEPS if c != "fund_resettled_fen"]
    resettled = pl.when(pl.col("fund_resettled_fen").count() > 0).then(pl.col("fund_resettled_fen").sum())
    return (
        run.scan("recovery")
        .group_by(level.alias("level"), "fixmedins_code", "fund")
        .agg(*sums, resettled.alias("fund_resettled_fen"))
        .sort("level", "fixmedins_code", "fund")
        .collect()
    )


def net_level(levels: pl.DataFrame) -> pl.DataFrame:
    """The rows of the coarsest level there is: each line counted once."""
    have = levels["level"].unique().to_list()
    coarsest = next((name for name in ("institution", "claim", "finding") if name in have), "")
    return levels.filter(pl.col("level") == coarsest)


def ladder(levels: pl.DataFrame) -> dict[str, int | None]:
    """Each step summed in fen; resettlement is None where no row was settled again."""
    sums = levels.select(STEPS).sum().to_dicts()[0]
    if levels["fund_resettled_fen"].count() == 0:
        sums["fund_resettled_fen"] = None
    return sums


def fund_paid(run: Run) -> int | None:
    """What the fund paid by the settlement table: as reported where the input says so, else as settled here."""
    paid = pl.coalesce("reported_fund_pay_sumamt_fen", "fund_pay_sumamt_fen")
    row = run.scan("settlement").select(pl.len().alias("n"), paid.sum().alias("paid")).collect().row(0)
    return row[1] if row[0] else None


def overlaps(run: Run) -> pl.DataFrame:
    """Pairs of rules that cut the same row: first, second, rows."""
    cut = (
        run.scan("evidence")
        .filter(pl.col("role") == "excess")
        .select("finding_id", "table", "row_key")
        .join(run.counted.select("finding_id", "rule_id"), on="finding_id")
        .select("table", "row_key", "rule_id")
        .unique()
    )
    shared = cut.filter(pl.len().over("table", "row_key") > 1)
    return (
        shared.join(shared, on=["table", "row_key"], suffix="_2")
        .filter(pl.col("rule_id") < pl.col("rule_id_2"))
        .group_by(first="rule_id", second="rule_id_2")
        .agg(rows=pl.len().cast(pl.Int64))
        .sort("rows", "first", "second", descending=[True, False, False])
        .collect()
    )


def open_explanations(run: Run) -> pl.DataFrame:
    """By rule, the innocent explanations left open and in how many findings."""
    return (
        run.findings.filter(pl.col("innocent_open").is_not_null() & ~pl.col("waived"))
        .group_by("rule_id", "innocent_open")
        .agg(cases=pl.len().cast(pl.Int64))
        .sort("rule_id", "cases", "innocent_open", descending=[False, True, False])
        .collect()
    )


def not_evaluated(run: Run) -> pl.DataFrame:
    return run.scan("not_evaluated").sort("rule_id", "reason", "detail").collect()


def rejected(run: Run) -> pl.DataFrame:
    """Rejected rows by file, code and column."""
    return (
        run.scan("rejects")
        .group_by("file", "code", "column")
        .agg(rows=pl.len().cast(pl.Int64), first_line=pl.col("line").min(), reason=pl.col("reason").min())
        .sort("file", "code", "column", nulls_last=True)
        .collect()
    )


def settlement_differences(run: Run) -> pl.DataFrame:
    """By amount: ours and the reported sum over the claims that report it, and how many claims differ."""
    amounts = [c.removeprefix("reported_") for c in outputs()["settlement"] if c.startswith("reported_")]
    reported = {a: pl.col(f"reported_{a}") for a in amounts}
    wide = (
        run.scan("settlement")
        .select(
            *[pl.col(a).filter(reported[a].is_not_null()).sum().alias(f"{a}|ours") for a in amounts],
            *[reported[a].sum().alias(f"{a}|reported") for a in amounts],
            *[reported[a].count().cast(pl.Int64).alias(f"{a}|claims") for a in amounts],
            *[(reported[a] != pl.col(a)).sum().cast(pl.Int64).alias(f"{a}|differing") for a in amounts],
        )
        .collect()
        .row(0, named=True)
    )
    rows = [
        {"amount": a, **{part: wide[f"{a}|{part}"] for part in ("ours", "reported", "claims", "differing")}}
        for a in amounts
    ]
    return pl.DataFrame(rows).filter(pl.col("claims") > 0)


def first_differences(run: Run) -> pl.DataFrame:
    """By the step where the statements part: claims, and the difference of fund payment in fen (ours less reported)."""
    gap = pl.col("fund_pay_sumamt_fen") - pl.col("reported_fund_pay_sumamt_fen")
    return (
        run.scan("settlement")
        .filter(pl.col("first_difference").is_not_null())
        .group_by("first_difference")
        .agg(claims=pl.len().cast(pl.Int64), fund_gap=gap.sum(), fund_gap_abs=gap.abs().sum())
        .sort("claims", "first_difference", descending=[True, False])
        .collect()
    )


def drg_summary(run: Run, *keys: str) -> pl.DataFrame:
    """Grouped stays by key: cases, groups, weight."""
    return (
        run.scan("grouping")
        .group_by(keys)
        .agg(
            cases=pl.len().cast(pl.Int64),
            groups=pl.col("drg").drop_nulls().n_unique().cast(pl.Int64),
            weight=pl.col("weight").sum(),
        )
        .sort("cases", *keys, descending=[True] + [False] * len(keys), nulls_last=True)
        .collect()
    )


def tie_outs(run: Run, levels: pl.DataFrame) -> list[dict]:
    """What must agree inside the run itself: what is compared, both values, their unit and whether it holds."""
    inputs = run.manifest.get("inputs", [])
    counted = {key: sum(int(i.get(key) or 0) for i in inputs) for key in ("rows_in", "accepted", "rejected", "blank")}
    net, gross = ladder(net_level(levels)), totals(run.counted)["gross_fen"]
    checks = [
        _tie(
            "读入行数＝接收＋退回＋空行（逐文件）",
            counted["rows_in"],
            counted["accepted"] + counted["rejected"] + counted["blank"],
            "行",
            all(
                int(i.get("rows_in") or 0) == sum(int(i.get(k) or 0) for k in ("accepted", "rejected", "blank"))
                for i in inputs
            ),
        ),
        _tie("涉及金额：净额 ≤ 毛额", net["involved_fen"], gross, "fen", net["involved_fen"] <= gross),
        _tie(
            "基金份额（按行）≤ 违规金额（范围内）≤ 涉及金额",
            net["fund_line_fen"],
            net["involved_fen"],
            "fen",
            net["fund_line_fen"] <= net["inscope_fen"] <= net["involved_fen"],
        ),
    ]
    labels = {"claim": "按结算单", "institution": "按机构", "finding": "按疑点"}
    sums = {name: ladder(levels.filter(pl.col("level") == name))["due_fen"] for name in levels["level"].unique().sort()}
    checks += [
        _tie(f"应追回：{labels[a]}合计＝{labels[b]}合计", sums[a], sums[b], "fen")
        for a, b in zip(list(sums), list(sums)[1:], strict=False)
    ]
    if (paid := fund_paid(run)) is not None:
        checks.append(_tie("应追回（净）≤ 基金实付", net["due_fen"], paid, "fen", net["due_fen"] <= paid))
    return checks


def _tie(what: str, left: int, right: int, unit: str, holds: bool | None = None) -> dict:
    holds = left == right if holds is None else holds
    return {"what": what, "left": left, "right": right, "unit": unit, "holds": holds}


def flat(value, prefix: str = "") -> list[tuple[str, object]]:
    """A nested value of the manifest as (dotted name, plain value) rows, in a fixed order."""
    if isinstance(value, Mapping):
        return [row for key in sorted(value) for row in flat(value[key], f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list):
        return [(prefix, "、".join(str(v) for v in value))]
    return [(prefix, value)]
