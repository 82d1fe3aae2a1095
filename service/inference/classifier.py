"""One served model version: encoded image bytes or pixels in, a row of probabilities out."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from classifier.engines import Answers, Engine, Probabilities, bucket_size, check_pixels, padded
from classifier.engines.throughput import Throughput
from classifier.errors import ImageError, SightlineError
from classifier.explanation import WINDOWS, Heat, heat_map, occluded
from classifier.images import OpenedImage, Pixels
from classifier.loaded_model import LoadedModel
from service.errors import BrokenForward
from service.inference.admission import Admission
from service.inference.batching import Batcher, BatchScheduler, RunningBatch
from service.inference.decode_pool import INLINE_BYTES, DecodePool, PictureDecoder
from service.inference.statistics import BatchTimes, Statistics
from service.inference.timing import Classified
from service.metrics import ModelMetrics
from service.settings import Settings

log = logging.getLogger(__name__)

UNMEASURED = Throughput(max_batch=16, images_per_s=0.0)

# One stream of some networks runs more images a second than HTTP can bring. They run one batch after another, in one
# stream. What comes meanwhile then travels together, and the event loop has the other processors.
FASTER_THAN_HTTP_PER_S = 5_000  # docs/tuning.md#one-stream-for-fast-networks

# A batch that starts beside another has so many seconds of work in it, or waits: to start it and to hear of it costs
# the event loop as much as two requests.
WORTH_A_STREAM_S = 0.0015  # docs/tuning.md#least-batch-beside-another

# An image that comes alone and takes no longer runs on the event loop, if the engine can do that. To hand it to a
# thread and to hear back is a quarter of a thumbnail's time.
ON_THE_LOOP_S = 0.001  # docs/tuning.md#inference-on-the-event-loop

# So many times what all in-flight batches may hold is decoded, or decoded soon, when many wait; the others wait as they
# came. They are a tenth of the size. A picture is copied into its batch while a processor's cache still has it.
AHEAD = 2  # docs/tuning.md#decoding-ahead

EXPLANATIONS_WAITING = 8  # each is WINDOWS copies of a network's input: 13 MB at 180x180


class Follower(Protocol):
    """Hears of each image that is queued."""

    def follow(self, body: bytes | None, pixels: Pixels, row: asyncio.Future[Classified]) -> None:
        """An image, the file it came in where it was one, and the row that is to come. Must be short."""


class _Queued(NamedTuple):
    """An image in the batcher's queue: how long it took to decode, and when it would have been, had it not waited."""

    pixels: Pixels
    decode_ns: int
    came_at_ns: int


class Answer(NamedTuple):
    """What an image got behind all others: the row, float32 [classes], and 0..1 where the version has a familiarity."""

    row: Probabilities
    familiarity: float | None


