"""A run from end to end: whole outputs with exact columns, the same bytes always, and sums that tie to the fen."""

import json
import random
import shutil
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from engine.audit.examples import frame_of
from engine.reference.places import seeds_folder
from engine.run import buckets, pipeline, stages
from engine.run.manifest import identity, verify
from engine.run.region import load_region
from engine.tables.outputs import outputs
from engine.tables.problems import UsageProblem

SMALL = 1_500  # lines a bucket, so that the bundle makes several


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def differing(one: Path, other: Path) -> list[str]:
    left, right = contents(one), contents(other)
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / f"{name}.parquet")


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text("utf-8"))


# what lies in OUT


def test_every_output_is_there_and_nothing_else(finished):
    top = {p.name for p in finished.iterdir()}
    tables = {f"{name}.parquet" for name in outputs()}
    assert top == tables | {"manifest.json", "report.html", "summary.xlsx", "workbooks", "_SUCCESS"}
    assert (finished / "_SUCCESS").stat().st_size == 0


@pytest.mark.parametrize("name", outputs())
def test_an_output_has_exactly_its_columns(finished, name):
    assert pl.read_parquet_schema(finished / f"{name}.parquet") == outputs()[name]


def test_every_row_read_is_accepted_rejected_or_blank(finished, bundle):
    inputs = manifest(finished)["inputs"]
    assert {i["path"] for i in inputs} == {p.name for p in bundle.glob("*.csv")}
    for i in inputs:
        assert i["rows_in"] == i["accepted"] + i["rejected"] + i["blank"]
        assert i["rows_in"] == len((bundle / i["path"]).read_text("utf-8").splitlines()) - 1, i["path"]


def test_the_manifest_counts_what_the_tables_hold_and_its_hashes_fit(finished):
    record = manifest(finished)
    assert record["rows"] == {name: table(finished, name).height for name in outputs()}
    assert record["control_totals"]["medfee_sumamt_fen"] == table(finished, "settlement")["medfee_sumamt_fen"].sum()
    assert verify(finished) == []


def test_every_claim_is_settled_as_reported(finished, bundle):
    settled = table(finished, "settlement")
    claims = pl.read_csv(bundle / "claims.csv", infer_schema=False)
    assert sorted(settled["setl_id"]) == sorted(claims["setl_id"])
    assert settled.filter(pl.col("first_difference").is_not_null()).height == 0
    for column in (c for c in settled.columns if c.startswith("reported_")):
        ours = settled[column.removeprefix("reported_")]
        assert (settled[column].is_null() | (settled[column] == ours)).all(), column


def test_what_every_payer_pays_adds_up_to_the_total(finished):
    s = table(finished, "settlement")
    fund, own = s["fund_pay_sumamt_fen"], s["acct_pay_fen"] + s["acct_mulaid_pay_fen"] + s["psn_cash_pay_fen"]
    assert (fund + own + s["hosp_part_amt_fen"] == s["medfee_sumamt_fen"]).all()
    assert (s["psn_part_amt_fen"] == own).all()


def test_every_finding_has_evidence_and_every_evidence_a_finding(finished):
    findings, evidence = table(finished, "findings"), table(finished, "evidence")
    assert findings.height > 10
    assert findings["finding_id"].is_unique().all()
    assert set(findings["finding_id"]) == set(evidence["finding_id"])
    assert set(findings["result"]) <= {"violation", "suspicion"}


def test_evidence_names_rows_that_exist(finished, bundle):
    keys = {"fee_lines": "feedetl_sn", "claims": "setl_id", "trace_codes": "event_id"}
    for (name,), rows in table(finished, "evidence").partition_by("table", as_dict=True).items():
        if name in keys:
            known = set(pl.read_csv(bundle / f"{name}.csv", infer_schema=False)[keys[name]])
            assert set(rows["row_key"]) <= known, name


# money to get back


