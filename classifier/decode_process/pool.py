"""A few decode processes, asked from threads: blocks until there is an answer, or until the process is ended."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from classifier.decode_process import messages
from classifier.decode_process.environment import child_environment
from classifier.decode_process.messages import Order, Spec
from classifier.errors import ImageError, TooMuchToDecode, TooSlowToDecode, UndecodableImage

BEHIND = 10  # of nice(2): where processors are short, the server's own threads come first
IDLE_S = 30.0  # a process that had nothing to do for so long is ended, and started anew when needed
LONGEST_S = 30.0  # from order to answer, on a machine so busy that two seconds of a processor takes that long

Buffer = TypeVar("Buffer", bytearray, memoryview)

_OUT_OF_TIME = {-signal.SIGPROF, -signal.SIGXCPU}


class DecodeProcesses:
    """At most so many processes, which come so far behind others (nice(2)). May be used by many threads at once."""

    def __init__(self, most: int, behind: int = BEHIND) -> None:
        self._behind = behind
        self._free = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._ending: threading.Timer | None = None
        self._closed = False

    @property
    def idle_ids(self) -> list[int]:
        """The process ids of those that wait for a picture."""
        with self._lock:
            return [process.id for process in self._idle]

    def decode(
        self,
        body: bytes,
        spec: Spec,
        *,
        max_pixels: int,
        timeout_s: float = LONGEST_S,
        cpu_s: float | None = None,
    ) -> npt.NDArray[np.uint8]:
        """As `images.decode`, elsewhere: uint8 (spec.height, spec.width, spec.channels).

        Raises as `images.decode` does; TooSlowToDecode beyond `cpu_s` (None: `messages.CPU_S`) or `timeout_s`;
        TooMuchToDecode.
        """
        timeout_s = min(timeout_s, LONGEST_S)
        until = time.monotonic() + timeout_s
        if timeout_s <= 0 or not self._free.acquire(timeout=timeout_s):
            raise TooSlowToDecode(f"no decode process was free within {timeout_s:.3g} s; send it again later")
        try:
            process = self._take()
            try:
                pixels = process.ask(messages.order(spec, max_pixels, cpu_s or messages.CPU_S), body, until)
            except ImageError:
                self._give_back(process)
                raise
            except BaseException:
                process.end()
                raise
            self._give_back(process)
            return pixels
        finally:
            self._free.release()

    def close(self) -> None:
        """End those that wait for a picture now, and any other once it has answered."""
        with self._lock:
            self._closed = True
            processes, self._idle = self._idle, []
            if self._ending is not None:
                self._ending.cancel()
                self._ending = None
        for process in processes:
            process.end()

    def _take(self) -> _Process:
        with self._lock:
            if self._idle:
                return self._idle.pop()  # the latest, so that the others may end
        return _Process(self._behind)

    def _give_back(self, process: _Process) -> None:
        if process.has_ended:
            return
        process.idle_since = time.monotonic()
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                self._end_idle_later()
                return
        process.end()

    def _end_idle_later(self) -> None:
        if self._ending is None and self._idle:
            self._ending = threading.Timer(IDLE_S, self._end_idle)
            self._ending.daemon = True
            self._ending.start()

    def _end_idle(self) -> None:
        longest = time.monotonic() - IDLE_S
        with self._lock:
            ended = [process for process in self._idle if process.idle_since <= longest]
            self._idle = [process for process in self._idle if process.idle_since > longest]
            self._ending = None
            self._end_idle_later()
        for process in ended:
            process.end()


class _Process:
    """One decode process and our end of its socket."""

    def __init__(self, behind: int) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs, _signals_blocked():
            self._popen = subprocess.Popen(  # noqa: S603 (a program of our own)
                [sys.executable, "-m", "classifier.decode_process.child", str(behind)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child_environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
                cwd="/",
                # A terminal's signals are for the server. Not a session of its own: Linux shares processors out among
                # sessions first (sched(7), autogroup), and a low priority would count for nothing.
                process_group=0,
            )
        self.idle_since = 0.0

    @property
    def id(self) -> int:
        process_id: int = self._popen.pid
        return process_id

    @property
    def has_ended(self) -> bool:
        return self._popen.returncode is not None

    def ask(self, order: Order, body: bytes, until: float) -> npt.NDArray[np.uint8]:
        """The pixels of a picture. Raises ImageError; then the process may have ended, and been waited for."""
        try:
            self._say(messages.packed_order(order, body), until)
            self._say(body, until)
            has_pixels, size = messages.ANSWER.unpack(self._hear(bytearray(messages.ANSWER.size), until))
            if not has_pixels:
                error = messages.read_error(self._hear(bytearray(size), until))
            elif size == int(np.prod(order.shape)):
                pixels = np.empty(order.shape, np.uint8)
                self._hear(pixels.data.cast("B"), until)
                return pixels
            else:
                error = self._broken(order)
        except TimeoutError:
            self.end()
            error = TooSlowToDecode("decoding it was not done in time, and was ended; save it anew, as a small JPEG")
        except (OSError, EOFError, ValueError, KeyError):
            error = self._broken(order)
        try:
            raise error
        finally:
            del error  # or this frame, which its traceback holds, would hold it, and both wait for the collector

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        self._socket.close()
        self._popen.kill()
        self._popen.wait()

    def _broken(self, order: Order) -> ImageError:
        """What a process that answers no more died of."""
        try:
            status = self._popen.wait(1)  # its socket is closed a moment before it is gone
        except subprocess.TimeoutExpired:
            status = 0
        self.end()
        if status in _OUT_OF_TIME:
            return TooSlowToDecode(
                f"decoding it takes over {order.cpu_s:.2g} s of a processor; save it anew, as a small JPEG"
            )
        if status == -signal.SIGKILL:
            return TooMuchToDecode("decoding it was ended by the system, most likely for its memory; save it anew")
        return UndecodableImage("the image is damaged: the decoder broke down over it")

    def _say(self, what: bytes, until: float) -> None:
        self._socket.settimeout(_left(until))
        self._socket.sendall(what)

    def _hear(self, buffer: Buffer, until: float) -> Buffer:
        """Fill a buffer with what the process says."""
        view = memoryview(buffer)
        while view:
            self._socket.settimeout(_left(until))
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return buffer


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """What is started here never gets SIGINT or SIGTERM, from its first instruction on: it inherits the mask.

    A supervisor sends them to all below the server, which still has pictures to decode then. The server itself gets
    them in another thread, or a moment later.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
