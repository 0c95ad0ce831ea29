"""Evidence as readers see it: rows of a few findings for the page, one text per finding for the workbooks."""

import polars as pl

from engine.audit.codes import code_fault
from engine.reference.knowledge import shapes
from engine.report.figures import Run
from engine.report.words import WITHIN_INSTITUTION
from engine.tables.dictionary import tables

_SPELT_OUT = 20  # rows per finding and role; the others are counted


def evidence_of(run: Run, finding_ids: list[str]) -> pl.DataFrame:
    """The evidence of some findings, in a fixed order; rows of trace_codes with their `code`, and `unusable`, why it
    stands for no single pack, where it does not."""
    own, row = pl.col("finding_id").is_in(finding_ids), ["finding_id", "table", "row_key", "role"]
    codes = run.scan("amounts").filter(own, pl.col("table") == "trace_codes").select(*row, code="name")
    rows = run.scan("evidence").filter(own).join(codes.unique(row, keep="any"), on=row, how="left")
    return (
        rows.sort("finding_id", "role", "table", "row_key").with_columns(unusable=code_fault(pl.col("code"))).collect()
    )


def evidence_texts(run: Run, findings: pl.LazyFrame, role: str, everywhere: bool) -> pl.DataFrame:
    """By finding_id, its evidence rows of one role as text in the column <role>_rows.

    Unless `everywhere`, rows not known to belong to the finding's institution are only counted: an institution learns
    of others how many, not which.
    """
    rows = (
        run.scan("evidence")
        .filter(pl.col("role") == role)
        .join(findings.select("finding_id", "fixmedins_code", "scope", own_claim="setl_id"), on="finding_id")
        .join(_owners(run), on="setl_id", how="left")
        .with_columns(told=pl.lit(True) if everywhere else _known_as_own(), line=_line())
    )
    more = pl.col("told").sum().cast(pl.Int64) - _SPELT_OUT
    texts = (
        rows.sort("finding_id", "table", "row_key")
        .group_by("finding_id", maintain_order=True)
        .agg(
            pl.col("line").filter("told").head(_SPELT_OUT).str.join("；"),
            more=more,
            hidden=(~pl.col("told")).sum().cast(pl.Int64),
        )
    )
    return texts.select(
        "finding_id",
        pl.concat_str(
            "line",
            _if_any("；另有 {} 行", "more"),
            _if_any("（其他机构或来源 {} 行，从略）", "hidden"),
        ).alias(f"{role}_rows"),
    ).collect()


def _owners(run: Run) -> pl.LazyFrame:
    claims = pl.concat([run.scan(t).select("setl_id", owner="fixmedins_code") for t in ("findings", "recovery")])
    return claims.drop_nulls().group_by("setl_id").agg(pl.col("owner").min())


def _known_as_own() -> pl.Expr:
    """Judged within the institution, or on a claim of its own, or a row of a knowledge table, which is nobody's."""
    own_claim = (pl.col("setl_id") == pl.col("own_claim")) | (pl.col("owner") == pl.col("fixmedins_code"))
    nobodys = pl.col("setl_id").is_null() & ~pl.col("table").is_in(list(tables()))
    return pl.col("scope").is_in(WITHIN_INSTITUTION) | own_claim.fill_null(False) | nobodys


def _line() -> pl.Expr:
    """费用明细 123 结算单 45 ×2.0000 12.30元"""
    fen = pl.col("amount_fen").abs()
    sign = pl.when(pl.col("amount_fen") < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    parts = [
        pl.format(" 结算单 {}", "setl_id"),
        pl.format(" ×{}", "cnt"),
        pl.format(" {}{}.{}元", sign, fen // 100, (fen % 100).cast(pl.String).str.zfill(2)),
    ]
    label = pl.col("table").replace({name: table.label for name, table in (tables() | shapes()).items()})
    return pl.concat_str(label, pl.lit(" "), "row_key", *[part.fill_null("") for part in parts])


def _if_any(text: str, column: str) -> pl.Expr:
    return pl.when(pl.col(column) > 0).then(pl.format(text, column)).otherwise(pl.lit(""))
