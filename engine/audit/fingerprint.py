"""What the answers of a rule depend on beside the extract, each part as a short hash.

Two rules with the same fingerprint answer alike on every extract, so an answer need not be computed twice, and where
fingerprints differ the parts say what was edited: the file, a parameter, rows of a table.
"""

import hashlib

from engine.audit import CODE_SCOPES
from engine.audit.codefacts import TUNED
from engine.audit.derived import KNOWLEDGE_READ
from engine.audit.facts import Facts
from engine.audit.joins import joined_rows
from engine.language.rule import LoadedRule
from engine.reference.knowledge import Knowledge
from engine.reference.presumptions import Presumptions

PARTS = {
    "file": "规则文件", "params": "参数", "sets": "名单", "rows": "知识表中的行", "facts": "派生事实所依的知识表",
    "presumptions": "推定", "others": "其他追溯规则的参数", "today": "运行日期",
}  # fmt: skip


def fingerprint(
    loaded: LoadedRule, rules: list[LoadedRule], knowledge: Knowledge, presumed: Presumptions
) -> dict[str, str]:
    """Part (see PARTS) -> hash. `rules` are all rules of the run, some of which decide what others are told."""
    read = words(loaded)
    behind = sorted({table for word in read for table in KNOWLEDGE_READ.get(word, ())})
    setting = loaded.setting
    return {
        "file": _hash(loaded.version),
        "params": _hash(sorted(setting.params.items())),
        "sets": _hash((sorted(setting.sets.items()), sorted(setting.periods.items()))),
        "rows": _rows(loaded, knowledge, presumed),
        "facts": _hash([knowledge[name].write_csv() for name in behind]),
        "presumptions": _hash(presumed),
        "others": _hash(_of_others(loaded, rules)),
        "today": _hash(setting.today if loaded.asks_the_date else None),
    }


def words(loaded: LoadedRule) -> set[str]:
    """The last word of every path that any expression of the rule reads."""
    paths = set(loaded.rule.by)
    for compiled in loaded.compiled.values():
        paths |= compiled.columns | compiled.element
        paths = paths.union(*(a.columns | a.outer for a in compiled.aggregates))
    return {path.rsplit(".", 1)[-1] for path in paths}


def _rows(loaded: LoadedRule, knowledge: Knowledge, presumed: Presumptions) -> str:
    """The rule's own rows of the table it joins: a row of another rule is none of them."""
    if not loaded.rule.join:
        return ""
    return _hash(joined_rows(loaded, Facts({}, knowledge, presumed)).drop("_row").write_csv())


def _of_others(loaded: LoadedRule, rules: list[LoadedRule]) -> list:
    """How facts of codes are computed is decided by all trace rules together."""
    standing = [r for r in rules if r.rule.status != "retired"]
    if loaded.rule.scope not in CODE_SCOPES:
        return []
    return sorted({n: r.setting.params[n] for r in standing if r.rule.scope in CODE_SCOPES
                   for n in TUNED if n in r.setting.params}.items())  # fmt: skip


def _hash(facts) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
