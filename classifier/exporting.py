"""A version's network in the formats of other servers and of phones. Needs TensorFlow.

The exported network keeps the contract: uint8 [n, height, width, channels] in, float32 probabilities [n, classes] out,
and familiarity [n, 1] beside them where the card has one.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from classifier import store
from classifier.card import Card
from classifier.engines import Probabilities
from classifier.errors import EngineUnavailable, SightlineError
from classifier.images import Pixels, decode

Format = Literal["savedmodel", "tflite"]

MAX_DIFFERENCE = 1e-3  # as between float32 engines when a version is loaded


class OutputExists(SightlineError):
    """Something lies already where the export was to go; exports never overwrite."""

    code = "output-exists"
    title = "The output exists already"


class BadExport(SightlineError):
    """The exported network does not answer as the card promises; nothing was written."""

    code = "bad-export"
    title = "The export does not match"


def export(models: store.ModelStore, name: str, version: int | None, kind: Format, out: Path | None = None) -> Path:
    """Write a version as a SavedModel folder or a TFLite file and return where.

    `out` defaults to NAME-VERSION-savedmodel or NAME-VERSION.tflite in the current folder. What was written is run
    on sample.png and held to the card before it is moved there. Raises UnknownModel, BrokenModel, OutputExists,
    BadExport, or EngineUnavailable without TensorFlow.
    """
    card = models.verify(name, version)
    folder = models.folder(name, card.version)
    out = out or Path(f"{name}-{card.version}{_ENDINGS[kind]}")
    if out.exists():
        raise OutputExists(f"{out} exists; remove it or choose another place with --out")
    if not importlib.util.find_spec("tensorflow"):
        raise EngineUnavailable("exporting needs TensorFlow, which is not installed: install sightline[train]")
    write, answer = FORMATS[kind]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as draft:
        written = Path(draft) / out.name
        write(_load(folder / store.KERAS, models.read(card, store.KERAS)), card, written)
        _check(card, answer(written, decode(models.read(card, store.SAMPLE), card.input)[None])[0])
        shutil.move(written, out)
    return out


def _load(path: Path, body: bytes) -> Any:
    from classifier.engines.keras_engine import keras_on, load_network

    keras_on("tensorflow")
    return load_network(path, body)


def _write_savedmodel(network: Any, card: Card, out: Path) -> None:
    import keras

    signature = keras.InputSpec(shape=(None, *card.input.shape), dtype="uint8", name="pixels")
    network.export(out, format="tf_saved_model", verbose=False, input_signature=[signature])


def _write_tflite(network: Any, card: Card, out: Path) -> None:
    import tensorflow as tf

    saved = out.with_name(
        f"{out.name}.savedmodel"
    )  # given a tf.function instead, TensorFlow 2.21's converter wrote NaN
    _write_savedmodel(network, card, saved)
    out.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())


def _savedmodel_answer(path: Path, pixels_u8: Pixels) -> Probabilities:
    import tensorflow as tf

    network = tf.saved_model.load(str(path))  # must outlive the call: it holds the weights
    found = network.serve(pixels_u8)
    return _probabilities([output.numpy() for output in (found if isinstance(found, list | tuple) else [found])])


def _tflite_answer(path: Path, pixels_u8: Pixels) -> Probabilities:
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
        run = tf.lite.Interpreter(str(path)).get_signature_runner()
    return _probabilities(list(run(pixels=pixels_u8).values()))


def _probabilities(outputs: list[Probabilities]) -> Probabilities:
    """Of the outputs the one with a column per class, which are two at least; familiarity has one."""
    return next(output for output in outputs if output.shape[-1] > 1)


def _check(card: Card, probabilities: Probabilities) -> None:
    difference = float(np.abs(probabilities - np.asarray(card.sample.probabilities, np.float32)).max())
    if not difference <= MAX_DIFFERENCE:  # written so that NaN fails
        raise BadExport(f"{card.name} version {card.version}: the export's answer to sample.png is off by {difference}")


_ENDINGS: dict[Format, str] = {"savedmodel": "-savedmodel", "tflite": ".tflite"}
FORMATS: dict[Format, tuple[Callable[[Any, Card, Path], None], Callable[[Path, Pixels], Probabilities]]] = {
    "savedmodel": (_write_savedmodel, _savedmodel_answer),
    "tflite": (_write_tflite, _tflite_answer),
}
