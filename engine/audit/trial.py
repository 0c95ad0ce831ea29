"""The tests inside a rule, run: a few words become canonical tables, and both readers of the rule judge them.

A test names one visit of one person with its lines, diagnoses and procedures, other visits under `others`, rows of
knowledge tables under `tables`, what the institution stores under `stores` (units of a half year), and values for
`params` and `sets`; `gives` beside it says what the findings must amount to. What it does not say has plain defaults:
an insured stay of four days in a third-level hospital, every line on its first day. A hit must hit, a clear must not,
and for every case the interpreter and the compiled rule must say the same.
"""

import datetime
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property

import polars as pl

from engine.audit import CODE_SCOPES
from engine.audit.cases import cases_of
from engine.audit.codefacts import CodeFacts
from engine.audit.codes import judge_codes
from engine.audit.facts import Facts
from engine.audit.frames import Cases
from engine.audit.judge import judge
from engine.audit.spoken import disagreement
from engine.language.expression import Setting, parse
from engine.language.rule import LoadedRule, rebuilt
from engine.language.vocabulary import scopes
from engine.reference.knowledge import Knowledge, shapes
from engine.reference.presumptions import load_presumptions
from engine.tables.dictionary import table
from engine.tables.netting import net

WORDS = ("hit", "clear", "known_miss", "known_false_alarm")
VISIT_WORDS = {
    "id": "setl_id", "person": "psn_no", "hospital": "fixmedins_code", "level": "hosp_lv", "kind": "visit_kind",
    "admission": "begntime", "discharge": "endtime", "dept": "adm_dept_name", "discharge_dept": "dscg_dept_name",
    "wards": "ward_path", "doctor": "atddr_code", "sex": "gend", "birthday": "brdy", "age": "age",
    "discharge_way": "dscg_way", "total": "medfee_sumamt", "fund": "fund_pay_sumamt", "scope": "inscp_scp_amt",
    "insured": "insured_flag", "local": "local_flag", "identity": "certno", "refunds": "init_setl_id",
}  # fmt: skip
LINE_WORDS = {
    "id": "feedetl_sn", "item": "med_list_codg", "local_item": "medins_list_codg", "name": "medins_list_name",
    "category": "med_chrgitm_type", "cnt": "cnt", "price": "pric", "amount": "det_item_fee_sumamt",
    "inscope": "inscp_scp_amt", "time": "fee_ocur_time", "dept": "bilg_dept_name", "exec_dept": "acord_dept_name",
    "doctor": "bilg_dr_codg", "dosage_form": "dosform_name", "take_home": "dscg_tkdrug_flag",
}  # fmt: skip
DIAGNOSIS_WORDS = {"code": "diag_code", "main": "maindiag_flag"}
PROCEDURE_WORDS = {"code": "oprn_oprt_code", "main": "main_oprn_flag", "date": "oprn_oprt_date",
                   "anaesthesia": "anst_way", "begin": "anst_begntime", "end": "anst_endtime"}  # fmt: skip
STORE_WORDS = {"item": "med_list_codg", "local_item": "medins_list_codg", "name": "item_name", "opening": "opening_cnt",
               "closing": "closing_cnt", "purchased": "cnt", "price": "pric"}  # fmt: skip
VISIT_DEFAULTS = {
    "psn_no": "P1", "fixmedins_code": "H00000000001", "hosp_lv": "3", "visit_kind": "inpatient", "gend": "1",
    "brdy": "1970-06-15", "begntime": "2025-03-03 09:00:00", "endtime": "2025-03-07 10:00:00", "insured_flag": "1",
    "local_flag": "1", "adm_dept_name": "内科", "dscg_dept_name": "内科", "dscg_way": "1", "refd_setl_flag": "0",
}  # fmt: skip
EVENT_DEFAULTS = {
    "event_type": "sale", "source": "settlement", "fixmedins_code": "P00000000001", "psn_no": "P1", "cnt": "1",
    "event_time": "2025-09-01 10:00:00", "trdn_flag": "0", "med_list_codg": "XA00AAA000A000000000001",
    "drug_trac_codg": "81234560000000000001",
}  # fmt: skip


LIMIT_GONE = {
    "known_miss": "这条已知漏报现在查得出了，请把 known_miss 改成 hit",
    "known_false_alarm": "这条已知误报现在不报了，请把 known_false_alarm 改成 clear",
}
LATE_WORDS = {"day.posted_late"}
GIVES = ("cases", "cnt", "amount", "inscope", "fund", "result")
default_presumptions = cache(load_presumptions)


@dataclass
class TrialResult:
    """One test of one rule: what was asked, what came, and whether both readers agreed."""

    rule_id: str
    index: int
    word: str
    passed: bool
    said: str


