"""One served model version: encoded image bytes or pixels in, a row of probabilities out."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from classifier.engines import Engine, Probabilities, check_pixels, padded, whole_batch
from classifier.engines.pace import Pace
from classifier.errors import ImageError, ImageTooLarge, LargeImage, SightlineError
from classifier.explanation import PASSES, Heat, heat_map, occluded
from classifier.images import Pixels, from_array
from classifier.loaded_model import LoadedModel
from service.errors import BrokenForward, TryLater
from service.inference.batching import Batcher, BatchScheduler, RunningBatch
from service.inference.decode_pool import BESIDE_OTHERS_PIXELS, Decoders
from service.inference.statistics import BatchTimes, Statistics
from service.inference.timing import Classified
from service.metrics import ModelMetrics
from service.settings import Settings

log = logging.getLogger(__name__)

# Handing a picture to a thread and back costs more than decoding a thumbnail (0.15 ms for a 32x32 JPEG), so pictures
# small in both senses are decoded on the event loop. A few bytes can unfold to many pixels, hence the second bound.
INLINE_BYTES = 4096
INLINE_PIXELS = 64 * 64


UNMEASURED = Pace(max_batch=16, images_per_s=0.0)

# A network of which one stream runs more images a second than HTTP can bring runs its batches in turn, in one stream,
# so that what comes meanwhile travels together and the event loop has the other processors. With two streams the
# batches of such a network were of 1 to 4 images, and starting each cost the event loop as much as two requests. On
# all processors one half of a batch waited, spinning, for the other, which waited for the event loop: in one stream 28
# and 22 % more images/s (asl 1, 32 and 128 connections, 2 processors, medians of n=8 alternating pairs of 1 s). A full
# batch is brought while another runs, so that the stream need not wait for the event loop: another 1 to 5 % for 32
# connections and 11 to 19 % for 128 (n=5, 6 pairs); smaller ones did not pay (from 8 images on, -3 % for 32). A network
# that is not so fast needs all streams: in one of two, of 2,800 images/s, cifar-10 1 had 42 % fewer (n=5 pairs).
FASTER_THAN_HTTP_PER_S = 5_000

# A batch that starts beside another has so many seconds of work in it, or waits: to start it and to hear of it costs
# the event loop as much as two requests. 4 % more images/s for 32 connections and 12 % for 8 (cifar-10 1, 2 processors,
# medians of n=5 pairs).
WORTH_A_STREAM_S = 0.0015

# An image that comes alone and takes no longer than this runs on the event loop, if the engine can do that. To hand it
# to a thread and to hear back was a quarter of a thumbnail's time at one connection (medians of 0.81 and 0.64 ms,
# without it 0.56 and 0.52), and now and then much more, with the network's own threads in the way (99th percentiles of
# 8.4 and 4.6 ms, without it 0.9; asl 1, 2 processors, n=2 alternating). More images are better off in a thread: with up
# to four together on the loop, 8 connections had 27 % fewer images/s (asl 1, medians of n=10 alternating pairs of 1 s).
AT_ONCE_S = 0.001

# So many times what all batches under way may hold is decoded, or decoded soon, when many wait; the others wait as they
# came. They are a tenth of the size, and a picture is copied into its batch while a processor's cache still has it: 3 %
# more images/s (cats-vs-dogs 1, 128 connections, medians of n=8 alternating pairs of 1 s).
AHEAD = 2

EXPLANATIONS_WAITING = 8  # each is PASSES copies of a network's input: 13 MB at 180x180


class _Queued(NamedTuple):
    """An image in the batcher's queue: how long it took to decode, and when it would have been, had it not waited."""

    pixels: Pixels
    decode_ns: int
    came_at_ns: int


