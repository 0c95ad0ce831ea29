"""rule-engine's parser, with a memory of places: every node knows which characters of the text it was written in.

rule-engine parses in two steps, first a tree of promises and then the nodes with their types, and forgets positions in
between. Here each promise keeps its first and last character, hands them to the node it builds, and to the error
where it cannot be built, so that a caret can stand under the very part that is wrong.
"""

import datetime
import functools
from collections.abc import Callable

import rule_engine
from rule_engine import ast, errors
from rule_engine.parser import Parser, _DeferredAstNode

from engine.language.nodes import OWN

Span = tuple[int, int]
ITEM = ("item", "med_list_codg")


class Promise(_DeferredAstNode):
    """A node to be built, and where it stands."""

    __slots__ = ("span",)

    def __init__(self, node: _DeferredAstNode, span: Span):
        super().__init__(OWN.get(node.cls, node.cls), args=node.args, kwargs=node.kwargs, method=node.method)
        self.span = span

    def build(self):
        try:
            node = (_of_its_day(self) or super()).build()
        except Exception as error:
            if not hasattr(error, "span"):
                error.span = self.span
                if isinstance(error, errors.EngineError):  # its operands stand: the fault is how they are put together
                    made = [part for part in self.args if type(part) is Promise]
                    error.operands = [(part.span, part.build().result_type) for part in made]
            raise
        node.span = self.span
        return node


def _of_its_day(promise: Promise) -> _DeferredAstNode | None:
    """`l.item in some` where the codes of `some` have dates: each code counts on the days on which it is in force.

    None where the set has no dates, or the item belongs to nothing that has a day.
    """
    if promise.cls is not ast.ContainsExpression:
        return None
    context, container, member = promise.args
    periods = container.cls is ast.SymbolExpression and context.periods.get(container.args[1])
    if not periods or member.cls is not ast.GetAttributeExpression or member.args[2] not in ITEM:
        return None

    def made(cls, *args) -> Promise:
        return Promise(_DeferredAstNode(cls, args=(context, *args)), promise.span)

    day = made(ast.GetAttributeExpression, member.args[1], "date")
    try:
        day.build()
    except errors.AttributeResolutionError:
        return None
    listed = []
    for name, begin, end in periods:
        test = made(ast.ContainsExpression, made(ast.SymbolExpression, name), member)
        for how, bound in (("GE", begin), ("LE", end)):
            if bound:
                moment = datetime.datetime.combine(bound, datetime.time(), context.default_timezone)
                limit = made(ast.ArithmeticComparisonExpression, how, day, made(ast.DatetimeExpression, moment))
                test = made(ast.LogicExpression, "AND", test, limit)
        listed.append(test)
    return functools.reduce(lambda one, other: made(ast.LogicExpression, "OR", one, other), listed)


def _placed(rule: Callable) -> Callable:
    """A grammar rule that also notes the place of what it makes."""

    @functools.wraps(rule)
    def noted(self, p):
        rule(self, p)
        if isinstance(p[0], _DeferredAstNode) and not isinstance(p[0], Promise):
            span = p.lexspan(1)[0], self.ends[p.lexspan(len(p) - 1)[1]]
            inner = p[0].args[-1]  # of `not in`, which makes two promises at once
            if type(inner) is _DeferredAstNode:
                p[0].args = (*p[0].args[:-1], Promise(inner, span))
            p[0] = Promise(p[0], span)

    noted.co_firstlineno = rule.__code__.co_firstlineno  # by which the grammar is ordered
    return noted


class PlacedParser(Parser):
    """The parser of rule-engine whose nodes have a `span`."""

    def parse(self, text: str, context, **kwargs):
        lexer = self._lexer
        lexer.input(text)
        self.ends = {}
        try:
            while token := lexer.token():
                self.ends[token.lexpos] = lexer.lexpos
            return super().parse(text, context, tracking=True, **kwargs)
        except errors.RuleSyntaxError as error:
            start = getattr(error.token, "lexpos", len(text))
            error.span = (start, max(self.ends.get(start, start), start + 1))
            raise


for _name in [name for name in dir(Parser) if name.startswith("p_") and name != "p_error"]:
    setattr(PlacedParser, _name, _placed(getattr(Parser, _name)))


class PlacedRule(rule_engine.Rule):
    """A parsed expression whose nodes know their place."""

    @property
    def parser(self) -> PlacedParser:
        return _parser()


@functools.cache
def _parser() -> PlacedParser:
    """Made once, when the first expression is read: the tables of the grammar take a third of a second."""
    return PlacedParser()
