"""Every word a rule may use, with its Chinese label and meaning: what `yibao rules words` lists and searches.

Scopes, objects and attributes come from the vocabulary, keys from the form, tables and concepts from the region's
knowledge; functions and operators, which are rule-engine's, are explained here.
"""

import re
import typing
from dataclasses import dataclass

from pydantic import BaseModel

from engine.language.form import Rule
from engine.language.joined import row_attributes
from engine.language.vocabulary import objects, scopes
from engine.reference.knowledge import Knowledge, shapes

KINDS = {
    "scope": "审核单位 for", "attribute": "词", "function": "函数", "operator": "运算", "table": "知识表",
    "column": "知识表的列", "concept": "概念", "type": "参数类型", "key": "规则文件的键",
}  # fmt: skip
TYPES = {"text": "文字", "number": "数", "money": "元", "time": "时间", "bool": "是否", "texts": "多个文字"}
FUNCTIONS = {
    "$sum": ("合计；空列表是 0", "$sum([l.cnt for l in day.lines if l.item in items])"),
    "$any": ("有一个成立；空列表不成立", "$any([o.inpatient for o in visit.others])"),
    "$all": ("全部成立；空列表成立", "$all([l.price > 0 for l in visit.lines])"),
    "$min": ("最小值；空列表 → 未评估", "$min([l.price for l in day.lines])"),
    "$max": ("最大值；空列表 → 未评估", "$max([l.price for l in day.lines])"),
    "$abs": ("绝对值", "$abs(store.opening - store.closing)"),
    "$begins": ("编码以任一前缀开头；两边都可以是一个、集合或列表", "$begins(visit.diags, cancer)"),
    "$today": ("本次运行的基准日零点，不随时钟走", "visit.admission < $today"),
    "$now": ("与 $today 相同", "visit.admission < $now"),
}
OPERATORS = {
    "and": ("并且；前面不成立就不再看后面", "a.cnt > 0 and b.cnt > 0"),
    "or": ("或者；前面成立就不再看后面", "visit.insured or not params.insured_only"),
    "not": ("不", "not visit.inpatient"),
    "==": ("相等；空与空相等", "line.category == '06'"),
    "!=": ("不等", "visit.icd3 != ''"),
    "<": ("小于；只比同类，两边都不能缺失", "visit.days < 2"),
    "<=": ("不大于", "visit.days <= 2"),
    ">": ("大于", "billed > params.max_per_day"),
    ">=": ("不小于", "visit.days >= 2"),
    "+": ("加；时间加时长；文字相接", "store.opening + store.purchased"),
    "-": ("减；两个时间相减得时长", "(b.date - a.date).days"),
    "*": ("乘，精确", "line.cnt * line.price"),
    "/": ("除，十八位小数；除以零 → 未评估", "visit.total / visit.days"),
    "//": ("整除，向零截断：-7 // 2 是 -3", "visit.days // 7"),
    "%": ("余数，符号随被除数：-7 % 2 是 -1", "visit.days % 7"),
    "in": ("在集合、列表或文字之中", "line.item in items"),
    "not in": ("不在其中", "line.category not in ['09', '10']"),
    "=~": ("正则，从开头匹配", "line.name =~ '.*CT'"),
    "=~~": ("正则，任意位置匹配", "line.name =~~ '平扫'"),
    "!~": ("与 =~ 相反", "line.name !~ '血'"),
    "!~~": ("与 =~~ 相反", "line.name !~~ '平扫'"),
    "??": ("左边缺失时用右边", "(visit.age ?? 0) > 18"),
    "&.": ("左边缺失时整个缺失", "(visit.discharge&.date ?? visit.admission)"),
    "? :": ("条件 ? 成立时 : 不成立时", "limit.sex == '1' ? '男' : '女'"),
    "[ for in if ]": ("逐个取出列表的元素，if 可不写", "[l.cnt for l in day.lines if l.item in items]"),
    ".length": ("列表的个数；文字的字数", "visit.procedures.length > 0"),
    ".to_set.length": ("列表中不同值的个数", "[l.item for l in day.lines].to_set.length"),
    ".days": ("时长的整天数", "(b.date - a.date).days"),
    ".date": ("时间所在日的零点；另有 .year .month .day .hour .minute .second", "visit.admission.date"),
    ".as_upper": ("转大写；.as_lower 转小写", "visit.main_diag.as_upper"),
    "d\"…\"": ("写出一个时间", 'line.date >= d"2025-01-01"'),
    "t\"…\"": ("写出一个时长（ISO 8601）", 'b.time - a.time < t"PT6H"'),
}  # fmt: skip
PARAM_TYPES = {
    "int": "整数",
    "decimal": "小数，精确",
    "text": "文字",
    "list": "列表，参数文件里可用 | 分隔",
    "bool": "true 或 false",
}

