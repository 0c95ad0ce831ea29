"""What a report says of a rule, beside what the rule found."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RuleInfo:
    """The reader's side of one rule. `basis` is the legal basis as text; `needs` what an auditor must fetch to decide;
    `amount` the rule's amount word (units, lines, claim …); `result` violation or suspicion; `status` active or trial.
    """

    rule_id: str
    title: str
    family: str = ""
    family_title: str = ""
    number: int | None = None
    description: str = ""
    basis: str = ""
    sources: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    result: str = "suspicion"
    status: str = "active"
    innocent: tuple[str, ...] = ()
    amount: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    @property
    def family_name(self) -> str:
        return self.family_title or self.family or "未分类"

    @property
    def order(self) -> tuple:
        """Numbered rules first, in the order of the list; the others by id."""
        return (self.number is None, self.number or 0, self.rule_id)


def rule_of(rules: Mapping[str, RuleInfo], rule_id: str) -> RuleInfo:
    """The rule, or a stand-in bearing its id when its text is not at hand."""
    return rules.get(rule_id) or RuleInfo(rule_id, title=rule_id)
