"""The clauses of a policy's person side: what each benefit, layer and payer pays, to whom and on which conditions.

Here stands only what a clause may say; terms.py finds the values that hold for a claim, layers.py applies them.
Sources of the forms: the national benefit list (医保发〔2021〕5号), 国办发〔2021〕14号, 〔2021〕42号,
〔2024〕38号, 医保发〔2022〕22号.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.settlement.dated import Amount, Bands, Count, Counts, Factors, Percent, Series, Share, Strict, since

VisitKind = Literal[
    "general_outpatient",
    "emergency_outpatient",
    "chronic_outpatient",
    "special_outpatient",
    "inpatient",
    "emergency_inpatient",
    "day_surgery",
    "home_bed",
    "pharmacy",
    "account_debit",  # what an account pays beside any care: a premium, a fee for the family doctor
]
Filing = Literal["resident", "referral", "emergency", "temporary", "filed", "unfiled"]
Per = Literal["year", "half_year", "quarter", "month", "day", "claim"]
Where = Literal[
    "med_type", "adm_kind", "adm_way", "dise_codg", "fixmedins_code", "hosp_lv", "insutype", "gend", "daysurg_flag"
]
Part = Literal["in_scope", "first_pay", "over_limit", "own_pay"]
PARTS: tuple[Part, ...] = ("in_scope", "first_pay", "over_limit", "own_pay")


class Entitled(Strict):
    """门诊慢特病认定: without an entitlement to the claim's dise_codg on its day it is paid as another benefit, or not.

    Asked only where there is a table of entitlements. remote_diseases: those that are paid directly away from home, all
    when empty. at_chosen_site: only where the institution chosen with the entitlement, if one was, is the claim's.
    """

    otherwise: str  # a benefit, or nothing
    remote_diseases: list[str] = []
    at_chosen_site: bool = False


class ItemClass(Strict):
    """Items paid by a ratio of their own: 国谈药单独支付, 高值药品和耗材, 中药饮片.

    Their in-policy cost takes no part in the benefit's deductible and tiers; what the pool pays of it counts to the
    year's cap, and to the benefit's own only where `in_caps` says so. With `plus_points` instead of a ratio they stay
    where they are, and the pool pays so many points more of what of them lies above the deductible.
    """

    items: Annotated[list[str], Field(min_length=1)]  # national codes of fee lines
    ratio: Bands = {}  # tiers cut on the class's in-policy cost of the claim
    plus_points: Percent = {}
    annual_cap: Amount = {}
    in_caps: bool = False

    @model_validator(mode="after")
    def _says_one_of_two(self):
        if bool(self.ratio) == bool(self.plus_points):
            raise ValueError("ratio 与 plus_points 须写一个, 只写一个")
        return self


class Benefit(Strict):
    """What one kind of visit is paid: inpatient, general outpatient … The names are the policy's own.

    A claim belongs to the benefit of its visit_kind, unless one names its med_type, its adm_kind or an item on it
    (生育, 辅助生殖), or has a `where` all of which holds: then to the first of these. `52*`: all that begin so.
    """

    label: str = ""
    visit_kinds: list[VisitKind] = []
    med_types: list[str] = []
    adm_kinds: list[str] = []
    items: list[str] = []  # national codes of fee lines
    where: dict[Where, list[str]] = {}  # claims whose columns hold one of these each, of the visit kinds named if any
    deductible: Amount = {}
    deductible_per: Literal["admission", Per] | None = None
    deductible_shared: str = ""  # benefits with the same word use up one yearly deductible
    deductible_year_cap: Amount = {}  # what deductibles of a year come to at most
    nth_admission_percent: Series = {}  # of the deductible, for the first, second … admission of the year
    nth_admission_minus: Amount = {}  # taken off it for each admission of the year before
    deductible_floor: Amount = {}  # below which that does not go
    continues_within_days: Counts = {}  # a stay begun so soon after another goes on with it, with one deductible
    category_deductible_percent: Percent = {}
    first_percent: Percent = {}  # of the in-policy amount, paid by the person before anything is computed
    ratio: Bands = {}
    band_origin: Literal["gross", "net", "year", "year_net"] = "gross"  # tiers cut on the in-policy amount, on it less
    # the deductible, or on the year's of the benefit
    self_pay_percent: Factors = {}  # of the share the ratio leaves to the person: 退休自付为在职的 60%
    plus_points: Percent = {}
    category_plus_points: Percent = {}
    age_points: Percent = {}  # points for each whole year of age
    item_classes: dict[str, ItemClass] = {}
    cost_cap: Amount = {}  # the in-policy cost of a year, month … that counts
    cost_cap_per: Per = "year"
    pool_cap: Amount = {}  # what the pool pays of this benefit in a year, month …
    pool_cap_per: Literal[Per, "month_carried"] = "year"  # month_carried: what months before left is added, in the year
    pool_cap_shared: str = ""  # benefits with the same word use up one cap
    pool_cap_per_further_disease: Amount = {}  # added for each further disease the person is entitled for
    second_cap: Amount = {}  # another of the same, say of each claim
    second_cap_per: Literal[Per, "bed_day"] = "claim"  # bed_day: so much for each day of the stay
    account_pays: Literal["in_scope", "all", "nothing", "first"] = "in_scope"  # first: before the pool
    rounded: Literal["claim", "year"] = "claim"
    entitlement: Entitled | None = None

    @model_validator(mode="after")
    def _says_what_it_is_for(self):
        if not any((self.visit_kinds, self.med_types, self.adm_kinds, self.items, self.where)):
            raise ValueError("须写 visit_kinds, med_types, adm_kinds, items 或 where")
        return self

    @model_validator(mode="after")
    def _says_what_the_deductible_is_per(self):
        if self.deductible and not self.deductible_per:
            raise ValueError("写了 deductible 就须写 deductible_per: admission 或 year (也可 claim, day, month …)")
        return self


class LargeAmount(Strict):
    """职工大额: a share of the in-policy cost the pool did not bear because its annual cap was reached."""

    ratio: Percent
    annual_cap: Amount = {}


class ElectronicOnly(Strict):
    """双通道谈判药: items paid at these visits only with an electronic prescription, from when it is required."""

    items: list[str]
    visit_kinds: list[VisitKind] = ["pharmacy"]
    required: Counts  # 1 from the day on which it is


class Who(Strict):
    """Whom a payer serves: those of any of these groups, categories or insurance types (enrolled on the day)."""

    groups: list[str] = []
    categories: list[str] = []
    insutypes: list[str] = []


class Payer(Strict):
    """A layer behind the pool: a ratio by tiers on what the year's claims left to the person, of the parts it counts.

    公务员补助, 医疗救助, 倾斜救助, 惠民保 (one payer for each of its buckets), charity. `by: category` gives values per
    category, and nothing to a person of none. start: below it nothing is paid; tiers `gross` are cut on the year's
    amount itself, `net` on what lies above the start. Without a start the first tier begins where it says.
    """

    label: str = ""
    column: Literal["cvlserv_pay", "maf_pay", "hifes_pay", "oth_pay", "hifmi_pay"]
    who: Who = Who()
    by: Literal["group", "category"] = "group"
    benefits: list[str] = []  # all when empty
    counts: Annotated[list[Part], Field(min_length=1)] = ["in_scope"]
    start: Amount = {}
    start_per: Literal["year", "claim"] = "year"
    category_start_percent: Percent = {}
    ratio: Bands
    band_origin: Literal["gross", "net"] = "gross"
    category_plus_points: Percent = {}
    rounded: Literal["claim", "year"] = "claim"
    annual_cap: Amount = {}
    annual_cap_shared: str = ""  # payers with the same word use up one cap
    category_annual_cap: Amount = {}  # in place of the other, where there is one
    loss_counts: bool = True  # whether what unfiled care away from home lost of the pool's share is in its base

    def counted(self) -> list[Part]:
        """The parts of the person's share that count."""
        return list(self.counts)


