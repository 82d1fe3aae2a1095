"""PNG: chunks with a length each (W3C PNG, third edition, section 5).

Metadata that nobody asks for is left out of what goes to the decoder: Pillow unfolds it, and gives the picture up where
there is over 1 MB of it. What can hold an orientation stays, where it is of an honest size.
"""

from __future__ import annotations

import struct
import zlib

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_CHUNKS = 10_000  # pixels come in chunks of 8 kB as a rule, or one for each row
PLAIN_PIXELS = 6_250_000  # up to 8 bytes each: docs/tuning.md#plain-pictures
MOST_METADATA_BYTES = 262_144  # of one chunk that may hold an orientation, unfolded

_HEADER = struct.Struct(">I4sIIxxxxB")  # length, kind, width, height, interlacing
_CHUNK = struct.Struct(">I4s")  # length and kind
_END = b"IEND"
_NEEDED = frozenset({b"IDAT", b"PLTE", b"tRNS"})
_EXIF = b"eXIf"
_TURNING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_MOST_READ = 4  # chunks that may hold an orientation; an honest file has one or two
_FIRST = 8  # after the magic number


def outline(body: bytes) -> Outline:
    """The outline of a PNG. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    try:
        head_bytes, kind, width, height, interlace = _HEADER.unpack_from(body, _FIRST)
    except struct.error:
        raise damaged("PNG", "its header is incomplete") from None
    if kind != b"IHDR":
        raise damaged("PNG", "it does not begin with its header")
    kept, may_turn = _without_metadata(body, _FIRST + 12 + head_bytes)
    is_plain = head_bytes == 13 and not interlace and width * height <= PLAIN_PIXELS
    return sized(Outline("PNG", width, height, kept, is_plain, may_turn))


def _without_metadata(body: bytes, at: int) -> tuple[bytes, bool]:
    """The chunks that the pixels need, from `at` on and all before, and whether any may hold an orientation."""
    kept: list[bytes] = []
    begin, may_turn, read = 0, False, 0
    head, last = _CHUNK.unpack_from, len(body) - _CHUNK.size
    for _ in range(MOST_CHUNKS):
        size, kind = head(body, at) if at <= last else (0, _END)
        if kind == _END:
            return (b"".join([*kept, body[begin:]]) if kept else body), may_turn
        past = at + 12 + size
        if kind not in _NEEDED and past <= len(body):
            is_read = read < _MOST_READ and _has_name(kind, body, at + 8)
            read += is_read
            if is_read and _is_small(kind, body[at + 8 : past - 4]):
                may_turn = True
            else:
                kept.append(body[begin:at])
                begin = past
        at = past
    raise too_many("PNG", MOST_CHUNKS, "chunks")


def _has_name(kind: bytes, body: bytes, begin: int) -> bool:
    """Whether a chunk may say which way up the picture is."""
    return kind == _EXIF or (kind in _TEXTS and body.startswith(_TURNING, begin))


def _is_small(kind: bytes, content: bytes) -> bool:
    """Whether a chunk's content is no larger than honest metadata, unfolded."""
    if len(content) > MOST_METADATA_BYTES:
        return False
    _, _, rest = content.partition(b"\0")
    if kind == b"zTXt":
        return _unfolds_small(rest[1:])
    if kind == b"iTXt" and rest[:1] == b"\1":
        return _unfolds_small(rest[2:].split(b"\0", 2)[-1])
    return True


def _unfolds_small(folded: bytes) -> bool:
    unfolding = zlib.decompressobj()
    try:
        unfolding.decompress(folded, MOST_METADATA_BYTES)
    except zlib.error:
        return False
    return not unfolding.unconsumed_tail
