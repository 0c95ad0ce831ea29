"""rule-engine's parser, with a memory of places: every node knows which characters of the text it was written in.

rule-engine parses in two steps, first a tree of promises and then the nodes with their types, and forgets positions in
between. Here each promise keeps its first and last character, hands them to the node it builds, and to the error
where it cannot be built, so that a caret can stand under the very part that is wrong.
"""

import functools
from collections.abc import Callable

import rule_engine
from rule_engine import errors
from rule_engine.parser import Parser, _DeferredAstNode

from engine.language.nodes import OWN

Span = tuple[int, int]


class Promise(_DeferredAstNode):
    """A node to be built, and where it stands."""

    __slots__ = ("span",)

    def __init__(self, node: _DeferredAstNode, span: Span):
        super().__init__(OWN.get(node.cls, node.cls), args=node.args, kwargs=node.kwargs, method=node.method)
        self.span = span

    def build(self):
        try:
            node = super().build()
        except Exception as error:
            error.span = getattr(error, "span", self.span)
            raise
        node.span = self.span
        return node


def _placed(rule: Callable) -> Callable:
    """A grammar rule that also notes the place of what it makes."""

    @functools.wraps(rule)
    def noted(self, p):
        rule(self, p)
        if isinstance(p[0], _DeferredAstNode) and not isinstance(p[0], Promise):
            first, last = p.lexspan(1)[0], p.lexspan(len(p) - 1)[1]
            p[0] = Promise(p[0], (first, self.ends[last]))

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
