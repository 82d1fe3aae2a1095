"""TensorFlow's import without its start-up lines."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from classifier.errors import SightlineError

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


class TrainingUnavailable(SightlineError):
    """The libraries that train are not installed, or do not run on this machine."""

    code = "training-unavailable"
    title = "Training is not available"


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices, keeping back what it says meanwhile: nothing a person can act on.

    Call it before anything imports Keras. With TF_CPP_MIN_LOG_LEVEL=0 in the environment all is shown. Raises
    TrainingUnavailable.
    """
    os.environ.setdefault(_LEVEL, "2")
    if os.environ[_LEVEL] == "0":
        _import()
        return
    # The level alone does not help: 2.21 logs before it reads it (tensorflow/tensorflow#100442).
    with _stderr_in_a_file() as said:
        try:
            _import()
        except TrainingUnavailable:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise


def _import() -> None:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise TrainingUnavailable(f"TensorFlow cannot be imported ({error}); install sightline[train]") from error
    tf.config.list_physical_devices("GPU")  # it complains of a missing GPU here, not at its import


@contextmanager
def _stderr_in_a_file() -> Iterator[BinaryIO]:
    """What the process writes to file descriptor 2, Python or not, goes to the file."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
