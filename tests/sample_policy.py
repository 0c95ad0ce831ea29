"""A sample key's settlement policy and account openings in the engine's own form.

Nothing of any sample is known here: person groups, levels, ratios, caps and kinds of visit all come from the key.
"""

import yaml

INPATIENT = ["inpatient", "emergency_inpatient", "day_surgery", "home_bed"]


def policy_from_key(key: dict) -> dict:
    """The policy of a key as the mapping that load_policy reads: every scalar text, money in yuan."""
    region, policy = key["region"], key["region"]["policy"]
    inpatient, general, chronic = policy["inpatient"], policy["outpatient"]["general"], policy["outpatient"]["chronic"]
    first_day = f"{key['bundle']['period'][0][:4]}-01-01"

    def dated(value) -> dict:
        return {first_day: {"value": value}}

    def money(fen_by_name: dict) -> dict:
        return dated({str(name): yuan(fen) for name, fen in fen_by_name.items()})

    def ratio(by_group: dict) -> dict:
        return dated(
            {
                group: {str(level): str(percent) for level, percent in by_level.items()}
                for group, by_level in by_group.items()
            }
        )

    later = str(inpatient["second_and_later_admission_factor_pct"])
    return {
        "name": "sample-region",
        "title": "样例地区待遇政策",
        "source": "key.json region.policy",
        "grade": "S",
        "groups": _groups(region["maps"]["BENEFIT_GROUP_ID"], inpatient["ratio_pct"]),
        "benefits": {
            "inpatient": {
                "visit_kinds": _rest(region["maps"]["CLAIM_TYPE"], general, chronic),
                "deductible_per": "admission",
                "deductible": dated({"all": {str(lv): yuan(fen) for lv, fen in inpatient["deductible_fen"].items()}}),
                "nth_admission_percent": dated(["100", later]),
                "ratio": ratio(inpatient["ratio_pct"]),
            },
            "general_outpatient": {
                "visit_kinds": _kinds(region["maps"]["CLAIM_TYPE"], general),
                "deductible_per": "year",
                "deductible": money(general["annual_deductible_fen"]),
                "ratio": ratio(general["ratio_pct"]),
                "pool_cap": money(general["annual_pool_cap_fen"]),
            },
            "chronic_outpatient": {
                "visit_kinds": _kinds(region["maps"]["CLAIM_TYPE"], chronic),
                "ratio": ratio(chronic["ratio_pct"]),
            },
        },
        "annual_cap": money(policy["annual_fund_cap_fen"]),
        "remote_minus_points": dated(str(policy["remote_ratio_minus_points"])),
    }


def policy_yaml(key: dict) -> str:
    """policy_from_key as the text of a policy file."""
    return yaml.safe_dump(policy_from_key(key), allow_unicode=True, sort_keys=False, width=120)


def account_openings_from_key(key: dict) -> list[dict[str, str]]:
    """Rows of the account_openings table in file form (yuan), by person, for the year in which the period begins."""
    year = key["bundle"]["period"][0][:4]
    return [
        {"psn_no": person, "year": year, "acct_balc": yuan(fen)}
        for person, fen in sorted(key["region"]["account_opening_fen"].items())
    ]


def yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _groups(wordings: dict, by_group: dict) -> dict:
    """Each person group with the hospitals' other wordings for it."""
    return {
        group: {"psn_types": sorted(word for word, name in wordings.items() if name == group and word != group)}
        for group in by_group
    }


def _kinds(claim_types: dict, benefit: dict) -> list[str]:
    return sorted({claim_types[word] for word in benefit["claim_types"]})


def _rest(claim_types: dict, *others: dict) -> list[str]:
    """Every kind of visit that no outpatient benefit has: all the inpatient ones, mapped by some wording or not."""
    taken = {kind for benefit in others for kind in _kinds(claim_types, benefit)}
    return sorted(({*claim_types.values(), *INPATIENT}) - taken)
