"""What the keys of a rule must be to each other, and the rules of a folder to each other."""

import copy
import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import UnionType
from typing import get_args

from pydantic import BaseModel, ValidationError

from engine.language.expression import likely
from engine.language.faults import MOST, Notes, path_of
from engine.language.form import Param, Rule
from engine.language.joined import row_attributes
from engine.language.vocabulary import across_institutions, objects, private, scopes
from engine.reference.knowledge import shapes

ELEMENTS = {
    "l": "lines", "d": "diagnoses", "p": "procedures", "o": "others", "v": "visits", "e": "events", "g": "logs",
    "r": "reports", "q": "orders", "x": "prescriptions",
}  # fmt: skip
WHOLE, OF_LINES = ("claim", "later_visit"), ("units", "lines", "difference", "gap")  # what amounts are made of
SIDES = ("l", "line", "a", "b")  # how a line is called
PARTED = {"window", "day", "week", "month", "year"}  # objects whose lines may be parted into cases by words of theirs
COMPARED = ("department", "provider", "provider_month")  # scopes whose cases may be compared with their peers
RECORDED = ("pos_sale", "ltc_visit")  # scopes whose case is a record with money of its own
ROLES = ("excess", "basis", "context")
STAND_IN = {"id": "", "title": "", "description": "", "family": "", "when": "false", "basis": []}
ALWAYS = datetime.date.min, datetime.date.max


def validated(value, notes: Notes) -> Rule | None:
    """The rule a file holds, with every fault of its form noted.

    What is at fault is left out and the rest looked at again, so that one pass tells everything; None where too
    little is left to look at.
    """
    for _ in range(2):
        try:
            return Rule.model_validate(value)
        except ValidationError as error:
            if not isinstance(value, dict):
                notes.value("E_VALUE", (), "应为键和值 keys and values are expected", "id: …")
                return None
            value = copy.deepcopy(value)
            for fault in error.errors()[: MOST + 1]:
                form_fault(fault, notes)
                _leave_out(value, fault)
    return None


def _leave_out(value: dict, fault: dict) -> None:
    """Take the part at fault out of the value; a text that is missing or refused becomes one that says nothing."""
    *above, last = fault["loc"]
    for part in above:
        inner = value.get(part) if isinstance(value, dict) else value[part] if isinstance(part, int) else None
        if not isinstance(inner, dict | list):
            last = part
            break
        value = inner
    if isinstance(value, dict):
        value.pop(last, None)
        value |= {last: STAND_IN[last]} if last in STAND_IN else {}
    elif isinstance(last, int):
        value[last] = {} if isinstance(value[last], dict) else ""


def form_fault(fault: dict, notes: Notes, form: type[BaseModel] = Rule) -> None:
    """A key that is unknown, missing or has a value that does not fit."""
    path = fault["loc"]
    while path[:-1] and path not in notes.document.keys and fault["type"] != "missing":
        path = path[:-1]  # the name of one of several forms the value may have, which is no key
    if fault["type"] == "extra_forbidden":
        known = _keys_at(path[:-1], form)
        said = f"不认识的键 unknown key {path[-1]!r}"
        notes.key("E_KEY_UNKNOWN", path, said, likely(str(path[-1]), known), ", ".join(known))
    elif fault["type"] == "missing":
        notes.key("E_KEY_MISSING", path[:-1], f"缺少键 key is missing: {path[-1]}")
    else:
        _value_fault(path, fault, notes)


