"""One rule asked of every case of a bucket: hits with their evidence and money, and what could not be judged.

The steps are the same for every scope: build the cases, compute the lists' sums, ask `when`, spare what an innocent
explanation proves, cut the excess from the lines in evidence, and value it.
"""

from dataclasses import dataclass, field, replace

import polars as pl

from engine.audit.cases import cases_of, with_lists
from engine.audit.covering import uncovered
from engine.audit.facts import Facts
from engine.audit.frames import Cases, holds
from engine.audit.money import BY_LINE, EVIDENCE, UNITS, charged, valued, with_money
from engine.audit.plain import RECORDS
from engine.audit.regroup import regrouped
from engine.audit.sums import aggregates_of, summed, with_aggregates
from engine.audit.windows import WINDOWS, sliding, windows
from engine.language.rule import LoadedRule, message_parts
from engine.language.values import plain
from engine.reference.presumptions import Presumptions

_NO_EVIDENCE = pl.DataFrame(schema=EVIDENCE)
BY_UNITS = ("days_supply", "minutes")  # facts of a line that grow with its units
LATE_WORDS = {"day.posted_late", "day.stay_over"}  # known only once a case hits


@dataclass(frozen=True)
class Unjudged:
    """How many cases had no answer and what their lines cost; and those outside the coverage of a table."""

    cases: int = 0
    fen: int = 0
    outside: int = 0
    outside_fen: int = 0
    table: str = ""


@dataclass
class Verdict:
    """Hits (one row per case with `_result`, `_innocent`, `_message`, money), their evidence, and the unjudged.

    `unplaced` counts by field the rows that are in no case because they lack it.
    """

    hits: pl.DataFrame
    evidence: pl.DataFrame
    unjudged: Unjudged = Unjudged()
    unplaced: dict[str, int] = field(default_factory=dict)
    unvalued: int = 0  # hits whose money could not be told


def judge(loaded: LoadedRule, facts: Facts) -> Verdict:
    """Ask one rule of the bucket."""
    if loaded.rule.scope in WINDOWS:
        return _judge_windows(loaded, facts)
    return _judged(loaded, facts, cases_of(loaded, facts))


def _judged(loaded: LoadedRule, facts: Facts, cases: Cases) -> Verdict:
    outside, table = uncovered(loaded, facts, cases.frame)
    frame = asked(loaded, cases).join(outside, on="_case", how="anti", maintain_order="left")
    unjudged = frame.filter(pl.col("_raises") | pl.col("_when").is_null())
    left = Unjudged(unjudged.height, _worth(cases, unjudged), outside.height, _worth(cases, outside), table)
    hits = frame.filter(pl.col("_when"), ~pl.col("_raises"))
    if hits.is_empty():
        return Verdict(cases.frame.clear(), _NO_EVIDENCE, left, cases.unplaced)
    hits, flagged, unclear = accused(loaded, facts, cases, hits)
    hits = spared(loaded, hits)
    flagged = {role: rows.join(hits.select("_case"), on="_case", how="semi") for role, rows in flagged.items()}
    evidence, unvalued = _never_empty(valued(loaded, facts, hits, flagged), hits), 0
    if loaded.rule.amount == "regroup":
        hits, evidence, unvalued = regrouped(facts, hits, evidence)
    if loaded.rule.amount in BY_LINE:
        hits = hits.join(evidence.filter(pl.col("role") == "excess").select("_case").unique(), on="_case", how="semi")
        evidence = evidence.join(hits.select("_case"), on="_case", how="semi")
    if loaded.rule.join and loaded.rule.join.by:
        hits, evidence = _without_twins(hits, evidence)
    hits = with_money(hits, evidence)
    if loaded.rule.scope == "store_item" and loaded.rule.amount in ("gap", "difference"):
        hits = hits.join(charged(facts, flagged["excess"]), on="_case", how="left", maintain_order="left")
        evidence = _of_store(hits)
    left = replace(left, cases=left.cases + unclear.height, fen=left.fen + _worth(cases, unclear))
    return Verdict(hits, evidence, left, cases.unplaced, unvalued)


