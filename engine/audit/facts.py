"""What is known of every visit and every line before a rule is asked: the vocabulary's words as columns.

Plain attributes are one expression each over the canonical tables (VISIT, LINE). Derived facts, which need other
rows or a region's tables, are functions in DERIVED; they are computed only where an active rule asks for them.
Refunded visits and returned units are gone here: nothing that was paid back is judged.
"""

from functools import cached_property

import polars as pl

from engine.audit.derived import LINE_FACTS
from engine.grouping.scheme import Scheme
from engine.reference.knowledge import Knowledge
from engine.reference.presumptions import Presumptions, load_presumptions
from engine.settlement.policy import Policy
from engine.tables.dictionary import with_fields
from engine.tables.values import rounded

NEEDED_TABLES = {"visit": ("claims",), "store_item": ("stock_balances", "stock_moves", "store_items")}
INPATIENT = ["inpatient", "emergency_inpatient", "day_surgery", "home_bed"]
DAY = pl.Datetime("us")
# One anaesthesia may serve several operations: its hours stand with the first.
ANAESTHESIA_HOURS = pl.when(pl.struct("id", "anaesthesia", "begin", "end").is_first_distinct()).then(
    (pl.col("end") - pl.col("begin")).dt.total_minutes().cast(pl.Decimal(16, 6)) / 60
)
# Where these words have no table they are not false but unknown.
TOLD_BY = {
    "diagnoses": {"diagnoses", "diags", "main_diag", "icd3"},
    "procedures": {"procedures", "operations", "operated"},
}
# Attribute of a procedure -> table that names the charge items it needs.
BACKED = {"charged": "operation_items", "device": "device_operations"}


def midnight(moment: pl.Expr) -> pl.Expr:
    return moment.cast(pl.Date).cast(DAY)


def text(name: str) -> pl.Expr:
    return pl.col(name).fill_null("")


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


# What netting and the plain facts of lines read.
LINE_COLUMNS = sorted(
    {name for expr in LINE.values() for name in expr.meta.root_names()} - {"net_cnt"} | {"cnt", "init_feedetl_sn"}
)


