"""The pages of the rule book: self-contained, printable, offline. What stands on them comes from run/handbook.py."""

from markupsafe import Markup

from engine.report import words
from engine.report.html import ASSETS, environment

CUT = {"latest": "最晚的明细", "earliest": "最早的明细", "cheapest": "最便宜的明细", "dearest": "最贵的明细"}
SAME = {"hour": "相隔不足一小时（只有整点时为同一钟点）", "6h": "相隔不超过六小时", "day": "同一天",
        "visit": "同一次就诊", "person": "同一个人"}  # fmt: skip


def index_page(families: list[tuple[str, list]]) -> bytes:
    """The index: every family with its rules, by number."""
    return _rendered("rules.html.j2", families=families)


def rule_page(page: dict, before: str, after: str) -> bytes:
    """The page of one rule; `before` and `after` are the ids of its neighbours in the index, or empty."""
    return _rendered("rule.html.j2", **page, before=before, after=after, cut=CUT, same=SAME)


def _rendered(template: str, **given) -> bytes:
    style = (ASSETS / "rules.css").read_text("utf-8")
    return environment().get_template(template).render(words=words, style=Markup(style), **given).encode()
