"""OpenVINO: `model.onnx` on CPUs, or `model.int8.onnx` where a version has it and the processor is made for it."""

from __future__ import annotations

import atexit
import functools
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card, Precision
from classifier.engines.agreement import close_enough
from classifier.engines.engine import Answers, EngineOptions, Probabilities, check_pixels, read_file
from classifier.engines.processors import usable_processors
from classifier.errors import EngineUnavailable, OutOfMemory, UnusableNetwork

# By this package OpenVINO reports every import to its makers, and writes an id below HOME; no setting stops that.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it fails
import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}  # of what a network leaves open
_PRECISIONS: dict[str, Precision] = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}

# How the CPU plugin and oneDNN say it (seen in 2026.4 with the address space limited: the first of these).
_NO_MEMORY = re.compile("Failed to allocate|bad_alloc|out of memory|could not create a memory", re.IGNORECASE)

# How ONNX names the file of a tensor's data: the entry `location`, with its tag and length as protobuf may write them.
_LOCATION = b"location"
_BEFORE_LOCATION = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")
_MOST_BEFORE = 20  # bytes: protobuf reads at most ten of a number
_LOOKED_THROUGH = 2_000_000  # bytes at a time: as long as it takes, no other thread of Python's runs

# Linux' names for products of 8-bit integers summed in 32 bits. Without them sums are cut off at 16 bits.
_HAS_INT8 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})

_PIXEL = [2, 3]  # the axes of a picture's height and width

_CLOSED = "the engine was closed; open the model again"


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


def supports_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def supports_int8() -> bool:
    """Whether Linux says that this processor sums products of 8-bit integers natively (VNNI or AMX)."""
    with suppress(OSError):
        return not _HAS_INT8.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    return False


