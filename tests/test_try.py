"""`yibao rules try`: a question counts every case, sums what it flags, and shows the values it read."""

import json

import polars as pl
import pytest

import synthetic.cli  # noqa: F401  registers every command

ALL = ("--for", "visit_day")


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """A folder of one small rule, since a question needs none and they take long to load."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "none.yaml").write_text(
        "id: none\ntitle: 无\ndescription: 无\nfamily: none\nbasis: [{law: 无}]\nfor: visit\n"
        "when: visit.days < 0\namount: claim\n",
        "utf-8",
    )
    return folder


@pytest.fixture
def tried(bundle, rules, run):
    """tried(EXPRESSION, …): the command as a user gives it."""
    return lambda expression, *more: run("rules", "try", expression, bundle, "--rules", rules, *more)


@pytest.fixture
def answer(tried):
    def start(expression: str, *more: str) -> dict:
        said = tried(expression, *more, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    return start


@pytest.fixture(scope="module")
def lines(bundle) -> pl.DataFrame:
    """The fee lines that stand: nothing returned and no claim refunded, as far as this small bundle goes."""
    lines = pl.read_csv(bundle / "fee_lines.csv", infer_schema=False)
    claims = pl.read_csv(bundle / "claims.csv", infer_schema=False)
    refunds = claims.filter(pl.col("refd_setl_flag") == "1")
    gone = pl.concat([refunds["setl_id"], refunds["init_setl_id"]])
    fen = (pl.col("det_item_fee_sumamt").cast(pl.Decimal(16, 2)) * 100).cast(int)
    return lines.filter(~pl.col("setl_id").is_in(gone.implode())).with_columns(
        pl.col("cnt").cast(pl.Decimal(16, 4)), fen=fen, day=pl.col("fee_ocur_time").str.slice(0, 10),
    )  # fmt: skip


def standing(lines: pl.DataFrame) -> pl.DataFrame:
    """Without the items of a claim of which something was returned."""
    key = ["setl_id", "med_list_codg"]
    return lines.join(lines.filter(pl.col("cnt") < 0).select(key).unique(), on=key, how="anti", nulls_equal=True)


def test_every_line_is_asked_and_the_hits_are_summed(answer, lines):
    own = standing(lines)
    item = own["med_list_codg"].value_counts().sort("count", "med_list_codg", descending=True)["med_list_codg"][0]
    said = answer(f"line.item == '{item}' and line.cnt > 0", "--for", "line", "--limit", "2")
    mine = own.filter(pl.col("med_list_codg") == item)
    assert (said["hits"], said["gross_fen"]) == (mine.height, mine["fen"].sum())
    assert said["unjudged"] == 0
    assert len(said["examples"]) == 2
    assert said["examples"][0].keys() >= {"结算单", "机构", "日期", "项目", "line.item", "line.cnt"}


def test_a_day_without_the_lines_asked_for_is_a_case_too(answer, lines):
    days = lines.filter(pl.col("cnt") > 0).select("setl_id", "day").unique().height
    said = answer("$sum([l.cnt for l in day.lines if l.item == 'no such item']) == 0", *ALL)
    assert said["cases"] == said["hits"] > 0
    assert days - said["cases"] <= days // 50  # days of which every line was returned


def test_a_set_of_codes_and_a_flag_choose_the_lines(answer, lines):
    own = standing(lines)
    item, other = (
        own["med_list_codg"].value_counts().sort("count", "med_list_codg", descending=True)["med_list_codg"][:2]
    )
    said = answer("$sum([l.cnt for l in day.lines if l.item in chosen]) > 0", *ALL,
                  "--set", f"chosen={item},{other}", "--flag", "l.item in chosen")  # fmt: skip
    mine = own.filter(pl.col("med_list_codg").is_in([item, other]))
    assert said["hits"] == said["cases"] == mine.select("setl_id", "day").unique().height
    assert said["gross_fen"] == mine["fen"].sum()


def test_a_set_may_be_a_concept(answer):
    said = answer("$sum([l.cnt for l in day.lines if l.item in beds]) > 0", *ALL, "--set", "beds=concept:ordinary_bed")
    assert said["hits"] > 0


def test_a_case_without_an_answer_is_counted_as_such(answer):
    said = answer("1 / (visit.days - visit.days) > 0", "--for", "visit")
    assert said["unjudged"] == said["cases"] > 0
    assert said["hits"] == 0


def test_the_days_of_a_window_and_the_time_between_two_lines_can_be_given(answer):
    said = answer("$sum([l.cnt for l in window.lines]) > 0", "--for", "person_window", "--window", "7")
    assert said["hits"] > 0
    pairs = answer("a.item == b.item and b.cnt > 0", "--for", "line_pair", "--same", "hour")
    assert pairs["cases"] >= pairs["hits"]


def test_codes_can_be_asked_about(answer, bundle):
    said = answer("code.sales >= 1", "--for", "code_site")
    assert said["cases"] >= said["hits"] > 0
    assert said["examples"][0]["code.sales"].isdigit()


def test_wards_can_be_asked_about(answer, bundle):
    said = answer("dept.stays >= 1", "--for", "department")
    assert said["cases"] == said["hits"] > 0


def test_persons_stand_under_pseudonyms(answer, bundle):
    persons = set(pl.read_csv(bundle / "claims.csv", infer_schema=False)["psn_no"])
    said = answer("visit.psn_no != '' and visit.person != ''", "--for", "visit")
    shown = {row[name] for row in said["examples"] for name in ("visit.psn_no", "visit.person")}
    assert shown
    assert not shown & persons


def test_the_table_has_a_column_for_each_value(tried):
    said = tried("visit.days > 1", "--for", "visit", "--limit", "3")
    assert said.code == 0, said.err
    assert "visit.days" in said.out


@pytest.mark.parametrize(("expression", "more", "told"), [
    ("visit.dayz > 1", ("--for", "visit"), "^^^^"),
    ("visit.age > 1", ("--for", "visit"), "??"),
    ("l.item in beds", (*ALL, "--set", "beds=concept:ordinary_bet"), "ordinary_bed"),
    ("day.lines.length > 1", (*ALL, "--flag", "l.itemm == 'x'"), "item"),
])  # fmt: skip
def test_a_fault_stands_under_the_word_that_is_wrong(tried, expression, more, told):
    said = tried(expression, *more)
    assert said.code == 4
    assert told in said.err


@pytest.mark.parametrize("more", [("--for", "visit_dai"), (*ALL, "--set", "beds")])
def test_a_wrong_option_is_a_mistake_of_usage(tried, more):
    assert tried("1 == 1", *more).code == 2
