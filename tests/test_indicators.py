"""Indicators of grouped stays: worked by hand, by properties, against SQL, and from the command line."""

import json
import math
import statistics
from datetime import datetime
from decimal import Decimal
from random import Random

import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grouping import frame

import synthetic.cli  # noqa: F401  registers every command
from engine.grouping.indicators import STAY, Bounds, benchmark_of, indicators, stays_of
from engine.run.groupings import groupings

DONE, USAGE, INPUT = 0, 2, 3
WEIGHTS = {"XA11": Decimal("1"), "YB15": Decimal("2.5"), "YB19": None}


def stays(*rows: tuple) -> pl.DataFrame:
    """Stays given as (institution, department, DRG or None, yuan, days, died)."""
    made = [
        {"setl_id": str(number), "fixmedins_code": site, "department": ward, "mdc": drg and f"MDC{drg[0]}", "drg": drg,
         "status": "grouped" if drg else "ungrouped", "weight": WEIGHTS.get(drg), "days": days, "died": died,
         "fee_fen": None if yuan is None else int(Decimal(yuan) * 100)}
        for number, (site, ward, drg, yuan, days, died) in enumerate(rows)
    ]  # fmt: skip
    return pl.DataFrame(made, schema=STAY)


WORKED = stays(
    ("A", "内科", "XA11", 1000, 4, False),
    ("A", "内科", "XA11", 1400, 6, False),
    ("A", "外科", "YB15", 9000, 10, False),
    ("A", "外科", None, 500, 2, False),
    ("B", "内科", "XA11", 3600, 5, False),
    ("B", "外科", "YB15", 3000, 20, True),
    ("B", "外科", "YB15", 6000, 10, False),
)


def of(table: pl.DataFrame, *keys: str) -> dict:
    return table.row(by_predicate=pl.all_horizontal(pl.nth(n) == key for n, key in enumerate(keys)), named=True)


def test_worked_by_hand():
    # Region: XA11 three stays of 6,000 yuan, mean 2,000, 15 days, mean 5; YB15 three of 18,000, mean 6,000, 40 days.
    tables = indicators(WORKED)
    a, b = of(tables["institutions"], "A"), of(tables["institutions"], "B")
    assert [a[c] for c in ("stays", "grouped", "ungrouped", "groups", "deaths")] == [4, 3, 1, 2, 0]
    assert (a["grouped_pct"], a["ungrouped_pct"]) == (Decimal("75.00"), Decimal("25.00"))
    # CMI: (1 + 1 + 2.5) / 3 and (1 + 2.5 + 2.5) / 3
    assert (a["total_weight"], a["cmi"], b["cmi"]) == (Decimal("4.5"), Decimal("1.5000"), Decimal("2.0000"))
    # Cost: A (2 × 1,200 / 2,000 + 1 × 9,000 / 6,000) / 3 = 2.7 / 3; B (1 × 3,600 / 2,000 + 2 × 4,500 / 6,000) / 3
    assert (a["cost_index"], b["cost_index"]) == (Decimal("0.9000"), Decimal("1.1000"))
    # Days: A (2 × 5 / 5 + 1 × 10 / (40 / 3)) / 3 = 2.75 / 3; B (1 × 5 / 5 + 2 × 15 / (40 / 3)) / 3 = 3.25 / 3
    assert (a["time_index"], b["time_index"]) == (Decimal("0.9167"), Decimal("1.0833"))
    # Means are of all stays, the ungrouped one too: 11,900 yuan and 22 days of four
    assert (a["mean_fee_fen"], a["mean_days"]) == (297_500, Decimal("5.50"))
    region = tables["regions"].row(0, named=True)
    assert [region[c] for c in ("cmi", "cost_index", "time_index")] == [Decimal("1.75"), Decimal(1), Decimal(1)]
    surgery = of(tables["departments"], "A", "外科")
    assert (surgery["stays"], surgery["cost_index"]) == (2, Decimal("1.5000"))
    mix = of(tables["mdcs"], "A", "MDCX")
    assert (mix["stays"], mix["percent"], mix["cmi"]) == (2, Decimal("66.67"), Decimal("1.0000"))


