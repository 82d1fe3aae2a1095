"""The trace that a request belongs to: the header `traceparent` of W3C's Trace Context."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple

HEADER = b"traceparent"

_VERSION_0 = b"00"
_FORM = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


class Trace(NamedTuple):
    """A trace and a place in it, in lower-case hexadecimal digits: 32, 16 and 2 of them."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def header(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


# Of the request that the running task answers, where it belongs to a trace.
CURRENT: ContextVar[Trace | None] = ContextVar("trace", default=None)


def read_trace(values: Sequence[bytes]) -> Trace:
    """What a request's `traceparent` headers say, of which there is at least one. A new trace where that is nothing."""
    found = _FORM.fullmatch(values[0]) if len(values) == 1 else None
    if found is None or (found["version"] == _VERSION_0 and found["more"] is not None):
        return new_trace()
    return Trace(found["trace"].decode(), found["span"].decode(), found["flags"].decode())


def new_trace() -> Trace:
    """A trace that nobody else has, and that is not recorded."""
    return Trace(secrets.token_hex(16), secrets.token_hex(8))
