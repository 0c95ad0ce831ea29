"""What holds in a region, loaded before a run begins: knowledge, rules with their parameters, policy, scheme."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from engine.grouping.scheme import Scheme, load_scheme
from engine.language.rule import LoadedRule, RuleFault, load_rules
from engine.language.waivers import LoadedWaiver, load_waivers
from engine.reference.knowledge import Knowledge, load_knowledge
from engine.reference.places import rules_folder, seeds_folder
from engine.reference.presumptions import Presumptions, load_presumptions
from engine.settlement.policy import Policy, load_policy
from engine.tables.problems import RuleProblem, UsageProblem
from engine.tables.yamltext import read_mapping

DEFAULT_POLICY, DEFAULT_SCHEME = "demo-region", "chs-drg-starter"


@dataclass
class Region:
    """Everything a run needs beside the extract."""

    knowledge: Knowledge
    rules: list[LoadedRule]
    waivers: list[LoadedWaiver]
    policy: Policy
    scheme: Scheme
    presumptions: Presumptions
    params: dict
    rules_at: Path

    def dated(self, today: datetime.date) -> "Region":
        """The region whose rules know the run's date for $today and $now: that of the data, not of the clock."""
        if any("$today" in r.rule.when or "$now" in r.rule.when for r in self.rules):
            self.rules = _rules(self.rules_at, self.knowledge, self.params, today)
        return self


def load_region(
    policy: str = DEFAULT_POLICY,
    scheme: str = DEFAULT_SCHEME,
    rules: Path | None = None,
    params: Path | None = None,
    knowledge: list[Path] = (),
) -> Region:
    """Load and check everything. Raises Problem with every fault of the first kind that was found."""
    known = load_knowledge(list(knowledge))
    overrides = read_params(params) if params else {}
    folder = rules or rules_folder()
    if not folder.is_dir():
        raise UsageProblem(f"没有规则目录 no folder of rules: {folder}")
    return Region(
        knowledge=known,
        rules=_rules(folder, known, overrides, datetime.date(2000, 1, 1)),
        waivers=waivers_of(folder),
        policy=load_policy(policy),
        scheme=load_scheme(scheme_folder(scheme)),
        presumptions=load_presumptions(overrides.get("engine")),
        params=overrides,
        rules_at=folder,
    )


def scheme_folder(name: str) -> Path:
    """A scheme by name (seeds/drg) or by folder."""
    ours = seeds_folder() / "drg" / name
    if ours.is_dir():
        return ours
    if Path(name).is_dir():
        return Path(name)
    have = ", ".join(sorted(p.name for p in (seeds_folder() / "drg").iterdir() if p.is_dir()))
    raise UsageProblem(f"没有分组方案 no scheme {name!r}", allowed=f"{have}，或一个目录 or a folder")


def read_params(path: Path) -> dict:
    """A region's parameters: rule id -> name -> text, and `engine` for what concerns no single rule."""
    if not path.is_file():
        raise UsageProblem(f"没有参数文件 no such file: {path}")
    values, lines = read_mapping(path)
    for rule, given in values.items():
        if not isinstance(given, dict):
            hint = "split-stay-short-readmission: {window_days: 15}"
            raise RuleProblem(f"{rule}: 应为 规则: {{参数: 值}}", f"{path}:{lines[(rule,)]}", hint=hint)
    return values


def _rules(folder: Path, knowledge: Knowledge, overrides: dict, today: datetime.date) -> list[LoadedRule]:
    loaded, faults = load_rules(folder, knowledge, overrides, today)
    _refuse(faults, folder)
    return loaded


def waivers_of(folder: Path) -> list[LoadedWaiver]:
    """The waivers beside the rules of a folder. Raises RuleProblem with every fault of every file."""
    loaded, faults = load_waivers(folder)
    _refuse(faults, folder)
    return loaded


def _refuse(faults: list[RuleFault], folder: Path) -> None:
    if wrong := [fault for fault in faults if fault.severity == "error"]:
        raise RuleProblem(_listed(wrong), str(folder))


def _listed(faults: list[RuleFault]) -> str:
    return f"{len(faults)} 处规则错误 faults in the rules\n" + "\n".join(str(f) for f in faults)
