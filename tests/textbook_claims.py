"""Claims, price differences, wards and stores that are wrong, rule by rule, as the answer key's text says it.

CLAIMS: {code: rule(hospital) -> sets of HISIDs}; DIFFERENCES: {code: rule(hospital) -> [(line, cost, in scope, fund)]};
PLACES: {code: rule(hospital) -> {name: amounts}}.
"""

from datetime import timedelta
from fractions import Fraction
from itertools import combinations, permutations

from textbook import DAY, Claim, Hospital, Line, grouped, half_up, number
from textbook_limits import stock
from textbook_units import total

Claims = set[frozenset[str]]
Differences = list[tuple[Line, int, int, int]]


def paired(first: Claim, second: Claim) -> frozenset[str]:
    return frozenset((first.hisid, second.hisid))


def gap(first: Claim, second: Claim) -> int:
    return (second.admitted - first.discharged).days


def successive(hospital: Hospital, by):
    """Two insured stays of one person, the second beginning no earlier than the first ends."""
    for own in grouped((c for c in hospital.stays if c.insured), by).values():
        for first, second in permutations(own, 2):
            if first.begin < second.begin:
                yield first, second


def a01(hospital: Hospital) -> Claims:
    said = hospital.rules["A01"]
    exempt = tuple(hospital.region["icd_lists"][said["exempt_icd_list"]])
    return {
        paired(first, second)
        for first, second in successive(hospital, lambda c: (c.patient_id, c.hospital_id, c.ward))
        if first.ward
        and said["min_gap_days"] <= gap(first, second) <= said["window_days"]
        and first.icd3 == second.icd3 != ""
        and not first.diagnoses[0].startswith(exempt)
        and second.kind not in said["exempt_kinds_of_visit"]
    }


def a02(hospital: Hospital) -> Claims:
    said, found = hospital.rules["A02"], set()
    for own in grouped(hospital.stays, lambda c: (c.person, c.hospital_id)).values():
        for self_paid in (c for c in own if not c.insured):
            for first, last in permutations((c for c in own if c.insured), 2):
                close = 0 <= gap(first, self_paid) <= said["max_gap_days"] >= gap(self_paid, last) >= 0
                if close and first.icd3 == self_paid.icd3 == last.icd3 != "" and first.begin < last.begin:
                    found.add(frozenset((first.hisid, self_paid.hisid, last.hisid)))
    return found


def a03(hospital: Hospital) -> Claims:
    said = hospital.rules["A03"]
    return {
        paired(first, second)
        for first, second in successive(hospital, lambda c: (c.patient_id, c.hospital_id))
        if said["min_gap_days"] <= gap(first, second) <= said["max_gap_days"]
        and first.ward
        and second.ward
        and first.ward != second.ward
        and first.kind == second.kind
        and first.discharge_status not in said["exempt_discharge_status"]
    }


def a05(hospital: Hospital) -> Claims:
    said, found = hospital.rules["A05"], set()
    of = grouped((c for c in hospital.visits if c.insured), lambda c: c.person)
    for stay in (c for c in hospital.stays if c.insured):
        first = stay.admitted + DAY * said["first_day_after_admission"]
        last = stay.discharged - DAY * said["last_day_before_discharge"]
        inside = [c for c in of.get(stay.person, []) if first <= c.admitted <= last]
        elsewhere = {c.hisid for c in inside if c.hospital_id != stay.hospital_id}
        if len(elsewhere) >= said["min_visits"]:
            found.add(frozenset({stay.hisid} | elsewhere))
    return found


def a06(hospital: Hospital) -> Claims:
    said, found = hospital.rules["A06"], set()
    for own in grouped((c for c in hospital.stays if c.insured), lambda c: c.patient_id).values():
        for one, other in combinations(own, 2):
            overlap = (min(one.discharged, other.discharged) - max(one.admitted, other.admitted)).days
            exempt = {one.kind, other.kind} & set(said["exempt_kinds_of_visit"])
            if overlap >= said["min_overlap_days"] and not exempt:
                found.add(paired(one, other))
    return found


