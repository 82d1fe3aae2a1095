"""`predict_many` of both clients, against servers that are functions."""

from __future__ import annotations

import asyncio
import io
import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import (
    Answered,
    AsyncClient,
    Client,
    NotAnImage,
    Predictions,
    TimedOut,
    UnreadableFile,
    streams,
)
from service.client.progress import Progress

URL = "http://sightline:3000"
BAD = b"bad"


class Server:
    """Answers with the body as the label, the later the sooner; refuses BAD; remembers how many were in it at once.

    With `crowd`, it answers nobody before that many are there.
    """

    def __init__(self, crowd: int = 0) -> None:
        self.inside = self.most_inside = self.asked = 0
        self._lock = threading.Lock()
        self._crowd = threading.Barrier(crowd) if crowd else None
        self._async_crowd = asyncio.Barrier(crowd) if crowd else None

    def blocking(self, request: httpx.Request) -> httpx.Response:
        wait_s = self._enter()
        self._crowd.wait(10) if self._crowd else time.sleep(wait_s)
        return self._leave(request)

    async def asynchronous(self, request: httpx.Request) -> httpx.Response:
        wait_s = self._enter()
        await (self._async_crowd.wait() if self._async_crowd else asyncio.sleep(wait_s))
        return self._leave(request)

    def _enter(self) -> float:
        with self._lock:
            self.inside += 1
            self.asked += 1
            self.most_inside = max(self.most_inside, self.inside)
            return 0.004 - 0.001 * (self.asked % 4)

    def _leave(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.inside -= 1
        if request.content == BAD:
            content = {"code": "not-an-image", "title": "Not an image we read", "detail": "it is text", "status": 415}
            return httpx.Response(415, json=content, headers={"content-type": "application/problem+json"})
        predictions = [{"label": request.content.decode(), "probability": 1.0}]
        return httpx.Response(200, json={"model": "pets", "version": 1, "predictions": predictions})


class Streams:
    """The first answers of a stream, taken one by one, after which the stream is left."""

    def __init__(self, asynchronous: bool) -> None:
        self.asynchronous = asynchronous

    def first(self, count: int | None, server: Server, images: Any, **options: Any) -> list[Answered]:
        if self.asynchronous:
            return asyncio.run(self._first_async(count, server, images, options))
        with (
            Client(URL, transport=httpx.MockTransport(server.blocking)) as client,
            closing(client.predict_many("pets", images, **options)) as stream,
        ):
            return list(itertools.islice(stream, count))

    def all(self, server: Server, images: Any, **options: Any) -> list[Answered]:
        return self.first(None, server, images, **options)

    async def _first_async(self, count: int | None, server: Server, images: Any, options: Any) -> list[Answered]:
        async with (
            AsyncClient(URL, transport=httpx.MockTransport(server.asynchronous)) as client,
            aclosing(client.predict_many("pets", images, **options)) as stream,
        ):
            taken: list[Answered] = []
            while count is None or len(taken) < count:
                try:
                    taken.append(await anext(stream))
                except StopAsyncIteration:
                    break
            return taken


@pytest.fixture(params=[False, True], ids=["Client", "AsyncClient"])
def stream(request: pytest.FixtureRequest) -> Streams:
    return Streams(request.param)


def numbered(count: int) -> list[bytes]:
    return [str(n).encode() for n in range(count)]


def labels(answers: Iterable[Answered]) -> list[str]:
    return [answered.predictions.top.label for answered in answers]


def test_answers_come_in_the_order_of_the_images_beside_them(stream: Streams) -> None:
    images = numbered(50)
    answers = stream.all(Server(), images)
    assert [answered.image for answered in answers] == images
    assert labels(answers) == [str(n) for n in range(50)]


def test_as_many_are_asked_at_once_as_wanted_and_no_more(stream: Streams) -> None:
    server = Server(crowd=5)
    assert len(stream.all(server, numbered(40), concurrency=5)) == 40
    assert server.most_inside == 5


def test_an_image_that_is_refused_takes_its_own_place_only(stream: Streams) -> None:
    answers = stream.all(Server(), [b"0", BAD, b"2", "/none.jpg", b"4"])
    kinds = [type(result) for _, result in answers]
    assert kinds == [Predictions, NotAnImage, Predictions, UnreadableFile, Predictions]
    assert labels(answers[::2]) == ["0", "2", "4"]
    with pytest.raises(NotAnImage, match="it is text"):
        _ = answers[1].predictions


def test_errors_are_raised_in_their_place_on_request(stream: Streams) -> None:
    images = [b"0", b"1", "/none.jpg", *numbered(20)]
    assert labels(stream.first(2, Server(), images, on_error="raise")) == ["0", "1"]
    with pytest.raises(UnreadableFile) as raised:
        stream.all(Server(), images, on_error="raise")
    assert raised.value.__notes__ == ["image: /none.jpg"]


def test_images_are_taken_only_as_the_answers_are(stream: Streams) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield str(n).encode()

    server = Server()
    assert len(stream.first(30, server, endless(), concurrency=3)) == 30
    assert taken <= 30 + streams.AHEAD * 3
    assert server.asked <= taken
    assert server.most_inside <= 3


def test_a_source_that_fails_ends_the_stream_with_its_own_error(stream: Streams) -> None:
    def broken() -> Iterator[bytes]:
        yield b"0"
        raise LookupError("the camera is gone")

    with pytest.raises(LookupError, match="the camera is gone"):
        stream.all(Server(), broken())


def test_nothing_gives_nothing(stream: Streams) -> None:
    assert stream.all(Server(), []) == []


def test_a_folder_is_streamed_by_its_paths(stream: Streams, tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c/1.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    answers = stream.all(Server(), tmp_path)
    assert [answered.image for answered in answers] == [
        tmp_path / "a.jpg",
        tmp_path / "b.png",
        tmp_path / "c" / "1.jpg",
    ]
    assert labels(answers) == ["a.jpg", "b.png", "c/1.jpg"]


def test_a_mistake_of_the_caller_s_shows_at_the_call(tmp_path: Path) -> None:
    with Client(URL, max_connections=4) as client:
        for concurrency in (0, 5):
            with pytest.raises(ValueError, match="concurrency must be from 1 to max_connections=4"):
                client.predict_many("pets", [], concurrency=concurrency)
        with pytest.raises(ValueError, match="on_error"):
            client.predict_many("pets", [], concurrency=1, on_error="ignore")  # type: ignore[arg-type]
        with pytest.raises(UnreadableFile):
            client.predict_many("pets", tmp_path / "none", concurrency=1)


def test_images_may_come_asynchronously() -> None:
    async def camera() -> AsyncIterator[bytes]:
        for image in numbered(20):
            await asyncio.sleep(0)
            yield image

    answers = Streams(asynchronous=True).all(Server(), camera(), concurrency=4)
    assert labels(answers) == [str(n) for n in range(20)]


def test_an_asynchronous_stream_that_is_left_gives_up_what_is_under_way() -> None:
    async def leave() -> int:
        server = Server(crowd=3)  # two answers never come, so only giving up ends this test
        transport = httpx.MockTransport(server.asynchronous)
        async with asyncio.timeout(10), AsyncClient(URL, transport=transport) as client:
            stream = client.predict_many("pets", numbered(5), concurrency=3)
            assert (await anext(stream)).predictions.top.label == "0"
            await stream.aclose()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            return len(others)

    assert asyncio.run(leave()) == 0


def test_more_threads_than_connections_wait_for_one() -> None:
    server = Server()
    with Client(URL, transport=httpx.MockTransport(server.blocking), max_connections=2) as client:
        threads = [threading.Thread(target=client.predict, args=("pets", b"0")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (server.asked, server.most_inside) == (8, 2)


def test_waiting_for_a_connection_ends_with_the_timeout() -> None:
    asked, gate = threading.Event(), threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        asked.set()
        gate.wait(10)
        return httpx.Response(200)

    with Client(URL, transport=httpx.MockTransport(hang), max_connections=1, timeout_s=0.05) as client:
        first = threading.Thread(target=client.ready)
        first.start()
        assert asked.wait(10)
        with pytest.raises(TimedOut, match="all 1 connections were in use for"):
            client.predict("pets", b"1")
        gate.set()
        first.join()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress([1, 2, 3], wanted=True) as progress:
        progress.count(failed=False)
        progress.count(failed=True)
    assert terminal.getvalue().startswith("\r2 of 3 images, 1 failed, ")
    assert terminal.getvalue().endswith("/s\x1b[K\n")


@pytest.mark.parametrize(("stderr", "wanted"), [(io.StringIO(), True), (Terminal(), False)], ids=["no terminal", "off"])
def test_progress_is_silent_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, wanted: bool, stream: Streams
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    stream.all(Server(), numbered(3), progress=wanted)
    assert stderr.getvalue() == ""
