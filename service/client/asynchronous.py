"""The client for asyncio. `blocking` is the same for ordinary code."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from service.client import protocol, streams
from service.client.connections import ONE, AsyncConnections, tls
from service.client.errors import ClientError, ConnectionFailed, named_failures
from service.client.progress import Progress
from service.client.results import Answered, Model, ModelSummary, Predictions, read_model, read_models, read_predictions
from service.client.retrying import RETRIES, Attempts
from service.client.sources import ImageLike, Images, each_image_async, encoded

Result = TypeVar("Result")


class AsyncClient:
    """As `Client`, for one event loop of asyncio: `async with`, `await`, and `async for` over `predict_many`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = protocol.TIMEOUT_S,
        retries: int = RETRIES,
        max_connections: int = protocol.MAX_CONNECTIONS,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        protocol.check_limits(timeout_s, retries, max_connections)
        self._requests = protocol.Requests(base_url, api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        self._max_connections = max_connections
        self._sleep = sleep
        self._clock = clock
        self._connections = AsyncConnections(
            lambda: httpx.AsyncClient(limits=ONE, transport=transport, verify=tls()), max_connections
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._connections.close()

    async def predict(
        self, model: str, image: ImageLike, *, version: int | None = None, top_k: int | None = None
    ) -> Predictions:
        """As `Client.predict`."""
        # Files and pictures are read and encoded beside the event loop.
        body = image if isinstance(image, bytes) else await asyncio.to_thread(encoded, image)
        return await self._ask(self._requests.predict(model, body, version, top_k), read_predictions)

    def predict_many(
        self,
        model: str,
        images: Images | AsyncIterable[ImageLike],
        *,
        version: int | None = None,
        top_k: int | None = None,
        concurrency: int = streams.CONCURRENCY,
        on_error: streams.OnError = "return",
        progress: bool = False,
    ) -> AsyncGenerator[Answered]:
        """As `Client.predict_many`; the images may come from an asynchronous iterable.

        Whoever leaves the loop early should close the stream, as `contextlib.aclosing` does; otherwise the images under
        way are given up only when the stream is garbage.
        """
        streams.check(concurrency, self._max_connections, on_error)

        places = asyncio.Semaphore(concurrency)

        async def ask(image: ImageLike) -> Answered:
            async with places:
                try:
                    return Answered(image, await self.predict(model, image, version=version, top_k=top_k))
                except ClientError as error:
                    return Answered(image, error)

        return _in_order(ask, each_image_async(images), concurrency, on_error, Progress(images, wanted=progress))

    async def models(self) -> list[ModelSummary]:
        """The models on offer."""
        return await self._ask(self._requests.models(), read_models)

    async def model(self, name: str, version: int | None = None) -> Model:
        """What the server says of a model version, by default the newest."""
        return await self._ask(self._requests.model(name, version), read_model)

    async def ready(self) -> bool:
        """Whether every model answers, asked once; a server that is not there is not ready."""
        try:
            return protocol.read_ready(await self._send(self._requests.ready(), self._timeout_s))
        except ConnectionFailed:
            return False

    async def _ask(self, request: httpx.Request, parse: Callable[[Any], Result]) -> Result:
        attempts = Attempts(self._retries, self._timeout_s, self._clock)
        while True:
            try:
                return protocol.read(await self._send(request, attempts.left_s()), parse)
            except ClientError as error:
                await self._sleep(attempts.wait_after(error))

    async def _send(self, request: httpx.Request, within_s: float) -> httpx.Response:
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), within_s)
        async with self._connections.one(within_s) as http:
            with named_failures(self._timeout_s):
                return await http.send(request)


async def _in_order(
    ask: Callable[[ImageLike], Coroutine[None, None, Answered]],
    images: AsyncIterator[ImageLike],
    concurrency: int,
    on_error: streams.OnError,
    progress: Progress,
) -> AsyncGenerator[Answered]:
    waiting: deque[asyncio.Task[Answered]] = deque()
    with progress:
        try:
            async for image in images:
                waiting.append(asyncio.create_task(ask(image)))
                while waiting and (waiting[0].done() or len(waiting) >= streams.AHEAD * concurrency):
                    yield streams.passed(await waiting.popleft(), on_error, progress)
            while waiting:
                yield streams.passed(await waiting.popleft(), on_error, progress)
        finally:
            for answer in waiting:
                answer.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
