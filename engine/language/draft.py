"""The first text of a new rule, made from a few answers: it loads, its tests pass, and comments say what to edit next.

A draft says that some items may be charged at most so often in one case, or that two kinds of items may not be charged
together. What else a rule can say is added by its author.
"""

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from engine.language.vocabulary import objects, scopes
from engine.tables.problems import UsageProblem

COUNTED = ("line", "visit_day", "visit", "person_day", "person_week", "person_month", "person_year", "person_window")
SAME = {"day": "同一天", "hour": "同一小时", "6h": "前后六小时", "visit": "同一次就诊", "person": "同一个人"}


@dataclass(frozen=True)
class Draft:
    """The answers: `items` are codes, or one `concept:NAME`; `second` those that may not stand beside them."""

    title: str
    family: str
    scope: str
    items: list[str]
    second: list[str]
    id: str
    most: str = "0"
    days: str = "30"
    same: str = "day"
    result: str = "suspicion"
    law: str = "医疗保障基金使用监督管理条例"
    article: str = ""


def draftable() -> list[str]:
    """Scopes a draft can be made for."""
    return [name for name in (*COUNTED, "line_pair") if name in scopes()]


def draft_text(draft: Draft, codes: dict[str, list[str]]) -> str:
    """The YAML of a new rule. `codes` are the codes behind `items` and `second`, for its tests.

    Raises UsageProblem for a number that cannot be meant.
    """
    most = _number(draft.most)
    if not (draft.days.isascii() and draft.days.isdigit() and int(draft.days)):
        raise UsageProblem(f"不是天数 not a number of days: {draft.days!r}", allowed="1, 7, 30 …")
    head = f"""\
# yaml-language-server: $schema=../rule.schema.json
id: {draft.id}                                # 等于文件名
title: {_quoted(draft.title)}
description: {_quoted(_described(draft))}     # 写给审核的人看：错在哪里，为什么
family: {draft.family}
status: trial                                 # 试运行，不计金额；确认后改为 active
result: {draft.result}                        # suspicion 可疑，violation 明确违规
basis:
  - {{law: {_quoted(draft.law)}, article: {_quoted(draft.article)}}}
in_force: {{from: 2021-05-01}}                # 适用的服务日期
for: {draft.scope}                            # 一个案例是：{scopes()[draft.scope].label}
"""
    body = _pair(draft) if draft.scope == "line_pair" else _counted(draft)
    first, second = codes["items"][0], (codes.get("second") or ["OTHER"])[0]
    tests = _pair_tests(first, second) if draft.scope == "line_pair" else _counted_tests(first, most)
    rest = """\
innocent:                                     # 合理解释：unless 写什么能证明它；什么都不写则每条疑点都提示
  - {because: 本地另有规定或病历可以说明}
needs: [病历, 医嘱]                           # 定案要调取的材料
"""
    lines = [_aligned(line) for line in (head + body + rest).splitlines()]
    return "\n".join([*lines, "tests:", *(f"  - {test}" for test in tests)]) + "\n"


def _described(draft: Draft) -> str:
    label = scopes()[draft.scope].label
    if draft.scope == "line_pair":
        return f"两类项目{SAME[draft.same]}不应同收：{draft.title}。"
    return f"{label}之内最多计 {draft.most}，超出的部分是疑点：{draft.title}。"


def _counted(draft: Draft) -> str:
    window = f"window: {{days: {draft.days}}}                          # 窗口的天数，含首尾\n"
    start = f"""\
{window if draft.scope == "person_window" else ""}params:                                       # 地区可用参数文件改
  most: {{type: decimal, default: "{draft.most}", label: 最多数量}}
sets: {{items: {_items(draft.items)}}}        # concept:概念 或 代码列表
"""
    if draft.scope == "line":
        return f"""{start}when: line.item in items and line.cnt > params.most
excess: line.cnt - params.most                # 多出的数量
amount: units                                 # 金额按多出的数量算
message: "计{{line.cnt}}，超过{{params.most}}"
"""
    lines = _collection(draft.scope)
    return f"""{start}let:
  billed: $sum([l.cnt for l in {lines} if l.item in items])   # 退费冲销之后的数量
when: billed > params.most
flag: l.item in items                         # 哪些明细是证据
excess: billed - params.most                  # 多出的数量，从最晚的明细截起
amount: units                                 # 金额按多出的数量算
message: "共计{{billed}}，超过{{params.most}}"
"""


def _pair(draft: Draft) -> str:
    return f"""\
same: {draft.same}                            # {SAME[draft.same]}
sets: {{main: {_items(draft.items)}, included: {_items(draft.second)}}}
when: >-                                      # a 是较早的一条，b 是较晚的一条；两类的先后不论
  (a.item in main or a.item in included) and (b.item in main or b.item in included)
  and (a.item in main) != (b.item in main)
excess: b.cnt                                 # 较晚的一条全是多出的
amount: units                                 # 金额按多出的数量算
message: "{{a.name}}与{{b.name}}同收"
"""


def _collection(scope: str) -> str:
    """The list of lines of a case: day.lines, visit.lines …"""
    for symbol, kind in scopes()[scope].symbols.items():
        if objects()[kind].get("lines"):
            return f"{symbol}.lines"
    raise UsageProblem(f"没有明细 no lines: {scope}", allowed=", ".join(draftable()))


def _counted_tests(item: str, most: Decimal) -> list[str]:
    over, at, other = f"{most + 1:f}", f"{most:f}", "{item: OTHER}"
    tests = [f'hit: {{lines: [{{item: "{item}", cnt: "{over}"}}, {other}]}}']
    if most > 0:
        tests.append(f'clear: {{lines: [{{item: "{item}", cnt: "{at}"}}, {other}]}}')
    gone = f'{{item: "{item}", cnt: "-{over}", time: "2025-03-03 13:00:00"}}'
    tests.append(f'clear: {{lines: [{{item: "{item}", cnt: "{over}"}}, {gone}], why: 已退费}}')
    return [*tests, f'clear: {{lines: [{{item: OTHER, cnt: "{over}"}}], why: 别的项目}}']


def _pair_tests(first: str, second: str) -> list[str]:
    def lines(*items: str) -> str:
        return ", ".join(f'{{item: "{item}", time: "2025-03-03 12:{n}0:00"}}' for n, item in enumerate(items))

    return [f"hit: {{lines: [{lines(first, second, 'OTHER')}]}}",
            f"hit: {{lines: [{lines('OTHER', second, first)}], why: 先后不论}}",
            f"clear: {{lines: [{lines(first, first)}], why: 只收一类}}",
            f"clear: {{lines: [{lines(second, 'OTHER')}], why: 别的项目}}"]  # fmt: skip


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise UsageProblem(f"不是数量 not a quantity: {text!r}", allowed="0, 1, 2.5 …")
    return value


def _items(items: list[str]) -> str:
    return _quoted(items[0]) if items[0].startswith("concept:") else f"[{', '.join(map(_quoted, items))}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _aligned(line: str) -> str:
    """Comments two spaces after what they explain, at the least."""
    text, mark, comment = line.partition("  # ")
    return f"{text.rstrip():<44}  # {comment}" if mark else line
