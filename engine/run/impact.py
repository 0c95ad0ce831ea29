"""`yibao rules impact`: the rules as they are and as they were, asked of one prepared extract, and compared.

What was edited is told by the fingerprints of the rules; only those are asked, and each answer is kept.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from engine.audit.fingerprint import PARTS
from engine.audit.impact import Impact, impact
from engine.language.rule import LoadedRule, load_rule, rule_files
from engine.reference.knowledge import load_knowledge
from engine.reference.places import seeds_folder
from engine.reference.presumptions import load_presumptions
from engine.run import pipeline
from engine.run.prepared import Prepared
from engine.run.region import Region, read_params, refuse, waivers_of
from engine.run.revision import at_revision
from engine.run.verdicts import answers, fingerprints
from engine.tables.problems import UsageProblem

ADDED, REMOVED, WAIVERS = "added", "removed", "waivers"


def earlier(
    before: str, now: Region, params: Path | None, knowledge: list[Path], was_params: Path | None,
    was_knowledge: list[Path], work: Path,
) -> Region:  # fmt: skip
    """The region as it was: rules of another folder, or everything as it stood at a revision of its repository.

    Tables and parameters given for the side before are taken as they are; else those of the revision, else today's.
    """
    rules, seeds, past = Path(before), seeds_folder(), {}
    if not rules.is_dir():
        given = [seeds / "knowledge", seeds / "presumptions.yaml", *([params] if params else []), *knowledge]
        past = at_revision(before, now.rules_at, given, work / "past")
        rules = past[now.rules_at]
    tables = past.get(seeds / "knowledge")
    if tables and seeds / "presumptions.yaml" not in past:
        shutil.copy(seeds / "presumptions.yaml", tables.parent)
    ours = tables.parent if tables else seeds
    known = load_knowledge(was_knowledge or [past.get(k, k) for k in knowledge], ours)
    file = was_params or (past.get(params, params) if params else None)
    given = read_params(file)[0] if file else {}
    presumed = load_presumptions(given.get("engine"), ours)
    side = replace(now, knowledge=known, presumptions=presumed, params=given, rules_at=rules, rules=[],
                   waivers=waivers_of(rules))  # fmt: skip
    side.rules = _rules(side, now)
    return side


def _rules(side: Region, now: Region) -> list[LoadedRule]:
    """The rules of the side before; one whose file, parameters and tables are today's is today's rule."""
    today = {r.path.relative_to(now.rules_at): r for r in now.rules}
    same_tables = sorted(d for _, d in side.knowledge.files) == sorted(d for _, d in now.knowledge.files)
    found, faults = [], []
    for path in rule_files(side.rules_at):
        rule = today.get(path.relative_to(side.rules_at))
        same_params = side.params.get(path.stem) == now.params.get(path.stem)
        if rule and same_tables and same_params and rule.path.read_bytes() == path.read_bytes():
            found.append(rule)
            continue
        rule, notes = load_rule(path, side.rules_at, side.knowledge, side.params, now.today)
        faults += notes.faults
        found.append(rule)
    refuse(faults, str(side.rules_at))
    return sorted(found, key=lambda r: r.rule.id)


def compared(
    extract: Prepared, was: Region, now: Region, examples: int = 5, progress: pipeline.Progress = pipeline.quiet
) -> tuple[Impact, list[str]]:
    """What the edit does, and the rules that were asked for it."""
    if not extract.tables:
        raise UsageProblem("没有可读的数据 nothing to read")
    before, after = answers(extract, was, progress), answers(extract, now, progress)
    asked = sorted({*before.asked, *after.asked})
    return impact(before, after, edited(was, now), examples), asked


def edited(was: Region, now: Region) -> dict[str, list[str]]:
    """Rule id -> which parts of it differ, `added`, `removed` or `waivers`; only rules of which something differs."""
    old, new = fingerprints(was), fingerprints(now)
    found = {}
    for rule_id in sorted(old.keys() | new.keys()):
        if rule_id not in old or rule_id not in new:
            found[rule_id] = [ADDED if rule_id in new else REMOVED]
        elif parts := [part for part in PARTS if old[rule_id][part] != new[rule_id][part]]:
            found[rule_id] = parts
    sides = [{(w.waiver.rule, w.text) for w in region.waivers} for region in (was, now)]
    for rule_id in sorted({rule_id for rule_id, _ in sides[0] ^ sides[1]} & (old.keys() | new.keys())):
        found[rule_id] = [*found.get(rule_id, []), WAIVERS]
    return found
