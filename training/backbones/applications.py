"""Networks of `keras.applications`, whose ImageNet weights Keras downloads when they are first used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from training.backbones.backbone import FEATURES, Backbone, BackboneError, Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def build(
    pixels: Tensor, pretrained: bool, *, network: str, scale: float | Sequence[float], offset: float | Sequence[float]
) -> Tensor:
    """The layers from pixels 0..255 to features; see Backbone. `scale` and `offset` are what it was trained with."""
    from keras import layers

    # Keras' own preprocessing is a function, for MobileNetV2, or a layer with constants that ONNX does not take.
    value = layers.Rescaling(scale, offset=offset, dtype="float32", name="normalisation")(pixels)
    body = _body(network, value, "imagenet" if pretrained else None)
    return layers.GlobalAveragePooling2D(dtype="float32", name=FEATURES)(body.output)


def _body(network: str, value: Tensor, weights: str | None) -> Any:
    from keras import applications

    make = getattr(applications, network)
    options = {} if network == "MobileNetV2" else {"include_preprocessing": False}
    try:
        return make(include_top=False, weights=weights, input_tensor=value, **options)
    except Exception as error:
        if weights is None:
            raise
        raise BackboneError(
            f"the weights of {network} cannot be downloaded ({str(error).strip()[:200]}); "
            "use --backbone efficientnet-lite0, whose weights are a package"
        ) from error


MOBILENET_V2 = Backbone(
    name="mobilenet-v2",
    build=partial(build, network="MobileNetV2", scale=1 / 127.5, offset=-1.0),
    tops=(*(f"block_{number}_expand" for number in range(1, 17)), "Conv_1"),
)
EFFICIENTNET_V2_B0 = Backbone(
    name="efficientnet-v2-b0",
    build=partial(
        build,
        network="EfficientNetV2B0",
        scale=[1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        offset=[-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
    ),
    tops=(*(f"block6{letter}_expand_conv" for letter in "abcdefgh"), "top_conv"),
)
