"""What the routes share: which model a request asks for, how an error becomes an answer, how a path is counted."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from classifier.errors import SightlineError
from classifier.rollout_file import ALIAS_PATTERN
from service.errors import MalformedRequest, is_oip
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.surroundings.trusted_proxies import TrustedProxies

Endpoint = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

OTHER = "other"  # every path that no route has a template for

LONGEST_CACHED = 256  # letters of a path that caches keep: a thousand of 32,000 letters would be much memory

WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
ALIAS = re.compile(ALIAS_PATTERN)

VERSION_HEADER = "x-model-version"
KEY_HEADER = b"x-sightline-key"  # requests with the same one go to the same version
CHOSEN_VERSION = "sightline.version"  # a key of the scope: which version answers this request, once that is known
_CHOSEN = "sightline.classifier"  # and the classifier, until it has answered


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
    """The one place where an error becomes an answer, in the words of a protocol.

    The answer says which version it is by, once one was chosen, also where it failed.
    """

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except SightlineError as error:
            response = in_words(error)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.scope["path"])
            response = in_words(error)
        finally:
            chosen = _let_go(request)
        if chosen is not None:
            response.headers[VERSION_HEADER] = str(chosen.card.version)
        return response

    return answer


def catalog_of(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


def classifier_of(request: Request) -> Classifier:
    """The classifier that answers a request, by the path's model and its version or alias. It is used until the answer.

    Raises MalformedRequest, or as `Catalog.find` does.
    """
    catalog, name, which = catalog_of(request), request.path_params["model"], which_of(request)
    chosen = catalog.find(name, which)
    if which is None and catalog.splits:
        chosen = of_caller(catalog, chosen, request.scope, request.app.state.proxies)
    request.scope[_CHOSEN] = chosen
    request.scope[CHOSEN_VERSION] = str(chosen.card.version)
    chosen.users += 1
    return chosen


def of_caller(catalog: Catalog, stable: Classifier, scope: Mapping[str, Any], proxies: TrustedProxies) -> Classifier:
    """The stable version that was found, or the canary of its model where that answers the caller of this request."""
    if (split := catalog.splits.get(stable.card.name)) is None:
        return stable
    key = next((value for name, value in scope["headers"] if name == KEY_HEADER), b"")
    return split.canary if split.takes(key, proxies.caller_of(scope)) else stable


def which_of(request: Request) -> int | str | None:
    """The path's version or alias; None where it names none. Raises MalformedRequest."""
    parameters = request.path_params
    if (text := parameters.get("version")) is None:
        alias: str | None = parameters.get("alias")
        return alias
    if is_oip(request.scope["path"]) and ALIAS.fullmatch(text):  # that protocol has no word for aliases
        return str(text)
    return read_version(text)


def read_version(text: str) -> int:
    """A version. Raises MalformedRequest."""
    if not WHOLE_NUMBER.fullmatch(text):
        raise MalformedRequest(f"a version is a whole number from 1, not {text!r}")
    return int(text)


def _let_go(request: Request) -> Classifier | None:
    chosen: Classifier | None = request.scope.pop(_CHOSEN, None)
    if chosen is not None:
        chosen.users -= 1
    return chosen
