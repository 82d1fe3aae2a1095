from __future__ import annotations

import json
import pickle
from collections.abc import Iterator

import httpx
import pytest

from classifier.errors import BrokenModel, EngineUnavailable, RolloutFileError, SightlineError
from classifier.errors import UnreadableFile as UnreadablePath
from service.client import errors
from service.client.errors import (
    BadImage,
    BadRequest,
    ClientError,
    DeadlinePassed,
    QueueFull,
    ServerError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnknownModel,
    error_of,
)
from service.client.transport.answers import MAX_ANSWER_BYTES, Answer, received
from service.errors import CallerGone, SettingsError, TryLater, problem


def below(error: type[SightlineError]) -> Iterator[type[SightlineError]]:
    yield error
    for child in error.__subclasses__():
        yield from below(child)


# These stop a start, answer nobody or stand for those below them.
# Nor to this client: a wrong roll-out file is an answer to administrators, whose route it does not know.
NEVER_SENT = {RolloutFileError, SettingsError, CallerGone, EngineUnavailable, TryLater, *below(BrokenModel)}
NEVER_SENT |= {UnreadablePath}  # of a command, which is given paths; a server never is

SENT = sorted(
    {e for e in below(SightlineError) if e.__module__ in ("classifier.errors", "service.errors")} - NEVER_SENT,
    key=lambda error: error.__name__,
)


def answered(response: httpx.Response) -> Answer:
    return received(response, MAX_ANSWER_BYTES, lambda: None)


def sent(kind: type[SightlineError]) -> httpx.Response:
    error = kind.__new__(kind)  # some take more than a message
    error.args = ("what is wrong",)
    headers = {"content-type": "application/problem+json", "x-request-id": "r-17"}
    return httpx.Response(kind.status, headers=headers, content=json.dumps(problem(error)))


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_every_error_of_the_server_has_its_own_type_here(kind: type[SightlineError]) -> None:
    error = error_of(answered(sent(kind)))
    assert kind.code in errors.BY_CODE
    assert type(error) is errors.BY_CODE[kind.code]
    assert (error.status, error.code, error.title) == (kind.status, kind.code, kind.title)
    assert (error.detail, str(error), error.request_id) == ("what is wrong", "what is wrong", "r-17")


def test_errors_here_carry_the_names_of_those_there() -> None:
    same = {kind for kind in SENT if hasattr(errors, kind.__name__)}
    assert {kind.__name__ for kind in same} >= {"NotAnImage", "UndecodableImage", "UnknownModel", "QueueFull"}
    assert {errors.BY_CODE[kind.code].__name__ for kind in same} == {kind.__name__ for kind in same}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, UnexpectedAnswer),
        (400, BadRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, BadRequest),
        (408, DeadlinePassed),
        (413, TooLarge),
        (429, QueueFull),
        (500, ServerError),
        (502, Unavailable),
        (503, Unavailable),
        (504, DeadlinePassed),
        (520, ServerError),
    ],
)
def test_what_a_proxy_answers_is_sorted_by_its_status(status: int, kind: type[ClientError]) -> None:
    page = "<html><style>h1 {color: red}</style><title>Oh</title>\n<h1>Nothing here</h1></html>"
    error = error_of(answered(httpx.Response(status, html=page)))
    assert type(error) is kind
    assert error.status == status
    assert error.request_id is None
    assert str(error).endswith("not in Sightline's words: Oh Nothing here")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"null", b'{"code": 7, "detail": ["x"]}', b'{"code"', b"x" * 10_000],
    ids=["empty", "binary", "list", "null", "wrong types", "cut off", "long"],
)
def test_a_body_that_only_claims_to_be_a_problem_is_an_error_like_any_other(content: bytes) -> None:
    answer = httpx.Response(503, headers={"content-type": "application/problem+json"}, content=content)
    error = error_of(answered(answer))
    assert type(error) is Unavailable
    assert error.code == "unavailable"
    assert "HTTP 503 Service Unavailable" in str(error)
    assert len(str(error)) < 300


def test_a_code_that_is_newer_than_the_client_falls_back_to_the_status() -> None:
    content = json.dumps({"code": "too-many-callers", "title": "Too many", "detail": "wait"})
    headers = {"content-type": "application/problem+json; charset=utf-8", "retry-after": "3"}
    error = error_of(answered(httpx.Response(429, headers=headers, content=content)))
    assert type(error) is QueueFull
    assert (error.code, error.title, error.detail, error.retry_after) == ("too-many-callers", "Too many", "wait", "3")


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnknownModel("no such model", status=404, request_id="r-1")))  # noqa: S301
    assert type(error) is UnknownModel
    assert (str(error), error.status, error.request_id) == ("no such model", 404, "r-1")


def test_the_tree_is_as_its_picture_shows() -> None:
    picture = errors.__doc__ or ""
    drawn = [line.split("\u2500\u2500 ")[1].split()[0] for line in picture.splitlines() if "\u2500\u2500 " in line]
    assert sorted(drawn) == sorted(kind.__name__ for kind in _below_client_error(ClientError))
    assert issubclass(TooLarge, BadImage)


def _below_client_error(kind: type[ClientError]) -> Iterator[type[ClientError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below_client_error(child)
