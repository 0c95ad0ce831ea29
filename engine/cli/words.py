"""What the command line says, in Chinese and English."""

import locale
import os

LANGUAGES = ("zh", "en")

WORDS = {
    "claims": ("结算单", "claims"),
    "lines": ("费用明细", "fee lines"),
    "fund_paid": ("基金支付(元)", "fund paid (yuan)"),
    "findings": ("疑点", "findings"),
    "due": ("应追回(元)", "recoverable (yuan)"),
    "family": ("类别", "family"),
    "violations": ("明确违规", "violations"),
    "suspicions": ("可疑", "suspicions"),
    "fund": ("涉及基金(元)", "fund share (yuan)"),
    "report_at": ("报告", "report"),
    "rejected": ("退回行", "rejected rows"),
    "differences": ("结算差异", "settlement differences"),
    "check": ("校验", "check"),
    "verdict": ("结论", "verdict"),
    "value": ("实测值", "value"),
    "pass": ("通过", "pass"),
    "fail": ("不通过", "fail"),
    "not_checkable": ("无法校验", "not checkable"),
    "rows_in": ("行数", "rows"),
    "accepted": ("接收", "accepted"),
    "blank": ("空行", "blank"),
    "file": ("文件", "file"),
    "kind": ("内容", "kind"),
    "written": ("写入", "written"),
    "merged": ("并入", "merged"),
    "refused": ("退回", "refused"),
    "footers": ("表外说明", "notes below"),
    "table": ("知识表", "table"),
    "published": ("公布的", "published"),
    "kept": ("原有编号行", "our numbered rows"),
    "numbered": ("归编号规则", "of numbered rules"),
    "more_remarks": ("条未列出，全部见 --json", "more, all with --json"),
    "items": ("个项目", "items"),
    "item": ("医疗目录编码", "item"),
    "local_item": ("机构编码", "local item"),
    "name": ("名称", "name"),
    "amount": ("金额(元)", "amount (yuan)"),
    "share": ("占比(%)", "share (%)"),
    "mapped": ("已对码", "mapped"),
    "unmapped": ("未对码", "unmapped"),
    "total": ("合计", "total"),
    "leads": ("疑点线索，需人工核实，不作为处罚依据", "leads for human review, no basis for a penalty"),
    "tests_passed": ("条规则测试通过", "rule tests passed"),
    "tests_failed": ("条规则测试失败", "rule tests failed"),
    "testing": ("规则测试", "testing rules"),
    "branches_loose": ("处条件没有测全", "conditions never seen both true and false"),
    "thresholds_loose": ("处界线移动了也没有测试失败", "thresholds that move without a test breaking"),
    "lock_changed": ("已改动", "changed"),
    "lock_new": ("新规则", "new"),
    "lock_gone": ("已删除", "gone"),
    "lock_same": ("规则与 rules.lock 一致", "the rules are as rules.lock says"),
    "whole": ("输出完整，与清单一致", "outputs are whole and match the manifest"),
    "rules": ("条规则", "rules"),
    "faults": ("处错误", "faults"),
    "advice": ("处提醒", "warnings and notes"),
    "waived": ("已豁免的疑点", "waived findings"),
    "waivers_in_force": ("份豁免单有效", "waivers in force"),
    "waivers_unused": ("份豁免单没有用到", "waivers unused"),
    "waivers_expired": ("份豁免单已到期", "waivers expired"),
    "waivers_no_rule": ("份豁免单所指规则不存在", "waivers name no rule"),
    "no_waivers": ("没有豁免单", "no waivers"),
    "gross": ("涉及金额(元)", "gross (yuan)"),
    "cases": ("案例", "cases"),
    "hits": ("命中", "hits"),
    "unjudged": ("未评估例数", "not evaluated"),
    "institution": ("机构", "institution"),
    "all_rules": ("全部规则", "all rules"),
    "carried": ("未改动，但同一明细的应追回因此转移", "not edited, but other money is due now"),
    "unmoved": ("改动了但在这份数据上结果不变", "edited, but the answers are the same"),
    "asked": ("本次重新评估的规则条数：", "rules asked anew:"),
    "no_edit": ("与之前相比，没有规则因改动而可能不同", "nothing was edited that a rule depends on"),
    "violation": ("明确违规", "violation"),
    "suspicion": ("可疑", "suspicion"),
    "money": ("涉及 {} 元，基金 {} 元", "{} yuan, of which the fund {}"),
    "innocent": ("待排除的合理解释", "innocent explanation left open"),
    "needs": ("需调取", "to fetch"),
    "excess": ("超出", "excess"),
    "basis": ("依据", "basis"),
    "context": ("参考", "context"),
    "not_evaluated": ("未评估的规则", "rules not evaluated"),
    "note": ("提示", "note"),
    "fault": ("程序自身的错误，请报告", "a fault of the program, please report it"),
    "interrupted": ("已中断，可用 --resume 继续", "interrupted; go on with --resume"),
}


def language(asked: str | None = None) -> str:
    """The language asked for, else that of the locale; English only where the locale is not Chinese."""
    if asked:
        return asked
    spoken = next((os.environ[k] for k in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(k)), None)
    spoken = spoken or locale.getlocale()[0] or ""
    return "zh" if spoken.lower().startswith(("zh", "chinese")) else "en"


class Words:
    """The words of one language: `words["claims"]`."""

    def __init__(self, asked: str | None = None):
        self.index = LANGUAGES.index(language(asked))

    def __getitem__(self, key: str) -> str:
        return WORDS[key][self.index]
