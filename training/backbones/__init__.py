"""Networks trained on ImageNet, whose features a small head can be trained on."""

from __future__ import annotations

from training.backbones.applications import EFFICIENTNET_V2_B0, MOBILENET_V2
from training.backbones.backbone import FEATURES, Backbone, BackboneError
from training.backbones.efficientnet_lite import EFFICIENTNET_LITE0, EFFICIENTNET_LITE1

__all__ = ["BACKBONES", "FEATURES", "Backbone", "BackboneError", "backbone_named"]

BACKBONES = {
    backbone.name: backbone for backbone in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE1, MOBILENET_V2, EFFICIENTNET_V2_B0)
}


def backbone_named(name: str) -> Backbone:
    """Look a backbone up. Raises BackboneError listing those there are."""
    if name not in BACKBONES:
        raise BackboneError(f"no backbone {name!r}; there is: {', '.join(BACKBONES)}")
    return BACKBONES[name]
