"""Waivers: dated documents beside the rules that say which findings of a rule are not to be pursued, and why.

One YAML file each in `waivers/` of the rules' folder. A finding that matches every part of a waiver's scope, on a day
within its dates, is kept but costs no money. What the files say is checked as rules are: every fault of every file.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from engine.language.form import Day, Strict
from engine.language.rule import RuleFault, schema_fault
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

    @model_validator(mode="after")
    def _says_something(self):
        if not self.parts:
            raise ValueError(f"至少写一项 give at least one of {', '.join(type(self).model_fields)}")
        return self

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

    @model_validator(mode="after")
    def _dates_in_order(self):
        if self.begin and self.begin > self.until:
            raise ValueError("from 晚于 later than until")
        return self


@dataclass(frozen=True)
class LoadedWaiver:
    """A waiver, the name of its file, and the text it was read from."""

    file: str
    waiver: Waiver
    text: str

    def expired(self, day: datetime.date) -> bool:
        return self.waiver.until < day


def load_waivers(folder: Path) -> tuple[list[LoadedWaiver], list[RuleFault]]:
    """Every waiver of a folder of rules, sorted by file, and every fault of every file."""
    loaded, faults = [], []
    for path in sorted(folder.rglob("waivers/*.yaml")):
        name, document = str(path.relative_to(folder)), read_yaml(path)
        faults += [RuleFault(name, p.line, p.column, p.code, p.message) for p in document.problems]
        if document.problems:
            continue
        try:
            loaded.append(LoadedWaiver(name, Waiver.model_validate(document.value), path.read_text("utf-8")))
        except ValidationError as error:
            faults += [schema_fault(name, document, e, Waiver) for e in error.errors()]
    return loaded, faults
