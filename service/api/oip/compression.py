"""Compressed bodies: requests unfolded within a limit, answers folded where the caller asked and it pays."""

from __future__ import annotations

import gzip
import zlib

from service.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType

# zlib's `wbits`: a gzip member, and the zlib stream that HTTP calls deflate (RFC 9110, section 8.4.1.2).
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

MIN_BYTES = 1024  # smaller answers travel in one packet either way
_LEVEL = 1  # probabilities hardly shrink further at higher ones


def is_compressed(encoding: str) -> bool:
    """Whether a body with this Content-Encoding needs `expand`."""
    return encoding.strip().lower() not in ("", "identity")


def expand(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding; never holds more than `max_bytes` of the result, whatever the body claims.

    Raises UnsupportedMediaType, MalformedRequest or BodyTooLarge.
    """
    name = encoding.strip().lower()
    if name not in _WBITS:
        raise UnsupportedMediaType(f"a body may be encoded as gzip or deflate, not as {encoding!r}")
    unfolding = zlib.decompressobj(_WBITS[name])
    try:
        expanded = unfolding.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise MalformedRequest(f"the body is not {name}: {error}") from error
    if len(expanded) > max_bytes:
        raise BodyTooLarge(f"at most {max_bytes:,} bytes are read, the {name} body expands to more")
    if not unfolding.eof:
        raise MalformedRequest(f"the {name} body ends too early")
    if unfolding.unused_data:  # a second gzip member is legal, but many tiny ones cost the square of their number
        raise MalformedRequest(f"{len(unfolding.unused_data)} bytes follow the end of the {name} body")
    return expanded


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
