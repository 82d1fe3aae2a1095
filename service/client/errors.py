"""What can go wrong, as a caller sees it: one tree, chosen by the stable `code` of the server's problem (RFC 9457).

ClientError
├── BadImage            this image, not the next one
│   ├── UnreadableFile      nothing was sent
│   ├── TooLarge            in bytes or pixels
│   ├── NotAnImage
│   └── UndecodableImage
├── BadRequest          any other 4xx
│   ├── Unauthorized
│   └── UnknownModel
├── Unavailable         starting, draining, or a proxy found nobody; retried
│   └── QueueFull           in images or bytes
├── DeadlinePassed      the server's, for the answer or for the upload; not the client's
├── ServerError         any other 5xx
│   └── ModelNotServed      the version failed the server's own checks
├── UnexpectedAnswer    no Sightline server answers there, or another version of it
└── ConnectionFailed    no answer; retried
    ├── ConnectionLost      it broke after the request was begun
    └── TimedOut            the client's own time was up; not retried
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

_SNIPPET = 200  # characters shown of an answer that is not ours
_TAGS = re.compile(r"<(style|script).*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class ClientError(Exception):
    """A request that failed. `status` and `request_id` are None where no answer came or the server gave none."""

    code = "failed"
    title = "The request failed"
    is_transient = False  # whether the same request may succeed a little later

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        title: str | None = None,
        request_id: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code or self.code
        self.title = title or self.title
        self.request_id = request_id
        self.retry_after = retry_after  # the header as it came


class BadImage(ClientError):
    """The image cannot be classified; others can."""

    code = "bad-image"
    title = "The image cannot be used"


class UnreadableFile(BadImage):
    """The path that was given cannot be read. Nothing was sent."""

    code = "unreadable-file"
    title = "The file cannot be read"


class TooLarge(BadImage):
    """More bytes or more pixels than the server takes."""

    code = "body-too-large"
    title = "The request is too large"


class NotAnImage(BadImage):
    """The bytes are of no format that the server reads."""

    code = "not-an-image"
    title = "Not an image we read"


class UndecodableImage(BadImage):
    """The image is damaged or has no meaning in pixels; without a status, it was found here and not sent."""

    code = "undecodable-image"
    title = "The image does not decode"


class BadRequest(ClientError):
    """The server understood that the request is wrong; every image would fare the same."""

    code = "malformed-request"
    title = "The request is malformed"


class Unauthorized(BadRequest):
    """The API key is missing or not a valid one."""

    code = "unauthorized"
    title = "No valid API key"


class UnknownModel(BadRequest):
    """No such model, or no such version of it; the detail names those there are."""

    code = "unknown-model"
    title = "Unknown model or version"


class Unavailable(ClientError):
    """Not now: the server starts, shuts down or has too many callers."""

    code = "unavailable"
    title = "The server is not available"
    is_transient = True


class QueueFull(Unavailable):
    """As many images, or bytes of them, wait at the server as may wait."""

    code = "queue-full"
    title = "The queue is full"


class DeadlinePassed(ClientError):
    """The server gave up on the request: the answer was not ready, or the upload not complete, in time."""

    code = "deadline-passed"
    title = "The answer was not ready in time"


class ServerError(ClientError):
    """The server failed; its log says why."""

    code = "internal"
    title = "Internal error"


class ModelNotServed(ServerError):
    """The model version exists but failed the server's checks; only its owner can mend that."""

    code = "model-not-served"
    title = "The model version is not served"


class UnexpectedAnswer(ClientError):
    """Something answered that does not speak as a Sightline server of this version does."""

    code = "unexpected-answer"
    title = "Not a Sightline answer"


class ConnectionFailed(ClientError):
    """No answer came, because there is no connection."""

    code = "connection-failed"
    title = "The server cannot be reached"
    is_transient = True


class ConnectionLost(ConnectionFailed):
    """The connection broke after the request was begun."""

    code = "connection-lost"
    title = "The connection was lost"


class TimedOut(ConnectionFailed):
    """`timeout_s` passed without an answer."""

    code = "timed-out"
    title = "No answer in time"
    is_transient = False


