"""The form of a rule file: which keys it has, what may stand behind each, and what is assumed where one is absent."""

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Expression = str
Int = Annotated[int, BeforeValidator(lambda v: int(v) if isinstance(v, str) and v.lstrip("-").isdigit() else v)]
Day = Annotated[datetime.date, BeforeValidator(lambda v: datetime.date.fromisoformat(v) if isinstance(v, str) else v)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class InForce(Strict):
    begin: Day | None = Field(None, alias="from")
    end: Day | None = Field(None, alias="to")


class Param(Strict):
    type: Literal["int", "decimal", "text", "list", "bool"]
    default: str | list[str]
    range: list[str] | None = None
    label: str = ""
    source: str = ""

    @property
    def form(self) -> str:
        """What a value must be, in a few words."""
        return f"{self.type} {'–'.join(self.range or ())}".strip()


class Join(Strict):
    table: str
    alias: str = Field(alias="as")
    keys: dict[str, str] = {}
    where: Expression | None = None
    by: list[str] | None = None


class Innocent(Strict):
    because: str
    unless: Expression | None = None
    unknown: Expression | None = None


class Basis(Strict):
    law: str
    article: str = ""


class Window(Strict):
    """How long a window is, in one unit."""

    days: Int | Expression | None = None
    hours: Int | Expression | None = None
    minutes: Int | Expression | None = None

    @model_validator(mode="after")
    def _one_unit(self):
        if len(self.model_fields_set) != 1:
            raise ValueError("a window has one of days, hours, minutes")
        return self

    @property
    def unit(self) -> str:
        return next(iter(self.model_fields_set))

    @property
    def size(self) -> int | Expression:
        return getattr(self, self.unit)


class Rule(Strict):
    """One rule as its author wrote it. Every field is explained in the README's chapter on rules."""

    id: str
    number: Annotated[Int, Field(ge=1, le=127)] | None = None
    title: str
    description: str
    family: str
    status: Literal["active", "trial", "retired"] = "active"
    result: Literal["suspicion", "violation"] = "suspicion"
    violation_when: Expression | None = None
    basis: list[Basis]
    sources: list[str] = []
    in_force: InForce = InForce()
    scope: str = Field(alias="for")
    same: Literal["hour", "6h", "day", "visit", "person"] | None = None
    window: Window | None = None
    by: list[str] = []
    join: Join | None = None
    params: dict[str, Param] = {}
    sets: dict[str, str | list[str]] = {}
    let: dict[str, Expression] = {}
    when: Expression
    flag: Expression | dict[str, Expression] = {}
    excess: Expression | None = None
    cut: Literal["latest", "earliest", "cheapest", "dearest"] = "latest"
    amount: Literal["units", "lines", "claim", "difference", "gap", "later_visit", "regroup", "none"] = "lines"
    message: str = ""
    innocent: list[Innocent] = []
    supersedes: list[str] = []
    needs: list[str] = []
    tests: list[dict] = []
    author: str = ""
    reviewer: str = ""

    @property
    def flags(self) -> dict[str, Expression]:
        """Which elements are evidence in which role; a bare `flag:` names the excess."""
        return {"excess": self.flag} if isinstance(self.flag, str) else self.flag
