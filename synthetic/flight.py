"""The 2024 flight-inspection form: eleven files with the official column names, made from the canonical tables."""

from pathlib import Path

import polars as pl

from synthetic.claims import STAYS
from synthetic.world import World
from synthetic.write import in_yuan

BENEFITS = {"310": "城镇职工", "390": "城乡居民"}
GROUPS = {"11": "在职职工", "12": "退休职工", "14": "学生儿童", "15": "一般居民"}
KINDS = {"general_outpatient": "普通门诊", "emergency_outpatient": "急诊", "chronic_outpatient": "门慢",
         "special_outpatient": "门特", "inpatient": "普通住院", "emergency_inpatient": "急诊住院", "day_surgery": "日间手术"}
CATEGORIES = {"01": "床位费", "02": "诊查费", "03": "检查费", "04": "化验费", "05": "治疗费", "06": "手术费", "07": "护理费",
              "08": "卫生材料费", "09": "西药费", "10": "中药饮片费", "11": "中成药费", "14": "其他费"}
LEAVING = {"1": "1", "2": "2", "4": "3", "5": "4", "9": "9"}  # the form numbers the ways of leaving differently
CLASSES = {"01": "甲", "02": "乙", "03": "丙"}
SEXES = {"1": "男", "2": "女"}
DRUGS = ["09", "10", "11"]
OTHERS = 15
WIDE = "|@|"  # separator of the diagnosis file; the others have a comma

c, blank = pl.col, pl.lit("")


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
PERSON = {"PATIENT_GENDER": word("gend", SEXES), "PATIENT_BIRTHDAY": c("brdy"), "PATIENT_AGE": pl.format("{}.00", "age")}

