"""A hospital's extract as it might be sent: rows damaged anew, anywhere, and the answer key that goes with it.

Only the kinds of damage the sample's README names are made, but at any row of any file that can have them, also the
first and the last, one after another, and several on one row; each file in an encoding, a delimiter and line ends of
its own. The key's lines move along with the rows.
"""

import random

from textbook import DETAILS, Rows

FORMS = [
    ("utf-8", ","),
    ("utf-8-sig", ","),
    ("gb18030", ","),
    ("utf-8", "|@|"),
    ("gb18030", "|@|"),
    ("utf-8-sig", "|@|"),
]
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
FORMULAS = ['=HYPERLINK("http://example.invalid","x")', "+SUM(A1)", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0"]
NAMES = {"SETTLE_ZY": "DOCTOR_NAME", "SETTLE_MZ": "DOCTOR_NAME", "SETTLE_ZY_DETAIL": "DOCTOR_NAME",
         "SETTLE_MZ_DETAIL": "DOCTOR_NAME", "HIS_VS_YB_DELIVER": "PRODENTP_NAME"}  # fmt: skip
NUMBERS = {"SETTLE_ZY": ["PATIENT_AGE", "TOTAL_AMOUNT"], "SETTLE_MZ": ["PATIENT_AGE", "TOTAL_AMOUNT"],
           "SETTLE_ZY_DETAIL": ["NUM", "UNIT_PRICE", "COST"], "SETTLE_MZ_DETAIL": ["NUM", "UNIT_PRICE", "COST"],
           "HIS_VS_YB_INVENTORY": ["IMPORT_CNT"], "HIS_VS_YB_STORE": ["OPENING_BALANCE"]}  # fmt: skip
REQUIRED = {"SETTLE_ZY": ["DOCTOR_NAME", "BEDID"], "SETTLE_MZ": ["DOCTOR_NAME", "ADMISSION_DEPT_NAME"],
            "SETTLE_ZY_DETAIL": ["DOCTOR_NAME", "BILLING_TIME"], "SETTLE_MZ_DETAIL": ["DOCTOR_NAME"]}  # fmt: skip
TRACED = ("HIS_VS_YB_DELIVER", "HIS_VS_YB_INVENTORY", "HIS_VS_YB_STORE")
EACH = 4  # damages of a kind in a file


class Damager:
    """What the files will hold, row by row: cells, the line the row had in the sample, the damages it bears."""

    def __init__(self, tables: dict[str, Rows], key: dict, seed: int):
        self.rng, self.key = random.Random(seed), key
        self.heads = {name: [c for c in rows[0] if c != "_line"] for name, rows in tables.items()}
        self.files = {
            name: [([row[c] for c in self.heads[name]], row["_line"], []) for row in rows]
            for name, rows in tables.items()
        }
        self.forms = {name: (*self.rng.choice(FORMS), self.rng.choice(["\n", "\r\n"])) for name in tables}

    def places(self, name: str) -> list[int]:
        """First, last, two in a row and one anywhere."""
        last = len(self.files[name]) - 1
        some = self.rng.randrange(1, last - 1)
        return sorted({0, last, some, some + 1, self.rng.randrange(last)})

    def damaged(self) -> None:
        for name in self.files:
            self.mark(name, "fullwidth_digits", NUMBERS.get(name, []), lambda cell: cell.translate(FULL_WIDTH))
            self.mark(name, "formula_injection", [NAMES[name]] if name in NAMES else [], self.formula)
            self.mark(name, "missing_required", REQUIRED.get(name, []), lambda cell: "")
            if name in DETAILS:
                self.mark(name, "id_lower_x", ["ID_CARD"], str.lower, lambda cell: cell.endswith("X"))
            if name in TRACED:
                self.mark(name, "trace_code_scientific", ["DRUG_TRACEABILITY_CODE"], scientific)
        for name in self.files:
            self.insert(name)

    def formula(self, _: str) -> str:
        return self.rng.choice(FORMULAS)

    def mark(self, name: str, kind: str, columns: list[str], change, wanted=bool) -> None:
        if not columns:
            return
        at = self.heads[name].index(self.rng.choice(columns))
        fit = [n for n, (cells, _, _) in enumerate(self.files[name]) if wanted(cells[at])]
        places = [n for n in self.places(name) if n in fit] + self.rng.sample(fit, min(EACH, len(fit)))
        for place in sorted(set(places)):
            cells, _, damages = self.files[name][place]
            cells[at] = change(cells[at])
            damages.append((kind, self.heads[name][at]))

    def insert(self, name: str) -> None:
        """Rows that do not belong, and surplus fields."""
        rows, head, rng = self.files[name], self.heads[name], self.rng
        kinds = ["repeated_header", "truncated_row", "extra_field"]
        kinds += ["orphan_detail"] if name in DETAILS.values() else ["duplicate_main_row"] if name in DETAILS else []
        made = []
        for kind in kinds:
            for place in self.places(name) if kind != "extra_field" else ():
                cells = list(rows[place][0])
                if kind == "repeated_header":
                    made.append((place + rng.choice([0, 1]), head, kind))
                elif kind == "truncated_row":
                    made.append((place, cells[: rng.randrange(2, len(head))], kind))
                elif kind == "orphan_detail":
                    cells[head.index("HISID")] = f"NONE{rng.randrange(10**6):06d}"
                    made.append((place + rng.choice([0, 1]), cells, kind))
                else:
                    made.append((place + 1, cells, kind))
        for place in self.places(name):
            rows[place][0].append(rng.choice(["备注", "x"]))
            rows[place][2].append(("extra_field", ""))
        if name in ("SETTLE_ZY", "SETTLE_MZ", *DETAILS.values()):
            money = head.index("TOTAL_AMOUNT" if name in DETAILS else "COST")
            made.append((len(rows), ["合计" if n == 0 else "123456.78" if n == money else "" for n in range(len(head))],
                         "totals_row"))  # fmt: skip
        order = ["duplicate_main_row", "totals_row", "orphan_detail", "repeated_header", "truncated_row"]
        for place, cells, kind in sorted(made, key=lambda m: (-m[0], -order.index(m[2]))):
            rows.insert(place, (cells, None, [(kind, "")]))

    def write(self, folder) -> dict:
        """The files; returns the key that fits them."""
        folder.mkdir(parents=True)
        defects, lines, control = [], {}, {}
        for name, rows in self.files.items():
            encoding, delimiter, end = self.forms[name]
            text = [row_text(cells, delimiter) for cells in (self.heads[name], *(cells for cells, _, _ in rows))]
            (folder / f"{name}.csv").write_bytes((end.join(text) + end).encode(encoding))
            rejected = 0
            for at, (_, old, damages) in enumerate(rows, 2):
                lines[name, old] = at
                rejected += old is None
                for kind, detail in damages:
                    bucket = "either" if kind.startswith("trace") else "rejected" if old is None else "accepted"
                    defects.append({"defect": kind, "bucket": bucket, "file": f"{name}.csv", "physical_line": at,
                                    "detail": detail})  # fmt: skip
            control[name] = {"physical_lines": len(rows) + 1, "rows": len(rows) - rejected, "encoding": encoding,
                             "delimiter": delimiter}  # fmt: skip
        cases = [self.moved(case, lines) for case in self.key["cases"]]
        return self.key | {"defects": defects, "cases": cases, "control": self.key["control"] | {"files": control}}

    def moved(self, case: dict, lines: dict) -> dict:
        named = case.get("lines", [])
        return case | {"lines": [x | {"line": lines[x["file"].removesuffix(".csv"), x["line"]]} for x in named]}


def scientific(code: str) -> str:
    return f"{int(code):.5E}" if code.isdigit() else code


def row_text(cells: list[str], delimiter: str) -> str:
    if delimiter != ",":
        return delimiter.join(cells)
    return ",".join('"' + c.replace('"', '""') + '"' if set(c) & set('",') else c for c in cells)