class Classifier:
    """Decodes off the batch and classifies in it, so that a bad image can only hurt itself.

    At most `queue_limit` images are being decoded or waiting; the next caller is refused before anything is decoded.
    `reason` says why it should not be asked at the moment. `mend` is called when the engine failed, which may be the
    end of it: OpenVINO's CPU streams go on failing.
    """

    def __init__(
        self,
        model: LoadedModel,
        scheduler: BatchScheduler,
        decoders: Decoders,
        settings: Settings,
        mend: Callable[[Classifier], None] = lambda _: None,
        pace: Pace = UNMEASURED,
        metrics: ModelMetrics | None = None,
    ) -> None:
        most = settings.max_batch or pace.max_batch
        sizes = _any_size if settings.pad_batches else whole_batch
        self.model = model
        self.reason = ""
        self._mend = mend
        self.card = model.card
        self.statistics = Statistics()
        self.metrics = metrics or ModelMetrics(self.card)
        self._decoders = decoders
        self._undecoded: set[object] = set()  # one token for each image between its admission and the batcher's queue
        self._ahead = asyncio.Semaphore((AHEAD * model.engine.places + 1) * most)
        self._max_pixels = settings.max_pixels
        self._pads = settings.pad_batches
        self._scheduler = scheduler
        self._is_quick = AT_ONCE_S * pace.images_per_s >= 1
        self._batcher: Batcher[_Queued, Classified] = Batcher(
            self._forward,
            scheduler,
            max_batch=most,
            lowered=self._lower_max_batch,
            failed=self._failed,
            queue_limit=settings.queue_limit,
            max_in_flight=model.engine.places,
            bucket_size=sizes,
            least_beside=most if model.engine.in_turn else _worth_a_stream(model.engine, pace),
        )
        self._behind: Batcher[Pixels, Probabilities] = Batcher(
            self._run,
            scheduler,
            max_batch=most,
            lowered=self._lower_max_batch,
            failed=self._failed,
            queue_limit=EXPLANATIONS_WAITING * (PASSES + 1),
            bucket_size=sizes,
            background=True,
        )

    @property
    def engine(self) -> Engine:
        """What runs it now; after a failure another one does."""
        return self.model.engine

    @property
    def waiting(self) -> int:
        """Images that are being decoded or wait for a batch."""
        return len(self._undecoded) + self._batcher.waiting

    @property
    def max_batch(self) -> int:
        """Images that a batch may hold now."""
        return self._batcher.max_batch

    async def classify(self, body: bytes, deadline: float) -> Classified:
        """Classify one encoded image: a row in the card's column order, and what it took.

        `deadline` is in the loop's clock; an image that is still queued then is dropped. Raises ImageError where the
        image is at fault, QueueFull, DeadlinePassed, Closing or BrokenForward where it is not.
        """
        with _Admission(self, 1) as (token,):
            return await self._classified(token, body, deadline)

    def classify_soon(self, body: bytes, deadline: float) -> asyncio.Future[Classified]:
        """As `classify`, without a task where the image is decoded at once. Cancel the future to leave.

        Raises as `classify` does, and the future may.
        """
        if len(body) <= INLINE_BYTES:
            with suppress(ImageTooLarge):  # for the loop; a thread has the operator's limit
                return self._classified_at_once(body, deadline)
        # Before the task runs, or all images that come in a turn of the loop would find the same room.
        (token,) = self._admit(1)
        task = asyncio.get_running_loop().create_task(self._classified(token, body, deadline))
        task.add_done_callback(lambda _: self._undecoded.discard(token))
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
        self._behind.check_room(PASSES + 1)
        try:
            pixels = await self._decoded(body)
        except LargeImage:
            pixels = await self._decoded_alone(body)
        painted = await self._decoders.run(lambda: list(occluded(pixels)))
        self._behind.check_room(PASSES + 1)  # others came while this one was decoded
        whole, *rows = await asyncio.gather(*(self._behind.submit(p, deadline) for p in (pixels, *painted)))
        column = int(whole.argmax()) if label is None else label
        return column, whole, heat_map(whole, np.stack(rows), column)

    async def close(self) -> None:
        """Answer everybody who waits and give the engine's memory back."""
        await self._behind.close()
        await self._batcher.close()
        await asyncio.to_thread(self.model.close)

    def _lower_max_batch(self, images: int) -> None:
        """Memory ran out: the same for ordinary requests and explanations, which share it."""
        for batcher in (self._batcher, self._behind):
            batcher.max_batch = min(batcher.max_batch, images)
        most = self.max_batch
        log.warning("%s version %d: at most %d images a batch from now on", self.card.name, self.card.version, most)

    def _admit(self, images: int) -> list[object]:
        """Count images that are not queued yet against the queue's limit. Raises QueueFull or Closing."""
        self._check_room(images)
        tokens = [object() for _ in range(images)]
        self._undecoded.update(tokens)
        return tokens

    def _check_room(self, images: int) -> None:
        try:
            self._batcher.check_room(images, coming=len(self._undecoded))
        except TryLater:
            self.statistics.refused(images)
            raise

    async def _all_classified(
        self, images: Sequence[bytes | Pixels], deadline: float
    ) -> list[Classified | BaseException]:
        with _Admission(self, len(images)) as tokens:
            work = [self._classified(token, image, deadline) for token, image in zip(tokens, images, strict=True)]
            return await asyncio.gather(*work, return_exceptions=True)

    async def _classified(self, token: object, image: bytes | Pixels, deadline: float) -> Classified:
        with self.statistics.image():
            came = time.perf_counter_ns()
            with suppress(LargeImage):  # it gets out of the way while it waits for others of its kind
                async with self._ahead:
                    return await self._queued(self._pixels(image), token, came, deadline)
            return await self._queued(self._decoded_alone(cast("bytes", image)), token, came, deadline)

    async def _queued(self, decoding: Awaitable[Pixels], token: object, came: int, deadline: float) -> Classified:
        began = time.perf_counter_ns()
        pixels = await decoding
        self._undecoded.discard(token)
        decode_ns = time.perf_counter_ns() - began
        return await self._batcher.submit(_Queued(pixels, decode_ns, came + decode_ns), deadline)

    def _classified_at_once(self, body: bytes, deadline: float) -> asyncio.Future[Classified]:
        self._check_room(1)
        began = time.perf_counter_ns()
        try:
            pixels = self._decode_small(body)
        except ImageTooLarge:
            raise
        except ImageError:
            self.statistics.done(began, is_success=False)
            raise
        decoded = time.perf_counter_ns()
        row = self._batcher.submit(_Queued(pixels, decoded - began, decoded), deadline)
        row.add_done_callback(lambda row: self.statistics.done(began, not row.cancelled() and row.exception() is None))
        return row

    def _pixels(self, image: bytes | Pixels) -> Awaitable[Pixels]:
        return self._decoded(image) if isinstance(image, bytes) else self._contrasted(image)

    async def _decoded(self, body: bytes) -> Pixels:
        """Raises LargeImage where `_decoded_alone` is to be asked."""
        if len(body) <= INLINE_BYTES:
            try:
                return self._decode_small(body)
            except ImageTooLarge:
                pass  # for the loop; the threads have the operator's limit
        return await self._decoders.run(partial(self._decode, body), len(body))

    async def _decoded_alone(self, body: bytes) -> Pixels:
        return await self._decoders.run_alone(partial(self.model.decode, body, max_pixels=self._max_pixels))

    def _decode_small(self, body: bytes) -> Pixels:
        return self.model.decode(body, max_pixels=min(INLINE_PIXELS, self._max_pixels))

    def _decode(self, body: bytes) -> Pixels:
        return self.model.decode(body, max_pixels=self._max_pixels, max_held=BESIDE_OTHERS_PIXELS)

    async def _contrasted(self, pixels: Pixels) -> Pixels:
        if self.card.input.contrast == "none":
            return pixels
        if pixels.shape[0] * pixels.shape[1] <= INLINE_PIXELS:
            return from_array(pixels, self.card.input)
        return await self._decoders.run(partial(from_array, pixels, self.card.input), pixels.nbytes)

    def _forward(self, images: list[_Queued]) -> RunningBatch[Classified]:
        began = time.perf_counter_ns()
        pixels = _batch([image.pixels for image in images])
        stacked = time.perf_counter_ns()

        def read(rows: Probabilities) -> Sequence[Classified | SightlineError]:
            inferred = time.perf_counter_ns()
            rows = rows[: len(images)]
            decode_ns, queue_ns = [i.decode_ns for i in images], [began - i.came_at_ns for i in images]
            infer_ns = inferred - stacked
            finite = np.asarray(np.isfinite(rows).all(axis=1))
            answer = [
                Classified(row, decode, queue, infer_ns) if good else self._no_number()
                for row, good, decode, queue in zip(rows, finite.tolist(), decode_ns, queue_ns, strict=True)
            ]
            output_ns = time.perf_counter_ns() - inferred
            self.statistics.ran(BatchTimes(decode_ns, queue_ns, stacked - began, infer_ns, output_ns))
            self.metrics.ran(decode_ns, queue_ns, infer_ns, rows[finite])
            return answer

        return RunningBatch(self._start(pixels), read)

    def _run(self, images: list[Pixels]) -> RunningBatch[Probabilities]:
        def read(rows: Probabilities) -> Sequence[Probabilities]:
            rows = rows[: len(images)]
            if not np.isfinite(rows).all():
                raise self._no_number()
            return list(rows)

        return RunningBatch(self._start(_batch(images)), read)

    def _start(self, pixels_u8: Pixels) -> Future[Probabilities]:
        if self._pads:
            pixels_u8 = padded(pixels_u8, self.max_batch)
        alone = self._scheduler.in_flight <= 1 and not self._scheduler.has_queued
        engine = self.model.engine
        if alone and self._is_quick and engine.infers_here and len(pixels_u8) == 1:
            return _done(engine.infer, pixels_u8)
        return engine.submit(pixels_u8, alone=alone and not engine.in_turn)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, SightlineError):
            self._mend(self)

    def _no_number(self) -> BrokenForward:
        return BrokenForward(f"{self.card.name} version {self.card.version} answered with NaN or infinity")


