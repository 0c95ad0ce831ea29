"""The facts of trace codes by scope, computed when the first rule asks for them."""

import polars as pl

from engine.language.rule import LoadedRule
from engine.tables.dictionary import with_fields
from engine.tracing.book import Fallen, book_facts
from engine.tracing.events import Cancelled, id_of, standing
from engine.tracing.evidence import Facts
from engine.tracing.facts import code_facts, code_site_facts, read_bucket
from engine.tracing.ledger import expiries, with_expiries
from engine.tracing.lines import fee_line_facts, scan_facts
from engine.tracing.patterns import burst_facts, buyer_facts, reseller_facts, resold_codes
from engine.tracing.stock import lot_facts

TABLES = ("trace_codes", "drug_identifiers", "pack_relations", "institutions", "chains", "fee_lines", "code_free",
          "stock_moves", "stock_balances")  # fmt: skip
TUNED = ("tolerance_minutes", "speed", "fast_speed", "far_km", "near_km", "within_seconds")
NEEDED = {"t03": "institutions", "t05": "drug_identifiers", "t09": "pack_relations", "t10": "fee_lines"}


class CodeFacts:
    """Facts of every code scope over some trace tables. `tables` are canonical frames by name, and the region's
    `scan_duties`.

    Of sieved tables, which hold only the codes that can concern a rule, `lines` are the hashes of the fee lines all of
    whose codes are there (others are no cases), `lots` what moved of each lot in the rows that fell through, and `rows`
    the whole of trace_codes, of which little is asked.
    """

    def __init__(
        self,
        tables: dict[str, pl.DataFrame],
        rules: list[LoadedRule],
        cancelled: Cancelled | None = None,
        lines: pl.Series | None = None,
        lots: Fallen | None = None,
        rows: pl.LazyFrame | None = None,
    ):
        self.lines, self.lots, self.cancelled = lines, lots, cancelled
        self.tables = {name: with_fields(tables[name], name) for name in TABLES if name in tables}
        self.scan_duties = tables.get("scan_duties")
        self.rows = self.tables["trace_codes"].lazy() if rows is None else rows
        self.tuned = tuned_by(rules)
        self.bucket = read_bucket(
            with_expiries(self.tables["trace_codes"], expiries(self.tables.get("stock_moves"))),
            *(self.tables.get(t) for t in TABLES[1:6]),
            cancelled=cancelled,
            **self._tuning("tolerance_minutes"),
        )
        self.made: dict[str, Facts] = {}

    def of(self, scope: str) -> Facts:
        if scope not in self.made:
            self.made[scope] = MAKERS[scope](self)
        return self.made[scope]

    def keep(self, *scopes: str) -> None:
        """Forget the facts of other scopes, which take much memory and are made anew where they are asked for."""
        self.made = {scope: facts for scope, facts in self.made.items() if scope in scopes}

    def missing(self, loaded: LoadedRule) -> str:
        """The table the rule cannot do without and the bundle does not have."""
        table = NEEDED.get(loaded.rule.id[:3], "trace_codes")
        return "" if table in self.tables else table

    def _tuning(self, *names: str) -> dict[str, int]:
        return {name: value for name, value in self.tuned.items() if name in names}

    def _ledger(self) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        return self.tables.get("stock_moves"), self.tables.get("stock_balances")

    def _fee_lines(self) -> Facts:
        scans = scan_facts(self.bucket, **self._tuning("tolerance_minutes"))
        tables = {t: self.tables.get(t) for t in ("fee_lines", "drug_identifiers", "code_free")}
        if tables["fee_lines"] is not None:  # what was taken back whole needs no code
            tables["fee_lines"] = standing(tables["fee_lines"], self.cancelled)
        if self.lines is not None:
            scans = scans.filter(pl.col("line").is_in(self.lines.implode()))
            if tables["fee_lines"] is not None:
                whole = id_of("feedetl_sn").is_in(self.lines.implode())
                tables["fee_lines"] = tables["fee_lines"].filter(whole)
        return fee_line_facts(scans, *tables.values(), self.tables.get("institutions"), self.scan_duties, self.rows)


def tuned_by(rules: list[LoadedRule]) -> dict[str, int]:
    """Parameters of rules that decide how facts are computed, and not only how they are judged."""
    return {n: int(r.setting.params[n]) for r in rules for n in TUNED if n in r.setting.params}


MAKERS = {
    "code_site": lambda facts: code_site_facts(facts.bucket),
    "code": lambda facts: code_facts(facts.bucket, **facts._tuning(*TUNED[:5])),
    "fee_line_codes": CodeFacts._fee_lines,
    "lot": lambda facts: lot_facts(facts.bucket, facts.lots and facts.lots.sums, *facts._ledger()),
    "lot_book": lambda facts: book_facts(facts.bucket, facts.lots and facts.lots.book, *facts._ledger()),
    "burst": lambda facts: burst_facts(facts.bucket, facts.rows, **facts._tuning("within_seconds")),
    "buyer": lambda facts: buyer_facts(*resold_codes(facts.of("code"))),
    "reseller": lambda facts: reseller_facts(*resold_codes(facts.of("code"))),
}
