"""Promises of `classifier.engines`, held by all engines alike: one contract, one answer.

JAX keeps them in a process of its own, which `test_jax.py` starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import store
from classifier.engines import (
    Engine,
    EngineOptions,
    batch_sizes,
    bucket_size,
    default_engine,
    gpu,
    open_engine,
    padded,
)
from classifier.engines.agreement import close_enough
from classifier.errors import BrokenModel, EngineUnavailable
from classifier.store import ModelStore
from tests.classifier.engines import ENGINES, KERAS_ENGINE
from tests.tiny_models import COLOUR, GREY, passed_check

FILES = {"openvino": store.ONNX, KERAS_ENGINE: store.KERAS}


def batch(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, 8, 8, 3), np.uint8)


def open_tiny(models: ModelStore, name: str = COLOUR, **options: Any) -> Engine:
    options = {"precision": "float32"} | options
    return open_engine(models.card(name), models.folder(name), EngineOptions(**options))


@pytest.fixture(scope="module", params=ENGINES)
def engine(models: ModelStore, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_tiny(models, engine=request.param, streams=2)
    yield engine
    engine.close()


@pytest.fixture(params=ENGINES)
def own_engine(models: ModelStore, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine that a test may close."""
    engine = open_tiny(models, engine=request.param, streams=2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def keras_network(models: ModelStore) -> Any:
    import keras

    return keras.saving.load_model(models.folder(COLOUR) / store.KERAS)


# Answers


@pytest.mark.parametrize("size", [1, 2, 7])
def test_answers_are_those_of_keras_in_float32(engine, keras_network, size):
    pixels = batch(size, seed=size)
    probabilities = engine.infer(pixels)
    assert (probabilities.shape, probabilities.dtype) == ((size, 3), np.float32)
    np.testing.assert_allclose(probabilities, np.asarray(keras_network(pixels)), atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_grey_networks_run_too(models, engine_name):
    engine = open_tiny(models, GREY, engine=engine_name)
    probabilities = engine.infer(np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8))
    engine.close()
    assert probabilities.shape == (3, 4)


def test_answers_do_not_depend_on_how_the_pixels_lie_in_memory(engine):
    pixels = batch(4)
    mirrored = pixels[:, :, ::-1]
    np.testing.assert_array_equal(engine.infer(mirrored), engine.infer(mirrored.copy()))
    pixels.flags.writeable = False
    np.testing.assert_array_equal(engine.infer(pixels), engine.infer(pixels.copy()))


def test_answers_belong_to_the_caller(engine):
    first = engine.infer(batch(2, seed=1))
    kept = first.copy()
    engine.infer(batch(2, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_every_thread_gets_the_answers_to_its_own_pixels(engine):
    batches = [batch(1 + seed % 5, seed) for seed in range(200)]
    alone = [engine.infer(pixels) for pixels in batches]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(engine.infer, batches))
        submitted = [future.result(10).probabilities for future in threads.map(engine.submit, batches)]
    for expected, inferred, later in zip(alone, together, submitted, strict=True):
        np.testing.assert_allclose(inferred, expected, atol=1e-6)
        np.testing.assert_allclose(later, expected, atol=1e-6)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((1, 8, 8, 3), np.float32), id="floats"),
        pytest.param(np.zeros((8, 8, 3), np.uint8), id="one image without a batch"),
        pytest.param(np.zeros((1, 8, 8, 1), np.uint8), id="another number of channels"),
        pytest.param(np.zeros((0, 8, 8, 3), np.uint8), id="no images"),
    ],
)
def test_other_pixels_are_a_mistake_of_the_program(engine, pixels):
    with pytest.raises(ValueError, match=r"expected uint8 \[1 or more, 8, 8, 3\], got"):
        engine.submit(pixels)
    assert engine.infer(batch(1)).shape == (1, 3)


def test_a_caller_who_loses_interest_disturbs_nobody(engine):
    futures = [engine.submit(batch(2, seed)) for seed in range(20)]
    for future in futures[::2]:
        future.cancel()
    for future in futures[1::2]:
        assert future.result(10).probabilities.shape == (2, 3)
    assert engine.infer(batch(1)).shape == (1, 3)


def test_engines_say_how_they_run(engine):
    assert engine.name in ENGINES
    most = len(os.sched_getaffinity(0)) if engine.name == "openvino" else 2  # which has no more streams than processors
    assert (engine.precision, engine.streams) == ("float32", min(2, most))
    assert engine.device


