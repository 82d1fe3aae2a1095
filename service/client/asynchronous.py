"""The client for asyncio. `blocking` is the same for ordinary code."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import httpx

from . import protocol, streams
from .errors import ClientError, ConnectionFailed, TooLarge, named_failures
from .results import (
    Answered,
    Explanation,
    Model,
    ModelSummary,
    Predictions,
    read_explanation,
    read_model,
    read_models,
)
from .retrying import RETRY_S, Attempts
from .sources import ImageLike, Images, each_image_async, encoded, expected_bytes
from .streams import Outcome, Progress
from .transport.answers import MAX_ANSWER_BYTES, Answer, received_async
from .transport.connections import AsyncConnections
from .transport.deadlines import Deadline
from .transport.opening import AsyncTransport
from .transport.routes import Route, route_to

Result = TypeVar("Result")
_One = Callable[[bytes], Awaitable[Predictions]]
_Several = Callable[[list[bytes]], Awaitable[list[Predictions | ClientError]]]


class AsyncClient:
    """As `Client`, for one event loop of asyncio: `async with`, `await`, and `async for` over `predict_many`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = protocol.TIMEOUT_S,
        retry_s: float = RETRY_S,
        retries: int | None = None,
        max_connections: int = protocol.MAX_CONNECTIONS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        proxy: str | None = None,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        protocol.check_limits(timeout_s, retry_s, retries, max_connections, max_answer_bytes)
        self._requests = protocol.Requests(base_url, api_key)
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._retries = retries
        self._max_connections = max_connections
        self._max_answer_bytes = max_answer_bytes
        self._sleep = sleep
        self._clock = clock
        self._route = Route() if transport else route_to(self._requests.base, proxy, trust_env)
        self._connections = AsyncConnections(lambda: transport or AsyncTransport(self._route), max_connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._connections.close()

    async def predict(
        self,
        model: str,
        image: ImageLike,
        *,
        version: int | None = None,
        alias: str | None = None,
        top_k: int | None = None,
    ) -> Predictions:
        """As `Client.predict`."""
        which = protocol.which_of(model, version, alias)
        # Files and pictures are read and encoded beside the event loop.
        body = image if isinstance(image, bytes) else await asyncio.to_thread(encoded, image)
        return await self._ask(self._requests.predict(which, body, top_k), protocol.read_one)

    def predict_many(
        self,
        model: str,
        images: Images | AsyncIterable[ImageLike],
        *,
        version: int | None = None,
        alias: str | None = None,
        top_k: int | None = None,
        concurrency: int = streams.CONCURRENCY,
        on_error: streams.OnError = "return",
        progress: bool = False,
        images_per_request: int = streams.IMAGES_PER_REQUEST,
    ) -> AsyncGenerator[Answered]:
        """As `Client.predict_many`; the images may come from an asynchronous iterable, and should where they are slow.

        Whoever leaves the loop early should close the stream, as `contextlib.aclosing` does; otherwise the images under
        way are given up only when the stream is garbage.
        """
        which = protocol.which_of(model, version, alias)
        streams.check(concurrency, self._max_connections, images_per_request, on_error)
        line: streams.Line[asyncio.Future[Outcome]] = streams.Line(images_per_request, concurrency)

        async def one(body: bytes) -> Predictions:
            return await self._ask(self._requests.predict(which, body, top_k), protocol.read_one)

        async def several(bodies: list[bytes]) -> list[Predictions | ClientError]:
            request = self._requests.predict_batch(which, bodies, top_k)
            return await self._ask(request, partial(protocol.read_each, images=len(bodies)))

        work = partial(_work, line, one, several)
        ahead = streams.AHEAD * concurrency * images_per_request
        counted = Progress(images, wanted=progress)
        return _in_order(each_image_async(images), line, work, ahead, on_error, counted)

    async def explain(
        self,
        model: str,
        image: ImageLike,
        *,
        label: str | None = None,
        version: int | None = None,
        alias: str | None = None,
    ) -> Explanation:
        """As `Client.explain`."""
        which = protocol.which_of(model, version, alias)
        body = image if isinstance(image, bytes) else await asyncio.to_thread(encoded, image)
        request = self._requests.explain(which, body, label)
        return await self._ask(request, partial(protocol.read, parse=read_explanation))

    async def models(self) -> list[ModelSummary]:
        """The models on offer."""
        return await self._ask(self._requests.models(), partial(protocol.read, parse=read_models))

    async def model(self, name: str, version: int | None = None, *, alias: str | None = None) -> Model:
        """What the server says of a model version, by default the stable one."""
        return await self._ask(
            self._requests.model(protocol.which_of(name, version, alias)), partial(protocol.read, parse=read_model)
        )

    async def ready(self) -> bool:
        """Whether every model answers, asked once; a server that is not there is not ready."""
        try:
            return protocol.read_ready(await self._send(self._requests.ready(), self._timeout_s))
        except ConnectionFailed:
            return False

    async def _ask(self, request: httpx.Request, read: Callable[[Answer], Result]) -> Result:
        attempts = Attempts(self._retries, self._retry_s, self._timeout_s, self._clock)
        while True:
            try:
                return read(await self._send(request, attempts.left_s()))
            except ClientError as error:
                await self._sleep(attempts.wait_after(error))

    async def _send(self, request: httpx.Request, within_s: float) -> Answer:
        via, deadline = self._route.via, Deadline.after(within_s, self._clock)
        async with self._connections.one(within_s) as transport:
            with named_failures(request.url, self._timeout_s, via):
                async with asyncio.timeout(deadline.left_s()):
                    deadline.bound(request)
                    response = await transport.handle_async_request(request)
                    return await received_async(response, self._max_answer_bytes, deadline.left_s, via)


async def _work(line: streams.Line[asyncio.Future[Outcome]], one: _One, several: _Several) -> None:
    """Ask for what waits, group by group, until nothing does."""
    while group := line.take():
        try:
            futures, bodies = streams.sendable(group, await _encoded_each(group))
            for future, outcome in zip(futures, await _outcomes(line, one, several, bodies), strict=True):
                future.set_result(outcome)
        finally:
            for waiting in group:
                waiting.outcome.cancel()  # of those that have none, because this worker was cancelled


async def _outcomes(
    line: streams.Line[asyncio.Future[Outcome]], one: _One, several: _Several, bodies: list[bytes]
) -> Sequence[Outcome]:
    if len(bodies) > 1:
        try:
            return await several(bodies)
        except TooLarge:  # each alone may not be
            line.refused(len(bodies))
        except Exception as error:
            return streams.own_errors(error, len(bodies))
    return [await _outcome(one, body) for body in bodies]


async def _outcome(one: _One, body: bytes) -> Outcome:
    try:
        return await one(body)
    except Exception as error:
        return error


async def _encoded_each(group: Sequence[streams.Waiting[asyncio.Future[Outcome]]]) -> list[bytes | Exception]:
    if all(isinstance(waiting.image, bytes) for waiting in group):  # nothing to do that would be worth a thread
        return streams.encode_each(group)
    return await asyncio.to_thread(streams.encode_each, group)


async def _in_order(
    images: AsyncIterator[ImageLike],
    line: streams.Line[asyncio.Future[Outcome]],
    work: Callable[[], Coroutine[None, None, None]],
    ahead: int,
    on_error: streams.OnError,
    progress: Progress,
) -> AsyncGenerator[Answered]:
    loop = asyncio.get_running_loop()
    taken: deque[streams.Waiting[asyncio.Future[Outcome]]] = deque()
    workers: set[asyncio.Task[None]] = set()
    with progress:
        try:
            async for image in images:
                taken.append(streams.Waiting(image, expected_bytes(image), loop.create_future()))
                if line.put(taken[-1]):
                    workers.add(worker := asyncio.create_task(work()))
                    worker.add_done_callback(workers.discard)
                while taken and (taken[0].outcome.done() or len(taken) >= ahead):
                    first = taken.popleft()
                    yield streams.passed(first.image, await first.outcome, on_error, progress)
            while taken:
                first = taken.popleft()
                yield streams.passed(first.image, await first.outcome, on_error, progress)
        finally:
            line.clear()
            under_way = [*workers]
            for worker in under_way:
                worker.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
