"""What is known of every visit and every line before a rule is asked: the vocabulary's words as columns.

Plain words are one expression each over a canonical table (plain.py). Facts that need other rows or a region's tables
are functions (derived.py for lines, visitfacts.py for visits); they are computed only where an active rule asks for
them. A field of a canonical table is carried only where a rule reads it.
Refunded visits and returned units are gone here: nothing that was paid back is judged.
"""

from functools import cached_property

import polars as pl

from engine.audit.derived import LINE_FACTS
from engine.audit.needs import missing
from engine.audit.plain import DAY, LINE, RECORDS, VISIT, midnight, text
from engine.audit.registerfacts import stocked
from engine.audit.visitfacts import NEIGHBOURS, VISIT_FACTS, idle_days
from engine.grouping.scheme import AnyScheme
from engine.language.vocabulary import tables_behind
from engine.reference.knowledge import Knowledge
from engine.reference.presumptions import Presumptions, load_presumptions
from engine.settlement.policy import Policy
from engine.tables.dictionary import table, with_fields
from engine.tables.values import rounded

# One anaesthesia may serve several operations: its hours stand with the first.
ANAESTHESIA_HOURS = pl.when(pl.struct("id", "anaesthesia", "begin", "end").is_first_distinct()).then(
    (pl.col("end") - pl.col("begin")).dt.total_minutes().cast(pl.Decimal(16, 6)) / 60
)
STOCKED = "_stocked"  # among the tables of a bucket: what all institutions store, told once for every bucket
# Objects that a register tells of, and what names them in it.
VISIT_KEYS = {"institution": "hospital", "terminal": "terminal_id"}
LINE_KEYS = {"practitioner": "doctor", "prescription": "rxno"}
# Attribute of a procedure or diagnosis -> table that names the items it needs, its codes and its items, as prefixes.
BACKED = {
    "charged": ("operation_items", "icd9_prefix", "med_list_codg"),
    "device": ("device_operations", "icd9_prefix", "med_list_codg"),
    "treated": ("complication_care", "icd_prefix", "code"),
}


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
        paying: tuple[Policy, AnyScheme] | None = None,
    ):
        self.tables, self.knowledge, self.paying = tables, knowledge, paying
        self.presumptions = presumptions or load_presumptions()
        self.joined: dict[str, pl.DataFrame] = {}  # rows of knowledge tables by rule, as joins.py makes them
        self._made: dict[str, pl.DataFrame] = {}

    @cached_property
    def idle_days(self) -> pl.DataFrame:
        """(id, date, idle_run): the days of a stay on which nothing but bed, nursing and consultation is charged."""
        return idle_days(self)

    @cached_property
    def stocked(self) -> pl.DataFrame | None:
        """What institutions store or bought; a run of many buckets tells it once (STOCKED among the tables)."""
        return self.tables[STOCKED] if STOCKED in self.tables else stocked(self.tables)

    @cached_property
    def coverage(self) -> pl.DataFrame:
        """The rows of table_coverage that say a table is complete."""
        return self.table("table_coverage").filter(pl.col("complete_flag").fill_null("1") == "1")

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
    def died(self) -> pl.DataFrame:
        """(id, die_date): when the register says that the person of a visit died."""
        return self.standing_claims.select("die_date", id="setl_id")

    @cached_property
    def _visits(self) -> pl.DataFrame:
        frame = self.standing_claims.with_row_index("_at")
        return frame.select("_at", *(expr.alias(name) for name, expr in VISIT.items())).sort("id")

    def visits(self, names: set[str]) -> pl.DataFrame:
        """One row per standing visit with the named attributes, such as `days` or `previous_any.days`.

        Always `id` and `person`. A neighbour's `id` is null exactly where there is no such visit.
        """
        own = {n for n in names if "." not in n}
        frame = carried(self._visits, self.standing_claims, own - set(VISIT) - set(VISIT_FACTS))
        for name in sorted(own & set(VISIT_FACTS)):
            frame = frame.join(self._visit_fact(name), on="id", how="left", maintain_order="left")
        for part in sorted({n.split(".", 1)[0] for n in names - own}):
            below = {n.split(".", 1)[1] for n in names - own if n.startswith(f"{part}.")}
            if part in NEIGHBOURS:
                frame = self._with_neighbour(frame, part, below)
            else:
                frame = self._registered(carried(frame, self.standing_claims, {VISIT_KEYS[part]} - set(frame.columns)),
                                         part, VISIT_KEYS[part], below)  # fmt: skip
        return frame.select(sorted({"id", "person", *names}))

    def _visit_fact(self, name: str) -> pl.DataFrame:
        """(id, name) of every visit; facts that are made together are kept together."""
        if name not in self._made:
            made = VISIT_FACTS[name](self)
            self._made |= {n: made.select("id", n) for n in made.columns if n != "id"}
        return self._made[name]

    def _with_neighbour(self, frame: pl.DataFrame, part: str, below: set[str]) -> pl.DataFrame:
        """The visits with what is asked of another visit of the person, as `previous_any.days`."""
        others = self.visits(below).select(pl.col(n).alias(f"{part}.{n}") for n in sorted({"id", *below}))
        ids = self._visit_fact(part).rename({part: f"{part}.id"})
        return frame.join(ids, on="id", how="left", maintain_order="left").join(
            others, on=f"{part}.id", how="left", maintain_order="left"
        )

    def _registered(self, frame: pl.DataFrame, part: str, key: str, below: set[str]) -> pl.DataFrame:
        """The frame with what a register says of an object, as `institution.hosp_lv`; `key` names it in the frame."""
        behind = tables_behind()[part]
        fields = {n: behind.means.get(n, n) for n in below}
        found = self.register(behind.table, set(fields.values()) - {table(behind.table).key[0]})
        found = found.with_columns(pl.col("_key").alias(table(behind.table).key[0]))
        found = found.select("_key", *(pl.col(f).alias(f"{part}.{n}") for n, f in sorted(fields.items())))
        return frame.join(found, left_on=key, right_on="_key", how="left", maintain_order="left")

    def register(self, name: str, fields: set[str]) -> pl.DataFrame:
        """Fields of a table of persons, institutions, devices … by `_key`, the first column of the table's key."""
        key = table(name).key
        rows = self.table(name).sort(key).unique(key[0], keep="first", maintain_order=True)
        return carried(rows.with_row_index("_at").select("_at", _key=key[0]), rows, fields).drop("_at")

    @cached_property
    def _lines(self) -> pl.DataFrame:
        lines = self.table("fee_lines").with_row_index("_at").filter(pl.col("net_cnt") > 0)
        standing = self._visits.select(_visit="id", _hospital="hospital", _person="person")
        lines = lines.select("_at", *(expr.alias(name) for name, expr in LINE.items())).join(standing, on="_visit")
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
        own = {n for n in names if "." not in n and n not in frame.columns}
        for part, key in LINE_KEYS.items():
            if below := {n.split(".", 1)[1] for n in names if n.startswith(f"{part}.")}:
                frame = carried(frame, self.table("fee_lines"), {key} - set(frame.columns))
                frame = self._registered(frame, part, key, below)
        frame = carried(frame, self.table("fee_lines"), own - set(LINE_FACTS))
        for name in sorted(own & set(LINE_FACTS)):
            frame = LINE_FACTS[name](frame, self) if name not in frame.columns else frame
        if of_visit := {n.removeprefix("visit.") for n in names if n.startswith("visit.")}:
            visits = self.visits(of_visit)
            frame = frame.join(
                visits.select(pl.col("id").alias("_visit"), *(pl.col(n).alias(f"visit.{n}") for n in sorted(of_visit))),
                on="_visit", how="left", maintain_order="left",
            )  # fmt: skip
        return frame

    def lines_of(self, ids: pl.Series) -> pl.DataFrame:
        """Some lines by id, with all that is plainly known of them."""
        return self._lines.filter(pl.col("id").is_in(ids.implode()))

    def missing(self, loaded) -> str:
        """The table a rule cannot do without and the bundle does not have; empty where nothing is missing."""
        return missing(loaded, self.tables)

    @cached_property
    def diagnoses(self) -> pl.DataFrame:
        rows = (
            self.table("diagnoses")
            .with_row_index("_at")
            .filter(pl.col("diag_stage").fill_null("discharge") != "admission")
        )
        main_first = pl.col("maindiag_flag").fill_null("0").eq("1").not_()
        return rows.select(
            id="setl_id", code=pl.col("diag_code").fill_null("").str.to_uppercase().str.strip_chars(),
            main=~main_first, seq="seq", _at="_at",
        ).sort("id", pl.col("main").not_(), "seq", "code")  # fmt: skip

    @cached_property
    def procedures(self) -> pl.DataFrame:
        return self.table("procedures").with_row_index("_at").select(
            id="setl_id", code=text("oprn_oprt_code"), main=pl.col("main_oprn_flag").fill_null("0") == "1",
            date=pl.col("oprn_oprt_date").cast(DAY), anaesthesia=text("anst_way"), seq="seq",
            begin="anst_begntime", end="anst_endtime", _at="_at",
        ).sort("id", "seq", "code").with_columns(anaesthesia_hours=ANAESTHESIA_HOURS)  # fmt: skip

    def _backed(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """(id, code, name): whether an item that a code needs is among the stay's lines; only codes that need one."""
        table, code, item = BACKED[name]
        needs = self.knowledge[table].select(_code=code, _item=item).unique()
        codes = rows.select("code").unique().join(needs, how="cross")
        codes = codes.filter(pl.col("code").str.starts_with(pl.col("_code"))).select("code", "_item").unique()
        needed = rows.select("id", "code").unique().join(codes, on="code")
        lines = self._lines.select("item", id="_visit").unique()
        items = lines.select("item").unique().join(codes.select("_item").unique(), how="cross")
        items = items.filter(pl.col("item").str.starts_with(pl.col("_item")))
        there = lines.join(items, on="item").select("id", "_item").unique().with_columns(_there=pl.lit(True))
        needed = needed.join(there, on=["id", "_item"], how="left")
        return needed.group_by("id", "code").agg(pl.col("_there").fill_null(False).any().alias(name))

    # elements of a visit

    def elements(self, kind: str, names: set[str]) -> pl.DataFrame:
        """Diagnoses or procedures with their key `id` and the id of their visit in `_visit`."""
        rows = self.diagnoses if kind == "diagnosis" else self.procedures
        rows = carried(rows, self.table(tables_behind()[kind].table), names - set(rows.columns) - set(BACKED))
        for name in sorted(names & set(BACKED)):
            rows = rows.join(self._backed(name, rows), on=["id", "code"], how="left", maintain_order="left")
        key = pl.concat_str("id", pl.lit("|"), pl.col("seq").cast(pl.String))
        return rows.select(*sorted(names), _visit="id", id=key)

    def records(self, kind: str, names: set[str]) -> pl.DataFrame:
        """One row per record (of RECORDS: logs, reports …), with the named attributes and its claim in `_visit`, null
        where it has none.

        Always `_date`, the day on which it falls.
        """
        what = RECORDS[kind]
        source = self.table(what.table)
        rows = source.with_row_index("_at").sort(table(what.table).key[0], what.moment)
        frame = rows.select("_at", _visit="setl_id", _date=midnight(pl.col(what.moment)), **what.words)
        frame = carried(frame, source, names - set(what.words))
        return frame.select("_visit", "_date", *sorted({"id", *names}))


def carried(frame: pl.DataFrame, source: pl.DataFrame, fields: set[str]) -> pl.DataFrame:
    """The frame with fields of the table its rows come from (`_at`: the row there); days are midnights."""
    if not fields:
        return frame
    columns = [pl.col(n).cast(DAY) if source.schema[n] == pl.Date else pl.col(n) for n in sorted(fields)]
    return frame.with_columns(source.select(columns)[frame["_at"]])


def natural(name: str) -> pl.Expr:
    """Ids that end in a number sort by it: SETTLE_ZY_DETAIL:9 before SETTLE_ZY_DETAIL:10."""
    return pl.col(name).str.extract(r"(\d+)$").str.zfill(20).fill_null(pl.col(name))