SETTLE_ZY = {
    **HOSPITAL, "BRIDGE_ID": c("medcasno"), "HISID": c("setl_id"), "P_LEVEL": c("hosp_lv"), "BILL_DATE": c("setl_time"),
    "ZYH": c("ipt_otp_no"), "PATIENT_ID": c("psn_no"), "SOCIAL_ID": when("insured_flag", "social_id"), "ID_CARD": c("certno"),
    "BENEFIT_TYPE": BENEFIT, "BENEFIT_GROUP_ID": GROUP, "ADMISSION_DEPT_ID": c("adm_dept_codg"),
    "ADMISSION_DEPT_NAME": c("adm_dept_name"), "TRANSFER_DEPT_ID": blank,
    "TRANSFER_DEPT_NAME": c("ward_path").str.split("|").list.slice(1).list.join("|"),
    "DISCHARGE_DEPT_ID": c("dscg_dept_codg"), "DISCHARGE_DEPT_NAME": c("dscg_dept_name"), "DOCTOR_ID": c("atddr_code"),
    "DOCTOR_NAME": c("atddr_name"), **PERSON, "BEDID": c("ipt_otp_no").str.slice(-2), "NB_TYPE": blank,
    "NB_BIRTH_WEIGHT": blank, "NB_INPATIENT_WEIGHT": blank, "CLAIM_TYPE": word("visit_kind", KINDS), "IF_LOCAL_FLAG": LOCAL,
    "ADMISSION_DATE": c("begntime"), "DISCHARGE_DATE": c("endtime"), "ZYTS": pl.format("{}.00", "act_ipt_days"),
    "DISCHARGE_STATUS": word("dscg_way", LEAVING), "TOTAL_AMOUNT": c("medfee_sumamt"), "BMI_PAY_AMOUNT": c("hifp_pay"),
    "CASH": c("psn_cash_pay"), "SELF_PAY_AMOUNT": c("acct_pay"), "SELF_PAY_IN": c("psn_part_amt") - OUTSIDE,
    "SELF_PAY_OUT": OUTSIDE, "BMI_CONVERED_AMOUNT": when("insured_flag", "inscp_scp_amt"), "HOSPITAL_AREA": pl.lit("本部"),
    **INSURED, **REFUND,
}
SETTLE_ZY_DIAGNOSIS = {
    **HOSPITAL, "BRIDGE_ID": c("medcasno"), "HISID": c("setl_id"), "ZYH": c("ipt_otp_no"), "PATIENT_ID": c("psn_no"),
    "SOCIAL_ID": when("insured_flag", "social_id"), "ID_CARD": c("certno"), "ADMISSION_DISEASE_ID": c("code_1"),
    "ADMISSION_DISEASE_NAME": c("name_1"), "DISCHARGE_DISEASE_ID_MAIN": c("code_1"), "DISCHARGE_DISEASE_NAME_MAIN": c("name_1"),
    **{f"DISCHARGE_DISEASE_{what}_OTHER{n}": c(f"{field}_{n + 1}") for n in range(1, OTHERS + 1)
       for what, field in (("ID", "code"), ("NAME", "name"))},
}
MDCS_FUND_SETL_LIST_OPRN_D = {
    **HOSPITAL, "HISID": c("setl_id"), "ZYH": c("ipt_otp_no"), "PATIENT_ID": c("psn_no"),
    "SOCIAL_ID": when("insured_flag", "social_id"), "ID_CARD": c("certno"), "ICD9_CODE_MAIN": c("oprn_oprt_code"),
    "ICD9_NAME_MAIN": c("oprn_oprt_name"), "ICD9_CODE_OTHER": blank, "ICD9_NAME_OTHER": blank,
    "OPRN_OPRT_DATE": c("oprn_begntime"), "ANST_WAY": c("anst_way"), "ANST_BEGIN_TIME": c("anst_begntime"),
    "ANST_END_TIME": c("anst_endtime"), "OPER_BEGIN_TIME": c("oprn_begntime"), "OPER_END_TIME": c("oprn_endtime"),
    "OPER_DR_NAME": c("oper_dr_name"), "OPER_DR_CODE": c("oper_dr_code"), "OPER_OTHER_DR_NAME": blank,
    "OPER_OTHER_DR_CODE": blank, "ANST_DR_NAME": c("anst_dr_name"), "ANST_DR_CODE": c("anst_dr_code"),
}
TAKEN_BACK = (c("cnt") < 0)
DRUG = c("med_chrgitm_type").is_in(DRUGS)
MONEY_OF_LINE = {
    "PACKAGE_UNIT": c("unit"), "UNIT_PRICE": c("pric").cast(pl.Decimal(16, 2)), "NUM": c("cnt").cast(pl.Decimal(16, 2)),
    "COST": c("det_item_fee_sumamt"), "SELF_PAY_LIMIT": when("insured_flag", "overlmt_amt"),
    "BMI_CONVERED_AMOUNT": when("insured_flag", "inscp_scp_amt"), "P_TYPE": when("insured_flag", word("chrgitm_lv", CLASSES)),
    "P_TYPE_PCT": when("insured_flag", (1 - c("selfpay_prop")).cast(pl.Decimal(16, 2))),
}
ITEM = {
    "ITEM_ID_HOSP": c("medins_list_codg"), "ITEM_NAME_HOSP": c("medins_list_name"), "ITEM_ID": when("insured_flag", "med_list_codg"),
    "ITEM_NAME": when("insured_flag", "med_list_name"), "DRUG_SPEC": pl.when(DRUG).then(pl.format("1{}", "unit")),
    "DOSAGE_FORM": pl.when(DRUG).then("dosform_name"),
}
REFUND_OF_LINE = {"REFUND_HISID": pl.when(TAKEN_BACK).then(pl.coalesce("init_setl_id", "setl_id"))}
SETTLE_ZY_DETAIL = {
    **HOSPITAL, "HISID": c("setl_id"), "PATIENT_ID": c("psn_no"), "ZYH": c("ipt_otp_no"), "ID_CARD": c("certno"),
    "BILLING_DEPT_ID": c("bilg_dept_codg"), "BILLING_DEPT_NAME": c("bilg_dept_name"), "BILLING_TIME": c("order_time"),
    "USAGE_DATE": c("fee_ocur_time"), "EXCUTE_DEPT_ID": c("acord_dept_codg"), "EXCUTE_DEPT_NAME": c("acord_dept_name"),
    "DOCTOR_ID": c("bilg_dr_codg"), "DOCTOR_NAME": c("bilg_dr_name"), "P_CATEGORY": word("med_chrgitm_type", CATEGORIES),
    "BILL_DATE": c("setl_time"), "DISCHARGE_MEDICATION": c("dscg_tkdrug_flag"), **ITEM, **MONEY_OF_LINE,
    "REFUND_FLAG_TYPE": pl.when(TAKEN_BACK).then(pl.lit("1")).otherwise(pl.lit("0")), **REFUND_OF_LINE,
}
SETTLE_MZ = {
    **HOSPITAL, "HISID": c("setl_id"), "P_LEVEL": c("hosp_lv"), "BILL_DATE": c("setl_time"),
    "YEAR": c("setl_time").dt.strftime("%Y"), "MONTH": c("setl_time").dt.strftime("%m"), "PATIENT_ID": c("psn_no"),
    "SOCIAL_ID": when("insured_flag", "social_id"), "BENEFIT_TYPE": BENEFIT, "BENEFIT_GROUP_ID": GROUP, "MZH": c("ipt_otp_no"),
    "ADMISSION_DEPT_ID": c("adm_dept_codg"), "ADMISSION_DEPT_NAME": c("adm_dept_name"), "DOCTOR_ID": c("atddr_code"),
    "DOCTOR_NAME": c("atddr_name"), "ID_CARD": c("certno"), **PERSON, "CLAIM_TYPE": word("visit_kind", KINDS),
    "IF_LOCAL_FLAG": LOCAL, "ADMISSION_DATE": c("begntime"), "OUTPATIENT_DISEASE_ID": c("code_1"),
    "ADMISSION_DISEASE_NAME": c("name_1"), "TOTAL_AMOUNT": c("medfee_sumamt"), "BMI_PAY_AMOUNT": c("hifp_pay"),
    "CASH": c("psn_cash_pay"), "SELF_PAY_AMOUNT": c("acct_pay"), "BMI_CONVERED_AMOUNT": when("insured_flag", "inscp_scp_amt"),
    "HOSPITAL_AREA": pl.lit("本部"), **INSURED, **REFUND,
}
SETTLE_MZ_DETAIL = {
    **HOSPITAL, "HISID": c("setl_id"), "PATIENT_ID": c("psn_no"), "DISCHARGE_DEPT_ID": c("bilg_dept_codg"),
    "DISCHARGE_DEPT_NAME": c("bilg_dept_name"), "BILLING_TIME": c("order_time"), "EXCUTE_DEPT_ID": c("acord_dept_codg"),
    "EXCUTE_DEPT_NAME": c("acord_dept_name"), "USAGE_DATE": c("fee_ocur_time"), "DOCTOR_ID": c("bilg_dr_codg"),
    "DOCTOR_NAME": c("bilg_dr_name"), "BILL_DATE": c("setl_time"), "PRESCRIPTION": c("rxno"),
    "P_CATEGORY": word("med_chrgitm_type", CATEGORIES), **ITEM, **MONEY_OF_LINE,
    "REFUND_FLAG_TYPE": pl.when(TAKEN_BACK).then(pl.lit("是")).otherwise(pl.lit("否")), **REFUND_OF_LINE,
}
MAKER = pl.format("示例药业{}厂", (c("item_store_id").str.slice(4, 3).cast(pl.Int64) % 20 + 1))
DEVICE = c("mcs_type").is_not_null()
DEVICE_PARTS = {"MCS_TYPE": c("mcs_type"), "HIGHVAL_MCS_FLAG": c("highval_flag"),
                "HIGHVAL_MCS_TYPE": pl.when(c("highval_flag") == "1").then(pl.lit("01"))}
