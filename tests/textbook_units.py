"""Units too many of a day, a stay or a person, rule by rule, as the answer key's text says it.

UNITS: {code: rule(hospital) -> [(line, units)]}.
"""

from collections import Counter
from datetime import date
from fractions import Fraction

from textbook import DAY, Claim, Hospital, Line, grouped

Excess = list[tuple[Line, Fraction]]


def whole(lines) -> Excess:
    return [(line, line.units) for line in lines]


def total(lines) -> Fraction:
    return sum((line.units for line in lines), Fraction(0))


def cut(lines: list[Line], over: Fraction, by=lambda x: x.order) -> Excess:
    """The latest units of the lines."""
    found = []
    for line in sorted(lines, key=by, reverse=True):
        if over > 0:
            found.append((line, min(over, line.units)))
            over -= line.units
    return found


def posted_late(hospital: Hospital, lines: list[Line], claim: Claim, day: date, cap) -> bool:
    """The day before was charged together with the day."""
    said = hospital.rules["batch_posting"]
    of = grouped(lines, lambda x: x.day)
    before = day - DAY
    stays = claim.inpatient and claim.admitted <= before <= claim.discharged
    return bool(
        stays
        and before not in of
        and any(day + DAY * n in of for n in said["charged_on_any_of_day_offsets"])
        and total(of[day]) <= said["max_multiple_of_cap"] * cap
        and total(lines) <= cap * max(said["min_days"], claim.days)
    )


def over_a_day(hospital: Hospital, lines: list[Line], cap, batch: bool) -> Excess:
    """Per claim: units of a day beyond the cap, unless posted late."""
    found = []
    for claim, own in grouped(lines, lambda x: x.claim).items():
        for day, of_day in grouped(own, lambda x: x.day).items():
            if total(of_day) > cap and not (batch and posted_late(hospital, own, claim, day, cap)):
                found += cut(of_day, total(of_day) - cap)
    return found


def pairs(code: str):
    """Items that another one of the claim includes: all their units."""

    def together(window: str, main: Line, other: Line) -> bool:
        apart = abs((main.time - other.time).total_seconds()) / 60
        same_day = main.day == other.day
        return {"stay": True, "day": same_day, "hour": apart < 60, "6h": apart <= 360}[window]

    def rule(hospital: Hospital) -> Excess:
        found = {}
        for row in hospital.table("duplicate_pairs", code):
            for line in hospital.lines({row["included"]}):
                mains = [x for x in line.claim.lines if x.item == row["main"]]
                if any(together(row["window"], main, line) for main in mains):
                    found[line] = line.units
        return list(found.items())

    return rule


def d04(hospital: Hospital) -> Excess:
    """The cheapest beds are too many."""
    cap, found = hospital.rules["D04"]["max_per_day"], []
    for own in grouped(hospital.lines(hospital.items("beds")), lambda x: x.claim).values():
        over = grouped(over_a_day(hospital, own, cap, True), lambda e: e[0].day)
        for day, excess in over.items():
            found += cut([x for x in own if x.day == day], sum(n for _, n in excess), lambda x: (-x.price, x.order))
    return found


def d05(hospital: Hospital) -> Excess:
    """Of several kinds the dearest line of the day stays; of one kind one unit, unless it is charged by the hour."""
    said = hospital.rules["D05"]
    cap, hourly = said["max_per_day"], hospital.items(said["without_item_set"])
    found = []
    for claim, own in grouped(hospital.lines(hospital.items(said["item_set"])), lambda x: x.claim).items():
        daily = [x for x in own if x.item not in hourly]
        for day, lines in grouped(own, lambda x: x.day).items():
            graded = [x for x in lines if x in daily]
            hours = [x for x in lines if x not in daily]
            paid = [sum(x.share(x.units)[0] for x in hours), *(x.share(x.units)[0] for x in graded)]
            if hours and paid[0] == max(paid):
                found += whole(graded)
            elif graded and (len({x.item for x in lines}) > said["max_kinds_per_day"] or total(graded) > cap):
                late = not hours and posted_late(hospital, daily, claim, day, cap)
                cheapest = cut(graded, total(graded) - cap, lambda x: (-x.price, x.order))
                found += [] if late else whole(hours) + cheapest
    return found


