"""The training room's door: `python -m training COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from classifier.errors import SightlineError
from training.commands import COMMANDS


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; a fit continues from its last epoch with --resume", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m training", description="Train image classifiers.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        arguments = commands.add_parser(name, help=command.HELP, description=command.__doc__)
        command.add_arguments(arguments)
        arguments.set_defaults(run=command.run)
    return root


if __name__ == "__main__":
    sys.exit(main())
