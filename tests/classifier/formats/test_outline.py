"""Promises of `classifier.formats`: what a file's structure says before anything is decoded."""

from __future__ import annotations

import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from classifier.errors import ImageTooLarge, NotAnImage, SightlineError, TooComplexImage, UndecodableImage
from classifier.formats import FORMATS, bmp, gif, jpeg, outline, png, tiff, webp
from tests import pictures
from tests.hostile import MAKERS
from tests.hostile import jpeg as hostile_jpeg
from tests.hostile.hostile import Maker
from tests.hostile.jpeg import segment
from tests.hostile.png import chunk

PNG_HEAD_ENDS = 33
JFIF_ENDS = 20


def png_with(*chunks: bytes) -> bytes:
    body = pictures.png()
    return body[:PNG_HEAD_ENDS] + b"".join(chunks) + body[PNG_HEAD_ENDS:]


def jpeg_with(addition: bytes, **options: object) -> bytes:
    body = pictures.jpeg(**options)
    return body[:JFIF_ENDS] + addition + body[JFIF_ENDS:]


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_the_sides_are_those_of_the_picture(name: str) -> None:
    found = outline(pictures.encoded(pictures.scene(), name))
    assert (found.kind, found.width, found.height, found.pixels) == (name, 60, 40, 2_400)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pictures.jpeg(), id="baseline"),
        pytest.param(pictures.jpeg(Image.fromarray(pictures.scene()).convert("L")), id="grey"),
        pytest.param(pictures.jpeg(progressive=True), id="progressive, with the scans that encoders write"),
        pytest.param(pictures.with_orientation(pictures.scene(), 6), id="with EXIF"),
        pytest.param(pictures.png(), id="PNG"),
        pytest.param(pictures.png(Image.fromarray(pictures.scene()).quantize(16)), id="PNG with a palette"),
    ],
)
def test_ordinary_jpegs_and_pngs_are_plain(body: bytes) -> None:
    assert outline(body).is_plain


@pytest.mark.parametrize("name", ["WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_nothing_else_is_plain(name: str) -> None:
    assert not outline(pictures.encoded(pictures.scene(), name)).is_plain


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pictures.jpeg(Image.fromarray(pictures.scene()).convert("CMYK")), id="CMYK"),
        pytest.param(pictures.jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1), id="arithmetic coding"),
        pytest.param(pictures.claiming("JPEG", 6_000, 6_000), id="over 25 megapixels"),
        pytest.param(jpeg_with(segment(0xED, bytes(60_000)) * 5), id="much for Pillow to look into"),
        pytest.param(
            hostile_jpeg.progressive(3_000, 3_000) + hostile_jpeg.EMPTY_SCAN * 20, id="many scans of many pixels"
        ),
        pytest.param(pictures.claiming("PNG", 2_501, 2_500), id="a PNG of over 6.25 megapixels"),
        pytest.param(png_with()[:28] + b"\x01" + png_with()[29:], id="an interlaced PNG"),
    ],
)
def test_what_may_cost_more_than_its_pixels_is_not_plain(body: bytes) -> None:
    assert not outline(body).is_plain


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_every_truncation_has_an_outline_or_an_explained_refusal(name: str) -> None:
    for body in pictures.truncations(pictures.encoded(pictures.scene(), name)):
        with suppress(SightlineError):
            assert outline(body).pixels


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_every_changed_byte_has_an_outline_or_an_explained_refusal(name: str) -> None:
    whole = pictures.encoded(pictures.scene(), name)
    for at in range(min(len(whole), 700)):
        for value in (0, 1, 0x7F, 0xFF):
            body = bytearray(whole)
            body[at] = value
            with suppress(SightlineError):
                assert outline(bytes(body)).pixels


# What no honest picture has


@pytest.mark.parametrize(
    ("at_most", "beyond", "said"),
    [
        pytest.param(
            jpeg_with(segment(0xE5, b"") * (jpeg.MOST_SEGMENTS - 20)),
            jpeg_with(segment(0xE5, b"") * jpeg.MOST_SEGMENTS),
            "segments",
            id="JPEG segments",
        ),
        pytest.param(
            jpeg_with(b"\xff" * jpeg.MOST_FILLING),
            jpeg_with(b"\xff" * (jpeg.MOST_FILLING + 1)),
            "filling",
            id="filling",
        ),
        pytest.param(
            hostile_jpeg.progressive(64, 64) + hostile_jpeg.EMPTY_SCAN * (jpeg.MOST_SCANS - 10),
            hostile_jpeg.progressive(64, 64) + hostile_jpeg.EMPTY_SCAN * (jpeg.MOST_SCANS - 9),
            "scans",
            id="JPEG scans",
        ),
        pytest.param(
            png_with(chunk(b"prVt") * (png.MOST_CHUNKS - 10)),
            png_with(chunk(b"prVt") * png.MOST_CHUNKS),
            "chunks",
            id="PNG chunks",
        ),
        pytest.param(
            b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\1c\0" * (gif.MOST_SUB_BLOCKS // 2) + b"," + bytes(4) + b"\1\0\1\0\0\2\0;",
            b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1c" * (gif.MOST_SUB_BLOCKS + 1) + b"\0," + bytes(4) + b"\1\0\1\0\0\2\0;",
            "blocks",
            id="GIF blocks",
        ),
        pytest.param(
            pictures.encoded(pictures.scene(), "WEBP") + b"prVt\0\0\0\0" * (webp.MOST_CHUNKS - 10),
            pictures.encoded(pictures.scene(), "WEBP") + b"prVt\0\0\0\0" * webp.MOST_CHUNKS,
            "chunks",
            id="WebP chunks",
        ),
    ],
)
def test_a_file_may_have_so_many_parts_and_no_more(at_most: bytes, beyond: bytes, said: str) -> None:
    assert outline(at_most).pixels
    with pytest.raises(TooComplexImage, match=said):
        outline(beyond)


