"""Which picture is decoded where: on the event loop, in a pool of threads, or in a process of its own.

To hand a picture to a thread and hear back costs the event loop as much as a thumbnail. It takes a processor from the
networks twice. So small pictures are decoded on the loop, and threads are given several at once where several wait.
Both get plain pictures only, of which it is known what they cost. All others go to decode processes, which can be
ended. A picture that holds very much memory while it is decoded waits for others of its kind. So the memory does not
grow with the number of processes. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

from classifier.card import InputSpec
from classifier.decode_process import DecodeProcesses
from classifier.errors import SightlineError, TooSlowToDecode
from classifier.images import OpenedImage, Pixels, from_array
from service.errors import Closing, DeadlinePassed, DecodersBusy

Result = TypeVar("Result")

# Pictures small in both senses are decoded on the event loop: a few bytes can unfold to many pixels.
INLINE_BYTES = 4096  # docs/tuning.md#decoding-on-the-event-loop
INLINE_PIXELS = 64 * 64

MOST_BYTES = 128 * 1024  # go to a thread at once, but for a larger picture; docs/tuning.md#several-pictures-a-thread

# What a picture may hold to be decoded beside others, in pixels of up to 16 bytes: 100 MB a process.
BESIDE_OTHERS_PIXELS = 6_250_000


SMALL_BEHIND = 5  # of nice(2), half as far as processes of larger pictures; docs/tuning.md#decode-processes

APART_WAITING = 256  # small pictures that are not plain, and as many that are neither small nor large
LARGE_WAITING = 64  # a whole batch of them; of 50 megapixels each takes a second or two


class PictureDecoder:
    """Decodes what comes for one served version to its network's input."""

    def __init__(self, pool: DecodePool, spec: InputSpec, max_pixels: int) -> None:
        self._pool = pool
        self._spec = spec
        self._max_pixels = max_pixels

    def decode_here(self, body: bytes) -> Pixels | OpenedImage:
        """Decode a small plain picture now; any other is only opened. Raises as `images.decode` does."""
        opened = OpenedImage(body, self._spec, self._max_pixels)
        return opened.decode() if opened.is_plain and opened.pixels <= INLINE_PIXELS else opened

    async def decode(self, image: bytes | OpenedImage | Pixels) -> Pixels | OpenedImage:
        """The network's input; or the opened picture, if it is not plain and `decode_apart` is to be asked.

        Raises as `images.decode` does. Pixels have the card's size, and are brought to its contrast.
        """
        if isinstance(image, bytes):
            if len(image) > INLINE_BYTES:
                return await self._pool.run(partial(self._decode_if_plain, image), len(image))
            image = self.decode_here(image)
            if not isinstance(image, OpenedImage):
                return image
        if isinstance(image, OpenedImage):
            return await self._pool.run(image.decode, INLINE_BYTES) if image.is_plain else image
        return await self._contrasted(image)

    async def decode_behind(self, body: bytes) -> Pixels | OpenedImage:
        """As `decode`, never on the event loop."""
        return await self._pool.run(partial(self._decode_if_plain, body), len(body))

    async def decode_apart(self, opened: OpenedImage, deadline: float) -> Pixels:
        """Decode what is not plain, in a process that ends at `deadline`, in the loop's clock, at the latest.

        Raises as `images.decode` does; TooSlowToDecode, TooMuchToDecode; DeadlinePassed; DecodersBusy where too many
        such pictures wait.
        """
        return await self._pool.run_apart(opened, deadline)

    def _decode_if_plain(self, body: bytes) -> Pixels | OpenedImage:
        """In a thread."""
        opened = OpenedImage(body, self._spec, self._max_pixels)
        return opened.decode() if opened.is_plain else opened

    async def _contrasted(self, pixels: Pixels) -> Pixels:
        if self._spec.contrast == "none":
            return pixels
        if pixels.shape[0] * pixels.shape[1] <= INLINE_PIXELS:
            return from_array(pixels, self._spec)
        return await self._pool.run(partial(from_array, pixels, self._spec), pixels.nbytes)


class _Work(NamedTuple):
    do: Callable[[], Any]
    size: int
    result: asyncio.Future[Any]


