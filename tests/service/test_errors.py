from __future__ import annotations

from collections.abc import Iterator

import pytest

from classifier.errors import ImageError, SightlineError, UnknownModel, UnreadableFile
from service import errors
from service.errors import MethodNotAllowed, QueueFull, problem, problem_headers


def tree(root: type[SightlineError] = SightlineError) -> Iterator[type[SightlineError]]:
    yield root
    for branch in root.__subclasses__():
        yield from tree(branch)


OF_COMMANDS = {UnreadableFile}  # which are given paths; a server never is
SERVED = [
    kind for kind in tree() if kind.__module__ in ("classifier.errors", errors.__name__) and kind not in OF_COMMANDS
]


def test_a_problem_has_the_members_of_rfc_9457_and_a_code() -> None:
    assert problem(UnknownModel("no model 'dog'")) == {
        "type": "urn:sightline:problem:unknown-model",
        "title": "Unknown model or version",
        "status": 404,
        "detail": "no model 'dog'",
        "code": "unknown-model",
    }


def test_an_error_outside_the_tree_reveals_nothing() -> None:
    said = problem(KeyError("/home/somebody/secret"))
    assert (said["status"], said["code"]) == (500, "internal")
    assert "secret" not in str(said)


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.1, "2"), (30.0, "30")])
def test_retry_after_is_whole_seconds_and_never_none(seconds: float, header: str) -> None:
    assert problem_headers(QueueFull("full", retry_after_s=seconds))["retry-after"] == header


def test_a_wrong_method_is_answered_with_the_right_ones() -> None:
    assert problem_headers(MethodNotAllowed("no", allowed="POST"))["allow"] == "POST"


def test_a_caller_without_a_key_reads_how_to_show_one() -> None:
    assert errors.Unauthorized("no key").challenges == ('Bearer realm="sightline"', 'Basic realm="sightline"')


def test_who_shows_a_wrong_bearer_key_is_not_asked_for_a_password() -> None:
    (only,) = errors.Unauthorized("wrong key", shown_as_bearer=True).challenges
    assert only == 'Bearer realm="sightline", error="invalid_token"'


def test_the_code_stands_in_a_header_too() -> None:
    assert problem_headers(KeyError("secret"))["x-error-code"] == "internal"


@pytest.mark.parametrize("kind", SERVED, ids=lambda kind: kind.__name__)
def test_every_error_has_a_title_a_code_and_an_error_status(kind: type[SightlineError]) -> None:
    assert kind.title
    assert kind.code == kind.code.lower().replace(" ", "-")
    assert 400 <= kind.status < 600


def test_no_two_errors_that_clients_meet_share_a_code() -> None:
    codes = [kind.code for kind in SERVED if not kind.__subclasses__()]
    assert sorted(codes) == sorted(set(codes))


def test_what_is_wrong_with_an_image_is_never_the_servers_fault() -> None:
    assert all(kind.status < 500 for kind in tree(ImageError))
