"""Promises of `classifier.engines.openvino` alone."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from classifier import store
from classifier.engines import EngineOptions, open_engine
from classifier.engines import openvino as module
from classifier.engines.openvino import OpenVinoEngine, supports_bfloat16
from classifier.errors import BrokenModel, EngineUnavailable
from tests.tiny_models import COLOUR, add_int8, passed_check, tiny_card

has_bfloat16 = pytest.mark.skipif(not supports_bfloat16(), reason="this processor has no native bfloat16")

RNG = np.random.default_rng(0)


def options(**changes: object) -> EngineOptions:
    return EngineOptions(**({"engine": "openvino", "precision": "float32"} | changes))


@pytest.fixture
def compiled(monkeypatch) -> list[tuple[ov.Model, ov.CompiledModel]]:
    """What OpenVINO is given to compile and what it makes of it: for many batches at once, then for an image alone."""
    made, compile_model = [], ov.Core.compile_model

    def noted(core, network, *how):
        made.append((network.clone(), compile_model(core, network, *how)))
        return made[-1][1]

    monkeypatch.setattr(ov.Core, "compile_model", noted)
    return made


@has_bfloat16
def test_bfloat16_stays_within_five_hundredths_of_float32(models):
    card, folder = models.card(COLOUR), models.folder(COLOUR)
    pixels = RNG.integers(0, 256, (64, 8, 8, 3), np.uint8)
    answers = {}
    for precision in ("float32", "bfloat16"):
        engine = open_engine(card, folder, options(precision=precision))
        assert engine.precision == precision
        answers[precision] = engine.infer(pixels)
        engine.close()
    difference = np.abs(answers["float32"] - answers["bfloat16"]).max()
    assert 0 < difference <= 0.05  # 0 would mean that the hint was ignored
    np.testing.assert_allclose(answers["bfloat16"].sum(axis=1), 1, atol=1e-5)


@has_bfloat16
def test_auto_takes_bfloat16_where_a_comparison_allows_it(models):
    card = models.card(COLOUR).model_copy(update={"checks": (passed_check("openvino", "bfloat16"),)})
    engine = open_engine(card, models.folder(COLOUR), options(precision="auto"))
    engine.close()
    assert engine.precision == "bfloat16"


def test_auto_stays_in_float32_on_a_processor_without_bfloat16(models, monkeypatch):
    monkeypatch.setattr(module, "supports_bfloat16", lambda: False)
    card = models.card(COLOUR).model_copy(update={"checks": (passed_check("openvino", "bfloat16"),)})
    engine = open_engine(card, models.folder(COLOUR), options(precision="auto"))
    engine.close()
    assert engine.precision == "float32"


def test_bfloat16_that_the_processor_does_not_have_is_refused_in_words(models, monkeypatch):
    monkeypatch.setattr(module, "supports_bfloat16", lambda: False)
    with pytest.raises(EngineUnavailable, match="choose float32 or auto"):
        open_engine(models.card(COLOUR), models.folder(COLOUR), options(precision="bfloat16"))


def test_float16_is_refused_in_words(models):
    with pytest.raises(EngineUnavailable, match="choose bfloat16 or float32"):
        open_engine(models.card(COLOUR), models.folder(COLOUR), options(precision="float16"))


@pytest.fixture
def with_int8(own_models, monkeypatch):
    """Version 2, whose int8 network is that of version 1, on a processor that is made for int8."""
    monkeypatch.setattr(module, "supports_int8", lambda: True)
    add_int8(own_models, COLOUR, of_version=1)
    return own_models


def answers_of(models, version, precision):
    """The precision that runs, and the answers to four images."""
    engine = open_engine(models.card(COLOUR, version), models.folder(COLOUR, version), options(precision=precision))
    answers = engine.infer(np.random.default_rng(5).integers(0, 256, (4, 8, 8, 3), np.uint8))
    engine.close()
    return engine.precision, answers


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_int8_is_read_from_its_own_file_where_a_comparison_allows_it(with_int8, precision):
    found, answers = answers_of(with_int8, 2, precision)
    assert found == "int8"
    np.testing.assert_array_equal(answers, answers_of(with_int8, 1, "float32")[1])


def test_a_version_with_int8_still_answers_in_float32(with_int8):
    found, answers = answers_of(with_int8, 2, "float32")
    assert found == "float32"
    assert np.abs(answers - answers_of(with_int8, 1, "float32")[1]).max() > 0.01


def test_auto_stays_in_float32_on_a_processor_that_is_not_made_for_int8(with_int8, monkeypatch):
    monkeypatch.setattr(module, "supports_int8", lambda: False)
    monkeypatch.setattr(module, "supports_bfloat16", lambda: False)
    assert answers_of(with_int8, 2, "auto")[0] == "float32"
    with pytest.raises(EngineUnavailable, match="neither VNNI nor AMX"):
        answers_of(with_int8, 2, "int8")


def test_int8_that_a_version_does_not_have_is_refused_in_words(with_int8):
    with pytest.raises(EngineUnavailable, match="tiny-colour version 1 is not int8; `sightline quantize` makes one"):
        answers_of(with_int8, 1, "int8")


@pytest.mark.parametrize(
    ("flags", "made_for_it"),
    [("avx512f avx512_vnni", True), ("avx2 avx_vnni", True), ("amx_int8", True), ("avx2 avx512_bf16", False)],
)
def test_the_processor_is_asked_whether_it_is_made_for_int8(monkeypatch, flags, made_for_it):
    monkeypatch.setattr(Path, "read_text", lambda *_: f"flags\t\t: fpu {flags} sse\n")
    assert module.supports_int8() is made_for_it


def test_openvino_chooses_how_many_batches_run_at_once_unless_set_otherwise(models):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(streams=0))
    engine.close()
    assert 1 <= engine.streams <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("images", [1, 5])
def test_a_batch_alone_gets_the_answers_of_one_in_company(models, images):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(streams=2))
    pixels = RNG.integers(0, 256, (images, 8, 8, 3), np.uint8)
    in_company = [engine.submit(pixels) for _ in range(2)]
    np.testing.assert_allclose(
        engine.submit(pixels, alone=True).result().probabilities, in_company[0].result().probabilities, atol=1e-6
    )
    np.testing.assert_array_equal(in_company[0].result().probabilities, in_company[1].result().probabilities)
    engine.close()


@pytest.mark.parametrize("streams", [1, 2, 1000])
def test_streams_are_as_many_as_wanted_and_no_more_than_processors(models, streams):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(streams=streams))
    engine.close()
    assert engine.streams == min(streams, len(os.sched_getaffinity(0)))


def test_a_full_engine_makes_the_next_caller_wait(models):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(streams=1))
    pixels = RNG.integers(0, 256, (20_000, 8, 8, 3), np.uint8)
    first = engine.submit(pixels)
    second = engine.submit(pixels[:1])
    assert first.done()
    assert second.result(10).probabilities.shape == (1, 3)
    engine.close()


def test_every_stream_is_warm_when_the_engine_is_handed_out(models, monkeypatch):
    sizes, submit = [], OpenVinoEngine.submit

    def noted(engine, pixels_u8, *, alone=False):
        sizes.append((len(pixels_u8), alone))
        return submit(engine, pixels_u8, alone=alone)

    monkeypatch.setattr(OpenVinoEngine, "submit", noted)
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(warm_batch_sizes=(1, 4)))
    engine.close()
    together = [False] * engine.streams
    assert sizes == [*((1, alone) for alone in [*together, True]), *((4, alone) for alone in together)]


def test_streams_go_to_any_processor_and_an_image_alone_stays_on_its_own(models, compiled):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    pinned = [runs.get_property("ENABLE_CPU_PINNING") for _, runs in compiled]
    engine.close()
    assert pinned == [False, True]


def test_an_image_alone_has_a_network_of_just_its_shape(models, compiled):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    together, alone = (runs.inputs[0] for _, runs in compiled)
    engine.close()
    assert (together.partial_shape.is_static, alone.partial_shape.to_shape()) == (False, [1, 8, 8, 3])


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=has_bfloat16)])
def test_the_precision_reported_is_the_one_that_runs(models, precision, compiled):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(precision=precision))
    steps = [step.get_rt_info() for _, runs in compiled for step in runs.get_runtime_model().get_ops()]
    runs = {step["runtimePrecision"].value for step in steps if step["layerType"].value == "Convolution"}
    engine.close()
    assert (engine.precision, runs) == (precision, {"float32": {"f32"}, "bfloat16": {"bf16"}}[precision])


@pytest.mark.parametrize(
    ("factor", "shift"), [(1 / 255, 0.0), (2.0, 0.0), (1 / 255, 0.5)], ids=["scaled", "enlarged", "scaled and shifted"]
)
def test_a_version_that_scales_its_pixels_before_the_first_convolution_answers_too(tmp_path, factor, shift):
    path = tmp_path / store.ONNX
    expected = save_network_that_scales(path, factor, shift)
    engine = open_engine(tiny_card(), tmp_path, options())
    pixels = RNG.integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(engine.infer(pixels), expected(pixels), atol=1e-5)
    np.testing.assert_allclose(engine.infer(pixels[:1]), expected(pixels[:1]), atol=1e-5)
    engine.close()


def save_network_that_scales(path: Path, factor: float, shift: float) -> Callable[[np.ndarray], np.ndarray]:
    """An ONNX network that begins as exported ones do: cast, multiply, add, transpose, convolve; its answers."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    weights = np.random.default_rng(1).normal(0, 0.1 / factor / 255, (3, 3, 8, 8)).astype(np.float32)
    constants = [
        helper.make_tensor("factor", types.FLOAT, [], [factor]),
        helper.make_tensor("shift", types.FLOAT, [], [shift]),
        helper.make_tensor("weights", types.FLOAT, weights.shape, weights.ravel()),
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=types.FLOAT),
        helper.make_node("Mul", ["floats", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Transpose", ["shifted"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels_first", "weights"], ["scores"]),
        helper.make_node("Flatten", ["scores"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "scales",
        [helper.make_tensor_value_info("x", types.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("y", types.FLOAT, ["n", 3])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def expected(pixels_u8: np.ndarray) -> np.ndarray:
        scores = np.einsum("nhwc,ochw->no", pixels_u8.astype(np.float64) * factor + shift, weights)
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    return expected


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process")
def test_a_batch_that_memory_is_short_for_is_said_to_be_and_smaller_ones_are_answered(tiny_models_root):
    script = f"""
import resource
from pathlib import Path
import numpy as np
from classifier.engines import EngineOptions, open_engine
from classifier.errors import OutOfMemory
from classifier.store import ModelStore
models = ModelStore(Path({str(tiny_models_root)!r}))
engine = open_engine(models.card({COLOUR!r}), models.folder({COLOUR!r}), EngineOptions("openvino", "float32", 1))
pixels = np.zeros((1_000_000, 8, 8, 3), np.uint8)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
assert isinstance(engine.submit(pixels).exception(60), OutOfMemory)
try:
    engine.infer(pixels)
except OutOfMemory:
    pass
else:
    raise AssertionError("it fitted")
assert engine.infer(pixels[:4]).shape == (4, 3)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")


def save_fragile_network(path: Path) -> None:
    """Runs where the number of images is odd and the first pixel black; all else cannot be reshaped while it runs."""
    numbers = {"pair": [2 * 192], "rest": [-1], "one": [1], "zeros": [0] * 4, "ones": [1] * 4, "images": [-1, 192]}
    steps = [
        ("Cast", "x", "floats", {"to": 1}),
        ("Slice", "floats zeros ones", "first_pixel", {}),
        ("Sub", "first_pixel first_pixel", "black", {}),
        ("Expand", "black shape", "one_black", {}),
        ("Concat", "floats one_black", "one_more", {"axis": 0}),
        ("Reshape", "first_pixel one", "flat", {}),
        ("Cast", "flat", "brightness", {"to": 7}),
        ("Add", "brightness one", "times", {}),
        ("Mul", "pair times", "width", {}),
        ("Concat", "rest width", "pairs", {"axis": 0}),
        ("Reshape", "one_more pairs", "in_pairs", {}),
        ("Softmax", "in_pairs", "mixed", {"axis": 1}),
        ("Reshape", "mixed images", "each", {}),
        ("Slice", "each first last", "scores", {}),
        ("Softmax", "scores", "y", {"axis": 1}),
    ]
    save_onnx(path, steps, numbers | {"shape": [1, 8, 8, 3], "first": [0, 0], "last": [-1, 3]})


def save_network_for_pairs(path: Path) -> None:
    """No number of images fits but an even one."""
    steps = [
        ("Cast", "x", "floats", {"to": 1}),
        ("Reshape", "floats pairs", "in_pairs", {}),
        ("Reshape", "in_pairs images", "each", {}),
        ("Slice", "each first third columns", "y", {}),
    ]
    numbers = {"pairs": [-1, 2 * 192], "images": [-1, 192], "first": [0], "third": [3], "columns": [1]}
    save_onnx(path, steps, numbers)


def save_network_of_one_number(path: Path) -> None:
    """Multiplies the mean of all pixels with 2, and that with a row of which the first three numbers count: 0, 1, 2."""
    steps = [
        ("Cast", "x", "floats", {"to": 1}),
        ("Reshape", "floats images", "each", {}),
        ("ReduceMean", "each", "mean", {"axes": [1]}),
        ("Cast", "two", "number", {"to": 1}),
        ("Reshape", "number one_number", "factor", {}),
        ("MatMul", "mean factor", "twice", {}),
        ("Cast", "weights", "row", {"to": 1}),
        ("Reshape", "row one_row", "matrix", {}),
        ("MatMul", "twice matrix", "products", {}),
        ("Slice", "products first third columns", "scores", {}),
        ("Softmax", "scores", "y", {"axis": 1}),
    ]
    numbers = {"images": [-1, 192], "two": [2], "one_number": [1, 1], "weights": list(range(145)), "one_row": [1, 145]}
    save_onnx(path, steps, numbers | {"first": [0], "third": [3], "columns": [1]})


def save_onnx(path: Path, steps: list[tuple[str, str, str, dict[str, Any]]], numbers: dict[str, list[int]]) -> None:
    """From x, uint8 [n, 8, 8, 3], to y, float32 [n, 3], by steps: operator, inputs, output, attributes."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node(operator, inputs.split(), [output], **how) for operator, inputs, output, how in steps],
        "network",
        [helper.make_tensor_value_info("x", types.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("y", types.FLOAT, ["n", 3])],
        [helper.make_tensor(name, types.INT64, [len(value)], value) for name, value in numbers.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


BLACK = np.zeros((3, 8, 8, 3), np.uint8)


def failing(level: int, images: int = 3) -> np.ndarray:
    """Of a level each time: OpenVINO 2026.4 does not infer a shape anew from the numbers it has just failed on."""
    return np.full((images, 8, 8, 3), level, np.uint8)


@pytest.mark.parametrize("streams", [1, 2])
def test_callers_of_runs_that_fail_get_the_error_and_nobody_waits_for_ever(tmp_path, streams):
    save_fragile_network(tmp_path / store.ONNX)
    engine = open_engine(tiny_card(), tmp_path, options(streams=streams))
    for run in [engine.submit(failing(level)) for level in (101, 102, 103)]:
        assert isinstance(run.exception(10), RuntimeError)
    # Seen in OpenVINO 2026.4: a stream whose run failed may fail the next one too. That one ends as well.
    assert [engine.submit(BLACK).exception(10) for _ in range(3)]
    for images in (1, 3):
        with pytest.raises(RuntimeError):
            engine.infer(failing(110 + images, images))
    last = engine.submit(failing(120))
    engine.close()  # waits for a failure as for any other end
    assert last.done()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="confines a process to one processor")
def test_a_run_that_fails_on_the_only_processor_does_not_give_the_last_answer(tmp_path):
    save_fragile_network(tmp_path / store.ONNX)
    script = f"""
import os
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
from pathlib import Path
from tests.classifier.engines.test_openvino import BLACK, failing, open_engine, options, tiny_card
engine = open_engine(tiny_card(), Path({str(tmp_path)!r}), options())
assert engine.infer(BLACK[:1]).shape == (1, 3)
for level, images in enumerate((1, 3, 1, 3, 1), 101):
    try:
        engine.infer(failing(level, images))
    except RuntimeError:
        continue
    raise AssertionError("the failure was lost")
engine.close()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_network_that_cannot_run_at_the_sizes_it_is_warmed_at_is_broken(tmp_path):
    save_fragile_network(tmp_path / store.ONNX)
    with pytest.raises(BrokenModel, match=r"model\.onnx: OpenVINO cannot run it: .*reshape"):
        open_engine(tiny_card(), tmp_path, options(warm_batch_sizes=(1, 2)))


def test_a_network_that_no_single_image_fits_is_broken(tmp_path):
    save_network_for_pairs(tmp_path / store.ONNX)
    with pytest.raises(BrokenModel, match=r"model\.onnx: OpenVINO cannot load it for one image: "):
        open_engine(tiny_card(), tmp_path, options(warm_batch_sizes=(2,)))


def test_on_one_processor_a_network_that_multiplies_one_number_with_a_row_answers_too(tmp_path, monkeypatch, compiled):
    monkeypatch.setattr(module, "usable_processors", lambda: 1)
    save_network_of_one_number(tmp_path / store.ONNX)
    engine = open_engine(tiny_card(), tmp_path, options(warm_batch_sizes=(1, 2)))
    assert {made.get_property("INFERENCE_NUM_THREADS") for _, made in compiled} == {1}
    pixels = np.repeat(np.array([0, 1, 2], np.uint8), 192).reshape(3, 8, 8, 3)
    powers = np.exp(2.0 * np.arange(3)[:, None] * np.arange(3))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(engine.infer(pixels), expected, atol=1e-6)
    for i in range(3):
        np.testing.assert_allclose(engine.infer(pixels[i : i + 1]), expected[i : i + 1], atol=1e-6)
    engine.close()


def test_a_closed_engine_leaves_no_memory_and_no_thread_behind(models):
    before = set(threading.enumerate())
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    engine.infer(np.zeros((1, 8, 8, 3), np.uint8))
    threads = {thread for thread in set(threading.enumerate()) - before if thread.name == "openvino"}
    assert len(threads) == engine.max_in_flight + 1
    gone = weakref.ref(engine)
    engine.close()
    del engine
    gc.collect()
    assert not any(thread.is_alive() for thread in threads)
    assert gone() is None


def test_batches_in_turn_have_one_stream_of_one_thread_and_one_waits_in_the_engine(models, compiled):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(one_stream=True, streams=3))
    _, together = compiled[0]
    assert (engine.one_stream, engine.streams, engine.max_in_flight) == (True, 1, 2)
    assert together.get_property("INFERENCE_NUM_THREADS") == 1
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    both = [engine.submit(pixels), engine.submit(pixels[::-1])]
    expected = engine.infer(pixels)
    np.testing.assert_allclose(both[0].result().probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(both[1].result().probabilities, expected[::-1], atol=1e-5)
    engine.close()


@pytest.mark.parametrize("inside", [True, False], ids=["beside it", "outside its folder"])
def test_weights_in_another_file_are_refused(own_models, inside):
    onnx = pytest.importorskip("onnx")
    folder = own_models.folder(COLOUR)
    network = onnx.load(folder / store.ONNX)
    onnx.save(network, folder / store.ONNX, save_as_external_data=True, location="weights.bin", size_threshold=0)
    if not inside:
        (folder / "weights.bin").rename(folder.parent / "weights.bin")
    with pytest.raises(BrokenModel, match="which no card vouches for"):
        open_engine(own_models.card(COLOUR), folder, options())


def test_weights_in_another_file_are_refused_wherever_it_is_named(own_models):
    onnx = pytest.importorskip("onnx")
    folder = own_models.folder(COLOUR)
    network = onnx.load(folder / store.ONNX)
    onnx.save(network, folder / store.ONNX, save_as_external_data=True, location="weights.bin", size_threshold=0)
    body = (folder / store.ONNX).read_bytes()
    named = body[: body.index(b"location") + len(b"location")]
    for end in range(2_000_000 - 1, 2_000_000 + len(b"location") + 1):  # of the word; it is looked for in parts
        before = b"\x00" * (end - len(named))
        with pytest.raises(BrokenModel, match="which no card vouches for"):
            open_engine(own_models.card(COLOUR), folder, options(), lambda _, b=before: b + named)