# Sizes of batches


def test_batches_come_in_few_sizes():
    assert [bucket_size(images) for images in range(10)] == [0, 1, 2, 2, 4, 4, 4, 4, 8, 8]
    assert sorted({bucket_size(images) for images in range(1, 65)}) == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("images", [0, 1, 5, 63, 64, 1000])
def test_a_whole_batch_is_more_than_half_of_what_there_is(images):
    assert images <= 2 * bucket_size(images) <= 2 * images


# Padding


@pytest.mark.parametrize(
    ("images", "most", "size"), [(1, 8, 1), (2, 8, 2), (3, 8, 4), (5, 8, 8), (5, 6, 6), (8, 8, 8), (9, 8, 9)]
)
def test_batches_are_padded_to_the_next_power_of_two_or_the_largest_batch(images, most, size):
    pixels = batch(images)
    larger = padded(pixels, most)
    assert (len(larger), larger.dtype) == (size, np.uint8)
    np.testing.assert_array_equal(larger[:images], pixels)
    assert not larger[images:].any()


@pytest.mark.parametrize(("most", "sizes"), [(1, (1,)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))])
def test_padded_batches_have_these_sizes(most, sizes):
    assert batch_sizes(most) == sizes
    assert {len(padded(batch(images), most)) for images in range(1, most + 1)} == set(sizes)


def test_black_pictures_after_a_batch_change_none_of_its_answers(engine):
    pixels = batch(5)
    np.testing.assert_allclose(engine.infer(padded(pixels, 8))[:5], engine.infer(pixels), atol=1e-6)


# Closing


def test_closing_lets_running_batches_finish(own_engine):
    futures = [own_engine.submit(batch(8, seed)) for seed in range(20)]
    own_engine.close()
    assert all(future.done() and future.result().probabilities.shape == (8, 3) for future in futures)


def test_closing_twice_is_closing_once(own_engine):
    own_engine.close()
    own_engine.close()


def test_a_closed_engine_says_so_and_never_hangs(own_engine):
    own_engine.close()
    for ask in (own_engine.infer, own_engine.submit, own_engine.infer):
        with pytest.raises(EngineUnavailable, match="closed"):
            ask(batch(1))


def test_who_asks_while_the_engine_closes_gets_an_answer_or_an_error(own_engine):
    outcomes = []
    started = threading.Barrier(9)

    def ask_until_closed() -> None:
        started.wait()
        try:
            while True:
                assert own_engine.infer(batch(2)).shape == (2, 3)
        except EngineUnavailable:
            outcomes.append("refused")

    threads = [threading.Thread(target=ask_until_closed, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.05)
    own_engine.close()
    for thread in threads:
        thread.join(10)
    assert outcomes == ["refused"] * 8


# The card


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"labels": ("red", "green")}, id="fewer labels"),
        pytest.param({"labels": ("red", "green", "blue", "black")}, id="more labels"),
        pytest.param({"input": {"height": 9}}, id="another height"),
        pytest.param({"input": {"width": 7}}, id="another width"),
        pytest.param({"input": {"channels": 1}}, id="another number of channels"),
    ],
)
def test_a_network_that_does_not_fit_its_card_is_broken(models, engine_name, changes):
    card = models.card(COLOUR)
    if "input" in changes:
        changes = {"input": card.input.model_copy(update=changes["input"])}
    with pytest.raises(BrokenModel, match=rf"{FILES[engine_name]}: the card promises .* the network has"):
        open_engine(card.model_copy(update=changes), models.folder(COLOUR), EngineOptions(engine=engine_name))


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("body", [b"", b"not a network", None], ids=["empty", "text", "half"])
def test_a_damaged_network_is_broken_and_the_file_is_named(own_models, engine_name, body):
    path = own_models.folder(COLOUR) / FILES[engine_name]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if body is None else body)
    with pytest.raises(BrokenModel, match=f"{COLOUR}/2/{path.name}: "):
        open_tiny(own_models, engine=engine_name)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_missing_network_is_broken(own_models, engine_name):
    (own_models.folder(COLOUR) / FILES[engine_name]).unlink()
    with pytest.raises(BrokenModel, match=FILES[engine_name]):
        open_tiny(own_models, engine=engine_name)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_each_engine_needs_its_own_file_only(own_models, tmp_path, engine_name):
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(own_models.folder(COLOUR) / FILES[engine_name], folder)
    engine = open_engine(own_models.card(COLOUR), folder, EngineOptions(engine=engine_name, precision="float32"))
    assert engine.infer(batch(1)).shape == (1, 3)
    engine.close()