def _value_fault(path: tuple, fault: dict, notes: Notes) -> None:
    given = notes.document.scalars[path].value if path in notes.document.scalars else ""
    if fault["type"] == "literal_error":
        known = [word.strip("'") for word in fault["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        said = f"{path[-1]} 不能是 cannot be {given!r}"
        notes.value("E_VALUE", path, said, likely(given, known), ", ".join(known))
        return
    if path[-1] == "window":
        notes.value("E_VALUE", path, "window 只写一项 a window has one unit", "", "one of days, hours, minutes")
        return
    wanted = {
        "string_type": "一段文字 text", "list_type": "一个列表 a list", "dict_type": "键和值 keys and values",
        "model_type": "键和值 keys and values", "int_parsing": "整数 a whole number", "int_type": "整数 a whole number",
        "less_than_equal": "1–127", "greater_than_equal": "1–127",
        "date_from_datetime_parsing": "日期 a date such as 2024-05-01", "value_error": "日期 a date such as 2024-05-01",
    }.get(fault["type"], fault["msg"])  # fmt: skip
    hint = "以括号或引号开头的文字要加引号，或写成 >- 块 quote it" if fault["type"] == "string_type" else ""
    notes.value("E_VALUE", path, f"{path[-1]} 的值不合要求 does not fit{f': {given!r}' if given else ''}", hint, wanted)


def _keys_at(path: tuple, model: type[BaseModel]) -> list[str]:
    """The keys a mapping of the form may have."""
    for part in path:
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        inner = _models(named[part].annotation) if part in named else [model]
        model = inner[0] if inner else model
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, UnionType) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def rule_faults(rule: Rule, path: Path, notes: Notes) -> None:
    """The keys of one rule against each other; expressions are looked at later."""
    if rule.id != path.stem:
        notes.value("E_ID", ("id",), f"id 与文件名不同 differs from the file name: {rule.id!r} ≠ {path.stem!r}")
    if rule.scope not in scopes():
        said = f"没有这种审核单位 unknown scope {rule.scope!r}"
        notes.value("E_SCOPE", ("for",), said, likely(rule.scope, scopes()), ", ".join(scopes()))
    begin, end = rule.in_force.begin or ALWAYS[0], rule.in_force.end or ALWAYS[1]
    if begin > end:
        notes.value("E_DATES", ("in_force", "from"), f"起始晚于终止 from is later than to: {begin} > {end}")
    for role in rule.flags if isinstance(rule.flag, dict) else ():
        if role not in ROLES:
            notes.key(
                "E_ROLE", ("flag", role), f"没有这种角色 unknown role {role!r}", likely(role, ROLES), ", ".join(ROLES)
            )
    if rule.author and rule.author == rule.reviewer:
        notes.value("E_REVIEWER", ("reviewer",), f"编写人与复核人相同 author and reviewer are the same: {rule.author}")
    if len(path.parts) > 1 and rule.family != path.parts[-2]:
        notes.value("W_FAMILY", ("family",), f"类别与目录不同 family {rule.family!r} ≠ folder {path.parts[-2]!r}")
    _placement_faults(rule, notes)
    _name_faults(rule, notes)
    _join_faults(rule, notes)
    depth = 0
    for char in rule.message:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth not in (0, 1):
            break
    if depth:
        notes.value("E_MESSAGE", ("message",), "花括号不成对 braces do not match", "{day.date}")


def _placement_faults(rule: Rule, notes: Notes) -> None:
    """Keys that have a meaning in some scopes only."""
    if rule.same and rule.scope != "line_pair":
        notes.key("E_PLACE", ("same",), "same 只用于 is for line_pair", allowed="for: line_pair")
    windowed = [name for name, scope in scopes().items() if "window" in scope.symbols]
    parted = [name for name, scope in scopes().items() if PARTED & set(scope.symbols)]
    for key, where in (("window", windowed), ("by", parted)):
        if getattr(rule, key) and rule.scope not in where:
            notes.key("E_PLACE", (key,), f"{key} 只用于 is for {', '.join(where)}", allowed=", ".join(where))
    if rule.peers and rule.scope not in COMPARED:
        notes.key("E_PLACE", ("peers",), f"peers 只用于 is for {', '.join(COMPARED)}", allowed=", ".join(COMPARED))
    for index, word in enumerate(rule.by if rule.scope in parted else ()):
        of_visit = word.startswith("visit.")
        _line_word(word.removeprefix("visit."), ("by", index), notes, 6 * of_visit, "visit" if of_visit else "line")
    if not rule.window and rule.scope in windowed:
        notes.value("E_KEY_MISSING", ("for",), f"{rule.scope} 要写 needs window", "window: {days: 30}")


def fit_faults(rule: Rule, elements: dict[str, str], compiled: dict, notes: Notes) -> None:
    """What a case of the scope is about, and what it cannot know: `elements` are the lists that flags speak of."""
    symbols = scopes()[rule.scope].symbols
    accused = elements.get("excess", "").rsplit(".", 1)[-1]
    if not {"visit", "line"} & set(symbols.values()) and rule.amount in WHOLE and accused not in ("visits", "others"):
        said = f"{rule.scope} 的案例不是一张结算单 a case of {rule.scope} is about no one claim: {rule.amount}"
        notes.value("E_AMOUNT", ("amount",), said, "flag: v.inpatient")
    if "line" not in symbols.values() and rule.amount in OF_LINES and accused not in ("lines", "events"):
        said = f"要用 flag 指明明细 amount {rule.amount} needs a flag that says which lines are in evidence"
        notes.value("E_AMOUNT", ("amount",), said, "flag: l.item in treatments; amount: claim, none")
    if rule.amount == "record" and rule.scope not in RECORDED:
        said = f"{rule.scope} 的案例不是一条有金额的记录 a case of {rule.scope} is no record with money of its own"
        notes.value("E_AMOUNT", ("amount",), said, "amount: claim, lines, none", ", ".join(RECORDED))
    if rule.amount == "regroup" and accused not in ("diagnoses", "procedures"):
        said = "要用 flag 指明诊断或手术操作 amount regroup needs diagnoses or procedures flagged as excess"
        notes.value("E_AMOUNT", ("amount",), said, "flag: d.code in …, p.code in …")
    for name, part in compiled.items():
        lists = (a.columns | {a.collection} for a in part.aggregates)
        words = {word for path in part.columns.union(part.element, *lists) for word in path.split(".")[1:]}
        if scopes()[rule.scope].split == "institution" and (wrong := sorted(words & across_institutions())):
            said = f"{rule.scope} 看不到其他机构 a case of {rule.scope} knows nothing of other institutions: {wrong[0]}"
            _at_word("E_ELSEWHERE", name, wrong[0], said, notes)
        told = {path.rsplit(".", 1)[-1] for path in part.columns} if part.kind == "text" else set()
        if name.startswith("message.") and (wrong := sorted(told & private())):
            said = f"消息里不能写个人信息 a message must not tell {wrong[0]}"
            _at_word("E_PRIVATE", name, wrong[0], said, notes)


def _at_word(code: str, name: str, word: str, said: str, notes: Notes) -> None:
    """A fault of an expression, at a word of it."""
    path = path_of(name, notes.document)
    text = name.removeprefix("message.") if path == ("message",) else notes.document.scalars[path].value
    start = max(text.find(word), 0)
    notes.part(code, name, (start, start + len(word)), said)


def _name_faults(rule: Rule, notes: Notes) -> None:
    """One name, one meaning."""
    symbols = set(scopes()[rule.scope].symbols) if rule.scope in scopes() else set()
    taken = dict.fromkeys(symbols | set(ELEMENTS) | {"params", "peers"}, "内置 built in")
    own = [(kind, name) for kind in ("sets", "let") for name in getattr(rule, kind)]
    if rule.join:
        own.insert(0, ("join", "as"))
    for kind, key in own:
        name = rule.join.alias if kind == "join" else key
        add = notes.value if kind == "join" else notes.key
        if name in taken:
            add("E_NAME_TAKEN", (kind, key), f"名称已有别的含义 {name!r} already means something: {taken[name]}")
        elif not name.isidentifier() or not name.isascii():
            add("E_NAME_TAKEN", (kind, key), f"名称只用字母、数字、下划线 letters, digits, _ only: {name!r}")
        taken[name] = kind


def _join_faults(rule: Rule, notes: Notes) -> None:
    if not rule.join:
        return
    known = shapes()
    if rule.join.table not in known:
        said = f"没有这张表 no table {rule.join.table!r}"
        notes.value("E_TABLE", ("join", "table"), said, likely(rule.join.table, known), ", ".join(known))
        return
    columns = {*known[rule.join.table].fields, *row_attributes(rule.join.table)}
    for column in rule.join.keys:
        if column not in columns:
            said = f"表 {rule.join.table} 没有这一列 has no column {column!r}"
            notes.key("E_COLUMN", ("join", "keys", column), said, likely(column, columns), ", ".join(sorted(columns)))
        owner, _, word = rule.join.keys[column].partition(".")
        if owner not in SIDES:
            said = f"应为明细的一个词 a word of a line is expected: {rule.join.keys[column]!r}"
            notes.value("E_NAME", ("join", "keys", column), said, "l.item", ", ".join(f"{o}.…" for o in SIDES))
        else:
            _line_word(word, ("join", "keys", column), notes, len(owner) + 1)
    for index, column in enumerate(rule.join.by or ()):
        if column not in columns:
            said = f"表 {rule.join.table} 没有这一列 has no column {column!r}"
            notes.value("E_COLUMN", ("join", "by", index), said, likely(column, columns), ", ".join(sorted(columns)))


def _line_word(word: str, path: tuple, notes: Notes, start: int = 0, kind: str = "line") -> None:
    """A word that every line, or its visit, must have, at its place in a text."""
    words = objects()[kind]
    if word not in words:
        said, name = f"明细没有这个词 a line has no word {word!r}", ".".join(map(str, path))
        notes.part("E_ATTRIBUTE", name, (start, start + len(word)), said, likely(word, words), ", ".join(words))


def parameter(param: Param, text):
    """The value of a parameter from its text. Raises ValueError where it does not fit its type or range."""
    if param.type == "list":
        return tuple(text if isinstance(text, list) else [t for t in text.split("|") if t])
    if not isinstance(text, str):
        raise ValueError(text)
    if param.type == "text":
        return text
    if param.type == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    try:
        value = Decimal(text)
        low, high = map(Decimal, param.range or ("-Infinity", "Infinity"))
    except InvalidOperation:
        raise ValueError(text) from None
    if (
        not value.is_finite()
        or not low <= value <= high
        or (param.type == "int" and value != value.to_integral_value())
    ):
        raise ValueError(text)
    return value


def overriding_faults(rule: Rule, given: dict, notes: Notes) -> None:
    """What a region sets for a rule that has no such parameter, or cannot have such a value."""
    for name, text in given.items():
        if name not in rule.params:
            known = ", ".join(rule.params) or "—"
            said = f"没有参数 no parameter {name!r}"
            notes.key("E_PARAM_NAME", (rule.id, name), said, likely(name, rule.params), known)
            continue
        try:
            parameter(rule.params[name], text)
        except ValueError:
            said = f"{name}: {text!r} 不合 does not fit"
            notes.value("E_PARAM", (rule.id, name), said, "", rule.params[name].form)


def folder_faults(rules: list[tuple[Rule, Notes]], known: set[str]) -> None:
    """Ids and numbers that two rules share, and `supersedes` that lead nowhere; `known` are ids of rules elsewhere."""
    ids = known | {rule.id for rule, _ in rules}
    seen: dict[str, str] = {}
    for rule, notes in rules:
        if rule.id in seen:
            notes.value("E_ID_TWICE", ("id",), f"id 与 {seen[rule.id]} 相同 the same id")
        seen.setdefault(rule.id, notes.file)
        for index, other in enumerate(rule.supersedes):
            if other not in ids:
                near = likely(other, ids)
                said = f"没有这条规则 no such rule: {other}"
                notes.value("E_SUPERSEDES" if near else "W_SUPERSEDES", ("supersedes", index), said, near)
    for place, (rule, notes) in enumerate(rules):
        for other, _ in rules[:place]:
            if rule.number is not None and rule.number == other.number and _overlap(rule, other):
                said = f"编号 {rule.number} 与 {other.id} 相同，日期重叠 the same number in force on the same days"
                notes.value("E_NUMBER_TWICE", ("number",), said)


def _overlap(one: Rule, other: Rule) -> bool:
    if "retired" in (one.status, other.status):
        return False
    spans = [(r.in_force.begin or ALWAYS[0], r.in_force.end or ALWAYS[1]) for r in (one, other)]
    return spans[0][0] <= spans[1][1] and spans[1][0] <= spans[0][1]
