"""DIP: hand-worked groups and coefficients of a miniature catalogue, a naive second grouper, damaged catalogues."""

import csv
import io
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_dip import TABLES, write_dip
from test_grouping import one, tables_of

import engine.cli.scheme  # noqa: F401  registers the commands
from engine.grouping.dip_deviation import Bands, deviation, group_means, with_means
from engine.grouping.group import group
from engine.grouping.scheme import load_scheme
from engine.grouping.schemecheck import check_scheme
from engine.reference.places import seeds_folder
from engine.tables.outputs import outputs
from engine.tables.problems import InputProblem, Problem, RuleProblem

DEMO = seeds_folder() / "drg" / "dip-demo"


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return load_scheme(write_dip(tmp_path_factory.mktemp("mini-dip")))


HAND_WORKED = [
    # no procedure: the conservative core group
    ("K0", {"dx": ["K35.800"]}),
    # a procedure of class none is no treatment
    ("K0", {"dx": ["K35.801"], "proc": ["89.0300"]}),
    # the set of one, of two; the largest set that fits wins, whatever the order and the extension
    ("K1", {"dx": ["K35.800"], "proc": ["47.0901"]}),
    ("K2", {"dx": ["K35.800"], "proc": ["54.5900", "47.0902"]}),
    # a further procedure does not matter, nor does the same one twice
    ("K2", {"dx": ["K35.800"], "proc": ["88.7600", "47.0900", "54.5901", "54.5902"]}),
    ("K1", {"dx": ["K35.800"], "proc": ["47.0900", "47.0901"]}),
    # one procedure each, so the higher weight: stent and balloon weigh the same, so the lower code
    ("I1", {"dx": ["I20.000"], "proc": ["00.6600", "36.0700"]}),
    ("I2", {"dx": ["I20.000"], "proc": ["88.5600", "00.6600"]}),
    # a procedure that fits no core group: the residual group of the longest prefix, then of the category
    ("K8R3", {"dx": ["K35.800"], "proc": ["54.1100"]}),
    ("KR3", {"dx": ["K35.900"], "proc": ["47.0900"]}),
    # no residual of the category in that class: the range of the chapter
    ("DR1", {"dx": ["K35.800"], "proc": ["54.2100"]}),
    ("DR2", {"dx": ["K35.800"], "proc": ["54.2100", "54.91"]}),
    # the longest entry of procedures.csv decides the class; an exact entry is no prefix
    ("DR3", {"dx": ["K80.100"], "proc": ["54.9101"]}),
    ("DR2", {"dx": ["K80.100"], "proc": ["54.91"]}),
    # the highest class counts
    ("DR3", {"dx": ["K80.100"], "proc": ["54.2100", "47.0900"]}),
    ("DR0", {"dx": ["K93.100"]}),
    ("CR0", {"dx": ["I20.000"]}),
    # no residual group for this class or chapter
    ("0000", {"dx": ["I21.000"], "proc": ["36.0700"]}),
    ("0000", {"dx": ["L00.x00"]}),
    # a procedure without a class: nothing says what treatment it was, unless there was surgery as well
    ("0000", {"dx": ["K80.100"], "proc": ["99.9999"]}),
    ("DR3", {"dx": ["K80.100"], "proc": ["99.9999", "47.0900"]}),
    ("K1", {"dx": ["K35.800"], "proc": ["99.9999", "47.0900"]}),
    # only the principal diagnosis counts
    ("CR0", {"dx": ["I21.000", "K35.800"]}),
]


@pytest.mark.parametrize(("drg", "stay"), HAND_WORKED)
def test_each_kind_of_stay_groups_as_worked_out_by_hand(mini, drg, stay):
    assert one(mini, **stay)["drg"] == drg


def test_the_result_has_the_columns_and_types_of_grouping_parquet(mini):
    result = group(*tables_of({"dx": ["K35.800"]}, {"dx": ["L00.x00"]}, {"dx": []}), mini)
    assert dict(result.schema) == dict(outputs()["grouping"])
    columns = ("scheme", "mdc", "adrg", "drg", "weight", "status")
    assert result.select(columns).rows() == [
        ("mini-dip", None, "K35", "K0", Decimal("0.50000000"), "grouped"),
        ("mini-dip", None, "00", "0000", None, "ungrouped"),
        ("mini-dip", None, None, None, None, "invalid"),
    ]


