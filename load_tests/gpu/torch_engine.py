"""PyTorch: the same `model.keras` on Keras's third backend, compiled by PyTorch, to compare the JAX engine with.

Where it fails, the report of the check says how.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from classifier import store
from classifier.card import Card
from classifier.engines import EngineOptions
from classifier.engines.keras_engine import KerasEngine, network_of
from classifier.errors import OutOfMemory

MEMORY_SHARE = 0.25  # of the GPU's; other processes compile beside this one


class TorchEngine(KerasEngine):
    """Batches go to the device from pinned memory. Float32 is multiplied with all its bits, as in the JAX engine."""

    name = "torch"  # type: ignore[assignment]

    def __init__(self, card: Card, folder: Path, options: EngineOptions) -> None:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.on_gpu = torch.cuda.is_available()
        self.device = torch.cuda.get_device_name() if self.on_gpu else "CPU"
        if self.on_gpu:
            torch.cuda.set_per_process_memory_fraction(MEMORY_SHARE)
        self.precision = options.precision  # type: ignore[assignment]
        path = folder / store.KERAS
        network = network_of(card, path, path.read_bytes(), self.precision)
        self._forward: Any = lambda pixels: network(pixels, training=False)
        self._programs: dict[int, Any] = {}
        self._compiles, self._compiling = True, threading.Lock()
        super().__init__(card.input.shape, options.streams or (2 if self.on_gpu else 1))

    def stop_compiling(self) -> None:
        """Have Keras's own calls run for every size that is not compiled yet."""
        self._compiles = False

    def _run(self, pixels_u8: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.float32]]:
        try:
            with torch.no_grad():
                pixels = torch.from_numpy(pixels_u8)
                pixels = pixels.pin_memory().to("cuda", non_blocking=True) if self.on_gpu else pixels
                outputs = self._program(pixels)(pixels)
                outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
                return [output.float().cpu().numpy() for output in outputs]
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"PyTorch found no memory for a batch of {len(pixels_u8)}") from error

    def _program(self, pixels: torch.Tensor) -> Any:
        """The network for batches of this size as one graph; in Keras's calls PyTorch alone finds many small ones."""
        with self._compiling:
            size = len(pixels)
            if size not in self._programs and not self._compiles:
                return self._forward
            if size not in self._programs:
                # Fake tensors: Keras holds on to every layer's output, which is more than a GPU has for a large batch.
                traced = make_fx(self._forward, tracing_mode="fake", _allow_non_fake_inputs=True)(pixels)
                program = torch.compile(traced, dynamic=False)
                program(pixels)  # which compiles it
                self._programs[size] = program
            return self._programs[size]
