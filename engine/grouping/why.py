"""Says in words why a stay was grouped as it was, for an auditor who may have to defend or to doubt it.

The list and code that matched, the other groups whose conditions held too, what became of each secondary diagnosis,
and the group without the diagnosis that lifts it most and without the main procedure. Texts are made once per distinct
code, condition, DRG or sequence of groups and only put together per stay.
"""

from decimal import Decimal
from itertools import compress

import numpy as np
import polars as pl

from engine.grouping.alternatives import Trial, without_diagnosis, without_procedure
from engine.grouping.codes import cleaned
from engine.grouping.conditions import DX_SETS, PROC_SETS, Alternative, in_words
from engine.grouping.judge import Judged, lowest
from engine.grouping.scheme import Outcome, Scheme
from engine.grouping.scheme_files import LEVELS

MISSING = {"gend": "性别（1 男、2 女）", "age": "年龄", "age_days": "不足 1 周岁的天数", "dx": "出院诊断"}
LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
SETS = (*DX_SETS, *PROC_SETS)  # stated with the code that met them, see _matched
FOLLOWERS = 3  # groups named after the one reached


def explain(found: Judged) -> pl.Series:
    """One Chinese text a stay."""
    scheme, stays, size = found.scheme, found.stays, len(found.stays)
    pieces = [
        _texts(("主要诊断 " + stays.dx.distinct).extend_constant("无出院诊断", 1), stays.dx.first),
        _texts("，主要手术 " + stays.proc.distinct, stays.proc.first),
        _on_rows(_infants(stays.facts), size),
        _texts(_reasons(scheme), found.reached),
        _on_rows(_matched(found), size),
        _followers(found),
        _on_rows(_secondary(found), size),
        _texts(_ends(scheme), found.end),
        *_trial(found, without_diagnosis(found), stays.dx.distinct, "若无其他诊断 "),
        *_trial(found, without_procedure(found), stays.proc.distinct, "若无主要手术 "),
        _on_rows(pl.concat([_ungrouped(found), _invalid(found)]), size),
    ]
    frame = pl.DataFrame([piece.alias(str(number)) for number, piece in enumerate(pieces)])
    return frame.select(pl.concat_str(frame.columns).alias("why")).to_series()


# Texts on stays


def _texts(texts: pl.Series | list[str], numbers: np.ndarray) -> pl.Series:
    """The text of each number; a number past the end has none."""
    known = pl.Series(texts, dtype=pl.String).extend_constant("", 1)
    return known.gather(np.minimum(numbers, len(texts)).astype(np.uint32))


def _on_rows(texts: pl.DataFrame, stays: int) -> pl.Series:
    """Spreads texts (row, text) over all stays."""
    place = np.full(stays, len(texts), dtype=np.uint32)
    place[texts["row"].to_numpy()] = np.arange(len(texts), dtype=np.uint32)
    return pl.concat([texts["text"], pl.Series("text", [""])]).gather(place)


def _joined(texts: pl.DataFrame, separator: str) -> pl.DataFrame:
    """One text a stay, of texts (row, text) in the order of their stays."""
    listed = texts.with_columns(pl.col("row").set_sorted()).group_by("row", maintain_order=True).agg("text")
    return listed.with_columns(pl.col("text").list.join(separator))  # joining lists is far quicker than in the group_by


def _rows(rows: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.astype(np.uint32)}, {"row": pl.UInt32})


# The group


def _infants(facts: pl.DataFrame) -> pl.DataFrame:
    infants = facts.with_row_index("row").filter(pl.col("age_years") == 0)
    days = pl.format("，出生 {} 天", "age_days").fill_null("")
    weight = pl.format("，出生体重 {} 克", "weight").fill_null("")
    return infants.select("row", text=days + weight)


def _reasons(scheme: Scheme) -> list[str]:
    return [_reason(scheme.outcomes[number], terms, scheme.names) for number, terms in scheme.candidates]


def _reason(outcome: Outcome, terms: Alternative, names: dict[str, str]) -> str:
    own = "歧义病例 QY" if outcome.kind == "ambiguous" else f"{outcome.adrg} {names[outcome.adrg]}"
    stated = [term for term in terms if term.looks_at not in SETS or term.negated]
    conditions = "，".join(in_words(term) for term in stated) or "无其他条件"
    doubt = "，但不符合该大类任何手术或操作组" if outcome.kind == "ambiguous" else ""
    return f"。{outcome.mdc} {names[outcome.mdc]}，{own}：{conditions}{doubt}。"


