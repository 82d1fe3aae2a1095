"""A worker that dies: said in the log, counted for the metrics, replaced at once. And a hang-up of the terminal.

circus looks after its processes every ten seconds, says nothing of one that died, and takes SIGHUP for a wish to start
a second worker beside the first.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

STARTS = "_SIGHTLINE_WORKER_STARTS"  # a variable for the worker: how many workers this supervisor has started

AT_ONCE_EVERY_S = 10.0  # a worker that dies again and again waits for circus's own look
_LATER_S = 0.2  # circus does one thing at a time, and refuses a second


def worker_starts(environ: Mapping[str, str] = os.environ) -> int:
    """How many workers the supervisor of this process has started, this one counted."""
    return int(environ.get(STARTS) or 1)


class Deaths:
    """Watches one arbiter of circus's. To be made before it, which takes the signals."""

    def __init__(self) -> None:
        self._ignores_hang_up = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as after nohup
        self._starts = 0
        self._replaced_at = -AT_ONCE_EVERY_S

    def watch(self, arbiter: Any) -> None:
        """Begin. For the main thread, which gets the signals."""
        self._arbiter = arbiter
        for watcher in arbiter.watchers:
            watcher.hooks |= {"before_spawn": self._count, "after_reap": self._report}
        signal.signal(signal.SIGHUP, signal.SIG_IGN if self._ignores_hang_up else self._end)
        signal.signal(signal.SIGCHLD, self._look_soon)

    def _count(self, watcher: Any, **_: object) -> bool:
        self._starts += 1
        watcher.env[STARTS] = str(self._starts)
        return True

    def _report(self, watcher: Any, process_pid: int, exit_code: int, **_: object) -> None:
        if watcher.status() != "active":  # it was to end
            return
        how = signal.Signals(-exit_code).name if exit_code < 0 else f"status {exit_code}"
        then = "another one is started" if watcher.respawn else "the server ends with it, as it should in a container"
        log.error("the server's worker, process %d, ended unexpectedly with %s; %s", process_pid, how, then)

    def _end(self, *_: object) -> None:
        """The terminal hung up. Nobody could end the server from there any more, so it ends as with SIGTERM."""
        log.warning("SIGHUP: shutting down; start it with nohup to have it outlive its terminal")
        os.kill(os.getpid(), signal.SIGTERM)

    def _look_soon(self, *_: object) -> None:
        self._arbiter.loop.add_callback_from_signal(self._look)

    def _look(self) -> None:
        """Have circus find and replace the dead, but no more often than every ten seconds."""
        if time.monotonic() - self._replaced_at < AT_ONCE_EVERY_S or not self._is_active():
            return
        from circus.exc import ConflictError  # the worker needs none of it

        try:
            self._arbiter.manage_watchers()
        except ConflictError:
            self._arbiter.loop.call_later(_LATER_S, self._look)
        else:
            self._replaced_at = time.monotonic()

    def _is_active(self) -> bool:
        return all(watcher.status() == "active" for watcher in self._arbiter.watchers)
