"""The provider side of a policy: which method pays which case, and every number the methods take, as dated values.

A method turns a case into a volume (weights, points, scores, or days x points) and a price pays the volume: the dated
rate of one weight, or the value of one point, given or worked out from a budget. Which cases a method has is the list
`methods`: the first line that fits a case names its method, and what no line fits is paid by item. Nothing here
computes money; the words follow the payment chapters of the DRG and DIP texts (点数法, 费率法, 床日, 特例单议, 清算).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from engine.settlement.dated import ALL, Amount, Count, Factor, Percent, Share, Strict, Units, Yuan, since
from engine.settlement.money import NO_LIMIT, PERCENT
from engine.settlement.provider_values import banded, by_level, fen, gapless, paid_days

Method = Literal["item", "drg_rate", "drg_points", "dip", "bed_day", "fixed_price"]
BY_CASE = ("drg_rate", "drg_points", "dip")  # the methods whose volume is the weight of a group
Names = list[str]


class CaseKind(Strict):
    """A kind of case by what its claim says; a case is of the kind when all that is written fits. `R*` begins so."""

    groups: Names = []
    departments: Names = []  # dscg_dept_codg
    adm_kinds: Names = []
    med_types: Names = []
    diseases: Names = []  # dise_codg
    visit_kinds: Names = []  # day_surgery …
    areas: Names = []  # insu_admdvs: where the person is insured
    away: bool | None = None  # whether of a person insured elsewhere
    days_over: Count | None = None  # of the stay
    days_up_to: Count | None = None


class Line(Strict):
    """One line of `methods`: who is paid by it. What is left out does not matter; the first line that fits counts."""

    method: Method
    benefits: Names = []
    institutions: Names = []
    levels: Names = []
    people: Names = []  # person groups
    case_kinds: Names = []


def _reachable(lines: list[Line]) -> list[Line]:
    """Refuses a line that an earlier one hides wholly."""
    wheres = ("benefits", "institutions", "levels", "people", "case_kinds")
    for n, line in enumerate(lines):
        for m, earlier in enumerate(lines[:n]):
            if all(
                not getattr(earlier, w) or (getattr(line, w) and set(getattr(line, w)) <= set(getattr(earlier, w)))
                for w in wheres
            ):
                raise ValueError(f"第 {n + 1} 条永远轮不到: 第 {m + 1} 条已包含它")
    return lines


class OfPlace(Strict):
    """A coefficient by institution, else by hospital level."""

    institutions: dict[str, Units] = {}
    levels: dict[str, Units] = {}


class Coefficients(OfPlace):
    """机构系数, 成本系数: of a group at an institution or level, else of the institution, else of its level, else 1."""

    by_group: dict[str, OfPlace] = {}
    new_groups: Names = []  # always 1: a new group has no costs to compare


class Review(Strict):
    """At most `quota` percent of the discharges of an institution in a month, quarter, half-year or year: 特例单议."""

    quota: Share
    per: Literal["month", "quarter", "half_year", "year"] = "quarter"


class Outliers(Strict):
    """When the cost of a case, as a multiple of the mean of its group, takes it out of the ordinary.

    measure: the mean cost of the group, or (only by rate) the case's own standard. low: below it the case is paid as
    one ended early, or by item; at it, at_low says. high: above it, by level and points; paid with points for what lies
    above (`high_percent` of it, up to `most` times), or by item; where there is a `high_quota`, only for so many of the
    discharges, those that cost most above the measure. review: above it experts look at the case.
    """

    measure: Literal["mean", "standard"] = "mean"
    low: Units = 0
    at_low: Literal["ordinary", "low"] = "ordinary"
    low_pays: Literal["cost", "item"] = "cost"
    high_pays: Literal["points", "item"] = "points"
    high_percent: Share = PERCENT
    most: Units | None = None
    high_quota: Review | None = None
    high: Annotated[Any, AfterValidator(by_level(banded))] = {}
    review: Units | None = None
    early_ways: Names = []  # dscg_way of a stay that ended early
    early_with_coefficient: bool = False
    high_with_coefficient: bool = False  # DIP: base x (c - bound + 1) x coefficient; DRG leaves the added part without


class Readmission(Strict):
    """The earlier of two stays in one group within `days` keeps `keep` percent of its points."""

    days: Count
    keep: Share
    exempt_groups: Names = []
    across_institutions: bool = False


class Chinese(Strict):
    """A TCM preferred group (中医优势病种): paid like another weight (parity), or its own with an uplift."""

    groups: Names = []
    case_kinds: Names = []
    weight: Units | None = None
    percent: Factor = PERCENT

    @model_validator(mode="after")
    def _says_whom(self):
        if not self.groups and not self.case_kinds:
            raise ValueError("须写 groups 或 case_kinds")
        return self


class Derived(Strict):
    """差异系数 of the year before: mean cost of a group at the institution, or at its level, over that at all of them.

    Only from `least_cases` cases on either side; never below `least` nor above `most`.
    """

    per: Literal["institution", "level"] = "institution"
    least_cases: Annotated[Count, Field(ge=1)] = 1
    least: Units = 0
    most: Units | None = None


class ByCost(Strict):
    """Cases worth what they cost: of these groups (非稳定病组) or without a weight at all (无法入组).

    Their weight is cost / the mean cost of all cases (yuan) x percent; no coefficient, no outlier.
    """

    groups: Names = []
    ungrouped: bool = False
    mean: Annotated[Yuan, Field(ge=1, lt=NO_LIMIT)]
    percent: Factor = PERCENT


class ByCase(Strict):
    """How the weight of a group becomes the volume of a case."""

    scale: since(Units) = {}  # points of a weight of 1; 1 where not given
    by_cost: since(ByCost) = {}
    coefficient: since(Coefficients) = {}
    coefficient_of_prior_year: since(Derived) = {}  # for groups without one of their own: of the claims at hand
    outliers: since(Outliers) = {}
    means: since(dict[str, Annotated[Any, AfterValidator(by_level(fen))]]) = {}  # yuan, by group and level
    means_of_prior_year: Literal["no", "all", "level"] = "no"  # for groups not given: of the claims at hand
    readmission: since(Readmission) = {}
    primary_groups: since(Names) = {}  # 基层病种: same disease, same price
    chinese_groups: since(list[Chinese]) = {}
    review: since(Review) = {}


class BedDay(Strict):
    """What days are worth, and the percent of it each institution's assessment leaves (100 where none)."""

    days: Annotated[Any, AfterValidator(by_level(paid_days))]
    assessment: dict[str, Factor] = {}