COEFFICIENTS = [
    # CLAIM of the tests is 50 years old, leaves alive and stays 8 days
    ("0.90000000", {}),
    # age: bounds are inclusive
    ("0.92997000", {"age": 18}),  # 0.9 x 1.0333
    ("0.90000000", {"age": 19}),
    ("0.90000000", {"age": 64}),
    ("0.94500000", {"age": 65}),  # 0.9 x 1.05
    # died: within three days, later
    ("0.81000000", {"dscg_way": "5", "act_ipt_days": 3}),  # x 0.9
    ("1.08000000", {"dscg_way": "5", "act_ipt_days": 4}),  # x 1.2
    # severity: the first row that holds; MCC needs five days, else it is moderate; dated to the end of June
    ("1.03500000", {"dscg_way": "1", "dx": ["K35.800", "J96.000"]}),  # x 1.15
    ("0.94500000", {"dscg_way": "1", "dx": ["K35.800", "J96.000"], "act_ipt_days": 4}),  # x 1.05
    ("0.90000000", {"dscg_way": "1", "dx": ["K35.800", "J96.000"], "act_ipt_days": 2}),
    ("1.12500000", {"dscg_way": "1", "dx": ["K35.800", "J96.000"], "endtime": datetime(2026, 7, 1)}),  # x 1.25
    ("1.03500000", {"dscg_way": "1", "dx": ["K35.800", "J96.000"], "endtime": datetime(2026, 6, 30, 23)}),
    ("0.72000000", {"dscg_way": "1", "act_ipt_days": 1}),  # no CC, a day: x 0.8
    # unknown how the stay ended: neither died nor did not, so no such row holds
    ("0.90000000", {"dx": ["K35.800", "J96.000"]}),
    # CCI: heart failure counts once whichever code, 1 + 2 = 3 points: x 1.03; with a metastasis 7: x 1.0825
    ("0.90000000", {"dx": ["K35.800", "I50.900", "I11.000"]}),
    ("0.92700000", {"dx": ["K35.800", "I50.900", "E11.200"]}),
    ("0.97425000", {"dx": ["K35.800", "I50.900", "C78.000"]}),
    # the longest code decides the condition and the level; the principal diagnosis is none of either
    ("0.92700000", {"dx": ["K35.800", "E11.200"]}),
    # all together: 0.9 x 1.15 x 1.03 x 1.05 = 1.11935250
    ("1.11935250", {"dscg_way": "1", "age": 80, "dx": ["K35.800", "E11.100", "E11.200"]}),
    # half-up at the eighth decimal: 1.33333333 x 1.05 = 1.3999999965; 1.33333333 x 1.0333 = 1.377733329889
    ("1.40000000", {"dx": ["I20.000"], "proc": ["88.5600"], "age": 65}),
    ("1.37773333", {"dx": ["I20.000"], "proc": ["88.5600"], "age": 1}),
    # nobody knows the age
    ("0.90000000", {"age": None}),
]


@pytest.mark.parametrize(("weight", "stay"), COEFFICIENTS)
def test_the_auxiliary_coefficients_multiply_the_weight_as_worked_out_by_hand(mini, weight, stay):
    assert str(one(mini, **{"dx": ["K35.800"], "proc": ["47.0900"], **stay})["weight"]) == weight


def test_a_catalogue_may_count_only_the_highest_coefficient(tmp_path):
    scheme = load_scheme(write_dip(tmp_path, options="auxiliary: highest\n"))
    stay = {"dx": ["K35.800", "E11.100", "E11.200"], "proc": ["47.0900"], "dscg_way": "1", "age": 80}
    assert str(one(scheme, **stay)["weight"]) == "1.03500000"
    alone = {"dx": ["K35.800"], "proc": ["47.0900"], "dscg_way": "1", "act_ipt_days": 1}
    assert str(one(scheme, **alone)["weight"]) == "0.72000000", "a single coefficient below one is still the highest"
    assert str(one(scheme, dx=["K35.800"])["weight"]) == "0.50000000"


def test_a_catalogue_says_what_a_procedure_without_a_class_means(tmp_path):
    stay = {"dx": ["K80.100"], "proc": ["99.9999"]}
    expected = {"ungrouped": "0000", "none": "DR0", "diagnostic": "DR1", "therapeutic": "DR2", "surgery": "DR3"}
    for word, drg in expected.items():
        assert one(load_scheme(write_dip(tmp_path / word, options=f"unlisted: {word}\n")), **stay)["drg"] == drg


