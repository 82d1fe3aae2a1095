"""The images that a network takes for another class, the surest mistakes first: a list, and a sheet to look at.

They are people's own photos. So they lie beside the runs, and never in a version, which is served and passed on.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.datasets.dataset import Split, printable
from training.evaluation.scores import Evaluation

LISTING, SHEET = "mistakes.csv", "mistakes.png"
SHOWN = 20  # on the sheet; the list has all


class Mistake(NamedTuple):
    """One image: its position in the split, its file, true and predicted label, and how probable the latter seemed."""

    position: int
    file: str
    true: str
    predicted: str
    probability: float


def mistakes_of(split: Split, answers: Evaluation, labels: Sequence[str], temperature: float = 1.0) -> list[Mistake]:
    """All mistakes on a split whose files are known, the highest probability first, equal ones by file.

    The probabilities are those at `temperature`, where `answers` are those of a network that was not calibrated.
    """
    if split.files is None:
        return []
    answers = answers.at_temperature(temperature)
    predicted = answers.predicted
    found = [
        Mistake(
            int(i),
            printable(split.files[i]),
            labels[answers.labels[i]],
            labels[predicted[i]],
            round(float(answers.probabilities[i, predicted[i]]), 4),
        )
        for i in np.flatnonzero(predicted != answers.labels)
    ]
    return sorted(found, key=lambda mistake: (-mistake.probability, mistake.file))


def write_mistakes(mistakes: Sequence[Mistake], split: Split, to: Path, title: str) -> None:
    """Write the list of all and the sheet of the first `SHOWN` into a folder."""
    from training.reports.plots import draw_sheet  # here: Matplotlib takes a second

    to.mkdir(parents=True, exist_ok=True)
    with (to / LISTING).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Mistake._fields[1:])
        writer.writerows(mistake[1:] for mistake in mistakes)
    shown = mistakes[:SHOWN]
    captions = [f"{m.file}\n{m.true}, taken for {m.predicted}: {m.probability:.2f}" for m in shown]
    draw_sheet(split.pixels[np.array([m.position for m in shown])], captions, to / SHEET, title)