class Incentive(Strict):
    """国办发〔2024〕38号: years of unbroken enrolment, and years without a claim on the funds, raise the annual cap.

    cap = cap0 + min(most_percent of cap0, step_continuous x (n − free_years) + step_zero_claim x z); n counts the year
    itself; a claim that takes the year's payments above cap0 clears z.
    """

    step_continuous: Amount
    free_years: Counts
    step_zero_claim: Amount
    most_percent: Percent
    since: Annotated[int, Field(ge=2000, le=2200)]  # the first year that earns


class Insurer(Strict):
    """大病承办机构: a premium a head and year is handed over to it; of a year's surplus it keeps at most so much of the
    premium, of a loss the fund bears a share.
    """

    name: str
    premium: Amount
    keeps: since(Share) = {}
    fund_bears: since(Share) = {}


class Catastrophic(Payer):
    """居民大病: tiers on the year's in-policy self-pay of the benefits named, with or without the first-pay share."""

    column: Literal["hifmi_pay"] = "hifmi_pay"
    benefits: list[str]
    first_pay_counts: bool = False
    incentive: Incentive | None = None
    insurer: Insurer | None = None

    def counted(self) -> list[Part]:
        return ["in_scope", "first_pay"] if self.first_pay_counts else list(self.counts)


class Waiting(Strict):
    """待遇等待期 after a gap in enrolment (国办发〔2024〕38号): so many months pay nothing.

    months = fixed + per_missed_year x missed − per_repaired_year x repaired; after a gap of long_gap_years or more at
    least long_gap_least. A year is repaired by a spell that was enrolled in a later year than it covers.
    """

    fixed: Counts
    per_missed_year: Counts
    per_repaired_year: Counts = {}
    long_gap_years: Counts = {}
    long_gap_least: Counts = {}
    exempt_categories: list[str] = []


