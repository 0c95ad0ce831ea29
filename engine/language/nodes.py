"""The nodes of rule-engine's syntax tree that mean something of our own, so that both readers can say the same.

A quotient has 18 decimal places, rounded half away from zero, where rule-engine would keep as many as its context
allows: frames can do the first and not the second. A regular expression is one that frames can match too, and a number
is one that fits.
"""

import re
from decimal import Decimal

from rule_engine import ast, errors
from rule_engine.types import is_numeric

from engine.language.regex import shared

PLACES = 18  # decimal places of a quotient
TOO_LARGE = "数的大小超出规则所及 a number of this size has no place in a rule"
DIGITS = 38  # of any number, before and behind the point together


class Arithmetic(ast.ArithmeticExpression):
    """Multiplying, dividing, remainders and powers."""

    def _op_tdiv(self, thing) -> Decimal:
        left, right = self.left.evaluate(thing), self.right.evaluate(thing)
        if not is_numeric(left) or not is_numeric(right):
            raise errors.EvaluationError("data type mismatch (not a numeric value)")
        if not right:
            raise errors.ArithmeticError("arithmetic error: division by zero")
        (above, part), (below, share) = left.as_integer_ratio(), right.as_integer_ratio()
        above, below = abs(above * share) * 10**PLACES, abs(part * below)
        size = Decimal((2 * above + below) // (2 * below)).scaleb(-PLACES)
        return size if (left < 0) == (right < 0) else -size


class Matching(ast.FuzzyComparisonExpression):
    """Regular expressions."""

    def _compile_regex(self, regex: str) -> re.Pattern[str]:
        shared(regex)
        return super()._compile_regex(regex)


class Number(ast.FloatExpression):
    """A number written out."""

    def __init__(self, context, value):
        super().__init__(context, value)
        if not self.value.is_finite() or self.value.adjusted() >= DIGITS or self.value.as_tuple().exponent < -DIGITS:
            raise errors.EvaluationError(TOO_LARGE)


OWN = {ast.ArithmeticExpression: Arithmetic, ast.FuzzyComparisonExpression: Matching, ast.FloatExpression: Number}
