"""What institutions are paid, worked out a second time: case by case in fractions, as the payment texts say it.

Written from the texts (基准点数, 差异系数, 不完整病例, 高倍率, 床日, 点值, 结余留用 …) and not from the engine: no
frames, no shared readers. Points and weights are rounded half-up to eight decimals and money to the fen at each named
step, which is where the texts round. Claims are dicts as in paying.py, a provider policy is the mapping of its YAML.
"""

from collections import defaultdict
from datetime import date
from fractions import Fraction

from paying import AMOUNTS, CLAIM, GROUP

POINT = Fraction(1, 10**8)
PEOPLE = ("worker", "resident")


def half_up(value: Fraction, step: Fraction = Fraction(1)) -> Fraction:
    """The multiple of step next to value, half away from zero."""
    whole, rest = divmod(abs(Fraction(value)) / step, 1)
    return (whole + (rest >= Fraction(1, 2))) * step * (-1 if value < 0 else 1)


def at(dated: dict | None, day: date, otherwise=None):
    """The value in force on a day."""
    held = [first for first in (dated or {}) if date.fromisoformat(str(first)) <= day]
    return dated[max(held)]["value"] if held else otherwise


def fits(word: str | None, patterns: list[str]) -> bool:
    return word is not None and any(word.startswith(p[:-1]) if p.endswith("*") else word == p for p in patterns)


def by(values, *keys):
    """The value of the first key that is there, else the one for all; a value that is no mapping is for all."""
    if not isinstance(values, dict):
        return values
    return next((values[k] for k in keys if k in values), values.get("all"))


class Case:
    """One claim with what the texts ask of it; money in whole fen."""

    def __init__(self, row: dict):
        row = CLAIM | GROUP | row
        self.__dict__.update({k: row[k] for k in (*CLAIM, *GROUP)})
        self.id, self.day = row["setl_id"], row["setl_time"].date()
        given = {name: round(row.get(name, row.get("cost", 0) if name == "inscp_scp_amt" else 0) * 100)
                 for name in AMOUNTS}  # fmt: skip
        self.own, self.over, self.first, self.scope = (given[n] for n in AMOUNTS[:4])
        self.start, self.fund, self.person = (given[n] for n in AMOUNTS[4:])
        self.cost = self.own + self.over + self.first + self.scope
        self.weight = None if self.weight is None else Fraction(self.weight)
        self.refund, self.back_on = self.refd_setl_flag == "1", None
        self.benefit = {"inpatient": "inpatient", "general_outpatient": "general"}.get(self.visit_kind)
        self.people = self.psn_type if self.psn_type in PEOPLE else None
        between = (self.endtime.date() - self.begntime.date()).days if self.endtime and self.begntime else None
        days = self.act_ipt_days if self.act_ipt_days is not None else between
        self.days = None if days is None else max(days, 1)
        self.away = self.insu_admdvs is not None and self.insu_admdvs != self.mdtrtarea_admdvs
        self.method, self.volume, self.standard, self.payable, self.reason = "item", None, None, None, None

    def of_kind(self, kinds: dict, name: str) -> bool:
        kind = at(kinds[name], self.day)
        if kind is None:
            return False
        words = {"groups": self.drg, "departments": self.dscg_dept_codg, "visit_kinds": self.visit_kind,
                 "areas": self.insu_admdvs}  # fmt: skip
        if any(key in kind and not fits(word, kind[key]) for key, word in words.items()):
            return False
        if "away" in kind and kind["away"] != self.away:
            return False
        over, most = kind.get("days_over"), kind.get("days_up_to")
        return (over is None or (self.days is not None and self.days > int(over))) and (
            most is None or (self.days is not None and self.days <= int(most))
        )


def payments(rows: list[dict], provider: dict, reviews: list[dict] = ()) -> list[Case]:
    """Every case with method, volume (Fraction), standard and payable (fen)."""
    cases = [Case(row) for row in rows]
    known = {case.id: case for case in cases if not case.refund}
    for case in cases:
        if case.refund and case.init_setl_id in known:
            named = known[case.init_setl_id]
            named.back_on = min(filter(None, (named.back_on, case.day)))
    for case in cases:
        case.method = _method(case, provider)
    for method in ("drg_rate", "drg_points", "dip"):
        rules = provider.get("by_case", {}).get(method, {})
        _volumes([c for c in cases if c.method == method], rules, cases, provider)
        _reviewed([c for c in cases if c.method == method], rules, reviews)
    for case in cases:
        if case.method == "bed_day":
            _days(case, provider)
        if case.method == "fixed_price":
            _fixed(case, provider)
        if case.method == "drg_rate" and case.volume is not None:
            rate = by(by(at(provider.get("drg_rate"), case.day), case.people), case.hosp_lv)
            case.standard = None if rate is None else half_up(case.volume * Fraction(rate) * 100)
    for pool in provider.get("pools", {}).values():
        _pool(pool, cases)
    for case in cases:
        _owed(case, provider)
    for case in cases:
        if case.refund:
            named = known.get(case.init_setl_id)
            if named:
                case.method, case.payable, case.volume = named.method, -named.payable, named.volume
            else:
                case.payable, case.volume = case.fund, None
    return cases


