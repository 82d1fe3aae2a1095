"""Cross-origin resource sharing (CORS): which pages that come from elsewhere may read our answers.

Keys travel in the Authorization header that a page's own code sets. `Access-Control-Allow-Credentials` is never sent,
so no browser adds a cookie or a stored password to a page's request from another origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.responses import Response

Headers = Iterable[tuple[bytes, bytes]]

ANY_ORIGIN = "*"
EXPOSED = ("Retry-After", "X-Request-ID", "Server-Timing", "X-Model-Version", "X-Error-Code", "traceparent")
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # also those that no route takes, so that a page reads the 405
MAX_AGE_S = 7_200  # for which browsers keep the answer to a preflight; Chromium keeps none longer

_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")  # of headers, with commas between

_VARY = (b"vary", b"Origin")


class Cors:
    """`origins` are exact, as browsers send them, or `*` for every one."""

    def __init__(self, origins: Sequence[str]) -> None:
        exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
        self._of_any = self._allowing(ANY_ORIGIN, exposed) if ANY_ORIGIN in origins else None
        self._of_known = {origin.encode(): (*self._allowing(origin, exposed), _VARY) for origin in origins}

    @staticmethod
    def _allowing(origin: str, exposed: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        return (b"access-control-allow-origin", origin.encode()), exposed

    def headers_for(self, asked: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer carries, of any status, to a request with these ASGI headers."""
        if self._of_any is not None:
            return self._of_any
        origin = next((value for name, value in asked if name == b"origin"), b"")
        return self._of_known.get(origin, (_VARY,))

    def lines_for(self, asked: Headers) -> bytes:
        """The same as lines of a raw answer."""
        return b"".join(b"%s: %s\r\n" % header for header in self.headers_for(asked))

    def allows(self, asked: Headers) -> bool:
        """Whether the request comes from a page that may read the answer."""
        return len(self.headers_for(asked)) > 1


def is_preflight(method: str, asked: Headers) -> bool:
    """Whether a browser asks if it may send a page's request."""
    return method == "OPTIONS" and any(name == b"access-control-request-method" for name, _ in asked)


def preflight_answer(asked: Iterable[tuple[bytes, bytes]]) -> Response:
    """Leave to send any method with any headers. The middleware adds for which origin."""
    allowed: dict[str, Any] = {"access-control-allow-methods": METHODS, "access-control-max-age": str(MAX_AGE_S)}
    names = next((value for name, value in asked if name == b"access-control-request-headers"), b"")
    if _NAMES.fullmatch(names):
        allowed |= {"access-control-allow-headers": names.decode("ascii"), "vary": "Access-Control-Request-Headers"}
    return Response(status_code=204, headers=allowed)