def test_no_claim_gives_back_more_than_the_fund_paid(finished):
    due = table(finished, "recovery").drop_nulls("finding_id")
    paid = pl.coalesce("reported_fund_pay_sumamt_fen", "fund_pay_sumamt_fen")
    paid = table(finished, "settlement").select("setl_id", paid=paid)
    by_claim = due.group_by("setl_id").agg(pl.col("due_fen").sum()).join(paid, on="setl_id", how="left")
    assert by_claim.height > 5
    assert (by_claim["due_fen"] <= by_claim["paid"]).all()
    assert (due["due_fen"] >= 0).all()


def test_a_line_is_claimed_back_once(finished):
    """What is due on a claim never exceeds the fund's share of the distinct lines in excess on it."""
    excess = table(finished, "evidence").filter(pl.col("role") == "excess").drop_nulls("setl_id")
    lines = excess.group_by("setl_id", "table", "row_key").agg(pl.col("amount_fen").max())
    most = lines.group_by("setl_id").agg(pl.col("amount_fen").sum())
    due = table(finished, "recovery").drop_nulls("finding_id").group_by("setl_id").agg(pl.col("due_fen").sum())
    joined = due.join(most, on="setl_id", how="left")
    assert (joined["due_fen"] <= joined["amount_fen"]).all()


def test_the_totals_of_recovery_tie_to_its_rows_and_to_the_manifest(finished):
    rows = table(finished, "recovery")
    each, totals = rows.filter(pl.col("finding_id").is_not_null()), rows.filter(pl.col("finding_id").is_null())
    by_site = each.group_by("fixmedins_code", "fund").agg(pl.col("due_fen").sum()).sort("fixmedins_code", "fund")
    assert totals.select("fixmedins_code", "fund", "due_fen").sort("fixmedins_code", "fund").rows() == by_site.rows()
    assert manifest(finished)["control_totals"]["due_fen"] == each["due_fen"].sum() == totals["due_fen"].sum()
    assert (each["due_fen"] <= each["fund_line_fen"]).all()
    assert (each["inscope_fen"] <= each["involved_fen"]).all()


# the same bytes


def test_threads_time_zone_hash_seed_and_locale_change_no_byte(finished, bundle, tmp_path, yibao):
    world = {"POLARS_MAX_THREADS": "1", "TZ": "America/New_York", "PYTHONHASHSEED": "99", "LC_ALL": "C"}
    done = yibao("run", bundle, "--out", tmp_path / "out", env=world)
    assert done.returncode == 0, done.stderr
    assert differing(finished, tmp_path / "out") == []


def test_the_order_of_rows_and_the_place_of_the_folder_change_no_table(finished, bundle, region, tmp_path):
    shuffled = tmp_path / "elsewhere"
    shuffled.mkdir()
    for path in bundle.glob("*.csv"):
        head, *rows = path.read_text("utf-8").splitlines(keepends=True)
        random.Random(5).shuffle(rows)
        (shuffled / path.name).write_text("".join([head, *rows]), "utf-8")
    pipeline.run(shuffled, tmp_path / "out", region, pipeline.Options(report=False))
    for name in outputs():
        assert (tmp_path / "out" / f"{name}.parquet").read_bytes() == (finished / f"{name}.parquet").read_bytes(), name
    for key in ("rows", "control_totals", "rules", "period"):
        assert manifest(tmp_path / "out")[key] == manifest(finished)[key], key


def test_several_buckets_give_what_one_gives(finished, bundle, region, tmp_path):
    seen = []
    options = pipeline.Options(lines_a_bucket=SMALL)
    pipeline.run(bundle, tmp_path / "out", region, options, lambda stage, done, total: seen.append(total))
    assert max(seen) > 2
    assert differing(finished, tmp_path / "out") == []


# killed, resumed, run again


class Killed(BaseException):
    """Stands for a signal: nothing in the engine may catch it."""


