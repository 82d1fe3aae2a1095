"""The contact sheet of the images that only one version gets right.

They are people's own photos. So the sheet is written where a person asks for it, and never into a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.datasets.dataset import printable
from training.evaluation.comparison.compare import Compared, Disagreement

SHOWN_OF_EACH = 10  # images that one version alone gets right


def write_sheet(compared: Compared, path: Path) -> bool:
    """Draw up to ten images that only the one version gets right and as many of the other.

    The surest mistakes come first. Returns False, and writes nothing, where there are none.
    """
    from training.reports.plots import draw_sheet  # here: Matplotlib takes a second

    shown = shown_of(compared.disagreements)
    if not shown:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = compared.images.splits[0].pixels[np.array([each.position for each in shown])]
    first, second = compared.record.candidate, compared.record.baseline
    title = f"{first.title} and {second.title if second else ''}: images that only one gets right"
    draw_sheet(pixels, [caption(each) for each in shown], path, title)
    return True


def shown_of(disagreements: Sequence[Disagreement]) -> list[Disagreement]:
    """The first `SHOWN_OF_EACH` that the candidate alone gets right, then those of the baseline."""
    return [each for right in (0, 1) for each in [d for d in disagreements if d.right == right][:SHOWN_OF_EACH]]


def caption(each: Disagreement) -> str:
    """Two lines: the file, or the image's number where files have no names here; what each version says."""
    name = printable(each.file) if each.file else f"image {each.position + 1}"
    return f"{name}\n{each.true}; {each.other}: {each.wrong} {each.probability:.2f}"
