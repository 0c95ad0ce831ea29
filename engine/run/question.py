"""`yibao rules try`: a question to a prepared extract without a rule file: how many cases, how many hits, what money.

The question becomes a rule that lies nowhere, so it is checked, compiled and judged as rules are, with the same carets
where it is wrong. Every case is asked: nothing is left out because a rule would not name its lines.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from engine.audit import CODE_SCOPES, INSTITUTION_SCOPES
from engine.audit.cases import cases_of
from engine.audit.codes import code_cases, code_key, judge_codes
from engine.audit.facts import Facts
from engine.audit.findings import in_force
from engine.audit.frames import Cases
from engine.audit.judge import judge
from engine.audit.parts import Read, parts
from engine.audit.trial import spoken_cases
from engine.language.rule import LoadedRule, load_rule
from engine.language.vocabulary import objects, scopes
from engine.run import buckets, pipeline, stages
from engine.run.comparing import with_region_peers
from engine.run.prepared import Prepared
from engine.run.region import Region, refuse
from engine.run.tracing import code_facts
from engine.tables.problems import InputProblem, UsageProblem

WHERE = {"_setl": "结算单", "_hospital": "机构", "_dept": "科室", "_date": "日期", "_item": "项目"}
FOUND = {"setl_id": "结算单", "fixmedins_code": "机构", "service_date": "日期", "med_list_codg": "项目"}


@dataclass
class Asked:
    """What a question found: cases asked, hits, cases without an answer, sums in fen of the lines flagged in the hits,
    and examples, the most money first: where each is, and the values that the condition read."""

    cases: int = 0
    hits: int = 0
    unjudged: int = 0
    gross_fen: int = 0
    fund_fen: int = 0
    examples: list[tuple[dict, list[Read]]] = field(default_factory=list)


def question(expression: str, scope: str, region: Region, flag: str = "", sets: tuple[str, ...] = (),
             same: str = "", window: int | None = None) -> LoadedRule:  # fmt: skip
    """The rule that asks; sets are written `name=concept:x` or `name=code,code`. Raises RuleProblem with carets."""
    if scope not in scopes():
        raise UsageProblem(f"--for {scope!r}", allowed=", ".join(scopes()))
    words = {"id": "question", "title": "提问", "description": "提问", "family": "question",
             "basis": [{"law": "无"}], "for": scope}  # fmt: skip
    words |= {"amount": "lines" if flag or _of_lines(scope) else "claim" if scope == "visit" else "none"}
    words |= ({"same": same} if same else {}) | ({"window": {"days": str(window)}} if window else {})
    words |= {"sets": dict(_set(text) for text in sets)} if sets else {}
    said = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in words.items()]
    flag = flag or ("l.cnt > 0" if _of_lines(scope) and scope not in ("line", "line_pair") else "")
    said += [
        f"{name}: |-\n  " + text.replace("\n", "\n  ") for name, text in (("when", expression), ("flag", flag)) if text
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "question.yaml"
        path.write_text("\n".join(said) + "\n", "utf-8")
        loaded, notes = load_rule(path, Path(folder), region.knowledge, {}, region.today)
    refuse([fault for fault in notes.faults if fault.code != "E_TESTS"], "")
    # A part of the condition that fails early must not keep a case from being counted.
    return replace(loaded, cheap=[])


def _of_lines(scope: str) -> bool:
    """Are cases of the scope lines, or days and windows made of lines?"""
    if scope in ("line", "line_pair"):
        return True
    first = next(iter(scopes()[scope].symbols.values()))
    return "lines" in objects()[first] and scope != "visit" and scope not in INSTITUTION_SCOPES


def _set(text: str) -> tuple[str, str | list[str]]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UsageProblem(f"--set {text!r}", allowed="name=concept:NAME, name=code,code")
    listed = [code.strip() for code in value.split(",") if code.strip()]
    return name.strip(), value.strip() if value.strip().startswith("concept:") else listed


def ask(extract: Prepared, region: Region, loaded: LoadedRule, limit: int = 20,
        progress: pipeline.Progress = pipeline.quiet) -> Asked:  # fmt: skip
    """Ask the whole extract. Raises InputProblem where a table is missing that the question speaks of."""
    if loaded.rule.scope in CODE_SCOPES:
        return _ask_codes(extract, region, loaded, limit)
    found = Asked()
    absent = [name for name in ("claims", "fee_lines") if name not in extract.tables]
    if absent:
        raise InputProblem(f"缺少数据表 missing table: {absent[0]}")
    for facts in _facts(extract, region, loaded, progress):
        if missing := facts.missing(loaded):
            raise InputProblem(f"缺少数据表 missing table: {missing}")
        _add(found, loaded, facts, limit)
    found.examples = [(where, read) for _, where, read in found.examples]
    return found


def _facts(extract: Prepared, region: Region, loaded: LoadedRule, progress) -> Iterator[Facts]:
    if loaded.rule.scope not in INSTITUTION_SCOPES:
        for number in range(extract.buckets):
            progress("提问 question", number, extract.buckets)
            yield stages.facts_of(extract.bucket(number, [loaded]), region)
        progress("提问 question", extract.buckets, extract.buckets)
        return
    groups = buckets.institution_buckets(extract.tables, region, [loaded])
    for tables in with_region_peers(groups, extract.tables, replace(region, rules=[loaded])):
        yield stages.facts_of(stages.netted(tables()), region)


def _add(found: Asked, loaded: LoadedRule, facts: Facts, limit: int) -> None:
    """What one bucket answers."""
    cases = cases_of(loaded, facts)
    verdict = judge(loaded, facts)
    found.cases += cases.frame.height
    found.unjudged += verdict.unjudged.cases + verdict.unjudged.outside
    if verdict.hits.is_empty():
        return
    found.hits += verdict.hits.height
    found.gross_fen += verdict.hits["gross"].sum()
    found.fund_fen += verdict.hits["fund"].sum()
    placed = in_force(loaded, facts, verdict)
    best = (
        placed.filter(pl.col("_case").is_in(cases.frame["_case"].implode())).sort(-pl.col("fund"), "_case").head(limit)
    )
    reads = _reads(loaded, cases, best["_case"])
    told = [(row["fund"], {label: row[name] for name, label in WHERE.items()}, reads[row["_case"]])
            for row in best.iter_rows(named=True)]  # fmt: skip
    found.examples = sorted([*found.examples, *told], key=lambda one: (-one[0], str(one[1])))[:limit]


def _reads(loaded: LoadedRule, cases: Cases, chosen: pl.Series) -> dict[int, list[Read]]:
    """Case -> the values its condition read."""
    kept = cases.some(chosen)
    return {
        number: list({read.words: read for part in parts(loaded, "when", case) for read in part.read}.values())
        for number, case in zip(kept.frame["_case"], spoken_cases(loaded, kept), strict=True)
    }


def _ask_codes(extract: Prepared, region: Region, loaded: LoadedRule, limit: int) -> Asked:
    facts = code_facts(extract.tables, region)
    missing = "trace_codes" if facts is None else facts.missing(loaded)
    if missing:
        raise InputProblem(f"缺少数据表 missing table: {missing}")
    of = facts.of(loaded.rule.scope)
    findings, _, unjudged = judge_codes(loaded, of, facts.tables.get("fee_lines"))
    cases = code_cases(loaded, of)
    best = findings.sort(-pl.col("fund_fen"), "finding_id").head(limit)
    keyed = cases.frame.select("_case", key=code_key(loaded)).join(best.select(key="scope_key"), on="key", how="semi")
    reads, number = _reads(loaded, cases, keyed["_case"]), dict(keyed.select("key", "_case").iter_rows())
    told = [
        ({label: row[name] for name, label in FOUND.items()}, reads[number[row["scope_key"]]])
        for row in best.iter_rows(named=True)
    ]
    sums = findings.select(pl.col("gross_fen", "fund_fen").sum()).row(0)
    return Asked(cases.frame.height, findings.height, unjudged, *sums, told)
