"""The lives of codes and the networks in the report: true to their tables, readable, and kept from institutions."""

import re
import subprocess
import zipfile
from decimal import Decimal

import openpyxl
import polars as pl
import pytest
from fake_lives import KINDS, PLAIN, everything, fake_trace_run, life
from fake_run import HOSTILE, NAMES, RULES, SITES, fake_run
from hypothesis import given
from hypothesis import strategies as st
from test_browser import CHROMIUM, FLAGS

from engine.report import charts, html, words, write_report
from engine.report.codelife import history_of, lives_told
from engine.report.evidence import evidence_of
from engine.report.figures import Run
from engine.report.lives import coverage_of, lives_of, networks_of
from engine.report.text import visible
from engine.tables.outputs import outputs


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = fake_trace_run(tmp_path_factory.mktemp("lives") / "out")
    write_report(out, RULES)
    return out


@pytest.fixture(scope="module")
def text(out) -> str:
    return (out / "report.html").read_text("utf-8")


# the geometry


def test_a_time_line_has_a_lane_per_institution_a_mark_per_event_and_a_hop_between():
    chart = charts.timeline(life("f", "c", PLAIN))
    assert [lane["label"] for lane in chart["lanes"]] == [NAMES[SITES[2]], NAMES[SITES[0]]]
    assert [mark["what"] for mark in chart["marks"]] == ["purchase", "sale", "purchase", "excess"]
    xs = [mark["x"] for mark in chart["marks"]]
    assert xs == [232, 232 + 740 * 12 // 41, 232 + 740 * 30 // 41, 972]
    (hop,) = chart["hops"]
    assert hop["text"] == "133.4 公里 · 18 天" and not hop["accused"]
    assert (hop["x1"], hop["x2"]) == (xs[1], xs[2])
    assert [tick["label"] for tick in chart["ticks"]][:: charts._TICKS] == ["2025-03-01", "2025-04-11"]
    assert chart["more_lanes"] == chart["more_marks"] == 0


def test_what_is_beyond_the_drawing_is_counted():
    chart = charts.timeline(life("f", "c", everything(200, sites=20)))
    assert len(chart["lanes"]) == 8 and len(chart["marks"]) == charts.MARKS
    assert chart["more_lanes"] == 12 and chart["more_marks"] == 160


EVENTS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(KINDS), st.integers(0, 5)), min_size=1, max_size=60)


@given(EVENTS)
def test_marks_keep_apart_and_inside_and_so_do_distances(drawn):
    events = [(day, *kind, f"S{site}") for day, kind, site in sorted(drawn)]
    chart = charts.timeline(life("f", "c", events))
    for lane in chart["lanes"]:
        xs = [mark["x"] for mark in chart["marks"] if mark["y"] == lane["y"]]
        assert all(b - a >= charts._APART for a, b in zip(xs, xs[1:], strict=False))
    assert all(charts._LEFT <= mark["x"] <= charts._RIGHT for mark in chart["marks"])
    told = [hop for hop in chart["hops"] if hop["text"]]
    for at, one in enumerate(told):
        for other in told[:at]:
            assert abs(one["tx"] - other["tx"]) >= 150 or abs(one["ty"] - other["ty"]) >= 16


@pytest.mark.parametrize(
    ("minutes", "km", "said"),
    [(None, None, ""), (5, Decimal("1.0"), "1.0 公里 · 5 分"), (125, None, "距离不详 · 2 小时 5 分"),
     (4320, Decimal("0.0"), "同一地点 · 3 天")],
)  # fmt: skip
def test_the_way_is_said_in_days_hours_or_minutes(minutes, km, said):
    assert charts.way_said({"gap_minutes": minutes, "km": km}) == said


def edge(person: str, site: str, codes: int, state: str = "joins", **more) -> dict:
    return {"psn_no": person, "fixmedins_code": site, "fixmedins_name": None, "codes": codes, "state": state,
            "first_codes": 0, "resold_codes": 0, "later_codes": 0} | more  # fmt: skip


def test_persons_stand_left_institutions_right_and_lines_are_as_wide_as_their_codes():
    chart = charts.bipartite([edge("P1", "A", 3, first_codes=3), edge("P1", "Z", 30, resold_codes=3),
                              edge("P2", "Z", 1, "weak", later_codes=1)])  # fmt: skip
    assert {(n["label"], n["dark"]) for n in chart["persons"]} == {("P1", True), ("P2", False)}
    assert {(n["label"], n["dark"]) for n in chart["sites"]} == {("A", False), ("Z", True)}
    assert [(line["width"], line["codes"], line["joins"]) for line in chart["lines"]] == [
        (1, 1, False), (3, 3, True), (9, 30, True),
    ]  # fmt: skip
    assert {line["y1"] for line in chart["lines"]} == {n["y"] for n in chart["persons"]}


