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
├── Misconfigured       the address, the proxy or a variable of the environment; nothing was sent
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

import httpcore
import httpx

from .transport.answers import Answer, TooLong, Undecodable

_SNIPPET = 200  # characters shown of an answer that is not ours
_DETAIL = 2_000  # characters kept of a server's own words
_WORD = 200  # characters kept of a code, a title or a header
_HIDDEN_ENDS = {"style": re.compile("</style", re.IGNORECASE), "script": re.compile("</script", re.IGNORECASE)}


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
    """The image is damaged, has no meaning in pixels or takes too much to decode; without a status, it was not sent."""

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


class Misconfigured(ClientError, ValueError):
    """The address, the proxy or a variable of the environment cannot be used. Nothing was sent."""

    code = "misconfigured"
    title = "The client cannot be used so"


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
    "too-complex-image": UndecodableImage,
    "too-slow-to-decode": UndecodableImage,
    "too-much-memory-to-decode": UndecodableImage,
    "malformed-request": BadRequest,
    "unsupported-media-type": BadRequest,
    "no-such-path": BadRequest,
    "method-not-allowed": BadRequest,
    "head-too-large": BadRequest,
    "host-not-allowed": BadRequest,
    "unauthorized": Unauthorized,
    "unknown-model": UnknownModel,
    "queue-full": QueueFull,
    "decoders-busy": QueueFull,
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

_LATE = (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError)
_LOST = (
    *(httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError),
    *(httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError),
)
_UNREACHED = (
    *(httpx.NetworkError, httpx.ProxyError, httpx.ProtocolError),
    *(httpcore.NetworkError, httpcore.ProxyError, httpcore.ProtocolError),
)


def error_of(answer: Answer) -> ClientError:
    """The error that an answer other than 200 stands for, whoever gave it."""
    problem = _problem(answer)
    code, detail = problem.get("code"), problem.get("detail")
    return _kind(code, answer.status)(
        _short(detail, _DETAIL) if detail else _in_other_words(answer),
        status=answer.status,
        code=code and _short(code, _WORD),
        title=_short(problem.get("title", ""), _WORD),
        **_headers(answer),
    )


def error_of_problem(problem: dict[str, Any], request_id: str | None) -> ClientError:
    """The error of one image among several, as its problem in a 200 says. Raises KeyError or TypeError for others."""
    status, code, title = int(problem["status"]), problem.get("code"), problem.get("title")
    return _kind(code, status)(
        _short(problem["detail"], _DETAIL),
        status=status,
        code=code and _short(code, _WORD),
        title=title and _short(title, _WORD),
        request_id=request_id,
    )


def unexpected(answer: Answer, why: object) -> UnexpectedAnswer:
    """The error for a 200 that holds something else than it should."""
    return UnexpectedAnswer(
        f"{_short(str(why), _SNIPPET)}; is this a Sightline server? It answered{_by(answer.via)}: {_snippet(answer)}",
        status=answer.status,
        request_id=_headers(answer)["request_id"],
    )


@contextmanager
def named_failures(url: httpx.URL, timeout_s: float, via: str = "") -> Iterator[None]:
    """Raise a ClientError in place of whatever goes wrong while a request is sent and its answer received.

    `via` names the proxy, if there is one.
    """
    try:
        yield
    except ClientError:
        raise
    except _LATE as failure:
        raise TimedOut(f"{_server(url)} did not answer within {timeout_s:g} s{_by(via)}") from failure
    except _LOST as failure:
        raise ConnectionLost(f"{_server(url)} broke the connection{_by(via)}: {_said(failure)}") from failure
    except _UNREACHED as failure:
        raise _unreached(url, via, _said(failure)) from failure
    except TooLong as failure:
        raise UnexpectedAnswer(
            f"{_server(url)} answers with {failure}; is this a Sightline server? If so, raise max_answer_bytes"
        ) from failure
    except Undecodable as failure:
        raise UnexpectedAnswer(f"{_server(url)} answered{_by(via)}, but {failure}") from failure
    except Exception as failure:  # of any library below, such as for a name or a header that breaks its rules
        raise UnexpectedAnswer(
            f"the exchange with {_server(url)}{_by(via)} failed ({type(failure).__name__}: {_said(failure)}); "
            "is this the address of a Sightline server?"
        ) from failure


def _unreached(url: httpx.URL, via: str, said: str) -> ConnectionFailed:
    if via:
        return ConnectionFailed(
            f"{_server(url)} cannot be reached by {via}: {said}; mend it, "
            f"put {url.host} into NO_PROXY, or give trust_env=False"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said += "; SSL_CERT_FILE may name the certificate of your own authority"
    return ConnectionFailed(f"{_server(url)} cannot be reached: {said}")


def _kind(code: str | None, status: int) -> type[ClientError]:
    return BY_CODE.get(code or "") or BY_STATUS.get(status) or _by_class(status)


def _by_class(status: int) -> type[ClientError]:
    return BadRequest if 400 <= status < 500 else ServerError if status >= 500 else UnexpectedAnswer


def _problem(answer: Answer) -> dict[str, str]:
    """The text members of a problem; none where the body is something else, such as a proxy's HTML."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return {}
    try:
        content: Any = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    members = content.items() if isinstance(content, dict) else ()
    return {name: value for name, value in members if isinstance(value, str)}


def _headers(answer: Answer) -> dict[str, str | None]:
    """What the headers of an answer say to its error."""
    request_id, retry_after = answer.headers.get("x-request-id"), answer.headers.get("retry-after")
    return {
        "request_id": request_id and _short(request_id, _WORD),
        "retry_after": retry_after and retry_after[:_WORD],
    }


def _in_other_words(answer: Answer) -> str:
    status = f"HTTP {answer.status} {_short(answer.reason, _WORD)}{_by(answer.via)}"
    if 300 <= answer.status < 400 and "location" in answer.headers:
        return f"{status}: it redirects to {_short(answer.headers['location'], _SNIPPET)}; give that server's address"
    return f"{status}, not in Sightline's words: {_snippet(answer)}"


def _snippet(answer: Answer) -> str:
    return _short(" ".join(_without_tags(answer.content.decode("utf-8", "replace")).split()), _SNIPPET) or (
        "(an empty body)"
    )


def _without_tags(text: str) -> str:
    """What a page shows. Each character is looked at once: to a mark that is never closed belongs all the rest."""
    shown, end = [], 0
    while (opened := text.find("<", end)) >= 0:
        shown.append(text[end:opened])
        hidden = _HIDDEN_ENDS.get(
            next((n for n in _HIDDEN_ENDS if text[opened + 1 : opened + 7].lower().startswith(n)), "")
        )
        closes = hidden.search(text, opened) if hidden else None
        closed = text.find(">", closes.end() if closes else opened) if not hidden or closes else -1
        if closed < 0:
            return " ".join(shown) if hidden else " ".join([*shown, text[opened:]])
        end = closed + 1
    return " ".join([*shown, text[end:]])


def _short(text: str, most: int) -> str:
    """Text of others as it may stand in a message: not long, and without what would steer a terminal."""
    cut = text if len(text) <= most else f"{text[:most]}..."
    return cut if cut.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in cut)


def _by(via: str) -> str:
    return f" by {via}" if via else ""


def _server(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"  # without a user name and password that the URL may have


def _said(failure: Exception) -> str:
    return _short(str(failure), _SNIPPET) or type(failure).__name__
