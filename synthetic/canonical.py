"""From rows known by number to the canonical tables: ids given out last, every amount as the policy pays it."""

from dataclasses import dataclass

import polars as pl

from engine.reference.knowledge import Knowledge
from engine.settlement.lines import classify
from engine.settlement.person import PARTS as CLAIM_PARTS
from engine.settlement.person import settle
from engine.settlement.policy import Policy
from engine.tables.dictionary import table
from synthetic.claims import STAYS, Batch
from synthetic.world import World

LINE_PARTS = ["fulamt_ownpay_amt", "overlmt_amt", "preselfpay_amt", "inscp_scp_amt"]
COUNT = pl.Decimal(16, 4)
DEPARTMENTS = {
    "03": ("0901", "影像科"),
    "04": ("0902", "检验科"),
    "09": ("0903", "药剂科"),
    "10": ("0903", "药剂科"),
    "11": ("0903", "药剂科"),
}  # where a kind of item is carried out; the others in the ward itself


@dataclass
class Region:
    """What pays: the policy and the knowledge tables of the seeds."""

    policy: Policy
    knowledge: Knowledge


def to_tables(world: World, batch: Batch, truth: pl.DataFrame, region: Region) -> dict[str, pl.DataFrame]:
    """The canonical tables of a batch, money in fen, and `truth` with the ids in it. Rows in order of their ids."""
    claims, lines = _with_ids(world, batch)
    lines = _classified(world, lines, region)
    claims = _paid(world, batch.people, claims, lines, region)
    return {
        "persons": _persons(batch.people, claims),
        "account_openings": _openings(world, batch.people, claims),
        "claims": fields("claims", claims).sort("setl_id"),
        "diagnoses": _diagnoses(batch, claims),
        "procedures": _procedures(world, batch, claims),
        "fee_lines": fields("fee_lines", _with_codes(world, lines).drop("psn_no")).sort("setl_id", "feedetl_sn"),
        "truth": _truth(truth, claims, lines),
        "sales": lines.select(
            "feedetl_sn",
            "line",
            "setl_id",
            "psn_no",
            "site",
            "item",
            "cnt",
            "amount",
            "reverses",
            "kind",
            time="fee_ocur_time",
        ),
    }


