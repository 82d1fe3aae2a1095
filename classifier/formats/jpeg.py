"""JPEG: segments with a length each, then scans of entropy-coded data (ITU-T T.81, annex B).

Pillow walks the segments before the first scan in Python and libjpeg all of them in C. A scan of a few bytes makes
libjpeg visit every block of the picture, hence the limit on scans.
"""

from __future__ import annotations

import struct

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_SEGMENTS = 2_000  # before the first scan; a large colour profile or depth map has one for each 64 kB
MOST_FILLING = 16_384  # bytes between segments
MOST_SCANS = 100  # encoders write about ten

# A picture within these takes at most some tenths of a second: docs/tuning.md#plain-pictures.
PLAIN_PIXELS = 25_000_000
PLAIN_SCANNED_PIXELS = 200_000_000  # pixels x scans
PLAIN_PARSED_BYTES = 262_144  # of the segments that Pillow looks into, in Python

_SEGMENT = struct.Struct(">HH")  # marker and length
_FRAME_HEAD = struct.Struct(">xBxxBHHB")  # kind, bits, height, width, components
_EXTENDED, _PROGRESSIVE = 0xC1, 0xC2  # kinds of frames; before them comes baseline
_FRAMES = {*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC}
_BARE = {0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}  # markers that Pillow takes to have no length
_FILLING, _FRAME, _PARSED, _SCAN = 1, 2, 3, 4
_ROLES = bytearray((_FILLING,)) * 0x1_0000  # of each two bytes; 0 is a segment to be skipped
for _marker in range(0xFF01, 0xFFFF):
    _ROLES[_marker] = _FILLING if _marker & 0xFF in _BARE else _FRAME if _marker & 0xFF in _FRAMES else 0
_EXIF_OR_XMP, _PHOTOSHOP, _QUANTIZATION = 0xFFE1, 0xFFED, 0xFFDB
_ROLES[_EXIF_OR_XMP] = _ROLES[_PHOTOSHOP] = _ROLES[_QUANTIZATION] = _PARSED
_ROLES[0xFFDA] = _SCAN


def outline(body: bytes) -> Outline:
    """The outline of a JPEG. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    roles, read = _ROLES, _SEGMENT.unpack_from  # local names are found sooner
    at, filling, frame, parsed_bytes, may_turn = 2, 0, 0, 0, False
    try:
        for _ in range(MOST_SEGMENTS):
            marker, size = read(body, at)
            if role := roles[marker]:
                if role == _PARSED:
                    parsed_bytes += size
                    may_turn = may_turn or marker == _EXIF_OR_XMP
                elif role == _FRAME:
                    if frame:
                        raise damaged("JPEG", "it has two frames")
                    frame = at
                elif role == _SCAN:
                    return _framed(body, frame, at, parsed_bytes, may_turn)
                else:
                    filling, at = _past_filling(body, at, filling)
                    continue
            at += 2 + size
    except (IndexError, struct.error):
        raise damaged("JPEG", "it ends before its pixels begin") from None
    raise too_many("JPEG", MOST_SEGMENTS, "segments before its pixels")


def _past_filling(body: bytes, begin: int, before: int) -> tuple[int, int]:
    """How many bytes of filling there are now, `before` and from `begin` on, and where the next segment is."""
    at, until = begin, begin + MOST_FILLING
    while at <= until and _ROLES[body[at] << 8 | body[at + 1]] == _FILLING:
        at += 2 if body[at] == 0xFF and body[at + 1] != 0xFF else 1
    if before + at - begin > MOST_FILLING:
        raise too_many("JPEG", MOST_FILLING, "bytes of filling between its segments")
    return before + at - begin, at


def _framed(body: bytes, frame: int, scan: int, parsed_bytes: int, may_turn: bool) -> Outline:
    if not frame:
        raise damaged("JPEG", "it has no frame")
    kind, precision, height, width, components = _FRAME_HEAD.unpack_from(body, frame)
    pixels, scans = width * height, 1
    if kind > _EXTENDED or body[scan + 4] != components:
        scans = body.count(b"\xff\xda", scan)  # within a scan's data 0xFF is followed by 0, or by a restart's number
        if scans > MOST_SCANS:
            raise too_many("JPEG", MOST_SCANS, "scans")
    is_plain = (
        kind <= _PROGRESSIVE
        and precision == 8
        and components in (1, 3)  # CMYK takes 8 bytes a pixel where it is progressive
        and pixels <= PLAIN_PIXELS
        and (scans == 1 or pixels * scans <= PLAIN_SCANNED_PIXELS)
        and parsed_bytes <= PLAIN_PARSED_BYTES
    )
    found = Outline("JPEG", width, height, body, is_plain, may_turn)
    return found if pixels else sized(found)
