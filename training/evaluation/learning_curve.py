"""Accuracy against the number of training images: which recipe to take for how many images of each class.

Every point is a fit on so many training images of each class, and at most as many validation images: who has few has
few of both; the test images are always all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier import provenance
from training.datasets.dataset import Dataset
from training.errors import DatasetError
from training.evaluation.points import Point
from training.evaluation.scores import evaluate
from training.fitting.options import FitOptions, chosen_precision
from training.fitting.run import best_epoch
from training.recipes.recipe import Recipe

COUNTS = (10, 30, 100, 300, 1000)
LEAST_STEPS = 16  # of an epoch: one pass over 20 images is a single batch, and would end before anything is learned

Indices = npt.NDArray[np.int64]


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
    """Indices of `count` images of each class, ascending; those for a smaller count are among those for a larger."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(shuffled[_first(labels[shuffled], count)])


def _first(labels: Indices, count: int) -> Indices:
    """Indices of the first `count` images of each class, ascending."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def with_enough_steps(recipe: Recipe, images: int) -> Recipe:
    """The recipe with epochs of one pass over so many training images, and of `LEAST_STEPS` batches at least."""
    return replace(recipe, steps_per_epoch=max(LEAST_STEPS, -(-images // recipe.batch_size)))


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

        picked = {name: drawn(self.dataset.splits[name].labels, count, seed) for name in ("train", "validation")}
        options = replace(self.options, seed=seed, run_folder=self.run_folder(count, seed))
        recipe = with_enough_steps(self.recipe, len(picked["train"]))
        if recipe.backbone is not None and recipe.fine_tuning is None:
            return self._of_features(recipe, picked, options, count)
        reduced = {name: self.dataset.splits[name].take(at) for name, at in picked.items()}
        fitted = fit(recipe, replace(self.dataset, splits={**self.dataset.splits, **reduced}), options)
        return self._measured(fitted.network, fitted.history, self.dataset.splits, picked, options, count)

    def run_folder(self, count: int, seed: int) -> Path:
        """Where the fit of one point is kept until it is recorded."""
        return self.options.run_folder.with_name(f"{self.options.run_folder.name}.{count}-images.seed-{seed}")

    def _of_features(self, recipe: Recipe, picked: dict[str, Indices], options: FitOptions, count: int) -> Point:
        """The features are those of the whole pool, computed once for all points."""
        from training.backbones.features import cached_features
        from training.fitting.fit import fit_head
        from training.fitting.networks import inference_head

        assert recipe.backbone is not None  # noqa: S101  (`point` asked)
        names = ("train", "validation", "test")
        seen = cached_features(recipe.backbone, recipe.input.shape, self.dataset, options.feature_folder, names)
        chosen = {**seen.splits, **{name: seen.splits[name].take(at) for name, at in picked.items()}}
        head, history = fit_head(recipe, self.dataset, replace(seen, splits=chosen), options)
        return self._measured(inference_head(head), history, seen.splits, picked, options, count)

    def _measured(
        self,
        network: Any,
        history: Any,
        splits: Any,
        picked: dict[str, Indices],
        options: FitOptions,
        count: int,
    ) -> Point:

        from training.fitting.networks import keras_function

        run = keras_function(network)
        validation = splits["validation"].take(picked["validation"])
        here = provenance.of_this_run()
        return Point(
            recipe=self.recipe.name,
            images=count,
            seed=options.seed,
            train_images=len(picked["train"]),
            validation_images=len(picked["validation"]),
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