def rle(width: int, height: int, rows: bytes) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + info + bytes(1024) + rows


def test_a_run_length_encoded_bmp_has_the_pixels_that_its_bytes_can_hold() -> None:
    assert outline(rle(255, 1_000, b"\xff\1\0\0" * 1_000)).pixels == 255_000
    with pytest.raises(UndecodableImage, match="cannot hold"):
        outline(rle(1_000_000, 1, b"\0\0"))
    with pytest.raises(TooComplexImage, match="pixels"):
        outline(rle(4_001, 1_000, bytes(100_000)))
    with pytest.raises(TooComplexImage, match="bytes"):
        outline(rle(1_000, 1_000, bytes(bmp.MOST_RLE_BYTES)))


def test_a_bmp_from_the_top_down_has_its_height() -> None:
    body = bytearray(pictures.encoded(pictures.scene(), "BMP"))
    struct.pack_into("<i", body, 22, -40)
    assert outline(bytes(body)).height == 40


def test_strips_of_a_tiff_do_not_overlap() -> None:
    for maker in hostile_makers("tiff"):
        if maker.name in ("tiff-strips-a-byte-apart", "tiff-rows-in-one-strip", "tiff-few-rows-many-strips"):
            with pytest.raises(UndecodableImage, match="strips"):
                outline(maker(4_000).body)


def test_an_honest_tiff_may_have_one_strip_for_each_row_and_any_number_of_directories() -> None:
    image = Image.fromarray(pictures.noise(300, 200))
    assert outline(pictures.encoded(image, "TIFF", strip_size=1)).height == 300
    assert outline(pictures.frames("TIFF")).height == 40


def test_a_tiff_has_at_most_so_many_entries_and_strips() -> None:
    for maker in (m for m in hostile_makers("tiff") if m.name in ("tiff-entries-of-shorts", "tiff-tiles")):
        with pytest.raises(TooComplexImage, match=r"entries|strips or tiles"):
            outline(maker(9_600_000).body)
    assert tiff.MOST_STRIPS == 65_536


def hostile_makers(start: str) -> list[Maker]:
    return [maker for maker in MAKERS if maker.name.startswith(start)]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_no_side_is_over_a_million_pixels(kind: str) -> None:
    with pytest.raises(ImageTooLarge, match="side"):
        outline(pictures.claiming(kind, 1_000_001, 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_picture_has_pixels(kind: str) -> None:
    with pytest.raises(UndecodableImage, match="0 pixels"):
        outline(pictures.claiming(kind, 8, 0))


def test_a_jpeg_of_two_frames_is_damaged() -> None:
    with pytest.raises(UndecodableImage, match="two frames"):
        outline(jpeg_with(segment(0xC0, b"\x08\0\x08\0\x08\1\1\x11\0")))


# A PNG's metadata


def test_metadata_of_a_png_is_left_out_and_the_pixels_stay() -> None:
    found = outline(png_with(chunk(b"tEXt", b"a\0" + b"b" * 2_000_000), chunk(b"iCCP", b"a\0\0" + bytes(500_000))))
    assert len(found.body) == len(pictures.png())
    with Image.open(io.BytesIO(found.body)) as image:
        np.testing.assert_array_equal(np.asarray(image), pictures.scene())


def test_a_png_without_metadata_is_not_copied() -> None:
    body = pictures.png()
    assert outline(body).body is body


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
def test_the_metadata_that_turns_a_png_stays(orientation: int) -> None:
    body = pictures.with_orientation(pictures.scene(), orientation, "PNG")
    assert outline(body).body == body
    assert outline(body).may_turn


def test_metadata_that_unfolds_to_much_is_left_out_even_if_it_may_turn() -> None:
    bombs = [maker(0).body for maker in hostile_makers("png-xmp-bomb")]
    assert [len(outline(body).body) for body in bombs] == [len(pictures.png())]


def test_all_formats_have_an_outline_and_others_are_named_as_not_an_image() -> None:
    assert set(pictures.FORMATS) | {"HEIC"} >= set(FORMATS) >= set(pictures.FORMATS)
    with pytest.raises(NotAnImage, match="JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF"):
        outline(b"<svg/>")
