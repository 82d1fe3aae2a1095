"""Where a fit will save its version: looked at before the first epoch, so that no training is lost to a name."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from classifier.card import NAME_PATTERN
from classifier.store import ModelStore
from training.datasets.dataset import Dataset
from training.recipes.recipe import Recipe, RecipeError
from training.saving import saving

REPORT = "reproduction.md"  # what `report` writes beside its records


def check_name(name: str) -> None:
    """Raise RecipeError where a model cannot be called so."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise RecipeError(f"{name!r} cannot name a model: lower-case letters, digits and hyphens, 64 at most")


def check_same_model(store: ModelStore, name: str, dataset: Dataset, *, named: bool, new_labels: bool) -> None:
    """Raise RecipeError where a version of this name would be another model than the versions before it.

    That is one with other labels, unless `new_labels`; and, unless it was `named` by a person, one of other photos
    whose folder's name comes to the same.
    """
    if name not in store.versions():
        return
    before = store.card(name)
    fitted_on = before.training.dataset.name
    if not named and fitted_on != dataset.name:
        raise RecipeError(
            f"{name} is a model already, fitted on {fitted_on!r} and not on {dataset.name!r}; "
            f"choose with --name: another one, or {name} for a new version of it"
        )
    if not new_labels and set(before.labels) != set(dataset.labels):
        raise RecipeError(
            f"{name} version {before.version} has the labels {', '.join(before.labels)}, these images have "
            f"{', '.join(dataset.labels)}; give them another --name, or say --new-labels"
        )


def check_record(record: Path | None, recipe: Recipe, dataset: Dataset) -> None:
    """Raise RecipeError where a run on other data than the article's would be among the records of the articles.

    These are the folder `runs` beside `reproduction.md`, from which `report` compares with the articles.
    """
    if record is None or recipe.is_of_the_article(dataset):
        return
    path = record.absolute()
    if any(each.name == "runs" and (each.parent / REPORT).is_file() for each in (path, *path.parents)):
        raise RecipeError(
            f"{record}: keeps runs of the articles on their own data, and {dataset.name} is other data; "
            "choose another place, as runs/records"
        )


def check_writable(folder: Path) -> None:
    """Make a folder, where there is none, that the end of a fit writes to. Raises RecipeError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RecipeError(f"{folder}: nothing can be kept there ({os.strerror(error.errno or 0)})") from error


@contextmanager
def claimed(models: Path, name: str) -> Iterator[None]:
    """Be the only fit of a model in a store, and remove what a killed one left there.

    Raises RecipeError where another fit of it runs, or where nothing can be saved.
    """
    try:
        models.mkdir(parents=True, exist_ok=True)
        lock = (models / f".fit-{name}.lock").open("w")
    except OSError as error:
        raise RecipeError(f"{models}: versions cannot be saved there ({error.strerror}); see --models") from error
    with lock:
        _lock(lock, f"another fit of {name} runs; wait for it, or choose another --name")
        for draft in models.glob(f".draft-{name}-*"):
            if re.fullmatch(r"[a-z0-9_]{8}", draft.name.removeprefix(f".draft-{name}-")):
                shutil.rmtree(draft, ignore_errors=True)
        yield


@contextmanager
def claimed_run(run: Path) -> Iterator[None]:
    """Be the only one that writes a run's folder, or folders whose names begin so; two fits would spoil each other's.

    Raises RecipeError where another one does, and NotSaved where nothing can be written there.
    """
    path = run.parent / f".{run.name}.lock"
    with saving("the run", run.parent):
        run.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    with lock:
        busy = f"another command uses {run}; wait for it, or choose another folder with --runs"
        _lock(lock, busy)
        if not os.fstat(lock.fileno()).st_nlink:
            raise RecipeError(busy)  # it ended just now, and its lock is gone with it
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(file: IO[str], busy: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it, however the process ends
    except BlockingIOError:
        raise RecipeError(busy) from None
