"""A training run on disk: its history and weights after every epoch, from which it resumes after a kill."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.fitting.weights import SUFFIX, read_weights, write_weights
from training.recipes.recipe import RecipeError
from training.saving import replace_bytes, saving

RUN, HISTORY = "run.json", "history.csv"  # in a run's folder


class Epoch(NamedTuple):
    """One row of `history.csv`. Epochs count from 1; losses are mean cross-entropies in nats, accuracies 0..1."""

    epoch: int
    seconds: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


DECIMALS = 6  # of a figure in the file


def as_kept(row: Epoch) -> Epoch:
    """The row as the file has it, so that a run and a resumed one compare the same figures."""
    return Epoch(row.epoch, *(round(value, DECIMALS) for value in row[1:]))


def read_history(path: Path) -> list[Epoch]:
    """The rows of a `history.csv`; none when there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [Epoch(int(row["epoch"]), *(float(row[f]) for f in Epoch._fields[1:])) for row in csv.DictReader(file)]


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Write the rows, replacing the file in one step."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Epoch._fields)
    writer.writerows(as_kept(row) for row in history)
    replace_bytes(path, text.getvalue().encode())


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch with the lowest validation loss, the earliest of equals."""
    return min(history, key=lambda row: row.val_loss)


def kept_epoch(history: Sequence[Epoch], *, keeps_last: bool) -> Epoch:
    """The epoch whose weights become a version; see `Recipe`."""
    return history[-1] if keeps_last else best_epoch(history)


def last_epoch(history: Sequence[Epoch], after: int, until: int, patience: int | None) -> int:
    """The epoch that a stage ends with, whose epochs are `after` + 1 to `until`.

    That is the first one by which `patience` epochs of the stage in turn have not lowered its validation loss; `until`
    where there is none yet, or without patience. It follows from the history alone, so a resumed run ends there too.
    """
    if patience:
        for epoch in range(after + patience + 1, min(len(history), until) + 1):
            if epoch - best_epoch(history[after:epoch]).epoch >= patience:
                return epoch
    return until


def most_accurate_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch with the highest validation accuracy, reported beside the kept one."""
    return max(history, key=lambda row: row.val_accuracy)


class Run:
    """One folder: `run.json` (what is being fitted), `history.csv` and the weights of the last and the best epoch.

    Weights are written before the history row that names their epoch, and removed after it. So the folder can be left
    at any instant: at worst an epoch is repeated.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool,
        restart: bool = False,
        heard: Callable[[Epoch], None] | None = None,
        machine: str = "",
    ) -> None:
        """Begin, or go on with, what `settings` describe. Raises RecipeError where another run lies in the folder.

        With `restart` whatever run lies there is removed. `heard` is called with each epoch that is kept.
        `machine` is what the next epochs run on.
        """
        self.folder = folder
        self.machines: list[str] = []  # those that its epochs ran on, in order
        self._machine = machine
        self._heard = heard
        if restart and (folder / RUN).exists():
            shutil.rmtree(folder)
        self.history = read_history(folder / HISTORY)
        if self.history and not resume:
            raise RecipeError(
                f"{folder} holds a run with {len(self.history)} epochs; continue it with --resume, "
                "or begin anew with --restart"
            )
        self._accept(dict(settings))

    def _accept(self, settings: dict[str, Any]) -> None:
        if self.history:
            began = json.loads((self.folder / RUN).read_text())
            self.machines = began.get("machines", [])
            if changed := [change for name in settings if (change := _change(name, began, settings))]:
                raise RecipeError(
                    f"{self.folder} cannot be resumed: {', '.join(changed)}; "
                    "put that back, or begin anew with --restart"
                )
        with saving("the run", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._settings = settings
            self._write()

    def _write(self) -> None:
        settings = self._settings | ({"machines": self.machines} if self.machines else {})
        replace_bytes(self.folder / RUN, (json.dumps(settings, indent=2) + "\n").encode())

    @property
    def epochs(self) -> int:
        """How many epochs are complete."""
        return len(self.history)

    def weights(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04}{SUFFIX}"

    def record(self, row: Epoch, network: Any) -> None:
        """Keep an epoch: weights with the optimiser's state first, then the history. Raises NotSaved."""
        with saving(f"epoch {row.epoch}", self.folder):
            self._note_machine()
            write_weights(network, self.weights(row.epoch))
            self.history.append(as_kept(row))
            write_history(self.history, self.folder / HISTORY)
        kept = {self.weights(row.epoch), self.weights(best_epoch(self.history).epoch)}
        for path in set(self.folder.glob(f"epoch-*{SUFFIX}")) - kept:
            path.unlink()
        if self._heard:
            self._heard(row)

    def _note_machine(self) -> None:
        if self._machine and self._machine not in self.machines:
            self.machines.append(self._machine)
            self._write()

    def restore(self, network: Any, epoch: int) -> None:
        """Load the weights kept for an epoch, with the optimiser's state. Raises RecipeError."""
        read_weights(network, self.weights(epoch))


class FollowedRun(Run):
    """The history of a run whose folder another worker keeps."""

    def __init__(self, history: Sequence[Epoch]) -> None:
        self.history = list(history)
        self.machines = []

    def record(self, row: Epoch, network: Any) -> None:
        self.history.append(as_kept(row))

    def restore(self, network: Any, epoch: int) -> None:
        """Nothing: the chief hands its state out."""


def _change(name: str, began: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """What is another now, in words; None where it is the same. `images` are counted only to say what changed."""
    if name == "images" or began.get(name) == settings[name]:
        return None
    if name != "fingerprint":
        return f"{name} {began.get(name)!r} -> {settings[name]!r}"
    was, now = began.get("images", {}), settings.get("images", {})
    counts = [f"{label} has {now.get(label, 0):,} instead of {was.get(label, 0):,}" for label in was | now]
    other = [said for label, said in zip(was | now, counts, strict=True) if was.get(label) != now.get(label)]
    return f"the images changed since ({', '.join(other) if was and other else 'as many, but not the same'})"
