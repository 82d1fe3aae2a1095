"""Further versions of a model whose last layer was changed by hand: worse, otherwise ordered, or equal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from classifier import store
from classifier.card import Card, Sample
from classifier.engines.keras_engine import load_network
from classifier.images import decode
from classifier.store import ModelStore
from training.export import export_onnx

FAMILIARITY = "familiarity"  # how the names of the layers of that output begin

Weights = tuple[Any, Any]  # kernel [features, classes] and bias [classes] of the last layer


def unchanged(kernel: Any, bias: Any) -> Weights:
    return kernel, bias


def never(column: int) -> Callable[[Any, Any], Weights]:
    """No image is given the label of this column."""

    def change(kernel: Any, bias: Any) -> Weights:
        bias[column] -= 1e4
        return kernel, bias

    return change


def noisier(part: float, seed: int = 0) -> Callable[[Any, Any], Weights]:
    """Noise on every weight, `part` of their standard deviation."""

    def change(kernel: Any, bias: Any) -> Weights:
        return kernel + part * kernel.std() * np.random.default_rng(seed).normal(size=kernel.shape), bias

    return change


def save_changed(
    models: ModelStore,
    name: str,
    change: Callable[[Any, Any], Weights],
    order: Sequence[int] | None = None,
) -> Card:
    """Add a version made of version 1: its last layer changed, its columns and labels brought into this order."""
    card, folder = models.card(name, 1), models.folder(name, 1)
    network = load_network(folder / store.KERAS, (folder / store.KERAS).read_bytes())
    order = range(len(card.labels)) if order is None else order
    last = _last_layer(network)
    kernel, bias = change(*last.get_weights())
    last.set_weights([kernel[:, order], bias[order]])
    pixels = decode((folder / store.SAMPLE).read_bytes(), card.input)[None]
    answer, *familiarity = (output.numpy()[0] for output in keras.tree.flatten(network(pixels, training=False)))
    labels = tuple(card.labels[column] for column in order)

    def fill(to: Path) -> Card:
        network.save(to / store.KERAS)
        export_onnx(network, to / store.ONNX)
        for file in {store.SAMPLE, store.HISTORY, store.FITTED_ON} & set(card.files):
            shutil.copyfile(folder / file, to / file)
        sample = Sample(
            label=labels[int(answer.argmax())],
            probabilities=tuple(map(float, np.clip(answer, 0, 1))),
            familiarity=float(familiarity[0].item()) if familiarity else None,
        )
        return card.model_copy(update={"labels": labels, "sample": sample, "checks": ()})

    return models.save(name, fill)


def _last_layer(network: Any) -> Any:
    """The layer with weights that gives the probabilities, in whatever networks it is nested."""
    for layer in reversed(network.layers):
        if hasattr(layer, "layers"):
            return _last_layer(layer)
        if len(layer.get_weights()) == 2 and not layer.name.startswith(FAMILIARITY):
            return layer
    raise AssertionError("no layer has a kernel and a bias")
