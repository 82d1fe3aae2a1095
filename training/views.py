"""What test-time augmentation adds to a version: the accuracy of six views of each image beside that of the one served.

    python -m training.views cifar-10@2 --data cifar-10.zip --out views.json

The views are those of airbench: the image and its mirror image count a quarter each. Shifted by a pixel up and left, or
down and right, with the edge mirrored, they and theirs count an eighth each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier import provenance
from classifier.card import Precision
from classifier.commands.parameters import path, reference
from classifier.engines import EngineOptions, Probabilities
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from training.datasets.dataset import Split
from training.evaluation.images import read_images
from training.evaluation.json_records import Part, write_record
from training.evaluation.scores import Evaluation
from training.progress import Counted, Progress, ProgressLines, silent

SPLITS = ("validation", "test")
BATCH = 64  # images per forward pass; no effect on the answers
SMALLEST = 1e-12  # probability, whose logarithm is taken

Pixels = npt.NDArray[np.uint8]


class ViewsOfSplit(Part):
    """Accuracies 0..1 with their 95 % intervals, of one view as it is served and of all six."""

    images: int
    one: float
    one_interval: tuple[float, float]
    six: float
    six_interval: tuple[float, float]


class ViewsRecord(Part):
    """`views.json`: what `python -m training.views` found."""

    model: str
    version: int
    recipe: str
    seed: int
    engine: str
    precision: Precision
    splits: dict[str, ViewsOfSplit]
    machine: str
    commit: str
    finished: str


def views(pixels_u8: Pixels) -> Iterator[tuple[float, Pixels]]:
    """Six views of images, uint8 [n, height, width, channels], each with its weight; the weights sum to 1."""
    height, width = pixels_u8.shape[1:3]
    padded = np.pad(pixels_u8, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    for corner, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
        view = padded[:, corner : corner + height, corner : corner + width]
        yield weight, view
        yield weight, view[:, :, ::-1]


def answer_views(answer: Callable[[Pixels], Probabilities], pixels_u8: Pixels) -> Probabilities:
    """The answers to all views of images as one, float32 [n, classes]: the weighted mean of their logits, as shares."""
    logits = sum(
        weight * np.log(np.maximum(answer(np.ascontiguousarray(view)).astype(np.float64), SMALLEST))
        for weight, view in views(pixels_u8)
    )
    powers = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def measure(models: ModelStore, name: str, version: int | None, data: Path, progress: Progress = silent) -> ViewsRecord:
    """Ask a version, in float32, for one and for six views of the images it was not fitted on."""
    card = models.card(name, version)
    loaded = LoadedModel.open(models, card.name, card.version, EngineOptions(precision="float32"))
    try:
        splits = {
            split: _of_split(loaded, read_images(data, card, split, progress).images, split, progress)
            for split in SPLITS
        }
        here = provenance.of_this_run()
        return ViewsRecord(
            model=card.name,
            version=card.version,
            recipe=card.recipe,
            seed=card.training.seed,
            engine=loaded.engine.name,
            precision=loaded.engine.precision,
            splits=splits,
            machine=here.machine,
            commit=here.commit,
            finished=here.date,
        )
    finally:
        loaded.close()


def _of_split(loaded: LoadedModel, split: Split, name: str, progress: Progress) -> ViewsOfSplit:
    def answer(pixels_u8: Pixels) -> Probabilities:
        return loaded.engine.answer(pixels_u8).probabilities

    counted, ones, sixes = Counted(progress, f"looking at {name}", len(split)), [], []
    for i in range(0, len(split), BATCH):
        pixels = split.pixels[i : i + BATCH]
        ones.append(answer(pixels))
        sixes.append(answer_views(answer, pixels))
        counted.add(len(pixels))
    one, six = (Evaluation(np.concatenate(rows), split.labels) for rows in (ones, sixes))
    return ViewsOfSplit(
        images=len(split), one=one.accuracy, one_interval=one.interval, six=six.accuracy, six_interval=six.interval
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.views", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=reference, help="MODEL[@VERSION]")
    parser.add_argument("--data", type=path, required=True, help="what it was fitted on")
    parser.add_argument("--models", type=path, default=Path("models"), help="the model store")
    parser.add_argument("--out", type=path, required=True, help="the record, as JSON")
    given = parser.parse_args(arguments)
    name, version = given.model
    found = measure(ModelStore(given.models), name, version, given.data, ProgressLines(sys.stderr))
    write_record(found, given.out)
    for split_name, split in found.splits.items():
        sys.stdout.write(f"{split_name}: one view {split.one:.4f}, six views {split.six:.4f}, n={split.images:,}\n")


if __name__ == "__main__":
    main()
