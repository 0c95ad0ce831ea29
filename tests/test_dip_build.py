"""A DIP catalogue derived from stays: worked out by hand, stable under order, and grouping what it was made of."""

import json
import re
from datetime import datetime
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grouping import tables_of

import engine.cli.schemebuild  # noqa: F401  registers `scheme build`
from engine.grouping.dip_build import build_catalogue, write_catalogue
from engine.grouping.dip_stability import half_up
from engine.grouping.group import group
from engine.grouping.scheme import load_scheme
from engine.grouping.schemecheck import check_scheme
from engine.reference.places import seeds_folder
from engine.tables.problems import InputProblem, UsageProblem

LIKE = load_scheme(seeds_folder() / "drg" / "dip-demo")


def stays(dx: str, *proc: str, year: int = 2025, costs: list[int], level: str = "3") -> list[dict]:
    """Stays of one kind, one for each cost in fen."""
    when = {"begntime": datetime(year, 3, 1), "endtime": datetime(year, 3, 9), "hosp_lv": level}
    return [{"dx": [dx], "proc": list(proc), **when, "medfee_sumamt": cost} for cost in costs]


def build(*kinds: list[dict], **options):
    tables = tables_of(*(stay for kind in kinds for stay in kind))
    return build_catalogue(*tables, LIKE, "ours", **{"threshold": 2, **options})


def rows(catalogue) -> dict[str, dict]:
    return {row["group"]: row for row in catalogue.tables["dip"].iter_rows(named=True)}


def table(catalogue) -> dict[str, dict]:
    return {row["group"]: row for row in catalogue.stability.iter_rows(named=True)}


def test_weights_are_the_weighted_means_of_years_over_the_overall_mean_worked_by_hand():
    """1:2:7. K35.8 operated: (1 x 100 + 2 x 200 + 7 x 300) / 10 = 260. J18.9: (100 + 2 x 100 + 7 x 100) / 10 = 100.

    Overall: 2023: 100; 2024: (2 x 200 + 2 x 100) / 4 = 150; 2025: (2 x 300 + 2 x 100) / 4 = 200, so
    (100 + 300 + 1400) / 10 = 180. RW = 260 / 180 = 1.4444…, 100 / 180 = 0.5555…
    """
    kinds = [stays("K35.800", "47.0901", year=y, costs=[c, c]) for y, c in ((2023, 100), (2024, 200), (2025, 300))]
    kinds += [stays("J18.900", year=year, costs=[90, 110]) for year in (2023, 2024, 2025)]
    made = build(*kinds)
    weights = {group: (row["weight"], row["mean_cost_fen"], row["cases"]) for group, row in rows(made).items()}
    assert weights == {"K35.8:47.09": ("1.44444444", "260", "2"), "J18.9:0": ("0.55555556", "100", "2")}
    assert made.summary["years"] == {"2023": 1, "2024": 2, "2025": 7}
    told = table(made)["K35.8:47.09"]
    # by year alone: 300 / 200 and 200 / 150
    assert (told["weight_newest"], told["weight_before"], told["change"]) == ("1.50000000", "1.33333333", "0.1250")


def test_a_missing_year_keeps_its_weight_unused_and_older_years_are_left_out():
    kinds = [stays("K35.800", year=y, costs=[c, c]) for y, c in ((2022, 9), (2023, 100), (2025, 300))]
    made = build(*kinds)
    assert made.summary["years"] == {"2023": 1, "2025": 7}
    assert made.summary["left_out"]["year"] == 2
    # (1 x 100 + 7 x 300) / 8 = 275
    assert rows(made)["K35.8:0"]["mean_cost_fen"] == "275"
    one_year = build(kinds[-1])
    assert one_year.summary["years"] == {"2025": 7}
    assert table(one_year)["K35.8:0"]["change"] == ""


def test_cases_are_counted_weighted_by_year_against_the_threshold():
    """Ten cases in the oldest year are (1 x 10) / 10 = 1; two in the newest (7 x 2) / 10 = 1.4, three 2.1."""
    filler = [stays("J18.900", year=year, costs=[100] * 5) for year in (2023, 2024, 2025)]
    old, two = stays("K35.800", year=2023, costs=[100] * 10), stays("K80.100", costs=[100, 100])
    made = build(*filler, old, two, stays("I20.000", costs=[100] * 3))
    assert [group for group, row in rows(made).items() if row["kind"] == "core"] == ["I20.0:0", "J18.9:0"]


def test_what_makes_no_core_group_goes_to_its_category_else_to_its_chapter():
    made = build(
        stays("J18.900", costs=[100] * 4),
        stays("K35.200", "47.0901", costs=[300]),
        stays("K35.300", "47.0901", costs=[500]),
        stays("K80.100", "51.2300", costs=[900]),
        stays("K80.200", "45.1300", costs=[700]),
        stays("C34.900", costs=[800]),
    )
    kinds = {group: (row["kind"], row["dx"], row["class"]) for group, row in rows(made).items()}
    assert kinds == {
        "J18.9:0": ("core", "J18.9", ""),
        "K35:R3": ("residual", "K35%", "surgery"),
        "C00-D48:R0": ("residual", "C00-D48", "conservative"),
        "K00-K93:R1": ("residual", "K00-K93", "diagnostic"),
        "K00-K93:R3": ("residual", "K00-K93", "surgery"),
    }
    assert rows(made)["K35:R3"]["mean_cost_fen"] == "400"
    assert made.summary["core_share"] == "0.4444"  # 4 of 9


