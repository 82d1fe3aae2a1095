"""Shutdown on SIGTERM: say so first, finish what was accepted, then leave.

Left alone, uvicorn closes its socket at once, while the supervisor still holds it open: readiness never turns false,
and whoever comes then is neither answered nor refused. So the signal comes here first, and is handed on to uvicorn
when nobody is waiting any more.
"""

from __future__ import annotations

import asyncio
import logging
import signal

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
        """From now on SIGTERM begins `begin`. For the main thread, which gets the signals."""
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(self.begin))

    def begin(self) -> None:
        """Refuse new work from here on, and have uvicorn end when the accepted work is done. Again: nothing more."""
        if self._task is None:
            self._traffic.is_closing = self._catalog.is_closing = True
            notify("STOPPING=1")
            log.info("shutting down: %d requests are being answered", len(self._traffic.tasks))
            self._task = asyncio.create_task(self._close())

    async def _close(self) -> None:
        settings, loop = self._traffic.settings, asyncio.get_running_loop()
        until = loop.time() + settings.shutdown_timeout_ms / 1000
        try:
            await asyncio.sleep(min(settings.shutdown_notice_ms, settings.shutdown_timeout_ms) / 1000)
            await self._answered(until)
            if self._traffic.tasks:
                log.warning("shutting down: %d requests were not answered in time", len(self._traffic.tasks))
                self._traffic.cut_off()
            await self._refuse_newcomers()
        finally:
            self._server.handle_exit(signal.SIGTERM, None)

    async def _refuse_newcomers(self) -> None:
        """Accept nobody else, and answer 503 to those who were accepted a moment ago; uvicorn would hang up on them."""
        self._listeners.close()
        for listener in self._server.servers:
            listener.close()
        await asyncio.sleep(_LAST_REQUESTS_S)
        await self._answered(asyncio.get_running_loop().time() + _LAST_ANSWERS_S)
        if self._server.config.timeout_graceful_shutdown is None:
            self._server.config.timeout_graceful_shutdown = _LAST_ANSWERS_S  # None: without end, for what does not end

    async def _answered(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while self._traffic.tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(self._traffic.tasks, timeout=left)
