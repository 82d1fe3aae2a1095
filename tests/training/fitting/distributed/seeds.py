"""Fits a small network from three seeds: alone, on several devices, or as one of the workers that TF_CONFIG names.

Run: python -m tests.training.fitting.distributed.seeds DATA FOLDER [DEVICES]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.datasets import load_dataset
from training.fitting.backend import import_tensorflow
from training.fitting.distributed.cluster import ALONE, cluster_of
from training.fitting.distributed.replicas import Replicas, replicas_of
from training.fitting.options import FitOptions
from training.layers.heads import softmax
from training.layers.layer import Layer
from training.recipes import RECIPES
from training.recipes.recipe import Optimizer, Statistics

SEEDS = range(3)
EPOCHS = 3


def network(classes: int, _: Statistics) -> Sequence[Layer]:
    from keras import layers

    return [
        layers.Rescaling(1 / 255, dtype="float32"),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.Flatten(),
        softmax(classes),
    ]


def optimizer() -> Optimizer:
    from keras import optimizers

    return optimizers.Adam(1e-3)


# Nothing in it is random once the weights are drawn, so that two workers can be held to the course of one.
SMALL = replace(RECIPES["asl-baseline"], name="small", network=network, optimizer=optimizer)


def run_folder(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}"


def on_processors(devices: int) -> Replicas:
    """As on a machine with so many GPUs, but with parts of its processors in place of them."""
    import tensorflow as tf

    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    return Replicas(ALONE, tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(devices)]))


def main(data: str, folder: str, devices: str = "1") -> None:
    import_tensorflow()
    cluster = cluster_of(os.environ)
    replicas = replicas_of(cluster) if devices == "1" else on_processors(int(devices))
    from training.fitting.fit import assist, fit

    dataset = load_dataset(Path(data), SMALL.reader, SMALL.input)
    for seed in SEEDS:
        options = FitOptions("small", run_folder(Path(folder), seed), EPOCHS, seed, "float32", class_weights="on")
        if replicas and not cluster.is_chief:
            assist(SMALL, dataset, options, replicas)
        else:
            fit(SMALL, dataset, options, replicas)


if __name__ == "__main__":
    main(*sys.argv[1:])