def test_codes_are_cut_to_the_characters_the_catalogue_says(tmp_path):
    dip = TABLES["dip"].replace("47.09,", "47.0901,").replace("K35.8,47", "K35.80,47")
    folder = write_dip(tmp_path, dip=dip)
    (folder / "scheme.yaml").write_text("dx_characters: '5'\nkind: dip\n", "utf-8")
    whole = load_scheme(folder)
    groups = [one(whole, dx=[dx], proc=[proc])["drg"] for dx in ("K35.801", "K35.810") for proc in ("47.0901", "47.09")]
    assert groups == ["K1", "K8R3", "K8R3", "K8R3"]


def test_the_auxiliary_tables_classes_and_means_may_be_absent(tmp_path):
    only = dict.fromkeys(("procedures", "cc", "severity", "cci", "comorbidity", "age", "means"))
    scheme = load_scheme(write_dip(tmp_path, **only))
    row = one(scheme, dx=["K35.800", "J96.000"], proc=["47.0900"], age=80)
    assert (row["drg"], str(row["weight"])) == ("K1", "0.90000000")
    assert one(scheme, dx=["K35.800"], proc=["54.1100"])["status"] == "ungrouped"


def test_why_names_diagnosis_procedures_alternatives_and_coefficients(mini):
    why = one(mini, dx=["K35.801", "E11.200"], proc=["47.0900", "54.5900"], age=70)["why"]
    for words in (
        "主要诊断 K35.801（K35.8）",
        "主要手术操作 47.0900",
        "未入 K1：所含手术操作较少",
        "未入 K3：所含手术操作较少",
        "入核心病种 K2 阑尾炎切除并粘连松解：诊断 K35.8 × 手术操作 47.09+54.59 全部具备，权重 1.20000000",
        "合并症：CCI 2 至 3，系数 1.03",
        "年龄特征：老年，系数 1.05",
    ):
        assert words in why
    assert "未入 K2：缺 54.59" in one(mini, dx=["K35.800"], proc=["47.0900"])["why"]
    assert "未入 I2：编码次序在后" in one(mini, dx=["I20.000"], proc=["00.6600", "36.0700"])["why"]
    assert "未入 I3：权重较低" in one(mini, dx=["I20.000"], proc=["88.5600", "36.0700"])["why"]
    assert "保守治疗" in one(mini, dx=["K35.800"])["why"]
    residual = one(mini, dx=["K35.800"], proc=["88.7600", "54.1100"])["why"]
    assert "K35.8 的 4 个核心病种都不符合" in residual
    assert "入综合病种 K8R3 急性阑尾炎手术：诊断 K35.8% × 相关手术" in residual
    assert "治疗方式为相关手术，依据 54.1100" in residual
    assert "核心病种目录没有这一诊断" in one(mini, dx=["K80.100"])["why"]
    assert "没有综合病种覆盖这一诊断和治疗方式，无法入组" in one(mini, dx=["L00.x00"])["why"]
    assert "治疗方式不明，手术操作没有分类，依据 99.9999" in one(mini, dx=["K80.100"], proc=["99.9999"])["why"]
    assert "缺出院诊断" in one(mini, dx=[])["why"]
    assert "年龄不详" in one(mini, dx=["K35.800"], age=None)["why"]
    assert group(*tables_of({"dx": ["K35.800"]}), mini, why=False)["why"].to_list() == [None]


def test_why_tells_a_few_alternatives_and_how_many_there_are(tmp_path):
    more = "".join(f"M{n},松解加其他,core,K35.8,54.59+4{n}.11,,1,,40\n" for n in range(5, 9))
    scheme = load_scheme(write_dip(tmp_path, dip=TABLES["dip"] + more))
    why = one(scheme, dx=["K35.800"], proc=["54.5900", "47.0900"])["why"]
    assert "未入 M5：缺 45.11；未入 M6：缺 46.11；" in why
    assert "未入 K3：所含手术操作较少 等 6 个。" in why


def test_codes_are_brought_into_the_national_spelling_only_when_the_catalogue_says_so(mini, tmp_path):
    lenient = load_scheme(write_dip(tmp_path, options="normalise_codes: 'yes'\n"))
    assert one(lenient, dx=["k35.8"], proc=[" 47.09"])["drg"] == "K1"
    assert one(mini, dx=["k35.8"])["status"] == "ungrouped"


def test_no_stays_and_no_procedures_are_no_trouble(mini):
    claims, diagnoses, procedures = tables_of({"dx": ["K35.800"]})
    assert group(claims.clear(), diagnoses, procedures, mini).height == 0
    assert group(claims, diagnoses, procedures.clear(), mini)["drg"].to_list() == ["K0"]
    assert group(claims, diagnoses.clear(), procedures.clear(), mini)["status"].to_list() == ["invalid"]


