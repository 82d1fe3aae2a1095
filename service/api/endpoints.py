"""What the routes share: which model a request asks for, how an error becomes an answer, how a path is counted."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache, wraps

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from classifier.errors import SightlineError
from service.errors import MalformedRequest
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier

Endpoint = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

OTHER = "other"  # every path that no route has a template for

LONGEST_CACHED = 256  # letters of a path that caches keep: a thousand of 32,000 letters would be much memory

WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Endpoints:
    """Paths to the templates of routes, which are few: metrics are counted by them."""

    def __init__(self, routes: Iterable[BaseRoute], paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._routes = [route for route in routes if isinstance(route, Route | Mount)]
        self.template = lru_cache(maxsize=1024)(self.look_up)  # for paths of at most `LONGEST_CACHED` letters

    def look_up(self, path: str) -> str:
        if path in self._paths:
            return path
        return next((route.path or "/" for route in self._routes if route.path_regex.match(path)), OTHER)


def answered(endpoint: Endpoint, in_words: Callable[[BaseException], Response]) -> Endpoint:
    """The one place where an error becomes an answer, in the words of a protocol."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except SightlineError as error:
            return in_words(error)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.scope["path"])
            return in_words(error)

    return answer


def catalog_of(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


def classifier_of(request: Request) -> Classifier:
    """The classifier of the path's model and version. Raises MalformedRequest, or as `Catalog.find` does."""
    return catalog_of(request).find(request.path_params["model"], version_of(request))


def version_of(request: Request) -> int | None:
    """The path's version; None where it names none. Raises MalformedRequest."""
    text = request.path_params.get("version")
    return None if text is None else read_version(text)


def read_version(text: str) -> int:
    """A version. Raises MalformedRequest."""
    if not WHOLE_NUMBER.fullmatch(text):
        raise MalformedRequest(f"a version is a whole number from 1, not {text!r}")
    return int(text)
