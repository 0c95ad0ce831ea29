"""Why a rule says nothing of a claim: each case of the claim that was or could be asked, and where it went out.

The parts of `when` are interpreted one by one; where all of them hold, the innocent explanations, the lines in evidence
and the days the rule is in force are looked at in the order the rule is judged. Where there is no case, the rule names
no line of the claim, and the parts of its flag say which part failed on which line.
"""

from dataclasses import dataclass, replace

import polars as pl

from engine.audit.cases import cases_of
from engine.audit.codefacts import CodeFacts
from engine.audit.codes import code_cases, code_key, judge_codes
from engine.audit.facts import Facts
from engine.audit.findings import in_force
from engine.audit.frames import Cases
from engine.audit.joins import join_keys, joined_rows
from engine.audit.judge import LATE_WORDS, accused, asked, completed, judge, spared
from engine.audit.parts import Part, nearness, parts
from engine.audit.reads import element_variable, elements_of, named_items, side_items
from engine.audit.trial import spoken, spoken_cases
from engine.language.rule import LoadedRule
from engine.language.vocabulary import objects

OUTCOMES = {
    "when": "条件不成立",
    "unjudged": "缺少数值，无法评估",
    "spared": "被合理解释排除",
    "basis": "与另一明细组成的疑点已包含它",
    "nothing": "条件成立，但没有可扣的明细或数量，或与另一案例相同",
    "not_in_force": "条件成立，但日期不在规则施行期内",
    "found": "有疑点",
}
ABOUT = {"date": "日期", "id": "明细", "item": "项目", "name": "名称", "_other": "另一明细", "_dept": "病区",
         "window.start": "窗口起日"}  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """One case of the claim: what it is about, where it went out (see OUTCOMES), its parts, and what spared it."""

    about: dict[str, object]
    outcome: str
    parts: list[Part]
    because: str = ""


@dataclass(frozen=True)
class Unnamed:
    """No case: how many lines the claim has, the items the rule looks for, and the parts of the flag, nearest first."""

    lines: int
    named: list[str] | None
    present: list[str]
    nearest: list[Tried]


def tried(loaded: LoadedRule, facts: Facts, claim: str) -> list[Tried]:
    """Every case of the claim, nearest to a finding first. `facts`: those of its person, or of its institution."""
    full = replace(loaded, cheap=[])
    cases = cases_of(full, facts)
    own = _own(cases, claim)
    frame = asked(full, cases)
    hits, _, _ = accused(full, facts, cases, frame.filter(pl.col("_when"), ~pl.col("_raises")))
    verdict = judge(full, facts)
    kept = {"accused": hits, "left": spared(full, hits), "judged": verdict.hits}
    if verdict.hits.height:
        kept["dated"] = in_force(full, facts, verdict)
    stands = {name: set(part["_case"]) for name, part in kept.items()}
    words = sorted(LATE_WORDS & set(hits.columns))
    late = {row.pop("_case"): row for row in hits.select("_case", *words).iter_rows(named=True)} if words else {}
    cases = cases.some(own)
    found = []
    for row, case in zip(cases.frame.iter_rows(named=True), spoken_cases(full, cases), strict=True):
        for word, said in late.get(row["_case"], {}).items():
            case["day"][word.split(".")[1]] = said
        found.append(_went_out(full, case, _about(full, row), row["_case"], stands))
    return sorted(found, key=lambda one: (*nearness(one.parts), str(one.about)))


def tried_codes(loaded: LoadedRule, facts: CodeFacts, claim: str) -> list[Tried]:
    """The same for a rule over trace codes: every case that a sale of the claim stands behind."""
    of = facts.of(loaded.rule.scope)
    events = of.events()
    own = events.filter(pl.col("setl_id") == claim)["case"].unique() if "setl_id" in events.columns else pl.Series([])
    cases = code_cases(loaded, of).some(own)
    hits = asked(loaded, cases).filter(pl.col("_when"), ~pl.col("_raises"))
    left = spared(loaded, completed(loaded, cases, hits))
    found = judge_codes(loaded, of, facts.tables.get("fee_lines"))[0]
    judged = left.filter(code_key(loaded).is_in(found["scope_key"].implode()))
    kept = {"accused": hits, "left": left, "judged": judged, "dated": judged}
    stands = {name: set(part["_case"]) for name, part in kept.items()}
    keyed = cases.frame.select(code_key(loaded)).to_series()
    told = [
        _went_out(loaded, case, {"对象": key}, number, stands)
        for key, number, case in zip(keyed, cases.frame["_case"], spoken_cases(loaded, cases), strict=True)
    ]
    return sorted(told, key=lambda one: (*nearness(one.parts), str(one.about)))