STORE = {"INVENTORY_NAME": c("store_id"), "INVENTORY_LEVEL": c("store_level")}
GOOD = {"ITEM_ID_STORE": c("item_store_id"), "ITEM_NAME_STORE": c("item_name")}
RATIO = c("conv_ratio").cast(pl.Int64).cast(pl.String)
HIS_VS_YB_STORE_MAPPING = {
    **HOSPITAL, **GOOD, "ITEM_ID": c("med_list_codg"), "ITEM_NAME": c("item_name"), "ITEM_ID_HOSP": c("medins_list_codg"),
    "ITEM_NAME_HOSP": c("item_name"), "SELF_PAY_FLAG": pl.lit("0"), "NO_CHARGE_FLAG": c("no_charge_flag"),
}
HIS_VS_YB_STORE = {
    **HOSPITAL, **STORE, **GOOD, "DRUG_TRACEABILITY_CODE": blank, "BATCH_NO": c("manu_lotnum"), "SPEC": c("spec"),
    "OPENING_DATE": c("begndate"), "OPENING_PRICE": c("small").cast(pl.Decimal(16, 2)),
    "OPENING_BALANCE": c("opening_cnt").cast(pl.Decimal(16, 2)), "CLOSING_DATE": c("enddate"),
    "CLOSING_PRICE": c("small").cast(pl.Decimal(16, 2)), "CLOSING_BALANCE": c("closing_cnt").cast(pl.Decimal(16, 2)),
    "SPLER_NAME": c("supplier"), "PRODENTP_NAME": MAKER, "PROD_CONVRAT": pl.format("{}.00", RATIO), "MIN_PRCUNT": c("min_unit"),
    **DEVICE_PARTS,
}
HIS_VS_YB_INVENTORY = {
    **HOSPITAL, **STORE, "STORE_CODE": c("move_id"), "STORE_DATE": c("move_time"), "UNT": c("unit"),
    "IMPORT_PRIC": c("pric").cast(pl.Decimal(16, 2)), "IMPORT_CNT": c("cnt").cast(pl.Decimal(16, 2)), **GOOD,
    "INVOICE_NO": pl.format("FP{}", c("move_id").str.slice(2)), "BATCH_NUMBER": c("manu_lotnum"), "SPEC": c("spec"),
    "DRUG_TRACEABILITY_CODE": blank, "MDRCN": pl.when(DEVICE).then(pl.lit("国械注准20233999999")), "UDI": blank,
    "PROD_CONVRAT": RATIO, "MIN_PRCUNT": c("min_unit"), "SPLER_NAME": c("supplier"), "PRODENTP_NAME": MAKER, **DEVICE_PARTS,
}
HIS_VS_YB_DELIVER = {
    **HOSPITAL, **STORE, "DEL_CODE": c("move_id"), "DEL_DATE": c("move_time").dt.date(), "UNT": c("unit"),
    "EX_CNT": c("cnt").cast(pl.Decimal(16, 2)), "EX_PRICE": c("pric").cast(pl.Decimal(16, 2)),
    "DELIVER_OBJECT": pl.when(DEVICE).then(pl.lit("手术室")).otherwise(pl.lit("住院药房")), **GOOD, "SPEC": c("spec"),
    "DRUG_TRACEABILITY_CODE": blank, "MDRCN": pl.when(DEVICE).then(pl.lit("国械注准20233999999")), "UDI": blank,
    "PROD_CONVRAT": RATIO, "MIN_PRCUNT": c("min_unit"), "SPLER_NAME": c("supplier"), "PRODENTP_NAME": MAKER, **DEVICE_PARTS,
}
CONVERT_UNIT = {
    **HOSPITAL, **GOOD, "STORAGEHOUSE_UNIT": c("unit"), "STORAGEHOUSE_CONVERT": RATIO, "OUTPATIENT_UNIT": c("min_unit"),
    "OUTPATIENT_CONVERT": pl.lit("1"), "INPATIENT_UNIT": c("min_unit"), "INPATIENT_CONVERT": pl.lit("1"),
}


