"""What an answer key says about its region, in the files a run takes: python tests/sample_region.py KEY.json DIR

Writes DIR/policy.yaml, DIR/params.yaml and DIR/knowledge/*.csv from the key's `region` and `rule_parameters`, never
from its cases. A parameter is written when a rule of rules/ declares it; whatever has no place is named on stderr.
"""

import csv
import json
import sys
from decimal import Decimal
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import sample_policy  # noqa: E402

from engine.reference.knowledge import shapes  # noqa: E402
from engine.reference.places import rules_folder  # noqa: E402
from engine.tables.yamltext import read_yaml  # noqa: E402

FAMILY_SIZES = dict(zip("ABCDEFGHIJKLM", (8, 8, 7, 9, 10, 7, 13, 11, 6, 5, 5, 21, 17), strict=True))
RESTRICTIONS = ("G01", "G02", "G03", "G04", "G05", "G07", "G08", "G09", "G10")
DESCRIPTIVE = {"notes", "note", "name", "kind", "population", "published_value", "tables", "table"}

# Words of an extract and where our tables keep the mapped value.
WORDINGS = {
    "BENEFIT_GROUP_ID": "claims.psn_type",
    "BENEFIT_TYPE": "claims.insutype",
    "CLAIM_TYPE": "claims.visit_kind",
    "DISCHARGE_STATUS": "claims.dscg_way",
    "PATIENT_GENDER": "claims.gend",
    "P_CATEGORY": "fee_lines.med_chrgitm_type",
    "P_TYPE": "fee_lines.chrgitm_lv",
    "charge_category_names": "fee_lines.med_chrgitm_type",
}
WINDOWS = {"stay": "visit"}
SEXES = {"男": "1", "女": "2"}
CLASSES = {"甲": "01", "乙": "02", "丙": "03"}
INSURANCES = {"工伤": "work_injury", "生育": "maternity"}
COUNTED = {"first_to_last_day": "span"}
DISCHARGE_WAYS = {"3": "4", "4": "5"}  # extract: 3 against advice, 4 death; national: 4 and 5, 3 being to the community

# Our concept for a list that a rule's parameter names (or, without the parameter, the list of the name given here).
CONCEPTS = {
    ("A01", "exempt_icd_list"): ("readmission_exempt_icd", "A01_exempt"),
    ("A07", "icd_list"): ("low_severity_icd", "A07_low_severity_icd3"),
    ("B04", "item_set"): ("infection_markers", "infection_markers"),
    ("B04", "exempt_icd_list"): ("infection_exempt_icd", "B04_exempt"),
    ("B05", "item_set"): ("tumour_markers", "tumour_markers"),
    ("B05", "indicated_icd_list"): ("tumour_indicated_icd", "B05_indicated"),
    ("B08", "item_set"): ("ct_plain", "ct_plain"),
    ("B08", "exempt_icd_list"): ("repeat_imaging_exempt_icd", "B08_exempt"),
    ("C03", "exempt_item_prefixes"): ("prescription_days_exempt", "prescription_days_exempt"),
    ("C07", "item_set"): ("proton_pump_inhibitors", "proton_pump_inhibitors"),
    ("D04", "item_set"): ("beds", "beds"),
    ("D05", "item_set"): ("nursing_of_the_day", "nursing_of_the_day"),
    ("D05", "without_item_set"): ("nursing_by_hour", "nursing_by_hour"),
    ("E03", "item_set"): ("hourly", "hourly"),
    ("E04", "without_names_of"): ("non_medical_names", "non_medical_names"),
    ("E07", "item_set"): ("per_wound_per_day", "per_wound_per_day"),
    ("F05", "item_set"): ("intensive_care_bed", "intensive_care_bed"),
    ("F05", "wards"): ("intensive_care_wards", "intensive_care_wards"),
    ("G12", "names"): ("non_medical_names", "non_medical_names"),
    ("J01", "item_set"): ("dialysis_per_session", "dialysis_per_session"),
    ("J05", "item_set"): ("dialysis_per_session", "dialysis_per_session"),
    ("K03", "item_set"): ("exercise", "exercise"),
    ("L08", "main_item_set"): ("ct_enhanced", "ct_enhanced"),
    ("L08", "included_item_set"): ("ct_plain", "ct_plain"),
    ("L17", "item_set"): ("general_anaesthesia", "general_anaesthesia"),
    ("L19", "item_set"): ("intensive_monitoring", "intensive_monitoring"),
    ("L19", "wards"): ("intensive_care_wards", "intensive_care_wards"),
    ("body_region", "among"): ("body_regions", "body_regions"),
}

