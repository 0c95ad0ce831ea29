"""What holds in a region, loaded before a run begins: knowledge, rules with their parameters, policy, scheme."""

import datetime
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from engine.grouping.scheme import AnyScheme, load_scheme
from engine.language.faults import Notes, RuleFault
from engine.language.rule import LoadedRule, load_rules, rebuilt
from engine.language.waivers import LoadedWaiver, load_waivers
from engine.reference.knowledge import Knowledge, load_knowledge
from engine.reference.places import rules_folder, seeds_folder
from engine.reference.presumptions import Presumptions, load_presumptions
from engine.settlement.policy import Policy, load_policy
from engine.tables.problems import RuleProblem, UsageProblem
from engine.tables.yamltext import read_mapping, read_yaml

UNDATED = datetime.date(2000, 1, 1)  # until the data are read
CAUTIONS = "cautions.csv"
DEFAULT_POLICY, DEFAULT_SCHEME = "demo-region", "chs-drg-starter"


@dataclass
class Region:
    """Everything a run needs beside the extract."""

    knowledge: Knowledge
    rules: list[LoadedRule]
    waivers: list[LoadedWaiver]
    policy: Policy
    scheme: AnyScheme
    presumptions: Presumptions
    params: dict
    rules_at: Path
    scheme_sha256: str = ""
    today: datetime.date = UNDATED  # for which $today and $now stand

    def dated(self, today: datetime.date | None) -> "Region":
        """The region whose rules know the run's date for $today and $now: that of the data, not of the clock.

        Data without claims have no date, and nothing that asks for one.
        """
        if today is None:
            return self
        rules = [rebuilt(rule, today=today) if rule.asks_the_date else rule for rule in self.rules]
        return replace(self, rules=rules, today=today)


def load_region(
    policy: str = DEFAULT_POLICY,
    scheme: str = DEFAULT_SCHEME,
    rules: Path | None = None,
    params: Path | None = None,
    knowledge: list[Path] = (),
    judging: bool = True,
) -> Region:
    """Load and check everything; the rules only for what judges. Raises Problem with every fault of the first kind."""
    known = load_knowledge(list(knowledge))
    overrides, said = read_params(params) if params else ({}, None)
    folder = rules or rules_folder()
    if not folder.is_dir():
        raise UsageProblem(f"没有规则目录 no folder of rules: {folder}")
    return Region(
        knowledge=known,
        rules=read_rules(folder, known, overrides, UNDATED, said) if judging else [],
        waivers=waivers_of(folder),
        policy=load_policy(policy),
        scheme=load_scheme(scheme_folder(scheme)),
        presumptions=load_presumptions(overrides.get("engine")),
        params=overrides,
        rules_at=folder,
        scheme_sha256=_digest_of(scheme_folder(scheme)),
    )


def _digest_of(folder: Path) -> str:
    """One hash of the names and bytes of the files in a folder of a scheme, and of our cautions."""
    files = [*sorted(p for p in folder.iterdir() if p.suffix in (".csv", ".yaml")), seeds_folder() / "drg" / CAUTIONS]
    told = [f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def scheme_folder(name: str) -> Path:
    """A scheme by name (seeds/drg) or by folder."""
    ours = seeds_folder() / "drg" / name
    if ours.is_dir():
        return ours
    if Path(name).is_dir():
        return Path(name)
    have = ", ".join(sorted(p.name for p in (seeds_folder() / "drg").iterdir() if p.is_dir()))
    raise UsageProblem(f"没有分组方案 no scheme {name!r}", allowed=f"{have}，或一个目录 or a folder")


def read_params(path: Path) -> tuple[dict, Notes]:
    """A region's parameters, rule id -> name -> text (`engine` for what concerns no single rule), and their file."""
    if not path.is_file():
        raise UsageProblem(f"没有参数文件 no such file: {path}")
    values, _ = read_mapping(path)
    notes = Notes(str(path), read_yaml(path))
    for rule, given in values.items():
        if not isinstance(given, dict):
            line, column = notes.document.where((rule,))
            hint = "split-stay-short-readmission: {window_days: 15}"
            raise RuleProblem(f"{rule}: 应为 规则: {{参数: 值}}", f"{path}:{line}:{column}", hint=hint)
    return values, notes


def read_rules(folder: Path, knowledge: Knowledge, overrides: dict, today: datetime.date, said: Notes | None = None):
    """The rules of a folder. Raises RuleProblem with every error of every file."""
    loaded, faults = load_rules(folder, knowledge, overrides, today, said)
    refuse(faults, str(folder))
    return loaded


def waivers_of(folder: Path) -> list[LoadedWaiver]:
    """The waivers beside the rules of a folder. Raises RuleProblem with every fault of every file."""
    loaded, faults = load_waivers(folder)
    refuse(faults, str(folder))
    return loaded


def refuse(faults: list[RuleFault], where: str) -> None:
    """Raises RuleProblem with every fault that is an error, where there is one."""
    if wrong := [fault for fault in faults if fault.severity == "error"]:
        listed = "\n".join(map(str, wrong))
        raise RuleProblem(f"{len(wrong)} 处规则错误 faults in the rules\n{listed}", where)
