"""Class folders' names as labels: one spelling, one order, and a warning for names that look like one class."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from training.errors import DatasetError


def label_of(folder: str) -> str:
    """The folder's name in Unicode's composed form: macOS writes `é` as two characters, others as one.

    Raises DatasetError for a name that is not UTF-8.
    """
    if any("\ud800" <= character <= "\udfff" for character in folder):
        shown = folder.encode("utf-8", "surrogateescape")
        raise DatasetError(f"the name of the class folder {shown!r} is not UTF-8; rename the folder")
    return unicodedata.normalize("NFC", folder)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Column order: `class2` before `class10`, capitals aside; names that tie in this stand by their characters."""
    return tuple(sorted(set(labels), key=lambda label: (_natural(label), label)))


def lookalikes(labels: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each group of labels that differ in capitals, spaces, width or leading zeros alone."""
    groups: dict[object, list[str]] = defaultdict(list)
    for label in in_order(labels):
        folded = unicodedata.normalize("NFKC", label).casefold()
        groups[tuple(_natural(re.sub(r"[\s_-]+", "", folded)))].append(label)
    return tuple(
        f"{' and '.join(repr(label) for label in group)} are taken as {len(group)} classes; "
        "if they are one, put their images into one folder"
        for group in groups.values()
        if len(group) > 1
    )


def _natural(label: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", label.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
