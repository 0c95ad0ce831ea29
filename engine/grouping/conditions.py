"""The condition language of a grouping scheme: one short text per MDC, ADRG or DRG, parsed once into alternatives.

A condition is one or more alternatives joined by ` or `; an alternative is terms joined by `+`; a term, or a condition
in brackets, may be preceded by `not `. The empty text (or `none`) always holds. Terms:

    pdx, any_dx, sec_dx            the principal, any, some secondary diagnosis is in the list of that name
    main_proc, any_proc, sec_proc  the main, any, some other procedure is in the list of that name
    pdx:2, any_proc:1              ... in that part of the list
    pdx@BR1                        ... in the list of another ADRG (or of an MDC)
    two_proc                       any_proc:1+any_proc:2
    proc_parts:1&2|1&3             any procedures that cover parts 1 and 2, or 1 and 3, of the proc_part list
    main_proc_valid, any_proc_valid, no_valid_proc      against the list of valid procedures
    male, female, leaving:2|5      sex; way of discharge
    day_surgery                    the stay was for surgery within a day
    age_days<=28                   a quantity compared with a number: see QUANTITIES
    MCC, CC                        a secondary diagnosis counts as MCC, as CC (conditions of a DRG only)
    body_regions>=2                the diagnoses touch that many parts of the list of the MDC (in an ADRG's condition
                                   body_regions@MDCZ>=2)

A value the record does not bring satisfies neither a comparison with it nor its negation.
"""

import re
from dataclasses import dataclass, replace

from engine.tables.problems import RuleProblem, likely

DX_ROLES = ("pdx", "any_dx", "sec_dx")
PROC_ROLES = ("main_proc", "any_proc", "sec_proc", "proc_part")
LIST_KINDS = (*DX_ROLES, *PROC_ROLES)
DX_SETS, PROC_SETS = ("any_dx", "sec_dx"), ("any_proc", "sec_proc")  # roles that several codes of a stay may meet
QUANTITIES = {
    "age_years": "年龄（岁）",
    "age_days": "出生天数",
    "weight": "出生体重（克）",
    "adm_weight": "入院体重（克）",
    "los": "住院天数",
    "vent_hours": "呼吸机使用小时",
    "icu_hours": "重症监护小时",
}
WORDS = {
    "pdx": "主要诊断",
    "any_dx": "任一诊断",
    "sec_dx": "其他诊断",
    "main_proc": "主要手术",
    "any_proc": "任一手术",
    "sec_proc": "其他手术",
    "proc_part": "任一手术",
}
COMPARISONS = {"==": "等于", "!=": "不等于", "<=": "≤", ">=": "≥", "<": "<", ">": ">"}

MOST_ALTERNATIVES = 500  # of one condition, brackets and `not` expanded