class FlightFiles:
    """Adds batches of canonical tables to the eleven files and renames lines to file and physical line."""

    def __init__(self, out: Path, world: World):
        self.out, self.world, self.rows = out, world, {}
        out.mkdir(parents=True, exist_ok=True)

    def add(self, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """Writes the claims of a batch; answers their truth with feedetl_sn as {file}:{physical line}."""
        sites = self.world.institutions.select("fixmedins_code", "fixmedins_name")
        people = tables["persons"].select("psn_no", "certno", social_id=pl.format("SB{}", c("psn_no").str.slice(3)))
        claims = in_yuan("claims", tables["claims"]).join(sites, on="fixmedins_code", maintain_order="left").join(
            people, on="psn_no", maintain_order="left").join(_wide(tables["diagnoses"]), on="setl_id", how="left",
                                                             maintain_order="left").sort("setl_time", "setl_id")
        stay = c("visit_kind").is_in(STAYS)
        lines = in_yuan("fee_lines", tables["fee_lines"]).join(claims.select(
            "setl_id", "fixmedins_code", "fixmedins_name", "psn_no", "certno", "ipt_otp_no", "setl_time", "insured_flag",
            "init_setl_id", "visit_kind"), on="setl_id", maintain_order="left").sort("setl_time", "setl_id", "feedetl_sn")
        stays = claims.filter(stay)
        self._write("SETTLE_ZY", SETTLE_ZY, stays)
        self._write("SETTLE_ZY_DIAGNOSIS", SETTLE_ZY_DIAGNOSIS, stays, WIDE)
        self._write("SETTLE_MZ", SETTLE_MZ, claims.filter(~stay))
        self._write("MDCS_FUND_SETL_LIST_OPRN_D", MDCS_FUND_SETL_LIST_OPRN_D, _operations(self.world, tables, stays))
        names = pl.concat([self._numbered("SETTLE_ZY_DETAIL", SETTLE_ZY_DETAIL, lines.filter(stay)),
                           self._numbered("SETTLE_MZ_DETAIL", SETTLE_MZ_DETAIL, lines.filter(~stay))])
        return tables["truth"].join(names, on="feedetl_sn", how="left", maintain_order="left").with_columns(
            c("line").alias("feedetl_sn")).drop("line")

    def close(self, stock: dict[str, pl.DataFrame]) -> None:
        """Writes the five files about stores."""
        sites = self.world.institutions.select("fixmedins_code", "fixmedins_name")
        listed = self.world.catalogue.select("med_list_codg", small=c("micro").cast(pl.Decimal(38, 6)) / 10**6)
        items = stock["store_items"].join(sites, on="fixmedins_code", maintain_order="left").join(
            listed, on="med_list_codg", maintain_order="left")
        key = ["fixmedins_code", "item_store_id"]
        told = items.select(*key, "fixmedins_name", "item_name", "spec", "min_unit", "mcs_type", "highval_flag")
        moves = stock["stock_moves"].join(told, on=key, maintain_order="left")
        lots = moves.select(*key, "manu_lotnum", "supplier").unique(key, keep="first", maintain_order=True)
        balances = stock["stock_balances"].join(items, on=key, maintain_order="left").join(lots, on=key, maintain_order="left")
        self._write("HIS_VS_YB_STORE_MAPPING", HIS_VS_YB_STORE_MAPPING, items)
        self._write("HIS_VS_YB_STORE", HIS_VS_YB_STORE, balances)
        self._write("HIS_VS_YB_INVENTORY", HIS_VS_YB_INVENTORY, moves.filter(c("move_type") == "purchase"))
        self._write("HIS_VS_YB_DELIVER", HIS_VS_YB_DELIVER, moves.filter(c("move_type") == "delivery"))
        self._write("CONVERT_UNIT", CONVERT_UNIT, items)

    def _numbered(self, name: str, columns: dict[str, pl.Expr], lines: pl.DataFrame) -> pl.DataFrame:
        first = self.rows.get(name, 0) + 2  # the header is line 1
        self._write(name, columns, lines)
        number = pl.int_range(first, first + lines.height)
        return lines.select("feedetl_sn", pl.concat_str(pl.lit(f"{name}:"), number).alias("line"))

    def _write(self, name: str, columns: dict[str, pl.Expr], frame: pl.DataFrame, separator: str = ",") -> None:
        rows = frame.select(expression.alias(column) for column, expression in columns.items())
        header = name not in self.rows
        with (self.out / f"{name}.csv").open("ab") as file:
            if separator == ",":
                rows.write_csv(file, include_header=header, datetime_format="%Y-%m-%d %H:%M:%S")
            else:
                text = rows.select(pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator=separator))
                head = [separator.join(columns)] if header else []
                file.write("".join(f"{line}\n" for line in head + text.to_series().to_list()).encode())
        self.rows[name] = self.rows.get(name, 0) + rows.height


