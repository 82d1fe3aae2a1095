"""The routes that classify, found without BentoML's and Starlette's layers.

On its way through BentoML's and Starlette's layers a request meets seven middlewares and two routers. They cost more
than to decode a thumbnail. Here the same endpoints are found with one look into a table; every other request goes on to
BentoML.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.endpoints import LONGEST_CACHED, Endpoint

PATHS_KNOWN = 1_024  # a path may be written in many ways; the rest is looked up anew


class HotRoutes:
    """An app that answers POST to some routes of `app` by itself, and hands everything else to `others`.

    `templates` are the paths of the routes as they were declared. Their endpoints must turn every error into an
    answer, for no middleware of Starlette's is around them.
    """

    def __init__(self, app: Starlette, templates: Iterable[str], others: ASGIApp) -> None:
        wanted = frozenset(templates)
        self._app = app
        self._others = others
        self._routes = [route for route in app.routes if isinstance(route, Route) and route.path in wanted]
        if missing := wanted - {route.path for route in self._routes}:
            raise ValueError(f"no route has the path {', '.join(sorted(missing))}")
        self._find = lru_cache(maxsize=PATHS_KNOWN)(self._look_up)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._found(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._others(scope, receive, send)
            return
        endpoint, parameters = found
        scope["app"] = self._app
        scope["path_params"] = parameters
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    def _found(self, path: str) -> tuple[Endpoint, dict[str, Any]] | None:
        return self._find(path) if len(path) <= LONGEST_CACHED else self._look_up(path)

    def _look_up(self, path: str) -> tuple[Endpoint, dict[str, Any]] | None:
        for route in self._routes:
            match, found = route.matches({"type": "http", "method": "POST", "path": path})
            if match is Match.FULL:
                return route.endpoint, found["path_params"]
        return None
