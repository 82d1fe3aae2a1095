"""Promises of `classifier.images` for a JPEG of the network's size: past Pillow, to the pixels it would give."""

from __future__ import annotations

import io
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classifier.card import InputSpec
from classifier.errors import ImageTooLarge, NotAnImage, UndecodableImage
from classifier.images import decode
from tests import pictures
from tests.pictures import exif, jpeg, noise, with_damaged_exif

HEIGHT, WIDTH = 20, 30
SPECS = {channels: InputSpec(height=HEIGHT, width=WIDTH, channels=channels) for channels in (1, 3)}
WAYS: list[dict[str, Any]] = [
    *({"quality": quality, "subsampling": subsampling} for quality in (5, 75, 100) for subsampling in (0, 1, 2)),
    {"progressive": True},
    {"optimize": True},
    {"restart_marker_blocks": 2},
    {"dpi": (300, 300), "comment": b"a comment"},
]


def by_pillow(body: bytes, channels: int) -> np.ndarray:
    image = Image.open(io.BytesIO(body))
    mode = "L" if channels == 1 else "RGB"
    image.draft(mode, image.size)  # libjpeg's own way to grey
    return np.asarray(image.convert(mode)).reshape(SPECS[channels].shape)


def past_pillow(body: bytes, spec: InputSpec) -> np.ndarray | None:
    """The pixels, where Pillow was not asked for them."""
    with patch("classifier.images.JpegImageFile", None):
        try:
            return decode(body, spec)
        except (UndecodableImage, NotAnImage):
            return None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_jpeg_of_the_networks_size_comes_to_the_pixels_that_pillow_gives(way, colours, channels):
    picture = Image.fromarray(noise(HEIGHT, WIDTH, colours).squeeze())
    body = jpeg(picture, **({k: v for k, v in way.items() if colours == 3 or k != "subsampling"}))
    pixels = past_pillow(body, SPECS[channels])
    assert pixels is not None
    np.testing.assert_array_equal(pixels, by_pillow(body, channels))


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
def test_a_picture_that_its_metadata_may_turn_is_left_to_pillow(orientation):
    body = jpeg(noise(HEIGHT, WIDTH), exif=exif(orientation))
    assert past_pillow(body, SPECS[3]) is None
    described = f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
    assert past_pillow(jpeg(noise(HEIGHT, WIDTH), xmp=described.encode()), SPECS[3]) is None


@pytest.mark.parametrize(
    "body",
    [
        jpeg(noise(HEIGHT, WIDTH + 1)),
        jpeg(noise(WIDTH, HEIGHT)),
        jpeg(noise(2 * HEIGHT, 2 * WIDTH)),
        jpeg(Image.fromarray(noise(HEIGHT, WIDTH)).convert("CMYK")),
        jpeg(Image.fromarray(noise(HEIGHT, WIDTH)), keep_rgb=True),
        with_damaged_exif(jpeg(noise(HEIGHT, WIDTH))),
        jpeg(noise(HEIGHT, WIDTH))[:-20],
        jpeg(noise(HEIGHT, WIDTH))[:100],
        b"\xff\xd8\xff",
    ],
    ids=["wider", "turned", "twice", "CMYK", "RGB", "damaged EXIF", "broken off", "header only", "no header"],
)
def test_anything_else_is_left_to_pillow(body):
    assert past_pillow(body, SPECS[3]) is None


@given(
    st.sampled_from([jpeg(noise(HEIGHT, WIDTH)), jpeg(noise(HEIGHT, WIDTH), progressive=True)]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3),
    st.sampled_from([1, 3]),
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_comes_to_the_pixels_that_pillow_gives_or_to_none(body, changes, channels):
    damaged = bytearray(body)
    for share, value in changes:
        damaged[round(share * (len(damaged) - 1))] = value
    pixels = past_pillow(bytes(damaged), SPECS[channels])
    if pixels is not None:
        np.testing.assert_array_equal(pixels, by_pillow(bytes(damaged), channels))


def test_the_limit_of_pixels_holds_for_this_way_too():
    with pytest.raises(ImageTooLarge):
        decode(jpeg(noise(HEIGHT, WIDTH)), SPECS[3], max_pixels=HEIGHT * WIDTH - 1)
