"""The features that a frozen backbone sees in a data set: computed once, and kept on disk for the next fit."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.backbones import Backbone
from training.datasets.dataset import Dataset, in_parts
from training.datasets.pixel_block import PixelBlock
from training.progress import Counted, Progress, silent
from training.saving import saving

ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Features:
    """One split as a backbone sees it: inputs float32 [n, k], labels int64 [n]."""

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: npt.NDArray[np.int64]) -> Features:
        """The images of these indices, in this order."""
        return Features(self.inputs[chosen], self.labels[chosen])


@dataclass(frozen=True)
class FeatureSet:
    """Features by split. `weights_sha256` is the backbone's, `seconds` the wall-clock time it took to compute them.

    `frozen` is the backbone that sees them: to build it again takes seconds.
    """

    splits: Mapping[str, Features]
    weights_sha256: str
    seconds: float
    frozen: FrozenBackbone | None = None

    @property
    def together(self) -> Features:
        """Those of the training images, and then those of validation."""
        known = [self.splits[name] for name in ("train", "validation")]
        return Features(
            np.concatenate([each.inputs for each in known]), np.concatenate([each.labels for each in known])
        )


class FrozenBackbone:
    """A backbone with its ImageNet weights, as a function of pixels."""

    def __init__(self, backbone: Backbone, shape: tuple[int, int, int]) -> None:
        import keras

        pixels = keras.Input(shape, dtype="uint8", name="pixels")
        self.network = network = keras.Model(pixels, backbone.build(pixels, True))
        self.name = backbone.name
        self.shape = shape
        self.weights_sha256 = weights_sha256(network)
        self._run = network.predict_on_batch
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._run = tf.function(
                lambda batch: network(batch, training=False),
                input_signature=[tf.TensorSpec((None, *shape), tf.uint8)],
                jit_compile=False,
            )

    def features(
        self, pixels_u8: PixelBlock, done: Callable[[int], None] = lambda images: None
    ) -> npt.NDArray[np.float32]:
        """uint8 [n, height, width, 3] to float32 [n, k]. Calls `done` with the number of images of each batch."""
        parts = []
        for some in in_parts(pixels_u8):
            parts.append(np.asarray(self._run(some)))
            done(len(parts[-1]))
        return np.concatenate(parts)


def weights_sha256(network: Any) -> str:
    """SHA-256 over a network's weights, in their order."""
    digest = hashlib.sha256()
    for weight in network.get_weights():
        digest.update(f"{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def cached_features(
    backbone: Backbone,
    shape: tuple[int, int, int],
    dataset: Dataset,
    cache: Path,
    splits: tuple[str, ...],
    progress: Progress = silent,
) -> FeatureSet:
    """The features of these splits, from the folder `cache` where they were computed before.

    They are kept under a key of the data's fingerprint, the backbone's weights and the input's size. So whatever
    changes one of them computes anew. Raises BackboneError or NotSaved.
    """
    _remove_abandoned(cache)
    frozen = FrozenBackbone(backbone, shape)
    key = "\0".join([dataset.fingerprint, frozen.weights_sha256, str(shape), *splits])
    path = cache / f"{backbone.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    labels = {name: dataset.splits[name].labels for name in splits}
    if (found := _read(path, labels)) is None:
        began = time.monotonic()
        counted = Counted(progress, "computing features", sum(map(len, labels.values())))
        inputs = {name: frozen.features(dataset.splits[name].pixels, counted.add) for name in splits}
        found = inputs, time.monotonic() - began
        with saving("features", cache):
            _write(path, *found)
    inputs, seconds = found
    features = {name: Features(inputs[name], labels[name]) for name in splits}
    return FeatureSet(features, frozen.weights_sha256, seconds, frozen)


def _read(path: Path, labels: Mapping[str, npt.NDArray[np.int64]]) -> tuple[dict[str, Any], float] | None:
    """What `_write` wrote, or None where there is nothing whole."""
    try:
        with path.open("rb") as body, np.load(body, allow_pickle=False) as file:
            inputs = {name: np.asarray(file[name], np.float32) for name in labels}
            seconds = float(file["seconds"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = all(inputs[name].shape[:1] == labels[name].shape for name in labels)
    return (inputs, seconds) if whole else None


def _write(path: Path, inputs: Mapping[str, Any], seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".half", delete=False) as half:
        try:
            np.savez(half, **inputs, seconds=np.float64(seconds))
            half.flush()
        except BaseException:  # a full disk, or Ctrl-C
            Path(half.name).unlink()
            raise
    Path(half.name).replace(path)


def _remove_abandoned(cache: Path) -> None:
    """Remove what killed fits had half written. Another fit may be writing now, but for no hour."""
    for half in cache.glob("*.half"):
        with contextlib.suppress(FileNotFoundError):  # that fit has finished just now
            if time.time() - half.stat().st_mtime > ABANDONED_S:
                half.unlink()
