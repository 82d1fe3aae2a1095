"""Fonts for the names in pictures: one that has their characters where the machine has one, else escapes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import matplotlib as mpl
from matplotlib import font_manager, ft2font

DEFAULT = "DejaVu Sans"  # comes with Matplotlib
_BOXES = "Last Resort"  # so does this one, which has a box for every character


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Within it, Matplotlib draws with fonts that have the characters of these texts, as far as there are any."""
    further = _families("".join(texts))
    with mpl.rc_context({"font.family": [DEFAULT, *further]} if further else {}):
        yield


def drawable(text: str) -> str:
    """The text as Matplotlib is to draw it: `$` is no formula, and what no font has is escaped, as `\\u732b`."""
    known = _characters(_path_of(DEFAULT)).union(*(_characters(_path_of(each)) for each in _families(text)))
    return "".join(each if ord(each) in known else _escaped(each) for each in text).replace("$", r"\$")


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 126 else " "


@lru_cache(maxsize=256)
def _families(text: str) -> tuple[str, ...]:
    """The fewest further fonts, one after the other that which has most of the characters missing so far."""
    missing = {ord(each) for each in text if not unicodedata.category(each).startswith("C")} - _characters(
        _path_of(DEFAULT)
    )
    chosen: list[str] = []
    while missing:
        family, found = max(
            ((name, missing & _characters(path)) for name, path in _installed()),
            key=lambda each: len(each[1]),
            default=("", set()),
        )
        if not found:
            break
        chosen.append(family)
        missing -= found
    return tuple(chosen)


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    """Families and files of the upright fonts of ordinary weight."""
    upright = {
        font.name: font.fname
        for font in sorted(font_manager.fontManager.ttflist, key=lambda font: font.fname)
        if font.style == "normal" and font.weight in ("normal", "regular", 400) and not font.name.startswith(_BOXES)
    }
    return tuple(upright.items())


def _path_of(family: str) -> str:
    return dict(_installed()).get(family) or font_manager.findfont(family)


@lru_cache(maxsize=512)
def _characters(path: str) -> frozenset[int]:
    try:
        return frozenset(ft2font.FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that FreeType cannot open
        return frozenset()
