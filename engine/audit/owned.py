"""Whose a line, a visit or a record of a service is: the owners that cases are about, and the lists they have.

Every list carries the key columns of its owner and `_moment`, by which a day, a month or a window holds it: the time of
a line, the admission of a visit, the begin of a record; on a terminal the settlement.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from engine.audit.facts import Facts
from engine.audit.plain import RECORDS
from engine.audit.reads import columns_of
from engine.language.rule import LoadedRule
from engine.language.vocabulary import objects, scopes, tables_behind


@dataclass(frozen=True)
class Owner:
    """The columns of a case frame that name an owner, the words that are one of them, and the field rows lack without
    which they have no owner, by list."""

    keys: tuple[str, ...]
    words: dict[str, str] = field(default_factory=dict)
    told_by: dict[str, str] = field(default_factory=dict)


OWNERS = {
    "visit": Owner(("_visit",)),
    "person": Owner(("_person",), {"id": "_person"}),
    "provider": Owner(("_hospital",), {"id": "_hospital"}),
    "practitioner": Owner(
        ("_hospital", "_doctor"), {"doctor": "_doctor", "hospital": "_hospital"}, {"lines": "fee_lines.bilg_dr_codg"}
    ),
    "device": Owner(
        ("_hospital", "_device"), {"id": "_device", "hospital": "_hospital"}, {"logs": "service_logs.device_id"}
    ),
    "terminal": Owner(
        ("_hospital", "_terminal"), {"id": "_terminal", "hospital": "_hospital"}, {"visits": "claims.terminal_id"}
    ),
    "contact": Owner(("_hospital", "_kind", "_contact"), {"kind": "_kind", "hospital": "_hospital"}),
}
MORE = {"terminal": ("terminal_id", "setl_time"), "contact": ("coner_tel", "curr_addr")}  # fields that name the owner
CONTACTS = {"电话": "coner_tel", "住址": "curr_addr"}


def placed(owner: str, kind: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that have an owner and a moment; and by field, how many have none."""
    needed = [*OWNERS[owner].keys, "_moment"]
    lost = rows.height
    if any(rows[c].null_count() for c in needed):
        rows = rows.drop_nulls(needed)
    lost, told_by = lost - rows.height, OWNERS[owner].told_by.get(kind)
    return rows, {told_by: lost} if told_by and lost else {}