@dataclass
class Trial:
    """One test made ready: the rule with the values the test gives it, and what it is judged over.

    `tables` are canonical frames; `facts` are made of them, except for trace codes, whose facts depend on the rule.
    """

    index: int
    test: dict
    word: str
    body: dict
    rule: LoadedRule
    tables: dict[str, pl.DataFrame]
    facts: Facts | None

    @property
    def wanted(self) -> bool:
        """Must there be a finding?"""
        return self.word in ("hit", "known_false_alarm")

    @cached_property
    def cases(self) -> Cases:
        """All cases of the test, also those that the condition's items, equalities or cheap parts would spare."""
        if self.facts is not None:
            wide = replace(self.rule, cheap=[], parsed={"when": _anything()})
            return self._with_late_words(cases_of(wide, self.facts))
        scope = self.rule.rule.scope
        symbol = next(iter(scopes()[scope].symbols))
        traced = CodeFacts(self.tables, [self.rule]).of(scope)
        frame = traced.cases.select(pl.col("case").alias("_case"), pl.exclude("case").name.prefix(f"{symbol}."))
        events = traced.events(traced.cases["case"]).rename({"case": "_case"})
        return Cases(frame, {f"{symbol}.events": events}, ("_case",))

    def _with_late_words(self, cases: Cases) -> Cases:
        """With the words that are known only once a case hits, such as `day.posted_late`."""
        late = set().union(*(c.columns for c in self.rule.compiled.values())) & LATE_WORDS
        if late:
            unspared = replace(self.rule, rule=self.rule.rule.model_copy(update={"innocent": []}))
            hits = judge(unspared, self.facts).hits
            if late <= set(hits.columns):
                known = hits.select(*cases.key, *sorted(late)).unique(cases.key)
                cases.frame = cases.frame.join(known, on=cases.key, how="left", maintain_order="left")
        return cases


@cache
def _anything():
    """A condition that demands no item of a line."""
    return parse("true", Setting("line"))


def run_tests(loaded: LoadedRule, knowledge: Knowledge) -> list[TrialResult]:
    """Run every test of a rule."""
    return [run_test(loaded, knowledge, index, test)[0] for index, test in enumerate(loaded.rule.tests, 1)]


def run_test(loaded: LoadedRule, knowledge: Knowledge, index: int, test: dict) -> tuple[TrialResult, Trial | None]:
    """Run one test; with it the test made ready, where its words could be read."""
    try:
        trial = prepared(loaded, knowledge, index, test)
        return tried(trial), trial
    except UnknownWord as error:
        word = next((w for w in WORDS if w in test), "?")
        return TrialResult(loaded.rule.id, index, word, False, str(error)), None


def prepared(loaded: LoadedRule, knowledge: Knowledge, index: int, test: dict) -> Trial:
    """One test of a rule, its words read. Raises UnknownWord."""
    word = next((w for w in WORDS if w in test), "")
    if not word:
        raise UnknownWord(f"测试要写明 a test says one of {', '.join(WORDS)}")
    body = body_of(test, word)
    rule = with_values(loaded, body)
    if rule.rule.scope in CODE_SCOPES:
        return Trial(index, test, word, body, rule, traced(body), None)
    tables = canonical(body)
    facts = Facts(tables, _with_rows(knowledge, body.get("tables", {})), default_presumptions())
    return Trial(index, test, word, body, rule, tables, facts)


def body_of(test: dict, word: str) -> dict:
    """What a test is about, whether it stands below the word or beside it."""
    body = test[word] if isinstance(test[word], dict) else {}
    return {**body, **{k: v for k, v in test.items() if k not in (word, "why", "gives")}}


def with_values(loaded: LoadedRule, body: dict) -> LoadedRule:
    """The rule with the parameters and sets that the body of a test gives. Raises UnknownWord for one it has not."""
    for kind, known in (("params", loaded.rule.params), ("sets", loaded.rule.sets)):
        if strange := set(body.get(kind) or {}) - set(known):
            raise UnknownWord(f"{kind}: 没有 unknown {sorted(strange)[0]!r}, known: {', '.join(known) or '—'}")
    given = body.get("params"), body.get("sets")
    return rebuilt(loaded, *given) if any(given) else loaded


def tried(trial: Trial) -> TrialResult:
    """Judge a test, and see that the interpreter agrees on every case."""
    hits = outcome(trial)
    difference = disagreement(trial.rule, trial.cases) or broken(trial, hits)
    said = difference or f"{hits.height} 例" + (f"，{trial.test['why']}" if trial.test.get("why") else "")
    return TrialResult(trial.rule.rule.id, trial.index, trial.word, not difference, said)