def _method(case: Case, provider: dict) -> str:
    for line in at(provider.get("methods"), case.day, []):
        said = {"benefits": case.benefit, "institutions": case.fixmedins_code, "levels": case.hosp_lv,
                "people": case.people}  # fmt: skip
        if any(line.get(key) and word not in line[key] for key, word in said.items()):
            continue
        if line.get("case_kinds") and not any(case.of_kind(provider["case_kinds"], k) for k in line["case_kinds"]):
            continue
        return line["method"]
    return "item"


def _counted(cases: list[Case], rules: dict) -> list[Case]:
    """The stays of which means are made: standing, grouped, not ended early."""
    return [c for c in cases if not c.refund and c.back_on is None and c.drg is not None
            and not fits(c.dscg_way, at(rules.get("outliers"), c.day, {}).get("early_ways", []))]  # fmt: skip


def _mean(cases: list[Case]) -> Fraction | None:
    return Fraction(sum(c.cost for c in cases), len(cases)) if cases else None


def _volumes(mine: list[Case], rules: dict, every: list[Case], provider: dict) -> None:
    counted = _counted(every, rules)
    for case in mine:
        out = at(rules.get("outliers"), case.day, {})
        case.out, case.step = out, "ordinary"
        costed = _costed(case, rules)
        case.base = _base(case, rules) if costed is None else costed
        case.coefficient = Fraction(1) if costed is not None else _coefficient(case, rules, counted)
        case.ordinary = None if case.base is None else half_up(case.base * case.coefficient, POINT)
        case.mean = _mean_of(case, rules, counted, provider)
        if not case.mean or case.cost < 0 or costed is not None:
            continue
        low, high = Fraction(out.get("low", 0)) * case.mean, _bound(case)
        if fits(case.dscg_way, out.get("early_ways", [])):
            case.step = "early"
        elif case.cost < low or (case.cost == low and out.get("at_low") == "low"):
            case.step = "low"
        elif high is not None and case.cost > high * case.mean:
            case.step = "high"
    _within_quota(mine)
    for case in mine:
        case.volume = None if case.base is None else _stepped(case)
    _readmitted(mine, rules)


def _costed(case: Case, rules: dict) -> Fraction | None:
    """非稳定病组, 无法入组: points by the cost of the case over the mean of all."""
    rule = at(rules.get("by_cost"), case.day)
    if rule is None or case.cost < 0 or case.refund:
        return None
    if not fits(case.drg, rule.get("groups", [])) and not (rule.get("ungrouped") and case.weight is None):
        return None
    times = Fraction(case.cost, 100) / Fraction(rule["mean"])
    weight = half_up(times * Fraction(rule.get("percent", 100)) / 100, POINT)
    return half_up(weight * Fraction(at(rules.get("scale"), case.day, 1)), POINT)


def _base(case: Case, rules: dict) -> Fraction | None:
    if case.weight is None:
        return None
    weight, percent = case.weight, Fraction(100)
    for line in at(rules.get("chinese_groups"), case.day, []):
        if fits(case.drg, line["groups"]):
            weight = Fraction(line["weight"]) if "weight" in line else weight
            percent = Fraction(line.get("percent", 100))
            break
    return half_up(weight * Fraction(at(rules.get("scale"), case.day, 1)) * percent / 100, POINT)


def _coefficient(case: Case, rules: dict, counted: list[Case]) -> Fraction:
    table = at(rules.get("coefficient"), case.day, {})
    own = table.get("by_group", {}).get(case.drg, {})
    if fits(case.drg, [*at(rules.get("primary_groups"), case.day, []), *table.get("new_groups", [])]):
        return Fraction(1)
    for places in (own, None, table):
        if places is None:
            derived = _derived(case, at(rules.get("coefficient_of_prior_year"), case.day), counted)
            if derived is not None:
                return derived
            continue
        for key, name in (("institutions", case.fixmedins_code), ("levels", case.hosp_lv)):
            if name in places.get(key, {}):
                return Fraction(places[key][name])
    return Fraction(1)


