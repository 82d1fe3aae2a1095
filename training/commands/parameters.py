"""Parameters that several commands share, and what fits have in common at the command line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from classifier.commands.parameters import path, whole_number


def recipe_names(incomplete: str) -> list[str]:
    """The recipes whose name begins so, for the completion of shells."""
    from training.recipes import FOR_ANY_IMAGES, RECIPES

    return [name for name in RECIPES | FOR_ANY_IMAGES if name.startswith(incomplete)]


def check_tensorflow() -> None:
    """Raise ModuleNotFoundError, at once, where TensorFlow is not installed."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


@contextmanager
def resumable() -> Iterator[None]:
    """Tell who stops a fit with Ctrl-C how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped; a fit continues from its last epoch with --resume", file=sys.stderr)
        raise typer.Exit(130) from None


RecipeName: TypeAlias = Annotated[
    str, typer.Argument(metavar="RECIPE", help="See `sightline recipes`.", autocompletion=recipe_names)
]
Data: TypeAlias = Annotated[
    Path,
    typer.Option(parser=path, metavar="PATH", help="Folder or zip of the data set, or of class folders."),
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option(parser=whole_number(1), metavar="N", help="At most so many images per split.")
]
Epochs: TypeAlias = Annotated[
    int | None, typer.Option(parser=whole_number(1), metavar="N", help="Not as many as the recipe has.")
]
Runs: TypeAlias = Annotated[Path, typer.Option(parser=path, metavar="DIR", help="For unfinished runs.")]