def test_a_large_network_is_drawn_in_part_its_members_first():
    edges = [edge(f"Q{n:03}", "Z", 1, "weak") for n in range(90)] + [edge(f"P{n:03}", "Z", 2) for n in range(10)]
    chart = charts.bipartite(edges)
    assert len(chart["persons"]) == 18 and chart["more_persons"] == 82 and chart["more_sites"] == 0
    assert {f"P{n:03}" for n in range(10)} <= {n["label"] for n in chart["persons"]}


# the page


def test_every_finding_about_codes_shows_their_lives_and_what_is_left_out(out, text):
    lived = pl.read_parquet(out / "code_history.parquet")
    cards = re.findall(r'<article class="finding.*?</article>', text, re.S)
    shown = {re.search(r'id="f-(\w+)"', card)[1]: card for card in cards}
    assert set(lived["finding_id"]) & set(shown)
    for finding, card in shown.items():
        own = lived.filter(pl.col("finding_id") == finding)
        assert card.count('<figure class="life"') == own["code"].n_unique()
        assert card.count("#m-excess") == (own["state"] == "excess").sum()
        for person in own["psn_no"]:
            assert person in card
        if own.height:
            assert "133.4 公里 · 18 天" in card and 'role="img"' in card and "<desc" in card
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_a_run_without_trace_codes_shows_none_of_it(tmp_path):
    plain = html.page(Run(fake_run(tmp_path / "out"), RULES)).decode()
    assert "没有在他处再次售出的追溯码" in plain and 'class="life"' not in plain and "m-excess" not in plain


def test_codes_beyond_the_limit_are_counted(tmp_path):
    out = fake_trace_run(tmp_path / "out", findings=30, codes=9)
    ids = pl.read_parquet(out / "code_history.parquet")["finding_id"].unique().sort().to_list()
    lives = lives_of(Run(out, RULES), ids, 400)
    assert {(len(one["codes"]), one["left_out"]) for one in lives.values()} == {(3, 6)}


def test_the_page_stays_below_its_limit_with_long_lives_and_keeps_its_findings(tmp_path):
    out = fake_trace_run(tmp_path / "out", findings=2000, events=everything(60), codes=3)
    page = html.page(Run(out, RULES))
    assert len(page) < html.SIZE_LIMIT
    assert page.decode().count('<article class="finding') == 400
    assert "追溯码的全史未在本页列出" in page.decode()


def test_the_networks_are_told_drawn_and_what_was_cut_said(out, text):
    found, edges = (pl.read_parquet(out / f"{name}.parquet") for name in ("networks", "network_edges"))
    part = text[text.index('<section id="networks">') : text.index('<section id="gaps">')]
    assert words.NETWORK in part and "示例值" in part
    assert f"共 {len(edges)} 条人与机构之间的线，未连 {(edges['state'] != 'joins').sum()} 条" in part
    assert part.count('<figure class="network"') == min(5, len(found)) > 0
    assert part.count('class="tie joins') == (edges["state"] == "joins").sum()
    assert networks_of(Run(out, RULES), 400)["drawn"][0]["rank"] == 1


def test_the_page_tells_how_much_was_scanned_of_what_was_due_the_worst_institution_first(out, text):
    told = coverage_of(Run(out, RULES), 400)
    assert [(r["fixmedins_code"], r["rate"], r["due_lines"]) for r in told["rows"]] == [
        (SITES[1], 333, 3), (SITES[0], 966, 30),
    ]  # fmt: skip
    assert told["rows"][1]["first"] == {"month": "2025-03", "rate": 900}
    part = text[text.index('<section id="scans">') : text.index('<section id="gaps">')]
    assert "2025-03 90.0% → 2025-04 100.0%" in part and "33.3%" in part and "采集率 <b>90.9%</b>" in part
    assert part.index(SITES[1]) < part.index(SITES[0]) and 'href="#scans"' in text


def test_a_code_that_cannot_be_used_is_shown_with_its_reason(tmp_path):
    out = fake_trace_run(tmp_path / "out")
    evidence = pl.read_parquet(out / "evidence.parquet").sort("finding_id")
    said = {
        "6901234567892": "商品条码，不是追溯码", "9" * 20: "占位码，不指任何一盒",
        "8.1E+19": "科学计数，末几位已丢失", "81000010000000000001": None,
    }  # fmt: skip
    run = Run(out, RULES)
    shown = html.page(run).decode()
    rows = evidence.filter(pl.col("finding_id").is_in(re.findall(r'id="f-(\w+)"', shown))).head(len(said))
    rows = rows.with_columns(table=pl.lit("trace_codes"), name=pl.Series(list(said)))
    rows.select(evidence.columns).write_parquet(out / "evidence.parquet")
    amounts = rows.select("finding_id", "table", "row_key", "role", "name")
    pl.concat([pl.DataFrame(schema=outputs()["amounts"]), amounts], how="diagonal").write_parquet(
        out / "amounts.parquet"
    )
    told = evidence_of(run, rows["finding_id"].to_list())
    assert {row["code"]: row["unusable"] for row in told.to_dicts()} == said
    page = html.page(run).decode()
    assert all(text in page for text in said.values() if text)