def _wide(diagnoses: pl.DataFrame) -> pl.DataFrame:
    """One row for each claim: code_1, name_1 … in order."""
    lists = diagnoses.sort("setl_id", "seq").group_by("setl_id", maintain_order=True).agg("diag_code", "diag_name")
    return lists.select("setl_id", *(c(source).list.get(n, null_on_oob=True).alias(f"{name}_{n + 1}")
                                     for n in range(OTHERS + 1) for source, name in (("diag_code", "code"), ("diag_name", "name"))))


def _operations(world: World, tables: dict[str, pl.DataFrame], stays: pl.DataFrame) -> pl.DataFrame:
    doctors = world.doctors.select("doctor_code", "doctor_name")
    named = tables["procedures"].join(doctors.rename({"doctor_code": "oper_dr_code", "doctor_name": "oper_dr_name"}),
                                      on="oper_dr_code", maintain_order="left")
    named = named.join(doctors.rename({"doctor_code": "anst_dr_code", "doctor_name": "anst_dr_name"}), on="anst_dr_code",
                       maintain_order="left")
    of = stays.select("setl_id", "fixmedins_code", "fixmedins_name", "ipt_otp_no", "psn_no", "social_id", "certno",
                      "insured_flag")
    return named.join(of, on="setl_id", maintain_order="left")
