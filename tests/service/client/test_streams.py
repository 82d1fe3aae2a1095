"""`predict_many` of both clients, against servers that are functions."""

from __future__ import annotations

import asyncio
import email
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
    ClientError,
    DeadlinePassed,
    ModelNotServed,
    NotAnImage,
    Predictions,
    QueueFull,
    TimedOut,
    Unauthorized,
    UnexpectedAnswer,
    UnknownModel,
    UnreadableFile,
    streams,
)
from service.client.streams import Progress

URL = "http://sightline:3000"
BAD = b"bad"


REFUSED = {"code": "not-an-image", "title": "Not an image we read", "detail": "it is text", "status": 415}
PROBLEM_JSON = {"content-type": "application/problem+json", "x-request-id": "r-17"}


def images_of(request: httpx.Request) -> list[bytes]:
    """The images that a predict or a predict-batch carries."""
    kind = request.headers["content-type"]
    if not kind.startswith("multipart/form-data"):
        return [request.content]
    form = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.content)
    assert {part.get_param("name", header="content-disposition") for part in form.get_payload()} == {"images"}
    return [part.get_payload(decode=True) for part in form.get_payload()]


class Server:
    """Answers with each image as its label, the later the sooner; refuses BAD; remembers what was in it at once.

    With `crowd`, it answers nobody before that many requests are there; of images and bytes it takes no more at once
    than `most_images` and `most_bytes`.
    """

    def __init__(self, crowd: int = 0, most_images: int = 64, most_bytes: int = 10_000_000) -> None:
        self.inside = self.most_inside = self.asked = 0
        self.requests: list[httpx.Request] = []
        self.groups: list[list[bytes]] = []
        self.replies: list[httpx.Response] = []  # instead of what it would say, to the next requests
        self._most_images, self._most_bytes = most_images, most_bytes
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
            self.requests.append(request)
            self.groups.append(images := images_of(request))
            if self.replies:
                return self.replies.pop(0)
        if len(images) > self._most_images or len(request.content) > self._most_bytes:
            too_large = {"code": "body-too-large", "detail": "too much", "status": 413}
            return httpx.Response(413, json=too_large, headers=PROBLEM_JSON)
        results = [self._result(image) for image in images]
        head = {"model": "pets", "version": 1}
        if request.url.path.endswith("/predict-batch"):
            return httpx.Response(200, json=head | {"results": results}, headers={"x-request-id": "r-17"})
        if "error" in results[0]:
            return httpx.Response(415, json=REFUSED, headers=PROBLEM_JSON)
        return httpx.Response(200, json=head | results[0])

    @staticmethod
    def _result(image: bytes) -> dict[str, Any]:
        if image == BAD:
            return {"error": REFUSED}
        return {"predictions": [{"label": image[:8].decode(), "probability": 1.0}]}


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
    assert len(stream.all(server, numbered(40), concurrency=5, images_per_request=1)) == 40
    assert server.most_inside == 5


def test_an_image_that_is_refused_takes_its_own_place_only(stream: Streams) -> None:
    answers = stream.all(Server(), [b"0", BAD, b"2", "/none.jpg", b"4"])
    kinds = [type(result) for _, result in answers]
    assert kinds == [Predictions, NotAnImage, Predictions, UnreadableFile, Predictions]
    assert labels(answers[::2]) == ["0", "2", "4"]
    with pytest.raises(NotAnImage, match="it is text"):
        _ = answers[1].predictions


def test_images_that_are_there_travel_together(stream: Streams) -> None:
    server = Server()
    answers = stream.all(server, numbered(100), concurrency=1, top_k=1, version=1)
    assert labels(answers) == [str(n) for n in range(100)]
    assert max(len(group) for group in server.groups) == streams.IMAGES_PER_REQUEST
    assert len(server.groups) <= 100 / 8 + 10
    together = {str(r.url) for r, group in zip(server.requests, server.groups, strict=True) if len(group) > 1}
    assert together == {f"{URL}/v1/models/pets/versions/1/predict-batch?top_k=1"}


