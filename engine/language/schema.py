"""The JSON Schema of a rule file, so that an editor completes the keys, explains them and marks what cannot stand.

The keys and their descriptions come from form.py. An editor sees numbers and booleans where a rule is read as text, so
both are allowed wherever a text is.
"""

import json

from engine.language.checks import ROLES
from engine.language.form import Rule
from engine.language.vocabulary import scopes
from engine.reference.knowledge import shapes

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TEXT = ["string", "number", "boolean"]
NAME = "^[A-Za-z_][A-Za-z0-9_]*$"
PATTERNS = {"id": "^[a-z0-9]+(-[a-z0-9]+)*$", "family": "^[a-z0-9]+(-[a-z0-9]+)*$", "as": NAME}
NAMED = ("params", "sets", "let")  # mappings whose keys are names of the author
DATE = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
EXAMPLES = {
    "id": ["per-treatment-dialysis-billed-hourly"], "title": ["按次计价的血液净化一日多计"],
    "law": ["医疗保障基金使用监督管理条例"],
    "article": ["38(3)"], "from": ["2021-05-01"], "when": ["billed > params.max_per_day", "line.item in items"],
    "flag": ["l.item in items"], "excess": ["billed - params.max_per_day"], "message": ["{day.date}收{billed}次"],
    "keys": [{"item": "l.item"}], "sets": [{"items": "concept:dialysis_per_session"}], "as": ["limit"],
    "let": [{"billed": "$sum([l.cnt for l in day.lines if l.item in items])"}], "range": [["1", "3"]],
    "unless": ["day.posted_late"], "unknown": ["day.dialysis_records == null"], "needs": [["医嘱执行单"]],
    "params": [{"max_per_day": {"type": "int", "default": "1", "label": "每日次数", "source": "计价单位为次"}}],
    "tests": [[{"hit": {"lines": [{"item": "A", "cnt": "2"}]}}, {"clear": {"lines": [{"item": "A"}]}}]],
}  # fmt: skip
TESTS = {
    "hit": "应查出 · must be found", "clear": "不应查出 · must not be found",
    "known_miss": "本应查出而尚不能，能查出时变红 · a limit: not found yet",
    "known_false_alarm": "本不应查出而仍会，不再查出时变红 · a limit: still found",
    "why": "这个测试说明什么 · what the test shows",
    "gives": "查出的合计：cases 例数，cnt 数量，amount、inscope、fund 元，result 结果，innocent 仍开着的解释，"
    "not_evaluated 因缺什么而未评估 · what is found, in all",
    "visit": "就诊；不写即三级医院四天的医保住院 · the visit", "lines": "费用明细 · fee lines",
    "diagnoses": "诊断，第一个是主诊断 · diagnoses", "procedures": "手术操作 · procedures",
    "others": "同一人的其他就诊 · other visits", "stores": "机构的进销存 · what the institution stores",
    "events": "追溯码事件 · events of trace codes", "tables": "知识表或追溯码表的行 · rows of tables",
    "params": "这个测试里的参数值 · parameters of this test", "sets": "这个测试里的代码集合 · sets of this test",
}  # fmt: skip


def schema() -> dict:
    """The JSON Schema (2020-12) of a rule file."""
    raw = Rule.model_json_schema(by_alias=True)
    parts = {name: _object(part) for name, part in sorted(raw.pop("$defs").items())}
    made = _object(raw)
    keys = made["properties"]
    keys["for"] |= {"oneOf": [{"const": name, "description": scope.label} for name, scope in scopes().items()]}
    keys["for"].pop("type")
    keys["tests"]["items"] = _test()
    for role in [option for option in keys["flag"]["anyOf"] if option.get("type") == "object"]:
        role["propertyNames"] = {"enum": list(ROLES)}
    tables = [{"const": name, "description": shape.label} for name, shape in shapes().items()]
    parts["Join"]["properties"]["table"] |= {"oneOf": tables}
    parts["Join"]["properties"]["table"].pop("type")
    for name in NAMED:
        keys[name]["propertyNames"] = {"pattern": NAME}
    title = {
        "$schema": DRAFT,
        "title": "yibao 规则 · rule",
        "description": "一条规则 · one rule; rules/README.md 有说明",
    }
    return title | {key: made[key] for key in ("type", "properties", "required", "additionalProperties")} | {
        "$defs": parts
    }  # fmt: skip


def schema_text() -> str:
    """The schema as it is written to a file."""
    return json.dumps(schema(), ensure_ascii=False, indent=1) + "\n"


def _object(part: dict) -> dict:
    """An object of pydantic's schema with every key opened to what an editor sees."""
    keys = {}
    for name, body in part["properties"].items():
        keys[name] = {key: value for key, value in _opened(body).items() if key not in ("title", "default")}
        keys[name] |= {"default": body["default"]} if isinstance(body.get("default"), str) and body["default"] else {}
        keys[name] |= {"pattern": PATTERNS[name]} if name in PATTERNS else {}
        keys[name] |= {"examples": EXAMPLES[name]} if name in EXAMPLES else {}
    kept = {key: part[key] for key in ("description", "type", "required", "additionalProperties") if key in part}
    return kept | {"properties": keys}


def _opened(body: dict) -> dict:
    """What pydantic says of a value, put for a file where everything is text: no null, numbers where text may stand."""
    if "anyOf" in body:
        options = [_opened(option) for option in body["anyOf"] if option.get("type") != "null"]
        rest = {key: value for key, value in body.items() if key not in ("anyOf", "default", "title")}
        return rest | (options[0] if len(options) == 1 else {"anyOf": options})
    if body.get("format") == "date":
        return {key: value for key, value in body.items() if key not in ("format", "title")} | DATE
    if body.get("type") == "integer":
        limits = {key: body[key] for key in ("minimum", "maximum") if key in body}
        return {"type": ["integer", "string"], "pattern": r"^-?\d+$"} | limits | _described(body)
    if body.get("type") == "string" and "enum" not in body:
        return {**body, "type": TEXT}
    if body.get("type") == "array":
        return {**body, "items": _opened(body.get("items", {}))}
    if isinstance(body.get("additionalProperties"), dict):
        return {**body, "additionalProperties": _opened(body["additionalProperties"])}
    return body


def _described(body: dict) -> dict:
    return {"description": body["description"]} if "description" in body else {}


def _test() -> dict:
    words = list(TESTS)[:4]
    keys = {name: {"description": said} for name, said in TESTS.items()}
    return {"type": "object", "properties": keys, "additionalProperties": False,
            "oneOf": [{"required": [word]} for word in words]}  # fmt: skip
