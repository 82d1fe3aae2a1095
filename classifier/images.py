"""Image bytes to pixels: the one decoding that training, serving and the command line share.

outline -> refuse too many pixels -> decode (JPEG at a reduced DCT scale) -> EXIF orientation -> RGB or grey -> resize
-> contrast. A plain JPEG of the network's own size takes a shorter way to the same pixels. Nothing else in the project
opens an image, so what a network was trained on is what it is served.
"""

from __future__ import annotations

import atexit
import io
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import AvifImagePlugin, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from classifier.decode_process import LONGEST_S, DecodeProcesses, messages
from classifier.decode_process.messages import Spec
from classifier.errors import ImageTooLarge, SightlineError, TooMuchToDecode, UndecodableImage
from classifier.formats import outline

MAX_PIXELS = 50_000_000  # phones stop short of it by default; up to 16 bytes of memory each while they are decoded

# libjpeg shrinks a picture while it decodes it; a progressive one it holds whole, in 3 bytes a pixel, or 8 for CMYK.
_HELD = {"JPEG": 0.25}

Pixels = npt.NDArray[np.uint8]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_EXIF_ORIENTATION = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # height and width change places

# What Pillow says where its decoders were given no memory.
_OUT_OF_MEMORY = ("decoder error -9", "out of memory when reading image file")

_STRIP = 256  # rows whose colours are changed at a time: what that needs in between is several times the picture

_least, _most = np.minimum.reduce, np.maximum.reduce  # `pixels.min()` asks these, by way of Python

# Pillow remarks on damaged metadata in words that differ from file to file. Every one would be printed, and remembered
# for good. For the whole process, because `catch_warnings` is not safe among threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# `max_pixels` stands in place of the number of pixels from which Pillow warns.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class OpenedImage:
    """An encoded image of which the structure has been read, and nothing decoded.

    `pixels` is its width times its height. `held_pixels` says how many of them decoding holds in memory at once, in up
    to 16 bytes each: of a JPEG a quarter. `is_plain` says that decoding takes time in proportion to pixels and bytes,
    some tenths of a second at most; of any other picture that is not known.
    """

    __slots__ = ("_max_pixels", "_outline", "_spec", "is_plain", "pixels")

    def __init__(self, body: bytes, spec: Spec, max_pixels: int) -> None:
        found = self._outline = outline(body)
        self._spec = spec
        self._max_pixels = max_pixels
        self.is_plain = found.is_plain
        self.pixels = pixels = found.width * found.height
        if pixels > max_pixels:
            raise _too_large(found.width, found.height, max_pixels)

    @property
    def width(self) -> int:
        """In pixels, as the file has it, before it is turned."""
        return self._outline.width

    @property
    def height(self) -> int:
        return self._outline.height

    @property
    def held_pixels(self) -> float:
        return self.pixels * _HELD.get(self._outline.kind, 1.0)

    @property
    def is_heic(self) -> bool:
        return self._outline.kind == "HEIC"

    @property
    def is_small(self) -> bool:
        """Whether an honest picture like this is decoded in some hundredths of a second, whatever its format is."""
        return self.pixels <= messages.SMALL_PIXELS and len(self._outline.body) <= messages.SMALL_BYTES

    @property
    def cpu_s(self) -> float:
        """Seconds of a processor that a process of its own gets to decode it."""
        return messages.SMALL_CPU_S if self.is_small else messages.CPU_S

    @property
    def body(self) -> bytes:
        """The file it is in."""
        return self._outline.body

    def decode(self) -> Pixels:
        """The pixels, as `images.decode` gives and raises."""
        try:
            pixels = self._thumbnail()
            if pixels is None:
                pixels = _fitted(_upright(self._opened(), self._spec, self._outline.may_turn), self._spec)
            return _contrasted(pixels, self._spec)
        except SightlineError:
            raise
        except Exception as error:
            raise self._explained(error) from error

    def decode_apart(self, processes: DecodeProcesses, timeout_s: float) -> Pixels:
        """The same from another process. Raises TooSlowToDecode and TooMuchToDecode besides."""
        body, most = self._outline.body, self._max_pixels
        return processes.decode(body, self._spec, max_pixels=most, timeout_s=timeout_s, cpu_s=self.cpu_s)

    def _thumbnail(self) -> Pixels | None:
        """The pixels of a plain JPEG of the network's size, which need not be scaled or turned; None for any other.

        Pillow and simplejpeg hold the same libjpeg-turbo, with the same defaults. docs/tuning.md#thumbnails
        """
        found, spec = self._outline, self._spec
        if not found.is_plain or found.may_turn or (found.height, found.width) != (spec.height, spec.width):
            return None
        if found.kind != "JPEG" or not _has_usual_colours(found.body):
            return None
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(found.body, "GRAY" if spec.channels == 1 else "RGB")
        except ValueError:  # the least damage, of which libjpeg only warns, is left to Pillow
            return None
        return pixels

    def _opened(self) -> Image.Image:
        image = _open(self._outline.body, self._outline.kind)
        if image.width * image.height > self._max_pixels:  # a WebP's header may have said something else
            raise _too_large(*image.size, self._max_pixels)
        return image

    def _explained(self, error: Exception) -> SightlineError:
        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            return ImageTooLarge(f"{error}; at most {self._max_pixels:,} pixels are read, scale the picture down first")
        if isinstance(error, MemoryError) or str(error) in _OUT_OF_MEMORY:
            return TooMuchToDecode("decoding it takes far more memory than its pixels do; save it anew")
        # Damaged files were seen to raise a dozen kinds, and a Pillow release may add one.
        return UndecodableImage(f"the {self._outline.kind} image is damaged or incomplete: {_said(error)}")