class _Admission:
    """The time from the admission of some images to their answers, or to whatever else happened to them."""

    __slots__ = ("_classifier", "_images", "_tokens")

    def __init__(self, classifier: Classifier, images: int) -> None:
        self._classifier = classifier
        self._images = images

    def __enter__(self) -> list[object]:
        self._tokens = self._classifier._admit(self._images)
        return self._tokens

    def __exit__(self, *_: object) -> None:
        self._classifier._undecoded.difference_update(self._tokens)  # also when the work never began


def _batch(images: Sequence[Pixels]) -> Pixels:
    """As np.stack, which takes twice the time for thumbnails (15 us for 32 of 28x28)."""
    return np.concatenate(images).reshape(len(images), *images[0].shape)


def _any_size(images: int) -> int:
    """Padding brings every batch to one of few sizes."""
    return images


def is_faster_than_http(engine: Engine, pace: Pace) -> bool:
    """Whether an engine of several streams, whose pace was measured, should rather run its batches in turn."""
    return engine.name == "openvino" and 1 < engine.streams < pace.images_per_s / FASTER_THAN_HTTP_PER_S


def _worth_a_stream(engine: Engine, pace: Pace) -> int | None:
    """How many images are, to the nearest power of two, since batches come in those.

    None where that is not known, or a stream has no processor of its own.
    """
    if engine.name != "openvino" or not pace.images_per_s:
        return None
    images = WORTH_A_STREAM_S * pace.images_per_s / engine.streams
    return 1 << max(0, round(math.log2(images)))


def _done(infer: Callable[[Pixels], Probabilities], pixels_u8: Pixels) -> Future[Probabilities]:
    """The future of a pass that has run already."""
    passed: Future[Probabilities] = Future()
    try:
        passed.set_result(infer(pixels_u8))
    except Exception as error:
        passed.set_exception(error)
    return passed


def _allowed(answers: list[Any], *errors: type[SightlineError]) -> list[Any]:
    """The answers, if there is no error among them but of these kinds; raises the first other one."""
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, errors):
            try:
                raise answer
            finally:
                del answer, answers  # its traceback leads here: it would keep itself and the whole request alive
    return answers
