"""What `python -m training` can do: one module for each command.

None of them imports TensorFlow, which takes seconds, before it has to: listing, `--help` and complaints about data
come at once.
"""

from __future__ import annotations

import argparse
from typing import Protocol

from training.commands import (
    evaluate,
    fetch,
    fit,
    images_per_class,
    list_recipes,
    pipeline,
    preview,
    recheck,
    report,
    speed,
)


class Command(Protocol):
    """A module with these names; its docstring is what `--help` says."""

    HELP: str  # in the list of commands
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, options: argparse.Namespace, /) -> int:
        """Returns the process's exit code. Raises SightlineError."""


COMMANDS: dict[str, Command] = {
    "list": list_recipes,
    "fetch": fetch,
    "preview": preview,
    "fit": fit,
    "evaluate": evaluate,
    "recheck": recheck,
    "images-per-class": images_per_class,
    "speed": speed,
    "report": report,
    "pipeline": pipeline,
}
