"""What a finished fit hands over to be saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from classifier.card import BackboneRecord, Precision
from training.datasets.dataset import Dataset
from training.fitting.class_weights import Weights
from training.fitting.run import Epoch
from training.recipes.recipe import Recipe

LIBRARIES = ("sightline", "tensorflow", "keras", "numpy", "pillow", "openvino", "tf2onnx", "onnx")  # shape the result


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
