"""The sockets that the process listens on, and how many connections it may hold open."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

# Seconds in which what a refused caller still sends is read and forgotten. Closing at once would make the kernel answer
# with a reset, which may overtake the answer. So many connections may be in that state, and no more.
LINGER_S = 1.0
LINGERING = 64
OTHER_FILES = 64 + LINGERING  # of the process besides connections: models, libraries, logs, metrics

ACCEPTED_AT_ONCE = 64


# Seconds until a caller is probed who sends no more and waits, and then between looks for the outcome.
PROBE_AFTER_S = 0.2
PROBE_EVERY_S = 0.1
TELLS_RESETS = hasattr(socket, "TCP_INFO")  # Linux does
_TCP_CLOSE = 7  # a state of tcp(7)


class Listeners:
    """Copies of the sockets that the process listens on, to accept several connections in a turn of the loop.

    libuv accepts one connection in a turn of its loop. In a flood turns are long, and newcomers would starve.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def open(self) -> None:
        """Begin: look for the sockets that the process listens on now."""
        self._sockets = listening_sockets()

    def accept(self) -> Iterator[socket.socket]:
        """Connections that wait to be accepted, at most `ACCEPTED_AT_ONCE` of each socket. Never waits."""
        for listener in self._sockets:
            with suppress(OSError):  # nobody else waits, or there are no more files
                for _ in range(ACCEPTED_AT_ONCE):
                    accepted, _ = listener.accept()
                    accepted.setblocking(False)
                    yield accepted

    def accept_all(self) -> Iterator[socket.socket]:
        """Every connection that waits to be accepted."""
        while several := list(self.accept()):
            yield from several

    def stop(self) -> None:
        """Have the system refuse connections from now on, also where another process holds the sockets open.

        Who listens on them again may do so.
        """
        while self._sockets:
            with self._sockets.pop() as listener, suppress(OSError):  # not every system can
                if listener.family in (socket.AF_INET, socket.AF_INET6):
                    listener.shutdown(socket.SHUT_RDWR)


class Idle(Protocol):
    """A connection that may be idle."""

    def make_room(self) -> None:
        """Close, for somebody else's sake."""


class OpenConnections:
    """Which connections are idle, the longest idle first, and how many each address has open."""

    def __init__(self) -> None:
        self.idle: dict[Idle, None] = {}  # kept by the connections themselves, at each request
        self._of: Counter[str] = Counter()

    def close_longest_idle(self) -> bool:
        """Whether there was an idle connection to close."""
        for connection in self.idle:
            del self.idle[connection]
            connection.make_room()
            return True
        return False

    def come(self, address: str) -> int:
        """Count a connection of an address; how many it has now."""
        self._of[address] += 1
        return self._of[address]

    def go(self, address: str) -> None:
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]


def is_reset(transport: asyncio.BaseTransport) -> bool:
    """Whether the other side has reset a connection that nobody reads from or writes to at the moment."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        state: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return True
    return state == _TCP_CLOSE


def listening_addresses() -> list[str]:
    """The IP addresses of the sockets that this process listens on; "" for a socket of another kind."""
    found = listening_sockets()
    addresses = [str(one.getsockname()[0]) if one.family in (socket.AF_INET, socket.AF_INET6) else "" for one in found]
    for one in found:
        one.close()
    return addresses


def listening_sockets() -> list[socket.socket]:
    """Copies of the sockets that this process listens on, not blocking."""
    descriptors = [number for path in Path("/dev/fd").iterdir() if _is_socket(number := int(path.name))]
    copies = [_copy(number) for number in descriptors]  # all are known by now, or copies would be copied
    return [copy for copy in copies if copy is not None]


def connections_allowed(wanted: int) -> int:
    """How many connections may be open, of so many wanted, after asking the system for the files that they need."""
    return min(wanted, max(1, _files_allowed(wanted + OTHER_FILES) - OTHER_FILES))


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:  # gone since it was listed
        return False


def _copy(descriptor: int) -> socket.socket | None:
    try:
        copy = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # gone since it was listed
        return None
    with suppress(OSError):
        if copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            copy.setblocking(False)
            return copy
    copy.close()
    return None


def _files_allowed(wanted: int) -> int:
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
