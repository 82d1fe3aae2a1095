"""Servers' contexts for tests of connections, and connections on a wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from service.api.auth import Access
from service.api.endpoints import Endpoints
from service.api.traffic import Traffic
from service.inference.catalog import Catalog
from service.metrics import Metrics
from service.server.context import ServerContext
from service.server.protocol import ConnectionProtocol
from service.settings import Settings
from tests.service.wire import Wire


def context_of(
    traffic: Traffic, catalog: Catalog | None = None, in_front: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> ServerContext:
    """A server of its own: nothing is shared with another test's. Without a catalog it has no models."""
    return ServerContext(catalog or Catalog(traffic.settings), traffic, in_front)


def plain_context(settings: Settings, **shedding: float) -> ServerContext:
    """A server on loopback without models and without middleware."""
    return context_of(
        Traffic(settings, Access(settings, lambda: ["127.0.0.1"]), Endpoints([], []), Metrics(), **shedding)
    )


def connected(
    context: ServerContext,
    app: Any,
    kind: type[ConnectionProtocol] = ConnectionProtocol,
    state: ServerState | None = None,
    peer: str = "",
) -> tuple[Any, Wire]:
    """A connection to a server of this app that has just been made, from the address `peer`."""
    config = uvicorn.Config(app, lifespan="off", log_config=None)
    made, wire = kind(context, config, state or ServerState(), {}), Wire(peer)
    transport: Any = wire
    made.connection_made(transport)
    return made, wire
