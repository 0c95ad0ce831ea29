"""`yibao scheme check|diff|show|build`: a grouping scheme looked at by itself."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.app import app, plain
from engine.cli.show import escaped
from engine.grouping.scheme import check_scheme
from engine.run.region import DEFAULT_SCHEME, scheme_folder

scheme_app = typer.Typer(help="分组方案 · grouping schemes", no_args_is_help=True)
app.add_typer(scheme_app, name="scheme")

Scheme = Annotated[str, typer.Argument(metavar="SCHEME", help="分组方案：名称或目录 · a name or a folder")]


@scheme_app.command("check")
def check_command(scheme: Scheme = DEFAULT_SCHEME):
    """分组方案有没有毛病 · what is wrong with a scheme."""
    for problem in check_scheme(Path(scheme_folder(scheme))):
        plain.print(escaped(str(problem)))
