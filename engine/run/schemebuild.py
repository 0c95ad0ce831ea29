"""Reads the stays of one or several extracts and derives a DIP catalogue from them."""

import tempfile
from pathlib import Path

import polars as pl

from engine.grouping.dip_build import Catalogue, build_catalogue
from engine.grouping.dip_scheme import DipScheme
from engine.grouping.scheme import load_scheme
from engine.reference.knowledge import load_knowledge
from engine.run.region import scheme_folder
from engine.run.stages import INPATIENT
from engine.tables.dictionary import table, with_fields
from engine.tables.problems import InputProblem, UsageProblem
from engine.tables.read import read

CODED = ("diagnoses", "procedures")


def built(sources: list[Path], name: str, like: str, threshold: int, weights: str, profile: str, progress) -> Catalogue:
    """The catalogue of the inpatient stays of some extracts, without refunds and what they cancel.

    like: a DIP scheme, by name or folder, whose classes of procedures and lengths of codes are taken over. weights: of
    the years, oldest first: 1:2:7. Raises UsageProblem for a scheme that is no DIP catalogue or weights that are none,
    InputProblem for missing tables and for a claim that two extracts bring.
    """
    parts = weights.split(":")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise UsageProblem(f"--weights {weights!r}", allowed="1:2:7")
    model = load_scheme(scheme_folder(like))
    if not isinstance(model, DipScheme):
        raise UsageProblem(f"不是 DIP 病种目录 not a DIP catalogue: {like}", hint="--like dip-demo")
    wordings = load_knowledge([])["wordings"]
    read_stays = []
    for number, source in enumerate(sources):
        progress("读取 read", number, len(sources))
        read_stays.append(_stays(source, profile, wordings))
    progress("读取 read", len(sources), len(sources))
    claims, diagnoses, procedures = (
        pl.concat(frames, how="diagonal_relaxed") for frames in zip(*read_stays, strict=True)
    )
    twice = claims.filter(claims["setl_id"].is_duplicated())["setl_id"].sort()
    if len(twice):
        raise InputProblem(f"几份数据含同一结算单 two extracts bring the same claim: {twice[0]}")
    return build_catalogue(claims, diagnoses, procedures, model, name, threshold, tuple(int(part) for part in parts))


def _stays(source: Path, profile: str, wordings) -> tuple[pl.DataFrame, ...]:
    """claims, diagnoses, procedures of the inpatient stays of one extract."""
    with tempfile.TemporaryDirectory() as work:
        extract = read(Path(source), Path(work) / "read", profile, wordings)
        if absent := [name for name in ("claims", "diagnoses") if name not in extract.tables]:
            raise InputProblem(f"缺少数据表 missing table: {', '.join(absent)}", str(source))
        claims = with_fields(extract.tables["claims"], "claims").select(list(table("claims").fields)).collect()
        refund = pl.col("refd_setl_flag").fill_null("0") == "1"
        gone = claims.filter(refund).select(setl_id="init_setl_id")
        stays = claims.filter(~refund, pl.col("visit_kind").is_in(INPATIENT)).join(gone, on="setl_id", how="anti")
        coded = []
        for name in CODED:
            rows = with_fields(extract.tables.get(name, pl.LazyFrame()), name).select(list(table(name).fields))
            coded.append(rows.join(stays.lazy().select("setl_id"), on="setl_id", how="semi").collect())
        return stays, *coded
