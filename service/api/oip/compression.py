"""Compressed bodies: requests unfolded within a limit, answers folded where the caller asked and it pays."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from service.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType

# zlib's `wbits`: a gzip member, and the zlib stream that HTTP calls deflate (RFC 9110, section 8.4.1.2).
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

MIN_BYTES = 1024  # smaller answers travel in one packet either way
_LEVEL = 1  # probabilities hardly shrink further at higher ones
_STEP = 262_144  # bytes that go into zlib, and that it gives, at a time


def is_compressed(encoding: str) -> bool:
    """Whether a body with this Content-Encoding needs `expand`."""
    return encoding.strip().lower() not in ("", "identity")


def expand(body: bytes, encoding: str, max_bytes: int, look: Callable[[bytes], None] = lambda _: None) -> bytes:
    """Undo a Content-Encoding; never holds more than `max_bytes` of the result, whatever the body claims.

    `look` is shown each part as it is unfolded, and may raise, so that nothing is unfolded in vain. Raises
    UnsupportedMediaType, MalformedRequest or BodyTooLarge.
    """
    name = encoding.strip().lower()
    if name not in _WBITS:
        raise UnsupportedMediaType(f"a body may be encoded as gzip or deflate, not as {encoding!r}")
    unfolding, parts, size, taken = zlib.decompressobj(_WBITS[name]), [], 0, 0
    while taken < len(body) and not unfolding.eof:
        for part in _unfolded(unfolding, body[taken : taken + _STEP], name):
            look(part)
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise BodyTooLarge(f"at most {max_bytes:,} bytes are read, the {name} body expands to more")
        taken += _STEP
    if not unfolding.eof:
        raise MalformedRequest(f"the {name} body ends too early")
    if after := len(unfolding.unused_data) + max(0, len(body) - taken):
        # A second gzip member is legal, but many tiny ones cost the square of their number.
        raise MalformedRequest(f"{after} bytes follow the end of the {name} body")
    return b"".join(parts)


def _unfolded(unfolding: Any, folded: bytes, name: str) -> Iterator[bytes]:
    """What comes out for so much more of a body, at most `_STEP` bytes at a time. Raises MalformedRequest."""
    while True:
        try:
            part = unfolding.decompress(folded, _STEP)
        except zlib.error as error:
            raise MalformedRequest(f"the body is not {name}: {error}") from error
        yield part
        folded = unfolding.unconsumed_tail
        if not folded and len(part) < _STEP:
            return


def fold(body: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """A body as the Accept-Encoding `accepted` allows, and the header that says how."""
    choice = _choice(accepted) if len(body) >= MIN_BYTES else None
    if choice == "gzip":
        return gzip.compress(body, _LEVEL, mtime=0), {"content-encoding": "gzip"}
    if choice == "deflate":
        return zlib.compress(body, _LEVEL), {"content-encoding": "deflate"}
    return body, {}


def _choice(accepted: str) -> str | None:
    """gzip before deflate; one with a weight of 0 is refused. Other weights do not matter between the two."""
    offers = [offer.strip().lower().replace(" ", "").partition(";") for offer in accepted.split(",")]
    wanted = {name for name, _, weight in offers if weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")}
    return next((name for name in ("gzip", "deflate") if name in wanted), None)