def test_outliers_lie_beyond_a_bound_and_not_on_it():
    # 1.5 times the mean is 3,000 for XA11 and 9,000 for YB15: only B's 3,600; half of it is 1,000 and 3,000.
    at, beyond = (indicators(WORKED, bounds=Bounds(low, ((None, 150),)))["regions"].row(0, named=True)
                  for low in (50, 51))  # fmt: skip
    assert (at["compared"], at["high"], at["low"], at["high_pct"]) == (6, 1, 0, Decimal("16.67"))
    assert (beyond["high"], beyond["low"]) == (1, 2)


@pytest.mark.parametrize(("drg", "mean", "found"), [("XA11", 1000, 1), ("YB15", 1000, 2), ("YB19", 1000, 2)])
def test_the_bound_goes_by_weight_or_where_there_is_none_by_relative_cost(drg, mean, found):
    """Ten stays: eight at 700, one 2,100 and one 2,300 (sum 10,000, mean 1,000): beyond 2 times, not beyond 3.

    YB19 has no weight; its mean is 1,000 where that of all stays is 500, twice it, so that 2.5 times is the bound.
    """
    rows = [("A", "", drg, 700, 5, False)] * 8 + [("A", "", drg, 2_100, 5, False), ("A", "", drg, 2_300, 5, False)]
    bounds = Bounds(40, ((Decimal(1), 220), (Decimal(2), 205), (None, 200)))
    cheap = [("A", "", "XA11" if drg != "XA11" else "YB15", 0, 5, False)] * 10
    assert of(indicators(stays(*rows, *cheap), bounds=bounds)["institutions"], "A")["high"] == found


def test_risk_of_death_is_classed_by_the_logarithm_of_the_rate():
    """Of five DRGs with deaths the classes are those of plain floats; a DRG without a death has none."""
    deaths = {"XA11": 1, "XB11": 2, "XC11": 4, "XD11": 30, "XE11": 90, "XF11": 0}
    rows = [("A", "", drg, 100, 5, n < died) for drg, died in deaths.items() for n in range(100)]
    tables = indicators(stays(*rows))
    logs = {drg: math.log(died / 100) for drg, died in deaths.items() if died}
    mean, deviation = statistics.fmean(logs.values()), statistics.pstdev(logs.values())
    names = ("low", "middle_low", "middle_high", "high")
    expected = {drg: names[sum(log >= mean + n * deviation for n in (-1, 0, 1))] for drg, log in logs.items()}
    assert set(expected.values()) == set(names)
    assert dict(tables["drgs"].select("drg", "risk").iter_rows()) == {**expected, "XF11": None}
    region = tables["regions"].row(0, named=True)
    assert (region["low_risk_stays"], region["low_risk_deaths"], region["low_risk_death_pct"]) == (100, 1, Decimal(1))
    assert region["middle_low_risk_death_pct"] == Decimal("3.00")


@pytest.mark.parametrize("rates", [(), (5,), (5, 5, 5)])
def test_without_two_rates_that_differ_there_is_no_class(rates):
    rows = [("A", "", f"X{n}11", 100, 5, stay < died) for n, died in enumerate(rates) for stay in range(20)]
    tables = indicators(stays(*rows, ("A", "", "XA11", 1, 1, False)))
    assert tables["drgs"]["risk"].null_count() == tables["drgs"].height
    assert tables["regions"]["low_risk_death_pct"][0] is None


def test_two_rates_lie_on_the_bounds_and_not_below_them():
    rows = [("A", "", f"X{n}11", 100, 5, stay < died) for n, died in enumerate((1, 7)) for stay in range(20)]
    assert indicators(stays(*rows))["drgs"]["risk"].to_list() == ["middle_low", "high"]


def test_what_is_missing_counts_in_no_mean():
    rows = stays(("A", "", "XA11", 1000, 4, False), ("A", "", "XA11", None, None, False))
    a = of(indicators(rows)["institutions"], "A")
    assert (a["mean_fee_fen"], a["mean_days"], a["costed"], a["stayed"]) == (100_000, Decimal(4), 1, 1)
    assert (a["cost_index"], a["compared"]) == (Decimal(1), 1)


