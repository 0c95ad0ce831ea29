"""Cases as the interpreter reads them, and where it and the compiled rule would differ."""

from decimal import Decimal

import polars as pl
from rule_engine.errors import EvaluationError

from engine.audit.frames import Cases
from engine.audit.judge import with_aggregates
from engine.language.expression import interpret
from engine.language.rule import LoadedRule
from engine.language.vocabulary import objects


def disagreement(loaded: LoadedRule, cases: Cases) -> str:
    """Where the interpreter and the compiled rule differ on a case: the first such case in words, else empty."""
    frame = with_aggregates(loaded, cases)
    when = loaded.compiled["when"]
    raises = pl.lit(False) if when.raises is None else when.raises
    said = frame.select("_case", when=when.value, raises=raises)
    for (number, compiled, raised), case in zip(said.iter_rows(), spoken_cases(loaded, cases), strict=True):
        try:
            plain = bool(interpret(loaded.parsed["when"], case))
        except EvaluationError as error:
            plain, why = None, f" ({error})"
        else:
            why = ""
        if plain != (None if raised else compiled):
            return f"case {number}: interpreted {plain}{why}, compiled {None if raised else compiled}"
    return ""


def spoken_cases(loaded: LoadedRule, cases: Cases):
    """Each case as the interpreter reads it: nested mappings of the vocabulary's words."""
    elements = {}
    for path, members in cases.members.items():
        for row in members.iter_rows(named=True):
            elements.setdefault((row["_case"], path), []).append(row)
    for row in cases.frame.iter_rows(named=True):
        case = {"params": loaded.setting.params} | {k: set(v) for k, v in loaded.setting.sets.items()}
        for symbol in loaded.setting.symbols:
            case[symbol] = _spoken(row, symbol, loaded.setting.attributes_of(symbol))
        for path in cases.members:
            if "." in path:
                symbol, name = path.split(".")
                kind = loaded.setting.attributes_of(symbol)[name].collection
                rows = elements.get((row["_case"], path), [])
                case[symbol][name] = tuple(_spoken(r, "", objects()[kind]) for r in rows)
        yield case


def _spoken(row: dict, symbol: str, attributes) -> dict:
    said = {}
    for name, attribute in attributes.items():
        path = f"{symbol}.{name}" if symbol else name
        if attribute.kind in objects():
            said[name] = _spoken(row, path, objects()[attribute.kind])
        elif path in row:
            value = row[path]
            if attribute.kind == "money" and value is not None:
                value = Decimal(value) / 100
            if attribute.kind == "texts" and value is not None:
                value = tuple(v for v in value.split("|") if v)
            said[name] = value
    return said
