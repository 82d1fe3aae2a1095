from __future__ import annotations

import base64
import struct
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest

from classifier.card import InputSpec
from service.api.oip import protocol, tensors
from service.errors import BodyTooLarge, MalformedRequest
from tests.pictures import encoded, noise, png
from tests.service.pictures import TEXT

SPEC = InputSpec(height=2, width=3, channels=3)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 3), np.uint8)
PNG = png(noise(4, 4))


def read(shape: Any, datatype: str, data: Any = None, raw: bytes | None = None, **parameters: Any) -> Any:
    parameters |= {} if raw is None else {"binary_data_size": len(raw)}
    tensor = {"name": "image", "shape": shape, "datatype": datatype, "data": data, "parameters": parameters}
    head = orjson.dumps({"inputs": [tensor]})
    return tensors.read(protocol.parse(head + (raw or b""), len(head)), SPEC, max_images=4)


@pytest.mark.parametrize("dtype", ["UINT8", "FP32"])
@pytest.mark.parametrize("form", ["nested", "flat", "raw"])
def test_pixels_arrive_as_they_were_sent(dtype: str, form: str) -> None:
    sent = PIXELS if dtype == "UINT8" else PIXELS.astype("<f4")
    body = {
        "nested": {"data": sent.tolist()},
        "flat": {"data": sent.ravel().tolist()},
        "raw": {"raw": sent.tobytes()},
    }[form]
    read_back = read([2, 2, 3, 3], dtype, **body)
    assert read_back.dtype == np.uint8
    np.testing.assert_array_equal(read_back, PIXELS)


@pytest.mark.parametrize("form", ["data", "raw"])
def test_fp32_pixels_are_rounded_to_the_nearest(form: str) -> None:
    sent = np.full((1, 2, 3, 3), 254.4, np.float32)
    sent[0, 0, 0] = [0.0, 0.6, 255.0]
    pixels = read([1, 2, 3, 3], "FP32", **({"data": sent.tolist()} if form == "data" else {"raw": sent.tobytes()}))
    assert pixels[0, 0, 0].tolist() == [0, 1, 255]
    assert pixels[0, 1, 2].tolist() == [254, 254, 254]


@pytest.mark.parametrize("value", [-0.1, 255.1, float("nan"), float("inf"), -float("inf")])
def test_raw_fp32_pixels_outside_0_to_255_are_refused_naming_the_image(value: float) -> None:
    sent = PIXELS.astype("<f4")
    sent[1, 1, 2, 0] = value
    with pytest.raises(MalformedRequest, match=r"image 1: pixels must lie in 0\.\.255"):
        read([2, 2, 3, 3], "FP32", raw=sent.tobytes())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (256, r"pixels must lie in 0\.\.255, not 256"),
        (-1, r"pixels must lie in 0\.\.255, not -1"),
        (0.5, "UINT8 takes whole numbers"),
        (None, "expected numbers"),
        ("12", "expected numbers"),
        ([1], "expected"),
        ({}, "expected numbers"),
    ],
    ids=["too large", "negative", "fraction", "null", "text", "list", "object"],
)
@pytest.mark.parametrize("form", ["nested", "flat"])
def test_json_pixels_that_are_no_uint8_are_refused_naming_the_image(form: str, value: Any, said: str) -> None:
    flat = PIXELS.ravel().tolist()
    flat[20] = value
    nested = PIXELS.tolist()
    nested[1][0][0][2] = value
    with pytest.raises(MalformedRequest, match=f"image 1: {said}"):
        read([2, 2, 3, 3], "UINT8", data=flat if form == "flat" else nested)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [1],
        [[]],
        [[[[1]]]],
        "pixels",
        {},
        5,
        PIXELS.ravel().tolist()[:-1],
        PIXELS.tolist()[:1],
        [[1] * 17, [1] * 18],
    ],
    ids=["empty", "one", "one empty", "deep", "text", "object", "number", "too few", "one image", "ragged"],
)
def test_data_that_does_not_fit_the_shape_is_refused(data: Any) -> None:
    with pytest.raises(MalformedRequest, match=r"image 0|does not fit|either `data`"):
        read([2, 2, 3, 3], "UINT8", data=data)


def test_nested_data_must_be_nested_as_the_shape_says() -> None:
    transposed = PIXELS.transpose(0, 3, 1, 2)
    with pytest.raises(MalformedRequest, match=r"nested as \[2, 3, 3\], got \[3, 2, 3\]"):
        read([2, 2, 3, 3], "UINT8", data=transposed.tolist())