# A second grouper that reads the tables row by row


def rows(name: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(TABLES[name].lstrip("\n"))))


def cut(code: str, before_dot: int) -> str:
    return code[:5] if len(code) > before_dot else code


def longest(table: list[dict], code: str) -> dict | None:
    fit = [r for r in table if code == r["code"] or (r["code"][-1] == "%" and code.startswith(r["code"][:-1]))]
    return max(fit, key=lambda r: (r["code"][-1] != "%", len(r["code"])), default=None)


def within(row: dict, low: str, high: str, value) -> bool:
    if value is None:
        return not row[low] and not row[high]
    return (not row[low] or value >= int(row[low])) and (not row[high] or value <= int(row[high]))


def in_force(row: dict, day: str) -> bool:
    return (not row["from"] or row["from"] <= day) and (not row["to"] or day <= row["to"])


def naive(stay: dict) -> tuple[str, Decimal | None]:
    """The group and the weight of one stay."""
    dx, procs = stay["dx"][0], set(stay["proc"])
    classes = ["conservative", "diagnostic", "therapeutic", "?", "surgery"]
    treatment = "conservative"
    for proc in procs:
        entry = longest(rows("procedures"), proc)
        of = {None: "?", "none": "conservative"}.get(entry and entry["class"], entry and entry["class"])
        treatment = max(treatment, of, key=classes.index)
    chosen, short = None, {cut(proc, 2) for proc in procs}
    core = [r for r in rows("dip") if r["kind"] == "core" and r["dx"] == cut(dx, 3)]
    for r in core:
        wanted = set(filter(None, r["procedures"].split("+")))
        if wanted <= short if wanted else treatment == "conservative":
            better = (len(wanted), Decimal(r["weight"]))
            if chosen is None or better > chosen[0] or (better == chosen[0] and r["group"] < chosen[1]["group"]):
                chosen = (better, r)
    if chosen is None:
        for r in rows("dip"):
            if r["kind"] == "residual" and r["class"] == treatment:
                low, _, high = r["dx"].partition("-")
                if high and low <= dx[:3] <= high:
                    better = (0, 0)
                elif not high and dx.startswith(low[:-1]):
                    better = (1, len(low))
                else:
                    continue
                if chosen is None or better > chosen[0]:
                    chosen = (better, r)
    if chosen is None:
        return "0000", None
    secondary, day = stay["dx"][1:], stay["endtime"].date().isoformat()
    levels = {e["level"] for code in secondary if (e := longest(rows("cc"), code))}
    points: dict[str, int] = {}
    for code in secondary:
        if entry := longest(rows("cci"), code):
            points[entry["condition"]] = int(entry["points"])
    level = "MCC" if "MCC" in levels else "CC" if levels else "none"
    weight = Fraction(Decimal(chosen[1]["weight"]))
    for name, low, high, value in (
        ("severity", "min_days", "max_days", stay["act_ipt_days"]),
        ("comorbidity", "min_points", "max_points", sum(points.values())),
        ("age", "min_years", "max_years", stay["age"]),
    ):
        for r in rows(name):
            holds = within(r, low, high, value) and in_force(r, day)
            if name == "severity":
                asked = {"": ("none", "CC", "MCC"), "any": ("CC", "MCC")}.get(r["cc"], (r["cc"],))
                died = {None: None, "5": "yes"}.get(stay["dscg_way"], "no")
                holds = holds and level in asked and r["died"] in ("", died)
            if holds:
                weight *= Fraction(Decimal(r["coefficient"]))
                break
    exact = Decimal(weight.numerator) / Decimal(weight.denominator)
    return chosen[1]["group"], exact.quantize(Decimal("1e-8"), ROUND_HALF_UP)


DX = ["K35.800", "K35.801", "K35.900", "K80.100", "I20.000", "I21.000", "L00.x00", "E11.100", "E11.200", "J96.000"]
DX += ["I50.900", "I11.000", "C78.000"]
PROC = ["47.0900", "47.0901", "54.5900", "54.1100", "54.2100", "54.91", "36.0700", "00.6600", "88.5600", "89.0300"]
PROC += ["99.9999"]
STAYS = st.fixed_dictionaries(
    {
        "age": st.sampled_from([None, 1, 18, 19, 64, 65, 90]),
        "act_ipt_days": st.sampled_from([1, 2, 3, 4, 5, 30]),
        "dscg_way": st.sampled_from([None, "1", "5"]),
        "endtime": st.sampled_from([datetime(2026, 6, 30, 23), datetime(2026, 7, 1)]),
        "dx": st.lists(st.sampled_from(DX), min_size=1, max_size=5),
        "proc": st.lists(st.sampled_from(PROC), max_size=5),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STAYS, min_size=1, max_size=12))
