"""The server in this process, without BentoML's supervisor."""

from __future__ import annotations

import socket

import click

from service.errors import SettingsError

BACKLOG = 2048  # connections that wait to be accepted, as with BentoML


def listen(address: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that waits for connections from here on; of several that are `shared` the system chooses one."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((address, port))
    listener.listen(BACKLOG)
    return listener


def serve(service: str, listener: socket.socket) -> None:
    """Answer on a socket until SIGTERM, which ends the process, or Ctrl-C.

    It is the program that BentoML's supervisor would start, run here: that spares a second interpreter and its imports.
    Raises SettingsError where the service says what is wrong, and KeyboardInterrupt after Ctrl-C.
    """
    from _bentoml_impl.worker.service import main  # only now: it is slow to import

    words = [service, "--fd", str(listener.detach()), "--backlog", str(BACKLOG), "--worker-id", "1"]
    try:
        main.main(words, standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as left:
        if isinstance(left.code, str):
            raise SettingsError(left.code.removeprefix("sightline: ")) from None
        raise
