"""The eleven files of the 2024 flight-inspection form: every official column, in order, and where its value comes from.

Values are expressions over the canonical tables (money already in yuan) joined with what the form repeats of the
institution and the person. A column without a source in them is blank.
"""

import polars as pl

BENEFITS = {"310": "城镇职工", "390": "城乡居民"}
GROUPS = {"11": "在职职工", "12": "退休职工", "14": "学生儿童", "15": "一般居民"}
KINDS = {
    "general_outpatient": "普通门诊",
    "emergency_outpatient": "急诊",
    "chronic_outpatient": "门慢",
    "special_outpatient": "门特",
    "inpatient": "普通住院",
    "emergency_inpatient": "急诊住院",
    "day_surgery": "日间手术",
}
CATEGORIES = {
    "01": "床位费",
    "02": "诊查费",
    "03": "检查费",
    "04": "化验费",
    "05": "治疗费",
    "06": "手术费",
    "07": "护理费",
    "08": "卫生材料费",
    "09": "西药费",
    "10": "中药饮片费",
    "11": "中成药费",
    "14": "其他费",
}
LEAVING = {"1": "1", "2": "2", "4": "3", "5": "4", "9": "9"}  # the form numbers the ways of leaving differently
CLASSES = {"01": "甲", "02": "乙", "03": "丙"}
SEXES = {"1": "男", "2": "女"}
DRUGS = ["09", "10", "11"]
OTHERS = 15

c, blank = pl.col, pl.lit(None, pl.String)


def when(flag: str, name: str | pl.Expr) -> pl.Expr:
    """A value that only an insured claim (flag 0 of the form) has."""
    return pl.when(c(flag) == "1").then(c(name) if isinstance(name, str) else name)


def word(name: str, words: dict[str, str]) -> pl.Expr:
    return c(name).replace_strict(words, default=None)


HOSPITAL = {"HOSPITAL_ID": c("fixmedins_code"), "HOSPITAL_NAME": c("fixmedins_name")}
REFUND = {"REFUND_FLAG_TYPE": c("refd_setl_flag"), "REFUND_HISID": c("init_setl_id")}
INSURED = {"MEDICAL_INSURANCE_FLAG": pl.when(c("insured_flag") == "1").then(pl.lit("0")).otherwise(pl.lit("1"))}
LOCAL = pl.when(c("local_flag") == "1").then(pl.lit("本地")).otherwise(pl.lit("异地"))
BENEFIT = pl.coalesce(when("insured_flag", word("insutype", BENEFITS)), pl.lit("自费"))
GROUP = pl.coalesce(when("insured_flag", word("psn_type", GROUPS)), pl.lit("自费"))
OUTSIDE = c("fulamt_ownpay_amt") + c("overlmt_selfpay")
PERSON = {
    "PATIENT_GENDER": word("gend", SEXES),
    "PATIENT_BIRTHDAY": c("brdy"),
    "PATIENT_AGE": pl.format("{}.00", "age"),
}

