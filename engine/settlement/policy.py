"""A settlement policy: who is who, what each benefit pays, and the caps, as dated values with source and grade.

One policy is one YAML file, in seeds/policies/ or wherever a region keeps its own. Nothing here computes money:
terms.py finds the value that holds for a claim and layers.py applies it. Words and order follow the person-side
waterfall of the national settlement list: deductible, pool by tiers, caps, large amount, catastrophic, account.

A dated value is `{2025-01-01: {value: …, source: …, grade: …}}`; source and grade may be left to the head of the file.
`value` is one amount for all, or one per person group, or one per person group and hospital level (`all` stands for the
others). Money is yuan, a ratio percent, a ratio by tiers a list `[{over: 0, percent: 80}, {over: 5000, percent: 85}]`.
"""

import difflib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from engine.reference.places import seeds_folder
from engine.settlement.dated import ALL, Amount, Bands, Dated, Grade, Percent, Series, Strict
from engine.settlement.provider_policy import Provider
from engine.tables.problems import RuleProblem, UsageProblem
from engine.tables.yamltext import read_mapping

VisitKind = Literal[
    "general_outpatient",
    "emergency_outpatient",
    "chronic_outpatient",
    "special_outpatient",
    "inpatient",
    "emergency_inpatient",
    "day_surgery",
    "home_bed",
    "pharmacy",
]
Day = Literal["setl_time", "endtime", "begntime"]


class Benefit(Strict):
    """What one kind of visit is paid: inpatient, general outpatient … The names are the policy's own."""

    label: str = ""
    visit_kinds: list[VisitKind]
    deductible: Amount = {}
    deductible_per: Literal["admission", "year"] | None = None
    nth_admission_percent: Series = {}  # of the deductible, for the first, second … admission of the year
    ratio: Bands = {}
    band_origin: Literal["gross", "net"] = "gross"  # tiers cut on the in-policy amount, or on it less the deductible
    pool_cap: Amount = {}  # of this benefit in a year
    account_pays: Literal["in_scope", "all", "nothing"] = "in_scope"

    @model_validator(mode="after")
    def _says_what_the_deductible_is_per(self):
        if self.deductible and not self.deductible_per:
            raise ValueError("写了 deductible 就须写 deductible_per: admission 或 year")
        return self


class LargeAmount(Strict):
    """职工大额: a share of the in-policy cost the pool did not bear because its annual cap was reached."""

    ratio: Percent
    annual_cap: Amount = {}


class Catastrophic(Strict):
    """居民大病: tiers on the year's in-policy self-pay of the benefits named; the first begins at the start line."""

    benefits: list[str]
    ratio: Bands
    annual_cap: Amount = {}
    first_pay_counts: bool = False


class Group(Strict):
    """A person group by claims.psn_type: exact values, or `11*` for all that begin so; the group's own name counts."""

    psn_types: list[str] = []


class Policy(Strict):
    """A whole policy. `name` goes into every settlement; `year_basis` and `accrual_order` are columns of claims."""

    name: str = Field(pattern=r"^\S+$")
    title: str = ""
    source: str = ""
    grade: Grade = "demo"
    year_basis: Day = "setl_time"
    accrual_order: Day = "setl_time"
    groups: dict[str, Group] = Field(min_length=1)
    benefits: dict[str, Benefit] = Field(min_length=1)
    annual_cap: Amount = {}
    remote_minus_points: Percent = {}
    large_amount: LargeAmount | None = None
    catastrophic: Catastrophic | None = None
    provider: Provider = Provider()

    @model_validator(mode="after")
    def _hangs_together(self):
        kinds = [kind for benefit in self.benefits.values() for kind in benefit.visit_kinds]
        types = [kind for name, group in self.groups.items() for kind in {name, *group.psn_types}]
        for what, names in (("visit_kinds", kinds), ("psn_types", types)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} 重复归属: {', '.join(twice)}")
        named = [*(self.catastrophic.benefits if self.catastrophic else []), *self.provider.benefits()]
        if unknown := sorted(set(named) - set(self.benefits)):
            raise ValueError(f"没有名为 {', '.join(unknown)} 的 benefits; {_meant(unknown[0], self.benefits)}")
        if strange := sorted(set(self.provider.people()) - set(self.groups)):
            raise ValueError(f"provider: 没有人员组 {strange[0]}; {_meant(strange[0], self.groups)}")
        for where, dated in parameters(self):
            for day, entry in dated.items():
                _check_groups(f"{where}.{day}", set(entry.value), set(self.groups))
        return self


