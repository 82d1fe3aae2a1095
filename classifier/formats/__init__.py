"""The formats that are read, known by their first bytes, and what a file's structure says before it is decoded.

Nothing here decodes. A file is walked by its own lengths; what no honest picture has is refused. What it costs to read
a file grows with its parts, and their number is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from classifier.errors import NotAnImage
from classifier.formats import bmp, gif, heif, jpeg, png, tiff, webp
from classifier.formats.outline import Outline
from classifier.formats.wrappings import remedy_for

# Pillow's own sniffing accepts dozens of formats, some of which run external programs; these are all we open.
MAGICS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
}

_JPEG, _PNG = MAGICS["JPEG"], MAGICS["PNG"]

READS_HEIC = find_spec("pillow_heif") is not None
FORMATS = (*MAGICS, "AVIF", "HEIC") if READS_HEIC else (*MAGICS, "AVIF")

_OUTLINES: dict[str, Callable[[bytes], Outline]] = {
    "JPEG": jpeg.outline,
    "PNG": png.outline,
    "WEBP": webp.outline,
    "GIF": gif.outline,
    "BMP": bmp.outline,
    "TIFF": tiff.outline,
    "AVIF": partial(heif.outline, kind="AVIF"),
    "HEIC": partial(heif.outline, kind="HEIC"),
}


def identify(body: bytes) -> str:
    """Name the format of encoded image bytes by their first bytes, never by what a client claims.

    Raises NotAnImage for anything but the formats in FORMATS, and for HEIC where its library is not installed.
    """
    for name, magics in MAGICS.items():
        if body.startswith(magics) and (name != "WEBP" or body[8:12] == b"WEBP"):
            return name
    kind = heif.kind_of(body)
    if kind == "HEIC" and not READS_HEIC:
        raise NotAnImage(
            "this is a HEIC picture, which is read only where sightline[heif] is installed; send it as JPEG, or have "
            "the server's owner run: pip install 'sightline[heif]'"
        )
    if kind is not None:
        return kind
    if remedy := remedy_for(body):
        raise NotAnImage(f"expected a {', '.join(FORMATS)} image, got {remedy}")
    came = f"{len(body)} bytes beginning {body[:8].hex(' ')}" if body else "no bytes at all"
    raise NotAnImage(f"expected a {', '.join(FORMATS)} image, got {came}; send the file itself, unwrapped")


def outline(body: bytes) -> Outline:
    """What the structure of an encoded picture says of it.

    Raises NotAnImage; UndecodableImage where it is damaged; TooComplexImage or ImageTooLarge where no honest picture
    is like it.
    """
    if body.startswith(_JPEG):  # most are; the fewer steps the better
        return jpeg.outline(body)
    if body.startswith(_PNG):
        return png.outline(body)
    return _OUTLINES[identify(body)](body)
