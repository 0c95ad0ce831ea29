"""What is computed of one bucket: group, settle, audit. Each is a pure function of the bucket's tables."""

import polars as pl

from engine.audit import PERSON_SCOPES, UNJUDGED, audit
from engine.audit.benefitfacts import GROUPED
from engine.audit.facts import Facts
from engine.audit.findings import no_findings
from engine.audit.plain import INPATIENT
from engine.grouping.group import group, group_and_check
from engine.run import buckets
from engine.run.region import Region
from engine.settlement.conditions import UNCODED
from engine.settlement.person import settle_steps, statements
from engine.settlement.person_ledgers import debits_as_claims, person_books
from engine.settlement.standing import TABLES as STANDING
from engine.tables.dictionary import table, with_fields
from engine.tables.netting import net
from engine.tables.outputs import outputs
from engine.tables.visits import with_visit_kind
from engine.tracing.duties import coverage, due_lines

IS_STAY = pl.col("visit_kind").is_in(INPATIENT) & (pl.col("refd_setl_flag").fill_null("0") != "1")


DUE = "lines_due"  # beside the tables of a bucket, where they were asked for before


def person_bucket(tables: dict[str, pl.DataFrame], region: Region, parts: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """Grouping, settlement, findings, evidence and not_evaluated of one bucket of persons, as far as asked for."""
    made = {}
    if "group" in parts:
        made["grouping"], made["coding"] = grouped_and_checked(tables, region)
    if "settle" in parts:
        due = lines_due(tables, region)
        made["settlement"], made["ledgers"] = settled_with_books(
            tables if due is None else {**tables, DUE: due}, region
        )
        made["scan_coverage"] = scan_coverage(tables, due)
    if "audit" in parts:
        known = {**tables, GROUPED: made["grouping"]} if "grouping" in made else tables
        made["findings"], made["evidence"], made["not_evaluated"] = audited(known, region)
    return made


def grouped(tables: dict[str, pl.DataFrame], region: Region) -> pl.DataFrame:
    """grouping.parquet of the inpatient claims that are no refunds, without reasons."""
    return group(*_stays(tables), region.scheme, why=False)


def grouped_and_checked(tables: dict[str, pl.DataFrame], region: Region) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same, and the checks of the coding of these stays, counted."""
    return group_and_check(*_stays(tables), region.scheme)


def _stays(tables: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The inpatient claims that are no refunds, diagnoses, procedures."""
    claims = with_identity(with_fields(tables["claims"], "claims"), tables.get("persons"))
    return claims.filter(IS_STAY), *(with_fields(_table(tables, t), t) for t in ("diagnoses", "procedures"))


def with_identity(claims: pl.DataFrame, persons: pl.DataFrame | None) -> pl.DataFrame:
    """Claims with sex and birthday from the persons where the claim itself does not say."""
    if persons is None or persons.is_empty():
        return claims
    known = with_fields(persons, "persons", "gend", "brdy").select("psn_no", _gend="gend", _brdy="brdy")
    claims = claims.join(known.unique("psn_no", keep="first", maintain_order=True), on="psn_no", how="left")
    return claims.with_columns(gend=pl.coalesce("gend", "_gend"), brdy=pl.coalesce("brdy", "_brdy")).drop(
        "_gend", "_brdy"
    )


def settled_with_books(tables: dict[str, pl.DataFrame], region: Region) -> tuple[pl.DataFrame, pl.DataFrame]:
    """settlement.parquet of all claims, and the persons' part of ledgers.parquet.

    What accounts pay beside any care takes its place in time among the claims, but is no settlement.
    """
    given = settling(tables, region)
    steps = settle_steps(*given, all_steps=False)
    books = person_books(tables, given[0], steps, region.policy)
    if "account_debits" in tables:
        steps = steps.join(tables["account_debits"], left_on="setl_id", right_on="debit_id", how="anti")
    return statements(steps, region.policy), books


def settled(tables: dict[str, pl.DataFrame], region: Region) -> pl.DataFrame:
    """settlement.parquet of all claims."""
    return settled_with_books(tables, region)[0]


def settling(tables: dict[str, pl.DataFrame], region: Region) -> tuple:
    """What settle is given: claims, lines, policy, catalogue, account openings, and what persons are entitled to."""
    openings = _table(tables, "account_openings")
    if openings.is_empty():
        openings = region.knowledge["account_openings"]
    lines = with_fields(_table(tables, "fee_lines"), "fee_lines")
    known = {name: tables[name] for name in STANDING if name in tables}
    if region.policy.without_code and (due := lines_due(tables, region)) is not None:
        known[UNCODED] = due.filter(~pl.col("coded"))
    claims = with_fields(tables["claims"], "claims")
    if "account_debits" in tables:
        more = debits_as_claims(tables["account_debits"], _table(tables, "persons"))
        claims = pl.concat([claims, more], how="diagonal")
    return claims, lines, region.policy, region.knowledge["catalogue"], openings, known


def lines_due(tables: dict[str, pl.DataFrame], region: Region) -> pl.DataFrame | None:
    """duties.due_lines of a bucket; None where nothing says which drugs carry codes, or no code was uploaded."""
    if DUE in tables:
        return tables[DUE]
    if not {"fee_lines", "drug_identifiers", buckets.LINE_CODES} <= set(tables):
        return None
    columns = ["feedetl_sn", "setl_id", "med_list_codg", "cnt", "fee_ocur_time"]
    sites = with_fields(tables["claims"], "claims", "fixmedins_code").select("setl_id", "fixmedins_code")
    lines = with_fields(tables["fee_lines"], "fee_lines", *columns).select(columns).join(sites, on="setl_id")
    registers = (tables.get(name) for name in ("institutions", "drug_identifiers", "code_free"))
    return due_lines(lines, tables[buckets.LINE_CODES], *registers, region.knowledge["scan_duties"])


def scan_coverage(tables: dict[str, pl.DataFrame], due: pl.DataFrame | None) -> pl.DataFrame:
    """scan_coverage of a bucket, from its lines_due."""
    if due is None:
        return pl.DataFrame(schema=outputs()["scan_coverage"])
    amounts = with_fields(tables["fee_lines"], "fee_lines", "det_item_fee_sumamt")
    return coverage(due, amounts.select("feedetl_sn", "det_item_fee_sumamt"))


def audited(tables: dict[str, pl.DataFrame], region: Region, scopes=PERSON_SCOPES):
    """(findings, evidence, not_evaluated) of the rules of some scopes, after refunds and returns are netted."""
    return judged(netted(tables), region, scopes)


def netted(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables with refunds and returns netted."""
    given = {name: with_fields(_table(tables, name), name) for name in ("claims", "fee_lines")}
    claims, lines = net(*given.values())[:2]
    return {**tables, "claims": claims} | ({"fee_lines": lines} if "fee_lines" in tables else {})


def judged(tables: dict[str, pl.DataFrame], region: Region, scopes=PERSON_SCOPES):
    """(findings, evidence, not_evaluated) of the rules of some scopes over netted tables."""
    if "fee_lines" not in tables:
        return *no_findings(), pl.DataFrame(schema=UNJUDGED)
    return audit(region.rules, facts_of(tables, region), scopes)


def facts_of(tables: dict[str, pl.DataFrame], region: Region) -> Facts:
    """What is known of netted tables, and by which policy and scheme their stays are paid."""
    return Facts(tables, region.knowledge, region.presumptions, (region.policy, region.scheme))


def placed(claims):
    """Claims that lack what every claim is placed by, which is noted when they are read, but settled all the same.

    One that names no person is a person of its own and joins no other claim; its day is that of the visit.
    """
    claims = with_visit_kind(claims)
    days = [c for c in ("setl_time", "endtime", "begntime") if c in claims.collect_schema().names()]
    return claims.with_columns(
        psn_no=pl.coalesce("psn_no", pl.concat_str(pl.lit("?"), "setl_id")),
        fixmedins_code=pl.col("fixmedins_code").fill_null("?"), setl_time=pl.coalesce(days),
    )  # fmt: skip


def _table(tables: dict[str, pl.DataFrame], name: str) -> pl.DataFrame:
    return tables.get(name, pl.DataFrame(schema=table(name).schema))
