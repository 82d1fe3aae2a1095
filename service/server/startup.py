"""How the server gets into uvicorn and BentoML, and what has to be true before it may answer."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

import click
import uvicorn
import uvicorn.config
from bentoml._internal.container import BentoMLContainer

from service.api import auth
from service.errors import SettingsError
from service.server.context import ServerContext
from service.server.fast_path import FastPathProtocol
from service.server.sockets import listening_addresses
from service.settings import PREFIX, Settings

log = logging.getLogger(__name__)


def install(context: ServerContext) -> None:
    """Have every uvicorn that this process configures from now on use our protocol."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = partial(FastPathProtocol, context)  # type: ignore[assignment]


def report_nothing() -> None:
    """Keep BentoML from reporting starts to its makers, unless the operator set BENTOML_DO_NOT_TRACK otherwise."""
    from bentoml._internal.utils.analytics import usage_stats  # brings in all of BentoML, which app.py has anyway

    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    usage_stats.do_not_track.cache_clear()  # it was asked before this process knew of us


def running_server(context: ServerContext) -> uvicorn.Server:
    """The uvicorn that serves this process: it takes SIGTERM. Raises SettingsError where it does not run our protocol.

    Without the protocol, limits, keys and the shutdown that finishes its work would be missing silently.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not isinstance(server, uvicorn.Server):
        raise SettingsError(f"no uvicorn serves this process; {_REMEDY}")
    protocol: Any = server.config.http_protocol_class
    if not isinstance(protocol, partial) or context not in protocol.args:
        raise SettingsError(f"uvicorn was started with the protocol {protocol!r} and without our limits; {_REMEDY}")
    return server


def leave(error: SettingsError) -> NoReturn:
    """End a process whose server has not begun to answer, with one line for the operator.

    At once: an exception would come out as tracebacks of Starlette and uvicorn, and some servers go on without us.
    """
    sys.stderr.write(f"sightline: {error}\n")
    sys.stderr.flush()
    os._exit(1)


def host_to_bind() -> str | None:
    """The address that `bentoml serve` is about to bind; None where we were started by other means."""
    context = click.get_current_context(silent=True)
    if context is None or "host" not in context.params:
        return None
    on_loopback = "127.0.0.1" if context.params.get("development") else BentoMLContainer.http.host.get()
    host: str = context.params["host"] or on_loopback
    return host


def check_port(host: str) -> None:
    """Raise SettingsError where another server listens on the port that `bentoml serve` is about to bind."""
    context = click.get_current_context(silent=True)
    if context is None or "port" not in context.params:
        return
    port: int = context.params["port"] or BentoMLContainer.http.port.get()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise SettingsError(f"{host} port {port}: {error.strerror}; choose another with --port") from None


def warn(settings: Settings, environ: Mapping[str, str]) -> None:
    """Say in the log what an operator may not know of how the server is set."""
    is_open = not auth.read_keys(settings) and not settings.allow_anonymous and auth.is_private(listening_addresses())
    if is_open:
        log.warning(
            "callers on this machine need no key; behind a proxy on it, that is everybody: set %sAPI_KEYS_FILE, "
            "or have the proxy ask for keys",
            PREFIX,
        )
    if "FORWARDED_ALLOW_IPS" in environ:
        log.warning("FORWARDED_ALLOW_IPS is not read; %sTRUSTED_PROXIES names proxies", PREFIX)


def log_beside_bentoml() -> None:
    """Send our log lines where BentoML's go; it configures its own logger only."""
    ours, theirs = logging.getLogger("service"), logging.getLogger("bentoml")
    ours.handlers, ours.propagate = theirs.handlers, False
    ours.setLevel(theirs.level)


_REMEDY = "start it with `bentoml serve service.app:Sightline`"
