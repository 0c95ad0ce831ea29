"""The private folder of the machine's user: what is kept between commands and holds personal data.

Its owner alone may read it. Nothing in it decides what a run says; it may be deleted at any time.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from engine.tables.problems import ResourceProblem

CACHE = "YIBAO_CACHE"
NOTES_KEPT = 200


def private_folder(*parts: str) -> Path:
    """A folder below `~/.cache/yibao`, or where the environment says, made where there is none."""
    root = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "yibao")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = root.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceProblem(f"无法写入缓存目录 {error}", str(root), hint=f"设置环境变量 {CACHE}") from None
    return folder


def keep_newest(folder: Path, kept: int) -> None:
    """Of what lies in a folder the last used stays, the rest goes."""
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in found[kept:]:
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)


def note_run(run_id: str, source: Path, **given) -> None:
    """Remember where the input of a run lay and with which options it ran; a run does not fail for want of a note."""
    plain = {name: _absolute(value) for name, value in given.items() if value}
    with suppress(ResourceProblem, OSError):
        folder = private_folder("runs")
        said = json.dumps({"source": str(source.resolve()), **plain}, ensure_ascii=False)
        (folder / f"{run_id}.json").write_text(said, "utf-8")
        keep_newest(folder, NOTES_KEPT)


def noted_run(run_id: str) -> dict:
    """What was remembered of a run; empty where nothing was."""
    with suppress(OSError, ValueError, ResourceProblem):
        return json.loads((private_folder("runs") / f"{run_id}.json").read_text("utf-8"))
    return {}


def _absolute(value):
    """Paths as absolute text, so that the note holds wherever the next command starts."""
    if isinstance(value, Path):
        return str(value.resolve())
    return [_absolute(v) for v in value] if isinstance(value, list | tuple) else value