# Columns of knowledge tables that hold the code and the name of an item.
ITEM_COLUMNS = (("med_list_codg", "name"), ("main", "main_name"), ("included", "included_name"),
                ("base", "base_name"), ("addon", "addon_name"), ("instead", "instead_name"))  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One word: its kind, its name in full, its type in Chinese, whether it may be missing, meaning and example."""

    kind: str
    name: str
    label: str
    type: str = ""
    missing: bool = False
    note: str = ""
    example: str = ""

    @property
    def last(self) -> str:
        """The name without what it belongs to: `days` of `visit.days`."""
        return self.name.rpartition(".")[2] if self.kind in ("attribute", "column", "key") else self.name


def entries(knowledge: Knowledge) -> list[Entry]:
    """Every word, kind by kind."""
    found = [Entry("scope", s.name, s.label, note=_symbols(s.symbols)) for s in scopes().values()]
    for name, attributes in objects().items():
        found += [Entry("attribute", f"{name}.{a.name}", a.label, _type(a.kind), a.nullable, a.note)
                  for a in attributes.values()]  # fmt: skip
    found += [Entry("function", name, said, example=shown) for name, (said, shown) in FUNCTIONS.items()]
    found += [Entry("operator", name, said, example=shown) for name, (said, shown) in OPERATORS.items()]
    for name, shape in shapes().items():
        found.append(Entry("table", name, shape.label, note=f"{knowledge[name].height} 行"))
        found += [Entry("column", f"{name}.{a.name}", a.label, _type(a.kind), a.nullable, a.note)
                  for a in row_attributes(name).values()]  # fmt: skip
    found += [Entry("concept", f"concept:{name}", _named(knowledge, name)) for name in knowledge.concepts]
    found += [Entry("type", name, said) for name, said in PARAM_TYPES.items()]
    return found + _keys(Rule)


def lookup(word: str, among: list[Entry]) -> list[Entry]:
    """Words of exactly this name; else those whose name, label or note holds it, in Chinese or English."""
    plain = word.strip().lower()
    exact = [e for e in among if plain in (e.name.lower(), e.last.lower(), e.name.lower().removeprefix("concept:"))]
    if exact:
        return exact
    return [e for e in among if any(plain in text.lower() for text in (e.name, e.label, e.note))]


def item_names(knowledge: Knowledge, word: str) -> list[tuple[str, str]]:
    """(code, name) of every item of a knowledge table whose code or name holds the word, sorted, each code once."""
    plain, found = word.strip().lower(), {}
    for name, shape in shapes().items():
        for code, called in ITEM_COLUMNS:
            if {code, called} <= set(shape.fields):
                rows = knowledge[name].select(code, called).drop_nulls(code).unique()
                for row in rows.sort(code, called).iter_rows():
                    if plain in row[0].lower() or plain in (row[1] or "").lower():
                        found[row[0]] = found.get(row[0]) or row[1] or ""
    return sorted(found.items())


def _symbols(symbols: dict[str, str]) -> str:
    return "，".join(name if name == kind else f"{name}（{kind}）" for name, kind in symbols.items())


def _type(kind: str) -> str:
    return f"{kind[1:-1]} 的列表" if kind.startswith("[") else TYPES.get(kind, kind)


def _named(knowledge: Knowledge, concept: str) -> str:
    """How many codes a concept has, and the names of some."""
    rows = knowledge["concepts"].filter(knowledge["concepts"]["concept"] == concept)
    names = rows["name"].drop_nulls().unique(maintain_order=True).to_list()
    return f"{rows['code'].n_unique()} 个编码" + (
        f"：{'、'.join(names[:4])}{' …' if len(names) > 4 else ''}" if names else ""
    )


def _keys(model: type[BaseModel], above: str = "") -> list[Entry]:
    found = []
    for name, field in model.model_fields.items():
        full = f"{above}{field.alias or name}"
        allowed = re.findall(r"Literal\[([^\]]+)\]", str(field.annotation))
        words = "、".join(part.strip(" '") for part in allowed[0].split(",")) if allowed else ""
        found.append(Entry("key", full, field.description or "", missing=not field.is_required(), note=words))
        for inner in _inside(field.annotation):
            found += _keys(inner, f"{full}.")
    return found


def _inside(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _inside(part)]
