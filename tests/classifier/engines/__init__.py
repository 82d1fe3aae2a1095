"""The engines that this process can have: Keras has one backend in each, TensorFlow where KERAS_BACKEND is not jax."""

import os

KERAS_ENGINE = "jax" if os.environ.get("KERAS_BACKEND") == "jax" else "tensorflow"
ENGINES = ("openvino", KERAS_ENGINE)
