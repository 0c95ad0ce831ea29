"""The rules as a reader sees them, for the report and the command line."""

from engine.report.rules import RuleInfo
from engine.run.region import Region

FAMILIES = {
    "inpatient-conduct": "住院行为", "over-treatment": "过度检查诊疗", "prescribing": "处方与开药",
    "duplicate-charging": "重复收费", "overcharging": "超标准、分解收费", "substitution": "串换",
    "payment-scope": "支付范围与限定", "impersonation-and-fabrication": "冒名、虚构与追溯码", "pharmacy": "定点药店",
    "hemodialysis": "血液透析", "rehabilitation": "康复理疗", "clinical-departments": "专科",
    "special-programmes": "专项", "trace": "追溯码检查",
}  # fmt: skip


def rule_infos(region: Region) -> dict[str, RuleInfo]:
    """Every rule of the region as the report shows it."""
    return {loaded.rule.id: rule_info(loaded) for loaded in region.rules}


def rule_info(loaded) -> RuleInfo:
    """One rule as the report shows it."""
    rule = loaded.rule
    shown = {name: _text(loaded.setting.params[name]) for name in rule.params}
    return RuleInfo(
        rule_id=rule.id, title=rule.title, family=rule.family, family_title=FAMILIES.get(rule.family, ""),
        number=rule.number, description=rule.description,
        basis=basis_text(rule),
        sources=tuple(rule.sources), needs=tuple(rule.needs), result=rule.result, status=rule.status,
        innocent=tuple(i.because for i in rule.innocent), amount=rule.amount, parameters=shown, version=loaded.version,
    )  # fmt: skip


def basis_text(rule) -> str:
    """The legal basis of a rule in one line."""
    return "；".join(f"《{b.law}》{_article(b.article)}" for b in rule.basis)


def _article(article: str) -> str:
    """38(3) as 第38条第(3)项."""
    number, _, item = article.partition("(")
    return f"第{number}条{f'第({item}项' if item else ''}" if number else ""


def _text(value) -> str:
    return "、".join(value) if isinstance(value, tuple) else str(value)