def _never_empty(evidence: pl.DataFrame, hits: pl.DataFrame) -> pl.DataFrame:
    """A finding about a claim of which nothing is flagged rests on the claim."""
    if "_visit" not in hits.columns:
        return evidence
    bare = hits.join(evidence, on="_case", how="anti", maintain_order="left")
    nothing = [pl.lit(None, EVIDENCE[n]).alias(n) for n in ("cnt", "gross", "inscope", "fund")]
    claims = bare.select(
        "_case", *nothing, table=pl.lit("claims"), row_key="_visit", setl_id="_visit", role=pl.lit("basis")
    )
    return pl.concat([evidence, claims.select(evidence.columns)], how="vertical_relaxed")


def _worth(cases: Cases, some: pl.DataFrame) -> int:
    """What the lines of some cases cost, in fen: the lines they are, or those of their lists, each once."""
    if some.is_empty():
        return 0
    frames = [cases.frame, *(m for path, m in cases.members.items() if path.endswith(".lines"))]
    lines = [f.select("_case", "id", "_cost") for f in frames if {"id", "_cost"} <= set(f.columns)]
    chosen = [f.join(some.select("_case"), on="_case", how="semi") for f in lines]
    return pl.concat(chosen).unique("id")["_cost"].sum() if chosen else 0


def accused(
    loaded: LoadedRule, facts: Facts, cases: Cases, hits: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame]:
    """The cases for which the condition holds, with all that innocent explanations read, before any is heard; the
    elements in evidence by role; and the cases of which a further expression cannot be worked out, which are gone.
    """
    hits = completed(loaded, cases, hits)
    unclear = _unclear(loaded, cases, hits)
    hits = hits.join(unclear, on="_case", how="anti")
    if loaded.rule.scope == "line_pair":
        cases, hits = _one_per_later_line(cases, hits)
    flagged = _flagged(loaded, cases, hits)
    return _with_stay(loaded, cases, hits, flagged, facts.presumptions), flagged, unclear


def _of_store(hits: pl.DataFrame) -> pl.DataFrame:
    """A finding about a store is about no claim: its evidence is the item's balance, not every line that sold it."""
    nothing = [
        pl.lit(None, t).alias(n) for n, t in EVIDENCE.items() if n in ("setl_id", "cnt", "gross", "inscope", "fund")
    ]
    key = pl.concat_str("_hospital", "_local_item", separator="|")
    rows = hits.select("_case", key.alias("row_key"), table=pl.lit("store_items"), role=pl.lit("basis"))
    return rows.with_columns(nothing).select(EVIDENCE.keys())


