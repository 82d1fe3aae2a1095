"""The decode process: python -m classifier.decode_process.child NICE, with a socket as its standard input.

Reads one order after the other and answers each, until the socket ends. The processor's time is limited by a timer,
whose signal ends the process; memory is limited by the system, which then has none.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from classifier.decode_process import messages
from classifier.decode_process.messages import BYTES_PER_PIXEL, MEMORY_BYTES, Order
from classifier.errors import SightlineError
from classifier.images import OpenedImage

_STATM = Path("/proc/self/statm")


def main() -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    os.nice(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()
    at_start = _address_space_bytes()
    with socket.socket(fileno=sys.stdin.fileno()) as server, suppress(ConnectionError):
        while order := _next_order(server):
            server.sendall(_answer(*order, at_start))
            _forget_limits()


def _next_order(server: socket.socket) -> tuple[Order, bytes] | None:
    """The next order and its picture; None where the socket has ended."""
    head = server.recv(messages.ORDER.size, socket.MSG_WAITALL)
    if len(head) < messages.ORDER.size:
        return None
    text_bytes, body_bytes = messages.ORDER.unpack(head)
    text = server.recv(text_bytes, socket.MSG_WAITALL)
    body = server.recv(body_bytes, socket.MSG_WAITALL) if body_bytes else b""
    return (messages.read_order(text), body) if len(body) == body_bytes else None


def _answer(order: Order, body: bytes, at_start: int) -> bytes:
    signal.setitimer(signal.ITIMER_PROF, order.cpu_s)
    try:
        opened = OpenedImage(body, order, order.max_pixels)
        _limit_memory(at_start + 3 * len(body) + opened.pixels * BYTES_PER_PIXEL + MEMORY_BYTES)
        pixels = opened.decode().tobytes()
    except SightlineError as error:
        return messages.packed_error(error)
    return messages.ANSWER.pack(True, len(pixels)) + pixels


def _limit_memory(most_bytes: int) -> None:
    if _STATM.exists():  # elsewhere nothing says what the process had at its start
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _forget_limits() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _address_space_bytes() -> int:
    try:
        return int(_STATM.read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
