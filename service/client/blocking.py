"""The client for ordinary code. `asynchronous` is the same for asyncio."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from service.client import protocol, streams
from service.client.connections import ONE, Connections, tls
from service.client.errors import ClientError, ConnectionFailed, named_failures
from service.client.progress import Progress
from service.client.results import Answered, Model, ModelSummary, Predictions, read_model, read_models, read_predictions
from service.client.retrying import RETRIES, Attempts
from service.client.sources import ImageLike, Images, each_image, encoded

Result = TypeVar("Result")


class Client:
    """Speaks to the Sightline server at `base_url`; threads may share one. Close it, or use it as a context manager.

    `timeout_s` bounds one call with its retries and waits: no try begins later, and each step of one (connect, send,
    receive) may take what is left. A call is retried up to `retries` times where the server says 429 or 503 or is not
    reached, after at least the time that Retry-After asks for; where that would outlast `timeout_s`, the error comes at
    once. A connection that breaks is replaced, one time, without counting. Every failure is a `ClientError`.

    `transport`, `sleep` and `clock` are for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = protocol.TIMEOUT_S,
        retries: int = RETRIES,
        max_connections: int = protocol.MAX_CONNECTIONS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        protocol.check_limits(timeout_s, retries, max_connections)
        self._requests = protocol.Requests(base_url, api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        self._max_connections = max_connections
        self._sleep = sleep
        self._clock = clock
        self._connections = Connections(
            lambda: httpx.Client(limits=ONE, transport=transport, verify=tls()), max_connections
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connections.close()

    def predict(
        self, model: str, image: ImageLike, *, version: int | None = None, top_k: int | None = None
    ) -> Predictions:
        """Classify one image: a path, the bytes of a file, a PIL image, or uint8 pixels [h, w], [h, w, 1] or [h, w, 3].

        Pictures and pixels travel as PNG, without loss. Gives all labels unless `top_k` says how many, by the newest
        version unless `version` says which. Raises ClientError.
        """
        return self._ask(self._requests.predict(model, encoded(image), version, top_k), read_predictions)

    def predict_many(
        self,
        model: str,
        images: Images,
        *,
        version: int | None = None,
        top_k: int | None = None,
        concurrency: int = streams.CONCURRENCY,
        on_error: streams.OnError = "return",
        progress: bool = False,
    ) -> Generator[Answered]:
        """Classify the images of an iterable or a folder, `concurrency` at once, and give the answers in their order.

        A failure takes the place of its image's predictions, or is raised in its place with `on_error="raise"`. At most
        `streams.AHEAD` times `concurrency` images are taken before the first of them has been given back, and files
        are read only when they are sent. `progress` shows a line on stderr if that is a terminal.
        """
        streams.check(concurrency, self._max_connections, on_error)

        def ask(image: ImageLike) -> Answered:
            try:
                return Answered(image, self.predict(model, image, version=version, top_k=top_k))
            except ClientError as error:
                return Answered(image, error)

        return _in_order(ask, each_image(images), concurrency, on_error, Progress(images, wanted=progress))

    def models(self) -> list[ModelSummary]:
        """The models on offer."""
        return self._ask(self._requests.models(), read_models)

    def model(self, name: str, version: int | None = None) -> Model:
        """What the server says of a model version, by default the newest."""
        return self._ask(self._requests.model(name, version), read_model)

    def ready(self) -> bool:
        """Whether every model answers, asked once; a server that is not there is not ready."""
        try:
            return protocol.read_ready(self._send(self._requests.ready(), self._timeout_s))
        except ConnectionFailed:
            return False

    def _ask(self, request: httpx.Request, parse: Callable[[Any], Result]) -> Result:
        attempts = Attempts(self._retries, self._timeout_s, self._clock)
        while True:
            try:
                return protocol.read(self._send(request, attempts.left_s()), parse)
            except ClientError as error:
                self._sleep(attempts.wait_after(error))

    def _send(self, request: httpx.Request, within_s: float) -> httpx.Response:
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), within_s)
        with self._connections.one(within_s) as http, named_failures(self._timeout_s):
            return http.send(request)


def _in_order(
    ask: Callable[[ImageLike], Answered],
    images: Iterator[ImageLike],
    concurrency: int,
    on_error: streams.OnError,
    progress: Progress,
) -> Generator[Answered]:
    waiting: deque[Future[Answered]] = deque()
    with progress, ThreadPoolExecutor(concurrency, thread_name_prefix="predict") as threads:
        try:
            for image in images:
                waiting.append(threads.submit(ask, image))
                while waiting and (waiting[0].done() or len(waiting) >= streams.AHEAD * concurrency):
                    yield streams.passed(waiting.popleft().result(), on_error, progress)
            while waiting:
                yield streams.passed(waiting.popleft().result(), on_error, progress)
        finally:
            for answer in waiting:
                answer.cancel()
