"""Both clients against servers that mean harm, as functions: whatever comes, the call ends with a `ClientError`."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import httpcore
import httpx
import pytest

from service.client import (
    BadRequest,
    ClientError,
    ConnectionFailed,
    ConnectionLost,
    QueueFull,
    ServerError,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
)
from service.client.retrying import LONGEST_ASKED_S, RETRY_S
from tests.service.client.doubles import URL, Clock, Make

ANSWER = json.dumps({"model": "pets", "version": 2, "predictions": [{"label": "cat", "probability": 0.75}]}).encode()
SURE = {"model": "pets", "version": 1, "predictions": [{"label": "cat", "probability": 1}]}


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in parts, which counts those that were taken and notes whether it was closed."""

    def __init__(self, parts: Iterator[bytes], after_each: Callable[[], object] = lambda: None) -> None:
        self.taken = 0
        self.closed = False
        self._parts = parts
        self._after_each = after_each

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self.taken += 1
            self._after_each()
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def streaming(stream: Stream, status: int = 200, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, headers=_names(headers), stream=stream)


def replying(content: bytes, status: int = 200, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, headers=_names(headers), stream=Stream(iter([content])))


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def zeros() -> Iterator[bytes]:
    return (bytes(65536) for _ in count())


def bomb() -> Iterator[bytes]:
    """An endless stream of gzip, each part of which unfolds to a thousand times its size."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return (pack.compress(bytes(10_000_000)) + pack.flush(zlib.Z_SYNC_FLUSH) for _ in count())


def test_a_body_that_drips_ends_with_the_deadline(client_of: Make, clock: Clock) -> None:
    drip = Stream((b" " for _ in count()), after_each=lambda: clock.sleep(0.9))
    with pytest.raises(TimedOut, match="did not answer within 3 s"):
        client_of(streaming(drip), timeout_s=3).predict("pets", b"jpeg")
    assert (drip.taken, drip.closed) == (4, True)


def test_an_error_s_body_that_drips_ends_with_the_deadline(client_of: Make, clock: Clock) -> None:
    drip = Stream((b" " for _ in count()), after_each=lambda: clock.sleep(0.9))
    with pytest.raises(TimedOut):
        client_of(streaming(drip, 503), timeout_s=3).predict("pets", b"jpeg")
    assert drip.closed


def test_all_tries_and_their_bodies_share_one_deadline(client_of: Make, clock: Clock) -> None:
    begun_s = clock()

    def slow(_: httpx.Request) -> httpx.Response:
        return streaming(Stream(iter([b"x"] * 4), after_each=lambda: clock.sleep(0.3)), 503)(_)

    with pytest.raises(ClientError):
        client_of(slow, timeout_s=5, retries=1000).predict("pets", b"jpeg")
    assert clock() - begun_s <= 5 + 0.3


def test_an_endless_body_is_read_up_to_the_largest_answer(client_of: Make) -> None:
    endless = Stream(zeros())
    with pytest.raises(UnexpectedAnswer, match=r"more than 200,000 bytes.*max_answer_bytes"):
        client_of(streaming(endless), max_answer_bytes=200_000).predict("pets", b"jpeg")
    assert (endless.taken, endless.closed) == (4, True)


def test_without_a_limit_of_ones_own_it_is_ten_megabytes(client_of: Make) -> None:
    endless = Stream(zeros())
    with pytest.raises(UnexpectedAnswer, match="more than 10,000,000 bytes"):
        client_of(streaming(endless)).predict("pets", b"jpeg")
    assert endless.taken == 153


def test_an_answer_of_just_the_largest_size_is_taken(client_of: Make) -> None:
    assert client_of(replying(ANSWER), max_answer_bytes=len(ANSWER)).predict("pets", b"jpeg").top.label == "cat"
    with pytest.raises(UnexpectedAnswer):
        client_of(replying(ANSWER), max_answer_bytes=len(ANSWER) - 1).predict("pets", b"jpeg")


def test_the_largest_answer_bounds_those_for_groups_too(client_of: Make) -> None:
    endless = Stream(zeros())
    client = client_of(streaming(endless), max_answer_bytes=200_000)
    answers = list(client.predict_many("pets", [b"1", b"2", b"3"], concurrency=1))
    assert [type(result) for _, result in answers] == [UnexpectedAnswer] * 3


def test_a_gzip_bomb_unfolds_no_further_than_the_largest_answer(client_of: Make) -> None:
    packed = Stream(bomb())
    with pytest.raises(UnexpectedAnswer, match="more than 1,000,000 bytes"):
        client_of(streaming(packed, content_encoding="gzip"), max_answer_bytes=1_000_000).predict("pets", b"jpeg")
    assert packed.taken == 1


def test_gzip_that_unfolds_to_nothing_is_endless_too(client_of: Make) -> None:
    empty = b"\x1f\x8b\x08" + bytes(7)
    endless = Stream(_then(empty, b"\x00\x00\x00\xff\xff" * 10_000))
    with pytest.raises(UnexpectedAnswer, match="more than 200,000 bytes"):
        client_of(streaming(endless, content_encoding="gzip"), max_answer_bytes=200_000).predict("pets", b"jpeg")


def _then(first: bytes, others: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield others


@pytest.mark.parametrize(
    ("packed", "pack"),
    [("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
def test_an_answer_that_a_proxy_packed_is_unpacked(
    client_of: Make, packed: str, pack: Callable[[bytes], bytes]
) -> None:
    assert client_of(replying(pack(ANSWER), content_encoding=packed)).predict("pets", b"jpeg").top.label == "cat"


@pytest.mark.parametrize("packed", ["br", "zstd", "gzip, gzip", "x" * 50_000], ids=lambda name: name[:12])
def test_an_answer_packed_in_a_way_nobody_asked_for_is_not_touched(client_of: Make, packed: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="was not asked for") as refused:
        client_of(replying(ANSWER, content_encoding=packed)).predict("pets", b"jpeg")
    assert len(str(refused.value)) < 300


def test_gzip_that_is_none_is_named(client_of: Make) -> None:
    with pytest.raises(UnexpectedAnswer, match="packed and broken"):
        client_of(replying(ANSWER, content_encoding="gzip")).predict("pets", b"jpeg")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"model":' * 100_000,
        b'{"model": "pets", "version": ' + b"9" * 1_000_000 + b"}",
        b'{"model": "pets", "version": 1e999, "predictions": []}',
        b'{"model": 7, "version": 1, "predictions": [{"label": "cat", "probability": 1}]}',
        b'{"model": "pets", "version": 1, "predictions": [{"label": "cat", "probability": NaN}]}',
        b'{"model": "pets", "version": 1, "predictions": [{"label": "cat", "probability": Infinity}]}',
        b'{"model": "pets", "version": 1, "predictions": [{"label": ["cat"], "probability": 1}]}',
        b'{"model": "pets", "version": 1, "predictions": [{"label": "cat", "probability": "1"}]}',
        b'{"model": "pets", "version": 1, "predictions": {"label": "cat"}}',
        json.dumps(SURE | {"familiar": "yes"}).encode(),
        json.dumps(SURE | {"familiar": 1, "familiarity": 1}).encode(),
        json.dumps(SURE | {"familiar": True, "familiarity": 2}).encode(),
        json.dumps(SURE | {"familiar": True, "familiarity": "0.5"}).encode(),
        b'"\xff\xfe\xfd"',
        b"\xff\xfe{\x00",
        b"",
        b"null",
    ],
    ids=lambda content: content[:24],
)
def test_json_of_any_kind_is_an_answer_or_an_error_of_ours(client_of: Make, content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="is this a Sightline server") as refused:
        client_of(replying(content)).predict("pets", b"jpeg")
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("status", ["1e999", "NaN", '"x"', "[]", "null"])
def test_a_problem_of_an_image_that_makes_no_sense_is_an_error_of_ours(client_of: Make, status: str) -> None:
    error = f'{{"error": {{"status": {status}, "detail": "no"}}}}'
    content = f'{{"model": "pets", "version": 1, "results": [{error}, {error}]}}'.encode()
    answers = list(client_of(replying(content)).predict_many("pets", [b"1", b"2"], concurrency=1))
    assert {type(result) for _, result in answers} == {UnexpectedAnswer}


@pytest.mark.parametrize("mark", ["<script", "<style", "<", "<!--", "</", "<script></scrip", "<a href='", "&lt;"])
def test_a_page_of_a_mark_that_is_never_closed_is_read_once(client_of: Make, mark: str) -> None:
    """A pattern that looks for each mark's end takes seconds for each of these, which the test's time limit ends."""
    page = (mark * 100_000).encode()
    for _ in range(20):
        with pytest.raises(ServerError, match="HTTP 500") as refused:
            client_of(replying(page, 500)).predict("pets", b"jpeg")
        assert len(str(refused.value)) < 400


def test_what_a_page_shows_is_shown_without_scripts_and_styles(client_of: Make) -> None:
    page = b"<HTML><STYLE>h1 {a > b}</STYLE><script>if (a < b) {}</script><h1>Oh\n no</h1> 1 <p>2<script>rest"
    with pytest.raises(ServerError, match=r"words: Oh no 1 2$"):
        client_of(replying(page, 500)).predict("pets", b"jpeg")


def test_an_endless_error_is_read_a_little_and_keeps_its_meaning(client_of: Make) -> None:
    endless = Stream(b"<p>no</p>" * 5_000 for _ in count())
    with pytest.raises(Unavailable, match="no no no") as refused:
        client_of(streaming(endless, 502), retries=0).predict("pets", b"jpeg")
    assert (endless.taken, endless.closed, len(str(refused.value)) < 400) == (3, True, True)


def test_a_problem_of_great_length_is_shortened_and_cannot_steer_a_terminal(client_of: Make) -> None:
    content = json.dumps({"detail": "\x1b[2J" + "x" * 50_000, "title": "y" * 9_000, "code": "z" * 9_000}).encode()
    headers = {"content_type": "application/problem+json", "x_request_id": "r" * 9_000, "retry_after": "5" * 9_000}
    with pytest.raises(QueueFull) as refused:
        client_of(replying(content, 429, **headers)).predict("pets", b"jpeg")
    error = refused.value
    assert str(error).startswith("\ufffd[2Jxxx")
    assert len(str(error)) < 2_100
    assert max(len(text or "") for text in (error.title, error.code, error.request_id, error.retry_after)) <= 203


def test_a_redirect_is_not_followed_and_says_where_it_leads(client_of: Make) -> None:
    asked: list[httpx.URL] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(307, headers={"location": "https://elsewhere/v1"})

    with pytest.raises(UnexpectedAnswer, match=r"redirects to https://elsewhere/v1; give that server's address"):
        client_of(redirect).predict("pets", b"jpeg")
    assert len(asked) == 1


@pytest.mark.parametrize("failure", [RecursionError, AssertionError, MemoryError, UnicodeError, ValueError, KeyError])
def test_what_breaks_below_is_an_error_of_ours(client_of: Make, failure: type[Exception]) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise failure("deep down")

    with pytest.raises(
        UnexpectedAnswer, match=rf"http://sightline:3000 failed \({failure.__name__}: .*deep down"
    ) as raised:
        client_of(broken).predict("pets", b"jpeg")
    assert isinstance(raised.value.__cause__, failure)


LATE = (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteTimeout, httpcore.ReadTimeout, httpcore.ConnectTimeout)
LOST = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpcore.ReadError, httpcore.RemoteProtocolError)
UNREACHED = (httpx.ConnectError, httpx.ProxyError, httpx.LocalProtocolError, httpcore.ConnectError, httpcore.ProxyError)
OTHERS = (
    httpx.DecodingError,
    httpx.TooManyRedirects,
    httpx.InvalidURL,
    httpx.StreamConsumed,
    httpx.UnsupportedProtocol,
)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        *((failure, TimedOut) for failure in LATE),
        *((failure, ConnectionLost) for failure in LOST),
        *((failure, ConnectionFailed) for failure in UNREACHED),
        *((failure, UnexpectedAnswer) for failure in OTHERS),
    ],
    ids=lambda kind: f"{kind.__module__.split('.')[0]}-{kind.__name__}",
)
def test_the_errors_of_httpx_and_httpcore_are_ours(
    client_of: Make, failure: type[Exception], kind: type[ClientError]
) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise failure() if failure is httpx.StreamConsumed else failure("oh")  # type: ignore[call-arg]

    with pytest.raises(ClientError, match=URL) as raised:
        client_of(broken, retries=0).predict("pets", b"jpeg")
    assert type(raised.value) is kind


@pytest.mark.parametrize("name", ["\ud800", "x" * 70_000], ids=["surrogate", "long"])
def test_a_model_s_name_that_no_address_can_hold_is_refused_unsent(client_of: Make, name: str) -> None:
    def unasked(_: httpx.Request) -> httpx.Response:
        raise NotImplementedError

    client = client_of(unasked)
    for ask in (lambda: client.predict(name, b"jpeg"), lambda: client.model(name)):
        with pytest.raises(BadRequest, match="expected a model") as refused:
            ask()
        assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "asked_s", [LONGEST_ASKED_S + 1, 3_000, int("9" * 300)], ids=["11 s", "50 minutes", "for ever"]
)
def test_a_server_that_asks_for_a_long_wait_is_asked_again_sooner_and_given_up_in_time(
    client_of: Make, clock: Clock, asked_s: float
) -> None:
    busy = replying(b"", 503, retry_after=str(int(asked_s)))
    with pytest.raises(Unavailable):
        client_of(busy, timeout_s=1e9).predict("pets", b"jpeg")
    assert len(clock.slept_s) == 2
    assert all(LONGEST_ASKED_S <= waited_s <= 1.25 * LONGEST_ASKED_S for waited_s in clock.slept_s)
    assert sum(clock.slept_s) < RETRY_S


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_largest_answer_of_nothing_is_refused(client_of: Make, limit: Any) -> None:
    with pytest.raises(ValueError, match="max_answer_bytes"):
        client_of(replying(ANSWER), max_answer_bytes=limit)