def test_no_stays_and_stays_without_a_group_are_no_mistake():
    nothing = indicators(stays())
    assert {name: table.height for name, table in nothing.items()} == dict.fromkeys(nothing, 0)
    a = of(indicators(stays(("A", "", None, 0, 0, False)))["institutions"], "A")
    assert [a[c] for c in ("groups", "cmi", "cost_index", "time_index", "high_pct")] == [0, None, None, None, None]


def test_a_hospital_is_measured_by_the_means_of_its_region():
    """A alone against the means of both hospitals is what it is among them; a DRG unknown there counts in neither."""
    region = benchmark_of(WORKED)
    own = WORKED.filter(pl.col("fixmedins_code") == "A")
    among, alone = indicators(WORKED)["institutions"], indicators(own, region)["institutions"]
    assert of(alone, "A") == of(among, "A")
    more = pl.concat([own, stays(("A", "内科", "YB19", 7_000, 3, False))])
    assert of(indicators(more, region)["institutions"], "A")["cost_index"] == Decimal("0.9000")


def test_stays_come_from_claims_and_grouping():
    claims = frame("claims", [
        {"setl_id": "1", "fixmedins_code": "A", "medfee_sumamt": 10, "begntime": datetime(2026, 3, 1, 8),
         "endtime": datetime(2026, 3, 1, 20), "dscg_way": "5", "dscg_dept_name": "内科", "dscg_dept_codg": "03"},
        {"setl_id": "2", "fixmedins_code": "A", "medfee_sumamt": 20, "begntime": datetime(2026, 3, 1, 8),
         "endtime": datetime(2026, 3, 4, 7), "adm_dept_codg": "04"},
        {"setl_id": "3", "fixmedins_code": "A", "act_ipt_days": 9, "begntime": datetime(2026, 3, 1, 8)},
        {"setl_id": "outpatient", "fixmedins_code": "A", "medfee_sumamt": 5},
    ])  # fmt: skip
    grouping = pl.DataFrame(
        [("3", None, None, None, "invalid"), ("2", "MDCX", "XQY", None, "ambiguous"),
         ("1", "MDCX", "XA11", Decimal(1), "grouped")],
        schema={"setl_id": pl.String, "mdc": pl.String, "drg": pl.String, "weight": pl.Decimal(12, 8),
                "status": pl.String}, orient="row",
    )  # fmt: skip
    made = stays_of(claims, grouping).sort("setl_id")
    assert made["days"].to_list() == [1, 3, 9]
    assert made["department"].to_list() == ["内科", "04", ""]
    assert made["drg"].to_list() == ["XA11", None, None]
    assert made["died"].to_list() == [True, False, False]
    assert made["fee_fen"].to_list() == [10, 20, None]


# properties

ROW = st.tuples(
    st.sampled_from("AB"),
    st.sampled_from(["内科", "外科"]),
    st.sampled_from([*WEIGHTS, None]),
    st.one_of(st.none(), st.integers(0, 10**9)),
    st.one_of(st.none(), st.integers(0, 400)),
    st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=40), st.randoms())
def test_the_region_is_its_own_measure_and_order_decides_nothing(rows, random):
    made = stays(*rows)
    tables = indicators(made)
    region = tables["regions"].row(0, named=True)
    assert region["cost_index"] in (None, Decimal(1))
    assert region["time_index"] in (None, Decimal(1))
    assert (region["cost_index"] is None) == (made.filter(pl.col("drg").is_not_null())["fee_fen"].sum() == 0)
    # the whole is the sum of its parts, and its CMI their weighted mean
    for level in ("institutions", "departments"):
        for column in ("stays", "grouped", "weighted", "total_weight", "fee_fen", "days", "deaths", "high", "low"):
            assert tables[level][column].sum() == region[column], column
    if region["weighted"]:
        exact = Decimal(region["total_weight"]) / region["weighted"]
        assert abs(exact - region["cmi"]) <= Decimal("0.00005")
    shuffled = list(range(made.height))
    random.shuffle(shuffled)
    again = indicators(made[shuffled])
    assert all(table.equals(again[name]) for name, table in tables.items())