def _derived(case: Case, rule: dict | None, counted: list[Case]) -> Fraction | None:
    """差异系数: mean of the group at the place over its mean everywhere, in the year before."""
    if rule is None or case.drg is None:
        return None
    group = [c for c in counted if c.drg == case.drg and c.day.year == case.day.year - 1]
    level = rule.get("per") == "level"
    here = [c for c in group if (c.hosp_lv == case.hosp_lv if level else c.fixmedins_code == case.fixmedins_code)]
    if len(here) < int(rule.get("least_cases", 1)) or not _mean(group):
        return None
    ratio = half_up(_mean(here) / _mean(group), POINT)
    ratio = max(ratio, Fraction(rule.get("least", 0)))
    return min(ratio, Fraction(rule["most"])) if "most" in rule else ratio


def _mean_of(case: Case, rules: dict, counted: list[Case], provider: dict) -> Fraction | None:
    """The measure of a case: its standard, or the group's mean by the grouping, the policy, the year before."""
    if case.out.get("measure") == "standard":
        rate = by(by(at(provider.get("drg_rate"), case.day), case.people), case.hosp_lv)
        return half_up(case.ordinary * Fraction(rate) * 100) if rate is not None and case.ordinary else None
    given = by(at(rules.get("means"), case.day, {}).get(case.drg, {}), case.hosp_lv)
    if case.mean_fen:
        return Fraction(case.mean_fen)
    if given is not None and Fraction(given):
        return Fraction(given) * 100
    way = rules.get("means_of_prior_year", "no")
    if way == "no" or case.drg is None:
        return None
    before = [c for c in counted if c.drg == case.drg and c.day.year == case.day.year - 1
              and (way == "all" or c.hosp_lv == case.hosp_lv)]  # fmt: skip
    return half_up(_mean(before)) if before else None


def _bound(case: Case) -> Fraction | None:
    bands = by(case.out.get("high", {}), case.hosp_lv)
    if bands is None or bands == {}:
        return None
    if not isinstance(bands, list):
        return Fraction(bands)
    points = case.base or 0
    return Fraction([b["times"] for b in bands if Fraction(b["over"]) < points or Fraction(b["over"]) == 0][-1])


def _within_quota(mine: list[Case]) -> None:
    """Only so many costly cases as the quota of the discharges of the institution and period."""
    places = defaultdict(list)
    for case in mine:
        if case.out.get("high_quota") and not case.refund and case.back_on is None:
            places[case.fixmedins_code, _period(case.day, case.out["high_quota"]["per"])].append(case)
    for cases in places.values():
        queue = sorted((c for c in cases if c.step == "high"), key=lambda c: (c.mean - c.cost, c.id))
        for number, case in enumerate(queue, 1):
            if number > len(cases) * Fraction(case.out["high_quota"]["quota"]) // 100:
                case.step = "over_quota"


def _period(day: date, per: str) -> tuple[int, int]:
    return day.year, {"month": day.month, "quarter": (day.month + 2) // 3, "half_year": (day.month + 5) // 6,
                      "year": 0}[per]  # fmt: skip


def _stepped(case: Case) -> Fraction | None:
    out, base = case.out, case.base
    if case.step in ("early", "low"):
        if case.step == "low" and out.get("low_pays") == "item":
            return None
        whole = base * (case.coefficient if out.get("early_with_coefficient") else 1)
        return min(half_up(whole * case.cost / case.mean, POINT), base)
    if case.step != "high":
        return case.ordinary
    if out.get("high_pays") == "item":
        return None
    bound = _bound(case)
    times = Fraction(case.cost) / case.mean
    if "most" in out:
        times = min(times, max(Fraction(out["most"]), bound))
    above = half_up(base * (times - bound), POINT)
    if "high_percent" in out:
        above = half_up(above * Fraction(out["high_percent"]) / 100, POINT)
    if out.get("high_with_coefficient"):
        above = half_up(above * case.coefficient, POINT)
    return case.ordinary + above


def _readmitted(mine: list[Case], rules: dict) -> None:
    """The earlier of two stays of a person in one group within some days keeps a part of its points."""
    standing = [c for c in mine if not c.refund and c.back_on is None and c.psn_no and c.drg]
    for case in standing:
        rule = at(rules.get("readmission"), case.day)
        if rule is None or case.volume is None or fits(case.drg, rule.get("exempt_groups", [])):
            continue
        same = [c for c in standing if c.psn_no == case.psn_no and c.drg == case.drg
                and (rule.get("across_institutions") or c.fixmedins_code == case.fixmedins_code)]  # fmt: skip
        later = [c for c in same if (c.begntime, c.id) > (case.begntime, case.id)]
        if later and case.endtime:
            gap = (min(later, key=lambda c: (c.begntime, c.id)).begntime.date() - case.endtime.date()).days
            if 0 <= gap <= int(rule["days"]):
                case.volume = half_up(case.volume * Fraction(rule["keep"]) / 100, POINT)


