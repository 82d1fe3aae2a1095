"""The weights a network begins with: filters that whiten patches, and convolutions that hand their input on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets.pixel_block import PixelBlock

LOOKED_AT = 2_000  # training images, spread over all of them, for the covariance of patches
SIDE = 2  # of a patch
SMALLEST_VARIANCE = 5e-4  # what is added to the variance of a direction, lest noise be blown up
HEAD_SCALE = 1 / 9  # of the logits

Floats = npt.NDArray[np.float32]


def initialise(network: Any, pixels: PixelBlock) -> None:
    """Set the first weights of a network of `cifar10_fast`, and which of them stay as they are.

    The layer "whitening" gets the filters that whiten patches of the training images, uint8 [n, height, width, 3], and
    keeps them; its bias learns. Every other convolution begins as a partial identity. The last layer begins with
    `HEAD_SCALE` of its weights and without a bias, for good.
    """
    from keras import layers

    chosen = pixels[np.unique(np.linspace(0, len(pixels) - 1, LOOKED_AT).astype(np.int64))]
    (standardise,) = (layer for layer in network.layers if isinstance(layer, layers.Rescaling))
    whitening = network.get_layer("whitening")
    whitening.kernel.assign(whitening_filters(np.asarray(standardise(chosen))))
    whitening.kernel.trainable = False
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D) and layer is not whitening:
            layer.kernel.assign(partial_identity(np.asarray(layer.kernel)))
    head = network.get_layer("probabilities")
    head.kernel.assign(head.kernel * HEAD_SCALE)
    head.bias.trainable = False


def whitening_filters(images: Floats) -> Floats:
    """Filters that turn the patches of images, [n, height, width, c], into values that are uncorrelated, of variance 1.

    float32 [2, 2, c, 8 c]: one for each direction of the patches, and its negative, since GELU drops what is below 0.
    """
    _, height, width, channels = images.shape
    corners = [(down, right) for down in range(SIDE) for right in range(SIDE)]
    parts = [images[:, down : down + height - SIDE + 1, right : right + width - SIDE + 1] for down, right in corners]
    patches = np.concatenate(parts, axis=-1).reshape(-1, SIDE * SIDE * channels).astype(np.float64)
    variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = directions / np.sqrt(variances + SMALLEST_VARIANCE)
    both = np.concatenate([filters, -filters], axis=1)
    return both.reshape(SIDE, SIDE, channels, -1).astype(np.float32)


def partial_identity(kernel: Floats) -> Floats:
    """A kernel, [height, width, in, out], whose first filters each hand one channel of the input on; the rest stay."""
    height, width, inputs, outputs = kernel.shape
    begun = kernel.copy()
    kept = min(inputs, outputs)
    begun[..., :kept] = 0.0
    begun[height // 2, width // 2, range(kept), range(kept)] = 1.0
    return begun