class Classifier:
    """Decodes off the batch and classifies in it, so that a bad image can only hurt itself.

    At most `queue_limit` images are being decoded or waiting; the next caller is refused before anything is decoded.
    `reason` says why it should not be asked at the moment. `mend` is called when the engine failed, which may be the
    end of it: OpenVINO's CPU streams go on failing. `followers` hear of each image that is queued. `users` counts the
    requests that have chosen it and not asked it yet, or wait for its answer.
    """

    def __init__(
        self,
        model: LoadedModel,
        scheduler: BatchScheduler,
        pool: DecodePool,
        settings: Settings,
        mend: Callable[[Classifier], None] = lambda _: None,
        throughput: Throughput = UNMEASURED,
        metrics: ModelMetrics | None = None,
    ) -> None:
        most = settings.max_batch or throughput.max_batch
        sizes = _any_size if settings.pad_batches else bucket_size
        self.model = model
        self.reason = ""
        self.users = 0
        self.followers: tuple[Follower, ...] = ()
        self.is_closed = False
        self._mend = mend
        self.card = model.card
        self.statistics = Statistics()
        self.metrics = metrics or ModelMetrics(self.card)
        self._pool = pool
        self._decoder = PictureDecoder(pool, self.card.input, settings.max_pixels)
        self._ahead = asyncio.Semaphore((AHEAD * model.engine.max_in_flight + 1) * most)
        self._pads = settings.pad_batches
        self._scheduler = scheduler
        self._is_quick = ON_THE_LOOP_S * throughput.images_per_s >= 1
        self._batcher: Batcher[_Queued, Classified] = Batcher(
            self._forward,
            scheduler,
            max_batch=most,
            lowered=self._lower_max_batch,
            failed=self._failed,
            queue_limit=settings.queue_limit,
            max_in_flight=model.engine.max_in_flight,
            bucket_size=sizes,
            least_beside=most if model.engine.one_stream else _worth_a_stream(model.engine, throughput),
        )
        self._behind: Batcher[Pixels, Answer] = Batcher(
            self._run,
            scheduler,
            max_batch=most,
            lowered=self._lower_max_batch,
            failed=self._failed,
            queue_limit=EXPLANATIONS_WAITING * (WINDOWS + 1),
            bucket_size=sizes,
            background=True,
        )
        self._admission = Admission(self._batcher, self.statistics.refused)
        self._apart = 0  # images that wait for a decode process, or are in one

    @property
    def engine(self) -> Engine:
        """What runs it now; after a failure another one does."""
        return self.model.engine

    @property
    def waiting(self) -> int:
        """Images that are being decoded or wait for a batch."""
        return self._admission.images + self._apart + self._batcher.waiting

    @property
    def max_batch(self) -> int:
        """Images that a batch may hold now."""
        return self._batcher.max_batch

    async def classify(self, body: bytes, deadline: float) -> Classified:
        """Classify one encoded image: a row in the card's column order, and what it took.

        `deadline` is in the loop's clock; an image that is still queued then is dropped. Raises ImageError where the
        image is at fault, QueueFull, DeadlinePassed, Closing or BrokenForward where it is not.
        """
        with self._admission.block(1) as (token,):
            return await self._classified(token, body, deadline)

    def classify_soon(self, body: bytes, deadline: float) -> asyncio.Future[Classified]:
        """As `classify`, without a task where the image is decoded at once. Cancel the future to leave.

        Raises as `classify` does, and the future may.
        """
        image: bytes | OpenedImage = body
        if len(body) <= INLINE_BYTES:
            self._admission.check(1)
            began = time.perf_counter_ns()
            decoded = self._decoded_here(body, began)
            if not isinstance(decoded, OpenedImage):
                row = self._queued_here(decoded, began, deadline)
                if self.followers:
                    self._tell_followers(body, decoded, row)
                return row
            image = decoded
        # Before the task runs, or all images that come in a turn of the loop would find the same room.
        (token,) = self._admission.admit(1)
        task = asyncio.get_running_loop().create_task(self._classified(token, image, deadline))
        task.add_done_callback(lambda _: self._admission.end(token))
        return task

    async def classify_each(
        self, bodies: Sequence[bytes], deadline: float
    ) -> list[Classified | ImageError | BrokenForward]:
        """Classify several images, each on its own: in its place stands its row or what is wrong with it.

        Raises as `classify` does where the whole request cannot be served.
        """
        return _allowed(await self._all_classified(bodies, deadline), ImageError, BrokenForward)

    async def classify_pixels(self, pixels_u8: Pixels, deadline: float) -> list[Classified]:
        """Classify decoded pictures, uint8 [n, height, width, channels] in the card's size, each in its own place.

        The card's contrast step is still applied; it leaves alone what has had it. Gives n rows, or raises as
        `classify` does where an image gets none.
        """
        check_pixels(pixels_u8, self.card.input.shape)
        return _allowed(await self._all_classified(list(pixels_u8), deadline))

    async def explain(self, body: bytes, label: int | None, deadline: float) -> tuple[int, Probabilities, Heat]:
        """What the decision for a label rests on, by default for the most probable one.

        Gives the label's column, the image's row and the heat map. The network's runs for it wait behind everybody's
        ordinary requests. Raises as `classify` does.
        """
        self._behind.check_room(WINDOWS + 1)
        pixels = await self._decoder.decode(body)
        if isinstance(pixels, OpenedImage):
            pixels = await self._decoder.decode_apart(pixels, deadline)
        painted = await self._pool.run(lambda: list(occluded(pixels)))
        self._behind.check_room(WINDOWS + 1)  # others came while this one was decoded
        answers = await asyncio.gather(*(self._behind.submit(p, deadline) for p in (pixels, *painted)))
        whole, *rows = (answer.row for answer in answers)
        column = int(whole.argmax()) if label is None else label
        return column, whole, heat_map(whole, np.stack(rows), column)

    async def classify_behind(self, image: bytes | Pixels, deadline: float) -> Answer:
        """Classify an encoded image, or pixels in the card's size, behind everybody's ordinary requests.

        It is not counted. Raises as `classify` does.
        """
        self._behind.check_room(1)
        pixels = await self._decoder.decode_behind(image) if isinstance(image, bytes) else image
        if isinstance(pixels, OpenedImage):
            pixels = await self._decoder.decode_apart(pixels, deadline)
        return await self._behind.submit(pixels, deadline)

    @property
    def is_idle(self) -> bool:
        """Whether nobody has chosen it, waits for it, or is being answered by it."""
        idle = not (self._batcher.is_busy or self._behind.is_busy)
        return idle and not (self.users or self._admission.images or self._apart)

    async def close(self) -> None:
        """Answer everybody who waits and give the engine's memory back."""
        self.is_closed = True
        await self._behind.close()
        await self._batcher.close()
        await asyncio.to_thread(self.model.close)

    def _lower_max_batch(self, images: int) -> None:
        """Memory ran out: the same for ordinary requests and explanations, which share it."""
        for batcher in (self._batcher, self._behind):
            batcher.max_batch = min(batcher.max_batch, images)
        most = self.max_batch
        log.warning("%s version %d: at most %d images a batch from now on", self.card.name, self.card.version, most)

    async def _all_classified(
        self, images: Sequence[bytes | Pixels], deadline: float
    ) -> list[Classified | BaseException]:
        with self._admission.block(len(images)) as tokens:
            work = [self._classified(token, image, deadline) for token, image in zip(tokens, images, strict=True)]
            return await asyncio.gather(*work, return_exceptions=True)

    async def _classified(self, token: object, image: bytes | OpenedImage | Pixels, deadline: float) -> Classified:
        with self.statistics.image():
            came = time.perf_counter_ns()
            async with self._ahead:
                began = time.perf_counter_ns()
                decoded = await self._decoder.decode(image)
                if not isinstance(decoded, OpenedImage):
                    return await self._queued(image, decoded, token, came, began, deadline)
            self._admission.end(token)  # it waits among others like it, of whom the pool has limits of its own
            began = time.perf_counter_ns()  # it gets out of the way of plain pictures while it waits for others like it
            pixels = await self._decoded_apart(decoded, deadline)
            return await self._queued(image, pixels, token, came, began, deadline)

    async def _decoded_apart(self, opened: OpenedImage, deadline: float) -> Pixels:
        self._apart += 1
        try:
            return await self._decoder.decode_apart(opened, deadline)
        finally:
            self._apart -= 1

    def _queued(
        self,
        image: bytes | OpenedImage | Pixels,
        pixels: Pixels,
        token: object,
        came_ns: int,
        began_ns: int,
        deadline: float,
    ) -> asyncio.Future[Classified]:
        self._admission.end(token)
        decode_ns = time.perf_counter_ns() - began_ns
        row = self._batcher.submit(_Queued(pixels, decode_ns, came_ns + decode_ns), deadline)
        if self.followers:
            self._tell_followers(image, pixels, row)
        return row

    def _tell_followers(
        self, image: bytes | OpenedImage | Pixels, pixels: Pixels, row: asyncio.Future[Classified]
    ) -> None:
        body = image.body if isinstance(image, OpenedImage) else image if isinstance(image, bytes) else None
        for follower in self.followers:
            follower.follow(body, pixels, row)

    def _decoded_here(self, body: bytes, began_ns: int) -> Pixels | OpenedImage:
        try:
            return self._decoder.decode_here(body)
        except ImageError as error:
            self.statistics.done(began_ns, error)
            raise

    def _queued_here(self, pixels: Pixels, began_ns: int, deadline: float) -> asyncio.Future[Classified]:
        decoded_ns = time.perf_counter_ns()
        row = self._batcher.submit(_Queued(pixels, decoded_ns - began_ns, decoded_ns), deadline)
        row.add_done_callback(partial(self.statistics.settled, began_ns))
        return row

    def _forward(self, images: list[_Queued]) -> RunningBatch[Classified]:
        began = time.perf_counter_ns()
        pixels = _batch([image.pixels for image in images])
        stacked = time.perf_counter_ns()

        def read(answers: Answers) -> Sequence[Classified | SightlineError]:
            inferred = time.perf_counter_ns()
            rows = answers.probabilities[: len(images)]
            decode_ns, queue_ns = [i.decode_ns for i in images], [began - i.came_at_ns for i in images]
            infer_ns = inferred - stacked
            finite = np.asarray(np.isfinite(rows).all(axis=1))
            scores: list[float | None] = [None] * len(images)
            if (familiarity := answers.familiarity) is not None:
                familiarity = familiarity[: len(images)]
                finite &= np.isfinite(familiarity)
                scores, familiarity = familiarity.tolist(), familiarity[finite]
            answer = [
                Classified(row, decode, queue, infer_ns, score) if good else self._no_number()
                for row, good, decode, queue, score in zip(
                    rows, finite.tolist(), decode_ns, queue_ns, scores, strict=True
                )
            ]
            output_ns = time.perf_counter_ns() - inferred
            self.statistics.ran(BatchTimes(decode_ns, queue_ns, stacked - began, infer_ns, output_ns))
            self.metrics.ran(decode_ns, queue_ns, infer_ns, rows[finite], familiarity)
            return answer

        return RunningBatch(self._start(pixels), read)

    def _run(self, images: list[Pixels]) -> RunningBatch[Answer]:
        def read(answers: Answers) -> Sequence[Answer]:
            rows = answers.probabilities[: len(images)]
            if not np.isfinite(rows).all():
                raise self._no_number()
            if (familiarity := answers.familiarity) is None:
                return [Answer(row, None) for row in rows]
            return list(map(Answer, rows, familiarity[: len(images)].tolist()))

        return RunningBatch(self._start(_batch(images)), read)

    def _start(self, pixels_u8: Pixels) -> Future[Answers]:
        if self._pads:
            pixels_u8 = padded(pixels_u8, self.max_batch)
        alone = self._scheduler.in_flight <= 1 and not self._scheduler.batchers_queued
        engine = self.model.engine
        if alone and self._is_quick and engine.infers_here and len(pixels_u8) == 1:
            return _done(engine.answer, pixels_u8)
        return engine.submit(pixels_u8, alone=alone and not engine.one_stream)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, SightlineError):
            self._mend(self)

    def _no_number(self) -> BrokenForward:
        return BrokenForward(f"{self.card.name} version {self.card.version} answered with NaN or infinity")


