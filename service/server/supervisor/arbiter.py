"""How circus's arbiter is made: for one worker, with commands by a private folder, and watched over."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from bentoml._internal.container import BentoMLContainer

from service.errors import SettingsError
from service.server.supervisor.deaths import Deaths

_LONGEST_TEMPORARY = 70  # bytes; a socket's path may have 107


def check_there_is_one_worker(service_name: str) -> None:
    """Raise SettingsError where BentoML's configuration, a file or a variable, asks for more than one worker.

    Each would hold its own models, count for itself on /metrics, and shed load by its own queues.
    """
    workers = BentoMLContainer.config.services[service_name]["workers"].get()
    if workers not in (None, 1):
        raise SettingsError(
            f"BentoML's configuration sets services.{service_name}.workers to {workers!r}; expected 1, for one worker "
            "feeds all processors. Remove it, and run replicas behind a load balancer for more"
        )


def replace_arbiter() -> None:
    """From now on, have circus take its commands in a folder that only the server's user may enter, and watch deaths.

    It runs any program for whoever reaches it. BentoML puts it on TCP ports of 127.0.0.1, which every user of the
    machine reaches. Raises SettingsError where it cannot be put elsewhere.
    """
    if os.name != "posix":
        return
    from bentoml._internal.utils import circus  # the worker needs none of it

    if "Arbiter" not in circus.create_standalone_arbiter.__code__.co_names:
        raise SettingsError("this BentoML starts circus in a way that we do not know; install the locked versions")
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_TEMPORARY:
        raise SettingsError(f"TMPDIR={tempfile.gettempdir()} has no room for a socket; expected a shorter path")
    as_it_is: Any = circus.Arbiter

    def in_a_folder(*args: Any, **options: Any) -> Any:
        folder = tempfile.mkdtemp(prefix="sightline-")  # with the mode 0700
        sockets = {"endpoint": f"ipc://{folder}/control", "pubsub_endpoint": f"ipc://{folder}/events"}
        deaths = Deaths()  # before circus takes the signals
        arbiter = as_it_is(*args, **options | sockets)
        arbiter.exit_stack.callback(shutil.rmtree, folder, ignore_errors=True)
        deaths.watch(arbiter)
        return arbiter

    circus.Arbiter = in_a_folder