class OpenVinoEngine:
    """Runs several batches at once, each on a part of the processors, or one image on all of them.

    Batches that share the processors do not wait for each other's threads layer by layer. So the network is compiled
    for both, with OpenVINO's two hints; for an image alone it is compiled for just that shape. That takes less time,
    and keeps nothing prepared for others. docs/tuning.md#two-compiled-networks

    A stream goes to whichever processor is free. OpenVINO would pin it to one. There it and the event loop get in each
    other's way while another processor idles. A batch alone stays pinned. docs/tuning.md#streams-without-pinning
    """

    name: Literal["openvino"] = "openvino"
    infers_here = True

    def __init__(
        self, card: Card, folder: Path, options: EngineOptions, read: Callable[[Path], bytes] = read_file
    ) -> None:
        precision = _precision(card, options)
        path = folder / store.onnx_file(precision)
        network = _read(path, read(path), card)
        if precision == "bfloat16":
            keep_familiarity_in_float32(network)
        together = _compile(network, path, precision, "THROUGHPUT", options)
        self.precision = "int8" if precision == "int8" else _precision_of(together)
        self.device = str(_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()
        self.streams = int(together.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.one_stream = options.one_stream
        self._shape = card.input.shape
        # docs/tuning.md#infer-requests
        self.max_in_flight = self.streams + 1 if self.streams > 1 or self.one_stream else 1
        self._together = _InferRequestPool(together, self.max_in_flight)
        self._compiled: ov.CompiledModel | None = together
        alone = _compile_for_one(network, path, precision)
        self._alone = _InferRequestPool(alone, 1)
        self._here = _CallersRequest(alone)
        self._closing = threading.Lock()
        atexit.register(self.close)  # OpenVINO's threads are to be at rest when the interpreter ends
        try:
            for size in options.warm_batch_sizes:
                self._warm(size)
        except OutOfMemory:
            self.close()
            raise
        except RuntimeError as error:
            self.close()
            raise UnusableNetwork(f"{path}: OpenVINO cannot run it: {_said(error)}") from error

    def submit(self, pixels_u8: npt.NDArray[np.uint8], *, alone: bool = False) -> Future[Answers]:
        pool = self._alone if alone and len(pixels_u8) == 1 else self._together
        return pool.start(self._shared(pixels_u8))

    def answer(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        if len(pixels_u8) > 1:
            return self.submit(pixels_u8).result()
        return self._here.run(self._shared(pixels_u8))

    def infer(self, pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        return self.answer(pixels_u8).probabilities

    def release_memory(self) -> None:
        with self._closing:
            if self._compiled is not None:
                self._compiled.release_memory()  # the pictures between its layers; kernels and weights stay

    def close(self) -> None:
        with self._closing:
            self._compiled = None
            for requests in (self._together, self._alone, self._here):
                requests.close()
        atexit.unregister(self.close)

    def _shared(self, pixels_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The batch as OpenVINO can read it without a copy of its own."""
        check_pixels(pixels_u8, self._shape)
        return np.require(pixels_u8, requirements=["C", "W"])

    def _warm(self, size: int) -> None:
        pixels_u8 = np.zeros((size, *self._shape), np.uint8)
        for future in [self.submit(pixels_u8) for _ in range(self.streams)]:  # at once, so that each stream has one
            future.result()
        if size == 1:
            self.submit(pixels_u8, alone=True).result()
            self.answer(pixels_u8)


class _Batch(NamedTuple):
    """What runs in a request. The pixels are shared with OpenVINO, not copied, and so have to stay."""

    pixels_u8: npt.NDArray[np.uint8]
    future: Future[Answers]


class _InferRequestPool:
    """The infer requests of a compiled network, as many as it runs at once."""

    def __init__(self, compiled: ov.CompiledModel, count: int) -> None:
        self._idle: queue.SimpleQueue[_PooledRequest | None] = queue.SimpleQueue()  # None: closed
        self._requests = [_PooledRequest(compiled, self._idle) for _ in range(count)]

    def start(self, pixels_u8: npt.NDArray[np.uint8]) -> Future[Answers]:
        """Run a batch, when a request is free. Raises EngineUnavailable once closed."""
        return self._take_idle().start(pixels_u8)

    def close(self) -> None:
        """Let what runs finish. Closing again does nothing."""
        for request in [self._take_idle() for _ in self._requests]:
            request.close()
        self._requests.clear()
        self._idle.put(None)

    def _take_idle(self) -> _PooledRequest:
        request = self._idle.get()
        if request is None:
            self._idle.put(None)  # for the next who waits
            raise EngineUnavailable(_CLOSED)
        return request


class _CallersRequest:
    """An infer request that runs in the thread of whoever asks, one batch at a time.

    With one thread to run on, OpenVINO 2026.4 loses what such a run fails with. It leaves the last answer, which may be
    somebody else's. So it then runs in OpenVINO's thread, and this one waits, which tells every failure.
    """

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled: ov.CompiledModel | None = compiled
        self._has_one_thread = compiled.get_property("INFERENCE_NUM_THREADS") == 1
        self._request = compiled.create_infer_request()
        self._is_scored = _is_scored(compiled)
        self._one = threading.Lock()

    def run(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        with self._one:
            if self._compiled is None:
                raise EngineUnavailable(_CLOSED)
            try:
                self._request.set_input_tensor(ov.Tensor(pixels_u8, shared_memory=True))
                if self._has_one_thread:
                    self._request.start_async()
                    self._request.wait()
                else:
                    self._request.infer()
                return _answers_of(self._request, self._is_scored)
            except Exception as error:
                with suppress(Exception):  # then the next caller tries again
                    self._request = self._compiled.create_infer_request()  # the old one would go on raising this error
                raise _explained(error, len(pixels_u8)) from error

    def close(self) -> None:
        with self._one:
            if self._compiled is not None:
                del self._request
                self._compiled = None


class _PooledRequest:
    """An infer request, which runs one batch at a time, and a thread that waits for it. Joins `idle` when it is free.

    A batch is started by whoever brings it, so it need not wait for the thread to get the interpreter. OpenVINO could
    call back instead of being waited for, but only from runs that succeed. Such a thread may abort the process at its
    end. docs/tuning.md#threads-of-infer-requests
    """

    def __init__(self, compiled: ov.CompiledModel, idle: queue.SimpleQueue[_PooledRequest | None]) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._is_scored = _is_scored(compiled)
        self._idle = idle
        self._started: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()  # None: closed
        self._thread = threading.Thread(target=self._answer_each, name="openvino", daemon=True)
        self._thread.start()
        idle.put(self)

    def start(self, pixels_u8: npt.NDArray[np.uint8]) -> Future[Answers]:
        batch = _Batch(pixels_u8, Future())
        batch.future.set_running_or_notify_cancel()  # a started batch runs to its end, whoever loses interest
        try:
            self._request.set_input_tensor(ov.Tensor(pixels_u8, shared_memory=True))
            self._request.start_async()
        except BaseException:
            self._idle.put(self)
            raise
        self._started.put(batch)
        return batch.future

    def close(self) -> None:
        """Only while idle."""
        self._started.put(None)
        self._thread.join()
        del self._request, self._compiled

    def _answer_each(self) -> None:
        while (batch := self._started.get()) is not None:
            try:
                self._request.wait()
                answers = _answers_of(self._request, self._is_scored)
            except Exception as error:  # belongs to the caller who waits on the future
                batch.future.set_exception(_explained(error, len(batch.pixels_u8)))  # first: the next line may fail too
                self._request = self._compiled.create_infer_request()  # the old one would go on raising this error
                self._idle.put(self)
            else:
                self._idle.put(
                    self
                )  # first: who hears the answer starts the next batch, and would wait for this request
                batch.future.set_result(answers)


def _is_scored(compiled: ov.CompiledModel) -> bool:
    """Whether familiarity is the second output."""
    return len(compiled.outputs) > 1


def _answers_of(request: ov.InferRequest, is_scored: bool) -> Answers:
    """The outputs of a run, which the next one overwrites, as arrays of their own."""
    probabilities: Probabilities = request.get_output_tensor(0).data.astype(np.float32, copy=True)
    if not is_scored:
        return Answers(probabilities)
    return Answers(probabilities, request.get_output_tensor(1).data.astype(np.float32, copy=True).reshape(-1))


def _precision(card: Card, options: EngineOptions) -> Precision:
    if options.precision == "auto":
        if supports_int8() and close_enough(card.check_of("openvino", "int8")):
            return "int8"
        fit = supports_bfloat16() and close_enough(card.check_of("openvino", "bfloat16"))
        return "bfloat16" if fit else "float32"
    if options.precision == "float16":
        raise EngineUnavailable("float16 is for the TensorFlow engine on a GPU; on a CPU choose bfloat16 or float32")
    if options.precision == "bfloat16" and not supports_bfloat16():
        raise EngineUnavailable("this processor has no native bfloat16; choose float32 or auto")
    if options.precision == "int8":
        if store.INT8 not in card.files:
            raise EngineUnavailable(f"{card.name} version {card.version} is not int8; `sightline quantize` makes one")
        if not supports_int8():
            raise EngineUnavailable("this processor has neither VNNI nor AMX for int8; choose float32 or auto")
    return options.precision


def _read(path: Path, body: bytes, card: Card) -> ov.Model:
    """The network in `body`; `path` is its name in errors."""
    if _names_external_data(body):
        raise UnusableNetwork(f"{path}: its weights lie in another file, which no card vouches for; save it as one")
    try:
        network = _core().read_model(model=body, weights=b"")
        _check_ports(network, path, card)
    except RuntimeError as error:
        raise UnusableNetwork(f"{path}: OpenVINO cannot load it: {_said(error)}") from error
    return network


def _names_external_data(body: bytes) -> bool:
    """Whether a tensor's data lies in another file. A regular expression alone would take ten times as long."""
    for begin in range(0, len(body), _LOOKED_THROUGH):
        end = begin + _LOOKED_THROUGH + len(_LOCATION) - 1  # the next part begins within this one's last word
        at = body.find(_LOCATION, begin, end)
        while at >= 0:
            if _BEFORE_LOCATION.search(body[max(0, at - _MOST_BEFORE) : at]):
                return True
            at = body.find(_LOCATION, at + 1, end)
    return False


def keep_familiarity_in_float32(network: ov.Model) -> None:
    """Compute the matrix products that only the second output needs as transposed convolutions of one pixel.

    In bfloat16 a distance is not known well enough: it is a small difference of large numbers. OpenVINO 2026.4 has no
    setting for a layer. Asked for bfloat16 it still takes float32 after the last convolution or matrix product, and a
    transposed convolution does not count as one. docs/tuning.md#familiarity-in-bfloat16
    """
    first = _needed_by(network.outputs[0].get_node())
    for node in network.get_ops():
        if node.get_type_name() == "MatMul" and node.get_name() not in first:
            pixels, filters = (ops.unsqueeze(node.input_value(i), _PIXEL) for i in range(2))
            product = ops.convolution_backprop_data(pixels, filters, strides=[1, 1])
            node.output(0).replace(ops.squeeze(product, _PIXEL).output(0))


def _needed_by(result: Any) -> set[str]:
    """The names of the nodes that an output depends on."""
    waiting, found = [result], set()
    while waiting:
        node = waiting.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            waiting += [each.get_source_output().get_node() for each in node.inputs()]
    return found


def _compile_for_one(network: ov.Model, path: Path, precision: Precision) -> ov.CompiledModel:
    """Compile the same network for a single image; what was compiled before stays as it is.

    OpenVINO 2026.4 cannot compile some networks for just one image and one thread: those that multiply a single number
    by a matrix twice. They are compiled for any number of images then, and take a little longer to answer one.
    """
    at_will = network.inputs[0].partial_shape
    _reshape(network, path, ov.PartialShape([1, *list(at_will)[1:]]))
    with suppress(UnusableNetwork):
        return _compile(network, path, precision, "LATENCY")
    _reshape(network, path, at_will)
    return _compile(network, path, precision, "LATENCY")


def _reshape(network: ov.Model, path: Path, shape: ov.PartialShape) -> None:
    try:
        network.reshape(shape)
    except RuntimeError as error:
        raise UnusableNetwork(f"{path}: OpenVINO cannot load it for one image: {_said(error)}") from error


def _compile(
    network: ov.Model,
    path: Path,
    precision: Precision,
    hint: Literal["THROUGHPUT", "LATENCY"],
    options: EngineOptions = EngineOptions(),
) -> ov.CompiledModel:
    """Compile for many batches at once or for one; where `options` ask for no streams, OpenVINO chooses how many."""
    configuration = {
        "PERFORMANCE_HINT": hint,
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "ENABLE_CPU_PINNING": hint == "LATENCY",
    }
    if (processors := usable_processors()) < len(os.sched_getaffinity(0)):
        configuration["INFERENCE_NUM_THREADS"] = processors  # OpenVINO counts those that a container does not get too
    if options.one_stream:
        configuration |= {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
    elif options.streams:
        configuration["NUM_STREAMS"] = options.streams
    try:
        return _core().compile_model(network, "CPU", configuration)
    except RuntimeError as error:
        raise UnusableNetwork(f"{path}: OpenVINO cannot load it: {_said(error)}") from error


def _precision_of(compiled: ov.CompiledModel) -> Precision:
    """The arithmetic that OpenVINO says it uses, whatever it was asked for."""
    return _PRECISIONS[compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()]


def _check_ports(network: ov.Model, path: Path, card: Card) -> None:
    scored = ("[?,1] f32",) if card.familiarity else ()
    expected = (f"[?,{','.join(map(str, card.input.shape))}] u8", f"[?,{len(card.labels)}] f32", *scored)
    found = tuple(f"{_shape(p)} {p.element_type.get_type_name()}" for p in (*network.inputs, *network.outputs))
    if found != expected:
        raise UnusableNetwork(
            f"{path}: the card promises {' -> '.join(expected)}, the network has {' -> '.join(found)}"
        )


def _shape(port: Any) -> str:
    return str(port.partial_shape).replace("..", "").replace(" ", "")


def _explained(error: Exception, images: int) -> Exception:
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return OutOfMemory(f"OpenVINO found no memory for a batch of {images}")
    return error


def _said(error: RuntimeError) -> str:
    """The last line, which has the reason; those before it name places in OpenVINO's sources."""
    return str(error).strip().rpartition("\n")[2][:300]
