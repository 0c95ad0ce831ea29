"""Plain words: one expression over one row of a canonical table each, and the pieces such expressions are made of."""

from dataclasses import dataclass

import polars as pl

INPATIENT = ["inpatient", "emergency_inpatient", "day_surgery", "home_bed"]
DAY = pl.Datetime("us")


def midnight(moment: pl.Expr) -> pl.Expr:
    return moment.cast(pl.Date).cast(DAY)


def text(name: str) -> pl.Expr:
    return pl.col(name).fill_null("")


def in_force(day: pl.Expr) -> pl.Expr:
    """A dated row (`_from`, `_to`, both inclusive, null = open) holds on the day."""
    return (pl.col("_from").is_null() | (pl.col("_from") <= day)) & (pl.col("_to").is_null() | (pl.col("_to") >= day))


def bar_joined(rows: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """(id, name): the values of a column of each id as one text, each between bars, in the order of the rows."""
    joined = rows.group_by("id", maintain_order=True).agg(pl.col(column).str.join("|"))
    return joined.select("id", pl.concat_str(pl.lit("|"), column, pl.lit("|")).alias(name))


def days_between(later: pl.Expr, earlier: pl.Expr) -> pl.Expr:
    return (later.cast(pl.Date) - earlier.cast(pl.Date)).dt.total_days()


STAY_DAYS = pl.max_horizontal(days_between(pl.col("endtime"), pl.col("begntime")), pl.lit(1)).fill_null(1)

VISIT: dict[str, pl.Expr] = {
    "id": pl.col("setl_id"),
    "person": pl.col("_person"),
    "psn_no": text("psn_no"),
    "hospital": text("fixmedins_code"),
    "level": pl.col("hosp_lv").cast(pl.Int64, strict=False),
    "kind": pl.col("visit_kind"),
    "inpatient": pl.col("visit_kind").is_in(INPATIENT).fill_null(False),
    "insured": pl.col("insured_flag").fill_null("1") == "1",
    "local": pl.col("local_flag").fill_null("1") == "1",
    "admission": pl.col("begntime"),
    "discharge": pl.col("endtime"),
    "admit_date": midnight(pl.col("begntime")),
    "discharge_date": midnight(pl.col("endtime")),
    "days": STAY_DAYS,
    "dept": pl.coalesce("adm_dept_name", "dscg_dept_name").fill_null(""),
    "discharge_dept": text("dscg_dept_name"),
    "wards": pl.concat_str(
        [pl.lit("|"), text("adm_dept_name"), pl.lit("|"), text("ward_path"), pl.lit("|"), text("dscg_dept_name"), pl.lit("|")]  # noqa: E501
    ),
    "doctor": text("atddr_code"),
    "sex": pl.when(pl.col("gend").is_in(["1", "2"])).then(pl.col("gend")),
    "age": pl.coalesce(
        "age",
        pl.col("begntime").dt.year() - pl.col("brdy").dt.year()
        - (pl.col("begntime").dt.strftime("%m%d") < pl.col("brdy").dt.strftime("%m%d")).cast(pl.Int64),
    ),
    "age_days": days_between(pl.col("begntime"), pl.col("brdy")),
    "discharge_way": text("dscg_way"),
    "total": pl.col("medfee_sumamt").fill_null(0),
    "fund": pl.col("fund_pay_sumamt").fill_null(0),
    "scope": pl.col("inscp_scp_amt").fill_null(0),
}  # fmt: skip

LINE: dict[str, pl.Expr] = {
    "id": pl.col("feedetl_sn"),
    "item": text("med_list_codg"),
    "local_item": text("medins_list_codg"),
    "name": pl.coalesce("medins_list_name", "med_list_name").fill_null(""),
    "category": text("med_chrgitm_type"),
    "cnt": pl.col("net_cnt"),
    "price": pl.col("pric"),
    "time": pl.col("fee_ocur_time"),
    "date": midnight(pl.col("fee_ocur_time")),
    "dept": text("bilg_dept_name"),
    "exec_dept": text("acord_dept_name"),
    "doctor": text("bilg_dr_codg"),
    "dosage_form": text("dosform_name"),
    "take_home": pl.col("dscg_tkdrug_flag").fill_null("0") == "1",
    "_visit": pl.col("setl_id"),
    "_cost": pl.col("det_item_fee_sumamt").fill_null(0),
    "_inscope": pl.col("inscp_scp_amt").fill_null(0),
    "_num": pl.col("cnt"),
}

LOG: dict[str, pl.Expr] = {
    "id": pl.col("log_id"),
    "item": text("med_list_codg"),
    "visit_id": text("setl_id"),
    "begin": pl.col("begntime"),
    "end": pl.col("endtime"),
    "hours": (pl.col("endtime") - pl.col("begntime")).dt.total_seconds().cast(pl.Decimal(16, 6)) / 3600,
}
REPORT: dict[str, pl.Expr] = {
    "id": pl.col("report_id"), "item": text("med_list_codg"), "visit_id": text("setl_id"),
    "time": pl.col("report_time"),
}  # fmt: skip
ORDER: dict[str, pl.Expr] = {
    "id": pl.col("drord_no"), "item": text("med_list_codg"), "visit_id": text("setl_id"), "time": pl.col("order_time"),
}  # fmt: skip
PRESCRIPTION: dict[str, pl.Expr] = {"id": pl.col("rxno"), "time": pl.col("issue_time")}


@dataclass(frozen=True)
class Records:
    """The rows of a table that hang on a visit as a list: the table, its plain words, by which moment a period holds
    one, and which field names whoever signed it."""

    table: str
    kind: str
    words: dict[str, pl.Expr]
    moment: str
    by: str


RECORDS = {
    "logs": Records("service_logs", "log", LOG, "begntime", "prac_psn_code"),
    "reports": Records("reports", "report", REPORT, "report_time", ""),
    "orders": Records("orders", "order", ORDER, "order_time", "dr_code"),
    "prescriptions": Records("prescriptions", "prescription", PRESCRIPTION, "issue_time", "dr_code"),
}

# What netting and the plain facts of lines read.
LINE_COLUMNS = sorted(
    {name for expr in LINE.values() for name in expr.meta.root_names()} - {"net_cnt"} | {"cnt", "init_feedetl_sn"}
)
