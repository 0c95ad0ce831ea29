"""A settlement policy: who is who, what each benefit pays, and the caps, as dated values with source and grade.

One policy is one YAML file, in seeds/policies/ or wherever a region keeps its own. Nothing here computes money:
terms.py finds the value that holds for a claim and layers.py applies it. What a clause may say stands in clauses.py, in
words and order of the person-side waterfall of the national settlement list: deductible, pool by tiers, caps, large
amount, catastrophic, further payers, accounts; `order` says it otherwise.

A dated value is `{2025-01-01: {value: …, source: …, grade: …}}`; source and grade may be left to the head of the file.
`value` is one amount for all, or one per person group, or one per person group and hospital level (`all` stands for the
others); in parameters named `category_…`, and in payers `by: category`, one per category of assistance. Money is
yuan, a ratio percent, a ratio by tiers a list `[{over: 0, percent: 80}, {over: 5000, percent: 85}]`. `value: unknown`
ends a parameter; `{percent: 2, of: wage, years_back: 2}` derives an amount from `figures` (derived.py).
"""

import difflib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from engine.reference.places import seeds_folder
from engine.settlement.clauses import (
    Benefit,
    CareService,
    Catastrophic,
    Category,
    ElectronicOnly,
    Enrolment,
    Filing,
    Group,
    LargeAmount,
    Maternity,
    Payer,
    Premiums,
    Reduction,
)
from engine.settlement.dated import ALL, Amount, Dated, Grade, Percent, Strict, since
from engine.settlement.derived import written_out
from engine.settlement.provider_policy import Provider
from engine.tables.problems import RuleProblem, UsageProblem
from engine.tables.yamltext import Document, read_mapping, read_yaml

Day = Literal["setl_time", "endtime", "begntime"]
BASIC, ACCOUNTS = ("pool", "large_amount", "catastrophic"), ("account", "shared_account", "account_first")


class Policy(Strict):
    """A whole policy. `name` goes into every settlement; `year_basis` and `accrual_order` are columns of claims.

    year_begins: month and day of the first day of its years, each named after the calendar year in which it begins.

    order: the layers in the order in which they pay; by default pool, large_amount, catastrophic, the payers as they
    are written, account, shared_account. figures: amounts published for a year, of which derived values are made.
    """

    name: str = Field(pattern=r"^\S+$")
    title: str = ""
    source: str = ""
    grade: Grade = "demo"
    year_basis: Day = "setl_time"
    accrual_order: Day = "setl_time"
    year_begins: str = Field("01-01", pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])$")  # month and day
    groups: dict[str, Group] = Field(min_length=1)
    categories: dict[str, Category] = {}
    figures: dict[str, Amount] = {}
    benefits: dict[str, Benefit] = Field(min_length=1)
    annual_cap: Amount = {}
    remote_minus_points: Percent = {}
    cross_region: dict[Filing, Reduction] = {}
    enrolment: Enrolment | None = None
    electronic_only: ElectronicOnly | None = None
    without_code: since(
        Literal["refuse", "by_duty"]
    ) = {}  # 依码支付: a line that was due a trace code and has none is the
    # person's own pay, always or where the duty is to settle or pay by code; it is only counted where nothing is said
    accidents: Literal["paid", "held"] = "paid"  # whether claims marked as injuries wait for the answer who is liable
    large_amount: LargeAmount | None = None
    catastrophic: Catastrophic | None = None
    payers: dict[str, Payer] = {}
    shared_account: bool = False  # 共济: accounts of the same acct_group help out
    order: list[str] = []
    maternity: Maternity | None = None
    long_term_care: dict[str, CareService] = {}
    premiums: Premiums | None = None
    provider: Provider = Provider()

    @model_validator(mode="before")
    @classmethod
    def _derived_values(cls, policy: Any) -> Any:
        return written_out(policy)

    @model_validator(mode="after")
    def _hangs_together(self):
        kinds = [kind for benefit in self.benefits.values() if not benefit.where for kind in benefit.visit_kinds]
        types = [k for name, group in self.groups.items() if not group.conditions() for k in {name, *group.psn_types}]
        aids = [kind for name, category in self.categories.items() for kind in {name, *category.aid_types}]
        for what, names in (("visit_kinds", kinds), ("psn_types", types), ("aid_types", aids)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} 重复归属: {', '.join(twice)}")
        if self.cross_region and self.remote_minus_points:
            raise ValueError("remote_minus_points 与 cross_region 只写一个")
        self._check_names()
        for where, dated, by_category in parameters(self):
            names = set(self.categories if by_category else self.groups)
            for day, entry in dated.items():
                _check_names(f"{where}.{day}", set(entry.value), names, by_category)
        return self

    def _check_names(self) -> None:
        """Every benefit, group, category and layer that a clause names is one of this policy."""
        layers = self.behind_the_pool()
        waiting = self.enrolment.waiting if self.enrolment else None
        named = {
            "benefits": (
                [
                    *self.provider.benefits(),
                    *(name for layer in layers.values() for name in layer.benefits),
                    *(b.entitlement.otherwise for b in self.benefits.values() if b.entitlement),
                ],
                {*self.benefits, "nothing"},
            ),
            "groups": (
                [*self.provider.people(), *(name for layer in layers.values() for name in layer.who.groups)],
                set(self.groups),
            ),
            "categories": (
                [
                    *(name for layer in layers.values() for name in layer.who.categories),
                    *(waiting.exempt_categories if waiting else []),
                ],
                set(self.categories),
            ),
            "order": (self.order, set(self._own_layers())),
        }
        for what, (names, known) in named.items():
            if unknown := sorted(set(names) - known):
                raise ValueError(f"没有名为 {', '.join(unknown)} 的 {what}; {_meant(unknown[0], known)}")
        if taken := sorted(set(self.payers) & {*BASIC, *ACCOUNTS}):
            raise ValueError(f"payers 不可用名 {', '.join(taken)}")
        if self.order and sorted(self.order) != sorted(self._own_layers()):
            raise ValueError(f"order 须把各层各写一次: {', '.join(self._own_layers())}")
        behind = {"large_amount", *(name for name, payer in self.payers.items() if not payer.loss_counts)}
        if early := sorted(behind & set(self.layers()[: self.layers().index("pool")])):
            raise ValueError(f"order: {early[0]} 以统筹基金的结果计算, 须在 pool 之后")

    def layers(self) -> list[str]:
        """The names of the layers this policy has, in the order in which they pay."""
        first = any(benefit.account_pays == "first" for benefit in self.benefits.values())
        return [*(["account_first"] if first else []), *(self.order or self._own_layers())]

    def behind_the_pool(self) -> dict[str, Payer]:
        """The layers that pay by tiers on what is left to the person, by name; catastrophic is one of them."""
        return {**({"catastrophic": self.catastrophic} if self.catastrophic else {}), **self.payers}

    def together(self) -> dict[str, list[str]]:
        """Of each payer whose cap is shared the others that use it up."""
        words = {name: payer.annual_cap_shared for name, payer in self.behind_the_pool().items()}
        return {name: [o for o, w in words.items() if w == word and o != name] for name, word in words.items() if word}

    def _own_layers(self) -> list[str]:
        absent = {
            *(["large_amount"] if self.large_amount is None else []),
            *(["catastrophic"] if self.catastrophic is None else []),
            *([] if self.shared_account else ["shared_account"]),
            "account_first",
        }
        return [name for name in (*BASIC, *self.payers, *ACCOUNTS) if name not in absent]