def _with_ids(world: World, batch: Batch) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Claims and lines with their ids, which say nothing of when or why a row was made."""
    claims = batch.claims.sort("claim")
    number = {name: pl.Series(world.numbers[name].take(claims.height)).cast(pl.String) for name in ("claim", "chart")}
    claims = claims.with_columns(
        pl.format("S{}", number["claim"].str.zfill(9)).alias("setl_id"),
        pl.format("M{}", number["chart"].str.zfill(8)).alias("mdtrt_id"),
    )
    original = claims.select(pl.col("claim").alias("reverses"), pl.col("setl_id").alias("init_setl_id"))
    claims = _described(world, batch, claims.join(original, on="reverses", how="left", maintain_order="left"))
    of = claims.select(
        "claim",
        "setl_id",
        "psn_no",
        "person",
        "site",
        "kind",
        "ward",
        "ward_code",
        "doctor_code",
        "doctor_name",
        "insured_flag",
    )
    lines = batch.lines.sort("claim", "time", "line").join(of, on="claim", maintain_order="left")
    sn = pl.Series(world.numbers["line"].take(lines.height)).cast(pl.String).str.zfill(11)
    lines = lines.with_columns(pl.format("F{}", sn).alias("feedetl_sn"))
    named = (
        lines.filter(pl.col("reverses").is_not_null())
        .select("line", "reverses")
        .filter(pl.Series(world.rng.random(lines["reverses"].count()) < world.ratios["share_line_names_original"]))
    )
    names = named.join(
        lines.select(reverses="line", init_feedetl_sn="feedetl_sn"), on="reverses", maintain_order="left"
    )
    return claims, lines.join(names.drop("reverses"), on="line", how="left", maintain_order="left")


def _described(world: World, batch: Batch, claims: pl.DataFrame) -> pl.DataFrame:
    """The claims with what is known of the person, the institution, the illness and the doctor."""
    people = batch.people.select("person", "psn_no", "gend", "brdy", "psn_type", "insutype", "insu_admdvs")
    doctor = world.doctors.select("doctor", "ward_code", "doctor_code", "doctor_name")
    site = world.institutions.select("site", "fixmedins_code", mdtrtarea_admdvs="admdvs")
    claims = (
        claims.join(people, on="person", how="left", maintain_order="left")
        .join(doctor, on="doctor", how="left", maintain_order="left")
        .join(site, on="site", how="left", maintain_order="left")
    )
    stay, kind = pl.col("kind").is_in(STAYS), pl.col("kind")
    begin, leaving = pl.col("begntime"), pl.coalesce(pl.col("ward_path").str.split("|").list.last(), "ward")
    codes = world.doctors.select("ward", "ward_code").unique("ward", keep="first", maintain_order=True)
    to = leaving.replace_strict(codes["ward"], codes["ward_code"], default=None)
    birthday_comes = _day_of_year(begin) < _day_of_year(pl.col("brdy"))
    return claims.with_columns(
        kind.alias("visit_kind"),
        kind.replace_strict(world.ratios["med_types"]).alias("med_type"),
        (begin.dt.year() - pl.col("brdy").dt.year() - birthday_comes.cast(pl.Int32)).cast(pl.Int64).alias("age"),
        pl.col("level").alias("hosp_lv"),
        pl.when(stay).then(pl.max_horizontal("los", 1)).alias("act_ipt_days"),
        pl.when(pl.col("self_paid")).then(pl.lit("0")).otherwise(pl.lit("1")).alias("insured_flag"),
        pl.when(pl.col("insu_admdvs") == world.ratios["elsewhere"])
        .then(pl.lit("0"))
        .otherwise(pl.lit("1"))
        .alias("local_flag"),
        pl.when(pl.col("reverses").is_null()).then(pl.lit("0")).otherwise(pl.lit("1")).alias("refd_setl_flag"),
        pl.col("ward_code").alias("adm_dept_codg"),
        pl.col("ward").alias("adm_dept_name"),
        to.alias("dscg_dept_codg"),
        leaving.alias("dscg_dept_name"),
        pl.col("doctor_code").alias("atddr_code"),
        pl.col("doctor_name").alias("atddr_name"),
        pl.when(stay).then("dscg_way").alias("dscg_way"),
        pl.when(stay).then(pl.lit("2")).alias("adm_way"),
        pl.when(kind == "day_surgery").then(pl.lit("1")).when(stay).then(pl.lit("0")).alias("daysurg_flag"),
        pl.when(kind == "day_surgery")
        .then(pl.lit("day_surgery"))
        .when(kind == "emergency_inpatient")
        .then(pl.lit("emergency"))
        .when(stay)
        .then(pl.lit("ordinary"))
        .alias("adm_kind"),
        pl.when(stay).then(pl.lit("4")).otherwise(pl.lit("1")).alias("hi_paymtd"),
        world.illnesses["disease"].gather(claims["illness"]).alias("dise_codg"),
        pl.when(stay).then(pl.format("BA{}", pl.col("mdtrt_id").str.slice(1))).alias("medcasno"),
        pl.when(kind != "pharmacy").then(pl.col("mdtrt_id").str.slice(1)).alias("ipt_otp_no"),
    )


def _day_of_year(at: pl.Expr) -> pl.Expr:
    """A number that orders the days of a year, leap or not."""
    return at.dt.month().cast(pl.Int32) * 100 + at.dt.day()


def _classified(world: World, lines: pl.DataFrame, region: Region) -> pl.DataFrame:
    """The lines with the parts of their amount. What a line is split into depends on few things: each is done once."""
    alike = ["item", "cnt", "micro", "insured_flag"]
    kinds = lines.select(alike).unique().sort(alike)
    catalogue = world.catalogue[kinds["item"]]
    asked = kinds.with_columns(
        med_list_codg=catalogue["med_list_codg"],
        chrgitm_lv=catalogue["chrgitm_lv"],
        selfpay_prop=catalogue["selfpay_prop"].cast(pl.Decimal(5, 4)),
        pric=decimal(pl.col("micro"), 6),
        cnt=pl.col("cnt").cast(COUNT),
        fee_ocur_time=pl.datetime(world.ratios["year"], 7, 1),
        self_pay_flag=pl.when(pl.col("insured_flag") == "0").then(pl.lit("1")).otherwise(pl.lit("0")),
    )
    done = classify(asked, region.knowledge["catalogue"]).select("det_item_fee_sumamt", "self_pay_flag", *LINE_PARTS)
    return lines.rename({"time": "fee_ocur_time"}).join(kinds.hstack(done), on=alike, how="left", maintain_order="left")


def decimal(number: pl.Expr, scale: int) -> pl.Expr:
    """Whole units of the last place as an exact decimal: fen as yuan, millionths as a price."""
    return (number.cast(pl.Decimal(38, scale)) / 10**scale).cast(pl.Decimal(16, scale))


def _paid(
    world: World, people: pl.DataFrame, claims: pl.DataFrame, lines: pl.DataFrame, region: Region
) -> pl.DataFrame:
    """The claims with every amount the policy comes to, for whole persons in order of settlement."""
    names = dict(zip(LINE_PARTS, CLAIM_PARTS, strict=True))
    sums = lines.group_by("setl_id").agg(
        pl.col("det_item_fee_sumamt").sum().alias("medfee_sumamt"),
        *(pl.col(name).sum().alias(as_) for name, as_ in names.items()),
    )
    billed = claims.join(sums, on="setl_id", how="left", maintain_order="left").with_columns(
        pl.col(["medfee_sumamt", *CLAIM_PARTS]).fill_null(0)
    )
    nothing = pl.DataFrame(schema=table("fee_lines").schema)
    settled = settle(billed, nothing, region.policy, None, _openings(world, people, claims))
    amounts = [name for name in settled.columns if name.endswith("_fen") and not name.startswith("reported_")]
    settled = settled.select("setl_id", *(pl.col(name).alias(name.removesuffix("_fen")) for name in amounts))
    return claims.join(settled, on="setl_id", how="left", maintain_order="left")


def _openings(world: World, people: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Account balances of the employees seen, at the start of the year."""
    seen = people.filter(pl.col("opening") > 0, pl.col("person").is_in(claims["person"].unique().implode()))
    return seen.select(
        "psn_no", pl.lit(world.ratios["year"], pl.Int64).alias("year"), pl.col("opening").alias("acct_balc")
    ).sort("psn_no")