def test_a_group_holds_about_a_megabyte_and_a_larger_image_travels_alone(stream: Streams) -> None:
    images = [f"{n:<8}".encode() + bytes(300_000) for n in range(12)]
    images[5] += bytes(streams.REQUEST_BYTES)
    server = Server()
    assert [label.strip() for label in labels(stream.all(server, images, concurrency=1))] == [str(n) for n in range(12)]
    assert [images[5]] in server.groups
    assert {len(group) for group in server.groups} <= {1, 2, 3}
    assert server.requests[server.groups.index([images[5]])].url.path.endswith("/predict")


def test_an_image_s_error_in_a_group_is_as_if_it_had_come_alone(stream: Streams) -> None:
    alone = stream.all(Server(), [b"0", BAD], images_per_request=1)[1].result
    answers = stream.all(Server(), [*numbered(20), BAD], concurrency=1)
    together = answers[-1].result
    assert isinstance(alone, NotAnImage)
    assert isinstance(together, NotAnImage)
    assert vars(together) == vars(alone)


@pytest.mark.parametrize(
    "limits", [{"most_images": 3}, {"most_images": 1}, {"most_bytes": 600}, {"most_bytes": 60}], ids=str
)
def test_a_server_that_takes_smaller_groups_gets_its_images_anyway(stream: Streams, limits: dict[str, int]) -> None:
    server = Server(**limits)
    answers = stream.all(server, numbered(60), concurrency=2)
    assert labels(answers) == [str(n) for n in range(60)]
    refused = [group for group in server.groups if len(group) == streams.IMAGES_PER_REQUEST]
    assert len(refused) <= 2  # what was under way when the first was refused


def test_a_group_that_is_refused_for_now_is_sent_again_as_it_was(stream: Streams) -> None:
    server = Server()
    full = {"code": "queue-full", "detail": "full", "status": 429}
    server.replies = [httpx.Response(429, json=full, headers=PROBLEM_JSON | {"retry-after": "0"}) for _ in range(2)]
    assert labels(stream.all(server, numbered(20), concurrency=1)) == [str(n) for n in range(20)]
    assert server.groups[0] == server.groups[1] == server.groups[2]


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (504, {"code": "deadline-passed", "detail": "late"}, DeadlinePassed),
        (429, {"code": "queue-full", "detail": "full"}, QueueFull),
        (200, {"model": "pets", "version": 1, "results": []}, UnexpectedAnswer),
        (200, {"model": "pets", "version": 1, "results": [{"error": {"title": "?"}}] * 4}, UnexpectedAnswer),
    ],
    ids=["late", "full", "too few results", "no problem"],
)
def test_what_befalls_a_whole_group_is_each_image_s_own_error(
    status: int, content: dict[str, Any], kind: type[ClientError]
) -> None:
    headers = PROBLEM_JSON if status != 200 else {"x-request-id": "r-17"}

    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=content, headers=headers)

    async def ask() -> list[Answered]:
        async with AsyncClient(URL, transport=httpx.MockTransport(refuse), retries=0) as client:
            return [answered async for answered in client.predict_many("pets", numbered(4))]

    with Client(URL, transport=httpx.MockTransport(refuse), retries=0) as client:
        for answers in (asyncio.run(ask()), list(client.predict_many("pets", numbered(4)))):
            assert [type(result) for _, result in answers] == [kind] * 4
            assert len({id(result) for _, result in answers}) == 4
            assert {result.request_id for _, result in answers if isinstance(result, ClientError)} == {"r-17"}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "unknown-model", UnknownModel),
        (401, "unauthorized", Unauthorized),
        (503, "model-not-served", ModelNotServed),
    ],
)
def test_a_stream_ends_at_once_with_what_all_its_images_would_share(
    stream: Streams, status: int, code: str, kind: type[ClientError]
) -> None:
    server = Server()
    wrong = {"code": code, "detail": "no such", "status": status}
    server.replies = [httpx.Response(status, json=wrong, headers=PROBLEM_JSON) for _ in range(100)]
    with pytest.raises(kind, match="no such"):
        stream.all(server, numbered(1_000), concurrency=2)
    assert server.asked <= streams.AHEAD * 2 * streams.IMAGES_PER_REQUEST


