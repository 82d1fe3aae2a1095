"""What the network of `asl` is worth on hands that it has not seen: no group of like images on both sides.

Run:  python -m tests.training.evaluation.grouped_letters sign-mnist.zip [--least 0.9] [--folds 5] [--model asl@1]
Takes some minutes for each fold. It goes on where it was stopped.

All images are pooled. Those of one letter are joined into groups by how much they look alike (average linkage), and the
groups are dealt to folds. Each network is tested on one fold; the next one chooses its epoch; it is fitted on the rest.
With `--model` the figure is written into that version's card.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier import provenance
from classifier.card import GroupedAccuracy
from classifier.commands.parameters import reference
from classifier.store import ModelStore
from load_tests import record
from training.datasets.dataset import Dataset, Split
from training.fitting.options import FitOptions
from training.progress import ProgressLines
from training.recipes import RECIPES

RECORD = record.RESULTS / "asl-grouped.json"
RECIPE = RECIPES["asl-augmented"]
DRAWS = 10_000  # of groups, for the interval

Floats = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


def pooled(archive: Path) -> Split:
    """All images, whatever file they are in."""
    splits = RECIPE.reader.load(archive, RECIPE.input).splits.values()
    return Split(np.concatenate([s.pixels[:] for s in splits]), np.concatenate([s.labels for s in splits]))


def likeness(pixels: npt.NDArray[np.uint8]) -> Floats:
    """The correlation of each image with each, after a blur of one pixel: float32 [n, n]."""
    wide = np.pad(pixels[..., 0].astype(np.float32), ((0, 0), (1, 1), (1, 1)), "edge")
    rows = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    smooth = ((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4).reshape(len(pixels), -1)
    smooth -= smooth.mean(axis=1, keepdims=True)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    return np.asarray(smooth @ smooth.T)


def joined(alike: Floats, least: float) -> Indices:
    """A group for each image: the two that are most alike on average are joined, until that is below `least`."""
    sums, sizes, group = alike.astype(np.float64), np.ones(len(alike)), np.arange(len(alike))
    means = sums.copy()
    np.fill_diagonal(means, -np.inf)
    while True:
        one, other = np.unravel_index(means.argmax(), means.shape)
        if means[one, other] < least:
            return np.unique(group, return_inverse=True)[1].astype(np.int64)
        sums[one] += sums[other]
        sums[:, one] += sums[:, other]
        sizes[one] += sizes[other]
        group[group == group[other]] = group[one]
        gone = means[one] == -np.inf
        means[one] = means[:, one] = np.where(gone, -np.inf, sums[one] / (sizes[one] * sizes))
        means[other], means[:, other] = -np.inf, -np.inf


def groups_of(images: Split, least: float) -> Indices:
    """Groups of images, each of one letter: int64 [n]."""
    groups = np.empty(len(images), np.int64)
    count = 0
    for label in np.unique(images.labels):
        these = np.flatnonzero(images.labels == label)
        groups[these] = count + joined(likeness(images.pixels[these]), least)
        count = int(groups[these].max()) + 1
    return groups


def folds_of(groups: Indices, labels: Indices, folds: int) -> Indices:
    """A fold for each image: the largest group of a letter first, each into the fold with the fewest of the letter."""
    fold_of = np.empty(len(groups), np.int64)
    counts = np.zeros((folds, int(labels.max()) + 1), np.int64)
    found, sizes = np.unique(groups, return_counts=True)
    for group in found[np.argsort(-sizes, kind="stable")]:
        these = np.flatnonzero(groups == group)
        label = labels[these[0]]
        fold = np.lexsort((counts.sum(axis=1), counts[:, label]))[0]
        fold_of[these] = fold
        counts[fold, label] += len(these)
    return fold_of


def tested(images: Split, fold_of: Indices, number: int, folds: int, run: Path) -> tuple[Indices, dict[str, Any]]:
    """Which images of a fold are answered rightly, and how it was fitted."""
    import keras

    from training.evaluation.scores import evaluate
    from training.fitting.fit import fit
    from training.fitting.networks import keras_function
    from training.fitting.run import best_epoch

    keras.backend.clear_session()
    after = (number + 1) % folds
    held, chosen_on = np.flatnonzero(fold_of == number), np.flatnonzero(fold_of == after)
    fitted_on = np.flatnonzero((fold_of != number) & (fold_of != after))
    parts = {"train": fitted_on, "validation": chosen_on, "test": held}
    labels = tuple(map(str, range(int(images.labels.max()) + 1)))
    dataset = Dataset("grouped letters", labels, {name: images.take(part) for name, part in parts.items()})
    options = FitOptions("letters", run, precision="float32", resume=run.exists(), progress=ProgressLines(sys.stdout))
    fitted = fit(RECIPE, dataset, options)
    found = evaluate(keras_function(fitted.network), dataset.splits["test"])
    right = held[found.predicted == found.labels]
    best = best_epoch(fitted.history)
    return right, {
        "images": {name: len(part) for name, part in parts.items()},
        "right": len(right),
        "accuracy": round(found.accuracy, 4),
        "validation accuracy": round(best.val_accuracy, 4),
        "epoch": best.epoch,
        "seconds": round(sum(row.seconds for row in fitted.history)),
    }


def interval(right: npt.NDArray[np.bool_], groups: Indices) -> tuple[float, float]:
    """The 95 % interval of the accuracy when groups are drawn anew."""
    sizes, hits = np.bincount(groups), np.bincount(groups, right)
    drawn = np.random.default_rng(0).integers(0, len(sizes), (DRAWS, len(sizes)))
    low, high = np.quantile(hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)


def grouped(content: dict[str, Any], groups: Indices, fold_of: Indices) -> GroupedAccuracy:
    """What came of the folds that were tested."""
    tested_ones = np.flatnonzero(fold_of < len(content["fits"]))
    hits, theirs = np.isin(tested_ones, content["right"]), np.unique(groups[tested_ones], return_inverse=True)[1]
    return GroupedAccuracy(
        images=len(tested_ones),
        groups=int(theirs.max()) + 1,
        networks=len(content["fits"]),
        accuracy=round(float(hits.mean()), 4),
        interval=interval(hits, theirs),
    )


def sizes_by_letter(groups: Indices, labels: Indices) -> list[list[int]]:
    """The sizes of each letter's groups, the largest first."""
    return [
        sorted(np.unique(groups[labels == label], return_counts=True)[1].tolist())[::-1] for label in np.unique(labels)
    ]


