"""What a finished fit hands over to be saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.card import BackboneRecord, DataCheckRecord, Precision
from classifier.engines import Probabilities
from training.datasets.dataset import Dataset, Examples, in_parts
from training.fitting.class_weights import Weights
from training.fitting.run import Epoch, kept_epoch
from training.progress import Counted, Progress, silent
from training.recipes.recipe import Recipe

LIBRARIES = ("sightline", "tensorflow", "keras", "numpy", "pillow", "openvino", "tf2onnx", "onnx")  # shape the result


def in_batches(
    infer: Callable[[npt.NDArray[Any]], Probabilities],
    split: Examples,
    batch_size: int | None = None,
    counted: Counted | None = None,
) -> Probabilities:
    """The answers to a split, float32 [n, classes], with at most so many images at once."""
    rows = []
    for some in in_parts(split.inputs, batch_size):
        rows.append(infer(some))
        if counted:
            counted.add(len(rows[-1]))
    return np.concatenate(rows)


@dataclass(frozen=True)
class Fitted:
    """All that a finished run has to say for its card."""

    recipe: Recipe
    name: str
    dataset: Dataset
    network: Any  # the inference network, float32
    history: list[Epoch]
    seed: int
    precision: Precision
    backbone: BackboneRecord | None = None
    class_weights: Weights | None = None
    flip_left_out: bool = False  # because a mirrored image belongs to another class; `recipe` has no flip then
    patience: int | None = None  # epochs; None: trained to the last
    machines: Sequence[str] = ()  # that its epochs ran on
    progress: Progress = silent
    data_check: DataCheckRecord | None = None  # None: nobody looked

    @cached_property
    def infer(self) -> Callable[[npt.NDArray[Any]], Probabilities]:
        """The network as a plain function: uint8 [n, height, width, channels] to float32 [n, classes]."""
        from training.fitting.networks import keras_function  # here: it imports TensorFlow

        infer: Callable[[npt.NDArray[Any]], Probabilities] = keras_function(self.network)
        return infer

    @cached_property
    def answers(self) -> dict[str, Probabilities]:
        """The network's answers to the images it was not fitted on, float32 [n, classes] by split."""
        asked = {name: split for name, split in self.dataset.splits.items() if name != "train"}
        counted = Counted(self.progress, "checking the network", sum(map(len, asked.values())))
        return {name: in_batches(self.infer, split, counted=counted) for name, split in asked.items()}

    @property
    def kept(self) -> Epoch:
        """The epoch whose weights the network has."""
        return kept_epoch(self.history, keeps_last=self.recipe.keeps_last)

    @property
    def held_out(self) -> str:
        """The split that states the accuracy: "test", or "validation" where there is none."""
        return "test" if "test" in self.dataset.splits else "validation"