# Parameters whose name in our rules differs; the others keep theirs.
PARAMETERS = {
    "exempt_kinds_of_visit": "exempt_visit_kinds",
    "kinds_of_visit": "visit_kinds",
    "charge_categories": "categories",
    "charge_category": "categories",
    "exempt_charge_categories": "exempt_categories",
    "exempt_discharge_status": "exempt_dscg_ways",
    "discharge_status": "death_dscg_ways",
    "other_hospital": "other_institution",
    "min_hospitals": "min_institutions",
    "tolerance_fen": "tolerance_yuan",
    "opening_stock": "max_opening_stock",
    "purchases": "max_purchases",
    "units_per_further_hour_begun": "units_per_further_hour",
    "days_after_discharge_other": "days_after_discharge",
    "anaesthesia": "anaesthesia_ways",
}
LISTS = ("categories", "kinds", "ways", "forms")  # a parameter whose name ends so is a list even of one


class Seen(dict):
    """A mapping that remembers what was read of it, so that what nobody read can be named."""

    def __init__(self, values: dict):
        super().__init__(values)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)

    def unread(self) -> list[str]:
        return [name for name in self if name not in self.read | DESCRIPTIVE]


def rule_number(code: str | None) -> int | None:
    """B03 -> 11; None where the code names no single rule."""
    if not code or not code[1:].isdigit() or code[0] not in FAMILY_SIZES:
        return None
    before = sum(size for family, size in FAMILY_SIZES.items() if family < code[0])
    return before + int(code[1:])


def rules_by_number(folder: Path) -> dict[int, tuple[str, set[str]]]:
    """number -> (rule id, names of its parameters) of every numbered rule in the folder."""
    found = {}
    for path in sorted(folder.rglob("*.yaml")):
        rule = read_yaml(path).value
        if isinstance(rule, dict) and "number" in rule:
            found[int(rule["number"])] = (rule["id"], set(rule.get("params") or {}))
    return found


def yuan(fen: int | None) -> str:
    """Whole fen as yuan text; blank stays blank."""
    if fen is None:
        return ""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def text(value) -> str | list[str]:
    if isinstance(value, list):
        return [text(item) for item in value]
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# --- knowledge tables -------------------------------------------------------------------------------------------------

