"""Promises of `classifier.images`: any bytes in, the pixels a network was trained on or an explained refusal out."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from classifier.card import InputSpec
from classifier.errors import ImageTooLarge, NotAnImage, SightlineError, UndecodableImage
from classifier.formats import FORMATS, MAGICS, READS_HEIC, identify
from classifier.images import MAX_PIXELS, OpenedImage, decode, encode_png, from_array
from tests import pictures
from tests.pictures import BLUE, GREEN, RED, YELLOW, claiming, encoded, jpeg, noise, png, scene, with_orientation

RGB = InputSpec(height=20, width=30, channels=3)
GREY = InputSpec(height=20, width=30, channels=1)
SMALL = 1_000_000  # pixels; keeps damaged headers from making a test slow

BODIES = {name: encoded(noise(), name) for name in pictures.FORMATS} | {
    "JPEG progressive": jpeg(noise(), progressive=True),
    "JPEG with EXIF": with_orientation(noise(), 6),
    "JPEG CMYK": jpeg(Image.fromarray(noise()).convert("CMYK")),
    "PNG palette": png(Image.fromarray(noise()).quantize(16)),
    "PNG 16 bits": png(Image.fromarray(noise(channels=1)[..., 0].astype(np.uint16) * 257)),
    "WEBP lossy": encoded(noise(), "WEBP", lossless=False),
    "WEBP animated": pictures.frames("WEBP"),
    "GIF animated": pictures.frames("GIF"),
    "TIFF deflate": encoded(noise(), "TIFF", compression="tiff_deflate"),
    "TIFF with EXIF": with_orientation(noise(), 6, "TIFF"),
}


def spec_of(pixels: np.ndarray, channels: int = 3) -> InputSpec:
    return InputSpec(height=pixels.shape[0], width=pixels.shape[1], channels=channels)


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours well inside the four quarters, rounded: reading order."""
    height, width, _ = pixels.shape
    ys, xs = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(pixels[y, x].tolist()) for y in ys for x in xs]


def assert_is_scene(pixels: np.ndarray) -> None:
    np.testing.assert_allclose(corners(pixels), [RED, GREEN, BLUE, YELLOW], atol=12)


# Formats


def test_the_formats_read_are_the_documented_ones():
    assert (*pictures.FORMATS, *(["HEIC"] if READS_HEIC else [])) == FORMATS


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_every_format_decodes_to_the_spec(name):
    pixels = decode(encoded(scene(), name), RGB)
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    assert_is_scene(pixels)


@pytest.mark.parametrize("name", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_at_the_spec_size_come_back_unchanged(name):
    pixels = noise()
    np.testing.assert_array_equal(decode(encoded(pixels, name), spec_of(pixels)), pixels)


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_a_format_is_recognised_by_its_bytes(name):
    assert identify(encoded(scene(), name)) == name


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GIF", id="less than a magic number"),
        pytest.param(b"RIFF\x24\x00\x00\x00WAVEfmt ", id="a RIFF file that is sound"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"<!doctype html>", id="HTML"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0", id="EPS, for which Pillow would start Ghostscript"),
        pytest.param(b"P6 1 1 255 abc", id="PPM, which Pillow reads and we do not"),
        pytest.param(b'{"image": "..."}', id="JSON"),
    ],
)
def test_anything_else_is_not_an_image_and_the_message_says_what_is_read(body):
    with pytest.raises(NotAnImage, match="JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF"):
        decode(body, RGB)


@pytest.mark.parametrize("name", ["PNG", "GIF", "WEBP", "TIFF", "MPO"])
def test_the_first_frame_counts(name):
    assert_is_scene(decode(pictures.frames(name), RGB))


# Orientation


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("shape", [(20, 30), (30, 20)], ids=["lying", "standing"])
def test_pictures_are_seen_upright_whichever_way_the_camera_was_held(name, orientation, shape):
    spec = InputSpec(height=shape[0], width=shape[1], channels=3)
    assert_is_scene(decode(with_orientation(scene(), orientation, name), spec))


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
def test_a_turned_photo_is_decoded_at_the_scale_of_the_upright_one(orientation):
    smooth = np.asarray(Image.fromarray(noise(6, 9)).resize((900, 600), Image.Resampling.BICUBIC))
    spec = InputSpec(height=50, width=140, channels=3)
    upright, turned = decode(jpeg(smooth), spec), decode(with_orientation(smooth, orientation), spec)
    assert np.abs(turned.astype(int) - upright).max() <= 6