def _batch(images: Sequence[Pixels]) -> Pixels:
    """As np.stack, which takes twice the time for thumbnails. docs/tuning.md#stacking-a-batch"""
    return np.concatenate(images).reshape(len(images), *images[0].shape)


def _any_size(images: int) -> int:
    """Padding brings every batch to one of few sizes."""
    return images


def is_faster_than_http(engine: Engine, throughput: Throughput) -> bool:
    """Whether an engine of several streams should rather run one batch after another, in one stream."""
    return engine.name == "openvino" and 1 < engine.streams < throughput.images_per_s / FASTER_THAN_HTTP_PER_S


def _worth_a_stream(engine: Engine, throughput: Throughput) -> int | None:
    """How many images make a batch worth a stream, to the nearest power of two, since batches come in those.

    None where that is not known, or a stream has no processor of its own.
    """
    if engine.name != "openvino" or not throughput.images_per_s:
        return None
    images = WORTH_A_STREAM_S * throughput.images_per_s / engine.streams
    return 1 << max(0, round(math.log2(images)))


def _done(run: Callable[[Pixels], Answers], pixels_u8: Pixels) -> Future[Answers]:
    """The future of a batch that has run already."""
    done: Future[Answers] = Future()
    try:
        done.set_result(run(pixels_u8))
    except Exception as error:
        done.set_exception(error)
    return done


def _allowed(answers: list[Any], *errors: type[SightlineError]) -> list[Any]:
    """The answers, if there is no error among them but of these kinds; raises the first other one."""
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, errors):
            try:
                raise answer
            finally:
                del answer, answers  # its traceback leads here: it would keep itself and the whole request alive
    return answers
