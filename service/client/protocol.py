"""Requests and answers of the HTTP API as pure functions: what both clients share."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote_to_bytes

import httpx

from .errors import BadRequest, ClientError, Misconfigured, error_of, unexpected
from .results import Predictions, read_predictions, read_results
from .transport.answers import MAX_ANSWER_BYTES, Answer
from .version import VERSION

Result = TypeVar("Result")

TIMEOUT_S = 30.0  # a server gives up on a request after as long, unless a request says otherwise
MAX_CONNECTIONS = 64


class Which(NamedTuple):
    """A model, and which of its versions: one by number, or the one that an alias stands for, or the stable one."""

    model: str
    version: int | None = None
    alias: str | None = None


def which_of(model: str, version: int | None, alias: str | None) -> Which:
    """Raises ValueError where a version and an alias are given."""
    if version is not None and alias is not None:
        raise ValueError(f"expected a version or an alias, got version={version} and alias={alias!r}")
    return Which(model, version, alias)


class Requests:
    """Builds the requests for one server. Raises Misconfigured for an address, ValueError for a key, that is none."""

    def __init__(self, base_url: str, api_key: str | None) -> None:
        self._base = _checked_url(base_url)
        self._headers = {"accept": "application/json", "user-agent": f"sightline-client/{VERSION}"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {_checked_key(api_key)}"
        if userinfo := httpx.URL(base_url).userinfo:  # for a proxy in front of the server
            self._headers["authorization"] = f"Basic {b64encode(unquote_to_bytes(userinfo)).decode('ascii')}"
        # The server judges an image by its bytes. So one type does for all, without a guess from the name.
        self._image_headers = self._headers | {"content-type": "application/octet-stream"}

    def predict(self, which: Which, body: bytes, top_k: int | None) -> httpx.Request:
        url = _step_url(self._base, which, "predict", "" if top_k is None else f"?top_k={top_k}")
        return httpx.Request("POST", url, headers=self._image_headers, content=body)

    def predict_batch(self, which: Which, bodies: Sequence[bytes], top_k: int | None) -> httpx.Request:
        url = _step_url(self._base, which, "predict-batch", "" if top_k is None else f"?top_k={top_k}")
        boundary = secrets.token_hex(16)  # anew each time, so that no image can be made to hold it
        headers = self._headers | {"content-type": f"multipart/form-data; boundary={boundary}"}
        return httpx.Request("POST", url, headers=headers, content=_form(bodies, boundary.encode()))

    def explain(self, which: Which, body: bytes, label: str | None) -> httpx.Request:
        url = _step_url(self._base, which, "explain", "" if label is None else f"?label={quote(label, safe='')}")
        return httpx.Request("POST", url, headers=self._image_headers, content=body)

    def models(self) -> httpx.Request:
        return self._get("/v1/models")

    def model(self, which: Which) -> httpx.Request:
        return self._get(_model_path(which))

    def ready(self) -> httpx.Request:
        return self._get("/readyz")

    def _get(self, path: str) -> httpx.Request:
        return httpx.Request("GET", _url(self._base + path), headers=self._headers)

    @property
    def base(self) -> str:
        """The server's address, without a slash at its end."""
        return self._base


def check_limits(
    timeout_s: float,
    retry_s: float,
    retries: int | None,
    max_connections: int,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
) -> None:
    """Raise ValueError for limits that nothing can keep."""
    if not max_answer_bytes >= 1:
        raise ValueError(f"expected max_answer_bytes of 1 or more, got {max_answer_bytes}")
    # Written so that NaN fails.
    if not (timeout_s > 0 and retry_s >= 0 and (retries is None or retries >= 0) and max_connections >= 1):
        raise ValueError(
            "expected timeout_s above 0, retry_s and retries of 0 or more and max_connections of 1 or more, "
            f"got {timeout_s}, {retry_s}, {retries} and {max_connections}"
        )


def read(answer: Answer, parse: Callable[[Any], Result]) -> Result:
    """What an answer says. Raises the ClientError that it stands for, or UnexpectedAnswer."""
    if answer.status != 200:
        raise error_of(answer)
    try:
        return parse(json.loads(answer.content))
    except KeyError as missing:
        raise unexpected(answer, f"the answer has no {missing}") from missing
    except Exception as wrong:  # deep nesting, numbers beyond all bounds, and what nobody thought of
        raise unexpected(answer, f"the answer has another form than expected ({wrong})") from wrong


def read_one(answer: Answer) -> Predictions:
    """The answer to `predict`. Raises as `read`."""
    return read(answer, read_predictions)


def read_each(answer: Answer, images: int) -> list[Predictions | ClientError]:
    """The answer to `predict-batch` for so many images: what each shows, or its own error. Raises as `read`."""
    request_id = answer.headers.get("x-request-id")
    return read(answer, partial(read_results, images=images, request_id=request_id))


def read_ready(answer: Answer) -> bool:
    """Whether the server says it is ready. Raises as `read` for anything but yes and no."""
    if answer.status not in (200, 503):
        raise error_of(answer)
    return answer.status == 200


@lru_cache(maxsize=256)  # parsing a URL costs more than anything else about a request
def _step_url(base: str, which: Which, step: str, query: str) -> httpx.URL:
    return _url(f"{base}{_model_path(which)}/{step}{query}")


def _form(bodies: Sequence[bytes], boundary: bytes) -> bytes:
    """The images as a form of files called `images`. httpx's own takes as long as the rest of the request."""
    between = b'--%b\r\nContent-Disposition: form-data; name="images"; filename="image"\r\n' % boundary
    head = between + b"Content-Type: application/octet-stream\r\n\r\n"
    return b"".join([part for body in bodies for part in (head, body, b"\r\n")] + [b"--%b--\r\n" % boundary])


def _model_path(which: Which) -> str:
    try:
        path = f"/v1/models/{quote(which.model, safe='')}"
        end = "" if which.alias is None else f"/aliases/{quote(which.alias, safe='')}"
    except UnicodeError as error:
        given = which.model if which.alias is None else f"{which.model} {which.alias}"
        raise BadRequest(f"expected a model's name that can be in an address, got {given!r:.200} ({error})") from error
    return path + (end if which.version is None else f"/versions/{which.version}")


def _url(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise BadRequest(
            f"expected a model and a version that can be in an address ({error}), got {text:.200}"
        ) from error


def _checked_url(base_url: str) -> str:
    wanted = "expected the address of a server, such as http://127.0.0.1:3000"
    try:
        url = httpx.URL(base_url)
        url.host.encode("idna")  # as the look-up of the name will do
    except Exception as error:  # of half a dozen kinds
        raise Misconfigured(f"{wanted}, got {base_url!r:.200} ({error})") from error
    port_is_one = url.port is None or 0 < url.port < 65536
    is_server = url.scheme in ("http", "https") and url.host and port_is_one and not url.query and not url.fragment
    if not is_server or any(character.isspace() for character in base_url):
        raise Misconfigured(f"{wanted}, got {base_url!r:.200}")
    return base_url.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not (api_key.isascii() and api_key.isprintable() and api_key):
        raise ValueError("the API key has characters that a header cannot carry, or none; is there a line break in it?")
    return api_key