class FixedPrice(Strict):
    """按病种定额, 日间手术定额: what a case is worth, by hospital level; `up_to_cost`: never more than it cost."""

    prices: Annotated[Any, AfterValidator(by_level(fen))]
    up_to_cost: bool = False


class Pool(Strict):
    """The money of some person groups: the value of a point (yuan), or the budget of a month or year to distribute.

    total: what the points share: the budget with what the persons pay, or the budget over the reimbursement ratio.
    reserve: percent of the budget kept out of it (调剂金, 风险金). away: whether cases of persons insured elsewhere
    share the budget, or only get the value it gives a point, since another place's fund pays for them.
    """

    people: Names = []  # all where empty
    point_value: since(Units) = {}
    budget: since(Yuan) = {}
    budget_per: Literal["month", "year"] = "year"
    total: Literal["with_persons", "over_ratio"] = "with_persons"
    ratio: since(Share) = {}
    reserve: since(Share) = {}
    away: Literal["shares", "valued"] = "shares"

    @model_validator(mode="after")
    def _has_a_price(self):
        if bool(self.point_value) == bool(self.budget):
            raise ValueError("须写 point_value 或 budget 之一")
        if (self.total == "over_ratio") != bool(self.ratio):
            raise ValueError("total: over_ratio 与 ratio 须同时写")
        if any(on.value == 0 for on in self.ratio.values()):
            raise ValueError("ratio 须大于 0")
        if late := [day for day in self.budget if day.day > 1 or (self.budget_per == "year" and day.month > 1)]:
            raise ValueError(f"budget 须从{'年' if self.budget_per == 'year' else '月'}初起: {late[0]}")
        return self


class SharedBand(Strict):
    """Between `lo` and `hi` percent charged of what is payable: the institution keeps, or the fund shares, so much."""

    lo: Factor
    hi: Factor | Literal["none"]
    keep: Share = 0
    share: Share = 0


class Alliance(Strict):
    """医共体: a year's lump sum for the persons of some areas, less what others are paid for them; the lead answers."""

    members: Names = Field(min_length=1)
    lead: str
    areas: Names = Field(min_length=1)  # insu_admdvs
    budget: Yuan
    keep: Share = 0  # of a surplus
    share: Share = 0  # of an overrun, what the fund bears

    @model_validator(mode="after")
    def _is_led_by_a_member(self):
        if self.lead not in self.members:
            raise ValueError(f"lead {self.lead} 不在 members 之中")
        return self


