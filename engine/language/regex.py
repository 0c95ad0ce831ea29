"""Regular expressions that Python and Rust read alike, and that neither reads for long.

The interpreter matches with Python's `re`, frames with Rust's `regex`. A pattern is taken apart by Python's own parser
and written anew for Rust from what that parser understood, every class of characters as the ranges Python means.
What Rust cannot do (looking around, referring back) is refused, and so is what `re` could try in more ways than there
is time for: a repeat whose parts can take the same characters in several ways.
"""

import math
import re
import warnings
from functools import cache

import polars as pl
from rule_engine import errors

Ranges = tuple[tuple[int, int], ...]  # of code points, both ends in, ascending

parser, codes = re._parser, re._constants
LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
NOTHING = r"[^\x{0}-\x{10FFFF}]"  # a character that is none
MOST_REPEATS = 1_000  # of one part, counted with the repeats around it
MOST_WAYS = 10_000_000  # to try on a text of LONG_TEXT characters
LONG_TEXT = 100

FLAGS = ("不用标志 flags such as (?i) are not for rules", "写出两种 write both forms: [Aa]")
LONG = "可能极慢 it could take very long"

REFUSED = {
    codes.ASSERT: ("前后查看 looking ahead or behind", "分两个条件 two conditions, joined by and"),
    codes.ASSERT_NOT: ("前后查看 looking ahead or behind", "分两个条件 two conditions, joined by and not"),
    codes.GROUPREF: ("引用前组 a reference back to a group", "比较两个文字 compare the two texts"),
    codes.GROUPREF_EXISTS: ("按组选择 a choice by a group", "用 | 写出两种 write both with |"),
    codes.ATOMIC_GROUP: ("原子组 an atomic group", "用普通组 a plain group"),
    codes.POSSESSIVE_REPEAT: ("占有重复 a possessive repeat", "去掉后一个 + leave the second + away"),
}
BOUNDARIES = (codes.AT_BOUNDARY, codes.AT_NON_BOUNDARY)


class PatternProblem(errors.EvaluationError):
    """Why a regular expression is refused, and what to write instead."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(f"正则表达式 regular expression: {message}")
        self.hint = hint


@cache
def shared(pattern: str) -> str:
    """The same pattern for Rust. Raises PatternProblem where the two would differ or Python could take very long."""
    try:
        with warnings.catch_warnings(action="error"):  # of [[ and && inside a set, which may mean more one day
            tree = parser.parse(pattern)
    except (re.error, OverflowError, Warning) as error:
        raise PatternProblem(str(error)) from None
    except RecursionError:
        raise PatternProblem("嵌套过深 nested too deep") from None
    if tree.state.flags & ~codes.SRE_FLAG_UNICODE:
        raise PatternProblem(*FLAGS)
    text = _sequence(tree, True, 1)
    if _ways(tree, _Steps(tree)) > MOST_WAYS:
        raise PatternProblem(
            "可取同样字符的重复过多 too many repeats and options that can take the same characters",
            f"{LONG}; 少用 use fewer .*",
        )
    try:
        pl.Series([""]).str.contains(text)
    except pl.exceptions.ComputeError:
        raise PatternProblem("过大 too large", "次数写小些 use smaller counts") from None
    return text


# written for Rust


def _sequence(items, last: bool, times: int) -> str:
    """`last`: nothing that takes a character follows, so that `$` may stand for a line's end at the text's end."""
    items = list(items)
    return "".join(_part(op, value, last and n == len(items) - 1, times) for n, (op, value) in enumerate(items))


def _part(op, value, last: bool, times: int) -> str:
    if op in REFUSED:
        raise PatternProblem(f"不能用 not possible: {REFUSED[op][0]}", REFUSED[op][1])
    if op in REPEATS:
        least, most, inner = value
        times *= least if most is codes.MAXREPEAT else most
        if times > MOST_REPEATS:
            raise PatternProblem(f"重复多于 more than {MOST_REPEATS} repeats", "用 use + *")
        upper = "" if most is codes.MAXREPEAT else most
        return f"(?:{_sequence(inner, last and most == 1, max(times, 1))}){{{least},{upper}}}"
    if op is codes.BRANCH:
        return f"(?:{'|'.join(_sequence(branch, last, times) for branch in value[1])})"
    if op is codes.SUBPATTERN:
        _, added, removed, inner = value
        if added or removed:
            raise PatternProblem(*FLAGS)
        return f"(?:{_sequence(inner, last, times)})"
    if op is codes.AT:
        return _place(value, last)
    ranges = characters(op, value)
    if not ranges:
        return NOTHING
    return "[" + "".join(rf"\x{{{a:X}}}-\x{{{b:X}}}" for a, b in ranges) + "]"


REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)


def _place(value, last: bool) -> str:
    if value in BOUNDARIES:
        raise PatternProblem(
            r"不能用 not possible: \b, the readers know other letters", "写出前后的字 name what is around"
        )
    if value is codes.AT_END and not last:
        raise PatternProblem("$ 只能在末尾 can only stand at the end")
    return {codes.AT_END: r"\n?\z", codes.AT_END_STRING: r"\z"}.get(value, r"\A")


@cache
def _category(name: str) -> Ranges:
    r"""The characters of \d, \w or \s in Python's Unicode, as ranges."""
    everything = "".join(map(chr, [*range(SURROGATES[0]), *range(SURROGATES[1] + 1, LAST + 1)]))
    found = re.finditer({"DIGIT": r"\d+", "WORD": r"\w+", "SPACE": r"\s+"}[name], everything)
    # no run of such characters crosses the surrogates
    return tuple((ord(run[0][0]), ord(run[0][-1])) for run in found)


