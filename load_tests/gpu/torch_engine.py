"""PyTorch: the same `model.keras` on Keras's third backend, compiled by PyTorch, to compare the JAX engine with.

This project has not run it: no PyTorch was at hand. Where it fails, the report of the check says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from classifier import store
from classifier.card import Card
from classifier.engines import EngineOptions
from classifier.engines.keras_engine import KerasEngine, network_of
from classifier.errors import OutOfMemory


class TorchEngine(KerasEngine):
    """Batches go to the device from pinned memory. Float32 is multiplied with all its bits, as in the JAX engine."""

    name = "torch"  # type: ignore[assignment]

    def __init__(self, card: Card, folder: Path, options: EngineOptions) -> None:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch._dynamo.config.cache_size_limit = 64  # each size of a batch is compiled for itself
        self.on_gpu = torch.cuda.is_available()
        self.device = torch.cuda.get_device_name() if self.on_gpu else "CPU"
        self.precision = options.precision  # type: ignore[assignment]
        path = folder / store.KERAS
        network = network_of(card, path, path.read_bytes(), self.precision)
        self.run: Any = torch.compile(lambda pixels: network(pixels, training=False), dynamic=False)
        super().__init__(card.input.shape, options.streams or (2 if self.on_gpu else 1))

    def _run(self, pixels_u8: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.float32]]:
        try:
            with torch.inference_mode():
                pixels = torch.from_numpy(pixels_u8)
                pixels = pixels.pin_memory().to("cuda", non_blocking=True) if self.on_gpu else pixels
                outputs = self.run(pixels)
                outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
                return [output.float().cpu().numpy() for output in outputs]
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"PyTorch found no memory for a batch of {len(pixels_u8)}") from error
