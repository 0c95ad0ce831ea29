"""One run at a time in a folder: a lock that the system lets go when the process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.tables.problems import UsageProblem

try:
    import fcntl
except ImportError:  # not on Windows, where a second run fails at the first file the other holds open
    fcntl = None

LOCK = ".lock"


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the folder, made where there is none. Raises UsageProblem when it is no folder or another run has it."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageProblem(f"不是普通目录 not a plain folder: {out}")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as held:
        try:
            if fcntl:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageProblem(
                f"另一次运行正在写入 another run is writing to {out}", hint="请等它结束，或换一个目录"
            ) from None
        try:
            yield
        finally:
            (out / LOCK).unlink(missing_ok=True)