def test_the_vectorised_grouper_agrees_with_one_that_reads_the_tables_row_by_row(mini, stays):
    result = group(*tables_of(*stays), mini)
    assert result.select("drg", "weight").rows() == [naive(stay) for stay in stays]


@settings(max_examples=20, deadline=None)
@given(st.lists(STAYS, min_size=2, max_size=8), st.integers(0, 2**32 - 1))
def test_row_order_changes_nothing_and_grouping_twice_gives_the_same(mini, stays, seed):
    claims, diagnoses, procedures = tables_of(*stays)
    result = group(claims, diagnoses, procedures, mini)
    assert result.equals(group(claims, diagnoses, procedures, mini))
    order = np.random.default_rng(seed)
    shuffled = [frame[order.permutation(len(frame))] for frame in (claims, diagnoses, procedures)]
    assert group(*shuffled, mini).sort("setl_id").equals(result.sort("setl_id"))


@settings(max_examples=20, deadline=None)
@given(st.lists(STAYS, min_size=1, max_size=8), STAYS)
def test_the_group_of_a_stay_does_not_depend_on_the_stays_beside_it(mini, stays, last):
    apart = [group(*tables_of(*some), mini).drop("setl_id") for some in (stays, [last])]
    assert group(*tables_of(*stays, last), mini).drop("setl_id").rows() == pl.concat(apart).rows()


# Deviation of cost


def deviating(*cases: tuple[int | None, int | None], weight: str = "1.5", bands: Bands | None = None) -> list[tuple]:
    schema = {"cost_fen": pl.Int64, "mean_fen": pl.Int64}
    frame = pl.DataFrame(list(cases), schema, orient="row")
    frame = frame.with_columns(weight=pl.lit(Decimal(weight), pl.Decimal(12, 8)))
    result = deviation(frame, bands or Bands())
    return [
        (str(f), str(a), str(s), r) for f, a, s, r in result.select("deviation", "adjusted", "score", "review").rows()
    ]


def test_deviation_follows_the_published_bands_and_their_bounds():
    """c < 0.5 counts c; 0.5 to 2 counts 1; above 2 counts c - 2 + 1; above 5 experts look at it (grade B)."""
    mean = 1_000_000
    assert deviating((499_999, mean), (500_000, mean), (2_000_000, mean), (2_000_001, mean)) == [
        ("0.49999900", "0.74999850", "749.99850000", False),
        ("1.00000000", "1.50000000", "1500.00000000", False),
        ("1.00000000", "1.50000000", "1500.00000000", False),
        ("1.00000100", "1.50000150", "1500.00150000", False),
    ]
    assert deviating((5_000_000, mean), (5_000_001, mean)) == [
        ("4.00000000", "6.00000000", "6000.00000000", False),
        ("4.00000100", "6.00000150", "6000.00150000", True),
    ]


def test_whether_a_bound_is_itself_normal_is_configuration():
    cases = [(500_000, 1_000_000), (3_000_000, 1_000_000), (5_000_000, 1_000_000)]
    high = {"high": Decimal(3), "review": Decimal(5)}
    factors = {
        normal: [case[0] for case in deviating(*cases, bands=Bands(normal=normal, **high))[:2]]
        for normal in ("both", "low", "high", "neither")
    }
    # at the upper bound the two formulas give the same, c - 3 + 1 = 1
    assert factors["both"] == factors["low"] == ["1.00000000", "1.00000000"]
    assert factors["high"] == factors["neither"] == ["0.50000000", "1.00000000"]
    assert [case[3] for case in deviating(*cases, bands=Bands(review_at=True))] == [False, False, True]


def test_deviation_is_rounded_half_up_to_the_stated_decimals():
    # 1/3; 2 + 1/8 - 2 + 1 = 1.125 -> 1.13; 0.125 -> 0.13
    two = Bands(decimals=2)
    cases = deviating((1, 3), (17, 8), (1, 8), weight="1", bands=two)
    assert [case[0] for case in cases] == ["0.33000000", "1.13000000", "0.13000000"]
    assert deviating((1, 3), weight="1.00000005")[0][:2] == ("0.33333333", "0.33333335")