def test_long_text_in_place_of_pixels_costs_no_memory() -> None:
    data = [["x" * 500_000, *[""] * 17], [0] * 18]
    tracemalloc.start()
    with pytest.raises(MalformedRequest, match="image 0"):
        read([2, 2, 3, 3], "UINT8", data=data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000  # as a NumPy array of text it would take 36 MB


@pytest.mark.parametrize("shape", [[2, 3, 3], [0, 2, 3, 3], [-1, 2, 3, 3], [1, 3, 2, 3], [1, 2, 3], [], [18]])
def test_a_shape_that_is_not_the_networks_is_refused_naming_the_right_one(shape: list[int]) -> None:
    with pytest.raises(MalformedRequest, match=r"must have the shape \[n, 2, 3, 3\].*pictures of any size"):
        read(shape, "UINT8", data=[0] * 18)


@pytest.mark.parametrize("datatype", ["INT64", "FP64", "BOOL", "uint8", "BF16", ""])
def test_another_datatype_is_refused_naming_ours(datatype: str) -> None:
    with pytest.raises(MalformedRequest, match="UINT8, FP32 or BYTES"):
        read([1, 2, 3, 3], datatype, data=[0] * 18)


@pytest.mark.parametrize(("datatype", "raw_bytes"), [("UINT8", 17), ("UINT8", 72), ("FP32", 18), ("FP32", 71)])
def test_raw_pixels_must_have_the_bytes_that_the_shape_says(datatype: str, raw_bytes: int) -> None:
    with pytest.raises(MalformedRequest, match=r"shape \[1, 2, 3, 3\] takes"):
        read([1, 2, 3, 3], datatype, raw=bytes(raw_bytes))


@pytest.mark.parametrize(
    ("datatype", "shape"), [("UINT8", [5, 2, 3, 3]), ("BYTES", [5]), ("BYTES", [2**62, 1])], ids=str
)
def test_more_images_than_allowed_are_refused_by_the_shape_alone(datatype: str, shape: list[int]) -> None:
    with pytest.raises(BodyTooLarge, match="at most 4 images"):
        read(shape, datatype, data=[])


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_raw_files_are_taken_apart_by_their_lengths(shape: list[int]) -> None:
    assert read(shape, "BYTES", raw=packed(PNG, b"")) == [PNG, b""]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "image 0: its bytes end"),
        (packed(PNG), "image 1: its bytes end"),
        (packed(PNG, PNG)[:-1], "image 1: its bytes end 1 early"),
        (packed(PNG, PNG, PNG), "left after the 2 elements"),
        (b"\xff\xff\xff\xff" + PNG, "image 0: its bytes end"),
        (packed(PNG) + b"\x01", "image 1: its bytes end"),
    ],
    ids=["nothing", "one too few", "cut off", "one too many", "a huge length", "half a length"],
)
def test_raw_files_whose_lengths_do_not_add_up_are_refused(raw: bytes, said: str) -> None:
    with pytest.raises(MalformedRequest, match=said):
        read([2], "BYTES", raw=raw)


BASE64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (BASE64, {}),
        (BASE64, {"content_type": "base64"}),
        (f"data:image/png;base64,{BASE64}", {}),
        (f"DATA:image/png;name=x;Base64,{BASE64}", {}),
    ],
    ids=["base64", "said to be base64", "data URL", "data URL in capitals"],
)
@pytest.mark.parametrize("shape", [[1], [1, 1]])
def test_a_file_in_json_may_be_written_in_three_ways(shape: list[int], text: str, parameters: Any) -> None:
    assert read(shape, "BYTES", data=[text], **parameters) == [PNG]
    assert read(shape, "BYTES", data=[[text]], **parameters) == [PNG]


def test_text_that_is_said_to_be_text_stays_as_it_is() -> None:
    assert read([1], "BYTES", data=[BASE64], content_type="str") == [BASE64.encode()]


def test_base64_that_is_said_to_be_base64_may_hold_anything() -> None:
    assert read([1], "BYTES", data=[base64.b64encode(TEXT).decode()], content_type="base64") == [TEXT]


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        base64.b64encode(TEXT).decode(),
        BASE64[:-3],
        BASE64[:40] + "\n" + BASE64[40:],
        f"data:image/png,{BASE64}",
        "data:image/png;base64",
        "http://example.com/cat.png",
        "\u00e9",
        "",
    ],
    ids=[
        "prose",
        "no image",
        "cut off",
        "line break",
        "URL not base64",
        "URL without data",
        "address",
        "accent",
        "empty",
    ],
)
def test_text_that_could_be_anything_is_refused_naming_the_three_forms(text: str) -> None:
    with pytest.raises(MalformedRequest, match=r"image 1: .*base64 of an image file, a data: URL .*, or raw bytes"):
        read([2], "BYTES", data=[BASE64, text])


@pytest.mark.parametrize("data", [[], [BASE64, BASE64], [5], [None], [[BASE64, BASE64]], BASE64, [[[BASE64]]], [{}]])
def test_json_files_must_be_as_many_strings_as_the_shape_says(data: Any) -> None:
    with pytest.raises(MalformedRequest, match="a list of 1 strings"):
        read([1], "BYTES", data=data)


def test_another_content_type_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="base64 or str"):
        read([1], "BYTES", data=[BASE64], content_type="pillow_image")


@pytest.mark.parametrize("shape", [[], [1, 2], [1, 1, 1], [0]])
def test_files_come_in_one_column(shape: list[int]) -> None:
    with pytest.raises(MalformedRequest, match=r"\[n\] or \[n, 1\]"):
        read(shape, "BYTES", data=[BASE64])


def test_a_bare_body_with_as_many_bytes_as_there_are_pixels_is_pixels() -> None:
    pixels = tensors.read_bare(PIXELS[0].tobytes(), SPEC)
    assert isinstance(pixels, np.ndarray)
    np.testing.assert_array_equal(pixels, PIXELS[:1])


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_any_other_bare_body_is_a_file(format_: str) -> None:
    body = encoded(noise(4, 4), format_)
    assert tensors.read_bare(body, SPEC) == [body]


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_a_file_is_known_as_one_even_when_it_has_the_size_of_pixels(format_: str) -> None:
    body = encoded(noise(4, 4), format_)
    spec = InputSpec(height=len(body), width=1, channels=1)
    assert tensors.read_bare(body, spec) == [body]


def test_two_letters_at_the_beginning_do_not_make_pixels_a_bitmap() -> None:
    assert isinstance(tensors.read_bare(b"BM" + bytes(16), SPEC), np.ndarray)