@settings(deadline=None, max_examples=30)
@given(st.lists(ROW, min_size=1, max_size=25), st.integers(2, 5))
def test_stays_told_several_times_change_counts_and_no_ratio(rows, times):
    once, often = indicators(stays(*rows)), indicators(stays(*rows * times))
    ratios = [c for c in once["institutions"].columns if c.endswith(("_pct", "_index", "cmi", "mean_days"))]
    assert once["institutions"].select(ratios).equals(often["institutions"].select(ratios))
    assert (once["institutions"]["stays"] * times).to_list() == often["institutions"]["stays"].to_list()


# against SQL

SQL = """
WITH k AS (
  SELECT drg, avg(fee_fen) AS fee, avg(days) AS days FROM stays WHERE drg IS NOT NULL GROUP BY drg),
own AS (
  SELECT {keys}, drg, count(fee_fen) AS n, avg(fee_fen) AS fee, count(days) AS m, avg(days) AS days
  FROM stays WHERE drg IS NOT NULL GROUP BY ALL),
indices AS (
  SELECT {keys},
    sum(own.n * own.fee / k.fee) FILTER (k.fee > 0) / nullif(sum(own.n) FILTER (k.fee > 0), 0) AS cost_index,
    sum(own.m * own.days / k.days) FILTER (k.days > 0) / nullif(sum(own.m) FILTER (k.days > 0), 0) AS time_index
  FROM own JOIN k USING (drg) GROUP BY ALL)
SELECT {keys}, count(*) AS stays, count(DISTINCT drg) AS groups, avg(weight::DOUBLE) AS cmi,
  any_value(cost_index) AS cost_index, any_value(time_index) AS time_index, avg(s.fee_fen) AS mean_fee_fen,
  avg(s.days) AS mean_days, 100.0 * count(*) FILTER (status = 'grouped') / count(*) AS grouped_pct,
  count(*) FILTER (s.fee_fen > 2 * k.fee AND k.fee > 0) AS high,
  count(*) FILTER (s.fee_fen < 0.4 * k.fee AND k.fee > 0) AS low
FROM stays s LEFT JOIN k USING (drg) LEFT JOIN indices USING ({keys}) GROUP BY {keys} ORDER BY {keys}
"""


