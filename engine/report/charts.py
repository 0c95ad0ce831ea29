"""The geometry of the two charts of the report: plain numbers for the template to draw as inline SVG."""

WIDTH = 1000


def waterfall(gross: dict[str, int], net: dict[str, int | None] | None) -> list[dict]:
    """The ladder of amounts as bars: {label, kind (total, less, more, due), fen, x, width} on a scale of WIDTH.

    `gross` sums the findings each for itself; `net` is the ladder with each line once, None when nothing was recovered.
    """
    if net is None:
        return _placed(
            _with_deltas(
                [
                    ("涉及金额（毛）", "", gross["gross_fen"]),
                    ("违规金额（范围内，毛）", "医保范围外部分", gross["inscope_fen"]),
                    ("基金份额（按行，毛）", "个人负担部分", gross["fund_fen"]),
                ]
            )
        )
    totals = [
        ("涉及金额（毛）", "", gross["gross_fen"]),
        ("涉及金额（净）", "规则重叠，同一明细只计一次", net["involved_fen"]),
        ("违规金额（范围内）", "医保范围外部分", net["inscope_fen"]),
        ("基金份额（按行比例）", "个人负担部分", net["fund_line_fen"]),
    ]
    if net["fund_resettled_fen"] is not None:
        totals.append(("基金份额（重新结算）", "重新结算之差", net["fund_resettled_fen"]))
    rows = _with_deltas(totals)
    before, returned = totals[-1][2], net["already_returned_fen"]
    rows += _delta("此前已退回", before, before - returned)
    rows += _delta("追回口径与封顶", before - returned, net["due_fen"])
    return _placed([*rows, ("应追回（净）", "due", net["due_fen"], 0, net["due_fen"])])


def _with_deltas(totals: list[tuple[str, str, int]]) -> list[tuple]:
    rows, before = [], None
    for label, step, fen in totals:
        if before is not None:
            rows += _delta(step, before, fen)
        rows.append((label, "total", fen, 0, fen))
        before = fen
    return rows


def _delta(label: str, before: int, after: int) -> list[tuple]:
    if before == after:
        return []
    return [(label, "less" if after < before else "more", after - before, before, after)]


def _placed(rows: list[tuple]) -> list[dict]:
    edges = [0, *[edge for *_, start, end in rows for edge in (start, end)]]
    low, span = min(edges), max(max(edges) - min(edges), 1)
    return [
        {
            "label": label,
            "kind": kind,
            "fen": fen,
            "x": (min(start, end) - low) * WIDTH // span,
            "width": abs(end - start) * WIDTH // span,
        }
        for label, kind, fen, start, end in rows
    ]


def pareto(rows: list[dict], value: str, total: int) -> list[dict]:
    """The rows with `width` (of the largest, on a scale of WIDTH) and `share`, cumulated in percent of `total`."""
    largest, running, drawn = max([row[value] for row in rows] + [1]), 0, []
    for row in rows:
        running += row[value]
        share = f"{running * 1000 // total / 10:.1f}%" if total > 0 else "—"
        drawn.append({**row, "width": max(row[value], 0) * WIDTH // largest, "share": share})
    return drawn
