"""Units beyond a limit of the drug, the person, the visit or the record, rule by rule, as the answer key says it.

LIMITS: {code: rule(hospital) -> [(line, units)]}.
"""

from datetime import date
from fractions import Fraction

from textbook import DAY, Claim, Hospital, Line, grouped, moment, number
from textbook_units import Excess, cut, total, whole


def c03(hospital: Hospital) -> Excess:
    said = hospital.rules["C03"]
    supply, infective = hospital.region["drug_days_per_billing_unit"], hospital.region["anti_infective_generics"]
    found = []
    for line in hospital.lines(set(supply)):
        drug = supply[line.item]
        if line.item.startswith(tuple(said["exempt_item_prefixes"])):
            continue
        limit = said["max_days"].get(line.claim.kind)
        if line.row.get("DISCHARGE_MEDICATION") == "1":
            limit = said["max_days"]["discharge"]
            if drug["generic"] in infective:
                limit = said["max_days_anti_infective_at_discharge"]
        if limit and line.units * drug["days"] > limit:
            found.append((line, line.units - Fraction(limit, drug["days"])))
    return found


def c04(hospital: Hospital) -> Excess:
    said = hospital.rules["C04"]
    supply, barred = hospital.region["drug_days_per_billing_unit"], hospital.region["psychotropic_generics"]
    found = []
    for line in hospital.lines(set(supply)):
        drug = supply[line.item]
        limit = said["max_days_psychotropic"] if drug["generic"] in barred else said["max_days"]
        if line.claim.kind in said["kinds_of_visit"] and line.units * drug["days"] > limit:
            found.append((line, line.units - Fraction(limit, drug["days"])))
    return found


def c06(hospital: Hospital) -> Excess:
    said, supply = hospital.rules["C06"], hospital.region["drug_days_per_billing_unit"]
    lines = hospital.lines(set(supply), hospital.visits)
    found = []

    def visit(line: Line) -> tuple:
        c = line.claim
        return c.person, c.hospital_id, line.row["DOCTOR_ID"], line.day, supply[line.item]["generic"]

    for own in grouped(lines, visit).values():
        for at, line in enumerate(own):
            before = [x for x in own[:at] if x.claim is not line.claim]
            most = max((x.units * supply[x.item]["days"] for x in before), default=0)
            if before and most + line.units * supply[line.item]["days"] > said["max_days_per_visit"]:
                found.append((line, line.units))
    return found


def c07(hospital: Hospital) -> Excess:
    said = hospital.rules["C07"]
    found = []
    for own in grouped(hospital.lines(hospital.items(said["item_set"]), hospital.stays), lambda x: x.claim).values():
        of = grouped(own, lambda x: x.day)
        shared = [day for day, lines in of.items() if len({x.item for x in lines}) > 1]
        for day in shared if len(shared) >= said["min_shared_days"] else ():
            by_item = grouped(of[day], lambda x: x.item)
            costs = {item: sum(x.share(x.units)[0] for x in lines) for item, lines in by_item.items()}
            dearest = max(sorted(costs), key=costs.get)
            found += whole(x for x in of[day] if x.item != dearest)
    return found


def course(code: str):
    def rule(hospital: Hospital) -> Excess:
        found = []
        for row in hospital.table("course_limits", code):
            for own in grouped(hospital.lines({row["item_id"]}), lambda x: x.claim).values():
                days = sorted({x.day for x in own})
                last = days[0] + DAY * (row["max_days"] - 1)
                if row["counted"] == "distinct_days":
                    last = days[min(row["max_days"], len(days)) - 1]
                found += whole(x for x in own if x.day > last)
        return found

    return rule