def _persons(people: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    seen = people.filter(pl.col("person").is_in(claims["person"].unique().implode()))
    return fields("persons", seen.with_columns(pl.lit("01").alias("psn_cert_type"))).sort("psn_no")


def _diagnoses(batch: Batch, claims: pl.DataFrame) -> pl.DataFrame:
    main = pl.col("seq") == 1
    rows = batch.diagnoses.join(claims.select("claim", "setl_id", "kind"), on="claim", maintain_order="left")
    return fields(
        "diagnoses",
        rows.select(
            "setl_id",
            "seq",
            pl.lit("1").alias("diag_type"),
            pl.col("code").alias("diag_code"),
            pl.col("name").alias("diag_name"),
            _flag(main).alias("maindiag_flag"),
            pl.when(pl.col("kind").is_in(STAYS)).then(pl.lit("1")).alias("adm_cond_type"),
            pl.when(pl.col("kind").is_in(STAYS))
            .then(pl.lit("discharge"))
            .otherwise(pl.lit("outpatient"))
            .alias("diag_stage"),
        ),
    ).sort("setl_id", "seq")


def _procedures(world: World, batch: Batch, claims: pl.DataFrame) -> pl.DataFrame:
    names = world.doctors.select("doctor", "doctor_code")
    rows = (
        batch.procedures.join(claims.select("claim", "setl_id"), on="claim", maintain_order="left")
        .join(names.rename({"doctor_code": "oper_dr_code"}), on="doctor", maintain_order="left")
        .join(
            names.rename({"doctor": "anst_doctor", "doctor_code": "anst_dr_code"}),
            on="anst_doctor",
            maintain_order="left",
        )
    )
    return fields(
        "procedures",
        rows.with_columns(
            pl.col("code").alias("oprn_oprt_code"),
            pl.col("name").alias("oprn_oprt_name"),
            _flag(pl.col("seq") == 1).alias("main_oprn_flag"),
            pl.col("oprn_begntime").dt.date().alias("oprn_oprt_date"),
        ),
    ).sort("setl_id", "seq")


def _flag(condition: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(pl.lit("1")).otherwise(pl.lit("0"))


def _with_codes(world: World, lines: pl.DataFrame) -> pl.DataFrame:
    """The lines with what the catalogue says of the item, and who ordered and carried it out."""
    catalogue = world.catalogue.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("item"),
        "med_list_codg",
        "med_chrgitm_type",
        "chrgitm_lv",
        "unit",
        "dosform_name",
        med_list_name="name",
        medins_list_name="name",
        selfpay_prop=pl.col("selfpay_prop").cast(pl.Decimal(5, 4)),
        medins_list_codg=pl.format("X{}", pl.int_range(10001, 10001 + pl.len()).cast(pl.String)),
    )
    place = pl.col("med_chrgitm_type").replace_strict(
        {kind: name for kind, (_, name) in DEPARTMENTS.items()}, default=None
    )
    code = pl.col("med_chrgitm_type").replace_strict(
        {kind: code for kind, (code, _) in DEPARTMENTS.items()}, default=None
    )
    catalogue = catalogue.with_columns(code.alias("acord_code"), place.alias("acord_name"))
    return lines.join(catalogue, on="item", how="left", maintain_order="left").with_columns(
        pl.col("cnt").cast(COUNT),
        decimal(pl.col("micro"), 6).alias("pric"),
        pl.col("ward_code").alias("bilg_dept_codg"),
        pl.col("ward").alias("bilg_dept_name"),
        pl.col("doctor_code").alias("bilg_dr_codg"),
        pl.col("doctor_name").alias("bilg_dr_name"),
        pl.coalesce("acord_code", "ward_code").alias("acord_dept_codg"),
        pl.coalesce("acord_name", "ward").alias("acord_dept_name"),
        *(pl.when(pl.col("insured_flag") == "1").then(name).alias(name) for name in ("chrgitm_lv", "selfpay_prop")),
        pl.when(pl.col("kind").is_in(STAYS)).then(_flag(pl.col("leave"))).alias("dscg_tkdrug_flag"),
        pl.when(~pl.col("kind").is_in(STAYS)).then(pl.format("R{}", pl.col("setl_id").str.slice(1))).alias("rxno"),
    )


def fields(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The fields of a canonical table that the frame has, in the order and types of the dictionary."""
    schema = table(name).schema
    return frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items() if column in frame.columns)


def _truth(truth: pl.DataFrame, claims: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The truth by ids; a violation of a whole claim puts at risk what the fund pays of it."""
    rows = truth.join(
        claims.select("claim", "setl_id", "psn_no", "fund_pay_sumamt"), on="claim", maintain_order="left"
    ).join(lines.select("line", "feedetl_sn"), on="line", how="left", maintain_order="left")
    return rows.select(
        "case",
        "scheme",
        "rule_number",
        "slug",
        "kind",
        "also",
        "setl_id",
        "feedetl_sn",
        pl.lit(None, pl.String).alias("event_id"),
        "psn_no",
        pl.coalesce("amount", "fund_pay_sumamt").alias("amount_fen"),
    )