def _without_twins(hits: pl.DataFrame, evidence: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of cases of which one accuses no unit that the other does not, the larger counts: two groups of a table may hold
    the same pair, and one of them a third item."""
    accused = evidence.filter(pl.col("role") == "excess").select("_case", "row_key", "cnt")
    lines = accused.group_by("_case").agg(_lines=pl.len())
    shared = accused.join(accused, on="row_key", suffix="_b").filter(pl.col("_case") != pl.col("_case_b"))
    shared = shared.filter(pl.col("cnt").is_null() | (pl.col("cnt") <= pl.col("cnt_b")))
    within = shared.group_by("_case", "_case_b").agg(_within=pl.len()).join(lines, on="_case")
    within = within.filter(pl.col("_within") == pl.col("_lines")).select("_case", "_case_b")
    equal = within.join(within, left_on=["_case", "_case_b"], right_on=["_case_b", "_case"], how="semi")
    gone = within.join(equal.filter(pl.col("_case") < pl.col("_case_b")), on=["_case", "_case_b"], how="anti")
    hits = hits.join(gone, on="_case", how="anti", maintain_order="left")
    return hits, evidence.join(hits.select("_case"), on="_case", how="semi", maintain_order="left")


def asked(loaded: LoadedRule, cases: Cases) -> pl.DataFrame:
    """The cases with the sums that `when` needs and its answer, `_when`, `_raises`."""
    when = loaded.compiled["when"]
    raises = pl.lit(False) if when.raises is None else when.raises.fill_null(False)
    return summed(cases.frame, cases, when.aggregates).with_columns(_when=when.value, _raises=raises)


def completed(loaded: LoadedRule, cases: Cases, hits: pl.DataFrame) -> pl.DataFrame:
    """The hits with what the other expressions need: their sums, and the excess."""
    known = {a.name for a in loaded.compiled["when"].aggregates}
    left = [a for a in aggregates_of(loaded) if a.name not in known]
    own = {a.collection for a in left}
    members = {path: cases.members[path].join(hits.select("_case"), on="_case", how="semi") for path in own}
    hits = summed(hits, Cases(hits, members), left)
    if "excess" not in loaded.compiled:
        return hits
    excess = loaded.compiled["excess"]
    value = excess.value if excess.raises is None else pl.when(~excess.raises).then(excess.value)
    return hits.with_columns(_excess=value.cast(UNITS))


def _worded(loaded: LoadedRule, hits: pl.DataFrame) -> pl.DataFrame:
    """Hits with their sentence, the values written in."""
    message = loaded.rule.message or loaded.rule.title
    pieces = [_shown(loaded.compiled[f"message.{part}"]) for part in message_parts(message)]
    text = message
    for part in message_parts(message):
        text = text.replace("{" + part + "}", "{}", 1)
    return hits.with_columns(pl.format(text, *pieces).alias("_message"))


def _shown(compiled) -> pl.Expr:
    """A value as a reader writes it: no trailing zeros, dates without midnight."""
    if compiled.kind == "number":
        return plain(compiled.value).fill_null("—")
    if compiled.kind == "time":
        return compiled.value.dt.strftime("%Y-%m-%d %H:%M").str.strip_suffix(" 00:00").fill_null("—")
    return compiled.value.cast(pl.String).fill_null("—")


def _one_per_later_line(cases: Cases, hits: pl.DataFrame) -> tuple[Cases, pl.DataFrame]:
    """A pair finding is about the included (later) line; every main line that makes it so is its basis."""
    hits = hits.sort("id", "_other", *(["_row"] if "_row" in hits.columns else []))
    first = hits.unique("id", keep="first", maintain_order=True)
    mains = hits.select("id", "_other", "_other_visit").unique().join(first.select("id", "_case"), on="id")
    cases.members["mains"] = mains.select("_case", id="_other", _visit="_other_visit")
    return cases, first


TABLES = {"lines": "fee_lines", "others": "claims", "visits": "claims", "diagnoses": "diagnoses",
          "procedures": "procedures", **{kind: records.table for kind, records in RECORDS.items()}}  # fmt: skip


def _flagged(loaded: LoadedRule, cases: Cases, hits: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The elements in evidence by role, with `_table` and natural order."""
    if loaded.rule.scope in ("line", "line_pair"):
        lines = hits.with_columns(_table=pl.lit("fee_lines"))
        roles = {"excess": lines}
        if "mains" in cases.members:
            roles["basis"] = cases.members["mains"].with_columns(_table=pl.lit("fee_lines"))
        return roles
    roles = {}
    for role, path in loaded.elements.items():
        elements = cases.members[path].join(hits.select("_case"), on="_case", how="semi")
        kept = elements.filter(holds(elements, loaded.compiled[f"flag.{role}"], hits))
        roles[role] = kept.with_columns(_table=pl.lit(TABLES[path.split(".")[-1]]))
    return roles


def _unclear(loaded: LoadedRule, cases: Cases, hits: pl.DataFrame) -> pl.DataFrame:
    """Cases whose excess cannot be worked out, or one of whose elements cannot be told to be evidence or not."""
    excess = loaded.compiled.get("excess")
    raises = pl.lit(False) if excess is None or excess.raises is None else excess.raises.fill_null(False)
    unclear = [hits.filter(raises).select("_case")]
    for role, path in loaded.elements.items():
        flag = loaded.compiled[f"flag.{role}"]
        if flag.raises is not None:
            elements = cases.members[path].join(hits.select("_case"), on="_case", how="semi")
            unclear.append(elements.filter(holds(elements, replace(flag, value=flag.raises), hits)).select("_case"))
    return pl.concat(unclear).unique()


def _with_stay(
    loaded: LoadedRule, cases: Cases, hits: pl.DataFrame, flagged: dict[str, pl.DataFrame], presumed: Presumptions
) -> pl.DataFrame:
    """What the rest of the stay says of a day: `day.stay_over`, the stay too has more than cap x days, and
    `day.posted_late`, an earlier day was posted together with this one, and the stay is within its days.

    For the latter all must hold (batch_posting in presumptions.yaml): the earlier day lies in the stay and has no unit;
    the item is charged on one of the days around; the day has at most some times its cap; the stay is not over.
    """
    if not any(LATE_WORDS & c.columns for c in loaded.compiled.values()):
        return hits
    stay = _stay_units(loaded, cases)
    key = [c for c in cases.key if c != "date"]
    units = flagged["excess"].group_by("_case").agg(_units=pl.col("cnt").sum().cast(UNITS))
    frame = hits.join(units, on="_case", how="left").with_columns(_cap=pl.col("_units") - pl.col("_excess"))
    around = {f"_on{offset}": offset for offset in presumed.charged_on}
    for name, offset in {"_before": -presumed.lookback_days, **around}.items():
        shifted = stay.select(*key, date=pl.col("date") - pl.duration(days=offset), **{name: pl.col("units")})
        frame = frame.join(shifted, on=[*key, "date"], how="left", maintain_order="left")
    frame = frame.join(stay.group_by(key).agg(_total=pl.col("units").sum()), on=key, how="left", maintain_order="left")
    over = pl.col("_total") > pl.col("_cap") * pl.max_horizontal("_days", presumed.min_days)
    late = (
        (pl.col("date") - pl.duration(days=presumed.lookback_days) >= pl.col("_admit"))
        & pl.col("_before").is_null()
        & pl.any_horizontal(pl.col(name).is_not_null() for name in around)
        & (pl.col("_units") <= presumed.max_multiple_of_cap * pl.col("_cap"))
        & ~over
    )
    words = {"day.posted_late": late.fill_null(False), "day.stay_over": over.fill_null(False)}
    return frame.with_columns(**words).select(*hits.columns, *words)


def _stay_units(loaded: LoadedRule, cases: Cases) -> pl.DataFrame:
    """Units in evidence by day of the stay, for every day and not only the judged ones."""
    key = [c for c in cases.key if c != "date"]
    members = cases.members["day.lines"].drop(key, strict=False)
    members = members.join(cases.frame.select("_case", *key), on="_case", how="inner")
    members = members.filter(holds(members, loaded.compiled["flag.excess"], with_aggregates(loaded, cases)))
    return members.group_by(*key, "date").agg(units=pl.col("cnt").sum().cast(UNITS))


def spared(loaded: LoadedRule, hits: pl.DataFrame) -> pl.DataFrame:
    """Without the cases an innocent explanation proves; with the strongest one left open, the result, the sentence."""
    columns, proven = [], pl.lit(False)
    open_reason = pl.lit(None, pl.String)
    for index, innocent in reversed(list(enumerate(loaded.rule.innocent))):
        unless = loaded.compiled.get(f"innocent.{index}.unless")
        if unless is not None:
            proven = proven | unless.value.fill_null(False)
        open_reason = pl.when(left_open(loaded, index)).then(pl.lit(innocent.because)).otherwise(open_reason)
    raised = loaded.compiled.get("violation_when")
    result = pl.lit(loaded.rule.result)
    if raised is not None:
        result = pl.when(raised.value.fill_null(False)).then(pl.lit("violation")).otherwise(result)
    columns = [open_reason.alias("_innocent"), result.alias("_result")]
    return _worded(loaded, hits.filter(~proven).with_columns(columns))


def left_open(loaded: LoadedRule, index: int) -> pl.Expr:
    """Whether an innocent explanation that is not proven stays open, or the values read exclude it."""
    unknown = loaded.compiled.get(f"innocent.{index}.unknown")
    if unknown is None:
        return pl.lit(f"innocent.{index}.unless" not in loaded.compiled)
    return unknown.value.fill_null(True)


def _judge_windows(loaded: LoadedRule, facts: Facts) -> Verdict:
    """Windows in rounds: the earliest hit of each group is taken, its excess leaves, the rest is asked again.

    So what was found excess once no longer counts for a later window, which favours the institution.
    """
    over, rounds, offset, unjudged = sliding(loaded, facts), [], 0, Unjudged()
    while True:
        cases = with_lists(windows(loaded, facts, over), loaded, facts)
        said = _judged(loaded, facts, cases)
        unjudged = max(unjudged, said.unjudged, key=lambda left: left.cases + left.outside)
        first = said.hits.sort(cases.key).unique(over.group, keep="first", maintain_order=True)
        evidence = said.evidence.join(first.select("_case"), on="_case", how="semi")
        rounds.append(_renumbered(first, evidence, offset))
        offset += cases.frame.height
        gone = evidence.filter(pl.col("role") == "excess")
        if gone.is_empty():
            break
        left = {path: _without_excess(rows, gone, path) for path, rows in over.lists.items()}
        over = replace(over, lists={path: _of_groups(rows, first, over.group) for path, rows in left.items()})
    hits, evidence = zip(*rounds, strict=True)
    return Verdict(pl.concat(hits, how="diagonal_relaxed"), pl.concat(evidence), unjudged, cases.unplaced)


def _of_groups(rows: pl.DataFrame, hits: pl.DataFrame, group: list[str]) -> pl.DataFrame:
    keys = [c for c in group if c in rows.columns]
    return rows.join(hits.select(keys).unique(), on=keys, how="semi", nulls_equal=True, maintain_order="left")


def _without_excess(rows: pl.DataFrame, gone: pl.DataFrame, path: str) -> pl.DataFrame:
    """The lines less the units found excess, visits and records less those found excess; what was right counts on.

    What is excess as a whole, and not by units, leaves as a whole. What the units last or take shrinks with them.
    """
    if "cnt" not in rows.columns:
        whole = gone.filter(pl.col("table") == TABLES[path.split(".")[1]])
        return rows.join(whole, left_on="id", right_on="row_key", how="anti", maintain_order="left")
    lines = gone.filter(pl.col("table") == "fee_lines").group_by(id="row_key")
    taken = lines.agg(_taken=pl.col("cnt").sum(), _whole=pl.col("cnt").is_null().any())
    rows = rows.join(taken, on="id", how="left", maintain_order="left")
    left = pl.col("cnt").cast(UNITS) - pl.col("_taken").fill_null(0)
    shrunk = [
        (pl.col(name).cast(UNITS) * left / pl.col("cnt").cast(UNITS)).cast(rows.schema[name])
        for name in BY_UNITS if name in rows.columns
    ]  # fmt: skip
    kept = rows.filter(~pl.col("_whole").fill_null(False))
    kept = kept.with_columns(*shrunk, left.cast(rows.schema["cnt"]).alias("cnt"))
    return kept.filter(pl.col("cnt") > 0).drop("_taken", "_whole")


def _renumbered(hits: pl.DataFrame, evidence: pl.DataFrame, offset: int):
    shift = (pl.col("_case") + offset).cast(pl.UInt32)
    return hits.with_columns(_case=shift), evidence.with_columns(_case=shift)