def main(asked: argparse.Namespace) -> None:
    images = pooled(asked.archive)
    groups = groups_of(images, asked.least)
    fold_of = folds_of(groups, images.labels, asked.folds)
    sizes = sizes_by_letter(groups, images.labels)
    sys.stdout.write("".join(f"{RECIPE.reader.name} letter {i}: {each}\n" for i, each in enumerate(sizes)))
    if asked.sizes:
        return
    content: dict[str, Any] = {"least": asked.least, "folds": asked.folds, "sizes": sizes, "fits": [], "right": []}
    before = record.read(asked.out) or {}
    content |= {key: before[key] for key in before if (before["least"], before["folds"]) == (asked.least, asked.folds)}
    for number in range(len(content["fits"]), asked.tested or asked.folds):
        right, how = tested(images, fold_of, number, asked.folds, asked.runs / f"least-{asked.least}-fold-{number}")
        content["right"] += right.tolist()
        content["fits"].append(how)
        sys.stdout.write(f"{how}\n")
        sys.stdout.flush()
        here = provenance.of_this_run(("tensorflow", "keras", "numpy")).as_json()
        record.write(asked.out, content | here)
    found = grouped(content, groups, fold_of)
    record.write(asked.out, record.read(asked.out) | {"grouped": found.model_dump(mode="json")})
    sys.stdout.write(f"{found}\n")
    if asked.model:
        store = ModelStore(Path("models"))
        store.update(store.card(*asked.model).model_copy(update={"grouped": found}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--least", type=float, default=0.9, help="mean correlation of the images of a group")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--tested", type=int, help="stop after so many folds")
    parser.add_argument("--sizes", action="store_true", help="only show the sizes of the groups")
    parser.add_argument("--runs", type=Path, default=Path("runs/grouped-letters"), help="where fits are kept meanwhile")
    parser.add_argument("--model", type=reference, help="MODEL@VERSION whose card gets the figure")
    parser.add_argument("--out", type=Path, default=RECORD)
    main(parser.parse_args())