@pytest.mark.parametrize("engine_name", [KERAS_ENGINE])
def test_a_network_that_cannot_run_at_the_sizes_it_is_warmed_at_is_broken(own_models, engine_name):
    import keras

    title, odd = {"tensorflow": ("TensorFlow", 5), "jax": ("JAX", 1)}[engine_name]  # JAX pads others to even ones
    pixels = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.ops.reshape(keras.layers.Rescaling(1 / 255)(pixels), (-1, 2 * 192))  # pairs: an odd batch does not fit
    x = keras.ops.reshape(keras.ops.softmax(x), (-1, 192))
    network = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))
    network.save(own_models.folder(COLOUR) / store.KERAS)
    open_tiny(own_models, engine=engine_name, warm_batch_sizes=(2,)).close()
    with pytest.raises(BrokenModel, match=rf"model\.keras: {title} cannot run it"):
        open_tiny(own_models, engine=engine_name, warm_batch_sizes=(2, odd))


# Precision


@pytest.mark.parametrize("engine_name", [KERAS_ENGINE])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_stay_within_five_hundredths_of_float32(models, engine_name, precision):
    pixels = batch(64)
    exact = open_tiny(models, engine=engine_name)
    reduced = open_tiny(models, engine=engine_name, precision=precision)
    difference = np.abs(exact.infer(pixels) - reduced.infer(pixels)).max()
    assert reduced.precision == precision
    assert 0 < difference <= 0.05
    np.testing.assert_allclose(reduced.infer(pixels).sum(axis=1), 1, atol=1e-6)  # the last layer stays in float32
    exact.close()
    reduced.close()


@pytest.mark.parametrize("engine_name", ENGINES)
def test_auto_stays_in_float32_where_nobody_compared(models, engine_name):
    engine = open_tiny(models, engine=engine_name, precision="auto")
    engine.close()
    assert engine.precision == "float32"


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        pytest.param({}, True, id="nothing changed"),
        pytest.param({"same_top_class": 0.9991, "accuracy": 0.4991}, True, id="within a thousandth"),
        pytest.param({"accuracy": 0.5009}, True, id="a little better"),
        pytest.param({"accuracy": 0.8455, "reference_accuracy": 0.8445}, True, id="two images of two thousand"),
        pytest.param({"same_top_class": 0.998}, False, id="other answers"),
        pytest.param({"accuracy": 0.498}, False, id="worse"),
        pytest.param({"accuracy": 0.502}, False, id="better by chance"),
        pytest.param({"images": 999}, False, id="too few images to tell"),
        pytest.param({"images": 24}, False, id="as few as a small set of photos has"),
        pytest.param({"sample_difference": None}, True, id="an older card: loading finds out"),
        pytest.param({"sample_difference": 0.05}, True, id="the sample within what loading allows"),
        pytest.param({"sample_difference": 0.0501}, False, id="the sample beyond what loading allows"),
        pytest.param({"sample_difference": 0.08, "images": 5000}, False, id="the sample far off, on many images"),
    ],
)
def test_a_reduced_precision_is_chosen_only_where_answers_stay_the_same(changes, allowed):
    assert close_enough(passed_check("openvino", "bfloat16").model_copy(update=changes)) is allowed


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        pytest.param({"accuracy": 0.503}, True, id="three thousandths better"),
        pytest.param({"accuracy": 0.497, "same_top_class": 0.99}, True, id="three thousandths worse"),
        pytest.param({"accuracy": 0.4969}, False, id="worse"),
        pytest.param({"same_top_class": 0.989}, False, id="other answers"),
        pytest.param({"same_verdict": 0.989}, False, id="another word on familiarity"),
        pytest.param({"images": 999}, False, id="too few images to tell"),
        pytest.param({"sample_difference": 0.06}, False, id="the sample beyond what loading allows"),
    ],
)
def test_int8_may_change_a_little_more_since_somebody_asked_for_it(changes, allowed):
    assert close_enough(passed_check("openvino", "int8").model_copy(update=changes)) is allowed


def test_without_a_comparison_no_precision_is_close_enough():
    assert not close_enough(None)


