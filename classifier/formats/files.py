"""Image files by the endings of their names, before anything is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (*(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"), *(".avif", ".heic", ".heif"))


def is_image_file(name: str) -> bool:
    """Whether a file's name, without its folder, has an image's suffix and is not hidden."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def images_below(folder: Path) -> Iterator[Path]:
    """The image files at any depth below a folder by their names; a folder's own come before those in its folders."""
    for name in image_names_below(folder):
        yield folder / name


def image_names_below(folder: Path) -> Iterator[str]:
    """The same as paths relative to the folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = Path(parent).relative_to(folder)
        before = f"{inner}/" if inner.parts else ""  # docs/tuning.md#paths-of-bulk-scoring
        for name in sorted(filter(is_image_file, files)):
            yield before + name