def killed_after(count: int, monkeypatch, bundle, region, out: Path, options=None) -> list[int]:
    """A run killed when it begins its bucket number `count`; gives the buckets counted from then on, run by run."""
    whole, done = stages.person_bucket, []

    def counted(*args):
        if len(done) == count:
            raise Killed
        done.append(1)
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "person_bucket", counted)
        with pytest.raises(Killed):
            pipeline.run(bundle, out, region, options or pipeline.Options(lines_a_bucket=SMALL))
    return done


def test_a_killed_run_leaves_no_output_and_goes_on_where_it_stopped(finished, bundle, region, tmp_path, monkeypatch):
    out = tmp_path / "out"
    killed_after(2, monkeypatch, bundle, region, out)
    assert [p.name for p in out.iterdir()] == [".work"]
    judged, whole = [], stages.person_bucket
    monkeypatch.setattr(stages, "person_bucket", lambda *args: judged.append(1) or whole(*args))
    totals = []
    options = pipeline.Options(lines_a_bucket=SMALL, resume=True)
    pipeline.run(bundle, out, region, options, lambda stage, done, total: totals.append((stage, total)))
    assert len(judged) == max(total for stage, total in totals if "settle" in stage) - 2
    assert differing(finished, out) == []


def test_a_run_resumed_with_other_buckets_gives_the_same(finished, bundle, region, tmp_path, monkeypatch):
    out = tmp_path / "out"
    killed_after(1, monkeypatch, bundle, region, out)
    pipeline.run(bundle, out, region, pipeline.Options(resume=True))
    assert differing(finished, out) == []


def test_a_run_is_never_resumed_with_the_buckets_of_other_claims(bundle, changed, region, tmp_path, monkeypatch):
    out = tmp_path / "out"
    killed_after(2, monkeypatch, bundle, region, out)
    pipeline.run(changed.bundle, out, region, pipeline.Options(lines_a_bucket=SMALL, resume=True))
    assert differing(out, changed.out) == []


@dataclass
class Changed:
    """Another bundle and OUT of its run."""

    bundle: Path
    out: Path


@pytest.fixture(scope="module")
def changed(bundle, region, tmp_path_factory) -> Changed:
    """The bundle with the claims of one institution only."""
    folder = tmp_path_factory.mktemp("changed")
    made = Changed(fewer(bundle, folder / "in"), folder / "out")
    pipeline.run(made.bundle, made.out, region)
    return made


def fewer(bundle: Path, folder: Path) -> Path:
    shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("truth"))
    claims = pl.read_csv(bundle / "claims.csv", infer_schema=False)
    kept = claims.filter(pl.col("fixmedins_code") == claims["fixmedins_code"].min())
    for path in folder.glob("*.csv"):
        frame = pl.read_csv(path, infer_schema=False)
        if "setl_id" in frame.columns:
            frame.filter(pl.col("setl_id").is_in(kept["setl_id"].implode())).write_csv(path)
    return folder


def test_a_failure_while_the_report_is_made_leaves_no_output(bundle, region, tmp_path, monkeypatch):
    def broken(*args):
        raise Killed

    monkeypatch.setattr(pipeline, "write_report", broken)
    with pytest.raises(Killed):
        pipeline.run(bundle, tmp_path / "out", region)
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".work"]


def test_success_is_the_last_thing_written(finished):
    last = (finished / "_SUCCESS").stat().st_mtime_ns
    assert all(p.stat().st_mtime_ns <= last for p in finished.rglob("*") if p.is_file())


