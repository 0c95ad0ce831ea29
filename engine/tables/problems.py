"""What can go wrong for a user, each with one clear message and the exit code the command line answers with."""

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """A mistake to be shown, not a traceback: what is wrong, where, what would be allowed, what was likely meant."""

    exit_code = 1

    def __init__(self, what: str, where: str = "", allowed: str = "", hint: str = ""):
        self.what, self.where, self.allowed, self.hint = what, where, allowed, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.allowed:
            parts.append(f"允许 allowed: {self.allowed}")
        if self.hint:
            parts.append(f"提示 hint: {self.hint}")
        return "\n  ".join(parts)


class UsageProblem(Problem):
    exit_code = 2


class InputProblem(Problem):
    exit_code = 3


class RuleProblem(Problem):
    exit_code = 4


class InvariantBroken(Problem):
    exit_code = 5


class ResourceProblem(Problem):
    exit_code = 6


def likely(word: str, names: Iterable[str]) -> str:
    """A hint at the name that was probably meant; empty where none is near."""
    near = difflib.get_close_matches(word, list(names), 1)
    return f"是否为 did you mean {near[0]}？" if near else ""
