"""Transports of httpx, each with one connection, along a route.

httpx's own let nobody choose how sockets are opened, so these stand on httpcore, which does the work for both.
What that costs: docs/tuning.md#transports-of-the-client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpcore
import httpx

from .deadlines import PunctualBackend, TidyBackend
from .routes import Route

# BentoML closes a connection that was idle for 5 s. We let go of it before, or a request could cross with the close.
_KEEPALIVE_S = 4.0

_ONE = {"max_connections": 1, "max_keepalive_connections": 1, "keepalive_expiry": _KEEPALIVE_S}


class Transport(httpx.BaseTransport):
    """Raises the errors of httpcore."""

    def __init__(self, route: Route) -> None:
        kinds = (httpcore.ConnectionPool, httpcore.HTTPProxy, httpcore.SOCKSProxy)
        self._pool: httpcore.ConnectionPool = _pool(route, *kinds, network_backend=PunctualBackend())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        came = self._pool.handle_request(_lower(request))
        return httpx.Response(
            came.status, headers=came.headers, stream=_Stream(came.stream), extensions=came.extensions
        )

    def close(self) -> None:
        self._pool.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """Raises the errors of httpcore. Who waits for it sets the time."""

    def __init__(self, route: Route) -> None:
        kinds = (httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy)
        self._pool: httpcore.AsyncConnectionPool = _pool(route, *kinds, network_backend=TidyBackend())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        came = await self._pool.handle_async_request(_lower(request))
        return httpx.Response(
            came.status, headers=came.headers, stream=_AsyncStream(came.stream), extensions=came.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.SyncByteStream):
    """A body of httpcore's as one of httpx's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _pool(route: Route, straight: Any, by_http: Any, by_socks: Any, **options: Any) -> Any:
    options |= _ONE | {"ssl_context": route.tls}
    if route.proxy is None:
        return straight(**options)
    options |= {"proxy_url": _url(route.proxy.url), "proxy_auth": route.proxy.raw_auth}
    if route.proxy.url.scheme.startswith("socks"):
        return by_socks(**options)
    return by_http(**options, proxy_headers=route.proxy.headers.raw, proxy_ssl_context=route.proxy.ssl_context)


def _lower(request: httpx.Request) -> httpcore.Request:
    return httpcore.Request(
        request.method,
        _url(request.url),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