def test_a_case_without_a_mean_or_a_cost_counts_as_it_is():
    assert (
        deviating((10, None), (None, 10), (10, 0), (-10, 10))
        == [("1.00000000", "1.50000000", "1500.00000000", False)] * 4
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**11), st.lists(st.integers(0, 10**11), min_size=2, max_size=20))
def test_a_dearer_case_never_scores_less_and_the_factor_is_exact(mean, costs):
    costs = sorted(costs)
    factors = [Decimal(case[0]) for case in deviating(*((cost, mean) for cost in costs))]
    assert factors == sorted(factors)
    for cost, factor in zip(costs, factors, strict=True):
        c = Fraction(cost, mean)
        exact = c if 2 * c < 1 else c - 1 if c > 2 else Fraction(1)
        assert factor == (Decimal((exact.numerator * 2 * 10**8 + exact.denominator) // (2 * exact.denominator))).scaleb(
            -8
        )


def test_the_mean_is_that_of_the_group_at_the_same_level_of_hospital(mini):
    cases = pl.DataFrame({"drg": ["K1", "K1", "K1", "K2"], "hosp_lv": ["2", "3", "1", "3"]})
    assert with_means(cases, mini.means)["mean_fen"].to_list() == [800_000, 1_000_000, None, None]


def test_payment_compares_with_the_level_or_else_with_the_group(mini):
    grouping = pl.DataFrame({"setl_id": ["a", "b", "c"], "drg": ["K1", "K1", None]})
    claims = pl.DataFrame({"setl_id": ["c", "b", "a"], "hosp_lv": ["3", "1", "2"]})
    groups = pl.DataFrame({"group": ["K1", "K1", "K2"], "mean_cost_fen": [None, 5, 6]})
    found = group_means(grouping, claims, mini.means, groups)
    assert found.rows() == [("a", "K1", 800_000), ("b", "K1", 5), ("c", None, None)]


def test_the_bands_of_a_catalogue_are_options(tmp_path):
    options = "deviation_low: '0.6'\ndeviation_high: '1.5'\ndeviation_normal: neither\n"
    bands = load_scheme(write_dip(tmp_path, options=options)).bands
    assert bands == Bands(Decimal("0.6"), Decimal("1.5"), Decimal("5"), "neither")


# Damaged catalogues


def changed(name: str, old: str, new: str) -> dict[str, str]:
    assert old in TABLES[name]
    return {name: TABLES[name].replace(old, new, 1)}


DAMAGED = [
    (RuleProblem, changed("dip", "mean_cost_fen,cases", "mean_cost_fen,colour"), ["dip.csv:1 [colour]", "unknown"]),
    (InputProblem, changed("dip", "weight", "wieght"), ["dip.csv:1", "weight"]),
    (RuleProblem, changed("dip", "K1,阑尾炎切除,core", "K1,阑尾炎切除,kern"), ["dip.csv:3 [kind]", "kern", "residual"]),
    (RuleProblem, changed("dip", "K2,", "K1,"), ["dip.csv:4 [group]", "K1"]),
    (RuleProblem, changed("dip", ",0.9,", ",0.9.1,"), ["dip.csv:3 [weight]", "0.9.1"]),
    (RuleProblem, changed("dip", ",0.9,", ",9999,"), ["dip.csv:3 [weight]", "too large"]),
    (RuleProblem, changed("dip", "900000", "9e5"), ["dip.csv:3 [mean_cost_fen]", "9e5"]),
    (RuleProblem, changed("dip", "K35.8,,,0.5", "K35.800,,,0.5"), ["dip.csv:2 [dx]", "dx_characters 4"]),
    (RuleProblem, changed("dip", "K35.8,,,0.5", "K35.%,,,0.5"), ["dip.csv:2 [dx]", "K35.%"]),
    (RuleProblem, changed("dip", "47.09+54.59", "47.0901+54.59"), ["dip.csv:4 [procedures]", "procedure_characters 4"]),
    (RuleProblem, changed("dip", "47.09+54.59", "47.09+"), ["dip.csv:4 [procedures]", "empty"]),
    (RuleProblem, changed("dip", "47.09+54.59", "47.09+47.09"), ["dip.csv:4 [procedures]", "twice"]),
    (RuleProblem, changed("dip", "K35.8,54.59", "K35.8,54.59+47.09"), ["dip.csv:5 [procedures]", "twice"]),
    (RuleProblem, changed("dip", "54.59,,0.95", "54.59,surgery,0.95"), ["dip.csv:5 [class]", "surgery"]),
    (RuleProblem, changed("dip", "K35%,,surgery", "K35%,,operation"), ["dip.csv:10 [class]", "conservative"]),
    (RuleProblem, changed("dip", "K35%,,surgery", "K35%,47.09,surgery"), ["dip.csv:10 [procedures]"]),
    (RuleProblem, changed("dip", "K35.8%,,surgery", "K35%,,surgery"), ["dip.csv:11 [dx]", "twice"]),
    (RuleProblem, changed("dip", "K00-K93,,diagnostic", "K93-K00,,diagnostic"), ["dip.csv:13 [dx]", "backwards"]),
    (RuleProblem, changed("dip", "I00-I99,,cons", "I00-K10,,cons"), ["dip.csv:12 [dx]", "overlaps"]),
    (RuleProblem, changed("dip", "I00-I99,,cons", "I20,,cons"), ["dip.csv:16 [dx]", "K35%"]),
    (RuleProblem, changed("procedures", "47%,surgery", "47%,surgical"), ["procedures.csv:4 [class]", "surgical"]),
    (RuleProblem, changed("procedures", "54%,", "47%,"), ["procedures.csv:5 [code]", "47%"]),
    (RuleProblem, changed("cc", "E11%,CC", "E11%,C"), ["cc.csv:3 [level]"]),
    (RuleProblem, changed("cc", "J96%", "%"), ["cc.csv:2 [code]"]),
    (RuleProblem, changed("severity", "1.15", "1.15000"), ["severity.csv:4 [coefficient]"]),
    (RuleProblem, changed("severity", "2026-06-30", "2026-06-31"), ["severity.csv:4 [to]"]),
    (RuleProblem, changed("severity", "死亡,,4", "死亡,C C,4"), ["severity.csv:3 [cc]", "MCC"]),
    (RuleProblem, changed("severity", "3,yes", "3,ja"), ["severity.csv:2 [died]", "yes, no"]),
    (RuleProblem, changed("cci", "转移,6", "转移,six"), ["cci.csv:6 [points]", "six"]),
    (RuleProblem, changed("comorbidity", "2,3,", "3,2,"), ["comorbidity.csv:2 [max_points]"]),
    (RuleProblem, changed("age", "1.0333", "0.0"), ["age.csv:2 [coefficient]", "zero"]),
    (RuleProblem, changed("means", "K1,2", "K9,2"), ["means.csv:3 [group]", "K9"]),
    (RuleProblem, changed("means", "K1,2", "K1,3"), ["means.csv:3 [hosp_lv]"]),
    (InputProblem, {"cc": None}, ["severity.csv", "cc.csv"]),
    (InputProblem, {"dip": None}, ["dip.csv"]),
    (InputProblem, {"dip": ""}, ["dip.csv"]),
    (RuleProblem, {"options": "colour: red\n"}, ["scheme.yaml:4 [colour]", "unknown"]),
    (RuleProblem, {"options": "dx_characters: 12\n"}, ["scheme.yaml:4 [dx_characters]", "12"]),
    (RuleProblem, {"options": "unlisted: [a]\n"}, ["scheme.yaml:4 [unlisted]"]),
    (RuleProblem, {"options": "deviation_high: '0.4'\n"}, ["scheme.yaml", "deviation_low"]),
    (RuleProblem, {"options": "a: [\n"}, ["scheme.yaml:"]),
]


@pytest.mark.parametrize(("kind", "tables", "words"), DAMAGED)
def test_a_damaged_catalogue_is_refused_with_one_message_that_says_where(tmp_path, kind, tables, words):
    folder = write_dip(tmp_path, **tables)
    with pytest.raises(kind) as caught:
        load_scheme(folder)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value)) < 600


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_catalogue_with_any_cell_changed_either_groups_or_is_refused_with_a_message(tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(TABLES)))
    lines = [line.split(",") for line in TABLES[name].strip("\n").split("\n")]
    cells = data.draw(st.sampled_from(lines))
    cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(
        st.sampled_from(
            ["", "%", "+", "-1", "K35%", "K00-K93", "9" * 30, "1.5", "2026-02-30", "core", "yes", "，", '"']
        )
    )
    text = "\n".join(map(",".join, lines)) + "\n"
    folder = write_dip(tmp_path_factory.mktemp("cell"), **{name: text})
    try:
        scheme = load_scheme(folder)
    except Problem as problem:
        assert f"{name}.csv" in str(problem) or "severity.csv" in str(problem)
    else:
        assert one(scheme, dx=["K35.800", "E11.100"], proc=["47.0900"], dscg_way="1")["status"] == "grouped"