def outcome(trial: Trial, rule: LoadedRule | None = None) -> pl.DataFrame:
    """What the rule finds in a test: a row per finding with `cnt`, `result`, and `amount`, `inscope`, `fund` in fen."""
    rule = rule or trial.rule
    if trial.facts is None:
        facts = CodeFacts(trial.tables, [rule]).of(rule.rule.scope)
        findings, evidence, _ = judge_codes(rule, facts, trial.tables.get("fee_lines"))
        money = {"amount": "gross_fen", "inscope": "inscope_fen", "fund": "fund_fen"}
        findings = findings.join(evidence, on="finding_id", how="semi")  # a finding shows what it rests on
        return findings.select(cnt="excess_cnt", result="result", **money)
    hits = judge(rule, trial.facts).hits
    if hits.is_empty():
        return hits.select()
    return hits.select("inscope", "fund", cnt="excess_cnt", result="_result", amount="gross")


def broken(trial: Trial, hits: pl.DataFrame) -> str:
    """How the outcome of a test is not what the test says, in words; empty where it is."""
    if (hits.height > 0) != trial.wanted:
        return LIMIT_GONE.get(trial.word) or ("应查出而未查出" if trial.wanted else f"不应查出而查出 {hits.height} 例")
    gives = given(trial.test)
    came = {name: _came(hits, name) for name in gives}
    wrong = [f"{n} 应为 {gives[n]} 而得 {came[n]}" for n in gives if not _same(gives[n], came[n])]
    return "；".join(wrong)


def given(test: dict) -> dict[str, str]:
    """What the findings of a test must amount to. Raises UnknownWord."""
    gives = test.get("gives", {})
    if strange := set(gives) - set(GIVES):
        raise UnknownWord(f"gives: 没有 unknown {sorted(strange)[0]!r}, known: {', '.join(GIVES)}")
    return gives


def _came(hits: pl.DataFrame, name: str) -> str:
    """What came, over all cases of a test; money in yuan."""
    if name == "cases":
        return str(hits.height)
    if name == "result":
        return "|".join(sorted(set(hits["result"])))
    total = hits[name].sum()
    return f"{total if name == 'cnt' else Decimal(total) / 100:f}"


def _same(wanted: str, came: str) -> bool:
    try:
        return Decimal(wanted) == Decimal(came)
    except InvalidOperation:
        return wanted == came


def traced(body: dict) -> dict[str, pl.DataFrame]:
    """The trace tables of a test: `events` are rows of trace_codes, `tables` rows of the other trace tables."""
    if strange := set(body) - {"events", "tables", "params", "sets"}:
        raise UnknownWord(f"unknown word {sorted(strange)[0]!r}, known: events, tables, params, sets")
    tables = {name: _frame(name, [_known(name, row) for row in rows]) for name, rows in body.get("tables", {}).items()}
    events = [
        {**EVENT_DEFAULTS, "event_id": f"E{n}", "setl_id": f"S{n}", **row} for n, row in enumerate(body["events"], 1)
    ]
    return tables | {"trace_codes": _frame("trace_codes", [_known("trace_codes", row) for row in events])}


def _known(name: str, row: dict) -> dict:
    if strange := set(row) - set(table(name).fields):
        raise UnknownWord(f"table {name} has no field {sorted(strange)[0]!r}")
    return row


class UnknownWord(Exception):
    """A test uses a word that no table knows."""


def canonical(body: dict) -> dict[str, pl.DataFrame]:
    """The canonical tables of one test, refunds and returns netted."""
    known = {"visit", "lines", "diagnoses", "procedures", "others", "stores", "tables", "params", "sets", "why"}
    if strange := set(body) - known:
        raise UnknownWord(f"unknown word {sorted(strange)[0]!r}, known: {', '.join(sorted(known))}")
    visits = [{**body.get("visit", {}), **{k: body.get(k, []) for k in ("lines", "diagnoses", "procedures")}}]
    visits += body.get("others", [])
    claims, lines, diagnoses, procedures = [], [], [], []
    for number, visit in enumerate(visits, 1):
        claim = _row(visit, VISIT_WORDS, {"lines", "diagnoses", "procedures"}) | {"_n": number}
        claim = {"setl_id": f"V{number}", **VISIT_DEFAULTS, **claim}
        claim |= {k: {"true": "1", "false": "0"}.get(claim[k], claim[k]) for k in ("insured_flag", "local_flag")}
        claim["refd_setl_flag"] = "1" if claim.get("init_setl_id") else "0"
        own = [_line(claim, row, n) for n, row in enumerate(visit.get("lines", []), 1)]
        total = sum(int(line["det_item_fee_sumamt"]) for line in own)
        for field in ("medfee_sumamt", "inscp_scp_amt", "fund_pay_sumamt"):
            given = claim.get(field)
            claim[field] = _fen(given) if given is not None else total * (8 if field == "fund_pay_sumamt" else 10) // 10
        claim["setl_time"] = claim.get("endtime") or claim["begntime"]
        claims.append(claim)
        lines += own
        for rows, words, out in ((visit.get("diagnoses", []), DIAGNOSIS_WORDS, diagnoses),
                                 (visit.get("procedures", []), PROCEDURE_WORDS, procedures)):  # fmt: skip
            for seq, row in enumerate(rows, 1):
                made = _row(row if isinstance(row, dict) else {"code": row}, words, set())
                out.append({"setl_id": claim["setl_id"], "seq": seq, "maindiag_flag": "1" if seq == 1 else "0",
                            "main_oprn_flag": "1" if seq == 1 else "0", **made})  # fmt: skip
    rows = {"claims": claims, "fee_lines": lines, "diagnoses": diagnoses, "procedures": procedures}
    made = {name: _frame(name, given) for name, given in rows.items()}
    made["claims"], made["fee_lines"] = net(made["claims"], made["fee_lines"])[:2]
    return made | _stores(body["stores"]) if "stores" in body else made


