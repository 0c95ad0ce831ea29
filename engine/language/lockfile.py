"""rules.lock: the content hash of every rule file, so that nobody types a version and every change shows.

One line a rule, `hash  id`, sorted by id. `yibao rules lock` writes it; lint warns of what differs from it.
"""

import hashlib
from pathlib import Path

from engine.tables.problems import RuleProblem

NAME = "rules.lock"
LENGTH = 16


def version_of(path: Path) -> str:
    """The version of a rule: the beginning of the SHA-256 of its file, line ends as LF."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:LENGTH]


def lock_text(files: list[Path]) -> str:
    """The lock of some rule files."""
    return "".join(f"{version_of(path)}  {path.stem}\n" for path in sorted(files, key=lambda path: path.stem))


def differences(files: list[Path], lock: Path) -> dict[str, str]:
    """Rules that are not as the lock says, by id: changed, new or gone. All are new where there is no lock.

    Raises RuleProblem for a line of the lock that cannot be read.
    """
    locked, now = {}, {path.stem: version_of(path) for path in files}
    for number, line in enumerate(lock.read_text("utf-8").splitlines() if lock.exists() else (), 1):
        version, _, rule_id = line.partition("  ")
        if len(version) != LENGTH or not rule_id:
            raise RuleProblem(f"读不懂 cannot be read: {line!r}", f"{lock}:{number}", hint="yibao rules lock")
        locked[rule_id] = version
    found = {rule_id: "gone" for rule_id in locked.keys() - now.keys()}
    found |= {rule_id: "new" for rule_id in now.keys() - locked.keys()}
    found |= {rule_id: "changed" for rule_id in now.keys() & locked.keys() if now[rule_id] != locked[rule_id]}
    return dict(sorted(found.items()))
