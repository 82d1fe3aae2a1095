"""OpenVINO: `model.onnx` on CPUs."""

from __future__ import annotations

import atexit
import functools
import os
import queue
import re
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card, Precision
from classifier.engines import EngineOptions, Probabilities, check_pixels, close_enough
from classifier.errors import BrokenModel, EngineUnavailable

os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
import openvino as ov

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_FAILURES_EVERY_S = 0.2

# How ONNX names the file of a tensor's data: the entry `location`, with its tag and length as protobuf may write them.
_EXTERNAL_DATA = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


def supports_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """Runs several batches at once, each in its own infer request; answers come by callback, no thread waits."""

    name: Literal["openvino"] = "openvino"

    def __init__(self, card: Card, folder: Path, options: EngineOptions) -> None:
        self.precision = _precision(card, options)
        self._compiled = _compile(folder / store.ONNX, card, _configuration(self.precision, options.streams))
        self.device = str(_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()
        self.streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._shape = card.input.shape
        self._running: dict[ov.InferRequest, _Batch] = {}
        self._idle: queue.SimpleQueue[ov.InferRequest | None] = queue.SimpleQueue()  # None: closed
        for _ in range(self.streams):
            self._idle.put(self._new_request())
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._look_for_failures, name="openvino-failures", daemon=True)
        self._watcher.start()
        atexit.register(self.close)  # OpenVINO threads that want the interpreter after its end abort the process
        try:
            for size in options.warm_batch_sizes:
                self._warm(size)
        except RuntimeError as error:
            self.close()
            raise BrokenModel(f"{folder / store.ONNX}: OpenVINO cannot run it: {_said(error)}") from error

    def submit(self, pixels_u8: npt.NDArray[np.uint8]) -> Future[Probabilities]:
        check_pixels(pixels_u8, self._shape)
        request = self._take_idle()
        future: Future[Probabilities] = Future()
        future.set_running_or_notify_cancel()  # a started batch runs to its end, whoever loses interest
        batch = _Batch(np.ascontiguousarray(pixels_u8), future)
        self._running[request] = batch
        try:
            request.start_async({0: batch.pixels_u8}, share_inputs=True)
        except BaseException:
            del self._running[request]
            self._idle.put(request)
            raise
        return future

    def infer(self, pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        return self.submit(pixels_u8).result()

    def close(self) -> None:
        with self._closing:
            if self._closed.is_set():
                return
            for _ in range(self.streams):
                _forget_callback(self._take_idle())
            self._closed.set()
            self._idle.put(None)
            self._watcher.join()
            del self._compiled
        atexit.unregister(self.close)

    def _warm(self, size: int) -> None:
        pixels_u8 = np.zeros((size, *self._shape), np.uint8)
        for future in [self.submit(pixels_u8) for _ in range(self.streams)]:  # at once, so that each stream has one
            future.result()

    def _new_request(self) -> ov.InferRequest:
        request = self._compiled.create_infer_request()
        request.set_callback(functools.partial(self._succeeded, request), None)
        return request

    def _take_idle(self) -> ov.InferRequest:
        request = self._idle.get()
        if request is None:
            self._idle.put(None)  # for the next who waits
            raise EngineUnavailable("the engine was closed; open the model again")
        request.wait()  # its callback ran a moment before it may be started again
        return request

    def _succeeded(self, request: ov.InferRequest, _: Any) -> None:
        answer = request.get_output_tensor(0).data.astype(np.float32, copy=True)
        batch = self._running.pop(request)
        self._idle.put(request)
        batch.future.set_result(answer)

    def _look_for_failures(self) -> None:
        """OpenVINO calls back from runs that succeed only; without this, who waits for another would wait for ever."""
        while not self._closed.wait(_FAILURES_EVERY_S):
            for request in tuple(self._running):
                try:
                    request.wait_for(0)
                except Exception as error:  # belongs to the caller who waits on the future
                    self._running.pop(request).future.set_exception(error)
                    _forget_callback(request)
                    self._idle.put(self._new_request())  # the old one would go on raising this error


class _Batch(NamedTuple):
    """What runs in a request. The pixels are shared with OpenVINO, not copied, and so have to stay."""

    pixels_u8: npt.NDArray[np.uint8]
    future: Future[Probabilities]


def _forget_callback(request: ov.InferRequest) -> None:
    """A request and its callback hold each other in a way that Python's collector cannot see."""
    request.set_callback(lambda _: None, None)


def _precision(card: Card, options: EngineOptions) -> Precision:
    if options.precision == "auto":
        fit = supports_bfloat16() and close_enough(card.check_of("openvino", "bfloat16"))
        return "bfloat16" if fit else "float32"
    if options.precision == "float16":
        raise EngineUnavailable("float16 is for the TensorFlow engine on a GPU; on a CPU choose bfloat16 or float32")
    if options.precision == "bfloat16" and not supports_bfloat16():
        raise EngineUnavailable("this processor has no native bfloat16; choose float32 or auto")
    return options.precision


def _configuration(precision: Precision, streams: int) -> dict[str, Any]:
    configuration = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
    return configuration | ({"NUM_STREAMS": str(streams)} if streams else {})


def _compile(path: Path, card: Card, configuration: dict[str, Any]) -> ov.CompiledModel:
    try:
        if _EXTERNAL_DATA.search(path.read_bytes()):
            raise BrokenModel(f"{path}: its weights lie in another file, which no card vouches for; save it as one")
        network = _core().read_model(path)
        _check_ports(network, path, card)
        return _core().compile_model(network, "CPU", configuration)
    except OSError as error:
        raise BrokenModel(f"{path}: OpenVINO cannot load it: {error.strerror}") from error
    except RuntimeError as error:
        raise BrokenModel(f"{path}: OpenVINO cannot load it: {_said(error)}") from error


def _check_ports(network: ov.Model, path: Path, card: Card) -> None:
    expected = (f"[?,{','.join(map(str, card.input.shape))}] u8", f"[?,{len(card.labels)}] f32")
    found = tuple(f"{_shape(p)} {p.element_type.get_type_name()}" for p in (*network.inputs, *network.outputs))
    if found != expected:
        raise BrokenModel(f"{path}: the card promises {' -> '.join(expected)}, the network has {' -> '.join(found)}")


def _shape(port: Any) -> str:
    return str(port.partial_shape).replace("..", "").replace(" ", "")


def _said(error: RuntimeError) -> str:
    """The last line, which has the reason; those before it name places in OpenVINO's sources."""
    return str(error).strip().rpartition("\n")[2][:300]
