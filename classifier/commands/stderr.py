"""Keeps back what native libraries write to stderr: nothing that a person can act on, unless something fails."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's own; 0 shows all


@contextmanager
def stderr_kept_back() -> Iterator[None]:
    """Drop what the process writes to file descriptor 2 meanwhile, Python or not; an exception brings it back.

    The level alone does not help: TensorFlow 2.21 logs before it reads it (tensorflow/tensorflow#100442). With level 0
    in the environment all is shown.
    """
    if os.environ.get(LEVEL) == "0":
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            file.seek(0)
            os.write(stderr, file.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
