"""A backbone: a network trained on ImageNet, without its last layer, that turns pixels into features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from classifier.errors import SightlineError

Tensor: TypeAlias = Any  # a symbolic keras tensor; Keras ships no types

FEATURES = "features"  # the name of every backbone's last layer


class BackboneError(SightlineError):
    """A pretrained network cannot be had as asked."""

    code = "backbone"
    title = "The pretrained network cannot be used"


@dataclass(frozen=True)
class Backbone:
    """A pretrained network as layers of the network it is built into.

    `build(pixels, pretrained)` adds them behind pixels 0..255, [n, height, width, 3], with the normalisation they were
    trained with in front. It returns features float32 [n, k]; the last layer is called `FEATURES`. Without `pretrained`
    the weights are random, for whoever sets them afterwards. Raises BackboneError where there are none.

    `tops` names the first layer of each part that fine-tuning may thaw, from the input to the output.
    """

    name: str
    build: Callable[[Tensor, bool], Tensor]
    tops: tuple[str, ...]