# Choosing


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the machine look as if it had an NVIDIA GPU or none, and these libraries, each with its images/s."""

    def pretend(*, has: bool, speeds: dict[str, float] | None = None, **environ: str) -> None:
        speeds = {"tensorflow": 1.0} if speeds is None else speeds
        monkeypatch.setattr(Path, "exists", lambda path: has and path.name == "nvidiactl")
        monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: name if name in speeds else None)
        monkeypatch.setattr(gpu, "images_per_s", speeds.__getitem__)
        for name in ("CUDA_VISIBLE_DEVICES", "KERAS_BACKEND"):
            monkeypatch.delenv(name, raising=False)
        for name, text in environ.items():
            monkeypatch.setenv(name, text)

    return pretend


def test_a_machine_without_gpu_gets_openvino(machine):
    machine(has=False)
    assert default_engine() == "openvino"


@pytest.mark.parametrize("library", ["tensorflow", "jax"])
@pytest.mark.parametrize("environ", [{}, *({"CUDA_VISIBLE_DEVICES": text} for text in ("0", "1,2", "GPU-8932f937"))])
def test_a_visible_gpu_gets_the_library_that_is_installed(machine, environ, library):
    machine(has=True, speeds={library: 1.0}, **environ)
    assert default_engine() == library


@pytest.mark.parametrize(("tensorflow", "jax", "faster"), [(2.0, 1.0, "tensorflow"), (1.0, 2.0, "jax")])
def test_of_two_libraries_the_faster_is_taken(machine, tensorflow, jax, faster):
    machine(has=True, speeds={"tensorflow": tensorflow, "jax": jax})
    assert default_engine() == faster


@pytest.mark.parametrize("named", ["tensorflow", "jax"])
def test_of_two_libraries_the_one_is_taken_that_keras_is_set_to(machine, named):
    machine(has=True, speeds={"tensorflow": 1.0, "jax": 1.0}, KERAS_BACKEND=named)
    assert default_engine() == named


@pytest.mark.parametrize("visible", ["", "-1", "none", "void"])
def test_a_gpu_that_is_hidden_does_not_count(machine, visible):
    machine(has=True, CUDA_VISIBLE_DEVICES=visible)
    assert default_engine() == "openvino"


def test_a_gpu_without_a_library_for_it_gets_openvino(machine):
    machine(has=True, speeds={})
    assert default_engine() == "openvino"


@pytest.mark.slow
def test_the_speed_of_a_library_is_measured_in_a_process_of_its_own():
    assert gpu.images_per_s(KERAS_ENGINE) > 0


def test_a_library_that_runs_nothing_has_no_speed(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert gpu.images_per_s.__wrapped__("jax") == 0


@pytest.mark.parametrize("engine_name", [KERAS_ENGINE])
def test_a_library_that_is_not_installed_is_an_error_that_says_what_to_install(models, monkeypatch, engine_name):
    open_tiny(models, engine=engine_name).close()  # so that Keras has its backend
    monkeypatch.setitem(sys.modules, engine_name, None)
    monkeypatch.delitem(sys.modules, f"classifier.engines.{engine_name}")
    with pytest.raises(EngineUnavailable, match=r"install sightline\[(train|jax)\], or sightline\[gpu(-jax)?\]"):
        open_tiny(models, engine=engine_name)


def test_two_backends_of_keras_are_refused_in_one_process(models, keras_network):
    other = "tensorflow" if KERAS_ENGINE == "jax" else "jax"
    with pytest.raises(EngineUnavailable, match=f"or set KERAS_BACKEND={other} before this one starts"):
        open_tiny(models, engine=other)


@pytest.mark.parametrize("options", [{"streams": -1}, {"warm_batch_sizes": (1, 0)}])
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValueError, match="or more"):
        EngineOptions(**options)


@pytest.mark.slow
def test_serving_on_a_cpu_imports_no_library_of_training(tiny_models_root):
    script = f"""
import sys
from pathlib import Path
from classifier.engines import EngineOptions
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
model = LoadedModel.open(ModelStore(Path({str(tiny_models_root)!r})), {COLOUR!r}, options=EngineOptions("openvino"))
assert model.predict(model.sample)
assert "openvino" in sys.modules
for library in ("tensorflow", "jax", "keras", "tf2onnx", "onnx", "matplotlib"):
    assert library not in sys.modules, library
"""  # and leaves without closing, as a server that is killed does
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
