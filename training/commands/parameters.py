"""Parameters that several commands share, and what fits have in common at the command line."""

from __future__ import annotations

import glob
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from classifier.commands.parameters import path, whole_number

FitPrecision: TypeAlias = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(metavar="NAME", help="auto, float32, bfloat16 or float16.", show_default=False),
]


def recipe_names(incomplete: str) -> list[str]:
    """The recipes whose name begins so, for the completion of shells."""
    from training.recipes import FOR_ANY_IMAGES, RECIPES

    return [name for name in RECIPES | FOR_ANY_IMAGES if name.startswith(incomplete)]


def check_tensorflow() -> None:
    """Raise ModuleNotFoundError, at once, where TensorFlow is not installed."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


@contextmanager
def resumable(run: Path | None = None) -> Iterator[None]:
    """Say how to go on with a fit that Ctrl-C stopped, or whose output nobody reads any more.

    `run` is the folder of the run, or how the folders of several begin; None before there is one.
    """
    with stopped(lambda: _how_to_go_on(run)):
        yield


@contextmanager
def stopped(then: Callable[[], str]) -> Iterator[None]:
    """End the command with what is true `then`, where Ctrl-C stops it or nobody reads its output any more."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; {then()}", file=sys.stderr)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        print(f"stopped, since nobody reads the output; {then()}", file=sys.stderr)
        raise typer.Exit(1) from None


def _how_to_go_on(run: Path | None) -> str:
    from training.fitting.run import HISTORY, read_history

    begin = glob.escape(run.name) if run else ""
    patterns = (f"{begin}/{HISTORY}", f"{begin}.*/{HISTORY}")  # the fit's own, and those of folds
    histories = [path for pattern in patterns for path in run.parent.glob(pattern)] if run else []
    if epochs := sum(len(read_history(path)) for path in histories):
        count = "one epoch is complete" if epochs == 1 else f"{epochs:,} epochs are complete"
        return f"{count}: the same command with --resume goes on from there"
    return "no epoch is complete: the same command begins anew"


RecipeName: TypeAlias = Annotated[
    str, typer.Argument(metavar="RECIPE", help="See `sightline recipes`.", autocompletion=recipe_names)
]
Data: TypeAlias = Annotated[
    Path,
    typer.Option(parser=path, metavar="PATH", help="Data set, or class folders."),
]
SplitName: TypeAlias = Annotated[
    Literal["train", "validation", "test"], typer.Option(metavar="NAME", help="train, validation or test.")
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option(parser=whole_number(1), metavar="N", help="At most so many images per split.")
]
Epochs: TypeAlias = Annotated[
    int | None, typer.Option(parser=whole_number(1), metavar="N", help="Not as many as the recipe has.")
]
Runs: TypeAlias = Annotated[Path, typer.Option(parser=path, metavar="DIR", help="For unfinished runs.")]

_SETTINGS = {  # by the name typed: the setting's, and its highest value
    "flip": ("horizontal_flip", 1.0),
    "rotate": ("rotation_degrees", 180.0),
    "shift": ("shift", 1.0),
    "shear": ("shear_degrees", 89.0),
    "zoom": ("zoom", 0.99),
    "contrast": ("contrast", 1.0),
    "cutout": ("cutout", 0.9),
}


class Augment(dict[str, float | bool]):
    """Settings of an augmentation, typed as NAME=VALUE with commas between."""


def augment(text: object) -> Augment:
    """Read `flip=0,rotate=10`. Raises BadParameter."""
    if isinstance(text, Augment):
        return text
    chosen = Augment()
    for part in str(text).split(","):
        name, _, value = part.strip().partition("=")
        setting, most = _SETTINGS.get(name, ("", 0.0))
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not setting or not 0 <= number <= most or (name == "flip" and number not in (0, 1)):
            known = ", ".join(f"{known}=0 to {highest:g}" for known, (_, highest) in _SETTINGS.items())
            raise typer.BadParameter(f"expected NAME=VALUE with commas between ({known}), got {part.strip()!r}")
        chosen[setting] = bool(number) if name == "flip" else number
    return chosen


AugmentOption: TypeAlias = Annotated[
    Augment | None,
    typer.Option("--augment", parser=augment, metavar="NAME=N,...", help="flip, rotate, shift, zoom, cutout and more."),
]
DropConflicts: TypeAlias = Annotated[
    bool, typer.Option("--drop-conflicts", help="Leave out images that lie under two labels.")
]
