"""What becomes of a file that the system does not let us write: one sentence that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classifier.errors import SightlineError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NotSaved(SightlineError):
    """The system refuses what was to be written. What was saved before is whole, and a fit can go on from it."""

    code = "not-saved"
    title = "It cannot be saved"


@contextmanager
def saving(what: str, to: Path) -> Iterator[None]:
    """Raise NotSaved, with what to do, for an OSError while `what` is written below `to`."""
    try:
        yield
    except OSError as error:
        raise NotSaved(f"{to}: {what} cannot be saved ({_reason(error)}); {_advice(error)}") from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _advice(error: OSError) -> str:
    if error.errno in _NO_ROOM:
        return "make room there, and give the same command with --resume"
    return "put that right, and give the same command with --resume"


def replace_bytes(path: Path, body: bytes | memoryview) -> None:
    """Write a file in one step: a reader sees the old one or the new one, and a failure leaves the old one alone."""
    half = path.with_suffix(".half")
    try:
        half.write_bytes(body)
        half.replace(path)
    except BaseException:  # a full disk, or Ctrl-C
        half.unlink(missing_ok=True)
        raise