def test_a_stay_with_more_procedures_than_a_core_group_goes_there_but_does_not_weigh_it(tmp_path):
    made = build(
        stays("K35.800", "47.0901", costs=[300, 300]),
        stays("K35.800", "47.0901", "54.5900", costs=[900]),
        stays("J18.900", costs=[100] * 4),
    )
    told = table(made)["K35.8:47.09"]
    assert (told["cases"], told["sent"], rows(made)["K35.8:47.09"]["mean_cost_fen"]) == ("2", "3", "300")
    assert made.tables["means"].filter(pl.col("group") == "K35.8:47.09")["mean_cost_fen"].to_list() == ["500"]


def test_spread_is_told_by_three_exact_measures():
    """Costs 100, 200, 300, 400, 1000: mean 400, deviation 316.2…; quartiles 200 and 400."""
    told = table(build(stays("J18.900", costs=[100, 1000, 300, 200, 400])))["J18.9:0"]
    assert (told["cv"], told["qcd"], told["rse"]) == ("0.7905", "0.3333", "0.3535")
    alone = table(build(stays("J18.900", costs=[7, 7])))["J18.9:0"]
    assert (alone["cv"], alone["qcd"], alone["rse"]) == ("0.0000", "0.0000", "0.0000")


def test_groups_that_hang_on_one_year_are_named():
    """K35.8 is core by the newest year alone; K80.1 would be core without 2025: (2 x 7 + 1 x 7) / 3 = 7."""
    years = (2023, 2024, 2025)
    filler = [stays("J18.900", year=year, costs=[100] * 9) for year in years]
    young = stays("K35.800", costs=[100] * 9)
    old = [stays("K80.100", year=year, costs=[100] * 7) for year in years[:2]]
    made = build(*filler, young, *old, threshold=5)
    flips = {group: (row["kind"], row["flips_without"]) for group, row in table(made).items() if row["flips_without"]}
    assert flips == {"K35.8:0": ("core", "2025"), "K80.1:0": ("candidate", "2025")}
    assert made.summary["core_groups_lost_without_a_year"] == 1
    assert made.summary["core_groups_gained_without_a_year"] == 1


def test_what_cannot_be_used_is_left_out_and_counted():
    made = build(
        stays("J18.900", costs=[100, 100, 0, -5]),
        stays("", costs=[100]),
        stays("无编码", costs=[100]),
        stays("J18.900", "手术", costs=[100]),
    )
    assert made.summary["left_out"] == {"diagnosis": 2, "procedure": 1, "cost": 2, "year": 0}
    assert made.summary["cases"] == 2
    with pytest.raises(InputProblem, match="no stays"):
        build(stays("J18.900", costs=[0]))
    with pytest.raises(UsageProblem):
        build(stays("J18.900", costs=[5]), weights=(1, 0))


def test_half_is_rounded_away_from_zero():
    cases = [
        (Fraction(1, 8), 2, "0.13"),
        (Fraction(-1, 8), 2, "-0.13"),
        (Fraction(5, 2), 0, "3"),
        (Fraction(0), 4, "0.0000"),
        (Fraction(-1, 10**9), 4, "0.0000"),
        (Fraction(2, 3), 8, "0.66666667"),
    ]
    assert [half_up(value, digits) for value, digits, _ in cases] == [text for *_, text in cases]


DX = ["K35.800", "K35.801", "K35.900", "K80.100", "I20.000", "C34.900", "J18.900", "ZZZ"]
PROC = ["47.0900", "47.0901", "54.5900", "45.1300", "38.9300", "36.0700", "88.5600", "89.0300"]
STAYS = st.fixed_dictionaries(
    {
        "endtime": st.sampled_from([datetime(year, 5, 1) for year in (2022, 2023, 2024, 2025)]),
        "hosp_lv": st.sampled_from(["2", "3", None]),
        "medfee_sumamt": st.integers(0, 10**9),
        "dx": st.lists(st.sampled_from(DX), min_size=1, max_size=3),
        "proc": st.lists(st.sampled_from(PROC), max_size=3),
    }
)
USABLE = st.lists(STAYS, min_size=3, max_size=40).filter(
    lambda stays: any(
        stay["medfee_sumamt"] and stay["dx"][0] != "ZZZ" and stay["endtime"].year == 2025 for stay in stays
    )
)


