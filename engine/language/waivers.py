"""Waivers: dated documents beside the rules that say which findings of a rule are not to be pursued, and why.

One YAML file each in `waivers/` of the rules' folder. A finding that matches every part of a waiver's scope, on a day
within its dates, is kept but costs no money. What the files say is checked as rules are: every fault of every file.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from engine.language.checks import form_fault
from engine.language.expression import likely
from engine.language.faults import Notes, RuleFault
from engine.language.form import Day, Strict
from engine.tables.yamltext import read_yaml

Some = Annotated[str, Field(min_length=1)]


class Scope(Strict):
    """Which findings: every part that is given must be equal; at least one is."""

    finding_id: Some | None = None
    fixmedins_code: Some | None = None
    department: Some | None = None
    doctor: Some | None = None
    setl_id: Some | None = None
    psn_no: Some | None = None
    med_list_codg: Some | None = None

    @property
    def parts(self) -> dict[str, str]:
        return self.model_dump(exclude_none=True)


class Waiver(Strict):
    """One waiver as its owner wrote it; `begin` and `until` are days of service, both included."""

    rule: Some
    scope: Scope
    begin: Day | None = Field(None, alias="from")
    until: Day
    reason: Some
    owner: Some


@dataclass(frozen=True)
class LoadedWaiver:
    """A waiver and what was seen of its file, and where."""

    waiver: Waiver
    notes: Notes

    @property
    def file(self) -> str:
        """The path of its file below the folder of rules."""
        return self.notes.file

    @property
    def text(self) -> str:
        return "\n".join(self.notes.document.lines)

    def state(self, day: datetime.date, rules: set[str]) -> str:
        """no_rule where none of the rules is meant, expired where it ended before the day, else in_force."""
        if self.waiver.rule not in rules:
            return "no_rule"
        return "expired" if self.waiver.until < day else "in_force"


def load_waivers(folder: Path) -> tuple[list[LoadedWaiver], list[RuleFault]]:
    """Every waiver of a folder of rules, sorted by file, and every fault of every file."""
    loaded, faults = [], []
    for path in sorted(folder.rglob("waivers/*.yaml")):
        document = read_yaml(path)
        notes = Notes(path.relative_to(folder).as_posix(), document)
        notes.faults += [RuleFault(notes.file, p.line, p.column, p.code, p.message, text=document.line(p.line))
                         for p in document.problems]  # fmt: skip
        waiver = None if notes.faults else _validated(document.value, notes)
        faults += notes.faults
        if waiver and not notes.faults:
            loaded.append(LoadedWaiver(waiver, notes))
    return loaded, faults


def _validated(value, notes: Notes) -> Waiver | None:
    try:
        waiver = Waiver.model_validate(value)
    except ValidationError as error:
        if not isinstance(value, dict):
            notes.value("E_VALUE", (), "应为键和值 keys and values are expected", "rule: …")
            return None
        for fault in error.errors():
            form_fault(fault, notes, Waiver)
        return None
    if not waiver.scope.parts:
        notes.value("E_VALUE", ("scope",), "至少写一项 give at least one", "", ", ".join(Scope.model_fields))
    if waiver.begin and waiver.begin > waiver.until:
        notes.value("E_DATES", ("from",), f"{waiver.begin} 晚于 later than until {waiver.until}")
    return waiver


def dead(waivers: list[LoadedWaiver], day: datetime.date, rules: set[str]) -> list[RuleFault]:
    """A warning for every waiver that has ended before the day or names none of the rules."""
    faults = []
    for loaded in waivers:
        notes, state = Notes(loaded.file, loaded.notes.document), loaded.state(day, rules)
        if state == "no_rule":
            said = f"没有这条规则 no rule {loaded.waiver.rule!r}"
            notes.value("W_WAIVER", ("rule",), said, likely(loaded.waiver.rule, rules))
        elif state == "expired":
            notes.value("W_WAIVER", ("until",), f"已到期 ended on {loaded.waiver.until}")
        faults += notes.faults
    return faults
