"""Answers that a connection writes by itself, where no app stands behind the request."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from classifier.errors import SightlineError
from service.api import request_ids
from service.errors import Overloaded, is_oip, problem, problem_headers

OVERLOADED = Overloaded("more requests come than can be answered; send it again")

_ITS_ID = b"{its id}"


def raw_answer(
    error: SightlineError, stays: bool = False, more: Iterable[tuple[bytes, bytes]] = (), *, oip: bool = False
) -> bytes:
    """The bytes of an answer, with `more` headers; after it the connection is closed, unless it stays.

    `oip` has it in the words of the Open Inference Protocol.
    """
    content = problem(error)
    body = orjson.dumps({"error": content["detail"]} if oip else content)
    headers = problem_headers(error) | {
        "content-type": "application/json" if oip else "application/problem+json",
        "content-length": str(len(body)),
    }
    if not stays:
        headers["connection"] = "close"
    lines = [f"{name}: {value}\r\n".encode() for name, value in headers.items()]
    lines += [b"%s: %s\r\n" % header for header in more]
    return b"".join([STATUS_LINE[error.status], *lines, b"\r\n", body])


def overloaded(path: str, request_id: str, stays: bool) -> bytes:
    """`raw_answer` to OVERLOADED in the words of the path's protocol; quickly, for a flood has nothing else to hear."""
    return _overloaded(stays, is_oip(path)).replace(_ITS_ID, request_id.encode())


@functools.cache
def _overloaded(stays: bool, oip: bool) -> bytes:
    return raw_answer(OVERLOADED, stays, [(request_ids.HEADER, _ITS_ID)], oip=oip)
