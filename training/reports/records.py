"""The records of runs that `fit --record` keeps: cards, histories and pictures, without weights.

`ROOT/RECIPE/seed-N/` is one run, `ROOT/RECIPE/folds-K-seed-N/` one cross-validation, `ROOT/RECIPE/pipeline.json` how
fast images go through. `ROOT/RECIPE/notes.md`, where a person has written one, says what the figures do not.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from classifier.card import Card, read_card
from classifier.store import HISTORY
from training.evaluation.folds import FOLDS, FoldsRecord, read_folds
from training.evaluation.rates import RATES, RatesRecord, read_rates
from training.fitting.run import Epoch, most_accurate_epoch, read_history
from training.recipes import RECIPES
from training.recipes.recipe import Recipe, RecipeError

_SEED = re.compile(r"seed-(\d+)")
_FOLDS = re.compile(r"folds-(\d+)-seed-(\d+)")


@dataclass(frozen=True)
class RunRecord:
    """One run: what its card says and how it went."""

    folder: Path
    card: Card
    history: list[Epoch]

    @property
    def seed(self) -> int:
        return self.card.training.seed

    @property
    def kept(self) -> Epoch:
        return next(row for row in self.history if row.epoch == self.card.training.best_epoch)

    @property
    def most_accurate(self) -> Epoch:
        return most_accurate_epoch(self.history)

    @property
    def seconds(self) -> float:
        """Wall-clock time to train: the epochs, and before them a pretrained network's features."""
        training = self.card.training
        return training.seconds + (training.backbone.seconds if training.backbone else 0.0)

    @property
    def is_short(self) -> bool:
        """Whether it ended before the recipe's last epoch."""
        return self.card.training.epochs_run < self.card.training.epochs_planned


@dataclass(frozen=True)
class RecipeRecords:
    """All that was recorded of one recipe, by seed."""

    recipe: Recipe
    runs: list[RunRecord]
    folds: list[tuple[Path, FoldsRecord]]
    notes: str
    rates: RatesRecord | None

    def accuracies(self, split: str) -> list[float]:
        """Of the kept epochs, one for each run that has the split."""
        return [run.card.metrics[split].accuracy for run in self.runs if split in run.card.metrics]

    @property
    def difference(self) -> float | None:
        """The mean less the article's figure, on the article's split; None where there is not one of both."""
        said = self.recipe.article
        if said.accuracy is None or said.split is None or not self.accuracies(said.split):
            return None
        return round(statistics.mean(self.accuracies(said.split)) - said.accuracy, 6)  # 0.799 is not 0.03 off 0.829

    @property
    def best_on_validation(self) -> RunRecord:
        """The run to ship: the highest validation accuracy of a kept epoch, the earliest seed of equals."""
        return max(self.runs, key=lambda run: run.card.metrics["validation"].accuracy)


def read_records(root: Path) -> list[RecipeRecords]:
    """Every recipe's records, in the order of `RECIPES`; recipes without any are there, empty.

    Raises RecipeError or BrokenModel where something below `root` is not a record, or not that of its place.
    """
    if not root.is_dir():
        raise RecipeError(f"{root}: no such folder; `fit RECIPE --record {root}` makes records")
    if strange := sorted(p.name for p in root.iterdir() if p.is_dir() and p.name not in RECIPES):
        raise RecipeError(f"{root}: {', '.join(strange)} is no recipe; there is: {', '.join(RECIPES)}")
    return [_records_of(recipe, root / recipe.name) for recipe in RECIPES.values()]


def _records_of(recipe: Recipe, home: Path) -> RecipeRecords:
    folders = sorted(p for p in home.iterdir() if p.is_dir()) if home.is_dir() else []
    if strange := [p.name for p in folders if not _SEED.fullmatch(p.name) and not _FOLDS.fullmatch(p.name)]:
        raise RecipeError(f"{home}: expected folders seed-N and folds-K-seed-N, found {', '.join(strange)}")
    notes = home / "notes.md"
    return RecipeRecords(
        recipe,
        sorted(_runs(recipe, folders), key=lambda run: run.seed),
        sorted(_cross_validations(recipe, folders), key=lambda found: (found[1].seed, len(found[1].folds))),
        notes.read_text(encoding="utf-8").strip() if notes.is_file() else "",
        _rates(recipe, home),
    )


def _rates(recipe: Recipe, home: Path) -> RatesRecord | None:
    record = read_rates(home / RATES)
    if record:
        _check_folder(home / RATES, record.recipe, recipe.name)
        _check_data(home / RATES, record.dataset, recipe)
    return record


def _runs(recipe: Recipe, folders: list[Path]) -> Iterator[RunRecord]:
    for folder in folders:
        if match := _SEED.fullmatch(folder.name):
            card, history = read_card(folder / "card.json"), folder / HISTORY
            _check_folder(folder, (card.recipe, card.training.seed), (recipe.name, int(match[1])))
            _check_data(folder, card.training.dataset.name, recipe)
            stated = card.files.get(HISTORY)
            if not history.is_file() or not stated or _sha256(history) != stated.sha256:
                raise RecipeError(f"{history}: is not the history that the card beside it names; record the run again")
            yield RunRecord(folder, card, read_history(history))


def _cross_validations(recipe: Recipe, folders: list[Path]) -> Iterator[tuple[Path, FoldsRecord]]:
    for folder in folders:
        if match := _FOLDS.fullmatch(folder.name):
            record = read_folds(folder / FOLDS)
            found = (record.recipe, len(record.folds), record.seed)
            _check_folder(folder, found, (recipe.name, int(match[1]), int(match[2])))
            _check_data(folder, record.dataset.name, recipe)
            yield folder, record


def _check_folder(folder: Path, found: object, expected: object) -> None:
    if found != expected:
        raise RecipeError(f"{folder}: holds the record of {found}, expected {expected}; was it copied here?")


def _check_data(folder: Path, name: str, recipe: Recipe) -> None:
    if name != recipe.reader.name:
        raise RecipeError(f"{folder}: was fitted on {name}; only runs on {recipe.reader.name} compare with the article")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
