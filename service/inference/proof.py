"""Tries a version in a process of its own, before a server that answers meanwhile loads it.

Its priority is low, and it is the first to be ended where memory runs out. So what is slow, large or broken hurts
nobody, and the version's speed is measured without the server's own work. Then the server loads it.

    python -m service.inference.proof MODELS-AND-SETTINGS NAME VERSION
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from classifier.card import Precision
from classifier.decode_process.environment import child_environment
from classifier.engines import chosen_engine, throughput
from classifier.errors import BrokenModel, SightlineError
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from service.inference.classifier import is_faster_than_http
from service.settings import Settings

BEHIND = 5  # of nice(2): further behind, a server under full load would wait for minutes
MOST_BYTES = 4_000_000_000  # of memory of its own
LONGEST_S = 600.0  # on a machine that is busy all the time

_SETTINGS = ("engine", "precision", "streams", "max_batch", "queue_limit", "max_images", "pad_batches")


class Proof(NamedTuple):
    """A version that answers its sample: the precision it does so in, what `throughput.measure` found, and whether it
    is to run its batches one after another.
    """

    precision: Precision
    max_batch: int
    images_per_s: float
    one_stream: bool


class Disproved(BrokenModel):
    """A version that failed in the process that tried it. `title` is the one of what it failed with."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(detail)
        self.title = title


def can_try(settings: Settings) -> bool:
    """Whether a second process is no burden: TensorFlow takes a gigabyte, and a GPU's memory is its own to share."""
    return chosen_engine(settings.engine) == "openvino"


async def tried(settings: Settings, name: str, version: int) -> Proof:
    """Try a version. The process ends with the task that waits for it. Raises Disproved."""
    given = {"models": str(settings.models.absolute())} | {field: getattr(settings, field) for field in _SETTINGS}
    command = (sys.executable, "-m", "service.inference.proof", json.dumps(given), name, str(version))
    process = await asyncio.create_subprocess_exec(*command, env=child_environment(), cwd="/", stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(LONGEST_S):
            said, complained = await process.communicate()
    except TimeoutError as error:
        raise Disproved("The version takes too long to load", f"it was not loaded in {LONGEST_S:g} s") from error
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return _read(process.returncode or 0, said, complained)


def _read(status: int, said: bytes, complained: bytes) -> Proof:
    if status < 0:
        reason = f"the process that tried it was ended by signal {-status}"
        raise Disproved("The version ends the process that loads it", reason)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError as error:
        reason = complained.decode(errors="replace")[-2000:]
        raise Disproved("It failed to load; the server's log says why", reason) from error
    if "title" in found:
        raise Disproved(found["title"], found["detail"])
    return Proof(**found)


def main(given: str, name: str, version: str) -> None:
    """Try a version here, and print what came of it as JSON."""
    fields = json.loads(given)
    settings = Settings(**fields | {"models": Path(fields["models"])})
    _step_back()
    try:
        found: dict[str, Any] = _proof(settings, name, int(version))._asdict()
    except SightlineError as error:
        found = {"title": error.title, "detail": str(error)}
    sys.stdout.write(json.dumps(found))


def _proof(settings: Settings, name: str, version: int) -> Proof:
    model = LoadedModel.open(ModelStore(settings.models), name, version, settings.engine_options)
    engine = model.engine
    measured = throughput.measure(engine, model.card.input.shape, settings.max_batch or None)
    return Proof(engine.precision, *measured, one_stream=is_faster_than_http(engine, measured))


def _step_back() -> None:
    os.nice(BEHIND)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(*sys.argv[1:])