def _about(loaded: LoadedRule, row: dict) -> dict[str, object]:
    """What tells a case from others, under the words a reader knows."""
    names = dict(ABOUT)
    if join := loaded.rule.join:
        names |= {f"{join.alias}.{name}": "表中项目" for name in ("item", "name") if f"{join.alias}.{name}" in row}
    return {label: row[name] for name, label in names.items() if name in row}


def _own(cases: Cases, claim: str) -> pl.Series:
    """The cases the claim has a part in: its own, or those of whose lists an element is the claim's."""
    frames = [cases.frame, *(m for m in cases.members.values() if "_visit" in m.columns)]
    if "_visit" in cases.frame.columns and "_person" not in cases.key:
        frames = [cases.frame]
    return pl.concat([f.filter(pl.col("_visit") == claim)["_case"] for f in frames if "_visit" in f.columns]).unique()


def _went_out(loaded: LoadedRule, case: dict, about: dict, number: int, stands: dict[str, set]) -> Tried:
    """Where a case leaves the way from the condition to a finding."""
    when = parts(loaded, "when", case)
    if "known" in loaded.parsed:
        needed = parts(loaded, "known", case)
        if not all(part.holds for part in needed) and all(part.holds is not False for part in when):
            return Tried(about, "unjudged", [*needed, *when])
    failed = next((part for part in when if not part.holds), None)
    if failed:
        return Tried(about, "when" if failed.holds is False else "unjudged", when)
    if number not in stands["accused"]:
        return Tried(about, "basis", when)
    if number not in stands["left"]:
        for index, innocent in enumerate(loaded.rule.innocent):
            if innocent.unless:
                unless = parts(loaded, f"innocent.{index}.unless", case)
                if all(part.holds for part in unless):
                    return Tried(about, "spared", [*when, *unless], innocent.because)
    if number not in stands["judged"]:
        return Tried(about, "nothing", when)
    return Tried(about, "found" if number in stands["dated"] else "not_in_force", when)


def unnamed(loaded: LoadedRule, facts: Facts, claim: str) -> Unnamed:
    """Why the rule has no case in the claim: the items it looks for, and which part of its flag fails on each line."""
    path = loaded.elements.get("excess", "")
    on_lines = path.endswith(".lines")
    names = elements_of(loaded, path) if on_lines else {"item", "name"}
    lines = facts.lines(names | {"item", "name"}).filter(pl.col("_visit") == claim)
    named = _items(loaded, facts)
    present = sorted(set(lines["item"]) & set(named)) if named is not None else []
    looked_at = on_lines and (named is None or present)
    return Unnamed(lines.height, named, present, _flags(loaded, lines, path) if looked_at else [])


def _items(loaded: LoadedRule, facts: Facts) -> list[str] | None:
    """The items a rule looks for: those of its rows, else those its expressions name."""
    if loaded.rule.join:
        columns, attributes = join_keys(loaded)
        rows = joined_rows(loaded, facts)
        listed = [rows[c].drop_nulls() for c, a in zip(columns, attributes, strict=True) if a == "item"]
        return pl.concat(listed).unique().sort().to_list() if listed else None
    if loaded.rule.scope == "line_pair":
        sides = [side_items(loaded, side) for side in ("a", "b")]
        return None if None in sides else sorted({item for side in sides for item in side})
    return named_items(loaded)


def _flags(loaded: LoadedRule, lines: pl.DataFrame, path: str) -> list[Tried]:
    """The parts of the flag for every line of the claim, nearest first; none where it speaks of the case too."""
    if loaded.compiled["flag.excess"].columns or loaded.compiled["flag.excess"].aggregates:
        return []
    variable, own = element_variable(path), loaded.setting
    setting = replace(own, joined={**own.joined, variable: objects()["line"]})
    given = {"params": own.params} | {name: set(codes) for name, codes in own.sets.items()}
    found = []
    for row in lines.iter_rows(named=True):
        case = {**given, variable: spoken(row, objects()["line"])}
        about = {label: row[name] for name, label in ABOUT.items() if name in row}
        found.append(Tried(about, "when", parts(loaded, "flag.excess", case, setting)))
    return sorted(found, key=lambda one: (*nearness(one.parts), str(one.about)))