def _check_names(where: str, given: set[str], names: set[str], by_category: bool) -> None:
    what = "救助对象类别" if by_category else "人员组"
    if unknown := sorted(given - names - {ALL}):
        raise ValueError(f"{where}: 没有{what} {unknown[0]}; {_meant(unknown[0], names | {ALL})}")
    if given and not by_category and ALL not in given and (left_out := sorted(names - given)):
        raise ValueError(f"{where}: 缺少人员组 {', '.join(left_out)} (或写 all)")


def parameters(model: BaseModel, where: str = "") -> Iterator[tuple[str, dict[date, Dated], bool]]:
    """Every dated parameter of a policy, and of its parts, with its key path and whether it is by category."""
    for name in type(model).model_fields:
        value, path = getattr(model, name), f"{where}.{name}".lstrip(".")
        parts = {path: value} if isinstance(value, BaseModel) else {}
        if isinstance(value, dict):
            parts = {path: value} if _is_dated(value) else {f"{path}.{key}": part for key, part in value.items()}
        for key, part in parts.items():
            if isinstance(part, BaseModel):
                yield from parameters(part, key)
            elif _is_dated(part):
                yield key, part, is_by_category(model, name)


def _is_dated(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(part, Dated) for part in value.values())


def is_by_category(model: BaseModel, name: str) -> bool:
    """Whether a parameter of a part has a value per category of person instead of per person group."""
    return name.startswith("category_") or getattr(model, "by", "group") == "category"


def load_policy(name_or_file: str | Path) -> Policy:
    """The policy in a YAML file, or the one of that name in seeds/policies.

    Raises UsageProblem when there is none, RuleProblem with file, key path, allowed values and the likely intent of
    every fault of it.
    """
    path = policy_file(name_or_file)
    policy, faults = policy_or_faults(path)
    if policy is None:
        raise RuleProblem(
            "; ".join(f"{where}: {what}" for where, what, _, _ in faults),
            str(path),
            "; ".join(dict.fromkeys(allowed for _, _, allowed, _ in faults if allowed)),
            "; ".join(dict.fromkeys(hint for *_, hint in faults if hint)),
        )
    return policy


def policy_or_faults(path: Path) -> tuple[Policy | None, list[tuple[str, str, str, str]]]:
    """The policy in a file, or its faults: key path with line and column, what is wrong, what is allowed, a hint.

    Raises RuleProblem where the text is no YAML.
    """
    value, _ = read_mapping(path)
    try:
        return Policy.model_validate(value), []
    except ValidationError as error:
        document = read_yaml(path)
        return None, [_fault(fault, document) for fault in error.errors(include_url=False)]


def policy_names() -> list[str]:
    """The packs that come with the program."""
    return sorted(path.stem for path in (seeds_folder() / "policies").glob("*.yaml"))


def policy_file(name_or_file: str | Path) -> Path:
    """The file of a policy, by its path or by the name of a pack. Raises UsageProblem where there is none."""
    for path in (Path(name_or_file), seeds_folder() / "policies" / f"{name_or_file}.yaml"):
        if path.is_file():
            return path
    raise UsageProblem(
        f"没有待遇政策 {name_or_file}",
        allowed=f"文件, 或 {', '.join(policy_names())}",
        hint=_meant(str(name_or_file), policy_names()),
    )


def _fault(fault: dict, document: Document) -> tuple[str, str, str, str]:
    """One fault of pydantic's as key path with its place, what is wrong, what is allowed, what was likely meant."""
    keys = tuple(part for part in fault["loc"] if part != "[key]")  # pydantic's mark for a key, not its value
    path, (line, column) = tuple(map(str, keys)), document.where(keys)
    where = f"{'.'.join(path) or '全文'} (第 {line} 行第 {column} 列)"
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
