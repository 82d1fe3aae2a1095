"""Tries a version in a process of its own, before a server that answers meanwhile loads it.

Its priority is low, and it is the first to be ended where memory runs out. So what is slow, large or broken hurts
nobody, and the version's speed is measured without the server's own work. Then the server loads it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any, NamedTuple

from classifier.card import Precision
from classifier.decode_process.environment import child_environment
from classifier.engines import chosen_engine, throughput
from classifier.errors import BrokenModel, SightlineError
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from service.inference.classifier import is_faster_than_http
from service.settings import Settings

BEHIND = 10  # of nice(2): further behind, a server under full load would wait for minutes
MOST_BYTES = 4_000_000_000  # of memory of its own
LONGEST_S = 600.0  # on a machine that is busy all the time

# It steps back before it imports anything, which takes it half of its time.
_BEGIN = f"import os; os.nice({BEHIND}); from service.inference import proof; proof.main()"

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
    """Whether a second process is no burden: TensorFlow and JAX take up to a gigabyte, and a GPU's memory is shared."""
    return chosen_engine(settings.engine) == "openvino"


async def tried(settings: Settings, name: str, version: int) -> Proof:
    """Try a version. The process ends with the task that waits for it. Raises Disproved."""
    given = {"models": str(settings.models.absolute())} | {field: getattr(settings, field) for field in _SETTINGS}
    process = _started(json.dumps(given), name, str(version))
    try:
        said, complained = await asyncio.to_thread(_heard, process)
    except TimeoutExpired as error:
        raise Disproved("The version takes too long to load", f"it was not loaded in {LONGEST_S:g} s") from error
    finally:
        process.kill()  # where nobody waits any more; the thread comes to its end with it
    return _read(process.returncode, said, complained)


def _started(*arguments: str) -> Popen[bytes]:
    """The process that tries a version. docs/tuning.md#processes-started-under-load"""
    command = (sys.executable, "-c", _BEGIN, *arguments)
    return Popen(command, env=child_environment(), cwd="/", stdout=PIPE, stderr=PIPE)  # noqa: S603 (our own program)


def _heard(process: Popen[bytes]) -> tuple[bytes, bytes]:
    """What a process has written when it ends. Blocks, so it belongs into a thread. Raises TimeoutExpired."""
    with process:
        try:
            return process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()


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


def main() -> None:
    """Try a version here, which the arguments name after the settings, and print what came of it as JSON."""
    given, name, version = sys.argv[1:]
    fields = json.loads(given)
    settings = Settings(**fields | {"models": Path(fields["models"])})
    _hold_back()
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


def _hold_back() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    with suppress(OSError, AttributeError):  # not Linux
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # it interrupts nobody when it wakes
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
