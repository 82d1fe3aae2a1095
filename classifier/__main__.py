"""The classifier room's own commands: `python -m classifier COMMAND`, as `sightline COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from classifier.commands import CLASSIFIER
from classifier.commands.cli import run


def main(arguments: Sequence[str] | None = None) -> int:
    return run("python -m classifier", "Look at trained models and use them.", CLASSIFIER, arguments)


if __name__ == "__main__":
    sys.exit(main())
