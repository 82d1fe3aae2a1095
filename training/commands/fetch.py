"""Download a data set from its public source, checked by SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import path
from training.datasets.fetch import SOURCES, fetch


def source(text: object) -> str:
    """A data set that can be fetched. Raises BadParameter."""
    if text not in SOURCES:
        raise typer.BadParameter(f"expected one of {', '.join(sorted(SOURCES))}, got {text!r}")
    return str(text)


def source_names(incomplete: str) -> list[str]:
    """For the completion of shells."""
    return [name for name in sorted(SOURCES) if name.startswith(incomplete)]


def run(
    name: Annotated[
        str,
        typer.Argument(parser=source, metavar="NAME", help=", ".join(sorted(SOURCES)), autocompletion=source_names),
    ],
    to: Annotated[Path, typer.Option(parser=path, metavar="DIR", help="Where to put it.")] = Path("data"),
) -> None:
    print(fetch(name, to))
