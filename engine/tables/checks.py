"""The 12 official checks of an extract (V01 to V12) and the arithmetic identities (A, L): can this extract be trusted?

V04, V05, V06 and V09 count the rows as they came, before anything was set aside; V03 counts the accepted ones.
Source of the V checks: the validation sheet of the 2024 flight-inspection form; its tolerances are used as printed, the
header side being the denominator, since the form names none.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from engine.tables.extract import Extract
from engine.tables.identities import identity_rows

TITLES = {
    "V01": "导出数据能否重新导回原提数数据库",
    "V02": "导回的数据与导出的数据量一致",
    "V03": "主单医疗总费用与明细金额合计一致",
    "V04": "主单与明细的结算单据号数量一致",
    "V05": "主单与明细通过结算单据号可以关联",
    "V06": "主单结算单据号不重复",
    "V07": "结算日期在提取时间范围内",
    "V08": "各个月份均有数据",
    "V09": "主单医疗总费用无负值（退费除外）",
    "V10": "必填字段有值",
    "V11": "医疗总费用与财务报表对应",
    "V12": "院端与医保端总金额一致",
}
SUM_LIMIT, COUNT_LIMIT = 5, 1  # per mille of the main side
COLUMNS = {
    "check_id": pl.String, "title": pl.String, "value": pl.String, "tolerance": pl.String, "verdict": pl.String,
    "rows": pl.Int64, "detail": pl.String,
}  # fmt: skip


@dataclass
class Result:
    """What one check found: `failed` None when it cannot be made."""

    failed: bool | None
    value: str = ""
    tolerance: str = ""
    rows: int = 0
    detail: str = ""


@dataclass
class Side:
    """One pairing of main rows and detail rows (inpatient or outpatient), as they came."""

    label: str
    main: pl.DataFrame
    detail: pl.DataFrame | None
    main_fen: int
    detail_fen: int


def checks(extract: Extract, declared: dict | None = None) -> pl.DataFrame:
    """One row per check: check_id, title, value, tolerance, verdict (pass, fail, not_checkable), rows, detail.

    declared: what the sender states, all optional: `rows` {file: count}, `total_fen` of the financial statement,
    `insurer_fen` of the insurer for insured claims, `from` and `to` dates of the extract.
    """
    declared = declared or {}
    sides = _sides(extract)
    found = {
        "V01": Result(None, detail="未随文件申明数据格式"),
        "V02": _row_counts(extract, declared.get("rows")),
        "V03": _over_sides(sides, _sums),
        "V04": _over_sides(sides, _counts),
        "V05": _over_sides(sides, _links),
        "V06": _over_sides(sides, _twins, needs_detail=False),
        "V07": _in_range(sides, declared.get("from"), declared.get("to")),
        "V08": _months(sides, declared.get("from"), declared.get("to")),
        "V09": _over_sides(sides, _negatives, needs_detail=False),
        "V10": _filled(extract),
        "V11": _control(sum(s.main_fen for s in sides), declared.get("total_fen"), "缺财务报表数"),
        "V12": _control(_insured_fen(extract), declared.get("insurer_fen"), "缺医保端总金额"),
    }
    rows = [(i, TITLES[i], r.value, r.tolerance, _verdict(r.failed), r.rows, r.detail) for i, r in found.items()]
    official = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    return pl.concat([official, identity_rows(extract.tables).cast(COLUMNS)])


def _verdict(failed: bool | None) -> str:
    return "not_checkable" if failed is None else "fail" if failed else "pass"


def _sides(extract: Extract) -> list[Side]:
    stats, result = extract.raw_stats, []
    for part in sorted({p for p, _ in stats.sides}):
        main, detail = stats.side(part, "main"), stats.side(part, "detail")
        if main is None:
            continue
        totals = {role: _control_total(extract, part, role) for role in ("main", "detail")}
        result.append(
            Side(
                stats.part_label.get(part, part),
                main.collect(),
                None if detail is None else detail.collect(),
                *totals.values(),
            )
        )
    return result


def _control_total(extract: Extract, part: str, role: str) -> int:
    name = "medfee_sumamt" if role == "main" else "det_item_fee_sumamt"
    return sum(i["control_totals"].get(name, 0) for i in extract.inputs if (i["part"], i["role"]) == (part, role))


def _over_sides(sides: list[Side], check, needs_detail: bool = True) -> Result:
    """The check on inpatient and outpatient apart; it fails when either fails."""
    usable = [s for s in sides if s.detail is not None or not needs_detail]
    if not usable:
        return Result(None, detail="缺主单或明细")
    found = [(s.label, check(s)) for s in usable]
    return Result(
        any(r.failed for _, r in found),
        "；".join(f"{label} {r.value}" for label, r in found),
        found[0][1].tolerance,
        sum(r.rows for _, r in found),
        "；".join(f"{label} {r.detail}" for label, r in found if r.detail),
    )


def _sums(side: Side) -> Result:
    gap = abs(side.main_fen - side.detail_fen)
    value = f"主单 {_yuan(side.main_fen)} 元，明细 {_yuan(side.detail_fen)} 元"
    return Result(gap * 1000 > SUM_LIMIT * abs(side.main_fen), value, "0.5%", detail=f"差 {_yuan(gap)} 元（采用行）")


def _counts(side: Side) -> Result:
    main, detail = (f["setl_id"].drop_nulls().len() for f in (side.main, side.detail))
    return Result(
        abs(main - detail) * 1000 > COUNT_LIMIT * main, f"主单 {main} 个，明细 {detail} 个", "0.1%", abs(main - detail)
    )


def _links(side: Side) -> Result:
    loose = side.detail.join(side.main, on="setl_id", how="anti", nulls_equal=True)
    bare = side.main.join(side.detail, on="setl_id", how="anti", nulls_equal=True)
    base = side.main.height
    failed = max(loose.height, bare.height) * 1000 > COUNT_LIMIT * base
    value = f"明细无主单 {loose.height} 个，主单无明细 {bare.height} 个"
    return Result(
        failed, value, "0.1%", int(loose["rows"].sum()), f"无主单的明细 {int(loose['rows'].sum())} 行，主单 {base} 个"
    )


def _twins(side: Side) -> Result:
    spare = int((side.main["rows"] - 1).sum())
    return Result(
        spare * 1000 > COUNT_LIMIT * side.main.height, f"重复 {spare} 行", "0.1%", spare, f"主单 {side.main.height} 个"
    )


def _negatives(side: Side) -> Result:
    count = int(side.main["negative"].sum())
    return Result(count > 0, f"非退费负值 {count} 行", "0", count)


def _span(sides: list[Side], start: date | None, end: date | None) -> tuple[date, date] | None:
    """The declared range, else the first to the last month that has settlements."""
    first = [s.main["first"].min() for s in sides if s.main["first"].null_count() < s.main.height]
    last = [s.main["last"].max() for s in sides if s.main["last"].null_count() < s.main.height]
    if not first:
        return None
    low, high = start or min(first).date().replace(day=1), end or max(last).date()
    return low, high if end else pl.select(pl.lit(high).dt.month_end()).item()


def _in_range(sides: list[Side], start: date | None, end: date | None) -> Result:
    span = _span(sides, start, end)
    if span is None:
        return Result(None, detail="没有结算日期")
    frames = [f for s in sides for f in (s.main, s.detail) if f is not None and f["first"].null_count() < f.height]
    outside = sum(
        f.filter((pl.col("first").cast(pl.Date) < span[0]) | (pl.col("last").cast(pl.Date) > span[1])).height
        for f in frames
    )
    first, last = min(f["first"].min() for f in frames), max(f["last"].max() for f in frames)
    source = "申明的范围" if start or end else "以首末月为范围"
    return Result(outside > 0, f"{first} 至 {last}", f"{span[0]} 至 {span[1]}", outside, source)


def _months(sides: list[Side], start: date | None, end: date | None) -> Result:
    span = _span(sides, start, end)
    if span is None:
        return Result(None, detail="没有结算日期")
    wanted = pl.date_range(span[0].replace(day=1), span[1], "1mo", eager=True).dt.strftime("%Y-%m").to_list()
    have = {m for s in sides for m in s.main["first"].drop_nulls().dt.strftime("%Y-%m").unique()}
    gone = [m for m in wanted if m not in have]
    return Result(
        bool(gone),
        f"{len(wanted) - len(gone)} / {len(wanted)} 个月",
        "0",
        len(gone),
        f"缺 {'、'.join(gone)}" if gone else "",
    )


def _filled(extract: Extract) -> Result:
    missing = {f"{file}.{column}": n for (file, column), n in sorted(extract.raw_stats.missing.items())}
    detail = "；".join(f"{name} {n} 行" for name, n in list(missing.items())[:50])
    return Result(bool(missing), f"{len(missing)} 个字段", "0", sum(missing.values()), detail)


def _row_counts(extract: Extract, rows: dict[str, int] | None) -> Result:
    if not rows:
        return Result(None, detail="未随文件申明行数")
    read = {i["table"]: 0 for i in extract.inputs}
    for one in extract.inputs:
        read[one["table"]] += one["rows_in"] - one["blank"]
    wrong = {f: (n, read.get(f, 0)) for f, n in rows.items() if read.get(f, 0) != n}
    detail = "；".join(f"{f} 申明 {n}，读到 {m}" for f, (n, m) in sorted(wrong.items()))
    return Result(
        bool(wrong),
        f"{len(rows) - len(wrong)} / {len(rows)} 个文件相符",
        "0",
        sum(abs(n - m) for n, m in wrong.values()),
        detail,
    )


def _insured_fen(extract: Extract) -> int:
    claims = extract.tables.get("claims")
    if claims is None:
        return 0
    if "insured_flag" in claims.collect_schema().names():
        claims = claims.filter(pl.col("insured_flag").eq_missing("1"))
    return int(claims.select(pl.col("medfee_sumamt").cast(pl.Int128).sum()).collect().item())


def _control(fen: int, declared: int | None, missing: str) -> Result:
    value = f"本批 {_yuan(fen)} 元"
    if declared is None:
        return Result(None, value, detail=missing)
    return Result(fen != declared, value, "0", detail=f"对照数 {_yuan(declared)} 元，差 {_yuan(fen - declared)} 元")


def _yuan(fen: int) -> str:
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100:,}.{abs(fen) % 100:02}"