BY_CODE: dict[str, type[ClientError]] = {
    "bad-image": BadImage,
    "body-too-large": TooLarge,
    "too-many-pixels": TooLarge,
    "not-an-image": NotAnImage,
    "undecodable-image": UndecodableImage,
    "malformed-request": BadRequest,
    "unsupported-media-type": BadRequest,
    "no-such-path": BadRequest,
    "method-not-allowed": BadRequest,
    "head-too-large": BadRequest,
    "unauthorized": Unauthorized,
    "unknown-model": UnknownModel,
    "queue-full": QueueFull,
    "overloaded": QueueFull,
    "too-many-bytes": QueueFull,
    "too-many-connections": Unavailable,
    "not-ready": Unavailable,
    "out-of-memory": Unavailable,
    "closing": Unavailable,
    "model-not-served": ModelNotServed,
    "deadline-passed": DeadlinePassed,
    "upload-too-slow": DeadlinePassed,
    "broken-forward": ServerError,
    "internal": ServerError,
}

# For a code that is newer than this client, and for what proxies answer in the server's place.
BY_STATUS: dict[int, type[ClientError]] = {
    401: Unauthorized,
    403: Unauthorized,
    408: DeadlinePassed,
    413: TooLarge,
    429: QueueFull,
    502: Unavailable,
    503: Unavailable,
    504: DeadlinePassed,
}

_LOST = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)


def error_of(answer: httpx.Response) -> ClientError:
    """The error that an answer other than 200 stands for, whoever gave it."""
    problem = _problem(answer)
    code, detail = (problem.get(member) for member in ("code", "detail"))
    return _kind(code, answer.status_code)(
        detail or f"HTTP {answer.status_code} {answer.reason_phrase}, not in Sightline's words: {_snippet(answer)}",
        status=answer.status_code,
        code=code,
        title=problem.get("title"),
        request_id=answer.headers.get("x-request-id"),
        retry_after=answer.headers.get("retry-after"),
    )


def error_of_problem(problem: dict[str, Any], request_id: str | None) -> ClientError:
    """The error of one image among several, as its problem in a 200 says. Raises KeyError or TypeError for others."""
    status, code = int(problem["status"]), problem.get("code")
    return _kind(code, status)(
        problem["detail"], status=status, code=code, title=problem.get("title"), request_id=request_id
    )


def unexpected(answer: httpx.Response, why: object) -> UnexpectedAnswer:
    """The error for a 200 that holds something else than it should."""
    return UnexpectedAnswer(
        f"{why}; is this a Sightline server? It answered: {_snippet(answer)}",
        status=answer.status_code,
        request_id=answer.headers.get("x-request-id"),
    )


@contextmanager
def named_failures(timeout_s: float) -> Iterator[None]:
    """Raise ConnectionFailed, ConnectionLost or TimedOut in place of httpx's many errors."""
    try:
        yield
    except httpx.TimeoutException as failure:
        raise TimedOut(f"{_server(failure)} did not answer within {timeout_s:g} s") from failure
    except _LOST as failure:
        raise ConnectionLost(f"{_server(failure)} broke the connection: {_said(failure)}") from failure
    except httpx.HTTPError as failure:
        raise ConnectionFailed(f"{_server(failure)} cannot be reached: {_said(failure)}") from failure


def _kind(code: str | None, status: int) -> type[ClientError]:
    return BY_CODE.get(code or "") or BY_STATUS.get(status) or _by_class(status)


def _by_class(status: int) -> type[ClientError]:
    return BadRequest if 400 <= status < 500 else ServerError if status >= 500 else UnexpectedAnswer


def _problem(answer: httpx.Response) -> dict[str, str]:
    """The text members of a problem; none where the body is something else, such as a proxy's HTML."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return {}
    try:
        content: Any = json.loads(answer.content)
    except ValueError:
        return {}
    members = content.items() if isinstance(content, dict) else ()
    return {name: value for name, value in members if isinstance(value, str)}


def _snippet(answer: httpx.Response) -> str:
    text = " ".join(_TAGS.sub(" ", answer.text).split())
    return (text if len(text) <= _SNIPPET else f"{text[:_SNIPPET]}...") or "(an empty body)"


def _server(failure: httpx.HTTPError) -> str:
    url = failure.request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"  # without a user name and password that the URL may have


def _said(failure: httpx.HTTPError) -> str:
    return str(failure) or type(failure).__name__
