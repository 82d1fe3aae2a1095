"""The branches of the error tree that only a server needs, and the one translation to a problem (RFC 9457)."""

from __future__ import annotations

import math
from typing import TypedDict

from classifier.errors import SightlineError

# The stable code stands in this header as well: for the log, and where a protocol's answer has no member for it.
CODE_HEADER = "x-error-code"


class SettingsError(SightlineError):
    """A setting that stops the start: an unknown name or a wrong value."""

    code = "settings"
    title = "Wrong setting"


class RequestError(SightlineError):
    """The request is not one we can act on; sending it again as it is will not help."""

    status = 400
    code = "malformed-request"
    title = "The request is malformed"


class MalformedRequest(RequestError):
    """A body, parameter or path of the wrong form."""


class NoSuchPath(RequestError):
    """Nothing is served under this path."""

    status = 404
    code = "no-such-path"
    title = "Nothing is served here"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method. `allowed` goes into the Allow header."""

    status = 405
    code = "method-not-allowed"
    title = "The method is not allowed here"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class BodyTooLarge(RequestError):
    """More bytes, or more images, than one request may carry."""

    status = 413
    code = "body-too-large"
    title = "The request is too large"


class UnsupportedMediaType(RequestError):
    """The Content-Type is none of those that the route takes."""

    status = 415
    code = "unsupported-media-type"
    title = "The Content-Type is not supported"


class Unauthorized(RequestError):
    """The caller showed no key, or none that we know. Each challenge becomes a header WWW-Authenticate.

    Who shows a Bearer key is not asked for a password: a browser would ask for it over the page that sent the key.
    """

    status = 401
    code = "unauthorized"
    title = "An API key is needed"

    def __init__(self, message: str, *, shown_as_bearer: bool = False) -> None:
        super().__init__(message)
        invalid = ('Bearer realm="sightline", error="invalid_token"',)  # RFC 6750, section 3
        self.challenges = invalid if shown_as_bearer else ('Bearer realm="sightline"', 'Basic realm="sightline"')


class HostNotAllowed(RequestError):
    """The Host header names none of the hosts that this server answers as."""

    status = 421
    code = "host-not-allowed"
    title = "This server has another name"


class UploadTooSlow(RequestError):
    """The body came too slowly, or not any further."""

    status = 408
    code = "upload-too-slow"
    title = "The upload is too slow"


class HeadTooLarge(RequestError):
    """The request's line and headers are longer than they may be. Answered by the connection itself."""

    status = 431
    code = "head-too-large"
    title = "The request's headers are too large"


class CallerGone(SightlineError):
    """The caller hung up; nobody reads the answer. The status is for the metrics, as nginx has it."""

    status = 499
    code = "caller-gone"
    title = "The caller hung up"


class TryLater(SightlineError):
    """Not now. `retry_after_s` goes into the Retry-After header, rounded up to whole seconds."""

    status = 503

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(TryLater):
    """As many images wait as may wait."""

    status = 429
    code = "queue-full"
    title = "The queue is full"


class DecodersBusy(TryLater):
    """As many pictures wait for a decode process as may wait. Plain JPEG and PNG need none, and are answered."""

    status = 429
    code = "decoders-busy"
    title = "Too many such pictures wait to be decoded"


class Overloaded(TryLater):
    """Requests come faster than they can be read, or a moment ago found the queue full. Answered by the connection."""

    status = 429
    code = "overloaded"
    title = "The server is overloaded"


class TooManyBytes(TryLater):
    """The bodies that are being read or worked on take as much memory as they may."""

    status = 429
    code = "too-many-bytes"
    title = "Too many bytes are being worked on"


class TooManyConnections(TryLater):
    """As many connections are open as may be. Answered by the connection itself."""

    code = "too-many-connections"
    title = "Too many connections are open"


class NotReady(TryLater):
    """The server, or the model asked for, is still loading."""

    code = "not-ready"
    title = "Not ready yet"


class Closing(TryLater):
    """The server is shutting down; another one, or a later one, will answer."""

    code = "closing"
    title = "The server is shutting down"


class NotServed(SightlineError):
    """The model version exists but failed its checks; only its owner can mend that."""

    status = 503
    code = "model-not-served"
    title = "The model version is not served"


class DeadlinePassed(SightlineError):
    """The answer was not there in time."""

    status = 504
    code = "deadline-passed"
    title = "The answer was not ready in time"


class BrokenForward(SightlineError):
    """The network failed, or its answer is not one row of probabilities per image."""

    code = "broken-forward"
    title = "The network failed"


class Problem(TypedDict):
    """The members of RFC 9457, and the stable code that programs should look at."""

    type: str
    title: str
    status: int
    detail: str
    code: str


def problem(error: BaseException) -> Problem:
    """What a client sees of an error. One outside the tree shows it nothing; its traceback is for the log."""
    if not isinstance(error, SightlineError):
        error = SightlineError("something went wrong in the server; its log says what")
    return {
        "type": f"urn:sightline:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "code": error.code,
    }


def is_oip(path: str) -> bool:
    """Whether a path is the Open Inference Protocol's, which has its own words for an error."""
    return path == "/v2" or path.startswith("/v2/")


def problem_headers(error: BaseException) -> dict[str, str]:
    """The headers that belong to a problem, but for the challenges of Unauthorized, which are several."""
    headers = {CODE_HEADER: problem(error)["code"]}
    if isinstance(error, TryLater):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = error.allowed
    return headers