class AdvanceFund(Strict):
    """预付金: who may have a month's mean spend in advance, by months of payments in reserve of each fund."""

    months: dict[str, Count]
    mean_of_years: Annotated[Count, Field(ge=1, le=3)] = 1


class Clearing(Strict):
    """Monthly pre-payment and the clearing of a year."""

    daily: since(Share) = {}  # of what a day's statements charge, paid on account at once and part of what is prepaid
    prepaid: since(Share) = {}
    prepaid_of: Literal["charged", "payable"] = "charged"  # what the statements charge to the funds, or the payment
    bands_take: Literal["part", "whole"] = "part"  # of a surplus or overrun: the part in each band, or all in its band
    bands: since(Annotated[list[SharedBand], AfterValidator(gapless)]) = {}
    quality: since(dict[str, Factor]) = {}  # by institution, of what is payable
    alliances: since(dict[str, Alliance]) = {}
    advance: since(AdvanceFund) = {}


class Provider(Strict):
    """How institutions are paid. `drg_benefits` is the short way to write a last line of methods for drg_rate."""

    drg_benefits: Names = []
    drg_rate: Amount = {}
    fund_form: Literal["difference", "ratio", "share"] = "difference"
    fund_share: Percent = {}  # of a standard, with the form `share`
    case_kinds: dict[str, since(CaseKind)] = {}
    methods: since(Annotated[list[Line], AfterValidator(_reachable)]) = {}
    by_case: dict[Literal["drg_rate", "drg_points", "dip"], ByCase] = {}
    bed_days: dict[str, since(BedDay)] = {}  # by case kind, or all
    fixed_prices: dict[str, since(FixedPrice)] = {}  # by case kind, or all
    pools: dict[str, Pool] = {}
    clearing: Clearing = Clearing()
    home_pays: since(Literal["statement", "group"]) = {}  # of stays away from home; the statement where not given
    instant_days: since(Count) = {}  # working days within which a settlement is paid out

    def benefits(self) -> Names:
        """Every benefit named here."""
        return [*self.drg_benefits, *(b for on in self.methods.values() for line in on.value for b in line.benefits)]

    def people(self) -> Names:
        """Every person group named here."""
        lines = [line for on in self.methods.values() for line in on.value]
        return [name for part in (*lines, *self.pools.values()) for name in part.people]

    @model_validator(mode="after")
    def _hangs_together(self):
        lines = [line for on in self.methods.values() for line in on.value]
        tcm = [c for by in self.by_case.values() for on in by.chinese_groups.values() for c in on.value]
        kinds = {kind for part in (*lines, *tcm) for kind in part.case_kinds} | (
            {*self.bed_days, *self.fixed_prices} - {ALL}
        )
        if unknown := sorted(kinds - set(self.case_kinds)):
            raise ValueError(f"没有名为 {', '.join(unknown)} 的 case_kinds; 现有 {', '.join(self.case_kinds) or '无'}")
        used = {line.method for line in lines}
        if "bed_day" in used and not self.bed_days:
            raise ValueError("methods 用了 bed_day, 须写 bed_days")
        if "fixed_price" in used and not self.fixed_prices:
            raise ValueError("methods 用了 fixed_price, 须写 fixed_prices")
        if (self.fund_form == "share") != bool(self.fund_share):
            raise ValueError("fund_form: share 与 fund_share 须同时写")
        by_points = [on for name, by in self.by_case.items() if name != "drg_rate" for on in by.outliers.values()]
        if any(on.value.measure == "standard" for on in by_points):
            raise ValueError("outliers 的 measure: standard 只用于 drg_rate: 按点数付费的标准到清算时才有")
        if used & {"drg_points", "dip"} and not self.pools:
            raise ValueError("按点数付费须写 pools: 点值或预算")
        if "drg_rate" in used and not self.drg_rate:
            raise ValueError("methods 用了 drg_rate, 须写 drg_rate")
        people = [name for pool in self.pools.values() for name in (pool.people or [ALL])]
        if len(people) != len(set(people)) or (ALL in people and len(self.pools) > 1):
            raise ValueError("pools 的人员组重复归属")
        return self
