"""What callers give as an image, to the bytes that are sent."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import UndecodableImage, UnreadableFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image as Picture

ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Picture | npt.NDArray[np.uint8]"
Images: TypeAlias = "str | os.PathLike[str] | Iterable[ImageLike]"  # a path names a folder

SUFFIXES = (  # of the formats that servers read; HEIC some of them
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif"),
)

_EXIF_ORIENTATION = 0x0112

# What Pillow's modes become where PNG does not have them; every other one, such as CMYK, becomes RGB.
_PNG_MODES = {mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")} | {
    "I": "I;16",
    "La": "LA",
    "RGBa": "RGBA",
    "PA": "RGBA",
}

# A picture reads its file when it is first used. That goes wrong when the same one is sent twice at once.
_loading = threading.Lock()


def encoded(image: ImageLike) -> bytes:
    """The bytes to send: of a file or an encoded image as they are, of a picture or an array as PNG, without loss.

    An array is uint8, shape (height, width) or (height, width, 1 or 3). A picture keeps its EXIF orientation and
    nothing else of EXIF. Raises UnreadableFile or UndecodableImage, and TypeError for anything else.

    A server decodes a large JPEG at a reduced scale. So the file and the picture opened from it may differ a little;
    the network saw files in training.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return _read(Path(image))
    return _as_png(image)


def expected_bytes(image: ImageLike) -> int:
    """About how many bytes `encoded` will give, without reading the image; 0 where only trying tells."""
    if isinstance(image, bytes | bytearray):
        return len(image)
    if isinstance(image, str | os.PathLike):
        try:
            return Path(image).stat().st_size
        except (OSError, ValueError):
            return 0
    if hasattr(image, "nbytes"):
        return int(image.nbytes)
    width, height = getattr(image, "size", (0, 0))
    return int(width) * int(height) * len(image.getbands()) if hasattr(image, "getbands") else 0


def each_image(images: Images) -> Iterator[ImageLike]:
    """The images one by one; a folder's in the order of its names, each folder before those in it.

    A folder gives the files of image formats by their suffix, at any depth, but nothing hidden. Raises UnreadableFile
    when the folder is not one or has no such file, and TypeError for what may be a single image. It does so at once
    rather than at the first image.
    """
    if isinstance(images, str | os.PathLike):
        if not Path(images).is_dir():
            raise UnreadableFile(f"{os.fspath(images)} is not a folder; give a list for single files")
        if next(_below(Path(images)), None) is None:
            raise UnreadableFile(f"{os.fspath(images)} has no images: expected files with {', '.join(SUFFIXES)}")
        return _below(Path(images))
    # An array of three dimensions would come apart into its rows, each of which could pass for a grey image.
    one = isinstance(images, bytes | bytearray | memoryview) or getattr(images, "ndim", 4) != 4
    if one or not isinstance(images, Iterable):
        raise TypeError(
            f"expected several images or a folder, got {type(images).__name__}; `predict` takes a single one"
        )
    return iter(images)


def count_of(images: object) -> int | None:
    """How many images there are to come, where that can be known beforehand."""
    if isinstance(images, str | os.PathLike):
        return sum(1 for _ in _below(Path(images)))
    return len(images) if isinstance(images, Sized) else None


def each_image_async(images: Images | AsyncIterable[ImageLike]) -> AsyncIterator[ImageLike]:
    """As `each_image`, and for sources that are asynchronous themselves."""
    return aiter(images) if isinstance(images, AsyncIterable) else _in_turn(each_image(images))


async def _in_turn(images: Iterator[ImageLike]) -> AsyncIterator[ImageLike]:
    for image in images:
        yield image


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableFile(f"{path} cannot be read ({reason})") from error


def _as_png(image: Any) -> bytes:
    import numpy as np
    from PIL import Image

    if isinstance(image, np.ndarray):
        fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))
        if image.dtype != np.uint8 or not fits or image.size == 0:
            raise UndecodableImage(f"expected uint8 [h, w], [h, w, 1] or [h, w, 3], got {image.dtype} {image.shape}")
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    if not isinstance(image, Image.Image):
        raise TypeError(f"expected a path, bytes, a PIL image or a uint8 array, got {type(image).__name__}")
    return _picture_as_png(image)


def _picture_as_png(picture: Picture) -> bytes:
    if picture.mode == "F":
        raise UndecodableImage("floating-point pixels have no agreed white; give 8 or 16 bits")
    out = io.BytesIO()
    try:
        with _loading:
            picture.load()
            exif, own = _orientation_only(picture), picture.copy()  # Pillow notes on a picture how it is being saved
        # Level 1: compressing further takes longer than sending the bytes that it saves.
        _in_a_png_mode(own).save(out, "PNG", compress_level=1, icc_profile=None, exif=exif)
    except Exception as error:  # damaged files were seen to raise a dozen kinds when they are loaded
        raise UndecodableImage(f"the picture cannot be encoded: {error or type(error).__name__}") from error
    return out.getvalue()


def _in_a_png_mode(picture: Picture) -> Picture:
    if picture.mode in ("I;16B", "I;16L"):  # straight to "I;16", Pillow cuts them off at 255
        picture = picture.convert("I")
    mode = _PNG_MODES.get(picture.mode, "RGB")
    return picture if picture.mode == mode else picture.convert(mode)


def _orientation_only(picture: Picture) -> bytes | None:
    """How the picture is to be turned, without where it was taken and by whom."""
    try:
        exif = picture.getexif()
        orientation = int(exif.get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged metadata, which servers pass over too
        return None
    if orientation not in range(2, 9):
        return None
    exif.clear()
    exif[_EXIF_ORIENTATION] = orientation
    return exif.tobytes()
