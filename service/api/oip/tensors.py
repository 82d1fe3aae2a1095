"""The input tensor to images: uint8 pixels [n, height, width, channels], or n encoded images still to be decoded."""

from __future__ import annotations

import binascii
import math
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from classifier.errors import NotAnImage
from classifier.formats import FORMATS, identify
from classifier.images import Pixels
from service.api.oip.protocol import Infer, InputTensor
from service.api.unfolding import MOST_BRACKETS
from service.errors import BodyTooLarge, MalformedRequest

Images = Pixels | list[bytes]

_NUMBERS: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}
_LENGTH_BYTES = 4  # before each element of a raw BYTES tensor, little-endian
OTHER_COMMAS = 10_000  # in parameters and texts

_FORMS = "base64 of an image file, a data: URL with base64, or raw bytes by the binary tensor extension"


def read(infer: Infer, spec: InputSpec, max_images: int) -> Images:
    """The images of a request, as many as its shape says.

    FP32 pixels must lie in 0..255 and are rounded, because networks take uint8. Raises MalformedRequest where tensor
    and metadata do not agree, BodyTooLarge for more than `max_images`.
    """
    tensor = infer.tensor
    if tensor.datatype == "BYTES":
        images = _count(tensor, (1,) if len(tensor.shape) == 2 else (), max_images)
        return list(_raw_elements(infer.raw, images) if infer.raw is not None else _json_elements(tensor, images))
    if tensor.datatype not in _NUMBERS:
        raise MalformedRequest(f"the input takes UINT8, FP32 or BYTES, not {tensor.datatype!r}")
    images = _count(tensor, spec.shape, max_images)
    if infer.raw is None:
        return _json_pixels(tensor, (images, *spec.shape))
    return _raw_pixels(infer.raw, _NUMBERS[tensor.datatype], (images, *spec.shape))