def _reviewed(mine: list[Case], rules: dict, reviews: list[dict]) -> None:
    """特例单议: the first of the queue of each institution and period, up to its quota, get what was decided."""
    asked = {r["setl_id"]: r for r in reviews}
    places = defaultdict(list)
    for case in mine:
        rule = at(rules.get("review"), case.day)
        if rule and not case.refund and case.back_on is None:
            places[case.fixmedins_code, _period(case.day, rule.get("per", "quarter"))].append((case, rule))
    for cases in places.values():
        queue = [pair for pair in cases if pair[0].id in asked]
        queue.sort(key=lambda pair: (asked[pair[0].id]["applied"], -pair[0].cost, pair[0].id))
        for number, (case, rule) in enumerate(queue, 1):
            told = asked[case.id]
            if number > len(cases) * Fraction(rule["quota"]) // 100:
                continue
            if told["outcome"] == "by_item":
                case.volume = None
            elif told["outcome"] == "adjust" and told["points"] is not None:
                case.volume = Fraction(told["points"])


def _of_kinds(case: Case, table: dict, kinds: dict):
    """The value of the first kind of case that fits, else the one for all; no value on the day ends it."""
    for kind in [*(k for k in table if k != "all"), *(k for k in table if k == "all")]:
        if kind == "all" or case.of_kind(kinds, kind):
            return at(table[kind], case.day)
    return None


def _days(case: Case, provider: dict) -> None:
    rule = _of_kinds(case, provider["bed_days"], provider.get("case_kinds", {}))
    bands = None if rule is None else rule["days"] if "over" in rule["days"] else by(rule["days"], case.hosp_lv)
    if bands is None or case.days is None:
        return
    bands = bands if isinstance(bands, list) else [bands]
    tops = [int(b["over"]) for b in bands[1:]] + [case.days]
    unit = "points" if "points" in bands[0] else "yuan"
    worth = sum(max(min(case.days, top) - int(b["over"]), 0) * Fraction(b[unit])
                for b, top in zip(bands, tops, strict=True))  # fmt: skip
    worth *= Fraction(rule.get("assessment", {}).get(case.fixmedins_code, 100)) / 100
    if unit == "yuan":
        case.standard = half_up(worth * 100)
        case.in_yuan = True
    else:
        case.volume = half_up(worth, POINT)


def _fixed(case: Case, provider: dict) -> None:
    rule = _of_kinds(case, provider["fixed_prices"], provider.get("case_kinds", {}))
    price = None if rule is None else by(rule["prices"], case.hosp_lv)
    if price is not None:
        price = Fraction(price) * 100
        case.standard = min(price, case.cost) if rule.get("up_to_cost") else price


def _pool(pool: dict, cases: list[Case]) -> None:
    mine = [c for c in cases if c.method in ("drg_points", "dip", "bed_day") and not hasattr(c, "in_yuan")
            and not c.refund and (not pool.get("people") or c.people in pool["people"])]  # fmt: skip
    if "point_value" in pool:
        for case in mine:
            value = at(pool["point_value"], case.day)
            if case.volume is not None and value is not None:
                case.standard = half_up(case.volume * Fraction(value) * 100)
        return
    label = "%Y-%m" if pool.get("budget_per") == "month" else "%Y"
    periods = defaultdict(list)
    for case in mine:
        periods[case.day.strftime(label)].append(case)
    for period, theirs in periods.items():
        _distribute(pool, theirs, date.fromisoformat(f"{period}-01-01"[:10]), label, period)


def _distribute(pool: dict, theirs: list[Case], first: date, label: str, period: str) -> None:
    """点值 = 总额 / 总点数: every case its whole fen, and the fen left over to the largest remainders."""
    budget = at(pool["budget"], first)
    if budget is None:
        return
    budget = Fraction(budget) * 100
    budget -= half_up(budget * Fraction(at(pool.get("reserve"), first, 0)) / 100)
    stand = [c for c in theirs if not (c.back_on and c.back_on.strftime(label) == period)
             and not (pool.get("away") == "valued" and c.away)]  # fmt: skip
    budget -= sum(c.fund for c in stand if c.volume is None)
    sharing = [c for c in stand if c.volume is not None]
    if pool.get("total") == "over_ratio":
        total = half_up(budget * 100 / Fraction(at(pool["ratio"], first)))
    else:
        total = budget + sum(c.person for c in sharing)
    total, points = max(total, 0), sum(c.volume for c in sharing)
    if not points:
        return
    for case in theirs:
        if case.volume is not None:
            case.exact = total * case.volume / points
            case.standard = case.exact // 1 if case in sharing else half_up(case.exact)
    left = total - sum(c.standard for c in sharing)
    for case in sorted(sharing, key=lambda c: (-(c.exact % 1), c.id))[: int(left)]:
        case.standard += 1