class DecodePool:
    """Threads for pictures, and decode processes, for all versions.

    Small pictures have as many processes as there are threads; larger ones have fewer, of a lower priority, and very
    large ones one. So whoever sends a small picture does not wait for those who send what takes long.

    A process is started when the first picture for it comes, and ended when none has come for a while.
    """

    def __init__(self, threads: int) -> None:
        self._many = _Threads(threads)
        self._small, self._medium, self._large = _Threads(threads), _Threads(max(1, threads - 1)), _Threads(1)
        self._processes = DecodeProcesses(threads, behind=SMALL_BEHIND)
        self._later_processes = DecodeProcesses(max(1, threads - 1) + 1)

    @property
    def stuck_s(self) -> float:
        """For how long no thread that decodes has been heard of, where all of them have work; else 0."""
        return self._many.stuck_s

    def run(self, do: Callable[[], Result], size: int = MOST_BYTES) -> asyncio.Future[Result]:
        """The result of `do`, called in a thread; cancel the future to leave.

        Work of a small `size`, in bytes, may be called in a row with others. Raises Closing once closed.
        """
        return self._many.run(do, size)

    def run_apart(self, opened: OpenedImage, deadline: float) -> asyncio.Future[Pixels]:
        """The pixels of a picture from a decode process, large pictures one after the other.

        Raises DecodersBusy where LARGE_WAITING large ones, or APART_WAITING others, wait or are decoded already.
        """
        is_large = opened.held_pixels > BESIDE_OTHERS_PIXELS
        threads = self._small if opened.is_small else self._large if is_large else self._medium
        if (waiting := threads.unfinished) >= (LARGE_WAITING if is_large else APART_WAITING):
            kind = "very large" if is_large else "such"
            raise DecodersBusy(
                f"{waiting} {kind} pictures wait, as many as may; scale yours down, or send it again later",
                retry_after_s=waiting if is_large else 1,
            )
        return threads.run(partial(self._decode_apart, opened, deadline), MOST_BYTES)

    def _decode_apart(self, opened: OpenedImage, deadline: float) -> Pixels:
        """In a thread."""
        try:
            processes = self._processes if opened.is_small else self._later_processes
            return opened.decode_apart(processes, deadline - time.monotonic())
        except TooSlowToDecode:
            if time.monotonic() < deadline:
                raise
        raise DeadlinePassed("the picture was not decoded in time; send a smaller one, or allow more time")

    def close(self) -> None:
        """Call off whatever is not running, and expect nothing of what is. Closing again does nothing."""
        for threads in (self._many, self._small, self._medium, self._large):
            threads.close()
        self._processes.close()
        self._later_processes.close()


class _Threads:
    """Some threads, and what waits for them, first come first served."""

    def __init__(self, threads: int) -> None:
        self._idle = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._waiting: deque[_Work] = deque()
        self._unfinished: set[asyncio.Future[Any]] = set()
        self._running: dict[int, float] = {}  # since when, by the id of a group
        self._woken = False
        self._closed = False

    @property
    def unfinished(self) -> int:
        """How much work waits or runs, for callers who are still there."""
        return len(self._unfinished)

    @property
    def stuck_s(self) -> float:
        """How long ago the last of these threads was given work, where none of them has come back since."""
        return 0.0 if self._idle or not self._running else time.monotonic() - max(self._running.values())

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def run(self, do: Callable[[], Result], size: int) -> asyncio.Future[Result]:
        if self._closed:
            raise Closing("the server is shutting down; send the request again")
        result: asyncio.Future[Result] = self._loop.create_future()
        self._unfinished.add(result)
        result.add_done_callback(self._unfinished.discard)
        self._waiting.append(_Work(do, size, result))
        if self._idle and not self._woken:  # in the next turn, so that what comes in this one is shared out
            self._woken = True
            self._loop.call_soon(self._hand_out)
        return result

    def close(self) -> None:
        self._closed = True
        self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for result in tuple(self._unfinished):
            result.cancel()

    def _hand_out(self) -> None:
        self._woken = False
        while self._idle and not self._closed and (group := self._next_group()):
            self._idle -= 1
            self._running[id(group)] = time.monotonic()
            self._pool.submit(_done, group, self._loop, self._hear)

    def _next_group(self) -> list[_Work]:
        """A share of what waits, of one thread that is idle."""
        most = -(-len(self._waiting) // self._idle)
        group: list[_Work] = []
        room = MOST_BYTES
        while self._waiting and len(group) < most and (not group or self._waiting[0].size <= room):
            work = self._waiting.popleft()
            if not work.result.done():  # this caller may have hung up
                group.append(work)
                room -= work.size
        return group

    def _hear(self, group: list[_Work], answers: list[Any]) -> None:
        self._idle += 1
        del self._running[id(group)]
        for work, answer in zip(group, answers, strict=True):
            if work.result.done():
                continue
            if isinstance(answer, Exception):
                work.result.set_exception(answer)
            else:
                work.result.set_result(answer)
        self._hand_out()


def _done(group: list[_Work], loop: asyncio.AbstractEventLoop, hear: Callable[[list[_Work], list[Any]], None]) -> None:
    """In a thread."""
    answers = [_answer(work.do) for work in group]
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(hear, group, answers)


def _answer(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except SightlineError as error:  # belongs to the caller who waits on the future
        return _without_frames(error)
    except Exception as error:
        return error


def _without_frames(error: SightlineError) -> SightlineError:
    """The error alone. Its traceback's frames hold the picture, half decoded, and through `_done` the error itself.

    Both would stay until the next garbage collection, which is rare here. docs/tuning.md#errors-without-frames
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
