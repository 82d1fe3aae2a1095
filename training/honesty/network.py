"""A Keras network with a second output: how familiar an image is, 0..1."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.honesty.choosing import Chosen
from training.honesty.distance import Distance
from training.honesty.features import PREFIX, joined

NAME = "familiarity"
STEPS = 100  # of the scale from 0 to 1
FINE_STEPS = 10  # more, in each of its lowest five hundredths, where thresholds lie

Floats = npt.NDArray[np.float64]


def with_familiarity(network: Any, chosen: Chosen, genuine: Floats) -> Any:
    """The network with the outputs [n, classes] and [n, 1]: the probabilities, and the familiarity.

    `genuine` has the distances of validation images, [m]. The familiarity of an image is the share of them that lie
    further off than it does.
    """
    distance = _distance(joined(network, chosen.features), chosen.distance)
    levels, knots = scale(genuine)
    return keras.Model(network.inputs[0], [*network.outputs, _familiarity(distance, levels, knots)], name=network.name)


def scale(genuine: Floats) -> tuple[Floats, Floats]:
    """Familiarities that fall from 1 to 0, and the distances that have them, which rise."""
    fine = np.linspace(0.0, 0.05, 5 * FINE_STEPS + 1)
    levels = np.unique(np.concatenate([fine, np.linspace(0.05, 1.0, STEPS - 4)]))[::-1]
    knots = np.quantile(genuine, 1.0 - levels)
    least = max(1e-6 * float(knots[-1]), 1e-9)  # equal distances have one familiarity: no step is without width
    return levels, np.maximum.accumulate(knots + least * np.arange(len(knots)))


def _distance(features: Any, fitted: Distance) -> Any:
    """The squared distance of each row, float32 [n, 1], as `Distance.of` has it.

    The length of what is left outside of the directions follows from that of the whole, which is known, less that
    within them. So one matrix is enough. A last column of it gives the part along the centre.
    """
    ops = keras.ops
    along = fitted.centre[:, None]
    inside = _dense(
        features, "whitened", np.hstack([fitted.whiten, along]), np.append(-fitted.centre @ fitted.whiten, 0)
    )
    weights = np.append(1.0 - (fitted.unwhiten**2).sum(axis=1) / fitted.rest, 0.0)
    lengths = ops.sum(ops.multiply(ops.square(inside), weights[None].astype(np.float32)), axis=-1, keepdims=True)
    blocks = fitted.squared_length + float((fitted.centre**2).sum())
    to_means = _dense(
        inside,
        "to_means",
        np.vstack([-2 * fitted.means.T, np.full((1, len(fitted.means)), -2 / fitted.rest)]),
        (fitted.means**2).sum(axis=1) + blocks / fitted.rest,
    )
    return ops.add(ops.min(to_means, axis=-1, keepdims=True), lengths)


def _familiarity(distance: Any, levels: Floats, knots: Floats) -> Any:
    """From distance to familiarity, a straight line between two knots: float32 [n, 1]."""
    ops = keras.ops
    slopes, falls = 1 / np.diff(knots), -np.diff(levels)
    steps = ops.subtract(ops.multiply(distance, _row(slopes)), _row(knots[:-1] * slopes))
    fallen = ops.sum(ops.multiply(ops.clip(steps, 0.0, 1.0), _row(falls)), axis=-1, keepdims=True)
    return keras.layers.ReLU(max_value=1.0, name=NAME)(ops.subtract(_row(levels[:1]), fallen))


def _row(values: Floats) -> npt.NDArray[np.float32]:
    return np.asarray(values, np.float32)[None]


def _dense(value: Any, name: str, kernel: Floats, bias: Floats) -> Any:
    layer = keras.layers.Dense(kernel.shape[1], name=f"{PREFIX}{name}", dtype="float32")
    result = layer(value)
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return result
