"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def add_recipe_and_data(parser: argparse.ArgumentParser) -> None:
    """RECIPE, `--data` and `--limit`, as `load_dataset` takes them."""
    parser.add_argument("recipe", metavar="RECIPE", help="see `python -m training list`")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data set's folder or zip, or any folder of class sub-folders"
    )
    parser.add_argument("--limit", type=positive, help="at most so many images per split, for a quick look")


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    return _at_least(1, text)


def two_or_more(text: str) -> int:
    """A whole number from 2, for argparse."""
    return _at_least(2, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text}")
    return int(text)
