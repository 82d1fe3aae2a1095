"""The head of a request that asks for another protocol."""

from __future__ import annotations

from collections.abc import Sequence

import httptools

from service.errors import MalformedRequest

Headers = Sequence[tuple[bytes, bytes]]

_UPGRADE = frozenset((b"upgrade", b"http2-settings"))  # headers, and what a Connection header names


def without_upgrade(parser: httptools.HttpRequestParser, url: bytes, headers: Headers) -> bytes:
    """The head that has just been parsed, without its request for another protocol.

    Raises MalformedRequest for CONNECT, which asks for a tunnel.
    """
    method = parser.get_method()
    if method == b"CONNECT":
        raise MalformedRequest("this server is no proxy, and takes no CONNECT")
    lines = [b"%b %b HTTP/%b" % (method, url, parser.get_http_version().encode())]
    for name, value in headers:
        kept = _others(value) if name == b"connection" else value
        if kept is not None and name not in _UPGRADE:
            lines.append(b"%b: %b" % (name, kept))
    return b"\r\n".join((*lines, b"", b""))


def _others(connection: bytes) -> bytes | None:
    """What else a Connection header names; None for nothing."""
    return b", ".join(one for one in map(bytes.strip, connection.split(b",")) if one.lower() not in _UPGRADE) or None
