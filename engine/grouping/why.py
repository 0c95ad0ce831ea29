"""Says in words why a stay was grouped as it was: conditions and codes that matched, CC and MCC that counted or not.

Texts are made once per distinct code, condition or DRG and only put together per stay.
"""

import numpy as np
import polars as pl

from engine.grouping.codes import cleaned
from engine.grouping.conditions import Alternative, in_words
from engine.grouping.scheme import Outcome, Scheme
from engine.grouping.scheme_files import LEVELS

MISSING = {"gend": "性别（1 男、2 女）", "age": "年龄", "age_days": "不足 1 周岁的天数", "dx": "出院诊断"}
LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
SET_ROLES = ("any_dx", "sec_dx", "any_proc")  # stated with the code that met them, see _matched


def explain(found) -> pl.Series:
    """One Chinese text a stay. `found` is the Judged stays."""
    scheme, stays = found.scheme, found.stays
    pieces = [
        _texts(("主要诊断 " + stays.dx.distinct).to_list() + ["无出院诊断"], stays.dx.first),
        _texts(("，主要手术 " + stays.proc.distinct).to_list(), stays.proc.first),
        _on_rows(_infants(stays.facts), len(stays)),
        _texts(_reasons(scheme), found.reached),
        _on_rows(_matched(found), len(stays)),
        _on_rows(_severity(found), len(stays)),
        _texts(_ends(scheme), found.end),
        _on_rows(pl.concat([_ungrouped(found), _invalid(found)]), len(stays)),
    ]
    frame = pl.DataFrame([piece.alias(str(number)) for number, piece in enumerate(pieces)])
    return frame.select(pl.concat_str(frame.columns).alias("why")).to_series()


def _texts(texts: list[str], numbers: np.ndarray) -> pl.Series:
    """The text of each number; a number past the end has none."""
    return pl.Series([*texts, ""], dtype=pl.String).gather(np.minimum(numbers, len(texts)).astype(np.uint32))


def _on_rows(texts: pl.DataFrame, stays: int) -> pl.Series:
    """Spreads texts (row, text) over all stays."""
    place = np.full(stays, len(texts), dtype=np.uint32)
    place[texts["row"].to_numpy()] = np.arange(len(texts), dtype=np.uint32)
    return pl.concat([texts["text"], pl.Series("text", [""])]).gather(place)


def _rows(rows: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.astype(np.uint32)}, {"row": pl.UInt32})


def _infants(facts: pl.DataFrame) -> pl.DataFrame:
    infants = facts.with_row_index("row").filter(pl.col("age_years") == 0)
    days = pl.format("，出生 {} 天", "age_days").fill_null("")
    weight = pl.format("，出生体重 {} 克", "weight").fill_null("")
    return infants.select("row", text=days + weight)


def _reasons(scheme: Scheme) -> list[str]:
    return [_reason(scheme.outcomes[number], terms, scheme.names) for number, terms in scheme.candidates]


def _reason(outcome: Outcome, terms: Alternative, names: dict[str, str]) -> str:
    own = "歧义病例 QY" if outcome.kind == "ambiguous" else f"{outcome.adrg} {names[outcome.adrg]}"
    stated = [term for term in terms if term.looks_at not in SET_ROLES or term.negated]
    conditions = "，".join(in_words(term) for term in stated) or "无其他条件"
    doubt = "，但不符合该大类任何手术或操作组" if outcome.kind == "ambiguous" else ""
    return f"。{outcome.mdc} {names[outcome.mdc]}，{own}：{conditions}{doubt}。"


def _ends(scheme: Scheme) -> list[str]:
    texts = []
    for outcome in scheme.outcomes:
        for drg, condition in outcome.drgs:
            words = "或".join("且".join(in_words(term) for term in terms) for terms in condition)
            texts.append((f"{words}，" if words else "") + f"入 {drg} {scheme.names.get(drg, '歧义组')}。")
    return texts


def _matched(found) -> pl.DataFrame:
    """For conditions on any diagnosis or procedure: the first code that met each, as row and text."""
    hits = [pl.DataFrame(schema={"row": pl.UInt32, "order": pl.Int32, "text": pl.String})]
    for term, users in found.further.items():
        uses = np.zeros(len(found.scheme.candidates) + 1, dtype=bool)
        uses[users] = not term.negated
        distinct = (found.stays.proc if term.looks_at == "any_proc" else found.stays.dx).distinct
        for words, row, code in _hits(found, term):
            keep = uses[found.reached[row]]
            met = pl.DataFrame({"row": row[keep], "code": code[keep]}).unique("row", keep="first", maintain_order=True)
            text = pl.lit(words) + distinct.gather(met["code"])
            hits.append(met.select("row", order=pl.lit(len(hits), pl.Int32), text=text))
    ordered = pl.concat(hits).sort("row", "order").group_by("row", maintain_order=True)
    return ordered.agg(pl.col("text").str.join("，") + "。")


