"""A hospital's extract as plain rows, and what an auditor with pen and paper would first work out of it.

Nothing here comes from the engine: the rows are read as the answer key describes the files, and refunds are netted as
its `conventions` say. `textbook_*.py` judge what `Hospital` holds.
"""

import csv
import json
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from pathlib import Path

Rows = list[dict]
DAY = timedelta(days=1)
DETAILS = {"SETTLE_ZY": "SETTLE_ZY_DETAIL", "SETTLE_MZ": "SETTLE_MZ_DETAIL"}


def read(bundle: Path, key: dict) -> dict[str, Rows]:
    """Every table's rows without those the key rejects; `_line` is the physical line."""
    gone = {(d["file"], d["physical_line"]) for d in key["defects"] if d["bucket"] == "rejected"}
    tables = {}
    for name, form in key["control"]["files"].items():
        text = (bundle / f"{name}.csv").read_bytes().decode(form["encoding"]).replace("\r\n", "\n")
        lines = [line for line in text.split("\n") if line]
        cells = [line.split("|@|") if form["delimiter"] == "|@|" else next(csv.reader([line])) for line in lines]
        head = cells[0]
        tables[name] = [
            {c: unicodedata.normalize("NFKC", v) if c in NUMBERS else v for c, v in zip(head, row, strict=False)}
            | {"_line": at}
            for at, row in enumerate(cells[1:], 2)
            if (f"{name}.csv", at) not in gone
        ]
    return tables


NUMBERS = {"PATIENT_AGE", "NUM", "UNIT_PRICE", "COST", "TOTAL_AMOUNT", "BMI_PAY_AMOUNT", "BMI_CONVERED_AMOUNT"}


def write(tables: dict[str, Rows], folder: Path) -> None:
    """The tables as UTF-8 files; `_line` becomes the physical line of the new files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        columns = [c for c in rows[0] if c != "_line"]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(columns)
            out.writerows([row[c] for c in columns] for row in rows)
        for at, row in enumerate(rows, 2):
            row["_line"] = at


def number(text: str) -> Fraction:
    return Fraction(text.strip() or "0")


def fen(text: str) -> int:
    return int(number(text) * 100)


def half_up(value: Fraction) -> int:
    """The nearest whole number, away from zero at the half."""
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.strip())


@dataclass(eq=False)
class Claim:
    """One settled visit, inpatient or outpatient."""

    row: dict
    table: str
    kind: str
    diagnoses: list[str] = field(default_factory=list)
    operations: Rows = field(default_factory=list)
    lines: list["Line"] = field(default_factory=list)
    person: object = None

    def __getattr__(self, name):
        return self.row[name.upper()]

    @property
    def inpatient(self) -> bool:
        return self.table == "SETTLE_ZY"

    @property
    def insured(self) -> bool:
        return self.row["MEDICAL_INSURANCE_FLAG"] == "0"

    @cached_property
    def begin(self) -> datetime:
        return moment(self.row["ADMISSION_DATE"])

    @cached_property
    def admitted(self) -> date:
        return self.begin.date()

    @cached_property
    def discharged(self) -> date | None:
        return moment(self.row["DISCHARGE_DATE"]).date() if self.inpatient else None

    @property
    def days(self) -> int:
        return (self.discharged - self.admitted).days

    @property
    def ward(self) -> str:
        return self.row["ADMISSION_DEPT_NAME"] or self.row.get("DISCHARGE_DEPT_NAME", "")

    @property
    def icd3(self) -> str:
        return self.diagnoses[0][:3] if self.diagnoses else ""

    @property
    def identity(self) -> tuple:
        """A second PATIENT_ID bears the same; a newborn under the mother's ID_CARD does not."""
        return self.row["ID_CARD"].upper(), self.row["PATIENT_BIRTHDAY"], self.row["PATIENT_GENDER"]

    @property
    def rate(self) -> Fraction:
        """r of the claim."""
        scope = fen(self.row["BMI_CONVERED_AMOUNT"])
        return Fraction(fen(self.row["BMI_PAY_AMOUNT"]), scope) if scope else Fraction(0)

    def has(self, prefixes: list[str]) -> bool:
        return any(code.startswith(tuple(prefixes)) for code in self.diagnoses)


