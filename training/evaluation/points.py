"""`images-per-class.csv`: a row for each accuracy measured with so many training images of each class."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_type_hints

from training.recipes.recipe import RecipeError
from training.saving import replace_bytes, saving

POINTS = "images-per-class.csv"


class Point(NamedTuple):
    """One row: a recipe fitted on `images` of each class. Accuracies are of the kept epoch, 0..1."""

    recipe: str
    images: int
    seed: int
    train_images: int
    validation_images: int
    test_images: int
    validation_accuracy: float
    test_accuracy: float
    epochs_run: int
    epochs_planned: int
    best_epoch: int
    seconds: float
    precision: str
    fingerprint: str
    machine: str
    commit: str
    finished: str

    @property
    def key(self) -> tuple[str, int, int]:
        return self.recipe, self.images, self.seed


def read_points(path: Path) -> list[Point]:
    """The rows of a file of points; none where there is no such file. Raises RecipeError."""
    if not path.is_file():
        return []
    kinds = get_type_hints(Point)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [Point(**{name: kind(row[name]) for name, kind in kinds.items()}) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise RecipeError(f"{path}: not the points that `learning-curve` writes: {error}") from error


def write_points(points: Sequence[Point], path: Path) -> None:
    """Write the rows by recipe as they came, count and seed, replacing the file in one step. Raises NotSaved."""
    recipes = list(dict.fromkeys(point.recipe for point in points))
    rows = sorted(points, key=lambda point: (recipes.index(point.recipe), *point.key[1:]))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows(rows)
    with saving("the points", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, text.getvalue().encode())
