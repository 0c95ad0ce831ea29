"""The geometry of the charts of the report: plain numbers for the template to draw as inline SVG."""

from datetime import datetime, timedelta

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


# the life of a code: time to the right, a lane per institution

_LEFT, _RIGHT, _TOP, _LANE = 232, 972, 22, 46  # where marks may lie, in units of WIDTH; the names stand left of them
_TICKS = 4  # spaces between the dates on the axis
_APART = 17  # least distance of two marks on a lane
_LANES, MARKS = 8, 40  # drawn; the table below has the others
_LABEL = (150, 16)  # the room a distance takes


def timeline(rows: list[dict]) -> dict:
    """The events of one code (rows of code_history, in order) on lanes: height, lanes, ticks, marks, hops and how many
    institutions and events were left out (`more_lanes`, `more_marks`).

    marks: x, y, what (its kind, or its state where that is more than to stand). hops: from the event before to one at
    another institution, x1 y1 x2 y2, accused (to a sale the finding accuses), and where there is room for it
    the text at tx, ty.
    """
    sites = list(dict.fromkeys(row["fixmedins_code"] for row in rows))
    names = {row["fixmedins_code"]: row["fixmedins_name"] or row["fixmedins_code"] for row in rows}
    lane = {site: _TOP + at * _LANE + _LANE // 2 for at, site in enumerate(sites[:_LANES])}
    shown = [row for row in rows if row["fixmedins_code"] in lane][:MARKS]
    begin, end = (pick(row["time"] for row in shown) for pick in (min, max))
    marks = _spaced(
        [{"x": _at(row["time"], begin, end), "y": lane[row["fixmedins_code"]], "what": mark(row)} for row in shown]
    )
    return {
        "height": _TOP + len(lane) * _LANE + 30,
        "lanes": [{"y": y, "label": _short(names[site], 14)} for site, y in lane.items()],
        "ticks": _ticks(begin, end),
        "marks": marks,
        "hops": _hops(shown, marks),
        "more_lanes": len(sites) - len(lane),
        "more_marks": len(rows) - len(shown),
    }


def _short(name: str, limit: int) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def mark(row: dict) -> str:
    """What a mark stands for: what became of an event where that is more than to stand, else its kind."""
    if row["accused"] and row["state"] == "stands":
        return "accused"
    return row["state"] if row["state"] in ("excess", "retold", "netted", "cancelled") else row["kind"]


def _at(time: datetime, begin: datetime, end: datetime) -> int:
    span = (end - begin) // timedelta(seconds=1)
    return _LEFT + (time - begin) // timedelta(seconds=1) * (_RIGHT - _LEFT) // span if span else _LEFT + 60


def _spaced(marks: list[dict]) -> list[dict]:
    """Marks moved right where they would cover the one before on their lane, and back where they would leave it."""
    last: dict[int, int] = {}
    for mark in marks:
        mark["x"] = last[mark["y"]] = max(mark["x"], last.get(mark["y"], -_APART) + _APART)
    least: dict[int, int] = {}
    for mark in reversed(marks):
        mark["x"] = least[mark["y"]] = min(mark["x"], least.get(mark["y"], _RIGHT + _APART) - _APART)
    return marks


def _ticks(begin: datetime, end: datetime) -> list[dict]:
    form = "%m-%d %H:%M" if timedelta(0) < end - begin <= timedelta(days=_TICKS) else "%Y-%m-%d"
    times = [begin + (end - begin) * at // _TICKS for at in range(_TICKS + 1)] if end > begin else [begin]
    return [{"x": _at(time, begin, end), "label": time.strftime(form)} for time in times]


def _hops(rows: list[dict], marks: list[dict]) -> list[dict]:
    hops = []
    for at in range(1, len(rows)):
        before, row, one, other = rows[at - 1], rows[at], marks[at - 1], marks[at]
        if one["y"] == other["y"] or row["seq"] != before["seq"] + 1:
            continue
        middle = min(max((one["x"] + other["x"]) // 2, _LEFT + _LABEL[0] // 2), _RIGHT - _LABEL[0] // 2)
        hops.append({"x1": one["x"], "y1": one["y"], "x2": other["x"], "y2": other["y"], "text": way_said(row),
                     "accused": mark(row) in ("accused", "excess"), "tx": middle,
                     "ty": (one["y"] + other["y"]) // 2})  # fmt: skip
    taken: list[dict] = []
    for hop in sorted(hops, key=lambda hop: not hop["accused"]):  # those to accused sales are said first
        near = [other for other in taken if abs(other["tx"] - hop["tx"]) < _LABEL[0]]
        covers = [m for m in marks if abs(m["x"] - hop["tx"]) < _LABEL[0] // 2 and abs(m["y"] - hop["ty"]) < _LABEL[1]]
        if covers or any(abs(other["ty"] - hop["ty"]) < _LABEL[1] for other in near):
            hop["text"] = ""
        else:
            taken.append(hop)
    return hops


_WAYS = {  # by whether in English: day, hour, minute, distance unknown, km, same place, and how they are put
    False: ("天", "小时", "分", "距离不详", "公里", "同一地点", "{} · {}"),
    True: ("d", "h", "min", "distance unknown", "km", "same place", "{}, {} after"),
}


def way_said(row: dict, english: bool = False) -> str:
    """How far and how long after the event before: 149.9 公里 · 18 天, or 149.9 km, 18 d after; empty for the first."""
    if row["gap_minutes"] is None:
        return ""
    day, hour, minute, unknown, km, here, both = _WAYS[english]
    days, minutes = divmod(row["gap_minutes"], 1440)
    hours, rest = divmod(minutes, 60)
    gap = f"{days} {day}" if days else f"{hours} {hour} {rest} {minute}" if hours else f"{minutes} {minute}"
    far = unknown if row["km"] is None else f"{row['km']} {km}" if row["km"] else here
    return both.format(far, gap)


# a network: persons left, institutions right

_PERSONS_AT, _SITES_AT, _STEP = 330, 670, 24
_NODES_A_SIDE = 18
_WIDEST = 9
_ENDS = ("psn_no", "fixmedins_code")


def bipartite(edges: list[dict]) -> dict:
    """The lines of one network (rows of network_edges) drawn: height, persons, sites, lines, more_persons, more_sites.

    persons and sites: y, label, dark (the first buyers, the sites of resale). lines: y1 (left), y2 (right), width by
    codes, joins. At most _NODES_A_SIDE of a side are drawn, those of the most codes first, members before others.
    """
    persons, sites = ({key: _weight(edges, name, key) for key in {e[name] for e in edges}} for name in _ENDS)
    left, right = (sorted(side, key=lambda node: (side[node], node))[:_NODES_A_SIDE] for side in (persons, sites))
    lines = [e for e in edges if e["psn_no"] in left and e["fixmedins_code"] in right]
    right = _by_neighbours(right, left, lines, "fixmedins_code", "psn_no")
    left = _by_neighbours(left, right, lines, "psn_no", "fixmedins_code")
    tallest = max(len(left), len(right))
    y = [{node: _STEP + (tallest - len(side)) * _STEP // 2 + at * _STEP for at, node in enumerate(side)}
         for side in (left, right)]  # fmt: skip
    first = {e["psn_no"] for e in lines if e["first_codes"] or e["resold_codes"]}
    resale = {e["fixmedins_code"] for e in lines if e["resold_codes"] or e["later_codes"]}
    names = {e["fixmedins_code"]: e["fixmedins_name"] or e["fixmedins_code"] for e in lines}
    return {
        "height": (tallest + 1) * _STEP,
        "persons": [{"x": _PERSONS_AT, "y": y[0][n], "label": _short(n, 22), "dark": n in first} for n in left],
        "sites": [{"x": _SITES_AT, "y": y[1][n], "label": _short(names.get(n, n), 22), "dark": n in resale}
                  for n in right],
        "lines": [{"x1": _PERSONS_AT, "x2": _SITES_AT, "y1": y[0][e["psn_no"]], "y2": y[1][e["fixmedins_code"]],
                   "width": min(e["codes"], _WIDEST), "codes": e["codes"], "joins": e["state"] == "joins"}
                  for e in sorted(lines, key=lambda e: (e["state"] == "joins", e["codes"], e["psn_no"]))],
        "more_persons": len(persons) - len(left),
        "more_sites": len(sites) - len(right),
    }  # fmt: skip


def _weight(edges: list[dict], name: str, node: str) -> tuple[int, int]:
    """What a node is ordered by: the codes of its joining lines, then of all, the most first."""
    own = [e for e in edges if e[name] == node]
    return -sum(e["codes"] for e in own if e["state"] == "joins"), -sum(e["codes"] for e in own)


def _by_neighbours(side: list[str], other: list[str], lines: list[dict], name: str, facing: str) -> list[str]:
    """A side in order of where its neighbours stand on average, so that few lines cross."""
    place = {node: at for at, node in enumerate(other)}
    at = {node: [(place[e[facing]], e["codes"]) for e in lines if e[name] == node] for node in side}
    mean = {n: sum(p * c for p, c in near) * WIDTH // max(sum(c for _, c in near), 1) for n, near in at.items()}
    return sorted(side, key=lambda node: (mean[node], node))
