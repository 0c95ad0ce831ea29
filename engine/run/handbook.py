"""The rules as a book for auditors: an index by family and number, and one page per rule.

Everything is told from the rule file and the region's tables, so the same rules give the same bytes.
"""

import re
from decimal import Decimal
from pathlib import Path

from engine.audit.facts import Facts
from engine.audit.joins import joined_rows
from engine.audit.needs import tables_needed
from engine.audit.trial import WORDS, body_of
from engine.language.checks import ELEMENTS
from engine.language.glossary import TYPES
from engine.language.joined import ROW_NAMES, row_attributes
from engine.language.rule import LoadedRule, expressions_of
from engine.language.vocabulary import Attribute, objects, scopes
from engine.reference.knowledge import Knowledge, shapes
from engine.report.rulepages import index_page, rule_page
from engine.report.text import yuan
from engine.report.words import GRADE
from engine.run.region import Region
from engine.run.rulebook import FAMILIES, basis_text
from engine.tables.dictionary import tables

ROWS = 40  # of a joined table
NAMES = {
    "when": "是疑点的条件", "excess": "多出多少", "violation_when": "升为明确违规的条件", "window.days": "窗口天数",
    "join.where": "表行须符合", "flag.excess": "计为超出的明细", "flag.basis": "作为依据的明细",
    "flag.context": "供参考的明细", "known": "能判断的条件", "peers.of": "与同类相比的数",
    "peers.where": "算作同类的条件",
}  # fmt: skip
TOLD = ("known", "when", "violation_when", "excess")  # what is told in words, in this order
DEEPEST = 3  # parts of parts further down are left to the text of the rule
TESTED = {"hit": "应查出", "clear": "不应查出", "known_miss": "已知漏报", "known_false_alarm": "已知误报"}
TEST_PARTS = {"visit": "就诊", "lines": "费用明细", "diagnoses": "诊断", "procedures": "手术操作", "others": "其他就诊",
              "stores": "进销存", "events": "追溯码事件", "params": "参数", "sets": "集合"}  # fmt: skip
SPOKEN_OF = {"lines": "line", "visit": "visit", "others": "visit", "diagnoses": "diagnosis", "procedures": "procedure",
             "stores": "store", "events": "event"}  # fmt: skip
OWN_HEADS = {"day": "住院第几天(0 起)", "others": "其他就诊", "birthday": "出生日期", "identity": "证件号码",
             "refunds": "冲销的结算"}  # fmt: skip
PATH = re.compile(r"(?<![\w.$'])([A-Za-z_]\w*)(?:&?\.(\w+))?(?:&?\.(\w+))?")


def write_pages(region: Region, out: Path) -> list[Path]:
    """Write the index and a page per rule into a folder; the paths, the index first."""
    rules = sorted(region.rules, key=_order)
    pages = {"index.html": index_page(_families(rules))}
    titles = {loaded.rule.id: loaded.rule.title for loaded in rules}
    for place, loaded in enumerate(rules):
        beside = [rules[n].rule.id if 0 <= n < len(rules) else "" for n in (place - 1, place + 1)]
        pages[f"{loaded.rule.id}.html"] = rule_page(_page(loaded, region.knowledge, titles), *beside)
    out.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (out / name).write_bytes(page)
    return [out / name for name in pages]


def _order(loaded: LoadedRule) -> tuple:
    rule, families = loaded.rule, list(FAMILIES)
    place = families.index(rule.family) if rule.family in families else len(families)
    return place, rule.family, rule.number is None, rule.number or 0, rule.id


def _families(rules: list[LoadedRule]) -> list[tuple[str, list]]:
    found: dict[str, list] = {}
    for loaded in rules:
        labels = [tables()[name].label for name in tables_needed(loaded)]
        found.setdefault(loaded.rule.family, []).append(
            {"rule": loaded.rule, "basis": basis_text(loaded.rule), "data": "、".join(labels)}
        )
    return [(FAMILIES.get(name, name), listed) for name, listed in found.items()]


def _told(loaded: LoadedRule) -> list[dict]:
    """What the rule asks, in words: each expression that decides, its parts one below the other."""
    told = []
    for of in TOLD:
        parts = [part for part in loaded.parts if part.of == of and part.words and part.level <= DEEPEST]
        if parts:
            rows = [{"level": p.level, "name": p.name if p.name in loaded.rule.let else "", "words": p.words}
                    for p in parts if p.level == 0 or p.name in loaded.rule.let]  # fmt: skip
            told.append({"label": NAMES[of], "rows": rows})
    return told


def _page(loaded: LoadedRule, knowledge: Knowledge, titles: dict[str, str]) -> dict:
    rule, scope = loaded.rule, scopes()[loaded.rule.scope]
    texts = {
        name: text for name, text in expressions_of(rule).items() if not name.startswith(("message.", "innocent."))
    }
    lets = {f"let.{name}": text for name, text in rule.let.items()}
    shown = [
        {"label": _name(name), "text": text, "words": words_of(text, loaded)} for name, text in (texts | lets).items()
    ]
    return {
        "rule": rule, "family": FAMILIES.get(rule.family, rule.family), "scope": scope, "version": loaded.version,
        "basis": basis_text(rule), "told": _told(loaded), "expressions": shown,
        "data": [tables()[name].label for name in tables_needed(loaded)],
        "params": [{"name": n, "param": p, "value": _value(loaded.setting.params[n])} for n, p in rule.params.items()],
        "sets": [{"name": n, "source": s if isinstance(s, str) else "、".join(s), "codes": len(loaded.setting.sets[n])}
                 for n, s in rule.sets.items()],
        "table": _table(loaded, knowledge),
        "innocent": [{"because": i.because, "parts": _proofs(i, loaded)} for i in rule.innocent],
        "supersedes": [{"id": other, "title": titles.get(other, other), "there": other in titles}
                       for other in rule.supersedes],
        "examples": [_example(number, test) for number, test in enumerate(rule.tests, 1)],
    }  # fmt: skip