def test_an_unknown_kind_of_scheme_is_refused_by_name_and_place(tmp_path):
    (tmp_path / "scheme.yaml").write_text("name: x\nkind: apg\n", "utf-8")
    with pytest.raises(RuleProblem, match=r"scheme.yaml:2 \[kind\].*apg\n.*drg, dip"):
        load_scheme(tmp_path)
    assert len(check_scheme(tmp_path)) == 1


def test_a_folder_with_a_dip_table_is_a_dip_catalogue_whatever_scheme_yaml_lacks(tmp_path):
    folder = write_dip(tmp_path)
    (folder / "scheme.yaml").write_text("procedure_characters: '4'\n", "utf-8")
    assert one(load_scheme(folder), dx=["K35.800"])["drg"] == "K0"
    (folder / "scheme.yaml").unlink()
    with pytest.raises(InputProblem, match="scheme.yaml"):
        load_scheme(folder)


def test_a_check_of_a_catalogue_that_loads_tells_its_weaknesses(tmp_path):
    few = write_dip(tmp_path / "few", **changed("dip", "900000,40", "900000,14"))
    assert ["dip.csv:3 [cases]" in str(problem) for problem in check_scheme(few)] == [True]
    bare = write_dip(tmp_path / "bare", procedures=None)
    assert "procedures.csv" in str(check_scheme(bare)[0])
    assert check_scheme(write_dip(tmp_path / "good")) == []