# Per list of the key's region: our table and the rows that one of its rows becomes.
ROWS = {
    "duplicate_pairs": (
        "pairs",
        lambda r: [
            {
                "main": r["main"],
                "main_name": r.get("main_name"),
                "included": r["included"],
                "included_name": r.get("included_name"),
                "window": window(r["window"]),
                "note": r.get("note"),
            }
        ],
    ),
    "panel_tests": ("panel_tests", lambda r: [item(r) | {"icd_prefixes": "|".join(r["indicated_icd_prefixes"])}]),
    "drug_indications": ("indications", lambda r: [item(r) | {"icd_prefixes": "|".join(r["icd_prefixes"])}]),
    "operation_items": ("operation_items", lambda r: [item(r) | {"icd9_prefix": r["icd9_prefix"]}]),
    "device_operations": (
        "device_operations",
        lambda r: [{"icd9_prefix": r["icd9_prefix"], "med_list_codg": code} for code in r["item_ids"]],
    ),
    "bundle_substitutions": (
        "bundles",
        lambda r: [
            {
                "bundle": "+".join(r["items"]),
                "med_list_codg": code,
                "instead": r["instead"],
                "window": window(r["window"]),
            }
            for code in r["items"]
        ],
    ),
    "addon_items": (
        "addons",
        lambda r: [{"base": r["base"], "addon": r["addon"], "max_per_base": r.get("max_per_base", 1)}],
    ),
    "sex_limits": ("sex_limits", lambda r: [item(r) | {"gend": SEXES[r["allowed_sex"]]}]),
    "age_limits": ("age_limits", lambda r: age_limits(r)),
    "level_limits": ("level_limits", lambda r: [item(r) | {"min_level": r["min_level"]}]),
    "visit_type_limits": ("visit_limits", lambda r: [item(r) | {"visit_kinds": "|".join(r["allowed_kinds_of_visit"])}]),
    "insurance_limits": (
        "insurance_limits",
        lambda r: (
            [] if r.get("payable_under_basic_medical") else [item(r) | {"only": INSURANCES[r["only_payable_under"]]}]
        ),
    ),
    "course_limits": (
        "course_limits",
        lambda r: [
            item(r)
            | {
                "max_days": r["max_days"],
                "per": window(r.get("scope", "stay")),
                "counted": COUNTED.get(r.get("counted"), "distinct_days"),
            }
        ],
    ),
    "frequency_limits": (
        "frequency_limits",
        lambda r: [item(r) | {"max_per_day": r["max_per_day"], "unit": r.get("unit"), "grade": r.get("source")}],
    ),
    "period_limits": (
        "period_limits",
        lambda r: [
            item(r)
            | {
                "max_count": r["max_count"],
                "window_days": r.get("min_gap_days", r["window_days"]),
                "per": window(r.get("scope", "person")),
            }
        ],
    ),
}


def window(word: str) -> str:
    return WINDOWS.get(word, word)


def item(row: Seen) -> dict:
    return {"med_list_codg": row["item_id"], "name": row.get("name")}


def age_limits(row: Seen) -> list[dict]:
    """One row, or one for each sex where the limit differs by sex."""
    limits = {f"{side}_{unit}": row.get(f"{side}_age_{unit}") for side in ("min", "max") for unit in ("years", "days")}
    by_sex = {f"{side}_years": row.get(f"{side}_age_years_by_sex") or {} for side in ("min", "max")}
    sexes = sorted({sex for values in by_sex.values() for sex in values}) or [None]
    return [
        item(row)
        | limits
        | {name: values[sex] for name, values in by_sex.items() if sex in values}
        | {"gend": SEXES.get(sex, "")}
        for sex in sexes
    ]


def knowledge_rows(key: dict, left: list[str]) -> dict[str, list[dict]]:
    """Rows of every knowledge table the key says something of, in the columns of knowledge.yaml."""
    region, parameters = Seen(key["region"]), key.get("rule_parameters", {})
    of_table = {p["table"]: code for code, p in parameters.items() if "table" in p}
    tables: dict[str, list[dict]] = {}
    for name, (table, convert) in ROWS.items():
        for raw in region.get(name) or []:
            row = Seen(raw)
            number = rule_number(row.get("rule", of_table.get(name)))
            made = [{"rule": number} | limit for limit in convert(row)]
            tables.setdefault(table, []).extend(made)
            left += [f"region.{name}[].{column}" for column in row.unread()]
    tables["catalogue"] = catalogue(region.get("catalogue") or {}, left)
    tables["price_caps"] = [
        {"med_list_codg": code, "hosp_lv": level, "pric_uplmt_amt": yuan(fen)}
        for code, levels in (region.get("guide_price_fen_by_item_and_level") or {}).items()
        for level, fen in levels.items()
        if fen is not None
    ]
    tables["drug_supply"] = [
        {"med_list_codg": code, "generic": drug["generic"], "days": drug["days"]}
        for code, drug in (region.get("drug_days_per_billing_unit") or {}).items()
    ]
    tables["incision_groups"] = [
        {"group": group, "med_list_codg": code}
        for group, codes in (region.get("same_incision_groups") or {}).items()
        for code in codes
    ]
    tables["wordings"] = wordings(region.get("maps") or {}, left)
    tables["concepts"] = concepts(region, parameters, left)
    if region.get("account_opening_fen"):
        tables["account_openings"] = sample_policy.account_openings_from_key(key)
    left += [f"region.{name}" for name in region.unread() if name != "policy"]
    names = {entry["med_list_codg"]: entry["name"] for entry in tables["catalogue"]}
    for row in (row for rows in tables.values() for row in rows if "med_list_codg" in row):
        row["name"] = row.get("name") or names.get(row["med_list_codg"])
    return tables


