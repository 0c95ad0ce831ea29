"""Many hospitals out of one: a seeded rewriting of an extract's rows that leaves a valid bundle.

Every change is one that another hospital of the same region might show: other times, units, prices, refunds, wards,
diagnoses, kinds of visit, persons with a second number, copies at the other hospital, stores. Half of the claims it
touches are those of the key's cases, so that every rule's boundary is met from both sides.
"""

import random
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

from textbook import DETAILS, Rows, moment

TWO = Decimal("0.01")
MINUTES = [1, 30, 59, 60, 61, 120, 359, 360, 361, 719]
HOURS = [-26, -23, -12, -6, -1, 1, 6, 12, 23, 26]
DAYS = [-15, -14, -8, -7, -2, -1, 1, 2, 3, 6, 7, 8, 13, 14, 15, 16, 30]
WARDS = ["普外科", "骨科", "重症医学科", "心血管内科"]
UNITS = ["0.5", "1", "1.5", "2", "3", "6", "12", "24", "25", "30", "0.33"]
BLANK_OF_SELF_PAY = ("ITEM_ID", "ITEM_NAME", "P_TYPE", "P_TYPE_PCT", "SELF_PAY_LIMIT", "BMI_CONVERED_AMOUNT")


class Mutator:
    def __init__(self, tables: dict[str, Rows], key: dict, seed: int):
        self.key, self.region, self.rng = key, key["region"], random.Random(seed)
        self.tables = {name: [dict(row) for row in rows] for name, rows in tables.items()}
        self.columns = {name: list(rows[0]) for name, rows in tables.items()}
        self.of = {name: defaultdict(list) for name in DETAILS.values()}
        for name, found in self.of.items():
            for row in self.tables[name]:
                found[row["HISID"]].append(row)
        self.claims = {row["HISID"]: (name, row) for name in DETAILS for row in self.tables[name]}
        self.diagnoses = {row["HISID"]: row for row in self.tables["SETTLE_ZY_DIAGNOSIS"]}
        self.themes = themes(self.region)
        self.sites = {r["HOSPITAL_ID"]: (r["HOSPITAL_NAME"], r["P_LEVEL"]) for _, r in self.claims.values()}
        self.made = 0

    def mutated(self, share: float = 0.6, others: int = 150) -> dict[str, Rows]:
        planted = sorted({h for c in self.key["cases"] for h in c["hisids"] if h in self.claims})
        rest = sorted(set(self.claims) - set(planted))
        for hisid in [h for h in planted if self.rng.random() < share] + self.rng.sample(rest, others):
            for _ in range(self.rng.choice([1, 1, 2])):
                self.change(hisid)
        for _ in range(12):
            self.change_store()
        for name in self.tables:
            self.rng.shuffle(self.tables[name])
        return self.tables

    def change(self, hisid: str) -> None:
        if self.rng.random() < 0.55 and self.lines(hisid):
            act = self.rng.choice(LINE_CHANGES)
            wanted = [row for row in self.lines(hisid) if row["ITEM_ID"] in self.themes]
            act(self, hisid, self.rng.choice(wanted or self.lines(hisid)))
        else:
            self.rng.choice(CLAIM_CHANGES)(self, hisid)

    def lines(self, hisid: str) -> Rows:
        return self.of[DETAILS[self.claims[hisid][0]]][hisid]

    def add_line(self, hisid: str, row: dict) -> dict:
        name = DETAILS[self.claims[hisid][0]]
        new = {c: row.get(c, "") for c in self.columns[name]} | {"HISID": hisid}
        self.tables[name].append(new)
        self.of[name][hisid].append(new)
        return new

    # --- lines ---

    def shift_line(self, hisid: str, row: dict) -> None:
        by = self.rng.choice([
            timedelta(minutes=self.rng.choice(MINUTES) * self.rng.choice([-1, 1])),
            timedelta(hours=self.rng.choice(HOURS)), timedelta(days=self.rng.choice(DAYS)),
        ])  # fmt: skip
        moved(row, by, ("USAGE_DATE",) if self.rng.random() < 0.7 else ("USAGE_DATE", "BILLING_TIME"))

    def shift_order(self, hisid: str, row: dict) -> None:
        moved(row, timedelta(hours=self.rng.choice(HOURS)), ("BILLING_TIME",))

    def meet(self, hisid: str, row: dict) -> None:
        """Moves a line next to another of its theme in the same claim."""
        others = [o for o in self.lines(hisid) if o is not row and self.themes.get(o["ITEM_ID"], 0) and
                  self.themes[o["ITEM_ID"]] & self.themes.get(row["ITEM_ID"], set())]  # fmt: skip
        if others:
            row["USAGE_DATE"] = self.rng.choice(others)["USAGE_DATE"]
            moved(row, timedelta(minutes=self.rng.choice([0, *MINUTES]) * self.rng.choice([-1, 1])), ("USAGE_DATE",))

    def recount(self, hisid: str, row: dict) -> None:
        if Decimal(row["NUM"]) > 0:
            count(row, Decimal(self.rng.choice(UNITS)))

    def split(self, hisid: str, row: dict) -> None:
        num = Decimal(row["NUM"])
        part = (num * self.rng.choice([1, 2, 3]) / 4).quantize(TWO)
        if 0 < part < num:
            other = self.add_line(hisid, row)
            count(row, part)
            count(other, num - part)
            moved(other, timedelta(minutes=self.rng.choice([0, 5, 600])), ("USAGE_DATE",))

    def double(self, hisid: str, row: dict) -> None:
        by = self.rng.choice([timedelta(0), timedelta(hours=self.rng.choice(HOURS)), timedelta(self.rng.choice(DAYS))])
        moved(self.add_line(hisid, row), by, ("USAGE_DATE", "BILLING_TIME"))

    def refund_line(self, hisid: str, row: dict) -> None:
        num = Decimal(row["NUM"])
        if num <= 0:
            return
        back = self.add_line(hisid, row)
        parts = [num, num, num, num / 2, num / 4, num * 2]
        count(back, -max(self.rng.choice(parts).quantize(TWO), TWO))
        yes = "1" if self.claims[hisid][0] == "SETTLE_ZY" else "是"
        back |= {"REFUND_FLAG_TYPE": yes, "REFUND_HISID": hisid}
        moved(back, timedelta(hours=self.rng.choice([0, 1, 1, 5, 20, 30, 50, -3])), ("USAGE_DATE", "BILLING_TIME"))
        if self.rng.random() < 0.15:
            reprice(back, Decimal(back["UNIT_PRICE"]) + Decimal("0.50"))

    def reprice_line(self, hisid: str, row: dict) -> None:
        guide = self.region["guide_price_fen_by_item_and_level"].get(row["ITEM_ID"], {})
        fen = guide.get(self.claims[hisid][1]["P_LEVEL"])
        price = Decimal(fen) / 100 if fen else Decimal(row["UNIT_PRICE"])
        factor = self.rng.choice(["0.5", "0.6", "1.1", "1.5", "2"])
        options = [price, price + TWO, price - TWO, (price * Decimal(factor)).quantize(TWO)]
        reprice(row, max(self.rng.choice(options), TWO))

    def swap_item(self, hisid: str, row: dict) -> None:
        self.become(hisid, row, self.partner(row["ITEM_ID"]))

    def add_partner(self, hisid: str, row: dict) -> None:
        item = self.partner(row["ITEM_ID"])
        if item:
            new = self.add_line(hisid, row)
            self.become(hisid, new, item)
            minutes = self.rng.choice([0, *MINUTES, 1440, 2880]) * self.rng.choice([-1, 1])
            moved(new, timedelta(minutes=minutes), ("USAGE_DATE",))

    def partner(self, item: str) -> str | None:
        near = sorted(other for other, of in self.themes.items() if of & self.themes.get(item, set()) and other != item)
        return self.rng.choice(near) if near else None

    def become(self, hisid: str, row: dict, item: str | None) -> None:
        """The line is one of another item of the region."""
        entry = self.region["catalogue"].get(item)
        if not entry or self.claims[hisid][1]["MEDICAL_INSURANCE_FLAG"] == "1":
            return
        word = {code: word for word, code in self.region["maps"]["P_CATEGORY"].items()}[entry["charge_category"]]
        row |= {"ITEM_ID": item, "ITEM_NAME": entry["name"], "ITEM_NAME_HOSP": entry["name"], "P_CATEGORY": word,
                "DOSAGE_FORM": entry["dosage_form"], "P_TYPE": entry["payment_class"],
                "ITEM_ID_HOSP": "N" + item[-8:]}  # fmt: skip
        fen = self.region["guide_price_fen_by_item_and_level"].get(item, {}).get(self.claims[hisid][1]["P_LEVEL"])
        reprice(row, Decimal(fen) / 100 if fen else Decimal(row["UNIT_PRICE"]))
        share = Decimal(100 - entry["first_pay_pct"]) / 100 if entry["payment_class"] != "丙" else Decimal(0)
        row["BMI_CONVERED_AMOUNT"] = str((Decimal(row["COST"]) * share).quantize(TWO))

    def ward_of_line(self, hisid: str, row: dict) -> None:
        if "BILLING_DEPT_NAME" in row:
            row["BILLING_DEPT_NAME"] = self.rng.choice(WARDS)
        row["EXCUTE_DEPT_NAME"] = self.rng.choice([row["EXCUTE_DEPT_NAME"], "重症医学科", "检验科"])

    def rename(self, hisid: str, row: dict) -> None:
        regions, names = self.region["body_regions"], self.region["non_medical_names"]
        bare = row["ITEM_NAME"] or row["ITEM_NAME_HOSP"]
        row["ITEM_NAME_HOSP"] = self.rng.choice(
            [f"{bare}({self.rng.choice(regions)})", f"{bare}【{self.rng.choice(regions)}】", bare,
             f"{bare}（{self.rng.choice(regions)}）", self.rng.choice(names)]
        )  # fmt: skip

    def other_claim(self, hisid: str, row: dict) -> None:
        """The line also stands in another claim of the person."""
        own = self.claims[hisid][1]
        near = [h for h, (_, r) in self.claims.items() if r["PATIENT_ID"] == own["PATIENT_ID"] and h != hisid]
        if near:
            target = self.rng.choice(sorted(near))
            begin = moment(self.claims[target][1]["ADMISSION_DATE"])
            new = self.add_line(target, row | {"USAGE_DATE": str(begin + timedelta(hours=1))})
            if self.claims[target][1]["MEDICAL_INSURANCE_FLAG"] == "1":
                new |= dict.fromkeys(BLANK_OF_SELF_PAY, "")

    def take_home(self, hisid: str, row: dict) -> None:
        drugs = [r for r in self.lines(hisid) if r["ITEM_ID"] in self.region["drug_days_per_billing_unit"]]
        row = self.rng.choice(drugs) if drugs else row
        if "DISCHARGE_MEDICATION" in row:
            row["DISCHARGE_MEDICATION"] = self.rng.choice("01")
        if Decimal(row["NUM"]) > 0:
            count(row, Decimal(self.rng.choice(["1", "2", "3", "4", "5", "12", "12.01", "13"])))

    # --- claims ---

    def shift_end(self, hisid: str) -> None:
        table, row = self.claims[hisid]
        column = self.rng.choice(["ADMISSION_DATE", "DISCHARGE_DATE"]) if table == "SETTLE_ZY" else "ADMISSION_DATE"
        moved(row, timedelta(hours=self.rng.choice([*HOURS, 24, -24, 48])), (column,))
        if table == "SETTLE_ZY" and moment(row["DISCHARGE_DATE"]) < moment(row["ADMISSION_DATE"]):
            row["DISCHARGE_DATE"] = row["ADMISSION_DATE"]

    def shift_claim(self, hisid: str, by: timedelta | None = None) -> None:
        by = by or timedelta(days=self.rng.choice(DAYS))
        moved(self.claims[hisid][1], by, ("ADMISSION_DATE", "DISCHARGE_DATE"))
        for row in self.lines(hisid):
            moved(row, by, ("USAGE_DATE", "BILLING_TIME"))
        for row in self.tables["MDCS_FUND_SETL_LIST_OPRN_D"]:
            if row["HISID"] == hisid:
                moved(row, by, ("OPRN_OPRT_DATE", "ANST_BEGIN_TIME", "ANST_END_TIME"))

    def self_pay(self, hisid: str) -> None:
        row = self.claims[hisid][1]
        if row["MEDICAL_INSURANCE_FLAG"] == "0":
            row |= {"MEDICAL_INSURANCE_FLAG": "1", "BENEFIT_GROUP_ID": "自费", "BMI_PAY_AMOUNT": "0.00",
                    "SELF_PAY_AMOUNT": "0.00", "BMI_CONVERED_AMOUNT": ""}  # fmt: skip
            for line in self.lines(hisid):
                line |= dict.fromkeys(BLANK_OF_SELF_PAY, "")

    def word(self, hisid: str) -> None:
        """Another word in one column."""
        table, row = self.claims[hisid]
        words = self.region["maps"]["CLAIM_TYPE"].items()
        kinds = [word for word, kind in words if ("outpatient" in kind) != (table == "SETTLE_ZY")]
        options = {"CLAIM_TYPE": kinds, "PATIENT_GENDER": ["男", "女"], "P_LEVEL": ["1", "2", "3"],
                   "PATIENT_AGE": ["0.00", "17.00", "18.00", "55.00", "56.00", "60.00", "61.00"],
                   "ADMISSION_DEPT_NAME": [*WARDS, ""]}  # fmt: skip
        if table == "SETTLE_ZY":
            options |= {"DISCHARGE_STATUS": ["1", "2", "3", "4", "9"], "DISCHARGE_DEPT_NAME": WARDS}
        else:
            options |= {"DOCTOR_ID": [row["DOCTOR_ID"], "D449930000043"]}
        column = self.rng.choice(sorted(options))
        value = self.rng.choice(options[column])
        for one in self.of_person(row["PATIENT_ID"]) if column == "PATIENT_GENDER" else [row]:
            one[column] = value

    def of_person(self, number: str) -> Rows:
        return [row for _, row in self.claims.values() if row["PATIENT_ID"] == number]

    def newborn(self, hisid: str) -> None:
        """The claim is that of a child under the mother's certificate."""
        row = self.claims[hisid][1]
        self.renumber(hisid, "7")
        age = self.rng.choice([0, 5, 27, 28, 29])
        row["PATIENT_BIRTHDAY"] = str((moment(row["ADMISSION_DATE"]) - timedelta(age)).date())
        row["PATIENT_AGE"] = "0.00"

    def renumber(self, hisid: str, mark: str) -> None:
        table, row = self.claims[hisid]
        number = "HIS" + mark + row["PATIENT_ID"][-7:]
        for one in [row, *self.lines(hisid), *([self.diagnoses[hisid]] if hisid in self.diagnoses else [])]:
            one["PATIENT_ID"] = number

    def diagnose(self, hisid: str) -> None:
        lists = [*self.region["icd_lists"].values(), *(r["icd_prefixes"] for r in self.region["drug_indications"]),
                 *(r["indicated_icd_prefixes"] for r in self.region["panel_tests"])]  # fmt: skip
        code = self.rng.choice(self.rng.choice(lists))
        code = {1: code + "34.500", 2: code + "1.900", 3: code + ".901"}.get(len(code), code + "00")
        if hisid in self.diagnoses:
            column = self.rng.choice(["DISCHARGE_DISEASE_ID_MAIN", "DISCHARGE_DISEASE_ID_OTHER1"])
            self.diagnoses[hisid][column] = code
        elif "OUTPATIENT_DISEASE_ID" in self.claims[hisid][1]:
            self.claims[hisid][1]["OUTPATIENT_DISEASE_ID"] = code

    def refund_claim(self, hisid: str) -> None:
        new = self.copy(hisid, "T")
        row = self.claims[new][1]
        row |= {"REFUND_FLAG_TYPE": "1", "REFUND_HISID": hisid}
        for column in ("TOTAL_AMOUNT", "BMI_PAY_AMOUNT", "CASH", "SELF_PAY_AMOUNT", "BMI_CONVERED_AMOUNT"):
            row[column] = negative(row[column])
        for line in self.lines(new):
            line |= {c: negative(line[c]) for c in ("NUM", "COST", "BMI_CONVERED_AMOUNT")}
            line |= {"REFUND_FLAG_TYPE": "1" if self.claims[new][0] == "SETTLE_ZY" else "是", "REFUND_HISID": hisid}

    def copy(self, hisid: str, mark: str = "C") -> str:
        self.made += 1
        new = f"{mark}{self.made:05d}-{hisid}"
        table, row = self.claims[hisid]
        self.tables[table].append(row | {"HISID": new})
        self.claims[new] = table, self.tables[table][-1]
        for line in list(self.lines(hisid)):
            self.add_line(new, line)
        if hisid in self.diagnoses:
            self.tables["SETTLE_ZY_DIAGNOSIS"].append(self.diagnoses[hisid] | {"HISID": new})
            self.diagnoses[new] = self.tables["SETTLE_ZY_DIAGNOSIS"][-1]
        for operation in [r for r in self.tables["MDCS_FUND_SETL_LIST_OPRN_D"] if r["HISID"] == hisid]:
            self.tables["MDCS_FUND_SETL_LIST_OPRN_D"].append(operation | {"HISID": new})
        return new

    def again(self, hisid: str) -> None:
        """The person comes again, here or at the other hospital, under this or a second number."""
        new = self.copy(hisid)
        table, row = self.claims[new]
        length = moment(row["DISCHARGE_DATE"]) - moment(row["ADMISSION_DATE"]) if table == "SETTLE_ZY" else timedelta(0)
        if self.rng.random() < 0.85:
            self.shift_claim(new, timedelta(days=self.rng.choice([0, length.days, *DAYS])))
        rows = [row, *self.lines(new), *([self.diagnoses[new]] if new in self.diagnoses else [])]
        if self.rng.random() < 0.3:
            site = self.rng.choice(sorted(self.sites))
            name, level = self.sites[site]
            row["P_LEVEL"] = level
            for one in rows:
                one |= {"HOSPITAL_ID": site, "HOSPITAL_NAME": name}
        if self.rng.random() < 0.3:
            self.renumber(new, "9")
        if self.rng.random() < 0.2:
            self.self_pay(new)
        if self.rng.random() < 0.2:
            self.newborn(new)

    def operate(self, hisid: str) -> None:
        rows = [r for r in self.tables["MDCS_FUND_SETL_LIST_OPRN_D"] if r["HISID"] == hisid]
        if not rows:
            return
        row = self.rng.choice(rows)
        match self.rng.randrange(4):
            case 0:
                moved(row, timedelta(minutes=self.rng.choice([-60, -1, 1, 60, 119, 120, 121])), ("ANST_END_TIME",))
            case 1:
                row["ICD9_CODE_OTHER"] = self.rng.choice(["36.0700", "47.0900", "51.2300", "68.4100"])
            case 2:
                row["ANST_WAY"] = self.rng.choice(["全身麻醉", "局部浸润麻醉"])
            case 3:
                self.tables["MDCS_FUND_SETL_LIST_OPRN_D"].remove(row)

    def second_number(self, hisid: str) -> None:
        self.renumber(hisid, "8")
        row = self.claims[hisid][1]
        row["ID_CARD"] = row["ID_CARD"].lower()

    # --- stores ---

    def change_store(self) -> None:
        pick = self.rng.choice
        match self.rng.randrange(4):
            case 0:
                pick(self.tables["HIS_VS_YB_STORE"])[pick(["OPENING_BALANCE", "CLOSING_BALANCE"])] = pick(
                    ["0.00", "500.00"]
                )
            case 1:
                row = pick(self.tables["HIS_VS_YB_INVENTORY"])
                row["IMPORT_CNT"] = pick(["1.00", "9.00", "40.00"])
            case 2:
                row = pick(self.tables["HIS_VS_YB_INVENTORY"])
                row["IMPORT_PRIC"] = str((Decimal(row["IMPORT_PRIC"]) * Decimal(pick(["0.9", "1.1"]))).quantize(TWO))
            case 3:
                rows = self.tables["HIS_VS_YB_INVENTORY"]
                item = pick(rows)["ITEM_ID_STORE"]
                self.tables["HIS_VS_YB_INVENTORY"] = [r for r in rows if r["ITEM_ID_STORE"] != item]


