"""The training room's own commands: `python -m training COMMAND`, as `sightline COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from classifier.commands import TRAINING
from classifier.commands.cli import run

COMMANDS = {"list": TRAINING["recipes"]} | TRAINING  # of recipes here, where `sightline list` lists models


def main(arguments: Sequence[str] | None = None) -> int:
    return run("python -m training", "Train image classifiers.", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