def a07(hospital: Hospital) -> Claims:
    said, found = hospital.rules["A07"], set()
    mild = hospital.region["icd_lists"][said["icd_list"]]
    for stay in (c for c in hospital.stays if c.insured and c.lines and not c.operations):
        costs = [(x.category, x.share(x.units)[0]) for x in stay.lines]
        share = Fraction(sum(n for c, n in costs if c in said["charge_categories"]) * 100, sum(n for _, n in costs))
        injected = any(x.row["DOSAGE_FORM"] in said["without_dosage_forms"] for x in stay.lines)
        if stay.days <= said["max_los_days"] and stay.icd3 in mild and share >= said["min_share_pct"] and not injected:
            found.add(frozenset({stay.hisid}))
    return found


def supplies(hospital: Hospital) -> dict:
    """(person, generic) -> lines of outpatients with their days of supply, in the order of time."""
    table = hospital.region["drug_days_per_billing_unit"]
    lines = [(x, x.units * table[x.item]["days"]) for x in hospital.lines(set(table), hospital.visits)]
    return grouped(lines, lambda s: (s[0].claim.person, table[s[0].item]["generic"]))


def c01(hospital: Hospital) -> Claims:
    """A day's supply while that of the day before still lasts; the later one is found."""
    said, found = hospital.rules["C01"], set()
    for own in supplies(hospital).values():
        end = Fraction(0)
        for day, of_day in sorted(grouped(own, lambda s: s[0].day).items()):
            left = max(end - day.toordinal(), Fraction(0))
            if left > said["grace_days"] and left > said["min_overlap_days"]:
                found |= {frozenset({line.claim.hisid}) for line, _ in of_day}
            end = day.toordinal() + int(sum(days for _, days in of_day))
    return found


def c02(hospital: Hospital) -> Claims:
    said, found = hospital.rules["C02"], set()
    for own in supplies(hospital).values():
        for line, _ in own:
            first = line.day - DAY * (said["window_days"] - 1)
            near = [s for s in own if s[0].day >= first and s[0].order <= line.order]
            sites = {s[0].claim.hospital_id for s in near}
            if len(sites) >= said["min_hospitals"] and sum(s[1] for s in near) > said["max_days_of_supply"]:
                found.add(frozenset(s[0].claim.hisid for s in near))
    return found


def h02(hospital: Hospital) -> Claims:
    said, found = hospital.rules["H02"], set()
    for own in grouped(hospital.claims.values(), lambda c: c.person).values():
        for stay in (c for c in own if c.inpatient and c.discharge_status in said["discharge_status"]):
            late = stay.discharged + DAY * said["min_days_after_death"]
            found |= {frozenset({c.hisid}) for c in own if c.insured and c.admitted >= late}
    return found


def m03(hospital: Hospital) -> Claims:
    said, found = hospital.rules["M03"], set()
    for claim in (c for c in hospital.claims.values() if c.insured):
        herbs = [x for x in claim.lines if x.category == said["charge_category"]]
        for own in grouped(herbs, lambda x: x.row.get("PRESCRIPTION")).values():
            if len({x.item for x in own}) > said["max_herbs"]:
                found.add(frozenset({claim.hisid}))
    return found


def m09(hospital: Hospital) -> Claims:
    said = hospital.rules["M09"]
    insured = [c for c in hospital.claims.values() if c.insured]
    alike = grouped(insured, lambda c: tuple(c.row[name] for name in said["same"])).values()
    twice = [own for own in alike if len(own) >= said["min_claims"] and len({c.if_local_flag for c in own}) > 1]
    return {frozenset(c.hisid for c in own) for own in twice}


def codes(operation: dict) -> list[str]:
    return [c for c in (operation["ICD9_CODE_MAIN"], operation["ICD9_CODE_OTHER"]) if c]