def catalogue(items: dict, left: list[str]) -> list[dict]:
    rows = []
    for code, raw in items.items():
        entry = Seen(raw)
        rows.append(
            {
                "med_list_codg": code,
                "name": entry.get("name"),
                "med_chrgitm_type": entry.get("charge_category"),
                "chrgitm_lv": CLASSES[entry["payment_class"]],
                "selfpay_prop": format(Decimal(str(entry.get("first_pay_pct") or 0)) / 100, "f"),
                "pay_limit": yuan(entry.get("pay_limit_fen")),
                "unit": entry.get("unit"),
                "dosform_name": entry.get("dosage_form"),
                "stock_item": {True: 1, False: 0}.get(entry.get("stock_item")),
            }
        )
        left += [f"region.catalogue[].{column}" for column in entry.unread()]
    return rows


def wordings(maps: dict, left: list[str]) -> list[dict]:
    found: dict[tuple[str, str], str] = {}
    for name, words in maps.items():
        if name not in WORDINGS:
            left += [] if isinstance(words, list) else [f"region.maps.{name}"]
        elif name == "charge_category_names":  # code -> its name, the other way round than the maps of words
            found = {(WORDINGS[name], word): code for code, word in words.items()} | found
        else:
            found |= {(WORDINGS[name], word): value for word, value in words.items()}
    return [{"field": field, "wording": word, "value": value} for (field, word), value in found.items()]


def concepts(region: Seen, parameters: dict, left: list[str]) -> list[dict]:
    """Every list of codes, prefixes or names under its own name, and under ours where a rule's parameter names it."""
    maps = region.get("maps") or {}
    lists = {**(region.get("item_sets") or {}), **(region.get("icd_lists") or {})}
    for name, values in [*region.items(), *maps.items()]:
        if isinstance(values, list) and all(isinstance(v, str) for v in values):
            lists[name] = values
            region.read.add(name)
    ours, renamed = {}, set()
    for (rule, parameter), (concept, usual) in CONCEPTS.items():
        named = (parameters.get(rule) or {}).get(parameter, usual)
        values = named if isinstance(named, list) else lists.get(named)
        if values:
            ours[concept] = values
            renamed |= {named} if isinstance(named, str) and named != concept else set()
        elif rule in parameters and parameter in parameters[rule]:
            left.append(f"rule_parameters.{rule}.{parameter}: {named} 为空或不存在 empty or unknown")
    everything = {name: values for name, values in lists.items() if name not in renamed} | ours
    names = region.get("catalogue") or {}
    return [
        {"concept": concept, "code": code, "name": names.get(code, {}).get("name")}
        for concept, codes in everything.items()
        for code in dict.fromkeys(codes)
    ]


# --- parameters -------------------------------------------------------------------------------------------------------


def parameters_of(rule: str, entry: dict) -> dict[str, str | list[str]]:
    """The parameters of one rule under our names; a mapping becomes one parameter for each of its keys."""
    found = {}
    for name, value in entry.items():
        if name in DESCRIPTIVE or (rule, name) in CONCEPTS or name == "item_sets":
            continue
        if rule == "E10" and isinstance(value, dict):
            found |= {"late_categories": sorted(value), "late_days": text(max(value.values()))}
        elif isinstance(value, dict):
            found |= {f"{name}_{part}": text(v) for part, v in value.items()}
        else:
            ours = PARAMETERS.get(name, name)
            found[ours] = yuan(value) if name.endswith("_fen") else text(value)
            if "discharge_status" in name:
                found[ours] = [DISCHARGE_WAYS.get(way, way) for way in found[ours]]
            if ours.endswith(LISTS) and not isinstance(found[ours], list):
                found[ours] = [found[ours]]
    return found


