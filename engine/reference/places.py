"""Where rules and seeds lie: beside engine/ in a checkout, inside the package in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def _folder(name: str) -> Path:
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def rules_folder() -> Path:
    return _folder("rules")


def seeds_folder() -> Path:
    return _folder("seeds")
