"""How many processes serve."""

from __future__ import annotations

from bentoml._internal.container import BentoMLContainer

from service.errors import SettingsError


def check_there_is_one(service_name: str) -> None:
    """Raise SettingsError where BentoML's configuration, a file or a variable, asks for more than one worker.

    Each would hold its own copy of the models, count for itself on /metrics, and shed load by its own queues.
    """
    workers = BentoMLContainer.config.services[service_name]["workers"].get()
    if workers not in (None, 1):
        raise SettingsError(
            f"BentoML's configuration sets services.{service_name}.workers to {workers!r}; expected 1, for one worker "
            "feeds all processors. Remove it, and run replicas behind a load balancer for more"
        )
