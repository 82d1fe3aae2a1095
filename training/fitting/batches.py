"""Training batches in an order that depends on seed and epoch alone: a resumed run sees what it would have."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.datasets.dataset import Examples, Split


class InOrder(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """Each example once, as it stands: what Keras validates on, read as it is needed.

    Each batch is (inputs, labels int64 [n]), with the weight of each example, float32 [n], where there are `weights`.
    """

    def __init__(self, examples: Examples, batch_size: int, weights: npt.NDArray[np.float32] | None = None) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.examples = examples
        self.batch_size = batch_size
        self.weights = weights

    def __len__(self) -> int:
        return math.ceil(len(self.examples) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], ...]:
        at = slice(index * self.batch_size, (index + 1) * self.batch_size)
        weights = () if self.weights is None else (self.weights[at],)
        return (self.examples.inputs[at], self.examples.labels[at], *weights)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """An endless stream of shuffled passes over a split, cut into epochs.

    Pass p is a permutation drawn from (seed, p). It ends with a smaller batch where the images do not fill one. Epoch e
    is the batches [e * steps, (e + 1) * steps) of the stream, `steps` being one pass unless given; whoever fits sets
    `epoch` before each one. Each batch is (pixels uint8 [n, height, width, channels], labels int64 [n]). Features,
    float32 [n, k], replace the pixels if there are some. Fit with `shuffle=False`: Keras would shuffle the batches
    again, from a state that a resumed run does not have.

    With `alternating_flip` a half of the images, drawn from the seed, is mirrored in every even pass, and the other
    half in every odd one. Where a split has its images as JPEG too, these replace them in the same way.

    Several `replicas` share each batch, so a last batch of fewer images than replicas is left out of its pass.
    """

    def __init__(
        self,
        split: Examples,
        batch_size: int,
        *,
        seed: int,
        steps: int | None = None,
        alternating_flip: bool = False,
        replicas: int = 1,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.replicas = replicas
        left = len(split) % batch_size
        self.per_pass = len(split) // batch_size + (left >= replicas)
        self.steps = steps or self.per_pass
        self._pass = -1
        self._order: npt.NDArray[np.int64] = np.arange(0)
        self.alternating_flip = alternating_flip
        self._as_jpeg = split.jpegs() if isinstance(split, Split) else None
        self._begin_mirrored, self._begin_as_jpeg = (
            np.random.default_rng((seed, 0, number)).random(len(split)) < 0.5 for number in (1, 2)
        )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self._images(self._chosen(index))

    def share(self, index: int, replica: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Every image of a batch whose place falls to a replica; the shares differ by one image at most."""
        return self._images(self._chosen(index)[replica :: self.replicas])

    def _chosen(self, index: int) -> npt.NDArray[np.int64]:
        turn, position = divmod(self.epoch * self.steps + index, self.per_pass)
        if turn != self._pass:
            self._order = np.random.default_rng((self.seed, turn)).permutation(len(self.split))
            self._pass = turn
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def _images(self, chosen: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Images of the present pass."""
        inputs = self.split.inputs[chosen]
        odd = self._pass % 2 == 1
        if self._as_jpeg is not None:
            encoded = self._begin_as_jpeg[chosen] ^ odd
            inputs[encoded] = self._as_jpeg[chosen[encoded]]
        if self.alternating_flip:
            mirrored = self._begin_mirrored[chosen] ^ odd
            inputs[mirrored] = inputs[mirrored][:, :, ::-1]
        return inputs, self.split.labels[chosen]
