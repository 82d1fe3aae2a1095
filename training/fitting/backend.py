"""The library under Keras, of which a process has one, imported without its start-up lines."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Literal

from classifier import provenance
from classifier.commands.stderr import LEVEL, stderr_kept_back
from classifier.engines import chosen_engine
from classifier.errors import SightlineError
from training.fitting.distributed.cluster import TF_CONFIG


class TrainingUnavailable(SightlineError):
    """The libraries that train are not installed, or do not run on this machine."""

    code = "training-unavailable"
    title = "Training is not available"


def on_jax() -> bool:
    """Whether Keras runs on JAX, as KERAS_BACKEND says: that trains, but saves no version."""
    return os.environ.get("KERAS_BACKEND") == "jax"


def check_jax() -> None:
    """Raise TrainingUnavailable, at once, where JAX is not installed."""
    if not importlib.util.find_spec("jax"):
        raise TrainingUnavailable('KERAS_BACKEND is jax, which is not installed: `pip install "sightline[jax]"`')


def import_to_train() -> None:
    """As `import_tensorflow`, but for JAX where Keras runs on that."""
    if not on_jax():
        import_tensorflow()
        return
    os.environ.setdefault(LEVEL, "2")  # XLA reads TensorFlow's
    with stderr_kept_back():
        import jax
        import keras

        jax.devices()
        keras.utils.set_random_seed(0)  # it imports TensorFlow too, where that is installed


@functools.cache
def this_machine() -> str:
    """What a fit runs on, as `NVIDIA H200, AMD EPYC 9R14, 16 cores, JAX 0.11.2`; TensorFlow is not named.

    Call it once the library is imported.
    """
    machine = provenance.of_this_run().machine
    if on_jax():
        import jax

        device = jax.devices()[0]
        named = f"{machine}, JAX {jax.__version__}"
        return named if device.platform == "cpu" else f"{device.device_kind}, {named}"
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return f"{tf.config.experimental.get_device_details(gpus[0])['device_name']}, {machine}" if gpus else machine


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices, keeping back what it says meanwhile: nothing a person can act on.

    Call it before anything imports Keras. With TF_CPP_MIN_LOG_LEVEL=0 in the environment all is shown. Raises
    TrainingUnavailable.
    """
    if (backend := os.environ.get("KERAS_BACKEND") or "tensorflow") != "tensorflow":
        raise TrainingUnavailable(
            f"this runs on TensorFlow, and KERAS_BACKEND is {backend}; unset it (only `fit RECIPE` runs on JAX too)"
        )
    os.environ.setdefault(LEVEL, "3" if os.environ.get(TF_CONFIG) else "2")  # a lost worker has a line of ours
    with stderr_kept_back():
        _import()


def import_tensorflow_to_answer(engine: Literal["auto", "openvino", "tensorflow", "jax"] = "auto") -> None:
    """As `import_tensorflow`, where that is the engine that is to answer, as set or by default."""
    if chosen_engine(engine) == "tensorflow":
        import_tensorflow()


def _import() -> None:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise TrainingUnavailable(f"TensorFlow cannot be imported ({error}); install sightline[train]") from error
    tf.config.list_physical_devices("GPU")  # it complains of a missing GPU here, not at its import
