"""Serve the models over HTTP, until Ctrl-C or SIGTERM. Settings are the environment's SIGHTLINE_*."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import models_folder, path, whole_number
from service.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
MODELS = "SIGHTLINE_MODELS"
SERVICE = "service.app:Sightline"


def run(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; 0.0.0.0 is all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(parser=whole_number(1, 65535), metavar="N", help="The port to listen on.")
    ] = 3000,
    models: Annotated[
        Path | None,
        typer.Option("--models", parser=path, metavar="DIR", help="The model store (./models, or the package's)."),
    ] = None,
    supervised: Annotated[
        bool,
        typer.Option(
            "--supervisor/--no-supervisor",
            help="Restart a server that died, by a second process; none where a container or systemd does it.",
        ),
    ] = True,
    shared: Annotated[
        bool,
        typer.Option("--share-port", help="Let other servers of yours listen on the same port; with --no-supervisor."),
    ] = False,
) -> None:
    if shared and supervised:
        raise typer.BadParameter("--share-port goes with --no-supervisor: start each server by itself")
    address = free_address(host, port, shared=shared)
    environ = {"BENTOML_DO_NOT_TRACK": "True"} | os.environ
    if models is not None or MODELS not in environ:
        environ[MODELS] = str((models or models_folder()).absolute())
    if not supervised:
        _serve_alone(address, port, environ, shared=shared)
        return
    words = ["-m", "bentoml", "serve", SERVICE, "--working-dir", str(ROOT), "--host", address, "--port", str(port)]
    # In this process's place, so that signals reach the server itself.
    os.execve(sys.executable, [sys.executable, *words], environ)  # noqa: S606


def free_address(host: str, port: int, *, shared: bool = False) -> str:
    """The numeric address of a host, which may be a name or in brackets. BentoML takes no names.

    A `shared` port is free where all who listen there share it.

    Raises SettingsError where nothing could listen there: BentoML would answer with a traceback.
    """
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"{host!r} is no address of a host: {error.strerror}; choose another with --host") from None
    family, kind, protocol, _, address = found
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind(address)
        except OSError as error:
            option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
            raise SettingsError(f"{host} port {port}: {error.strerror}; choose another with {option}") from None
    return str(address[0])


def _serve_alone(address: str, port: int, environ: Mapping[str, str], *, shared: bool) -> None:
    """Serve in this process. Raises SettingsError where nobody could be let in, before anything slow is imported."""
    os.environ.update(environ)  # before BentoML is imported, which reads it
    from service.api import auth  # only here: the supervisor looks by itself
    from service.server.supervisor import alone
    from service.settings import Settings

    auth.check_address(Settings.from_environment(os.environ), address)
    listener = alone.listen(address, port, shared=shared)
    os.chdir(ROOT)  # where BentoML looks for the service
    alone.serve(SERVICE, listener)
