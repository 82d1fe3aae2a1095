"""Callers for tests that stop servers."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time


class Caller(threading.Thread):
    """Asks again and again, each time on a connection of its own, until it gets no answer."""

    def __init__(self, url: str, path: str, body: bytes) -> None:
        super().__init__(daemon=True)
        self._address, self._path, self._body = url.removeprefix("http://"), path, body
        self.statuses: list[int] = []
        self.last_sent_at = 0.0
        self.ended = ""

    def run(self) -> None:
        while not self.ended:
            try:
                with contextlib.closing(http.client.HTTPConnection(self._address, timeout=60)) as connection:
                    self.last_sent_at = time.monotonic()
                    connection.request("POST", self._path, self._body)
                    self.statuses.append(connection.getresponse().status)
            except OSError as error:  # RemoteDisconnected is one too
                self.ended = repr(error)
