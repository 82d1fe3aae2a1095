"""What a model version on disk can be to a server: it answers, or there is a reason why it does not."""

from __future__ import annotations

from dataclasses import dataclass

from service.inference.classifier import Classifier


@dataclass(frozen=True)
class Broken:
    """A version that failed its checks. The reason is fit for clients; paths and tracebacks are in the log.

    What came while the server ran does not keep it from being ready.
    """

    reason: str
    at_run_time: bool = False


@dataclass(frozen=True)
class Loading:
    """A version that is on disk and will be offered once it has proved itself."""

    reason: str = "still loading"
    at_run_time: bool = False


@dataclass(frozen=True)
class Retired:
    """A version that is on disk and not loaded, as the roll-out file has it."""

    reason: str = "not loaded, for the roll-out file keeps other versions"


Entry = Classifier | Broken | Loading | Retired


def state_of(entry: Entry) -> str:
    """One word: `ready`, `loading`, `broken` or `retired`. What is loaded anew after a failure is loading."""
    if isinstance(entry, Classifier):
        return "loading" if entry.reason else "ready"
    return type(entry).__name__.lower()
