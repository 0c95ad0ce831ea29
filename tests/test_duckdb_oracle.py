"""The engine against rules written by hand in SQL: the same findings, lines, units and fen, row for row."""

import json

import numpy as np
import polars as pl
import pytest
import sample_region
from conftest import shared
from oracle_facts import facts_of
from oracle_sql import QUESTIONS as MORE

from engine.audit import INSTITUTION_SCOPES, PERSON_SCOPES, audit
from engine.audit.facts import Facts
from engine.reference.places import rules_folder
from engine.run.region import load_region
from synthetic.make import make
from synthetic.sql import QUESTIONS as COMMON
from synthetic.sql import answer, database, told

pytest.importorskip("duckdb", reason="duckdb is not installed: install yibao[test]")

QUESTIONS = COMMON | MORE
CLAIMS, SEED = 2_000, 3
PLANTED = ["routine-panel-with-component-tests", "per-treatment-dialysis-billed-hourly", "daily-fees-exceed-stay-days",
           "overlapping-inpatient-stays", "split-stay-short-readmission", "charge-outside-stay-period",
           "price-above-guided-ceiling", "drug-sex-restriction", "payment-course-limit-exceeded",
           "hourly-item-over-24h-per-day", "drug-institution-level-restriction"]  # fmt: skip
# Shares of a ward that chance alone would not reach.
LOOSE = {"bundled-admission-tests": {"min_share_pct": "5", "max_indicated_share_pct": "60", "min_stays": "3"}}


