"""What all connections of a server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.api.deadlines import CommonDeadlines
from service.api.traffic import Traffic
from service.inference.catalog import Catalog
from service.server.loop_lag import Lag
from service.server.sockets import Listeners, OpenConnections, connections_allowed
from service.settings import Settings


@dataclass(frozen=True, eq=False)
class ServerContext:
    """Made once, when the server starts, and handed to every connection.

    `in_front` puts our middleware before the app that uvicorn has loaded.
    """

    catalog: Catalog
    traffic: Traffic
    in_front: Callable[[ASGIApp], ASGIApp]
    lag: Lag = field(default_factory=Lag)
    listeners: Listeners = field(default_factory=Listeners)
    open_connections: OpenConnections = field(default_factory=OpenConnections)
    deadlines: CommonDeadlines = field(default_factory=CommonDeadlines)  # of the fast path
    keep_alive: CommonDeadlines = field(default_factory=CommonDeadlines)  # of idle connections
    most_connections: int = field(init=False)  # as set, or fewer where the system allows no more
    _apps: dict[uvicorn.Config, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "most_connections", connections_allowed(self.settings.max_connections))

    @property
    def settings(self) -> Settings:
        return self.traffic.settings

    def app_of(self, config: uvicorn.Config) -> Any:
        """What answers in place of the app that uvicorn has loaded."""
        if config not in self._apps:
            app: Any = config.loaded_app
            if isinstance(app, ProxyHeadersMiddleware):  # whose word on callers is taken, our settings say
                app = app.app
            self._apps[config] = self.in_front(app)
        return self._apps[config]