_LIST_TERM = re.compile(r"(pdx|any_dx|sec_dx|main_proc|any_proc|sec_proc)(?::([^@]+))?(?:@(\w+))?")
_COMPARISON = re.compile(r"(\w+?)(?:@(\w+))?\s*(==|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ListKey:
    """Names one code list of a scheme: its kind, the MDC or ADRG it belongs to, and its part ('' = all parts)."""

    kind: str
    owner: str
    part: str = ""


VALID_PROCEDURES = ListKey("valid", "")
AMBIGUOUS_PROCEDURES = ListKey("qy", "")  # the valid ones that make a stay ambiguous


@dataclass(frozen=True)
class Term:
    """One thing a condition asks of a record.

    looks_at: a role (pdx, any_dx, sec_dx, main_proc, any_proc, sec_proc) with `codes` the list to be in;
    `number` with a quantity; `choice` (gend, leaving) with the values allowed; `regions`; `severity` with MCC or CC.
    """

    looks_at: str
    name: str = ""
    codes: ListKey | None = None
    comparison: str = ""
    number: float = 0.0
    values: tuple[str, ...] = ()
    negated: bool = False


Alternative = tuple[Term, ...]

_WHOLE_WORDS = {
    "main_proc_valid": Term("main_proc", codes=VALID_PROCEDURES),
    "any_proc_valid": Term("any_proc", codes=VALID_PROCEDURES),
    "no_valid_proc": Term("any_proc", codes=VALID_PROCEDURES, negated=True),
    "male": Term("choice", "gend", values=("1",)),
    "female": Term("choice", "gend", values=("2",)),
    "day_surgery": Term("choice", "day_surgery", values=("1",)),
    "MCC": Term("severity", "MCC"),
    "CC": Term("severity", "CC"),
}
TERM_NAMES = (
    *DX_ROLES,
    *PROC_ROLES[:2],
    "two_proc",
    "proc_parts",
    *_WHOLE_WORDS,
    "leaving",
    "body_regions",
    *QUANTITIES,
)
KNOWN_TERMS = ", ".join(
    [*DX_ROLES, *PROC_ROLES[:3], "two_proc", "proc_parts:…", *_WHOLE_WORDS, "leaving:…", "body_regions>=n"]
    + [f"{name}<n" for name in QUANTITIES]
)


def parse_condition(text: str, owner: str, where: str = "") -> tuple[Alternative, ...]:
    """The alternatives of a condition; any one that holds satisfies it. `owner` is the MDC or ADRG it stands at.

    Raises RuleProblem naming an unknown term, at `where`.
    """
    text = text.strip()
    if text in ("", "none"):
        return ((),)
    if text.count("(") != text.count(")"):
        raise RuleProblem(f"括号不成对 brackets do not match: {text}", where)
    return tuple(_either(text, owner, where))


def _either(text: str, owner: str, where: str) -> list[Alternative]:
    """The alternatives of a text: what stands between ` or ` at this depth of brackets, `+` expanded."""
    alternatives: list[Alternative] = []
    for conjunction in _split(text, r"\s+or\s+"):
        expanded: list[Alternative] = [()]
        for term in _split(conjunction, r"\+"):
            expanded = [left + right for left in expanded for right in _factor(term.strip(), owner, where)]
        alternatives += expanded
    if len(alternatives) > MOST_ALTERNATIVES:
        raise RuleProblem(f"条件展开后太多 too many alternatives: {len(alternatives)}", where, f"≤ {MOST_ALTERNATIVES}")
    return alternatives


def _split(text: str, separator: str) -> list[str]:
    """The text at every separator that stands outside brackets."""
    parts, start = [], 0
    for match in re.finditer(separator, text):
        before = text[: match.start()]
        if before.count("(") == before.count(")"):
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _factor(text: str, owner: str, where: str) -> list[Alternative]:
    if text.startswith(("not ", "not(")):
        return _opposite(_factor(text[3:].strip(), owner, where))
    if text.startswith("(") and text.endswith(")"):
        return _either(text[1:-1], owner, where)
    return _term(text, owner, where)


def _opposite(alternatives: list[Alternative]) -> list[Alternative]:
    """What holds where none of the alternatives does: of each, some term does not."""
    opposite: list[Alternative] = [()]
    for terms in alternatives:
        opposite = [left + (replace(t, negated=not t.negated),) for left in opposite for t in terms]
    return opposite


def _term(text: str, owner: str, where: str) -> list[Alternative]:
    if text in _WHOLE_WORDS:
        return [(_WHOLE_WORDS[text],)]
    if text == "two_proc":
        return [tuple(Term("any_proc", codes=ListKey("any_proc", owner, part)) for part in "12")]
    if text.startswith("proc_parts:"):
        return [_parts(group, owner) for group in text.removeprefix("proc_parts:").split("|")]
    if text.startswith("leaving:"):
        return [(Term("choice", "leaving", values=tuple(text.removeprefix("leaving:").split("|"))),)]
    if match := _LIST_TERM.fullmatch(text):
        role, part, other = match.groups()
        return [(Term(role, codes=ListKey(role, other or owner, part or "")),)]
    if match := _COMPARISON.fullmatch(text):
        name, other, comparison, number = match.groups()
        if name == "body_regions":
            return [(Term("regions", other or owner, comparison=comparison, number=float(number)),)]
        if name in QUANTITIES and not other:
            return [(Term("number", name, comparison=comparison, number=float(number)),)]
    hint = likely(re.split(r"[\W\d]", text)[0], TERM_NAMES)
    raise RuleProblem(f"分组条件不认识 unknown condition term '{text}'", where, KNOWN_TERMS, hint)


def _parts(group: str, owner: str) -> Alternative:
    return tuple(Term("any_proc", codes=ListKey("proc_part", owner, part.strip())) for part in group.split("&"))


def condition_in_words(condition: tuple[Alternative, ...]) -> str:
    """A whole condition as an auditor reads it; empty where it always holds."""
    return "；或".join("，且".join(in_words(term) for term in terms) for terms in condition)


def in_words(term: Term) -> str:
    """The term as an auditor reads it."""
    no = "不" if term.negated else ""
    if term.codes:
        subject = WORDS[term.looks_at].replace("任一", "所有") if term.negated else WORDS[term.looks_at]
        if term.codes in (VALID_PROCEDURES, AMBIGUOUS_PROCEDURES):
            return f"{subject}{'均' * subject.startswith('所有')}{no}属于有效手术操作"
        part = f"第 {term.codes.part} 部分" if term.codes.part else ""
        return f"{subject}{'均' * subject.startswith('所有')}{no}在 {term.codes.owner} 编码表{part}"
    if term.looks_at == "number":
        return f"{'并非' * term.negated}{QUANTITIES[term.name]}{COMPARISONS[term.comparison]}{term.number:g}"
    if term.looks_at == "regions":
        return f"{'并非' * term.negated}诊断涉及身体部位数{COMPARISONS[term.comparison]}{term.number:g}"
    if term.name == "gend":
        return "男性" if (term.values == ("1",)) != term.negated else "女性"
    if term.name == "day_surgery":
        return f"{'非' * term.negated}日间手术"
    if term.name == "leaving":
        return f"离院方式{no}为 {'、'.join(term.values)}"
    return f"{'无' if term.negated else '有'}{term.name}"