class Both:
    """The answers of the engine and of SQL about the same facts."""

    def __init__(self, facts: Facts, region, work):
        self.rules = {r.rule.id: r for r in region.rules if r.rule.id in QUESTIONS}
        asked = [self.rules[rule_id] for rule_id in sorted(self.rules)]
        self.findings, self.evidence, _ = audit(asked, facts, PERSON_SCOPES + INSTITUTION_SCOPES)
        work.mkdir()
        self.db = database(facts, work)

    def of(self, rule_id: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        loaded = self.rules[rule_id]
        return told(self.findings, self.evidence, rule_id), answer(self.db, loaded, QUESTIONS[rule_id])

    def agree(self, rule_id: str) -> pl.DataFrame:
        engine, sql = self.of(rule_id)
        assert engine.rows() == sql.rows(), f"engine only:\n{_only(engine, sql)}\nSQL only:\n{_only(sql, engine)}"
        return engine


def _only(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    return left.join(right, on=left.columns, how="anti", nulls_equal=True)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory, region) -> Facts:
    folder = tmp_path_factory.mktemp("bundled")
    make(folder / "claims", CLAIMS, SEED)
    return facts_of(folder / "claims", region, folder)


@pytest.fixture(scope="module")
def synthetic(bundled, region, tmp_path_factory) -> Both:
    return Both(bundled, region, tmp_path_factory.mktemp("synthetic") / "db")


@pytest.mark.parametrize("rule_id", QUESTIONS)
def test_the_engine_and_sql_find_the_same_in_a_synthetic_bundle(synthetic, rule_id):
    found = synthetic.agree(rule_id)
    assert found.height or rule_id not in PLANTED


@pytest.mark.parametrize("rule_id", QUESTIONS)
def test_the_engine_and_sql_find_the_same_where_chance_made_the_claims(shaken, rule_id):
    assert shaken.agree(rule_id).height


@pytest.mark.parametrize("rule_id", QUESTIONS)
def test_the_engine_and_sql_find_the_same_in_the_sample_hospital(sample, rule_id):
    assert sample.agree(rule_id).height


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Both:
    source, folder = shared("data", "sample-hospital"), tmp_path_factory.mktemp("sample")
    key = json.loads((source / "key.json").read_text("utf-8"))
    sample_region.write_region(key, folder / "region", rules_folder())
    at = folder / "region"
    region = load_region(str(at / "policy.yaml"), params=at / "params.yaml", knowledge=[at / "knowledge"])
    return Both(facts_of(source, region, folder), region, folder / "db")


# Claims made by chance: few persons, wards and days, items from what the rules name, odd units, half returned. No such
# hospital exists; but every boundary of every rule is met many times.


@pytest.fixture(scope="module")
def shaken(bundled, tmp_path_factory) -> Both:
    folder = tmp_path_factory.mktemp("shaken")
    (folder / "params.yaml").write_text(json.dumps(LOOSE))
    region = load_region(params=folder / "params.yaml")
    rng = np.random.default_rng(SEED)
    claims = shaken_claims(bundled.tables["claims"], rng)
    lines = shaken_lines(bundled.tables["fee_lines"], claims, region.knowledge, rng)
    diagnoses = shaken_diagnoses(bundled.tables["diagnoses"], region.knowledge, rng)
    tables = {"claims": claims, "fee_lines": lines, "diagnoses": diagnoses}
    facts = Facts(bundled.tables | tables, region.knowledge, region.presumptions)
    return Both(facts, region, folder / "db")


def drawn(rng, frame: pl.DataFrame, values: list, dtype=pl.String) -> pl.Series:
    return pl.Series([*values], dtype=dtype).gather(rng.integers(0, len(values), frame.height))


def days(rng, frame: pl.DataFrame, least: int, most: int) -> pl.Expr:
    return pl.duration(hours=pl.Series(rng.integers(least * 24, most * 24 + 1, frame.height)))


WARDS = ["内科", "骨科", "重症医学科", None]


def shaken_claims(claims: pl.DataFrame, rng) -> pl.DataFrame:
    kinds = ["inpatient"] * 6 + ["emergency_inpatient", "day_surgery", "general_outpatient", "chronic_outpatient"] * 2
    number = pl.Series(rng.integers(0, claims.height // 8, claims.height))
    base = pl.lit("2025-03-01 08:00:00").str.to_datetime(time_unit="us")
    made = claims.with_columns(
        fixmedins_code=drawn(rng, claims, ["H1", "H2"]), gend=drawn(rng, claims, ["1", "2", None]),
        psn_no=number.cast(pl.String), _person=(number // 2).cast(pl.String),
        hosp_lv=drawn(rng, claims, ["1", "2", "3"]), visit_kind=drawn(rng, claims, kinds),
        insured_flag=drawn(rng, claims, ["1"] * 9 + ["0"]), dscg_way=drawn(rng, claims, ["1"] * 30 + ["5"]),
        adm_dept_name=drawn(rng, claims, WARDS), begntime=base + days(rng, claims, 0, 60),
        inscp_scp_amt=drawn(rng, claims, [0, 777, 12345, 100001, 33333], pl.Int64),
        fund_pay_sumamt=drawn(rng, claims, [0, 555, 9999, 80000], pl.Int64),
    )  # fmt: skip
    ends = made.with_columns(endtime=pl.col("begntime") + days(rng, claims, 0, 12))
    return ends.with_columns(endtime=pl.when(pl.Series(rng.random(claims.height) > 0.03)).then("endtime"))


def themes(knowledge) -> pl.DataFrame:
    """Items that one rule or another brings together: theme, item."""
    concepts = knowledge["concepts"].select(theme="concept", item="code")
    pairs = knowledge["pairs"].select(theme=pl.format("pairs {}", "rule"), item=pl.concat_list("main", "included"))
    limits = ("sex_limits", "level_limits", "course_limits", "frequency_limits", "panel_tests", "price_caps")
    listed = [knowledge[name].select(theme=pl.lit(name), item="med_list_codg") for name in limits]
    found = pl.concat([concepts, pairs.explode("item"), *listed]).unique(maintain_order=True)
    # fees that go together every day of a stay
    daily = found.filter(pl.col("theme").is_in(["beds", "stay_nursing", "stay_consultation", "intensive_care_bed"]))
    found = pl.concat([found, daily.with_columns(theme=pl.lit("daily"))])
    return found.filter(pl.col("item").str.contains(r"^[0-9A-Z]{10,}"))


def shaken_lines(lines: pl.DataFrame, claims: pl.DataFrame, knowledge, rng) -> pl.DataFrame:
    items = themes(knowledge).group_by("theme", maintain_order=True).agg("item")
    theme = claims.select("setl_id", _begin="begntime", _items=drawn(rng, claims, range(items.height), pl.Int64))
    lines = lines.join(theme, on="setl_id", how="inner", maintain_order="left")
    of_theme = pl.DataFrame({"items": items["item"].gather(lines["_items"]), "n": rng.integers(0, 2**31, lines.height)})
    item = of_theme.select(pl.col("items").list.get(pl.col("n") % pl.col("items").list.len())).to_series()
    cost = pl.Series(rng.integers(1, 99_999, lines.height))
    units = drawn(rng, lines, ["0.5", "1", "1", "1", "2", "3", "10", "26", "0.3333"]).cast(pl.Decimal(16, 4))
    net_cnt = (units * drawn(rng, lines, [0, 1, 2, 2, 2, 2], pl.Int64) / 2).cast(pl.Decimal(16, 4))
    price = drawn(rng, lines, ["8", "15.12", "30.005", "88.88", "300"]).cast(pl.Decimal(16, 6))
    # A session is one unit. Of a line that is partly too much the engine lets nothing count on, which favours the
    # institution; the SQL lets the rest.
    session = item.is_in(knowledge.codes("dialysis_per_session"))
    units, net_cnt = (
        pl.when(session).then(counted.sign()).otherwise(counted).cast(pl.Decimal(16, 4)) for counted in (units, net_cnt)
    )
    return lines.with_columns(
        med_list_codg=item, cnt=units, net_cnt=net_cnt, pric=price,
        det_item_fee_sumamt=cost, inscp_scp_amt=cost * pl.Series(rng.integers(0, 3, lines.height)) // 2,
        fee_ocur_time=pl.col("_begin") + days(rng, lines, -2, 9),
        med_chrgitm_type=drawn(rng, lines, ["04", "05", None]),
        medins_list_name=drawn(rng, lines, ["陪护费", "项目", None]),
        bilg_dept_name=drawn(rng, lines, WARDS), acord_dept_name=drawn(rng, lines, WARDS),
        dscg_tkdrug_flag=drawn(rng, lines, ["1", "0", None]),
    ).drop("_begin", "_items")  # fmt: skip


def shaken_diagnoses(diagnoses: pl.DataFrame, knowledge, rng) -> pl.DataFrame:
    named = knowledge["concepts"].filter(pl.col("concept").str.ends_with("_icd"))["code"].unique().sort()
    return diagnoses.with_columns(diag_code=drawn(rng, diagnoses, ["J18.900", "j20.9", "I10.x00"] * 40 + [*named]))