def owned_lines(owner: str, lines: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """Lines with their owner. Of a device those for which its log has a record of the same visit, item and day."""
    if owner == "terminal":
        claims = facts.visits({"terminal_id", "setl_time"}).select(
            _visit="id", _terminal="terminal_id", _moment="setl_time"
        )
        return lines.join(claims, on="_visit", how="inner", maintain_order="left")
    lines = lines.with_columns(_moment="time")
    if owner == "practitioner":
        return lines.with_columns(_doctor=_said("doctor"))
    if owner == "device":
        used = facts.records("logs", {"item", "device_id"}).select("_visit", "item", date="_date", _device="device_id")
        return lines.join(used.drop_nulls().unique(), on=["_visit", "item", "date"], maintain_order="left")
    return lines


def owned_visits(owner: str, names: set[str], facts: Facts) -> pl.DataFrame:
    """Visits with their owner: of a practitioner those he attends, of a device those in its log, by the log's day."""
    extra = {"hospital", "admission", "doctor", *MORE.get(owner, ())}
    visits = facts.visits(names | extra).with_columns(_visit="id", _person="person", _hospital="hospital")
    if owner == "terminal":
        return visits.with_columns(_terminal="terminal_id", _moment="setl_time")
    if owner == "device":
        used = facts.records("logs", {"device_id"}).select("_visit", _device="device_id", _moment="_date")
        return visits.join(used.drop_nulls().unique(), on="_visit", maintain_order="left")
    if owner == "contact":
        visits = visits.with_columns(_moment="admission")
        known = [visits.with_columns(_kind=pl.lit(kind), _contact=_said(field)) for kind, field in CONTACTS.items()]
        return pl.concat(known).filter(pl.col("_contact").is_not_null())
    return visits.with_columns(_doctor=_said("doctor"), _moment="admission")


def owned_records(owner: str, kind: str, names: set[str], facts: Facts) -> pl.DataFrame:
    """Records (logs, reports …) with their owner: the claim and person they name, whoever signed them, the device."""
    what, fields = RECORDS[kind], {"fixmedins_code": "_hospital", "psn_no": "psn_no"}
    fields |= {"device_id": "_device"} if kind == "logs" else {}
    fields |= {what.by: "_doctor"} if what.by else {}
    rows = facts.records(kind, names | set(fields) | {what.moment})
    rows = rows.with_columns(pl.col(what.moment).alias("_moment"), *(pl.col(f).alias(n) for f, n in fields.items()))
    if owner == "person":
        visits = facts.visits({"psn_no"})
        by_claim = visits.select(_visit="id", _of_claim="person")
        by_number = visits.select("psn_no", _of_number="person").unique("psn_no", keep="first", maintain_order=True)
        rows = rows.join(by_claim, on="_visit", how="left", maintain_order="left")
        rows = rows.join(by_number, on="psn_no", how="left", maintain_order="left")
        rows = rows.with_columns(_person=pl.coalesce("_of_claim", "_of_number")).drop("_of_claim", "_of_number")
    return rows


def owned(
    owner: str, kind: str, names: set[str], by: list[str], lines: Callable[[set[str]], pl.DataFrame], facts: Facts
) -> pl.DataFrame:
    """The elements of one list with their owner; `lines` are the fee lines that may be among them.

    `by` are the words that part the cases, of lines or, as `visit.total`, of the visits both lines and visits have.
    """
    if kind == "lines":
        return owned_lines(owner, lines(names | set(by)), facts)
    if kind == "visits":
        words = {word: word.removeprefix("visit.") for word in by if word.startswith("visit.")}
        rows = owned_visits(owner, names | set(words.values()), facts)
        return rows.with_columns(pl.col(of_visit).alias(word) for word, of_visit in words.items())
    return owned_records(owner, kind, names, facts)


def _said(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.col(name))


def add_owner(frame: pl.DataFrame, loaded: LoadedRule, facts: Facts) -> pl.DataFrame:
    """The frame with the columns the rule reads of the owners its scope has: their keys and what a register says."""
    for symbol in scopes()[loaded.rule.scope].symbols:
        if symbol not in OWNERS or symbol == "visit":
            continue
        owner, names = OWNERS[symbol], columns_of(loaded, symbol)
        frame = frame.with_columns(pl.col(c).alias(f"{symbol}.{word}") for word, c in owner.words.items())
        key, own = owner.keys[-1], names - set(owner.words)
        if not own:
            continue
        known = _of_person(own, facts) if symbol == "person" else facts.register(tables_behind()[symbol].table, own)
        known = known.select(pl.col("_key").alias(key), *(pl.col(n).alias(f"{symbol}.{n}") for n in sorted(own)))
        frame = frame.join(known, on=key, how="left", maintain_order="left")
    return frame


def _of_person(names: set[str], facts: Facts) -> pl.DataFrame:
    """What visits and the register say of persons: of several numbers of one person, the first that says it."""
    registered = {n for n in names if objects()["person"][n].field == n}
    visits = facts.visits({"psn_no", "sex"})
    numbers = visits.select(_key="person", _number="psn_no").unique().sort("_key", "_number")
    listed = facts.register("persons", registered).rename({"_key": "_number"})
    known = numbers.join(listed, on="_number", how="left", maintain_order="left")
    known = known.group_by("_key", maintain_order=True).agg(pl.col(sorted(registered)).drop_nulls().first())
    sexes = visits.group_by(_key="person").agg(pl.col("sex").drop_nulls().min())
    return known.join(sexes, on="_key", how="left", maintain_order="left")
