"""Shutdown on SIGTERM: say so and serve on, then refuse newcomers, finish what was accepted, and leave.

Left alone, uvicorn closes its socket at once, while the supervisor still holds it open: readiness never turns false,
and whoever comes then is neither answered nor refused. So the signal comes here first, and is handed on to uvicorn
when nobody is waiting any more.

Routers need some seconds to notice that a server is not ready. Until then they send it work as before, so it is
answered as before; each answer says `Connection: close`, so that nobody keeps a connection that is about to end.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn

from service.server.context import ServerContext
from service.systemd import notify

log = logging.getLogger(__name__)

_LAST_REQUESTS_S = 0.1  # for requests on connections accepted last
_LAST_ANSWERS_S = 2  # for the 503 of those who were cut off


class Shutdown:
    """Takes SIGTERM in place of uvicorn's server, to which it hands it on in the end."""

    def __init__(self, context: ServerContext, server: uvicorn.Server) -> None:
        self._traffic = context.traffic
        self._catalog = context.catalog
        self._listeners = context.listeners
        self._server = server
        self._task: asyncio.Task[None] | None = None

    def take_over(self) -> None:
        """From now on SIGTERM begins `begin`, and SIGHUP where it is not ignored, as it is after nohup.

        For the main thread, which gets the signals.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.begin))

    def begin(self) -> None:
        """Be not ready from here on, and have uvicorn end when the accepted work is done. Again: nothing more."""
        if self._task is None:
            self._traffic.drain()
            self._catalog.is_draining = True
            notify("STOPPING=1")
            notice_s = self._traffic.settings.shutdown_notice_ms / 1000
            log.info("shutting down: not ready, and serving on for %g s until routers have noticed", notice_s)
            self._task = asyncio.create_task(self._close())

    async def _close(self) -> None:
        settings, loop = self._traffic.settings, asyncio.get_running_loop()
        try:
            await asyncio.sleep(settings.shutdown_notice_ms / 1000)
            until = loop.time() + settings.shutdown_timeout_ms / 1000
            self._traffic.close()
            log.info("shutting down: %d requests are being answered", len(self._traffic.tasks))
            await self._answered(until)
            if self._traffic.tasks:
                log.warning("shutting down: %d requests were not answered in time", len(self._traffic.tasks))
                self._traffic.cut_off()
            await self._refuse_newcomers()
        finally:
            self._server.handle_exit(signal.SIGTERM, None)

    async def _refuse_newcomers(self) -> None:
        """Have the system refuse connections, and answer 503 to those that it had accepted a moment ago.

        uvicorn would hang up on them, and the supervisor, who holds the socket too, would let the others wait.
        """
        for listener in self._server.servers:
            listener.close()
        last = list(self._listeners.accept_all())
        self._listeners.stop()  # nothing may come between, for the system resets what nobody accepts
        if last:
            await self._adopt(last)
        await asyncio.sleep(_LAST_REQUESTS_S)
        await self._answered(asyncio.get_running_loop().time() + _LAST_ANSWERS_S)
        if self._server.config.timeout_graceful_shutdown is None:
            self._server.config.timeout_graceful_shutdown = _LAST_ANSWERS_S  # None: without end, for what does not end

    async def _adopt(self, accepted: Iterable[Any]) -> None:
        server, loop = self._server, asyncio.get_running_loop()
        kind: Callable[..., Any] = server.config.http_protocol_class
        protocol = partial(
            kind, config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        for one in accepted:
            with suppress(OSError, ConnectionError):  # it left again
                await loop.connect_accepted_socket(protocol, one, ssl=server.config.ssl)

    async def _answered(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while self._traffic.tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(self._traffic.tasks, timeout=left)