# fmt: off
SETTLE_ZY = {
    **HOSPITAL, "BRIDGE_ID": c("medcasno"), "HISID": c("setl_id"), "P_LEVEL": c("hosp_lv"),
    "BILL_DATE": c("setl_time"), "ZYH": c("ipt_otp_no"), "PATIENT_ID": c("psn_no"),
    "SOCIAL_ID": when("insured_flag", "social_id"), "ID_CARD": c("certno"), "BENEFIT_TYPE": BENEFIT,
    "BENEFIT_GROUP_ID": GROUP, "ADMISSION_DEPT_ID": c("adm_dept_codg"),
    "ADMISSION_DEPT_NAME": c("adm_dept_name"), "TRANSFER_DEPT_ID": blank,
    "TRANSFER_DEPT_NAME": c("ward_path").str.split("|").list.slice(1).list.join("|"),
    "DISCHARGE_DEPT_ID": c("dscg_dept_codg"), "DISCHARGE_DEPT_NAME": c("dscg_dept_name"),
    "DOCTOR_ID": c("atddr_code"), "DOCTOR_NAME": c("atddr_name"), **PERSON,
    "BEDID": c("ipt_otp_no").str.slice(-2), "NB_TYPE": blank, "NB_BIRTH_WEIGHT": blank,
    "NB_INPATIENT_WEIGHT": blank, "CLAIM_TYPE": word("visit_kind", KINDS), "IF_LOCAL_FLAG": LOCAL,
    "ADMISSION_DATE": c("begntime"), "DISCHARGE_DATE": c("endtime"), "ZYTS": pl.format("{}.00", "act_ipt_days"),
    "DISCHARGE_STATUS": word("dscg_way", LEAVING), "TOTAL_AMOUNT": c("medfee_sumamt"),
    "BMI_PAY_AMOUNT": c("hifp_pay"), "CASH": c("psn_cash_pay"), "SELF_PAY_AMOUNT": c("acct_pay"),
    "SELF_PAY_IN": c("psn_part_amt") - OUTSIDE, "SELF_PAY_OUT": OUTSIDE,
    "BMI_CONVERED_AMOUNT": when("insured_flag", "inscp_scp_amt"), "HOSPITAL_AREA": pl.lit("本部"), **INSURED,
    **REFUND,
}
SETTLE_ZY_DIAGNOSIS = {
    **HOSPITAL, "BRIDGE_ID": c("medcasno"), "HISID": c("setl_id"), "ZYH": c("ipt_otp_no"),
    "PATIENT_ID": c("psn_no"), "SOCIAL_ID": when("insured_flag", "social_id"), "ID_CARD": c("certno"),
    "ADMISSION_DISEASE_ID": c("code_1"), "ADMISSION_DISEASE_NAME": c("name_1"),
    "DISCHARGE_DISEASE_ID_MAIN": c("code_1"), "DISCHARGE_DISEASE_NAME_MAIN": c("name_1"),
    **{f"DISCHARGE_DISEASE_{what}_OTHER{n}": c(f"{field}_{n + 1}") for n in range(1, OTHERS + 1)
       for what, field in (("ID", "code"), ("NAME", "name"))},
}
MDCS_FUND_SETL_LIST_OPRN_D = {
    **HOSPITAL, "HISID": c("setl_id"), "ZYH": c("ipt_otp_no"), "PATIENT_ID": c("psn_no"),
    "SOCIAL_ID": when("insured_flag", "social_id"), "ID_CARD": c("certno"),
    "ICD9_CODE_MAIN": c("oprn_oprt_code"), "ICD9_NAME_MAIN": c("oprn_oprt_name"), "ICD9_CODE_OTHER": blank,
    "ICD9_NAME_OTHER": blank, "OPRN_OPRT_DATE": c("oprn_begntime"), "ANST_WAY": c("anst_way"),
    "ANST_BEGIN_TIME": c("anst_begntime"), "ANST_END_TIME": c("anst_endtime"),
    "OPER_BEGIN_TIME": c("oprn_begntime"), "OPER_END_TIME": c("oprn_endtime"),
    "OPER_DR_NAME": c("oper_dr_name"), "OPER_DR_CODE": c("oper_dr_code"), "OPER_OTHER_DR_NAME": blank,
    "OPER_OTHER_DR_CODE": blank, "ANST_DR_NAME": c("anst_dr_name"), "ANST_DR_CODE": c("anst_dr_code"),
}
TAKEN_BACK = (c("cnt") < 0)
DRUG = c("med_chrgitm_type").is_in(DRUGS)
MONEY_OF_LINE = {
    "PACKAGE_UNIT": c("unit"), "UNIT_PRICE": c("pric").cast(pl.Decimal(16, 2)),
    "NUM": c("cnt").cast(pl.Decimal(16, 2)), "COST": c("det_item_fee_sumamt"),
    "SELF_PAY_LIMIT": when("insured_flag", "overlmt_amt"),
    "BMI_CONVERED_AMOUNT": when("insured_flag", "inscp_scp_amt"),
    "P_TYPE": when("insured_flag", word("chrgitm_lv", CLASSES)),
    "P_TYPE_PCT": when("insured_flag", (1 - c("selfpay_prop")).cast(pl.Decimal(16, 2))),
}
ITEM = {
    "ITEM_ID_HOSP": c("medins_list_codg"), "ITEM_NAME_HOSP": c("medins_list_name"),
    "ITEM_ID": when("insured_flag", "med_list_codg"), "ITEM_NAME": when("insured_flag", "med_list_name"),
    "DRUG_SPEC": pl.when(DRUG).then(pl.format("1{}", "unit")),
    "DOSAGE_FORM": pl.when(DRUG).then("dosform_name"),
}
REFUND_OF_LINE = {"REFUND_HISID": pl.when(TAKEN_BACK).then(pl.coalesce("init_setl_id", "setl_id"))}
SETTLE_ZY_DETAIL = {
    **HOSPITAL, "HISID": c("setl_id"), "PATIENT_ID": c("psn_no"), "ZYH": c("ipt_otp_no"),
    "ID_CARD": c("certno"), "BILLING_DEPT_ID": c("bilg_dept_codg"), "BILLING_DEPT_NAME": c("bilg_dept_name"),
    "BILLING_TIME": c("order_time"), "USAGE_DATE": c("fee_ocur_time"), "EXCUTE_DEPT_ID": c("acord_dept_codg"),
    "EXCUTE_DEPT_NAME": c("acord_dept_name"), "DOCTOR_ID": c("bilg_dr_codg"), "DOCTOR_NAME": c("bilg_dr_name"),
    "P_CATEGORY": word("med_chrgitm_type", CATEGORIES), "BILL_DATE": c("setl_time"),
    "DISCHARGE_MEDICATION": c("dscg_tkdrug_flag"), **ITEM, **MONEY_OF_LINE,
    "REFUND_FLAG_TYPE": pl.when(TAKEN_BACK).then(pl.lit("1")).otherwise(pl.lit("0")), **REFUND_OF_LINE,
}
SETTLE_MZ = {
    **HOSPITAL, "HISID": c("setl_id"), "P_LEVEL": c("hosp_lv"), "BILL_DATE": c("setl_time"),
    "YEAR": c("setl_time").dt.strftime("%Y"), "MONTH": c("setl_time").dt.strftime("%m"),
    "PATIENT_ID": c("psn_no"), "SOCIAL_ID": when("insured_flag", "social_id"), "BENEFIT_TYPE": BENEFIT,
    "BENEFIT_GROUP_ID": GROUP, "MZH": c("ipt_otp_no"), "ADMISSION_DEPT_ID": c("adm_dept_codg"),
    "ADMISSION_DEPT_NAME": c("adm_dept_name"), "DOCTOR_ID": c("atddr_code"), "DOCTOR_NAME": c("atddr_name"),
    "ID_CARD": c("certno"), **PERSON, "CLAIM_TYPE": word("visit_kind", KINDS), "IF_LOCAL_FLAG": LOCAL,
    "ADMISSION_DATE": c("begntime"), "OUTPATIENT_DISEASE_ID": c("code_1"),
    "ADMISSION_DISEASE_NAME": c("name_1"), "TOTAL_AMOUNT": c("medfee_sumamt"), "BMI_PAY_AMOUNT": c("hifp_pay"),
    "CASH": c("psn_cash_pay"), "SELF_PAY_AMOUNT": c("acct_pay"),
    "BMI_CONVERED_AMOUNT": when("insured_flag", "inscp_scp_amt"), "HOSPITAL_AREA": pl.lit("本部"), **INSURED,
    **REFUND,
}
SETTLE_MZ_DETAIL = {
    **HOSPITAL, "HISID": c("setl_id"), "PATIENT_ID": c("psn_no"), "DISCHARGE_DEPT_ID": c("bilg_dept_codg"),
    "DISCHARGE_DEPT_NAME": c("bilg_dept_name"), "BILLING_TIME": c("order_time"),
    "EXCUTE_DEPT_ID": c("acord_dept_codg"), "EXCUTE_DEPT_NAME": c("acord_dept_name"),
    "USAGE_DATE": c("fee_ocur_time"), "DOCTOR_ID": c("bilg_dr_codg"), "DOCTOR_NAME": c("bilg_dr_name"),
    "BILL_DATE": c("setl_time"), "PRESCRIPTION": c("rxno"), "P_CATEGORY": word("med_chrgitm_type", CATEGORIES),
    **ITEM, **MONEY_OF_LINE, "REFUND_FLAG_TYPE": pl.when(TAKEN_BACK).then(pl.lit("是")).otherwise(pl.lit("否")),
    **REFUND_OF_LINE,
}
MAKER = pl.format("示例药业{}厂", (c("item_store_id").str.slice(4, 3).cast(pl.Int64) % 20 + 1))
DEVICE = c("mcs_type").is_not_null()
DEVICE_PARTS = {"MCS_TYPE": c("mcs_type"), "HIGHVAL_MCS_FLAG": c("highval_flag"),
                "HIGHVAL_MCS_TYPE": pl.when(c("highval_flag") == "1").then(pl.lit("01"))}