def m11(hospital: Hospital) -> Claims:
    found = set()
    for row in hospital.region["device_operations"]:
        for claim in (c for c in hospital.stays if c.insured):
            coded = any(c.startswith(row["icd9_prefix"]) for o in claim.operations for c in codes(o))
            if coded and not any(x.item in row["item_ids"] for x in claim.lines):
                found.add(frozenset({claim.hisid}))
    return found


def m14(hospital: Hospital) -> Claims:
    found = set()
    for row in hospital.region["operation_items"]:
        for claim in (c for c in hospital.stays if c.insured):
            coded = any(c.startswith(row["icd9_prefix"]) for o in claim.operations for c in codes(o))
            if coded and not any(x.category == "06" for x in claim.lines):
                found.add(frozenset({claim.hisid}))
    return found


def m12(hospital: Hospital) -> Claims:
    said, found = hospital.rules["M12"], set()
    of = grouped((c for c in hospital.visits if c.insured), lambda c: (c.patient_id, c.hospital_id))
    for stay in (c for c in hospital.stays if c.insured):
        first = stay.admitted - DAY * said["days_before_admission"]
        last = stay.discharged + DAY * said["days_after_discharge"]
        for visit in of.get((stay.patient_id, stay.hospital_id), []):
            tested = any(x.category in ("03", "04", "08") for x in visit.lines)
            acute = visit.kind in ("general_outpatient", "emergency_outpatient")
            if first <= visit.admitted <= last and tested and acute:
                found.add(paired(visit, stay))
    return found


# --- price differences ------------------------------------------------------------------------------------------------


def dearer(hospital: Hospital, line: Line, right: Fraction) -> tuple[Line, int, int, int]:
    """What the units of a line cost above the right price (in fen)."""
    cost, scope, _ = line.share(line.units)
    entry = hospital.region["catalogue"][line.item]
    fair = half_up(right * line.units)
    above = half_up(max(Fraction(0), right - entry["pay_limit_fen"]) * line.units) if entry["pay_limit_fen"] else 0
    first = half_up(Fraction((fair - above) * entry["first_pay_pct"], 100))
    fair_scope = 0 if entry["payment_class"] == "丙" else fair - above - first
    over = scope - fair_scope
    return line, cost - fair, over, half_up(over * line.claim.rate)


def e04(hospital: Hospital) -> Differences:
    said = hospital.rules["E04"]
    guide, names = hospital.region[said["table"]], hospital.region[said["without_names_of"]]
    found = []
    for line in hospital.lines(set(guide)):
        most = guide[line.item].get(line.claim.p_level)
        if most and line.price * 100 > most + said["tolerance_fen"] and line.row["ITEM_NAME_HOSP"] not in names:
            found.append(dearer(hospital, line, Fraction(most)))
    return found


def f05(hospital: Hospital) -> Differences:
    said = hospital.rules["F05"]
    guide, wards = hospital.region["guide_price_fen_by_item_and_level"], hospital.region["maps"][said["wards"]]
    found = []
    for line in hospital.lines(hospital.items(said["item_set"])):
        if not {line.ward, line.row["EXCUTE_DEPT_NAME"]} & set(wards):
            found.append(dearer(hospital, line, Fraction(guide["001109000010300"][line.claim.p_level])))
    return found


def j03(hospital: Hospital) -> Differences:
    """Parts billed instead of the whole; and a part beside the whole."""
    guide, found = hospital.region["guide_price_fen_by_item_and_level"], []
    for row in hospital.table("bundle_substitutions", "J03"):
        lines = hospital.lines(set(row["items"]))
        for own in grouped(lines, lambda x: (x.claim, x.day)).values():
            parts = [[x for x in own if x.item == item] for item in row["items"]]
            if not all(parts) or any(x.item == row["instead"] and x.day == own[0].day for x in own[0].claim.lines):
                continue
            times = min(total(lines) for lines in parts)
            claim = own[0].claim
            right = guide[row["instead"]][claim.p_level] * times
            cost = scope = 0
            for of_item in parts:
                rest = times
                for line in of_item:
                    units = min(rest, line.units)
                    rest -= units
                    cost, scope = cost + line.share(units)[0], scope + line.share(units)[1]
            first = hospital.region["catalogue"][row["instead"]]["first_pay_pct"]
            over = scope - (half_up(right) - half_up(Fraction(half_up(right) * first, 100)))
            found.append((own[-1], cost - half_up(right), over, half_up(over * claim.rate)))
    for row in hospital.table("duplicate_pairs", "J03"):
        for line in hospital.lines({row["included"]}):
            if any(x.item == row["main"] and x.day == line.day for x in line.claim.lines):
                found.append((line, *line.share(line.units)))
    return found