def _ends(scheme: Scheme) -> list[str]:
    texts = []
    for outcome in scheme.outcomes:
        for drg, condition in outcome.drgs:
            words = "或".join("且".join(in_words(term) for term in terms) for terms in condition)
            texts.append((f"{words}，" if words else "") + f"入 {drg} {scheme.names.get(drg, '歧义组')}")
    return [f"{text}{weight}。" for text, weight in zip(texts, _weights(scheme), strict=False)]


def _weights(scheme: Scheme) -> list[str]:
    """In words, for each DRG counted through all outcomes, then for none and invalid; empty where there is none."""
    return [f"，权重 {plainly(units)}" if units >= 0 else "" for units in scheme.end_weights.tolist()]


def plainly(units: int) -> str:
    """Units of 1e-8 as a decimal number without superfluous noughts."""
    return f"{Decimal(units).scaleb(-8):.8f}".rstrip("0").rstrip(".")


def _matched(found: Judged) -> pl.DataFrame:
    """For conditions on any diagnosis or procedure: the first code that met each, as row and text."""
    hits = [pl.DataFrame(schema={"row": pl.UInt32, "order": pl.Int32, "text": pl.String})]
    for term, users in found.meaning.further.items():
        uses = np.zeros(len(found.scheme.candidates) + 1, dtype=bool)
        uses[users] = not term.negated
        distinct = (found.stays.proc if term.looks_at in PROC_SETS else found.stays.dx).distinct
        for words, row, code in _hits(found, term):
            keep = uses[found.reached[row]]
            met = pl.DataFrame({"row": row[keep], "code": code[keep]}).unique("row", keep="first", maintain_order=True)
            text = pl.lit(words) + distinct.gather(met["code"])
            hits.append(met.select("row", order=pl.lit(len(hits), pl.Int32), text=text))
    return _joined(pl.concat(hits).sort("row", "order"), "，").with_columns(pl.col("text") + "。")


def _hits(found: Judged, term):
    """(words, stay, code) for each list that a term on any or secondary codes, or on body regions, looks into."""
    if term.looks_at in SETS:
        yield in_words(term) + "：", *found.rows_in_list(term)
    elif term.looks_at == "regions":
        for part in found.scheme.regions.get(term.name, ()):
            yield f"{part.part} ", *found.rows_in_region(part)


def _followers(found: Judged) -> pl.Series:
    """The groups whose conditions hold too but which stand later in the order."""
    outcomes = found.scheme.outcomes
    rows = np.flatnonzero(found.outcome < len(outcomes))
    left = [None if word is None else word[rows] for word in found.left]
    sequence = np.zeros(len(found.stays), dtype=np.int64)  # its places in the base of outcomes: what follows, in order
    last, base = found.outcome[rows], len(outcomes) + 1
    for step in range(FOLLOWERS):
        left = _later(found.scheme, left, last)
        following = found.scheme.outcome_of[lowest(left, len(found.scheme.candidates), len(rows))]
        more = following < len(outcomes)
        rows, last, left = rows[more], following[more], [None if word is None else word[more] for word in left]
        sequence[rows] += (last + 1) * base**step
    distinct, number = np.unique(sequence, return_inverse=True)
    return _texts([_following(outcomes, value, base) for value in distinct.tolist()], number)


def _later(scheme: Scheme, left: list, last: np.ndarray) -> list:
    """The bits of candidates of later outcomes than the last one of each stay."""
    after = scheme.later[last]
    return [after[:, word] if bits is None else bits & after[:, word] for word, bits in enumerate(left)]


def _following(outcomes: tuple[Outcome, ...], sequence: int, base: int) -> str:
    names = []
    while sequence:
        sequence, number = divmod(sequence, base)
        outcome = outcomes[number - 1]
        names.append(outcome.drgs[0][0] if outcome.kind == "ambiguous" else outcome.adrg)
    return f"条件也满足但次序在后：{'、'.join(names)}{'等' if len(names) == FOLLOWERS else ''}。" if names else ""


# Secondary diagnoses


