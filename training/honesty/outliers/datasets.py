"""Pictures of other data sets, for stating how many a version finds unfamiliar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from training.datasets import READERS, DatasetError
from training.progress import Progress, silent

OUTLIERS = 1_000  # at most


def other_images(
    path: Path, spec: InputSpec, labels: tuple[str, ...], seed: int = 0, progress: Progress = silent
) -> tuple[str, npt.NDArray[np.uint8]]:
    """The data set's name and images that show none of `labels`, uint8 [n, height, width, channels].

    They are drawn from its test images. Raises DatasetError where no reader knows the path or no image is left.
    """
    reader = next((each for each in READERS.values() if each.recognises(path)), None)
    if reader is None:
        raise DatasetError(f"{path}: expected a data set that `fit` reads, or class folders of images")
    dataset = reader.load(path, spec, progress=progress)
    split = dataset.splits.get("test") or dataset.splits["train"]
    known = {label.casefold() for label in labels}
    other = [column for column, label in enumerate(dataset.labels) if label.casefold() not in known]
    chosen = np.flatnonzero(np.isin(split.labels, other))
    if not len(chosen):
        raise DatasetError(f"{path}: every class of it is one of the model's own labels")
    drawn = np.random.default_rng([seed, 4]).permutation(chosen)[:OUTLIERS]
    left_out = len(other) < len(dataset.labels)
    name = f"{dataset.name}, other classes" if left_out else dataset.name
    return name, np.asarray(split.take(np.sort(drawn)).pixels[:])