def test_a_folder_without_images_is_an_error_at_the_call(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with Client(URL) as client, pytest.raises(UnreadableFile, match=r"has no images: expected files with \.jpg"):
        client.predict_many("pets", tmp_path)


def test_an_image_of_a_slow_source_does_not_wait_for_company() -> None:
    server, arrived = Server(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        arrived.set()
        return server.blocking(request)

    def camera() -> Iterator[bytes]:
        for image in numbered(5):
            yield image
            assert arrived.wait(10)  # the next picture is taken only when this one is at the server
            arrived.clear()

    with Client(URL, transport=httpx.MockTransport(answer)) as client:
        assert labels(client.predict_many("pets", camera())) == [str(n) for n in range(5)]
    assert sorted(server.groups) == [[image] for image in numbered(5)]


def test_an_image_of_a_slow_asynchronous_source_does_not_wait_for_company() -> None:
    async def ask() -> list[list[bytes]]:
        server, arrived = Server(), asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            arrived.set()
            return await server.asynchronous(request)

        async def camera() -> AsyncIterator[bytes]:
            for image in numbered(5):
                yield image
                await arrived.wait()
                arrived.clear()

        async with asyncio.timeout(10), AsyncClient(URL, transport=httpx.MockTransport(answer)) as client:
            answers = [answered async for answered in client.predict_many("pets", camera())]
        assert labels(answers) == [str(n) for n in range(5)]
        return sorted(server.groups)

    assert asyncio.run(ask()) == [[image] for image in numbered(5)]


def test_what_is_no_image_at_all_is_the_caller_s_own_error_in_its_place(stream: Streams) -> None:
    images = [*numbered(3), 17]
    assert labels(stream.first(3, Server(), images)) == ["0", "1", "2"]
    with pytest.raises(TypeError, match="got int"):
        stream.all(Server(), images)


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
    assert len(stream.first(30, server, endless(), concurrency=3, images_per_request=4)) == 30
    assert taken <= 30 + streams.AHEAD * 3 * 4
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
        with pytest.raises(ValueError, match="images_per_request must be 1 or more, not 0"):
            client.predict_many("pets", [], concurrency=1, images_per_request=0)
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
            stream = client.predict_many("pets", numbered(5), concurrency=3, images_per_request=1)
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
    asked, released = threading.Event(), threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        asked.set()
        released.wait(10)
        return httpx.Response(200)

    with Client(URL, transport=httpx.MockTransport(hang), max_connections=1, timeout_s=0.05) as client:
        first = threading.Thread(target=client.ready)
        first.start()
        assert asked.wait(10)
        with pytest.raises(TimedOut, match="all 1 connections were in use for"):
            client.predict("pets", b"1")
        released.set()
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
    assert terminal.getvalue().startswith("\r[#############-------] 2 of 3 images, 1 failed, ")
    assert terminal.getvalue().endswith("/s, 0 s left\x1b[K\n")


def test_progress_knows_how_many_images_a_folder_has_and_not_how_many_will_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.png", "notes.txt"):
        (tmp_path / name).touch()
    for images, said in ((tmp_path, "1 of 2 images"), (iter([1, 2]), "\r1 images")):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        with Progress(images, wanted=True) as progress:
            progress.count(failed=False)
        assert said in terminal.getvalue()
        assert ("left" in terminal.getvalue()) == (images == tmp_path)


@pytest.mark.parametrize(("stderr", "wanted"), [(io.StringIO(), True), (Terminal(), False)], ids=["no terminal", "off"])
def test_progress_is_silent_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, wanted: bool, stream: Streams
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    stream.all(Server(), numbered(3), progress=wanted)
    assert stderr.getvalue() == ""