def _owed(case: Case, provider: dict) -> None:
    form = provider.get("fund_form", "difference")
    share = by(by(at(provider.get("fund_share"), case.day), case.people), case.hosp_lv)
    if case.refund:
        return
    if case.method == "item" or case.standard is None or (form == "share" and share is None):
        case.method, case.payable, case.volume, case.standard = "item", case.fund, None, None
        return
    if form == "difference":
        case.payable = case.standard - case.person
    elif form == "share":
        case.payable = half_up(case.standard * Fraction(share) / 100)
    else:
        left, whole = case.standard - case.own - case.over - case.first - case.start, case.scope - case.start
        case.payable = half_up(max(left, 0) * Fraction(case.fund, whole)) if whole > 0 else Fraction(0)
    if case.method == "bed_day":
        case.volume = Fraction(case.days)
    if case.method == "fixed_price":
        case.volume = Fraction(1)


def months(cases: list[Case], provider: dict, deductions: dict | None = None) -> dict[tuple, tuple]:
    """(institution, month, method): cases, volume, payable, prepaid; the year's clearing in rows of its own."""
    rows, clearing = {}, provider.get("clearing", {})
    groups = defaultdict(list)
    for case in cases:
        groups[case.fixmedins_code, case.day.strftime("%Y-%m"), case.method].append(case)
    charged = {}
    for key, own in groups.items():
        signs = [(-1 if c.refund else 1, c) for c in own]
        volume = None if key[2] == "item" else sum(sign * (c.volume or 0) for sign, c in signs)
        payable, charged[key] = sum(c.payable for c in own), sum(c.fund for c in own)
        share = Fraction(at(clearing.get("prepaid"), date.fromisoformat(f"{key[1]}-01"), 0))
        of = payable if clearing.get("prepaid_of") == "payable" else charged[key]
        rows[key] = (sum(sign for sign, _ in signs), volume, payable, half_up(of * share / 100))
    for year in {key[1][:4] for key in groups}:
        for place in {key[0] for key in groups if key[1][:4] == year}:
            own = [key for key in groups if key[0] == place and key[1][:4] == year]
            last = max(key[1] for key in own)
            day = date.fromisoformat(f"{last}-01")
            grouped = [key for key in own if key[2] != "item"]
            shared = _shared(
                at(clearing.get("bands"), day), sum(charged[k] for k in grouped), sum(rows[k][2] for k in grouped),
                clearing.get("bands_take") == "whole",
            )  # fmt: skip
            factor = Fraction(at(clearing.get("quality"), day, {}).get(place, 100))
            quality = half_up((sum(rows[k][2] for k in own) + shared) * (factor - 100) / 100)
            taken = -(deductions or {}).get((place, int(year)), 0)
            for method, amount in (("shared", shared), ("quality", quality), ("deduction", taken)):
                if amount:
                    rows[place, last, method] = (0, None, amount, 0)
    return rows


def _shared(bands: list[dict] | None, charged: Fraction, payable: Fraction, whole: bool) -> Fraction:
    """结余留用, 超支分担: what the institution's payable changes by."""
    if not bands or payable <= 0 or charged < 0:
        return Fraction(0)
    ends = [(Fraction(b["lo"]) / 100, None if b["hi"] == "none" else Fraction(b["hi"]) / 100, b) for b in bands]
    if whole:
        ratio = Fraction(charged) / payable
        for lo, hi, band in ends:
            if lo >= 1 and ratio > lo and (hi is None or ratio <= hi):
                return half_up((charged - payable) * Fraction(band.get("share", 0)) / 100)
            if lo < 1 and lo <= ratio < hi:
                return half_up((charged - payable) * (100 - Fraction(band.get("keep", 0))) / 100)
        return Fraction(0)
    adds = Fraction(0)
    for lo, hi, band in ends:
        if lo >= 1:
            top = charged if hi is None else min(charged, hi * payable)
            adds += max(top - lo * payable, 0) * Fraction(band.get("share", 0)) / 100
        else:
            adds -= max(hi * payable - max(charged, lo * payable), 0) * (100 - Fraction(band.get("keep", 0))) / 100
    return half_up(adds)