def _stores(given: list[dict]) -> dict[str, pl.DataFrame]:
    """What an institution keeps: items, balances of one store, and one purchase of each item that was bought."""
    rows = []
    for number, row in enumerate(given, 1):
        row = {"opening_cnt": "0", "closing_cnt": "0", "pric": "1", **_row(row, STORE_WORDS, set())}
        rows.append({"medins_list_codg": row["med_list_codg"], **row,
                     "fixmedins_code": VISIT_DEFAULTS["fixmedins_code"],
                     "item_store_id": f"W{number}", "store_id": "K1", "begndate": "2025-01-01", "enddate": "2025-06-30",
                     "move_id": f"M{number}", "move_type": "purchase", "move_time": "2025-01-10 10:00:00"})  # fmt: skip
    bought = [row for row in rows if row.get("cnt")]
    return {"store_items": _frame("store_items", rows), "stock_balances": _frame("stock_balances", rows),
            "stock_moves": _frame("stock_moves", bought)}  # fmt: skip


def _row(row: dict, words: dict[str, str], besides: set[str]) -> dict:
    if strange := set(row) - set(words) - besides:
        raise UnknownWord(f"unknown word {sorted(strange)[0]!r}, known: {', '.join(words)}")
    return {words[k]: v for k, v in row.items() if k in words}


def _line(claim: dict, row: dict, number: int) -> dict:
    line = _row(row, LINE_WORDS, {"day"})
    day = datetime.datetime.fromisoformat(claim["begntime"]) + datetime.timedelta(days=int(row.get("day", 0)))
    line = {
        "feedetl_sn": f"{claim['setl_id']}:{number}", "setl_id": claim["setl_id"], "cnt": "1", "pric": "10",
        "fee_ocur_time": f"{day:%Y-%m-%d} 12:00:00", "med_chrgitm_type": "05", "medins_list_name": "项目", **line,
    }  # fmt: skip
    line.setdefault("medins_list_codg", line.get("med_list_codg", "L"))
    amount = _fen(line["cnt"]) * _fen(line["pric"]) // 100
    line["det_item_fee_sumamt"] = _fen(line["det_item_fee_sumamt"]) if "det_item_fee_sumamt" in line else amount
    line["inscp_scp_amt"] = _fen(line["inscp_scp_amt"]) if "inscp_scp_amt" in line else line["det_item_fee_sumamt"]
    line["dscg_tkdrug_flag"] = {"true": "1"}.get(line.get("dscg_tkdrug_flag", ""), "0")
    return line


def _fen(text: str) -> int:
    return int(Decimal(str(text)) * 100)


def _frame(name: str, rows: list[dict]) -> pl.DataFrame:
    """Rows of texts as a typed canonical frame."""
    schema = table(name).schema
    texts = {c: [None if row.get(c) is None else str(row.get(c)) for row in rows] for c in schema}
    return pl.DataFrame(texts, schema=dict.fromkeys(schema, pl.String)).select(
        pl.col(c).str.to_datetime("%Y-%m-%d %H:%M:%S") if t == pl.Datetime else
        pl.col(c).str.to_date("%Y-%m-%d") if t == pl.Date else pl.col(c).cast(t)
        for c, t in schema.items()
    )  # fmt: skip


def _with_rows(knowledge: Knowledge, tables: dict[str, list[dict]]) -> Knowledge:
    """The knowledge with some tables' rows given by the test."""
    made = dict(knowledge.tables)
    for name, rows in tables.items():
        if name not in shapes():
            raise UnknownWord(f"no table {name!r}")
        shape = made[name].schema
        if strange := {k for row in rows for k in row} - set(shape):
            raise UnknownWord(f"table {name} has no column {sorted(strange)[0]!r}")
        texts = {c: [row.get(c) for row in rows] for c in shape}
        made[name] = pl.DataFrame(texts, schema=dict.fromkeys(shape, pl.String)).cast(shape)
    return Knowledge(made, knowledge.files)