M = Mutator
LINE_CHANGES = [M.shift_line, M.shift_line, M.shift_line, M.meet, M.meet, M.recount, M.recount, M.split, M.double,
                M.refund_line, M.refund_line, M.refund_line, M.reprice_line, M.swap_item, M.add_partner, M.add_partner,
                M.ward_of_line, M.rename, M.other_claim, M.take_home, M.shift_order]  # fmt: skip
CLAIM_CHANGES = [M.shift_end, M.shift_end, M.shift_claim, M.self_pay, M.word, M.word, M.newborn, M.diagnose, M.diagnose,
                 M.refund_claim, M.again, M.again, M.again, M.operate, M.second_number]  # fmt: skip


def themes(region: dict) -> dict[str, set[str]]:
    """item -> the lists of the region that bring it together with others."""
    found = defaultdict(set)
    for name, items in region["item_sets"].items():
        for item in items:
            found[item].add(name)
    for at, row in enumerate(region["duplicate_pairs"]):
        found[row["main"]].add(f"pair {at}")
        found[row["included"]].add(f"pair {at}")
    for name, items in region["same_incision_groups"].items():
        for item in items:
            found[item].add(name)
    for name in ("sex_limits", "age_limits", "level_limits", "visit_type_limits", "insurance_limits", "course_limits",
                 "period_limits", "drug_indications", "panel_tests", "frequency_limits"):  # fmt: skip
        for row in region[name]:
            found[row["item_id"]].add(f"{name} {row['item_id']}")
    for item, drug in region["drug_days_per_billing_unit"].items():
        found[item].add(drug["generic"])
    return dict(found)


