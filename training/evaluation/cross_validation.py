"""Cross-validation: K networks, each validated on another K-th of the training and validation images.

The test images stay aside: every network is tested on the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.datasets.content import content_hashes
from training.datasets.dataset import Dataset, Split
from training.datasets.near_copies import find_pairs, grey_pictures, groups
from training.datasets.pixel_block import joined
from training.errors import DatasetError
from training.evaluation.folds import FoldRecord
from training.evaluation.scores import evaluate
from training.fitting.options import FitOptions
from training.fitting.run import Epoch
from training.progress import Counted, Progress, silent
from training.recipes.recipe import Recipe

Indices = npt.NDArray[np.int64]


def held_out_indices(labels: Indices, count: int, seed: int, alike: Sequence[Sequence[int]] = ()) -> list[Indices]:
    """The validation images of each fold, ascending: each image in one fold, each class dealt out evenly.

    Images that are `alike` share a fold, unless they are more than half of a class, or it has fewer groups than folds.
    """
    together = {i: group for group in _kept_whole(alike, labels, count) for i in group}
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    fold_of = np.full(len(labels), -1)
    dealt = np.zeros((count, int(labels.max()) + 1), np.int64)
    for i in shuffled[np.argsort(labels[shuffled], kind="stable")].tolist():
        if fold_of[i] < 0:
            fold = np.lexsort((dealt.sum(axis=1), dealt[:, labels[i]]))[0]  # with fewest of the class, then of all
            members = [*together.get(i, (i,))]
            fold_of[members] = fold
            np.add.at(dealt[fold], labels[members], 1)
    return [np.flatnonzero(fold_of == fold) for fold in range(count)]


def _kept_whole(alike: Sequence[Sequence[int]], labels: Indices, count: int) -> list[Sequence[int]]:
    sizes = np.bincount(labels)
    whole = [group for group in alike if 2 * len(group) <= sizes[labels[group]].min()]
    groups_of_class = sizes.copy()
    for group in whole:
        classes, members = np.unique(labels[group], return_counts=True)
        groups_of_class[classes] -= members - 1
    return [group for group in whole if groups_of_class[labels[group]].min() >= count]


def fold_datasets(dataset: Dataset, count: int, seed: int, progress: Progress = silent) -> Iterator[Dataset]:
    """The data set of each fold, made when it is asked for. Raises DatasetError where a class has too few images."""
    parts = [dataset.splits["train"], dataset.splits["validation"]]
    both = Split(joined([p.pixels for p in parts]), np.concatenate([p.labels for p in parts]))
    labels = both.labels
    for label, images in zip(dataset.labels, np.bincount(labels), strict=True):
        if images < count:
            raise DatasetError(
                f"{dataset.name}: {label} has {images} images besides the test's, {count} folds need {count}"
            )
    grey = grey_pictures(both.pixels, Counted(progress, "looking for near copies", len(both)))
    alike = groups(find_pairs(content_hashes(both.pixels), grey, progress).all, len(both))
    others = {name: split for name, split in dataset.splits.items() if name not in ("train", "validation")}
    for held in held_out_indices(labels, count, seed, alike):
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

    for number, fold in enumerate(fold_datasets(dataset, count, options.seed, options.progress), start=1):
        keras.backend.clear_session()  # or each network would stay in memory
        fitted = fit(recipe, fold, replace(options, run_folder=fold_folder(options.run_folder, number, count)))
        run = keras_function(fitted.network)
        held_out = [name for name in fold.splits if name != "train"]
        record = FoldRecord(
            images={name: len(split) for name, split in fold.splits.items()},
            metrics={name: evaluate(run, fold.splits[name]).metrics() for name in held_out},
            best_epoch=fitted.kept.epoch,
            epochs_run=len(fitted.history),
            seconds=round(sum(row.seconds for row in fitted.history), 1),
        )
        yield record, fitted.history