def e01(hospital: Hospital) -> Excess:
    said = hospital.rules["E01"]
    found = []
    for name in said["item_sets"]:
        lines = hospital.lines(hospital.items(name), hospital.stays)
        for claim, own in grouped(lines, lambda x: x.claim).items():
            found += cut(own, total(own) - max(said["min_days"], claim.days))
    return found


def e02(hospital: Hospital) -> Excess:
    found = []
    for row in hospital.table("frequency_limits", "E02"):
        found += over_a_day(hospital, hospital.lines({row["item_id"]}), row["max_per_day"], True)
    return found


def e03(hospital: Hospital) -> Excess:
    said = hospital.rules["E03"]
    found = []
    for item in hospital.items(said["item_set"]):
        for claim, own in grouped(hospital.lines({item}, hospital.stays), lambda x: x.claim).items():
            found += cut(own, total(own) - said["hours_per_day"] * claim.days - said["tolerance_hours"])
    return found


def e06(hospital: Hospital) -> Excess:
    """Of operations of one group at full price on one day all but the dearest count half. Of three the cheapest bears
    both halves, which is the least it can be."""
    guide = hospital.region["guide_price_fen_by_item_and_level"]
    found: dict[Line, Fraction] = {}
    for group in hospital.region["same_incision_groups"].values():
        for own in grouped(hospital.lines(group), lambda x: (x.claim, x.day)).values():
            full = [x for x in own if x.units >= 1 and x.price * 100 >= guide[x.item][x.claim.p_level]]
            over = Fraction(len({x.item for x in full}) - 1, 2)
            for line, units in cut(full, over, lambda x: (-x.price, x.order)):
                found[line] = max(units, found.get(line, Fraction(0)))
    return list(found.items())


def e07(hospital: Hospital) -> Excess:
    said = hospital.rules["E07"]
    items = hospital.items(said["item_set"])
    return [x for i in items for x in over_a_day(hospital, hospital.lines({i}), said["max_per_day"], True)]


def e08(hospital: Hospital) -> Excess:
    found = []
    for row in hospital.table("addon_items", "E08"):
        for claim, own in grouped(hospital.lines({row["addon"]}), lambda x: x.claim).items():
            found += cut(own, total(own) - total(x for x in claim.lines if x.item == row["base"]))
    return found


def e10(hospital: Hospital) -> Excess:
    said = hospital.rules["E10"]
    found = []
    for claim in hospital.stays:
        for line in claim.lines:
            late = said["days_after_discharge"].get(line.category, said["days_after_discharge_other"])
            first, last = claim.admitted - DAY * said["days_before_admission"], claim.discharged + DAY * late
            taken_home = line.day > last and line.row["DISCHARGE_MEDICATION"] == "1"
            found += [] if first <= line.day <= last or taken_home else [(line, line.units)]
    return found


def a04(hospital: Hospital) -> Excess:
    said = hospital.rules["A04"]
    found = []
    for claim in hospital.stays:
        if not claim.insured or claim.kind == "home_bed":
            continue
        of = grouped(claim.lines, lambda x: x.day)
        run = []
        for day in [claim.admitted + DAY * n for n in range(claim.days)] + [None]:
            if day and all(x.category in said["charge_categories"] for x in of.get(day, [])):
                run.append(day)
                continue
            if len(run) >= said["min_run_days"]:
                found += whole(x for d in run for x in of.get(d, []))
            run = []
    return found


def too_close(lines: list[Line], days: int, least: int = 0) -> Excess:
    """Lines less than `days` days, but at least `least`, after an earlier one; on one day the lines after the first."""
    found, dates = [], []
    for day, own in sorted(grouped(lines, lambda x: x.day).items()):
        if any(least <= (day - other).days < days for other in dates):
            found += whole(own)
        elif not least:
            found += whole(own[1:])
        dates.append(day)
    return found


def intervals(code: str, by):
    def rule(hospital: Hospital) -> Excess:
        found = []
        for row in hospital.table("period_limits", code):
            for own in grouped(hospital.lines({row["item_id"]}), by).values():
                found += too_close(own, row["min_gap_days"])
        return found

    return rule


