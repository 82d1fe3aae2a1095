"""What names a request in the log and in its response: an id, and the trace that it belongs to."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from service.telemetry import traces
from service.telemetry.traces import Trace, read_trace

REQUEST_ID_HEADER = b"x-request-id"
ABOUT_REQUEST = "about_request"  # an attribute of log records; BentoML sets names such as request_id

_FIT_FOR_A_LOG = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

# Ids need only differ, among servers as well; drawing each one anew from the system costs more than the rest of it.
_IDS = itertools.count(secrets.randbits(64))


class RequestIds(NamedTuple):
    """`trace` is None for a request that belongs to none."""

    request_id: str
    trace: Trace | None = None

    def __str__(self) -> str:
        """As a log line has it."""
        return f"request {self.request_id}" + (f", trace {self.trace.trace_id}" if self.trace else "")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Those of the response."""
        named = [(REQUEST_ID_HEADER, self.request_id.encode())]
        return named if self.trace is None else [*named, (traces.HEADER, self.trace.header.encode())]

    def as_extra(self) -> dict[str, dict[str, str]]:
        """For a log record, whose line has them as JSON."""
        of_trace = {"trace_id": self.trace.trace_id, "span_id": self.trace.span_id} if self.trace else {}
        return {ABOUT_REQUEST: {"request_id": self.request_id} | of_trace}


def ids_of(headers: Iterable[tuple[bytes, bytes]]) -> RequestIds:
    """The caller's own id where there is one and it is fit for a log, else a new one; and the caller's trace."""
    given, parents = b"", []
    count = 0
    for name, value in headers:
        if name == REQUEST_ID_HEADER:
            given, count = value, count + 1
        elif name == traces.HEADER:
            parents.append(value)
    is_fit = count == 1 and _FIT_FOR_A_LOG.fullmatch(given)
    request_id = given.decode("ascii") if is_fit else f"{next(_IDS) & 0xFFFF_FFFF_FFFF_FFFF:016x}"
    return RequestIds(request_id, read_trace(parents) if parents else None)