def most_brackets(json_bytes: int, spec: InputSpec, max_images: int) -> int:
    """How many lists and objects JSON of so many bytes can need: nested pixels of as many images as find room in it."""
    height, width, channels = spec.shape
    shortest = height * width * (2 * channels + 2)  # digits, commas and brackets of an image
    images = min(max_images, json_bytes // shortest + 1)
    return images * (1 + height + height * width) + MOST_BRACKETS


def most_commas(json_bytes: int, spec: InputSpec, max_images: int) -> int:
    """How many commas JSON of so many bytes can need: one for each number of as many images as find room in it."""
    numbers = math.prod(spec.shape)
    images = min(max_images, json_bytes // (2 * numbers) + 1)
    return images * numbers + OTHER_COMMAS


def read_bare(body: bytes, spec: InputSpec) -> Images:
    """The one image of a raw binary request, which says nothing of itself: pixels by their number, else a file.

    A file that happens to have as many bytes as there are pixels is known by its first bytes; the two of BMP are too
    few for that.
    """
    if len(body) == math.prod(spec.shape):
        try:
            is_file = identify(body) != "BMP"
        except NotAnImage:
            is_file = False
        if not is_file:
            return np.frombuffer(body, np.uint8).reshape(1, *spec.shape)
    return [body]


def _count(tensor: InputTensor, of_one: tuple[int, ...], max_images: int) -> int:
    """The number of images a shape announces; the rest of it must be `of_one`."""
    images = tensor.shape[0] if tensor.shape else 0
    if images < 1 or tuple(tensor.shape[1:]) != of_one:
        wanted = "[n] or [n, 1]" if tensor.datatype == "BYTES" else f"[n, {', '.join(map(str, of_one))}]"
        hint = "" if tensor.datatype == "BYTES" else "; pictures of any size can be sent as files, in BYTES"
        raise MalformedRequest(f"a {tensor.datatype} tensor must have the shape {wanted}, not {tensor.shape}{hint}")
    if images > max_images:
        raise BodyTooLarge(f"at most {max_images} images are classified in one request, the shape says {images}")
    return images


def _raw_pixels(raw: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Pixels:
    if len(raw) != (expected := math.prod(shape) * dtype.itemsize):
        raise MalformedRequest(f"shape {list(shape)} takes {expected} bytes, binary_data_size is {len(raw)}")
    numbers = np.frombuffer(raw, dtype).reshape(shape)
    return numbers if dtype == np.uint8 else _rounded(numbers)


def _json_pixels(tensor: InputTensor, shape: tuple[int, ...]) -> Pixels:
    """Lists of numbers, flat or nested as the shape says. Image by image, so that other threads get their turn."""
    data, (images, *of_one) = tensor.data, shape
    size = math.prod(of_one)
    flat = isinstance(data, list) and not isinstance(data[0] if data else None, list)
    if not isinstance(data, list) or len(data) != (images * size if flat else images):
        came = f"{len(data)} {'numbers' if flat else 'lists'}" if isinstance(data, list) else type(data).__name__
        raise MalformedRequest(f"shape {list(shape)} does not fit `data`, which has {came}")
    pixels = np.empty(shape, np.uint8)
    for i in range(images):
        numbers = _numbers(data[i * size : (i + 1) * size] if flat else data[i], tuple(of_one), i)
        if tensor.datatype == "UINT8" and not (numbers == np.floor(numbers)).all():
            raise MalformedRequest(f"image {i}: UINT8 takes whole numbers; send FP32 for others")
        pixels[i] = _rounded(numbers, i)
    return pixels


def _numbers(of_one: Any, shape: tuple[int, ...], i: int) -> npt.NDArray[np.float64]:
    """One image of a JSON tensor, nested or flat."""
    nested = np.array(of_one, dtype=object)  # pointers only: with other types NumPy makes room for the longest text
    if nested.shape not in (shape, (math.prod(shape),)):
        raise MalformedRequest(f"image {i}: expected lists nested as {list(shape)}, got {list(nested.shape)}")
    try:
        # `array` takes numbers only, where NumPy would also read null and text as such.
        return np.frombuffer(array("d", nested.ravel().tolist()), np.float64).reshape(shape)
    except (TypeError, OverflowError) as error:
        raise MalformedRequest(f"image {i}: expected numbers: {error}") from error


def _rounded(numbers: npt.NDArray[Any], first: int = 0) -> Pixels:
    good = (numbers >= 0) & (numbers <= 255)  # written so that NaN fails
    if not good.all():
        at = np.argwhere(~good)[0]
        i = first if numbers.ndim == 3 else at[0]
        raise MalformedRequest(f"image {i}: pixels must lie in 0..255, not {numbers[tuple(at)]}")
    rounded: Pixels = np.rint(numbers).astype(np.uint8)
    return rounded


def _raw_elements(raw: memoryview, elements: int) -> Iterator[bytes]:
    at = 0
    for i in range(elements):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(raw[at:begin], "little")
        if at > len(raw):
            raise MalformedRequest(
                f"image {i}: its bytes end {at - len(raw)} early; each element is 4 bytes, then so many"
            )
        yield bytes(raw[begin:at])
    if at != len(raw):
        raise MalformedRequest(f"{len(raw) - at} bytes are left after the {elements} elements that the shape says")


def _json_elements(tensor: InputTensor, elements: int) -> Iterator[bytes]:
    data = tensor.data if isinstance(tensor.data, list) else []
    texts = [text[0] if isinstance(text, list) and len(text) == 1 else text for text in data]
    if len(texts) != elements or not all(isinstance(text, str) for text in texts):
        raise MalformedRequest(f"shape {tensor.shape} takes a list of {elements} strings as `data`")
    content_type = tensor.parameters.content_type if tensor.parameters else None
    if content_type not in (None, "base64", "str"):
        raise MalformedRequest(f"content_type may be base64 or str, not {content_type!r}")
    for i, text in enumerate(texts):
        yield _unwrapped(text, content_type, i)


def _unwrapped(text: str, content_type: str | None, i: int) -> bytes:
    """A JSON string to bytes; the protocol does not say how, so nothing is guessed that could be two things."""
    try:
        if content_type == "str":
            return text.encode()
        head, comma, encoded = text.partition(",")
        is_url = content_type is None and text[:5].lower() == "data:" and comma and head.lower().endswith(";base64")
        body = binascii.a2b_base64(encoded if is_url else text, strict_mode=True)
        if content_type is None:
            identify(body)
    except ValueError as error:  # binascii.Error, or a character outside ASCII
        raise MalformedRequest(f"image {i}: not base64 ({error}); an image may be sent as {_FORMS}") from error
    except NotAnImage as error:
        kinds = ", ".join(FORMATS)
        raise MalformedRequest(f"image {i}: base64, but not of a {kinds}; an image may be sent as {_FORMS}") from error
    return body
