"""Cross-validation: K networks, each validated on another K-th of the training and validation images.

The test images stay aside: every network is tested on the same ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from classifier import provenance
from classifier.card import DatasetRecord, Metrics, Precision
from training.datasets.dataset import Dataset, DatasetError, Split
from training.fitting.run import Epoch, best_epoch, write_history
from training.json_records import Part, write_record
from training.recipes.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from training.fitting.fit import FitOptions

FOLDS = "folds.json"


class FoldRecord(Part):
    """One of the K networks: `metrics` on its own validation images and on the common test images."""

    images: dict[str, int]
    metrics: dict[str, Metrics]
    best_epoch: int
    epochs_run: int
    seconds: float


class Spread(Part):
    """Mean and sample standard deviation (K - 1 in the denominator)."""

    mean: float
    deviation: float


class FoldsRecord(Part):
    """`folds.json`: what came of all K. `dataset` is the one they were dealt from; `accuracy` is by split."""

    recipe: str
    seed: int
    epochs_planned: int
    precision: Precision
    dataset: DatasetRecord
    folds: tuple[FoldRecord, ...]
    accuracy: dict[str, Spread]
    libraries: dict[str, str]
    commit: str
    machine: str
    finished: str

    @classmethod
    def of(cls, recipe: Recipe, dataset: Dataset, options: FitOptions, folds: Sequence[FoldRecord]) -> FoldsRecord:
        from training import export
        from training.fitting.fit import chosen_precision

        here = provenance.of_this_run(export.LIBRARIES)
        return cls(
            recipe=recipe.name,
            seed=options.seed,
            epochs_planned=recipe.epochs,
            precision=chosen_precision(options.precision, recipe),
            dataset=export.dataset_record(dataset),
            folds=tuple(folds),
            accuracy={split: _spread([fold.metrics[split].accuracy for fold in folds]) for split in folds[0].metrics},
            libraries=here.libraries,
            commit=here.commit,
            machine=here.machine,
            finished=here.date,
        )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean=round(statistics.mean(values), 6), deviation=round(statistics.stdev(values), 6))


def held_out_indices(labels: npt.NDArray[np.int64], count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """The validation images of each fold, ascending: each image in one fold, each class dealt out evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return [np.sort(by_class[fold::count]) for fold in range(count)]


def fold_datasets(dataset: Dataset, count: int, seed: int) -> Iterator[Dataset]:
    """The data set of each fold, made when it is asked for. Raises DatasetError where a class has too few images."""
    parts = [dataset.splits["train"], dataset.splits["validation"]]
    pixels, labels = np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts])
    for label, images in zip(dataset.labels, np.bincount(labels), strict=True):
        if images < count:
            raise DatasetError(
                f"{dataset.name}: {label} has {images} images besides the test's, {count} folds need {count}"
            )
    others = {name: split for name, split in dataset.splits.items() if name not in ("train", "validation")}
    for held in held_out_indices(labels, count, seed):
        kept = np.setdiff1d(np.arange(len(labels)), held)
        splits = {
            name: Split(pixels[chosen], labels[chosen]) for name, chosen in (("train", kept), ("validation", held))
        }
        yield replace(dataset, splits=splits | others)


def fold_folder(run_folder: Path, number: int, count: int) -> Path:
    """Where the run of one fold, counted from 1, is kept until all are done."""
    return run_folder.with_name(f"{run_folder.name}.fold-{number}-of-{count}")


def fit_folds(
    recipe: Recipe, dataset: Dataset, options: FitOptions, count: int
) -> Iterator[tuple[FoldRecord, list[Epoch]]]:
    """Fit and evaluate one network after the other, each from the same seed; resumable as `fit` is."""
    import keras

    from training.evaluation.scores import evaluate
    from training.export import keras_function
    from training.fitting.fit import fit

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


def write_folds(record: FoldsRecord, histories: Sequence[Sequence[Epoch]], to: Path) -> Path:
    """Write `folds.json`, and the histories beside it as `fold-1.csv` and so on; returns the former's path."""
    to.mkdir(parents=True, exist_ok=True)
    for number, history in enumerate(histories, start=1):
        write_history(history, to / f"fold-{number}.csv")
    write_record(record, to / FOLDS)
    return to / FOLDS


def read_folds(path: Path) -> FoldsRecord:
    """Read a `folds.json`. Raises RecipeError."""
    try:
        return FoldsRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RecipeError(f"{path}: not a record of folds that this version of Sightline reads: {error}") from error