def l17(hospital: Hospital) -> Excess:
    said = hospital.rules["L17"]
    found = []
    for claim, own in grouped(hospital.lines(hospital.items(said["item_set"])), lambda x: x.claim).items():
        whole_body = [o for o in claim.operations if o["ANST_WAY"] == said["anaesthesia"]]
        times = {(o["ANST_BEGIN_TIME"], o["ANST_END_TIME"]) for o in whole_body}
        if not times or any(not begin or not end for begin, end in times):
            continue
        allowed = 0
        for begin, end in times:
            minutes = (number_of_minutes(end) - number_of_minutes(begin)) - 60 * said["base_hours"]
            allowed += said["base_units"] + said["units_per_further_hour_begun"] * max(0, -(-minutes // 60))
        found += cut(own, total(own) - allowed)
    return found


def number_of_minutes(text: str) -> int:
    return int((moment(text) - moment("2000-01-01")).total_seconds() // 60)


def l19(hospital: Hospital) -> Excess:
    wards = hospital.region["maps"][hospital.rules["L19"]["wards"]]
    lines = hospital.lines(hospital.items(hospital.rules["L19"]["item_set"]), hospital.stays)
    return whole(x for x in lines if x.ward not in wards)


def restricted(code: str, name: str, wrong):
    """All units of an item of the list where the claim is of the wrong kind."""

    def rule(hospital: Hospital) -> Excess:
        found = {}
        for row in hospital.table(name, code):
            found |= {x: x.units for x in hospital.lines({row["item_id"]}) if wrong(x.claim, row)}
        return list(found.items())

    return rule


def too_old(claim: Claim, row: dict) -> bool:
    age = number(claim.patient_age)
    if "max_age_days" in row:
        return (claim.admitted - date.fromisoformat(claim.patient_birthday[:10])).days > row["max_age_days"]
    by_sex = row.get("max_age_years_by_sex")
    return age > (by_sex[claim.patient_gender] if by_sex else row["max_age_years"])


def g12(hospital: Hospital) -> Excess:
    names = hospital.region["non_medical_names"]
    return whole(x for c in hospital.claims.values() if c.insured for x in c.lines if x.row["ITEM_NAME_HOSP"] in names)


def f01(hospital: Hospital) -> Excess:
    """Sold in the period, with no opening stock and no purchase."""
    found = []
    for (site, item), (opening, _, bought) in stock(hospital).items():
        if opening == 0 and bought == 0:
            sold = [x for c in hospital.claims.values() if c.hospital_id == site for x in c.lines]
            found += whole(x for x in sold if x.row["ITEM_ID_HOSP"] == item)
    return found


def stock(hospital: Hospital) -> dict:
    """(hospital, its item) -> opening, closing and purchases in the smallest unit."""
    of = {(r["HOSPITAL_ID"], r["ITEM_ID_STORE"]): r["ITEM_ID_HOSP"] for r in hospital.tables["HIS_VS_YB_STORE_MAPPING"]}
    found = {(site, item): [0, 0, 0] for (site, _), item in of.items()}
    for row in hospital.tables["HIS_VS_YB_STORE"]:
        balance = found[row["HOSPITAL_ID"], of[row["HOSPITAL_ID"], row["ITEM_ID_STORE"]]]
        balance[0] += number(row["OPENING_BALANCE"])
        balance[1] += number(row["CLOSING_BALANCE"])
    for row in hospital.tables["HIS_VS_YB_INVENTORY"]:
        balance = found[row["HOSPITAL_ID"], of[row["HOSPITAL_ID"], row["ITEM_ID_STORE"]]]
        balance[2] += number(row["IMPORT_CNT"]) * number(row["PROD_CONVRAT"])
    return found


LIMITS = {
    "C03": c03, "C04": c04, "C06": c06, "C07": c07, "F01": f01, "G12": g12, "L17": l17, "L19": l19,
    "G09": course("G09"), "K01": course("K01"),
    "G01": restricted("G01", "sex_limits", lambda c, r: c.patient_gender != r["allowed_sex"]),
    "G02": restricted("G02", "sex_limits", lambda c, r: c.patient_gender != r["allowed_sex"]),
    "G03": restricted("G03", "age_limits", too_old), "G04": restricted("G04", "age_limits", too_old),
    "G05": restricted("G05", "drug_indications", lambda c, r: not c.has(r["icd_prefixes"])),
    "G07": restricted("G07", "level_limits", lambda c, r: int(c.p_level) < r["min_level"]),
    "G08": restricted("G08", "visit_type_limits", lambda c, r: c.kind not in r["allowed_kinds_of_visit"]),
    "G10": restricted("G10", "insurance_limits", lambda c, r: not r["payable_under_basic_medical"]),
}  # fmt: skip
