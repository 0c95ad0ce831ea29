"""The Chinese an auditor reads for the code words of the output tables."""

DISCLAIMER = "疑点线索，需人工核实，不作为处罚依据"
ENCODING = "编号 1 至 127 是本项目根据国家公布的清单和知识点自行编排的，不是任何官方清单的原文和编号。"

VERDICT = {"pass": "通过", "fail": "未通过", "not_checkable": "无法检查"}
RESULT = {"violation": "明确违规", "suspicion": "可疑"}
STATUS = {"active": "正式", "trial": "试运行", "retired": "停用"}
ROLE = {"excess": "超出（拟核减）", "basis": "依据", "context": "背景"}
GROUPED = {"grouped": "已入组", "ambiguous": "歧义组", "ungrouped": "未入组", "invalid": "数据无效"}
WAIVER = {"in_force": "有效", "unused": "没有用到", "expired": "已到期", "no_rule": "没有这条规则"}
GRADE = {"national": "国家公布", "region": "本地规定", "demo": "示例，未经核实"}
REASON = {
    "missing_table": "缺少数据表",
    "missing_field": "缺少字段",
    "outside_coverage": "超出数据覆盖范围",
    "not_in_force": "规则当期未生效",
    "unknown_concept": "项目未对应概念",
    "value_missing": "取值缺失",
}
FUND = {
    "pool": "基本医保统筹",
    "large_amount": "职工大额",
    "catastrophic": "居民大病",
    "enterprise": "企业补充",
    "civil_servant": "公务员补助",
    "assistance": "医疗救助",
    "account": "个人账户",
    "other": "其他",
}
METHOD = {
    "item": "按项目",
    "drg_rate": "DRG 费率",
    "drg_points": "DRG 点数",
    "dip": "DIP 分值",
    "bed_day": "按床日",
    "shared": "结余留用、超支分担",
    "quality": "考核清算",
    "alliance": "医共体清算",
    "deduction": "扣款",
    "direct_settlement": "药企直接结算",
    "capitation": "按人头",
}
LEDGER = {
    "cross_region": "异地就医往来",
    "direct_settlement": "药企直接结算",
    "catastrophic": "大病承办清算",
    "advance": "预付金",
    "payout": "即时结算拨付",
    "long_term_care": "长期护理保险",
    "maternity": "生育津贴",
    "premium": "参保缴费与资助",
    "account": "个人账户代缴等",
    "institution": "付给机构",
    "shared_account": "个账共济",
}
LEDGER_ITEM = {
    "to_institution": "就医地付医院",
    "to_care_place": "参保地付就医地",
    "borne_by_care_place": "就医地自担",
    "supplies": "货款",
    "premium": "保费",
    "benefits": "大病赔付",
    "clearing": "年度清算",
    "eligible": "可预付",
    "not_eligible": "不符合预付条件",
    "on_time": "按期",
    "late": "超期",
    "not_judged": "未能判断",
    "daily": "日拨付",
    "monthly": "月结算",
    "yearly": "年清算",
    "allowance": "津贴",
    "top_up": "单位补差",
    "subsidised": "资助参保",
    "own": "个人缴费",
    "missed": "应保未保",
    "family_doctor": "家庭医生服务费",
    "transfer": "转账",
    "premium_short": "保费余额不足",
    "family_doctor_short": "家医服务费余额不足",
    "transfer_short": "转账余额不足",
    "same_place": "本地共济",
    "other_place": "跨地共济",
}
SCOPE = {
    "line": "明细行",
    "line_pair": "明细对",
    "visit": "单次就诊",
    "visit_day": "就诊日",
    "person_day": "人·日",
    "person_week": "人·周",
    "person_month": "人·月",
    "person_year": "人·年",
    "person_window": "人·滑动窗口",
    "person": "人",
    "department": "科室",
    "practitioner_day": "医护·日",
    "device_day": "设备·日",
    "terminal_window": "终端窗口",
    "practitioner_window": "医护·滑动窗口",
    "contact_window": "同一电话或住址·滑动窗口",
    "store_item": "库存项目",
    "store_pair": "两种库存项目",
    "pos_sale": "零售",
    "same_results": "相同结果",
    "ltc_visit": "长护服务",
    "provider": "机构",
    "provider_day": "机构·日",
    "provider_month": "机构·月",
    "provider_year": "机构·年",
    "code": "追溯码",
    "code_site": "追溯码·地点",
    "fee_line_codes": "明细对应追溯码",
    "lot": "批号",
    "lot_book": "批号账",
    "burst": "连号扫码",
    "buyer": "首次购买人",
    "reseller": "再次售出机构",
}
# Scopes whose cases lie inside one institution; a visit may lean on an earlier one elsewhere, a person on any.
WITHIN_INSTITUTION = (
    "department",
    "practitioner_day",
    "device_day",
    "terminal_window",
    "practitioner_window",
    "contact_window",
    "store_item",
    "store_pair",
    "pos_sale",
    "same_results",
    "provider",
    "provider_day",
    "provider_month",
    "provider_year",
    "code_site",
)
EVENT = {"purchase": "购进", "stocktake": "盘存", "sale": "销售", "return": "退回", "void": "冲销"}
EVENT_STATE = {
    "supplied": "入库",
    "stands": "有效",
    "excess": "超出",
    "retold": "重复上传或合并，不另计",
    "netted": "已退回",
    "back": "冲抵销售",
    "cancelled": "结算已整单冲销",
}
MARK = EVENT | {
    "excess": "超出的销售",
    "accused": "本疑点所指的销售",
    "retold": "重复上传",
    "netted": "已退回的销售",
    "cancelled": "已整单冲销",
}
CHANNEL = {"settlement": "医保结算", "sales_ledger": "进销存上传"}
EDGE = {"joins": "连", "weak": "码数不足，不连", "busy": "繁忙机构，不连"}
HISTORY = "追溯码全史仅供参考，不是证据，不改变疑点。"
NETWORK = (
    "网络把首次购买人、首次售出机构、再次售出机构、再次购买人按他们之间的追溯码相连，只是应当一并核查的线索。"
    "一人与一机构之间不足最少码数的线不连；首次购买人过多的机构，人人都在那里买药，只有首次购买的线也不连。"
    "两个界限都是示例值，没有公布的口径；未连的线另行列出。"
)
AMOUNT = {
    "units": "超出数量按计费单价计",
    "lines": "涉及明细全额",
    "claim": "整张结算单金额",
    "difference": "计费与应计之差",
    "gap": "缺口数量按比例摊到各行",
    "later_visit": "后一次就诊的金额",
    "regroup": "重新分组前后的支付之差",
    "record": "该条记录的金额",
    "none": "不计金额",
}
CUT = {
    "latest": "从最晚的一行截起",
    "earliest": "从最早的一行截起",
    "cheapest": "从单价最低的一行截起",
    "dearest": "从单价最高的一行截起",
}
AMOUNT_BASIS = (
    "涉及金额＝超出部分按计费单价计的金额；范围内金额＝其中符合医保政策范围的部分；"
    "基金份额＝范围内金额按该明细行的基金支付比例折算；重新结算＝原结算与剔除疑点后再次结算的基金支付之差；"
    "应追回＝按本地追回口径取定、同一明细只计一次、不超过基金实付、再扣除已退回。"
)
GROSS_NET = "毛额按疑点各自相加，多条规则命中同一明细时重复计入；净额对同一明细只计一次。"
DECISION = {
    "encoding": "编码",
    "delimiter": "分隔符",
    "line_end": "行尾",
    "compression": "压缩",
    "format": "格式",
    "sheet": "工作表",
    "profile": "口径",
    "table": "表",
}
DECIDED = {"\t": "制表符", ",": "逗号", ";": "分号"}