def _name(name: str) -> str:
    if name.startswith("peers.among"):
        return "同类是指相同的"
    return NAMES.get(name) or f"其中 {name.removeprefix('let.')}"


def _value(value) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    return "、".join(value) if isinstance(value, tuple) else str(value)


def _proofs(innocent, loaded: LoadedRule) -> list[dict]:
    said = {"unless": "能证明它的", "unknown": "不能排除的情形"}
    return [{"label": label, "text": text, "words": words_of(text, loaded)}
            for part, label in said.items() if (text := getattr(innocent, part))]  # fmt: skip


def words_of(text: str, loaded: LoadedRule) -> list[tuple[str, str]]:
    """(word, what it means) of every word of an expression that has a label, in order, each once."""
    found = {}
    for symbol, *rest in PATH.findall(text):
        path = [symbol, *(part for part in rest if part)]
        if said := _meaning(path, loaded):
            found[".".join(path[: said[1]])] = said[0]
    return list(found.items())


def _meaning(path: list[str], loaded: LoadedRule) -> tuple[str, int] | None:
    """(label, how many parts of the path it is the label of), where the path begins with a word of the rule."""
    rule, symbol = loaded.rule, path[0]
    if symbol in rule.sets and len(path) == 1:
        return f"集合：{rule.sets[symbol] if isinstance(rule.sets[symbol], str) else '、'.join(rule.sets[symbol])}", 1
    if symbol == "params" and len(path) > 1 and path[1] in rule.params:
        return f"参数：{rule.params[path[1]].label or path[1]}", 2
    attributes = _attributes(symbol, loaded)
    for depth, part in enumerate(path[1:], 2):
        attribute = (attributes or {}).get(part)
        if attribute is None:
            return None
        if attribute.kind not in objects() or depth == len(path):
            unit = f"（{TYPES[attribute.kind]}）" if attribute.kind == "money" else ""
            return f"{attribute.label}{unit}{'，可能缺失' if attribute.nullable else ''}", depth
        attributes = objects()[attribute.kind]
    return None


def _attributes(symbol: str, loaded: LoadedRule) -> dict | None:
    if symbol in loaded.setting.symbols:
        return loaded.setting.attributes_of(symbol)
    for own in loaded.setting.symbols if symbol in ELEMENTS else ():
        attribute = loaded.setting.attributes_of(own).get(ELEMENTS[symbol])
        if attribute and attribute.collection:
            return objects()[attribute.collection]
    return None


def _table(loaded: LoadedRule, knowledge: Knowledge) -> dict | None:
    """The rows of the joined table that belong to the rule, the first ROWS of them."""
    join = loaded.rule.join
    if join is None:
        return None
    rows, attributes = joined_rows(loaded, Facts({}, knowledge)), row_attributes(join.table)
    used = [a for a in attributes.values() if a.name != "rule" and f"{join.alias}.{a.name}" in rows.columns]
    used = [a for a in used if rows[f"{join.alias}.{a.name}"].null_count() < rows.height]
    body = [[_cell(row[f"{join.alias}.{a.name}"], a) for a in used] for row in rows.head(ROWS).to_dicts()]
    matched = [(attributes[ROW_NAMES.get(c, c)].label, word) for c, word in join.keys.items()]
    return {"name": join.table, "label": shapes()[join.table].label, "matched": matched,
            "columns": [a.label for a in used], "rows": body, "of": rows.height}  # fmt: skip


def _cell(value, attribute: Attribute) -> str:
    kind = attribute.kind
    if value is None:
        return ""
    if attribute.name == "grade":
        return GRADE.get(value, value)
    if kind == "money":
        return yuan(value)
    if kind == "time":
        return value.date().isoformat()
    if kind == "number":
        return f"{Decimal(value).normalize():f}"
    return value.strip("|").replace("|", "、") if kind == "texts" else str(value)


def _example(number: int, test: dict) -> dict:
    """A test as small tables: what it is given, part by part, and what is expected."""
    word = next(word for word in WORDS if word in test)
    parts = []
    for name, given in body_of(test, word).items():
        if name == "tables":
            parts += [_part(_label(table), rows, table) for table, rows in given.items()]
        else:
            parts.append(_part(TEST_PARTS.get(name, name), given, name))
    gives = [f"{name} {value}" for name, value in test.get("gives", {}).items()]
    return {"number": number, "word": word, "label": TESTED[word], "why": test.get("why", ""), "parts": parts,
            "gives": gives}  # fmt: skip


def _part(label: str, given, name: str) -> dict:
    """Rows of a test under Chinese heads; what is no row is one line of text."""
    rows = given if isinstance(given, list) else [given]
    rows = [{"": _plain(row)} if not isinstance(row, dict) else {k: _plain(v) for k, v in row.items()} for row in rows]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return {"label": label, "heads": [_head(name, head) for head in heads],
            "rows": [[row.get(head, "") for head in heads] for row in rows]}  # fmt: skip


def _plain(value) -> str:
    if isinstance(value, dict):
        return "，".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return "；".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _head(part: str, word: str) -> str:
    """The Chinese label of a word of a test, or of a column of a table."""
    shape = shapes().get(part) or tables().get("trace_codes" if part == "events" else part)
    if shape and word in shape.fields:
        return shape.fields[word].label
    attribute = objects().get(SPOKEN_OF.get(part, ""), {}).get(word)
    return attribute.label if attribute else TEST_PARTS.get(word) or OWN_HEADS.get(word, word)


def _label(table: str) -> str:
    return (shapes().get(table) or tables()[table]).label
