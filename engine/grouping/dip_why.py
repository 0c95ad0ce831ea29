"""Says in words why a stay fell into its DIP group: diagnosis, procedures, groups it did not get, coefficients.

Texts are made once per distinct code, group, mask or row of a table and only put together per stay.
"""

import numpy as np
import polars as pl

from engine.grouping.dip import RISING, DipJudged
from engine.grouping.dip_files import CLASSES, KINDS
from engine.grouping.dip_scheme import NONE, cut

SHOWN = 5  # alternatives that are told; in a large catalogue a diagnosis has dozens
AUXILIARY = {"severity": "疾病严重程度", "comorbidity": "合并症", "age": "年龄特征"}
TREATMENTS = [f"治疗方式为{CLASSES[name]}" if name in CLASSES else "治疗方式不明，手术操作没有分类" for name in RISING]


def explain_dip(found: DipJudged) -> pl.Series:
    """One Chinese text a stay."""
    stays, scheme = found.stays, found.scheme
    grouped, without_dx = found.group != NONE, stays.dx.first == len(stays.dx.distinct)
    left = ~grouped & ~without_dx
    core = np.append(scheme.groups["kind"].to_numpy() == "core", False)[found.group]
    settled, none = core | without_dx, len(scheme.core_dx)
    pieces = [
        _texts(_diagnoses(found), stays.dx.first),
        _texts(("，主要手术操作 " + stays.proc.distinct).to_list(), stays.proc.first),
        _texts(["。"], np.zeros(len(stays))),
        _texts(_no_core(found), np.where(settled, none + 1, np.where(found.dx == NONE, none, found.dx))),
        _alternatives(found),
        _texts(_groups(found), np.where(grouped, found.group, len(scheme.groups))),
        _texts(TREATMENTS, np.where(settled, len(RISING), found.treatment)),
        _texts(
            ("，依据 " + stays.proc.distinct).to_list(),
            np.where(settled | (found.treatment == 0), len(stays.proc.distinct), found.deciding),
        ),
        _texts(["。"], np.where(settled, 1, 0)),
        *(_coefficients(found, name, grouped) for name in found.auxiliary),
        _texts(["年龄不详，不作年龄调整。"], np.where(grouped & _without_age(found), 0, 1)),
        _texts(["没有综合病种覆盖这一诊断和治疗方式，无法入组。"], np.where(left, 0, 1)),
        _texts(["病例无法判定：缺出院诊断。"], np.where(without_dx, 0, 1)),
    ]  # fmt: skip
    frame = pl.DataFrame([piece.alias(str(number)) for number, piece in enumerate(pieces)])
    return frame.select(pl.concat_str(frame.columns).alias("why")).to_series()


def _texts(texts: list[str], numbers: np.ndarray) -> pl.Series:
    """The text of each number; a number past the end has none."""
    return pl.Series([*texts, ""], dtype=pl.String).gather(np.minimum(numbers, len(texts)).astype(np.uint32))


def _diagnoses(found: DipJudged) -> list[str]:
    codes = found.stays.dx.distinct
    short = cut(codes, 3, found.scheme.dx_characters)
    texts = pl.select(pl.when(codes == short).then(pl.format("主要诊断 {}", codes))
                      .otherwise(pl.format("主要诊断 {}（{}）", codes, short))).to_series()  # fmt: skip
    return [*texts, "无出院诊断"]


def _no_core(found: DipJudged) -> list[str]:
    """For each diagnosis of core_dx, and last for any other, why a stay has no core group."""
    core = found.scheme.groups.filter(pl.col("kind") == "core")
    counts = dict(core.group_by("dx").len().iter_rows())
    texts = [f"{dx} 的 {counts[dx]} 个核心病种都不符合。" for dx in found.scheme.core_dx]
    return [*texts, "核心病种目录没有这一诊断。"]


def _groups(found: DipJudged) -> list[str]:
    texts = []
    for group, name, kind, dx, procedures, of, weight in found.scheme.groups.select(
        "group", "name", "kind", "dx", "procedures", "class", pl.col("units").cast(pl.String)
    ).iter_rows():
        if kind == "core":
            means = f"手术操作 {'+'.join(procedures)} 全部具备" if procedures else "保守治疗"
        else:
            means = CLASSES[of]
        shown = f"{weight.zfill(9)[:-8]}.{weight.zfill(9)[-8:]}"
        texts.append(f"入{KINDS[kind]} {group} {name}：诊断 {dx} × {means}，权重 {shown}。")
    return texts


def _alternatives(found: DipJudged) -> pl.Series:
    """Core groups of the diagnosis that share a procedure with the stay but are not its group, and why not."""
    other = found.touched.with_columns(best=pl.Series(found.best[found.touched["pattern"].to_numpy()]))
    other = other.filter(pl.col("group") != pl.col("best")).with_columns(all=pl.len().over("pattern"))
    other = other.filter(pl.int_range(pl.len()).over("pattern") < SHOWN)  # in order of trial, as `touched` is
    key = ["group", "best", "mask"]
    distinct = other.select(key).unique()
    groups = found.scheme.groups.select("group", "procedures", "units").rows()
    texts = [_why_not(groups[group], groups[best], mask) for group, best, mask in distinct.iter_rows()]
    rows = other.join(distinct.with_columns(text=pl.Series(texts, dtype=pl.String)), on=key, maintain_order="left")
    more = (
        pl.when(pl.col("all").first() > SHOWN).then(pl.format(" 等 {} 个", pl.col("all").first())).otherwise(pl.lit(""))
    )
    told = rows.group_by("pattern", maintain_order=True).agg(text=pl.col("text").str.join("；") + more + "。")
    place = np.full(len(found.best), len(told), dtype=np.int64)
    place[told["pattern"].to_numpy()] = np.arange(len(told))
    return _texts(told["text"].to_list(), place[found.pattern])


def _why_not(other: tuple, chosen: tuple, mask: int) -> str:
    """Both are (group, procedures, units). A group that fits was passed over for one that is tried before it."""
    code, procedures, units = other
    missing = [name for bit, name in enumerate(procedures) if not mask >> bit & 1]
    if missing:
        return f"未入 {code}：缺 {'、'.join(missing)}"
    fewer, lower = len(procedures) < len(chosen[1]), units < chosen[2]
    return f"未入 {code}：{'所含手术操作较少' if fewer else '权重较低' if lower else '编码次序在后'}"


def _coefficients(found: DipJudged, name: str, grouped: np.ndarray) -> pl.Series:
    table = found.scheme.auxiliary[name]
    texts = [f"{AUXILIARY[name]}：{level}，系数 {text}。" for level, text in table.select("level", "text").iter_rows()]
    held = found.auxiliary[name]
    return _texts(texts, np.where((held != NONE) & grouped, held, len(texts)))


def _without_age(found: DipJudged) -> np.ndarray:
    return found.stays.facts["age_years"].is_null().to_numpy() & ("age" in found.auxiliary)
