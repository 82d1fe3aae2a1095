"""Whether an NVIDIA GPU is visible, and which of the libraries for it runs networks faster.

This project has not measured the two beside each other on a GPU: TensorFlow was never run on one.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from classifier.engines.keras_engine import Backend, keras_on

log = logging.getLogger(__name__)

LIBRARIES: tuple[Backend, ...] = ("tensorflow", "jax")
LONGEST_S = 180.0  # to import a library, to compile and to run

_SIDE, _BATCH, _SECONDS = 128, 64, 1.0  # of the pictures, of a batch, and of what is timed


def has_gpu() -> bool:
    """By the driver's device file and CUDA_VISIBLE_DEVICES, without importing a library."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "none", "void")
    return Path("/dev/nvidiactl").exists() and not hidden


def fastest_library() -> Backend | None:
    """The installed library; of two the one that KERAS_BACKEND names, or else the faster. None where there is none."""
    found = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    found = [name for name in found if name == os.environ.get("KERAS_BACKEND")] or found
    return max(found, key=images_per_s) if len(found) > 1 else next(iter(found), None)


@functools.cache
def images_per_s(library: Backend) -> float:
    """Images/s of a small network, measured once in a process of its own; 0 where it does not run."""
    command = (sys.executable, "-c", f"from classifier.engines.gpu import main; main({library!r})")
    environ = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    root = Path(__file__).parents[2]  # of the package, wherever that is installed
    try:
        said = subprocess.check_output(  # noqa: S603 (our own program)
            command, env=environ, cwd=root, timeout=LONGEST_S, stderr=subprocess.DEVNULL
        )
        found = float(said.split()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        log.warning("%s runs no network here: %s", library, error)
        return 0.0
    log.info("%s runs %.0f images/s of a small network here", library, found)
    return found


def main(library: Backend) -> None:
    """Print the images/s of this library, measured here."""
    sys.stdout.write(f"{_measured(library)}\n")


def _measured(library: Backend) -> float:
    keras = keras_on(library)
    convolutions = [keras.layers.Conv2D(width, 3, 2, activation="relu") for width in (32, 64, 128)]
    network = keras.Sequential([keras.Input((_SIDE, _SIDE, 3)), *convolutions, keras.layers.GlobalAveragePooling2D()])
    batch = np.zeros((_BATCH, _SIDE, _SIDE, 3), np.float32)
    network.predict_on_batch(batch)  # which compiles it
    began, images = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < _SECONDS:
        network.predict_on_batch(batch)
        images += _BATCH
    return images / seconds