def test_a_turned_jpeg_without_exif_stays_as_it_is():
    assert corners(decode(png(np.rot90(scene())), RGB)) == [GREEN, YELLOW, RED, BLUE]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_means_upright(orientation):
    assert_is_scene(decode(jpeg(exif=pictures.exif(orientation)), RGB))


@pytest.mark.parametrize("body", [jpeg(), jpeg(progressive=True)], ids=["baseline", "progressive"])
def test_damaged_exif_does_not_cost_a_good_picture(body):
    np.testing.assert_array_equal(decode(pictures.with_damaged_exif(body), RGB), decode(body, RGB))


@pytest.mark.parametrize(
    "block", [b"", b"Exif\x00\x00", b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_an_exif_block_of_nonsense_does_not_cost_a_good_picture(name, block):
    assert_is_scene(decode(encoded(scene(), name, exif=block), RGB))


# Kinds of pixels


def test_transparency_is_laid_on_white():
    rgba = np.asarray([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    expected = [[[255, 0, 0], [255, 255, 255], [127, 127, 127]]]
    np.testing.assert_allclose(decode(png(rgba), spec_of(rgba)), expected, atol=1)
    np.testing.assert_allclose(decode(png(rgba), spec_of(rgba, 1))[..., 0], [[76, 255, 127]], atol=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_with_alpha_is_laid_on_white(channels):
    image = Image.fromarray(np.asarray([[[10, 255], [10, 0]]], np.uint8), "LA")
    pixels = decode(png(image), InputSpec(height=1, width=2, channels=channels))
    assert pixels[0, 0].tolist() == [10] * channels
    assert pixels[0, 1].tolist() == [255] * channels


@pytest.mark.parametrize("name", ["PNG", "GIF"])
@pytest.mark.parametrize("transparency", [None, 1], ids=["opaque", "transparent"])
def test_palettes_are_resolved_and_their_transparent_colour_is_white(name, transparency):
    image = Image.fromarray(np.asarray([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([*RED, *GREEN, *BLUE])
    options = {} if transparency is None else {"transparency": transparency}
    middle = GREEN if transparency is None else (255, 255, 255)
    assert decode(encoded(image, name, **options), InputSpec(height=1, width=3, channels=3)).tolist() == [
        [list(RED), list(middle), list(BLUE)]
    ]


def test_a_palette_with_half_transparent_colours_is_laid_on_white():
    image = Image.fromarray(np.asarray([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 0, 0, 0])
    body = png(image, transparency=bytes([255, 128]))
    pixels = decode(body, InputSpec(height=1, width=2, channels=1))
    np.testing.assert_allclose(pixels[0, :, 0], [0, 127], atol=1)


@pytest.mark.parametrize(("mode", "transparency"), [("RGB", RED), ("L", 7)])
def test_a_single_transparent_colour_is_white(mode, transparency):
    image = Image.new(mode, (2, 1), transparency)
    pixels = decode(png(image, transparency=transparency), InputSpec(height=1, width=2, channels=3))
    assert (pixels == 255).all()


@pytest.mark.parametrize("height", [255, 256, 257, 600])
def test_the_rows_of_a_tall_picture_keep_their_places(height):
    rows = np.arange(height)
    rgba = np.zeros((height, 2, 4), np.uint8)
    rgba[..., 0], rgba[:, 0, 3], rgba[:, 1, 1] = (rows % 251)[:, None], 255, 255
    pixels = decode(png(rgba), InputSpec(height=height, width=2, channels=3))
    np.testing.assert_array_equal(pixels[:, 0], np.stack([rows % 251, rows * 0, rows * 0], axis=1))
    assert (pixels[:, 1] == 255).all()
    wide = (rows[:, None] * 100).astype(np.uint16)
    narrow = decode(png(Image.fromarray(wide)), InputSpec(height=height, width=1, channels=1))
    np.testing.assert_array_equal(narrow[..., 0], wide >> 8)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight(name, channels):
    wide = np.asarray([[0, 255, 0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    pixels = decode(encoded(Image.fromarray(wide), name), InputSpec(height=1, width=5, channels=channels))
    assert pixels[0, :, 0].tolist() == [0, 0, 127, 128, 255]


def test_big_endian_sixteen_bits_are_scaled_to_eight():
    image = Image.frombytes("I;16B", (2, 1), b"\x80\x00\xff\xff")
    assert decode(encoded(image, "TIFF"), InputSpec(height=1, width=2, channels=1)).tolist() == [[[128], [255]]]


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_pictures_are_black_and_white(name):
    image = Image.fromarray(np.asarray([[0, 255]], np.uint8)).convert("1")
    assert decode(encoded(image, name), InputSpec(height=1, width=2, channels=3)).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_is_read_as_printed(name):
    pixels = decode(encoded(Image.fromarray(scene()).convert("CMYK"), name), RGB)
    assert_is_scene(pixels)


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_is_read_by_grey_networks(name):
    body = encoded(Image.fromarray(scene()).convert("CMYK"), name)
    np.testing.assert_allclose(corners(decode(body, GREY)), corners(from_array(scene(), GREY)), atol=4)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_grey_pictures_are_read_by_colour_networks(name):
    pixels = decode(encoded(Image.fromarray(scene()).convert("L"), name), RGB)
    assert (pixels == pixels[..., :1]).all()


def test_pixels_without_an_agreed_white_are_refused_in_words():
    with pytest.raises(UndecodableImage, match="8 or 16 bits"):
        decode(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), RGB)


def test_a_grey_network_sees_the_luminance_of_a_colour_photo():
    np.testing.assert_allclose(corners(decode(jpeg(), GREY)), corners(from_array(scene(), GREY)), atol=4)


# Size


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes, width first, of what came out of the decoders and went into the resize."""
    sizes, resize = [], Image.Image.resize

    def spy(image, *args, **kwargs):
        sizes.append(image.size)
        return resize(image, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", spy)
    return sizes


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_large_photos_are_decoded_at_a_reduced_scale(decoded_sizes, mode):
    photo = Image.fromarray(scene(480, 720)).convert(mode)
    pixels = decode(jpeg(photo), RGB)
    assert decoded_sizes == [(90, 60)]
    np.testing.assert_allclose(corners(pixels), corners(np.asarray(photo.convert("RGB"))), atol=4)


@pytest.mark.parametrize(("width", "height"), [(239, 159), (59, 39), (31, 400), (300, 21), (12, 8)])
def test_a_photo_is_never_decoded_below_the_size_that_is_needed(decoded_sizes, width, height):
    decode(jpeg(scene(height, width)), RGB)
    ((decoded_width, decoded_height),) = decoded_sizes
    assert decoded_width >= min(width, RGB.width)
    assert decoded_height >= min(height, RGB.height)


def test_reduced_decoding_changes_little():
    smooth = np.asarray(Image.fromarray(noise(5, 7)).resize((560, 400), Image.Resampling.BICUBIC))
    photo = jpeg(smooth)
    difference = np.abs(decode(photo, RGB).astype(int) - from_array(smooth, RGB))
    assert difference.mean() < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP-VP8X", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("side", [8_000, 12_000, 65_000], ids="{:,}".format)
def test_a_header_that_announces_too_many_pixels_is_refused(kind, side):
    with pytest.raises(ImageTooLarge, match="scale the picture down"):
        decode(claiming(kind, side, side), RGB)


@pytest.mark.parametrize("kind", ["WEBP", "WEBP-VP8L"])
def test_webp_has_its_size_read_in_each_of_its_dialects(kind):
    with pytest.raises(ImageTooLarge, match="16383 x 8000"):
        decode(claiming(kind, 16_383, 8_000), RGB)


def test_what_is_refused_takes_no_memory():
    kinds = ("JPEG", "PNG", "WEBP-VP8X", "GIF", "BMP", "TIFF")
    script = f"""
import resource
from classifier.card import InputSpec
from classifier.errors import ImageTooLarge
from classifier.images import decode
from tests.pictures import claiming, scene, png
spec = InputSpec(height=8, width=8, channels=3)
decode(png(), spec)  # whatever is imported late
bodies = [claiming(kind, side, side) for kind in {kinds} for side in (12_000, 65_000)]
bodies += [claiming(kind, 16_383, 8_000) for kind in ("WEBP", "WEBP-VP8L")]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, used + 50_000_000))
for body in bodies:
    try:
        decode(body, spec)
    except ImageTooLarge:
        continue
    raise SystemExit("not refused")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_limit_counts_pixels_and_includes_itself():
    body = png(noise(10, 10))
    decode(body, RGB, max_pixels=100)
    with pytest.raises(ImageTooLarge, match="10 x 10 is over 99 pixels"):
        decode(body, RGB, max_pixels=99)


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_an_opened_picture_says_by_its_header_what_it_will_hold_and_is_decoded_later(name):
    body = encoded(Image.fromarray(scene()).resize((40, 20)), name)
    opened = OpenedImage(body, RGB, max_pixels=800)
    assert opened.pixels == 800
    assert opened.held_pixels == (200 if name == "JPEG" else 800)  # libjpeg shrinks a picture while it reads it
    np.testing.assert_array_equal(opened.decode(), decode(body, RGB))
    with pytest.raises(ImageTooLarge, match="40 x 20"):
        OpenedImage(body, RGB, max_pixels=799)


def test_an_opened_picture_holds_none_of_the_text_that_its_header_unfolds_to():
    texts = PngInfo()
    for number in range(20):
        texts.add_text(f"text{number}", "x" * 1_000_000, zip=True)
    body = encoded(noise(64, 64), "PNG", pnginfo=texts)
    tracemalloc.start()
    try:
        opened = OpenedImage(body, RGB, MAX_PIXELS)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(opened.decode(), decode(body, RGB))


def test_the_limit_is_below_the_one_from_which_pillow_complains():
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS <= Image.MAX_IMAGE_PIXELS


# Damage


def decode_or_refuse(body: bytes) -> None:
    """Anything but pixels or one of our own errors fails the test."""
    for spec in (RGB, GREY):
        try:
            pixels, said = decode(body, spec, max_pixels=SMALL), "nothing"
        except SightlineError as error:
            pixels, said = np.zeros(spec.shape, np.uint8), str(error)
        assert (pixels.shape, pixels.dtype) == (spec.shape, np.uint8)
        assert said
        assert "0x" not in said  # no addresses of our memory


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_an_upload_that_broke_off_anywhere_is_an_error_we_explain(body):
    for beginning in pictures.truncations(body):
        decode_or_refuse(beginning)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_half_a_picture_is_not_guessed_at(name):
    body = encoded(noise(64, 64), name)
    with pytest.raises(UndecodableImage, match=f"the {name} image is damaged or incomplete"):
        decode(body[: len(body) // 2], RGB)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    body=st.sampled_from(list(BODIES.values())),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=6),
    dense_header=st.booleans(),
)
def test_changed_bytes_give_pixels_or_an_error_we_explain(body, changes, dense_header):
    damaged = bytearray(body)
    reach = min(len(body), 200) if dense_header else len(body)
    for where, what in changes:
        start = int(where * reach)
        damaged[start : start + len(what)] = what
    decode_or_refuse(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(magic=st.sampled_from([magic for magics in MAGICS.values() for magic in magics]), rest=st.binary(max_size=200))
@example(magic=b"RIFF", rest=b"\x00\x00\x00\x00WEBP")
@example(magic=b"RIFF", rest=b"\x00\x00\x00\x00WEBPVP8X")
@example(magic=b"BM", rest=b"W is a maker of cars")
def test_any_bytes_behind_a_magic_number_give_pixels_or_an_error_we_explain(magic, rest):
    decode_or_refuse(magic + rest)


def test_damaged_metadata_is_no_matter_for_the_log():
    script = """
from classifier.card import InputSpec
from classifier.errors import SightlineError
from classifier.images import decode
from tests.pictures import encoded, jpeg, noise, truncations, with_damaged_exif
spec = InputSpec(height=8, width=8, channels=3)
bodies = [with_damaged_exif(jpeg()), *truncations(encoded(noise(), "TIFF")), *truncations(encoded(noise(), "MPO"))]
for body in bodies:
    try:
        decode(body, spec)
    except SightlineError:
        pass
"""
    run = subprocess.run([sys.executable, "-W", "default", "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_threads_do_not_disturb_each_other():
    bodies = list(BODIES.values()) * 8
    alone = [decode(body, RGB) for body in bodies]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda body: decode(body, RGB), bodies))
    np.testing.assert_array_equal(together, alone)


# Resize and contrast


@pytest.mark.parametrize("name", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_every_resize_filter_a_card_may_name_works(name):
    spec = RGB.model_copy(update={"resize": name})
    expected = Image.fromarray(scene()).resize((30, 20), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(decode(png(), spec), np.asarray(expected))


STRETCH = InputSpec(height=1, width=3, channels=1, contrast="stretch")


def test_contrast_is_stretched_from_black_to_white():
    assert from_array(np.asarray([[50, 75, 100]], np.uint8), STRETCH)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_flat_picture_has_no_contrast_to_stretch(value):
    assert from_array(np.full((1, 3), value, np.uint8), STRETCH)[0, :, 0].tolist() == [value] * 3


@pytest.mark.slow
def test_stretching_twice_is_stretching_once():
    for low in range(256):
        for high in range(low, 256, 5):
            once = from_array(np.asarray([[low, (low + high) // 2, high]], np.uint8), STRETCH)
            assert low == high or (once.min(), once.max()) == (0, 255)
            np.testing.assert_array_equal(from_array(once, STRETCH), once)


def test_the_channels_of_a_colour_picture_are_stretched_together():
    spec = InputSpec(height=1, width=2, channels=3, contrast="stretch")
    pixels = from_array(np.asarray([[[100, 110, 120], [150, 140, 130]]], np.uint8), spec)
    assert pixels.tolist() == [[[0, 51, 102], [255, 204, 153]]]


# Arrays


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.sampled_from([1, 3]),
    wanted=st.sampled_from([1, 3]),
    contrast=st.sampled_from(["none", "stretch"]),
    seed=st.integers(0, 9),
)
def test_an_array_and_its_png_come_to_the_same_pixels(height, width, channels, wanted, contrast, seed):
    pixels = noise(height, width, channels, seed)
    spec = InputSpec(height=5, width=7, channels=wanted, contrast=contrast)
    np.testing.assert_array_equal(from_array(pixels, spec), decode(encode_png(pixels), spec))


@pytest.mark.parametrize("channels", [1, 3])
def test_encoding_as_png_loses_nothing(channels):
    pixels = noise(channels=channels)
    np.testing.assert_array_equal(decode(encode_png(pixels), spec_of(pixels, channels)), pixels)


def test_grey_arrays_may_lack_the_channel_axis():
    pixels = noise(channels=1)
    np.testing.assert_array_equal(from_array(pixels[..., 0], GREY), from_array(pixels, GREY))


def test_views_of_arrays_are_read_as_they_look():
    pixels = noise()
    np.testing.assert_array_equal(from_array(pixels[::-1, ::2], RGB), from_array(pixels[::-1, ::2].copy(), RGB))


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((4, 4, 3), np.float32), id="floats"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), id="four channels"),
        pytest.param(np.zeros((4, 4, 2), np.uint8), id="two channels"),
        pytest.param(np.zeros(16, np.uint8), id="one axis"),
        pytest.param(np.zeros((1, 4, 4, 3), np.uint8), id="a batch"),
        pytest.param(np.zeros((0, 4), np.uint8), id="no pixels"),
    ],
)
def test_other_arrays_are_refused_and_the_message_says_what_came(pixels):
    with pytest.raises(UndecodableImage, match=r"expected uint8 .* got"):
        from_array(pixels, RGB)