def half_up(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """numerator / denominator for whole numbers, rounded half away from zero; 0 where the denominator is 0."""
    quotient = rounded(numerator * denominator.sign(), denominator.abs())
    return pl.when(denominator != 0).then(quotient).otherwise(0)


def fund_share(inscope: pl.Expr, claim_fund: pl.Expr, claim_scope: pl.Expr) -> pl.Expr:
    """The fund's part of an in-scope amount: the claim's ratio of fund paid to in-scope cost, half-up."""
    wide = pl.Int128
    return half_up(inscope.cast(wide) * claim_fund.cast(wide), claim_scope.cast(wide)).cast(pl.Int64)


def part_of(amount: pl.Expr, units: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """`amount` fen x units / whole, half-up to the fen; exact where units is all of it."""
    wide = pl.Decimal(38, 18)
    share = amount.cast(pl.Decimal(38, 0)).cast(pl.Decimal(38, 18)) * units.cast(wide)
    quotient = share / whole.cast(wide)
    # Units may be a quotient cut at 18 places: half-up must not see that noise.
    billionths = (
        (quotient * pl.lit(10**9).cast(wide))
        .round(0, mode="half_away_from_zero")
        .cast(pl.Decimal(38, 0))
        .cast(pl.Int128)
    )
    return rounded(billionths, 10**9).cast(pl.Int64)


class Facts:
    """The facts of one bucket: `visits` and `lines` as frames whose columns are the vocabulary's words.

    tables are canonical frames after netting (claims with `cancelled` and `_person`, fee_lines with `net_cnt`).
    paying: the policy and scheme by which stays are paid, where rules may ask what a code was worth.
    """

    def __init__(
        self,
        tables: dict[str, pl.DataFrame],
        knowledge: Knowledge,
        presumptions: Presumptions | None = None,
        paying: tuple[Policy, Scheme] | None = None,
    ):
        self.tables, self.knowledge, self.paying = tables, knowledge, paying
        self.presumptions = presumptions or load_presumptions()
        self.joined: dict[str, pl.DataFrame] = {}  # rows of knowledge tables by rule, as joins.py makes them

    def table(self, name: str) -> pl.DataFrame:
        frame = self.tables.get(name)
        return with_fields(pl.DataFrame() if frame is None else frame, name)

    @cached_property
    def standing_claims(self) -> pl.DataFrame:
        """Claims that no refund cancelled, with sex and birthday of the person where the claim does not say."""
        claims = self.table("claims").filter(~pl.col("cancelled"))
        if "_person" not in claims.columns:
            claims = claims.with_columns(_person=pl.col("psn_no"))
        persons = with_fields(
            self.tables.get("persons", pl.DataFrame()), "persons", "psn_no", "gend", "brdy", "die_date"
        )
        known = persons.unique("psn_no", keep="first", maintain_order=True)
        claims = claims.join(known.select("psn_no", "die_date", _gend="gend", _brdy="brdy"), on="psn_no", how="left")
        return claims.with_columns(gend=pl.coalesce("gend", "_gend"), brdy=pl.coalesce("brdy", "_brdy"))

    @cached_property
    def _visits(self) -> pl.DataFrame:
        frame = self.standing_claims.select(*(expr.alias(name) for name, expr in VISIT.items()), "die_date")
        return frame.sort("id")

    def visits(self, names: set[str]) -> pl.DataFrame:
        """One row per standing visit with the named attributes; always `id` and `person`."""
        frame = self._visits
        for name in sorted(names - set(VISIT)):
            frame = _joined(frame, getattr(self, f"_visit_{name}"), "id", name)
        return frame.select(sorted({"id", "person", *names}))

    @cached_property
    def _lines(self) -> pl.DataFrame:
        lines = self.table("fee_lines")
        standing = self._visits.select("id", "hospital", "person")
        lines = lines.filter(pl.col("net_cnt") > 0).select(*(expr.alias(name) for name, expr in LINE.items()))
        lines = lines.join(standing.rename({"id": "_visit", "hospital": "_hospital", "person": "_person"}), on="_visit")
        # Only lines of which some units came back need a division.
        whole = lines.filter(pl.col("cnt") == pl.col("_num")).with_columns(amount="_cost", inscope="_inscope")
        rest = lines.filter(pl.col("cnt").ne_missing(pl.col("_num"))).with_columns(
            amount=part_of(pl.col("_cost"), pl.col("cnt"), pl.col("_num")),
            inscope=part_of(pl.col("_inscope"), pl.col("cnt"), pl.col("_num")),
        )
        return pl.concat([whole, rest]).sort("_visit", "time", natural("id"))

    @cached_property
    def _rows_of_item(self) -> dict[str, pl.Series]:
        rows = self._lines.select("item").with_row_index("_n").group_by("item").agg("_n")
        return dict(zip(rows["item"], rows["_n"], strict=True))

    def lines(self, names: set[str], items: list[str] | None = None) -> pl.DataFrame:
        """One row per standing line, of some items or of all, with the named attributes (`visit.x` for its visit's).

        Always `id`, `_visit`, `_person`, `_hospital`, `date`, `time`, `cnt`, `price`, `_cost`, `_inscope`, `_num`.
        """
        frame = self._lines
        if items is not None:
            found = [self._rows_of_item[item] for item in sorted(set(items)) if item in self._rows_of_item]
            frame = frame[pl.concat(found).sort()] if found else frame.clear()
        for name in sorted(n for n in names if n not in frame.columns and not n.startswith("visit.")):
            frame = LINE_FACTS[name](frame, self) if name not in frame.columns else frame
        if of_visit := {n.removeprefix("visit.") for n in names if n.startswith("visit.")}:
            visits = self.visits(of_visit)
            frame = frame.join(
                visits.select(pl.col("id").alias("_visit"), *(pl.col(n).alias(f"visit.{n}") for n in sorted(of_visit))),
                on="_visit", how="left", maintain_order="left",
            )  # fmt: skip
        return frame

    def main_lines(self, ids: pl.Series) -> pl.DataFrame:
        """Item, ward, doctor, day and time of some lines by id."""
        return self._lines.select("id", "item", "dept", "doctor", "date", "time").filter(
            pl.col("id").is_in(ids.implode())
        )

    def institution_lines(self, rules, tables: dict[str, pl.DataFrame]) -> pl.Expr:
        """Which fee lines the rules over wards and stores read: items of their tables, and whatever a store keeps."""
        items, local = set(), set()
        for loaded in rules:
            if loaded.rule.join and "med_list_codg" in self.knowledge[loaded.rule.join.table].columns:
                items |= set(self.knowledge[loaded.rule.join.table]["med_list_codg"])
        stored = with_fields(tables.get("store_items", pl.DataFrame()), "store_items")
        items |= set(stored["med_list_codg"].drop_nulls())
        local |= set(stored["medins_list_codg"].drop_nulls())
        listed = pl.col("med_list_codg").is_in(sorted(items))
        return listed | pl.col("medins_list_codg").is_in(sorted(local)) if local else listed

    def missing(self, loaded) -> str:
        """The table a rule cannot do without and the bundle does not have; empty where nothing is missing."""
        words = {path.rsplit(".", 1)[-1] for path in loaded.asked()}
        need = [*NEEDED_TABLES.get(loaded.rule.scope, ("claims", "fee_lines"))]
        need += [table for table, said in TOLD_BY.items() if words & said]
        return next((t for t in need if t not in self.tables), "")

    # derived facts of visits: (id, value) frames

    @cached_property
    def _diagnoses(self) -> pl.DataFrame:
        rows = self.table("diagnoses").filter(pl.col("diag_stage").fill_null("discharge") != "admission")
        main_first = pl.col("maindiag_flag").fill_null("0").eq("1").not_()
        return rows.select(
            id="setl_id", code=pl.col("diag_code").fill_null("").str.to_uppercase().str.strip_chars(),
            main=~main_first, seq="seq",
        ).sort("id", pl.col("main").not_(), "seq", "code")  # fmt: skip

    @cached_property
    def _procedures(self) -> pl.DataFrame:
        return self.table("procedures").select(
            id="setl_id", code=text("oprn_oprt_code"), main=pl.col("main_oprn_flag").fill_null("0") == "1",
            date=pl.col("oprn_oprt_date").cast(DAY), anaesthesia=text("anst_way"), seq="seq",
            begin="anst_begntime", end="anst_endtime",
        ).sort("id", "seq", "code").with_columns(anaesthesia_hours=ANAESTHESIA_HOURS)  # fmt: skip

    @cached_property
    def _visit_main_diag(self) -> pl.DataFrame:
        return self._by_visit(self._diagnoses.group_by("id", maintain_order=True).agg(main_diag=pl.col("code").first()))

    @cached_property
    def _visit_icd3(self) -> pl.DataFrame:
        return self._visit_main_diag.select("id", icd3=pl.col("main_diag").str.slice(0, 3))

    @cached_property
    def _visit_diags(self) -> pl.DataFrame:
        return self._by_visit(_bar_joined(self._diagnoses, "diags"))

    @cached_property
    def _visit_operations(self) -> pl.DataFrame:
        return self._by_visit(_bar_joined(self._procedures, "operations"))

    @cached_property
    def _visit_operated(self) -> pl.DataFrame:
        return self._visits.select("id", operated=pl.col("id").is_in(self._procedures["id"].unique().implode()))

    @cached_property
    def _visit_death_date(self) -> pl.DataFrame:
        """When the person died: the registered date, or the end of a stay that ended in death."""
        died = self._visits.filter(pl.col("discharge_way") == "5").select("person", when="discharge_date")
        registered = self._visits.select("person", when=pl.col("die_date").cast(DAY)).drop_nulls()
        first = pl.concat([died, registered]).group_by("person").agg(death_date=pl.col("when").min())
        return self._visits.select("id", "person").join(first, on="person", how="left").select("id", "death_date")

    @cached_property
    def _visit_death_sources(self) -> pl.DataFrame:
        """How many sources say that the person died: the register, and the end of a stay."""
        registered, ended = pl.col("die_date").is_not_null().any(), (pl.col("discharge_way") == "5").any()
        said = self._visits.group_by("person").agg(death_sources=registered.cast(pl.Int64) + ended.cast(pl.Int64))
        return self._visits.select("id", "person").join(said, on="person", how="left").select("id", "death_sources")

    @cached_property
    def _visit_present_elsewhere(self) -> pl.DataFrame:
        """Whether on one day a bed, an operation or a dialysis is charged here and in another stay of the person."""
        name = "dialysis_per_session"
        dialysis = self.knowledge.codes(name) if name in self.knowledge.concepts else []
        there = self._lines.filter(pl.col("category").is_in(["01", "06"]) | pl.col("item").is_in(dialysis))
        stays = self._visits.filter(pl.col("inpatient")).select("id", "person")
        days = there.select("date", id="_visit").unique().join(stays, on="id")
        twice = days.filter(pl.len().over("person", "date") > 1).select("id").unique()
        return self._visits.select("id", present_elsewhere=pl.col("id").is_in(twice["id"].implode()))

    @cached_property
    def idle_days(self) -> pl.DataFrame:
        """Days of a stay, from admission up to but not including discharge, with bed, nursing and consultation only."""
        stays = self._visits.filter(pl.col("inpatient"), pl.col("discharge_date") > pl.col("admit_date"))
        days = stays.select(
            "id", date=pl.datetime_ranges("admit_date", "discharge_date", "1d", closed="left", time_unit="us")
        ).explode("date")
        busy = self._lines.filter(~pl.col("category").is_in(["01", "02", "07"])).select(id="_visit", date="date")
        idle = days.join(busy.unique(), on=["id", "date"], how="anti").sort("id", "date")
        start = (pl.col("date").diff() != pl.duration(days=1)).fill_null(True) | (pl.col("id") != pl.col("id").shift())
        idle = idle.with_columns(run=start.fill_null(True).cum_sum())
        return idle.with_columns(idle_run=pl.len().over("run").cast(pl.Int64)).drop("run")

    @cached_property
    def _visit_longest_idle_run(self) -> pl.DataFrame:
        longest = self.idle_days.group_by("id").agg(longest_idle_run=pl.col("idle_run").max())
        return (
            self._visits.select("id")
            .join(longest, on="id", how="left")
            .with_columns(pl.col("longest_idle_run").fill_null(0))
        )

    def _by_visit(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with a row for every visit; texts that are nowhere are empty."""
        return self._visits.select("id").join(frame, on="id", how="left").with_columns(pl.exclude("id").fill_null(""))

    def dialysis_records(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame of (_visit, date) with `day.dialysis_records`: null where no log is given or it is not complete."""
        if "service_logs" not in self.tables:
            return frame.with_columns(pl.lit(None, pl.Int64).alias("day.dialysis_records"))
        logs = self.table("service_logs").filter(pl.col("kind") == "dialysis")
        counts = logs.group_by(_visit="setl_id", date=midnight(pl.col("begntime"))).agg(
            pl.len().cast(pl.Int64).alias("day.dialysis_records")
        )
        return frame.join(counts, on=["_visit", "date"], how="left", maintain_order="left")

    def _backed(self, name: str) -> pl.DataFrame:
        """(id, code, name): whether an item an operation needs is among the stay's lines; only those that need one."""
        table = self.knowledge[BACKED[name]].select("icd9_prefix", item="med_list_codg").unique()
        codes = self._procedures.select("code").unique().join(table, how="cross")
        codes = codes.filter(pl.col("code").str.starts_with(pl.col("icd9_prefix"))).select("code", "item").unique()
        needed = self._procedures.select("id", "code").unique().join(codes, on="code")
        there = self._lines.select("item", id="_visit").unique().with_columns(_there=pl.lit(True))
        needed = needed.join(there, on=["id", "item"], how="left")
        return needed.group_by("id", "code").agg(pl.col("_there").fill_null(False).any().alias(name))

    # elements of a visit

    def elements(self, kind: str, names: set[str]) -> pl.DataFrame:
        """Diagnoses or procedures with their key `id` and the id of their visit in `_visit`."""
        rows = self._diagnoses if kind == "diagnosis" else self._procedures
        for name in sorted(names & set(BACKED)):
            rows = rows.join(self._backed(name), on=["id", "code"], how="left", maintain_order="left")
        key = pl.concat_str("id", pl.lit("|"), pl.col("seq").cast(pl.String))
        return rows.select(*sorted(names), _visit="id", id=key)


def natural(name: str) -> pl.Expr:
    """Ids that end in a number sort by it: SETTLE_ZY_DETAIL:9 before SETTLE_ZY_DETAIL:10."""
    return pl.col(name).str.extract(r"(\d+)$").str.zfill(20).fill_null(pl.col(name))


def _bar_joined(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    joined = rows.group_by("id", maintain_order=True).agg(pl.col("code").str.join("|"))
    return joined.select("id", pl.concat_str(pl.lit("|"), "code", pl.lit("|")).alias(name))


def _joined(frame: pl.DataFrame, values: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    return frame.join(values.select(key, name), on=key, how="left", maintain_order="left")
