"""The pictures of a run: learning curves and confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from training.run import Epoch, best_epoch

mpl.use("Agg")
from matplotlib import pyplot as plt

_TRAINING, _VALIDATION, _KEPT = "#6b7280", "#2563eb", "#dc2626"


def draw_curves(history: Sequence[Epoch], path: Path, title: str) -> None:
    """Loss and accuracy over the epochs, training and validation, marking the kept epoch."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    kept = best_epoch(history)
    epochs = [row.epoch for row in history]
    for panel, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        panel.plot(epochs, [getattr(row, quantity) for row in history], color=_TRAINING, label="training")
        validation = [getattr(row, f"val_{quantity}") for row in history]
        panel.plot(epochs, validation, color=_VALIDATION, label="validation")
        panel.axvline(kept.epoch, color=_KEPT, linestyle=":", label=f"kept: epoch {kept.epoch}")
        panel.set(xlabel="epoch", title=quantity)
        panel.grid(alpha=0.25)
        panel.legend(frameon=False)
    figure.suptitle(title)
    _save(figure, path)


def draw_confusion(confusion: npt.NDArray[np.int64], labels: Sequence[str], path: Path, title: str) -> None:
    """True classes as rows, predicted ones as columns; shades are fractions of a row, numbers are images."""
    side = max(4.0, 0.42 * len(labels) + 2.0)
    figure, panel = plt.subplots(figsize=(side, side), layout="constrained")
    fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    panel.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if fractions[row, column] > 0.5 else "black"
            panel.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    panel.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="predicted", ylabel="true", title=title)
    panel.set_xticklabels(labels, rotation=90 if len(labels) > 2 else 0)
    panel.set_yticklabels(labels)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    # Without the metadata the same data gives the same bytes.
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