def test_the_same_run_again_computes_nothing(finished, bundle, region, tmp_path, monkeypatch):
    out = shutil.copytree(finished, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    monkeypatch.setattr(stages, "person_bucket", None)
    pipeline.run(bundle, out, region)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_other_claims_into_the_same_folder_replace_all_of_the_old_run(finished, changed, region, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    pipeline.run(changed.bundle, out, region)
    assert differing(out, changed.out) == []


def test_a_half_replaced_run_does_not_stand_as_done(finished, changed, region, tmp_path, monkeypatch):
    out = shutil.copytree(finished, tmp_path / "out")
    move, moved = Path.replace, []

    def second_move_fails(self, target):
        if Path(target).parent == out:
            moved.append(target)
            if len(moved) == 2:
                raise Killed
        return move(self, target)

    monkeypatch.setattr(Path, "replace", second_move_fails)
    with pytest.raises(Killed):
        pipeline.run(changed.bundle, out, region, pipeline.Options(report=False))
    assert not (out / "_SUCCESS").exists()


def test_one_stage_alone_is_not_taken_for_the_whole_run(finished, bundle, region, tmp_path):
    out = tmp_path / "out"
    pipeline.run(bundle, out, region, pipeline.Options(report=False), parts=("audit",))
    pipeline.run(bundle, out, region)
    assert differing(finished, out) == []


def test_a_folder_that_holds_something_else_is_refused(bundle, region, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageProblem, match="不为空"):
        pipeline.run(bundle, tmp_path, region)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_buckets_never_part_a_person(bundle, region, tmp_path):
    extract = pipeline.read_once(bundle, tmp_path, region, pipeline.Options(), pipeline.quiet)
    count = buckets.split(extract.tables, tmp_path / "cut", SMALL)
    seen, rows = {}, 0
    for number in range(count):
        claims = buckets.bucket_tables(tmp_path / "cut", number)["claims"]
        rows += claims.height
        for person in claims["_person"].unique():
            assert seen.setdefault(person, number) == number
    assert rows == extract.tables["claims"].select(pl.len()).collect().item()


def test_one_who_was_cared_for_and_has_no_claim_lies_in_a_bucket(tmp_path):
    claims = pl.LazyFrame({"setl_id": ["S1"], "psn_no": ["P1"]})
    visits = frame_of("ltc_visits", [{"visit_id": "C1", "psn_no": "P2", "begntime": "2025-03-05 10:00:00"}])
    buckets.split({"claims": claims, "ltc_visits": visits.lazy()}, tmp_path)
    assert buckets.bucket_tables(tmp_path, 0)["ltc_visits"]["visit_id"].to_list() == ["C1"]


def test_a_prescription_lies_with_the_claim_that_names_it_whoever_it_was_written_for(tmp_path):
    claims = pl.LazyFrame({"setl_id": ["S1", "S2"], "psn_no": ["P1", "P2"]})
    lines = pl.LazyFrame({"feedetl_sn": ["F1", "F2"], "setl_id": ["S1", "S2"], "rxno": ["R2", "R9"]})
    written = frame_of("prescriptions", [{"rxno": "R2", "psn_no": "P2"}, {"rxno": "R9"}, {"rxno": "R0"}])
    tables = {"claims": claims, "fee_lines": lines, "prescriptions": written.lazy()}
    count = buckets.split(tables, tmp_path, 1)
    found = [buckets.bucket_tables(tmp_path, number) for number in range(count)]
    of = {t["claims"]["psn_no"][0]: t["prescriptions"]["rxno"].to_list() for t in found if t["claims"].height == 1}
    assert of == {"P1": ["R2"], "P2": ["R2", "R9"]}


# names


@pytest.fixture(scope="module")
def secrets(bundle) -> set[str]:
    """Numbers and names of persons and doctors in the bundle, long enough not to be met by chance."""
    columns = {
        "persons": ["psn_no", "psn_name", "certno"], "claims": ["psn_no", "atddr_code", "atddr_name"],
        "fee_lines": ["bilg_dr_codg", "bilg_dr_name"], "practitioners": ["prac_psn_code", "prac_psn_name"],
        "trace_codes": ["psn_no"], "account_openings": ["psn_no"],
    }  # fmt: skip
    found = set()
    for name, wanted in columns.items():
        frame = pl.read_csv(bundle / f"{name}.csv", infer_schema=False)
        for column in set(wanted) & set(frame.columns):
            found |= set(frame[column].drop_nulls())
    return {text for text in found if len(text) > 3 or (len(text) > 1 and not text.isascii())}


def words_of(out: Path) -> dict[str, str]:
    """Every output as text: tables value by value, the parts of spreadsheets unpacked."""
    said = {}
    for path in (p for p in sorted(out.rglob("*")) if p.is_file()):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".parquet":
            said[name] = pl.read_parquet(path).select(pl.col(pl.String)).write_csv()
        elif path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as book:
                said[name] = "\n".join(book.read(part).decode("utf-8") for part in book.namelist())
        else:
            said[name] = path.read_text("utf-8")
    return said


def leaks(out: Path, secrets: set[str]) -> set[tuple[str, str]]:
    return {(name, secret) for name, text in words_of(out).items() for secret in secrets if secret in text}


def test_no_person_or_doctor_can_be_read_from_any_output(finished, secrets):
    assert len(secrets) > 300
    assert leaks(finished, secrets) == set()


def test_a_rejected_row_shows_no_person(bundle, region, tmp_path, secrets):
    source = shutil.copytree(bundle, tmp_path / "in", ignore=shutil.ignore_patterns("truth"))
    for name in ("claims", "persons", "fee_lines"):
        path = source / f"{name}.csv"
        head, row, *rest = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join([head, row, *rest, row.rstrip("\n") + ",surplus,fields\n"]), "utf-8")
    pipeline.run(source, tmp_path / "out", region)
    assert table(tmp_path / "out", "rejects").height == 3
    assert leaks(tmp_path / "out", secrets) == set()


def test_names_are_kept_on_demand_and_the_run_says_so(finished, bundle, region, tmp_path, secrets):
    out = tmp_path / "out"
    pipeline.run(bundle, out, region, pipeline.Options(reveal=True))
    assert manifest(out)["revealed"] is True
    assert manifest(finished)["revealed"] is False
    assert set(table(out, "settlement")["psn_no"]) <= secrets
    assert manifest(out)["run_id"] != manifest(finished)["run_id"]
    assert "未脱敏" in (out / "report.html").read_text("utf-8")
    assert "未脱敏" not in (finished / "report.html").read_text("utf-8")


def test_a_pseudonym_is_one_in_all_tables_and_another_with_another_key(finished, bundle, region, tmp_path, monkeypatch):
    findings, settled = table(finished, "findings"), table(finished, "settlement")
    known = dict(settled.select("setl_id", "psn_no").iter_rows())
    named = findings.drop_nulls(["setl_id", "psn_no"]).select("setl_id", "psn_no").rows()
    assert named
    assert all(known[claim] == person for claim, person in named)
    monkeypatch.setenv("YIBAO_KEY_FILE", str(tmp_path / "other.key"))
    pipeline.run(bundle, tmp_path / "out", region, pipeline.Options(report=False))
    assert not set(table(tmp_path / "out", "settlement")["psn_no"]) & set(settled["psn_no"])
    assert (tmp_path / "other.key").stat().st_mode & 0o077 == 0


def test_a_scheme_of_the_same_name_with_other_tables_is_another_run(tmp_path):
    folder = tmp_path / "scheme"
    shutil.copytree(seeds_folder() / "drg" / "chs-drg-starter", folder)
    before = load_region(scheme=str(folder)).scheme_sha256
    assert load_region(scheme=str(folder)).scheme_sha256 == before
    (folder / "README.md").write_text("another note", "utf-8")
    assert load_region(scheme=str(folder)).scheme_sha256 == before
    weights = folder / "weights.csv"
    weights.write_text(weights.read_text("utf-8").replace("\nAA19,", "\nAA19,1"), "utf-8")
    region = load_region(scheme=str(folder))
    assert region.scheme_sha256 != before
    known = replace(region, scheme_sha256=before)
    assert identity([], region, pipeline.Options()) != identity([], known, pipeline.Options())
