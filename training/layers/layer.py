"""Types of layers and of their settings, for modules that are read before TensorFlow is imported."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Interpolation: TypeAlias = Literal["nearest", "bilinear"]
Layer: TypeAlias = Any  # keras.Layer; Keras ships no types