@pytest.mark.parametrize("level", ["institutions", "departments"])
def test_sql_reckons_the_same(level, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: install yibao[test]")
    random = Random(7)
    drgs = [f"{mdc}{n}1{s}" for mdc in "ABC" for n in range(3) for s in "15"]
    rows = [
        (random.choice("PQRS"), random.choice(["内科", "外科"]), random.choice([*drgs, None]),
         random.choice([None, random.randrange(100, 60_000), random.randrange(100, 9_000)]),
         random.choice([None, random.randrange(1, 60)]), random.random() < 0.1)
        for _ in range(2_000)
    ]  # fmt: skip
    weights = {drg: Decimal(random.randrange(20, 500)) / 100 for drg in drgs}
    made = stays(*rows).with_columns(weight=pl.col("drg").replace_strict(weights, return_dtype=STAY["weight"]))
    keys = {"institutions": "fixmedins_code", "departments": "fixmedins_code, department"}[level]
    made.write_parquet(tmp_path / "stays.parquet")
    with duckdb.connect() as db:
        db.execute(f"CREATE VIEW stays AS FROM '{tmp_path / 'stays.parquet'}'")
        told = db.execute(SQL.format(keys=keys)).fetchall()
        names = [column[0] for column in db.description]
    own = indicators(made, bounds=Bounds(40, ((None, 200),)))[level].select(names).rows()
    assert len(own) == len(told) > 3
    places = {"cmi": 4, "cost_index": 4, "time_index": 4, "mean_days": 2, "grouped_pct": 2, "mean_fee_fen": 0}
    for mine, sql in zip(own, told, strict=True):
        for name, left, right in zip(names, mine, sql, strict=True):
            if name in places:
                assert abs(float(left) - right) <= 0.500001 * 10 ** -places[name], (name, left, right)
            else:
                assert left == right, name


# the command line


def test_indicators_of_an_extract(run, bundle, tmp_path):
    said = run("--lang", "en", "indicators", bundle, "--out", tmp_path / "out", "--json")
    assert said.code == DONE, said.err
    told = json.loads(said.out)
    region = told["regions"][0]
    assert (region["cost_index"], region["time_index"]) == ("1.0000", "1.0000")
    assert sum(row["stays"] for row in told["institutions"]) == region["stays"] > 10
    names = ["departments.csv", "drgs.csv", "indicators.xlsx", "institutions.csv", "mdcs.csv", "regions.csv"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    book = openpyxl.load_workbook(tmp_path / "out" / "indicators.xlsx")
    assert [book.sheetnames[0], len(book.sheetnames)] == ["说明", 6]
    assert book["institutions"].max_row == len(told["institutions"]) + 1


def test_a_hospital_is_measured_by_a_file_of_means(run, bundle, tmp_path):
    run("indicators", bundle, "--out", tmp_path / "region")
    means = tmp_path / "region" / "drgs.csv"
    doubled = pl.read_csv(means).with_columns(pl.col("fee_fen") * 2)
    doubled.write_csv(tmp_path / "doubled.csv")
    same, half = (json.loads(run("indicators", bundle, "--benchmark", path, "--json").out)["regions"][0]
                  for path in (means, tmp_path / "doubled.csv"))  # fmt: skip
    assert (same["cost_index"], half["cost_index"], half["time_index"]) == ("1.0000", "0.5000", "1.0000")


def test_the_tables_speak_both_languages(run, bundle, tmp_path):
    chinese, english = (run("--lang", lang, "indicators", bundle) for lang in ("zh", "en"))
    assert (chinese.code, english.code) == (DONE, DONE)
    assert "费用" in chinese.out
    assert "费用" not in english.out


@pytest.mark.parametrize(
    ("option", "value"), [("--low", "x"), ("--low", "0"), ("--high", "1:"), ("--high", "2:3,1:2,2"), ("--low", "0.001")]
)
def test_a_bound_that_is_none_is_a_mistake_of_use(run, bundle, option, value):
    said = run("indicators", bundle, option, value)
    assert (said.code, option in said.err) == (USAGE, True)


def test_what_cannot_be_used_is_refused(run, bundle, tmp_path):
    (tmp_path / "means.csv").write_text("drg,stays\nXA11,3\n", "utf-8")
    said = run("indicators", bundle, "--benchmark", tmp_path / "means.csv")
    assert (said.code, "costed" in said.err) == (INPUT, True)
    assert run("indicators", bundle, "--benchmark", tmp_path / "nowhere.csv").code in (USAGE, INPUT)
    assert run("indicators", tmp_path / "nowhere").code == USAGE


def test_a_department_that_looks_like_a_formula_is_written_as_text(tmp_path):
    from engine.cli.indicators import _write

    made = indicators(stays(("A", "=1+1", "XA11", 100, 1, False)))
    _write(made, tmp_path, Bounds(), "方案")
    assert "'=1+1" in (tmp_path / "departments.csv").read_text("utf-8")


def test_stays_are_those_of_a_run_less_what_was_taken_back(bundle, finished, region):
    claims, (grouping,) = groupings(bundle, [region.scheme], region)
    whole = pl.read_parquet(finished / "grouping.parquet")
    assert claims["setl_id"].equals(grouping["setl_id"])
    assert grouping.select("setl_id", "drg").equals(
        whole.join(claims, on="setl_id", how="semi", maintain_order="left").select("setl_id", "drg")
    )
    gone = whole.join(claims, on="setl_id", how="anti")["setl_id"]
    refunds = pl.read_csv(bundle / "claims.csv", infer_schema=False)
    named = refunds.filter(pl.col("refd_setl_flag") == "1")["init_setl_id"]
    assert set(gone) <= set(named)
