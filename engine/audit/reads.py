"""What a rule reads and demands, seen in its expressions: columns, elements, items, equalities.

So that only the lines a rule names are looked at, and only the columns it reads are computed.
"""

from functools import lru_cache

from rule_engine import ast

from engine.language.expression import conjuncts, path_of, walk
from engine.language.rule import ELEMENTS, LoadedRule
from engine.language.vocabulary import tables_behind


def columns_of(loaded: LoadedRule, symbol: str) -> set[str]:
    """The attributes of a symbol that any expression of the rule reads, as paths below it."""
    paths = set().union(*(c.columns for c in loaded.compiled.values())) if loaded.compiled else set()
    return {p.split(".", 1)[1] for p in paths if p.startswith(f"{symbol}.")}


def elements_of(loaded: LoadedRule, path: str) -> set[str]:
    """The attributes of the elements of a collection that any comprehension or flag reads."""
    names = set()
    for compiled in loaded.compiled.values():
        for aggregate in compiled.aggregates:
            if aggregate.collection == path:
                names |= {c.split(".", 1)[1] for c in aggregate.columns}
    for role, collection in loaded.elements.items():
        if collection == path:
            names |= {c.split(".", 1)[1] for c in loaded.compiled[f"flag.{role}"].element}
    return names


def collections_of(loaded: LoadedRule) -> list[str]:
    """Every collection path the rule reads."""
    used = {a.collection for c in loaded.compiled.values() for a in c.aggregates}
    return sorted(used | set(loaded.elements.values()))


def words_read(loaded: LoadedRule) -> set[str]:
    """Every word that any expression of the rule reads, without what it is a word of."""
    return {path.rsplit(".", 1)[-1] for c in loaded.compiled.values() for path in paths_of(c)}


def paths_of(compiled) -> set[str]:
    """Every path that a compiled expression reads, of the case or of elements."""
    return (compiled.columns | compiled.element).union(*(a.columns | a.outer for a in compiled.aggregates))


def short(name: str, kind: str = "line") -> str:
    """The short word of a field of the canonical table behind an object, or the word itself."""
    words = {field: word for word, field in tables_behind()[kind].means.items()}
    return words.get(name, name)


@lru_cache(1024)
def named_items(loaded: LoadedRule) -> list[str] | None:
    """The items that lines of the rule must have, where its expressions say so; else None."""
    found: set[str] = set()
    expressions = []
    for name, rule in loaded.parsed.items():
        of_lines = loaded.elements.get(name.removeprefix("flag."), "lines").endswith("lines")
        if name.startswith("flag.") and of_lines or name == "when" and loaded.rule.scope == "line":
            expressions.append(rule.statement.expression)
        nodes = list(walk(rule.statement.expression))
        gone_through = {id(node.iterable) for node in nodes if isinstance(node, ast.ComprehensionExpression)}
        if any(_is_lines(node) and id(node) not in gone_through for node in nodes):
            return None  # such as day.lines.length, which counts them all
        for node in nodes:
            if isinstance(node, ast.ComprehensionExpression) and _is_lines(node.iterable):
                if node.condition is None:
                    return None
                expressions.append(node.condition)
    if not expressions:
        return None
    for expression in expressions:
        items = items_of(expression, loaded)
        if items is None:
            return None
        found |= items
    return sorted(found)


def _is_lines(node) -> bool:
    return isinstance(node, ast.GetAttributeExpression) and node.name == "lines"


def items_of(node, loaded: LoadedRule) -> set[str] | None:
    """The items one of which a line must have for a condition on it to hold; None where it demands none."""
    if isinstance(node, ast.LogicExpression):
        left, right = items_of(node.left, loaded), items_of(node.right, loaded)
        if node.type == "and":
            return left if right is None else right if left is None else left & right
        return None if left is None or right is None else left | right
    if isinstance(node, ast.ContainsExpression) and _is_item(node.member):
        if isinstance(node.container, ast.SymbolExpression) and node.container.name in loaded.setting.sets:
            return set(loaded.setting.sets[node.container.name])
        if isinstance(node.container, ast.ArrayExpression | ast.SetExpression):
            texts = [member.value for member in node.container.value if isinstance(member, ast.StringExpression)]
            return set(texts) if len(texts) == len(node.container.value) else None
    if isinstance(node, ast.ComparisonExpression) and node.type == "eq":
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if _is_item(one) and isinstance(other, ast.StringExpression):
                return {other.value}
    return None


def item_columns(node, loaded: LoadedRule) -> list[str]:
    """The columns of the joined row (`alias.name`) to which a condition demands the item of a line to be equal."""
    alias, found = loaded.rule.join and loaded.rule.join.alias, []
    for part in conjuncts(node):
        if isinstance(part, ast.ComparisonExpression) and part.type == "eq":
            paths = [path_of(side) for side in (part.left, part.right)]
            found += [".".join(p) for p in paths if p and p[0] == alias and any(map(_is_item, (part.left, part.right)))]
    return found


def _is_item(node) -> bool:
    """An item by either of its names; the national one may be missing, which the short one calls blank."""
    if isinstance(node, ast.CoalesceExpression) and isinstance(node.right, ast.StringExpression):
        return node.right.value == "" and _is_item(node.left)
    return isinstance(node, ast.GetAttributeExpression) and short(node.name) == "item"


def side_items(loaded: LoadedRule, symbol: str) -> list[str] | None:
    """The items that `when` demands of one line of the pair; None where it demands none."""
    of_side = [
        node for node in conjuncts(loaded.parsed["when"].statement.expression)
        if {n.name for n in walk(node) if isinstance(n, ast.SymbolExpression)} & {"a", "b"} == {symbol}
    ]  # fmt: skip
    named = [items for node in of_side if (items := items_of(node, loaded)) is not None]
    return sorted(set.intersection(*named)) if named else None


def equalities(loaded: LoadedRule) -> list[tuple[str, str]]:
    """(attribute of a, attribute of b) that `when` demands to be equal: they become join keys."""
    found = []
    for node in conjuncts(loaded.parsed["when"].statement.expression):
        if isinstance(node, ast.ComparisonExpression) and node.type == "eq":
            sides = {}
            for side in (node.left, node.right):
                path = path_of(side)
                if path and path[0] in ("a", "b"):
                    sides[path[0]] = ".".join(path[1:])
            if len(sides) == 2:
                found.append((sides["a"], sides["b"]))
    return found


def element_variable(path: str) -> str:
    """The letter by which flags speak of an element of a collection: `l` of `day.lines`."""
    return next(letter for letter, name in ELEMENTS.items() if name == path.split(".")[-1])


def element_only(loaded: LoadedRule) -> bool:
    """Whether an element alone tells that it is evidence, so that a case without one can be left out. Where it reads
    what the rule must know, a case without evidence may be one that is not known."""
    flag = loaded.compiled["flag.excess"]
    return not flag.columns and not flag.aggregates and not flag.element & loaded.must_know
