from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from classifier import images
from classifier.card import InputSpec
from classifier.formats import FORMATS
from service.client import UndecodableImage, UnreadableFile
from service.client.sources import SUFFIXES, each_image, encoded
from tests.pictures import encoded as picture_file
from tests.pictures import jpeg, noise, png, truncations, with_damaged_exif, with_orientation

SPEC = InputSpec(height=16, width=24, channels=3)


def seen(image: Any) -> Any:
    """What a network gets to see of what the client sends."""
    return images.decode(encoded(image), SPEC)


@pytest.mark.parametrize("kind", [Path, str, bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_a_file_and_its_bytes_are_sent_as_they_are(kind: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(jpeg())
    assert encoded(kind(path) if kind in (Path, str) else kind(jpeg())) == jpeg()


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 1), (16, 24, 3)])
def test_pixels_travel_without_loss(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    as_rgb = np.broadcast_to(pixels if len(shape) == 3 else pixels[..., None], (16, 24, 3))
    assert np.array_equal(seen(pixels), as_rgb)
    assert np.array_equal(seen(pixels[:, ::-1]), as_rgb[:, ::-1])


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3, 1), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype} {pixels.shape}",
)
def test_an_array_that_is_no_picture_is_an_undecodable_image(pixels: Any) -> None:
    with pytest.raises(UndecodableImage, match="expected uint8") as refused:
        encoded(pixels)
    assert refused.value.status is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"])
def test_a_picture_is_seen_as_its_own_colours_whatever_its_mode(mode: str) -> None:
    by_way_of = {"La": "LA", "PA": "P", "RGBa": "RGBA"}  # Pillow converts to these from one mode only, and back
    picture = Image.fromarray(noise(16, 24)).convert(by_way_of.get(mode, mode)).convert(mode)
    plain = picture.convert("LA") if mode == "La" else picture
    assert np.array_equal(seen(picture), np.asarray(plain.convert("RGB")))


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_sixteen_bits_are_scaled_as_the_server_scales_a_file_of_them(mode: str) -> None:
    grey = noise(16, 24, 1)[..., 0]
    picture = Image.fromarray(grey.astype(np.int32) * 257).convert(mode)
    assert np.array_equal(seen(picture)[..., 0], grey)


def test_transparency_travels() -> None:
    clear = Image.new("RGBA", (24, 16), (255, 0, 0, 0))
    assert (seen(clear) == 255).all()
    palette = Image.new("P", (24, 16))
    palette.info["transparency"] = 0
    assert (seen(palette) == 255).all()


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_picture_opened_from_a_phone_s_file_stands_as_the_file_does(orientation: int) -> None:
    body = with_orientation(noise(16, 24), orientation, "PNG")
    assert np.array_equal(seen(Image.open(io.BytesIO(body))), noise(16, 24))


def test_nothing_but_pixels_and_orientation_leaves_the_house() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera maker"
    picture = Image.open(io.BytesIO(picture_file(noise(), "JPEG", exif=exif, icc_profile=b"a colour profile")))
    sent = Image.open(io.BytesIO(encoded(picture)))
    sent.load()
    assert dict(sent.getexif()) == {0x0112: 6}
    assert "icc_profile" not in sent.info


def test_a_picture_with_damaged_metadata_is_sent_without_it() -> None:
    body = with_damaged_exif(jpeg(noise(16, 24)))
    assert np.array_equal(seen(Image.open(io.BytesIO(body))), seen(body))


def test_a_picture_whose_file_is_damaged_is_an_undecodable_image() -> None:
    body = list(truncations(png(noise(64, 64))))[-4]
    with pytest.raises(UndecodableImage, match="cannot be encoded"):
        encoded(Image.open(io.BytesIO(body)))
    with pytest.raises(UndecodableImage, match="floating-point"):
        encoded(Image.new("F", (4, 4)))


def test_one_opened_picture_may_be_sent_many_times_at_once() -> None:
    for seed in range(20):
        picture = Image.open(io.BytesIO(png(noise(64, 64, seed=seed))))
        with ThreadPoolExecutor(4) as threads:
            sent = set(threads.map(encoded, [picture] * 4))
        assert len(sent) == 1


@pytest.mark.parametrize("wrong", [None, 7, ["cat.jpg"], object()], ids=lambda wrong: type(wrong).__name__)
def test_anything_else_is_the_caller_s_mistake(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a path, bytes, a PIL image or a uint8 array"):
        encoded(wrong)


@pytest.mark.parametrize("path", ["none.jpg", ".", "nul\0.jpg"])
def test_a_path_that_cannot_be_read_says_why(path: str) -> None:
    with pytest.raises(UnreadableFile, match=r"cannot be read \(.+\)"):
        encoded(path)


def test_a_folder_gives_its_images_in_the_order_of_their_names(tmp_path: Path) -> None:
    wanted = ["10.png", "9.JPG", "b.jpeg", "a/1.webp", "a/z/0.gif", "c/2.bmp", "c/3.tiff"]
    for name in [*wanted, "notes.txt", "card.json", ".hidden.jpg", ".cache/1.jpg", "a/jpg", "c/._3.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for folder in (tmp_path, str(tmp_path)):
        assert [str(Path(path).relative_to(tmp_path)) for path in each_image(folder)] == wanted  # type: ignore[arg-type]


def test_every_format_that_is_read_has_a_suffix() -> None:
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in SUFFIXES if suffix in known} - {"HEIF"} == set(FORMATS) - {"HEIC"}
    assert {".heic", ".heif"} <= set(SUFFIXES)  # read where the server has what that takes


def test_a_file_given_as_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    for path in (tmp_path / "cat.jpg", tmp_path / "none"):
        with pytest.raises(UnreadableFile, match="is not a folder"):
            each_image(path)


@pytest.mark.parametrize(
    "one", [b"jpeg", bytearray(b"jpeg"), Image.new("L", (4, 4)), noise(), noise()[..., 0]], ids=type
)
def test_a_single_image_in_place_of_several_is_refused_at_once(one: Any) -> None:
    with pytest.raises(TypeError, match="expected several images or a folder"):
        each_image(one)


def test_an_array_of_pictures_is_several_images() -> None:
    assert [np.asarray(image).shape for image in each_image(np.zeros((2, 4, 5, 3), np.uint8))] == [(4, 5, 3)] * 2