@dataclass(eq=False)
class Line:
    """One fee line; `units` is what refunds leave of it."""

    row: dict
    claim: Claim
    category: str
    units: Fraction = Fraction(0)

    @cached_property
    def key(self) -> str:
        return f"{DETAILS[self.claim.table]}:{self.row['_line']}"

    @cached_property
    def item(self) -> str:
        return self.row["ITEM_ID"]

    @cached_property
    def time(self) -> datetime:
        return moment(self.row["USAGE_DATE"])

    @cached_property
    def day(self) -> date:
        return self.time.date()

    @cached_property
    def num(self) -> Fraction:
        return number(self.row["NUM"])

    @cached_property
    def price(self) -> Fraction:
        return number(self.row["UNIT_PRICE"])

    @property
    def ward(self) -> str:
        return self.row.get("BILLING_DEPT_NAME") or self.claim.ward

    @property
    def order(self) -> tuple:
        return self.time, self.row["_line"]

    def share(self, units: Fraction) -> tuple[int, int, int]:
        """Cost, in-scope amount and fund of so many units, each half up."""
        cost = half_up(fen(self.row["COST"]) * units / self.num)
        scope = half_up(fen(self.row["BMI_CONVERED_AMOUNT"]) * units / self.num)
        return cost, scope, half_up(scope * self.claim.rate)


class Hospital:
    """All claims of an extract that stand, with their lines net of refunds; `key` says what holds in the region."""

    def __init__(self, tables: dict[str, Rows], key: dict):
        self.tables, self.key = tables, key
        self.region, self.rules = key["region"], key["rule_parameters"]
        kinds, categories = self.region["maps"]["CLAIM_TYPE"], self.region["maps"]["P_CATEGORY"]
        every = [Claim(row, name, kinds[row["CLAIM_TYPE"]]) for name in DETAILS for row in tables[name]]
        refunds = [c for c in every if c.row["REFUND_FLAG_TYPE"] in ("1", "是")]
        gone = {c.hisid for c in refunds} | {c.refund_hisid for c in refunds}
        name_persons(every)
        self.claims = {c.hisid: c for c in every if c.hisid not in gone}
        for row in tables["SETTLE_ZY_DIAGNOSIS"]:
            if row["HISID"] in self.claims:
                others = [row[f"DISCHARGE_DISEASE_ID_OTHER{n}"] for n in range(1, 16)]
                codes = [code for code in [row["DISCHARGE_DISEASE_ID_MAIN"], *others] if code]
                self.claims[row["HISID"]].diagnoses = codes
        for claim in self.claims.values():
            if not claim.inpatient and claim.outpatient_disease_id:
                claim.diagnoses = [claim.outpatient_disease_id]
        for row in tables["MDCS_FUND_SETL_LIST_OPRN_D"]:
            if row["HISID"] in self.claims:
                self.claims[row["HISID"]].operations.append(row)
        for name, detail in DETAILS.items():
            for row in tables[detail]:
                claim = self.claims.get(row["HISID"])
                if claim and claim.table == name:
                    claim.lines.append(Line(row, claim, categories[row["P_CATEGORY"]]))
        for claim in self.claims.values():
            claim.lines = netted(claim.lines)
        self.stays = [c for c in self.claims.values() if c.inpatient]
        self.visits = [c for c in self.claims.values() if not c.inpatient]

    def items(self, name: str) -> set[str]:
        return set(self.region["item_sets"][name])

    def table(self, name: str, rule: str) -> Rows:
        return [row for row in self.region[name] if row.get("rule") == rule]

    def lines(self, items, claims=None) -> list[Line]:
        """Lines of insured claims with one of the items, in the order of time."""
        chosen = [c for c in (self.claims.values() if claims is None else claims) if c.insured]
        return sorted((x for c in chosen for x in c.lines if x.item in items), key=lambda x: x.order)


def name_persons(claims: list[Claim]) -> None:
    """Claims that share a PATIENT_ID or an identity are of one person, and so on."""
    leads = {}

    def leader(name):
        while leads.get(name, name) != name:
            name = leads[name]
        return name

    for claim in claims:
        ours = leader(("id", claim.patient_id))
        leads[leader(claim.identity)] = ours
    for claim in claims:
        claim.person = leader(("id", claim.patient_id))


def netted(lines: list[Line]) -> list[Line]:
    """The positive lines of a claim of which something is left, with what is left."""
    left = {x: x.num for x in lines if x.num > 0}
    for back in sorted((x for x in lines if x.num < 0), key=lambda x: x.order):
        owed = -back.num
        same = [x for x in left if alike(x) == alike(back) and x.time <= back.time]
        for line in sorted(same, key=lambda x: x.order, reverse=True):
            taken = min(owed, left[line])
            left[line] -= taken
            owed -= taken
    for line, units in left.items():
        line.units = units
    return [x for x in left if x.units]


def alike(line: Line) -> tuple:
    return line.row["ITEM_ID_HOSP"], line.price


def grouped(things, by) -> dict:
    found = defaultdict(list)
    for thing in things:
        found[by(thing)].append(thing)
    return found


def load_key(bundle: Path) -> dict:
    return json.loads((bundle / "key.json").read_text("utf-8"))
