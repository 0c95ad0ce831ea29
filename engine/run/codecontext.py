"""What is told beside the findings about trace codes: the whole lives of their codes, and who met where.

Neither is evidence, and no finding changes with it.
"""

from collections.abc import Iterable, Iterator

import polars as pl

from engine.audit.codefacts import CodeFacts
from engine.run.tracing import Told
from engine.tables.dictionary import with_fields
from engine.tables.outputs import conform, outputs
from engine.tracing.history import histories
from engine.tracing.networks import TIES, networks, resale_ties

CONTEXT = ("code_history", "networks", "network_edges")
FINDINGS_AT_ONCE = 100_000  # a life is many times as wide as what tells of it
_REAPPEARING = ("code", "buyer", "reseller")  # scopes whose findings may speak of a code that was sold again elsewhere


def no_context() -> dict[str, pl.DataFrame]:
    return {name: pl.DataFrame(schema=outputs()[name]) for name in CONTEXT}


def with_context(parts: Iterable[Told]) -> Iterator[dict[str, pl.DataFrame]]:
    """Every output of each part of the code split by its name, and the `ties` that `code_networks` is made of."""
    for told in parts:
        made = {"findings": told.findings, "evidence": told.evidence, "not_evaluated": told.not_evaluated}
        if told.facts is not None:
            told.facts.keep("code_site", "code")
            made |= {"code_history": code_history(told.findings, told.evidence, told.facts), "ties": _ties(told)}
        yield made


def code_history(findings: pl.DataFrame, evidence: pl.DataFrame, facts: CodeFacts) -> pl.DataFrame:
    """The lives of the codes in evidence of some findings, from the facts these were judged on (code_history.parquet).

    `facts` may hold the codes a sieve kept: these are there with all their rows.
    """
    sales = _sales(evidence)
    if sales.is_empty():
        return no_context()["code_history"]
    accused = sales.filter("accused").select("finding_id", "event_id", "accused").unique()
    excess = {
        scope: facts.of(scope).sales.filter(pl.col("role") != "parent").select("row", "own_excess")
        for scope in ("code_site", "code")
    }
    lives = [no_context()["code_history"]]
    for some in findings.iter_slices(FINDINGS_AT_ONCE):
        named = _named(some, evidence)
        named = named.with_columns(fixmedins_code=pl.when(pl.col("scope") == "code_site").then("fixmedins_code"))
        told = histories(facts.bucket, named, excess, _gone(facts), facts.tables.get("institutions"))
        told = told.join(accused, on=["finding_id", "event_id"], how="left", maintain_order="left")
        lives.append(conform(told.with_columns(pl.col("accused").fill_null(False)), "code_history"))
    return pl.concat(lives)


def _gone(facts: CodeFacts) -> pl.Expr:
    """Of a row of trace_codes: whether what it tells of was reversed as a whole."""
    gone = facts.cancelled
    if gone is None:
        return pl.lit(False)
    whole = {"setl_id": gone.settlements, "feedetl_sn": gone.lines}
    return pl.any_horizontal(pl.col(name).is_in(ids.implode()).fill_null(False) for name, ids in whole.items())


def _ties(told: Told) -> pl.DataFrame:
    """resale_ties of the codes that findings say were sold again elsewhere."""
    named = _named(told.findings, told.evidence).filter(pl.col("scope").is_in(_REAPPEARING))
    if named.is_empty():
        return pl.DataFrame(schema=TIES)
    return resale_ties(told.facts.of("code"), named["code"].unique(), told.facts.bucket.sites)


def code_networks(ties: pl.DataFrame, institutions: pl.DataFrame | None) -> dict[str, pl.DataFrame]:
    """Networks and their edges of the `ties` of all parts, in several of which a code may stand."""
    if ties.is_empty():
        return {name: no_context()[name] for name in CONTEXT[1:]}
    found, edges = networks(ties.unique())
    edges = edges.join(_names(institutions), on="fixmedins_code", how="left", maintain_order="left")
    return {"networks": conform(found, "networks"), "network_edges": conform(edges, "network_edges")}


def _named(findings: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """finding_id, scope, fixmedins_code, code, accused: the codes whose sales stand in evidence."""
    return (
        _sales(evidence)
        .drop("event_id")
        .join(findings.select("finding_id", "scope", "fixmedins_code"), on="finding_id")
    )


def _sales(evidence: pl.DataFrame) -> pl.DataFrame:
    sales = evidence.filter((pl.col("table") == "trace_codes") & pl.col("name").is_not_null())
    return sales.select("finding_id", event_id="row_key", code="name", accused=pl.col("role") == "excess")


def _names(institutions: pl.DataFrame | None) -> pl.DataFrame:
    if institutions is None:
        return pl.DataFrame(schema={"fixmedins_code": pl.String, "fixmedins_name": pl.String})
    names = with_fields(institutions, "institutions", "fixmedins_code", "fixmedins_name")
    names = names.select("fixmedins_code", "fixmedins_name").drop_nulls()
    return names.group_by("fixmedins_code").agg(pl.col("fixmedins_name").min())
