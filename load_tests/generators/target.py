"""Where a load generator posts what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from load_tests.servers import Server


class Target(NamedTuple):
    """A path of a server, and the bodies to post there in turn: `bodies` files in `folder`, named by number from 0."""

    server: Server
    path: str
    media_type: str
    folder: Path
    bodies: int

    @property
    def url(self) -> str:
        return self.server.url + self.path

    @property
    def port(self) -> int:
        return int(self.server.url.rpartition(":")[2])

    def requests(self) -> list[bytes]:
        """Every body as a whole HTTP request."""
        bodies = ((self.folder / str(number)).read_bytes() for number in range(self.bodies))
        return [post(self.path, body, self.media_type) for body in bodies]


def written(server: Server, path: str, media_type: str, bodies: Iterable[bytes], folder: Path) -> Target:
    """Write the bodies into a folder, which may not exist yet."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for body in bodies:
        (folder / str(count)).write_bytes(body)
        count += 1
    return Target(server, path, media_type, folder, count)


def post(path: str, body: bytes, media_type: str) -> bytes:
    """A whole HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body
