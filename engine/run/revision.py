"""Files as they stood at a revision of the git repository they lie in."""

import io
import subprocess
import tarfile
from pathlib import Path

from engine.tables.problems import UsageProblem


def at_revision(ref: str, rules: Path, others: list[Path], into: Path) -> dict[Path, Path]:
    """Where copies of the rules folder and of other files and folders lie as they stood at `ref`, written below `into`.

    What does not lie in the repository of the rules, or did not exist then, is left out. Raises UsageProblem where
    there is no repository, no such revision, or no rules at it.
    """
    root = _git(rules, "rev-parse", "--show-toplevel")
    if root is None:
        hint = "git 版本库之外请给出另一个规则目录 --before DIR"
        raise UsageProblem(
            f"不是目录，规则也不在 git 版本库中 no folder, and the rules are in no repository: {ref}", hint=hint
        )
    top = Path(root.decode().strip()).resolve()
    commit = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        raise UsageProblem(f"没有这个目录或版本 no such folder or revision: {ref}")
    found = {}
    for path in (rules, *others):
        inside = path.resolve()
        if not inside.is_relative_to(top):
            continue
        name = inside.relative_to(top).as_posix()
        packed = _git(top, "archive", "--format=tar", commit.decode().strip(), "--", name)
        if packed is not None:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(into, filter="data")
            found[path] = into / name
    if rules not in found:
        raise UsageProblem(f"版本 {ref} 中没有规则目录 no rules at that revision: {rules}")
    return found


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git answers; None where it refuses or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
