"""What the head of `features` makes of small sets, beside the one it had before: passes of Adam, with dropout.

`python -m tests.training.whole.heads` fits both on the same draws of arrows, of CIFAR's cats and dogs, and of six
letters of American Sign Language, tests them on all that was not drawn, and keeps the accuracies. It goes on where it
was stopped. Features are kept in a folder, since to compute them takes longest.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from classifier import provenance
from classifier.images import from_array
from load_tests import record
from tests.training.conftest import SHARED_DATA
from tests.training.whole.arrows import arrow
from training.datasets.dataset import Dataset, Split
from training.fitting.options import FitOptions
from training.recipes import FOR_ANY_IMAGES, pretrained
from training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from training.backbones.features import Features

RECORD = record.RESULTS / "heads.json"
AFTER = FOR_ANY_IMAGES["features"]
BEFORE = replace(AFTER, network=pretrained.head, l2=None, epochs=40)
HEADS = {"before": BEFORE, "after": AFTER}
KEYS = ("set", "of_each_class", "seed", "head")
HELD_OUT = 0.2  # of the draw, to choose the epoch; as many again are left out, as `fit` keeps them to test
LETTERS = (0, 4, 12, 13, 18, 19)  # A E M N S T, all of them fists

Picture = npt.NDArray[np.uint8]


class Pool(NamedTuple):
    """Pictures of each class, and how many of each are drawn for a fit."""

    pictures: Callable[[], Iterator[tuple[Picture, int]]]
    drawn: tuple[int, ...]


def arrows() -> Iterator[tuple[Picture, int]]:
    return ((arrow(kind, seed), column) for column, kind in enumerate(("left", "right")) for seed in range(400))


def cats_and_dogs() -> Iterator[tuple[Picture, int]]:
    with zipfile.ZipFile(SHARED_DATA / "cifar-10.zip") as archive:
        for column, kind in enumerate(("cat", "dog")):
            names = sorted(name for name in archive.namelist() if f"train/{kind}/" in name and name.endswith(".jpg"))
            for name in names[:400]:
                yield np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")), column


def letters() -> Iterator[tuple[Picture, int]]:
    with zipfile.ZipFile(SHARED_DATA / "sign-mnist.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith("train.csv"))
        rows = np.loadtxt(io.StringIO(archive.read(name).decode()), delimiter=",", skiprows=1, dtype=np.int64)
    for column, letter in enumerate(LETTERS):
        for row in rows[rows[:, 0] == letter][:150]:
            yield row[1:].reshape(28, 28, 1).astype(np.uint8).repeat(3, axis=2), column


POOLS = {
    "arrows left and right": Pool(arrows, (60, 150)),
    "CIFAR-10 cats and dogs": Pool(cats_and_dogs, (60,)),
    "ASL A E M N S T": Pool(letters, (20,)),
}


def unsaid(phase: str, done: int, total: int) -> None:
    """Without any progress Keras would print its own."""


def dealt(labels: npt.NDArray[np.int64], drawn: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Indices by split: of `drawn` images of each class three fifths and a fifth; to test, all that were not drawn."""
    rng, held = np.random.default_rng(seed), round(HELD_OUT * drawn)
    splits: dict[str, list[npt.NDArray[np.int64]]] = {"train": [], "validation": [], "test": []}
    for column in np.unique(labels):
        shuffled = rng.permutation(np.flatnonzero(labels == column))
        splits["train"].append(shuffled[: drawn - 2 * held])
        splits["validation"].append(shuffled[drawn - 2 * held : drawn - held])
        splits["test"].append(shuffled[drawn:])
    return {name: np.sort(np.concatenate(parts)) for name, parts in splits.items()}


def features_of(name: str, pool: Pool, kept: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The features and columns of a pool's pictures, computed where the folder `kept` has none."""
    from training.backbones.features import FrozenBackbone

    path = kept / f"{name.replace(' ', '-')}.npz"
    if not path.exists():
        assert AFTER.backbone is not None
        pictures, columns = zip(*pool.pictures(), strict=True)
        pixels = np.stack([from_array(each, AFTER.input) for each in pictures])
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(path, features=FrozenBackbone(AFTER.backbone, AFTER.input.shape).features(pixels), columns=columns)
    with np.load(path) as file:
        return file["features"], file["columns"].astype(np.int64)


def measured(recipe: Recipe, every: Features, drawn: int, seed: int) -> dict[str, Any]:
    """Accuracy and loss of one head on one draw."""
    import keras

    from training.backbones.features import FeatureSet
    from training.evaluation.scores import evaluate
    from training.fitting.fit import fit_head
    from training.fitting.networks import inference_head, keras_function

    keras.backend.clear_session()
    seen = FeatureSet({name: every.take(at) for name, at in dealt(every.labels, drawn, seed).items()}, "0" * 64, 0.0)
    grey = {name: Split(np.zeros((len(part), 1, 1, 3), np.uint8), part.labels) for name, part in seen.splits.items()}
    dataset = Dataset("a draw", tuple(map(str, np.unique(every.labels))), grey)
    with tempfile.TemporaryDirectory() as folder:
        asked = FitOptions("draw", Path(folder) / "run", seed=seed, progress=unsaid)
        head, history = fit_head(recipe, dataset, seen, asked)
    found = evaluate(keras_function(inference_head(head)), seen.splits["test"])
    return {
        "tested": len(found.labels),
        "accuracy": round(found.accuracy, 4),
        "loss": round(found.loss, 4),
        "epochs": len(history),
        "seconds": round(sum(row.seconds for row in history), 2),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Means over the seeds, for the document."""
    lines = [
        "| images of each class | n | accuracy before | after | loss before | after |",
        "|---|---|---|---|---|---|",
    ]
    for name, drawn in dict.fromkeys((run["set"], run["of_each_class"]) for run in runs):
        of = [run for run in runs if (run["set"], run["of_each_class"]) == (name, drawn)]
        both = [[run for run in of if run["head"] == which] for which in ("before", "after")]
        figures = [f"{mean(run[what] for run in each):.3f}" for what in ("accuracy", "loss") for each in both]
        lines.append(f"| {name}, {drawn} | {len(both[0])} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def main(seeds: int, kept: Path, to: Path) -> None:
    from training.backbones.features import Features

    here = provenance.of_this_run(("tensorflow", "keras", "numpy")).as_json()
    content: dict[str, Any] = record.read(to) or {"runs": []}
    done = {tuple(run[key] for key in KEYS) for run in content["runs"]}
    for seed in range(seeds):
        for name, pool in POOLS.items():
            for which, recipe in HEADS.items():
                for drawn in pool.drawn:
                    if (name, drawn, seed, which) not in done:
                        run = dict(zip(KEYS, (name, drawn, seed, which), strict=True))
                        run |= measured(recipe, Features(*features_of(name, pool, kept)), drawn, seed)
                        content["runs"].append(run)
                        sys.stdout.write(f"{run}\n")
                        sys.stdout.flush()
                        record.write(to, content | here)
    sys.stdout.write(table(content["runs"]) + "\n")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--features", type=Path, default=Path("runs/heads"), help="where they are kept")
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    main(options.seeds, options.features, options.out)
