"""Promises about HEIC and AVIF: read as any other picture, HEIC in a process of its own."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import formats
from classifier.card import InputSpec
from classifier.errors import NotAnImage, UndecodableImage
from classifier.images import decode
from tests import pictures
from tests.pictures import BLUE, GREEN, RED, YELLOW, heic, scene

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")

SPEC = InputSpec(height=20, width=30, channels=3)


def with_orientation(upright: np.ndarray, orientation: int) -> bytes:
    """As an iPhone writes it: stored as the camera was held, and the turn in the container."""
    pillow_heif.register_heif_opener()
    stored = Image.open(io.BytesIO(pictures.with_orientation(upright, orientation)))
    out = io.BytesIO()
    stored.save(out, "HEIF", quality=90, exif=pictures.exif(orientation).tobytes())
    return out.getvalue()


def assert_is_scene(pixels: np.ndarray) -> None:
    height, width, _ = pixels.shape
    corners = [pixels[y, x].tolist() for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    np.testing.assert_allclose(corners, [RED, GREEN, BLUE, YELLOW], atol=16)


def test_a_heic_is_read() -> None:
    assert_is_scene(decode(heic(scene()), SPEC))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_heic_is_seen_upright(orientation: int) -> None:
    assert_is_scene(decode(with_orientation(scene(), orientation), SPEC))


def test_no_library_of_heic_is_loaded_here() -> None:
    before = set(Path("/proc/self/maps").read_text().split()) if sys.platform == "linux" else set()
    decode(heic(scene()), SPEC)
    after = set(Path("/proc/self/maps").read_text().split()) if sys.platform == "linux" else set()
    assert not [name for name in after - before if "de265" in name]


def test_a_damaged_heic_is_an_error_we_explain() -> None:
    body = heic(pictures.noise(64, 64))
    with pytest.raises(UndecodableImage):
        decode(body[: len(body) // 2], SPEC)


def test_without_the_extra_the_refusal_names_heic_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "READS_HEIC", False)
    with pytest.raises(NotAnImage, match=r"HEIC.*JPEG.*sightline\[heif\]"):
        decode(heic(scene()), SPEC)


@pytest.mark.parametrize("orientation", [1, 6])
def test_an_avif_is_read_upright(orientation: int) -> None:
    assert_is_scene(decode(pictures.with_orientation(scene(), orientation, "AVIF"), SPEC))