class Enrolment(Strict):
    """Who is insured on a day: in a spell of enrolment; of a newborn enrolled in time from its birth on.

    Asked only where there is a table of enrolments. insutypes: the spells that count, all when empty.
    """

    insutypes: list[str] = []
    newborn_days: Counts = {}
    waiting: Waiting | None = None


class Reduction(Strict):
    """How care away from home under one kind of filing is paid: fewer points, a share of the ratio, another one.

    first: the person pays so much of the in-policy amount first (首先自付), and the ratio holds for the rest.
    """

    mode: Literal["minus", "times", "replace", "first"]
    value: Percent
    deductible_percent: Factors = {}


class Category(Strict):
    """A category by aid_spells or persons.aid_type; its own name counts. The first that holds is taken."""

    aid_types: list[str] = []


class Group(Strict):
    """A person group by claims.psn_type: exact values, or `11*` for all that begin so; the group's own name counts.

    What further is said must hold too: insutypes of the claim, age on the first day of care, whole months of unbroken
    enrolment up to it. Groups may then share psn_types, and the first that holds is taken. `psn_types: ["*"]`: any.
    """

    psn_types: list[str] = []
    insutypes: list[str] = []
    age_from: Count | None = None
    age_below: Count | None = None
    months_from: Count | None = None
    months_below: Count | None = None

    def conditions(self) -> bool:
        """Whether it asks for more than the psn_type."""
        return bool(self.insutypes) or any(bound is not None for bound in (*self.ages(), *self.months()))

    def ages(self) -> tuple:
        """The first age that belongs to it and the first that does not."""
        return self.age_from, self.age_below

    def months(self) -> tuple:
        """The same of months of enrolment."""
        return self.months_from, self.months_below


class Maternity(Strict):
    """生育津贴 (社会保险法第五十六条): the unit's average monthly wage of the year before, for the days of leave.

    A day is worth `months` wages for `days` days: 1 and 30, 12 and 365, 10 and 304 (÷ 30.4) are in use.
    """

    months: Counts
    days: Counts
    leave: Counts
    leave_difficult: Counts = {}  # 难产
    leave_further_baby: Counts = {}  # for each baby beyond the first
    leave_local: Counts = {}  # 奖励假


class CareService(Strict):
    """One form of long-term care by ltc_visits.service_code: what a unit may cost, and the fund's share of it."""

    service_codes: list[str] = []
    unit: Literal["visit", "hour"] = "visit"
    limit: Amount
    ratio: Percent
    units_a_month: Counts = {}  # of which the fund pays no more


class Premiums(Strict):
    """居民参保缴费与资助参保: a premium of a year, and what medical assistance pays of it, by category a share or
    a fixed amount. insutypes: the enrolments that count, all when empty.
    """

    insutypes: list[str] = []
    amount: Amount
    category_percent: Percent = {}
    category_amount: Amount = {}  # in place of the share, where there is one