def _secondary(found: Judged) -> pl.DataFrame:
    """What became of each secondary diagnosis, as row and text."""
    dx = found.stays.dx
    verdict = np.zeros(len(dx.code), dtype=np.uint32)
    verdict[found.comorbidities.place] = 1 + found.comorbidities.excluded
    place = np.flatnonzero(~dx.is_first & ~found.invalid[dx.row])
    texts = _verdicts(found).gather(dx.code[place] * 3 + verdict[place])
    joined = _joined(pl.DataFrame({"row": dx.row[place], "text": texts}), "、")
    unsplit = pl.Series(np.where(found.scheme.by_severity[found.outcome[joined["row"].to_numpy()]], "", NOT_SPLIT))
    return joined.select("row", text=pl.lit("其他诊断：") + pl.col("text") + unsplit + "。")


NOT_SPLIT = "（该组不按并发症细分）"


def _verdicts(found: Judged) -> pl.Series:
    """Text at 3 * code for a diagnosis that is neither CC nor MCC, + 1 for one that counts, + 2 for one excluded."""
    scheme, codes = found.scheme, found.stays.dx.distinct
    entry = np.where(found.meaning.cc_entry < 0, len(scheme.cc), found.meaning.cc_entry).astype(np.uint32)
    nothing = pl.Series([""])
    level = pl.concat([scheme.cc["level"].replace_strict(LEVEL_NAMES, return_dtype=pl.String), nothing]).gather(entry)
    table = pl.concat([scheme.cc["exclusion_id"], nothing]).gather(entry)
    columns = pl.DataFrame({"code": codes, "level": level, "table": table}).select(
        pl.format("{} 不计", "code"),
        counts=pl.format("{} 计为 {}", "code", "level"),
        excluded=pl.format("{} 属 {} 但被排除表 {} 排除", "code", "level", "table"),
    )
    return pl.concat(columns.get_columns()).gather(np.arange(3 * len(codes), dtype=np.uint32).reshape(3, -1).T.ravel())


# The group without


def _trial(found: Judged, trial: Trial, codes: pl.Series, words: str) -> list[pl.Series]:
    """The code left out, and the group then, as two texts of each stay; empty where nothing was tried."""
    scheme = found.scheme
    drgs = [f"入 {drg}" for outcome in scheme.outcomes for drg, _ in outcome.drgs]
    ends = [f"：{text}{weight}。" for text, weight in zip([*drgs, "无法入组"], _weights(scheme), strict=False)]
    code, end = np.full(len(found.stays), len(codes)), np.full(len(found.stays), len(ends) + 1)
    code[trial.row] = trial.code
    end[trial.row] = np.where(trial.end == found.end[trial.row], len(ends), trial.end)
    return [_texts(words + codes, code), _texts([*ends, "：分组不变。"], end)]


# No group


def _ungrouped(found: Judged) -> pl.DataFrame:
    """In which MDC lists the principal diagnosis stands, or that it stands in none; row and text."""
    dx = found.stays.dx
    rows = np.flatnonzero(found.outcome == len(found.scheme.outcomes))
    codes, place = np.unique(dx.first[rows], return_inverse=True)
    written = dx.distinct.gather(codes)
    national = cleaned(written, normalise=True)
    scheme, member = found.scheme, found.meaning.dx_member
    lists = {key.owner: number for key, number in scheme.dx.keys.items() if key.owner in scheme.mdcs and not key.part}
    inside = member[list(lists.values())][:, codes].T.tolist()
    names = [f"{mdc} {scheme.names[mdc]}" for mdc in lists]
    texts = [_no_group(list(compress(names, at)), *one) for at, *one in zip(inside, written, national, strict=True)]
    return _rows(rows).with_columns(text=pl.Series(texts, dtype=pl.String).gather(place.astype(np.uint32)))


def _no_group(mdcs: list[str], code: str, national: str) -> str:
    if mdcs:
        return f"。主要诊断在 {'、'.join(mdcs)} 编码表，但没有一个 ADRG 的条件全部满足，无法入组。"
    spelling = f"，规范写法应为 {national}" if national != code else ""
    return f"。主要诊断不在任何 MDC 的编码表{spelling}，无法入组。"


def _invalid(found: Judged) -> pl.DataFrame:
    rows = np.flatnonzero(found.invalid)
    words = [pl.when(column).then(pl.lit(MISSING[column])) for column in found.stays.missing.columns]
    listed = found.stays.missing[rows].select(pl.concat_str(words, separator="、", ignore_nulls=True).alias("text"))
    return _rows(rows).with_columns(text=pl.format("。病例无法判定：缺{}。", listed["text"]))