@settings(max_examples=30, deadline=None)
@given(USABLE, st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter_down_to_the_bytes(tmp_path_factory, stays, seed):
    tables, order = tables_of(*stays), np.random.default_rng(seed)
    folders = [tmp_path_factory.mktemp("order") / "made" for _ in range(2)]
    shuffled = [frame[order.permutation(len(frame))] for frame in tables]
    for folder, frames in zip(folders, (tables, shuffled), strict=True):
        write_catalogue(build_catalogue(*frames, LIKE, "ours", 2), folder)
    texts = [{path.name: path.read_bytes() for path in sorted(folder.iterdir())} for folder in folders]
    assert texts[0] == texts[1]


@settings(max_examples=30, deadline=None)
@given(USABLE)
def test_a_built_catalogue_loads_and_groups_the_stays_it_was_built_from_as_it_says(tmp_path_factory, stays):
    folder, tables = tmp_path_factory.mktemp("trip") / "made", tables_of(*stays)
    made = build_catalogue(*tables, LIKE, "ours", 2)
    write_catalogue(made, folder)
    assert check_scheme(folder) == []
    result = group(*tables, load_scheme(folder))
    used = [stay["medfee_sumamt"] > 0 and stay["dx"][0] != "ZZZ" and stay["endtime"].year > 2022 for stay in stays]
    mine = result.filter(pl.Series(used))
    assert mine["status"].to_list() == ["grouped"] * made.summary["cases"]
    counted = {
        row["group"]: int(row["sent"]) for row in made.stability.iter_rows(named=True) if row["kind"] != "candidate"
    }
    assert {key: n for key, n in counted.items() if n} == dict(mine["drg"].value_counts().iter_rows())
    weights = {row["group"]: row["weight"] for row in made.tables["dip"].iter_rows(named=True)}
    assert all(f"{weight:.8f}" == weights[drg] for drg, weight in mine.select("drg", "weight").iter_rows())


# The command line


@pytest.fixture(scope="module")
def claims_of_two_years(tmp_path_factory):
    """Two synthetic extracts, the second moved a year back with claim numbers of its own."""
    from synthetic.make import make

    folders = [tmp_path_factory.mktemp("years") / year for year in ("newest", "before")]
    for seed, folder in enumerate(folders, 1):
        make(folder, 1500, seed)
    for name in ("claims", "diagnoses", "procedures", "fee_lines"):
        path = folders[1] / f"{name}.csv"
        text = re.sub(r"\bS(?=\d{6})", "T", path.read_text("utf-8"))
        path.write_text(text.replace("2025-", "2024-"), "utf-8")
    return folders


def test_a_catalogue_is_built_from_claims_on_the_command_line_and_groups_them(claims_of_two_years, tmp_path, run):
    out = tmp_path / "ours"
    said = run("scheme", "build", *claims_of_two_years, "--out", out, "--threshold", "10")
    assert said.code == 0, said.err
    for words in ("核心病种 core", "2024 × 2，2025 × 7", "flip", "QCD"):
        assert words in said.out
    names = ["dip.csv", "means.csv", "procedures.csv", "scheme.yaml", "stability.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    for number, source in enumerate(claims_of_two_years):
        said = run("group", source, "--out", tmp_path / f"{number}.parquet", "--scheme", out)
        assert said.code == 0, said.err
        result = pl.read_parquet(tmp_path / f"{number}.parquet")
        assert result["scheme"].unique().to_list() == ["ours"]
        assert (result["status"] == "grouped").mean() > 0.99


def test_the_same_claims_give_the_same_bytes_and_json_tells_the_figures(claims_of_two_years, tmp_path, run):
    answers = []
    for number, sources in enumerate((claims_of_two_years, claims_of_two_years[::-1])):
        said = run("scheme", "build", *sources, "--out", tmp_path / str(number), "--name", "x", "--json")
        assert said.code == 0, said.err
        answers.append((json.loads(said.out), {p.name: p.read_bytes() for p in (tmp_path / str(number)).iterdir()}))
    assert answers[0] == answers[1]
    told = answers[0][0]
    assert told["years"] == {"2024": 2, "2025": 7}
    assert told["core_groups"] == sum(row["kind"] == "core" for row in told["groups"])
    assert 0 < float(told["core_share"]) <= 1


def test_mistakes_of_the_command_end_in_one_message(claims_of_two_years, tmp_path, run):
    source, full = claims_of_two_years[0], tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    for arguments, code, words in (
        ((source, "--out", full), 2, "not empty"),
        ((source, "--out", tmp_path / "a", "--weights", "1:x"), 2, "1:2:7"),
        ((source, "--out", tmp_path / "a", "--weights", "1:0"), 2, "1:2:7"),
        ((source, "--out", tmp_path / "a", "--like", "chs-drg-starter"), 2, "dip-demo"),
        ((source, source, "--out", tmp_path / "a"), 3, "the same claim"),
        ((tmp_path / "nowhere", "--out", tmp_path / "a"), 2, "nowhere"),
        ((source / "persons.csv", "--out", tmp_path / "a"), 3, "claims"),
    ):
        said = run("scheme", "build", *arguments)
        assert (said.code, words in said.err + said.out) == (code, True), said.err + said.out
    assert not (tmp_path / "a").exists()
