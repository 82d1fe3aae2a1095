"""Accuracy against the number of training images: which recipe to take for how many images of each class.

Every point is a fit on so many training images of each class, and at most as many validation images, because who has
few has few of both; the test images are always all. `images-per-class.csv` has a row for each point.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt

from classifier import provenance
from training.datasets.dataset import Dataset, DatasetError
from training.recipes.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from training.fitting.fit import FitOptions

COUNTS = (10, 30, 100, 300, 1000)
POINTS = "images-per-class.csv"
LEAST_STEPS = 16  # of an epoch: one pass over 20 images is a single batch, and would end before anything is learned

Indices = npt.NDArray[np.int64]


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
        raise RecipeError(f"{path}: not the points that `images-per-class` writes: {error}") from error


def write_points(points: Sequence[Point], path: Path) -> None:
    """Write the rows by recipe as they came, count and seed, replacing the file in one step."""
    recipes = list(dict.fromkeys(point.recipe for point in points))
    rows = sorted(points, key=lambda point: (recipes.index(point.recipe), *point.key[1:]))
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    with half.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Point._fields)
        writer.writerows(rows)
    half.replace(path)


def pool(dataset: Dataset, most: int) -> Dataset:
    """At most `most` training and validation images of each class, the first there are; all test images.

    Raises DatasetError where a class has fewer training images, or there is no test split.
    """
    if "test" not in dataset.splits:
        raise DatasetError(f"{dataset.name} has no test images to measure on")
    fewest = int(np.bincount(dataset.splits["train"].labels).min())
    if fewest < most:
        raise DatasetError(f"{dataset.name}: a class has {fewest} training images only, {most} were asked for")
    first = {name: _first(dataset.splits[name].labels, most) for name in ("train", "validation")}
    return replace(dataset, splits={**dataset.splits, **{n: dataset.splits[n].take(at) for n, at in first.items()}})


def drawn(labels: Indices, count: int, seed: int) -> Indices:
    """Places of `count` images of each class, ascending; those for a smaller count are among those for a larger."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(shuffled[_first(labels[shuffled], count)])


def _first(labels: Indices, count: int) -> Indices:
    """Places of the first `count` images of each class, ascending."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


@dataclass(frozen=True)
class Measurement:
    """What to measure: one recipe on one data set, already reduced to its `pool`."""

    recipe: Recipe
    dataset: Dataset
    options: FitOptions  # its seed is each point's own

    def points(self, counts: Sequence[int], seeds: Sequence[int], known: Sequence[Point]) -> Iterator[Point]:
        """Fit one point after the other, those with few images first, and leave out those that are known."""
        import keras

        done = {point.key for point in known}
        for count in sorted(counts):
            for seed in seeds:
                if (self.recipe.name, count, seed) not in done:
                    keras.backend.clear_session()  # or each network would stay in memory
                    yield self.point(count, seed)

    def point(self, count: int, seed: int) -> Point:
        """Fit and test one."""
        from training.fitting.fit import fit

        places = {name: drawn(self.dataset.splits[name].labels, count, seed) for name in ("train", "validation")}
        options = replace(self.options, seed=seed, run_folder=self.run_folder(count, seed))
        recipe = self._with_enough_steps(len(places["train"]))
        if recipe.backbone is not None and recipe.fine_tuning is None:
            return self._of_features(recipe, places, options, count)
        reduced = {name: self.dataset.splits[name].take(at) for name, at in places.items()}
        fitted = fit(recipe, replace(self.dataset, splits={**self.dataset.splits, **reduced}), options)
        return self._measured(fitted.network, fitted.history, self.dataset.splits, places, options, count)

    def run_folder(self, count: int, seed: int) -> Path:
        """Where the fit of one point is kept until it is recorded."""
        return self.options.run_folder.with_name(f"{self.options.run_folder.name}.{count}-images.seed-{seed}")

    def _with_enough_steps(self, images: int) -> Recipe:
        steps = max(LEAST_STEPS, -(-images // self.recipe.batch_size))
        return replace(self.recipe, steps_per_epoch=steps)

    def _of_features(self, recipe: Recipe, places: dict[str, Indices], options: FitOptions, count: int) -> Point:
        """The features are those of the whole pool, computed once for all points."""
        from training.backbones.features import cached_features
        from training.fitting.fit import fit_head
        from training.fitting.networks import inference_head

        assert recipe.backbone is not None  # noqa: S101  (`point` asked)
        names = ("train", "validation", "test")
        seen = cached_features(recipe.backbone, recipe.input.shape, self.dataset, options.feature_folder, names)
        chosen = {**seen.splits, **{name: seen.splits[name].take(at) for name, at in places.items()}}
        head, history = fit_head(recipe, self.dataset, replace(seen, splits=chosen), options)
        return self._measured(inference_head(head), history, seen.splits, places, options, count)

    def _measured(
        self, network: Any, history: Any, splits: Any, places: dict[str, Indices], options: FitOptions, count: int
    ) -> Point:
        from training import export
        from training.evaluation.scores import evaluate
        from training.fitting.fit import chosen_precision
        from training.fitting.run import best_epoch

        run = export.keras_function(network)
        validation = splits["validation"].take(places["validation"])
        here = provenance.of_this_run()
        return Point(
            recipe=self.recipe.name,
            images=count,
            seed=options.seed,
            train_images=len(places["train"]),
            validation_images=len(places["validation"]),
            test_images=len(splits["test"]),
            validation_accuracy=round(evaluate(run, validation).accuracy, 6),
            test_accuracy=round(evaluate(run, splits["test"]).accuracy, 6),
            epochs_run=len(history),
            epochs_planned=self.recipe.epochs,
            best_epoch=best_epoch(history).epoch,
            seconds=round(sum(row.seconds for row in history), 1),
            precision=chosen_precision(options.precision, self.recipe),
            fingerprint=self.dataset.fingerprint,
            machine=here.machine,
            commit=here.commit,
            finished=here.date,
        )