def characters(op, value) -> Ranges:
    """The characters a node of one character takes."""
    if op is codes.LITERAL:
        ranges = ((value, value),)
    elif op is codes.RANGE:
        ranges = (value,)
    elif op is codes.NOT_LITERAL:
        ranges = _others(((value, value),))
    elif op is codes.ANY:
        ranges = _others(((10, 10),))
    elif op is codes.CATEGORY:
        name = str(value).removeprefix("CATEGORY_")
        ranges = _category(name.removeprefix("NOT_"))
        ranges = _others(ranges) if name.startswith("NOT_") else ranges
    elif op is codes.IN:
        negated = value[0][0] is codes.NEGATE
        ranges = _joined(r for part in value[negated:] for r in characters(*part))
        ranges = _others(ranges) if negated else ranges
    else:
        raise PatternProblem(f"不能用 not possible: {str(op).lower()}")
    return _without_surrogates(ranges)


def _joined(ranges) -> Ranges:
    """Ranges in order, those that touch made one."""
    made = []
    for first, last in sorted(ranges):
        if made and first <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(last, made[-1][1]))
        else:
            made.append((first, last))
    return tuple(made)


def _others(ranges: Ranges) -> Ranges:
    """Every character not in the ranges."""
    edges = [-1, *(edge for pair in _joined(ranges) for edge in pair), LAST + 1]
    return tuple((a + 1, b - 1) for a, b in zip(edges[::2], edges[1::2], strict=True) if a + 1 <= b - 1)


def _without_surrogates(ranges: Ranges) -> Ranges:
    """Text has no half characters: the ranges without them."""
    low, high = SURROGATES
    cut = [part for a, b in ranges for part in ((a, min(b, low - 1)), (max(a, high + 1), b)) if part[0] <= part[1]]
    return _joined(cut)


# how long Python may take


class _Steps:
    """Which character of a pattern may follow which: where two of them take the same character, `re` may try both.

    Inside a repeat such a choice is refused, for every round would double the ways.
    """

    def __init__(self, tree):
        self.classes: list[Ranges] = []
        self.follow: list[list[int]] = []
        self.first, _, _ = self.sequence(tree)

    def sequence(self, items) -> tuple[list[int], list[int], bool]:
        """First characters, last characters, and whether nothing at all will do."""
        first, last, empty = [], [], True
        for op, value in items:
            begin, end, nothing = self.part(op, value)
            for position in last:
                self.follow[position] += begin
            first += begin if empty else []
            last = last + end if nothing else end
            empty = empty and nothing
        return first, last, empty

    def part(self, op, value) -> tuple[list[int], list[int], bool]:
        if op is codes.AT:
            return [], [], True
        if op is codes.SUBPATTERN:
            return self.sequence(value[3])
        if op is codes.BRANCH:
            ways = [self.sequence(branch) for branch in value[1]]
            self.once(sum(way[2] for way in ways))
            return [p for w in ways for p in w[0]], [p for w in ways for p in w[1]], any(w[2] for w in ways)
        if op in REPEATS:
            return self.repeat(*value)
        self.classes.append(characters(op, value))
        self.follow.append([])
        return [len(self.classes) - 1], [len(self.classes) - 1], False

    def repeat(self, least: int, most: int, inner) -> tuple[list[int], list[int], bool]:
        start = len(self.classes)
        first, last, empty = self.sequence(inner)
        self.once(empty + (least == 0))
        low, high = inner.getwidth()
        if most > 1 and not (least == most and low == high):  # a fixed count of a fixed width has no choice
            for position in last:
                self.follow[position] += first
            inside = [first, *([q for q in self.follow[p] if q >= start] for p in range(start, len(self.classes)))]
            if empty or any(self.overlap(ways) for ways in inside):
                raise PatternProblem(
                    "重复之内同样字符有几种取法 a repeat whose parts can take the same characters in several ways",
                    f"{LONG}; 重复里不再有重复 avoid a repeat within a repeat",
                )
        return first, last, empty or least == 0

    def once(self, empty: int) -> None:
        """Nothing at all may be taken in one way only: two would double the ways with every round around them."""
        if empty > 1:
            raise PatternProblem("两种方式取空 two ways to take nothing", f"{LONG}; 去掉 leave away ?")

    def overlap(self, positions: list[int]) -> bool:
        """May two of these take the same character?"""
        ends = sorted((edge, n) for n, p in enumerate(positions) for edge in self.classes[p])
        return any(b[0][0] <= a[0][1] for a, b in zip(ends, ends[1:], strict=False))


def _ways(items, steps: _Steps) -> int:
    """About how many ways `re` may try on a text of a hundred characters: choices behind each other multiply."""
    positions = iter(range(len(steps.classes)))

    def of(items, rounds: int) -> int:
        return math.prod(part(op, value, rounds) for op, value in items)

    def part(op, value, rounds: int) -> int:
        if op is codes.AT:
            return 1
        if op is codes.SUBPATTERN:
            return of(value[3], rounds)
        if op is codes.BRANCH:
            return max([of(branch, rounds) for branch in value[1]])
        if op in REPEATS:
            return of(value[2], max(rounds, min(value[1], LONG_TEXT)))
        return max(rounds, 2) if steps.overlap(steps.follow[next(positions)]) else 1

    return of(items, 1) * (2 if steps.overlap(steps.first) else 1)