def _hits(found, term):
    """(words, stay, code) for each list that an any_dx, sec_dx, any_proc or regions term looks into."""
    if term.looks_at in SET_ROLES:
        yield in_words(term) + "：", *found.rows_in_list(term)
    elif term.looks_at == "regions":
        for part in found.scheme.regions.get(term.name, ()):
            yield f"{part.part} ", *found.rows_in_region(part)


def _severity(found) -> pl.DataFrame:
    """Secondary diagnoses that counted as CC or MCC and those excluded, where the ADRG is split by them."""
    splits = [_split_by_severity(outcome) for outcome in found.scheme.outcomes] + [False, False]
    split = np.array(splits)[found.outcome]
    rows = found.comorbidities.filter(split[found.comorbidities["row"].to_numpy()])
    texts = rows.select("row", text=_verdicts(found).gather(rows["code"] * 2 + rows["excluded"]))
    joined = texts.group_by("row", maintain_order=True).agg(pl.col("text").str.join("、"))
    split[joined["row"].to_numpy()] = False
    none = _rows(np.flatnonzero(split)).with_columns(text=pl.lit("无 CC、MCC"))
    return pl.concat([joined, none]).select("row", text=pl.lit("其他诊断：") + pl.col("text") + "。")


def _verdicts(found) -> pl.Series:
    """Text at 2 * code for a diagnosis that counts, at 2 * code + 1 for one excluded by the principal diagnosis."""
    entry = pl.Series(found.cc_entry)
    cc = found.scheme.cc[entry.clip(0)] if len(found.scheme.cc) else found.scheme.cc
    if not len(cc):
        return pl.Series(dtype=pl.String)
    texts = cc.select(
        counts=pl.format("{} 计为 {}", found.stays.dx.distinct, pl.col("level").replace_strict(LEVEL_NAMES)),
        excluded=pl.format(
            "{} 属 {} 但被排除表 {} 排除",
            found.stays.dx.distinct,
            pl.col("level").replace_strict(LEVEL_NAMES),
            "exclusion_id",
        ),
    )
    return texts.select(pl.concat_list("counts", "excluded").explode()).to_series()


def _split_by_severity(outcome: Outcome) -> bool:
    return any(term.looks_at == "severity" for _, condition in outcome.drgs for terms in condition for term in terms)


def _ungrouped(found) -> pl.DataFrame:
    """In which MDC lists the principal diagnosis stands, or that it stands in none; row and text."""
    dx = found.stays.dx
    rows = np.flatnonzero(found.outcome == len(found.scheme.outcomes))
    codes, place = np.unique(dx.first[rows], return_inverse=True)
    national = cleaned(dx.distinct, normalise=True)
    texts = [_no_group(found, code, dx.distinct[code], national[code]) for code in codes.tolist()]
    return _rows(rows).with_columns(text=pl.Series(texts, dtype=pl.String).gather(place.astype(np.uint32)))


def _no_group(found, number: int, code: str, national: str) -> str:
    scheme = found.scheme
    listed = [
        f"{key.owner} {scheme.names[key.owner]}"
        for key, place in scheme.dx.keys.items()
        if key.owner in scheme.mdcs and not key.part and found.dx_member[place, number]
    ]
    if listed:
        return f"。主要诊断在 {'、'.join(listed)} 编码表，但没有一个 ADRG 的条件全部满足，无法入组。"
    spelling = f"，规范写法应为 {national}" if national != code else ""
    return f"。主要诊断不在任何 MDC 的编码表{spelling}，无法入组。"


def _invalid(found) -> pl.DataFrame:
    rows = np.flatnonzero(found.invalid)
    words = [pl.when(column).then(pl.lit(MISSING[column])) for column in found.stays.missing.columns]
    listed = found.stays.missing[rows].select(pl.concat_str(words, separator="、", ignore_nulls=True).alias("text"))
    return _rows(rows).with_columns(text=pl.format("。病例无法判定：缺{}。", listed["text"]))
