"""Cross-validation: K networks, each validated on another K-th of the training and validation images.

The test images stay aside: every network is tested on the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.datasets.dataset import Dataset, Split
from training.datasets.pixel_block import joined
from training.errors import DatasetError
from training.evaluation.folds import FoldRecord
from training.evaluation.scores import evaluate
from training.fitting.options import FitOptions
from training.fitting.run import Epoch, best_epoch
from training.recipes.recipe import Recipe


def held_out_indices(labels: npt.NDArray[np.int64], count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """The validation images of each fold, ascending: each image in one fold, each class dealt out evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return [np.sort(by_class[fold::count]) for fold in range(count)]


def fold_datasets(dataset: Dataset, count: int, seed: int) -> Iterator[Dataset]:
    """The data set of each fold, made when it is asked for. Raises DatasetError where a class has too few images."""
    parts = [dataset.splits["train"], dataset.splits["validation"]]
    both = Split(joined([p.pixels for p in parts]), np.concatenate([p.labels for p in parts]))
    labels = both.labels
    for label, images in zip(dataset.labels, np.bincount(labels), strict=True):
        if images < count:
            raise DatasetError(
                f"{dataset.name}: {label} has {images} images besides the test's, {count} folds need {count}"
            )
    others = {name: split for name, split in dataset.splits.items() if name not in ("train", "validation")}
    for held in held_out_indices(labels, count, seed):
        kept = np.setdiff1d(np.arange(len(labels)), held)
        splits = {name: both.take(chosen) for name, chosen in (("train", kept), ("validation", held))}
        yield replace(dataset, splits=splits | others)


def fold_folder(run_folder: Path, number: int, count: int) -> Path:
    """Where the run of one fold, counted from 1, is kept until all are done."""
    return run_folder.with_name(f"{run_folder.name}.fold-{number}-of-{count}")


def fit_folds(
    recipe: Recipe, dataset: Dataset, options: FitOptions, count: int
) -> Iterator[tuple[FoldRecord, list[Epoch]]]:
    """Fit and evaluate one network after the other, each from the same seed; resumable as `fit` is."""
    import keras

    from training.fitting.fit import fit
    from training.fitting.networks import keras_function

    for number, fold in enumerate(fold_datasets(dataset, count, options.seed), start=1):
        keras.backend.clear_session()  # or each network would stay in memory
        fitted = fit(recipe, fold, replace(options, run_folder=fold_folder(options.run_folder, number, count)))
        run = keras_function(fitted.network)
        held_out = [name for name in fold.splits if name != "train"]
        record = FoldRecord(
            images={name: len(split) for name, split in fold.splits.items()},
            metrics={name: evaluate(run, fold.splits[name]).metrics() for name in held_out},
            best_epoch=best_epoch(fitted.history).epoch,
            epochs_run=len(fitted.history),
            seconds=round(sum(row.seconds for row in fitted.history), 1),
        )
        yield record, fitted.history
