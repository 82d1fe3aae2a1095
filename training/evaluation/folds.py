"""`folds.json`: what came of the K networks of a cross-validation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from classifier import provenance
from classifier.card import DatasetRecord, Metrics, Precision
from training.datasets.dataset import Dataset
from training.evaluation.json_records import Part, write_record
from training.fitting.fitted import LIBRARIES
from training.fitting.options import FitOptions, chosen_precision
from training.fitting.run import Epoch, write_history
from training.recipes.recipe import Recipe, RecipeError

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
        here = provenance.of_this_run(LIBRARIES)
        return cls(
            recipe=recipe.name,
            seed=options.seed,
            epochs_planned=recipe.epochs,
            precision=chosen_precision(options.precision, recipe),
            dataset=dataset.record,
            folds=tuple(folds),
            accuracy={split: _spread([fold.metrics[split].accuracy for fold in folds]) for split in folds[0].metrics},
            libraries=here.libraries,
            commit=here.commit,
            machine=here.machine,
            finished=here.date,
        )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean=round(statistics.mean(values), 6), deviation=round(statistics.stdev(values), 6))


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
