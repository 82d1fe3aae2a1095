"""Real, complete model versions that take a tenth of a second to make; for every test that needs something to serve.

Importing this module is cheap; TensorFlow is imported by the first model that is made.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from classifier import images, store
from classifier.card import (
    AgreementCheck,
    Article,
    Card,
    DatasetRecord,
    FamiliarityRecord,
    Figure,
    FileRecord,
    InputSpec,
    Metrics,
    OperatingPoint,
    Sample,
    Share,
    TrainingRecord,
)

COLOUR = "tiny-colour"
GREY = "tiny-grey"

_NO_HASH = "0" * 64


def save_tiny_models(models: store.ModelStore) -> None:
    """Fill a store with what the session fixture `tiny_models_root` promises: two models, three versions.

    `tiny-colour`: 8x8 RGB, labels red, green, blue; versions 1 and 2. `tiny-grey`: 28x28 grey with stretched
    contrast, labels a, b, c, d; version 1.
    """
    save_tiny_model(models, COLOUR, labels=("red", "green", "blue"), seed=1)
    save_tiny_model(models, COLOUR, labels=("red", "green", "blue"), seed=2)
    save_tiny_model(models, GREY, labels=("a", "b", "c", "d"), shape=(28, 28, 1), contrast="stretch", seed=3)


def save_tiny_model(
    models: store.ModelStore,
    name: str = "tiny",
    labels: Sequence[str] = ("a", "b", "c"),
    shape: tuple[int, int, int] = (8, 8, 3),
    seed: int = 0,
    contrast: Literal["none", "stretch"] = "none",
    checks: tuple[AgreementCheck, ...] = (),
    network: Any = None,
    with_familiarity: bool = False,
) -> Card:
    """Make a network with seeded random weights and add it to the store as the next version of `name`.

    The same arguments give the same probabilities. `checks` is what the card says about reduced precisions. `network`
    is taken in place of the tiny one. `with_familiarity` gives it the second output of `scored`.
    """
    height, width, channels = shape
    spec = InputSpec(height=height, width=width, channels=channels, contrast=contrast)
    network = network or tiny_network(shape, len(labels), seed)
    sample = images.encode_png(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))
    network = scored(network) if with_familiarity else network
    answers = network(images.decode(sample, spec)[None], training=False)
    probabilities = (answers[0] if with_familiarity else answers).numpy()[0]
    known = Sample(label=labels[int(probabilities.argmax())], probabilities=tuple(probabilities.tolist()))

    def fill(folder: Path) -> Card:
        network.save(folder / store.KERAS)
        export_onnx(network, folder / store.ONNX)
        (folder / store.SAMPLE).write_bytes(sample)
        (folder / store.HISTORY).write_text("epoch,loss\n1,0.5\n", encoding="utf-8")
        return tiny_card(
            name=name,
            labels=tuple(labels),
            input=spec,
            parameters=network.count_params(),
            checks=checks,
            **({"sample": known} | (familiarity_of(known, answers[1].numpy().item()) if with_familiarity else {})),
        )

    return models.save(name, fill)


def tiny_card(**changes: Any) -> Card:
    """A valid card without a network behind it: 8x8 RGB, labels a, b, c. `changes` replaces whole fields."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": 1,
        "recipe": "tiny",
        "article": Article(title="A tiny network", author="The tests", split="test", accuracy=0.5),
        "labels": ("a", "b", "c"),
        "input": InputSpec(height=8, width=8, channels=3),
        "parameters": 1,
        "files": {file: FileRecord(sha256=_NO_HASH, bytes=1) for file in store.REQUIRED},
        "metrics": {"test": Metrics(images=10, loss=0.5, accuracy=0.5)},
        "training": TrainingRecord(
            dataset=DatasetRecord(name="noise", fingerprint=_NO_HASH, images={"train": 20, "test": 10}),
            seed=0,
            epochs_planned=1,
            epochs_run=1,
            best_epoch=1,
            batch_size=5,
            precision="float32",
            seconds=0.1,
            libraries={"keras": "3"},
            commit="unknown",
        ),
        "sample": Sample(label="a", probabilities=(0.5, 0.25, 0.25)),
    }
    return Card(**(fields | changes))


def add_int8(models: store.ModelStore, name: str, of_version: int | None = None) -> Card:
    """Give the newest version an int8 file that "auto" may choose: the float32 network of the version, or of another.

    It shows which file is read, not what 8 bits do to it.
    """
    folder = models.folder(name)
    shutil.copyfile(models.folder(name, of_version) / store.ONNX, folder / store.INT8)
    card = models.card(name)
    files = card.files | {store.INT8: store.file_record(folder / store.INT8)}
    card = card.model_copy(update={"files": files, "checks": (passed_check("openvino", "int8"),)})
    models.update(card)
    return card


def passed_check(
    engine: Literal["openvino", "tensorflow", "jax"], precision: Literal["bfloat16", "float16", "int8"]
) -> AgreementCheck:
    """A recorded comparison good enough for `auto` to choose this precision."""
    return AgreementCheck(
        engine=engine,
        precision=precision,
        split="test",
        images=1000,
        same_top_class=1.0,
        accuracy=0.5,
        reference_accuracy=0.5,
        largest_difference=0.01,
    )


def tiny_network(shape: tuple[int, int, int], classes: int, seed: int = 0) -> Any:
    """A Keras network as versions hold it: uint8 pixels in, float32 softmax out, probabilities well apart."""
    import keras

    def weights(scale: float, offset: int) -> Any:
        return keras.initializers.VarianceScaling(scale, seed=10 * seed + offset)

    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(8, 3, activation="relu", kernel_initializer=weights(2.0, 1))(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    probabilities = keras.layers.Dense(classes, activation="softmax", kernel_initializer=weights(20.0, 2))(x)
    return keras.Model(pixels, probabilities)


def scored(network: Any) -> Any:
    """The network with a second output: its picture's mean brightness, 0..1, in the place of familiarity."""
    import keras

    brightness = keras.ops.mean(keras.ops.cast(network.inputs[0], "float32"), axis=(1, 2, 3))
    familiarity = keras.ops.reshape(brightness / 255, (-1, 1))
    return keras.Model(network.inputs[0], [*network.outputs, familiarity])


def familiarity_of(sample: Sample | None = None, familiarity: float = 0.5) -> dict[str, Any]:
    """The fields of a card whose network has a second output, with a threshold of 0.05; of 0.01 to keep 99 %."""
    sample = sample or Sample(label="a", probabilities=(0.5, 0.25, 0.25))
    few = Share(images=100, value=0.05, interval=(0.02, 0.11))
    return {
        "sample": sample.model_copy(update={"familiarity": familiarity}),
        "familiarity": FamiliarityRecord(
            features=("last",),
            rank=1,
            scaled_on="validation",
            scaled_images=100,
            checked_on="test",
            auroc={"noise": Figure(value=1.0, interval=(0.99, 1.0))},
            keep=0.95,
            points=tuple(
                OperatingPoint(keep=keep, threshold=threshold, rejected=few, caught={"noise": few})
                for keep, threshold in ((0.95, 0.05), (0.99, 0.01))
            ),
        ),
    }


def export_onnx(network: Any, path: Path) -> None:
    """Export for CPU serving, the batch dimension left open."""
    import keras

    signature = [keras.InputSpec(shape=(None, *network.input_shape[1:]), dtype="uint8", name="pixels")]
    network.export(path, format="onnx", verbose=False, input_signature=signature)