def _check_groups(where: str, given: set[str], groups: set[str]) -> None:
    if unknown := sorted(given - groups - {ALL}):
        raise ValueError(f"{where}: 没有人员组 {unknown[0]}; {_meant(unknown[0], groups | {ALL})}")
    if ALL not in given and (left_out := sorted(groups - given)):
        raise ValueError(f"{where}: 缺少人员组 {', '.join(left_out)} (或写 all)")


def parameters(model: BaseModel, where: str = "") -> Iterator[tuple[str, dict[date, Dated]]]:
    """Every dated parameter of a policy, and of its parts, with its key path."""
    for name in type(model).model_fields:
        value, path = getattr(model, name), f"{where}.{name}".lstrip(".")
        parts = {path: value} if isinstance(value, BaseModel) else {}
        if isinstance(value, dict):
            if any(isinstance(part, Dated) for part in value.values()):
                yield path, value
            else:
                parts = {f"{path}.{key}": part for key, part in value.items() if isinstance(part, BaseModel)}
        for key, part in parts.items():
            yield from parameters(part, key)


def load_policy(name_or_file: str | Path) -> Policy:
    """The policy in a YAML file, or the one of that name in seeds/policies.

    Raises UsageProblem when there is none, RuleProblem with file, key path, allowed values and the likely intent of
    every fault of it.
    """
    path = _find(name_or_file)
    value, lines = read_mapping(path)
    try:
        return Policy.model_validate(value)
    except ValidationError as error:
        faults = [_fault(fault, lines) for fault in error.errors(include_url=False)]
        raise RuleProblem(
            "; ".join(f"{where}: {what}" for where, what, _, _ in faults),
            str(path),
            "; ".join(dict.fromkeys(allowed for _, _, allowed, _ in faults if allowed)),
            "; ".join(dict.fromkeys(hint for *_, hint in faults if hint)),
        ) from None


def policy_names() -> list[str]:
    """The packs that come with the program."""
    return sorted(path.stem for path in (seeds_folder() / "policies").glob("*.yaml"))


def _find(name_or_file: str | Path) -> Path:
    for path in (Path(name_or_file), seeds_folder() / "policies" / f"{name_or_file}.yaml"):
        if path.is_file():
            return path
    raise UsageProblem(
        f"没有待遇政策 {name_or_file}",
        allowed=f"文件, 或 {', '.join(policy_names())}",
        hint=_meant(str(name_or_file), policy_names()),
    )


def _fault(fault: dict, lines: dict[tuple, int]) -> tuple[str, str, str, str]:
    """One fault of pydantic's as key path with line, what is wrong, what is allowed, what was likely meant."""
    path = tuple(str(part) for part in fault["loc"] if part != "[key]")  # pydantic's mark for a key, not its value
    where = f"{'.'.join(path) or '全文'} (第 {next(lines[p] for p in _upward(path) if p in lines)} 行)"
    if fault["type"] == "extra_forbidden":
        fields = list(_model_at(path[:-1]).model_fields)
        return where, f"没有这个键 {path[-1]}", ", ".join(fields), _meant(path[-1], fields)
    if fault["type"] == "literal_error":
        allowed = fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return where, f"不认识 {fault['input']!r}", ", ".join(allowed), _meant(str(fault["input"]), allowed)
    said = "没有这一天" if fault["type"].startswith("date") else fault["msg"].removeprefix("Value error, ")
    return where, _SAID.get(fault["type"], said), "", ""


_SAID = {
    "missing": "缺少这个键",
    "dict_type": "应为键值结构",
    "model_type": "应为键值结构",
    "list_type": "应为列表",
    "string_type": "应为文字",
}


def _upward(path: tuple[str, ...]):
    return (path[:end] for end in range(len(path), -1, -1))


def _model_at(path: tuple[str, ...]) -> type[BaseModel]:
    """The model that describes the mapping at a key path."""
    model: Any = Policy
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[part].annotation
        else:
            model = get_args(model)[-1]
        model = (
            next(
                (option for option in get_args(model) if isinstance(option, type) and issubclass(option, BaseModel)),
                model,
            )
            if type(None) in get_args(model)
            else model
        )
    return model


def _meant(word: str, words) -> str:
    close = difflib.get_close_matches(word, list(words), 1, 0.5)
    return f"是否想写 did you mean {close[0]}?" if close else ""