@pytest.mark.parametrize("english", [False, True])
def test_a_terminal_tells_the_life_of_every_code(out, english):
    run = Run(out, RULES)
    finding = pl.read_parquet(out / "code_history.parquet")["finding_id"][0]
    rows = history_of(run, finding)
    said = lives_told(rows, run, english)
    assert len(said) == len(rows) + len({row["code"] for row in rows})
    assert ("133.4 km, 18 d after" if english else "133.4 公里 · 18 天") in said[3]
    assert "Pperson004" in said[4] and ("sold (in excess)" if english else "销售 (超出)") in said[4]
    assert not english or not re.search(
        "[\u4e00-\u9fff]", "".join(said).replace(NAMES[SITES[0]], "").replace(NAMES[SITES[2]], "")
    )


def test_long_lives_and_many_codes_are_counted_in_a_terminal(tmp_path):
    out = fake_trace_run(tmp_path / "out", findings=20, events=everything(60), codes=7)
    run = Run(out, RULES)
    finding = pl.read_parquet(out / "code_history.parquet")["finding_id"][0]
    said = lives_told(history_of(run, finding), run)
    assert said.count("  另有 36 个事件，见 code_history.parquet。") == 5
    assert said[-1] == "另有 2 个追溯码，见 code_history.parquet。"


def test_a_hostile_name_is_inert_in_drawings(tmp_path):
    out = fake_trace_run(tmp_path / "out", hostile=True)
    for name in ("code_history", "network_edges"):
        frame = pl.read_parquet(out / f"{name}.parquet")
        frame.with_columns(fixmedins_name=pl.lit(HOSTILE)).write_parquet(out / f"{name}.parquet")
    write_report(out, RULES)
    text = (out / "report.html").read_text("utf-8")
    assert "<script>alert" not in text and "\u202e" not in text and "&lt;script&gt;alert" in text
    sheet = openpyxl.load_workbook(out / "summary.xlsx")["网络连线"]
    assert visible(HOSTILE) in {cell.value for cell in sheet["D"]}


# the workbooks


def test_the_summary_lists_networks_and_their_lines(out):
    found, edges = (pl.read_parquet(out / f"{name}.parquet") for name in ("networks", "network_edges"))
    book = openpyxl.load_workbook(out / "summary.xlsx")
    sheet = book["网络"]
    assert [cell.value for cell in sheet["B"]][1:] == found["network_id"].to_list()
    heads = [cell.value for cell in sheet[1]]
    paid = [row[heads.index("再次售出的基金支付(元)")].value for row in sheet.iter_rows(min_row=2)]
    assert [round(Decimal(str(v)) * 100) for v in paid] == found["suspect_fund_fen"].to_list()
    assert book["网络连线"].max_row == len(edges) + 1


def test_an_institution_learns_of_no_other_from_lives_or_networks(out):
    for site in SITES:
        book = openpyxl.load_workbook(out / "workbooks" / f"{site}.xlsx")
        assert not [name for name in book.sheetnames if "网络" in name]
        with zipfile.ZipFile(out / "workbooks" / f"{site}.xlsx") as archive:
            told = "".join(archive.read(name).decode() for name in archive.namelist())
        others = [other for other in SITES if other != site]
        assert not [other for other in others if other in told or NAMES[other] in told]
        assert "Pperson" not in told and "P000000000000001" not in told


# in a browser


MEASURE = """<script>
const wrong = [];
for (const svg of document.querySelectorAll(".drawing svg")) {
  const box = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll("text")) {
    const own = text.getBoundingClientRect();
    const inside = own.left >= box.left - 1 && own.right <= box.right + 1 && own.bottom <= box.bottom + 1;
    if (!inside) wrong.push(text.textContent);
    if (own.height < 9) wrong.push("small " + text.textContent);
  }
  for (const mark of svg.querySelectorAll("use")) if (!mark.getBBox().width) wrong.push("empty mark");
}
document.title = JSON.stringify([document.querySelectorAll(".drawing svg").length, wrong.slice(0, 5)]);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("events", [PLAIN, everything(40, sites=9)], ids=["plain", "everything"])
def test_in_a_browser_every_text_of_a_drawing_is_inside_it_and_large_enough(tmp_path, events):
    out = fake_trace_run(tmp_path / "out", findings=12, events=events)
    page = html.page(Run(out, RULES)).decode()
    page = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page).replace("</body>", MEASURE + "</body>")
    (tmp_path / "page.html").write_text(page, "utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, (tmp_path / "page.html").as_uri()], capture_output=True, timeout=60)
    said = re.search(r"<title>(.*?)</title>", done.stdout.decode())[1]
    assert re.fullmatch(r"\[\d+,\[\]\]", said) and not said.startswith("[0,"), said


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_with_drawings_renders_without_a_word_on_the_console(out, tmp_path):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, (out / "report.html").as_uri()], capture_output=True, timeout=60)
    assert [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line] == []
    assert '<figure class="life"' in done.stdout.decode() and '<figure class="network"' in done.stdout.decode()