def moved(row: dict, by: timedelta, columns) -> None:
    for column in columns:
        if row.get(column):
            row[column] = str(moment(row[column]) + by)


def count(row: dict, units: Decimal) -> None:
    """So many units at the same price; the in-scope amount in proportion."""
    old = Decimal(row["NUM"])
    row["NUM"] = str(units.quantize(TWO))
    row["COST"] = str((Decimal(row["UNIT_PRICE"]) * units).quantize(TWO, "ROUND_HALF_UP"))
    if row["BMI_CONVERED_AMOUNT"]:
        row["BMI_CONVERED_AMOUNT"] = str((Decimal(row["BMI_CONVERED_AMOUNT"]) * units / old).quantize(TWO))


def reprice(row: dict, price: Decimal) -> None:
    old, row["UNIT_PRICE"] = Decimal(row["UNIT_PRICE"]), str(price.quantize(TWO))
    row["COST"] = str((Decimal(row["UNIT_PRICE"]) * Decimal(row["NUM"])).quantize(TWO, "ROUND_HALF_UP"))
    if row["BMI_CONVERED_AMOUNT"]:
        row["BMI_CONVERED_AMOUNT"] = str((Decimal(row["BMI_CONVERED_AMOUNT"]) * price / old).quantize(TWO))


def negative(text: str) -> str:
    return str(-Decimal(text)) if text.strip() else text
