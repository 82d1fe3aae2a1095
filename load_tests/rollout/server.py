"""The server whose versions change: what it says of them, and waiting for it."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from classifier.rollout_file import set_values
from classifier.store import ModelStore
from load_tests import servers
from load_tests.chaos.server import serving
from load_tests.servers import Server

# Times, 20 ms apart or more: a version is loaded under full load, on a busy machine. A pause of all counts once.
ASKED_AT_MOST = 6_000


class Served(NamedTuple):
    """A server that watches a store of its own, and one model in it."""

    server: Server
    models: ModelStore
    name: str

    def say(self, **values: Any) -> None:
        """Change the roll-out file."""
        set_values(self.models.root, self.name, values)

    def about(self) -> dict[str, Any]:
        """`GET /v1/models/{model}`"""
        found: dict[str, Any] = json.loads(servers.fetch(f"{self.server.url}/v1/models/{self.name}"))
        return found

    def states(self) -> dict[int, str]:
        return {entry["version"]: entry["state"] for entry in self.about()["states"]}

    def is_ready(self) -> bool:
        """`GET /readyz`"""
        try:
            servers.fetch(f"{self.server.url}/readyz")
        except urllib.error.HTTPError:
            return False
        return True

    def wait_until(self, is_so: Callable[[], bool], what: str) -> float:
        """Ask again and again; the seconds it took. Raises RuntimeError with the server's log."""
        began = time.monotonic()
        for _ in range(ASKED_AT_MOST):
            if is_so():
                return time.monotonic() - began
            if self.server.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"{what}: never; the log ends:\n{self.server.log.read_text()[-3000:]}")


@contextlib.contextmanager
def served(options: Any, store: Path, name: str) -> Iterator[Served]:
    """A ready server of a store that may be changed."""
    options.store = store
    with serving(options, RELOAD="watch", MAX_LAG_MS="10000") as server:
        yield Served(server, ModelStore(store), name)