def b04(hospital: Hospital) -> Excess:
    said = hospital.rules["B04"]
    stays = [c for c in hospital.stays if not c.has(hospital.region["icd_lists"][said["exempt_icd_list"]])]
    lines = hospital.lines(hospital.items(said["item_set"]), stays)
    found = []
    for own in grouped(lines, lambda x: (x.claim, x.item)).values():
        found += cut(own, total(own) - said["max_per_stay"])
    return found


def b05(hospital: Hospital) -> Excess:
    said = hospital.rules["B05"]
    reasons = hospital.region["icd_lists"][said["indicated_icd_list"]]
    return whole(x for x in hospital.lines(hospital.items(said["item_set"])) if not x.claim.has(reasons))


def region_of(hospital: Hospital, line: Line) -> str | None:
    name = line.row["ITEM_NAME_HOSP"]
    for pair in hospital.rules["body_region"]["brackets"]:
        for part in name.split(pair[0])[1:]:
            if part.split(pair[1])[0] in hospital.region["body_regions"]:
                return part.split(pair[1])[0]
    return None


def b08(hospital: Hospital) -> Excess:
    said = hospital.rules["B08"]
    exempt = tuple(hospital.region["icd_lists"][said["exempt_icd_list"]])
    scans = [x for x in hospital.lines(hospital.items(said["item_set"])) if region_of(hospital, x)]
    found = []
    for own in grouped(scans, lambda x: (x.claim.person, region_of(hospital, x))).values():
        close = too_close(own, said["window_days"] + 1, said["min_days"])
        found += [(x, units) for x, units in close if not (x.claim.diagnoses or [""])[0].startswith(exempt)]
    return found


def l08(hospital: Hospital) -> Excess:
    said = hospital.rules["L08"]
    mains = {
        (x.claim, x.day, region_of(hospital, x))
        for x in hospital.lines(hospital.items(said["main_item_set"]))
        if region_of(hospital, x)
    }
    plain = hospital.lines(hospital.items(said["included_item_set"]))
    return whole(x for x in plain if (x.claim, x.day, region_of(hospital, x)) in mains)


def j01(hospital: Hospital) -> Excess:
    said = hospital.rules["J01"]
    items = hospital.items(said["item_set"])
    return [x for i in items for x in over_a_day(hospital, hospital.lines({i}), said["max_per_day"], True)]


def j05(hospital: Hospital) -> Excess:
    """Session by session: one that would be too many of any seven days is excess and counts no further."""
    said = hospital.rules["J05"]
    visits = [c for c in hospital.claims.values() if c.kind in said["kinds_of_visit"]]
    found = []
    for own in grouped(hospital.lines(hospital.items(said["item_set"]), visits), lambda x: x.claim.person).values():
        kept = Counter()
        for line in own:
            used = sum(n for day, n in kept.items() if (line.day - day).days < said["window_days"])
            good = max(Fraction(0), min(line.units, said["max_sessions"] - used))
            kept[line.day] += good
            found += [(line, line.units - good)] if line.units > good else []
    return found


def k03(hospital: Hospital) -> Excess:
    said = hospital.rules["K03"]
    items = hospital.items(said["item_set"])
    return [x for i in items for x in over_a_day(hospital, hospital.lines({i}), said["max_per_day"], False)]


PAIRS = ("B03", "D01", "D02", "D03", "D06", "D07", "D08", "J02", "J04", "L01", "L05", "L06", "L12", "L13", "L14",
         "L15", "L16", "L20", "M01", "M02", "M17")  # fmt: skip
UNITS = {code: pairs(code) for code in PAIRS} | {
    "A04": a04, "B04": b04, "B05": b05, "B08": b08, "D04": d04, "D05": d05, "E01": e01, "E02": e02, "E03": e03,
    "E06": e06, "E07": e07, "E08": e08, "E10": e10, "J01": j01, "J05": j05, "K03": k03, "L08": l08,
    "B02": intervals("B02", lambda x: x.claim.person), "K02": intervals("K02", lambda x: x.claim),
}  # fmt: skip


def money(excess: Excess) -> dict[str, tuple[int, int, int]]:
    """Cost, in-scope amount and fund by claim."""
    found: dict[str, tuple[int, int, int]] = {}
    for line, units in excess:
        old = found.get(line.claim.hisid, (0, 0, 0))
        found[line.claim.hisid] = tuple(a + b for a, b in zip(old, line.share(units), strict=True))
    return found