def decode(body: bytes, spec: Spec, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Turn one encoded image into the pixels a network was trained on.

    Returns uint8, shape (spec.height, spec.width, spec.channels), values 0..255; scaling lives inside the network.
    The first frame or page counts. Transparency is laid on white. Raises NotAnImage, ImageTooLarge (from the header,
    before any pixel is decoded), TooComplexImage, TooMuchToDecode or UndecodableImage. HEIC, whose libraries are the
    youngest, is decoded in a process of its own, and may raise TooSlowToDecode.
    """
    opened = OpenedImage(body, spec, max_pixels)
    if opened.is_heic:
        return opened.decode_apart(_processes(), LONGEST_S)
    return opened.decode()


def from_array(pixels: npt.NDArray[np.uint8], spec: Spec) -> Pixels:
    """Bring pixels that never were a file (a CSV row, a pickle, a camera frame) to the network's input.

    `pixels` is uint8, shape (height, width) or (height, width, 1 or 3). From the colour step on this is `decode`.
    Raises UndecodableImage for any other dtype or shape, and for an array without pixels.
    """
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))
    if pixels.dtype != np.uint8 or not fits or pixels.size == 0:
        raise UndecodableImage(f"expected uint8 [h, w], [h, w, 1] or [h, w, 3], got {pixels.dtype} {pixels.shape}")
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    return _contrasted(_fitted(image, spec), spec)


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8 (height, width, 1 or 3) losslessly, as `sample.png` is."""
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG", optimize=True)
    return out.getvalue()


@cache
def _processes() -> DecodeProcesses:
    """For whoever has none of their own. They start when they are needed."""
    from classifier.engines.processors import usable_processors  # a decode process needs no engines

    processes = DecodeProcesses(usable_processors())
    atexit.register(processes.close)
    return processes


def _too_large(width: int, height: int, max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"{width} x {height} is over {max_pixels:,} pixels; scale the picture down first")


def _has_usual_colours(body: bytes) -> bool:
    """Whether a JPEG is grey or in YCbCr; others Pillow converts by rules of its own."""
    if body[6:11] == b"JFIF\0":  # then libjpeg takes three components to be that
        return True
    return simplejpeg.decode_jpeg_header(body)[2] in ("Gray", "YCbCr")


def _open(body: bytes, kind: str) -> Image.Image:
    if kind == "JPEG":  # past Image.open, which looks for several pictures in the file; the first is what we read
        return JpegImageFile(io.BytesIO(body))
    if kind == "PNG":
        return PngImageFile(io.BytesIO(body))
    if kind == "AVIF":
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # whoever has many pictures decodes them side by side
    if kind == "HEIC":
        from pillow_heif import HeifImageFile  # an extra, whose libraries only a process of its own loads

        heic: Image.Image = HeifImageFile(io.BytesIO(body))
        return heic
    return Image.open(io.BytesIO(body), formats=(kind,))


def _upright(image: Image.Image, spec: Spec, may_turn: bool) -> Image.Image:
    """Decode and turn as EXIF says; a JPEG no finer than the resize can use."""
    if image.format == "JPEG":
        may_turn = may_turn and ("exif" in image.info or "xmp" in image.info)
        orientation = _orientation(image) if may_turn else 1
        size = (spec.height, spec.width) if orientation in _LYING else (spec.width, spec.height)
        # libjpeg then decodes at 1/2, 1/4 or 1/8, never below `size`; "L" makes it skip the colour planes.
        image.draft("L" if spec.channels == 1 else None, size)
    else:
        image.load()  # only now is the orientation known: PNG may keep EXIF at its end, TIFF is turned while loading
        orientation = _orientation(image) if may_turn else 1
    turn = _TURN.get(orientation)
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged metadata; the pixels may be fine
        return 1


def _fitted(image: Image.Image, spec: Spec) -> Pixels:
    """In the colours and the size of the network's input."""
    image = _colour(image, "L" if spec.channels == 1 else "RGB")
    if image.size != (spec.width, spec.height):
        image = image.resize((spec.width, spec.height), _FILTERS[spec.resize])
    # np.asarray would ask the image for these bytes in a longer way.
    pixels: Pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(spec.height, spec.width, spec.channels)
    return pixels


def _colour(image: Image.Image, mode: str) -> Image.Image:
    """Any of Pillow's modes to "L" or "RGB"; 16 bits are scaled to 8, transparency is laid on white."""
    if image.mode == mode and "transparency" not in image.info:
        image.load()
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _of_8_bits(image)
    elif image.mode == "F":
        raise UndecodableImage("floating-point pixels have no agreed white; save the picture with 8 or 16 bits")
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = _on_white(image)
    return image if image.mode == mode else image.convert(mode)


def _strips(image: Image.Image) -> Iterator[tuple[tuple[int, int, int, int], Image.Image]]:
    """Where some rows lie, and the rows; then the next."""
    for top in range(0, image.height, _STRIP):
        box = (0, top, image.width, min(top + _STRIP, image.height))
        yield box, image.crop(box)


def _of_8_bits(image: Image.Image) -> Image.Image:
    """Pillow clips at 255 where a person expects 65535 to be white. Its "I" holds what TIFF stored in 16 or 32 bits."""
    grey = Image.new("L", image.size)
    for box, strip in _strips(image):
        grey.paste(Image.fromarray((np.clip(np.asarray(strip), 0, 65535) >> 8).astype(np.uint8)), box)
    return grey


def _on_white(image: Image.Image) -> Image.Image:
    laid = Image.new("RGB", image.size, "white")
    for box, strip in _strips(image):
        rgba = strip if strip.mode == "RGBA" else strip.convert("RGBA")
        laid.paste(rgba, box, rgba)  # its own transparency is the mask
    return laid


def _contrasted(pixels: Pixels, spec: Spec) -> Pixels:
    """Spread one image's values to 0..255 where the card says so; a flat image stays as it is."""
    if spec.contrast == "none":
        return pixels
    low, high = int(_least(pixels, None)), int(_most(pixels, None))
    if high == low or (low, high) == (0, 255):
        return pixels
    stretched: Pixels = _spread(low, high).take(pixels)
    return stretched


@lru_cache(maxsize=4096)  # of 32,640; 1 MB
def _spread(low: int, high: int) -> Pixels:
    """What each of the 256 values becomes when `low` goes to 0 and `high` to 255."""
    values = np.arange(256, dtype=np.float32)
    spread: Pixels = np.clip(np.rint((values - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)
    return spread


def _said(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):  # Pillow's text is the address of our buffer
        return "its header cannot be read"
    return str(error) or type(error).__name__
