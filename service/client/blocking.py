"""The client for ordinary code. `asynchronous` is the same for asyncio."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from .sources import ImageLike, Images, each_image, encoded, expected_bytes
from .streams import Outcome, Progress
from .transport.answers import MAX_ANSWER_BYTES, Answer, received
from .transport.connections import Connections
from .transport.deadlines import Deadline
from .transport.opening import Transport
from .transport.routes import Route, route_to

Result = TypeVar("Result")
_One = Callable[[bytes], Predictions]
_Several = Callable[[list[bytes]], list[Predictions | ClientError]]


class Client:
    """Speaks to the Sightline server at `base_url`; threads may share one. Close it, or use it as a context manager.

    `timeout_s` bounds one call in total, with its retries and waits, however slowly the other side connects, reads or
    answers. A call is retried where the server says 429 or 503, or is not reached, for `retry_s` from its first try, so
    that it outlasts a restart; `retries` may bound the number too. It waits for as long as Retry-After asks, up to
    10 s; where that would outlast `retry_s` or `timeout_s`, the error comes at once. A connection that breaks is
    replaced, one time, without counting. Redirects are not followed. An answer is read up to `max_answer_bytes`,
    unpacked.

    A proxy is used where `proxy` names one (http://, https:// or socks5://). Else HTTP_PROXY, HTTPS_PROXY or ALL_PROXY
    may name one, unless NO_PROXY excepts the server; never for a server on this machine. `trust_env=False` leaves all
    variables of the environment aside, those of certificates (SSL_CERT_FILE, SSL_CERT_DIR) too.

    Every failure is a `ClientError`; Misconfigured, at once, for an address, a proxy or a variable that cannot be used.
    Raises ValueError for a key or limits that cannot be.

    `transport`, `sleep` and `clock` are for tests.
    """

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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
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
        self._connections = Connections(lambda: transport or Transport(self._route), max_connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connections.close()

    def predict(
        self,
        model: str,
        image: ImageLike,
        *,
        version: int | None = None,
        alias: str | None = None,
        top_k: int | None = None,
    ) -> Predictions:
        """Classify one image: a path, the bytes of a file, a PIL image, or uint8 pixels [h, w], [h, w, 1] or [h, w, 3].

        Pictures and pixels travel as PNG, without loss. Gives all labels unless `top_k` says how many, by the
        stable version unless `version` or `alias` says which. Raises ClientError, and ValueError for both of them.
        """
        which = protocol.which_of(model, version, alias)
        return self._ask(self._requests.predict(which, encoded(image), top_k), protocol.read_one)

    def predict_many(
        self,
        model: str,
        images: Images,
        *,
        version: int | None = None,
        alias: str | None = None,
        top_k: int | None = None,
        concurrency: int = streams.CONCURRENCY,
        on_error: streams.OnError = "return",
        progress: bool = False,
        images_per_request: int = streams.IMAGES_PER_REQUEST,
    ) -> Generator[Answered]:
        """Classify the images of an iterable or a folder, by `concurrency` requests at once; answers come in their
        order.

        A request that can begin takes the images that are there, and never waits for more. It takes up to
        `images_per_request` of them, and up to `streams.REQUEST_BYTES`. A failure takes the place of its image's
        predictions, or is raised in its place with `on_error="raise"`. One that all images would share, such as a wrong
        model or key, is raised in any case. At most `streams.AHEAD` times what all requests
        may hold is taken before the first image has been given back. Files are read only when they are sent. `progress`
        shows a line on stderr if that is a terminal.
        """
        which = protocol.which_of(model, version, alias)
        streams.check(concurrency, self._max_connections, images_per_request, on_error)
        line: streams.Line[Future[Outcome]] = streams.Line(images_per_request, concurrency)

        def one(body: bytes) -> Predictions:
            return self._ask(self._requests.predict(which, body, top_k), protocol.read_one)

        def several(bodies: list[bytes]) -> list[Predictions | ClientError]:
            request = self._requests.predict_batch(which, bodies, top_k)
            return self._ask(request, partial(protocol.read_each, images=len(bodies)))

        work = partial(_work, line, one, several)
        ahead = streams.AHEAD * concurrency * images_per_request
        counted = Progress(images, wanted=progress)
        return _in_order(each_image(images), line, work, concurrency, ahead, on_error, counted)

    def explain(
        self,
        model: str,
        image: ImageLike,
        *,
        label: str | None = None,
        version: int | None = None,
        alias: str | None = None,
    ) -> Explanation:
        """What a decision rests on: as numbers, for the most probable label unless `label` names another.

        It takes the server some 80 runs of the network. Raises as `predict`.
        """
        which = protocol.which_of(model, version, alias)
        request = self._requests.explain(which, encoded(image), label)
        return self._ask(request, partial(protocol.read, parse=read_explanation))

    def models(self) -> list[ModelSummary]:
        """The models on offer."""
        return self._ask(self._requests.models(), partial(protocol.read, parse=read_models))

    def model(self, name: str, version: int | None = None, *, alias: str | None = None) -> Model:
        """What the server says of a model version, by default the stable one."""
        return self._ask(
            self._requests.model(protocol.which_of(name, version, alias)), partial(protocol.read, parse=read_model)
        )

    def ready(self) -> bool:
        """Whether every model answers, asked once; a server that is not there is not ready."""
        try:
            return protocol.read_ready(self._send(self._requests.ready(), self._timeout_s))
        except ConnectionFailed:
            return False

    def _ask(self, request: httpx.Request, read: Callable[[Answer], Result]) -> Result:
        attempts = Attempts(self._retries, self._retry_s, self._timeout_s, self._clock)
        while True:
            try:
                return read(self._send(request, attempts.left_s()))
            except ClientError as error:
                self._sleep(attempts.wait_after(error))

    def _send(self, request: httpx.Request, within_s: float) -> Answer:
        via, deadline = self._route.via, Deadline.after(within_s, self._clock)
        with self._connections.one(within_s) as transport, named_failures(request.url, self._timeout_s, via):
            deadline.bound(request)
            return received(transport.handle_request(request), self._max_answer_bytes, deadline.left_s, via)


def _work(line: streams.Line[Future[Outcome]], one: _One, several: _Several) -> None:
    """Ask for what waits, group by group, until nothing does."""
    while group := line.take():
        futures, bodies = streams.sendable(group, streams.encode_each(group))
        outcomes = _outcomes(line, one, several, bodies)
        # From the last to the first, which the caller waits for: it wakes once for a group, not for each image.
        for future, outcome in zip(reversed(futures), reversed(outcomes), strict=True):
            future.set_result(outcome)


def _outcomes(
    line: streams.Line[Future[Outcome]], one: _One, several: _Several, bodies: list[bytes]
) -> Sequence[Outcome]:
    if len(bodies) > 1:
        try:
            return several(bodies)
        except TooLarge:  # each alone may not be
            line.refused(len(bodies))
        except BaseException as error:
            return streams.own_errors(error, len(bodies))
    return [_outcome(one, body) for body in bodies]


def _outcome(one: _One, body: bytes) -> Outcome:
    try:
        return one(body)
    except BaseException as error:
        return error


def _in_order(
    images: Iterator[ImageLike],
    line: streams.Line[Future[Outcome]],
    work: Callable[[], None],
    workers: int,
    ahead: int,
    on_error: streams.OnError,
    progress: Progress,
) -> Generator[Answered]:
    taken: deque[streams.Waiting[Future[Outcome]]] = deque()
    with progress, ThreadPoolExecutor(workers, thread_name_prefix="predict") as threads:
        try:
            for image in images:
                taken.append(streams.Waiting(image, expected_bytes(image), Future()))
                if line.put(taken[-1]):
                    threads.submit(work)
                while taken and (taken[0].outcome.done() or len(taken) >= ahead):
                    first = taken.popleft()
                    yield streams.passed(first.image, first.outcome.result(), on_error, progress)
            while taken:
                first = taken.popleft()
                yield streams.passed(first.image, first.outcome.result(), on_error, progress)
        finally:
            line.clear()
