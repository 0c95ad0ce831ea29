"""What is wrong with a rule file: a code with its meaning, a place, the allowed values, the likely intent.

faults.yaml explains every code; it is what `yibao rules words CODE` shows.
"""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import yaml

from engine.language.expression import ExpressionProblem
from engine.tables.yamltext import Document

SHOWN = 160  # characters of a line that are shown
MOST = 100  # faults of one file that are told
SEVERITIES = {"E": "error", "W": "warning", "N": "note"}


@cache
def codes() -> dict[str, dict[str, str]]:
    """Every code with `what` and `fix` in Chinese, `en` and `en_fix` in English."""
    return yaml.safe_load((Path(__file__).parent / "faults.yaml").read_text("utf-8"))


def explained(code: str) -> str | None:
    """What a code means and what to do, in both languages; None for a code there is not."""
    said = codes().get(code)
    return said and f"{code} {said['what']}\n  {said['fix']}\n  {said['en']}: {said['en_fix']}"


@dataclass(frozen=True)
class RuleFault:
    """One thing wrong with one file, at a line and column (from 1) and `width` characters wide."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    allowed: str = ""
    text: str = ""
    width: int = 1

    @property
    def severity(self) -> str:
        """error, warning or note."""
        return SEVERITIES[self.code[0]]

    def __str__(self) -> str:
        text, column = self.text.expandtabs(1), self.column
        if len(text) > SHOWN:  # the part around the place
            first = max(0, min(column - SHOWN // 2, len(text) - SHOWN))
            text, column = text[first : first + SHOWN], column - first
        width = max(1, min(self.width, len(text) - column + 1))
        caret = f"\n    {text}\n    {_blank(text[: column - 1])}{'^' * width}" if text else ""
        allowed = f"\n  允许 allowed: {self.allowed}" if self.allowed else ""
        hint = f"\n  提示 hint: {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.message}{caret}{allowed}{hint}"


def _blank(text: str) -> str:
    """Room as wide as the text: a Chinese character is as wide as two others."""
    return "".join("　" if ord(char) > 0x2E80 else " " for char in text)


class Notes:
    """The faults of one file, each placed where its path of keys, its value or a part of an expression stands."""

    def __init__(self, file: str, document: Document):
        self.file, self.document, self.faults = file, document, []

    def key(self, code: str, path: tuple, message: str, hint: str = "", allowed: str = "") -> None:
        """A fault of a key."""
        self._add(code, self.document.where(path), len(str(path[-1])) if path else 1, message, hint, allowed)

    def value(self, code: str, path: tuple, message: str, hint: str = "", allowed: str = "") -> None:
        """A fault of what stands behind a key."""
        node = self.document.scalars.get(path)
        self._add(code, self.document.value_at(path), len(node.value) if node else 1, message, hint, allowed)

    def expression(self, name: str, problem: ExpressionProblem) -> None:
        """A fault of a part of the expression `name` (`when`, `flag.basis`, `let.billed` …)."""
        start, end = problem.span or (0, 1)
        where = self.place(problem.where or name, start)
        self._add(problem.code, where, end - start, problem.message, problem.hint, problem.allowed)

    def part(
        self, code: str, name: str, span: tuple[int, int], message: str, hint: str = "", allowed: str = ""
    ) -> None:
        """A fault of some characters of the expression or text `name`."""
        self._add(code, self.place(name, span[0]), span[1] - span[0], message, hint, allowed)

    def place(self, name: str, offset: int) -> tuple[int, int]:
        """Line and column of a character of an expression."""
        path = path_of(name, self.document)
        if path == ("message",):
            offset += self.document.scalars[path].value.find("{" + name.removeprefix("message.")) + 1
        return self.document.inside(path, offset)

    def _add(self, code: str, place: tuple[int, int], width: int, message: str, hint: str, allowed: str) -> None:
        text = self.document.line(place[0])
        fault = RuleFault(self.file, *place, code, message, hint, allowed, text, max(1, width))
        if len(self.faults) == MOST:
            self.faults.append(
                RuleFault(self.file, *place, "E_MORE", "还有更多问题，先改上面的 more faults after these")
            )
        elif len(self.faults) < MOST and fault not in self.faults:
            self.faults.append(fault)


def path_of(name: str, document: Document) -> tuple:
    """The path of keys of a named expression: `innocent.0.unless`; a bare `flag:` is `flag.excess`."""
    if name.startswith("message."):
        return ("message",)
    path = tuple(int(part) if part.isdigit() else part for part in name.split("."))
    while path and path not in document.scalars:
        path = path[:-1]
    return path


def as_json(faults: list[RuleFault]) -> list[dict]:
    """The faults as plain records."""
    return [asdict(fault) | {"severity": fault.severity} for fault in faults]


def as_sarif(faults: list[RuleFault], version: str) -> dict:
    """The faults as a SARIF 2.1.0 log, which editors and code hosts show at their places."""
    used = sorted({fault.code for fault in faults})
    rules = [{"id": code, "shortDescription": {"text": codes()[code]["what"]},
              "help": {"text": codes()[code]["fix"]}} for code in used]  # fmt: skip
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "yibao", "version": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": [_sarif(fault, used) for fault in faults],
        }],
    }  # fmt: skip


def _sarif(fault: RuleFault, used: list[str]) -> dict:
    said = [fault.message, *(part for part in (fault.allowed, fault.hint) if part)]
    region = {"startLine": fault.line, "startColumn": fault.column, "endColumn": fault.column + fault.width}
    place = {"artifactLocation": {"uri": fault.file}, "region": region}
    return {"ruleId": fault.code, "ruleIndex": used.index(fault.code), "level": fault.severity,
            "message": {"text": "；".join(said)}, "locations": [{"physicalLocation": place}]}  # fmt: skip