# The demo catalogue and the command line


def test_the_demo_catalogue_loads_without_weaknesses_and_groups_every_synthetic_stay(bundle, tmp_path, run):
    assert check_scheme(DEMO) == []
    said = run("group", bundle, "--out", tmp_path / "grouping.parquet", "--scheme", "dip-demo")
    assert said.code == 0, said.err
    result = pl.read_parquet(tmp_path / "grouping.parquet")
    assert result.height > 20
    assert result["status"].unique().to_list() == ["grouped"]
    assert (result["weight"] > 0).all()
    assert result["scheme"].unique().to_list() == ["dip-demo"]


@pytest.mark.parametrize(
    ("drg", "weight", "stay"),
    [
        ("K35.8:47.01", "1.05000000", {"dx": ["K35.800"], "proc": ["47.0100"]}),
        ("I20.0:36.07+88.56", "3.57000000", {"dx": ["I20.0"], "proc": ["88.5600", "36.0700"], "age": 70}),
        ("O82.9:74.1x", "0.82000000", {"dx": ["O82.900"], "proc": ["74.1x00"], "age": 30}),
        ("K00-K93:R1", "0.72000000", {"dx": ["K29.500"], "proc": ["45.1300"]}),
    ],
)
def test_the_demo_catalogue_groups_typical_stays(drg, weight, stay):
    row = one(load_scheme(DEMO), **stay)
    assert (row["drg"], str(row["weight"])) == (drg, weight)


def test_a_damaged_catalogue_ends_the_command_with_one_message(bundle, tmp_path, run):
    folder = write_dip(tmp_path / "dip", **changed("dip", ",0.9,", ",much,"))
    said = run("group", bundle, "--out", tmp_path / "g.parquet", "--scheme", folder)
    assert said.code == 4
    assert "dip.csv:3 [weight]" in said.err + said.out


def test_the_commands_about_schemes_check_a_catalogue_and_say_what_they_cannot_show(tmp_path, run):
    assert run("scheme", "check", "dip-demo").code == 0
    said = run("scheme", "check", write_dip(tmp_path, **changed("dip", ",0.9,", ",much,")))
    assert (said.code, "dip.csv:3 [weight]" in said.out) == (4, True)
    for arguments in (("show", "dip-demo"), ("diff", "dip-demo", "chs-drg-starter")):
        said = run("scheme", *arguments)
        assert (said.code, "DRG schemes only" in said.err) == (2, True)


def test_a_whole_run_works_with_a_dip_catalogue(bundle, tmp_path, run):
    folder = write_dip(tmp_path / "dip")
    said = run("run", bundle, "--out", tmp_path / "out", "--scheme", folder)
    assert said.code == 0, said.err
    assert "mini-dip" in (tmp_path / "out" / "manifest.json").read_text("utf-8")
