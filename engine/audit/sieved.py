"""Which trace rules may be judged on the codes a sieve keeps, because they are false of every code it lets fall.

A code that falls was sold once at most, and a fee line that falls is covered by codes that say what was billed. Most of
their facts are then constants; a rule that reads only these is asked about every such case when a run begins, as group
rules are asked about the empty group. A rule that reads more, or that would hold, is judged on all codes.
"""

from itertools import product

import polars as pl

from engine.audit.codes import symbol_of
from engine.language.rule import LoadedRule
from engine.tracing.words import FACTS

_NO, _ONE = (0,), (1,)
_MAYBE = (0, 1)
_SOLD_ONCE = {
    "sales": _ONE, "sites": _ONE, "settlements": _ONE, "persons": _MAYBE, "same_person_settlements": _MAYBE,
    "split_sales": _MAYBE, "uninsured_sales": _MAYBE, "chains": _ONE, "same_prescription": _NO,
    "same_person_visits": (None,), "excess_units": (0, None), "suspect_fund": (0, None), "longest_gap_days": (None,),
    "resale_site": (None,), "shortest_gap_minutes": (None,), "travel_shortfall_minutes": (None,),
    "travel_km": (None,), "parents_sold": _NO, "parents_with_it": _NO, "parents_at_site": _NO, "family_excess": (None,),
}  # fmt: skip
# What a case that falls may say, by scope; a fact that is not named may say anything. Of lots and their books, bursts,
# buyers and resellers none falls.
PLAIN: dict[str, dict[str, tuple]] = {
    "code_site": {name: values for name, values in _SOLD_ONCE.items() if name in FACTS["code_site"]},
    "code": _SOLD_ONCE,
    "fee_line_codes": {
        "missing": (0, None), "split": _MAYBE, "code_free": _MAYBE, "unscanned": _MAYBE, "unlinked": _MAYBE,
        "due": _MAYBE, "case_only": _MAYBE, "mismatched_codes": _NO, "crossed_codes": _NO, "same_drug_codes": _NO,
        "expired_codes": _NO,
        "expired_days": (None,), "lot_differs_codes": _NO, "unsupplied_codes": _NO,
        "unsupplied_gs1": _NO, "in_chain": _MAYBE, "supplied_later_codes": _NO,
        "made_later_codes": _NO, "made_later_days": (None,), "made_earlier_codes": _NO,
    },
    "lot": {}, "lot_book": {}, "burst": {}, "buyer": {}, "reseller": {},
}  # fmt: skip
_TYPES = {"int": pl.Int64, "money": pl.Int64, "text": pl.String, "datetime": pl.Datetime("us")}


def sievable(loaded: LoadedRule) -> bool:
    """Whether the rule is certain to be false, and to have an answer, for every case a sieve lets fall."""
    plain, when = PLAIN[loaded.rule.scope], loaded.compiled["when"]
    if not plain:
        return True
    read = {name.split(".", 1)[-1] for name in when.columns}
    if when.aggregates or not read <= set(plain):
        return False
    cases = plain_cases(loaded.rule.scope, sorted(read), symbol_of(loaded))
    raises = when.raises if when.raises is not None else pl.lit(False)
    asked = cases.select(holds=when.value.fill_null(True), raises=raises.fill_null(True))
    return not asked.select(pl.any_horizontal("holds", "raises").any()).item()


def plain_cases(scope: str, names: list[str], symbol: str) -> pl.DataFrame:
    """Every case a sieve lets fall, as far as these facts tell one from another."""
    schema = {f"{symbol}.{name}": _type(FACTS[scope][name][0]) for name in names}
    cases = list(product(*(PLAIN[scope][name] for name in names)))
    return pl.DataFrame(cases, schema=dict.fromkeys(schema, pl.Int64), orient="row").cast(schema)


def _type(word: str) -> pl.DataType:
    word = word.rstrip("?")
    if word.startswith("decimal"):
        whole, places = word[len("decimal(") : -1].split(",")
        return pl.Decimal(int(whole), int(places))
    return _TYPES[word]
