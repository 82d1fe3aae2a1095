"""One served model version: encoded image bytes in, a row of probabilities out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from classifier.engines import Probabilities
from classifier.errors import ImageError, ImageTooLarge
from classifier.images import Pixels
from classifier.loaded_model import LoadedModel
from service.batching import Batcher, Slots
from service.errors import BrokenForward
from service.settings import Settings

# Handing a picture to a thread and back costs more than decoding a thumbnail (0.15 ms for a 32x32 JPEG), so pictures
# small in both senses are decoded on the event loop. A few bytes can unfold to many pixels, hence the second bound.
INLINE_BYTES = 4096
INLINE_PIXELS = 64 * 64


class Classifier:
    """Decodes off the batch and classifies in it, so that a bad image can only hurt itself.

    At most `queue_limit` images are being decoded or waiting; the next caller is refused before anything is decoded.
    """

    def __init__(self, model: LoadedModel, slots: Slots, decoders: ThreadPoolExecutor, settings: Settings) -> None:
        self.model = model
        self.card = model.card
        self._decoders = decoders
        self._undecoded: set[object] = set()  # one token for each image between its admission and the batcher's queue
        self._max_pixels = settings.max_pixels
        self._batcher: Batcher[Pixels, Probabilities] = Batcher(
            self._forward,
            slots,
            max_batch=settings.max_batch,
            queue_limit=settings.queue_limit,
            in_flight_limit=model.engine.streams,
            max_wait_ms=settings.max_wait_ms,
        )

    async def classify(self, body: bytes, deadline: float) -> Probabilities:
        """Classify one encoded image: float32 [classes], in the card's column order.

        `deadline` is in the loop's clock; an image that is still queued then is dropped. Raises ImageError where the
        image is at fault, QueueFull, DeadlinePassed, Closing or BrokenForward where it is not.
        """
        with self._admitted(1) as (token,):
            return await self._classified(token, body, deadline)

    async def classify_each(
        self, bodies: Sequence[bytes], deadline: float
    ) -> list[Probabilities | ImageError | BrokenForward]:
        """Classify several images, each on its own: in its place stands its row or what is wrong with it.

        Raises as `classify` does where the whole request cannot be served.
        """
        with self._admitted(len(bodies)) as tokens:
            work = [self._classified(token, body, deadline) for token, body in zip(tokens, bodies, strict=True)]
            answers = await asyncio.gather(*work, return_exceptions=True)
        return [_of_this_image(answer) for answer in answers]

    async def close(self) -> None:
        """Answer everybody who waits and give the engine's memory back."""
        await self._batcher.close()
        await asyncio.to_thread(self.model.close)

    @contextmanager
    def _admitted(self, images: int) -> Iterator[list[object]]:
        """Count images that are not queued yet against the queue's limit. Raises QueueFull or Closing."""
        self._batcher.check_room(len(self._undecoded) + images)
        tokens = [object() for _ in range(images)]
        self._undecoded.update(tokens)
        try:
            yield tokens
        finally:
            self._undecoded.difference_update(tokens)  # whatever happened, also when the work never began

    async def _classified(self, token: object, body: bytes, deadline: float) -> Probabilities:
        pixels = await self._decoded(body)
        self._undecoded.discard(token)
        return await self._batcher.submit(pixels, deadline)

    async def _decoded(self, body: bytes) -> Pixels:
        if len(body) <= INLINE_BYTES:
            try:
                return self.model.decode(body, max_pixels=min(INLINE_PIXELS, self._max_pixels))
            except ImageTooLarge:
                pass  # for the loop; the threads have the operator's limit
        return await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode, body)

    def _decode(self, body: bytes) -> Pixels:
        return self.model.decode(body, max_pixels=self._max_pixels)

    async def _forward(self, images: list[Pixels]) -> list[Probabilities]:
        rows = await asyncio.wrap_future(self.model.engine.submit(np.stack(images)))
        if not np.isfinite(rows).all():
            raise BrokenForward(f"{self.card.name} version {self.card.version} answered with NaN or infinity")
        return list(rows)


def _of_this_image(answer: Probabilities | BaseException) -> Probabilities | ImageError | BrokenForward:
    if isinstance(answer, BaseException) and not isinstance(answer, ImageError | BrokenForward):
        raise answer
    return answer