# --- wards and stores -------------------------------------------------------------------------------------------------


def b01(hospital: Hospital) -> dict:
    said, found = hospital.rules["B01"], {}
    wards = grouped((c for c in hospital.stays if c.insured), lambda c: (c.hospital_id, c.ward))
    for (site, ward), stays in wards.items():
        for row in hospital.table("panel_tests", "B01"):
            early = [
                x
                for x in hospital.lines({row["item_id"]}, stays)
                if x.time - x.claim.begin <= timedelta(hours=said["within_hours"])
            ]
            tested = {x.claim for x in early}
            reason = {c for c in tested if c.has(row["indicated_icd_prefixes"])}
            if (
                ward
                and len(stays) >= said["min_stays"]
                and len(tested) * 100 >= len(stays) * said["min_share_pct"]
                and len(reason) * 100 <= len(tested) * said["max_indicated_share_pct"]
            ):
                found[site, ward, row["item_id"]] = {x.key for x in early if x.claim not in reason}
    return found


def sold(hospital: Hospital) -> dict:
    """(hospital, its item) -> lines sold, insured or not."""
    lines = [x for c in hospital.claims.values() for x in c.lines]
    return grouped(lines, lambda x: (x.claim.hospital_id, x.row["ITEM_ID_HOSP"]))


def h07(hospital: Hospital) -> dict:
    found, of = {}, sold(hospital)
    for place, (opening, closing, bought) in stock(hospital).items():
        claimed, available = total(of.get(place, [])), opening - closing + bought
        if claimed * 100 > available * (100 + hospital.rules["H07"]["tolerance_pct"]):
            found[place] = (claimed, available)
    return found


def e05(hospital: Hospital) -> dict:
    exempt = hospital.rules["E05"]["exempt_charge_categories"]
    mapped = hospital.tables["HIS_VS_YB_STORE_MAPPING"]
    mapping = {(r["HOSPITAL_ID"], r["ITEM_ID_STORE"]): r["ITEM_ID_HOSP"] for r in mapped}
    paid: dict = {}
    for row in hospital.tables["HIS_VS_YB_INVENTORY"]:
        place = row["HOSPITAL_ID"], mapping[row["HOSPITAL_ID"], row["ITEM_ID_STORE"]]
        count = number(row["IMPORT_CNT"])
        units, cost = paid.get(place, (0, 0))
        paid[place] = units + count * number(row["PROD_CONVRAT"]), cost + count * number(row["IMPORT_PRIC"])
    found = {}
    for place, lines in sold(hospital).items():
        if place in paid:
            price = paid[place][1] / paid[place][0]
            dear = [x for x in lines if x.category not in exempt and x.price - price >= Fraction(1, 100)]
            found |= {place: (total(dear), sum((x.price - price) * x.units for x in dear))} if dear else {}
    return found


CLAIMS = {
    "A01": a01, "A02": a02, "A03": a03, "A05": a05, "A06": a06, "A07": a07, "C01": c01, "C02": c02, "H02": h02,
    "M03": m03, "M09": m09, "M11": m11, "M12": m12, "M14": m14,
}  # fmt: skip
DIFFERENCES = {"E04": e04, "F05": f05, "J03": j03}
PLACES = {"B01": b01, "E05": e05, "H07": h07}