def params(key: dict, rules: dict[int, tuple[str, set[str]]], left: list[str]) -> dict:
    """What params.yaml holds: by rule id what the rule declares, and under `engine` what all rules share."""
    entries = dict(key.get("rule_parameters", {}))
    found = {"engine": engine_facts(entries, rules, left)}
    shared = entries.pop("G", {})  # the restrictions by table, all judged alike
    if "insured_only" in shared:
        entries |= {code: {"insured_only": shared["insured_only"]} | entries.get(code, {}) for code in RESTRICTIONS}
    left += [f"rule_parameters.G.{name}" for name in shared if name not in DESCRIPTIVE | {"insured_only"}]
    for code, entry in entries.items():
        number = rule_number(code)
        if number is None:
            left.append(f"rule_parameters.{code}")
            continue
        slug, declared = rules.get(number, (None, set()))
        for name, value in parameters_of(code, entry).items():
            if name in declared:
                found.setdefault(slug, {})[name] = value
            else:
                why = f"{slug} 未声明 {name} does not declare" if slug else "规则尚未编写 no such rule yet"
                left.append(f"rule_parameters.{code}.{name}: {value} ({why})")
    return found


def engine_facts(entries: dict, rules: dict, left: list[str]) -> dict:
    """Facts of the region that no single rule owns; they are taken out of `entries`."""
    facts = {}
    if posting := entries.pop("batch_posting", None):
        numbers = [rule_number(code) for code in posting.get("rules", [])]
        facts["batch_posting"] = {name: text(value) for name, value in posting.items() if name not in DESCRIPTIVE} | {
            "rules": [rules[n][0] for n in numbers if n in rules]
        }
    if pairs := entries.pop("pairs", None):
        facts["pair_windows"] = {
            f"{name}_{limit}": text(value)
            for name, limits in pairs.get("windows", {}).items()
            for limit, value in limits.items()
            if limit.endswith("minutes")
        }
        left += [f"rule_parameters.pairs.{name}" for name in pairs if name not in DESCRIPTIVE | {"windows"}]
    if region := entries.pop("body_region", None):
        facts["body_region_brackets"] = text(region.get("brackets", []))
        left += [f"rule_parameters.body_region.{n}" for n in region if n not in DESCRIPTIVE | {"brackets", "among"}]
    return facts


# --- writing ----------------------------------------------------------------------------------------------------------


def write_table(path: Path, rows: list[dict]) -> None:
    """One CSV in the columns of its table, sorted; what says no grade of its own is the region's."""
    columns = list(shapes()[path.stem].fields)
    lines = sorted([text(({"grade": "region"} | row).get(column)) for column in columns] for row in rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *lines])


def write_region(key: dict, folder: Path, rules: Path) -> list[str]:
    """Writes the files of a region and returns what of the key found no place."""
    left: list[str] = []
    (folder / "knowledge").mkdir(parents=True, exist_ok=True)
    known = knowledge_rows(key, left)
    for table in shapes():  # also those without a row: the region has none, and ours must not stand in
        write_table(folder / "knowledge" / f"{table}.csv", known.get(table, []))
    found = params(key, rules_by_number(rules), left)
    (folder / "params.yaml").write_text(yaml.safe_dump(found, allow_unicode=True, sort_keys=False, width=120), "utf-8")
    (folder / "policy.yaml").write_text(sample_policy.policy_yaml(key), "utf-8")
    return sorted(set(left))


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: python tests/sample_region.py KEY.json DIR", file=sys.stderr)
        return 2
    key = json.loads(Path(arguments[0]).read_text("utf-8"))
    left = write_region(key, Path(arguments[1]), rules_folder())
    for name in left:
        print(f"没有去处 no place for: {name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