STORE = {"INVENTORY_NAME": c("store_id"), "INVENTORY_LEVEL": c("store_level")}
GOOD = {"ITEM_ID_STORE": c("item_store_id"), "ITEM_NAME_STORE": c("item_name")}
RATIO = c("conv_ratio").cast(pl.Int64).cast(pl.String)
PACKAGES = c("cnt").cast(pl.Int64) // c("conv_ratio").cast(pl.Int64)
HIS_VS_YB_STORE_MAPPING = {
    **HOSPITAL, **GOOD, "ITEM_ID": c("med_list_codg"), "ITEM_NAME": c("item_name"),
    "ITEM_ID_HOSP": c("medins_list_codg"), "ITEM_NAME_HOSP": c("item_name"), "SELF_PAY_FLAG": pl.lit("0"),
    "NO_CHARGE_FLAG": c("no_charge_flag"),
}
HIS_VS_YB_STORE = {
    **HOSPITAL, **STORE, **GOOD, "DRUG_TRACEABILITY_CODE": blank, "BATCH_NO": c("manu_lotnum"),
    "SPEC": c("spec"), "OPENING_DATE": c("begndate"), "OPENING_PRICE": c("small").cast(pl.Decimal(16, 2)),
    "OPENING_BALANCE": c("opening_cnt").cast(pl.Decimal(16, 2)), "CLOSING_DATE": c("enddate"),
    "CLOSING_PRICE": c("small").cast(pl.Decimal(16, 2)),
    "CLOSING_BALANCE": c("closing_cnt").cast(pl.Decimal(16, 2)), "SPLER_NAME": c("supplier"),
    "PRODENTP_NAME": MAKER, "PROD_CONVRAT": pl.format("{}.00", RATIO), "MIN_PRCUNT": c("min_unit"),
    **DEVICE_PARTS,
}
HIS_VS_YB_INVENTORY = {
    **HOSPITAL, **STORE, "STORE_CODE": c("move_id"), "STORE_DATE": c("move_time"), "UNT": c("package"),
    "IMPORT_PRIC": (c("pric") * c("conv_ratio")).cast(pl.Decimal(16, 2)),
    "IMPORT_CNT": pl.format("{}.00", PACKAGES), **GOOD,
    "INVOICE_NO": pl.format("FP{}", c("move_id").str.slice(2)), "BATCH_NUMBER": c("manu_lotnum"),
    "SPEC": c("spec"), "DRUG_TRACEABILITY_CODE": blank,
    "MDRCN": pl.when(DEVICE).then(pl.lit("国械注准20233999999")), "UDI": blank, "PROD_CONVRAT": RATIO,
    "MIN_PRCUNT": c("min_unit"), "SPLER_NAME": c("supplier"), "PRODENTP_NAME": MAKER, **DEVICE_PARTS,
}
HIS_VS_YB_DELIVER = {
    **HOSPITAL, **STORE, "DEL_CODE": c("move_id"), "DEL_DATE": c("move_time").dt.date(), "UNT": c("unit"),
    "EX_CNT": c("cnt").cast(pl.Decimal(16, 2)), "EX_PRICE": c("pric").cast(pl.Decimal(16, 2)),
    "DELIVER_OBJECT": pl.when(DEVICE).then(pl.lit("手术室")).otherwise(pl.lit("住院药房")), **GOOD,
    "SPEC": c("spec"), "DRUG_TRACEABILITY_CODE": blank,
    "MDRCN": pl.when(DEVICE).then(pl.lit("国械注准20233999999")), "UDI": blank, "PROD_CONVRAT": RATIO,
    "MIN_PRCUNT": c("min_unit"), "SPLER_NAME": c("supplier"), "PRODENTP_NAME": MAKER, **DEVICE_PARTS,
}
CONVERT_UNIT = {
    **HOSPITAL, **GOOD, "STORAGEHOUSE_UNIT": c("unit"), "STORAGEHOUSE_CONVERT": RATIO,
    "OUTPATIENT_UNIT": c("min_unit"), "OUTPATIENT_CONVERT": pl.lit("1"), "INPATIENT_UNIT": c("min_unit"),
    "INPATIENT_CONVERT": pl.lit("1"),
}
# fmt: on
