"""The pictures of a run and of an evaluation: learning curves, confusion matrix, reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from training.evaluation.points import Point
from training.evaluation.scores import CalibrationBin
from training.fitting.run import Epoch, most_accurate_epoch
from training.reports.fonts import drawable, fonts_for

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

SHEET_COLUMNS, CAPTION_LENGTH = 5, 40  # images in a row, characters that fit above one

_TRAINING, _VALIDATION, _KEPT = "#6b7280", "#2563eb", "#dc2626"


def draw_curves(history: Sequence[Epoch], kept: Epoch, path: Path, title: str) -> None:
    """Loss and accuracy over the epochs, training and validation, marking the kept and the most accurate epoch."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    top = most_accurate_epoch(history)
    epochs = [row.epoch for row in history]
    for panel, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        panel.plot(epochs, [getattr(row, quantity) for row in history], color=_TRAINING, label="training")
        validation = [getattr(row, f"val_{quantity}") for row in history]
        panel.plot(epochs, validation, color=_VALIDATION, label="validation")
        panel.axvline(kept.epoch, color=_KEPT, linestyle=":", label=f"kept: epoch {kept.epoch}")
        panel.set(xlabel="epoch", title=quantity)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.25)
    panels[1].plot(top.epoch, top.val_accuracy, "o", color=_KEPT, mfc="none", label=f"highest: epoch {top.epoch}")
    for panel in panels:
        panel.legend(frameon=False)
    figure.suptitle(title)
    _save(figure, path)


def draw_confusion(confusion: npt.NDArray[np.int64], labels: Sequence[str], path: Path, title: str) -> None:
    """True classes as rows, predicted ones as columns; shades are fractions of a row, numbers are images."""
    with fonts_for((title, *labels)):
        side = max(4.0, 0.42 * len(labels) + 2.0)
        figure, panel = plt.subplots(figsize=(side, side), layout="constrained")
        fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        panel.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                colour = "white" if fractions[row, column] > 0.5 else "black"
                panel.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
        panel.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="predicted", ylabel="true")
        panel.set_title(drawable(title))
        shown = [drawable(label) for label in labels]
        panel.set_xticklabels(shown, rotation=90 if len(labels) > 2 else 0)
        panel.set_yticklabels(shown)
        _save(figure, path)


def draw_reliability(
    bins: Sequence[CalibrationBin],
    error: float,
    path: Path,
    title: str,
    before: Sequence[CalibrationBin] | None = None,
) -> None:
    """How often answers of some confidence are right, beside the diagonal they should lie on; below, their share.

    `before` are the bins of the same answers without calibration.
    """
    with fonts_for((title,)):
        figure, (panel, shares) = plt.subplots(
            2, 1, figsize=(5, 6.5), height_ratios=(3, 1), sharex=True, layout="constrained"
        )
        middles = [(b.lower + b.upper) / 2 for b in bins]
        width = 0.9 / len(bins)
        filled = [(b.confidence, b.accuracy) for b in bins if b.images]
        panel.bar(middles, [b.accuracy or 0.0 for b in bins], width, color=_VALIDATION, alpha=0.3)
        panel.plot(
            *zip(*filled, strict=True),
            "o-",
            color=_VALIDATION,
            clip_on=False,
            label="mean confidence and accuracy of a bin",
        )
        if before and (was := [(b.confidence, b.accuracy) for b in before if b.images]):
            panel.plot(*zip(*was, strict=True), "x--", color=_KEPT, clip_on=False, label="before calibration")
        panel.plot((0, 1), (0, 1), color=_TRAINING, linestyle=":", label="neither too sure nor too modest")
        panel.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        panel.set_title(f"{drawable(title)}\nexpected calibration error {error:.4f}")
        panel.legend(frameon=False, loc="upper left")
        shares.bar(middles, [b.images / sum(b.images for b in bins) for b in bins], width, color=_TRAINING)
        shares.set(xlabel="probability of the answer", ylabel="part of images", ylim=(0, 1))
        for each in (panel, shares):
            each.grid(alpha=0.25)
        _save(figure, path)


def draw_images_per_class(points: Sequence[Point], models: Mapping[str, str], path: Path) -> None:
    """Test accuracy over the number of training images of each class: a panel for each model, a line for each recipe.

    `models` names the model of each recipe. A point is the mean over seeds, its bar from the lowest to the highest.
    """
    panel_models = list(dict.fromkeys(models[point.recipe] for point in points))
    figure, panels = plt.subplots(
        1,
        len(panel_models),
        figsize=(5.2 * len(panel_models), 4.4),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for panel, model in zip(panels[0], panel_models, strict=True):
        names = dict.fromkeys(point.recipe for point in points if models[point.recipe] == model)
        for name, colour in zip(names, (_TRAINING, _VALIDATION, _KEPT), strict=False):
            _draw_line(panel, [point for point in points if point.recipe == name], name, colour)
        counts = sorted({point.images for point in points if models[point.recipe] == model})
        panel.set(xscale="log", xlabel="training images of each class", title=model)
        panel.set_xticks(counts, [f"{count:,}" for count in counts])
        panel.minorticks_off()
        panel.grid(alpha=0.25)
        panel.legend(frameon=False, loc="lower right")
    panels[0][0].set(ylabel="test accuracy")
    _save(figure, path)


def draw_sheet(pixels: npt.NDArray[np.uint8], captions: Sequence[str], path: Path, title: str) -> None:
    """Images, uint8 [n, height, width, 1 or 3], in rows of five, each below a caption of two lines."""
    columns = min(SHEET_COLUMNS, len(pixels))
    rows = -(-len(pixels) // columns)
    with fonts_for((title, *captions)):
        figure, panels = plt.subplots(
            rows, columns, figsize=(2.6 * columns + 0.6, 3.0 * rows + 0.6), layout="constrained", squeeze=False
        )
        for panel in panels.flat:
            panel.axis("off")
        for panel, image, caption in zip(panels.flat, pixels, captions, strict=False):
            panel.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            lines = [_shortened(drawable(line)) for line in caption.split("\n")]
            panel.set_title("\n".join(lines), fontsize=7)
        figure.suptitle(drawable(title))
        _save(figure, path)


def _shortened(line: str) -> str:
    """The end of a line, where the names of files differ."""
    return line if len(line) <= CAPTION_LENGTH else f"…{line[-CAPTION_LENGTH:]}"


def _draw_line(panel: Any, points: Sequence[Point], name: str, colour: str) -> None:
    by_count = {count: [p.test_accuracy for p in points if p.images == count] for count in {p.images for p in points}}
    counts = sorted(by_count)
    means = [float(np.mean(by_count[count])) for count in counts]
    below = [middle - min(by_count[count]) for count, middle in zip(counts, means, strict=True)]
    above = [max(by_count[count]) - middle for count, middle in zip(counts, means, strict=True)]
    panel.errorbar(counts, means, yerr=(below, above), fmt="o-", color=colour, capsize=3, label=name)


def _save(figure: Any, path: Path) -> None:
    # Without the metadata the same data gives the same bytes.
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
