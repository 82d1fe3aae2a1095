"""The type of a Keras layer, for modules that are read before TensorFlow is imported."""

from __future__ import annotations

from typing import Any, TypeAlias

Layer: TypeAlias = Any  # keras.Layer; Keras ships no types
